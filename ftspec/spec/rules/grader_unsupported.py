"""A reinforcement job uses a grader that its engine cannot run.

Why: the engine would refuse the job.

Fix: use one of the types that the message names.
"""

from collections.abc import Iterator
from typing import Any

from ftspec.diagnostics import Diagnostic, error
from ftspec.printable import printable
from ftspec.spec.suggest import did_you_mean
from ftspec.spec.view import View


def check(view: View) -> Iterator[Diagnostic]:
    """Yield grader types that an engine lacks, those inside `multi` included."""
    for job in view.setups:
        profile = view.profile(job)
        if not job.grader or not profile.graders:
            continue
        for kind in _types(job.grader):
            if kind not in profile.graders:
                message = f"`{profile.name}` cannot run graders of type `{printable(kind[:64])}`"
                yield error("grader-unsupported", message, at=view.at(job, "method.grader"), help=did_you_mean(kind, profile.graders))


def _types(grader: dict[str, Any]) -> Iterator[str]:
    yield str(grader.get("type"))
    inner = grader.get("graders")
    for one in inner.values() if isinstance(inner, dict) else ():
        if isinstance(one, dict):
            yield from _types(one)
