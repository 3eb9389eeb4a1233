"""A matrix becomes cells: product, zip, exclude, include, overrides, in this order."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.spec.conftest import Project


def test_axes_multiply_in_declared_order(project: Project) -> None:
    """The first axis varies slowest, and addresses list axes as declared."""
    loaded = project.experiments("""
        tone:
          matrix:
            seed: [2, 1]
            epochs: [1, 3]
        """)
    assert loaded.addresses == ["tone/seed=2,epochs=1", "tone/seed=2,epochs=3", "tone/seed=1,epochs=1", "tone/seed=1,epochs=3"]
    assert [(job.seed, job.hyperparameters) for job in loaded.jobs[:2]] == [(2, {"n_epochs": 1}), (2, {"n_epochs": 3})]
    assert loaded.jobs[0].axes == {"seed": 2, "epochs": 1}


def test_without_a_matrix_there_is_one_job_named_after_the_experiment(project: Project) -> None:
    """Its address is the experiment's name and it has no axes."""
    loaded = project.experiments("tone: {epochs: 2}")
    assert loaded.addresses == ["tone"]
    assert loaded.jobs[0].axes == {}


def test_zipped_axes_advance_together(project: Project) -> None:
    """Lists of one length give pairs, multiplied with the other axes."""
    loaded = project.experiments("""
        tone:
          matrix:
            seed: [1, 2]
            zip: {epochs: [1, 3], batch_size: [4, 8]}
        """)
    assert loaded.addresses == [
        "tone/seed=1,epochs=1,batch_size=4",
        "tone/seed=1,epochs=3,batch_size=8",
        "tone/seed=2,epochs=1,batch_size=4",
        "tone/seed=2,epochs=3,batch_size=8",
    ]


def test_several_zips_multiply(project: Project) -> None:
    """A list of groups is a product of groups."""
    loaded = project.experiments("""
        tone:
          matrix:
            zip:
              - {epochs: [1, 3], batch_size: [4, 8]}
              - {seed: [1, 2], replicate: [a, b]}
        """)
    assert len(loaded.jobs) == 4
    assert loaded.addresses[1] == "tone/epochs=1,batch_size=4,seed=2,replicate=b"


def test_lists_of_different_lengths_cannot_be_zipped(project: Project) -> None:
    """The group is refused with its place."""
    loaded = project.experiments("tone: {matrix: {zip: {epochs: [1, 3], seed: [1]}}}")
    assert loaded.errors == ["wrong-value: the lists of `zip` must be equally long"]


def test_excluded_cells_are_left_out(project: Project) -> None:
    """A row matches by all its values; a list means any of them."""
    loaded = project.experiments("""
        tone:
          matrix:
            seed: [1, 2, 3]
            epochs: [1, 3]
            exclude:
              - {seed: 1, epochs: 3}
              - {seed: [2, 3], epochs: 1}
        """)
    assert loaded.addresses == ["tone/seed=1,epochs=1", "tone/seed=2,epochs=3", "tone/seed=3,epochs=3"]


def test_values_match_by_meaning_and_type(project: Project) -> None:
    """`1.0` equals `1`, but `true` does not, and neither does text."""
    loaded = project.experiments("""
        tone:
          suffix: "x-{flag}"
          matrix:
            flag: [1, true, "1"]
            exclude: [{flag: 1.0}]
        """)
    assert [job.axes["flag"] for job in loaded.jobs] == [True, "1"]


def test_an_exclude_that_matches_nothing_is_a_warning(project: Project) -> None:
    """A typing error in it would otherwise buy what was meant to be left out."""
    loaded = project.experiments("tone: {matrix: {seed: [1, 2], exclude: [{seed: 9}]}}")
    assert "matches-nothing: this `exclude` matches no cell" in loaded.warnings
    assert str(loaded.only("matches-nothing").at) == "ftspec.yaml:7:43"


