"""Whole Jacobians: a loop over blocks of seeds around one derivative of the function.

    def f(x): ...                   def f_jacobian(x):
        return y                        what of the jvp does not depend on x_t
                                        x_t = zeros(n); x_t_1 = zeros(n); J = empty((m, n))
                                        for k in range(0, n, 2):
                                            i, i_1 = k, min(k + 1, n - 1)
                                            x_t[i] = x_t_1[i_1] = 1
                                            J[:, i], J[:, i_1] = the rest of the jvp of f along x_t and x_t_1
                                            x_t[i] = x_t_1[i_1] = 0
                                        return J

Forward mode has a seed for every entry of the inputs, reverse mode one for every entry of the outputs. The seeds of a
block share one sweep (`ad/lanes.py`); lanes of the last one that are left over repeat its last seed, which
writes the same again. (Griewank, Walther, Evaluating Derivatives (2008), sec. 3.2 and 7.1.)
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial, reduce
from typing import Any, Literal

import numpy as np

from gradc.ad.forward import jvp
from gradc.ad.lanes import Lanes, Spread
from gradc.ad.reverse import reverse
from gradc.errors import DTypeError
from gradc.ir.builder import Builder, new_func
from gradc.ir.custom import is_custom
from gradc.ir.effects import own_write, roots
from gradc.ir.nodes import Block, Func, Node, Value, used_values, walk_nodes
from gradc.ir.region import FULL, Arg, At, Region
from gradc.ir.types import (
    WEAK_INT,
    Array,
    Dim,
    Scalar,
    Size,
    Stack,
    Type,
    evaluate_size,
    is_complex,
    is_inexact,
    product_of_sizes,
    promote_dtypes,
    size_variables,
    substitute_size,
)
from gradc.ops import memory
from gradc.ops.rules import convert

Mode = Literal["fwd", "rev"]
_UNKNOWN_SIZE = 64  # what a size counts as that is not known where the mode is chosen
LANES = 8  # most seeds that share a sweep
_FEW = 2
_MOST_NODES = 4000  # of all lanes together


def cheaper_mode(func: Func, wrt: Sequence[int], sizes: Mapping[str, int]) -> Mode:
    """The mode with less work: a reverse sweep is taken to cost two forward ones.

    sizes: of size variables, as far as they are known.
    """
    if any(is_custom(node) and node.attrs["rule"].kind == "custom_vjp" for node in walk_nodes(func.body)):
        return "rev"  # such rules have no forward mode
    outputs = [r.ty for r in func.results if is_inexact(r.ty)]
    if any(is_complex(ty) for ty in outputs):
        return "fwd"
    inputs = [func.params[k].ty for k in wrt]
    return "rev" if 2 * _count(outputs, sizes) < _count(inputs, sizes) else "fwd"


def _count(types: Sequence[Type], sizes: Mapping[str, int]) -> int:
    return sum(_entries(ty, sizes) for ty in types)


def _entries(ty: Type, sizes: Mapping[str, int]) -> int:
    assert isinstance(ty, Scalar | Array)
    entries = product_of_sizes(ty.shape)
    known = {name: sizes.get(name, _UNKNOWN_SIZE) for name in size_variables(entries)}
    return evaluate_size(entries, known)


def lanes_for(seeds: int, part: Part) -> int:
    """How many seeds share a sweep: so many that blocks of about equal size take all, and the code stays small.

    One where nothing would be shared: what straight code could share stands before the sweep already; or where the
    course depends on the seed. Few where lanes would be small arrays inside a loop (measured, see docs/design.md).
    """
    if not part.uniform or not part.shares:
        return 1
    most = max(1, min(_FEW if part.has_small_arrays else LANES, _MOST_NODES // part.repeated_nodes, seeds))
    blocks = -(-seeds // most)
    return -(-seeds // blocks) if blocks else 1


def jacobian(
    func: Func, wrt: Sequence[int], mode: Mode, sizes: Mapping[str, int] | None = None, lanes: int | None = None
) -> Func:
    """The function with one Jacobian per floating-point result and entry of `wrt`, those of one result together.

    A Jacobian has the axes of the result, then those of the parameter; it is a scalar where both are. `func` does not
    write into its parameters. sizes: those of size variables that are known, by which `lanes`, the number of seeds that
    share a sweep, is chosen where it is not given. The result holds for all sizes.

    Raises: DTypeError for complex parameters, and for complex results in reverse mode.
    """
    for k in wrt:
        if is_complex(func.params[k].ty):
            raise DTypeError(
                f"the Jacobian in `{func.params[k].name}`, which is complex, is not one array",
                func.loc,
                "a function of complex numbers has derivatives in their real and imaginary parts.",
                "take the real and imaginary parts as two arguments.",
            )
    return SeedLoop(func, list(wrt), sizes or {}, lanes).run(mode)


class SeedLoop:
    """A function under construction that runs a derivative for many seeds."""

    def __init__(self, func: Func, wrt: list[int], sizes: Mapping[str, int], lanes: int | None) -> None:
        self.func = func
        self.wrt = wrt
        self.sizes = sizes
        self.lanes = lanes
        self.outputs = [k for k, r in enumerate(func.results) if is_inexact(r.ty)]
        params = [(p.name, p.ty) for p in func.params]
        self.new = new_func(f"{func.name}_jacobian", params, func.loc)
        self.builder = Builder(self.new, checks=False)
        self.builder.avoid_sizes_of(func)
        self.known_sizes = _size_names(func)
        self.primals: list[Value] | None = None
        self.made: dict[tuple[int, int], Value] = {}  # of (result, parameter)
        for old, param in zip(func.params, self.new.params, strict=True):
            param.size = old.size

    def run(self, mode: Mode) -> Func:
        """Build it."""
        with self.builder:
            if mode == "fwd":
                self._forward()
            else:
                self._reverse()
        self.new.body.yields = [self.made[o, k] for o in self.outputs for k in self.wrt]
        return self.new

    def _forward(self) -> None:
        for k in self.wrt:
            x = self.new.params[k]
            part = self.part(jvp(self.func, [k], keep_value=False))
            self.made |= {(o, k): self._space(o, k) for o in self.outputs}
            shape = memory.shape_values(x) if x.rank else []
            self._for_each_seed(part, x.ty, f"{x.name}_t", shape, partial(self._columns, k))

    def _columns(self, k: int, place: Value | None, tangents: list[Value]) -> None:
        for o, tangent in zip(self.outputs, tangents, strict=True):
            self._put(o, k, (*(FULL,) * self.func.results[o].rank, *_at(place)), place, tangent)

    def _reverse(self) -> None:
        for o in self.outputs:
            y = self.func.results[o]
            if is_complex(y.ty):
                raise DTypeError(
                    f"{self.func.name} returns complex numbers, whose Jacobian has no rows in reverse mode",
                    self.func.loc,
                    hint='use mode="fwd".',
                )
            part = self.part(reverse(self.func, self.wrt, keep_value=False, seeds="params", outputs=[o]))
            self.made |= {(o, k): self._space(o, k) for k in self.wrt}
            shape = self.result_shape(o) if y.rank else []
            self._for_each_seed(part, y.ty, f"d{y.name or 'out'}", shape, partial(self._rows, o))

    def _rows(self, o: int, place: Value | None, gradients: list[Value]) -> None:
        for k, gradient in zip(self.wrt, gradients, strict=True):
            self._put(o, k, (*_at(place), *(FULL,) * self.func.params[k].rank), place, gradient)

    # --------------------------------------------------------------------------------------------- parts

    def _space(self, output: int, wrt: int) -> Value:
        """Where a Jacobian goes: an array to be filled, or a stand-in for a scalar."""
        y, x = self.func.results[output], self.new.params[wrt]
        assert isinstance(x.ty, Scalar | Array) and isinstance(y.ty, Scalar | Array)
        dtype = promote_dtypes((Scalar(y.dtype), Scalar(x.dtype))).dtype
        if isinstance(x.ty, Scalar) and isinstance(y.ty, Scalar):
            return Value(Scalar(dtype, x.ty.weak and dtype == x.dtype))
        sizes = [*(self.result_shape(output) if y.rank else []), *(memory.shape_values(x) if x.rank else [])]
        made = memory.make_zeros(sizes, dtype, filled=False)
        made.name = f"d{y.name or 'out'}_d{x.name}"
        return made

    def _put(self, output: int, wrt: int, region: Region, place: Value | None, value: Value) -> None:
        """Write a part of a Jacobian, whose axes of the seed count as one; a scalar one is that value."""
        target = self.made[output, wrt]
        if isinstance(target.ty, Scalar):
            self.made[output, wrt] = convert(value, target.ty.dtype, target.ty.weak)
            return
        places = () if place is None else (place,)
        if len(region) != target.rank:
            first = next((k for k, entry in enumerate(region) if isinstance(entry, At)), len(region))
            target = with_axes_joined(target, first, target.rank - len(region) + len(places))
        if region and all(isinstance(entry, At) for entry in region):
            number = memory.load(value, region=()) if isinstance(value.ty, Array) else value
            memory.store_at(target, number, *places, region=region)
        else:
            memory.store(memory.make_index(target, region, *places) if places else target, value)

    def _for_each_seed(
        self,
        part: Part,
        ty: Type,
        name: str,
        shape: Sequence[int | Value],
        put: Callable[[Value | None, list[Value]], None],
    ) -> None:
        """Sweep over every unit vector of a type: `put(position, results)`; the position is in C order."""
        if isinstance(ty, Scalar):
            put(None, part.swept([self.builder.const(1.0 if ty.weak else np.dtype(ty.dtype).type(1))])[0])
            return
        assert isinstance(ty, Array)
        if not shape:
            seed = memory.make_zeros(shape, ty.dtype)
            seed.name = name
            memory.store(seed, 1.0)
            put(None, part.swept([seed])[0])
            return
        seeds = self.seeds(ty, name, shape, part, _entries(ty, self.sizes))
        flat = [with_axes_joined(seed, 0, len(shape)) for seed in seeds]
        count = self.builder.value(reduce(lambda a, b: a * b, shape))
        index = Value(WEAK_INT, "i")
        entry = (At(Arg(0)),)
        with self.builder.into(Block(params=[index])) as body:
            places = self.places(index, count, len(seeds))
            for seed, place in zip(flat, places, strict=True):
                memory.store_at(seed, 1.0, place, region=entry)
            for place, results in zip(places, part.swept(seeds), strict=True):
                put(place, results)
            for seed, place in zip(flat, places, strict=True):
                memory.store_at(seed, 0.0, place, region=entry)
        self.builder.control("for", (0, count, len(seeds)), (body,), (), reversed=False, exits=False)

    def seeds(self, ty: Array, name: str, shape: Sequence[int | Value], part: Part, count: int) -> list[Value]:
        """A seed for each lane, of zeros; count: how many there are to sweep over, as far as that is known."""
        lanes = self.lanes if self.lanes and part.uniform else lanes_for(count, part)
        made = [memory.make_zeros(shape, ty.dtype) for _ in range(lanes)]
        for seed in made:
            seed.name = name
        return made

    def places(self, first: Value, count: Value, lanes: int) -> list[Value]:
        """The seeds of a block: those from `first` on, the last one again where there are no more."""
        return [first, *(self.builder.emit("minimum", (first + k, count - 1)) for k in range(1, lanes))]

    # --------------------------------------------------------------------------------------------- sizes

    def result_shape(self, output: int) -> list[int | Value]:
        """The shape of a result: from the sizes of the parameters where these tell, else from the result itself."""
        given: dict[str, Value] = {}
        for p in self.new.params:
            if isinstance(p.ty, Array):
                for axis, size in enumerate(p.ty.shape):
                    if isinstance(size, Dim) and size_variables(size) == {str(size)} and str(size) not in given:
                        given[str(size)] = memory.dim(p, axis=axis)
        sizes = [self._written(size, given) for size in self.func.results[output].shape]
        if any(size is None for size in sizes):
            if self.primals is None:
                self.primals = self.part(self.func).results()
            return memory.shape_values(self.primals[output])
        return [size for size in sizes if size is not None]

    def _written(self, size: Size, given: Mapping[str, Value]) -> int | Value | None:
        """A size as arithmetic with sizes of parameters; None where it has others."""
        if isinstance(size, int):
            return size
        total: Any = None
        for atoms, coefficient in size.terms:
            term: Any = None if atoms and coefficient == 1 else coefficient
            for atom in atoms:
                if atom.inner is None:
                    factor: Any = given.get(atom.name)
                else:
                    factor = self._written(atom.inner, given)
                    factor = None if factor is None else self.builder.emit("maximum", (factor, 0))
                if factor is None:
                    return None
                term = factor if term is None else term * factor
            total = term if total is None else total + term
        return total

    def part(self, derived: Func) -> Part:
        """A derivative, of which what does not depend on its seed is put here."""
        params = dict(zip(derived.params, self.new.params, strict=False))
        # Sizes that only it knows get names of their own.
        names = sorted(_size_names(derived) - self.known_sizes)
        part = Part(derived, params, self.builder, {name: self.builder.new_size("t") for name in names})
        part.start()
        return part


class Part:
    """A derivative in pieces: what does not depend on its seed, the last parameter, and what does."""

    def __init__(
        self, derived: Func, params: Mapping[Value, Value], builder: Builder, renamed: dict[str, Size]
    ) -> None:
        self.derived = derived
        self.builder = builder
        self.renamed = renamed
        self.mapping = dict(params.items())
        self.seeds = derived.params[len(params) :]
        self.spread = Spread(derived, self.seeds)
        self.swept_nodes = _dependent_nodes(derived, self.seeds)

    @property
    def repeated_nodes(self) -> int:
        """How many nodes every lane has for itself."""
        return 1 + sum(self.spread.repeats(node) for node in walk_nodes(self.derived.body) if not node.blocks)

    @property
    def uniform(self) -> bool:
        """Whether all seeds take the same course."""
        return self.spread.uniform

    @property
    def shares(self) -> bool:
        """Whether there is something that seeds would share: loops and branches that do not only work for the seed."""
        own = common = 0
        for node in self._inner_nodes():
            if self.spread.repeats(node):
                own += node.op.cost
            elif node.op.kind not in ("view", "query", "check", "control") and node.op.name != "const":
                common += node.op.cost
        return 4 * common > own

    @property
    def has_small_arrays(self) -> bool:
        """Whether arrays of known size that the lanes have for themselves are made inside loops or branches."""
        return any(
            isinstance(r.ty, Array) and n.op.kind != "view" and all(isinstance(size, int) for size in r.shape)
            for n in self._inner_nodes()
            if self.spread.repeats(n)
            for r in n.results
        )

    def _inner_nodes(self) -> Iterator[Node]:
        """Nodes inside the control nodes that are swept."""
        return (n for node in self.swept_nodes for block in node.blocks for n in walk_nodes(block))

    def start(self) -> None:
        """Put what does not depend on the seed here."""
        before = [n for n in self.derived.body.nodes if n not in self.swept_nodes]
        self._put(before, Lanes(self.spread, self.mapping, [{}]))

    def results(self) -> list[Value]:
        """The results of a function without seeds."""
        return [self.mapping.get(r, r) for r in self.derived.results]

    def swept(self, seeds: Sequence[Value]) -> list[list[Value]]:
        """Put the rest here, for several seeds; the results for each of them."""
        lanes = Lanes(self.spread, dict(self.mapping), [{self.seeds[0]: seed} for seed in seeds])
        self._put([n for n in self.derived.body.nodes if n in self.swept_nodes], lanes)
        return [[lanes.of(r, lane) for r in self.derived.results] for lane in range(len(seeds))]

    def _put(self, nodes: Sequence[Node], lanes: Lanes) -> None:
        made = lanes.put(nodes)
        self.builder.block.nodes += made
        if self.renamed:
            for node in made:
                for inner in (node, *(n for block in node.blocks for n in walk_nodes(block))):
                    _rename_sizes(inner, self.renamed)


def _at(place: Value | None) -> Region:
    return () if place is None else (At(Arg(0)),)


def with_axes_joined(array: Value, first: int, count: int) -> Value:
    """A new C-contiguous array with `count` of its axes as one: a view."""
    if count == 1:
        return array
    sizes = memory.shape_values(array)
    joined = reduce(lambda a, b: a * b, sizes[first : first + count])
    return memory.make_reshape(array, [*sizes[:first], joined, *sizes[first + count :]])


def _dependent_nodes(func: Func, seeds: Sequence[Value]) -> set[Node]:
    """Nodes of the body that have to run for every seed.

    Those that use a seed or the result of such a node; and all that touch a buffer which changes in or after one of
    these: the next seed must find it as the first one did.
    """
    nodes = func.body.nodes
    used = [set(used_values(node)) for node in nodes]
    touched = [{b for v in values for b in _buffers(v)} for values in used]
    changed = [_changed(node) for node in nodes]
    for k, node in enumerate(nodes):
        touched[k] |= {b for r in node.results for b in _buffers(r)}
    dependent: set[int] = set()
    values: set[Value] = set(seeds)
    mutable: set[Value] = set()
    while True:
        before = len(dependent), len(mutable)
        seen: set[Value] = set()
        for k, node in enumerate(nodes):
            if k not in dependent and not (used[k].isdisjoint(values) and touched[k].isdisjoint(mutable)):
                dependent.add(k)
            if k in dependent:
                values.update(node.results)
                mutable |= changed[k]
                seen |= touched[k]
            else:
                mutable |= changed[k] & seen
        if (len(dependent), len(mutable)) == before:
            return {nodes[k] for k in dependent}


def _buffers(value: Value) -> frozenset[Value]:
    """What a value names: array buffers, or the tape that it is."""
    return frozenset((value,)) if isinstance(value.ty, Stack) else roots(value)


def _changed(node: Node) -> frozenset[Value]:
    """Buffers and tapes that a node changes, inner blocks included."""
    found: frozenset[Value] = frozenset()
    for inner in (node, *(n for block in node.blocks for n in walk_nodes(block))):
        target = own_write(inner)
        if target is not None:
            found |= roots(target)
        if inner.op.kind == "stack" and inner.operands:
            found |= {inner.operands[0]}
    return found


def _size_names(func: Func) -> set[str]:
    """Names of all size variables of a function."""
    values = [*func.params, *(r for node in walk_nodes(func.body) for r in node.results)]
    names: set[str] = set()
    for value in values:
        item = value.ty.item if isinstance(value.ty, Stack) else value.ty
        for size in (*item.shape, *(() if value.size is None else (value.size,))):
            names |= size_variables(size)
    return names


def _rename_sizes(node: Node, renamed: dict[str, Size]) -> None:
    for name in ("type", "item"):
        if isinstance(node.attrs.get(name), Array | Stack):
            node.attrs[name] = _renamed(node.attrs[name], renamed)
    for value in (*node.results, *(p for block in node.blocks for p in block.params)):
        value.ty = _renamed(value.ty, renamed)
        if value.size is not None:
            value.size = substitute_size(value.size, renamed)


def _renamed(ty: Any, renamed: dict[str, Size]) -> Any:
    if isinstance(ty, Stack):
        return Stack(_renamed(ty.item, renamed))
    if not isinstance(ty, Array):
        return ty
    return Array(ty.dtype, tuple(substitute_size(s, renamed) for s in ty.shape), ty.layout)
