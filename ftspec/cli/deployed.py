"""Record under which name an engine answers for a trained model."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from ftspec.cli import _console, _state
from ftspec.diagnostics import FtspecError
from ftspec.printable import printable

if TYPE_CHECKING:
    from ftspec.pipeline.project import Project

_LONGEST = 256


@click.command()
@click.argument("address", metavar="ADDRESS")
@click.argument("name", required=False)
@_state.state_options
@click.option("--remove", is_flag=True, help="It is deployed no longer.")
def command(project: Project, address: str, name: str | None, *, remove: bool) -> None:
    r"""Record under which NAME an engine answers for the model of ADDRESS.

    For engines whose trained models answer once somebody has deployed them (`ftspec status
    ADDRESS` says so). From then on evals, `chat`, `models --raw` and `ftspec.model()` use NAME.
    A job that is trained again has another model, and is deployed again.

    \b
        ftspec deployed triage/seed=1 triage-prod
        ftspec deployed triage/seed=1 --remove
    """
    from ftspec.cli._records import only
    from ftspec.state.base import JobFact
    from ftspec.state.trained import NoModel

    if (name is None) is not remove:
        raise click.UsageError("Give the NAME of the deployment, or --remove.")
    if name is not None and (not name.strip() or name != printable(name) or len(name) > _LONGEST):
        raise FtspecError("this cannot be the name of a deployment", help="name it as the engine does")
    backend = _state.backend(project)
    with backend.lock("deployed") as writer:
        record = only(writer.read(), address)
        attempt = next((one for one in reversed(record.attempts) if one.model), None)
        if attempt is None:
            raise NoModel.of(record)
        writer.append(JobFact(key=record.key, attempt=attempt.number, at=_state.now(), values={"deployment": name}))
    model = printable(attempt.model or "")
    _console.out(f"{record.address}: {model} " + (f"answers as {name}" if name is not None else "is deployed no longer"))
