"""Factorizations in kernels: `linalg_<name>_<dtype>(count, sizes, options, arrays)`, called by symbols.

Each is compiled once for a dtype, as a C function that Numba keeps on disk (`codegen/routines.py`), and not into every
kernel; asking this module for a name compiles or loads it, and tells LLVM its address.
"""

from __future__ import annotations

import functools
import threading
from typing import Any

import llvmlite.binding as llvm
import numpy as np
from llvmlite import ir
from numba import cfunc, types
from numba.extending import intrinsic
from numba.np import arrayobj, numpy_support

from gradc.codegen import routines, schur_routines
from gradc.ir.loops import LIBRARY

PREFIX = "linalg_"
_lock = threading.Lock()
_kept: list[Any] = []
_INT = ir.IntType(64)
_POINTER = ir.IntType(8).as_pointer()


def __getattr__(name: str) -> Any:
    if not name.startswith(PREFIX):
        raise AttributeError(name)
    with _lock:
        return _function(name)


def symbol_of(name: str) -> str:
    """What machine code calls the function."""
    return f"gradc_{name}"


@functools.cache
def _function(name: str) -> Any:
    """The function as an intrinsic."""
    routine, _, dtype = name.removeprefix(PREFIX).rpartition("_")
    integers, arrays = LIBRARY[routine]
    complex_ = np.dtype(dtype).kind == "c"
    bodies = {**vars(routines), **vars(schur_routines)}
    body = bodies.get(routine) or bodies[f"{routine}_{'complex' if complex_ else 'real'}"]
    pointers = [types.CPointer(_dtype(letter, dtype)) for letter in arrays]
    compiled = cfunc(types.int64(*[types.int64] * integers, *pointers), cache=True, error_model="numpy")(body)
    _kept.append(compiled)
    llvm.add_symbol(symbol_of(name), compiled.address)

    def typing(*given: Any) -> Any:
        return types.int64(*given), lambda context, builder, signature, values: _call(
            context, builder, name, signature, values
        )

    listed = ", ".join(f"a{k}" for k in range(integers + len(arrays)))
    space: dict[str, Any] = {"typing": typing}
    exec(f"def {name}(typingctx, {listed}):\n    return typing({listed})", space)
    return intrinsic(space[name])


def _dtype(letter: str, dtype: str) -> Any:
    """x: the dtype; r: that of its real part; z: complex; i: 32-bit integers."""
    found = np.dtype(dtype)
    if letter == "r":
        found = np.empty(0, found).real.dtype
    elif letter == "z":
        found = np.result_type(found, np.complex64)
    return types.int32 if letter == "i" else numpy_support.from_dtype(found)


def _call(context: Any, builder: Any, name: str, signature: Any, values: Any) -> Any:
    operands = []
    for ty, value in zip(signature.args, values, strict=True):
        if isinstance(ty, types.Array):
            operands.append(builder.bitcast(arrayobj.make_array(ty)(context, builder, value).data, _POINTER))
        else:
            operands.append(context.cast(builder, value, types.unliteral(ty), types.int64))
    symbol = symbol_of(name)
    function = builder.module.globals.get(symbol)
    if function is None:
        function = ir.Function(builder.module, ir.FunctionType(_INT, [o.type for o in operands]), symbol)
    return builder.call(function, operands)
