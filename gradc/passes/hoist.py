"""What every iteration of a loop computes anew, to the same end, is computed once before it.

    for i in range(n):                      %k = load(%params, 0)
        %k = load(%params, 0)               %e = exp(%k)
        %e = exp(%k)               ->       for i in range(n):
        store_at(%x, %e, i)                     store_at(%x, %e, i)

Moved are operations that cost something (functions, divisions, array operations, loads), with what they need. Cheap
arithmetic stays where the user wrote it, because compilers move that themselves. A moved node must be harmless where
the loop does not run: it cannot raise, a load is known to be in range, and the arrays that it reads are not written in
the loop. Nodes under an `if` stay.
"""

from __future__ import annotations

from gradc.ir.effects import buffers_written, own_reads, roots
from gradc.ir.nodes import Block, Func, Node, Value, clone_func, walk_nodes
from gradc.ir.ranges import Facts, is_signed, walk_inner
from gradc.ir.region import Arg, At
from gradc.ir.types import Array, add_sizes, is_inexact, subtract_sizes

_CHEAP = 3
_MAY_RAISE = ("max", "min", "argmax", "argmin")
_OPAQUE = ("call_c_into", "custom")  # nobody knows what they do with arguments that they were not meant for
_STAYING = frozenset(("undef", "empty", *_MAY_RAISE, *_OPAQUE))


def hoist(func: Func) -> Func:
    """`func` with loop-invariant computations before their loops."""
    if not any(node.op.name in ("for", "while") for node in walk_nodes(func.body)):
        return func
    mover = _Mover(clone_func(func))
    mover.run()
    return mover.func if mover.changed else func


class _Mover:
    def __init__(self, func: Func) -> None:
        self.func = func
        self.facts = Facts(func)
        self.changed = False
        self._written = buffers_written(func.body)

    def run(self) -> None:
        self._block(self.func.body)

    def _block(self, block: Block) -> None:
        nodes, block.nodes = block.nodes, []
        for node in nodes:
            walk_inner(node, self.facts, self._block)
            if node.op.name in ("for", "while"):
                moved = self._take_invariant(node)
                self.changed = self.changed or bool(moved)
                block.nodes.extend(moved)
                for earlier in moved:
                    self.facts.note_node(earlier)
            block.nodes.append(node)
            self.facts.note_node(node)

    def _take_invariant(self, loop: Node) -> list[Node]:
        """Remove from the loop's blocks, and give, the nodes that can run before it."""
        changing = {p for block in loop.blocks for p in block.params}
        changing.update(v for block in loop.blocks for n in walk_nodes(block) for v in n.results)
        written = frozenset(r for block in loop.blocks for r in buffers_written(block))
        sizes_known = not any(n.op.kind == "check" for block in loop.blocks for n in walk_nodes(block))
        free: dict[Value, Node] = {}
        for block in loop.blocks:
            for node in block.nodes:
                if any(v in changing for v in node.operands) or not self._is_harmless(node, written, sizes_known):
                    continue
                for value in node.results:
                    changing.discard(value)
                    free[value] = node
        wanted: set[Node] = set()

        def want(node: Node) -> None:
            if node not in wanted:
                wanted.add(node)
                for value in node.operands:
                    if value in free:
                        want(free[value])

        for node in free.values():
            if _is_worth_it(node):
                want(node)
        moved = [n for block in loop.blocks for n in block.nodes if n in wanted]
        for block in loop.blocks:
            block.nodes = [n for n in block.nodes if n not in wanted]
        return moved

    def _is_harmless(self, node: Node, written: frozenset[Value], sizes_known: bool) -> bool:
        """Whether a node may run before the loop, also where the loop does not run at all."""
        if any(roots(v) & written for v in own_reads(node)):
            return False
        match node.op.kind:
            case "query" | "view":
                return True
            case "read":
                return node.op.name == "load" and self._in_range(node)
            case "elementwise" | "reduce" | "product" | "fresh":
                if node.op.may_fail or node.op.name in _STAYING or any(v in self._written for v in node.results):
                    return False
                if any(isinstance(v.ty, Array) for v in (*node.operands, *node.results)) and not sizes_known:
                    return False
                return node.op.guard is None or all(is_inexact(v.ty) for v in node.results) or _divisor_is_safe(node)
        return False

    def _in_range(self, node: Node) -> bool:
        shape = node.operands[0].shape
        for entry, size in zip(node.attrs["region"], shape, strict=True):
            assert isinstance(entry, At)
            if isinstance(entry.position, Arg):
                value = node.operands[1 + entry.position.k]
                if not is_signed(value):
                    return False
                position = self.facts.polynomial(value)
            else:
                position = entry.position
            below = subtract_sizes(add_sizes(size, -1), position)
            if not (self.facts.proves(below) and self.facts.proves(add_sizes(position, size))):
                return False
        return True


def _divisor_is_safe(node: Node) -> bool:
    maker = node.operands[1].node
    return maker is not None and maker.op.name == "const" and maker.attrs["value"] > 0


def _is_worth_it(node: Node) -> bool:
    if node.op.kind in ("query", "view"):
        return False
    return node.op.kind != "elementwise" or node.op.cost > _CHEAP or any(isinstance(v.ty, Array) for v in node.results)
