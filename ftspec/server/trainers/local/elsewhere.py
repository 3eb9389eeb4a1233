"""Chats answered by another server of the protocol (`serve_url`): vLLM, or anything alike.

Bases and adapters are asked for by their names; no key is sent, and no redirect followed. What the
other server counted, called and refused is passed on as it said it.
"""

from __future__ import annotations

import http.client
import json
import urllib.error
import urllib.request
from typing import TYPE_CHECKING, Any

from ftspec.printable import printable
from ftspec.server.trainers.base import ChatToken, Completion, Problem, TrainerRefusal

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator, Mapping

    from ftspec.server.trainers.base import ChatRequest, ModelSource

_SECONDS = 600
_FINISHES = ("stop", "length", "tool_calls", "content_filter")
_PASSED_ON = (400, 404, 413, 422, 429)
"""Refusals that are about the request, whoever makes them."""


def ask_elsewhere(url: str, source: ModelSource, request: ChatRequest) -> Completion:
    """Return an answer of the server at `url`."""
    body: dict[str, Any] = {
        "model": source.name,
        "messages": [dict(message) for message in request.messages],
        "temperature": request.temperature,
        "top_p": request.top_p,
        "stream": True,
        "stream_options": {"include_usage": True},
        **({"max_tokens": request.max_tokens} if request.max_tokens else {}),
        **({"seed": request.seed} if request.seed is not None else {}),
        **({"stop": list(request.stop)} if request.stop else {}),
        **({"tools": [dict(tool) for tool in request.tools]} if request.tools else {}),
        **({"logprobs": True, "top_logprobs": request.top_logprobs} if request.top_logprobs is not None else {}),
        **request.options,
    }
    post = urllib.request.Request(  # noqa: S310 the settings allow http and https only
        f"{url}/chat/completions", data=json.dumps(body).encode(), headers={"content-type": "application/json"}
    )
    try:
        response = _OPENER.open(post, timeout=_SECONDS)
    except urllib.error.HTTPError as error:
        with error:
            raise _refused(error.code, error.read(65536)) from None
    except (OSError, http.client.HTTPException) as error:
        raise _broken("serve_url_unreachable", f"does not answer ({type(error).__name__})") from None
    return Completion(prompt_tokens=0, fingerprint=f"fp_{source.name}"[:64], tokens=_tokens(response))


def _refused(status: int, body: bytes) -> TrainerRefusal:
    try:
        error = json.loads(body)["error"]
        said = printable(str(error["message"]))[:500]
        param, code = (error[name] if isinstance(error.get(name), str) else None for name in ("param", "code"))
    except (ValueError, KeyError, TypeError):
        said, param, code = "it did not say why", None, None
    message = f"The server behind `serve_url` refused ({status}): {said}"
    passed_on = status in _PASSED_ON
    return TrainerRefusal(Problem(message=message, param=param, code=code or "serve_url_refused", status=status if passed_on else 503))


def _broken(code: str, how: str) -> TrainerRefusal:
    return TrainerRefusal(Problem(message=f"The server behind `serve_url` {how}.", code=code, status=503))


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """A server that sends us elsewhere is not the one that was configured."""

    def redirect_request(self, *_: Any, **__: Any) -> None:
        """Follow nothing."""


_OPENER = urllib.request.build_opener(_NoRedirects, urllib.request.ProxyHandler({}))


def _tokens(response: Any) -> Generator[ChatToken, None, None]:
    """Yield an answer as it arrives; one that breaks off is no answer."""
    finish, usage = None, None
    try:
        with response:
            for frame in _frames(response):
                for choice in frame.get("choices") or ():
                    yield from _pieces(choice)
                    finish = choice.get("finish_reason") or finish
                if counted := frame.get("usage"):
                    usage = (int(counted["prompt_tokens"]), int(counted["completion_tokens"]))
    except (OSError, http.client.HTTPException, ValueError, KeyError, TypeError, AttributeError):
        finish = None
    if finish is None:
        raise _broken("serve_url_broke_off", "broke off in the middle of its answer")
    yield ChatToken(text="", finish=finish if finish in _FINISHES else "stop", usage=usage)


def _frames(response: Any) -> Iterator[dict[str, Any]]:
    """Yield the events of a stream; a server that streams nothing has one."""
    if response.headers.get_content_type() == "application/json":
        yield json.loads(response.read())
        return
    for line in response:
        content = line.removeprefix(b"data:").strip()
        if line.startswith(b"data:") and content != b"[DONE]":
            yield json.loads(content)


def _pieces(choice: Mapping[str, Any]) -> Iterator[ChatToken]:
    said = choice.get("delta") or choice.get("message") or {}
    text, calls = said.get("content") or "", said.get("tool_calls") or ()
    known = (choice.get("logprobs") or {}).get("content") or ()
    if calls or (text and not known):
        yield ChatToken(text=text, calls=[{"index": place, **call} for place, call in enumerate(calls)])
        text = ""
    apart = "".join(token["token"] for token in known) == text
    for place, token in enumerate(known):  # half characters may be spelled otherwise: the text is what it says it is
        top = [(one["token"], one["logprob"]) for one in token.get("top_logprobs") or ()]
        yield ChatToken(text=token["token"] if apart else text if place == 0 else "", logprob=token["logprob"], top=top)
