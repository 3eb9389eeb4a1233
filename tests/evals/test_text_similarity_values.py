"""Text similarity equals the reference libraries: sacrebleu 2.5, rouge-score 0.1.2, rapidfuzz 3, nltk 3.9.

The table holds their values, so that they need not be installed; where they are, they are asked again.
"""

from __future__ import annotations

import random
from typing import Any

import pytest

from ftspec.evals.similarity import METRICS, meteor_available

VALUES: list[tuple[str, str, dict[str, float]]] = [
    (
        "the cat sat on the mat",
        "the cat is on the mat",
        {
            "bleu": 0.379917842826,
            "gleu": 0.5,
            "fuzzy_match": 0.93023255814,
            "rouge_1": 0.833333333333,
            "rouge_2": 0.6,
            "rouge_3": 0.25,
            "rouge_4": 0.0,
            "rouge_5": 0.0,
            "rouge_l": 0.833333333333,
        },
    ),
    (
        "Hello, world! It costs $3.50 (approx.).",
        "Hello world, it costs 3.50 dollars.",
        {
            "bleu": 0.048346328454,
            "gleu": 0.055555555556,
            "fuzzy_match": 0.756756756757,
            "rouge_1": 0.857142857143,
            "rouge_2": 0.833333333333,
            "rouge_3": 0.8,
            "rouge_4": 0.75,
            "rouge_5": 0.666666666667,
            "rouge_l": 0.857142857143,
        },
    ),
    (
        'It\'s 25-30 km; he said "go" &amp; left.',
        "It is 25-30 km, he said go and left",
        {
            "bleu": 0.227187097805,
            "gleu": 0.133333333333,
            "fuzzy_match": 0.810810810811,
            "rouge_1": 0.8,
            "rouge_2": 0.555555555556,
            "rouge_3": 0.5,
            "rouge_4": 0.428571428571,
            "rouge_5": 0.333333333333,
            "rouge_l": 0.8,
        },
    ),
    (
        "a b c d e f g",
        "a b c x e f g h i",
        {
            "bleu": 0.308957577521,
            "gleu": 0.4,
            "fuzzy_match": 0.8,
            "rouge_1": 0.75,
            "rouge_2": 0.571428571429,
            "rouge_3": 0.333333333333,
            "rouge_4": 0.0,
            "rouge_5": 0.0,
            "rouge_l": 0.75,
        },
    ),
    (
        "the the the the",
        "the cat",
        {
            "bleu": 0.159735776062,
            "gleu": 0.1,
            "fuzzy_match": 0.454545454545,
            "rouge_1": 0.333333333333,
            "rouge_2": 0.0,
            "rouge_3": 0.0,
            "rouge_4": 0.0,
            "rouge_5": 0.0,
            "rouge_l": 0.333333333333,
        },
    ),
    (
        "",
        "something",
        {
            "bleu": 0.0,
            "gleu": 0.0,
            "fuzzy_match": 0.0,
            "rouge_1": 0.0,
            "rouge_2": 0.0,
            "rouge_3": 0.0,
            "rouge_4": 0.0,
            "rouge_5": 0.0,
            "rouge_l": 0,
        },
    ),
    (
        "one",
        "one",
        {
            "bleu": 1.0,
            "gleu": 1.0,
            "fuzzy_match": 1.0,
            "rouge_1": 1.0,
            "rouge_2": 0.0,
            "rouge_3": 0.0,
            "rouge_4": 0.0,
            "rouge_5": 0.0,
            "rouge_l": 1.0,
        },
    ),
    (
        "The quick brown fox jumps over the lazy dog.",
        "A quick brown fox jumped over lazy dogs.",
        {
            "bleu": 0.185750579991,
            "gleu": 0.266666666667,
            "fuzzy_match": 0.857142857143,
            "rouge_1": 0.588235294118,
            "rouge_2": 0.266666666667,
            "rouge_3": 0.153846153846,
            "rouge_4": 0.0,
            "rouge_5": 0.0,
            "rouge_l": 0.588235294118,
        },
    ),
    (
        "Ünïcode naïve café 東京",
        "unicode naive cafe 東京",
        {
            "bleu": 0.159735776062,
            "gleu": 0.1,
            "fuzzy_match": 0.809523809524,
            "rouge_1": 0.0,
            "rouge_2": 0.0,
            "rouge_3": 0.0,
            "rouge_4": 0.0,
            "rouge_5": 0.0,
            "rouge_l": 0.0,
        },
    ),
    (
        "x",
        "y",
        {
            "bleu": 0.0,
            "gleu": 0.0,
            "fuzzy_match": 0.0,
            "rouge_1": 0.0,
            "rouge_2": 0.0,
            "rouge_3": 0.0,
            "rouge_4": 0.0,
            "rouge_5": 0.0,
            "rouge_l": 0.0,
        },
    ),
    (
        "The gunman was shot dead by police at 10,000.5 feet",
        "The gunman was shot to death by the police at 10,000.5 feet.",
        {
            "bleu": 0.400843603803,
            "gleu": 0.404761904762,
            "fuzzy_match": 0.900900900901,
            "rouge_1": 0.846153846154,
            "rouge_2": 0.666666666667,
            "rouge_3": 0.545454545455,
            "rouge_4": 0.4,
            "rouge_5": 0.222222222222,
            "rouge_l": 0.846153846154,
        },
    ),
]


