"""A spec file holds text that looks like an API key or a token.

Why: specs are committed and shared. ftspec never needs a key in a spec: engines name the
environment variable that holds it.

Fix: remove the key, revoke it where it was issued, and write the variable's name:
`api_key_env: OPENAI_API_KEY`.
"""

from collections.abc import Iterator

from ftspec.diagnostics import Diagnostic, error
from ftspec.printable import looks_secret
from ftspec.spec.view import View


def check(view: View) -> Iterator[Diagnostic]:
    """Yield the lines that hold a key; the key itself is never shown."""
    for source in view.sources:
        if not looks_secret(source.text):
            continue
        for number, line in enumerate(source.lines, start=1):
            if looks_secret(line):
                fix = "remove it, revoke it, and name the variable that holds it: `api_key_env: NAME`"
                yield error("secret-in-spec", "this line holds text that looks like a key", at=source.at(number), help=fix)
