"""Reverse mode: a function in, a function out that also computes gradients.

    def f(x, a):                     def f_vjp(x, a, ct_0):
        for i in range(n):               forward sweep: the same nodes, residuals put on tapes
            x[i] = x[i] * a              reverse sweep: the same structure backwards
        return x                         return x, dx, da

Three invariants hold (tests/test_ad.py checks each):

memory  at the reverse of a node, every buffer that its rule reads holds what it held when the node ran
shadow  each active buffer has one cotangent buffer, with the same views over it
forks   each use of a value contributes; the first contribution may assign

The plan of `ad/residuals.py` says how residuals reach the reverse sweep; the rules come from the op entries.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Literal

import numpy as np

from gradc.ad.activity import (
    Activity,
    can_vary,
    carried_inits,
    carried_params,
    carried_results,
    carried_yields,
)
from gradc.ad.apply import contributions, read_by_rule
from gradc.ad.cotangents import Cotangents
from gradc.ad.merge import Dependents, Effects, can_move, dependents, order_is_free, replace_values
from gradc.ad.primals import Frame, Primals, Sweep
from gradc.ad.residuals import Planner, contains_active, wanted_operands
from gradc.ad.slices import slice_of
from gradc.ad.structure import Structure
from gradc.ad.tapes import trip_count
from gradc.errors import DTypeError, InternalError
from gradc.ir.builder import Builder
from gradc.ir.effects import own_write, roots, written_params
from gradc.ir.nodes import Block, Func, Node, Value, walk_nodes
from gradc.ir.opdef import TABLE
from gradc.ir.types import WEAK_INT, Array, Scalar, Stack, Type, is_inexact
from gradc.ops import memory


def reverse(
    func: Func,
    wrt: Sequence[int],
    *,
    keep_value: bool = True,
    seeds: Literal["ones", "params"] = "ones",
    outputs: Sequence[int] | None = None,
) -> Func:
    """The function that computes `func` and the gradients of its outputs with respect to parameters `wrt`.

    Parameters: those of `func`; with seeds="params" one cotangent per seeded output follows, named ct_<k>. Results: those of
    `func` if `keep_value`, then one gradient per entry of `wrt`, of the type of that parameter (an array: new, C-contiguous).
    `outputs`: positions of the seeded results (default: all floating-point ones). With seeds="ones" they are seeded with 1.
    Parameters that `func` writes into are copied first.

    Raises: DTypeError where a parameter in `wrt` is not floating point; NonDifferentiableError where an active value passes
    through an op that has no derivative.
    """
    for k in wrt:
        if not is_inexact(func.params[k].ty):
            raise DTypeError(
                f"cannot differentiate with respect to `{func.params[k].name}`, which holds {func.params[k].dtype}",
                func.loc,
                "integers and booleans have no derivative",
                f"{func.params[k].name}.astype(float)",
            )
    if outputs is None:
        outputs = [k for k, r in enumerate(func.results) if is_inexact(r.ty)]
    return Reverser(func, list(wrt), keep_value, seeds, list(outputs)).run()


def guarded_nodes(func: Func) -> set[Node]:
    """Nodes whose value is used, by way of scalars and new arrays, as a side of a `where`: perhaps the one not taken."""
    guarded: set[Node] = set()
    work: list[Value] = []
    for node in walk_nodes(func.body):
        if node.op.name == "where":
            work.extend(node.operands[1:])
    while work:
        node_of = work.pop().node
        if node_of is None or node_of in guarded or node_of.op.kind in ("control", "stack", "read"):
            continue
        guarded.add(node_of)
        work.extend(node_of.operands)
    return guarded


class Reverser(Primals):
    """The state of one reverse-mode transformation."""

    def __init__(self, func: Func, wrt: list[int], keep_value: bool, seeds: str, outputs: list[int]) -> None:
        structure = Structure(func)
        activity = Activity(func, [func.params[k] for k in wrt], [func.results[k] for k in outputs])
        self.guarded = guarded_nodes(func)
        plan = Planner(func, activity, structure, self.guarded).make()
        new = Func(f"{func.name}_vjp", Block(), func.loc, dict(func.notes))
        super().__init__(func, new, Builder(new, checks=False), structure, plan)
        self.activity = activity
        self.wrt = wrt
        self.keep_value = keep_value
        self.seeds = seeds
        self.outputs = outputs
        self._bare: dict[Value, Value] = {}
        self._values: list[Value] = []
        self.cts = Cotangents(self.builder, self.primal, self.shape)

    # ------------------------------------------------------------------------------------------- whole

    def run(self) -> Func:
        """Build the function."""
        front, back = Block(), Block()
        sweep = Sweep(self.func.body, front)
        self.frame = Frame(self.func.body, sweep, back, Block(), None)
        with self.builder:
            with self.builder.into(front):
                self._copy_params(sweep)
                self._copy_nodes(self.func.body, front, sweep, None)
                self._values = [self._result(r, sweep) for r in self.func.results] if self.keep_value else []
            with self.builder.into(back):
                self._seed()
                self._open_stacks(self.func.body)
                self._reverse_block(self.func.body)
                gradients = self._gradients()
        self.new.body.nodes = front.nodes + back.nodes
        self.new.body.yields = self._values + gradients
        self.new.notes["residuals"] = self._describe()
        return self.new

    def _copy_params(self, sweep: Sweep) -> None:
        written = set(written_params(self.func))
        for k, param in enumerate(self.func.params):
            new = Value(param.ty, param.name, None, param.size)
            self.new.params.append(new)
            sweep.values[param] = new
            if k in written:
                held = memory.copy(new)
                held.name = param.name
                sweep.values[param] = held

    def _result(self, result: Value, sweep: Sweep) -> Value:
        """A result of the function: copied where the reverse sweep restores its buffer, or where it is a parameter's."""
        value = self.primal(result)
        if isinstance(result.ty, Array) and any(
            r in self.plan.restored or r in self.func.params for r in roots(result)
        ):
            value = memory.copy(value)
            value.name = result.name
        return value

    def _seed(self) -> None:
        for k in self.outputs:
            result = self.func.results[k]
            if self.seeds == "params":
                ct = Value(_ct_type(result.ty), f"ct_{k}" if len(self.outputs) > 1 else "ct")
                self.new.params.append(ct)
                if self.activity.is_active(result):
                    self.cts.add(result, ct)
            elif self.activity.is_active(result):
                one = self._number(1, result)
                if isinstance(result.ty, Array):
                    one = memory.make_broadcast(one, self.shape(result))
                self.cts.add(result, one, fresh=True)

    def _gradients(self) -> list[Value]:
        found: list[Value] = []
        for k in self.wrt:
            param = self.func.params[k]
            assert isinstance(param.ty, Scalar | Array)
            if isinstance(param.ty, Scalar):
                ct = self.cts.scalars.get(param)
                found.append(ct if ct is not None else self._zero(param))
                continue
            shadow = self.cts.shadows.get(param)
            if shadow is not None and shadow.owned and not any(shadow.buffer is v for v in found):
                found.append(shadow.buffer)
                continue
            gradient = self.cts.ensure(param) if shadow is None else memory.copy(shadow.buffer)
            gradient.name = f"d{param.name}"
            found.append(gradient)
        return found

    def _zero(self, like: Value) -> Value:
        return self._number(0, like)

    def _number(self, number: int, like: Value) -> Value:
        """0 or 1 in the type of the scalar `like`, or in the dtype of an array."""
        assert isinstance(like.ty, Scalar | Array)
        if isinstance(like.ty, Scalar) and like.ty.weak:
            return self.builder.const(complex(number) if like.ty.dtype == "complex128" else float(number))
        return self.builder.const(np.dtype(like.ty.dtype).type(number))

    def _describe(self) -> dict[str, Any]:
        taped = [v.name or "a value" for v, p in self.plan.provision.items() if p == "tape"]
        return {"taped": taped, "saved_writes": len(self.plan.saved), "joint": len(self.plan.joint)}

    # ------------------------------------------------------------------------------------ reverse sweep

    def _reverse_block(self, block: Block) -> None:
        for node in reversed(block.nodes):
            with self.builder.at(replace(node.loc, reverse=True)):
                self._reverse_node(node)

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
        return any(self.structure.node_inside(w, node) for w in self.plan.saved)

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
        made = {id(r) for n in block.nodes[mark:] if n.op.kind != "view" for r in n.results}
        for operand, ct in zip(node.operands, given, strict=True):
            if ct is not None:
                fresh = id(ct) in made and sum(c is ct for c in given) == 1
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
        for made in block.nodes[mark:]:
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
            ct = self._taken(node)
            if ct is not None and can_vary(value) and self.activity.is_varied(value):
                self.cts.add(value, ct, fresh=isinstance(ct.ty, Array))
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
        wants = can_vary(node.operands[1]) and self.activity.is_varied(node.operands[1])
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

    def _restore(self, node: Node) -> None:
        """Put back what the region of a write held before."""
        target = node.operands[0]
        sweep = self._sweep_of(target)
        held = self._saved_content(node, sweep)
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
            self.cts.scalars = dict(start)
            with self.builder.into(block):
                frame = self._enter(original, block)
                if split is not None:
                    self._run_together(node, original, frame)
                    kept = self._kept_carried(node, frame.sweep.live)
                    outs = original.yields if kept is None else [original.yields[k] for k in kept]
                    forward.append([self._forward_value(v, frame.sweep) for v in outs])
                elif node in self.plan.joint:
                    self._run_again(node, original, frame)
                self._open_stacks(original)
                for value, ct in zip(original.yields, cts, strict=True):
                    if ct is not None and can_vary(value) and self.activity.is_varied(value):
                        self.cts.add(value, ct)
                self._reverse_block(original)
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
        seeds = [
            v
            for v in self.plan.needed
            if v in self.structure.def_block and self.structure.is_inside(v, node)
        ]
        live = slice_of(node, seeds, self.structure)
        frame.sweep = Sweep(original, Block(), live)
        for param in original.params:
            if param in frame.provided:
                frame.sweep.values[param] = frame.provided[param]
        with self.builder.into(frame.sweep.target):
            self._copy_nodes(original, frame.sweep.target, frame.sweep, live)

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
            block.yields = [self.cts.take(params[k]) or self._zero(params[k]) for k in active]
            block.yields += [self.cts.scalars[v] for v in outer]
            self._leave(frame)
        self.cts.scalars = saved_scalars
        initial = _drop_passed_through(block, initial)
        kept = list(block.params[1:])
        block.params[1:1] = [p for p, _, _ in forward]
        block.yields[:0] = [y for _, y, _ in forward]
        made = self.builder.control(
            "for",
            [start, stop, step, *(init for _, _, init in forward), *initial],
            [block],
            [p.ty for p in block.params[1:]],
            reversed=backwards,
        )
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
            ct = final if final is not None else incoming[k]
            if ct is not None and can_vary(inits[k]) and self.activity.is_varied(inits[k]):
                self.cts.add(inits[k], ct)

    # ------------------------------------------------------- reverse right after forward, in one node

    def _mergeable(self, node: Node, incoming: list[Value | None]) -> Dependents | None:
        """What has to move behind a joint node so that its reverse can run inside it; None where it cannot."""
        sweep = self.frame.sweep
        if node not in self.plan.joint or self.structure.block_of[node] is not sweep.block or node not in sweep.nodes:
            return None
        if not order_is_free(node, self.activity, self.structure):
            return None
        if any(self.structure.node_inside(w, node) and self._sweep_of(w.operands[0]) is sweep for w in self.plan.saved):
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
                if shadow.buffer in split.values or (root in taken.adds and shadow.buffer in split.buffers):
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

    def _run_together(self, node: Node, body: Block, frame: Frame) -> list[tuple[Value, Value, Value]]:
        """The whole forward part of a node at the start of its reverse block; (parameter, yield, start) of what it carries."""
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
        return [(values[params[k]], self._forward_value(yields[k], frame.sweep), starts[i]) for i, k in enumerate(kept)]

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
            for key, value in table.items():  # type: ignore[attr-defined]
                table[key] = replaced.get(value, value)  # type: ignore[index]
        for shadow in self.cts.shadows.values():
            shadow.buffer = replaced.get(shadow.buffer, shadow.buffer)
        self._values = [replaced.get(v, v) for v in self._values]
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


