"""Jobs that were bought elsewhere become the jobs of addresses; what is not certain is left to a person."""

import json
import time
from pathlib import Path

import pytest

from ftspec.actions import KeepJob, LaunchJob
from ftspec.cli import _console, group
from ftspec.diagnostics import FtspecError
from ftspec.executor import facts
from ftspec.fingerprint import job_preimage
from ftspec.pipeline.importing.describe import describe
from ftspec.pipeline.importing.one import NotThisJob, absent, by_id, search
from ftspec.pipeline.importing.remote import unknown_jobs
from ftspec.pipeline.planning import load, make_plan, state_of, want
from ftspec.pipeline.project import open_project
from ftspec.record import JobStatus
from ftspec.state.base import JobFact
from ftspec.testing.faulty import Fault, FaultyServer
from ftspec.testing.tinyapi import TinyApi

ROW = {"messages": [{"role": "user", "content": "where is my parcel"}, {"role": "assistant", "content": "shipping"}]}
ROWS = [json.loads(json.dumps(ROW).replace("parcel", f"parcel {i}")) for i in range(12)]
AT = "2026-11-20T12:00:00.000Z"


def spread(rows):
    """Return rows as somebody else would have uploaded them: other key order, spaces, CRLF."""
    return "".join(json.dumps(dict(reversed(row.items())), indent=None, separators=(" , ", " : ")) + "\r\n" for row in rows).encode()


class Elsewhere:
    """A project whose engine already has jobs that somebody bought by hand."""

    def __init__(self, root: Path, server: FaultyServer) -> None:
        self.root, self.server = root, server
        (root / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in ROWS))
        self.spec()

    def spec(self, *, seeds=(1, 2), **settings):
        """Write the spec."""
        tone = {"engine": "lab", "base_model": "base-small", "train": "rows", "epochs": 2, "matrix": {"seed": list(seeds)}} | settings
        engine = {"type": "openai-compatible", "base_url": self.server.base_url, "scope": "lab"}
        members = {
            "ftspec": 1,
            "project": "demo",
            "engines": {"lab": engine},
            "datasets": {"rows": "rows.jsonl"},
            "experiments": {"tone": tone},
        }
        (self.root / "ftspec.yaml").write_text(json.dumps(members))

    @property
    def project(self):
        return open_project(directory=self.root)

    def file(self, content=None):
        """Upload a file by hand."""
        return self.server.api._store("mine.jsonl", spread(ROWS) if content is None else content, "fine-tune")["id"]

    def job(self, file=None, *, seed=1, epochs=2, model="base-small", **more):
        """Buy a job by hand; it has ended."""
        method = {"type": "supervised", "supervised": {"hyperparameters": {"n_epochs": epochs}}}
        made = self.server.api.make_job({"model": model, "training_file": file or self.file(), "seed": seed, "method": method} | more)
        for _ in range(3):
            self.server.api.advance(made["id"])
        return made["id"]

    def doubt(self, address="tone/seed=1"):
        """Leave a launch in doubt, as a crash would; return its key."""
        loaded = load(self.project)
        one = next(one for one in want(loaded).jobs if one.job.address == address)
        image = job_preimage(one.job, train=one.train_key, validation=None, parent=None)
        values = {
            "status": "intent",
            "intent_at": AT,
            "requested": {"model": "base-small", "training_file": "file-x", "seed": one.job.seed},
        }
        with state_of(self.project, loaded.spec).lock("test") as writer:
            writer.append(JobFact(key=one.key, at=AT, attempt=1, values=values, job=facts.about_job(one.job, image, "demo")))
        return one.key

    def state(self):
        return {record.address: record for record in state_of(self.project).read()[0].jobs.values()}

    def run(self, *words):
        """Run the command line in the project."""
        return _console.run(group, ["import", "-C", str(self.root), *words])


