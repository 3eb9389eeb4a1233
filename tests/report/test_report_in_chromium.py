"""The page in a real browser: it sorts, filters, compares, and nothing foreign runs."""

from __future__ import annotations

import html
import re
import shutil
import subprocess

import pytest

from ftspec.render.report.flags import flags
from ftspec.render.report.html import to_html
from ftspec.render.report.values import Curves

CHROMIUM = next((path for name in ("chromium", "chromium-browser", "google-chrome", "chrome") if (path := shutil.which(name))), None)
FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]

pytestmark = [pytest.mark.slow, pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")]


@pytest.fixture
def browse(tmp_path):
    """Open a page, run a few lines of a test's own script in it, and return the elements as they are then."""

    def open_page(page, script="", width=1200):
        nonce = re.search(r"script-src 'nonce-([^']+)'", page)[1]
        watch = (
            f'<script nonce="{nonce}">window.violations=[];addEventListener("securitypolicyviolation",e=>violations.push(e.violatedDirective+" "+e.blockedURI));'
            "addEventListener('error',e=>violations.push('error '+e.message));</script>"
        )
        report = 'document.body.dataset.violations = violations.join(";"); document.body.dataset.title = document.title'
        after = f'<script nonce="{nonce}">{script}; setTimeout(() => {{ {report} }}, 500)</script>'
        file = tmp_path / "page.html"
        file.write_text(page.replace("<title>", watch + "<title>", 1).replace("</body>", after + "</body>"), encoding="utf-8")
        command = [
            CHROMIUM,
            *FLAGS,
            f"--user-data-dir={tmp_path / 'profile'}",
            f"--window-size={width},900",
            "--virtual-time-budget=2000",
            "--dump-dom",
            file.as_uri(),
        ]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
        return done.stdout

    return open_page


def attribute(page, name):
    return html.unescape(re.search(rf'<body[^>]* data-{name}="([^"]*)"', page)[1])


@pytest.fixture
def page(make):
    """Three jobs, one of them failed, with curves and an eval."""
    curve = Curves(train=tuple((float(i), 2 / i) for i in range(1, 40)), full=((20.0, 1.3), (39.0, 1.1)))
    jobs = [
        make.job("triage/epochs=10,seed=1", curves=curve, number=1, metrics={"train_loss": 0.3}),
        make.job("triage/epochs=9,seed=1", curves=curve, number=2, metrics={"train_loss": 0.1}),
        make.job("triage/epochs=1,seed=1", status="failed", number=3, metrics={}),
    ]
    return to_html(make.report(*jobs, evals=(make.table(),), flags=flags(jobs, ())))


def test_nothing_foreign_runs_or_is_asked_for(browse, hostile):
    """Tags, handlers, closing scripts and links of a hostile report change nothing, and break no rule of the policy."""
    script = """
        document.body.dataset.links = [...document.links].map(link => link.getAttribute('href')).filter(to => !to.startsWith('#')).join(' ');
        document.body.dataset.elements = document.querySelectorAll('img, iframe, [onload], [onerror], main script').length"""
    seen = browse(to_html(hostile), script)
    assert attribute(seen, "title").startswith("</script><script>document.title='owned'")
    assert attribute(seen, "links") == "https://example.com/?a=1&b=2"
    assert attribute(seen, "elements") == "0"
    assert attribute(seen, "violations") == ""


def test_what_the_policy_forbids_is_refused(browse, make):
    """Were something to get past the escaping, the browser would not run it."""
    page = to_html(make.report(title="safe"))
    smuggled = (
        "<script>document.title='owned'</script><img src='http://127.0.0.1:9/x' onerror=\"document.title='owned'\"><p style='color:red'>"
    )
    seen = browse(page.replace('<main id="main">', f'<main id="main">{smuggled}'))
    assert attribute(seen, "title") == "safe · ftspec report"
    assert {"script-src-elem inline", "style-src-attr inline"} <= set(attribute(seen, "violations").split(";"))


def test_the_page_itself_breaks_no_rule(browse, page):
    """Its own style and script are allowed, and nothing throws."""
    assert attribute(browse(page), "violations") == ""


def test_on_a_phone_an_address_leaves_room_for_its_figures(browse, make):
    """It is broken into lines, so that what stands beside it is in view."""
    job = make.job("triage/base_model=sandbox-small,epochs=10,seed=1", number=1)
    script = """
        document.body.dataset.wide = window.innerWidth;
        document.body.dataset.status = Math.round(document.querySelector('.grid-table .status').getBoundingClientRect().right)"""
    seen = browse(to_html(make.report(job)), script, width=390)
    assert int(attribute(seen, "status")) < int(attribute(seen, "wide")) <= 500


def test_a_heading_sorts_by_value(browse, page):
    """Numbers are sorted as numbers, a second click turns the order, rows without a figure stay last."""
    script = """
        const order = () => [...document.querySelectorAll('.grid-table tbody tr')].map(row => row.dataset.job).join('');
        const button = title => [...document.querySelectorAll('.grid-table th button')].find(one => one.textContent === title);
        const seen = [order()];
        for (const title of ['epochs', 'epochs', 'train loss', 'train loss']) { button(title).click(); seen.push(order()); }
        document.body.dataset.seen = seen.join(' ');
        document.body.dataset.sort = button('train loss').parentElement.getAttribute('aria-sort');"""
    seen = browse(page, script)
    assert attribute(seen, "seen") == "123 321 123 213 123"
    assert attribute(seen, "sort") == "descending"


def test_words_and_choices_filter_jobs_and_their_charts(browse, page):
    """All words must occur, a choice must be equal; charts of hidden jobs are hidden; clearing shows all."""
    script = """
        const shown = selector => [...document.querySelectorAll(selector)].filter(one => !one.hidden).map(one => one.dataset.job).join('');
        const look = () => shown('.grid-table tbody tr') + '/' + shown('figure');
        const seen = [look()], words = document.getElementById('filter'), status = document.querySelector('[data-filter=status]');
        words.value = 'succeeded epochs=1'; words.dispatchEvent(new Event('input', {bubbles: true})); seen.push(look());
        document.body.dataset.said = document.getElementById('shown').textContent;
        words.value = ''; status.value = 'failed'; status.dispatchEvent(new Event('input', {bubbles: true})); seen.push(look());
        words.form.reset();
        setTimeout(() => { seen.push(look()); document.body.dataset.seen = seen.join(' '); }, 100)"""
    seen = browse(page, script)
    assert attribute(seen, "seen") == "123/12 1/1 3/ 123/12"
    assert attribute(seen, "said") == "1 of 3 jobs"


def test_any_two_jobs_can_be_compared(browse, page, make):
    """Settings that differ are named with both values, then results; figures of a simulated engine are not compared."""
    script = """
        const rows = () => [...document.querySelectorAll('#differences tbody tr')].map(row => [...row.cells].map(cell => cell.textContent).join('|')).join(';');
        document.body.dataset.seen = document.querySelector('#differences caption').textContent + ' ' + rows()"""
    seen = attribute(browse(page, script), "seen")
    assert seen.startswith("1 setting differs. Settings;epochs|10|9;Results;")
    assert "train loss|0.3|0.1" in seen
    mixed = make.report(make.job("a/seed=1"), make.job("a/seed=2", simulated=True, number=2))
    seen = attribute(browse(to_html(mixed), script), "seen")
    assert "One of them is simulated, so their figures are not compared." in seen
    assert "Results" not in seen


def test_hostile_settings_are_shown_as_text(browse, hostile):
    """The comparison puts names and values into the page as text."""
    seen = browse(to_html(hostile), "document.getElementById('everything').click()")
    body = re.search(r'<table id="differences">(.*?)</table>', seen, re.DOTALL)[1]
    assert "&lt;/script&gt;" in body
    assert not re.search(r"<(?!/?(?:table|caption|thead|tbody|tr|th|td)\b)", body)
