"""What a rule about dataset rows is.

A rule is a class with a `code`, a severity, a docstring (the sentence, why it matters, what
to do) and a `help` line. Row rules yield one sentence for each problem of a row; the sentences
name no row content beyond keys, roles and tool names, so they fold and can be shown
anywhere. Rules of the other kinds (`file`, `set`) only document and classify what the scanner,
the leakage index or the statistics report under their code.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from typing import Any, ClassVar

import msgspec

from ftspec.diagnostics import Severity

ERROR, WARNING, INFO = Severity.ERROR, Severity.WARNING, Severity.INFO

CHAT = frozenset({"chat"})
REINFORCEMENT = frozenset({"reinforcement"})
PREFERENCE = frozenset({"preference"})
COMPLETION = frozenset({"completion"})
MESSAGES = CHAT | REINFORCEMENT | PREFERENCE
ANY = frozenset({"chat", "reinforcement", "preference", "completion", "eval"})


class Reads(msgspec.Struct, frozen=True, kw_only=True, order=True):
    """How many tokens of a row the jobs of a base model take, and its `tokenizer.json`, if rows can be counted with it here.

    `digest` is that file's: what was counted with another one is not remembered.
    """

    base: str
    tokens: int
    tokenizer: str = ""
    digest: str = ""


class Setting(msgspec.Struct, frozen=True, kw_only=True):
    """What the rules need to know beside the row: the engine's ways, and columns that the spec uses."""

    format: str = "chat"
    wanted: str | None = None
    """The format that the method of the jobs wants, to tell apart what looks alike."""
    roles: frozenset[str] = frozenset({"system", "developer", "user", "assistant", "tool", "function"})
    max_images: int = 10
    max_image_bytes: int = 10 << 20
    max_image_rows: int = 50_000
    strict_tools: bool = False
    """Whether the engine limits how many tools a row has, and what they are called."""
    columns: frozenset[str] = frozenset()
    """Top-level keys that are known to be meant: `group_by`, and what graders refer to."""
    item_keys: tuple[str, ...] = ()
    """Keys that a grader template needs in every row."""
    labels: bool = False
    """Whether answers should be labels (`preset: classification`)."""
    safety: bool = False
    """Whether the slow searches for secrets and personal data run."""
    lacks: tuple[tuple[str, str], ...] = ()
    """What bases and engines of the dataset's jobs do not have: a name, and one of `base_model.LACKS`."""
    reads: tuple[Reads, ...] = ()
    """How long rows may be for the bases of the dataset's jobs, where they are known."""

    @property
    def surely_fits(self) -> int:
        """How many bytes a row may have that is certainly not too long: no token is less than a byte."""
        return min((one.tokens for one in self.reads), default=sys.maxsize)


class Check:
    """A rule. Subclasses with a `code` are found by `ftspec.data.checks.all_codes`."""

    code: ClassVar[str] = ""
    severity: ClassVar[Severity] = ERROR
    help: ClassVar[str | None] = None


class RowCheck(Check):
    """A rule that looks at one row at a time.

    `screen` are byte strings one of which must occur in the canonical row for the rule to
    have anything to say; most rows of most files are passed over that way.
    """

    formats: ClassVar[frozenset[str]] = ANY
    screen: ClassVar[tuple[bytes, ...]] = ()

    def __init__(self, setting: Setting) -> None:
        self.setting = setting

    def find(self, row: Mapping[str, Any]) -> Iterable[str]:
        """Yield one sentence, without a full stop, for each problem."""
        raise AssertionError(row)  # pragma: no cover - every row rule has its own
