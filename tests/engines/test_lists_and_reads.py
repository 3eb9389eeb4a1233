"""Reads are asked again while that can help; lists say whether they are whole."""

import pytest

from ftspec.engines.base import Refused, UnknownOutcome
from ftspec.testing.faulty import Fault
from ftspec.testing.tinyapi import TinyApi

LABELLED = "b" * 64
READ = "GET /fine_tuning/jobs/*"
EVENTS = "GET /fine_tuning/jobs/*/events"


def with_jobs(server, count=3):
    """Put jobs on the server, each labelled with its number except the last, which is `LABELLED`."""
    server.api.files["file-1"] = {"id": "file-1"}
    for number in range(count):
        label = LABELLED if number == count - 1 else f"{number:064}"
        server.api.make_job({"model": "base-small", "training_file": "file-1", "metadata": {"ftspec_key": label}})
    return server


def found(engine, asking, **wanted):
    listing = asking(engine, lambda engine: engine.find_jobs(**wanted))
    return [job.id for job in listing.items], listing.complete


def test_a_list_is_read_to_its_end(serve, engine_at, asking):
    """More jobs than fit on a page are all found, each once."""
    server = with_jobs(serve(), 250)
    ids, complete = found(engine_at(server.base_url), asking)
    assert complete
    assert sorted(ids) == sorted(server.jobs)


def test_a_list_that_is_evidently_newest_first_is_read_as_far_as_it_matters(serve, engine_at, asking):
    """Jobs fall in time from row to row: what comes after the wanted time is not asked for."""
    times = iter(range(1000, 1250))
    server = with_jobs(serve(api=TinyApi(now=lambda: next(times, 2000))), 250)
    ids, complete = found(engine_at(server.base_url), asking, since=1200)
    assert (len(ids), complete) == (50, True)
    assert len(server.requests) == 1


@pytest.mark.parametrize("order", ["oldest first", "all at once"])
def test_a_list_in_any_other_order_is_read_to_its_end(order, serve, engine_at, asking):
    """Rows that rise in time, or do not move, prove nothing about the pages to come."""
    times = iter(range(1250, 1000, -1)) if order == "oldest first" else iter([1100] * 250)
    server = with_jobs(serve(api=TinyApi(now=lambda: next(times))), 250)
    ids, complete = found(engine_at(server.base_url), asking, since=1200)
    assert complete
    assert len(ids) == (51 if order == "oldest first" else 0)
    assert len(server.requests) == 3


def test_an_ignored_filter_is_made_up_for(serve, engine_at, asking):
    """An engine that lists everything is filtered here."""
    server = with_jobs(serve(Fault("filter ignored")))
    assert found(engine_at(server.base_url, profile="sandbox"), asking, key=LABELLED) == (["ftjob-00000003"], True)


def test_an_engine_that_cannot_filter_is_not_asked_to(serve, engine_at, asking):
    """A filter is sent only where a profile says that it works."""
    server = with_jobs(serve())
    found(engine_at(server.base_url), asking, key=LABELLED)
    found(engine_at(server.base_url, profile="sandbox"), asking, key=LABELLED)
    assert [request.query.get("metadata[ftspec_key]") for request in server.requests] == [None, LABELLED]


def test_without_labels_not_finding_a_key_proves_nothing(serve, engine_at, asking):
    """By key, the list of an engine that keeps no labels is never complete; by time it is."""
    server = with_jobs(serve(api=TinyApi(now=lambda: 5.0, keeps_metadata=False)))
    assert found(engine_at(server.base_url, profile="nebius"), asking, key=LABELLED) == ([], False)
    assert found(engine_at(server.base_url, profile="nebius"), asking, since=5) == (list(reversed(server.jobs)), True)
    assert found(engine_at(server.base_url, profile="nebius"), asking, since=6) == ([], True)


def test_endless_pages_end_and_are_not_complete(serve, engine_at, asking):
    """A server that ignores `after` and always promises more is asked twice, not for ever."""
    server = with_jobs(serve(Fault("endless pages", times=1000)))
    ids, complete = found(engine_at(server.base_url), asking)
    assert sorted(ids) == sorted(server.jobs)
    assert not complete
    assert len(server.requests) == 2


def test_rows_that_come_twice_count_once(serve, engine_at, asking):
    """Duplicate rows are one job."""
    server = with_jobs(serve(Fault("duplicate rows")))
    assert found(engine_at(server.base_url), asking) == (list(reversed(server.jobs)), True)


def test_a_list_that_does_not_say_whether_it_ends_is_asked_on(serve, engine_at, asking):
    """Without `has_more`, a page that is not full is the last one, and a full one is not."""
    few = with_jobs(serve(Fault("no has_more", times=9)))
    assert found(engine_at(few.base_url), asking) == (list(reversed(few.jobs)), True)
    assert len(few.requests) == 1
    many = with_jobs(serve(Fault("no has_more", times=9)), 100)
    assert found(engine_at(many.base_url), asking) == (list(reversed(many.jobs)), True)
    assert len(many.requests) == 2


@pytest.mark.parametrize("row", [None, {"id": "ftjob-x", "object": "thing"}, {"id": "ftjob-\u202ex"}, {"id": "x" * 600}, "ftjob-x"])
def test_a_row_that_is_no_job_makes_the_list_incomplete(serve, engine_at, asking, row):
    """What cannot be read might have been the job that was looked for."""
    server = with_jobs(serve(Fault("broken row", value=row)))
    assert found(engine_at(server.base_url), asking) == (list(reversed(server.jobs)), False)


