"""Which job an open intent became: by label, else by what was asked, else nobody says."""

from ftspec.engines.base import ObservedJob
from ftspec.executor.matching import Ambiguous, Match, OpenIntent, differences, match_all
from ftspec.record import JobStatus


def intent(key: str, *, asked: dict | None = None, at: str = "2026-11-20T12:00:00Z", said: int | None = 1_000) -> OpenIntent:
    """Return the open intent of a key."""
    requested = {"model": "base", "training_file": "file-1", "metadata": {"ftspec_key": key}} | (asked or {})
    return OpenIntent(key=key, address=key, attempt=1, requested=requested, intent_at=at, engine_time=said)


def job(job_id: str, *, label: str | None = None, created: int = 1_000, **said) -> ObservedJob:
    """Return a job as an engine shows it."""
    values = {"base_model": "base", "training_file": "file-1"} | said
    labels = {} if label is None else {"ftspec_key": label}
    return ObservedJob(id=job_id, status=JobStatus.QUEUED, raw_status="queued", created_at=created, metadata=labels, **values)


def matched(intents, jobs, *, known=(), echoes=False, claims=()):
    """Return ids by key; a list of candidates where it is not clear."""
    found = match_all(intents, jobs, known=set(known), echoes=echoes, claims=claims)
    return {key: answer.job.id if isinstance(answer, Match) else list(answer.candidates) for key, answer in found.items()}


def test_a_label_decides_whatever_else_the_job_says():
    """Our key in the metadata is proof, even where members look different."""
    assert matched([intent("k1")], [job("j1", label="k1", training_file="other")], echoes=True) == {"k1": "j1"}


def test_of_two_jobs_with_one_label_the_elder_counts_and_the_other_is_extra():
    """Every clone decides alike: the smallest (created_at, id)."""
    found = match_all([intent("k")], [job("b", label="k"), job("c", label="k", created=900), job("a", label="k")], known=set(), echoes=True)
    answer = found["k"]
    assert isinstance(answer, Match)
    assert answer.job.id == "c"
    assert [one.id for one in answer.extra] == ["a", "b"]


def test_jobs_that_state_knows_are_nobodys_candidates():
    """A recorded job, of an earlier attempt for one, is not found again."""
    assert matched([intent("k")], [job("j1", label="k"), job("j2")], known={"j1", "j2"}) == {}


def test_where_labels_are_kept_a_job_without_one_is_only_a_candidate():
    """Somebody else may have used our file; on an engine that keeps labels such a job is not taken."""
    assert matched([intent("k")], [job("j1")], echoes=True) == {"k": ["j1"]}


def test_labels_seen_on_known_jobs_are_believed_more_than_the_profile():
    """One recorded job with its label proves that labels are kept, one without that they are dropped."""
    kept = [job("old", label="other"), job("j1")]
    dropped = [job("old"), job("j1")]
    assert matched([intent("k")], kept, known={"old"}, echoes=False) == {"k": ["j1"]}
    assert matched([intent("k")], dropped, known={"old"}, echoes=True) == {"k": "j1"}


def test_without_labels_the_one_job_that_fits_is_it():
    """Base model, files, suffix, seed, hyperparameters and (to ten minutes) time agree, as far as the engine tells them."""
    asked = {
        "seed": 7,
        "suffix": "a",
        "validation_file": "file-v",
        "method": {"type": "supervised", "supervised": {"hyperparameters": {"n_epochs": 3}}},
    }
    jobs = [
        job("wrong-seed", seed=8),
        job("wrong-suffix", suffix="b"),
        job("wrong-epochs", hyperparameters={"n_epochs": 1}),
        job("wrong-file", training_file="file-2"),
        job("wrong-validation", validation_file="file-w"),
        job("wrong-model", base_model="other"),
        job("too-old", created=399),
        job("right", created=400, seed=7, suffix="a", hyperparameters={"n_epochs": 3, "batch_size": 8}, base_model="base-2026-01-01"),
    ]
    assert matched([intent("k", asked=asked)], jobs) == {"k": "right"}


def test_a_job_that_two_requests_could_have_become_is_left_alone():
    """An engine that does not echo seeds cannot tell seed 1 from seed 2."""
    both = [intent("k1", asked={"seed": 1}), intent("k2", asked={"seed": 2})]
    assert matched(both, [job("j1")]) == {"k1": ["j1"], "k2": ["j1"]}


def test_a_job_that_a_request_in_flight_could_have_become_is_left_alone():
    """What is not answered yet, or in doubt, has a claim too; the claim itself is not answered."""
    one, other = intent("k1", asked={"seed": 1}), intent("k2", asked={"seed": 2})
    assert matched([one], [job("j1")], claims=[other]) == {"k1": ["j1"]}
    assert matched([one], [job("j1", seed=1)], claims=[other]) == {"k1": "j1"}
    assert matched([one], [job("j1")], claims=[one]) == {"k1": "j1"}


def test_replicates_share_equal_jobs_in_order():
    """Two requests for exactly the same may have become any of two equal jobs."""
    twins = [intent("k2", at="2026-11-20T12:00:01Z"), intent("k1")]
    assert matched(twins, [job("j2"), job("j1")]) == {"k1": "j1", "k2": "j2"}
    assert matched(twins, [job("j1")]) == {"k1": "j1"}
    assert matched(twins, [job("j1"), job("j2"), job("j3")]) == {"k1": ["j1", "j2", "j3"], "k2": ["j1", "j2", "j3"]}
    assert matched([twins[1]], [job("j1")], claims=[twins[0]]) == {"k1": ["j1"]}


def test_an_intent_without_a_request_is_found_by_its_label_only():
    """A record that was written by hand holds no request to compare with."""
    bare = OpenIntent(key="k", address="k", attempt=1, requested={}, intent_at="2026-11-20T12:00:00Z")
    assert matched([bare], [job("j1", created=2_000_000_000)]) == {}
    assert matched([bare], [job("j1", label="k")]) == {"k": "j1"}


def test_our_clock_may_be_a_day_wrong_where_the_engine_does_not_tell_the_time():
    """Without the engine's clock a job of up to a day before the intent may be it."""
    at = 1_795_176_000  # 2026-11-20T12:00:00Z
    no_clock = intent("k", said=None)
    assert no_clock.since == at - 86_400
    assert matched([no_clock], [job("j1", created=at - 80_000)]) == {"k": "j1"}
    assert matched([no_clock], [job("j1", created=at - 90_000)]) == {}


def test_differences_are_named_for_people():
    """What disagrees is said with both values; `auto` and what is not echoed agree with anything."""
    asked = {"model": "base", "training_file": "f1", "seed": 1, "hyperparameters": {"n_epochs": "auto", "batch_size": 4}}
    seen = job("j", base_model="other", training_file="f2", seed=2, hyperparameters={"n_epochs": 3, "batch_size": 8})
    assert differences(asked, seen) == [
        "base model `other` instead of `base`",
        "training_file `f2` instead of `f1`",
        "seed `2` instead of `1`",
        "batch_size 8 instead of 4",
    ]
    assert isinstance(match_all([intent("k")], [job("j")], known=set(), echoes=True)["k"], Ambiguous)
