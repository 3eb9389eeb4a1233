"""The fast lane, and odd rows: laws over rows that nobody would write."""

from __future__ import annotations

import contextlib
import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ftspec.data.batch import Batch
from ftspec.data.boring import PlainChat, as_dict, can_be_boring, has_token, is_boring, is_boring_dict
from ftspec.data.checks import row_checks
from ftspec.data.checks.base import Reads, Setting
from ftspec.data.digest import digest
from ftspec.data.scan import Order, Scanner
from ftspec.data.screening import Words
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
    setting = Setting(format=form, safety=True, item_keys=("a.b",), reads=(Reads(base="small", tokens=1),))
    canonical = canonical_json(row)
    for rule in row_checks(setting):
        assert all(isinstance(sentence, str) for sentence in rule.find(row))
    tally = Tally(Order(path="x", setting=setting, tokenizer="estimate", statistics=True, hashes=True))
    tally.add(Batch.of([Row(row, canonical, "", 1, "x")]))
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
        "me@firm.com",
        "sk-proj-Zx81kQ0aPq7Lm2Vd9RtY3",
    ]
)
message = st.fixed_dictionaries({"role": st.sampled_from(["system", "user", "assistant", "tool"]), "content": plain_texts})
talks = st.tuples(
    st.sampled_from([[], ["system"]]), st.sampled_from([["user", "assistant"], ["user", "user", "assistant", "user", "assistant"]])
).flatmap(
    lambda roles: st.tuples(*(st.fixed_dictionaries({"role": st.just(role), "content": plain_texts}) for role in [*roles[0], *roles[1]]))
)
plain_rows = st.fixed_dictionaries({"messages": talks.map(list) | st.lists(message, max_size=4)}, optional={"extra": st.integers()})


ROLES = st.sampled_from([Setting().roles, frozenset({"user", "assistant"}), frozenset({"system", "user", "assistant"})])
COLUMNS = st.sampled_from([frozenset[str](), frozenset({"extra"})])


READS = st.sampled_from([(), (Reads(base="small", tokens=20),), (Reads(base="small", tokens=150),)])


@given(row=plain_rows, columns=COLUMNS, roles=ROLES, reads=READS)
def test_the_fast_lane_passes_no_row_that_a_rule_would_stop(row, columns, roles, reads):
    """A row that is called boring, and has no more bytes than tokens fit, breaks no rule, so passing it over changes nothing."""
    canonical = canonical_json(row)
    setting = Setting(columns=columns, roles=roles, reads=reads)
    told = [sentence for rule in row_checks(setting) for sentence in rule.find(row)]
    if not can_be_boring(setting) or len(canonical) > setting.surely_fits:
        return
    if is_boring_dict(row, canonical, columns):
        assert told == []
    with contextlib.suppress(msgspec.ValidationError):
        plain = msgspec.convert(row, PlainChat)
        assert told == [] or has_token(plain.messages) or not is_boring(plain.messages)


PLAIN = '{"messages": [{"role": "user", "content": "%s"}, {"role": "assistant", "content": "x"}]}'
HOSTILE = st.sampled_from(
    [
        b"",
        b" ",
        b"\xff",
        b"null",
        b"{",
        b"\xef\xbb\xbf" + (PLAIN % "mark").encode(),
        (PLAIN % "carriage").encode() + b"\r",
        (PLAIN % "spaces").encode() + b" \t",
        (PLAIN % "two").encode() * 2,
        (PLAIN % "escapes \\u003a \\u003c|im_end|> \\u007c \\ud83d\\ude00").encode(),
        (PLAIN % "half \\ud83d").encode(),
        (PLAIN % 'a", "content": "b').encode(),
        (PLAIN % 'a", "cont\\u0065nt": "b: \\u003a').encode(),
        (PLAIN % 'a", "role": "user').encode(),
        (PLAIN % "x").encode()[:-1] + b', "messages": []}',
        (PLAIN % "x").encode()[:-1] + b', "id": 1e400}',
    ]
)
spelled = st.builds(
    lambda row, ascii_only, separators: json.dumps(row, ensure_ascii=ascii_only, separators=separators).encode(),
    plain_rows | odd_rows,
    st.booleans(),
    st.sampled_from([None, (",", ":")]),
)


