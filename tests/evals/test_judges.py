"""Judges are asked, read strictly, and their nonsense is counted."""

from __future__ import annotations

import json
from typing import Any

import pytest

from ftspec.diagnostics import FtspecError
from ftspec.engines.base import EngineError, Refused
from ftspec.evals.runner import RunOptions

from .conftest import EXACT, Bench, Scripted, answer, chat_rows

ROWS = chat_rows([("what?", "good")])
SCORE: dict[str, Any] = {"type": "score_model", "model": "judge", "input": [{"role": "user", "content": "Rate: {{sample.output_text}}"}]}
LABEL: dict[str, Any] = SCORE | {"type": "label_model", "labels": ["good", "bad"], "passing_labels": ["good"]}
PAIR: dict[str, Any] = {"type": "pairwise", "model": "judge", "criteria": "shorter is better"}


def judged(bench: Bench, definition: dict[str, Any], *verdicts: Any, rows: list[bytes] = ROWS) -> Any:
    """Return the grade of one answer, with the judge's replies in order."""
    replies = list(verdicts)

    def reply(model: str, question: str, times: int) -> Any:
        if model == "m":
            return answer("my answer")
        given = replies.pop(0) if len(replies) > 1 else replies[0]
        return given if not isinstance(given, str) else answer(given)

    engine = Scripted(reply)
    result = bench.run(engine, rows=rows, graders={"judge": definition})
    sample = next(iter(bench.store.samples("k1")))
    return sample.grades["judge"], engine, result


def test_a_score_is_read_from_the_judges_object(bench: Bench) -> None:
    """The judge sees the filled messages and which object to answer with."""
    reply = 'Let me think {"a": 1}.\n{"steps": [{"description": "d", "conclusion": "fine"}], "result": 0.75}'
    grade, engine, _ = judged(
        bench, SCORE | {"sampling_params": {"temperature": 0, "max_completions_tokens": 50}, "pass_threshold": 0.7}, reply
    )
    assert (grade.score, grade.passed, grade.detail, grade.error) == (0.75, True, "fine", None)
    request = engine.requests[-1]
    assert request["temperature"] == 0
    assert request["max_completion_tokens"] == 50
    (message,) = request["messages"]
    assert message["content"].startswith("Rate: my answer\n\nAnswer with one JSON object")
    assert "a number from 0 to 1" in message["content"]


def test_a_question_to_the_judge_follows_other_roles_as_its_own_message(bench: Bench) -> None:
    """Only user text is appended to."""
    _, engine, _ = judged(bench, SCORE | {"input": [{"role": "developer", "content": "Rate."}]}, '{"result": 1}')
    assert [message["role"] for message in engine.requests[-1]["messages"]] == ["developer", "user"]


def test_parts_of_a_message_become_parts_of_a_chat(bench: Bench) -> None:
    """Text and images of OpenAI's graders, as chat completions take them."""
    content = [
        {"type": "input_text", "text": "{{item.reference}}"},
        "plain",
        {"type": "input_image", "image_url": "https://x/{{item.reference}}", "detail": "low"},
    ]
    _, engine, _ = judged(bench, SCORE | {"input": [{"role": "user", "content": content}]}, '{"result": 1}')
    assert engine.requests[-1]["messages"][0]["content"] == [
        {"type": "text", "text": "good"},
        {"type": "text", "text": "plain"},
        {"type": "image_url", "image_url": {"url": "https://x/good", "detail": "low"}},
    ]


NONSENSE = [
    ("", "the judge answered nothing"),
    ("I would say 0.5", "the judge's answer holds no JSON object"),
    ('{"result": "high"}', "the judge gave no number as `result`"),
    ('{"result": true}', "the judge gave no number as `result`"),
    ('{"score": 1}', "the judge gave no number as `result`"),
    ('{"result": 7}', "the judge's score is outside 0 to 1"),
    ('{"result": NaN}', "the judge's score is outside 0 to 1"),
    ("{broken", "the judge's answer holds no JSON object"),
    (answer("{", finish_reason="length"), "the judge's answer holds no JSON object (cut off)"),
    (answer("", refusal="no"), "the judge refused"),
]


