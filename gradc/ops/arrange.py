"""New arrays made of others: lists of numbers and arrays, concatenation, stacking."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from gradc.errors import ShapeError, UnsupportedError
from gradc.ir.nodes import Value, current_builder
from gradc.ir.opdef import METHODS, OpDef, call, define
from gradc.ir.region import FULL, NEWAXIS, Arg, At, Region, Span
from gradc.ir.types import Array, Layout, Scalar, add_sizes, promote_dtypes
from gradc.ops.memory import (
    copy,
    index,
    load,
    make_broadcast,
    make_index,
    make_reshape,
    make_zeros,
    shape_values,
    size_value,
    store,
    store_at,
    transpose,
    zeros_like,
)
from gradc.ops.rules import as_value, convert, dtype_name, normal_axis, write_out

# ----------------------------------------------------------------------------------------- concatenate


def _concatenate_type(
    types: Sequence[Any], attrs: dict[str, Any], require: Callable[[int, int, int, int], None]
) -> list[Any]:
    axis = attrs["axis"]
    first = types[0]
    shape = list(first.shape)
    for k, ty in enumerate(types[1:], 1):
        if len(ty.shape) != len(shape):
            raise ShapeError(f"arrays of {len(shape)} and {len(ty.shape)} axes cannot be concatenated")
        for other in range(len(shape)):
            if other == axis:
                shape[axis] = add_sizes(shape[axis], ty.shape[axis])
                continue
            p, q = shape[other], ty.shape[other]
            if isinstance(p, int) and isinstance(q, int) and p != q:
                raise ShapeError(f"sizes {p} and {q} of axis {other} differ, and only axis {axis} is concatenated")
            require(0, other, k, other)
            if isinstance(q, int):
                shape[other] = q
    return [Array(promote_dtypes(tuple(types)).dtype, tuple(shape))]


def _concatenate_vjp(ct: Value, y: Value, *xs: Value, axis: int) -> list[Value]:
    """Each operand's slice of the cotangent."""
    pieces: list[Value] = []
    start: Any = 0
    for x in xs:
        stop = start + size_value(x, axis)
        pieces.append(slice_along(ct, axis, start, stop, x))
        start = stop
    return pieces


def slice_along(x: Value, axis: int, start: Any, stop: Any, like: Value) -> Value:
    """x[..., start:stop, ...] along `axis`: a view with the sizes of `like`, which the slice is known to have."""
    operands = [v for v in (start, stop) if isinstance(v, Value)]
    bounds = [Arg(operands.index(v)) if isinstance(v, Value) else v for v in (start, stop)]
    region = [FULL] * x.rank
    region[axis] = Span(*bounds)
    layout: Layout = "A" if x.ty.layout != "C" or axis else "C"  # type: ignore[union-attr]
    shape = tuple(like.shape[axis] if k == axis else s for k, s in enumerate(x.shape))
    return index(x, *operands, region=tuple(region), type=Array(x.dtype, shape, layout))


def _concatenate_jvp(tangents: Sequence[Value | None], y: Value, *xs: Value, axis: int) -> Value:
    filled = [zeros_like(x, y.dtype) if t is None else t for t, x in zip(tangents, xs, strict=True)]
    return concatenate(*filled, axis=axis)


def _expand_concatenate(*xs: Value, axis: int) -> Value:
    builder = current_builder()
    dtype = promote_dtypes(tuple(builder.canonical_type(x.ty) for x in xs)).dtype
    sizes = shape_values(xs[0])
    starts: list[Any] = [0]
    for x in xs:
        starts.append(starts[-1] + shape_values(x)[axis])
    sizes[axis] = starts[-1]
    result = make_zeros(sizes, dtype, filled=False)
    for x, (start, stop) in zip(xs, itertools.pairwise(starts), strict=True):
        store(slice_along(result, axis, start, stop, x), x)
    return result


