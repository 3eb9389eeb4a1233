"""Engines, datasets, evals and policy: the sections of a spec that are not experiments, as values.

Input is validated and free of references (`load` fills variables in); what needs a profile
or the file system is checked here.
"""

from __future__ import annotations

import math
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from ftspec.diagnostics import Diagnostic, Place, Severity, error
from ftspec.experiment import DesiredDataset, DesiredEval, EngineEntry, Limits, Policy, SplitRule
from ftspec.printable import printable
from ftspec.spec.settings import Given, described
from ftspec.spec.suggest import did_you_mean, nearest
from ftspec.spec.tree import Map, plain

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ftspec.profile import Profile
    from ftspec.spec.paths import Roots

_ENGINE_SETTINGS: Final = ("type", "base_url", "api_key_env", "organization", "project", "scope", "limits")
_EVAL_OPTIONS: Final = ("kind", "preset", "group_by", "max_connections", "isolation")
_PORTS: Final = {"http": 80, "https": 443}


def _named_at(given: Given) -> Place | None:
    return given.holder.key_at(str(given.key)) if isinstance(given.holder, Map) else None


# Engines


def engines(blocks: Mapping[str, Given], profiles: Mapping[str, Profile]) -> tuple[dict[str, EngineEntry], list[Diagnostic], set[str]]:
    """Return the entries by name, the implied ones of engines in process included, and the broken names."""
    problems: list[Diagnostic] = []
    entries: dict[str, EngineEntry] = {}
    broken: set[str] = set()
    for name, given in blocks.items():
        entry = _engine(name, given, profiles, problems)
        if entry is None:
            broken.add(name)
        else:
            entries[name] = entry
    for name, profile in profiles.items():
        if profile.in_process and name not in entries and name not in broken:
            entries[name] = EngineEntry(name=name, type=name, scope=name, api_key_env=profile.api_key_env)
    problems.extend(_one_key_per_scope(entries))
    return entries, problems, broken


def _engine(name: str, given: Given, profiles: Mapping[str, Profile], problems: list[Diagnostic]) -> EngineEntry | None:
    node: Map = given.value
    kind = node.get("type") or name
    profile = profiles.get(kind)
    if profile is None and "type" not in node:
        problems.extend(_without_type(name, given, profiles))
        return None
    if profile is None:
        at = node.value_at("type") if "type" in node else _named_at(given)
        problems.append(
            error("unknown-engine-type", f"`{printable(kind)}` is not an engine type", at=at, help=did_you_mean(kind, sorted(profiles)))
        )
        return None
    found = len(problems)
    for key in node:
        if key not in _ENGINE_SETTINGS and key not in profile.settings:
            known = [*_ENGINE_SETTINGS, *profile.settings]
            message = f"`{printable(key[:64])}` is not a setting of the engine type `{profile.name}`"
            problems.append(
                error("unknown-key", message, at=node.key_at(key), help=did_you_mean(key, known, others={"api_key": "api_key_env"}))
            )
    base_url = node.get("base_url") or profile.base_url
    origin = None
    if base_url is not None:
        origin = origin_of(base_url)
        if origin is None:
            help_text = "write `https://HOST[:PORT][/PATH]`, without user, query or fragment"
            problems.append(error("bad-base-url", "`base_url` is not a URL of an engine", at=node.value_at("base_url"), help=help_text))
    elif not profile.in_process:
        message = f"engine `{name}` needs `base_url`"
        problems.append(
            error(
                "missing-key", message, at=_named_at(given), help=f"`{profile.name}` has no address of its own: add `base_url: https://...`"
            )
        )
    if len(problems) > found:
        return None
    limits = node.get("limits") or {}
    return EngineEntry(
        name=name,
        type=kind,
        scope=node.get("scope") or _scope(kind, profile, origin, node),
        base_url=base_url,
        api_key_env=node.get("api_key_env") or profile.api_key_env,
        organization=node.get("organization"),
        project=node.get("project"),
        limits=Limits(max_running=limits.get("max_running"), leave_free=limits.get("leave_free") or 0, per_day=limits.get("per_day")),
        options={key: plain(value) for key, value in node.items() if key not in _ENGINE_SETTINGS},
        at=_named_at(given),
    )


