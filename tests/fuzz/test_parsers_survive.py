"""Every parser of foreign bytes (`ftspec.testing.fuzz`): hostile trees, mutations, and everything that was found once."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.util import find_spec
from itertools import islice
from pathlib import Path
from random import Random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ftspec.testing.fuzz.mutate import FRAGMENTS, TEXTS, Pairs, Raw, mutated, tree_of, written
from ftspec.testing.fuzz.sweep import swept
from ftspec.testing.fuzz.target import Target as FuzzTarget
from ftspec.testing.fuzz.target import all_targets, refusal, simple

CORPUS = Path(__file__).parent / "corpus"
NAMES = sorted(all_targets())

leaves = (
    st.sampled_from(FRAGMENTS).map(Raw)
    | st.none()
    | st.booleans()
    | st.integers()
    | st.integers(2**63, 2**80)
    | st.floats()
    | st.sampled_from(TEXTS)
    | st.text(max_size=20)
    | st.text(st.characters(categories=["Cs", "Cc", "Cf", "Zl", "Nd"]), max_size=5)
)
trees = st.recursive(
    leaves,
    lambda inner: st.lists(inner, max_size=4) | st.lists(st.tuples(st.sampled_from(TEXTS), inner), max_size=4).map(Pairs),
    max_leaves=12,
)
"""JSON values that somebody has thought about for too long: names may repeat, numbers and texts may be none."""


@pytest.fixture(scope="module", params=NAMES)
def target(request, tmp_path_factory):
    """Return a target and its open function; the user's own files are elsewhere."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CONFIG_HOME", str(tmp_path_factory.mktemp("config")))
        one = all_targets()[request.param]
        with one.prepare(tmp_path_factory.mktemp("place")) as check:
            yield one, check


def test_what_is_valid_is_survived(target):
    """The seeds of a target do what the target promises."""
    one, check = target
    for content in one.seeds:
        check(content)


@given(fragments=st.lists(trees.map(written), min_size=1, max_size=4), choose=st.randoms(use_true_random=False), data=st.data())
@settings(max_examples=4, deadline=None, suppress_health_check=list(HealthCheck))
def test_hostile_trees_are_survived(target, fragments, choose, data):
    """Any value in any place of a valid input is refused or understood."""
    one, check = target
    check(mutated(choose, data.draw(st.sampled_from(one.seeds)), one.form, fragments=fragments))


def test_a_few_mutations_are_survived(target):
    """A taste of the campaign: bytes and values of valid inputs, changed."""
    one, check = target
    choose = Random(one.name)  # noqa: S311 mutations, not secrets
    for _ in range(4):
        check(mutated(choose, choose.choice(one.seeds), one.form))


@pytest.mark.slow
def test_a_share_of_the_sweep_is_survived(target):
    """Hostile values in the places of valid inputs: one in a hundred of all that there are."""
    one, check = target
    for content in islice(swept(one.seeds, one.form), 0, None, 101):
        check(content)


def test_what_was_found_once_is_survived(target):
    """Inputs that a campaign found, each mended at its place, stay mended."""
    one, check = target
    for path in sorted((CORPUS / one.folder).glob("*")):
        try:
            check(path.read_bytes())
        except Exception as error:
            error.add_note(f"the input is {path.name}")
            raise


def test_what_was_found_belongs_to_a_target():
    """No input lies where nothing reads it."""
    assert {path.name for path in CORPUS.iterdir()} <= {one.folder for one in all_targets().values()}


# The instrument itself


def test_the_seeds_of_the_targets_are_valid(tmp_path):
    """Mutations start from what works: the large spec has a plan, state knows the jobs of the small one, graders can be bound."""
    from ftspec.evals.base import bind
    from ftspec.pipeline.planning import make_plan
    from ftspec.pipeline.project import open_project
    from ftspec.testing.fuzz.targets import records, specs

    (tmp_path / "rows.jsonl").write_bytes(specs.ROWS)
    for text in (specs.FULL, specs.SMALL):
        (tmp_path / "ftspec.yaml").write_text(text)
        planned = make_plan(open_project(directory=tmp_path))
    assert tuple(one.key for one in planned.jobs) == records.KEYS
    for definition in specs.GRADERS:
        bind(json.loads(definition))


def test_every_seed_is_valid_in_its_form():
    """Mutation by value needs trees: a seed that is none would only be mutated by byte."""
    for one in all_targets().values():
        if one.form in {"json", "jsonl", "yaml"}:
            assert any(tree_of(seed, one.form) for seed in one.seeds), one.name