@pytest.fixture
def elsewhere(tmp_path):
    """Return a project and a server that keeps no labels, on which things have happened."""
    with FaultyServer(api=TinyApi(now=time.time)) as server:
        yield Elsewhere(tmp_path, server)
    assert server.surprises == []
    assert server.posts == 0


def test_a_job_is_imported_by_its_id_with_everything_that_is_known_of_it(elsewhere):
    """Model, checkpoints, seed and owner come with it, the file is known from now on, and the plan reuses it."""
    job = elsewhere.job()
    done = by_id(elsewhere.project, "tone/seed=1", job_id=job)
    assert (done.status, done.differences, done.notes) == (JobStatus.SUCCEEDED, (), ())
    record = elsewhere.state()["tone/seed=1"]
    assert (record.last.engine_job_id, record.last.origin, record.project) == (job, "imported", "demo")
    assert record.model == done.model == elsewhere.server.jobs[job]["fine_tuned_model"]
    assert record.last.checkpoints
    plan = make_plan(elsewhere.project).plan
    assert [(type(action), action.job.address) for action in plan.actions] == [(KeepJob, "tone/seed=1"), (LaunchJob, "tone/seed=2")]
    assert (elsewhere.root / "ftspec.lock").is_file()


def test_importing_the_same_job_again_changes_nothing(elsewhere):
    """It is recorded already, and that is said."""
    job = elsewhere.job()
    by_id(elsewhere.project, "tone/seed=1", job_id=job)
    assert by_id(elsewhere.project, "tone/seed=1", job_id=job).known_before
    assert len(elsewhere.state()["tone/seed=1"].attempts) == 1


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ({"seed": 7}, "seed `7` instead of `1`"),
        ({"epochs": 5}, "n_epochs 5 instead of 2"),
        ({"model": "base-large"}, "base model `base-large` instead of `base-small`"),
        ({"method": {"type": "dpo", "dpo": {}}}, "method `dpo` instead of `supervised`"),
        ({"metadata": {"ftspec_key": "0" * 64}}, "it carries the key of another job, 000000000000"),
    ],
)
def test_a_job_that_is_something_else_is_refused(elsewhere, given, why):
    """The difference is named; `--force` takes it all the same and says so."""
    job = elsewhere.job(**given)
    with pytest.raises(NotThisJob, match=why) as refused:
        by_id(elsewhere.project, "tone/seed=1", job_id=job)
    assert "--force" in refused.value.help
    assert elsewhere.state() == {}
    assert why in "; ".join(by_id(elsewhere.project, "tone/seed=1", job_id=job, force=True).differences)


def test_rows_decide_whatever_the_file_is_called(elsewhere):
    """A file with other rows is another dataset; the same rows in another layout are the same."""
    other = elsewhere.job(elsewhere.file(spread(ROWS[:11])))
    with pytest.raises(NotThisJob, match="the rows of its training_file are not those of the dataset"):
        by_id(elsewhere.project, "tone/seed=1", job_id=other)
    by_id(elsewhere.project, "tone/seed=1", job_id=elsewhere.job())
    with pytest.raises(NotThisJob, match="has a job already"):
        by_id(elsewhere.project, "tone/seed=1", job_id=elsewhere.job())


def test_rows_that_are_gone_are_said_to_be_unknown(elsewhere):
    """A person may know; the import goes on with a note."""
    done = by_id(elsewhere.project, "tone/seed=1", job_id=elsewhere.job("file-deleted"))
    assert done.notes == ("the rows of its training_file could not be compared: the file is gone",)


def test_a_job_belongs_to_one_address(elsewhere):
    """What is recorded elsewhere cannot be imported again under another name."""
    job = elsewhere.job()
    by_id(elsewhere.project, "tone/seed=1", job_id=job)
    with pytest.raises(FtspecError, match="is recorded already, as `tone/seed=1`"):
        by_id(elsewhere.project, "tone/seed=2", job_id=job, force=True)


