"""Deal the rows of a file to parts, by hash, so that rows keep their part when others are added."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from ftspec.cli import _console
from ftspec.cli._options import project_options
from ftspec.diagnostics import FtspecError
from ftspec.printable import printable

if TYPE_CHECKING:
    from ftspec.pipeline.project import Project

DEFAULT = ("train=0.8", "validation=0.1", "test=0.1")


@click.command()
@project_options(need_spec=False)  # type: ignore[untyped-decorator]
@click.argument("file")
@click.argument("shares", nargs=-1, metavar="[PART=SHARE]...")
@click.option("--seed", type=int, default=0, show_default=True, help="Deals the rows differently.")
@click.option("--group-by", metavar="KEY", help="Rows with the same value of this (dotted) key stay together.")
@click.option("-o", "--output", metavar="DIR", help="Where to write (default: beside FILE).")
@click.option("--force", is_flag=True, help="Overwrite parts that are there already.")
def command(
    project: Project, *, file: str, shares: tuple[str, ...], seed: int, group_by: str | None, output: str | None, force: bool
) -> None:
    r"""Deal the rows of a file to parts, by hash, so that rows keep their part when others are added.

    The `split:` of a dataset in a spec deals the same way and needs no files. Default shares:
    train=0.8 validation=0.1 test=0.1.

    \b
        ftspec data split all.jsonl
        ftspec data split all.jsonl train=0.9 test=0.1 --group-by customer_id
    """
    from ftspec.cli._data._targets import targets_of
    from ftspec.data.dealing import deal
    from ftspec.data.rows import BadFile

    wanted = _shares(shares or DEFAULT)
    chosen = targets_of(project, [file])
    source = project.root / file
    folder = project.root / output if output else source.parent
    targets = {part: folder / f"{Path(file).stem}.{part}.jsonl" for part in wanted}
    present = [path for path in targets.values() if path.exists()]
    if present and not force:
        raise FtspecError(f"`{project.relative(present[0])}` exists already", help="add `--force` to overwrite it")
    try:
        with chosen.where.open(chosen.datasets[0].path) as opened:
            dealt = deal(opened, targets, wanted, seed=seed, group_by=group_by)
    except BadFile as problem:
        from ftspec.data.checks import all_codes

        shown = f"ftspec data check --fix {file}" if problem.line else all_codes()[problem.code].help
        raise FtspecError(f"`{printable(file)}`: {problem.message}", help=shown) from problem
    total = sum(dealt.rows.values())
    _console.table(
        ["part", "rows", "share", "file"],
        [[part, rows, f"{rows / total:.1%}" if total else "0%", project.relative(targets[part])] for part, rows in dealt.rows.items()],
    )
    if empty := [part for part, number in dealt.rows.items() if not number]:
        _console.warn(f"no row fell to {', '.join(f'`{part}`' for part in empty)}: add rows, enlarge the share, or change `--seed`")
    if dealt.ungrouped:
        _console.warn(f"{dealt.ungrouped:,} rows have no `{group_by}` and were dealt by themselves")
    _console.talk("In a spec, without files:")
    given = ", ".join(
        [
            *(f"{part}: {share:g}" for part, share in wanted.items()),
            *([f"seed: {seed}"] if seed else []),
            *([f"group_by: {group_by}"] if group_by else []),
        ]
    )
    _console.talk(f"  split: {{{given}}}")


def _shares(words: tuple[str, ...]) -> dict[str, float]:
    found: dict[str, float] = {}
    for word in words:
        part, equals, share = word.partition("=")
        if part in found:
            raise click.BadParameter(f"`{part}` is given twice", param_hint="PART=SHARE")
        try:
            found[part] = float(share)
        except ValueError:
            equals = ""
        if not equals or not part.isidentifier() or not 0 < found[part] <= 1:
            raise click.BadParameter(f"`{word}` is not PART=SHARE with a share between 0 and 1", param_hint="PART=SHARE")
    if abs(sum(found.values()) - 1) > 1e-6:
        raise click.BadParameter(f"the shares add up to {sum(found.values()):g}, not 1", param_hint="PART=SHARE")
    return found
