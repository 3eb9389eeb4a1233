"""Content changed in ways that break parsers: by value where it is a tree, by byte everywhere.

Everything is chosen by the `Random` that is given, so that a number (or hypothesis) replays it.
"""

from __future__ import annotations

import json
from random import Random
from typing import TYPE_CHECKING, Any, Final, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from ftspec.testing.fuzz.target import Form

TEXTS: Final = (
    *("", " ", "x", "\0", "\x1b[2J", "\x9b31m", "\u202e", "\u2028", "\x85", "\ud800", "\ufeff", "\U0001f600", "e\u0301"),
    *("..", "../../../etc/passwd", "/dev/zero", "~", "a/b", "C:\\x", "\n", "\r\n", "a" * 300, "x" * 100_000),
    *("0", "-1", "1e999", "nan", "inf", "-0.0", "1_000", "0x10", "\u0661\u0662", "\u00b2", "9" * 5000, "true", "null"),
    *("0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00", "2026-11-20", "2026-11-20T10:00:00", "1e20", "20261120T100000Z"),
    *("{{item.x}}", "{{", "{seed}", "{", "%s", "$(x)", "::set-output name=a::b", "##[group]", "</script><img onerror=x>", "=1+1", "<<<<<<< "),
    *("data:image/png;base64,iVBORw0KGgo=", "http://169.254.169.254/", "sk-abcdefghijklmnop123456", "auto", "__proto__", "[", "a.b.c", "*"),
)  # fmt: skip

FRAGMENTS: Final = (
    *(b"null", b"true", b"false", b"0", b"1", b"-1", b"-0", b"0.1", b"1.5", b"1e400", b"-1e400", b"1e-400", b"NaN", b"Infinity"),
    *(b"2147483648", b"9223372036854775808", b"-9223372036854775809", b"18446744073709551616", b"1" * 400, b"1" * 5000, b"1e15", b"253402300800"),
    *(b"[]", b"{}", b"[[]]", b"[null]", b"[{}]", b'[""]', b'{"":null}', b'{"a":1,"a":2}', b"[1,2,3]", b'["a","a"]', b'{"type":[]}'),
    *(b"[" * 90 + b"]" * 90, b'{"a":' * 90 + b"1" + b"}" * 90, b"[" * 3000 + b"]" * 3000, b'{"a":' * 3000 + b"1" + b"}" * 3000),
    *(b'"\\ud800"', b'"\\u0000"', b'"\xed\xa0\x80"', b'"\xff"', b'"\\x"', b"'x'", b"\xef\xbb\xbf1", b"undefined", b"- x", b"0x1f", b"1_0"),
    b"[" + b"0," * 5000 + b"0]",
    b"{" + b",".join(b'"k%d":%d' % (i, i) for i in range(2000)) + b"}",
    *(json.dumps(text).encode() for text in TEXTS),
    *(json.dumps(text, ensure_ascii=False).encode("utf-8", "surrogatepass") for text in TEXTS if not text.isascii()),
)  # fmt: skip
"""Values as JSON writes them, and some that it does not."""

PIECES: Final = (
    *(b'"', b"{", b"}", b"[", b"]", b":", b",", b"\\", b"\n", b"\r\n", b"\0", b"\t", b" ", b"#", b"%", b"&a ", b"*a", b"!!x ", b"<<: ", b"~"),
    *(b"|\n", b"- ", b"? ", b": ", b"---\n", b"\xe2\x80\xa8", b"\xef\xbb\xbf", b"\xed\xa0\x80", b"\xff", b"\x1b[2J", b"<<<<<<< a\n", b"=======\n"),
    *(b"null", b"NaN", b"1e999", b"-1", b"99999999999999999999999", b"\\ud800", b"{{", b"}}", b"(" * 200, b"[" * 3000, b"=", b"+", b"**"),
)  # fmt: skip

_LONGEST_TREE: Final = 200_000


class Raw(bytes):
    """A value of a tree that is written as it is."""

    __slots__ = ()


class Pairs(list[tuple[Any, Any]]):
    """An object of a tree: its members in order, names may repeat."""


Path: TypeAlias = tuple[str, ...]