def test_a_launch_in_doubt_becomes_the_job_that_a_person_names(elsewhere):
    """The open intent is closed by the import, as the same attempt."""
    elsewhere.doubt()
    job = elsewhere.job()
    assert elsewhere.run("tone/seed=1", "--job-id", job) == 0
    record = elsewhere.state()["tone/seed=1"]
    assert [(attempt.number, attempt.engine_job_id, attempt.status) for attempt in record.attempts] == [(1, job, JobStatus.SUCCEEDED)]


def test_a_search_takes_the_job_with_our_key(elsewhere):
    """A label is proof, whatever else the engine has."""
    key = elsewhere.doubt()
    elsewhere.job()
    ours = elsewhere.job(metadata={"ftspec_key": key})
    assert search(elsewhere.project, "tone/seed=1").imported.engine_job_id == ours


def test_a_search_takes_the_only_job_that_can_be_meant(elsewhere):
    """Without labels: base model, settings, seed and the very rows, and no other job like it."""
    elsewhere.job(seed=2)
    elsewhere.job(epochs=3)
    elsewhere.job(elsewhere.file(spread(ROWS[:11])))
    job = elsewhere.job()
    assert search(elsewhere.project, "tone/seed=1").imported.engine_job_id == job


def test_of_two_equal_jobs_a_search_takes_none(elsewhere, capsys):
    """Both are listed with the command that takes them, and the exit code says that it is not settled."""
    jobs = [elsewhere.job(), elsewhere.job()]
    assert elsewhere.run("tone/seed=1", "--search") == 4
    out = capsys.readouterr().out
    assert [f"ftspec import 'tone/seed=1' --job-id {job}" in out for job in jobs] == [True, True]
    assert elsewhere.state() == {}


def test_a_job_whose_rows_are_gone_is_only_a_candidate(elsewhere):
    """Settings alone prove nothing."""
    job = elsewhere.job("file-deleted")
    found = search(elsewhere.project, "tone/seed=1")
    assert found.imported is None
    assert [(one.job.id, one.why) for one in found.candidates] == [
        (job, "the rows of its training_file could not be compared: the file is gone")
    ]


def test_a_search_that_finds_nothing_says_what_to_do(elsewhere, capsys):
    """Only for a launch in doubt is there a word to give."""
    assert elsewhere.run("tone/seed=1", "--search") == 1
    assert "ftspec import --list" in capsys.readouterr().err
    elsewhere.doubt()
    assert elsewhere.run("tone/seed=1", "--search") == 1
    assert "ftspec import 'tone/seed=1' --absent" in capsys.readouterr().err


def test_a_list_that_is_cut_proves_no_job_to_be_the_only_one(tmp_path):
    """An engine that pages without end may have a second job like it."""
    with FaultyServer([Fault("endless pages", times=999)], api=TinyApi(now=time.time)) as server:
        project = Elsewhere(tmp_path, server)
        job = project.job()
        found = search(project.project, "tone/seed=1")
        assert found.imported is None
        assert not found.complete
        assert [one.job.id for one in found.candidates] == [job]
        assert unknown_jobs(project.project).cut == ("lab",)


def test_a_person_s_word_closes_a_launch_in_doubt(elsewhere):
    """`--absent` makes the next plan launch it again; without a doubt there is nothing to say."""
    elsewhere.doubt()
    record = absent(elsewhere.project, "tone/seed=1", by="ada")
    assert record.in_doubt
    assert elsewhere.state()["tone/seed=1"].status is JobStatus.ABSENT
    assert elsewhere.state()["tone/seed=1"].last.error.message == "said to be absent by ada"
    assert [type(action) for action in make_plan(elsewhere.project).plan.actions[1:]] == [LaunchJob, LaunchJob]
    with pytest.raises(FtspecError, match="is not in doubt"):
        absent(elsewhere.project, "tone/seed=1")


