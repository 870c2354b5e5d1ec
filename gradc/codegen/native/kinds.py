"""Types of kernel texts and their LLVM names. Scalars are called by the names of their NumPy dtypes."""

from __future__ import annotations

import functools
import math
import operator
import struct
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numba import types
from numba.core.registry import cpu_target


class NotTranslated(Exception):
    """A construct that this compiler does not know: the text is left to Numba."""


@dataclass(frozen=True, slots=True)
class ArrayKind:
    """An array variable. layout: C, F or A (strided)."""

    dtype: str
    ndim: int
    layout: str


Kind: TypeAlias = str | ArrayKind
Value: TypeAlias = tuple[str, str]
"""Kind of a scalar, and the LLVM text of it: a name or a constant."""

LLVM = {
    "bool": "i1", "int8": "i8", "int16": "i16", "int32": "i32", "int64": "i64", "uint8": "i8", "uint16": "i16",
    "uint32": "i32", "uint64": "i64", "float32": "float", "float64": "double", "complex64": "{float, float}",
    "complex128": "{double, double}",
}  # fmt: skip
"""LLVM types of values."""

SIZE = {name: np.dtype(name).itemsize for name in LLVM}
SIGNED = frozenset(("int8", "int16", "int32", "int64"))
UNSIGNED = frozenset(("uint8", "uint16", "uint32", "uint64"))
INTEGERS = SIGNED | UNSIGNED
FLOATS = frozenset(("float32", "float64"))
COMPLEX = {"complex64": "float32", "complex128": "float64"}


def memory_type(dtype: str) -> str:
    """The LLVM type of an element in memory."""
    return "i8" if dtype == "bool" else LLVM[dtype]


def kind_of(ty: Any) -> Kind:
    """The kind of a Numba type. Raises: NotTranslated."""
    if isinstance(ty, types.Array):
        if not ty.mutable or not ty.aligned:
            raise NotTranslated(f"argument of type {ty}")
        return ArrayKind(scalar_kind(ty.dtype), ty.ndim, ty.layout)
    return scalar_kind(ty)


def scalar_kind(ty: Any) -> str:
    """The dtype name of a scalar type of Numba. Raises: NotTranslated."""
    name = "bool" if isinstance(ty, types.Boolean) else str(getattr(ty, "name", ty))
    if name not in LLVM:
        raise NotTranslated(f"type {ty}")
    return name


@functools.cache
def numba_scalar(dtype: str) -> Any:
    """The Numba type of a dtype name."""
    return types.boolean if dtype == "bool" else getattr(types, dtype)


def real_constant(value: float, dtype: str) -> str:
    """A floating-point number as LLVM writes it: the bits of the double."""
    if dtype == "float32":
        value = float(np.float32(value))
    if math.isnan(value):
        return "0x7FF8000000000000"
    return f"0x{struct.unpack('>Q', struct.pack('>d', value))[0]:016X}"


# --------------------------------------------------------------------------------------------- promotion

_OPERATORS = {
    "Add": operator.add, "Sub": operator.sub, "Mult": operator.mul, "Div": operator.truediv,
    "FloorDiv": operator.floordiv, "Mod": operator.mod, "Pow": operator.pow, "BitAnd": operator.and_,
    "BitOr": operator.or_, "BitXor": operator.xor, "LShift": operator.lshift, "RShift": operator.rshift,
    "Lt": operator.lt, "LtE": operator.le, "Gt": operator.gt, "GtE": operator.ge, "Eq": operator.eq,
    "NotEq": operator.ne, "USub": operator.neg, "UAdd": operator.pos, "Invert": operator.invert,
}  # fmt: skip


def python_operator(name: str) -> Any:
    """The function of module operator for the name of an AST node."""
    return _OPERATORS[name]


@functools.cache
def promoted(name: str, *dtypes: str) -> tuple[tuple[str, ...], str]:
    """The dtypes that Numba converts the operands of an operator to, and the dtype of the result."""
    if len(dtypes) == 2 and dtypes[0] == dtypes[1] and dtypes[0] in ("int64", "float64", "float32"):
        if name in ("Add", "Sub", "Mult"):
            return dtypes, dtypes[0]
        if name in ("Lt", "LtE", "Gt", "GtE", "Eq", "NotEq"):
            return dtypes, "bool"
        if name == "Div":
            real = "float64" if dtypes[0] == "int64" else dtypes[0]
            return (real, real), real
    return resolved(_OPERATORS[name], *dtypes)


@functools.cache
def resolved(function: Any, *dtypes: str) -> tuple[tuple[str, ...], str]:
    """What Numba's typing says of a call of `function` with scalars: dtypes of its operands and of its result."""
    cpu_target.typing_context.refresh()
    try:
        signature = cpu_target.typing_context.resolve_function_type(
            function, tuple(numba_scalar(d) for d in dtypes), {}
        )
    except Exception as error:
        raise NotTranslated(f"{function} of {dtypes}: {error}") from error
    if signature is None:
        raise NotTranslated(f"{function} of {dtypes}")
    return tuple(scalar_kind(t) for t in signature.args), scalar_kind(signature.return_type)


@functools.cache
def unified(first: str, second: str) -> str:
    """The dtype of a variable that may hold either."""
    if first == second:
        return first
    ty = cpu_target.typing_context.unify_types(numba_scalar(first), numba_scalar(second))
    if ty is None:
        raise NotTranslated(f"no common type of {first} and {second}")
    return scalar_kind(ty)
