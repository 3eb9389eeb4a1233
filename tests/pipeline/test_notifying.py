"""`notify:` tells about the end of jobs, with consent, without secrets, and never changes what happened."""

import http.server
import json
import sys
import threading
from pathlib import Path

import pytest

from ftspec.engines.trust import TrustError, TrustStore
from ftspec.experiment import EngineEntry, Spec
from ftspec.pipeline.notifying import ended_keys, notify
from ftspec.pipeline.project import open_project
from ftspec.record import Attempt, JobError, JobStatus, RecordedJob, State

CANARY = "sk-proj-canary-0123456789abcdefghCRET"
PROGRAM = """\
import json, os, sys, pathlib
pathlib.Path(sys.argv[1]).write_text(json.dumps({"message": json.load(sys.stdin), "environ": dict(os.environ)}))
"""


def job(address, status, **known):
    """Return a record of one attempt."""
    last = Attempt(number=1, status=JobStatus(status), engine_job_id=f"ftjob-{address}", **known)
    return RecordedJob(key=address * 8, address=address, engine="openai", scope="openai", attempts=(last,))


ENDED = State(
    jobs={
        one.key: one
        for one in (
            job("a", "succeeded", model="ft:m:a", cost=1.25, currency="USD", trained_tokens=900),
            job("b", "failed", error=JobError(code="bad_rows", message="row 3 says: my password is hunter2")),
            job("c", "running"),
        )
    }
)


@pytest.fixture
def told(tmp_path: Path, monkeypatch):
    """Return a function that notifies as a spec with these blocks asks; its `trust` is the user's own file."""
    home, root = tmp_path / "home", tmp_path / "project"
    root.mkdir()
    environ = {"XDG_CONFIG_HOME": str(home), "OPENAI_API_KEY": CANARY, "PATH": "/usr/bin:/bin"}

    def tell(*blocks, state=ENDED, ended=None, **more):
        entry = EngineEntry(name="openai", type="openai", scope="openai", api_key_env="OPENAI_API_KEY")
        spec = Spec(root=str(root), project="triage", engines={"openai": entry}, notify=blocks)
        project = open_project(directory=root, need_spec=False)
        return notify(project, spec, state, set(state.jobs) if ended is None else ended, command="apply", environ=environ | more)

    tell.root = root
    tell.trust = TrustStore.load(environ)
    return tell


@pytest.fixture
def hook():
    """Serve a webhook on this machine; `said` are the bodies, `answer` the status and headers."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["content-length"]))
            server.said.append((self.path, dict(self.headers), json.loads(body)))
            status, headers = server.answer
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_):
            """Say nothing."""

    server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
    server.said, server.answer = [], (200, {})
    server.origin = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def test_nothing_is_sent_that_this_machine_does_not_trust(told, hook):
    """A spec from anybody can ask; only a person's own file lets a command run or a webhook be posted."""
    argv = [sys.executable, "-c", PROGRAM, "out.json"]
    warnings = told({"command": argv}, {"webhook": f"{hook.origin}/hook"})
    assert hook.said == []
    assert not (told.root / "out.json").exists()
    assert [line.partition(";")[0] for line in warnings] == [
        "not notified: this machine does not trust the command",
        f"not notified: this machine does not trust `{hook.origin}` with messages",
    ]
    assert warnings[1].endswith(f"ftspec trust --webhook {hook.origin}")


def test_a_trusted_webhook_hears_of_the_jobs_that_ended(told, hook):
    """The message names addresses, statuses, models, costs and error codes, and nothing else."""
    told.trust.add_webhook(hook.origin, day="2026-11-20")
    assert told({"webhook": f"{hook.origin}/services/T0/B1?sig=x"}) == []
    [(path, headers, message)] = hook.said
    assert path == "/services/T0/B1?sig=x"
    assert "authorization" not in {name.lower() for name in headers}
    assert message["text"] == "triage: 1 succeeded, 1 failed"
    assert [(one["address"], one["status"]) for one in message["jobs"]] == [("a", "succeeded"), ("b", "failed")]
    assert (message["jobs"][0]["model"], message["jobs"][0]["cost"]) == ("ft:m:a", 1.25)
    assert message["jobs"][1]["error_code"] == "bad_rows"
    assert "hunter2" not in json.dumps(message)
    assert CANARY not in json.dumps(message)


def test_a_block_hears_only_of_what_it_waits_for(told, hook):
    """`on: failed` is silent about success; without failures nothing is sent at all."""
    told.trust.add_webhook(hook.origin, day="2026-11-20")
    told({"webhook": hook.origin, "on": "failed"}, {"webhook": hook.origin, "on": ["succeeded"]})
    assert [[one["address"] for one in message["jobs"]] for _, _, message in hook.said] == [["b"], ["a"]]
    hook.said.clear()
    assert told({"webhook": hook.origin, "on": "failed"}, ended={"a" * 8, "c" * 8}) == []
    assert hook.said == []


