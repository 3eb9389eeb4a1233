"""How long an engine asks to wait, and the clock that really waits."""

import asyncio
import time

import pytest

from ftspec.engines.base import UnknownOutcome
from ftspec.engines.clock import SystemClock
from ftspec.engines.outcome import Reply, error_object, outcome, quota_kind, retry_after

NOW = 1_795_000_000.0


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"retry-after": "7"}, 7.0),
        ({"retry-after": " 0.5 "}, 0.5),
        ({"retry-after-ms": "250", "retry-after": "9"}, 0.25),
        ({"retry-after-ms": "soon", "retry-after": "9"}, 9.0),
        ({"retry-after": "Wed, 18 Nov 2026 11:07:40 GMT"}, 60.0),
        ({"retry-after": "Wed, 18 Nov 1998 11:07:40 GMT"}, 0.0),
        ({"retry-after": "-5"}, None),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "inf"}, None),
        ({"retry-after": "Wed, 99 Nov 2026"}, None),
        ({"retry-after": ""}, None),
    ],
)
def test_the_wish_to_wait_is_read_from_two_headers(headers, seconds):
    """Seconds, milliseconds or a date; nonsense is no wish."""
    assert retry_after(headers, now=NOW) == seconds


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        ({"code": "daily_rate_limit_exceeded"}, "daily"),
        ({"code": "insufficient_quota"}, "money"),
        ({"type": "insufficient_quota"}, "money"),
        ({"code": "credit_balance_exhausted"}, "money"),
        ({"code": "organization_spend_limit_exceeded"}, "money"),
        ({"type": "tokens"}, "rate"),
        ({"message": "INSUFFICIENT QUOTA"}, "rate"),
        ({"message": "insufficient_quota"}, "rate"),
        ({"code": "INSUFFICIENT_QUOTA"}, "rate"),
        ({"code": "not_insufficient_quota"}, "rate"),
        ({"code": 7}, "rate"),
    ],
)
def test_a_quota_is_told_by_code_never_by_text(error, kind):
    """Some servers say "insufficient quota" where they mean something else."""
    assert quota_kind(429, error, {}) == kind
    assert quota_kind(400, error, {}) == (None if kind == "rate" and error.get("type") is None else kind)


@pytest.mark.parametrize(
    "body",
    [None, [], "no", {}, {"error": None}, {"error": {}}, {"error": []}, {"error": ""}, {"detail": "no"}, {"error": {"message": None}}],
)
def test_what_has_not_the_form_of_an_error_is_no_refusal(body):
    """Only the engine's own error form is a clear no."""
    assert error_object(body) is None
    answer = Reply(status=400, content=b"")
    assert type(outcome(answer, clean=str, json=body)) is UnknownOutcome


@pytest.mark.parametrize(
    "body", [{"error": "no"}, {"error": {"message": "no"}}, {"error": {"code": "no"}}, {"object": "error", "message": "no"}]
)
def test_errors_have_several_forms(body):
    """A text, an object, or the older flat form of some servers."""
    assert "no" in (error_object(body) or {}).values()


def test_the_real_clock_goes_on():
    """Sleeping takes the time that it says."""
    clock = SystemClock()
    assert abs(clock.now() - time.time()) < 5
    before = clock.monotonic()
    asyncio.run(clock.sleep(0.01))
    assert clock.monotonic() - before >= 0.009