def _takes_broadcast(node: Node, wanted: list[bool]) -> bool:
    """Whether a cotangent that still has to be broadcast does for the rule of `node`: every operand has the result's shape."""
    if node.op.partials is None or len(node.results) != 1:
        return False
    shape = node.result.shape
    return all(
        len(v.shape) == len(shape) and all((a == 1) == (b == 1) for a, b in zip(v.shape, shape, strict=True))
        for v, w in zip(node.operands, wanted, strict=True)
        if w
    )


def _ct_type(ty: Type) -> Type:
    return Array(ty.dtype, ty.shape) if isinstance(ty, Array) else ty


def _prune(block: Block, mark: int, wanted: list[Value]) -> None:
    """Drop the nodes from `mark` on that no wanted value depends on: rules build more than one call uses."""
    live = {id(v) for v in wanted}
    kept: list[Node] = []
    for node in reversed(block.nodes[mark:]):
        if node.op.kind in ("write", "stack", "check", "control") or any(id(r) in live for r in node.results):
            live.update(id(v) for v in node.operands)
            kept.append(node)
    block.nodes[mark:] = kept[::-1]


def _drop_passed_through(block: Block, initial: list[Value]) -> list[Value]:
    """Remove carried parameters of a reverse loop that every iteration yields unchanged: they are their initial value."""
    replaced: dict[int, Value] = {}
    params, yields, kept = block.params[:1], [], []
    for param, out, init in zip(block.params[1:], block.yields, initial, strict=True):
        if out is param:
            replaced[id(param)] = init
        else:
            params.append(param)
            yields.append(out)
            kept.append(init)
    if replaced:
        block.params, block.yields = params, [replaced.get(id(v), v) for v in yields]
        _replace_uses(block, replaced)
    return kept


def _replace_uses(block: Block, replaced: dict[int, Value]) -> None:
    for node in block.nodes:
        node.operands = [replaced.get(id(v), v) for v in node.operands]
        for inner in node.blocks:
            inner.yields = [replaced.get(id(v), v) for v in inner.yields]
            _replace_uses(inner, replaced)


__all__ = ["Reverser", "Stack", "guarded_nodes", "reverse"]
