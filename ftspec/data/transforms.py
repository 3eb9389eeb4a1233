"""Transforms: what a spec may do to rows between the file and the engine.

    transforms:
      - {type: strip_reasoning}                      # or keep_reasoning
      - {type: system_prompt, file: prompt.txt}      # or text: ...; when: missing keeps present ones
      - {type: drop, fields: [customer_id]}
      - {type: dedupe}                               # or by: prompt, the first answer stays
      - {type: sample, n: 1000, seed: 1}             # or fraction: 0.1, or first: 1000 (per: part)
      - {type: mix, with: {general: 0.25}, seed: 1}  # a quarter as many rows of dataset `general`

All are deterministic and work on a stream: the same rows and settings give the same rows, in
the same order. Samples are drawn by a hash of the row, so that most of a sample stays when
rows are added. Rows are dealt to the parts of a split before they are transformed.
"""

from __future__ import annotations

import hashlib
import heapq
import re
from array import array
from collections.abc import Callable, Iterator, Mapping
from itertools import chain, islice, repeat
from typing import TYPE_CHECKING, Any

import msgspec

from ftspec.data.boring import as_dict
from ftspec.data.messages import messages_of, role_of
from ftspec.data.rows import BadFile
from ftspec.data.split import field_of
from ftspec.diagnostics import FtspecError
from ftspec.printable import printable

if TYPE_CHECKING:
    from ftspec.data.formats.base import Format
    from ftspec.experiment import DesiredDataset


class Row(msgspec.Struct, gc=False):
    """A good row: what it says, its canonical bytes, its part ("" without a split), and where it was written."""

    value: Any
    canonical: bytes
    part: str
    line: int
    path: str


Rows = Callable[[], Iterator[Row]]
"""A stream of rows that can be started again."""

RowStep = Callable[[dict[str, Any]], dict[str, Any]]

OPTIONS: Mapping[str, frozenset[str]] = {
    "strip_reasoning": frozenset(),
    "keep_reasoning": frozenset(),
    "system_prompt": frozenset({"file", "text", "when", "sha256"}),
    "drop": frozenset({"fields"}),
    "dedupe": frozenset({"by"}),
    "sample": frozenset({"n", "fraction", "first", "per", "seed"}),
    "mix": frozenset({"with", "seed"}),
}
"""Every transform and its options."""

STREAMED = frozenset({"dedupe", "sample", "mix"})
"""Transforms that look at more than one row."""

REASONING_MEMBERS = ("reasoning_content", "reasoning", "thinking")
_THOUGHT = re.compile(r"\A\s*<(think|thinking|reasoning)>(.*?)</\1>\s*", re.DOTALL)


class BadTransform(FtspecError):
    """A transform that the spec declares makes no sense."""


def validate(dataset: DesiredDataset) -> None:
    """Raise `BadTransform` where a declared transform is unknown or lacks what it needs."""
    for one in dataset.transforms:
        kind = str(one.get("type"))
        if kind not in OPTIONS:
            raise BadTransform(f"dataset `{dataset.name}`: `{printable(kind)}` is not a transform", help=f"use one of {', '.join(OPTIONS)}")
        unknown = sorted(one.keys() - OPTIONS[kind] - {"type"})
        if unknown:
            known = ", ".join(f"`{name}`" for name in sorted(OPTIONS[kind])) or "none"
            raise BadTransform(
                f"dataset `{dataset.name}`: `{printable(unknown[0])}` is not an option of `{kind}`", help=f"its options: {known}"
            )
        if problem := _problem(kind, one):
            raise BadTransform(f"dataset `{dataset.name}`: transform `{kind}` {problem}")


