"""The other side of `isolation.CodeProcess`: runs user code, one call a line. Stands alone, imports no ftspec.

First line in: `{"source": ..., "function": ..., "limits": {...}}`; then one JSON list of arguments
a line. Each line out is `{"ready": true}`, `{"value": number}` or `{"error": text}`. What the code
prints goes nowhere. It lowers its own limits before it compiles anything, and refuses sockets
and other programs itself, for the case that no stronger wall is around it.
"""

import json
import math
import os
import sys
from typing import Any

REFUSED = ("socket.", "subprocess.", "os.system", "os.exec", "os.posix_spawn", "os.spawn", "os.fork", "pty.")


def main() -> None:
    """Read the code, then answer calls until the input ends."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    calls = os.fdopen(os.dup(0), encoding="utf-8")
    nowhere = os.open(os.devnull, os.O_RDWR)
    for standard in (0, 1, 2):
        os.dup2(nowhere, standard)
    setup = json.loads(calls.readline())
    lower_limits(setup["limits"])
    sys.addaudithook(refuse)
    function: Any = None
    reply: dict[str, Any] = {"ready": True}
    try:
        names: dict[str, Any] = {"__name__": "grader"}
        exec(compile(setup["source"], "grader.py", "exec"), names)  # noqa: S102 what it is for: isolated, by digest, allowed by the user
        function = names[setup["function"]]
    except BaseException as error:  # noqa: BLE001 whatever it was, it is the code's own
        reply = {"error": f"the code does not load: {described(error)}"}
    while True:
        answers.write(json.dumps(reply) + "\n")
        answers.flush()
        line = calls.readline()
        if not line or function is None:
            return
        try:
            reply = {"value": checked(function(*json.loads(line)))}
        except BaseException as error:  # noqa: BLE001 whatever it was, it is the code's own
            reply = {"error": described(error)}


def checked(value: Any) -> float | bool:
    """Return a number or a bool; anything else is a mistake of the code."""
    if hasattr(value, "item"):
        value = value.item()
    if isinstance(value, bool):
        return value
    if isinstance(value, (int, float)) and math.isfinite(value):
        return value
    msg = f"it must return a finite number or a bool, not {type(value).__name__}"
    raise TypeError(msg)


def described(error: BaseException) -> str:
    """Return an exception as one short line that names the line of the code."""
    line, trace = 0, error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == "grader.py":
            line = trace.tb_lineno
        trace = trace.tb_next
    where = f" (line {line})" if line else ""
    return f"{type(error).__name__}: {error}"[:300] + where


def lower_limits(limits: dict[str, int]) -> None:
    """Lower the limits of this process for good."""
    try:
        import resource
    except ImportError:
        return
    for name, wanted in limits.items():
        which = getattr(resource, name)
        _, hard = resource.getrlimit(which)
        value = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(which, (value, value))


def refuse(event: str, _arguments: Any) -> None:
    """Refuse the network and other programs."""
    if event.startswith(REFUSED):
        msg = f"a grader may not use `{event}`"
        raise PermissionError(msg)


if __name__ == "__main__":
    main()
