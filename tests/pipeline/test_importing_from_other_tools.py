"""Files of llmcomp and azd become records and specs; the spec gives exactly the keys that the records have."""

import hashlib
import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ftspec.actions import ForgetJob, KeepJob, LaunchJob
from ftspec.diagnostics import FtspecError
from ftspec.pipeline.importing.azd import translate
from ftspec.pipeline.importing.llmcomp import migrate, record
from ftspec.pipeline.importing.stub import Stub, StubDataset, StubJob, slug, told_apart, yaml
from ftspec.pipeline.planning import load, make_plan, state_of, want
from ftspec.pipeline.project import open_project
from ftspec.spec.references import template
from ftspec.spec.source import parse
from ftspec.spec.tree import plain

ROW = '{"messages": [{"role": "user", "content": "where is my parcel %d"}, {"role": "assistant", "content": "shipping"}]}\n'
SPEC = "specs/llmcomp.yaml"


class Folder:
    """A project with an llmcomp data folder."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.lines = []
        (root / "llmcomp_models").mkdir()
        self.rows("rows.jsonl", 12)

    def rows(self, name, count):
        """Write a dataset."""
        (self.root / name).write_text("".join(ROW % i for i in range(count)))

    def job(self, id_, *, file="rows.jsonl", **more):
        """Add a job that has succeeded, or change one."""
        md5 = hashlib.md5((self.root / file).read_bytes(), usedforsecurity=False).hexdigest()
        line = {
            "id": id_, "file_name": file, "base_model": "gpt-4.1-mini-2025-04-14", "suffix": "s", "file_id": f"file-{file}", "epochs": 3,
            "batch_size": 1, "learning_rate_multiplier": 1.8, "file_md5": md5, "organization_id": "org-a", "seed": 1, "status": "succeeded",
            "model": f"ft:m:org::{id_}",
        } | more  # fmt: skip
        self.lines = [one for one in self.lines if one["id"] != id_] + [{name: value for name, value in line.items() if value is not None}]
        (self.root / "llmcomp_models/jobs.jsonl").write_text("".join(json.dumps(one) + "\n" for one in self.lines))

    def files(self, *names):
        """Write `files.jsonl`."""
        lines = [
            {"name": name, "md5": hashlib.md5((self.root / name).read_bytes(), usedforsecurity=False).hexdigest(), "id": f"file-{name}"}
            for name in names
        ]
        (self.root / "llmcomp_models/files.jsonl").write_text("".join(json.dumps(one) + "\n" for one in lines))

    def project(self):
        return open_project(directory=self.root, need_spec=False)

    def migrate(self):
        return migrate(self.project(), self.root / "llmcomp_models")

    def record(self):
        return record(self.migrate())

    def save(self):
        """Save the generated spec."""
        (self.root / "specs").mkdir(exist_ok=True)
        (self.root / SPEC).write_text(self.migrate().stub.text(prefix="../"))

    def actions(self):
        """Return kind and address of what a plan would do."""
        return sorted(
            (type(one).__name__, one.record.address if isinstance(one, ForgetJob) else one.job.address)
            for one in make_plan(self.project()).plan.actions
            if isinstance(one, (KeepJob, LaunchJob, ForgetJob))
        )

    def records(self):
        return {one.address: one for one in state_of(self.project()).read()[0].jobs.values() if not one.forgotten}


@pytest.fixture
def folder(tmp_path):
    return Folder(tmp_path)


def test_the_generated_spec_plans_nothing_whenever_it_is_saved(folder):
    """Recorded before or after the spec is there: the keys are the same."""
    folder.job("a", seed=1)
    folder.job("b", seed=2)
    folder.job("c", base_model="gpt-4.1-2025-04-14", epochs=1, batch_size=2, suffix="other")
    folder.job("d", seed=2)
    before = folder.record()
    assert len(before.new) == 4
    folder.save()
    assert {kind for kind, _ in folder.actions()} == {"KeepJob"}
    assert folder.record().new == []
    assert sorted(one.last.engine_job_id for one in folder.records().values()) == ["a", "b", "c", "d"]


def test_an_upload_is_known_where_its_bytes_are_here(folder):
    """The file is not sent again; another file's id is not taken for it."""
    folder.job("a")
    folder.rows("gone.jsonl", 5)
    folder.files("rows.jsonl", "gone.jsonl")
    assert folder.record().files == 1
    folder.save()
    (folder.root / SPEC).write_text((folder.root / SPEC).read_text().replace("seed: 1", "seed: 9"))
    plan = make_plan(folder.project()).plan
    assert [type(action).__name__ for action in plan.actions] == ["LaunchJob"]
    [file] = state_of(folder.project()).read()[0].files.values()
    assert (file.file_id, file.status, file.digest) == (
        "file-rows.jsonl", "uploaded", hashlib.sha256((folder.root / "rows.jsonl").read_bytes()).hexdigest(),
    )  # fmt: skip