@pytest.mark.parametrize(("text", "reference", "values"), VALUES, ids=[text[:20] or "empty" for text, _, _ in VALUES])
def test_values_are_those_of_the_reference_libraries(text: str, reference: str, values: dict[str, float]) -> None:
    """Each metric of each pair equals what its reference library printed."""
    assert {name: METRICS[name](text, reference) for name in values} == pytest.approx(values, abs=1e-9)


@pytest.mark.parametrize("metric", sorted(set(METRICS) - {"meteor"}))
def test_equal_texts_are_wholly_similar_and_nothing_is_not(metric: str) -> None:
    """A long enough text is 1 to itself; an empty answer is 0."""
    text = "one two three four five six"
    assert METRICS[metric](text, text) == pytest.approx(1)
    assert METRICS[metric]("", text) == 0


def test_two_empty_texts_are_the_same_letters() -> None:
    """`fuzzy_match` of nothing with nothing is 1, as rapidfuzz has it."""
    assert METRICS["fuzzy_match"]("", "") == 1


TOKENS = ["the", "cat", "3.5", "1,000", "a-b", "it's", '"x"', "(y)", "&amp;", "foo.", "Bar", "é", "$5", "-", "...", "10-20"]


def _pairs() -> list[tuple[str, str]]:
    source = random.Random(7)  # noqa: S311 a simulation
    return [
        (" ".join(source.choices(TOKENS, k=source.randint(0, 12))), " ".join(source.choices(TOKENS, k=source.randint(1, 12))))
        for _ in range(200)
    ]


def test_bleu_is_sacrebleu_where_it_is_installed() -> None:
    """Random token salads have sacrebleu's sentence BLEU."""
    sacrebleu: Any = pytest.importorskip("sacrebleu")
    for text, reference in _pairs():
        assert METRICS["bleu"](text, reference) == pytest.approx(sacrebleu.sentence_bleu(text, [reference]).score / 100)


def test_rouge_is_rouge_score_where_it_is_installed() -> None:
    """Random token salads have rouge-score's F measures."""
    rouge: Any = pytest.importorskip("rouge_score.rouge_scorer")
    scorer = rouge.RougeScorer(["rouge1", "rouge2", "rougeL"])
    for text, reference in _pairs():
        scores = scorer.score(reference, text)
        assert METRICS["rouge_1"](text, reference) == pytest.approx(scores["rouge1"].fmeasure)
        assert METRICS["rouge_2"](text, reference) == pytest.approx(scores["rouge2"].fmeasure)
        assert METRICS["rouge_l"](text, reference) == pytest.approx(scores["rougeL"].fmeasure)


def test_fuzzy_match_is_rapidfuzz_where_it_is_installed() -> None:
    """Random token salads have rapidfuzz's ratio."""
    fuzz: Any = pytest.importorskip("rapidfuzz.fuzz")
    for text, reference in _pairs():
        assert METRICS["fuzzy_match"](text, reference) == pytest.approx(fuzz.ratio(text, reference) / 100)


def test_meteor_is_offered_only_with_wordnet() -> None:
    """Without nltk and its data the metric is not available; with them it gives a number."""
    if meteor_available():
        assert METRICS["meteor"]("the cat sat", "the cat sat") > 0.9
    else:
        with pytest.raises((ImportError, LookupError)):
            METRICS["meteor"]("a", "b")