def _problem(kind: str, one: Mapping[str, Any]) -> str | None:
    match kind:
        case "system_prompt" if ("file" in one) == ("text" in one):
            return "needs `file` or `text`"
        case "system_prompt" if one.get("when", "always") not in ("always", "missing"):
            return "takes `when: always` or `when: missing`"
        case "drop" if not (isinstance(one.get("fields"), list) and all(isinstance(name, str) for name in one["fields"])):
            return "needs `fields`, a list of names"
        case "dedupe" if one.get("by", "row") not in ("row", "prompt"):
            return "takes `by: row` or `by: prompt`"
        case "sample" | "mix" if not _is_whole(one.get("seed", 0)):
            return "needs a whole number as `seed`"
        case "sample" if len(one.keys() & {"n", "fraction", "first"}) != 1:
            return "needs one of `n`, `fraction` and `first`"
        case "sample" if not _is_count(one.get("n", one.get("first", 1))):
            return "needs a whole number of rows"
        case "sample" if not _is_share(one.get("fraction", 0.5), most=1):
            return "needs a `fraction` above 0, at most 1"
        case "sample" if one.get("per", "part") != "part" or ("per" in one and "first" not in one):
            return "takes `per: part` with `first` only"
        case "mix" if not (isinstance(one.get("with"), Mapping) and one["with"]):
            return "needs `with`, datasets and how many rows of each for one row of this dataset"
        case "mix" if not all(_is_share(share, most=1000) for share in one["with"].values()):
            return "needs shares above 0"
    return None


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and abs(value) < 2**63


def _is_count(value: Any) -> bool:
    return _is_whole(value) and value > 0


def _is_share(value: Any, *, most: float) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and 0 < value <= most


def row_step(one: Mapping[str, Any]) -> RowStep:
    """Return the function of a transform that looks at one row at a time (`system_prompt` with its `text` read)."""
    match one["type"]:
        case "strip_reasoning":
            return _strip_reasoning
        case "keep_reasoning":
            return _keep_reasoning
        case "drop":
            fields = set(one["fields"])
            return lambda row: {key: value for key, value in row.items() if key not in fields}
        case "system_prompt":
            text, missing_only = str(one["text"]), one.get("when") == "missing"
            return lambda row: _with_system_prompt(row, text, missing_only=missing_only)
        case _:
            raise AssertionError(one["type"])


def _each_answer(row: dict[str, Any], change: Callable[[dict[str, Any]], dict[str, Any]]) -> dict[str, Any]:
    """Apply `change` to the assistant's messages wherever a row of any format has some."""
    made = dict(row)
    for key in ("messages", "preferred_output", "non_preferred_output"):
        if isinstance(made.get(key), list):
            made[key] = [change(one) if isinstance(one, dict) and role_of(one) == "assistant" else one for one in made[key]]
    if isinstance(made.get("input"), dict):
        made["input"] = _each_answer(made["input"], change)
    return made


def _strip_reasoning(row: dict[str, Any]) -> dict[str, Any]:
    def change(message: dict[str, Any]) -> dict[str, Any]:
        kept = {key: value for key, value in message.items() if key not in REASONING_MEMBERS}
        if isinstance(kept.get("content"), str):
            kept["content"] = _THOUGHT.sub("", kept["content"])
        return kept

    return _each_answer(row, change)


def _keep_reasoning(row: dict[str, Any]) -> dict[str, Any]:
    """Move reasoning from members of its own into the content, where engines train on it."""

    def change(message: dict[str, Any]) -> dict[str, Any]:
        kept = {key: value for key, value in message.items() if key not in REASONING_MEMBERS}
        thought = next((message[key] for key in REASONING_MEMBERS if isinstance(message.get(key), str) and message[key].strip()), None)
        content = kept.get("content")
        if thought is not None and (content is None or isinstance(content, str)) and not _THOUGHT.match(content or ""):
            kept["content"] = f"<think>\n{thought.strip()}\n</think>\n\n{content or ''}".rstrip()
        return kept

    return _each_answer(row, change)


def _with_system_prompt(row: dict[str, Any], text: str, *, missing_only: bool) -> dict[str, Any]:
    if isinstance(row.get("input"), dict):
        return {**row, "input": _with_system_prompt(row["input"], text, missing_only=missing_only)}
    messages = row.get("messages")
    if not isinstance(messages, list):
        return row
    prompts = {"system", "developer"}
    if missing_only and any(role_of(one) in prompts for one in messages_of(messages)):
        return row
    rest = [one for one in messages if not (isinstance(one, dict) and role_of(one) in prompts)]
    return {**row, "messages": [{"role": "system", "content": text}, *rest]}


