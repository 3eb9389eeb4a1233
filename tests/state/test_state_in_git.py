"""State under real git: branches that buy apart, merge; rules for where state is compacted."""

from __future__ import annotations

import os
import shutil
import subprocess
from itertools import count

import pytest

from ftspec.state.jsonl import JsonlState
from ftspec.state.worktree import head_commit, should_compact
from ftspec.testing.state import job

pytestmark = pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")
CLOCK = count(1_790_000_000)


class Repository:
    """A git repository with a project in it."""

    def __init__(self, path):
        self.path = path
        path.mkdir(parents=True, exist_ok=True)
        self.state = JsonlState(path / "state", clock=CLOCK.__next__)

    def git(self, *words, check=True):
        environment = {
            **{name: os.environ[name] for name in ("PATH",)},
            "GIT_CONFIG_GLOBAL": os.devnull,
            "GIT_CONFIG_SYSTEM": os.devnull,
            "HOME": str(self.path),
            "GIT_AUTHOR_NAME": "a",
            "GIT_AUTHOR_EMAIL": "a@example.org",
            "GIT_COMMITTER_NAME": "a",
            "GIT_COMMITTER_EMAIL": "a@example.org",
        }
        done = subprocess.run(["git", *words], cwd=self.path, env=environment, capture_output=True, text=True, check=False)
        if check and done.returncode:
            raise AssertionError(done.stdout + done.stderr)
        return done

    def commit(self, message="."):
        self.git("add", "-A")
        self.git("commit", "-qm", message)

    def apply(self, *facts):
        """Append as `apply` does, with its rule for compaction."""
        with self.state.lock("apply") as writer:
            writer.append(*facts)
            if should_compact(self.state.folder):
                writer.compact()

    def statuses(self):
        state, problems = self.state.read()
        assert [problem.code for problem in problems] == []
        return {key[-1]: record.status.value for key, record in sorted(state.jobs.items())}


@pytest.fixture
def repository(tmp_path):
    made = Repository(tmp_path / "project")
    made.git("init", "-q", "-b", "main")
    made.apply(job(1, at=1, status="succeeded", engine_job_id="job-1"))
    made.commit()
    return made


def test_main_is_compacted_and_branches_are_not(repository):
    """The default branch holds base files, other branches add segments."""
    assert list((repository.path / "state" / "log").iterdir()) == []
    repository.git("checkout", "-qb", "try")
    repository.apply(job(2, status="intent"))
    assert len(list((repository.path / "state" / "log").iterdir())) == 1


def test_branches_that_launch_different_jobs_merge_without_conflict(repository):
    """Two branches never change the same file, and the merge has both."""
    for number, branch in ((2, "left"), (3, "right")):
        repository.git("checkout", "-q", "-b", branch, "main")
        repository.apply(job(number, at=number, status="launched", engine_job_id=f"job-{number}"))
        repository.commit()
    repository.git("checkout", "-q", "main")
    repository.git("merge", "-q", "--no-edit", "left")
    repository.git("merge", "-q", "--no-edit", "right")
    assert repository.statuses() == {"1": "succeeded", "2": "launched", "3": "launched"}
    repository.apply(job(2, at=9, status="succeeded", engine_job_id="job-2"))
    assert list((repository.path / "state" / "log").iterdir()) == []
    assert repository.statuses() == {"1": "succeeded", "2": "succeeded", "3": "launched"}


def test_branches_that_launch_the_same_job_merge_and_the_second_purchase_is_reported(repository):
    """Nothing can be hidden by a merge: both ids are kept, the older counts."""
    for at, branch in ((5, "left"), (4, "right")):
        repository.git("checkout", "-q", "-b", branch, "main")
        created = f"2026-11-20T10:00:0{at}.000Z"
        repository.apply(job(2, at=at, status="launched", engine_job_id=f"job-{branch}", created_at=created))
        repository.commit()
    repository.git("checkout", "-q", "main")
    repository.git("merge", "-q", "--no-edit", "left", "right")
    state, problems = repository.state.read()
    record = state.jobs["0" * 63 + "2"]
    assert (record.last.engine_job_id, record.duplicates) == ("job-right", ("job-left",))
    assert [problem.code for problem in problems] == ["duplicate-job"]


def test_a_branch_merges_with_a_main_that_was_compacted_meanwhile(repository):
    """Compaction on main touches other files than a branch, and the join takes what is newer."""
    repository.git("checkout", "-qb", "try")
    repository.apply(job(1, at=7, attempt=0, about={"tags": {"best": "yes"}}), job(2, status="intent"))
    repository.commit()
    repository.git("checkout", "-q", "main")
    repository.apply(job(3, status="launched", engine_job_id="job-3"), job(1, at=9, attempt=0, about={"protected": True}))
    repository.commit()
    repository.git("merge", "-q", "--no-edit", "try")
    assert repository.statuses() == {"1": "succeeded", "2": "intent", "3": "launched"}
    first = repository.state.read()[0].jobs["0" * 63 + "1"]
    assert (first.protected, first.tags) == (True, {"best": "yes"})


def test_a_branch_started_before_a_compaction_may_still_have_its_segments(repository):
    """A segment that is in the base files already changes nothing."""
    repository.git("checkout", "-qb", "try")
    repository.apply(job(2, status="launched", engine_job_id="job-2"))
    repository.commit()
    repository.git("checkout", "-q", "main")
    repository.git("merge", "-q", "--ff-only", "try")
    repository.apply(job(2, at=5, status="succeeded", engine_job_id="job-2"))
    repository.commit()
    repository.git("checkout", "-q", "try")
    repository.apply(job(3, status="intent"))
    repository.commit()
    repository.git("checkout", "-q", "main")
    repository.git("merge", "-q", "--no-edit", "try")
    assert repository.statuses() == {"1": "succeeded", "2": "succeeded", "3": "intent"}


