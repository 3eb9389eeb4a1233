"""The process that answers local chats may end at any moment: who asked hears of it, and the next one is answered."""

from __future__ import annotations

import json
import sys
import time

import pytest

from ftspec.experiment import EngineEntry
from ftspec.server.inprocess import engine_app

PATH = "/v1/chat/completions"
BODY = {"model": "tiny", "messages": [{"role": "user", "content": "hello"}]}

ANSWERS = """#!{python}
# Answers as `answer.py` does, and ends where the test says: `when` holds how many lines it may still say.
import json, sys
from pathlib import Path
when = Path({when!r})
left = json.loads(when.read_text())
for line in sys.stdin:
    number = json.loads(line).get("id")
    said = [{{"prompt_tokens": 3, "fingerprint": "fp_1"}}, {{"text": "he", "logprob": -1.0, "top": []}}, {{"text": "y", "logprob": -2.0, "top": []}},
            {{"finish": "stop"}}]
    if number is None:
        when.with_name("line").write_text(line)
        when.with_name("line").rename(when.with_name("forgotten"))
        continue
    if left == "waits":
        said = said[:2]
    for one in [{{"error": "too long", "code": "context_length_exceeded"}}] if left == "refuses" else said:
        if left == 0:
            when.write_text("99")
            sys.exit(1)
        left = left - 1 if isinstance(left, int) else left
        print(json.dumps({{"id": number, **one}}), flush=True)
"""


@pytest.fixture
def answering(calling, tmp_path):
    """Ask the local engine, whose answering process says as many lines as given before it ends; the one after it lives."""
    apps = []

    def caller(lines):
        (tmp_path / "when").write_text(json.dumps(lines))
        python = tmp_path / "python"
        python.write_text(ANSWERS.format(python=sys.executable, when=str(tmp_path / "when")))
        python.chmod(0o755)
        options = {"models": {"tiny": str(tmp_path)}, "python": str(python)}
        apps.append(engine_app(EngineEntry(name="local", type="local", scope="local", options=options), tmp_path / "root"))
        return calling(apps[-1])

    yield caller
    for app in apps:
        app.close()


def test_a_process_that_ends_before_its_answer_is_replaced(answering):
    """Nobody notices: it is asked again, of another one."""
    answer = answering(0).post(PATH, json=BODY).json
    assert answer["choices"][0]["message"]["content"] == "hey"
    assert answer["usage"] == {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}


@pytest.mark.parametrize("lines", [1, 2, 3])
def test_an_answer_that_broke_off_is_none(answering, lines):
    """It is a 503 that clients try again, streamed an error at its end; and the next one is answered."""
    caller = answering(lines)
    refused = caller.post(PATH, json=BODY)
    assert (refused.status, refused.error["code"], refused.error["type"]) == (503, "answerer_gone", "server_error")
    assert caller.post(PATH, json=BODY).status == 200
    streamed = answering(lines).post(PATH, json={**BODY, "stream": True}).content.decode().split("\n\n")
    assert json.loads(streamed[-2].removeprefix("data: "))["error"]["code"] == "answerer_gone"


def test_an_interpreter_that_cannot_answer_is_said_to_be_so(calling, tmp_path):
    """Without torch, or without ftspec, the process ends at once, twice: that is not our crash, and `answers.log` has the reason."""
    options = {"models": {"tiny": str(tmp_path)}, "python": "/bin/false"}
    with engine_app(EngineEntry(name="local", type="local", scope="local", options=options), tmp_path / "root") as app:
        refused = calling(app).post(PATH, json=BODY)
    assert (refused.status, refused.error["code"]) == (503, "answerer_gone")
    assert "answers.log" in refused.error["message"]


def test_a_conversation_that_does_not_fit_has_the_protocols_code(answering):
    """Clients that shorten conversations look for it."""
    refused = answering("refuses").post(PATH, json=BODY)
    assert (refused.status, refused.error["code"]) == (400, "context_length_exceeded")


@pytest.mark.parametrize("stream", [False, True])
def test_an_answer_that_nobody_waits_for_is_written_no_further(answering, tmp_path, stream):
    """Cut at a stop sequence, an answer needs no more tokens: the process is told, and is free for others."""
    caller = answering("waits")
    assert caller.post(PATH, json={**BODY, "stop": "e", "stream": stream}).status == 200
    end = time.monotonic() + 60
    while not (tmp_path / "forgotten").exists():
        assert time.monotonic() < end
        time.sleep(0.01)
    assert json.loads((tmp_path / "forgotten").read_text()) == {"forget": "1"}
