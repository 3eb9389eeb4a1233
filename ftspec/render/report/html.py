"""A report as one HTML file that loads nothing and runs nothing but its own script.

Everything foreign is escaped by the template engine after it went through `printable` and
`redacted`; only http and https become links; a content policy allows the page's own style and
script by a nonce that is the digest of the page, so that equal reports are equal bytes.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from markupsafe import Markup, escape

from ftspec.address import axis_text
from ftspec.render.report import svg
from ftspec.render.report.columns import grid
from ftspec.render.report.foreign import text
from ftspec.render.report.headline import actual, estimate, headline, p_text
from ftspec.render.report.values import Data, Report, ReportJob
from ftspec.render.words import count, error_text, money

_FOLDER: Final = Path(__file__).parent / "page"
_POINTS: Final = 300
_ALL_POINTS: Final = 120_000
"""How many points all charts together may have: a page of a thousand jobs stays a page."""


def to_html(report: Report) -> str:
    """Return the page."""
    render = partial(_template().render, **_values(report))
    nonce = base64.b64encode(hashlib.sha256(render(nonce="").encode()).digest()[:18]).decode()
    return str(render(nonce=nonce))


def _template() -> Any:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(_FOLDER),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_shown,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {"code": _code, "link": _link, "count": count, "money": money, "short": lambda text: text[:12]}
    return environment.get_template("page.html")


def _shown(value: Any) -> Any:
    """Make foreign text visible and keyless; runs on everything that the template shows."""
    if value is None:
        return ""
    if isinstance(value, str) and not hasattr(value, "__html__"):
        return text(value)
    return value


def _code(sentence: str) -> Markup:
    """Return a sentence with what stands in backticks as code."""
    pieces = text(sentence).split("`")
    if len(pieces) % 2 == 0:
        return escape(text(sentence))
    return Markup("").join(Markup("<code>{}</code>").format(piece) if i % 2 else escape(piece) for i, piece in enumerate(pieces))


def _link(value: str) -> Markup:
    """Return an http or https address as a link, anything else as text."""
    try:
        parts = urlsplit(value)
        good = parts.scheme in ("http", "https") and bool(parts.hostname) and value == text(value) and "@" not in parts.netloc
    except ValueError:
        good = False
    return Markup('<a href="{}" rel="noopener noreferrer nofollow">{}</a>').format(value, value) if good else escape(text(value))


def _values(report: Report) -> dict[str, Any]:
    columns, same = grid(report.jobs, report.evals)
    drawn = sum(1 for one in report.jobs if not one.curves.empty)
    return {
        "report": report,
        "style": Markup((_FOLDER / "page.css").read_text(encoding="utf-8")),  # noqa: S704 our own file
        "script": Markup((_FOLDER / "page.js").read_text(encoding="utf-8")),  # noqa: S704 our own file
        "headline": headline(report),
        "estimate": estimate,
        "actual": actual,
        "columns": columns,
        "same": same,
        "groups": list(_groups(report, min(_POINTS, max(24, _ALL_POINTS // max(drawn, 1))))),
        "numbers": {one.address: one.number for one in report.jobs},
        "forest": svg.forest,
        "forest_axis": svg.forest_axis,
        "score_scale": svg.score_scale,
        "p_text": p_text,
        "error_of": _error,
        "times": _times,
        "tags": {one.address: dict(one.job.tags) for one in report.jobs if one.job.tags},
        "resolved": _resolved,
        "axis_text": axis_text,
        "data": differences_data(report),
        "all_simulated": all(one.simulated for one in report.jobs),
        "anything_simulated": any(one.simulated for one in report.jobs),
    }


def _groups(report: Report, most_points: int) -> Any:
    """Yield (title, simulated, charts) for each experiment with curves; its charts share one scale."""
    for name, simulated, jobs in report.experiments():
        for measure in ("loss", "reward"):
            mine = [one for one in jobs if not one.curves.empty and one.curves.measure == measure]
            values = svg.bounds(mine)
            charts = [(one, svg.curves_chart(one, values=values, most_points=most_points)) for one in mine]
            if charts:
                kinds = {
                    "train": any(one.curves.train for one in mine),
                    "valid": any(one.curves.valid for one in mine),
                    "full": any(one.curves.full for one in mine),
                    "checkpoint": any(one.checkpoints for one in mine),
                    "best": any(one.best for one in mine),
                }
                yield {"name": name, "simulated": simulated, "measure": measure, "charts": charts, "kinds": kinds}


def _error(one: ReportJob) -> str:
    attempt = one.attempt
    return error_text(attempt.error.code, attempt.error.message) if attempt is not None and attempt.error is not None else ""


def _times(one: ReportJob) -> str:
    attempt = one.attempt
    if attempt is None:
        return ""
    return " to ".join(moment[:16].replace("T", " ") for moment in (attempt.created_at, attempt.finished_at) if moment)


def _resolved(one: ReportJob) -> str:
    values = dict(one.attempt.hyperparameters) if one.attempt is not None else {}
    return ", ".join(f"{name} {axis_text(value)}" for name, value in sorted(values.items()))


def differences_data(report: Report) -> Markup:
    """Return what the page needs to compare any two jobs, as JSON that cannot leave its script element."""
    from jinja2.utils import htmlsafe_json_dumps

    scores: dict[str, dict[str, float]] = {}
    for table in report.evals:
        for label, mean in (seed for row in table.rows for seed in row.seeds):
            scores.setdefault(label, {})[f"{table.eval}: {table.grader}"] = round(mean, 4)
    jobs = [
        {
            "address": text(one.address),
            "simulated": one.simulated,
            "settings": _plain(_settings(one)),
            "results": _plain(_results(one) | scores.get(one.address, {})),
        }
        for one in report.jobs
    ]
    return htmlsafe_json_dumps(jobs, sort_keys=False)


def _plain(values: Mapping[str, Any]) -> dict[str, str]:
    return {text(name): text(axis_text(value)) for name, value in values.items() if value is not None}


def _settings(one: ReportJob) -> dict[str, Any]:
    named = {"train": one.train, "validation": one.validation}
    found = {name: _data(data) if (data := named.get(name)) is not None else value for name, value in one.preimage.items()}
    return found | {"suffix (a label)": one.job.suffix} | {f"tag {name} (a label)": value for name, value in one.job.tags.items()}


def _data(data: Data) -> str:
    return f"{data.ref}, {count(data.rows, 'row')}, {data.digest[:12]}"


def _results(one: ReportJob) -> dict[str, Any]:
    attempt = one.attempt
    if attempt is None:
        return {"status": one.status}
    resolved = {f"resolved {name}": value for name, value in sorted(attempt.hyperparameters.items())}
    metrics = {name.replace("_", " "): round(value, 4) for name, value in sorted(attempt.metrics.items()) if value is not None}
    return {
        "status": one.status,
        **resolved,
        **metrics,
        "trained tokens": attempt.trained_tokens,
        "cost": None if attempt.cost is None else f"{money(attempt.cost)} {attempt.currency or 'USD'}",
        "model": one.model,
    }