def test_what_state_does_not_know_is_listed(elsewhere, capsys):
    """As a table and as JSON, with the address whose key a job carries."""
    key = elsewhere.doubt()
    plain, ours = elsewhere.job(suffix="by-hand"), elsewhere.job(metadata={"ftspec_key": key})
    by_id(elsewhere.project, "tone/seed=2", job_id=elsewhere.job(seed=2))
    assert elsewhere.run("--list", "--json") == 0
    listed = json.loads(capsys.readouterr().out)
    assert {job["id"]: (job["suffix"], job["fits"]) for job in listed["jobs"]} == {plain: ("by-hand", None), ours: (None, "tone/seed=1")}
    assert elsewhere.run("--list") == 0
    assert plain in capsys.readouterr().out


def test_an_engine_that_cannot_be_asked_is_said_and_exits_4(elsewhere, capsys):
    """The others are listed all the same."""
    spec = json.loads((elsewhere.root / "ftspec.yaml").read_text())
    spec["engines"]["away"] = {"type": "openai-compatible", "base_url": "http://127.0.0.1:9/v1"}
    (elsewhere.root / "ftspec.yaml").write_text(json.dumps(spec))
    job = elsewhere.job()
    assert elsewhere.run("--list") == 4
    said = capsys.readouterr()
    assert job in said.out
    assert "`away` could not be asked" in said.err


def test_a_generated_spec_plans_nothing_once_its_jobs_are_imported(elsewhere):
    """Settings become a matrix, equal jobs replicates, and rows are read back from the engine."""
    elsewhere.spec(seeds=(9,))
    file = elsewhere.file()
    for seed, epochs, suffix in ((1, 2, "a"), (2, 2, "b{x}"), (2, 4, 'c"\u202e'), (2, 4, "d")):
        elsewhere.job(file, seed=seed, epochs=epochs, suffix=suffix)
    described = describe(elsewhere.project, (), download=Path("data/found"))
    (elsewhere.root / "specs").mkdir()
    (elsewhere.root / "specs/found.yaml").write_text(described.stub.text(prefix="../"))
    project = open_project(directory=elsewhere.root, files=["ftspec.yaml", "specs/found.yaml"])
    assert [command.split()[0:2] for command in described.commands] == [["ftspec", "import"]] * 4
    for address, command in zip(described.stub.addresses(), described.commands, strict=True):
        by_id(project, address, job_id=command.split()[-1])
    kept = [action for action in make_plan(project).plan.actions if isinstance(action, KeepJob)]
    assert sorted(action.job.address for action in kept) == sorted(described.stub.addresses())
    assert {action.job.suffix for action in kept} == {"a", "b{x}", 'c"\u202e', "d"}
    assert [action.job.replicate for action in kept if action.job.replicate] == [2]


def test_a_spec_is_written_for_the_jobs_that_are_named(elsewhere):
    """An id that nobody has is an error, and a file that exists is never written over."""
    elsewhere.job()
    wanted = elsewhere.job(seed=2, suffix="mine")
    described = describe(elsewhere.project, [wanted])
    assert [job.source for job in described.stub.jobs] == [wanted]
    with pytest.raises(FtspecError, match="unknown job nobody"):
        describe(elsewhere.project, ["nobody"])
    (elsewhere.root / "there").mkdir()
    (elsewhere.root / "there/mine.jsonl").write_text("another file")
    with pytest.raises(FtspecError, match="exists already"):
        describe(elsewhere.project, [wanted], download=Path("there"))
    assert elsewhere.run("--generate", "-o", "ftspec.yaml") == 1
    assert elsewhere.run("--generate", "-o", "../outside.yaml") == 1


@pytest.mark.parametrize(
    "words",
    [
        (),
        ("tone", "--search", "--absent"),
        ("--search",),
        ("tone", "--job-id", "x", "--download", "data"),
        ("--llmcomp", "x", "--generate", "--download", "data"),
    ],
)
def test_words_that_say_nothing_clear_are_usage_errors(elsewhere, words):
    """One way in at a time."""
    assert elsewhere.run(*words) == 64
