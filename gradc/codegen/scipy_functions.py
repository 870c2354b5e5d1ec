"""SciPy's special functions in kernels, called through its C interface, `scipy.special.cython_special`.

Kernels call them by symbols that LLVM resolves when it loads the machine code; importing this module tells it their
addresses, so compiled kernels on disk hold none. Functions of several results (Airy's) are called once for each.
"""

from __future__ import annotations

import ctypes
import re
from typing import Any

import llvmlite.binding as llvm
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic
from scipy.special import cython_special

from gradc.codegen.intrinsics import _RawAttributes
from gradc.errors import UnsupportedError
from gradc.ir.loops import SPECIAL_FUNCTIONS

_C = {"d": "double", "l": "(?:Py_ssize_t|long)"}
_OUTPUTS = {"airy": 4, "sici": 2, "shichi": 2, "fresnel": 2}


def _signature(name: str, operands: str) -> re.Pattern[str]:
    """What the C signature of a function looks like, as Cython writes it into its capsule."""
    given = ", ".join(_C[letter] for letter in operands)
    if name in _OUTPUTS:
        return re.compile(rf"(?:void|int) \({given}(?:, double \*){{{_OUTPUTS[name]}}}(?:, int \w+)?\)")
    return re.compile(rf"double \({given}(?:, int \w+)?\)")


def _address(name: str, operands: str) -> int | None:
    """The address of the variant of a function for these operands; None where this SciPy has none.

    Variants of one function have a number in their names that changes from version to version; signatures do not.
    """
    wanted = _signature(name, operands)
    exported = re.compile(rf"(?:__pyx_fuse_\d+(?:_\d+)?)?{name}")
    for found, capsule in cython_special.__pyx_capi__.items():
        if exported.fullmatch(found):
            signature = _capsule_name(capsule)
            if wanted.fullmatch(signature.decode()):
                return int(_capsule_pointer(capsule, signature))
    return None


_capsule_name = ctypes.pythonapi.PyCapsule_GetName
_capsule_name.restype, _capsule_name.argtypes = ctypes.c_char_p, (ctypes.py_object,)
_capsule_pointer = ctypes.pythonapi.PyCapsule_GetPointer
_capsule_pointer.restype, _capsule_pointer.argtypes = ctypes.c_void_p, (ctypes.py_object, ctypes.c_char_p)

_DOUBLE, _LONG = ir.DoubleType(), ir.IntType(64)


def _call(builder: Any, name: str, operands: str, output: int, args: Any) -> Any:
    """Call a function on values of one float type."""
    single = isinstance(args[0].type, ir.FloatType)
    values = [builder.fpext(a, _DOUBLE) if single else a for a in args]
    values = [
        builder.fptosi(v, _LONG) if letter == "l" else v for v, letter in zip(values, operands, strict=True)
    ]
    # Cython passes a last argument that is 0 in calls from C: whether to look for a Python method that overrides it.
    if output < 0:
        values.append(ir.Constant(ir.IntType(32), 0))
    result: ir.Type = _DOUBLE
    places = []
    if output >= 0:
        places = [cgutils.alloca_once(builder, _DOUBLE) for _ in range(_OUTPUTS[name])]
        values += places
        result = ir.VoidType()
    module, symbol = builder.module, f"gradc_scipy_{name}"
    function = module.globals.get(symbol)
    if function is None:
        function = ir.Function(module, ir.FunctionType(result, [v.type for v in values]), symbol)
    call = builder.call(function, values)
    memory = "memory(none)" if output < 0 else "memory(argmem: write)"
    call.attributes = _RawAttributes(f"nounwind willreturn {memory}")
    made = builder.load(places[output]) if output >= 0 else call
    return builder.fptrunc(made, ir.FloatType()) if single else made


def _function(name: str, operands: str, output: int) -> Any:
    """A function of SciPy as an intrinsic."""

    def choose(given: tuple[Any, ...]) -> Any:
        found = tuple(types.unliteral(t) for t in given)
        if any(t != found[0] for t in found) or found[0] not in (types.float64, types.float32):
            return None
        return found[0](*found), lambda context, builder, signature, args: _call(builder, name, operands, output, args)

    match len(operands):
        case 1:

            @intrinsic
            def unary(typingctx: Any, x: Any) -> Any:
                return choose((x,))

            return unary
        case 2:

            @intrinsic
            def binary(typingctx: Any, x: Any, y: Any) -> Any:
                return choose((x, y))

            return binary
        case 3:

            @intrinsic
            def ternary(typingctx: Any, x: Any, y: Any, z: Any) -> Any:
                return choose((x, y, z))

            return ternary
        case _:

            @intrinsic
            def quaternary(typingctx: Any, x: Any, y: Any, z: Any, w: Any) -> Any:
                return choose((x, y, z, w))

            return quaternary


def _register() -> frozenset[str]:
    """Tell LLVM the addresses; the functions that this SciPy does not have."""
    missing = set()
    for name, operands in {(name, operands) for name, operands, _ in SPECIAL_FUNCTIONS.values()}:
        address = _address(name, operands)
        if address is None:
            missing.add(name)
        else:
            llvm.add_symbol(f"gradc_scipy_{name}", address)
    return frozenset(missing)


MISSING = _register()
"""Functions that this version of SciPy does not give away."""

globals().update(
    {kernel: _function(*entry) for kernel, entry in SPECIAL_FUNCTIONS.items() if entry[0] not in MISSING}
)


def __getattr__(kernel: str) -> Any:
    if kernel in SPECIAL_FUNCTIONS:
        raise UnsupportedError(
            f"this SciPy has no scipy.special.cython_special.{SPECIAL_FUNCTIONS[kernel][0]}",
            why="kernels call it from there.", hint="install another version of SciPy.",
        )
    raise AttributeError(kernel)
