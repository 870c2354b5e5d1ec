"""Applying the derivative rules of op entries, and finding out what a rule reads.

y = mul(x1, x2)        contributions(ct): [mul(ct, x2), mul(ct, x1)]; reads the content of x1 and x2
y = tanh(x)            contributions(ct): [mul(ct, 1 - y*y)];         reads y
y = add(x1, x2)        contributions(ct): [ct, ct];                   reads nothing
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from gradc.errors import NonDifferentiableError
from gradc.ir.builder import Builder, new_func
from gradc.ir.effects import own_write, roots
from gradc.ir.nodes import Node, Value, used_values
from gradc.ir.opdef import TABLE
from gradc.ir.types import Array, Type, is_complex
from gradc.ops.rules import constant_of


def has_rule(node: Node) -> bool:
    """Whether the op of `node` can be differentiated in reverse."""
    return node.op.partials is not None or node.op.vjp is not None


def contributions(
    node: Node,
    ct: Value | tuple[Value | None, ...],
    results: Sequence[Value],
    operands: Sequence[Value],
    wanted: Sequence[bool],
    guarded: bool,
    builder: Builder,
) -> list[Value | None]:
    """What `ct`, the cotangent of the node's result, contributes to each wanted operand: built with `builder`.

    A contribution has the operand's shape, or broadcasts with it (the caller undoes broadcasting). `guarded`: the
    result may be on the side of a `where` that is not taken, so a cotangent that is exactly 0 stays 0 whatever the
    partial is. Raises: NonDifferentiableError where the op has no rule.
    """
    op = node.op
    refuse_fixed(node, wanted)
    if not has_rule(node):
        raise NonDifferentiableError(
            f"`{op.name}` has no derivative",
            node.loc,
            "its result depends on a differentiated argument and reaches the output",
            "gradc.stop_gradient(...) around it, if its derivative is to count as zero",
        )
    if op.vjp is not None:
        try:
            given = op.vjp(ct, results[0] if len(results) == 1 else tuple(results), *operands, **node.attrs)
        except NonDifferentiableError as error:
            raise type(error)(error.what, node.loc, error.why, error.hint) from None
        return [c if w else None for c, w in zip(given, wanted, strict=True)]
    assert isinstance(ct, Value) and op.partials is not None
    partials = op.partials(results[0], *operands, **node.attrs)
    strong = guarded or op.is_singular(operands)
    return [times(ct, p, strong, builder) if w else None for p, w in zip(partials, wanted, strict=True)]


def times(derivative: Value, partial: Any, strong: bool, builder: Builder) -> Value | None:
    """A tangent or cotangent times a partial: None where that is 0.

    `strong`: a derivative that is exactly 0 stays 0 whatever the partial is.
    """
    if partial is None or (isinstance(partial, int | float) and partial == 0):
        return None
    if isinstance(partial, int | float):
        scaled: Value = derivative if partial == 1 else -derivative if partial == -1 else derivative * partial
        return scaled
    if partial.dtype == "bool":
        # A choice, not a factor: an infinite derivative on the side not taken is 0 too.
        return builder.emit("where", (partial, derivative, 0.0))
    number = constant_of(partial)
    if strong and (number is None or not np.isfinite(number)):
        return builder.emit("strong_mul", (derivative, partial))
    product: Value = derivative * partial
    return product


def refuse_fixed(node: Node, wanted: Sequence[bool]) -> None:
    """Raises: NonDifferentiableError where a wanted operand is one in which the op has no derivative rule."""
    if not node.op.fixed:
        return
    for name, want in zip(node.op.operands, wanted, strict=True):
        if want and name in node.op.fixed:
            raise NonDifferentiableError(
                f"`{node.op.name}` has no derivative in `{name}`",
                node.loc,
                f"`{name}` depends on a differentiated argument; a rule is known for the other operands only.",
                f"gradc.stop_gradient(...) around `{name}`, if it is to count as constant.",
            )


def read_by_rule(node: Node, wanted: Sequence[bool], guarded: bool) -> tuple[frozenset[int], frozenset[int]]:
    """Positions of the operands, and of the results, whose content the rule of `node` reads.

    Found by building the rule on placeholders and looking at what its contributions use.
    """
    func = new_func("rule", [])

    def stand_in(value: Value) -> Value:
        # A constant stands for itself: a rule may look at it.
        if value.node is not None and value.node.op.name == "const":
            return value
        ty = value.ty
        return Value(ty, value.name, value.node if _is_constant_like(value) else None, value.size)

    with Builder(func, checks=False) as builder:
        operands = [stand_in(v) for v in node.operands]
        results = [Value(r.ty, r.name) for r in node.results]
        cts = tuple(Value(_ct_type(r.ty), "ct") for r in node.results)
        made = contributions(node, cts[0] if len(cts) == 1 else cts, results, operands, wanted, guarded, builder)
    live = {c for c in made if c is not None}
    given = {*operands, *results}
    for inner in reversed(func.body.nodes):
        if is_live(inner, live):
            # The size of a placeholder can be had without its content.
            live.update(v for v in used_values(inner) if inner.op.kind != "query" or v not in given)
    return (
        frozenset(k for k, v in enumerate(operands) if v in live),
        frozenset(k for k, v in enumerate(results) if v in live),
    )


def is_live(node: Node, live: set[Value]) -> bool:
    """Whether a node of a rule gives one of the `live` values, writes into one, or may raise."""
    if node.op.kind == "check" or any(r in live for r in node.results):
        return True
    target = own_write(node)
    if target is not None and any(root in live for root in roots(target)):
        return True
    return any(is_live(inner, live) for block in node.blocks for inner in block.nodes)


def _is_constant_like(value: Value) -> bool:
    """Whether rules may recognise the value as a constant through a cast or broadcast."""
    node = value.node
    while node is not None and node.op.name in ("cast", "broadcast_to", "const"):
        if node.op.name == "const":
            return True
        node = node.operands[0].node
    return False


def _ct_type(ty: Type) -> Type:
    return Array(ty.dtype, ty.shape) if isinstance(ty, Array) else ty


def unbroadcast(ct: Value, to: Value, builder: Builder) -> Value:
    """Sum `ct` down to the shape of `to`, undoing NumPy broadcasting; cast it to the dtype of `to`.

    Shapes: ct (*lead, *S) where the shape of `to` broadcasts to S; a ct of lower rank or with size-1 axes is left
    for whoever accumulates it to broadcast. Source: the transpose of broadcasting is summation.
    """
    ct = real_like(ct, to, builder)
    shape = to.shape
    lead = ct.rank - len(shape)
    axes = list(range(lead)) if lead > 0 else []
    for axis in range(len(shape)):
        own = axis + lead
        if own >= 0 and shape[axis] == 1 and ct.shape[own] != 1:
            axes.append(own)
    if axes:
        ct = (
            builder.emit("sum", (ct,), axes=tuple(a for a in axes if a >= lead), keepdims=True)
            if any(a >= lead for a in axes)
            else ct
        )
        if lead > 0:
            ct = builder.emit("sum", (ct,), axes=tuple(range(lead)), keepdims=False)
    return cast_like(ct, to, builder)


def real_like(ct: Value, to: Value, builder: Builder) -> Value:
    """The real part of a complex `ct` where `to` is real.

    A real value moves along the real axis only, and cotangents pair with tangents as Re(ct * tangent).
    """
    if is_complex(ct.ty) and not is_complex(to.ty):
        return builder.emit("real", (ct,))
    return ct


def cast_like(ct: Value, to: Value, builder: Builder) -> Value:
    """`ct` with the dtype of `to` (and weak where `to` is), if it has another; of complex numbers the real part."""
    ct = real_like(ct, to, builder)
    weak = bool(getattr(to.ty, "weak", False)) and not isinstance(ct.ty, Array)
    if ct.dtype == to.dtype and weak == bool(getattr(ct.ty, "weak", False)):
        return ct
    if isinstance(ct.ty, Array) and ct.dtype == to.dtype:
        return ct
    return builder.add(TABLE["cast"], (ct,), {"dtype": to.dtype, "weak": weak})
