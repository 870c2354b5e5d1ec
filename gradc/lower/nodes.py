"""Nodes to units: what each kind of op does to memory, element by element."""

from __future__ import annotations

from collections.abc import Sequence, Set
from dataclasses import dataclass
from typing import Any

import numpy as np

from gradc.errors import InternalError, UnsupportedError
from gradc.ir.loops import (
    Apply,
    Assign,
    Bind,
    Buffer,
    Cells,
    Contraction,
    Expr,
    Fold,
    For,
    Grow,
    If,
    Index,
    Int,
    Lin,
    Lit,
    Load,
    Product,
    Put,
    Raise,
    Stmt,
    Text,
    Var,
    axis,
    var,
    zero_of,
)
from gradc.ir.nodes import Node, Value
from gradc.ir.region import Arg, At, Gather, NewAxis, Span
from gradc.ir.types import Array, Scalar, Shape, Size, promote_dtypes
from gradc.lower.arrays import Ref, whole
from gradc.lower.scopes import Names, Scopes
from gradc.lower.units import READ, WRITE, Axis, Folding, Touch, Unit, names_in


@dataclass(eq=False, slots=True)
class StackRef:
    """A tape: its elements, how many are in use, and for arrays whose sizes vary, a second tape of sizes."""

    data: Buffer
    length: str
    sizes: Buffer | None
    sizes_length: str


