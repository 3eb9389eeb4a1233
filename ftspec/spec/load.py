"""Spec files as one `Spec`, with everything that is wrong about them.

`load` reads the files and what they include, checks each as written, merges their sections,
replaces variables, builds engines, datasets and evals, expands experiments into jobs, and
applies the rules. Problems never stop it: it goes on with what it understood, and a block
that is broken causes no follow-up problems elsewhere.

Nothing outside the project's root is read, nothing is executed, no key is needed, and no
clock is asked: `today` is an argument, and without it the rules about dates say nothing.
"""

from __future__ import annotations

import gc
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, Final

import msgspec

from ftspec.address import NAME
from ftspec.diagnostics import Diagnostic, Severity, error, fold_repeated, has_errors
from ftspec.experiment import Spec
from ftspec.printable import printable, redacted
from ftspec.spec import sections, validated
from ftspec.spec.expand import Declared, expand
from ftspec.spec.paths import Roots
from ftspec.spec.reading import Reading
from ftspec.spec.references import Variables
from ftspec.spec.rules import check_all
from ftspec.spec.settings import Given, flatten
from ftspec.spec.tree import Map, Seq, Source, plain

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Iterator, Mapping, Sequence

    from ftspec.profile import Profile

MOST_SHOWN: Final = 500

_NAMED: Final = ("vars", "engines", "datasets", "experiments", "evals")
_MAPPINGS: Final = ("policy", "identity", "prices")
_LISTS: Final = ("notify", "protect")
_ONCE: Final = ("project", "state")


def load(
    files: Sequence[Path],
    *,
    root: Path,
    profiles: Mapping[str, Profile],
    variables: Mapping[str, str] | None = None,
    cache: Path | None = None,
    today: dt.date | None = None,
    data_roots: Sequence[Path] = (),
) -> tuple[Spec | None, list[Diagnostic]]:
    """Return what spec files mean, and all their problems by file and line.

    `None` only where no file could be read as a spec. `variables` are `--var`; `cache` is a
    folder where valid specs are remembered; `data_roots` are folders outside the root that
    datasets may be in.
    """
    with _no_collection():
        return _load(files, Roots.of(root, data_roots), profiles, variables or {}, cache, today)


