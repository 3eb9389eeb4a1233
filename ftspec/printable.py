"""Foreign text made safe to show.

Specs, datasets, file names and engine answers may hold terminal escapes, bidirectional
overrides, CI log commands and keys. Everything foreign passes through `printable` on its way
to a terminal, a log, a plan or a report, and through `redacted` where a key could be in it.
"""

from __future__ import annotations

import re

_UNSAFE = (
    "[\x00-\x1f\x7f-\x9f\u00ad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\ufff9-\ufffb\U000e0000-\U000e007f\ud800-\udfff]"
)
_UNSAFE_BUT_NEWLINE = _UNSAFE.replace("\x00-\x1f", "\x00-\x09\x0b-\x1f")
_CI_COMMAND = re.compile(r"^(\s*)::|##\[", re.MULTILINE)
_SECRET = re.compile(
    r"(?<![A-Za-z0-9])(?:sk[-_][A-Za-z0-9_\-*.]{6,}"  # not the end of a word: `task-specific` is no key
    r"|(?:rk|pk|fw|gsk|hf|xai|ghp|gho|glpat|tgp|v1\.CmQ)[-_](?=[A-Za-z_\-.]*[0-9*])[A-Za-z0-9_\-*.]{6,})"  # `hf-internal-testing` is none either
    r"|(?i:bearer)\s+(?=[A-Za-z._~+/=\-]*[0-9])[A-Za-z0-9._~+/=\-]{8,}"
    r"|AKIA[0-9A-Z]{16}|AIza[0-9A-Za-z_\-]{20,}|eyJ[A-Za-z0-9_\-]{8,}\.[A-Za-z0-9_\-]{8,}\.[A-Za-z0-9_\-]*"
)

_MARKERS = (
    *(
        f"{prefix}{mark}"
        for prefix in ("sk", "rk", "pk", "fw", "gsk", "hf", "xai", "ghp", "gho", "glpat", "tgp", "v1.CmQ")
        for mark in "-_"
    ),
    "AKIA",
    "AIza",
    "eyJ",
)
_LONG = 10_000
"""From this length on, looking for how credentials begin is much faster than matching them."""


def printable(text: str, *, newlines: bool = False) -> str:
    r"""Return `text` with control, bidi and invisible characters shown as `\x1b` or `\u202e`.

    With `newlines` line feeds stay. CI log commands (`::set-output`, `##[group]`) are broken
    by a visible backslash so that no runner obeys them.
    """
    if not (text.isascii() and text.isprintable()):  # or nothing in it is unsafe, and nearly all that is shown is so
        text = re.sub(_UNSAFE_BUT_NEWLINE if newlines else _UNSAFE, _escaped, text)
    if "::" in text or "##[" in text:
        text = _CI_COMMAND.sub(lambda m: m.group().replace("::", r":\:").replace("##[", r"##\["), text)
    return text


def _escaped(match: re.Match[str]) -> str:
    code = ord(match.group())
    if code <= 0xFF:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"


def redacted(text: str) -> str:
    """Return `text` with everything that looks like a credential replaced by `[redacted]`."""
    return _SECRET.sub("[redacted]", text)


def looks_secret(text: str) -> bool:
    """Whether `text` looks like a credential rather than the name of a variable that holds one."""
    if len(text) > _LONG and not any(marker in text for marker in _MARKERS) and "bearer" not in text.lower():
        return False
    return _SECRET.search(text) is not None
