"""Array values during lowering: a buffer and, for each of its axes, an affine index over the value's own axes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from gradc.ir.loops import Buffer, Index, Int, Lin, Load, Slice, Text, axis, rebuild_index
from gradc.ir.types import Size
from gradc.lower.units import keep


@dataclass(frozen=True, eq=False, slots=True)
class Ref:
    """What an array value names: element (@0, @1, ...) of the value is `buffer[index]`; `extents` are its sizes."""

    buffer: Buffer
    index: tuple[Index, ...]
    extents: tuple[Lin, ...]

    def at(self, position: Sequence[Lin]) -> Load:
        """The element at a position."""
        replace = {f"@{k}": p for k, p in enumerate(position)}
        return Load(self.buffer, rebuild_index(self.index, keep, lambda lin: lin.substitute(replace)))

    def broadcast(self, shape: Sequence[Size], rank: int) -> Load:
        """The element that position (@0, ..., @rank-1) of a space sees; `shape` is the value's own."""
        lead = rank - len(shape)
        return self.at([Lin() if size == 1 else axis(k + lead) for k, size in enumerate(shape)])

    @property
    def whole(self) -> bool:
        """Whether the value is the buffer as it stands."""
        if len(self.index) != len(self.extents):
            return False
        same = all(isinstance(p, Lin) and p.same(axis(k)) for k, p in enumerate(self.index))
        return same and all(e.same(f) for e, f in zip(self.extents, self.buffer.extents, strict=True))

    def strided(self) -> Slice | None:
        """Start, step and own axis for each axis of the buffer, or None where the index is not of that form."""
        starts: list[Lin] = []
        steps: list[Any] = []
        axes: list[int | None] = []
        for part in self.index:
            if not isinstance(part, Lin):
                return None
            own = [(name, c) for name, c in part.terms if name[0] == "@"]
            if len(own) > 1:
                return None
            if own:
                starts.append(part.without(own[0][0]))
                steps.append(own[0][1])
                axes.append(int(own[0][0][1:]))
            else:
                starts.append(part)
                steps.append(None)
                axes.append(None)
        used = [a for a in axes if a is not None]
        if len(set(used)) != len(used):
            return None
        return Slice(self.buffer, tuple(starts), tuple(steps), tuple(axes), self.extents)


def whole(buffer: Buffer) -> Ref:
    """The value that is all of `buffer`."""
    return Ref(buffer, tuple(axis(k) for k in range(len(buffer.extents))), buffer.extents)


_ = (Int, Text)
