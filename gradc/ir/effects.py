"""Which buffers a value may name, and which buffers a node reads and writes: every alias question, answered here.

Arrays do not flow through block parameters, yields or results of `if`, `for` and `while`: those are
scalars. So the buffers that a value may name are found by following views to the nodes that made them.
"""

from __future__ import annotations

from collections.abc import Iterator

from gradc.ir.nodes import Block, Func, Node, Value, walk_nodes
from gradc.ir.opdef import OpDef
from gradc.ir.types import Array


def view_operands(op: OpDef) -> tuple[int, ...]:
    """Positions of the operands whose buffers the result of a view names."""
    if op.kind != "view":
        return ()
    return op.views or (0,)


def roots(value: Value) -> frozenset[Value]:
    """The buffers that `value` may name: results of ops that make arrays, and parameters. Empty for scalars."""
    if not isinstance(value.ty, Array):
        return frozenset()
    node = value.node
    if node is None or node.op.kind != "view":
        return frozenset((value,))
    # Each view is followed once: choices of choices would double the way at every step.
    found: set[Value] = set()
    seen: set[Value] = set()
    waiting = [value]
    while waiting:
        current = waiting.pop()
        if current in seen:
            continue
        seen.add(current)
        node = current.node
        if node is None or node.op.kind != "view":
            found.add(current)
        else:
            waiting.extend(node.operands[k] for k in view_operands(node.op))
    return frozenset(found)


def view_chain(value: Value) -> list[Node]:
    """The views that lead to `value`, the outermost first, as far as each has one base."""
    chain: list[Node] = []
    node = value.node
    while node is not None and node.op.kind == "view" and len(view_operands(node.op)) == 1:
        chain.append(node)
        node = node.operands[view_operands(node.op)[0]].node
    return chain


def own_reads(node: Node) -> Iterator[Value]:
    """Array operands whose content the node itself reads (blocks not included)."""
    kind = node.op.kind
    if kind in ("view", "query", "control", "check"):
        return
    positions = node.op.reads if node.op.reads is not None else range(len(node.operands))
    for k in positions:
        if kind == "write" and k == 0 and node.op.reads is None:
            continue
        if k < len(node.operands) and isinstance(node.operands[k].ty, Array):
            yield node.operands[k]


def own_write(node: Node) -> Value | None:
    """The array into whose buffer the node itself writes, or None."""
    return node.operands[0] if node.op.kind == "write" else None


def buffers_written(block: Block) -> frozenset[Value]:
    """Buffers that the nodes of a block, inner blocks included, may write into."""
    found: frozenset[Value] = frozenset()
    for node in walk_nodes(block):
        target = own_write(node)
        if target is not None:
            found |= roots(target)
    return found


def buffers_read(block: Block) -> frozenset[Value]:
    """Buffers whose content the nodes of a block, inner blocks included, may read."""
    found: frozenset[Value] = frozenset()
    for node in walk_nodes(block):
        for value in own_reads(node):
            found |= roots(value)
    return found


def written_params(func: Func) -> tuple[int, ...]:
    """Positions of the parameters whose buffers the function may write into."""
    written = buffers_written(func.body)
    return tuple(k for k, p in enumerate(func.params) if p in written)


def has_effect(node: Node) -> bool:
    """Whether the node does more than compute its results: writes, may raise, moves a stack, or owns such a node."""
    if node.op.kind in ("write", "check", "stack"):
        return True
    return any(has_effect(inner) for block in node.blocks for inner in block.nodes)
