"""A canary key is sent, and appears in no exception, repr, log or pickle."""

import copy
import io
import logging
import pickle
import traceback

import pytest

from ftspec.engines.account import Account, Secret
from ftspec.engines.base import EngineError, JobRequest
from ftspec.engines.client import Timeouts
from ftspec.engines.open import KeyMissing, open_engine
from ftspec.engines.origin import parse_origin
from ftspec.engines.profiles import load_profiles
from ftspec.experiment import EngineEntry
from ftspec.testing.faulty import FAULTS, LIST_FAULTS, Fault


@pytest.fixture
def everything_logged():
    """Return the text of every log record of every library, at every level."""
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    root = logging.getLogger()
    noisy = [root, *(logging.getLogger(name) for name in ("openai", "httpx", "httpx2", "httpcore", "httpcore2", "asyncio", "hpack", "h11"))]
    levels = [logger.level for logger in noisy]
    root.addHandler(handler)
    for logger in noisy:
        logger.setLevel(logging.DEBUG)
    yield stream.getvalue
    root.removeHandler(handler)
    for logger, level in zip(noisy, levels, strict=True):
        logger.setLevel(level)


@pytest.mark.parametrize("kind", [*sorted(set(FAULTS) - LIST_FAULTS), "none", "down"])
def test_no_failure_shows_the_key(kind, serve, engine_at, asking, canary, closed_port, everything_logged):
    """Whatever goes wrong: not in the error, its chain of causes, the locals of the SDK's frames' requests, or any log."""
    server = serve(*([Fault(kind, on="POST /fine_tuning/jobs", value=_value(kind))] if kind in FAULTS else []), key=canary)
    base_url = f"http://127.0.0.1:{closed_port}/v1" if kind == "down" else server.base_url
    engine = engine_at(base_url, timeouts=Timeouts(create=0.3, read=1))

    async def scenario(engine):
        try:
            await engine.create_job(JobRequest(key="k" * 64, attempt=1, body={"model": "base-small", "training_file": "file-1"}))
        except EngineError as error:
            return error
        return None

    error = asking(engine, scenario)
    assert kind == "down" or [request.headers["authorization"] for request in server.requests] == [f"Bearer {canary}"]
    shown = [everything_logged(), repr(engine), str(vars(engine)), repr(vars(engine._wire)), repr(engine._wire.account)]
    while error is not None:
        shown += [
            str(error),
            repr(error),
            str(vars(error)),
            "".join(traceback.TracebackException.from_exception(error, capture_locals=True).format()),
        ]
        request = getattr(error, "request", None)
        shown += [str(request.headers)] if request is not None else []
        error = error.__cause__ or error.__context__
    assert canary not in "\n".join(shown)
    assert "canary" not in "\n".join(shown)


def _value(kind):
    return {"redirect": "http://127.0.0.1:9/v1", "hang before": 2, "hang after": 2, "wait": 1}.get(kind)


@pytest.mark.parametrize(
    "masked", ["sk-proj-canary-0123456789abcdefghCRET", "sk-proj-****CRET", "sk-p...CRET", "sk-proj-canary-\u2026hCRET", "****ghCRET"]
)
def test_a_key_quoted_by_a_server_is_cut_out(masked, canary):
    """Servers repeat what they did not like, whole or in part."""
    text = Secret(canary).hide_in(f"Incorrect API key provided: {masked}. You can find your key there.")
    assert "CRET" not in text
    assert "sk-p" not in text
    assert "You can find your key there" in text


def test_a_wrong_key_is_refused_without_being_quoted(serve, engine_at, asking, canary):
    """The server's own 401 masks the key; even that is cut out."""
    server = serve(key="another")
    with pytest.raises(EngineError) as caught:
        asking(engine_at(server.base_url), lambda engine: engine.models())
    assert caught.value.message == "Incorrect API key provided: [redacted]"
    assert canary[-4:] not in str(vars(caught.value))


def test_ordinary_text_with_stars_and_dots_is_kept():
    """Only words that begin or end as the key does are cut out."""
    text = "n_epochs ** 2 ... see *** and file-12...34 or a\u2026"
    assert Secret("sk-proj-canary-0123456789abcdefghCRET").hide_in(text) == text


def test_a_key_does_not_show_itself_and_is_not_stored(canary):
    """No repr, no copy to disk."""
    secret = Secret(canary)
    account = Account(origin=parse_origin("https://api.openai.com"), base_url="https://api.openai.com/v1", key=secret)
    assert canary not in repr(secret) + str(secret) + repr(account) + repr(vars(EngineError("x")))
    for store in (pickle.dumps, copy.deepcopy, copy.copy):
        with pytest.raises(TypeError):
            store(secret)


@pytest.mark.parametrize("key", ["sk-canary\nx: y", "sk-canary x", "sk-c\u00e4nary", "sk-canary\x1b[2J"])
def test_a_key_that_cannot_be_a_header_is_refused_without_being_shown(key):
    """A key with a line break could add headers of its own."""
    entry = EngineEntry(name="openai", type="openai", scope="openai")
    with pytest.raises(KeyMissing) as caught:
        open_engine(entry, profile=load_profiles()["openai"], environ={"OPENAI_API_KEY": key}, trust={})
    assert "nary" not in str(caught.value)
    assert "`OPENAI_API_KEY`" in caught.value.message


def test_a_key_in_a_spec_is_not_repeated():
    """Who writes a key instead of a variable's name is told so without it."""
    entry = EngineEntry(name="openai", type="openai", scope="openai", api_key_env="sk-canary-0123456789")
    with pytest.raises(KeyMissing) as caught:
        open_engine(entry, profile=load_profiles()["openai"], environ={}, trust={})
    assert "canary" not in str(caught.value)
    assert "canary" not in (caught.value.help or "")


def test_prompts_are_in_no_error(serve, engine_at, asking):
    """What was asked is not part of what is said when the answer is lost or strange."""
    server = serve(Fault("echo", on="POST /chat/completions"), Fault("502 before", on="POST /chat/completions"))
    for _ in range(2):
        with pytest.raises(EngineError) as caught:
            asking(
                engine_at(server.base_url),
                lambda engine: engine.chat(model="base-small", messages=[{"role": "user", "content": "my secret prompt"}]),
            )
        assert "secret prompt" not in "".join(traceback.format_exception(caught.value))
