"""The walk: parents before children, what goes on when something fails, and what it says at the end."""

import dataclasses

import msgspec
import pytest

from ftspec.actions import AdoptJob, Cost, KeepJob, LaunchJob, Plan, Reason, RunEval, WaitJob
from ftspec.diagnostics import FtspecError
from ftspec.engines.base import EngineError
from ftspec.executor import progress as said
from ftspec.executor.result import ApplyOptions
from ftspec.experiment import DesiredEval
from ftspec.record import JobStatus, Origin, RecordedEval
from ftspec.state.base import JobFact
from ftspec.state.memory import MemoryState
from ftspec.testing.account import Rules, SimulatedEngine, Weather
from ftspec.testing.bench import Bench, BrokenDisk
from ftspec.testing.storm import Wish


def replace(value, **changes):
    """Return a plan or an action with other members."""
    change = msgspec.structs.replace if isinstance(value, msgspec.Struct) else dataclasses.replace
    return change(value, **changes)


def record(bench: Bench, address: str):
    """Return the record at an address."""
    return next(one for one in bench.state.jobs.values() if one.address == address)


def test_a_grid_is_bought_trained_and_recorded(bench):
    """Everything wanted has a model, its checkpoints, metrics and tokens at the end; a second plan has nothing to do."""
    bench = Bench(wish=Wish(seeds=3, validation=True))
    result = bench.execute(cost_of=lambda engine, model, method, tokens: (tokens / 1000, "EUR"))
    assert result.succeeded == ("grid/seed=1", "grid/seed=2", "grid/seed=3")
    assert result.launched == result.succeeded
    assert sorted(result.uploaded) == ["data", "held-out"]
    assert result.exit_code == 0
    last = record(bench, "grid/seed=2").last
    assert (last.status, last.trained_tokens, last.cost, last.currency) == (JobStatus.SUCCEEDED, 1000, 1.0, "EUR")
    assert last.model == f"ft:base:{last.engine_job_id[-8:]}"
    assert last.checkpoints[0].step == 1
    assert last.metrics == {"train_loss": 0.5}
    assert last.result_files == (f"file-{last.engine_job_id}",)
    assert last.hyperparameters == {"n_epochs": 2}
    assert bench.plan().empty


def test_estimates_are_kept_beside_what_it_was_in_the_end(bench):
    """Estimated tokens and money of the plan stay with the attempt."""
    plan = bench.plan()
    actions = tuple(replace(a, cost=Cost(low=1.0, high=2.0, tokens=900)) if isinstance(a, LaunchJob) else a for a in plan.actions)
    bench.execute(replace(plan, actions=actions), options=ApplyOptions(by="ada@here", git_commit="abc", ftspec_version="9"))
    last = record(bench, "grid/seed=1").last
    assert (last.estimated_tokens, last.estimated_cost, last.currency) == (900, (1.0, 2.0), "USD")
    assert (last.by, last.git_commit, last.ftspec_version) == ("ada@here", "abc", "9")


def test_a_child_is_trained_on_its_parents_model_once_it_is_there():
    """The child's request names the model that its parent became."""
    bench = Bench(rules=Rules(), wish=Wish(seeds=1, children=1))
    result = bench.execute()
    assert result.succeeded == ("grid/seed=1", "polish/seed=1")
    assert record(bench, "polish/seed=1").last.requested["model"] == record(bench, "grid/seed=1").model


def test_a_child_of_two_parents_waits_for_both():
    """`depends_on` holds a job back without lending it a model."""
    bench = Bench(wish=Wish(seeds=2, children=1))
    plan = bench.plan()
    actions = tuple(
        replace(a, job=msgspec.structs.replace(a.job, depends_on=("grid/seed=2",))) if isinstance(a, LaunchJob) and a.job.parent else a
        for a in plan.actions
    )
    result = bench.execute(replace(plan, actions=actions))
    assert len(result.succeeded) == 3
    child, *parents = sorted(bench.account.jobs.values(), key=lambda job: -job.created)
    assert all(child.created >= parent.ends for parent in parents)


def test_a_child_of_a_recorded_parent_starts_at_once():
    """A parent that succeeded in an earlier run need not be waited for."""
    bench = Bench(wish=Wish(seeds=1, children=1))
    bench.execute(options=ApplyOptions(wait=False))
    bench.sim._pass(600)
    result = bench.execute()
    assert result.succeeded == ("grid/seed=1", "polish/seed=1")


