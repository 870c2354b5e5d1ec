"""Functions of Python's `math` that are made of others. They give Python floats."""

from __future__ import annotations

import functools
import math
from typing import Any

import numpy as np

from gradc.errors import ShapeError
from gradc.ir.nodes import Value, current_builder
from gradc.ir.opdef import CALLS, call
from gradc.ops.elementary import exp2, hypot
from gradc.ops.elementwise import (
    abs,
    copysign,
    eq,
    isfinite,
    isinf,
    isnan,
    le,
    logical_and,
    logical_or,
    maximum,
    rint,
    trunc,
    where,
)
from gradc.ops.rules import as_value, convert, python_float, strong


def _float(x: Any, target: Any) -> Value:
    return python_float(as_value(x), target)


def _weak(x: Value) -> Value:
    return convert(x, "float64", weak=True)


@call(math.radians)
def _radians(x: Any, /) -> Value:
    return _float(x, math.radians) * (math.pi / 180.0)


@call(math.degrees)
def _degrees(x: Any, /) -> Value:
    return _float(x, math.degrees) * (180.0 / math.pi)


@call(math.hypot)
def _hypot(*coordinates: Any) -> Value:
    values = [_float(c, math.hypot) for c in coordinates]
    if not values:
        return current_builder().const(0.0)
    return _length(values)


def _length(values: list[Value]) -> Value:
    """The Euclidean length of a vector of numbers."""
    builder = current_builder()
    if len(values) == 1:
        return abs(values[0])
    return functools.reduce(lambda s, v: builder.add(hypot, (s, v), {}, weak=True), values)


@call(math.dist)
def _dist(p: Any, q: Any, /) -> Value:
    if isinstance(p, list | tuple) and isinstance(q, list | tuple):
        if len(p) != len(q):
            raise ShapeError("both points must have the same number of dimensions")
        pairs = zip(p, q, strict=True)
        return _length([_float(a, math.dist) - _float(b, math.dist) for a, b in pairs]) if p else as_value(0.0)
    away = strong(p) - strong(q)
    return _weak(convert(CALLS[np.sqrt].build(CALLS[np.sum].build(away * away)), "float64"))


@call(math.prod)
def _prod(iterable: Any, /, *, start: Any = 1) -> Value:
    if isinstance(iterable, list | tuple):
        made: Value = functools.reduce(lambda s, v: s * v, [as_value(v) for v in iterable], as_value(start))
        return made
    total: Value = CALLS[np.prod].build(iterable, 0)
    return total if isinstance(start, int) and start == 1 else as_value(start) * total


@call(math.fsum)
def _fsum(seq: Any, /) -> Value:
    if isinstance(seq, list | tuple):
        return functools.reduce(lambda s, v: s + v, [_float(v, math.fsum) for v in seq], as_value(0.0))
    return _weak(CALLS[np.sum].build(convert(as_value(seq), "float64")))


if hasattr(math, "sumprod"):  # since Python 3.12

    @call(math.sumprod)
    def _sumprod(p: Any, q: Any, /) -> Value:
        if isinstance(p, list | tuple) and isinstance(q, list | tuple):
            pairs = [as_value(a) * as_value(b) for a, b in zip(p, q, strict=True)]
            return functools.reduce(lambda s, v: s + v, pairs, as_value(0))
        return CALLS[np.dot].build(p, q)


@call(math.remainder)
def _remainder(x: Any, y: Any, /) -> Value:
    a, b = _float(x, math.remainder), _float(y, math.remainder)
    return where(logical_and(isinf(b), isfinite(a)), a, a - rint(a / b) * b)


@call(math.ldexp)
def _ldexp(x: Any, i: Any, /) -> Value:
    return _float(x, math.ldexp) * _weak(exp2(convert(as_value(i), "float64", weak=True)))


def parts_of_number(x: Value) -> tuple[Value, Value]:
    """The fractional and the whole part, both with the sign of x."""
    whole = trunc(x)
    rest = where(isinf(x), 0.0, x - where(isinf(x), 0.0, whole))
    return where(isnan(x), x, copysign(rest, x)), whole


@call(math.modf)
def _modf(x: Any, /) -> tuple[Value, Value]:
    rest, whole = parts_of_number(_float(x, math.modf))
    return _weak(rest), _weak(whole)


@call(np.modf)
def _numpy_modf(x: Any, /) -> tuple[Value, Value]:
    value = strong(x)
    return parts_of_number(value if np.dtype(value.dtype).kind == "f" else convert(value, "float64"))


@call(np.ldexp)
def _numpy_ldexp(x1: Any, x2: Any, /) -> Value:
    value = strong(x1)
    value = value if np.dtype(value.dtype).kind == "f" else convert(value, "float64")
    return value * exp2(convert(as_value(x2), value.dtype))


@call(np.divmod)
def _numpy_divmod(x1: Any, x2: Any, /) -> tuple[Value, Value]:
    return CALLS[np.floor_divide].build(x1, x2), CALLS[np.mod].build(x1, x2)


@call(math.isclose)
def _isclose(a: Any, b: Any, /, *, rel_tol: Any = 1e-09, abs_tol: Any = 0.0) -> Value:
    x, y = _float(a, math.isclose), _float(b, math.isclose)
    near = le(abs(x - y), maximum(as_value(rel_tol) * maximum(abs(x), abs(y)), as_value(abs_tol)))
    return convert(logical_or(eq(x, y), logical_and(logical_and(isfinite(x), isfinite(y)), near)), "bool", weak=True)
