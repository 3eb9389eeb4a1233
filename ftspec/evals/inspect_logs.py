"""Inspect's side: how its tasks are run, how its logs are read, and our runs as its logs.

Tasks run with `ftspec[inspect]` (or the interpreter that `options.python` names) in a subprocess
whose model is a local address. Logs are written in Inspect's own words, through its own writer, so
that `inspect view` and its data frames open them.
"""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from ftspec.diagnostics import FtspecError

if TYPE_CHECKING:
    from ftspec.evals.harness_run import HarnessOutput
    from ftspec.evals.items import EvalItem
    from ftspec.evals.samples import RunHeader, Sample
    from ftspec.experiment import DesiredEval

_LETTERS: Final = {"C": 1.0, "P": 0.5, "I": 0.0, "N": 0.0}
_STOPS: Final[Mapping[str, Any]] = {"stop": "stop", "length": "max_tokens", "tool_calls": "tool_calls", "content_filter": "content_filter"}
_SAMPLING: Final = ("temperature", "top_p", "max_tokens", "seed")


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
    log = json.loads(paths[-1].read_bytes())
    if log.get("status") != "success":
        message = str((log.get("error") or {}).get("message", log.get("status")))
        raise FtspecError(f"the Inspect task failed: {message[:300]}")
    return HarnessOutput(samples=[_read_sample(one) for one in log.get("samples") or ()])


def _read_sample(one: Mapping[str, Any]) -> Any:
    from ftspec.evals.harness_run import HarnessSample

    scores: dict[str, float | bool | None] = {}
    for name, score in (one.get("scores") or {}).items():
        value = score.get("value")
        parts = {f"{name}.{part}": inner for part, inner in value.items()} if isinstance(value, dict) else {name: value}
        scores |= {part: _score(inner) for part, inner in parts.items()}
    error = one.get("error")
    return HarnessSample(
        id=one["id"],
        epoch=int(one.get("epoch", 1)),
        scores=scores,
        output=str((one.get("output") or {}).get("completion") or ""),
        reference=_text(one.get("target")),
        question=_text(one.get("input")),
        error=str(error.get("message", "failed"))[:300] if isinstance(error, dict) else None,
    )


def _score(value: Any) -> float | bool | None:
    """Return an Inspect score as a number: its letters are correct, partial, incorrect, no answer."""
    if isinstance(value, str):
        if value in {"C", "I"}:
            return value == "C"
        return _LETTERS.get(value)
    return value if isinstance(value, (int, float)) else None


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
