"""Several accounts behind one engine entry: what one of them cannot say is not known, and a job is bought where its file is."""

import asyncio

import pytest

from ftspec.engines.base import EngineError, JobRequest, Listing, ObservedJob, Refused
from ftspec.engines.keyring import KeyRing
from ftspec.record import JobStatus


def job(name):
    """Return a job as an account shows it."""
    return ObservedJob(id=name, status=JobStatus.QUEUED, raw_status="queued", base_model="base", created_at=1)


class Account:
    """One account: its jobs and files; `down`: it cannot be asked."""

    profile = None
    scope = "team"

    def __init__(self, *names, down=False, complete=True):
        self.names, self.down, self.complete, self.bought = list(names), down, complete, []

    def _there(self):
        if self.down:
            raise EngineError("bad gateway")
        return self.names

    async def find_jobs(self, *, key=None, since=None):
        return Listing(items=[job(name) for name in self._there()], complete=self.complete)

    async def job(self, name):
        return job(name) if name in self._there() else None

    file = job

    async def create_job(self, request):
        self.bought.append(request)
        return job("ftjob-new")


def asked(ring, work):
    """Run one question."""
    return asyncio.run(work(ring))


def test_lists_of_all_accounts_are_one_list():
    """Complete where all of them are; a job that two keys see counts once."""
    listing = asked(KeyRing({"A": Account("j1", "j2"), "B": Account("j2", "j3")}), lambda ring: ring.find_jobs())
    assert ([one.id for one in listing.items], listing.complete) == (["j1", "j2", "j3"], True)


@pytest.mark.parametrize("other", [Account("j2", down=True), Account("j2", complete=False)], ids=["down", "breaks off"])
def test_an_account_that_does_not_say_all_makes_the_list_incomplete(other):
    """A lost launch may be in it: not seen is not absent."""
    assert not asked(KeyRing({"A": Account("j1"), "B": other}), lambda ring: ring.find_jobs()).complete


def test_where_no_account_can_be_asked_that_is_said():
    """An empty list would say that there is nothing."""
    with pytest.raises(EngineError, match="bad gateway"):
        asked(KeyRing({"A": Account(down=True), "B": Account(down=True)}), lambda ring: ring.find_jobs())


def test_a_job_is_missing_only_if_every_account_says_so():
    """One that cannot be asked might have it; one that has it is enough."""
    assert asked(KeyRing({"A": Account(), "B": Account()}), lambda ring: ring.job("j1")) is None
    assert asked(KeyRing({"A": Account(down=True), "B": Account("j1")}), lambda ring: ring.job("j1")).id == "j1"
    with pytest.raises(EngineError, match="bad gateway"):
        asked(KeyRing({"A": Account(down=True), "B": Account()}), lambda ring: ring.job("j1"))


def test_a_job_is_bought_in_the_account_of_its_file_and_nowhere_else():
    """Where no account has the file nothing is sent."""
    one, two = Account(), Account("file-2")
    request = JobRequest(key="k", attempt=1, body={"training_file": "file-2"})
    asked(KeyRing({"A": one, "B": two}), lambda ring: ring.create_job(request))
    assert (one.bought, two.bought) == ([], [request])
    with pytest.raises(Refused, match="no key of this engine sees the training file `file-3`"):
        asked(KeyRing({"A": one, "B": two}), lambda ring: ring.create_job(JobRequest(key="k", attempt=1, body={"training_file": "file-3"})))
    assert (one.bought, two.bought) == ([], [request])
