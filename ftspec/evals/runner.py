"""Runs one eval on one model: ask, grade, write one line a sample, until all are there.

A fixed crew takes items from one stream, so connections and memory are bounded, whatever the
size of the dataset. A sample is on disk as soon as it is graded; a run that was interrupted
goes on with the samples that are missing. No engine's error, empty answer, refusal, cut-off
answer, grader's exception or judge's nonsense is dropped or scored silently: each is counted.

A budget is a promise: the run stops before it could be exceeded, and needs to know all prices.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import msgspec

from ftspec.diagnostics import FtspecError
from ftspec.evals.asking import Asked, Asker, Clock, Hopeless, NotAnswered
from ftspec.evals.base import Grader, GraderStopped, MissingField, ModelGrader, bind
from ftspec.evals.code import Code, CodeError
from ftspec.evals.grading import code_refused, grade_with, sample_of
from ftspec.evals.money import Bill, Money, Price
from ftspec.evals.result import Counts, EvalResult, Status, summarise
from ftspec.evals.samples import GradeRecord, Run, RunHeader, Sample, SampleStore
from ftspec.evals.template import Reference, as_text
from ftspec.fingerprint import digest
from ftspec.printable import printable

if TYPE_CHECKING:
    from ftspec.engines.base import ChatAnswer
    from ftspec.evals.isolation import CodeProcess
    from ftspec.evals.items import EvalItem
    from ftspec.experiment import DesiredEval

CONNECTIONS: Final = 16
_SHOWN: Final = 300
_HOPELESS_AFTER: Final = 8


class SystemClock:
    """The machine's own clock."""

    def monotonic(self) -> float:
        """Return seconds that only go forward."""
        import time

        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        """Let that much time pass."""
        await asyncio.sleep(seconds)


@dataclass(frozen=True, slots=True, kw_only=True)
class RunOptions:
    """How to run, as opposed to what: nothing here changes an eval's key.

    `isolation` demands a wall for user code (`ftspec.evals.isolation`); `fresh` asks everything
    again; `attempts` is per question.
    """

    connections: int = CONNECTIONS
    attempts: int = 6
    allow_code: bool = False
    isolation: str | None = None
    fresh: bool = False


@dataclass(slots=True, kw_only=True)
class Progress:
    """How far a run is; the same object every time, for whoever shows it."""

    total: int
    done: int = 0
    counts: Counts = field(default_factory=Counts)
    cached: int = 0
    cost: float | None = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class EvalTask:
    """One eval on one model.

    `eval` is a prepared one (`ftspec.evals.prepare`), `identity` the `model` member of the
    preimage of `key`, `items` gives the items from the first one each time it is called.
    `judge_engines` are the engines by entry name for graders that name one; else the judge is a
    model of `engine`.
    """

    eval: DesiredEval
    key: str
    items: Callable[[], Iterable[EvalItem]]
    engine: Asked
    model: str
    identity: Mapping[str, Any]
    judge_engines: Mapping[str, Asked] = field(default_factory=dict)
    price: Price | None = None
    address: str | None = None
    step: int | None = None
    started_at: str = ""


