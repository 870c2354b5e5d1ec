"""What a loop adds to one element of an array, and loops inside it to others, is kept apart from them.

    for i in range(n):                          t = zeros(n)
        for j in range(n):                      for i in range(n):
            dx[j] += a[i, j] * x[i]                 for j in range(n):
            s += a[i, j] * x[j]         ->              dx[j] += a[i, j] * x[i]
        dx[i] += s                                      s += a[i, j] * x[j]
                                                    t[i] += s
                                                dx += t

The processor hands what it has just stored to a load of the same width at once, and lets a wider one wait until the
store has reached the cache: the inner loop, which runs over vectors, would wait in every iteration. Additions commute;
nothing else may look at the array. Source: Fog, The microarchitecture of Intel, AMD and VIA CPUs, on store forwarding.
"""

from __future__ import annotations

from gradc.ir.builder import Builder
from gradc.ir.effects import own_reads, own_write, roots
from gradc.ir.nodes import Block, Func, Node, Value, clone_func, walk_blocks, walk_nodes
from gradc.ir.opdef import TABLE
from gradc.ir.region import Arg, At
from gradc.ir.types import Size, is_inexact
from gradc.ops.memory import zeros_like

_ADDS = ("accumulate", "accumulate_at")


def apart(func: Func) -> Func:
    """`func` with such additions made after their loops."""
    if not any(_additions(node) for node in walk_nodes(func.body) if node.op.name == "for"):
        return func
    func = clone_func(func)
    builder = Builder(func, checks=False)
    with builder:
        for block in [func.body, *walk_blocks(func.body)]:
            _rewrite(block, builder)
    return func


def _rewrite(block: Block, builder: Builder) -> None:
    nodes, block.nodes = block.nodes, []
    for node in nodes:
        found = _additions(node) if node.op.name == "for" else []
        sums: dict[Value, Value] = {}
        with builder.into(block), builder.at(node.loc):
            for add in found:
                target = add.operands[0]
                if target not in sums:
                    sums[target] = zeros_like(target)
                add.operands = [sums[target], *add.operands[1:]]
            block.nodes.append(node)
            for target, total in sums.items():
                TABLE["accumulate"](target, total)


def _additions(loop: Node) -> list[Node]:
    """Nodes of `for i in range(len(x))` that add to x[i], where an inner loop adds to x and nothing else touches it."""
    start, stop, step = loop.operands[:3]
    if _constant(start) != 0 or _constant(step) != 1 or loop.attrs.get("exits") or "checkpoint" in loop.attrs:
        return []
    body = loop.blocks[0]
    inner = [n for node in body.nodes if node.op.name == "for" for b in node.blocks for n in walk_nodes(b)]
    found = []
    for node in body.nodes:
        if node.op.name != "accumulate_at" or node.attrs["region"] != (At(Arg(0)),):
            continue
        target, value, index = node.operands
        if index is not body.params[0] or roots(target) != {target} or not is_inexact(target.ty):
            continue
        if _size(stop) != target.shape[0] or value.dtype != target.dtype:
            continue
        added = [n for n in inner if n.op.name in _ADDS and roots(n.operands[0]) == {target}]
        if added and all(_only_adds(n, target) for n in walk_nodes(body)):
            found.append(node)
    return found


def _only_adds(node: Node, target: Value) -> bool:
    if node.op.name in _ADDS:
        return target not in roots(node.operands[1])
    written = own_write(node)
    touched = [*own_reads(node), *([written] if written is not None else [])]
    return not any(target in roots(value) for value in touched)


def _size(value: Value) -> Size | None:
    """The dimension that an integer is."""
    node = value.node
    if node is not None and node.op.name == "dim":
        return node.operands[0].shape[node.attrs["axis"]]
    return value.size


def _constant(value: Value) -> object:
    return value.node.attrs["value"] if value.node is not None and value.node.op.name == "const" else None
