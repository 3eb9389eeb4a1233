"""What a grader is: a definition that checks itself, and one question, `grade`.

A grader type is a pydantic class whose fields are its definition; `graders/<type>.py` exports
it as `grader`, and packages add types through the entry point group `ftspec.graders`. The
definitions are OpenAI's (`string_check`, `text_similarity`, `score_model`, `label_model`,
`python`, `multi`) and some more; the same ones serve evals and reinforcement fine-tuning.

`check_definition` is for plan time: it reads the definition and runs nothing. `bind` makes a
grader of a definition. What cannot be graded is a `Grade` with an `error` and no score:
counted and shown, never scored silently.
"""

from __future__ import annotations

import abc
import importlib
import pkgutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, Protocol

from pydantic import BaseModel, ConfigDict, ValidationError

from ftspec.diagnostics import FtspecError
from ftspec.evals.template import MissingField, Reference, Template
from ftspec.printable import printable

if TYPE_CHECKING:
    from ftspec.engines.base import ChatAnswer
    from ftspec.evals.code import Code
    from ftspec.profile import Profile

ENTRY_POINTS = "ftspec.graders"


class GraderStopped(FtspecError, ValueError):
    """A grader cannot run at all (no isolation, code not allowed): the eval stops before it asks anybody."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Grade:
    """What one grader says of one answer.

    `score` is a number, for most graders from 0 to 1; `None` with an `error` when the answer
    could not be graded. `passed` is the yes or no where there is one, `label` the class it
    chose, `detail` a short reason.
    """

    score: float | None = None
    passed: bool | None = None
    label: str | None = None
    detail: str | None = None
    error: str | None = None


def verdict(passed: bool, *, detail: str | None = None) -> Grade:  # noqa: FBT001 the one thing it says
    """Return the grade of a yes-or-no question."""
    return Grade(score=1.0 if passed else 0.0, passed=passed, detail=detail)


def ungraded(error: str) -> Grade:
    """Return the grade of an answer that could not be graded."""
    return Grade(error=error)


class Context(Protocol):
    """What a grader may ask of its surroundings."""

    async def ask(self, grader: ModelGrader, messages: list[dict[str, Any]], **sampling: Any) -> ChatAnswer:
        """Ask the judge of a model grader once (engines' errors pass through)."""
        ...

    async def call(self, code: Code, *arguments: Any) -> Any:
        """Call user code in its isolated process (`CodeError`)."""
        ...


@dataclass(frozen=True, slots=True)
class Problem:
    """Something wrong in a definition: the dotted path of the member, and a sentence."""

    path: str
    message: str

    def __str__(self) -> str:
        """`path: message`, as it may be shown."""
        return printable(f"{self.path}: {self.message}" if self.path else self.message)


class Grader(BaseModel, abc.ABC):
    """The base of all graders: a frozen definition without unknown members."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, arbitrary_types_allowed=True)

    type: str
    name: str | None = None

    def problems(self) -> Iterable[Problem]:
        """Return what the types of the members cannot say."""
        return ()

    def models(self) -> tuple[tuple[str | None, str], ...]:
        """Return the judges it asks: (engine entry or `None`, model)."""
        return ()

    def code(self) -> tuple[Code, ...]:
        """Return the user code it runs (`--allow-code`)."""
        return ()

    def bounds(self) -> tuple[float, float] | None:
        """Return the lowest and the highest possible score, `None` where the definition does not say."""
        return 0.0, 1.0

    def references(self) -> tuple[Reference, ...]:
        """Return the references of its templates, so that rows can be checked before anybody is asked."""
        return tuple(one for value in self.__dict__.values() if isinstance(value, Template) for one in value.references)

    @abc.abstractmethod
    async def grade(self, sample: Mapping[str, Any], item: Mapping[str, Any], context: Context) -> Grade:
        """Grade one answer. `MissingField` and `CodeError` are for the caller to turn into an ungraded one."""


class PureGrader(Grader):
    """A grader that asks nobody: a function of the answer and the row."""

    @abc.abstractmethod
    def compare(self, sample: Mapping[str, Any], item: Mapping[str, Any]) -> Grade:
        """Grade one answer."""

    async def grade(self, sample: Mapping[str, Any], item: Mapping[str, Any], context: Context) -> Grade:  # noqa: ARG002 it asks nobody
        """Grade one answer."""
        return self.compare(sample, item)


class ModelGrader(Grader):
    """A grader that asks a model. `engine` is the entry of the judge, by default that of the model under test."""

    model: str
    engine: str | None = None

    def models(self) -> tuple[tuple[str | None, str], ...]:
        """Return its one judge."""
        return ((self.engine, self.model),)


@cache
def shipped_types() -> tuple[str, ...]:
    """Return the names of the grader types that come with ftspec."""
    import ftspec.evals.graders as package

    return tuple(sorted(module.name for module in pkgutil.iter_modules(package.__path__)))


def grader_type(name: str) -> type[Grader] | None:
    """Return the class behind a type name: ours, else an installed package's, else `None`."""
    if name in shipped_types():
        found: type[Grader] = importlib.import_module(f"ftspec.evals.graders.{name}").grader
        return found
    from importlib.metadata import entry_points

    for entry in entry_points(group=ENTRY_POINTS, name=name):
        loaded: type[Grader] = entry.load()
        return loaded
    return None


def bind(definition: Mapping[str, Any]) -> Grader:
    """Return the grader of a definition; `FtspecError` names what is wrong with it."""
    grader, problems = parse(definition)
    if grader is None or problems:
        raise FtspecError("a grader is not valid: " + "; ".join(map(str, problems)))
    return grader


def parse(definition: Mapping[str, Any]) -> tuple[Grader | None, list[Problem]]:
    """Return the grader of a definition, or what is wrong with it."""
    kind = definition.get("type")
    if not isinstance(kind, str):
        return None, [Problem("type", f"which grader? one of {_listed(shipped_types())}")]
    cls = grader_type(kind)
    if cls is None:
        return None, [Problem("type", f"`{printable(kind)}` is not a grader; there are {_listed(shipped_types())}")]
    try:
        grader = cls.model_validate(dict(definition))
    except ValidationError as invalid:
        return None, [_problem(one, cls) for one in invalid.errors(include_url=False, include_context=False)]
    return grader, list(grader.problems())


def check_definition(name: str, definition: Mapping[str, Any], *, profile: Profile | None = None) -> list[str]:
    """Return the problems of a grader definition, each as `path: message`. Runs nothing.

    With `profile` it is the grader of a reinforcement job, and must be one of the types which
    that engine accepts.
    """
    grader, problems = parse(definition)
    if profile is not None and grader is not None and profile.graders and grader.type not in profile.graders:
        problems.append(Problem("type", f"`{profile.name}` accepts {_listed(profile.graders)}, not `{grader.type}`"))
    return [f"{printable(name)}.{problem}" if problem.path else f"{printable(name)}: {problem}" for problem in problems]


def _problem(error: Any, cls: type[Grader]) -> Problem:
    path = ".".join(str(step) for step in error["loc"] if not str(step).startswith(("function-", "str", "list[", "union[")))
    match error["type"]:
        case "missing":
            return Problem(path, "is missing")
        case "extra_forbidden":
            return Problem(path, f"is not a setting of `{cls.model_fields['type'].default or 'this grader'}`; {_nearest(path, cls)}")
        case "value_error":
            return Problem(path, str(error["msg"]).removeprefix("Value error, "))
        case _:
            return Problem(path, str(error["msg"]).replace("Input should be", "must be"))


def _nearest(path: str, cls: type[Grader]) -> str:
    from difflib import get_close_matches

    close = get_close_matches(path, cls.model_fields, n=1)
    return f"did you mean `{close[0]}`?" if close else f"it has {_listed(cls.model_fields)}"


def _listed(names: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)


__all__ = [
    "Context",
    "Grade",
    "Grader",
    "GraderStopped",
    "MissingField",
    "ModelGrader",
    "Problem",
    "PureGrader",
    "Template",
    "bind",
    "check_definition",
    "grader_type",
    "parse",
    "shipped_types",
    "ungraded",
    "verdict",
]
