"""Gates: what an eval requires of a tuned model. A gate that does not hold is exit code 5.

    exact >= base.exact                  the mean of the grader `exact`, against the base model's
    exact >= base.exact - 0.01           not much worse
    quality.low >= 0.6                   the lower end of the interval
    errors / asked <= 0.01               counts: asked, errors, empty, refused, truncated
    macro_f1 >= 0.8                      with `preset: classification`: accuracy, macro_f1

With `at p 0.05` at its end it must hold with that certainty: items are resampled, and it may fail
in at most that share of the resamples. `exact >= base.exact - 0.01 at p 0.05` is non-inferiority.

Samples that could not be graded count for neither side: a gate must hold whether they are taken
as the worst or as the best, so that a judge's nonsense never opens one.
"""

from __future__ import annotations

import itertools
import operator
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from ftspec.actions import Verdict
from ftspec.diagnostics import FtspecError
from ftspec.evals.formula import Formula
from ftspec.printable import printable

_GATE = re.compile(r"(?P<left>[^<>=]+)(?P<op>>=|<=|==|>|<)(?P<right>[^<>=]+?)(?:\s+at\s+p\s*(?P<p>[\d.eE+-]+))?\s*")
_OPERATORS: Final[Mapping[str, Callable[[Any, Any], Any]]] = {
    ">=": operator.ge,
    "<=": operator.le,
    ">": operator.gt,
    "<": operator.lt,
    "==": operator.eq,
}
_COUNTS: Final = ("asked", "errors", "empty", "refused", "truncated")
_LABELS: Final = ("accuracy", "macro_f1")
_PARTS: Final = ("mean", "low", "high", "passed", "n", "ungraded")
_TOLERANCE: Final = 1e-9


