"""Compiled functions of SymPy expressions and of strings."""

from __future__ import annotations

import functools
import inspect
import sys
from collections.abc import Mapping, Sequence
from types import FunctionType
from typing import Any

import numpy as np

from gradc.errors import UnsupportedError
from gradc.frontends.from_string import expression_function, split_names
from gradc.ir.custom import calls_in_place
from gradc.ir.interp import run
from gradc.ir.program import Program, Typed
from gradc.ir.tree import LEAF_TYPES, Branch, flatten, unflatten
from gradc.ir.types import WEAK_FLOAT, is_inexact
from gradc.runtime import pipeline
from gradc.runtime.built import BuiltFunction
from gradc.runtime.dispatch import program_of, signature_of

_KINDS = inspect.Parameter


class ExpressionFunction(BuiltFunction):
    """A function that a SymPy expression, or a structure of expressions, describes."""

    kind = "lambdify"

    def __init__(self, args: Sequence[Any], expression: Any, name: str = "expression") -> None:
        from gradc.frontends import from_sympy, sympy_arguments  # SymPy is an optional dependency

        self.args = tuple(args)
        self.expression = expression
        self.__name__ = self.__qualname__ = name
        self.__module__ = __name__
        self._build = from_sympy.build
        named = [sympy_arguments.with_symbol(arg, expression) for arg in self.args]
        self._patterns = [sympy_arguments.pattern_of(arg) for arg in named]
        self._names = sympy_arguments.argument_names(named)
        sympy_arguments.check_distinct(self._patterns)
        self.__signature__ = inspect.Signature([_KINDS(n, _KINDS.POSITIONAL_OR_KEYWORD) for n in self._names])

    @functools.cached_property
    def __doc__(self) -> str:  # type: ignore[override]
        text = str(self.expression) if _is_small(self.expression) else "A large expression"
        return f"{text}, of {', '.join(self._names)}."

    def __reduce__(self) -> Any:
        return ExpressionFunction, (self.args, self.expression, self.__name__)

    def __gradc_program__(self, values: Sequence[Any]) -> Program:
        return self._build(self.__name__, self._patterns, self._names, self.expression, values)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """The value by the interpreter of the IR."""
        bound = self.__signature__.bind(*args, **kwargs)
        values = tuple(bound.arguments.values())
        program = self.__gradc_program__(values)
        return unflatten(program.result, run(program.func, flatten(values)[0]))


class StringFunction(BuiltFunction):
    """A function that a string in Python syntax describes."""

    kind = "lambdify"

    def __init__(self, args: Sequence[Any], texts: Any, name: str = "expression") -> None:
        self.args = tuple(args)
        self.texts = texts
        self.__name__ = self.__qualname__ = name
        self.__module__ = __name__
        self.function: FunctionType = expression_function(self.args, texts, name)
        self.__doc__ = f"{texts}, of {', '.join(inspect.signature(self.function).parameters)}."
        self.__signature__ = inspect.signature(self.function)

    def __reduce__(self) -> Any:
        return StringFunction, (self.args, self.texts, self.__name__)

    def __gradc_program__(self, values: Sequence[Any]) -> Program:
        return pipeline.parse(self.function, values)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.function(*args, **kwargs)


def to_sympy(function: Any, args: Sequence[Any]) -> Any:
    """The expressions of a function's results, in their structure. See `gradc.to_sympy`."""
    import sympy  # an optional dependency

    from gradc.codegen.to_sympy import exact, expressions

    signature = signature_of(function)
    parameters = list(signature.parameters)
    bound = signature.bind(*args, *(name for name in parameters[len(args) :] if _is_open(signature, name)))
    bound.apply_defaults()
    given = [sympy.Symbol(x) if isinstance(x, str) else x for x in bound.arguments.values()]
    leaves, tree = flatten(tuple(given), (*LEAF_TYPES, sympy.Basic))
    assert isinstance(tree, Branch)
    examples = [Typed(WEAK_FLOAT) if isinstance(x, sympy.Basic) else x for x in leaves]
    program = program_of(function, unflatten(tree, examples))
    symbols: list[Any] = []
    for x, param in zip(leaves, program.func.params, strict=False):
        if isinstance(x, np.ndarray) and is_inexact(param.ty):
            names = np.array([f"{param.name}_{'_'.join(map(str, k))}" for k in np.ndindex(*x.shape)], object)
            symbols.append(np.frompyfunc(sympy.Symbol, 1, 1)(names).reshape(x.shape))
        elif isinstance(x, sympy.Basic | bool | int) or not is_inexact(param.ty):
            symbols.append(x)
        else:
            symbols.append(sympy.Symbol(param.name))
    for capture in program.captures:
        for x in flatten(capture.fetch())[0]:
            held = np.frompyfunc(exact, 1, 1)(x) if isinstance(x, np.ndarray) else x
            symbols.append(held if isinstance(x, np.ndarray | int) else exact(x))
    return unflatten(program.result, expressions(calls_in_place(program.func), symbols))


def _is_open(signature: inspect.Signature, name: str) -> bool:
    parameter = signature.parameters[name]
    return parameter.default is _KINDS.empty and parameter.kind is _KINDS.POSITIONAL_OR_KEYWORD


def expression_of(args: Any, expression: Any, name: str = "expression") -> BuiltFunction:
    """The function of an expression, by what it is made of."""
    if isinstance(args, str):
        args = split_names(args)
    elif not isinstance(args, list | tuple | set) and type(args).__name__ != "Tuple":
        args = (args,)
    elif isinstance(args, set):
        args = sorted(args, key=str)
    if _holds_strings(expression):
        return StringFunction([_name_of(arg) for arg in args], expression, name)
    if not _is_sympy(expression) and not _is_plain(expression):
        raise UnsupportedError(
            f"{expression!r} is not an expression", why="lambdify takes SymPy expressions, matrices and strings, and "
            "tuples, lists and dicts of them.", hint="for Python functions use gradc.jit.",
        )
    return ExpressionFunction(args, expression, name)


def _is_sympy(x: Any) -> bool:
    sympy = sys.modules.get("sympy")
    if isinstance(x, np.ndarray):
        return sympy is not None and all(_is_sympy(item) or _is_plain(item) for item in x.ravel())
    return sympy is not None and isinstance(x, sympy.Basic | sympy.MatrixBase | sympy.NDimArray)


def _is_plain(x: Any) -> bool:
    """Whether `x` is a number, or a structure that holds expressions."""
    if isinstance(x, tuple | list):
        return all(_is_sympy(item) or _is_plain(item) for item in x)
    if isinstance(x, Mapping):
        return all(_is_sympy(item) or _is_plain(item) for item in x.values())
    return isinstance(x, bool | int | float | complex)


def _holds_strings(x: Any) -> bool:
    if isinstance(x, str):
        return True
    if isinstance(x, Mapping):
        return any(_holds_strings(item) for item in x.values())
    return isinstance(x, tuple | list) and any(_holds_strings(item) for item in x)


def _name_of(arg: Any) -> Any:
    """An argument of a string: a name, or a nested tuple of names."""
    if isinstance(arg, tuple | list) or type(arg).__name__ == "Tuple":
        return tuple(_name_of(item) for item in arg)
    return arg if isinstance(arg, str) else str(arg)


def _is_small(expression: Any) -> bool:
    from gradc.frontends import from_sympy  # SymPy is an optional dependency

    return not from_sympy.text_of(expression).startswith("<")
