"""The short page and the notebook say the same as the HTML page, and run nothing foreign."""

from __future__ import annotations

import contextlib
import io
import json
import re

import pytest

from ftspec.render.markdown import LIMIT
from ftspec.render.report.flags import flags
from ftspec.render.report.markdown import to_markdown
from ftspec.render.report.notebook import to_notebook
from ftspec.render.report.values import Curves


def test_the_page_begins_with_counts_flags_and_evals(make):
    """What a reviewer wants to know first stands first."""
    jobs = [make.job(), make.job("triage/epochs=3,seed=2", status="failed", error=("bad", "row | 3"), number=2)]
    text = to_markdown(make.report(*jobs, evals=(make.table(),), flags=flags(jobs, ())))
    assert text.startswith(
        "## Report: `triage`\n\n- jobs succeeded: **1 of 2** (1 failed)\n- best exact on holdout: **0.80** (`triage/epochs=3`, +0.70 against its base)\n"
    )
    assert "- **problem**: `triage/epochs=3,seed=2` failed: `bad: row | 3`\n" in text
    assert "| `triage/epochs=3` | **0.800** | 0.70 to 0.90 | +0.700 | 141 | 1 | better, p < 0.001 |" in text
    assert "| `acme` | training | 1 | 1.00 to 2.00 USD | 1.50 USD |" in text


def test_tables_have_as_many_cells_as_headings(make, hostile):
    """No name adds a column, not even one with a bar in it."""
    for report in (make.report(make.job("a/x=b|c")), hostile):
        tables = re.findall(r"(?:^\|.*\n)+", to_markdown(report), re.MULTILINE)
        assert len(tables) >= 2
        for table in tables:
            assert len({len(re.split(r"(?<!\\)\|", line)) for line in table.splitlines()}) == 1


def outside_of_spans(text):
    return re.sub(r"(`+)(?!`).*?(?<!`)\1(?!`)", "", text, flags=re.DOTALL)


def test_foreign_text_stays_in_code_spans(hostile):
    """Tags, links and mentions are shown, not obeyed; keys are not shown."""
    text = to_markdown(hostile)
    rest = outside_of_spans(text)
    assert not set("<>[]@") & set(rest.replace("p < 0.001", ""))
    assert "javascript:" not in rest
    assert "sk-abcdefghijklmnop1234" not in text
    assert "\u202e" not in text


def test_a_large_grid_fits_into_a_comment(make):
    """What does not fit is counted."""
    jobs = [make.job(f"a/name={'x' * 100}{i},seed=1", number=i) for i in range(1, 400)]
    text = to_markdown(make.report(*jobs, evals=(make.table(),) * 300))
    assert len(text) <= LIMIT
    assert "`ftspec report` writes all of it" in text
    assert "and 359 more rows in the HTML page" in to_markdown(make.report(*jobs))


def sources(text):
    return ["".join(cell["source"]) for cell in json.loads(text)["cells"] if cell["cell_type"] == "code"]


def notebook(make, hostile, which):
    curve = Curves(train=tuple((float(i), 2 / i) for i in range(1, 500)), valid=((3.0, 1.5), (30.0, 1.2)), full=((20.0, 1.3), (39.0, 1.1)))
    return to_notebook(hostile if which == "hostile" else make.report(make.job(curves=curve), evals=(make.table(),)))


@pytest.mark.parametrize("which", ["ordinary", "hostile"])
def test_the_notebook_is_one_and_runs(make, hostile, which, tmp_path, monkeypatch):
    """It has the members that nbformat 4.5 requires, and its cells run one after the other without matplotlib."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(__import__("sys").modules, "matplotlib", None)
    text = notebook(make, hostile, which)
    value = json.loads(text)
    assert (value["nbformat"], value["nbformat_minor"]) == (4, 5)
    assert [sorted(cell) for cell in value["cells"][:2]] == [
        ["cell_type", "id", "metadata", "source"],
        ["cell_type", "execution_count", "id", "metadata", "outputs", "source"],
    ]
    assert all(re.fullmatch(r"[A-Za-z0-9_-]{1,64}", cell["id"]) for cell in value["cells"])
    printed, names = io.StringIO(), {"__name__": "__main__"}
    with contextlib.redirect_stdout(printed):
        for source in sources(text):
            exec(compile(source, "cell", "exec"), names)  # noqa: S102 the notebook's own cells
    assert "holdout: exact" in printed.getvalue() or which == "hostile"
    assert "pip install matplotlib" in printed.getvalue()
    assert "sk-abcdefghijklmnop1234" not in text


def test_the_notebook_draws_with_matplotlib(make, hostile):
    """Its charts are drawn where matplotlib is installed."""
    matplotlib = pytest.importorskip("matplotlib", reason="matplotlib is not installed")
    matplotlib.use("Agg")
    names = {}
    for source in sources(notebook(make, hostile, "ordinary"))[:3]:
        exec(compile(source, "cell", "exec"), names)  # noqa: S102 the notebook's own cells
    assert names["figure"].axes


def test_the_notebook_is_valid_nbformat(make, hostile):
    """The format's own validator agrees, where it is installed."""
    nbformat = pytest.importorskip("nbformat", reason="nbformat is not installed")
    for which in ("ordinary", "hostile"):
        nbformat.validate(nbformat.reads(notebook(make, hostile, which), as_version=4))


def test_equal_reports_give_equal_notebooks(make, hostile):
    """Ids are fixed, and there are no outputs."""
    assert notebook(make, hostile, "ordinary") == notebook(make, hostile, "ordinary")
