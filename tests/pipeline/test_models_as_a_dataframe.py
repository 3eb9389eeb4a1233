"""Trained models become a DataFrame where pandas is installed, and say so where it is not."""

from __future__ import annotations

import sys

import pytest

import ftspec

SPEC = """\
ftspec: 1
datasets: {rows: rows.jsonl}
experiments:
  ping: {engine: sandbox, base_model: sandbox-nano, train: rows, epochs: 1, matrix: {seed: [1, 2]}, tags: {owner: search}}
"""
ROW = '{"messages": [{"role": "user", "content": "ping %d"}, {"role": "assistant", "content": "pong"}]}'


@pytest.fixture
def models(tmp_path):
    (tmp_path / "ftspec.yaml").write_text(SPEC)
    (tmp_path / "rows.jsonl").write_text("\n".join(ROW % n for n in range(12)) + "\n")
    ftspec.apply(root=tmp_path, approve=True)
    return ftspec.models(root=tmp_path)


def test_a_row_for_each_model_and_a_column_for_each_setting(models):
    """Settings, names and tokens are columns; a query finds a model."""
    pytest.importorskip("pandas", reason="pandas is not installed (pip install 'ftspec[pandas]')")
    frame = models.to_pandas()
    assert list(frame["address"]) == ["ping/seed=1", "ping/seed=2"]
    assert frame[frame["seed"] == 2]["model"].iloc[0] == models[1].model
    assert set(frame["hyperparameters.n_epochs"]) == {1}


def test_without_pandas_the_extra_is_named(models, monkeypatch):
    """The error says what to install."""
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(ftspec.FtspecError) as stopped:
        models.to_pandas()
    assert stopped.value.help == "pip install 'ftspec[pandas]'"