def test_a_trusted_command_reads_the_message_and_gets_no_key(told):
    """It runs without a shell, in the project's root, without the variables that hold keys."""
    argv = [sys.executable, "-c", PROGRAM, "out $(touch pwned).json"]
    told.trust.add_command(argv, root=told.root, day="2026-11-20")
    assert told({"command": argv}, WEBHOOK="https://hooks.example.com/secret") == []
    heard = json.loads((told.root / "out $(touch pwned).json").read_text())
    assert heard["message"]["jobs"][0]["address"] == "a"
    assert CANARY not in json.dumps(heard)
    assert not (told.root / "pwned").exists()


def test_a_changed_script_must_be_trusted_anew(told):
    """Trust covers the content of the project's files that the words of a command name."""
    script = told.root / "tell.py"
    script.write_text(PROGRAM)
    command = f"{sys.executable} tell.py out.json"
    told.trust.add_command(command.split(), root=told.root, day="2026-11-20")
    assert told({"command": command}) == []
    (told.root / "out.json").unlink()
    script.write_text(PROGRAM + "# something else\n")
    [warning] = told({"command": command})
    assert "does not trust the command" in warning
    assert not (told.root / "out.json").exists()


@pytest.mark.parametrize(
    ("answer", "why"),
    [((500, {}), "the webhook answered 500"), ((307, {"location": "http://127.0.0.1:9/"}), "the webhook answered 307")],
)
def test_a_webhook_that_fails_is_a_warning(told, hook, answer, why):
    """Redirects are not followed."""
    told.trust.add_webhook(hook.origin, day="2026-11-20")
    hook.answer = answer
    assert told({"webhook": hook.origin}) == [f"not notified: {why}"]


def test_an_address_in_a_variable_is_never_shown(told, hook):
    """`webhook_env` keeps the address, which may be a secret, out of specs, warnings and commands."""
    told.trust.add_webhook(hook.origin, day="2026-11-20")
    assert told({"webhook_env": "HOOK"}, HOOK=f"{hook.origin}/secret-path") == []
    assert [path for path, _, _ in hook.said] == ["/secret-path"]
    for value in ("", "https://user:secret-word@host/", "ftp://secret-word", "https://secret-word.example.com/secret-word", "secret word"):
        [warning] = told({"webhook_env": "HOOK"}, HOOK=value)
        assert "secret-word" not in warning.replace("`https://secret-word.example.com`", "").replace(
            "ftspec trust --webhook https://secret-word.example.com", ""
        )
        assert "secret word" not in warning


def test_commands_that_cannot_run_are_warnings(told):
    """A missing program, a failing one and unclosed quotes change nothing else."""
    failing = [sys.executable, "-c", "raise SystemExit(3)"]
    for argv in (failing, ["no-such-program-here"]):
        told.trust.add_command(argv, root=told.root, day="2026-11-20")
    warnings = told({"command": failing}, {"command": ["no-such-program-here"]}, {"command": "say 'hello"}, {"command": []})
    assert [line.removeprefix("not notified: ").partition("; if")[0] for line in warnings] == [
        f"`{sys.executable}` ended with code 3",
        "`no-such-program-here` cannot be run (No such file or directory)",
        "the command's quotes are not closed",
        "this machine does not trust the command",
    ]


def test_an_address_for_messages_gets_no_key(told, hook):
    """Trust with messages is not trust with keys; taking it back ends both."""
    told.trust.add_webhook(hook.origin, day="2026-11-20")
    again = TrustStore(told.trust.path)
    assert again.takes_messages(hook.origin)
    assert hook.origin not in again
    assert again.webhooks == [(hook.origin, "2026-11-20")]
    again.remove(hook.origin)
    assert not TrustStore(told.trust.path).takes_messages(hook.origin)


def test_a_command_is_trusted_no_longer(told):
    """`ftspec trust --command ... --remove` forgets it, whatever the files that it names held."""
    (told.root / "tell.py").write_text("1")
    told.trust.add_command(["python", "tell.py"], root=told.root, day="2026-11-20")
    (told.root / "tell.py").write_text("2")
    told.trust.remove_command(["python", "tell.py"])
    assert told.trust.commands == []
    with pytest.raises(TrustError, match="not trusted"):
        told.trust.remove_command(["python", "tell.py"])


def test_only_ends_that_were_not_known_are_news():
    """A job that had ended before, or that is still running, is not told of."""
    before = State(jobs={one.key: one for one in (job("a", "succeeded"), job("b", "running"), job("d", "failed"))})
    again = job("d", "failed")
    again = RecordedJob(
        **{name: getattr(again, name) for name in again.__struct_fields__} | {"attempts": (Attempt(number=2, status=JobStatus.FAILED),)}
    )
    after = State(jobs=dict(ENDED.jobs) | {again.key: again})
    assert sorted(ended_keys(before, after)) == ["b" * 8, "d" * 8]
