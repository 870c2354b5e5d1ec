"""Compressed Jacobians: products with a few vectors from which the entries of a sparse Jacobian are read.

    def f(x): ...                   def f_compressed(x, colors, count):
        return y                        B = empty((count, m))
                                        for c in range(count):
                                            x_t = colors == c
                                            B[c] = the jvp of f along x_t
                                        return B

Columns of one color have no nonzero row in common, so that B[colors[j], i] is the entry (i, j). In reverse mode the
same of rows. Seeds share sweeps as in `ad/jacobian.py`.
(Curtis, Powell, Reid, On the estimation of sparse Jacobian matrices (1974); Coleman, Moré (1983).)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from gradc.ad.forward import jvp
from gradc.ad.jacobian import LANES, Mode, Part, SeedLoop, with_axes_joined
from gradc.ad.reverse import reverse
from gradc.ir.nodes import Block, Func, Value
from gradc.ir.region import FULL, Arg, At, Region
from gradc.ir.types import WEAK_INT, Array, Scalar, product_of_sizes, promote_dtypes
from gradc.ops import memory


def compressed(func: Func, wrt: int, mode: Mode, sizes: Mapping[str, int] | None = None) -> Func:
    """The function that sweeps over colors, of the entries of parameter `wrt` ("fwd") or of the result ("rev").

    Parameters: those of `func`, then the color of each entry in C order (int64), and how many colors there are. Result:
    (colors, entries of the result), in reverse mode (colors, entries of the parameter). `func` has one result, of
    floating-point type, and does not write into its parameters. sizes: as for `jacobian`.
    """
    return _Compressed(func, [wrt], sizes or {}, None).sweep(mode)


class _Compressed(SeedLoop):
    """The function under construction."""

    def sweep(self, mode: Mode) -> Func:
        """Build it."""
        (k,) = self.wrt
        x, y = self.func.params[k], self.func.results[0]
        seeded, swept = (x, y) if mode == "fwd" else (y, x)
        self.new.name = f"{self.func.name}_compressed"
        assert isinstance(seeded.ty, Array)
        with self.builder:
            derived = jvp(self.func, [k], keep_value=False) if mode == "fwd" else reverse(
                self.func, [k], keep_value=False, seeds="params", outputs=[0]
            )
            part = self.part(derived)
            shape_of = {x: memory.shape_values(self.new.params[k]), y: self.result_shape(0) if y.rank else []}
            colors = Value(Array("int64", (product_of_sizes(seeded.shape),)), "colors")
            count = Value(WEAK_INT, "count")
            self.new.params.extend([colors, count])
            seeds = self.seeds(seeded.ty, f"{seeded.name}_t", shape_of[seeded], part, LANES)
            dtype = promote_dtypes((Scalar(x.dtype), Scalar(y.dtype))).dtype
            result = memory.make_zeros([count, *shape_of[swept]], dtype, filled=False)
            self._sweeps(part, seeds, result, colors, count)
            self.new.body.yields = [result if swept.rank == 1 else _as_table(result, count)]
        return self.new

    def _sweeps(self, part: Part, seeds: Sequence[Value], result: Value, colors: Value, count: Value) -> None:
        """The loop over blocks of colors."""
        row: Region = (At(Arg(0)), *(FULL,) * (result.rank - 1))
        with self.builder.into(Block(params=[Value(WEAK_INT, "c")])) as body:
            for seed, place in zip(seeds, self.places(body.params[0], count, len(seeds)), strict=True):
                chosen = self.builder.emit("eq", (colors, place))
                memory.store(with_axes_joined(seed, 0, seed.rank), self.builder.emit("where", (chosen, 1.0, 0.0)))
            places = self.places(body.params[0], count, len(seeds))
            for place, (made,) in zip(places, part.swept(seeds), strict=True):
                if isinstance(made.ty, Array):
                    memory.store(memory.make_index(result, row, place), made)
                else:
                    memory.store_at(result, made, place, region=row)
        self.builder.control("for", (0, count, len(seeds)), (body,), (), reversed=False, exits=False)


def _as_table(array: Value, rows: Value) -> Value:
    """An array with its axes but the first as one."""
    entries: Any = 1
    for size in memory.shape_values(array)[1:]:
        entries = size * entries
    return memory.make_reshape(array, [rows, entries])