def test_a_child_of_a_parent_outside_of_the_plan_uses_the_recorded_model():
    """A plan for a part of the spec finds the parent's model in state; a parent that state does not know skips the child."""
    bench = Bench(wish=Wish(seeds=1, children=1))
    whole = bench.plan()
    child_only = replace(whole, actions=tuple(a for a in whole.actions if not isinstance(a, LaunchJob) or a.job.parent))
    skipped = bench.execute(child_only)
    assert skipped.skipped == {"polish/seed=1": "grid/seed=1"}
    parent_only = replace(whole, actions=tuple(a for a in whole.actions if not isinstance(a, LaunchJob) or not a.job.parent))
    bench.execute(parent_only)
    assert bench.execute(child_only).succeeded == ("polish/seed=1",)


def test_a_job_that_fails_skips_its_children_and_nobody_else():
    """Training fails on the engine: recorded with the engine's words, its child is skipped, the other job goes on."""
    bench = Bench(wish=Wish(seeds=2, children=1))
    engine = bench.new_engine(bench.process)
    real = bench.account.show

    class Failing(SimulatedEngine):
        async def create_job(self, request):
            job = await super().create_job(request)
            self.account.jobs[job.id].fails = request.body.get("seed") == 1
            return job

    result = bench.execute(engine=Failing(bench.account, bench.process, lambda _what: None))
    assert [(one.address, one.error.code, one.bought) for one in result.failed] == [("grid/seed=1", "training_failed", True)]
    assert result.skipped == {"polish/seed=1": "grid/seed=1"}
    assert result.succeeded == ("grid/seed=2",)
    assert result.exit_code == 4
    again = bench.execute()
    assert again.blocked == {"polish/seed=1": "grid/seed=1"}
    assert again.exit_code == 0
    assert engine is not None
    assert real is not None


def test_with_keep_going_off_the_first_failure_ends_the_buying():
    """Jobs in flight are finished, the others are skipped with the address that failed."""
    bench = Bench(wish=Wish(seeds=6))
    bench.fates += ["refused"]
    result = bench.execute(options=ApplyOptions(keep_going=False, concurrency=1))
    assert [one.address for one in result.failed] == ["grid/seed=1"]
    assert set(result.skipped.values()) == {"grid/seed=1 failed"}
    assert len(result.skipped) == 5
    assert len(bench.account.posts) == 1


def test_an_engine_that_cannot_be_reached_is_not_tried_for_every_job():
    """Nothing was bought; the others are skipped with the reason."""
    bench = Bench(wish=Wish(seeds=9), weather=Weather(not_sent=1.0))
    result = bench.execute(options=ApplyOptions(concurrency=1))
    assert len(result.failed) == 1
    assert set(result.skipped.values()) == {"`sim` cannot be reached"}
    assert len(bench.account.posts) == 4


def test_an_engine_that_does_not_accept_our_key_is_not_tried_for_every_job():
    """A 401 speaks of the account, not of the job."""
    from ftspec.engines.base import Refused

    class Closed(SimulatedEngine):
        async def create_job(self, request):
            raise Refused("invalid key", code="invalid_api_key", status=401)

    bench = Bench(wish=Wish(seeds=9))
    result = bench.execute(engine=Closed(bench.account, bench.process, lambda _what: None), options=ApplyOptions(concurrency=2))
    assert len(result.failed) == 2
    assert set(result.skipped.values()) == {"`sim` does not accept us: invalid key"}


@pytest.mark.parametrize("labels", [True, False])
def test_one_job_is_the_answer_to_one_launch(labels):
    """A server, or a cache before it, answers every launch with the first job: the others are looked up, and each finds its own."""
    bench = Bench(rules=Rules(drops_metadata=not labels), wish=Wish(seeds=3))

    class MixedUp(SimulatedEngine):
        first = None

        async def create_job(self, request):
            job = await super().create_job(request)
            self.first = self.first or job
            return dataclasses.replace(self.first, metadata={})

    result = bench.execute(engine=MixedUp(bench.account, bench.process, lambda _what: None))
    assert len(result.launched) == 1
    assert len(result.adopted) == 2
    assert result.exit_code == 0
    recorded = {one.last.engine_job_id: one.key for one in bench.state.jobs.values()}
    assert recorded == {job.id: job.key for job in bench.account.jobs.values()}


