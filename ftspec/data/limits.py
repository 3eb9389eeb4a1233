"""What engines take: the ways of their messages, and the size of a file, from their profiles."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from ftspec.data.checks import all_codes
from ftspec.data.checks.base import Setting
from ftspec.data.formats import EVAL
from ftspec.diagnostics import Diagnostic, Place
from ftspec.printable import printable

if TYPE_CHECKING:
    from ftspec.actions import DatasetFacts
    from ftspec.profile import Profile

FEW = 50


def setting_for(profile: Profile | None, *, method: str | None = None, safety: bool = False) -> Setting:
    """Return what the row rules must know of an engine and of the method that rows are for."""
    data = profile.data if profile is not None else {}
    wanted = profile.methods.get(method) if profile is not None and method is not None else None
    made = Setting(safety=safety, wanted=wanted.dataset_format if wanted is not None else None)
    given = {name: data[name] for name in ("max_images", "max_image_bytes", "max_image_rows", "strict_tools") if name in data}
    if "roles" in data:
        given["roles"] = frozenset(data["roles"])
    return msgspec.structs.replace(made, **given)


def limits(
    facts: DatasetFacts,
    profile: Profile | None,
    *,
    use: str = "train",
    wanted_format: str | None = None,
    engine: str | None = None,
    at: Place | None = None,
) -> list[Diagnostic]:
    """Return what an engine does not take about a dataset part, used to `train` or for `validation`."""
    name = printable(engine or (profile.name if profile else "the engine"))
    at = at or Place(path=printable(facts.path or facts.ref))
    found: list[Diagnostic] = []

    def tell(code: str, message: str) -> None:
        rule = all_codes()[code]
        found.append(Diagnostic(code=code, severity=rule.severity, message=message, help=rule.help, at=at))

    least = (profile.min_rows if profile else 1) if use == "train" else 1
    data = profile.data if profile is not None else {}
    if not facts.rows:
        return []  # that there are no rows has been said
    if facts.rows < least:
        tell("too-few-rows", f"`{facts.ref}` has {rows_text(facts.rows)}, and `{name}` takes at least {least}")
    elif use == "train" and facts.rows < FEW:
        tell("few-rows", f"`{facts.ref}` has only {rows_text(facts.rows)}")
    if (most := data.get("max_rows")) is not None and facts.rows > most:
        tell("too-many-rows", f"`{facts.ref}` has {rows_text(facts.rows)}, and `{name}` takes at most {most}")
    if profile is not None and profile.max_file_bytes is not None and facts.bytes > profile.max_file_bytes:
        tell("file-too-large", f"`{facts.ref}` has {facts.bytes / 1e6:.0f} MB, and `{name}` takes {profile.max_file_bytes / 1e6:.0f} MB")
    if wanted_format is not None and facts.format != wanted_format:
        given = "of no training format" if facts.format == EVAL else facts.format
        tell("wrong-format", f"the rows of `{facts.ref}` are {given}, and the method wants {wanted_format}")
    return found


def rows_text(number: int) -> str:
    """Return a number of rows as people write it."""
    return "1 row" if number == 1 else f"{number:,} rows"
