"""Files include files; nothing leads out of the project."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.spec.conftest import Project

BASE = "ftspec: 1\ndefaults: {engine: sandbox, base_model: sandbox-mini, train: d, validation: v}\n"


def test_included_files_are_merged_by_section(project: Project) -> None:
    """Paths are relative to the file that declares them; files are listed in reading order."""
    project.write("ftspec.yaml", BASE + "include: [parts/data.yaml, parts/jobs.yaml]\n")
    project.write("parts/data.yaml", "datasets: {d: d.jsonl, v: ../v.jsonl}\nvars: {team: a}\n")
    project.write("parts/jobs.yaml", 'experiments: {tone: {suffix: "{team}"}}\npolicy: {max_jobs: 3}\n')
    loaded = project.load()
    assert loaded.spec is not None
    assert (loaded.errors, loaded.addresses, loaded.jobs[0].suffix) == ([], ["tone"], "a")
    assert {name: one.path for name, one in loaded.spec.datasets.items()} == {"d": "parts/d.jsonl", "v": "v.jsonl"}
    assert loaded.spec.files == ("ftspec.yaml", "parts/data.yaml", "parts/jobs.yaml")
    assert loaded.spec.policy.max_jobs == 3


def test_several_files_on_the_command_line_are_merged_alike(project: Project) -> None:
    """The order of files is the order of jobs."""
    project.write("a.yaml", BASE + "datasets: {d: d.jsonl, v: v.jsonl}\nexperiments: {one: {}}\n")
    project.write("b.yaml", "ftspec: 1\nexperiments: {two: {}}\n")
    assert project.load("a.yaml", "b.yaml").addresses == ["one", "two"]
    assert project.load("b.yaml", "a.yaml").addresses == ["two", "one"]


def test_one_name_in_two_files_is_refused_with_both_places(project: Project) -> None:
    """Experiments, datasets, defaults and policies alike."""
    project.write("a.yaml", BASE + "datasets: {d: d.jsonl, v: v.jsonl}\nexperiments: {one: {}}\nproject: x\npolicy: {max_jobs: 1}\n")
    project.write("b.yaml", "ftspec: 1\nexperiments: {one: {}}\ndefaults: {train: v}\nproject: y\npolicy: {max_jobs: 2}\n")
    loaded = project.load("a.yaml", "b.yaml")
    assert loaded.errors == [
        "duplicate-name: the experiment `one` is given in two files",
        "duplicate-name: the default `train` is given in two files",
        "duplicate-name: the setting `project` is given in two files",
        "duplicate-name: the policy `max_jobs` is given in two files",
    ]
    problem = loaded.problems[0]
    assert (str(problem.at), problem.also[0][0], str(problem.also[0][1])) == ("b.yaml:2:15", "first given here", "a.yaml:4:15")


def test_a_file_that_is_included_twice_is_read_once(project: Project) -> None:
    """Two files may need a third one."""
    project.write("ftspec.yaml", BASE + "include: [a.yaml, b.yaml]\n")
    project.write("a.yaml", "include: c.yaml\n")
    project.write("b.yaml", "include: c.yaml\n")
    project.write("c.yaml", "datasets: {d: d.jsonl, v: v.jsonl}\nexperiments: {one: {}}\n")
    loaded = project.load()
    assert (loaded.errors, loaded.addresses) == ([], ["one"])


def test_files_that_include_each_other_are_refused(project: Project) -> None:
    """The circle is spelled out, and everything else is still read."""
    project.write("ftspec.yaml", BASE + "include: a.yaml\ndatasets: {d: d.jsonl, v: v.jsonl}\n")
    project.write("a.yaml", "include: ftspec.yaml\nexperiments: {one: {}}\n")
    loaded = project.load()
    assert loaded.errors == ["include-cycle: files include each other: `ftspec.yaml` -> `a.yaml` -> `ftspec.yaml`"]
    assert loaded.addresses == ["one"]


@pytest.mark.parametrize("path", ["../x.yaml", "/etc/passwd", "a/../../x.yaml", "~/x.yaml", "$HOME/x.yaml", ""])
def test_includes_stay_inside_the_project(project: Project, path: str) -> None:
    """As written and after links; `~` and variables are ordinary names."""
    project.write("ftspec.yaml", f"ftspec: 1\ninclude: ['{path}']\n")
    loaded = project.load()
    assert {one.code for one in loaded.problems} <= {"path-outside", "file-missing", "wrong-value"}
    assert loaded.errors


def test_links_out_of_the_project_are_refused(project: Project, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Links inside it are fine."""
    outside = tmp_path_factory.mktemp("outside")
    (outside / "x.yaml").write_text("experiments: {}\n")
    (project.root / "out.yaml").symlink_to(outside / "x.yaml")
    (project.root / "folder").symlink_to(outside)
    (project.root / "loop.yaml").symlink_to("loop.yaml")
    project.write("real.yaml", "datasets: {d: d.jsonl, v: v.jsonl}\nexperiments: {one: {}}\n")
    (project.root / "in.yaml").symlink_to("real.yaml")
    project.write("ftspec.yaml", BASE + "include: [out.yaml, folder/x.yaml, in.yaml]\n")
    loaded = project.load()
    assert loaded.errors == [
        "path-outside: the included file `out.yaml` is outside the project",
        "path-outside: the included file `folder/x.yaml` is outside the project",
    ]
    assert loaded.addresses == ["one"]
    project.write("ftspec.yaml", BASE + "include: [loop.yaml]\n")
    assert project.load().codes[0] in {"path-outside", "file-unreadable"}


