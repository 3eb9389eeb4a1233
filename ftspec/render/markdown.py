"""A plan as Markdown for a pull request: counts, cost and changed jobs first, at most 65,000 characters.

Foreign text only ever stands inside code spans and fences that are longer than any run of
backticks in it, so that it can neither end them, link, mention anybody nor smuggle in HTML.
What does not fit is counted and left to `ftspec plan --full`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from ftspec.actions import Plan
from ftspec.printable import printable
from ftspec.render.diagnostics import to_text as diagnostics_text
from ftspec.render.summary import Summary, summarise
from ftspec.render.text import Page, counts_text, options_text, total_cost_text
from ftspec.render.words import quota_text, tokens_text

LIMIT = 65_000
"""GitHub refuses comments above 65,536 characters."""

_RESERVE = 200
"""What a section needs beside its lines: title, fences, the sentence about what was left out."""

_LISTED = 20
PROBLEMS = "Problems"
_TICKS = re.compile("`+")


def to_markdown(plan: Plan) -> str:
    """Return the plan as Markdown."""
    summary = summarise(plan)
    text = "\n".join(_head(plan, summary))
    for title, lines in _sections(plan, summary):
        text += _section(title, lines, room=LIMIT - len(text))
    return text


def code(text: str) -> str:
    """Return foreign text as a code span that it cannot leave."""
    shown = printable(text) or " "
    ticks = "`" * (_longest_run(shown) + 1)
    pad = " " if shown.startswith("`") or shown.endswith("`") else ""
    return f"{ticks}{pad}{shown}{pad}{ticks}"


def fence(text: str, language: str = "text") -> str:
    """Return printable lines as a code block that they cannot leave. Hosts paint the marks of `diff` lines."""
    ticks = "`" * max(_longest_run(text) + 1, 3)
    return f"{ticks}{language}\n{text}\n{ticks}"


def _longest_run(text: str) -> int:
    return max((len(run) for run in _TICKS.findall(text)), default=0)


def _head(plan: Plan, summary: Summary) -> Iterator[str]:
    yield f"## Plan: {counts_text(summary)}"
    yield ""
    if plan.project:
        yield f"- Project: {code(plan.project)}"
    if summary.all_launches:
        yield f"- Trained tokens: {tokens_text(plan.cost)}"
    if summary.all_launches or summary.evals:
        yield f"- Cost: {code(total_cost_text(plan))}"
    for verdict in plan.verdicts:
        yield f"- Policy {code(verdict.rule)}: {'ok' if verdict.ok else '**refused**'}, {code(verdict.sentence)}"
    for quota in plan.quota[:_LISTED]:
        yield f"- Quota: {code(quota_text(quota))}"
    if options := options_text(plan):
        yield f"- Options: {code(options[:1000])}"
    yield ""


def _sections(plan: Plan, summary: Summary) -> Iterator[tuple[str, Sequence[str]]]:
    attention = Summary(failed=summary.failed, waiting=summary.waiting, failed_evals=summary.failed_evals)
    rest = Summary(
        running=summary.running,
        adopted=summary.adopted,
        relabelled=summary.relabelled,
        forgotten=summary.forgotten,
        kept=summary.kept,
    )
    yield "Changed", _lines(plan, Summary(changed=summary.changed))
    yield PROBLEMS, diagnostics_text(plan.diagnostics).split("\n") if plan.diagnostics else []
    yield "Needs attention", _lines(plan, attention)
    yield "New", _lines(plan, Summary(launches=summary.launches))
    yield "Uploads and evals", _lines(plan, Summary(uploads=summary.uploads, evals=summary.evals))
    yield "Everything else", _lines(plan, rest)


def _lines(plan: Plan, part: Summary) -> list[str]:
    return [line for entry in Page(plan, part).body() for line in entry.split("\n")]


def _section(title: str, lines: Sequence[str], *, room: int) -> str:
    """Return a section of as many lines as fit; an empty one is left out."""
    if not lines or room < 2 * _RESERVE:
        return ""
    fitting: list[str] = []
    used = 2 * _longest_run("\n".join(lines)) + _RESERVE
    for line in lines:
        used += len(line) + 1
        if used > room:
            break
        fitting.append(line)
    left_out = len(lines) - len(fitting)
    language = "text" if title == PROBLEMS else "diff"
    text = f"\n### {title}\n\n" + (fence("\n".join(fitting), language) + "\n" if fitting else "")
    return text + (f"\n{left_out:,} more lines: `ftspec plan --full`\n" if left_out else "")
