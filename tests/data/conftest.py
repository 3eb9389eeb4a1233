"""Datasets as files of one test."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ftspec.data.rows import Place
from ftspec.experiment import DesiredDataset, SplitRule


class Folder:
    """A project folder with dataset files."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def write(self, name: str, *rows: Any) -> str:
        """Write rows: objects as JSON lines, text and bytes as they are."""
        lines = [
            row if isinstance(row, bytes) else (row.removesuffix("\n") if isinstance(row, str) else json.dumps(row)).encode() + b"\n"
            for row in rows
        ]
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"".join(lines))
        return name

    def dataset(self, name: str, *rows: Any, **settings: Any) -> DesiredDataset:
        """Write a file and return it as a dataset of that name."""
        path = self.write(f"{name}.jsonl", *rows) if rows else f"{name}.jsonl"
        if "split" in settings:
            settings["split"] = SplitRule(**settings["split"])
        return DesiredDataset(name=name, path=path, **settings)

    def place(self, *datasets: DesiredDataset) -> Place:
        return Place(root=self.root, datasets={one.name: one for one in datasets})


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path)


def chat(user: str = "How are you?", assistant: str = "Fine.", **more: Any) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": user}, {"role": "assistant", "content": assistant}], **more}


@pytest.fixture(name="chat")
def chat_row():
    return chat
