"""What linear algebra shares: operands as stacks of matrices, type rules over stacks, pieces of matrices, failures.

A stack is an array whose last two axes are matrices; the axes before them, none for one matrix, broadcast.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from gradc.errors import ShapeError, UnsupportedError
from gradc.ir.loops import Routine
from gradc.ir.nodes import Value, current_builder
from gradc.ir.region import FULL, NEWAXIS
from gradc.ir.types import Array, Shape, Stack, format_shape, is_complex, promote_dtypes
from gradc.ops.elementwise import eq, where
from gradc.ops.memory import make_broadcast, make_index, shape_values, size_value
from gradc.ops.parts import conj, real
from gradc.ops.products import column, last, row, swap_last
from gradc.ops.rules import as_value, constant_of, convert
from gradc.ops.scans import make_positions

SINGULAR = "Singular matrix"
NOT_POSITIVE = "Matrix is not positive definite"


# ------------------------------------------------------------------------------------------------ operands


def matrix_dtype(*values: Value) -> str:
    """The dtype in which matrices compute: their common one; float64 for integers."""
    found = np.result_type(promote_dtypes(tuple(v.ty for v in values if not isinstance(v.ty, Stack))).dtype)
    return found.name if found.kind in "fc" else "float64"


def matrices(a: Any, what: str, square: bool = False) -> Value:
    """An operand as a stack of matrices of floats. `what`: the function, for messages.

    Raises: ShapeError where it has fewer than two axes, or is not square where it has to be.
    """
    x = as_value(a)
    if x.rank < 2:
        axes = f"{x.rank} {'axis' if x.rank == 1 else 'axes'}"
        raise ShapeError(f"{what} of an array with {axes}", hint="pass a matrix, or a stack of matrices.")
    if square:
        require_square(x, what)
    return convert(x, matrix_dtype(x))


def require_square(x: Value, what: str) -> None:
    """Raises: ShapeError where the matrices of x are known not to be square; else that is checked at run time."""
    builder = current_builder()
    rows, columns = (builder.canonical_size(s) for s in x.shape[-2:])
    if isinstance(rows, int) and isinstance(columns, int) and rows != columns:
        raise ShapeError(f"{what} of a matrix that is not square: its shape is {format_shape(x.shape)}")
    builder.require_equal(x, x.rank - 2, x, x.rank - 1)


def stacked(x: Value, y: Value) -> tuple[Value, Value]:
    """Two stacks of matrices, with axes before the last two that are the same: new arrays where they were not."""
    builder = current_builder()
    lead_x, lead_y = (tuple(builder.canonical_size(s) for s in v.shape[:-2]) for v in (x, y))
    if lead_x == lead_y:
        return x, y
    rank = max(len(lead_x), len(lead_y))
    sizes: list[Any] = []
    for k in range(rank):
        own = [(v, k - rank + len(lead)) for v, lead in ((x, lead_x), (y, lead_y)) if k - rank + len(lead) >= 0]
        long = [(v, axis) for v, axis in own if v.shape[axis] != 1]
        if len(long) == 2:
            builder.require_equal(long[0][0], long[0][1], long[1][0], long[1][1])
        sizes.append(shape_values(long[0][0])[long[0][1]] if long else 1)
    return tuple(  # type: ignore[return-value]
        v if len(lead) == rank and all((p == 1) == (q == 1) for p, q in zip(v.shape, sizes, strict=False))
        else make_broadcast(v, (*sizes, *shape_values(v)[-2:]))
        for v, lead in ((x, lead_x), (y, lead_y))
    )


def option(value: Any, what: str) -> Any:
    """A literal option. Raises: UnsupportedError where it is not known while compiling."""
    known = constant_of(value) if isinstance(value, Value) else value
    if isinstance(value, Value) and known is None:
        raise UnsupportedError(f"{what} takes a literal")
    return known.item() if isinstance(known, np.generic) else known


# ---------------------------------------------------------------------------------------------- type rules

Require = Callable[[int, int, int, int], None]


def square_type(types: Sequence[Any], attrs: dict[str, Any], require: Require) -> list[Any]:
    """A square matrix gives one."""
    return [Array(types[0].dtype, square_shape(types[0], require))]


def square_shape(ty: Array, require: Require) -> Shape:
    """The shape of a stack of square matrices, its last sizes written the same way."""
    rank = len(ty.shape)
    require(0, rank - 2, 0, rank - 1)
    return (*ty.shape[:-1], ty.shape[-2])


def system_type(types: Sequence[Any], attrs: dict[str, Any], require: Require) -> list[Any]:
    """A square matrix and right sides give what has the shape of the right sides."""
    a, b = types
    rank = len(a.shape)
    if len(b.shape) != rank:
        raise ShapeError(f"shapes {format_shape(a.shape)} and {format_shape(b.shape)} are not those of a linear system")
    require(0, rank - 2, 0, rank - 1)
    require(0, rank - 1, 1, rank - 2)
    for axis in range(rank - 2):
        require(0, axis, 1, axis)
    return [Array(b.dtype, b.shape)]


# -------------------------------------------------------------------------------------------------- pieces


def adjoint(x: Value) -> Value:
    """The conjugate transposed matrices."""
    turned = swap_last(x)
    return conj(turned) if is_complex(x.ty) else turned


def conjugated(x: Value) -> Value:
    """conj(x); x itself where it is real."""
    return conj(x) if is_complex(x.ty) else x


def real_of(x: Value) -> Value:
    """The real part; x itself where it is real."""
    return real(x) if is_complex(x.ty) else x


def on_diagonal(size: Any) -> Value:
    """A matrix that is True on its diagonal. size: an int or a value."""
    i = make_positions(size)
    return eq(make_index(i, (FULL, NEWAXIS)), i)


def diagonal_of(x: Value) -> Value:
    """The diagonals of square matrices, as the last axis of a new array."""
    held = where(on_diagonal(size_value(x, x.rank - 1)), x, 0)
    return current_builder().emit("sum", (held,), axes=(x.rank - 1,), keepdims=False)


def as_diagonal(x: Value) -> Value:
    """Matrices with the last axis of x on their diagonals."""
    return where(on_diagonal(size_value(x, x.rank - 1)), row(x), np.dtype(x.dtype).type(0))


def identity(x: Value) -> Value:
    """The identity matrix of the size of the square matrices x, with the axes before them."""
    one = convert(on_diagonal(size_value(x, x.rank - 1)), x.dtype)
    return one if x.rank == 2 else make_broadcast(one, shape_values(x))


def half_lower(x: Value) -> Value:
    """The lower triangles with half the diagonals."""
    lower = current_builder().emit("tril", (x,), k=0)
    return where(on_diagonal(size_value(x, x.rank - 1)), np.dtype(x.dtype).type(0.5) * lower, lower)


def right_sides(a: Value, b: Any, by: Callable[[Value, Value], Value], vector: bool | None = None) -> Value:
    """`by(a, b)` for one vector or matrices b. vector: whether b is one vector; None: where it has one axis."""
    y = as_value(b)
    if not y.rank:
        raise ShapeError("the right side of a linear system is a number", hint="pass a vector or a matrix.")
    name = matrix_dtype(a, y)
    x, y = convert(a, name), convert(y, name)
    if vector is None:
        vector = y.rank == 1
    if vector:
        return last(by(*stacked(x, column(y))), -1)
    return by(*stacked(x, y))


# ------------------------------------------------------------------------------------------------- kernels


def routine(
    name: str,
    *axes: tuple[int, int],
    options: Sequence[str] = (),
    fails: str | tuple[str, ...] = (),
    lazy: tuple[int, ...] = (),
    least: tuple[int, int] | None = None,
) -> Routine:
    """A routine of `codegen/library.py`. fails: messages of the LinAlgErrors for the statuses from 1 on."""
    return Routine(name, axes, tuple(options), (fails,) if isinstance(fails, str) else fails, lazy, least)
