"""Tells somebody about the end of jobs: `notify:` in a spec, for `apply` and `status`.

A spec may come from anybody, so it can ask for a message but not send one by itself: a command
runs, and a webhook is posted to, only where this machine's user has trusted exactly that
(`ftspec trust --command '...'`, `ftspec trust --webhook ORIGIN`). A command is a list of words and never goes
through a shell; trust in it covers the files of the project that its words name. Commands do
not get the keys of engines; the message holds addresses, statuses, models, error codes and
costs, and never a key, a prompt or an answer. A redirect is not followed.

Whatever goes wrong here is a warning: it changes no exit code and no state.
"""

from __future__ import annotations

import json
import os
import shlex
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from ftspec.engines.origin import OriginRefused, parse_origin
from ftspec.engines.trust import TrustError, TrustStore
from ftspec.printable import printable
from ftspec.record import JobStatus

if TYPE_CHECKING:
    from ftspec.experiment import Spec
    from ftspec.pipeline.project import Project
    from ftspec.record import RecordedJob, State

SECONDS = 15
"""How long one message may take."""

FORMAT = "1.0"
_ENDS = (JobStatus.SUCCEEDED, JobStatus.FAILED, JobStatus.CANCELLED)


class Undelivered(Exception):
    """A message did not get through; why, in words that hold no secret."""


def notify(
    project: Project, spec: Spec, state: State, ended: Collection[str], *, command: str, environ: Mapping[str, str] | None = None
) -> list[str]:
    """Send what the spec asks for about jobs (keys) that ended now; return warnings."""
    environ = os.environ if environ is None else environ
    records = sorted((state.jobs[key] for key in ended if key in state.jobs), key=lambda record: record.address)
    records = [record for record in records if record.status in _ENDS]
    if not spec.notify or not records:
        return []
    trust = TrustStore.load(environ, project_root=project.root)
    warnings = []
    for block in spec.notify:
        about = _about(block, records)
        if not about:
            continue
        message = payload(spec.project, about, command=command)
        try:
            _send(block, message, project, spec, trust, environ)
        except (Undelivered, TrustError) as error:
            warnings.append(f"not notified: {error.message if isinstance(error, TrustError) else error}")
    return warnings


def _about(block: Mapping[str, Any], records: Sequence[RecordedJob]) -> list[RecordedJob]:
    """Return the jobs that a block wants to hear of."""
    on = block.get("on") or ["finished"]
    moments = {on} if isinstance(on, str) else set(on)
    if "finished" in moments:
        return list(records)
    return [record for record in records if ("succeeded" if record.status is JobStatus.SUCCEEDED else "failed") in moments]


def payload(project: str | None, records: Sequence[RecordedJob], *, command: str) -> dict[str, Any]:
    """Return the message: nothing in it comes from data, and foreign words are made printable."""
    return {
        "format_version": FORMAT,
        "command": command,
        "project": project,
        "text": _sentence(project, records),
        "jobs": [_job(record) for record in records],
    }


def _sentence(project: str | None, records: Sequence[RecordedJob]) -> str:
    counts = {status: sum(record.status is status for record in records) for status in _ENDS}
    said = ", ".join(f"{number} {status}" for status, number in counts.items() if number)
    return f"{project or 'ftspec'}: {said}"


def _job(record: RecordedJob) -> dict[str, Any]:
    last = record.last
    code = last.error.code if last.error is not None else None
    members = {
        "address": printable(record.address),
        "key": record.key,
        "engine": record.engine,
        "status": record.status.value,
        "model": printable(record.model) if record.model else None,
        "error_code": printable(code) if code else None,
        "cost": last.cost,
        "currency": last.currency,
        "trained_tokens": last.trained_tokens,
    }
    return {name: value for name, value in members.items() if value is not None}


# Sending


