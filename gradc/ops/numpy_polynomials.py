"""NumPy's polynomials: coefficients from the highest power (np.polyval) and from the lowest (np.polynomial)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from gradc.errors import ShapeError, UnsupportedError
from gradc.ir.nodes import Block, Value, current_builder
from gradc.ir.opdef import call
from gradc.ir.region import FULL, NEWAXIS, Arg, At, Span
from gradc.ir.types import WEAK_INT, Array, Scalar, promote_dtypes
from gradc.ops.arrange import at_least_1d, concatenate
from gradc.ops.calculus import convolve
from gradc.ops.elementwise import eq, maximum, where
from gradc.ops.memory import (
    load,
    make_broadcast,
    make_index,
    make_reshape,
    make_zeros,
    shape_values,
    size_value,
    store,
    store_at,
)
from gradc.ops.rules import as_value, convert, strong
from gradc.ops.scans import flipped, make_positions


def _coefficients(p: Any) -> Value:
    """The coefficients along axis 0."""
    return at_least_1d(strong(p))


def _rows(c: Value) -> list[Value] | None:
    """The entries along axis 0, where their number is known."""
    size = current_builder().canonical_size(c.shape[0])
    if not isinstance(size, int):
        return None
    if c.rank == 1:
        return [load(c, region=(At(k),)) for k in range(size)]
    return [make_index(c, (At(k), *(FULL,) * (c.rank - 1))) for k in range(size)]


def evaluated(rows: Sequence[Value] | Value, x: Value, dtype: str) -> Value:
    """Horner's scheme, from the coefficient of the highest power down; a loop where their number is not known."""
    if not isinstance(rows, Value):
        result: Value = convert(x * 0, dtype)
        for row in rows:
            result = result * x + row
        return result
    builder = current_builder()
    c, n = rows, size_value(rows, 0)
    if c.rank == 1 and not x.rank:
        start = builder.const(np.dtype(dtype).type(0))
        with builder.into(Block(params=[Value(WEAK_INT, "k"), Value(Scalar(dtype), "total")])) as body:
            k, total = body.params
            body.yields = [convert(total * x + load(c, k, region=(At(Arg(0)),)), dtype)]
        (made,) = builder.control("for", (0, n, 1, start), (body,), (Scalar(dtype),), reversed=False, exits=False)
        return made
    like = make_index(c, (At(0), *(FULL,) * (c.rank - 1))) if c.rank > 1 else None
    shape = _broadcast_sizes([v for v in (like, x) if v is not None])
    total = make_zeros(shape, dtype)
    with builder.into(Block(params=[Value(WEAK_INT, "k")])) as body:
        (k,) = body.params
        row = load(c, k, region=(At(Arg(0)),)) if c.rank == 1 else make_index(
            c, (At(Arg(0)), *(FULL,) * (c.rank - 1)), k
        )
        store(total, total * x + row)
    builder.control("for", (0, n, 1), (body,), (), reversed=False, exits=False)
    return total


def _broadcast_sizes(values: Sequence[Value]) -> list[int | Value]:
    shape = current_builder().broadcast(values)
    sizes: list[int | Value] = []
    for k, size in enumerate(shape):
        if isinstance(size, int):
            sizes.append(size)
            continue
        for v in values:
            own = k - (len(shape) - v.rank)
            if own >= 0 and v.shape[own] != 1:
                sizes.append(size_value(v, own))
                break
    return sizes


@call(np.polyval)
def _polyval_call(p: Any, x: Any) -> Value:
    value = as_value(x) if isinstance(p, list | tuple) else strong(x)
    if isinstance(p, list | tuple) and not any(as_value(t).rank for t in p):
        kept = promote_dtypes(tuple(Scalar(as_value(t).dtype) for t in p)).dtype if p else "float64"
        terms = [convert(as_value(t), kept) for t in p]
        value = strong(value)
        return evaluated(terms, value, promote_dtypes((Scalar(kept), Scalar(value.dtype))).dtype)
    c, value = _coefficients(p), strong(value)
    dtype = promote_dtypes((Scalar(c.dtype), Scalar(value.dtype))).dtype
    return evaluated(_rows(c) or c, value, dtype)


@call("numpy.polynomial.polynomial.polyval")
def _power_series_call(x: Any, c: Any, tensor: Any = True) -> Value:
    coefficients, at = _coefficients(c), as_value(x)
    if np.dtype(coefficients.dtype).kind in "biu":
        coefficients = convert(coefficients, "float64")
    if tensor and at.rank and coefficients.rank > 1:
        coefficients = make_index(coefficients, (*(FULL,) * coefficients.rank, *(NEWAXIS,) * at.rank))
    own = at.ty if isinstance(at.ty, Scalar) else Scalar(at.dtype)
    dtype = promote_dtypes((Scalar(coefficients.dtype), own)).dtype
    rows = _rows(coefficients)
    if rows is not None:
        return evaluated(rows[::-1], at, dtype)
    return evaluated(flipped(coefficients, 0), at, dtype)


