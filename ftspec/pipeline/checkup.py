"""What `ftspec doctor` looks at: everything that must be right before the first purchase.

Reads; writes nothing. Without `online` it opens no connection. Keys are named, never shown.
"""

from __future__ import annotations

import datetime as dt
import enum
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ftspec.diagnostics import FtspecError
from ftspec.pipeline.planning import InvalidSpec, Loaded, load, profiles, state_of
from ftspec.printable import printable

if TYPE_CHECKING:
    from ftspec.engines.base import Engine
    from ftspec.engines.trust import TrustStore
    from ftspec.experiment import EngineEntry, Spec
    from ftspec.pipeline.project import Project
    from ftspec.profile import Profile
    from ftspec.record import State

SKEW = 60
"""Seconds by which our clock may differ from an engine's."""

NOTICE_DAYS = 90
_DAY = dt.timedelta(days=1)
_EXTRAS = {"server": "uvicorn", "tokens": "tiktoken", "local": "torch", "pandas": "pandas", "inspect": "inspect_ai"}


class Level(enum.StrEnum):
    """How good or bad a finding is."""

    OK = "ok"
    NOTE = "note"
    WARNING = "warning"
    FAILED = "failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that was looked at: about what, what was found, what to type if it should be otherwise."""

    level: Level
    about: str
    message: str
    help: str | None = None


def examine(project: Project, *, environ: Mapping[str, str], now: dt.datetime, online: bool = False) -> Iterator[Finding]:
    """Yield findings as they are made: this installation, the spec, state, then each engine that the spec uses."""
    from ftspec.engines.trust import TrustStore

    yield from _installation()
    loaded = None
    if project.files:
        try:
            loaded = load(project, today=now.date())
        except InvalidSpec as error:
            yield Finding(level=Level.FAILED, about="spec", message=error.message, help="`ftspec validate` shows them")
    else:
        yield Finding(level=Level.NOTE, about="spec", message="there is none here", help="make one: `ftspec init`")
    if loaded is not None:
        yield _spec(loaded)
    spec = loaded.spec if loaded else None
    yield from _tokenizers(spec)
    state = None
    for finding in _state(project, spec):
        if isinstance(finding, Finding):
            yield finding
        else:
            state = finding
    trust = TrustStore.load(environ, project_root=project.root)
    yield from _trust(trust)
    yield from _environment(spec, environ)
    for entry in _used(spec) if spec else ():
        yield from _engine(entry, environ=environ, trust=trust, state=state, now=now)
    if online and loaded is not None:
        yield from _online(loaded, environ, state, now)


def _installation() -> Iterator[Finding]:
    from importlib.metadata import version
    from importlib.util import find_spec

    names = ("ftspec", "openai", "numpy")
    yield Finding(
        level=Level.OK,
        about="python",
        message=f"{sys.version.split()[0]}, " + ", ".join(f"{name} {version(name)}" for name in names),
    )
    present = [extra for extra, module in _EXTRAS.items() if find_spec(module) is not None]
    yield Finding(level=Level.OK, about="extras", message=", ".join(present) or "none", help="more: `pip install 'ftspec[server,tokens]'`")


def _tokenizers(spec: Spec | None) -> Iterator[Finding]:
    """Say how tokens will be counted for the engines that the spec uses."""
    from ftspec.data.tokens import DEFAULT, counter

    used = {str(profiles()[entry.type].defaults.get("tokenizer", DEFAULT)) for entry in _used(spec)} if spec else {DEFAULT}
    for name in sorted(used):
        found = counter(name)
        if found.exact:
            yield Finding(level=Level.OK, about="tokenizer", message=f"`{name}`: exact counts")
        else:
            yield Finding(
                level=Level.NOTE,
                about="tokenizer",
                message=f"`{name}`: counts are estimates, within {found.error:.0%}",
                help="exact counts for OpenAI's models: `pip install 'ftspec[tokens]'`" if name != "estimate" else None,
            )


def _spec(loaded: Loaded) -> Finding:
    spec, odd = loaded.spec, len(loaded.diagnostics)
    message = f"{', '.join(spec.files)}: {_count(len(spec.jobs), 'job')}, {_count(len(spec.datasets), 'dataset')}, {_count(len(spec.evals), 'eval')}"
    if odd:
        return Finding(
            level=Level.WARNING, about="spec", message=f"{message}, {_count(odd, 'warning')}", help="`ftspec validate` shows them"
        )
    return Finding(level=Level.OK, about="spec", message=message)


