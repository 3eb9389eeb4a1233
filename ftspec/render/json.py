"""A plan as JSON for programs: `format_version`, and a schema that is published beside this file.

A reader must ignore members that it does not know; the major part of `format_version` changes
when a member loses or changes its meaning. Values are as they are, not shortened; everything
beyond ASCII is escaped, so that the text is safe on a terminal. Dataset rows, prompts and keys
of accounts are never part of it. Equal plans have equal bytes.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, assert_never

import msgspec

from ftspec.actions import (
    Action,
    AdoptJob,
    Cost,
    FieldChange,
    ForgetJob,
    KeepEval,
    KeepJob,
    LaunchJob,
    Plan,
    RunEval,
    UploadFile,
    WaitJob,
)
from ftspec.diagnostics import Diagnostic, Place
from ftspec.printable import redacted
from ftspec.record import RecordedJob
from ftspec.render.summary import summarise

FORMAT_VERSION = "1.0"


def schema() -> str:
    """Return the JSON Schema of `to_json`, as published."""
    return Path(__file__).with_name("plan.schema.json").read_text(encoding="utf-8")


def to_json(plan: Plan) -> str:
    """Return the plan as JSON text that ends in a line feed."""
    return dumps(as_dict(plan))


def dumps(value: Any) -> str:
    """Return indented JSON that neither a terminal nor the log of a CI runner obeys."""
    return harmless(json.dumps(value, indent=2, allow_nan=False)) + "\n"


def harmless(text: str) -> str:
    """Return JSON in ASCII (what `json.dumps` writes) without what is left to obey: DEL, and a runner's commands."""
    return text.replace("##[", "#\\u0023[").replace("\x7f", "\\u007f")


def as_dict(plan: Plan) -> dict[str, Any]:
    """Return the plan as JSON values."""
    summary = summarise(plan)
    return {
        "format_version": FORMAT_VERSION,
        "ftspec_version": plan.ftspec_version,
        "project": plan.project,
        "spec_files": list(plan.spec_files),
        "now": plan.now,
        "options": {name: _value(value) for name, value in plan.options.items()},
        "empty": plan.empty,
        "summary": {
            "uploads": len(summary.uploads),
            "launches": len(summary.all_launches),
            "changed": len(summary.changed),
            "adopted": len(summary.adopted),
            "reused": summary.reused,
            "running": len(summary.running),
            "failed": len(summary.failed),
            "waiting": len(summary.waiting),
            "relabelled": len(summary.relabelled),
            "not_in_spec": len(summary.forgotten),
            "evals": len(summary.evals),
            "evals_reused": summary.kept_evals,
        },
        "cost": _cost(plan.cost),
        "policy": [{"rule": one.rule, "ok": one.ok, "sentence": one.sentence} for one in plan.verdicts],
        "quota": [msgspec.structs.asdict(one) for one in plan.quota],
        "datasets": {
            ref: {
                "digest": facts.key,
                "rows": facts.rows,
                "bytes": facts.bytes,
                "format": facts.format,
                "path": facts.path,
                "trained_tokens": facts.trained_tokens,
                "exact_tokens": facts.exact_tokens,
            }
            for ref, facts in sorted(plan.datasets.items())
        },
        "actions": [_action(action) for action in plan.actions],
        "diagnostics": [diagnostic_dict(one) for one in plan.diagnostics],
    }


def diagnostic_dict(one: Diagnostic) -> dict[str, Any]:
    """Return a diagnostic as JSON values."""
    return {
        "code": one.code,
        "severity": one.severity.value,
        "message": one.message,
        "at": place_dict(one.at),
        "help": one.help,
        "also": [{"label": label, "at": place_dict(place)} for label, place in one.also],
        "count": one.count,
        "places": [place_dict(place) for place in one.places],
    }


def place_dict(place: Place | None) -> dict[str, Any] | None:
    """Return a place as JSON values; numbers that are not known are null."""
    if place is None:
        return None
    return {"path": place.path, "line": place.line or None, "column": place.column or None, "end_column": place.end_column or None}


