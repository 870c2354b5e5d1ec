"""Convolution of arrays of any number of axes, correlation, linear filters: scipy.signal.

Two ops, of which each derivative is one of the two again, with the same number of products:

    convolve_full(a, v)[i]   = sum over k of a[i - k] * v[k]             as large as a and v together, less 1
    convolve_inside(a, v)[i] = sum over k of a[i + m - 1 - k] * v[k]     where v (of size m) lies within a

With ct for the cotangent and ~ for an array backwards along all axes, those of `convolve_full` are
convolve_inside(ct, ~v) and convolve_inside(ct, ~a); those of `convolve_inside` are convolve_full(ct, ~v) and
~convolve_inside(a, ~ct).
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from gradc.errors import ShapeError, UnsupportedError
from gradc.ir.nodes import Block, Value, current_builder
from gradc.ir.opdef import CALLS, OpDef, call, define
from gradc.ir.region import Arg, At, Span
from gradc.ir.types import WEAK_INT, Array, add_sizes, is_complex, promote_dtypes, subtract_sizes
from gradc.ops.elementwise import ge, gt, le, lt, maximum, minimum, mod, where
from gradc.ops.memory import (
    accumulate,
    element_count,
    load,
    make_index,
    make_reshape,
    make_zeros,
    shape_values,
    size_value,
    store_at,
)
from gradc.ops.parts import conj
from gradc.ops.reduce import sum as sum_over
from gradc.ops.rules import as_value, constant_of, convert, normal_axis
from gradc.ops.scans import make_positions

# ------------------------------------------------------------------------------------------------ two ops


def _dtype(a: Any, v: Any) -> str:
    return promote_dtypes((a, v)).dtype


def _full_type(types: Sequence[Any], attrs: dict[str, Any], require: Any) -> list[Any]:
    a, v = types
    sizes = zip(a.shape, v.shape, strict=True)
    return [Array(_dtype(a, v), tuple(subtract_sizes(add_sizes(n, m), 1) for n, m in sizes))]


def _inside_type(types: Sequence[Any], attrs: dict[str, Any], require: Any) -> list[Any]:
    a, v = types
    sizes = zip(a.shape, v.shape, strict=True)
    return [Array(_dtype(a, v), tuple(add_sizes(subtract_sizes(n, m), 1) for n, m in sizes))]


def backwards(x: Value) -> Value:
    """x backwards along all axes: a view."""
    return make_index(x, (Span(None, None, -1),) * x.rank)


def _window(x: Value, starts: Sequence[Value], sizes: Sequence[Any], like: Value) -> Value:
    """The part of x that begins at `starts` and is as large as `like`: a view."""
    bounds = [b for start, size in zip(starts, sizes, strict=True) for b in (start, start + size)]
    made = make_index(x, tuple(Span(Arg(2 * k), Arg(2 * k + 1)) for k in range(x.rank)), *bounds)
    made.ty = Array(x.dtype, like.shape, "A")
    return made


def loop(start: Any, stop: Any, body: Callable[..., Any], carried: Sequence[Value] = ()) -> list[Value]:
    """`for i in range(start, stop)`: `body(i, *carried)` gives the next carried scalars."""
    builder = current_builder()
    params = [Value(WEAK_INT, "i"), *(Value(c.ty) for c in carried)]
    with builder.into(Block(params=params)) as block:
        block.yields = list(body(*params) or ())
    types = [c.ty for c in carried]
    return builder.control("for", (start, stop, 1, *carried), (block,), types, reversed=False, exits=False)


def _each(sizes: Sequence[Any], body: Callable[[list[Value]], None]) -> None:
    """`body` at every position of an array of these sizes."""

    def nest(lead: list[Value]) -> None:
        if len(lead) == len(sizes):
            body(lead)
            return

        def at(k: Value) -> None:
            nest([*lead, k])

        loop(0, sizes[len(lead)], at)

    nest([])


def _choose(condition: Value, then: Callable[[], None], otherwise: Callable[[], None]) -> None:
    """Run one of two pieces of code that change arrays made before."""
    known = constant_of(condition)
    if known is not None:
        (then if known else otherwise)()
        return
    builder = current_builder()
    blocks = []
    for run in (then, otherwise):
        with builder.into(Block()) as block:
            run()
        blocks.append(block)
    builder.control("if", (condition,), blocks, ())


def _element(x: Value, place: Sequence[Value]) -> Value:
    return load(x, *place, region=tuple(At(Arg(k)) for k in range(x.rank)))


def _expand_full(a: Value, v: Value) -> Value:
    """For each element of the smaller array, the other one times that is added where it goes."""
    dtype = promote_dtypes((a.ty, v.ty)).dtype  # type: ignore[arg-type]
    a, v = convert(a, dtype), convert(v, dtype)
    sizes = [size_value(a, k) + size_value(v, k) - 1 for k in range(a.rank)]
    result = make_zeros(sizes, dtype)

    def spread(small: Value, big: Value) -> Callable[[], None]:
        def at(place: list[Value]) -> None:
            accumulate(_window(result, place, shape_values(big), big), big * _element(small, place))

        return lambda: _each(shape_values(small), at)

    _choose(le(element_count(v), element_count(a)), spread(v, a), spread(a, v))
    return result


def _expand_inside(a: Value, v: Value) -> Value:
    """By elements of v where these are fewer than those of the result, else by elements of the result."""
    dtype = promote_dtypes((a.ty, v.ty)).dtype  # type: ignore[arg-type]
    a, v = convert(a, dtype), convert(v, dtype)
    sizes = [size_value(a, k) - size_value(v, k) + 1 for k in range(a.rank)]
    result = make_zeros(sizes, dtype)
    result.ty = Array(dtype, _inside_type((a.ty, v.ty), {}, None)[0].shape)
    last = [size_value(v, k) - 1 for k in range(v.rank)]

    def by_factor(place: list[Value]) -> None:
        starts = [m - k for m, k in zip(last, place, strict=True)]
        accumulate(result, _window(a, starts, sizes, result) * _element(v, place))

    turned = backwards(v)

    def by_result(place: list[Value]) -> None:
        products = _window(a, place, shape_values(v), v) * turned
        total = sum_over(products, axes=tuple(range(products.rank)), keepdims=False)
        store_at(result, convert(total, dtype), *place, region=tuple(At(Arg(k)) for k in range(result.rank)))

    count: Any = as_value(1)
    for size in sizes:
        count = count * size
    _choose(
        le(element_count(v), count),
        lambda: _each(shape_values(v), by_factor), lambda: _each(sizes, by_result),
    )
    return result


def _run(mode: str) -> Callable[..., Any]:
    def run(a: Any, v: Any) -> Any:
        return importlib.import_module("scipy.signal").convolve(a, v, mode, method="direct")

    return run


def _emit(mode: str) -> Callable[..., str]:
    def emit(node: Any, a: str, v: str) -> str:
        given = f', "{mode}"' if mode != "full" else ""
        if len(node.operands[0].shape) == 1:
            return f"np.convolve({a}, {v}{given})"
        return f'scipy.signal.convolve({a}, {v}{given}, method="direct")'

    return emit


def _full_vjp(ct: Value, y: Value, a: Value, v: Value) -> list[Value]:
    return [convolve_inside(ct, backwards(v)), convolve_inside(ct, backwards(a))]


def _inside_vjp(ct: Value, y: Value, a: Value, v: Value) -> list[Value]:
    return [convolve_full(ct, backwards(v)), backwards(convolve_inside(a, backwards(ct)))]


def _jvp(op: Callable[[], OpDef]) -> Callable[..., Value]:
    def jvp(tangents: Sequence[Value | None], y: Value, a: Value, v: Value) -> Value:
        a_t, v_t = tangents
        parts = [p for p in (a_t and op()(a_t, v), v_t and op()(a, v_t)) if p is not None]
        return parts[0] if len(parts) == 1 else parts[0] + parts[1]

    return jvp


convolve_full: OpDef = define(
    OpDef(
        "convolve_full", "fresh", ("a", "v"), infer=_full_type, run=_run("full"), emit=_emit("full"), cost=10000,
        expand=_expand_full, vjp=_full_vjp, jvp=_jvp(lambda: convolve_full), takes_complex=True,
        doc="Convolution of two arrays with the same number of axes, at every overlap.",
    )
)
convolve_inside: OpDef = define(
    OpDef(
        "convolve_inside", "fresh", ("a", "v"), infer=_inside_type, run=_run("valid"), emit=_emit("valid"), cost=10000,
        expand=_expand_inside, vjp=_inside_vjp, jvp=_jvp(lambda: convolve_inside), takes_complex=True,
        doc="Convolution of two arrays with the same number of axes, where the second lies within the first.",
    )
)


# -------------------------------------------------------------------------------------- SciPy's functions


def _check(condition: Value, message: str, error: str = "ShapeError") -> None:
    builder = current_builder()
    if builder.checks and constant_of(condition) is not True:
        builder.emit("check", (condition,), error=error, message=message)


def _pair(in1: Any, in2: Any, name: str) -> tuple[Value, Value]:
    a, v = as_value(in1), as_value(in2)
    if a.rank != v.rank or not a.rank:
        raise ShapeError(
            f"{name} of arrays with {a.rank} and {v.rank} axes", hint="give both arrays the same number of axes."
        )
    for x in (a, v):
        _check(gt(element_count(x), 0), f"{name} of an empty array")
    return a, v


def _within(a: Value, v: Value, name: str) -> Value:
    """The convolution where v lies within a."""
    for axis in range(a.rank):
        _check(
            ge(size_value(a, axis), size_value(v, axis)),
            f'{name} in mode "valid" takes the larger array first; exchange the arguments',
        )
    return convolve_inside(a, v)


def _middle(full: Value, like: Value, starts: Sequence[Any]) -> Value:
    """The part of a full convolution that is as large as `like`."""
    return _window(full, [as_value(s) for s in starts], shape_values(like), like)


def _convolved(a: Value, v: Value, mode: Any, name: str) -> Value:
    match mode:
        case "full":
            return convolve_full(a, v)
        case "valid":
            return _within(a, v, name)
        case "same":
            return _middle(convolve_full(a, v), a, [(size_value(v, k) - 1) // 2 for k in range(v.rank)])
    raise UnsupportedError(f"{name} in mode {mode!r}", hint='the modes are "full", "same" and "valid".')


@call("scipy.signal.convolve")
def _convolve_call(in1: Any, in2: Any, mode: Any = "full", method: Any = "auto") -> Value:
    """Computed as a sum of products, whatever `method` is."""
    return _convolved(*_pair(in1, in2, "convolve"), mode, "convolve")


def _reversed(v: Value) -> Value:
    turned = backwards(v)
    return conj(turned) if is_complex(turned.ty) else turned


@call("scipy.signal.correlate")
def _correlate_call(in1: Any, in2: Any, mode: Any = "full", method: Any = "auto") -> Value:
    """Computed as a sum of products, whatever `method` is."""
    a, v = _pair(in1, in2, "correlate")
    return _convolved(a, _reversed(v), mode, "correlate")


# ------------------------------------------------------------------------------------------- two dimensions


def _extended(x: Value, by: Value, axis: int, boundary: str) -> Value:
    """x with `by` elements more at both ends of an axis."""
    n = size_value(x, axis)
    places = make_positions(n + 2 * by) - by
    if boundary == "wrap":
        places = mod(places, n)
    else:
        places = mod(places, 2 * n)
        places = where(lt(places, n), places, 2 * n - 1 - places)
    taken: Value = CALLS[np.take].build(x, places, axis)
    return taken


def _plane(a: Value, v: Value, mode: Any, boundary: Any, fillvalue: Any, starts: Sequence[Any], name: str) -> Value:
    """Convolution in two dimensions; `starts`: where mode "same" begins in the full one."""
    if a.rank != 2:
        raise ShapeError(f"{name} of arrays with {a.rank} axes", hint="convolve takes any number of axes.")
    if boundary not in ("fill", "wrap", "symm"):
        raise UnsupportedError(f"boundary {boundary!r}", hint='the boundaries are "fill", "wrap" and "symm".')
    if mode == "valid":
        return _within(a, v, name)
    if boundary == "fill":
        fill = as_value(fillvalue)
        if constant_of(fill) == 0:
            full = convolve_full(a, v)
        else:
            # Beside the array everything has this value: less it, everything is 0 there.
            full = convolve_full(a - fill, v) + fill * sum_over(v, axes=(0, 1), keepdims=False)
    else:
        extended = _extended(_extended(a, size_value(v, 0) - 1, 0, boundary), size_value(v, 1) - 1, 1, boundary)
        full = convolve_inside(extended, v)
    if mode == "full":
        return full
    if mode != "same":
        raise UnsupportedError(f"{name} in mode {mode!r}", hint='the modes are "full", "same" and "valid".')
    return _middle(full, a, starts)


@call("scipy.signal.convolve2d")
def _convolve2d_call(in1: Any, in2: Any, mode: Any = "full", boundary: Any = "fill", fillvalue: Any = 0) -> Value:
    a, v = _pair(in1, in2, "convolve2d")
    starts = [(size_value(v, k) - 1) // 2 for k in range(2)]
    return _plane(a, v, mode, boundary, fillvalue, starts, "convolve2d")


@call("scipy.signal.correlate2d")
def _correlate2d_call(in1: Any, in2: Any, mode: Any = "full", boundary: Any = "fill", fillvalue: Any = 0) -> Value:
    a, v = _pair(in1, in2, "correlate2d")
    starts = [size_value(v, k) // 2 for k in range(2)]
    return _plane(a, _reversed(v), mode, boundary, fillvalue, starts, "correlate2d")


# -------------------------------------------------------------------------------------------------- filters


@call("scipy.signal.lfilter")
def _lfilter_call(b: Any, a: Any, x: Any, axis: Any = -1, zi: Any = None) -> Value:
    """The filter of a difference equation, from rest."""
    if zi is not None:
        raise UnsupportedError("lfilter with initial conditions", hint="filter from rest.")
    above, below, signal = as_value(b), as_value(a), as_value(x)
    axis = normal_axis(axis, signal.rank)
    above, below = (v if v.rank else make_reshape(as_value([v]), (1,)) for v in (above, below))
    if above.rank != 1 or below.rank != 1:
        raise ShapeError("the coefficients of a filter have one axis")
    dtype = promote_dtypes((above.ty, below.ty, signal.ty)).dtype  # type: ignore[arg-type]
    dtype = dtype if np.dtype(dtype).kind in "fc" else "float64"
    above, below, signal = (convert(v, dtype) for v in (above, below, signal))
    moved: Value = CALLS[np.moveaxis].build(signal, axis, -1) if axis != signal.rank - 1 else signal
    n = size_value(moved, moved.rank - 1)
    rows: Any = as_value(1)
    for k in range(moved.rank - 1):
        rows = rows * size_value(moved, k)
    table = make_reshape(moved, (rows, n)) if moved.rank > 2 else moved
    result = make_zeros([rows, n][2 - table.rank :], dtype, filled=False)
    zero = current_builder().const(np.dtype(dtype).type(0))
    first = load(below, region=(At(0),))
    one = (At(Arg(0)),)

    def row(*lead: Value) -> None:
        entry = tuple(At(Arg(k)) for k in range(len(lead) + 1))

        def step(t: Value) -> None:
            def forward(k: Value, total: Value) -> list[Value]:
                return [convert(total + load(above, k, region=one) * load(table, *lead, t - k, region=entry), dtype)]

            def feedback(k: Value, total: Value) -> list[Value]:
                return [convert(total - load(below, k, region=one) * load(result, *lead, t - k, region=entry), dtype)]

            (total,) = loop(0, minimum(size_value(above, 0), t + 1), forward, (zero,))
            (total,) = loop(1, maximum(minimum(size_value(below, 0), t + 1), 1), feedback, (total,))
            store_at(result, total / first, *lead, t, region=entry)

        loop(0, n, step)

    if table.rank == 1:
        row()
    else:
        loop(0, rows, row)
    made = make_reshape(result, shape_values(moved)) if moved.rank > 2 else result
    return CALLS[np.moveaxis].build(made, -1, axis) if axis != signal.rank - 1 else made
