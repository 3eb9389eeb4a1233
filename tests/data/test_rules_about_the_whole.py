"""What is said about a dataset as a whole, and about what an engine takes."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from ftspec.actions import DatasetFacts
from ftspec.data import uses
from ftspec.data.audit import audit, over_context
from ftspec.data.checks.base import Setting
from ftspec.data.limits import limits, setting_for
from ftspec.data.onepass import facts_of
from ftspec.data.stats import histogram, percentile, statistics_of
from ftspec.diagnostics import Severity
from ftspec.experiment import DesiredDataset, DesiredEval, DesiredJob, EngineEntry, Spec
from ftspec.profile import MethodProfile, Profile


def found(folder, dataset, **more):
    passed, problems = audit(dataset, folder.place(), **more)
    return passed, {one.code: one for one in problems}


def labels(chat, **counts):
    return [chat(user=f"{label} {n}", assistant=label) for label, times in counts.items() for n in range(times)]


def with_system(row, text="Be brief."):
    return {**row, "messages": [{"role": "system", "content": text}, *row["messages"]]}


def with_image(n):
    image = {"type": "image_url", "image_url": {"url": "data:image/jpeg;base64,/9j/4AAQ"}}
    return {"messages": [{"role": "user", "content": [{"type": "text", "text": str(n)}, image]}, {"role": "assistant", "content": "x"}]}


def test_repeated_rows_are_counted_at_their_lines(folder, chat):
    """The first of equal rows is fine; the others are told with their lines, whatever their layout."""
    dataset = folder.dataset(
        "data",
        chat(),
        chat(user="b"),
        chat(),
        '{"messages":[{"content":"How are you?","role":"user"},{"role":"assistant","content":"Fine."}]}',
    )
    _, problems = found(folder, dataset)
    assert (problems["duplicate-row"].count, [place.line for place in problems["duplicate-row"].places]) == (2, [3, 4])
    assert "ambiguous-prompt" not in problems


def test_equal_answers_to_one_prompt_are_repeated_and_not_ambiguous(folder, chat):
    """Rows that differ in an id only are the same to the model; a prompt has several answers only where answers differ."""
    dataset = folder.dataset("data", chat(id=1), chat(id=2), chat(user="b", id=3), chat(user="b", assistant="Bad.", id=4), chat(id=5))
    _, problems = found(folder, dataset)
    repeated, several = problems["duplicate-row"], problems["ambiguous-prompt"]
    assert (repeated.count, [place.line for place in repeated.places]) == (2, [2, 5])
    assert repeated.message == "prompt and answer of a row of `data` are there already, beside other members"
    assert "drop" in repeated.help
    assert (several.count, several.at.line) == (1, 4)


def calling(name, *declared):
    call = {"id": "call_1", "type": "function", "function": {"name": name, "arguments": "{}"}}
    tools = [{"type": "function", "function": {"name": one}} for one in declared]
    return [{"role": "user", "content": f"use {name}"}], [{"role": "assistant", "tool_calls": [call]}], tools


def test_tools_that_no_row_calls_are_told_together(folder):
    """One sentence names the first of them, whatever rows declare them."""
    rows = [{"messages": asked + said, "tools": tools} for asked, said, tools in [calling("a", "a", *"bcdefg"), calling("b", "a", "b")]]
    _, problems = found(folder, folder.dataset("data", *rows))
    assert problems["unused-tool"].message == "5 tools are declared and never called in `data`: `c`, `d`, `e`, `f`, `g`"
    _, problems = found(folder, folder.dataset("data", rows[0]))
    assert problems["unused-tool"].message == "6 tools are declared and never called in `data`: `b`, `c`, `d`, `e`, `f` and 1 more"
    _, problems = found(folder, folder.dataset("data", rows[1]))
    assert problems["unused-tool"].message == "1 tool is declared and never called in `data`: `a`"


def test_calls_in_preferences_are_calls_and_tasks_need_none(folder):
    """The outputs of a preference row are where its calls are; what a model calls in reinforcement is its own affair."""
    asked, said, tools = calling("a", "a")
    other = calling("b", "b")[1]
    rows = [
        {"input": {"messages": asked, "tools": [*tools, *calling("b", "b")[2]]}, "preferred_output": said, "non_preferred_output": other}
    ]
    assert "unused-tool" not in found(folder, folder.dataset("pairs", *rows))[1]
    assert "unused-tool" not in found(folder, folder.dataset("tasks", {"messages": asked, "tools": tools, "answer": "4"}))[1]


def test_where_tools_are_too_many_to_count_none_is_called_unused(folder):
    """Only the first 500 names are remembered, so a call may have been forgotten."""
    rows = [{"messages": asked + said, "tools": tools} for asked, said, tools in (calling(f"f{n}", f"f{n}", "spare") for n in range(600))]
    _, problems = found(folder, folder.dataset("data", *rows))
    assert "unused-tool" not in problems
    assert problems["mixed-tools"].message == "the rows of `data` declare at least 500 different sets of tools"


def test_a_bias_in_length_is_said_by_its_side(folder):
    """Longer or shorter; and fewer than 50 rows say nothing."""

    def pairs(number, preferred, other):
        said = {name: [{"role": "assistant", "content": text}] for name, text in (("preferred", preferred), ("non_preferred", other))}
        asked = [{"input": {"messages": [{"role": "user", "content": f"q{n}"}]}} for n in range(number)]
        return [{**row, **{f"{name}_output": text for name, text in said.items()}} for row in asked]

    _, problems = found(folder, folder.dataset("data", *pairs(36, "long", "a"), *pairs(14, "a", "long")))
    assert problems["length-bias"].message == "the preferred answer is the longer one in 72% of the rows of `data`"
    _, problems = found(folder, folder.dataset("data", *pairs(50, "a", "long")))
    assert problems["length-bias"].message == "the preferred answer is the shorter one in 100% of the rows of `data`"
    assert "length-bias" not in found(folder, folder.dataset("data", *pairs(34, "long", "a"), *pairs(16, "a", "long")))[1]
    assert "length-bias" not in found(folder, folder.dataset("data", *pairs(49, "long", "a")))[1]


@pytest.mark.parametrize(("yes", "no", "skewed"), [(40, 10, True), (39, 11, False), (40, 9, False)])
def test_labels_are_skewed_from_four_fifths_of_fifty_rows(folder, chat, yes, no, skewed):
    """Fewer rows say little about what all of them are like."""
    assert ("label-skew" in found(folder, folder.dataset("data", *labels(chat, yes=yes, no=no)))[1]) == skewed


def test_labels_of_one_row_are_told_for_classification(folder, chat):
    """A class of one row is mostly a typing error; without the preset answers may be what they like."""
    dataset = folder.dataset("data", *labels(chat, yes=30, no=20, ye=1))
    told = found(folder, dataset, setting=Setting(labels=True))[1]["rare-label"]
    assert told.message == "1 of 3 labels of `data` appear in one row only"
    assert "rare-label" not in found(folder, dataset)[1]


def test_more_rows_with_images_than_the_engine_takes_are_told(folder):
    """Rows with images have a limit of their own."""
    dataset = folder.dataset("data", *[with_image(n) for n in range(3)])
    assert "too-many-image-rows" in found(folder, dataset, setting=Setting(max_image_rows=2))[1]
    assert "too-many-image-rows" not in found(folder, dataset, setting=Setting(max_image_rows=3))[1]


def test_estimated_tokens_are_said_to_be_estimated(folder, chat):
    """A note says that counts are estimates; exact counts need none."""
    dataset = folder.dataset("data", chat())
    assert "estimated-tokens" in found(folder, dataset, tokenizer="estimate")[1]
    assert "estimated-tokens" not in found(folder, dataset, tokenizer="words")[1]


ENGINE = Profile(
    name="engine",
    title="An engine",
    methods={"supervised": MethodProfile(hyperparameters={}, dataset_format="chat")},
    min_rows=10,
    max_file_bytes=20_000,
    data={"max_rows": 100, "roles": ["user", "assistant"], "max_images": 1, "max_image_bytes": 99},
)


@pytest.mark.parametrize(
    ("number", "use", "codes"),
    [
        (5, "train", {"too-few-rows"}),
        (5, "validation", set()),
        (20, "train", {"few-rows"}),
        (60, "train", set()),
        (120, "train", {"too-many-rows"}),
        (300, "train", {"too-many-rows", "file-too-large"}),
    ],
)
def test_what_an_engine_takes_is_checked(folder, chat, number, use, codes):
    """Rows and bytes are compared with the engine's limits; few rows are a warning."""
    dataset = folder.dataset("data", *[chat(user=f"q{n}") for n in range(number)])
    passed, _ = audit(dataset, folder.place())
    told = limits(facts_of(dataset, passed)["data"], ENGINE, use=use, wanted_format="chat")
    assert {one.code for one in told} == codes
    assert all(one.severity is (Severity.WARNING if one.code == "few-rows" else Severity.ERROR) for one in told)


