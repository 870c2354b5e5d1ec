"""An expression in Python syntax -> a Python function that the Python front end reads.

    expression_function(("x", ("y", "z")), "sin(x) * y + z")        def expression(x, arg1):
                                                                        y, z = arg1[0], arg1[1]
                                                                        return sin(x) * y + z

The text is parsed and looked through first: numbers, arguments, operators, and functions known by name may stand in it,
nothing else. It is never evaluated; what runs is what gradc compiles from it.
"""

from __future__ import annotations

import ast
import builtins
import hashlib
import keyword
import linecache
import math
import types
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from gradc.errors import Loc, UnsupportedError
from gradc.ops import CALLS

_RENAMED = {
    "asin": np.arcsin, "acos": np.arccos, "atan": np.arctan, "atan2": np.arctan2, "asinh": np.arcsinh,
    "acosh": np.arccosh, "atanh": np.arctanh, "ln": np.log, "ceiling": np.ceil, "Abs": np.abs, "Max": builtins.max,
    "Min": builtins.min, "abs": builtins.abs, "max": builtins.max, "min": builtins.min,
}  # fmt: skip
_NUMPY = (
    "sin", "cos", "tan", "arcsin", "arccos", "arctan", "arctan2", "sinh", "cosh", "tanh", "arcsinh", "arccosh",
    "arctanh", "exp", "exp2", "expm1", "log", "log2", "log10", "log1p", "sqrt", "cbrt", "hypot", "sign", "floor",
    "ceil", "rint", "where", "maximum", "minimum", "sum", "prod", "mean", "dot",
)  # fmt: skip
_CONSTANTS = {"pi": math.pi, "e": math.e, "E": math.e, "inf": math.inf, "nan": math.nan, "True": True, "False": False}
_MODULES = {"np": np, "numpy": np, "math": math}
FUNCTIONS: dict[str, Any] = {name: getattr(np, name) for name in _NUMPY} | _RENAMED
_SPECIAL = {
    "sigmoid": "expit", "logistic": "expit", "loggamma": "gammaln", "besselj": "jv", "bessely": "yv", "besseli": "iv",
    "besselk": "kv", "Ei": "expi", "E1": "exp1",
}  # fmt: skip
"""Names of functions of scipy.special besides SciPy's own."""


def _softplus(x: Any) -> Any:
    return np.logaddexp(0.0, x)


def _relu(x: Any) -> Any:
    return np.maximum(x, 0.0)


_OWN = {"softplus": _softplus, "relu": _relu}
_ALLOWED = (
    ast.Expression, ast.BinOp, ast.UnaryOp, ast.BoolOp, ast.Compare, ast.IfExp, ast.Tuple, ast.List, ast.Dict,
    ast.Subscript, ast.Slice, ast.Load, ast.operator, ast.unaryop, ast.boolop, ast.cmpop,
)  # fmt: skip
_SEQUENCES = (ast.Tuple, ast.List, ast.Dict)
_MOST_BITS = 1024


class Text:
    """The text of an expression, which knows how places in it are shown."""

    def __init__(self, text: str, name: str) -> None:
        self.text = text
        self.name = name

    def loc(self, node: Any) -> Loc:
        """The place of a node of its syntax tree, or of a SyntaxError."""
        if isinstance(node, SyntaxError):
            line, start = node.lineno or 1, max((node.offset or 1) - 1, 0)
            end = max((node.end_offset or 0) - 1, start + 1)
        else:
            line, start, end = node.lineno, node.col_offset, node.end_col_offset or node.col_offset + 1
            if node.end_lineno != line:
                end = start + 1
        lines = self.text.splitlines() or [""]
        return Loc("<expression>", self.name, line, start, end, lines[min(line, len(lines)) - 1])


def parsed(text: str, names: Sequence[str], name: str = "expression") -> ast.expr:
    """The syntax tree of an expression that has only what an expression may have.

    Raises: UnsupportedError with the expression and a caret.
    """
    place = Text(text.strip(), name)
    try:
        tree = ast.parse(place.text, mode="eval")
    except SyntaxError as error:
        raise UnsupportedError(
            f"`{place.text}` is not an expression in Python syntax: {error.msg}", place.loc(error),
            hint="write products with *, powers with **, and comparisons with ==.",
        ) from None
    except (ValueError, MemoryError, RecursionError) as error:
        raise UnsupportedError(f"this expression cannot be parsed: {error}") from None
    _check(tree.body, set(names), place)
    return tree.body


