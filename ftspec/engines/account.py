"""In whose name requests go out: where to, with which key, for which organization."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ftspec.engines.origin import Origin

_HIDDEN = r"(?:\*{2,}|\u2026|\.{3})"
_MASKED = re.compile(rf"[\w.-]*{_HIDDEN}[\w.*-]*")
"""A word of which the middle is hidden, as servers quote a key that they do not like."""

_PREFIX = 2
_SUFFIX = 3
"""How many characters of a masked word must be those of the key."""


class Secret:
    """A key (not empty) that does not show itself."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def __repr__(self) -> str:
        return "Secret(...)"

    def __reduce__(self) -> Any:
        msg = "a key is never stored"
        raise TypeError(msg)

    def reveal(self) -> str:
        """Return the key."""
        return self._value

    def hide_in(self, text: str) -> str:
        """Return `text` without the key, whole or with its middle masked (`sk-...CRET`)."""
        text = text.replace(self._value, "[redacted]")
        return _MASKED.sub(lambda match: "[redacted]" if self._could_be(match.group()) else match.group(), text)

    def _could_be(self, masked: str) -> bool:
        """Whether a masked word begins or ends as the key does."""
        pieces = re.split(_HIDDEN, masked)
        begin, end = pieces[0], pieces[-1].strip("*.")
        return (len(begin) >= _PREFIX and self._value.startswith(begin)) or (len(end) >= _SUFFIX and self._value.endswith(end))


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """An origin, and who we are there. `base_url` lies within `origin`."""

    origin: Origin
    base_url: str
    key: Secret | None = None
    key_header: str = "bearer"
    """`bearer`, or the name of the header that carries the key."""
    organization: str | None = None
    project: str | None = None

    def headers(self) -> dict[str, str]:
        """Return the headers that identify us, and no others."""
        from ftspec import __version__

        headers = {"user-agent": f"ftspec/{__version__}", "accept-encoding": "identity"}
        if self.key is not None and self.key_header == "bearer":
            headers["authorization"] = f"Bearer {self.key.reveal()}"
        elif self.key is not None:
            headers[self.key_header] = self.key.reveal()
        if self.organization is not None:
            headers["openai-organization"] = self.organization
        if self.project is not None:
            headers["openai-project"] = self.project
        return headers
