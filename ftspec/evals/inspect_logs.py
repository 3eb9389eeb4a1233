"""Inspect's side: how its tasks are run, how its logs are read, and our runs as its logs.

Tasks run with `ftspec[inspect]` (or the interpreter that `options.python` names) in a subprocess
whose model is a local address. Logs are written in Inspect's own words, through its own writer, so
that `inspect view` and its data frames open them.
"""

from __future__ import annotations

import json
import math
import shutil
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from pydantic import BaseModel, ValidationError

from ftspec.diagnostics import FtspecError
from ftspec.printable import printable

if TYPE_CHECKING:
    from ftspec.evals.harness_run import HarnessOutput
    from ftspec.evals.items import EvalItem
    from ftspec.evals.samples import RunHeader, Sample
    from ftspec.experiment import DesiredEval

_LETTERS: Final = {"C": 1.0, "P": 0.5, "I": 0.0, "N": 0.0}
_STOPS: Final[Mapping[str, Any]] = {"stop": "stop", "length": "max_tokens", "tool_calls": "tool_calls", "content_filter": "content_filter"}
_SAMPLING: Final = ("temperature", "top_p", "max_tokens", "seed")


class _Score(BaseModel):
    value: Any = None


class _Sample(BaseModel):
    id: str | int
    epoch: int = 1
    scores: dict[str, _Score] | None = None
    output: dict[str, Any] | None = None
    target: Any = None
    input: Any = None
    error: dict[str, Any] | None = None


class _Log(BaseModel):
    """What is read of a log; Inspect may add whatever it likes."""

    status: str
    error: dict[str, Any] | None = None
    samples: list[_Sample] | None = None


def inspect_command(given: DesiredEval, *, model: str, logs: Path) -> list[str]:
    """Return the command line that runs an Inspect task against the local address."""
    options = given.options
    shutil.rmtree(logs, ignore_errors=True)
    words = [str(options.get("python") or sys.executable), "-m", "inspect_ai", "eval", str(options["task"])]
    words += ["--model", f"openai-api/ftspec/{model}", "--log-format", "json", "--log-dir", str(logs), "--display", "none"]
    words += [word for name in _SAMPLING if name in given.sampling for word in (f"--{name.replace('_', '-')}", str(given.sampling[name]))]
    words += [word for name, value in (options.get("args") or {}).items() for word in ("-T", f"{name}={value}")]
    if "limit" in options:
        words += ["--limit", str(options["limit"])]
    if "max_connections" in options:
        words += ["--max-connections", str(options["max_connections"])]
    return [*words, "--epochs", str(given.repeat)]


def read_log(folder: Path) -> HarnessOutput:
    """Return what the newest log of a folder says (`FtspecError`: there is none, or the task failed)."""
    from ftspec.evals.harness_run import HarnessOutput

    paths = sorted(folder.glob("*.json"))
    if not paths:
        raise FtspecError("Inspect wrote no log; see `harness.log` beside the samples")
    try:
        log = _Log.model_validate_json(paths[-1].read_bytes())
    except ValidationError as wrong:
        first = wrong.errors(include_url=False, include_input=False)[0]
        place = printable(".".join(map(str, first["loc"])))
        raise FtspecError(f"this is not a log of Inspect: {place}: {printable(first['msg'])}") from None
    if log.status != "success":
        message = (log.error or {}).get("message") or log.status
        raise FtspecError(f"the Inspect task failed: {printable(str(message)[:300])}")
    return HarnessOutput(samples=[_read_sample(one) for one in log.samples or ()])


def _read_sample(one: _Sample) -> Any:
    from ftspec.evals.harness_run import HarnessSample

    scores: dict[str, float | bool | None] = {}
    for name, score in (one.scores or {}).items():
        value = score.value
        parts = {f"{name}.{part}": inner for part, inner in value.items()} if isinstance(value, dict) else {name: value}
        scores |= {part: _score(inner) for part, inner in parts.items()}
    return HarnessSample(
        id=one.id,
        epoch=one.epoch,
        scores=scores,
        output=str((one.output or {}).get("completion") or ""),
        reference=_text(one.target),
        question=_text(one.input),
        error=str(one.error.get("message", "failed"))[:300] if one.error is not None else None,
    )


