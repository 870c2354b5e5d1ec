"""Calls of functions that have derivative rules of the user, and what they become while one is differentiated.

    %y = custom(%x) {rule}             %i = rule_input(%x)          x, through which this differentiation does not go
                                  ->   %o, %r = ...                 the rule's forward part of %i: result and residual
                                       %y = rule_result(%o, %x, %r) its vjp is the rule's backward part of %r and ct

`ad/custom.py` makes the nodes on the right before it differentiates and drops both markers afterwards, so another
differentiation sees the code of the rule.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from gradc.ir.custom import Rule, put_in_place
from gradc.ir.interp import run as interpret
from gradc.ir.nodes import Func, Value, current_builder
from gradc.ir.opdef import OpDef, define
from gradc.ir.types import Array, Scalar, Type, is_inexact
from gradc.ops.memory import copy, zeros_like


def _run(*operands: Any, rule: Rule) -> Any:
    assert rule.primal is not None
    made = interpret(rule.primal, operands)
    return made[0] if len(made) == 1 else made


custom = define(
    OpDef(
        "custom", "fresh", (), infer=lambda types, attrs, require: attrs["rule"].types, run=_run,
        takes_complex=True,
        doc="What the primal function of {rule} computes; derivatives follow the rule.", cost=1000,
    )
)
rule_input = define(
    OpDef(
        "rule_input", "elementwise", ("x",), infer=lambda types, attrs, require: [types[0]],
        run=lambda x: x, zero_derivative=True, emit="{x}", partials=lambda y, x: [None],
        takes_complex=True,
        doc="x, a constant to the differentiation that is under way.",
    )
)


def _result_types(
    types: Sequence[Type], attrs: dict[str, Any], require: Callable[[int, int, int, int], None]
) -> list[Type]:
    return list(types[: attrs["results"]])


def _run_result(*operands: Any, results: int, **_: Any) -> Any:
    return operands[0] if results == 1 else operands[:results]


def _pull_back(
    ct: Any, y: Any, *operands: Value, results: int, arguments: int, backward: Func, targets: tuple[int | None, ...]
) -> list[Value | None]:
    cts, ys = (ct, y) if results > 1 else ((ct,), (y,))
    given = [_cotangent(c, v) for c, v in zip(cts, ys, strict=True) if is_inexact(v.ty)]
    made = put_in_place(backward, [*operands[results:], *given], current_builder())
    own = [None if k is None else made[k] for k in targets]
    return [*(None for _ in range(results)), *own, *(None for _ in operands[results + arguments :])]


def _cotangent(ct: Value | None, y: Value) -> Value:
    """The cotangent of a result as the user's rule takes it: a C-contiguous array; zeros where there is none."""
    if ct is None:
        return zeros_like(y) if isinstance(y.ty, Array) else _zero(y)
    return copy(ct) if isinstance(ct.ty, Array) and ct.ty.layout != "C" else ct


def _zero(y: Value) -> Value:
    assert isinstance(y.ty, Scalar)
    return current_builder().const(0.0 if y.ty.weak else np.dtype(y.ty.dtype).type(0))


rule_result = define(
    OpDef(
        "rule_result", "fresh", (), infer=_result_types, run=_run_result, vjp=_pull_back,
        takes_complex=True,
        doc="The first {results} operands; the {arguments} after them get the cotangents that {backward} gives.",
    )
)
