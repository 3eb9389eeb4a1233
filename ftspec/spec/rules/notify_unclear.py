"""A block of `notify:` does not say one way to tell, or waits for something that never comes.

Why: nobody would hear of the end of an apply, and nothing would say so.

Fix: give each block exactly one of `command`, `webhook` and `webhook_env`, and in `on` only
`succeeded`, `failed` and `finished`.
"""

from collections.abc import Iterator

from ftspec.diagnostics import Diagnostic, error
from ftspec.printable import printable
from ftspec.spec.suggest import did_you_mean
from ftspec.spec.view import View

WAYS = ("command", "webhook", "webhook_env")
MOMENTS = ("succeeded", "failed", "finished")


def check(view: View) -> Iterator[Diagnostic]:
    """Yield the blocks that cannot be followed."""
    for block in view.spec.notify:
        ways = [way for way in WAYS if block.get(way)]
        if len(ways) != 1:
            said = " and ".join(f"`{way}`" for way in ways) or "none"
            yield error(
                "notify-unclear", f"a block of `notify` has one of `command`, `webhook` and `webhook_env`; this one has {said}",
                help="write a block for each",
            )  # fmt: skip
        wanted = block.get("on") or ()
        for moment in (wanted,) if isinstance(wanted, str) else wanted:
            if moment not in MOMENTS:
                yield error(
                    "notify-unclear", f"`on` of a block of `notify` cannot be `{printable(str(moment))}`",
                    help=did_you_mean(str(moment), MOMENTS),
                )  # fmt: skip
