"""Differences, quadrature, interpolation, convolution, polynomials."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from gradc.errors import DTypeError, ShapeError, UnsupportedError
from gradc.ir.nodes import Block, Value, current_builder
from gradc.ir.opdef import OpDef, call, define
from gradc.ir.region import FULL, NEWAXIS, Arg, At, Gather, Region, Span
from gradc.ir.types import WEAK_INT, Array, Scalar, add_sizes, is_complex, promote_dtypes, subtract_sizes
from gradc.ops.arrange import at_least_1d, concatenate, stack
from gradc.ops.elementwise import abs, gt, lt, maximum, minimum, mod, where
from gradc.ops.indexing import argsort, places_in
from gradc.ops.memory import (
    load,
    make_broadcast,
    make_gather,
    make_index,
    make_reshape,
    make_zeros,
    shape_values,
    size_value,
    store_at,
)
from gradc.ops.reduce import sum as sum_over
from gradc.ops.rules import as_value, convert, normal_axes, normal_axis, strong
from gradc.ops.scans import flipped


def part(x: Value, axis: int, start: int | None, stop: int | None) -> Value:
    """x[..., start:stop, ...] along one axis: a view."""
    return make_index(x, tuple(Span(start, stop) if k == axis else FULL for k in range(x.rank)))


def along(line: Value, rank: int, axis: int) -> Value:
    """An array of one axis, placed along `axis` of `rank` so that it broadcasts."""
    region: Region = tuple(FULL if k == axis else NEWAXIS for k in range(rank))
    return make_index(line, region)


# -------------------------------------------------------------------------------------------- differences


@call(np.diff)
def _diff_call(a: Any, n: Any = 1, axis: Any = -1, prepend: Any = None, append: Any = None) -> Value:
    x = as_value(a)
    axis = normal_axis(axis, x.rank)
    sides: list[Value] = []
    for extra in (prepend, None, append):
        if extra is None:
            continue
        sides.append(_slab(as_value(extra), x, axis))
    if prepend is not None or append is not None:
        before = [sides[0]] if prepend is not None else []
        after = [sides[-1]] if append is not None else []
        x = concatenate(*before, x, *after, axis=axis)
    for _ in range(n):
        x = part(x, axis, 1, None) - part(x, axis, None, -1)
    return x


def _slab(value: Value, x: Value, axis: int) -> Value:
    if value.rank:
        return value
    sizes: list[Any] = shape_values(x)
    sizes[axis] = 1
    return make_broadcast(convert(value, value.dtype), sizes)


@call(np.ediff1d)
def _ediff1d_call(ary: Any, to_end: Any = None, to_begin: Any = None) -> Value:
    x = as_value(ary)
    x = x if x.rank == 1 else make_reshape(x, (-1,))
    steps = part(x, 0, 1, None) - part(x, 0, None, -1)
    pieces = [None if v is None else convert(at_least_1d(as_value(v)), x.dtype) for v in (to_begin, to_end)]
    made = [p for p in (pieces[0], steps, pieces[1]) if p is not None]
    return concatenate(*made, axis=0) if len(made) > 1 else steps


def _gradient_along(x: Value, axis: int, spacing: Value, edge_order: int) -> Value:
    """Central differences inside, one-sided ones at the ends (NumPy's np.gradient)."""
    if spacing.rank:
        h = along(part(spacing, 0, 1, None) - part(spacing, 0, None, -1), x.rank, axis)
        left, right = part(h, axis, None, -1), part(h, axis, 1, None)
        a, b = -right / (left * (left + right)), (right - left) / (left * right)
        c = left / (right * (left + right))
        inside = a * part(x, axis, None, -2) + b * part(x, axis, 1, -1) + c * part(x, axis, 2, None)
        h_first, h_last = part(h, axis, None, 1), part(h, axis, -1, None)
    else:
        inside = (part(x, axis, 2, None) - part(x, axis, None, -2)) / (2.0 * spacing)
        h_first = h_last = spacing
    if edge_order == 2 and spacing.rank:
        p, q = part(h, axis, None, 1), part(h, axis, 1, 2)
        first = (
            -(2.0 * p + q) / (p * (p + q)) * part(x, axis, None, 1) + (p + q) / (p * q) * part(x, axis, 1, 2)
            - p / (q * (p + q)) * part(x, axis, 2, 3)
        )
        p, q = part(h, axis, -2, -1), part(h, axis, -1, None)
        last = (
            q / (p * (p + q)) * part(x, axis, -3, -2) - (q + p) / (p * q) * part(x, axis, -2, -1)
            + (2.0 * q + p) / (q * (p + q)) * part(x, axis, -1, None)
        )
    elif edge_order == 1:
        first = (part(x, axis, 1, 2) - part(x, axis, None, 1)) / h_first
        last = (part(x, axis, -1, None) - part(x, axis, -2, -1)) / h_last
    else:
        first = (-1.5 * part(x, axis, None, 1) + 2.0 * part(x, axis, 1, 2) - 0.5 * part(x, axis, 2, 3)) / spacing
        last = (0.5 * part(x, axis, -3, -2) - 2.0 * part(x, axis, -2, -1) + 1.5 * part(x, axis, -1, None)) / spacing
    return convert(concatenate(first, inside, last, axis=axis), x.dtype)


def _at_least(x: Value, axis: int, least: int, what: str) -> None:
    """There are enough elements along an axis."""
    builder = current_builder()
    size = builder.canonical_size(x.shape[axis])
    message = f"{what} needs at least {least} elements along axis {axis}"
    if isinstance(size, int):
        if size < least:
            raise ShapeError(message)
    elif builder.checks:
        builder.emit("check", (builder.emit("ge", (size_value(x, axis), least)),), error="ValueError", message=message)


@call(np.gradient)
def _gradient_call(f: Any, *varargs: Any, axis: Any = None, edge_order: Any = 1) -> Any:
    x = as_value(f)
    if np.dtype(x.dtype).kind not in "fc":
        x = convert(x, "float64")
    axes = normal_axes(axis, x.rank) if not isinstance(axis, tuple) else tuple(normal_axis(k, x.rank) for k in axis)
    spacings = [as_value(v) for v in varargs] or [as_value(1.0)]
    if len(spacings) == 1:
        spacings *= len(axes)
    if len(spacings) != len(axes):
        raise ShapeError("np.gradient takes one spacing, or one for each axis")
    if any(is_complex(h.ty) for h in spacings):
        raise DTypeError("np.gradient with complex spacing", hint="divide the differences by the spacing yourself")
    for k in axes:
        _at_least(x, k, edge_order + 1, "np.gradient")
    made = tuple(_gradient_along(x, k, h, edge_order) for k, h in zip(axes, spacings, strict=True))
    return made[0] if len(made) == 1 else made


@call(np.trapezoid, "scipy.integrate.trapezoid")
def _trapezoid_call(y: Any, x: Any = None, dx: Any = 1.0, axis: Any = -1) -> Value:
    values = as_value(y)
    axis = normal_axis(axis, values.rank)
    if x is None:
        width = as_value(dx)
    else:
        points = as_value(x)
        own = 0 if points.rank == 1 else axis
        width = part(points, own, 1, None) - part(points, own, None, -1)
        width = along(width, values.rank, axis) if points.rank == 1 and values.rank > 1 else width
    pairs = width * (part(values, axis, 1, None) + part(values, axis, None, -1)) / 2.0
    return sum_over(pairs, axes=(axis,), keepdims=False)


# ------------------------------------------------------------------------------------------ interpolation


@call(np.interp)
def _interp_call(x: Any, xp: Any, fp: Any, left: Any = None, right: Any = None, period: Any = None) -> Value:
    ordinates = as_value(fp)
    kind = "complex128" if is_complex(ordinates.ty) else "float64"
    at, points = (convert(as_value(v), "float64") for v in (x, xp))  # as NumPy computes it
    values = convert(ordinates, kind)
    if period is not None:
        at, points, values = _one_period(at, points, values, period)
        left = right = None
    n = size_value(points, 0)
    below = minimum(maximum(places_in(points, at, "right") - 1, 0), maximum(n - 2, 0))
    above = minimum(below + 1, n - 1)
    x0, x1, y0, y1 = (_pick(v, k) for v in (points, values) for k in (below, above))
    width = x1 - x0
    slope = (y1 - y0) / where(gt(width, 0), width, 1.0)
    line = slope * (at - x0) + y0
    ends = [load(values, k, region=(At(Arg(0)),)) for k in (0 * n, n - 1)]
    first, last = (load(points, k, region=(At(Arg(0)),)) for k in (0 * n, n - 1))
    low, high = (end if given is None else as_value(given) for given, end in zip((left, right), ends, strict=True))
    return where(lt(at, first), low, where(gt(at, last), high, line))


def _one_period(at: Value, points: Value, values: Value, period: Any) -> tuple[Value, Value, Value]:
    """Query points in one period; coordinates sorted in it, with one more at either end."""
    length = abs(as_value(period))
    at, points = mod(at, length), mod(points, length)
    order = argsort(points, axis=0)
    points, values = (make_gather(v, (Gather(0),), order) for v in (points, values))
    ends = [part(points, 0, -1, None) - length, part(points, 0, None, 1) + length]
    return (
        at, concatenate(ends[0], points, ends[1], axis=0),
        concatenate(part(values, 0, -1, None), values, part(values, 0, None, 1), axis=0),
    )


def _pick(v: Value, places: Value) -> Value:
    if not places.rank:
        return load(v, places, region=(At(Arg(0)),))
    return make_gather(v, (Gather(0),), places)


# -------------------------------------------------------------------------------------------- convolution


def _convolve_type(types: Sequence[Any], attrs: dict[str, Any], require: Any) -> list[Any]:
    a, v = types
    size = subtract_sizes(add_sizes(a.shape[0], v.shape[0]), 1)
    return [Array(promote_dtypes((a, v)).dtype, (size,))]


def _expand_convolve(a: Value, v: Value) -> Value:
    builder = current_builder()
    n, m = size_value(a, 0), size_value(v, 0)
    dtype = promote_dtypes((a.ty, v.ty)).dtype  # type: ignore[arg-type]
    result = make_zeros((n + m - 1,), dtype)
    entry = (At(Arg(0)),)
    with builder.into(Block(params=[Value(WEAK_INT, "i")])) as outer:
        (i,) = outer.params
        first, last = maximum(0, i - (m - 1)), minimum(i + 1, n)
        with builder.into(Block(params=[Value(WEAK_INT, "k"), Value(Scalar(dtype), "total")])) as inner:
            k, total = inner.params
            inner.yields = [convert(total + load(a, k, region=entry) * load(v, i - k, region=entry), dtype)]
        start = builder.const(np.dtype(dtype).type(0))
        (made,) = builder.control(
            "for", (first, last, 1, start), (inner,), (Scalar(dtype),), reversed=False, exits=False
        )
        store_at(result, made, i, region=entry)
    builder.control("for", (0, n + m - 1, 1), (outer,), (), reversed=False, exits=False)
    return result


def _valid(full: Value, short: Value, like: Value) -> Value:
    """The middle of a full convolution, where the shorter operand lies inside the longer: as long as `like`."""
    start = size_value(short, 0) - 1
    stop = start + size_value(like, 0)
    region = (Span(Arg(0), Arg(1)),)
    made = make_index(full, region, start, stop)
    made.ty = Array(full.dtype, like.shape)
    return made


def _convolve_vjp(ct: Value, y: Value, a: Value, v: Value) -> list[Value]:
    return [
        _valid(convolve(ct, flipped(v, 0)), v, a),
        _valid(convolve(ct, flipped(a, 0)), a, v),
    ]


def _convolve_jvp(tangents: Sequence[Value | None], y: Value, a: Value, v: Value) -> Value:
    a_t, v_t = tangents
    parts = [p for p in (a_t and convolve(a_t, v), v_t and convolve(a, v_t)) if p is not None]
    return parts[0] if len(parts) == 1 else parts[0] + parts[1]


convolve: OpDef = define(
    OpDef(
        "convolve", "fresh", ("a", "v"), infer=_convolve_type, run=np.convolve, emit="np.convolve({a}, {v})",
        expand=_expand_convolve, vjp=_convolve_vjp, jvp=_convolve_jvp, cost=1000,
        takes_complex=True,
        doc="Discrete convolution of two arrays of one axis, at every overlap.",
    )
)


def _cut(full: Value, a: Value, v: Value, mode: str, correlates: bool = False) -> Value:
    if mode == "full":
        return full
    n, m = size_value(a, 0), size_value(v, 0)
    longer, shorter = maximum(n, m), minimum(n, m)
    match mode:
        case "same":
            start = (shorter - 1) // 2
            if correlates:  # where the second is the longer one, NumPy cuts the result of the swapped operands
                start = where(lt(n, m), shorter - 1 - start, start)
            count = longer
        case "valid":
            start, count = shorter - 1, longer - shorter + 1
        case _:
            raise UnsupportedError(f"mode {mode!r}", hint="full, same or valid")
    return make_index(full, (Span(Arg(0), Arg(1)),), start, start + count)


@call(np.convolve)
def _convolve_call(a: Any, v: Any, mode: str = "full") -> Value:
    x, y = at_least_1d(as_value(a)), at_least_1d(as_value(v))
    return _cut(convolve(x, y), x, y, mode)


@call(np.correlate)
def _correlate_call(a: Any, v: Any, mode: str = "valid") -> Value:
    x, y = at_least_1d(as_value(a)), at_least_1d(as_value(v))
    if is_complex(y.ty):
        y = current_builder().emit("conj", (y,))
    return _cut(convolve(x, flipped(y, 0)), x, y, mode, correlates=True)


# ------------------------------------------------------------------------------------------ small products


@call(np.cross)
def _cross_call(a: Any, b: Any, axisa: Any = -1, axisb: Any = -1, axisc: Any = -1, axis: Any = None) -> Value:
    x, y = as_value(a), as_value(b)
    if axis is not None:
        axisa = axisb = axisc = axis
    p, q = normal_axis(axisa, x.rank), normal_axis(axisb, y.rank)

    def component(v: Value, at: int, k: int) -> Value:
        if v.rank == 1:
            return load(v, region=(At(k),))
        return make_index(v, tuple(At(k) if j == at else FULL for j in range(v.rank)))

    builder = current_builder()
    three = builder.const(3)
    counts = []
    for v, at in ((x, p), (y, q)):
        size = builder.canonical_size(v.shape[at])
        counts.append(2 if size == 2 else 3)
        if isinstance(size, int) and size not in (2, 3):
            raise ShapeError("np.cross takes vectors of three components")
        if not isinstance(size, int) and builder.checks:
            same = builder.emit("eq", (size_value(v, at), three))
            builder.emit("check", (same,), error="ShapeError", message="np.cross takes vectors of three components")
    u, w = ([component(v, at, k) for k in range(c)] for (v, at), c in zip(((x, p), (y, q)), counts, strict=True))
    if counts == [2, 2]:
        return u[0] * w[1] - u[1] * w[0]
    u, w = ([*v, 0.0 * v[0]] if len(v) == 2 else v for v in (u, w))
    parts = [u[1] * w[2] - u[2] * w[1], u[2] * w[0] - u[0] * w[2], u[0] * w[1] - u[1] * w[0]]
    return stack(parts, normal_axis(axisc, parts[0].rank + 1))


@call(np.kron)
def _kron_call(a: Any, b: Any) -> Value:
    x, y = strong(a), strong(b)
    rank = max(x.rank, y.rank)
    if not rank:
        return x * y
    sizes_x: list[Any] = [1] * (rank - x.rank) + shape_values(x)
    sizes_y: list[Any] = [1] * (rank - y.rank) + shape_values(y)
    left: list[Any] = [NEWAXIS] * (2 * (rank - x.rank))
    right: list[Any] = [NEWAXIS] * (2 * (rank - y.rank))
    for _ in range(x.rank):
        left += [FULL, NEWAXIS]
    for _ in range(y.rank):
        right += [NEWAXIS, FULL]
    wide = (make_index(x, tuple(left)) if x.rank else x) * (make_index(y, tuple(right)) if y.rank else y)
    return make_reshape(wide, [p * q for p, q in zip(sizes_x, sizes_y, strict=True)])
