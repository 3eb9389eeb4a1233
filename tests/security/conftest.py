"""A small project, and a way to run the whole command line on it in this process."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

SPEC = """ftspec: 1
project: small
datasets:
  rows: {path: rows.jsonl, split: {train: 0.7, validation: 0.1, test: 0.2}}
defaults: {engine: sandbox, validation: rows.validation}
experiments:
  small: {train: rows.train, base_model: sandbox-nano, matrix: {epochs: [1, 2]}}
"""


def chat_rows(count: int) -> str:
    """Return rows of chats, as JSON Lines."""
    rows = [
        {"messages": [{"role": "user", "content": f"where is parcel {i}"}, {"role": "assistant", "content": "shipping"}]}
        for i in range(count)
    ]
    return "".join(json.dumps(row) + "\n" for row in rows)


@dataclass(frozen=True)
class Ran:
    """What a command said."""

    code: int
    out: str
    err: str

    @property
    def said(self) -> str:
        """Both streams."""
        return self.out + self.err


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the folder of a project, which is the current one."""
    root = tmp_path / "project"
    root.mkdir()
    (root / "rows.jsonl").write_text(chat_rows(40))
    (root / "ftspec.yaml").write_text(SPEC)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.chdir(root)
    return root


@pytest.fixture
def ftspec(capfd: pytest.CaptureFixture[str]) -> Callable[..., Ran]:
    """Return a function that runs one command."""
    from ftspec.cli import _console, group

    def run(*words: str) -> Ran:
        capfd.readouterr()
        code = _console.run(group, list(words))
        said = capfd.readouterr()
        return Ran(code, said.out, said.err)

    return run


@pytest.fixture
def no_bug() -> Callable[[Ran, Sequence[int]], Any]:
    """Return a function that checks that a refusal is ours: a known exit code, no traceback, no raw control character."""

    def check(ran: Ran, codes: Sequence[int] = (0, 1)) -> None:
        assert ran.code in codes, ran.said
        assert "bug in ftspec" not in ran.said
        assert "Traceback" not in ran.said
        assert [char for char in ran.said if (ord(char) < 32 and char != "\n") or 0x7F <= ord(char) < 0xA0] == []

    return check
