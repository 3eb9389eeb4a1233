"""An experiment that is one plain job: no matrix, no references, no parent. The short way.

Specs with thousands of written-out jobs take it; whatever is unusual, or wrong in any way, is
left to `cells`, which says what. Both ways give the same job (a test compares them).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from ftspec.experiment import DesiredJob
from ftspec.spec.references import as_text
from ftspec.spec.settings import METHODS, kind_of
from ftspec.spec.tree import Map, Seq

if TYPE_CHECKING:
    from ftspec.spec.cells import Whole
    from ftspec.spec.variants import CellPlaces, Settings

_TEXT: Final = frozenset({"suffix", "name"})
_UNUSUAL: Final = frozenset({"grader", "integrations", "depends_on", "name"})


def single_job(whole: Whole, name: str, settings: Settings, places: CellPlaces) -> DesiredJob | None:
    """Return the job, or `None` where it takes the long way."""
    declared = whole.declared
    given = settings.given
    method = given["method"].value if "method" in given else "supervised"
    if not isinstance(method, str) or method not in METHODS or settings.fit(method):
        return None
    fields: dict[str, Any] = {"method": method}
    groups: dict[str, Any] = {}
    for path, one in given.items():
        value = one.value
        head, _, member = path.partition(".")
        if head in _UNUSUAL or not _plain(value):
            return None
        if path in _TEXT and not isinstance(value, str):
            value = as_text(value)
        kind = kind_of(path)
        if (kind is not None and not kind.accepts(value)) or whole.known(path, value, _nowhere) is not None:
            return None
        if not member:
            fields[head] = value
        else:
            groups.setdefault(head, {})[member] = as_text(value) if head == "tags" else list(value) if isinstance(value, Seq) else value
    engine = declared.engines.get(fields.setdefault("engine", declared.default_engine) or "")
    if engine is None or "base_model" not in fields or "train" not in fields:
        return None
    if "evals" in fields:
        evals = fields["evals"]
        fields["evals"] = (evals,) if isinstance(evals, str) else tuple(dict.fromkeys(evals))
    return DesiredJob(
        address=name, experiment=name, scope=engine.scope, origin=places, suffix_is_identity=declared.suffix_is_identity, **fields, **groups
    )


def _nowhere() -> None:
    """Return no place: the problem is found again, with its place, on the long way."""


def _plain(value: Any) -> bool:
    """Whether a value is what it says: no references, no mapping."""
    if isinstance(value, str):
        return "{" not in value and "}" not in value
    if isinstance(value, Seq):
        return all(isinstance(item, str) and _plain(item) for item in value)
    return not isinstance(value, (Map, list))
