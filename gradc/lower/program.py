"""Lowering: a verified Func becomes loop form. Blocks are lowered one by one: nodes to units, units to fused loops."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from gradc.errors import UnsupportedError
from gradc.ir.effects import buffers_read, buffers_written, has_effect, roots
from gradc.ir.loops import (
    Alloc,
    Assign,
    Break,
    Buffer,
    Expr,
    For,
    If,
    Int,
    Kernel,
    Lin,
    Lit,
    Load,
    Move,
    Put,
    Stmt,
    Text,
    Var,
    While,
    var,
    walk,
)
from gradc.ir.nodes import Block, Func, Node, Value, captured_values, used_values, walk_nodes
from gradc.ir.ranges import nonnegative_positions
from gradc.ir.types import Array, Scalar, is_inexact
from gradc.lower.arrays import Ref, whole
from gradc.lower.buffers import reuse
from gradc.lower.fuse import Fuser
from gradc.lower.inline import inline
from gradc.lower.nodes import NodeLowering
from gradc.lower.scopes import Names, Scopes
from gradc.lower.tapes import Tape
from gradc.lower.units import READ, WRITE, Touch, Unit, names_in


def lower(func: Func) -> Kernel:
    """The loop form of a verified function."""
    return _Lowering(func).run()


class _Lowering(NodeLowering):
    """One function being lowered. `env` maps a value to its expression, its Ref, or its stack."""

    def __init__(self, func: Func) -> None:
        names = Names()
        super().__init__(names, Scopes(names))
        self.func = func
        self.from_front = frozenset(nonnegative_positions(func))
        self.block_nodes: list[Node] = []
        for node in walk_nodes(func.body):
            for value in (*node.operands, *(v for block in node.blocks for v in block.yields)):
                self.use_count[value] = self.use_count.get(value, 0) + 1
        for value in func.results:
            self.use_count[value] = self.use_count.get(value, 0) + 1

    def run(self) -> Kernel:
        params = [self._param(p) for p in self.func.params]
        body = self.block(self.func.body, results=True)
        inline(body, self.results)
        natural = frozenset(self.natural | self.scopes.natural)
        return Kernel(self.func.name, params, [*self.scopes.top, *body], self.results, self.names.take, natural)

    def _param(self, param: Value) -> str:
        name = self.names.take(param.name or "x")
        ty = param.ty
        if isinstance(ty, Array):
            if ty.dtype == "float16":
                raise UnsupportedError("float16 arrays cannot be compiled", hint="convert them to float32")
            buffer = Buffer(name, ty.dtype, (), ty.layout, param=True)
            buffer.extents = tuple(self.scopes.learn_param(s, buffer, k) for k, s in enumerate(ty.shape))
            self.env[param] = whole(buffer)
        else:
            assert isinstance(ty, Scalar)
            self.env[param] = Int(var(name)) if ty.dtype == "int64" else Var(name, ty.dtype)
            self.scopes.define(name)
            self.scopes.top_names.add(name)
            if param.size is not None:
                self.scopes.learn(param.size, var(name))
        return name

    # ---------------------------------------------------------------------------------------- blocks

    def block(self, block: Block, results: bool = False) -> list[Stmt]:
        """Statements of a block. With `results` the block's yields become the function's results."""
        outer, self.units = self.units, []
        outer_local, self.local = self.local, set()
        outer_uses, self.last_use = self.last_use, _last_uses(block)
        outer_nodes, self.block_nodes = self.block_nodes, block.nodes
        for k, node in enumerate(block.nodes):
            self.position_in_block = k
            self.node(node)
        self.block_nodes = outer_nodes
        if results:
            self.results = self._results(block.yields)
        live = names_in([self.env[v] for v in block.yields if not isinstance(v.ty, Array)])
        units = self._alive(self.units, live)
        local = self.local
        self.units, self.local, self.last_use = outer, outer_local, outer_uses
        fuser = Fuser(self.names.take, local)
        tree = fuser.level(units, 0, (), {root for b in self.escaping for root in b.roots})
        self._decide_storage(fuser.placed)
        out = self._emit(tree)
        lasting = {root for r in self.results if isinstance(r, Buffer) for root in r.roots} if results else set()
        reuse(out, local, lasting, [out, *(scope.prelude for scope in self.scopes.stack)])
        return out

    def _results(self, values: Sequence[Value]) -> list[Expr | Buffer]:
        found: list[Expr | Buffer] = []
        for value in values:
            held = self.env[value]
            if not isinstance(held, Ref):
                found.append(held)
                continue
            buffer = held.buffer
            if not buffer.fresh or buffer.of or not held.whole or buffer in found or buffer.layout != "C":
                ref = self.copied(value, held)
                buffer = ref.buffer
            self.escaping.add(buffer)
            found.append(buffer)
        return found

    def _alive(self, units: list[Unit], names: set[str]) -> list[Unit]:
        """Units without those whose effect nobody sees."""
        buffers = {root for b in self.escaping for root in b.roots}
        names = set(names)
        kept: list[Unit] = []
        for unit in reversed(units):
            wanted = unit.keep or unit.raises or bool(unit.makes & names)
            if not wanted:
                for touch in unit.touches():
                    roots = touch.buffer.roots
                    if touch.mode != READ and (not roots <= self.local or roots & buffers):
                        wanted = True
                        break
            if not wanted:
                continue
            names |= unit.needs
            for touch in unit.touches():
                if touch.mode == READ:
                    buffers |= touch.buffer.roots
            kept.append(unit)
        return kept[::-1]

    def pushed_again(self, pop: Node) -> bool:
        tape = pop.operands[0]
        at = self.block_nodes.index(pop)
        return any(
            n.op.name == "push" and n.operands[0] is tape
            for after in self.block_nodes[at:]
            for n in nodes_inside(after)
        )

    # --------------------------------------------------------------------------------------- storage

    def _decide_storage(self, units: list[Unit]) -> None:
        """Which axes of each new buffer live in memory: those not tied to a loop around every use."""
        touches: dict[Buffer, list[tuple[Unit, Touch]]] = {}
        shared: set[Buffer] = set()
        for unit in units:
            for touch in unit.touches():
                touches.setdefault(touch.buffer, []).append((unit, touch))
                if touch.buffer.of:
                    shared |= touch.buffer.roots
        for buffer, uses in touches.items():
            if not buffer.fresh or buffer.of or buffer.scalar or buffer.kept is not None:
                continue
            if buffer in self.escaping or buffer in shared or all(touch.mode == READ for _, touch in uses):
                continue  # the last: an `empty` that is read as it is
            kept = []
            for k, extent in enumerate(buffer.extents):
                common: set[str] | None = None
                for unit, touch in uses:
                    part = touch.index[k] if touch.index is not None else None
                    if isinstance(part, Lin) and part.is_const and not part.const and extent == Lin(1):
                        tied = {"0"}
                    elif isinstance(part, Lin) and part.const == 0 and len(part.terms) == 1:
                        name, c = part.terms[0]
                        tied = {name} if c == 1 and name in unit.path else set()
                    else:
                        tied = set()
                    common = tied if common is None else common & tied
                if not common:
                    kept.append(k)
            buffer.kept = tuple(kept)
            buffer.scalar = not kept

    def _emit(self, tree: list[Stmt | Unit]) -> list[Stmt]:
        out: list[Stmt] = []
        for stmt in tree:
            if isinstance(stmt, Unit):
                assert stmt.emit is not None
                self._allocate([t.buffer for t in stmt.touches()], out)
                out.extend(stmt.emit())
                continue
            self._allocate(list(_buffers(stmt)), out)
            out.append(stmt)
        return out

    def _allocate(self, buffers: list[Buffer], out: list[Stmt]) -> None:
        for buffer in buffers:
            for root in sorted(buffer.roots, key=lambda b: b.name):
                if not root.fresh or root.scalar or root in self.allocated:
                    continue
                self.allocated.add(root)
                kept = root.extents if root.kept is None else tuple(root.extents[k] for k in root.kept)
                place = self.scopes.hoist(kept)
                (out if place is None else place).append(Alloc(root))

    # --------------------------------------------------------------------------------------- control

    def control(self, node: Node) -> None:
        unit = Unit((len(self.units),), guarded=True, keep=has_effect(node) or bool(node.results))
        inner = [n for block in node.blocks for n in walk_nodes(block)]
        unit.raises = any(n.op.kind == "check" or n.op.name == "while" or n.op.may_fail for n in (node, *inner))
        for value in captured_values(node):
            held = self.env[value]
            if isinstance(held, Ref):
                self.escaping |= held.buffer.roots
                unit.needs |= self.ref_names(held)
            elif not isinstance(held, Tape):
                unit.needs |= names_in([held])
        read = {r for block in node.blocks for r in buffers_read(block)}
        written = {r for block in node.blocks for r in buffers_written(block)}
        for values, mode in ((read, READ), (written, WRITE)):
            for value in values:
                held = self.env.get(value)
                if isinstance(held, Ref):
                    unit.effects.append(Touch(held.buffer, None, mode))
                    self.escaping |= held.buffer.roots
        for n in inner:
            if n.op.kind == "stack":
                stack = self.env.get(n.operands[0]) if n.operands else None
                if isinstance(stack, Tape):
                    unit.effects.append(Touch(stack.data, None, WRITE))
                    unit.keep = True
        unit.effects.sort(key=lambda t: (t.buffer.name, t.mode))
        # Blocks find run-time sizes by dimension, so what holds them comes before the node.
        for size in dict.fromkeys(s for n in inner for v in n.results if isinstance(v.ty, Array) for s in v.shape):
            known = self.scopes.resolve(size)
            if known is not None:
                unit.needs |= names_in([known])
        results = [self._declare(v) for v in node.results]
        unit.makes = {r.name for r in results}
        emitters = {"if": self._emit_if, "for": self._emit_for, "while": self._emit_while}
        make = emitters[node.op.name]
        unit.emit = lambda: make(node, results)
        self.units.append(unit)

    def _declare(self, value: Value) -> Var:
        """A variable for a scalar that control flow yields."""
        assert isinstance(value.ty, Scalar)
        variable = Var(self.names.take(value.name or "t"), value.ty.dtype)
        self.bind_scalar(value, variable)
        return variable

    def _assignments(self, targets: Sequence[Var], values: Sequence[Value]) -> list[Stmt]:
        """Parallel assignment of what a block yields."""
        pairs = [(t, self.env[v]) for t, v in zip(targets, values, strict=True)]
        pairs = [(t, e) for t, e in pairs if not _is_variable(e, t.name)]
        if not pairs:
            return []
        written: set[str] = set()
        entangled = False
        for target, expr in pairs:
            entangled = entangled or bool(names_in([expr]) & written)
            written.add(target.name)
        if not entangled:
            return [Assign(t.name, e, t.dtype) for t, e in pairs]
        return [Move(tuple(t.name for t, _ in pairs), tuple(e for _, e in pairs), tuple(t.dtype for t, _ in pairs))]

    def _emit_if(self, node: Node, results: list[Var]) -> list[Stmt]:
        made = If(self.scalar(node.operands[0]))
        for block, out in zip(node.blocks, (made.then, made.orelse), strict=True):
            self.scopes.enter(loop=False)
            out.extend(self.block(block))
            out.extend(self._assignments(results, block.yields))
            self.scopes.leave()
        return [made]

    def _loop_body(self, node: Node, block: Block, carried: Sequence[Var], trips: Var | None) -> list[Stmt]:
        exits = bool(node.attrs.get("exits"))
        out = self.block(block)
        yields = block.yields[1:] if exits else block.yields
        leave: Expr | None = None
        if exits:
            leave = self.env[block.yields[0]]
            if names_in([leave]) & {v.name for v in carried}:
                held = Var(self.names.take("leave"), "bool")
                out.append(Assign(held.name, leave, "bool"))
                leave = held
        out.extend(self._assignments(carried, yields))
        if trips is not None:
            out.append(Assign(trips.name, Int(var(trips.name) + 1), "int64"))
        if leave is not None:
            out.append(If(leave, [Break()]))
        return out

    def _note_sums(self, body: Block, carried: Sequence[Value], yields: Sequence[Value]) -> None:
        """Find what a loop only adds to: `s = s + a + b`, where nothing else reads `s` or the partial sums.

        Such additions may be made in any order, so LLVM can vectorise the loop.
        """
        inside = set(body.nodes)
        for param, value in zip(carried, yields, strict=True):
            if not is_inexact(param.ty):
                continue
            chain: list[Node] = []
            while value is not param:
                node = value.node
                single = self.use_count.get(value) == 1
                if node is None or node not in inside or not single or not node.op.reassociable:
                    break
                if not chain or {node.op.name, chain[0].op.name} <= {"add", "sub"} or node.op is chain[0].op:
                    chain.append(node)
                    value = node.operands[0]
                    continue
                break
            if value is param and chain and self.use_count.get(param) == 1:
                self.sums.update(chain)

    def _enter_params(self, params: Sequence[Value], carried: Sequence[Var]) -> None:
        for param, variable in zip(params, carried, strict=True):
            self.bind_scalar(param, variable)

    def _emit_for(self, node: Node, results: list[Var]) -> list[Stmt]:
        exits = bool(node.attrs.get("exits"))
        (body,) = node.blocks
        start, stop, step = (self.integer(v) for v in node.operands[:3])
        carried = results[:-1] if exits else results
        trips = results[-1] if exits else None
        out: list[Stmt] = self._assignments(carried, node.operands[3:])
        if trips is not None:
            out.append(Assign(trips.name, Lit(0, "int64"), "int64"))
        index = self.names.take(body.params[0].name or "i")
        scope = self.scopes.enter(loop=True)
        loop = For(index, start, stop, step, user=True)
        prefix: list[Stmt] = []
        if node.attrs.get("reversed"):
            if step == Lin(1):
                loop = For(index, stop - 1, start - 1, Lin(-1), user=True)
            elif step == Lin(-1):
                loop = For(index, stop + 1, start + 1, Lin(1), user=True)
            else:
                counter = self.names.take("trip")
                count = Var(self.names.take("trips"), "int64")
                parts = {"a": Int(start), "b": Int(stop), "s": Int(step)}
                out.append(Assign(count.name, Text("len(range({a}, {b}, {s}))", parts, "int64", "int64"), "int64"))
                loop = For(counter, var(count.name) - 1, Lin(-1), Lin(-1), user=True)
                forward = Text("{a} + {k} * {s}", {**parts, "k": Int(var(counter))}, "int64", "int64")
                prefix.append(Assign(index, forward, "int64"))
        self.scopes.define(index)
        self.env[body.params[0]] = Int(var(index))
        if body.params[0].size is not None:
            self.scopes.learn(body.params[0].size, var(index))
        if start.is_const and start.const >= 0 and step.is_const and step.const > 0:
            self.natural.add(index)
        if step.is_const and step.const < 0 and stop.is_const and stop.const >= -1:
            self.natural.add(index)
        self._enter_params(body.params[1:], carried)
        self._note_sums(body, body.params[1:], body.yields[exits:])
        loop.body = [*prefix, *self._loop_body(node, body, carried, trips)]
        self.scopes.leave()
        return [*out, *scope.prelude, loop]

    def _emit_while(self, node: Node, results: list[Var]) -> list[Stmt]:
        cond, body = node.blocks
        carried, trips = results[:-1], results[-1]
        out: list[Stmt] = self._assignments(carried, node.operands)
        out.append(Assign(trips.name, Lit(0, "int64"), "int64"))
        scope = self.scopes.enter(loop=True)
        self._enter_params(cond.params, carried)
        loop = While(self.block(cond))
        go_on = self.env[cond.yields[0]]
        loop.body.append(If(Text("not {c}", {"c": go_on}, "bool"), [Break()]))
        self._enter_params(body.params, carried)
        self._note_sums(body, body.params, body.yields[bool(node.attrs.get("exits")) :])
        loop.body.extend(self._loop_body(node, body, carried, trips))
        self.scopes.leave()
        return [*out, *scope.prelude, loop]


def nodes_inside(node: Node) -> Iterator[Node]:
    """A node and all nodes of its blocks."""
    yield node
    for block in node.blocks:
        yield from walk_nodes(block)


def _last_uses(block: Block) -> dict[Value, int]:
    """For each array that a node of the block makes, the last node that uses its memory, views included."""
    last: dict[Value, int] = {}
    for k, node in enumerate(block.nodes):
        for value in used_values(node):
            for root in roots(value):
                last[root] = k
    for value in block.yields:
        for root in roots(value):
            last[root] = len(block.nodes)
    made = {r for n in block.nodes for r in n.results}
    return {root: k for root, k in last.items() if root in made}


def _is_variable(expr: Expr, name: str) -> bool:
    return (isinstance(expr, Var) and expr.name == name) or (isinstance(expr, Int) and expr.lin == var(name))


def _buffers(stmt: Any) -> Iterator[Buffer]:
    """Buffers that a statement touches, inner statements included, in order."""
    if isinstance(stmt, For):
        for inner in stmt.body:
            yield from _buffers(inner)
    elif isinstance(stmt, Assign | Put):
        for part in walk(stmt.expr):
            if isinstance(part, Load):
                yield part.buffer
        if isinstance(stmt, Put):
            for index in stmt.index:
                if not isinstance(index, Lin):
                    for part in walk(index):
                        if isinstance(part, Load):
                            yield part.buffer
            yield stmt.buffer
