"""A canary key through the whole command line: it reaches the engine it is for, and nothing else."""

from __future__ import annotations

import base64
import http.client
import http.server
import os
import signal
import subprocess
import sys
import threading
import time
from urllib.parse import quote

import pytest

from ftspec.testing.faulty import Fault, FaultyServer
from ftspec.testing.tinyapi import Answer, TinyApi

KEY = "Zq9canaryX7mustNotAppear0123456789abcdefCRET"
FORMS = (
    *(KEY, KEY[:16], KEY[-12:], quote(KEY), KEY.encode().hex()),
    *(base64.b64encode(before + KEY.encode()).decode()[12:44] for before in (b"", b":", b"Bearer ")),
)
COMMANDS = (
    *(
        ["status"],
        ["events", "e/seed=1"],
        ["doctor"],
        ["chat", "e/seed=1", "hello"],
        ["import", "--list"],
        ["plan", "--refresh", "-o", "p.json"],
    ),
    *(["state", "show", "*"], ["status", "--json"], ["models", "--json"], ["lock"]),
)
MORE = (
    *(["init", "fresh"], ["validate"], ["plan"], ["plan", "--format", "json"], ["plan", "-o", "plan.json"], ["apply", "plan.json"]),
    *(["doctor", "--online"], ["doctor", "--json"], ["eval", "--allow-code"], ["eval", "--json"], ["compare"]),
    *(["report"], ["report", "-o", "report.html"], ["report", "-o", "report.ipynb"], ["report", "--offline"]),
    *(
        ["data", "check"],
        ["data", "stats"],
        ["graph"],
        ["cancel", "-y", "*"],
        ["state", "list"],
        ["state", "log"],
        ["state", "repair", "-y"],
    ),
    *(
        ["state", "compact"],
        ["state", "mv", "e/seed=1", "e/seed=9"],
        ["state", "rm", "*"],
        ["import", "--generate"],
        ["trust", "--list"],
    ),
    *(["chat", "--json", "base-small", "hello"], ["events", "--json", "e/seed=2"], ["fmt", "--check"], ["schema"]),
)
"""Everything else; whether a command succeeds does not matter here."""

EVAL = "evals: {held: {dataset: rows, graders: {g: {type: string_check, operation: eq, input: '{{sample.output_text}}', reference: shipping}}}}\n"


def spec(base_url: str, *, kind: str = "openai-compatible", key: str = "FTSPEC_CANARY_KEY", more: str = "") -> str:
    """Return a spec of two jobs on one engine."""
    return (
        f'ftspec: 1\nproject: canary\n{more}engines: {{mine: {{type: {kind}, base_url: "{base_url}", api_key_env: {key}}}}}\n'
        "datasets: {rows: {path: rows.jsonl, format: chat}}\ndefaults: {engine: mine}\n"
        'experiments: {e: {train: rows, base_model: base-small, suffix: "s{seed}", matrix: {seed: [1, 2]}}}\n'
    )


@pytest.mark.parametrize(
    "kind",
    [
        "html after",
        "400",
        *(pytest.param(kind, marks=pytest.mark.slow) for kind in ("reset after", "cut after", "429 money", "strange status")),
    ],
)
def test_the_key_is_in_no_output_and_no_file(kind, project, ftspec, monkeypatch):
    """Stdout, stderr, state, lock, plan file and everything under the project, plain or encoded."""
    monkeypatch.setenv("FTSPEC_CANARY_KEY", KEY)
    with FaultyServer([Fault(kind, on="POST /fine_tuning/jobs")], key=KEY) as server:
        (project / "ftspec.yaml").write_text(spec(server.base_url))
        said = [ftspec(*words).said for words in (["apply", "-y"], *COMMANDS)]
        assert {request.headers.get("authorization") for request in server.requests} == {f"Bearer {KEY}"}
    kept = [path.read_bytes().decode("latin-1") for path in project.rglob("*") if path.is_file()]
    everything = "\n".join([*said, *kept])
    assert "canary" in everything  # the project's name: there was something to look at
    assert [form for form in FORMS if form in everything] == []


def searched(project, said) -> list[str]:
    """Return the forms of the key that are in what was said, or in any file below the folder of the project."""
    kept = [path.read_bytes().decode("latin-1") for path in project.parent.rglob("*") if path.is_file()]
    everything = "\n".join([*said, *kept])
    assert "canary" in everything  # the project's name: there was something to look at
    return [form for form in FORMS if form in everything]


