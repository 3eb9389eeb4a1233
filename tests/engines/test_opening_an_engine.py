"""From an entry of a spec to an engine: addresses, keys, several keys, in process."""

import asyncio
import io
import time

import pytest
from msgspec.structs import replace

from ftspec.diagnostics import FtspecError
from ftspec.engines.base import JobRequest, Refused
from ftspec.engines.keyring import KeyRing
from ftspec.engines.open import KeyMissing, open_engine
from ftspec.engines.profiles import load_profiles
from ftspec.experiment import EngineEntry
from ftspec.testing.tinyapi import Request, TinyApi


def opened(type_="openai-compatible", *, environ=None, trust=None, app_factory=None, **entry):
    return open_engine(
        EngineEntry(name="mine", type=type_, scope="mine", **entry),
        profile=load_profiles()[type_],
        environ=environ or {},
        trust=trust or {},
        app_factory=app_factory,
    )


def test_a_missing_key_names_its_variable():
    """The error names the variable to set; nothing else in the environment is tried."""
    with pytest.raises(KeyMissing, match="engine `mine` needs a key, and `OPENAI_API_KEY` is not set"):
        opened("openai", environ={"OPENAI_API_KEY_TEAM": "sk-1", "OPENAI_API_KEY": "  "})
    with pytest.raises(KeyMissing, match="`TEAM_KEY` is not set"):
        opened("openai", environ={"OPENAI_API_KEY": "sk-1"}, api_key_env="TEAM_KEY")
    with pytest.raises(KeyMissing, match="`TEAM_KEY` is not set"):
        opened(base_url="http://127.0.0.1:1/v1", api_key_env="TEAM_KEY")


def test_an_engine_type_without_a_usual_variable_asks_for_one():
    """Where a key is needed and no variable is usual, the entry must name it."""
    profile = replace(load_profiles()["openai"], api_key_env=None)
    entry = EngineEntry(name="mine", type="openai", scope="mine")
    with pytest.raises(KeyMissing) as caught:
        open_engine(entry, profile=profile, environ={"OPENAI_API_KEY": "sk-1"}, trust={})
    assert "api_key_env" in caught.value.help


def test_an_engine_that_needs_no_key_opens_without():
    """A compatible server on this machine may need none."""
    assert opened(base_url="http://127.0.0.1:1/v1").scope == "mine"


def test_a_missing_address_says_where_to_write_it():
    """There is no default address of a compatible server."""
    with pytest.raises(FtspecError, match="engine `mine` has no address") as caught:
        opened()
    assert "base_url" in caught.value.help


@pytest.mark.parametrize("label", ["org\r\nauthorization: x", "org x\n", "", " org", "\u00f6rg"])
def test_a_label_that_cannot_be_a_header_is_refused(label):
    """Organization and project come from specs and travel in headers."""
    for name in ("organization", "project"):
        with pytest.raises(FtspecError, match=f"`{name}` of engine `mine`"):
            opened("openai", environ={"OPENAI_API_KEY": "sk-1"}, **{name: label})


def test_organization_and_project_travel_with_every_request(serve, asking):
    """Where the entry names them, and only as the entry names them."""
    server = serve()
    engine = opened(base_url=server.base_url, organization="org-a", project="proj_b")
    asking(engine, lambda engine: engine.models())
    headers = server.requests[0].headers
    assert (headers["openai-organization"], headers["openai-project"]) == ("org-a", "proj_b")


def asgi_of(api):
    """Return the tiny server as an ASGI app."""

    async def app(scope, receive, send):
        body = b""
        while True:
            message = await receive()
            body += message.get("body", b"")
            if not message.get("more_body"):
                break
        target = scope["path"] + (f"?{scope['query_string'].decode()}" if scope["query_string"] else "")
        answer = api.handle(
            Request.parse(scope["method"], target, {name.decode(): value.decode() for name, value in scope["headers"]}, body)
        )
        await send({"type": "http.response.start", "status": answer.status, "headers": [(b"content-type", answer.content_type.encode())]})
        await send({"type": "http.response.body", "body": answer.encoded()})

    return app


