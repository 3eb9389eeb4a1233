"""Diagnostics as text, JSON, SARIF and annotations."""

from __future__ import annotations

import json
import re

import pytest

from ftspec.diagnostics import Diagnostic, Place, Severity, error, warning
from ftspec.render.diagnostics import summary_text, to_github, to_json, to_sarif, to_text

EPOCH = error(
    "unknown-key",
    "`epoch` is not a setting of a job",
    at=Place(path="specs/tone.yaml", line=8, column=5, end_column=10, excerpt="    epoch: 3"),
    help="did you mean `epochs`?",
)


def test_a_problem_reads_like_the_style_page():
    """Sentence, place, line, carets, help."""
    assert to_text([EPOCH]) == (
        "error[unknown-key]: `epoch` is not a setting of a job\n"
        " --> specs/tone.yaml:8:5\n"
        "  |\n"
        "8 |     epoch: 3\n"
        "  |     ^^^^^\n"
        "  = help: did you mean `epochs`?"
    )


def test_both_places_of_a_problem_are_shown():
    """The gutter is as wide as the longest line number; a label stands beside its carets."""
    also = (
        ("first defined here", Place(path="specs/base.yaml", line=120, column=3, end_column=7, excerpt="  tone:")),
        ("used here", Place(path="specs/more.yaml", line=7)),
    )
    twice = Diagnostic(code="twice", severity=Severity.ERROR, message="`tone` is defined twice", at=EPOCH.at, also=also)
    assert to_text([twice]) == (
        "error[twice]: `tone` is defined twice\n"
        "   --> specs/tone.yaml:8:5\n"
        "    |\n"
        "  8 |     epoch: 3\n"
        "    |     ^^^^^\n"
        "   --> specs/base.yaml:120:3\n"
        "    |\n"
        "120 |   tone:\n"
        "    |   ^^^^ first defined here\n"
        "   --> specs/more.yaml:7 (used here)"
    )


def test_repeated_problems_are_one_with_a_count():
    """The first places are listed, the rest is counted."""
    rows = [warning("W110", "leading space", at=Place(path="d.jsonl", line=n)) for n in range(1, 11)]
    assert to_text(rows) == ("warning[W110]: leading space\n --> d.jsonl:1\n  = note: seen 10 times, also in lines 2, 3, 4, 5 and 5 more")
    elsewhere = [warning("W110", "leading space", at=Place(path=path, line=3)) for path in ("d.jsonl", "e.jsonl")]
    assert to_text(elsewhere).endswith("seen 2 times, also at e.jsonl:3")


def test_several_problems_are_apart_and_none_is_nothing():
    """An empty line between them; text for people has no line feed at its end."""
    assert to_text([EPOCH, warning("w", "careful")]).endswith("epochs`?\n\nwarning[w]: careful")
    assert to_text([]) == ""


def test_help_may_have_several_lines():
    """A command to type stands alone."""
    assert to_text([warning("w", "careful", help="run\nftspec fmt")]) == "warning[w]: careful\n  = help: run\n    ftspec fmt"


@pytest.mark.parametrize(
    ("excerpt", "column", "end", "shown", "carets"),
    [
        ("\tepoch: 3", 2, 7, "    epoch: 3", "    ^^^^^"),
        ("日本: epoch", 5, 10, "日本: epoch", "      ^^^^^"),
        ("x: \x1b[31m", 4, 5, "x: \\x1b[31m", "   ^^^^"),
        ("abc", 9, 0, "abc", "   ^"),
        ("abc", 0, 0, "abc", "^"),
    ],
)
def test_carets_stand_below_what_is_shown(excerpt, column, end, shown, carets):
    """Tabs, wide characters and escapes take the columns that a terminal gives them."""
    at = Place(path="a", line=1, column=column, end_column=end, excerpt=excerpt)
    lines = to_text([error("e", "m", at=at)]).split("\n")
    assert lines[3] == f"1 | {shown}"
    assert lines[4] == f"  | {carets}"


