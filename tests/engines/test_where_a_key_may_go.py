"""The rule that binds a key to an origin, and every way that was thought of to get around it."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ftspec.engines.account import Account, Secret
from ftspec.engines.base import JobRequest, NotSent
from ftspec.engines.client import WireEngine
from ftspec.engines.open import open_engine
from ftspec.engines.origin import OriginRefused, check_origin, ignored_variables, parse_base_url, parse_origin
from ftspec.engines.profiles import load_profiles
from ftspec.experiment import EngineEntry

OPENAI = load_profiles()["openai"]
AZURE = load_profiles()["azure"]
TRUSTED = {"https://tunes.example.com": ("TUNES_KEY", "LAB_*"), "https://tunes.example.com:8443": ()}

ALLOWED = {
    "https://api.openai.com": "https://api.openai.com",
    "https://api.openai.com/v1": "https://api.openai.com",
    "https://api.openai.com:443/v1/": "https://api.openai.com",
    "https://eu.api.openai.com/v1": "https://eu.api.openai.com",
    "https://tunes.example.com/openai/v1": "https://tunes.example.com",
    "https://tunes.example.com:8443/v1": "https://tunes.example.com:8443",
    "http://127.0.0.1:8000/v1": "http://127.0.0.1:8000",
    "http://localhost:8000/v1": "http://localhost:8000",
    "http://[::1]:8000/v1": "http://[::1]:8000",
    "https://127.0.0.1/v1": "https://127.0.0.1",
}

SMUGGLED = [
    # Somebody else's host.
    "https://api.openai.com.evil.example/v1",
    "https://api-openai.com/v1",
    "https://evil.example/api.openai.com/v1",
    "https://evil.example/?https://api.openai.com/v1",
    "https://evil.example/#@api.openai.com/v1",
    "https://a.b.api.openai.com/v1",
    "https://.api.openai.com/v1",
    "https://-.api.openai.com/v1",
    # User info moves the host.
    "https://api.openai.com@evil.example/v1",
    "https://api.openai.com:443@evil.example/v1",
    "https://user:password@api.openai.com/v1",
    "https://@api.openai.com/v1",
    "https://evil.example\\@api.openai.com/v1",
    "https://api.openai.com\\@evil.example/v1",
    # Other spellings of a host that is allowed.
    "HTTPS://api.openai.com/v1",
    "https://API.OpenAI.com/v1",
    "https://api.openai.com./v1",
    "https://api.openai.com../v1",
    "https://api..openai.com/v1",
    "https://api%2eopenai%2ecom/v1",
    "https://api.openai.com%00.evil.example/v1",
    "https://api.openai.com%2f.evil.example/v1",
    "https://\u0430pi.openai.com/v1",
    "https://api\u3002openai\u3002com/v1",
    "https://\uff41pi.openai.com/v1",
    "https://xn--pi-6kc.openai.com/v1",
    "https://api.openai.com\u2044v1@evil.example",
    # Schemes, slashes and blanks.
    "http://api.openai.com/v1",
    "http://tunes.example.com/v1",
    "ftp://api.openai.com/v1",
    "https:api.openai.com/v1",
    "https:/api.openai.com/v1",
    "https:///api.openai.com/v1",
    "//api.openai.com/v1",
    "api.openai.com/v1",
    " https://api.openai.com/v1",
    "https://api.openai.com/v1\n",
    "https://api.openai.com\t.evil.example/v1",
    "https://api.openai.com/v1\r\nHost: evil.example",
    "https:\\\\api.openai.com\\v1",
    "",
    # Ports.
    "https://api.openai.com:8443/v1",
    "https://api.openai.com:0443/v1",
    "https://api.openai.com:/v1",
    "https://api.openai.com:0/v1",
    "https://api.openai.com:65536/v1",
    "https://api.openai.com:99999/v1",
    "https://api.openai.com:443:80/v1",
    "https://api.openai.com:-443/v1",
    "https://api.openai.com:\u0664\u0664\u0663/v1",
    "https://tunes.example.com:444/v1",
    # Addresses that are this machine to one reader and another's to the next.
    "http://0.0.0.0:8000/v1",
    "http://0/v1",
    "http://127.1:8000/v1",
    "http://2130706433:8000/v1",
    "http://0x7f000001:8000/v1",
    "http://0x7f.1:8000/v1",
    "http://0177.0.0.1:8000/v1",
    "http://127.0.0.1.:8000/v1",
    "http://127.0.0.1.evil.example/v1",
    "http://127.0.0.1.nip.io:8000/v1",
    "http://localhost.evil.example/v1",
    "http://localhost.:8000/v1",
    "http://[::]:8000/v1",
    "http://[::ffff:127.0.0.1]:8000/v1",
    "http://[0:0:0:0:0:0:0:1]:8000/v1",
    "http://[::1%25lo]:8000/v1",
    "http://[::1/v1",
    "http://169.254.169.254/latest/meta-data",
    "https://169.254.169.254/v1",
    "http://192.168.1.5:8000/v1",
    "https://10.0.0.5/v1",
    # Paths that climb or hide.
    "https://api.openai.com/../v1",
    "https://api.openai.com/./v1",
    "https://api.openai.com//evil.example/v1",
    "https://api.openai.com/v1?host=evil.example",
    "https://api.openai.com/%2e%2e/v1",
]


@pytest.mark.parametrize(("url", "origin"), ALLOWED.items())
def test_a_key_goes_to_its_own_origins_to_loopback_and_to_trusted_ones(url, origin):
    """Scheme, host and port are compared exactly; a default port may be written."""
    assert str(check_origin(url, profile=OPENAI, trusted=TRUSTED)) == origin


@pytest.mark.parametrize("url", SMUGGLED)
def test_everything_else_is_refused(url):
    """A base URL that could be read as another origin than it seems is not repaired."""
    with pytest.raises(OriginRefused) as caught:
        check_origin(url, profile=OPENAI, trusted=TRUSTED)
    assert "password" not in caught.value.message
    assert caught.value.message.isprintable()


@pytest.mark.parametrize("url", SMUGGLED)
def test_a_spec_that_moves_an_engine_opens_nothing(url, canary):
    """Whatever a spec writes as `base_url`, an engine with a key exists only for an allowed origin."""
    entry = EngineEntry(name="openai", type="openai", scope="openai", base_url=url)
    with pytest.raises(OriginRefused):
        open_engine(entry, profile=OPENAI, environ={"OPENAI_API_KEY": canary}, trust=TRUSTED)


def test_a_star_stands_for_one_label():
    """A resource of Azure is one label, not several and not none."""
    assert check_origin("https://my-team.openai.azure.com/openai/v1", profile=AZURE, trusted=())
    for url in (
        "https://openai.azure.com/v1",
        "https://a.b.openai.azure.com/v1",
        "https://evil.example/.openai.azure.com",
        "https://a.openai.azure.com.evil.example",
    ):
        with pytest.raises(OriginRefused):
            check_origin(url, profile=AZURE, trusted=())


def test_an_origin_of_one_type_is_not_one_of_another():
    """Nebius' key does not go to OpenAI."""
    with pytest.raises(OriginRefused, match="not an origin of engine type `nebius`"):
        check_origin("https://api.openai.com/v1", profile=load_profiles()["nebius"], trusted=())


