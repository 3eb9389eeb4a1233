"""The body of `POST /v1/chat/completions`: what it may hold, and what is passed to the trainer.

Members that cannot change the answer are accepted and dropped. Members that would change it
and are not ftspec's own business (`tools`, `response_format`, penalties, ...) are passed on in
`ChatRequest.options` unless they ask for nothing, so that a trainer honours or refuses them.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, field_validator

from ftspec.server.trainers.base import ChatRequest
from ftspec.server.wire import ApiError, Body, checked

_NEUTRAL: dict[str, tuple[Any, ...]] = {
    "response_format": ({"type": "text"},),
    "modalities": (["text"],),
    "tool_choice": ("none", "auto"),
    "function_call": ("none", "auto"),
    "frequency_penalty": (0, 0.0),
    "presence_penalty": (0, 0.0),
}


class _Message(Body):
    model_config = ConfigDict(extra="allow", strict=True, frozen=True)

    role: Literal["system", "developer", "user", "assistant", "tool", "function"]
    content: str | list[dict[str, Any]] | None = None


class _StreamOptions(Body):
    include_usage: bool = False
    include_obfuscation: bool | None = None


class _Chat(Body):
    model: Annotated[str, Field(min_length=1, max_length=512)]
    messages: Annotated[list[_Message], Field(min_length=1)]
    stream: bool | None = None
    stream_options: _StreamOptions | None = None
    n: Annotated[int, Field(ge=1, le=128)] | None = None
    stop: str | list[str] | None = None
    max_tokens: Annotated[int, Field(ge=1)] | None = None
    max_completion_tokens: Annotated[int, Field(ge=1)] | None = None
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    top_p: Annotated[float, Field(ge=0, le=1)] | None = None
    seed: Annotated[int, Field(ge=-(2**63), le=2**63 - 1)] | None = None
    logprobs: bool | None = None
    top_logprobs: Annotated[int, Field(ge=0, le=20)] | None = None
    tools: list[dict[str, Any]] | None = None
    tool_choice: str | dict[str, Any] | None = None
    functions: list[dict[str, Any]] | None = None
    function_call: str | dict[str, Any] | None = None
    response_format: dict[str, Any] | None = None
    frequency_penalty: Annotated[float, Field(ge=-2, le=2)] | None = None
    presence_penalty: Annotated[float, Field(ge=-2, le=2)] | None = None
    logit_bias: dict[str, float] | None = None
    modalities: list[str] | None = None
    audio: dict[str, Any] | None = None
    prediction: dict[str, Any] | None = None
    reasoning_effort: str | None = None
    verbosity: str | None = None
    web_search_options: dict[str, Any] | None = None
    # these say nothing about the answer
    user: str | None = None
    safety_identifier: str | None = None
    prompt_cache_key: str | None = None
    prompt_cache_retention: str | None = None
    store: bool | None = None
    metadata: dict[str, str] | None = None
    service_tier: str | None = None
    parallel_tool_calls: bool | None = None

    @field_validator("stop")
    @classmethod
    def _few_stops(cls, stop: str | list[str] | None) -> str | list[str] | None:
        if isinstance(stop, list) and (len(stop) > 4 or not all(stop)):
            msg = "expected at most 4 sequences, none of them empty"
            raise ValueError(msg)
        return stop


_PASSED_ON = (
    "tool_choice",
    "functions",
    "function_call",
    "response_format",
    "frequency_penalty",
    "presence_penalty",
    "logit_bias",
    "modalities",
    "audio",
    "prediction",
    "reasoning_effort",
    "verbosity",
    "web_search_options",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Chat:
    """A checked request: one `ChatRequest` for each of `n` answers."""

    model: str
    n: int
    stream: bool
    include_usage: bool
    base: ChatRequest

    def requests(self) -> list[ChatRequest]:
        """Return what to ask the trainer: a given seed gives every answer its own."""
        seed = self.base.seed
        return [replace(self.base, seed=None if seed is None else seed + index) for index in range(self.n)]


def parse(body: dict[str, Any]) -> Chat:
    """Return the request that a body holds, or refuse it."""
    chat = checked(_Chat, body)
    if chat.max_tokens is not None and chat.max_completion_tokens is not None:
        raise ApiError(400, "Give 'max_tokens' or 'max_completion_tokens', not both.", param="max_tokens", code="invalid_value")
    if chat.top_logprobs is not None and not chat.logprobs:
        raise ApiError(400, "'top_logprobs' needs 'logprobs': true.", param="top_logprobs", code="invalid_value")
    if chat.stream_options is not None and not chat.stream:
        raise ApiError(400, "'stream_options' needs 'stream': true.", param="stream_options", code="invalid_value")
    options = {name: value for name in _PASSED_ON if (value := getattr(chat, name)) and value not in _NEUTRAL.get(name, ())}
    return Chat(
        model=chat.model,
        n=chat.n or 1,
        stream=bool(chat.stream),
        include_usage=bool(chat.stream_options and chat.stream_options.include_usage),
        base=ChatRequest(
            messages=[message.model_dump(exclude_unset=True) for message in chat.messages],
            temperature=1.0 if chat.temperature is None else float(chat.temperature),
            top_p=1.0 if chat.top_p is None else float(chat.top_p),
            max_tokens=chat.max_completion_tokens or chat.max_tokens,
            seed=chat.seed,
            stop=[chat.stop] if isinstance(chat.stop, str) and chat.stop else [s for s in chat.stop or () if chat.stop],
            top_logprobs=(chat.top_logprobs or 0) if chat.logprobs else None,
            tools=chat.tools or [],
            options=options,
        ),
    )
