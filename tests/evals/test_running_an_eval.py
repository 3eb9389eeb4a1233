"""The runner asks, grades and keeps every sample; trouble is counted, never dropped or scored silently."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from ftspec.diagnostics import FtspecError
from ftspec.engines.base import EngineError, NotSent, Refused, UnknownOutcome
from ftspec.evals.asking import Asker
from ftspec.evals.base import GraderStopped
from ftspec.evals.result import item_scores
from ftspec.evals.runner import RunOptions

from .conftest import EXACT, ROWS, Bench, Scripted, VirtualClock, answer, chat_rows


def knowing(model: str, question: str, times: int) -> Any:
    return answer("a" + question[1:] if question in {"q0", "q1", "q2"} else "?")


def test_every_item_is_asked_once_and_graded(bench: Bench) -> None:
    """Six rows, three right answers: the score, its interval, the tokens."""
    engine = Scripted(knowing)
    result = bench.run(engine)
    assert sorted(engine.asked) == [("m", f"q{i}") for i in range(6)]
    assert result.status == "succeeded"
    score = result.summary.scores["exact"]
    assert (score["mean"], score["n"], score["ungraded"], score["method"]) == (0.5, 6, 0, "wilson")
    assert (result.summary.input_tokens, result.summary.output_tokens) == (60, 12)
    assert result.values()["samples"] == 6


def test_sampling_and_tools_of_the_row_are_sent(bench: Bench) -> None:
    """The eval's sampling and the row's tools are in the request, the row's answer and weights are not."""
    engine = Scripted(knowing)
    row = json.dumps(
        {
            "messages": [{"role": "user", "content": "q0", "weight": 0}, {"role": "assistant", "content": "a0"}],
            "tools": [{"type": "function"}],
        }
    )
    bench.run(engine, rows=[row.encode()], sampling={"temperature": 0, "max_tokens": 5})
    assert engine.requests == [
        {"model": "m", "messages": [{"role": "user", "content": "q0"}], "tools": [{"type": "function"}], "temperature": 0, "max_tokens": 5}
    ]


def test_no_more_questions_are_in_flight_than_connections(bench: Bench) -> None:
    """The crew is as large as said, and used."""
    engine = Scripted(knowing)
    bench.run(engine, rows=chat_rows((f"q{i}", "x") for i in range(40)), how=RunOptions(connections=3))
    assert engine.most == 3


def test_odd_answers_are_counted_and_graded_as_they_are(bench: Bench) -> None:
    """Empty, refused and cut-off answers score what they are worth, and are counted."""
    odd = {
        "q0": answer(""),
        "q1": answer("", refusal="I will not"),
        "q2": answer("a2", finish_reason="length"),
        "q3": answer("", finish_reason="content_filter"),
        "q4": answer("", tool_calls=({"function": {"name": "f"}},)),
    }
    result = bench.run(Scripted(lambda model, question, times: odd.get(question, answer("a5"))))
    assert result.summary.counts.odd() == {"empty": 1, "refused": 2, "truncated": 1}
    assert result.summary.scores["exact"]["mean"] == pytest.approx(2 / 6, abs=1e-6)
    assert result.values()["counts"] == {"empty": 1, "refused": 2, "truncated": 1}


def test_a_limit_is_waited_out_as_long_as_the_engine_says(bench: Bench) -> None:
    """After a 429 with retry-after nobody asks before that time has passed."""

    def reply(model: str, question: str, times: int) -> Any:
        return Refused("slow down", status=429, retry_after=7.0) if (question, times) == ("q0", 0) else answer("x")

    engine = Scripted(reply)
    result = bench.run(engine, how=RunOptions(connections=1))
    assert result.status == "succeeded"
    assert bench.clock.slept == [7.0]
    assert result.retries == 1


def test_everybody_waits_while_one_is_told_to() -> None:
    """One pause for all connections: who has not asked yet does not run into the same limit."""

    class Slow(VirtualClock):
        async def sleep(self, seconds: float) -> None:
            self.slept.append(seconds)
            for _ in range(5):
                await asyncio.sleep(0)
            self.time = max(self.time, seconds)

    clock = Slow()
    engine = Scripted(
        lambda model, question, times: answer("x") if times or question == "b" else Refused("slow", status=429, retry_after=5.0)
    )
    asker = Asker(engine, clock=clock)

    async def both() -> None:
        first = asyncio.create_task(asker.ask("m", [{"content": "a"}], {}))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        await asker.ask("m", [{"content": "b"}], {})
        await first

    asyncio.run(both())
    assert clock.slept == [5.0, 5.0]
    assert engine.asked == [("m", "a"), ("m", "a"), ("m", "b")]


