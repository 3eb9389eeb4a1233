"""The origins and notify commands that a user trusts, in a file of the user's own: never part of a repo.

`$XDG_CONFIG_HOME/ftspec/trust.json` (else `~/.config/ftspec/trust.json`), mode 0600:

    {"format_version": 1, "origins": {"https://tunes.example.com": {"since": "2026-11-20", "key_env": ["TUNES_KEY"]}},
     "webhooks": {"https://hooks.example.com": {"since": "2026-11-20"}},
     "commands": {"<digest>": {"since": "2026-11-20", "words": ["notify-send", "done"]}}}

`origins` may be sent data, messages and the keys in the variables that `key_env` names; `webhooks` the messages of
`notify:` only. A command
is trusted word by word, with the content of every file of the project that a word
names: who changes such a file asks for trust anew.

A file that others can write, that is not ours, or that lies inside the project is not believed.
"""

from __future__ import annotations

import json
import os
import re
import stat
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from typing import Any

from ftspec.diagnostics import FtspecError
from ftspec.engines.origin import OriginRefused, parse_origin
from ftspec.fingerprint import digest
from ftspec.printable import looks_secret

FORMAT_VERSION = 1
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\*?")


class TrustError(FtspecError):
    """The file of trusted origins cannot be believed or changed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trusted:
    """An origin that may be sent data, and the keys in the variables `key_env`; `since` is an ISO day."""

    since: str
    key_env: tuple[str, ...] = ()


class TrustStore(Mapping[str, Sequence[str]]):
    """The trusted origins (`str(Origin)`), each with the variables whose keys may be sent there.

    The file is read when it is first needed, so that a damaged one stops only who relies on it.
    """

    def __init__(self, path: Path, *, project_root: Path | None = None) -> None:
        """`project_root`: where the file may not be."""
        self.path = path
        self._project_root = project_root

    @classmethod
    def load(cls, environ: Mapping[str, str], *, project_root: Path | None = None) -> TrustStore:
        """Return the user's own file (a missing one trusts nobody)."""
        return cls(trust_path(environ), project_root=project_root)

    def __contains__(self, origin: object) -> bool:
        """Whether this origin (`str(Origin)`) is trusted (`TrustError`)."""
        return origin in self._origins

    def __getitem__(self, origin: str) -> Sequence[str]:
        """Return the variables whose keys may be sent to this origin (`TrustError`; `KeyError`: it is not trusted)."""
        return self._origins[origin].key_env

    def __iter__(self) -> Iterator[str]:
        """Yield the origins, sorted (`TrustError`)."""
        return iter(sorted(self._origins))

    def __len__(self) -> int:
        """Return how many origins are trusted (`TrustError`)."""
        return len(self._origins)

    def since(self, origin: str) -> str:
        """Return the day on which this origin was trusted (`TrustError`; `KeyError`: it is not trusted)."""
        return self._origins[origin].since

    def takes_messages(self, origin: str) -> bool:
        """Whether messages may be posted to this origin (`TrustError`)."""
        return origin in self._webhooks or origin in self._origins

    @property
    def webhooks(self) -> Sequence[tuple[str, str]]:
        """Each origin that is trusted with messages only, and the day since when (`TrustError`)."""
        return sorted(self._webhooks.items())

    def trusts_command(self, words: Sequence[str], *, root: Path) -> bool:
        """Whether exactly this command may be run in this project (`TrustError`)."""
        return command_digest(words, root=root) in self._commands

    @property
    def commands(self) -> Sequence[tuple[Sequence[str], str]]:
        """Each trusted command and the day since when it is trusted (`TrustError`)."""
        return sorted((tuple(one["words"]), one["since"]) for one in self._commands.values())

    def add_command(self, words: Sequence[str], *, root: Path, day: str) -> None:
        """Trust a command as it is now (durable on return)."""
        self._commands.setdefault(command_digest(words, root=root), {"since": day, "words": list(words)})
        self._write()

    def remove_command(self, words: Sequence[str]) -> None:
        """Trust a command no longer, whatever the files that it names held."""
        known = [key for key, one in self._commands.items() if one["words"] == list(words)]
        if not known:
            raise TrustError("this command is not trusted", help="`ftspec trust --list` shows what is")
        for key in known:
            del self._commands[key]
        self._write()

    @property
    def _origins(self) -> dict[str, Trusted]:
        return self._content[0]

    @property
    def _webhooks(self) -> dict[str, str]:
        return self._content[1]

    @property
    def _commands(self) -> dict[str, Any]:
        return self._content[2]

    @cached_property
    def _content(self) -> tuple[dict[str, Trusted], dict[str, str], dict[str, Any]]:
        root = self._project_root
        if root is not None and self.path.resolve().is_relative_to(root.resolve()):
            raise TrustError(
                f"`{self.path}` lies inside the project, so it cannot say what is trusted",
                help="set `XDG_CONFIG_HOME` to a folder outside the project",
            )
        try:
            return _read(self.path)
        except FileNotFoundError:
            return {}, {}, {}
        except OSError as error:
            raise TrustError(f"`{self.path}` cannot be read: {error.strerror}") from None

    def add(self, text: str, *, day: str, key_env: Sequence[str] = ()) -> str:
        """Trust an origin from now on, also with the keys in these variables (durable on return); returns how it is written."""
        origin = str(parse_origin(text))
        known = self._origins.get(origin, Trusted(since=day))
        names = {*known.key_env, *(_variable(name) for name in key_env)}
        self._origins[origin] = Trusted(since=known.since, key_env=tuple(sorted(names)))
        self._write()
        return origin

    def add_webhook(self, text: str, *, day: str) -> str:
        """Trust an origin with messages only (durable on return); returns how it is written."""
        origin = str(parse_origin(text))
        self._webhooks.setdefault(origin, day)
        self._write()
        return origin

    def remove(self, text: str, *, key_env: Sequence[str] = ()) -> str:
        """Trust an origin no longer, for anything, or only no longer with these variables; returns how it was written."""
        origin = str(parse_origin(text))
        if not self.takes_messages(origin) or not {*key_env} <= {*self.get(origin, ())}:
            raise TrustError(f"`{origin}` is not trusted" + (" with that" if key_env else ""), help="`ftspec trust --list` shows what is")
        if key_env:
            left = tuple(name for name in self[origin] if name not in key_env)
            self._origins[origin] = Trusted(since=self.since(origin), key_env=left)
        else:
            self._origins.pop(origin, None)
            self._webhooks.pop(origin, None)
        self._write()
        return origin

    def _write(self) -> None:
        origins = {name: {"since": self.since(name), **({"key_env": list(self[name])} if self[name] else {})} for name in self}
        value: dict[str, Any] = {"format_version": FORMAT_VERSION, "origins": origins}
        if self._webhooks:
            value["webhooks"] = {name: {"since": day} for name, day in self.webhooks}
        if self._commands:
            value["commands"] = self._commands
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            temporary = self.path.with_name(f".{self.path.name}.{os.getpid()}")
            temporary.unlink(missing_ok=True)
            with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
                json.dump(value, file, indent=2)
                file.write("\n")
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(self.path)
        except OSError as error:
            raise TrustError(f"`{self.path}` cannot be written: {error.strerror}") from None


