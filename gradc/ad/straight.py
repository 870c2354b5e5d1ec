"""Adjoints of nodes without blocks: computations by the rules of entries, writes and stacks by the shadow rule."""

from __future__ import annotations

from typing import Any

import numpy as np

from gradc.ad.activity import (
    Activity,
    can_vary,
)
from gradc.ad.apply import contributions, read_by_rule
from gradc.ad.cotangents import Cotangents
from gradc.ad.plan import Plan, wanted_operands
from gradc.ad.primals import Primals
from gradc.ad.structure import Structure
from gradc.errors import InternalError
from gradc.ir.builder import Builder
from gradc.ir.nodes import Block, Func, Node, Value, used_values, walk_nodes
from gradc.ir.opdef import TABLE
from gradc.ir.types import Array, Scalar
from gradc.ops import memory


class StraightAdjoints(Primals):
    """Reverses nodes that own no blocks; `cts` holds the cotangents at the current point of the reverse sweep."""

    def __init__(
        self, func: Func, new: Func, structure: Structure, plan: Plan, activity: Activity, guarded: set[Node]
    ) -> None:
        super().__init__(func, new, Builder(new, checks=False), structure, plan)
        self.builder.avoid_sizes_of(func)
        self.activity = activity
        self.guarded = guarded
        self.cts = Cotangents(self.builder, self.primal, self.shape)
        self._bare: dict[Value, Value] = {}
        self.slots: dict[Node, Any] = {}  # of loops with a budget that are being reversed

    def _zero(self, like: Value) -> Value:
        return self._number(0, like)

    def _number(self, number: int, like: Value) -> Value:
        """0 or 1 in the type of the scalar `like`, or in the dtype of an array."""
        assert isinstance(like.ty, Scalar | Array)
        if isinstance(like.ty, Scalar) and like.ty.weak:
            return self.builder.const(complex(number) if like.ty.dtype == "complex128" else float(number))
        return self.builder.const(np.dtype(like.ty.dtype).type(number))

    def _reverse_compute(self, node: Node) -> None:
        wanted = wanted_operands(node, self.activity)
        cts = [self.cts.take(r, _takes_broadcast(node, wanted)) for r in node.results]
        if all(ct is None for ct in cts):
            return
        if not any(wanted):
            return
        if node.op.name == "load":
            ct = cts[0]
            assert ct is not None
            index = [self.primal(v) for v in node.operands[1:]]
            region = {"region": node.attrs["region"]}
            self.builder.add(TABLE["accumulate_at"], (self.cts.view(node.operands[0]), ct, *index), region)
            return
        if node.op.name == "gather":
            index = [self.primal(v) for v in node.operands[1:]]
            region = {"region": node.attrs["region"]}
            self.builder.add(TABLE["scatter_add"], (self.cts.view(node.operands[0]), cts[0], *index), region)
            return
        if node.op.name == "mask_select":
            mask = self.primal(node.operands[1])
            self.builder.add(TABLE["accumulate_mask"], (self.cts.view(node.operands[0]), cts[0], mask), {})
            return
        self._bare.clear()
        reads, result_reads = read_by_rule(node, wanted, node in self.guarded)
        operands = [self.primal(v) if k in reads else self._stand_in(v) for k, v in enumerate(node.operands)]
        results = [self.primal(v) if k in result_reads else self._stand_in(v) for k, v in enumerate(node.results)]
        block = self.builder.block
        mark = len(block.nodes)
        given = contributions(
            node,
            cts[0] if len(cts) == 1 else tuple(cts),  # type: ignore[arg-type]  # not None where there is one result
            results,
            operands,
            wanted,
            node in self.guarded,
            self.builder,
        )
        _prune(block, mark, [c for c in given if c is not None])
        self._settle_stand_ins(node, block, mark)
        made = {r for n in block.nodes[mark:] if n.op.kind != "view" for r in n.results}
        for operand, ct in zip(node.operands, given, strict=True):
            if ct is not None:
                fresh = ct in made and sum(c is ct for c in given) == 1
                self.cts.add(operand, ct, fresh)

    def _stand_in(self, value: Value) -> Value:
        """Something with the type and shape of `value`, for a rule that does not read its content."""
        node = value.node
        if node is not None and node.op.name == "const":
            return self.builder.const(node.attrs["value"])
        if self._at_hand(value):
            return self.primal(value)
        bare = Value(value.ty, value.name)
        self._bare[bare] = value
        return bare

    def _settle_stand_ins(self, node: Node, block: Block, mark: int) -> None:
        """Sizes of stand-ins come from where they can be had; nothing else of them may be used.

        Raises: InternalError where a rule reads what the plan does not provide.
        """
        sizes = Block()
        for made in list(walk_nodes(Block(nodes=block.nodes[mark:]))):
            for k, operand in enumerate(made.operands):
                original = self._bare.get(operand)
                if original is None:
                    continue
                if made.op.name != "dim":
                    raise InternalError(f"the rule of `{node.op.name}` reads more than was planned for", node.loc)
                with self.builder.into(sizes):
                    size = self.builder.value(self.shape(original)[made.attrs["axis"]])
                made.op, made.operands[k], made.attrs = TABLE["let"], size, {}
        block.nodes[mark:mark] = sizes.nodes

    # ------------------------------------------------------------------------------------------- writes

    def _reverse_write(self, node: Node) -> None:
        target, value = node.operands[0], node.operands[1]
        if self.activity.is_active(target) and self.cts.has(target):
            held = self.cts.shadows.get(target)
            if node.op.name == "store" and held is not None and self.structure.def_block[target] is self.frame.original:
                # All of a buffer of this block: its cotangent so far moves on, and what was there before has none yet.
                ct, fresh = self.cts.take(target), held.owned or not held.whole
            else:
                ct, fresh = self._taken(node), True
            if ct is not None and self._wants(node):
                self.cts.add(value, ct, fresh=fresh and isinstance(ct.ty, Array))
        if node in self.plan.saved:
            self._restore(node)

    def _taken(self, node: Node) -> Value | None:
        """The cotangent of the region that a write wrote; zeroed, if the write replaced what was there."""
        target = node.operands[0]
        name = node.op.name
        shadow = self.cts.view(target)
        index = [self.primal(v) for v in node.operands[2:]]
        add = self.builder.add
        zero = self.builder.const(0.0)
        wants = self._wants(node)
        ct: Value | None = None
        if name in ("store", "accumulate"):
            ct = memory.copy(shadow) if wants else None
            if name == "store":
                add(TABLE["store"], (shadow, zero), {})
        elif name in ("store_at", "accumulate_at"):
            region = {"region": node.attrs["region"]}
            ct = add(TABLE["load"], (shadow, *index), region) if wants else None
            if name == "store_at":
                add(TABLE["store_at"], (shadow, zero, *index), region)
        elif name in ("scatter", "scatter_add"):
            region = {"region": node.attrs["region"]}
            if wants:
                ct = memory.make_gather(shadow, node.attrs["region"], *index)
                if name == "scatter":
                    kept = Array("bool", ct.shape)
                    last = add(TABLE["last_writers"], (shadow, *index), {**region, "type": kept})
                    ct = self.builder.emit("where", (last, ct, zero))
            if name == "scatter":
                add(TABLE["scatter"], (shadow, zero, *index), region)
        elif name in ("scatter_mask", "accumulate_mask"):
            ct = memory.make_mask_select(shadow, index[0]) if wants else None
            if name == "scatter_mask":
                add(TABLE["scatter_mask"], (shadow, zero, *index), {})
        else:
            raise InternalError(f"no adjoint is known for the write `{name}`", node.loc)
        if ct is not None and node.operands[1].name and not ct.name:
            ct.name = f"d{node.operands[1].name}"
        return ct

    def _wants(self, write: Node) -> bool:
        """Whether what is written gets a contribution."""
        return can_vary(write.operands[1]) and self.activity.is_varied(write.operands[1])

    def _restore(self, node: Node) -> None:
        """Put back what the region of a write held before."""
        target = node.operands[0]
        held = self._saved_content(node, self._sweep_of(node))
        index = [self.primal(v) for v in node.operands[2:]]
        view = self._primal_place(target)
        name, add = node.op.name, self.builder.add
        if name in ("store", "accumulate"):
            add(TABLE["store"], (view, held), {})
        elif name in ("store_at", "accumulate_at"):
            add(TABLE["store_at"], (view, held, *index), {"region": node.attrs["region"]})
        elif name in ("scatter", "scatter_add"):
            add(TABLE["scatter"], (view, held, *index), {"region": node.attrs["region"]})
        else:
            add(TABLE["scatter_mask"], (view, held, *index), {})

    def _primal_place(self, value: Value) -> Value:
        """The region of a buffer that `value` names, whatever it holds."""
        return self.primal(value)

    # ------------------------------------------------------------------------------------------- stacks

    def _reverse_stack(self, node: Node) -> None:
        stack = node.results[0] if node.op.name == "stack_new" else node.operands[0]
        if not self.activity.is_active(stack):
            return
        if node.op.name == "stack_new":
            self.cts.stacks.pop(stack, None)
        elif node.op.name == "push":
            ct: Value = self.builder.emit("pop", (self.cts.stack(stack),))
            value = node.operands[1]
            if can_vary(value) and self.activity.is_varied(value):
                self.cts.add(value, ct, fresh=True)
        else:
            result = node.result
            taken = self.cts.take(result)
            if taken is None:
                zeros = (
                    memory.make_zeros(self.shape(result), result.dtype)
                    if isinstance(result.ty, Array)
                    else self._zero(result)
                )
                taken = zeros
            self.builder.emit("push", (self.cts.stack(stack), taken))

    def _open_stacks(self, block: Block) -> None:
        """Cotangent stacks of the tapes that a block makes, before anything in its reverse uses them."""
        for node in block.nodes:
            if node.op.name == "stack_new" and self.activity.is_active(node.results[0]):
                self.cts.open_stack(node.results[0])


def _takes_broadcast(node: Node, wanted: list[bool]) -> bool:
    """Whether a cotangent that still has to be broadcast does for the rule: every operand has the result's shape."""
    if node.op.partials is None or len(node.results) != 1:
        return False
    shape = node.result.shape
    return all(
        len(v.shape) == len(shape) and all((a == 1) == (b == 1) for a, b in zip(v.shape, shape, strict=True))
        for v, w in zip(node.operands, wanted, strict=True)
        if w
    )


def _prune(block: Block, mark: int, wanted: list[Value]) -> None:
    """Drop the nodes from `mark` on that no wanted value depends on: rules build more than one call uses."""
    live = set(wanted)
    kept: list[Node] = []
    for node in reversed(block.nodes[mark:]):
        if node.op.kind in ("write", "stack", "check", "control") or any(r in live for r in node.results):
            live.update(used_values(node))
            kept.append(node)
    block.nodes[mark:] = kept[::-1]
