"""Say where engine keys and data may go, on this machine, outside every repo."""

from __future__ import annotations

import datetime as dt
import os
from typing import TYPE_CHECKING

import click

from ftspec.cli import _console

if TYPE_CHECKING:
    from ftspec.engines.trust import TrustStore


class Unclear(click.UsageError):
    """The words do not say one thing to do."""


@click.command()
@click.argument("origin", required=False)
@click.option("--list", "show", is_flag=True, help="Show what is trusted.")
@click.option("--remove", is_flag=True, help="Trust ORIGIN no longer.")
@click.option("--json", "as_json", is_flag=True, help="What is trusted, as JSON.")
def command(origin: str | None, *, show: bool, remove: bool, as_json: bool) -> None:
    r"""Say where engine keys and data may go, on this machine, outside every repo.

    A spec can name any address, but a key is sent only to the origins of its engine's type,
    to this machine, and to origins trusted here (`https://host[:port]`, exactly). The list is
    a file of your own: $XDG_CONFIG_HOME/ftspec/trust.json.

    \b
        ftspec trust https://tunes.example.com
        ftspec trust --list
        ftspec trust --remove https://tunes.example.com
    """
    from ftspec.engines.trust import TrustStore

    store = TrustStore.load(os.environ)
    if origin is None and (show or as_json) and not remove:
        _show(store, as_json=as_json)
    elif origin is None or show:
        raise Unclear("Name one ORIGIN, or ask for --list.")
    elif remove:
        _console.talk(f"No longer trusted: {store.remove(origin)}")
    else:
        today = dt.datetime.now(dt.UTC).date().isoformat()
        trusted = store.add(origin, day=today)
        _console.talk(f"Trusted on this machine: {trusted}")
        _console.talk(f"Engines with an address there may now be sent keys and data. Undo: `ftspec trust --remove {trusted}`")


def _show(store: TrustStore, *, as_json: bool) -> None:
    from ftspec.render.json import dumps

    if as_json:
        _console.out_raw(dumps({"format_version": "1.0", "origins": [{"origin": origin, "since": day} for origin, day in store]}))
        return
    rows = list(store)
    if rows:
        _console.table(["origin", "trusted since"], rows)
    else:
        _console.talk("No origin is trusted beyond those of the engine types and this machine.")