@pytest.mark.parametrize(
    "trouble", [NotSent("no route"), UnknownOutcome("lost"), EngineError("busy", status=503), EngineError("slow", status=408)]
)
def test_transient_trouble_is_tried_again_with_growing_pauses(bench: Bench, trouble: EngineError) -> None:
    """Lost connections and 5xx are tried again, later each time."""
    engine = Scripted(lambda model, question, times: trouble if times < 3 else answer("x"))
    result = bench.run(engine, rows=ROWS[:1])
    assert result.status == "succeeded"
    assert len(engine.asked) == 4
    assert 0.25 <= bench.clock.slept[0] <= 0.5 < bench.clock.slept[2] <= 2


def test_a_question_that_is_never_answered_leaves_the_run_unfinished(bench: Bench) -> None:
    """The other samples count; the run is not `succeeded`, and the next one asks only for what is missing."""
    broken = Scripted(lambda model, question, times: EngineError("broken", status=500) if question == "q3" else answer("x"))
    first = bench.run(broken)
    assert (first.status, first.error_code) == ("running", "unanswered")
    assert first.summary.counts.errors == 1
    assert first.summary.scores["exact"]["ungraded"] == 1
    assert broken.asked.count(("m", "q3")) == 6
    engine = Scripted(knowing)
    second = bench.run(engine)
    assert engine.asked == [("m", "q3")]
    assert (second.status, second.summary.counts.errors, second.summary.counts.asked) == ("succeeded", 0, 6)


def test_a_question_that_the_engine_refuses_is_an_error_of_that_sample(bench: Bench) -> None:
    """A 400 about one row is not tried again and stops nobody else."""
    engine = Scripted(lambda model, question, times: Refused("too long", status=400) if question == "q3" else answer("x"))
    result = bench.run(engine)
    assert engine.asked.count(("m", "q3")) == 1
    assert result.summary.counts.errors == 1


@pytest.mark.parametrize(("status", "ending"), [(401, "running"), (403, "running"), (404, "failed")])
def test_a_wrong_key_or_model_stops_the_eval_at_once(bench: Bench, status: int, ending: str) -> None:
    """No question can be answered: nothing more is asked. A model that is not there is a failed eval."""
    engine = Scripted(lambda model, question, times: Refused("no", status=status))
    result = bench.run(engine, how=RunOptions(connections=1))
    assert len(engine.asked) == 1
    assert (result.status, result.error_code, result.error) == (ending, "refused", "no")


def test_money_that_ran_out_stops_the_eval(bench: Bench) -> None:
    """A quota that waiting does not cure."""
    refused = Refused("no credit", status=429)
    refused.quota = "money"
    result = bench.run(Scripted(lambda model, question, times: refused), how=RunOptions(connections=1))
    assert (result.status, result.error_code) == ("running", "refused")


def test_an_engine_that_wants_hours_stops_the_eval(bench: Bench) -> None:
    """A retry-after beyond a quarter of an hour is not waited for."""
    engine = Scripted(lambda model, question, times: Refused("tomorrow", status=429, retry_after=7200))
    result = bench.run(engine, how=RunOptions(connections=1))
    assert result.error == "tomorrow (the engine asks to wait 7200 s)"


def test_nothing_but_failures_stops_the_eval_early(bench: Bench) -> None:
    """When the first eight questions all fail, the other thirty are not asked."""
    engine = Scripted(lambda model, question, times: Refused("bad request", status=400))
    result = bench.run(engine, rows=chat_rows((f"q{i}", "x") for i in range(38)), how=RunOptions(connections=2))
    assert result.error == "the first 8 questions all failed: bad request"
    assert len(engine.asked) < 12
    assert result.status == "failed"


def test_a_mistake_of_ours_is_not_mistaken_for_trouble(bench: Bench) -> None:
    """Exceptions that no engine raises leave the runner as they are."""
    with pytest.raises(KeyError):
        bench.run(Scripted(lambda model, question, times: KeyError("bug")))


def test_an_interrupted_run_goes_on_with_what_is_missing(bench: Bench) -> None:
    """Stopped after three samples: the next run asks for the other three only."""
    engine = Scripted(lambda model, question, times: KeyboardInterrupt() if question == "q3" else answer("x"))
    with pytest.raises(KeyboardInterrupt):
        bench.run(engine, how=RunOptions(connections=1))
    again = Scripted(knowing)
    assert bench.run(again).status == "succeeded"
    assert [question for _, question in again.asked] == ["q3", "q4", "q5"]


