"""The grader definitions of the protocol, checked; and a small evaluator for the simple ones.

`checked_grader` judges the form of every type that the protocol knows. `grade` scores
`string_check`, `text_similarity` (`fuzzy_match`) and `multi`; a trainer may be given a fuller
one (`trainers.base.Grade`).
"""

from __future__ import annotations

import ast
import difflib
import json
import math
import operator
import re
from collections.abc import Callable, Mapping
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field

from ftspec.server.wire import ApiError, Body, checked

_TEMPLATE = re.compile(r"\{\{\s*([^{}]+?)\s*\}\}")


class _StringCheck(Body):
    type: Literal["string_check"]
    name: str = "string_check"
    input: str
    operation: Literal["eq", "ne", "like", "ilike"]
    reference: str


class _TextSimilarity(Body):
    type: Literal["text_similarity"]
    name: str = "text_similarity"
    input: str
    reference: str
    evaluation_metric: Literal[
        "cosine", "fuzzy_match", "bleu", "gleu", "meteor", "rouge_1", "rouge_2", "rouge_3", "rouge_4", "rouge_5", "rouge_l"
    ]
    pass_threshold: float | None = None


class _Python(Body):
    type: Literal["python"]
    name: str = "python"
    source: Annotated[str, Field(min_length=1)]
    image_tag: str | None = None
    function: str | None = None
    input: str | None = None
    reference: str | None = None
    pass_threshold: float | None = None


class _Judge(Body):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, protected_namespaces=())
    model: Annotated[str, Field(min_length=1)]
    input: Annotated[list[dict[str, Any]], Field(min_length=1)]
    sampling_params: dict[str, Any] | None = None


class _ScoreModel(_Judge):
    type: Literal["score_model"]
    name: str = "score_model"
    range: list[float] | None = None
    pass_threshold: float | None = None


class _LabelModel(_Judge):
    type: Literal["label_model"]
    name: str = "label_model"
    labels: list[str]
    passing_labels: list[str]


class _Multi(Body):
    type: Literal["multi"]
    name: str = "multi"
    calculate_output: Annotated[str, Field(min_length=1, max_length=2000)]
    graders: dict[str, Any]


_FORMS: dict[str, type[Body]] = {
    "string_check": _StringCheck,
    "text_similarity": _TextSimilarity,
    "python": _Python,
    "score_model": _ScoreModel,
    "label_model": _LabelModel,
    "multi": _Multi,
}


def checked_grader(value: Any, *, within: str = "grader") -> dict[str, Any]:
    """Return a grader definition with its name filled in, or refuse it."""
    if not isinstance(value, dict):
        raise ApiError(400, f"Invalid value for '{within}': expected an object.", param=within, code="invalid_type")
    kind = value.get("type")
    form = _FORMS.get(kind) if isinstance(kind, str) else None
    if form is None:
        message = f"Invalid value for '{within}.type': expected one of {', '.join(_FORMS)}."
        raise ApiError(400, message, param=f"{within}.type", code="invalid_value")
    checked(form, value, within=within)
    result = {"name": kind, **value}
    if kind == "multi":
        result["graders"] = _checked_parts(value["graders"], within=f"{within}.graders")
        _check_formula(value["calculate_output"], result["graders"], within=f"{within}.calculate_output")
    return result


def _checked_parts(parts: dict[str, Any], *, within: str) -> dict[str, Any]:
    """Check the graders of a `multi`: a map by name, or (as the SDK types it) a single one."""
    if isinstance(parts.get("type"), str):
        return checked_grader(parts, within=within)
    checked_parts = {}
    for name, part in parts.items():
        if isinstance(part, dict) and part.get("type") == "multi":
            raise ApiError(
                400, f"Invalid value for '{within}.{name}': multi graders do not nest.", param=f"{within}.{name}", code="invalid_value"
            )
        checked_parts[name] = checked_grader(part, within=f"{within}.{name}")
    return checked_parts


def graders_in(grader: Mapping[str, Any] | None) -> list[Mapping[str, Any]]:
    """Return a grader and those that it is made of; none where there is none."""
    if not grader:
        return []
    return [grader, *named_parts(grader).values()] if grader.get("graders") else [grader]


