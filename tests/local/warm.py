"""Processes that train, started in a moment: one process imports torch and the rest once, and forks for every other.

`python warm.py SOCKET` is that process. `interpreter(folder)` writes what takes an interpreter's place
(`python:` of the engine): it asks the process to fork, hands over its streams, folder and environment, ends
when the fork ends, and takes the fork with it when it is killed. Only for tests that are not about the
process itself: those use the interpreter as it is.
"""

from __future__ import annotations

import contextlib
import json
import os
import runpy
import selectors
import signal
import socket
import sys
from pathlib import Path

_CLIENT = """#!{python} -IS
import json, os, signal, socket, sys
door = socket.socket(socket.AF_UNIX)
door.connect({door!r})
wish = json.dumps([sys.argv[1:], os.getcwd(), dict(os.environ)]).encode()
socket.send_fds(door, [len(wish).to_bytes(8, "big")], [0, 1, 2])
door.sendall(wish)
signal.signal(signal.SIGTERM, lambda *_: door.send(b"T"))
code = door.recv(1)
os._exit(code[0] if code else 1)
"""
_IMPORTS = ("torch", "transformers", "trl", "peft", "datasets", "trl.trainer.sft_trainer", "trl.trainer.dpo_trainer", "peft.tuners.lora")


def interpreter(folder: Path, door: Path) -> str:
    """Write the program that stands for an interpreter, and return its path."""
    program = folder / "python"
    program.write_text(_CLIENT.format(python=sys.executable, door=str(door)))
    program.chmod(0o755)
    return str(program)


def main(door: str) -> None:
    """Import everything, then fork whenever somebody asks."""
    os.environ.update(HF_HUB_OFFLINE="1", HF_HUB_DISABLE_TELEMETRY="1", TOKENIZERS_PARALLELISM="false", OMP_NUM_THREADS="1")
    for name in _IMPORTS:
        __import__(name)
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(door)
    listener.listen(64)
    forks: dict[socket.socket, int] = {}
    with selectors.DefaultSelector() as selector:
        selector.register(listener, selectors.EVENT_READ)
        selector.register(sys.stdin, selectors.EVENT_READ)
        while True:
            for key, _ in selector.select(0.02):
                if key.fileobj is sys.stdin:  # whoever started us is gone
                    for pid in forks.values():
                        _signal(pid, signal.SIGKILL)
                    os._exit(0)
                if key.fileobj is listener:
                    client, _ = listener.accept()
                    forks[client] = _fork(client, [listener, *forks])
                    selector.register(client, selectors.EVENT_READ)
                else:
                    client = key.fileobj  # type: ignore[assignment]
                    _signal(forks[client], signal.SIGTERM if client.recv(1) else signal.SIGKILL)
                    if not _readable(client):
                        selector.unregister(client)
            for client, pid in list(forks.items()):
                done, status = os.waitpid(pid, os.WNOHANG)
                if done:
                    with contextlib.suppress(OSError):
                        client.send(bytes([os.waitstatus_to_exitcode(status) & 0xFF]))
                    with contextlib.suppress(KeyError):
                        selector.unregister(client)
                    client.close()
                    del forks[client]


def _readable(client: socket.socket) -> bool:
    """Whether the other side is still there."""
    try:
        return client.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT) != b""
    except BlockingIOError:
        return True
    except OSError:
        return False


def _signal(pid: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, number)


def _fork(client: socket.socket, others: list[socket.socket]) -> int:
    head, streams, _, _ = socket.recv_fds(client, 8, 3)
    wish = b""
    while len(wish) < int.from_bytes(head, "big"):
        wish += client.recv(1 << 16)
    pid = os.fork()
    if pid:
        for stream in streams:
            os.close(stream)
        return pid
    code = 1
    try:
        os.setsid()
        for one in (client, *others):
            one.close()
        for number, stream in enumerate(streams):
            os.dup2(stream, number)
            os.close(stream)
        _become(*json.loads(wish))
        code = 0
    except SystemExit as leave:
        code = leave.code if isinstance(leave.code, int) else int(leave.code is not None)
    except BaseException:  # noqa: BLE001 what an interpreter does
        import traceback

        traceback.print_exc()
    with contextlib.suppress(OSError, ValueError):
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(code)


def _become(arguments: list[str], folder: str, environment: dict[str, str]) -> None:
    """Do what an interpreter does with these arguments."""
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    sys.stdin = os.fdopen(0, "r", closefd=False)
    sys.stdout = os.fdopen(1, "w", buffering=1, closefd=False)
    sys.stderr = os.fdopen(2, "w", buffering=1, closefd=False)
    sys.orig_argv = [sys.executable, *arguments]
    for place in filter(None, environment.get("PYTHONPATH", "").split(os.pathsep)):
        if (custom := Path(place) / "sitecustomize.py").exists():
            runpy.run_path(str(custom))
    first, *rest = [word for word in arguments if word != "-P"]
    if first == "-m":
        sys.argv = rest
        runpy.run_module(rest[0], run_name="__main__", alter_sys=True)
    elif first == "-c":
        sys.argv = ["-c", *rest[1:]]
        exec(compile(rest[0], "<string>", "exec"), {"__name__": "__main__"})  # noqa: S102 as an interpreter does
    else:
        sys.argv = arguments
        runpy.run_path(first, run_name="__main__")


if __name__ == "__main__":
    sys.path.pop(0)
    main(sys.argv[1])
