"""A dataset's key is its rows and nothing else, and what is uploaded are those rows."""

from __future__ import annotations

import hashlib
import json
import os

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ftspec.data.cache import DigestCache
from ftspec.data.checks.base import Setting
from ftspec.data.digest import DatasetChanged, digest, materialise, open_rows
from ftspec.diagnostics import FtspecError
from ftspec.experiment import DesiredDataset
from ftspec.fingerprint import canonical_json

LATER = 10_000_000_000
SPLIT = {"train": 0.6, "validation": 0.2, "test": 0.2}


def many(chat, number=200):
    return [chat(user=f"question {n}", assistant=f"answer {n % 7}") for n in range(number)]


def key_of(dataset, folder, **more):
    facts, problems = digest(dataset, root=folder.root, **more)
    assert not [one for one in problems if one.severity == "error"]
    return facts[dataset.name].key


def test_the_key_is_the_hash_of_the_canonical_rows(folder, chat):
    """SHA-256 over every canonical row followed by LF: anybody can check it."""
    rows = many(chat)
    expected = hashlib.sha256(b"".join(canonical_json(row) + b"\n" for row in rows)).hexdigest()
    dataset = folder.dataset("data", *rows)
    assert key_of(dataset, folder) == expected
    assert hashlib.sha256(b"".join(open_rows(dataset, "data", root=folder.root))).hexdigest() == expected


def test_layout_and_place_do_not_change_the_key(folder, chat):
    """Key order, white space, escapes, number forms, file name and dataset name are not part of the identity."""
    rows = [chat(user="Grüße 😀\u2028", score=1.0), chat(user="b", score=0.00001)]
    one = folder.dataset("one", *[json.dumps(row, ensure_ascii=True, indent=None) for row in rows])
    two = folder.dataset(
        "deep/two",
        *[json.dumps(row, ensure_ascii=False, sort_keys=True, separators=(" , ", " : ")).replace("1e-05", "10.0E-6") for row in rows],
    )
    assert key_of(one, folder) == key_of(two, folder)


def test_order_and_content_change_the_key(folder, chat):
    """Rows in another order, one row less or one letter more are another dataset."""
    rows = many(chat, 5)
    changed = [*rows[:4], chat(user="question 4", assistant="answer 5")]
    keys = [key_of(folder.dataset(f"d{n}", *some), folder) for n, some in enumerate([rows, rows[::-1], rows[:4], changed])]
    assert len(set(keys)) == 4


def test_the_key_of_a_part_is_that_of_its_rows(folder, chat):
    """A file that holds just the rows of a part has the key of the part."""
    dataset = folder.dataset("data", *many(chat), split={"shares": SPLIT})
    facts, _ = digest(dataset, root=folder.root)
    assert set(facts) == {"data", "data.train", "data.validation", "data.test"}
    assert facts["data"].rows == sum(facts[f"data.{part}"].rows for part in SPLIT)
    part = folder.dataset("part", *[row.decode() for row in open_rows(dataset, "data.train", root=folder.root)])
    assert key_of(part, folder) == facts["data.train"].key
    assert facts["data.train"].bytes == (folder.root / "part.jsonl").stat().st_size


def test_an_unknown_part_is_an_error_that_names_the_parts(folder, chat):
    """Asking for a part that the split does not have says which there are."""
    dataset = folder.dataset("data", *many(chat), split={"shares": SPLIT})
    with pytest.raises(FtspecError, match="no part") as stop:
        list(open_rows(dataset, "data.dev", root=folder.root))
    assert "data.train" in stop.value.help


def test_a_part_without_rows_is_an_error(folder, chat):
    """A small file can leave a share empty; nobody should find out after the purchase."""
    dataset = folder.dataset("data", chat(), split={"shares": {"train": 0.999999, "test": 0.000001}})
    _, problems = digest(dataset, root=folder.root)
    assert [one.code for one in problems] == ["empty-part"]


def test_what_is_written_for_an_upload_is_hashed_as_it_is_written(folder, chat):
    """The file has the name, digest, rows and size that are returned, and the digest is the dataset's key."""
    dataset = folder.dataset("data", *many(chat), split={"shares": SPLIT})
    facts, _ = digest(dataset, root=folder.root)
    path, digest_of_file, rows, size = materialise(
        dataset, "data.train", root=folder.root, into=folder.root / "up", expect=facts["data.train"].key
    )
    content = path.read_bytes()
    assert path.name == f"data.train.{digest_of_file[:12]}.jsonl"
    assert hashlib.sha256(content).hexdigest() == digest_of_file == facts["data.train"].key
    assert (rows, size) == (facts["data.train"].rows, len(content)) == (content.count(b"\n"), facts["data.train"].bytes)