def test_an_engine_in_process_is_the_same_client(asking):
    """No port and no key, the same requests and values; a clock only where the server sends one."""
    api = TinyApi(now=time.time)
    engine = opened("sandbox", app_factory=lambda entry: asgi_of(api))

    async def scenario(engine):
        file = await engine.upload(name="a.jsonl", content=io.BytesIO(b"{}\n" * 100_000), purpose="fine-tune")
        job = await engine.create_job(JobRequest(key="k", attempt=1, body={"model": "base-small", "training_file": file.id}))
        text = [piece async for piece in engine.chat_stream(model="base-small", messages=[{"role": "user", "content": "hi"}])]
        return file.bytes, job.id, text, await engine.server_time()

    assert asking(engine, scenario) == (300_000, "ftjob-00000001", ["base-small", "says:", "hi"], None)


def test_an_app_that_crashes_is_an_unknown_outcome(asking):
    """A server in process can fail like any other."""

    async def app(scope, receive, send):
        raise RuntimeError("a bug")

    engine = opened("sandbox", app_factory=lambda entry: app)
    with pytest.raises(Exception, match="status 500") as caught:
        asking(engine, lambda engine: engine.create_job(JobRequest(key="k", attempt=1, body={})))
    assert type(caught.value).__name__ == "UnknownOutcome"


def test_a_shipped_engine_with_an_address_is_asked_over_http(serve, asking):
    """`ftspec serve` elsewhere: the type is the same, the key is the server's."""
    server = serve(key="team-key-1")
    engine = opened("sandbox", base_url=server.base_url, api_key_env="FTSPEC_TEAM_KEY", environ={"FTSPEC_TEAM_KEY": "team-key-1"})
    assert [model["id"] for model in asking(engine, lambda engine: engine.models())] == ["base-small", "base-large"]


def test_in_process_without_a_server_is_our_bug():
    """A command that forgot to pass one says so."""
    with pytest.raises(FtspecError) as caught:
        opened("sandbox")
    assert caught.value.help == "This is a bug in ftspec."


