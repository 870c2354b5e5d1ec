"""Simpson's rule and running integrals: scipy.integrate. The numbers of points may be known at run time only."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from gradc.errors import ShapeError, UnsupportedError
from gradc.ir.nodes import Value, current_builder
from gradc.ir.opdef import call
from gradc.ir.region import FULL, Arg, At, Region, Span
from gradc.ir.types import Array
from gradc.ops.arrange import concatenate
from gradc.ops.calculus import along, part
from gradc.ops.elementwise import eq, gt, logical_or, maximum, mod, where
from gradc.ops.memory import make_broadcast, make_index, shape_values, size_value
from gradc.ops.reduce import sum as sum_over
from gradc.ops.rules import as_value, convert, floating, normal_axis
from gradc.ops.scans import cumsum, make_positions


def _floats(y: Any) -> Value:
    """Numbers as floats."""
    value = as_value(y)
    return convert(value, floating([value], {}).dtype)


def _points(x: Any, y: Value, axis: int) -> Value:
    """The points as an array that broadcasts against y.

    Raises: ShapeError where they have neither one axis nor those of y.
    """
    points = _floats(x)
    builder = current_builder()
    if points.rank == 1:
        builder.require_equal(points, 0, y, axis)
        return along(points, y.rank, axis) if y.rank > 1 else points
    if points.rank != y.rank:
        raise ShapeError("the points `x` have neither one axis nor the axes of `y`")
    builder.require_equal(points, axis, y, axis)
    return points


def _check(condition: Value, message: str) -> None:
    builder = current_builder()
    if builder.checks:
        whole = builder.emit("all", (condition,), axes=tuple(range(condition.rank)), keepdims=False)
        builder.emit("check", (whole if condition.rank else condition,), error="ValueError", message=message)


# ------------------------------------------------------------------------------------------ Simpson's rule


def _panels(x: Value, axis: int) -> tuple[Callable[[int], Value], Value]:
    """Left, middle and right points of panels of two intervals, as views of one length; the number of points of x.

    Where the number of points is even, the last one is in no panel.
    """
    n = size_value(x, axis)
    stop = (n - 1) // 2 * 2
    first: list[Value] = []

    def at(offset: int) -> Value:
        region = tuple(Span(Arg(0), Arg(1), 2) if k == axis else FULL for k in range(x.rank))
        made = make_index(x, region, as_value(offset), stop + offset)
        if first:  # of the same length, though it is written otherwise
            made.ty = Array(made.dtype, first[0].shape, made.ty.layout)  # type: ignore[union-attr]
        first.append(made)
        return made

    return at, n


def _over(x: Value, y: Value) -> Value:
    """x / y, and 0 where y is 0."""
    zero = eq(y, 0)
    return where(zero, 0.0, x / where(zero, 1.0, y))


def _at(x: Value, axis: int, place: Value) -> Value:
    """x[..., place, ...]."""
    region: Region = tuple(At(Arg(0)) if k == axis else FULL for k in range(x.rank))
    if x.rank == 1:
        return current_builder().emit("load", (x, place), region=region)
    return make_index(x, region, place)


@call("scipy.integrate.simpson")
def _simpson_call(y: Any, x: Any = None, *, dx: Any = 1.0, axis: Any = -1) -> Value:
    """Simpson's rule; of an even number of points the last interval is Cartwright's (2017)."""
    values = _floats(y)
    axis = normal_axis(axis, values.rank)
    at, n = _panels(values, axis)
    left, middle, right = at(0), at(1), at(2)
    if x is None:
        width: Any = as_value(dx)
        if width.rank:
            raise UnsupportedError("simpson with an array `dx`", hint="pass the points: x=...")
        panels = sum_over(left + 4.0 * middle + right, axes=(axis,), keepdims=False) * (width / 3.0)
        h0 = h1 = width
    else:
        points = _points(x, values, axis)
        steps = part(points, axis, 1, None) - part(points, axis, None, -1)
        x_at, _ = _panels(points, axis)
        places = x_at(0), x_at(1), x_at(2)
        first, second = places[1] - places[0], places[2] - places[1]
        whole = first + second
        ratio = _over(first, second)
        terms = left * (2.0 - _over(1.0 + 0.0 * ratio, ratio)) + middle * (whole * _over(whole, first * second))
        terms = terms + right * (2.0 - ratio)
        panels = sum_over(whole / 6.0 * terms, axes=(axis,), keepdims=False)
        h0, h1 = (_at(steps, axis, maximum(n - k, 0)) for k in (3, 2))
    last, before, third = (_at(values, axis, maximum(n - k, 0)) for k in (1, 2, 3))
    alpha = _over(2.0 * (h1 * h1) + 3.0 * h0 * h1, 6.0 * (h1 + h0))
    beta = _over(h1 * h1 + 3.0 * h0 * h1, 6.0 * h0)
    eta = _over(h1 * h1 * h1, 6.0 * h0 * (h0 + h1))
    rest = where(eq(n, 2), 0.5 * h1 * (last + before), alpha * last + beta * before - eta * third)
    return panels + where(eq(mod(n, 2), 0), rest, 0.0)


# -------------------------------------------------------------------------------------- running integrals


def _slab(value: Any, like: Value, axis: int) -> Value:
    """A number or an array of size 1 along `axis`, as such an array."""
    sizes: list[Any] = shape_values(like)
    sizes[axis] = 1
    return make_broadcast(convert(as_value(value), like.dtype), sizes)


@call("scipy.integrate.cumulative_trapezoid")
def _cumulative_trapezoid_call(
    y: Any, x: Any = None, dx: Any = 1.0, axis: Any = -1, initial: Any = None
) -> Value:
    """Integrals up to each point by the trapezoidal rule."""
    values = as_value(y)
    axis = normal_axis(axis, values.rank)
    if x is None:
        width = as_value(dx)
    else:
        points = _points(x, values, axis)
        width = part(points, axis, 1, None) - part(points, axis, None, -1)
    made = cumsum(width * (part(values, axis, 1, None) + part(values, axis, None, -1)) / 2.0, axis=axis)
    if initial is None:
        return made
    if isinstance(initial, Value) or initial != 0:
        raise UnsupportedError("cumulative_trapezoid with an `initial` that is not 0", hint="add it to the result.")
    return concatenate(_slab(0.0, made, axis), made, axis=axis)


def _quadratic(own: Any, other: Any, f1: Value, f2: Value, f3: Value, equal: bool) -> Value:
    """The integral of the parabola through three points, from the first to the second: widths `own`, then `other`."""
    if equal:
        return own / 3.0 * (5.0 * f1 / 4.0 + 2.0 * f2 - f3 / 4.0)
    share, ratio = own / (own + other), own / other
    both = share * ratio
    return own / 6.0 * ((3.0 - share) * f1 + (3.0 + both + share) * f2 - both * f3)


@call("scipy.integrate.cumulative_simpson")
def _cumulative_simpson_call(
    y: Any, *, x: Any = None, dx: Any = 1.0, axis: Any = -1, initial: Any = None
) -> Value:
    """Integrals up to each point by parabolas, for three points and more. Source: Cartwright (2017)."""
    values = _floats(y)
    axis = normal_axis(axis, values.rank)
    n = size_value(values, axis)
    _check(gt(n, 2), "cumulative_simpson of less than three points is cumulative_trapezoid")
    before: Any
    after: Any
    if x is None:
        before = after = as_value(dx)
        if before.rank:
            raise UnsupportedError("cumulative_simpson with an array `dx`", hint="pass the points: x=...")
    else:
        points = _points(x, values, axis)
        steps = part(points, axis, 1, None) - part(points, axis, None, -1)
        _check(gt(steps, 0), "Input x must be strictly increasing.")
        before, after = part(steps, axis, None, -1), part(steps, axis, 1, None)
    f1, f2, f3 = part(values, axis, None, -2), part(values, axis, 1, -1), part(values, axis, 2, None)
    # Of the intervals 0 to n - 2: the first of three points, but the second one where the number is odd or the last.
    first = _quadratic(before, after, f1, f2, f3, x is None)
    second = _quadratic(after, before, f3, f2, f1, x is None)
    nothing = _slab(0.0, first, axis)
    places = make_positions(n - 1)
    seconds = logical_or(eq(mod(places, 2), 1), eq(places, n - 2))
    chosen = along(seconds, first.rank, axis) if first.rank > 1 else seconds
    early, late = concatenate(first, nothing, axis=axis), concatenate(nothing, second, axis=axis)
    made = cumsum(where(chosen, late, early), axis=axis)
    if initial is None:
        return made
    start = _slab(initial, made, axis)
    return concatenate(start, made + start, axis=axis)