def test_rows_that_changed_since_the_plan_are_not_uploaded(folder, chat):
    """Another digest than the planned one stops with exit code 3 and leaves no file."""
    dataset = folder.dataset("data", *many(chat))
    planned = key_of(dataset, folder)
    folder.dataset("data", *many(chat), chat(user="new"))
    with pytest.raises(DatasetChanged) as stop:
        materialise(dataset, "data", root=folder.root, into=folder.root / "up", expect=planned)
    assert stop.value.exit_code == 3
    assert list((folder.root / "up").iterdir()) == []


def test_the_format_is_told_from_the_rows_unless_declared(folder, chat):
    """Each format is recognised by its members; `format:` decides where it is given."""
    reinforcement = {"messages": [{"role": "user", "content": "x"}], "reference": "y"}
    preference = {"input": {"messages": []}, "preferred_output": [], "non_preferred_output": []}
    shown = {
        "chat": chat(),
        "reinforcement": reinforcement,
        "preference": preference,
        "completion": {"prompt": "a", "completion": "b"},
        "eval": {"q": "a"},
    }
    for name, row in shown.items():
        facts, _ = digest(folder.dataset(name, row), root=folder.root)
        assert facts[name].format == name
    facts, _ = digest(folder.dataset("told", chat(), format="eval"), root=folder.root)
    assert facts["told"].format == "eval"


def test_rows_that_look_alike_are_told_apart_by_the_method(folder):
    """A question without anything for a grader is a chat row that lost its answer, unless the method is reinforcement."""
    dataset = folder.dataset("data", {"messages": [{"role": "user", "content": "x"}]})
    assert digest(dataset, root=folder.root)[0]["data"].format == "chat"
    wanted = Setting(wanted="reinforcement")
    assert digest(dataset, root=folder.root, setting=wanted)[0]["data"].format == "reinforcement"
    preference = folder.dataset("other", {"input": {}, "preferred_output": [], "non_preferred_output": []})
    assert digest(preference, root=folder.root, setting=wanted)[0]["other"].format == "preference"


def test_a_few_odd_rows_do_not_change_the_format(folder, chat):
    """The format is that of most rows, so a broken first row is reported as such and not as another format."""
    rows = [{"messages": [{"role": "user", "content": "x"}]}, *many(chat, 20)]
    facts, problems = digest(folder.dataset("data", *rows), root=folder.root)
    assert facts["data"].format == "chat"
    assert [(one.code, one.at.line) for one in problems] == [("no-assistant", 1)]