def test_a_job_that_ends_later_stays_the_same_job(folder):
    """What was `auto` has become a number: the record moves to the key that the spec has now, and nothing is bought."""
    running = {"batch_size": "auto", "learning_rate_multiplier": "auto", "seed": None, "status": "running", "model": None}
    folder.job("a", **running)
    folder.record()
    assert [one.status.value for one in folder.records().values()] == ["running"]
    folder.job("a")
    folder.record()
    folder.save()
    assert folder.actions() == [("KeepJob", "rows")]
    assert [one.model for one in folder.records().values()] == ["ft:m:org::a"]


def test_rows_that_come_back_give_a_job_its_place(folder):
    """A job without its rows is recorded all the same, and moves to its real key once they are there."""
    folder.job("a")
    (folder.root / "rows.jsonl").rename(folder.root / "away")
    lost = folder.migrate()
    assert [line.id for line in lost.lost] == ["a"]
    folder.record()
    assert [(one.model, one.preimage["train"][:4]) for one in folder.records().values()] == [("ft:m:org::a", "md5:")]
    (folder.root / "away").rename(folder.root / "rows.jsonl")
    folder.record()
    folder.save()
    assert folder.actions() == [("KeepJob", "rows")]


def test_a_record_that_the_spec_uses_is_never_given_up(folder):
    """A job that a person imported under another key stays there, or it would be bought again."""
    folder.job("a")
    folder.record()
    folder.save()
    [key] = [one.key for one in folder.records().values()]
    folder.job("a", epochs=7)
    assert folder.record().new == []
    assert [one.key for one in folder.records().values()] == [key]


def test_defaults_of_the_project_cannot_change_what_a_job_was(folder):
    """Validation is said to be none; other defaults that interfere are an error before anything is written."""
    folder.job("a", seed=None)
    head = "ftspec: 1\ndatasets: {mine: mine.jsonl}\nexperiments: {mine: {engine: sandbox, base_model: sandbox-nano, train: mine, validation: null, epochs: 1}}\n"
    folder.rows("mine.jsonl", 11)
    (folder.root / "ftspec.yaml").write_text(head + "defaults: {validation: mine}\n")
    [placed] = folder.migrate().placed
    assert "validation" not in placed.preimage
    (folder.root / "ftspec.yaml").write_text(head + "defaults: {seed: 3}\n")
    with pytest.raises(FtspecError, match="would be another job than a"):
        folder.record()
    assert folder.records() == {}


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("{", "line 1 is not a JSON object"),
        ('{"id": "x"}', "line 1 is not a job of llmcomp"),
        ("[" * 100_000, "line 1 is not a JSON object"),
        ('\n{"id": 3, "file_name": "a", "base_model": "b", "file_md5": "c"}', "line 2 is not a job of llmcomp"),
    ],
)
def test_lines_that_are_no_jobs_are_named(folder, text, why):
    """Nothing is recorded of a file that is not understood."""
    (folder.root / "llmcomp_models/jobs.jsonl").write_text(text)
    with pytest.raises(FtspecError, match=why):
        folder.record()


def test_names_from_elsewhere_reach_nothing_outside(folder, tmp_path_factory):
    """A training file outside of the project is not read, and odd suffixes and ids are only labels."""
    outside = tmp_path_factory.mktemp("outside") / "secret.jsonl"
    outside.write_text("".join(ROW % i for i in range(12)))
    folder.job("a\u202e::set-output", suffix='"}\n{x} # \u2028=cmd|', model="ft:x")
    folder.job("b", file=str(outside))
    migration = folder.migrate()
    assert [line.id for line in migration.lost] == ["b"]
    folder.record()
    folder.save()
    assert {kind for kind, _ in folder.actions()} == {"KeepJob", "ForgetJob"}


TEXT = st.text(max_size=20).filter(lambda text: not any(0xD800 <= ord(character) <= 0xDFFF for character in text))
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**20), 10**20) | st.floats(-1e9, 1e9) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=150)
@given(JSON)
def test_every_value_is_read_back_from_its_yaml_as_it_was(value):
    """One line of YAML, whatever is in the text; numbers keep their value."""
    text = yaml(value, braces=False)
    assert "\n" not in text
    tree, _, problems = parse(f"value: {text}\n".encode(), "x.yaml")
    assert problems == []
    assert plain(tree) == {"value": value}


@settings(max_examples=50)
@given(TEXT)
def test_text_with_braces_is_no_reference(text):
    """Text of jobs that exist is written so that a spec takes it literally."""
    tree, _, _ = parse(f"value: {yaml(text)}\n".encode(), "x.yaml")
    assert template(tree["value"]) == text


