"""What a team needs of a served engine: limits of keys, counts for an operator, and log lines."""

from __future__ import annotations

import io
import json
import logging
import re

import pytest

from ftspec.diagnostics import FtspecError
from ftspec.experiment import EngineEntry
from ftspec.server.inprocess import engine_app
from ftspec.server.limits import Limits, digest
from ftspec.server.meter import JsonLines, Meter
from ftspec.server.serving import read_keys, read_limits
from ftspec.server.wire import ApiError

KEYS = {"key-of-the-first-team": "first", "key-of-the-second-team": "second"}
SANDBOX = EngineEntry(name="sandbox", type="sandbox", scope="sandbox")


def test_a_key_file_holds_projects_and_limits(calling, tmp_path):
    """Requests are limited for a key, unfinished jobs for its project, whose largest word counts."""
    path = tmp_path / "keys"
    path.write_text("# team\na-key-of-sixteen- first requests=60 jobs=2\nanother-key-of-16 first jobs=4 # ci\nthird-key-of-16-c\n")
    assert read_keys(path) == {"a-key-of-sixteen-": "first", "another-key-of-16": "first", "third-key-of-16-c": "default"}
    limits = read_limits(path)
    assert (limits._requests, limits._jobs) == ({digest("a-key-of-sixteen-"): 60}, {"first": 4})
    for line in (
        "a-key-of-sixteen- first jobs=many",
        "jobs=3",
        "a-key-of-sixteen- first jobs=0",
        "a-key-of-sixteen- a b",
        "k p jobs=1 jobs=2",
    ):
        path.write_text(line + "\n")
        with pytest.raises(FtspecError, match="line 1"):
            read_limits(path)


def test_requests_beyond_the_minute_wait(calling, tmp_path):
    """One more request than a minute allows is a 429 that says when to come again; another key of the same project notices nothing."""
    now = [0.0]
    limits = Limits(requests={digest(next(iter(KEYS))): 2}, clock=lambda: now[0])
    with engine_app(SANDBOX, tmp_path / "s", api_keys=dict.fromkeys(KEYS, "first"), limits=limits) as app:
        first, second = (calling(app, authorization=f"Bearer {key}") for key in KEYS)
        assert [first.get("/v1/models").status for _ in range(2)] == [200, 200]
        refused = first.get("/v1/models")
        assert (refused.status, refused.error["code"], refused.error["type"]) == (429, "rate_limit_exceeded", "rate_limit_error")
        assert int(refused.headers["retry-after"]) >= 60
        assert second.get("/v1/models").status == 200
        now[0] = 61.0
        assert first.get("/v1/models").status == 200


def test_jobs_beyond_the_limit_are_refused_and_bought_ones_are_not(tmp_path):
    """Only unfinished jobs of the same project count."""

    class Store:
        def unsettled(self):
            return [type("Job", (), {"project": project}) for project in ("first", "first", "second")]

    limits = Limits(jobs={"first": 2, "second": 2})
    limits.job("second", Store())
    limits.job("third", Store())
    with pytest.raises(ApiError) as refused:
        limits.job("first", Store())
    assert refused.value.body["error"]["code"] == "concurrent_jobs_exceeded"


def test_jobs_bought_at_the_same_moment_count_too(calling, rows, tmp_path):
    """Of six requests at once, as many are bought as may be."""
    with engine_app(SANDBOX, tmp_path / "s", limits=Limits(jobs={"default": 2})) as app:
        caller = calling(app)
        method = {"type": "supervised", "supervised": {"hyperparameters": {"n_epochs": 50}}}
        body = {"model": "sandbox-nano", "training_file": caller.upload(rows(200, seed=1)), "method": method}
        answers = caller.together(6, "POST", "/v1/fine_tuning/jobs", json=body)
        assert sorted(answer.status for answer in answers) == [200, 200, 429, 429, 429, 429]


def test_a_repeated_purchase_is_no_new_job(calling, rows, tmp_path):
    """At the limit, the request that bought a job is still answered with that job."""
    limits = Limits(jobs={"default": 1})
    with engine_app(SANDBOX, tmp_path / "s", limits=limits) as app:
        caller = calling(app)
        body = {"training_file": caller.upload(rows(200, seed=1)), "metadata": {"ftspec_key": "k", "ftspec_attempt": "1"}}
        long = {"method": {"type": "supervised", "supervised": {"hyperparameters": {"n_epochs": 50}}}}
        job = caller.create(**body, **long)
        assert caller.create(**body, **long)["id"] == job["id"]
        other = caller.post("/v1/fine_tuning/jobs", json={"model": "sandbox-nano", **body, "metadata": {"ftspec_key": "l"}})
        assert other.status == 429
        caller.post(f"/v1/fine_tuning/jobs/{job['id']}/cancel")
        assert caller.create(**body | {"metadata": {"ftspec_key": "l"}})["id"] != job["id"]


