"""Positions and orders as data: nonzero, take, argsort, sort, searchsorted, select, scatter by ufunc, index helpers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from gradc.errors import ShapeError, UnsupportedError
from gradc.ir.nodes import Block, Value, current_builder
from gradc.ir.opdef import OpDef, call, define
from gradc.ir.region import FULL, NEWAXIS, Arg, At, Gather, Region, Span
from gradc.ir.types import WEAK_INT, Array, Scalar
from gradc.ops.arrange import at_least_1d, make_array, parts_of, stack
from gradc.ops.elementwise import (
    as_bool,
    floordiv,
    ge,
    gt,
    le,
    logical_and,
    logical_not,
    logical_or,
    lt,
    maximum,
    minimum,
    mod,
    ne,
    where,
)
from gradc.ops.memory import (
    check_indices,
    element_count,
    load,
    make_broadcast,
    make_gather,
    make_index,
    make_mask_select,
    make_reshape,
    make_zeros,
    scatter,
    scatter_add,
    shape_values,
    size_value,
    store,
    store_at,
)
from gradc.ops.reduce import sum as sum_over
from gradc.ops.rules import as_value, convert, normal_axis, strong, write_out
from gradc.ops.scans import flipped, make_positions
from gradc.ops.shape import permute

# ------------------------------------------------------------------------------------------------ nonzero


def _run_nonzero(mask: Any, type: Array) -> Any:
    return np.flatnonzero(mask)


def _expand_nonzero(mask: Value, *, type: Array) -> Value:
    # Each position is written where the next hit belongs, and stays there only if it is one; hence one place more.
    builder = current_builder()
    count = sum_over(mask, axes=(0,), keepdims=False)
    places = make_zeros((count + 1,), "int64", filled=False)
    with builder.into(Block(params=[Value(WEAK_INT, "i"), Value(Scalar("int64"), "k")])) as body:
        i, k = body.params
        store_at(places, i, k, region=(At(Arg(0)),))
        body.yields = [k + convert(load(mask, i, region=(At(Arg(0)),)), "int64")]
    start = builder.const(np.int64(0))
    loop = (0, size_value(mask, 0), 1, start)
    builder.control("for", loop, (body,), (Scalar("int64"),), reversed=False, exits=False)
    return make_index(places, (Span(None, Arg(0)),), count)


nonzero: OpDef = define(
    OpDef(
        "nonzero", "fresh", ("mask",), infer=lambda types, attrs, require: [attrs["type"]], run=_run_nonzero,
        emit="np.flatnonzero({mask})", expand=_expand_nonzero, zero_derivative=True,
        vjp=lambda ct, y, mask, **attrs: [None],
        doc="Positions of the True entries of a boolean array of one axis, ascending. {type}: of a new size.",
    )
)


def positions_where(mask: Value) -> Value:
    """np.flatnonzero of a boolean array of one axis."""
    size = current_builder().new_size("hits")
    return nonzero(mask, type=Array("int64", (size,)))


def flat_mask(a: Any) -> Value:
    """a != 0 in one axis."""
    mask = as_bool(as_value(a))
    return mask if mask.rank == 1 else make_reshape(mask, (-1,))


@call(np.flatnonzero)
def _flatnonzero_call(a: Any) -> Value:
    return positions_where(flat_mask(a))


@call(np.nonzero, method="nonzero")
def _nonzero_call(a: Any) -> tuple[Value, ...]:
    x = as_value(a)
    found = positions_where(flat_mask(x))
    return unravelled(found, shape_values(x)) if x.rank > 1 else (found,)


def unravelled(flat: Value, sizes: Sequence[int | Value]) -> tuple[Value, ...]:
    """np.unravel_index in C order."""
    parts: list[Value] = []
    for size in reversed(sizes[1:]):
        parts.append(mod(flat, size))
        flat = floordiv(flat, size)
    return (flat, *reversed(parts))


@call(np.unravel_index)
def _unravel_index_call(indices: Any, shape: Any, order: str = "C") -> tuple[Value, ...]:
    sizes = list(shape) if isinstance(shape, tuple | list) else [shape]
    if order == "F":
        return unravelled(as_value(indices), sizes[::-1])[::-1]
    return unravelled(as_value(indices), sizes)


@call(np.ravel_multi_index)
def _ravel_multi_index_call(multi_index: Any, dims: Any, mode: Any = "raise", order: str = "C") -> Value:
    parts = [as_value(v) for v in multi_index]
    sizes = list(dims) if isinstance(dims, tuple | list) else [dims]
    if len(parts) != len(sizes):
        raise ShapeError(f"{len(parts)} positions for {len(sizes)} axes")
    modes = mode if isinstance(mode, tuple | list) else [mode] * len(sizes)
    builder = current_builder()
    placed = []
    for v, size, how in zip(parts, sizes, modes, strict=True):
        if how == "raise" and builder.checks:
            inside = logical_and(ge(v, 0), lt(v, size))
            inside = builder.emit("all", (inside,), axes=tuple(range(v.rank)), keepdims=False) if v.rank else inside
            builder.emit("check", (inside,), error="ValueError", message="invalid entry in coordinates array")
        placed.append(_within(v, builder.value(size), how))
    pairs = list(zip(placed, sizes, strict=True))
    flat, _ = pairs[0] if order == "C" else pairs[-1]
    for v, size in pairs[1:] if order == "C" else pairs[-2::-1]:
        flat = flat * size + v
    return flat


@call(np.argwhere)
def _argwhere_call(a: Any) -> Value:
    return stack(list(_nonzero_call(a)), 1)


@call(np.extract)
def _extract_call(condition: Any, arr: Any) -> Value:
    x = as_value(arr)
    return make_mask_select(x if x.rank == 1 else make_reshape(x, (-1,)), flat_mask(condition))


@call(np.compress)
def _compress_call(condition: Any, a: Any, axis: Any = None, out: Any = None) -> Value:
    x = as_value(a)
    if axis is None:
        x, axis = make_reshape(x, (-1,)), 0
    axis = normal_axis(axis, x.rank)
    found = positions_where(flat_mask(condition))
    check_indices(found, x, axis=axis, message="")
    made = make_gather(x, _along(x, axis), found)
    return made if out is None else write_out(made, out)


@call(method="compress")
def _compress_method(x: Any, condition: Any, axis: Any = None, out: Any = None) -> Value:
    return _compress_call(condition, x, axis, out)


def _along(x: Value, axis: int) -> Region:
    """The region that gathers along one axis with one index array."""
    return tuple(Gather(0) if k == axis else FULL for k in range(x.rank))


# --------------------------------------------------------------------------------------------------- take


@call(np.take, method="take")
def _take_call(a: Any, indices: Any, axis: Any = None, out: Any = None, mode: str = "raise") -> Value:
    taken = _taken(a, indices, axis, mode)
    return taken if out is None else write_out(taken, out)


def _within(places: Value, n: Value, mode: str) -> Value:
    """Positions as `mode` brings them into range; "raise" leaves them to a check."""
    match mode:
        case "clip":
            return minimum(maximum(places, 0), n - 1)
        case "wrap":
            return mod(places, n)
        case "raise":
            return places
    raise UnsupportedError(f"mode {mode!r}", hint="raise, wrap or clip")


def _taken(a: Any, indices: Any, axis: Any, mode: str) -> Value:
    x, where_to = as_value(a), as_value(indices)
    if axis is None:
        x, axis = x if x.rank == 1 else make_reshape(x, (-1,)), 0
    axis = normal_axis(axis, x.rank)
    n = size_value(x, axis)
    scalar = not where_to.rank
    if scalar:
        where_to = make_array([where_to])
    where_to = _within(where_to, n, mode)
    if mode == "raise":
        check_indices(where_to, x, axis=axis, message="")
    region = _along(x, axis)
    if where_to.rank > 1:
        sizes = shape_values(where_to)
        taken = make_gather(x, region, make_reshape(where_to, (-1,)))
        whole = shape_values(x)
        return make_reshape(taken, [*whole[:axis], *sizes, *whole[axis + 1 :]])
    taken = make_gather(x, region, where_to)
    if not scalar:
        return taken
    if taken.rank == 1:
        return load(taken, region=(At(0),))
    return make_index(taken, tuple(At(0) if k == axis else FULL for k in range(taken.rank)))


def along_axis(x: Value, indices: Value, axis: int) -> tuple[Region, tuple[Value, ...]]:
    """The region and index arrays of take_along_axis."""
    grids: list[Value] = []
    for k in range(x.rank):
        if k == axis:
            grids.append(indices)
            continue
        line: Region = tuple(FULL if j == k else NEWAXIS for j in range(x.rank))
        grids.append(make_index(make_positions(shape_values(x)[k]), line))
    return tuple(Gather(k) for k in range(x.rank)), tuple(grids)


@call(np.take_along_axis)
def _take_along_axis_call(arr: Any, indices: Any, axis: Any = -1) -> Value:
    x, where_to = as_value(arr), as_value(indices)
    if axis is None:
        x, axis = x if x.rank == 1 else make_reshape(x, (-1,)), 0
    axis = normal_axis(axis, x.rank)
    check_indices(where_to, x, axis=axis, message="")
    region, grids = along_axis(x, where_to, axis)
    return make_gather(x, region, *grids)


@call(np.put_along_axis)
def _put_along_axis_call(arr: Any, indices: Any, values: Any, axis: Any) -> None:
    x, where_to = as_value(arr), as_value(indices)
    if axis is None:
        put_flat(x, where_to, as_value(values))
        return
    axis = normal_axis(axis, x.rank)
    check_indices(where_to, x, axis=axis, message="")
    region, grids = along_axis(x, where_to, axis)
    scatter(x, as_value(values), *grids, region=region)


@call(np.put)
def _put_call(a: Any, ind: Any, v: Any, mode: str = "raise") -> None:
    x, where_to, value = as_value(a), as_value(ind), as_value(v)
    where_to = at_least_1d(where_to)
    where_to = where_to if where_to.rank == 1 else make_reshape(where_to, (-1,))
    if value.rank:
        value = repeated_to(value, size_value(where_to, 0))
    total = element_count(x)
    if mode == "raise":
        low, high = ge(where_to, -total), lt(where_to, total)
        builder = current_builder()
        if builder.checks:
            inside = builder.emit("all", (logical_and(low, high),), axes=(0,), keepdims=False)
            builder.emit("check", (inside,), error="IndexError", message="a position of np.put is out of bounds")
        where_to = where(lt(where_to, 0), where_to + total, where_to)
    put_flat(x, _within(where_to, total, mode), value)


def put_flat(x: Value, places: Value, value: Value) -> None:
    """x.flat[places] = value for positions in range, whatever the layout of x."""
    if x.rank == 1:
        scatter(x, value, places, region=(Gather(0),))
        return
    parts = unravelled(places, shape_values(x))
    scatter(x, value, *parts, region=tuple(Gather(k) for k in range(x.rank)))


def repeated_to(value: Value, count: Value) -> Value:
    """The elements of an array, again and again, up to a number of them."""
    flat = value if value.rank == 1 else make_reshape(value, (-1,))
    return make_gather(flat, (Gather(0),), mod(make_positions(count), size_value(flat, 0)))


call(method="put")(_put_call)


@call(np.putmask)
def _putmask_call(a: Any, /, mask: Any, values: Any) -> None:
    x, value = as_value(a), as_value(values)
    if value.rank:
        value = make_reshape(repeated_to(value, element_count(x)), shape_values(x))
    store(x, where(as_bool(as_value(mask)), value, x))


@call(np.place)
def _place_call(arr: Any, mask: Any, vals: Any) -> None:
    x, value = as_value(arr), at_least_1d(as_value(vals))
    found = positions_where(flat_mask(mask))
    put_flat(x, found, repeated_to(value, size_value(found, 0)))


@call(np.copyto)
def _copyto_call(dst: Any, src: Any, casting: str = "same_kind", where: Any = True) -> None:
    x, value = as_value(dst), as_value(src)
    store(x, value if where is True else current_builder().emit("where", (as_bool(as_value(where)), value, x)))


@call(np.fill_diagonal)
def _fill_diagonal_call(a: Any, val: Any, wrap: bool = False) -> None:
    x, value = as_value(a), as_value(val)
    if x.rank < 2:
        raise ShapeError("np.fill_diagonal takes an array of two axes or more")
    if x.rank > 2:
        for axis in range(1, x.rank):
            current_builder().require_equal(x, 0, x, axis)
    if wrap and x.rank == 2:
        # Every (columns + 1)-th element, on through the rows below.
        rows, columns = size_value(x, 0), size_value(x, 1)
        places = make_positions((rows * columns + columns) // (columns + 1)) * (columns + 1)
        put_flat(x, places, repeated_to(value, size_value(places, 0)) if value.rank else value)
        return
    i = make_positions(_shorter(x) if x.rank == 2 else shape_values(x)[0])
    value = repeated_to(value, size_value(i, 0)) if value.rank else value
    scatter(x, value, *(i,) * x.rank, region=tuple(Gather(k) for k in range(x.rank)))


def _shorter(x: Value) -> Any:
    rows, columns = shape_values(x)
    if isinstance(rows, int) and isinstance(columns, int):
        return min(rows, columns)
    return rows if x.shape[0] == x.shape[1] else minimum(rows, columns)


def _scatter_call(target: Any, sign: int) -> None:
    def build(a: Any, indices: Any, b: Any = None) -> None:
        x, value = as_value(a), as_value(b)
        entries = indices if isinstance(indices, tuple) else (indices,)
        arrays = [as_value(e) for e in entries]
        if any(v.dtype == "bool" for v in arrays) or len(arrays) > x.rank:
            raise UnsupportedError("ufunc.at takes integer arrays here", hint="use np.nonzero for a mask")
        arrays = [v if v.rank else make_array([v]) for v in arrays]
        for axis, v in enumerate(arrays):
            check_indices(v, x, axis=axis, message="")
        region = (*(Gather(k) for k in range(len(arrays))), *(FULL,) * (x.rank - len(arrays)))
        scatter_add(x, value if sign > 0 else -value, *arrays, region=region)

    call(target)(build)


_scatter_call(np.add.at, 1)
_scatter_call(np.subtract.at, -1)


@call(np.bincount)
def _bincount_call(x: Any, /, weights: Any = None, minlength: Any = 0) -> Value:
    at = as_value(x)
    builder = current_builder()
    n = size_value(at, 0)
    # The largest entry; an array of no elements has length minlength.
    top = builder.emit("concatenate", (convert(at, "int64"), make_array([-1], "int64")), axis=0)
    length = maximum(builder.emit("max", (top,), axes=(0,), keepdims=False) + 1, minlength)
    value = as_value(1 if weights is None else weights)
    counts = make_zeros((convert(length, "int64", weak=True),), "int64" if weights is None else "float64")
    if builder.checks:
        lowest = builder.emit("all", (ge(at, 0),), axes=(0,), keepdims=False)
        message = "'list' argument must have no negative elements"
        builder.emit("check", (lowest,), error="ValueError", message=message)
    added = value if value.rank else make_broadcast(convert(value, counts.dtype), (n,))
    scatter_add(counts, added, at, region=(Gather(0),))
    return counts


# ------------------------------------------------------------------------------------------------ sorting


def _before(a: Value, b: Value) -> Value:
    """Whether a comes strictly before b: NaN comes last."""
    return logical_or(lt(a, b), logical_and(ne(b, b), logical_not(ne(a, a))))


def _expand_argsort(x: Value, *, axis: int) -> Value:
    """Merge sort, bottom up (Knuth, The Art of Computer Programming 3, sec. 5.2.4), of each row."""
    builder = current_builder()
    perm = (*(k for k in range(x.rank) if k != axis), axis)
    moved = permute(x, perm)
    sizes = shape_values(moved)
    rows: Any = 1
    for size in sizes[:-1]:
        rows = size if isinstance(rows, int) and rows == 1 else rows * size
    n = builder.value(sizes[-1])
    keys = make_reshape(moved, (rows, n))
    order = make_zeros(shape_values(keys), "int64", filled=False)
    spare = make_zeros((n,), "int64", filled=False)
    store(order, make_positions(n))
    cell, entry = (At(Arg(0)), At(Arg(1))), (At(Arg(0)),)
    with builder.into(Block(params=[Value(WEAK_INT, "row")])) as each:
        (r,) = each.params
        with builder.into(Block(params=[Value(WEAK_INT, "width")])) as more:
            more.yields = [lt(more.params[0], n)]
        with builder.into(Block(params=[Value(WEAK_INT, "width")])) as widen:
            (width,) = widen.params
            with builder.into(Block(params=[Value(WEAK_INT, "low")])) as merge:
                (low,) = merge.params
                middle, high = minimum(low + width, n), minimum(low + 2 * width, n)
                fields = [Value(WEAK_INT, name) for name in ("k", "i", "j")]
                with builder.into(Block(params=fields)) as pick:
                    k, i, j = pick.params
                    left = load(order, r, minimum(i, n - 1), region=cell)
                    right = load(order, r, minimum(j, n - 1), region=cell)
                    swap = _before(load(keys, r, right, region=cell), load(keys, r, left, region=cell))
                    first = logical_and(lt(i, middle), logical_or(ge(j, high), logical_not(swap)))
                    store_at(spare, where(first, left, right), k, region=entry)
                    step = convert(first, "int64", weak=True)
                    pick.yields = [i + step, j + (1 - step)]
                builder.control(
                    "for", (low, high, 1, low, middle), (pick,), (WEAK_INT, WEAK_INT), reversed=False, exits=False
                )
            builder.control("for", (0, n, 2 * width), (merge,), (), reversed=False, exits=False)
            store(make_index(order, (At(Arg(0)), FULL), r), spare)
            widen.yields = [2 * width]
        builder.control("while", (1,), (more, widen), (WEAK_INT, WEAK_INT), exits=False)
    builder.control("for", (0, rows, 1), (each,), (), reversed=False, exits=False)
    back = make_reshape(order, sizes)
    return permute(back, tuple(int(k) for k in np.argsort(perm)))


argsort: OpDef = define(
    OpDef(
        "argsort", "fresh", ("x",), infer=lambda types, attrs, require: [Array("int64", types[0].shape)],
        run=lambda x, axis: np.argsort(x, axis=axis, kind="stable"), expand=_expand_argsort, zero_derivative=True,
        emit='np.argsort({x}, axis={axis}, kind="stable")', vjp=lambda ct, y, x, *, axis: [None], cost=1000,
        doc="Positions that sort x along {axis}; equal entries keep their order, NaN comes last.",
    )
)


def sorted_along(x: Value, axis: int) -> Value:
    """np.sort: the derivative goes with the entries."""
    order = argsort(x, axis=axis)
    if x.rank == 1:
        return make_gather(x, (Gather(0),), order)
    region, grids = along_axis(x, order, axis)
    return make_gather(x, region, *grids)


@call(np.argsort, method="argsort")
def _argsort_call(a: Any, axis: Any = -1, kind: Any = None, order: None = None, *, stable: Any = None) -> Value:
    x = as_value(a)
    if axis is None:
        x, axis = x if x.rank == 1 else make_reshape(x, (-1,)), 0
    return argsort(x, axis=normal_axis(axis, x.rank))


@call(np.sort)
def _sort_call(a: Any, axis: Any = -1, kind: Any = None, order: None = None, *, stable: Any = None) -> Value:
    x = as_value(a)
    if axis is None:
        x, axis = x if x.rank == 1 else make_reshape(x, (-1,)), 0
    return sorted_along(x, normal_axis(axis, x.rank))


@call(method="sort")
def _sort_method(x: Any, axis: Any = -1, kind: Any = None, order: None = None, *, stable: Any = None) -> None:
    x = as_value(x)
    store(x, sorted_along(x, normal_axis(axis, x.rank)))


@call(method="partition")
def _partition_method(x: Any, kth: Any, axis: Any = -1, kind: str = "introselect", order: None = None) -> None:
    _sort_method(x, axis)


@call(np.partition)
def _partition_call(a: Any, kth: Any, axis: Any = -1, kind: str = "introselect", order: None = None) -> Value:
    return _sort_call(a, axis)


@call(np.argpartition, method="argpartition")
def _argpartition_call(a: Any, kth: Any, axis: Any = -1, kind: str = "introselect", order: None = None) -> Value:
    return _argsort_call(a, axis)


def _expand_searchsorted(a: Value, v: Value, *, side: str) -> Value:
    builder = current_builder()
    n = size_value(a, 0)
    found = make_zeros(shape_values(v), "int64", filled=False)
    entry = (At(Arg(0)),)
    with builder.into(Block(params=[Value(WEAK_INT, "i")])) as each:
        (i,) = each.params
        key = load(v, i, region=entry)
        ends = ("low", "high")
        with builder.into(Block(params=[Value(WEAK_INT, e) for e in ends])) as more:
            more.yields = [lt(*more.params)]
        with builder.into(Block(params=[Value(WEAK_INT, e) for e in ends])) as halve:
            low, high = halve.params
            middle = low + (high - low) // 2
            here = load(a, middle, region=entry)
            right = _before(here, key) if side == "left" else logical_not(_before(key, here))
            halve.yields = [where(right, middle + 1, low), where(right, high, middle)]
        place, _, _ = builder.control("while", (0, n), (more, halve), (WEAK_INT,) * 3, exits=False)
        store_at(found, place, i, region=entry)
    builder.control("for", (0, size_value(v, 0), 1), (each,), (), reversed=False, exits=False)
    return found


searchsorted: OpDef = define(
    OpDef(
        "searchsorted", "fresh", ("a", "v"), infer=lambda types, attrs, require: [Array("int64", types[1].shape)],
        run=lambda a, v, side: np.searchsorted(a, v, side=side), expand=_expand_searchsorted, zero_derivative=True,
        emit='np.searchsorted({a}, {v}, side={side})', vjp=lambda ct, y, a, v, *, side: [None, None], cost=100,
        doc="Where each entry of v (one axis) belongs in the ascending a, {side} of equal ones.",
    )
)


def places_in(a: Value, v: Value, side: str) -> Value:
    """np.searchsorted for v of any rank."""
    if v.rank == 1:
        return searchsorted(a, v, side=side)
    if not v.rank:
        return load(searchsorted(a, make_array([v]), side=side), region=(At(0),))
    return make_reshape(searchsorted(a, make_reshape(v, (-1,)), side=side), shape_values(v))


@call(np.searchsorted, method="searchsorted")
def _searchsorted_call(a: Any, v: Any, side: str = "left", sorter: Any = None) -> Value:
    x = as_value(a)
    if sorter is not None:
        x = make_gather(x, (Gather(0),), as_value(sorter))
    return places_in(x, as_value(v), side)


@call(np.digitize)
def _digitize_call(x: Any, bins: Any, right: Any = False) -> Value:
    edges, at = as_value(bins), as_value(x)
    if edges.rank != 1:
        raise ShapeError("np.digitize takes a list of edges")
    builder = current_builder()
    side = "left" if right else "right"
    n = size_value(edges, 0)
    first, last = (load(edges, minimum(maximum(k, 0), n - 1), region=(At(Arg(0)),)) for k in (0 * n, n - 1))
    falls = gt(first, last)
    if builder.checks:
        before, after = (make_index(edges, (s,)) for s in (Span(None, -1), Span(1, None)))
        rising, falling = (
            builder.emit("all", (c(before, after),), axes=(0,), keepdims=False) for c in (le, ge)
        )
        message = "bins must be monotonically increasing or decreasing"
        builder.emit("check", (logical_or(rising, falling),), error="ValueError", message=message)
    return where(falls, n - places_in(flipped(edges, 0), at, side), places_in(edges, at, side))


# ---------------------------------------------------------------------------------------------- choosing


@call(np.select)
def _select_call(condlist: Any, choicelist: Any, default: Any = 0) -> Value:
    result = as_value(default)
    for condition, choice in zip(reversed(list(condlist)), reversed(list(choicelist)), strict=True):
        result = where(as_bool(as_value(condition)), as_value(choice), result)
    return strong(result)


@call(np.choose)
def _choose_call(a: Any, choices: Any, out: Any = None, mode: str = "raise") -> Value:
    at = as_value(a)
    items = [as_value(c) for c in choices] if isinstance(choices, list | tuple) else parts_of(choices)
    if not items:
        raise ShapeError("np.choose from nothing")
    builder, count = current_builder(), len(items)
    if mode == "raise" and builder.checks:
        inside = logical_and(ge(at, 0), lt(at, count))
        inside = builder.emit("all", (inside,), axes=tuple(range(at.rank)), keepdims=False) if at.rank else inside
        builder.emit("check", (inside,), error="ValueError", message="invalid entry in choice array")
    at = _within(at, builder.const(count), mode)
    result = items[-1]
    for k in range(count - 2, -1, -1):
        result = where(builder.emit("eq", (at, k)), items[k], result)
    return strong(result) if out is None else write_out(result, out)


@call(np.isin)
def _isin_call(element: Any, test_elements: Any, assume_unique: bool = False, invert: bool = False) -> Value:
    x, pool = as_value(element), as_value(test_elements)
    flat = make_reshape(pool, (-1,)) if pool.rank != 1 else pool
    table = current_builder().emit("eq", (make_index(x, (*(FULL,) * x.rank, NEWAXIS)) if x.rank else x, flat))
    found = current_builder().emit("any", (table,), axes=(table.rank - 1,), keepdims=False)
    return logical_not(found) if invert else found


@call(np.isclose)
def _isclose_call(a: Any, b: Any, rtol: Any = 1e-05, atol: Any = 1e-08, equal_nan: bool = False) -> Value:
    builder = current_builder()
    x, y = as_value(a), as_value(b)
    near = le(builder.emit("abs", (x - y,)), as_value(atol) + as_value(rtol) * builder.emit("abs", (y,)))
    same = logical_or(builder.emit("eq", (x, y)), logical_and(near, builder.emit("isfinite", (y,))))
    return strong(logical_or(same, logical_and(ne(x, x), ne(y, y))) if equal_nan else same)


@call(np.allclose)
def _allclose_call(a: Any, b: Any, rtol: Any = 1e-05, atol: Any = 1e-08, equal_nan: bool = False) -> Value:
    close = _isclose_call(a, b, rtol, atol, equal_nan)
    if close.rank:
        close = current_builder().emit("all", (close,), axes=tuple(range(close.rank)), keepdims=False)
    return convert(close, "bool", weak=True)  # Python's bool


@call(np.array_equal)
def _array_equal_call(a1: Any, a2: Any, equal_nan: bool = False) -> Value:
    x, y = as_value(a1), as_value(a2)
    builder = current_builder()
    if x.rank != y.rank:
        return builder.const(False)
    same: Value = builder.const(True)
    for p, q in zip(shape_values(x), shape_values(y), strict=True):
        if isinstance(p, int) and isinstance(q, int):
            if p != q:
                return builder.const(False)
        elif not (isinstance(p, Value) and isinstance(q, Value) and builder.size_of(p) == builder.size_of(q)):
            raise UnsupportedError(
                "np.array_equal of arrays whose sizes are not known to be equal",
                hint="compare x.shape and y.shape first, or write np.all(x == y) where they are equal",
            )
    close = builder.emit("eq", (x, y))
    if equal_nan:
        close = logical_or(close, logical_and(ne(x, x), ne(y, y)))
    found = builder.emit("all", (close,), axes=tuple(range(close.rank)), keepdims=False) if close.rank else close
    return logical_and(same, found)


# ---------------------------------------------------------------------------------------- index helpers


def _triangle_mask(n: Any, m: Any, k: Any, lower: bool) -> Value:
    row = make_index(make_positions(n), (FULL, NEWAXIS))
    column = make_positions(m)
    return le(column, row + k) if lower else ge(column, row + k)


def _triangle_positions(n: Any, k: Any, m: Any, lower: bool) -> tuple[Value, ...]:
    columns = n if m is None else m
    return _nonzero_call(_triangle_mask(n, columns, k, lower))


@call(np.tril_indices)
def _tril_indices_call(n: Any, k: Any = 0, m: Any = None) -> tuple[Value, ...]:
    return _triangle_positions(n, k, m, True)


@call(np.triu_indices)
def _triu_indices_call(n: Any, k: Any = 0, m: Any = None) -> tuple[Value, ...]:
    return _triangle_positions(n, k, m, False)


@call(np.tril_indices_from)
def _tril_indices_from_call(arr: Any, k: Any = 0) -> tuple[Value, ...]:
    rows, columns = shape_values(as_value(arr))
    return _triangle_positions(rows, k, columns, True)


@call(np.triu_indices_from)
def _triu_indices_from_call(arr: Any, k: Any = 0) -> tuple[Value, ...]:
    rows, columns = shape_values(as_value(arr))
    return _triangle_positions(rows, k, columns, False)


@call(np.diag_indices)
def _diag_indices_call(n: Any, ndim: Any = 2) -> tuple[Value, ...]:
    return (make_positions(n),) * ndim


@call(np.diag_indices_from)
def _diag_indices_from_call(arr: Any) -> tuple[Value, ...]:
    x = as_value(arr)
    return (make_positions(shape_values(x)[0]),) * x.rank


@call(np.tri)
def _tri_call(N: Any, M: Any = None, k: Any = 0, dtype: Any = float, *, like: None = None) -> Value:
    return convert(_triangle_mask(N, N if M is None else M, k, True), np.dtype(dtype).name)


@call(np.ix_)
def _ix_call(*args: Any) -> tuple[Value, ...]:
    values = [as_value(v) for v in args]
    values = [positions_where(v) if v.dtype == "bool" else v for v in values]
    regions = ([FULL if j == k else NEWAXIS for j in range(len(values))] for k in range(len(values)))
    return tuple(make_index(v, tuple(region)) for v, region in zip(values, regions, strict=True))


@call(np.meshgrid)
def _meshgrid_call(*xi: Any, copy: bool = True, sparse: bool = False, indexing: str = "xy") -> tuple[Value, ...]:
    values = [as_value(v) for v in xi]
    values = [v if v.rank else make_array([v]) for v in values]
    order = list(range(len(values)))
    if indexing == "xy" and len(values) > 1:
        order[0], order[1] = 1, 0
    lines = []
    for k, v in enumerate(values):
        region: list[Any] = [NEWAXIS] * len(values)
        region[order[k]] = FULL
        lines.append(make_index(v, tuple(region)))
    if sparse:
        return tuple(lines)
    sizes: list[Any] = [None] * len(values)
    for k, v in enumerate(values):
        sizes[order[k]] = shape_values(v)[0]
    return tuple(make_broadcast(line, sizes) for line in lines)


@call(np.indices)
def _indices_call(dimensions: Any, dtype: Any = int, sparse: bool = False) -> Any:
    lines = [make_positions(n, np.dtype(dtype).name) for n in dimensions]
    grids = _meshgrid_call(*lines, sparse=sparse, indexing="ij")
    return grids if sparse else stack(grids, 0)
