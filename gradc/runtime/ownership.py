"""Who owns which memory at the boundary of a call: aliases of arguments, copies on entry, results of their own.

    f(x, y): store(x, y[1:]); return x        x and y are one array, for a derivative
    f(x, y): x1 = copy(x); store(x1, x1[1:]); return copy(x1)
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from gradc.errors import UnsupportedError
from gradc.ir.builder import Builder
from gradc.ir.effects import roots, written_params
from gradc.ir.nodes import Block, Func, Value, clone_func, walk_blocks
from gradc.ir.types import WEAK_INT, Array, Scalar


@dataclass(frozen=True, slots=True)
class Slot:
    """Leaf number k of the arguments of a call."""

    k: int


def substitute(func: Func, replacements: dict[Value, Value], start: int = 0) -> None:
    """Replace uses of values in the nodes of the body from position `start` on, and in the results."""
    if not replacements:
        return
    for node in func.body.nodes[start:]:
        node.operands = [replacements.get(v, v) for v in node.operands]
        for inner in node.blocks:
            for block in walk_blocks(inner):
                block.yields = [replacements.get(v, v) for v in block.yields]
                for n in block.nodes:
                    n.operands = [replacements.get(v, v) for v in n.operands]
    func.body.yields = [replacements.get(v, v) for v in func.body.yields]


def merge_aliases(func: Func, pairs: Sequence[tuple[int, int]]) -> Func:
    """The function where parameter `k` is the same array as parameter `first`, for each pair (k, first)."""
    if not pairs:
        return func
    func = clone_func(func)
    substitute(func, {func.params[k]: func.params[first] for k, first in pairs})
    return func


def copy_on_entry(func: Func) -> Func:
    """The function with copies of the parameters that it would write into."""
    written = written_params(func)
    if not written:
        return func
    func = clone_func(func)
    builder = Builder(func, checks=False)
    replacements: dict[Value, Value] = {}
    with builder, builder.into(Block()) as top:
        for k in written:
            param = func.params[k]
            replacements[param] = _copy(builder, param)
    func.body.nodes[:0] = top.nodes
    substitute(func, replacements, len(top.nodes))
    return func


def accept_ints(func: Func, positions: Sequence[int]) -> Func:
    """The function whose float parameters at `positions` take Python ints."""
    if not positions:
        return func
    func = clone_func(func)
    builder = Builder(func, checks=False)
    replacements: dict[Value, Value] = {}
    with builder, builder.into(Block()) as top:
        for k in positions:
            old = func.params[k]
            func.params[k] = Value(WEAK_INT, old.name)
            replacements[old] = builder.emit("cast", (func.params[k],), dtype="float64", weak=True)
    func.body.nodes[:0] = top.nodes
    substitute(func, replacements, len(top.nodes))
    return func


def take_arguments(func: Func, sources: Sequence[Slot | Any]) -> Func:
    """The function whose first parameters come in the order of a call's leaves.

    sources: for each of these parameters the leaf that it is, or a number that the call leaves to its default.
    """
    if all(isinstance(s, Slot) and s.k == k for k, s in enumerate(sources)):
        return func
    func = clone_func(func)
    builder = Builder(func, checks=False)
    replacements: dict[Value, Value] = {}
    given: dict[int, Value] = {}
    with builder, builder.into(Block()) as top:
        for param, source in zip(func.params, sources, strict=False):
            if isinstance(source, Slot):
                given[source.k] = param
            elif isinstance(source, np.ndarray):
                raise UnsupportedError(f"the default of `{param.name}` is an array", hint="pass it as an argument.")
            else:
                replacements[param] = builder.const(source)
    func.body.params = [given[k] for k in sorted(given)] + func.params[len(sources) :]
    func.body.nodes[:0] = top.nodes
    substitute(func, replacements, len(top.nodes))
    return func


def _copy(builder: Builder, array: Value) -> Value:
    """A copy of an array with its layout (C where that is A), under the same name."""
    assert isinstance(array.ty, Array)
    if array.ty.layout == "F" and array.rank > 1:
        perm = tuple(reversed(range(array.rank)))
        inner = builder.emit("copy", (builder.emit("transpose", (array,), perm=perm),))
        made: Value = builder.emit("transpose", (inner,), perm=perm)
    else:
        made = builder.emit("copy", (array,))
    made.name = array.name
    return made


def own_results(func: Func) -> Func:
    """The function whose results alias neither its parameters nor each other."""
    taken: set[Value] = set(func.params)
    shared: list[int] = []
    for k, value in enumerate(func.results):
        buffers = roots(value)
        if buffers & taken:
            shared.append(k)
        taken |= buffers
    if not shared:
        return func
    func = clone_func(func)
    with Builder(func, checks=False) as builder:
        for k in shared:
            copy: Value = builder.emit("copy", (func.results[k],))
            copy.name = func.results[k].name
            func.body.yields[k] = copy
    return func


def python_floats(func: Func, positions: Iterable[int]) -> Func:
    """The function whose results at `positions`, where they are float64 scalars or 0-d arrays, are Python floats."""
    chosen = [
        k
        for k in positions
        if (ty := func.results[k].ty) != Scalar("float64", weak=True)
        and isinstance(ty, Scalar | Array)
        and ty.dtype == "float64"
        and ty.shape == ()
    ]
    if not chosen:
        return func
    func = clone_func(func)
    with Builder(func, checks=False) as builder:
        for k in chosen:
            value = func.results[k]
            number = builder.emit("load", (value,), region=()) if isinstance(value.ty, Array) else value
            cast: Value = builder.emit("cast", (number,), dtype="float64", weak=True)
            cast.name = value.name
            func.body.yields[k] = cast
    return func


def keep_results(func: Func, positions: Sequence[int]) -> Func:
    """The function with these results only."""
    if list(positions) == list(range(len(func.results))):
        return func
    func = clone_func(func)
    func.body.yields = [func.body.yields[k] for k in positions]
    return func
