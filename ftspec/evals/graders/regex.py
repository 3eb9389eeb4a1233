r"""`regex`: search the answer for a pattern; with `reference`, compare what a group found with it.

`{type: regex, pattern: '####\s*(-?\d+)', group: 1, reference: '{{item.answer}}'}` finds the
first match and compares its group. `match: full` wants the whole input to match, `absent: true`
turns the question round. A search that takes longer than some seconds leaves the answer ungraded.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from functools import cached_property
from typing import Any, Literal

from ftspec.evals.base import Grade, Problem, PureGrader, verdict
from ftspec.evals.patterns import try_regex
from ftspec.evals.template import Template


class Regex(PureGrader):
    """A pattern of Python's `re`, without templates; `input` and `reference` have them."""

    type: Literal["regex"] = "regex"
    pattern: str
    input: Template = Template("{{sample.output_text}}")
    reference: Template | None = None
    group: int | str = 0
    match: Literal["search", "full"] = "search"
    ignore_case: bool = False
    absent: bool = False

    @cached_property
    def _compiled(self) -> re.Pattern[str]:
        return re.compile(self.pattern, re.IGNORECASE if self.ignore_case else 0)

    def problems(self) -> Iterable[Problem]:
        """Return a pattern that does not compile, a group that it lacks."""
        try:
            pattern = self._compiled
        except (re.error, RecursionError, OverflowError) as error:
            yield Problem("pattern", f"is not a regular expression: {error}")
            return
        known = self.group in pattern.groupindex if isinstance(self.group, str) else 0 <= self.group <= pattern.groups
        if not known:
            yield Problem("group", f"the pattern has no group `{self.group}`")
        if self.absent and self.reference is not None:
            yield Problem("absent", "cannot be combined with `reference`")

    def compare(self, sample: Mapping[str, Any], item: Mapping[str, Any]) -> Grade:
        """Search, and compare the group where there is a reference."""
        text = self.input.fill(item, sample)
        try_regex(self.pattern, text, flags=self._compiled.flags, full=self.match == "full")
        found = self._compiled.fullmatch(text) if self.match == "full" else self._compiled.search(text)
        if self.reference is None:
            return verdict((found is None) == self.absent)
        reference = self.reference.fill(item, sample)
        if found is None:
            return verdict(passed=False, detail="no match")
        return verdict(found.group(self.group) == reference)


grader = Regex
