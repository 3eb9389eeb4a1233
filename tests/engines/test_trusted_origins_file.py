"""The user's file of trusted origins."""

import json
import os
import stat

import pytest

from ftspec.engines.origin import OriginRefused, check_origin
from ftspec.engines.profiles import load_profiles
from ftspec.engines.trust import TrustError, TrustStore, trust_path


@pytest.fixture
def environ(tmp_path):
    return {"XDG_CONFIG_HOME": str(tmp_path / "config"), "HOME": str(tmp_path / "home")}


def test_nobody_is_trusted_at_first(environ):
    """A missing file trusts nobody."""
    store = TrustStore.load(environ)
    assert list(store) == []
    assert "https://tunes.example.com" not in store


def test_trust_lasts_and_can_be_taken_back(environ):
    """What was added is there the next time; what was removed is not."""
    assert TrustStore.load(environ).add("https://tunes.example.com:443/", day="2026-11-20") == "https://tunes.example.com"
    TrustStore.load(environ).add("http://127.0.0.1:8000", day="2026-11-21")
    store = TrustStore.load(environ)
    assert [(origin, store.since(origin)) for origin in store] == [
        ("http://127.0.0.1:8000", "2026-11-21"),
        ("https://tunes.example.com", "2026-11-20"),
    ]
    assert TrustStore.load(environ).remove("https://tunes.example.com") == "https://tunes.example.com"
    assert "https://tunes.example.com" not in TrustStore.load(environ)
    assert "http://127.0.0.1:8000" in TrustStore.load(environ)


def test_trusting_twice_keeps_the_first_day(environ):
    """The day says since when."""
    TrustStore.load(environ).add("https://tunes.example.com", day="2026-11-20")
    TrustStore.load(environ).add("https://tunes.example.com", day="2026-12-24")
    assert TrustStore.load(environ).since("https://tunes.example.com") == "2026-11-20"


def test_the_file_is_ours_alone(environ):
    """Nobody else can read or write it, and no rest of a write is left."""
    TrustStore.load(environ).add("https://tunes.example.com", day="2026-11-20")
    path = trust_path(environ)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [one.name for one in path.parent.iterdir()] == ["trust.json"]


@pytest.mark.parametrize("mode", [0o620, 0o602, 0o666])
def test_a_file_that_others_can_write_is_not_believed(environ, mode):
    """Otherwise anybody on the machine could trust for us."""
    TrustStore.load(environ).add("https://tunes.example.com", day="2026-11-20")
    trust_path(environ).chmod(mode)
    with pytest.raises(TrustError, match="can be changed by others"):
        assert "https://tunes.example.com" in TrustStore.load(environ)


def test_a_file_of_somebody_else_is_not_believed(environ, monkeypatch):
    """Who owns it can write it at any time."""
    TrustStore.load(environ).add("https://tunes.example.com", day="2026-11-20")
    if os.geteuid() == 0:
        os.chown(trust_path(environ), 65534, 65534)
    else:
        monkeypatch.setattr(os, "getuid", lambda: 65534)
    with pytest.raises(TrustError, match="can be changed by others"):
        assert "https://tunes.example.com" in TrustStore.load(environ)


def test_a_file_inside_the_project_is_not_believed(environ, tmp_path):
    """A repo cannot bring its own trust along, not even through a link."""
    with pytest.raises(TrustError, match="inside the project"):
        list(TrustStore.load({"XDG_CONFIG_HOME": str(tmp_path)}, project_root=tmp_path))
    (tmp_path / "repo" / "ftspec").mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "repo")
    with pytest.raises(TrustError, match="inside the project"):
        list(TrustStore.load({"XDG_CONFIG_HOME": str(tmp_path / "link")}, project_root=tmp_path / "repo"))
    assert list(TrustStore.load(environ, project_root=tmp_path / "repo")) == []


