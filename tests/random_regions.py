"""Random smooth IR programs of loops that read and write rows, elements and slices that follow the loop index.

What one iteration reads, another overwrites, or just misses: the programs by which the residual plan's proofs
(`ad/regions.py`) are tested. The same seed gives the same program.
"""

from __future__ import annotations

from gradc.ir.nodes import Block, Func, Value
from gradc.ir.opdef import TABLE
from gradc.ir.region import FULL, Arg, At, Span
from gradc.ir.types import FLOAT, WEAK_INT
from gradc.ops import memory
from tests.random_smooth import AT0, AT01, Maker

SIZE = 6


class RegionMaker(Maker):
    """Indices of loops are between 1 and n - 2, so that their neighbours are in range."""

    def index(self) -> Value:
        n = memory.size_value(self.func.params[0], 0)
        if not self.indices or self.rng.random() < 0.15:
            return self.b.const(int(self.rng.choice([0, -1, 1, 2])))
        i = self.pick(self.indices)
        style = self.rng.choice(["plain", "next", "last", "mirror", "end"], p=[0.3, 0.27, 0.27, 0.08, 0.08])
        made = {
            "plain": lambda: i,
            "next": lambda: i + 1,
            "last": lambda: i - 1,
            "mirror": lambda: n - 1 - i,
            "end": lambda: -i,
        }[str(style)]()
        return made if isinstance(made, Value) else self.b.value(made)

    def span(self) -> tuple[Span, list[Value]]:
        """A slice with one or two bounds that follow indices."""
        kind = self.rng.random()
        if kind < 0.35:
            return Span(None, Arg(0), None), [self.index()]
        if kind < 0.7:
            return Span(Arg(0), None, None), [self.index()]
        return Span(Arg(0), Arg(1), None), [self.index(), self.index()]

    def statements(self, count: int, depth: int) -> None:
        kinds = ["number", "load", "load", "store_at", "store_at", "row", "row", "row_step", "row_step", "part", "view"]
        kinds += ["vector", "sum", "fresh"]
        if depth < 3:
            kinds += ["for", "for", "for", "if", "while"] if depth else ["for"] * 6
        for _ in range(count):
            getattr(self, f"do_{self.rng.choice(kinds)}")(depth)

    def row(self) -> Value:
        """A row or a column of a matrix, as a view."""
        m = self.pick(self.matrices)
        region = (At(Arg(0)), FULL) if self.rng.random() < 0.75 else (FULL, At(Arg(0)))
        return memory.make_index(m, region, self.index())

    def do_row(self, depth: int) -> None:
        self.numbers.append(self.tamed(TABLE["sum"](TABLE["sin"](self.row()) * 0.4, axes=(0,), keepdims=False)))

    def do_row_step(self, depth: int) -> None:
        """One row from another."""
        target, value = self.row(), self.tamed_array(self.row() * self.number())
        TABLE["store" if self.rng.random() < 0.7 else "accumulate"](target, value)

    def do_part(self, depth: int) -> None:
        """A slice of a vector is scaled, filled or summed up."""
        span, bounds = self.span()
        part = memory.make_index(self.pick(self.vectors), (span,), *bounds)
        kind = self.rng.random()
        if kind < 0.4:
            TABLE["store"](part, self.tamed_array(part * 1.1))
        elif kind < 0.7:
            TABLE["store"](part, self.tamed(self.number()))
        else:
            self.numbers.append(self.tamed(TABLE["sum"](TABLE["sin"](part), axes=(0,), keepdims=False)))

    def do_load(self, depth: int) -> None:
        if self.rng.random() < 0.6:
            v = TABLE["load"](self.pick(self.vectors), self.index(), region=AT0)
        else:
            v = TABLE["load"](self.pick(self.matrices), self.index(), self.index(), region=AT01)
        self.numbers.append(self.named(self.tamed(v) if self.rng.random() < 0.7 else v))

    def do_for(self, depth: int) -> None:
        n = memory.size_value(self.func.params[0], 0)
        start: Value | int
        stop: Value | int
        start, stop, step = 1, n - 1, 1
        style = self.rng.random()
        if style < 0.2 and self.indices:
            stop = self.pick(self.indices)
        elif style < 0.35:
            start, stop, step = n - 2, 0, -1
        elif style < 0.45:
            step = 2
        elif style < 0.55 and self.indices:
            start = self.pick(self.indices)
        inits = [TABLE["cast"](self.number(), dtype="float64", weak=False)] if self.rng.random() < 0.4 else []
        block = Block(params=[Value(WEAK_INT, "i"), *(Value(FLOAT, "c") for _ in inits)])
        with self.b.into(block):
            before = (len(self.numbers), len(self.vectors), len(self.matrices), len(self.indices))
            self.indices.append(block.params[0])
            self.numbers.extend(block.params[1:])
            self.statements(int(self.rng.integers(1, 5)), depth + 1)
            outs = [
                TABLE["cast"](0.5 * p + self.tamed(self.number()), dtype="float64", weak=False)
                for p in block.params[1:]
            ]
            exits = bool(self.rng.random() < 0.1)
            lead = [TABLE["cast"](TABLE["gt"](self.number(), 0.7), dtype="bool", weak=False)] if exits else []
            block.yields = [*lead, *outs]
            self.forget(before)
        types = [*(FLOAT for _ in inits), *([WEAK_INT] if exits else [])]
        made = self.b.control(
            "for", [start, stop, step, *inits], [block], types, reversed=bool(self.rng.random() < 0.15), exits=exits
        )
        self.numbers.extend(made[: len(inits)])


def random_regions(seed: int, statements: int = 5) -> Func:
    """The program of a seed."""
    return RegionMaker(seed).make(statements)


__all__ = ["SIZE", "random_regions"]
