"""Matrix products. `matmul` is the op; `np.dot`, `np.inner`, `np.outer` and their like are made of it."""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from gradc.errors import ShapeError
from gradc.ir.loops import Contraction
from gradc.ir.nodes import Node, Value, current_builder
from gradc.ir.opdef import TABLE, OpDef, call, define
from gradc.ir.region import FULL, NEWAXIS, At
from gradc.ir.types import Array, Shape, broadcast_sizes, format_shape, is_complex, promote_dtypes, with_shape
from gradc.ops import elementary  # noqa: F401  # its ops are in the table
from gradc.ops.elementwise import mul
from gradc.ops.memory import make_broadcast, make_index, make_reshape, shape_values, transpose
from gradc.ops.reduce import sum as sum_over
from gradc.ops.rules import as_value, convert, normal_axis, write_out
from gradc.ops.words import of_product


def _matmul_type(
    types: Sequence[Any], attrs: dict[str, Any], require: Callable[[int, int, int, int], None]
) -> list[Any]:
    """Type of a @ b.

    Shapes: a (*batch, n, k) or (k,), b (*batch, k, m) or (k,); batches broadcast.
    """
    a, b = types
    if not a.shape or not b.shape:
        raise ShapeError("@ takes arrays, not numbers", hint="write * for a product with a number")
    rank_a, rank_b = len(a.shape), len(b.shape)
    inner_b = 0 if rank_b == 1 else rank_b - 2
    inner = (a.shape[-1], b.shape[inner_b])
    if all(isinstance(s, int) for s in inner) and inner[0] != inner[1]:
        shapes = f"{format_shape(a.shape)} and {format_shape(b.shape)}"
        raise ShapeError(f"shapes {shapes} do not fit @: {inner[0]} is not {inner[1]}")
    require(0, rank_a - 1, 1, inner_b)
    batch: list[Any] = []
    lead_a, lead_b = max(rank_a - 2, 0), max(rank_b - 2, 0)
    lead = max(lead_a, lead_b)
    for k in range(lead):
        at_a, at_b = k - (lead - lead_a), k - (lead - lead_b)
        size_a = a.shape[at_a] if at_a >= 0 else 1
        size_b = b.shape[at_b] if at_b >= 0 else 1
        size = broadcast_sizes(size_a, size_b)
        if size is None:
            if isinstance(size_a, int) and isinstance(size_b, int):
                shapes = f"{format_shape(a.shape)} and {format_shape(b.shape)}"
                raise ShapeError(f"the batches of shapes {shapes} do not broadcast")
            require(0, at_a, 1, at_b)
            size = size_a if isinstance(size_a, int) else size_b
        batch.append(size)
    rows = () if rank_a == 1 else (a.shape[-2],)
    columns = () if rank_b == 1 else (b.shape[-1],)
    shape: Shape = (*batch, *rows, *columns)
    return [with_shape(promote_dtypes((a, b)).dtype, shape)]


def swap_last(x: Value) -> Value:
    """The last two axes of x exchanged: a view."""
    return transpose(x, perm=(*range(x.rank - 2), x.rank - 1, x.rank - 2))


def column(x: Value) -> Value:
    """x[..., :, None]: a view."""
    return make_index(x, (*(FULL,) * x.rank, NEWAXIS))


def row(x: Value) -> Value:
    """x[..., None, :]: a view."""
    return make_index(x, (*(FULL,) * (x.rank - 1), NEWAXIS, FULL))


def last(x: Value, axis: int) -> Value:
    """x without its axis of size 1 at `axis` (-1 or -2): a view."""
    tail = (At(0),) if axis == -1 else (At(0), FULL)
    return make_index(x, (*(FULL,) * (x.rank - len(tail)), *tail))


def _matmul_vjp(ct: Value, y: Value, a: Value, b: Value) -> list[Value]:
    if a.rank == 1 and b.rank == 1:
        return [ct * b, ct * a]
    if b.rank == 1:
        if a.rank == 2:
            return [column(ct) * b, matmul(transpose(a, perm=(1, 0)), ct)]
        return [column(ct) * b, last(matmul(swap_last(a), column(ct)), -1)]
    if a.rank == 1:
        if b.rank == 2:
            return [matmul(b, ct), column(a) * ct]
        return [last(matmul(b, column(ct)), -1), column(a) * row(ct)]
    if b.rank == 2 and a.rank > 2:
        # One product over all rows of the batch, not one for each of its entries with a sum after it.
        rows_a, rows_ct = (make_reshape(v, (-1, shape_values(v)[-1])) for v in (a, ct))
        return [matmul(ct, swap_last(b)), matmul(swap_last(rows_a), rows_ct)]
    return [matmul(ct, swap_last(b)), matmul(swap_last(a), ct)]


