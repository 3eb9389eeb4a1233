"""From an engine entry of a spec to an `Engine` that can be asked.

Nothing is sent by opening, and nothing is opened that could send a key to the wrong place: the
rule of `origin.py` is asked for the address and for each variable before a key is read. An entry without a
`base_url` of a type that ftspec serves itself runs in process: no port, no key, the same client.
"""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

from ftspec.diagnostics import FtspecError
from ftspec.engines.account import Account, Secret
from ftspec.engines.client import WireEngine
from ftspec.engines.origin import Origin, Trust, check_origin, check_variables, parse_base_url
from ftspec.printable import looks_secret

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from ftspec.engines.base import Clock, Engine
    from ftspec.experiment import EngineEntry
    from ftspec.profile import Profile

_IN_PROCESS = Origin(scheme="http", host="in-process")


class KeyMissing(FtspecError):
    """The variable that should hold an engine's key does not."""


def open_engine(
    entry: EngineEntry,
    *,
    profile: Profile,
    environ: Mapping[str, str],
    trust: Trust,
    clock: Clock | None = None,
    app_factory: Callable[[EngineEntry], Any] | None = None,
    owners: Mapping[str, str] | None = None,
    deployments: Mapping[str, str] | None = None,
) -> Engine:
    """Return the engine that `entry` names.

    `trust` holds what the user trusts; `app_factory` makes the ASGI app of an
    engine that runs in process, which is closed with the engine if it has a `close`; `owners` are
    the variables whose keys are known to own jobs, files and models, `deployments` the names by
    which models are asked. Raises `FtspecError`: no address, an address that a key may not
    go to, no key.
    """
    if profile.in_process and entry.base_url is None:
        if app_factory is None:
            raise FtspecError(f"engine `{entry.name}` runs in process, but nothing here can serve it", help="This is a bug in ftspec.")
        account = Account(origin=_IN_PROCESS, base_url=f"{_IN_PROCESS}/v1")
        return WireEngine(account, profile=profile, scope=entry.scope, clock=clock, app=app_factory(entry), deployments=deployments)
    origin, base_url = address(entry, profile=profile, trust=trust)
    engines: dict[str, Engine] = {}
    for variable, key in keys(entry, origin, profile=profile, environ=environ, trust=trust).items():
        account = Account(
            origin=origin,
            base_url=base_url,
            key=key,
            key_header=profile.key_header,
            organization=_label(entry, "organization", entry.organization),
            project=_label(entry, "project", entry.project),
        )
        engines[variable] = WireEngine(
            account, profile=profile, scope=entry.scope, clock=clock, owner=variable or None, deployments=deployments
        )
    if len(engines) == 1:
        return next(iter(engines.values()))
    from ftspec.engines.keyring import KeyRing

    return KeyRing(engines, owners=owners)


def address(entry: EngineEntry, *, profile: Profile, trust: Trust) -> tuple[Origin, str]:
    """Return where an entry's requests go, if they may go there."""
    url = profile.base_url if entry.base_url is None else entry.base_url
    if url is None:
        raise FtspecError(
            f"engine `{entry.name}` has no address",
            help=f"give it one: `engines: {{{entry.name}: {{type: {profile.name}, base_url: ...}}}}`",
        )
    variable = entry.api_key_env or profile.api_key_env
    origin = check_origin(url, profile=profile, trusted=trust, variable=None if variable and looks_secret(variable) else variable)
    return origin, f"{origin}{parse_base_url(url)[1]}"


def check_serve_url(entry: EngineEntry, *, profile: Profile, trust: Trust) -> None:
    """Raise `OriginRefused` unless the server that answers the chats of an engine in process (`serve_url`) may have them."""
    url = entry.options.get("serve_url")
    if isinstance(url, str) and "serve_url" in profile.settings:
        check_origin(url, profile=profile, trusted=trust)


def key_variables(entry: EngineEntry, *, profile: Profile, environ: Mapping[str, str]) -> list[str]:
    """Return the names of the variables that hold keys for an entry (a glob may match several), sorted."""
    pattern = entry.api_key_env or profile.api_key_env
    if pattern is None:
        return []
    return sorted(name for name, value in environ.items() if value.strip() and fnmatchcase(name, pattern))


def keys(entry: EngineEntry, origin: Origin, *, profile: Profile, environ: Mapping[str, str], trust: Trust) -> dict[str, Secret | None]:
    """Return the keys of an entry by variable, all of which may go to `origin`; `{"": None}` where the engine needs none."""
    variables = key_variables(entry, profile=profile, environ=environ)
    if variables:
        check_variables(variables, origin=origin, profile=profile, trust=trust, engine=entry.name)
        return {name: _key(name, environ[name]) for name in variables}
    pattern = entry.api_key_env or profile.api_key_env
    if pattern is None and not profile.needs_key:
        return {"": None}
    if pattern is None:
        raise KeyMissing(f"engine `{entry.name}` needs a key", help="name the variable that holds it: `api_key_env: MY_API_KEY`")
    if looks_secret(pattern):
        raise KeyMissing(
            f"`api_key_env` of engine `{entry.name}` looks like a key, but it is the name of a variable that holds one",
            help="put the key in a variable, and revoke it if this file was ever shared",
        )
    raise KeyMissing(f"engine `{entry.name}` needs a key, and `{pattern}` is not set", help=f"export {pattern}=...")


def _label(entry: EngineEntry, name: str, value: str | None) -> str | None:
    """Return a value that travels in a header, if it can."""
    if value is not None and not (value.isascii() and value.isprintable() and value.strip() == value != ""):
        raise FtspecError(f"`{name}` of engine `{entry.name}` holds characters that cannot be sent")
    return value


def _key(variable: str, value: str) -> Secret:
    value = value.strip()
    if not value.isascii() or not value.isprintable() or " " in value:
        raise KeyMissing(f"the value of `{variable}` cannot be a key: it holds blanks or other characters that no key has")
    return Secret(value)
