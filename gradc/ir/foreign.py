"""C functions: what gradc knows of functions that it cannot read, and how one is called by its address.

    cbrt = ctypes.CDLL("libm.so.6").cbrt
    cbrt.argtypes, cbrt.restype = [ctypes.c_double], ctypes.c_double    -> Prototype("float64", ("float64",))

They come from ctypes (with `argtypes` and `restype`), from cffi, and from `scipy.LowLevelCallable`. They are taken to
be pure: what they return, and the array that they write into, follow from their arguments.
"""

from __future__ import annotations

import ctypes
import functools
import inspect
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from gradc.errors import UnsupportedError

_CtypesFunction: type[Any] = ctypes._CFuncPtr  # type: ignore[attr-defined]
_DTYPES = frozenset(
    ("bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "float32", "float64")
)
VOID = "void"
_FUNCTION_OF_PYTHON = 4  # FUNCFLAG_PYTHONAPI of ctypes
_WRITEABLE = 0x400  # the flag of NumPy's C interface, which ndpointer keeps
_PARAMETER = re.compile(r"([a-z]+(?:8|16|32|64)?)(\*?)(!?)(0?)")


@dataclass(frozen=True, slots=True)
class Parameter:
    """One parameter. pointer: an array of `dtype` is passed by its first element. zero: always 0, and not given."""

    dtype: str
    pointer: bool = False
    written: bool = False
    zero: bool = False

    def __str__(self) -> str:
        return self.dtype + "*" * self.pointer + "!" * self.written + "0" * self.zero


@dataclass(frozen=True, slots=True)
class Prototype:
    """Result and parameters of a C function. As text: "float64(int32, float64*)"; "!" marks what it writes into."""

    result: str
    all_parameters: tuple[Parameter, ...]

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        """Those that are given arguments."""
        return tuple(p for p in self.all_parameters if not p.zero)

    def __str__(self) -> str:
        return f"{self.result}({', '.join(map(str, self.all_parameters))})"

    @property
    def word(self) -> str:
        """The text as a part of an identifier."""
        marks = (f"{p.dtype}{'_p' * p.pointer}{'_w' * p.written}{'_z' * p.zero}" for p in self.all_parameters)
        return "__".join((self.result, *marks))

    def writing(self, positions: Sequence[int]) -> Prototype:
        """The same, writing also into the arrays at these positions."""
        if not positions:
            return self
        chosen = [self.parameters[k] for k in positions]
        found = (replace(p, written=True) if any(p is c for c in chosen) else p for p in self.all_parameters)
        return replace(self, all_parameters=tuple(found))

    @property
    def written(self) -> tuple[int, ...]:
        """Positions of the arrays that the function writes into."""
        return tuple(k for k, p in enumerate(self.parameters) if p.written)


@functools.cache
def parse_prototype(text: str) -> Prototype:
    """The prototype that `str` gives as `text`."""
    result, _, inside = text.rstrip(")").partition("(")
    found = [_PARAMETER.fullmatch(part.strip()) for part in inside.split(",") if part.strip()]
    return Prototype(result, tuple(Parameter(m[1], bool(m[2]), bool(m[3]), bool(m[4])) for m in found if m is not None))


def prototype_of_word(word: str) -> Prototype:
    """The prototype whose `word` this is."""
    result, *parts = word.split("__")
    parameters = []
    for part in parts:
        dtype, *marks = part.split("_")
        parameters.append(Parameter(dtype, "p" in marks, "w" in marks, "z" in marks))
    return Prototype(result, tuple(parameters))


@dataclass(frozen=True, slots=True, eq=False)
class CFunction:
    """A C function with what has to stay alive for it. Called from Python it converts numbers as ctypes does."""

    name: str
    address: int
    prototype: Prototype
    origin: Any

    def __call__(self, *args: Any) -> Any:
        return call_at(self.address, self.prototype, args)

    @property
    def __name__(self) -> str:
        return self.name

    def __reduce__(self) -> Any:
        return c_function, (self.origin,)

    def __repr__(self) -> str:
        return f"<C function {self.name}: {self.prototype}>"


@functools.cache
def _ctypes_prototype(prototype: Prototype) -> Any:
    def of(dtype: str) -> Any:
        return np.ctypeslib.as_ctypes_type(np.dtype(dtype))

    result = None if prototype.result == VOID else of(prototype.result)
    return ctypes.CFUNCTYPE(result, *(ctypes.c_void_p if p.pointer else of(p.dtype) for p in prototype.all_parameters))


def call_at(address: int, prototype: Prototype, args: Any) -> Any:
    """Call the function at `address` with numbers, and arrays where it takes pointers."""
    given = []
    kept = []
    waiting = list(args)
    if len(waiting) != len(prototype.parameters):
        raise TypeError(f"a C function takes {len(prototype.parameters)} arguments, and is given {len(waiting)}")
    for parameter in prototype.all_parameters:
        if parameter.zero:
            given.append(0)
            continue
        x = waiting.pop(0)
        if parameter.pointer:
            x = np.asarray(x, parameter.dtype, order="C") if not parameter.written else x
            kept.append(x)
            given.append(x.ctypes.data)
        else:
            given.append(np.dtype(parameter.dtype).type(x).item())
    return _ctypes_prototype(prototype)(address)(*given)


# ------------------------------------------------------------------------------------------------ finding out


def is_c_function(value: Any) -> bool:
    """Whether `value` is a C function that Python can call."""
    return isinstance(value, CFunction | _CtypesFunction) or _cffi_type(value) is not None


def signature_of(function: Any) -> inspect.Signature:
    """The parameters of a function, also of one in C."""
    if not is_c_function(function):
        return inspect.signature(function)
    kind = inspect.Parameter.POSITIONAL_ONLY
    parameters = c_function(function).prototype.parameters
    return inspect.Signature([inspect.Parameter(f"x{k}", kind) for k in range(len(parameters))])


def is_buffer_maker(value: Any) -> bool:
    """Whether `value` is the `from_buffer` of an FFI of cffi."""
    if getattr(value, "__name__", "") != "from_buffer":
        return False
    ffis = [getattr(sys.modules.get(m), "FFI", None) for m in ("cffi", "_cffi_backend")]
    return isinstance(getattr(value, "__self__", None), tuple(f for f in ffis if f is not None))


def is_low_level_callable(value: Any) -> bool:
    """Whether `value` is a `scipy.LowLevelCallable`."""
    module = sys.modules.get("scipy._lib._ccallback")
    return module is not None and isinstance(value, module.LowLevelCallable)


def c_function(value: Any) -> CFunction:
    """What is known of a C function. Raises: UnsupportedError where that is not enough to call it."""
    if isinstance(value, CFunction):
        return value
    if isinstance(value, _CtypesFunction):
        return _of_ctypes(value)
    if is_low_level_callable(value):
        return _of_low_level_callable(value)
    ty = _cffi_type(value)
    if ty is not None:
        return _of_cffi(value, ty)
    raise UnsupportedError(f"{value!r} is not a C function")


def _of_ctypes(function: Any) -> CFunction:
    name = str(getattr(function, "__name__", "") or "c_function")
    if type(function)._flags_ & _FUNCTION_OF_PYTHON:
        raise UnsupportedError(f"`{name}` is a function of Python's own C interface", why="those need Python's lock.")
    if function.argtypes is None:
        raise UnsupportedError(
            f"the C function `{name}` has no argument types",
            why="gradc calls it with numbers of the types that it declares.",
            hint=f"set {name}.argtypes and {name}.restype.",
        )
    if function.errcheck is not None:
        raise UnsupportedError(f"the C function `{name}` has an errcheck function, which compiled code would not call")
    result = VOID if function.restype is None else _dtype_of_ctype(function.restype, name)
    parameters = tuple(_parameter_of_ctype(ty, name) for ty in function.argtypes)
    address = ctypes.cast(function, ctypes.c_void_p).value
    if not address:
        raise UnsupportedError(f"the C function `{name}` is a null pointer")
    return CFunction(name, address, Prototype(result, parameters), function)


def _dtype_of_ctype(ty: Any, name: str) -> str:
    try:
        dtype = str(np.dtype(ty).name)
    except (TypeError, ValueError):
        dtype = ""
    if dtype not in _DTYPES:
        raise UnsupportedError(
            f"the C function `{name}` has a parameter or result of type {getattr(ty, '__name__', ty)}",
            why="gradc passes numbers and booleans of up to 64 bits, and arrays of them where a parameter is declared "
            "as np.ctypeslib.ndpointer(dtype, flags='C').",
        )
    return dtype


def _parameter_of_ctype(ty: Any, name: str) -> Parameter:
    dtype = getattr(ty, "_dtype_", None)
    if isinstance(ty, type) and isinstance(dtype, np.dtype) and hasattr(ty, "_flags_"):
        flags = getattr(ty, "_flags_", None) or 0
        if dtype.name not in _DTYPES:
            raise UnsupportedError(f"the C function `{name}` takes an array of {dtype}")
        return Parameter(dtype.name, True, bool(flags & _WRITEABLE))
    return Parameter(_dtype_of_ctype(ty, name))


_C_TYPES = {
    "double": "float64", "float": "float32", "bool": "bool", "_Bool": "bool", "char": "int8", "signed char": "int8",
    "unsigned char": "uint8", "size_t": "uint64", "ssize_t": "int64", "intptr_t": "int64", "ptrdiff_t": "int64",
    "npy_intp": "int64", "intptr": "int64", "Py_ssize_t": "int64",
    **{f"{sign}int{bits}_t": f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)},
}  # fmt: skip