def test_included_rows_append_whole_cells(project: Project) -> None:
    """They come last, and may bring settings that the other cells do not have."""
    loaded = project.experiments("""
        tone:
          matrix:
            seed: [1]
            epochs: [1]
            include: [{seed: 7, epochs: 10, batch_size: 2}]
        """)
    assert loaded.addresses == ["tone/seed=1,epochs=1", "tone/seed=7,epochs=10,batch_size=2"]
    assert [job.hyperparameters for job in loaded.jobs] == [{"n_epochs": 1}, {"n_epochs": 10, "batch_size": 2}]


def test_a_matrix_may_consist_of_rows_only(project: Project) -> None:
    """`include` alone lists the cells."""
    loaded = project.experiments("tone: {matrix: {include: [{seed: 1, epochs: 2}, {seed: 2, epochs: 4}]}}")
    assert loaded.addresses == ["tone/seed=1,epochs=2", "tone/seed=2,epochs=4"]


def test_an_included_row_must_give_every_axis_that_has_no_other_value(project: Project) -> None:
    """A missing axis is an error unless the experiment sets it."""
    loaded = project.experiments("""
        tone:
          batch_size: 4
          matrix: {seed: [1], epochs: [1], batch_size: [8], include: [{epochs: 2}, {seed: 3, epochs: 2}]}
        """)
    assert loaded.errors == ["missing-axis: an included cell must give every axis: `seed` is missing"]
    assert loaded.addresses[-1] == "tone/seed=3,epochs=2"
    assert loaded.jobs[-1].hyperparameters == {"batch_size": 4, "n_epochs": 2}


def test_overrides_set_settings_of_matching_cells(project: Project) -> None:
    """They come last, and do not change addresses."""
    loaded = project.experiments("""
        tone:
          batch_size: 4
          matrix:
            seed: [1, 2]
            epochs: [1, 3]
            overrides:
              - where: {epochs: 3}
                set: {batch_size: 8, method.hyperparameters.learning_rate_multiplier: 0.5}
              - where: {epochs: 3, seed: [2]}
                set: {batch_size: 16}
        """)
    assert [job.hyperparameters.get("batch_size") for job in loaded.jobs] == [4, 8, 4, 16]
    assert loaded.job("tone/seed=2,epochs=3").hyperparameters["learning_rate_multiplier"] == 0.5
    assert loaded.addresses[0] == "tone/seed=1,epochs=1"


def test_an_override_cannot_set_an_axis(project: Project) -> None:
    """The address would lie."""
    loaded = project.experiments("tone: {matrix: {seed: [1, 2], overrides: [{where: {seed: 1}, set: {seed: 3}}]}}")
    assert loaded.errors == ["override-of-axis: `seed` is an axis, so its value is part of the address"]


def test_an_override_that_matches_nothing_is_a_warning(project: Project) -> None:
    """A typing error in `where` would otherwise go unnoticed."""
    loaded = project.experiments("tone: {matrix: {seed: [1, 2], overrides: [{where: {seed: 3}, set: {epochs: 2}}]}}")
    assert "matches-nothing: this override matches no cell" in loaded.warnings


def test_an_axis_may_hold_whole_mappings(project: Project) -> None:
    """Each value is merged over the experiment's own; null clears."""
    loaded = project.experiments("""
        tone:
          tags: {team: a}
          matrix:
            tags: [{owner: ann}, {owner: bob, team: b}]
        """)
    assert [job.tags for job in loaded.jobs] == [{"team": "a", "owner": "ann"}, {"team": "b", "owner": "bob"}]
    assert loaded.addresses[0] == 'tone/tags={"owner":"ann"}'


def test_a_method_axis_gives_each_method_what_belongs_to_it(project: Project) -> None:
    """Hyperparameters of another method do not follow."""
    loaded = project.experiments("""
        tone:
          train: pairs
          validation: null
          method: {hyperparameters: {beta: 0.2, n_epochs: 2}}
          matrix: {method: [supervised, dpo]}
        """)
    assert [(job.method, job.hyperparameters) for job in loaded.jobs] == [
        ("supervised", {"n_epochs": 2}),
        ("dpo", {"beta": 0.2, "n_epochs": 2}),
    ]


