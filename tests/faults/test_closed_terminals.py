"""A terminal that is closed during an apply: it can be written to no more, and the process is told to hang up."""

import fcntl
import os
import pty
import subprocess
import sys
import termios

import pytest

from ftspec.testing.crash import Lab, applied


def terminal(project, *words):
    """Start an ftspec command in a terminal of its own; return the process and our end of the terminal."""
    ours, theirs = pty.openpty()

    def begin():
        os.setsid()
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)

    command = [sys.executable, "-m", "ftspec", *words]
    process = subprocess.Popen(command, cwd=project, stdin=theirs, stdout=theirs, stderr=theirs, preexec_fn=begin)  # noqa: PLW1509 no threads
    os.close(theirs)
    return process, ours


def read_until(word, terminal):
    """Read what a terminal shows until a word is there."""
    shown = b""
    while word not in shown:
        shown += os.read(terminal, 4096)
    return shown


@pytest.mark.parametrize("word", [b"launched", pytest.param(b"Cost:", marks=pytest.mark.slow)])
def test_closing_the_terminal_loses_nothing(tmp_path, word):
    """The calls in flight are recorded though nobody reads of it, the process ends, and the next apply goes on."""
    lab = Lab(tmp_path)
    project = lab.project("closed")
    process, ours = terminal(project, "apply", "-y")
    read_until(word, ours)
    os.close(ours)
    code = process.wait(timeout=30)
    assert code in {129, -1, 0}
    lab.compare(project, "the terminal was closed", whole=False)
    assert applied(project) == 0
    lab.compare(project, "the apply after it")
