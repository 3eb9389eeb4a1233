"""The settings of a job: their names, what they accept, and how short forms relate to them.

A spec may write a setting nested (`method: {hyperparameters: {beta: 0.1}}`), dotted (an axis
or an override: `method.hyperparameters.beta`) or short (`epochs`). `flatten` turns any of
these into one flat mapping from *path* to where it was given. Paths are named after the
members of `DesiredJob`: `hyperparameters.n_epochs`, `lora.rank`, `tags.owner`, `method`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

from ftspec.diagnostics import Diagnostic, Place, Severity, error
from ftspec.printable import looks_secret, printable
from ftspec.spec.tree import Map, Seq

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

SHORT: Final = {
    "epochs": "hyperparameters.n_epochs",
    "batch_size": "hyperparameters.batch_size",
    "learning_rate_multiplier": "hyperparameters.learning_rate_multiplier",
    "learning_rate": "hyperparameters.learning_rate",
}
"""Short forms and the paths that they stand for."""

LEAVES: Final = (
    "engine",
    "base_model",
    "train",
    "validation",
    "seed",
    "replicate",
    "suffix",
    "name",
    "integrations",
    "evals",
    "depends_on",
    "preset",
)
"""Settings whose value is one thing, whatever its shape."""

GROUPS: Final = ("lora", "engine_options", "tags")
"""Settings that are mappings, merged key by key."""

NAMES: Final = (*LEAVES, *SHORT, "method", *GROUPS)
"""Everything that `defaults` and an experiment may set."""

METHODS: Final = {
    "supervised": ("n_epochs", "batch_size", "learning_rate_multiplier", "learning_rate"),
    "dpo": ("n_epochs", "batch_size", "learning_rate_multiplier", "learning_rate", "beta"),
    "reinforcement": (
        "n_epochs",
        "batch_size",
        "learning_rate_multiplier",
        "learning_rate",
        "reasoning_effort",
        "compute_multiplier",
        "eval_interval",
        "eval_samples",
    ),
}
"""The methods and the hyperparameters that every engine knows them by; profiles may add some."""

OTHER_METHODS: Final = {"sft": "supervised", "rft": "reinforcement", "rl": "reinforcement", "grpo": "reinforcement", "preference": "dpo"}
"""What other tools call the methods."""

LORA: Final = ("rank", "alpha", "dropout", "targets")

EXCLUSIVE: Final = {
    "hyperparameters.learning_rate": "hyperparameters.learning_rate_multiplier",
    "hyperparameters.learning_rate_multiplier": "hyperparameters.learning_rate",
}
"""Settings of which a job has one."""


_LEAF_PATHS: Final = {name: name for name in LEAVES} | SHORT


class Given(NamedTuple):
    """A value and where it stands: the mapping or sequence that holds it, and its key or index there."""

    value: Any
    holder: Map | Seq | None = None
    key: str | int = ""

    def place(self) -> Place | None:
        """Return where the value is written."""
        match self.holder:
            case Map() as holder:
                return holder.value_at(str(self.key))
            case Seq() as holder:
                return holder.item_at(int(self.key))
            case _:
                return None


class Kind(NamedTuple):
    """What a setting accepts: the words for people, and the test."""

    phrase: str
    accepts: Callable[[Any], bool]


def _text(value: Any) -> bool:
    return isinstance(value, str) and value != ""


def _number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _whole(value: Any, low: int = 1) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= low


def _texts(value: Any) -> bool:
    return _text(value) or (isinstance(value, list) and all(_text(item) for item in value))


TEXT: Final = Kind("text", _text)
POSITIVE: Final = Kind("a number above 0", lambda v: _number(v) and v > 0)
POSITIVE_OR_AUTO: Final = Kind("a number above 0, or `auto`", lambda v: v == "auto" or (_number(v) and v > 0))
WHOLE_OR_AUTO: Final = Kind("a whole number of at least 1, or `auto`", lambda v: v == "auto" or _whole(v))
SCALAR: Final = Kind("text, a number, `true` or `false`", lambda v: isinstance(v, (str, int, float)))
TEXTS: Final = Kind("a name or a list of names", _texts)
MAPPING: Final = Kind("a mapping", lambda v: isinstance(v, dict))

KINDS: Final[dict[str, Kind]] = {
    "engine": Kind("the name of an engine", _text),
    "base_model": Kind("the name of a model, or `{from: EXPERIMENT}`", _text),
    "train": Kind("the name of a dataset", _text),
    "validation": Kind("the name of a dataset", _text),
    "method": Kind("`supervised`, `dpo` or `reinforcement`", lambda v: isinstance(v, str) and v in METHODS),
    "seed": Kind("a whole number from 0 to 2147483647", lambda v: _whole(v, 0) and v < 1 << 31),
    "replicate": Kind("a whole number or text", lambda v: _text(v) or _whole(v, 0)),
    "suffix": TEXT,
    "name": TEXT,
    "preset": Kind("`classification`", lambda v: v == "classification"),
    "evals": TEXTS,
    "depends_on": TEXTS,
    "grader": MAPPING,
    "integrations": Kind("a list of mappings with a `type`", lambda v: isinstance(v, list) and all(isinstance(i, dict) for i in v)),
    "lora.rank": Kind("a whole number of at least 1", _whole),
    "lora.alpha": POSITIVE,
    "lora.dropout": Kind("a number from 0 to below 1", lambda v: _number(v) and 0 <= v < 1),
    "lora.targets": Kind("a name or a list of names", _texts),
    "hyperparameters.n_epochs": WHOLE_OR_AUTO,
    "hyperparameters.batch_size": Kind(
        "a whole number of at least 1, `auto` or `max`",
        lambda v: v in ("auto", "max") or _whole(v),
    ),
    "hyperparameters.learning_rate_multiplier": POSITIVE_OR_AUTO,
    "hyperparameters.learning_rate": POSITIVE_OR_AUTO,
    "hyperparameters.beta": POSITIVE_OR_AUTO,
    "hyperparameters.reasoning_effort": TEXT,
    "hyperparameters.compute_multiplier": POSITIVE_OR_AUTO,
    "hyperparameters.eval_interval": WHOLE_OR_AUTO,
    "hyperparameters.eval_samples": WHOLE_OR_AUTO,
}
"""What each path accepts once every reference in it is replaced."""


def kind_of(path: str) -> Kind | None:
    """Return what a path accepts; `None`: anything."""
    found = KINDS.get(path)
    if found is not None:
        return found
    return SCALAR if path.startswith(("hyperparameters.", "tags.")) else None


def spelled(path: str) -> str:
    """Return a path as people write it: `epochs` for `hyperparameters.n_epochs`."""
    for short, long in SHORT.items():
        if path == long:
            return short
    if path.startswith(("hyperparameters.", "grader")):
        return f"method.{path}"
    return path


def path_of(name: str) -> str | None:
    """Return the path of a dotted setting name as people write it, or `None` where there is no such setting."""
    if name in SHORT:
        return SHORT[name]
    if name in LEAVES or name in ("method", *GROUPS):
        return name
    head, _, rest = name.partition(".")
    if not rest:
        return None
    if head == "method":
        if rest == "type":
            return "method"
        if rest == "grader" or rest.startswith(("grader.", "hyperparameters.")):
            return rest
        return None
    if head == "lora":
        return name if rest in LORA else None
    return name if head in GROUPS else None


def flatten(node: Map) -> tuple[dict[str, Given], list[Diagnostic]]:
    """Return what a block gives, by path, and what it gives twice. Other keys than settings are passed over."""
    flat: dict[str, Given] = {}
    problems: list[Diagnostic] = []
    for name, value in node.items():
        if name in _LEAF_PATHS:
            _put(flat, _LEAF_PATHS[name], Given(value, node, name), problems)
        else:
            for path, given in _paths(name, value, node, name):
                _put(flat, path, given, problems)
    return flat, problems


def flatten_one(name: str, given: Given) -> dict[str, Given]:
    """Return what one dotted setting gives, by path."""
    return dict(_paths(name, given.value, given.holder, given.key))


def _put(flat: dict[str, Given], path: str, given: Given, problems: list[Diagnostic]) -> None:
    for other in (path, EXCLUSIVE.get(path)):
        if other in flat and given.value is not None and flat[other].value is not None:
            first = flat[other].place()
            what = f"`{spelled(path)}` is given twice" if other == path else f"`{spelled(path)}` and `{spelled(other)}` exclude each other"
            problems.append(
                Diagnostic(
                    code="given-twice",
                    severity=Severity.ERROR,
                    message=what,
                    at=given.place(),
                    help="keep one of them",
                    also=(("first given here", first),) if first else (),
                ),
            )
            return
    flat[path] = given


def _paths(name: str, value: Any, holder: Map | Seq | None, key: str | int) -> Iterator[tuple[str, Given]]:
    """Yield the paths below one setting. `None` clears a whole group."""
    if name == "method":
        if isinstance(value, Map):
            for member, item in value.items():
                yield from _paths(f"method.{member}", item, value, member)
        else:
            yield "method", Given(value, holder, key)
        return
    path = "hyperparameters" if name == "method.hyperparameters" else path_of(name)
    if path is None:
        return
    if path in ("hyperparameters", *GROUPS) and isinstance(value, Map):
        for member, item in value.items():
            yield f"{path}.{member}", Given(item, value, member)
        return
    yield path, Given(value, holder, key)


def wrong_value(path: str, value: Any, at: Place | None) -> Diagnostic:
    """Return the diagnostic for a value that a setting does not accept."""
    kind = kind_of(path) or TEXT
    return error("wrong-value", f"`{spelled(path)}` must be {kind.phrase}, not {described(value)}", at=at)


def described(value: Any) -> str:
    """Return a foreign value in words, short, printable and without secrets."""
    match value:
        case None:
            return "nothing"
        case bool():
            return f"`{str(value).lower()}`"
        case int() | float():
            return f"`{str(value)[:40]}`"
        case str():
            if looks_secret(value):
                return "text that looks like a key"
            shown = printable(value if len(value) <= 40 else value[:40] + "...")
            return f"the text `{shown}`" if shown else "empty text"
        case dict():
            return "a mapping"
        case list():
            return "a list" if value else "an empty list"
        case _:
            return type(value).__name__