def test_a_worker_that_was_cancelled_leaves_the_run_unfinished(bench: Bench) -> None:
    """A sample that nobody finished is never forgotten."""
    engine = Scripted(lambda model, question, times: asyncio.CancelledError() if question == "q3" else answer("x"))
    result = bench.run(engine, how=RunOptions(connections=2))
    assert (result.status, result.error) == ("running", "1 of 6 samples are not finished")


def test_a_torn_last_line_is_asked_again(bench: Bench) -> None:
    """What a crash left of a line is cut off."""
    bench.run(Scripted(knowing))
    path = bench.store.path("k1")
    path.write_bytes(path.read_bytes()[:-20])
    again = Scripted(knowing)
    result = bench.run(again)
    assert again.asked == [("m", "q5")]
    assert result.summary.counts.asked == 6


def test_a_crash_at_any_byte_loses_only_what_was_not_written(tmp_path: Path) -> None:
    """Cut anywhere, the run ends with the same bytes, and asks only for the samples that are gone."""
    whole = Bench(tmp_path / "whole")
    expected = whole.run(Scripted(knowing)).result_digest
    content = whole.store.path("k1").read_bytes()
    for cut in range(0, len(content), 101):
        bench = Bench(tmp_path / str(cut))
        path = bench.store.path("k1")
        path.parent.mkdir(parents=True)
        path.write_bytes(content[:cut])
        engine = Scripted(knowing)
        assert bench.run(engine).result_digest == expected
        assert len(engine.asked) == 6 - content[:cut].count(b"\n")


def test_a_damaged_line_stops_with_its_number(bench: Bench) -> None:
    """A bad line anywhere else is named."""
    bench.run(Scripted(knowing))
    path = bench.store.path("k1")
    lines = path.read_bytes().split(b"\n")
    lines[1] = b"{nonsense"
    path.write_bytes(b"\n".join(lines))
    with pytest.raises(FtspecError, match=r"line 2 of `k1/samples\.jsonl` is damaged"):
        bench.run(Scripted(knowing))


def test_equal_answers_give_equal_bytes_whatever_the_order(tmp_path: Path) -> None:
    """Samples are sorted by row at the end."""
    digests = {
        Bench(tmp_path / str(connections)).run(Scripted(knowing), how=RunOptions(connections=connections)).result_digest
        for connections in (1, 2, 5)
    }
    assert len(digests) == 1


def test_a_changed_grader_asks_nobody_again(bench: Bench) -> None:
    """Answers are a cache by content: another eval key of the same model reuses them."""
    bench.run(Scripted(knowing))
    engine = Scripted(knowing)
    result = bench.run(engine, key="k2", graders={"any": EXACT | {"operation": "ne"}})
    assert engine.asked == []
    assert result.cached == 6
    assert result.summary.scores["any"]["mean"] == 0.5
    assert result.cost == 0.0


def test_added_rows_ask_only_for_themselves(bench: Bench) -> None:
    """A dataset that grew has another key, and the old answers."""
    bench.run(Scripted(knowing))
    engine = Scripted(knowing)
    bench.run(engine, key="k2", rows=[*chat_rows([("new", "x")]), *ROWS])
    assert engine.asked == [("m", "new")]


@pytest.mark.parametrize(
    "change", [{"identity": {"job": "other"}}, {"sampling": {"temperature": 1}}, {"prompt": "again: {{item.reference}}"}]
)
def test_another_model_sampling_or_prompt_is_asked(bench: Bench, change: dict[str, Any]) -> None:
    """Only the same request to the same model is the same answer."""
    bench.run(Scripted(knowing))
    engine = Scripted(knowing)
    bench.run(engine, key="k2", **change)
    assert len(engine.asked) == 6


@pytest.mark.parametrize("key", ["k1", "k2"])
def test_a_job_that_was_trained_again_answers_for_itself(bench: Bench, key: str) -> None:
    """The run of the model before it is begun anew, and is no cache for other evals."""
    bench.run(Scripted(knowing), identity={"job": "j"})
    engine = Scripted(knowing)
    result = bench.run(engine, key=key, identity={"job": "j"}, model="m2")
    assert len(engine.asked) == 6
    assert result.cached == 0


