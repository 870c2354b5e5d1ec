"""Loops in blocks within a budget of memory: binomial checkpointing.

    kept in the forward sweep: the state at the start of the loop
    reverse of block u:        the last checkpoint at p <= u is restored; blocks p ... u - 1 run again, and leave
                               checkpoints where slots are free; then block u runs with tapes, and is reversed

Reversing l blocks with s slots (the one at their start included), the next checkpoint comes after m blocks, with r the
least number for which C(s + r, s) >= l, and m = min(C(s + r - 1, s), l - C(s + r - 2, s - 1)). This runs the fewest
blocks again: r*l - C(s + r, s + 1), that is, each block at most r times; plus once with tapes. With as many slots as
blocks, r is 1. Source: Griewank, Walther, Algorithm 799: revolve, ACM TOMS 26 (2000).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from gradc.ad.tapes import BLOCK, Sizes, Tape
from gradc.errors import UnsupportedError
from gradc.ir.builder import Builder
from gradc.ir.nodes import Block, Node, Value
from gradc.ir.region import FULL, Arg, At
from gradc.ir.types import WEAK_BOOL, WEAK_INT, Array, Scalar, Size, add_sizes, multiply_sizes, product_of_sizes
from gradc.ops import memory
from gradc.ops.memory import TABLE_eq

ROW = (At(Arg(0)),)


@dataclass(eq=False)
class Slots:
    """The checkpoints of one loop in the reverse sweep: stores of states, the block that each belongs to, how many.

    count: how many there may be; a node that is given its operand when the size of the tapes of a block is known.
    scalars: (store, type) of the carried numbers; buffers: of each buffer its store and its content before the loop.
    """

    count: Value
    positions: Value
    used: Value
    scalars: list[tuple[Value, Scalar]] = field(default_factory=list)
    buffers: dict[Value, tuple[Value, Value]] = field(default_factory=dict)

    def row(self, store: Value, row: Value) -> Value:
        """The state in a slot, as a view."""
        assert isinstance(store.ty, Array)
        return memory.make_index(store, (At(Arg(0)), *(FULL for _ in store.ty.shape[1:])), row)

    def save(self, numbers: Sequence[Value], buffers: dict[Value, Value], block: Value, builder: Builder) -> None:
        """Put a state into the next slot."""
        row = _get(self.used, builder.const(0), builder)
        for (store, _), number in zip(self.scalars, numbers, strict=True):
            _set(store, number, row, builder)
        for root, (store, _) in self.buffers.items():
            builder.emit("store", (self.row(store, row), buffers[root]))
        _set(self.positions, block, row, builder)
        _set(self.used, row + 1, builder.const(0), builder)

    def number(self, k: int, row: Value, builder: Builder) -> Value:
        """A carried number in a slot."""
        store, ty = self.scalars[k]
        held = _get(store, row, builder)
        return builder.emit("cast", (held,), dtype=ty.dtype, weak=True) if ty.weak else held

    def last(self, builder: Builder) -> tuple[Value, Value]:
        """The slot of the last checkpoint, and its block."""
        row = _get(self.used, builder.const(0), builder) - 1
        return row, _get(self.positions, row, builder)

    def release(self, row: Value, unneeded: Value, builder: Builder) -> None:
        """The last slot is free from now on, if its checkpoint is of the block at hand."""
        left = builder.emit("where", (unneeded, row, row + 1))
        _set(self.used, left, builder.const(0), builder)


def make_slots(scalars: Sequence[Scalar], buffers: dict[Value, tuple[Value, Value]], builder: Builder) -> Slots:
    """Empty slots. buffers: of each buffer of the state itself, and its content before the loop."""
    count: Value = builder.emit("let", (builder.const(1),))
    count.name = "slots"
    made = Slots(count, memory.make_zeros([count], "int64"), memory.make_zeros([1], "int64"))
    made.positions.name, made.used.name = "positions", "used"
    made.scalars = [(memory.make_zeros([count], ty.dtype, filled=False), ty) for ty in scalars]
    for root, (buffer, before) in buffers.items():
        store = memory.make_zeros([count, *memory.shape_values(buffer)], root.dtype, filled=False)
        store.name = f"{root.name or 'state'}_slots"
        made.buffers[root] = store, before
    return made


def _get(array: Value, row: Value, builder: Builder) -> Value:
    value: Value = builder.emit("load", (array, row), region=ROW)
    if array.dtype == "int64":
        value = builder.emit("cast", (value,), dtype="int64", weak=True)
    return value


def _set(array: Value, value: Value, row: Value, builder: Builder) -> None:
    builder.emit("store_at", (array, value, row), region=ROW)


def checkpoint_after(left: Value, slots: Value, builder: Builder) -> Value:
    """After how many of the `left` blocks the next checkpoint comes; `left` where there is no slot for one."""
    cond = Block(params=[Value(WEAK_INT), Value(WEAK_INT)])
    with builder.into(cond):
        cond.yields = [builder.emit("cast", (builder.emit("lt", (cond.params[1], left)),), dtype="bool", weak=True)]
    body = Block(params=[Value(WEAK_INT, "repeats"), Value(WEAK_INT, "reach")])
    with builder.into(body):
        r, reach = body.params
        body.yields = [r + 1, reach * (slots + r + 1) // (r + 1)]
    r, reach, _ = builder.control("while", [0, 1], [cond, body], [WEAK_INT, WEAK_INT, WEAK_INT])
    before = reach * r // (slots + r)  # C(s + r - 1, s)
    beyond = before * slots // builder.emit("maximum", (slots + r - 1, 1))  # C(s + r - 2, s - 1)
    after = builder.emit("maximum", (builder.emit("minimum", (before, left - beyond)), 1))
    free = builder.emit("logical_and", (builder.emit("gt", (slots, 1)), builder.emit("gt", (left, 1))))
    made: Value = builder.emit("where", (free, after, left))
    return made


def advance(
    slots: Slots,
    row: Value,
    start: Value,
    stop: Value,
    numbers: Sequence[Value],
    current: dict[Value, Value],
    run_block: object,
    builder: Builder,
) -> list[Value]:
    """Run the blocks from `start` up to `stop`, with checkpoints on the way; the carried numbers after them.

    run_block(block, numbers) runs a block from its carried numbers and gives those after it.
    """
    assert callable(run_block)
    first = start + checkpoint_after(stop - start + 1, slots.count - row, builder)
    body = Block(params=[Value(WEAK_INT, "again"), Value(WEAK_INT, "next"), *(Value(v.ty, v.name) for v in numbers)])
    with builder.into(body):
        block, following, *carried = body.params
        blocks = [Block(), Block()]
        with builder.into(blocks[0]):
            slots.save(carried, current, block, builder)
            free = slots.count - (_get(slots.used, builder.const(0), builder) - 1)
            blocks[0].yields = [block + checkpoint_after(stop - block + 1, free, builder)]
        blocks[1].yields = [following]
        here = builder.emit("cast", (TABLE_eq(block, following),), dtype="bool", weak=True)
        assert here.ty == WEAK_BOOL
        (then,) = builder.control("if", [here], blocks, [WEAK_INT])
        body.yields = [then, *run_block(block, carried)]
    made = builder.control("for", [start, stop, 1, first, *numbers], [body], [p.ty for p in body.params[1:]])
    return list(made[1:])


# ---------------------------------------------------------------------------------------------- sizes


def state_bytes(scalars: Sequence[Scalar], buffers: Sequence[Value]) -> Size:
    """Bytes of a state."""
    total: Size = sum(np.dtype(ty.dtype).itemsize for ty in scalars)
    for root in buffers:
        total = add_sizes(total, multiply_sizes(product_of_sizes(root.shape), np.dtype(root.dtype).itemsize))
    return total


def tape_bytes(tapes: Sequence[Tape], loop: Node) -> Size:
    """Bytes that one iteration of a block puts on tapes.

    Raises: UnsupportedError where that is known at run time only.
    """
    total: Size = 0
    for tape in tapes:
        ty = tape.storage.ty
        if tape.axes is None or not isinstance(ty, Array):
            raise unknown_size(loop)
        along_block = tape.axes[0][0].attrs.get("checkpoint") == BLOCK
        shape = ty.shape[1:] if along_block else ty.shape
        total = add_sizes(total, multiply_sizes(product_of_sizes(shape), np.dtype(ty.dtype).itemsize))
    return total


def unknown_size(loop: Node) -> UnsupportedError:
    """How much an iteration tapes is not known before the loop."""
    return UnsupportedError(
        "gradc.checkpoint cannot keep a budget for this loop",
        loop.loc,
        "what an iteration keeps for its reverse has no size that is known before the loop.",
        "gradc.checkpoint(..., every=k) with a number of iterations k.",
    )


def size_value(size: Size, known: Sizes, loop: Node, builder: Builder) -> Value:
    """A number of bytes as a value, at least 1.

    Raises: UnsupportedError where a size in it is not known.
    """
    if not known.knows(size):
        raise unknown_size(loop)
    made: Value = builder.emit("maximum", (known.value(size, builder), 1))
    return made


def block_length(trips: Value, budget: int, state: Value, tape: Value, builder: Builder) -> Value:
    """Iterations in a block: sqrt(n * state / tape), which needs the least, or what half of the budget holds."""

    def number(v: Value) -> Value:
        return builder.emit("cast", (v,), dtype="float64", weak=True)

    best = builder.emit("floor", (builder.emit("sqrt", (number(trips) * number(state) / number(tape),)),))
    best = builder.emit("cast", (best,), dtype="int64", weak=True)
    allowed = builder.const(budget) // (tape * 2)
    length: Value = builder.emit("maximum", (builder.emit("minimum", (best, allowed)), 1))
    return length


def slot_count(blocks: Value, length: Value, budget: int, state: Value, tape: Value, builder: Builder) -> Value:
    """States for which the budget has room beside the tapes of one block: at least 1, at most one per block."""
    room = (builder.const(budget) - length * tape) // state
    count: Value = builder.emit("maximum", (builder.emit("minimum", (room, blocks)), 1))
    return count