def _emit_concatenate(node: Any, *xs: str) -> str:
    axis = node.attrs["axis"]
    return f"np.concatenate(({', '.join(xs)}{',' if len(xs) == 1 else ''}){f', axis={axis}' if axis else ''})"


concatenate: OpDef = define(
    OpDef(
        "concatenate", "fresh", ("x",), moves="all",
        infer=_concatenate_type, run=lambda *xs, axis: np.concatenate(xs, axis=axis),
        emit=_emit_concatenate, vjp=_concatenate_vjp, jvp=_concatenate_jvp, expand=_expand_concatenate, cost=100,
        takes_complex=True,
        doc="The operands, one after the other along {axis}, in a new array of the promoted dtype.",
    )
)


# ----------------------------------------------------------------------------------- arrays of numbers


def _array_vjp(ct: Value, y: Value, *xs: Value, shape: tuple[int, ...], type: Array) -> list[Value]:
    places = [tuple(At(k) for k in place) for place in np.ndindex(*shape)]
    return [load(ct, region=place) for place in places]


def _array_jvp(tangents: Sequence[Value | None], y: Value, *xs: Value, shape: tuple[int, ...], type: Array) -> Value:
    filled = [current_builder().const(0.0) if t is None else t for t in tangents]
    return array_of(*filled, shape=shape, type=type)


def _expand_array(*xs: Value, shape: tuple[int, ...], type: Array) -> Value:
    result = make_zeros(shape, type.dtype, filled=False)
    for place, x in zip(np.ndindex(*shape), xs, strict=True):
        store_at(result, x, region=tuple(At(k) for k in place))
    return result


def _emit_array(node: Any, *xs: str) -> str:
    """`np.array([[a, b], [c, d]])`."""

    def nested(shape: tuple[int, ...], items: Sequence[str]) -> str:
        if not shape:
            return items[0]
        step = len(items) // shape[0] if shape[0] else 0
        return "[" + ", ".join(nested(shape[1:], items[k * step : (k + 1) * step]) for k in range(shape[0])) + "]"

    ty = node.attrs["type"]
    natural = ty.dtype if not xs else promote_dtypes(tuple(v.ty for v in node.operands)).dtype
    suffix = "" if natural == ty.dtype and xs else f", dtype=np.{ty.dtype}"
    return f"np.array({nested(node.attrs['shape'], xs)}{suffix})"


array_of: OpDef = define(
    OpDef(
        "array_of", "fresh", ("x",), moves="all",
        infer=lambda types, attrs, require: [attrs["type"]], emit=_emit_array,
        run=lambda *xs, shape, type: np.array(xs, dtype=type.dtype).reshape(shape), vjp=_array_vjp, jvp=_array_jvp,
        expand=_expand_array,
        takes_complex=True,
        doc="A new array of scalars, in C order. {shape}: ints, {type}.",
    )
)


def nested_shape(x: Any) -> tuple[int, ...]:
    """The shape of nested lists, down to what is not a list.

    Raises: ShapeError where rows differ.
    """
    if not isinstance(x, list | tuple):
        return ()
    inner = {nested_shape(item) for item in x}
    if len(inner) > 1:
        raise ShapeError("the rows of this list have different lengths")
    return (len(x), *(inner.pop() if inner else ()))


def leaves_of(x: Any) -> list[Any]:
    """What nested lists hold, in order."""
    return [leaf for item in x for leaf in leaves_of(item)] if isinstance(x, list | tuple) else [x]


