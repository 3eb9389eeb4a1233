"""YAML text becomes plain values with places, by the rules of YAML 1.2."""

from __future__ import annotations

import pytest

from ftspec.spec.source import parse, scalar
from ftspec.spec.tree import plain


def value(text: str) -> object:
    found, _, problems = parse(text.encode(), "x.yaml")
    assert problems == []
    return plain(found)


@pytest.mark.parametrize(
    ("text", "meaning"),
    [
        ("1e-5", 1e-5),
        ("1E5", 1e5),
        ("-.5", -0.5),
        ("3.", 3.0),
        ("+12", 12),
        ("010", 10),
        ("0o17", 15),
        ("0x1F", 31),
        ("no", "no"),
        ("on", "on"),
        ("Yes", "Yes"),
        ("12:30", "12:30"),
        ("2026-11-20", "2026-11-20"),
        ("1_000", "1_000"),
        ("1e", "1e"),
        (".", "."),
        ("-", "-"),
        ("0b1", "0b1"),
        ("True", True),
        ("FALSE", False),
        ("~", None),
        ("null", None),
        ("Null", None),
        ("nULL", "nULL"),
        ("", None),
        ("=", "="),
    ],
)
def test_plain_scalars_follow_the_core_schema_of_yaml_1_2(text: str, meaning: object) -> None:
    """Numbers, booleans and null have the spellings of YAML 1.2; everything else is text."""
    assert scalar(text) == meaning
    assert type(scalar(text)) is type(meaning)
    if text != "-":
        assert value(f"a: {text}\n") == {"a": meaning}


@pytest.mark.parametrize("text", ["'1'", '"1"', "'true'", '"null"', "|-\n  1"])
def test_quoted_scalars_are_text(text: str) -> None:
    """Quotes and block scalars keep numbers and words as text."""
    assert isinstance(value(f"a: {text}\n")["a"], str)  # type: ignore[index]


@pytest.mark.parametrize("text", [".inf", "-.Inf", ".nan", "1e999", "9" * 400, "0x" + "f" * 400])
def test_numbers_without_a_json_form_are_refused_with_their_place(text: str) -> None:
    """Infinities, NaN and absurdly long numbers are named, not turned into something else."""
    _, _, (problem,) = parse(f"a:\n  b: {text}\n".encode(), "x.yaml")
    assert (problem.code, str(problem.at)) == ("bad-number", "x.yaml:2:6")


def test_every_node_knows_where_it_is_written() -> None:
    """Keys, values and items have line, column and end column, counted from one in code points."""
    tree, _, _ = parse("ä: x\nlist: [1, 'zwei', 3]\nmap:\n  key: value\n".encode(), "x.yaml")
    assert str(tree.key_at("ä")) == "x.yaml:1:1"
    assert str(tree.value_at("ä")) == "x.yaml:1:4"
    item = tree["list"].item_at(1)
    assert (item.line, item.column, item.end_column, item.excerpt) == (2, 11, 17, "list: [1, 'zwei', 3]")
    assert str(tree["map"].key_at("key")) == "x.yaml:4:3"


def test_a_duplicate_key_is_refused_with_both_places() -> None:
    """The second key is the problem, the first one is shown beside it and keeps its value."""
    tree, _, (problem,) = parse(b"a: 1\nb: 2\na: 3\n", "x.yaml")
    assert problem.message == "`a` is given twice"
    assert (str(problem.at), str(problem.also[0][1])) == ("x.yaml:3:1", "x.yaml:1:1")
    assert plain(tree) == {"a": 1, "b": 2}


def test_several_problems_of_one_file_are_reported_together() -> None:
    """Duplicates, tags, odd keys and bad numbers do not hide each other."""
    _, _, problems = parse(b"a: 1\na: 2\n1: x\n[1, 2]: y\nb: !!str x\nc: .nan\n? {d: 1}\n: 2\n", "x.yaml")
    assert [one.code for one in problems] == ["duplicate-key", "key-not-text", "key-not-text", "yaml-tag", "bad-number", "key-not-text"]