def test_a_long_line_is_cut_around_the_place():
    """A minified file does not fill the terminal."""
    at = Place(path="a", line=1, column=5001, end_column=5004, excerpt="x" * 5000 + "bad" + "y" * 5000)
    lines = to_text([error("e", "m", at=at)]).split("\n")
    assert len(lines[3]) < 140
    assert lines[3].index("bad") == lines[4].index("^^^")
    assert "..." in lines[3]


def test_colour_changes_nothing_that_is_said():
    """Without the codes it is the same text."""
    assert re.sub(r"\x1b\[[0-9;]*m", "", to_text([EPOCH], color=True)) == to_text([EPOCH])
    assert "\x1b[" in to_text([EPOCH], color=True)


def test_a_summary_counts_by_severity():
    """Repeated problems count as often as they were seen."""
    assert summary_text([EPOCH, warning("a", "b"), warning("a", "b")]) == "1 error, 2 warnings"
    assert summary_text([]) == "no problems"


def test_json_has_every_part():
    """With a format version, and unknown numbers as null."""
    value = json.loads(to_json([EPOCH]))
    assert value["format_version"] == "1.0"
    assert value["diagnostics"] == [
        {
            "code": "unknown-key",
            "severity": "error",
            "message": "`epoch` is not a setting of a job",
            "at": {"path": "specs/tone.yaml", "line": 8, "column": 5, "end_column": 10},
            "help": "did you mean `epochs`?",
            "also": [],
            "count": 1,
            "places": [],
        }
    ]


def test_sarif_has_rules_levels_regions_and_encoded_paths():
    """The members that code hosts need, in the version that they read."""
    spaced = warning("W1", "odd", at=Place(path="my data/a#b.jsonl"))
    info = Diagnostic(code="i", severity=Severity.INFO, message="x", also=(("other", Place(path="b", line=2, column=1)),), count=3)
    value = json.loads(to_sarif([EPOCH, spaced, info], version="0.1.0"))
    assert value["version"] == "2.1.0"
    (run,) = value["runs"]
    assert run["tool"]["driver"]["name"] == "ftspec"
    assert [rule["id"] for rule in run["tool"]["driver"]["rules"]] == ["W1", "i", "unknown-key"]
    first, second, third = run["results"]
    assert (first["ruleId"], first["ruleIndex"], first["level"]) == ("unknown-key", 2, "error")
    assert first["message"]["text"] == "`epoch` is not a setting of a job. did you mean `epochs`?"
    assert first["locations"][0]["physicalLocation"] == {
        "artifactLocation": {"uri": "specs/tone.yaml"},
        "region": {"startLine": 8, "startColumn": 5, "endColumn": 10},
    }
    assert second["locations"][0]["physicalLocation"] == {"artifactLocation": {"uri": "my%20data/a%23b.jsonl"}}
    assert (third["level"], third["occurrenceCount"], third["locations"]) == ("note", 3, [])
    assert third["relatedLocations"][0]["message"] == {"text": "other"}


def test_annotations_stand_at_their_lines():
    """One command a problem, with the help on a second line of the message."""
    assert to_github([EPOCH]) == (
        "::error file=specs/tone.yaml,line=8,col=5,endColumn=10,title=unknown-key::"
        "`epoch` is not a setting of a job%0Adid you mean `epochs`?\n"
    )
    assert to_github([warning("w", "m"), warning("w", "m")]) == "::warning title=w::m (seen 2 times)\n"
    assert to_github([Diagnostic(code="i", severity=Severity.INFO, message="m")]) == "::notice title=i::m\n"


def test_hostile_text_adds_no_command_and_no_property(hostile):
    """Percent signs, colons, commas and line feeds are escaped; each problem is one line."""
    bad = error("e", f"100% {hostile}", at=Place(path=f"a,line=1::b%{hostile}", line=1, column=1, excerpt=hostile), help=hostile)
    text = to_github([bad])
    assert text.count("\n") == 1
    assert re.fullmatch(r"::error file=[^,:\r\n]*,line=1,col=1,title=e::[^\r\n]*\n", text)
    assert "100%25" in text
    shown = to_text([bad])
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e]", shown)
    assert not re.search(r"^\s*::", shown, re.MULTILINE)
    assert "##[" not in shown
    for machine in (to_json([bad]), to_sarif([bad], version="0")):
        assert machine.isascii()
        assert "##[" not in machine
