"""Keys of jobs: chains before anything ran, twins, and what cannot be identified."""

from __future__ import annotations

from time import perf_counter

from ftspec.fingerprint import digest, job_preimage
from ftspec.planner.identify import identify


def test_a_chain_is_identified_parents_first_whatever_the_declared_order(world):
    """The child's key holds the parent's key, which is known before the parent has run."""
    jobs = [
        world.job("c", parent="b", base_model="", seed=1),
        world.job("b", parent="a", base_model=""),
        world.job("a"),
    ]
    found, problems = identify(jobs, world.of(*jobs).facts)
    assert problems == []
    assert [one.job.address for one in found] == ["a", "b", "c"]
    for child, parent in ((found[1], found[0]), (found[2], found[1])):
        assert child.parent_key == parent.key
        image = job_preimage(child.job, train=child.train_key, validation=None, parent=parent.key)
        assert image["base_model"] == {"job": parent.key}
        assert child.key == digest(image)


def test_two_jobs_with_one_key_are_an_error_at_both_places(world):
    """The message names both and suggests `replicate`; their children are not reported again."""
    jobs = [
        world.job("a/seed=1"),
        world.job("b/seed=1"),
        world.job("c", parent="a/seed=1", base_model=""),
        world.job("d", parent="b/seed=1", base_model=""),
    ]
    _, problems = identify(jobs, world.of(*jobs).facts)
    (problem,) = problems
    assert problem.code == "identical-jobs"
    assert "`a/seed=1`" in problem.message
    assert "`b/seed=1`" in problem.message
    assert "replicate" in (problem.help or "")
    assert problem.at is not None
    assert len(problem.also) == 1


def test_replicate_tells_twins_apart(world):
    """The same job can be bought twice on purpose."""
    jobs = [world.job("a/seed=1"), world.job("b/seed=1", replicate=2)]
    found, problems = identify(jobs, world.of(*jobs).facts)
    assert problems == []
    assert len({one.key for one in found}) == 2


def test_what_cannot_be_read_has_no_key_and_neither_have_its_children(world):
    """Whoever failed to read the dataset has said so; everything else is identified all the same."""
    jobs = [world.job("a", train="lost"), world.job("b", parent="a", base_model=""), world.job("c"), world.job("d", validation="lost")]
    found, problems = identify(jobs, {"tone": world.dataset()})
    assert [one.job.address for one in found] == ["c"]
    assert problems == []


def test_a_circle_of_jobs_ends(world):
    """Jobs that wait for each other have no key; what does not need them has."""
    jobs = [world.job("a", parent="b"), world.job("b", parent="a"), world.job("c", depends_on=("a",)), world.job("d", seed=4)]
    found, _ = identify(jobs, world.of(*jobs).facts)
    assert [one.job.address for one in found] == ["d"]


def test_a_long_chain_does_not_need_a_deep_stack(world):
    """A thousand generations are identified."""
    jobs = [world.job("j0"), *(world.job(f"j{n}", parent=f"j{n - 1}", base_model="") for n in range(1, 1500))]
    found, _ = identify(list(reversed(jobs)), world.of(*jobs).facts)
    assert len({one.key for one in found}) == 1500


def test_ten_thousand_keys_take_a_moment(world):
    """A generous bound that only quadratic work would break; `benchmarks/plan.py` measures."""
    jobs = [world.job(f"grid/seed={n}", seed=n, hyperparameters={"n_epochs": 1 + n % 9}) for n in range(10_000)]
    facts = world.of(*jobs).facts
    start = perf_counter()
    found, _ = identify(jobs, facts)
    assert len(found) == 10_000
    assert perf_counter() - start < 5
