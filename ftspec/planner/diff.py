"""What changed between a recorded job and the one that a spec asks for now.

Preimages are compared member by member with an own walk, because almost every change is one
scalar; `deepdiff`, which takes a while to import, is asked only about lists inside them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from ftspec.actions import FieldChange, Reason
from ftspec.fingerprint import canonical_json, job_preimage
from ftspec.planner.identify import place_of

if TYPE_CHECKING:
    from ftspec.actions import DatasetFacts
    from ftspec.planner.identify import Identified
    from ftspec.record import RecordedJob, State

_SHORT_FORMS = {
    "hyperparameters.n_epochs": "epochs",
    "hyperparameters.batch_size": "batch_size",
    "hyperparameters.learning_rate": "learning_rate",
    "hyperparameters.learning_rate_multiplier": "learning_rate_multiplier",
    "scope": "engine",
}
_ABSENT = object()


def preimage_of(one: Identified) -> dict[str, Any]:
    """Return the preimage of an identified job's key."""
    return job_preimage(one.job, train=one.train_key, validation=one.validation_key, parent=one.parent_key)


def changes(before: RecordedJob, one: Identified, datasets: Mapping[str, DatasetFacts], state: State) -> tuple[FieldChange, ...]:
    """Return the settings in which `one` differs from the job that was bought, in the order of their names.

    Datasets are shown by reference, digest and row count, parents by address. A record that was
    imported without a preimage gives no changes.
    """
    if not before.preimage:
        return ()
    refs = {"train": one.job.train, "validation": one.job.validation, "base_model": one.job.parent}
    found: dict[str, FieldChange] = {}
    for path, old, new in _settings_changed(before.preimage, preimage_of(one)):
        member = path.partition(".")[0]
        setting = setting_of(path)
        found[setting] = FieldChange(
            field=setting,
            old=_shown(member, old, before.scope, state, {}),
            new=_shown(member, new, one.job.scope, state, refs, datasets),
            at=place_of(one.job, path),
        )
    return tuple(found.values())


def _settings_changed(old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[tuple[str, Any, Any]]:
    # A base model is one value, a name or a job; the recipe is ours, not a setting.
    whole = {"base_model", "recipe"}
    yield from differences({k: v for k, v in old.items() if k not in whole}, {k: v for k, v in new.items() if k not in whole})
    if old.get("base_model") != new.get("base_model"):
        yield "base_model", old.get("base_model"), new.get("base_model")


def reason_of(changed: tuple[FieldChange, ...]) -> Reason:
    """Return why a job at a recorded address is launched again."""
    fields = {change.field for change in changed}
    if fields and fields <= {"train", "validation"}:
        return Reason.DATASET_CHANGED
    if fields == {"base_model"} and all(isinstance(change.new, Mapping) for change in changed):
        return Reason.PARENT_CHANGED
    return Reason.CHANGED


def setting_of(path: str) -> str:
    """Return how a spec calls the member of a preimage at a dotted path."""
    if short := _SHORT_FORMS.get(path):
        return short
    if path == "method":
        return "method.type"
    return f"method.{path}" if path.startswith(("hyperparameters.", "grader")) else path


def differences(old: Any, new: Any, path: str = "") -> Iterator[tuple[str, Any, Any]]:
    """Yield (dotted path, old, new) of everything that differs; `None` where a side has nothing."""
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        for name in sorted(old.keys() | new.keys()):
            yield from differences(old.get(name, _ABSENT), new.get(name, _ABSENT), f"{path}.{name}" if path else str(name))
    elif isinstance(old, Mapping) and new is _ABSENT:
        yield from differences(old, {}, path)
    elif old is _ABSENT and isinstance(new, Mapping):
        yield from differences({}, new, path)
    elif old is _ABSENT or new is _ABSENT:
        yield path, None if old is _ABSENT else old, None if new is _ABSENT else new
    elif canonical_json(old) == canonical_json(new):
        return
    elif isinstance(old, (list, tuple)) and isinstance(new, (list, tuple)):
        yield from _list_differences(list(old), list(new), path)
    else:
        yield path, old, new


def _list_differences(old: list[Any], new: list[Any], path: str) -> Iterator[tuple[str, Any, Any]]:
    from deepdiff import DeepDiff
    from deepdiff.helper import notpresent

    tree = DeepDiff(old, new, view="tree")
    levels = [level for kind in tree.values() for level in kind]
    found = {
        ".".join([path, *map(str, level.path(output_format="list"))]): (
            None if level.t1 is notpresent else level.t1,
            None if level.t2 is notpresent else level.t2,
        )
        for level in levels
    }
    for where in sorted(found):
        yield where, *found[where]


def _shown(
    member: str,
    value: Any,
    scope: str,
    state: State,
    refs: Mapping[str, str | None],
    datasets: Mapping[str, DatasetFacts] | None = None,
) -> Any:
    """Give a bare key the name and size by which people know what it stands for."""
    if member in {"train", "validation"} and isinstance(value, str):
        ref = refs.get(member)
        facts = datasets.get(ref) if datasets and ref else None
        file = state.files.get((scope, value))
        rows = facts.rows if facts else file.rows if file else None
        return {"dataset": ref, "digest": value, "rows": rows}
    if member == "base_model" and isinstance(value, Mapping):
        parent = state.jobs.get(value.get("job", ""))
        return {"job": value.get("job"), "address": refs.get(member) or (parent.address if parent else None)}
    return value
