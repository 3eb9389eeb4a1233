"""Where a key may go: the rule that binds a credential to an origin.

A key, and any byte of data, is sent only to

- an origin of the engine's type (`Profile.origins`; `*` stands for one host label),
- loopback, or
- an origin that the user trusts outside the repo (`ftspec trust ORIGIN`, see `trust.py`).

Whoever writes the spec also chooses the variable that holds the key (`api_key_env`), and could name
any: one with somebody's token, or one that somebody else fills (a branch's name). So its name is bound, too:

- the type's own (`Profile.api_key_env`, also with `_ANYTHING` behind) to the type's origins and loopback,
- names that begin with `FTSPEC_` to loopback,
- every other pair of origin and name is trusted outside the repo (`ftspec trust ORIGIN --key-env NAME`).

A base URL is accepted in one spelling only: `scheme://host[:port][/path]`, lower case, no user
info, no query, no trailing dot, no backslash, addresses in their canonical form, https except
for loopback. Everything that two URL parsers could read differently is refused, never repaired.
"""

from __future__ import annotations

import ipaddress
import re
import shlex
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, TypeAlias

from ftspec.diagnostics import FtspecError
from ftspec.printable import printable, redacted

if TYPE_CHECKING:
    from collections.abc import Container, Mapping, Sequence

    from ftspec.profile import Profile

_URL = re.compile(
    r"(?P<scheme>https?)://(?P<host>\[[0-9a-f:.]+\]|[a-z0-9.-]+)(?::(?P<port>[1-9][0-9]{0,4}))?(?P<path>(?:/[A-Za-z0-9._~-]+)*/?)"
)
_LABEL = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
_NAME = re.compile(rf"{_LABEL}(?:\.{_LABEL})*")
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*")
_OURS = "FTSPEC_"
_DEFAULT_PORTS = {"http": 80, "https": 443}
_MAX_PORT = 65535

AMBIENT = (
    "OPENAI_BASE_URL",
    "OPENAI_ORG_ID",
    "OPENAI_PROJECT_ID",
    "OPENAI_CUSTOM_HEADERS",
    "OPENAI_ADMIN_KEY",
    "OPENAI_API_BASE",
    "OPENAI_ORGANIZATION",
    "OPENAI_API_TYPE",
    "OPENAI_MTLS_HOSTS",
)
"""Variables by which other tools redirect or identify requests. ftspec reads none of them."""

PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")
"""Variables by which other tools route requests through somebody else. ftspec reads none of them."""


Trust: TypeAlias = "Mapping[str, Sequence[str]]"
"""The origins that the user trusts, each with the variables (a last `*` is a glob) whose keys it may get."""


