"""Everything that can be said about a dataset before money is spent: `data check`.

One pass gives the row rules, counts and hashes; the rules about the whole dataset are read off
those. What engines take is in `limits`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import msgspec

from ftspec.data import stats
from ftspec.data.boring import as_dict
from ftspec.data.checks import all_codes
from ftspec.data.findings import KEEP
from ftspec.data.foreign import shape_of
from ftspec.data.formats import EVAL
from ftspec.data.limits import FEW, rows_text
from ftspec.data.onepass import Passed, Progress, as_diagnostic, diagnostics_of, run
from ftspec.data.rows import BadFile
from ftspec.data.rows import Place as Where
from ftspec.data.source import Source
from ftspec.data.tally import LABELS, TOOLS
from ftspec.data.tokens import DEFAULT, counter
from ftspec.data.transforms import BadTransform
from ftspec.diagnostics import Diagnostic, Place, error
from ftspec.printable import printable

if TYPE_CHECKING:
    import numpy as np

    from ftspec.data.checks.base import Setting
    from ftspec.experiment import DesiredDataset

SKEW = 0.8
BIAS = 0.7
_DROP = "drop the other members with `{type: drop, fields: [...]}`, and then the repeated rows with `{type: dedupe}`, under `transforms:`"


def audit(
    dataset: DesiredDataset,
    where: Where,
    *,
    setting: Setting | None = None,
    tokenizer: str | None = DEFAULT,
    progress: Progress | None = None,
) -> tuple[Passed | None, list[Diagnostic]]:
    """Run every rule about one dataset. Nothing was passed where its file cannot be read."""
    try:
        source = Source(dataset, where, setting=setting)
        order = msgspec.structs.replace(source.order, tokenizer=tokenizer, statistics=True, hashes=True, keep=True)
        passed = run(source, where, order, progress=progress)
        unknown = _unknown(dataset, source, passed)
    except BadFile as problem:
        return None, [as_diagnostic(dataset, problem)]
    except BadTransform as problem:
        return None, [error("bad-transform", problem.message, at=dataset.at, help=problem.help)]
    mixed = not source.one_pass
    return passed, [*diagnostics_of(dataset, passed), *unknown, *_whole(dataset, passed, places=not mixed)]


def _unknown(dataset: DesiredDataset, source: Source, passed: Passed) -> list[Diagnostic]:
    """Return that rows are none of the formats, unless they are meant for evals only."""
    if not passed.counts[""].rows or passed.format != EVAL or EVAL in (dataset.format, passed.order.setting.wanted):
        return []
    first = next(row for batch in source.rows(source.unchecked()) for row in batch)
    if (shape := shape_of(as_dict(first.value))) is None:
        return [_told("unknown-format", f"the rows of `{dataset.name}` look like none of the training formats", dataset)]
    message = f"the rows of `{dataset.name}` look like {shape.name}, which no method trains on"
    return [_told("foreign-format", message, dataset, help=f"make {shape.into} rows of them:\n  {shape.command(dataset.path)}")]


def _told(
    code: str,
    message: str,
    dataset: DesiredDataset,
    lines: Sequence[int] = (),
    count: int = 1,
    help: str | None = None,  # noqa: A002
) -> Diagnostic:
    rule = all_codes()[code]
    places = tuple(Place(path=printable(dataset.path), line=line) for line in lines[:KEEP])
    at = places[0] if places else Place(path=printable(dataset.path))
    return Diagnostic(
        code=code,
        severity=rule.severity,
        message=message,
        help=help or rule.help,
        at=at,
        count=count,
        places=places if count > 1 else (),
    )


def _whole(dataset: DesiredDataset, passed: Passed, *, places: bool) -> list[Diagnostic]:
    """Return what the rules about the dataset as a whole say."""
    counts = passed.counts[""]
    if not counts.rows:
        return []
    name = dataset.name
    found = _repeated(dataset, passed, places=places)
    if labels := stats.labels_of(counts):
        most = next(iter(labels.values()))
        if len(labels) > 1 and counts.rows >= FEW and most >= SKEW * counts.rows:
            found.append(_told("label-skew", f"{most / counts.rows:.0%} of the rows of `{name}` have the same answer", dataset))
    if passed.order.setting.labels and len(counts.labels) <= LABELS:
        rare = sum(1 for rows in counts.labels.values() if rows == 1)
        if rare:
            found.append(_told("rare-label", f"{rare} of {len(counts.labels)} labels of `{name}` appear in one row only", dataset))
    if passed.format in {"chat", "reinforcement"} and 0 < counts.with_system < counts.rows:
        found.append(_told("mixed-system", f"{counts.with_system} of {counts.rows} rows of `{name}` have a system prompt", dataset))
    found += _tools(dataset, passed)
    if counts.with_images:
        most_rows = passed.order.setting.max_image_rows
        if counts.with_images > most_rows:
            found.append(
                _told("too-many-image-rows", f"{rows_text(counts.with_images)} of `{name}` have images; {most_rows:,} can", dataset)
            )
        found.append(_told("images-skipped", f"{counts.with_images} rows of `{name}` have images; engines may skip some of them", dataset))
    if counts.rows >= FEW:
        for which, rows in (("longer", counts.preferred_longer), ("shorter", counts.other_longer)):
            if rows >= BIAS * counts.rows:
                share = rows / counts.rows
                found.append(
                    _told("length-bias", f"the preferred answer is the {which} one in {share:.0%} of the rows of `{name}`", dataset)
                )
    if len(counts.sources) > 1:
        shares = ", ".join(
            f"{rows / counts.rows:.0%} {printable(one)}" for one, rows in sorted(counts.sources.items(), key=lambda s: -s[1])[:5]
        )
        found.append(_told("source-mix", f"the rows of `{name}` come from {len(counts.sources)} sources: {shares}", dataset))
    if passed.order.tokenizer and not counter(passed.order.tokenizer).exact:
        error_share = counter(passed.order.tokenizer).error
        found.append(_told("estimated-tokens", f"tokens are estimated from bytes, within {error_share:.0%}", dataset))
    return found


def _tools(dataset: DesiredDataset, passed: Passed) -> list[Diagnostic]:
    """Return what is odd about the tools that rows declare. What reinforcement rows call is the model's own affair."""
    counts, found = passed.counts[""], []
    if (sets := len(counts.tool_sets)) > 1:
        least = "at least " if sets >= TOOLS else ""
        found.append(_told("mixed-tools", f"the rows of `{dataset.name}` declare {least}{sets} different sets of tools", dataset))
    unused = [printable(tool[:64]) for tool in counts.declared if tool not in counts.called]
    if unused and passed.format != "reinforcement" and len(counts.declared) < TOOLS:
        names = ", ".join(f"`{tool}`" for tool in unused[:KEEP]) + (f" and {len(unused) - KEEP} more" if len(unused) > KEEP else "")
        are = "tool is" if len(unused) == 1 else "tools are"
        found.append(_told("unused-tool", f"{len(unused)} {are} declared and never called in `{dataset.name}`: {names}", dataset))
    return found


