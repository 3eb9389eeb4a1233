"""A job sets an engine option that its engine does not have.

Why: options decide the result and belong to the job's key. One that the engine ignores would
buy the same job again under another key.

Fix: correct the name, or remove it. Servers of which nothing is known (`openai-compatible`)
take any option.
"""

from collections.abc import Iterator

from ftspec.diagnostics import Diagnostic, error
from ftspec.printable import printable
from ftspec.spec.suggest import did_you_mean
from ftspec.spec.view import View


def check(view: View) -> Iterator[Diagnostic]:
    """Yield options that an engine lacks."""
    for job in view.setups:
        profile = view.profile(job)
        if not job.engine_options or view.unknown_server(profile):
            continue
        for name in job.engine_options:
            if name not in profile.engine_options:
                message = f"`{profile.name}` has no option `{printable(name[:64])}`"
                fix = did_you_mean(name, list(profile.engine_options)) or "remove it"
                yield error("option-unknown", message, at=view.at(job, f"engine_options.{name}"), help=fix)