class OriginRefused(FtspecError):
    """The engine's address is not one that a key may be sent to. Nothing was sent."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """Scheme, host and port, as they are compared: exactly. A default port is not written."""

    scheme: str
    host: str
    """Lower-case name or canonical address; IPv6 in brackets."""
    port: int | None = None

    def __str__(self) -> str:
        return f"{self.scheme}://{self.host}" + (f":{self.port}" if self.port is not None else "")

    @property
    def parts(self) -> tuple[str, str, int | None]:
        """What the HTTP library calls scheme, host and port."""
        return self.scheme, self.host.strip("[]"), self.port

    @property
    def loopback(self) -> bool:
        """Whether it is this machine itself."""
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host.strip("[]")).is_loopback
        except ValueError:
            return False


def parse_base_url(url: str) -> tuple[Origin, str]:
    """Return the origin and the path of a base URL, or raise `OriginRefused` that says what is wrong with it."""
    match = _URL.fullmatch(url)
    if match is None or ".." in match["path"].split("/") or "." in match["path"].split("/"):
        raise _refused(url, "is not a plain address", "write it as `https://host/v1`: lower case, no user info, no query, no escapes")
    scheme, host, path = match["scheme"], match["host"], match["path"]
    port = int(match["port"]) if match["port"] else None
    if port is not None and port > _MAX_PORT:
        raise _refused(url, "has no valid port")
    if port == _DEFAULT_PORTS[scheme]:
        port = None
    _check_host(url, host)
    origin = Origin(scheme=scheme, host=host, port=port)
    if scheme == "http" and not origin.loopback:
        raise _refused(url, "is not encrypted", "use https; plain http is for this machine only (`http://127.0.0.1:8000/v1`)")
    return origin, path.rstrip("/")


def _check_host(url: str, host: str) -> None:
    if host.startswith("["):
        _check_address(url, host.strip("[]"))
        return
    if len(host) > 253 or not _NAME.fullmatch(host):
        raise _refused(url, "has no valid host name", "a host name has no empty part and does not end in a dot")
    if _NUMBER.fullmatch(host.rpartition(".")[2]):
        _check_address(url, host)


def _check_address(url: str, text: str) -> None:
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        raise _refused(url, "has no valid host address", "write IPv4 addresses as four decimal numbers") from None
    if str(address) != text or getattr(address, "ipv4_mapped", None) or getattr(address, "scope_id", None):
        raise _refused(url, "does not spell its host address in the canonical form", f"write `{address}`")
    if address.is_unspecified or address.is_multicast or address.is_link_local:
        raise _refused(url, "is not the address of a host that can be trusted")


def _refused(url: str, why: str, help: str | None = None) -> OriginRefused:  # noqa: A002 the field's own name
    return OriginRefused(f"`{shown(url)}` {why}", help=help)


def shown(url: str) -> str:
    """Return a URL that is safe to show: escaped, no credentials, not endless."""
    return redacted(printable(re.sub(r"//[^/\\?#]*@", "//[redacted]@", url)))[:200]


def parse_origin(text: str) -> Origin:
    """Return the origin that a person typed (`https://host[:port]`, a path is not allowed)."""
    origin, path = parse_base_url(text)
    if path:
        raise _refused(text, "is more than an origin", f"write `{origin}`")
    return origin


def check_origin(base_url: str, *, profile: Profile, trusted: Container[str], variable: str | None = None) -> Origin:
    """Return the origin of `base_url` if data may be sent there, else raise `OriginRefused`.

    `variable` is the one that the entry names for its key: the way out covers both.
    """
    origin, _ = parse_base_url(base_url)
    if origin.loopback or _owns(profile, origin) or str(origin) in trusted:
        return origin
    raise OriginRefused(
        f"`{origin}` is not an origin of engine type `{profile.name}`, so nothing is sent there",
        help=f"if you know who runs it, trust it once on this machine: `{trust_command(origin, [variable] if variable else [])}`",
    )


def check_variables(variables: Sequence[str], *, origin: Origin, profile: Profile, trust: Trust, engine: str) -> None:
    """Raise `OriginRefused` unless the value of each variable may be sent to `origin` as a key of entry `engine`."""
    refused = [name for name in variables if not _bound(name, origin, profile, trust)]
    if refused:
        raise OriginRefused(
            f"engine `{engine}` may not send the value of `{refused[0]}` to `{origin}`: nobody on this machine has said that it is a key for there",
            help=f"if it is, say so once on this machine: `{trust_command(origin, refused)}`",
        )


def _bound(variable: str, origin: Origin, profile: Profile, trust: Trust) -> bool:
    own = profile.api_key_env
    if own is not None and (variable == own or variable.startswith(f"{own}_")) and (origin.loopback or _owns(profile, origin)):
        return True
    if origin.loopback and variable.startswith(_OURS):
        return True
    return any(fnmatchcase(variable, name) for name in trust.get(str(origin), ()))


def trust_command(origin: Origin, variables: Sequence[str]) -> str:
    """Return what a person types to trust an origin with the keys in these variables."""
    return shlex.join(["ftspec", "trust", str(origin), *(word for name in variables for word in ("--key-env", name))])


def _owns(profile: Profile, origin: Origin) -> bool:
    return any(_matches(origin, pattern) for pattern in profile.origins)


def _matches(origin: Origin, pattern: str) -> bool:
    return re.fullmatch(re.escape(pattern).replace(r"\*", _LABEL), str(origin)) is not None


def ignored_variables(environ: Mapping[str, str], *, used: Container[str] = ()) -> list[str]:
    """Return the ambient variables that are set and that ftspec deliberately does not read, sorted.

    `used` are the variables that engine entries name themselves.
    """
    names = {*AMBIENT, *PROXIES}
    return sorted(name for name in environ if name.upper() in names and environ[name] and name not in used)
