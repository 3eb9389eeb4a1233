"""Options that several commands share."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from ftspec.pipeline.project import open_project

if TYPE_CHECKING:
    from collections.abc import Callable

F = TypeVar("F", bound="Callable[..., Any]")

_OPTIONS = (
    click.option(
        "-f", "--file", "files", multiple=True, metavar="FILE", help="Spec file (repeatable; default ftspec.yaml, then specs/*.yaml)."
    ),
    click.option("-C", "directory", metavar="DIR", help="Run as if started in DIR, the project's root."),
    click.option("--var", "variables", multiple=True, metavar="NAME=VALUE", help="Set a variable of the spec (repeatable)."),
    click.option("--state", metavar="DIR", help="State folder (default: FTSPEC_STATE, the spec's `state:`, then state/)."),
    click.option("--data-root", "data_roots", multiple=True, metavar="DIR", help="Also read datasets below DIR (repeatable)."),
)


def project_options(command: F | None = None, *, need_spec: bool = True) -> Any:
    """Add `-f -C --var --state --data-root` and pass a `Project` as the first argument."""

    def decorate(function: F) -> Any:
        @functools.wraps(function)
        def call(
            *args: Any,
            files: tuple[str, ...],
            directory: str | None,
            variables: tuple[str, ...],
            state: str | None,
            data_roots: tuple[str, ...],
            **rest: Any,
        ) -> Any:
            project = open_project(
                directory=directory,
                files=[Path(name) for name in files],
                variables=_pairs(variables),
                state=state,
                data_roots=data_roots,
                need_spec=need_spec,
            )
            return function(project, *args, **rest)

        for option in reversed(_OPTIONS):
            call = option(call)
        return call

    return decorate(command) if command is not None else decorate


def _pairs(words: tuple[str, ...]) -> dict[str, str]:
    pairs = {}
    for word in words:
        name, equals, value = word.partition("=")
        if not equals or not name:
            raise click.BadParameter(f"`{word}` is not NAME=VALUE", param_hint="--var")
        pairs[name] = value
    return pairs
