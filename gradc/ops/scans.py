"""Ops that run along an axis: positions, running sums and products, linear recurrences, shifts.

They print as one call and expand into loops for kernels. The derivative of each is made of these ops again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from gradc.errors import ShapeError
from gradc.ir.loops import Cells
from gradc.ir.nodes import Block, Value, current_builder
from gradc.ir.opdef import OpDef, call, define
from gradc.ir.region import FULL, NEWAXIS, Arg, At, Span
from gradc.ir.types import WEAK_INT, Array, Scalar
from gradc.ops.elementwise import bitor, eq, maximum, where
from gradc.ops.memory import (
    load,
    make_broadcast,
    make_index,
    make_reshape,
    make_zeros,
    shape_operands,
    shape_values,
    size_value,
    store,
    store_at,
)
from gradc.ops.rules import as_value, convert, dtype_name, normal_axis, write_out


def given_count(operands: Sequence[Any], shape: tuple[Any, ...]) -> Any:
    (size,) = shape
    return operands[size.k] if isinstance(size, Arg) else size


def _emit_positions(node: Any, *k: str) -> str:
    ty = node.attrs["type"]
    suffix = "" if ty.dtype == "int64" else f", dtype=np.{ty.dtype}"
    return f"np.arange({given_count(k, node.attrs['shape'])}{suffix})"


positions: OpDef = define(
    OpDef(
        "positions", "fresh", (), infer=lambda types, attrs, require: [attrs["type"]], emit=_emit_positions,
        run=lambda *k, shape, type: np.arange(given_count(k, shape), dtype=type.dtype), lower=Cells("{i0}"),
        zero_derivative=True, vjp=lambda ct, y, *k, **attrs: [None for _ in k],
        doc="0, 1, ... n - 1 as a new array. {shape} of one int or Arg, {type}.",
    )
)


def make_positions(count: int | Value, dtype: str = "int64") -> Value:
    """np.arange(count)."""
    attr, operands = shape_operands((count,))
    size = current_builder().size_of(count)
    return positions(*operands, shape=attr, type=Array(dtype, (size,)))


# ------------------------------------------------------------------------------------------------- scans

Step = Callable[..., Value]


def scan(step: Step, start: float, xs: Sequence[Value], axis: int, reverse: bool) -> Value:
    """r[i] = step(first, r[i - 1], x[i], ...) along an axis, as loops; `reverse` runs from the end.

    `first` tells whether this is the first step, `start` is what comes before it. Along the last axis a number is
    carried through each row; along others whole slices are computed from the slice before.
    """
    builder = current_builder()
    x = xs[0]
    dtype = builder.canonical_type(x.ty).dtype
    result = make_zeros(shape_values(x), dtype, filled=False)
    n = size_value(x, axis)
    begin: Any = n - 1 if reverse else 0
    if axis == x.rank - 1:
        _scan_rows(step, np.dtype(dtype).type(start), xs, result, n, begin, reverse)
        return result
    with builder.into(Block(params=[Value(WEAK_INT, "i")])) as body:
        (i,) = body.params
        back = builder.emit("minimum", (i + 1, n - 1)) if reverse else maximum(i - 1, 0)

        def slice_at(of: Value, place: Value) -> Value:
            return make_index(of, tuple(At(Arg(0)) if k == axis else FULL for k in range(of.rank)), place)

        first = eq(i, begin)
        before = where(first, convert(builder.const(start), dtype), slice_at(result, back))
        store(slice_at(result, i), step(first, before, *(slice_at(v, i) for v in xs)))
    builder.control("for", (0, n, 1), (body,), (), reversed=reverse, exits=False)
    return result


def _scan_rows(
    step: Step, start: Any, xs: Sequence[Value], result: Value, n: Value, begin: Any, reverse: bool
) -> None:
    builder = current_builder()
    tables = [*xs, result]
    if result.rank > 1:
        sizes = shape_values(result)[:-1]
        rows: Any = builder.value(sizes[0])
        for size in sizes[1:]:
            rows = rows * size
        tables = [make_reshape(v, (rows, n)) for v in tables] if result.rank > 2 else tables

    def sweep(lead: tuple[Value, ...]) -> None:
        place = tuple(At(Arg(k)) for k in range(len(lead) + 1))
        with builder.into(Block(params=[Value(WEAK_INT, "j"), Value(Scalar(result.dtype), "carried")])) as body:
            j, before = body.params
            items = [load(v, *lead, j, region=place) for v in tables[:-1]]
            made = step(eq(j, begin), before, *items)
            store_at(tables[-1], made, *lead, j, region=place)
            body.yields = [made]
        carried = builder.const(start)
        builder.control("for", (0, n, 1, carried), (body,), (Scalar(result.dtype),), reversed=reverse, exits=False)

    if result.rank == 1:
        sweep(())
        return
    with builder.into(Block(params=[Value(WEAK_INT, "i")])) as outer:
        sweep(tuple(outer.params))
    builder.control("for", (0, rows, 1), (outer,), (), reversed=False, exits=False)


def _running_words(
    words: Sequence[Value | None], operands: Sequence[Value], *, axis: int, reverse: bool = False
) -> Value:
    """An element depends on what those before it along an axis depend on."""
    held = [word for word in words if word is not None]
    total = held[0] if len(held) == 1 else bitor(*held)
    return scan(lambda first, before, word: bitor(before, word), 0, (total,), axis, reverse)


def _same_type(types: Sequence[Any], attrs: dict[str, Any], require: Any) -> list[Any]:
    return [Array(types[0].dtype, types[0].shape)]


def flipped(x: Value, axis: int) -> Value:
    """x backwards along an axis: a view."""
    return make_index(x, tuple(Span(None, None, -1) if k == axis else FULL for k in range(x.rank)))


def _cumsum_vjp(ct: Value, y: Value, x: Value, *, axis: int) -> list[Value]:
    return [flipped(cumsum(flipped(ct, axis), axis=axis), axis)]


cumsum: OpDef = define(
    OpDef(
        "cumsum", "fresh", ("x",), depends=_running_words,
        infer=_same_type, run=lambda x, axis: np.cumsum(x, axis=axis),
        emit="np.cumsum({x}, axis={axis})", vjp=_cumsum_vjp, linear=("x",),
        expand=lambda x, axis: scan(lambda first, before, item: before + item, 0, (x,), axis, False),
        takes_complex=True,
        doc="Running sum along {axis}.",
    )
)


def _cumprod_vjp(ct: Value, y: Value, x: Value, *, axis: int) -> list[Value]:
    # d y[k] / d x[i] = (product before i) * (product of i + 1 ... k), and the second factors, weighted by ct, obey
    # r[i] = ct[i] + x[i + 1] * r[i + 1]. No division: zeros need no case.
    after = recurrence(shift(x, by=1, axis=axis), ct, axis=axis, reverse=True)
    return [exclusive_cumprod(x, axis, reverse=False) * after]


def _cumprod_jvp(tangents: Sequence[Value], y: Value, x: Value, *, axis: int) -> Value:
    return recurrence(x, tangents[0] * exclusive_cumprod(x, axis, reverse=False), axis=axis, reverse=False)


cumprod: OpDef = define(
    OpDef(
        "cumprod", "fresh", ("x",), depends=_running_words,
        infer=_same_type, run=lambda x, axis: np.cumprod(x, axis=axis),
        emit="np.cumprod({x}, axis={axis})", vjp=_cumprod_vjp, jvp=_cumprod_jvp,
        expand=lambda x, axis: scan(lambda first, before, item: before * item, 1, (x,), axis, False),
        takes_complex=True,
        doc="Running product along {axis}; its derivative is right where factors are 0.",
    )
)


def exclusive_cumprod(x: Value, axis: int, reverse: bool) -> Value:
    """The product of what comes before each element (after it, if `reverse`); 1 for the first."""
    n = size_value(x, axis)
    i = eq(make_positions(n), n - 1 if reverse else 0)
    one = make_index(convert(i, x.dtype), (FULL, *(NEWAXIS,) * (x.rank - 1 - axis)))
    return recurrence(shift(x, by=1 if reverse else -1, axis=axis), make_broadcast(one, shape_values(x)), axis=axis,
                      reverse=reverse)


def _run_shift(x: Any, by: int, axis: int) -> Any:
    result = np.zeros_like(x, order="C")
    target, source = np.moveaxis(result, axis, 0), np.moveaxis(x, axis, 0)
    if by > 0:
        target[:-by] = source[by:]
    else:
        target[-by:] = source[:by]
    return result


def _expand_shift(x: Value, *, by: int, axis: int) -> Value:
    result = make_zeros(shape_values(x), x.dtype)
    ahead, behind = Span(abs(by), None), Span(None, -abs(by))
    into, of = (behind, ahead) if by > 0 else (ahead, behind)

    def part(v: Value, span: Span) -> Value:
        return make_index(v, tuple(span if k == axis else FULL for k in range(v.rank)))

    store(part(result, into), part(x, of))
    return result


shift: OpDef = define(
    OpDef(
        "shift", "fresh", ("x",), moves="first", infer=_same_type, run=_run_shift, emit="shift({x}, {by}, {axis})",
        expand=_expand_shift,
        vjp=lambda ct, y, x, *, by, axis: [shift(ct, by=-by, axis=axis)], linear=("x",),
        prelude='''def shift(x, by, axis):
    """x[i + by] at i along an axis, and 0 where that is outside."""
    result = np.zeros_like(x)
    to, of = np.moveaxis(result, axis, 0), np.moveaxis(x, axis, 0)
    if by > 0:
        to[:-by] = of[by:]
    else:
        to[-by:] = of[:by]
    return result
''',
        takes_complex=True,
        doc="x[i + by] at i along {axis}, and 0 where that is outside. {by}: not 0.",
    )
)


def _run_recurrence(a: Any, b: Any, axis: int, reverse: bool) -> Any:
    result = np.array(b, order="C")
    r, factors = np.moveaxis(result, axis, 0), np.moveaxis(a, axis, 0)
    if reverse:
        r, factors = r[::-1], factors[::-1]
    for i in range(1, len(r)):
        r[i] += factors[i] * r[i - 1]
    return result


def _recurrence_type(types: Sequence[Any], attrs: dict[str, Any], require: Any) -> list[Any]:
    for k in range(len(types[0].shape)):
        require(0, k, 1, k)
    return [Array(types[1].dtype, types[1].shape)]


def _recurrence_vjp(ct: Value, y: Value, a: Value, b: Value, *, axis: int, reverse: bool) -> list[Value]:
    # s is the cotangent of r: s[i] = ct[i] + a[i + 1] * s[i + 1], the recurrence in the other direction.
    ahead = -1 if reverse else 1
    s = recurrence(shift(a, by=ahead, axis=axis), ct, axis=axis, reverse=not reverse)
    return [s * shift(y, by=-ahead, axis=axis), s]


def _recurrence_jvp(
    tangents: Sequence[Value | None], y: Value, a: Value, b: Value, *, axis: int, reverse: bool
) -> Value:
    a_t, b_t = tangents
    source = None if a_t is None else a_t * shift(y, by=1 if reverse else -1, axis=axis)
    total = b_t if source is None else source if b_t is None else source + b_t
    return recurrence(a, total, axis=axis, reverse=reverse)


recurrence: OpDef = define(
    OpDef(
        "recurrence", "fresh", ("a", "b"), depends=_running_words,
        infer=_recurrence_type, run=_run_recurrence, vjp=_recurrence_vjp,
        jvp=_recurrence_jvp,
        emit="recurrence({a}, {b}, {axis}, {reverse})",
        expand=lambda a, b, axis, reverse: scan(
            lambda first, before, factor, item: where(first, item, item + factor * before), 0, (a, b), axis, reverse
        ),
        prelude='''def recurrence(a, b, axis, reverse):
    """r[i] = b[i] + a[i] * r[i - 1] along an axis; from the end (r[i + 1]) if `reverse`."""
    result = np.array(b)
    r, factors = np.moveaxis(result, axis, 0), np.moveaxis(a, axis, 0)
    if reverse:
        r, factors = r[::-1], factors[::-1]
    for i in range(1, len(r)):
        r[i] += factors[i] * r[i - 1]
    return result
''',
        takes_complex=True,
        doc="r[i] = b[i] + a[i]*r[i - 1] along {axis}, r[0] = b[0]; {reverse}: from the end.",
    )
)


# ------------------------------------------------------------------------------------------------- calls


def _running(op: OpDef, a: Any, axis: Any, dtype: Any, out: Any) -> Value:
    x = as_value(a)
    if dtype is not None:
        x = convert(x, dtype_name(dtype))
    elif np.dtype(x.dtype).kind in "bi":
        x = convert(x, "int64")
    if axis is None and x.rank != 1:
        x, axis = make_reshape(x, (-1,)) if isinstance(x.ty, Array) else make_broadcast(x, (1,)), 0
    result: Value = op(x, axis=normal_axis(0 if axis is None else axis, x.rank))
    return result if out is None else write_out(result, out)


@call(np.cumsum, method="cumsum")
def _cumsum_call(a: Any, axis: Any = None, dtype: Any = None, out: Any = None) -> Value:
    return _running(cumsum, a, axis, dtype, out)


@call(np.cumprod, method="cumprod")
def _cumprod_call(a: Any, axis: Any = None, dtype: Any = None, out: Any = None) -> Value:
    return _running(cumprod, a, axis, dtype, out)


def _cumulative(target: str, op: OpDef, neutral: int) -> None:
    def build(
        x: Any, /, *, axis: Any = None, dtype: Any = None, out: Any = None, include_initial: bool = False
    ) -> Value:
        value = as_value(x)
        if axis is None and value.rank > 1:
            raise ShapeError("an axis is needed for an array of several axes")
        result = _running(op, value, axis, dtype, None)
        if include_initial:
            own = normal_axis(0 if axis is None else axis, result.rank)
            sizes = shape_values(result)
            sizes[own] = 1
            slab = make_broadcast(convert(as_value(neutral), result.dtype), sizes)
            result = current_builder().emit("concatenate", (slab, result), axis=own)
        return result if out is None else write_out(result, out)

    call(target)(build)


_cumulative("numpy.cumulative_sum", cumsum, 0)
_cumulative("numpy.cumulative_prod", cumprod, 1)


@call(np.add.accumulate)
def _add_accumulate(array: Any, axis: Any = 0, dtype: Any = None, out: Any = None) -> Value:
    return _running(cumsum, array, axis, dtype, out)


@call(np.multiply.accumulate)
def _multiply_accumulate(array: Any, axis: Any = 0, dtype: Any = None, out: Any = None) -> Value:
    return _running(cumprod, array, axis, dtype, out)
