"""A conversation with a model: what was said before is part of the next question."""

import asyncio
import io
import json

from ftspec.cli import chat
from ftspec.pipeline.planning import load
from ftspec.pipeline.project import open_project
from ftspec.testing.faulty import FaultyServer

ROW = {"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]}


def test_each_model_remembers_its_own_conversation(tmp_path, monkeypatch, capsys):
    """Two models are asked line by line until an empty one; each is sent its own answers."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr("sys.stdin", io.StringIO("one\ntwo\n\nthree\n"))
    (tmp_path / "tickets.jsonl").write_text(json.dumps(ROW) + "\n")
    with FaultyServer() as server:
        spec = {
            "ftspec": 1,
            "engines": {"mine": {"type": "openai-compatible", "base_url": server.base_url}},
            "datasets": {"tickets": {"path": "tickets.jsonl"}},
            "experiments": {"triage": {"engine": "mine", "train": "tickets", "base_model": "m"}},
        }
        (tmp_path / "ftspec.yaml").write_text(json.dumps(spec))
        models = [chat._Model(label=name, engine="mine", name=name) for name in ("tuned", "base")]
        loaded = load(open_project(directory=tmp_path))
        asyncio.run(chat._ask(loaded, models, None, system="be brief", sampling={"temperature": 0.0}, as_json=False))
    asked = [json.loads(request.body) for request in server.requests]
    assert [body["model"] for body in asked] == ["tuned", "base", "tuned", "base"]
    assert [(message["role"], message["content"]) for message in asked[3]["messages"]] == [
        ("system", "be brief"),
        ("user", "one"),
        ("assistant", "basesays:one"),
        ("user", "two"),
    ]
    assert all(body["temperature"] == 0 for body in asked)
    assert capsys.readouterr().out == "[tuned] tunedsays:one\n[base] basesays:one\n[tuned] tunedsays:two\n[base] basesays:two\n"
