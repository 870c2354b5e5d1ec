"""Calls of C functions in kernels: `call_c_<types>(address, arguments)`, an intrinsic for each prototype.

The address is an argument of the kernel, so no text and no machine code on disk holds one.
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic
from numba.np import arrayobj, numpy_support

from gradc.ir.foreign import VOID, Prototype, prototype_of_word

PREFIX = "call_c_"


def __getattr__(name: str) -> Any:
    if not name.startswith(PREFIX):
        raise AttributeError(name)
    return caller(name)


@functools.cache
def caller(name: str) -> Any:
    """The intrinsic of this name."""
    prototype = prototype_of_word(name.removeprefix(PREFIX))
    result = types.int64 if prototype.result == VOID else _scalar(given_as(prototype.result))

    def typing(typingctx: Any, address: Any, *args: Any) -> Any:
        return result(address, *args), lambda context, builder, signature, values: _call(
            context, builder, prototype, signature, values
        )

    parameters = ", ".join(f"a{k}" for k in range(len(prototype.parameters)))
    space: dict[str, Any] = {"typing": typing}
    exec(f"def {name}(typingctx, address, {parameters}):\n    return typing(typingctx, address, {parameters})", space)
    return intrinsic(space[name])


def _scalar(dtype: str) -> Any:
    return numpy_support.from_dtype(np.dtype(dtype))


def given_as(dtype: str) -> str:
    """The dtype of the Python number that a result becomes."""
    return {"f": "float64", "b": "bool"}.get(np.dtype(dtype).kind, "int64")


def _call(context: Any, builder: Any, prototype: Prototype, signature: Any, values: Any) -> Any:
    address, *given = values
    operands = []
    extensions = {}
    waiting = list(zip(signature.args[1:], given, strict=True))
    for parameter in prototype.all_parameters:
        if parameter.zero:
            operands.append(context.get_constant_null(_scalar(parameter.dtype)))
            continue
        ty, value = waiting.pop(0)
        if parameter.pointer:
            data = arrayobj.make_array(ty)(context, builder, value).data
            operands.append(builder.bitcast(data, ir.IntType(8).as_pointer()))
            continue
        ty, wanted = types.unliteral(ty), _scalar(parameter.dtype)
        dtype = np.dtype(parameter.dtype)
        if dtype.kind in "biu" and dtype.itemsize < 4:
            extensions[len(operands)] = ("signext" if dtype.kind == "i" else "zeroext",)
        operands.append(context.data_model_manager[wanted].as_data(builder, context.cast(builder, value, ty, wanted)))
    of_c: Any = ir.VoidType()
    if prototype.result != VOID:
        of_c = context.get_data_type(_scalar(prototype.result))
    pointer = builder.inttoptr(address, ir.FunctionType(of_c, [o.type for o in operands]).as_pointer())
    made = builder.call(pointer, operands, arg_attrs=extensions)
    if prototype.result == VOID:
        return context.get_constant(types.int64, 0)
    have = _scalar(prototype.result)
    return context.cast(builder, context.data_model_manager[have].from_data(builder, made), have, signature.return_type)
