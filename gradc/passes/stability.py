"""Formulas that overflow, cancel or have no derivative where they are naive, in their stable form.

    %a = neg(%x)
    %e = exp(%a)
    %d = add(1, %e)              ->      %y = sigmoid(%x)
    %y = div(1, %d)

Each row is the same function of real numbers; results differ in rounding, and where the naive form overflows or loses
its digits. `stability(func, off=("log1p",))` leaves rows out by name; `func.notes["rewrites"]` lists what was done.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Any

import numpy as np

from gradc.ir.nodes import Func, Node, Value
from gradc.ir.opdef import TABLE
from gradc.ir.region import FULL, NEWAXIS
from gradc.ir.types import Array, is_complex, is_float
from gradc.ops.memory import make_index
from gradc.passes.rewrite import Rewriter, Row, RowTable, apply_rows, const_of


def _op(name: str) -> Callable[..., Any]:
    return lambda *operands, **attrs: TABLE[name](*operands, **attrs)


_sigmoid, _exp, _log = _op("sigmoid"), _op("exp"), _op("log")


def _real(node: Node) -> bool:
    """Floating-point numbers, not complex ones."""
    return all(is_float(v.ty) for v in node.results)


def _used_here_only(node: Node, sigmoid_: Node, rewriter: Rewriter) -> bool:
    return _real(node) and rewriter.used_once(sigmoid_.result)


# ------------------------------------------------------------------------------- sums of exponentials


def _is_shifted(x: Value) -> bool:
    """Whether the user has taken a maximum away from x, so that its exponential does not overflow."""
    node = x.node
    if node is None or node.op.name != "sub":
        return False
    waiting, seen = [node.operands[1]], 0
    while waiting and seen < 20:
        maker = waiting.pop().node
        seen += 1
        if maker is None:
            continue
        if maker.op.name == "max":
            return True
        if maker.op.kind == "view" or maker.op.name in (
            "stop_gradient",
            "where",
            "broadcast_to",
            "cast",
            "let",
            "copy",
        ):
            waiting.extend(maker.operands)
    return False


def _shift(x: Value, axes: tuple[int, ...]) -> tuple[Value, Value]:
    """x less its maximum over axes (0 where that is not finite), and the maximum without these axes."""
    # The shift cancels in the result, so it is a constant to derivatives; x - inf would be NaN.
    assert isinstance(x.ty, Array)
    top = _op("stop_gradient")(_op("max")(x, axes=axes, keepdims=False))
    top = _op("where")(_op("isfinite")(top), top, 0.0)
    if not isinstance(top.ty, Array):
        return x - top, top
    kept = tuple(NEWAXIS if axis in axes else FULL for axis in range(x.rank))
    return x - make_index(top, kept), top


def _log_of_total(x: Value, total: Node) -> Value:
    """log(sum(exp(x))), or of the mean, with the maximum taken out."""
    axes = total.attrs["axes"]
    moved, top = _shift(x, axes)
    result: Value = _log(_op(total.op.name)(_exp(moved), axes=axes, keepdims=False)) + top
    if not total.attrs["keepdims"]:
        return result
    if not isinstance(result.ty, Array):
        raise TypeError("a total that keeps its axes is an array")
    return make_index(result, tuple(NEWAXIS if axis in axes else FULL for axis in range(x.rank)))


def _may_shift(x: Value, node: Node, total: Node, rewriter: Rewriter) -> bool:
    reduces_all = isinstance(x.ty, Array) and len(total.attrs["axes"]) == x.rank
    return (
        _real(node)
        and isinstance(x.ty, Array)
        and is_float(x.ty)
        and bool(total.attrs["axes"])
        and not (reduces_all and total.attrs["keepdims"])
        and not _is_shifted(x)
        and rewriter.same_block(node, total)
    )


def _softmax_total(x: Value, y: Value, rewriter: Rewriter) -> Node | None:
    """The node sum(exp(x)) that y is, perhaps with its axes put back as size 1."""
    node = y.node
    if node is not None and node.op.name == "index" and all(e in (FULL, NEWAXIS) for e in node.attrs["region"]):
        node = node.operands[0].node
    if node is None or node.op.name != "sum" or not isinstance(x.ty, Array):
        return None
    terms = node.operands[0].node
    if terms is None or terms.op.name != "exp" or terms.operands[0] is not x:
        return None
    if not all(rewriter.is_stable(v) for v in (y, node.operands[0], x, *node.results)):
        return None
    axes = node.attrs["axes"]
    wanted = () if len(axes) == x.rank else tuple(1 if k in axes else s for k, s in enumerate(x.ty.shape))
    return node if y.shape == wanted or y.shape == (1,) * x.rank else None


def _log_softmax(x: Value, y: Value, rewriter: Rewriter) -> Value:
    total = _softmax_total(x, y, rewriter)
    assert total is not None
    axes = total.attrs["axes"]
    moved = x if _is_shifted(x) else _shift(x, axes)[0]
    result: Value = moved - _log(_op("sum")(_exp(moved), axes=axes, keepdims=len(axes) < x.rank))
    return result


def _is_softmax(x: Value, y: Value, node: Node, rewriter: Rewriter) -> bool:
    total = _softmax_total(x, y, rewriter)
    return total is not None and _real(node) and rewriter.same_block(node, total)


def _is_picked_softmax(x: Value, y: Value, node: Node, gather_: Node, rewriter: Rewriter) -> bool:
    return _is_softmax(x, y, node, rewriter) and all(rewriter.is_stable(v) for v in gather_.operands[1:])


def _picked(x: Value, y: Value, gather_: Node, rewriter: Rewriter) -> Value:
    made: Value = _op("gather")(_log_softmax(x, y, rewriter), *gather_.operands[1:], **gather_.attrs)
    return made


# --------------------------------------------------------------------------------------------- squares


def _is_square_sum(x: Value, rewriter: Rewriter, depth: int = 6) -> bool:
    """Whether x is a sum of squares of real numbers: flat where it is 0."""
    node = x.node
    if node is None or depth == 0 or not is_float(x.ty) or not rewriter.is_stable(x):
        return False
    operands = node.operands
    match node.op.name:
        case "square":
            return True
        case "mul" if operands[0] is operands[1]:
            return True
        case "mul" | "div":
            return any(_is_positive(v) and _is_square_sum(operands[1 - k], rewriter, depth - 1)
                       for k, v in enumerate(operands) if node.op.name == "mul" or k == 1)  # fmt: skip
        case "pow":
            return bool(const_of(operands[1]) == 2)
        case "matmul":
            return operands[0] is operands[1] and operands[0].rank == 1
        case "add":
            return all(_is_square_sum(v, rewriter, depth - 1) for v in operands)
        case "sum" | "mean" | "let" | "index" | "load" | "cast":
            return _is_square_sum(operands[0], rewriter, depth - 1)
    return False


def _is_positive(x: Value) -> bool:
    number = const_of(x)
    if number is not None:
        return not isinstance(number, complex | np.complexfloating) and bool(number > 0)
    return x.node is not None and x.node.op.name == "dim"


def _is_of_complex(x: Value) -> bool:
    return is_complex(x.ty)


# ------------------------------------------------------------------------------------------------ rows

_OVERFLOW = "exp(x) overflows for x > 709"
_UNDERFLOW = "log(0) where a share is below 1e-308"

ROWS: tuple[Row, ...] = (
    Row("div(1, add(1, exp(neg(x))))", lambda x: _sigmoid(x), _real, "exp(-x) overflows for x < -709", "sigmoid"),
    Row("reciprocal(add(1, exp(neg(x))))", lambda x: _sigmoid(x), _real, "as above", "sigmoid"),
    Row("div(1, add(1, exp(x)))", lambda x: _sigmoid(-x), _real, "exp(x) overflows for x > 709", "sigmoid"),
    Row("reciprocal(add(1, exp(x)))", lambda x: _sigmoid(-x), _real, "as above", "sigmoid"),
    Row("div(exp(x), add(1, exp(x)))", lambda x: _sigmoid(x), _real, "inf / inf is NaN for x > 709", "sigmoid"),
    # Where the sigmoid is needed as well (its derivative is y * (1 - y)), a second one would cost more than it gives.
    Row("sub(1, sigmoid(x))", lambda x: _sigmoid(-x), _used_here_only, "1 - 1 is 0 for x > 37", "sigmoid"),
    Row(
        "div(sub(exp(x), exp(neg(x))), add(exp(x), exp(neg(x))))", lambda x: _op("tanh")(x), _real,
        "inf / inf is NaN for |x| > 709", "tanh",
    ),
    Row("log(add(1, exp(x)))", lambda x: _op("softplus")(x), _real, "exp(x) overflows for x > 709", "softplus"),
    Row("log1p(exp(x))", lambda x: _op("softplus")(x), _real, "exp(x) overflows for x > 709", "softplus"),
    Row("log(sub(1, sigmoid(x)))", lambda x: _op("log_sigmoid")(-x), _real, "log(0) for x > 37", "log_sigmoid"),
    Row("log(sigmoid(x))", lambda x: _op("log_sigmoid")(x), _real, "log(0) for x < -745", "log_sigmoid"),
    Row(
        "log(add(add(exp(x), exp(y)), exp(z)))", lambda x, y, z: _op("logaddexp")(_op("logaddexp")(x, y), z), _real,
        "exp overflows for x > 709, and log(0) for x < -745", "logaddexp",
    ),
    Row("log(add(exp(x), exp(y)))", lambda x, y: _op("logaddexp")(x, y), _real, "as above", "logaddexp"),
    Row("log(sum(exp(x)))", lambda x, sum_: _log_of_total(x, sum_),
        lambda x, node, sum_, rewriter: _may_shift(x, node, sum_, rewriter), _OVERFLOW, "logsumexp"),
    Row("log(mean(exp(x)))", lambda x, mean_: _log_of_total(x, mean_),
        lambda x, node, mean_, rewriter: _may_shift(x, node, mean_, rewriter), _OVERFLOW, "logsumexp"),
    Row("log(div(exp(x), y))", _log_softmax, _is_softmax, _UNDERFLOW, "log_softmax"),
    Row("log(gather(div(exp(x), y)))", _picked, _is_picked_softmax, _UNDERFLOW, "log_softmax"),
    Row("log(add(1, x))", lambda x: _op("log1p")(x), lambda node, x: _real(node) and is_float(x.ty),
        "1 + x loses x below 1e-16", "log1p"),
    Row("log(sub(1, x))", lambda x: _op("log1p")(-x), lambda node, x: _real(node) and is_float(x.ty),
        "1 - x loses x below 1e-16", "log1p"),
    Row("sub(exp(x), 1)", lambda x: _op("expm1")(x), _real, "exp(x) - 1 loses x below 1e-16", "expm1"),
    Row("add(exp(x), -1)", lambda x: _op("expm1")(x), _real, "exp(x) - 1 loses x below 1e-16", "expm1"),
    Row("pow(abs(x), 2)", lambda x: _op("abs2")(x), _is_of_complex,
        "a root that is squared loses a digit, and its derivative divides by it", "absolute_square"),
    Row("square(abs(x))", lambda x: _op("abs2")(x), _is_of_complex, "as above", "absolute_square"),
    Row("sqrt(x)", lambda x: _op("root")(x), lambda x, node, rewriter: _real(node) and _is_square_sum(x, rewriter),
        "the derivative of sqrt is inf at 0, where a sum of squares is flat", "root"),
)  # fmt: skip

NAMES = tuple(dict.fromkeys(row.name for row in ROWS))
_TABLE = RowTable(ROWS)


def stability(func: Func, off: Collection[str] = ()) -> Func:
    """`func` with naive formulas in stable form, except for the rows named in `off` (see NAMES)."""
    unknown = set(off) - set(NAMES)
    if unknown:
        raise ValueError(f"no rewrite is named {sorted(unknown)}; there are {', '.join(NAMES)}")
    table = RowTable([row for row in ROWS if row.name not in off]) if off else _TABLE
    applied: list[str] = []

    def rule(node: Node, rewriter: Rewriter) -> Sequence[Value] | None:
        found = apply_rows(table, node, rewriter)
        if found is None:
            return None
        row, value = found
        applied.append(f"{row.name} at {node.loc}: {row.pattern}")
        return [value]

    rewriter = Rewriter(func, rule)
    stable = rewriter.run()
    if not rewriter.changed:
        return func
    stable.notes["rewrites"] = [*func.notes.get("rewrites", ()), *applied]
    return stable
