"""Views: positions and slices as affine indices, reshapes, choices of memory."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from gradc.errors import InternalError, UnsupportedError
from gradc.ir.loops import (
    Bind,
    Buffer,
    Expr,
    Index,
    Int,
    Lin,
    Text,
    axis,
)
from gradc.ir.nodes import Node, Value
from gradc.ir.region import Arg, At, NewAxis, Span
from gradc.ir.types import Array, Shape, Size
from gradc.lower.arrays import Ref
from gradc.lower.base import Base, token
from gradc.lower.units import READ, Touch, names_in


class ViewLowering(Base):
    """Views of arrays."""

    def _op_dim(self, node: Node) -> None:
        self.env[node.result] = Int(self.ref(node.operands[0]).extents[node.attrs["axis"]])

    def _op_alias(self, node: Node) -> None:
        self.env[node.result] = self.env[node.operands[0]]

    def _op_transpose(self, node: Node) -> None:
        ref, perm = self.ref(node.operands[0]), node.attrs["perm"]
        moved = ref.at([axis(perm.index(k)) for k in range(len(perm))])
        self.env[node.result] = Ref(ref.buffer, moved.index, tuple(ref.extents[k] for k in perm))

    def _op_index(self, node: Node) -> None:
        ref = self.ref(node.operands[0])
        index, extents = self.region(node, ref.extents, node.operands[0].shape, 1, node.result)
        position: list[Index] = index
        if all(isinstance(p, Lin) for p in position):
            load = ref.at([p for p in position if isinstance(p, Lin)])
            self.env[node.result] = Ref(ref.buffer, load.index, extents)
        else:
            self.env[node.result] = Ref(ref.buffer, composed(ref.index, position), extents)

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
        if (node, value) in self.from_front or self.is_natural(lin):
            return lin
        if lin.is_const:
            return size + lin.const
        wrapped = Text("{k} if {k} >= 0 else {k} + {n}", {"k": Int(lin), "n": Int(size)}, "int64", "int64")
        return self.set_integer("k", wrapped)

    # Nodes with positions that are known not to be negative there.
    from_front: frozenset[tuple[Node, Value]] = frozenset()

    def is_natural(self, lin: Lin) -> bool:
        """Whether an affine integer is known not to be negative."""
        return lin.const >= 0 and all(
            c > 0 and (n[0] == "@" or n in self.natural or n in self.scopes.natural) for n, c in lin.terms
        )

    def span(self, span: Span, node: Node, first: int, size: Lin, wanted: Size | None) -> tuple[Lin, int | Lin, Lin]:
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
                end = size if stop is None else self._clamped(stop, size, ends=True)
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
                bounds.append(
                    self.set_integer("start" if name == "a" else "stop", Text(text, dict(args), "int64", "int64"))
                )
                continue
            wrapped = "({x} if {x} >= 0 else {x} + {n})"
            text = f"(min(max({wrapped}, 0), {{n}}) if {{s}} > 0 else min(max({wrapped}, -1), {{n}} - 1))"
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

    def _clamped(self, bound: Lin, size: Lin, ends: bool = False) -> Lin:
        """A bound of a slice with step 1, counted from the front and inside [0, size] as far as it matters.

        ends: it is where the slice stops.
        """
        if bound.same(size):
            return size
        if bound.is_const and bound.const >= 0:
            if size.is_const:
                return Lin(min(bound.const, size.const))
            if not ends or not bound.const:
                return bound  # past the end the slice is empty whatever its start, because the length is clamped
            return self.set_integer("stop", Text("min({k}, {n})", {"k": Int(bound), "n": Int(size)}, "int64", "int64"))
        if bound.is_const and size.is_const:
            return Lin(max(bound.const + size.const, 0))
        if bound.is_const:
            return self.set_integer(
                "start", Text("max({n} - {k}, 0)", {"n": Int(size), "k": Int(-bound)}, "int64", "int64")
            )
        inside = "min({k}, {n})" if self.is_natural(bound) else "min(max({k} if {k} >= 0 else {k} + {n}, 0), {n})"
        return self.set_integer("start", Text(inside, {"k": Int(bound), "n": Int(size)}, "int64", "int64"))

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
            self.env[result] = Ref(ref.buffer, ref.at(at).index, extents)
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
        self.add(emit=lambda: [stmt], needs=needs, effects=effects, guarded=True, makes={token(buffer)})
        self.env[value] = Ref(buffer, tuple(axis(k) for k in range(len(extents))), extents)

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


def composed(index: Sequence[Index], position: Sequence[Index]) -> tuple[Index, ...]:
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
            right = (
                Int(p * c)
                if isinstance(p, Lin)
                else p
                if c == 1
                else Text(f"{c} * ({{p}})", {"p": p}, "int64", "int64")
            )
            if isinstance(expr, Lin) and expr == Lin():
                expr = right
            else:
                expr = Text("{a} + ({b})", {"a": left, "b": right}, "int64", "int64")
        out.append(expr)
    return tuple(out)
