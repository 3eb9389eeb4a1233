"""Rows of other tools' datasets, told by their members, with the command that makes rows of a format here out of them."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """What rows are called elsewhere, and the filter of `jq` that turns one into a row of a format here."""

    name: str
    fits: Callable[[Mapping[str, Any]], bool]
    into: str
    jq: str

    def command(self, path: str) -> str:
        """Return what to type for a file."""
        new = f"{path.removesuffix('.jsonl')}.{self.into}.jsonl"
        return f"jq -c '{self.jq}' {shlex.quote(path)} > {shlex.quote(new)}"


def shape_of(row: Mapping[str, Any]) -> Shape | None:
    """Return the shape that a row has, `None` where it is none that is known."""
    return next((shape for shape in SHAPES if shape.fits(row)), None)


def _texts(row: Mapping[str, Any], *keys: str) -> bool:
    return all(isinstance(row.get(key), str) for key in keys)


def _objects(row: Mapping[str, Any], key: str, *members: str) -> bool:
    """Whether a member is a list of objects that have these members."""
    given = row.get(key)
    return isinstance(given, list) and bool(given) and all(isinstance(one, dict) and one.keys() >= set(members) for one in given)


def _asked(question: str) -> str:
    return '[{role: "user", content: ' + question + "}]"


def _said(answer: str) -> str:
    return '[{role: "assistant", content: ' + answer + "}]"


def _with(more: str) -> str:
    """Return a question with what it is about in a paragraph below."""
    return f'([.instruction, .{more} // ""] | map(select(. != "")) | join("\\n\\n"))'


def _chat(question: str, answer: str) -> str:
    return f"{{messages: ({_asked(question)} + {_said(answer)})}}"


def _preference(asked: str, preferred: str, other: str) -> str:
    return f"{{input: {{messages: {asked}}}, preferred_output: {preferred}, non_preferred_output: {other}}}"


SHAPES = (
    Shape(
        name="Alpaca's (`instruction`, `input`, `output`)",
        fits=lambda row: _texts(row, "instruction", "output"),
        into="chat",
        jq=_chat(_with("input"), ".output"),
    ),
    Shape(
        name="Dolly's (`instruction`, `context`, `response`)",
        fits=lambda row: _texts(row, "instruction", "response"),
        into="chat",
        jq=_chat(_with("context"), ".response"),
    ),
    Shape(
        name="ShareGPT's (`conversations` of `from` and `value`)",
        fits=lambda row: _objects(row, "conversations", "from", "value"),
        into="chat",
        jq='{messages: [.conversations[] | {role: ({human: "user", gpt: "assistant"}[.from] // .from), content: .value}]}',
    ),
    Shape(
        name="Gemini's (`contents` of `role` and `parts`)",
        fits=lambda row: _objects(row, "contents", "role", "parts"),
        into="chat",
        jq='{messages: [.contents[] | {role: ({model: "assistant"}[.role] // .role), content: ([.parts[].text] | join(""))}]}',
    ),
    Shape(
        name="pairs of texts (`prompt`, `chosen`, `rejected`)",
        fits=lambda row: _texts(row, "prompt", "chosen", "rejected"),
        into="preference",
        jq=_preference(_asked(".prompt"), _said(".chosen"), _said(".rejected")),
    ),
    Shape(
        name="pairs of conversations (`chosen`, `rejected`)",
        fits=lambda row: _objects(row, "chosen", "role", "content") and _objects(row, "rejected", "role", "content"),
        into="preference",
        jq=_preference('((if (.prompt | type) == "array" then .prompt else [] end) + .chosen[:-1])', ".chosen[-1:]", ".rejected[-1:]"),
    ),
    Shape(
        name="questions with answers (`prompt`, `response`)",
        fits=lambda row: _texts(row, "prompt", "response"),
        into="chat",
        jq=_chat(".prompt", ".response"),
    ),
)
"""In the order in which they are tried."""