def _without_type(name: str, given: Given, profiles: Mapping[str, Profile]) -> list[Diagnostic]:
    """Return what is wrong with an entry that does not say its type and is not called like one."""
    node: Map = given.value
    misspelled = [key for key in node if key not in _ENGINE_SETTINGS and nearest(key, _ENGINE_SETTINGS) == "type"]
    if misspelled:
        key = misspelled[0]
        return [error("unknown-key", f"`{printable(key)}` is not a setting of an engine", at=node.key_at(key), help="did you mean `type`?")]
    known = " or ".join(f"`type: {one}`" for one in sorted(profiles)[:8])
    return [error("missing-key", f"engine `{name}` needs `type`", at=_named_at(given), help=f"add {known}")]


def origin_of(url: str) -> str | None:
    """Return scheme, host and port of an engine's URL, or `None` where it is not one."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return None
    host = parts.hostname
    if (
        parts.scheme not in _PORTS
        or not host
        or "@" in parts.netloc
        or parts.query
        or parts.fragment
        or "\\" in url
        or printable(url) != url
        or " " in url
    ):
        return None
    host = f"[{host}]" if ":" in host else host
    return f"{parts.scheme}://{host}" + ("" if port in (None, _PORTS[parts.scheme]) else f":{port}")


def _scope(kind: str, profile: Profile, origin: str | None, node: Map) -> str:
    default = origin_of(profile.base_url) if profile.base_url else None
    parts = [kind]
    if origin is not None and origin != default:
        parts.append(origin)
    parts += [str(node[key]) for key in ("organization", "project") if node.get(key)]
    return "/".join(parts)


def _one_key_per_scope(entries: Mapping[str, EngineEntry]) -> list[Diagnostic]:
    problems = []
    first: dict[str, EngineEntry] = {}
    for entry in entries.values():
        other = first.setdefault(entry.scope, entry)
        if other is entry:
            continue
        if (other.type, other.base_url) != (entry.type, entry.base_url):
            what = "different engines"
        elif other.api_key_env != entry.api_key_env:
            what = "different keys"
        else:
            continue
        problems.append(
            Diagnostic(
                code="shared-scope",
                severity=Severity.ERROR,
                message=f"the engines `{other.name}` and `{entry.name}` use {what} for one account, `{printable(entry.scope)}`",
                at=entry.at,
                help="tell the accounts apart: add `project:` or `scope:` to one of them",
                also=(("the other entry", other.at),) if other.at else (),
            )
        )
    return problems


# Datasets


def datasets(blocks: Mapping[str, Given], roots: Roots) -> tuple[dict[str, DesiredDataset], list[Diagnostic], set[str]]:
    """Return the datasets by name, what is wrong, and the broken names."""
    problems: list[Diagnostic] = []
    found: dict[str, DesiredDataset] = {}
    broken: set[str] = set()
    for name, given in blocks.items():
        before = len(problems)
        dataset = _dataset(name, given, roots, problems)
        if dataset is not None and len(problems) == before:
            found[name] = dataset
        else:
            broken.add(name)
    for name, dataset in found.items():
        owner, _, part = name.rpartition(".")
        if owner in found and found[owner].split is not None and part in (found[owner].split or SplitRule(shares={})).shares:
            message = f"`{name}` is both a dataset and a part of `{owner}`"
            problems.append(error("ambiguous-dataset", message, at=dataset.at, help="rename one of them"))
    return found, problems, broken


def _dataset(name: str, given: Given, roots: Roots, problems: list[Diagnostic]) -> DesiredDataset | None:
    node = given.value
    short = isinstance(node, str)
    written = node if short else node.get("path")
    at = given.place() if short else node.value_at("path")
    holder = given.holder
    folder = str(PurePosixPath(holder.source.path).parent) if isinstance(holder, Map) else "."
    path, problem = roots.locate(written, folder=folder, at=at, what="dataset", data=True)
    if problem is not None:
        problems.append(problem)
    if path is None:
        return None
    if short:
        return DesiredDataset(name=name, path=path, at=_named_at(given), path_at=at)
    transforms = [{"type": step} if isinstance(step, str) else plain(step) for step in node.get("transforms") or ()]
    return DesiredDataset(
        name=name,
        path=path,
        format=node.get("format"),
        split=_split(node, problems),
        transforms=tuple(transforms),
        at=_named_at(given),
        path_at=at,
        description=node.get("description"),
    )


def _split(node: Map, problems: list[Diagnostic]) -> SplitRule | None:
    split = node.get("split")
    if not isinstance(split, Map):
        return None
    shares = {part: share for part, share in split.items() if part not in ("seed", "group_by")}
    total = math.fsum(shares.values()) if all(isinstance(share, (int, float)) for share in shares.values()) else math.nan
    if not shares or not math.isclose(total, 1, abs_tol=1e-6):
        shown = f"they add up to {total:g}" if shares else "there are none"
        problems.append(
            error(
                "bad-split",
                f"the shares of a split add up to 1; {shown}",
                at=node.key_at("split"),
                help="change the shares, such as `{train: 0.9, test: 0.1}`",
            )
        )
        return None
    return SplitRule(
        shares={part: float(share) for part, share in shares.items()}, seed=split.get("seed") or 0, group_by=split.get("group_by")
    )


# Evals, policy


def evals(
    blocks: Mapping[str, Given], refs: Sequence[str], broken_refs: set[str]
) -> tuple[dict[str, DesiredEval], list[Diagnostic], set[str]]:
    """Return the evals by name, what is wrong, and the broken names."""
    problems: list[Diagnostic] = []
    found: dict[str, DesiredEval] = {}
    broken: set[str] = set()
    for name, given in blocks.items():
        node: Map = given.value
        kind = node.get("kind") or "chat"
        dataset = node.get("dataset")
        before = len(problems)
        problems.extend(
            error("missing-key", f"eval `{name}` needs `{key}`", at=_named_at(given), help=f"add `{key}: ...`")
            for key in ("dataset", "graders")
            if kind == "chat" and not node.get(key) and not (key == "graders" and node.get("preset"))
        )
        if dataset and dataset not in refs and dataset not in broken_refs and dataset.rpartition(".")[0] not in broken_refs:
            message = f"`{printable(dataset)}` is not a dataset or a part of one"
            problems.append(error("unknown-dataset", message, at=node.value_at("dataset"), help=did_you_mean(dataset, sorted(refs))))
        if len(problems) > before:
            broken.add(name)
            continue
        graders = node.get("graders") or Map(node.source, node.spot)
        options = plain(node.get("options") or {}) | {key: node[key] for key in _EVAL_OPTIONS if node.get(key) is not None}
        found[name] = DesiredEval(
            name=name,
            dataset=dataset or "",
            graders=plain(graders),
            prompt=plain(node.get("prompt")),
            sampling=plain(node.get("sampling") or {}),
            repeat=node.get("repeat") or 1,
            models=_texts(node.get("models")) or ("base", "job"),
            compare_to=node.get("compare_to", "base"),
            require=_texts(node.get("require")),
            budget=node.get("budget"),
            options=options,
            at=_named_at(given),
            grader_places={grader: graders.key_at(grader) for grader in graders},
        )
    return found, problems, broken


def _texts(value: Any) -> tuple[str, ...]:
    if value is None:
        return ()
    return (value,) if isinstance(value, str) else tuple(value)


def policy(node: Map | None, at: Place | None, engine_names: Sequence[str]) -> tuple[Policy, list[Diagnostic]]:
    """Return the policy, and what is wrong with it."""
    if node is None:
        return Policy(), []
    allowed = node.get("allow_engines")
    problems = [
        error(
            "unknown-engine",
            f"`{printable(name)}` is not an engine",
            at=node.value_at("allow_engines"),
            help=did_you_mean(name, engine_names),
        )
        for name in allowed or ()
        if name not in engine_names
    ]
    problems += [
        error("wrong-value", f"`{key}` must be a number, not {described(node[key])}", at=node.value_at(key))
        for key in ("max_cost", "max_jobs", "max_tokens")
        if node.get(key) is not None and (isinstance(node[key], bool) or not isinstance(node[key], (int, float)))
    ]
    if problems:
        return Policy(at=at), problems
    return Policy(
        max_cost=node.get("max_cost"),
        max_jobs=node.get("max_jobs"),
        max_tokens=node.get("max_tokens"),
        require_validation=bool(node.get("require_validation")),
        require_known_cost=bool(node.get("require_known_cost")),
        allow_leakage=bool(node.get("allow_leakage")),
        allow_engines=tuple(allowed) if allowed is not None else None,
        distinct_suffixes=bool(node.get("distinct_suffixes")),
        at=at,
    ), []