BOUND = [
    ("openai", "https://api.openai.com/v1", "OPENAI_API_KEY"),
    ("openai", "https://eu.api.openai.com/v1", "OPENAI_API_KEY_TEAM"),
    ("openai", "http://127.0.0.1:8000/v1", "OPENAI_API_KEY_TEAM"),
    ("openai", "http://localhost:8000/v1", "FTSPEC_LAB_KEY"),
    ("azure", "https://team.openai.azure.com/openai/v1", "AZURE_OPENAI_API_KEY"),
    ("openai-compatible", "http://127.0.0.1:8000/v1", "FTSPEC_API_KEY"),
    ("openai-compatible", "https://tunes.example.com/v1", "TUNES_KEY"),
    ("openai", "https://tunes.example.com/v1", "LAB_KEY"),
]
UNBOUND = [
    ("openai", "https://api.openai.com/v1", "GITHUB_HEAD_REF"),  # a branch's name could be an attacker's own key: data would follow it
    ("openai", "https://api.openai.com/v1", "AZURE_OPENAI_API_KEY"),
    ("openai", "https://api.openai.com/v1", "FTSPEC_LAB_KEY"),
    ("openai", "https://api.openai.com/v1", "OPENAI_API_KEYS"),
    ("openai", "https://api.openai.com/v1", "openai_api_key"),
    ("openai", "https://tunes.example.com/v1", "OPENAI_API_KEY"),
    ("openai", "https://tunes.example.com:8443/v1", "TUNES_KEY"),
    ("openai-compatible", "https://tunes.example.com/v1", "AWS_SECRET_ACCESS_KEY"),
    ("openai-compatible", "https://tunes.example.com/v1", "FTSPEC_API_KEY"),
    ("openai-compatible", "http://127.0.0.1:8000/v1", "GITHUB_TOKEN"),
    ("openai-compatible", "http://127.0.0.1:8000/v1", "OPENAI_API_KEY"),
    ("sandbox", "http://127.0.0.1:8000/v1", "PATH"),
    ("azure", "https://evil.openai.azure.com/openai/v1", "OPENAI_API_KEY"),
]