def _score(value: Any) -> float | bool | None:
    """Return an Inspect score as a number: its letters are correct, partial, incorrect, no answer."""
    if isinstance(value, str):
        if value in {"C", "I"}:
            return value == "C"
        return _LETTERS.get(value)
    try:
        return value if isinstance(value, (int, float)) and math.isfinite(value) else None
    except OverflowError:
        return None


def _text(value: Any) -> str:
    return value if isinstance(value, str) else "" if value is None else json.dumps(value, ensure_ascii=False)


def write_log(
    folder: Path,
    header: RunHeader,
    *,
    samples: Iterable[Sample],
    items: Mapping[str, EvalItem],
    scores: Mapping[str, Mapping[str, Any]],
    dataset: str,
) -> Path:
    """Write a run as an `.eval` log of Inspect and return its path. Needs `ftspec[inspect]`."""
    try:
        from inspect_ai.log import EvalConfig, EvalDataset, EvalLog, EvalMetric, EvalResults, EvalScore, EvalSpec, write_eval_log
    except ImportError:
        raise FtspecError("writing Inspect logs needs Inspect", help="`pip install 'ftspec[inspect]'`") from None

    written = [_written(sample, items.get(sample.item), header.model) for sample in samples]
    results = [
        EvalScore(
            name=name,
            scorer=name,
            scored_samples=len(written) - score.get("ungraded", 0),
            unscored_samples=score.get("ungraded", 0),
            metrics={part: EvalMetric(name=part, value=score[part]) for part in ("mean", "low", "high") if score.get(part) is not None},
        )
        for name, score in scores.items()
    ]
    log = EvalLog(
        status="success",
        eval=EvalSpec(
            eval_id=header.key[:22],
            run_id=header.key[:22],
            created=header.started_at,
            task=header.eval,
            task_id=header.key[:22],
            dataset=EvalDataset(name=dataset, samples=len({one.id for one in written})),
            model=f"ftspec/{header.model}",
            config=EvalConfig(epochs=max((one.epoch for one in written), default=1)),
            metadata={"ftspec_key": header.key, "address": header.address, "step": header.step},
        ),
        results=EvalResults(total_samples=len(written), completed_samples=sum(one.output.error is None for one in written), scores=results),
        samples=written,
    )
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{header.eval}_{header.key[:12]}.eval"
    write_eval_log(log, str(path))
    return path


def _written(sample: Sample, item: EvalItem | None, model: str) -> Any:
    """Return one of our samples in Inspect's words; the whole question where the row is at hand."""
    from inspect_ai.log import EvalSample
    from inspect_ai.model import ChatCompletionChoice, ChatMessageAssistant, ModelOutput, ModelUsage
    from inspect_ai.scorer import Score

    message = ChatMessageAssistant(content=sample.text or sample.refusal or "")
    tokens = (sample.input_tokens or 0, sample.output_tokens or 0)
    output = ModelOutput(
        model=model,
        choices=[ChatCompletionChoice(message=message, stop_reason=_STOPS.get(sample.finish_reason or "", "unknown"))],
        usage=ModelUsage(input_tokens=tokens[0], output_tokens=tokens[1], total_tokens=sum(tokens)),
        error=sample.error,
    )
    asked = [_message(one) for one in item.messages] if item is not None else []
    scores = {
        name: Score(value=grade.score, answer=sample.text, explanation=grade.detail)
        for name, grade in sample.grades.items()
        if grade.score is not None
    }
    ungraded = {name: grade.error for name, grade in sample.grades.items() if grade.error is not None}
    return EvalSample(
        id=sample.index + 1,
        epoch=sample.repeat + 1,
        input=asked or sample.question,
        target=_text(item.item.get("reference")) if item is not None else sample.reference,
        messages=[*asked, message],
        output=output,
        scores=scores,
        metadata={"item": sample.item, **({"ungraded": ungraded} if ungraded else {}), **({"error": sample.error} if sample.error else {})},
    )


def _message(one: Mapping[str, Any]) -> Any:
    from inspect_ai.model import ChatMessageAssistant, ChatMessageSystem, ChatMessageUser

    kinds = {"system": ChatMessageSystem, "developer": ChatMessageSystem, "assistant": ChatMessageAssistant}
    return kinds.get(str(one.get("role")), ChatMessageUser)(content=_text(one.get("content")))
