"""How judges are asked and how their answers are read.

The definition's messages are filled; then the last of them says which JSON object to answer
with, so that any chat model can judge, with or without structured output
(`sampling_params: {response_format: ...}` is passed on where an engine has it). An answer that
is not such an object is judge nonsense: an ungraded sample, counted and shown.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ftspec.evals.base import Context, ModelGrader, Problem
from ftspec.evals.template import Reference, Template, fill_tree

if TYPE_CHECKING:
    from ftspec.engines.base import ChatAnswer

_ROLES = ("system", "developer", "user", "assistant")
_SHOWN = 120


class JudgeNonsense(Exception):
    """The judge did not answer the question. The message is for people and holds no answer."""


def message_problems(path: str, messages: Sequence[Mapping[str, Any]]) -> Iterable[Problem]:
    """Return what is wrong with the `input` of a model grader."""
    if not messages:
        yield Problem(path, "is empty")
    for i, message in enumerate(messages):
        if message.get("role") not in _ROLES:
            yield Problem(f"{path}.{i}.role", f"must be one of {', '.join(f'`{role}`' for role in _ROLES)}")
        if unknown := set(message) - {"role", "content", "type"}:
            yield Problem(f"{path}.{i}", f"a message has no `{min(unknown)}`")
        try:
            _check_templates(message.get("content"))
        except ValueError as error:
            yield Problem(f"{path}.{i}.content", str(error))


def _check_templates(content: Any) -> None:
    match content:
        case str():
            Template(content)
        case {"type": "input_text" | "output_text" | "text", "text": str(text)}:
            Template(text)
        case {"type": "input_image", "image_url": str(url)}:
            Template(url)
        case [_, *_]:
            for part in content:
                _check_templates(part)
        case _:
            msg = "must be text, or parts of type `input_text`, `output_text` or `input_image`"
            raise ValueError(msg)


def message_references(messages: Sequence[Mapping[str, Any]]) -> tuple[Reference, ...]:
    """Return the references in the messages of a model grader."""
    return tuple(one for message in messages for text in _texts(message["content"]) for one in Template(text).references)


def _texts(content: Any) -> Iterable[str]:
    match content:
        case str():
            yield content
        case {"text": str(text)} | {"image_url": str(text)}:
            yield text
        case _:
            for part in content:
                yield from _texts(part)


def messages_for(
    given: Sequence[Mapping[str, Any]], question: str, item: Mapping[str, Any], sample: Mapping[str, Any]
) -> list[dict[str, Any]]:
    """Return the filled messages as chat completions take them, and the question after them."""
    filled = [{"role": message["role"], "content": _content(message["content"], item, sample)} for message in given]
    if filled and filled[-1]["role"] == "user" and isinstance(filled[-1]["content"], str):
        filled[-1]["content"] += f"\n\n{question}"  # many chat templates want the roles to alternate
        return filled
    return [*filled, {"role": "user", "content": question}]


def _content(content: Any, item: Mapping[str, Any], sample: Mapping[str, Any]) -> Any:
    match content:
        case str():
            return Template(content).fill(item, sample)
        case {"type": "input_image", "image_url": url}:
            detail = {"detail": content["detail"]} if "detail" in content else {}
            return {"type": "image_url", "image_url": {"url": fill_tree(url, item, sample), **detail}}
        case {"text": text}:
            return {"type": "text", "text": Template(text).fill(item, sample)}
        case _:
            parts = content if isinstance(content, list) else [content]
            return [_part(part, item, sample) for part in parts]


def _part(part: Any, item: Mapping[str, Any], sample: Mapping[str, Any]) -> Any:
    return {"type": "text", "text": Template(part).fill(item, sample)} if isinstance(part, str) else _content(part, item, sample)


async def ask_for_object(
    grader: ModelGrader, context: Context, messages: list[dict[str, Any]], sampling: Mapping[str, Any] | None
) -> dict[str, Any]:
    """Ask the judge and return the JSON object in its answer (`JudgeNonsense`)."""
    answer = await context.ask(grader, messages, **_sampling(sampling or {}))
    return object_in(answer)


def _sampling(params: Mapping[str, Any]) -> dict[str, Any]:
    """Return sampling parameters under the names of chat completions (the graders' own spelling differs)."""
    return {"max_completion_tokens" if name == "max_completions_tokens" else name: value for name, value in params.items()}


def object_in(answer: ChatAnswer) -> dict[str, Any]:
    """Return the last JSON object of an answer; judges often think aloud before it."""
    if answer.refusal:
        msg = "the judge refused"
        raise JudgeNonsense(msg)
    text = answer.text.strip()
    if not text:
        msg = "the judge answered nothing"
        raise JudgeNonsense(msg)
    decoder = json.JSONDecoder()
    found: dict[str, Any] | None = None
    at = text.find("{")
    while at >= 0:
        try:
            value, end = decoder.raw_decode(text, at)
        except ValueError:
            at = text.find("{", at + 1)
            continue
        found = value if isinstance(value, dict) else found
        at = text.find("{", end)
    if found is None:
        cut = " (cut off)" if answer.finish_reason == "length" else ""
        msg = f"the judge's answer holds no JSON object{cut}"
        raise JudgeNonsense(msg)
    return found


def shortened(text: Any) -> str:
    """Return a judge's reason on one short line."""
    line = " ".join(str(text).split())
    return line if len(line) <= _SHOWN else line[: _SHOWN - 1] + "…"
