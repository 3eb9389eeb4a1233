"""Engine answers read into values: tolerant of what engines leave out or add, strict about what counts.

A reply is a job only if it is a JSON object with `object: fine_tuning.job` and a non-empty
string `id`; everything else may be missing, null or of another type. `NotIt` says that a reply
is not what was asked for, so that a 2xx with HTML, a list or half an object is never taken for
a purchase. Foreign text that is shown to people goes through `clean`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

from ftspec.engines.base import ChatAnswer, JobEvent, ObservedFile, ObservedJob
from ftspec.printable import printable
from ftspec.record import Checkpoint, JobError, JobStatus

Clean = Callable[[str], str]

_STATUSES: Mapping[str, JobStatus] = {
    "validating_files": JobStatus.QUEUED,
    "pending": JobStatus.QUEUED,
    "created": JobStatus.QUEUED,
    "queued": JobStatus.QUEUED,
    "running": JobStatus.RUNNING,
    "succeeded": JobStatus.SUCCEEDED,
    "failed": JobStatus.FAILED,
    "cancelled": JobStatus.CANCELLED,
    "canceled": JobStatus.CANCELLED,
}
"""Any other word (`paused`, `paused_by_policy`, ...) is a job that is not over."""

_NUMBERS, _SCALARS = (int, float), (str, int, float)
_MAX_ID = 512
_LARGEST = 2**63
_YEAR_10000 = 253_402_300_800
"""Unix seconds that no date of Python's reaches."""
_SECRET_MEMBERS = frozenset({"api_key", "apikey", "token", "secret", "password", "authorization"})


class NotIt(Exception):
    """The reply is not what was asked for."""


def decode(content: bytes) -> Any:
    """Return the JSON value of a body, or raise `NotIt`."""
    try:
        return msgspec.json.decode(content)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, ValueError):
        raise NotIt from None


def job(value: Any, *, clean: Clean, now: float, owner: str | None = None, listed: bool = False) -> ObservedJob:
    """Return the job that a reply describes. In lists (`listed`) the `object` member may be missing."""
    members = _object(value, "fine_tuning.job", required=not listed)
    raw_status = _text(members.get("status")) or ""
    method, inner = _method(members.get("method"))
    return ObservedJob(
        id=_id(members),
        status=_STATUSES.get(raw_status.lower(), JobStatus.RUNNING),
        raw_status=raw_status if raw_status in _STATUSES else clean(raw_status),
        base_model=_name(members.get("model")) or "",
        created_at=_time(members.get("created_at")) or int(now),
        training_file=_name(members.get("training_file")),
        validation_file=_name(members.get("validation_file")),
        finished_at=_time(members.get("finished_at")),
        estimated_finish=_time(members.get("estimated_finish")),
        model=_name(members.get("fine_tuned_model")),
        hyperparameters={**_mapping(members.get("hyperparameters")), **inner},
        method=method,
        seed=_int(members.get("seed")),
        suffix=_text(members.get("user_provided_suffix")) or _text(members.get("suffix")),
        trained_tokens=_int(members.get("trained_tokens")),
        error=_error(members.get("error"), clean),
        result_files=_ids(members.get("result_files")),
        metadata={name: str(text) for name, text in _mapping(members.get("metadata")).items() if isinstance(text, _SCALARS)},
        organization=_name(members.get("organization_id")),
        owner=owner,
        raw={**members, "integrations": _without_secrets(members["integrations"])} if members.get("integrations") else members,
    )


def file(value: Any, *, clean: Clean, listed: bool = False) -> ObservedFile:
    """Return the file that a reply describes."""
    members = _object(value, "file", required=not listed)
    details = _text(members.get("status_details"))
    return ObservedFile(
        id=_id(members),
        name=_text(members.get("filename")) or "",
        bytes=_int(members.get("bytes")),
        status=_text(members.get("status")),
        purpose=_text(members.get("purpose")),
        created_at=_time(members.get("created_at")),
        status_details=clean(details) if details else None,
    )


def event(value: Any, *, clean: Clean) -> JobEvent:
    """Return one event of a job."""
    members = _object(value, "fine_tuning.job.event", required=False)
    return JobEvent(
        id=_id(members),
        time=_time(members.get("created_at")) or 0,
        level=clean(_text(members.get("level")) or "info"),
        message=clean(_text(members.get("message")) or ""),
        type=_name(members.get("type")) or "message",
        data=_mapping(members.get("data")),
    )


def checkpoint(value: Any) -> Checkpoint:
    """Return one checkpoint: its model's name, step and the metrics that are numbers."""
    members = _object(value, "fine_tuning.job.checkpoint", required=False)
    model, step = _name(members.get("fine_tuned_model_checkpoint")), _int(members.get("step_number"))
    if model is None or step is None:
        raise NotIt
    metrics: dict[str, float | None] = {}
    for name, value_there in _mapping(members.get("metrics")).items():
        if name != "step" and (number := _float(value_there)) is not None:
            metrics[name] = number
    return Checkpoint(model=model, step=step, epoch=_float(members.get("epoch")), metrics=metrics)