def _repeated(dataset: DesiredDataset, passed: Passed, *, places: bool) -> list[Diagnostic]:
    """Return repeated rows, prompts with several answers, and reversed pairs."""
    import numpy as np

    hashes = np.frombuffer(passed.totals.hashes, dtype=np.uint64).reshape(-1, 4)
    lines = np.frombuffer(passed.totals.places, dtype=np.uint64)
    rows, prompts, targets, others = hashes.T
    found = []

    def tell(code: str, message: str, chosen: np.ndarray, help: str | None = None) -> None:  # noqa: A002
        if len(chosen):
            where = [int(line) for line in lines[chosen][:KEEP]] if places else []
            found.append(_told(code, message, dataset, where, count=len(chosen), help=help))

    first, again = _firsts(np.arange(len(rows)), rows)
    tell("duplicate-row", f"a row of `{dataset.name}` is there already", again)
    if passed.format in {"chat", "completion"}:
        kept, again = _firsts(first, prompts * np.uint64(3) + targets)
        tell("duplicate-row", f"prompt and answer of a row of `{dataset.name}` are there already, beside other members", again, _DROP)
        _, later = _firsts(kept, prompts)
        tell("ambiguous-prompt", f"a prompt of `{dataset.name}` is there already, with another answer", later)
    if passed.format == "preference":
        seen = {(int(p), int(t), int(o)): i for i, (p, t, o) in enumerate(zip(prompts, targets, others, strict=True))}
        reversed_pairs = [i for (p, t, o), i in seen.items() if t != o and seen.get((p, o, t), i) < i]
        tell(
            "reversed-pair",
            f"a pair of `{dataset.name}` is there already, the other way round",
            np.array(sorted(reversed_pairs), dtype=int),
        )
    return found


def _firsts(chosen: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return which of the chosen rows are the first with their value, and which come later, both in order."""
    import numpy as np

    _, first = np.unique(values[chosen], return_index=True)
    later = np.setdiff1d(np.arange(len(chosen)), first)
    return chosen[np.sort(first)], chosen[later]


def over_context(dataset: DesiredDataset, passed: Passed, model: str, context: int) -> list[Diagnostic]:
    """Return how many rows a model's training context cuts off."""
    rows, lost = stats.beyond(passed.counts[""].lengths, context)
    if not rows:
        return []
    share = lost / max(passed.counts[""].tokens, 1)
    sentence = f"{rows_text(rows)} of `{dataset.name}` {'is' if rows == 1 else 'are'} longer than the {context} tokens that `{printable(model)}` trains on; {share:.1%} of the tokens are cut off"
    return [_told("over-context", sentence, dataset)]
