"""The HTML page: one file, nothing from outside, everything escaped, the same bytes for the same report."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ftspec.render.report.columns import grid
from ftspec.render.report.flags import flags
from ftspec.render.report.html import to_html
from ftspec.render.report.svg import bounds, curves_chart, forest, forest_axis, score_scale
from ftspec.render.report.values import Curves, EvalRow, Spent

VOID = {"meta", "input", "link", "br", "img", "hr"}


class Tree(HTMLParser):
    """Every element with its attributes, and whether they nest."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.wrong: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        if not self.open or self.open.pop() != tag:
            self.wrong.append(tag)

    def named(self, name):
        return [attributes for tag, attributes in self.elements if tag == name]


def rich(make):
    curve = Curves(train=tuple((float(i), 2 / i) for i in range(1, 40)), valid=((3.0, 1.5), (30.0, 1.2)), full=((20.0, 1.3), (39.0, 1.1)))
    jobs = [
        make.job(f"triage/epochs={epochs},seed={seed}", curves=curve, number=2 * i + seed, checkpoints=((20, 1.3), (39, 1.1)))
        for i, epochs in enumerate((1, 3))
        for seed in (1, 2)
    ]
    failed = make.job("triage/epochs=9,seed=1", status="failed", error=("bad_data", "row 3 is not a chat"), number=5)
    evals = (make.table(flipped=make.flipped("where is it", "shipping", "it", "shipping")),)
    return make.report(*jobs, failed, evals=evals, flags=flags([*jobs, failed], evals))


def test_equal_reports_give_equal_bytes(make):
    """The page knows no clock and no chance."""
    assert to_html(rich(make)) == to_html(rich(make))


def test_elements_nest_and_ids_are_unique(make, hostile):
    """The page is well formed, also with hostile content, and every link within it leads somewhere."""
    for report in (rich(make), hostile, make.report()):
        tree = Tree(to_html(report))
        assert (tree.wrong, tree.open) == ([], [])
        ids = [attributes["id"] for _, attributes in tree.elements if "id" in attributes]
        assert len(ids) == len(set(ids))
        inner = [link["href"][1:] for link in tree.named("a") if link["href"].startswith("#")]
        assert set(inner) <= set(ids)
        labels = [attributes["aria-labelledby"] for _, attributes in tree.elements if "aria-labelledby" in attributes]
        assert set(labels) <= set(ids)


def test_the_content_policy_allows_only_the_page_itself(make):
    """Styles and scripts need the nonce, which differs between pages, and no element or attribute escapes that."""
    page = to_html(rich(make))
    tree = Tree(page)
    policy = next(meta["content"] for meta in tree.named("meta") if meta.get("http-equiv") == "Content-Security-Policy")
    nonce = re.fullmatch(
        r"default-src 'none'; style-src 'nonce-([\w+/]+)'; script-src 'nonce-\1'; img-src data:; base-uri 'none'; form-action 'none'",
        policy,
    )[1]
    assert {element["nonce"] for name in ("style", "script") for element in tree.named(name)} == {nonce}
    assert f"nonce-{nonce}" not in to_html(make.report())
    assert not [name for tag, attributes in tree.elements for name in attributes if name == "style" or name.startswith("on")]
    assert not [tag for tag, _ in tree.elements if tag in {"img", "iframe", "link", "object", "embed", "base"}]
    assert "http://" not in page
    assert "https://" not in page


def test_hostile_text_stays_text(hostile):
    """Tags, handlers and closing scripts in names, errors, notes, examples and settings make no element."""
    page = to_html(hostile)
    tree = Tree(page)
    assert len(tree.named("script")) == 2
    assert not tree.named("img")
    assert not [name for _, attributes in tree.elements for name in attributes if name.startswith("on")]
    assert "\u202e" not in page
    assert "sk-abcdefghijklmnop1234" not in page
    assert "[redacted]" in page
    assert "{{ 7*7 }}" in page


def test_only_http_addresses_become_links(hostile):
    """`javascript:` is text, and so is an address with a name and password in it."""
    links = [link["href"] for link in Tree(to_html(hostile)).named("a") if not link["href"].startswith("#")]
    assert set(links) == {"https://example.com/?a=1&b=2"}


def test_the_data_of_the_page_cannot_end_its_element(hostile):
    """The jobs' settings are JSON in which `<`, `>` and `&` are escaped."""
    page = to_html(hostile)
    data = re.search(r'<script type="application/json" id="data" nonce="[^"]+">(.*?)</script>', page, re.DOTALL)[1]
    assert not set("<>&") & set(data)
    assert "</script>" in json.loads(data)[0]["address"]


def test_scores_are_among_the_results_that_can_be_compared(make):
    """Each job has its own score, not the mean over its seeds."""
    page = to_html(make.report(make.job(), make.job("triage/epochs=3,seed=2", number=2), evals=(make.table(),)))
    data = json.loads(re.search(r'id="data" nonce="[^"]+">(.*?)</script>', page, re.DOTALL)[1])
    assert [job["results"]["holdout: exact"] for job in data] == ["0.79", "0.81"]


