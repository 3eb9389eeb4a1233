"""Runs the program of an eval in a subprocess, behind a local address, and keeps what it reports.

`ftspec.evals.harness` is its contract with the program.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec

from ftspec.diagnostics import FtspecError
from ftspec.evals.base import GraderStopped
from ftspec.evals.gateway import Gateway
from ftspec.evals.harness import command_text, words_of
from ftspec.evals.money import Money
from ftspec.evals.result import EvalResult, Status, Summary, summarise
from ftspec.evals.samples import GradeRecord, Run, RunHeader, Sample, SampleStore
from ftspec.fingerprint import digest
from ftspec.printable import printable

if TYPE_CHECKING:
    from ftspec.evals.runner import EvalTask, RunOptions

_TIMEOUT: Final = 3600.0
_PASSED_ON: Final = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "VIRTUAL_ENV")
_LARGEST: Final = 256 << 20


class HarnessSample(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One sample that a harness reports."""

    id: str | int
    scores: dict[str, float | bool | None]
    epoch: int = 1
    output: str = ""
    reference: str = ""
    question: str = ""
    error: str | None = None


class HarnessOutput(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a harness reports: samples, or only figures."""

    samples: list[HarnessSample] = []
    scores: dict[str, float] = {}


async def run_elsewhere(
    task: EvalTask,
    *,
    store: SampleStore,
    root: Path,
    options: RunOptions,
) -> EvalResult:
    """Run the program of an eval against a model and return what it found. Nothing of it is resumed."""
    kind, given = str(task.eval.options["kind"]), task.eval.options
    if not options.allow_code:
        raise GraderStopped(f"eval `{task.eval.name}` runs a program: `{command_text(given)}`", help="read it, then add `--allow-code`")
    header = RunHeader(
        key=task.key,
        eval=task.eval.name,
        model=task.model,
        identity=dict(task.identity),
        graders={name: digest(dict(definition)) for name, definition in task.eval.graders.items()},
        address=task.address,
        step=task.step,
        started_at=task.started_at,
    )
    money = Money(task.eval.budget, task.price)
    folder = store.path(task.key).parent
    with store.open(header, fresh=True) as run:
        async with Gateway(task.engine, task.model, money) as gateway:
            found, trouble = await _found(task, kind, folder, root, gateway)
        result_digest = _keep(run, found)
    return EvalResult(
        key=task.key,
        eval=task.eval.name,
        model=task.model,
        status=_status(found, trouble),
        summary=_summary(store, task.key, found, gateway),
        address=task.address,
        step=task.step,
        cost=money.spent,
        currency=money.currency,
        result_file=f"{task.key}/samples.jsonl",
        result_digest=result_digest,
        error=trouble,
        error_code="budget" if gateway.over_budget else "harness" if trouble else None,
    )


async def _found(task: EvalTask, kind: str, folder: Path, root: Path, gateway: Gateway) -> tuple[HarnessOutput, str | None]:
    """Run the program; return what it reports and what went wrong."""
    output, rows = folder / "harness.json", folder / "rows.jsonl"
    output.unlink(missing_ok=True)
    environment = {name: value for name in (*_PASSED_ON, *task.eval.options.get("env", ())) if (value := os.environ.get(name)) is not None}
    environment |= {
        "OPENAI_BASE_URL": gateway.base_url,
        "OPENAI_API_KEY": gateway.key,
        "FTSPEC_BASE_URL": gateway.base_url,
        "FTSPEC_API_KEY": gateway.key,
        "FTSPEC_MODEL": task.model,
        "FTSPEC_OUTPUT": str(output),
    }
    try:
        if task.eval.dataset:
            _write_rows(task, rows)
            environment["FTSPEC_DATASET"] = str(rows)
        command = _command(task, kind, folder)
        problem = await _run(command, environment, root, folder / "harness.log", float(task.eval.options.get("timeout", _TIMEOUT)))
        if gateway.over_budget:
            return HarnessOutput(), gateway.refusal
        if problem is not None:
            return HarnessOutput(), problem
        if kind == "inspect":
            from ftspec.evals.inspect_logs import read_log

            return read_log(folder / "inspect"), None
        return read_output(output), None
    except FtspecError as error:
        return HarnessOutput(), error.message
    finally:
        rows.unlink(missing_ok=True)


def _write_rows(task: EvalTask, path: Path) -> None:
    encoder = msgspec.json.Encoder()
    with path.open("wb") as file:
        for item in task.items():
            file.write(encoder.encode({"id": item.id, "messages": item.messages, "item": item.item}) + b"\n")


def _command(task: EvalTask, kind: str, folder: Path) -> list[str]:
    if kind == "command":
        words = words_of(task.eval.options["command"])
        return [sys.executable, *words[1:]] if words[0] in {"python", "python3"} else words
    from ftspec.evals.inspect_logs import inspect_command

    return inspect_command(task.eval, model=task.model, logs=folder / "inspect")


async def _run(command: Sequence[str], environment: Mapping[str, str], root: Path, log: Path, seconds: float) -> str | None:
    """Run the program to its end; return what went wrong, if anything."""
    with log.open("wb") as out:
        try:
            process = await asyncio.create_subprocess_exec(
                *command, cwd=root, env=dict(environment), stdin=asyncio.subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True
            )
        except OSError as error:
            return f"the program `{command[0]}` does not start: {error.strerror}"
        try:
            code = await asyncio.wait_for(process.wait(), seconds)
        except TimeoutError:
            return f"the program took longer than {seconds:g} s"
        finally:
            if process.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                await process.wait()
    return f"the program ended with {code}; see `{log.parent.name}/{log.name}`" if code else None


def read_output(path: Path) -> HarnessOutput:
    """Return what a program wrote (`FtspecError`: nothing, or something else)."""
    try:
        if path.stat().st_size > _LARGEST:
            raise FtspecError("the program wrote more than 256 MiB into `FTSPEC_OUTPUT`")
        found = msgspec.json.decode(path.read_bytes(), type=HarnessOutput)
    except FileNotFoundError:
        raise FtspecError("the program wrote nothing into `FTSPEC_OUTPUT`") from None
    except (ValueError, RecursionError) as error:
        raise FtspecError(f"what the program wrote into `FTSPEC_OUTPUT` is not a result: {printable(str(error))}") from None
    if not found.samples and not found.scores:
        raise FtspecError("the program reports neither samples nor scores")
    return found


def _keep(run: Run, found: HarnessOutput) -> str:
    for index, one in enumerate(found.samples):
        grades = {
            name: GradeRecord(score=float(score), passed=score if isinstance(score, bool) else None)
            if score is not None
            else GradeRecord(error="not scored by the program")
            for name, score in one.scores.items()
        }
        run.add(
            Sample(
                item=str(one.id),
                index=index,
                repeat=one.epoch - 1,
                text=one.output,
                grades=grades,
                error=one.error,
                question=one.question[:300],
                reference=one.reference[:300],
                cost=0.0,
            )
        )
    return run.finish()


def _summary(store: SampleStore, key: str, found: HarnessOutput, gateway: Gateway) -> Summary:
    names: Iterable[str] = dict.fromkeys(name for one in found.samples for name in one.scores)
    summary = summarise(store.samples(key), bounds=dict.fromkeys(names))
    only = {
        name: {"mean": score, "low": None, "high": None, "method": "none", "n": 0, "ungraded": 0} for name, score in found.scores.items()
    }
    return Summary(
        counts=summary.counts,
        scores={**only, **summary.scores},
        input_tokens=gateway.input_tokens,
        output_tokens=gateway.output_tokens,
    )


def _status(found: HarnessOutput, trouble: str | None) -> Status:
    if trouble is not None:
        return "running"
    return "running" if any(one.error is not None for one in found.samples) else "succeeded"
