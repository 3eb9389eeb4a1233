"""Templates of OpenAI's graders: `{{item.a.b}}` and `{{sample.output_text}}`, strict about what is missing.

A template is text with references. A reference names a namespace (`item`: the dataset row,
`sample`: what the model answered) and a path: members by name, list elements by number
(`item.choices.0.text` or `item.choices[0].text`). Text is inserted as it is, other values as
compact JSON. A member that does not exist, or is null, raises `MissingField`: a wrong
template must never be graded as a wrong answer.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from ftspec.printable import printable

if TYPE_CHECKING:
    from pydantic import GetCoreSchemaHandler
    from pydantic_core import CoreSchema

_REFERENCE = re.compile(r"\{\{(.*?)\}\}", re.DOTALL)
_PATH = re.compile(r"[A-Za-z_][\w-]*(?:\.[\w-]+|\[\d+\])*\Z")
_STEP = re.compile(r"[\w-]+")

SAMPLE_MEMBERS: Final = ("output_text", "output_json", "output_tools", "choices", "refusal", "finish_reason")
"""What `sample` holds, on every engine."""


class MissingField(Exception):
    """A reference of a template names something that this row or this answer does not have."""


class Reference:
    """One `{{...}}`: a namespace and the steps below it."""

    __slots__ = ("steps", "text")

    def __init__(self, text: str) -> None:
        self.text = text
        self.steps: tuple[str, ...] = tuple(_STEP.findall(text))

    def value(self, item: Mapping[str, Any], sample: Mapping[str, Any] | None) -> Any:
        """Return what the reference points at."""
        here: Any = item if self.steps[0] == "item" else sample
        for depth, step in enumerate(self.steps[1:], start=1):
            here = self._step(here, step, depth)
        if here is None:
            msg = f"`{self.text}` is null"
            raise MissingField(msg)
        return here

    def _step(self, here: Any, step: str, depth: int) -> Any:
        if isinstance(here, Mapping) and step in here:
            return here[step]
        if isinstance(here, Sequence) and not isinstance(here, str) and step.isdecimal() and int(step) < len(here):
            return here[int(step)]
        where = ".".join(self.steps[:depth])
        msg = "the output is not JSON" if (where, step) == ("sample", "output_json") else f"`{where}` has no `{step}`"
        raise MissingField(msg)


class Template:
    """Text with references, parsed once. `ValueError` where it is not one."""

    __slots__ = ("_parts", "text")

    def __init__(self, text: str) -> None:
        self.text = text
        self._parts: list[str | Reference] = []
        end = 0
        for match in _REFERENCE.finditer(text):
            self._parts += [_literal(text[end : match.start()]), _reference(match.group(1).strip())]
            end = match.end()
        self._parts.append(_literal(text[end:]))

    @property
    def references(self) -> tuple[Reference, ...]:
        """The references, in order."""
        return tuple(part for part in self._parts if isinstance(part, Reference))

    @property
    def whole(self) -> Reference | None:
        """The reference that is the entire text, if it is one: its value then keeps its type."""
        references = self.references
        return references[0] if len(references) == 1 and not any(part for part in self._parts if isinstance(part, str)) else None

    def fill(self, item: Mapping[str, Any], sample: Mapping[str, Any] | None) -> str:
        """Return the text with every reference replaced (`MissingField`)."""
        return "".join(part if isinstance(part, str) else as_text(part.value(item, sample)) for part in self._parts)

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """Let definitions hold templates: text on the outside, parsed inside."""
        from pydantic_core import core_schema

        del source, handler
        return core_schema.no_info_after_validator_function(
            cls,
            core_schema.str_schema(strict=True),
            serialization=core_schema.plain_serializer_function_ser_schema(lambda template: template.text),
        )


def as_text(value: Any) -> str:
    """Return a JSON value as text: strings as they are, the rest as compact JSON."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def fill_tree(tree: Any, item: Mapping[str, Any], sample: Mapping[str, Any] | None) -> Any:
    """Return a JSON tree with every text filled; a text that is one whole reference becomes its value."""
    match tree:
        case str():
            template = Template(tree)
            return template.whole.value(item, sample) if template.whole else template.fill(item, sample)
        case Mapping():
            return {key: fill_tree(value, item, sample) for key, value in tree.items()}
        case Sequence():
            return [fill_tree(value, item, sample) for value in tree]
        case _:
            return tree


def _literal(text: str) -> str:
    if "{{" in text:
        msg = "`{{` without `}}`"
        raise ValueError(msg)
    return text


def _reference(text: str) -> Reference:
    if not _PATH.match(text):
        msg = f"`{{{{{printable(text)}}}}}` is not a reference; write `{{{{item.field}}}}` or `{{{{sample.output_text}}}}`"
        raise ValueError(msg)
    reference = Reference(text)
    namespace, *path = reference.steps
    if namespace not in {"item", "sample"}:
        msg = f"`{{{{{text}}}}}`: the namespaces are `item` and `sample`, not `{namespace}`"
        raise ValueError(msg)
    if namespace == "sample" and (not path or path[0] not in SAMPLE_MEMBERS):
        msg = f"`{{{{{text}}}}}`: a sample has {', '.join(f'`{name}`' for name in SAMPLE_MEMBERS)}"
        raise ValueError(msg)
    return reference