def chat(value: Any) -> ChatAnswer:
    """Return the first choice of a chat completion."""
    members = _object(value, "chat.completion", required=False)
    choices = members.get("choices")
    if not isinstance(choices, list) or not choices or not isinstance(choices[0], dict):
        raise NotIt
    message = _mapping(choices[0].get("message"))
    calls = message.get("tool_calls")
    usage = _mapping(members.get("usage"))
    content = message.get("content")
    return ChatAnswer(
        text=content if isinstance(content, str) else "",
        finish_reason=_text(choices[0].get("finish_reason")),
        input_tokens=_int(usage.get("prompt_tokens")),
        output_tokens=_int(usage.get("completion_tokens")),
        tool_calls=tuple(call for call in calls if isinstance(call, dict)) if isinstance(calls, list) else (),
        refusal=_text(message.get("refusal")),
        raw=members,
    )


def moderation(value: Any, number: int) -> Sequence[tuple[str, ...]]:
    """Return the flagged categories of each of `number` texts."""
    results = _mapping(value).get("results")
    if not isinstance(results, list) or len(results) != number or not all(isinstance(one, dict) for one in results):
        raise NotIt
    return [_flags(one) for one in results]


def _flags(result: Mapping[str, Any]) -> tuple[str, ...]:
    named = sorted(str(name) for name, flag in _mapping(result.get("categories")).items() if flag is True)
    return tuple(named) or (("unnamed",) if result.get("flagged") is True else ())


def chunk(value: Any) -> str:
    """Return the text of one piece of a streamed completion."""
    choices = _object(value, "chat.completion.chunk", required=False).get("choices")
    if not isinstance(choices, list) or not choices:
        return ""
    content = _mapping(_mapping(choices[0]).get("delta")).get("content")
    return content if isinstance(content, str) else ""


def page(value: Any) -> tuple[Sequence[Any], bool | None]:
    """Return the rows of a list page and whether more follow (`None`: the engine does not say)."""
    if not isinstance(value, dict) or not isinstance(value.get("data"), list):
        raise NotIt
    more = value.get("has_more")
    return value["data"], more if isinstance(more, bool) else None


def row_id(value: Any) -> str | None:
    """Return the id of a row, by which pages are told apart."""
    return _text(value.get("id")) if isinstance(value, dict) else None


def _object(value: Any, name: str, *, required: bool) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise NotIt
    said = value.get("object")
    if said != name and (required or said is not None):
        raise NotIt
    return value


def _id(members: Mapping[str, Any]) -> str:
    value = _text(members.get("id"))
    if value is None or len(value) > _MAX_ID or printable(value) != value:
        raise NotIt
    return value


def _method(value: Any) -> tuple[str | None, Mapping[str, Any]]:
    name = _text(_mapping(value).get("type"))
    block = _mapping(_mapping(value).get(name)) if name else {}
    return name, {key: given for key, given in _mapping(block.get("hyperparameters")).items() if given is not None}


def _error(value: Any, clean: Clean) -> JobError | None:
    """Return why a job failed; healthy jobs carry null, `{}` or an object of nulls."""
    if not value:
        return None
    if isinstance(value, str):
        return JobError(message=clean(value))
    found = {name: clean(text) for name in ("code", "message", "param") if (text := _text(_mapping(value).get(name)))}
    return JobError(**found) if found else None


def _ids(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list):
        return ()
    return tuple(found for one in value if (found := _name(one) or _name(row_id(one))))


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None


def _name(value: Any) -> str | None:
    """Return a name that people and their shells will see; what no terminal should obey is spelled out."""
    text = _text(value)
    return printable(text[:_MAX_ID]) if text is not None else None


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _is_number(value: Any) -> bool:
    return isinstance(value, _NUMBERS) and not isinstance(value, bool)


def _float(value: Any) -> float | None:
    try:
        return float(value) if _is_number(value) else None
    except OverflowError:
        return None


def _int(value: Any) -> int | None:
    """Return a count that a count can be: `1e300` tokens, or an integer of 400 digits, are none."""
    if not _is_number(value) or abs(value) >= _LARGEST:
        return None
    return int(value) if isinstance(value, int) or value.is_integer() else None


def _time(value: Any) -> int | None:
    """Return Unix seconds from seconds or an ISO date; what cannot be a time is not one."""
    if isinstance(value, str):
        from datetime import UTC, datetime

        try:
            moment = datetime.fromisoformat(value)
        except ValueError:
            return None
        value = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    return int(value) if _is_number(value) and 0 < value < _YEAR_10000 else None


def _without_secrets(value: Any) -> Any:
    """Return integrations without their credentials (Nebius' `wandb.api_key`)."""
    if isinstance(value, dict):
        return {name: _without_secrets(inner) for name, inner in value.items() if name.lower() not in _SECRET_MEMBERS}
    return [_without_secrets(one) for one in value] if isinstance(value, list) else value
