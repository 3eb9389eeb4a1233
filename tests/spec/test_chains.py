"""Jobs on top of other jobs' models: one child for each parent that matches."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.spec.conftest import Project


GRID = """
triage:
  matrix: {base_model: [sandbox-mini, sandbox-small], epochs: [1, 3], seed: [1, 2]}
"""


def test_one_child_is_made_for_each_matching_parent(project: Project) -> None:
    """Axes that tell the matches apart become axes of the child."""
    loaded = project.experiments(GRID + "polish:\n  base_model: {from: triage, where: {epochs: 3, seed: 1}}\n  epochs: 2\n")
    children = [job for job in loaded.jobs if job.experiment == "polish"]
    assert [(job.address, job.parent, job.base_model) for job in children] == [
        ("polish/base_model=sandbox-mini", "triage/base_model=sandbox-mini,epochs=3,seed=1", ""),
        ("polish/base_model=sandbox-small", "triage/base_model=sandbox-small,epochs=3,seed=1", ""),
    ]
    assert children[0].axes == {"base_model": "sandbox-mini"}
    assert children[0].hyperparameters == {"n_epochs": 2}


def test_a_single_parent_needs_no_axis(project: Project) -> None:
    """The child's address is then its experiment's name, or its own axes."""
    loaded = project.experiments(
        "triage: {seed: 1}\npolish: {base_model: {from: triage}}\nmore: {base_model: {from: polish}, matrix: {epochs: [1]}}"
    )
    assert loaded.addresses == ["triage", "polish", "more/epochs=1"]
    assert loaded.job("more/epochs=1").parent == "polish"


def test_an_axis_that_the_child_has_too_is_named_after_the_parent(project: Project) -> None:
    """Otherwise one name would mean two things."""
    loaded = project.experiments(
        GRID + "polish:\n  base_model: {from: triage, where: {base_model: sandbox-mini}}\n  epochs: 5\n  matrix: {seed: [7]}\n"
    )
    assert loaded.addresses[8:] == [
        "polish/seed=7,triage.epochs=1,triage.seed=1",
        "polish/seed=7,triage.epochs=1,triage.seed=2",
        "polish/seed=7,triage.epochs=3,triage.seed=1",
        "polish/seed=7,triage.epochs=3,triage.seed=2",
    ]


def test_conditions_may_refer_to_the_childs_axes(project: Project) -> None:
    """So each child gets the parent of its own seed."""
    loaded = project.experiments(
        GRID
        + 'polish:\n  base_model: {from: triage, where: {epochs: 3, base_model: sandbox-mini, seed: "{seed}"}}\n  matrix: {seed: [1, 2]}\n'
    )
    assert [(job.address, job.parent) for job in loaded.jobs[8:]] == [
        ("polish/seed=1", "triage/base_model=sandbox-mini,epochs=3,seed=1"),
        ("polish/seed=2", "triage/base_model=sandbox-mini,epochs=3,seed=2"),
    ]


def test_text_of_a_child_may_refer_to_its_parents_axes(project: Project) -> None:
    """The parent's seed can even become the child's."""
    loaded = project.experiments(
        GRID
        + 'polish:\n  base_model: {from: triage, where: {epochs: 3, base_model: sandbox-mini}}\n  seed: "{seed}"\n  suffix: "p{seed}"\n'
    )
    assert [(job.seed, job.suffix) for job in loaded.jobs[8:]] == [(1, "p1"), (2, "p2")]


def test_a_list_in_a_condition_means_any_of_them(project: Project) -> None:
    """As everywhere else."""
    loaded = project.experiments(
        GRID + "polish:\n  base_model: {from: triage, where: {epochs: [1, 3], seed: 2, base_model: [sandbox-mini]}}\n"
    )
    assert loaded.addresses[8:] == ["polish/epochs=1", "polish/epochs=3"]


def test_a_condition_may_name_a_setting_that_is_no_axis(project: Project) -> None:
    """It is compared with the parent's value."""
    loaded = project.experiments(
        "triage: {epochs: 3, matrix: {seed: [1, 2]}}\npolish: {base_model: {from: triage, where: {epochs: 3, seed: 2}}}"
    )
    assert loaded.addresses == ["triage/seed=1", "triage/seed=2", "polish"]


