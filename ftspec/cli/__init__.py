"""The `ftspec` command: a lazy group, one thin file per command in this folder.

A command is a module `ftspec/cli/<name>.py` that exports `command`; the first line of its
docstring is its entry in `ftspec --help`, which imports none of them. Installed packages add
commands through the entry point group `ftspec.commands`.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from ftspec import __version__

_FOLDER = Path(__file__).parent
GROUP = "ftspec.commands"
ELSEWHERE = {
    "build": "apply",
    "check": "validate",
    "create": "apply",
    "destroy": "state rm",
    "diff": "plan",
    "evaluate": "eval",
    "format": "fmt",
    "jobs": "status",
    "launch": "apply",
    "lint": "validate",
    "list": "status",
    "log": "events",
    "logs": "events",
    "ls": "status",
    "new": "init",
    "output": "models",
    "refresh": "status",
    "retry": "apply --retry-failed",
    "rm": "state rm",
    "run": "apply",
    "show": "state show",
    "stat": "status",
    "test": "eval",
    "train": "apply",
    "version": "--version",
    "wait": "apply",
    "watch": "status --watch",
}
"""What other tools call it, and what it is here."""


class CorrectingGroup(click.Group):
    """A group that says which command was probably meant."""

    others: Mapping[str, str] = {}
    """Names that other tools have for commands of this group."""

    def resolve_command(self, ctx: click.Context, args: list[str]) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command, and say which one was probably meant when there is none."""
        name = args[0]
        if self.get_command(ctx, name) is None and not name.startswith("-"):
            from difflib import get_close_matches

            meant = self.others.get(name) or next(iter(get_close_matches(name, self.list_commands(ctx), n=1)), None)
            hint = f" Did you mean `{ctx.command_path} {meant}`?" if meant else ""
            ctx.fail(f"There is no command `{name}`.{hint}")
        return super().resolve_command(ctx, args)


class LazyGroup(CorrectingGroup):
    """A group that finds commands by file name and imports only the one that is called."""

    folder = _FOLDER
    package = __name__

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Say where the options of commands go when one stands before its command, as in `git -C DIR log`."""
        try:
            return super().parse_args(ctx, args)
        except click.NoSuchOption as error:
            if error.option_name not in {"-C", "-f", "--file", "--var", "--state", "--data-root"}:
                raise
            return ctx.fail(f"`{error.option_name}` goes after the command: `{ctx.command_path} plan {error.option_name} ...`")

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 click's signature
        """Return the names of all commands."""
        return sorted({*self.commands, *self._files(), *self._entry_points()})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the module of a command and return its `command`."""
        name = cmd_name.replace("-", "_")
        if name in self._files():
            from importlib import import_module

            found: click.Command = import_module(f"{self.package}.{name}").command
            return _with_blocks(found)
        plugin = self._entry_points().get(cmd_name)
        return plugin.load() if plugin is not None else super().get_command(ctx, cmd_name)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002 click's signature
        """List commands with the first line of their modules, without importing them."""
        files = self._files()
        rows = [(name.replace("_", "-"), _first_line(files[name])) for name in sorted(files)]
        rows += [(name, "(plugin)") for name in self._entry_points()]
        if rows:
            with formatter.section("Commands"):
                formatter.write_dl(rows)

    def _files(self) -> dict[str, Path]:
        return {path.stem: path for path in self.folder.iterdir() if path.suffix == ".py" and "a" <= path.name[0] <= "z"}

    def _entry_points(self) -> dict[str, Any]:
        from ftspec.plugins import offered

        if self.package != __name__ or not offered(GROUP):
            return {}
        from importlib.metadata import entry_points

        return {point.name: point for point in entry_points(group=GROUP)}


def _with_blocks(command: click.Command) -> click.Command:
    r"""Let `\b` in raw docstrings mean what it means to click: the next paragraph is not wrapped."""
    command.help = (command.help or "").replace("\\b\n", "\b\n")
    for inner in getattr(command, "commands", {}).values():
        _with_blocks(inner)
    return command


def _first_line(path: Path) -> str:
    with path.open(encoding="utf-8") as file:
        return file.readline().strip().strip('"').rstrip(".")


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 80})
@click.version_option(__version__, "-V", "--version", message="%(prog)s %(version)s")
def group() -> None:
    r"""Terraform for fine-tuning experiments.

    Declare datasets, base models, hyperparameter grids and evals in YAML; see what is
    missing, why, and what it costs; buy exactly that; keep the record.

    \b
        ftspec init my-experiments && cd my-experiments
        ftspec plan
        ftspec apply
    """


_with_blocks(group)
group.others = ELSEWHERE
