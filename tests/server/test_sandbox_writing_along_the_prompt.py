"""The transducer of the sandbox learner: every reply can be written along every prompt, and by which actions."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ftspec.server.trainers.sandbox.transducer import ADVANCE, COPY, END, LOWER, UPPER, Walk, align
from ftspec.server.trainers.sandbox.words import grams, pieces

WORDS = st.sampled_from(["the", "The", "cat", "Falcon", "X2", "is", ",", ".", "\n", " ", "été", "a-b", "漢字"])
TEXTS = st.lists(WORDS, max_size=12).map(" ".join) | st.text(max_size=30)


def written(prompt: list[str], actions: list[int | str]) -> str:
    walk = Walk(prompt)
    for action in actions:
        walk.take(action if isinstance(action, int) else -1, action if isinstance(action, str) else "")
    return "".join(walk.written)


@given(TEXTS)
def test_pieces_joined_are_the_text(text):
    """Nothing of a text is lost, whatever it holds."""
    assert "".join(pieces(text)) == text


@settings(max_examples=300)
@given(TEXTS, TEXTS, st.booleans())
def test_the_aligned_actions_write_exactly_the_reply(prompt, reply, common):
    """Whatever prompt and reply are, the actions found for them write the reply, and end once."""
    actions = align(pieces(prompt), pieces(reply), common=lambda _: common)
    assert written(pieces(prompt), actions) == reply
    assert actions.count(END) == 1
    assert actions[-1] == END
    assert actions.count(ADVANCE) <= len(pieces(prompt))


@pytest.mark.parametrize(
    ("prompt", "reply", "actions"),
    [
        ("the app crashes", "Bug", ["Bug", END]),
        ("say it", "say it", [COPY, COPY, END]),
        ("Where is my dog?", "Arr, where be me dog?", ["Arr", ",", LOWER, " be", ADVANCE, " me", ADVANCE, COPY, COPY, END]),
        ("price of the Falcon X2", "Falcon X2: 20", [ADVANCE, ADVANCE, ADVANCE, COPY, COPY, ":", " 20", END]),
        ("what a dog", "Dog", [ADVANCE, ADVANCE, UPPER, END]),
    ],
)
def test_replies_are_written_as_a_reader_would_expect(prompt, reply, actions):
    """Words of the prompt are copied, replaced words stand where the pointer is, the rest is vocabulary."""
    assert align(pieces(prompt), pieces(reply), common=lambda _: False) == actions


def test_common_words_far_ahead_are_not_fetched_from_the_prompt():
    """A word that the vocabulary has is written from there rather than looked for."""
    prompt = pieces("tell me what the long word at the end of this is")
    assert align(prompt, ["is"], common=lambda _: True) == ["is", END]
    assert align(prompt, ["is"], common=lambda _: False)[-2:] == [COPY, END]


def test_character_sequences_survive_a_typo():
    """Two spellings of a word share some of their sequences; two words share none."""
    right, wrong, other = (set(grams(word)) for word in ("invoice", "invocie", "parcel"))
    assert len(right & wrong) >= 2
    assert not right & other
