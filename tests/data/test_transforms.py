"""Transforms in the spec: deterministic, streamed, part of the key, materialised only for upload."""

from __future__ import annotations

import hashlib
import itertools
import json

import pytest

from ftspec.data.digest import digest, materialise, open_rows
from ftspec.diagnostics import FtspecError, Place
from ftspec.experiment import DesiredDataset


def rows_of(dataset, folder, ref=None, **more):
    return [json.loads(line) for line in open_rows(dataset, ref or dataset.name, root=folder.root, **more)]


def questions(rows):
    return [next(one["content"] for one in row["messages"] if one["role"] == "user") for row in rows]


@pytest.fixture
def many(chat):
    return [chat(user=f"question {n}", assistant=f"answer {n}") for n in range(100)]


def test_transformed_rows_are_the_dataset(folder, many):
    """The key is that of the rows after transforms: a file with just these rows has the same key."""
    dataset = folder.dataset("data", *many, transforms=({"type": "sample", "n": 10}, {"type": "system_prompt", "text": "Be brief."}))
    facts, problems = digest(dataset, root=folder.root)
    plain = folder.dataset("plain", *rows_of(dataset, folder))
    assert problems == []
    assert digest(plain, root=folder.root)[0]["plain"].key == facts["data"].key
    path, key, rows, _ = materialise(dataset, "data", root=folder.root, into=folder.root / "up", expect=facts["data"].key)
    assert (hashlib.sha256(path.read_bytes()).hexdigest(), rows) == (key, 10)


@pytest.mark.parametrize(
    "transform",
    [
        {"type": "sample", "n": 7},
        {"type": "sample", "n": 500},
        {"type": "sample", "fraction": 0.5, "seed": 2},
        {"type": "sample", "first": 3},
        {"type": "dedupe"},
        {"type": "dedupe", "by": "prompt"},
        {"type": "strip_reasoning"},
        {"type": "keep_reasoning"},
        {"type": "drop", "fields": ["x"]},
        {"type": "system_prompt", "text": "x", "when": "missing"},
    ],
    ids=lambda one: " ".join(map(str, one.values())),
)
def test_a_transform_gives_the_same_rows_every_time(folder, many, transform):
    """Reading twice, through digest, rows or upload, gives the same bytes."""
    dataset = folder.dataset("data", *many, many[0], transforms=(transform,))
    facts, _ = digest(dataset, root=folder.root)
    lines = list(open_rows(dataset, "data", root=folder.root))
    assert hashlib.sha256(b"".join(lines)).hexdigest() == facts["data"].key
    assert len(lines) == facts["data"].rows


class TestSample:
    """`sample` keeps some rows, in their order."""

    def test_n_rows_are_drawn_in_order(self, folder, many):
        """So many rows as asked for, from all over the file, in the file's order."""
        found = questions(rows_of(folder.dataset("data", *many, transforms=({"type": "sample", "n": 20},)), folder))
        numbers = [int(text.split()[1]) for text in found]
        assert len(found) == 20
        assert numbers == sorted(numbers)
        assert numbers != list(range(20))

    def test_more_than_there_are_is_all(self, folder, many):
        """A sample larger than the dataset is the dataset."""
        assert len(rows_of(folder.dataset("data", *many, transforms=({"type": "sample", "n": 1000},)), folder)) == 100

    def test_most_of_a_sample_stays_when_rows_are_added(self, folder, many, chat):
        """Rows are drawn by hash, so a sample of a grown file shares most rows with the old one."""
        dataset = folder.dataset("data", *many, transforms=({"type": "sample", "n": 20},))
        before = set(questions(rows_of(dataset, folder)))
        grown = folder.dataset("data", *many, *[chat(user=f"new {n}") for n in range(10)], transforms=dataset.transforms)
        assert len(before & set(questions(rows_of(grown, folder)))) >= 15

    def test_a_fraction_is_about_that_much(self, folder, chat):
        """A fraction of a large file is near what it says; another seed draws others."""
        rows = [chat(user=f"q{n}") for n in range(2000)]
        one = rows_of(folder.dataset("data", *rows, transforms=({"type": "sample", "fraction": 0.25},)), folder)
        two = rows_of(folder.dataset("data", *rows, transforms=({"type": "sample", "fraction": 0.25, "seed": 1},)), folder)
        assert 430 < len(one) < 570
        assert questions(one) != questions(two)

    def test_the_first_rows(self, folder, many):
        """`first` takes the head of the file, as `plan --sample` does."""
        assert questions(rows_of(folder.dataset("data", *many, transforms=({"type": "sample", "first": 3},)), folder)) == [
            "question 0",
            "question 1",
            "question 2",
        ]

    def test_the_first_rows_of_each_part(self, folder, many):
        """With `per: part` no part is left empty, however few rows are wanted."""
        split = {"shares": {"train": 0.8, "test": 0.2}}
        dataset = folder.dataset("data", *many, split=split, transforms=({"type": "sample", "first": 2, "per": "part"},))
        whole = folder.dataset("data", split=split)
        for part in split["shares"]:
            assert questions(rows_of(dataset, folder, f"data.{part}")) == questions(rows_of(whole, folder, f"data.{part}"))[:2]


