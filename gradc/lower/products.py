"""Products: to BLAS where two axes of memory are matrices, as loops elsewhere."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from gradc.ir.loops import (
    Buffer,
    Contraction,
    Fold,
    For,
    Lin,
    Product,
    Stmt,
    Text,
    Var,
    axis,
    var,
)
from gradc.ir.nodes import Node, Value
from gradc.ir.types import Array, Shape, Size
from gradc.lower.arrays import Ref, whole
from gradc.lower.base import Base
from gradc.lower.units import ADD, READ, WRITE, Axis, Folding, Touch, names_in


@dataclass(eq=False, slots=True)
class _MadeProduct:
    """A product as it was lowered, so that it can be made to add to another array."""

    subscripts: tuple[str, str, str]
    refs: list[Ref]
    corner: tuple[str, str, str]
    letters: dict[str, Lin]
    sizes: dict[str, Size]
    unit: Any = None
    stmt: Any = None
    merged: bool = False

    def operand(
        self, ref: Ref, text: str, shape: Shape, first: str, second: str
    ) -> tuple[Buffer, tuple[Lin, ...], int, int]:
        """Where a matrix starts in memory, and which axes of the buffer are its rows and columns."""
        at = [Lin() if shape[k] == 1 else self.letters.get(c, Lin()) for k, c in enumerate(text)]
        start = tuple(p for p in ref.at(at).index if isinstance(p, Lin))
        axes = [axis_of(ref, text.index(c)) if c and c in text else -1 for c in (first, second)]
        return ref.buffer, start, axes[0], axes[1]


class ProductLowering(Base):
    """Contractions of two arrays."""

    def _contraction(self, node: Node, contraction: Contraction) -> None:
        subscripts = contraction.subscripts(node)
        sa, sb, sc = subscripts
        extents = self._letters(node, subscripts)
        long = [c for c in sc if extents[c][1] != 1]
        summed = [c for c in sa if c in sb and c not in sc]
        rows = [c for c in long if c in sa and c not in sb]
        columns = [c for c in long if c in sb and c not in sa]
        if len(summed) != 1 or not (rows or columns):
            self._contraction_loops(node, subscripts, extents)
            return
        result = node.result
        refs = []
        for value in node.operands:
            ref = self.ref(value)
            if value.dtype != result.dtype or not is_matrix(ref):
                ref = self.copied(value, ref, result.dtype)
            refs.append(ref)
            self.escaping |= ref.buffer.roots
        buffer = self.new_buffer(result, result.dtype, tuple(extents[c][0] for c in sc))
        self.escaping.add(buffer)
        self.env[result] = whole(buffer)
        row, column, inner = (v[-1] if v else "" for v in (rows, columns, summed))
        # Axes before the rows that memory runs through in the same step are more rows; others are loops.
        count = extents[row][0] if row else Lin(1)
        merged: list[str] = []
        for c in reversed(rows[:-1]):
            after = merged[-1] if merged else row
            if not (adjacent(refs[0], sa, c, after) and adjacent(whole(buffer), sc, c, after)):
                break
            merged.append(c)
            count = self.product_of(extents[c][0], count)
        loops = [c for c in long if c not in (row, column) and c not in merged]
        letters = {c: var(self.names.take("n")) for c in loops}
        product = _MadeProduct(subscripts, refs, (row, column, inner), letters, {c: extents[c][1] for c in sc})
        stmt = Product(
            product.operand(refs[0], sa, node.operands[0].shape, row, inner),
            product.operand(refs[1], sb, node.operands[1].shape, inner, column),
            product.operand(whole(buffer), sc, result.shape, row, column),
            (count, extents[column][0] if column else Lin(1), extents[inner][0]),
        )
        nest: Stmt = stmt
        for c in reversed(loops):
            nest = For(letters[c].terms[0][0], Lin(), extents[c][0], Lin(1), [nest])
        effects = [Touch(r.buffer, None, READ) for r in refs] + [Touch(buffer, None, WRITE)]
        used = [*stmt.sizes, *(extents[c][0] for c in loops)]
        needs = names_in(used).union(*(self.ref_names(r) for r in refs))
        product.unit = self.add(emit=lambda: [nest], effects=effects, needs=needs, made=buffer)
        product.stmt = stmt
        product.merged = bool(merged)
        self.products[result] = product

    def _letters(self, node: Node, subscripts: tuple[str, str, str]) -> dict[str, tuple[Lin, Size]]:
        """The size of each letter, at run time and as a dimension."""
        extents: dict[str, tuple[Lin, Size]] = {}
        for text, value in zip(subscripts, node.operands, strict=False):
            ref = self.ref(value)
            for k, letter in enumerate(text):
                if letter not in extents or extents[letter][1] == 1:
                    extents[letter] = (ref.extents[k], value.shape[k])
        return extents

    def accumulated(self, x: Value, value: Value) -> bool:
        """Let a product that is only added to `x` add to it by itself; whether it can."""
        product = self.products.get(value)
        if product is None or self.use_count.get(value) != 1 or product.unit not in self.units or product.merged:
            return False
        target = self.ref(x)
        if x.dtype != value.dtype or x.shape != value.shape or not is_matrix(target):
            return False
        read = frozenset().union(*(r.buffer.roots for r in product.refs))
        if not read.isdisjoint(target.buffer.roots):
            return False
        unit = product.unit
        for later in self.units[self.units.index(unit) + 1 :]:
            if any(t.mode != READ and not read.isdisjoint(t.buffer.roots) for t in later.touches()):
                return False
        self.units.remove(unit)
        self.escaping |= target.buffer.roots
        row, column, _ = product.corner
        product.stmt.c = product.operand(target, product.subscripts[2], x.shape, row, column)
        product.stmt.add = True
        effects = [t for t in unit.effects if t.mode == READ] + [Touch(target.buffer, None, ADD)]
        self.add(emit=unit.emit, effects=effects, needs=unit.needs | self.ref_names(target))
        return True

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
            self.env[result] = whole(buffer)
        else:
            name = self.names.take(result.name or "t")
        folding = Folding(fold, term, buffer, index, name, result.dtype)
        axes = [
            Axis(k, extents[c][0], self.scopes.note_loop(extents[c][1]), c not in subscripts[2])
            for k, c in enumerate(letters)
            if extents[c][1] != 1
        ]
        self.add(axes=tuple(axes), folding=folding, makes={name} if name else set(), made=buffer)
        if name:
            self.bind_scalar(result, Var(name, result.dtype))


def is_matrix(ref: Ref) -> bool:
    """Whether rows and columns of a value lie along axes of its buffer, without steps."""
    found = ref.strided()
    return found is not None and all(step in (None, 1) for step in found.steps)


def adjacent(ref: Ref, text: str, first: str, second: str) -> bool:
    """Whether axis `first` of a value steps over whole lengths of axis `second`, so that both are one longer axis."""
    found = ref.strided()
    assert found is not None
    p, q = (axis_of(ref, text.index(c)) for c in (first, second))
    extents = ref.buffer.extents
    if ref.buffer.layout != "C" or p < 0 or q <= p:
        return False
    between = all(extents[k] == Lin(1) for k in range(p + 1, q))
    own = found.axes[q]
    assert own is not None
    return between and found.starts[q] == Lin() and ref.extents[own].same(extents[q])


def axis_of(ref: Ref, own: int) -> int:
    """The axis of the buffer along which an axis of the value lies, or -1 (size 1)."""
    found = ref.strided()
    assert found is not None
    return found.axes.index(own) if own in found.axes else -1
