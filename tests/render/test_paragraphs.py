"""Sentences in a given width."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from ftspec.render.paragraph import paragraph
from ftspec.render.table import width_of

WORDS = st.lists(
    st.sampled_from(["a", "job", "`epochs: 3`", "`a literal of some length`", "日本語", "x" * 70, "`"]), min_size=1, max_size=40
)


@given(WORDS, st.integers(40, 120), st.integers(0, 30), st.integers(0, 20))
def test_a_paragraph_keeps_its_words_and_its_width(words: list[str], width: int, first: int, rest: int) -> None:
    """Only a word that fits nowhere is longer than a line."""
    text = " ".join(words)
    lines = paragraph(text, width, first=first, rest=rest).split("\n")
    assert " ".join(line.strip() for line in lines).strip() == text
    assert all(line.startswith(" " * rest) for line in lines[1:])
    too_long = [line for i, line in enumerate(lines) if width_of(line) + (first if i == 0 else 0) > width]
    assert all(max(map(width_of, line.split("`") + line.split())) > 20 for line in too_long)


def test_what_is_to_be_copied_stays_on_one_line() -> None:
    """A literal between backticks is not broken, a command on a line of its own neither."""
    text = "put what differs into the suffix, such as `suffix: x` and then\n    ftspec plan --target 'triage/*' --format markdown"
    assert paragraph(text, 50, first=4, rest=2) == (
        "put what differs into the suffix, such as\n  `suffix: x` and then\n      ftspec plan --target 'triage/*' --format markdown"
    )


def test_without_a_width_nothing_is_broken() -> None:
    """Logs and pipes get whole lines, which can be searched."""
    assert paragraph("word " * 50, None) == "word " * 50