# --------------------------------------------------------------------------------- sums and products


def _padded_sum(a: Any, b: Any, sign: int) -> Value:
    """The sum of two polynomials from the highest power, in the longer one's length."""
    x, y = _coefficients(a), _coefficients(b)
    dtype = promote_dtypes((Scalar(x.dtype), Scalar(y.dtype))).dtype
    n, m = shape_values(x)[0], shape_values(y)[0]
    length = max(n, m) if isinstance(n, int) and isinstance(m, int) else maximum(n, m)
    total = make_zeros((length,), dtype)
    for v, size, s in ((x, n, 1), (y, m, sign)):
        start = length - size
        part = make_index(total, (Span(start, None),)) if isinstance(start, int) else make_index(
            total, (Span(Arg(0), None),), start
        )
        part.ty = Array(dtype, v.shape)
        current_builder().emit("accumulate", (part, v if s > 0 else -v))
    return total


@call(np.polyadd)
def _polyadd_call(a1: Any, a2: Any) -> Value:
    return _padded_sum(a1, a2, 1)


@call(np.polysub)
def _polysub_call(a1: Any, a2: Any) -> Value:
    return _padded_sum(a1, a2, -1)


@call(np.polymul)
def _polymul_call(a1: Any, a2: Any) -> Value:
    return convolve(_coefficients(a1), _coefficients(a2))


@call(np.polyder)
def _polyder_call(p: Any, m: Any = 1) -> Value:
    c = _coefficients(p)
    for _ in range(_order(m)):
        n = size_value(c, 0)
        powers = (n - 1) - make_positions(n)
        c = make_index(c * powers, (Span(None, -1),))
    return c


@call(np.polyint)
def _polyint_call(p: Any, m: Any = 1, k: Any = None) -> Value:
    c = _coefficients(p)
    if np.dtype(c.dtype).kind not in "fc":
        c = convert(c, "float64")
    count = _order(m)
    constants = list(k) if isinstance(k, list | tuple) else [0.0 if k is None else k] * count
    if len(constants) != count:
        raise ShapeError("np.polyint takes one constant, or one for each integration")
    for constant in constants:
        n = size_value(c, 0)
        c = c / (n - make_positions(n))
        c = concatenate(c, make_broadcast(convert(as_value(constant), c.dtype), (1,)), axis=0)
    return c


def _order(m: Any) -> int:
    if not isinstance(m, int) or m < 0:
        raise UnsupportedError("the order of a derivative or integral of a polynomial is a literal")
    return m


@call(np.poly)
def _poly_call(seq_of_zeros: Any) -> Value:
    roots = _coefficients(seq_of_zeros)
    if roots.rank != 1:
        raise UnsupportedError("np.poly of a matrix", hint="give the eigenvalues: np.poly(np.linalg.eigvals(A))")
    roots = roots if np.dtype(roots.dtype).kind in "fc" else convert(roots, "float64")
    builder = current_builder()
    n = size_value(roots, 0)
    c = make_zeros((n + 1,), roots.dtype)
    store_at(c, np.dtype(roots.dtype).type(1), region=(At(0),))
    with builder.into(Block(params=[Value(WEAK_INT, "k")])) as body:
        (k,) = body.params
        root = load(roots, k, region=(At(Arg(0)),))
        tail = make_index(c, (Span(1, None),))
        tail.ty = Array(roots.dtype, roots.shape)
        ahead = make_index(c, (Span(None, -1),))
        ahead.ty = Array(roots.dtype, roots.shape)
        builder.emit("accumulate", (tail, -(root * ahead)))
    builder.control("for", (0, n, 1), (body,), (), reversed=False, exits=False)
    return c


@call(np.vander)
def _vander_call(x: Any, N: Any = None, increasing: Any = False) -> Value:
    v = strong(x)
    v = convert(v, promote_dtypes((Scalar(v.dtype), Scalar("int64"))).dtype)
    v = v if isinstance(v.ty, Array) and v.rank == 1 else make_reshape(at_least_1d(v), (-1,))
    count = size_value(v, 0) if N is None else N
    i = make_positions(count)
    powers = i if increasing else (count - 1) - i
    column = make_index(v, (FULL, NEWAXIS))
    return where(eq(powers, 0), np.dtype(v.dtype).type(1), column ** convert(powers, v.dtype))
