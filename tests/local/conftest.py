"""What the tests of real training share: a tiny base, a server in this process, and patience.

Training needs `ftspec[local]`; where it is missing these tests are skipped. One job trains at a
time: a tiny model still fills a core. Deadlines are generous, for machines that do other things.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from ftspec.experiment import EngineEntry
from ftspec.server.graders import grade as simple_grade
from ftspec.server.inprocess import EngineApp, engine_app
from ftspec.server.trainers.local.run import LocalRun

from .warm import interpreter

PATIENCE = 240.0
_DATA = Path(__file__).parents[2] / "examples" / "specs" / "data"


@pytest.fixture(scope="session")
def warm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """What takes the interpreter's place where a test is not about the process: it has imported everything already."""
    if any(find_spec(name) is None for name in ("torch", "trl", "peft")):
        pytest.skip("ftspec[local] is not installed")
    folder = tmp_path_factory.mktemp("warm")
    door = Path(tempfile.mkdtemp(prefix="ftspec-")) / "door"  # a socket's path must be short
    command = [sys.executable, str(Path(__file__).with_name("warm.py")), str(door)]
    with (folder / "log").open("wb") as log, subprocess.Popen(command, stdin=subprocess.PIPE, stdout=log, stderr=log) as process:
        end = time.monotonic() + PATIENCE
        while not door.exists():
            assert process.poll() is None, (folder / "log").read_text()
            assert time.monotonic() < end
            time.sleep(0.05)
        yield interpreter(folder, door)
        assert process.stdin is not None
        process.stdin.close()
    shutil.rmtree(door.parent)


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory, warm: str) -> Path:
    """A base model of 150,000 numbers."""
    folder = tmp_path_factory.mktemp("models") / "tiny"
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    subprocess.run([warm, str(Path(__file__).with_name("tiny.py")), str(folder)], check=True, env=environment, capture_output=True)
    return folder


@pytest.fixture(scope="session")
def data() -> Callable[..., bytes]:
    """Rows of the examples: `data("tickets", 40)`."""

    def rows(name: str, count: int, *, skip: int = 0) -> bytes:
        lines = (_DATA / f"{name}.jsonl").read_bytes().splitlines(keepends=True)
        return b"".join(lines[skip : skip + count])

    return rows


