"""The index of n-grams says what comparing every text with every item would say."""

from __future__ import annotations

from collections import Counter

from hypothesis import example, given
from hypothesis import strategies as st

from ftspec.data.ngrams import COMMON, FEWEST, LONG, NEAR, SHORT, NGrams


def runs(words, size):
    return {tuple(words[start : start + size]) for start in range(len(words) - size + 1)}


def near_by_hand(items, texts):
    """Return what `NGrams.near` should, from sets of tuples."""
    sizes = {number: 5 if len(words) >= LONG else 3 for number, words in items.items() if len(words) >= SHORT}
    kept = {number: runs(items[number], size) for number, size in sizes.items()}
    items_with = Counter((size, gram) for number, size in sizes.items() for gram in kept[number])
    own = {number: {gram for gram in kept[number] if items_with[size, gram] <= COMMON} for number, size in sizes.items()}
    found = {}
    for place, words in enumerate(texts):
        for number, grams in own.items():
            shared = len(grams & runs(words, sizes[number]))
            if len(grams) >= FEWEST and shared >= NEAR * len(grams):
                found[place, number] = shared / len(grams)
    return found


words = st.lists(st.sampled_from("abcdefgh"), max_size=16) | st.lists(st.sampled_from("abcdefghijk"), min_size=38, max_size=44)


@given(items=st.lists(words, max_size=12), texts=st.lists(words, max_size=6), copied=st.lists(st.integers(0, 11), max_size=4))
@example(items=[list("abcdefgh")] * 9, texts=[list("abcdefgh")], copied=[])
@example(items=[list("abcdefgh")] * 8, texts=[[], list("abcdefgh"), list("abcdefghabcdefgh")], copied=[])
@example(items=[list("abcdefghab")], texts=[list("abcdef"), list("ghab")], copied=[])
def test_the_index_finds_what_comparing_all_with_all_finds(items, texts, copied):
    """Whatever items and texts have in common: also across sizes, in short texts, and never over the end of a text."""
    texts = [*texts, *(items[number] for number in copied if number < len(items))]
    index = NGrams()
    for number, one in enumerate(items):
        index.add(3 * number, one)
    index.close()
    found = list(index.near(texts))
    assert {(place, number): share for place, number, share in found} == near_by_hand({3 * n: one for n, one in enumerate(items)}, texts)
    assert found == sorted(found)
