"""Specs in a temporary project, loaded against profiles that are written here (engines are above the spec)."""

from __future__ import annotations

import datetime as dt
import textwrap
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from ftspec.diagnostics import Diagnostic
from ftspec.experiment import DesiredJob, Spec
from ftspec.profile import BaseModel, MethodProfile, Profile, Range
from ftspec.spec import load

COMMON = {
    "n_epochs": Range(low=1, high=50, integer=True),
    "batch_size": Range(low=1, high=256, integer=True),
    "learning_rate_multiplier": Range(above=0),
}
TOY = Profile(
    name="sandbox",
    title="Toy",
    in_process=True,
    needs_key=False,
    methods={
        "supervised": MethodProfile(hyperparameters=COMMON, dataset_format="chat"),
        "dpo": MethodProfile(hyperparameters={**COMMON, "beta": Range(above=0, high=2)}, dataset_format="preference"),
        "reinforcement": MethodProfile(
            hyperparameters={**COMMON, "eval_samples": Range(low=1, integer=True)}, dataset_format="reinforcement", needs_grader=True
        ),
    },
    base_models=(BaseModel(name="sandbox-mini"), BaseModel(name="sandbox-small")),
    closed_models=True,
    graders=("string_check", "multi"),
)
HOSTED = Profile(
    name="openai",
    title="Hosted",
    base_url="https://api.openai.com/v1",
    origins=("https://api.openai.com",),
    api_key_env="OPENAI_API_KEY",
    methods={
        "supervised": MethodProfile(hyperparameters=COMMON, dataset_format="chat"),
        "dpo": MethodProfile(
            hyperparameters={**COMMON, "beta": Range(above=0, high=2)}, dataset_format="preference", base_models=("gpt-4.1*",)
        ),
        "reinforcement": MethodProfile(
            hyperparameters={**COMMON, "reasoning_effort": Range(auto=False, choices=("low", "high"))},
            dataset_format="reinforcement",
            needs_validation=True,
            needs_grader=True,
        ),
    },
    base_models=(
        BaseModel(name="gpt-4.1", until="2027-01-06", shutdown="2027-01-14", replacement="gpt-6-luna"),
        BaseModel(name="gpt-4.1-nano", until="2026-10-23", shutdown="2026-10-23"),
    ),
    integrations=("wandb",),
    graders=("string_check",),
)
OPEN = Profile(
    name="openai-compatible",
    title="Any server",
    needs_key=False,
    methods={"supervised": MethodProfile(hyperparameters=COMMON, dataset_format="chat")},
)
NARROW = Profile(
    name="narrow",
    title="An engine that lacks most things",
    base_url="https://narrow.test/v1",
    origins=("https://narrow.test",),
    seed=False,
    suffix_max=8,
    suffix_pattern="[a-z]+",
    validation=False,
    methods={"supervised": MethodProfile(hyperparameters={"learning_rate": Range(above=0, high=1, auto=False)}, dataset_format="chat")},
    engine_options={"packing": "pack rows"},
    settings={"region": "where"},
)
PROFILES: Mapping[str, Profile] = {one.name: one for one in (TOY, HOSTED, OPEN, NARROW)}
TODAY = dt.date(2026, 11, 20)


@dataclass
class Loaded:
    """What a spec became, with short ways to ask."""

    spec: Spec | None
    problems: Sequence[Diagnostic]

    @property
    def jobs(self) -> tuple[DesiredJob, ...]:
        assert self.spec is not None
        return self.spec.jobs

    @property
    def addresses(self) -> list[str]:
        return [job.address for job in self.jobs]

    @property
    def errors(self) -> list[str]:
        return [f"{one.code}: {one.message}" for one in self.problems if one.severity == "error"]

    @property
    def warnings(self) -> list[str]:
        return [f"{one.code}: {one.message}" for one in self.problems if one.severity == "warning"]

    @property
    def codes(self) -> list[str]:
        return [one.code for one in self.problems]

    def only(self, code: str) -> Diagnostic:
        (found,) = [one for one in self.problems if one.code == code]
        return found

    def job(self, address: str) -> DesiredJob:
        return next(job for job in self.jobs if job.address == address)


HEAD = """\
ftspec: 1
datasets:
  data: {path: data.jsonl, split: {train: 0.8, validation: 0.2}}
  pairs: {path: pairs.jsonl, format: preference}
defaults: {engine: sandbox, base_model: sandbox-mini, train: data.train, validation: data.validation}
"""


class Project:
    """A project folder with specs."""

    HEAD = HEAD
    PROFILES = PROFILES

    def __init__(self, root: Path) -> None:
        self.root = root

    def write(self, name: str, text: str | bytes) -> Path:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text if isinstance(text, bytes) else textwrap.dedent(text).encode())
        return path

    def load(self, *files: str, **options: Any) -> Loaded:
        options = {"profiles": PROFILES, "today": TODAY, **options}
        return Loaded(*load([self.root / name for name in files or ("ftspec.yaml",)], root=self.root, **options))

    def spec(self, text: str, *, head: str = HEAD, **options: Any) -> Loaded:
        """Load a spec that consists of common datasets and defaults, and of `text`."""
        self.write("ftspec.yaml", head + textwrap.dedent(text))
        return self.load(**options)

    def experiments(self, text: str, **options: Any) -> Loaded:
        """Load a spec with these experiments."""
        return self.spec("experiments:\n" + textwrap.indent(textwrap.dedent(text), "  "), **options)


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path)


@pytest.fixture
def profiles_with() -> Callable[..., Mapping[str, Profile]]:
    def change(name: str, **changes: Any) -> Mapping[str, Profile]:
        return {**PROFILES, name: replace(PROFILES[name], **changes)}

    return change