def test_three_launches_in_a_row_without_an_answer_end_the_buying():
    """An engine that is down takes no more than a few jobs into doubt."""
    bench = Bench(rules=Rules(), wish=Wish(seeds=9), weather=Weather(error_before=1.0))
    result = bench.execute(options=ApplyOptions(concurrency=1))
    assert len(result.in_doubt) == 3
    assert len(result.skipped) == 6
    assert len(bench.account.posts) == 3
    assert result.exit_code == 4


def test_a_child_that_becomes_ready_after_its_engine_was_given_up_is_skipped():
    """The parent trained; meanwhile the account turned out to be closed: the child is not tried."""
    from ftspec.engines.base import Refused

    class Closing(SimulatedEngine):
        async def create_job(self, request):
            if request.body.get("seed") == 1:
                return await super().create_job(request)
            raise Refused("key revoked", code="invalid_api_key", status=401)

    bench = Bench(wish=Wish(seeds=2, children=1))
    result = bench.execute(engine=Closing(bench.account, bench.process, lambda _what: None))
    assert result.succeeded == ("grid/seed=1",)
    assert result.skipped == {"polish/seed=1": "`sim` does not accept us: key revoked"}


def test_an_engine_that_cannot_tell_the_time_is_believed_to_share_ours():
    """A question for the time that fails changes nothing."""

    class Timeless(SimulatedEngine):
        async def server_time(self):
            raise EngineError("bad gateway")

    bench = Bench(rules=Rules())
    assert bench.execute(engine=Timeless(bench.account, bench.process, lambda _what: None)).exit_code == 0
    assert record(bench, "grid/seed=1").last.engine_time is None


def test_a_lost_request_on_an_engine_with_unique_keys_is_for_the_next_apply():
    """It never became a job, which one list proves there: reported, and bought again by the next apply."""
    bench = Bench()
    bench.fates += ["lost_request"]
    result = bench.execute()
    assert [one.error.code for one in result.failed] == ["absent"]
    assert bench.execute().succeeded == ("grid/seed=1",)
    assert [one.status for one in record(bench, "grid/seed=1").attempts] == [JobStatus.ABSENT, JobStatus.SUCCEEDED]


def test_a_lost_answer_that_turns_out_to_be_two_jobs_is_reported():
    """Another clone bought the same key at the same moment: the elder is adopted, the other one said."""

    class Twice(SimulatedEngine):
        async def create_job(self, request):
            self.account.create(request, "another clone")
            await self.process.world.sleep(2)
            return await super().create_job(request)

    bench = Bench(rules=Rules())
    bench.fates += ["lost_answer"]
    result = bench.execute(engine=Twice(bench.account, bench.process, lambda _what: None))
    elder, younger = sorted(bench.account.jobs, key=lambda job_id: bench.account.jobs[job_id].created)
    assert (result.duplicates[0].kept, result.duplicates[0].extra) == (elder, (younger,))
    assert result.exit_code == 4
    assert record(bench, "grid/seed=1").duplicates == (younger,)


def test_a_job_in_doubt_holds_nobody_up():
    """With one slot, a launch that nobody can account for does not block the others for ever."""
    bench = Bench(rules=Rules(), wish=Wish(seeds=2, max_running=1))
    bench.fates += ["lost_request", "fine"]
    result = bench.execute()
    assert [one.address for one in result.in_doubt] == ["grid/seed=1"]
    assert result.succeeded == ("grid/seed=2",)
    assert bench.told(said.InDoubt)[0].address == "grid/seed=1"


def test_a_plan_that_state_has_outrun_buys_nothing():
    """The job was bought after the plan was made: the walk skips it, whatever the plan says."""
    bench = Bench()
    plan = bench.plan()
    bench.execute()
    result = bench.execute(plan)
    assert result.skipped == {"grid/seed=1": "state has changed since the plan was made"}
    assert len(bench.account.posts) == 1


def test_a_launch_whose_key_is_in_doubt_is_looked_up_instead():
    """The plan says launch, state says in doubt: it is never bought, only looked for."""
    bench = Bench(rules=Rules())
    plan = bench.plan()
    bench.fates += ["lost_request"]
    bench.execute()
    result = bench.execute(plan)
    assert [one.address for one in result.in_doubt] == ["grid/seed=1"]
    assert len(bench.account.posts) == 1