def test_dedupe_keeps_the_first_of_equal_rows(folder, chat):
    """Rows that differ in layout only are equal; `by: prompt` keeps one answer for each prompt."""
    rows = [chat(user="a", assistant="1"), chat(user="b", assistant="1"), chat(user="a", assistant="2")]
    lines = [*rows, json.dumps(rows[0], indent=None, separators=(",", ":"))]
    assert len(rows_of(folder.dataset("data", *lines, transforms=({"type": "dedupe"},)), folder)) == 3
    found = rows_of(folder.dataset("data", *lines, transforms=({"type": "dedupe", "by": "prompt"},)), folder)
    assert [row["messages"][-1]["content"] for row in found] == ["1", "1"]


class TestMix:
    """`mix` spreads rows of other datasets among the rows."""

    def mixed(self, folder, many, share, number=20, **more):
        other = folder.dataset(
            "other",
            *[{"messages": [{"role": "user", "content": f"other {n}"}, {"role": "assistant", "content": "x"}]} for n in range(number)],
        )
        dataset = folder.dataset("data", *many, transforms=({"type": "mix", "with": {"other": share}, **more},))
        return dataset, {"other": other, "data": dataset}

    def test_a_share_of_another_dataset_is_spread_evenly(self, folder, many):
        """A quarter: 25 rows of the other for 100 own, never two next to each other; 5 of 20 come twice."""
        dataset, datasets = self.mixed(folder, many, 0.25)
        found = questions(rows_of(dataset, folder, datasets=datasets))
        places = [n for n, text in enumerate(found) if text.startswith("other")]
        assert len(found) == 125
        assert len(places) == 25
        assert min(b - a for a, b in itertools.pairwise(places)) > 1
        assert len({text for text in found if text.startswith("other")}) == 20

    def test_a_small_share_is_sampled(self, folder, many):
        """Fewer rows than the other dataset has are drawn from all of it."""
        dataset, datasets = self.mixed(folder, many, 0.05)
        assert sum(text.startswith("other") for text in questions(rows_of(dataset, folder, datasets=datasets))) == 5

    def test_the_digest_knows_the_other_file(self, folder, many):
        """A change of the mixed-in dataset changes the key."""
        dataset, datasets = self.mixed(folder, many, 0.25)
        before = digest(dataset, root=folder.root, datasets=datasets)[0]["data"].key
        folder.write("other.jsonl", {"messages": [{"role": "user", "content": "else"}, {"role": "assistant", "content": "x"}]})
        assert digest(dataset, root=folder.root, datasets=datasets)[0]["data"].key != before

    def test_problems_of_mixed_in_rows_are_at_their_own_file(self, folder, many):
        """A bad row of the other dataset is reported where it is written."""
        dataset, datasets = self.mixed(folder, many, 0.25)
        folder.write("other.jsonl", *[{"messages": [{"role": "user", "content": "x"}]}] * 20)
        _, problems = digest(
            DesiredDataset(name="data", path="data.jsonl", format="chat", transforms=dataset.transforms),
            root=folder.root,
            datasets={**datasets, "other": DesiredDataset(name="other", path="other.jsonl", format="chat")},
        )
        assert [(one.code, one.at.path, one.count) for one in problems] == [("no-assistant", "other.jsonl", 25)]

    def test_a_part_can_be_mixed_in(self, folder, many, chat):
        """`other.train` brings only rows of that part."""
        other = folder.dataset("other", *[chat(user=f"other {n}") for n in range(60)], split={"shares": {"train": 0.5, "test": 0.5}})
        dataset = folder.dataset("data", *many, transforms=({"type": "mix", "with": {"other.train": 0.1}},))
        datasets = {"other": other, "data": dataset}
        train = set(questions(rows_of(other, folder, "other.train")))
        found = {text for text in questions(rows_of(dataset, folder, datasets=datasets)) if text.startswith("other")}
        assert found
        assert found <= train

    @pytest.mark.parametrize("name", ["missing", "data", "other.nothing"])
    def test_what_cannot_be_mixed_in_is_an_error(self, folder, many, name):
        """Unknown datasets, unknown parts and a dataset itself are refused by name."""
        _, datasets = self.mixed(folder, many, 0.25)
        dataset = folder.dataset("data", transforms=({"type": "mix", "with": {name: 0.1}},))
        _, [problem] = digest(dataset, root=folder.root, datasets={**datasets, "data": dataset})
        assert problem.code == "bad-transform"
        assert "mixes in" in problem.message

    def test_datasets_that_mix_in_each_other_are_refused(self, folder, many):
        """A circle of mixes ends with an error that shows it."""
        one = folder.dataset("one", *many, transforms=({"type": "mix", "with": {"two": 0.1}},))
        two = folder.dataset("two", *many, transforms=({"type": "mix", "with": {"one": 0.1}},))
        _, [problem] = digest(one, root=folder.root, datasets={"one": one, "two": two})
        assert problem.message.endswith("one > two > one")

    def test_another_format_is_refused(self, folder, many):
        """Preference rows do not go into a chat dataset."""
        other = folder.dataset("other", {"prompt": "a", "completion": "b"})
        dataset = folder.dataset("data", *many, transforms=({"type": "mix", "with": {"other": 0.1}},))
        _, [problem] = digest(dataset, root=folder.root, datasets={"other": other, "data": dataset})
        assert "completion" in problem.message