@pytest.mark.parametrize("tag", ["!!python/object/apply:os.system [x]", "!!str x", "! x", "!x {a: 1}", "!!binary aGk=", "!!set {a}"])
def test_tags_are_refused(tag: str) -> None:
    """No tag has a meaning, not even the harmless ones."""
    _, _, problems = parse(f"a: {tag}\n".encode(), "x.yaml")
    assert {one.code for one in problems} == {"yaml-tag"}


def test_aliases_and_merges_stand_for_what_they_name() -> None:
    """`*name` is the value of `&name`; `<<: *name` fills in keys that are not given."""
    assert value("base: &b {a: 1, c: 2}\none:\n  <<: *b\n  a: 3\ntwo: *b\n") == {
        "base": {"a": 1, "c": 2},
        "one": {"a": 3, "c": 2},
        "two": {"a": 1, "c": 2},
    }


@pytest.mark.parametrize("text", ["a: {<<: [1]}\n", "a: {<<: 3}\n", "x: &x [1]\na: {<<: *x}\n", "p: &p {a: 1}\nq: {<<: [*p, *p]}\n"])
def test_only_one_mapping_can_be_merged(text: str) -> None:
    """Lists of mappings and scalars behind `<<` are refused."""
    _, _, problems = parse(text.encode(), "x.yaml")
    assert [one.code for one in problems] == ["merge-key"]


def test_a_byte_order_mark_and_crlf_are_tolerated() -> None:
    """Editors of other systems write them; values and lines are the same."""
    tree, _, problems = parse(b"\xef\xbb\xbfa: 1\r\nb:\r\n  - x\r\n", "x.yaml")
    assert (plain(tree), problems) == ({"a": 1, "b": ["x"]}, [])
    assert str(tree["b"].item_at(0)) == "x.yaml:3:5"


def test_the_excerpt_of_a_line_hides_keys_and_control_characters() -> None:
    """A place can be shown as it is: no key, no escape sequence."""
    tree, _, _ = parse(b'a: "sk-abcdefghijklmnop1234" # \xe2\x80\xae\n', "x.yaml")
    assert tree.value_at("a").excerpt == 'a: "[redacted]" # \\u202e'


def test_no_text_at_all_is_nothing() -> None:
    """An empty file has no value and no problem of its own."""
    assert parse(b"", "x.yaml")[0] is None
    assert parse(b"# only a comment\n", "x.yaml")[2] == []


@pytest.mark.parametrize(
    ("data", "code", "place", "words"),
    [
        (b"a: \xff\n", "not-utf8", "x.yaml:1", "byte 0xff is not UTF-8"),
        (b"a: 1\nb: \xe4\n", "not-utf8", "x.yaml:2", "byte 0xe4"),
        (b"\xff\xfea\x00:\x00", "not-utf8", "x.yaml:1", "byte 0xff"),
        (b"a: 1\nb: x\x00y\n", "control-character", "x.yaml:2", "NUL"),
        (b"a: 1\nb: x\x07y\n", "control-character", "x.yaml:2", "U+0007"),
        (b"a: 1\n\tb: 2\n", "yaml-syntax", "x.yaml:2:1", "tab character"),
        (b"a: b: c\n", "yaml-syntax", "x.yaml:1:5", "mapping values are not allowed"),
        (b"a: 1\n<<<<<<< HEAD\nb: 2\n=======\nb: 3\n>>>>>>> other\n", "yaml-syntax", "x.yaml:2:1", "conflict markers of a merge"),
        (b"a: [1, 2\n", "yaml-syntax", "x.yaml:2:1", ""),
        (b"a: *b\n", "yaml-syntax", "x.yaml:1:4", "undefined alias"),
        (b"a: 1\n---\nb: 2\n", "several-documents", "x.yaml:2:1", "one YAML document"),
        (b'a: "\\ud800"\n', "yaml-syntax", "x.yaml:1:7", "Unicode"),
    ],
)
def test_text_that_is_not_yaml_is_named_by_line(data: bytes, code: str, place: str, words: str) -> None:
    """One diagnostic says what and where; nothing is raised."""
    _, _, (problem,) = parse(data, "x.yaml")
    assert (problem.code, str(problem.at)) == (code, place)
    assert words in problem.message
