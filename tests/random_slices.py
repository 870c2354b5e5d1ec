"""Random straight-line IR programs of shifted slices: chains of elementwise steps, stores and additions that overlap.

What fusion (`lower/fuse.py`) reorders, moves and copies. A program takes x (n), y (n), m (n, n) and returns arrays,
some of them buffers of which other parts of it read slices. The same seed gives the same program.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

import gradc.ops  # noqa: F401  # loads the table
from gradc.ir.builder import Builder, new_func
from gradc.ir.nodes import Func, Value
from gradc.ir.opdef import TABLE
from gradc.ir.region import FULL, Span
from gradc.ir.types import Array, size_variable
from gradc.ops import memory

SPANS = {0: [FULL], 1: [Span(1, None), Span(None, -1)], 2: [Span(2, None), Span(1, -1), Span(None, -2)]}
"""Slices that leave out so many elements."""


class _Maker:
    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        n = size_variable("n")
        vector, matrix = Array("float64", (n,)), Array("float64", (n, n))
        self.func = new_func("f", [("x", vector), ("y", vector), ("m", matrix)])
        self.b = Builder(self.func, checks=False)
        x, y, m = self.func.params
        # By how many elements they leave out of each axis: values that statements may read.
        self.values: dict[tuple[int, ...], list[Value]] = {(0,): [x, y], (0, 0): [m]}
        self.buffers: dict[int, list[Value]] = {1: [], 2: []}

    def make(self, statements: int) -> Func:
        with self.b:
            for rank, source in ((1, self.func.params[0]), (2, self.func.params[2])):
                for _ in range(2):
                    made = memory.zeros_like(source) if self.rng.random() < 0.5 else memory.copy(source)
                    self.buffers[rank].append(made)
                    self.values[(0,) * rank].append(made)
            for _ in range(statements):
                getattr(self, f"do_{self.rng.choice(['step', 'step', 'step', 'write', 'write', 'sum'])}")()
            results: list[Value] = [*self.buffers[1], *self.buffers[2]]
            for values in self.values.values():
                results += [v for v in values[1:] if self.rng.random() < 0.3 and v not in self.func.params]
            total = self.b.const(np.float64(0.0))
            for v in results:
                total = total + TABLE["sum"](TABLE["sin"](v), axes=tuple(range(v.rank)), keepdims=False)
            self.func.body.yields = [total, *dict.fromkeys(results)]
        return self.func

    def pick(self, items: list[Value]) -> Value:
        return items[self.rng.integers(len(items))]

    def trims(self, rank: int) -> tuple[int, ...]:
        return tuple(int(self.rng.choice([0, 1, 2], p=[0.4, 0.4, 0.2])) for _ in range(rank))

    def part(self, v: Value, trims: tuple[int, ...]) -> Value:
        return memory.make_index(v, tuple(SPANS[k][self.rng.integers(len(SPANS[k]))] for k in trims))

    def value(self, trims: tuple[int, ...]) -> Value:
        """A value of this shape: a slice of a whole one, or one that was made."""
        made = self.values.get(trims, [])
        if made and self.rng.random() < 0.75:
            return self.pick(made[-3:] if self.rng.random() < 0.6 else made)
        return self.part(self.pick(self.values[(0,) * len(trims)]), trims)

    def made(self, trims: tuple[int, ...]) -> Value:
        p, q = self.value(trims), self.value(trims)
        kinds: list[Callable[[], Value]] = [
            lambda: p * q,
            lambda: p - 0.5 * q,
            lambda: TABLE["square"](p) + q,
            lambda: TABLE["sin"](p) * q,
            lambda: TABLE["where"](TABLE["gt"](p, q), p, -q),
            lambda: p / (1.5 + TABLE["square"](q)),
            lambda: 2.0 * p,
            lambda: -p,
            lambda: p + q,
        ]
        return kinds[self.rng.integers(len(kinds))]()

    def do_step(self) -> None:
        trims = self.trims(int(self.rng.choice([1, 2])))
        self.values.setdefault(trims, []).append(self.made(trims))

    def do_write(self) -> None:
        rank = int(self.rng.choice([1, 2]))
        trims = self.trims(rank)
        made = [v for v in self.values.get(trims, []) if v not in self.func.params]
        if made and self.rng.random() < 0.4:
            target = self.pick(made)
        else:
            target = self.part(self.pick(self.buffers[rank]), trims)
        op = self.rng.choice(["accumulate", "accumulate", "store"])
        if self.rng.random() < 0.5:
            TABLE[str(op)](target, TABLE["tanh"](self.made(trims)))
        else:
            TABLE[str(op)](target, self.value(trims) * 1.0)

    def do_sum(self) -> None:
        trims = self.trims(2)
        made = TABLE["sum"](self.made(trims), axes=(1,), keepdims=False)
        self.values.setdefault(trims[:1], []).append(made)


def random_slices(seed: int, statements: int = 10) -> Func:
    """The program of a seed."""
    return _Maker(seed).make(statements)


def sample_slices(seed: int, n: int = 4) -> list[np.ndarray]:
    """Arguments for any of the programs."""
    rng = np.random.default_rng(seed + 1000)
    return [rng.normal(size=n), rng.normal(size=n), rng.normal(size=(n, n))]
