"""Python's builtins on values: abs, min, max, sum, round, pow, divmod, float, int, bool."""

from __future__ import annotations

import builtins
import functools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from gradc.errors import ShapeError, UnsupportedError
from gradc.ir.nodes import Value, current_builder
from gradc.ir.opdef import CALLS, OpDef, call
from gradc.ir.region import At
from gradc.ir.types import Array, is_inexact
from gradc.ops.elementary import pow as pow_op
from gradc.ops.elementwise import abs as abs_op
from gradc.ops.elementwise import as_bool, cast, floordiv, maximum, minimum, mod, rint
from gradc.ops.memory import load
from gradc.ops.reduce import sum as sum_op
from gradc.ops.rules import as_value, convert


def as_number(x: Any, what: str) -> Value:
    """x as a scalar; an array of one element (known to be one) gives it, as Python's conversions have it."""
    value = as_value(x)
    if isinstance(value.ty, Array):
        if any(s != 1 for s in value.shape):
            raise ShapeError(f"{what} takes a number or an array of one element")
        value = load(value, region=(At(0),) * value.rank)
    return value


@call(builtins.float)
def _float(x: Any = 0.0, /) -> Value:
    return convert(as_number(x, "float()"), "float64", weak=True)


@call(builtins.int)
def _int(x: Any = 0, /) -> Value:
    return convert(as_number(x, "int()"), "int64", weak=True)


@call(builtins.bool)
def _bool(x: Any = False, /) -> Value:
    return convert(as_bool(as_number(x, "bool()")), "bool", weak=True)


@call(builtins.abs)
def _abs(x: Any, /) -> Value:
    return abs_op(as_value(x))


@call(builtins.pow)
def _pow(base: Any, exp: Any, mod: Any = None) -> Value:
    if mod is not None:
        raise UnsupportedError("pow with three arguments", hint="write base**exp % mod")
    return pow_op(as_value(base), as_value(exp))


@call(builtins.divmod)
def _divmod(x: Any, y: Any, /) -> tuple[Value, Value]:
    x, y = as_value(x), as_value(y)
    return floordiv(x, y), mod(x, y)


@call(builtins.round)
def _round(number: Any, ndigits: Any = None) -> Value:
    x = as_value(number)
    if ndigits is not None or isinstance(x.ty, Array):
        return CALLS[np.round].build(x, 0 if ndigits is None else ndigits)
    return cast(rint(x), dtype="int64", weak=True) if is_inexact(x.ty) else x


def _extremum(name: str, pick: OpDef, over: Any) -> Callable[..., Value]:
    def build(*args: Any, key: Any = None, default: Any = None) -> Value:
        if key is not None or default is not None:
            raise UnsupportedError(f"{name}() with key= or default=")
        if len(args) == 1 and isinstance(args[0], Value):
            x = args[0]
            if x.rank != 1:
                raise ShapeError(f"{name}() of an array with {x.rank} axes", hint=f"write np.{name}(x)")
            return CALLS[over].build(x)
        items: Sequence[Any] = args[0] if len(args) == 1 else args
        if not items:
            raise ShapeError(f"{name}() of nothing")
        values = [as_value(v) for v in items]
        if any(v.rank for v in values):
            raise ShapeError(f"{name}() compares numbers, not arrays", hint=f"write np.{pick.name}(a, b)")
        return functools.reduce(pick, values)

    build.__name__ = name
    return build


call(builtins.max)(_extremum("max", maximum, np.max))
call(builtins.min)(_extremum("min", minimum, np.min))


@call(builtins.sum)
def _sum(iterable: Any, /, start: Any = 0) -> Value:
    builder = current_builder()
    if isinstance(iterable, Value):
        if not iterable.rank:
            raise ShapeError("sum() of a number")
        total: Value = sum_op(iterable, axes=(0,), keepdims=False)
        return total if start == 0 and not isinstance(start, Value) else start + total
    items = [as_value(v) for v in iterable]
    if not isinstance(start, Value) and start == 0 and items:
        return functools.reduce(lambda a, b: a + b, items)
    return functools.reduce(lambda a, b: a + b, items, builder.value(start))
