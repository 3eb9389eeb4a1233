"""Selectors: every form, and the error when one names nothing."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from ftspec.planner.selectors import UnknownSelector, select, select_records
from ftspec.record import State


@pytest.fixture
def grid(world):
    """Return two sizes by two seeds, and one job on top of one of them."""
    jobs = [
        world.job(f"triage/size={size},seed={seed}", base_model=size, seed=seed, tags={"owner": "search", "seed": str(seed)})
        for size in ("mini", "small")
        for seed in (1, 2)
    ]
    polish = world.job("polish/list=[1,2]", parent=jobs[0].address, base_model="", engine="hosted", scope="sandbox")
    return world.of(*jobs, polish)


MINI = {"triage/size=mini,seed=1", "triage/size=mini,seed=2"}
ALL = MINI | {"triage/size=small,seed=1", "triage/size=small,seed=2", "polish/list=[1,2]"}


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("*", ALL),
        ("triage", ALL - {"polish/list=[1,2]"}),
        ("polish", {"polish/list=[1,2]"}),
        ("triage/size=mini*", MINI),
        ("*seed=2", {"triage/size=mini,seed=2", "triage/size=small,seed=2"}),
        ("triage/size=mini,seed=[12]", MINI),
        ("polish/list=[1,2]", {"polish/list=[1,2]"}),
        ("+polish", {"polish/list=[1,2]", "triage/size=mini,seed=1"}),
        ("triage/size=mini,seed=1+", {"polish/list=[1,2]", "triage/size=mini,seed=1"}),
        ("+triage/size=mini,seed=2+", {"triage/size=mini,seed=2"}),
        ("experiment:tri*", ALL - {"polish/list=[1,2]"}),
        ("engine:hosted", {"polish/list=[1,2]"}),
        ("tag:owner", ALL - {"polish/list=[1,2]"}),
        ("tag:seed=2", {"triage/size=mini,seed=2", "triage/size=small,seed=2"}),
        ("tag:owner=sea*", ALL - {"polish/list=[1,2]"}),
        ("status:new", ALL),
        ("status:failed", set()),
    ],
)
def test_each_form_selects_what_it_says(grid, expression, expected):
    """Addresses, globs, relatives, experiments, engines, tags and statuses."""
    assert select((expression,), grid.identified(), State()) == expected


def test_selectors_add_up_and_none_selects_nothing(grid):
    """Several selectors are a union."""
    assert select(("polish", "triage/size=mini,seed=1"), grid.identified(), State()) == {"polish/list=[1,2]", "triage/size=mini,seed=1"}
    assert select((), grid.identified(), State()) == set()
    assert select(("*",), [], State()) == set()


def test_statuses_are_those_of_state(grid):
    """A job in doubt has a status of its own."""
    address = "triage/size=small,seed=1"
    assert select(("status:failed",), grid.identified(), grid.record(address, "failed")) == {address}
    doubt = grid.record(address, "intent")
    for name in ("in-doubt", "intent"):
        assert select((f"status:{name}",), grid.identified(), doubt) == {address}
    assert select(("status:new",), grid.identified(), doubt) == ALL - {address}


def test_keys_select_by_their_first_digits(grid):
    """Both with and without `key:`; short text without it is an address."""
    address = "triage/size=small,seed=1"
    key = grid.key(address)
    for expression in (key, key[:8], f"key:{key[:3]}x"[:-1]):
        assert address in select((expression,), grid.identified(), State())


@pytest.mark.parametrize(
    ("expression", "help_"),
    [
        ("triaje", "did you mean `triage`?"),
        ("triage/size=mini,sed=1", "did you mean `triage/size=mini,seed=1`?"),
        ("experiment:triagee", "did you mean `experiment:triage`?"),
        ("status:faild", "did you mean `status:failed`?"),
        ("tag:ownr", "did you mean `tag:owner`?"),
        ("zzzzzzzzzzzz*", None),
        ("key:", "see the keys with `ftspec state list`"),
        ("+", None),
        ("", None),
    ],
)
def test_a_selector_that_names_nothing_is_an_error_with_the_nearest_name(grid, expression, help_):
    """A typing mistake never makes a smaller selection; usage errors exit with 64."""
    with pytest.raises(UnknownSelector) as stop:
        select((expression,), grid.identified(), State())
    assert stop.value.exit_code == 64
    assert stop.value.help == help_


def test_a_hostile_selector_is_shown_harmlessly(grid):
    """Escapes in it are printed as text."""
    with pytest.raises(UnknownSelector) as stop:
        select(("\x1b[31mred",), grid.identified(), State())
    assert "\x1b" not in stop.value.message


def test_records_are_selected_without_a_spec(grid):
    """`state list` and `models` see what was bought; parents are known from preimages."""
    state = grid.applied()
    polish, parent = grid.key("polish/list=[1,2]"), grid.key("triage/size=mini,seed=1")
    assert select_records(("+polish*",), state) == {polish, parent}
    assert select_records(("triage",), state) == {grid.key(address) for address in ALL - {"polish/list=[1,2]"}}
    assert select_records((), state) == set()
    assert select_records(("status:succeeded",), replace(state, jobs={})) == set()