@pytest.mark.parametrize(("kind", "url", "variable"), BOUND)
def test_a_variable_goes_where_its_name_belongs(kind, url, variable, canary):
    """The type's own names to the type's origins and this machine, `FTSPEC_...` to this machine, the rest as trusted."""
    entry = EngineEntry(name="mine", type=kind, scope="mine", base_url=url, api_key_env=variable)
    opened = open_engine(entry, profile=load_profiles()[kind], environ={variable: canary}, trust=TRUSTED)
    assert opened._wire.account.key.reveal() == canary


@pytest.mark.parametrize(("kind", "url", "variable"), UNBOUND)
def test_no_other_variable_is_a_key(kind, url, variable, canary):
    """A spec that names somebody's token, or what somebody else fills, opens nothing; the way out can be typed."""
    entry = EngineEntry(name="mine", type=kind, scope="mine", base_url=url, api_key_env=variable)
    with pytest.raises(OriginRefused, match=f"engine `mine` may not send the value of `{variable}`") as caught:
        open_engine(entry, profile=load_profiles()[kind], environ={variable: canary}, trust=TRUSTED)
    origin, _ = parse_base_url(url)
    assert caught.value.help.endswith(f"`ftspec trust {origin} --key-env {variable}`")
    assert canary not in caught.value.message + caught.value.help


def test_a_glob_opens_nothing_that_one_of_its_variables_may_not():
    """`OPENAI_*` matches more than keys; the first that does not belong there is named, and all are in the way out."""
    environ = {"OPENAI_API_KEY": "sk-1", "OPENAI_LOG": "debug", "OPENAI_WEBHOOK_SECRET": "x"}
    entry = EngineEntry(name="mine", type="openai", scope="mine", api_key_env="OPENAI_*")
    with pytest.raises(OriginRefused, match="the value of `OPENAI_LOG`") as caught:
        open_engine(entry, profile=OPENAI, environ=environ, trust={})
    assert "--key-env OPENAI_LOG --key-env OPENAI_WEBHOOK_SECRET" in caught.value.help


def test_the_refusal_of_an_address_names_the_variable_too():
    """One command trusts both; what looks like a key is not repeated."""
    for variable, end in (("TUNES_KEY", " --key-env TUNES_KEY`"), ("sk-canary-0123456789", "example.org`")):
        entry = EngineEntry(name="mine", type="openai", scope="mine", base_url="https://tunes.example.org/v1", api_key_env=variable)
        with pytest.raises(OriginRefused) as caught:
            open_engine(entry, profile=OPENAI, environ={}, trust={})
        assert caught.value.help.endswith(end)


def test_the_refusal_says_how_to_trust():
    """The way out is one command, with the origin as it will be compared."""
    with pytest.raises(OriginRefused) as caught:
        check_origin("https://gateway.example.com:8443/openai/v1", profile=OPENAI, trusted=())
    assert caught.value.help == "if you know who runs it, trust it once on this machine: `ftspec trust https://gateway.example.com:8443`"


@given(st.text(max_size=40))
@settings(max_examples=300, deadline=None)
def test_no_text_around_a_trusted_host_gets_through(text):
    """Whatever is put between scheme and a trusted host: it is refused, or the origin is exactly what it says."""
    for url in (f"https://{text}tunes.example.com/v1", f"https://tunes.example.com{text}/v1", f"https://{text}@tunes.example.com"):
        try:
            origin = check_origin(url, profile=OPENAI, trusted=TRUSTED)
        except OriginRefused:
            continue
        assert url.startswith(str(origin))
        assert str(origin) in TRUSTED or origin.loopback


@given(st.from_regex(r"https?://[\x20-\x7e]{0,40}", fullmatch=True))
@settings(max_examples=300, deadline=None)
def test_two_readers_agree_on_what_is_accepted(url):
    """The HTTP library sees the same scheme, host and port as the rule does."""
    from ftspec.engines.transport import http_library

    try:
        origin, path = parse_base_url(url)
    except OriginRefused:
        return
    seen = http_library().URL(url)
    assert (seen.scheme, seen.host, seen.port) == origin.parts
    assert seen.path.rstrip("/") == path
    assert not seen.userinfo


