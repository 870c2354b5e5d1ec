"""Statistics made of reductions: variance, standard deviation, range, weighted mean."""

from __future__ import annotations

from typing import Any

import numpy as np

from gradc.errors import UnsupportedError
from gradc.ir.nodes import Value
from gradc.ir.opdef import call
from gradc.ir.types import Array, is_inexact
from gradc.ops.elementwise import root, square
from gradc.ops.reduce import count_over, max, mean, min, reduce_call, sum
from gradc.ops.rules import as_value, convert, dtype_name, normal_axes, write_out


def variance(a: Any, axis: Any, dtype: Any, ddof: Any, keepdims: Any) -> Value:
    """Mean squared distance from the mean, over n - ddof."""
    x = as_value(a)
    if dtype is not None:
        x = convert(x, dtype_name(dtype))
    if not is_inexact(x.ty):
        x = convert(x, "float64")
    if not isinstance(x.ty, Array):
        return x - x
    axes = normal_axes(axis, x.rank)
    away = x - mean(x, axes=axes, keepdims=True)
    squares = square(away)
    if isinstance(ddof, int | float) and ddof == 0:
        return mean(squares, axes=axes, keepdims=bool(keepdims))
    return sum(squares, axes=axes, keepdims=bool(keepdims)) / (count_over(x, axes) - ddof)


@call(np.var, method="var")
def _var_call(
    a: Any, axis: Any = None, dtype: Any = None, out: Any = None, ddof: Any = 0, keepdims: Any = False, *,
    where: Any = True, correction: Any = None,
) -> Value:
    if where is not True:
        raise UnsupportedError("np.var with where=", hint="write it with np.mean(..., where=mask)")
    result = variance(a, axis, dtype, ddof if correction is None else correction, keepdims)
    return result if out is None else write_out(result, out)


@call(np.std, method="std")
def _std_call(
    a: Any, axis: Any = None, dtype: Any = None, out: Any = None, ddof: Any = 0, keepdims: Any = False, *,
    where: Any = True, correction: Any = None,
) -> Value:
    if where is not True:
        raise UnsupportedError("np.std with where=", hint="write it with np.mean(..., where=mask)")
    result = root(variance(a, axis, dtype, ddof if correction is None else correction, keepdims))
    return result if out is None else write_out(result, out)


@call(np.ptp)
def _ptp_call(a: Any, axis: Any = None, out: Any = None, keepdims: Any = False) -> Value:
    result = reduce_call(max, a, axis, None, None, keepdims) - reduce_call(min, a, axis, None, None, keepdims)
    return result if out is None else write_out(result, out)


@call(np.average)
def _average_call(
    a: Any, axis: Any = None, weights: Any = None, returned: Any = False, *, keepdims: Any = False
) -> Any:
    x = as_value(a)
    if weights is None:
        result = reduce_call(mean, x, axis, None, None, keepdims)
        return (result, count_over(x, normal_axes(axis, x.rank))) if returned else result
    w = as_value(weights)
    if w.rank == 1 and x.rank > 1:
        from gradc.ir.region import FULL, NEWAXIS
        from gradc.ops.memory import make_index

        (place,) = normal_axes(axis, x.rank)
        w = make_index(w, tuple(FULL if k == place else NEWAXIS for k in range(x.rank)))
        product = x * w
        total = reduce_call(sum, w, None, None, None, False)
    else:
        product = x * w
        total = reduce_call(sum, w, axis, None, None, keepdims)
    result = reduce_call(sum, product, axis, None, None, keepdims) / total
    return (result, total) if returned else result
