"""np.insert and np.delete, at positions of every kind."""

from __future__ import annotations

from typing import Any

import numpy as np

from gradc.errors import ShapeError
from gradc.ir.nodes import Value, current_builder
from gradc.ir.opdef import CALLS, call
from gradc.ir.region import FULL, NEWAXIS, Arg, Gather, Region, Span
from gradc.ops.elementwise import add, logical_not, lt, where
from gradc.ops.indexing import argsort, positions_where
from gradc.ops.memory import (
    check_indices,
    make_broadcast,
    make_gather,
    make_index,
    make_reshape,
    make_zeros,
    scatter,
    shape_values,
    size_value,
    store,
)
from gradc.ops.rules import as_value, constant_of, convert, normal_axis
from gradc.ops.scans import make_positions


def _flattened(arr: Any, axis: Any) -> tuple[Value, int]:
    x = as_value(arr)
    if axis is None:
        return (x if x.rank == 1 else make_reshape(x, (-1,))), 0
    return x, normal_axis(axis, x.rank)


def _literal(place: Any) -> int | None:
    """A position that is known."""
    known = constant_of(place) if isinstance(place, Value) else place
    whole = isinstance(known, int | np.integer) and not isinstance(known, bool)
    return int(known) if whole else None  # type: ignore[arg-type]


def _along(x: Value, axis: int, entry: Any) -> Region:
    return tuple(entry if k == axis else FULL for k in range(x.rank))


def _check_place(x: Value, axis: int, place: int, at_end: bool) -> None:
    """A literal position is in range; one after the last is, where `at_end`."""
    builder = current_builder()
    least = -place if place < 0 else place + (0 if at_end else 1)
    size = builder.canonical_size(x.shape[axis])
    message = f"index {place} is out of bounds for axis {axis}"
    if isinstance(size, int):
        if size < least:
            raise ShapeError(message)
    elif builder.checks and least:
        holds = builder.emit("ge", (size_value(x, axis), least))
        builder.emit("check", (holds,), error="IndexError", message=message)


def _positions(obj: Any, x: Value, axis: int) -> Value:
    """Positions in one axis, from slices, masks, lists and arrays."""
    n = size_value(x, axis)
    if isinstance(obj, slice):
        line = make_positions(n)
        operands = [v for v in (obj.start, obj.stop) if isinstance(v, Value)]
        bounds = [Arg(operands.index(v)) if isinstance(v, Value) else v for v in (obj.start, obj.stop)]
        return make_index(line, (Span(bounds[0], bounds[1], obj.step),), *operands)
    places = as_value(obj)
    if isinstance(obj, list | tuple) and not obj:
        places = make_zeros((0,), "int64")
    if places.dtype == "bool":
        return positions_where(places)
    if places.rank == 0:
        places = make_reshape(CALLS[np.atleast_1d].build(places), (1,))
    if places.rank != 1:
        raise ShapeError("positions stand in a list")
    return places


# ---------------------------------------------------------------------------------------------- delete


@call(np.delete)
def _delete_call(arr: Any, obj: Any, axis: Any = None) -> Value:
    x, axis = _flattened(arr, axis)
    place = _literal(obj)
    if place is not None:
        _check_place(x, axis, place, at_end=False)
        ahead = make_index(x, _along(x, axis, Span(None, place)))
        if place == -1:
            return CALLS[np.copy].build(ahead)
        behind = make_index(x, _along(x, axis, Span(place + 1, None)))
        made: Value = current_builder().emit("concatenate", (ahead, behind), axis=axis)
        return made
    n = shape_values(x)[axis]
    kept = make_broadcast(convert(as_value(True), "bool"), (n,))
    if isinstance(obj, slice):
        operands = [v for v in (obj.start, obj.stop) if isinstance(v, Value)]
        bounds = [Arg(operands.index(v)) if isinstance(v, Value) else v for v in (obj.start, obj.stop)]
        store(make_index(kept, (Span(bounds[0], bounds[1], obj.step),), *operands), as_value(False))
    else:
        places = as_value(obj) if not (isinstance(obj, list | tuple) and not obj) else make_zeros((0,), "int64")
        if places.dtype == "bool":
            current_builder().require_equal(x, axis, places, 0)
            kept = logical_not(places)
        else:
            places = _positions(places, x, axis)
            check_indices(places, x, axis=axis, message="")
            scatter(kept, as_value(False), places, region=(Gather(0),))
    return make_gather(x, _along(x, axis, Gather(0)), positions_where(kept))


# ---------------------------------------------------------------------------------------------- insert


@call(np.insert)
def _insert_call(arr: Any, obj: Any, values: Any, axis: Any = None) -> Value:
    x, axis = _flattened(arr, axis)
    value = convert(as_value(values), x.dtype)
    single = obj[0] if isinstance(obj, list | tuple) and len(obj) == 1 else obj
    place = _literal(single)
    if place is not None:
        scalar = not isinstance(obj, list | tuple)
        return _inserted_block(x, axis, place, _block(x, axis, value, scalar))
    places = _positions(obj, x, axis)
    check = add(places, 0)
    n = size_value(x, axis)
    places = where(lt(check, 0), check + n, check)
    return _inserted_each(x, axis, places, value)


def _block(x: Value, axis: int, value: Value, scalar: bool) -> Value:
    """What stands at one position, with all axes of x: one entry or several along the axis, the others broadcast."""
    if value.rank > x.rank:
        raise ShapeError("the values have more axes than the array")
    if value.rank:
        lead = x.rank - value.rank
        value = make_index(value, (*(NEWAXIS,) * lead, *(FULL,) * value.rank))
        if scalar and axis:
            # NumPy moves the first axis, along which there are several entries, to its place.
            perm = [*range(1, axis + 1), 0, *range(axis + 1, x.rank)]
            value = CALLS[np.transpose].build(value, tuple(perm))
    sizes = shape_values(x)
    sizes[axis] = shape_values(value)[axis] if value.rank else 1
    return make_broadcast(value, sizes)


def _inserted_block(x: Value, axis: int, place: int, block: Value) -> Value:
    _check_place(x, axis, place, at_end=True)
    ahead = make_index(x, _along(x, axis, Span(None, place)))
    behind = make_index(x, _along(x, axis, Span(place, None)))
    made: Value = current_builder().emit("concatenate", (ahead, block, behind), axis=axis)
    return made


def _inserted_each(x: Value, axis: int, places: Value, value: Value) -> Value:
    """One entry before each of some positions; equal ones in the order in which they are given."""
    builder = current_builder()
    n, count = size_value(x, axis), size_value(places, 0)
    if builder.checks:
        inside = builder.emit("logical_and", (builder.emit("ge", (places, 0)), builder.emit("le", (places, n))))
        everywhere = builder.emit("all", (inside,), axes=(0,), keepdims=False)
        builder.emit("check", (everywhere,), error="IndexError", message="a position of np.insert is out of bounds")
    order = argsort(places, axis=0)
    rank = make_zeros((count,), "int64", filled=False)
    scatter(rank, make_positions(count), order, region=(Gather(0),))
    final = places + rank
    sizes = shape_values(x)
    sizes[axis] = n + count
    old = make_broadcast(convert(as_value(True), "bool"), (n + count,))
    scatter(old, as_value(False), final, region=(Gather(0),))
    result = make_zeros(sizes, x.dtype)
    wanted = shape_values(x)
    wanted[axis] = count
    slab = make_broadcast(value, wanted)
    scatter(result, slab, final, region=_along(result, axis, Gather(0)))
    scatter(result, x, positions_where(old), region=_along(result, axis, Gather(0)))
    return result
