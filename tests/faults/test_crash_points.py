"""Killed at every step of an apply, and at every step of the recovery: nothing is bought twice or lost."""

import pytest

from ftspec.testing.account import FAIR, Rules
from ftspec.testing.promises import BrokenPromise
from ftspec.testing.storm import CALMLY, Mishap, Scenario, Wish
from ftspec.testing.world import Simulation

ENGINES = {
    "unique keys": Rules(unique_keys=True, idempotency_key=True),
    "labels only": Rules(),
    "no labels": Rules(metadata=False),
    "labels dropped on the way": Rules(drops_metadata=True),
}
WISH = Wish(seeds=3, validation=True)


def crash(rules: Rules, *kills: int, wish: Wish = WISH) -> Simulation:
    """Play applies that are killed at these steps, then calm applies until everything is there (`BrokenPromise`)."""
    runs = [Mishap(kill_step=step) for step in kills]
    simulation = Simulation(Scenario(seed=1, rules=rules, weather=FAIR, wish=wish, runs=runs, gaps=[0.0] * len(runs)))
    try:
        simulation.run()
    except BrokenPromise as broken:
        raise BrokenPromise(f"killed at {kills}: {broken}") from None
    return simulation


def steps_of(rules: Rules, *kills: int) -> int:
    """Return how many steps the apply has that follows applies killed at these steps."""
    runs = [*(Mishap(kill_step=step) for step in kills), CALMLY]
    simulation = Simulation(Scenario(seed=1, rules=rules, weather=FAIR, wish=WISH, runs=runs, gaps=[0.0] * len(runs)))
    simulation.run()
    return simulation.done[len(kills)].steps


@pytest.mark.parametrize("engine", ENGINES)
def test_an_apply_that_is_killed_at_any_step_is_continued_by_the_next(engine, figure):
    """For every step of an apply of three jobs: one job a key on the engine, all recorded, after applying again."""
    rules = ENGINES[engine]
    steps = steps_of(rules)
    assert steps > 40
    decisions = [crash(rules, step).decisions for step in range(1, steps + 1)]
    figure(f"{steps} crash points")
    if engine == "unique keys":
        assert not any(decisions), "an engine with unique keys never leaves anything in doubt"


@pytest.mark.parametrize("engine", ENGINES)
def test_a_recovery_that_is_killed_at_some_steps_is_continued_by_the_next(engine):
    """For pairs of steps spread over an apply and its recovery, the promises hold."""
    rules = ENGINES[engine]
    for first in range(1, steps_of(rules) + 1, 9):
        for second in range(1, steps_of(rules, first) + 1, 11):
            crash(rules, first, second)


@pytest.mark.slow
@pytest.mark.parametrize("engine", ENGINES)
def test_a_recovery_that_is_killed_at_any_step_is_continued_by_the_next(engine, figure):
    """For every step of an apply, and every fifth step of its recovery (each time another fifth), the promises hold."""
    rules, pairs = ENGINES[engine], 0
    for first in range(1, steps_of(rules) + 1):
        for second in range(1 + first % 5, steps_of(rules, first) + 1, 5):
            crash(rules, first, second)
            pairs += 1
    figure(f"{pairs} pairs of kills")
    assert pairs > 1000


@pytest.mark.parametrize("engine", ENGINES)
def test_a_chain_that_is_killed_at_any_step_is_continued_by_the_next(engine):
    """A child that trains on its parent's model is bought once too, whenever the run that waits for the parent dies."""
    for step in range(1, 90, 3):
        crash(ENGINES[engine], step, wish=Wish(seeds=1, children=1))