def test_an_origin_has_no_path():
    """`ftspec trust` takes an origin, not an address below it."""
    assert str(parse_origin("https://tunes.example.com/")) == "https://tunes.example.com"
    with pytest.raises(OriginRefused, match="more than an origin"):
        parse_origin("https://tunes.example.com/v1")


def test_the_gate_stops_what_leaves_for_another_origin(serve, clock, asking, canary):
    """Even a client that was given two different addresses sends nothing beyond its origin."""
    server, elsewhere = serve(), serve()
    account = Account(origin=parse_origin(server.origin), base_url=elsewhere.base_url, key=Secret(canary))
    with pytest.raises(NotSent, match="another origin"):
        asking(WireEngine(account, profile=OPENAI, scope="test", clock=clock), lambda engine: engine.models())
    assert server.requests == elsewhere.requests == []


def test_ambient_variables_change_nothing(serve, engine_at, asking, monkeypatch, canary):
    """Redirecting, identifying and header variables of other tools have no effect on what is sent."""
    elsewhere, server = serve(), serve()
    for name, value in {
        "OPENAI_BASE_URL": elsewhere.base_url,
        "OPENAI_API_KEY": "sk-ambient-000000000000",
        "OPENAI_ADMIN_KEY": "sk-admin-000000000000",
        "OPENAI_ORG_ID": "org-ambient",
        "OPENAI_PROJECT_ID": "proj-ambient",
        "OPENAI_CUSTOM_HEADERS": f"authorization: Bearer sk-ambient-0000\nhost: evil.example\ncontent-length: 3\nx-more: 1\nlocation: {elsewhere.origin}",
        "HTTP_PROXY": elsewhere.origin,
        "http_proxy": elsewhere.origin,
        "ALL_PROXY": elsewhere.origin,
        "NO_PROXY": "",
    }.items():
        monkeypatch.setenv(name, value)
    server.api.files["file-1"] = {"id": "file-1"}

    async def scenario(engine):
        await engine.job("ftjob-1")
        await engine.create_job(JobRequest(key="k", attempt=1, body={"model": "base-small", "training_file": "file-1"}))

    asking(engine_at(server.base_url, organization="org-mine"), scenario)
    asking(engine_at(server.base_url), scenario)
    assert elsewhere.requests == []
    assert {name for request in server.requests for name in request.headers} == {
        *("host", "user-agent", "accept", "accept-encoding", "authorization", "openai-organization", "content-type", "content-length")
    }
    assert {request.headers["authorization"] for request in server.requests} == {f"Bearer {canary}"}
    assert [request.headers.get("openai-organization") for request in server.requests] == ["org-mine", "org-mine", None, None]
    assert {request.headers["host"] for request in server.requests} == {server.origin.removeprefix("http://")}


def test_ignored_variables_are_named_so_that_nobody_wonders():
    """Set variables that other tools would read are listed, except those that an entry names itself."""
    environ = {
        "OPENAI_BASE_URL": "x",
        "OPENAI_ORG_ID": "y",
        "OPENAI_PROJECT_ID": "",
        "https_proxy": "z",
        "OPENAI_API_KEY": "k",
        "PATH": "p",
    }
    assert ignored_variables(environ) == ["OPENAI_BASE_URL", "OPENAI_ORG_ID", "https_proxy"]
    assert ignored_variables(environ, used={"OPENAI_ORG_ID"}) == ["OPENAI_BASE_URL", "https_proxy"]


def test_the_key_goes_into_the_header_that_the_engine_reads(serve, engine_at, asking, canary):
    """Azure reads `api-key`; then there is no bearer."""
    server = serve()
    asking(engine_at(server.base_url, key_header="api-key"), lambda engine: engine.models())
    assert server.requests[0].headers["api-key"] == canary
    assert "authorization" not in server.requests[0].headers


def test_without_a_key_none_is_sent(serve, engine_at, asking, monkeypatch):
    """A server that needs no key gets none, whatever the environment holds."""
    monkeypatch.setenv("OPENAI_API_KEY", "sk-ambient-000000000000")
    server = serve()
    asking(engine_at(server.base_url, key=None), lambda engine: engine.models())
    assert "authorization" not in server.requests[0].headers