async def run_eval(
    task: EvalTask,
    *,
    store: SampleStore,
    options: RunOptions | None = None,
    progress: Callable[[Progress], None] | None = None,
    clock: Clock | None = None,
) -> EvalResult:
    """Run an eval on a model and return what it found.

    Raises `FtspecError` before anything is asked where it cannot be run at all; afterwards
    trouble is part of the result. Cancelling it loses nothing that was answered.
    """
    options, clock, eval_ = options or RunOptions(), clock or SystemClock(), task.eval
    graders = {name: bind(definition) for name, definition in eval_.graders.items()}
    askers: dict[str | None, Asker] = {None: Asker(task.engine, clock=clock, attempts=options.attempts)}
    askers |= {name: Asker(engine, clock=clock, attempts=options.attempts) for name, engine in task.judge_engines.items()}
    _check_judges(graders, askers)
    total = _check_items(task, graders)
    header = RunHeader(
        key=task.key,
        eval=eval_.name,
        model=task.model,
        identity=dict(task.identity),
        graders={name: digest(dict(definition)) for name, definition in eval_.graders.items()},
        address=task.address,
        step=task.step,
        started_at=task.started_at,
    )
    processes = _start_code(graders, options)
    try:
        with store.open(header, fresh=options.fresh) as run:
            money = Money(eval_.budget, task.price, spent=run.spent)
            crew = _Crew(task, graders=graders, run=run, ask=Ask(askers, processes, money))
            crew.show, crew.progress = progress, Progress(total=total)
            await crew.work(options.connections)
            result_digest = run.finish()
    finally:
        for process in processes.values():
            process.close()
    return EvalResult(
        key=task.key,
        eval=eval_.name,
        model=task.model,
        status=crew.status,
        summary=summarise(
            store.samples(task.key),
            bounds={name: grader.bounds() for name, grader in graders.items()},
            labelled=eval_.options.get("preset") == "classification",
            judges=[name for name, grader in graders.items() if grader.models()],
        ),
        address=task.address,
        step=task.step,
        cost=money.spent,
        cached=crew.progress.cached,
        currency=money.currency,
        result_file=f"{task.key}/samples.jsonl",
        result_digest=result_digest,
        error=crew.error,
        error_code=crew.error_code,
        retries=sum(asker.retries for asker in askers.values()),
    )


def _check_items(task: EvalTask, graders: Mapping[str, Grader]) -> int:
    """Read all rows before the first question; return how many samples there are.

    A row that cannot be asked stops the eval. So does a grader whose template no row fits; where
    only some rows do not, those will be counted as ungraded.
    """
    rows = 0
    unfit: dict[tuple[str, str], int] = {}
    references = [(name, one) for name, grader in graders.items() for one in grader.references() if one.steps[0] == "item"]
    for item in task.items():
        rows += 1
        _group(task.eval, item)
        for name, reference in references:
            try:
                reference.value(item.item, None)
            except MissingField as missing:
                unfit[name, str(missing)] = unfit.get((name, str(missing)), 0) + 1
    if not rows:
        raise FtspecError(f"the dataset `{task.eval.dataset}` of eval `{task.eval.name}` has no rows")
    for (name, what), count in unfit.items():
        if count == rows:
            raise FtspecError(f"the grader `{name}` of eval `{task.eval.name}` fits no row: {what}")
    return rows * task.eval.repeat


def _check_judges(graders: Mapping[str, Grader], askers: Mapping[str | None, Asker]) -> None:
    for name, grader in graders.items():
        for engine, _ in grader.models():
            if engine not in askers:
                raise GraderStopped(f"the grader `{name}` asks a judge on the engine `{engine}`, which the spec does not have")


def _start_code(graders: Mapping[str, Grader], options: RunOptions) -> dict[Code, CodeProcess]:
    """Start the processes of user code; what does not load stops the eval before it costs anything."""
    codes = tuple(dict.fromkeys(code for grader in graders.values() for code in grader.code()))
    if not codes:
        return {}
    if not options.allow_code:
        raise code_refused(codes)
    from ftspec.evals.isolation import CodeProcess, choose_wall

    wall = choose_wall(options.isolation)
    processes = {code: CodeProcess(code, wall=wall) for code in codes}
    for code, process in processes.items():
        try:
            process.load()
        except CodeError as error:
            for one in processes.values():
                one.close()
            raise GraderStopped(f"the grader `{code.function}` cannot run: {printable(str(error))}") from None
    return processes


