"""Leaked rows are found: certain ones always, planted near duplicates nearly always, and others not."""

from __future__ import annotations

import random
import unicodedata

import msgspec
import pytest

from ftspec.data.held_out import comparisons, spec_leaks
from ftspec.data.leakage import BYTES_PER_GRAM, Keys, Part, as_diagnostics, batches_of, compare, index_of
from ftspec.data.rows import Place
from ftspec.diagnostics import Severity
from ftspec.experiment import DesiredEval, DesiredJob, Policy, Spec

FIRST = ("ba", "ko", "mi", "ru", "te", "sol", "ver", "lin", "mar", "ten")
LAST = ("n", "ra", "ti", "mos", "ke", "dal", "fen", "gis", "lor", "pan", "sut", "wex")
WORDS = [first + last for first in FIRST for last in LAST]


def dice_of(seed: int) -> random.Random:
    return random.Random(seed)  # noqa: S311 the same texts every time


def sentence(dice: random.Random, length: int) -> str:
    return " ".join(dice.choice(WORDS) for _ in range(length))


def changed(dice: random.Random, text: str, times: int) -> str:
    """Return the text with some words replaced."""
    words = text.split()
    for place in dice.sample(range(len(words)), times):
        words[place] = dice.choice(WORDS) + "x"
    return " ".join(words)


def row(question: str, answer: str, **more) -> dict:
    system = {"role": "system", "content": "Answer the question of the customer in one short and friendly sentence, please."}
    return {"messages": [system, {"role": "user", "content": question}, {"role": "assistant", "content": answer}], **more}


def compared(folder, train, held, **settings):
    parts = [Part(dataset=folder.dataset(name, *rows, **settings), ref=name) for name, rows in (("train", train), ("held", held))]
    return {one.code: one for one in compare(parts[0], parts[1:], folder.place())}


@pytest.mark.parametrize(("length", "changes"), [(12, 1), (20, 2), (60, 2), (60, 5), (200, 10)])
def test_planted_near_duplicates_are_found_without_false_alarms(folder, length, changes):
    """Of fifty planted copies with some words changed at least 96 in 100 are found; of two hundred others none is reported."""
    dice = dice_of(length)
    train = [row(sentence(dice, length), sentence(dice, 8)) for _ in range(1500)]
    copied = dice.sample(train, 50)
    planted = [row(changed(dice, one["messages"][1]["content"], changes), one["messages"][2]["content"]) for one in copied]
    clean = [row(sentence(dice, length), sentence(dice, 8)) for _ in range(200)]
    found = compared(folder, train, planted + clean)["near-duplicate"]
    index = index_of(Part(dataset=folder.dataset("held"), ref="held"), folder.place())
    for rows, form in batches_of(Part(dataset=folder.dataset("train"), ref="train"), folder.place()):
        index.look(rows, [Keys.of(one, form, near=True) for one in rows], form)
    lines = [leak.held.line for leak in index.leaks()]
    assert [line for line in lines if line > 50] == []
    assert len([line for line in lines if line <= 50]) >= 48
    assert found.count == len(lines)


def test_the_same_row_is_an_error_on_both_sides(folder):
    """An eval row that was trained on is reported at the eval's line, with the line of the training data."""
    found = compared(folder, [row("q1", "a1"), row("q2", "a2")], [row("q9", "a9"), row("q2", "a2")])
    assert set(found) == {"leaked-row"}
    leak = found["leaked-row"]
    assert (str(leak.at), str(leak.also[0][1])) == ("held.jsonl:2", "train.jsonl:2")
    assert leak.severity == "error"


def test_the_same_prompt_with_another_answer_is_told_apart(folder):
    """A known question is a leak of its own kind; another system prompt does not hide it."""
    other = {"messages": [{"role": "user", "content": "q2"}, {"role": "assistant", "content": "a3"}]}
    assert set(compared(folder, [row("q1", "a1"), row("q2", "a2")], [other])) == {"leaked-prompt"}
    same_answer = {"messages": [{"role": "user", "content": "q2"}, {"role": "assistant", "content": "a2"}]}
    assert set(compared(folder, [row("q1", "a1"), row("q2", "a2")], [same_answer])) == {"leaked-prompt"}