def test_a_planted_defect_is_found_kept_and_replayed(tmp_path):
    """A parser that trips over a wrong type is caught; the smallest input of each defect is kept."""
    from ftspec.testing.fuzz.__main__ import Recorder

    def planted(content: bytes) -> None:
        with refusal(ValueError, RecursionError, KeyError, AttributeError):
            json.loads(content)["a"]["b"].upper()

    one = FuzzTarget(name="planted", prepare=simple(planted), seeds=(b'{"a": {"b": "x"}}',))
    record, choose = Recorder(one, planted, tmp_path), Random(1)  # noqa: S311
    for _ in range(500):
        record(mutated(choose, one.seeds[0], one.form))
    [where] = record.found
    assert where.startswith("planted: TypeError")
    [kept] = [path for path in (tmp_path / "planted").iterdir() if path.suffix != ".txt"]
    with pytest.raises(TypeError):
        planted(kept.read_bytes())


def test_what_takes_too_long_is_found(tmp_path):
    """An input that is survived slowly is a finding too."""
    from ftspec.testing.fuzz.__main__ import Recorder

    one = FuzzTarget(name="slow", prepare=simple(bytes), seeds=(b"",))
    record = Recorder(one, lambda _: None, tmp_path, seconds=-1.0)
    record(b"x")
    assert [where.partition("(")[2] for where in record.found] == ["took  s)"]


def test_the_same_number_makes_the_same_mutations():
    """A campaign can be played again."""
    for one in all_targets().values():
        made = [[mutated(Random(seed), one.seeds[0], one.form) for seed in range(5)] for _ in range(2)]  # noqa: S311
        assert made[0] == made[1]


def run(*words: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run the campaign's command line."""
    command = [sys.executable, "-m", "ftspec.testing.fuzz", "--findings", str(folder), "--corpus", str(CORPUS), *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)


def test_a_campaign_prints_one_line_a_target(tmp_path):
    """Runs, seconds, coverage, findings; exit 0 where nothing was found."""
    done = run("--mutate", "--runs", "50", "scalar", "formula", folder=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert [line.split()[:2] for line in done.stdout.splitlines()[1:]] == [["scalar", "50"], ["formula", "50"]]
    assert "seeded mutations" in done.stderr


def test_the_sweep_meets_every_place_with_every_value():
    """Each name of a tree, in lists once, is given each hostile value, taken away, doubled and renamed; the rest stays."""
    seed = b'{"a": [{"b": 1}, {"b": 2}], "c": "x"}'
    made = [json.loads(one) for one in swept([seed], "json") if _reads(one)]
    for value in (True, [], "", 2147483648):
        assert {"a": value, "c": "x"} in made
        assert {"a": [{"b": value}, {"b": 2}], "c": "x"} in made
        assert {"a": [{"b": 1}, {"b": value}], "c": "x"} not in made
    assert {"c": "x"} in made
    assert {"a": [{}, {"b": 2}], "c": "x"} in made
    assert {"..": [{"b": 1}, {"b": 2}], "c": "x"} in made


def _reads(content: bytes) -> bool:
    try:
        json.loads(content)
    except (ValueError, RecursionError):
        return False
    return True


def test_the_sweep_meets_heads_and_text_at_every_word():
    """Where there is no tree, each piece is put between all words, and the text is cut off there."""
    made = list(swept([b"GET /x?a=b\n\n"], "http"))
    assert b"GET /x?\0a=b\n\n" in made
    assert b"GET /x?a\n\n" in made
    assert b"a[\xff" in list(swept([b"a["], "text"))


@pytest.mark.slow
@pytest.mark.skipif(find_spec("atheris") is None, reason="needs atheris: `pip install atheris` (Linux)")
def test_atheris_guides_the_campaign(tmp_path):
    """What inputs cover is measured, and more is covered than by the seeds; looking for days is the night's."""
    done = run("--runs", "300", "lockfile", "trust", folder=tmp_path)
    assert done.returncode == 0, done.stdout
    covered = [line.split(">") for line in done.stdout.splitlines()[1:]]
    assert all(int(end.split()[0]) > int(start.split()[-1]) for start, end in covered), done.stdout


@pytest.mark.slow
def test_many_mutations_are_survived(tmp_path):
    """The campaign over all targets, without atheris."""
    done = run("--mutate", "--runs", "60", "--seed", "2", folder=tmp_path)
    assert done.returncode == 0, done.stdout