def test_a_failed_job_is_bought_again_as_the_next_job_of_its_key():
    """Asked to retry, an engine with unique keys is asked for the second job of the key, not answered with the first."""
    bench = Bench(weather=Weather(training_fails=1.0))
    bench.execute()
    bench.account.weather = Weather()
    failed = record(bench, "grid/seed=1")
    (keep,) = [a for a in bench.plan().actions if isinstance(a, KeepJob)]
    one = bench.wanted.jobs[0]
    retry = LaunchJob(
        job=keep.job,
        key=keep.key,
        preimage=failed.preimage,
        train_key=one.train_key,
        validation_key=None,
        attempt=2,
        reason=Reason.RETRY_FAILED,
    )
    result = bench.execute(replace(bench.plan(), actions=(retry,)))
    assert result.succeeded == ("grid/seed=1",)
    assert [(a.number, a.status) for a in record(bench, "grid/seed=1").attempts] == [(1, JobStatus.FAILED), (2, JobStatus.SUCCEEDED)]
    assert sorted(job.nth for job in bench.account.jobs.values()) == [1, 2]


def test_a_job_found_on_the_engine_is_adopted_and_watched():
    """What `plan --refresh` found is recorded with its labels, then waited for; one that vanished is a failure."""
    bench = Bench()
    plan = bench.plan()
    bench.execute()
    (launch,) = [a for a in plan.actions if isinstance(a, LaunchJob)]
    (job_id,) = bench.account.jobs
    bench.store.lines.clear()
    adopt = AdoptJob(job=launch.job, key=launch.key, preimage=launch.preimage, engine_job_id=job_id)
    result = bench.execute(replace(plan, actions=(adopt,)))
    assert result.adopted == result.succeeded == ("grid/seed=1",)
    kept = record(bench, "grid/seed=1")
    assert (kept.last.origin, kept.scope, kept.suffix) == (Origin.ADOPTED, "sim", "s1")
    bench.store.lines.clear()
    bench.account.jobs.clear()
    gone = bench.execute(replace(plan, actions=(adopt,)))
    assert [one.error.code for one in gone.failed] == ["job_gone"]

    class Down(SimulatedEngine):
        async def job(self, job_id):
            raise EngineError("bad gateway", status=502)

    down = bench.execute(replace(plan, actions=(adopt,)), engine=Down(bench.account, bench.process, lambda _what: None))
    assert [one.error.code for one in down.failed] == ["http_502"]


def test_a_job_bought_by_another_clone_is_adopted_instead_of_bought_again():
    """Before buying, the engine's list is looked at: what carries our key is ours already."""
    bench = Bench(rules=Rules(), wish=Wish(seeds=2))
    bench.execute()
    bench.store.lines.clear()
    result = bench.execute()
    assert result.adopted == ("grid/seed=1", "grid/seed=2")
    assert result.launched == ()
    assert len(bench.account.jobs) == 2


def test_new_labels_are_recorded_and_nothing_is_bought():
    """A renamed experiment, another suffix, other tags: free, and written down."""
    bench = Bench()
    bench.execute()
    (keep,) = [a for a in bench.plan().actions if isinstance(a, KeepJob)]
    renamed = msgspec.structs.replace(keep.job, address="new/seed=1", tags={"owner": "ada"})
    plan = replace(bench.plan(), actions=(replace(keep, job=renamed, relabelled=(object(),)),))  # type: ignore[arg-type]
    result = bench.execute(plan)
    assert result.exit_code == 0
    assert record(bench, "new/seed=1").tags == {"owner": "ada"}
    assert len(bench.account.posts) == 1


def test_a_running_job_with_new_labels_is_waited_for_under_its_new_name():
    """Labels are free to change while a job runs; the walk goes on with it."""
    bench = Bench()
    bench.execute(options=ApplyOptions(wait=False))
    (keep,) = [a for a in bench.plan().actions if isinstance(a, KeepJob)]
    renamed = msgspec.structs.replace(keep.job, address="new/seed=1")
    plan = replace(bench.plan(), actions=(replace(keep, job=renamed, relabelled=(object(),)),))  # type: ignore[arg-type]
    assert bench.execute(plan).succeeded == ("new/seed=1",)
    assert record(bench, "new/seed=1").model is not None


