"""Exceptions of kernels as the user sees them: with the place in the user's file as the last line of the traceback."""

from __future__ import annotations

import contextlib
from types import TracebackType

from gradc.errors import GradcError, Loc


def no_such_signature(error: BaseException) -> bool:
    """Whether this is Numba's dispatcher saying that it has no code for these arguments: nothing has run."""
    return isinstance(error, TypeError) and bool(error.args) and str(error.args[0]).startswith("No matching definition")


def at_user_line(error: Exception, loc: Loc | None) -> Exception:
    """`error` with `.filename`, `.lineno` and `.hint`, and a traceback that ends at the user's line."""
    if loc is None or not loc.lineno:
        return error.with_traceback(None)
    if not isinstance(error, GradcError | OSError | SyntaxError):  # these have attributes of these names
        for name, value in (("filename", loc.filename), ("lineno", loc.lineno), ("hint", "")):
            if not hasattr(error, name):
                with contextlib.suppress(AttributeError):
                    setattr(error, name, value)
    return error.with_traceback(_frame_at(loc))


def _frame_at(loc: Loc) -> TracebackType | None:
    """A traceback of one frame that stands at a place of the user's file."""
    code = compile("\n" * (loc.lineno - 1) + "raise error", loc.filename, "exec")
    if loc.function.isidentifier():
        code = code.replace(co_name=loc.function, co_qualname=loc.function)
    marker = Exception()
    try:
        exec(code, {"error": marker})
    except Exception as raised:
        found = raised.__traceback__
        return found.tb_next if found is not None else None
    return None