def make_array(x: Any, dtype: str | None = None) -> Value:
    """np.array of nested lists of numbers, or of arrays of one shape: always a new array."""
    builder = current_builder()
    if isinstance(x, np.ndarray):
        x = x.tolist() if dtype is None and x.dtype in (np.float64, np.int64,
                                                        np.bool_) else [*map(x.dtype.type, x.flat)]
    if not isinstance(x, list | tuple):
        value = builder.value(x)
        if isinstance(value.ty, Array):
            return copy(value) if dtype in (None, value.dtype) else convert(value, dtype)  # type: ignore[arg-type]
        return make_broadcast(convert(value, dtype or value.dtype), ())
    shape = nested_shape(x)
    leaves = [builder.value(leaf) for leaf in leaves_of(x)]
    if not any(v.rank for v in leaves):
        scalars = [v if isinstance(v.ty, Scalar) else load(v, region=()) for v in leaves]
        # NumPy has no weak numbers here: [float32, 1.0] is an array of float64.
        if not scalars:
            return make_zeros(shape, dtype or "float64")
        found = promote_dtypes(tuple(Scalar(v.dtype) for v in scalars)).dtype
        return array_of(*scalars, shape=shape, type=Array(dtype or found, shape))
    if any(v.rank != leaves[0].rank for v in leaves):
        raise ShapeError("this list holds arrays of different ranks")
    flat = stack(leaves, 0)
    if len(shape) > 1:
        flat = make_reshape(flat, (*shape, *shape_values(flat)[1:]))
    return flat if dtype is None else convert(flat, dtype)


def stack(parts: Sequence[Value], axis: int) -> Value:
    """np.stack of values of one rank."""
    if not parts:
        raise ShapeError("need at least one array to stack")
    ranks = {p.rank for p in parts}
    if len(ranks) > 1:
        raise ShapeError("all input arrays must have the same shape")
    (rank,) = ranks
    axis = normal_axis(axis, rank + 1)
    if not rank:
        return make_array([p if isinstance(p.ty, Scalar) else load(p, region=()) for p in parts])
    region: Region = (*(FULL,) * axis, NEWAXIS, *(FULL,) * (rank - axis))
    return concatenate(*(make_index(p, region) for p in parts), axis=axis)


def parts_of(arrays: Any) -> list[Value]:
    """The operands of concatenate and its like: a list or tuple, or the rows of an array of literal length."""
    if isinstance(arrays, Value):
        size = current_builder().canonical_size(arrays.shape[0]) if arrays.rank else None
        if not isinstance(size, int):
            raise UnsupportedError("the number of arrays to join is not known", hint="give a list of arrays")
        return [make_index(arrays, (At(k), *(FULL,) * (arrays.rank - 1))) for k in range(size)]
    return [make_array(a) if isinstance(a, list | tuple | np.ndarray) else current_builder().value(a) for a in arrays]


def at_least_1d(x: Value) -> Value:
    """x, or an array of one element where x is a number."""
    if x.rank:
        return x
    return make_reshape(x, (1,)) if isinstance(x.ty, Array) else make_array([x])


def at_least_2d(x: Value) -> Value:
    """x with a leading axis where it has one axis only; a number becomes [[x]]."""
    x = at_least_1d(x)
    return x if x.rank > 1 else make_index(x, (NEWAXIS, FULL))


def join(parts: Sequence[Value], axis: int) -> Value:
    """np.concatenate along a normalised axis."""
    if not parts:
        raise ShapeError("need at least one array to concatenate")
    if not all(p.rank for p in parts):
        raise ShapeError("zero-dimensional arrays cannot be concatenated", hint="use np.hstack or np.array")
    return concatenate(*parts, axis=normal_axis(axis, parts[0].rank))


# ------------------------------------------------------------------------------------------------- calls


def _finish(result: Value, out: Any, dtype: Any) -> Value:
    result = result if dtype is None else convert(result, dtype_name(dtype))
    return result if out is None else write_out(result, out)


@call(np.concatenate)
def _concatenate_call(
    arrays: Any, axis: Any = 0, out: Any = None, *, dtype: Any = None, casting: str = "same_kind"
) -> Value:
    parts = parts_of(arrays)
    if axis is None:
        parts, axis = [make_reshape(at_least_1d(p), (-1,)) for p in parts], 0
    return _finish(join(parts, axis), out, dtype)