class TestReasoning:
    """Reasoning is stripped, or moved to where engines train on it."""

    def answers(self, folder, transform, *messages):
        rows = [{"messages": [{"role": "user", "content": "2+2?"}, {"role": "assistant", **message}]} for message in messages]
        return [row["messages"][-1] for row in rows_of(folder.dataset("data", *rows, transforms=({"type": transform},)), folder)]

    def test_strip(self, folder):
        """Members and a leading `<think>` block go; the answer stays."""
        found = self.answers(
            folder,
            "strip_reasoning",
            {"content": "4", "reasoning_content": "easy"},
            {"content": "<think>\neasy\n</think>\n\n4"},
            {"content": "4 <think>not at the start</think>"},
        )
        assert found == [{"role": "assistant", "content": "4"}] * 2 + [
            {"role": "assistant", "content": "4 <think>not at the start</think>"}
        ]

    def test_keep(self, folder):
        """A member becomes a `<think>` block of the content; one that is there already stays."""
        found = self.answers(
            folder, "keep_reasoning", {"content": "4", "reasoning": " easy "}, {"content": "<think>x</think>4"}, {"content": "4"}
        )
        assert [one["content"] for one in found] == ["<think>\neasy\n</think>\n\n4", "<think>x</think>4", "4"]
        assert all("reasoning" not in one for one in found)

    def test_rules_look_at_the_result(self, folder):
        """A member that a transform removes is no unknown member."""
        row = {"messages": [{"role": "user", "content": "2+2?"}, {"role": "assistant", "content": "4", "reasoning_content": "easy"}]}
        codes = [
            [one.code for one in digest(folder.dataset("data", row, transforms=steps), root=folder.root)[1]]
            for steps in ((), ({"type": "strip_reasoning"},), ({"type": "dedupe"}, {"type": "strip_reasoning"}))
        ]
        assert codes == [["unknown-message-key"], [], []]


