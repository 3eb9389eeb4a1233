"""Say where engine keys and data may go, on this machine, outside every repo."""

from __future__ import annotations

import datetime as dt
import os
from typing import TYPE_CHECKING, Any

import click

from ftspec.cli import _console
from ftspec.printable import printable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ftspec.engines.trust import TrustStore


class Unclear(click.UsageError):
    """The words do not say one thing to do."""


@click.command()
@click.argument("origin", required=False)
@click.option(
    "--key-env", "variables", multiple=True, metavar="NAME", help="Variable whose key ORIGIN may get (`*` at its end). Repeatable."
)
@click.option(
    "--command",
    "words",
    metavar="WORDS",
    help="Trust a command of `notify:`, or the interpreter in a local engine's `python:`, as it is now.",
)
@click.option("--webhook", is_flag=True, help="Trust ORIGIN with the messages of `notify:` only, never with a key.")
@click.option("--list", "show", is_flag=True, help="Show what is trusted.")
@click.option("--remove", is_flag=True, help="Trust ORIGIN (or the command) no longer.")
@click.option("--json", "as_json", is_flag=True, help="What is trusted, as JSON.")
def command(
    origin: str | None, *, variables: tuple[str, ...], words: str | None, webhook: bool, show: bool, remove: bool, as_json: bool
) -> None:
    r"""Say where engine keys and data may go, on this machine, outside every repo.

    A spec can name any address and any variable. Data is sent only to the origins of its
    engine's type, to this machine, and to origins trusted here (`https://host[:port]`,
    exactly). A key goes to the first two only from the type's own variables
    (OPENAI_API_KEY, OPENAI_API_KEY_TEAM; on this machine also FTSPEC_...), and anywhere
    else only from a variable named here with --key-env. Messages that a spec's `notify:`
    asks for are posted to trusted and to --webhook origins only, and its commands run only if
    trusted, with the files of this project that they name. The list is a file of your own:
    $XDG_CONFIG_HOME/ftspec/trust.json.

    \b
        ftspec trust https://tunes.example.com --key-env TUNES_KEY
        ftspec trust --webhook https://hooks.example.com
        ftspec trust --command 'notify-send "jobs ended"'
        ftspec trust --list
        ftspec trust --remove https://tunes.example.com
    """
    from ftspec.engines.trust import TrustStore

    store = TrustStore.load(os.environ)
    if words is not None:
        if origin is not None or show or webhook or variables:
            raise Unclear("--command goes alone, or with --remove.")
        _command(store, words, remove=remove)
        return
    if origin is None and (show or as_json) and not remove:
        _show(store, as_json=as_json)
    elif origin is None or show:
        raise Unclear("Name one ORIGIN, or ask for --list.")
    elif webhook and variables:
        raise Unclear("--webhook and --key-env exclude each other: messages carry no key.")
    elif remove:
        _console.talk(f"No longer trusted: {store.remove(origin, key_env=variables)}" + (f" with {_names(variables)}" if variables else ""))
    else:
        _add(store, origin, variables, webhook=webhook)


def _add(store: TrustStore, origin: str, variables: tuple[str, ...], *, webhook: bool) -> None:
    today = dt.datetime.now(dt.UTC).date().isoformat()
    if webhook:
        _console.talk(f"Trusted on this machine: {store.add_webhook(origin, day=today)}")
        _console.talk("Messages that specs ask for when jobs end may now be posted there; keys and data are not.")
        return
    trusted = store.add(origin, day=today, key_env=variables)
    _console.talk(f"Trusted on this machine: {trusted}")
    keys = f"the key in {_names(store[trusted])}" if store[trusted] else "no key (`--key-env NAME` names one)"
    _console.talk(f"Engines with an address there may now be sent data, and {keys}. Undo: `ftspec trust --remove {trusted}`")


def _names(variables: Sequence[str]) -> str:
    return ", ".join(f"`{name}`" for name in variables)


def _command(store: TrustStore, text: str, *, remove: bool) -> None:
    import shlex
    from pathlib import Path

    try:
        words = shlex.split(text)
    except ValueError:
        words = []
    if not words:
        raise Unclear("--command needs the words of a command, quoted as for a shell.")
    if remove:
        store.remove_command(words)
        _console.talk(f"No longer trusted: {printable(shlex.join(words))}")
    else:
        store.add_command(words, root=Path.cwd(), day=dt.datetime.now(dt.UTC).date().isoformat())
        _console.talk(f"Trusted on this machine: {printable(shlex.join(words))}")
        _console.talk("It may now run where a spec names it, until a file of this folder that it names changes.")


def _show(store: TrustStore, *, as_json: bool) -> None:
    import shlex

    from ftspec.render.json import dumps

    if as_json:
        origins = [{"origin": origin, "since": store.since(origin), "key_env": list(store[origin])} for origin in store]
        webhooks = [{"origin": origin, "since": day} for origin, day in store.webhooks]
        commands = [{"command": list(words), "since": day} for words, day in store.commands]
        _console.out_raw(dumps({"format_version": "1.0", "origins": origins, **_given(webhooks=webhooks, commands=commands)}))
        return
    rows = [(origin, ", ".join(store[origin]), store.since(origin)) for origin in store]
    if store.webhooks:
        _console.table(["messages only", "trusted since"], store.webhooks)
    if store.commands:
        _console.table(["command", "trusted since"], [(printable(shlex.join(words)), day) for words, day in store.commands])
    if rows:
        _console.table(["origin", "keys", "trusted since"], rows)
    elif not store.commands and not store.webhooks:
        _console.talk("No origin is trusted beyond those of the engine types and this machine.")


def _given(**lists: list[dict[str, Any]]) -> dict[str, Any]:
    return {name: found for name, found in lists.items() if found}
