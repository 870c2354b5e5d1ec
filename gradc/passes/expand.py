"""Replace ops that have an expansion (`OpDef.expand`) by it, for kernels.

    y = cumsum(x) {axes=(0,)}          y = empty(n)
                                ->     for i in range(n): s = s + x[i]; y[i] = s

Expansions may use ops that expand in turn. Readable source is made from the IR before this pass.
"""

from __future__ import annotations

from gradc.ir.builder import Builder
from gradc.ir.nodes import Block, Func, Value, clone_func, walk_nodes


def expand(func: Func) -> Func:
    """`func` without ops that have an expansion; itself where there are none."""
    if not any(node.op.expand is not None for node in walk_nodes(func.body)):
        return func
    copy = clone_func(func)
    with Builder(copy, checks=False) as builder:
        _expand_block(copy.body, builder, {})
    return copy


def _expand_block(block: Block, builder: Builder, replaced: dict[Value, Value]) -> None:
    nodes, block.nodes = block.nodes, []
    with builder.into(block):
        for node in nodes:
            node.operands = [replaced.get(v, v) for v in node.operands]
            if node.op.expand is None:
                for inner in node.blocks:
                    _expand_block(inner, builder, replaced)
                block.nodes.append(node)
                continue
            start = len(block.nodes)
            with builder.at(node.loc):
                made = node.op.expand(*node.operands, **node.attrs)
            results = made if isinstance(made, tuple) else (made,)
            for old, new in zip(node.results, results, strict=True):
                new.name = new.name or old.name
                replaced[old] = new
            _expand_again(block, start, builder, replaced)
    block.yields = [replaced.get(v, v) for v in block.yields]


def _expand_again(block: Block, start: int, builder: Builder, replaced: dict[Value, Value]) -> None:
    """Expand what an expansion added."""
    added = block.nodes[start:]
    if any(n.op.expand is not None for node in added for n in (node, *(m for b in node.blocks for m in walk_nodes(b)))):
        part = Block(nodes=added)
        _expand_block(part, builder, replaced)
        block.nodes[start:] = part.nodes
