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

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
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
from gradc.ad.residuals import Plan, Planner, contains_active, wanted_operands
from gradc.ad.slices import Slice, slice_of
from gradc.ad.structure import Structure
from gradc.ad.tapes import Sizes, Tape, iteration_number, trip_count, values_before
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


@dataclass(eq=False)
class Sweep:
    """A forward sweep and where its copy stands: of the whole function, or of a joint control node's block."""

    block: Block  # of the original function
    target: Block  # where the copy's nodes are
    values: dict[Value, Value] = field(default_factory=dict)
    nodes: dict[Node, Node] = field(default_factory=dict)
    blocks: dict[Block, Block] = field(default_factory=dict)
    tapes: dict[Value | Node, Tape] = field(default_factory=dict)


@dataclass(eq=False)
class Frame:
    """A block of the reverse sweep under construction; `header` goes before everything else in it."""

    original: Block
    sweep: Sweep
    block: Block
    header: Block
    parent: Frame | None
    provided: dict[Value | Node, Value] = field(default_factory=dict)


class Reverser:
    """The state of one reverse-mode transformation."""

    def __init__(self, func: Func, wrt: list[int], keep_value: bool, seeds: str, outputs: list[int]) -> None:
        self.func = func
        self.wrt = wrt
        self.keep_value = keep_value
        self.seeds = seeds
        self.outputs = outputs
        self.structure = Structure(func)
        self.activity = Activity(func, [func.params[k] for k in wrt], [func.results[k] for k in outputs])
        self.guarded = guarded_nodes(func)
        self.plan: Plan = Planner(func, self.activity, self.structure, self.guarded).make()
        self.new = Func(f"{func.name}_vjp", Block(), func.loc, dict(func.notes))
        self.builder = Builder(self.new, checks=False)
        self.cts = Cotangents(self.builder, self.primal, self.shape)
        self.frame: Frame = None  # type: ignore[assignment]  # set by run() before anything reads it
        self.joint_loops: list[tuple[Node, Node, Sweep]] = []

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
                values = [self._result(r, sweep) for r in self.func.results] if self.keep_value else []
            with self.builder.into(back):
                self._seed()
                self._open_stacks(self.func.body)
                self._reverse_block(self.func.body)
                gradients = self._gradients()
        self.new.body.nodes = front.nodes + back.nodes
        self.new.body.yields = values + gradients
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

    # ------------------------------------------------------------------------------------ forward sweep

    def _copy_nodes(self, block: Block, target: Block, sweep: Sweep, live: Slice | None) -> None:
        """Copy the nodes of `block` (those in `live`, if given) to the end of `target`."""
        sweep.blocks[block] = target
        for node in block.nodes:
            if live is None or node in live.nodes:
                target.nodes.append(self._copy_node(node, sweep, live))

    def _copy_node(self, node: Node, sweep: Sweep, live: Slice | None) -> Node:
        keep = self._kept_carried(node, live)
        operands = node.operands
        results = node.results
        if keep is not None:
            first = 3 if node.op.name == "for" else 0
            operands = [*operands[:first], *(operands[first + k] for k in keep)] if node.op.name != "if" else operands
            count = len(results) if node.op.name == "if" else len(carried_inits(node))
            results = [*(results[k] for k in keep), *results[count:]]
        copy = Node(node.op, [self._forward_value(v, sweep) for v in operands], [], dict(node.attrs), [], node.loc)
        for block in node.blocks:
            inner = Block()
            params = block.params
            if keep is not None and node.op.name != "if":
                index = params[:1] if node.op.name == "for" else []
                carried = carried_params(node, block)
                params = [*index, *(carried[k] for k in keep)]
            for param in params:
                sweep.values[param] = Value(param.ty, param.name, None, param.size)
                inner.params.append(sweep.values[param])
            self._copy_nodes(block, inner, sweep, live)
            yields = block.yields
            if keep is not None:
                is_cond = node.op.name == "while" and block is node.blocks[0]
                lead = 1 if is_cond else (1 if node.attrs.get("exits") else 0)
                yields = yields[:1] if is_cond else [*yields[:lead], *(yields[lead + k] for k in keep)]
            inner.yields = [self._forward_value(v, sweep) for v in yields]
            copy.blocks.append(inner)
        for old in results:
            new = Value(old.ty, old.name, copy, old.size)
            sweep.values[old] = new
            copy.results.append(new)
        sweep.nodes[node] = copy
        return copy

    def _kept_carried(self, node: Node, live: Slice | None) -> list[int] | None:
        """Which carried values (results, for an `if`) of a control node a partial copy keeps; None: all."""
        if live is None or node.op.kind != "control":
            return None
        if node.op.name == "if":
            return [k for k, r in enumerate(node.results) if r in live.values]
        kept = []
        for k, result in enumerate(carried_results(node)):
            if result in live.values or any(carried_params(node, b)[k] in live.values for b in node.blocks):
                kept.append(k)
        return kept

    def _forward_value(self, value: Value, sweep: Sweep) -> Value:
        held = sweep.values.get(value)
        if held is not None:
            return held
        node = value.node
        if node is not None and node.op.name == "const":
            return self.builder.const(node.attrs["value"])
        return self.primal(value)

    # ------------------------------------------------------------------------------------------ primals

    def primal(self, value: Value) -> Value:
        """A value of the forward sweep, at the current place of the reverse sweep."""
        node = value.node
        if node is not None and node.op.name == "const":
            return self.builder.const(node.attrs["value"])
        home = self.structure.def_block[value]
        frame: Frame | None = self.frame
        while frame is not None:
            if value in frame.provided:
                return frame.provided[value]
            if frame.original is home or frame.sweep.block is home:
                break
            frame = frame.parent
        if frame is None:
            raise InternalError(f"{value!r} is out of scope in the reverse sweep", self.builder.loc)
        if frame.sweep.block is home:
            held = frame.sweep.values.get(value)
            if held is not None:
                return held
            if node is None or node.op.kind not in ("view", "query"):
                raise InternalError(f"{value!r} is not in the slice that was run again", self.builder.loc)
        return self._provide(value, frame)

    def _provide(self, value: Value, frame: Frame) -> Value:
        provision = self.plan.provision.get(value)
        if provision == "escape":
            made = self._escape(value, frame.sweep)
            frame.provided[value] = made
            return made
        if provision == "tape":
            tape = self._tape(value, frame.sweep, value.ty, value.name, lambda: frame.sweep.values[value])
            with self.builder.into(frame.header):
                made = tape.read(self._reverse_counters(tape, frame), self.builder)
            made.name, made.size = value.name, value.size
            frame.provided[value] = made
            return made
        node = value.node
        if node is None or (provision != "recompute" and node.op.kind not in ("view", "query")):
            raise InternalError(f"nothing provides {value!r} in the reverse sweep", self.builder.loc)
        if frame is self.frame:
            made = self._recompute(node, value)
        else:
            here, self.frame = self.frame, frame
            with self.builder.into(frame.block):
                made = self._recompute(node, value)
            self.frame = here
        frame.provided[value] = made
        return made

    def _recompute(self, node: Node, value: Value) -> Value:
        operands = [self.primal(v) for v in node.operands]
        copy = Node(node.op, operands, [], dict(node.attrs), [], node.loc)
        made = Value(value.ty, value.name, copy, value.size)
        copy.results.append(made)
        self.builder.block.nodes.append(copy)
        return made

    def _escape(self, value: Value, sweep: Sweep) -> Value:
        """Carry a scalar out of the `if`s around it, by one more result of each."""
        inner = sweep.values[value]
        for owner in reversed(self.structure.owners(self.structure.def_block[value])):
            if not self.structure.encloses(sweep.block, self.structure.block_of[owner]):
                break
            copy = sweep.nodes[owner]
            for original, block in zip(owner.blocks, copy.blocks, strict=True):
                if self.structure.encloses(original, self.structure.def_block[value]):
                    block.yields.append(inner)
                else:
                    with self.builder.into(block):
                        block.yields.append(self.builder.add(TABLE["undef"], (), {"type": value.ty}))
            inner = Value(value.ty, value.name, copy, value.size)
            copy.results.append(inner)
        return inner

    def shape(self, value: Value) -> list[int | Value]:
        """The sizes of an array of the forward sweep, at the current place of the reverse sweep."""
        sizes = [self.builder.canonical_size(s) for s in value.shape]
        if all(isinstance(s, int) for s in sizes):
            return [s for s in sizes if isinstance(s, int)]
        if self._at_hand(value):
            return memory.shape_values(self.primal(value))
        scope = Sizes(self._scope())
        found: list[int | Value] = []
        for axis, size in enumerate(sizes):
            found.append(scope.value(size, self.builder) if scope.knows(size) else self._taped_size(value, axis))
        return found

    def _at_hand(self, value: Value) -> bool:
        home = self.structure.def_block[value]
        frame: Frame | None = self.frame
        while frame is not None:
            if value in frame.provided:
                return True
            if frame.sweep.block is home:
                return value in frame.sweep.values
            frame = frame.parent
        return False

    def _scope(self) -> list[Value]:
        """Values of the new function that are in scope now and have sizes."""
        found: list[Value] = list(self.new.params)
        frame: Frame | None = self.frame
        while frame is not None:
            found.extend(frame.provided.values())
            home = frame.sweep.block
            found.extend(v for v in (frame.sweep.values.get(o) for o in values_before(home, None)) if v is not None)
            frame = frame.parent
        return found

    def _taped_size(self, value: Value, axis: int) -> Value:
        """The size of an array whose shape is known only where it is made: taped as an integer."""
        home = self.structure.def_block[value]
        frame: Frame | None = self.frame
        while frame is not None and frame.original is not home:
            frame = frame.parent
        if frame is None:
            raise InternalError(f"the shape of {value!r} is out of reach", self.builder.loc)
        marker = Value(WEAK_INT, f"{value.name}_size")
        sweep = frame.sweep
        tape = self._tape(
            value, sweep, WEAK_INT, marker.name, lambda: memory.dim(sweep.values[value], axis=axis), key=marker
        )
        with self.builder.into(frame.header):
            return tape.read(self._reverse_counters(tape, frame), self.builder)

    # -------------------------------------------------------------------------------------------- tapes

    def _tape(
        self,
        value: Value | Node,
        sweep: Sweep,
        item: Type,
        name: str,
        make: Callable[[], Value],
        key: Value | None = None,
    ) -> Tape:
        """The tape of a value (written where the value is complete), or of what `make` builds just before a node."""
        held = sweep.tapes.get(key or value)
        if held is not None:
            return held
        assert isinstance(item, Scalar | Array)
        structure = self.structure
        home = structure.block_of[value] if isinstance(value, Node) else structure.def_block[value]
        outermost = [n for n in structure.owners(home) if structure.encloses(sweep.block, structure.block_of[n])]
        loops = [n for n in outermost if n.op.name != "if"]
        anchor = sweep.nodes[outermost[0]]
        before = Block()
        with self.builder.into(before):
            storage, dense = self._allocate(item, loops, outermost[0], sweep)
        storage.name = f"{name or 'value'}_tape"
        at = sweep.target.nodes.index(anchor)
        sweep.target.nodes[at:at] = before.nodes
        tape = Tape(storage, item, tuple(loops) if dense else None)
        sweep.tapes[key or value] = tape
        # Where the value is complete: after its node; at the end of the block for a buffer that the block writes into.
        target = sweep.blocks[home]
        writing = Block()
        with self.builder.into(writing):
            made = make()
            counters = [self._forward_counter(n, sweep) for n in loops] if dense else []
            tape.write(made, counters, self.builder)
        if isinstance(value, Node):
            position = target.nodes.index(sweep.nodes[value])
        elif value in structure.writes_to and key is None:
            position = len(target.nodes)
        elif value.node is None:
            position = 0
        else:
            position = target.nodes.index(sweep.nodes[value.node]) + 1
        target.nodes[position:position] = writing.nodes
        return tape

    def _allocate(self, item: Scalar | Array, loops: list[Node], outermost: Node, sweep: Sweep) -> tuple[Value, bool]:
        """Storage for a tape, built before the outermost control node: dense where everything is known there."""
        structure = self.structure
        known = Sizes(
            [
                *self.new.params,
                *(sweep.values[v] for v in values_before(sweep.block, outermost) if v in sweep.values),
            ]
        )

        def reachable(value: Value) -> bool:
            if value.node is not None and value.node.op.name == "const":
                return True
            return not structure.is_inside(value, outermost) and (
                value in sweep.values or structure.def_block[value] is not sweep.block
            )

        dense = bool(loops) and all(
            n.op.name == "for" and not n.attrs.get("exits") and all(reachable(v) for v in n.operands[:3])
            for n in loops
        )
        dense = dense and all(isinstance(s, int) or known.knows(s) for s in item.shape)
        if not dense:
            stack: Value = self.builder.add(TABLE["stack_new"], (), {"item": item})
            return stack, False
        sizes: list[int | Value] = []
        for loop in loops:
            start, stop, step = (self._forward_value(v, sweep) for v in loop.operands[:3])
            sizes.append(trip_count(start, stop, step, self.builder))
        sizes += [known.value(s, self.builder) for s in item.shape]
        return memory.make_zeros(sizes, item.dtype, filled=False), True

    def _forward_counter(self, loop: Node, sweep: Sweep) -> Value:
        copy = sweep.nodes[loop]
        return iteration_number(copy.blocks[-1].params[0], copy.operands[0], copy.operands[2])

    def _reverse_counters(self, tape: Tape, frame: Frame) -> list[Value]:
        found: list[Value] = []
        here, self.frame = self.frame, frame
        for loop in tape.loops or ():
            index = self.primal(loop.blocks[-1].params[0])
            start, step = self.primal(loop.operands[0]), self.primal(loop.operands[2])
            found.append(iteration_number(index, start, step))
        self.frame = here
        return found

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
        cts = [self.cts.take(r) for r in node.results]
        if all(ct is None for ct in cts):
            return
        wanted = wanted_operands(node, self.activity)
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
        if isinstance(value.ty, Array):
            made = memory.make_zeros(self.shape(value), value.dtype, filled=False)
            made.ty = value.ty
            return made
        return self.builder.add(TABLE["undef"], (), {"type": value.ty})  # type: ignore[no-any-return]

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

    def _sweep_of(self, target: Value) -> Sweep:
        """The forward sweep that holds the buffer: the outermost one, where the reference may name several."""
        best: Frame | None = None
        for root in roots(target):
            home = self.structure.def_block[root]
            frame: Frame | None = self.frame
            while frame is not None and not self.structure.encloses(frame.sweep.block, home):
                frame = frame.parent
            if frame is not None and (best is None or self.structure.encloses(frame.sweep.block, best.sweep.block)):
                best = frame
        if best is None:
            raise InternalError("a written buffer is out of scope in the reverse sweep", self.builder.loc)
        return best.sweep

    def _saved_content(self, node: Node, sweep: Sweep) -> Value:
        """What the region of a write held before the write, saved in the forward sweep."""
        copy = sweep.nodes[node]
        target, name = copy.operands[0], node.op.name
        region = copy.attrs.get("region")

        def read() -> Value:
            if name in ("store", "accumulate"):
                return memory.copy(target)
            if name in ("store_at", "accumulate_at"):
                return TABLE["load"](target, *copy.operands[2:], region=region)  # type: ignore[no-any-return]
            if name in ("scatter", "scatter_add"):
                return memory.make_gather(target, region, *copy.operands[2:])
            return memory.make_mask_select(target, copy.operands[2])

        label = f"{_base_name(target)}_old"
        if self.structure.block_of[node] is sweep.block:
            reading = Block()
            with self.builder.into(reading):
                held = read()
            held.name = label
            at = sweep.target.nodes.index(copy)
            sweep.target.nodes[at:at] = reading.nodes
            return held
        probe = Block()
        with self.builder.into(probe):
            item = read().ty
        tape = self._tape(node, sweep, item, label, read)
        frame = self.frame
        home = self.structure.block_of[node]
        while frame.original is not home:
            assert frame.parent is not None
            frame = frame.parent
        if tape.loops is None and frame is not self.frame:
            raise InternalError("a saved region is read outside its block", node.loc)
        return tape.read(self._reverse_counters(tape, frame), self.builder)

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

    def _enter(self, original: Block, block: Block, sweep: Sweep | None = None) -> Frame:
        self.frame = Frame(original, sweep or self.frame.sweep, block, Block(), self.frame)
        return self.frame

    def _leave(self, frame: Frame) -> None:
        again = frame.sweep.target.nodes if frame.sweep.block is frame.original else []
        frame.block.nodes[:0] = again + frame.header.nodes
        assert frame.parent is not None
        self.frame = frame.parent

    def _reverse_if(self, node: Node) -> None:
        if not self._has_flow(node) and not self._holds_saved(node):
            return
        self._ensure_shadows(node)
        cond = self.primal(node.operands[0])
        cts = [self.cts.take(r) for r in node.results]
        outer = self._outer_scalars(node)
        before = dict(self.cts.scalars)
        blocks: list[Block] = []
        after: list[dict[Value, Value]] = []
        for original in node.blocks:
            block = Block()
            self.cts.scalars = dict(before)
            with self.builder.into(block):
                frame = self._enter(original, block)
                if node in self.plan.joint:
                    self._run_again(node, original, frame)
                self._open_stacks(original)
                for value, ct in zip(original.yields, cts, strict=True):
                    if ct is not None and can_vary(value) and self.activity.is_varied(value):
                        self.cts.add(value, ct)
                self._reverse_block(original)
                self._leave(frame)
            after.append(self.cts.scalars)
            blocks.append(block)
        self.cts.scalars = before
        changed = [v for v in outer if any(scalars.get(v) is not before.get(v) for scalars in after)]
        for block, scalars in zip(blocks, after, strict=True):
            with self.builder.into(block):
                block.yields = [scalars[v] if v in scalars else self._zero(v) for v in changed]
        results = self.builder.control("if", [cond], blocks, [v.ty for v in changed])
        for value, result in zip(changed, results, strict=True):
            result.name = f"d{value.name}" if value.name else ""
            self.cts.scalars[value] = result
        if node in self.plan.joint:
            self.joint_loops.append((node, self.builder.block.nodes[-1], self.frame.sweep))

    def _run_again(self, node: Node, original: Block, frame: Frame) -> None:
        """The forward part of a joint control node, at the start of its reverse block."""
        seeds = [
            v
            for v in self.plan.needed
            if v in self.structure.def_block and self.structure.is_inside(v, node)
        ]
        live = slice_of(node, seeds, self.structure)
        frame.sweep = Sweep(original, Block())
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
        active = [
            k for k, p in enumerate(params) if can_vary(p) and (self.activity.is_active(p) or self.activity.is_active(results[k]))
        ]
        start, stop, step, backwards = self._reverse_range(node)
        incoming = {k: self.cts.take(results[k]) for k in active}
        outer = self._outer_scalars(node)
        carried_types = [params[k].ty for k in active] + [v.ty for v in outer]
        initial = [incoming[k] or self._zero(params[k]) for k in active]
        initial += [self.cts.scalars.get(v) or self._zero(v) for v in outer]
        block = Block()
        has_index = node.op.name == "for"
        index = Value(WEAK_INT, body.params[0].name if has_index else "", None, None)
        carried = [Value(ty) for ty in carried_types]
        block.params = [index, *carried]
        for value, param in zip([*(params[k] for k in active), *outer], carried, strict=True):
            param.name = f"d{value.name}" if value.name else ""
        saved_scalars = self.cts.scalars
        self.cts.scalars = dict(saved_scalars)
        with self.builder.into(block):
            frame = self._enter(body, block)
            if has_index:
                frame.provided[body.params[0]] = index
            if node in self.plan.joint:
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
        made = self.builder.control(
            "for", [start, stop, step, *initial], [block], [p.ty for p in block.params[1:]], reversed=backwards
        )
        kept = {id(p): r for p, r in zip(block.params[1:], made, strict=True)}
        finals = [kept.get(id(p)) for p in carried]
        for value, final in zip(outer, finals[len(active) :], strict=True):
            if final is not None:
                final.name = f"d{value.name}" if value.name else ""
                self.cts.scalars[value] = final
        for k, final in zip(active, finals, strict=False):
            ct = final if final is not None else incoming[k]
            if ct is not None and can_vary(inits[k]) and self.activity.is_varied(inits[k]):
                self.cts.add(inits[k], ct)

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


def _ct_type(ty: Type) -> Type:
    return Array(ty.dtype, ty.shape) if isinstance(ty, Array) else ty


def _base_name(value: Value) -> str:
    while value.node is not None and value.node.op.kind == "view" and not value.name:
        value = value.node.operands[0]
    return value.name or "buffer"


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
