"""The reverse of loops in blocks that have a budget of memory: where the pieces of `ad/revolve.py` go."""

from __future__ import annotations

from dataclasses import dataclass

from gradc.ad import revolve
from gradc.ad.activity import carried_inits, carried_params, carried_yields
from gradc.ad.primals import Frame, Sweep
from gradc.ad.revolve import Slots
from gradc.ad.straight import StraightAdjoints
from gradc.ad.tapes import STATE, Sizes, Tape, trip_count, values_before
from gradc.ir.nodes import Block, Node, Value
from gradc.ir.types import Array, Scalar
from gradc.ops import memory
from gradc.ops.memory import TABLE_eq


@dataclass(eq=False, slots=True)
class Budgeted:
    """A loop whose reverse is being built: its slots, where they are made, what has sizes there, tapes made before."""

    slots: Slots
    block: Block
    known: list[Value]
    tapes: int


class BudgetedBlocks(StraightAdjoints):
    """Makes the slots of such loops, starts blocks from them, and settles how long blocks are and how many slots."""

    def _open_slots(self, node: Node) -> None:
        """Slots before the reverse of the loop, with the state before the loop in the first one."""
        state = self.plan.state[node]
        known = self._scope()
        inits = dict(zip(carried_params(node, node.blocks[-1]), carried_inits(node), strict=True))
        numbers = [self.primal(inits[p]) for p in state.carried]
        scalars = [p.ty for p in state.carried if isinstance(p.ty, Scalar)]
        buffers = {
            root: (self.primal(root), self._content_before(node, root, marker))
            for root, marker in state.buffers.items()
        }
        slots = revolve.make_slots(scalars, buffers, self.builder)
        for p, (store, _) in zip(state.carried, slots.scalars, strict=True):
            store.name = f"{p.name or 'state'}_slots"
        before = {root: held for root, (_, held) in buffers.items()}
        slots.save(numbers, before, self.builder.const(0), self.builder)
        self.slots[node] = Budgeted(slots, self.builder.block, known, len(self.tapes))

    def _content_before(self, node: Node, root: Value, marker: Value) -> Value:
        """What a buffer held before a loop, saved in the forward sweep."""
        sweep = self.frame.sweep

        def read() -> Value:
            return memory.copy(self._forward_value(root, sweep))

        if self.structure.block_of[node] is sweep.block:
            reading = Block()
            with self.builder.into(reading), self.builder.at(node.loc):
                held = read()
            held.name = f"{root.name or 'state'}_before"
            at = sweep.target.nodes.index(sweep.nodes[node])
            sweep.target.nodes[at:at] = reading.nodes
            return held
        assert isinstance(root.ty, Array)
        item = Array(root.ty.dtype, root.ty.shape)
        tape = self._tape(node, sweep, item, root.name, read, key=marker)
        return tape.read(self._reverse_counters(tape, self.frame), self.builder)

    def _start_from_slot(self, node: Node, frame: Frame) -> None:
        """The state at the start of the block at hand: from the last checkpoint, by running the blocks since again."""
        builder, slots = self.builder, self.slots[node].slots
        state, body = self.plan.state[node], node.blocks[-1]
        length = self.primal(node.operands[2])
        here = self.primal(body.params[0]) // length
        row, start = slots.last(builder)
        current = {root: self.primal(root) for root in state.buffers}
        for root, (store, _) in slots.buffers.items():
            builder.emit("store", (current[root], slots.row(store, row)))
        numbers = [slots.number(k, row, builder) for k in range(len(state.carried))]
        slots.release(row, TABLE_eq(start, here), builder)
        params, yields = carried_params(node, body), carried_yields(node)
        outs = [yields[params.index(p)] for p in state.carried]

        def run_block(block: Value, carried: list[Value]) -> list[Value]:
            sweep = Sweep(body, builder.block, self.plan.advance[node])
            sweep.values[body.params[0]] = block * length
            sweep.values.update(zip(state.carried, carried, strict=True))
            self._copy_nodes(body, builder.block, sweep, self.plan.advance[node])
            return [self._forward_value(v, sweep) for v in outs]

        found = revolve.advance(slots, row, start, here, numbers, current, run_block, builder)
        for param, value in zip(state.carried, found, strict=True):
            value.name = param.name
            frame.sweep.values[param] = value

    def _close_slots(self, node: Node, budget: int) -> None:
        """After the reverse of the loop: put back what is needed before it; decide about blocks and slots."""
        made, state, builder = self.slots.pop(node), self.plan.state[node], self.builder
        for root, (_, before) in made.slots.buffers.items():
            if root in state.put_back:
                builder.emit("store", (self.primal(root), before))
        scalars = [p.ty for p in state.carried if isinstance(p.ty, Scalar)]
        sizes = (
            revolve.state_bytes(scalars, list(state.buffers)),
            revolve.tape_bytes(self.tapes[made.tapes :], node),
        )
        stores = [store for store, _ in (*made.slots.scalars, *made.slots.buffers.values())]
        self.tapes += [Tape(store, Scalar(store.dtype), ((node,),)) for store in stores]
        # In the forward sweep: how long blocks are.
        sweep = self.frame.sweep
        placeholder = node.operands[2].node
        assert placeholder is not None
        copy = sweep.nodes[placeholder]
        home = sweep.blocks[self.structure.block_of[placeholder]]
        deciding = Block()
        with builder.into(deciding), builder.at(node.loc):
            known = Sizes(self._forward_scope(placeholder, sweep))
            one, other = (revolve.size_value(size, known, node, builder) for size in sizes)
            trips = self._forward_value(node.operands[1], sweep)
            copy.operands = [revolve.block_length(trips, budget, one, other, builder)]
        at = home.nodes.index(copy)
        home.nodes[at:at] = deciding.nodes
        sweep.nodes[node].attrs["checkpoint"] = STATE  # for a further derivative
        # In the reverse sweep: how many slots.
        counting = Block()
        with builder.into(counting):
            known = Sizes(made.known)
            one, other = (revolve.size_value(size, known, node, builder) for size in sizes)
            start, stop, length = (self.primal(v) for v in node.operands[:3])
            blocks = trip_count(start, stop, length, builder)
            count = revolve.slot_count(blocks, length, budget, one, other, builder)
        counter = made.slots.count.node
        assert counter is not None
        counter.operands = [count]
        at = made.block.nodes.index(counter)
        made.block.nodes[at:at] = counting.nodes

    def _forward_scope(self, node: Node, sweep: Sweep) -> list[Value]:
        """Values of a forward sweep that are in scope before a node."""
        found = list(self.new.params)
        inner: Node | None = node
        while inner is not None:
            block = self.structure.block_of[inner]
            found += [sweep.values[v] for v in values_before(block, inner) if v in sweep.values]
            inner = None if block is sweep.block else self.structure.owner_of[block]
        return found