class TestCache:
    """Unchanged files are not read again, and changed ones always are."""

    def cache(self, folder, later=LATER):
        return DigestCache(folder.root / "cache", now=lambda: (folder.root / "data.jsonl").stat().st_mtime_ns + later)

    def test_an_unchanged_file_is_not_read_again(self, folder, chat, monkeypatch):
        """The second digest equals the first and opens no rows."""
        dataset = folder.dataset("data", *many(chat), chat(assistant=" x "), split={"shares": SPLIT})
        first = digest(dataset, root=folder.root, cache=self.cache(folder))
        monkeypatch.setattr("ftspec.data.onepass.run", None)
        assert digest(dataset, root=folder.root, cache=self.cache(folder)) == first
        assert first[1]

    def test_a_file_written_just_before_it_was_read_is_read_again(self, folder, chat):
        """Git's racy rule: within the clock's tick a change would leave the same stamp."""
        dataset = folder.dataset("data", *many(chat))
        cache = self.cache(folder, later=1_000_000)
        digest(dataset, root=folder.root, cache=cache)
        digest(dataset, root=folder.root, cache=cache)
        assert cache.hits == 0

    @pytest.mark.parametrize("change", ["size", "mtime", "same size and mtime", "inode"])
    def test_a_changed_file_is_read_again(self, folder, chat, change):
        """Size, time or inode: any difference counts, also one that keeps the modification time."""
        dataset = folder.dataset("data", *many(chat))
        path = folder.root / dataset.path
        before = path.stat()
        old = digest(dataset, root=folder.root, cache=self.cache(folder))[0]["data"].key
        text = path.read_text()
        match change:
            case "size":
                path.write_text(text + json.dumps(chat()) + "\n")
            case "mtime":
                path.write_text(text.replace("question 1", "question X"))
                os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns + 1))
            case "same size and mtime":
                path.write_text(text.replace("question 1", "question X"))
                os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
            case "inode":
                fresh = folder.root / "fresh.jsonl"
                fresh.write_text(text.replace("question 1", "question X"))
                os.utime(fresh, ns=(before.st_atime_ns, before.st_mtime_ns))
                fresh.replace(path)
        cache = self.cache(folder)
        assert digest(dataset, root=folder.root, cache=cache)[0]["data"].key != old
        assert cache.hits == 0

    def test_other_settings_are_another_entry(self, folder, chat):
        """Split, transforms, format, tokenizer and what engines take are part of what is remembered."""
        dataset = folder.dataset("data", *many(chat))
        cache = self.cache(folder)
        digest(dataset, root=folder.root, cache=cache)
        others = [
            {"split": {"shares": SPLIT}},
            {"split": {"shares": SPLIT, "seed": 1}},
            {"transforms": ({"type": "dedupe"},)},
            {"format": "eval"},
        ]
        for settings_ in others:
            digest(folder.dataset("data", **settings_), root=folder.root, cache=cache)
        digest(dataset, root=folder.root, cache=cache, tokenizer=None)
        digest(dataset, root=folder.root, cache=cache, setting=Setting(roles=frozenset({"user"})))
        assert cache.hits == 0

    def test_a_changed_system_prompt_is_read_again(self, folder, chat):
        """A file that a transform reads counts like the dataset's own."""
        (folder.root / "prompt.txt").write_text("Be brief.")
        dataset = folder.dataset("data", *many(chat), transforms=({"type": "system_prompt", "file": "prompt.txt"},))
        cache = self.cache(folder)
        old = digest(dataset, root=folder.root, cache=cache)[0]["data"].key
        assert digest(dataset, root=folder.root, cache=cache)[0]["data"].key == old
        assert cache.hits == 1
        (folder.root / "prompt.txt").write_text("Be kind.")
        assert digest(dataset, root=folder.root, cache=cache)[0]["data"].key != old

    @pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"read_at": "x"}', b"\x00\xff"])
    def test_a_spoilt_cache_is_no_problem(self, folder, chat, content):
        """Whatever is in the cache folder, the digest is right."""
        dataset = folder.dataset("data", *many(chat))
        expected = digest(dataset, root=folder.root, cache=self.cache(folder))
        for entry in (folder.root / "cache").iterdir():
            entry.write_bytes(content)
        assert digest(dataset, root=folder.root, cache=self.cache(folder)) == expected

    def test_a_cache_that_cannot_be_written_is_no_problem(self, folder, chat):
        """A file where the folder should be costs speed and nothing else."""
        (folder.root / "cache").write_text("in the way")
        dataset = folder.dataset("data", *many(chat))
        cache = self.cache(folder)
        assert digest(dataset, root=folder.root, cache=cache)[0]["data"].rows == 200
        cache.close()

    def test_old_entries_are_cleared_away(self, folder, chat):
        """A cache does not grow for ever."""
        from ftspec.data import cache as module

        dataset = folder.dataset("data", *many(chat))
        stale = folder.root / "cache"
        stale.mkdir()
        for number in range(module.KEEP + 20):
            (stale / f"data-{number}.json").write_bytes(b"")
        cache = self.cache(folder)
        digest(dataset, root=folder.root, cache=cache)
        cache.close()
        assert len(list(stale.iterdir())) == module.KEEP
        assert digest(dataset, root=folder.root, cache=self.cache(folder))

    def test_uploads_never_come_from_the_cache(self, folder, chat):
        """A lying cache cannot make other rows be uploaded than those on disk."""
        dataset = folder.dataset("data", *many(chat))
        cache = self.cache(folder)
        key = digest(dataset, root=folder.root, cache=cache)[0]["data"].key
        for entry in (folder.root / "cache").iterdir():
            entry.write_text(entry.read_text().replace(key, "0" * 64))
        assert digest(dataset, root=folder.root, cache=cache)[0]["data"].key == "0" * 64
        assert materialise(dataset, "data", root=folder.root, into=folder.root / "up")[1] == key
        with pytest.raises(DatasetChanged):
            materialise(dataset, "data", root=folder.root, into=folder.root / "up", expect="0" * 64)


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    names=st.lists(st.text(st.characters(categories=["Lu", "Ll", "Nd"]), min_size=1, max_size=8), min_size=1, max_size=30), data=st.data()
)
def test_rows_keep_their_part_when_others_come_and_go(folder, names, data):
    """A law: the part of a row does not depend on the other rows or their order."""
    rows = [{"q": name} for name in names]
    fewer = data.draw(st.lists(st.sampled_from(rows), max_size=20))
    dataset = folder.dataset("data", *rows, split={"shares": SPLIT})
    home = {row: part for part in SPLIT for row in open_rows(dataset, f"data.{part}", root=folder.root)}
    folder.dataset("data", *fewer) if fewer else None
    for part in SPLIT if fewer else ():
        for row in open_rows(dataset, f"data.{part}", root=folder.root):
            assert home[row] == part


def test_a_dataset_of_the_spec_may_lie_below_a_data_root(folder, chat, tmp_path_factory):
    """A folder that the user added can be read as well as the project."""
    other = tmp_path_factory.mktemp("other")
    (other / "rows.jsonl").write_text(json.dumps(chat()) + "\n")
    dataset = DesiredDataset(name="data", path=os.path.relpath(other / "rows.jsonl", folder.root))
    assert digest(dataset, root=folder.root)[1][0].code == "outside-project"
    assert digest(dataset, root=folder.root, data_roots=[other])[0]["data"].rows == 1
