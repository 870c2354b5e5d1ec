"""Shapes: views where NumPy gives views, copies where it copies; attributes of arrays."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np

from gradc.errors import ShapeError, UnsupportedError
from gradc.ir.loops import Cells
from gradc.ir.nodes import Value, current_builder
from gradc.ir.opdef import CALLS, OpDef, call, define
from gradc.ir.region import FULL, NEWAXIS, Arg, At, Gather, Region, Span
from gradc.ir.types import Array, broadcast_shapes
from gradc.ops.arrange import at_least_1d, at_least_2d, join, slice_along
from gradc.ops.creation import sizes_of
from gradc.ops.elementwise import ge, where
from gradc.ops.memory import (
    copy,
    element_count,
    load,
    make_broadcast,
    make_gather,
    make_index,
    make_reshape,
    make_zeros,
    scatter,
    shape_values,
    size_value,
    store,
    transpose,
)
from gradc.ops.reduce import sum as sum_over
from gradc.ops.rules import as_value, constant_of, convert, dtype_name, normal_axes, normal_axis, strong, write_out
from gradc.ops.scans import make_positions

# ---------------------------------------------------------------------------------------- attributes


@call(np.shape, attribute="shape")
def _shape_attribute(a: Any) -> tuple[int | Value, ...]:
    return tuple(shape_values(as_value(a)))


@call(np.ndim, attribute="ndim")
def _ndim_attribute(a: Any) -> int:
    return as_value(a).rank


@call(attribute="size")
def _size_attribute(a: Any) -> Value:
    return element_count(as_value(a))


@call(np.size)
def _size_call(a: Any, axis: Any = None) -> Value:
    x = as_value(a)
    return element_count(x) if axis is None else size_value(x, normal_axis(axis, x.rank))


@call(attribute="dtype")
def _dtype_attribute(a: Any) -> Any:
    return np.dtype(as_value(a).dtype)


@call(attribute="T")
def _t_attribute(a: Any) -> Value:
    return reversed_axes(as_value(a))


@call(np.matrix_transpose, attribute="mT")
def _mt_attribute(x: Any, /) -> Value:
    x = as_value(x)
    if x.rank < 2:
        raise ShapeError("matrix transpose with fewer than two axes")
    return permute(x, (*range(x.rank - 2), x.rank - 1, x.rank - 2))


@call(method="item")
def _item(x: Any, *place: Any) -> Value:
    x = as_value(x)
    if len(place) == 1 and isinstance(place[0], tuple):
        (place,) = place
    if isinstance(x.ty, Array):
        if place and len(place) != x.rank:
            raise UnsupportedError("ndarray.item with one position of several", hint="index the array: float(x[i, j])")
        if not place and any(s != 1 for s in x.shape):
            raise ShapeError("item() takes an array of one element")
        builder = current_builder()
        operands = [builder.value(p) for p in place]
        region = tuple(At(Arg(k)) for k in range(len(operands))) or (At(0),) * x.rank
        x = load(x, *operands, region=region)
    return convert(x, x.dtype, weak=True)


# -------------------------------------------------------------------------------------- transposition


def permute(x: Value, perm: Sequence[int]) -> Value:
    """Axes in another order: a view, or x itself where nothing changes."""
    order = tuple(perm)
    return x if order == tuple(range(x.rank)) else transpose(x, perm=order)


def reversed_axes(x: Value) -> Value:
    """x.T."""
    return permute(x, tuple(reversed(range(x.rank))))


@call(np.transpose, np.permute_dims)
def _transpose_call(a: Any, axes: Any = None) -> Value:
    x = as_value(a)
    if axes is None:
        return reversed_axes(x)
    perm = tuple(normal_axis(k, x.rank) for k in (axes if isinstance(axes, tuple | list) else (axes,)))
    if sorted(perm) != list(range(x.rank)):
        raise ShapeError(f"axes {axes} do not permute {x.rank} axes")
    return permute(x, perm)


@call(method="transpose")
def _transpose_method(x: Any, *axes: Any) -> Value:
    if len(axes) == 1 and (axes[0] is None or isinstance(axes[0], tuple | list)):
        (axes,) = axes
    return _transpose_call(x, axes or None)


@call(np.swapaxes, method="swapaxes")
def _swapaxes_call(a: Any, axis1: Any, axis2: Any) -> Value:
    x = as_value(a)
    perm = list(range(x.rank))
    p, q = normal_axis(axis1, x.rank), normal_axis(axis2, x.rank)
    perm[p], perm[q] = perm[q], perm[p]
    return permute(x, perm)


@call(np.moveaxis)
def _moveaxis_call(a: Any, source: Any, destination: Any) -> Value:
    x = as_value(a)
    sources, targets = (
        [normal_axis(k, x.rank) for k in (v if isinstance(v, tuple | list) else (v,))] for v in (source, destination)
    )
    if len(sources) != len(targets):
        raise ShapeError("source and destination have different numbers of axes")
    perm = [k for k in range(x.rank) if k not in sources]
    for target, origin in sorted(zip(targets, sources, strict=True)):
        perm.insert(target, origin)
    return permute(x, perm)


@call(np.rollaxis)
def _rollaxis_call(a: Any, axis: Any, start: Any = 0) -> Value:
    x = as_value(a)
    axis = normal_axis(axis, x.rank)
    start = start + x.rank if start < 0 else start
    return _moveaxis_call(x, axis, start - 1 if axis < start else start)


# ------------------------------------------------------------------------------------------ reshaping


def _new_sizes(shape: Any) -> list[int | Value]:
    items = shape if isinstance(shape, tuple | list) else (shape,)
    known = [constant_of(s) if isinstance(s, Value) else s for s in items]
    return [s if k is None else int(k) for s, k in zip(items, known, strict=True)]


def reshaped(x: Value, shape: Any, order: str = "C") -> Value:
    """np.reshape; Fortran order reads and writes with the first axis running fastest."""
    sizes = _new_sizes(shape)
    if not isinstance(x.ty, Array):
        return make_broadcast(x, tuple(1 if s == -1 else s for s in sizes))
    if order == "F":
        return reversed_axes(make_reshape(reversed_axes(x), sizes[::-1]))
    if order in ("A", "K") and x.rank > 1 and not _is_c(x):
        raise UnsupportedError(
            f"order {order!r} of an array whose order in memory may not be C", hint='write order="C" or order="F"'
        )
    if order not in ("C", "A", "K"):
        raise UnsupportedError(f"order {order!r}")
    return make_reshape(x, sizes)


def _is_c(x: Value) -> bool:
    """Whether NumPy has this array in C order: an argument that is, or a view of one."""
    while x.node is not None and x.node.op.kind == "view":
        if x.ty.layout != "C":  # type: ignore[union-attr]
            return False
        x = x.node.operands[0]
    return x.node is None and x.ty.layout == "C"  # type: ignore[union-attr]


@call(np.reshape)
def _reshape_call(a: Any, /, shape: Any = None, order: str = "C", *, copy: Any = None) -> Value:
    return reshaped(as_value(a), shape, order)


@call(method="reshape")
def _reshape_method(x: Any, *shape: Any, order: str = "C", copy: Any = None) -> Value:
    if len(shape) == 1 and isinstance(shape[0], tuple | list):
        (shape,) = shape
    return reshaped(as_value(x), shape, order)


@call(np.ravel, method="ravel")
def _ravel_call(a: Any, order: str = "C") -> Value:
    x = as_value(a)
    return x if x.rank == 1 and x.ty.layout == "C" else reshaped(x, (-1,), order)  # type: ignore[union-attr]


@call(method="flatten")
def _flatten(x: Any, order: str = "C") -> Value:
    x = as_value(x)
    if not isinstance(x.ty, Array):
        return at_least_1d(x)
    if order == "F":
        return _ravel_call(copy(reversed_axes(x)))
    return _ravel_call(copy(x))


@call(attribute="itemsize")
def _itemsize_attribute(a: Any) -> int:
    return np.dtype(as_value(a).dtype).itemsize


@call(attribute="nbytes")
def _nbytes_attribute(a: Any) -> Value:
    return element_count(as_value(a)) * np.dtype(as_value(a).dtype).itemsize


@call(method="view")
def _view_method(x: Any, dtype: Any = None) -> Value:
    x = as_value(x)
    if dtype is not None and np.dtype(dtype).name != x.dtype:
        raise UnsupportedError("a view of the same bytes as another dtype", hint="convert with .astype")
    return make_index(x, (FULL,) * x.rank)


@call(np.resize)
def _resize_call(a: Any, new_shape: Any) -> Value:
    x = as_value(a)
    flat = x if x.rank == 1 else make_reshape(at_least_1d(x), (-1,))
    sizes = sizes_of(new_shape)
    total: Any = 1
    for s in sizes:
        total = total * s
    places = make_positions(total) % element_count(flat)
    return make_reshape(make_gather(flat, (Gather(0),), places), sizes)


@call(np.broadcast_shapes)
def _broadcast_shapes_call(*args: Any) -> tuple[Any, ...]:
    shapes = [tuple(s) if isinstance(s, tuple | list) else (s,) for s in args]
    if any(isinstance(s, Value) for shape in shapes for s in shape):
        raise UnsupportedError("np.broadcast_shapes of sizes that are not known", hint="give sizes as literals")
    return np.broadcast_shapes(*shapes)


@call(np.expand_dims)
def _expand_dims_call(a: Any, axis: Any) -> Value:
    x = as_value(a)
    given = axis if isinstance(axis, tuple | list) else (axis,)
    rank = x.rank + len(given)
    added = {normal_axis(k, rank) for k in given}
    if len(added) != len(given):
        raise ShapeError(f"repeated axis in {axis}")
    if not isinstance(x.ty, Array):
        return make_broadcast(x, (1,) * rank)
    return make_index(x, tuple(NEWAXIS if k in added else FULL for k in range(rank)))


@call(np.squeeze, method="squeeze")
def _squeeze_call(a: Any, axis: Any = None) -> Value:
    x = strong(a)
    builder = current_builder()
    ones = [k for k, s in enumerate(x.shape) if builder.canonical_size(s) == 1]
    dropped = ones if axis is None else normal_axes(axis, x.rank)
    if any(k not in ones for k in dropped):
        raise ShapeError("cannot squeeze an axis whose size is not 1")
    return make_index(x, tuple(At(0) if k in dropped else FULL for k in range(x.rank))) if dropped else x


@call(np.atleast_1d)
def _atleast_1d_call(*arys: Any) -> Any:
    made = tuple(at_least_1d(as_value(a)) for a in arys)
    return made[0] if len(made) == 1 else made


@call(np.atleast_2d)
def _atleast_2d_call(*arys: Any) -> Any:
    made = tuple(at_least_2d(as_value(a)) for a in arys)
    return made[0] if len(made) == 1 else made


@call(np.atleast_3d)
def _atleast_3d_call(*arys: Any) -> Any:
    made = []
    for a in arys:
        x = at_least_2d(as_value(a))
        made.append(x if x.rank > 2 else make_index(x, (FULL, FULL, NEWAXIS)))
    return made[0] if len(made) == 1 else tuple(made)


@call(np.broadcast_to)
def _broadcast_to_call(array: Any, shape: Any, subok: bool = False) -> Value:
    x, builder = as_value(array), current_builder()
    sizes = sizes_of(shape)
    target = tuple(builder.size_of(s) for s in sizes)
    if x.rank > len(sizes):
        raise ShapeError(f"an array of {x.rank} axes does not broadcast to {len(sizes)}")
    broadcast_shapes(x.shape, target)
    for axis, own in enumerate(x.shape, len(sizes) - x.rank):
        known = builder.canonical_size(own)
        if known != 1 and known != target[axis]:
            if isinstance(target[axis], int) and isinstance(known, int):
                raise ShapeError(f"axis of size {known} does not broadcast to {target[axis]}")
            if builder.checks:
                same = builder.emit("eq", (size_value(x, axis - len(sizes) + x.rank), sizes[axis]))
                builder.emit("check", (same,), error="ShapeError", message=f"size {known} is not {target[axis]}")
            builder.learn_equal(known, target[axis])
    made = make_broadcast(x, sizes)
    return _snapshot(made) if x.rank else made


@call(np.broadcast_arrays)
def _broadcast_arrays_call(*args: Any, subok: bool = False) -> tuple[Value, ...]:
    values = [as_value(a) for a in args]
    return tuple(_snapshot(make_broadcast(v, broadcast_values(values))) for v in values)


def broadcast_values(values: Sequence[Value]) -> list[int | Value]:
    """The shape that values broadcast to, as ints and run-time sizes."""
    shape = current_builder().broadcast(values)
    result: list[int | Value] = []
    for k, size in enumerate(shape):
        if isinstance(size, int):
            result.append(size)
            continue
        for v in values:
            own = k - (len(shape) - v.rank)
            if own >= 0 and v.shape[own] != 1:
                result.append(size_value(v, own))
                break
    return result


# -------------------------------------------------------------------------------- flips, repetition


def _flipped(x: Value, axes: Sequence[int]) -> Value:
    return make_index(x, tuple(Span(None, None, -1) if k in axes else FULL for k in range(x.rank)))


@call(np.flip)
def _flip_call(m: Any, axis: Any = None) -> Value:
    x = as_value(m)
    return _flipped(x, normal_axes(axis, x.rank))


@call(np.flipud)
def _flipud_call(m: Any) -> Value:
    return _flipped(as_value(m), (0,))


@call(np.fliplr)
def _fliplr_call(m: Any) -> Value:
    x = as_value(m)
    if x.rank < 2:
        raise ShapeError("np.fliplr takes two axes or more")
    return _flipped(x, (1,))


@call(np.rot90)
def _rot90_call(m: Any, k: Any = 1, axes: Any = (0, 1)) -> Value:
    x = as_value(m)
    p, q = (normal_axis(a, x.rank) for a in axes)
    match k % 4:
        case 0:
            return x
        case 1:
            return _swapaxes_call(_flipped(x, (q,)), p, q)
        case 2:
            return _flipped(x, (p, q))
        case _:
            return _flipped(_swapaxes_call(x, p, q), (q,))


def _expand_roll(x: Value, shift: Any, *, axis: int) -> Value:
    n = size_value(x, axis)
    ahead = shift % where(ge(n, 1), n, 1) if constant_of(n) != 0 else n
    result = make_zeros(shape_values(x), x.dtype, filled=False)

    def piece(of: Value, start: Any, stop: Any, size: Any) -> Value:
        like = make_zeros_type(of, axis, size)
        return slice_along(of, axis, start, stop, like)

    size = current_builder().new_size("rolled")
    rest = current_builder().new_size("rest")
    store(piece(result, ahead, None, rest), piece(x, 0, n - ahead, rest))
    store(piece(result, 0, ahead, size), piece(x, n - ahead, None, size))
    return result


def make_zeros_type(of: Value, axis: int, size: Any) -> Value:
    """A stand-in that only tells the sizes of a slice of `of`."""
    shape = tuple(size if k == axis else s for k, s in enumerate(of.shape))
    return Value(Array(of.dtype, shape))


roll: OpDef = define(
    OpDef(
        "roll", "fresh", ("x", "shift"), moves="first", emit="np.roll({x}, {shift}, axis={axis})", expand=_expand_roll,
        infer=lambda types, attrs, require: [Array(types[0].dtype, types[0].shape)],
        run=lambda x, shift, axis: np.roll(x, shift, axis=axis),
        vjp=lambda ct, y, x, shift, *, axis: [roll(ct, -shift, axis=axis), None],
        jvp=lambda tangents, y, x, shift, *, axis: roll(tangents[0], shift, axis=axis),
        takes_complex=True,
        doc="Elements move `shift` places up along {axis}, those that leave come in at the other end.",
    )
)


@call(np.roll)
def _roll_call(a: Any, shift: Any, axis: Any = None) -> Value:
    x = as_value(a)
    if axis is None:
        rolled = _roll_call(make_reshape(x, (-1,)), shift, 0)
        return make_reshape(rolled, shape_values(x))
    axes = axis if isinstance(axis, tuple | list) else (axis,)
    shifts = shift if isinstance(shift, tuple | list) else (shift,) * len(axes)
    for one_shift, one_axis in zip(shifts, axes, strict=True):
        x = roll(x, one_shift, axis=normal_axis(one_axis, x.rank))
    return x


@call(np.tile)
def _tile_call(A: Any, reps: Any) -> Value:
    x = at_least_1d(as_value(A))
    counts: list[Any] = sizes_of(reps)
    rank = max(x.rank, len(counts))
    counts = [1] * (rank - len(counts)) + counts
    sizes: list[Any] = [1] * (rank - x.rank) + shape_values(x)
    lead = make_index(x, (*(NEWAXIS,) * (rank - x.rank), *(FULL,) * x.rank))
    region: list[Any] = []
    spread: list[Any] = []
    for count, size in zip(counts, sizes, strict=True):
        region += [NEWAXIS, FULL]
        spread += [count, size]
    wide = make_broadcast(make_index(lead, tuple(region)), spread)
    return make_reshape(wide, [c * s for c, s in zip(counts, sizes, strict=True)])


def _same_count(x: Value, axis: int, count: int) -> None:
    """There is one number of repetitions for each entry along the axis."""
    builder = current_builder()
    size = builder.canonical_size(x.shape[axis])
    message = f"operands could not be broadcast together: {count} numbers of repetitions for another number of entries"
    if isinstance(size, int):
        if size != count:
            raise ShapeError(message)
    elif builder.checks:
        same = builder.emit("eq", (size_value(x, axis), count))
        builder.emit("check", (same,), error="ValueError", message=message)


@call(np.repeat, method="repeat")
def _repeat_call(a: Any, repeats: Any, axis: Any = None) -> Value:
    x = at_least_1d(as_value(a))
    if axis is None:
        x, axis = _ravel_call(x), 0
    axis = normal_axis(axis, x.rank)
    if isinstance(repeats, list | tuple) and len(repeats) == 1:
        (repeats,) = repeats
    if isinstance(repeats, Value) and repeats.rank == 1 and repeats.shape[0] != 1:
        return _repeated_each(x, repeats, axis)
    if isinstance(repeats, Value) and repeats.rank == 1:
        repeats = convert(load(repeats, region=(At(0),)), "int64", weak=True)
    if isinstance(repeats, list | tuple):
        _same_count(x, axis, len(repeats))
        places = np.repeat(np.arange(len(repeats)), repeats)
        picked = tuple(Gather(0) if k == axis else FULL for k in range(x.rank))
        return make_gather(x, picked, as_value([int(p) for p in places]))
    (count,) = sizes_of(repeats)
    sizes = shape_values(x)
    spread: Region = (*(FULL,) * (axis + 1), NEWAXIS, *(FULL,) * (x.rank - axis - 1))
    wide = make_broadcast(make_index(x, spread), [*sizes[: axis + 1], count, *sizes[axis + 1 :]])
    return make_reshape(wide, [s * count if k == axis else s for k, s in enumerate(sizes)])


def _repeated_each(x: Value, repeats: Value, axis: int) -> Value:
    """Entries along an axis, each as often as an array of integers says."""
    builder = current_builder()
    builder.require_equal(x, axis, repeats, 0)
    stops = CALLS[np.cumsum].build(repeats)
    n = size_value(repeats, 0)
    if builder.checks:
        natural = builder.emit("all", (ge(repeats, 0),), axes=(0,), keepdims=False)
        builder.emit("check", (natural,), error="ValueError", message="repeats may not contain negative values.")
    last = builder.emit("maximum", (n - 1, 0))
    total = where(ge(n, 1), load(CALLS[np.append].build(stops, 0), last, region=(At(Arg(0)),)), 0)
    places = CALLS[np.searchsorted].build(stops, make_positions(convert(total, "int64", weak=True)), "right")
    return make_gather(x, tuple(Gather(0) if k == axis else FULL for k in range(x.rank)), places)


@call(np.pad)
def _pad_call(
    array: Any, pad_width: Any, mode: Any = "constant", *, constant_values: Any = 0, end_values: Any = 0,
    stat_length: Any = None, reflect_type: str = "even",
) -> Value:
    x = as_value(array)
    widths = _pad_widths(pad_width, x.rank)
    if reflect_type != "even":
        raise UnsupportedError("np.pad with reflect_type", hint="write 2 * edge - np.pad(x, ...) for the odd extension")
    if mode == "empty":
        raise UnsupportedError('np.pad with mode "empty"', hint='use mode="constant"')
    sides = constant_values if mode == "constant" else end_values if mode == "linear_ramp" else 0
    if mode in ("linear_ramp", *_SUMMARIES) or isinstance(sides, tuple | list):
        pairs = _side_values(sides, x.rank)
        for axis, ((before, after), ends) in enumerate(zip(widths, pairs, strict=True)):
            x = _padded_by_parts(x, axis, (before, after), mode, ends, _stat_lengths(stat_length, x.rank)[axis])
        return x
    if stat_length is not None:
        raise UnsupportedError(f"np.pad with mode {mode!r} and stat_length")
    if mode != "constant":
        for axis, (before, after) in enumerate(widths):
            if before or after:
                x = _padded_by_index(x, axis, before, after, mode)
        return x
    sizes = shape_values(x)
    total = [s + before + after for s, (before, after) in zip(sizes, widths, strict=True)]
    fill = as_value(constant_values)
    whole = make_zeros(total, x.dtype) if constant_of(fill) == 0 else make_broadcast(convert(fill, x.dtype), total)
    inside = whole
    for axis, (before, _) in enumerate(widths):
        stop = before + sizes[axis]
        inside = slice_along(inside, axis, before, stop, make_zeros_type(x, axis, x.shape[axis]))
    store(inside, x)
    return whole


_SUMMARIES = {"maximum": np.max, "minimum": np.min, "mean": np.mean, "median": np.median}


def _side_values(given: Any, rank: int) -> list[tuple[Any, Any]]:
    """The value before and after each axis: one number, a pair, or a pair for each axis."""
    if not isinstance(given, tuple | list):
        return [(given, given)] * rank
    if not any(isinstance(v, tuple | list) for v in given):
        return [(given[0], given[-1])] * rank
    pairs = [(v[0], v[-1]) for v in given]
    return pairs * rank if len(pairs) == 1 else pairs


def _stat_lengths(given: Any, rank: int) -> list[tuple[Any, Any]]:
    return [(None, None)] * rank if given is None else _side_values(given, rank)


def _padded_by_parts(
    x: Value, axis: int, widths: tuple[int, int], mode: str, ends: tuple[Any, Any], lengths: tuple[Any, Any]
) -> Value:
    """x with something joined on either side of an axis: constants, ramps, or what an end of it comes to."""
    parts = [x]
    for side, (width, end, length) in enumerate(zip(widths, ends, lengths, strict=True)):
        if not width:
            continue
        sizes = shape_values(x)
        sizes[axis] = width
        if mode == "constant":
            slab = make_broadcast(convert(as_value(end), x.dtype), sizes)
        elif mode == "linear_ramp":
            edge = make_index(x, tuple(
                (Span(-1, None) if side else Span(None, 1)) if k == axis else FULL for k in range(x.rank)
            ))
            steps = convert(make_positions(width), x.dtype)
            share = (steps + 1.0 if side else width - steps) / float(width)
            share = make_index(share, tuple(FULL if k == axis else NEWAXIS for k in range(x.rank)))
            goal = convert(as_value(end), x.dtype)
            slab = edge + (goal - edge) * share
        else:
            span = FULL if length is None else Span(-length, None) if side else Span(None, length)
            near = make_index(x, tuple(span if k == axis else FULL for k in range(x.rank)))
            slab = make_broadcast(CALLS[_SUMMARIES[mode]].build(near, axis, keepdims=True), sizes)
        parts = [*parts, convert(slab, x.dtype)] if side else [convert(slab, x.dtype), *parts]
    return join(parts, axis)


def _pad_widths(width: Any, rank: int) -> list[tuple[int, int]]:
    if isinstance(width, dict):
        given = {normal_axis(k, rank): v if isinstance(v, tuple | list) else (v, v) for k, v in width.items()}
        return [(given[k][0], given[k][-1]) if k in given else (0, 0) for k in range(rank)]
    if isinstance(width, int):
        return [(width, width)] * rank
    if not isinstance(width, tuple | list) or any(isinstance(w, Value) for w in width):
        raise UnsupportedError("np.pad takes literal widths")
    if all(isinstance(w, int) for w in width):
        before, after = width if len(width) == 2 else (width[0], width[0])
        return [(before, after)] * rank
    pairs = [(w[0], w[-1]) for w in width]
    return pairs * rank if len(pairs) == 1 else pairs


def _padded_by_index(x: Value, axis: int, before: int, after: int, mode: str) -> Value:
    n = size_value(x, axis)
    i = make_positions(n + (before + after)) - before
    match mode:
        case "edge":
            last = n - 1
            places = current_builder().emit("minimum", (current_builder().emit("maximum", (i, 0)), last))
        case "wrap":
            places = i % n
        case "symmetric":
            around = i % (2 * n)
            places = where(ge(around, n), 2 * n - 1 - around, around)
        case "reflect":
            period = current_builder().emit("maximum", (2 * n - 2, 1))
            around = i % period
            places = where(ge(around, n), 2 * n - 2 - around, around)
        case _:
            raise UnsupportedError(f"np.pad with mode {mode!r}", hint="use one of NumPy's names: edge, reflect, …")
    return make_gather(x, tuple(Gather(0) if k == axis else FULL for k in range(x.rank)), places)


# -------------------------------------------------------------------------------- triangles, diagonals


def _triangle(name: str, other: str, kept: str) -> OpDef:
    def flipped(ct: Value, y: Value, x: Value, *, k: int) -> list[Value]:
        return [current_builder().emit(name, (ct,), k=k)]

    return define(
        OpDef(
            name, "fresh", ("x",), moves="first",
            infer=lambda types, attrs, require: [Array(types[0].dtype, types[0].shape)],
            run=lambda x, k: getattr(np, name)(x, k),
            emit=lambda node, x: f"np.{name}({x}{', ' + str(node.attrs['k']) if node.attrs['k'] else ''})",
            vjp=flipped, linear=("x",), takes_complex=True,
            lower=Cells(f"({{x}} if {{column}} - {{row}} {kept} {{k}} else 0)"),
            doc=f"The {other} triangle of the last two axes, from diagonal {{k}}; zeros elsewhere.",
        )
    )


tril = _triangle("tril", "lower", "<=")
triu = _triangle("triu", "upper", ">=")


def _triangle_call(op: OpDef, m: Any, k: Any) -> Value:
    x = as_value(m)
    known = constant_of(k) if isinstance(k, Value) else k
    if known is None:
        raise UnsupportedError(f"np.{op.name} takes a literal k")
    if x.rank == 1:
        n = size_value(x, 0)
        x = make_broadcast(x, (n, n))
    if x.rank < 2:
        raise ShapeError(f"np.{op.name} takes an array")
    return op(x, k=int(known))


@call(np.tril)
def _tril_call(m: Any, k: Any = 0) -> Value:
    return _triangle_call(tril, m, k)


@call(np.triu)
def _triu_call(m: Any, k: Any = 0) -> Value:
    return _triangle_call(triu, m, k)


def diagonal(x: Value, offset: int, axis1: int, axis2: int) -> Value:
    """The diagonal of two axes as the last axis of a new array."""
    rest = [k for k in range(x.rank) if k not in (axis1, axis2)]
    moved = permute(x, (*rest, axis1, axis2))
    rows, columns = shape_values(moved)[-2:]
    below, right = max(-offset, 0), max(offset, 0)
    builder = current_builder()
    down, across = rows - below if below else rows, columns - right if right else columns
    count: Any
    if isinstance(down, int) and isinstance(across, int):
        count = max(min(down, across), 0)
    elif x.shape[axis1] == x.shape[axis2]:
        count = builder.emit("maximum", (across if right else down, 0)) if offset else down
    else:
        count = builder.emit("minimum", (down, across))
        count = builder.emit("maximum", (count, 0)) if offset else count
    i = make_positions(count)
    first, second = (i if not s else i + s for s in (below, right))
    return make_gather(moved, (*(FULL,) * len(rest), Gather(0), Gather(1)), first, second)


def _literal(k: Any, what: str) -> int:
    known = constant_of(k) if isinstance(k, Value) else k
    if not isinstance(known, int | np.integer):
        raise UnsupportedError(f"{what} takes a literal offset")
    return int(known)


@call(np.diagonal, method="diagonal")
def _diagonal_call(a: Any, offset: Any = 0, axis1: Any = 0, axis2: Any = 1) -> Value:
    x = as_value(a)
    first, second = normal_axis(axis1, x.rank), normal_axis(axis2, x.rank)
    return _snapshot(diagonal(x, _literal(offset, "np.diagonal"), first, second))


def _snapshot(copy_of_view: Value) -> Value:
    """The value, entered among those that NumPy would give as views."""
    current_builder().snapshots.append(copy_of_view)
    return copy_of_view


@call(np.trace, method="trace")
def _trace_call(a: Any, offset: Any = 0, axis1: Any = 0, axis2: Any = 1, dtype: Any = None, out: Any = None) -> Value:
    found = _diagonal_call(a, offset, axis1, axis2)
    if dtype is not None:
        found = convert(found, dtype_name(dtype))
    result = sum_over(found, axes=(found.rank - 1,), keepdims=False)
    return result if out is None else write_out(result, out)


@call(np.diagflat)
def _diagflat_call(v: Any, k: Any = 0) -> Value:
    x = at_least_1d(as_value(v))
    return _diag_call(x if x.rank == 1 else make_reshape(x, (-1,)), k)


@call(np.diag)
def _diag_call(v: Any, k: Any = 0) -> Value:
    x, offset = as_value(v), _literal(k, "np.diag")
    if x.rank == 2:
        return _snapshot(diagonal(x, offset, 0, 1))
    if x.rank != 1:
        raise ShapeError("np.diag takes one or two axes")
    n = shape_values(x)[0]
    side = n + abs(offset) if offset else n
    matrix = make_zeros((side, side), x.dtype)
    i = make_positions(n)
    first, second = (i if not s else i + s for s in (max(-offset, 0), max(offset, 0)))
    scatter(matrix, x, first, second, region=(Gather(0), Gather(1)))
    return matrix


# ------------------------------------------------------------------------------------------ splitting


def _split(x: Value, sections: Any, axis: int, equal: bool) -> list[Value]:
    size = current_builder().canonical_size(x.shape[axis])
    if isinstance(sections, int):
        if not isinstance(size, int):
            return _split_evenly(x, sections, axis, equal)
        if equal and size % sections:
            raise ShapeError("array split does not result in an equal division")
        cuts = [int(c) for c in np.cumsum([len(p) for p in np.array_split(np.arange(size), sections)])[:-1]]
    elif isinstance(sections, Value):
        cuts = _known_cuts(sections)
    else:
        cuts = list(sections)
    bounds: list[Any] = [None, *cuts, None]
    region: list[Any] = [FULL] * x.rank
    parts = []
    for start, stop in itertools.pairwise(bounds):
        operands = [v for v in (start, stop) if isinstance(v, Value)]
        region[axis] = Span(*(Arg(operands.index(v)) if isinstance(v, Value) else v for v in (start, stop)))
        parts.append(make_index(x, tuple(region), *operands))
    return parts


def _known_cuts(places: Value) -> list[Any]:
    count = current_builder().canonical_size(places.shape[0]) if places.rank == 1 else None
    if not isinstance(count, int):
        raise UnsupportedError("a split at a number of places that is not known", hint="give a list of positions")
    return [convert(load(places, region=(At(k),)), "int64", weak=True) for k in range(count)]


def _split_evenly(x: Value, sections: int, axis: int, equal: bool) -> list[Value]:
    builder = current_builder()
    n = size_value(x, axis)
    if not equal:
        # The first n % sections parts have one entry more.
        length, longer = n // sections, n % sections
        cuts = [length * k + builder.emit("minimum", (longer, k)) for k in range(1, sections)]
        return _split(x, cuts, axis, equal)
    if builder.checks:
        message = "array split does not result in an equal division"
        builder.emit("check", (builder.emit("eq", (n % sections, 0)),), error="ValueError", message=message)
    length = n // sections
    size = builder.new_size("part")
    length.size = size
    like = make_zeros_type(x, axis, size)
    return [slice_along(x, axis, length * k if k else 0, length * (k + 1), like) for k in range(sections)]


@call(np.split)
def _split_call(ary: Any, indices_or_sections: Any, axis: Any = 0) -> list[Value]:
    x = as_value(ary)
    return _split(x, indices_or_sections, normal_axis(axis, x.rank), equal=True)


@call(np.array_split)
def _array_split_call(ary: Any, indices_or_sections: Any, axis: Any = 0) -> list[Value]:
    x = as_value(ary)
    return _split(x, indices_or_sections, normal_axis(axis, x.rank), equal=False)


@call(np.vsplit)
def _vsplit_call(ary: Any, indices_or_sections: Any) -> list[Value]:
    return _split_call(ary, indices_or_sections, 0)


@call(np.hsplit)
def _hsplit_call(ary: Any, indices_or_sections: Any) -> list[Value]:
    x = as_value(ary)
    return _split_call(x, indices_or_sections, 0 if x.rank == 1 else 1)


@call(np.dsplit)
def _dsplit_call(ary: Any, indices_or_sections: Any) -> list[Value]:
    return _split_call(ary, indices_or_sections, 2)

