"""Workers as jobs of an existing Ray cluster, by its Jobs REST interface: ftspec needs no ray.

The address is the settings' or that of `RAY_API_SERVER_ADDRESS`. A token (`RAY_AUTH_TOKEN`) is sent
only to that variable's address or to this machine, wherever a spec points. A cluster that does not
answer says nothing about a job, so its jobs count as running until it answers.
"""

from __future__ import annotations

import json
import os
import shlex
import urllib.error
import urllib.request
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from ftspec.server.trainers.local.executors import Handle, Placement, Submission
    from ftspec.server.trainers.local.settings import Settings

_VARIABLE = "RAY_API_SERVER_ADDRESS"
_SECONDS = 30
_LOOPBACK = ("127.0.0.1", "localhost", "::1")


class RayExecutor:
    """Jobs of a Ray cluster."""

    slots: int | None = None

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._address = str(settings.ray.get("address") or os.environ.get(_VARIABLE, "")).rstrip("/")

    def problem(self) -> str | None:
        """Return what keeps the cluster from being asked."""
        if not self._address.startswith(("http://", "https://")):
            return f"The address of the Ray cluster is not known: set `ray: {{address: http://HEAD:8265}}` or `{_VARIABLE}`."
        try:
            self._ask("GET", "/api/version")
        except OSError as error:
            return f"The Ray cluster does not answer ({type(error).__name__})."
        return None

    def submit(self, submission: Submission, *, slot: int) -> Handle:  # noqa: ARG002 Ray places
        """Submit a job: Ray refuses a name that it knows, so a lost answer starts nothing twice."""
        log = shlex.quote(str(submission.run / "worker.log"))
        body: dict[str, Any] = {
            "submission_id": submission.name,
            "entrypoint": f"exec {shlex.join(submission.command)} >> {log} 2>&1",
            "runtime_env": {"env_vars": {**submission.environment, "OMP_NUM_THREADS": str(submission.cpus)}},
            "entrypoint_num_cpus": submission.cpus,
            "entrypoint_num_gpus": submission.gpus,
            "metadata": {"ftspec_job": submission.run.name},
        }
        if self._settings.memory_gb:
            body["entrypoint_memory"] = round(self._settings.memory_gb * 1024**3)
        if resources := self._settings.ray.get("resources"):
            body["entrypoint_resources"] = dict(resources)
        try:
            self._ask("POST", "/api/jobs/", body)
        except OSError:
            if self._status(submission.name) is None:
                raise
        return {"job": submission.name}

    def poll(self, handle: Handle) -> Placement:
        """Return where Ray says the job is."""
        try:
            status = self._status(handle["job"])
        except OSError:
            return "running"
        return "queued" if status == "PENDING" else "running" if status == "RUNNING" else "gone"

    def cancel(self, handle: Handle, *, force: bool = False) -> None:  # noqa: ARG002 Ray ends what does not end itself
        """Stop the job."""
        try:
            self._ask("POST", f"/api/jobs/{handle['job']}/stop")
        except OSError:
            return  # it has ended, or the worker sees for itself that the job is cancelled

    def _status(self, name: str) -> str | None:
        """Return the status of a job; `None`: Ray does not know it."""
        try:
            return str(self._ask("GET", f"/api/jobs/{name}")["status"])
        except urllib.error.HTTPError as error:
            if error.code == 404:
                return None
            raise

    def _ask(self, verb: str, path: str, body: Any = None) -> Any:
        headers = {"content-type": "application/json"}
        token = os.environ.get("RAY_AUTH_TOKEN")
        if token and self._may_know(self._address):
            headers["authorization"] = f"Bearer {token}"
        content = json.dumps(body).encode() if body is not None else None
        request = urllib.request.Request(self._address + path, data=content, headers=headers, method=verb)  # noqa: S310 `problem` allows http and https only
        try:
            with _OPENER.open(request, timeout=_SECONDS) as response:
                return json.loads(response.read() or b"null")
        except urllib.error.HTTPError as error:
            error.close()
            raise
        except ValueError as error:
            raise OSError("not an answer of Ray") from error

    @staticmethod
    def _may_know(address: str) -> bool:
        """Whether a token may be sent there."""
        ours = os.environ.get(_VARIABLE, "").rstrip("/")
        return urlsplit(address).hostname in _LOOPBACK or address == ours


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """A cluster that sends us elsewhere is not the one that was configured."""

    def redirect_request(self, *_: Any, **__: Any) -> None:
        """Follow nothing."""


_OPENER = urllib.request.build_opener(_NoRedirects, urllib.request.ProxyHandler({}))


def executor(settings: Settings) -> RayExecutor:
    """Return the executor."""
    return RayExecutor(settings)
