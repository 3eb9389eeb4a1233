"""What the local jobs of a plan will take: time and memory, from the base's size or from jobs that ran here.

Reads only below the project's root: the configuration and the headers of the weights of bases that lie there, and
what finished jobs wrote down under `.ftspec/`.
"""

from __future__ import annotations

import contextlib
from collections import defaultdict
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any

import msgspec

from ftspec.actions import LaunchJob
from ftspec.pipeline.base_files import folder_of, shape_of
from ftspec.regular import read_regular
from ftspec.server.trainers.local.resolve import LONGEST_ANSWER, samples
from ftspec.server.trainers.local.resources import Shape, Work, estimate, memory_text, seconds_text
from ftspec.server.trainers.local.settings import settings

if TYPE_CHECKING:
    from pathlib import Path

    from ftspec.experiment import EngineEntry
    from ftspec.pipeline.planning import Planned
    from ftspec.pipeline.project import Project

_Figure = Annotated[float, msgspec.Meta(gt=1e-9, lt=1e18)]


class _Measured(msgspec.Struct):
    """A line that a finished job wrote; what is none is passed over."""

    base: str
    method: str
    full: bool
    device: str
    seconds: _Figure
    tokens: _Figure
    memory: _Figure
    job: str = ""


_LONG_ROW = 2.0
_KINDS = {"supervised": "", "dpo": "DPO ", "reinforcement": "reinforcement "}


def local_estimates(planned: Planned) -> list[str]:
    """Return a line for each base that local jobs of the plan start from."""
    wanted = planned.wanted
    groups: dict[tuple[str, str, str, bool], list[LaunchJob]] = defaultdict(list)
    by_address = {one.job.address: one.job for one in wanted.jobs}
    for action in planned.plan.actions:
        if isinstance(action, LaunchJob) and wanted.spec.engines[action.job.engine].type == "local":
            root = action.job
            while root.parent is not None and root.parent in by_address:
                root = by_address[root.parent]
            groups[action.job.engine, root.base_model, action.job.method, bool(action.job.engine_options.get("full"))].append(action)
    return [
        _line(actions, planned, wanted.spec.engines[engine], wanted.project, base=base, method=method, full=full)
        for (engine, base, method, full), actions in groups.items()
    ]


def _line(actions: list[LaunchJob], planned: Planned, entry: EngineEntry, project: Project, *, base: str, method: str, full: bool) -> str:
    tokens = [known for action in actions if (known := _tokens(action, planned)) is not None]
    kind = _KINDS[method] + ("full " if full else "")
    jobs = f"{len(actions)} {kind}job{'s' if len(actions) > 1 else ''} of `{base}`"
    measured = measured_jobs(project.private / entry.type / "measured.jsonl")
    shape = _shape(entry, base, project)
    work = Work(
        tokens=max(tokens, default=(0, 0)),
        row_tokens=_row_tokens(planned, actions),
        method=method,
        full=full,
        micro_batch=entry.options.get("micro_batch", 8),
        device="cuda" if any(one.get("device") == "cuda" for one in measured) or entry.options.get("gpus") else "cpu",
    )
    found = estimate(work, base=base, shape=shape, measured=measured) if tokens else None
    calibrated = method == "supervised" and not full  # that is what `calibrate` runs
    if found is None:
        hint = f" (`ftspec calibrate {base}` runs a small one)" if calibrated else ""
        return f"{entry.name}: {jobs}: time and memory are not known before one ran{hint}"
    device = "GPU" if work.device == "cuda" else "CPU"
    how = (
        f"from {found.measured} measured job{'s' if found.measured > 1 else ''}"
        if found.measured
        else f"calculated for a {device}; "
        + (f"`ftspec calibrate {base}` measures this machine" if calibrated else "the first one measures it")
    )
    time = seconds_text(*found.seconds)
    if len(actions) > 1:
        each = {size: estimate(replace(work, tokens=size), base=base, shape=shape, measured=measured) for size in set(tokens)}
        whole = [sum(one.seconds[end] for size in tokens if (one := each[size]) is not None) / _at_once(entry) for end in (0, 1)]
        time = f"the longest {time}" + (f", all {seconds_text(*whole)}" if entry.options.get("executor", "local") == "local" else "")
    return f"{entry.name}: {jobs}: {time}, {memory_text(*found.memory)} ({how})"


def _tokens(action: LaunchJob, planned: Planned) -> tuple[float, float] | None:
    """Return how many tokens a job trains on, from and to; `None`: not known."""
    job = action.job
    if job.method != "reinforcement":
        return (action.cost.tokens, action.cost.tokens) if action.cost.tokens else None
    facts = planned.datasets.get(job.train)
    if facts is None or not facts.rows or facts.total_tokens is None:
        return None
    epochs, multiplier = (_number(job.hyperparameters.get(name), auto) for name, auto in (("n_epochs", 3), ("compute_multiplier", 1)))
    tries = facts.rows * epochs * samples(multiplier)
    prompt = facts.total_tokens / facts.rows
    return tries * (prompt + 1), tries * (prompt + LONGEST_ANSWER)


def _number(given: Any, auto: float) -> float:
    return given if isinstance(given, int | float) else auto


def _at_once(entry: EngineEntry) -> int:
    """Return how many jobs train at once on this machine, as far as the entry says."""
    slots, gpus = entry.options.get("slots"), entry.options.get("gpus")
    return slots or (len(gpus) if isinstance(gpus, list) else gpus) or 1


def _row_tokens(planned: Planned, actions: list[LaunchJob]) -> float:
    facts = [planned.datasets[action.job.train] for action in actions if action.job.train in planned.datasets]
    means = [one.total_tokens / one.rows for one in facts if one.total_tokens and one.rows]
    return _LONG_ROW * max(means, default=256.0)


def measured_jobs(path: Path) -> list[dict[str, Any]]:
    """Return what workers measured, one job a line; lines that are torn or something else are passed over."""
    found = []
    with contextlib.suppress(OSError):
        for line in read_regular(path).split(b"\n"):
            with contextlib.suppress(ValueError, RecursionError):
                found.append(msgspec.to_builtins(msgspec.json.decode(line, type=_Measured)))
    return found


def _shape(entry: EngineEntry, base: str, project: Project) -> Shape | None:
    """Return the size of a base that lies where planning looks."""
    known = settings(entry.options, folder=project.root, entry=entry.name).models.get(base)
    folder = folder_of(known, project) if known is not None else None
    return shape_of(folder, project) if folder is not None else None