@given(
    lines=st.lists(spelled | HOSTILE, max_size=8),
    end=st.sampled_from([b"\n", b"\r\n"]),
    torn=st.booleans(),
    roles=ROLES,
    shares=st.sampled_from([None, {"a": 0.5, "b": 0.5}]),
    check=st.booleans(),
    safety=st.booleans(),
)
def test_the_fast_lane_gives_the_rows_and_problems_of_the_slow_one(lines, end, torn, roles, shares, check, safety):
    """With and without the fast lane a file has the same rows, in the same parts, the same bytes, counts and problems."""
    block = end.join([*lines, b""])
    order = Order(
        path="x",
        setting=Setting(roles=roles, safety=safety),
        shares=shares,
        check=check,
        tokenizer="words",
        statistics=True,
        hashes=True,
        keep=True,
    )
    fast, slow = Scanner(order), Scanner(order)
    slow._plain = None
    if check:
        slow._rules._fast = False
    block = block.removesuffix(end) if torn else block
    made, expected = fast.rows(block), slow.rows(block)
    told = [(as_dict(row.value), row.canonical, row.part, row.line, row.path) for row in made]
    assert told == [(row.value, row.canonical, row.part, row.line, row.path) for row in expected]
    assert made.canonical == expected.canonical == b"".join(row.canonical + b"\n" for row in expected)
    assert fast.findings.all() == slow.findings.all()
    counted = [Tally(order), Tally(order)]
    counted[0].add(made)
    counted[1].add(Batch.of([Row(as_dict(row.value), row.canonical, row.part, row.line, row.path) for row in expected]))
    assert counted[0].report() == counted[1].report()


@given(
    words=st.sets(st.text('"ab', min_size=1, max_size=3).map(str.encode), max_size=6),
    data=st.text('"ab|', max_size=12).map(str.encode),
)
def test_words_are_found_in_one_search_as_one_by_one(words, data):
    """However words overlap or start alike, none that occurs is missed."""
    assert Words(words).within(data) == {word for word in words if word in data}


def test_a_plain_row_that_is_too_long_for_a_base_leaves_the_fast_lane():
    """Nothing else is wrong with it, and it is told at its line."""
    rows = [{"messages": [{"role": "user", "content": "hello " * size}, {"role": "assistant", "content": "yes"}]} for size in (1, 90, 2)]
    block = "".join(json.dumps(row) + "\n" for row in rows).encode()
    scanner = Scanner(Order(path="x", setting=Setting(reads=(Reads(base="small", tokens=60),))))
    assert scanner._plain is not None
    assert [row.line for row in scanner.rows(block)] == [1, 2, 3]
    (found,) = scanner.findings.all()
    assert (found.code, found.count, found.at[0][0]) == ("perhaps-longer-than-base", 1, 2)


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


@pytest.mark.parametrize(("text", "code"), [("write to me@firm.com", "personal-data"), ("it is sk-proj-Zx81kQ0aPq7Lm2Vd9RtY3", "secret")])
@pytest.mark.parametrize("place", ["question", "answer"])
def test_a_secret_is_found_among_plain_rows(folder, chat, text, code, place):
    """With the search for secrets the fast lane stays open, but not for a row that has one."""
    odd = chat(user=text) if place == "question" else chat(assistant=text)
    dataset = folder.dataset("data", *[chat(user=f"question {n}") for n in range(20)], odd)
    [told] = digest(dataset, root=folder.root, tokenizer=None, setting=Setting(safety=True))[1]
    assert (told.code, told.count, told.at.line) == (code, 1, 21)
    assert digest(dataset, root=folder.root, tokenizer=None)[1] == []
