"""Plans that have errors are not carried out, whoever asks."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import ftspec

ROWS = [{"messages": [{"role": "user", "content": f"say {n}"}, {"role": "assistant", "content": "aye"}]} for n in range(12)]


def test_python_cannot_buy_what_the_command_line_refuses(tmp_path: Path) -> None:
    """An error that only comparing with state finds stops `ftspec.apply` before anything is bought, approved or not."""

    def spec(experiment: str, data: str) -> None:
        content = {
            "ftspec": 1,
            "datasets": {data: {"path": f"{data}.jsonl"}},
            "experiments": {experiment: {"engine": "sandbox", "base_model": "sandbox-nano", "epochs": 1, "train": data, "suffix": "tone"}},
            "policy": {"distinct_suffixes": True},
        }
        (tmp_path / "ftspec.yaml").write_text(json.dumps(content))

    (tmp_path / "one.jsonl").write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    (tmp_path / "two.jsonl").write_text("".join(json.dumps(row) + "\n" for row in ROWS[:11]))
    spec("first", "one")
    ftspec.apply(root=tmp_path, approve=True)
    spec("second", "two")
    with pytest.raises(ftspec.FtspecError) as refused:
        ftspec.apply(root=tmp_path, approve=True)
    assert [one.code for one in refused.value.diagnostics if one.severity == "error"] == ["suffix-recorded"]
    assert [one.address for one in ftspec.models(root=tmp_path, history=True)] == ["first"]
