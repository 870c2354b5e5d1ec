"""One loop that becomes an axis of its body: whether it may, and the nodes that then stand for it (see `batch`)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gradc.ir.effects import buffers_written, own_reads, own_write, roots, view_operands
from gradc.ir.nodes import Block, Node, Value
from gradc.ir.ranges import is_signed
from gradc.ir.region import FULL, NEWAXIS, Arg, At, Entry, NewAxis, Region, Span
from gradc.ir.types import Array, Scalar, Size, is_inexact, subtract_sizes
from gradc.ops.memory import make_index
from gradc.passes.sums import product, sum_of_first_axis, transposed

if TYPE_CHECKING:
    from gradc.passes.batch import LoopWalk

_WRITES = ("store", "accumulate", "store_at", "accumulate_at")
_ADDS = ("accumulate", "accumulate_at")
_REDUCTIONS = ("sum", "mean")


class Refused(Exception):
    """A loop cannot be an axis of its body."""


@dataclass(eq=False, slots=True)
class Held:
    """What a value of the body is outside: `value`, which has the loop's axis as its first where `varies`.

    An integer that follows the index is `offset` (None: nothing) after it, and has no value.
    """

    value: Value | None
    varies: bool = False
    offset: Value | None = None


class LoopAxis:
    """One loop that becomes an axis. Nodes are made with the current builder."""

    def __init__(self, owner: LoopWalk, loop: Node, nodes: list[Node], inner: dict[Value, Value]) -> None:
        self.owner = owner
        self.facts = owner.facts
        self.builder = owner.builder
        self.loop = loop
        self.nodes = nodes
        self.inner = inner
        self.body = loop.blocks[0]
        self.index = self.body.params[0]
        self.made = {v for n in nodes for v in n.results} | set(self.body.params)
        self.held: dict[Value, Held] = {self.index: Held(None)}
        self.users: dict[Value, list[Node]] = {}
        self.order = {n: k for k, n in enumerate(nodes)}
        self.gain = False
        self.must_run = False
        self.outer_must_run = False
        for node in nodes:
            for value in self._operands(node):
                self.users.setdefault(value, []).append(node)
        self.written = buffers_written(Block(nodes=nodes))
        self.only_added: set[Value] = set()

    def run(self) -> dict[Value, Value]:
        """Make the nodes; what the loop's results are."""
        self._check_accesses()
        sums = self._sums()
        self._bounds()
        carried = {n for chain in sums.values() for n, _ in chain}
        for node in self.nodes:
            if node not in carried:
                with self.builder.at(node.loc):
                    self.translate(node)
        results: dict[Value, Value] = {}
        for k, result in enumerate(self.loop.results):
            param = self.body.params[1 + k]
            total = self.loop.operands[3 + k]
            for node, sign in reversed(sums[param]):
                with self.builder.at(node.loc):
                    term = self._summed(self._operands(node)[1], total.dtype)
                    total = self.builder.emit("add" if sign > 0 else "sub", (total, term))
            assert isinstance(result.ty, Scalar)
            if total.dtype != result.dtype or total.rank:
                raise Refused
            if total.ty != result.ty:
                total = self.builder.emit("cast", (total,), dtype=result.dtype, weak=result.ty.weak)
            results[result] = total
        return results

    def is_free(self) -> bool:
        """Whether the order of iterations does not matter."""
        try:
            self._check_accesses()
            self._sums()
        except Refused:
            return False
        return True

    def _operands(self, node: Node) -> list[Value]:
        return [self.inner.get(v, v) for v in node.operands]

    # ---------------------------------------------------------------------------------------- legality

    def _check_accesses(self) -> None:
        """That iterations do not see each other in memory. Raises: Refused."""
        accesses: dict[Value, list[tuple[Value, object]]] = {}
        for node in self.nodes:
            target = own_write(node)
            if target is not None and node.op.name not in _WRITES:
                raise Refused
            touched = [*own_reads(node), *([target] if target is not None else [])]
            for value in touched:
                for root in roots(value) & self.written:
                    if root in self.made or len(roots(value)) != 1:
                        raise Refused
                    accesses.setdefault(root, []).append(self._place(node, value))
        for root in self.written:
            if root in self.made:
                raise Refused
            if self._is_only_added(root):
                self.only_added.add(root)
                continue
            places = accesses[root]
            base, place = places[0]
            if place is None or any(b is not base or p != place for b, p in places):
                raise Refused

    def _is_only_added(self, root: Value) -> bool:
        for node in self.nodes:
            target = own_write(node)
            adds = node.op.name in _ADDS and target is not None and root in roots(target)
            if adds and root in roots(self._operands(node)[1]):
                return False
            if not adds and (
                (target is not None and root in roots(target)) or any(root in roots(v) for v in own_reads(node))
            ):
                return False
        return True

    def _place(self, node: Node, value: Value) -> tuple[Value, object]:
        """The array from outside of which a node touches a part, and where: (axis, position), if in one slice."""
        region: Region = node.attrs.get("region", ())
        operands = self._operands(node)
        first = 2 if node.op.name in ("store_at", "accumulate_at") else 1
        while value in self.made:
            view = value.node
            if view is None or view.op.kind != "view" or len(view_operands(view.op)) != 1:
                raise Refused
            region = view.attrs.get("region", ()) if view.op.name == "index" else ()
            operands, first = self._operands(view), 1
            value = operands[0]
        return value, self._slice(region, operands[first:])

    def _slice(self, region: Region, operands: Sequence[Value]) -> object:
        """(axis, position as a polynomial) of the one entry of a region that follows the index; None: there is none."""
        found: list[object] = []
        axis = 0
        for entry in region:
            if isinstance(entry, NewAxis):
                continue
            if isinstance(entry, At) and isinstance(entry.position, Arg):
                position = operands[entry.position.k]
                if self._depends(position):
                    found.append((axis, self.facts.polynomial(position)))
            axis += 1
        return found[0] if len(found) == 1 else None

    def _depends(self, value: Value) -> bool:
        """Whether an integer may change from one iteration to the next."""
        if value not in self.made:
            return False
        node = value.node
        if node is None or node.op.kind not in ("elementwise", "query"):
            return True
        return any(self._depends(v) for v in self._operands(node) if isinstance(v.ty, Scalar))

    def _sums(self) -> dict[Value, list[tuple[Node, int]]]:
        """For each number that the loop carries, the additions that make it, last first. Raises: Refused."""
        found: dict[Value, list[tuple[Node, int]]] = {}
        for param, out in zip(self.body.params[1:], self.body.yields, strict=True):
            chain: list[tuple[Node, int]] = []
            value = self.inner.get(out, out)
            if not is_inexact(param.ty):
                raise Refused
            while value is not param:
                node = value.node
                if node is None or node not in self.order or node.op.name not in ("add", "sub"):
                    raise Refused
                if len(self.users.get(value, ())) + self._yielded(value) != 1 or len(chain) > len(self.nodes):
                    raise Refused
                chain.append((node, 1 if node.op.name == "add" else -1))
                value = self._operands(node)[0]
            if len(self.users.get(param, ())) != bool(chain):
                raise Refused
            found[param] = chain
        return found

    def _yielded(self, value: Value) -> int:
        return sum(self.inner.get(v, v) is value for v in self.body.yields)

    # ------------------------------------------------------------------------------------------ bounds

    def _bounds(self) -> None:
        """Where the loop's positions start and end, in ascending order; the end is not before the start."""
        start, stop, step = self.loop.operands[:3]
        by = self.facts.polynomial(step)
        if by not in (1, -1) or any(self._depends(v) for v in (start, stop)):
            raise Refused
        low, high = (start, stop) if by == 1 else (stop + 1, start + 1)
        polynomial = self.facts.polynomial
        if not self.owner.proves_before(polynomial(high), polynomial(low)):
            high = self.builder.emit("maximum", (high, low))
        self.low, self.high = low, high
        self.length = subtract_sizes(self.builder.size_of(high), self.builder.size_of(low))

    def outside(self, value: Value) -> Value:
        """An integer of an inner loop, which must be the same in all iterations, as it is before the loop."""
        held = self._held(value)
        if held.varies or held.value is None:
            raise Refused
        return held.value

    # ----------------------------------------------------------------------------------------- values

    def _held(self, value: Value) -> Held:
        if value not in self.made:
            return Held(value)
        if value not in self.held:
            raise Refused
        return self.held[value]

    def _value(self, value: Value) -> Value:
        """What a value is outside. Raises: Refused for the index itself, which is no array."""
        held = self._held(value)
        if held.value is None:
            raise Refused
        return held.value

    def _varies(self, value: Value) -> bool:
        held = self._held(value)
        return held.varies or held.value is None

    def translate(self, node: Node) -> None:
        """Make what a node of the body is for all iterations. Raises: Refused."""
        operands = self._operands(node)
        name = node.op.name
        if node.op.kind == "elementwise" and self._is_position(node, operands):
            return
        if name in _WRITES:
            self._write(node, operands)
        elif name == "check":
            self._check(node, operands)
        elif name in ("load", "index"):
            self._part(node, operands)
        elif not any(self._varies(v) for v in operands):
            self._same(node, operands)
        elif node.op.kind == "elementwise":
            self._elementwise(node, operands)
        elif name in ("dim", "transpose", "alias", "copy") or name in _REDUCTIONS:
            self._along(node, operands)
        elif name == "matmul":
            self._product(node, operands)
        else:
            raise Refused

    def _keep(self, node: Node, value: Value, varies: bool) -> None:
        old = node.result
        if value.ty.dtype != old.ty.dtype:  # type: ignore[union-attr]  # neither is a tape
            raise Refused
        value.name = value.name or old.name
        self.held[old] = Held(value, varies)

    def _same(self, node: Node, operands: list[Value]) -> None:
        """What is the same in all iterations is made once."""
        if node.op.kind not in ("elementwise", "query", "view", "reduce", "product", "fresh"):
            raise Refused
        if any(roots(v) & self.written for v in own_reads(node)) or node.result in self.written:
            raise Refused
        if node.op.guard is not None and not is_inexact(node.result.ty):
            self.must_run = True
        if node.op.kind == "reduce" and node.op.name not in _REDUCTIONS:
            self.must_run = True
        copy = Node(node.op, [self._value(v) for v in operands], [], dict(node.attrs), [], node.loc)
        copy.results = [Value(r.ty, r.name, copy, r.size) for r in node.results]
        self.builder.block.nodes.append(copy)
        for old, new in zip(node.results, copy.results, strict=True):
            self.held[old] = Held(new)

    def _is_position(self, node: Node, operands: list[Value]) -> bool:
        """Note an integer that follows the index at a distance; whether it is one."""
        follows = [v for v in operands if self._varies(v)]
        if not follows:
            return False
        if len(follows) > 1 or not is_signed(node.result) or self._held(follows[0]).value is not None:
            if any(self._held(v).value is None for v in follows):
                raise Refused
            return False
        offset = self._held(follows[0]).offset
        name = node.op.name
        if name in ("cast", "let") and is_signed(operands[0]):
            self.held[node.result] = Held(None, False, offset)
            return True
        if name not in ("add", "sub") or (name == "sub" and operands[0] is not follows[0]):
            raise Refused
        (other,) = (self._value(v) for v in operands if v is not follows[0])
        if not is_signed(other):
            raise Refused
        if name == "sub":
            other = -other
        self.held[node.result] = Held(None, False, other if offset is None else offset + other)
        return True

    # ---------------------------------------------------------------------------------------- memory

    def _slice_of(self, x: Value, region: Region, operands: Sequence[Value]) -> tuple[Value, bool]:
        """x[region] as a view, with the loop's axis first where a position follows the index; and whether one does."""
        base = self._held(x)
        if base.value is None:
            raise Refused
        entries: list[Entry] = []
        values: list[Value] = []
        shape: list[Size] = []
        moved = -1  # the axis of the view that is the loop's
        axis = 0
        if base.varies:
            entries.append(FULL)
            shape.append(base.value.shape[0])
            axis = 1

        def operand(bound: int | Arg | None) -> int | Arg | None:
            if not isinstance(bound, Arg):
                return bound
            values.append(self._value(operands[bound.k]))
            return Arg(len(values) - 1)

        for entry in region:
            if isinstance(entry, NewAxis):
                entries.append(entry)
                continue
            follows = isinstance(entry, At) and isinstance(entry.position, Arg) and self._follows(operands, entry)
            if not follows:
                if isinstance(entry, At):
                    position = operand(entry.position)
                    assert position is not None
                    entries.append(At(position))
                elif isinstance(entry, Span):
                    entries.append(Span(operand(entry.start), operand(entry.stop), operand(entry.step)))
                else:
                    raise Refused
                axis += 1
                continue
            if moved >= 0 or base.varies:
                raise Refused
            assert isinstance(entry, At) and isinstance(entry.position, Arg)
            position_value = operands[entry.position.k]
            if not self.facts.is_nonnegative(position_value):
                raise Refused
            moved = sum(not isinstance(e, At) for e in entries)
            entries.append(self._span(base.value.shape[axis], self._held(position_value).offset, values))
            axis += 1
        view = make_index(base.value, tuple(entries), *values)
        if moved < 0:
            self.owner.note_before(view.node)
            return view, base.varies
        assert isinstance(view.ty, Array) and view.node is not None
        sizes = tuple(self.length if k == moved else s for k, s in enumerate(view.shape))
        view.ty = view.node.attrs["type"] = Array(view.dtype, sizes, view.ty.layout)
        self.owner.note_before(view.node)
        if moved:
            order = [moved, *(k for k in range(view.rank) if k != moved)]
            view = self.builder.emit("transpose", (view,), perm=tuple(order))
        return view, True

    def _follows(self, operands: Sequence[Value], entry: At) -> bool:
        assert isinstance(entry.position, Arg)
        held = self._held(operands[entry.position.k])
        if held.varies:
            raise Refused
        return held.value is None

    def _span(self, size: Size, offset: Value | None, values: list[Value]) -> Span:
        """The loop's positions, moved by `offset`, along an axis of this size."""
        low, high = (self.low, self.high) if offset is None else (self.low + offset, self.high + offset)
        first, last = self.facts.polynomial(low), self.facts.polynomial(high)
        if first == 0 and last == size:
            return FULL
        if not (self.owner.proves_before(first, 0) and self.owner.proves_before(size, last)):
            self.outer_must_run = True
        values.extend((low, high))
        return Span(Arg(len(values) - 2), Arg(len(values) - 1))

    def _part(self, node: Node, operands: list[Value]) -> None:
        """A slice, or an element as a slice of what it is in all iterations."""
        x = operands[0]
        view, varies = self._slice_of(x, node.attrs["region"], operands[1:])
        if node.op.name == "index":
            self.held[node.result] = Held(view, varies)
            return
        if not varies:
            if roots(x) & self.written:
                raise Refused
            self.must_run = True  # the element may not be there where the loop does not run
            self.builder.block.nodes.remove(view.node)  # type: ignore[arg-type]
            values = [self._value(v) for v in operands]
            self._keep(node, self.builder.add(node.op, values, dict(node.attrs)), False)
            return
        # What was read stays what it was, whatever is written after it.
        if roots(x) & self.written:
            view = self.builder.emit("copy", (view,))
        self._keep(node, view, True)

    def _target(self, x: Value, region: Region, operands: Sequence[Value]) -> tuple[Value, bool]:
        if region:
            return self._slice_of(x, region, operands)
        held = self._held(x)
        if held.value is None:
            raise Refused
        return held.value, held.varies

    def _write(self, node: Node, operands: list[Value]) -> None:
        name = node.op.name
        x, value = operands[:2]
        element = name in ("store_at", "accumulate_at")
        region: Region = node.attrs["region"] if element else ()
        follows = any(self._varies(v) for v in (x, *operands[2:]))
        if follows:
            target, varies = self._target(x, region, operands[2:])
            if not varies:
                raise Refused
            held = self._held(value)
            if held.value is None:
                raise Refused
            given = self._aligned(held.value, target.rank - 1) if held.varies else held.value
            if held.varies and held.value.rank > target.rank:
                raise Refused
            view = target.node
            turns = view is not None and view.op.name == "transpose" and given.rank == target.rank
            if turns and view is not None and self._is_settled(given):
                # Written in the order of memory, and so computed.
                target, given = view.operands[0], transposed(given, _inverse(view.attrs["perm"]))
            self.builder.emit("accumulate" if name in _ADDS else "store", (target, given))
            return
        if name not in _ADDS:
            raise Refused  # the last iteration's value stays
        total = self._summed(value, x.dtype)
        rest = [self._value(v) for v in operands[2:]]
        self.builder.add(node.op, (self._value(x), total, *rest), dict(node.attrs))

    def _check(self, node: Node, operands: list[Value]) -> None:
        """A check of what is the same in all iterations is made once, where there is one."""
        if len(operands) > 1 or node.op.name != "check" or node.attrs["error"] == "AssertionError":
            raise Refused
        cond = self._value(operands[0])
        if self._varies(operands[0]) or (cond.node is not None and cond.node.op.name == "const"):
            raise Refused
        self.must_run = True
        self.builder.emit("check", (cond,), **node.attrs)

    # ------------------------------------------------------------------------------------- arithmetic

    def _aligned(self, value: Value, rank: int) -> Value:
        """A value with the loop's axis, with axes of size 1 after that until the others are `rank`."""
        missing = rank - (value.rank - 1)
        if missing <= 0:
            return value
        return make_index(value, (FULL, *(NEWAXIS,) * missing, *(FULL,) * (value.rank - 1)))

    def _elementwise(self, node: Node, operands: list[Value]) -> None:
        if node.op.guard is not None and not is_inexact(node.result.ty):
            raise Refused
        rank = max(v.rank for v in operands)
        values = [self._aligned(self._value(v), rank) if self._varies(v) else self._value(v) for v in operands]
        self._keep(node, self.builder.add(node.op, values, dict(node.attrs)), True)

    def _along(self, node: Node, operands: list[Value]) -> None:
        """An operation of one array, on all of them."""
        x, attrs = self._value(operands[0]), dict(node.attrs)
        if node.op.name == "dim":
            x, attrs["axis"] = _sized(x, attrs["axis"] + 1)
            self.held[node.result] = Held(self.builder.add(node.op, (x,), attrs))
            return
        if node.op.name == "transpose":
            attrs["perm"] = (0, *(k + 1 for k in attrs["perm"]))
        elif node.op.name in _REDUCTIONS:
            attrs["axes"] = tuple(k + 1 for k in attrs["axes"])
        elif node.op.name == "copy" and node.result in self.written:
            raise Refused
        self._keep(node, self.builder.add(node.op, (x,), attrs), True)

    def _product(self, node: Node, operands: list[Value]) -> None:
        """a @ b with the loop's axis in a, in b, or in both."""
        (a, a_varies), (b, b_varies) = ((self._value(v), self._varies(v)) for v in operands)
        one, other = (v.rank for v in operands)
        emit = self.builder.emit
        if a_varies and b_varies:
            if one == other == 1:
                made = emit("sum", (a * b,), axes=(1,), keepdims=False)
            elif one == other == 2:
                made = emit("matmul", (a, b))
            else:
                raise Refused
        elif a_varies:
            if one > 2 or other > 2:
                raise Refused
            made = product(a, b)
            self.gain = True
        else:
            if one > 2 or other > 2:
                raise Refused
            if other == 2:
                if one == 1:
                    raise Refused
                made = emit("matmul", (a, b))
            else:
                made = product(b, a if one == 1 else transposed(a, (1, 0)))
            self.gain = True
        self._keep(node, made, True)

    def _summed(self, value: Value, dtype: str) -> Value:
        """The sum over the loop of a value, as what adds up to a number or array of this dtype."""
        held = self._held(value)
        if held.value is None or not held.varies or held.value.dtype != dtype or not is_inexact(held.value.ty):
            raise Refused
        if not self._is_settled(held.value):
            total: Value = self.builder.emit("sum", (held.value,), axes=(0,), keepdims=False)
            return total
        total, is_product = sum_of_first_axis(held.value)
        self.gain = self.gain or is_product
        return total

    def _is_settled(self, value: Value) -> bool:
        """Whether an expression may be computed later than it stands: nothing that it reads is written in the loop."""
        if isinstance(value.ty, Array) and roots(value) & self.written:
            return False
        node = value.node
        views = node is not None and (node.op.kind == "elementwise" or node.op.name in ("index", "transpose"))
        return node is None or not views or all(self._is_settled(v) for v in node.operands)


def _sized(x: Value, axis: int) -> tuple[Value, int]:
    """An array with an axis that has the size of this one, and need not be computed for it."""
    while x.node is not None and x.node.op.kind == "elementwise":
        for operand in x.node.operands:
            own = axis - (x.rank - operand.rank)
            if own >= 0 and operand.shape[own] == x.shape[axis]:
                x, axis = operand, own
                break
        else:
            break
    return x, axis


def _inverse(perm: Sequence[int]) -> tuple[int, ...]:
    return tuple(perm.index(k) for k in range(len(perm)))
