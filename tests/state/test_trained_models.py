"""Models as rows: which are current, how they are found, and safe CSV and shell output."""

from __future__ import annotations

import csv
import io
import json
import subprocess

import pytest

from ftspec.diagnostics import FtspecError
from ftspec.record import State
from ftspec.state.base import JobFact
from ftspec.state.ledger import fold
from ftspec.state.lockfile import Lock, LockedDataset, LockedJob
from ftspec.state.trained import NoModel, as_csv, as_json, as_shell, model, models


def trained(key, address, *, at=1, model=None, suffix=None, tags=None, forgotten=False, image=None):
    about = {"address": address, "engine": "sandbox", "scope": "sandbox", "suffix": suffix, "tags": tags or {}, "forgotten": forgotten}
    preimage = {"recipe": 1, "scope": "sandbox", "base_model": "sandbox-mini", "method": "supervised", "train": "d", "seed": at}
    values = {
        "status": "succeeded",
        "engine_job_id": f"job-{key}",
        "created_at": f"2026-11-20T10:00:0{at}Z",
        "model": model or f"ft:{key}",
        "hyperparameters": {"n_epochs": at, "learning_rate_multiplier": 0.1},
        "checkpoints": [{"model": f"ft:{key}:10", "step": 10}],
    }
    return JobFact(
        key=key, at=f"2026-11-20T10:00:0{at}.000Z", attempt=1, values=values, job=about | {"preimage": {**preimage, **(image or {})}}
    )


STATE = fold(
    [
        trained("k1", "triage/seed=1,lang=de", at=1, tags={"owner": "search"}),
        trained("k2", "triage/seed=2,lang=en", at=2, suffix="=SUM(A1)"),
        trained("k3", "triage/seed=1,lang=de", at=3),
        trained("k4", "polish", at=4, image={"base_model": {"job": "k2"}, "lora": {"rank": 8}}),
        trained("k5", "old", at=5, forgotten=True),
        JobFact(key="k6", at="2026-11-20T10:00:00.000Z", attempt=1, values={"status": "running"}, job={"address": "slow"}),
    ]
)
LOCK = Lock(
    datasets={},
    jobs={
        "renamed": LockedJob(
            key="k1", engine="sandbox", scope="sandbox", base_model="sandbox-mini", train=LockedDataset(digest="d", rows=1)
        )
    },
)


def names(rows):
    return [row.model for row in rows]


def test_the_newest_job_of_an_address_is_current_without_a_lockfile():
    """Forgotten and unfinished jobs have no row; replaced ones are history."""
    assert names(models(STATE)) == ["ft:k4", "ft:k3", "ft:k2"]
    assert names(models(STATE, history=True)) == ["ft:k4", "ft:k3", "ft:k1", "ft:k2"]


def test_the_lockfile_says_which_job_an_address_means():
    """A job that is locked under another address is shown under that one."""
    rows = models(STATE, LOCK)
    assert [(row.address, row.model) for row in rows if row.current] == [
        ("polish", "ft:k4"),
        ("renamed", "ft:k1"),
        ("triage/seed=1,lang=de", "ft:k3"),
        ("triage/seed=2,lang=en", "ft:k2"),
    ]


@pytest.mark.parametrize(
    ("where", "found"),
    [
        ({"seed": "2"}, ["ft:k2"]),
        ({"epochs": "3"}, ["ft:k3"]),
        ({"n_epochs": "3.0"}, ["ft:k3"]),
        ({"learning_rate_multiplier": "1e-1", "seed": "3"}, ["ft:k3"]),
        ({"base_model": "sandbox-mini", "seed": "2"}, ["ft:k2"]),
        ({"base_model": "triage/seed=2,lang=en"}, ["ft:k4"]),
        ({"lora.rank": "8"}, ["ft:k4"]),
        ({"lang": "en"}, ["ft:k2"]),
        ({"owner": "search"}, ["ft:k1"]),
        ({"tags.owner": "search"}, ["ft:k1"]),
        ({"suffix": "=SUM(A1)"}, ["ft:k2"]),
        ({"suffix": ""}, ["ft:k4", "ft:k3", "ft:k1"]),
        ({"method": "dpo"}, []),
        ({"seed": "one"}, []),
    ],
)
def test_models_are_found_by_any_setting_axis_or_tag(where, found):
    """Numbers compare as numbers; a model without the setting does not fit."""
    assert names(models(STATE, history=True, where=where)) == found


def test_a_misspelt_setting_is_an_error_that_names_the_nearest():
    """An empty table would look like an answer."""
    with pytest.raises(FtspecError) as unknown:
        models(STATE, where={"epocs": "3"})
    assert unknown.value.help == "did you mean `epochs`?"
    assert models(State(), where={"anything": "x"}) == []


def test_one_address_gives_one_model():
    """An experiment with one model is enough; anything ambiguous or unknown is an error that helps."""
    assert model(STATE, LOCK, "renamed").model == "ft:k1"
    assert model(STATE, None, "polish").model == "ft:k4"
    with pytest.raises(NoModel, match="means 2 models"):
        model(STATE, None, "triage")
    with pytest.raises(NoModel) as missing:
        model(STATE, None, "polsh")
    assert missing.value.help == "did you mean `polish`?"


def test_csv_cells_are_no_formulas():
    """A suffix that a spreadsheet would run is quoted; numbers stay numbers."""
    rows = list(csv.DictReader(io.StringIO(as_csv(models(STATE)))))
    assert [row["suffix"] for row in rows] == ["", "", "'=SUM(A1)"]
    assert [row["hyperparameters.n_epochs"] for row in rows] == ["4", "3", "2"]
    odd = fold([trained("k", "a", image={"hyperparameters": {"betas": [0.9, 1]}})])
    assert next(csv.DictReader(io.StringIO(as_csv(models(odd)))))["hyperparameters.betas"] == "[0.9,1]"


def test_json_holds_everything():
    """Programs get settings, hyperparameters and checkpoints."""
    found = json.loads(as_json(models(STATE, where={"seed": "2"})))
    assert found["format_version"] == "1.0"
    assert found["models"][0]["checkpoints"] == [{"model": "ft:k2:10", "step": 10}]


def test_shell_assignments_are_quoted_and_distinct():
    """Any name can be evaluated by a shell, and no two rows share a variable."""
    hostile = fold([trained("aa", "a b/$(touch x)", model="ft:'; touch y; '"), trained("bb", "a-b/$(touch x)"), trained("cc", "1/ü")])
    text = as_shell(models(hostile))
    done = subprocess.run(["sh", "-euc", text + "\nset"], capture_output=True, text=True, check=True)
    assert "A_B_TOUCH_X_AA=" in text
    assert "A_B_TOUCH_X_BB=ft:bb" in text
    assert "_1=ft:cc" in text
    assert "touch y" in done.stdout


def test_an_unfinished_job_says_so_instead():
    """Asking for the model of a job that has none is answered with what became of it."""
    assert NoModel.of(STATE.jobs["k6"]).message == "`slow` has no model: its job is `running`"
    assert NoModel.of(fold([JobFact(key="k", at="x", attempt=1, values={"status": "intent"})]).jobs["k"]).message.endswith("in doubt")


def test_checkpoints_are_models_too():
    """Each has the row of its job, with its own name and step."""
    (row,) = models(STATE, where={"seed": "2"})
    assert [(one.model, one.step) for one in row.saved()] == [("ft:k2:10", 10)]
