"""What of a program is known before the values of some parameters are: the part that runs the same for all of them.

def f(x, idx, n):
    for i in range(n):              known: n, i, idx[i], the course of the loop
        s = x[idx[i]]               unknown: s
        if s > 0: y[i] = s          the course of the branch, so all that it writes

Sizes of the parameters are known. Buffers are judged as a whole and without regard to order.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from gradc.ad.activity import control_flow_of, course_of, places
from gradc.ir.effects import own_write
from gradc.ir.nodes import Func, Node, Value, walk_nodes
from gradc.ir.types import Array, Scalar, Size, Stack, size_variables


class Unknown:
    """The values that depend on `inputs`, in any way.

    sizes: names of size variables that do. wild: control nodes whose course does.
    """

    def __init__(self, func: Func, inputs: Sequence[Value]) -> None:
        self.sizes: set[str] = set()
        self.wild: set[Node] = set()
        self._values: set[Value] = set(inputs)
        nodes = list(walk_nodes(func.body))
        before = (-1, -1, -1)
        while before != (len(self._values), len(self.sizes), len(self.wild)):
            before = len(self._values), len(self.sizes), len(self.wild)
            for node in nodes:
                self._visit(node)

    def holds(self, value: Value) -> bool:
        """Whether the value, or the content of a buffer that it may name, is unknown."""
        return value in self._values or not self._values.isdisjoint(places(value))

    def holds_shape(self, value: Value) -> bool:
        """Whether a size of the value is unknown."""
        return any(not size_variables(size).isdisjoint(self.sizes) for size in _shape(value))

    def _mark(self, values: Iterable[Value]) -> None:
        for value in values:
            self._values.add(value)
            self._values |= places(value)

    def _visit(self, node: Node) -> None:
        kind = node.op.kind
        if kind == "control":
            self._control(node)
        elif kind == "query":
            if not size_variables(_shape(node.operands[0])[node.attrs["axis"]]).isdisjoint(self.sizes):
                self._mark(node.results)
        elif kind == "write":
            if any(self.holds(v) for v in node.operands[1:]) or node.operands[0] in self._values:
                self._mark(node.operands[:1])
        elif kind == "stack":
            if any(self.holds(v) for v in node.operands):
                self._mark(node.operands[:1])
                self._mark(node.results)
        elif any(self.holds(v) for v in node.operands):
            if kind == "view":
                self._values.update(node.results)
            else:
                self._mark(node.results)
            if kind in ("view", "fresh") and _may_settle_sizes(node, [v for v in node.operands if self.holds(v)]):
                given = {name for v in node.operands for size in _shape(v) for name in size_variables(size)}
                made = {name for r in node.results for size in _shape(r) for name in size_variables(size)}
                self.sizes |= made - given

    def _control(self, node: Node) -> None:
        for sources, targets in control_flow_of(node):
            if any(self.holds(s) for s in sources):
                self._mark(targets)
        if node in self.wild or any(self.holds(v) for v in course_of(node)):
            self.wild.add(node)
            self._mark(node.results)
            for block in node.blocks:
                for inner in walk_nodes(block):
                    target = own_write(inner)
                    if target is not None:
                        self._mark((target,))
                    if inner.op.kind == "stack":
                        self._mark(inner.operands[:1])


def _shape(value: Value) -> tuple[Size, ...]:
    item = value.ty.item if isinstance(value.ty, Stack) else value.ty
    return item.shape if isinstance(item, Scalar | Array) else ()


def _may_settle_sizes(node: Node, unknown: Sequence[Value]) -> bool:
    """Whether a size of the result may depend on one of these operands: an int or a mask, or which entries are zero."""
    return node.op.zero_derivative or node.op.name == "custom" or any(v.dtype[0] not in "fc" for v in unknown)
