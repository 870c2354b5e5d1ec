"""Compiled objects as C functions: for SciPy's integrators and filters, and for C through ctypes.

    gradient = gradc.value_and_grad(loss)           double f(intptr_t n, const double *x, double *grad)
    c = gradient.cfunc("double (intptr_t n, const double *x, double *grad)")

What is called is a Numba `cfunc` that makes arrays of its pointers, calls the object as nopython code does, and copies
the results. C has no exceptions: where the object raises, results are NaN (or 0), and `errors` counts it.
"""

from __future__ import annotations

import ctypes
import inspect
import re
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from llvmlite import ir
from numba import carray, types
from numba import cfunc as numba_cfunc
from numba.extending import intrinsic
from numba.np import numpy_support

from gradc.errors import UnsupportedError
from gradc.ir.foreign import VOID, dtype_of_c
from gradc.ir.tree import Leaf, Tree, tree_leaves
from gradc.ir.types import Array
from gradc.runtime.dispatch import INSPECTORS, Compiled
from gradc.runtime.in_numba import calls_of

_SIGNATURE = re.compile(r"\s*([\w\s]+?)\s*\((.*)\)\s*")


class CFunc(types.WrapperAddressProtocol):  # type: ignore[misc]
    """A compiled object as a C function: `compiled.cfunc(signature)` makes it. It is called by C while it is alive.

    address: of the function. ctypes: the function for ctypes. text: the signature as it was asked for; `signature()` is
    that in Numba's types, since nopython code takes the object as a function of known type.
    """

    def __init__(self, compiled: Compiled, signature: str, made: Any, count: np.ndarray[Any, Any]) -> None:
        self.text = signature
        self._compiled = compiled
        self._made = made
        self._count = count

    @property
    def address(self) -> int:
        return int(self._made.address)

    def __wrapper_address__(self) -> int:  # Numba's protocol for functions as arguments, as `signature` is
        return self.address

    def signature(self) -> Any:
        """The signature in Numba's types."""
        return self._made._sig

    @property
    def ctypes(self) -> Any:
        function = self._made.ctypes
        function.made_by = self  # alive with it
        return function

    @property
    def errors(self) -> int:
        """How many calls ended with an exception, whose results were NaN."""
        return int(self._count[0])

    def low_level_callable(self, user_data: Any = None) -> Any:
        """The function as a `scipy.LowLevelCallable`. user_data: an array of float64, or what SciPy takes."""
        from scipy import LowLevelCallable  # here, since importing scipy's integrators takes a while

        if isinstance(user_data, np.ndarray):
            if user_data.dtype != np.float64 or not user_data.flags.c_contiguous:
                raise UnsupportedError("user_data is not a contiguous array of float64")
            kept = user_data
            user_data = ctypes.cast(kept.ctypes.data, ctypes.c_void_p)
            user_data.array = kept
        return LowLevelCallable(self.ctypes, user_data)

    def __repr__(self) -> str:
        return f"<C function {self.text!r} of {self._compiled!r}>"


@dataclass(eq=False, slots=True)
class _Plan:
    """How C's parameters are used. inputs: expressions of the arguments; outputs: pointers of results."""

    parameters: list[str] = field(default_factory=list)
    types: list[Any] = field(default_factory=list)
    arguments: list[str] = field(default_factory=list)
    argument_types: list[Any] = field(default_factory=list)
    outputs: list[str] = field(default_factory=list)
    checks: list[str] = field(default_factory=list)


