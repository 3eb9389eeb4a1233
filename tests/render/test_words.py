"""Words that several commands share."""

from __future__ import annotations

import pytest

from ftspec.render.jobs import short_model
from ftspec.render.words import expected_text, time_text


@pytest.mark.parametrize(
    ("estimates", "text"),
    [
        (((1.0, 2.0),), " (estimated 1.00 to 2.00)"),
        (((1.0, 2.0), (0.5, 0.5)), " (estimated 1.50 to 2.50)"),
        (((3.0, 3.0),), " (estimated 3.00)"),
        (((0.0, 0.0),), ""),
        ((None,), ""),
        (((1.0, 2.0), None), ""),
        ((), ""),
    ],
)
def test_an_estimate_is_shown_only_where_all_of_it_is_known(estimates, text):
    """A sum that leaves out what nobody knows would be too low; and what is free needs no estimate."""
    assert expected_text(*estimates) == text


@pytest.mark.parametrize(
    ("room", "text"),
    [
        (41, "ft:sandbox-mini:ftspec:triage-s1:gMsliM6K"),
        (40, "ft:..:triage-s1:gMsliM6K"),
        (23, "ft:..:gMsliM6K"),
        (5, "ft:..:gMsliM6K"),
    ],
)
def test_a_model_name_gives_way_but_keeps_its_end(room, text):
    """Tables fit the terminal, and the end is what tells models apart."""
    assert short_model("ft:sandbox-mini:ftspec:triage-s1:gMsliM6K", room) == text


@pytest.mark.parametrize(
    ("moment", "text"),
    [("2026-11-20T17:53:38.351Z", "2026-11-20T17:53:38Z"), ("2026-11-20T17:53:38Z", "2026-11-20T17:53:38Z"), ("soon.5", "soon.5")],
)
def test_times_read_to_the_second(moment, text):
    """Engines and state count milliseconds; people do not."""
    assert time_text(moment) == text
