"""Fourier transforms in kernels: NumPy's own, by the C loops of its generalised ufuncs.

`np.fft` calls ufuncs whose loops transform the rows of an array, whatever its strides. A loop reads and writes through
pointers only, so it runs without the interpreter's lock and in several threads, as NumPy itself runs it; plans are kept
in a cache with a lock of its own. Where memory is missing a loop takes the interpreter's lock and sets MemoryError, and
Python makes an error of the call of the kernel, which returns with an exception set.

Importing this module finds the loops in the ufunc objects (the C struct PyUFuncObject, which is public) and tells LLVM
their addresses by name, so compiled kernels on disk hold none.
"""

from __future__ import annotations

import ctypes
import importlib
from typing import Any

import llvmlite.binding as llvm
import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic
from numba.np import arrayobj

from gradc.codegen.product_intrinsic import as_intp, declare, shape_values
from gradc.ir.loops import FOURIER_FUNCTIONS

_INT, _BYTE, _DOUBLE = ir.IntType(64), ir.IntType(8), ir.DoubleType()
_POINTER = _BYTE.as_pointer()
_PARTS = {"float64": "float64", "float32": "float32", "complex128": "float64", "complex64": "float32"}
_LOOPS = {"fft": ("fft",), "ifft": ("ifft",), "rfft": ("rfft_n_even", "rfft_n_odd"), "irfft": ("irfft",)}
"""The ufuncs behind each transform."""


class _UFunc(ctypes.Structure):
    """The start of PyUFuncObject (numpy/ufuncobject.h), after the head that every Python object has."""

    _fields_ = (
        ("nin", ctypes.c_int), ("nout", ctypes.c_int), ("nargs", ctypes.c_int), ("identity", ctypes.c_int),
        ("functions", ctypes.POINTER(ctypes.c_void_p)), ("data", ctypes.POINTER(ctypes.c_void_p)),
        ("ntypes", ctypes.c_int), ("reserved1", ctypes.c_int), ("name", ctypes.c_char_p),
        ("types", ctypes.POINTER(ctypes.c_char)),
    )  # fmt: skip


def loop_addresses(ufunc: np.ufunc) -> dict[str, tuple[int, int]]:
    """For float64 and float32, the addresses of a transform's loop and of what it is given as its last argument.

    Raises: ImportError where the object is not laid out as expected.
    """
    held = _UFunc.from_address(id(ufunc) + object.__basicsize__)
    name = ufunc.__name__
    if (held.nin, held.nout, held.nargs, held.ntypes, held.name) != (2, 1, 3, len(ufunc.types), name.encode()):
        raise ImportError(f"NumPy's ufunc {name} is not laid out as gradc expects: NumPy {np.__version__}")
    found = {}
    for k, signature in enumerate(ufunc.types):
        operands = signature.replace("->", "")
        if bytes(held.types[3 * k : 3 * k + 3]) != bytes(np.dtype(c).num for c in operands):
            raise ImportError(f"NumPy's ufunc {name} does not have its types where gradc expects them")
        part = {"d": "float64", "f": "float32"}.get(operands[1])
        if part is not None and held.functions[k]:
            found[part] = (held.functions[k], (held.data[k] or 0) if held.data else 0)
    if found.keys() != {"float64", "float32"}:
        raise ImportError(f"NumPy's ufunc {name} has no loops for float32 and float64")
    return found


def _register() -> str:
    """Tell LLVM the addresses; why that cannot be done, where it cannot."""
    try:
        module = importlib.import_module("numpy.fft._pocketfft_umath")
        for name in (n for names in _LOOPS.values() for n in names):
            for part, (loop, data) in loop_addresses(getattr(module, name)).items():
                llvm.add_symbol(f"gradc_numpy_{name}_{part}", loop)
                if data:
                    llvm.add_symbol(f"gradc_numpy_{name}_{part}_data", data)
    except (ImportError, AttributeError) as error:
        return str(error)
    return ""


UNAVAILABLE = _register()
"""Why this NumPy's transforms cannot be called; empty where they can."""


