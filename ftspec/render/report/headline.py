"""The few figures that a report begins with. Pure; kinds of engines are never added up."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ftspec.render.words import count, money

if TYPE_CHECKING:
    from ftspec.render.report.values import Report, Spent


@dataclass(frozen=True, slots=True, kw_only=True)
class Fact:
    """A figure, what it is, and what is to be said of it."""

    title: str
    value: str
    detail: str = ""
    bad: bool = False


def headline(report: Report) -> Sequence[Fact]:
    """Return the facts at the top of a report."""
    return [*_jobs(report), *_best(report), *_tokens(report), *_money(report)]


def status_counts(report: Report) -> dict[str, int]:
    """Return how many jobs have each status."""
    counts: dict[str, int] = {}
    for one in report.jobs:
        counts[one.status] = counts.get(one.status, 0) + 1
    return counts


def _jobs(report: Report) -> Iterator[Fact]:
    counts = status_counts(report)
    done = counts.pop("succeeded", 0)
    rest = ", ".join(f"{number} {status}" for status, number in counts.items())
    bad = bool({"failed", "in doubt", "refused"} & counts.keys())
    yield Fact(
        title="jobs succeeded", value=f"{done} of {len(report.jobs)}" if counts else f"{done}", detail=rest or "all of them", bad=bad
    )


def _best(report: Report) -> Iterator[Fact]:
    seen = set()
    for table in report.evals:
        best = table.best
        if best is None or best.mean is None or (table.eval, table.simulated) in seen:
            continue
        seen.add((table.eval, table.simulated))
        against = "" if best.difference is None else f", {best.difference:+.2f} against its base"
        simulated = " (simulated)" if table.simulated else ""
        yield Fact(title=f"best {table.grader} on {table.eval}{simulated}", value=f"{best.mean:.2f}", detail=f"`{best.label}`{against}")


def _tokens(report: Report) -> Iterator[Fact]:
    for simulated in (False, True):
        tokens = [one.attempt.trained_tokens for one in report.jobs if one.simulated == simulated and one.attempt is not None]
        known = [number for number in tokens if number is not None]
        if known:
            detail = (
                f"{count(len(tokens) - len(known), 'job')} did not say" if len(known) < len(tokens) else f"by {count(len(known), 'job')}"
            )
            yield Fact(title="tokens trained" + (" (simulated)" if simulated else ""), value=f"{sum(known):,}", detail=detail)


def _money(report: Report) -> Iterator[Fact]:
    for currency, simulated in dict.fromkeys((one.currency, one.simulated) for one in report.spent):
        mine = [one for one in report.spent if (one.currency, one.simulated) == (currency, simulated)]
        total, unknown = sum(one.actual or 0.0 for one in mine), sum(one.unknown for one in mine)
        if simulated and not total:
            yield Fact(title="spent (simulated)", value="free", detail="no money is involved")
            continue
        training = [one for one in mine if one.what == "training"]
        said = f"training was estimated at {planned}" if (planned := estimate(training)) != "unknown" else "training had no estimate"
        detail = said + (f"; {count(unknown, 'cost')} not known" if unknown else "")
        known = any(one.actual is not None for one in mine)
        yield Fact(title="spent", value=f"{money(total)} {currency}" if known else "unknown", detail=detail)


def estimate(spent: Sequence[Spent]) -> str:
    """Return the estimate of these as a range; unknown where one of them is."""
    if not spent or any(one.low is None or one.high is None for one in spent):
        return "unknown"
    low, high = sum(one.low or 0.0 for one in spent), sum(one.high or 0.0 for one in spent)
    if high == 0:
        return "free"
    text = money(low) if money(low) == money(high) else f"{money(low)} to {money(high)}"
    return f"{text} {spent[0].currency}"


def actual(spent: Spent) -> str:
    """Return what something really cost."""
    if spent.actual is None:
        return "unknown"
    text = "free" if spent.actual == 0 and not spent.unknown else f"{money(spent.actual)} {spent.currency}"
    return text + (f", and {count(spent.unknown, 'cost')} not known" if spent.unknown else "")


def p_text(p: float | None) -> str:
    """Return a p value as people write it."""
    return "" if p is None else "p < 0.001" if p < 0.001 else f"p {p:.3f}"
