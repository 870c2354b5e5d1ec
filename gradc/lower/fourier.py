"""Fourier transforms: one call for all rows of two axes, loops over the rest; in place where memory is free."""

from __future__ import annotations

from collections.abc import Sequence

from gradc.ir.loops import For, Int, Lin, Stmt, Text, Transform, var
from gradc.ir.nodes import Node, Value
from gradc.ir.region import Arg
from gradc.ir.types import subtract_sizes
from gradc.lower.arrays import Ref, whole
from gradc.lower.base import Base
from gradc.lower.products import adjacent, axis_of, is_matrix
from gradc.lower.units import READ, WRITE, Touch, names_in

_LETTERS = "abcdefghijklmnopqrstuvwxyz"
_SCALES = {"ortho": 1, "forward": 2, "backward": 0}
_INVERSE_SCALES = {"ortho": 1, "forward": 0, "backward": 2}


class FourierLowering(Base):
    """The transforms that kernels are made of."""

    def _op_dft(self, node: Node) -> None:
        (x,) = node.operands
        inverse = node.attrs["inverse"]
        scale = (_INVERSE_SCALES if inverse else _SCALES)[node.attrs["norm"]]
        source = self._plain(x)
        # Nobody looks at x after this: it is transformed where it is.
        unused = self.last_use.get(x) == self.position_in_block and source.buffer in self.local
        target = source if unused and source.whole and not source.buffer.of else None
        for axis in reversed(node.attrs["axes"]):
            if target is None:
                target = whole(self.new_buffer(node.result, node.result.dtype, source.extents))
            self._transform("fourier_ifft" if inverse else "fourier_fft", node.result, source, target, axis, scale)
            source = target
        self.env[node.result] = source

    def _op_dft_of_real(self, node: Node) -> None:
        axis, result = node.attrs["axis"], node.result
        source = self._plain(node.operands[0])
        n = source.extents[axis]
        half = self.scopes.resolve(result.shape[axis])
        if half is None:
            half = Lin(n.const // 2 + 1) if n.is_const else self.set_integer(
                "half", Text("{n} // 2 + 1", {"n": Int(n)}, "int64", "int64")
            )
            size = result.shape[axis]
            self.scopes.learn(size, half)
            self.scopes.learn(subtract_sizes(size, 1), half - 1)
        self._into(node, "fourier_rfft", source, axis, half, _SCALES)

    def _op_dft_to_real(self, node: Node) -> None:
        axis, result, size = node.attrs["axis"], node.result, node.attrs["size"]
        source = self._plain(node.operands[0])
        if size is None:
            n = (source.extents[axis] - 1) * 2
        else:
            n = self.integer(node.operands[1]) if isinstance(size, Arg) else Lin(size)
        self.scopes.learn(result.shape[axis], n)
        self._into(node, "fourier_irfft", source, axis, n, _INVERSE_SCALES)

    def _into(self, node: Node, function: str, source: Ref, axis: int, size: Lin, scales: dict[str, int]) -> None:
        extents = tuple(size if k == axis else e for k, e in enumerate(source.extents))
        target = whole(self.new_buffer(node.result, node.result.dtype, extents))
        self._transform(function, node.result, source, target, axis, scales[node.attrs["norm"]])
        self.env[node.result] = target

    def _plain(self, x: Value) -> Ref:
        """Where a value is, copied where it is not along axes of memory without steps."""
        ref = self.ref(x)
        return ref if is_matrix(ref) else self.copied(x, ref)

    def _transform(self, function: str, value: Value, source: Ref, target: Ref, axis: int, scale: int) -> None:
        """Add the transform of `source` along an axis into `target`, which may be the same."""
        others = [k for k, size in enumerate(value.shape) if k != axis and size != 1]
        rows = self._rows(source, target, others, axis)
        count = Lin(1)
        for k in rows:
            count = self.product_of(count, source.extents[k])
        letters = {k: var(self.names.take("n")) for k in others if k not in rows}
        row = rows[-1] if rows else -1

        def operand(ref: Ref) -> tuple[object, tuple[Lin, ...], int, int]:
            at = [letters.get(k, Lin()) for k in range(value.rank)]
            start = tuple(p for p in ref.at(at).index if isinstance(p, Lin))
            return ref.buffer, start, axis_of(ref, axis), axis_of(ref, row) if row >= 0 else -1

        sizes = (count, source.extents[axis], target.extents[axis])
        stmt = Transform(function, operand(source), operand(target), sizes, scale)  # type: ignore[arg-type]
        nest: Stmt = stmt
        for k in reversed(letters):
            nest = For(letters[k].terms[0][0], Lin(), source.extents[k], Lin(1), [nest])
        in_place = source.buffer is target.buffer
        self.escaping |= source.buffer.roots | target.buffer.roots
        effects = [Touch(source.buffer, None, READ), Touch(target.buffer, None, WRITE)]
        used = [*sizes, *(source.extents[k] for k in letters)]
        needs = names_in(used) | self.ref_names(source) | self.ref_names(target)
        self.add(emit=lambda: [nest], effects=effects, needs=needs, made=None if in_place else target.buffer)

    def _rows(self, source: Ref, target: Ref, others: Sequence[int], axis: int) -> list[int]:
        """The axes that one call goes along as its rows: the last ones that memory runs through in one step."""
        rows: list[int] = []
        for k in reversed(others):
            if rows and not (
                k + 1 == rows[0] and adjacent(source, _LETTERS, _LETTERS[k], _LETTERS[k + 1])
                and adjacent(target, _LETTERS, _LETTERS[k], _LETTERS[k + 1])
            ):
                break
            rows.insert(0, k)
        return rows