class _Crew:
    """The workers of one run and what they share."""

    def __init__(self, task: EvalTask, *, graders: Mapping[str, Grader], run: Run, ask: Ask) -> None:
        self._task, self._eval, self._graders, self._run, self._ask = task, task.eval, graders, run, ask
        self._money = ask.money
        self._in_flight = 0
        self._failures = 0
        self._any_answer = False
        self._unfinished = 0
        self._all_permanent = True
        self._permanent = False
        self.show: Callable[[Progress], None] | None = None
        self.progress = Progress(total=0)
        self.error: str | None = None
        self.error_code: str | None = None

    @property
    def status(self) -> Status:
        """How it ended."""
        if self.error is None:
            return "succeeded"
        return "failed" if self._permanent else "running"

    async def work(self, connections: int) -> None:
        """Take samples from the stream until it ends or there is no point."""
        todo = self._todo()
        if self._money.careful:
            await self._worker(itertools.islice(todo, 1))
        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(max(1, connections)):
                    group.create_task(self._worker(todo))
        except ExceptionGroup as trouble:
            raise trouble.exceptions[0] from None
        unfinished = self._unfinished + self.progress.total - self.progress.done
        if unfinished:
            self._stop("unanswered", f"{unfinished} of {self.progress.total} samples are not finished")

    def _todo(self) -> Iterator[tuple[EvalItem, int]]:
        for item in self._task.items():
            for repeat in range(self._eval.repeat):
                if self._run.finished(item.id, repeat):
                    self.progress.done += 1
                else:
                    yield item, repeat

    async def _worker(self, todo: Iterator[tuple[EvalItem, int]]) -> None:
        while self.error is None and (pair := next(todo, None)) is not None:
            if not self._money.fits(self._in_flight):
                self._stop("budget", self._money.refusal)
                return
            await self._one(*pair)

    def _stop(self, code: str, message: str, *, permanent: bool = False) -> None:
        """Stop with the first reason; a permanent one makes the eval failed rather than unfinished."""
        if self.error is None:
            self.error, self.error_code, self._permanent = message, code, permanent

    async def _one(self, item: EvalItem, repeat: int) -> None:
        self._in_flight += 1
        bill = Bill(self._money)
        try:
            sample = await self._sample(item, repeat, bill)
        except Hopeless as stop:
            self._stop("refused", str(stop), permanent=stop.permanent)
            return
        finally:
            self._in_flight -= 1
        self._run.add(msgspec.structs.replace(sample, cost=bill.amount))
        self._money.pay(bill)
        self._unfinished += not sample.finished
        self._watch(sample)
        self.progress.done += 1
        self.progress.counts.add(sample)
        self.progress.cost = self._money.spent
        if self.show is not None:
            self.show(self.progress)

    def _watch(self, sample: Sample) -> None:
        """Stop when every question so far has failed: asking on costs patience and teaches nothing."""
        self._any_answer = self._any_answer or sample.error is None
        self._failures += sample.error is not None
        if not self._any_answer and self._failures >= _HOPELESS_AFTER:
            self._stop("unanswered", f"the first {self._failures} questions all failed: {sample.error}", permanent=self._all_permanent)

    async def _sample(self, item: EvalItem, repeat: int, bill: Bill) -> Sample:
        sampling = _sampling(self._eval.sampling, item, repeat)
        request = digest({"model": self._run.header.identity, "messages": item.messages, "sampling": sampling, "repeat": repeat})
        blank = Sample(
            item=item.id,
            index=item.index,
            repeat=repeat,
            request=request,
            group=_group(self._eval, item),
            question=_question(item),
            reference=_shortened(item.item.get("reference")),
        )
        known = self._run.cached(request, item.id)
        if known is not None:
            earlier, held = known
            self.progress.cached += 1
            answered = msgspec.structs.replace(blank, **_answer_of(earlier))
            return await self._graded(answered, item, {name: earlier.grades[name] for name in held}, bill)
        try:
            answer = await self._ask.model(self._task.model, item.messages, sampling, bill)
        except NotAnswered as error:
            self._all_permanent = self._all_permanent and error.permanent
            return msgspec.structs.replace(blank, error=str(error))
        return await self._graded(msgspec.structs.replace(blank, **_answer_of(answer)), item, {}, bill)

    async def _graded(self, answered: Sample, item: EvalItem, held: dict[str, GradeRecord], bill: Bill) -> Sample:
        seen = sample_of(answered.text, tool_calls=answered.tool_calls, finish_reason=answered.finish_reason, refusal=answered.refusal)
        grades = {name: held.get(name) or await self._grade(grader, seen, item, bill) for name, grader in self._graders.items()}
        return msgspec.structs.replace(answered, grades=grades)

    async def _grade(self, grader: Grader, seen: Mapping[str, Any], item: EvalItem, bill: Bill) -> GradeRecord:
        context = _GradeContext(self._ask, bill)
        try:
            grade = await grade_with(grader, seen, item.item, context)
        except (NotAnswered, Hopeless) as error:
            if isinstance(error, Hopeless):
                self._stop("refused", f"the judge could not be asked: {error}", permanent=error.permanent)
            return GradeRecord(error=f"the judge could not be asked: {error}", retry=True)
        return GradeRecord(score=grade.score, passed=grade.passed, label=grade.label, detail=grade.detail, error=grade.error)


