"""What a lost, strange or refused answer to a job POST means, through the real SDK over real HTTP."""

import asyncio
import io

import pytest

from ftspec.engines.base import JobRequest, NotSent, Refused, UnknownOutcome
from ftspec.engines.client import Timeouts
from ftspec.record import JobStatus
from ftspec.testing.faulty import FAULTS, LIST_FAULTS, Fault

KEY = "a" * 64

CERTAIN = {
    "400": None,
    "401": None,
    "403": None,
    "404": None,
    "413": None,
    "422": None,
    "429 rate": "rate",
    "429 daily": "daily",
    "429 concurrent": "concurrent",
    "429 money": "money",
    "429 spend": "money",
}
"""Refusals and the quota that each is about."""

BOUGHT = {"strange status", "bare job"}
ELSEWHERE = {"redirect", "wait", "echo", "stream breaks", "drip after", "hang before", "hang after", "lands late", "another job"}
UNKNOWN = sorted(set(FAULTS) - set(CERTAIN) - BOUGHT - ELSEWHERE - LIST_FAULTS)


async def buy(engine):
    file = await engine.upload(name="tickets.train.0123456789ab.jsonl", content=io.BytesIO(b"{}\n"), purpose="fine-tune")
    body = {"model": "base-small", "training_file": file.id, "metadata": {"ftspec_key": KEY}}
    return await engine.create_job(JobRequest(key=KEY, attempt=1, body=body))


def failure_of(asking, engine):
    async def scenario(engine):
        with pytest.raises((NotSent, Refused, UnknownOutcome)) as caught:
            await buy(engine)
        return caught.value

    return asking(engine, scenario)


@pytest.mark.parametrize("kind", UNKNOWN)
def test_an_answer_that_proves_nothing_is_unknown_and_never_posted_again(kind, serve, engine_at, asking):
    """Whatever was lost, cut or replaced on the way back: one POST, and nobody claims to know."""
    server = serve(Fault(kind))
    error = failure_of(asking, engine_at(server.base_url))
    assert type(error) is UnknownOutcome
    assert server.posts == 1
    assert len(server.jobs) == (kind.endswith("after"))


@pytest.mark.parametrize(("kind", "quota"), CERTAIN.items())
def test_a_refusal_in_the_engines_own_form_bought_nothing(kind, quota, serve, engine_at, asking):
    """4xx with a JSON error is a refusal, and a quota is told by its code alone."""
    server = serve(Fault(kind))
    error = failure_of(asking, engine_at(server.base_url))
    assert type(error) is Refused
    assert error.quota == quota
    assert error.status == int(kind[:3])
    assert server.posts == 1
    assert not server.jobs


@pytest.mark.parametrize("kind", ["hang before", "hang after", "drip after"])
def test_an_answer_that_takes_too_long_is_unknown(kind, serve, engine_at, asking):
    """Hanging and dripping end when the time for the request is over, however busily they drip."""
    server = serve(Fault(kind))
    error = failure_of(asking, engine_at(server.base_url, timeouts=Timeouts(create=0.3)))
    assert type(error) is UnknownOutcome
    assert "0.3 seconds" in error.message or "ReadTimeout" in error.message
    assert server.posts == 1


def test_a_request_that_lands_late_is_unknown_first_and_a_job_later(serve, engine_at, asking):
    """A gateway timeout may come before the job does."""
    server = serve(Fault("lands late"))

    async def scenario(engine):
        with pytest.raises(UnknownOutcome):
            await buy(engine)
        before = [job.id for job in (await engine.find_jobs(key=KEY)).items]
        return before, [job.id for job in (await engine.find_jobs(key=KEY)).items]

    assert asking(engine_at(server.base_url), scenario) == ([], list(server.jobs))


def test_a_redirect_is_not_followed(serve, engine_at, asking, canary):
    """A 307 to another origin sends it neither the key nor a byte of the request."""
    elsewhere = serve()
    server = serve(
        Fault("redirect", value=f"{elsewhere.base_url}/fine_tuning/jobs"),
        Fault("redirect", on="POST /files", skip=1, value=f"{elsewhere.base_url}/files"),
    )
    assert type(failure_of(asking, engine_at(server.base_url))) is UnknownOutcome
    assert type(failure_of(asking, engine_at(server.base_url))) is UnknownOutcome
    assert elsewhere.requests == []
    assert canary in server.requests[0].headers["authorization"]


