"""Checks that plain NumPy makes by itself, which the text leaves out, and the sizes that are equal because of them.

check(dim(X, 1) == dim(W, 0))       X @ W raises ValueError
check(dim(z, 1) == dim(b, 0))       z + b does
check(dim(x, 0) > 0)                np.max(x) does
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from gradc.ir.nodes import Func, Node, Value, walk_blocks, walk_nodes
from gradc.ir.types import Array, Scalar, Shape, Size

# What NumPy says itself, or what plain NumPy can do and compiled code cannot.
_BY_NUMPY = (
    "zero-size array to reduction operation", "cannot be given this shape", "does not select as many items",
    "which compiled code does not expect", "Invalid number of FFT data points",
    "Invalid number of data points",
)  # fmt: skip


def drop_checks(func: Func) -> list[tuple[Size, Size]]:
    """Remove from `func` the checks that NumPy makes. Returns the pairs of sizes that any check says are equal."""
    enforced = {pair for node in walk_nodes(func.body) for pair in _pairs(node)}
    equal: list[tuple[Size, Size]] = []
    for block in walk_blocks(func.body):
        kept = []
        for node in block.nodes:
            sizes = _compared(node)
            if sizes is not None:
                equal.append(sizes)
            by_numpy = sizes is not None and (sizes in enforced or sizes[::-1] in enforced)
            said = str(node.attrs.get("message", ""))
            told = node.op.name == "check" and any(part in said for part in _BY_NUMPY)
            index = node.op.name == "check_indices" or node.attrs.get("error") == "IndexError"
            if not by_numpy and not told and not index:
                kept.append(node)
        block.nodes = kept
    return equal


def _compared(node: Node) -> tuple[Size, Size] | None:
    """The sizes that a check of shapes compares."""
    if node.op.name != "check" or node.attrs.get("error") != "ShapeError":
        return None
    test = node.operands[0].node
    if test is None or test.op.name != "eq":
        return None
    a, b = (_size(v) for v in test.operands)
    return None if a is None or b is None else (a, b)


def _size(value: Value) -> Size | None:
    node = value.node
    if node is None:
        return None
    if node.op.name == "dim":
        return node.operands[0].shape[int(node.attrs["axis"])]
    known: Any = node.attrs.get("value")
    return int(known) if node.op.name == "const" and isinstance(known, int) else None


def _pairs(node: Node) -> Iterator[tuple[Size, Size]]:
    """Sizes that NumPy requires to be equal when it runs the node."""
    shapes = [v.ty.shape for v in node.operands if isinstance(v.ty, Scalar | Array)]
    if node.op.name == "matmul":
        a, b = shapes
        if a and b:
            yield a[-1], b[-2 if len(b) > 1 else 0]
            yield from _aligned(a[:-2], b[:-2])
    elif node.op.name in ("gather", "scatter", "scatter_add"):
        used = [node.operands[-1 - k].shape for k in range(len(node.operands) - (1 if node.op.name == "gather" else 2))]
        for k, a in enumerate(used):
            for b in used[k + 1 :]:
                yield from _aligned(a, b)
    elif node.op.kind == "elementwise" or node.op.name in ("store", "accumulate"):
        for k, a in enumerate(shapes):
            for b in shapes[k + 1 :]:
                yield from _aligned(a, b)


def _aligned(a: Shape, b: Shape) -> Iterator[tuple[Size, Size]]:
    for p, q in zip(reversed(a), reversed(b), strict=False):
        if p != 1 and q != 1:
            yield p, q