@pytest.mark.parametrize("path", ["../data.jsonl", "/etc/passwd", "x/../../data.jsonl", "link.jsonl", "folder/data.jsonl"])
def test_datasets_stay_inside_the_project(project: Project, tmp_path_factory: pytest.TempPathFactory, path: str) -> None:
    """A spec from somebody else cannot read or upload other files."""
    outside = tmp_path_factory.mktemp("outside")
    (outside / "data.jsonl").write_text("secret")
    (project.root / "link.jsonl").symlink_to(outside / "data.jsonl")
    (project.root / "folder").symlink_to(outside)
    loaded = project.spec(f"datasets: {{x: '{path}'}}", head="ftspec: 1\n")
    assert [one.code for one in loaded.problems] == ["path-outside"]
    assert loaded.spec is not None
    assert loaded.spec.datasets == {}


def test_a_folder_can_be_allowed_for_data(project: Project, tmp_path_factory: pytest.TempPathFactory) -> None:
    """By the user, outside of any spec; paths are kept relative to the root."""
    outside = tmp_path_factory.mktemp("outside")
    loaded = project.spec(f"datasets: {{x: '{outside}/data.jsonl'}}", head="ftspec: 1\n", data_roots=[outside])
    assert loaded.spec is not None
    assert loaded.spec.datasets["x"].path == Path(os.path.relpath(outside / "data.jsonl", project.root)).as_posix()
    loaded = project.spec("state: ../elsewhere", head="ftspec: 1\n", data_roots=[outside])
    assert loaded.errors == ["path-outside: the state folder `../elsewhere` is outside the project"]


def test_a_spec_file_outside_of_the_root_is_refused(project: Project, tmp_path_factory: pytest.TempPathFactory) -> None:
    """The root decides what belongs to the project."""
    other = tmp_path_factory.mktemp("other") / "x.yaml"
    other.write_text("ftspec: 1\n")
    loaded = project.load(str(other))
    assert loaded.spec is None
    assert loaded.codes == ["path-outside"]


