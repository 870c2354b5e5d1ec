"""gradc's own functions of numbers: Numba compiles them, and their machine code becomes part of kernels."""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.core.compiler import Flags
from numba.extending import intrinsic

import gradc.ops.parameter_slopes as parameter_slopes
from gradc.ir.loops import OWN_FUNCTIONS


def _flags() -> Flags:
    """Division by zero gives infinities, so that the functions never raise."""
    flags = Flags()
    flags.error_model = "numpy"
    return flags


def _function(name: str, arity: int, orders: tuple[int, ...]) -> Any:
    """A function of floats, with fixed last arguments, as an intrinsic. It computes in double precision."""
    function = getattr(parameter_slopes, name)
    inner = types.float64(*(types.float64,) * arity, *(types.int64,) * len(orders))

    def emit(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        compiled = context.compile_subroutine(builder, function, inner, flags=_flags())
        callee = context.declare_function(builder.module, compiled.fndesc)
        values = [context.cast(builder, a, t, types.float64) for a, t in zip(args, signature.args, strict=True)]
        values += [ir.Constant(ir.IntType(64), k) for k in orders]
        _, result = context.call_conv.call_function(builder, callee, inner.return_type, inner.args, values)
        return context.cast(builder, result, types.float64, signature.return_type)

    def choose(given: tuple[Any, ...]) -> Any:
        found = tuple(types.unliteral(t) for t in given)
        if any(t != found[0] for t in found) or found[0] not in (types.float64, types.float32):
            return None
        return found[0](*found), emit

    if arity == 2:

        @intrinsic
        def binary(typingctx: Any, x: Any, y: Any) -> Any:
            return choose((x, y))

        return binary

    @intrinsic
    def ternary(typingctx: Any, x: Any, y: Any, z: Any) -> Any:
        return choose((x, y, z))

    return ternary


globals().update({kernel: _function(*entry) for kernel, entry in OWN_FUNCTIONS.items()})
