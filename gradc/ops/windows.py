"""Sliding windows, window functions, and spacings other than linear."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from gradc.errors import ShapeError, UnsupportedError
from gradc.ir.nodes import Value, current_builder
from gradc.ir.opdef import CALLS, call
from gradc.ir.region import FULL, NEWAXIS, Gather
from gradc.ir.types import is_complex
from gradc.ops.calculus import part
from gradc.ops.elementary import cos, log
from gradc.ops.elementwise import abs, eq, ge, gt, le, logical_and, mod, where
from gradc.ops.memory import make_gather, make_index, shape_values
from gradc.ops.rules import as_value, convert, normal_axis, strong
from gradc.ops.scans import cumsum, make_positions


@call("numpy.lib.stride_tricks.sliding_window_view")
def _sliding_window_call(
    x: Any, window_shape: Any, axis: Any = None, *, subok: bool = False, writeable: bool = False
) -> Value:
    """A copy, where NumPy has a view."""
    if writeable:
        raise UnsupportedError("windows that can be written to", hint="write into the array itself")
    array = strong(x)
    widths = list(window_shape) if isinstance(window_shape, tuple | list) else [window_shape]
    if axis is None:
        axes = list(range(array.rank))
    else:
        axes = [normal_axis(k, array.rank) for k in (axis if isinstance(axis, tuple | list) else (axis,))]
    if len(widths) != len(axes):
        raise ShapeError(f"{len(widths)} window sizes for {len(axes)} axes")
    places: list[Value] = []
    for own in range(array.rank):
        line = make_positions(_starts(array, own, [w for k, w in zip(axes, widths, strict=True) if k == own]))
        places.append(_along(line, own, array.rank + len(axes)))
    for number, (own, width) in enumerate(zip(axes, widths, strict=True)):
        places[own] = places[own] + _along(make_positions(width), array.rank + number, array.rank + len(axes))
    made = make_gather(array, tuple(Gather(k) for k in range(array.rank)), *places)
    current_builder().snapshots.append(made)
    return made


def _along(line: Value, axis: int, rank: int) -> Value:
    return make_index(line, tuple(FULL if k == axis else NEWAXIS for k in range(rank)))


def _starts(array: Value, axis: int, widths: list[Any]) -> Any:
    """How many windows there are along an axis."""
    builder = current_builder()
    n: Any = shape_values(array)[axis]
    message = "window shape cannot be larger than input array shape"
    for width in widths:
        if isinstance(n, int) and isinstance(width, int):
            if width > n:
                raise ShapeError(message)
        elif builder.checks:
            builder.emit("check", (builder.emit("ge", (n, width)),), error="ValueError", message=message)
        n = n - width + 1
    return n


# ------------------------------------------------------------------------------------- window functions


def _phases(M: Any) -> tuple[Value, Any]:
    if isinstance(M, Value) and M.rank:
        raise UnsupportedError("a window has a number of points")
    return convert(make_positions(M), "float64"), M - 1


def _cosines(target: Any, weights: tuple[float, ...]) -> None:
    """A sum of cosines: Blackman, Tukey (1958), The measurement of power spectra."""

    def build(M: Any) -> Value:
        k, last = _phases(M)
        if isinstance(M, int) and M <= 1:
            return k + 1.0
        turn = k * (2.0 * math.pi / last)
        total: Value = convert(as_value(weights[0]), "float64") + 0.0 * turn
        for j, weight in enumerate(weights[1:], 1):
            total = total + weight * cos(turn * float(j))
        return total

    call(target)(build)


_cosines(np.hanning, (0.5, -0.5))
_cosines(np.hamming, (0.54, -0.46))
_cosines(np.blackman, (0.42, -0.5, 0.08))


@call(np.bartlett)
def _bartlett_call(M: Any) -> Value:
    k, last = _phases(M)
    if isinstance(M, int) and M <= 1:
        return k + 1.0
    return 1.0 - abs(2.0 * k / last - 1.0)


@call(np.kaiser)
def _kaiser_call(M: Any, beta: Any) -> Value:
    k, last = _phases(M)
    if isinstance(M, int) and M <= 1:
        return k + 1.0
    i0 = CALLS[np.i0].build
    x = 2.0 * k / last - 1.0
    inside = 1.0 - x * x
    edge = le(inside, 0.0)
    return i0(as_value(beta) * where(edge, 0.0, where(edge, 1.0, inside) ** 0.5)) / i0(beta)


# --------------------------------------------------------------------------------------------- spacings


@call(np.logspace)
def _logspace_call(
    start: Any, stop: Any, num: Any = 50, endpoint: Any = True, base: Any = 10.0, dtype: Any = None, axis: Any = 0
) -> Value:
    powers = CALLS[np.linspace].build(start, stop, num, endpoint, axis=axis)
    made = as_value(base) ** powers
    return made if dtype is None else convert(made, np.dtype(dtype).name)


@call(np.geomspace)
def _geomspace_call(
    start: Any, stop: Any, num: Any = 50, endpoint: Any = True, dtype: Any = None, axis: Any = 0
) -> Value:
    first, last = as_value(start), as_value(stop)
    if first.rank or last.rank or is_complex(first.ty) or is_complex(last.ty):
        raise UnsupportedError("np.geomspace of arrays or complex numbers", hint="write np.exp(np.linspace(...))")
    sign = where(gt(first, 0), 1.0, -1.0)
    made = sign * CALLS[np.exp].build(CALLS[np.linspace].build(log(sign * first), log(sign * last), num, endpoint))
    return made if dtype is None else convert(made, np.dtype(dtype).name)


# ---------------------------------------------------------------------------------------------- phases


@call(np.unwrap)
def _unwrap_call(p: Any, discont: Any = None, axis: Any = -1, *, period: Any = 2 * math.pi) -> Value:
    x = strong(p)
    x = x if np.dtype(x.dtype).kind == "f" else convert(x, "float64")
    axis = normal_axis(axis, x.rank)
    steps = part(x, axis, 1, None) - part(x, axis, None, -1)
    half = as_value(period) / 2.0
    bound = half if discont is None else current_builder().emit("maximum", (as_value(discont), half))
    turned = mod(steps + half, period) - half
    turned = where(logical_and(eq(turned, -half), gt(steps, 0.0)), half, turned)
    change = where(ge(abs(steps), bound), turned - steps, 0.0)
    moved = cumsum(convert(change, x.dtype), axis=axis)
    first = part(x, axis, None, 1)
    made: Value = current_builder().emit("concatenate", (first, part(x, axis, 1, None) + moved), axis=axis)
    return made


