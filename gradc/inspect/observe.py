"""Runs a program and its derivative in the interpreter and notes what every value and cotangent was."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from gradc.ad.reverse import reverse
from gradc.errors import DTypeError, NonDifferentiableError, UnsupportedError
from gradc.inspect.text import extent
from gradc.inspect.views import with_copied_views
from gradc.ir.effects import roots
from gradc.ir.interp import run
from gradc.ir.nodes import Block, Func, Node, Value, walk_nodes
from gradc.ir.tree import Branch, Tree, tree_leaves
from gradc.ir.types import Array, is_float, is_inexact
from gradc.runtime.dispatch import Call, Compiled
from gradc.runtime.nonfinite import Place, bad_place, is_finite
from gradc.runtime.ownership import copy_on_entry, merge_aliases
from gradc.runtime.pipeline import Stages, optimise

_KEPT = 1 << 20  # entries of an array of which a copy is kept


@dataclass(eq=False, slots=True)
class Record:
    """What was seen of one value: in a loop, of all iterations; `last` is what it was at the end."""

    shape: tuple[int, ...] = ()
    last: Any = None
    first: Any = None
    count: int = 0
    low: float | None = None
    high: float | None = None
    zeros: float = 0.0
    norms: list[float] = field(default_factory=list)
    nan: bool = False
    inf: bool = False
    on: np.ndarray[Any, Any] | None = None  # where it was ever other than 0
    rows: int = 0  # observations of a unit
    seen: list[np.ndarray[Any, Any]] = field(default_factory=list)  # what a sigmoid or tanh gave, in all iterations
    size: int = 0  # entries in `seen`

    def note(self, x: Any) -> None:
        """Take one more value into account."""
        array = np.asarray(x)
        self.shape = array.shape
        kept: Any = array.copy() if array.ndim and array.size <= _KEPT else array[()] if not array.ndim else array
        if self.count == 0:
            self.first = kept
        self.last = kept
        low, high = extent(array)
        if low is not None and high is not None:
            self.low = low if self.low is None else min(self.low, low)
            self.high = high if self.high is None else max(self.high, high)
        share = float(np.mean(array == 0)) if array.size else 0.0
        self.zeros += (share - self.zeros) / (self.count + 1)
        self.count += 1
        if array.dtype.kind in "fc":
            self.nan = self.nan or bool(np.isnan(array).any())
            self.inf = self.inf or bool(np.isinf(array).any())
            flat = np.abs(array.astype(complex if array.dtype.kind == "c" else float)).ravel()
            top = float(flat.max()) if flat.size else 0.0
            # Scaled, so that the squares of large and small cotangents neither overflow nor vanish.
            scaled = top * float(np.sqrt(np.sum((flat / top) ** 2))) if 0 < top < np.inf else top
            self.norms.append(scaled)

    def note_activation(self, x: Any) -> None:
        """Keep what a sigmoid or tanh gave, as far as there is room."""
        array = np.array(x)
        if self.size + array.size <= _KEPT:
            self.seen.append(array.ravel())
            self.size += array.size

    def note_units(self, x: Any, axis: int) -> None:
        """Note for each unit along `axis` whether it is on for any of the others."""
        array = np.asarray(x) != 0
        if array.ndim >= 2:
            axes = tuple(k for k in range(array.ndim) if k != axis % array.ndim)
            self.rows += array.size // max(array.shape[axis], 1)
            array = array.any(axis=axes)
        else:
            self.rows += 1
        if self.on is None or self.on.shape != array.shape:
            self.on = array
        else:
            self.on = self.on | array


@dataclass(eq=False, slots=True)
class Observation:
    """A run: the program, a record for each value (and for each write), and for each cotangent."""

    title: str
    func: Func
    names: tuple[str, ...]
    wrt: tuple[int, ...]
    values: dict[Value | Node, Record]
    cotangents: dict[Value, Record]
    seeded: tuple[int, ...]
    forward: Place | None = None
    backward: Place | None = None


def observe(compiled: Compiled, args: Sequence[Any], kwargs: dict[str, Any]) -> Observation:
    """Run the program of a compiled object, and its derivative, for these arguments, which are not changed.

    The interpreter does that, node by node: long loops take their time.
    Cotangents are those of the value that is differentiated; where a function returns several numbers or arrays, of
    their sum.
    """
    call = compiled.inspected_call(args, kwargs)
    program = call.program
    stages = Stages(program.func.name)
    func = stages.start(program.func)
    func = merge_aliases(func, call.aliases)
    func = copy_on_entry(optimise(func, stages, readable=True))
    wrt = call.wrt or tuple(
        k for k in range(call.count) if is_inexact(func.params[k].ty) and k not in program.static
    )
    seeded = _seeded(func, program.result, call)
    found = Observation(repr(compiled), func, call.names, wrt, {}, {}, tuple(seeded))
    units = _unit_axes(func, wrt)
    bounded = {n.results[0] for n in walk_nodes(func.body) if activation(n) in ("tanh", "sigmoid")}
    for param, leaf in zip(func.params, call.leaves, strict=True):
        found.values.setdefault(param, Record()).note(leaf)

    def see(node: Node, operands: Sequence[Any], results: Sequence[Any]) -> None:
        keys: Sequence[Value | Node] = node.results or [node]
        if node.op.kind == "write" and node.op.name not in ("store", "accumulate"):
            results = operands[1:2]  # the rest of the array may still be empty
        for key, x in zip(keys, results, strict=False):
            if node.op.name in ("empty", "undef"):
                continue
            record = found.values.setdefault(key, Record())
            record.note(x)
            if key in units:
                record.note_units(x if node.results else operands[0], units[key])
            if key in bounded:
                record.note_activation(x)
        if found.forward is None:
            found.forward = bad_place(node, operands, results)

    run(func, _copies(call.leaves), see)
    if wrt and seeded:
        try:
            _observe_backward(found, call, seeded)
        except (NonDifferentiableError, UnsupportedError, DTypeError):
            if compiled.transform.kind != "jit":  # nobody asked for a derivative
                raise
    return found


def _observe_backward(found: Observation, call: Call, seeded: list[int]) -> None:
    func, watched = found.func, dict[Value, Value]()
    copied, stands_for = with_copied_views(func)
    derived = reverse(copied, found.wrt, keep_value=True, seeds="ones", outputs=seeded, watched=watched)
    watched = {ct: stands_for[value] for ct, value in watched.items() if value in stands_for}
    backwards = _backwards(derived.body)
    suspect: Place | None = None  # what was not finite last: a partial that a zero takes out again does no harm

    def see(node: Node, operands: Sequence[Any], results: Sequence[Any]) -> None:
        nonlocal suspect
        if len(node.results) == 1 and node.results[0] in watched:
            primal = watched[node.results[0]]
            ct = results[0]
            seen = found.values.get(primal)
            if seen is not None and np.shape(ct) != seen.shape:
                with contextlib.suppress(ValueError):
                    ct = np.broadcast_to(ct, seen.shape)
            found.cotangents.setdefault(primal, Record()).note(ct)
            if found.backward is None and not is_finite(ct):
                found.backward = suspect
        elif found.backward is None and node.loc.reverse and not all(map(is_finite, results)):
            made = bad_place(node, operands, results)
            if made is not None or suspect is None:
                suspect = made or Place("nan" if any(np.isnan(x).any() for x in results) else "inf", node.loc)

    results = run(derived, _copies(call.leaves), see)
    for snapshot, primal in watched.items():
        record = found.cotangents.get(primal)
        if record is not None and snapshot in backwards:
            record.first, record.last = record.last, record.first
            record.norms.reverse()
    gradients = results[len(func.results) :]
    if found.backward is None and not all(map(is_finite, gradients)):
        found.backward = suspect
    for k, gradient in zip(found.wrt, gradients, strict=True):
        record = found.cotangents[func.params[k]] = Record()
        record.note(gradient)


def _seeded(func: Func, result: Tree, call: Call) -> list[int]:
    """Positions of the results whose sum is differentiated."""
    floats = [k for k, r in enumerate(func.results) if is_float(r.ty)]
    if not call.has_aux:
        return floats
    value = result.items[0] if isinstance(result, Branch) else result
    return [k for k in tree_leaves(value) if k in floats]


def _copies(leaves: Sequence[Any]) -> list[Any]:
    return [np.array(x, order="K") if isinstance(x, np.ndarray) else x for x in leaves]


def _backwards(block: Block, inside: bool = False) -> set[Value]:
    """The values that are made in loops which run in the reverse order."""
    found: set[Value] = set()
    for node in block.nodes:
        if inside:
            found.update(node.results)
        deeper = inside or (node.op.name == "for" and bool(node.attrs.get("reversed")))
        for inner in node.blocks:
            found |= _backwards(inner, deeper)
    return found


# ------------------------------------------------------------------------------------------------- layers


def source_of(value: Value) -> Value:
    """The value that `value` is a view or a copy of."""
    while value.node is not None and (value.node.op.kind == "view" or value.node.op.name in ("copy", "cast")):
        value = value.node.operands[0]
    return value


def weight_axis(node: Node, trained: frozenset[Value]) -> int | None:
    """The axis of the units in the result of a product with a differentiated argument; None for other nodes."""
    if node.op.kind != "product" or len(node.operands) != 2:
        return None
    left, right = (source_of(v) in trained for v in node.operands)
    if not (left or right):
        return None
    rank = len(node.result.shape)
    return max(rank - 2, 0) if left and not right and rank else max(rank - 1, 0)


def activation(node: Node) -> str | None:
    """`tanh`, `sigmoid` or `relu`, where a node is one."""
    name = node.op.name
    if name in ("tanh", "sigmoid"):
        return name
    constants = [_is_zero(v) for v in node.operands]
    if name == "maximum" and any(constants):
        return "relu"
    if name == "clip" and len(constants) > 1 and constants[1]:
        return "relu"
    if name == "where" and any(constants[1:]) and not all(constants[1:]) and _compares(node.operands[0]):
        return "relu"
    if name == "mul" and any(_compares(v) for v in node.operands):
        return "relu"
    if name in ("mul", "div") and any(map(_is_half_or_two, node.operands)) and any(map(_adds_size, node.operands)):
        return "relu"  # (z + |z|) / 2
    if name == "scatter_mask" and constants[1] and _compares(node.operands[2]):
        return "relu"  # z[z < 0] = 0
    return None


def _is_half_or_two(value: Value) -> bool:
    return _is_constant(value) and value.node is not None and value.node.attrs["value"] in (0.5, 2)


def _adds_size(value: Value) -> bool:
    node = value.node
    if node is None or node.op.name != "add":
        return False
    a, b = node.operands
    return any(y.node is not None and y.node.op.name == "abs" and y.node.operands[0] is x for x, y in ((a, b), (b, a)))


def written_values(func: Func) -> dict[Value, list[Value]]:
    """What is written into each buffer."""
    found: dict[Value, list[Value]] = {}
    for node in walk_nodes(func.body):
        if node.op.kind == "write":
            for root in roots(node.operands[0]):
                found.setdefault(root, []).append(node.operands[1])
    return found


def is_unit(node: Node, written: Mapping[Value, Sequence[Value]], steps: int = 12) -> bool:
    """Whether an activation is of a sum of products: `max(x - limit, 0)` is no unit of a network."""
    work, seen = [(v, steps) for v in node.operands if not _compares(v)], set[Value]()
    while work:
        value, left = work.pop()
        if value in seen or left < 0:
            continue
        seen.add(value)
        work += [(v, left - 1) for v in written.get(value, ())]
        made = value.node
        if made is None:
            continue
        if made.op.kind == "product":
            return True
        if made.op.name == "mul" and not any(_is_constant(v) for v in made.operands):
            return True
        work += [(v, left - 1) for v in made.operands]
        for block in made.blocks:
            work += [(v, left - 1) for v in block.yields]
    return False


def _is_constant(value: Value) -> bool:
    return value.node is not None and value.node.op.name == "const"


def _is_zero(value: Value) -> bool:
    node = value.node
    return node is not None and node.op.name == "const" and node.attrs["value"] == 0


def _compares(value: Value) -> bool:
    """Whether a value is a comparison with 0."""
    node = value.node
    while node is not None and node.op.name == "cast":
        node = node.operands[0].node
    return node is not None and node.op.name in ("gt", "lt", "ge", "le") and any(map(_is_zero, node.operands))


def _unit_axes(func: Func, wrt: Sequence[int]) -> dict[Value | Node, int]:
    """The axis of the units of every ReLU: that of the product before it, else the last."""
    trained = frozenset(func.params[k] for k in wrt)
    axes: dict[Value | Node, int] = {}

    def axis_of(value: Value, rank: int, steps: int = 6) -> int:
        node = value.node
        if node is None or not steps:
            return rank - 1
        axis = weight_axis(node, trained)
        if axis is not None:
            return axis
        for operand in node.operands if node.op.kind == "elementwise" else ():
            if isinstance(operand.ty, Array) and len(operand.shape) == rank and operand.node is not None:
                return axis_of(operand, rank, steps - 1)
        return rank - 1

    def visit(block: Block) -> None:
        for node in block.nodes:
            if activation(node) == "relu":
                value = node.results[0] if node.results else node.operands[0]
                rank = len(value.shape)
                axes[node.results[0] if node.results else node] = axis_of(value, rank) if rank else 0
            for inner in node.blocks:
                visit(inner)

    visit(func.body)
    return axes
