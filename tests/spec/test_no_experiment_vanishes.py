"""An experiment that has no jobs because something in it is wrong says so, once."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.spec.conftest import Project

EVAL = "evals: {holdout: {dataset: data.validation, graders: {exact: {type: string_check, operation: eq, input: a, reference: b}}}}\n"
WRONG = [
    "name: 'x{nothing}'",
    "suffix: 'x{nothing}'",
    "tags: {owner: '{nothing}'}",
    "seed: '{nothing}'",
    "engine: '{nothing}'",
    "base_model: '{nothing}'",
    "train: '{nothing}'",
    "validation: '{nothing}'",
    "epochs: '{nothing}'",
    "lora: {rank: '{nothing}'}",
    "engine_options: {a: '{nothing}'}",
    "depends_on: ['{nothing}']",
    "integrations: [{type: wandb, wandb: {project: '{nothing}'}}]",
]


@pytest.mark.parametrize("setting", WRONG)
@pytest.mark.parametrize("matrix", ["", "matrix: {replicate: [1, 2]}"])
def test_a_reference_that_leads_nowhere_is_an_error_in_every_setting(project: Project, setting: str, matrix: str) -> None:
    """No job is left out without a word, whichever setting its value is missing in."""
    loaded = project.experiments(f"tone:\n  {setting}\n  {matrix}")
    assert loaded.jobs == ()
    assert [error.split(":")[0] for error in loaded.errors] == ["unknown-reference"]


@pytest.mark.parametrize("setting", ["train: nothing.train", "engine: nothing", "name: 'x{nothing}'"])
def test_an_experiment_with_errors_still_asks_for_its_evals(project: Project, setting: str) -> None:
    """A dataset, an eval or a variable that only a wrong experiment uses is not called unused."""
    loaded = project.spec(f"{EVAL}vars: {{a: 1}}\nexperiments: {{tone: {{{setting}, evals: [holdout], tags: {{a: '{{a}}'}}}}}}")
    assert len(loaded.errors) == 1
    assert loaded.warnings == []
