"""Exceptions of kernels as the user sees them: with the place in the user's file as the last line of the traceback.

A kernel raises with the place at the end of the message, because Numba compiles exceptions of constants:

    raise IndexError("index is out of range\\n  model.py:12")
"""

from __future__ import annotations

import builtins
import contextlib
import re
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any

import numpy as np

from gradc import errors
from gradc.config import config
from gradc.errors import GradcError, InternalError, Loc, ShapeError
from gradc.ir.effects import has_effect
from gradc.ir.nodes import Func, walk_nodes
from gradc.ir.types import Array

_PLACE = re.compile(r"\n  (.+):(\d+)\Z")
_WORD = re.compile(r"[A-Za-z_]\w*")
_SIZES = re.compile(r"sizes (.+) \(axis (\d+)\) and (.+) \(axis (\d+)\) differ\Z")


def no_such_signature(error: BaseException) -> bool:
    """Whether this is Numba's dispatcher saying that it has no code for these arguments: nothing has run."""
    return isinstance(error, TypeError) and bool(error.args) and str(error.args[0]).startswith("No matching definition")


def explained(error: Exception, func: Func, leaves: Sequence[Any] = ()) -> Exception:
    """An exception of the kernel of `func`, with `.filename`, `.lineno` and `.hint`, from the user's line.

    leaves: what the kernel was called with, by which sizes that do not fit are told.
    """
    found = _PLACE.search(error.args[0]) if error.args and isinstance(error.args[0], str) else None
    if found is None:
        return error.with_traceback(None)
    message, filename, lineno = error.args[0][: found.start()], found.group(1), int(found.group(2))
    loc = _loc_of(func, filename, lineno, message)
    if isinstance(error, GradcError):
        return type(error)(*_sizes_told(type(error), message, func, leaves, loc)).with_traceback(_frame_at(loc))
    error.args = (message, *error.args[1:]) if message else error.args[1:]
    return _placed(error, loc)


def _placed(error: Exception, loc: Loc) -> Exception:
    """An exception of the user's program, with the place where it was raised."""
    if not isinstance(error, OSError | SyntaxError):  # these have attributes of these names
        for name, value in (("filename", loc.filename), ("lineno", loc.lineno), ("hint", "")):
            with contextlib.suppress(AttributeError):
                setattr(error, name, value)
    return error.with_traceback(_frame_at(loc))


def without_way(error: GradcError) -> GradcError:
    """An error about the user's program without the frames of the compiler that found it, unless one debugs gradc."""
    keep = config().debug or isinstance(error, InternalError)
    return error if keep else error.with_traceback(None)


def _sizes_told(
    kind: type[GradcError], message: str, func: Func, leaves: Sequence[Any], loc: Loc
) -> tuple[str, Loc, str]:
    """A message on sizes that differ with the numbers that they are, the place, and what the sizes are those of."""
    found = _SIZES.match(message)
    if found is None:
        return message, loc, _shapes(func, leaves, message) if kind is ShapeError else ""
    numbers: dict[str, int] = {}
    names: dict[str, str] = {}
    for param, leaf in zip(func.params, leaves, strict=False):
        for axis, size in enumerate(param.ty.shape if isinstance(param.ty, Array) else ()):
            numbers.setdefault(str(size), np.shape(leaf)[axis])
            names.setdefault(str(size), f"{param.name}.shape[{axis}]")
    first, one, second, other = found.groups()
    told = [f"{_number(size, numbers)} (axis {axis})" for size, axis in ((first, one), (second, other))]
    meant = [_WORD.sub(lambda m: names.get(m.group(), m.group()), size) for size in (first, second)]
    why = f"they are {meant[0]} and {meant[1]}" if meant != [first, second] else ""
    return f"sizes {told[0]} and {told[1]} differ", loc, "; ".join(filter(None, (why, _shapes(func, leaves, message))))


def _shapes(func: Func, leaves: Sequence[Any], message: str) -> str:
    """Shapes of the arrays among the arguments: of those that the message names, or of all."""
    shapes = {p.name: x.shape for p, x in zip(func.params, leaves, strict=False) if isinstance(x, np.ndarray)}
    named = {name: shape for name, shape in shapes.items() if re.search(rf"\b{re.escape(name)}_\d", message)}
    return ", ".join(f"{name} has shape {shape}" for name, shape in (named or shapes).items())


def _number(size: str, numbers: Mapping[str, int]) -> str:
    """What the text of a size comes to, where it is arithmetic with sizes that are known."""
    text = _WORD.sub(lambda m: str(numbers.get(m.group(), m.group())), size)
    if not re.fullmatch(r"(max\(|[-+*/(), \d])+", text):
        return size
    return str(eval(text, {"__builtins__": {}, "max": max}))


def always_raised(func: Func) -> Exception | None:
    """The exception with which every call of `func` ends, where the message is known and nothing else comes before."""
    for node in func.body.nodes:
        if node.op.kind != "check":
            if has_effect(node):
                return None
            continue
        if node.op.name != "check":
            return None
        condition = node.operands[0].node
        known = condition is not None and condition.op.name == "const" and not condition.attrs["value"]
        kind = getattr(errors, node.attrs["error"], None) or getattr(builtins, node.attrs["error"], None)
        if not known or len(node.operands) > 1 or not (isinstance(kind, type) and issubclass(kind, Exception)):
            return None
        message = node.attrs["message"]
        if issubclass(kind, GradcError):
            return kind(message, node.loc).with_traceback(_frame_at(node.loc))
        key = message[1:-1] if kind is KeyError and message[:1] + message[-1:] in ("''", '""') else message
        error = kind(key) if message else kind()
        return _placed(error, node.loc) if node.loc.lineno else error
    return None


def _loc_of(func: Func, filename: str, lineno: int, message: str) -> Loc:
    """The full place of a check: the kernel tells its file and line only."""
    same_line = Loc(filename, "", lineno)
    for node in walk_nodes(func.body):
        if node.loc.filename == filename and node.loc.lineno == lineno:
            same_line = node.loc
            if node.attrs.get("message") == message:
                break
    return same_line


def _frame_at(loc: Loc) -> TracebackType | None:
    """A traceback of one frame that stands at a place of the user's file."""
    code = compile("\n" * (loc.lineno - 1) + "raise error", loc.filename, "exec")
    if loc.function:
        code = code.replace(co_name=loc.function, co_qualname=loc.function)
    marker = Exception()
    try:
        exec(code, {"error": marker})
    except Exception as raised:
        found = raised.__traceback__
        return found.tb_next if found is not None else None
    return None
