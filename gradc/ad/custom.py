"""Derivative rules of the user: calls are opened before a differentiation, and its marks are dropped afterwards.

    %y = custom(%x) {rule}    ->    %i = rule_input(%x)             not varied: the differentiation stops here
                                    %o, %r = rule.forward(%i)       put in place
                                    %y = rule_result(%o, %x, %r)    an op like others: its vjp is rule.backward

So the residual plan finds out what the backward part reads, as for any op. Without the marks what is left is the code
of the rule, and that is what a further differentiation sees. A call that this one does not go through stays.

custom_jvp    forward: results of rule.tangent for tangents 0;    backward: the reverse of rule.tangent in its tangents
checkpoint    forward: rule.primal;                               backward: the reverse of rule.primal
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from gradc.ad.activity import Activity, can_vary
from gradc.errors import NonDifferentiableError
from gradc.ir.builder import Builder
from gradc.ir.custom import Rule, is_custom, put_in_place
from gradc.ir.effects import buffers_written, roots
from gradc.ir.nodes import Block, Func, Node, Value, clone_block, current_builder, walk_nodes
from gradc.ir.opdef import TABLE
from gradc.ir.types import Array, Scalar, is_inexact
from gradc.ops import memory

# reverse(func, wrt, keep_value=, seeds=, outputs=): given, because it opens calls itself.
Reverse = Callable[..., Func]


def has_rules(func: Func) -> bool:
    """Whether `func` calls functions with rules of the user."""
    return any(is_custom(node) for node in walk_nodes(func.body))


def opened(func: Func, wrt: Sequence[int], outputs: Sequence[int], reverse: Reverse) -> tuple[Func, dict[Value, Value]]:
    """A copy of `func` in which the calls that derivatives go through are open; and the value that each is a copy of.

    Raises: NonDifferentiableError where a rule reads something that is differentiated, and is no argument.
    """
    mapping: dict[Value, Value] = {}
    copy = Func(func.name, clone_block(func.body, mapping), func.loc, dict(func.notes))
    activity = Activity(copy, [copy.params[k] for k in wrt], [copy.results[k] for k in outputs])
    builder = Builder(copy, checks=False)
    builder.avoid_sizes_of(func)
    with builder:
        replaced = _Opener(builder, copy, activity, reverse).run(copy.body)
    of_new = {mapping[v]: v for v in _all_values(func)}
    for old, new in replaced.items():
        if old in of_new:
            of_new[new] = of_new[old]
    return copy, of_new


def _all_values(func: Func) -> list[Value]:
    found = list(func.params)
    for node in walk_nodes(func.body):
        found += node.results
        for block in node.blocks:
            found += block.params
    return found


@dataclass(frozen=True, slots=True)
class _Call:
    """What is known of a call before anything is changed: which arguments are varied, what is written into."""

    varied: list[bool]
    written_arguments: list[bool]
    written_results: list[bool]


class _Opener:
    """Opens the active calls of one function in place."""

    def __init__(self, builder: Builder, func: Func, activity: Activity, reverse: Reverse) -> None:
        self.builder = builder
        self.reverse = reverse
        self.replaced: dict[Value, Value] = {}
        self.calls: dict[Node, _Call] = {}
        written = buffers_written(func.body)
        for node in walk_nodes(func.body):
            if is_custom(node) and any(activity.is_active(r) for r in node.results):
                self.calls[node] = _Call(
                    [can_vary(v) and activity.is_varied(v) for v in node.operands],
                    [not written.isdisjoint(roots(v)) for v in node.operands],
                    [not written.isdisjoint(roots(v)) for v in node.results],
                )

    def run(self, block: Block) -> dict[Value, Value]:
        """Open calls in a block and below; what took the place of which value."""
        nodes, block.nodes = block.nodes, []
        with self.builder.into(block):
            for node in nodes:
                node.operands = [self.replaced.get(v, v) for v in node.operands]
                if node in self.calls:
                    with self.builder.at(node.loc):
                        self._open(node, self.calls[node])
                    continue
                block.nodes.append(node)
                for inner in node.blocks:
                    self.run(inner)
        block.yields = [self.replaced.get(v, v) for v in block.yields]
        return self.replaced

    def _open(self, node: Node, call: _Call) -> None:
        rule: Rule = node.attrs["rule"]
        count = len(node.operands) if rule.kind == "checkpoint" else rule.arguments
        for k in range(count, len(node.operands)):
            if call.varied[k] and rule.reads(k):
                raise outer_error(node.operands[k], rule, self.builder)
        held = [self._held(v, w) for v, w in zip(node.operands, call.written_arguments, strict=True)]
        n = len(node.results)
        if rule.kind == "custom_vjp":
            assert rule.forward is not None and rule.backward is not None
            made = put_in_place(rule.forward, held, self.builder)
            backward, targets, residuals = rule.backward, rule.targets, [*held[count:], *made[n:]]
        else:
            made, backward, targets = self._open_linear(rule, held, call.varied)
            residuals = held
        # Dropping the mark makes a result and what it comes from one buffer.
        outs = [memory.copy(v) if w else v for v, w in zip(made[:n], call.written_results, strict=True)]
        attrs = {"results": n, "arguments": count, "backward": backward, "targets": targets}
        results = self.builder.add(TABLE["rule_result"], (*outs, *node.operands[:count], *residuals), attrs)
        for old, new in zip(node.results, (results,) if n == 1 else results, strict=True):
            new.name = old.name
            self.replaced[old] = new

    def _held(self, value: Value, written: bool) -> Value:
        """An operand as the code of the rule reads it: no derivative goes through it, and nobody writes into it."""
        held: Value = self.builder.add(TABLE["rule_input"], (memory.copy(value) if written else value,), {})
        held.name = value.name
        return held

    def _open_linear(
        self, rule: Rule, held: list[Value], varied: list[bool]
    ) -> tuple[list[Value], Func, tuple[int | None, ...]]:
        """Results, backward part (of operands, operands again as residuals, cotangents) and its targets."""
        floats = [k for k, ty in enumerate(rule.types) if is_inexact(ty)]
        if rule.kind == "checkpoint":
            assert rule.primal is not None
            made = put_in_place(rule.primal, held, self.builder)
            wrt = [k for k, v in enumerate(varied) if v]
            func = self.reverse(rule.primal, wrt, keep_value=False, seeds="params", outputs=floats)
            zeros_at: list[int] = []
            arguments = len(held)
        else:
            assert rule.tangent is not None
            arguments = rule.arguments
            moving = [k for k in range(arguments) if is_inexact(held[k].ty)]
            made = put_in_place(rule.tangent, [*held, *(zeros_of(held[k]) for k in moving)], self.builder)
            seeded = [len(rule.types) + k for k in range(len(floats))]
            first = len(held)
            wrt = [k for k in moving if varied[k]]
            places = [first + moving.index(k) for k in wrt]
            func = self.reverse(rule.tangent, places, keep_value=False, seeds="params", outputs=seeded)
            zeros_at = moving
        targets = tuple(wrt.index(k) if k in wrt else None for k in range(arguments))
        return made, _with_residuals(func, arguments, len(held), zeros_at), targets


def _with_residuals(func: Func, arguments: int, held: int, zeros_at: Sequence[int]) -> Func:
    """`func` of (operands, tangents, cotangents) as one of (arguments, operands, cotangents): tangents are 0."""
    params = [Value(p.ty, p.name, None, p.size) for p in func.params[:held]]
    sizes_of = [Value(p.ty, p.name, None, p.size) for p in func.params[:arguments]]
    cts = [Value(p.ty, p.name, None, p.size) for p in func.params[held + len(zeros_at) :]]
    made = Func(func.name, Block(params=[*sizes_of, *params, *cts]), func.loc)
    builder = Builder(made, checks=False)
    builder.avoid_sizes_of(func)
    with builder, builder.into(made.body):
        zeros = [zeros_of(params[k]) for k in zeros_at]
        # Under other names, so that what is computed again is not found to be there, and kept.
        again = [TABLE["alias"](p) if isinstance(p.ty, Array) else p for p in params]
        made.body.yields = put_in_place(func, [*again, *zeros, *cts], builder)
    return made


def zeros_of(like: Value) -> Value:
    """Zeros of the type of a value."""
    if isinstance(like.ty, Array):
        return memory.zeros_like(like)
    assert isinstance(like.ty, Scalar)
    builder = current_builder()
    return builder.const(0.0 if like.ty.weak else np.dtype(like.ty.dtype).type(0))


def outer_error(value: Value, rule: Rule, builder: Builder) -> NonDifferentiableError:
    """A rule reads `value`, which is differentiated, and is no argument of its function."""
    return NonDifferentiableError(
        f"the rule of `{rule.name}` uses `{value.name or 'a value'}`, which depends on a differentiated argument",
        builder.loc,
        f"a {rule.kind} rule gives derivatives in the arguments of the function only.",
        "make it an argument, or use gradc.stop_gradient(...) of it.",
    )


def without_marks(func: Func) -> Func:
    """`func`, in place, without the marks of calls that were open."""
    _drop_marks(func.body, {})
    return func


def _drop_marks(block: Block, replaced: dict[Value, Value]) -> None:
    kept: list[Node] = []
    for node in block.nodes:
        node.operands = [replaced.get(v, v) for v in node.operands]
        if node.op.name not in ("rule_input", "rule_result"):
            kept.append(node)
            for inner in node.blocks:
                _drop_marks(inner, replaced)
            continue
        for result, value in zip(node.results, node.operands, strict=False):
            if node.op.name == "rule_result" and value.node is not None and value.node.op.name != "const":
                value.name = result.name or value.name
            replaced[result] = value
    block.nodes = kept
    block.yields = [replaced.get(v, v) for v in block.yields]