class Ask:
    """Everything that costs: the model under test, the judges, user code."""

    def __init__(self, askers: Mapping[str | None, Asker], processes: Mapping[Code, CodeProcess], money: Money) -> None:
        self.askers, self.processes, self.money = askers, processes, money

    async def model(self, model: str, messages: Sequence[Mapping[str, Any]], sampling: Mapping[str, Any], bill: Bill) -> ChatAnswer:
        """Ask the model under test (`NotAnswered`, `Hopeless`)."""
        answer = await self.askers[None].ask(model, messages, sampling)
        bill.add(None, model, answer)
        return answer


class _GradeContext:
    """What a grader may ask (`ftspec.evals.base.Context`)."""

    __slots__ = ("_ask", "_bill")

    def __init__(self, ask: Ask, bill: Bill) -> None:
        self._ask, self._bill = ask, bill

    async def ask(self, grader: ModelGrader, messages: list[dict[str, Any]], **sampling: Any) -> ChatAnswer:
        """Ask the judge once (`NotAnswered`, `Hopeless`)."""
        answer = await self._ask.askers[grader.engine].ask(grader.model, messages, sampling)
        self._bill.add(grader.engine, grader.model, answer)
        return answer

    async def call(self, code: Code, *arguments: Any) -> Any:
        """Call user code in its process (`CodeError`)."""
        return await asyncio.to_thread(self._ask.processes[code].call, *arguments)


def _answer_of(source: ChatAnswer | Sample) -> dict[str, Any]:
    return {
        "text": source.text,
        "finish_reason": source.finish_reason,
        "refusal": source.refusal,
        "tool_calls": [dict(call) for call in source.tool_calls],
        "input_tokens": source.input_tokens,
        "output_tokens": source.output_tokens,
    }


def _sampling(given: Mapping[str, Any], item: EvalItem, repeat: int) -> dict[str, Any]:
    """Return the request's settings; repeats of a seeded eval get seeds of their own."""
    sampling = {**item.request, **given}
    if repeat and isinstance(sampling.get("seed"), int):
        sampling["seed"] += repeat
    return sampling


def _group(eval: DesiredEval, item: EvalItem) -> str | None:  # noqa: A002 the word for it
    """Return the group whose items count as one observation, where the eval names a (dotted) member to group by."""
    name = eval.options.get("group_by")
    if not isinstance(name, str):
        return None
    try:
        return digest(Reference(f"item.{name}").value(item.item, None))[:12]
    except MissingField:
        raise FtspecError(f"row {item.index + 1} of the dataset of eval `{eval.name}` has no `{name}` to group by") from None


def _question(item: EvalItem) -> str:
    last = next((message for message in reversed(item.messages) if message.get("role") == "user"), item.messages[-1])
    return _shortened(last.get("content"))


def _shortened(value: Any) -> str:
    text = "" if value is None else as_text(value)
    return text if len(text) <= _SHOWN else text[: _SHOWN - 1] + "…"
