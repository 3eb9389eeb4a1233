"""`json_schema`: the answer is JSON that fits a schema (needs the `jsonschema` package: `ftspec[evals]`).

Any draft that the package knows, 2020-12 without `$schema`. References outside the schema are
never fetched. `format` is an annotation, as the standard says.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from functools import cached_property
from typing import Any, Literal

from pydantic import Field

from ftspec.evals.base import Grade, Problem, PureGrader, ungraded, verdict
from ftspec.evals.patterns import try_schema
from ftspec.evals.template import Template


class JsonSchema(PureGrader):
    """Validate the answer. `schema` is the JSON Schema itself."""

    type: Literal["json_schema"] = "json_schema"
    schema_: dict[str, Any] = Field(alias="schema")
    input: Template = Template("{{sample.output_text}}")

    @cached_property
    def _validator(self) -> Any:
        from jsonschema.validators import Draft202012Validator, validator_for
        from referencing import Registry

        kind = validator_for(self.schema_, default=Draft202012Validator)
        kind.check_schema(self.schema_)
        return kind(self.schema_, registry=Registry())

    def problems(self) -> Iterable[Problem]:
        """Return a schema that is none, a package that is missing."""
        try:
            from jsonschema.exceptions import SchemaError
        except ImportError:
            yield Problem("type", "`json_schema` needs the `jsonschema` package: `pip install 'ftspec[evals]'`")
            return
        try:
            self._validator  # noqa: B018 making it checks the schema
        except SchemaError as error:
            yield Problem("schema", f"is not a JSON Schema: {error.message}")

    def compare(self, sample: Mapping[str, Any], item: Mapping[str, Any]) -> Grade:
        """Parse and validate."""
        from jsonschema.exceptions import best_match
        from referencing.exceptions import Unresolvable

        try:
            value = json.loads(self.input.fill(item, sample))
        except (ValueError, RecursionError):
            return verdict(passed=False, detail="not JSON")
        try_schema(self.schema_, value)
        try:
            wrong = best_match(self._validator.iter_errors(value))
        except Unresolvable as error:
            return ungraded(f"the schema refers to `{error.ref}`, which it does not hold")
        except RecursionError:
            return ungraded("the schema refers to itself without end, or the answer is nested too deeply")
        return verdict(passed=wrong is None, detail=f"{wrong.json_path}: `{wrong.validator}`" if wrong is not None else None)


grader = JsonSchema
