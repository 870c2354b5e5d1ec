"""Statistics made of reductions: variance, standard deviation, range, weighted mean."""

from __future__ import annotations

from typing import Any

import numpy as np

from gradc.errors import UnsupportedError
from gradc.ir.nodes import Value, current_builder
from gradc.ir.opdef import OpDef, call
from gradc.ir.region import FULL, NEWAXIS, Arg, At
from gradc.ir.types import Array, is_complex, is_inexact
from gradc.ops.arrange import make_array, stack
from gradc.ops.elementary import absolute_square, root, sqrt
from gradc.ops.elementwise import floor, isnan, logical_not, minimum, where
from gradc.ops.indexing import sorted_along
from gradc.ops.memory import load, make_index, make_reshape, shape_values, size_value
from gradc.ops.products import matmul
from gradc.ops.reduce import any as any_over
from gradc.ops.reduce import count_over, max, mean, min, prod, reduce_call, sum
from gradc.ops.rules import as_value, convert, dtype_name, normal_axes, write_out
from gradc.ops.shape import diagonal, permute


def variance(a: Any, axis: Any, dtype: Any, ddof: Any, keepdims: Any) -> Value:
    """Mean squared distance from the mean, over n - ddof."""
    x = as_value(a)
    if dtype is not None:
        x = convert(x, dtype_name(dtype))
    if not is_inexact(x.ty):
        x = convert(x, "float64")
    if not isinstance(x.ty, Array):
        return absolute_square(x - x)
    axes = normal_axes(axis, x.rank)
    away = x - mean(x, axes=axes, keepdims=True)
    squares = absolute_square(away)
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
        (place,) = normal_axes(axis, x.rank)
        w = make_index(w, tuple(FULL if k == place else NEWAXIS for k in range(x.rank)))
        product = x * w
        total = reduce_call(sum, w, None, None, None, False)
    else:
        product = x * w
        total = reduce_call(sum, w, axis, None, None, keepdims)
    result = reduce_call(sum, product, axis, None, None, keepdims) / total
    return (result, total) if returned else result


# -------------------------------------------------------------------------------------- order statistics


def _sorted_last(x: Value, axis: Any) -> tuple[Value, tuple[int, ...]]:
    """x sorted along a last axis that merges the reduced ones, and those axes."""
    axes = normal_axes(axis, x.rank)
    kept = [k for k in range(x.rank) if k not in axes]
    moved = permute(x, (*kept, *axes))
    if len(axes) > 1:
        moved = make_reshape(moved, (*shape_values(moved)[: len(kept)], -1))
    return sorted_along(moved, moved.rank - 1), axes


def _entry(ordered: Value, place: Value) -> Value:
    """ordered[..., place]."""
    if ordered.rank == 1:
        return load(ordered, place, region=(At(Arg(0)),))
    return make_index(ordered, (*(FULL,) * (ordered.rank - 1), At(Arg(0))), place)


def quantile(a: Any, q: Any, axis: Any, keepdims: Any, scale: float) -> Value:
    """The linear quantile at q / scale; several q make a leading axis. NaN where there is one."""
    x = as_value(a)
    x = x if is_inexact(x.ty) else convert(x, "float64")
    if not isinstance(x.ty, Array):
        x = make_array([x])
    ordered, axes = _sorted_last(x, axis)
    n = size_value(ordered, ordered.rank - 1)
    bad = isnan(_entry(ordered, n - 1))

    def one(level: Any) -> Value:
        place = as_value(level) / scale * (n - 1)
        low = floor(place)
        k = convert(low, "int64", weak=True)
        below, above = _entry(ordered, k), _entry(ordered, minimum(k + 1, n - 1))
        value = where(bad, np.dtype(x.dtype).type(np.nan), below + (above - below) * (place - low))
        if not keepdims:
            return value
        return _kept(value, x.rank, axes)

    if isinstance(q, tuple | list):
        # NumPy makes a float64 array of the list, which the result follows.
        return convert(stack([one(level) for level in q], 0), np.result_type(x.dtype, np.float64).name)
    levels = as_value(q)
    if not levels.rank:
        return one(q)
    size = current_builder().canonical_size(levels.shape[0])
    if not isinstance(size, int):
        raise UnsupportedError("a number of quantiles that is not known", hint="give a list of numbers")
    return stack([one(load(levels, region=(At(k),))) for k in range(size)], 0)


def _kept(value: Value, rank: int, axes: tuple[int, ...]) -> Value:
    """A reduced value with its axes back, as size 1."""
    if not value.rank:
        return make_reshape(make_array([value]), (1,) * rank)
    return make_index(value, tuple(NEWAXIS if k in axes else FULL for k in range(rank)))


def _linear_only(method: str) -> None:
    if method != "linear":
        raise UnsupportedError(f"quantiles by method {method!r}", hint="leave out method=")


@call(np.median)
def _median_call(
    a: Any, axis: Any = None, out: Any = None, overwrite_input: bool = False, keepdims: Any = False
) -> Value:
    result = quantile(a, 0.5, axis, keepdims, 1.0)
    return result if out is None else write_out(result, out)


@call(np.quantile)
def _quantile_call(
    a: Any, q: Any, axis: Any = None, out: Any = None, overwrite_input: bool = False, method: str = "linear",
    keepdims: Any = False,
) -> Value:
    _linear_only(method)
    result = quantile(a, q, axis, keepdims, 1.0)
    return result if out is None else write_out(result, out)


