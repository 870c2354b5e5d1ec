"""Tapes that grow: items one after the other in one array. Where the sizes of items vary, a second array holds them.

A pushed array is written, and a popped one read, through a view of its place on the tape, so that both fuse with the
loops that make and use it.
"""

from __future__ import annotations

from dataclasses import dataclass

from gradc.ir.loops import Assign, Bind, Buffer, Expr, Grow, Int, Lin, Lit, Load, Put, Slice, Stmt, Text, Var, axis, var
from gradc.ir.nodes import Node
from gradc.ir.types import Array, Scalar
from gradc.lower.arrays import Ref, whole
from gradc.lower.base import Base, token
from gradc.lower.units import WRITE, Touch, names_in


@dataclass(eq=False, slots=True)
class Tape:
    """The memory of a tape, how many elements are in use, and the like for sizes, where those of items vary.

    `fixed`: sizes of items, where they are known when the tape is made. `pushed`: push nodes lowered so far.
    """

    data: Buffer
    length: str
    sizes: Buffer | None
    sizes_length: str
    fixed: tuple[Lin, ...] | None


class TapeLowering(Base):
    """Pushes and pops."""

    def _op_stack_new(self, node: Node) -> None:
        item = node.attrs["item"]
        assert isinstance(item, Scalar | Array)
        name = self.names.take("tape")
        data = Buffer(name, item.dtype, (Lin(64),), fresh=True)
        length = self.names.take(f"{name}_length")
        self.escaping.add(data)
        start: list[Stmt] = [Assign(length, Lit(0, "int64"), "int64")]
        touched = [Touch(data, None, WRITE)]
        found = [self.scopes.resolve(s) for s in item.shape]
        fixed = tuple(s for s in found if s is not None)
        needs: set[str] = set()
        sizes, sizes_length = None, ""
        if len(fixed) == len(found):
            needs = names_in(fixed)
        else:
            sizes = Buffer(self.names.take(f"{name}_sizes"), "int64", (Lin(64),), fresh=True)
            sizes_length = self.names.take(f"{name}_sizes_length")
            self.escaping.add(sizes)
            start.append(Assign(sizes_length, Lit(0, "int64"), "int64"))
            touched.append(Touch(sizes, None, WRITE))
        made = Tape(data, length, sizes, sizes_length, fixed if sizes is None else None)
        self.env[node.result] = made
        self.add(emit=lambda: start, effects=touched, needs=needs, keep=True)

    def _op_push(self, node: Node) -> None:
        tape: Tape = self.env[node.operands[0]]
        x = node.operands[1]
        held = self.env[x]
        length = tape.length
        if not isinstance(held, Ref) or x.rank == 0:
            expr = self.scalar(x)
            out: list[Stmt] = [
                Grow(tape.data, var(length) + 1),
                Put(tape.data, (var(length),), expr),
                Assign(length, Int(var(length) + 1), "int64"),
            ]
            effects = [Touch(tape.data, None, WRITE)]
            if isinstance(held, Ref):
                effects += self.whole_reads(held)
            self.add(emit=lambda: out, needs=names_in([expr]), effects=effects, keep=True)
            return
        count = self.product_of(*held.extents)
        slot = Buffer(self.names.take(f"{tape.data.name}_top"), x.dtype, held.extents, of=(tape.data,))
        place = Slice(tape.data, (var(length),), (1,), (0,), (count,))
        # The view keeps the memory alive that later growth moves away from, so it stays good.
        made: list[Stmt] = [
            Grow(tape.data, var(length) + count),
            Bind(slot, place),
            Assign(length, Int(var(length) + count), "int64"),
        ]
        effects = [Touch(tape.data, None, WRITE)]
        if tape.sizes is not None:
            made.append(Grow(tape.sizes, var(tape.sizes_length) + x.rank))
            for k, extent in enumerate(held.extents):
                made.append(Put(tape.sizes, (var(tape.sizes_length) + k,), Int(extent)))
            made.append(Assign(tape.sizes_length, Int(var(tape.sizes_length) + x.rank), "int64"))
            effects.append(Touch(tape.sizes, None, WRITE))
        needs = names_in([*held.extents, count])
        self.add(emit=lambda: made, effects=effects, needs=needs, makes={token(slot)}, keep=True, early=True)
        self.fill(slot, x.shape, held.broadcast(x.shape, x.rank))

    def _op_pop(self, node: Node) -> None:
        tape: Tape = self.env[node.operands[0]]
        result = node.result
        length = tape.length
        if not isinstance(result.ty, Array):
            name = self.names.take(result.name or "t")
            out: list[Stmt] = [
                Assign(length, Int(var(length) - 1), "int64"),
                Assign(name, Load(tape.data, (var(length),)), result.dtype),
            ]
            self.add(emit=lambda: out, effects=[Touch(tape.data, None, WRITE)], makes={name}, keep=True)
            self.bind_scalar(result, Var(name, result.dtype))
            return
        before: list[Stmt] = []
        makes: set[str] = set()
        effects = [Touch(tape.data, None, WRITE)]
        if tape.fixed is not None:
            extents = tape.fixed
        else:
            assert tape.sizes is not None
            before.append(Assign(tape.sizes_length, Int(var(tape.sizes_length) - result.rank), "int64"))
            effects.append(Touch(tape.sizes, None, WRITE))
            found: list[Lin] = []
            for k, size in enumerate(result.shape):
                if isinstance(size, int):
                    found.append(Lin(size))
                    continue
                name = self.names.take("n")
                self.scopes.define(name)
                makes.add(name)
                before.append(Assign(name, Load(tape.sizes, (var(tape.sizes_length) + k,)), "int64"))
                found.append(var(name))
                if self.scopes.resolve(size) is None:
                    self.scopes.learn(size, var(name))
            extents = tuple(found)
        text = " * ".join(f"({{n{k}}})" for k in range(len(extents))) or "1"
        count = Text(text, {f"n{k}": Int(e) for k, e in enumerate(extents)}, "int64", "int64")
        parts: dict[str, Expr] = {"a": Int(var(length)), "b": count}
        before.append(Assign(length, Text("{a} - {b}", parts, "int64", "int64"), "int64"))
        slot = Buffer(self.names.take(f"{tape.data.name}_top"), result.dtype, extents, of=(tape.data,))
        before.append(Bind(slot, Slice(tape.data, (var(length),), (1,), (0,), (Lin(1),))))
        makes.add(token(slot))
        needs = names_in(list(extents)) - makes
        self.add(emit=lambda: before, effects=effects, makes=makes, needs=needs, keep=True, early=True)
        if self.pushed_again(node):
            buffer = self.new_buffer(result, result.dtype, extents)
            self.fill(buffer, result.shape, Load(slot, tuple(axis(k) for k in range(result.rank))))
            self.env[result] = whole(buffer)
        else:
            self.env[result] = whole(slot)

    def pushed_again(self, pop: Node) -> bool:
        """Whether what is popped may be overwritten by a push while it is in use."""
        raise NotImplementedError