@settings(max_examples=30)
@given(
    st.lists(
        st.fixed_dictionaries(
            {"base_model": st.sampled_from(["sandbox-nano", "sandbox-mini"]), "epochs": st.integers(1, 3), "seed": st.integers(1, 3)},
            optional={"batch_size": st.sampled_from([1, 2]), "suffix": st.sampled_from(["a", "b-1", "{c}"])},
        ),
        min_size=1,
        max_size=8,
    )
)
def test_any_jobs_make_a_spec_with_one_job_each(tmp_path_factory, cells):
    """The addresses that the stub promises are those that the spec has, and every job keeps its settings."""
    root = tmp_path_factory.mktemp("stub")
    (root / "rows.jsonl").write_text("".join(ROW % i for i in range(12)))
    jobs = told_apart([StubJob(engine="sandbox", train="rows", settings=cell) for cell in cells])
    stub = Stub(jobs=jobs, datasets=[StubDataset(name="rows", path="rows.jsonl")])
    (root / "ftspec.yaml").write_text(stub.text())
    loaded = {job.address: job for job in load(open_project(directory=root)).spec.jobs}
    assert sorted(loaded) == sorted(stub.addresses())
    for job, address in zip(jobs, stub.addresses(), strict=True):
        found = loaded[address]
        assert (found.base_model, found.seed, found.suffix) == (
            job.settings["base_model"],
            job.settings["seed"],
            job.settings.get("suffix"),
        )
        assert found.hyperparameters.get("n_epochs") == job.settings["epochs"]
        assert found.hyperparameters.get("batch_size") == job.settings.get("batch_size")


def test_names_are_names():
    """Whatever a file was called, the dataset's name is one that a spec takes, and unique."""
    assert slug("My data (1)") == "My-data-1"
    assert slug("\u202e") == "jobs"
    assert slug("1st") == "x-1st"
    assert slug("a", taken=("a", "a-2")) == "a-3"


AZD = {
    "model": "gpt-4.1-mini-2025-04-14",
    "training_file": "local:rows.jsonl",
    "suffix": "s",
    "seed": 42,
    "method": {"type": "supervised", "supervised": {"hyperparameters": {"epochs": 3, "batch_size": 8}}},
}


def azd(root, **members):
    """Translate one job file."""
    (root / "rows.jsonl").write_text("".join(ROW % i for i in range(12)))
    (root / "job.yaml").write_text(json.dumps(AZD | members))
    return translate(open_project(directory=root, need_spec=False), [root / "job.yaml"])


def test_an_azd_job_has_the_key_of_a_spec_written_by_hand(tmp_path):
    """Epochs, options and the grader end up where the spec has them."""
    stub, notes = azd(tmp_path, extra_body={"trainingType": "globalStandard"})
    (tmp_path / "azd.yaml").write_text(stub.text())
    (tmp_path / "hand.yaml").write_text(
        "ftspec: 1\nengines: {foundry: {type: azure, base_url: 'https://my-resource.openai.azure.com/openai/v1'}}\n"
        "datasets: {r: rows.jsonl}\nexperiments: {mine: {engine: foundry, train: r, base_model: gpt-4.1-mini-2025-04-14, epochs: 3,"
        " batch_size: 8, seed: 42, engine_options: {trainingType: globalStandard}}}\n"
    )
    assert notes == []
    keys = [[one.key for one in want(load(open_project(directory=tmp_path, files=[name]))).jobs] for name in ("azd.yaml", "hand.yaml")]
    assert keys[0] == keys[1]


def test_what_azd_has_and_a_spec_has_not_is_said(tmp_path):
    """Nothing is left out silently, and a key in the file does not travel."""
    stub, notes = azd(
        tmp_path,
        surprise=1,
        integrations=[{"type": "wandb", "config": {"api_key": "sk-0123456789abcdef"}}],
        method={"type": "supervised", "supervised": {"hyperparameters": {"epochs": 1, "warmup": 2}}},
    )
    assert "sk-0123456789abcdef" not in stub.text()
    assert [note.partition(": ")[2] for note in notes] == [
        "`surprise` has no place in a spec and is left out",
        "1 hyperparameter has no place in a spec and is left out",
        "the engine type `azure` does not report to `wandb`: left out",
    ]


@pytest.mark.parametrize(
    ("members", "why"),
    [
        ({"model": None}, "it needs `model`"),
        ({"training_file": 3}, "it needs `training_file`"),
        ({"method": {"type": "magic"}}, "has the method `magic`"),
        ({"training_file": "local:../../etc/passwd"}, "is outside the project's root"),
    ],
)
def test_azd_files_that_cannot_be_taken_over_are_refused(tmp_path, members, why):
    """With the reason, and before anything is written."""
    with pytest.raises(FtspecError, match=why):
        azd(tmp_path, **members)
