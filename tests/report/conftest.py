"""Reports made by hand: one job by default, everything else by name."""

from __future__ import annotations

from typing import Any

import pytest

from ftspec.experiment import DesiredJob
from ftspec.record import Attempt, Checkpoint, JobError, JobStatus, RecordedJob
from ftspec.render.report.values import Curves, Data, EvalRow, EvalTable, Flipped, FlippedExample, Report, ReportJob, Spent

DIGEST = "3363b76f98e1ac1073cbfd276f7b93db66d5149b7e570b03497e06b28047cfa9"


class Maker:
    """`make.job(...)`, `make.table(...)`, `make.report(...)`."""

    def job(
        self,
        address: str = "triage/epochs=3,seed=1",
        *,
        status: str = "succeeded",
        simulated: bool = False,
        curves: Curves | None = None,
        rows: int = 300,
        validation_rows: int | None = 60,
        error: tuple[str, str] | None = None,
        checkpoints: tuple[tuple[int, float], ...] = (),
        number: int = 1,
        recorded: bool = True,
        tags: dict[str, str] | None = None,
        suffix: str | None = None,
        preimage: dict[str, Any] | None = None,
        **attempt: Any,
    ) -> ReportJob:
        experiment, _, cell = address.partition("/")
        axes = {
            name: int(value) if value.isdigit() else value for name, _, value in (part.partition("=") for part in cell.split(",") if part)
        }
        job = DesiredJob(
            address=address, experiment=experiment, engine="toy" if simulated else "acme", scope="acme", base_model="small-1", train="tickets.train",
            hyperparameters={"n_epochs": axes.get("epochs", 3)}, axes=axes, tags=tags or {}, suffix=suffix,
        )  # fmt: skip
        given = {
            "model": f"ft:small-1:{number}" if status == "succeeded" else None,
            "hyperparameters": {"n_epochs": axes.get("epochs", 3), "batch_size": 4},
            "trained_tokens": 1000,
            "created_at": "2026-11-20T10:00:00.000Z",
            "finished_at": "2026-11-20T10:05:00.000Z",
            "metrics": {"train_loss": 0.5, "full_valid_loss": 0.6},
            "ftspec_version": "0.1.0",
            "engine_job_id": f"ftjob-{number}",
        }
        last = Attempt(
            number=1,
            status=JobStatus(status),
            error=JobError(code=error[0], message=error[1]) if error else None,
            checkpoints=tuple(
                Checkpoint(model=f"ft:small-1:{step}", step=step, metrics={"full_valid_loss": loss}) for step, loss in checkpoints
            ),
            **(given | attempt),
        )
        record = RecordedJob(key=f"{number:064x}", address=address, engine=job.engine, scope="acme", attempts=(last,)) if recorded else None
        return ReportJob(
            job=job,
            key=f"{number:064x}",
            record=record,
            train=Data(ref="tickets.train", digest=DIGEST, rows=rows),
            validation=None if validation_rows is None else Data(ref="tickets.validation", digest=DIGEST, rows=validation_rows),
            simulated=simulated,
            curves=curves or Curves(),
            preimage=preimage if preimage is not None else {"base_model": "small-1", "epochs": axes.get("epochs", 3), "train": DIGEST},
            number=number,
        )

    def table(self, *rows: EvalRow, **given: Any) -> EvalTable:
        base = EvalRow(label="small-1", base=True, mean=0.1, low=0.05, high=0.2, n=200, seeds=(("small-1", 0.1),))
        tuned = EvalRow(
            label="triage/epochs=3", base=False, mean=0.8, low=0.7, high=0.9, n=200, against=0.1, difference=0.7, difference_low=0.6,
            difference_high=0.8, wins=141, losses=1, ties=58, p=0.0001, verdict="better", addresses=("triage/epochs=3,seed=1",),
            seeds=(("triage/epochs=3,seed=1", 0.79), ("triage/epochs=3,seed=2", 0.81)),
        )  # fmt: skip
        return EvalTable(**({"eval": "holdout", "grader": "exact", "rows": rows or (base, tuned)} | given))

    def flipped(self, *texts: str) -> Flipped:
        question, reference, base, tuned = texts
        return Flipped(
            best="triage/epochs=3,seed=1",
            base="small-1",
            examples=(FlippedExample(won=True, question=question, reference=reference, base=base, tuned=tuned),),
        )

    def report(self, *jobs: ReportJob, **given: Any) -> Report:
        spent = Spent(engine="acme", what="training", count=1, currency="USD", low=1.0, high=2.0, actual=1.5)
        return Report(**({"title": "triage", "spec_files": ("ftspec.yaml",), "jobs": jobs or (self.job(),), "spent": (spent,)} | given))


@pytest.fixture
def make() -> Maker:
    """Make report values by hand."""
    return Maker()


@pytest.fixture
def hostile(make: Maker) -> Report:
    """A report in which everything foreign tries to get out: tags, handlers, links, terminal escapes, keys."""
    evil = """</script><script>document.title='owned'</script><img src=x onerror="document.title='owned'">"""
    more = (
        "\"'><svg onload=document.title='owned'> javascript:document.title='owned' \u202etxt.exe {{ 7*7 }} ${7*7} sk-abcdefghijklmnop1234"
    )
    job = make.job(
        f"triage/x={evil}",
        status="failed",
        error=(evil, more),
        tags={
            "where": "javascript:document.title='owned'",
            "page": "https://example.com/?a=1&b=2",
            "user": "https://a:b@example.com/",
            evil: more,
        },
        suffix=evil + more,
        preimage={evil: more, "__proto__": evil},
        curves=Curves(train=((1.0, 2.0), (2.0, 1.0), (3.0, 0.5))),
        number=1,
        engine_job_id=evil,
        git_commit=more,
        model=more,
    )
    other = make.job(f"triage/x={more}", number=2)
    table = make.table(
        eval=evil, grader=more, notes=(evil, more, "`" + evil), too_much=(more,), flipped=make.flipped(evil, more, evil, more)
    )
    return make.report(job, other, title=evil + more, spec_files=(evil,), evals=(table,), notes=(evil,), lock=more, versions=(evil,))


@pytest.fixture(scope="session")
def maker() -> Maker:
    """Make report values by hand, in properties too."""
    return Maker()