def test_members_beside_prompt_and_answer_hide_no_row(folder):
    """A row with another id or source is the same row: the model has seen its question and its answer."""
    train = [row("q1", "a1", id=1), row("q2", "a2", id=2)]
    assert set(compared(folder, train, [row("q2", "a2", id=7, source="mail")])) == {"leaked-row"}
    assert set(compared(folder, train, [row("q2", "a2")])) == {"leaked-row"}
    tasks = [{"messages": [{"role": "user", "content": "q1"}], "answer": "4"}]
    assert set(compared(folder, tasks, [tasks[0] | {"answer": "5"}])) == {"leaked-prompt"}


SHORT_QUESTION = "Where's my order -- no. 5?"
LONG_QUESTION = 'I don\'t see "the second invoice" of \u00e9t\u00e9 2024 in my account - can you send it again to the caf\u00e9?'
OTHER_LETTERS = {
    "case": str.upper,
    "punctuation": lambda text: text.replace("'", "\u2019").replace('"', "\u201c").replace("-", "\u2014").replace("?", " !?"),
    "white space": lambda text: f"  {text}\n".replace(" ", "\u00a0\t"),
    "decomposed": lambda text: unicodedata.normalize("NFD", text),
    "full width": lambda text: "".join(chr(ord(one) + 0xFEE0) if "!" <= one <= "~" else one for one in text),
    "invisible": lambda text: text.replace("o", "o\u00ad").replace(" ", " \u200b\ufeff"),
}


@pytest.mark.parametrize("written", OTHER_LETTERS.values(), ids=OTHER_LETTERS)
@pytest.mark.parametrize("question", [SHORT_QUESTION, LONG_QUESTION])
def test_other_letters_hide_no_prompt(folder, question, written):
    """Case, punctuation, white space and Unicode forms make no new question of an old one, however short it is."""
    train = [row("How are you?", "fine"), row(question, "shipping")]
    found = compared(folder, train, [row("How old are you?", "fine"), row(written(question), "billing")])
    assert set(found) <= {"near-duplicate", "leaked-prompt"}
    assert [(one.at.line, one.also[0][1].line) for one in found.values()] == [(2, 2)]


@pytest.mark.parametrize("question", [SHORT_QUESTION, LONG_QUESTION])
def test_an_eval_that_asks_from_fields_of_its_own_is_compared(folder, question):
    """Which field the eval's template asks is not known here, so every longer text of an item may be the question; labels are none."""
    train = [row(question, "shipping"), row("shipping", "label"), row("Order", "x")]
    held = [{"id": 1, "question": question.lower(), "label": "x"}, {"id": 2, "question": "Is it late?", "label": "Order"}]
    found = compared(folder, train, held)
    assert set(found) == {"near-duplicate"}
    assert (found["near-duplicate"].at.line, found["near-duplicate"].count) == (1, 1)
    talk = {"messages": [{"role": "user", "content": question}], "rubric": "is it kind"}
    parts = [
        Part(dataset=folder.dataset(name, one, format=form), ref=name) for name, one, form in (("a", train[0], "chat"), ("b", talk, "eval"))
    ]
    assert [one.code for one in compare(parts[0], parts[1:], folder.place())] == ["near-duplicate"]


@pytest.mark.parametrize(("text", "found"), [("two words", True), ("delivery", True), ("invoice", False), ("A/B", False)])
def test_labels_of_an_eval_are_not_taken_for_questions(folder, text, found):
    """A text of two words, or of eight letters, may be what is asked; what is shorter is a label or a name."""
    assert bool(compared(folder, [row(text, "x")], [{"question": "Is it late?", "other": text.upper()}])) == found


@pytest.mark.parametrize(("words", "found"), [(7, False), (8, True)])
def test_items_of_eight_words_can_be_near_duplicates(folder, words, found):
    """With fewer there are too few n-grams to tell."""
    asked = " ".join(WORDS[: words - 1])
    assert bool(compared(folder, [row(asked, "x")], [row(asked.replace(WORDS[0], "other"), "x")])) == found


