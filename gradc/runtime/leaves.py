"""Leaves of arguments: what of a number or array a kernel is compiled for, and which ones are refused.

A leaf's key holds what is compiled in: a scalar's class; an array's dtype, which of its axes have size 1, and its
layout. Sizes are not part of it, nor is whether an array may be written to.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numba import types

from gradc.errors import DTypeError, UnsupportedError
from gradc.ir.types import Array, Layout, Scalar, Type

_INTEGERS = ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64")
DTYPES = frozenset(("bool", *_INTEGERS, "float32", "float64", "complex64", "complex128"))
_INT64 = range(-(2**63), 2**63)


class ArrayKey(NamedTuple):
    """The key of an array: `ones` tells for each axis whether its size is 1."""

    dtype: np.dtype[Any]
    ones: tuple[bool, ...]
    layout: Layout


LeafKey: TypeAlias = "type | ArrayKey"


def leaf_key(x: Any) -> LeafKey:
    """The key of a leaf. Raises nothing: `check_leaf` says whether kernels exist for it."""
    if x.__class__ is np.ndarray:
        flags = x.flags
        layout: Layout = "C" if flags.c_contiguous else "F" if flags.f_contiguous else "A"
        return ArrayKey(x.dtype, tuple([n == 1 for n in x.shape]), layout)
    return x.__class__  # type: ignore[no-any-return]


def plain_leaf(x: Any, name: str) -> Any:
    """`x` as one of the classes that kernels take: Python's numbers, NumPy's scalars and arrays, by exact class.

    Raises: DTypeError or UnsupportedError for what has no kernel.
    """
    if isinstance(x, np.ndarray):
        if x.__class__ is not np.ndarray:
            if not isinstance(x, np.memmap):
                raise UnsupportedError(
                    f"argument `{name}` is a {type(x).__name__}",
                    why="a subclass of ndarray may give operations another meaning.",
                    hint=f"pass np.asarray({name}).",
                )
            x = x.view(np.ndarray)
        _check_dtype(x.dtype, name, f"{name}.astype")
        return x
    if isinstance(x, np.generic):
        _check_dtype(x.dtype, name, f"{name}.astype")
        return x
    cls: Any
    for cls in (bool, int, float, complex):
        if isinstance(x, cls):
            if cls is int and x not in _INT64:
                raise DTypeError(
                    f"argument `{name}` is {x}", why="it does not fit into 64 bits.", hint=f"pass float({name})."
                )
            return x if x.__class__ is cls else cls(x)
    raise UnsupportedError(
        f"argument `{name}` is a {type(x).__name__}",
        why="a compiled function takes numbers, NumPy arrays and structures of them.",
        hint=f"pass np.asarray({name}) if it holds numbers.",
    )


def _check_dtype(dtype: np.dtype[Any], name: str, cast: str) -> None:
    if not dtype.isnative:
        raise DTypeError(
            f"argument `{name}` has dtype {dtype!r}",
            why="its bytes are in the other order.",
            hint=f"pass {cast}({name}.dtype.newbyteorder('=')).",
        )
    if dtype.name in DTYPES:
        return
    if dtype.kind == "f" or dtype.kind == "c":
        wider = {"float16": "float32"}.get(dtype.name, "complex128" if dtype.kind == "c" else "float64")
        raise DTypeError(
            f"argument `{name}` has dtype {dtype.name}",
            why="there are kernels for float32, float64, complex64 and complex128.",
            hint=f"pass {cast}(np.{wider}).",
        )
    raise DTypeError(
        f"argument `{name}` has dtype {dtype}",
        why="arrays of numbers and booleans can be compiled for.",
        hint=f"pass {cast}(np.float64) if it holds numbers.",
    )


def check_differentiable(x: Any, name: str) -> Any:
    """`x` as it is differentiated: a Python int counts as a float.

    Raises: DTypeError for integers and booleans, with the cast to write.
    """
    if x.__class__ is int:
        return float(x)
    if isinstance(x, float | complex):
        return x
    kind = "bool" if isinstance(x, bool) else x.dtype.name
    if kind == "bool" or np.dtype(kind).kind in "iu":
        cast = f"{name}.astype(np.float64)" if isinstance(x, np.ndarray) else f"float({name})"
        what = "a bool" if isinstance(x, bool) else f"of dtype {kind}"
        raise DTypeError(
            f"argument `{name}` is {what} and cannot be differentiated",
            why="integers and booleans are data: there is no derivative in them.",
            hint=f"pass {cast}, or leave it out of argnums.",
        )
    return x


def kernel_type(ty: Type) -> Any:
    """The Numba type of a kernel's parameter."""
    if isinstance(ty, Scalar):
        return types.boolean if ty.dtype == "bool" else getattr(types, ty.dtype)
    assert isinstance(ty, Array)
    return types.Array(kernel_type(Scalar(ty.dtype)), len(ty.shape), ty.layout)


class _Memory:
    """Lends the memory of an array under NumPy's array interface, without its read-only flag."""

    def __init__(self, x: np.ndarray[Any, Any]) -> None:
        interface = dict(x.__array_interface__)
        interface["data"] = (interface["data"][0], False)
        self.__array_interface__ = interface
        self.owner = x


def writable_alias(x: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """The same memory as an array that is not marked read-only, for kernels that do not write into it.

    Numba has a type of its own for read-only arrays; without this each kernel would be compiled twice.
    """
    if x.size == 0:
        return np.empty(x.shape, x.dtype)
    return np.asarray(_Memory(x))


def same_memory(x: np.ndarray[Any, Any], y: np.ndarray[Any, Any]) -> bool:
    """Whether two arrays are one: the same elements at the same places."""
    return x is y or memory_of(x) == memory_of(y)


def memory_of(x: np.ndarray[Any, Any]) -> tuple[Any, ...]:
    """What two arrays have in common exactly where they are one."""
    return x.__array_interface__["data"][0], x.shape, x.strides, x.dtype


def alias_pattern(leaves: Sequence[Any], written: Sequence[int], names: Sequence[str]) -> tuple[tuple[int, int], ...]:
    """Pairs (k, first) of leaves where array k is the same as an earlier one, with a write to it.

    Raises: UnsupportedError where a written array overlaps another one without being the same.
    """
    arrays = [k for k, x in enumerate(leaves) if isinstance(x, np.ndarray) and x.size]
    if len(arrays) < 2:
        return ()
    pairs: dict[int, int] = {}
    for w in written:
        if w not in arrays:
            continue
        for k in arrays:
            if k == w or not np.may_share_memory(leaves[k], leaves[w]):
                continue
            if same_memory(leaves[k], leaves[w]):
                first, later = min(k, w), max(k, w)
                pairs[later] = min(pairs.get(later, first), first)
            elif np.shares_memory(leaves[k], leaves[w]):
                raise UnsupportedError(
                    f"arguments `{names[w]}` and `{names[k]}` overlap in memory, and `{names[w]}` is written to",
                    why="what is written through one would show in a part of the other.",
                    hint=f"pass a copy: {names[k]}.copy().",
                )
    return tuple(sorted(pairs.items()))
