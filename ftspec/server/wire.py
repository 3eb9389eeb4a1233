"""The protocol's forms: errors, request bodies, identifiers and pages.

Every refusal is an `ApiError`, which becomes OpenAI's `{"error": {message, type, param, code}}`.
Bodies are read by pydantic models in strict mode; the first problem found is the answer.
"""

from __future__ import annotations

import json
import math
import secrets
import string
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from starlette.requests import Request

    from ftspec.server.trainers.base import Problem

MAX_JSON_BYTES = 16 * 1024 * 1024
_ALPHABET = string.ascii_letters + string.digits

Json = dict[str, Any]


class ApiError(HTTPException):
    """A refusal in the protocol's own form."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        param: str | None = None,
        code: str | None = None,
        type: str = "invalid_request_error",  # noqa: A002 the protocol's own name
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(status, message, headers=headers)
        self.body = {"error": {"message": message, "type": type, "param": param, "code": code}}

    def response(self) -> JSONResponse:
        """Return the answer that says it."""
        return JSONResponse(self.body, status_code=self.status_code, headers=dict(self.headers or {}))

    @classmethod
    def of(cls, problem: Problem) -> ApiError:
        """Return the answer that says what a trainer said."""
        kind = "server_error" if problem.status >= 500 else "invalid_request_error"
        return cls(problem.status, problem.message, param=problem.param, code=problem.code, type=kind)


class Body(BaseModel):
    """A request body or a part of one: unknown members are refused, nothing is converted."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


B = TypeVar("B", bound=BaseModel)
T = TypeVar("T")


async def read_json(request: Request) -> Json:
    """Return the JSON object in the body; a missing body is an empty one."""
    raw = bytearray()
    async for chunk in request.stream():
        raw += chunk
        if len(raw) > MAX_JSON_BYTES:
            raise ApiError(413, f"The request body is larger than {MAX_JSON_BYTES} bytes.", code="request_too_large")
    if not raw:
        return {}
    try:
        value = json.loads(raw.decode(), parse_constant=_no_constant, parse_float=_finite)
    except (ValueError, RecursionError):
        raise ApiError(400, "We could not parse the JSON body of your request: it is not valid JSON.", code="invalid_json") from None
    if not isinstance(value, dict):
        raise ApiError(400, "The body of the request must be a JSON object.", code="invalid_json")
    if half_characters(raw, value):
        raise ApiError(400, "The body of the request holds half of a surrogate pair, which is no character.", code="invalid_json")
    return value


def half_characters(raw: bytes | bytearray, value: Any) -> bool:
    """Whether JSON that was read from `raw` holds half of a surrogate pair: no answer could repeat it."""
    if b"\\ud" not in raw.lower():
        return False
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return True
    return False


def _no_constant(name: str) -> Any:
    raise ValueError(name)


def _finite(text: str) -> float:
    """Return a number of a body; `1e400` reads as infinity, which no answer could repeat."""
    number = float(text)
    return number if math.isfinite(number) else _no_constant(text)


def checked(model: type[B], value: Any, *, within: str = "") -> B:
    """Return `value` as `model`, or refuse it with the first problem that was found."""
    try:
        return model.model_validate(value)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
    raise _refusal(first, within)


_CODES = {"missing": "missing_required_parameter", "extra_forbidden": "unknown_parameter", "value_error": "invalid_value"}


def _refusal(problem: Any, within: str) -> ApiError:
    kind: str = problem["type"]
    param = ".".join(str(part) for part in (within, *problem["loc"]) if part != "")
    if kind == "missing":
        message = f"Missing required parameter: '{param}'."
    elif kind == "extra_forbidden":
        message = f"Unrecognized request argument supplied: {param}"
    else:
        reason = problem["msg"].removeprefix("Value error, ")
        message = f"Invalid value for '{param}': {reason[0].lower()}{reason[1:]}." if param else f"{reason}."
    code = _CODES.get(kind, "invalid_type" if kind.endswith("_type") else "invalid_value")
    return ApiError(400, message, param=param or None, code=code)


def new_id(prefix: str) -> str:
    """Return an identifier that nobody else has: `prefix` and 24 letters or digits."""
    return prefix + "".join(secrets.choice(_ALPHABET) for _ in range(24))


def query_int(request: Request, name: str, *, default: int, low: int, high: int) -> int:
    """Return a whole number of the query string."""
    text = request.query_params.get(name)
    if text is None:
        return default
    if not text.isascii() or not text.isdigit() or not low <= int(text[:12]) <= high:
        raise ApiError(400, f"Invalid value for '{name}': expected a whole number from {low} to {high}.", param=name, code="invalid_value")
    return int(text)


def page_after(items: Sequence[T], *, after: str | None, limit: int, key: Callable[[T], str]) -> tuple[Sequence[T], bool]:
    """Return up to `limit` of the items that follow the one called `after`, and whether more follow."""
    start = 0
    if after is not None:
        start = next((i + 1 for i, item in enumerate(items) if key(item) == after), -1)
        if start < 0:
            raise ApiError(
                400, f"Invalid value for 'after': there is no '{after[:64]}' in this list.", param="after", code="invalid_cursor"
            )
    return items[start : start + limit], len(items) > start + limit


def listing(data: Iterable[Json], *, has_more: bool) -> Json:
    """Return a list object of the protocol."""
    rows = list(data)
    return {
        "object": "list",
        "data": rows,
        "first_id": rows[0]["id"] if rows else None,
        "last_id": rows[-1]["id"] if rows else None,
        "has_more": has_more,
    }
