"""A block of `notify:` does not say one way to tell, or waits for something that never comes.

Why: nobody would hear of the end of an apply, and nothing would say so.

Fix: give each block exactly one of `command`, `webhook` and `webhook_env`, and in `on` only
`succeeded`, `failed` and `finished`.
"""

from collections.abc import Iterator

from ftspec.diagnostics import Diagnostic, Place, error
from ftspec.printable import printable
from ftspec.spec.suggest import did_you_mean
from ftspec.spec.view import View

WAYS = ("command", "webhook", "webhook_env")
MOMENTS = ("succeeded", "failed", "finished")


def check(view: View) -> Iterator[Diagnostic]:
    """Yield the blocks that cannot be followed."""
    at = _place(view) if view.spec.notify else None
    for block in view.spec.notify:
        ways = [way for way in WAYS if block.get(way)]
        if len(ways) != 1:
            said = " and ".join(f"`{way}`" for way in ways) or "none"
            message = f"a block of `notify` has one of `command`, `webhook` and `webhook_env`; this one has {said}"
            yield error("notify-unclear", message, at=at, help="write a block for each")
        wanted = block.get("on") or ()
        for moment in (wanted,) if isinstance(wanted, str) else wanted:
            if moment not in MOMENTS:
                message = f"`on` of a block of `notify` cannot be `{printable(str(moment))}`"
                yield error("notify-unclear", message, at=at, help=did_you_mean(str(moment), MOMENTS))


def _place(view: View) -> Place | None:
    """Return where `notify` begins: blocks have no places of their own."""
    for source in view.sources:
        for number, line in enumerate(source.lines, 1):
            if line.startswith("notify:"):
                return source.at(number, 1, len("notify") + 1)
    return None
