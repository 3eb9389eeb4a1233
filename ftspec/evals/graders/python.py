"""`python`: a function of the project grades the answer. Runs only with `--allow-code`, isolated.

OpenAI's form: `source` defines `grade(sample, item)` and returns a number. The easy form: `path`
names a file, `function` a function of two texts, `compare(prediction, target)`, which returns a
number or a bool; `input` and `reference` say which texts (the output and `item.reference`).
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Mapping
from functools import cached_property
from typing import Any, Literal

from ftspec.evals.base import Context, Grade, Grader, Problem, ungraded
from ftspec.evals.code import Code, CodeError
from ftspec.evals.template import Reference, Template


class Python(Grader):
    """OpenAI's `PythonGrader`, and a function in a file. `image_tag` is accepted: the local interpreter is the image."""

    type: Literal["python"] = "python"
    source: str | None = None
    path: str | None = None
    function: str | None = None
    image_tag: str | None = None
    input: Template = Template("{{sample.output_text}}")
    reference: Template = Template("{{item.reference}}")
    pass_threshold: float | None = None

    def problems(self) -> Iterable[Problem]:
        """Return code that does not parse or lacks the function. Nothing of it runs."""
        if (self.source is None) == (self.path is None):
            yield Problem("source", "give either `source` or `path`")
        elif self.path is not None and self.function is None:
            yield Problem("function", "is missing: the name of the function in the file, such as `compare`")
        elif self.source is not None:
            yield from self._source_problems(self.source)

    def _source_problems(self, source: str) -> Iterable[Problem]:
        try:
            tree = ast.parse(source)
        except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
            yield Problem("source", f"is not Python: {getattr(error, 'msg', error)} (line {getattr(error, 'lineno', '?')})")
            return
        name = self._code.function
        names = {node.name for node in tree.body if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))}
        imported = {alias.asname or alias.name for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) for alias in node.names}
        assigned = {
            target.id for node in tree.body if isinstance(node, ast.Assign) for target in node.targets if isinstance(target, ast.Name)
        }
        if name not in names | imported | assigned:
            yield Problem("source", f"defines no function `{name}`")

    @cached_property
    def _code(self) -> Code:
        return Code(self.source or "", self.function or "grade")

    def code(self) -> tuple[Code, ...]:
        """Return its code."""
        return (self._code,)

    def bounds(self) -> tuple[float, float] | None:
        """Return nothing: code may return any number."""
        return None

    def references(self) -> tuple[Reference, ...]:
        """Return those of `input` and `reference`, where the function gets them."""
        return () if self.function is None else (*self.input.references, *self.reference.references)

    async def grade(self, sample: Mapping[str, Any], item: Mapping[str, Any], context: Context) -> Grade:
        """Call the function in its process."""
        arguments: tuple[Any, ...] = (dict(sample), dict(item))
        if self.function is not None:
            arguments = (self.input.fill(item, sample), self.reference.fill(item, sample))
        try:
            value = await context.call(self._code, *arguments)
        except CodeError as error:
            return ungraded(str(error))
        if isinstance(value, bool):
            return Grade(score=float(value), passed=value)
        return Grade(score=float(value), passed=None if self.pass_threshold is None else value >= self.pass_threshold)


grader = Python
