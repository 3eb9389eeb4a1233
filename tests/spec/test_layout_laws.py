"""How a spec is written does not change what it means."""

# ruff: noqa: S311  layouts are drawn from a seed, so that a failure can be repeated
from __future__ import annotations

import json
import random
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ftspec.spec import load
from ftspec.spec.format import NotFormatted, formatted
from ftspec.spec.source import parse
from ftspec.spec.tree import plain

if TYPE_CHECKING:
    from tests.spec.conftest import Project

WORDS = st.sampled_from(["a", "tone", "no", "12:30", "010", "1e-5", "true", "null", "~", "x y", "a: b", "#c", "- d", "{e}", "'f'", '"', "ä", "", " g", "h ", "@i", "*j", "&k", "!l", "%m", "|", ">", "?", "[", "a,b", "0x1f", ".5", "=", "<<", "yes", "two\nlines\n", "a\n\n  b", "x\n\n\n", " lead\n# no comment\n", "\n\ny\n", "end "])  # fmt: skip
SCALARS = st.one_of(WORDS, st.integers(-5, 10**12), st.floats(allow_nan=False, allow_infinity=False), st.booleans(), st.none())
TREES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(WORDS.filter(bool), inner, max_size=4), max_leaves=20
)
SPECS = st.dictionaries(st.text("abcdef", min_size=1, max_size=4), TREES, min_size=1, max_size=4)


class Writer:
    """Writes a value as YAML in an arbitrary but valid layout: indents, quotes, flow or block, comments, blank lines."""

    def __init__(self, chance: random.Random) -> None:
        self.chance = chance
        self.kept = False

    def document(self, value: dict[str, Any]) -> str:
        text = self.noise(0) + "".join(self.lines(value, 0))
        return text if self.chance.random() < 0.9 else text.replace("\n", "\r\n")

    def noise(self, indent: int) -> str:
        if self.kept:
            self.kept = False
            return ""
        kinds = ["", "", "", "\n", "\n\n", f"{' ' * indent}# comment\n", "# left\n", f"\n{' ' * indent}# a\n\n", "   \n"]
        return self.chance.choice(kinds)

    def lines(self, value: Any, indent: int) -> list[str]:
        """Return the block form of a non-empty collection."""
        out = []
        blanks = " " * indent
        for entry in value.items() if isinstance(value, dict) else value:
            key, item = entry if isinstance(value, dict) else (None, entry)
            start = f"{blanks}{self.scalar(key)}{self.chance.choice(['', '', ' '])}:" if key is not None else f"{blanks}-"
            out.append(self.noise(indent))
            if isinstance(item, (dict, list)) and item and self.chance.random() < 0.6:
                step = self.chance.choice([1, 2, 4, 7]) if key is None or isinstance(item, dict) else self.chance.choice([0, 2, 3])
                inner = "".join(self.lines(item, indent + step))
                if key is None and self.chance.random() < 0.5 and step > 1:
                    inner = "".join(line for line in self.lines_without_noise(item, indent + step))
                    out.append(f"{blanks}-{' ' * (step - 1)}{inner[indent + step :]}")
                else:
                    out.append(f"{start}{self.comment()}\n{inner}")
            elif isinstance(item, str) and item.strip() and "\n" in item and self.chance.random() < 0.8:
                out.append(f"{start} {self.block(item, indent)}")
            elif (
                isinstance(item, str)
                and item.replace(" ", "").isalpha()
                and item.strip() == item
                and " " in item
                and self.chance.random() < 0.5
            ):
                out.append(f"{start} {item.replace(' ', chr(10) + ' ' * (indent + self.chance.choice([1, 2, 5])))}{self.comment()}\n")
            else:
                out.append(f"{start}{' ' * self.chance.choice([1, 1, 3])}{self.flow(item, indent)}{self.comment()}\n")
        return out

    def block(self, text: str, indent: int) -> str:
        """Return text as a literal block scalar."""
        step = self.chance.choice([1, 2, 4])
        given = str(step) if text.lstrip("\n").startswith(" ") or text.startswith("\n") or self.chance.random() < 0.3 else ""
        body = text.rstrip("\n")
        ends = len(text) - len(body)
        chomp = "-" if not ends else "" if ends == 1 else "+"
        self.kept = True  # blanks after it may belong to it
        lines = [" " * (indent + step) + line if line or self.chance.random() < 0.2 else "" for line in body.split("\n")]
        return "\n".join([f"|{given}{chomp}{self.comment()}", *lines]) + "\n" * max(ends, 1)

    def lines_without_noise(self, item: Any, indent: int) -> list[str]:
        calm = Writer(self.chance)
        calm.noise = lambda _: ""  # type: ignore[method-assign]
        return calm.lines(item, indent)

    def comment(self) -> str:
        return self.chance.choice(["", "", "", " # c", "    # long: [x"])

    def flow(self, value: Any, indent: int) -> str:
        gap = self.chance.choice(["", " ", "  "])
        comma = self.chance.choice([", ", " , ", ",  ", f",\n{' ' * (indent + 3)}", f", # c\n{' ' * (indent + 5)}"])
        match value:
            case dict():
                return "{" + gap + comma.join(f"{self.scalar(key)}: {self.flow(item, indent)}" for key, item in value.items()) + gap + "}"
            case list():
                return "[" + gap + comma.join(self.flow(item, indent) for item in value) + gap + "]"
            case _:
                return self.scalar(value)

    def scalar(self, value: Any) -> str:
        match value:
            case None:
                return self.chance.choice(["null", "~", "Null"])
            case bool():
                return self.chance.choice([str(value), str(value).lower(), str(value).upper()])
            case int():
                return self.chance.choice([str(value), f"+{value}" if value >= 0 else str(value)])
            case float():
                text = repr(value)
                return text if parse(f"a: {text}".encode(), "")[0]["a"] == value else f"{value:e}"
            case str() if value.isalpha() and value not in {"true", "null", "no", "yes"} and self.chance.random() < 0.5:
                return value
            case str() if "\n" not in value and self.chance.random() < 0.5:
                return "'" + value.replace("'", "''") + "'"
            case _:
                return json.dumps(value, ensure_ascii=False)


