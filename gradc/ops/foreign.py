"""Calls of C functions: opaque to derivatives, so these end in an error unless the user gives a rule."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NoReturn

import numpy as np

from gradc.errors import NonDifferentiableError
from gradc.ir.foreign import VOID, call_at, parse_prototype
from gradc.ir.nodes import Node, current_builder
from gradc.ir.opdef import OpDef, define
from gradc.ir.types import WEAK_BOOL, WEAK_FLOAT, WEAK_INT, Array, Type

_RESULTS = {"b": WEAK_BOOL, "i": WEAK_INT, "u": WEAK_INT, "f": WEAK_FLOAT}


def _result_type(
    types: Sequence[Type], attrs: dict[str, Any], require: Callable[[int, int, int, int], None]
) -> list[Type]:
    result = parse_prototype(attrs["prototype"]).result
    return [] if result == VOID else [_RESULTS[np.dtype(result).kind]]


def _array_type(
    types: Sequence[Any], attrs: dict[str, Any], require: Callable[[int, int, int, int], None]
) -> list[Type]:
    return [Array(types[0].dtype, types[0].shape)]


def _run(address: Any, *args: Any, prototype: str, name: str) -> Any:
    return call_at(int(address), parse_prototype(prototype), args)


def _run_into(target: Any, address: Any, *args: Any, prototype: str, name: str) -> Any:
    parsed = parse_prototype(prototype)
    given = list(args)
    made = target.copy()
    given.insert(parsed.written[0], made)
    call_at(int(address), parsed, given)
    return made


def _refuse(*_: Any, name: str, prototype: str) -> NoReturn:
    raise NonDifferentiableError(
        f"the C function `{name}` has no derivative",
        current_builder().loc,
        "gradc cannot read it, and its result depends on a differentiated argument and reaches the output.",
        f"give it one by gradc.custom_vjp({name}) and .defvjp(fwd, bwd), or put gradc.stop_gradient(...) around it.",
    )


def _emit(node: Node, function: str, *args: str) -> str:
    return f"{function}({', '.join(args)})"


def _emit_into(node: Node, target: str, function: str, *args: str) -> str:
    return f"filled_by({function}, {parse_prototype(node.attrs['prototype']).written[0]}, {', '.join((target, *args))})"


call_c: OpDef = define(
    OpDef(
        "call_c", "read", (), infer=_result_type, run=_run, emit=_emit, vjp=_refuse, jvp=_refuse, cost=1000,
        doc="What the C function {name} at an address (operand 0) returns; it is taken to change nothing.",
    )
)
call_c_into: OpDef = define(
    OpDef(
        "call_c_into", "fresh", (), infer=_array_type, run=_run_into, emit=_emit_into, vjp=_refuse, jvp=_refuse,
        cost=1000, prelude='''def filled_by(function, position, target, *args):
    """What `function` leaves in a copy of `target`, which is its argument at `position`."""
    target = target.copy()
    function(*args[:position], target, *args[position:])
    return target
''',
        doc="What the C function {name} at an address (operand 1) leaves in a copy of an array (operand 0).",
    )
)