def transform_function(module: ir.Module, function: str, dtype: str, name: str, linkage: str) -> ir.Function:
    """The function of this module that transforms rows; `function` is one of FOURIER_FUNCTIONS, `dtype` that of a part.

    Operands: pointer, step between entries and step between rows in bytes, of source and of target; rows, entries
    of source and of target; the scale (`ir/loops.py`, Transform).
    """
    if name in module.globals and not module.globals[name].is_declaration:
        return module.globals[name]
    operands = [_POINTER, _INT, _INT, _POINTER, _INT, _INT, _INT, _INT, _INT, _INT]
    made = ir.Function(module, ir.FunctionType(ir.VoidType(), operands), name)
    made.linkage = linkage
    made.attributes.add("noinline")
    builder = ir.IRBuilder(made.append_basic_block("entry"))
    source, step_a, row_a, target, step_c, row_c, rows, size_a, size_c, scale = made.args
    points = size_c if function == "fourier_irfft" else size_a
    float_type = _DOUBLE if dtype == "float64" else ir.FloatType()
    factor = cgutils.alloca_once(builder, float_type)
    builder.store(_factor(builder, points, scale, float_type), factor)

    def block(element: ir.Type, values: list[Any]) -> Any:
        place = cgutils.alloca_once(builder, ir.ArrayType(element, len(values)))
        for k, value in enumerate(values):
            builder.store(value, builder.gep(place, [ir.Constant(_INT, 0), ir.Constant(_INT, k)]))
        return builder.bitcast(place, _POINTER)

    given = [
        block(_POINTER, [source, builder.bitcast(factor, _POINTER), target]),
        block(_INT, [rows, size_a, size_c]),
        block(_INT, [row_a, ir.Constant(_INT, 0), row_c, step_a, step_c]),
    ]

    def call(ufunc: str) -> None:
        loop = declare(module, f"gradc_numpy_{ufunc}_{dtype}", ir.VoidType(), [_POINTER] * 4)
        data = module.globals.get(f"{loop.name}_data") or ir.GlobalVariable(module, _BYTE, f"{loop.name}_data")
        builder.call(loop, [*given, data if ufunc in ("fft", "ifft") else ir.Constant(_POINTER, None)])

    ufuncs = _LOOPS[function.removeprefix("fourier_")]
    nothing = builder.or_(
        builder.icmp_signed("<=", rows, ir.Constant(_INT, 0)), builder.icmp_signed("<=", points, ir.Constant(_INT, 0))
    )
    with builder.if_then(builder.not_(nothing)):
        if len(ufuncs) == 1:
            call(ufuncs[0])
        else:
            odd = builder.trunc(points, ir.IntType(1))
            with builder.if_else(odd) as (is_odd, is_even):
                with is_odd:
                    call(ufuncs[1])
                with is_even:
                    call(ufuncs[0])
    builder.ret_void()
    return made


def _factor(builder: Any, points: Any, scale: Any, float_type: ir.Type) -> Any:
    """1, 1/sqrt(n) or 1/n."""
    n, one = builder.sitofp(points, _DOUBLE), ir.Constant(_DOUBLE, 1.0)
    root = builder.call(builder.module.declare_intrinsic("llvm.sqrt", [_DOUBLE]), [n])
    divisor = builder.select(builder.icmp_signed("==", scale, ir.Constant(_INT, 1)), root, n)
    made = builder.select(builder.icmp_signed("==", scale, ir.Constant(_INT, 0)), one, builder.fdiv(one, divisor))
    return made if isinstance(float_type, ir.DoubleType) else builder.fptrunc(made, float_type)


def part_of(function: str, source: str, target: str) -> str | None:
    """The dtype of the parts of what is transformed, or None where source and target do not fit a transform."""
    wanted = {
        "fourier_rfft": {("float64", "complex128"), ("float32", "complex64")},
        "fourier_irfft": {("complex128", "float64"), ("complex64", "float32")},
    }.get(function, {("complex128", "complex128"), ("complex64", "complex64")})
    return _PARTS[source] if (source, target) in wanted else None


def _transform(function: str) -> Any:
    """A transform as an intrinsic: (a, start, axis, rows, c, start, axis, rows, (rows, entries, entries), scale)."""

    def transform(
        typingctx: Any, a: Any, at: Any, axis_a: Any, row_a: Any, c: Any, ct: Any, axis_c: Any, row_c: Any,
        sizes: Any, scale: Any,
    ) -> Any:  # fmt: skip
        if not all(isinstance(t, types.Array) for t in (a, c)):
            return None
        part = part_of(function, a.dtype.name, c.dtype.name)
        literals = [getattr(t, "literal_value", None) for t in (axis_a, row_a, axis_c, row_c, scale)]
        if part is None or not all(isinstance(v, int) for v in literals):
            return None
        numbers = [int(v) for v in literals if v is not None]
        signature = types.void(a, at, axis_a, row_a, c, ct, axis_c, row_c, sizes, scale)

        def emit(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            operands: list[Any] = []
            for k, ty in enumerate((a, c)):
                made = arrayobj.make_array(ty)(context, builder, args[4 * k])
                strides = cgutils.unpack_tuple(builder, made.strides, ty.ndim)
                starts = cgutils.unpack_tuple(builder, args[4 * k + 1], len(sig.args[4 * k + 1]))
                offset: Any = ir.Constant(_INT, 0)
                for value, start_type, stride in zip(starts, sig.args[4 * k + 1], strides, strict=True):
                    start = as_intp(context, builder, value, start_type)
                    offset = builder.add(offset, builder.mul(start, stride))
                operands.append(builder.gep(builder.bitcast(made.data, _POINTER), [offset]))
                operands += [strides[n] if n >= 0 else ir.Constant(_INT, 0) for n in numbers[2 * k : 2 * k + 2]]
            operands += shape_values(context, builder, args[8], sig.args[8])
            operands.append(ir.Constant(_INT, numbers[4]))
            name = f"gradc_{function}_{part}"
            builder.call(transform_function(builder.module, function, part, name, "internal"), operands)
            return context.get_dummy_value()

        return signature, emit

    return intrinsic(prefer_literal=True)(transform)


fourier_fft, fourier_ifft, fourier_rfft, fourier_irfft = (_transform(name) for name in FOURIER_FUNCTIONS)
