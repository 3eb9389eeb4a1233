"""Every diagnostic that evals can give, and its page for the docs. A test holds this table and the code together."""

from __future__ import annotations

from typing import Final

_PAGES: Final = {
    "bad-grader": """A grader's definition is wrong: a type, a member, a template, a formula, or a file that cannot be read.

Why: found before anything is bought, it costs nothing; a wrong template would grade every answer as wrong.

Fix: the message names the member by its path, and what it may be.""",
    "bad-gate": """A condition of `require:` is not one, or uses a name that the eval does not have.

Why: a gate that can never be judged protects nothing.

Fix: compare two formulas over graders, `base.` of them, and counts: `exact >= base.exact - 0.01`.""",
    "bad-prompt": """The `prompt` of an eval is neither text, nor a list of messages, nor a file.

Fix: write `prompt: "{{item.question}}"`, a list of `{role, content}`, or `prompt: {path: prompts/triage.txt}`.""",
    "bad-eval": """An eval of another program (`kind: inspect`, `kind: command`) lacks an option or has one too many.

Fix: `options: {task: ...}` for Inspect, `options: {command: [...]}` for any program.""",
    "runs-code": """An eval runs code of the project: a `python` grader, or another program. A note, not a problem.

Why: code runs only when somebody has allowed it. The digest says which code that is.

Fix: read it, then `ftspec apply --allow-code` (or `ftspec eval --allow-code`).""",
}


def pages() -> dict[str, str]:
    """Return the documentation of every code that evals can give: what, why, how to put it right."""
    return dict(_PAGES)
