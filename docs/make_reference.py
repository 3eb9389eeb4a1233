"""Write `docs/reference/` from the code: commands, spec, diagnostics, engines, exit codes.

    python docs/make_reference.py            write the pages
    python docs/make_reference.py --check    exit 1 when a page is not what the code says

`tests/docs/test_reference.py` holds pages and code together.
"""

from __future__ import annotations

import contextlib
import inspect
import json
import sys
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

FOLDER = Path(__file__).parent / "reference"
NOTE = "<!-- Written by docs/make_reference.py; change the code and run it again. -->"

EXIT_CODES = (
    (0, "done, or nothing to do"),
    (1, "an error; nothing was bought that is not recorded"),
    (2, "there are changes (only with `--detailed-exitcode`)"),
    (3, "a saved plan is stale, data changed since it was planned, or the lockfile is not what `--locked` wants"),
    (4, "partly done, or a launch is in doubt"),
    (5, "refused by the spec's policy, a budget, or an eval's `require`"),
    (6, "another process holds the lock on state; the message names it"),
    (7, "not approved"),
    (64, "usage: a wrong option, or a selector that names nothing"),
    (130, "interrupted (143: by SIGTERM)"),
)


def pages() -> dict[str, str]:
    """Return every page by file name."""
    return {
        "commands.md": "\n".join(commands()),
        "spec.md": "\n".join(spec()),
        "diagnostics.md": "\n".join(diagnostics()),
        "engines.md": "\n".join(engines()),
        "exit-codes.md": "\n".join(exit_codes()),
    }


def commands() -> Iterator[str]:
    """Yield the page of all commands: what each says with `--help`."""
    from ftspec.cli import group

    yield from ("# Commands", "", NOTE, "")
    yield from ("Exit codes are listed in [exit-codes.md](exit-codes.md).", "")
    yield from _command(group, "ftspec", None)


def _command(command: click.Command, name: str, parent: click.Context | None) -> Iterator[str]:
    context = click.Context(command, info_name=name.rpartition(" ")[2], parent=parent, terminal_width=96, max_content_width=96)
    text = "\n".join(line.rstrip() for line in command.get_help(context).split("\n"))
    yield from (f"## {name}", "", "```text", text, "```", "")
    if isinstance(command, click.Group):
        for sub in command.list_commands(context):
            found = command.get_command(context, sub)
            if found is not None and not found.hidden:
                yield from _command(found, f"{name} {sub}", context)


def spec() -> Iterator[str]:
    """Yield the page of all settings, from the JSON Schema."""
    from ftspec.spec.schema import json_schema

    schema = json_schema()
    yield from ("# The spec", "", NOTE, "")
    yield from ("`ftspec schema` prints the JSON Schema that this page is made from; editors show it while you type.", "")
    yield from _object(schema, "top level")
    for name, definition in sorted(schema.get("$defs", {}).items()):
        if definition.get("properties"):
            yield from _object(definition, name)


def _object(schema: Mapping[str, Any], title: str) -> Iterator[str]:
    yield from (f"## {title}", "")
    if schema.get("description"):
        yield from (_one_line(schema["description"]), "")
    yield from ("| setting | value | meaning |", "|---|---|---|")
    for name, member in schema.get("properties", {}).items():
        needed = " (required)" if name in schema.get("required", ()) else ""
        yield f"| `{name}`{needed} | {_type(member)} | {_one_line(member.get('description', ''))} |"
    yield ""


def _type(member: Mapping[str, Any]) -> str:
    if "$ref" in member:
        name = member["$ref"].rpartition("/")[2]
        return f"[{name}](#{name.lower()})"
    if "const" in member:
        return f"`{json.dumps(member['const'])}`"
    if "enum" in member:
        return ", ".join(f"`{one}`" for one in member["enum"])
    options = member.get("anyOf") or member.get("oneOf")
    if options:
        return " or ".join(dict.fromkeys(_type(one) for one in options if one.get("type") != "null"))
    kind = member.get("type", "anything")
    if kind == "array":
        return f"list of {_type(member.get('items', {}))}"
    if kind == "object":
        inner = member.get("additionalProperties")
        return f"map of {_type(inner)}" if isinstance(inner, dict) and inner else "map"
    return " or ".join(kind) if isinstance(kind, list) else str(kind)


