"""Callables that are not functions: partial objects, bound methods, objects with a `__call__` of their own.

The front end reads functions, and knows what a call of such an object means. So a function is written that calls it:

    def loss(x, y=_gradc_default0):
        return _gradc_target1(x, y)
"""

from __future__ import annotations

import functools
import inspect
import itertools
import linecache
import types
from collections.abc import Callable
from typing import Any

from gradc.ir.foreign import is_c_function, signature_of
from gradc.runtime.fastcall import Names, signature_text

_numbers = itertools.count()
_PASSED: dict[Any, str] = {
    inspect.Parameter.VAR_POSITIONAL: "*{0}",
    inspect.Parameter.VAR_KEYWORD: "**{0}",
    inspect.Parameter.KEYWORD_ONLY: "{0}={0}",
}


def is_forwarded(function: Any) -> bool:
    """Whether `function` is a callable that only a function of its own can stand for."""
    if isinstance(function, functools.partial | types.MethodType):
        return True
    call = inspect.getattr_static(type(function), "__call__", None)
    written = isinstance(call, types.FunctionType) or hasattr(call, "__gradc_expand__")
    if is_c_function(function):
        return True
    ours = hasattr(function, "__gradc_program__") or hasattr(function, "__gradc_expand__")
    return written and not ours and not hasattr(function, "py_func")


def forwarding(target: Callable[..., Any]) -> types.FunctionType:
    """A function with the signature of `target` that calls it."""
    names = Names()
    signature = signature_of(target)
    parameters, _ = signature_text(signature, names)
    call = names.of(target, "target")
    arguments = ", ".join(_PASSED.get(p.kind, "{0}").format(p.name) for p in signature.parameters.values())
    name = _name_of(target)
    text = f"def {name}({parameters}):\n    return {call}({arguments})\n"
    filename = f"<gradc call of {name} {next(_numbers)}>"
    # The front end reads a function's text where Python's tracebacks do.
    linecache.cache[filename] = (len(text), None, text.splitlines(keepends=True), filename)
    exec(compile(text, filename, "exec"), names.space)
    made: types.FunctionType = names.space[name]
    made.__doc__ = getattr(_function_of(target), "__doc__", None)
    made.__module__ = str(getattr(_function_of(target), "__module__", None) or "")
    made.__qualname__ = getattr(_function_of(target), "__qualname__", name)
    made.__dict__["_forwards_to"] = target
    return made


def identity_of(function: Any) -> Any:
    """What is equal for functions that are the same: a method is another object each time that it is looked up."""
    target = getattr(function, "_forwards_to", None)
    if isinstance(target, types.MethodType):
        return id(target.__self__), id(target.__func__)
    return id(function if target is None else target)


def _function_of(target: Any) -> Any:
    while isinstance(target, functools.partial):
        target = target.func
    return target


def _name_of(target: Any) -> str:
    inner = _function_of(target)
    name = str(getattr(inner, "__name__", type(inner).__name__))
    return name if name.isidentifier() else "function"