class NodeLowering:
    """Makes units of nodes; `_Lowering` adds blocks and control flow."""

    def __init__(self, names: Names, scopes: Scopes) -> None:
        self.names = names
        self.scopes = scopes
        self.env: dict[int, Any] = {}
        self.units: list[Unit] = []
        self.local: set[Buffer] = set()
        self.escaping: set[Buffer] = set()
        self.allocated: set[Buffer] = set()
        self.natural: set[str] = set()
        self.results: list[Expr | Buffer] = []
        self.last_use: dict[Value, int] = {}
        self.position_in_block = 0

    # ------------------------------------------------------------------------------------- operands

    def scalar(self, value: Value) -> Expr:
        """The expression of a scalar value (or of a rank-0 array's element)."""
        held = self.env[id(value)]
        return held.at(()) if isinstance(held, Ref) else held  # type: ignore[no-any-return]

    def integer(self, value: Value) -> Lin:
        """An integer scalar as an affine integer; others get a variable."""
        held = self.scalar(value)
        if isinstance(held, Int):
            return held.lin
        if isinstance(held, Lit):
            return Lin(int(held.value))
        if isinstance(held, Var) and np.dtype(held.dtype).kind in "iu":
            return var(held.name)
        return self.set_integer("k", held)

    def ref(self, value: Value) -> Ref:
        """What an array value names."""
        held = self.env[id(value)]
        if not isinstance(held, Ref):
            raise InternalError(f"{value!r} has no memory")
        return held

    def element(self, value: Value, rank: int) -> Expr:
        """The element of a value that position (@0, ..., @rank-1) sees, by broadcasting."""
        held = self.env[id(value)]
        return held.broadcast(value.shape, rank) if isinstance(held, Ref) else held  # type: ignore[no-any-return]

    def bind_scalar(self, value: Value, variable: Var) -> None:
        """A scalar value is held by a variable that is set in this scope."""
        self.scopes.define(variable.name)
        if variable.dtype == "int64":
            self.env[id(value)] = Int(var(variable.name))
            if value.size is not None:
                self.scopes.learn(value.size, var(variable.name))
        else:
            self.env[id(value)] = variable

    # ---------------------------------------------------------------------------------------- units

    def add(self, **fields: Any) -> Unit:
        """Append a unit; what its body reads is worked out here."""
        unit = Unit((len(self.units),), **fields)
        unit.needs |= names_in([*unit.exprs(), *(a.extent for a in unit.axes)]) - unit.makes
        unit.needs |= {_token(t.buffer) for t in unit.touches() if t.buffer.of} - unit.makes
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

    def new_buffer(self, value: Value | None, dtype: str, extents: tuple[Lin, ...], wish: str = "") -> Buffer:
        """A fresh buffer, allocated when it turns out to need memory."""
        buffer = Buffer(self.names.take(wish or (value.name if value is not None else "") or "t"), dtype, extents, fresh=True)
        self.local.add(buffer)
        return buffer

    def fill(self, buffer: Buffer, shape: Shape, expr: Expr, keep: bool = False) -> None:
        """A unit that gives every element of a fresh buffer."""
        rank = len(shape)
        put = Put(buffer, tuple(axis(k) for k in range(rank)), expr)
        self.nest(shape, buffer.extents, [put], made=buffer)

    def nest(self, shape: Shape, extents: Sequence[Lin], body: list[Any], **fields: Any) -> Unit:
        """A unit over a space; axes of size 1 need no loop."""
        replace = {f"@{k}": Lin() for k, size in enumerate(shape) if size == 1}
        axes = [Axis(k, extents[k], self.scopes.canonical(size)) for k, size in enumerate(shape) if size != 1]
        probe = Unit((0,), body=body)
        if replace:
            probe.bind(replace)
        return self.add(axes=_ordered(axes, probe), body=probe.body, **fields)

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
        for k, size in enumerate(value.shape):
            resolved = self.scopes.resolve(size)
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

    # ------------------------------------------------------------------------------------- dispatch

    def node(self, node: Node) -> None:
        """Add the units of a node."""
        special = getattr(self, f"_op_{node.op.name}", None)
        if node.op.kind == "control":
            self.control(node)
        elif special is not None:
            special(node)
        elif node.op.kind == "elementwise":
            self._elementwise(node)
        elif isinstance(node.op.lower, Fold):
            self._fold(node, node.op.lower)
        elif isinstance(node.op.lower, Cells):
            self._cells(node, node.op.lower)
        elif isinstance(node.op.lower, Contraction):
            self._contraction(node, node.op.lower)
        else:
            raise UnsupportedError(f"op {node.op.name} cannot be compiled", node.loc, why="its entry has no loop form")

    def control(self, node: Node) -> None:
        raise NotImplementedError

    # ----------------------------------------------------------------------------------- elementwise

    def _op_const(self, node: Node) -> None:
        value = node.attrs["value"]
        ty = node.result.ty
        assert isinstance(ty, Scalar)
        plain = value.item() if isinstance(value, np.generic) else value
        self.env[id(node.result)] = Int(Lin(plain)) if ty.dtype == "int64" else Lit(plain, ty.dtype)

    def _op_undef(self, node: Node) -> None:
        ty = node.result.ty
        assert isinstance(ty, Scalar)
        self.env[id(node.result)] = Int(Lin()) if ty.dtype == "int64" else Lit(zero_of(ty.dtype), ty.dtype)

    def _elementwise(self, node: Node) -> None:
        result = node.result
        if not isinstance(result.ty, Array):
            operands = [self.scalar(v) for v in node.operands]
            lin = _affine(node, operands)
            if lin is not None:
                self.env[id(result)] = Int(lin)
                return
            expr = self.apply(node, operands)
            guarded = any(np.dtype(v.dtype).kind in "iu" for v in node.operands) or any(
                isinstance(o, Load) for o in operands
            )
            variable = self.set_scalar(result.name, expr, result.dtype, guarded=guarded)
            self.units[-1].makes = {variable.name}
            self.bind_scalar(result, variable)
            return
        self.learn_broadcast([v.shape for v in node.operands])
        operands = [self.element(v, result.rank) for v in node.operands]
        buffer = self.new_buffer(result, result.dtype, self.extents_of(result, node))
        self.fill(buffer, result.shape, self.apply(node, operands))
        self.env[id(result)] = whole(buffer)

    def apply(self, node: Node, operands: Sequence[Expr]) -> Expr:
        """An elementwise op on elements, and the dtype that it computes in (`ops/rules.py`)."""
        result = node.result.dtype
        types = tuple(v.ty for k, v in enumerate(node.operands) if k not in node.op.conditions)
        common = promote_dtypes(types).dtype  # type: ignore[arg-type]
        compute = result
        if node.op.name == "cast" or result == "bool" or (_is_complex(common) and not _is_complex(result)):
            compute = common
        if node.op.name == "cast":
            return Text("{x}", {"x": operands[0]}, result, result)
        return Apply(node.op, node.attrs, tuple(operands), result, compute)

    def _cells(self, node: Node, cells: Cells) -> None:
        result = node.result
        rank = result.rank
        buffer = self.new_buffer(result, result.dtype, self.extents_of(result, node))
        args: dict[str, Expr] = {f"i{k}": Int(axis(k)) for k in range(rank)}
        if rank >= 2:
            args |= {"row": Int(axis(rank - 2)), "column": Int(axis(rank - 1))}
        for name, operand in zip(node.op.operands, node.operands, strict=False):
            args[name] = self.element(operand, rank)
        for name, attr in node.attrs.items():
            if isinstance(attr, int | float):
                args[name] = Int(Lin(attr)) if isinstance(attr, int) else Lit(attr, result.dtype)
        used = {k: v for k, v in args.items() if f"{{{k}}}" in cells.text}
        self.fill(buffer, result.shape, Text(cells.text, used, result.dtype, ""))
        self.env[id(result)] = whole(buffer)

    def _fold(self, node: Node, fold: Fold) -> None:
        (x,) = node.operands
        result = node.result
        axes = node.attrs["axes"]
        if not axes and fold.counts:
            axes = tuple(range(x.rank))
        operand = self.element(x, x.rank)
        ref = self.ref(x)
        replace = {f"@{k}": Lin() for k, size in enumerate(x.shape) if size == 1}
        sizes = [self.scopes.canonical(s) for s in x.shape]
        loops = [Axis(k, ref.extents[k], s, summed=k in axes) for k, s in enumerate(sizes) if s != 1]
        index: list[Index] = []
        if isinstance(result.ty, Array):
            kept = [k for k in range(x.rank) if k not in axes]
            index = [Lin() if k in axes else axis(k) for k in range(x.rank)] if node.attrs["keepdims"] else [axis(k) for k in kept]
            buffer = self.new_buffer(result, result.dtype, self.extents_of(result, node))
            folding = Folding(fold, operand, buffer, tuple(index), "", result.dtype)
            self.env[id(result)] = whole(buffer)
        else:
            buffer = None
            name = self.names.take(result.name or "t")
            folding = Folding(fold, operand, None, (), name, result.dtype)
        probe = Unit((0,), folding=folding)
        if replace:
            probe.bind(replace)
        ordered = tuple(loops) if fold.counts else _ordered(loops, probe)
        makes = {folding.name} if folding.name else set()
        self.add(axes=ordered, folding=folding, makes=makes, made=buffer)
        if folding.name:
            self.bind_scalar(result, Var(folding.name, result.dtype))

    # --------------------------------------------------------------------------------------- products

    def _contraction(self, node: Node, contraction: Contraction) -> None:
        a, b = node.operands
        result = node.result
        sa, sb, sc = contraction.subscripts(node)
        summed = [c for c in sa if c in sb and c not in sc]
        rows = [c for c in sc if c in sa and c not in sb]
        columns = [c for c in sc if c in sb and c not in sa]
        batch = [c for c in sc if c in sa and c in sb]
        extents: dict[str, tuple[Lin, Size]] = {}
        for text, value in ((sa, a), (sb, b)):
            ref = self.ref(value)
            for k, letter in enumerate(text):
                if letter not in extents or extents[letter][1] == 1:
                    extents[letter] = (ref.extents[k], value.shape[k])
        if len(summed) != 1 or len(rows) > 1 or len(columns) > 1 or not (rows or columns):
            self._contraction_loops(node, (sa, sb, sc), extents)
            return
        refs = []
        for value in (a, b):
            ref = self.ref(value)
            if value.dtype != result.dtype or not _is_matrix(ref):
                ref = self.copied(value, ref, result.dtype)
            refs.append(ref)
            self.escaping |= ref.buffer.roots
        buffer = self.new_buffer(result, result.dtype, tuple(extents[c][0] for c in sc))
        self.escaping.add(buffer)
        self.env[id(result)] = whole(buffer)
        letters = {c: Lin() if extents[c][1] == 1 else var(self.names.take("n")) for c in batch}
        row, column, inner = (v[0] if v else "" for v in (rows, columns, summed))
        operands = []
        for ref, text, value, first, second in (
            (refs[0], sa, a, row, inner), (refs[1], sb, b, inner, column), (whole(buffer), sc, result, row, column),
        ):  # fmt: skip
            at = [letters.get(c, Lin()) if value.shape[k] != 1 else Lin() for k, c in enumerate(text)]
            load = ref.at(at)
            start = tuple(p for p in load.index if isinstance(p, Lin))
            where = [_axis_of(ref, text.index(c)) if c and c in text else -1 for c in (first, second)]
            operands.append((ref.buffer, start, where[0], where[1]))
        sizes = tuple(extents[c][0] if c else Lin(1) for c in (row, column, inner))
        stmt: Stmt = Product(operands[0], operands[1], operands[2], sizes)  # type: ignore[arg-type]
        for c in reversed(batch):
            if extents[c][1] != 1:
                stmt = For(letters[c].terms[0][0], Lin(), extents[c][0], Lin(1), [stmt])
        effects = [Touch(r.buffer, None, READ) for r in refs] + [Touch(buffer, None, WRITE)]
        needs = names_in([*sizes, *(p for r in refs for p in r.index), *(e for r in refs for e in r.extents)])
        self.add(emit=lambda: [stmt], effects=effects, needs=needs, made=buffer)

    def _contraction_loops(
        self, node: Node, subscripts: tuple[str, str, str], extents: dict[str, tuple[Lin, Size]]
    ) -> None:
        a, b = node.operands
        result = node.result
        letters = list(dict.fromkeys(subscripts[2] + subscripts[0] + subscripts[1]))
        place = {c: Lin() if extents[c][1] == 1 else axis(k) for k, c in enumerate(letters)}
        elements = []
        for value, text in ((a, subscripts[0]), (b, subscripts[1])):
            at = [Lin() if value.shape[k] == 1 else place[c] for k, c in enumerate(text)]
            elements.append(Text("{x}", {"x": self.ref(value).at(at)}, result.dtype, result.dtype))
        term = Text("{x} * {y}", {"x": elements[0], "y": elements[1]}, result.dtype, result.dtype)
        fold = Fold((("acc", "y", 0),), (("acc", "reassoc_add({acc}, {x})"),), "{acc}")
        if result.dtype == "bool":
            fold = Fold((("acc", "y", False),), (("acc", "{acc} or {x}"),), "{acc}")
        index = tuple(place[c] for c in subscripts[2])
        buffer = None
        name = ""
        if isinstance(result.ty, Array):
            buffer = self.new_buffer(result, result.dtype, tuple(extents[c][0] for c in subscripts[2]))
            self.env[id(result)] = whole(buffer)
        else:
            name = self.names.take(result.name or "t")
        folding = Folding(fold, term, buffer, index, name, result.dtype)
        axes = [
            Axis(k, extents[c][0], self.scopes.canonical(extents[c][1]), c not in subscripts[2])
            for k, c in enumerate(letters)
            if extents[c][1] != 1
        ]
        self.add(axes=tuple(axes), folding=folding, makes={name} if name else set(), made=buffer)
        if name:
            self.bind_scalar(result, Var(name, result.dtype))

    # ------------------------------------------------------------------------------------ sizes, views

    def _op_dim(self, node: Node) -> None:
        self.env[id(node.result)] = Int(self.ref(node.operands[0]).extents[node.attrs["axis"]])

    def _op_alias(self, node: Node) -> None:
        self.env[id(node.result)] = self.env[id(node.operands[0])]

    def _op_transpose(self, node: Node) -> None:
        ref, perm = self.ref(node.operands[0]), node.attrs["perm"]
        moved = ref.at([axis(perm.index(k)) for k in range(len(perm))])
        self.env[id(node.result)] = Ref(ref.buffer, moved.index, tuple(ref.extents[k] for k in perm))

    def _op_index(self, node: Node) -> None:
        ref = self.ref(node.operands[0])
        index, extents = self.region(node, ref.extents, node.operands[0].shape, 1, node.result)
        position: list[Index] = index
        if all(isinstance(p, Lin) for p in position):
            load = ref.at([p for p in position if isinstance(p, Lin)])
            self.env[id(node.result)] = Ref(ref.buffer, load.index, extents)
        else:
            self.env[id(node.result)] = Ref(ref.buffer, _composed(ref.index, position), extents)

    def region(
        self, node: Node, sizes: Sequence[Lin], shape: Shape, first: int, result: Value | None
    ) -> tuple[list[Index], tuple[Lin, ...]]:
        """For each axis of an array, where a basic region is along it, over the axes of the result; and their sizes."""
        index: list[Index] = []
        extents: list[Lin] = []
        source = 0
        for entry in node.attrs["region"]:
            if isinstance(entry, NewAxis):
                extents.append(Lin(1))
                continue
            size = sizes[source]
            if isinstance(entry, At):
                index.append(self.position(entry, node, first, size))
            else:
                assert isinstance(entry, Span)
                own = len(extents)
                wanted = result.shape[own] if result is not None else None
                start, step, length = self.span(entry, node, first, size, wanted)
                extents.append(length)
                if isinstance(step, int):
                    index.append(start + axis(own) * step)
                else:
                    parts = {"a": Int(start), "s": Int(step), "k": Int(axis(own))}
                    index.append(Text("{a} + {s} * {k}", parts, "int64", "int64"))
            source += 1
        return index, tuple(extents)

    def position(self, entry: At, node: Node, first: int, size: Lin) -> Lin:
        """A position along an axis, counted from the front."""
        if isinstance(entry.position, int):
            return Lin(entry.position) if entry.position >= 0 else size + entry.position
        value = node.operands[first + entry.position.k]
        lin = self.integer(value)
        if (id(node), id(value)) in self.from_front or self.is_natural(lin):
            return lin
        if lin.is_const:
            return size + lin.const
        wrapped = Text("{k} if {k} >= 0 else {k} + {n}", {"k": Int(lin), "n": Int(size)}, "int64", "int64")
        return self.set_integer("k", wrapped)

    # Ids of nodes with those of positions that are known not to be negative there.
    from_front: Set[tuple[int, int]] = frozenset()

    def is_natural(self, lin: Lin) -> bool:
        """Whether an affine integer is known not to be negative."""
        return lin.const >= 0 and all(
            c > 0 and (n[0] == "@" or n in self.natural or n in self.scopes.natural) for n, c in lin.terms
        )

    def span(
        self, span: Span, node: Node, first: int, size: Lin, wanted: Size | None
    ) -> tuple[Lin, int | Lin, Lin]:
        """Start, step and length of a slice along an axis of `size`, as Python clamps them."""
        start, stop, step = (
            self.integer(node.operands[first + b.k]) if isinstance(b, Arg) else None if b is None else Lin(b)
            for b in (span.start, span.stop, span.step)
        )
        known = self.scopes.resolve(wanted) if wanted is not None else None
        stride: int | Lin = 1 if step is None else step.const if step.is_const else step
        if stride == 1:
            begin = Lin() if start is None else self._clamped(start, size)
            if known is None:
                end = size if stop is None else self._clamped(stop, size)
                known = self._length(begin, end)
                if wanted is not None:
                    self.scopes.learn(wanted, known)
            return begin, 1, known
        if stride == -1 and start is None and stop is None:
            return size - 1, -1, size
        if size.is_const and all(b is None or b.is_const for b in (start, stop, step)):
            exact = range(size.const)[slice(*(None if b is None else b.const for b in (start, stop, step)))]
            return Lin(exact.start), exact.step, Lin(len(exact))
        args: dict[str, Expr] = {"n": Int(size), "s": Int(step) if step is not None else Int(Lin(1))}
        bounds = []
        for name, bound in (("a", start), ("b", stop)):
            if bound is None:
                text = "(0 if {s} > 0 else {n} - 1)" if name == "a" else "({n} if {s} > 0 else -1)"
                bounds.append(self.set_integer("start" if name == "a" else "stop", Text(text, dict(args), "int64", "int64")))
                continue
            wrapped = "({x} if {x} >= 0 else {x} + {n})"
            text = (
                f"(min(max({wrapped}, 0), {{n}}) if {{s}} > 0 else min(max({wrapped}, -1), {{n}} - 1))"
            )
            parts = {**args, "x": Int(bound)}
            bounds.append(self.set_integer("start" if name == "a" else "stop", Text(text, parts, "int64", "int64")))
        length = known
        if length is None:
            text = "max(({b} - {a} + {s} - (1 if {s} > 0 else -1)) // {s}, 0)"
            length = self.set_integer(
                "n", Text(text, {"a": Int(bounds[0]), "b": Int(bounds[1]), "s": args["s"]}, "int64", "int64")
            )
            if wanted is not None:
                self.scopes.learn(wanted, length)
        return bounds[0], stride, length

    def _clamped(self, bound: Lin, size: Lin) -> Lin:
        """A bound of a slice with step 1, counted from the front and inside [0, size] as far as it matters."""
        if bound.same(size):
            return size
        if bound.is_const and bound.const >= 0:
            if size.is_const:
                return Lin(min(bound.const, size.const))
            return Lin(bound.const) if bound.const == 0 else self._start(bound, size)
        if bound.is_const and size.is_const:
            return Lin(max(bound.const + size.const, 0))
        if bound.is_const:
            return self.set_integer("start", Text("max({n} - {k}, 0)", {"n": Int(size), "k": Int(-bound)}, "int64", "int64"))
        inside = "min({k}, {n})" if self.is_natural(bound) else "min(max({k} if {k} >= 0 else {k} + {n}, 0), {n})"
        return self.set_integer("start", Text(inside, {"k": Int(bound), "n": Int(size)}, "int64", "int64"))

    def _start(self, bound: Lin, size: Lin) -> Lin:
        # Past the end the slice is empty whatever its start, because the length is clamped.
        return bound

    def _length(self, begin: Lin, end: Lin) -> Lin:
        length = end - begin
        if length.is_const:
            return Lin(max(length.const, 0))
        if begin.is_const and not begin.const:
            return length
        return self.set_integer("n", Text("max({e}, 0)", {"e": Int(length)}, "int64", "int64"))

    def _op_reshape(self, node: Node) -> None:
        x, result = node.operands[0], node.result
        ref = self.ref(x)
        extents = self.extents_of(result, node)
        old = [k for k, s in enumerate(x.shape) if s != 1]
        new = [k for k, s in enumerate(result.shape) if s != 1]
        if [x.shape[k] for k in old] == [result.shape[k] for k in new]:
            at = [Lin()] * x.rank
            for p, q in zip(old, new, strict=True):
                at[p] = axis(q)
            self.env[id(result)] = Ref(ref.buffer, ref.at(at).index, extents)
            return
        source = ref.strided()
        if source is None:
            raise InternalError("a reshape of memory that is not contiguous", node.loc)
        self._bind(node, result, extents, Bind(self._view_buffer(result, extents, (ref.buffer,), "C"), source))

    def _view_buffer(self, value: Value, extents: tuple[Lin, ...], of: tuple[Buffer, ...], layout: Any) -> Buffer:
        buffer = Buffer(self.names.take(value.name or "view"), value.dtype, extents, layout, of=of)
        for root in buffer.roots:
            self.escaping.add(root)
        return buffer

    def _bind(self, node: Node, value: Value, extents: tuple[Lin, ...], stmt: Bind) -> None:
        buffer = stmt.buffer
        needs = names_in([*extents, *([stmt.cond] if stmt.cond is not None else [])])
        effects = []
        for source in (stmt.source, stmt.other):
            if source is not None:
                needs |= names_in([*source.starts, *source.extents])
                # The choice or view reads no content, but must come after the memory is there.
                effects.append(Touch(source.buffer, None, READ))
        self.add(emit=lambda: [stmt], needs=needs, effects=effects, guarded=True, makes={_token(buffer)})
        self.env[id(value)] = Ref(buffer, tuple(axis(k) for k in range(len(extents))), extents)

    def ref_names(self, ref: Ref) -> set[str]:
        """Variables that a unit needs to reach what an array value names."""
        return names_in([*ref.index, *ref.extents]) | ({_token(ref.buffer)} if ref.buffer.of else set())

    def _op_select_ref(self, node: Node) -> None:
        cond, a, b = node.operands
        slices = []
        for value in (a, b):
            source = self.ref(value).strided()
            if source is None:
                raise UnsupportedError("a choice between arrays of this form", node.loc, hint="copy them first")
            slices.append(source)
        result = node.result
        extents = self.extents_of(result, node)
        layout = result.ty.layout if isinstance(result.ty, Array) else "A"
        buffer = self._view_buffer(result, extents, (slices[0].buffer, slices[1].buffer), layout)
        self._bind(node, result, extents, Bind(buffer, slices[0], self.scalar(cond), slices[1]))

    # --------------------------------------------------------------------------------------- elements

    def element_index(self, node: Node, first: int) -> tuple[Ref, tuple[Index, ...]]:
        """The buffer element of `load` and its like."""
        ref = self.ref(node.operands[0])
        position = [self.position(e, node, first, n) for e, n in zip(node.attrs["region"], ref.extents, strict=True)]
        return ref, ref.at(position).index

    def _op_load(self, node: Node) -> None:
        ref, index = self.element_index(node, 1)
        variable = self.set_scalar(node.result.name, Load(ref.buffer, index), node.result.dtype, guarded=True)
        self.bind_scalar(node.result, variable)

    def _op_store_at(self, node: Node, add: bool = False) -> None:
        ref, index = self.element_index(node, 2)
        value = self.scalar(node.operands[1])
        if value.dtype != ref.buffer.dtype:
            value = Text("{x}", {"x": value}, ref.buffer.dtype, ref.buffer.dtype)
        self.add(body=[Put(ref.buffer, index, value, add)])

    def _op_accumulate_at(self, node: Node) -> None:
        self._op_store_at(node, add=True)

    # ----------------------------------------------------------------------------------------- writes

    def source(self, value: Value, target: Ref, same_place: bool = True) -> Expr | Ref:
        """What a write reads; copied first where it may overlap the target elsewhere than at the same element."""
        held = self.env[id(value)]
        if not isinstance(held, Ref):
            return held  # type: ignore[no-any-return]
        if held.buffer.roots.isdisjoint(target.buffer.roots):
            return held
        same = (
            same_place
            and held.buffer is target.buffer
            and len(held.index) == len(target.index)
            and value.rank == len(target.extents)
            and all(isinstance(p, Lin) and isinstance(q, Lin) and p.same(q) for p, q in zip(held.index, target.index, strict=True))
        )
        return held if same else self.copied(value, held)

    def _op_store(self, node: Node, add: bool = False) -> None:
        x, value = node.operands
        target = self.ref(x)
        source = self.source(value, target)
        rank = x.rank
        self.learn_broadcast([value.shape, x.shape])
        if isinstance(source, Ref):
            extra = max(value.rank - rank, 0)
            shape = value.shape[extra:]
            trimmed = Ref(source.buffer, source.at([Lin()] * extra + [axis(k) for k in range(len(shape))]).index, ())
            expr: Expr = trimmed.broadcast(shape, rank)
        else:
            expr = source
        if expr.dtype != x.dtype:
            expr = Text("{x}", {"x": expr}, x.dtype, x.dtype)
        element = target.at([axis(k) for k in range(rank)])
        self.nest(x.shape, target.extents, [Put(target.buffer, element.index, expr, add)])

    def _op_accumulate(self, node: Node) -> None:
        self._op_store(node, add=True)

    # ------------------------------------------------------------------------------------- new arrays

    def _op_zeros(self, node: Node) -> None:
        result = node.result
        buffer = self.new_buffer(result, result.dtype, self.extents_of(result, node))
        self.fill(buffer, result.shape, Lit(zero_of(result.dtype), result.dtype))
        self.env[id(result)] = whole(buffer)

    def _op_empty(self, node: Node) -> None:
        result = node.result
        buffer = self.new_buffer(result, result.dtype, self.extents_of(result, node))
        self.env[id(result)] = whole(buffer)

    def _op_copy(self, node: Node) -> None:
        (x,) = node.operands
        if isinstance(x.ty, Array):
            ref = self.ref(x)
            # Nobody looks at x after this: the copy may have its memory.
            unused = self.last_use.get(x) == self.position_in_block and ref.buffer in self.local
            taken = unused and ref.whole and not ref.buffer.of
            self.env[id(node.result)] = ref if taken else self.copied(node.result, ref)
        else:
            self._op_broadcast_to(node)

    def _op_broadcast_to(self, node: Node) -> None:
        x, result = node.operands[0], node.result
        buffer = self.new_buffer(result, result.dtype, self.extents_of(result, node))
        expr = self.element(x, result.rank)
        if expr.dtype != result.dtype:
            expr = Text("{x}", {"x": expr}, result.dtype, result.dtype)
        self.fill(buffer, result.shape, expr)
        self.env[id(result)] = whole(buffer)

    # ---------------------------------------------------------------------------------------- gathers

    def gathered(self, node: Node, first: int) -> tuple[tuple[Index, ...], tuple[Lin, ...], Shape]:
        """The element of an advanced index over the axes of the result, with the result's sizes."""
        x = node.operands[0]
        ref = self.ref(x)
        region = node.attrs["region"]
        used = [node.operands[first + e.k] for e in region if isinstance(e, Gather)]
        rank = max(v.rank for v in used)
        shape: list[Size] = [1] * rank
        sizes: list[Lin] = [Lin(1)] * rank
        for v in used:
            for k, size in enumerate(v.shape):
                at = rank - v.rank + k
                if shape[at] == 1:
                    shape[at], sizes[at] = size, self.ref(v).extents[k]
        advanced = [k for k, e in enumerate(region) if isinstance(e, Gather | At)]
        adjacent = advanced == list(range(advanced[0], advanced[-1] + 1))
        result_shape: list[Size] = []
        result_sizes: list[Lin] = []
        index: list[Index] = []
        pending: list[tuple[int, Any]] = []
        lead = 0

        def gather_axes() -> None:
            nonlocal lead
            lead = len(result_shape)
            result_shape.extend(shape)
            result_sizes.extend(sizes)

        if not adjacent:
            gather_axes()
        source = 0
        for k, entry in enumerate(region):
            if isinstance(entry, NewAxis):
                result_shape.append(1)
                result_sizes.append(Lin(1))
                continue
            if adjacent and k == advanced[0]:
                gather_axes()
            size = ref.extents[source]
            if isinstance(entry, At):
                index.append(self.position(entry, node, first, size))
            elif isinstance(entry, Gather):
                pending.append((len(index), (node.operands[first + entry.k], size)))
                index.append(Lin())
            else:
                start, step, length = self.span(entry, node, first, size, None)
                if isinstance(step, int):
                    index.append(start + axis(len(result_shape)) * step)
                else:
                    parts = {"a": Int(start), "s": Int(step), "k": Int(axis(len(result_shape)))}
                    index.append(Text("{a} + {s} * {k}", parts, "int64", "int64"))
                value_size = x.shape[source] if length.same(size) else object()
                result_shape.append(value_size)  # type: ignore[arg-type]
                result_sizes.append(length)
            source += 1
        for at, (v, size) in pending:
            held = self.ref(v)
            place = [Lin() if s == 1 else axis(lead + rank - v.rank + k) for k, s in enumerate(v.shape)]
            entry_value = held.at(place)
            index[at] = Text("{k} if {k} >= 0 else {k} + {n}", {"k": entry_value, "n": Int(size)}, "int64", "int64")
        return _composed(ref.index, index), tuple(result_sizes), tuple(result_shape)

    def _op_gather(self, node: Node) -> None:
        result = node.result
        ref = self.ref(node.operands[0])
        index, sizes, _ = self.gathered(node, 1)
        if not isinstance(result.ty, Array):
            self.bind_scalar(result, self.set_scalar(result.name, Load(ref.buffer, index), result.dtype, guarded=True))
            return
        for size, extent in zip(result.shape, sizes, strict=True):
            self.scopes.learn(size, extent)
        buffer = self.new_buffer(result, result.dtype, sizes)
        self.fill(buffer, result.shape, Load(ref.buffer, index))
        self.env[id(result)] = whole(buffer)

    def _op_scatter(self, node: Node, add: bool = False) -> None:
        x, value = node.operands[:2]
        target = self.ref(x)
        source = self.source(value, target, same_place=False)
        for k, operand in enumerate(node.operands[2:], 2):
            if isinstance(operand.ty, Array) and not self.ref(operand).buffer.roots.isdisjoint(target.buffer.roots):
                copied = self.copied(operand, self.ref(operand))
                fresh = Value(operand.ty)
                self.env[id(fresh)] = copied
                self.extra_values.append(fresh)
                node = Node(node.op, [*node.operands[:k], fresh, *node.operands[k + 1 :]], [], node.attrs, [], node.loc)
        index, sizes, shape = self.gathered(node, 2)
        rank = len(shape)
        if isinstance(source, Ref):
            extra = max(value.rank - rank, 0)
            own = value.shape[extra:]
            trimmed = Ref(source.buffer, source.at([Lin()] * extra + [axis(k) for k in range(len(own))]).index, ())
            expr: Expr = trimmed.broadcast(own, rank)
        else:
            expr = source
        if expr.dtype != x.dtype:
            expr = Text("{x}", {"x": expr}, x.dtype, x.dtype)
        axes = tuple(Axis(k, sizes[k], s) for k, s in enumerate(shape) if s != 1)
        probe = Unit((0,), body=[Put(target.buffer, index, expr, add)])
        probe.bind({f"@{k}": Lin() for k, s in enumerate(shape) if s == 1})
        self.add(axes=axes, body=probe.body)

    extra_values: list[Value] = []

    def _op_scatter_add(self, node: Node) -> None:
        self._op_scatter(node, add=True)

    # ------------------------------------------------------------------------------------------ masks

    def _masked(self, x: Ref, mask: Value, rank: int, made: list[Any], count: str) -> tuple[list[str], list[Stmt]]:
        """Loops over a mask, and their variables; `made` runs where it holds, for every element behind, and the counter goes up."""
        held = self.ref(mask)
        names = [self.names.take("i") for _ in range(rank)]
        inner: list[Stmt] = made
        for k in reversed(range(mask.rank, rank)):
            inner = [For(names[k], Lin(), x.extents[k], Lin(1), inner)]
        inner = [*inner, Assign(count, Int(var(count) + 1), "int64")]
        test = held.at([var(n) for n in names[: mask.rank]])
        stmt: Stmt = If(test, inner)
        for k in reversed(range(mask.rank)):
            stmt = For(names[k], Lin(), held.extents[k], Lin(1), [stmt])
        return names, [Assign(count, Lit(0, "int64"), "int64"), stmt]

    def _whole_reads(self, *refs: Ref) -> list[Touch]:
        for ref in refs:
            self.escaping |= ref.buffer.roots
        return [Touch(r.buffer, None, READ) for r in refs]

    def _op_mask_select(self, node: Node) -> None:
        x, mask = node.operands
        result = node.result
        ref, held = self.ref(x), self.ref(mask)
        size = self.names.take("count")
        self.scopes.define(size)
        effects = self._whole_reads(ref, held)
        needs = names_in([*ref.index, *ref.extents, *held.index, *held.extents])
        _, counting = self._masked(ref, mask, mask.rank, [], size)
        self.add(emit=lambda: counting, effects=effects, needs=set(needs), makes={size})
        self.scopes.learn(result.shape[0], var(size))
        buffer = self.new_buffer(result, result.dtype, (var(size), *ref.extents[mask.rank :]))
        self.escaping.add(buffer)
        self.env[id(result)] = whole(buffer)
        place = self.names.take("place")
        put = Put(buffer, (), Lit(0, buffer.dtype))
        names, copying = self._masked(ref, mask, x.rank, [put], place)
        put.index = (var(place), *(var(n) for n in names[mask.rank :]))
        put.expr = ref.at([var(n) for n in names])
        self.add(
            emit=lambda: copying, effects=[*effects, Touch(buffer, None, WRITE)], needs=needs | {size}, made=buffer
        )

    def _op_scatter_mask(self, node: Node, add: bool = False) -> None:
        x, value, mask = node.operands
        target = self.ref(x)
        source = self.source(value, target, same_place=False)
        if not self.ref(mask).buffer.roots.isdisjoint(target.buffer.roots):
            self.env[id(mask)] = self.copied(mask, self.ref(mask))
        held = self.ref(mask)
        place = self.names.take("place")
        put = Put(target.buffer, (), Lit(0, x.dtype), add)
        names, stmts = self._masked(target, mask, x.rank, [put], place)
        put.index = target.at([var(n) for n in names]).index
        reads = [held]
        if isinstance(source, Ref):
            reads.append(source)
            rank = x.rank - mask.rank + 1
            at = [var(place), *(var(n) for n in names[mask.rank :])]
            lead = rank - value.rank
            element = source.at([Lin() if s == 1 else at[k + lead] for k, s in enumerate(value.shape)])
            put.expr = element
        else:
            put.expr = source
        if put.expr.dtype != x.dtype:
            put.expr = Text("{x}", {"x": put.expr}, x.dtype, x.dtype)
        effects = [*self._whole_reads(*reads), Touch(target.buffer, None, WRITE)]
        self.escaping |= target.buffer.roots
        needs = names_in([put.expr, *target.index, *target.extents, *held.index, *held.extents]) - {place, *names}
        self.add(emit=lambda: stmts, effects=effects, needs=needs)

    def _op_accumulate_mask(self, node: Node) -> None:
        self._op_scatter_mask(node, add=True)

    def _op_last_writers(self, node: Node) -> None:
        x, result = node.operands[0], node.result
        base = self.ref(x)
        owner = self.new_buffer(None, "int64", base.extents, "owner")
        fake = Value(Array("int64", x.shape))
        self.env[id(fake)] = whole(owner)
        self.extra_values.append(fake)
        moved = Node(node.op, [fake, *node.operands[1:]], [], node.attrs, [], node.loc)
        index, sizes, shape = self.gathered(moved, 1)
        number: Expr = Int(Lin())
        for k in range(len(shape)):
            parts = {"p": number, "n": Int(sizes[k]), "k": Int(axis(k))}
            number = Text("({p}) * ({n}) + {k}", parts, "int64", "int64")
        axes = tuple(Axis(k, sizes[k], s) for k, s in enumerate(shape) if s != 1)
        probe = Unit((0,), body=[Put(owner, index, number)])
        probe.bind({f"@{k}": Lin() for k, s in enumerate(shape) if s == 1})
        self.add(axes=axes, body=probe.body)
        buffer = self.new_buffer(result, "bool", sizes)
        is_last = Text("{a} == {b}", {"a": Load(owner, index), "b": number}, "bool", "int64")
        self.fill(buffer, result.shape, is_last)
        self.env[id(result)] = whole(buffer)

    # ----------------------------------------------------------------------------------------- checks

    def _op_check(self, node: Node) -> None:
        cond = self.scalar(node.operands[0])
        stmt = Raise(node.attrs["error"], node.attrs.get("message", ""), node.loc)
        if isinstance(cond, Lit | Int) and not isinstance(cond, Var):
            known = cond.value if isinstance(cond, Lit) else cond.lin.const if cond.lin.is_const else None
            if known:
                return
            if known is not None:
                self.add(emit=lambda: [stmt], raises=True, keep=True)
                return
        needs = names_in([cond])
        effects = [Touch(cond.buffer, cond.index, READ)] if isinstance(cond, Load) else []
        test = Text("not {c}", {"c": cond}, "bool", "bool")
        self.add(emit=lambda: [If(test, [stmt])], raises=True, needs=needs, effects=effects, keep=True)

    def _op_check_indices(self, node: Node) -> None:
        indices, x = node.operands
        size = self.ref(x).extents[node.attrs["axis"]]
        message = node.attrs.get("message") or "an index is out of bounds"
        stmt = Raise("IndexError", message, node.loc)
        held = self.env[id(indices)]
        effects: list[Touch] = []
        names = [self.names.take("i") for _ in range(indices.rank)]
        if isinstance(held, Ref):
            effects = self._whole_reads(held)
            entry: Expr = held.at([var(n) for n in names])
        else:
            entry = held
        test = Text("{k} < -{n} or {k} >= {n}", {"k": entry, "n": Int(size)}, "bool", "int64")
        body: Stmt = If(test, [stmt])
        if isinstance(held, Ref):
            for k in reversed(range(indices.rank)):
                body = For(names[k], Lin(), held.extents[k], Lin(1), [body])
        needs = names_in([entry, size, *(held.extents if isinstance(held, Ref) else ())]) - set(names)
        self.add(emit=lambda: [body], raises=True, effects=effects, needs=needs, keep=True)

    # ----------------------------------------------------------------------------------------- stacks

    def _op_stack_new(self, node: Node) -> None:
        item = node.attrs["item"]
        assert isinstance(item, Scalar | Array)
        name = self.names.take("tape")
        data = Buffer(name, item.dtype, (Lin(64),), fresh=True)
        length = self.names.take(f"{name}_length")
        self.escaping.add(data)
        sizes, sizes_length = None, ""
        start: list[Stmt] = [Assign(length, Lit(0, "int64"), "int64")]
        touched = [Touch(data, None, WRITE)]
        if isinstance(item, Array) and any(not isinstance(s, int) for s in item.shape):
            sizes = Buffer(f"{name}_sizes", "int64", (Lin(64),), fresh=True)
            self.names.take(f"{name}_sizes")
            sizes_length = self.names.take(f"{name}_sizes_length")
            self.escaping.add(sizes)
            start.append(Assign(sizes_length, Lit(0, "int64"), "int64"))
            touched.append(Touch(sizes, None, WRITE))
        self.env[id(node.result)] = StackRef(data, length, sizes, sizes_length)
        self.add(emit=lambda: start, effects=touched, keep=True)

    def _op_push(self, node: Node) -> None:
        stack: StackRef = self.env[id(node.operands[0])]
        x = node.operands[1]
        held = self.env[id(x)]
        length = stack.length
        out: list[Stmt] = []
        if not isinstance(held, Ref) or (isinstance(held, Ref) and x.rank == 0):
            expr = self.scalar(x)
            out = [
                Grow(stack.data, var(length) + 1),
                Put(stack.data, (var(length),), expr),
                Assign(length, Int(var(length) + 1), "int64"),
            ]
            effects = [Touch(stack.data, None, WRITE)]
            if isinstance(held, Ref):
                effects += self._whole_reads(held)
            self.add(emit=lambda: out, needs=names_in([expr]), effects=effects, keep=True)
            return
        count = self._element_count(held.extents)
        out = [Grow(stack.data, var(length) + count)]
        if stack.sizes is not None:
            variable = [k for k, s in enumerate(x.shape) if not isinstance(s, int)]
            out.append(Grow(stack.sizes, var(stack.sizes_length) + len(variable)))
            for place, k in enumerate(variable):
                out.append(Put(stack.sizes, (var(stack.sizes_length) + place,), Int(held.extents[k])))
            out.append(Assign(stack.sizes_length, Int(var(stack.sizes_length) + len(variable)), "int64"))
        effects = [Touch(stack.data, None, WRITE), *([Touch(stack.sizes, None, WRITE)] if stack.sizes else [])]
        names = [self.names.take("i") for _ in range(x.rank)]
        row: Expr = Int(Lin())
        for k in range(x.rank - 1):
            row = Text("({p} + {k}) * ({n})", {"p": row, "k": Int(var(names[k])), "n": Int(held.extents[k + 1])}, "int64", "int64")
        base = self.names.take("at")
        put = Put(stack.data, (var(base) + var(names[-1]),), held.at([var(n) for n in names]))
        body: list[Stmt] = [For(names[-1], Lin(), held.extents[-1], Lin(1), [put])]
        body.insert(0, Assign(base, Text("{s} + {r}", {"s": Int(var(length)), "r": row}, "int64", "int64"), "int64"))
        for k in reversed(range(x.rank - 1)):
            body = [For(names[k], Lin(), held.extents[k], Lin(1), body)]
        out.extend(body)
        out.append(Assign(length, Int(var(length) + count), "int64"))
        effects += self._whole_reads(held)
        self.add(emit=lambda: out, needs=names_in([*held.index, *held.extents, count]), effects=effects, keep=True)

    def _element_count(self, extents: Sequence[Lin]) -> Lin:
        total = Lin(1)
        for extent in extents:
            if total.is_const:
                total = extent * total.const
            elif extent.is_const:
                total = total * extent.const
            else:
                total = self.set_integer("count", Text("({a}) * ({b})", {"a": Int(total), "b": Int(extent)}, "int64", "int64"))
        return total

    def _op_pop(self, node: Node) -> None:
        stack: StackRef = self.env[id(node.operands[0])]
        result = node.result
        length = stack.length
        if not isinstance(result.ty, Array):
            name = self.names.take(result.name or "t")
            out: list[Stmt] = [
                Assign(length, Int(var(length) - 1), "int64"),
                Assign(name, Load(stack.data, (var(length),)), result.dtype),
            ]
            self.add(emit=lambda: out, effects=[Touch(stack.data, None, WRITE)], makes={name}, keep=True)
            self.bind_scalar(result, Var(name, result.dtype))
            return
        before: list[Stmt] = []
        extents: list[Lin] = []
        makes: set[str] = set()
        effects = [Touch(stack.data, None, WRITE)]
        if stack.sizes is not None:
            variable = [k for k, s in enumerate(result.shape) if not isinstance(s, int)]
            before.append(Assign(stack.sizes_length, Int(var(stack.sizes_length) - len(variable)), "int64"))
            effects.append(Touch(stack.sizes, None, WRITE))
        seen = 0
        for size in result.shape:
            if isinstance(size, int):
                extents.append(Lin(size))
                continue
            assert stack.sizes is not None
            name = self.names.take("n")
            self.scopes.define(name)
            makes.add(name)
            before.append(Assign(name, Load(stack.sizes, (var(stack.sizes_length) + seen,)), "int64"))
            seen += 1
            resolved = self.scopes.resolve(size)
            extents.append(resolved if resolved is not None else var(name))
            if resolved is None:
                self.scopes.learn(size, var(name))
        text = " * ".join(f"({{n{k}}})" for k in range(len(extents))) or "1"
        count = Text(text, {f"n{k}": Int(e) for k, e in enumerate(extents)}, "int64", "int64")
        parts = {"a": Int(var(length)), "b": count}
        before.append(Assign(length, Text("{a} - {b}", parts, "int64", "int64"), "int64"))
        start = self.names.take("at")
        self.scopes.define(start)
        before.append(Assign(start, Int(var(length)), "int64"))
        makes.add(start)
        needs = names_in(list(extents)) - makes
        self.add(emit=lambda: before, effects=effects, makes=makes, needs=needs, keep=True)
        place: Expr = Int(axis(0)) if extents else Int(Lin())
        for k in range(1, len(extents)):
            place = Text("({p}) * ({n}) + {k}", {"p": place, "n": Int(extents[k]), "k": Int(axis(k))}, "int64", "int64")
        index: Index = var(start) + axis(0) if len(extents) == 1 else Text("{s} + {p}", {"s": Int(var(start)), "p": place}, "int64", "int64")
        buffer = self.new_buffer(result, result.dtype, tuple(extents))
        self.fill(buffer, result.shape, Load(stack.data, (index,)))
        self.env[id(result)] = whole(buffer)


