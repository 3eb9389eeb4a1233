"""A cell whose axis value was edited is one change of one setting, not a job that came and one that went."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from ftspec.address import format_address
from ftspec.experiment import DesiredJob
from ftspec.planner.moved import moved
from ftspec.record import Attempt, JobStatus, RecordedJob


def job(**axes):
    address = format_address("grid", axes)
    return DesiredJob(address=address, experiment="grid", engine="sandbox", scope="sandbox", base_model="m", train="t", axes=axes)


def record(**axes):
    address = format_address("grid", axes)
    attempts = (Attempt(number=1, status=JobStatus.SUCCEEDED),)
    return RecordedJob(key=address, address=address, engine="sandbox", scope="sandbox", attempts=attempts)


def pairs(new, old):
    left = {one.address: one for one in old}
    return {address: found.address for address, found in moved(new, left).items()}


def test_one_edited_value_is_one_change_in_every_cell():
    """`epochs: [1, 3]` to `[1, 4]` pairs each cell with its own seed."""
    new = [job(epochs=4, seed=1), job(epochs=4, seed=2)]
    old = [record(epochs=3, seed=2), record(epochs=3, seed=1)]
    assert pairs(new, old) == {"grid/epochs=4,seed=1": "grid/epochs=3,seed=1", "grid/epochs=4,seed=2": "grid/epochs=3,seed=2"}


def test_two_differences_are_another_job():
    """A cell that differs in two axes was not edited from it."""
    assert pairs([job(epochs=4, seed=2)], [record(epochs=3, seed=1)]) == {}


def test_other_axes_and_other_experiments_do_not_pair():
    """Only cells of the same axes are compared."""
    assert pairs([job(epochs=4)], [record(seed=3)]) == {}
    assert pairs([job(epochs=4)], []) == {}


def test_each_record_explains_one_cell():
    """Two new values for one old one: the first takes it, the second is new."""
    assert pairs([job(seed=10), job(seed=9)], [record(seed=2)]) == {"grid/seed=9": "grid/seed=2"}


def test_values_with_commas_are_read_by_their_axis_names():
    """A value may hold what separates axes."""
    assert pairs([job(note="a,b=c", seed=2)], [record(note="a,b=c", seed=1)]) == {"grid/note=a,b=c,seed=2": "grid/note=a,b=c,seed=1"}


@given(st.permutations([1, 2, 3]), st.permutations([4, 5, 6]))
def test_order_does_not_matter(old_seeds, new_seeds):
    """Pairs are the same whatever the order of jobs and records."""
    found = pairs([job(seed=seed) for seed in new_seeds], [record(seed=seed) for seed in old_seeds])
    assert found == {"grid/seed=4": "grid/seed=1", "grid/seed=5": "grid/seed=2", "grid/seed=6": "grid/seed=3"}