def test_without_waiting_apply_returns_after_launching_and_goes_on_later():
    """`--no-wait`: bought and recorded; the next apply waits for what runs."""
    bench = Bench(wish=Wish(seeds=2, children=1))
    first = bench.execute(options=ApplyOptions(wait=False))
    assert first.running == ("grid/seed=1", "grid/seed=2")
    assert first.queued == ("polish/seed=1",)
    assert first.waiting == ("grid/seed=1", "grid/seed=2", "polish/seed=1")
    assert first.exit_code == 0
    second = bench.execute()
    assert second.succeeded == ("grid/seed=1", "grid/seed=2", "polish/seed=1")
    assert second.launched == ("polish/seed=1",)


def test_a_full_disk_ends_the_buying_and_names_what_was_bought():
    """State cannot be written after a purchase: its id is reported, nothing more is bought, and the next run finds it."""
    bench = Bench(wish=Wish(seeds=3))
    full = lambda real: BrokenDisk(real, lambda fact: isinstance(fact, JobFact) and "engine_job_id" in fact.values)  # noqa: E731
    result = bench.execute(writer=full, options=ApplyOptions(concurrency=1))
    (job_id,) = bench.account.jobs
    assert result.unrecorded == {"grid/seed=1": job_id}
    assert result.state_error == "state could not be written: No space left on device"
    assert result.exit_code == 1
    assert bench.told(said.NotRecorded)[0].engine_job_id == job_id
    run = bench.apply()
    assert run.result is not None
    assert len(run.result.succeeded) == 3
    assert len(bench.account.jobs) == 3


def test_a_disk_that_fails_before_anything_was_bought_buys_nothing():
    """Not even the labels of kept jobs can be written: the walk ends where it began."""
    bench = Bench(wish=Wish(seeds=3))
    result = bench.execute(writer=lambda real: BrokenDisk(real, lambda fact: True))
    assert result.state_error is not None
    assert bench.account.posts == []


def test_a_renderer_without_its_terminal_stops_nothing(bench):
    """Writing to a closed terminal fails; purchases are recorded all the same."""

    def gone(_event):
        raise OSError(5, "Input/output error")

    assert bench.execute(progress=gone).succeeded == ("grid/seed=1",)


def test_a_bug_in_what_is_made_of_an_answer_is_raised_after_the_calls_in_flight():
    """The coordinator itself stumbles: what is in flight is finished and recorded all the same."""
    bench = Bench(wish=Wish(seeds=3))

    def stumble(event):
        if isinstance(event, said.Launched):
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        bench.execute(progress=stumble)
    assert {one.status for one in bench.state.jobs.values()} == {JobStatus.QUEUED}
    assert len(bench.state.jobs) == len(bench.account.jobs) == 3


def test_a_bug_in_a_piece_of_work_is_raised_after_the_calls_in_flight(bench):
    """An error that nobody expects ends the walk as itself, once what was bought is recorded."""
    bench = Bench(wish=Wish(seeds=2, validation=True))

    async def broken(ref, key):
        if ref == "held-out":
            raise ZeroDivisionError
        return await Bench.materialise(bench, ref, key)

    with pytest.raises(ZeroDivisionError):
        bench.execute(materialise=broken)


def test_an_engine_that_cannot_be_opened_stops_everything_before_the_first_purchase(bench):
    """A missing key is said before anything is bought."""

    def locked(name):
        raise FtspecError(f"no key for {name}")

    with pytest.raises(FtspecError, match="no key for sim"):
        bench.execute(engines=locked)
    assert bench.account.posts == []


def test_a_plan_with_nothing_to_do_opens_no_engine(bench):
    """All recorded and ended: nobody is asked."""
    bench.execute()
    result = bench.execute(engines=lambda name: pytest.fail("an engine was opened"))
    assert result.exit_code == 0


# Evals


def eval_of(address: str | None, model: str | None, *, name: str = "holdout") -> RunEval:
    """Return an eval action."""
    return RunEval(
        eval=DesiredEval(name=name, dataset="data", graders={}),
        key=f"eval-{address}-{model}",
        preimage={"model": {"scope": "sim", "name": model} if address is None else {"job": "?"}},
        dataset_key="d",
        address=address,
        engine="sim",
        scope="sim",
        model=model,
        samples=1,
        reason=Reason.NOT_EVALUATED,
    )


