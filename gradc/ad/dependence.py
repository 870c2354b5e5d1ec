"""Which results depend on which entries of a parameter: a function in, a function of bit sets (words) out.

    def f(x, idx):                      def f_words(x, idx, x_w):
        y = np.zeros(n)                     y_w = zeros(n)
        for i in range(n):                  for i in range(n):
            y[i] = sin(x[idx[i]]) * x[i]        y_w[i] = x_w[idx[i]] | x_w[i]
        return y                            return y_w

A word says which of 64 sets of entries a number may have a derivative in. What is known before `x` is (integers, masks,
sizes: `ad/unknown.py`) is computed as in the function; so the words hold for every x. Where the course of an `if` or a
loop depends on x, all that it reads flows into all that it writes; nothing of it is run. An op whose entry does not
say more depends on all of its operands in every element. The words of a union of sets are the unions of their words.

Never too few bits: then a derivative would be taken for zero. Source: bit vectors as in Griewank, Walther, Evaluating
Derivatives (2008), sec. 7.1; the treatment of control flow and memory is that of `ad/forward.py`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from gradc.ad.activity import (
    Activity,
    carried_inits,
    carried_params,
    carried_results,
    carried_yields,
    check_inputs,
)
from gradc.ad.cotangents import new_like
from gradc.ad.unknown import Unknown
from gradc.errors import UnsupportedError
from gradc.ir.builder import Builder
from gradc.ir.custom import calls_in_place
from gradc.ir.effects import buffers_written, own_reads, own_write, roots, view_operands
from gradc.ir.nodes import Block, Func, Node, Value, captured_values, clone_node, walk_blocks, walk_nodes
from gradc.ir.region import Arg, At, NewAxis, Region, Span
from gradc.ir.types import Array, Dim, Scalar, Size, Stack, size_variables
from gradc.ops import memory
from gradc.ops.rules import constant_of
from gradc.ops.words import WORD, join_at, joined, no_bits, whole


def dependence(func: Func, wrt: int) -> Func:
    """The words of the one floating-point result of `func`, from those of parameter `wrt`.

    Parameters: those of `func`, then an int64 array of the shape of the parameter. Result: int64, of the shape of the
    result. `func` does not write into its parameters.

    Raises: UnsupportedError where the size of the result depends on the parameter.
    """
    check_inputs(func, [wrt])
    func = calls_in_place(func, lambda node: node.attrs["rule"].kind == "checkpoint")
    if Unknown(func, [func.params[wrt]]).holds_shape(func.results[0]):
        raise UnsupportedError(
            f"the size of what {func.name} returns depends on the values in `{func.params[wrt].name}`",
            func.loc,
            why="a sparse Jacobian has the same rows for all of them.",
            hint="return an array of a fixed size, for example np.where(mask, value, 0.0) in place of value[mask].",
        )
    try:
        return _Dependence(func, wrt).run()
    except _TooCoarse:
        return _all_on_all(func, wrt)


class _TooCoarse(Exception):  # caught here: the answer is then that all depends on all
    """The words of a value cannot be told apart, as its shape is not known."""


@dataclass(frozen=True, eq=False, slots=True)
class _Words:
    """What a value depends on: `exact`, of its shape; or, for all its elements alike, what any of `places` holds."""

    exact: Value | None = None
    places: tuple[Value, ...] = ()


class _Dependence:
    """The function under construction."""

    def __init__(self, func: Func, wrt: int) -> None:
        self.func = func
        self.wrt = func.params[wrt]
        (self.result,) = func.results
        self.activity = Activity(func, [self.wrt], [self.result])
        self.unknown = Unknown(func, [self.wrt])
        self.written = buffers_written(func.body)
        self.new = Func(f"{func.name}_words", Block(), func.loc)
        self.builder = Builder(self.new, checks=False)
        self.builder.avoid_sizes_of(func)
        self.known: dict[Value, Value] = {}
        self.words: dict[Value, _Words] = {}
        self.sizes: list[dict[str, tuple[Value, int | None]]] = [{}]  # per scope: an int, or an array and its axis

    def run(self) -> Func:
        """Build it."""
        with self.builder, self.builder.into(self.new.body):
            for param in self.func.params:
                new = Value(param.ty, param.name, None, param.size)
                self.new.params.append(new)
                self.known[param] = new  # of the unknown one the sizes are known
                self._learn_sizes(new)
            x = self.wrt
            given = Value(Array("int64", x.shape) if isinstance(x.ty, Array) else WORD, f"{x.name}_w")
            self.new.params.append(given)
            self.words[x] = _Words(self._laid_out(given, x))
            for param in self.func.params:
                if param is not x and self._active(param):  # a reference may name it or x
                    assert isinstance(param.ty, Array)
                    self.words[param] = _Words(new_like(self._shape(param), "int64", param.ty.layout))
            self._nodes(self.func.body.nodes)
            self.new.body.yields = [self._like(self._of(self.result), self.result)]
        return self.new

    def _laid_out(self, given: Value, like: Value) -> Value:
        """The given words in a buffer with the layout of the parameter, under which its views are views."""
        if not isinstance(like.ty, Array) or like.ty.layout != "F":
            return given
        buffer = new_like(memory.shape_values(given), "int64", "F", filled=False)
        memory.store(buffer, given)
        return buffer

    # ------------------------------------------------------------------------------------------- words

    def _active(self, value: Value) -> bool:
        return self.activity.is_active(value)

    def _of(self, value: Value) -> _Words:
        return self.words[value] if self._active(value) else _Words()

    def _total(self, words: Iterable[_Words]) -> Value:
        """What any element of any of them depends on."""
        found: dict[Value, None] = {}
        for word in words:
            found.update(dict.fromkeys((word.exact,) if word.exact is not None else word.places))
        return joined([whole(place) for place in found])

    def _like(self, words: _Words, value: Value) -> Value:
        """Words of the shape of a value.

        Raises: _TooCoarse where that is not known.
        """
        exact = words.exact if words.exact is not None else self._total([words])
        if isinstance(value.ty, Array) and (not isinstance(exact.ty, Array) or not self._same_shape(exact, value)):
            return memory.make_broadcast(exact, self._shape(value))
        return exact

    def _same_shape(self, word: Value, value: Value) -> bool:
        canonical = self.builder.canonical_size
        return tuple(map(canonical, word.shape)) == tuple(map(canonical, value.shape))

    def _set(self, value: Value, words: _Words, fresh: bool = True) -> None:
        """Enter the words of a new value; `fresh`: what holds them belongs to nobody else."""
        if not isinstance(value.ty, Array):
            self.words[value] = _Words(self._total([words]))
            return
        try:
            made = self._like(words, value)
        except _TooCoarse:
            cell = memory.make_zeros((1,), "int64")
            memory.store(cell, self._total([words]))
            self.words[value] = _Words(places=(cell,))
            return
        if made is words.exact and not fresh and self.written:
            made = memory.copy(made)
        self.words[value] = _Words(made)
        self._learn_sizes(made)

    # ------------------------------------------------------------------------------------------- sizes

    def _learn_sizes(self, value: Value) -> None:
        """Remember where a size can be read."""
        if isinstance(value.ty, Array):
            for axis, size in enumerate(value.ty.shape):
                if isinstance(size, Dim) and size_variables(size) == {str(size)}:
                    self.sizes[-1].setdefault(str(size), (value, axis))
        elif value.size is not None and isinstance(value.size, Dim) and size_variables(value.size) == {str(value.size)}:
            self.sizes[-1].setdefault(str(value.size), (value, None))

    def _shape(self, value: Value) -> list[int | Value]:
        if self.unknown.holds_shape(value):
            raise _TooCoarse
        return [self._size(size) for size in value.shape]

    def _size(self, size: Size) -> int | Value:
        if isinstance(size, int):
            return size
        total: Any = 0
        for atoms, coefficient in size.terms:
            term: Any = coefficient
            for atom in atoms:
                if atom.inner is None:
                    factor: Any = self._size_named(atom.name)
                else:
                    factor = self.builder.emit("maximum", (self._size(atom.inner), 0))
                term = factor if isinstance(term, int) and term == 1 else term * factor
            total = term if isinstance(total, int) and total == 0 else total + term
        if isinstance(total, Value) and total.size is None:
            total.size = size
        return total

    def _size_named(self, name: str) -> Value:
        for scope in reversed(self.sizes):
            if name in scope:
                value, axis = scope[name]
                return value if axis is None else memory.dim(value, axis=axis)
        raise _TooCoarse

    # ------------------------------------------------------------------------------------------- nodes

    def _block(self, nodes: Sequence[Node], block: Block, params: Sequence[Value] = ()) -> None:
        self.sizes.append({})
        with self.builder.into(block):
            for param in params:
                self._learn_sizes(param)
            self._nodes(nodes)

    def _nodes(self, nodes: Sequence[Node]) -> None:
        for node in nodes:
            with self.builder.at(node.loc):
                self._node(node)

    def _node(self, node: Node) -> None:
        kind = node.op.kind
        if kind == "control":
            if node in self.unknown.wild:
                self._wild(node)
            elif node.op.name == "if":
                self._if(node)
            else:
                self._loop(node)
            return
        self._copy_known(node)
        if kind == "view":
            if self._active(node.result):
                self._view(node)
        elif kind == "write":
            if self._active(node.operands[0]):
                self._write(node)
        elif kind == "stack":
            self._stack(node)
        elif kind not in ("query", "check") and any(self._active(r) for r in node.results):
            self._compute(node)

    def _get(self, value: Value) -> Value:
        """A known value. Raises: _TooCoarse where it hangs on a size that could not be had."""
        if value not in self.known:
            raise _TooCoarse
        return self.known[value]

    def _is_known(self, value: Value) -> bool:
        return value in self.known and not self.unknown.holds(value)

    def _copy_known(self, node: Node) -> None:
        """The node itself, where it is the same for every x."""
        kind = node.op.kind
        if kind == "query":
            self._copy_query(node)
            return
        if kind == "check":
            self._copy_check(node)
            return
        if any(self.unknown.holds(v) for v in (*node.operands, *node.results)):
            return
        for value in node.operands:
            self._get(value)
        copy = clone_node(node, self.known)
        self.builder.block.nodes.append(copy)
        for made in copy.results:
            self._learn_sizes(made)

    def _copy_query(self, node: Node) -> None:
        if self.unknown.holds(node.result):
            return
        (x,) = node.operands
        shaped = self.known.get(x) or (self.words[x].exact if self._active(x) and x in self.words else None)
        if shaped is not None:
            self.known[node.result] = memory.dim(shaped, axis=node.attrs["axis"])
        else:
            try:
                size = self._size(x.shape[node.attrs["axis"]])
            except _TooCoarse:
                return  # who needs it is coarse, then
            self.known[node.result] = self.builder.value(size)
        self._learn_sizes(self.known[node.result])

    def _copy_check(self, node: Node) -> None:
        operands: list[Value] = []
        for k, value in enumerate(node.operands):
            if node.op.name == "check_indices" and k == 1 and not self._is_known(value):
                shaped = self.words[value].exact if self._active(value) else self.known.get(value)
                if shaped is None:
                    return
                operands.append(shaped)
            elif self._is_known(value):
                operands.append(self.known[value])
            else:
                return
        self.builder.add(node.op, operands, dict(node.attrs))

    def _view(self, node: Node) -> None:
        bases = view_operands(node.op)
        held = [self._of(node.operands[k]) for k in bases]
        rest = [v for k, v in enumerate(node.operands) if k not in bases]
        if all(self._is_known(v) for v in rest) and all(w.exact is not None or not w.places for w in held):
            try:
                operands = [
                    self._base(v) if k in bases else self.known[v] for k, v in enumerate(node.operands)
                ]
            except _TooCoarse:
                pass
            else:
                made = self.builder.add(node.op, operands, _of_words(node.attrs))
                self.words[node.result] = _Words(made)
                self._learn_sizes(made)
                return
        places = dict.fromkeys(p for w in held for p in ((w.exact,) if w.exact is not None else w.places))
        self.words[node.result] = _Words(places=tuple(p for p in places if p is not None))

    def _base(self, value: Value) -> Value:
        """The exact words of an array, zeros where nothing writes into them."""
        words = self._of(value)
        if words.exact is not None:
            return words.exact
        assert isinstance(value.ty, Array)
        return new_like(self._shape(value), "int64", value.ty.layout)

    def _write(self, node: Node) -> None:
        target, value, *rest = node.operands
        held = self.words[target]
        given = self._of(value)
        if held.exact is None or not all(self._is_known(v) for v in rest):
            self._write_somewhere((held.exact,) if held.exact is not None else held.places, self._total([given]))
            return
        operands = [self.known[v] for v in rest]
        word = given.exact if given.exact is not None else self._total([given])
        name, attrs = node.op.name, dict(node.attrs)
        if name in ("store", "store_at", "scatter", "scatter_mask"):
            self.builder.add(node.op, (held.exact, word, *operands), attrs)
        elif name == "accumulate":
            memory.store(held.exact, joined([held.exact, word]))
        elif name == "accumulate_at":
            before = memory.load(held.exact, *operands, region=node.attrs["region"])
            memory.store_at(held.exact, joined([before, word]), *operands, region=node.attrs["region"])
        elif name == "accumulate_mask":
            before = memory.make_mask_select(held.exact, operands[0])
            memory.scatter_mask(held.exact, joined([before, word]), operands[0])
        elif name == "scatter_add":
            join_at(held.exact, node.attrs["region"], word, operands)
        else:
            self._write_somewhere((held.exact,), self._total([given]))

    def _write_somewhere(self, places: Iterable[Value], word: Value) -> None:
        """Add to the words of every element, because which one is written is not known."""
        for place in places:
            memory.store(place, joined([place, word]))

    def _stack(self, node: Node) -> None:
        stack = node.results[0] if node.op.name == "stack_new" else node.operands[0]
        if not self._active(stack):
            return
        if node.op.name == "stack_new":
            assert isinstance(stack.ty, Stack)
            if self._is_orderly(stack):
                item = stack.ty.item
                words = Array("int64", item.shape) if isinstance(item, Array) else WORD
                self.words[stack] = _Words(self.builder.add(node.op, (), {"item": words}))
            else:
                self.words[stack] = _Words(places=(memory.make_zeros((1,), "int64"),))
            return
        held = self.words[stack]
        if node.op.name == "push":
            value = node.operands[1]
            given = self._of(value)
            if held.exact is None:
                self._write_somewhere(held.places, self._total([given]))
            else:
                self.builder.emit("push", (held.exact, self._like(given, value) if given != _Words() else
                                           self._base(value) if isinstance(value.ty, Array) else no_bits()))
        elif held.exact is None:
            self._set(node.result, held)
        else:
            self._set(node.result, _Words(self.builder.emit("pop", (held.exact,))))

    def _is_orderly(self, stack: Value) -> bool:
        """Whether the order of what comes and goes is known."""
        for node in self.unknown.wild:
            for block in node.blocks:
                if any(n.op.kind == "stack" and stack in n.operands for n in walk_nodes(block)):
                    return False
        return True

    # ----------------------------------------------------------------------------------------- computing

    def _compute(self, node: Node) -> None:
        op = node.op
        held = [self._of(v) for v in node.operands]
        active = [w for w in held if w != _Words() and (w.exact is not None or w.places)]
        for result in node.results:
            if self._active(result):
                self._set(result, self._combined(node, result, held, active), fresh=op.kind != "elementwise")

    def _combined(self, node: Node, result: Value, held: Sequence[_Words], active: Sequence[_Words]) -> _Words:
        op = node.op
        if not active or any(w.exact is None for w in active) or len(node.results) > 1:
            return _Words(self._total(active))
        if op.kind == "elementwise":
            if op.name == "where" and self._is_known(node.operands[0]):
                sides = [w.exact if w.exact is not None else 0 for w in held[1:]]
                return _Words(self.builder.emit("where", (self.known[node.operands[0]], *sides)))
            return _Words(joined([w.exact for w in active if w.exact is not None]))
        if op.kind == "reduce":
            (words,) = active
            assert words.exact is not None
            axes, keepdims = node.attrs["axes"], node.attrs["keepdims"]
            return _Words(self.builder.emit("bits_over", (words.exact,), axes=axes, keepdims=keepdims))
        if op.depends is not None:
            return _Words(op.depends([w.exact for w in held], node.operands, **node.attrs))
        count = {"": 0, "first": 1, "all": len(node.operands)}["first" if op.kind == "read" else op.moves]
        rest = node.operands[count:]
        if count and all(self._is_known(v) for v in rest):
            try:
                moved = [self._base(v) if isinstance(v.ty, Array) else self._total([self._of(v)])
                         for v in node.operands[:count]]
            except _TooCoarse:
                return _Words(self._total(active))
            return _Words(self.builder.add(op, [*moved, *(self.known[v] for v in rest)], _of_words(node.attrs)))
        return _Words(self._total(active))

    # -------------------------------------------------------------------------------------- control flow

    def _if(self, node: Node) -> None:
        kept = [k for k, r in enumerate(node.results) if not self.unknown.holds(r)]
        active = [k for k, r in enumerate(node.results) if self._active(r)]
        blocks = []
        for original in node.blocks:
            block = Block()
            self._block(original.nodes, block)
            with self.builder.into(block):
                block.yields = [self._get(original.yields[k]) for k in kept]
                block.yields += [self._total([self._of(original.yields[k])]) for k in active]
            self.sizes.pop()
            blocks.append(block)
        types = [*(node.results[k].ty for k in kept), *(WORD for _ in active)]
        made = self.builder.control("if", [self._get(node.operands[0])], blocks, types)
        self._results(node, made, kept, active)

    def _results(self, node: Node, made: Sequence[Value], kept: Sequence[int], active: Sequence[int]) -> None:
        for k, value in zip(kept, made, strict=False):
            value.name, value.size = node.results[k].name, node.results[k].size
            self.known[node.results[k]] = value
            self._learn_sizes(value)
        for k, value in zip(active, made[len(kept) : len(kept) + len(active)], strict=True):
            self.words[node.results[k]] = _Words(value)

    def _loop(self, node: Node) -> None:
        results, inits = carried_results(node), carried_inits(node)
        kept = [k for k, r in enumerate(results) if not self.unknown.holds(r)]
        carried = carried_params(node, node.blocks[-1])
        active = [k for k, r in enumerate(results) if self._active(r) or self._active(carried[k])]
        first = len(node.operands) - len(inits)
        operands = [self._get(v) for v in (*node.operands[:first], *(inits[k] for k in kept))]
        operands += [self._total([self._of(inits[k])]) for k in active]
        blocks = []
        for original in node.blocks:
            block = Block()
            params = carried_params(node, original)
            own = original.params[: len(original.params) - len(params)]
            for old in (*own, *(params[k] for k in kept)):
                new = Value(old.ty, old.name, None, old.size)
                self.known[old] = new
                block.params.append(new)
            for k in active:
                word = Value(WORD, f"{params[k].name}_w" if params[k].name else "")
                self.words[params[k]] = _Words(word)
                block.params.append(word)
            self._block(original.nodes, block, block.params)
            with self.builder.into(block):
                if original is node.blocks[-1]:
                    yields = carried_yields(node)
                    ends = original.yields[: len(original.yields) - len(yields)]
                    block.yields = [self._get(v) for v in (*ends, *(yields[k] for k in kept))]
                    block.yields += [self._total([self._of(yields[k])]) for k in active]
                else:
                    block.yields = [self._get(v) for v in original.yields]
            self.sizes.pop()
            blocks.append(block)
        extra = node.results[len(results) :]
        types = [*(results[k].ty for k in kept), *(WORD for _ in active), *(r.ty for r in extra)]
        made = self.builder.control(node.op.name, operands, blocks, types, **node.attrs)
        self._results(node, made, kept, active)
        for old, value in zip(extra, made[len(kept) + len(active) :], strict=True):
            value.name, value.size = old.name, old.size
            self.known[old] = value
            self._learn_sizes(value)

    # ----------------------------------------------------------------- control flow that x decides about

    def _wild(self, node: Node) -> None:
        """A control node whose course is unknown: what it reads flows into what it writes, once."""
        inside = {p for block in node.blocks for b in walk_blocks(block) for p in b.params}
        inside |= {r for block in node.blocks for n in walk_nodes(block) for r in n.results}
        read = [self._of(v) for v in captured_values(node) if not isinstance(v.ty, Array) and self._active(v)]
        places: dict[Value, None] = {}
        for inner in (n for block in node.blocks for n in walk_nodes(block)):
            reads = list(own_reads(inner))
            if inner.op.name in ("accumulate", "accumulate_at", "accumulate_mask"):
                del reads[0]  # what was there flows no further: it is kept
            for array in reads:
                read.append(_Words(places=tuple(self._parts(array, inner, inside, inner.op.name == "load"))))
            target = own_write(inner)
            if target is not None and self._active(target):
                single = inner.op.name in ("store_at", "accumulate_at")
                places.update(dict.fromkeys(self._parts(target, inner, inside, single)))
            if inner.op.name == "push" and inner.operands[0] not in inside and self._active(inner.operands[0]):
                places.update(dict.fromkeys(self._of(inner.operands[0]).places))
        total = self._total(read)
        self._write_somewhere(places, total)
        for result in node.results:
            if self._active(result):
                self.words[result] = _Words(total)

    def _parts(self, array: Value, node: Node, inside: set[Value], single: bool) -> list[Value]:
        """Views of words from outside of a control node that hold all that `node`, inside, reads or writes of `array`.

        single: it is one element, at the place that the last operands of `node` name.
        """
        if not any(self._active(root) for root in roots(array)):
            return []
        if array not in inside:
            words = self._of(array)
            if words.exact is None:
                return list(words.places)
            if single:
                index = node.operands[1 if node.op.name == "load" else 2 :]
                return [self._part(words.exact, node.attrs["region"], index, inside)]
            return [words.exact]
        made = array.node
        if made is None or made.op.kind != "view":
            return []  # made inside, from what is read there
        found: list[Value] = []
        for k in view_operands(made.op):
            base = made.operands[k]
            held = self._of(base) if base not in inside else _Words()
            if made.op.name == "index" and held.exact is not None:
                found.append(self._part(held.exact, made.attrs["region"], made.operands[1:], inside))
            else:
                found += self._parts(base, made, inside, False)
        return found

    def _part(self, words: Value, region: Region, operands: Sequence[Value], inside: set[Value]) -> Value:
        """A part of an array that holds a region of it; all along an axis where the place is not known outside.

        Positions become slices, which may be empty: nobody has checked them here.
        """
        entries: list[Any] = []
        given: list[Value] = []

        def outside(bound: Any) -> Any:
            if isinstance(bound, Arg):
                return self._outside(operands[bound.k], inside)
            return bound

        def put(bound: Any) -> Any:
            if isinstance(bound, Value):
                given.append(bound)
                return Arg(len(given) - 1)
            return bound

        axis = 0
        for entry in region:
            if isinstance(entry, NewAxis):
                continue
            if isinstance(entry, At):
                place = outside(entry.position)
                if place is None:
                    entries.append(Span())
                else:
                    entries.append(Span(*(put(b) for b in self._slice_at(place, memory.size_value(words, axis)))))
            elif isinstance(entry, Span):
                written = (entry.start, entry.stop, entry.step)
                bounds = [outside(b) for b in written]
                unknown = any(b is None and w is not None for b, w in zip(bounds, written, strict=True))
                entries.append(Span() if unknown or entry.step not in (None, 1) else Span(*(put(b) for b in bounds)))
            else:
                entries.append(Span())
            axis += 1
        return memory.make_index(words, tuple(entries), *given)

    def _slice_at(self, place: int | Value, size: Value) -> tuple[Value, Value]:
        """The bounds of a slice along an axis of `size` that holds one position, or nothing where there is none."""
        emit = self.builder.emit
        start = emit("where", (emit("lt", (place, 0)), size + place, place))
        return tuple(emit("minimum", (emit("maximum", (bound, 0)), size)) for bound in (start, start + 1))

    def _outside(self, value: Value, inside: set[Value]) -> Value | None:
        """An index computed inside of a control node, computed outside of it; None where that cannot be."""
        if value not in inside:
            return self.known[value] if self._is_known(value) and value.dtype == "int64" else None
        node = value.node
        if node is None or value.dtype != "int64":
            return None
        name = node.op.name
        if name == "const":
            return self.builder.const(node.attrs["value"])
        if name not in ("add", "sub", "neg", "mul", "abs", "minimum", "maximum", "mod", "floordiv", "load"):
            return None
        if name in ("mod", "floordiv") and not constant_of(node.operands[1]):
            return None  # by zero, perhaps, where it is not run
        array, *place = node.operands
        if name == "load":
            if array in inside or not self._is_known(array) or any(self._outside(v, inside) is None for v in place):
                return None
            part = self._part(self.known[array], node.attrs["region"], place, inside)  # one number, or none
            return self.builder.emit("sum", (part,), axes=tuple(range(len(part.shape))), keepdims=False)
        found = [self._outside(v, inside) for v in node.operands]
        if any(v is None for v in found):
            return None
        return self.builder.add(node.op, [v for v in found if v is not None], dict(node.attrs))


def _of_words(attrs: dict[str, Any]) -> dict[str, Any]:
    """Attributes of a node that moves numbers, for one that moves their words."""
    ty = attrs.get("type")
    return attrs | {"type": replace(ty, dtype="int64")} if isinstance(ty, Array | Scalar) else dict(attrs)


def _all_on_all(func: Func, wrt: int) -> Func:
    """What `dependence` makes where it cannot tell: every result depends on every entry; the sizes are from a run."""
    params = [Value(p.ty, p.name, None, p.size) for p in func.params]
    x = params[wrt]
    word = Value(Array("int64", x.shape) if isinstance(x.ty, Array) else WORD, f"{x.name}_w")
    new = Func(f"{func.name}_words", Block(params=[*params, word]), func.loc)
    builder = Builder(new, checks=False)
    builder.avoid_sizes_of(func)
    with builder, builder.into(new.body):
        mapping = dict(zip(func.params, params, strict=True))
        for node in func.body.nodes:
            builder.clone(node, mapping)
        (result,) = (mapping.get(r, r) for r in func.results)
        total = whole(word)
        if isinstance(result.ty, Array):
            total = memory.make_broadcast(total, memory.shape_values(result))
        new.body.yields = [total]
    return new