def _send(
    block: Mapping[str, Any], message: Mapping[str, Any], project: Project, spec: Spec, trust: TrustStore, environ: Mapping[str, str]
) -> None:
    body = json.dumps(message).encode()
    if (written := block.get("command")) is not None:
        _run(words(written), body, project, trust, _without_keys(spec, environ))
    elif (url := block.get("webhook")) is not None:
        _post(str(url), body, trust, name="the webhook")
    elif (variable := block.get("webhook_env")) is not None:
        url = environ.get(str(variable), "").strip()
        if not url:
            raise Undelivered(f"`{variable}` holds no address")
        _post(url, body, trust, name=f"the address in `{variable}`")


def words(command: str | Sequence[str]) -> list[str]:
    """Return the words of a command as a spec or a person writes it (`Undelivered`: they make no sense)."""
    if not isinstance(command, str):
        return [str(word) for word in command]
    try:
        return shlex.split(command)
    except ValueError:
        raise Undelivered("the command's quotes are not closed") from None


def _run(argv: list[str], body: bytes, project: Project, trust: TrustStore, environ: Mapping[str, str]) -> None:
    import subprocess

    if not argv or not trust.trusts_command(argv, root=project.root):
        raise Undelivered(f"this machine does not trust the command; if you do: ftspec trust --command {shlex.quote(shlex.join(argv))}")
    shown = printable(argv[0])
    try:
        done = subprocess.run(  # noqa: S603 the user trusts these words
            argv,
            input=body,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd=project.root,
            env=dict(environ),
            timeout=SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise Undelivered(f"`{shown}` took longer than {SECONDS} s") from None
    except (OSError, ValueError) as error:
        raise Undelivered(f"`{shown}` cannot be run ({error.strerror if isinstance(error, OSError) else 'a word holds a NUL'})") from None
    if done.returncode:
        raise Undelivered(f"`{shown}` ended with code {done.returncode}")


def _without_keys(spec: Spec, environ: Mapping[str, str]) -> dict[str, str]:
    """Return the environment without the variables that hold engine keys or webhook addresses."""
    from ftspec.engines.open import key_variables
    from ftspec.pipeline.planning import profiles

    secret = {name for entry in spec.engines.values() for name in key_variables(entry, profile=profiles()[entry.type], environ=environ)}
    secret |= {str(block["webhook_env"]) for block in spec.notify if block.get("webhook_env")}
    return {name: value for name, value in environ.items() if name not in secret}


def _post(url: str, body: bytes, trust: TrustStore, *, name: str) -> None:
    import http.client

    connect, path = _target(url, trust, name=name)
    headers = {"content-type": "application/json", "user-agent": "ftspec"}
    connection = connect()
    try:
        connection.request("POST", path, body=body, headers=headers)
        status = connection.getresponse().status
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise Undelivered(f"{name} could not be reached ({type(error).__name__})") from None
    finally:
        connection.close()
    if not 200 <= status < 300:
        raise Undelivered(f"{name} answered {status}")


def _target(url: str, trust: TrustStore, *, name: str) -> tuple[Callable[[], Any], str]:
    """Return how to connect, and the path. Says the origin of an address and never its path, which may be a secret."""
    import http.client

    try:
        parts = urlsplit(url)
        origin = parse_origin(f"{parts.scheme}://{parts.netloc}")
    except (OriginRefused, ValueError):
        raise Undelivered(f"{name} is not a plain https address") from None
    if not url.isascii() or not url.isprintable() or " " in url:
        raise Undelivered(f"{name} is not a plain https address")
    if not trust.takes_messages(str(origin)):
        raise Undelivered(f"this machine does not trust `{origin}` with messages; if you do: ftspec trust --webhook {origin}")
    scheme, host, port = origin.parts
    kind = http.client.HTTPSConnection if scheme == "https" else http.client.HTTPConnection
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return lambda: kind(host, port, timeout=SECONDS), path


def ended_keys(before: State, after: State) -> Iterator[str]:
    """Yield the keys of jobs that reached their end between two states."""
    for key, record in after.jobs.items():
        old = before.jobs.get(key)
        if record.status in _ENDS and (old is None or old.last.number != record.last.number or old.status not in _ENDS):
            yield key
