"""Vector mode: one sweep for several seeds, as lanes that share what does not depend on the seed.

    for i in range(n):                      for i in range(n):
        y = sin(x[i])                           y = sin(x[i])
        y_t = cos(x[i]) * x_t[i]                c = cos(x[i])
                                                y_t, y_t_1 = c * x_t[i], c * x_t_1[i]

A value, buffer or tape that depends on the seed has one copy per lane; all else is there once, control flow too. It
knows nothing of derivatives, so it serves forward and reverse sweeps and their nestings alike.
(Griewank, Walther, Evaluating Derivatives (2008), sec. 3.1 and 4.5, vector modes.)
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from gradc.ad.activity import (
    carried_inits,
    carried_params,
    carried_results,
    carried_yields,
    control_flow_of,
    course_of,
    places,
)
from gradc.ir.nodes import Block, Func, Node, Value, walk_nodes
from gradc.ir.types import Array, Scalar, is_inexact, size_variables


class Spread:
    """What of a function depends on given parameters: values, and buffers and tapes by what is put into them.

    uniform: whether neither the course of the program nor the size of an array depends on them.
    """

    def __init__(self, func: Func, seeds: Sequence[Value]) -> None:
        self.uniform = True
        self._values: set[Value] = set()
        for seed in seeds:
            self._mark((seed,))
        nodes = list(walk_nodes(func.body))
        before = -1
        while before != len(self._values):
            before = len(self._values)
            for node in nodes:
                self._visit(node)
        for param in func.params:
            if param not in seeds and param in self._values:
                self.uniform = False  # a parameter that is written into: there is one of it

    def holds(self, value: Value) -> bool:
        """Whether the value, or the content of a buffer that it may name, depends on a seed."""
        return value in self._values or not self._values.isdisjoint(places(value))

    def repeats(self, node: Node) -> bool:
        """Whether every lane has the node for itself."""
        if node.op.kind in ("write", "stack") and node.operands:
            return self.holds(node.operands[0])
        if node.op.kind == "check":
            return any(self.holds(v) for v in node.operands)
        return any(self.holds(r) for r in node.results)

    def _mark(self, values: Iterable[Value]) -> None:
        for value in values:
            self._values.add(value)
            self._values |= places(value)

    def _visit(self, node: Node) -> None:
        op = node.op
        if op.kind == "control":
            for sources, targets in control_flow_of(node):
                if any(self.holds(s) for s in sources):
                    self._mark(targets)
            if any(self.holds(v) for v in course_of(node)):
                self.uniform = False
        elif op.kind == "query":
            return
        elif op.kind == "write":
            if any(self.holds(v) for v in node.operands):
                self._mark((node.operands[0],))
        elif op.kind == "stack":
            if any(self.holds(v) for v in node.operands):
                self._mark(node.operands[:1])
                self._mark(node.results)
        elif any(self.holds(v) for v in node.operands):
            if op.kind == "view":  # other buffers that it may name are as they were
                self._values.update(node.results)
            else:
                self._mark(node.results)
            if _may_settle_sizes(node, [v for v in node.operands if self.holds(v)]):
                self.uniform = False


def _may_settle_sizes(node: Node, differing: Sequence[Value]) -> bool:
    """Whether a size of the result may depend on one of these operands: on an int, a mask, or what is not zero."""
    if node.op.kind not in ("fresh", "view"):
        return False
    shape = [size for r in node.results if isinstance(r.ty, Scalar | Array) for size in r.shape]
    return any(size_variables(size) for size in shape) and (
        node.op.zero_derivative or any(not is_inexact(v.ty) for v in differing)
    )


class Lanes:
    """Copies nodes for several lanes at once.

    common: new values of old ones that all lanes share; own: those of each lane.
    """

    def __init__(self, spread: Spread, common: dict[Value, Value], own: list[dict[Value, Value]]) -> None:
        self.spread = spread
        self.common = common
        self.own = own

    def of(self, value: Value, lane: int) -> Value:
        """A value in a lane."""
        found = self.own[lane].get(value)
        return self.common.get(value, value) if found is None else found

    def put(self, nodes: Sequence[Node]) -> list[Node]:
        """Copies of the nodes, in order."""
        made: list[Node] = []
        for node in nodes:
            if node.blocks:
                made.append(self._control(node))
            elif self.spread.repeats(node):
                made += [self._plain(node, lane, self.own[lane]) for lane in range(len(self.own))]
            else:
                made.append(self._plain(node, 0, self.common))
        return made

    def _plain(self, node: Node, lane: int, mapping: dict[Value, Value]) -> Node:
        copy = Node(node.op, [self.of(v, lane) for v in node.operands], [], dict(node.attrs), [], node.loc)
        for old in node.results:
            copy.results.append(_bring(old, mapping, copy))
        return copy

    def _each(self, values: Sequence[Value], like: Sequence[Value]) -> list[Value]:
        """What the lanes have for values: one each where `like` differs between lanes, else one."""
        return [
            self.of(value, lane)
            for value, kind in zip(values, like, strict=True)
            for lane in range(len(self.own) if self.spread.holds(kind) else 1)
        ]

    def _new(self, values: Sequence[Value], node: Node | None = None) -> list[Value]:
        """New values for parameters or results."""
        made: list[Value] = []
        for old in values:
            mappings = self.own if self.spread.holds(old) else [self.common]
            made += [_bring(old, mapping, node) for mapping in mappings]
        return made

    def _control(self, node: Node) -> Node:
        copy = Node(node.op, [], [], dict(node.attrs), [], node.loc)
        if node.op.name == "if":
            copy.operands = [self.of(node.operands[0], 0)]
            for block in node.blocks:
                new = Block(nodes=self.put(block.nodes))
                new.yields = self._each(block.yields, node.results)
                copy.blocks.append(new)
            copy.results = self._new(node.results, copy)
            return copy
        results = carried_results(node)
        first = len(node.operands) - len(results)
        copy.operands = [self.of(v, 0) for v in node.operands[:first]] + self._each(carried_inits(node), results)
        for block in node.blocks:
            params = carried_params(node, block)
            new = Block(params=self._new(block.params[: len(block.params) - len(params)]) + self._new(params))
            new.nodes = self.put(block.nodes)
            if block is node.blocks[-1]:
                yields = carried_yields(node)
                ends = block.yields[: len(block.yields) - len(yields)]
                new.yields = [self.of(v, 0) for v in ends] + self._each(yields, results)
            else:
                new.yields = [self.of(v, 0) for v in block.yields]
            copy.blocks.append(new)
        copy.results = self._new(node.results, copy)
        return copy


def _bring(old: Value, mapping: dict[Value, Value], node: Node | None) -> Value:
    new = Value(old.ty, old.name, node, old.size)
    mapping[old] = new
    return new