SAMPLE = re.compile(r'([a-z_]+)(\{(?:[a-z]+="(?:[^"\\\n]|\\["\\n])*",?)+\})? -?[0-9.e+]+')


def assert_prometheus_can_read(text):
    """Every sample follows the type of its family, is said once, and has the form of the text format 0.0.4."""
    families, seen = {}, set()
    assert text.endswith("\n")
    for line in text.splitlines():
        if line.startswith("# TYPE "):
            _, _, name, kind = line.split()
            assert name not in families
            families[name] = kind
        elif not line.startswith("# HELP "):
            name, labels = SAMPLE.fullmatch(line).groups()
            family = name if name in families else name.removesuffix("_sum").removesuffix("_count")
            assert families[family] == ("summary" if family != name else families[family])
            assert list(families)[-1] == family
            assert (name, labels) not in seen
            seen.add((name, labels))
    assert set(families.values()) == {"counter", "gauge", "summary"}


def test_an_operator_sees_counts_and_no_names(calling, rows, tmp_path):
    """`/metrics` needs a key like everything else, counts by route, and holds no id, key or content."""
    with engine_app(SANDBOX, tmp_path / "s", api_keys=KEYS, meter=Meter()) as app:
        caller = calling(app, authorization=f"Bearer {next(iter(KEYS))}")
        assert calling(app).get("/metrics").status == 401
        job = caller.train(training_file=caller.upload(rows(20, seed=1)))
        caller.get("/v1/nothing/here")
        text = caller.get("/metrics").content.decode()
        assert 'ftspec_requests_total{method="POST",path="/v1/files"' not in text
        assert 'ftspec_requests_total{method="POST",route="/v1/files",status="200"} 1' in text
        assert 'route="/v1/fine_tuning/jobs/{job_id}",status="200"' in text
        assert 'ftspec_requests_total{method="GET",route="other",status="404"} 1' in text
        assert 'ftspec_open_jobs{status="running"} 0' in text
        assert job["id"] not in text
        assert_prometheus_can_read(text)
        assert "/metrics" not in calling(app, authorization=f"Bearer {next(iter(KEYS))}").get("/v1/models").content.decode()


def test_odd_names_of_projects_stay_within_their_label(calling, tmp_path):
    """Quotes and backslashes in a key file's project do not end a label early."""
    odd = 'a"b\\c'
    limits = Limits(requests={digest("key-of-the-odd-team-"): 1})
    with engine_app(SANDBOX, tmp_path / "s", api_keys={"key-of-the-odd-team-": odd, **KEYS}, limits=limits, meter=Meter()) as app:
        statuses = [calling(app, authorization="Bearer key-of-the-odd-team-").get("/v1/models").status for _ in range(2)]
        text = calling(app, authorization="Bearer key-of-the-first-team").get("/metrics").content.decode()
    assert statuses == [200, 429]
    assert_prometheus_can_read(text)
    assert 'ftspec_limited_total{project="a\\"b\\\\c"} 1' in text


def test_a_request_is_one_line_of_json(calling, tmp_path):
    """Time, route, status and project; never the key or what was asked."""
    said = io.StringIO()
    handler = logging.StreamHandler(said)
    handler.setFormatter(JsonLines())
    logger = logging.getLogger("ftspec.server.requests")
    logger.addHandler(handler)
    level = logger.level
    logger.setLevel(logging.INFO)
    try:
        with engine_app(SANDBOX, tmp_path / "s", api_keys=KEYS, meter=Meter()) as app:
            caller = calling(app, authorization="Bearer key-of-the-first-team")
            caller.post("/v1/chat/completions", json={"model": "sandbox-nano", "messages": [{"role": "user", "content": "secret"}]})
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)
    (line,) = map(json.loads, said.getvalue().splitlines())
    assert (line["event"], line["route"], line["status"], line["project"]) == ("request", "/v1/chat/completions", 200, "first")
    assert line["request_id"].startswith("req_")
    assert "secret" not in said.getvalue()
    assert "key-of" not in said.getvalue()
