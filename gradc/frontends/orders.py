"""In which order NumPy keeps the elements of a new array: where it need not be C, NumPy's `reshape` may be a copy.

gradc's new arrays are in C order, so its `reshape` and `ravel` of them are views. NumPy keeps the order of what an
array is computed from: after `B = A.T * 2`, a write into `B.ravel()` does not reach `B`.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from gradc.ir.effects import roots, view_operands
from gradc.ir.nodes import Node, Value
from gradc.ir.region import Gather
from gradc.ir.types import Array

# Functions that make an array like another, in its order.
LIKE: tuple[Callable[..., object], ...] = (np.zeros_like, np.ones_like, np.full_like, np.empty_like)
C_METHODS = frozenset(("copy", "flatten"))


class Orders:
    """What is known of orders beside the nodes: buffers in C order whatever they come from, and others."""

    def __init__(self) -> None:
        self.c_order: set[Value] = set()
        self.kept: set[Value] = set()
        self._known: set[Value] = set()  # in C order

    def note_stored(self, buffer: Value, value: Value) -> None:
        """A buffer stands for `value`, in whose order Python would have it."""
        if not self.is_c(value):
            self.kept |= roots(buffer)
            self._known.clear()

    def is_c(self, value: Value) -> bool:
        """Whether NumPy certainly has this array in C order."""
        seen: set[Value] = set()
        waiting = [value]
        while waiting:
            current = waiting.pop()
            if current in seen or current in self._known or current in self.c_order:
                continue
            seen.add(current)
            if not isinstance(current.ty, Array) or current.rank < 2:
                continue
            if current in self.kept or current.ty.layout != "C":
                return False
            node = current.node
            if node is None or node.op.kind == "product":
                continue
            if node.op.kind == "view":
                waiting += [node.operands[k] for k in view_operands(node.op)]
                continue
            if node.op.name == "gather" and not isinstance(node.attrs["region"][0], Gather):
                return False
            waiting += node.operands
        self._known |= seen
        return True


def reshapes(array: Value) -> set[Node | None]:
    """The first `reshape` on each way from a buffer to a view of it; None for ways without one."""
    found: set[Node | None] = set()
    waiting: list[tuple[Value, Node | None]] = [(array, None)]
    while waiting:
        value, reshape = waiting.pop()
        node = value.node
        if node is None or node.op.kind != "view":
            found.add(reshape)
            continue
        first = node if node.op.name == "reshape" else reshape
        waiting += [(node.operands[k], first) for k in view_operands(node.op)]
    return found
