"""Adjoints of `if`, `for` and `while`: the same structure backwards, or right after the forward part if possible."""

from __future__ import annotations

from dataclasses import replace

from gradc.ad.activity import (
    can_vary,
    carried_inits,
    carried_params,
    carried_results,
    carried_yields,
)
from gradc.ad.blocks import budget_of
from gradc.ad.budget import BudgetedBlocks
from gradc.ad.merge import Dependents, Effects, can_move, dependents, order_is_free, replace_values
from gradc.ad.plan import State, contains_active
from gradc.ad.primals import Frame, Sweep
from gradc.ad.tapes import STATE, trip_count
from gradc.ir.effects import own_write, roots
from gradc.ir.nodes import Block, Node, Value, walk_nodes
from gradc.ir.types import WEAK_INT, Array, Scalar
from gradc.ops import memory


class ControlAdjoints(BudgetedBlocks):
    """Reverses blocks; `values` are the results of the function under construction that are already known."""

    values: tuple[Value, ...] = ()

    # ------------------------------------------------------------------------------------ reverse sweep

    def _reverse_block(self, block: Block) -> None:
        around = self.reversing
        for node in reversed(block.nodes):
            self.reversing = node
            with self.builder.at(replace(node.loc, reverse=True)):
                self._reverse_node(node)
        self.reversing = around

    def _reverse_node(self, node: Node) -> None:
        kind = node.op.kind
        if kind == "control":
            if contains_active(node, self.activity) or self._holds_saved(node):
                if node.op.name == "if":
                    self._reverse_if(node)
                else:
                    self._reverse_loop(node)
        elif kind == "write":
            self._reverse_write(node)
        elif kind == "stack":
            self._reverse_stack(node)
        elif kind not in ("view", "query", "check"):
            self._reverse_compute(node)

    def _holds_saved(self, node: Node) -> bool:
        """Whether the reverse of a control node puts something back that the node overwrote."""
        restoring = (n for n, state in self.plan.state.items() if state.put_back)
        inside = self.structure.node_inside
        return any(inside(w, node) for w in self.plan.saved) or any(n is node or inside(n, node) for n in restoring)

    # ------------------------------------------------------------------------------------- control flow

    def _outer_scalars(self, node: Node) -> list[Value]:
        """Active scalars from outside that the blocks of `node` may contribute to, in order of appearance."""
        found: dict[Value, None] = {}
        for block in node.blocks:
            for inner in walk_nodes(block):
                for value in inner.operands:
                    found.setdefault(value, None)
                for deeper in inner.blocks:
                    for value in deeper.yields:
                        found.setdefault(value, None)
            for value in block.yields:
                found.setdefault(value, None)
        return [
            v
            for v in found
            if isinstance(v.ty, Scalar)
            and can_vary(v)
            and self.activity.is_active(v)
            and not self.structure.is_inside(v, node)
        ]

    def _ensure_shadows(self, node: Node) -> None:
        """Cotangent buffers of outer arrays that the blocks of `node` use: made before the node's reverse."""
        seen: dict[Value, None] = {}
        for block in node.blocks:
            for inner in walk_nodes(block):
                for value in inner.operands:
                    if isinstance(value.ty, Array):
                        for root in sorted(roots(value), key=self._definition_order):
                            seen.setdefault(root, None)
        for root in seen:
            if can_vary(root) and self.activity.is_active(root) and not self.structure.is_inside(root, node):
                self.cts.ensure(root)

    def _definition_order(self, value: Value) -> int:
        return self.structure.order[value.node] if value.node is not None else -1

    def _has_flow(self, node: Node) -> bool:
        """Whether any cotangent enters the reverse of a control node."""
        if any(self.cts.has(r) for r in node.results if can_vary(r)):
            return True
        for block in node.blocks:
            for inner in walk_nodes(block):
                target = own_write(inner)
                if target is not None and self.cts.has(target):
                    return True
                if inner.op.kind == "stack" and inner.op.name != "stack_new" and inner.operands[0] in self.cts.stacks:
                    return True
        return False

    def _reverse_if(self, node: Node) -> None:
        if not self._has_flow(node) and not self._holds_saved(node):
            return
        self._ensure_shadows(node)
        cts = [self.cts.take(r) for r in node.results]
        split = self._mergeable(node, cts)
        cond = self.primal(node.operands[0])
        outer = self._outer_scalars(node)
        before = dict(self.cts.scalars)
        late = {v: ct for v, ct in before.items() if split is not None and ct in split.values}
        for value in late:
            del self.cts.scalars[value]
        start = dict(self.cts.scalars)
        forward: list[list[Value]] = []
        blocks: list[Block] = []
        after: list[dict[Value, Value]] = []
        for original in node.blocks:
            block = Block()
            outs: list[Value] = []
            self.cts.scalars = dict(start)
            with self.builder.into(block):
                frame = self._enter(original, block)
                if split is not None:
                    self._run_together(node, original, frame)
                    kept = self._kept_carried(node, frame.sweep.live)
                    outs = original.yields if kept is None else [original.yields[k] for k in kept]
                elif node in self.plan.joint:
                    self._run_again(node, original, frame)
                self._open_stacks(original)
                for value, ct in zip(original.yields, cts, strict=True):
                    if ct is not None and can_vary(value) and self.activity.is_varied(value):
                        self.cts.add(value, ct)
                self._reverse_block(original)
                forward.append([self._forward_value(v, frame.sweep) for v in outs])
                self._leave(frame)
            after.append(self.cts.scalars)
            blocks.append(block)
        self.cts.scalars = start
        changed = [v for v in outer if any(scalars.get(v) is not start.get(v) for scalars in after)]
        for k, (block, scalars) in enumerate(zip(blocks, after, strict=True)):
            with self.builder.into(block):
                block.yields = forward[k] if split is not None else []
                block.yields += [scalars[v] if v in scalars else self._zero(v) for v in changed]
        copied = self.frame.sweep.nodes[node].results if split is not None else []
        made = self.builder.control("if", [cond], blocks, [v.ty for v in (*copied, *changed)])
        if split is not None:
            self._replace_forward(node, made[: len(copied)], split)
        for value, result in zip(changed, made[len(copied) :], strict=True):
            result.name = f"d{value.name}" if value.name else ""
            self.cts.scalars[value] = result
        for value, ct in late.items():
            if value in self.cts.scalars:
                self.cts.add(value, ct)
            else:
                self.cts.scalars[value] = ct

    def _run_again(self, node: Node, original: Block, frame: Frame) -> None:
        """The forward part of a joint control node, at the start of its reverse block."""
        live, before = self.plan.live[node], frame.sweep
        frame.sweep = Sweep(original, Block(), live)
        for param in original.params:
            if param in frame.provided:
                frame.sweep.values[param] = frame.provided[param]
        with self.builder.into(frame.sweep.target):
            if node in self.slots:
                self._start_from_slot(node, frame)
            elif node in self.plan.state:
                self._start_again(self.plan.state[node], frame, before)
            self._copy_nodes(original, frame.sweep.target, frame.sweep, live)

    def _start_again(self, state: State, frame: Frame, before: Sweep) -> None:
        """Put back the state at the start of a block of iterations, which the sweep `before` has taped."""
        for param in state.carried:
            tape = self._tape(param, before, param.ty, param.name, lambda param=param: before.values[param])  # type: ignore[misc]
            held = tape.read(self._reverse_counters(tape, frame), self.builder)
            held.name = param.name
            frame.sweep.values[param] = held
        for root, marker in state.buffers.items():
            assert isinstance(root.ty, Array)

            def content(root: Value = root) -> Value:
                return memory.copy(self._forward_value(root, before))

            tape = self._tape(root, before, root.ty, root.name, content, key=marker, start_of=frame.original)
            held = tape.read(self._reverse_counters(tape, frame), self.builder)
            frame.restored[root] = held
            self.builder.emit("store", (self.primal(root), held))

    def _put_back(self, state: State, frame: Frame) -> None:
        """What a block of iterations overwrote, and what stands before the loop needs."""
        for root in state.buffers:
            if root in state.put_back:
                self.builder.emit("store", (self.primal(root), frame.restored[root]))

    def _reverse_loop(self, node: Node) -> None:
        if not self._has_flow(node) and not self._holds_saved(node):
            return
        self._ensure_shadows(node)
        body = node.blocks[-1]
        results, inits = carried_results(node), carried_inits(node)
        params, yields = carried_params(node, body), carried_yields(node)
        is_active = self.activity.is_active
        active = [k for k, p in enumerate(params) if can_vary(p) and (is_active(p) or is_active(results[k]))]
        outer = self._outer_scalars(node)
        incoming = {k: self.cts.take(results[k]) for k in active}
        split = self._mergeable(node, list(incoming.values()))
        start, stop, step, backwards = self._reverse_range(node)
        if split is not None:
            backwards = bool(node.attrs.get("reversed"))
        budget = budget_of(node) if node in self.plan.state else None
        if budget is not None:
            self._open_slots(node)
        # A sum that something moved behind the loop contributes to starts anew in the loop.
        begun = {v: self.cts.scalars.get(v) for v in outer}
        late = {v: ct for v, ct in begun.items() if ct is not None and split is not None and ct in split.values}
        initial = [incoming[k] or self._zero(params[k]) for k in active]
        initial += [begun[v] if begun[v] is not None and v not in late else self._zero(v) for v in outer]  # type: ignore[misc]
        block = Block()
        index = Value(WEAK_INT, body.params[0].name if node.op.name == "for" else "")
        carried = [Value(v.ty, f"d{v.name}" if v.name else "") for v in (*(params[k] for k in active), *outer)]
        block.params = [index, *carried]
        forward: list[tuple[Value, Value, Value]] = []
        saved_scalars = self.cts.scalars
        self.cts.scalars = dict(saved_scalars)
        with self.builder.into(block):
            frame = self._enter(body, block)
            if node.op.name == "for":
                frame.provided[body.params[0]] = index
            if split is not None:
                forward = self._run_together(node, body, frame)
            elif node in self.plan.joint:
                self._run_again(node, body, frame)
            self._open_stacks(body)
            for value, param in zip(outer, carried[len(active) :], strict=True):
                self.cts.scalars[value] = param
            for k, param in zip(active, carried, strict=False):
                if can_vary(yields[k]) and self.activity.is_varied(yields[k]):
                    self.cts.add(yields[k], param)
            self._reverse_block(body)
            if node in self.plan.state and budget is None:
                self._put_back(self.plan.state[node], frame)
            block.yields = [self.cts.take(params[k]) or self._zero(params[k]) for k in active]
            block.yields += [self.cts.scalars[v] for v in outer]
            forward_yields = [self._forward_value(out, frame.sweep) for _, out, _ in forward]
            self._leave(frame)
        self.cts.scalars = saved_scalars
        initial = _drop_passed_through(block, initial)
        kept = list(block.params[1:])
        block.params[1:1] = [p for p, _, _ in forward]
        block.yields[:0] = forward_yields
        made = self.builder.control(
            "for",
            [start, stop, step, *(init for _, _, init in forward), *initial],
            [block],
            [p.ty for p in block.params[1:]],
            reversed=backwards,
            **({"checkpoint": STATE} if node in self.plan.state and budget is None else {}),
        )
        if budget is not None:
            self._close_slots(node, budget)
        if split is not None:
            self._replace_forward(node, made[: len(forward)], split)
        finals_of = dict(zip(kept, made[len(forward) :], strict=True))
        finals = [finals_of.get(p) for p in carried]
        for value, final in zip(outer, finals[len(active) :], strict=True):
            if final is not None:
                final.name = f"d{value.name}" if value.name else ""
                self.cts.scalars[value] = final
        for value, ct in late.items():
            if self.cts.scalars[value] is not ct:
                self.cts.add(value, ct)
        for k, final in zip(active, finals, strict=False):
            start_ct = final if final is not None else incoming[k]
            if start_ct is not None and can_vary(inits[k]) and self.activity.is_varied(inits[k]):
                self.cts.add(inits[k], start_ct)

    # ------------------------------------------------------- reverse right after forward, in one node

    def _mergeable(self, node: Node, incoming: list[Value | None]) -> Dependents | None:
        """What has to move behind a joint node so that its reverse can run inside it; None where it cannot."""
        sweep = self.frame.sweep
        if node not in self.plan.joint or node in self.plan.state:
            return None
        if self.structure.block_of[node] is not sweep.block or node not in sweep.nodes:
            return None
        if not order_is_free(node, self.activity, self.structure):
            return None
        if any(self._saves_outside(w, node) for w in self.plan.saved):
            return None
        copy = sweep.nodes[node]
        at = sweep.target.nodes.index(copy)
        after = [*sweep.target.nodes[at + 1 :], *self.frame.header.nodes, *self.frame.block.nodes]
        split = dependents(copy, after)
        if any(ct is not None and ct in split.values for ct in incoming):
            return None
        if any(n in split.moved for n in self.frame.header.nodes) or not can_move(copy, after, split):
            return None
        taken = Effects()
        taken.include(node)
        mine: set[Value] = set()
        for root in taken.reads | taken.writes | taken.adds:
            shadow = self.cts.shadows.get(root)
            if shadow is not None:
                mine.add(shadow.buffer)
                changed = root in taken.adds or root in taken.writes  # then the reverse takes its cotangent
                if shadow.buffer in split.values or (changed and shadow.buffer in split.buffers):
                    return None
        moved = Effects()
        for later in split.moved:
            moved.include(later)
        # What moves behind may add to the buffers that the reverse adds to, and nothing else of them.
        if mine & (moved.reads | moved.writes):
            return None
        made_there = {r for n in split.moved for r in n.results}
        shadows = {s.buffer for s in self.cts.shadows.values()}
        return split if (moved.writes | moved.adds) <= made_there | shadows else None

    def _saves_outside(self, write: Node, node: Node) -> bool:
        """Whether `write` is inside `node` and into a buffer from outside."""
        structure = self.structure
        return structure.node_inside(write, node) and any(
            not structure.is_inside(root, node) for root in roots(write.operands[0])
        )

    def _run_together(self, node: Node, body: Block, frame: Frame) -> list[tuple[Value, Value, Value]]:
        """Put the forward part at the start of the reverse block; (parameter, yield, start) of what is carried.

        The yield is that of the original: the reverse of the block may replace the node that computes its copy.
        """
        outer = frame.parent
        assert outer is not None
        live = outer.sweep.live
        frame.sweep = Sweep(body, Block(), live)
        for param in body.params:
            frame.sweep.values[param] = frame.provided.get(param) or Value(param.ty, param.name, None, param.size)
        with self.builder.into(frame.sweep.target):
            self._copy_nodes(body, frame.sweep.target, frame.sweep, live)
        if node.op.name == "if":
            return []
        kept = self._kept_carried(node, live)
        if kept is None:
            kept = list(range(len(carried_inits(node))))
        values = frame.sweep.values
        inits, yields, params = carried_inits(node), carried_yields(node), carried_params(node, body)
        self.frame = outer
        starts = [self._forward_value(inits[k], outer.sweep) for k in kept]
        self.frame = frame
        return [(values[params[k]], yields[k], starts[i]) for i, k in enumerate(kept)]

    def _replace_forward(self, node: Node, results: list[Value], split: Dependents) -> None:
        """Take the forward node out: its results come from the merged one, and what depends on them moves behind it."""
        sweep, block = self.frame.sweep, self.frame.block
        copy = sweep.nodes[node]
        replaced = dict(zip(copy.results, results, strict=True))
        for old, new in replaced.items():
            new.name, new.size = old.name, old.size
        merged = block.nodes.pop()
        moved = set(split.moved)
        later = [n for n in (*sweep.target.nodes, *block.nodes) if n in moved]
        sweep.target.nodes = [n for n in sweep.target.nodes if n is not copy and n not in moved]
        block.nodes[:] = [*(n for n in block.nodes if n not in moved), merged, *later]
        replace_values(later, replaced)
        for table in (sweep.values, self.cts.scalars, self.frame.provided):
            for key, value in table.items():
                table[key] = replaced.get(value, value)  # type: ignore[index]
        for shadow in self.cts.shadows.values():
            shadow.buffer = replaced.get(shadow.buffer, shadow.buffer)
        self.values = tuple(replaced.get(v, v) for v in self.values)
        sweep.nodes[node] = merged

    def _reverse_range(self, node: Node) -> tuple[Value, Value, Value, bool]:
        """start, stop, step of the reverse loop, and whether it runs them backwards."""
        if node.op.name == "while":
            trips = self.primal(node.results[-1])
            return self.builder.const(0), trips, self.builder.const(1), True
        start, stop, step = (self.primal(v) for v in node.operands[:3])
        backwards = bool(node.attrs.get("reversed"))
        if node.attrs.get("exits"):
            trips = self.primal(node.results[-1])
            if backwards:
                start = start + (trip_count(start, stop, step, self.builder) - trips) * step
            else:
                stop = start + trips * step
        return start, stop, step, not backwards


def _drop_passed_through(block: Block, initial: list[Value]) -> list[Value]:
    """Remove carried parameters that every iteration of a reverse loop yields unchanged: they are their start."""
    replaced: dict[Value, Value] = {}
    params, yields, kept = block.params[:1], [], []
    for param, out, init in zip(block.params[1:], block.yields, initial, strict=True):
        if out is param:
            replaced[param] = init
        else:
            params.append(param)
            yields.append(out)
            kept.append(init)
    if replaced:
        block.params, block.yields = params, [replaced.get(v, v) for v in yields]
        _replace_uses(block, replaced)
    return kept


def _replace_uses(block: Block, replaced: dict[Value, Value]) -> None:
    for node in block.nodes:
        node.operands = [replaced.get(v, v) for v in node.operands]
        for inner in node.blocks:
            inner.yields = [replaced.get(v, v) for v in inner.yields]
            _replace_uses(inner, replaced)
