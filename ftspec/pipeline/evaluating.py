"""Evals with everything around them: rows, engines, prices, samples on disk, facts in state.

`Evaluator` is the executor's `Evaluate`; `eval_runs` is what `ftspec compare` compares, and
`gate_verdicts` what `require:` makes of it. Which runs belong to the spec as it is now is decided
by keys alone: a record counts if its key is what the eval and the record's model give today.
"""

from __future__ import annotations

import hashlib
import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from ftspec.diagnostics import FtspecError
from ftspec.fingerprint import EvalKeys
from ftspec.regular import open_regular

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from ftspec.actions import RunEval, Verdict
    from ftspec.engines.base import Engine
    from ftspec.evals.compare import EvalRun
    from ftspec.evals.items import EvalItem
    from ftspec.evals.runner import Progress, RunOptions
    from ftspec.evals.samples import SampleStore
    from ftspec.experiment import DesiredEval
    from ftspec.pipeline.planning import Planned, Wanted
    from ftspec.pipeline.project import Project
    from ftspec.pipeline.session import Session
    from ftspec.planner.identify import Identified
    from ftspec.record import RecordedEval, State
    from ftspec.state.base import StateWriter


def sample_store(project: Project) -> SampleStore:
    """Return where the samples of a project's eval runs are."""
    from ftspec.evals.samples import SampleStore

    return SampleStore(project.records("evals"))


class Evaluator:
    """Runs planned evals and records them: the executor's `Evaluate`.

    `watch` hears how far a run is, many times a second.
    """

    def __init__(
        self,
        wanted: Wanted,
        session: Session,
        writer: StateWriter,
        *,
        allow_code: bool = False,
        options: RunOptions | None = None,
        watch: Callable[[RunEval, Progress], None] | None = None,
    ) -> None:
        from ftspec.evals.runner import RunOptions
        from ftspec.pipeline.planning import profiles
        from ftspec.pipeline.spending import Spending

        self._wanted, self._session, self._writer, self._watch = wanted, session, writer, watch
        self._run_options = replace(options or RunOptions(), allow_code=allow_code or (options is not None and options.allow_code))
        self._spending = Spending(wanted.spec, profiles())
        self._jobs = {job.address: job for job in wanted.spec.jobs}

    async def __call__(self, action: RunEval, *, model: str, job_key: str | None, engine: Engine) -> RecordedEval:
        """Run one eval on one model and return its record. Raises `FtspecError` where it cannot be run at all."""
        import msgspec

        from ftspec import __version__
        from ftspec.evals.harness import KINDS
        from ftspec.evals.prepare import judges_of
        from ftspec.evals.runner import EvalTask, run_eval
        from ftspec.pipeline.planning import utc_now
        from ftspec.record import RecordedEval
        from ftspec.state.base import EvalFact

        started = utc_now()
        about: dict[str, Any] = {
            "name": action.eval.name,
            "address": action.address,
            "model": model,
            "job_key": job_key,
            "step": action.step,
            "preimage": dict(action.preimage),
            "started_at": started,
            "ftspec_version": __version__,
        }
        about = {name: value for name, value in about.items() if value is not None}
        needs = self._session.waits_for_deployment(action.engine, model) if job_key is not None and action.step is None else None
        if needs is not None:
            whose = shlex.quote(action.address or model)
            raise FtspecError(f"`{action.eval.name}` was not asked: {needs}. Then `ftspec deployed {whose} NAME`, and apply again")
        self._writer.append(EvalFact(key=action.key, at=started, values={**about, "status": "running"}))
        task = EvalTask(
            eval=action.eval,
            key=action.key,
            items=partial(self._items, action),
            engine=engine,
            model=model,
            identity=action.preimage["model"],
            judge_engines={name: self._session.engine(name) for name, _ in judges_of(action.eval) if name is not None},
            price=partial(self._price, action, model),
            address=action.address,
            step=action.step,
            started_at=started,
        )
        self._wanted.project.make_private()
        store, options, watch = sample_store(self._wanted.project), self._options(action.eval), self._watch
        if action.eval.options.get("kind") in KINDS:
            from ftspec.evals.harness_run import run_elsewhere

            result = await run_elsewhere(task, store=store, root=self._wanted.project.root, options=options)
        else:
            result = await run_eval(task, store=store, options=options, progress=None if watch is None else partial(watch, action))
        finished = utc_now()
        values = {**result.values(), "finished_at": finished}
        self._writer.append(EvalFact(key=action.key, at=finished, values=values))
        return msgspec.convert({"key": action.key, **about, **values}, RecordedEval)

    def _options(self, one: DesiredEval) -> RunOptions:
        options = self._run_options
        return replace(
            options,
            connections=one.options.get("max_connections", options.connections),
            isolation=options.isolation or one.options.get("isolation"),
        )

    def _items(self, action: RunEval) -> Iterator[EvalItem]:
        """Read the rows; whoever reads them to the end knows that they are those of the key."""
        from ftspec.evals.items import eval_items

        return eval_items(self._rows(action), prompt=action.eval.prompt)

    def _rows(self, action: RunEval) -> Iterator[bytes]:
        from ftspec.data.digest import DatasetChanged

        ref = action.eval.dataset
        hashed = hashlib.sha256()
        for line in _open_rows(self._wanted, ref, action.eval.name):
            hashed.update(line)
            yield line
        if hashed.hexdigest() != action.dataset_key:
            raise DatasetChanged(f"dataset `{ref}` changed since it was planned", help="run `ftspec plan` again")

    def _price(
        self, action: RunEval, tested: str, engine: str | None, model: str, input_tokens: int, output_tokens: int
    ) -> tuple[float, str] | None:
        """Return what an answer costs: the model under test by its base model, a judge by its own name."""
        priced = self._root_model(action) if engine is None and model == tested else None
        return self._spending.asked(engine or action.engine, priced or model, input_tokens, output_tokens)

    def _root_model(self, action: RunEval) -> str | None:
        """Return the base model at the root of the chain that made the model: prices go by it."""
        job = self._jobs.get(action.address or "")
        while job is not None and job.parent is not None:
            job = self._jobs.get(job.parent)
        return job.base_model if job is not None else None


