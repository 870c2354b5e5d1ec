"""Running the reverse of a control node right after its forward part, inside one node.

    for i in range(n):                  for i in range(n):
        t = exp(x[i])                       t = exp(x[i])
        s = s + t * t            ─▶         s = s + t * t
    return s * 2                            dx[i] += 2 * 2 * t * t
                                        return s * 2, dx

That is possible where nothing that the reverse of the node takes (the cotangents of its results, shadow buffers)
depends on what the node computes, and where the order of iterations does not matter to the reverse: carried
values only accumulate, and what is written into outer buffers is only added. No tape is needed then, and the values of
an iteration are computed once. Nodes that do depend on the node's results are moved behind it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from gradc.ad.activity import Activity, can_vary, carried_params, carried_results, carried_yields
from gradc.ad.structure import Structure
from gradc.ir.effects import own_reads, own_write, roots
from gradc.ir.nodes import Block, Node, Value, captured_values, walk_blocks, walk_nodes
from gradc.ir.types import Stack

_ACCUMULATING = frozenset({"accumulate", "accumulate_at", "scatter_add", "accumulate_mask"})


def order_is_free(node: Node, activity: Activity, structure: Structure) -> bool:
    """Whether the reverse of the iterations of `node` may run in the order of the forward sweep."""
    if node.op.name == "if":
        return True
    if node.op.name != "for" or node.attrs.get("exits"):
        return False
    body = node.blocks[0]
    uses = _count_uses(body)
    carried = zip(carried_params(node, body), carried_yields(node), carried_results(node), strict=True)
    for param, out, result in carried:
        # The last iteration's value may be used where the carried one never is: then its cotangent goes there alone.
        active = activity.is_active(param) or activity.is_active(result)
        if can_vary(param) and active and not _accumulates(out, param, uses):
            return False
    written: set[Value] = set()
    read: set[Value] = set()
    for inner in walk_nodes(body):
        if inner.op.kind == "stack":  # what was pushed last is popped first
            return False
        for array in own_reads(inner):
            if inner.op.name not in _ACCUMULATING or array is not inner.operands[0]:
                read |= roots(array)
        target = own_write(inner)
        if target is None:
            continue
        outer = {r for r in roots(target) if not structure.is_inside(r, node) and activity.is_active(r)}
        if outer and inner.op.name not in _ACCUMULATING:
            return False
        written |= outer
    return written.isdisjoint(read)


def _count_uses(block: Block) -> dict[Value, int]:
    uses: dict[Value, int] = {}
    for inner in walk_blocks(block):
        for value in (*inner.yields, *(v for n in inner.nodes for v in n.operands)):
            uses[value] = uses.get(value, 0) + 1
    return uses


def _accumulates(out: Value, source: Value, uses: dict[Value, int]) -> bool:
    """Whether `out` is `source` plus something that does not involve it, and `source` has no other use."""
    if out is source:
        return uses.get(source, 0) <= 1
    node = out.node
    if node is None or uses.get(source, 0) != 1:
        return False
    if uses.get(out, 0) != 1:
        return False
    if node.op.name in ("add", "sub"):
        first, second = node.operands
        if _accumulates(first, source, uses):
            return True
        return node.op.name == "add" and _accumulates(second, source, uses)
    if node.op.name == "for" and not node.attrs.get("exits"):
        k = node.results.index(out)
        body = node.blocks[0]
        return _accumulates(node.operands[3 + k], source, uses) and _accumulates(
            carried_yields(node)[k], carried_params(node, body)[k], uses
        )
    return False


@dataclass
class Effects:
    """Buffers (and stacks) that nodes read, write, or only add to."""

    reads: set[Value] = field(default_factory=set)
    writes: set[Value] = field(default_factory=set)
    adds: set[Value] = field(default_factory=set)

    def include(self, node: Node) -> None:
        """Add the effects of a node and of the blocks inside it."""
        self._own(node)
        for block in node.blocks:
            for inner in walk_nodes(block):
                self._own(inner)

    def _own(self, node: Node) -> None:
        adding = node.op.name in _ACCUMULATING
        for array in own_reads(node):
            if not (adding and array is node.operands[0]):
                self.reads |= roots(array)
        target = own_write(node)
        if target is not None:
            (self.adds if adding else self.writes).update(roots(target))
        if node.op.kind == "stack":
            self.writes.update(v for v in (*node.operands, *node.results) if isinstance(v.ty, Stack))

    def conflicts(self, other: Effects) -> bool:
        """Whether exchanging the two in time could change anything but the order of additions."""
        if self.writes & (other.reads | other.writes | other.adds):
            return True
        if other.writes & (self.reads | self.adds):
            return True
        return bool(self.adds & other.reads or self.reads & other.adds)


@dataclass
class Dependents:
    """The nodes after a node that depend on it (values, memory, or values of those), in order, and the others."""

    values: set[Value]
    buffers: set[Value]
    moved: list[Node] = field(default_factory=list)
    kept: list[Node] = field(default_factory=list)


def dependents(node: Node, after: Iterable[Node]) -> Dependents:
    """Split the nodes `after` a node into those that depend on it and those that do not."""
    own = Effects()
    own.include(node)
    found = Dependents(set(node.results), own.writes | own.adds)
    for later in after:
        effects = Effects()
        effects.include(later)
        touched = effects.reads | effects.writes | effects.adds
        if any(v in found.values for v in captured_values(later)) or touched & found.buffers:
            found.moved.append(later)
            found.values.update(later.results)
            found.buffers |= effects.writes | effects.adds
        else:
            found.kept.append(later)
    return found


def can_move(node: Node, after: Sequence[Node], split: Dependents) -> bool:
    """Whether `node` may run after all of `split.kept`, and `split.moved` after that."""
    own = Effects()
    own.include(node)
    for kept in split.kept:
        effects = Effects()
        effects.include(kept)
        if own.conflicts(effects):
            return False
    passed = Effects()
    moved = set(split.moved)
    for later in reversed(after):
        if later not in moved:
            passed.include(later)
            continue
        effects = Effects()
        effects.include(later)
        if effects.conflicts(passed):
            return False
    return True


def replace_values(nodes: Iterable[Node], replaced: dict[Value, Value]) -> None:
    """Use other values in nodes and in the blocks inside them."""
    for node in nodes:
        node.operands = [replaced.get(v, v) for v in node.operands]
        for block in node.blocks:
            block.yields = [replaced.get(v, v) for v in block.yields]
            replace_values(block.nodes, replaced)
