"""An engine over a port: uvicorn, a socket that answers at once, and an orderly end.

The first SIGINT or SIGTERM finishes the requests under way and stops training at a step; the
second one drops the requests. Whatever was unfinished goes on at the next start.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import logging
import signal
import socket
from typing import TYPE_CHECKING

from ftspec.diagnostics import FtspecError
from ftspec.printable import printable
from ftspec.server.limits import Limits, digest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from ftspec.server.inprocess import EngineApp

MIN_KEY = 16
_TEND_SECONDS = 2.0
"""How often unfinished jobs are looked after, whether anybody asks or not."""
_GRACE_SECONDS = 10

log = logging.getLogger("ftspec.server")


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach a server on `host`."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def read_keys(path: Path) -> dict[str, str]:
    """Return the keys in a file and the project of each: lines of `KEY [PROJECT] [LIMIT=N ...]`, `#` begins a comment."""
    return checked_keys({key: project for key, project, _ in _key_lines(path)})


def read_limits(path: Path) -> Limits:
    """Return the limits in a key file: `requests=N` a minute of its key, `jobs=N` unfinished ones of its project (the largest word counts)."""
    lines = _key_lines(path)
    jobs: dict[str, int] = {}
    for _, project, words in lines:
        if "jobs" in words:
            jobs[project] = max(words["jobs"], jobs.get(project, 0))
    return Limits(requests={digest(key): words["requests"] for key, _, words in lines if "requests" in words}, jobs=jobs)


def _key_lines(path: Path) -> list[tuple[str, str, dict[str, int]]]:
    """Return key, project and limits of each line."""
    try:
        lines = path.read_text().split("\n")
    except (OSError, UnicodeDecodeError):
        msg = f"cannot read the key file `{path.name}`"
        raise FtspecError(msg, help="one `KEY PROJECT` a line") from None
    found: dict[str, tuple[str, str, dict[str, int]]] = {}
    for number, line in enumerate(lines, start=1):
        words = line.partition("#")[0].split()
        if not words:
            continue
        limits = {name: int(value) for word in words[1:] if (name := word.partition("=")[0]) and (value := _limit(word))}
        names = [word for word in words if _limit(word) is None]
        if words[0] not in names or len(names) > 2 or words[0] in found or len(limits) + len(names) != len(words):
            msg = f"line {number} of the key file `{path.name}` is not one new `KEY PROJECT`"
            raise FtspecError(
                msg, help="write every key once, with the project it speaks for and its limits: `KEY PROJECT requests=60 jobs=4`"
            )
        found[words[0]] = (words[0], names[1] if len(names) > 1 else "default", limits)
    return list(found.values())


def _limit(word: str) -> str | None:
    """Return the number of a limit; `None`: the word is none."""
    name, _, value = word.partition("=")
    return value if name in {"requests", "jobs"} and value.isdecimal() and int(value) > 0 else None


def checked_keys(keys: dict[str, str]) -> dict[str, str]:
    """Return keys that are hard to guess (`FtspecError`: there is none, or one is short)."""
    if not keys:
        msg = "there is no key to let anybody in"
        raise FtspecError(msg, help="make one: `python -c 'import secrets; print(secrets.token_urlsafe(32))'`")
    if any(len(key) < MIN_KEY for key in keys):
        msg = f"a key is shorter than {MIN_KEY} characters"
        raise FtspecError(msg, help="make one: `python -c 'import secrets; print(secrets.token_urlsafe(32))'`")
    return keys


def listen(host: str, port: int) -> socket.socket:
    """Return a listening socket (`port` 0: any free one).

    The protocol is named because asyncio turns Nagle's algorithm off only then; with it, a client
    waits 40 ms for every answer.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP)[0]
        listener = socket.socket(family, kind, protocol)
    except (OSError, UnicodeError) as error:
        msg = f"cannot listen on `{printable(host)}`: {getattr(error, 'strerror', 'it is no name')}"
        raise FtspecError(msg, help="give an address of this machine with `--host`") from None
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind(address)
        listener.listen(512)
    except OSError as error:
        listener.close()
        msg = f"cannot listen on port {port} of `{host}`: {error.strerror}"
        raise FtspecError(msg, help="give another port with `--port`, or 0 for any free one") from None
    listener.setblocking(False)  # noqa: FBT003 the standard library's signature
    return listener


def base_url(listener: socket.socket) -> str:
    """Return the address that clients use."""
    host, port = listener.getsockname()[:2]
    return f"http://{f'[{host}]' if ':' in host else host}:{port}/v1"


async def _tend(app: EngineApp) -> None:
    """Keep unfinished jobs going while nobody asks about them."""
    while True:
        await asyncio.sleep(_TEND_SECONDS)
        try:
            await asyncio.to_thread(app.wake)
        except Exception:
            log.exception("cannot look after unfinished jobs")


def serve(app: EngineApp, listener: socket.socket, *, ready: Callable[[], None]) -> None:
    """Serve until a signal says to stop, then close the app. `ready` is called once requests are answered."""
    try:
        import uvicorn
    except ImportError:
        msg = "serving over a port needs uvicorn"
        raise FtspecError(msg, help="`pip install 'ftspec[server]'`") from None

    class Server(uvicorn.Server):
        """Leaves signals to us: uvicorn would raise them again at its end, and nothing would be closed."""

        @contextlib.contextmanager
        def capture_signals(self) -> Iterator[None]:
            yield

        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets)
            ready()

    config = uvicorn.Config(
        app,
        lifespan="off",
        log_config=None,
        access_log=False,
        date_header=False,
        server_header=False,
        timeout_graceful_shutdown=_GRACE_SECONDS,
    )
    server = Server(config)

    def stop() -> None:
        server.force_exit = server.should_exit
        server.should_exit = True

    async def run() -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, stop)
        await asyncio.to_thread(app.wake)
        tending = asyncio.create_task(_tend(app))
        try:
            await server.serve(sockets=[listener])
        finally:
            tending.cancel()

    try:
        asyncio.run(run())
    finally:
        listener.close()
        app.close()
