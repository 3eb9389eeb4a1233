"""Plans as Markdown for pull requests: what matters first, within a comment, and inert."""

from __future__ import annotations

import re

from hypothesis import given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from ftspec.actions import Reason
from ftspec.render.markdown import LIMIT, code, fence, to_markdown


def test_counts_cost_and_changed_jobs_come_first(make):
    """The reader of a pull request sees the money and the changes without scrolling."""
    text = to_markdown(make.everything())
    titles = re.findall(r"^#+ .*$", text, re.MULTILINE)
    assert titles[0].startswith("## Plan: 1 upload, 6 launches (3 changed, 1 replaced, 1 retried), 4 reused,")
    assert titles[1:] == ["### Changed", "### Problems", "### Needs attention", "### New", "### Uploads and evals", "### Everything else"]
    assert text.index("- Cost: `1.20 to 1.50 USD, prices of 2026-11-01`") < text.index("### Changed")
    assert "- Policy `max_jobs`: **refused**, `6 launches are more than 5`" in text
    assert "- Policy `max_cost`: ok, `1.50 USD is within 60.00`" in text
    assert text.endswith("\n")


def test_nothing_to_do_is_a_short_comment(make):
    """A title, the project, and one line."""
    text = to_markdown(make.plan(make.keep("kept/seed=1")))
    assert "Project" not in to_markdown(make.plan(project=None))
    assert text == "## Plan: nothing to do, 1 reused.\n\n- Project: `demo`\n\n### Everything else\n\n```diff\n.   1 reused  kept 1\n```\n"


def test_a_comment_is_never_longer_than_a_host_takes(make):
    """What does not fit is counted; the title and the changes stay."""
    plan = make.plan(
        *(make.changed(f"e{n}/" + "x" * 300, make.change(new="y" * n)) for n in range(300)),
        *(make.launch(f"n{n}/" + "z" * 300) for n in range(300)),
        *(make.wait(f"w{n}", Reason.PARENT_FAILED, "a") for n in range(500)),
    )
    text = to_markdown(plan)
    assert 30_000 < len(text) <= LIMIT
    assert text.startswith("## Plan: 0 uploads, 600 launches")
    assert re.search(r"^[0-9,]+ more lines: `ftspec plan --full`$", text, re.MULTILINE)


def test_ten_thousand_changed_jobs_fit_a_comment(make):
    """Cells of a grid fold into a few lines; experiments that cannot fold are counted where they do not fit."""

    def changed(address):
        return to_markdown(make.plan(*(make.changed(address.format(n), make.change(old=n, new=n + 1)) for n in range(10_000))))

    folded, apart = changed("grid/rate={}"), changed("grid{}/rate=1")
    assert len(folded) < 1000
    for text in (folded, apart):
        assert text.startswith("## Plan: 0 uploads, 10,000 launches (10,000 changed)")
    assert 60_000 < len(apart) <= LIMIT
    left = re.search(r"^([0-9,]+) more lines: `ftspec plan --full`$", apart, re.MULTILINE)
    assert left is not None
    assert int(left[1].replace(",", "")) + apart.count("\n+/. grid") >= 10_000


def rendered(text):
    """Return the tokens of Markdown as a code host would see them."""
    return MarkdownIt("commonmark", {"html": True, "linkify": False}).parse(text)


def inline(tokens):
    """Yield every inline token."""
    for token in tokens:
        yield from token.children or ()


def test_hostile_names_are_only_ever_code(make, hostile):
    """No HTML, link, image, mention or heading comes from foreign text."""
    plan = make.plan(
        make.launch(hostile, job={"base_model": hostile}),
        make.changed("`" * 40 + hostile, make.change(hostile, hostile, hostile)),
        project=hostile,
        options={"target": [hostile]},
        diagnostics=make.everything().diagnostics,
    )
    tokens = rendered(to_markdown(plan))
    kinds = {token.type for token in [*tokens, *inline(tokens)]}
    assert not kinds & {"html_block", "html_inline", "link_open", "image"}
    text = "".join(token.content for token in inline(tokens) if token.type == "text")
    assert "@team" not in text
    assert "<img" not in text
    assert len([token for token in tokens if token.type == "heading_open"]) == 4


@settings(max_examples=150, deadline=None)
@given(st.text(st.sampled_from("`~ab \\|<>&\n\t@#*_[]()!")))
def test_foreign_text_cannot_leave_its_span_or_fence(text):
    """Whatever its backticks, it is one code span, and one fence."""
    tokens = list(inline(rendered(f"before {code(text)} after")))
    assert [token.type for token in tokens] == ["text", "code_inline", "text"]
    assert tokens[0].content + tokens[2].content == "before  after"
    blocks = rendered(fence(text.replace("\n", " ")) + "\n\nafter\n")
    assert [token.type for token in blocks] == ["fence", "paragraph_open", "inline", "paragraph_close"]
