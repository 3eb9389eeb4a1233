"""Rows decode to one value and one spelling, or say why they do not."""

from __future__ import annotations

import contextlib
import json
import math

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ftspec.data.rows import BadRow, RowReader, explain
from ftspec.fingerprint import canonical_json

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
floats = st.floats(allow_nan=False, allow_infinity=False)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | floats | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=20,
)
rows = st.dictionaries(texts, values, max_size=5)


@given(row=rows, indent=st.sampled_from([None, " "]), ascii_only=st.booleans())
@example(row={"a": 1e-05, "b": 1e16, "c": 1.0, "d": -0.0, "e": 2**70, "f": 123456789012345680000.0}, indent=None, ascii_only=True)
@example(row={"\u2028": "\x7f\x1f\u0085", "😀": ":\\u003a"}, indent=" ", ascii_only=False)
def test_the_fast_path_writes_the_bytes_of_canonical_json(row, indent, ascii_only):
    """Whatever the layout of the line, the canonical bytes are those of `fingerprint.canonical_json`."""
    raw = json.dumps(row, ensure_ascii=ascii_only, separators=None if indent else (",", ":")).encode()
    value, canonical = RowReader().decode(raw)
    assert canonical == canonical_json(row) == canonical_json(value)


@given(row=rows, key=texts, value=values, ascii_only=st.booleans())
@example(row={"b": ":"}, key="a", value=1, ascii_only=True)
def test_a_repeated_key_is_always_seen(row, key, value, ascii_only):
    """However the line is spelled, an object with the same key twice is refused."""
    member = json.dumps(key, ensure_ascii=ascii_only) + ":" + json.dumps(value, ensure_ascii=ascii_only)
    rest = json.dumps({name: one for name, one in row.items() if name != key}, ensure_ascii=ascii_only)[1:-1]
    raw = ("{" + ",".join(filter(None, [member, rest, member])) + "}").encode()
    with pytest.raises(BadRow) as problem:
        RowReader().decode(raw)
    assert problem.value.code == "duplicate-key"


@pytest.mark.parametrize("raw", [rb'{"a": 1, "a": "\u003a"}', rb'{"a": 1, "a": "\u003A"}', rb'{"a": 1, "a": "\u003a\u003A"}'])
def test_an_escaped_colon_does_not_hide_a_repeated_key(raw):
    """Colons are counted, so one that is written as an escape must not make up for a lost one."""
    with pytest.raises(BadRow) as problem:
        RowReader().decode(raw)
    assert problem.value.code == "duplicate-key"


BAD_ROWS = {
    "NaN": (b'{"a": NaN}', "not-finite", 0),
    "infinity": (b'{"a": -Infinity}', "not-finite", 0),
    "beyond a double": (b'{"a": 1e999}', "not-finite", 0),
    "thousands of digits": (b'{"a": ' + b"9" * 5000 + b"}", "not-finite", 0),
    "half a surrogate pair": (rb'{"a": "\ud800"}', "lone-surrogate", 0),
    "a stray byte": (b'{"a": "\xff"}', "not-utf8", 8),
    "latin-1": (b'{"\xc3\xa9": "\xe9"}', "not-utf8", 8),
    "a surrogate as bytes": (b'{"a": "\xed\xa0\x80"}', "not-utf8", 8),
    "no end": (b'{"a": 1', "torn-row", 8),
    "no end of a text": (b'{"a": "half', "torn-row", 7),
    "a comma too many": (b'{"a": 1,}', "bad-json", 9),
    "a leading zero": (b'{"a": 01}', "bad-json", 8),
    "wrong quotes": (b"{'a': 1}", "bad-json", 2),
    "two objects": (b'{"a": 1} {"b": 2}', "bad-json", 10),
    "a raw tab": (b'{"a": "tab\there"}', "bad-json", 11),
    "an array": (b"[1]", "not-an-object", 0),
    "a text": (b'"text"', "not-an-object", 0),
    "null": (b"null", "not-an-object", 0),
    "a number": (b"7", "not-an-object", 0),
    "a thousand levels": (b'{"a":' * 3000 + b"1" + b"}" * 3000, "too-deep", 0),
}


@pytest.mark.parametrize(("raw", "code", "column"), BAD_ROWS.values(), ids=list(BAD_ROWS))
def test_a_bad_row_says_why_and_where(raw, code, column):
    """Each way in which a line can be wrong has its code, and a column where there is one."""
    with pytest.raises(BadRow) as problem:
        RowReader().decode(raw)
    assert (problem.value.code, problem.value.column) == (code, column)


@given(raw=st.binary(max_size=60))
@example(raw=b"")
@example(raw=b"{")
def test_any_bytes_are_a_row_or_a_bad_row(raw):
    """No line of bytes makes the reader raise anything else, and no message holds what was read."""
    problem = explain(raw)
    assert problem.code
    assert len(problem.message) < 120
    with contextlib.suppress(BadRow):
        value, canonical = RowReader().decode(raw)
        assert canonical_json(value) == canonical


def test_numbers_keep_their_digits():
    """Integers of any size survive, and a float is spelled as in ECMAScript."""
    _, canonical = RowReader().decode(b'{"id": 123456789012345678901234567890, "x": 1.50, "y": 1E3, "z": 1e-7}')
    assert canonical == b'{"id":123456789012345678901234567890,"x":1.5,"y":1000,"z":1e-7}'
    assert math.isclose(json.loads(canonical)["z"], 1e-7)
