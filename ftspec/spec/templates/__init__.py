"""What `ftspec init` writes: one folder per template, a commented spec and a small invented dataset.

Each runs on the sandbox engine at once. A new template is a new folder with a `ftspec.yaml`.
"""

from __future__ import annotations

from importlib.resources import files
from typing import TYPE_CHECKING, Final

from ftspec.diagnostics import FtspecError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from importlib.resources.abc import Traversable

SPEC: Final = "ftspec.yaml"
DEFAULT: Final = "chat"


def names() -> list[str]:
    """Return the names of the templates."""
    return sorted(folder.name for folder in files(__name__).iterdir() if folder.is_dir() and (folder / SPEC).is_file())


def content(name: str) -> dict[str, bytes]:
    """Return the files of a template by path, the spec first."""
    found = dict(_files(files(__name__) / name, ""))
    return {SPEC: found.pop(SPEC), **dict(sorted(found.items()))}


def _files(folder: Traversable, prefix: str) -> Iterator[tuple[str, bytes]]:
    for entry in folder.iterdir():
        if entry.is_dir():
            yield from _files(entry, f"{prefix}{entry.name}/")
        elif entry.name.endswith((".yaml", ".jsonl", ".txt")):
            yield prefix + entry.name, entry.read_bytes()


_METHODS: Final = {
    "chat": "",
    "preference": """\
    method:
      type: dpo
      hyperparameters:
        beta: 0.1                                # how strongly the model is held to its base
""",
    "reinforcement": """\
    method:
      type: reinforcement
      grader:                                    # scores the answers; `item.*` are keys of the row
        type: string_check
        name: right
        operation: eq
        input: "{{{{sample.output_text}}}}"
        reference: "{{{{item.{key}}}}}"
""",
}


def for_dataset(path: str, form: str, *, key: str = "reference") -> str:
    """Return a spec for somebody's own dataset. `key` is what a reinforcement row calls the right answer."""
    if form not in _METHODS:
        raise FtspecError(f"rows of the format `{form}` cannot be trained on", help="see `ftspec data check` for the formats")
    return f"""\
# Fine-tune on your own data, on the sandbox engine: no key, no network, seconds.
#
#     ftspec data check    what is wrong with the rows
#     ftspec plan          what is missing, why, and what it costs
#     ftspec apply         buy exactly that, wait, record it
#
# The sandbox is a toy learner on this machine: its figures are real, but about itself. To train
# on another engine, change `engine` and `base_model`; nothing else.
ftspec: 1

datasets:
  rows:
    path: {_quoted(path)}
    format: {form}
    # Dealt by a hash of each row, so rows keep their side when the file grows.
    split: {{train: 0.9, validation: 0.1}}

experiments:
  first:
    engine: sandbox
    base_model: sandbox-small
    train: rows.train
    validation: rows.validation
    epochs: 3
{_METHODS[form].format(key=key)}    suffix: "first-s{{seed}}"                      # `{{seed}}` is the cell's
    matrix:
      seed: [1, 2]

policy:
  max_jobs: 10                                   # a plan that launches more is refused
"""


def _quoted(path: str) -> str:
    """Return a path as a YAML scalar; braces are escaped, because text may hold references."""
    import json

    path = path.replace("{", "{{").replace("}", "}}")
    plain = path.replace("/", "").replace("_", "").replace("-", "").replace(".", "")
    return path if plain.isalnum() and not path.startswith(("-", ".")) else json.dumps(path, ensure_ascii=False)