def _matmul_jvp(tangents: Sequence[Value | None], y: Value, a: Value, b: Value) -> Value:
    a_t, b_t = tangents
    parts = [p for p in (a_t and matmul(a_t, b), b_t and matmul(a, b_t)) if p is not None]
    return parts[0] if len(parts) == 1 else parts[0] + parts[1]


def _subscripts(node: Node) -> tuple[str, str, str]:
    """A letter for each axis: batches in capitals, then i (rows), k (summed), j (columns)."""
    rank_a, rank_b = (v.rank for v in node.operands)
    batch = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"[: max(rank_a, rank_b, 2) - 2]
    lead_a, lead_b = (batch[len(batch) - max(rank - 2, 0) :] for rank in (rank_a, rank_b))
    rows, columns = "" if rank_a == 1 else "i", "" if rank_b == 1 else "j"
    return f"{lead_a}{rows}k", f"{lead_b}k{columns}", f"{batch}{rows}{columns}"


matmul: OpDef = define(
    OpDef(
        "matmul", "product", ("a", "b"), depends=of_product,
        lower=Contraction(_subscripts), infer=_matmul_type, run=np.matmul,
        emit="{a} @ {b}", precedence=10,
        vjp=_matmul_vjp, jvp=_matmul_jvp, cost=1000,
        takes_complex=True,
        doc="a @ b: vectors, matrices and batches of them, as NumPy's matmul. Two vectors give a number.",
    )
)


def _operands(a: Any, b: Any) -> tuple[Value, Value]:
    # NumPy makes arrays of what these functions are given, so Python numbers are not weak here.
    x, y = (as_value(v) for v in (a, b))
    return (convert(x, x.dtype), convert(y, y.dtype))


@call(np.matmul, operator.matmul)
def _matmul_call(x1: Any, x2: Any, /, out: Any = None) -> Value:
    result: Value = matmul(*_operands(x1, x2))
    return result if out is None else write_out(result, out)


@call(np.dot, method="dot")
def _dot_call(a: Any, b: Any, out: Any = None) -> Value:
    result = dot(*_operands(a, b))
    return result if out is None else write_out(result, out)


def dot(a: Value, b: Value) -> Value:
    """np.dot: a product with a number, or the sum over a's last and b's last but one axis.

    Shapes: (*p, k), (*q, k, m) give (*p, *q, m).
    """
    if not a.rank or not b.rank:
        return a * b
    if (a.rank <= 2 and b.rank <= 2) or b.rank == 1:
        return matmul(a, b)
    if b.rank == 2:
        return matmul(a, b)
    return contract(a, b, (a.rank - 1,), (b.rank - 2,))


def contract(a: Value, b: Value, axes_a: Sequence[int], axes_b: Sequence[int]) -> Value:
    """Sum over pairs of axes: one matrix product; what is left of a comes first, then what is left of b."""
    if len(axes_a) != len(axes_b):
        raise ShapeError(f"{len(axes_a)} axes cannot be summed against {len(axes_b)}")
    free_a = [k for k in range(a.rank) if k not in axes_a]
    free_b = [k for k in range(b.rank) if k not in axes_b]
    sizes_a, sizes_b = shape_values(a), shape_values(b)
    result_shape = [*(sizes_a[k] for k in free_a), *(sizes_b[k] for k in free_b)]
    builder = current_builder()
    for p, q in zip(axes_a, axes_b, strict=True):
        if isinstance(sizes_a[p], int) and isinstance(sizes_b[q], int) and sizes_a[p] != sizes_b[q]:
            raise ShapeError(f"sizes {sizes_a[p]} and {sizes_b[q]} of summed axes differ")
        builder.require_equal(a, p, b, q)
    rows: Any = 1
    for k in free_a:
        rows = rows * sizes_a[k]
    inner: Any = 1
    for k in axes_a:
        inner = inner * sizes_a[k]
    columns: Any = 1
    for k in free_b:
        columns = columns * sizes_b[k]
    left = make_reshape(_permuted(a, [*free_a, *axes_a]), (rows, inner))
    right = make_reshape(_permuted(b, [*axes_b, *free_b]), (inner, columns))
    flat = matmul(left, right)
    if not result_shape:
        return builder.emit("load", (flat,), region=(At(0), At(0)))
    return make_reshape(flat, result_shape)


