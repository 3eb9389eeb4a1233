"""The only printer: results to stdout, talk to stderr, errors as one message and an exit code.

Everything is legible without colour. Colour is on for terminals, off with `NO_COLOR`, and
forced with `FORCE_COLOR`. Text that comes from specs, datasets or engines must already have
passed through `printable`; CI log commands are broken here as a last line of defence.
"""

from __future__ import annotations

import io
import os
import signal
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NoReturn

import click

from ftspec.cli._terminal import outlived
from ftspec.diagnostics import Diagnostic, FtspecError, has_errors
from ftspec.printable import printable, redacted

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from typing import TextIO

USAGE = 64
INTERRUPTED = 130
_SECRET_WORDS = ("KEY", "TOKEN", "SECRET", "PASS", "CREDENTIAL")
_SECRET_LENGTH = 8
_NARROWEST, _WIDEST = 60, 120
"""Between which widths lines are fitted to the terminal: narrower is no text, wider is hard to read."""


class NotApproved(FtspecError):
    """Nobody said `yes`."""

    exit_code = 7


def colour(stream: TextIO | None = None) -> bool:
    """Whether escape codes may be written to `stream` (default stdout)."""
    if os.environ.get("NO_COLOR"):
        return False
    if os.environ.get("FORCE_COLOR"):
        return True
    stream = stream or sys.stdout
    return stream.isatty() and os.environ.get("TERM") != "dumb"


def width(stream: TextIO | None = None) -> int | None:
    """How many columns lines of `stream` (default stdout) may take; `None` where it is no terminal: lines stay whole."""
    stream = stream or sys.stdout
    if not stream.isatty():
        return None
    try:
        columns = int(os.environ.get("COLUMNS") or 0) or os.get_terminal_size(stream.fileno()).columns
    except (OSError, ValueError):
        columns = 80
    return max(_NARROWEST, min(columns, _WIDEST))


def out(text: str = "") -> None:
    """Write a line of the result to stdout."""
    _write(sys.stdout, text)


def out_raw(text: str) -> None:
    """Write a machine-readable result (JSON, CSV) to stdout exactly as it is."""
    sys.stdout.write(text)
    sys.stdout.flush()


def talk(text: str = "") -> None:
    """Write a line for the person to stderr."""
    _write(sys.stderr, text)


def warn(text: str) -> None:
    """Write a warning to stderr."""
    talk(f"{_paint('warning', '33;1')}: {_sentence(text, first=9)}")


def _write(stream: TextIO, text: str) -> None:
    if os.environ.get("GITHUB_ACTIONS") and not text.startswith(("::error ", "::warning ", "::notice ")):
        text = "\n".join(line if "\x1b" in line else printable(line) for line in text.split("\n"))
    stream.write(text + "\n")
    stream.flush()


@contextmanager
def waiting(what: str) -> Iterator[None]:
    """Show on a terminal what takes a moment, until it is over."""
    shown = sys.stderr.isatty() and os.environ.get("TERM") != "dumb"
    if shown:
        sys.stderr.write(f"{what} ...")
        sys.stderr.flush()
    try:
        yield
    finally:
        if shown:
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()


def _sentence(text: str, *, first: int) -> str:
    """Return a sentence for stderr, whose first line has `first` columns taken already."""
    from ftspec.render.paragraph import paragraph

    head, *rest = text.split("\n")
    columns = width(sys.stderr)
    return "\n".join([paragraph(head, columns, first=first, rest=4), *(paragraph(line, columns, rest=4) for line in rest)])


def _paint(text: str, code: str) -> str:
    return f"\x1b[{code}m{text}\x1b[0m" if colour(sys.stderr) else text


def show(diagnostics: Iterable[Diagnostic], *, fail_on_errors: bool = True) -> None:
    """Write diagnostics to stderr; stop with exit 1 after errors."""
    found = list(diagnostics)
    if not found:
        return
    from ftspec.render.diagnostics import to_text

    talk(to_text(found, color=colour(sys.stderr), width=width(sys.stderr)))
    if sys.stderr.isatty():
        talk()  # what follows on the screen is something else
    if fail_on_errors and has_errors(found):
        raise click.exceptions.Exit(1)


def table(headers: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    """Write a table to stdout: columns aligned, numbers to the right, fitted to a terminal."""
    from ftspec.render.table import table as render

    out(render(headers, rows, width=width()))


def confirm(question: str, *, what: str) -> None:
    """Ask for `yes` (nothing else counts); raise `NotApproved` otherwise or without a terminal."""
    if not sys.stdin.isatty():
        raise NotApproved(f"{what} needs approval, and there is no terminal to ask", help="add `-y` (`--auto-approve`) to approve it")
    talk(question)
    sys.stderr.write("  Only `yes` is accepted: ")
    sys.stderr.flush()
    if sys.stdin.readline().strip() != "yes":
        raise NotApproved(f"{what} was not approved; nothing was bought")


def fail(error: FtspecError) -> int:
    """Write an error and return its exit code."""
    if error.diagnostics:
        show(error.diagnostics, fail_on_errors=False)
    talk(f"{_paint('error', '31;1')}: {_sentence(redacted(error.message), first=7)}")
    if error.help:
        talk(f"  = help: {_sentence(redacted(error.help), first=10)}")
    return error.exit_code


def run(command: click.Command, args: list[str] | None = None) -> int:
    """Run a click command and return the exit code; no exception leaves it."""
    with outlived():
        return _run(command, args)


def _run(command: click.Command, args: list[str] | None) -> int:
    try:
        result = command.main(args=args, prog_name="ftspec", standalone_mode=False)
    except click.exceptions.Exit as stop:
        return stop.exit_code
    except click.ClickException as error:
        shown = io.StringIO()
        error.show(file=shown)  # it quotes words that a shell may have made of file names
        talk(printable(shown.getvalue().rstrip("\n"), newlines=True))
        return USAGE if isinstance(error, click.UsageError) else 1
    except FtspecError as error:
        return fail(error)
    except (KeyboardInterrupt, click.Abort):
        talk("interrupted")
        return INTERRUPTED
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 128 + signal.SIGPIPE
    except OSError as error:
        talk(f"{_paint('error', '31;1')}: {_unkeyed(str(error))}")
        return 1
    except Exception as error:  # noqa: BLE001 the last line: a bug must not show values
        return _bug(error)
    return result if isinstance(result, int) else 0


def _bug(error: Exception) -> int:
    """Report our own mistake by its place in our code; values stay hidden, because they may hold data."""
    import traceback

    frames = traceback.extract_tb(error.__traceback__)
    talk(f"{_paint('error', '31;1')}: {type(error).__name__}: {_unkeyed(str(error))[:500]}")
    for frame in frames[-6:]:
        talk(f"    {frame.filename.rpartition('site-packages/')[2]}:{frame.lineno} in {frame.name}")
    talk("  = This is a bug in ftspec. Nothing that was bought is lost: run the command again, or `ftspec state list`.")
    return 1


def _unkeyed(text: str) -> str:
    """Return what an unforeseen exception says, without anything that a variable for secrets holds."""
    for name, value in os.environ.items():
        if len(value) >= _SECRET_LENGTH and any(word in name.upper() for word in _SECRET_WORDS):
            text = text.replace(value, "[redacted]")
    return redacted(printable(text))


def stop(code: int) -> NoReturn:
    """Leave with an exit code that is part of the contract (changes, stale, policy)."""
    raise click.exceptions.Exit(code)
