"""A server of a few lines for one test: its handler answers with JSON, on a free port of this machine."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class JsonHandler(BaseHTTPRequestHandler):
    """A handler that reads and writes JSON, and says nothing on the screen: `answer` is called for each request."""

    wbufsize = -1  # an answer in one piece

    def answer(self) -> None:
        """Call `reply` once."""
        raise NotImplementedError

    def do_GET(self) -> None:
        """Answer."""
        self.answer()

    def do_POST(self) -> None:
        """Answer."""
        self.answer()

    def log_message(self, *_words: Any) -> None:
        """Say nothing."""

    def body(self) -> Any:
        """Return the JSON of the request's body."""
        return json.loads(self.rfile.read(int(self.headers["Content-Length"])))

    def reply(self, status: int, value: Any, **headers: str) -> None:
        """Answer with a JSON value; `_` in the name of a header is a hyphen."""
        data = json.dumps(value).encode()
        self.send_response(status)
        for name, text in headers.items():
            self.send_header(name.replace("_", "-"), text)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


@contextmanager
def serving(handler: type[BaseHTTPRequestHandler], **members: Any) -> Iterator[Any]:
    """Serve for the length of a block; `members` are set on the server, which handlers reach as `self.server`."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    for name, value in members.items():
        setattr(server, name, value)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def url_of(server: Any) -> str:
    """Return the address of the protocol on a server."""
    return f"http://127.0.0.1:{server.server_address[1]}/v1"