@call(np.stack)
def _stack_call(arrays: Any, axis: Any = 0, out: Any = None, *, dtype: Any = None, casting: str = "same_kind") -> Value:
    return _finish(stack(parts_of(arrays), axis), out, dtype)


@call(np.hstack)
def _hstack_call(tup: Any, *, dtype: Any = None, casting: str = "same_kind") -> Value:
    parts = [at_least_1d(p) for p in parts_of(tup)]
    return _finish(join(parts, 0 if parts and parts[0].rank == 1 else 1), None, dtype)


@call(np.vstack)
def _vstack_call(tup: Any, *, dtype: Any = None, casting: str = "same_kind") -> Value:
    return _finish(join([at_least_2d(p) for p in parts_of(tup)], 0), None, dtype)


@call(np.column_stack)
def _column_stack_call(tup: Any) -> Value:
    parts = [at_least_1d(p) for p in parts_of(tup)]
    return join([p if p.rank > 1 else make_index(p, (FULL, NEWAXIS)) for p in parts], 1)


@call(np.dstack)
def _dstack_call(tup: Any) -> Value:
    parts = [at_least_2d(p) for p in parts_of(tup)]
    return join([p if p.rank > 2 else make_index(p, (FULL, FULL, NEWAXIS)) for p in parts], 2)


@call(np.append)
def _append_call(arr: Any, values: Any, axis: Any = None) -> Value:
    return _concatenate_call([arr, values], axis)


@call(np.array)
def _array_call(
    object: Any, dtype: Any = None, *, copy: Any = True, order: str = "K", subok: bool = False, ndmin: int = 0
) -> Value:
    wanted = None if dtype is None else dtype_name(dtype)
    if isinstance(object, Value) and isinstance(object.ty, Array) and not copy and wanted in (None, object.dtype):
        return object
    result = make_array(object, wanted)
    if ndmin > result.rank:
        result = make_index(result, (*(NEWAXIS,) * (ndmin - result.rank), *(FULL,) * result.rank))
    return result


@call(np.asarray, np.asanyarray)
def _asarray_call(a: Any, dtype: Any = None, order: Any = None, *, copy: Any = None) -> Value:
    return _array_call(a, dtype, copy=bool(copy))


@call(np.ascontiguousarray)
def _ascontiguousarray_call(a: Any, dtype: Any = None) -> Value:
    result = at_least_1d(_asarray_call(a, dtype))
    assert isinstance(result.ty, Array)
    return result if result.ty.layout == "C" else copy(result)


@call("numpy.astype")
def _astype_call(x: Any, dtype: Any, /, *, copy: Any = True) -> Value:
    return METHODS["astype"].build(as_value(x), dtype, copy=copy)


@call(np.asfortranarray)
def _asfortranarray_call(a: Any, dtype: Any = None) -> Value:
    x = at_least_1d(as_value(a))
    x = x if dtype is None else convert(x, dtype_name(dtype))
    perm = tuple(reversed(range(x.rank)))
    assert isinstance(x.ty, Array)
    return x if x.rank < 2 or x.ty.layout == "F" else transpose(copy(transpose(x, perm=perm)), perm=perm)


@call(np.asarray_chkfinite)
def _asarray_chkfinite_call(a: Any, dtype: Any = None, order: Any = None) -> Value:
    x, builder = _asarray_call(a, dtype), current_builder()
    if builder.checks:
        finite = builder.emit("isfinite", (x,))
        whole = builder.emit("all", (finite,), axes=tuple(range(x.rank)), keepdims=False) if x.rank else finite
        builder.emit("check", (whole,), error="ValueError", message="array must not contain infs or NaNs")
    return x


@call(np.copy)
def _copy_call(a: Any, order: str = "K", subok: bool = False) -> Value:
    return make_array(a)


@call(method="copy")
def _copy_method(x: Any, order: str = "C") -> Value:
    value = as_value(x)
    return value if isinstance(value.ty, Scalar) else make_array(value)
