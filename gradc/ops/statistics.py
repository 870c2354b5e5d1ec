"""Statistics made of reductions: variance, standard deviation, range, weighted mean."""

from __future__ import annotations

from typing import Any

import numpy as np

from gradc.errors import ShapeError
from gradc.ir.nodes import Value, current_builder
from gradc.ir.opdef import CALLS, call
from gradc.ir.region import FULL, NEWAXIS, At
from gradc.ir.types import Array, Scalar, is_complex, is_inexact, promote_dtypes
from gradc.ops.elementary import absolute_square, root, sqrt
from gradc.ops.elementwise import as_bool, isnan, logical_and, logical_not, where
from gradc.ops.memory import load, make_broadcast, make_index, shape_values, size_value
from gradc.ops.products import matmul
from gradc.ops.reduce import all as all_over
from gradc.ops.reduce import any as any_over
from gradc.ops.reduce import count_over, max, mean, min, reduce_call, sum
from gradc.ops.rules import as_value, convert, dtype_name, normal_axes, normal_axis, part_dtype, strong, write_out
from gradc.ops.shape import diagonal, permute


def variance(
    a: Any, axis: Any, dtype: Any, ddof: Any, keepdims: Any, where_mask: Any = True, mean_given: Any = None
) -> Value:
    """Mean squared distance from the mean, over n - ddof; of the elements where a mask holds."""
    x = strong(a)
    if dtype is not None:
        x = convert(x, dtype_name(dtype))
    if not is_inexact(x.ty):
        x = convert(x, "float64")
    if not x.rank:
        x = load(x, region=()) if isinstance(x.ty, Array) else x
        return absolute_square(x - x)
    if where_mask is not True:
        return _masked_variance(x, as_bool(as_value(where_mask)), axis, ddof, keepdims, mean_given)
    axes = normal_axes(axis, x.rank)
    away = x - (mean(x, axes=axes, keepdims=True) if mean_given is None else as_value(mean_given))
    squares = absolute_square(away)
    if isinstance(ddof, int | float) and ddof == 0:
        return mean(squares, axes=axes, keepdims=bool(keepdims))
    return sum(squares, axes=axes, keepdims=bool(keepdims)) / (count_over(x, axes) - ddof)


def _masked_variance(x: Value, there: Value, axis: Any, ddof: Any, keepdims: Any, mean_given: Any) -> Value:
    """The variance of the elements where a mask holds."""
    center = _masked_mean(x, there, axis, True) if mean_given is None else as_value(mean_given)
    return _masked_mean(absolute_square(where(there, x - center, 0.0)), there, axis, keepdims, ddof)


@call(np.var, method="var")
def _var_call(
    a: Any, axis: Any = None, dtype: Any = None, out: Any = None, ddof: Any = 0, keepdims: Any = False, *,
    where: Any = True, mean: Any = None, correction: Any = None,
) -> Value:
    result = variance(a, axis, dtype, ddof if correction is None else correction, keepdims, where, mean)
    return result if out is None else write_out(result, out)


@call(np.std, method="std")
def _std_call(
    a: Any, axis: Any = None, dtype: Any = None, out: Any = None, ddof: Any = 0, keepdims: Any = False, *,
    where: Any = True, mean: Any = None, correction: Any = None,
) -> Value:
    result = root(variance(a, axis, dtype, ddof if correction is None else correction, keepdims, where, mean))
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
        total = count_over(x, normal_axes(axis, x.rank))
    else:
        w = _weights_along(as_value(weights), x, axis)
        wide = Scalar(promote_dtypes((Scalar(x.dtype), Scalar(w.dtype))).dtype)
        product = x * w if is_inexact(wide) else convert(x, "float64") * w
        total = reduce_call(sum, w if w.shape == x.shape else make_broadcast(w, shape_values(x)), axis, None, None,
                            keepdims)
        result = reduce_call(sum, product, axis, None, None, keepdims) / total
    if not returned:
        return result
    total = convert(total, result.dtype)
    return result, total if total.rank == result.rank else make_broadcast(total, shape_values(result))