class Local:
    """The local engine in this process, and its folders."""

    def __init__(self, root: Path, *, grade: Any = simple_grade, **options: Any) -> None:
        self.root = root
        self.grade = grade
        self.options = options
        self._loop = asyncio.Runner()
        self._open()

    def _open(self) -> None:
        import httpx2

        entry = EngineEntry(name="local", type="local", scope="local", options={"cpus": 1, **self.options})
        self.app: EngineApp = engine_app(entry, self.root, grade=self.grade, folder=self.root)
        transport = httpx2.ASGITransport(app=self.app)
        self._client = httpx2.AsyncClient(transport=transport, base_url="http://test/v1", timeout=PATIENCE)

    def close(self) -> None:
        self._loop.run(self._client.aclose())
        self.app.close()
        self._loop.close()

    def reopened(self) -> None:
        """Let another process take over: nothing in memory survives."""
        self._loop.run(self._client.aclose())
        self.app.close()
        self._open()

    def call(self, method: str, path: str, **more: Any) -> Any:
        return self._loop.run(self._client.request(method, path, **more))

    def together(self, bodies: list[dict[str, Any]]) -> list[Any]:
        async def all_at_once() -> list[Any]:
            return list(await asyncio.gather(*(self._client.post("chat/completions", json=body) for body in bodies)))

        return [answer.json() for answer in self._loop.run(all_at_once())]

    def upload(self, content: bytes) -> str:
        answer = self.call("POST", "files", files={"file": ("rows.jsonl", content)}, data={"purpose": "fine-tune"})
        assert answer.status_code == 200, answer.text
        file_id: str = answer.json()["id"]
        return file_id

    def post(self, rows: bytes, validation: bytes | None = None, **body: Any) -> Any:
        given = {"model": "tiny", "training_file": self.upload(rows), "seed": 1, **body}
        if validation:
            given["validation_file"] = self.upload(validation)
        return self.call("POST", "fine_tuning/jobs", json=given)

    def create(self, rows: bytes, validation: bytes | None = None, **body: Any) -> dict[str, Any]:
        answer = self.post(rows, validation, **body)
        assert answer.status_code == 200, answer.text
        job: dict[str, Any] = answer.json()
        return job

    def job(self, job_id: str) -> dict[str, Any]:
        job: dict[str, Any] = self.call("GET", f"fine_tuning/jobs/{job_id}").json()
        return job

    def run(self, job_id: str) -> LocalRun:
        return LocalRun(self.root / "runs" / job_id)

    def until(self, job_id: str, what: Callable[[dict[str, Any]], Any]) -> dict[str, Any]:
        end = time.monotonic() + PATIENCE
        while not what(job := self.job(job_id)):
            assert time.monotonic() < end, (job, self.log(job_id))
            time.sleep(0.1)
        return job

    def finished(self, job_id: str, *, status: str = "succeeded") -> dict[str, Any]:
        job = self.until(job_id, lambda job: job["finished_at"] is not None)
        assert job["status"] == status, (job["error"], self.log(job_id))
        return job

    def at_step(self, job_id: str, step: int) -> None:
        """Wait until training has got that far, and has saved it."""
        self.until(job_id, lambda _: (self.run(job_id).resume_folder() or (0,))[0] >= step)

    def log(self, job_id: str) -> str:
        path = self.run(job_id).path / "worker.log"
        return path.read_text()[-3000:] if path.exists() else "(no log)"

    def events(self, job_id: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.call("GET", f"fine_tuning/jobs/{job_id}/events?limit=1000").json()["data"]
        return found[::-1]

    def messages(self, job_id: str) -> list[str]:
        return [event["message"] for event in self.events(job_id)]

    def weights(self, job_id: str) -> str:
        """Return the digest of what came out."""
        said = [message for message in self.messages(job_id) if message.startswith("Weights sha256: ")]
        assert len(said) == 1, said
        return said[0].rpartition(" ")[2]

    def ask(self, model: str, content: str, **more: Any) -> Any:
        body = {"model": model, "messages": [{"role": "user", "content": content}], "temperature": 0, "max_tokens": 12, **more}
        return self.call("POST", "chat/completions", json=body)


@pytest.fixture
def opened(tmp_path: Path, tiny: Path, warm: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Local]]:
    """Open the local engine: `opened(micro_batch=2)`; with `python=None` the interpreter is the real one."""
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    made: list[Local] = []

    def open_it(**options: Any) -> Local:
        made.append(Local(tmp_path / f"local{len(made)}", **{"models": {"tiny": str(tiny)}, "python": warm, **options}))
        return made[-1]

    yield open_it
    for local in made:
        local.close()


def hyperparameters(method: str = "supervised", **values: Any) -> dict[str, Any]:
    return {"type": method, method: {"hyperparameters": values}}


@pytest.fixture
def kill() -> Callable[[LocalRun], None]:
    """Kill the process that trains, and whatever it started."""

    def end(run: LocalRun) -> None:
        card = json.loads((run.path / "attempts" / f"{run.newest_attempt():04d}").read_text())
        os.killpg(card["pid"], signal.SIGKILL)

    return end


@pytest.fixture
def method() -> Callable[..., dict[str, Any]]:
    """The `method` of a request: `method(n_epochs=2)`."""
    return hyperparameters


@pytest.fixture(scope="module")
def unbroken(
    tmp_path_factory: pytest.TempPathFactory, tiny: Path, warm: str, data: Callable[..., bytes]
) -> Iterator[tuple[Local, dict[str, Any]]]:
    """One supervised job that nobody disturbed, and its engine."""
    patch = pytest.MonkeyPatch()
    patch.setenv("HF_HUB_OFFLINE", "1")
    local = Local(tmp_path_factory.mktemp("unbroken"), models={"tiny": str(tiny)}, python=warm)
    job = local.create(data("tickets", 32), data("tickets", 8, skip=32), method=hyperparameters(**STEADY))
    yield local, local.finished(job["id"])
    local.close()
    patch.undo()


STEADY = {"n_epochs": 3, "batch_size": 4, "learning_rate": 0.01}


@pytest.fixture
def steady() -> dict[str, Any]:
    """The hyperparameters of `unbroken`."""
    return dict(STEADY)
