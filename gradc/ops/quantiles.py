"""Order statistics: medians, quantiles and percentiles, also of what is not NaN."""

from __future__ import annotations

from typing import Any

import numpy as np

from gradc.errors import ShapeError, UnsupportedError
from gradc.ir.nodes import Value, current_builder
from gradc.ir.opdef import call
from gradc.ir.region import FULL, NEWAXIS, Arg, At, Gather
from gradc.ir.types import Scalar, is_inexact
from gradc.ops.arrange import at_least_1d
from gradc.ops.elementwise import (
    ceil,
    eq,
    floor,
    isnan,
    logical_and,
    logical_not,
    maximum,
    minimum,
    mod,
    rint,
    where,
)
from gradc.ops.indexing import along_axis, sorted_along
from gradc.ops.memory import load, make_broadcast, make_gather, make_index, make_reshape, shape_values, size_value
from gradc.ops.reduce import sum as sum_over
from gradc.ops.rules import as_value, constant_of, convert, normal_axes, write_out
from gradc.ops.shape import permute

# The two parameters of a quantile that is interpolated: it stands at n*q + alpha + q*(1 - alpha - beta), counted from 1
# (Hyndman, Fan (1996), Sample quantiles in statistical packages, The American Statistician 50, 361-365).
_CONTINUOUS: dict[str, tuple[float, float]] = {
    "interpolated_inverted_cdf": (0.0, 1.0), "hazen": (0.5, 0.5), "weibull": (0.0, 0.0),
    "median_unbiased": (1 / 3, 1 / 3), "normal_unbiased": (3 / 8, 3 / 8),
}


def _sorted_last(x: Value, axes: tuple[int, ...]) -> Value:
    """x sorted along a last axis that merges some axes."""
    kept = [k for k in range(x.rank) if k not in axes]
    moved = permute(x, (*kept, *axes))
    if len(axes) > 1:
        moved = make_reshape(moved, (*shape_values(moved)[: len(kept)], -1))
    return sorted_along(moved, moved.rank - 1)


def _place(method: str, n: Value, level: Value) -> tuple[Value, Value | None]:
    """Where in n sorted numbers a quantile stands: the entry below and the share of the next one (None: no share)."""
    if method in _CONTINUOUS:
        alpha, beta = _CONTINUOUS[method]
        at = n * level + (alpha + level * (1.0 - alpha - beta)) - 1.0
        return floor(at), at - floor(at)
    even = level * (n - 1)
    match method:
        case "linear":
            return floor(even), even - floor(even)
        case "lower":
            return floor(even), None
        case "higher":
            return ceil(even), None
        case "nearest":
            return rint(even), None
        case "midpoint":
            return floor(even), where(eq(floor(even), ceil(even)), 0.0, 0.5)
        case "inverted_cdf":
            return ceil(n * level - 1.0), None
        case "averaged_inverted_cdf":
            at = n * level - 1.0
            return floor(at), where(eq(at, floor(at)), 0.5, 1.0)
        case "closest_observation":
            at = n * level - 1.5
            low = floor(at)
            return where(logical_and(eq(at, low), eq(mod(low, 2.0), 1.0)), low, low + 1.0), None
    raise UnsupportedError(f"quantiles by method {method!r}", hint="leave out method=, or give one that NumPy lists")


def _entries(ordered: Value, places: Value) -> Value:
    """ordered[..., places]: for all rows one place, or places of their own each."""
    last = ordered.rank - 1
    if not places.rank:
        if not last:
            return load(ordered, places, region=(At(Arg(0)),))
        return make_index(ordered, (*(FULL,) * last, At(Arg(0))), places)
    if places.rank == 1:
        return make_gather(ordered, (*(FULL,) * last, Gather(0)), places)
    region, grids = along_axis(ordered, places, last)
    return make_gather(ordered, region, *grids)


def _check_levels(levels: Value) -> None:
    builder = current_builder()
    known = constant_of(levels)
    message = "quantiles must be between 0 and 1, percentiles between 0 and 100"
    if known is not None:
        if not 0.0 <= known <= 1.0:
            raise ShapeError(message)
    elif builder.checks:
        inside = logical_and(builder.emit("ge", (levels, 0.0)), builder.emit("le", (levels, 1.0)))
        if levels.rank:
            inside = builder.emit("all", (inside,), axes=tuple(range(levels.rank)), keepdims=False)
        builder.emit("check", (inside,), error="ValueError", message=message)