def named_parts(multi: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """Return the graders of a `multi` by name."""
    parts = multi["graders"]
    return {parts.get("name", parts["type"]): parts} if isinstance(parts.get("type"), str) else dict(parts)


def _check_formula(formula: str, parts: Mapping[str, Any], *, within: str) -> None:
    names = named_parts({"graders": parts})
    try:
        calculate(formula, dict.fromkeys(names, 1.0))
    except ValueError as error:
        raise ApiError(400, f"Invalid value for '{within}': {error}.", param=within, code="invalid_value") from None


_BINARY: dict[type[ast.operator], Callable[[float, float], float]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: lambda a, b: a / b if b else 0.0,
    ast.Pow: lambda a, b: a**b if abs(a) <= 1e6 and abs(b) <= 64 and (a >= 0 or b == int(b)) and (a or b >= 0) else 0.0,
}
_FUNCTIONS: dict[str, Callable[..., float]] = {
    "min": min,
    "max": max,
    "abs": abs,
    "floor": math.floor,
    "ceil": math.ceil,
    "exp": lambda x: math.exp(min(x, 700.0)),
    "sqrt": lambda x: math.sqrt(max(x, 0.0)),
    "log": lambda x: math.log(x) if x > 0 else 0.0,
}


def calculate(formula: str, values: Mapping[str, float]) -> float:
    """Return the value of an arithmetic formula over named numbers (`ValueError`: it is none)."""
    if len(formula) > 2000:
        msg = "the formula is too long"
        raise ValueError(msg)
    try:
        value = float(_value(ast.parse(formula.strip(), mode="eval").body, values))
    except (SyntaxError, TypeError, OverflowError, RecursionError, MemoryError):
        msg = "expected an arithmetic formula over the names of the graders"
        raise ValueError(msg) from None
    if not math.isfinite(value):
        msg = "the value of the formula is larger than any number"
        raise ValueError(msg)
    return value


def _value(node: ast.expr, values: Mapping[str, float]) -> float:
    match node:
        case ast.Constant(value=int() | float() as number) if not isinstance(number, bool):
            return float(number)
        case ast.Name(id=name) if name in values:
            return values[name]
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            return -_value(operand, values)
        case ast.UnaryOp(op=ast.UAdd(), operand=operand):
            return _value(operand, values)
        case ast.BinOp(left=left, op=op, right=right) if type(op) in _BINARY:
            return float(_BINARY[type(op)](_value(left, values), _value(right, values)))
        case ast.Call(func=ast.Name(id=name), args=arguments, keywords=[]) if name in _FUNCTIONS and arguments:
            return float(_FUNCTIONS[name](*(_value(argument, values) for argument in arguments)))
        case ast.Name(id=name):
            msg = f"there is no grader called '{name[:64]}'"
            raise ValueError(msg)
        case _:
            msg = "expected numbers, names of graders, + - * / ** and " + ", ".join(_FUNCTIONS)
            raise ValueError(msg)


def filled(template: str, sample: Mapping[str, Any], item: Mapping[str, Any]) -> str:
    """Return a template with its `{{ sample.* }}` and `{{ item.* }}` replaced (`ValueError`: there is no such member)."""

    def member(match: re.Match[str]) -> str:
        value: Any = {"sample": sample, "item": item}
        for part in match[1].split("."):
            if not isinstance(value, Mapping) or part not in value:
                msg = f"there is no '{match[1][:64]}'"
                raise ValueError(msg)
            value = value[part]
        return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)

    return _TEMPLATE.sub(member, template)


def grade(grader: Mapping[str, Any], sample: Mapping[str, Any], item: Mapping[str, Any], /) -> float:
    """Score a sample with one of the simple graders (`ValueError`: another type, or a template names what is not there)."""
    match grader["type"]:
        case "string_check":
            return _string_check(grader["operation"], filled(grader["input"], sample, item), filled(grader["reference"], sample, item))
        case "text_similarity" if grader["evaluation_metric"] == "fuzzy_match":
            left, right = filled(grader["input"], sample, item), filled(grader["reference"], sample, item)
            return difflib.SequenceMatcher(None, left, right, autojunk=False).ratio()
        case "multi":
            scores = {name: grade(part, sample, item) for name, part in named_parts(grader).items()}
            return calculate(grader["calculate_output"], scores)
        case kind:
            msg = f"this server cannot run graders of type '{kind}'" + (" with this metric" if kind == "text_similarity" else "")
            raise ValueError(msg)


def sample_of(text: str) -> dict[str, Any]:
    """Return the `sample` name space of grader templates for a model's text."""
    try:
        return {"output_text": text, "output_json": json.loads(text)}
    except (ValueError, RecursionError):
        return {"output_text": text}


def _string_check(operation: str, text: str, reference: str) -> float:
    match operation:
        case "eq":
            return float(text == reference)
        case "ne":
            return float(text != reference)
        case "like":
            return float(reference in text)
        case _:
            return float(reference.casefold() in text.casefold())