@pytest.mark.parametrize(("reply", "error"), NONSENSE)
def test_judge_nonsense_is_an_ungraded_sample(bench: Bench, reply: Any, error: str) -> None:
    """Never clamped, never guessed, never dropped."""
    grade, _, result = judged(bench, SCORE, reply)
    assert (grade.score, grade.error) == (None, error)
    assert result.summary.scores["judge"]["ungraded"] == 1
    assert result.status == "succeeded"


def test_labels_are_read_and_pass_or_not(bench: Bench) -> None:
    """Only the labels of the definition count."""
    assert judged(bench, LABEL, '{"result": "good"}')[0].score == 1
    assert judged(Bench(bench.folder / "2"), LABEL, '{"result": "bad"}')[0].passed is False
    grade = judged(Bench(bench.folder / "3"), LABEL, '{"result": "so-so"}')[0]
    assert grade.error == "the judge's `result` is none of the labels"
    assert judged(Bench(bench.folder / "4"), LABEL, "good")[0].error == "the judge's answer holds no JSON object"


@pytest.mark.parametrize(
    ("first", "second", "score", "label"),
    [("A", "B", 1, "win"), ("B", "A", 0, "loss"), ("A", "A", 0.5, "position"), ("B", "B", 0.5, "position"), ("tie", "tie", 0.5, "tie"),
     ("A", "tie", 0.75, "win"), ("tie", "A", 0.25, "loss")],
)  # fmt: skip
def test_pairs_are_judged_in_both_orders(bench: Bench, first: str, second: str, score: float, label: str) -> None:
    """A judge that prefers a place is found out."""
    grade, engine, _ = judged(bench, PAIR, json.dumps({"result": first}), json.dumps({"result": second}))
    assert (grade.score, grade.label) == (score, label)
    one, two = (request["messages"][1]["content"] for request in engine.requests[-2:])
    assert one == "Question:\nwhat?\n\nAnswer A:\nmy answer\n\nAnswer B:\ngood"
    assert two == "Question:\nwhat?\n\nAnswer A:\ngood\n\nAnswer B:\nmy answer"


def test_pairwise_nonsense_and_missing_questions_are_not_graded(bench: Bench) -> None:
    """A choice that is none; a row without a user message."""
    assert judged(bench, PAIR, '{"result": "C"}')[0].error == "the judge's `result` is none of `A`, `B`, `tie`"
    row = json.dumps({"messages": [{"role": "system", "content": "s"}, {"role": "assistant", "content": "good"}]}).encode()
    grade = judged(Bench(bench.folder / "2"), PAIR, '{"result": "A"}', rows=[row])[0]
    assert grade.error == "there is no user message to show the judge; give the grader a `prompt`"


def test_a_pairwise_prompt_replaces_the_question(bench: Bench) -> None:
    """`prompt` says what the judge is shown as the question."""
    _, engine, _ = judged(bench, PAIR | {"prompt": "About {{item.reference}}"}, '{"result": "tie"}')
    assert engine.requests[-1]["messages"][1]["content"].startswith("Question:\nAbout good\n")


def test_a_judge_on_another_engine_is_asked_there(bench: Bench) -> None:
    """`engine:` names the entry; the model under test is not bothered."""
    judge = Scripted(lambda *asked: answer('{"result": 1}'))
    model = Scripted(lambda *asked: answer("x"))
    result = bench.run(model, rows=ROWS, graders={"judge": SCORE | {"engine": "openai"}}, judges={"openai": judge})
    assert (len(model.asked), len(judge.asked), result.status) == (1, 1, "succeeded")