def test_fresh_asks_everything_again(bench: Bench) -> None:
    """Neither finished samples nor the cache count."""
    bench.run(Scripted(knowing))
    engine = Scripted(knowing)
    bench.run(engine, how=RunOptions(fresh=True))
    assert len(engine.asked) == 6


def test_repeats_are_averaged_per_item_and_counted(bench: Bench) -> None:
    """Three tries of two items: n is 2, pass@3 and pass^3 are there, seeds differ."""

    def reply(model: str, question: str, times: int) -> Any:
        return answer("a0" if question == "q0" or times == 0 else "?") if question == "q0" else answer("a1" if times == 0 else "?")

    engine = Scripted(reply)
    result = bench.run(engine, rows=ROWS[:2], repeat=3, sampling={"seed": 10}, how=RunOptions(connections=1))
    score = result.summary.scores["exact"]
    assert score["n"] == 2
    assert score["mean"] == pytest.approx((1 + 1 / 3) / 2, abs=1e-6)
    assert (score["pass@3"], score["pass^3"]) == (1.0, 0.5)
    assert sorted(request["seed"] for request in engine.requests) == [10, 10, 11, 11, 12, 12]


def test_identical_rows_are_two_items(bench: Bench) -> None:
    """Duplicates are asked and counted each."""
    engine = Scripted(knowing)
    result = bench.run(engine, rows=[ROWS[0], ROWS[0]])
    assert result.summary.scores["exact"]["n"] == 2


def test_groups_are_one_observation(bench: Bench) -> None:
    """`group_by` averages the items of a group, as a split keeps them together."""
    rows = chat_rows([("q0", "a0"), ("q5", "?")], customer="c1") + chat_rows([("q1", "no")], customer="c2")
    assert bench.run(Scripted(knowing), rows=rows).summary.scores["exact"]["n"] == 3
    grouped = bench.run(Scripted(knowing), rows=rows, key="k2", options={"group_by": "customer"}).summary.scores["exact"]
    assert (grouped["n"], grouped["mean"]) == (2, 0.5)


def test_a_row_without_its_group_stops_the_eval(bench: Bench) -> None:
    """A group that is not there is not a group."""
    with pytest.raises(FtspecError, match="row 1 of the dataset of eval `holdout` has no `customer` to group by"):
        bench.run(Scripted(knowing), options={"group_by": "customer"})


def test_a_dataset_without_rows_is_an_error(bench: Bench) -> None:
    """Nothing to ask is not a perfect score."""
    with pytest.raises(FtspecError, match="has no rows"):
        bench.run(Scripted(knowing), rows=[])


def test_a_grader_that_fits_no_row_stops_before_anybody_is_asked(bench: Bench) -> None:
    """A misspelt field in a template costs nothing."""
    engine = Scripted(knowing)
    with pytest.raises(FtspecError, match="the grader `exact` of eval `holdout` fits no row: `item` has no `refrence`"):
        bench.run(engine, graders={"exact": EXACT | {"reference": "{{item.refrence}}"}})
    assert engine.asked == []


def test_a_grader_that_fits_some_rows_counts_the_others_as_ungraded(bench: Bench) -> None:
    """Rows without the field are asked, kept and shown, and in no mean."""
    rows = [*chat_rows([("q0", "a0")], label="a0"), *chat_rows([("q1", "a1")])]
    score = bench.run(Scripted(knowing), rows=rows, graders={"label": EXACT | {"reference": "{{item.label}}"}}).summary.scores["label"]
    assert (score["mean"], score["n"], score["ungraded"]) == (1.0, 1, 1)
    assert (score["worst"], score["best"]) == (0.5, 1.0)


def test_progress_counts_every_sample(bench: Bench) -> None:
    """Who watches hears of each sample; finished ones of an earlier run count as done."""
    seen: list[tuple[int, int | None]] = []
    bench.run(Scripted(knowing), rows=ROWS[:3], key="k1", progress=lambda progress: seen.append((progress.done, progress.total)))
    assert seen == [(1, 3), (2, 3), (3, 3)]


def price(engine: str | None, model: str, input_tokens: int, output_tokens: int) -> tuple[float, str] | None:
    return (0.01 * input_tokens, "USD")


def test_cost_is_the_sum_of_all_answers(bench: Bench) -> None:
    """Ten input tokens at a cent each, six times."""
    result = bench.run(Scripted(knowing), price=price)
    assert (result.cost, result.currency) == (pytest.approx(0.6), "USD")


