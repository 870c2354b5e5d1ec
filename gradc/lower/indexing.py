"""Elements and advanced indexing: loads, stores, gathers, scatters, masks."""

from __future__ import annotations

from typing import Any

from gradc.ir.loops import (
    Assign,
    Expr,
    For,
    If,
    Index,
    Int,
    Lin,
    Lit,
    Load,
    Put,
    Raise,
    Stmt,
    Text,
    axis,
    var,
)
from gradc.ir.nodes import Node, Value
from gradc.ir.region import At, Gather, NewAxis
from gradc.ir.types import Array, Shape, Size
from gradc.lower.arrays import Ref, whole
from gradc.lower.units import WRITE, Axis, Touch, Unit, names_in
from gradc.lower.views import ViewLowering, composed


class IndexLowering(ViewLowering):
    """Reads and writes of elements, and of what integer arrays and masks pick."""

    def element_index(self, node: Node, first: int) -> tuple[Ref, tuple[Index, ...]]:
        """The buffer element of `load` and its like."""
        ref = self.ref(node.operands[0])
        position = [self.position(e, node, first, n) for e, n in zip(node.attrs["region"], ref.extents, strict=True)]
        return ref, ref.at(position).index

    def _op_load(self, node: Node) -> None:
        ref, index = self.element_index(node, 1)
        variable = self.set_scalar(node.result.name, Load(ref.buffer, index), node.result.dtype, guarded=True)
        self.bind_scalar(node.result, variable)

    def _op_store_at(self, node: Node, add: bool = False) -> None:
        ref, index = self.element_index(node, 2)
        value = self.scalar(node.operands[1])
        if value.dtype != ref.buffer.dtype:
            value = Text("{x}", {"x": value}, ref.buffer.dtype, ref.buffer.dtype)
        self.add(body=[Put(ref.buffer, index, value, add)])

    def _op_accumulate_at(self, node: Node) -> None:
        self._op_store_at(node, add=True)

    def source(self, value: Value, target: Ref, same_place: bool = True) -> Expr | Ref:
        """What a write reads; copied first where it may overlap the target elsewhere than at the same element."""
        held = self.env[value]
        if not isinstance(held, Ref):
            return held
        if held.buffer.roots.isdisjoint(target.buffer.roots):
            return held
        same = (
            same_place
            and held.buffer is target.buffer
            and len(held.index) == len(target.index)
            and value.rank == len(target.extents)
            and all(
                isinstance(p, Lin) and isinstance(q, Lin) and p.same(q)
                for p, q in zip(held.index, target.index, strict=True)
            )
        )
        return held if same else self.copied(value, held)

    def gathered(self, node: Node, first: int) -> tuple[tuple[Index, ...], tuple[Lin, ...], Shape]:
        """The element of an advanced index over the axes of the result, with the result's sizes."""
        x = node.operands[0]
        ref = self.ref(x)
        region = node.attrs["region"]
        used = [node.operands[first + e.k] for e in region if isinstance(e, Gather)]
        rank = max(v.rank for v in used)
        shape: list[Size] = [1] * rank
        sizes: list[Lin] = [Lin(1)] * rank
        for v in used:
            for k, size in enumerate(v.shape):
                at = rank - v.rank + k
                if shape[at] == 1:
                    shape[at], sizes[at] = size, self.ref(v).extents[k]
        advanced = [k for k, e in enumerate(region) if isinstance(e, Gather | At)]
        adjacent = advanced == list(range(advanced[0], advanced[-1] + 1))
        result_shape: list[Size] = []
        result_sizes: list[Lin] = []
        index: list[Index] = []
        pending: list[tuple[int, Any]] = []
        lead = 0

        def gather_axes() -> None:
            nonlocal lead
            lead = len(result_shape)
            result_shape.extend(shape)
            result_sizes.extend(sizes)

        if not adjacent:
            gather_axes()
        source = 0
        for k, entry in enumerate(region):
            if isinstance(entry, NewAxis):
                result_shape.append(1)
                result_sizes.append(Lin(1))
                continue
            if adjacent and k == advanced[0]:
                gather_axes()
            length_here = ref.extents[source]
            if isinstance(entry, At):
                index.append(self.position(entry, node, first, length_here))
            elif isinstance(entry, Gather):
                pending.append((len(index), (node.operands[first + entry.k], length_here)))
                index.append(Lin())
            else:
                start, step, length = self.span(entry, node, first, length_here, None)
                if isinstance(step, int):
                    index.append(start + axis(len(result_shape)) * step)
                else:
                    parts = {"a": Int(start), "s": Int(step), "k": Int(axis(len(result_shape)))}
                    index.append(Text("{a} + {s} * {k}", parts, "int64", "int64"))
                value_size = x.shape[source] if length.same(length_here) else object()
                result_shape.append(value_size)  # type: ignore[arg-type]
                result_sizes.append(length)
            source += 1
        for at, (v, size) in pending:
            held = self.ref(v)
            place = [Lin() if s == 1 else axis(lead + rank - v.rank + k) for k, s in enumerate(v.shape)]
            entry_value = held.at(place)
            index[at] = Text("{k} if {k} >= 0 else {k} + {n}", {"k": entry_value, "n": Int(size)}, "int64", "int64")
        return composed(ref.index, index), tuple(result_sizes), tuple(result_shape)

    def _op_gather(self, node: Node) -> None:
        result = node.result
        ref = self.ref(node.operands[0])
        index, sizes, _ = self.gathered(node, 1)
        if not isinstance(result.ty, Array):
            self.bind_scalar(result, self.set_scalar(result.name, Load(ref.buffer, index), result.dtype, guarded=True))
            return
        for size, extent in zip(result.shape, sizes, strict=True):
            self.scopes.learn(size, extent)
        buffer = self.new_buffer(result, result.dtype, sizes)
        self.fill(buffer, result.shape, Load(ref.buffer, index))
        self.env[result] = whole(buffer)

    def _op_scatter(self, node: Node, add: bool = False) -> None:
        x, value = node.operands[:2]
        target = self.ref(x)
        source = self.source(value, target, same_place=False)
        for k, operand in enumerate(node.operands[2:], 2):
            if isinstance(operand.ty, Array) and not self.ref(operand).buffer.roots.isdisjoint(target.buffer.roots):
                copied = self.copied(operand, self.ref(operand))
                fresh = Value(operand.ty)
                self.env[fresh] = copied
                self.extra_values.append(fresh)
                operands = [*node.operands[:k], fresh, *node.operands[k + 1 :]]
                node = Node(node.op, operands, [], node.attrs, [], node.loc)
        index, sizes, shape = self.gathered(node, 2)
        rank = len(shape)
        if isinstance(source, Ref):
            extra = max(value.rank - rank, 0)
            own = value.shape[extra:]
            trimmed = Ref(source.buffer, source.at([Lin()] * extra + [axis(k) for k in range(len(own))]).index, ())
            expr: Expr = trimmed.broadcast(own, rank)
        else:
            expr = source
        if expr.dtype != x.dtype:
            expr = Text("{x}", {"x": expr}, x.dtype, x.dtype)
        axes = tuple(Axis(k, sizes[k], s) for k, s in enumerate(shape) if s != 1)
        probe = Unit((0,), body=[Put(target.buffer, index, expr, add)])
        probe.bind({f"@{k}": Lin() for k, s in enumerate(shape) if s == 1})
        self.add(axes=axes, body=probe.body)

    def _op_scatter_add(self, node: Node) -> None:
        self._op_scatter(node, add=True)

    def _masked(self, x: Ref, mask: Value, rank: int, made: list[Any], count: str) -> tuple[list[str], list[Stmt]]:
        """Loops over a mask, and their variables. Where it holds, `made` runs for each element, and `count` goes up."""
        held = self.ref(mask)
        names = [self.names.take("i") for _ in range(rank)]
        inner: list[Stmt] = made
        for k in reversed(range(mask.rank, rank)):
            inner = [For(names[k], Lin(), x.extents[k], Lin(1), inner)]
        inner = [*inner, Assign(count, Int(var(count) + 1), "int64")]
        test = held.at([var(n) for n in names[: mask.rank]])
        stmt: Stmt = If(test, inner)
        for k in reversed(range(mask.rank)):
            stmt = For(names[k], Lin(), held.extents[k], Lin(1), [stmt])
        return names, [Assign(count, Lit(0, "int64"), "int64"), stmt]

    def _op_mask_select(self, node: Node) -> None:
        x, mask = node.operands
        result = node.result
        ref, held = self.ref(x), self.ref(mask)
        size = self.names.take("count")
        self.scopes.define(size)
        effects = self.whole_reads(ref, held)
        needs = names_in([*ref.index, *ref.extents, *held.index, *held.extents])
        _, counting = self._masked(ref, mask, mask.rank, [], size)
        self.add(emit=lambda: counting, effects=effects, needs=set(needs), makes={size})
        self.scopes.learn(result.shape[0], var(size))
        buffer = self.new_buffer(result, result.dtype, (var(size), *ref.extents[mask.rank :]))
        self.escaping.add(buffer)
        self.env[result] = whole(buffer)
        place = self.names.take("place")
        put = Put(buffer, (), Lit(0, buffer.dtype))
        names, copying = self._masked(ref, mask, x.rank, [put], place)
        put.index = (var(place), *(var(n) for n in names[mask.rank :]))
        put.expr = ref.at([var(n) for n in names])
        self.add(
            emit=lambda: copying, effects=[*effects, Touch(buffer, None, WRITE)], needs=needs | {size}, made=buffer
        )

    def _op_scatter_mask(self, node: Node, add: bool = False) -> None:
        x, value, mask = node.operands
        target = self.ref(x)
        source = self.source(value, target, same_place=False)
        if not self.ref(mask).buffer.roots.isdisjoint(target.buffer.roots):
            self.env[mask] = self.copied(mask, self.ref(mask))
        held = self.ref(mask)
        place = self.names.take("place")
        put = Put(target.buffer, (), Lit(0, x.dtype), add)
        names, stmts = self._masked(target, mask, x.rank, [put], place)
        put.index = target.at([var(n) for n in names]).index
        reads = [held]
        if isinstance(source, Ref):
            reads.append(source)
            rank = x.rank - mask.rank + 1
            at = [var(place), *(var(n) for n in names[mask.rank :])]
            lead = rank - value.rank
            element = source.at([Lin() if s == 1 else at[k + lead] for k, s in enumerate(value.shape)])
            put.expr = element
        else:
            put.expr = source
        if put.expr.dtype != x.dtype:
            put.expr = Text("{x}", {"x": put.expr}, x.dtype, x.dtype)
        effects = [*self.whole_reads(*reads), Touch(target.buffer, None, WRITE)]
        self.escaping |= target.buffer.roots
        needs = names_in([put.expr, *target.index, *target.extents, *held.index, *held.extents]) - {place, *names}
        self.add(emit=lambda: stmts, effects=effects, needs=needs)

    def _op_accumulate_mask(self, node: Node) -> None:
        self._op_scatter_mask(node, add=True)

    def _op_last_writers(self, node: Node) -> None:
        x, result = node.operands[0], node.result
        base = self.ref(x)
        owner = self.new_buffer(None, "int64", base.extents, "owner")
        fake = Value(Array("int64", x.shape))
        self.env[fake] = whole(owner)
        self.extra_values.append(fake)
        moved = Node(node.op, [fake, *node.operands[1:]], [], node.attrs, [], node.loc)
        index, sizes, shape = self.gathered(moved, 1)
        number: Expr = Int(Lin())
        for k in range(len(shape)):
            parts = {"p": number, "n": Int(sizes[k]), "k": Int(axis(k))}
            number = Text("({p}) * ({n}) + {k}", parts, "int64", "int64")
        axes = tuple(Axis(k, sizes[k], s) for k, s in enumerate(shape) if s != 1)
        probe = Unit((0,), body=[Put(owner, index, number)])
        probe.bind({f"@{k}": Lin() for k, s in enumerate(shape) if s == 1})
        self.add(axes=axes, body=probe.body)
        buffer = self.new_buffer(result, "bool", sizes)
        is_last = Text("{a} == {b}", {"a": Load(owner, index), "b": number}, "bool", "int64")
        self.fill(buffer, result.shape, is_last)
        self.env[result] = whole(buffer)

    def _op_check_indices(self, node: Node) -> None:
        indices, x = node.operands
        size = self.ref(x).extents[node.attrs["axis"]]
        message = node.attrs.get("message") or "an index is out of bounds"
        stmt = Raise("IndexError", message, node.loc)
        held = self.env[indices]
        effects: list[Touch] = []
        names = [self.names.take("i") for _ in range(indices.rank)]
        if isinstance(held, Ref):
            effects = self.whole_reads(held)
            entry: Expr = held.at([var(n) for n in names])
        else:
            entry = held
        test = Text("{k} < -{n} or {k} >= {n}", {"k": entry, "n": Int(size)}, "bool", "int64")
        body: Stmt = If(test, [stmt])
        if isinstance(held, Ref):
            for k in reversed(range(indices.rank)):
                body = For(names[k], Lin(), held.extents[k], Lin(1), [body])
        needs = names_in([entry, size, *(held.extents if isinstance(held, Ref) else ())]) - set(names)
        self.add(emit=lambda: [body], raises=True, effects=effects, needs=needs, keep=True)