@given(value=SPECS, seed=st.integers(0, 10**6))
@settings(max_examples=150, deadline=None)
def test_layout_quotes_and_comments_do_not_change_values(value: dict[str, Any], seed: int) -> None:
    """However a tree is written, the same tree is read, types and all."""
    text = Writer(random.Random(seed)).document(value)
    found, _, problems = parse(text.encode(), "x.yaml")
    assert problems == [], text
    assert repr(plain(found)) == repr(value), text


@given(value=SPECS, seed=st.integers(0, 10**6))
@settings(max_examples=200, deadline=None)
def test_formatting_keeps_values_and_comments_and_is_done_once(value: dict[str, Any], seed: int) -> None:
    """The result means the same, holds every comment, and is left alone the second time."""
    text = Writer(random.Random(seed)).document(value)
    result = formatted(text)
    assert repr(plain(parse(result.encode(), "")[0])) == repr(value)
    assert formatted(result) == result
    assert result.count("#") == text.count("#")
    assert all(line == line.rstrip() for line in result.split("\n"))


JOB = {
    "batch_size": st.integers(1, 256),
    "learning_rate_multiplier": st.sampled_from([1e-5, 0.5, 2]),
    "seed": st.integers(0, 99),
    "suffix": st.sampled_from(["a", "s{seed}", "{experiment}"]),
    "replicate": st.sampled_from(["x", 1]),
    "tags": st.fixed_dictionaries({"a": st.integers(0, 3)}),
    "matrix": st.fixed_dictionaries(
        {"base_model": st.just(["sandbox-mini", "sandbox-small"]), "method.hyperparameters.batch_size": st.just([1, 2])},
        optional={"zip": st.just({"epochs": [4, 5], "x": ["y", "z"]}), "exclude": st.just([{"base_model": "sandbox-mini", "x": "z"}])},
    ),
}
EXPERIMENTS = st.dictionaries(st.sampled_from(["a", "b", "c"]), st.fixed_dictionaries({"epochs": st.just(1)}, optional=JOB), min_size=1)


def _jobs(text: str) -> list[bytes]:
    from tests_profiles import PROFILES  # type: ignore[import-not-found]  # put there by the fixture below

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "ftspec.yaml"
        path.write_text(text)
        spec, _ = load([path], root=Path(folder), profiles=PROFILES)
    assert spec is not None
    return sorted(msgspec.json.encode(msgspec.structs.replace(job, origin=None), order="sorted") for job in spec.jobs)


@pytest.fixture(autouse=True)
def _profiles(monkeypatch: pytest.MonkeyPatch, project: Project) -> None:
    """Make the profiles of the fixtures importable for functions that hypothesis calls."""
    import sys
    import types

    module = types.ModuleType("tests_profiles")
    module.PROFILES = project.PROFILES  # type: ignore[attr-defined]  # a module of the tests
    monkeypatch.setitem(sys.modules, "tests_profiles", module)


