"""Arrays from sizes and numbers: zeros, ones, full, eye, arange, linspace; and NumPy's scalar types as calls."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from gradc.errors import ShapeError, UnsupportedError
from gradc.ir.nodes import Value, current_builder
from gradc.ir.opdef import OpDef, call, define
from gradc.ir.region import FULL, NEWAXIS
from gradc.ir.types import WEAK_FLOAT, Array, Scalar, is_inexact, is_integer, promote_dtypes
from gradc.ops.elementwise import cast, ceil, eq, maximum, mul, sub, where
from gradc.ops.memory import make_broadcast, make_index, make_zeros, shape_operands, shape_values, transpose
from gradc.ops.reduce import sum as sum_over
from gradc.ops.rules import as_value, constant_of, convert, dtype_name, part_dtype
from gradc.ops.scans import given_count as _count
from gradc.ops.scans import make_positions


def sizes_of(shape: Any) -> list[int | Value]:
    """A shape argument as ints and values; integers that are known are written as ints.

    Raises: ShapeError for a negative literal; UnsupportedError for what is not a size.
    """
    items = shape if isinstance(shape, tuple | list) else (shape,)
    sizes: list[int | Value] = []
    for item in items:
        known = constant_of(item) if isinstance(item, Value) else item
        if isinstance(known, int | np.integer) and not isinstance(known, bool):
            if known < 0:
                raise ShapeError("negative dimensions are not allowed")
            sizes.append(int(known))
        elif isinstance(item, Value) and isinstance(item.ty, Scalar) and is_integer(item.ty):
            sizes.append(item)
        else:
            raise UnsupportedError("a shape is an integer or a tuple of integers")
    return sizes


def _ordered(shape: Any, order: str, make: Any) -> Value:
    """`make(sizes)` in C order, or of the reversed sizes and then transposed for Fortran order."""
    sizes = sizes_of(shape)
    if order == "F" and len(sizes) > 1:
        return transpose(make(sizes[::-1]), perm=tuple(reversed(range(len(sizes)))))
    if order not in ("C", "F", "K", "A"):
        raise UnsupportedError(f"order {order!r}")
    return make(sizes)


def filled(shape: Sequence[int | Value], value: Any, dtype: str) -> Value:
    """A new array of one value."""
    return make_broadcast(convert(as_value(value), dtype), shape)


@call(np.zeros)
def _zeros_call(shape: Any, dtype: Any = float, order: str = "C", *, like: None = None) -> Value:
    return _ordered(shape, order, lambda sizes: make_zeros(sizes, dtype_name(dtype)))


@call(np.empty)
def _empty_call(shape: Any, dtype: Any = float, order: str = "C", *, like: None = None) -> Value:
    return _ordered(shape, order, lambda sizes: make_zeros(sizes, dtype_name(dtype), filled=False))


@call(np.ones)
def _ones_call(shape: Any, dtype: Any = None, order: str = "C", *, like: None = None) -> Value:
    name = dtype_name(dtype or float)
    one = np.dtype(name).type(1)
    return _ordered(shape, order, lambda sizes: filled(sizes, one, name))


@call(np.full)
def _full_call(shape: Any, fill_value: Any, dtype: Any = None, order: str = "C", *, like: None = None) -> Value:
    value = as_value(fill_value)
    name = value.dtype if dtype is None else dtype_name(dtype)
    return _ordered(shape, order, lambda sizes: filled(sizes, value, name))


def _like(a: Any, dtype: Any, shape: Any, make: Any) -> Value:
    x = as_value(a)
    name = x.dtype if dtype is None else dtype_name(dtype)
    return make(shape_values(x) if shape is None else sizes_of(shape), name)


@call(np.zeros_like)
def _zeros_like_call(a: Any, dtype: Any = None, order: str = "K", subok: bool = True, shape: Any = None) -> Value:
    return _like(a, dtype, shape, make_zeros)


@call(np.empty_like)
def _empty_like_call(
    prototype: Any, dtype: Any = None, order: str = "K", subok: bool = True, shape: Any = None
) -> Value:
    return _like(prototype, dtype, shape, lambda sizes, name: make_zeros(sizes, name, filled=False))


@call(np.ones_like)
def _ones_like_call(a: Any, dtype: Any = None, order: str = "K", subok: bool = True, shape: Any = None) -> Value:
    return _like(a, dtype, shape, lambda sizes, name: filled(sizes, np.dtype(name).type(1), name))


@call(np.full_like)
def _full_like_call(
    a: Any, fill_value: Any, dtype: Any = None, order: str = "K", subok: bool = True, shape: Any = None
) -> Value:
    return _like(a, dtype, shape, lambda sizes, name: filled(sizes, fill_value, name))


# ------------------------------------------------------------------------------------ ranges, identity


@call(np.arange)
def _arange_call(
    start: Any = None, stop: Any = None, step: Any = 1, dtype: Any = None, *, device: None = None, like: None = None
) -> Value:
    if stop is None:
        start, stop = 0, start
    first, end, stride = as_value(0 if start is None else start), as_value(stop), as_value(1 if step is None else step)
    values = (first, end, stride)
    if any(v.rank for v in values):
        raise UnsupportedError("np.arange takes numbers")
    natural = promote_dtypes(tuple(v.ty for v in values)).dtype  # type: ignore[misc]
    name = natural if dtype is None else dtype_name(dtype)
    count = _arange_length(first, end, stride, is_inexact(Scalar(natural)))
    if constant_of(first) == 0 and constant_of(stride) == 1:
        return make_positions(count, name)
    steps = make_positions(count, "float64" if natural == "float64" else natural)
    # NumPy fills with the difference of the first two entries.
    delta = stride if not is_inexact(Scalar(natural)) else (first + stride) - first
    product = steps if constant_of(delta) == 1 else mul(steps, delta)
    return convert(product if constant_of(first) == 0 else product + first, name)


def _arange_length(first: Value, end: Value, stride: Value, inexact: bool) -> int | Value:
    known = [constant_of(v) for v in (first, end, stride)]
    if known[2] == 0:
        raise ShapeError("np.arange with step 0")
    if all(k is not None for k in known):
        return len(np.arange(*known))
    builder = current_builder()
    if inexact:
        length: Value = cast(maximum(ceil((end - first) / stride), 0.0), dtype="int64", weak=True)
        return length
    if known[2] == 1:
        length = end if known[0] == 0 else sub(end, first)
        return builder.size_of(length) if isinstance(builder.size_of(length), int) else _natural(length)
    return convert(maximum(-((first - end) // stride), 0), "int64", weak=True)


def _natural(length: Value) -> Value:
    """A length as it is where it can only be a size, else at least 0."""
    size = current_builder().size_of(length)
    if not isinstance(size, int) and all(c >= 0 for _, c in size.terms):
        return length
    return maximum(length, 0)


@call(np.eye)
def _eye_call(
    N: Any, M: Any = None, k: Any = 0, dtype: Any = float, order: str = "C", *, device: None = None, like: None = None
) -> Value:
    rows, columns = sizes_of((N, N if M is None else M))
    row = make_index(make_positions(rows), (FULL, NEWAXIS))
    column = make_positions(columns)
    shifted = row if constant_of(k) == 0 or (isinstance(k, int) and k == 0) else row + k
    return cast(eq(shifted, column), dtype=dtype_name(dtype), weak=False)


@call(np.identity)
def _identity_call(n: Any, dtype: Any = float, *, like: None = None) -> Value:
    return _eye_call(n, dtype=dtype)


def _fractions(count: Any, divisor: Any, dtype: str) -> Value:
    # A kernel's positions are integers, which it would not divide in single precision.
    return (make_positions(count, dtype) if dtype == "float64" else convert(make_positions(count), dtype)) / divisor


def _linspace_parts(k: Sequence[Any], shape: Any, endpoint: bool) -> tuple[Any, Any]:
    count = _count(k, shape)
    if not endpoint:
        return count, count
    return count, max(count - 1, 1) if isinstance(count, int) else maximum(count - 1, 1)


def _expand_linspace(start: Value, stop: Value, *k: Any, shape: Any, type: Array, endpoint: bool) -> Value:
    count, divisor = _linspace_parts(k, shape, endpoint)
    step = (stop - start) / divisor
    i = make_positions(count, type.dtype)
    line = i * step + start
    if not endpoint or count == 1:
        return line
    return where(eq(i, divisor), stop, line) if isinstance(count, int) else where(
        eq(i, maximum(count - 1, 1)), stop, line
    )


def _linspace_vjp(
    ct: Value, y: Value, start: Value, stop: Value, *k: Any, shape: Any, type: Array, endpoint: bool
) -> list[Value | None]:
    count, divisor = _linspace_parts(k, shape, endpoint)
    fraction = _fractions(count, divisor, type.dtype)
    far = sum_over(ct * fraction, axes=(0,), keepdims=False)
    return [sum_over(ct, axes=(0,), keepdims=False) - far, far, *(None for _ in k)]


def _linspace_jvp(
    tangents: Sequence[Value | None], y: Value, start: Value, stop: Value, *k: Any, shape: Any, type: Array,
    endpoint: bool
) -> Value:
    ends = [0.0 if t is None else t for t in tangents[:2]]
    return linspace(*ends, *k, shape=shape, type=type, endpoint=endpoint)


def _emit_linspace(node: Any, start: str, stop: str, *k: str) -> str:
    attrs = node.attrs
    suffix = "" if attrs["endpoint"] else ", endpoint=False"
    return f"np.linspace({start}, {stop}, {_count(k, attrs['shape'])}{suffix})"


linspace: OpDef = define(
    OpDef(
        "linspace", "fresh", ("start", "stop"), infer=lambda types, attrs, require: [attrs["type"]],
        run=lambda start, stop, *k, shape, type, endpoint: np.linspace(start, stop, _count(k, shape), endpoint),
        emit=_emit_linspace, expand=_expand_linspace, vjp=_linspace_vjp, jvp=_linspace_jvp,
        doc="Evenly spaced numbers from start to stop. {shape} of one int or Arg, {type}, {endpoint}.",
    )
)


def _linspace_of_arrays(
    start: Value, stop: Value, count: int | Value, endpoint: bool, retstep: bool, dtype: Any, axis: int
) -> Any:
    """From each element of one array to each of another; the new axis is first, or at `axis`."""
    first, last = (
        v if is_inexact(v.ty) else convert(v, "float64", weak=isinstance(v.ty, Scalar) and v.ty.weak)
        for v in (start, stop)
    )
    delta = last - first
    rank = delta.rank
    shape, operands = shape_operands((count,))
    _, divisor = _linspace_parts(operands, shape, endpoint)
    i = make_index(make_positions(count, part_dtype(delta.dtype)), (FULL, *(NEWAXIS,) * rank))
    step = delta / divisor
    made = first + i * step
    if endpoint and not (isinstance(count, int) and count < 2):
        made = where(eq(i, divisor), last, made)
    if axis not in (0, -rank - 1):
        place = axis + rank + 1 if axis < 0 else axis
        perm = [*range(1, place + 1), 0, *range(place + 1, rank + 1)]
        made = transpose(made, perm=tuple(perm))
    made = made if dtype is None else convert(made, dtype_name(dtype))
    return (made, step) if retstep else made


@call(np.linspace)
def _linspace_call(
    start: Any, stop: Any, num: Any = 50, endpoint: Any = True, retstep: Any = False, dtype: Any = None, axis: int = 0
) -> Any:
    ends = (as_value(start), as_value(stop))
    (count,) = sizes_of(num)
    if any(v.rank for v in ends):
        return _linspace_of_arrays(*ends, count, bool(endpoint), bool(retstep), dtype, axis)
    attr, operands = shape_operands((count,))
    size = current_builder().size_of(count)
    natural = promote_dtypes((ends[0].ty, ends[1].ty, WEAK_FLOAT)).dtype  # type: ignore[arg-type]
    if natural == "float32":
        ends = (convert(ends[0], natural), convert(ends[1], natural))
    result = linspace(*ends, *operands, shape=attr, type=Array(natural, (size,)), endpoint=bool(endpoint))
    made = result if dtype is None else convert(result, dtype_name(dtype))
    if not retstep:
        return made
    _, divisor = _linspace_parts(operands, attr, bool(endpoint))
    return made, (ends[1] - ends[0]) / divisor


# ------------------------------------------------------------------------------------- scalar types


def _scalar_type_call(kind: Any) -> Any:
    def build(x: Any = 0, /) -> Value:
        value = as_value(x)
        if isinstance(value.ty, Array) and not value.rank:
            value = current_builder().emit("load", (value,), region=())
        return convert(value, np.dtype(kind).name)

    return build


for _kind in (
    np.float64, np.float32, np.bool_, np.int8, np.int16, np.int32, np.int64, np.uint8, np.uint16, np.uint32, np.uint64,
    np.complex128, np.complex64,
):
    call(_kind)(_scalar_type_call(_kind))
