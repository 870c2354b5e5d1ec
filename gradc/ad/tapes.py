"""Tapes: where residuals of loops are kept between the forward and the reverse sweep.

dense   an array with one axis per loop, allocated before the outermost loop, where all trip counts are known there
        and the shape of an item does not change:     x_tape[i, j] = x       ...  x_tape[i, j]
stack   grows: `while`, `break`, triangular loops:    push(x_tape, x)        ...  pop(x_tape)
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from gradc.ad.structure import Structure
from gradc.ir.builder import Builder
from gradc.ir.nodes import Block, Node, Value, walk_blocks
from gradc.ir.opdef import TABLE
from gradc.ir.region import FULL, Arg, At, Region
from gradc.ir.types import (
    Array,
    Atom,
    Scalar,
    Size,
    add_sizes,
    clamp_size,
    multiply_sizes,
    product_of_sizes,
    size_variables,
    subtract_sizes,
)
from gradc.ops import memory

# Marks of loops that go block by block: of the loop over blocks, and of that over the iterations of a block.
STATE = ("state", 0)
BLOCK = ("block", 0)
REVOLVE = "revolve"  # ("revolve", bytes), a loop over blocks with a budget


@dataclass(frozen=True, slots=True)
class Tape:
    """A dense tape or a stack (`axes` is None).

    axes: for each leading axis of a dense tape the original loop that goes along it, the outermost first; or two, of
    which the outer one goes over blocks of what the inner one goes over (`ad/blocks.py`).
    """

    storage: Value
    item: Scalar | Array
    axes: tuple[tuple[Node, ...], ...] | None

    def size_in_bytes(self) -> Size | None:
        """Size of a dense tape; None for a stack, whose length is known at run time only."""
        ty = self.storage.ty
        if not isinstance(ty, Array):
            return None
        return multiply_sizes(product_of_sizes(ty.shape), np.dtype(ty.dtype).itemsize)

    def write(self, value: Value, counters: Sequence[Value], builder: Builder) -> None:
        """Put `value` on the tape, at the place that the loop counters name."""
        if self.axes is None:
            builder.emit("push", (self.storage, value))
        elif isinstance(self.item, Scalar):
            region = tuple(At(Arg(k)) for k in range(len(counters)))
            builder.add(TABLE["store_at"], (self.storage, value, *counters), {"region": region})
        else:
            builder.emit("store", (self._row(counters), value))

    def read(self, counters: Sequence[Value], builder: Builder) -> Value:
        """What is on the tape; for a dense tape of arrays a view of it."""
        if self.axes is None:
            taken = builder.emit("pop", (self.storage,))
            assert isinstance(taken, Value)
            return taken
        if isinstance(self.item, Scalar):
            region = tuple(At(Arg(k)) for k in range(len(counters)))
            loaded: Value = builder.add(TABLE["load"], (self.storage, *counters), {"region": region})
            return builder.emit("cast", (loaded,), dtype=self.item.dtype, weak=True) if self.item.weak else loaded
        return self._row(counters)

    def _row(self, counters: Sequence[Value]) -> Value:
        item = self.item
        assert isinstance(item, Array)
        region: Region = (*(At(Arg(k)) for k in range(len(counters))), *(FULL for _ in item.shape))
        return memory.make_index(self.storage, region, *counters)


class Sizes:
    """Finds run-time values for symbolic sizes among the values in scope at one place."""

    def __init__(self, values: Sequence[Value]) -> None:
        self._sources: dict[str, Callable[[], Value]] = {}
        for value in values:
            self._learn(value)

    def _learn(self, value: Value) -> None:
        if isinstance(value.ty, Array):
            for axis, size in enumerate(value.ty.shape):
                name = _one_variable(size)
                if name is not None and name not in self._sources:
                    self._sources[name] = lambda value=value, axis=axis: memory.dim(value, axis=axis)  # type: ignore[misc]
        elif value.size is not None:
            name = _one_variable(value.size)
            if name is not None:
                self._sources.setdefault(name, lambda: value)

    def knows(self, size: Size) -> bool:
        """Whether every variable of `size` has a source."""
        return all(name in self._sources for name in size_variables(size))

    def value(self, size: Size, builder: Builder) -> Value | int:
        """`size` as an integer value, built with `builder`; a literal stays an int."""
        if isinstance(size, int):
            return size
        total: Value | int | None = None
        for atoms, coefficient in size.terms:
            term: Value | int = coefficient
            for atom in atoms:
                factor = self._atom(atom, builder)
                term = factor if isinstance(term, int) and term == 1 else term * factor
            if total is None:
                total = term
            elif isinstance(term, int) and term < 0:
                total = total - (-term)
            else:
                total = total + term
        assert isinstance(total, Value)
        total.size = size
        return total

    def _atom(self, atom: Atom, builder: Builder) -> Value:
        if atom.inner is None:
            return self._sources[atom.name]()
        inner = self.value(atom.inner, builder)
        clamped: Value = builder.emit("maximum", (inner, 0))
        return clamped


def _one_variable(size: Size) -> str | None:
    """The name of the variable that `size` is, if it is one."""
    if isinstance(size, int) or len(size.terms) != 1:
        return None
    ((atoms, coefficient),) = size.terms
    if coefficient != 1 or len(atoms) != 1 or atoms[0].inner is not None:
        return None
    return atoms[0].name


def written_size(value: Value) -> Size | None:
    """An integer as a polynomial of size variables, where it is written as one: `len(u) - 1`."""
    if value.size is not None:
        return value.size
    node = value.node
    if node is None:
        return None
    if node.op.name == "const":
        return int(node.attrs["value"])
    if node.op.name == "dim":
        return node.operands[0].shape[node.attrs["axis"]]  # type: ignore[no-any-return]
    combine = {"add": add_sizes, "sub": subtract_sizes, "mul": multiply_sizes}.get(node.op.name)
    if combine is None:
        return None
    first, second = (written_size(v) for v in node.operands)
    return combine(first, second) if first is not None and second is not None else None


def trip_count(start: Value, stop: Value, step: Value, builder: Builder) -> Value:
    """Number of iterations of range(start, stop, step)."""
    known_step = _literal(step)
    if known_step in (1, -1):
        low, high = (start, stop) if known_step == 1 else (stop, start)
        span = high if _literal(low) == 0 else high - low
        total: Value = builder.emit("maximum", (span, 0))
        total.size = clamp_size(subtract_sizes(builder.size_of(high), builder.size_of(low)))
        return total
    count = (stop - start) // step
    exact = builder.emit("eq", ((stop - start) % step, 0))
    count = count + builder.emit("where", (exact, 0, 1))
    return builder.emit("maximum", (count, 0))


def _literal(value: Value) -> int | None:
    node = value.node
    return int(node.attrs["value"]) if node is not None and node.op.name == "const" else None


def iteration_number(index: Value, start: Value, step: Value) -> Value:
    """Which iteration of range(start, stop, step) has this index."""
    known_step = _literal(step)
    offset = index if _literal(start) == 0 else index - start
    if known_step == 1:
        return offset
    if known_step == -1:
        return start - index
    return offset // step


def axes_of(loops: Sequence[Node], structure: Structure) -> tuple[tuple[Node, ...], ...]:
    """Loops, the outermost first, as axes of a tape: one over blocks and that over a block are one axis."""
    axes: list[tuple[Node, ...]] = []
    for loop in loops:
        around = structure.owner_of[structure.block_of[loop]]
        if axes and axes[-1] == (around,) and loop.op.name == "for" and loop.attrs.get("checkpoint") == BLOCK:
            axes[-1] = (axes[-1][0], loop)
        else:
            axes.append((loop,))
    return tuple(axes)


def values_before(block: Block, stop: Node | None) -> list[Value]:
    """Parameters and results of `block` up to the node `stop` (not included): what is in scope there, of this block."""
    found = list(block.params)
    for node in block.nodes:
        if node is stop:
            break
        found.extend(node.results)
    return found


def all_values(block: Block) -> list[Value]:
    """Every value defined in a block or inside it."""
    return [v for b in walk_blocks(block) for v in (*b.params, *(r for n in b.nodes for r in n.results))]