def make(compiled: Compiled, signature: str) -> CFunc:
    """The C function of an object for a C signature. Raises: UnsupportedError where the two do not fit."""
    match = _SIGNATURE.fullmatch(signature)
    if match is None:
        raise UnsupportedError(f"{signature!r} is no C signature", hint='write one like "double (double, double)".')
    plan = _plan(compiled, signature, [p.strip() for p in match[2].split(",")])
    result = match[1] if match[1] == VOID else dtype_of_c(match[1], signature)
    call = calls_of(compiled).find(tuple(plan.argument_types), ())
    leaves = list(tree_leaves(call.staged.result))
    is_status = result in ("int32", "int64") and len(leaves) == len(plan.outputs)
    returned = 0 if result == VOID or is_status else 1
    if len(leaves) != len(plan.outputs) + returned:
        raise UnsupportedError(
            f"{compiled!r} gives {len(leaves)} results, and {signature!r} has room for {len(plan.outputs) + returned}",
            why="a number is returned or written to a pointer, an array is written to a pointer.",
            hint='write a "double *" at the end for each that is not returned.',
        )
    paths = _paths(call.staged.result)
    kinds = [call.staged.func.results[k].ty for k in leaves]
    if returned and isinstance(kinds[0], Array):
        raise UnsupportedError(f"the first result of {compiled!r} is an array, and {signature!r} returns a number")
    body = [*plan.checks, f"r = compiled({', '.join(plan.arguments)})"]
    for pointer, path, ty in zip(plan.outputs, paths[returned:], kinds[returned:], strict=True):
        if isinstance(ty, Array):  # a loop: Numba takes seconds to compile what copies arrays of any kind
            indices = [f"i{k}" for k in range(len(ty.shape))]
            place = "0"
            for k, i in enumerate(indices):
                body.append(f"{'    ' * k}for {i} in range({path}.shape[{k}]):")
                place = f"({place}) * {path}.shape[{k}] + {i}" if k else i
            at = ", ".join(indices) or "()"
            body.append(f"{'    ' * len(indices)}{pointer}[{place}] = {path}[{at}]")
        else:
            body.append(f"{pointer}[0] = {path}")
    body.append(f"return {paths[0]}" if returned else "return 1" if is_status else "return")
    nan = "float" in result and returned
    failed = ["failed()", *(f"{p}[0] = np.nan" for p in plan.outputs)]
    failed.append("return np.nan" if nan else "return" if result == VOID else "return 0")
    text = "\n".join(
        (f"def c_function({', '.join(plan.parameters)}):", "    try:", *(f"        {line}" for line in body),
         "    except Exception:", *(f"        {line}" for line in failed), "")
    )  # fmt: skip
    count = np.zeros(1, np.int64)
    space: dict[str, Any] = {"np": np, "carray": carray, "compiled": compiled, "failed": _counter(count.ctypes.data)}
    exec(text, space)
    gives = types.void if result == VOID else numpy_support.from_dtype(np.dtype(result))
    return CFunc(compiled, signature, numba_cfunc(gives(*plan.types))(space["c_function"]), count)


