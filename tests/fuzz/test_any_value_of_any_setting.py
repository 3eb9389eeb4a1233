"""Every setting of a job, at every place where one can be given, with values of every type: judged, never tripped over."""

from __future__ import annotations

import json
from itertools import product

import pytest
import yaml

from ftspec.spec.settings import NAMES
from ftspec.testing.fuzz.target import all_targets
from ftspec.testing.fuzz.targets.specs import SMALL

VALUES = (
    *({}, {"": "x"}, [], [[]], [{}], [None], 0, 1.5, True, None, "", "x"),
    *({"from": {}}, {"from": "small", "where": []}, {"from": "small", "where": {"epochs": {}}}),
)
PLACES = {
    "defaults": lambda tree, name, value: tree["defaults"].update({name: value}),
    "experiment": lambda tree, name, value: tree["experiments"]["small"].update({name: value}),
    "axis": lambda tree, name, value: tree["experiments"]["small"]["matrix"].update({name: value if isinstance(value, list) else [value]}),
    "include": lambda tree, name, value: tree["experiments"]["small"]["matrix"].update(include=[{name: value, "epochs": 1}]),
    "zip": lambda tree, name, value: tree["experiments"]["small"]["matrix"].update(zip={name: [value, value], "seed": [1, 2]}),
    "exclude": lambda tree, name, value: tree["experiments"]["small"]["matrix"].update(exclude=[{name: value}]),
    "override": lambda tree, name, value: tree["experiments"]["small"]["matrix"].update(
        overrides=[{"where": {"epochs": 1}, "set": {name: value}}]
    ),
}


@pytest.fixture(scope="module")
def plan(tmp_path_factory):
    with all_targets()["spec"].prepare(tmp_path_factory.mktemp("place")) as check:
        yield check


@pytest.mark.parametrize("place", PLACES)
def test_any_value_is_judged(place, plan):
    """A plan, or diagnostics. Each place is tried with another seventh of all settings and values."""
    start = list(PLACES).index(place)
    for name, value in list(product(NAMES, VALUES))[start :: len(PLACES)]:
        tree = yaml.safe_load(SMALL)
        PLACES[place](tree, name, value)
        try:
            plan(json.dumps(tree).encode())
        except Exception as error:
            error.add_note(f"{place}: {name}: {value}")
            raise
