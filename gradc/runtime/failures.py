"""Exceptions of kernels as the user sees them: with the place in the user's file as the last line of the traceback.

A kernel raises with the place at the end of the message, because Numba compiles exceptions of constants:

    raise IndexError("index is out of range\\n  model.py:12")
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Sequence
from types import TracebackType
from typing import Any

import numpy as np

from gradc.config import config
from gradc.errors import GradcError, InternalError, Loc, ShapeError
from gradc.ir.nodes import Func, walk_nodes

_PLACE = re.compile(r"\n  (.+):(\d+)\Z")


def no_such_signature(error: BaseException) -> bool:
    """Whether this is Numba's dispatcher saying that it has no code for these arguments: nothing has run."""
    return isinstance(error, TypeError) and bool(error.args) and str(error.args[0]).startswith("No matching definition")


def explained(error: Exception, func: Func, leaves: Sequence[Any] = ()) -> Exception:
    """An exception of the kernel of `func`, with `.filename`, `.lineno` and `.hint`, from the user's line.

    leaves: what the kernel was given, to say of which shapes they are where shapes do not fit.
    """
    found = _PLACE.search(error.args[0]) if error.args and isinstance(error.args[0], str) else None
    if found is None:
        return error.with_traceback(None)
    message, filename, lineno = error.args[0][: found.start()], found.group(1), int(found.group(2))
    loc = _loc_of(func, filename, lineno, message)
    if isinstance(error, GradcError):
        why = _shapes(func, leaves, message) if isinstance(error, ShapeError) else ""
        return type(error)(message, loc, why).with_traceback(_frame_at(loc))
    error.args = (message, *error.args[1:]) if message else error.args[1:]
    if not isinstance(error, OSError | SyntaxError):  # these have attributes of these names
        for name, value in (("filename", filename), ("lineno", lineno), ("hint", "")):
            with contextlib.suppress(AttributeError):
                setattr(error, name, value)
    return error.with_traceback(_frame_at(loc))


def without_way(error: GradcError) -> GradcError:
    """An error about the user's program without the frames of the compiler that found it, unless one debugs gradc."""
    keep = config().debug or isinstance(error, InternalError)
    return error if keep else error.with_traceback(None)


def _shapes(func: Func, leaves: Sequence[Any], message: str) -> str:
    """Shapes of the arrays among the arguments: of those that the message names, or of all."""
    shapes = {p.name: x.shape for p, x in zip(func.params, leaves, strict=False) if isinstance(x, np.ndarray)}
    named = {name: shape for name, shape in shapes.items() if re.search(rf"\b{re.escape(name)}_\d", message)}
    return ", ".join(f"{name} has shape {shape}" for name, shape in (named or shapes).items())


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