def trust_path(environ: Mapping[str, str]) -> Path:
    """Return where the user's trusted origins are kept."""
    config = environ.get("XDG_CONFIG_HOME", "")
    folder = Path(config) if Path(config).is_absolute() else Path(environ.get("HOME") or Path.home()) / ".config"
    return folder / "ftspec" / "trust.json"


def command_digest(words: Sequence[str], *, root: Path) -> str:
    """Return what a command is known by: its words, and the content of the project's files among them."""
    files = {}
    for word in words:
        try:
            path = (root / word).resolve()
            inside = path.is_relative_to(root.resolve()) and path.is_file()
        except (OSError, ValueError):
            continue
        if inside:
            files[word] = sha256(path.read_bytes()).hexdigest()
    return digest({"words": list(words), "files": files})


def _read(path: Path) -> tuple[dict[str, Trusted], dict[str, str], dict[str, Any]]:
    with path.open("rb") as file:
        about = os.fstat(file.fileno())
        if not stat.S_ISREG(about.st_mode) or about.st_mode & 0o022 or about.st_uid not in {os.getuid(), 0}:
            raise TrustError(f"`{path}` can be changed by others, so it is not believed", help=f"chmod 600 {path}")
        content = file.read(2**20)
    try:
        value = json.loads(content)
        origins = {
            _checked(name): Trusted(since=str(one["since"]), key_env=tuple(_variable(known) for known in one.get("key_env", ())))
            for name, one in _origins(value).items()
        }
        webhooks = {_checked(name): str(about_it["since"]) for name, about_it in _more(value, "webhooks")}
        commands = {
            key: {"since": str(one["since"]), "words": [str(word) for word in one["words"]]} for key, one in _more(value, "commands")
        }
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, OriginRefused, TrustError):
        raise TrustError(f"`{path}` is damaged or of a newer ftspec", help="move it away and trust again: `ftspec trust ORIGIN`") from None
    return origins, webhooks, commands


def _origins(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict) or value["format_version"] != FORMAT_VERSION or not isinstance(value["origins"], dict):
        msg = "not a trust file"
        raise ValueError(msg)
    return value["origins"]


def _more(value: dict[str, Any], name: str) -> Iterable[tuple[str, Any]]:
    found = value.get(name, {})
    if not isinstance(found, dict):
        msg = "not a trust file"
        raise TypeError(msg)
    return found.items()


def _checked(name: str) -> str:
    if str(parse_origin(name)) != name:
        msg = "not written as an origin"
        raise ValueError(msg)
    return name


def _variable(name: str) -> str:
    if not _VARIABLE.fullmatch(name) or looks_secret(name):
        raise TrustError("a variable's name has letters, digits and `_`, and may end in `*`", help="name the variable, not the key")
    return name
