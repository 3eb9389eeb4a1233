"""Rules about what should not be learned or leave the house: `data check --safety`, `--moderation`, and on import."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ftspec.data import safety
from ftspec.data.checks.base import INFO, WARNING, Check, RowCheck
from ftspec.data.checks.chat import texts_of


class _SafetyRule(RowCheck):
    """A rule about one group of findings. It is silent unless `setting.safety`."""

    severity = WARNING
    group = ""

    def find(self, row: Mapping[str, Any]) -> Iterator[str]:
        """Search every text of the row."""
        if self.setting.safety:
            names = {kind.name for text in texts_of(row) for kind, _, _ in safety.find(text) if kind.group == self.group}
            for name in sorted(names):
                yield f"a text holds what looks like a {name}" if name[0] not in "aAeIiO" else f"a text holds what looks like an {name}"


class Secret(_SafetyRule):
    """A text holds what looks like a key, token or password.

    Why: the file is uploaded to an engine, and a trained model may recite it.
    Fix: revoke the secret, then remove it, or run `ftspec data import ... --redact`.
    """

    code = "secret"
    group = "secret"
    help = "revoke it, then remove it: `ftspec data check --fix --redact` does"


class PersonalData(_SafetyRule):
    """A text holds what looks like an e-mail address, phone number, payment card or IBAN.

    Why: the file is uploaded to an engine, and a trained model may recite it.
    Fix: replace it: `ftspec data check --fix --redact` does.
    """

    code = "personal-data"
    group = "personal"
    help = "replace it: `ftspec data check --fix --redact` does"


class FlaggedContent(Check):
    """An engine's moderation flags a text.

    Why: engines refuse training files with such content, or stop the job in their safety checks. It is
    asked only with `data check --moderation ENGINE`, which sends every text of the dataset to that engine
    (secrets and personal data replaced), and shows categories and lines only.
    Fix: read the lines, and remove rows that should not be learned.
    """

    code = "flagged-content"
    severity = WARNING
    help = "read the lines, and remove rows that should not be learned"


class DataLeaves(Check):
    """The dataset will be sent to another party's engine.

    Why: whoever owns the data may have to agree.
    Fix: nothing, where it is meant; the `sandbox` and `local` engines keep data on your machines.
    """

    code = "data-leaves"
    severity = INFO
    help = "nothing to do where it is meant; the `sandbox` and `local` engines keep data on your machines"
