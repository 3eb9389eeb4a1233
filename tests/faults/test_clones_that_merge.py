"""Clones of one git repository that buy apart and merge: real git, real processes, a server without unique keys."""

import json
import os
import shutil
import subprocess
import sys
import time

import pytest

from ftspec.state.jsonl import JsonlState
from ftspec.testing.crash import Lab
from ftspec.testing.faulty import Fault, FaultyServer
from ftspec.testing.tinyapi import STATUSES, Answer, TinyApi

pytestmark = pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")

SPEC = """\
ftspec: 1
project: team
engines:
  shared: {{type: openai-compatible, base_url: {url}}}
datasets: {{tickets: data/tickets.jsonl}}
defaults: {{engine: shared, train: tickets, base_model: base-small, epochs: 1}}
experiments:
  grid: {{matrix: {{seed: {seeds}}}}}
"""
FTSPEC = [sys.executable, "-m", "ftspec"]
APPLY = ["apply", "-y", "--no-wait", "--settle-window", "0"]


class Clone:
    """A clone with a branch of its own, and somebody who works in it."""

    def __init__(self, folder):
        self.folder = folder
        self.environment = {
            **os.environ,
            **{
                f"GIT_{who}_{what}": value for who in ("AUTHOR", "COMMITTER") for what, value in (("NAME", "a"), ("EMAIL", "a@example.org"))
            },
            "GIT_CONFIG_GLOBAL": os.devnull,
            "GIT_CONFIG_SYSTEM": os.devnull,
            "USER": folder.name,
        }

    def git(self, *words):
        """Run git; return what it printed."""
        done = subprocess.run(["git", *words], cwd=self.folder, env=self.environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def commit(self):
        """Commit everything that git does not ignore."""
        self.git("add", "-A")
        self.git("commit", "-q", "--allow-empty", "-m", "state")

    def begin(self, *words):
        """Start an ftspec command."""
        output = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
        return subprocess.Popen([*FTSPEC, *words], cwd=self.folder, env=self.environment, text=True, **output)

    def ftspec(self, *words):
        """Run an ftspec command; return its exit code and what it printed."""
        process = self.begin(*words)
        printed = process.communicate(timeout=120)[0]
        assert "Traceback" not in printed
        return process.returncode, printed

    def apply(self):
        """Apply without waiting for lost launches to appear, or for jobs to end."""
        return self.ftspec(*APPLY)

    def merge(self, *others):
        """Merge the branches of other clones; only the lockfile may conflict, and is made again."""
        for other in others:
            self.git("fetch", "-q", str(other.folder), other.folder.name)
            subprocess.run(["git", "merge", "-q", "--no-edit", "FETCH_HEAD"], cwd=self.folder, env=self.environment, check=False)
            assert {line[3:] for line in self.git("status", "--short").splitlines() if line[:2] in {"AA", "UU"}} <= {"ftspec.lock"}
            assert self.ftspec("lock")[0] == 0
            self.commit()

    @property
    def records(self):
        """What state has, by address."""
        state, problems = JsonlState(self.folder / "state").read()
        assert {problem.severity for problem in problems} <= {"warning"}
        return {record.address: record for record in state.jobs.values()}


@pytest.fixture
def team(tmp_path):
    """Return a function that makes a project on `server` and clones of it, each on a branch of its own."""

    def make(server, *names, seeds=(1,)):
        main = Clone(Lab(tmp_path).project("main"))
        (main.folder / "ftspec.yaml").write_text(SPEC.format(url=json.dumps(server.base_url), seeds=list(seeds)))
        main.git("init", "-q", "-b", "main")
        main.commit()
        clones = []
        for name in names:
            main.git("clone", "-q", str(main.folder), str(tmp_path / name))
            clones.append(Clone(tmp_path / name))
            clones[-1].git("checkout", "-qb", name)
        return main, *clones

    return make


def test_a_launch_in_doubt_stays_in_doubt_beside_the_job_that_another_clone_bought(team):
    """The merge shows the job and the doubt; no apply buys anything, and what lands late is found and reported."""
    with FaultyServer([Fault("lands late", value=10**6)]) as server:
        main, ann, ben = team(server, "ann", "ben")
        code, printed = ann.apply()
        assert code == 4, printed
        assert ben.apply()[0] == 0
        for clone in (ann, ben):
            clone.commit()
        main.merge(ann, ben)
        code, printed = main.ftspec("plan")
        assert code == 0
        assert "warning[launch-in-doubt]: `grid/seed=1` is queued, and another launch of it by ann@" in printed
        code, printed = main.apply()
        assert (code, server.posts) == (4, 2), printed
        assert "grid/seed=1: in doubt: another launch of it by ann@" in printed
        assert main.ftspec("status", "--offline")[0] == 4

        [(_, late)] = server.later
        server.later.clear()
        server.api.handle(late)
        code, printed = main.apply()
        record = main.records["grid/seed=1"]
        assert (code, server.posts, len(server.jobs)) == (4, 2, 2), printed
        assert {record.last.engine_job_id, *record.duplicates} == set(server.jobs)
        assert record.open == ()
        assert "grid/seed=1: more than one job for one key" in printed
        assert server.surprises == []


@pytest.mark.slow
def test_a_person_settles_a_launch_that_is_in_doubt_beside_a_job(team):
    """`import --absent` takes a word for it; afterwards nothing is in doubt and nothing is bought."""
    with FaultyServer([Fault("reset before")]) as server:
        main, ann, ben = team(server, "ann", "ben")
        assert [ann.apply()[0], ben.apply()[0]] == [4, 0]
        for clone in (ann, ben):
            clone.commit()
        main.merge(ann, ben)
        code, printed = main.ftspec("import", "grid/seed=1", "--absent")
        assert code == 0, printed
        code, printed = main.apply()
        assert (code, server.posts) == (0, 2), printed
        assert "in doubt" not in printed


@pytest.mark.slow
def test_a_refusal_in_one_clone_does_not_settle_the_launch_of_another(team):
    """One clone's request is lost, the other's is refused: merged, the job stays in doubt and is not bought a second time."""
    with FaultyServer([Fault("lands late", value=10**6), Fault("400")]) as server:
        main, ann, ben = team(server, "ann", "ben")
        assert [ann.apply()[0], ben.apply()[0]] == [4, 1]
        for clone in (ann, ben):
            clone.commit()
        main.merge(ann, ben)
        assert "in doubt since" in main.ftspec("plan")[1]
        code, printed = main.apply()
        assert (code, server.posts) == (4, 2), printed
        server.api.handle(server.later.pop()[1])
        code, printed = main.apply()
        assert (code, server.posts, len(server.jobs)) == (0, 2, 1), printed


class Lagging(TinyApi):
    """Keeps labels, refuses no second job for one, and lists nothing until four jobs were bought."""

    def _list_jobs(self, request):
        return super()._list_jobs(request) if self.posts >= 4 else Answer(value={"object": "list", "data": [], "has_more": False})


@pytest.mark.parametrize("started", [False, pytest.param(True, marks=pytest.mark.slow)], ids=["queued jobs", "running jobs"])
def test_two_clones_that_bought_the_same_jobs_hold_each_of_them_once_when_they_have_merged(team, started):
    """Without unique keys both buy; the sweep cancels ours that have not started and reports the rest, and the union knows every job."""
    statuses = STATUSES[1:] if started else STATUSES
    with FaultyServer(api=Lagging(now=time.time, statuses=statuses)) as server:
        main, ann, ben = team(server, "ann", "ben", seeds=(1, 2))
        running = [clone.begin(*APPLY) for clone in (ann, ben)]
        printed = [process.communicate(timeout=120)[0] for process in running]
        assert server.posts == len(server.jobs) == 4, printed
        for clone in (ann, ben):
            clone.commit()
        main.merge(ann, ben)
        ids = [one for record in main.records.values() for one in (record.last.engine_job_id, *record.duplicates)]
        assert sorted(ids) == sorted(server.jobs)
        live = [job["metadata"]["ftspec_key"] for job in server.jobs.values() if job["status"] != "cancelled"]
        reported = [process.returncode == 4 and "also on the engine" in said for process, said in zip(running, printed, strict=True)]
        assert any(reported) if started else len(live) < 4
        assert any(reported) or len(live) == 2
        code, said = main.ftspec("plan")
        assert (code, "Plan: nothing to do, 2 reused." in said, "was bought more than once" in said) == (0, True, True), said
        main.apply()
        assert server.posts == 4
        assert server.surprises == []
