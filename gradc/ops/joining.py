"""What is subscripted to join arrays or to make grids (np.r_, np.c_, np.s_, np.mgrid, np.ogrid), and np.block."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from gradc.errors import ShapeError, UnsupportedError
from gradc.ir.nodes import Value
from gradc.ir.opdef import CALLS, call
from gradc.ir.region import FULL, NEWAXIS
from gradc.ir.types import Scalar, promote_dtypes
from gradc.ops.arrange import at_least_1d, join, parts_of, stack
from gradc.ops.indexing import _meshgrid_call
from gradc.ops.memory import make_index
from gradc.ops.rules import as_value, constant_of, convert, normal_axis, strong
from gradc.ops.shape import permute


def _number(x: Any) -> Any:
    """What a literal is, else the value."""
    known = constant_of(x) if isinstance(x, Value) else x
    return x if known is None and x is not None else known


def _range_of(s: slice) -> Value:
    """start:stop:step as np.arange has it; an imaginary step is the number of points, both ends among them."""
    start, stop, step = (_number(v) for v in (s.start, s.stop, s.step))
    first = 0 if start is None else start
    if isinstance(step, complex):
        made: Value = CALLS[np.linspace].build(first, stop, int(abs(step)))
        return made
    if stop is None:
        raise UnsupportedError("a range without an end", hint="write start:stop")
    return CALLS[np.arange].build(first, stop, 1 if step is None else step)


def _filled(x: Value, least: int, first: int) -> Value:
    """x with new axes up to `least`; its own ones start at place `first` (-1: they are the last ones)."""
    missing = least - x.rank
    if missing <= 0:
        return x
    ahead = missing if first == -1 else min(first, missing)
    return make_index(x, (*(NEWAXIS,) * ahead, *(FULL,) * x.rank, *(NEWAXIS,) * (missing - ahead)))


def _joined(key: Any, axis: int, least: int, first: int) -> Value:
    """What np.r_ and its like make of a subscript."""
    items = list(key) if isinstance(key, tuple) else [key]
    if items and isinstance(items[0], str):
        text = items.pop(0)
        if text in ("r", "c"):
            raise UnsupportedError("matrices of np.r_", hint="use arrays: np.r_[x, y]")
        fields = [int(f) for f in text.split(",")]
        axis = fields[0]
        least = fields[1] if len(fields) > 1 else least
        first = fields[2] if len(fields) > 2 else first
    parts: list[Value] = []
    kinds: list[Scalar] = []
    for item in items:
        if isinstance(item, slice):
            parts.append(_filled(_range_of(item), least, first))
            kinds.append(Scalar(parts[-1].dtype))
            continue
        x = as_value(item)
        own = -1 if not x.rank and least > 1 else first
        parts.append(_filled(at_least_1d(x), least, own))
        kinds.append(Scalar(x.dtype) if not (isinstance(x.ty, Scalar) and x.ty.weak) else x.ty)
    if not parts:
        raise ShapeError("nothing to join")
    # Numbers of Python do not count where there are arrays.
    dtype = promote_dtypes(tuple(kinds)).dtype
    return join([convert(p, dtype) for p in parts], axis)


@call(np.r_)
def _r_call(key: Any) -> Value:
    return _joined(key, 0, 1, -1)


@call(np.c_)
def _c_call(key: Any) -> Value:
    return _joined(key, -1, 2, 0)


@call(np.s_, np.index_exp)
def _s_call(key: Any) -> Any:
    return key


def _grids(key: Any, sparse: bool) -> Any:
    if not isinstance(key, tuple):
        return _range_of(key)
    made = _meshgrid_call(*(_range_of(s) for s in key), sparse=sparse, indexing="ij")
    return made if sparse else stack(made, 0)


@call(np.mgrid)
def _mgrid_call(key: Any) -> Any:
    return _grids(key, False)


@call(np.ogrid)
def _ogrid_call(key: Any) -> Any:
    return _grids(key, True)


# ----------------------------------------------------------------------------------------------- block


def _depth(arrays: Any) -> int:
    if not isinstance(arrays, list):
        if isinstance(arrays, tuple):
            raise UnsupportedError("np.block takes lists, not tuples")
        return 0
    depths = {_depth(a) for a in arrays}
    if len(depths) != 1:
        raise ShapeError("the lists of np.block are not nested equally deep")
    return depths.pop() + 1


def _largest_rank(arrays: Any) -> int:
    return max(_largest_rank(a) for a in arrays) if isinstance(arrays, list) else strong(arrays).rank


def _blocks(arrays: Any, depth: int, level: int, rank: int) -> Value:
    if level == depth:
        x = strong(arrays)
        return x if x.rank >= rank else _filled(at_least_1d(x) if rank else x, rank, -1)
    return join([_blocks(a, depth, level + 1, rank) for a in arrays], rank - depth + level)


@call(np.block)
def _block_call(arrays: Any) -> Value:
    depth = _depth(arrays)
    made = _blocks(arrays, depth, 0, max(_largest_rank(arrays), depth))
    return CALLS[np.array].build(made) if not depth else made


# --------------------------------------------------------------------------------------------- unstack


@call("numpy.unstack")
def _unstack_call(x: Any, /, *, axis: Any = 0) -> tuple[Value, ...]:
    array = strong(x)
    own = normal_axis(axis, array.rank)
    rows: Sequence[Value] = parts_of(permute(array, (own, *(k for k in range(array.rank) if k != own))))
    return tuple(rows)