def test_layout_and_order_of_keys_do_not_change_jobs() -> None:
    """Comments, quotes, indents, flow or block, formatting and the order of settings: the jobs are equal."""

    @given(experiments=EXPERIMENTS, seed=st.integers(0, 10**6))
    @settings(max_examples=40, deadline=None)
    def law(experiments: dict[str, Any], seed: int) -> None:
        defaults = {"engine": "sandbox", "base_model": "sandbox-mini", "train": "d"}
        tree = {"ftspec": 1, "datasets": {"d": "d.jsonl"}, "defaults": defaults, "experiments": experiments}
        chance = random.Random(seed)
        expected = _jobs(json.dumps(tree))
        text = Writer(chance).document(_shuffled(tree, chance))
        assert _jobs(text) == expected
        assert _jobs(formatted(text)) == expected

    law()


def _shuffled(value: Any, chance: random.Random) -> Any:
    """Return a tree with its keys in another order, except those whose order is part of addresses."""
    if not isinstance(value, dict):
        return value
    keys = list(value)
    if not any("." in key or key == "zip" for key in keys) and keys != ["epochs", "x"]:
        chance.shuffle(keys)
    return {key: _shuffled(value[key], chance) for key in keys}


def test_the_short_way_of_a_plain_job_gives_the_same_job(monkeypatch: pytest.MonkeyPatch) -> None:
    """Written-out jobs skip the machinery of grids, and nothing else."""
    from ftspec.spec import cells

    @given(experiments=EXPERIMENTS)
    @settings(max_examples=30, deadline=None)
    def law(experiments: dict[str, Any]) -> None:
        for one in experiments.values():
            one.pop("matrix", None)
        defaults = {"engine": "sandbox", "base_model": "sandbox-mini", "train": "d", "tags": {"b": "c"}}
        text = json.dumps({"ftspec": 1, "datasets": {"d": "d.jsonl"}, "defaults": defaults, "experiments": experiments})
        short = _jobs(text)
        with monkeypatch.context() as patch:
            patch.setattr(cells, "single_job", lambda *_: None)
            assert _jobs(text) == short

    law()


def test_jobs_of_a_grid_are_those_that_their_class_makes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Copies of one job whose columns are filled in equal jobs made one by one from the rows."""
    from ftspec.experiment import DesiredJob
    from ftspec.spec import cells

    def one_by_one(constants: dict[str, Any], columns: dict[str, list[Any]], count: int) -> list[DesiredJob]:
        assert {len(column) for column in columns.values()} <= {count}
        rows = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
        return [DesiredJob(**constants, **row) for row in rows]

    @given(experiments=EXPERIMENTS)
    @settings(max_examples=30, deadline=None)
    def law(experiments: dict[str, Any]) -> None:
        defaults = {"engine": "sandbox", "base_model": "sandbox-mini", "train": "d", "tags": {"b": "c"}}
        text = json.dumps({"ftspec": 1, "datasets": {"d": "d.jsonl"}, "defaults": defaults, "experiments": experiments})
        found = _jobs(text)
        with monkeypatch.context() as patch:
            patch.setattr(cells, "_jobs", one_by_one)
            assert _jobs(text) == found

    law()


@pytest.mark.parametrize(
    "text",
    [
        "a: |\n x\n   \nb: 1\n",
        "a: |+\n  x\n\n\nb: 1\n",
        "a: |\n  x",
        "a: |-\n  x",
        "a: >2\n    x\n   y\nb: 1\n",
        "- |1\n  x\n- y\n",
        "a:\n- |\n x\n- y\n",
        "a: &x\n    b: 1\nc: {<<: *x , d: *x}\n",
        "a: &x y\nb: [*x,*x , 1]\n",
        "--- # top\na: 1\n",
        "a: 'b\n\n  c'\nd: \"e \\\n     f\"\n",
        "a: {b: 'c\n   d', e: f\n  g}\n",
        "a:\n    # first\n    b: 1\n  # odd\nc: 2\n",
        "# only\n",
        "a:\n",
        "a: [\n  # none\n]\n",
    ],
)
def test_unusual_layouts_keep_their_meaning(text: str) -> None:
    """Block scalars with deep blanks, kept line ends, anchors, folded quotes, markers, stray comments."""
    result = formatted(text)
    assert repr(plain(parse(result.encode(), "")[0])) == repr(plain(parse(text.encode(), "")[0]))
    assert formatted(result) == result


def test_what_cannot_be_kept_is_not_formatted() -> None:
    """The text is left alone, and the reason is given."""
    for text, reason in [
        ("? a\n: b\n", "keys written with"),
        ("a: !!str x\n", "tags"),
        ("%YAML 1.2\n---\na: 1\n", "directives"),
        ("a: 1\n...\n", "end markers"),
        ("a: [1\n", "not YAML"),
        ("a: 'x\u2028y'\n", "separators"),
    ]:
        with pytest.raises(NotFormatted, match=reason):
            formatted(text)