def test_a_missing_or_odd_file_is_a_diagnostic(project: Project) -> None:
    """Folders and absent files are named."""
    (project.root / "folder.yaml").mkdir()
    loaded = project.load("none.yaml", "folder.yaml")
    assert loaded.spec is None
    assert loaded.errors == ["file-missing: there is no file `none.yaml`", "file-unreadable: `folder.yaml` is not a regular file"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("experiments: {}\n", "spec-version: a spec says which version of the format it is in"),
        ("ftspec: 2\n", "spec-version: this ftspec reads version 1 of the format"),
        ("ftspec: '1'\n", "spec-version: this ftspec reads version 1 of the format"),
        ("ftspec: true\n", "spec-version: this ftspec reads version 1 of the format"),
        ("", "empty-spec: `ftspec.yaml` is empty"),
        ("- a\n", "empty-spec: `ftspec.yaml` is not a mapping"),
    ],
)
def test_a_spec_says_its_version(project: Project, text: str, message: str) -> None:
    """Files of another version, or of none, are told apart from specs."""
    project.write("ftspec.yaml", text)
    assert project.load().errors == [message]


def test_sections_that_start_with_x_are_ignored(project: Project) -> None:
    """They are a place for anchors."""
    loaded = project.spec("x-common: &common {epochs: 2}\nexperiments:\n  tone: {<<: *common, seed: 1}\n")
    assert loaded.errors == []
    assert loaded.jobs[0].hyperparameters == {"n_epochs": 2}


def test_a_valid_spec_is_remembered_and_answered_the_same(project: Project) -> None:
    """The second time no schema is needed; a changed file, variable or cache changes nothing but time."""
    cache = project.root / ".ftspec" / "cache"
    text = 'vars: {n: 1}\nexperiments: {tone: {epochs: "{n}"}}'
    first = project.spec(text, cache=cache)
    assert (cache / ".gitignore").read_text() == "*\n"
    second = project.load(cache=cache)
    assert (first.addresses, first.problems) == (second.addresses, second.problems)
    wrong = project.load(cache=cache, variables={"n": "x"})
    assert [one.split(":")[0] for one in wrong.errors] == ["wrong-value"]


def test_a_cache_that_lies_cannot_hide_nonsense(project: Project) -> None:
    """What was marked valid by somebody else is checked in full once it makes no sense."""
    from ftspec.spec import validated

    cache = project.root / "cache"
    path = project.write("ftspec.yaml", "ftspec: 1\nengines: 3\ndatasets: {a: [1]}\nexperiments: [x]\npolicy: 1\n")
    validated.remember(cache, validated.key([path.read_bytes()], {}))
    assert set(project.load(cache=cache).codes) == {"wrong-value"}


def test_a_cache_that_cannot_be_written_is_no_problem(project: Project) -> None:
    """It is an optimisation."""
    (project.root / "cache").write_text("a file, not a folder")
    assert project.spec("experiments: {tone: {}}", cache=project.root / "cache").errors == []


def test_a_valid_spec_needs_no_pydantic_the_second_time(project: Project) -> None:
    """Importing it takes longer than everything else that a plan does."""
    import subprocess
    import sys

    project.write("ftspec.yaml", BASE + "datasets: {d: d.jsonl, v: v.jsonl}\nexperiments: {one: {matrix: {seed: [1, 2]}}}\n")
    drive = (
        "import sys; from pathlib import Path; sys.path.insert(0, sys.argv[1]); from conftest import PROFILES\n"
        "from ftspec.spec import load\n"
        "spec, problems = load([Path('ftspec.yaml').resolve()], root=Path.cwd(), profiles=PROFILES, cache=Path('cache'))\n"
        "print(len(spec.jobs), 'pydantic' in sys.modules)"
    )
    drive = drive.replace("from conftest import PROFILES", "from ftspec.engines.profiles import load_profiles; PROFILES = load_profiles()")

    def run() -> str:
        done = subprocess.run(
            [sys.executable, "-c", drive, str(Path(__file__).parent)], cwd=project.root, capture_output=True, text=True, check=True
        )
        return done.stdout.strip()

    assert (run(), run()) == ("2 True", "2 False")