def dtype_of_c(text: str, name: str) -> str:
    """The dtype of a C type by its name."""
    words = [w for w in text.split() if w not in ("const", "volatile", "register")]
    plain = " ".join(words)
    if plain in _C_TYPES:
        return _C_TYPES[plain]
    sizes = {"short": ctypes.c_short, "long": ctypes.c_long, "long long": ctypes.c_longlong, "": ctypes.c_int}
    rest = " ".join(w for w in words if w not in ("unsigned", "signed", "int"))
    if words and rest in sizes and all(w in ("unsigned", "signed", "int", "short", "long") for w in words):
        return ("u" if "unsigned" in words else "") + f"int{8 * ctypes.sizeof(sizes[rest])}"
    raise UnsupportedError(
        f"the C function `{name}` has a parameter or result of type {text}",
        why="gradc passes numbers and booleans of up to 64 bits, and arrays of them.",
    )


def _cffi_type(value: Any) -> Any:
    """The function type of a function of cffi, or None."""
    backend = sys.modules.get("_cffi_backend")
    if backend is None:
        return None
    if isinstance(value, backend._CDataBase):
        found = backend.typeof(value)
    elif isinstance(getattr(value, "__self__", None), backend.Lib):  # of a compiled library
        found = backend.FFI().typeof(value)
    else:
        return None
    return found if found.kind == "function" else None