@call(np.percentile)
def _percentile_call(
    a: Any, q: Any, axis: Any = None, out: Any = None, overwrite_input: bool = False, method: str = "linear",
    keepdims: Any = False,
) -> Value:
    _linear_only(method)
    result = quantile(a, q, axis, keepdims, 100.0)
    return result if out is None else write_out(result, out)


# ---------------------------------------------------------------------------------------- covariance


@call(np.cov)
def _cov_call(
    m: Any, y: Any = None, rowvar: Any = True, bias: Any = False, ddof: Any = None, fweights: None = None,
    aweights: None = None, *, dtype: Any = None,
) -> Value:
    if fweights is not None or aweights is not None:
        raise UnsupportedError("np.cov with weights")
    x = _rows(m, rowvar)
    if y is not None:
        x = current_builder().emit("concatenate", (x, _rows(y, rowvar)), axis=0)
    x = convert(x, np.result_type(x.dtype, np.float64 if dtype is None else dtype).name)
    away = x - mean(x, axes=(1,), keepdims=True)
    less = (0 if bias else 1) if ddof is None else ddof
    other = current_builder().emit("conj", (away,)) if is_complex(away.ty) else away
    table = matmul(away, permute(other, (1, 0))) / (size_value(x, 1) - less)
    builder = current_builder()
    if all(builder.canonical_size(s) == 1 for s in table.shape):
        return load(table, region=(At(0), At(0)))
    return table


def _rows(m: Any, rowvar: Any) -> Value:
    x = as_value(m)
    if x.rank == 1:
        return make_index(x, (NEWAXIS, FULL))
    return x if rowvar or x.shape[0] == 1 else permute(x, (1, 0))


@call(np.corrcoef)
def _corrcoef_call(x: Any, y: Any = None, rowvar: Any = True, *, dtype: Any = None) -> Value:
    table = _cov_call(x, y, rowvar, dtype=dtype)
    if not table.rank:
        return table / table
    spread = sqrt(diagonal(table, 0, 0, 1))
    scaled = table / make_index(spread, (FULL, NEWAXIS)) / spread
    return current_builder().emit("clip", (scaled, -1.0, 1.0))


# ---------------------------------------------------------------------------------------- without NaN


def _present(a: Any) -> tuple[Value, Value]:
    """x, and where it is a number."""
    x = as_value(a)
    return x, logical_not(isnan(x))


@call(np.nansum)
def _nansum_call(
    a: Any, axis: Any = None, dtype: Any = None, out: Any = None, keepdims: Any = False, initial: Any = 0,
    where: Any = True,
) -> Value:
    x, there = _present(a)
    result = reduce_call(sum, x, axis, dtype, None, keepdims, there, 0)
    return result if out is None else write_out(result, out)


@call(np.nanprod)
def _nanprod_call(a: Any, axis: Any = None, dtype: Any = None, out: Any = None, keepdims: Any = False) -> Value:
    x, there = _present(a)
    result = reduce_call(prod, x, axis, dtype, None, keepdims, there, 1)
    return result if out is None else write_out(result, out)


def _nan_mean(x: Value, there: Value, axis: Any, keepdims: Any, ddof: Any = 0) -> Value:
    total = reduce_call(sum, x, axis, None, None, keepdims, there, 0)
    count = convert(reduce_call(sum, there, axis, None, None, keepdims), total.dtype)
    return total / (count if isinstance(ddof, int) and ddof == 0 else count - ddof)


@call(np.nanmean)
def _nanmean_call(a: Any, axis: Any = None, dtype: Any = None, out: Any = None, keepdims: Any = False) -> Value:
    x, there = _present(a)
    result = _nan_mean(x, there, axis, keepdims)
    return result if out is None else write_out(result, out)


def _nan_variance(a: Any, axis: Any, ddof: Any, keepdims: Any) -> Value:
    x, there = _present(a)
    away = where(there, x - _nan_mean(x, there, axis, True), 0.0)
    return _nan_mean(absolute_square(away), there, axis, keepdims, ddof)


@call(np.nanvar)
def _nanvar_call(
    a: Any, axis: Any = None, dtype: Any = None, out: Any = None, ddof: Any = 0, keepdims: Any = False
) -> Value:
    result = _nan_variance(a, axis, ddof, keepdims)
    return result if out is None else write_out(result, out)


@call(np.nanstd)
def _nanstd_call(
    a: Any, axis: Any = None, dtype: Any = None, out: Any = None, ddof: Any = 0, keepdims: Any = False
) -> Value:
    result = root(_nan_variance(a, axis, ddof, keepdims))
    return result if out is None else write_out(result, out)


def _nan_extremum(op: OpDef, a: Any, axis: Any, keepdims: Any, limit: float) -> Value:
    x, there = _present(a)
    x = where(there, x, limit)
    result = reduce_call(op, x, axis, None, None, keepdims)
    gone = logical_not(reduce_call(any_over, there, axis, None, None, keepdims))
    return where(gone, np.dtype(result.dtype).type(np.nan), result)


@call(np.nanmax)
def _nanmax_call(a: Any, axis: Any = None, out: Any = None, keepdims: Any = False) -> Value:
    return _nan_extremum(max, a, axis, keepdims, -np.inf)


@call(np.nanmin)
def _nanmin_call(a: Any, axis: Any = None, out: Any = None, keepdims: Any = False) -> Value:
    return _nan_extremum(min, a, axis, keepdims, np.inf)