class GateError(FtspecError):
    """A gate is not one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Gate:
    """A parsed gate. `p` is `None` where the figures themselves are compared."""

    text: str
    left: Formula
    op: str
    right: Formula
    p: float | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """The names that it uses."""
        return tuple(dict.fromkeys((*self.left.names, *self.right.names)))

    def holds(self, variables: Mapping[str, Any]) -> Any:
        """Whether it holds for these numbers (for arrays: where)."""
        left, right = self.left.value(variables), self.right.value(variables)
        slack = _TOLERANCE if self.op in (">=", "==") else -_TOLERANCE if self.op == "<=" else 0.0
        return abs(left - right) <= _TOLERANCE if self.op == "==" else _OPERATORS[self.op](left + slack, right)


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """What gates may ask of one run: its recorded figures, and per-item scores where they are on this machine.

    `items` maps a grader to the score of each item (its repeats averaged), `None` for ungraded ones.
    """

    scores: Mapping[str, Mapping[str, Any]]
    counts: Mapping[str, int]
    labels: Mapping[str, Any] | None = None
    items: Mapping[str, Mapping[str, float | None]] | None = None


def parse_gate(text: str) -> Gate:
    """Return the gate of a text (`GateError`)."""
    match, shown = _GATE.fullmatch(text), printable(text)
    if match is None:
        raise GateError(f"`{shown}` is not a gate", help="write two formulas and one of >= <= > < ==, such as `exact >= base.exact - 0.01`")
    p = None
    if match["p"] is not None:
        try:
            p = float(match["p"])
        except ValueError:
            p = -1.0
        if not 0 < p < 0.5:
            raise GateError(f"`{shown}`: p must be above 0 and below 0.5")
    gate = Gate(text=text, left=Formula(match["left"].strip()), op=match["op"], right=Formula(match["right"].strip()), p=p)
    if not gate.names:
        raise GateError(f"`{shown}` names no metric")
    if gate.op == "==" and p is not None:
        raise GateError(f"`{shown}`: equality has no p")
    return gate


def gate_problems(gate: Gate, graders: Iterable[str], *, labelled: bool) -> list[str]:
    """Return what is wrong with the names of a gate: all before anything is asked."""
    metrics, problems = set(graders), []
    for name in gate.names:
        head, _, part = name.removeprefix("base.").partition(".")
        known = part in ("", *_PARTS) if head in metrics else not part and (head in _COUNTS or (labelled and head in _LABELS))
        if not known:
            has = [*metrics, *(_LABELS if labelled else ()), *_COUNTS]
            problems.append(f"`{gate.text}` uses `{name}`; there are {', '.join(f'`{one}`' for one in sorted(has))}, and `base.` of each")
        elif gate.p is not None and (head not in metrics or part not in ("", "mean")):
            problems.append(f"`{gate.text}`: with p, gates compare graders' means, not `{name}`")
    return problems


def judge(gate: Gate, own: Measured, base: Measured | None) -> Verdict:
    """Return whether a run passes a gate, with the figures in a sentence."""
    needs_base = any(name.startswith("base.") for name in gate.names)
    if needs_base and base is None:
        return Verdict(rule=gate.text, ok=False, sentence=f"`{gate.text}` cannot be judged: there is no finished run of the base model")
    try:
        if gate.p is None:
            return _by_figures(gate, own, base)
        return _by_resampling(gate, gate.p, own, base)
    except FtspecError as error:
        return Verdict(rule=gate.text, ok=False, sentence=f"`{gate.text}` cannot be judged: {error.message}")


def _by_figures(gate: Gate, own: Measured, base: Measured | None) -> Verdict:
    plain = {**_figures(own, "mean", ""), **(_figures(base, "mean", "base.") if base else {})}
    ok = bool(gate.holds(plain))
    ungraded = _ungraded(gate, own, base)
    if ok and ungraded:
        for mine, theirs in itertools.product(("worst", "best"), repeat=2):
            ok = ok and bool(gate.holds({**_figures(own, mine, ""), **(_figures(base, theirs, "base.") if base else {})}))
    shown = ", ".join(f"{name} {plain[name]:.4g}" for name in gate.names if name in plain)
    doubt = f"; {ungraded} ungraded samples decide" if ungraded and not ok and gate.holds(plain) else ""
    return Verdict(rule=gate.text, ok=ok, sentence=f"`{gate.text}` {'holds' if ok else 'does not hold'} ({shown}{doubt})")


def _figures(run: Measured, which: str, prefix: str) -> dict[str, Any]:
    """Return every name that a gate may use; `which` says how ungraded samples are taken."""
    found: dict[str, Any] = {f"{prefix}{name}": run.counts.get(name, 0) for name in _COUNTS}
    if run.labels:
        found |= {f"{prefix}{name}": run.labels[name] for name in _LABELS}
    for name, score in run.scores.items():
        mean = score.get(which, score.get("mean"))
        members = {part: score[part] for part in _PARTS if score.get(part) is not None}
        if mean is not None:
            found |= {
                f"{prefix}{name}": mean,
                **{f"{prefix}{name}.{part}": value for part, value in members.items()},
                f"{prefix}{name}.mean": mean,
            }
    return found


def _ungraded(gate: Gate, own: Measured, base: Measured | None) -> int:
    total = 0
    for name in gate.names:
        run, metric = (base, name.removeprefix("base.")) if name.startswith("base.") else (own, name)
        score = run.scores.get(metric.partition(".")[0]) if run else None
        total += score.get("ungraded", 0) if score else 0
    return total


def _by_resampling(gate: Gate, p: float, own: Measured, base: Measured | None) -> Verdict:
    from ftspec.evals.statistics import resampled_means

    runs = {name: (base if name.startswith("base.") else own) for name in gate.names}
    columns = {}
    for name, run in runs.items():
        metric = name.removeprefix("base.").removesuffix(".mean")
        if run is None or run.items is None or metric not in run.items:
            raise GateError("its samples are not on this machine", help="run `ftspec eval` here")
        columns[name] = run.items[metric]
    shared = sorted(set.intersection(*(set(column) for column in columns.values())))
    if not shared:
        raise GateError("the runs have no item in common")
    failing = 0.0
    for mine, theirs in itertools.product(("worst", "best"), repeat=2):
        rows = []
        for name, column in columns.items():
            score = (runs[name] or own).scores[name.removeprefix("base.").removesuffix(".mean")]
            fill = _bound(score, theirs if name.startswith("base.") else mine)
            rows.append([fill if (value := column[item]) is None else value for item in shared])
        import numpy as np

        means = resampled_means(np.asarray(rows))
        failing = max(failing, 1 - float(np.mean(gate.holds(dict(zip(columns, means, strict=True))))))
    ok = failing <= p
    return Verdict(
        rule=gate.text,
        ok=ok,
        sentence=f"`{gate.text}` {'holds' if ok else 'does not hold'} (it fails in {failing:.1%} of the resamples of {len(shared)} items)",
    )


def _bound(score: Mapping[str, Any], which: str) -> float:
    low, high = score.get("range") or (0.0, 1.0)
    return float(low if which == "worst" else high)