def _token(buffer: Buffer) -> str:
    """What stands among variable names for a buffer's variable having been bound to its memory."""
    return f"&{buffer.name}"


def _is_complex(dtype: str) -> bool:
    return dtype.startswith("complex")


def _affine(node: Node, operands: Sequence[Expr]) -> Lin | None:
    """Sums and differences of integers, and products with literals, as an affine integer."""
    if node.result.dtype != "int64" or not all(isinstance(o, Int) for o in operands):
        return None
    lins = [o.lin for o in operands if isinstance(o, Int)]
    match node.op.name:
        case "add":
            return lins[0] + lins[1]
        case "sub":
            return lins[0] - lins[1]
        case "neg":
            return -lins[0]
        case "mul" if lins[0].is_const:
            return lins[1] * lins[0].const
        case "mul" if lins[1].is_const:
            return lins[0] * lins[1].const
        case "cast":
            return lins[0]
    return None


def _composed(index: Sequence[Index], position: Sequence[Index]) -> tuple[Index, ...]:
    """An index with "@k" replaced by positions, some of which are not affine."""
    out: list[Index] = []
    for part in index:
        if not isinstance(part, Lin):
            raise UnsupportedError("a view of a view with a step that is known at run time only")
        own = [(n, c) for n, c in part.terms if n[0] == "@"]
        expr: Index = Lin(part.const, tuple((n, c) for n, c in part.terms if n[0] != "@"))
        for name, c in own:
            p = position[int(name[1:])]
            if isinstance(p, Lin) and isinstance(expr, Lin):
                expr = expr + p * c
                continue
            left = Int(expr) if isinstance(expr, Lin) else expr
            right = Int(p * c) if isinstance(p, Lin) else p if c == 1 else Text(f"{c} * ({{p}})", {"p": p}, "int64", "int64")
            if isinstance(expr, Lin) and expr == Lin():
                expr = right
            else:
                expr = Text("{a} + ({b})", {"a": left, "b": right}, "int64", "int64")
        out.append(expr)
    return tuple(out)


def _is_matrix(ref: Ref) -> bool:
    """Whether rows and columns of a value lie along axes of its buffer, without steps."""
    found = ref.strided()
    return found is not None and all(step in (None, 1) for step in found.steps)


def _axis_of(ref: Ref, own: int) -> int:
    """The axis of the buffer along which an axis of the value lies, or -1 (size 1)."""
    found = ref.strided()
    assert found is not None
    return found.axes.index(own) if own in found.axes else -1


def _ordered(axes: Sequence[Axis], unit: Unit) -> tuple[Axis, ...]:
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


