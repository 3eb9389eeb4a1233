"""Two clones of one repository, each with a state of its own, that apply to one server at the same moment."""

import contextlib
import json
import os
import signal
import subprocess
import sys

import pytest

from ftspec.state.jsonl import JsonlState
from ftspec.testing.crash import JOBS, SPEC, Lab, _server_jobs

FTSPEC = [sys.executable, "-m", "ftspec"]


@contextlib.contextmanager
def server(folder):
    """Serve the sandbox over a port; yield its base URL."""
    command = [*FTSPEC, "serve", "--no-auth", "--port", "0", "--root", str(folder / ".ftspec" / "sandbox")]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    try:
        assert process.stdout is not None
        yield process.stdout.readline().strip()
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(timeout=30)
        process.stdout.close()


def clone(folder, url):
    """Return a clone of the project that trains on the server."""
    project = Lab(folder.parent).project(folder.name)
    served = SPEC.replace("defaults: {engine: sandbox}", "defaults: {engine: shared}").replace(
        "datasets:", f"engines:\n  shared: {{type: openai-compatible, base_url: {json.dumps(url)}}}\ndatasets:"
    )
    (project / "ftspec.yaml").write_text(served)
    return project


@pytest.mark.parametrize("round_", [0, *(pytest.param(number, marks=pytest.mark.slow) for number in range(1, 10))])
def test_two_clones_that_start_together_share_every_job(tmp_path, round_):
    """The server lets one key have one job: both clones record the same three jobs, and nothing is bought twice."""
    (tmp_path / "server").mkdir()
    with server(tmp_path / "server") as url:
        clones = [clone(tmp_path / name, url) for name in ("one", "two")]
        running = [
            subprocess.Popen(
                [*FTSPEC, "apply", "-y"], cwd=project, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=dict(os.environ)
            )
            for project in clones
        ]
        outputs = [process.communicate(timeout=120)[0] for process in running]
    assert [process.returncode for process in running] == [0, 0], outputs
    on_server = _server_jobs(tmp_path / "server")
    assert len(on_server) == JOBS
    assert len({key for _, key in on_server}) == JOBS
    for project in clones:
        state, _ = JsonlState(project / "state").read()
        assert {record.last.engine_job_id for record in state.jobs.values()} == {job for job, _ in on_server}
