"""Algebra that is true for every number, and structure that is decided: constants, dead branches, double views.

    %a = neg(%x)
    %b = sub(%y, %a)
    %c = mul(%b, 1.0)
    ->
    %c = add(%y, %x)

Each row says for which numbers it holds; where it says nothing it holds for every float, NaN, inf and -0.0 included.
So `x + 0.0` stays (-0.0 + 0.0 is 0.0) and so does `x * 0.0`. Whatever becomes unused is left to `dce`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from gradc.ir.interp import run_op
from gradc.ir.nodes import Block, Func, Node, Value
from gradc.ir.opdef import TABLE
from gradc.ir.region import FULL
from gradc.ir.types import Array, Scalar, is_bool, is_inexact, is_integer
from gradc.passes.rewrite import (
    Rewriter,
    Row,
    RowTable,
    apply_rows,
    const_of,
    copy_or_alias,
    integers,
    number_of_type,
)


def _op(name: str) -> Callable[..., Any]:
    return lambda *operands: TABLE[name](*operands)


def _shift(x: Value, by: Any) -> Value:
    """x + by with a constant that is not negative."""
    shifted: Value = x - (-by) if by < 0 else x + by
    return shifted


def _numbers(node: Node) -> bool:
    """Operands are real or complex numbers, not booleans (on which add is `or` and mul is `and`)."""
    return all(is_inexact(v.ty) or is_integer(v.ty) for v in node.operands)


def _uniform(node: Node) -> bool:
    """Floats, or integers of one dtype (of which a narrow one could wrap where a wide one does not)."""
    if all(is_inexact(v.ty) for v in node.operands):
        return True
    return integers(node) and len({v.dtype for v in (*node.operands, *node.results)}) == 1


def _inner_product(mul_: Node, rewriter: Rewriter) -> bool:
    return is_inexact(mul_.result.ty) and rewriter.used_once(mul_.result)


def _inner_negative(c: Any, mul_: Node, rewriter: Rewriter) -> bool:
    return not isinstance(c, complex | np.complexfloating) and c < 0 and _inner_product(mul_, rewriter)


def _booleans(node: Node) -> bool:
    return all(is_bool(v.ty) for v in (*node.operands, *node.results))


_MODULAR = "integers (arithmetic modulo 2**64)"
_SIGNED = "true for every float: the sign is a bit of its own, and rounding is symmetric"

ROWS: tuple[Row, ...] = (
    # Neutral elements.
    Row("let(x)", lambda x: x),
    Row("mul(x, 1)", lambda x: x, _numbers),
    Row("div(x, 1)", lambda x: x),
    Row("sub(x, 0)", lambda x: x, why="0 is +0.0: -0.0 - 0.0 is -0.0"),
    Row("add(x, -0.0)", lambda x: x),
    Row("pow(x, 1)", lambda x: x),
    Row("add(x, 0)", lambda x: x, integers, _MODULAR),
    Row("mul(x, 0)", lambda: 0, integers, _MODULAR),
    Row("floordiv(x, 1)", lambda x: x, integers, _MODULAR),
    Row("mod(x, 1)", lambda: 0, integers, _MODULAR),
    # Signs.
    Row("neg(neg(x))", lambda x: x, why=_SIGNED),
    Row("mul(x, -1)", lambda x: -x, _numbers, why=_SIGNED),
    Row("div(x, -1)", lambda x: -x, why=_SIGNED),
    Row("sub(x, neg(y))", lambda x, y: x + y, _uniform, _SIGNED),
    Row("add(x, neg(y))", lambda x, y: x - y, _uniform, _SIGNED),
    Row("mul(neg(x), neg(y))", lambda x, y: x * y, _uniform, _SIGNED),
    Row("div(neg(x), neg(y))", lambda x, y: x / y, _uniform, _SIGNED),
    Row("mul(c, neg(x))", lambda c, x: -c * x, _uniform, _SIGNED),
    Row("neg(mul(c, x))", lambda c, x: -c * x, _inner_product, _SIGNED),
    Row("sub(x, mul(c, y))", lambda x, c, y: x + -c * y, _inner_negative, _SIGNED),
    Row("add(x, mul(c, y))", lambda x, c, y: x - -c * y, _inner_negative, _SIGNED),
    Row("abs(neg(x))", lambda x: _op("abs")(x)),
    Row("abs(abs(x))", lambda x: _op("abs")(x)),
    Row("square(neg(x))", lambda x: _op("square")(x)),
    Row("square(abs(x))", lambda x: _op("square")(x), lambda x: not _is_complex(x), "real numbers"),
    Row("cos(neg(x))", lambda x: _op("cos")(x)),
    Row("cosh(neg(x))", lambda x: _op("cosh")(x)),
    Row("neg(sub(x, y))", lambda x, y: y - x, integers, _MODULAR),
    Row("sub(0, x)", lambda x: -x, integers, _MODULAR),
    # Index arithmetic.
    Row("sub(x, x)", lambda: 0, integers, _MODULAR),
    Row("add(add(x, c), d)", lambda x, c, d: _shift(x, c + d), integers, _MODULAR),
    Row("add(sub(x, c), d)", lambda x, c, d: _shift(x, d - c), integers, _MODULAR),
    Row("sub(add(x, c), d)", lambda x, c, d: _shift(x, c - d), integers, _MODULAR),
    Row("sub(sub(x, c), d)", lambda x, c, d: _shift(x, -c - d), integers, _MODULAR),
    Row("add(sub(c, x), d)", lambda x, c, d: (c + d) - x, integers, _MODULAR),
    Row("sub(sub(c, x), d)", lambda x, c, d: (c - d) - x, integers, _MODULAR),
    Row("sub(c, sub(d, x))", lambda x, c, d: _shift(x, c - d), integers, _MODULAR),
    Row("sub(c, add(x, d))", lambda x, c, d: (c - d) - x, integers, _MODULAR),
    Row("sub(c, sub(x, d))", lambda x, c, d: (c + d) - x, integers, _MODULAR),
    Row("mul(mul(x, c), d)", lambda x, c, d: x * (c * d), integers, _MODULAR),
    Row("sub(add(x, y), y)", lambda x: x, integers, _MODULAR),
    Row("add(sub(x, y), y)", lambda x: x, integers, _MODULAR),
    Row("sub(x, sub(x, y))", lambda y: y, integers, _MODULAR),
    Row("sub(x, add(x, y))", lambda y: -y, integers, _MODULAR),
    Row("sub(sub(x, y), x)", lambda y: -y, integers, _MODULAR),
    Row("add(x, c)", lambda x, c: x - -c, lambda node, c: integers(node) and c < 0, _MODULAR),
    Row("sub(x, c)", lambda x, c: x + -c, lambda node, c: integers(node) and c < 0, _MODULAR),
    # Comparisons and booleans.
    Row("eq(x, x)", lambda: True, lambda x: is_integer(x.ty) or is_bool(x.ty), "not floats: NaN != NaN"),
    Row("le(x, x)", lambda: True, lambda x: is_integer(x.ty), "not floats: NaN"),
    Row("ge(x, x)", lambda: True, lambda x: is_integer(x.ty), "not floats: NaN"),
    Row("ne(x, x)", lambda: False, lambda x: is_integer(x.ty) or is_bool(x.ty), "not floats: NaN != NaN"),
    Row("lt(x, x)", lambda: False),
    Row("gt(x, x)", lambda: False),
    Row("logical_not(logical_not(x))", lambda x: x, lambda x: is_bool(x.ty)),
    Row("logical_not(lt(x, y))", lambda x, y: _op("ge")(x, y), lambda lt_: _ordered(lt_), "not floats: NaN"),
    Row("logical_not(le(x, y))", lambda x, y: _op("gt")(x, y), lambda le_: _ordered(le_), "not floats: NaN"),
    Row("logical_not(gt(x, y))", lambda x, y: _op("le")(x, y), lambda gt_: _ordered(gt_), "not floats: NaN"),
    Row("logical_not(ge(x, y))", lambda x, y: _op("lt")(x, y), lambda ge_: _ordered(ge_), "not floats: NaN"),
    Row("logical_not(eq(x, y))", lambda x, y: _op("ne")(x, y)),
    Row("logical_not(ne(x, y))", lambda x, y: _op("eq")(x, y)),
    Row("logical_and(x, True)", lambda x: x, _booleans),
    Row("logical_and(x, False)", lambda: False, _booleans),
    Row("logical_or(x, False)", lambda x: x, _booleans),
    Row("logical_or(x, True)", lambda: True, _booleans),
    Row("logical_and(x, x)", lambda x: x, _booleans),
    Row("logical_or(x, x)", lambda x: x, _booleans),
    # Choices.
    Row("where(True, x, y)", lambda x, node, rewriter: _chosen(x, node, rewriter)),
    Row("where(False, x, y)", lambda y, node, rewriter: _chosen(y, node, rewriter)),
    Row("where(b, x, x)", lambda x: x),
    Row("where(logical_not(b), x, y)", lambda b, x, y: _op("where")(b, y, x), lambda b: is_bool(b.ty)),
    Row("select_ref(True, x, y)", lambda x: x),
    Row("select_ref(False, x, y)", lambda y: y),
    Row("select_ref(b, x, x)", lambda x: x),
    Row("maximum(x, x)", lambda x: x),
    Row("minimum(x, x)", lambda x: x),
)


def _chosen(x: Value, node: Node, rewriter: Rewriter) -> Value:
    ty = node.result.ty
    return rewriter.retype(x, ty) if isinstance(ty, Scalar) and isinstance(x.ty, Scalar) else x


def _is_complex(x: Value) -> bool:
    return np.dtype(x.dtype).kind == "c"


def _ordered(node: Node) -> bool:
    return all(is_integer(v.ty) or is_bool(v.ty) for v in node.operands)


_TABLE = RowTable(ROWS)


def simplify(func: Func) -> Func:
    """`func` with rows, constants and decided control flow applied until nothing changes."""
    rewriter = Rewriter(func, _rule)
    simpler = rewriter.run()
    return simpler if rewriter.changed else func


def _rule(node: Node, rewriter: Rewriter) -> Sequence[Value] | None:
    structural = _STRUCTURE.get(node.op.name)
    if structural is not None:
        values = structural(node, rewriter)
        if values is not None:
            return values
    folded = _fold(node, rewriter)
    if folded is not None:
        return [folded]
    found = apply_rows(_TABLE, node, rewriter)
    return None if found is None else [found[1]]


def _fold(node: Node, rewriter: Rewriter) -> Value | None:
    """A scalar op of constants, computed now; nothing where it raises."""
    if node.op.kind != "elementwise" or node.op.name in ("const", "undef", "stop_gradient") or not node.operands:
        return None
    numbers = [const_of(v) for v in node.operands]
    ty = node.result.ty
    if any(n is None for n in numbers) or not isinstance(ty, Scalar):
        return None
    try:
        with np.errstate(all="ignore"):
            number = number_of_type(ty, run_op(node, numbers))
    except (ArithmeticError, ValueError):
        return None
    value = rewriter.builder.const(number)
    return value if value.ty == ty else None


# ---------------------------------------------------------------------------------------------- structure


def _if(node: Node, rewriter: Rewriter) -> Sequence[Value] | None:
    cond = const_of(node.operands[0])
    then, otherwise = node.blocks
    if cond is not None:
        yields = rewriter.inline(then if cond else otherwise, [])
        return [rewriter.retype(v, r.ty) for v, r in zip(yields, node.results, strict=True)]
    if not then.nodes and not otherwise.nodes:
        chosen = _choose(node, rewriter)
        if chosen is not None:
            return chosen
    for k in reversed(range(len(node.results))):
        if then.yields[k] is otherwise.yields[k] and then.yields[k].ty == node.results[k].ty:
            rewriter.replace(node.results.pop(k), then.yields[k])
            del then.yields[k], otherwise.yields[k]
    return None


def _choose(node: Node, rewriter: Rewriter) -> Sequence[Value] | None:
    """An `if` that only picks among what was there: booleans, and equal values."""
    values: list[Value] = []
    cond = node.operands[0]
    for result, a, b in zip(node.results, node.blocks[0].yields, node.blocks[1].yields, strict=True):
        if a is b and a.ty == result.ty:
            values.append(a)
        elif is_bool(result.ty) and (const_of(a), const_of(b)) == (True, False) and cond.ty == result.ty:
            values.append(cond)
        else:
            return None
    return values


def _for(node: Node, rewriter: Rewriter) -> Sequence[Value] | None:
    start, stop, step = (const_of(v) for v in node.operands[:3])
    initial = node.operands[3:]
    (body,) = node.blocks
    exits = bool(node.attrs.get("exits"))
    trips: int | None = None
    if node.operands[0] is node.operands[1]:
        trips = 0
    elif start is not None and stop is not None and step:
        trips = len(range(int(start), int(stop), int(step)))
    if trips == 0:
        return _unchanged(node, initial, rewriter)
    if trips == 1 and not exits:
        index = rewriter.builder.const(_number(body.params[0], start))
        params = [rewriter.retype(v, p.ty) for v, p in zip([index, *initial], body.params, strict=True)]
        yields = [rewriter.resolve(v) for v in rewriter.inline(body, params)]
        return [rewriter.retype(v, r.ty) for v, r in zip(yields, node.results, strict=True)]
    _drop_invariants(node, rewriter, initial, 3, 1, int(exits))
    return None


def _while(node: Node, rewriter: Rewriter) -> Sequence[Value] | None:
    cond, _ = node.blocks
    go_on = const_of(cond.yields[0])
    if go_on is not None and not go_on:
        return _unchanged(node, node.operands, rewriter)
    _drop_invariants(node, rewriter, node.operands, 0, 0, int(bool(node.attrs.get("exits"))))
    return None


def _number(value: Value, number: Any) -> Any:
    assert isinstance(value.ty, Scalar)
    return number_of_type(value.ty, number)


def _unchanged(node: Node, initial: Sequence[Value], rewriter: Rewriter) -> Sequence[Value]:
    """Results of a loop that does not run: the initial values, and no trips."""
    counts = [rewriter.builder.const(_number(r, 0)) for r in node.results[len(initial) :]]
    return [*(rewriter.retype(v, r.ty) for v, r in zip(initial, node.results, strict=False)), *counts]


def _drop_invariants(
    node: Node, rewriter: Rewriter, initial: Sequence[Value], fixed: int, first: int, exits: int
) -> None:
    """Carried scalars that no iteration changes are what they were before the loop."""
    body = node.blocks[-1]
    for k in reversed(range(len(initial))):
        param = body.params[first + k]
        carried = body.yields[exits + k]
        params = [b.params[k + (first if b is body else 0)] for b in node.blocks]
        same = (*params, node.results[k])
        if (carried is param or carried is initial[k]) and all(v.ty == initial[k].ty for v in same):
            for value in same:
                rewriter.replace(value, initial[k])
            del node.operands[fixed + k], node.results[k], body.yields[exits + k]
            for block in node.blocks:
                del block.params[k + (first if block is body else 0)]
            for block in node.blocks:
                _resolve_all(block, rewriter)


def _resolve_all(block: Block, rewriter: Rewriter) -> None:
    for node in block.nodes:
        node.operands = [rewriter.resolve(v) for v in node.operands]
        for inner in node.blocks:
            _resolve_all(inner, rewriter)
    block.yields = [rewriter.resolve(v) for v in block.yields]


# ---------------------------------------------------------------------------------- casts, sizes and views


def _cast(node: Node, rewriter: Rewriter) -> Sequence[Value] | None:
    (x,) = node.operands
    existing = copy_or_alias(node.result, x, rewriter)
    if existing is not None:
        return [existing]
    inner = x.node
    if inner is None or inner.op.name != "cast" or not rewriter.is_stable(x):
        return None
    (source,) = inner.operands
    if not _holds_exactly(source.dtype, x.dtype) or not rewriter.is_stable(source):
        return None
    value = rewriter.builder.add(TABLE["cast"], (source,), dict(node.attrs))
    return [value] if value.ty == node.result.ty else None


def _holds_exactly(dtype: str, wider: str) -> bool:
    """Whether every number of `dtype` is one of `wider`, so that a cast there and back loses nothing."""
    a, b = np.dtype(dtype), np.dtype(wider)
    return a.kind == "b" or a == b or (a.kind == b.kind and a.itemsize <= b.itemsize)


def _let(node: Node, rewriter: Rewriter) -> Sequence[Value] | None:
    """A second name is for the reader; where there is none, nothing is left of it."""
    (x,) = node.operands
    if node.result.name and node.result.name != x.name:
        return None
    return [x] if rewriter.same_type(node.result, x, is_new=False) else None


def _copy(node: Node, rewriter: Rewriter) -> Sequence[Value] | None:
    existing = copy_or_alias(node.result, node.operands[0], rewriter)
    return None if existing is None else [existing]


def _dim(node: Node, rewriter: Rewriter) -> Sequence[Value] | None:
    """A literal size, or the size of a parameter that is known to be the same."""
    x = node.operands[0]
    size = x.shape[node.attrs["axis"]]
    if isinstance(size, int):
        return [rewriter.builder.const(_number(node.result, size))]
    if x.node is None:
        return None
    for param in rewriter.func.params:
        if isinstance(param.ty, Array) and size in param.ty.shape:
            return [rewriter.builder.emit("dim", (param,), axis=param.ty.shape.index(size))]
    return None


def _transpose(node: Node, rewriter: Rewriter) -> Sequence[Value] | None:
    (x,) = node.operands
    perm = tuple(node.attrs["perm"])
    if perm == tuple(range(len(perm))) and rewriter.same_type(node.result, x, is_new=False):
        return [x]
    if x.node is None or x.node.op is not node.op:
        return None
    inner = x.node.attrs["perm"]
    return [rewriter.builder.emit("transpose", (x.node.operands[0],), perm=tuple(inner[k] for k in perm))]


def _reshape(node: Node, rewriter: Rewriter) -> Sequence[Value] | None:
    x, *sizes = node.operands
    if rewriter.same_type(node.result, x, is_new=False):
        return [x]
    if x.node is None or x.node.op is not node.op:
        return None
    return [rewriter.builder.add(node.op, (x.node.operands[0], *sizes), dict(node.attrs))]


def _index(node: Node, rewriter: Rewriter) -> Sequence[Value] | None:
    x = node.operands[0]
    whole = all(entry == FULL for entry in node.attrs["region"])
    return [x] if whole and rewriter.same_type(node.result, x, is_new=False) else None


_STRUCTURE: dict[str, Callable[[Node, Rewriter], Sequence[Value] | None]] = {
    "if": _if,
    "for": _for,
    "while": _while,
    "cast": _cast,
    "copy": _copy,
    "dim": _dim,
    "transpose": _transpose,
    "let": _let,
    "reshape": _reshape,
    "index": _index,
}