def _plan(compiled: Compiled, signature: str, written: list[str]) -> _Plan:
    plan = _Plan()
    kinds = inspect.Parameter
    positional = (kinds.POSITIONAL_ONLY, kinds.POSITIONAL_OR_KEYWORD)
    room = [p for p in compiled._signature.parameters.values() if p.kind in positional]
    required = sum(p.default is kinds.empty for p in room)
    parts = [_parameter(text, signature) for text in written if text and text != "void"]
    for k, (dtype, _) in enumerate(parts):
        plan.parameters.append(f"c{k}")
        plan.types.append(
            types.voidptr if dtype == VOID else numpy_support.from_dtype(np.dtype(dtype)) if not parts[k][1]
            else types.CPointer(numpy_support.from_dtype(np.dtype(dtype)))
        )  # fmt: skip
    k = 0
    data = ""
    arrays: list[tuple[str, str]] = []
    while k < len(parts):
        dtype, pointer = parts[k]
        sizes = 0
        while k + sizes < len(parts) and not parts[k + sizes][1] and np.dtype(parts[k + sizes][0]).kind in "iu":
            sizes += 1
        after = parts[k + sizes] if k + sizes < len(parts) else None
        if dtype == VOID:
            data, k = f"c{k}", k + 1
        elif sizes and after is not None and after[1] and after[0] != VOID:
            shape = "".join(f"np.intp(c{k + n}), " for n in range(sizes))
            negative = " or ".join(f"c{k + n} < 0" for n in range(sizes))
            plan.checks.append(f"if {negative}:\n            raise ValueError('a negative size')")
            arrays.append((f"c{k + sizes}", f"c{k}"))
            _take_array(plan, f"c{k + sizes}", shape, sizes, after[0])
            k += sizes + 1
        elif pointer and not plan.arguments and k + 1 < len(parts) and not parts[k + 1][1]:
            _take_array(plan, f"c{k}", f"np.intp(c{k + 1}), ", 1, dtype)  # as scipy.ndimage has it
            k += 2
        elif pointer:
            plan.outputs.append(f"c{k}")
            k += 1
        else:
            integer = np.dtype(dtype).kind in "iu"
            plan.arguments.append(f"np.int64(c{k})" if integer else f"c{k}")
            plan.argument_types.append(types.int64 if integer else plan.types[k])
            k += 1
    if len(arrays) == 1 and len(plan.arguments) == 1 and required > 1 and not data:
        # The numbers of an array are the arguments, as scipy.integrate.nquad passes them.
        (values, count), ty = arrays[0], plan.argument_types[0].dtype
        plan.checks.append(f"if {count} < {required}:\n            raise ValueError('too few numbers')")
        plan.arguments = [f"{values}[{n}]" for n in range(required)]
        plan.argument_types = [ty] * required
    if data:
        missing = len(room) - len(plan.arguments)
        plan.checks.append(f"data = carray({data}, {max(missing, 0)}, np.float64)")
        plan.arguments += [f"data[{n}]" for n in range(missing)]
        plan.argument_types += [types.float64] * missing
    if not required <= len(plan.arguments) <= len(room):
        raise UnsupportedError(
            f"{compiled._qualname} takes {len(room)} arguments, and {signature!r} gives it {len(plan.arguments)}",
            why="sizes and the pointer after them are one array, and void * points to doubles for the last arguments.",
        )
    return plan


def _take_array(plan: _Plan, pointer: str, shape: str, ndim: int, dtype: str) -> None:
    plan.arguments.append(f"carray({pointer}, ({shape}))")
    plan.argument_types.append(types.Array(numpy_support.from_dtype(np.dtype(dtype)), ndim, "C"))


def _parameter(text: str, signature: str) -> tuple[str, bool]:
    """The dtype (or void) of a C parameter, and whether it is a pointer."""
    if "*" in text:
        base = text.partition("*")[0].replace("const", " ").strip()
        return (VOID, True) if base == VOID else (dtype_of_c(base, signature), True)
    words = text.split()
    for count in (len(words), len(words) - 1):  # with or without the name of the parameter
        try:
            return dtype_of_c(" ".join(words[:count]), signature), False
        except UnsupportedError:
            if count < len(words) or count == 1:
                raise
    raise UnsupportedError(f"{text!r} in {signature!r} is no parameter of C")


def _paths(tree: Tree) -> list[str]:
    """The expressions of the leaves of a result `r`."""
    found: list[str] = []

    def walk(tree: Tree, path: str) -> None:
        if isinstance(tree, Leaf):
            found.append(path)
        else:
            for k, item in enumerate(getattr(tree, "items", ())):
                walk(item, f"{path}[{k}]")

    walk(tree, "r")
    return found


def _counter(address: int) -> Any:
    """A function for nopython code that adds 1 to the integer at an address."""

    @intrinsic  # type: ignore[untyped-decorator]
    def failed(typingctx: Any) -> Any:
        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            place = builder.inttoptr(ir.Constant(ir.IntType(64), address), ir.IntType(64).as_pointer())
            builder.atomic_rmw("add", place, ir.Constant(ir.IntType(64), 1), "monotonic")
            return context.get_dummy_value()

        return types.none(), codegen

    return failed


INSPECTORS["cfunc"] = make