def test_a_lagging_list_just_does_not_show_a_job_yet(serve, engine_at, asking):
    """Nothing in a lagging list tells that it lags: who looks for a purchase must look again."""
    server = with_jobs(serve(Fault("list lag", value=1)))
    engine = engine_at(server.base_url)
    assert found(engine, asking, key=LABELLED) == ([], True)
    assert found(engine_at(server.base_url), asking, key=LABELLED) == (["ftjob-00000003"], True)


def test_events_come_oldest_first_whichever_way_they_are_listed(serve, engine_at, asking):
    """Steps rise, although all events carry the same second and come newest first."""
    server = with_jobs(serve())
    listing = asking(engine_at(server.base_url), lambda engine: engine.events("ftjob-00000001"))
    steps = [event.data["step"] for event in listing.items if event.type == "metrics"]
    assert steps == list(range(1, 51))
    assert listing.items[0].message == "Created fine-tuning job"


@pytest.mark.parametrize(
    "kind", ["reset before", "cut after", "500 before", "502 before", "503 before", "html before", "429 rate", "408 after"]
)
def test_a_read_is_asked_again(kind, serve, engine_at, asking, clock):
    """A lost, late or senseless answer to a question is worth another try, after a growing pause."""
    server = with_jobs(serve(Fault(kind, on=READ, times=2)))
    job = asking(engine_at(server.base_url), lambda engine: engine.job("ftjob-00000001"))
    assert job.id == "ftjob-00000001"
    assert clock.slept == [0.5, 1.0]


def test_a_read_is_not_asked_for_ever(serve, engine_at, asking, clock):
    """After a few tries the last answer counts."""
    server = with_jobs(serve(Fault("502 before", on=READ, times=99)))
    with pytest.raises(UnknownOutcome) as caught:
        asking(engine_at(server.base_url), lambda engine: engine.job("ftjob-00000001"))
    assert caught.value.status == 502
    assert len(server.requests) == 5
    assert clock.seconds < 10


@pytest.mark.parametrize("kind", ["400", "401", "403", "422", "429 daily", "429 money"])
def test_a_clear_no_is_not_asked_again(kind, serve, engine_at, asking, clock):
    """Asking again changes neither a refusal nor an empty purse."""
    server = with_jobs(serve(Fault(kind, on=READ, times=99)))
    with pytest.raises(Refused):
        asking(engine_at(server.base_url), lambda engine: engine.job("ftjob-00000001"))
    assert len(server.requests) == 1
    assert clock.slept == []


def test_a_missing_page_of_a_proxy_is_not_a_missing_job(serve, engine_at, asking):
    """A 404 in HTML, or for the whole address, says nothing about the job."""
    server = with_jobs(serve(Fault("html before", on=READ, times=99, value=404)))
    with pytest.raises(UnknownOutcome):
        asking(engine_at(server.base_url), lambda engine: engine.job("ftjob-00000001"))
    with pytest.raises(Refused):
        asking(engine_at(server.base_url.replace("/v1", "/v2")), lambda engine: engine.job("ftjob-00000001"))


def test_another_job_than_asked_for_is_no_answer(serve, engine_at, asking):
    """An answer about something else is a senseless one."""
    server = with_jobs(serve())
    server.api.jobs["ftjob-00000001"]["id"] = "ftjob-00000002"
    with pytest.raises(UnknownOutcome):
        asking(engine_at(server.base_url), lambda engine: engine.job("ftjob-00000001"))


def test_names_cannot_leave_their_place_in_an_address(serve, engine_at, asking):
    """Slashes, dots, colons and question marks in ids stay part of the id."""
    server = with_jobs(serve())
    for name in ("../models", "..", "a/b", "a?b=c", "ft:base:org::x", "%2e%2e"):
        assert asking(engine_at(server.base_url), lambda engine, name=name: engine.job(name)) is None
    assert [request.path for request in server.requests if not request.path.startswith("/fine_tuning/jobs/")] == []


def test_the_engines_clock_is_known_from_its_answers(serve, engine_at, asking, clock):
    """The last `Date` counts, moved on by the time since then; an engine that was never asked is asked once."""
    server = with_jobs(serve(clock=lambda: 1_700_000_000.0))

    async def scenario(engine):
        first = await engine.server_time()
        await clock.sleep(60)
        return first, await engine.server_time()

    assert asking(engine_at(server.base_url), scenario) == (1_700_000_000, 1_700_000_060)
    assert len(server.requests) == 1


def test_asking_to_wait_is_obeyed_while_patience_lasts(serve, engine_at, asking, clock):
    """`retry-after` stretches a pause; more than the patience ends the read at once and is passed on."""
    server = with_jobs(serve(Fault("wait", on=READ, value="7"), Fault("wait", on=READ, skip=1, value="3600")))
    asking(engine_at(server.base_url), lambda engine: engine.job("ftjob-00000001"))
    assert clock.slept == [7.0]
    with pytest.raises(Refused) as caught:
        asking(engine_at(server.base_url), lambda engine: engine.job("ftjob-00000001"))
    assert caught.value.retry_after == 3600
    assert clock.slept == [7.0]


def test_a_model_without_a_name_is_left_out(serve, engine_at, asking):
    """A list of models is as good as its rows."""
    server = serve(Fault("broken row", on="GET /models"))
    models = asking(engine_at(server.base_url), lambda engine: engine.models())
    assert [model["id"] for model in models] == ["base-small", "base-large"]