def test_the_key_is_nowhere_after_every_command(project, ftspec, monkeypatch):
    """The whole command line, with evals, reports and imports, on an engine that works."""
    monkeypatch.setenv("FTSPEC_CANARY_KEY", KEY)
    with FaultyServer(key=KEY) as server:
        text = spec(server.base_url).replace("matrix:", "evals: [held], matrix:") + EVAL
        (project / "ftspec.yaml").write_text(text)
        ran = [ftspec(*words) for words in (["apply", "-y"], *COMMANDS, *MORE)]
        assert {request.headers.get("authorization") for request in server.requests} == {f"Bearer {KEY}"}
    assert ran[0].code == 0, ran[0].said
    assert [one.said for one in ran if "bug in ftspec" in one.said or "No such option" in one.said] == []
    assert searched(project, [one.said for one in ran]) == []


class Parrot(TinyApi):
    """Refuses every key, and says which one it was: whole, with its middle masked, and as it was sent."""

    def handle(self, request):
        key = request.headers.get("authorization", "").removeprefix("Bearer ")
        message = f"Incorrect API key provided: {key}, {key[:8]}****{key[-8:]}, {key[:12]}...{key[-4:]}. Headers: {dict(request.headers)}"
        error = {"message": message, "type": key, "code": key, "param": key}
        return Answer(status=401, value={"error": error, key: key}, headers={"x-request-id": key, "www-authenticate": key})


def test_an_engine_that_repeats_the_key_is_not_quoted(project, ftspec, monkeypatch):
    """In no message, code or parameter of the error that is shown and recorded."""
    monkeypatch.setenv("FTSPEC_CANARY_KEY", KEY)
    with FaultyServer(api=Parrot(now=time.time)) as server:
        (project / "ftspec.yaml").write_text(spec(server.base_url))
        ran = [ftspec(*words) for words in (["apply", "-y"], *COMMANDS, ["doctor", "--online"], ["eval", "base-small"])]
        assert server.requests
    assert all(one.code for one in ran[:1])
    assert searched(project, [one.said for one in ran]) == []


def test_a_bug_does_not_show_the_key(project, ftspec, monkeypatch):
    """Whatever an exception holds: values of variables that hold keys are cut out of it."""

    def broken(self):
        raise RuntimeError(f"the headers were {self.key.reveal()}")

    monkeypatch.setenv("FTSPEC_CANARY_KEY", KEY)
    monkeypatch.setattr("ftspec.engines.account.Account.headers", broken)
    with FaultyServer(key=KEY) as server:
        (project / "ftspec.yaml").write_text(spec(server.base_url))
        ran = [ftspec(*words) for words in (["doctor", "--online"], ["import", "--list"], ["chat", "base-small", "hello"])]
    assert searched(project, [one.said for one in ran]) == []
    assert any("bug in ftspec" in one.said and "[redacted]" in one.said for one in ran)


@pytest.mark.parametrize("name", ["OPENAI_LOG", pytest.param("PYTHONASYNCIODEBUG", marks=pytest.mark.slow)])
def test_what_makes_others_talk_does_not_show_the_key(name, project, tmp_path):
    """The SDK logs its requests, asyncio its calls: neither holds the key."""
    with FaultyServer(key=KEY) as server:
        (project / "ftspec.yaml").write_text(spec(server.base_url))
        environ = {**os.environ, "FTSPEC_CANARY_KEY": KEY, name: "debug"}
        done = subprocess.run(
            [sys.executable, "-P", "-m", "ftspec", "apply", "-y", "--no-wait"], env=environ, capture_output=True, text=True, check=False
        )
        assert {request.headers.get("authorization") for request in server.requests} == {f"Bearer {KEY}"}
    assert done.returncode == 0, done.stderr
    assert "DEBUG" in done.stderr or name != "OPENAI_LOG"
    assert searched(project, [done.stdout, done.stderr]) == []


