"""Every exception of gradc, and how each one is shown.

A message says what, where (the user's file, line and column with a caret), why, and what to write instead.
This module imports nothing from gradc.
"""

from __future__ import annotations

import linecache
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Loc:
    """A place in the user's program: file, function, one-based line, zero-based columns.

    `reverse`: what stands here is of the reverse sweep of that place.
    """

    filename: str = "<unknown>"
    function: str = ""
    lineno: int = 0
    col: int = 0
    end_col: int = 0
    text: str = ""
    reverse: bool = False

    def line(self) -> str:
        """The user's source line, stripped of its line end, or `text` where the file is not a real one."""
        return self.text or linecache.getline(self.filename, self.lineno).rstrip("\n")

    def __str__(self) -> str:
        return f"{self.filename}:{self.lineno}"


NOWHERE = Loc()


class GradcError(Exception):
    """Base of all errors that gradc raises: what, where in your code with a caret, why, and what to write instead.

    Attributes:
        filename: the file of the user's code, or None.
        lineno: the line in it, or None.
        why: the reason.
        hint: what to write instead.
    """

    def __init__(self, what: str = "", loc: Loc | None = None, why: str = "", hint: str = "") -> None:
        self.what = what
        self.why = why
        self.hint = hint
        self.loc = loc
        self.filename: str | None = loc.filename if loc is not None and loc.lineno else None
        self.lineno: int | None = loc.lineno if loc is not None and loc.lineno else None
        super().__init__(format_message(what, loc, why, hint))


def format_message(what: str, loc: Loc | None, why: str, hint: str) -> str:
    """Lay out a message: what; file:line:col with the source line and a caret; why; try."""
    lines = [what]
    if loc is not None and loc.lineno:
        inside = f", in {loc.function}" if loc.function else ""
        lines.append(f"  {loc.filename}:{loc.lineno}:{loc.col}{inside}")
        source = loc.line()
        if source.strip():
            number = f"{loc.lineno:6d} | "
            lines.append(number + source)
            width = max(1, min(loc.end_col, len(source)) - loc.col)
            lines.append(" " * (len(number) - 2) + "| " + " " * loc.col + "^" * width)
    if why:
        lines.append(f"  why: {why}")
    if hint:
        lines.append(f"  {hint}" if hint.startswith("repro: ") else f"  try: {hint}")
    return "\n".join(lines)


class UnsupportedError(GradcError, TypeError):
    """A construct or call for which gradc has no rule. A `TypeError`."""


class ShapeError(GradcError, ValueError):
    """Shapes that do not fit together; a gradient of what is not one number. A `ValueError`."""


class DTypeError(GradcError, TypeError):
    """A dtype that cannot be used here, such as an integer array that is to be differentiated. A `TypeError`."""


class NonDifferentiableError(GradcError, ValueError):
    """What is differentiated passes through an operation that has no derivative. A `ValueError`."""


class ReverseOnlyError(NonDifferentiableError):
    """Forward mode meets a rule of the user that says how cotangents go back only. A `NonDifferentiableError`."""


class NonFiniteError(GradcError, FloatingPointError):
    """NaN or an infinity appeared, and `GRADC_DEBUG=nan` asks to stop there. A `FloatingPointError`."""


class GradientMismatch(GradcError, AssertionError):
    """A derivative that disagrees with numerical differentiation: from `check_grads`. An `AssertionError`."""


class InternalError(GradcError, RuntimeError):
    """gradc broke one of its own invariants: a bug in gradc, with a line that shows it again. A `RuntimeError`."""
