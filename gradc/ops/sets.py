"""Sorted sets: unique values with their positions and counts, unions and differences; lexsort; histograms."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from gradc.errors import UnsupportedError
from gradc.ir.nodes import Value, current_builder
from gradc.ir.opdef import CALLS, call
from gradc.ir.region import FULL, Arg, At, Gather, Span
from gradc.ir.types import Array, Scalar, is_complex, promote_dtypes
from gradc.ops.arrange import at_least_1d, concatenate
from gradc.ops.elementwise import eq, ge, le, logical_and, logical_not, logical_or, maximum, minimum, ne, where
from gradc.ops.indexing import along_axis, argsort, places_in, positions_where
from gradc.ops.memory import (
    load,
    make_broadcast,
    make_gather,
    make_index,
    make_reshape,
    make_zeros,
    scatter,
    scatter_add,
    shape_values,
    size_value,
)
from gradc.ops.rules import as_value, convert, normal_axis, strong
from gradc.ops.scans import cumsum, make_positions

# ---------------------------------------------------------------------------------------------- unique


def _flat(a: Any) -> Value:
    x = at_least_1d(strong(a))
    return x if x.rank == 1 else make_reshape(x, (-1,))


def _taken(x: Value, places: Value) -> Value:
    return make_gather(x, (Gather(0),), places)


def _sorted_with_firsts(x: Value, equal_nan: bool) -> tuple[Value, Value, Value]:
    """The order that sorts x, x in it, and where it is the first of those that are equal to it."""
    order = argsort(x, axis=0)
    ordered = _taken(x, order)
    n = size_value(x, 0)
    i = make_positions(n)
    before = _taken(ordered, maximum(i - 1, 0))
    same = eq(ordered, before)
    if equal_nan and np.dtype(x.dtype).kind == "f":
        same = logical_or(same, logical_and(ne(ordered, ordered), ne(before, before)))
    return order, ordered, logical_or(eq(i, 0), logical_not(same))


def unique(a: Any, equal_nan: bool = True) -> tuple[Value, Value, Value, Value]:
    """Ascending values, the first position of each, where each element's value is, and how often each occurs."""
    if is_complex(strong(a).ty):
        raise UnsupportedError("unique complex numbers", hint="order is not defined for them")
    whole = strong(a)
    x = _flat(whole)
    order, ordered, firsts = _sorted_with_firsts(x, equal_nan)
    starts = positions_where(firsts)
    n = size_value(x, 0)
    numbers = cumsum(convert(firsts, "int64"), axis=0) - 1
    inverse = make_zeros((n,), "int64", filled=False)
    scatter(inverse, numbers, order, region=(Gather(0),))
    if whole.rank > 1:
        inverse = make_reshape(inverse, shape_values(whole))
    ends = concatenate(make_index(starts, (Span(1, None),)), make_broadcast(convert(n, "int64"), (1,)), axis=0)
    counted = make_index(ends, (Span(None, Arg(0)),), size_value(starts, 0))
    counted.ty = Array("int64", starts.shape)
    return _taken(ordered, starts), _taken(order, starts), inverse, counted - starts


@call(np.unique)
def _unique_call(
    ar: Any, return_index: bool = False, return_inverse: bool = False, return_counts: bool = False, axis: Any = None,
    *, equal_nan: bool = True, sorted: bool = True,
) -> Any:
    if axis is not None:
        raise UnsupportedError("np.unique of rows", hint="np.unique of numbers along no axis is supported")
    values, *others = unique(ar, equal_nan)
    wanted = [v for v, asked in zip(others, (return_index, return_inverse, return_counts), strict=True) if asked]
    return (values, *wanted) if wanted else values


@call("numpy.unique_counts")
def _unique_counts_call(x: Any, /) -> Any:
    values, _, _, counts = unique(x, equal_nan=False)
    return _named("UniqueCountsResult", values, counts)


@call("numpy.unique_inverse")
def _unique_inverse_call(x: Any, /) -> Any:
    values, _, inverse, _ = unique(x, equal_nan=False)
    return _named("UniqueInverseResult", values, inverse)


@call("numpy.unique_all")
def _unique_all_call(x: Any, /) -> Any:
    return _named("UniqueAllResult", *unique(x, equal_nan=False))


def _named(name: str, *values: Value) -> Any:
    """NumPy's own named tuple, from an empty call of the function that gives it."""
    functions = {
        "UniqueCountsResult": "unique_counts", "UniqueInverseResult": "unique_inverse", "UniqueAllResult": "unique_all"
    }
    return type(getattr(np, functions[name])(np.zeros(0)))(*values)


def _member(x: Value, pool: Value) -> Value:
    found: Value = CALLS[np.isin].build(x, pool)
    return found


@call(np.union1d)
def _union_call(ar1: Any, ar2: Any) -> Value:
    return unique(concatenate(_flat(ar1), _flat(ar2), axis=0))[0]


@call(np.intersect1d)
def _intersect_call(ar1: Any, ar2: Any, assume_unique: bool = False, return_indices: bool = False) -> Value:
    if return_indices:
        raise UnsupportedError("np.intersect1d with return_indices", hint="use np.isin and np.nonzero")
    values = unique(ar1)[0]
    return _taken(values, positions_where(_member(values, _flat(ar2))))


