"""Profiles are found by name, load fast and are consistent."""

import datetime as dt
import re
import subprocess
import sys

import pytest

from ftspec.engines import profiles
from ftspec.engines.origin import OriginRefused, check_origin, parse_origin
from ftspec.engines.profiles import Profiles, load_profiles
from ftspec.plugins import offered
from ftspec.profile import Profile

NAMES = ["azure", "bedrock", "local", "nebius", "openai", "openai-compatible", "sandbox"]


def test_shipped_engine_types_are_found_by_name():
    """One file, one name; hyphens are underscores in file names."""
    assert [name for name in load_profiles() if name in NAMES] == NAMES
    assert load_profiles()["openai-compatible"].name == "openai-compatible"
    assert "nobody" not in load_profiles()
    with pytest.raises(KeyError):
        load_profiles()["nobody"]


@pytest.mark.parametrize("name", NAMES)
def test_a_profile_is_consistent(name):
    """Its name is its file's, dates are days, origins are origins, methods have what they need."""
    profile = load_profiles()[name]
    assert profile.name == name
    assert profile.methods
    days = [profile.ends, *(day for model in profile.base_models for day in (model.until, model.shutdown))]
    assert all(dt.date.fromisoformat(day) for day in days if day)
    for origin in profile.origins:
        assert str(parse_origin(origin.replace("*", "x"))) == origin.replace("*", "x")
    if profile.base_url:
        assert check_origin(profile.base_url, profile=profile, trusted=())
    assert profile.needs_key <= bool(profile.api_key_env)
    assert "reinforcement" not in profile.methods or profile.graders
    assert profile.lora or not any(setting.startswith("lora") for setting in profile.option_placement)
    options = {setting.removeprefix("engine_options.") for setting in profile.option_placement if setting.startswith("engine_options.")}
    assert options <= set(profile.engine_options)
    if profile.suffix_pattern:
        assert re.compile(profile.suffix_pattern)
    assert set(profile.quota_codes.values()) <= {"daily", "concurrent", "rate", "money"}
    assert len({model.name for model in profile.base_models}) == len(profile.base_models)


@pytest.mark.parametrize("name", NAMES)
def test_no_profile_gives_its_key_to_a_stranger(name):
    """Not even one with wildcards."""
    for url in ("https://evil.example/v1", "https://evil-api.aws/v1", "https://bedrock-mantle.a.b.api.aws/v1", "https://x.openai.com/v1"):
        with pytest.raises(OriginRefused):
            check_origin(url, profile=load_profiles()[name], trusted=())


def test_openai_ends_when_its_page_says():
    """Jobs until 2027-01-06, models until 2027-01-14."""
    openai = load_profiles()["openai"]
    assert openai.ends == "2027-01-06"
    assert {model.shutdown for model in openai.base_models if model.name.startswith("gpt-4.1-mini")} == {"2027-01-14"}


def test_an_installed_package_adds_an_engine_but_replaces_none(monkeypatch, tmp_path):
    """Entry points of `ftspec.engines` name profiles; a shipped name stays what it is."""
    installed = tmp_path / "elsewhere-1.0.dist-info"
    installed.mkdir()
    (installed / "METADATA").write_text("Metadata-Version: 2.1\nName: elsewhere\nVersion: 1.0\n")
    names = {"elsewhere": "profile", "openai": "profile", "broken": "Range"}
    points = "".join(f"{name} = ftspec.engines.profiles.nebius:{what}\n" for name, what in names.items())
    (installed / "entry_points.txt").write_text(f"[console_scripts]\nx = y:z\n\n[{profiles.GROUP}]\n{points}")
    assert not offered(profiles.GROUP)
    monkeypatch.syspath_prepend(tmp_path)
    known = Profiles()
    assert isinstance(known["elsewhere"], Profile)
    assert known["openai"].name == "openai"
    assert list(known) == sorted([*NAMES, "elsewhere", "broken"])
    assert len(known) == len(NAMES) + 2
    with pytest.raises(TypeError, match="is not a Profile"):
        known["broken"]


def test_looking_up_a_profile_imports_nothing_heavy():
    """`plan` reads profiles: no SDK, no HTTP, no pydantic, no scan of installed packages."""
    code = (
        "import sys; from ftspec.engines.profiles import load_profiles; load_profiles()['openai']; list(load_profiles().values());"
        "print([name for name in ('openai', 'httpx2', 'pydantic', 'asyncio', 'importlib.metadata') if name in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "[]"
