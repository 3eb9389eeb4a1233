"""Field diffs: what changed between the job that was bought and the one that is wanted."""

from __future__ import annotations

import sys

import msgspec
import pytest

from ftspec.actions import LaunchJob, Reason
from ftspec.planner.diff import differences, setting_of


@pytest.mark.parametrize(
    ("old", "new", "found"),
    [
        ({}, {}, []),
        ({"a": 1}, {"a": 1.0}, []),
        ({"a": 1}, {"a": True}, [("a", 1, True)]),
        ({"a": [1, {"x": 2}]}, {"a": (1, {"x": 2})}, []),
        ({"a": 1}, {}, [("a", 1, None)]),
        ({}, {"b": {"x": 1, "y": {"z": 2}}}, [("b.x", None, 1), ("b.y.z", None, 2)]),
        ({"b": {"x": 1}}, {}, [("b.x", 1, None)]),
        ({"b": {"x": 1}}, {"b": 2}, [("b", {"x": 1}, 2)]),
        ({"a": [1]}, {"a": "1"}, [("a", [1], "1")]),
        ({"a": [1, 2, 3]}, {"a": [1, 5, 3]}, [("a.1", 2, 5)]),
        ({"a": [{"n": 1}, {"n": 2}]}, {"a": [{"n": 1}, {"n": 2, "m": 3}]}, [("a.1.m", None, 3)]),
        ({"a": [1, 2]}, {"a": [1]}, [("a.1", 2, None)]),
    ],
)
def test_differences_are_told_by_dotted_path(old, new, found):
    """Members by name, items of lists by position; `None` where a side has nothing."""
    assert list(differences(old, new)) == found


def test_scalars_are_compared_without_deepdiff(world, monkeypatch):
    """Importing it takes longer than planning ten thousand jobs; only lists need it."""
    monkeypatch.setitem(sys.modules, "deepdiff", None)
    state = world.of(world.job(hyperparameters={"n_epochs": 1}, lora={"rank": 8})).applied()
    plan = world.of(world.job(hyperparameters={"beta": 0.1}, lora={"rank": 16}, seed=3)).plan(state)
    launch = next(action for action in plan.actions if isinstance(action, LaunchJob))
    assert [(change.field, change.old, change.new) for change in launch.changes] == [
        ("method.hyperparameters.beta", None, 0.1),
        ("epochs", 1, None),
        ("lora.rank", 8, 16),
        ("seed", None, 3),
    ]


def test_settings_are_called_as_a_spec_calls_them():
    """Members of a preimage have names of their own."""
    names = {
        "hyperparameters.n_epochs": "epochs",
        "hyperparameters.beta": "method.hyperparameters.beta",
        "grader.type": "method.grader.type",
        "method": "method.type",
        "scope": "engine",
        "lora.rank": "lora.rank",
        "train": "train",
    }
    assert {path: setting_of(path) for path in names} == names


def test_a_nested_change_is_placed_as_near_as_known(world):
    """A list inside a grader has no line of its own; the grader has."""

    class Near:
        def place(self, setting, axes):
            return world.job().origin.place(setting, axes) if setting in {"", "grader"} else None

    def graded(value):
        return world.of(world.job(method="reinforcement", grader={"graders": [{"name": value}]}, origin=Near()))

    plan = graded("b").plan(graded("a").applied())
    (change,) = next(action for action in plan.actions if isinstance(action, LaunchJob)).changes
    assert (change.field, change.old, change.new) == ("method.grader.graders.0.name", "a", "b")
    assert change.at is not None


def test_a_record_without_a_preimage_changes_without_details(world):
    """It was imported from somewhere that kept none."""
    state = world.of(world.job()).record("tone/seed=1", preimage={})
    plan = world.of(world.job(seed=5, origin=None)).plan(state)
    launch = next(action for action in plan.actions if isinstance(action, LaunchJob))
    assert (launch.reason, launch.changes) == (Reason.CHANGED, ())


def test_another_recipe_is_not_a_setting(world):
    """The version of the preimage is ours; the settings below it are the user's."""
    state = world.of(world.job()).applied()
    key, record = next(iter(state.jobs.items()))
    older = msgspec.structs.replace(record, preimage=record.preimage | {"recipe": 0})
    plan = world.of(world.job(seed=5, origin=None)).plan(type(state)(jobs={key: older}))
    launch = next(action for action in plan.actions if isinstance(action, LaunchJob))
    assert [(change.field, change.at) for change in launch.changes] == [("seed", None)]


def test_moving_to_another_account_is_a_change_of_engine(world):
    """Files of the old account say nothing about the rows there."""
    state = world.of(world.job()).applied()
    plan = world.of(world.job(engine="hosted")).plan(state)
    launch = next(action for action in plan.actions if isinstance(action, LaunchJob))
    assert [(change.field, change.old, change.new) for change in launch.changes] == [("engine", "sandbox", "hosted")]
