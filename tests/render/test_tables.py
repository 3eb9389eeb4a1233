"""Tables of plain text."""

from __future__ import annotations

from ftspec.render.table import table, width_of


def test_columns_are_aligned_and_numbers_stand_to_the_right():
    """A column is numeric when everything in it is; empty cells do not count."""
    assert table(["job", "loss", "note"], [["tone/seed=1", 0.25, None], ["t", 12, "ok"], ["u", None, True]]) == (
        "job          loss  note\ntone/seed=1  0.25\nt              12  ok\nu                  True"
    )


def test_wide_and_combining_characters_take_their_columns():
    """As many as a terminal gives them."""
    assert [width_of(text) for text in ("abc", "日本", "e\u0301")] == [3, 4, 1]
    assert table(["a", "b"], [["日本", "x"], ["y", "z"]]) == "a     b\n日本  x\ny     z"


def test_cells_are_never_cut_and_always_printable():
    """People copy addresses; escapes are shown."""
    text = table(["model"], [["x" * 200], ["\x1b[31m\n"]])
    assert "x" * 200 in text
    assert "\\x1b[31m\\x0a" in text


def test_columns_that_do_not_fit_go_on_below():
    """The last ones stand on a line of their own, headers too; cells stay whole."""
    rows = [["tone/seed=1", 0.25, "ft:model:of:one"], ["tone/seed=2", 0.5, None]]
    assert table(["job", "loss", "model"], rows, width=30) == (
        "job          loss\n    model\ntone/seed=1  0.25\n    ft:model:of:one\ntone/seed=2   0.5"
    )
    assert table(["job", "loss", "model"], rows, width=34) == table(["job", "loss", "model"], rows)


def test_a_table_without_rows_is_its_header():
    """Colour only touches the header."""
    assert table(["a", "b"], []) == "a  b"
    assert table(["a"], [], color=True) == "\x1b[1ma\x1b[0m"