@call(np.setdiff1d)
def _setdiff_call(ar1: Any, ar2: Any, assume_unique: bool = False) -> Value:
    values = _flat(ar1) if assume_unique else unique(ar1)[0]
    return _taken(values, positions_where(logical_not(_member(values, _flat(ar2)))))


@call(np.setxor1d)
def _setxor_call(ar1: Any, ar2: Any, assume_unique: bool = False) -> Value:
    first, second = _setdiff_call(ar1, ar2), _setdiff_call(ar2, ar1)
    made: Value = CALLS[np.sort].build(concatenate(first, second, axis=0))
    return made


# --------------------------------------------------------------------------------------------- lexsort


@call(np.lexsort)
def _lexsort_call(keys: Any, axis: Any = -1) -> Value:
    rows: Sequence[Value]
    if isinstance(keys, Value):
        count = current_builder().canonical_size(keys.shape[0])
        if not isinstance(count, int):
            raise UnsupportedError("np.lexsort of a number of keys that is not known", hint="give a tuple of arrays")
        rows = [make_index(keys, (At(k), *(FULL,) * (keys.rank - 1))) for k in range(count)]
    else:
        rows = [as_value(k) for k in keys]
    axis = normal_axis(axis, rows[0].rank)
    order = argsort(rows[0], axis=axis)
    for key in rows[1:]:
        # A stable sort by each key in turn, the last one being the most important.
        again = argsort(_picked(key, order, axis), axis=axis)
        order = _picked(order, again, axis)
    return order


def _picked(x: Value, places: Value, axis: int) -> Value:
    if x.rank == 1:
        return _taken(x, places)
    region, grids = along_axis(x, places, axis)
    return make_gather(x, region, *grids)


# ------------------------------------------------------------------------------------------- histograms


def _edges(x: Value, bins: Any, given: Any) -> Value:
    """The edges of bins: as they are given, or so many of equal width from the smallest element to the largest."""
    if isinstance(bins, str):
        raise UnsupportedError(f"bins={bins!r}", hint="give a number of bins, or their edges")
    edges = as_value(bins)
    if edges.rank:
        return edges
    if not isinstance(bins, int):
        raise UnsupportedError("a number of bins that is not a literal")
    low, high = (
        (CALLS[np.min].build(x), CALLS[np.max].build(x)) if given is None else (as_value(v) for v in given)
    )
    level = eq(low, high)
    low, high = where(level, low - 0.5, low), where(level, high + 0.5, high)
    made: Value = CALLS[np.linspace].build(low, high, bins + 1)
    kinds = tuple(Scalar(v.dtype) if v.rank else v.ty for v in (x, low, high))
    natural = promote_dtypes(kinds).dtype  # type: ignore[arg-type]
    return convert(made, natural) if np.dtype(natural).kind == "f" else made


@call(np.histogram_bin_edges)
def _bin_edges_call(a: Any, bins: Any = 10, range: Any = None, weights: Any = None) -> Value:
    return _edges(_flat(a), bins, range)


@call(np.histogram)
def _histogram_call(
    a: Any, bins: Any = 10, range: Any = None, density: Any = None, weights: Any = None
) -> tuple[Value, Value]:
    x = _flat(a)
    edges = _edges(x, bins, range)
    count = size_value(edges, 0) - 1
    first, last = load(edges, region=(At(0),)), load(edges, region=(At(-1),))
    inside = logical_and(ge(x, first), le(x, last))
    places = minimum(maximum(places_in(edges, x, "right") - 1, 0), count - 1)
    added = convert(inside, "int64") if weights is None else where(inside, _flat(weights), 0)
    totals = make_zeros((count,), added.dtype)
    scatter_add(totals, added, places, region=(Gather(0),))
    if not density:
        return totals, edges
    widths = make_index(edges, (Span(1, None),)) - make_index(edges, (Span(None, -1),))
    whole = current_builder().emit("sum", (totals,), axes=(0,), keepdims=False)
    return totals / widths / whole, edges


# ------------------------------------------------------------------------------------------ trim_zeros


@call(np.trim_zeros)
def _trim_zeros_call(filt: Any, trim: str = "fb", axis: Any = None) -> Value:
    x = strong(filt)
    if x.rank != 1:
        raise UnsupportedError("np.trim_zeros of several axes", hint="it takes one axis")
    hits = positions_where(ne(x, 0))
    found, n = size_value(hits, 0), size_value(x, 0)
    some = concatenate(hits, make_broadcast(convert(n, "int64"), (1,)), axis=0)
    first = load(some, region=(At(0),)) if "f" in trim.lower() else current_builder().const(0)
    last = load(some, maximum(found - 1, 0), region=(At(Arg(0)),)) + 1 if "b" in trim.lower() else n
    last = where(eq(found, 0), first, last)
    return make_index(x, (Span(Arg(0), Arg(1)),), *(convert(v, "int64", weak=True) for v in (first, last)))