def test_an_unknown_price_makes_the_cost_unknown(bench: Bench) -> None:
    """Never zero."""
    assert bench.run(Scripted(knowing), price=lambda *asked: None).cost is None
    assert (
        "cost"
        not in bench.run(Scripted(lambda *asked: answer("x", input_tokens=None)), key="k2", price=price, identity={"job": "j"}).values()
    )


def test_a_budget_is_never_exceeded(bench: Bench) -> None:
    """0.1 a question and 0.35 to spend: three questions, and the run can go on with more."""
    engine = Scripted(knowing)
    result = bench.run(engine, price=price, budget=0.35)
    assert (len(engine.asked), result.status, result.error_code) == (3, "running", "budget")
    again = Scripted(knowing)
    more = bench.run(again, price=price, budget=1.0)
    assert (len(again.asked), more.status, more.cost) == (3, "succeeded", pytest.approx(0.6))


def test_a_budget_without_prices_stops_after_the_first_answer(bench: Bench) -> None:
    """What cannot be counted cannot be promised."""
    engine = Scripted(knowing)
    result = bench.run(engine, budget=5.0)
    assert (len(engine.asked), result.error_code) == (1, "budget")
    assert result.error == "the price of an answer is not known, so the budget of 5 cannot be kept"


def test_code_is_refused_until_it_is_allowed(bench: Bench) -> None:
    """Nothing is asked; the digest to read is named."""
    engine = Scripted(knowing)
    with pytest.raises(GraderStopped, match=r"runs code of this project \(`grade` sha256:[0-9a-f]{12}\)"):
        bench.run(engine, graders={"code": {"type": "python", "source": "def grade(sample, item):\n    return 1"}})
    assert engine.asked == []


def test_code_that_does_not_load_stops_before_anybody_is_asked(bench: Bench) -> None:
    """A broken grader costs nothing."""
    engine = Scripted(knowing)
    with pytest.raises(GraderStopped, match=r"cannot run: the code does not load: ModuleNotFoundError: .* \(line 1\)"):
        bench.run(
            engine,
            graders={"code": {"type": "python", "source": "import no_such_module\ndef grade(sample, item):\n    return 1"}},
            how=RunOptions(allow_code=True),
        )
    assert engine.asked == []


def test_code_grades_samples_and_its_exceptions_are_counted(bench: Bench) -> None:
    """An exception in a grader is an ungraded sample that says why."""
    source = "def grade(sample, item):\n    if sample['output_text'] == '?':\n        raise ValueError('cannot say')\n    return 1.0"
    result = bench.run(Scripted(knowing), graders={"code": {"type": "python", "source": source}}, how=RunOptions(allow_code=True))
    score = result.summary.scores["code"]
    assert (score["mean"], score["ungraded"]) == (1.0, 3)
    errors = {sample.grades["code"].error for sample in bench.store.samples("k1")}
    assert errors == {None, "ValueError: cannot say (line 3)"}


def test_scores_by_item_are_what_comparisons_need(bench: Bench) -> None:
    """Repeats and groups averaged; an item that nobody could grade is there, without a score."""
    rows = [*chat_rows([("q0", "a0"), ("q5", "x")], who="c1"), *chat_rows([("q1", "a1")], who="c2")]
    graders = {"exact": EXACT, "level": EXACT | {"reference": "{{item.level}}"}}
    rows.append(chat_rows([("q2", "a2")], who="c2", level="a2")[0])
    bench.run(Scripted(knowing), rows=rows, repeat=2, graders=graders, options={"group_by": "who"})
    scores = item_scores(bench.store.samples("k1"), ["exact", "level"])
    assert sorted(scores["exact"].values()) == [0.5, 1.0]
    assert set(scores["level"].values()) == {None, 1.0}


def test_a_store_without_a_run_is_empty(bench: Bench) -> None:
    """No samples, no header; a damaged header is none."""
    assert list(bench.store.samples("nothing")) == []
    assert bench.store.header("nothing") is None
    bench.run(Scripted(knowing))
    (bench.folder / "k1" / "run.json").write_text("{")
    assert bench.store.header("k1") is None
    assert bench.run(Scripted(knowing), key="k2").cached == 0


def test_a_damaged_run_of_the_same_model_is_only_a_smaller_cache(bench: Bench) -> None:
    """Another run's bad line stops nobody else."""
    bench.run(Scripted(knowing))
    path = bench.store.path("k1")
    path.write_bytes(b"{nonsense\n" + path.read_bytes())
    engine = Scripted(knowing)
    assert bench.run(engine, key="k2").status == "succeeded"
    assert len(engine.asked) == 6