def test_dotted_axes_reach_into_mappings(project: Project) -> None:
    """`method.hyperparameters.beta` and `tags.x` are settings like others."""
    loaded = project.experiments("""
        tone:
          train: pairs
          validation: null
          method: dpo
          matrix: {method.hyperparameters.beta: [0.1, 0.5], tags.x: [1]}
        """)
    assert [(job.hyperparameters, job.tags) for job in loaded.jobs] == [({"beta": 0.1}, {"x": "1"}), ({"beta": 0.5}, {"x": "1"})]
    assert loaded.addresses[0] == "tone/method.hyperparameters.beta=0.1,tags.x=1"


def test_an_axis_that_changes_nothing_is_refused(project: Project) -> None:
    """It is neither a setting nor referred to; the nearest setting is named."""
    loaded = project.experiments("tone: {matrix: {epoch: [1, 2], beta: [0.1]}}")
    assert loaded.errors == [
        "unknown-axis: the axis `epoch` is not a setting of a job, and nothing refers to `{epoch}`",
        "unknown-axis: the axis `beta` is not a setting of a job, and nothing refers to `{beta}`",
    ]
    assert [one.help for one in loaded.problems if one.code == "unknown-axis"] == [
        "did you mean `epochs`?",
        "did you mean `method.hyperparameters.beta`?",
    ]


def test_a_value_that_is_listed_twice_is_refused_with_both_places(project: Project) -> None:
    """Two cells would have one address."""
    loaded = project.experiments("tone: {matrix: {seed: [1, 2, 1]}}")
    problem = loaded.only("duplicate-axis-value")
    assert (str(problem.at), str(problem.also[0][1])) == ("ftspec.yaml:7:32", "ftspec.yaml:7:26")


def test_two_jobs_of_one_address_are_refused_with_both_places(project: Project) -> None:
    """An included cell that exists already, or a name template that does not tell cells apart."""
    loaded = project.experiments("tone: {matrix: {seed: [1, 2], include: [{seed: 2}]}}")
    assert loaded.errors == ["duplicate-address: two jobs have the address `tone/seed=2`"]
    loaded = project.experiments('tone: {name: "x", matrix: {seed: [1, 2, 3]}}')
    problem = loaded.only("duplicate-address")
    assert problem.message == "two jobs have the address `tone/x`, and 1 more like it"
    assert "replicate" in (problem.help or "")
    assert problem.also


def test_a_grid_that_is_too_large_is_refused_before_it_is_built(project: Project) -> None:
    """The number of cells is named."""
    seeds = ", ".join(map(str, range(400)))
    loaded = project.experiments(f"tone: {{suffix: '{{a}}', matrix: {{seed: [{seeds}], a: [{seeds}]}}}}")
    assert "too-many-cells: 160,000 cells are more than 100,000" in loaded.errors


def test_a_place_is_the_line_of_the_value_in_the_matrix(project: Project) -> None:
    """Each cell knows where each of its values is written, whichever part of the matrix gave it."""
    loaded = project.experiments("""
        tone:
          batch_size: 4
          matrix:
            seed:
              - 1
              - 2
            zip:
              epochs: [1, 3]
              learning_rate_multiplier: [1, 2]
            include:
              - {seed: 9, epochs: 9, learning_rate_multiplier: 9}
            overrides:
              - where: {seed: 2}
                set: {batch_size: 8}
        """)

    def line(address: str, setting: str) -> int:
        job = loaded.job(address)
        place = job.origin.place(setting, job.axes)
        assert place is not None
        return place.line

    second = "tone/seed=2,epochs=3,learning_rate_multiplier=2"
    assert loaded.addresses[3] == second
    assert line(second, "seed") == 13
    assert line(second, "epochs") == line(second, "hyperparameters.n_epochs") == 15
    assert line(second, "batch_size") == 21
    assert line(loaded.addresses[0], "batch_size") == 9
    assert line(loaded.addresses[-1], "hyperparameters.n_epochs") == 18
    assert line(second, "base_model") == 5
    assert line(second, "suffix") == 8
