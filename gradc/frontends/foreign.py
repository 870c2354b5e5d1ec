"""Calls of C functions: numbers are converted to the types that the function declares, as ctypes and cffi do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from gradc.errors import UnsupportedError
from gradc.frontends.bindings import Binding, Key, describe, is_array, is_number
from gradc.ir.foreign import VOID, Parameter, c_function
from gradc.ir.nodes import Value
from gradc.ops.foreign import call_c, call_c_into
from gradc.ops.memory import store
from gradc.ops.rules import convert


@dataclass(frozen=True, slots=True, eq=False)
class AddressFetch:
    """The address of a C function, whose object a guard holds on to."""

    address: int
    name: str
    is_address = True  # `.source` takes the function instead

    def __call__(self) -> int:
        return self.address

    def key(self) -> Key:
        return ("address", self.address)


@dataclass(frozen=True, slots=True, eq=False)
class Pointer:
    """What `ffi.from_buffer` gives: an array as a C function takes it."""

    array: Value
    writable: bool


def from_buffer(machine: Any, args: Sequence[Binding], keywords: dict[str, Binding]) -> Pointer:
    """cffi's ffi.from_buffer([cdecl], array, require_writable=False)."""
    options = dict(keywords)
    given = [*args, *(options.pop(n) for n in ("cdecl", "python_buffer") if n in options)]
    if given and not is_array(given[0]):
        given.pop(0)
    writable = options.pop("require_writable", given.pop() if len(given) > 1 else False)
    if options or len(given) != 1 or not is_array(given[0]) or not isinstance(writable, bool):
        machine.refuse("`from_buffer` takes an array here")
    return Pointer(given[0], writable)


def call(machine: Any, callee: Any, args: Sequence[Binding], keywords: dict[str, Binding]) -> Binding:
    """callee(*args) where `callee` is a C function."""
    try:
        function = c_function(callee)
    except UnsupportedError as error:
        return machine.refuse(error.what, error.why, error.hint)
    fetch = machine.fetch_of.get(id(callee))
    name = str(getattr(fetch[1], "name", "")) if fetch is not None else ""
    name = name if name.isidentifier() and name != "function" and not name.startswith("_gradc") else function.name
    prototype = function.prototype
    if len(args) == len(prototype.parameters):
        prototype = prototype.writing([k for k, a in enumerate(args) if isinstance(a, Pointer) and a.writable])
    if keywords:
        machine.refuse(f"the C function `{name}` has no named parameters")
    if len(args) != len(prototype.parameters):
        machine.refuse(f"the C function `{name}` takes {len(prototype.parameters)} arguments, and is given {len(args)}")
    given = [_argument(machine, name, k, a, p) for k, (a, p) in enumerate(zip(args, prototype.parameters, strict=True))]
    address = machine.external(function.address, AddressFetch(function.address, name))
    attrs = {"prototype": str(prototype), "name": name}
    if not prototype.written:
        if prototype.result == VOID:
            machine.refuse(
                f"the C function `{name}` returns nothing, and is not known to write anywhere",
                hint="declare the array that it writes into: np.ctypeslib.ndpointer(dtype, flags='C, W'), or "
                "ffi.from_buffer(\"double[]\", x, require_writable=True).",
            )
        return machine.builder.add(call_c, [address, *given], attrs)
    if prototype.result != VOID or len(prototype.written) > 1:
        machine.refuse(
            f"the C function `{name}` writes into an array, and gives other results, too",
            hint="declare one array as written (flags='C, W'), and restype = None.",
        )
    target = given.pop(prototype.written[0])
    store(target, machine.builder.add(call_c_into, [target, address, *given], attrs))
    return None


def _argument(machine: Any, name: str, k: int, given: Binding, parameter: Parameter) -> Value:
    given = given.array if isinstance(given, Pointer) else given
    what = f"argument {k + 1} of the C function `{name}`"
    if parameter.pointer:
        if not is_array(given) or given.dtype != parameter.dtype:
            machine.refuse(f"{what} is {describe(given)}, and has to be an array of {parameter.dtype}")
        return given
    value: Value | None = None
    if is_number(given) or isinstance(given, Value):
        value = machine.value(given)
    if value is None or is_array(value):
        machine.refuse(
            f"{what} is {describe(given)}, and has to be a number",
            hint="call it for every element in a loop; or declare np.ctypeslib.ndpointer(dtype, flags='C').",
        )
    assert value is not None
    have, want = np.dtype(value.dtype), np.dtype(parameter.dtype)
    if have.kind == "c" or (have.kind == "f" and want.kind in "biu"):
        machine.refuse(f"{what} is {describe(given)}, and has to be of type {parameter.dtype}")
    return convert(value, parameter.dtype) if have.kind == "b" and want.kind != "b" else value