def test_signs_alone_are_no_prompt(folder):
    """Two rows that ask with signs only have nothing in common."""
    assert compared(folder, [row("?!", "a")], [row("...", "a")]) == {}


def test_rows_that_share_only_phrases_of_the_task_are_no_near_duplicates(folder):
    """What many items have in common (greetings, templates) says nothing about one of them."""
    dice = dice_of(1)
    template = "dear support team I have a question about my last order and hope that you can help me with it"
    train = [row(f"{template} {sentence(dice, 9)}", "ok") for _ in range(300)]
    held = [row(f"{template} {sentence(dice, 9)}", "ok") for _ in range(60)]
    assert "near-duplicate" not in compared(folder, train, held)


def test_short_items_are_compared_whole(folder):
    """Labels and greetings are not near duplicates of each other."""
    assert compared(folder, [row("cancel my order", "cancel")], [row("cancel my booking", "cancel")]) == {}


def test_languages_without_spaces_are_compared_by_letters(folder):
    """A Chinese question with a letter changed is found, and another question is not."""
    asked = "政府周二宣布尽管经济困难明年税收不会提高请问这对小企业有什么影响"
    assert set(compared(folder, [row(asked, "x")], [row(asked.replace("明年", "后年"), "x")])) == {"near-duplicate"}
    assert compared(folder, [row(asked, "x")], [row("请问我的订单什么时候发货我已经等了两个星期还没有收到任何消息", "x")]) == {}


def test_rows_without_a_question_are_compared_too(folder):
    """A row of a system prompt only has no prompt to compare, and that is fine."""
    only = {"messages": [{"role": "system", "content": "Be brief."}]}
    assert set(compared(folder, [only], [only])) == {"leaked-row"}


def test_a_group_on_both_sides_is_an_error(folder):
    """Rows of one customer in training data and eval are found by the field that the split groups by."""
    settings = {"split": {"shares": {"all": 1.0}, "group_by": "customer"}}
    train = [row("q1", "a1", customer=1), row("q2", "a2", customer=2)]
    assert set(compared(folder, train, [row("q3", "a3", customer=2)], **settings)) == {"leaked-group"}
    assert compared(folder, train, [row("q3", "a3", customer=3)], **settings) == {}


def test_parts_of_a_split_share_no_row(folder):
    """Equal rows have one hash, so a split never deals them to both sides."""
    rows = [row(f"q{n % 40}", f"a{n % 40}") for n in range(400)]
    data = folder.dataset("data", *rows, split={"shares": {"train": 0.5, "test": 0.5}})
    found = compare(Part(dataset=data, ref="data.train"), [Part(dataset=data, ref="data.test")], folder.place())
    assert found == []


def test_preference_and_eval_rows_are_compared_by_their_prompts(folder):
    """Formats have prompts of their own; an eval of questions finds those of the training data."""
    pairs = [{"input": {"messages": [{"role": "user", "content": "q1"}]}, "preferred_output": [], "non_preferred_output": []}]
    assert set(compared(folder, pairs, [dict(pairs[0], preferred_output=[{"role": "assistant", "content": "x"}])])) == {"leaked-prompt"}


def job(address, train, validation=None, evals=()):
    return DesiredJob(
        address=address,
        experiment=address,
        engine="sandbox",
        scope="sandbox",
        base_model="m",
        train=train,
        validation=validation,
        evals=evals,
    )


