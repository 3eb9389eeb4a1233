"""Charts as inline SVG: loss curves and score intervals. Pure; styled by classes alone, so that a content policy can forbid inline styles.

Every chart has a title for screen readers, and tells its curves apart without colour (dashes, markers).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from math import ceil, floor, log10
from typing import TYPE_CHECKING, Final

from markupsafe import Markup

from ftspec.render.report.curves import smoothed, thinned
from ftspec.render.report.foreign import text
from ftspec.render.report.values import checkpoint_loss

if TYPE_CHECKING:
    from ftspec.render.report.values import EvalRow, Points, ReportJob

WIDTH: Final = 320
HEIGHT: Final = 176
_LEFT: Final = 34
_RIGHT: Final = 10
_TOP: Final = 10
_BOTTOM: Final = 28
_FOREST_WIDTH: Final = 220
_FOREST_HEIGHT: Final = 26
_RADIUS: Final = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Scale:
    """A line from values to places."""

    low: float
    high: float
    start: float
    end: float

    def __call__(self, value: float) -> float:
        """Return where a value is."""
        span = self.high - self.low
        share = (min(max(value, self.low), self.high) - self.low) / span if span else 0.0
        return self.start + share * (self.end - self.start)

    def ticks(self, most: int = 4) -> Iterator[float]:
        """Yield round numbers between the ends."""
        step = _round_step((self.high - self.low) / most)
        first, last = ceil(self.low / step - 1e-9), floor(self.high / step + 1e-9)
        for number in range(first, min(last, first + 2 * most) + 1):
            yield round(number * step, 10)


def _round_step(rough: float) -> float:
    if rough <= 0:
        return 1.0
    power = 10.0 ** floor(log10(rough))
    return next(power * factor for factor in (1, 2, 2.5, 5, 10) if power * factor >= rough * (1 - 1e-9))


def bounds(jobs: Iterable[ReportJob]) -> tuple[float, float]:
    """Return the range of values that the charts of these jobs share; zero is part of it."""
    values = [value for one in jobs for points in one.curves.all for _, value in points]
    low, high = min(0.0, *values, 0.0), max(0.0, *values, 0.0)
    return low, high if high > low else low + 1.0


def curves_chart(one: ReportJob, *, values: tuple[float, float], most_points: int) -> Markup:
    """Return the curves of a job: raw and smoothed, minibatches and full validation, checkpoints at the foot."""
    curves = one.curves
    last = max((points[-1][0] for points in curves.all), default=1.0)
    first = min((points[0][0] for points in curves.all), default=0.0)
    x = Scale(low=min(first, 1.0), high=max(last, 2.0), start=_LEFT, end=WIDTH - _RIGHT)
    y = Scale(low=values[0], high=values[1], start=HEIGHT - _BOTTOM, end=_TOP)
    parts = [_axes(x, y)]
    for kind, points in (("train", curves.train), ("valid", curves.valid)):
        if points:
            parts.append(_line(f"raw {kind}", thinned(points, most_points), x, y))
    parts += [_checkpoint(one, x, y)]
    for kind, points in (("train", curves.train), ("valid", curves.valid)):
        if points:
            parts.append(_line(f"smooth {kind}", thinned(smoothed(points), most_points // 2), x, y))
    if curves.full:
        parts += [_line("full", curves.full, x, y), *(_diamond("full-dot", x(step), y(value)) for step, value in curves.full)]
    return Markup('<svg class="chart" viewBox="0 0 {} {}" role="img"><title>{}</title>{}</svg>').format(
        WIDTH, HEIGHT, text(_spoken(one)), Markup("").join(parts)
    )


def _spoken(one: ReportJob) -> str:
    """Say the chart in words."""
    curves, said = one.curves, []
    for name, points in (("training", curves.train), ("validation (minibatches)", curves.valid), ("validation (all rows)", curves.full)):
        if points:
            low = min(points, key=lambda point: point[1])
            said.append(f"{name} {points[0][1]:.3f} to {points[-1][1]:.3f}, lowest {low[1]:.3f} at step {low[0]:,.0f}")
    return f"{curves.measure.capitalize()} of {one.address}: {'; '.join(said)}"


def _axes(x: Scale, y: Scale) -> Markup:
    lines = [
        Markup('<line class="grid" x1="{}" x2="{}" y1="{}" y2="{}"/><text class="tick" x="{}" y="{}" text-anchor="end">{}</text>').format(
            _at(x.start), _at(x.end), _at(y(tick)), _at(y(tick)), _at(x.start - 5), _at(y(tick) + 3.5), f"{tick:g}"
        )
        for tick in y.ticks(3)
    ]
    steps = [
        Markup('<text class="tick" x="{}" y="{}" text-anchor="middle">{}</text>').format(_at(x(tick)), HEIGHT - 7, f"{tick:,.0f}")
        for tick in x.ticks(4)
        if tick >= x.low and tick == int(tick)
    ]
    return Markup("").join([*lines, *steps])


def _line(kind: str, points: Points, x: Scale, y: Scale) -> Markup:
    places = " ".join(f"{_at(x(step))},{_at(y(value))}" for step, value in points)
    return Markup('<polyline class="{}" points="{}"/>').format(kind, places)


def _checkpoint(one: ReportJob, x: Scale, y: Scale) -> Markup:
    """Return a mark for each checkpoint; the best earlier one is filled."""
    best = one.best
    marks = []
    for checkpoint in one.checkpoints:
        place, foot = x(checkpoint.step), y.start
        loss = checkpoint_loss(checkpoint)
        kind = "checkpoint best" if best is not None and checkpoint.step == best.step else "checkpoint"
        said = f"checkpoint at step {checkpoint.step:,}" + (f", validation loss {loss:.3f}" if loss is not None else "")
        marks.append(
            Markup('<g class="{}"><title>{}</title><line x1="{}" x2="{}" y1="{}" y2="{}"/><path d="M{} {}l-4 7h8z"/></g>').format(
                kind, said, _at(place), _at(place), _at(y.end), _at(foot), _at(place), _at(foot)
            )
        )
    return Markup("").join(marks)


def _diamond(kind: str, x: float, y: float) -> Markup:
    return Markup('<path class="{}" d="M{} {}l3.5 3.5l-3.5 3.5l-3.5 -3.5z"/>').format(kind, _at(x), _at(y - 3.5))


def score_scale(rows: Sequence[EvalRow]) -> Scale:
    """Return the scale that the rows of one table share: zero to one where all scores lie there."""
    ends = [value for row in rows for value in (row.mean, row.low, row.high, *(mean for _, mean in row.seeds)) if value is not None]
    low, high = min(ends, default=0.0), max(ends, default=1.0)
    if low >= 0 and high <= 1:
        low, high = 0.0, 1.0
    return Scale(low=low, high=high if high > low else low + 1, start=_RADIUS * 2, end=_FOREST_WIDTH - _RADIUS * 2)


def forest(row: EvalRow, scale: Scale) -> Markup:
    """Return a row's interval, mean, seeds (hollow dots) and what it is compared with (a dashed line)."""
    middle = _FOREST_HEIGHT / 2
    parts = [
        Markup('<line class="grid" x1="{}" x2="{}" y1="0" y2="{}"/>').format(_at(scale(tick)), _at(scale(tick)), _FOREST_HEIGHT)
        for tick in scale.ticks(4)
    ]
    if row.against is not None and not row.base:
        parts.append(
            Markup('<line class="against" x1="{}" x2="{}" y1="2" y2="{}"/>').format(
                _at(scale(row.against)), _at(scale(row.against)), _FOREST_HEIGHT - 2
            )
        )
    if row.low is not None and row.high is not None:
        parts.append(
            Markup('<line class="interval" x1="{}" x2="{}" y1="{}" y2="{}"/>').format(
                _at(scale(row.low)), _at(scale(row.high)), _at(middle), _at(middle)
            )
        )
    if row.mean is not None:
        parts.append(Markup('<circle class="mean" cx="{}" cy="{}" r="4.5"/>').format(_at(scale(row.mean)), _at(middle)))
    if len(row.seeds) > 1:
        parts += [
            Markup('<circle class="seed" cx="{}" cy="{}" r="{}"><title>{}</title></circle>').format(
                _at(scale(mean)), _at(middle + 8.5), _RADIUS - 0.5, text(f"{label}: {mean:.3f}")
            )
            for label, mean in row.seeds
        ]
    return Markup('<svg class="forest" viewBox="0 0 {} {}" role="img" width="{}" height="{}"><title>{}</title>{}</svg>').format(
        _FOREST_WIDTH, _FOREST_HEIGHT, _FOREST_WIDTH, _FOREST_HEIGHT, text(_row_spoken(row)), Markup("").join(parts)
    )


def _row_spoken(row: EvalRow) -> str:
    said = f"{row.label}: mean {row.mean:.3f}" if row.mean is not None else f"{row.label}: no mean"
    if row.low is not None and row.high is not None:
        said += f", interval {row.low:.3f} to {row.high:.3f}"
    if len(row.seeds) > 1:
        said += f", seeds {', '.join(f'{mean:.3f}' for _, mean in row.seeds)}"
    return said


def forest_axis(scale: Scale) -> Markup:
    """Return the numbers above the column of intervals."""
    ticks = list(scale.ticks(4))
    texts = [
        Markup('<text class="tick" x="{}" y="10" text-anchor="{}">{}</text>').format(
            _at(scale(tick)), "start" if tick == ticks[0] else "end" if tick == ticks[-1] else "middle", f"{tick:g}"
        )
        for tick in ticks
    ]
    return Markup('<svg class="forest" viewBox="0 0 {} 12" width="{}" height="12" aria-hidden="true">{}</svg>').format(
        _FOREST_WIDTH, _FOREST_WIDTH, Markup("").join(texts)
    )


def _at(place: float) -> str:
    return f"{place:.1f}".removesuffix(".0")
