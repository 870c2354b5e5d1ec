"""Norms. Roots of sums of squares have derivative 0 at 0 (`root`), the subgradient of smallest norm."""

from __future__ import annotations

from typing import Any

import numpy as np

from gradc.errors import UnsupportedError
from gradc.ir.nodes import Value
from gradc.ir.opdef import TABLE, call
from gradc.ir.region import FULL, NEWAXIS
from gradc.ir.types import Array, is_inexact
from gradc.ops.elementary import absolute_square, root
from gradc.ops.elementwise import abs as abs_op
from gradc.ops.elementwise import eq, ne, where
from gradc.ops.memory import make_broadcast, make_index, make_reshape
from gradc.ops.reduce import max, min, sum
from gradc.ops.rules import as_value, constant_of, convert, normal_axes, part_dtype
from gradc.ops.shape import permute


def vector_norm(x: Value, order: Any, axes: tuple[int, ...], keepdims: bool) -> Value:
    """The p-norm over axes; `order` None is 2."""
    known = constant_of(order) if isinstance(order, Value) else order
    how: dict[str, Any] = {"axes": axes, "keepdims": keepdims}
    if known is None and order is not None:
        power = sum(abs_op(x) ** order, **how)
        return power ** (1.0 / order)
    if known in (None, 2):
        return root(sum(absolute_square(x), **how))
    if known == np.inf:
        return max(abs_op(x), **how)
    if known == -np.inf:
        return min(abs_op(x), **how)
    if known == 1:
        return sum(abs_op(x), **how)
    if known == 0:
        return sum(convert(ne(x, 0), part_dtype(x.dtype)), **how)
    power = sum(abs_op(x) ** known, **how)
    if known < 1:
        return power ** (1.0 / known)
    # The root is steep at 0, where the norm has the subgradient 0.
    nothing = eq(power, 0)
    return where(nothing, 0.0, where(nothing, 1.0, power) ** (1.0 / known))


def matrix_norm(x: Value, order: Any, axes: tuple[int, int], keepdims: bool) -> Value:
    """Frobenius, the largest or smallest sum over rows or columns or singular value, and the sum of these ("nuc")."""
    known = constant_of(order) if isinstance(order, Value) else order
    if known in (None, "fro"):
        return root(sum(absolute_square(x), axes=tuple(sorted(axes)), keepdims=keepdims))
    if known in ("nuc", 2, -2):
        return _of_singular_values(x, known, axes, keepdims)
    if known not in (1, -1, np.inf, -np.inf):
        raise UnsupportedError(
            f"the matrix norm of order {known!r}", hint='"fro", "nuc", 1, -1, 2, -2, np.inf or -np.inf'
        )
    first, second = axes if abs(known) == 1 else axes[::-1]
    totals = sum(abs_op(x), axes=(first,), keepdims=True)
    pick = max if known > 0 else min
    found = pick(totals, axes=(second,), keepdims=True)
    return found if keepdims else sum(found, axes=tuple(sorted(axes)), keepdims=False)


def _of_singular_values(x: Value, order: Any, axes: tuple[int, int], keepdims: bool) -> Value:
    rest = [k for k in range(x.rank) if k not in axes]
    s = TABLE["svd"](permute(x, (*rest, *axes)), full=False)[1]
    pick = sum if order == "nuc" else max if order == 2 else min
    found = pick(s, axes=(s.rank - 1,), keepdims=False)
    if not keepdims:
        return found
    held = found if isinstance(found.ty, Array) else make_broadcast(found, (1,))
    if not rest:
        return make_reshape(held, (1,) * x.rank)
    return make_index(held, tuple(NEWAXIS if k in axes else FULL for k in range(x.rank)))


@call("scipy.linalg.norm")
def _scipy_norm_call(
    a: Any, ord: Any = None, axis: Any = None, keepdims: Any = False, check_finite: Any = True
) -> Value:
    return _norm_call(a, ord, axis, keepdims)


@call(np.linalg.norm)
def _norm_call(x: Any, ord: Any = None, axis: Any = None, keepdims: Any = False) -> Value:
    value = as_value(x)
    value = value if is_inexact(value.ty) else convert(value, "float64")
    if not isinstance(value.ty, Array):
        return abs_op(value)
    if axis is None and ord is None:
        if keepdims:
            return vector_norm(value, None, tuple(range(value.rank)), True)
        return vector_norm(value if value.rank == 1 else make_reshape(value, (-1,)), None, (0,), False)
    axes = normal_axes(axis, value.rank) if not isinstance(axis, tuple) else tuple(k % value.rank for k in axis)
    if len(axes) == 1:
        return vector_norm(value, ord, axes, bool(keepdims))
    if len(axes) == 2:
        return matrix_norm(value, ord, (axes[0], axes[1]), bool(keepdims))
    raise UnsupportedError("np.linalg.norm over more than two axes")


@call(np.linalg.vector_norm)
def _vector_norm_call(x: Any, /, *, axis: Any = None, keepdims: Any = False, ord: Any = 2) -> Value:
    value = as_value(x)
    value = value if is_inexact(value.ty) else convert(value, "float64")
    return vector_norm(value, ord, normal_axes(axis, value.rank), bool(keepdims))


@call(np.linalg.matrix_norm)
def _matrix_norm_call(x: Any, /, *, keepdims: Any = False, ord: Any = "fro") -> Value:
    value = as_value(x)
    value = value if is_inexact(value.ty) else convert(value, "float64")
    return matrix_norm(value, ord, (value.rank - 2, value.rank - 1), bool(keepdims))