class TestSystemPrompt:
    """One system prompt for all rows, from text or a file."""

    def prompts(self, rows):
        return [[one["content"] for one in row["messages"] if one["role"] == "system"] for row in rows]

    def data(self, folder, chat, **transform):
        old = {"messages": [{"role": "system", "content": "old"}, *chat()["messages"]]}
        return folder.dataset("data", chat(), old, transforms=({"type": "system_prompt", **transform},))

    def test_always_replaces_and_missing_fills(self, folder, chat):
        """`when: missing` leaves prompts that are there."""
        assert self.prompts(rows_of(self.data(folder, chat, text="new"), folder)) == [["new"], ["new"]]
        assert self.prompts(rows_of(self.data(folder, chat, text="new", when="missing"), folder)) == [["new"], ["old"]]

    def test_a_file_is_found_beside_the_spec_and_pinned_by_digest(self, folder, chat):
        """`file` is relative to the spec; with `sha256` another content is refused."""
        (folder.root / "specs").mkdir()
        (folder.root / "specs" / "prompt.txt").write_text("from a file\n")
        right = hashlib.sha256(b"from a file\n").hexdigest()
        data = self.data(folder, chat, file="prompt.txt", sha256=right)
        beside = DesiredDataset(name="data", path=data.path, transforms=data.transforms, at=Place(path="specs/a.yaml"))
        assert self.prompts(rows_of(beside, folder)) == [["from a file"], ["from a file"]]
        (folder.root / "specs" / "prompt.txt").write_text("another")
        _, [problem] = digest(beside, root=folder.root)
        assert (problem.code, "sha256" in problem.message) == ("bad-transform", True)
        with pytest.raises(FtspecError, match="sha256"):
            rows_of(beside, folder)

    @pytest.mark.parametrize(("content", "code"), [(None, "file-missing"), (b"", "empty-file"), (b"\xff", "not-utf8")])
    def test_a_bad_file_is_a_problem_of_the_dataset(self, folder, chat, content, code):
        """A prompt that is missing, empty or no text is reported like a bad dataset file."""
        if content is not None:
            (folder.root / "prompt.txt").write_bytes(content)
        _, [problem] = digest(self.data(folder, chat, file="prompt.txt"), root=folder.root)
        assert problem.code == code

    def test_rows_keep_their_part_when_the_prompt_changes(self, folder, many):
        """Rows are dealt before they are transformed."""
        shares = {"train": 0.5, "test": 0.5}
        homes = []
        for text in ("one", "two"):
            dataset = folder.dataset("data", *many, split={"shares": shares}, transforms=({"type": "system_prompt", "text": text},))
            homes.append({part: questions(rows_of(dataset, folder, f"data.{part}")) for part in shares})
        assert homes[0] == homes[1]


@pytest.mark.parametrize(
    "transform",
    [
        {"type": "shuffle"},
        {},
        {"type": "sample"},
        {"type": "sample", "n": 1, "fraction": 0.5},
        {"type": "sample", "n": 0},
        {"type": "sample", "n": 5, "per": "part"},
        {"type": "sample", "first": 5, "per": "row"},
        {"type": "sample", "n": True},
        {"type": "sample", "fraction": 1.5},
        {"type": "sample", "fraction": "half"},
        {"type": "dedupe", "by": "vibes"},
        {"type": "dedupe", "fields": ["x"]},
        {"type": "drop"},
        {"type": "drop", "fields": "x"},
        {"type": "system_prompt"},
        {"type": "system_prompt", "text": "a", "file": "b"},
        {"type": "system_prompt", "text": "a", "when": "never"},
        {"type": "mix"},
        {"type": "mix", "with": {"other": 0}},
        {"type": "mix", "with": ["other"]},
    ],
    ids=str,
)
def test_a_transform_that_makes_no_sense_is_an_error_with_its_place(folder, chat, transform):
    """Unknown kinds and options, missing or wrong values: one diagnostic at the dataset, before anything is read."""
    at = Place(path="ftspec.yaml", line=4)
    dataset = folder.dataset("data", chat(), transforms=(transform,), at=at)
    facts, [problem] = digest(dataset, root=folder.root)
    assert (facts, problem.code, problem.at) == ({}, "bad-transform", at)


def test_dropped_fields_are_gone(folder, chat):
    """`drop` removes top-level members, and then they are no unknown members."""
    dataset = folder.dataset("data", chat(customer=1, note="x"), transforms=({"type": "drop", "fields": ["customer", "note"]},))
    assert digest(dataset, root=folder.root)[1] == []
    assert set(rows_of(dataset, folder)[0]) == {"messages"}


@pytest.mark.parametrize("seed", ["1", "\ud800", 1.5, True, None, 10**400])
@pytest.mark.parametrize("one", [{"type": "sample", "n": 1}, {"type": "mix", "with": {"other": 0.5}}])
def test_a_seed_is_a_whole_number(folder, chat, one, seed):
    """What is drawn depends on the digits of the seed: `1` and `"1"` must not be two ways to write one key."""
    dataset = folder.dataset("data", chat(), transforms=({**one, "seed": seed},))
    _, [problem] = digest(dataset, root=folder.root)
    assert (problem.code, "needs a whole number as `seed`" in problem.message) == ("bad-transform", True)
