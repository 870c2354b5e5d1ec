"""Derivatives that are asked for in nopython code.

    @njit                                   a function under njit is part of its Numba type, so the derivative is made
    def step(x):                            while `step` is compiled, and is a constant of it, as if it had been made
        return x - gradc.grad(f)(x)         outside: `g = gradc.grad(f)`
"""

from __future__ import annotations

import functools
import inspect
import weakref
from collections.abc import Callable
from types import FunctionType, ModuleType
from typing import Any

from numba import types
from numba.core.imputils import lower_constant
from numba.core.typeinfer import TypeInferer
from numba.extending import models, overload, register_model, typeof_impl

from gradc.errors import GradcError, UnsupportedError
from gradc.runtime.in_numba import CompiledType, note_place

_CALLABLE: set[Any] = set()  # what nopython code may call here
_OPERANDS: weakref.WeakSet[FunctionType] = weakref.WeakSet()
_OUTSIDE = "make it outside, g = gradc.{0}(f), and call g in nopython code."


def derivatives_in_numba(make: Callable[..., Any]) -> None:
    """Let nopython code call `make(f, ...)`, which gives a compiled object, with literals for what follows `f`."""
    # Numba compares the parameters of the two functions with each other, and binds calls to them.
    signature = inspect.signature(make)
    names = list(signature.parameters)
    parameters = ", ".join(
        p.name if p.default is inspect.Parameter.empty else f"{p.name}={p.default!r}"
        for p in signature.parameters.values()
    )
    lines = [
        f"def of_types({parameters}):",
        f"    made = build({', '.join(names)})",
        f"    def derivative({parameters}):",
        "        return made",
        "    return derivative",
    ]

    def build(f: Any, *options: Any) -> Any:
        try:
            values = [_literal(ty, name, make.__name__) for ty, name in zip(options, names[1:], strict=True)]
            return _made(make, function_of(f, make.__name__), tuple(values))
        except (GradcError, ValueError) as error:
            note_place(error)
            raise

    space: dict[str, Any] = {"build": build}
    exec("\n".join(lines), space)
    derivative_in_numba(make)(space["of_types"])


def derivative_in_numba(make: Callable[..., Any]) -> Callable[[Callable[..., Any]], Any]:
    """Decorator: what a call of `make` in nopython code is, as `numba.extending.overload` has it."""
    _CALLABLE.add(make)
    return overload(make, prefer_literal=True)  # type: ignore[no-any-return]


@functools.lru_cache(maxsize=1024)
def _made(make: Callable[..., Any], function: Any, options: tuple[Any, ...]) -> Any:
    """One object for one derivative of one function, so that it is compiled once."""
    return make(function, *options)


def function_of(ty: Any, what: str) -> Any:
    """The function that a Numba type stands for. Raises: UnsupportedError where it stands for none."""
    if isinstance(ty, types.Dispatcher):
        return ty.dispatcher
    if isinstance(ty, CompiledType):
        return ty.compiled
    if isinstance(ty, PlainFunctionType):
        return ty.function
    raise UnsupportedError(
        f"gradc.{what}, called in nopython code, is given what is no function known to it: {ty}",
        why="a function is a global or closure variable, one under numba.njit, or what gradc has compiled.",
        hint=_OUTSIDE.format(what),
    )


def _literal(ty: Any, name: str, what: str) -> Any:
    """The value of an option, from its Numba type."""
    if isinstance(ty, types.Omitted):
        return ty.value
    if not isinstance(ty, types.Type):
        return ty
    if isinstance(ty, types.Literal):
        return ty.literal_value
    if isinstance(ty, types.NoneType):
        return None
    if isinstance(ty, types.BaseTuple):
        return tuple(_literal(item, name, what) for item in ty.types)
    raise UnsupportedError(
        f"`{name}` of gradc.{what}, called in nopython code, is not written as a literal",
        why="it decides what is compiled.",
        hint="write the value at the call; or " + _OUTSIDE.format(what),
    )


class PlainFunctionType(types.Callable, types.Opaque):  # type: ignore[misc]
    """The Numba type of a function of Python's that is differentiated in nopython code, but not called there."""

    def __init__(self, function: FunctionType) -> None:
        self.function = function
        super().__init__(f"the Python function {function.__qualname__} {id(function)}")

    @property
    def key(self) -> Any:
        return id(self.function)

    def get_call_type(self, context: Any, args: Any, kws: Any) -> Any:
        error = UnsupportedError(
            f"the Python function {self.function.__qualname__} is called in nopython code",
            why="nopython code can differentiate it, and calls functions under numba.njit only.",
            hint=f"put {self.function.__qualname__} under numba.njit, or call gradc.jit of it.",
        )
        note_place(error)
        raise error

    def get_call_signatures(self) -> tuple[tuple[Any, ...], bool]:
        return (), False

    def get_impl_key(self, signature: Any) -> Any:
        raise NotImplementedError


def register() -> Callable[..., Any]:
    """Tell Numba about Python's functions; gives the function that types them."""
    register_model(PlainFunctionType)(models.OpaqueModel)

    @typeof_impl.register(FunctionType)  # type: ignore[untyped-decorator]
    def typeof_function(value: FunctionType, context: Any) -> PlainFunctionType | None:
        """Only where it is an operand of nopython code that asks for derivatives: None is what Numba says elsewhere."""
        frame = inspect.currentframe()
        while frame is not None:
            inferer = frame.f_locals.get("self")
            if isinstance(inferer, TypeInferer):
                if not _is_operand(value, inferer):
                    return None
                _OPERANDS.add(value)
                return PlainFunctionType(value)
            frame = frame.f_back
        return None

    @lower_constant(PlainFunctionType)  # type: ignore[untyped-decorator]
    def constant(context: Any, builder: Any, ty: Any, value: Any) -> Any:
        return context.get_dummy_value()

    return typeof_function  # type: ignore[no-any-return]


def _is_operand(function: FunctionType, inferer: TypeInferer) -> bool:
    """Whether a function is named by nopython code that asks for derivatives."""
    caller = inferer.func_id
    if inferer.context._get_global_type(function) is not None or function.__name__ == caller.func_name:
        return False  # Numba knows it, or knows that a function calls itself
    if caller.func_name.startswith("__numba_parfor"):
        return function in _OPERANDS  # part of code that has been looked at
    return _asks_for_derivatives(caller.func)


def _asks_for_derivatives(function: FunctionType) -> bool:
    """Whether the code of a function names one that makes a derivative."""
    names = function.__code__.co_names
    outside = inspect.getclosurevars(function)
    for value in (*outside.globals.values(), *outside.nonlocals.values()):
        found = [getattr(value, name, None) for name in names] if isinstance(value, ModuleType) else [value]
        if any(isinstance(item, FunctionType) and item in _CALLABLE for item in found):
            return True
    return False


def refused_in_numba(function: Callable[..., Any], why: str, hint: str) -> None:
    """Let nopython code that calls `function` fail with a reason."""

    def of_types(*args: Any) -> Any:
        error = UnsupportedError(f"gradc.{function.__name__} cannot be called in nopython code", why=why, hint=hint)
        note_place(error)
        raise error

    derivative_in_numba(function)(of_types)


typeof_function = register()
