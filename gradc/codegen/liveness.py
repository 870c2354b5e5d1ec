"""Which values are needed at the same time, for a function whose folded values are printed inside other statements.

One backward walk over the structured program, loops until nothing changes. A set of values is an int, one bit
each. What a loop carries is one variable from the start: its body parameter, its result, and (`while`) the parameter
of its condition.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from gradc.ir.nodes import Block, Func, Node, Value


@dataclass(eq=False, slots=True)
class Interference:
    """`adjacent[k]`: values needed where value k is set; `same`: values that are one variable by construction.

    Of two values that are needed at the same time, one is set where the other is needed: `adjacent` says so for either.
    """

    values: list[Value]
    index: dict[Value, int]
    adjacent: list[int]
    same: list[list[Value]]


def carried_inputs(node: Node) -> list[Value]:
    """Initial values of what a loop carries."""
    return node.operands[3:] if node.op.name == "for" else list(node.operands)


def carried_params(node: Node) -> list[Value]:
    """Body parameters of a loop that are carried."""
    return node.blocks[0].params[1:] if node.op.name == "for" else node.blocks[1].params


def loop_body(node: Node) -> Block:
    """The body of a loop."""
    return node.blocks[0] if node.op.name == "for" else node.blocks[1]


def carried_yields(node: Node) -> list[Value]:
    """What the body yields for the next iteration, without the exit flag."""
    yields = loop_body(node).yields
    return yields[1:] if node.attrs.get("exits") else yields


def trip_count(node: Node) -> Value | None:
    """The result that counts iterations, where the loop has one."""
    has_count = node.op.name == "while" or node.attrs.get("exits")
    return node.results[-1] if has_count else None


def find_interference(
    func: Func, folded: set[Value], leaves: Callable[[Value], Iterable[Value]], rebinding: set[Node]
) -> Interference:
    """Interference of every value that needs a variable: not the folded ones. `leaves` of a value are the variables
    that its text reads: itself, or for a folded one those of its operands. `rebinding`: stores that set a variable.
    """
    walk = _Walk(func, folded, leaves, rebinding)
    results = walk.uses(func.results)
    start = walk.block(func.body, results)
    walk.defined_together(func.params, start)
    return Interference(walk.values, walk.index, walk.adjacent, walk.same)


class _Walk:
    def __init__(
        self, func: Func, folded: set[Value], leaves: Callable[[Value], Iterable[Value]], rebinding: set[Node]
    ) -> None:
        self.values: list[Value] = []
        self.index: dict[Value, int] = {}
        self.same: list[list[Value]] = []
        self._leaves = leaves
        self._folded = folded
        self._rebinding = rebinding
        self._bit: dict[Value, int] = {}
        self._number(func.body)
        self.adjacent = [0] * len(self.values)

    def _number(self, block: Block) -> None:
        """Give every variable its index, in the order in which the text sets them."""
        for param in block.params:
            self._add(param)
        for node in block.nodes:
            if node.op.name in ("for", "while"):
                for inner in node.blocks:
                    self._number(inner)
                carried = carried_params(node)
                for k, param in enumerate(carried):
                    group = [param, node.results[k]]
                    if node.op.name == "while":
                        group.append(node.blocks[0].params[k])
                    self.same.append(group)
                    for other in group[1:]:
                        self._bit[other] = self._bit[param]
            elif node.op.name == "if":
                for result in node.results:
                    self._add(result)
                for inner in node.blocks:
                    self._number(inner)
            for result in node.results:
                self._add(result)

    def _add(self, value: Value) -> None:
        if value in self._folded or value in self.index:
            return
        self.index[value] = len(self.values)
        self._bit.setdefault(value, 1 << len(self.values))
        self.values.append(value)

    def bit(self, value: Value) -> int:
        return self._bit.get(value, 0)

    def uses(self, values: Iterable[Value]) -> int:
        """The set of variables that the text of these values reads."""
        found = 0
        for value in values:
            for leaf in self._leaves(value):
                found |= self._bit[leaf]
        return found

    def define(self, value: Value, live: int, apart_from: int = 0) -> None:
        """`value` is set where `live` is needed afterwards."""
        bit = self.bit(value)
        if bit:
            self.adjacent[bit.bit_length() - 1] |= live & ~bit & ~apart_from

    def defined_together(self, values: Iterable[Value], live: int) -> None:
        """Values that one statement sets, all at once."""
        values = list(values)
        everything = live
        for value in values:
            everything |= self.bit(value)
        for value in values:
            self.define(value, everything)

    # ------------------------------------------------------------------------------------------ statements

    def block(self, block: Block, live: int) -> int:
        """What is needed before the nodes of a block, given what is needed after them."""
        for node in reversed(block.nodes):
            live = self.node(node, live)
        return live

    def node(self, node: Node, live: int) -> int:
        match node.op.name:
            case "if":
                return self._branch(node, live)
            case "for" | "while":
                return self._loop(node, live)
        if node in self._rebinding:
            return self.copies(node.operands[:1], node.operands[1:], live | self.bit(node.operands[0]))
        if node.results and all(r in self._folded for r in node.results):
            return live
        self.defined_together(node.results, live)
        for result in node.results:
            live &= ~self.bit(result)
        return live | self.uses(node.operands)

    def copies(self, targets: list[Value], sources: list[Value], live: int) -> int:
        """Parallel assignment `targets = sources`; only targets that are needed afterwards are set."""
        pairs = [(t, s) for t, s in zip(targets, sources, strict=True) if self.bit(t) & live]
        for target, source in pairs:
            # A target may share a variable with its own source, which holds the same.
            self.define(target, live, self.bit(source) if source not in self._folded else 0)
        for target, _ in pairs:
            live &= ~self.bit(target)
        return live | self.uses(s for _, s in pairs)

    def _branch(self, node: Node, live: int) -> int:
        before = 0
        for inner in node.blocks:
            before |= self.block(inner, self.copies(node.results, inner.yields, live))
        return before | self.uses(node.operands)

    def _loop(self, node: Node, live: int) -> int:
        count = trip_count(node)
        params = carried_params(node)
        body = loop_body(node)
        counter = self.bit(count) & live if count is not None else 0
        exit_flag = body.yields[:1] if node.attrs.get("exits") else []
        head = 0
        while True:
            after_copies = live | head | counter | self.uses(exit_flag)
            inside = self.block(body, self.copies(params, carried_yields(node), after_copies))
            if node.op.name == "for":
                index = body.params[0]
                self.define(index, inside | live | head | counter)
                inside &= ~self.bit(index)
            else:
                condition = node.blocks[0]
                inside = self.block(condition, inside | live | self.uses(condition.yields))
            if inside | live == head:
                break
            head = inside | live
        if counter and count is not None:
            self.define(count, head | live)
            head &= ~counter
        needed = head | (self.uses(node.operands[:3]) if node.op.name == "for" else 0)
        return self.copies(params, carried_inputs(node), needed)
