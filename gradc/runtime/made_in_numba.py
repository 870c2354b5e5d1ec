"""Derivatives that are asked for in nopython code.

    @njit                                   a function under njit is part of its Numba type, so the derivative is made
    def step(x):                            while `step` is compiled, and is a constant of it, as if it had been made
        return x - gradc.grad(f)(x)         outside: `g = gradc.grad(f)`
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any

from numba import types
from numba.extending import overload

from gradc.errors import GradcError, UnsupportedError
from gradc.runtime.in_numba import CompiledType, note_place

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
    overload(make, prefer_literal=True)(space["of_types"])


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
    raise UnsupportedError(
        f"gradc.{what}, called in nopython code, is given what is no function known to it: {ty}",
        why="nopython code knows functions under numba.njit, and what gradc has compiled.",
        hint="put the function under numba.njit; or " + _OUTSIDE.format(what),
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


def refused_in_numba(function: Callable[..., Any], why: str, hint: str) -> None:
    """Let nopython code that calls `function` fail with a reason."""

    def of_types(*args: Any) -> Any:
        error = UnsupportedError(f"gradc.{function.__name__} cannot be called in nopython code", why=why, hint=hint)
        note_place(error)
        raise error

    overload(function)(of_types)