def test_figures_of_simulated_engines_are_marked_and_apart(make):
    """Charts, tables, tokens and money of a simulated engine are never in one place with those of others."""
    curve = Curves(train=((1.0, 2.0), (2.0, 1.0)))
    real, toy = (
        make.job("a/seed=1", curves=curve, trained_tokens=7),
        make.job("a/seed=2", curves=curve, simulated=True, number=2, trained_tokens=5),
    )
    spent = [
        Spent(engine=name, what="training", count=1, currency="USD", low=1, high=1, actual=3, simulated=name == "toy")
        for name in ("acme", "toy")
    ]
    page = to_html(make.report(real, toy, spent=spent, evals=(make.table(), make.table(simulated=True))))
    charts = re.findall(r"<h3>a: loss by step(.*?)</h3>.*?<div class=\"charts\">(.*?)</div>", page, re.DOTALL)
    assert [("simulated" in title, chart.count("<figure")) for title, chart in charts] == [(False, 1), (True, 1)]
    assert re.findall(r'<dd class="figure">([\d.]+)(?: USD)?</dd>', page).count("3.00") == 2
    assert "12" not in re.findall(r'<dd class="figure">(\d+)</dd>', page)
    assert page.count('holdout: exact, 200 items <span class="badge simulated">') == 1


def test_unknown_costs_are_said_and_never_zero(make):
    """A job without a price has an unknown cost, and the sum says how many are missing."""
    spent = Spent(engine="acme", what="training", count=2, currency="USD", actual=None, unknown=2)
    page = to_html(make.report(make.job(), spent=(spent,)))
    assert "unknown" in page
    assert "0.00" not in page
    assert "free" not in page


def test_evals_that_cost_something_say_what(make):
    """A column for the cost of answers and judges, unknown where it is not known."""
    rows = make.table().rows
    page = to_html(make.report(evals=(make.table(replace(rows[0], cost=0.25), rows[1]),)))
    assert re.findall(r'<td class="number" data-sort="[^"]*">(0.25|unknown)</td>', page) == ["0.25", "unknown"]
    assert "unknown" not in to_html(make.report(make.job(cost=1.0, estimated_cost=(1.0, 1.0)), evals=(make.table(),)))


def test_a_failed_job_is_the_first_thing_to_look_at(make):
    """Its error stands in the list at the top and beside its status."""
    page = to_html(rich(make))
    first = re.search(r'<li class="problem" data-flag="failed">(.*?)</li>', page, re.DOTALL)[1]
    assert "bad_data: row 3 is not a chat" in first
    assert 'href="#job-5"' in first
    assert '<span class="status failed">failed</span><span class="why">bad_data: row 3 is not a chat</span>' in page


def test_tables_can_be_heard(make):
    """Every table has a caption, every heading its scope, every chart a title."""
    page = to_html(rich(make))
    assert page.count("<table") == page.count("<caption")
    assert not re.findall(r"<th(?! scope)[ >]", page)
    assert page.count('role="img"') == page.count('role="img"><title>') + len(
        re.findall(r'role="img" width="\d+" height="\d+"><title>', page)
    )


@pytest.mark.parametrize("count", [1, 150])
def test_pages_stay_small(make, count):
    """A thousand points are drawn as a few hundred, and fewer where there are many jobs."""
    points = tuple((float(i), 1.0 + (i % 7) / 10) for i in range(1, 5001))
    jobs = [make.job(f"a/seed={i}", curves=Curves(train=points), number=i) for i in range(1, count + 1)]
    assert len(to_html(make.report(*jobs))) < 60_000 + 12_000 * count


def test_a_report_of_nothing_is_a_page(make):
    """Jobs that were never launched, evals without a figure."""
    row = EvalRow(label="x", base=False, mean=None)
    tree = Tree(to_html(make.report(make.job(recorded=False), evals=(make.table(row),), spent=())))
    assert (tree.wrong, tree.open) == ([], [])


def test_what_varies_has_a_column_and_what_is_the_same_is_said_once(make):
    """Jobs without an axis show the setting of its name; figures always have a column."""
    jobs = [make.job("style", number=1), make.job("polish/epochs=5,seed=1", number=2)]
    columns, same = grid(jobs, ())
    shown = {column.title: [cell.text for cell in column.cells] for column in columns}
    assert shown == {
        "epochs": ["3", "5"],
        "seed": ["", "1"],
        "train loss": ["0.5000", "0.5000"],
        "valid loss": ["0.6000", "0.6000"],
        "tokens": ["1,000", "1,000"],
    }
    assert dict(same)["engine"] == "acme"
    assert dict(same)["trained on"] == "tickets.train (300 rows, 3363b76f98e1)"
    assert dict(same)["cost"] == "unknown"


POINTS = st.lists(st.tuples(st.floats(0, 1e12), st.floats(-1e12, 1e12)), max_size=20).map(
    lambda points: tuple(sorted(dict(points).items()))
)


@settings(max_examples=60)
@given(POINTS, POINTS)
def test_any_figures_can_be_drawn(maker, train, full):
    """Whatever an engine measured: charts end, and hold numbers only."""
    one = maker.job(curves=Curves(train=train, full=full))
    drawn = str(curves_chart(one, values=bounds([one]), most_points=50))
    assert not re.search(r"[^a-z](nan|inf)", drawn)


@pytest.mark.parametrize("mean", [0.0, 1.0, -3.0, 1e17, 1e300, 5e-324])
def test_any_score_can_be_drawn(mean):
    """Scores of graders that know no bounds, too."""
    row = EvalRow(label="x", base=False, mean=mean, low=mean, high=mean)
    assert "nan" not in forest(row, score_scale([row])) + forest_axis(score_scale([row]))
