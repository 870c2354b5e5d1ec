"""Forward mode: a function in, a function out that also computes the tangents of its results.

    def f(x, a):                def f_jvp(x, a, x_t, a_t):
        for i in range(n):          for i in range(n):
            x[i] = x[i] * a             x_t[i] = x_t[i] * a + x[i] * a_t
                                        x[i] = x[i] * a
        return x                    return x, x_t

Each varied value is paired with its tangent, each varied buffer with a tangent buffer under the same views. Tangents
of a node are computed before the node writes anything, so its rule reads what the node read. No tape.
(Griewank, Walther, Evaluating Derivatives (2008), sec. 3.1.)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from gradc.ad.activity import (
    Activity,
    can_vary,
    carried_inits,
    carried_params,
    carried_results,
    carried_yields,
    check_inputs,
)
from gradc.ad.apply import cast_like, refuse_fixed, times
from gradc.ad.cotangents import new_like
from gradc.ad.custom import outer_error
from gradc.ad.reverse import guarded_nodes
from gradc.errors import NonDifferentiableError, ReverseOnlyError
from gradc.ir.builder import Builder
from gradc.ir.custom import Rule, calls_in_place, is_custom, put_in_place
from gradc.ir.effects import view_operands, written_params
from gradc.ir.nodes import Block, Func, Node, Value
from gradc.ir.types import Array, Scalar, Stack, is_inexact
from gradc.ops import memory


def jvp(func: Func, wrt: Sequence[int], *, keep_value: bool = True) -> Func:
    """The function that computes `func` and the tangents of its floating-point results.

    Parameters: those of `func`, then one tangent per entry of `wrt`, of the type of that parameter and named <name>_t.
    Results: those of `func` if `keep_value`, then one tangent per floating-point result. Parameters that `func` writes
    into are copied first, and so are their tangents.

    Raises: DTypeError where a parameter in `wrt` is not floating point; NonDifferentiableError where a varied value
    passes through an op that has no derivative.
    """
    check_inputs(func, wrt)
    return Forward(func, list(wrt), keep_value).run()


@dataclass(eq=False)
class Pairs:
    """New values and tangents of old values."""

    values: dict[Value, Value] = field(default_factory=dict)
    tangents: dict[Value, Value] = field(default_factory=dict)


class Forward:
    """The state of one forward-mode transformation."""

    def __init__(self, func: Func, wrt: list[int], keep_value: bool) -> None:
        func = calls_in_place(func, lambda node: node.attrs["rule"].kind == "checkpoint")
        self.func = func
        self.wrt = wrt
        self.keep_value = keep_value
        self.outputs = [r for r in func.results if is_inexact(r.ty)]
        self.activity = Activity(func, [func.params[k] for k in wrt], self.outputs)
        self.guarded = guarded_nodes(func)
        self.new = Func(f"{func.name}_jvp", Block(), func.loc, dict(func.notes))
        self.builder = Builder(self.new, checks=False)
        self.builder.avoid_sizes_of(func)
        self.pairs = Pairs()

    def run(self) -> Func:
        """Build the function."""
        with self.builder:
            self._params()
            self._block(self.func.body, self.new.body)
            with self.builder.into(self.new.body):
                values = [self._value(r) for r in self.func.results] if self.keep_value else []
                tangents = [self._whole_tangent(r) for r in self.outputs]
        self.new.body.yields = values + tangents
        return self.new

    # ---------------------------------------------------------------------------------------- pairing

    def _params(self) -> None:
        written = set(written_params(self.func))
        for k, param in enumerate(self.func.params):
            new = Value(param.ty, param.name, None, param.size)
            self.new.params.append(new)
            self.pairs.values[param] = self._copied(new) if k in written else new
        for k in self.wrt:
            param = self.func.params[k]
            ty = Array(param.ty.dtype, param.ty.shape) if isinstance(param.ty, Array) else param.ty
            tangent = Value(ty, f"{param.name}_t", None)
            self.new.params.append(tangent)
            self.pairs.tangents[param] = self._buffer(param, tangent, k in written)
        for k in sorted(written - set(self.wrt)):
            param = self.func.params[k]
            if self._varied(param):  # what is written into it has a tangent
                self.pairs.tangents[param] = self._buffer(param, None, True)

    def _buffer(self, param: Value, tangent: Value | None, written: bool) -> Value:
        """The tangent of a parameter in a buffer that has its layout and may be written into; None: zeros."""
        ty = param.ty
        if not isinstance(ty, Array) or (tangent is not None and not written and ty.layout != "F"):
            assert tangent is not None
            return tangent
        buffer = new_like(memory.shape_values(self._value(param)), ty.dtype, ty.layout, filled=tangent is None)
        buffer.name = f"{param.name}_t"
        if tangent is not None:
            self.builder.emit("store", (buffer, tangent))
        return buffer

    def _copied(self, array: Value) -> Value:
        copy = memory.copy(array)
        copy.name = array.name
        return copy

    def _value(self, value: Value) -> Value:
        return self.pairs.values[value]

    def _varied(self, value: Value) -> bool:
        return can_vary(value) and self.activity.is_active(value)

    def _tangent(self, value: Value) -> Value | None:
        """The tangent of a value (of an array: its tangent buffer, under the same views); None where it is zero."""
        if not self._varied(value):
            return None
        return self.pairs.tangents.get(value)

    def _whole_tangent(self, value: Value) -> Value:
        """The tangent of a value, zeros included."""
        tangent = self._tangent(value)
        if tangent is not None:
            return tangent
        if isinstance(value.ty, Array):
            return memory.zeros_like(self._value(value))
        return self._zero(value)

    def _zero(self, like: Value) -> Value:
        assert isinstance(like.ty, Scalar)
        zero = 0j if like.ty.dtype == "complex128" else 0.0
        return self.builder.const(zero if like.ty.weak else np.dtype(like.ty.dtype).type(0))

    def _pair(self, old: Value, tangent: Value) -> None:
        if old.name and not tangent.name and tangent.node is not None and tangent.node.op.name != "const":
            tangent.name = f"{old.name}_t"
        self.pairs.tangents[old] = tangent

    # ------------------------------------------------------------------------------------------ blocks

    def _block(self, block: Block, target: Block) -> None:
        with self.builder.into(target):
            for node in block.nodes:
                with self.builder.at(node.loc):
                    self._node(node)

    def _node(self, node: Node) -> None:
        if node.op.kind == "control":
            if node.op.name == "if":
                self._if(node)
            else:
                self._loop(node)
            return
        if node.op.kind == "write":
            self._write(node)
            self._copy(node)
            return
        if is_custom(node) and any(self._varied(r) for r in node.results):
            self._call(node, node.attrs["rule"])
            return
        self._copy(node)
        if node.op.kind == "view":
            self._view(node)
        elif node.op.kind == "stack":
            self._stack(node)
        elif node.op.kind not in ("query", "check") and any(self._varied(r) for r in node.results):
            self._compute(node)

    def _copy(self, node: Node) -> None:
        copy = Node(node.op, [self._value(v) for v in node.operands], [], dict(node.attrs), [], node.loc)
        for old in node.results:
            new = Value(old.ty, old.name, copy, old.size)
            self.pairs.values[old] = new
            copy.results.append(new)
        self.builder.block.nodes.append(copy)

    # ---------------------------------------------------------------------------------- straight code

    def _view(self, node: Node) -> None:
        if not self._varied(node.result):
            return
        bases = view_operands(node.op)
        operands = [self._whole_tangent(v) if k in bases else self._value(v) for k, v in enumerate(node.operands)]
        attrs = dict(node.attrs)
        self._pair(node.result, self.builder.add(node.op, operands, attrs))

    def _call(self, node: Node, rule: Rule) -> None:
        """A call of a function with a rule of the user: its tangent rule in place of it."""
        if rule.tangent is None:
            raise ReverseOnlyError(
                f"`{rule.name}` has a {rule.kind} rule, and forward mode cannot use it",
                node.loc,
                "it says how cotangents go back, not how tangents go on.",
                "use reverse mode (grad, vjp, jacrev), or give it a gradc.custom_jvp rule.",
            )
        for k, value in enumerate(node.operands):
            if k >= rule.arguments and can_vary(value) and self.activity.is_varied(value) and rule.reads(k):
                raise outer_error(value, rule, self.builder)
        operands = [self._value(v) for v in node.operands]
        moving = [self._c_tangent(v) for v in node.operands[: rule.arguments] if is_inexact(v.ty)]
        made = put_in_place(rule.tangent, [*operands, *moving], self.builder)
        tangents = iter(made[len(node.results) :])
        for old, new in zip(node.results, made, strict=False):
            if new.node is not None and new.node.op.name != "const":
                new.name = old.name or new.name
            self.pairs.values[old] = new
            if is_inexact(old.ty):
                self._pair(old, next(tangents))

    def _c_tangent(self, value: Value) -> Value:
        tangent = self._whole_tangent(value)
        return self._copied(tangent) if isinstance(tangent.ty, Array) and tangent.ty.layout != "C" else tangent

    def _stack(self, node: Node) -> None:
        stack = node.results[0] if node.op.name == "stack_new" else node.operands[0]
        if not self.activity.is_active(stack):
            return
        if node.op.name == "stack_new":
            assert isinstance(stack.ty, Stack)
            self._pair(stack, self.builder.add(node.op, (), {"item": stack.ty.item}))
        elif node.op.name == "push":
            tangent = self._whole_tangent(node.operands[1])
            self.builder.emit("push", (self.pairs.tangents[stack], tangent))
        else:
            self._pair(node.result, self.builder.emit("pop", (self.pairs.tangents[stack],)))

    def _write(self, node: Node) -> None:
        target, value = node.operands[0], node.operands[1]
        shadow = self._tangent(target)
        if shadow is None:
            return
        tangent = self._tangent(value)
        if tangent is None:
            if node.op.name.startswith("accumulate") or node.op.name == "scatter_add":
                return
            tangent = self.builder.const(0.0)
        rest = [self._value(v) for v in node.operands[2:]]
        self.builder.add(node.op, (shadow, tangent, *rest), dict(node.attrs))

    def _compute(self, node: Node) -> None:
        op = node.op
        if len(node.results) > 1:
            self._compute_several(node)
            return
        result = node.result
        operands = [self._value(v) for v in node.operands]
        if op.name in ("load", "gather", "mask_select"):
            shadow = self._whole_tangent(node.operands[0])
            self._pair(result, self.builder.add(op, (shadow, *operands[1:]), dict(node.attrs)))
            return
        tangents = [self._tangent(v) for v in node.operands]
        made = self._rule(node, operands, tangents)
        if made is None:
            made = self._zero(result) if isinstance(result.ty, Scalar) else memory.zeros_like(self._value(result))
        made = self._fitted(made, result)
        self._pair(result, made)

    def _compute_several(self, node: Node) -> None:
        """An op with several results: its rule gives a tangent, or None, for each."""
        operands = [self._value(v) for v in node.operands]
        tangents = [self._tangent(v) for v in node.operands]
        assert node.op.jvp is not None
        made: Any = node.op.jvp(tuple(tangents), tuple(self._value(r) for r in node.results), *operands, **node.attrs)
        for result, tangent in zip(node.results, made, strict=True):
            if tangent is not None and self._varied(result):
                self._pair(result, self._fitted(tangent, result))

    def _rule(self, node: Node, operands: list[Value], tangents: list[Value | None]) -> Value | None:
        """The tangent of the node's result by the rule of its entry; None where it is zero."""
        op, y = node.op, self._value(node.result)
        if all(t is None for t in tangents):
            return None
        refuse_fixed(node, [t is not None for t in tangents])
        if op.jvp is not None:
            return op.jvp(tuple(tangents), y, *operands, **node.attrs)
        if op.partials is not None:
            total: Value | None = None
            strong = op.is_singular(operands) or node in self.guarded
            for partial, tangent in zip(op.partials(y, *operands, **node.attrs), tangents, strict=True):
                term = None if tangent is None else times(tangent, partial, strong, self.builder)
                if term is None:
                    continue
                total = term if total is None else total + term
            return total
        if op.linear:
            names = dict(zip(op.operands, tangents, strict=False))
            inputs = [
                (
                    names[n]
                    if names.get(n) is not None
                    else memory.zeros_like(v)
                    if isinstance(v.ty, Array)
                    else self._zero(v)
                )
                if n in op.linear
                else v
                for n, v in zip((*op.operands, *("" for _ in operands[len(op.operands) :])), operands, strict=True)
            ]
            return self.builder.add(op, inputs, dict(node.attrs))
        raise NonDifferentiableError(
            f"`{op.name}` has no derivative",
            node.loc,
            "its result depends on a differentiated argument and reaches the output",
            "gradc.stop_gradient(...) around it, if its derivative is to count as zero",
        )

    def _fitted(self, tangent: Value, result: Value) -> Value:
        """A tangent in the dtype and shape of the value it belongs to, in a buffer of its own."""
        tangent = cast_like(tangent, result, self.builder)
        if not isinstance(result.ty, Array):
            return tangent
        whole = tangent.rank == result.rank and all(
            (a == 1) == (b == 1) for a, b in zip(tangent.shape, result.shape, strict=True)
        )
        if not whole:
            return memory.make_broadcast(tangent, memory.shape_values(self._value(result)))
        made_here = (
            tangent.node is not None
            and tangent.node.op.kind not in ("view",)
            and not any(tangent is t for t in self.pairs.tangents.values())
        )
        return tangent if made_here else memory.copy(tangent)

    # ------------------------------------------------------------------------------------ control flow

    def _if(self, node: Node) -> None:
        varied = [k for k, r in enumerate(node.results) if self._varied(r)]
        blocks = []
        for original in node.blocks:
            block = Block()
            self._block(original, block)
            with self.builder.into(block):
                block.yields = [self._value(v) for v in original.yields]
                block.yields += [self._scalar_tangent(original.yields[k], node.results[k]) for k in varied]
            blocks.append(block)
        results = [*node.results, *(node.results[k] for k in varied)]
        made = self.builder.control("if", [self._value(node.operands[0])], blocks, [r.ty for r in results])
        self._results(node, made, varied)

    def _scalar_tangent(self, value: Value, like: Value) -> Value:
        tangent = self._tangent(value)
        return self._zero(like) if tangent is None else cast_like(tangent, like, self.builder)

    def _results(self, node: Node, made: list[Value], varied: list[int]) -> None:
        """Name the results of a control node: carried values, tangents of the varied ones, and perhaps the trips."""
        plain = len(node.results) if node.op.name == "if" else len(carried_inits(node))
        new = [*made[:plain], *made[plain + len(varied) :]]
        for old, value in zip(node.results, new, strict=True):
            value.name, value.size = old.name, old.size
            self.pairs.values[old] = value
        for k, tangent in zip(varied, made[plain : plain + len(varied)], strict=True):
            self._pair(node.results[k], tangent)

    def _loop(self, node: Node) -> None:
        params = carried_params(node, node.blocks[-1])
        results, inits = carried_results(node), carried_inits(node)
        varied = [k for k, p in enumerate(params) if self._varied(p) or self._varied(results[k])]
        first = 3 if node.op.name == "for" else 0
        operands = [self._value(v) for v in node.operands]
        operands += [self._scalar_tangent(inits[k], params[k]) for k in varied]
        blocks = []
        for original in node.blocks:
            block = Block()
            for old in original.params:
                new = Value(old.ty, old.name, None, old.size)
                self.pairs.values[old] = new
                block.params.append(new)
            for k in varied:
                old = carried_params(node, original)[k]
                tangent = Value(old.ty, f"{old.name}_t" if old.name else "")
                self.pairs.tangents[old] = tangent
                block.params.append(tangent)
            self._block(original, block)
            with self.builder.into(block):
                block.yields = [self._value(v) for v in original.yields]
                if original is node.blocks[-1]:
                    yields = carried_yields(node)
                    block.yields += [self._scalar_tangent(yields[k], params[k]) for k in varied]
            blocks.append(block)
        types = [v.ty for v in (*results, *(results[k] for k in varied), *node.results[len(results) :])]
        assert len(operands) == first + len(inits) + len(varied)
        self._results(node, self.builder.control(node.op.name, operands, blocks, types, **node.attrs), varied)
