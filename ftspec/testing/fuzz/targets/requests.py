"""What clients send to the server: never a 5xx, always the protocol's form; and hostile values in the report's page.

An input is a request: method and path on the first line, headers, a blank line, the body.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from html.parser import HTMLParser
from pathlib import Path
from typing import Any, Final

from ftspec.testing.fuzz.target import Check, Target, shown
from ftspec.testing.fuzz.targets.rows import ANSWER, CHAT, PREFERENCE, TOOL, TOOLS, USER, VISION

_KEY: Final = "a-key-that-is-known"
_RESTART: Final = 400
"""Requests after which the server starts anew, with empty records."""


@contextmanager
def _served(folder: Path) -> Iterator[Check]:
    """A request is answered with a status below 500 and JSON (or the bytes of a file, or a stream)."""
    log, crashes = logging.getLogger("ftspec.server"), _Crashes()
    log.addHandler(crashes)
    log.propagate = False
    with asyncio.Runner() as runner:
        served = _Served(folder, runner)

        def check(content: bytes) -> None:
            status, body = served.ask(content)
            if crashes.caught:
                raise crashes.caught.pop()
            assert 200 <= status < 500, body[:300]
            if status >= 400 and served.method != b"HEAD":
                error = json.loads(body)["error"]
                assert set(error) == {"message", "type", "param", "code"}

        try:
            yield check
        finally:
            served.close()
            log.removeHandler(crashes)
            log.propagate = True


@contextmanager
def _trained(folder: Path) -> Iterator[Check]:
    """Whatever rows a file holds, a job on them is refused or ends, and never because of a bug of ours."""
    with asyncio.Runner() as runner:
        served = _Served(folder, runner)

        def check(content: bytes) -> None:
            status, body = served.ask(_upload(content))
            assert status in {200, 400}, body
            for method in METHODS if status == 200 else ():
                given = {"model": "sandbox-nano", "training_file": json.loads(body)["id"], "seed": 1, "method": method}
                status, answer = served.ask(_request("POST /v1/fine_tuning/jobs", given))
                assert status in {200, 400}, answer
                if status == 200:
                    served.end(json.loads(answer)["id"])

        try:
            yield check
        finally:
            served.close()


class _Crashes(logging.Handler):
    """What the server logs where it answers 500."""

    def __init__(self) -> None:
        super().__init__()
        self.caught: list[BaseException] = []

    def emit(self, record: logging.LogRecord) -> None:
        if record.exc_info and record.exc_info[1] is not None:
            self.caught.append(record.exc_info[1])


class _Served:
    """The sandbox app, with one file uploaded as `FILE`, one job as `JOB`, one begun upload as `UPLOAD`."""

    def __init__(self, folder: Path, runner: asyncio.Runner) -> None:
        self._folder, self._runner, self._count, self.method = folder, runner, 0, b"GET"
        self._open()

    def _open(self) -> None:
        from ftspec.server.inprocess import sandbox_app

        root = self._folder / f"server-{self._count}"
        self._app = sandbox_app(root, workers=1, api_keys={_KEY: "p"})
        self._names = {"FILE": "", "UPLOAD": "", "JOB": "", "MODEL": "sandbox-nano"}
        self._names["FILE"] = self._made(_upload(CHAT * 8))
        self._names["UPLOAD"] = self._made(
            _request("POST /v1/uploads", {"filename": "r.jsonl", "purpose": "fine-tune", "bytes": 10, "mime_type": "text/jsonl"})
        )
        self._names["JOB"] = self._made(
            _request("POST /v1/fine_tuning/jobs", {"model": "sandbox-nano", "training_file": "FILE", "seed": 1})
        )

    def _made(self, content: bytes) -> str:
        status, body = self._asked(content)
        assert status == 200, body
        found: str = json.loads(body)["id"]
        return found

    def ask(self, content: bytes) -> tuple[int, bytes]:
        self._count += 1
        if self._count % _RESTART == 0:
            self.close()
            self._open()
        return self._asked(content)

    def _asked(self, content: bytes) -> tuple[int, bytes]:
        for name, value in self._names.items():
            content = content.replace(name.encode(), value.encode()) if value else content
        head, _, body = content.partition(b"\n\n")
        first, *rest = head.split(b"\n")
        self.method, _, url = first.partition(b" ")
        path, _, query = url.partition(b"?")
        headers = [(name.strip().lower(), value.strip()) for name, _, value in (line.partition(b":") for line in rest)]
        headers.append((b"authorization", f"Bearer {_KEY}".encode()))
        scope = {
            "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "scheme": "http", "root_path": "", "client": ("127.0.0.1", 1),
            "method": self.method.decode("latin-1") or "GET", "path": path.decode(errors="replace") or "/", "raw_path": path, "query_string": query,
            "headers": headers, "server": ("127.0.0.1", 80),
        }  # fmt: skip
        return self._runner.run(called(self._app, scope, body))

    def end(self, job_id: str) -> None:
        """Wait until a job has ended, and see that it was not stopped by a bug."""
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline:
            job = json.loads(self._asked(_request(f"GET /v1/fine_tuning/jobs/{job_id}"))[1])
            if job.get("finished_at") is not None:
                assert (job["error"] or {}).get("code") != "server_error", job["error"]
                return
            time.sleep(0.002)
        raise AssertionError("the job does not end")

    def close(self) -> None:
        import shutil

        self._app.close()
        for path in self._folder.glob("server-*"):
            shutil.rmtree(path, ignore_errors=True)


async def called(app: Any, scope: Mapping[str, Any], body: bytes) -> tuple[int, bytes]:
    """Return what an ASGI app answers to a request whose body comes in two pieces."""
    half = len(body) // 2
    messages = [
        {"type": "http.request", "body": body[:half], "more_body": True},
        {"type": "http.request", "body": body[half:], "more_body": False},
    ]
    status, sent = 0, bytearray()

    async def receive() -> Any:
        return messages.pop(0) if messages else {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        nonlocal status
        if message["type"] == "http.response.start":
            status = message["status"]
        else:
            sent.extend(message.get("body", b""))

    await asyncio.wait_for(app(dict(scope), receive, send), 20)
    return status, bytes(sent)


def _request(line: str, body: Any = b"", *headers: str) -> bytes:
    return "\n".join([line, *headers]).encode() + b"\n\n" + (body if isinstance(body, bytes) else json.dumps(body).encode())


def _upload(content: bytes) -> bytes:
    form = b'--b\r\ncontent-disposition: form-data; name="%s"%s\r\n\r\n%s\r\n'
    parts = form % (b"purpose", b"", b"fine-tune") + form % (b"file", b'; filename="r.jsonl"', content)
    return _request("POST /v1/files", parts + b"--b--\r\n", MULTIPART)


class _Elements(HTMLParser):
    def __init__(self, page: str) -> None:
        super().__init__()
        self.shape: list[tuple[str, tuple[str, ...]]] = []
        self.links: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.shape.append((tag, tuple(name for name, _ in attrs)))
        self.links += [value or "" for name, value in attrs if name in {"href", "src", "action"}]


@contextmanager
def _reported(folder: Path) -> Iterator[Check]:
    """Foreign text in a report makes no element, no handler and no link: the page has the shape that it has with plain text."""
    from ftspec.render.report.html import to_html
    from ftspec.render.report.markdown import to_markdown
    from ftspec.render.report.notebook import to_notebook

    del folder

    def check(content: bytes) -> None:
        report = _report(content.decode(errors="surrogateescape"))
        text = to_html(report)
        page = _Elements(text)
        scripts = [tag for tag, _ in page.shape if tag == "script"]
        assert len(scripts) == 2, scripts
        assert not [tag for tag, _ in page.shape if tag in {"img", "iframe", "object", "embed", "base", "marquee", "x"}]
        assert not [name for _, names in page.shape for name in names if name.startswith("on")]
        assert not [link for link in page.links if not link.startswith(("#", "http://", "https://"))]
        shown(text, to_markdown(report))
        json.loads(to_notebook(report))

    yield check


def _report(text: str) -> Any:
    from ftspec.experiment import DesiredJob
    from ftspec.record import Attempt, JobError, JobStatus, RecordedJob
    from ftspec.render.report.values import Curves, Data, EvalRow, EvalTable, Flipped, FlippedExample, Report, ReportJob

    job = DesiredJob(
        address=f"a/x={text}", experiment="a", engine=text or "e", scope="s", base_model=text or "m", train="rows", hyperparameters={"n_epochs": text},
        axes={"x": text, "seed": 1}, tags={"link": text, text: "b"}, suffix=text,
    )  # fmt: skip
    last = Attempt(
        number=1, status=JobStatus.FAILED, error=JobError(code=text, message=text), model=text, engine_job_id=text, git_commit=text
    )
    record = RecordedJob(key="1" * 64, address=job.address, engine=job.engine, scope="s", attempts=(last,))
    data = Data(ref=text, digest="d" * 64, rows=3)
    shown_job = ReportJob(
        job=job, key="1" * 64, record=record, train=data, validation=data, preimage={text: text, "x": text}, number=1,
        curves=Curves(train=((1.0, 2.0), (2.0, 1.0))),
    )  # fmt: skip
    base = EvalRow(label=text, base=True, mean=0.1, low=0.05, high=0.2, n=20, seeds=((text, 0.1),))
    example = FlippedExample(won=True, question=text, reference=text, base=text, tuned=text)
    table = EvalTable(eval=text, grader=text, rows=(base,), notes=(text,), flipped=Flipped(best=text, base=text, examples=(example,)))
    return Report(title=text, spec_files=(text,), jobs=(shown_job,), evals=(table,), notes=(text,), lock=text, versions=(text,))


JOB: Final = {
    "model": "MODEL", "training_file": "FILE", "validation_file": "FILE", "suffix": "s", "seed": 1, "metadata": {"ftspec_key": "k", "ftspec_project": "p"},
    "method": {"type": "supervised", "supervised": {"hyperparameters": {"n_epochs": 1, "batch_size": "auto", "learning_rate_multiplier": 1.0}}},
    "integrations": [{"type": "wandb", "wandb": {"project": "p", "tags": ["a"]}}],
}  # fmt: skip
TASKS: Final = b'{"messages":[{"role":"user","content":"is it yes or no?"}],"answer":"yes"}\n'
GRADER: Final = {"type": "string_check", "name": "g", "operation": "eq", "input": "{{sample.output_text}}", "reference": "{{item.answer}}"}
MULTI: Final = {
    "type": "multi", "name": "m", "calculate_output": "0.5 * a + b",
    "graders": {"a": GRADER, "b": {"type": "text_similarity", "evaluation_metric": "fuzzy_match", "input": "{{sample.output_json.x}}", "reference": "{{item.a.b}}", "pass_threshold": 0.5}},
}  # fmt: skip
CHAT_BODY: Final = {
    "model": "MODEL", "messages": [USER, ANSWER, {"role": "user", "content": [{"type": "text", "text": "x"}]}], "temperature": 0.5, "top_p": 0.9, "max_tokens": 4,
    "n": 2, "stop": ["\n"], "seed": 1, "logprobs": True, "top_logprobs": 2, "tools": [TOOL], "tool_choice": "auto", "stream": False, "user": "u",
    "response_format": {"type": "text"}, "frequency_penalty": 0, "logit_bias": {"1": 1},
}  # fmt: skip
FORM: Final = b'--b\r\ncontent-disposition: form-data; name="purpose"\r\n\r\nfine-tune\r\n--b\r\nContent-Disposition: form-data; name="file"; filename="r.jsonl"\r\nContent-Type: text/plain\r\n\r\n{"messages": []}\n\r\n--b--\r\n'
MULTIPART: Final = "content-type: multipart/form-data; boundary=b"

JOBS: Final = (
    _request("POST /v1/fine_tuning/jobs", JOB, "idempotency-key: k", "openai-project: p"),
    _request("POST /v1/fine_tuning/jobs", {**JOB, "method": {"type": "dpo", "dpo": {"hyperparameters": {"beta": 0.1}}}}),
    _request("POST /v1/fine_tuning/jobs", {**JOB, "method": {"type": "reinforcement", "reinforcement": {"grader": MULTI, "hyperparameters": {"eval_samples": 1, "compute_multiplier": 1.0, "reasoning_effort": "low"}}}}),
    _request("GET /v1/fine_tuning/jobs?limit=2&after=JOB&metadata[ftspec_key]=k"), _request("GET /v1/fine_tuning/jobs/JOB"),
    _request("GET /v1/fine_tuning/jobs/JOB/events?limit=5&after=x"), _request("GET /v1/fine_tuning/jobs/JOB/checkpoints?limit=1"),
    _request("POST /v1/fine_tuning/jobs/JOB/cancel"), _request("POST /v1/fine_tuning/jobs/JOB/pause"),
)  # fmt: skip
FILES: Final = (
    _request("POST /v1/files", FORM, MULTIPART), _request("GET /v1/files?purpose=fine-tune&limit=3&order=asc"), _request("GET /v1/files/FILE/content"),
    _request("DELETE /v1/files/FILE"), _request("POST /v1/uploads", {"filename": "r.jsonl", "purpose": "fine-tune", "bytes": 10, "mime_type": "text/jsonl"}),
    _request("POST /v1/uploads/UPLOAD/parts", FORM.replace(b'"file"', b'"data"'), MULTIPART), _request("POST /v1/uploads/UPLOAD/complete", {"part_ids": ["part_1"], "md5": "x"}),
    _request("POST /v1/uploads/UPLOAD/cancel"),
)  # fmt: skip
ASKED: Final = (
    _request("POST /v1/chat/completions", CHAT_BODY), _request("POST /v1/chat/completions", {**CHAT_BODY, "stream": True, "stream_options": {"include_usage": True}}),
    _request("POST /v1/fine_tuning/alpha/graders/validate", {"grader": MULTI}),
    _request("POST /v1/fine_tuning/alpha/graders/run", {"grader": MULTI, "item": {"answer": "x", "a": {"b": "y"}}, "model_sample": '{"x": "y"}'}),
    _request("GET /v1/models"), _request("GET /v1/models/MODEL"), _request("DELETE /v1/models/ft:x", b"", "authorization: Bearer x"), _request("GET /healthz"),
)  # fmt: skip

METHODS: Final = (
    {"type": "supervised", "supervised": {"hyperparameters": {"n_epochs": 1}}},
    {"type": "dpo", "dpo": {"hyperparameters": {"n_epochs": 1}}},
    {"type": "reinforcement", "reinforcement": {"grader": GRADER, "hyperparameters": {"n_epochs": 1}}},
)  # fmt: skip

TARGETS: Final = (
    Target(name="request job", form="http", prepare=_served, seeds=JOBS),
    Target(name="request file", form="http", prepare=_served, seeds=FILES),
    Target(name="request answer", form="http", prepare=_served, seeds=ASKED),
    Target(name="request rows", form="jsonl", prepare=_trained, seeds=(CHAT * 8, PREFERENCE * 6, TASKS * 6, TOOLS * 6, VISION * 4)),
    Target(name="report page", form="text", prepare=_reported, seeds=(
        b"</script><script>x</script><img src=x onerror=x>", b"\"'><svg onload=x> javascript:alert(1)", b"https://a:b@example.com/?a=1&b=2", b"`a` | b | **c** ``` <x>", b"{{ 7*7 }} ${7*7}",
    )),
)  # fmt: skip
