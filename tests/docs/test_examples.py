"""Every example spec plans, whatever the calendar says when somebody clones this."""

from __future__ import annotations

import datetime as dt
import shutil
from pathlib import Path

import pytest

from ftspec.actions import LaunchJob
from ftspec.diagnostics import FtspecError
from ftspec.pipeline.planning import load, make_plan, want
from ftspec.pipeline.project import Project, open_project

EXAMPLES = Path(__file__).parents[2] / "examples"
TODAY = dt.date(2026, 11, 20)
"""The day of the facts about engines."""


@pytest.fixture
def project(tmp_path: Path, request: pytest.FixtureRequest) -> Project:
    shutil.copytree(EXAMPLES, tmp_path / "examples")
    return open_project(directory=tmp_path, files=[f"examples/specs/{request.param}.yaml"])


@pytest.mark.parametrize("project", sorted(path.stem for path in (EXAMPLES / "specs").glob("*.yaml")), indirect=True)
def test_an_example_plans_without_a_problem(project: Project) -> None:
    """No key, no network, no error, and something to launch within its policy."""
    planned = make_plan(project, wanted=want(load(project, today=TODAY)), now=f"{TODAY}T00:00:00.000Z")
    assert [one for one in planned.diagnostics if one.severity == "error"] == []
    assert any(isinstance(action, LaunchJob) for action in planned.plan.actions)
    assert all(verdict.ok for verdict in planned.plan.verdicts)


@pytest.mark.parametrize("project", ["hosted"], indirect=True)
def test_a_plan_can_be_made_as_of_another_day(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """`FTSPEC_TODAY` answers what will still be possible then; what is no day is an error."""
    for day, possible in (("2026-11-20", True), ("2027-01-06", True), ("2027-01-07", False)):
        monkeypatch.setenv("FTSPEC_TODAY", day)
        planned = make_plan(project)
        assert ("model-ended" not in {one.code for one in planned.diagnostics}) is possible
        assert planned.plan.now.startswith(day)
    monkeypatch.setenv("FTSPEC_TODAY", "soon")
    with pytest.raises(FtspecError, match="which is no day"):
        make_plan(project)


@pytest.mark.parametrize("project", ["hosted"], indirect=True)
def test_the_hosted_example_says_when_it_is_too_late(project: Project) -> None:
    """Once the engine takes no more jobs, each problem says since when and what to train instead."""
    later = dt.date(2027, 2, 1)
    planned = make_plan(project, wanted=want(load(project, today=later)), now=f"{later}T00:00:00.000Z")
    problems = [one for one in planned.diagnostics if one.severity == "error"]
    assert {one.code for one in problems} == {"model-ended"}
    assert all("since 2027-01-06" in one.message and one.help and one.help.startswith("train ") for one in problems)