def mutated(choose: Random, content: bytes, form: Form, *, fragments: Sequence[bytes] = FRAGMENTS) -> bytes:
    """Return the content with one or a few changes."""
    for _ in range(choose.choice((1, 1, 1, 2, 4))):
        changed = _by_value(choose, content, form, fragments) if choose.random() < 0.75 else None
        content = _by_byte(choose, content) if changed is None else changed
    return content


def tree_of(content: bytes, form: Form) -> list[Any] | None:
    """Return the content as a list of trees (`None`: it is none)."""
    if len(content) > _LONGEST_TREE:
        return None
    try:
        if form == "yaml":
            import yaml

            return None if b"&" in content else [_paired(yaml.load(content, yaml.CSafeLoader))]
        pieces = content.split(b"\n") if form == "jsonl" else [content]
        return [json.loads(piece, object_pairs_hook=Pairs) for piece in pieces if piece.strip()]
    except (ValueError, RecursionError, TypeError, OverflowError, ImportError):
        return None
    except Exception as error:
        if type(error).__module__.startswith("yaml"):
            return None
        raise


def written(value: Any) -> bytes:
    """Return a tree as JSON, with its raw values as they are."""
    match value:
        case Raw():
            return bytes(value)
        case Pairs():
            return b"{" + b",".join(written(name) + b":" + written(one) for name, one in value) + b"}"
        case list():
            return b"[" + b",".join(map(written, value)) + b"]"
        case _:
            return json.dumps(value, default=str).encode()


def _by_value(choose: Random, content: bytes, form: Form, fragments: Sequence[bytes]) -> bytes | None:
    head = b""
    if form == "http":
        head, blank, content = content.partition(b"\n\n")
        head += blank
    if form == "text" or (trees := tree_of(content, form)) is None:
        return None
    holder: list[Any] = trees
    slots = [(holding, place) for holding, place, _ in places(holder)]
    if not slots:
        return None
    holding, place = choose.choice(slots)
    fragment = Raw(choose.choice(fragments))
    pair = isinstance(holding, Pairs)
    match choose.randrange(9):
        case 0:
            del holding[place]
        case 1 if pair:
            holding.insert(place, (holding[place][0], fragment))
        case 2 if pair:
            holding[place] = (choose.choice(TEXTS), holding[place][1])
        case 3:
            donor, index = choose.choice(slots)
            _put(holding, place, Raw(written(_value(donor, index))))
        case 4:
            _put(holding, place, [Raw(written(_value(holding, place)))] * choose.choice((1, 2, 50)))
        case 5:
            _put(holding, place, Pairs([(choose.choice(TEXTS), Raw(written(_value(holding, place))))]))
        case _:
            _put(holding, place, fragment)
    return head + b"\n".join(map(written, holder)) + (b"\n" if form in {"jsonl", "yaml"} else b"")


def _by_byte(choose: Random, content: bytes) -> bytes:
    start = choose.randrange(len(content) + 1)
    end = start + choose.choice((1, 2, 5, 20, 100))
    match choose.randrange(6):
        case 0:
            return content[:start] + bytes([choose.randrange(256)]) + content[start:]
        case 1:
            return content[:start] + content[end:]
        case 2:
            return content[:start] + content[start:end] * choose.choice((2, 50)) + content[end:]
        case 3:
            return content[:start]
        case 4:
            return content[:start] + bytes([choose.randrange(256)]) + content[start + 1 :]
        case _:
            return content[:start] + choose.choice(PIECES) + content[start:]


def places(value: Any, path: Path = ()) -> Iterator[tuple[list[Any], int, Path]]:
    """Yield where each value of a tree is held, and the names that lead there (`*` in a list); inner values after outer ones."""
    if isinstance(value, list):
        for place, one in enumerate(value):
            name, inner = one if isinstance(value, Pairs) else ("*", one)
            within = (*path, name)
            yield value, place, within
            yield from places(inner, within)


def _value(holding: list[Any], place: int) -> Any:
    return holding[place][1] if isinstance(holding, Pairs) else holding[place]


def _put(holding: list[Any], place: int, value: Any) -> None:
    holding[place] = (holding[place][0], value) if isinstance(holding, Pairs) else value


def _paired(value: Any) -> Any:
    match value:
        case dict():
            return Pairs([(str(name), _paired(one)) for name, one in value.items()])
        case list():
            return [_paired(one) for one in value]
        case _:
            return value