def test_an_engine_that_cannot_be_reached_was_sent_nothing(engine_at, asking, closed_port):
    """A refused connection proves that nothing was bought."""
    error = failure_of(asking, engine_at(f"http://127.0.0.1:{closed_port}/v1"))
    assert type(error) is NotSent


def test_a_failed_handshake_sent_nothing(serve, engine_at, asking):
    """TLS with a server that does not speak it ends before the first byte of a request."""
    server = serve()
    error = failure_of(asking, engine_at(server.base_url.replace("http:", "https:")))
    assert type(error) is NotSent
    assert server.requests == []


def test_a_job_with_unknown_words_is_bought_and_not_over(serve, engine_at, asking):
    """A status that nobody knows is kept verbatim and counts as running; new members do no harm."""
    server = serve(Fault("strange status"))
    job = asking(engine_at(server.base_url), buy)
    assert (job.status, job.raw_status) == (JobStatus.RUNNING, "paused_by_policy")
    assert job.raw["surprise"] == {"new": 1}


def test_a_job_of_which_only_the_id_is_known_is_bought(serve, engine_at, asking, clock):
    """An id and the word `fine_tuning.job` prove a purchase, whatever else is missing."""
    server = serve(Fault("bare job"))
    job = asking(engine_at(server.base_url), buy)
    assert [job.id] == list(server.jobs)
    assert job.created_at == int(clock.now())
    assert job.base_model == ""


def test_another_job_in_the_answer_is_not_ours(serve, engine_at, asking):
    """A job that carries another key proves nothing about this launch."""
    error = failure_of(asking, engine_at(serve(Fault("another job")).base_url))
    assert type(error) is UnknownOutcome


def test_an_own_code_of_an_engine_tells_its_quota(serve, engine_at, asking):
    """A profile names codes of its own; the text of a message is never read."""
    engine = engine_at(serve(Fault("400")).base_url)
    engine.profile = _with_codes(engine.profile, {"invalid_hyperparameter": "concurrent"})
    assert failure_of(asking, engine).quota == "concurrent"


def _with_codes(profile, codes):
    from msgspec.structs import replace

    return replace(profile, quota_codes=codes)


def test_the_idempotency_key_is_sent_only_where_it_is_honoured(serve, engine_at, asking):
    """The header names key and attempt, and is left out for engines that would ignore it."""
    server = serve()
    asking(engine_at(server.base_url, profile="sandbox"), buy)
    asking(engine_at(server.base_url), buy)
    posts = [request.headers.get("idempotency-key") for request in server.requests if request.name == "POST /fine_tuning/jobs"]
    assert posts == [f"{KEY}-1", None]


def test_a_cancelled_purchase_is_cancelled(serve, engine_at, asking):
    """An interrupt of the caller is passed on, not turned into an outcome."""
    server = serve(Fault("hang after"))

    async def scenario(engine):
        task = asyncio.create_task(buy(engine))
        while not server.posts:  # noqa: ASYNC110 the server is in another thread
            await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asking(engine_at(server.base_url), scenario)
    assert len(server.jobs) == 1


@pytest.mark.parametrize("seed", range(4))
def test_no_outcome_lies(seed, serve, engine_at, asking):
    """Under random trouble: what is bought exists, what was refused or not sent does not, and every purchase is one POST."""
    server = serve(seed=seed, rate=0.6)
    server.api.files["file-1"] = {"id": "file-1"}

    async def scenario(engine):
        outcomes = {}
        for number in range(60):
            key = f"{number:064}"
            body = {"model": "base-small", "training_file": "file-1", "metadata": {"ftspec_key": key}}
            try:
                outcomes[key] = (await engine.create_job(JobRequest(key=key, attempt=1, body=body))).id
            except (NotSent, Refused, UnknownOutcome) as error:
                outcomes[key] = type(error)
        return outcomes

    outcomes = asking(engine_at(server.base_url), scenario)
    there = {job["metadata"]["ftspec_key"]: job["id"] for job in server.jobs.values()}
    assert server.posts == 60
    assert len(there) == len(server.jobs)
    for key, outcome in outcomes.items():
        assert outcome is UnknownOutcome or there.get(key) == (outcome if isinstance(outcome, str) else None)
    assert {type(outcome) for outcome in outcomes.values()} == {str, type}
