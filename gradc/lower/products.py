"""Products: to BLAS where two axes of memory are matrices, as loops elsewhere."""

from __future__ import annotations

from gradc.ir.loops import (
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
from gradc.ir.nodes import Node
from gradc.ir.types import Array, Size
from gradc.lower.arrays import Ref, whole
from gradc.lower.base import Base
from gradc.lower.units import READ, WRITE, Axis, Folding, Touch, names_in


class ProductLowering(Base):
    """Contractions of two arrays."""

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


def _is_matrix(ref: Ref) -> bool:
    """Whether rows and columns of a value lie along axes of its buffer, without steps."""
    found = ref.strided()
    return found is not None and all(step in (None, 1) for step in found.steps)


def _axis_of(ref: Ref, own: int) -> int:
    """The axis of the buffer along which an axis of the value lies, or -1 (size 1)."""
    found = ref.strided()
    assert found is not None
    return found.axes.index(own) if own in found.axes else -1