def test_compactions_in_two_clones_merge_by_union(repository):
    """Where both sides compacted, the attributes that state brings keep the lines of both, and nothing conflicts."""
    repository.git("checkout", "-qb", "other")
    with repository.state.lock("compact") as writer:
        writer.append(job(1, at=8, attempt=0, about={"tags": {"a": "b"}}), job(2, status="intent"))
        writer.compact()
    repository.commit()
    repository.git("checkout", "-q", "main")
    repository.apply(job(1, at=9, attempt=0, about={"protected": True}), job(3, status="intent"))
    repository.commit()
    repository.git("merge", "-q", "--no-edit", "other")
    assert repository.statuses() == {"1": "succeeded", "2": "intent", "3": "intent"}
    first = repository.state.read()[0].jobs["0" * 63 + "1"]
    assert (first.protected, first.tags) == (True, {"a": "b"})
    repository.apply()
    assert len((repository.path / "state" / "jobs.jsonl").read_bytes().splitlines()) == 3


def test_without_the_attributes_both_compactions_conflict_and_repair_keeps_both(repository):
    """A merge tool that ignores attributes leaves markers; `state repair` needs no choice."""
    from ftspec.state.repair import examine, mend

    (repository.path / "state" / ".gitattributes").unlink()
    repository.commit()
    repository.git("checkout", "-qb", "other")
    with repository.state.lock("compact") as writer:
        writer.append(job(1, at=8, attempt=0, about={"tags": {"a": "b"}}))
        writer.compact()
    repository.commit()
    repository.git("checkout", "-q", "main")
    repository.apply(job(1, at=9, attempt=0, about={"protected": True}))
    repository.commit()
    assert repository.git("merge", "--no-edit", "other", check=False).returncode == 1
    mend(repository.state, examine(repository.state))
    first = repository.state.read()[0].jobs["0" * 63 + "1"]
    assert (first.protected, first.tags) == (True, {"a": "b"})


def test_the_lock_and_unfinished_files_are_not_offered_to_git(repository):
    """Only records are committed."""
    with repository.state.lock("apply"):
        (repository.path / "state" / ".probe-1.tmp").touch()
        assert repository.git("status", "--porcelain").stdout == ""


@pytest.mark.parametrize(
    ("commands", "expected"),
    [
        ([], True),
        ([["checkout", "-qb", "other"]], False),
        ([["checkout", "-q", "--detach"]], False),
        ([["branch", "-qm", "trunk"]], True),
        ([["branch", "-qm", "trunk"], ["branch", "other"]], False),
        ([["branch", "-qm", "master"], ["branch", "other"], ["pack-refs", "--all"]], True),
        (
            [["update-ref", "refs/remotes/origin/dev", "HEAD"], ["symbolic-ref", "refs/remotes/origin/HEAD", "refs/remotes/origin/dev"]],
            False,
        ),
        (
            [
                ["checkout", "-qb", "dev"],
                ["update-ref", "refs/remotes/origin/dev", "HEAD"],
                ["symbolic-ref", "refs/remotes/origin/HEAD", "refs/remotes/origin/dev"],
            ],
            True,
        ),
        ([["checkout", "-q", "--orphan", "empty"]], False),
    ],
    ids=["main", "branch", "detached", "only branch", "one of two", "master, packed", "origin says dev", "on dev", "orphan"],
)
def test_state_is_compacted_on_the_default_branch_only(repository, commands, expected):
    """Git's own files say which branch that is."""
    for words in commands:
        repository.git(*words)
    assert should_compact(repository.state.folder) is expected


def test_state_is_not_compacted_during_a_merge(repository):
    """A merge commit should not change base files on its own."""
    repository.git("checkout", "-qb", "other")
    repository.git("commit", "-q", "--allow-empty", "-m", "other")
    repository.git("checkout", "-q", "main")
    repository.git("commit", "-q", "--allow-empty", "-m", "main")
    repository.git("merge", "-q", "--no-commit", "--no-ff", "other")
    assert should_compact(repository.state.folder) is False


def test_a_linked_work_tree_has_a_branch_of_its_own(repository, tmp_path):
    """`git worktree` keeps HEAD elsewhere."""
    repository.git("worktree", "add", "-q", str(tmp_path / "linked"), "-b", "linked")
    assert should_compact(tmp_path / "linked" / "state") is False
    assert should_compact(repository.state.folder) is True
    assert head_commit(tmp_path / "linked") == repository.git("rev-parse", "HEAD").stdout.strip()


def test_outside_of_git_state_is_always_compacted(tmp_path):
    """Without branches there is nothing to merge."""
    assert should_compact(tmp_path / "state") is True
    assert head_commit(tmp_path) is None


def test_the_commit_that_is_checked_out_is_recorded(repository):
    """A segment says at which commit it was written."""
    head = repository.git("rev-parse", "HEAD").stdout.strip()
    assert head_commit(repository.path / "state") == head
    repository.git("pack-refs", "--all")
    assert head_commit(repository.path / "state") == head
    repository.git("checkout", "-q", "--detach")
    repository.apply(job(2, status="intent"))
    segment = repository.state.load().segments[0]
    assert segment.header is not None
    assert (segment.header.commit, segment.header.command) == (head, "apply")


def test_a_broken_git_folder_gets_the_careful_answer(tmp_path):
    """What cannot be understood is not compacted."""
    (tmp_path / ".git").mkdir()
    assert should_compact(tmp_path / "state") is False
    assert head_commit(tmp_path) is None
    (tmp_path / ".git" / "HEAD").write_bytes(b"\xff\x00")
    assert head_commit(tmp_path) is None