def test_another_format_than_the_method_wants_is_an_error(folder, chat):
    """Chat rows for a preference method are refused before the upload."""
    dataset = folder.dataset("data", *[chat(user=f"q{n}") for n in range(60)])
    passed, _ = audit(dataset, folder.place())
    assert [one.code for one in limits(facts_of(dataset, passed)["data"], None, wanted_format="preference")] == ["wrong-format"]


def test_rules_know_the_engine(folder, chat):
    """Roles and images that the engine does not take are errors for that engine only."""
    dataset = folder.dataset("data", with_system(chat()))
    assert "unknown-role" in found(folder, dataset, setting=setting_for(ENGINE))[1]
    assert "unknown-role" not in found(folder, dataset)[1]


def test_rows_over_the_context_are_counted_with_what_is_lost(folder, chat):
    """Rows that a model's training context cuts off are told with the share of tokens that goes."""
    dataset = folder.dataset("data", chat(user="word " * 100, assistant="x"), chat(user="word", assistant="x"))
    passed, _ = audit(dataset, folder.place(), tokenizer="words")
    [told] = over_context(dataset, passed, "model", 50)
    assert told.code == "over-context"
    assert told.message.startswith("1 row of `data` is longer than the 50 tokens")
    assert over_context(dataset, passed, "model", 5000) == []