def test_a_spec_is_compared_pair_by_pair_once(folder):
    """Every training set meets the validation sets and evals of its jobs, each pair once."""
    data = folder.dataset("data", *[row(f"question number {n}", f"a{n}") for n in range(50)], split={"shares": {"train": 0.5, "test": 0.5}})
    gold = folder.dataset("gold", row("question number 1", "a1"))
    spec = Spec(
        root=str(folder.root),
        datasets={"data": data, "gold": gold},
        jobs=(job("a", "data", "gold"), job("b", "data", "gold", ("exam",)), job("c", "data.train", "data.test")),
        evals={"exam": DesiredEval(name="exam", dataset="gold", graders={})},
    )
    assert comparisons(spec) == {"data": ["gold"], "data.train": ["data.test"]}
    found = spec_leaks(spec, Place(root=folder.root, datasets=spec.datasets))
    assert [(one.code, one.message) for one in found] == [("leaked-row", "a row of `gold` is also in `data`")]


def test_files_that_did_not_change_are_not_compared_again(folder, monkeypatch):
    """With a cache the comparison is made once, and again when one of the files changed."""
    from ftspec.data import leakage
    from ftspec.data.cache import DigestCache

    data, gold = folder.dataset("data", row("q1", "a1")), folder.dataset("gold", row("q1", "a1"))
    spec = Spec(root=str(folder.root), datasets={"data": data, "gold": gold}, jobs=(job("a", "data", "gold"),))
    place = Place(root=folder.root, datasets=spec.datasets)
    compared_times = []
    monkeypatch.setattr(leakage, "compare", lambda *given, **more: compared_times.append(1) or compare(*given, **more))
    cache = DigestCache(folder.root / "cache", now=lambda: 2**62)
    first = spec_leaks(spec, place, cache=cache)
    assert spec_leaks(spec, place, cache=cache) == first != []
    folder.write("gold.jsonl", row("q2", "a2"))
    assert spec_leaks(spec, place, cache=cache) == []
    assert len(compared_times) == 2


def test_what_a_parent_was_trained_on_counts_for_its_children(folder):
    """A model that was trained on top of another one has seen the other's rows too."""
    first = job("first", "basics", None)
    child = msgspec.structs.replace(job("child", "tasks", "gold"), parent="first")
    assert comparisons(Spec(root=".", jobs=(first, child))) == {"tasks": ["gold"], "basics": ["gold"]}


def test_rows_are_compared_for_plans_without_near_duplicates(folder):
    """What is cheap is compared before every purchase: equal rows, prompts and groups, and nothing that needs an index of words."""
    text = "please send me the invoice of last month for my order of two blue chairs"
    data = folder.dataset("data", row("q1", "a1"), row("q2", "a2"), row(text, "billing"))
    gold = folder.dataset("gold", row("q1", "a1"), row("q2", "other"), row(text.replace("blue", "red"), "billing"))
    spec = Spec(root=str(folder.root), datasets={"data": data, "gold": gold}, jobs=(job("a", "data", "gold"),))
    place = Place(root=folder.root, datasets=spec.datasets)
    assert [one.code for one in spec_leaks(spec, place, near=False)] == ["leaked-row", "leaked-prompt"]
    assert [one.code for one in spec_leaks(spec, place)] == ["leaked-row", "leaked-prompt", "near-duplicate"]


def test_a_policy_can_allow_leakage(folder):
    """Who wants rows learned by heart says so; leaks are still told, as warnings."""
    data, gold = folder.dataset("data", row("q1", "a1")), folder.dataset("gold", row("q1", "a1"))
    datasets = {"data": data, "gold": gold}
    spec = Spec(root=str(folder.root), datasets=datasets, jobs=(job("a", "data", "gold"),), policy=Policy(allow_leakage=True))
    [told] = spec_leaks(spec, Place(root=folder.root, datasets=datasets))
    assert (told.code, told.severity) == ("leaked-row", Severity.WARNING)


def test_no_leak_is_no_problem():
    """Nothing found says nothing."""
    assert as_diagnostics([], held="a", train="b") == []


def test_the_index_says_what_it_needs(folder):
    """Its memory grows with the held-out rows only, and can be known."""
    held = folder.dataset("held", *[row(sentence(dice_of(n), 60), "x") for n in range(100)])
    index = index_of(Part(dataset=held, ref="held"), folder.place())
    assert 100 * 50 < len(index.grams) <= 100 * 60
    assert index.memory == len(index.grams) * BYTES_PER_GRAM
