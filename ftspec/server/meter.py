"""What a team's operator sees of a served engine: counts in Prometheus' text format, and a log line a request.

Labels are routes, never what was asked; lines name who asked by project, never a key, a prompt or an answer.
"""

from __future__ import annotations

import json
import logging
import threading
import time
from collections import Counter
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from starlette.types import Scope

    from ftspec.server.context import Server

log = logging.getLogger("ftspec.server.requests")

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_STATUSES = ("validating_files", "queued", "running")


class Meter:
    """Counts since the process began."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._requests: Counter[tuple[str, str, int]] = Counter()
        self._seconds: Counter[str] = Counter()
        self._limited: Counter[str] = Counter()
        self._began = time.time()

    def answered(self, scope: Scope, *, status: int, seconds: float, request_id: str) -> None:
        """Count a request, and log it."""
        route, project = route_of(scope), (scope.get("state") or {}).get("project")
        with self._lock:
            self._requests[scope["method"], route, status] += 1
            self._seconds[route] += seconds  # type: ignore[assignment] # a Counter adds numbers of any kind
            if status == 429:
                self._limited[project or ""] += 1
        line = {"method": scope["method"], "route": route, "status": status, "ms": round(1000 * seconds, 1)}
        log.info("request", extra={"facts": {**line, "project": project, "request_id": request_id}})

    def text(self, server: Server) -> str:
        """Return everything in Prometheus' text format."""
        open_jobs: Counter[str] = Counter(server.observe(job)[1].status for job in server.store.unsettled())
        with self._lock:
            requests, seconds, limited = dict(self._requests), dict(self._seconds), dict(self._limited)
        counts: Counter[str] = Counter()
        for (_, route, _), count in requests.items():
            counts[route] += count
        lines = [
            *_family("ftspec_start_time_seconds", "gauge", "When the server started.", [({}, round(self._began, 3))]),
            *_family("ftspec_open_jobs", "gauge", "Jobs that have not ended.", [({"status": one}, open_jobs[one]) for one in _STATUSES]),
            *_family(
                "ftspec_requests_total",
                "counter",
                "Requests answered.",
                [({"method": m, "route": r, "status": str(s)}, count) for (m, r, s), count in sorted(requests.items())],
            ),
            *_family(
                "ftspec_request_seconds",
                "summary",
                "Time until requests were answered.",
                [
                    *(({"route": route}, round(total, 6), "_sum") for route, total in sorted(seconds.items())),
                    *(({"route": route}, count, "_count") for route, count in sorted(counts.items())),
                ],
            ),
            *_family(
                "ftspec_limited_total", "counter", "Requests refused by a limit.", [({"project": p}, n) for p, n in sorted(limited.items())]
            ),
        ]
        return "\n".join(lines) + "\n"


def route_of(scope: Scope) -> str:
    """Return the route of a request: its path with names instead of values."""
    if "endpoint" not in scope:
        return "other"
    path: str = scope["path"]
    for name, value in (scope.get("path_params") or {}).items():
        path = path.replace(str(value), f"{{{name}}}", 1)
    return path


def _family(name: str, kind: str, about: str, samples: list[Any]) -> list[str]:
    lines = [f"# HELP {name} {about}", f"# TYPE {name} {kind}"]
    for labels, value, *suffix in samples:
        inside = ",".join(f'{label}="{_escaped(text)}"' for label, text in labels.items())
        lines.append(f"{name}{''.join(suffix)}{f'{{{inside}}}' if inside else ''} {value}")
    return lines


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


class JsonLines(logging.Formatter):
    """Log records as JSON, one a line."""

    def format(self, record: logging.LogRecord) -> str:
        """Return a record as JSON."""
        line = {
            "time": time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created)) + f".{int(record.msecs):03d}Z",
            "level": record.levelname.lower(),
            "event": record.getMessage(),
            **getattr(record, "facts", {}),
            **{name: getattr(record, name) for name in ("job", "submission", "lost", "error") if hasattr(record, name)},
        }
        if record.exc_info and record.exc_info[0] is not None:
            line["exception"] = record.exc_info[0].__name__
        return json.dumps(line)


def log_json() -> None:
    """Write what the server logs, and what goes wrong in the libraries below it, to stderr as JSON lines."""
    handler = logging.StreamHandler()
    handler.setFormatter(JsonLines())
    logging.getLogger().addHandler(handler)
    logging.getLogger("ftspec.server").setLevel(logging.INFO)
    logging.captureWarnings(True)  # noqa: FBT003 the standard library's signature
