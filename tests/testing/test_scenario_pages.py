"""The scenario runner itself: a page that lies must fail."""

from __future__ import annotations

import pytest

from ftspec.testing.scenarios import Command, ScenarioError, check, commands, matches, scenarios, updated

PAGE = """# Title

## One

```yaml a/b.yaml
x: 1
```

```console
$ cat a/b.yaml
x: 1
$ false
? 1
```
"""


def test_headings_make_scenarios_with_their_blocks() -> None:
    """Every `##` heading is one scenario, with files and commands in order."""
    (one,) = scenarios(PAGE, page=False)
    assert one.title == "One"
    assert [(block.language, block.path) for block in one.blocks] == [("yaml", "a/b.yaml"), ("console", "")]
    assert [(c.text, c.expected, c.code) for c in commands(one.blocks[1])] == [("cat a/b.yaml", ["x: 1"], 0), ("false", [], 1)]


@pytest.mark.parametrize(
    ("expected", "printed", "same"),
    [
        (["a"], ["a"], True),
        (["a"], ["b"], False),
        (["a", "b"], ["a"], False),
        (["a"], ["a", "b"], False),
        (["took [..] s"], ["took 3.1 s"], True),
        (["...", "end"], ["x", "y", "end"], True),
        (["...", "end"], ["x", "y"], False),
        ([], ["x"], False),
        (["a.c"], ["abc"], False),
    ],
)
def test_expected_lines_match_only_what_they_say(expected: list[str], printed: list[str], same: bool) -> None:
    """Wildcards match, everything else is literal."""
    assert matches(expected, printed) is same


def test_figures_vary_only_where_a_page_says_so() -> None:
    """The numbers of a line with a decimal one may be others; words and lines of integers may not."""
    assert matches(["loss 0.1234  in 3"], ["loss 12.9  in 4"], figures_vary=True)
    assert not matches(["loss 0.1234 in 3"], ["loss 12.9 in 3"])
    assert not matches(["12 jobs"], ["11 jobs"], figures_vary=True)
    assert not matches(["loss 0.1234 in 3"], ["loss nan in 3"], figures_vary=True)
    assert not matches(["loss 0.1234 better"], ["loss 0.1234 same"], figures_vary=True)


def test_a_wrong_exit_code_fails() -> None:
    """Equal output with another exit code is a failure."""
    with pytest.raises(ScenarioError, match=r"\? 3"):
        check(Command(0, "x", ["a"]), ["a"], 3)


def test_update_writes_what_happened() -> None:
    """Only blocks that differ are rewritten."""
    (one,) = scenarios(PAGE, page=False)
    first, second = commands(one.blocks[1])
    after = updated(PAGE, [(first, ["x: 2"], 0), (second, [], 1)])
    assert "x: 2\n\n$ false\n? 1\n```" in after
    assert updated(PAGE, [(first, ["x: 1"], 0), (second, [], 1)]) == PAGE