def _of_cffi(function: Any, ty: Any) -> CFunction:
    backend = sys.modules["_cffi_backend"]
    if isinstance(function, backend._CDataBase):
        name, pointer = "c_function", function
    else:
        name = str(function.__name__)
        pointer = backend.FFI().addressof(function.__self__, name)
    if ty.ellipsis:
        raise UnsupportedError(f"the C function `{name}` takes arguments of any number and type")

    def parameter(inner: Any) -> Parameter:
        if inner.kind == "pointer":
            # cffi does not tell `const`: what is written into is marked where it is passed, by require_writable.
            return Parameter(dtype_of_c(inner.item.cname, name), True)
        return Parameter(dtype_of_c(inner.cname, name))

    result = VOID if ty.result.kind == "void" else dtype_of_c(ty.result.cname, name)
    address = int(backend.cast(backend.new_primitive_type("uintptr_t"), pointer))
    return CFunction(name, address, Prototype(result, tuple(map(parameter, ty.args))), function)


_SIGNATURE = re.compile(r"\s*([\w\s]+?)\s*\((.*)\)\s*")


def _of_low_level_callable(value: Any) -> CFunction:
    function = value.function
    if is_c_function(function):
        return c_function(function)
    get_name, get_pointer = ctypes.pythonapi.PyCapsule_GetName, ctypes.pythonapi.PyCapsule_GetPointer
    get_name.restype, get_name.argtypes = ctypes.c_char_p, [ctypes.py_object]
    get_pointer.restype, get_pointer.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]
    text = get_name(function)
    address = get_pointer(function, text)
    written = (value.signature or text.decode()).strip()
    match = _SIGNATURE.fullmatch(written)
    if match is None or not address:
        raise UnsupportedError(f"the signature of {value!r} is {written!r}, which gradc cannot read")
    parameters = []
    for part in match[2].split(","):
        star = "*" in part
        words = part.replace("*", " ").split()
        if not star and len(words) > 1 and words[-1] not in _WORDS_OF_TYPES:
            words.pop()  # the name of the parameter
        elif star:
            words = part.partition("*")[0].split()
        if part.split()[-1:] == ["__pyx_skip_dispatch"]:  # of Cython
            parameters.append(Parameter("int32", zero=True))
        elif words and words != ["void"]:
            parameters.append(Parameter(dtype_of_c(" ".join(words), "LowLevelCallable"), star))
        elif star:
            raise UnsupportedError(
                f"{value!r} takes a pointer to user data", why="gradc passes numbers and arrays.",
                hint="bind the data in a ctypes function.",
            )
    result = VOID if match[1] == "void" else dtype_of_c(match[1], "LowLevelCallable")
    return CFunction("low_level_callable", address, Prototype(result, tuple(parameters)), value)


_WORDS_OF_TYPES = frozenset(("int", "long", "short", "char", "double", "float", "unsigned", "signed", *_C_TYPES))