@contextmanager
def _no_collection() -> Iterator[None]:
    """Keep the garbage collector from searching a growing tree that holds no cycles: half of the time otherwise."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def _load(
    files: Sequence[Path],
    roots: Roots,
    profiles: Mapping[str, Profile],
    variables: Mapping[str, str],
    cache: Path | None,
    today: dt.date | None,
) -> tuple[Spec | None, list[Diagnostic]]:
    reading = Reading(roots)
    for file in files:
        reading.file(roots.root / file, None)
    if not reading.trees:
        return None, _ordered(reading.problems, reading.sources)
    digest = validated.key(reading.texts, variables)
    checked = validated.known(cache, digest)
    try:
        spec, problems = _Loading(reading, profiles, variables, today, checked=checked).run()
    except (TypeError, ValueError, KeyError, AttributeError, IndexError):
        if not checked:
            raise
        spec, problems = _Loading(reading, profiles, variables, today, checked=False).run()
        checked = False
    problems = [*reading.problems, *problems]
    if not checked and not has_errors(problems):
        validated.remember(cache, digest)
    return spec, _ordered(problems, reading.sources)


def _ordered(problems: Sequence[Diagnostic], sources: Sequence[Source]) -> list[Diagnostic]:
    """Return every problem once, repeated ones with a count, by file and line."""
    order = {source.path: i for i, source in enumerate(sources)}

    def position(one: Diagnostic) -> tuple[int, int, int]:
        place = one.at
        return (order.get(place.path, len(order)), place.line, place.column) if place is not None else (-1, 0, 0)

    shown = fold_repeated(sorted(dict.fromkeys(map(_without_secrets, problems)), key=position))
    if len(shown) <= MOST_SHOWN:
        return shown
    more = len(shown) - MOST_SHOWN
    return [*shown[:MOST_SHOWN], error("more-problems", f"{more:,} more problems are not shown", help="correct these first")]


class _Merged(msgspec.Struct):
    """The sections of all files together."""

    named: dict[str, dict[str, Given]] = msgspec.field(default_factory=lambda: {name: {} for name in _NAMED})
    defaults: dict[str, Given] = {}
    mappings: dict[str, dict[str, Given]] = msgspec.field(default_factory=lambda: {name: {} for name in _MAPPINGS})
    lists: dict[str, list[Given]] = msgspec.field(default_factory=lambda: {name: [] for name in _LISTS})
    once: dict[str, Given] = {}


def _without_secrets(problem: Diagnostic) -> Diagnostic:
    """Return the diagnostic without keys that were pasted where a name belongs."""
    help_text = redacted(problem.help) if problem.help else problem.help
    return replace(problem, message=redacted(problem.message), help=help_text)


class _Loading:
    """Turns the trees of all files into a `Spec`."""

    def __init__(
        self,
        reading: Reading,
        profiles: Mapping[str, Profile],
        variables: Mapping[str, str],
        today: dt.date | None,
        *,
        checked: bool,
    ) -> None:
        self.roots = reading.roots
        self.trees = reading.trees
        self.sources = reading.sources
        self.profiles = profiles
        self.given_variables = variables
        self.today = today
        self.checked = checked
        self.problems: list[Diagnostic] = []
        self.broken: set[tuple[str, str]] = set()
        self.wrong: list[tuple[str | int, ...]] = []
        self.merged = _Merged()

    def run(self) -> tuple[Spec, list[Diagnostic]]:
        if not self.checked:
            self.check()
        for tree in self.trees:
            self.merge(tree)
        variables = self.variables()
        spec = self.spec(variables)
        self.problems.extend(variables.problems)
        self.problems.extend(
            check_all(spec, profiles=self.profiles, today=self.today, sources=self.sources, variables=variables, broken=self.broken)
        )
        return spec, self.problems

    def check(self) -> None:
        from ftspec.spec.explain import explain

        for tree in self.trees:
            found = explain(tree)
            self.problems.extend(found.problems)
            self.broken |= found.broken
            self.wrong.extend(found.paths)

    # Merging

    def merge(self, tree: Map) -> None:
        for section in _NAMED:
            for name, given in _entries(tree, section):
                self.put(self.merged.named[section], name, given, section.removesuffix("s"))
        for section in _MAPPINGS:
            for name, given in _entries(tree, section):
                self.put(self.merged.mappings[section], name, given, section)
        for section in _LISTS:
            self.merged.lists[section].extend(_items(tree, section))
        for name in _ONCE:
            if tree.get(name) is not None:
                first = self.merged.once.get(name)
                if first is None or first.value != tree[name]:
                    self.put(self.merged.once, name, Given(tree[name], tree, name), "setting")
        defaults = tree.get("defaults")
        if isinstance(defaults, Map):
            flat, problems = flatten(defaults)
            self.problems.extend(problems)
            for path, given in flat.items():
                self.put(self.merged.defaults, path, given, "default")

    def put(self, into: dict[str, Given], name: str, given: Given, what: str) -> None:
        first = into.setdefault(name, given)
        if first is given:
            return
        holder, other = given.holder, first.holder
        at = holder.key_at(str(given.key)) if isinstance(holder, Map) else None
        also = (("first given here", other.key_at(str(first.key))),) if isinstance(other, Map) else ()
        message = f"the {what} `{printable(name[:64])}` is given in two files"
        self.problems.append(
            Diagnostic(
                code="duplicate-name", severity=Severity.ERROR, message=message, at=at, help="rename or remove one of them", also=also
            )
        )

    # Building

    def variables(self) -> Variables:
        declared = {}
        for name, given in self.merged.named["vars"].items():
            holder = given.holder
            place = partial(holder.value_at, name) if isinstance(holder, Map) else None
            declared[name] = (given.value, place)
        return Variables(declared, self.given_variables)

    def filled(self, section: str, variables: Variables) -> dict[str, Given]:
        """Return the sound blocks of a section with variables replaced, checked again where that changed them."""
        found: dict[str, Given] = {}
        for name, given in self.merged.named[section].items():
            if (section, name) in self.broken or (section, "") in self.broken:
                self.broken.add((section, name))
                continue
            before = len(variables.problems)
            value = variables.fill(given.value, given.place)
            if len(variables.problems) > before:
                self.broken.add((section, name))
                continue
            if value is None and isinstance(given.holder, Map):
                value = Map(given.holder.source, given.holder.key_spots[name])
            if value is not given.value and given.value is not None and not self.checked and not self.sound(section, name, value, given):
                continue
            found[name] = Given(value, given.holder, given.key)
        return found

    def sound(self, section: str, name: str, value: Any, given: Given) -> bool:
        from ftspec.spec.explain import explain

        if not isinstance(given.holder, Map):
            return True
        inner = given.holder.with_values({name: value})
        outer = Map(given.holder.source, given.holder.spot)
        outer[section] = inner
        found = explain(outer)
        self.problems.extend(found.problems)
        self.broken |= found.broken
        return not found.problems

    def spec(self, variables: Variables) -> Spec:
        engines, problems, broken = sections.engines(self.filled("engines", variables), self.profiles)
        self.note("engines", problems, broken)
        datasets, problems, broken = sections.datasets(self.filled("datasets", variables), self.roots)
        self.note("datasets", problems, broken)
        refs = [ref for dataset in datasets.values() for ref in dataset.refs()]
        broken_refs = {name for section, name in self.broken if section == "datasets"}
        evals, problems, broken = sections.evals(self.filled("evals", variables), refs, broken_refs)
        self.note("evals", problems, broken)
        if any(section == "defaults" for section, _ in self.broken):
            self.broken |= {("experiments", name) for name in self.merged.named["experiments"]}
        project = self.project(variables)
        declared = Declared(
            experiments=self.merged.named["experiments"],
            defaults=self.merged.defaults,
            engines=engines,
            datasets=datasets,
            evals=tuple(evals),
            variables=variables,
            project=project,
            default_engine=self.default_engine(list(engines)),
            suffix_is_identity=self.mapping("identity").get("suffix") is True,
            broken=self.broken,
            partial=self.partial(),
        )
        if ("experiments", "") in self.broken:
            self.broken |= {("experiments", name) for name in declared.experiments}
        jobs, problems = expand(declared)
        self.problems.extend(problems)
        policy_at = next((given.holder.at() for given in self.merged.mappings["policy"].values() if given.holder is not None), None)
        policy, problems = sections.policy(self.policy_map(variables), policy_at, list(engines))
        self.problems.extend(problems)
        return Spec(
            root=str(self.roots.root),
            files=tuple(source.path for source in self.sources),
            project=project,
            engines=engines,
            datasets=datasets,
            jobs=tuple(jobs),
            evals=evals,
            policy=policy,
            state_dir=self.state_dir(variables),
            prices=plain(self.mapping("prices")),
            notify=tuple(plain(given.value) for given in self.merged.lists["notify"] if isinstance(given.value, dict)),
            protect=tuple(given.value for given in self.merged.lists["protect"] if isinstance(given.value, str)),
        )

    def partial(self) -> dict[str, Given]:
        """Return the broken experiments without what is wrong in them, to look for more."""
        found: dict[str, list[tuple[str | int, ...]]] = {}
        for path in self.wrong:
            if len(path) > 2 and path[0] == "experiments":
                found.setdefault(str(path[1]), []).append(path[2:])
        experiments = self.merged.named["experiments"]
        rest = {}
        for name, paths in found.items():
            given = experiments[name]
            if isinstance(given.value, Map):
                from ftspec.spec.explain import without

                rest[name] = Given(without(given.value, paths), given.holder, given.key)
        return rest

    def note(self, section: str, problems: Sequence[Diagnostic], broken: set[str]) -> None:
        self.problems.extend(problems)
        self.broken |= {(section, name) for name in broken}

    def default_engine(self, engines: Sequence[str]) -> str | None:
        """Return the engine of experiments that name none: the only declared one, else the sandbox."""
        declared = list(self.merged.named["engines"])
        if len(declared) == 1:
            return declared[0]
        return "sandbox" if not declared and "sandbox" in engines else None

    def mapping(self, section: str) -> dict[str, Any]:
        if any(name == section for name, _ in self.broken):
            return {}
        return {name: given.value for name, given in self.merged.mappings[section].items()}

    def policy_map(self, variables: Variables) -> Map | None:
        given = list(self.merged.mappings["policy"].values())
        if not given or not isinstance(given[0].holder, Map) or any(section == "policy" for section, _ in self.broken):
            return None
        whole = given[0].holder.with_values({})
        whole.key_spots, whole.value_spots = {}, {}
        for one in given:
            if isinstance(one.holder, Map):
                name = str(one.key)
                whole[name] = variables.fill(one.value, one.place)
                whole.key_spots[name] = one.holder.key_spots[name]
                whole.value_spots[name] = one.holder.value_spots[name]
        return whole

    def text(self, name: str, variables: Variables) -> str | None:
        given = self.merged.once.get(name)
        value = variables.fill(given.value, given.place) if given is not None else None
        return value if isinstance(value, str) else None

    def project(self, variables: Variables) -> str | None:
        name = self.text("project", variables)
        if name is not None and NAME.match(name) is None:
            help_text = "use letters, digits, `_`, `-` and `.`, at most 64, starting with a letter or `_`"
            at = self.merged.once["project"].place()
            self.problems.append(error("bad-name", f"`{printable(name[:64])}` cannot be a name", at=at, help=help_text))
        return name

    def state_dir(self, variables: Variables) -> str | None:
        given = self.merged.once.get("state")
        written = self.text("state", variables)
        if given is None or written is None or not isinstance(given.holder, Map):
            return None
        folder = str(PurePosixPath(given.holder.source.path).parent)
        path, problem = self.roots.locate(written, folder=folder, at=given.place(), what="state folder")
        if problem is not None:
            self.problems.append(problem)
        return path


def _entries(tree: Map, section: str) -> list[tuple[str, Given]]:
    block = tree.get(section)
    return [(name, Given(value, block, name)) for name, value in block.items()] if isinstance(block, Map) else []


def _items(tree: Map, section: str) -> list[Given]:
    block = tree.get(section)
    if isinstance(block, str):
        return [Given(block, tree, section)]
    return [Given(item, block, i) for i, item in enumerate(block)] if isinstance(block, Seq) else []