def test_a_base_model_axis_may_mix_models_and_chains(project: Project) -> None:
    """A chain is called after its experiment in the address."""
    loaded = project.experiments("triage: {seed: 1}\npolish: {matrix: {base_model: [sandbox-small, {from: triage}]}}")
    assert [(job.address, job.base_model, job.parent) for job in loaded.jobs[1:]] == [
        ("polish/base_model=sandbox-small", "sandbox-small", None),
        ("polish/base_model=triage", "", "triage"),
    ]


def test_one_job_can_be_named_by_its_address(project: Project) -> None:
    """Instead of an experiment and a condition."""
    loaded = project.experiments("triage: {matrix: {seed: [1, 2]}}\npolish: {base_model: {from: triage/seed=2}}")
    assert loaded.jobs[-1].parent == "triage/seed=2"


def test_a_child_trains_on_its_parents_engine(project: Project) -> None:
    """A default engine does not move it; another account cannot train its model."""
    text = """
        engines: {hosted: {type: openai}, other: {type: openai, project: p}}
        experiments:
          triage: {engine: hosted, base_model: gpt-4.1}
          polish: {base_model: {from: triage}}
          moved: {base_model: {from: triage}, engine: other}
        """
    loaded = project.spec(text)
    assert [(job.address, job.engine) for job in loaded.jobs] == [("triage", "hosted"), ("polish", "hosted")]
    assert loaded.errors == ["other-scope: the model of `triage` is in `openai` and cannot be trained in `openai/p`"]


def test_experiments_may_stand_in_any_order(project: Project) -> None:
    """Jobs keep the declared order, children before parents if written so."""
    loaded = project.experiments("polish: {base_model: {from: triage}}\ntriage: {seed: 1}")
    assert loaded.addresses == ["polish", "triage"]


def test_a_circle_is_spelled_out(project: Project) -> None:
    """Through `from` and `depends_on` alike."""
    loaded = project.experiments("a: {base_model: {from: b}}\nb: {base_model: {from: c}}\nc: {depends_on: a}")
    assert "dependency-cycle: experiments depend on each other: `a` -> `b` -> `c` -> `a`" in loaded.errors


def test_no_match_is_an_error_that_names_the_axes(project: Project) -> None:
    """An unknown axis is told apart from a value that does not occur."""
    loaded = project.experiments(
        GRID
        + "polish: {base_model: {from: triage, where: {seed: 9}}}\nx: {base_model: {from: triage, where: {sed: 1}}}\ny: {base_model: {from: tri}}"
    )
    assert loaded.errors == [
        "no-parent: no job of `triage` matches",
        "unknown-axis: `sed` in `where` is not an axis of `triage`",
        "unknown-experiment: `tri` is not an experiment",
    ]
    assert loaded.only("no-parent").help == "its axes are `base_model`, `epochs`, `seed`"


def test_children_of_a_broken_parent_cause_no_further_errors(project: Project) -> None:
    """Only the cause is reported."""
    loaded = project.experiments("triage: {epochs: none}\npolish: {base_model: {from: triage}}")
    assert [one.code for one in loaded.problems if one.severity == "error"] == ["wrong-value"]


def test_dependencies_become_addresses(project: Project) -> None:
    """A whole experiment or one job can be waited for."""
    loaded = project.experiments("a: {matrix: {seed: [1, 2]}}\nb: {depends_on: a}\nc: {depends_on: [a/seed=2, b]}")
    assert [job.depends_on for job in loaded.jobs[2:]] == [("a/seed=1", "a/seed=2"), ("a/seed=2", "b")]
