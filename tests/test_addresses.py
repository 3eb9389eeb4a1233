"""Addresses of jobs."""

from __future__ import annotations

import pytest

from ftspec.address import NAME, axes_of, axis_text, experiment_of, format_address


@pytest.mark.parametrize(
    ("axes", "name", "address"),
    [
        ({}, None, "triage"),
        ({"base_model": "sandbox-mini", "epochs": 3, "seed": 1}, None, "triage/base_model=sandbox-mini,epochs=3,seed=1"),
        ({"rate": 1e-05, "whole": 1.0, "flag": True, "list": [1, 2]}, None, "triage/rate=0.00001,whole=1,flag=true,list=[1,2]"),
        ({"seed": 1}, "v1", "triage/v1"),
    ],
)
def test_an_address_is_the_experiment_and_its_axes_in_declared_order(axes, name, address):
    """Or the name that the spec gives."""
    assert format_address("triage", axes, name=name) == address
    assert experiment_of(address) == "triage"


@pytest.mark.parametrize(
    ("address", "axes"),
    [
        ("triage", {}),
        ("triage/base_model=a/b:c,epochs=3,seed=-1,rate=1e-5", {"base_model": "a/b:c", "epochs": 3, "seed": -1, "rate": "1e-5"}),
        ("triage/v1", {}),
        ("triage/v1,seed=2", {}),
        ('triage/lora={"alpha":1,"rank":2}', {}),
        ("triage/text=a=b", {"text": "a=b"}),
    ],
)
def test_an_address_tells_its_axes_where_they_can_be_told_apart(address, axes):
    """For jobs that no spec asks for any more."""
    assert axes_of(address) == axes


def test_axis_values_read_plainly():
    """Text as it is, everything else in its canonical form."""
    assert [axis_text(value) for value in ("a b", 3, None, {"b": 1, "a": 2})] == ["a b", "3", "null", '{"a":2,"b":1}']


@pytest.mark.parametrize(
    ("name", "fine"), [("triage", True), ("a.b-c_9", True), ("9a", False), ("a/b", False), ("a\n", False), ("x" * 65, False)]
)
def test_names_are_plain_words(name, fine):
    """So that an address can be taken apart again and typed without quotes."""
    assert (NAME.match(name) is not None) is fine