def _permuted(x: Value, order: Sequence[int]) -> Value:
    return x if list(order) == list(range(x.rank)) else transpose(x, perm=tuple(order))


@call(np.inner)
def _inner_call(a: Any, b: Any, /) -> Value:
    a, b = _operands(a, b)
    if not a.rank or not b.rank:
        return a * b
    if a.rank == 1 and b.rank == 1:
        return matmul(a, b)
    if b.rank <= 2:
        return matmul(a, b if b.rank == 1 else swap_last(b))
    return contract(a, b, (a.rank - 1,), (b.rank - 1,))


def flat(x: Value) -> Value:
    """x in one axis, in C order; a number becomes an array of one."""
    if not isinstance(x.ty, Array):
        return make_broadcast(x, (1,))
    return x if x.rank == 1 else make_reshape(x, (-1,)) if x.rank else make_reshape(x, (1,))


@call(np.outer)
def _outer_call(a: Any, b: Any, out: Any = None) -> Value:
    a, b = _operands(a, b)
    result = mul(column(flat(a)), flat(b))
    return result if out is None else write_out(result, out)


def _conjugate(x: Value) -> Value:
    return TABLE["conj"](x) if is_complex(x.ty) else x


@call(np.vdot)
def _vdot_call(a: Any, b: Any, /) -> Value:
    a, b = _operands(a, b)
    a = _conjugate(a)
    return matmul(flat(a), flat(b)) if a.rank or b.rank else a * b


@call(np.vecdot)
def _vecdot_call(x1: Any, x2: Any, /, axis: Any = -1) -> Value:
    a, b = _operands(x1, x2)
    if axis != -1:
        # Of each operand this axis; the others broadcast.
        a, b = (_axis_last(v, axis) for v in (a, b))
    product = _conjugate(a) * b
    return sum_over(product, axes=(product.rank - 1,), keepdims=False)


def _axis_last(x: Value, axis: Any) -> Value:
    own = normal_axis(axis, x.rank)
    perm = (*(k for k in range(x.rank) if k != own), own)
    return x if perm == tuple(range(x.rank)) else transpose(x, perm=perm)


@call("numpy.matvec")
def _matvec_call(x1: Any, x2: Any, /) -> Value:
    a, b = _operands(x1, x2)
    if a.rank < 2 or not b.rank:
        raise ShapeError("np.matvec takes matrices and vectors")
    product = matmul(a, make_index(b, (*(FULL,) * b.rank, NEWAXIS)))
    return make_index(product, (*(FULL,) * (product.rank - 1), At(0)))


@call("numpy.vecmat")
def _vecmat_call(x1: Any, x2: Any, /) -> Value:
    a, b = _operands(x1, x2)
    if b.rank < 2 or not a.rank:
        raise ShapeError("np.vecmat takes vectors and matrices")
    product = matmul(make_index(_conjugate(a), (*(FULL,) * (a.rank - 1), NEWAXIS, FULL)), b)
    return make_index(product, (*(FULL,) * (product.rank - 2), At(0), FULL))


@call(np.tensordot)
def _tensordot_call(a: Any, b: Any, axes: Any = 2) -> Value:
    a, b = _operands(a, b)
    if isinstance(axes, int) and axes == 0:
        return make_index(a, (*(FULL,) * a.rank, *(NEWAXIS,) * b.rank)) * b if a.rank and b.rank else a * b
    if isinstance(axes, int):
        return contract(a, b, tuple(range(a.rank - axes, a.rank)), tuple(range(axes)))
    first, second = ((v,) if isinstance(v, int) else tuple(v) for v in axes)
    return contract(a, b, tuple(k % a.rank for k in first), tuple(k % b.rank for k in second))


__all__ = ["contract", "dot", "flat", "matmul", "swap_last"]