def _state(project: Project, spec: Spec | None) -> Iterator[Finding | State]:
    """Yield findings about state, and state itself if it can be read."""
    from ftspec.state.worktree import head_commit, should_compact

    folder = project.state_folder(spec.state_dir if spec else None)
    where = project.relative(folder)
    backend = state_of(project, spec)
    try:
        state, problems = backend.read()
    except FtspecError as error:
        yield Finding(
            level=Level.FAILED, about="state", message=error.message, help=error.help or "`ftspec state repair` explains each fix"
        )
        return
    yield state
    jobs = [record for record in state.jobs.values() if not record.forgotten]
    doubtful = sum(record.doubtful for record in jobs)
    level = Level.WARNING if problems or doubtful else Level.OK
    odd = [*([_count(len(problems), "problem")] if problems else []), *([f"{doubtful} in doubt"] if doubtful else [])]
    yield Finding(
        level=level,
        about="state",
        message=", ".join([f"{where}: {_count(len(jobs), 'job')}", *odd]),
        help="`ftspec status` says what to do" if odd else None,
    )
    if (holder := backend.holder()) is not None:
        who = printable(f"{holder.user}@{holder.host}, pid {holder.pid}, since {holder.since}: {holder.command}")
        yield Finding(level=Level.NOTE, about="lock", message=f"held by {who}")
    commit = head_commit(project.root)
    if commit is None:
        yield Finding(level=Level.NOTE, about="git", message="not a git work tree with commits: state is not shared by git")
    elif should_compact(folder):
        yield Finding(level=Level.OK, about="git", message=f"commit {commit[:12]}, default branch: `apply` compacts state at its end")
    else:
        yield Finding(level=Level.OK, about="git", message=f"commit {commit[:12]}, another branch: state stays in segments, which merge")


def _trust(trust: TrustStore) -> Iterator[Finding]:
    try:
        origins = [f"{origin} ({', '.join(trust[origin])})" if trust[origin] else origin for origin in trust]
    except FtspecError as error:
        yield Finding(level=Level.FAILED, about="trust", message=error.message, help=error.help)
        return
    yield Finding(
        level=Level.OK, about="trust", message=", ".join(origins) or "no origins beyond those of the engine types and this machine"
    )


def _environment(spec: Spec | None, environ: Mapping[str, str]) -> Iterator[Finding]:
    from ftspec.engines.origin import ignored_variables

    used = {entry.api_key_env for entry in spec.engines.values() if entry.api_key_env} if spec else set()
    if ignored := ignored_variables(environ, used=used):
        yield Finding(
            level=Level.NOTE,
            about="environment",
            message=f"set, and not used by ftspec: {', '.join(ignored)}",
            help="say it in the spec: `engines: {NAME: {base_url: ..., organization: ..., project: ...}}`",
        )


def _used(spec: Spec) -> list[EngineEntry]:
    """Return the entries that jobs buy in, and those that the spec declares itself."""
    names = {job.engine for job in spec.jobs} | {name for name, entry in spec.engines.items() if entry.at is not None}
    return [spec.engines[name] for name in sorted(names) if name in spec.engines]


def _engine(
    entry: EngineEntry, *, environ: Mapping[str, str], trust: TrustStore, state: State | None, now: dt.datetime
) -> Iterator[Finding]:
    from ftspec.engines.open import address, check_serve_url, key_variables, keys

    profile = profiles()[entry.type]
    about = f"engine {entry.name}"
    if profile.in_process and entry.base_url is None:
        try:
            check_serve_url(entry, profile=profile, trust=trust)
        except FtspecError as error:
            yield Finding(level=Level.FAILED, about=about, message=error.message, help=error.help)
            return
        yield Finding(level=Level.OK, about=about, message=f"{profile.title}: in process, no key")
    else:
        try:
            origin, _ = address(entry, profile=profile, trust=trust)
            keys(entry, origin, profile=profile, environ=environ, trust=trust)
        except FtspecError as error:
            yield Finding(level=Level.FAILED, about=about, message=error.message, help=error.help)
            return
        variables = key_variables(entry, profile=profile, environ=environ)
        who = f"key in {', '.join(f'`{name}`' for name in variables)}" if variables else "no key"
        yield Finding(level=Level.OK, about=about, message=f"{profile.title}: {origin}, {who}, scope `{entry.scope}`")
    yield from _dates(about, profile, now)
    yield from _limits(about, entry, state, now)


