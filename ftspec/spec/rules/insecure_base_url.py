"""An engine is reached over plain http on another machine.

Why: the key and the training data would travel in clear text. Only this machine itself
(`localhost`, `127.0.0.1`, `[::1]`) may be reached without https.

Fix: write `https://...`, or use a tunnel to a local port.
"""

from collections.abc import Iterator
from urllib.parse import urlsplit

from ftspec.diagnostics import Diagnostic, error
from ftspec.spec.view import View


def check(view: View) -> Iterator[Diagnostic]:
    """Yield engines on http that are not loopback."""
    for name, entry in view.spec.engines.items():
        if entry.base_url is None:
            continue
        parts = urlsplit(entry.base_url)
        host = parts.hostname or ""
        if parts.scheme == "http" and host not in ("localhost", "::1") and not _loopback(host):
            yield error(
                "insecure-base-url", f"the engine `{name}` would be reached without encryption", at=entry.at, help="write `https://...`"
            )


def _loopback(host: str) -> bool:
    numbers = host.split(".")
    return len(numbers) == 4 and numbers[0] == "127" and all(number.isdecimal() and int(number) < 256 for number in numbers)
