"""Text similarity, from 0 to 1, as the reference libraries compute it.

| metric | reference |
|---|---|
| `fuzzy_match` | rapidfuzz `fuzz.ratio / 100`: 2 x longest common subsequence / both lengths |
| `bleu` | sacrebleu `sentence_bleu(...).score / 100`: 13a tokens, effective order, exponential smoothing |
| `gleu` | nltk `sentence_gleu` over white-space tokens |
| `rouge_1` to `rouge_5`, `rouge_l` | rouge-score's F measure, without stemming |
| `meteor` | nltk itself, which must be installed with its WordNet data |

The tests hold their published values, and compare with the libraries where those are installed.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Final

_NOT_WORD = re.compile(r"[^a-z0-9]+")


def fuzzy_match(text: str, reference: str) -> float:
    """Return the normalised InDel similarity of two texts."""
    total = len(text) + len(reference)
    return 2 * _lcs_length(text, reference) / total if total else 1.0


def rouge_n(text: str, reference: str, *, n: int) -> float:
    """Return the F measure of the shared n-grams."""
    given, wanted = (_ngrams(_rouge_tokens(one), n) for one in (text, reference))
    return _f_measure((given & wanted).total(), given.total(), wanted.total())


def rouge_l(text: str, reference: str) -> float:
    """Return the F measure of the longest common subsequence of words."""
    given, wanted = _rouge_tokens(text), _rouge_tokens(reference)
    return _f_measure(_lcs_length(given, wanted), len(given), len(wanted))


def bleu(text: str, reference: str) -> float:
    """Return the sentence BLEU of up to four words."""
    given, wanted = _tokens_13a(text), _tokens_13a(reference)
    counts = [_overlap(given, wanted, n) for n in range(1, 5)]
    if not given or not counts[0][0]:
        return 0.0
    smooth, logs = 1.0, []
    for correct, total in counts:
        if total == 0:
            break
        if correct == 0:
            smooth *= 2
        logs.append(math.log(correct / total if correct else 1 / (smooth * total)))
    brevity = 1.0 if len(given) >= len(wanted) else math.exp(1 - len(wanted) / len(given))
    return brevity * math.exp(sum(logs) / len(logs))


def gleu(text: str, reference: str) -> float:
    """Return Google's sentence BLEU: the smaller of precision and recall over all n-grams up to four."""
    given, wanted = text.split(), reference.split()
    counts = [_overlap(given, wanted, n) for n in range(1, 5)]
    matched = sum(correct for correct, _ in counts)
    largest = max(sum(total for _, total in counts), sum(max(len(wanted) - n + 1, 0) for n in range(1, 5)))
    return matched / largest if largest else 0.0


def meteor(text: str, reference: str) -> float:
    """Return nltk's METEOR over white-space tokens."""
    from nltk.translate.meteor_score import single_meteor_score

    return float(single_meteor_score(reference.split(), text.split()))


def meteor_available() -> bool:
    """Whether nltk and its WordNet data are installed."""
    try:
        from nltk.corpus import wordnet

        wordnet.synsets("word")
    except (ImportError, LookupError):
        return False
    return True


METRICS: Final[Mapping[str, Callable[[str, str], float]]] = {
    "fuzzy_match": fuzzy_match,
    "bleu": bleu,
    "gleu": gleu,
    "meteor": meteor,
    "rouge_l": rouge_l,
    **{f"rouge_{n}": partial(rouge_n, n=n) for n in range(1, 6)},
}


def _rouge_tokens(text: str) -> list[str]:
    return _NOT_WORD.sub(" ", text.lower()).split()


def _ngrams(tokens: Sequence[str], n: int) -> Counter[tuple[str, ...]]:
    return Counter(zip(*(tokens[i:] for i in range(n)), strict=False))


def _overlap(given: Sequence[str], wanted: Sequence[str], n: int) -> tuple[int, int]:
    """Return how many n-grams of `given` are in `wanted` (clipped), and how many it has."""
    mine = _ngrams(given, n)
    return (mine & _ngrams(wanted, n)).total(), mine.total()


def _f_measure(common: int, given: int, wanted: int) -> float:
    return 2 * common / (given + wanted) if common else 0.0


def _lcs_length(a: Sequence[Any], b: Sequence[Any]) -> int:
    """Return the length of the longest common subsequence (Hyyro's bit-parallel rows on big integers)."""
    positions: dict[Any, int] = {}
    for i, symbol in enumerate(a):
        positions[symbol] = positions.get(symbol, 0) | 1 << i
    everything = (1 << len(a)) - 1
    row = everything
    for symbol in b:
        both = row & positions.get(symbol, 0)
        row = ((row + both) | (row - both)) & everything
    return len(a) - row.bit_count()


_ENTITIES = (("&quot;", '"'), ("&amp;", "&"), ("&lt;", "<"), ("&gt;", ">"))
_SPLITS = (
    (re.compile(r"([{-~\[-` -&(-+:-@/])"), r" \1 "),  # symbols, but not . , - '
    (re.compile(r"([^0-9])([.,])"), r"\1 \2 "),
    (re.compile(r"([.,])([^0-9])"), r" \1 \2"),
    (re.compile(r"([0-9])(-)"), r"\1 \2 "),
)


def _tokens_13a(text: str) -> list[str]:
    """Return the tokens of the WMT standard tokenizer, mteval 13a."""
    text = text.rstrip().replace("<skipped>", "").replace("-\n", "").replace("\n", " ")
    for entity, character in _ENTITIES:
        text = text.replace(entity, character)
    text = f" {text} "
    for pattern, replacement in _SPLITS:
        text = pattern.sub(replacement, text)
    return text.split()