def base_identity(job: Identified, one: DesiredEval) -> dict[str, Any]:
    """Return the identity of the model that a job's model is compared with."""
    if one.compare_to not in (None, "base"):
        return {"scope": job.job.scope, "name": one.compare_to}
    return {"job": job.parent_key} if job.parent_key is not None else {"scope": job.job.scope, "name": job.job.base_model}


def eval_keys(wanted: Wanted | Planned, one: DesiredEval) -> EvalKeys:
    """Return what gives the keys of an eval's runs, as the spec and its datasets are now."""
    dataset = wanted.datasets[one.dataset].key
    return EvalKeys(dataset=dataset, prompt=one.prompt, sampling=one.sampling, graders=one.graders, repeat=one.repeat)


def eval_runs(wanted: Wanted | Planned, state: State, *, addresses: Iterable[str] | None = None) -> list[EvalRun]:
    """Return the recorded runs of the spec's evals as they are now; with `addresses` only those jobs', and their bases'."""
    store = sample_store(wanted.project)
    jobs = {one.key: one for one in wanted.jobs}
    chosen = None if addresses is None else set(addresses)
    found: dict[str, EvalRun] = {}
    for one in wanted.spec.evals.values():
        if one.dataset not in wanted.datasets:
            continue
        keys = eval_keys(wanted, one)
        current = {
            record.key: record
            for record in state.evals.values()
            if record.name == one.name
            and record.status == "succeeded"
            and keys.key(record.preimage.get("model", {})) == record.key
            and not state.is_outdated(record)
        }
        runs = {key: _run(wanted, record, jobs, keys, one, store) for key, record in current.items()}
        known = {key: run for key, run in runs.items() if run.base is not None or current[key].job_key in (None, *jobs)}
        wished = {key: run for key, run in known.items() if chosen is None or run.address in chosen}
        found |= {base: runs[base] for run in wished.values() if (base := run.base or "") in runs}
        found |= wished
    places = {one.job.address: place for place, one in enumerate(wanted.jobs)}
    return sorted(found.values(), key=partial(_order, places))


def _order(places: Mapping[str, int], run: EvalRun) -> tuple[Any, ...]:
    """Sort bases first, then jobs as the spec declares them, a job's checkpoints before its final model."""
    return run.eval, run.base is not None, places.get(run.address or "", -1), run.label, run.step is None, run.step or 0


def _run(
    wanted: Wanted | Planned, record: RecordedEval, jobs: Mapping[str, Identified], keys: EvalKeys, one: DesiredEval, store: SampleStore
) -> EvalRun:
    from ftspec.evals.compare import EvalRun
    from ftspec.evals.gates import Measured
    from ftspec.evals.result import item_scores

    identity = record.preimage["model"]
    job = jobs.get(identity.get("job", ""))
    local = _local_samples(store, record)
    return EvalRun(
        key=record.key,
        eval=record.name,
        model=record.model,
        measured=Measured(
            scores=record.scores,
            counts={"asked": record.samples, **record.counts},
            labels=record.labels or None,
            items=item_scores(store.samples(record.key), record.scores) if local else None,
        ),
        address=record.address if job is None else job.job.address,
        step=record.step,
        axes=job.job.axes if job is not None else {},
        base=keys.key(base_identity(job, one)) if job is not None and one.compare_to is not None else None,
        cost=record.cost,
        currency=record.currency,
        simulated=_simulated(wanted, job.job.scope if job is not None else identity.get("scope", "")),
        samples=partial(store.samples, record.key) if local else None,
    )