def _weights_along(w: Value, x: Value, axis: Any) -> Value:
    """Weights of all elements as they are; weights along the axes that are averaged, so that they broadcast."""
    if w.rank == x.rank:
        return w
    if axis is None:
        raise ShapeError("an axis is needed where the weights have another shape than the array")
    given = [normal_axis(k, x.rank) for k in (axis if isinstance(axis, tuple | list) else (axis,))]
    if len(given) != w.rank:
        raise ShapeError(f"weights of {w.rank} axes for {len(given)} axes that are averaged")
    for own, place in enumerate(given):
        current_builder().require_equal(w, own, x, place)
    w = permute(w, tuple(int(k) for k in np.argsort(given)))
    return make_index(w, tuple(FULL if k in given else NEWAXIS for k in range(x.rank)))


# ---------------------------------------------------------------------------------------- covariance


@call(np.cov)
def _cov_call(
    m: Any, y: Any = None, rowvar: Any = True, bias: Any = False, ddof: Any = None, fweights: Any = None,
    aweights: Any = None, *, dtype: Any = None,
) -> Value:
    x = _rows(m, rowvar)
    if y is not None:
        x = current_builder().emit("concatenate", (x, _rows(y, rowvar)), axis=0)
    x = convert(x, np.result_type(x.dtype, np.float64 if dtype is None else dtype).name)
    less = (0 if bias else 1) if ddof is None else ddof
    if fweights is None and aweights is None:
        away = x - mean(x, axes=(1,), keepdims=True)
        weighted, scale = away, size_value(x, 1) - less
    else:
        w, scale = _column_weights(fweights, aweights, less, part_dtype(x.dtype))
        center = sum(x * w, axes=(1,), keepdims=True) / sum(w, axes=(0,), keepdims=False)
        away = x - center
        weighted = away * w
    other = current_builder().emit("conj", (weighted,)) if is_complex(away.ty) else weighted
    table = matmul(away, permute(other, (1, 0))) / scale
    builder = current_builder()
    if all(builder.canonical_size(s) == 1 for s in table.shape):
        return load(table, region=(At(0), At(0)))
    return table


def _column_weights(fweights: Any, aweights: Any, less: Any, dtype: str) -> tuple[Value, Value]:
    """The weights of observations, and what their products are divided by."""
    given = [None if v is None else convert(as_value(v), dtype) for v in (fweights, aweights)]
    w = given[0] if given[1] is None else given[1] if given[0] is None else given[0] * given[1]
    assert w is not None
    total = sum(w, axes=(0,), keepdims=False)
    if isinstance(less, int) and less == 0:
        return w, total
    if given[1] is None:
        return w, total - less
    return w, total - less * sum(w * given[1], axes=(0,), keepdims=False) / total


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


def _present(a: Any, where: Any = True, dtype: Any = None) -> tuple[Value, Value]:
    """x, and where it is a number that is looked at."""
    x = as_value(a)
    if dtype is not None:
        x = convert(x, dtype_name(dtype))
    there = logical_not(isnan(x))
    return x, there if where is True else logical_and(there, as_bool(as_value(where)))


def _nan_call(target: Any, build: Any, neutral: Any) -> None:
    def combined(
        a: Any, axis: Any = None, dtype: Any = None, out: Any = None, keepdims: Any = False, initial: Any = neutral,
        where: Any = True,
    ) -> Value:
        x, there = _present(a, where, dtype)
        return build(x, axis, None, out, keepdims, initial, there)

    call(target)(combined)


_nan_call(np.nansum, CALLS[np.sum].build, 0)
_nan_call(np.nanprod, CALLS[np.prod].build, 1)


def _masked_mean(x: Value, there: Value, axis: Any, keepdims: Any, ddof: Any = 0) -> Value:
    total = reduce_call(sum, x, axis, None, None, keepdims, there, 0)
    counted = make_broadcast(there, shape_values(x)) if there.shape != x.shape else there
    count = convert(reduce_call(sum, counted, axis, None, None, keepdims), part_dtype(total.dtype))
    return total / (count if isinstance(ddof, int) and ddof == 0 else count - ddof)


