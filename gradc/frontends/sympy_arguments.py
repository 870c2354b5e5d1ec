"""What arguments of `lambdify` take: symbols stand for numbers, nested tuples for vectors, matrix symbols for arrays.

This module imports SymPy, and is itself imported when an expression arrives.
"""

from __future__ import annotations

import keyword
import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import sympy
from sympy.core.function import AppliedUndef

from gradc.errors import UnsupportedError


@dataclass(frozen=True, slots=True)
class Number:
    """An argument that stands for a number: a symbol, or another expression that is taken as one."""

    symbol: Any


@dataclass(frozen=True, slots=True)
class Vector:
    """Numbers that come together, as a tuple, a list or an array."""

    items: tuple[Pattern, ...]


@dataclass(frozen=True, slots=True)
class Whole:
    """An argument that stands for an array: a MatrixSymbol, or an IndexedBase (whose shape is open)."""

    symbol: Any
    shape: tuple[int, ...] | None


Pattern: TypeAlias = "Number | Vector | Whole"


def pattern_of(arg: Any) -> Pattern:
    """What an argument of `lambdify` takes.

    Raises: UnsupportedError for what stands for no numbers.
    """
    if isinstance(arg, str):
        return Number(sympy.Symbol(arg))
    if isinstance(arg, tuple | list | sympy.Tuple):
        return Vector(tuple(pattern_of(item) for item in arg))
    if isinstance(arg, sympy.MatrixBase | sympy.NDimArray):
        nested = arg.tolist()
        if isinstance(arg, sympy.MatrixBase) and 1 in arg.shape:
            nested = list(arg)
        return pattern_of(nested)
    if isinstance(arg, sympy.MatrixSymbol):
        if not all(n.is_Integer for n in arg.shape):
            raise UnsupportedError(
                f"{arg} has the shape {arg.shape}", why="its elements are written out, so its sizes must be known.",
                hint="make it with numbers: MatrixSymbol('A', 3, 3).",
            )
        return Whole(arg, tuple(int(n) for n in arg.shape))
    if isinstance(arg, sympy.IndexedBase):
        shape = arg.shape
        known = shape is not None and all(n.is_Integer for n in shape)
        return Whole(arg, tuple(int(n) for n in shape) if known else None)
    if isinstance(arg, sympy.Symbol | AppliedUndef | sympy.Derivative | sympy.Indexed) or (
        isinstance(arg, sympy.Expr) and type(arg).__name__ == "MatrixElement"
    ):
        return Number(arg)
    raise UnsupportedError(
        f"{arg} cannot be an argument of an expression", why="arguments are symbols, and nested tuples of symbols.",
        hint="replace it by a symbol: expr.subs(…).",
    )


def with_symbol(arg: Any, expression: Any) -> Any:
    """The argument with names replaced by the symbols of the expression that are called so."""
    if isinstance(arg, tuple | list):
        return tuple(with_symbol(item, expression) for item in arg)
    if not isinstance(arg, str):
        return arg
    parts = _expressions(expression)
    return next((s for part in parts for s in part.free_symbols if str(s) == arg), sympy.Symbol(arg))


def _expressions(x: Any) -> Iterator[Any]:
    if isinstance(x, dict | tuple | list | np.ndarray):
        for item in x.values() if isinstance(x, dict) else x.ravel() if isinstance(x, np.ndarray) else x:
            yield from _expressions(item)
    elif hasattr(x, "free_symbols"):
        yield x


def check_distinct(patterns: Sequence[Pattern]) -> None:
    """Raises: UnsupportedError where a symbol is there twice."""
    seen: set[Any] = set()
    waiting = list(patterns)
    while waiting:
        pattern = waiting.pop()
        if isinstance(pattern, Vector):
            waiting += pattern.items
        elif pattern.symbol in seen:
            raise UnsupportedError(f"{pattern.symbol} is twice among the arguments")
        else:
            seen.add(pattern.symbol)


def argument_names(args: Sequence[Any]) -> list[str]:
    """A Python name for every argument: that of its symbol where it can be one, `q` for (q0, q1, q2)."""
    names: list[str] = []
    for k, arg in enumerate(args):
        if _is_nested(arg):
            stems = {re.sub(r"_?\d+(?=_d+$|$)", "", symbol_name(s)) for s in _flat(arg)}
            stem = stems.pop() if len(stems) == 1 else ""
            name = stem if stem.isidentifier() and not keyword.iskeyword(stem) else f"arg{k}"
        else:
            name = symbol_name(arg)
        while name in names:
            name += "_"
        names.append(name)
    return names


def symbol_name(arg: Any) -> str:
    """A Python name for a symbol: `theta` for theta(t), `theta_d` for its derivative."""
    if isinstance(arg, AppliedUndef):
        return identifier(str(arg.func))
    if isinstance(arg, sympy.Derivative) and isinstance(arg.expr, AppliedUndef):
        return f"{identifier(str(arg.expr.func))}_{'d' * sum(int(n) for _, n in arg.variable_count)}"
    return identifier(arg.name if isinstance(arg, sympy.Symbol) else str(arg))


def _is_nested(arg: Any) -> bool:
    return isinstance(arg, tuple | list | sympy.Tuple | sympy.MatrixBase | sympy.NDimArray)


def _flat(arg: Any) -> Iterator[Any]:
    if _is_nested(arg):
        for item in arg:
            yield from _flat(item)
    else:
        yield arg


def identifier(text: str) -> str:
    """A Python name like `text`: `lambda_` for lambda, `x_prime` for x', `x_1` for x_{1}."""
    text = unicodedata.normalize("NFKC", text)  # as Python does with names: a subscript is a digit
    name = re.sub(r"\W+", "_", text.replace("'", "_prime").replace("′", "_prime")).strip("_") or "arg"
    if not name.isidentifier():
        name = f"x{name}"
    return f"{name}_" if keyword.iskeyword(name) else name
