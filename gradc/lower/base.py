"""What lowering of every kind of node stands on: operands as expressions and memory, units, new buffers, sizes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from gradc.errors import InternalError
from gradc.ir.loops import (
    Assign,
    Buffer,
    Expr,
    Int,
    Lin,
    Lit,
    Put,
    Text,
    Var,
    axis,
    var,
)
from gradc.ir.nodes import Node, Value
from gradc.ir.region import Arg
from gradc.ir.types import Array, Shape
from gradc.lower.arrays import Ref, whole
from gradc.lower.scopes import Names, Scopes
from gradc.lower.units import READ, Axis, Touch, Unit, names_in


class Base:
    """Makes units of the nodes of a block. `env` maps a value to its expression, its Ref, or its tape."""

    def __init__(self, names: Names, scopes: Scopes) -> None:
        self.names = names
        self.scopes = scopes
        self.env: dict[Value, Any] = {}
        self.units: list[Unit] = []
        self.local: set[Buffer] = set()
        self.escaping: set[Buffer] = set()
        self.allocated: set[Buffer] = set()
        self.natural: set[str] = set()
        self.results: list[Expr | Buffer] = []
        self.last_use: dict[Value, int] = {}
        self.position_in_block = 0
        self.sums: set[Node] = set()
        self.products: dict[Value, Any] = {}
        self.use_count: dict[Value, int] = {}
        self.extra_values: list[Value] = []  # keeps stand-ins alive, since `env` goes by id

    def scalar(self, value: Value) -> Expr:
        """The expression of a scalar value (or of a rank-0 array's element)."""
        held = self.env[value]
        return held.at(()) if isinstance(held, Ref) else held

    def integer(self, value: Value) -> Lin:
        """An integer scalar as an affine integer; others get a variable."""
        held = self.scalar(value)
        if isinstance(held, Int):
            return held.lin
        if isinstance(held, Lit):
            return Lin(int(held.value))
        return self.set_integer("k", Text("{x}", {"x": held}, "int64", "int64"))

    def ref(self, value: Value) -> Ref:
        """What an array value names."""
        held = self.env[value]
        if not isinstance(held, Ref):
            raise InternalError(f"{value!r} has no memory")
        return held

    def element(self, value: Value, rank: int) -> Expr:
        """The element of a value that position (@0, ..., @rank-1) sees, by broadcasting."""
        held = self.env[value]
        return held.broadcast(value.shape, rank) if isinstance(held, Ref) else held

    def bind_scalar(self, value: Value, variable: Var) -> None:
        """A scalar value is held by a variable that is set in this scope."""
        self.scopes.define(variable.name)
        if variable.dtype == "int64":
            self.env[value] = Int(var(variable.name))
            if value.size is not None:
                self.scopes.learn(value.size, var(variable.name))
        else:
            self.env[value] = variable

    def add(self, **fields: Any) -> Unit:
        """Append a unit; what its body reads is worked out here."""
        unit = Unit((len(self.units),), **fields)
        unit.needs |= names_in([*unit.exprs(), *(a.extent for a in unit.axes)]) - unit.makes
        unit.needs |= {token(t.buffer) for t in unit.touches() if t.buffer.of} - unit.makes
        self.units.append(unit)
        return unit

    def set_scalar(self, wish: str, expr: Expr, dtype: str, guarded: bool = False) -> Var:
        """A new scalar variable for an expression."""
        name = self.names.take(wish or "t")
        self.scopes.define(name)
        self.add(body=[Assign(name, expr, dtype)], makes={name}, guarded=guarded)
        return Var(name, dtype)

    def set_integer(self, wish: str, expr: Expr) -> Lin:
        """A new integer variable for an expression."""
        return var(self.set_scalar(wish, expr, "int64").name)

    def product_of(self, *extents: Lin) -> Lin:
        """The product of sizes, in a variable where it is not affine."""
        total = Lin(1)
        for extent in extents:
            if total.is_const:
                total = extent * total.const
            elif extent.is_const:
                total = total * extent.const
            else:
                parts: dict[str, Expr] = {"a": Int(total), "b": Int(extent)}
                total = self.set_integer("count", Text("({a}) * ({b})", parts, "int64", "int64"))
        return total

    def new_buffer(self, value: Value | None, dtype: str, extents: tuple[Lin, ...], wish: str = "") -> Buffer:
        """A fresh buffer, allocated when it turns out to need memory."""
        buffer = Buffer(
            self.names.take(wish or (value.name if value is not None else "") or "t"), dtype, extents, fresh=True
        )
        self.local.add(buffer)
        return buffer

    def fill(self, buffer: Buffer, shape: Shape, expr: Expr) -> None:
        """A unit that gives every element of a fresh buffer."""
        rank = len(shape)
        put = Put(buffer, tuple(axis(k) for k in range(rank)), expr)
        self.nest(shape, buffer.extents, [put], made=buffer)

    def nest(self, shape: Shape, extents: Sequence[Lin], body: list[Any], **fields: Any) -> Unit:
        """A unit over a space; axes of size 1 need no loop."""
        replace = {f"@{k}": Lin() for k, size in enumerate(shape) if size == 1}
        axes = [Axis(k, extents[k], self.scopes.note_loop(size)) for k, size in enumerate(shape) if size != 1]
        probe = Unit((0,), body=body)
        if replace:
            probe.bind(replace)
        return self.add(axes=ordered(axes, probe), body=probe.body, **fields)

    def learn_broadcast(self, shapes: Sequence[Shape]) -> None:
        """Shapes that broadcast against each other (a node says so) have equal sizes where neither is 1."""
        for k in range(1, max((len(s) for s in shapes), default=0) + 1):
            sizes = [s[-k] for s in shapes if len(s) >= k and s[-k] != 1]
            for other in sizes[1:]:
                self.scopes.learn_equal(sizes[0], other)

    def copied(self, value: Value, ref: Ref, dtype: str = "") -> Ref:
        """A contiguous copy of a value, as a new buffer."""
        buffer = self.new_buffer(value, dtype or value.dtype, ref.extents)
        expr: Expr = ref.broadcast(value.shape, value.rank)
        if dtype and dtype != value.dtype:
            expr = Text("{x}", {"x": expr}, dtype, dtype)
        self.fill(buffer, value.shape, expr)
        return whole(buffer)

    def extents_of(self, value: Value, node: Node) -> tuple[Lin, ...]:
        """Sizes of a result at run time: from its type where its size variables are known, else from operands."""
        found: list[Lin] = []
        given = node.attrs.get("shape")
        for k, size in enumerate(value.shape):
            # What an array is made with is its size, also where its type calls that by another name.
            resolved = None if given is not None and isinstance(given[k], Arg) else self.scopes.resolve(size)
            if resolved is None:
                resolved = self._extent_from_operands(value, node, k)
                self.scopes.learn(size, resolved)
            found.append(resolved)
        return tuple(found)

    def _extent_from_operands(self, value: Value, node: Node, k: int) -> Lin:
        shape = node.attrs.get("shape")
        if shape is not None:
            given = shape[k]
            first = len(node.operands) - sum(isinstance(s, Arg) for s in shape)
            return self.integer(node.operands[first + given.k]) if isinstance(given, Arg) else Lin(given)
        size = value.shape[k]
        for operand in node.operands:
            if not isinstance(operand.ty, Array):
                continue
            ref = self.ref(operand)
            for own, other in enumerate(operand.shape):
                if other == size:
                    return ref.extents[own]
        if node.op.kind == "elementwise":
            for operand in node.operands:
                own = k - (value.rank - operand.rank)
                if isinstance(operand.ty, Array) and own >= 0 and operand.shape[own] != 1:
                    return self.ref(operand).extents[own]
        raise InternalError(f"the size {size} of axis {k} of {value!r} is not known at run time", node.loc)

    def ref_names(self, ref: Ref) -> set[str]:
        """Variables that a unit needs to reach what an array value names."""
        return names_in([*ref.index, *ref.extents]) | ({token(ref.buffer)} if ref.buffer.of else set())

    def whole_reads(self, *refs: Ref) -> list[Touch]:
        for ref in refs:
            self.escaping |= ref.buffer.roots
        return [Touch(r.buffer, None, READ) for r in refs]


def token(buffer: Buffer) -> str:
    """What stands among variable names for a buffer's variable having been bound to its memory."""
    return f"&{buffer.name}"


def ordered(axes: Sequence[Axis], unit: Unit) -> tuple[Axis, ...]:
    """Axes in loop order: memory should run along the innermost one, writes counting double."""
    if len(axes) < 2:
        return tuple(axes)
    score = {a.k: 0 for a in axes}
    for touch in unit.touches():
        if not touch.index or touch.buffer.layout == "A":
            continue
        part = touch.index[-1] if touch.buffer.layout == "C" else touch.index[0]
        if isinstance(part, Lin):
            for name, c in part.terms:
                if name[0] == "@" and abs(c) == 1 and int(name[1:]) in score:
                    score[int(name[1:])] += 1 if touch.mode == READ else 2
    last = axes[-1]
    best = max(axes, key=lambda a: score[a.k])
    if score[best.k] <= score[last.k]:
        return tuple(axes)
    return (*(a for a in axes if a is not best), best)
