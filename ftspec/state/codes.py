"""Every diagnostic that reading state or a lockfile can give, and its page for the docs."""

from __future__ import annotations

from typing import Final

_PAGES: Final = {
    "bad-record": """A record of state holds values that cannot be right.

Why: somebody edited it, or a merge joined halves of two records.

Fix: run `ftspec state repair`; it explains each fix before it makes it.""",
    "bad-state-line": """A line of state cannot be read: not JSON, not UTF-8, a wrong checksum, or not a fact.

Why: state is the only record of what was bought, so a line is never skipped. `plan` and `apply` stop until it is mended.

Fix: run `ftspec state repair`. If somebody edited the line on purpose, `ftspec state repair --accept-edit`.""",
    "conflict-markers": """A state file holds the conflict markers of a merge.

Fix: run `ftspec state repair`; it joins the records of both sides.""",
    "duplicate-job": """One key was bought more than once: the engine has several jobs for it.

Why: something outside of the launch protocol bought it, such as a second clone at the same time on an engine without unique keys. The job with the smallest (created, id) counts; the others are recorded beside it.

Fix: cancel what still runs, with `ftspec cancel ID`.""",
    "launch-in-doubt": """A job exists, and nobody knows what became of another launch of it.

Why: two clones launched it, and state was merged. One of them never learned the outcome of its request, so a second job may exist, or appear later.

Fix: run `ftspec apply`; it looks the launch up and buys nothing for it. By hand: `ftspec import ADDRESS --job-id ID`, or `--absent` if it never became a job.""",
    "missing-facts": """A segment of state lacks some of its lines.

Why: lines are numbered; a gap means that somebody deleted lines or a merge lost them.

Fix: restore the file from git. The next compaction accepts the loss: what the other lines say stays.""",
    "missing-records": """The history of state names commands that wrote records, and the records are not there.

Why: a file was emptied or removed. Without it everything would be bought again on engines that cannot tell, so nothing is bought while all records are gone.

Fix: restore the files from version control. If they are meant to be gone, remove `history.jsonl` too.""",
    "newer-state": """A newer ftspec wrote some of this state.

Why: it can be read and planned with, but writing it could lose what this version does not know.

Fix: upgrade ftspec.""",
    "torn-line": """The last line of a segment was never finished: its writer was killed, or the disk was full.

Why: the line before it says what was about to happen, so nothing is lost. The next command that writes sets the rest aside in a `.torn` file.

Fix: none needed.""",
    "bad-lock": """The lockfile cannot be read.

Fix: run `ftspec lock`; it is made again from specs and state.""",
    "lock-conflict": """The lockfile holds the conflict markers of a merge.

Fix: run `ftspec lock`; it is made again from specs and state.""",
    "newer-lock": """A newer ftspec wrote the lockfile.

Fix: upgrade ftspec, or make it again with `ftspec lock`.""",
}


def pages() -> dict[str, str]:
    """Return the documentation of every code that reading state can give: what, why, how to put it right."""
    return dict(_PAGES)