def _local_samples(store: SampleStore, record: RecordedEval) -> bool:
    """Whether this machine has the samples that the record is about, and not others under its key."""
    path = store.path(record.key)
    if path.is_symlink() or not path.is_file() or record.result_digest is None:
        return False
    with open_regular(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest() == record.result_digest


def _simulated(wanted: Wanted | Planned, scope: str) -> bool:
    """Whether a model lives in a scope of a toy engine."""
    from ftspec.pipeline.planning import profiles

    known = profiles()
    return any(known[entry.type].simulated for entry in wanted.spec.engines.values() if entry.scope == scope and entry.type in known)


def gate_verdicts(wanted: Wanted | Planned, state: State, *, keys: frozenset[str] | None = None) -> tuple[Verdict, ...]:
    """Return what the `require:` of each eval says of each tuned model that has a finished run (with `keys`: of those runs)."""
    import msgspec

    from ftspec.evals.gates import judge, parse_gate

    spec = wanted.spec
    if not any(one.require for one in spec.evals.values()):
        return ()
    runs = eval_runs(wanted, state)
    by_key = {run.key: run for run in runs}
    found = [verdict for verdict in _not_judged(wanted, state) if keys is None]
    for run in runs:
        base = by_key.get(run.base or "")
        for gate in spec.evals[run.eval].require if run.base is not None and run.step is None and (keys is None or run.key in keys) else ():
            verdict = judge(parse_gate(gate), run.measured, base.measured if base is not None else None)
            found.append(msgspec.structs.replace(verdict, sentence=f"`{run.label}`: {verdict.sentence}"))
    return tuple(found)


def unfinished(wanted: Wanted | Planned, state: State) -> list[RecordedEval]:
    """Return the recorded runs of the spec's jobs that did not come to their end."""
    jobs = {one.key for one in wanted.jobs}
    found = []
    for one in wanted.spec.evals.values():
        if one.dataset in wanted.datasets:
            keys = eval_keys(wanted, one)
            found += [
                record
                for record in state.evals.values()
                if record.name == one.name and record.status != "succeeded" and record.job_key in jobs
                and keys.key(record.preimage.get("model", {})) == record.key
            ]  # fmt: skip
    return found


def _not_judged(wanted: Wanted | Planned, state: State) -> Iterator[Verdict]:
    """Yield a verdict against each gate whose run did not come to its end: a gate that cannot be judged is shut."""
    from ftspec.actions import Verdict

    for record in unfinished(wanted, state):
        for gate in wanted.spec.evals[record.name].require if record.step is None else ():
            why = f"the run of `{record.name}` is not finished"
            yield Verdict(rule=gate, ok=False, sentence=f"`{record.address}`: `{gate}` cannot be judged: {why}")


def write_inspect_logs(wanted: Wanted, runs: Sequence[EvalRun], folder: Path) -> list[Path]:
    """Write runs whose samples are on this machine as `.eval` logs of Inspect."""
    from ftspec.evals.inspect_logs import write_log
    from ftspec.evals.items import eval_items

    store = sample_store(wanted.project)
    written, rows = [], {}
    for run in runs:
        header = store.header(run.key)
        if run.samples is None or header is None:
            continue
        one = wanted.spec.evals[run.eval]
        if one.dataset and one.name not in rows:
            lines = _open_rows(wanted, one.dataset, one.name)
            rows[one.name] = {item.id: item for item in eval_items(lines, prompt=one.prompt)}
        items = rows.get(one.name, {})
        written.append(write_log(folder, header, samples=run.samples(), items=items, scores=run.measured.scores, dataset=one.dataset))
    return written


def _open_rows(wanted: Wanted, ref: str, name: str) -> Iterator[bytes]:
    from ftspec.data.digest import open_rows

    dataset = next((one for one in wanted.spec.datasets.values() if ref in one.refs()), None)
    if dataset is None:
        raise FtspecError(f"no spec declares the dataset `{ref}` of eval `{name}`")
    project, spec = wanted.project, wanted.spec
    return open_rows(dataset, ref, root=project.root, data_roots=project.data_roots, datasets=spec.datasets)
