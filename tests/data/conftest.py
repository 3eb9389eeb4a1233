"""Datasets as files of one test."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
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


class Moderation(BaseHTTPRequestHandler):
    """An engine that flags texts with the words `hurt` and `insult`; its first answer is always "later"."""

    wbufsize = -1

    def log_message(self, *args):
        pass

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.asked.append((self.path, self.headers["Authorization"], body))
        self.server.times += 1
        if self.server.times == 1:
            self.send_response(429)
            self.send_header("retry-after", "0")
            answer = {"error": {"message": "later", "type": "requests", "code": "rate_limit_exceeded"}}
        elif self.server.silent:
            self.send_response(404)
            answer = {"error": {"message": "unknown address for not-a-real-key", "type": "invalid_request_error", "code": "unknown_url"}}
        else:
            self.send_response(200)
            answer = {"id": "modr-1", "model": "m", "results": [self.result(text) for text in body["input"]]}
        data = json.dumps(answer).encode()
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    @staticmethod
    def result(text):
        categories = {"violence": "hurt" in text, "harassment/threatening": "insult" in text, "hate": False}
        return {"flagged": any(categories.values()), "categories": categories, "category_scores": {}}


@pytest.fixture
def moderation_server():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Moderation)
    server.asked, server.times, server.silent = [], 0, False
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()