def quantile(
    a: Any, q: Any, axis: Any, keepdims: Any, scale: float, method: str = "linear", skip: bool = False
) -> Value:
    """The quantiles at q / scale; axes of q come first. NaN where there is one, or (`skip`) where all are.

    Shapes: q of any rank, numbers or nested lists of them.
    """
    x = as_value(a)
    x = at_least_1d(x if is_inexact(x.ty) else convert(x, "float64"))
    axes = normal_axes(axis, x.rank)
    ordered = _sorted_last(x, axes)
    kept = ordered.rank - 1
    size = size_value(ordered, kept)
    given = as_value(q)
    levels = given / scale if scale != 1.0 else given
    _check_levels(levels)
    flat = make_reshape(levels, (-1,)) if levels.rank > 1 else levels
    n: Value = size
    if skip:
        there = convert(logical_not(isnan(ordered)), "int64")
        n = sum_over(there, axes=(kept,), keepdims=bool(kept and flat.rank))
        n = convert(n, "int64", weak=True) if not n.rank else n
    low, share = _place(method, n, flat)
    if share is not None and share.rank > flat.rank and isinstance(levels.ty, Scalar) and levels.ty.weak:
        share = convert(share, x.dtype)
    below, above = (_rows_of(_within(v, n), kept, flat) for v in (low, low + 1.0))
    found = _entries(ordered, below)
    if share is not None:
        found = found + (_entries(ordered, above) - found) * _rows_of(share, kept, flat)
    missing = np.dtype(x.dtype).type(np.nan)
    if skip:
        gone = _rows_of(eq(n, 0), kept, flat)
    else:
        gone = isnan(_entries(ordered, size - 1))
        gone = make_index(gone, (*(FULL,) * kept, NEWAXIS)) if kept and flat.rank else gone
    found = where(gone, missing, found)
    if skip and kept and not flat.rank:
        found = make_index(found, (*(FULL,) * kept, At(0)))
    return _arranged(found, levels, kept, x.rank, axes, bool(keepdims))


def _within(places: Value, n: Value) -> Value:
    """Places among n entries, as integers."""
    return convert(maximum(minimum(convert(places, "int64", weak=not places.rank), n - 1), 0), "int64",
                   weak=not (places.rank or n.rank))


def _rows_of(v: Value, kept: int, flat: Value) -> Value:
    """What differs from row to row, with a last axis for the one level that there is."""
    return make_index(v, (*(FULL,) * kept, NEWAXIS)) if kept and v.rank == kept and not flat.rank else v


def _arranged(found: Value, levels: Value, kept: int, rank: int, axes: tuple[int, ...], keepdims: bool) -> Value:
    """The axes of the levels first, then those that were kept, with the reduced ones as size 1 where wanted."""
    lead = levels.rank
    if lead:
        found = permute(found, (kept, *range(kept)))
        if lead > 1:
            found = make_reshape(found, (*shape_values(levels), *shape_values(found)[1:]))
    if not keepdims:
        return found
    if not found.rank:
        return make_broadcast(found, (1,) * rank)
    return make_index(found, (*(FULL,) * lead, *(NEWAXIS if k in axes else FULL for k in range(rank))))


def _finish(result: Value, out: Any, a: Any, overwrite_input: bool) -> Value:
    if overwrite_input and isinstance(a, Value) and a.rank:
        raise UnsupportedError("overwrite_input=True, which leaves the array in an order that is not defined",
                               hint="leave it out")
    return result if out is None else write_out(result, out)


def _unweighted(weights: Any) -> None:
    if weights is not None:
        raise UnsupportedError("quantiles with weights", hint="sort, and use np.interp on the cumulated weights")


@call(np.median)
def _median_call(
    a: Any, axis: Any = None, out: Any = None, overwrite_input: bool = False, keepdims: Any = False
) -> Value:
    return _finish(quantile(a, 0.5, axis, keepdims, 1.0), out, a, overwrite_input)


@call(np.nanmedian)
def _nanmedian_call(
    a: Any, axis: Any = None, out: Any = None, overwrite_input: bool = False, keepdims: Any = False
) -> Value:
    return _finish(quantile(a, 0.5, axis, keepdims, 1.0, skip=True), out, a, overwrite_input)


def _enter(target: Any, scale: float, skip: bool) -> None:
    def build(
        a: Any, q: Any, axis: Any = None, out: Any = None, overwrite_input: bool = False, method: str = "linear",
        keepdims: Any = False, *, weights: Any = None,
    ) -> Value:
        _unweighted(weights)
        return _finish(quantile(a, q, axis, keepdims, scale, method, skip), out, a, overwrite_input)

    call(target)(build)


_enter(np.quantile, 1.0, False)
_enter(np.percentile, 100.0, False)
_enter(np.nanquantile, 1.0, True)
_enter(np.nanpercentile, 100.0, True)