def _check(node: ast.expr, names: set[str], place: Text) -> None:
    """Refuse what does not belong into an expression."""
    waiting: list[Any] = [node]
    while waiting:
        e = waiting.pop()
        match e:
            case ast.BinOp(op=ast.BitXor()):
                between = place.text.find("^", e.left.end_col_offset or 0) if e.lineno == e.end_lineno else -1
                loc = place.loc(e)
                if between >= 0:
                    loc = Loc(loc.filename, loc.function, loc.lineno, between, between + 1, loc.text)
                raise UnsupportedError(
                    "`^` is not a power", loc, "in Python syntax `^` is the exclusive or of integers.",
                    "write ** for powers.",
                )
            case ast.BinOp(op=ast.BitAnd() | ast.BitOr() | ast.LShift() | ast.RShift() | ast.MatMult()):
                if not isinstance(e.op, ast.MatMult):
                    raise UnsupportedError(
                        "operators of integers' bits do not belong into an expression", place.loc(e),
                        hint="write `and`, `or`.",
                    )
            case ast.BinOp(left=left, right=right) if isinstance(left, _SEQUENCES) or isinstance(right, _SEQUENCES):
                raise UnsupportedError("tuples and lists have no arithmetic here", place.loc(e))
            case ast.BinOp(left=left, right=right) if _bits(e) > _MOST_BITS >= max(_bits(left), _bits(right)):
                raise UnsupportedError(
                    "this integer is too large", place.loc(e), "integers are computed when the expression is compiled.",
                    "write it as a float: 2.0**1000.",
                )
            case ast.Constant(value=value):
                if not isinstance(value, bool | int | float | complex):
                    raise UnsupportedError(f"{value!r} is not a number", place.loc(e))
                continue
            case ast.Name(id=name):
                if name not in names and name not in _CONSTANTS:
                    raise UnsupportedError(
                        f"`{name}` is not among the arguments", place.loc(e),
                        f"the arguments are {', '.join(sorted(names)) or 'none'}.",
                        f"call it: {name}(x)." if _function(name) is not None else f"add {name!r} to the arguments.",
                    )
                continue
            case ast.Attribute(value=ast.Name(id=module), attr=attr) if module in _MODULES and module not in names:
                if attr not in _CONSTANTS:
                    raise UnsupportedError(f"`{module}.{attr}` is not a number", place.loc(e))
                continue
            case ast.Call(func=func, args=args, keywords=keywords):
                if _callee(func, names) is None:
                    called = ast.unparse(func)
                    known = isinstance(func, ast.Name) and func.id in names
                    raise UnsupportedError(
                        f"`{called}` is a number and cannot be called" if known else f"`{called}` is not known",
                        place.loc(func), "expressions call elementary and special functions by name.",
                        "write a product with *." if known else "write a Python function and use gradc.jit.",
                    )
                if keywords:
                    raise UnsupportedError("functions take positional arguments here", place.loc(keywords[0].value))
                waiting += args
                continue
            case ast.Dict(keys=keys, values=values):
                for key in keys:
                    if not isinstance(key, ast.Constant):
                        raise UnsupportedError("keys are literals here", place.loc(key or e))
                waiting += values
                continue
            case _ if not isinstance(e, _ALLOWED):
                raise UnsupportedError(
                    f"`{ast.unparse(e)}` does not belong into an expression", place.loc(e),
                    "an expression has numbers, arguments, operators and functions.",
                    "write a Python function and use gradc.jit.",
                )
        waiting += ast.iter_child_nodes(e)


def _bits(e: ast.expr) -> float:
    """A bound for the number of bits of an integer that is written without arguments; 0 for what is none."""
    match e:
        case ast.Constant(value=int(value)):
            return value.bit_length()
        case ast.UnaryOp(operand=inner):
            return _bits(inner)
        case ast.BinOp(left=left, op=op, right=right):
            a, b = _bits(left), _bits(right)
            if isinstance(op, ast.Pow):
                return a * 2.0 ** min(b, 64) if a and b else 0
            if isinstance(op, ast.Mult):
                return a + b if a and b else 0
            if isinstance(op, ast.Add | ast.Sub):
                return max(a, b) + 1 if a and b else 0
    return 0


