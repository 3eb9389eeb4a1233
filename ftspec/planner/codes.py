"""Every diagnostic that planning can give, and its page for the docs. A test holds this table and the code together."""

from __future__ import annotations

from typing import Final

_PAGES: Final = {
    "identical-jobs": """Two jobs of the spec have one key: they would train the same model twice.

Why: the key holds everything that decides the result; names, suffixes and tags are not part of it.

Fix: remove one of them. To train the same thing again on purpose, give one of them `replicate: 2`.""",
    "model-ended": """A job would be launched on a model, or an engine, that takes no new jobs any more.

Why: the request would be refused, or the model would stop answering before anybody could use it. Jobs that are recorded already are not touched.

Fix: train the model that replaces it, or on another engine. To plan only the rest: `--exclude`.""",
    "replace-running": """`--replace` names a job that is still running.

Why: buying it again now would pay twice for one result.

Fix: wait for it, or stop it with `ftspec cancel`.""",
    "protected-job": """A changed or replaced job is protected, by `protect:` in the spec or by `ftspec state protect`.

Why: somebody relies on the model of this address. Nothing is bought for it, nor for jobs that are trained on it.

Fix: undo the change, give the new job another address, or lift the protection.""",
    "suffix-recorded": """A suffix of a job to launch labels a recorded model that was trained on other data.

Why: people find hosted models by their suffix, and would take one for the other.

With `policy: {distinct_suffixes: true}` this is an error.

Fix: give each dataset its own suffix, such as `suffix: "tone-{train}"`.""",
}


def pages() -> dict[str, str]:
    """Return the documentation of every code that planning can give: what, why, how to put it right."""
    return dict(_PAGES)