def evaluated(bench: Bench, *evals: RunEval, fails: type[Exception] | None = None, **rest):
    """Execute a plan with evals; return the result and what was asked."""
    asked: list[tuple[str, str, str | None]] = []

    async def evaluate(action, *, model, job_key, engine):
        asked.append((action.eval.name, model, job_key))
        await engine.models()
        if fails is not None:
            raise fails("cannot")
        return RecordedEval(key=action.key, name=action.eval.name, model=model, status="succeeded")

    plan = bench.plan()
    return bench.execute(replace(plan, actions=(*plan.actions, *evals)), evaluate=evaluate, **rest), asked


def test_an_eval_of_a_job_runs_when_its_model_can_be_used(bench):
    """The model's name and the job's key are handed to whoever evaluates; the base model needs nobody."""
    result, asked = evaluated(bench, eval_of("grid/seed=1", None), eval_of(None, "base"))
    kept = record(bench, "grid/seed=1")
    assert sorted(asked) == sorted([("holdout", "base", None), ("holdout", kept.model, kept.key)])
    assert len(result.evaluated) == 2
    assert [event.model for event in bench.told(said.Evaluated)] == [model for _, model, _ in asked]


@pytest.mark.parametrize("fails", [EngineError, FtspecError, OSError])
def test_an_eval_that_fails_fails_nothing_else(bench, fails):
    """Its trouble is reported; the job stays a success."""
    result, _ = evaluated(bench, eval_of("grid/seed=1", None), fails=fails)
    assert result.succeeded == ("grid/seed=1",)
    assert ["cannot" in one.error.message for one in result.failed] == [True]
    assert result.exit_code == 4


def test_an_eval_of_a_job_that_failed_is_not_run():
    """There is no model to ask."""
    bench = Bench(weather=Weather(training_fails=1.0))
    _, asked = evaluated(bench, eval_of("grid/seed=1", None))
    assert asked == []


def test_evals_are_not_run_without_waiting(bench):
    """`--no-wait` returns after launching."""
    _, asked = evaluated(bench, eval_of(None, "base"), options=ApplyOptions(wait=False))
    assert asked == []


def test_a_new_model_is_given_time_to_be_served():
    """On an engine behind a network, a model is asked only once the engine lists it, or after a while."""
    bench = Bench(rules=Rules())

    class Slow(SimulatedEngine):
        asked = 0

        async def models(self):
            self.asked += 1
            if self.asked == 2:
                raise EngineError("bad gateway")
            return [] if self.asked < 4 else await super().models()

    engine = Slow(bench.account, bench.process, lambda _what: None)
    result, asked = evaluated(bench, eval_of("grid/seed=1", None), engine=engine)
    assert len(asked) == 1
    assert engine.asked >= 4
    assert result.exit_code == 0


def test_a_model_that_is_never_listed_is_used_all_the_same():
    """Some engines never list what they trained."""
    bench = Bench(rules=Rules())

    class Silent(SimulatedEngine):
        async def models(self):
            return []

    _, asked = evaluated(bench, eval_of("grid/seed=1", None), engine=Silent(bench.account, bench.process, lambda _what: None))
    assert len(asked) == 1


def test_a_job_whose_parent_was_in_doubt_and_is_found_meanwhile_is_for_the_next_apply():
    """The plan could not launch the child; the walk found the parent: exit 4 says that something is left to do."""
    bench = Bench(rules=Rules(), wish=Wish(seeds=1, children=1))
    bench.fates += ["lost_answer"]
    bench.account.weather = Weather(hidden=1.0, lag=100_000.0)
    bench.execute()
    for job in bench.account.jobs.values():
        job.shown = 0.0
    plan = bench.plan()
    assert any(isinstance(a, WaitJob) and a.reason is Reason.PARENT_IN_DOUBT for a in plan.actions)
    result = bench.execute(plan)
    assert result.adopted == ("grid/seed=1",)
    assert result.unblocked == ("polish/seed=1",)
    assert result.exit_code == 4
    assert bench.execute().succeeded == ("polish/seed=1",)


def test_state_is_read_once_however_many_jobs_there_are():
    """A walk of many jobs reads state at its beginning and appends a few facts a job."""
    bench = Bench(wish=Wish(seeds=60))
    reads = []

    class Counting(BrokenDisk):
        def read(self):
            reads.append(1)
            return super().read()

    result = bench.execute(writer=lambda real: Counting(real, lambda fact: False))
    assert len(result.succeeded) == 60
    assert len(reads) == 1
    assert len(bench.store.lines) < 60 * 6
    assert MemoryState(bench.store).read()[1] == []
    assert isinstance(bench.plan(), Plan)
