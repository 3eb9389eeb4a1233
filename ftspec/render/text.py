"""A plan as text for a terminal: short, eighty columns, everything legible without colour.

Each line begins with a sign: `^` upload, `+` launch, `+/.` launch beside a record that stays, `<`
adopt, `*` eval, `>` running, `!` needs attention, `?` in doubt, `=` new label, `-` in no spec, `.`
reused. Like cells are folded and reused jobs are one line, unless `full`. The end says how
many, how many tokens, how much money, and what policy and quota make of it. Equal plans have
equal text.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence

from ftspec.actions import KeepJob, LaunchJob, Plan, Reason, UploadFile, WaitJob
from ftspec.address import natural
from ftspec.planner.cost import known_part
from ftspec.printable import printable
from ftspec.render.cells import Cells, fold
from ftspec.render.style import Role, Style, plain, style_for
from ftspec.render.summary import Summary, summarise
from ftspec.render.table import width_of
from ftspec.render.words import (
    KNOWN_AFTER_APPLY,
    change_text,
    cost_text,
    count,
    error_text,
    money,
    place_text,
    quota_text,
    reason_text,
    size_text,
    time_text,
    tokens_text,
    value_text,
)

SHOWN = 10
"""How many lines of one kind a short plan shows before it only counts."""

_ROLES: dict[str, Role] = {"+": "add", "+/.": "change", "!": "bad", "?": "warn", "-": "dim", ".": "dim", ">": "note", "=": "note"}
_INDENT = "      "


def to_text(plan: Plan, *, full: bool = False, color: bool = False, width: int = 80) -> str:
    """Return the plan as text, without a line feed at its end."""
    summary = summarise(plan)
    page = Page(plan, summary, full=full, style=style_for(color=color), width=width)
    body = list(page.body())
    return "\n".join([*body, *([""] if body else []), *page.footer()])


class Page:
    """Writes one plan, or the part of it that `summary` holds."""

    def __init__(self, plan: Plan, summary: Summary, *, full: bool = False, style: Style = plain, width: int = 80) -> None:
        self.plan = plan
        self.summary = summary
        self.full = full
        self.style = style
        self.width = width
        self._models: dict[str, str] | None = None

    def body(self) -> Iterator[str]:
        """Yield the lines for everything that is not simply reused, and one for what is."""
        summary = self.summary
        yield from self._limited([self._upload(one) for one in summary.uploads], "uploads")
        for entry in fold(summary.changed, full=self.full) + fold(summary.launches, full=self.full):
            yield from self._cells(entry) if isinstance(entry, Cells) else self._launch(entry)
        yield from self._limited(
            [self._line("<", one.job.address, one.engine_job_id, "(found on engine)") for one in summary.adopted], "adopted jobs"
        )
        yield from self._evals()
        yield from self._running()
        yield from self._limited([self._failed(one) for one in summary.failed], "failed jobs")
        yield from self._limited([self._waiting(one) for one in summary.waiting], "waiting jobs")
        yield from self._relabelled()
        yield from self._forgotten()
        yield from self._kept()

    # Lines

    def _line(self, sign: str, subject: str, *notes: str) -> str:
        """Return `+   subject  note  note`; notes that do not fit stand on a line of their own."""
        head = self.style(f"{sign:<3}", _ROLES.get(sign, "add")) + " " + printable(subject)
        lines = [head]
        used = 4 + width_of(printable(subject))
        for note in map(printable, notes):
            if not note:
                continue
            if used + 2 + width_of(note) <= self.width:
                lines[-1] += "  " + note
                used += 2 + width_of(note)
            else:
                lines.append(_INDENT + note)
                used = len(_INDENT) + width_of(note)
        return "\n".join(lines)

    def _detail(self, text: str, place: str = "") -> str:
        """Return an indented change and its place, on as many lines as it takes."""
        if len(_INDENT) + width_of(text) > self.width:
            text = text.replace(" -> ", f"\n{_INDENT}  -> ", 1)
        if not place:
            return _INDENT + text
        gap = max(2, 40 - width_of(text))
        if "\n" in text or len(_INDENT) + width_of(text) + gap + width_of(place) > self.width:
            return f"{_INDENT}{text}\n{_INDENT}  {self.style(place, 'dim')}"
        return _INDENT + text + " " * gap + self.style(place, "dim")

    def _wrapped(self, label: str, values: Sequence[str], column: int) -> str:
        """Return a label and comma-separated values, a few lines of them at most."""
        many = f" ... ({len(values):,} values)"
        lines: list[str] = [""]
        for i, value in enumerate(values):
            piece = printable(value) + ("," if i + 1 < len(values) else "")
            room = self.width - len(_INDENT) - column - (0 if len(lines) == 1 or self.full else len(many))
            if lines[-1] and width_of(lines[-1]) + 1 + width_of(piece) > room:
                if len(lines) == 2 and not self.full:
                    lines[-1] += many
                    break
                lines.append("")
            lines[-1] += (" " if lines[-1] else "") + piece
        pad = "\n" + _INDENT + " " * column
        return f"{_INDENT}{printable(label):<{column}}{pad.join(lines)}"

    def _filled(self, text: str, *, first: str, rest: str) -> str:
        """Return a paragraph. It is made printable again: what now begins a line could be a command to a CI runner."""
        lines = textwrap.fill(
            printable(text), self.width, initial_indent=first, subsequent_indent=rest, break_on_hyphens=False, break_long_words=False
        )
        return printable(lines, newlines=True)

    def _limited(self, lines: Sequence[str], what: str) -> Iterator[str]:
        shown = len(lines) if self.full or len(lines) <= SHOWN else SHOWN
        yield from lines[:shown]
        if shown < len(lines):
            yield f"    ... and {len(lines) - shown:,} more {what}; --full shows them"

    # Launches

    def _upload(self, one: UploadFile) -> str:
        size = f"{count(one.rows, 'row')}, {size_text(one.bytes)}"
        return self._line("^", one.dataset, size, f"to {printable(one.engine)}", f"({reason_text(one.reason)})")

    def _base_model(self, launch: LaunchJob) -> str:
        if launch.job.parent is None:
            return printable(launch.job.base_model)
        if self._models is None:
            self._models = {one.job.address: one.record.model for one in self.plan.actions if isinstance(one, KeepJob) and one.record.model}
        model = self._models.get(launch.job.parent)
        return printable(model) if model else KNOWN_AFTER_APPLY

    def _launch(self, launch: LaunchJob) -> Iterator[str]:
        sign = "+" if launch.replaces is None else "+/."
        yield self._line(sign, launch.job.address, self._base_model(launch), self._why(launch))
        for change in launch.changes:
            yield self._detail(change_text(change), place_text(change))
        if self.full:
            yield from self._facts(launch)

    def _why(self, launch: LaunchJob) -> str:
        again = f", attempt {launch.attempt}" if launch.attempt > 1 else ""
        return f"({reason_text(launch.reason)}{again})"

    def _facts(self, launch: LaunchJob) -> Iterator[str]:
        job = launch.job
        settings = [f"{name} {value_text(value)}" for name, value in sorted(job.hyperparameters.items())]
        settings += [f"seed {job.seed}"] if job.seed is not None else []
        settings += [f"suffix {value_text(job.suffix)}"] if job.suffix else []
        data = [job.train] + ([f"validation {job.validation}"] if job.validation else [])
        facts = [f"key {launch.key[:12]}", f"{job.method} on {job.engine}", f"train {', '.join(data)}", *settings]
        facts.append(f"tokens {tokens_text(launch.cost)}")
        facts.append(f"cost {cost_text(launch.cost)}")
        if launch.after:
            facts.append(f"after {', '.join(launch.after)}")
        yield self._filled("; ".join(facts), first=_INDENT, rest=_INDENT)

    def _cells(self, cells: Cells) -> Iterator[str]:
        first = cells.first
        sign = "+" if first.replaces is None else "+/."
        models = {self._base_model(launch) for launch in cells.launches}
        axis = "base_model" in cells.axes
        model = "" if axis else models.pop() if len(models) == 1 else count(len(models), "base model")
        if axis and first.job.parent is not None:
            model = KNOWN_AFTER_APPLY if KNOWN_AFTER_APPLY in models else ""
        jobs = count(len(cells.launches), "job")
        if not cells.complete and cells.axes:
            jobs += " (not every combination)"
        yield self._line(sign, f"{first.job.experiment}: {jobs}", model, f"({reason_text(first.reason)})")
        for text, place in cells.changes():
            yield self._detail(text, place)
        column = max([len(printable(axis)) for axis in cells.axes], default=0) + 2
        for name, values in cells.axes.items():
            yield self._wrapped(name, values, column)
        if not cells.axes:
            yield self._wrapped("", [launch.job.address for launch in cells.launches], 0)

    # What is not launched

    def _evals(self) -> Iterator[str]:
        groups: dict[str, list[str]] = {}
        samples: dict[str, int] = {}
        for run in self.summary.evals:
            whom = run.address or run.model or KNOWN_AFTER_APPLY
            groups.setdefault(run.eval.name, []).append(whom if run.step is None else f"{whom} step {run.step}")
            samples[run.eval.name] = samples.get(run.eval.name, 0) + run.samples
        for name, asked in groups.items():
            if self.full or len(asked) == 1:
                each = count(samples[name] // len(asked), "sample")
                yield from (self._line("*", f"{name} on {model}", each, "(not evaluated)") for model in asked)
            else:
                yield self._line("*", name, f"{count(len(asked), 'model')}, {count(samples[name], 'sample')}", "(not evaluated)")
        failed = [
            self._line("!", f"{one.eval.name} on {one.address or one.record.model}", "eval failed", "(again with --retry-failed)")
            for one in self.summary.failed_evals
        ]
        yield from self._limited(failed, "failed evals")

    def _running(self) -> Iterator[str]:
        if not self.summary.running:
            return
        if self.full or len(self.summary.running) == 1:
            for one in self.summary.running:
                yield self._line(
                    ">", one.job.address, one.record.last.raw_status or one.record.status.value, one.record.last.engine_job_id or ""
                )
        else:
            yield self._line(
                ">", f"{len(self.summary.running):,} running", self._experiments(one.job.experiment for one in self.summary.running)
            )

    def _failed(self, one: KeepJob) -> str:
        if one.reason is Reason.RETIRED:
            return self._line("!", one.job.address, "(retired: the engine no longer serves its model)")
        error = one.record.last.error
        said = f"{reason_text(one.reason)}: {error_text(error.code, error.message)}" if error else reason_text(one.reason)
        return self._line("!", one.job.address, said, "(again with --retry-failed)")

    def _waiting(self, one: WaitJob) -> str:
        if one.reason is Reason.IN_DOUBT:
            since = one.record.last.unsettled_since or one.record.last.intent_at if one.record else None
            return self._line(
                "?",
                one.job.address,
                f"in doubt since {time_text(since)}" if since else "in doubt",
                "(nothing is bought until it is settled)",
            )
        because = f": {printable(one.because)}" if one.because else ""
        return self._line("!", one.job.address, f"not launched ({reason_text(one.reason)}{because})")

    def _relabelled(self) -> Iterator[str]:
        groups: dict[tuple[str, tuple[str, ...]], list[KeepJob]] = {}
        for one in self.summary.relabelled:
            groups.setdefault((one.job.experiment, tuple(change.field for change in one.relabelled)), []).append(one)
        for (experiment, fields), group in groups.items():
            if len(group) > 2 and not self.full:
                yield self._line("=", f"{experiment}: {count(len(group), 'job')}", f"(new {', '.join(fields)}; same models)")
                yield self._detail("for example " + change_text(group[0].relabelled[0]))
                continue
            for one in group:
                yield self._line("=", one.job.address, "(new label, same model)")
                for change in one.relabelled:
                    yield self._detail(change_text(change), place_text(change))

    def _forgotten(self) -> Iterator[str]:
        addresses = [one.record.address for one in self.summary.forgotten]
        if self.full or len(addresses) <= 2:
            for one in self.summary.forgotten:
                doubt = ", in doubt" if one.record.in_doubt else ""
                yield self._line("-", one.record.address, f"(not in spec{doubt}; record and model stay)")
        else:
            experiments = self._experiments(address.partition("/")[0] for address in addresses)
            yield self._line("-", f"{len(addresses):,} recorded jobs", experiments, "(not in spec; records and models stay)")

    def _kept(self) -> Iterator[str]:
        if self.full:
            for one in sorted(self.summary.kept, key=lambda one: natural(one.job.address)):
                yield self._line(".", one.job.address, printable(one.record.model or ""), f"({reason_text(one.reason)})")
        elif self.summary.kept:
            by_experiment = self.summary.kept_by_experiment()
            names = ", ".join(f"{printable(name)} {number:,}" for name, number in sorted(by_experiment.items())[:5])
            more = len(by_experiment) - 5
            yield self._line(
                ".", f"{len(self.summary.kept):,} reused", names + (f" and {count(more, 'experiment')} more" if more > 0 else "")
            )

    def _experiments(self, names: Iterable[str]) -> str:
        found = sorted(set(names))
        shown = ", ".join(printable(name) for name in found[:3])
        return shown + (f" and {len(found) - 3:,} more" if len(found) > 3 else "")

    # The end

    def footer(self) -> Iterator[str]:
        """Yield the lines that sum up."""
        yield self._sum("Plan", counts_text(self.summary))
        if self.summary.all_launches or self.summary.evals:
            if self.summary.all_launches:
                yield self._sum("Tokens", tokens_text(self.plan.cost) + (" trained" if self.plan.cost.tokens is not None else ""))
            yield self._sum("Cost", total_cost_text(self.plan))
        if self.plan.verdicts and (self.summary.all_launches or not all(one.ok for one in self.plan.verdicts)):
            yield from self._policy()
        for quota in self.plan.quota:
            yield self._sum("Quota", quota_text(quota))
        shaped = options_text(self.plan)
        if shaped:
            yield self._sum("Options", shaped)
        if self.summary.doubts:
            yield self._sum("In doubt", "what is marked `?` may have been bought; `ftspec status` says how to settle it", "bad")

    def _policy(self) -> Iterator[str]:
        broken = [one for one in self.plan.verdicts if not one.ok]
        if not broken:
            yield self._sum("Policy", "ok (" + "; ".join(f"{one.rule}: {one.sentence}" for one in self.plan.verdicts) + ")", "good")
            return
        yield self._sum("Policy", "refused", "bad")
        for one in broken:
            yield self._filled(f"{one.rule}: {one.sentence}", first="  ", rest="    ")

    def _sum(self, label: str, text: str, role: Role = "strong") -> str:
        filled = self._filled(f"{label}: {text}", first="", rest="  ")
        return self.style(filled[: len(label) + 1], role) + filled[len(label) + 1 :]


def counts_text(summary: Summary) -> str:
    """Return `1 upload, 1 launch (1 changed), 0 reused.`, with everything else that is not zero."""
    launches, doubts = summary.all_launches, summary.doubts
    if not (launches or summary.uploads or summary.evals or summary.adopted or summary.relabelled):
        # Who reads nothing else shall not read that all is well.
        parts = [*([f"{doubts:,} in doubt", "nothing else to do"] if doubts else ["nothing to do"]), f"{summary.reused:,} reused"]
        doubts = 0
    else:
        parts = [
            count(len(summary.uploads), "upload"),
            count(len(launches), "launch", "launches") + _kinds(launches),
            f"{summary.reused:,} reused",
        ]
    rest = (
        (len(summary.adopted), "adopted"),
        (len(summary.evals), "evals" if len(summary.evals) != 1 else "eval"),
        (len(summary.relabelled), "relabelled"),
        (len(summary.failed), "failed"),
        (doubts, "in doubt"),
        (len(summary.waiting) - summary.doubts, "waiting"),
        (len(summary.forgotten), "not in spec"),
    )
    return ", ".join(parts + [f"{number:,} {what}" for number, what in rest if number]) + "."


def _kinds(launches: Sequence[LaunchJob]) -> str:
    retried = sum(launch.reason in {Reason.RETRY_FAILED, Reason.RETRY_CANCELLED} for launch in launches)
    replaced = sum(launch.reason is Reason.REPLACE_REQUESTED for launch in launches)
    changed = sum(launch.replaces is not None for launch in launches) - replaced
    kinds = [f"{number:,} {what}" for number, what in ((changed, "changed"), (replaced, "replaced"), (retried, "retried")) if number]
    return f" ({', '.join(kinds)})" if kinds else ""


def total_cost_text(plan: Plan) -> str:
    """Return the money of a plan: a range with the date of its prices, and what is not known."""
    dated = f", prices of {plan.cost.price_date}" if plan.cost.price_date else ""
    if plan.cost.known:
        return cost_text(plan.cost) + dated
    known = known_part(plan.actions)
    text = "unknown"
    if known.high:
        text = f"at least {money(known.low or 0.0)} {known.currency}{dated}, the rest unknown"
    unknown = [one for one in plan.actions if isinstance(one, LaunchJob) and not one.cost.known]
    if not unknown:
        return f"{text} (no price for asking the evaluated models)"
    uncounted = sorted({f"`{one.job.train}`" for one in unknown if one.cost.tokens is None and one.job.method != "reinforcement"})
    if uncounted:
        return f"{text} (no token count for {_some(uncounted)})"
    return f"{text} (no price for {_some(sorted({_model_name(one) for one in unknown}))}; the spec's `prices:` can give one)"


def _model_name(launch: LaunchJob) -> str:
    return f"{launch.job.base_model or 'chained models'} on {launch.job.engine}"


def _some(names: Sequence[str]) -> str:
    return ", ".join(printable(name) for name in names[:3]) + (f" and {len(names) - 3:,} more" if len(names) > 3 else "")


def options_text(plan: Plan) -> str:
    """Return the options that shaped a plan, as they are typed."""
    parts = []
    for name, value in plan.options.items():
        flag = "--" + name.replace("_", "-")
        if isinstance(value, Mapping):
            values: Sequence[object] = [f"{one}={setting}" for one, setting in value.items()]
        else:
            values = value if isinstance(value, (list, tuple)) else [value]
        parts += [flag if one is True else f"{flag} {printable(str(one))}" for one in values]
    return " ".join(parts)
