"""The sum of an expression over its first axis, by matrix products where it is a sum of products.

    sum over k of a[k] * v[k, j]               a @ v
    sum over k of a[k] * u[k, i] * w[k, j]     (a[:, None] * u).T @ w
    sum over k of x[k] * y[k]                  x @ y
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from gradc.ir.nodes import Value, current_builder
from gradc.ir.region import FULL, NEWAXIS, At, NewAxis, Region
from gradc.ops.memory import make_index


def sum_of_first_axis(value: Value) -> tuple[Value, bool]:
    """The sum over the first axis of an array, and whether a product with a matrix makes it.

    In the expression that makes the array, operands of its rank have that axis; others are the same all along it.
    """
    node = value.node
    if node is not None and node.op.name in ("add", "sub") and all(v.ty == value.ty for v in node.operands):
        (a, one), (b, other) = (sum_of_first_axis(v) for v in node.operands)
        return current_builder().emit(node.op.name, (a, b)), one or other
    if node is not None and node.op.name == "neg":
        total, is_product = sum_of_first_axis(node.operands[0])
        return -total, is_product
    factors = _Factors(value)
    return factors.product() or (current_builder().emit("sum", (value,), axes=(0,), keepdims=False), False)


@dataclass(eq=False, slots=True)
class _Factors:
    """An array as a product: of numbers, of vectors along its first axis, and of arrays of its rank."""

    value: Value
    numbers: list[Value] = field(default_factory=list)
    vectors: list[Value] = field(default_factory=list)
    arrays: list[Value] = field(default_factory=list)
    others: list[Value] = field(default_factory=list)
    negative: bool = False

    def product(self) -> tuple[Value, bool] | None:
        """The sum by a product; None where none is found."""
        self._split(self.value)
        made = None if self.others else self._multiplied()
        if made is None:
            return None
        return (-made[0] if self.negative else made[0]), made[1]

    def _split(self, value: Value) -> None:
        node = value.node
        name = node.op.name if node is not None else ""
        if node is not None and name == "neg":
            self.negative = not self.negative
            self._split(node.operands[0])
        elif node is not None and name == "mul" and all(v.dtype == value.dtype or not v.rank for v in node.operands):
            for operand in node.operands:
                if not operand.rank:
                    self.numbers.append(operand)
                elif operand.rank == value.rank:
                    self._split(operand)
                else:
                    self.others.append(operand)
        elif value.rank == 1:
            self.vectors.append(value)
        elif _bare(value).rank == 1:
            self._split(_bare(value))
        else:
            self.arrays.append(value)

    def _multiplied(self) -> tuple[Value, bool] | None:
        emit, rank = current_builder().emit, self.value.rank
        if rank == 1 and len(self.vectors) > 1:
            return emit("matmul", (_times(self.numbers + self.vectors[:-1]), self.vectors[-1])), False
        if rank == 2 and len(self.arrays) == 1 and self.vectors:
            return product(_times(self.numbers + self.vectors), self.arrays[0]), True
        if rank != 3 or len(self.arrays) != 2:
            return None
        rows, columns = sorted(self.arrays, key=lambda v: v.shape[2] != 1)
        if rows.shape[2] != 1 or columns.shape[1] != 1:
            return None
        left, right = _matrix(rows, (FULL, FULL, At(0))), _matrix(columns, (FULL, At(0), FULL))
        if self.vectors:
            left = make_index(_times(self.numbers + self.vectors), (FULL, NEWAXIS)) * left
        elif self.numbers:
            left = _times(self.numbers) * left
        return emit("matmul", (transposed(left, (1, 0)), right)), True


def _matrix(value: Value, region: Region) -> Value:
    """An array of three axes without the one of size 1, as a view."""
    bare = _bare(value)
    return bare if bare.rank == 2 else make_index(value, region)


def _times(factors: list[Value]) -> Value:
    """Their product, numbers first."""
    total = factors[0]
    for factor in factors[1:]:
        total = total * factor
    return total


def _bare(value: Value) -> Value:
    """x of `x[:, None]` or `x[:, None, :]`: without the axes of size 1 that a view adds after the first axis."""
    node = value.node
    if node is None or node.op.name != "index":
        return value
    region = node.attrs["region"]
    adds = region[0] == FULL and all(e == FULL or isinstance(e, NewAxis) for e in region)
    return node.operands[0] if adds else value


def transposed(value: Value, perm: tuple[int, ...]) -> Value:
    """A value with its axes in another order: views of views undone, arithmetic done in that order."""
    node = value.node
    if perm == tuple(range(value.rank)):
        return value
    if node is not None and node.op.name == "transpose":
        inner = node.attrs["perm"]
        return transposed(node.operands[0], tuple(inner[k] for k in perm))
    if node is not None and node.op.name == "index" and value.rank == 2 and _bare(value).rank == 1:
        return make_index(_bare(value), (NEWAXIS, FULL))
    if node is not None and node.op.kind == "elementwise" and value.rank == 2:
        operands = [make_index(v, (FULL, NEWAXIS)) if v.rank == 1 else v for v in node.operands]
        turned = [transposed(o, perm) if v.rank == 2 else o for o, v in zip(operands, node.operands, strict=True)]
        made: Value = current_builder().add(node.op, turned, dict(node.attrs))
        return made
    return _emit("transpose", value, perm=perm)


def product(a: Value, b: Value) -> Value:
    """a @ b; a matrix that is transposed stands on the other side of a vector, as it lies in memory."""
    for matrix, vector, swapped in ((a, b, True), (b, a, False)):
        if matrix.rank == 2 and vector.rank == 1 and matrix.node is not None and matrix.node.op.name == "transpose":
            natural = transposed(matrix, (1, 0))
            return _emit("matmul", *((vector, natural) if swapped else (natural, vector)))
    return _emit("matmul", a, b)


def _emit(op: str, *operands: Value, **attrs: Any) -> Value:
    made: Value = current_builder().emit(op, operands, **attrs)
    return made
