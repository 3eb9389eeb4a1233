"""Every diagnostic about local engines and their bases, and its page for the docs. A test holds this table and the code together."""

from __future__ import annotations

from typing import Final

_PAGES: Final = {
    "engine-setting": """A setting of a local engine's entry is not what it can be.

Why: the engine would refuse to start when the first job is submitted.

Fix: the message names the setting and what is expected; `docs/local.md` explains them.""",
    "base-untrainable": """A base model cannot be trained: it needs code of its own, has no `*.safetensors`, or its chat template does not show what is learned.

Why: the engine refuses the job. Found in the base's files, where they lie below the project's folder, a `--data-root` or in the cache of the hub's client; other bases are looked at when a job is created.

Fix: take another base, or give its folder a `chat_template.jinja` that marks what the assistant said with `{% generation %}` and `{% endgeneration %}`.""",
    "option-refused": """A job of a local engine has a value of `lora` or `engine_options` that the trainer refuses, or that the adapter which it goes on with does not have.

Why: the engine refuses the job.

Fix: choose another value, or leave it out; a job that starts from an adapter trains it on as it is.""",
}


def pages() -> dict[str, str]:
    """Return the documentation of these codes: what, why, how to put it right."""
    return dict(_PAGES)