def test_statistics_say_what_a_dataset_is_made_of(folder, chat):
    """Rows, tokens by role, lengths and labels, for the whole and for each part."""
    rows = [with_system(row) for row in labels(chat, billing=30, refund=20)]
    dataset = folder.dataset("data", *rows, split={"shares": {"train": 0.8, "test": 0.2}})
    passed, _ = audit(dataset, folder.place(), tokenizer="words")
    statistics = statistics_of(dataset, passed, contexts=(5, 6))
    whole = statistics["data"]
    assert (whole.rows, whole.tokens, whole.loss_tokens, whole.with_system) == (50, 50 * 6, 50, 50)
    assert whole.roles == {"system": 150, "user": 100, "assistant": 50}
    assert whole.labels == {"billing": 30, "refund": 20}
    assert whole.lengths == {"min": 6, "p5": 6, "median": 6, "p95": 6, "max": 6, "mean": 6.0}
    assert whole.over_context == {5: (50, 50), 6: (0, 0)}
    assert statistics["data.train"].rows + statistics["data.test"].rows == 50
    assert whole.as_json()["over_context"][0] == {"context": 5, "rows": 50, "tokens_lost": 50}


def test_free_answers_are_no_labels(folder, chat):
    """Answers that differ from row to row, or are long, are not listed as labels."""
    varied = folder.dataset("data", *[chat(user=f"q{n}", assistant=f"a{n}") for n in range(50)])
    passed, _ = audit(varied, folder.place())
    assert statistics_of(varied, passed)["data"].labels == {}


def test_a_histogram_has_round_steps_that_hold_all_rows():
    """Every length falls in one step, and steps are 1, 2 or 5 times a power of ten wide."""
    lengths = {3: 1, 17: 4, 480: 2, 1999: 1}
    steps = histogram(lengths)
    assert sum(rows for _, _, rows in steps) == 8
    assert {high - low + 1 for low, high, _ in steps} == {200}
    assert steps[0][0] <= 3
    assert steps[-1][1] >= 1999
    assert histogram({}) == ()
    assert histogram({7: 3}) == ((7, 7, 3),)


