"""A reinforcement job has no grader.

Why: without one there is nothing to reinforce, and the engine would refuse the job.

Fix: add `grader` under `method`, such as
`grader: {type: string_check, operation: eq, input: "{{sample.output_text}}", reference: "{{item.answer}}"}`.
"""

from collections.abc import Iterator

from ftspec.diagnostics import Diagnostic, error
from ftspec.spec.view import View


def check(view: View) -> Iterator[Diagnostic]:
    """Yield jobs that need a grader and have none."""
    for job in view.setups:
        method = view.method(job)
        if method is not None and method.needs_grader and not job.grader:
            message = f"the method `{job.method}` needs a grader"
            yield error("grader-missing", message, at=view.at(job, "method"), help="add `grader: {type: ...}` under `method`")
