"""One small job on a local base, bought past state and lockfile: it measures, and nobody wants its model."""

from __future__ import annotations

import asyncio
import json
import os
from typing import TYPE_CHECKING, Any

from ftspec.diagnostics import FtspecError
from ftspec.engines.transport import http_library
from ftspec.pipeline.interpreters import check_interpreter
from ftspec.pipeline.local_estimates import measured_jobs
from ftspec.pipeline.planning import load
from ftspec.printable import printable
from ftspec.server.inprocess import BASE_URL, engine_app

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from ftspec.experiment import EngineEntry
    from ftspec.pipeline.project import Project

_TERMINAL = ("succeeded", "failed", "cancelled")


async def calibrate(
    project: Project, *, engine: str | None, model: str, rows: int, words: int, say: Callable[[str], None]
) -> dict[str, Any] | None:
    """Return what the job measured; `None`: it failed. Raises `FtspecError`: no local engine (or several) has that model."""
    http = http_library()
    entry = _trains(load(project).spec.engines.values(), model=model, engine=engine)
    check_interpreter(entry, root=project.root, environ=os.environ)
    root = project.make_private() / entry.type
    text = "the quick brown fox jumps over the lazy dog near the river bank today"
    long = " ".join((text.split() * (words // 14 + 1))[: words - 4])
    lines = [
        {"messages": [{"role": "user", "content": f"{number} {long}"}, {"role": "assistant", "content": text}]} for number in range(rows)
    ]
    content = "".join(json.dumps(line) + "\n" for line in lines).encode()
    with engine_app(entry, root, folder=project.root) as app:
        async with http.AsyncClient(transport=http.ASGITransport(app=app), base_url=BASE_URL, timeout=600) as client:
            file = (await client.post("files", files={"file": ("calibration.jsonl", content)}, data={"purpose": "fine-tune"})).json()
            body = {
                "model": model,
                "training_file": file["id"],
                "suffix": "calibration",
                "method": {"type": "supervised", "supervised": {"hyperparameters": {"n_epochs": 1}}},
            }
            answer = await client.post("fine_tuning/jobs", json=body)
            job = answer.json()
            if answer.status_code != 200:
                raise FtspecError(job["error"]["message"])
            say(f"training on `{model}`: {job['id']}")
            while job["status"] not in _TERMINAL:
                await asyncio.sleep(0.5)
                job = (await client.get(f"fine_tuning/jobs/{job['id']}")).json()
            if job["fine_tuned_model"]:
                await client.delete(f"models/{job['fine_tuned_model'].replace(':', '%3A')}")
    if job["status"] != "succeeded":
        return None
    return next((one for one in measured_jobs(root / "measured.jsonl") if one["job"] == job["id"]), None)


def _trains(entries: Iterable[EngineEntry], *, model: str, engine: str | None) -> EngineEntry:
    """Return the one local engine that has the model."""
    local = [one for one in entries if one.type == "local" and engine in (None, one.name)]
    found = [one for one in local if model in one.options.get("models", {})]
    if len(found) == 1:
        return found[0]
    if found:
        names = " or ".join(f"`--engine {one.name}`" for one in found)
        raise FtspecError(f"more than one local engine has a model `{printable(model)}`", help=f"name one: {names}")
    known = sorted(name for one in local for name in one.options.get("models", {}))
    raise FtspecError(
        f"no local engine {f'`{printable(engine)}` ' if engine else ''}of the spec has a model `{printable(model)}`",
        help=f"known models: {', '.join(known)}"
        if known
        else f"declare it: `engines: {{local: {{type: local, models: {{{printable(model)}: FOLDER}}}}}}`",
    )
