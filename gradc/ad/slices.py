"""The part of a control node that computes given values: what a joint region runs again.

for i in range(n):              needed: t
    t = exp(x[i])               in the slice
    s = s + t * t               not in it: s is carried, and nothing needed depends on it
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from gradc.ad.activity import carried_inits, carried_params, carried_results, carried_yields
from gradc.ad.structure import Structure
from gradc.ir.effects import own_write, roots
from gradc.ir.nodes import Node, Value, walk_nodes
from gradc.ir.types import Array


@dataclass
class Slice:
    """Nodes and values that have to be computed; captured: values from outside; outer_reads: buffers from outside."""

    nodes: set[Node] = field(default_factory=set)
    values: set[Value] = field(default_factory=set)
    captured: dict[Value, None] = field(default_factory=dict)
    outer_reads: set[Value] = field(default_factory=set)


def slice_of(node: Node, seeds: Iterable[Value], structure: Structure, through: bool = False) -> Slice:
    """Everything inside `node` that `seeds` depend on, one iteration at a time, writes into local buffers included.

    `through`: writes into buffers from outside are included too.
    """
    found = Slice()
    work: list[Value] = list(seeds)
    sized: dict[Value, None] = {}

    def mark_owners(inner: Node) -> None:
        for owner in structure.owners_of(inner):
            if owner is not node and structure.node_inside(owner, node):
                mark_control(owner)

    def mark_control(owner: Node) -> None:
        if owner in found.nodes:
            return
        found.nodes.add(owner)
        mark_owners(owner)
        if owner.op.name == "if":
            work.append(owner.operands[0])
            return
        if owner.op.name == "for":
            work.extend(owner.operands[:3])
        else:
            work.extend(owner.blocks[0].yields)
        if owner.attrs.get("exits"):
            work.append(owner.blocks[-1].yields[0])

    def mark_plain(inner: Node) -> None:
        if inner in found.nodes:
            return
        found.nodes.add(inner)
        mark_owners(inner)
        for operand in inner.operands:
            if inner.op.kind == "query" and not structure.is_inside(operand, node):
                sized[operand] = None  # its content is not read
            else:
                work.append(operand)
        work.extend(inner.results)

    def mark_carried(owner: Node, k: int) -> None:
        mark_control(owner)
        work.append(carried_inits(owner)[k])
        work.append(carried_yields(owner)[k])
        work.append(carried_results(owner)[k])
        work.extend(carried_params(owner, block)[k] for block in owner.blocks)

    while work:
        value = work.pop()
        if value in found.values or value in found.captured:
            continue
        home = structure.def_block.get(value)
        inside = home is not None and structure.is_inside(value, node)
        if isinstance(value.ty, Array):
            for root in roots(value):
                local = root in structure.def_block and structure.is_inside(root, node)
                if local:
                    work.append(root)
                else:
                    found.outer_reads.add(root)
                if local or through:
                    for write in structure.writes_to.get(root, ()):
                        if structure.node_inside(write, node):
                            mark_plain(write)
        if not inside or home is None:
            found.captured[value] = None
            continue
        found.values.add(value)
        source = value.node
        if source is None:
            owner = structure.owner_of[home]
            assert owner is not None
            if owner is node:
                continue
            mark_control(owner)
            carried = carried_params(owner, home)
            if value in carried:
                mark_carried(owner, carried.index(value))
        elif source.op.kind != "control":
            mark_plain(source)
        elif source.op.name == "if":
            mark_control(source)
            k = source.results.index(value)
            work.extend(block.yields[k] for block in source.blocks)
        else:
            mark_control(source)
            if value in carried_results(source):
                mark_carried(source, carried_results(source).index(value))
    found.captured.update(sized)
    return found


def written_from_inside(node: Node, structure: Structure) -> tuple[set[Value], bool]:
    """Buffers from outside that the blocks of `node` write into; and whether a write may hit local or outer ones."""
    outer: set[Value] = set()
    mixed = False
    for block in node.blocks:
        for inner in walk_nodes(block):
            target = own_write(inner)
            if target is None:
                continue
            targets = roots(target)
            from_outside = {r for r in targets if not (r in structure.def_block and structure.is_inside(r, node))}
            mixed = mixed or 0 < len(from_outside) < len(targets)
            outer |= from_outside
    return outer, mixed