def test_a_file_that_nobody_relies_on_stops_nobody(environ, tmp_path):
    """A key that goes to its own origin needs no trust, so the file is not even read."""
    store = TrustStore.load({"XDG_CONFIG_HOME": str(tmp_path)}, project_root=tmp_path)
    for url in ("https://api.openai.com/v1", "http://127.0.0.1:8000/v1"):
        assert check_origin(url, profile=load_profiles()["openai"], trusted=store)
    with pytest.raises(TrustError):
        check_origin("https://tunes.example.com/v1", profile=load_profiles()["openai"], trusted=store)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"[]",
        b"{",
        b'{"format_version": 2, "origins": {}}',
        b'{"format_version": 1, "origins": ["https://tunes.example.com"]}',
        b'{"format_version": 1, "origins": {"https://*.example.com": {"since": "x"}}}',
        b'{"format_version": 1, "origins": {"http://tunes.example.com": {"since": "x"}}}',
        b'{"format_version": 1, "origins": {"https://TUNES.example.com": {"since": "x"}}}',
        b"\xff\xfe",
    ],
)
def test_a_damaged_file_stops_instead_of_trusting_less_or_more(environ, content):
    """What cannot be read as a list of origins is not guessed at."""
    path = trust_path(environ)
    path.parent.mkdir(parents=True)
    path.write_bytes(content)
    path.chmod(0o600)
    with pytest.raises(TrustError, match="damaged"):
        assert "https://tunes.example.com" in TrustStore.load(environ)


def test_only_an_origin_can_be_trusted(environ):
    """No wildcard, no path, no plain http beyond this machine."""
    for text in ("https://*.example.com", "https://tunes.example.com/v1", "http://tunes.example.com", "tunes.example.com", "*"):
        with pytest.raises(OriginRefused):
            TrustStore.load(environ).add(text, day="2026-11-20")
    assert not trust_path(environ).exists()


def test_removing_what_is_not_trusted_says_so(environ):
    """A typing error is noticed."""
    with pytest.raises(TrustError, match="is not trusted"):
        TrustStore.load(environ).remove("https://tunes.example.com")


def test_a_relative_config_folder_is_not_followed(environ, tmp_path):
    """A relative `XDG_CONFIG_HOME` would depend on where the command was started."""
    assert trust_path({**environ, "XDG_CONFIG_HOME": "config"}) == tmp_path / "home" / ".config" / "ftspec" / "trust.json"
    assert trust_path({"HOME": str(tmp_path)}) == tmp_path / ".config" / "ftspec" / "trust.json"


def test_what_cannot_be_written_is_an_error_not_a_traceback(environ, tmp_path):
    """A file where the folder should be, a folder where the file should be."""
    trust_path(environ).mkdir(parents=True)
    with pytest.raises(TrustError, match=r"cannot be (read|written)"):
        TrustStore(trust_path(environ)).add("https://tunes.example.com", day="2026-11-20")
    trust_path(environ).rmdir()
    trust_path(environ).parent.rmdir()
    (tmp_path / "config" / "ftspec").write_text("in the way")
    with pytest.raises(TrustError, match=r"cannot be (read|written)"):
        TrustStore(trust_path(environ)).add("https://tunes.example.com", day="2026-11-20")


def test_the_format_is_as_documented(environ):
    """One object with a version, for people to read."""
    TrustStore.load(environ).add("https://tunes.example.com", day="2026-11-20")
    expected = {"format_version": 1, "origins": {"https://tunes.example.com": {"since": "2026-11-20"}}}
    assert json.loads(trust_path(environ).read_bytes()) == expected
    assert trust_path(environ).stat().st_uid == os.getuid()


def test_the_variables_of_an_origin_are_kept_and_taken_back_one_by_one(environ):
    """Trusting again adds a name and keeps the day; taking one back keeps the origin."""
    TrustStore.load(environ).add("https://tunes.example.com", day="2026-11-20", key_env=["TUNES_KEY"])
    TrustStore.load(environ).add("https://tunes.example.com", day="2026-11-21", key_env=["LAB_*"])
    store = TrustStore.load(environ)
    assert dict(store) == {"https://tunes.example.com": ("LAB_*", "TUNES_KEY")}
    assert store.since("https://tunes.example.com") == "2026-11-20"
    store.remove("https://tunes.example.com", key_env=["LAB_*"])
    assert dict(TrustStore.load(environ)) == {"https://tunes.example.com": ("TUNES_KEY",)}
    with pytest.raises(TrustError, match="is not trusted with that"):
        store.remove("https://tunes.example.com", key_env=["LAB_*"])


@pytest.mark.parametrize("name", ["sk-proj-0123456789abcdef", "*", "", "A B", "A*B", "\u0410PI_KEY", "A\n"])
def test_only_the_name_of_a_variable_is_kept(name, environ):
    """A key that was given instead is neither written nor repeated."""
    with pytest.raises(TrustError, match="a variable's name") as caught:
        TrustStore.load(environ).add("https://tunes.example.com", day="2026-11-20", key_env=[name])
    assert "0123" not in caught.value.message + caught.value.help
    assert not trust_path(environ).exists()
