"""Nodes to units: what each kind of op does to memory, element by element."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from gradc.errors import UnsupportedError
from gradc.ir.effects import roots
from gradc.ir.foreign import parse_prototype
from gradc.ir.loops import (
    Apply,
    Buffer,
    CallC,
    Cells,
    Contraction,
    Expr,
    Fold,
    If,
    Index,
    Int,
    Lin,
    Lit,
    Load,
    Put,
    Raise,
    Routine,
    Stmt,
    Text,
    Var,
    axis,
    zero_of,
)
from gradc.ir.nodes import Node, Value
from gradc.ir.types import Array, Scalar, promote_dtypes
from gradc.lower.arrays import Ref, whole
from gradc.lower.base import ordered
from gradc.lower.fourier import FourierLowering
from gradc.lower.indexing import IndexLowering
from gradc.lower.products import ProductLowering
from gradc.lower.tapes import TapeLowering
from gradc.lower.units import READ, WRITE, Axis, Folding, Touch, Unit, names_in


class NodeLowering(IndexLowering, ProductLowering, FourierLowering, TapeLowering):
    """Makes units of nodes; `program.py` adds blocks and control flow."""

    def node(self, node: Node) -> None:
        """Add the units of a node."""
        special = getattr(self, f"_op_{node.op.name}", None)
        if node.op.kind == "control":
            self.control(node)
        elif special is not None:
            special(node)
        elif node.op.kind == "elementwise":
            self._elementwise(node)
        elif isinstance(node.op.lower, Fold):
            self._fold(node, node.op.lower)
        elif isinstance(node.op.lower, Cells):
            self._cells(node, node.op.lower)
        elif isinstance(node.op.lower, Contraction):
            self._contraction(node, node.op.lower)
        elif isinstance(node.op.lower, Routine):
            self._routine(node, node.op.lower)
        else:
            raise UnsupportedError(f"op {node.op.name} cannot be compiled", node.loc, why="its entry has no loop form")

    def control(self, node: Node) -> None:
        raise NotImplementedError

    def _op_const(self, node: Node) -> None:
        value = node.attrs["value"]
        ty = node.result.ty
        assert isinstance(ty, Scalar)
        plain = value.item() if isinstance(value, np.generic) else value
        self.env[node.result] = Int(Lin(plain)) if ty.dtype == "int64" else Lit(plain, ty.dtype)

    def _op_undef(self, node: Node) -> None:
        ty = node.result.ty
        assert isinstance(ty, Scalar)
        self.env[node.result] = Int(Lin()) if ty.dtype == "int64" else Lit(zero_of(ty.dtype), ty.dtype)

    def _elementwise(self, node: Node) -> None:
        result = node.result
        if not isinstance(result.ty, Array):
            operands = [self.scalar(v) for v in node.operands]
            lin = _affine(node, operands)
            if lin is not None:
                self.env[result] = Int(lin)
                return
            expr = self.apply(node, operands)
            if node in self.sums:
                args = dict(zip(node.op.operands, operands, strict=True))
                expr = Text(node.op.reassociable, args, result.dtype, result.dtype)
            guarded = any(np.dtype(v.dtype).kind in "iu" for v in node.operands) or any(
                isinstance(o, Load) for o in operands
            )
            variable = self.set_scalar(result.name, expr, result.dtype, guarded=guarded)
            self.units[-1].makes = {variable.name}
            self.bind_scalar(result, variable)
            return
        self.learn_broadcast([v.shape for v in node.operands])
        operands = [self.element(v, result.rank) for v in node.operands]
        buffer = self.new_buffer(result, result.dtype, self.extents_of(result, node))
        self.fill(buffer, result.shape, self.apply(node, operands))
        self.env[result] = whole(buffer)

    def apply(self, node: Node, operands: Sequence[Expr]) -> Expr:
        """An elementwise op on elements, and the dtype that it computes in (`ops/rules.py`)."""
        result = node.result.dtype
        types = tuple(v.ty for k, v in enumerate(node.operands) if k not in node.op.conditions)
        common = promote_dtypes(types).dtype  # type: ignore[arg-type]
        compute = result
        if node.op.name == "cast" or result == "bool" or (_is_complex(common) and not _is_complex(result)):
            compute = common
        elif _is_complex(result) and not _is_complex(common):
            compute = "float32" if result == "complex64" else "float64"  # a number of two real parts
        if node.op.name == "cast":
            return Text("{x}", {"x": operands[0]}, result, result)
        return Apply(node.op, node.attrs, tuple(operands), result, compute)

    def _cells(self, node: Node, cells: Cells) -> None:
        result = node.result
        rank = result.rank
        buffer = self.new_buffer(result, result.dtype, self.extents_of(result, node))
        args: dict[str, Expr] = {f"i{k}": Int(axis(k)) for k in range(rank)}
        if rank >= 2:
            args |= {"row": Int(axis(rank - 2)), "column": Int(axis(rank - 1))}
        for name, operand in zip(node.op.operands, node.operands, strict=False):
            args[name] = self.element(operand, rank)
        for name, attr in node.attrs.items():
            if isinstance(attr, int | float):
                args[name] = Int(Lin(attr)) if isinstance(attr, int) else Lit(attr, result.dtype)
        used = {k: v for k, v in args.items() if f"{{{k}}}" in cells.text}
        self.fill(buffer, result.shape, Text(cells.text, used, result.dtype, ""))
        self.env[result] = whole(buffer)

    def _fold(self, node: Node, fold: Fold) -> None:
        (x,) = node.operands
        result = node.result
        axes = node.attrs["axes"]
        if not axes and fold.counts:
            axes = tuple(range(x.rank))
        operand = self.element(x, x.rank)
        ref = self.ref(x)
        replace = {f"@{k}": Lin() for k, size in enumerate(x.shape) if size == 1}
        sizes = [self.scopes.note_loop(s) for s in x.shape]
        loops = [Axis(k, ref.extents[k], s, summed=k in axes) for k, s in enumerate(sizes) if s != 1]
        index: list[Index] = []
        if isinstance(result.ty, Array):
            kept = [k for k in range(x.rank) if k not in axes]
            index = (
                [Lin() if k in axes else axis(k) for k in range(x.rank)]
                if node.attrs["keepdims"]
                else [axis(k) for k in kept]
            )
            buffer = self.new_buffer(result, result.dtype, self.extents_of(result, node))
            folding = Folding(fold, operand, buffer, tuple(index), "", result.dtype)
            self.env[result] = whole(buffer)
        else:
            buffer = None
            name = self.names.take(result.name or "t")
            folding = Folding(fold, operand, None, (), name, result.dtype)
        probe = Unit((0,), folding=folding)
        if replace:
            probe.bind(replace)
        axes_in_order = tuple(loops) if fold.counts else ordered(loops, probe)
        makes = {folding.name} if folding.name else set()
        self.add(axes=axes_in_order, folding=folding, makes=makes, made=buffer)
        if folding.name:
            self.bind_scalar(result, Var(folding.name, result.dtype))

    def _op_store(self, node: Node, add: bool = False) -> None:
        x, value = node.operands
        target = self.ref(x)
        source = self.source(value, target)
        rank = x.rank
        self.learn_broadcast([value.shape, x.shape])
        if isinstance(source, Ref):
            extra = max(value.rank - rank, 0)
            shape = value.shape[extra:]
            trimmed = Ref(source.buffer, source.at([Lin()] * extra + [axis(k) for k in range(len(shape))]).index, ())
            expr: Expr = trimmed.broadcast(shape, rank)
        else:
            expr = source
        if expr.dtype != x.dtype:
            expr = Text("{x}", {"x": expr}, x.dtype, x.dtype)
        element = target.at([axis(k) for k in range(rank)])
        self.nest(x.shape, target.extents, [Put(target.buffer, element.index, expr, add)])

    def _op_accumulate(self, node: Node) -> None:
        x, value = node.operands
        if value not in self.products or not self.accumulated(x, value):
            self._op_store(node, add=True)

    def _op_zeros(self, node: Node) -> None:
        result = node.result
        buffer = self.new_buffer(result, result.dtype, self.extents_of(result, node))
        self.fill(buffer, result.shape, Lit(zero_of(result.dtype), result.dtype))
        self.env[result] = whole(buffer)

    def _op_empty(self, node: Node) -> None:
        result = node.result
        buffer = self.new_buffer(result, result.dtype, self.extents_of(result, node))
        self.env[result] = whole(buffer)

    def _op_copy(self, node: Node) -> None:
        (x,) = node.operands
        if isinstance(x.ty, Array):
            ref = self.ref(x)
            # Nobody looks at x after this: the copy may have its memory.
            unused = self.last_use.get(x) == self.position_in_block and ref.buffer in self.local
            taken = unused and ref.whole and not ref.buffer.of
            self.env[node.result] = ref if taken else self.copied(node.result, ref)
        else:
            self._op_broadcast_to(node)

    def _op_broadcast_to(self, node: Node) -> None:
        x, result = node.operands[0], node.result
        buffer = self.new_buffer(result, result.dtype, self.extents_of(result, node))
        expr = self.element(x, result.rank)
        if expr.dtype != result.dtype:
            expr = Text("{x}", {"x": expr}, result.dtype, result.dtype)
        self.fill(buffer, result.shape, expr)
        self.env[result] = whole(buffer)

    def _op_call_c(self, node: Node) -> None:
        if any(isinstance(v.ty, Array) for v in node.operands):
            self._call_with_arrays(node, node.operands, None)
            return
        prototype = parse_prototype(node.attrs["prototype"])
        args = {f"a{k}": self.scalar(v) for k, v in enumerate(node.operands)}
        text = f"call_c_{prototype.word}({', '.join(f'{{{n}}}' for n in args)})"
        result = node.result
        variable = self.set_scalar(result.name, Text(text, args, result.dtype, ""), result.dtype, guarded=True)
        self.units[-1].makes = {variable.name}
        self.bind_scalar(result, variable)

    def _op_call_c_into(self, node: Node) -> None:
        target, *operands = node.operands
        read = {root for v in operands if isinstance(v.ty, Array) for root in roots(v)}
        if read & roots(target):
            raise UnsupportedError(
                f"the C function `{node.attrs['name']}` writes into an array that it is given twice", node.loc,
                why="what it reads there while it writes is for C to know.", hint="pass a copy.",
            )
        made = self.copied(node.result, self.ref(target))
        self.env[node.result] = made
        operands.insert(1 + parse_prototype(node.attrs["prototype"]).written[0], target)
        self._call_with_arrays(node, operands, made)

    def _call_with_arrays(self, node: Node, operands: Sequence[Value], made: Ref | None) -> None:
        """A call of a C function with arrays, which are contiguous. made: what it writes into."""
        prototype = parse_prototype(node.attrs["prototype"])
        args: list[str | Buffer] = []
        effects: list[Touch] = []
        needs: set[str] = set()
        for parameter, value in zip((None, *prototype.parameters), operands, strict=True):
            if parameter is None or not parameter.pointer:
                expr = self.scalar(value)
                variable = self.set_scalar("c_address" if parameter is None else "c_argument", expr, expr.dtype)
                args.append(variable.name)
                needs.add(variable.name)
                continue
            if parameter.written:
                assert made is not None
                ref = made
                effects.append(Touch(ref.buffer, None, WRITE))
            else:
                ref = self.ref(value)
                if not ref.whole or ref.buffer.layout != "C" or ref.buffer.of:
                    ref = self.copied(value, ref)
            effects += self.whole_reads(ref)
            needs |= self.ref_names(ref)
            args.append(ref.buffer)
        name = self.names.take(node.results[0].name if made is None else "c_result")
        call = f"call_c_{prototype.word}"
        stmt = CallC(name, call, tuple(args), (made.buffer,) if made is not None else ())
        self.add(emit=lambda: [stmt], effects=effects, needs=needs, makes={name})
        if made is None:
            self.bind_scalar(node.result, Var(name, node.result.dtype))

    def _routine(self, node: Node, routine: Routine) -> None:
        """A call of a library function with stacks of matrices, which are contiguous."""
        refs = [self.ref(v) for v in node.operands]
        sizes = [refs[k].extents[axis] for k, axis in routine.axes]
        if routine.least is not None:
            k, axis_ = routine.least
            size = node.results[k].shape[axis_]
            if self.scopes.resolve(size) is None:
                parts: dict[str, Expr] = {"a": Int(sizes[0]), "b": Int(sizes[1])}
                self.scopes.learn(size, self.set_integer("k", Text("min({a}, {b})", parts, "int64", "int64")))
        count = self.product_of(*refs[0].extents[: 1 - len(node.operands[0].shape[-2:]) - 1])
        wanted = any(self.use_count.get(node.results[k]) for k in routine.lazy)
        integers = [count, *sizes, *([Lin(int(wanted))] if routine.lazy else [])]
        integers += [Lin(int(node.attrs[name])) for name in routine.options]
        read = []
        for value, ref in zip(node.operands, refs, strict=True):
            plain = ref.whole and ref.buffer.layout == "C" and not ref.buffer.of
            read.append(ref if plain else self.copied(value, ref))
        made = []
        for result in node.results:
            buffer = self.new_buffer(result, result.dtype, self.extents_of(result, node))
            self.escaping.add(buffer)
            self.env[result] = whole(buffer)
            made.append(buffer)
        effects = [*self.whole_reads(*read), *(Touch(b, None, WRITE) for b in made)]
        needs = names_in([*integers, *(e for b in made for e in b.extents)]).union(*(self.ref_names(r) for r in read))
        name = self.names.take("status")
        call = f"linalg_{routine.name}_{node.operands[0].dtype}"
        stmts: list[Stmt] = [CallC(name, call, (*integers, *(r.buffer for r in read), *made), tuple(made))]
        for number, message in enumerate(routine.fails, 1):
            failed = Text(f"{{s}} == {number}", {"s": Var(name, "int64")}, "bool", "int64")
            stmts.append(If(failed, [Raise("LinAlgError", message, node.loc)]))
        self.add(emit=lambda: stmts, effects=effects, needs=needs, makes={name}, raises=bool(routine.fails))

    def _op_check(self, node: Node) -> None:
        cond = self.scalar(node.operands[0])
        stmt = Raise(node.attrs["error"], node.attrs.get("message", ""), node.loc)
        if isinstance(cond, Lit | Int) and not isinstance(cond, Var):
            known = cond.value if isinstance(cond, Lit) else cond.lin.const if cond.lin.is_const else None
            if known:
                return
            if known is not None:
                self.add(emit=lambda: [stmt], raises=True, keep=True)
                return
        needs = names_in([cond])
        effects = [Touch(cond.buffer, cond.index, READ)] if isinstance(cond, Load) else []
        test = Text("not {c}", {"c": cond}, "bool", "bool")
        made = [If(test, [stmt])]
        self.add(emit=lambda: made, raises=True, needs=needs, effects=effects, keep=True, early=True)


def _is_complex(dtype: str) -> bool:
    return dtype.startswith("complex")


def _affine(node: Node, operands: Sequence[Expr]) -> Lin | None:
    """Sums and differences of integers, and products with literals, as an affine integer."""
    if node.result.dtype != "int64" or not all(isinstance(o, Int) for o in operands):
        return None
    lins = [o.lin for o in operands if isinstance(o, Int)]
    match node.op.name:
        case "add":
            return lins[0] + lins[1]
        case "sub":
            return lins[0] - lins[1]
        case "neg":
            return -lins[0]
        case "mul" if lins[0].is_const:
            return lins[1] * lins[0].const
        case "mul" if lins[1].is_const:
            return lins[0] * lins[1].const
        case "cast":
            return lins[0]
    return None
