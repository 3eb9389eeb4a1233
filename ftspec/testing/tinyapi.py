"""The protocol's smallest honest server, in memory: files, uploads, jobs, models, chat.

For tests of clients: it keeps no promise of durability, trains nothing and is not the server
that ftspec ships. A job advances by one status each time somebody looks at it, so tests need
no clock: `queued`, `running`, `succeeded`. `faulty.FaultyServer` puts it behind real HTTP.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

Json = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One request as it arrived. Header names are lower case; `path` is without `/v1`, as it was sent."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes

    @classmethod
    def parse(cls, method: str, target: str, headers: Mapping[str, str], body: bytes) -> Request:
        """Read a request line's target."""
        parts = urlsplit(target)
        return cls(
            method=method,
            path=parts.path.removeprefix("/v1"),
            query=dict(parse_qsl(parts.query)),
            headers={name.lower(): value for name, value in headers.items()},
            body=body,
        )

    @property
    def steps(self) -> list[str]:
        """The path's parts, decoded."""
        return [unquote(step) for step in self.path.strip("/").split("/")]

    @property
    def name(self) -> str:
        """`POST /fine_tuning/jobs`, with ids as `*`."""
        fixed = {"fine_tuning", "jobs", "files", "uploads", "models", "chat", "completions", "events", "checkpoints", "content"}
        verbs = {"cancel", "pause", "resume", "parts", "complete"}
        return f"{self.method} /" + "/".join(step if step in fixed | verbs else "*" for step in self.steps)


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """One answer: a JSON value or bytes."""

    status: int = 200
    value: Any = None
    content: bytes | None = None
    content_type: str = "application/json"
    headers: Mapping[str, str] = field(default_factory=dict)

    def encoded(self) -> bytes:
        """Return the body."""
        return self.content if self.content is not None else json.dumps(self.value).encode()


def refusal(status: int, code: str | None, message: str, *, kind: str = "invalid_request_error", param: str | None = None) -> Answer:
    """Return an error in OpenAI's form."""
    return Answer(status=status, value={"error": {"message": message, "type": kind, "param": param, "code": code}})


STATUSES = ("queued", "running", "succeeded")


