"""BLAS and LAPACK for compiled functions: SciPy's, through its C interface `scipy.linalg.cython_lapack`.

Machine code names them by symbols that LLVM resolves when it loads it; importing this module tells LLVM their
addresses, so what Numba keeps on disk holds none.
"""

from __future__ import annotations

import ctypes
from typing import Any

import llvmlite.binding as llvm
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic
from numba.np import arrayobj
from scipy.linalg import cython_blas, cython_lapack

from gradc.errors import UnsupportedError

_KINDS = {types.float32: "s", types.float64: "d", types.complex64: "c", types.complex128: "z"}
_CHAR, _INT = ir.IntType(8), ir.IntType(32)
_POINTER = _CHAR.as_pointer()

ROUTINES: dict[str, tuple[str, str]] = {
    # Operands: c a character (its code), i an integer, a an array, n nothing (a null pointer), s a number of the dtype.
    "trsm": ("sdcz", "cccciisaiai"),
    "gemm": ("sdcz", "cciiisaiaisai"),
    "getrf": ("sdcz", "iiaiaa"),
    "gbsv": ("sdcz", "iiiiaiaaia"),
    "potrf": ("sdcz", "ciaia"),
    "geqrf": ("sdcz", "iiaiaaia"),
    "orgqr": ("sd", "iiiaiaaia"),
    "ungqr": ("cz", "iiiaiaaia"),
    "syevd": ("sd", "cciaiaaiaia"),
    "heevd": ("cz", "cciaiaaiaiaia"),
    "gesdd": ("sdcz", "ciiaiaaiaiaiaa"),
    "geev": ("sdcz", "cciaiaaaiaiaia"),
    "gees": ("sdcz", "ccniaiaaaaiaiaa"),
    "trsyl": ("sdcz", "cciiiaiaiaiaa"),
}
"""The kinds of numbers that SciPy has a function for, and its operands. Complex gesdd, geev and gees have others."""
COMPLEX_OPERANDS = {"gesdd": "ciiaiaaiaiaiaaa", "geev": "cciaiaaiaiaiaa", "gees": "ccniaiaaaiaiaaa"}


def _register() -> None:
    get_name, get_pointer = ctypes.pythonapi.PyCapsule_GetName, ctypes.pythonapi.PyCapsule_GetPointer
    get_name.restype, get_name.argtypes = ctypes.c_char_p, (ctypes.py_object,)
    get_pointer.restype, get_pointer.argtypes = ctypes.c_void_p, (ctypes.py_object, ctypes.c_char_p)
    for name, (kinds, _) in ROUTINES.items():
        module = cython_blas if name in ("trsm", "gemm") else cython_lapack
        for kind in kinds:
            capsule = module.__pyx_capi__[kind + name]
            signature = get_name(capsule)
            if b"int *" not in signature:
                raise UnsupportedError(
                    "the LAPACK of this SciPy", why="its integers are not those of C.", hint="install another one."
                )
            llvm.add_symbol(f"gradc_fortran_{kind}{name}", get_pointer(capsule, signature))


_register()


def _call(context: Any, builder: Any, name: str, codes: str, given: Any, values: Any) -> Any:
    dtype = next(ty.dtype for code, ty in zip(codes, given, strict=True) if code == "a" and ty.dtype in _KINDS)
    operands = []
    for code, ty, value in zip(codes, given, values, strict=True):
        if code == "a":
            operands.append(builder.bitcast(arrayobj.make_array(ty)(context, builder, value).data, _POINTER))
            continue
        if code == "n":
            operands.append(ir.Constant(_POINTER, None))
            continue
        if code == "s":
            held = context.cast(builder, value, types.unliteral(ty), dtype)
        else:
            held = context.cast(builder, value, types.unliteral(ty), types.int32)
            held = builder.trunc(held, _CHAR) if code == "c" else held
        operands.append(builder.bitcast(cgutils.alloca_once_value(builder, held), _POINTER))
    symbol = f"gradc_fortran_{_KINDS[dtype]}{name}"
    function = builder.module.globals.get(symbol)
    if function is None:
        function = ir.Function(builder.module, ir.FunctionType(ir.VoidType(), [o.type for o in operands]), symbol)
    builder.call(function, operands)
    return context.get_dummy_value()


def _function(name: str, codes: str) -> Any:
    """`name(operands)` as an intrinsic: numbers are passed as they are, arrays by their first elements."""

    def typing(*given: Any) -> Any:
        return types.void(*given), lambda context, builder, signature, values: _call(
            context, builder, name, codes, signature.args, values
        )

    listed = ", ".join(f"a{k}" for k in range(len(codes)))
    space: dict[str, Any] = {"typing": typing}
    exec(f"def {name}(typingctx, {listed}):\n    return typing({listed})", space)
    return intrinsic(space[name])


trsm, gemm, getrf, gbsv, potrf, geqrf, orgqr, ungqr, syevd, heevd, gesdd, geev, gees, trsyl = (
    _function(name, codes) for name, (_, codes) in ROUTINES.items()
)
complex_gesdd, complex_geev, complex_gees = (_function(name, codes) for name, codes in COMPLEX_OPERANDS.items())
