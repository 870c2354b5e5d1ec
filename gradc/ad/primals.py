"""Primal values in the reverse sweep: the copy of the forward sweep, frames, and how each residual is provided.

A `Sweep` is a forward sweep: of the whole function, or of a joint control node's block, which runs again at the
start of its reverse. A `Frame` is a block of the reverse sweep under construction. `primal(value)` finds a value of
the forward sweep at the current place: the copy itself where it is in scope, else what the residual plan says.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from gradc.ad.activity import carried_inits, carried_params, carried_results
from gradc.ad.plan import Plan, induction_of
from gradc.ad.slices import Slice
from gradc.ad.structure import Structure
from gradc.ad.tapes import (
    BLOCK,
    Sizes,
    Tape,
    axes_of,
    iteration_number,
    trip_count,
    values_before,
    written_size,
)
from gradc.errors import InternalError
from gradc.ir.builder import Builder
from gradc.ir.effects import own_reads, roots
from gradc.ir.nodes import Block, Func, Node, Value
from gradc.ir.opdef import TABLE
from gradc.ir.region import Region
from gradc.ir.types import WEAK_INT, Array, Scalar, Type
from gradc.ops import memory


@dataclass(eq=False)
class Sweep:
    """A forward sweep and where its copy stands: of the whole function, or of a joint control node's block."""

    block: Block  # of the original function
    target: Block  # where the copy's nodes are
    live: Slice | None = None  # what was copied; None: everything
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
    sizes: dict[tuple[Value, int], Value] = field(default_factory=dict)
    restored: dict[Value, Value] = field(default_factory=dict)  # what the state of a loop in blocks was restored from