def _action(action: Action) -> dict[str, Any]:
    match action:
        case UploadFile():
            return {
                "action": "upload",
                "reason": action.reason.value,
                "dataset": action.dataset,
                "digest": action.dataset_key,
                "engine": action.engine,
                "scope": action.scope,
                "rows": action.rows,
                "bytes": action.bytes,
                "purpose": action.purpose,
            }
        case LaunchJob():
            return _launch(action)
        case AdoptJob():
            return {**_job("adopt", action), "engine_job_id": action.engine_job_id, "preimage": _value(action.preimage)}
        case KeepJob():
            changes = [_change(change) for change in action.relabelled]
            return {**_job("keep", action), "record": _record(action.record), "relabelled": changes}
        case WaitJob():
            known = _record(action.record) if action.record else None
            return {**_job("wait", action), "record": known, "because": action.because}
        case ForgetJob():
            record = action.record
            return {
                "action": "forget",
                "reason": action.reason.value,
                "address": record.address,
                "key": record.key,
                "engine": record.engine,
                "scope": record.scope,
                "record": _record(record),
            }
        case RunEval():
            return {
                **_eval("evaluate", action),
                "model": action.model,
                "step": action.step,
                "engine": action.engine,
                "scope": action.scope,
                "digest": action.dataset_key,
                "samples": action.samples,
                "preimage": _value(action.preimage),
                "cost": _cost(action.cost),
            }
        case KeepEval():
            return {**_eval("keep_eval", action), "model": action.record.model, "step": action.record.step, "status": action.record.status}
        case _:
            assert_never(action)


def _job(name: str, action: LaunchJob | AdoptJob | KeepJob | WaitJob) -> dict[str, Any]:
    job = action.job
    return {
        "action": name,
        "reason": action.reason.value,
        "address": job.address,
        "key": action.key,
        "engine": job.engine,
        "scope": job.scope,
        "base_model": job.base_model or None,
        "parent": job.parent,
    }


def _launch(action: LaunchJob) -> dict[str, Any]:
    job = action.job
    return {
        **_job("launch", action),
        "attempt": action.attempt,
        "method": job.method,
        "train": {"dataset": job.train, "digest": action.train_key},
        "validation": {"dataset": job.validation, "digest": action.validation_key} if job.validation else None,
        "hyperparameters": _value(job.hyperparameters),
        "seed": job.seed,
        "suffix": job.suffix,
        "tags": dict(job.tags),
        "axes": _value(job.axes),
        "after": list(action.after),
        "changes": [_change(change) for change in action.changes],
        "replaces": _record(action.replaces) if action.replaces else None,
        "preimage": _value(action.preimage),
        "cost": _cost(action.cost),
    }


def _eval(name: str, action: RunEval | KeepEval) -> dict[str, Any]:
    return {"action": name, "reason": action.reason.value, "eval": action.eval.name, "address": action.address, "key": action.key}


def _record(record: RecordedJob) -> dict[str, Any]:
    last = record.last
    return {
        "key": record.key,
        "address": record.address,
        "status": record.status.value,
        "raw_status": last.raw_status,
        "attempt": last.number,
        "engine_job_id": last.engine_job_id,
        "model": record.model,
        "error": {"code": last.error.code, "message": redacted(last.error.message or "")} if last.error else None,
    }


def _change(change: FieldChange) -> dict[str, Any]:
    return {"field": change.field, "old": _value(change.old), "new": _value(change.new), "at": place_dict(change.at)}


def _cost(cost: Cost) -> dict[str, Any]:
    return {
        "low": cost.low,
        "high": cost.high,
        "currency": cost.currency,
        "known": cost.known,
        "price_date": cost.price_date,
        "tokens": cost.tokens,
        "tokens_low": cost.tokens_low,
        "tokens_high": cost.tokens_high,
        "exact_tokens": cost.exact_tokens,
    }


def _value(value: Any) -> Any:
    match value:
        case str():
            return redacted(value)
        case Mapping():
            return {str(name): _value(one) for name, one in value.items()}
        case list() | tuple():
            return [_value(one) for one in value]
        case _:
            return value