def _function(name: str) -> Any:
    if name in FUNCTIONS:
        return FUNCTIONS[name]
    if name in _OWN:
        return _OWN[name]
    if name.startswith("_"):
        return None
    import scipy.special  # wanted by few expressions

    found = getattr(scipy.special, _SPECIAL.get(name, name), None)
    return found if found is not None and found in CALLS else None


def _callee(func: ast.expr, names: set[str]) -> Any:
    """The function that is called; None where it is not one that expressions know."""
    match func:
        case ast.Name(id=name) if name not in names:
            return _function(name)
        case ast.Attribute(value=ast.Name(id=module), attr=attr) if module in _MODULES and module not in names:
            found = getattr(_MODULES[module], attr, None)
            return found if attr in FUNCTIONS and callable(found) else None
    return None


# ------------------------------------------------------------------------------------------------ functions


def split_names(text: str) -> tuple[str, ...]:
    """The names in "x y" or "x, y"."""
    return tuple(text.replace(",", " ").split())


def expression_function(args: Sequence[Any], texts: Any, name: str = "expression") -> types.FunctionType:
    """A Python function of an expression, or of a tuple, list or dict of them. It is not run here.

    args: names, or nested tuples of names for vector arguments.
    Raises: UnsupportedError for names that cannot be arguments, and as `parsed` does.
    """
    lines: list[str] = []
    params: list[str] = []
    seen: list[str] = []
    for k, arg in enumerate(args):
        if isinstance(arg, str):
            params.append(arg)
        else:
            params.append(f"arg{k}")
            lines += _unpacked(arg, f"arg{k}", seen)
    for param in params:
        if not param.isidentifier() or keyword.iskeyword(param):
            raise UnsupportedError(f"{param!r} cannot be a name in Python syntax", hint="use another name.")
    names = [*params, *seen]
    if len(set(names)) != len(names):
        raise UnsupportedError(f"an argument is named twice: {', '.join(names)}")
    body = _combined(texts, names, name)
    space: dict[str, Any] = dict(_MODULES) | _CONSTANTS | {"__name__": "gradc.expressions", "__builtins__": {}}
    for node in ast.walk(ast.parse(body, mode="eval")):
        if isinstance(node, ast.Name) and node.id not in names and node.id not in space:
            space[node.id] = _function(node.id)
    text = f"def {name}({', '.join(params)}):\n" + "".join(f"    {line}\n" for line in lines) + f"    return {body}\n"
    file = f"<expression {hashlib.sha256(text.encode()).hexdigest()[:12]}>"
    linecache.cache[file] = (len(text), None, text.splitlines(True), file)
    exec(compile(text, file, "exec"), space)  # makes the function; nothing of the expression is run
    made = space.pop(name)
    assert isinstance(made, types.FunctionType)
    return made


def _unpacked(arg: Any, source: str, seen: list[str]) -> list[str]:
    lines: list[str] = []
    for k, item in enumerate(arg):
        if isinstance(item, str):
            if not item.isidentifier() or keyword.iskeyword(item):
                raise UnsupportedError(f"{item!r} cannot be a name in Python syntax", hint="use another name.")
            lines.append(f"{item} = {source}[{k}]")
            seen.append(item)
        else:
            lines += _unpacked(item, f"{source}[{k}]", seen)
    return lines


def _combined(texts: Any, names: Sequence[str], name: str) -> str:
    """One text for a structure of expressions."""
    if isinstance(texts, str):
        tree = parsed(texts, names, name)
        return texts.strip() if "\n" not in texts.strip() else ast.unparse(tree)
    if isinstance(texts, Mapping):
        return "{" + ", ".join(f"{key!r}: {_combined(item, names, name)}" for key, item in texts.items()) + "}"
    if isinstance(texts, tuple | list):
        items = [_combined(item, names, name) for item in texts]
        return f"[{', '.join(items)}]" if isinstance(texts, list) else f"({''.join(f'{i}, ' for i in items)})"
    if isinstance(texts, bool | int | float):
        return repr(texts)
    raise UnsupportedError(f"{texts!r} is not an expression")