def test_a_server_logs_and_keeps_no_key(project):
    """The key that lets clients in, and what they send instead of it, are in no log and no record of the server."""
    environ = {**os.environ, "FTSPEC_CANARY_KEY": KEY, "OPENAI_API_KEY": KEY}
    words = ["serve", "--api-key-env", "FTSPEC_CANARY_KEY", "--port", "0", "--log-json"]
    server = subprocess.Popen(
        [sys.executable, "-P", "-m", "ftspec", *words], env=environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        url = server.stdout.readline().strip()
        host, path = url.removeprefix("http://").split("/", 1)
        seen = []
        for header, where in (
            (f"Bearer {KEY}", "models"),
            (f"Bearer {KEY}x", "models"),
            (f"Basic {KEY}", "models"),
            (f"Bearer {KEY}", f"models/{KEY}"),
            (f"Bearer {KEY}", f"fine_tuning/jobs?api_key={KEY}&metadata[k]={KEY}"),
        ):
            connection = http.client.HTTPConnection(host)
            connection.request("GET", f"/{path}/{where}", headers={"authorization": header, "x-api-key": KEY, "x-request-id": KEY})
            answer = connection.getresponse()
            body = answer.read().decode()
            seen.append(answer.status)
            assert KEY not in body.replace(f"models/{KEY}", "") or where == f"models/{KEY}", body
            connection.close()
    finally:
        server.send_signal(signal.SIGINT)
        out, err = server.communicate(timeout=30)
    assert seen == [200, 401, 401, 404, 200]
    assert '"status"' in err
    kept = [path.read_bytes().decode("latin-1") for path in project.rglob("*") if path.is_file()]
    assert [form for form in FORMS if form in "\n".join([out, err, *kept])] == []


@pytest.fixture
def stranger():
    """Return the origin of a server that nobody asked for, and what it got."""
    got = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def _take(self):
            got.append(self.path)
            self.send_response(200)
            self.end_headers()

        do_GET = do_POST = _take  # noqa: N815 the library's names

        def log_message(self, *_):
            """Say nothing."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server.server_address[1], got
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.parametrize(
    "url",
    [
        *(
            "https://api.openai.com.:PORT/v1",
            "https://API.openai.com/v1",
            "https://api.op\u0435nai.com/v1",
            "https://api.openai.com.evil.test/v1",
        ),
        *("https://api.openai.com@127.0.0.1:PORT/v1", "http://2130706433:PORT/v1", "http://0x7f.1:PORT/v1", "http://0.0.0.0:PORT/v1"),
        *("http://[::ffff:127.0.0.1]:PORT/v1", "http://127.0.0.1:PORT/#@api.openai.com", "http://127.0.0.1:PORT\\\\@api.openai.com/v1"),
        *("http://localhost.evil.test:PORT/v1", "https://${HOST}/v1", "{HOST}", "file:///etc/passwd", "https://api.openai.com:444/v1"),
    ],
)
@pytest.mark.parametrize("through", ["spec", pytest.param("vars", marks=pytest.mark.slow), pytest.param("include", marks=pytest.mark.slow)])
def test_no_spelling_of_an_address_moves_the_key(url, through, project, ftspec, monkeypatch, stranger):
    """Refused before anything is sent, wherever in the spec it stands."""
    port, got = stranger
    url = url.replace("PORT", str(port))
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.setenv("HOST", f"127.0.0.1:{port}")
    text = spec(url, kind="openai", key="OPENAI_API_KEY").replace("base-small", "gpt-4.1-mini-2025-04-14")
    if through == "vars":
        text = spec("{address}", kind="openai", key="OPENAI_API_KEY", more=f'vars: {{address: "{url}"}}\n')
    if through == "include":
        engines = next(line for line in text.split("\n") if line.startswith("engines:"))
        text = text.replace(engines, "include: other.yaml")
        (project / "other.yaml").write_text(engines + "\n", encoding="utf-8")
    (project / "ftspec.yaml").write_text(text, encoding="utf-8")
    ran = ftspec("apply", "-y")
    assert ran.code == 1, ran.said
    assert "bug in ftspec" not in ran.said
    assert KEY[:16] not in ran.said
    assert got == []
    assert not list((project / "state").glob("*.jsonl"))


def test_a_redirect_from_a_trusted_origin_is_not_followed(project, ftspec, monkeypatch, stranger):
    """Neither the key nor a row of data arrives at where the engine points."""
    port, got = stranger
    monkeypatch.setenv("FTSPEC_CANARY_KEY", KEY)
    with FaultyServer([Fault("redirect", on="POST /files", value=f"http://127.0.0.1:{port}/v1", times=5)], key=KEY) as server:
        (project / "ftspec.yaml").write_text(spec(server.base_url))
        ran = ftspec("apply", "-y", "--no-wait")
    assert got == []
    assert ran.code != 0


def test_ambient_variables_move_nothing(project, ftspec, monkeypatch, stranger):
    """Proxies, base URLs and headers of other tools are ignored, with a warning."""
    port, got = stranger
    monkeypatch.setenv("FTSPEC_CANARY_KEY", KEY)
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy", "OPENAI_BASE_URL"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{port}")
    with FaultyServer(key=KEY) as server:
        (project / "ftspec.yaml").write_text(spec(server.base_url))
        assert ftspec("apply", "-y").code == 0
    assert got == []
