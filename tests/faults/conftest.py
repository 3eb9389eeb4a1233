"""Campaigns say how much they tried: figures are printed at the end of a run."""

import pytest


@pytest.fixture
def figure(request):
    """Return a function that keeps a figure of this test for the end of the run."""

    def keep(what: str) -> None:
        request.node.user_properties.append(("figure", what))

    return keep


def pytest_terminal_summary(terminalreporter):
    """Print the figures of all campaigns."""
    lines = {
        f"{report.nodeid.rpartition('::')[2]}: {what}"
        for report in terminalreporter.stats.get("passed", [])
        for name, what in report.user_properties
        if name == "figure"
    }
    if lines:
        terminalreporter.section("figures of the fault campaigns")
        for line in sorted(lines):
            terminalreporter.line(line)
