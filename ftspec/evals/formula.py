"""Formulas: arithmetic over named numbers, without `eval`.

`calculate_output` of a `multi` grader and the two sides of a `require` gate are formulas:
numbers, names (dotted ones in gates), `+ - * / ^`, parentheses, and `min max abs floor ceil exp
sqrt log`. Values may be numpy arrays (a gate with `p` evaluates all its resamples at once).
"""

from __future__ import annotations

import ast
import math
import operator
from collections.abc import Callable, Mapping
from typing import Any, Final

from ftspec.diagnostics import FtspecError
from ftspec.printable import printable

_LONGEST: Final = 2000
_BINARY: Final[Mapping[type[ast.operator], Callable[[Any, Any], Any]]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.Pow: operator.pow,
}
_UNARY: Final[Mapping[type[ast.unaryop], Callable[[Any], Any]]] = {ast.USub: operator.neg, ast.UAdd: operator.pos}
_PLAIN: Final[Mapping[str, Callable[..., Any]]] = {
    "min": min,
    "max": max,
    "abs": abs,
    "floor": math.floor,
    "ceil": math.ceil,
    "exp": math.exp,
    "sqrt": math.sqrt,
    "log": math.log,
}
FUNCTIONS: Final = tuple(_PLAIN)


class FormulaError(FtspecError):
    """A formula is not one, or has no value for these numbers."""


class Formula:
    """A parsed formula. `names` are the variables it needs, in order of appearance."""

    __slots__ = ("_tree", "names", "text")

    def __init__(self, text: str) -> None:
        self.text = text
        self._tree = _parsed(text)
        self.names: tuple[str, ...] = tuple(dict.fromkeys(_names(self._tree)))

    def value(self, variables: Mapping[str, Any]) -> Any:
        """Return its value (`FormulaError`: a name is missing, or the arithmetic fails)."""
        try:
            return _value(self._tree, variables)
        except (ArithmeticError, ValueError, TypeError) as error:
            msg = f"`{self.text}` has no value here: {error}"
            raise FormulaError(msg) from None
        except KeyError as error:
            msg = f"`{self.text}` uses `{error.args[0]}`, which is not known here"
            raise FormulaError(msg) from None

    def number(self, variables: Mapping[str, float]) -> float:
        """Return its value as one finite number."""
        value = self.value(variables)
        if isinstance(value, complex) or not math.isfinite(value):
            msg = f"`{self.text}` is not a number here"
            raise FormulaError(msg)
        return float(value)


def _parsed(text: str) -> ast.expr:
    if len(text) > _LONGEST:
        msg = f"a formula has at most {_LONGEST} characters"
        raise FormulaError(msg)
    try:
        tree = ast.parse(text.strip().replace("^", "**"), mode="eval").body
        _check(tree)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        msg = f"`{printable(text)}` is not a formula; it may use numbers, names, + - * / ^, parentheses and {', '.join(FUNCTIONS)}"
        raise FormulaError(msg) from None
    return tree


def _check(node: ast.expr) -> None:
    match node:
        case ast.Constant(value=bool()):
            raise ValueError
        case ast.Constant(value=int() | float()) | ast.Name():
            return
        case ast.Attribute(value=inner):
            if dotted(inner) is None:
                raise ValueError
        case ast.BinOp(left=left, op=op, right=right) if type(op) in _BINARY:
            _check(left)
            _check(right)
        case ast.UnaryOp(op=op, operand=operand) if type(op) in _UNARY:
            _check(operand)
        case ast.Call(func=ast.Name(id=name), args=[_, *_] as args, keywords=[]) if name in FUNCTIONS:
            if (len(args) == 1) == (name in {"min", "max"}):
                raise ValueError
            for arg in args:
                _check(arg)
        case _:
            raise ValueError


def dotted(node: ast.expr) -> str | None:
    """Return `a.b.c` for such a node."""
    match node:
        case ast.Name(id=name):
            return name
        case ast.Attribute(value=inner, attr=attr):
            head = dotted(inner)
            return None if head is None else f"{head}.{attr}"
        case _:
            return None


def _names(node: ast.expr) -> list[str]:
    match node:
        case ast.Name() | ast.Attribute():
            return [dotted(node) or ""]
        case ast.BinOp(left=left, right=right):
            return _names(left) + _names(right)
        case ast.UnaryOp(operand=operand):
            return _names(operand)
        case ast.Call(args=args):
            return [name for arg in args for name in _names(arg)]
        case _:
            return []


def _value(node: ast.expr, variables: Mapping[str, Any]) -> Any:
    match node:
        case ast.Constant(value=value):
            return float(value)  # type: ignore[arg-type]  # `_check` saw that it is a number
        case ast.BinOp(left=left, op=op, right=right):
            return _BINARY[type(op)](_value(left, variables), _value(right, variables))
        case ast.UnaryOp(op=op, operand=operand):
            return _UNARY[type(op)](_value(operand, variables))
        case ast.Call(func=ast.Name(id=name), args=args):
            return _call(name, [_value(arg, variables) for arg in args])
        case _:
            return variables[dotted(node) or ""]


def _call(name: str, values: list[Any]) -> Any:
    if not any(hasattr(value, "shape") for value in values):
        return _PLAIN[name](*values)
    import numpy as np

    if name in {"min", "max"}:
        return (np.minimum if name == "min" else np.maximum).reduce(np.broadcast_arrays(*values))
    return getattr(np, name)(values[0])