class TestSeveralKeys:
    """`api_key_env: FTSPEC_TEAM_*`: two accounts, one scope."""

    @pytest.fixture
    def ring(self):
        """Return two accounts behind one address, each seeing only its own things."""
        accounts = {"key-of-a": TinyApi(now=time.time), "key-of-b": TinyApi(now=time.time)}
        accounts["key-of-b"]._numbers.update(file=10, ftjob=10)

        def factory(variable):
            return asgi_of(accounts[f"key-of-{variable[-1].lower()}"])

        engines = {}
        for variable in ("FTSPEC_TEAM_A", "FTSPEC_TEAM_B"):
            engine = opened("sandbox", app_factory=lambda entry, variable=variable: factory(variable))
            engine.owner = variable
            engines[variable] = engine
        return KeyRing(engines), accounts["key-of-a"], accounts["key-of-b"]

    def test_a_glob_opens_one_account_for_each_variable(self, serve):
        """Variables without a value do not count; a single match is no ring."""
        server = serve()
        environ = {"FTSPEC_TEAM_B": "key-b", "FTSPEC_TEAM_A": "key-a", "FTSPEC_TEAM_C": "", "OTHER": "x"}
        ring = opened(base_url=server.base_url, api_key_env="FTSPEC_TEAM_*", environ=environ)
        assert isinstance(ring, KeyRing)
        assert ring.owners == ("FTSPEC_TEAM_A", "FTSPEC_TEAM_B")
        assert not isinstance(opened(base_url=server.base_url, api_key_env="FTSPEC_TEAM_*", environ={"FTSPEC_TEAM_A": "a"}), KeyRing)

    def test_things_are_found_in_whichever_account_has_them(self, ring):
        """A job says by which variable it was seen."""
        ring, _, second = ring
        second.files["file-99"] = {"id": "file-99", "object": "file", "filename": "b.jsonl", "bytes": 1, "purpose": "fine-tune"}
        second.contents["file-99"] = b"x"
        theirs = second.make_job({"model": "base-small", "training_file": "file-99", "metadata": {"ftspec_key": "k"}})

        async def scenario():
            job = await ring.job(theirs["id"])
            assert job.owner == "FTSPEC_TEAM_B"
            assert (await ring.file("file-99")).name == "b.jsonl"
            assert await ring.content("file-99") == b"x"
            assert await ring.job("ftjob-nowhere") is None
            assert [one.id for one in (await ring.find_jobs(key="k")).items] == [theirs["id"]]
            assert [one.id for one in (await ring.find_files(name="b.jsonl", purpose="fine-tune")).items] == ["file-99"]
            assert len((await ring.events(theirs["id"])).items) > 50
            assert await ring.checkpoints(theirs["id"])
            trained = (await ring.job(theirs["id"])).model
            assert trained in [model["id"] for model in await ring.models()]
            assert await ring.account("FTSPEC_TEAM_A").job(theirs["id"]) is None
            assert await ring.server_time() is None
            assert (await ring.chat(model=trained, messages=[{"role": "user", "content": "hi"}])).text.startswith(trained)
            pieces = [piece async for piece in ring.chat_stream(model=trained, messages=[{"role": "user", "content": "hi"}])]
            assert pieces[:2] == [trained, "says:"]
            with pytest.raises(Refused, match="no key of this engine sees the job"):
                await ring.cancel("ftjob-nowhere")
            with pytest.raises(Refused, match="no key of this engine sees the file"):
                await ring.content("file-nowhere")
            await ring.aclose()

        asyncio.run(scenario())

    def test_a_job_is_bought_with_the_key_that_owns_its_file(self, ring):
        """New files go to the first account; a file of the second makes a job of the second."""
        ring, first, second = ring

        async def scenario():
            ours = await ring.upload(name="a.jsonl", content=io.BytesIO(b"x"), purpose="fine-tune")
            theirs = second._store("b.jsonl", b"y", "fine-tune")["id"]
            owners = []
            for file_id in (ours.id, theirs):
                job = await ring.create_job(JobRequest(key="k", attempt=1, body={"model": "base-small", "training_file": file_id}))
                owners.append(job.owner)
                assert not (await ring.pause(job.id)).status.terminal
                await ring.resume(job.id)
                assert (await ring.cancel(job.id)).raw_status == "cancelled"
            with pytest.raises(Refused, match="no key of this engine sees the training file"):
                await ring.create_job(JobRequest(key="k", attempt=1, body={"model": "base-small", "training_file": "file-nowhere"}))
            await ring.aclose()
            return owners

        assert asyncio.run(scenario()) == ["FTSPEC_TEAM_A", "FTSPEC_TEAM_B"]
        assert (len(first.jobs), len(second.jobs)) == (1, 1)

    def test_a_refused_key_hides_nothing_but_proves_no_absence(self, ring):
        """What the other key sees is found; what nobody sees is not called absent."""
        ring, first, second = ring
        first.key = "revoked"
        theirs = second.make_job({"model": "base-small", "training_file": "file-1", "metadata": {"ftspec_key": "k"}})

        async def scenario():
            assert (await ring.job(theirs["id"])).id == theirs["id"]
            listing = await ring.find_jobs(key="k")
            assert [job.id for job in listing.items] == [theirs["id"]]
            assert not listing.complete
            with pytest.raises(Refused):
                await ring.job("ftjob-nowhere")
            second.key = "revoked"
            with pytest.raises(Refused):
                await ring.find_jobs(key="k")
            await ring.aclose()

        asyncio.run(scenario())
