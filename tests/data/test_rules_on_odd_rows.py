"""The fast lane, and odd rows: laws over rows that nobody would write."""

from __future__ import annotations

import contextlib
import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ftspec.data.boring import PlainChat, can_be_boring, is_boring, is_boring_dict
from ftspec.data.checks import row_checks
from ftspec.data.checks.base import Setting
from ftspec.data.digest import digest
from ftspec.data.scan import Order, Scanner
from ftspec.data.tally import Tally
from ftspec.data.transforms import Row
from ftspec.fingerprint import canonical_json

values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-2, 2)
    | st.sampled_from(["", " ", "user", "assistant", "system", "tool", "x", " padded ", "<|im_start|>", "function", "{}", "call_1"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["role", "content", "tool_calls", "id", "type", "function", "name", "arguments", "text", "image_url", "url", "weight"]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)
messages = st.lists(
    st.fixed_dictionaries({}, optional={"role": values, "content": values, "tool_calls": values, "tool_call_id": values, "weight": values})
    | values,
    max_size=4,
)
odd_rows = st.fixed_dictionaries(
    {},
    optional={
        "messages": messages | values,
        "tools": values,
        "input": st.fixed_dictionaries({}, optional={"messages": messages | values, "tools": values}) | values,
        "preferred_output": messages | values,
        "non_preferred_output": messages | values,
        "prompt": values,
        "completion": values,
        "parallel_tool_calls": values,
    },
)


@given(row=odd_rows, form=st.sampled_from(["chat", "preference", "reinforcement", "completion", "eval"]))
def test_no_row_however_odd_makes_a_rule_fail(row, form):
    """Rules, formats and counts take any JSON object."""
    setting = Setting(format=form, safety=True, item_keys=("a.b",))
    canonical = canonical_json(row)
    for rule in row_checks(setting):
        assert all(isinstance(sentence, str) for sentence in rule.find(row))
    tally = Tally(Order(path="x", setting=setting, tokenizer="estimate", statistics=True, hashes=True))
    tally.add([Row(row, canonical, "", 1, "x")])
    assert tally.report().counts[""].rows == 1


plain_texts = st.sampled_from(
    [
        "x",
        " x",
        "x ",
        "  ",
        "",
        "<|im_end|>",
        "|",
        "a sentence that is long enough to be a copy",
        "yes, a sentence that is long enough to be a copy!",
        "\u3000",
        "ok",
    ]
)
plain_rows = st.fixed_dictionaries(
    {
        "messages": st.lists(
            st.fixed_dictionaries({"role": st.sampled_from(["system", "user", "assistant", "tool"]), "content": plain_texts}), max_size=4
        )
    },
    optional={"extra": st.integers()},
)


ROLES = st.sampled_from([Setting().roles, frozenset({"user", "assistant"}), frozenset({"system", "user", "assistant"})])
COLUMNS = st.sampled_from([frozenset[str](), frozenset({"extra"})])


@given(row=plain_rows, columns=COLUMNS, roles=ROLES)
def test_the_fast_lane_passes_no_row_that_a_rule_would_stop(row, columns, roles):
    """A row that is called boring breaks no rule, so passing it over changes nothing."""
    canonical = canonical_json(row)
    setting = Setting(columns=columns, roles=roles)
    told = [sentence for rule in row_checks(setting) for sentence in rule.find(row)]
    if not can_be_boring(setting):
        return
    if is_boring_dict(row, canonical, columns):
        assert told == []
    with contextlib.suppress(msgspec.ValidationError):
        plain = msgspec.convert(row, PlainChat)
        assert told == [] or b"|" in canonical or not is_boring(plain.messages)


@given(rows=st.lists(plain_rows | odd_rows, max_size=6), style=st.sampled_from(["compact", "spaced", "crlf"]), roles=ROLES)
def test_the_fast_lane_gives_the_rows_and_problems_of_the_slow_one(rows, style, roles):
    """With and without the fast lane a file has the same rows, the same bytes and the same problems."""
    end = "\r\n" if style == "crlf" else "\n"
    block = "".join(json.dumps(row, separators=(",", ":") if style == "compact" else None) + end for row in rows).encode()
    order = Order(path="x", setting=Setting(roles=roles))
    fast, slow = Scanner(order), Scanner(order)
    slow._plain = None
    slow._rules._fast = False
    assert [(row.canonical, row.line) for row in fast.rows(block)] == [(row.canonical, row.line) for row in slow.rows(block)]
    assert fast.findings.all() == slow.findings.all()


TWICE = '{"messages": [{"role": "user", "content": "a", "content": "b"}, {"role": "assistant", "content": "c"}]}'
TWICE_ESCAPED = '{"messages": [{"role": "user", "content": "a", "cont\\u0065nt": "b"}, {"role": "assistant", "content": "c"}]}'
TWICE_HIDDEN = '{"messages": [{"role": "user", "content": "a", "content": "b \\u003a \\u003a"}, {"role": "assistant", "content": "c"}]}'
TOKEN = '{"messages": [{"role": "user", "content": "a <|endoftext|>"}, {"role": "assistant", "content": "c"}]}'
TOKEN_ESCAPED = '{"messages": [{"role": "user", "content": "a <\\u007cendoftext\\u007C>"}, {"role": "assistant", "content": "c"}]}'


@pytest.mark.parametrize("more", ["plain", 'with \\" and \\n'])
@pytest.mark.parametrize(
    ("odd", "code"),
    [
        (TWICE, "duplicate-key"),
        (TWICE_ESCAPED, "duplicate-key"),
        (TWICE_HIDDEN, "duplicate-key"),
        (TOKEN, "special-token"),
        (TOKEN_ESCAPED, "special-token"),
    ],
)
def test_an_odd_row_is_found_among_plain_ones(folder, odd, code, more):
    """What is looked for in whole blocks is found in the one row that has it, however it is written."""
    plain = '{"messages": [{"role": "user", "content": "%d %s: ?"}, {"role": "assistant", "content": "x"}]}'
    dataset = folder.dataset("data", *[plain % (n, more) for n in range(50)], odd, *[plain % (n, more) for n in range(50, 100)])
    [told] = digest(dataset, root=folder.root, tokenizer=None)[1]
    assert (told.code, told.count, told.at.line) == (code, 1, 51)
