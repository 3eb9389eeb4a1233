"""The `ftspec` command from its first line to its last, and `python -m ftspec`.

**Interrupts.** Python raises `KeyboardInterrupt` wherever it happens to be: in an import it is a
traceback, in a callback of the import system it is printed and forgotten. Here SIGINT ends the process quietly
with 130 before and after the command; while it runs, one that Python would forget does the same, and the
others are the command's (`_console.run`, `executor.interrupt`).

**The code of the folder that it runs in.** `python -m` puts that folder at the front of `sys.path`,
and it may be somebody else's checkout. It is taken away before anything else is imported, unless ftspec itself comes
from there. (In a checkout that has a module named `ftspec`, or one that Python imports before this
line, only `python -P -m ftspec` or the `ftspec` command keep its code out.)
"""

import os.path
import sys

if __name__ == "__main__":
    _here = os.path.realpath(sys.path[0] or ".") if sys.path and not sys.flags.safe_path else None
    if _here == os.path.realpath(os.path.curdir) != os.path.dirname(os.path.dirname(os.path.realpath(__file__))):  # noqa: PTH120 before pathlib
        del sys.path[0]

try:
    import gc  # only now
    import signal
except KeyboardInterrupt:
    os.write(2, b"interrupted\n")
    os._exit(130)

TYPE_CHECKING = False  # `typing` takes longer to import than all of this
if TYPE_CHECKING:
    from types import FrameType
    from typing import NoReturn

INTERRUPTED = 130

COLLECT_AFTER = 100_000
"""New containers between two searches for cyclic garbage: Python's 700 search the imports of a plan (40,000) for nothing, again and again."""


def main() -> "NoReturn":
    """Run the command line and leave with the exit code of what happened (docs/reference/exit-codes.md)."""
    gc.set_threshold(COLLECT_AFTER)
    # What the shell told us to ignore (background jobs) stays ignored.
    heard = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if heard:
        signal.signal(signal.SIGINT, _leave)
        sys.unraisablehook = _unraisable
    from ftspec.cli import _console, group

    try:
        if heard:
            signal.signal(signal.SIGINT, signal.default_int_handler)
        code = _console.run(group)
    except KeyboardInterrupt:
        code = INTERRUPTED
    finally:
        if heard:
            signal.signal(signal.SIGINT, _leave)
    gc.freeze()  # what is left ends with the process, and is not searched again
    sys.exit(code)


def _leave(signum: int = signal.SIGINT, frame: "FrameType | None" = None) -> None:  # noqa: ARG001 a handler's signature
    try:
        os.write(2, b"interrupted\n")  # a closed terminal takes nothing
    finally:
        os._exit(INTERRUPTED)


def _unraisable(lost: "sys.UnraisableHookArgs") -> None:
    if lost.exc_type is KeyboardInterrupt:
        _leave()
    sys.__unraisablehook__(lost)


if __name__ == "__main__":
    main()
