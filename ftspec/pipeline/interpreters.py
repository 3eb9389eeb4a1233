"""The interpreter that trains for a local engine: started only if it is this one, or if the user trusts it.

`python:` stands in a spec, and a spec may come from anybody; starting what it names would run whatever
lies there. So it is a command like those of `notify:`, trusted by its absolute path and, where it is a file
of the project, by its content (`ftspec trust --command PATH`). An environment's interpreter is mostly a link
to the system's own; trusting it means trusting what is installed beside it.
"""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from ftspec.diagnostics import FtspecError
from ftspec.engines.trust import TrustStore
from ftspec.printable import printable

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ftspec.experiment import EngineEntry


class InterpreterNotTrusted(FtspecError):
    """A spec names an interpreter that nobody on this machine trusts."""


def check_interpreter(entry: EngineEntry, *, root: Path, environ: Mapping[str, str]) -> None:
    """Raise `InterpreterNotTrusted` if the engine would start something that a spec chose and the user did not."""
    path = foreign_interpreter(entry, root=root)
    if path is not None and not TrustStore.load(environ, project_root=root).trusts_command([path], root=root):
        raise InterpreterNotTrusted(
            f"engine `{entry.name}` would start `{printable(path)}`, which this machine does not trust",
            help=f"if you made it: {to_trust(path)}",
        )


def to_trust(path: str) -> str:
    """Return what to type to trust an interpreter, in the project's folder."""
    here = f"{Path.cwd()}/"
    if path.startswith(here) and shlex.quote(path) == path:
        return f'ftspec trust --command "$PWD/{path.removeprefix(here)}"'
    return f"ftspec trust --command {shlex.quote(shlex.quote(path))}"


def foreign_interpreter(entry: EngineEntry, *, root: Path) -> str | None:
    """Return the absolute path of the interpreter that an entry names; `None`: it is the one that runs this."""
    given = entry.options.get("python")
    if entry.type != "local" or entry.base_url is not None or not isinstance(given, str) or not given:
        return None
    named = str(root / Path(given).expanduser()) if "/" in given else shutil.which(given) or given
    path = Path(os.path.abspath(named)) if "/" in named else Path(named)  # noqa: PTH100 links stay: they are what an environment is
    return None if _is_this_one(path) else str(path)


def _is_this_one(path: Path) -> bool:
    this = Path(sys.executable)
    try:
        return path.samefile(this) and path.parent.resolve() == this.parent.resolve()
    except OSError:
        return False


def missing_packages(entry: EngineEntry, *, root: Path) -> list[str]:
    """Return what training needs and the interpreter that runs this lacks; nothing is known of another one."""
    from ftspec.server.trainers.local.probe import NEEDED

    return [name for name in NEEDED if find_spec(name) is None] if foreign_interpreter(entry, root=root) is None else []
