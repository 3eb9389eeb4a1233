"""Show what a command does and takes, like its `--help`."""

from __future__ import annotations

import click

from ftspec.cli import _console


@click.command()
@click.argument("names", nargs=-1, metavar="[COMMAND]...")
@click.pass_context
def command(context: click.Context, names: tuple[str, ...]) -> None:
    r"""Show what a command does and takes, like `ftspec COMMAND --help`.

    \b
        ftspec help plan
        ftspec help data check
    """
    about = context.parent or context
    for name in names:
        if not isinstance(about.command, click.Group):
            about.fail(f"`{about.command_path}` has no commands.")
        _, found, _ = about.command.resolve_command(about, [name])
        if found is not None:
            about = click.Context(found, parent=about, info_name=name)
    _console.out(about.get_help())
