"""An engine needs a key, and the spec does not say which environment variable holds it.

Why: ftspec reads no key from anywhere else, so nothing could be launched.

Fix: add `api_key_env: NAME` to the engine.
"""

from collections.abc import Iterator

from ftspec.diagnostics import Diagnostic, error
from ftspec.spec.view import View


def check(view: View) -> Iterator[Diagnostic]:
    """Yield the engines in use that need a key and name no variable."""
    for name in dict.fromkeys(job.engine for job in view.setups):
        entry = view.spec.engines[name]
        if view.profiles[entry.type].needs_key and entry.api_key_env is None:
            message = f"the engine `{name}` needs a key, and no variable is named"
            yield error("api-key-env-missing", message, at=entry.at, help="add `api_key_env: NAME` (the name, not the key)")
