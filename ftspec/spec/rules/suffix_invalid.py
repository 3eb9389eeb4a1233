"""A suffix is longer than the engine takes, or has characters that it refuses.

Why: the engine would refuse the job, or cut the suffix without a word.

Fix: shorten the template. Engines differ: 64 characters at OpenAI, 40 at others.
"""

import re
from collections.abc import Iterator

from ftspec.diagnostics import Diagnostic, error
from ftspec.printable import printable
from ftspec.spec.view import View


def check(view: View) -> Iterator[Diagnostic]:
    """Yield the first suffix of each experiment and engine that the engine would refuse."""
    reported: set[tuple[str, str]] = set()
    limits = {
        name: (view.profiles[entry.type].suffix_max, view.profiles[entry.type].suffix_pattern) for name, entry in view.spec.engines.items()
    }
    for job in view.spec.jobs:
        suffix = job.suffix
        if suffix is None:
            continue
        longest, pattern = limits[job.engine]
        if longest is not None and len(suffix) <= longest and pattern is None:
            continue
        profile = view.profile(job)
        if (job.experiment, job.engine) in reported:
            continue
        shown = printable(suffix[:80])
        if longest is None:
            message, fix = f"`{profile.name}` takes no suffix", "remove `suffix`, or use `tags`"
        elif len(suffix) > longest:
            message, fix = f"the suffix `{shown}` has {len(suffix)} characters; `{profile.name}` takes {longest}", "shorten it"
        elif pattern is not None and re.fullmatch(pattern, suffix) is None:
            message, fix = f"`{profile.name}` does not take the suffix `{shown}`", f"use characters of `{pattern}`"
        else:
            continue
        reported.add((job.experiment, job.engine))
        yield error("suffix-invalid", message, at=view.at(job, "suffix"), help=fix)
