"""What takes no new jobs is refused when it would be launched, and left alone where it is recorded."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from ftspec.actions import KeepJob
from ftspec.profile import BaseModel


@pytest.fixture
def ending(world):
    """Return a function that gives the world's sandbox an end, for its model or for all of it."""
    base = world.of(world.job(seed=1))
    profiles = base.request().profiles
    sandbox = profiles["sandbox"]

    def build(*, until=None, ends=None):
        model = BaseModel(name="sandbox-small", until=until, replacement="sandbox-next")
        return base, {**profiles, "sandbox": replace(sandbox, base_models=(model,), ends=ends)}

    return build


@pytest.mark.parametrize("day", [{"until": "2027-01-06"}, {"ends": "2027-01-06"}])
def test_a_launch_after_the_last_day_is_an_error_that_names_the_way_on(ending, day):
    """The day itself still counts; the day after does not."""
    world, profiles = ending(**day)
    assert world.plan(profiles=profiles, now="2027-01-06T23:59:59Z").diagnostics == ()
    (problem,) = world.plan(profiles=profiles, now="2027-01-07T00:00:00Z").diagnostics
    assert (problem.code, problem.severity) == ("model-ended", "error")
    assert "2027-01-06" in problem.message
    assert "sandbox-next" in (problem.help or "")


def test_a_recorded_job_outlives_its_engine(ending):
    """What was bought in time is kept without a word."""
    world, profiles = ending(ends="2027-01-06")
    state = world.applied()
    plan = world.plan(state, profiles=profiles, now="2027-02-01T00:00:00Z")
    assert plan.diagnostics == ()
    assert [type(action) for action in plan.actions] == [KeepJob]
