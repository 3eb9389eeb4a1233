"""What is wrong with a spec file as written, in words.

`explain` validates one file against the models of `schema` and turns pydantic's errors into
diagnostics with places, the nearest known word, and no values that look like keys. It also
says which named blocks are broken, so that nothing is reported twice in other words.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

from ftspec.diagnostics import Diagnostic, Place, error
from ftspec.printable import looks_secret, printable
from ftspec.spec.references import size
from ftspec.spec.settings import OTHER_METHODS, Given, described
from ftspec.spec.suggest import did_you_mean
from ftspec.spec.tree import Map, Seq

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

MOST_PROBLEMS: Final = 200
_LARGE: Final = 400_000
_SAMPLE: Final = 100

_SYNONYMS: Final = {
    "api_key": "api_key_env",
    "data": "train",
    "dataset": "train",
    "depends": "depends_on",
    "eval": "evals",
    "file": "path",
    "hyperparameters": "method",
    "learning-rate": "learning_rate",
    "lr": "learning_rate",
    "lr_multiplier": "learning_rate_multiplier",
    "model": "base_model",
    "n_epochs": "epochs",
    "num_epochs": "epochs",
    "organization_id": "organization",
    "training_file": "train",
    "url": "base_url",
    "validation_file": "validation",
    "variables": "vars",
    "version": "ftspec",
}
"""What people coming from other tools write."""

_PHRASES: Final = {
    "bool_type": "`true` or `false`",
    "dict_type": "a mapping",
    "int_type": "a whole number",
    "list_type": "a list",
    "model_attributes_type": "a mapping",
    "model_type": "a mapping",
    "string_too_long": "shorter text",
    "string_too_short": "text",
    "string_type": "text",
}
_DEEPER_FIRST: Final = ("expected", "literal_error", "string_pattern_mismatch")


class Explained(NamedTuple):
    """The problems of one file, and the paths of keys and indices that they are about."""

    problems: list[Diagnostic]
    paths: list[tuple[str | int, ...]]

    @property
    def broken(self) -> set[tuple[str, str]]:
        """The (section, name) of every broken block; the name is empty where the section itself is broken."""
        return {(str(path[0]) if path else "", str(path[1]) if len(path) > 1 else "") for path in self.paths}


def explain(tree: Map) -> Explained:
    """Return what is wrong with one file."""
    from pydantic import ValidationError

    from ftspec.spec.schema import SpecFile

    tree = tree.with_values({key: value for key, value in tree.items() if not key.startswith("x-") and key != "ftspec"})
    candidates = [tree] if size(tree, limit=_LARGE) <= _LARGE else [_sample(tree), tree]
    for candidate in candidates:
        try:
            SpecFile.model_validate(candidate)
        except ValidationError as broken:
            if broken.error_count() > MOST_PROBLEMS * 10:
                return Explained([_hopeless(tree, broken.error_count())], [(section,) for section in tree])
            found = _explained(tree, broken.errors(include_url=False, include_input=False))
            return found if candidate is tree else Explained(found.problems, [(section,) for section in tree])
    return Explained([], [])


def _sample(value: Any) -> Any:
    """Return the first entries of every mapping and sequence: enough to tell nonsense cheaply."""
    match value:
        case Map():
            return {key: _sample(item) for key, item in list(value.items())[:_SAMPLE]}
        case Seq():
            return [_sample(item) for item in value[:_SAMPLE]]
        case _:
            return value


def _hopeless(tree: Map, count: int) -> Diagnostic:
    return error("not-a-spec", f"{count:,} things are wrong with this file", at=tree.at(), help="`ftspec init` writes a spec to start from")


def _explained(tree: Map, errors: Sequence[Mapping[str, Any]]) -> Explained:
    by_path: dict[tuple[str | int, ...], list[Mapping[str, Any]]] = {}
    for one in errors:
        by_path.setdefault(_path(tree, one["loc"]), []).append(one)
    problems: list[Diagnostic] = []
    inner = {path[:i] for path in by_path for i in range(len(path))}
    for path, same in by_path.items():
        whole = [one for one in same if one["type"] in ("missing", "extra_forbidden")]
        if whole:
            problems.extend(_unknown(tree, path) if one["type"] == "extra_forbidden" else _missing(tree, path, one) for one in whole)
        elif path not in inner:
            problems.append(_wrong(tree, path, same))
    return Explained(problems[:MOST_PROBLEMS], list(by_path))


def _path(tree: Map, loc: Sequence[str | int]) -> tuple[str | int, ...]:
    """Return the keys and indices of an error's location, without pydantic's names for alternatives."""
    path: list[str | int] = []
    node: Any = tree
    for part in loc:
        if part in node if isinstance(node, dict) else isinstance(node, list) and isinstance(part, int) and part < len(node):
            node = node[part]
            path.append(part)
    return tuple(path)


def _given(tree: Map, path: Sequence[str | int]) -> Given:
    """Return what stands at a path."""
    found = Given(tree)
    for part in path:
        found = Given(found.value[part], found.value, part)
    return found


def _key_place(given: Given) -> Place | None:
    return given.holder.key_at(str(given.key)) if isinstance(given.holder, Map) else given.place()


def _block(path: Sequence[str | int]) -> tuple[list[str], str]:
    """Return the keys that a mapping may have, and what it is called."""
    from ftspec.spec.schema import BLOCKS, fields_of

    for shape, (model, noun) in BLOCKS.items():
        if len(shape) == len(path) and all(want in ("*", have) for want, have in zip(shape, path, strict=True)):
            return fields_of(model), noun
    return [], "this mapping"


def _unknown(tree: Map, path: tuple[str | int, ...]) -> Diagnostic:
    given = _given(tree, path)
    fields, noun = _block(path[:-1])
    key = str(path[-1])
    shown = "[redacted]" if looks_secret(key) else printable(key[:64])
    verb = "a setting of" if path[:-1] else "a section of"
    synonym = {key: _SYNONYMS[key]} if _SYNONYMS.get(key) in fields else None
    help_text = did_you_mean(key, fields, others=synonym)
    if key in ("n_epochs", "beta", "hyperparameters") and "method" in fields and help_text is None:
        help_text = "write it under `method.hyperparameters`"
    return error("unknown-key", f"`{shown}` is not {verb} {noun}", at=_key_place(given), help=help_text)


def _missing(tree: Map, path: tuple[str | int, ...], one: Mapping[str, Any]) -> Diagnostic:
    given = _given(tree, path)
    _, noun = _block(path)
    name = str(one["loc"][-1])
    at = _key_place(given) or (given.value.at() if isinstance(given.value, (Map, Seq)) else None)
    return error("missing-key", f"{noun} needs `{name}`", at=at, help=f"add `{name}: ...`")


def _wrong(tree: Map, path: tuple[str | int, ...], same: Sequence[Mapping[str, Any]]) -> Diagnostic:
    given = _given(tree, path)
    best = min(same, key=lambda one: _DEEPER_FIRST.index(one["type"]) if one["type"] in _DEEPER_FIRST else len(_DEEPER_FIRST))
    if best["loc"][-1] == "[key]":
        return _bad_name(path, given)
    name = printable(str(path[-1])[:64]) if path else "the file"
    what = f"`{name}`" if path and isinstance(path[-1], str) else "this item" if path else "a spec"
    phrases = list(dict.fromkeys(_phrase(one) for one in same)) if best["type"] != "expected" else [_phrase(best)]
    help_text = (
        did_you_mean(str(given.value), ["supervised", "dpo", "reinforcement"], others=OTHER_METHODS)
        if path and path[-1] == "method"
        else None
    )
    if path and path[-1] == "api_key_env":
        help_text = "keep the key in a variable of your shell, and write the variable's name here"
    return error(
        "wrong-value", f"{what} must be {' or '.join(phrases)}, not {described(given.value)}", at=given.place() or tree.at(), help=help_text
    )


def _bad_name(path: tuple[str | int, ...], given: Given) -> Diagnostic:
    shown = printable(str(path[-1])[:64])
    help_text = "use letters, digits, `_`, `-` and `.`, at most 64, starting with a letter or `_`"
    return error("bad-name", f"`{shown}` cannot be a name", at=_key_place(given), help=help_text)


def _phrase(one: Mapping[str, Any]) -> str:
    context = one.get("ctx") or {}
    match one["type"]:
        case "expected":
            return str(context["phrase"])
        case "literal_error":
            return str(context["expected"]).replace("'", "`")
        case "string_pattern_mismatch":
            return "a reference such as `{name}`" if str(context.get("pattern", "")).startswith(r"^\{") else "a name"
        case kind:
            return _PHRASES.get(kind, "something else")


def without(block: Map, paths: Sequence[Sequence[str | int]]) -> Map:
    """Return a block without what stands at the given paths."""
    below: dict[str | int, list[Sequence[str | int]]] = {}
    for path in paths:
        below.setdefault(path[0], []).append(path[1:])
    kept = {}
    for key, value in block.items():
        rest = below.get(key)
        if rest is None:
            kept[key] = value
        elif isinstance(value, Map) and all(rest):
            kept[key] = without(value, rest)
    return block.with_values(kept)