@call(np.nanmean)
def _nanmean_call(
    a: Any, axis: Any = None, dtype: Any = None, out: Any = None, keepdims: Any = False, *, where: Any = True
) -> Value:
    x, there = _present(a, where, dtype)
    result = _masked_mean(x if is_inexact(x.ty) else convert(x, "float64"), there, axis, keepdims)
    return result if out is None else write_out(result, out)


def _nan_variance(a: Any, axis: Any, dtype: Any, ddof: Any, keepdims: Any, where_mask: Any, mean: Any) -> Value:
    x, there = _present(a, where_mask, dtype)
    return _masked_variance(x if is_inexact(x.ty) else convert(x, "float64"), there, axis, ddof, keepdims, mean)


@call(np.nanvar)
def _nanvar_call(
    a: Any, axis: Any = None, dtype: Any = None, out: Any = None, ddof: Any = 0, keepdims: Any = False, *,
    where: Any = True, mean: Any = None, correction: Any = None,
) -> Value:
    result = _nan_variance(a, axis, dtype, ddof if correction is None else correction, keepdims, where, mean)
    return result if out is None else write_out(result, out)


@call(np.nanstd)
def _nanstd_call(
    a: Any, axis: Any = None, dtype: Any = None, out: Any = None, ddof: Any = 0, keepdims: Any = False, *,
    where: Any = True, mean: Any = None, correction: Any = None,
) -> Value:
    result = root(_nan_variance(a, axis, dtype, ddof if correction is None else correction, keepdims, where, mean))
    return result if out is None else write_out(result, out)


def _nan_extremum(
    target: Any, a: Any, limit: float, axis: Any, out: Any, keepdims: Any, initial: Any, where_mask: Any
) -> Value:
    x, there = _present(a, where_mask)
    x = where(there, x, limit) if is_inexact(x.ty) or where_mask is not True else x
    result = CALLS[target].build(x, axis, None, keepdims, initial)
    if initial is None and is_inexact(x.ty):
        counted = make_broadcast(there, shape_values(x)) if there.shape != x.shape else there
        gone = logical_not(reduce_call(any_over, counted, axis, None, None, keepdims))
        result = where(gone, np.dtype(result.dtype).type(np.nan), result)
    return result if out is None else write_out(result, out)


@call(np.nanmax)
def _nanmax_call(
    a: Any, axis: Any = None, out: Any = None, keepdims: Any = False, initial: Any = None, where: Any = True
) -> Value:
    return _nan_extremum(np.max, a, -np.inf, axis, out, keepdims, initial, where)


@call(np.nanmin)
def _nanmin_call(
    a: Any, axis: Any = None, out: Any = None, keepdims: Any = False, initial: Any = None, where: Any = True
) -> Value:
    return _nan_extremum(np.min, a, np.inf, axis, out, keepdims, initial, where)


def _nan_scan(target: Any, plain: Any, neutral: float) -> None:
    def build(a: Any, axis: Any = None, dtype: Any = None, out: Any = None) -> Value:
        x, there = _present(a, True, dtype)
        return CALLS[plain].build(where(there, x, neutral), axis, None, out)

    call(target)(build)


_nan_scan(np.nancumsum, np.cumsum, 0)
_nan_scan(np.nancumprod, np.cumprod, 1)


def _nan_position(target: Any, plain: Any, limit: float) -> None:
    def build(a: Any, axis: Any = None, out: Any = None, *, keepdims: Any = False) -> Value:
        x, there = _present(a)
        builder = current_builder()
        if builder.checks:
            some = reduce_call(any_over, there, axis, None, None, False)
            everywhere = reduce_call(all_over, some, None) if some.rank else some
            builder.emit("check", (everywhere,), error="ValueError", message="All-NaN slice encountered")
        return CALLS[plain].build(where(there, x, limit), axis, out, keepdims=keepdims)

    call(target)(build)


_nan_position(np.nanargmax, np.argmax, -np.inf)
_nan_position(np.nanargmin, np.argmin, np.inf)
