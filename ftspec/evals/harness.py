"""Evals that somebody else's program runs: `kind: command`, `kind: inspect`.

    gsm8k:
      kind: inspect
      options: {task: inspect_evals/gsm8k, limit: 200}
    mine:
      kind: command
      dataset: tickets.test
      options: {command: [python, evals/mine.py], timeout: 600}

The program gets the model behind a local address (`gateway`), in the variables `OPENAI_BASE_URL`
and `OPENAI_API_KEY`, its name in `FTSPEC_MODEL`, the rows in the file `FTSPEC_DATASET` (where the eval has
a dataset; lines of `{id, messages, item}`), and writes what it found into the file `FTSPEC_OUTPUT`:

    {"samples": [{"id": "...", "scores": {"exact": 1}, "output": "...", "reference": "..."}]}

or, where it has no samples, `{"scores": {"exact": 0.71}}`. It is code of the project: it runs only with
`--allow-code`, with no other variables of this environment than `PATH`, `HOME`, the locale and those that
`options.env` names. What it prints is kept in `harness.log` beside the samples.
"""

from __future__ import annotations

import hashlib
import shlex
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO, Final

from ftspec.regular import open_regular, within

KINDS: Final = ("inspect", "command")
_OPTIONS: Final[Mapping[str, frozenset[str]]] = {
    "command": frozenset({"command", "timeout", "env"}),
    "inspect": frozenset({"task", "limit", "args", "timeout", "env", "python"}),
}
COMMON_OPTIONS: Final = frozenset({"kind", "preset", "group_by", "max_connections", "isolation"})


def harness_problems(kind: str, options: Mapping[str, Any]) -> list[str]:
    """Return what is wrong with the options of such an eval."""
    unknown = sorted(set(options) - _OPTIONS[kind] - COMMON_OPTIONS)
    problems = [f"options.{name}: `kind: {kind}` has no such option" for name in unknown]
    needed = "command" if kind == "command" else "task"
    value = options.get(needed)
    texts = isinstance(value, str) or (
        kind == "command" and isinstance(value, list) and value and all(isinstance(one, str) for one in value)
    )
    if not texts or not value:
        problems.append(f"options.{needed}: is missing")
    if not isinstance(options.get("timeout", 1), (int, float)) or options.get("timeout", 1) <= 0:
        problems.append("options.timeout: must be a number of seconds")
    try:
        words = _words(kind, options) if texts else []
    except ValueError:
        problems.append(f"options.{needed}: has a quote that is not closed")
    else:
        if any("\0" in word for word in words):
            problems.append(f"options.{needed}: holds a NUL character")
    env = options.get("env", [])
    if not isinstance(env, list) or not all(isinstance(one, str) for one in env):
        problems.append("options.env: must be a list of names of variables")
    return problems


def identity(kind: str, options: Mapping[str, Any], root: Path) -> dict[str, Any]:
    """Return what decides such an eval, for its key: the program, its options, and the project's files it names."""
    files = {}
    for word in _words(kind, options):
        if within(root / word, root):
            with suppress(OSError), open_regular((root / word).resolve()) as file:
                files[word] = _sha256(file)
    what = {name: value for name, value in options.items() if name in {"command", "task", "limit", "args"}}
    return {"type": kind, **what, "files": files}


def _sha256(file: BinaryIO) -> str:
    whole = hashlib.sha256()
    while block := file.read(1 << 20):
        whole.update(block)
    return whole.hexdigest()


def _words(kind: str, options: Mapping[str, Any]) -> list[str]:
    return words_of(options["command"]) if kind == "command" else [str(options["task"]).partition("@")[0]]


def words_of(command: str | Sequence[str]) -> list[str]:
    """Return a command as words."""
    return shlex.split(command) if isinstance(command, str) else list(command)


def command_text(options: Mapping[str, Any]) -> str:
    """Return what such an eval runs, as people type it."""
    return shlex.join(words_of(options["command"])) if "command" in options else f"inspect eval {options['task']}"
