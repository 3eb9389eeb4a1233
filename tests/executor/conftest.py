"""What tests of the executor share."""

import pytest

from ftspec.testing.bench import Bench


@pytest.fixture
def bench() -> Bench:
    """Return a calm bench: one wanted job, an engine with unique keys."""
    return Bench()
