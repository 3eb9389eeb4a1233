"""Datasets as files of one test."""

from __future__ import annotations

import gzip
import json
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest

from ftspec.data.rows import Place
from ftspec.experiment import DesiredDataset, SplitRule
from ftspec.testing.tiny_http import JsonHandler, serving, url_of


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


class Moderation(JsonHandler):
    """An engine that flags texts with the words `hurt` and `insult`; its first answer is always "later"."""

    def answer(self):
        body = self.body()
        self.server.asked.append((self.path, self.headers["Authorization"], body))
        self.server.times += 1
        if self.server.times == 1:
            self.reply(429, {"error": {"message": "later", "type": "requests", "code": "rate_limit_exceeded"}}, retry_after="0")
        elif self.server.silent:
            why = "unknown address for not-a-real-key"
            self.reply(404, {"error": {"message": why, "type": "invalid_request_error", "code": "unknown_url"}})
        else:
            self.reply(200, {"id": "modr-1", "model": "m", "results": [self.result(text) for text in body["input"]]})

    @staticmethod
    def result(text):
        categories = {"violence": "hurt" in text, "harassment/threatening": "insult" in text, "hate": False}
        return {"flagged": any(categories.values()), "categories": categories, "category_scores": {}}


@pytest.fixture
def moderation_server():
    with serving(Moderation, asked=[], times=0, silent=False) as server:
        yield server


CALLED = {"name": "weather", "arguments": '{"city":"Oslo"}'}
USAGE = {"input_tokens": 1, "output_tokens": 1, "total_tokens": 2}


class Model(BaseHTTPRequestHandler):
    """A model that answers chat completions and the Responses API by what the user says, streams in pieces, and stores."""

    wbufsize = 0
    disable_nagle_algorithm = True
    protocol_version = "HTTP/1.1"

    def log_message(self, *args):
        pass

    def do_GET(self):
        name = self.path.partition("?")[0].rpartition("/")[2]
        self.reply(200, self.server.stored[name])

    def do_POST(self):
        self.body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        path = self.path.partition("?")[0]
        if path.endswith("/chat/completions"):
            self.complete(self.body["messages"][-1]["content"])
        elif path.endswith("/responses"):
            given = self.body["input"]
            self.respond(given if isinstance(given, str) else str(given[-1].get("content", given[-1].get("output"))))
        else:
            self.reply(200, {"id": "cmpl-1", "object": "text_completion", "choices": [{"index": 0, "text": "x", "finish_reason": "stop"}]})

    def complete(self, said):
        if said == "fail":
            self.reply(400, {"error": {"message": "no", "type": "invalid_request_error", "code": "x", "param": None}})
            return
        call = {"id": "c1", "type": "function", "function": CALLED}
        about = {"id": "chatcmpl-1", "created": 1, "model": "gpt-x"}
        if not self.body.get("stream"):
            message, reason = {
                "tools": ({"role": "assistant", "content": None, "tool_calls": [call]}, "tool_calls"),
                "long": ({"role": "assistant", "content": "and so on and"}, "length"),
                "json": ({"role": "assistant", "content": '{"city": "Oslo"}'}, "stop"),
                "refuse": ({"role": "assistant", "content": None, "refusal": "No."}, "stop"),
            }.get(said, ({"role": "assistant", "content": "Hello.", "refusal": None, "annotations": []}, "stop"))
            choices = [{"index": 0, "finish_reason": reason, "message": message}]
            self.reply(200, {**about, "object": "chat.completion", "choices": choices})
            return
        deltas = [{"role": "assistant", "content": ""}, {"content": "Hel"}, {"content": "lo."}]
        if said == "tools":
            deltas = [
                {"role": "assistant", "tool_calls": [{"index": 0, **call, "function": {"name": "weather", "arguments": ""}}]},
                {"tool_calls": [{"index": 0, "function": {"arguments": '{"city":'}}]},
                {"tool_calls": [{"index": 0, "function": {"arguments": '"Oslo"}'}}]},
            ]
        if said == "refuse":
            deltas = [{"role": "assistant", "refusal": "N"}, {"refusal": "o."}]
        if said == "json":
            deltas = [{"role": "assistant", "content": '{"city": '}, {"content": '"Oslo"}'}]
        chunks = [{"delta": delta, "finish_reason": None} for delta in deltas]
        chunks.append({"delta": {}, "finish_reason": {"tools": "tool_calls", "long": "length"}.get(said, "stop")})
        about["object"] = "chat.completion.chunk"
        self.stream([("", {**about, "choices": [{"index": 0, **chunk}]}) for chunk in chunks], done=True, cut=said == "cut")

    def respond(self, said):
        name = f"resp_{len(self.server.stored) + 1}"
        message = {"type": "message", "id": "msg_1", "role": "assistant", "status": "completed"}
        text = {"type": "output_text", "text": '{"city": "Oslo"}' if said == "json" else "Hello.", "annotations": []}
        output = {
            "tools": [{"type": "function_call", "id": "fc_1", "call_id": "c1", "status": "completed", **CALLED}],
            "search": [{"type": "web_search_call", "id": "ws", "status": "completed"}, {**message, "content": [text]}],
            "refuse": [{**message, "content": [{"type": "refusal", "refusal": "No."}]}],
        }.get(
            said,
            [{"type": "reasoning", "id": "rs", "summary": [{"type": "summary_text", "text": "Greet."}]}, {**message, "content": [text]}],
        )
        answer = {
            "id": name,
            "object": "response",
            "created_at": 1,
            "status": "incomplete" if said == "long" else "completed",
            "error": None,
            "incomplete_details": {"reason": "max_output_tokens"} if said == "long" else None,
            "instructions": self.body.get("instructions"),
            "model": "gpt-x",
            "output": output,
            "parallel_tool_calls": True,
            "previous_response_id": self.body.get("previous_response_id"),
            "tool_choice": "auto",
            "tools": self.body.get("tools", []),
            "usage": USAGE,
        }
        self.server.stored[name] = answer
        begun = {**answer, "status": "in_progress", "output": []}
        if not self.body.get("stream"):
            self.reply(200, {**begun, "status": "queued"} if self.body.get("background") else answer)
            return
        events = [("response.created", {"response": begun})]
        for number, item in enumerate(output):
            events.append(("response.output_item.added", {"output_index": number, "item": item}))
            events.append(("response.output_item.done", {"output_index": number, "item": item}))
        final = {**answer, "output": None} if said == "items" else answer
        events.append((f"response.{answer['status']}", {"response": final}))
        events = [(kind, {"type": kind, "sequence_number": number, **event}) for number, (kind, event) in enumerate(events)]
        self.stream(events, cut=said == "cut")

    def stream(self, events, *, done=False, cut=False):
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        lines = [(f"event: {kind}\n" if kind else "") + f"data: {json.dumps(event)}\n\n" for kind, event in events]
        whole = "".join(lines[:2] if cut else [*lines, "data: [DONE]\n\n" if done else ""]).encode()
        step = len(whole) if "at once" in str(self.body) else 97  # events are torn, as networks tear them, or come together
        for start in range(0, len(whole), step):
            piece = whole[start : start + step]
            self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))
        if cut:
            self.close_connection = True
        else:
            self.wfile.write(b"0\r\n\r\n")

    def reply(self, status, body):
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        if "gzip" in self.headers.get("Accept-Encoding", ""):
            data = gzip.compress(data)
            self.send_header("Content-Encoding", "gzip")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


@pytest.fixture(scope="session")
def model_url():
    with serving(Model, stored={}, handle_error=lambda *_: None) as server:  # callers that break off are expected
        yield url_of(server)