@dataclass(slots=True, kw_only=True)
class TinyApi:
    """Everything the server holds. `posts` counts job POSTs that were carried out or repeated, whatever became of their answers."""

    now: Callable[[], float]
    key: str | None = None
    unique_keys: bool = False
    """One job for each `metadata.ftspec_key`; a repeated POST is answered with it."""
    idempotent: bool = False
    """Honours `Idempotency-Key`."""
    keeps_metadata: bool = True
    filters: bool = True
    statuses: Sequence[str] = STATUSES
    models: Sequence[str] = ("base-small", "base-large")
    jobs: dict[str, Json] = field(default_factory=dict)
    files: dict[str, Json] = field(default_factory=dict)
    contents: dict[str, bytes] = field(default_factory=dict)
    uploads: dict[str, Json] = field(default_factory=dict)
    parts: dict[str, bytes] = field(default_factory=dict)
    posts: int = 0
    _seen: dict[str, str] = field(default_factory=dict)
    _numbers: dict[str, int] = field(default_factory=dict)

    def handle(self, request: Request) -> Answer:
        """Carry out one request."""
        if self.key is not None and request.headers.get("authorization") != f"Bearer {self.key}":
            said = request.headers.get("authorization", "").removeprefix("Bearer ")
            return refusal(401, "invalid_api_key", f"Incorrect API key provided: {said[:3]}****{said[-4:]}.")
        match [request.method, *request.steps]:
            case ["POST", "files"]:
                return self._add_file(request)
            case ["GET", "files"]:
                wanted = request.query.get("purpose")
                return _page([one for one in self.files.values() if wanted in {None, one["purpose"]}], request)
            case ["GET", "files", name]:
                return self._known(self.files, name)
            case ["GET", "files", name, "content"]:
                if name not in self.contents:
                    return refusal(404, None, f"No such File object: {name}", param="id")
                return Answer(content=self.contents[name], content_type="application/octet-stream")
            case ["POST", "uploads", *rest]:
                return self._upload(request, rest)
            case ["POST", "fine_tuning", "jobs"]:
                return self._add_job(request)
            case ["GET", "fine_tuning", "jobs"]:
                return self._list_jobs(request)
            case ["GET", "fine_tuning", "jobs", name]:
                return self._look(name)
            case ["GET", "fine_tuning", "jobs", name, "events"]:
                return _page(self._events(name), request) if name in self.jobs else self._known(self.jobs, name)
            case ["GET", "fine_tuning", "jobs", name, "checkpoints"]:
                return _page(self._checkpoints(name), request) if name in self.jobs else self._known(self.jobs, name)
            case ["POST", "fine_tuning", "jobs", name, ("cancel" | "pause" | "resume") as verb]:
                return self._command(name, verb)
            case ["GET", "models"]:
                trained = [job["fine_tuned_model"] for job in self.jobs.values() if job["fine_tuned_model"]]
                return Answer(value={"object": "list", "data": [_model(name) for name in [*self.models, *trained]]})
            case ["POST", "chat", "completions"]:
                return _chat(json.loads(request.body))
            case _:
                return refusal(404, "unknown_url", f"Unknown request URL: {request.method} {request.path}")

    def _add_file(self, request: Request) -> Answer:
        fields = form_fields(request)
        if "file" not in fields or "purpose" not in fields:
            return refusal(400, None, "A file and a purpose are required")
        return Answer(value=self._store(fields["file"].name, fields["file"].content, fields["purpose"].content.decode()))

    def _store(self, name: str, content: bytes, purpose: str) -> Json:
        made: Json = {
            "id": self._new("file"),
            "object": "file",
            "bytes": len(content),
            "created_at": int(self.now()),
            "filename": name,
            "purpose": purpose,
            "status": "processed",
        }
        self.files[made["id"]] = made
        self.contents[made["id"]] = content
        return made

    def _upload(self, request: Request, rest: Sequence[str]) -> Answer:
        if not rest:
            asked = json.loads(request.body)
            made: Json = {"id": self._new("upload"), "object": "upload", "status": "pending", "file": None, **asked}
            self.uploads[made["id"]] = made
            return Answer(value=made)
        upload = self.uploads.get(rest[0])
        if upload is None or upload["status"] != "pending":
            return refusal(404, None, "No such upload")
        if rest[1] == "parts":
            part = self._new("part")
            self.parts[part] = form_fields(request)["data"].content
            return Answer(value={"id": part, "object": "upload.part", "created_at": int(self.now()), "upload_id": rest[0]})
        if rest[1] == "complete":
            content = b"".join(self.parts[part] for part in json.loads(request.body)["part_ids"])
            if len(content) != upload["bytes"]:
                return refusal(400, None, "The parts do not add up to the declared size")
            upload.update(status="completed", file=self._store(upload["filename"], content, upload["purpose"]))
        else:
            upload["status"] = "cancelled"
        return Answer(value=upload)

    def _add_job(self, request: Request) -> Answer:
        self.posts += 1
        asked: Json = json.loads(request.body)
        for name in ("training_file", "validation_file"):
            if (name in asked or name == "training_file") and asked.get(name) not in self.files:
                return refusal(400, "invalid_file", f"file {asked.get(name)} does not exist", param=name)
        label = (asked.get("metadata") or {}).get("ftspec_key")
        token = request.headers.get("idempotency-key")
        repeats = [f"token {token}"] if self.idempotent and token else []
        repeats += [f"label {label}"] if self.unique_keys and label else []
        for repeat in repeats:
            if repeat in self._seen:
                return Answer(value=self.jobs[self._seen[repeat]])
        job = self.make_job(asked)
        for repeat in repeats:
            self._seen[repeat] = job["id"]
        return Answer(value=job)

    def make_job(self, asked: Json) -> Json:
        """Create a job, whoever asked for it."""
        method = asked.get("method") or {"type": "supervised", "supervised": {"hyperparameters": asked.get("hyperparameters", {})}}
        job: Json = {
            "id": self._new("ftjob"),
            "object": "fine_tuning.job",
            "model": asked["model"],
            "created_at": int(self.now()),
            "finished_at": None,
            "fine_tuned_model": None,
            "organization_id": "org-tiny",
            "result_files": [],
            "status": self.statuses[0],
            "validation_file": asked.get("validation_file"),
            "training_file": asked["training_file"],
            "hyperparameters": method.get(method["type"], {}).get("hyperparameters") or {"n_epochs": "auto"},
            "trained_tokens": None,
            "error": {},
            "integrations": asked.get("integrations") or [],
            "seed": asked.get("seed", 42),
            "estimated_finish": None,
            "method": method,
            "metadata": asked.get("metadata") if self.keeps_metadata else None,
            "user_provided_suffix": asked.get("suffix"),
        }
        self.jobs[job["id"]] = job
        return job

    def _look(self, name: str) -> Answer:
        answer = self._known(self.jobs, name)
        if answer.status == 200:
            answer = Answer(value=dict(answer.value))
            self.advance(name)
        return answer

    def advance(self, name: str) -> None:
        """Let a job get one status further."""
        job = self.jobs[name]
        if job["status"] not in self.statuses[:-1]:
            return
        job["status"] = self.statuses[self.statuses.index(job["status"]) + 1]
        if job["status"] == "succeeded":
            result = self._store("step_metrics.csv", b"step,train_loss\n1,2.0\n2,1.0\n", "fine-tune-results")
            job.update(
                fine_tuned_model=f"ft:{job['model']}:org-tiny:{job['user_provided_suffix'] or ''}:{name[-8:]}",
                finished_at=int(self.now()),
                trained_tokens=1000,
                result_files=[result["id"]],
            )

    def _list_jobs(self, request: Request) -> Answer:
        wanted = {name[9:-1]: text for name, text in request.query.items() if name.startswith("metadata[")} if self.filters else {}
        rows = [job for job in self.jobs.values() if all((job["metadata"] or {}).get(name) == text for name, text in wanted.items())]
        answer = _page(list(reversed(rows)), request)
        for row in answer.value["data"]:
            self.advance(row["id"])
        return answer

    def _command(self, name: str, verb: str) -> Answer:
        if name not in self.jobs:
            return self._known(self.jobs, name)
        job = self.jobs[name]
        if job["status"] in {"succeeded", "failed", "cancelled"}:
            return refusal(400, "job_already_terminal", f"The job is already {job['status']}")
        job["status"] = {"cancel": "cancelled", "pause": "paused", "resume": "running"}[verb]
        return Answer(value=job)

    def _events(self, name: str) -> list[Json]:
        job = self.jobs[name]
        messages = ["Created fine-tuning job", *(f"Status: {status}" for status in self.statuses if status == job["status"])]
        events: list[Json] = [_event(f"{name}-{n}", job["created_at"], message) for n, message in enumerate(messages)]
        events += [_event(f"{name}-step-{n}", job["created_at"], f"Step {n}", data={"step": n, "train_loss": 1 / n}) for n in range(1, 51)]
        return list(reversed(events))

    def _checkpoints(self, name: str) -> list[Json]:
        job = self.jobs[name]
        if job["fine_tuned_model"] is None:
            return []
        return [
            {
                "id": f"ftckpt-{name}-{step}",
                "object": "fine_tuning.job.checkpoint",
                "created_at": job["created_at"],
                "fine_tuned_model_checkpoint": job["fine_tuned_model"] + (f":ckpt-step-{step}" if step < 50 else ""),
                "fine_tuning_job_id": name,
                "metrics": {"step": step, "train_loss": 1 / step, "valid_loss": None},
                "step_number": step,
            }
            for step in (50, 25)
        ]

    def _known(self, things: Mapping[str, Json], name: str) -> Answer:
        if name not in things:
            return refusal(404, None, f"No such object: {name}", param="id")
        return Answer(value=things[name])

    def _new(self, kind: str) -> str:
        self._numbers[kind] = self._numbers.get(kind, 0) + 1
        return f"{kind}-{self._numbers[kind]:08d}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """One part of a form."""

    name: str
    content: bytes


def form_fields(request: Request) -> dict[str, Field]:
    """Return the parts of a multipart form, by field name."""
    boundary = request.headers["content-type"].partition("boundary=")[2].encode()
    fields = {}
    for part in request.body.split(b"--" + boundary)[1:-1]:
        head, _, content = part.removeprefix(b"\r\n").partition(b"\r\n\r\n")
        words = dict(word.split("=", 1) for word in head.decode().split("\r\n")[0].split("; ")[1:])
        name = words["name"].strip('"')
        fields[name] = Field(name=words.get("filename", "").strip('"'), content=content[:-2])
    return fields


def _page(rows: Sequence[Json], request: Request) -> Answer:
    after, limit = request.query.get("after"), int(request.query.get("limit", "20"))
    ids = [row["id"] for row in rows]
    start = ids.index(after) + 1 if after in ids else 0
    page = [dict(row) for row in rows[start : start + limit]]
    return Answer(value={"object": "list", "data": page, "has_more": start + limit < len(rows)})


def _model(name: str) -> Json:
    return {"id": name, "object": "model", "created": 0, "owned_by": "tiny"}


def _event(name: str, at: int, message: str, *, data: Json | None = None) -> Json:
    kind = "metrics" if data else "message"
    return {
        "id": name,
        "object": "fine_tuning.job.event",
        "created_at": at,
        "level": "info",
        "message": message,
        "type": kind,
        "data": data or {},
    }


def _chat(asked: Json) -> Answer:
    text = f"{asked['model']} says: {asked['messages'][-1]['content']}"
    if asked.get("stream"):
        pieces: list[Any] = [{"choices": [{"index": 0, "delta": {"content": word}}]} for word in text.split(" ")]
        lines = [f"data: {json.dumps({'object': 'chat.completion.chunk', **piece})}\n\n" for piece in pieces]
        return Answer(content="".join([*lines, "data: [DONE]\n\n"]).encode(), content_type="text/event-stream")
    choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": text}}
    usage = {"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7}
    return Answer(
        value={
            "id": "chatcmpl-1",
            "object": "chat.completion",
            "created": 0,
            "model": asked["model"],
            "choices": [choice],
            "usage": usage,
        }
    )