def dedupe(rows: Rows, form: Format, *, by: str = "row") -> Rows:
    """Keep the first of equal rows, or of rows with equal prompts."""
    from ftspec.fingerprint import canonical_json

    def stream() -> Iterator[Row]:
        seen: set[bytes] = set()
        for row in rows():
            said = row.canonical if by == "row" else canonical_json(form.prompt(as_dict(row.value)))
            key = hashlib.blake2b(said, digest_size=16).digest()
            if key not in seen:
                seen.add(key)
                yield row

    return stream


def head(rows: Rows, *, first: int, per_part: bool = False) -> Rows:
    """Keep the first rows, of the whole or of each part."""
    if not per_part:
        return lambda: islice(rows(), first)

    def stream() -> Iterator[Row]:
        kept: dict[str, int] = {}
        for row in rows():
            kept[row.part] = kept.get(row.part, 0) + 1
            if kept[row.part] <= first:
                yield row

    return stream


def sample(rows: Rows, *, n: int | None = None, fraction: float | None = None, seed: int = 0) -> Rows:
    """Draw `n` rows or a fraction by hash; their order stays."""

    def stream() -> Iterator[Row]:
        seeded = _seeded("sample", seed)
        if n is None:
            below = round((fraction or 0) * 2**64)
            yield from (row for row in rows() if _hashed(seeded, row.canonical) < below)
            return
        hashes = array("Q", (_hashed(seeded, row.canonical) for row in rows()))
        chosen = set(heapq.nsmallest(n, range(len(hashes)), key=hashes.__getitem__))
        yield from (row for position, row in enumerate(rows()) if position in chosen)

    return stream


def mix(rows: Rows, others: list[tuple[Rows, float]], *, seed: int = 0) -> Rows:
    """Spread rows of other datasets evenly among the rows: `share` of theirs for each of these.

    Too few of theirs are repeated whole; too many are sampled.
    """

    def stream() -> Iterator[Row]:
        own = sum(1 for _ in rows())
        streams = [rows()]
        counts = [own]
        for other, share in others:
            wanted = round(own * share)
            present = sum(1 for _ in other())
            if not present or not wanted:
                continue
            whole, rest = divmod(wanted, present)
            drawn = sample(other, n=rest, seed=seed)() if rest else iter(())
            streams.append(islice(chain(chain.from_iterable(again() for again in repeat(other, whole)), drawn), wanted))
            counts.append(wanted)
        yield from _interleaved(streams, counts)

    return stream


def _interleaved(streams: list[Iterator[Row]], counts: list[int]) -> Iterator[Row]:
    """Yield from all streams so that each is spread evenly over the whole."""
    queue = [((1 / 2) / count, position) for position, count in enumerate(counts) if count]
    heapq.heapify(queue)
    taken = [0] * len(counts)
    while queue:
        _, position = heapq.heappop(queue)
        row = next(streams[position], None)
        if row is None:
            raise BadFile("changed-while-read", "a file changed while it was read")
        yield row
        taken[position] += 1
        if taken[position] < counts[position]:
            heapq.heappush(queue, ((taken[position] + 1 / 2) / counts[position], position))


def _seeded(purpose: str, seed: int) -> Any:
    return hashlib.blake2b(f"{purpose} {seed}\n".encode(), digest_size=8)


def _hashed(seeded: Any, data: bytes) -> int:
    one = seeded.copy()
    one.update(data)
    return int.from_bytes(one.digest(), "big")


def source_of(row: Mapping[str, Any]) -> str | None:
    """Return where a row says it comes from (`source`, `metadata.source`), for the mix of sources."""
    for steps in (["source"], ["metadata", "source"]):
        if isinstance(value := field_of(row, steps), str):
            return value
    return None
