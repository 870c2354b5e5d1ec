"""A program in which the views that are only looked at are arrays of their own, so that each has its cotangent.

    top = index(A)                top = index(A)
    y = sum(top)                  held = copy(top)
                                  y = sum(held)

Reverse mode gives a buffer one cotangent with the same views over it: what reaches `A` through `top` cannot be told
from what reaches it otherwise. A copy has a cotangent of its own, and that is what flows through the view. Views whose
buffer changes before they were used for the last time stay what they are.
"""

from __future__ import annotations

from collections.abc import Sequence

from gradc.ir.effects import buffers_written, roots
from gradc.ir.nodes import Block, Func, Node, Value, clone_block, used_values, walk_blocks, walk_nodes
from gradc.ir.opdef import TABLE
from gradc.ir.types import Array


def with_copied_views(func: Func) -> tuple[Func, dict[Value, Value]]:
    """A copy of `func` with such copies, and the value of `func` that each of its values stands for."""
    mapping: dict[Value, Value] = {}
    copy = Func(func.name, clone_block(func.body, mapping), func.loc, dict(func.notes))
    stands_for = {new: old for old, new in mapping.items()}
    results = {r for v in copy.results for r in (v, *roots(v))}
    for block in walk_blocks(copy.body):
        for node in list(block.nodes):
            if node.op.kind != "view" or len(node.results) != 1 or not isinstance(node.result.ty, Array):
                continue
            if node.op.name in ("select_ref", "alias") or node.result in results or node.result in block.yields:
                continue
            held = _held(block, node)
            if held is not None:
                stands_for[held] = stands_for[node.result]
    return copy, stands_for


def _held(block: Block, node: Node) -> Value | None:
    """The copy of a view, which has its readers from now on; None where that would change what they read."""
    view = node.result
    start = block.nodes.index(node) + 1
    names = {view}  # the view, and views of it
    for later in _all(block.nodes[start:]):
        if later.op.kind == "view" and later.operands[0] in names:
            names.update(later.results)
    for later in _all(block.nodes[start:]):
        if later.op.kind == "write" and later.operands[0] in names - {view}:
            return None
    users = [k for k in range(start, len(block.nodes)) if any(v in names for v in used_values(block.nodes[k]))]
    readers = [k for k in users if not (block.nodes[k].op.kind == "write" and block.nodes[k].operands[0] is view)]
    if not readers or any(v in names for v in block.yields):
        return None
    last = block.nodes[readers[-1]]
    between = [*block.nodes[start : readers[-1]], *([last] if last.blocks else [])]
    if buffers_written(Block(nodes=between)) & roots(view):
        return None
    made = Node(TABLE["copy"], [view], [], {}, [], node.loc)
    assert isinstance(view.ty, Array)
    made.results = [Value(Array(view.ty.dtype, view.ty.shape), "", made)]
    for k in readers:
        _replace(block.nodes[k], view, made.result)
    block.nodes.insert(start, made)
    return made.result


def _all(nodes: Sequence[Node]) -> list[Node]:
    return [n for node in nodes for n in (node, *(m for block in node.blocks for m in walk_nodes(block)))]


def _replace(node: Node, old: Value, new: Value) -> None:
    first = 1 if node.op.kind == "write" else 0
    node.operands = [new if v is old and k >= first else v for k, v in enumerate(node.operands)]
    for block in node.blocks:
        block.yields = [new if v is old else v for v in block.yields]
        for inner in block.nodes:
            _replace(inner, old, new)