def test_a_judge_on_an_unknown_engine_stops_before_anybody_is_asked(bench: Bench) -> None:
    """A typo costs nothing."""
    with pytest.raises(FtspecError, match="asks a judge on the engine `nowhere`"):
        bench.run(Scripted(lambda *asked: answer("x")), rows=ROWS, graders={"judge": SCORE | {"engine": "nowhere"}})


@pytest.mark.parametrize("trouble", [EngineError("down", status=500), Refused("no key", status=401)])
def test_a_judge_that_cannot_be_asked_is_asked_again_next_time(bench: Bench, trouble: EngineError) -> None:
    """The answer is kept; only the judge is asked again."""
    grade, _, result = judged(bench, SCORE, trouble)
    assert grade.error.startswith("the judge could not be asked: ")
    assert result.status == "running"
    again = Scripted(lambda *asked: answer('{"result": 1}'))
    second = bench.run(again, rows=ROWS, graders={"judge": SCORE})
    assert [model for model, _ in again.asked] == ["judge"]
    assert (second.status, second.summary.scores["judge"]["mean"]) == ("succeeded", 1.0)


def test_a_judge_that_nobody_may_ask_stops_the_eval(bench: Bench) -> None:
    """A wrong key of the judge is found out once, not once a sample; the answer in hand is kept."""
    engine = Scripted(lambda model, question, times: answer("x") if model == "m" else Refused("no key", status=401))
    result = bench.run(engine, rows=chat_rows((f"q{i}", "x") for i in range(50)), graders={"judge": SCORE}, how=RunOptions(connections=2))
    assert result.error == "the judge could not be asked: no key"
    assert len(engine.asked) <= 6


def test_an_unchanged_judge_is_not_asked_again_when_another_grader_changes(bench: Bench) -> None:
    """Grades are reused with their answers, by the digest of their definition."""
    judged(bench, SCORE, '{"result": 0.5}')
    engine = Scripted(lambda *asked: answer('{"result": 0}'))
    result = bench.run(engine, key="k2", rows=ROWS, graders={"judge": SCORE, "more": {"type": "regex", "pattern": "."}})
    assert engine.asked == []
    assert result.summary.scores["judge"]["mean"] == 0.5


def test_a_changed_judge_is_asked_about_the_old_answers(bench: Bench) -> None:
    """Another definition is another grade."""
    judged(bench, SCORE, '{"result": 0.5}')
    engine = Scripted(lambda *asked: answer('{"result": 0}'))
    result = bench.run(engine, key="k2", rows=ROWS, graders={"judge": SCORE | {"pass_threshold": 0.2}})
    assert [model for model, _ in engine.asked] == ["judge"]
    assert result.summary.scores["judge"]["mean"] == 0.0


def test_the_judges_tokens_are_part_of_the_cost(bench: Bench) -> None:
    """Model and judge are priced by their own names."""
    engine = Scripted(lambda *asked: answer('{"result": 1}'))
    prices = {"m": 1.0, "judge": 0.1}
    result = bench.run(engine, rows=ROWS, graders={"judge": SCORE}, price=lambda entry, model, i, o: (prices[model] * i, "USD"))
    assert result.cost == pytest.approx(11.0)


def test_judges_are_compared_with_the_other_graders(bench: Bench) -> None:
    """Kappa of its yes and no with theirs, and how often each label was given."""
    verdicts = {"q0": "good", "q1": "good", "q2": "bad", "q3": "bad"}

    def reply(model: str, question: str, times: int) -> Any:
        if model == "m":
            return answer(question)
        return answer(json.dumps({"result": verdicts[question.partition(" ")[2][:2]]}))

    rows = chat_rows([("q0", "q0"), ("q1", "no"), ("q2", "no"), ("q3", "no")])
    scores = bench.run(Scripted(reply), rows=rows, graders={"exact": EXACT, "judge": LABEL}).summary.scores
    assert scores["judge"]["labels"] == {"bad": 2, "good": 2}
    assert scores["judge"]["kappa"] == {"exact": 0.5}
    assert "kappa" not in scores["exact"]
