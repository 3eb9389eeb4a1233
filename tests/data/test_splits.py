"""Rows are dealt by a hash: fairly, stably, by group, and the same in specs and in files."""

from __future__ import annotations

import json
from collections import Counter

import pytest

from ftspec.data.dealing import deal
from ftspec.data.digest import digest, open_rows
from ftspec.data.rows import BadFile
from ftspec.data.split import Dealer, field_of
from ftspec.fingerprint import canonical_json

SHARES = {"train": 0.8, "validation": 0.1, "test": 0.1}


def dealt(dealer, rows):
    return [dealer.part(row, canonical_json(row)) for row in rows]


ROWS = [{"n": n, "group": n % 50} for n in range(4000)]


def test_parts_get_their_shares():
    """Of some thousand rows each part gets its share, within what chance allows."""
    counts = Counter(dealt(Dealer(SHARES), ROWS))
    assert all(abs(counts[part] / len(ROWS) - share) < 0.02 for part, share in SHARES.items())


def test_another_seed_deals_differently_and_the_same_seed_alike():
    """The seed decides, and nothing else does."""
    assert dealt(Dealer(SHARES, seed=1), ROWS) == dealt(Dealer(SHARES, seed=1), ROWS)
    same = sum(a == b for a, b in zip(dealt(Dealer(SHARES), ROWS), dealt(Dealer(SHARES, seed=1), ROWS), strict=True))
    assert same < 0.75 * len(ROWS)


def test_the_order_of_parts_in_the_spec_does_not_matter():
    """Reordering the keys of `split:` deals the same way."""
    assert dealt(Dealer(SHARES), ROWS) == dealt(Dealer(dict(reversed(SHARES.items()))), ROWS)


def test_a_changed_share_moves_only_the_rows_it_must():
    """From 10 to 20 percent of test rows, about a tenth of all rows move."""
    after = dealt(Dealer({"train": 0.7, "validation": 0.1, "test": 0.2}), ROWS)
    moved = sum(a != b for a, b in zip(dealt(Dealer(SHARES), ROWS), after, strict=True))
    assert 0.05 * len(ROWS) < moved < 0.15 * len(ROWS)


def test_groups_stay_together():
    """With `group_by` all rows of a group are in one part, and groups are spread over the parts."""
    dealer = Dealer(SHARES, group_by="group")
    parts = {}
    for row, part in zip(ROWS, dealt(dealer, ROWS), strict=True):
        assert parts.setdefault(row["group"], part) == part
    assert set(parts.values()) == set(SHARES)


@pytest.mark.parametrize(
    ("row", "path", "value"),
    [
        ({"a": {"b": 1}}, "a.b", 1),
        ({"a.b": 2, "a": {"b": 1}}, "a.b", 2),
        ({"a": 1}, "a.b", None),
        ({"a": {"b": None}}, "a.b", None),
        ({"a": [1]}, "a.0", None),
    ],
    ids=["nested", "a key with a dot", "no object", "null", "a list"],
)
def test_a_dotted_path_finds_a_field(row, path, value):
    """A path walks objects; a key that holds the dots comes first."""
    assert field_of(row, path.split(".")) == value


def test_a_row_without_group_is_told_and_dealt_by_itself(folder, chat):
    """A missing `group_by` field is a warning with its line, and the row is in some part."""
    rows = [chat(user=f"q{n}", customer=n % 9) for n in range(60)]
    dataset = folder.dataset("data", *rows, chat(user="lonely"), split={"shares": SHARES, "group_by": "customer"})
    facts, problems = digest(dataset, root=folder.root)
    assert [(one.code, one.at.line) for one in problems] == [("group-missing", 61)]
    assert sum(facts[f"data.{part}"].rows for part in SHARES) == 61


def test_the_field_to_group_by_is_no_unknown_member(folder, chat):
    """A column that the spec uses is meant to be there."""
    rows = [chat(user=f"q{n}", customer=n % 9) for n in range(60)]
    _, problems = digest(folder.dataset("data", *rows, split={"shares": SHARES, "group_by": "customer"}), root=folder.root)
    assert problems == []
    assert [one.code for one in digest(folder.dataset("data"), root=folder.root)[1]] == ["unknown-key"]


def test_files_are_dealt_as_a_spec_deals(folder, chat):
    """`data split` writes the rows that `split:` would give, in their order and with their bytes."""
    lines = [json.dumps(chat(user=f"q{n}", customer=n % 9), indent=None) for n in range(80)]
    dataset = folder.dataset("data", *lines, split={"shares": SHARES, "seed": 3, "group_by": "customer"})
    targets = {part: folder.root / f"{part}.jsonl" for part in SHARES}
    with folder.place().open(dataset.path) as file:
        result = deal(file, targets, SHARES, seed=3, group_by="customer")
    for part, path in targets.items():
        written = path.read_text().splitlines()
        assert [canonical_json(json.loads(line)) + b"\n" for line in written] == list(open_rows(dataset, f"data.{part}", root=folder.root))
        assert set(written) <= set(lines)
        assert result.rows[part] == len(written)


def test_a_file_with_a_bad_row_is_not_dealt(folder, chat):
    """A line that cannot be read stops the dealing, and no part is written."""
    folder.write("data.jsonl", chat(), "{broken", chat())
    targets = {part: folder.root / f"{part}.jsonl" for part in SHARES}
    with folder.place().open("data.jsonl") as file, pytest.raises(BadFile, match="line 2"):
        deal(file, targets, SHARES)
    assert [path.name for path in folder.root.iterdir()] == ["data.jsonl"]