class Primals:
    """What the reverse sweep knows of the forward sweep; `new` is the function under construction."""

    frame: Frame
    reversing: Node | None = None  # whose reverse is being built

    def __init__(self, func: Func, new: Func, builder: Builder, structure: Structure, plan: Plan) -> None:
        self.func = func
        self.new = new
        self.builder = builder
        self.structure = structure
        self.plan = plan
        self.tapes: list[Tape] = []

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
        if provision == "stored":
            return self._read_where_stored(value, self.plan.stored[value], frame)
        node = value.node
        induction = induction_of(value, self.structure) if node is None and provision == "recompute" else None
        if induction is not None:
            init, amount, start, stop, step, index = (self.primal(v) for v in induction)
            number = iteration_number(index, start, step)
            owner = self.structure.owner_of[self.structure.def_block[value]]
            if owner is not None and owner.attrs.get("reversed"):  # the last index came first
                number = trip_count(start, stop, step, self.builder) - 1 - number
            made = init + (number if _is_one(amount) else number * amount)
            frame.provided[value] = made
            return made
        if node is None or (provision != "recompute" and node.op.kind not in ("view", "query")):
            raise InternalError(f"nothing provides {value!r} in the reverse sweep", self.builder.loc)
        planned = self.reversing is None or self.reversing in self.plan.needed.get(value, ())
        if not planned and self._reads_written(node):  # what it reads need not be back yet
            raise InternalError(f"{value!r} is computed anew where that was not planned", self.builder.loc)
        if frame is self.frame:
            made = self._recompute(node, value)
        else:
            here, self.frame = self.frame, frame
            with self.builder.into(frame.block):
                made = self._recompute(node, value)
            self.frame = here
        frame.provided[value] = made
        return made

    def _read_where_stored(self, value: Value, write: Node, frame: Frame) -> Value:
        """What a write has put into a buffer, at the start of the reverse of its block."""
        here, self.frame = self.frame, frame
        with self.builder.into(frame.header):
            target, *index = (self._anew(v) for v in (write.operands[0], *write.operands[2:]))
            if write.op.name == "store":
                made: Value = memory.copy(target)
            else:
                made = self.builder.add(TABLE["load"], (target, *index), {"region": write.attrs["region"]})
                if isinstance(value.ty, Scalar) and value.ty.weak:
                    made = self.builder.emit("cast", (made,), dtype=value.dtype, weak=True)
        self.frame = here
        made.name, made.size = value.name, value.size
        frame.provided[value] = made
        return made

    def _anew(self, value: Value) -> Value:
        """A view, or a number that says where one is, made from what is at hand at the start of the current frame."""
        node, home = value.node, self.structure.def_block.get(value)
        frame: Frame | None = self.frame
        while frame is not None and frame.sweep.block is not home:
            frame = frame.parent
        if node is None or node.op.name == "const" or (frame is not None and node.op.kind != "view"):
            return self.primal(value)
        copy = Node(node.op, [self._anew(v) for v in node.operands], [], dict(node.attrs), [], node.loc)
        made = Value(value.ty, value.name, copy, value.size)
        copy.results.append(made)
        self.builder.block.nodes.append(copy)
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
        if self._can_place(value):
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

    def _can_place(self, value: Value) -> bool:
        """Whether the value is at hand, or can be made again at any place: from what nothing writes into."""
        if self._at_hand(value):
            return True
        node = value.node
        if node is not None and node.op.name == "const":
            return True
        if node is None or node.op.kind != "view":
            provision = self.plan.provision.get(value)
            if node is None or provision != "recompute":
                return provision is not None
            # The sweep may not have put back yet what the value was computed from.
            return not self._reads_written(node) and all(self._can_place(v) for v in node.operands)
        return all(
            self._can_place(v)
            if not isinstance(v.ty, Array) or v.node is not None and v.node.op.kind == "view"
            else self._at_hand(v)
            for v in node.operands
        )

    def _reads_written(self, node: Node) -> bool:
        """Whether a node reads a buffer that the function writes into."""
        return any(root in self.structure.writes_to for array in own_reads(node) for root in roots(array))

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
        # A sweep that runs a part of the block again may lack the value; the one around it has all of the block.
        outer = frame
        while outer is not None and (outer.sweep.block is home or value not in outer.sweep.values):
            outer = outer.parent
        if frame is None or outer is None:
            raise InternalError(f"the shape of {value!r} is out of reach", self.builder.loc)
        held = frame.sizes.get((value, axis))
        if held is not None:
            return held
        marker = Value(WEAK_INT, f"{value.name}_size")
        sweep = outer.sweep
        tape = self._tape(
            value, sweep, WEAK_INT, marker.name, lambda: memory.dim(sweep.values[value], axis=axis), key=marker
        )
        with self.builder.into(frame.header):
            size = tape.read(self._reverse_counters(tape, frame), self.builder)
        frame.sizes[(value, axis)] = size
        return size

    # -------------------------------------------------------------------------------------------- tapes

    def _tape(
        self,
        value: Value | Node,
        sweep: Sweep,
        item: Type,
        name: str,
        make: Callable[[], Value],
        key: Value | None = None,
        start_of: Block | None = None,
    ) -> Tape:
        """The tape of a value (written where the value is complete), or of what `make` builds just before a node.

        `start_of`: of what `make` builds at the start of this block.
        """
        held = sweep.tapes.get(key or value)
        if held is not None:
            return held
        assert isinstance(item, Scalar | Array)
        structure = self.structure
        home = structure.block_of[value] if isinstance(value, Node) else structure.def_block[value]
        if start_of is not None:
            home = start_of
        outermost = [n for n in structure.owners(home) if structure.encloses(sweep.block, structure.block_of[n])]
        loops = [n for n in outermost if n.op.name != "if"]
        anchor = sweep.nodes[outermost[0]]
        before = Block()
        with self.builder.into(before):
            storage, dense = self._allocate(item, loops, outermost[0], sweep)
        storage.name = f"{name or 'value'}_tape"
        at = sweep.target.nodes.index(anchor)
        sweep.target.nodes[at:at] = before.nodes
        tape = Tape(storage, item, axes_of(loops, structure) if dense else None)
        sweep.tapes[key or value] = tape
        self.tapes.append(tape)
        # Where the value is complete: after its node; at the end of the block for a buffer that the block writes into.
        target = sweep.blocks[home]
        writing = Block()
        with self.builder.into(writing):
            made = make()
            counters = [self._forward_counter(axis, sweep) for axis in tape.axes or ()]
            tape.write(made, counters, self.builder)
        if start_of is not None:
            position = 0
        elif isinstance(value, Node):
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

        def in_scope(value: Value) -> bool:
            return not structure.is_inside(value, outermost) and (
                value in sweep.values or structure.def_block[value] is not sweep.block
            )

        def reachable(value: Value) -> bool:
            size = written_size(value)
            return in_scope(value) or size is not None and known.knows(size)

        def here(value: Value) -> Value:
            if in_scope(value):
                return self._forward_value(value, sweep)
            size = written_size(value)  # it stands further inside: `for i in range(len(u))` in a loop
            assert size is not None
            made = known.value(size, self.builder)
            return self.builder.const(made) if isinstance(made, int) else made

        axes = axes_of(loops, structure)
        dense = bool(loops) and all(n.op.name == "for" and not n.attrs.get("exits") for n in loops)
        dense = dense and all(reachable(v) for axis in axes for v in axis[0].operands[:3])
        dense = dense and all(isinstance(s, int) or known.knows(s) for s in item.shape)
        if not dense:
            stack: Value = self.builder.add(TABLE["stack_new"], (), {"item": item})
            return stack, False
        sizes: list[int | Value] = []
        for loop, *within in axes:
            around = structure.owner_of[structure.block_of[loop]]
            start, stop, step = (here(v) for v in loop.operands[:3])
            if within:
                sizes.append(stop)
            elif loop.attrs.get("checkpoint") == BLOCK and around is not None and reachable(around.operands[2]):
                sizes.append(here(around.operands[2]))
            else:
                count = trip_count(start, stop, step, self.builder)
                if loop in self.plan.state:
                    count.name = "blocks"
                sizes.append(count)
        sizes += [known.value(s, self.builder) for s in item.shape]
        return memory.make_zeros(sizes, item.dtype, filled=False), True

    def _forward_counter(self, axis: tuple[Node, ...], sweep: Sweep) -> Value:
        copy = sweep.nodes[axis[-1]]
        number = iteration_number(copy.blocks[-1].params[0], copy.operands[0], copy.operands[2])
        return number if len(axis) == 1 else sweep.nodes[axis[0]].blocks[-1].params[0] + number

    def _reverse_counters(self, tape: Tape, frame: Frame) -> list[Value]:
        found: list[Value] = []
        here, self.frame = self.frame, frame
        for outer, *within in tape.axes or ():
            loop = within[0] if within else outer
            index = self.primal(loop.blocks[-1].params[0])
            start, step = self.primal(loop.operands[0]), self.primal(loop.operands[2])
            number = iteration_number(index, start, step)
            found.append(self.primal(outer.blocks[-1].params[0]) + number if within else number)
        self.frame = here
        return found

    # ----------------------------------------------------------------------------------- saved regions

    def _sweep_of(self, write: Node) -> Sweep:
        """The forward sweep that saves what a write overwrites: the innermost one that runs it."""
        frame: Frame | None = self.frame
        while frame is not None and write not in frame.sweep.nodes:
            frame = frame.parent
        if frame is None:
            raise InternalError("a write that is undone is in no forward sweep", write.loc)
        return frame.sweep

    def _saved_content(self, node: Node, sweep: Sweep) -> Value:
        """What the region of a write held before the write, saved in the forward sweep."""
        copy = sweep.nodes[node]
        target, name = copy.operands[0], node.op.name
        region: Region = copy.attrs.get("region", ())

        def read() -> Value:
            if name in ("store", "accumulate"):
                return memory.copy(target)
            if name in ("store_at", "accumulate_at"):
                return TABLE["load"](target, *copy.operands[2:], region=region)
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
        if tape.axes is None and frame is not self.frame:
            raise InternalError("a saved region is read outside its block", node.loc)
        return tape.read(self._reverse_counters(tape, frame), self.builder)

    # ------------------------------------------------------------------------------------------- frames

    def _enter(self, original: Block, block: Block, sweep: Sweep | None = None) -> Frame:
        self.frame = Frame(original, sweep or self.frame.sweep, block, Block(), self.frame)
        return self.frame

    def _leave(self, frame: Frame) -> None:
        again = frame.sweep.target.nodes if frame.sweep.block is frame.original else []
        frame.block.nodes[:0] = again + frame.header.nodes
        assert frame.parent is not None
        self.frame = frame.parent


def _is_one(value: Value) -> bool:
    return value.node is not None and value.node.op.name == "const" and bool(value.node.attrs["value"] == 1)


def _base_name(value: Value) -> str:
    while value.node is not None and value.node.op.kind == "view" and not value.name:
        value = value.node.operands[0]
    return value.name or "buffer"
