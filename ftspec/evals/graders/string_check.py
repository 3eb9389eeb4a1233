"""`string_check`: compare two texts. 1 or 0.

`eq` and `ne` compare whole texts, `like` asks whether `input` contains `reference`, `ilike`
the same without regard to case (Unicode case folding).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from ftspec.evals.base import Grade, PureGrader, verdict
from ftspec.evals.template import Template


class StringCheck(PureGrader):
    """OpenAI's `StringCheckGrader`."""

    type: Literal["string_check"] = "string_check"
    operation: Literal["eq", "ne", "like", "ilike"]
    input: Template
    reference: Template

    def compare(self, sample: Mapping[str, Any], item: Mapping[str, Any]) -> Grade:
        """Compare the two filled texts."""
        text, reference = self.input.fill(item, sample), self.reference.fill(item, sample)
        match self.operation:
            case "eq":
                return verdict(text == reference)
            case "ne":
                return verdict(text != reference)
            case "like":
                return verdict(reference in text)
            case "ilike":
                return verdict(reference.casefold() in text.casefold())


grader = StringCheck