def _one_line(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def diagnostics() -> Iterator[str]:
    """Yield the page of every code: what, why, how to put it right."""
    yield from ("# Diagnostics", "", NOTE, "")
    yield from ("What `validate`, `plan` and `data check` can say. Errors stop a command, warnings and notes do not.", "")
    for title, package in (
        ("Specs", "spec"),
        ("Data", "data"),
        ("Plans", "planner"),
        ("State and lockfile", "state"),
        ("Evals", "evals"),
        ("Local engines", "pipeline"),
    ):
        yield from (f"## {title}", "")
        for code, text in sorted(codes_of(package).items()):
            yield from (f"### {code}", "", text.strip(), "")


def codes_of(package: str) -> dict[str, str]:
    """Return the pages of a package's codes: those of `codes.py`, and those of checks of rows."""
    found: dict[str, str] = {}
    with contextlib.suppress(ModuleNotFoundError):
        found |= import_module(f"ftspec.{package}.codes").pages()
    if package == "data":
        from ftspec.data.checks import all_codes

        found |= {code: rule.__doc__ or "" for code, rule in all_codes().items()}
    return {code: inspect.cleandoc(text) for code, text in found.items()}


def engines() -> Iterator[str]:
    """Yield the page of all engine profiles."""
    from ftspec.engines.profiles import load_profiles

    yield from ("# Engines", "", NOTE, "")
    yield from ("What each engine type can do. What a profile lacks is an error before anything is bought.", "")
    profiles = load_profiles()
    for name in profiles:
        yield from _profile(profiles[name])


def _profile(profile: Any) -> Iterator[str]:
    yield from (f"## {profile.name}", "", f"{profile.title}.", "")
    yield from ("| | |", "|---|---|")
    facts = {
        "address": profile.base_url or ("in process" if profile.in_process else "`base_url` of its entry"),
        "key": f"`{profile.api_key_env}`" if profile.api_key_env else ("`api_key_env` of its entry" if profile.needs_key else "none"),
        "key may go to": ", ".join(f"`{one}`" for one in profile.origins) or "this machine, and origins you trust",
        "methods": ", ".join(profile.methods),
        "seeds": _yes(profile.seed),
        "suffix": f"up to {profile.suffix_max} characters" if profile.suffix_max else ("none" if profile.suffix_max == 0 else "any"),
        "validation file": _yes(profile.validation),
        "LoRA settings": _yes(profile.lora),
        "pause and resume": _yes(profile.pause),
        "rows": f"at least {profile.min_rows}",
        "takes jobs until": profile.ends,
        "before a model answers": profile.deployment,
    }
    yield from (f"| {name} | {value} |" for name, value in facts.items() if value)
    yield ""
    for method, one in profile.methods.items():
        names = ", ".join(f"`{name}`" for name in one.hyperparameters)
        yield from (f"- **{method}**: rows in format {one.dataset_format}; {names or 'no hyperparameters'}",)
    if profile.base_models:
        yield from ("", "| base model | takes jobs until | stops answering |", "|---|---|---|")
        yield from (f"| `{one.name}` | {one.until or ''} | {one.shutdown or ''} |" for one in profile.base_models)
    for note in profile.notes:
        yield from ("", _one_line(note))
    yield ""


def _yes(value: bool) -> str:  # noqa: FBT001 the one thing it says
    return "yes" if value else "no"


def exit_codes() -> Iterator[str]:
    """Yield the page of exit codes."""
    yield from ("# Exit codes", "", NOTE, "", "| code | meaning |", "|---|---|")
    yield from (f"| {code} | {meaning} |" for code, meaning in EXIT_CODES)
    yield ""


def main() -> int:
    """Write the pages, or compare them."""
    wrong = []
    FOLDER.mkdir(exist_ok=True)
    for name, text in pages().items():
        path = FOLDER / name
        if "--check" in sys.argv:
            if not path.exists() or path.read_text(encoding="utf-8") != text:
                wrong.append(name)
        else:
            path.write_text(text, encoding="utf-8")
    for name in wrong:
        sys.stderr.write(f"docs/reference/{name} is not what the code says: python docs/make_reference.py\n")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
