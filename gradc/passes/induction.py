"""Counters that a loop carries become arithmetic of its index.

    pos = p                                     for j in range(a, b):
    for j in range(a, b):              ->           ... x[p + (j - a)] ...
        ... x[pos] ...                          pos = p + max(b - a, 0)
        pos += 1

A carried integer that grows by the same amount in every iteration has a value that follows from the index. So the
checks of what it indexes can leave the loop, memory is run through in order, which lets the loop vectorise, and reverse
sweeps need no tape of it. Loops that end early and loops in reverse order stay.
Source: Aho, Lam, Sethi, Ullman, Compilers (2006), sec. 9.1.
"""

from __future__ import annotations

from gradc.ir.builder import Builder
from gradc.ir.nodes import Block, Func, Node, Value, clone_func, current_builder, walk_blocks, walk_nodes
from gradc.ir.ranges import Facts, is_signed, walk_inner
from gradc.ir.types import Scalar, subtract_sizes


def induction(func: Func) -> Func:
    """`func` without counters that its `for` loops carry."""
    if not any(_has_counters(node) for node in walk_nodes(func.body)):
        return func
    walk = _Counters(clone_func(func))
    walk.run()
    return walk.func if walk.changed else func


def _has_counters(node: Node) -> bool:
    plain = node.op.name == "for" and not node.attrs.get("exits") and not node.attrs.get("reversed")
    return plain and any(is_signed(p) for p in node.blocks[0].params[1:])


class _Counters:
    def __init__(self, func: Func) -> None:
        self.func = func
        self.facts = Facts(func)
        self.builder = Builder(func, checks=False)
        self.changed = False
        self.replaced: dict[Value, Value] = {}

    def run(self) -> None:
        with self.builder:
            self._block(self.func.body)
        for block in walk_blocks(self.func.body):
            block.yields = [self._now(v) for v in block.yields]
            for node in block.nodes:
                node.operands = [self._now(v) for v in node.operands]

    def _now(self, value: Value) -> Value:
        while value in self.replaced:
            value = self.replaced[value]
        return value

    def _block(self, block: Block) -> None:
        nodes, block.nodes = block.nodes, []
        for node in nodes:
            node.operands = [self._now(v) for v in node.operands]
            walk_inner(node, self.facts, self._block)
            block.nodes.append(node)
            if _has_counters(node) and "checkpoint" not in node.attrs:
                self._rewrite(node, block)
            self.facts.note_node(node)
        block.yields = [self._now(v) for v in block.yields]

    def _rewrite(self, loop: Node, around: Block) -> None:
        (body,) = loop.blocks
        step = self.facts.polynomial(loop.operands[2])
        if step not in (1, -1):
            return
        start, stop = loop.operands[:2]
        for k in reversed(range(len(loop.results))):
            param, after = body.params[1 + k], body.yields[k]
            if not is_signed(param) or not is_signed(after) or param.size is not None:
                continue  # the size of some array is called after it
            change = subtract_sizes(self.facts.polynomial(after), self.facts.polynomial(param))
            if not isinstance(change, int):
                continue
            initial, result = loop.operands[3 + k], loop.results[k]
            if result.size is not None:
                continue
            head = Block()
            with self.builder.into(head), self.builder.at(loop.loc):
                index = body.params[0]
                self.replaced[param] = _of_type(_moved(initial, _distance(start, index, step), change), param)
            body.nodes[:0] = head.nodes
            with self.builder.into(around), self.builder.at(loop.loc):
                trips = _distance(start, stop, step)
                if not self.facts.is_nonnegative(trips):
                    trips = self.builder.emit("maximum", (trips, 0))
                self.replaced[result] = _of_type(_moved(initial, trips, change), result)
            del loop.operands[3 + k], loop.results[k], body.params[1 + k], body.yields[k]
            self.changed = True
        for inner in walk_blocks(body):
            inner.yields = [self._now(v) for v in inner.yields]
            for node in inner.nodes:
                node.operands = [self._now(v) for v in node.operands]


def _distance(start: Value, end: Value, step: int) -> Value:
    """How many steps it is from `start` to `end`."""
    if step < 0:
        start, end = end, start
    at_zero = start.node is not None and start.node.op.name == "const" and start.node.attrs["value"] == 0
    return end if at_zero else end - start


def _moved(initial: Value, trips: Value, change: int) -> Value:
    """A counter after some trips."""
    if not change:
        return initial
    by = trips if abs(change) == 1 else trips * abs(change)
    return initial + by if change > 0 else initial - by


def _of_type(value: Value, like: Value) -> Value:
    """A counter with the type that the loop gave it: a Python int or a NumPy one."""
    if value.ty == like.ty:
        return value
    assert isinstance(like.ty, Scalar)
    made: Value = current_builder().emit("cast", (value,), dtype=like.ty.dtype, weak=like.ty.weak)
    return made
