"""The methods of NumPy's ufuncs, for every ufunc of two operands that is an op: outer, reduce, accumulate, reduceat.

`ufunc.at` takes indices of every kind, so it is a business of the front end (`frontends/array_calls.py`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from gradc.errors import ShapeError, UnsupportedError
from gradc.ir.nodes import Block, Value, current_builder
from gradc.ir.opdef import CALLS, TABLE, OpDef, call, define
from gradc.ir.region import FULL, NEWAXIS, Arg, At
from gradc.ir.types import WEAK_INT, Array, Scalar
from gradc.ops import elementary  # noqa: F401  # its ops are in the table
from gradc.ops.elementwise import as_bool, eq, gt, lt, maximum, minimum, where
from gradc.ops.memory import (
    check_indices,
    load,
    make_broadcast,
    make_index,
    make_reshape,
    make_zeros,
    shape_values,
    size_value,
    store,
)
from gradc.ops.rules import as_value, boolean, convert, dtype_name, normal_axes, normal_axis, strong, write_out
from gradc.ops.scans import recurrence, scan, shift
from gradc.ops.shape import permute

# -------------------------------------------------------------------------------------- running extrema


def _ties(y: Value, x: Value, axis: int) -> tuple[Value, Value, Value]:
    """Of a running extremum: 1 where it goes on, 1 where x attains it, and how many entries so far attain it."""
    before = shift(y, by=-1, axis=axis)
    same, hits = (convert(eq(y, v), y.dtype) for v in (before, x))
    count = recurrence(same, hits, axis=axis, reverse=False)
    return same, hits, where(gt(count, 0), count, 1.0)


def _running_vjp(ct: Value, y: Value, x: Value, *, axis: int) -> list[Value]:
    # The entries that attain y[i] share ct[i] equally; those of one run of equal y collect it from the end.
    same, hits, count = _ties(y, x, axis)
    ahead = shift(same, by=1, axis=axis)
    return [where(gt(hits, 0), recurrence(ahead, ct / count, axis=axis, reverse=True), 0.0)]


def _running_jvp(tangents: Sequence[Value], y: Value, x: Value, *, axis: int) -> Value:
    same, hits, count = _ties(y, x, axis)
    return recurrence(same, where(gt(hits, 0), tangents[0], 0.0), axis=axis, reverse=False) / count


def _running(name: str, pick: OpDef, ufunc: Any, what: str) -> OpDef:
    return define(
        OpDef(
            name, "fresh", ("x",), infer=lambda types, attrs, require: [Array(types[0].dtype, types[0].shape)],
            run=lambda x, axis: ufunc.accumulate(x, axis=axis),
            emit=f"np.{ufunc.__name__}.accumulate({{x}}, axis={{axis}})", vjp=_running_vjp, jvp=_running_jvp,
            expand=lambda x, axis: scan(
                lambda first, before, item: where(first, item, pick(before, item)), 0, (x,), axis, False
            ),
            doc=f"The {what} of all entries so far along {{axis}}; k of them that tie have 1/k of the derivative each.",
        )
    )


cummax = _running("cummax", maximum, np.maximum, "largest")
cummin = _running("cummin", minimum, np.minimum, "smallest")
_OWN = {"maximum": cummax, "minimum": cummin}

# ----------------------------------------------------------------------------------------------- outer


def _enter_outer(ufunc: Any, op: OpDef) -> None:
    def outer(A: Any, B: Any, /, *, out: Any = None, where: Any = True, dtype: Any = None) -> Value:
        x, y = strong(A), strong(B)
        if dtype is not None:
            x, y = (convert(v, dtype_name(dtype)) for v in (x, y))
        if x.rank and y.rank:
            x = make_index(x, (*(FULL,) * x.rank, *(NEWAXIS,) * y.rank))
        result = current_builder().add(op, (x, y), {}, weak=False)
        return result if out is None and where is True else write_out(result, out, where)

    call(ufunc.outer)(outer)


# ----------------------------------------------------------------------------- accumulate, reduce, reduceat


def _operand(op: OpDef, array: Any, dtype: Any) -> Value:
    """The array in the dtype that results of the op have."""
    x = strong(array)
    if dtype is not None:
        x = convert(x, dtype_name(dtype))
    assert op.dtype_rule is not None
    item = Value(Scalar(x.dtype))
    return convert(x, op.dtype_rule((item, item), {}).dtype)


def accumulated(op: OpDef, x: Value, axis: int) -> Value:
    """op over all entries so far along an axis."""
    if op.name in _OWN:
        made: Value = _OWN[op.name](x, axis=axis)
        return made
    one = 1 if np.dtype(x.dtype).kind != "b" else True

    def step(first: Value, before: Value, item: Value) -> Value:
        return where(first, item, convert(op(before, item), x.dtype))

    return scan(step, one, (x,), axis, False)


def _enter_accumulate(ufunc: Any, op: OpDef) -> None:
    def accumulate(array: Any, axis: Any = 0, dtype: Any = None, out: Any = None) -> Value:
        x = _operand(op, array, dtype)
        result = accumulated(op, x, normal_axis(axis, x.rank))
        return result if out is None else write_out(result, out)

    call(ufunc.accumulate)(accumulate)


def _along_last(x: Value, axis: Any, reorders: bool, name: str) -> tuple[Value, tuple[int, ...]]:
    """x with the axes that are reduced as its last one, and those axes."""
    axes = normal_axes(axis, x.rank)
    if len(axes) > 1 and not reorders:
        raise ShapeError(f"np.{name}.reduce goes along one axis only: the order matters")
    kept = [k for k in range(x.rank) if k not in axes]
    moved = permute(x, (*kept, *axes))
    if len(axes) != 1:
        moved = make_reshape(moved, (*shape_values(moved)[: len(kept)], -1))
    return moved, axes


def _start(ufunc: Any, x: Value, initial: Any) -> Value:
    """x with what a reduction starts from before the first entry, where there is such a thing."""
    value = ufunc.identity if initial is None else initial
    last = x.rank - 1
    if value is not None:
        sizes = shape_values(x)
        sizes[last] = 1
        slab = make_broadcast(convert(as_value(value), x.dtype), sizes)
        made: Value = current_builder().emit("concatenate", (slab, x), axis=last)
        return made
    builder = current_builder()
    size = builder.canonical_size(x.shape[last])
    message = f"zero-size array to reduction operation {ufunc.__name__} which has no identity"
    if size == 0:
        raise ShapeError(message)
    if not isinstance(size, int) and builder.checks:
        builder.emit("check", (gt(size_value(x, last), 0),), error="ValueError", message=message)
    return x


def _enter_reduce(ufunc: Any, op: OpDef, reorders: bool) -> None:
    def reduce(
        array: Any, axis: Any = 0, dtype: Any = None, out: Any = None, keepdims: Any = False, initial: Any = None,
        where: Any = True,
    ) -> Value:
        x = _operand(op, array, dtype)
        if where is not True:
            neutral = ufunc.identity if initial is None else initial
            if ufunc.identity is None:
                raise UnsupportedError(f"np.{ufunc.__name__}.reduce with where=", hint="select the entries first")
            x = TABLE["where"](as_bool(as_value(where)), x, neutral)
        if not x.rank:
            return x if out is None else write_out(x, out)
        moved, axes = _along_last(x, axis, reorders, ufunc.__name__)
        running = accumulated(op, _start(ufunc, moved, initial), moved.rank - 1)
        if running.rank == 1:
            n = size_value(running, 0)
            result = load(running, n - 1, region=(At(Arg(0)),))
        else:
            result = make_index(running, (*(FULL,) * (running.rank - 1), At(-1)))
        if keepdims:
            result = (
                make_index(result, tuple(NEWAXIS if k in axes else FULL for k in range(x.rank)))
                if result.rank else make_broadcast(result, (1,) * x.rank)
            )
        return result if out is None else write_out(result, out)

    call(ufunc.reduce)(reduce)


def _enter_reduceat(ufunc: Any, op: OpDef) -> None:
    def reduceat(array: Any, indices: Any, axis: Any = 0, dtype: Any = None, out: Any = None) -> Value:
        x, starts = _operand(op, array, dtype), as_value(indices)
        axis = normal_axis(axis, x.rank)
        if starts.rank != 1:
            raise ShapeError("reduceat takes a list of positions")
        check_indices(starts, x, axis=axis, message="")
        moved = permute(x, (axis, *(k for k in range(x.rank) if k != axis)))
        made = _reduced_at(op, moved, starts)
        made = permute(made, tuple(int(k) for k in np.argsort((axis, *(k for k in range(x.rank) if k != axis)))))
        return made if out is None else write_out(made, out)

    call(ufunc.reduceat)(reduceat)


def _reduced_at(op: OpDef, x: Value, starts: Value) -> Value:
    """op over x[starts[i]:starts[i + 1]] along axis 0; the entry itself where that is empty."""
    builder = current_builder()
    count, n = size_value(starts, 0), size_value(x, 0)
    result = make_zeros([shape_values(starts)[0], *shape_values(x)[1:]], x.dtype, filled=False)
    entry = (At(Arg(0)),)

    def row(of: Value, place: Value) -> Value:
        return make_index(of, (At(Arg(0)), *(FULL,) * (of.rank - 1)), place)

    with builder.into(Block(params=[Value(WEAK_INT, "i")])) as each:
        (i,) = each.params
        first = load(starts, i, region=entry)
        following = load(starts, minimum(i + 1, count - 1), region=entry)
        stop = where(lt(i + 1, count), following, n)
        first, stop = (where(lt(v, 0), v + n, v) for v in (first, stop))
        store(row(result, i), row(x, first))
        with builder.into(Block(params=[Value(WEAK_INT, "k")])) as inner:
            (k,) = inner.params
            store(row(result, i), convert(op(row(result, i), row(x, k)), x.dtype))
        builder.control("for", (first + 1, stop, 1), (inner,), (), reversed=False, exits=False)
    builder.control("for", (0, count, 1), (each,), (), reversed=False, exits=False)
    return result


_REORDERS = frozenset(("hypot", "logaddexp", "logaddexp2", "logical_xor", "bitwise_and", "bitwise_or", "bitwise_xor"))


@call(np.fmax.reduce)
def _fmax_reduce(
    array: Any, axis: Any = 0, dtype: Any = None, out: Any = None, keepdims: Any = False, initial: Any = None,
    where: Any = True,
) -> Value:
    return CALLS[np.nanmax].build(array, axis, out, keepdims, initial, where)


@call(np.fmin.reduce)
def _fmin_reduce(
    array: Any, axis: Any = 0, dtype: Any = None, out: Any = None, keepdims: Any = False, initial: Any = None,
    where: Any = True,
) -> Value:
    return CALLS[np.nanmin].build(array, axis, out, keepdims, initial, where)


def _enter_all() -> None:
    for op in list(TABLE.values()):
        for ufunc in op.calls:
            if not isinstance(ufunc, np.ufunc) or ufunc.nin != 2 or ufunc.nout != 1:
                continue
            if ufunc.outer not in CALLS:
                _enter_outer(ufunc, op)
            if op.dtype_rule is boolean and not op.name.startswith("logical"):
                continue
            if ufunc.accumulate not in CALLS:
                _enter_accumulate(ufunc, op)
            if ufunc.reduce not in CALLS and ufunc is not np.power:  # NumPy's own power.reduce is not its accumulate
                _enter_reduce(ufunc, op, ufunc.__name__ in _REORDERS)
            _enter_reduceat(ufunc, op)


_enter_all()