@pytest.mark.parametrize(("share", "value"), [(0.0, 1), (0.5, 2), (0.75, 3), (0.9, 10), (1.0, 10)])
def test_percentiles_are_lengths_that_occur(share, value):
    """A percentile is the smallest length that so many rows do not exceed."""
    assert percentile({1: 1, 2: 1, 3: 1, 10: 1}, share) == value


@given(st.data())
@settings(max_examples=100, deadline=None)
def test_one_job_for_each_use_of_datasets_tells_as_much_as_all_jobs(data):
    """A grid of thousands is asked by what its jobs do with datasets, and every answer stays the same."""
    refs = ["a", "a.train", "b", "b.test"]
    values = {
        "engine": ["one", "two", "lost"],
        "train": refs,
        "validation": [None, *refs],
        "method": ["supervised", "dpo"],
        "preset": [None, "classification"],
        "grader": [None, {"input": "{{item.x}}"}, {"input": "{{item.y.z}}"}, {"input": "{{item.x}}"}],
        "seed": [1, 2],
    }
    jobs = [DesiredJob(address="", experiment="e", engine="one", scope="s", base_model="m", train="a")]
    for name in data.draw(st.lists(st.sampled_from(list(values)), max_size=12)):  # each differs from another in one thing
        jobs.append(replace(data.draw(st.sampled_from(jobs)), **{name: data.draw(st.sampled_from(values[name]))}))
    engines = {"one": EngineEntry(name="one", type="engine", scope="s"), "two": EngineEntry(name="two", type="other", scope="s")}
    known = {
        "engine": ENGINE,
        "other": Profile(
            name="other",
            title="Other",
            methods={
                "supervised": MethodProfile(hyperparameters={}, dataset_format="chat"),
                "dpo": MethodProfile(hyperparameters={}, dataset_format="preference"),
            },
            defaults={"tokenizer": "words"},
            min_rows=3,
        ),
    }
    spec = Spec(root="", engines=engines, datasets={name: DesiredDataset(name=name, path=name) for name in "ab"}, jobs=tuple(jobs))
    facts = {ref: DatasetFacts(ref=ref, key=ref, rows=2, bytes=9, format="chat") for ref in refs}
    short = uses.told_apart(spec)
    assert uses.spec_limits(short, facts, known) == uses.spec_limits(spec, facts, known)
    for name in "ab":
        assert uses.setting_of(short, name, known) == uses.setting_of(spec, name, known)
        assert uses.tokenizer_of(short, name, known) == uses.tokenizer_of(spec, name, known)


def test_a_grid_is_asked_once_for_each_use_of_datasets():
    """Jobs that differ in other things only count as one."""
    jobs = [
        DesiredJob(address=f"e/{seed}", experiment="e", engine="one", scope="s", base_model="m", train="a", seed=seed) for seed in range(9)
    ]
    assert [job.seed for job in uses.told_apart(Spec(root="", jobs=tuple(jobs))).jobs] == [0]


def test_what_a_jobs_grader_reads_must_be_in_its_rows():
    """The engine fills the template from the row alone, in training and validation; an eval makes its `reference` from the answer."""
    grader = {"type": "string_check", "input": "{{sample.output_text}}", "reference": "{{ item.reference }} {{item.unit.name}}"}
    job = DesiredJob(address="e", experiment="e", engine="one", scope="s", base_model="m", train="a", validation="b.test", grader=grader)
    exam = DesiredEval(name="exam", dataset="c", graders={"g": grader})
    spec = Spec(root="", jobs=(job,), evals={"exam": exam})
    for name in "ab":
        assert uses.setting_of(spec, name, {}).item_keys == ("reference", "unit.name")
    assert uses.setting_of(spec, "c", {}).item_keys == ()
    assert uses.setting_of(spec, "c", {}).columns == {"reference", "unit"}
