"""Rewrites of a copy of a function that change how it reads and never what it computes.

    zeros(dim(x, 0), dim(x, 1))       zeros_like(x)           where x has that very shape and is dense
    dnum = mul(1.0, invden)           dnum = let(invden)      prints `dnum = invden`
    add(a, neg(b))                    sub(a, b)
    i = mul(t, -1.0)                  neg(t)
    index(index(A, [i]), [1:])        index(A, [i, 1:])
    mul(dy, sub(1, mul(y, y)))        mul(sub(1, mul(y, y)), dy)     the partial first, in the reverse sweep

Sizes and constants that nobody uses any more are dropped at the end.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from gradc.ir.effects import has_effect
from gradc.ir.nodes import Block, Func, Node, Value, clone_func, walk_blocks, walk_nodes
from gradc.ir.opdef import TABLE, OpDef
from gradc.ir.region import FULL, Arg, At, NewAxis, Region, Span
from gradc.ir.types import Array, Scalar

# Operations of the emitted text only; they are not in the table.
LET = OpDef("let", "elementwise", ("x",), emit="{x}", doc="Another name for a value.")
ZEROS_LIKE = OpDef("zeros_like", "fresh", ("x",), reads=(), doc="np.zeros_like(x).")
EMPTY_LIKE = OpDef("empty_like", "fresh", ("x",), reads=(), doc="np.empty_like(x).")
FULL_LIKE = OpDef("full_like", "fresh", ("x", "value"), reads=(), doc="np.full_like(x, value).")


def prepare(func: Func) -> Func:
    """A copy of `func` to print: rewritten, and without values that nobody uses."""
    copy = clone_func(func)
    _rewrite(copy)
    _merge_views(copy)
    _write_like(copy)
    _keep_exit_flags(copy)
    _drop_unused(copy)
    return copy


def _constant(value: Value) -> Any:
    node = value.node
    return node.attrs["value"] if node is not None and node.op.name == "const" else None


def _is_partial(value: Value, uses: dict[int, int]) -> bool:
    """Whether a value is a local derivative that is printed where it is multiplied by the cotangent."""
    node = value.node
    return (
        node is not None and node.loc.reverse and not value.name and node.op.kind == "elementwise" and bool(node.operands)
        and uses.get(id(value)) == 1
    )  # fmt: skip


def _is_one(value: Value, like: Value) -> bool:
    """Whether multiplying `like` by this value gives `like` in every bit and in dtype."""
    return _is_number(value, 1) and isinstance(value.ty, Scalar) and (value.ty.weak or value.dtype == like.dtype)


def _is_number(value: Value, number: int) -> bool:
    known = _constant(value)
    return known is not None and not isinstance(known, bool | np.bool_) and bool(known == number)


def _rewrite(func: Func) -> None:
    uses = _use_counts(func)
    for node in walk_nodes(func.body):
        name, operands = node.op.name, node.operands
        if name == "mul":
            for one, other in ((operands[0], operands[1]), (operands[1], operands[0])):
                if _is_one(one, other) and node.result.ty == other.ty:
                    node.op, node.operands = LET, [other]
                    break
                if _is_number(one, -1) and node.result.ty == other.ty:
                    node.op, node.operands = TABLE["neg"], [other]
                    break
        if name == "mul" and node.op is not LET and node.loc.reverse and _is_partial(node.operands[1], uses):
            if not _is_partial(node.operands[0], uses):
                node.operands = [node.operands[1], node.operands[0]]
        if name in ("add", "sub"):
            inner = operands[1].node
            if inner is not None and inner.op.name == "neg" and not operands[1].name and uses.get(id(operands[1])) == 1:
                node.op, node.operands = TABLE["sub" if name == "add" else "add"], [operands[0], inner.operands[0]]
            known = _constant(operands[1])
            if known is not None and not isinstance(known, complex | np.generic) and known < 0 and not operands[1].name:
                const = Node(TABLE["const"], [], [], {"value": -known}, [], node.loc)
                const.results = [Value(operands[1].ty, "", const)]
                _insert_before(func, node, const)
                node.op, node.operands = TABLE["sub" if name == "add" else "add"], [operands[0], const.results[0]]
    _inline_nameless_lets(func)


def _inline_nameless_lets(func: Func) -> None:
    """A `let` without a name is the value itself."""
    mapping: dict[int, Value] = {}
    for node in walk_nodes(func.body):
        if node.op is LET and not node.result.name:
            mapping[id(node.result)] = node.operands[0]
    if not mapping:
        return

    def resolve(value: Value) -> Value:
        while id(value) in mapping:
            value = mapping[id(value)]
        return value

    for block in walk_blocks(func.body):
        block.nodes = [n for n in block.nodes if not (n.op is LET and not n.result.name)]
        for node in block.nodes:
            node.operands = [resolve(v) for v in node.operands]
        block.yields = [resolve(v) for v in block.yields]


def _use_counts(func: Func) -> dict[int, int]:
    counts: dict[int, int] = {}
    for block in walk_blocks(func.body):
        for value in block.yields:
            counts[id(value)] = counts.get(id(value), 0) + 1
        for node in block.nodes:
            for value in node.operands:
                counts[id(value)] = counts.get(id(value), 0) + 1
    return counts


def _insert_before(func: Func, node: Node, new: Node) -> None:
    for block in walk_blocks(func.body):
        for position, other in enumerate(block.nodes):
            if other is node:
                block.nodes.insert(position, new)
                return


# -------------------------------------------------------------------------------------------------- views


def _merge_views(func: Func) -> None:
    """`A[i][1:]` becomes `A[i, 1:]` where the first index only takes single positions and whole axes."""
    for node in walk_nodes(func.body):
        if node.op.name not in ("index", "load", "store_at", "accumulate_at"):
            continue
        first = 2 if node.op.kind == "write" else 1
        while True:
            inner = node.operands[0].node
            if inner is None or inner.op.name != "index" or node.operands[0].name:
                break
            merged = _merge_regions(inner.attrs["region"], node.attrs["region"], len(inner.operands) - 1)
            if merged is None:
                break
            node.attrs["region"] = merged
            node.operands = [inner.operands[0], *node.operands[1:first], *inner.operands[1:], *node.operands[first:]]


def _merge_regions(inner: Region, outer: Region, shift: int) -> Region | None:
    """The region of `x[inner][outer]`; the operands of `outer` come `shift` later. None where it takes two steps."""
    if any(isinstance(e, NewAxis) for e in (*inner, *outer)):
        return None

    def moved(bound: Any) -> Any:
        return Arg(bound.k + shift) if isinstance(bound, Arg) else bound

    rest = list(outer)
    merged: list[Any] = []
    for entry in inner:
        if isinstance(entry, At):
            merged.append(entry)
            continue
        follow = rest.pop(0) if rest else FULL
        if follow == FULL:
            merged.append(entry)
        elif entry == FULL and isinstance(follow, At):
            merged.append(At(moved(follow.position)))
        elif entry == FULL and isinstance(follow, Span):
            merged.append(Span(moved(follow.start), moved(follow.stop), moved(follow.step)))
        else:
            return None
    for entry in rest:
        if isinstance(entry, At):
            merged.append(At(moved(entry.position)))
        elif isinstance(entry, Span):
            merged.append(Span(moved(entry.start), moved(entry.stop), moved(entry.step)))
        else:
            return None
    return tuple(merged)


# ------------------------------------------------------------------------------------------- allocations


def _write_like(func: Func) -> None:
    """`np.zeros((x.shape[0], x.shape[1]))` becomes `np.zeros_like(x)`, if x is of that shape for sure.

    An array of layout C is chosen, because `zeros_like` keeps the order of the elements in memory.
    """
    _write_like_in(func.body, [v for v in func.params if _is_dense(v)])


def _is_dense(value: Value) -> bool:
    return isinstance(value.ty, Array) and value.ty.layout == "C" and bool(value.ty.shape)


def _write_like_in(block: Block, scope: list[Value]) -> None:
    scope = list(scope)
    for node in block.nodes:
        for inner in node.blocks:
            _write_like_in(inner, scope)
        name = node.op.name
        if name in ("zeros", "empty", "broadcast_to"):
            first = 1 if name == "broadcast_to" else 0
            if first and isinstance(node.operands[0].ty, Array):
                continue
            like = _find_like(node, scope, node.operands[first:])
            if like is not None:
                node.op = {"zeros": ZEROS_LIKE, "empty": EMPTY_LIKE, "broadcast_to": FULL_LIKE}[name]
                node.operands = [like, *node.operands[:first]]
        for result in node.results:
            if _is_dense(result) and result.name and node.op.kind != "view":
                scope.append(result)


def _find_like(node: Node, scope: list[Value], sizes: list[Value]) -> Value | None:
    ty = node.result.ty
    assert isinstance(ty, Array)
    matches = [v for v in scope if isinstance(v.ty, Array) and v.ty.dtype == ty.dtype and v.ty.shape == ty.shape]
    if not matches or not any(not isinstance(s, int) for s in ty.shape):
        return None
    wanted = node.result.name
    for value in matches:
        if wanted and wanted == "d" + value.name:
            return value
    # Else the array whose own sizes the program asks for.
    asked = {id(s.node.operands[0]) for s in sizes if s.node is not None and s.node.op.name == "dim"}
    for value in matches:
        if id(value) in asked and len(ty.shape) == len([s for s in ty.shape if not isinstance(s, int)]):
            return value
    return None


# --------------------------------------------------------------------------------------------- loops, rest


def _keep_exit_flags(func: Func) -> None:
    """An exit flag that is itself carried is read before the carried values move on."""
    for node in walk_nodes(func.body):
        if not node.attrs.get("exits"):
            continue
        body = node.blocks[-1]
        flag = body.yields[0]
        if flag in body.params:
            let = Node(LET, [flag], [], {}, [], node.loc)
            let.results = [Value(flag.ty, "stop", let)]
            body.nodes.append(let)
            body.yields[0] = let.results[0]


def _drop_unused(func: Func) -> None:
    while True:
        counts = _use_counts(func)
        dropped = False
        for block in walk_blocks(func.body):
            kept = [n for n in block.nodes if _is_needed(n, counts)]
            dropped = dropped or len(kept) != len(block.nodes)
            block.nodes = kept
        if not dropped:
            return


def _is_needed(node: Node, counts: dict[int, int]) -> bool:
    if node.op.name == "stack_new" or not has_effect(node):
        return any(id(r) in counts for r in node.results)
    return True