def _dates(about: str, profile: Profile, now: dt.datetime) -> Iterator[Finding]:
    if profile.ends is None:
        return
    left = (dt.date.fromisoformat(profile.ends) - now.date()).days
    if left < 0:
        yield Finding(level=Level.FAILED, about=about, message=f"it takes no new jobs since {profile.ends}")
    elif left <= NOTICE_DAYS:
        yield Finding(
            level=Level.WARNING, about=about, message=f"it takes no new jobs after {profile.ends}, {_count(left, 'day')} from now"
        )


def _limits(about: str, entry: EngineEntry, state: State | None, now: dt.datetime) -> Iterator[Finding]:
    from ftspec.planner.quota import launch_times

    limits = entry.limits
    said = [
        *([f"{limits.max_running} at once"] if limits.max_running is not None else []),
        *([f"{limits.leave_free} left to others"] if limits.leave_free else []),
        *([f"{limits.per_day} a day"] if limits.per_day is not None else []),
    ]
    if not said or state is None:
        return
    records = [record for record in state.jobs.values() if record.scope == entry.scope]
    running = sum(record.status.bought and not record.status.terminal for record in records)
    launched = len(launch_times(state, entry.scope, since=now - _DAY))
    yield Finding(level=Level.OK, about=about, message=f"limits: {', '.join(said)}; {running} running, {launched} launched in the last day")


def _online(loaded: Loaded, environ: Mapping[str, str], state: State | None, now: dt.datetime) -> list[Finding]:
    """Ask each engine with an address whether it answers, what time it is and what each key sees."""
    import asyncio

    from ftspec.pipeline.session import Session

    async def ask() -> list[Finding]:
        findings: list[Finding] = []
        async with Session(loaded.project, loaded.spec, environ=environ) as session:
            for entry in _used(loaded.spec):
                if profiles()[entry.type].in_process and entry.base_url is None:
                    continue
                try:
                    engine = session.engine(entry.name)
                except FtspecError:
                    continue  # said before, by `_engine`
                findings += await _answers(entry.name, engine, state, now)
        return findings

    return asyncio.run(ask())


async def _answers(name: str, engine: Engine, state: State | None, now: dt.datetime) -> list[Finding]:
    from ftspec.engines.keyring import KeyRing

    accounts = {variable: engine.account(variable) for variable in engine.owners} if isinstance(engine, KeyRing) else {"": engine}
    return [finding for variable, account in accounts.items() for finding in await _account(name, variable, account, state, now)]


async def _account(name: str, variable: str, engine: Engine, state: State | None, now: dt.datetime) -> list[Finding]:
    """Ask one account; `variable` says which key, where an entry has several."""
    from ftspec.engines.base import EngineError

    about = f"engine {name}" + (f" ({variable})" if variable else "")
    try:
        listing = await engine.find_jobs()
        said = await engine.server_time()
    except EngineError as error:
        return [Finding(level=Level.FAILED, about=about, message=f"it does not answer: {error.message}")]
    known = {attempt.engine_job_id for record in state.jobs.values() for attempt in record.attempts} if state else set()
    seen = f"{_count(len(listing.items), 'job')}" + ("" if listing.complete else " or more")
    organizations = sorted({job.organization for job in listing.items if job.organization})
    of = f" of {', '.join(map(printable, organizations))}" if organizations else ""
    findings = [
        Finding(
            level=Level.OK,
            about=about,
            message=f"it answers, and shows {seen}{of}, {sum(job.id in known for job in listing.items)} of them in state",
        )
    ]
    if said is not None and abs(said - now.timestamp()) > SKEW:
        late = "behind" if said > now.timestamp() else "ahead of"
        skew = abs(said - int(now.timestamp()))
        findings.append(Finding(level=Level.WARNING, about=about, message=f"this machine's clock is {skew} s {late} its clock"))
    return findings


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
