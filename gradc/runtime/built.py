"""Functions that gradc builds itself: their program comes from an object, not from Python code.

`compiled(BuiltFunction, Transform("jit"))` is an object like those of `gradc.jit`: it can be differentiated, and called
inside compiled functions.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any

from gradc.ir.program import Program


class BuiltFunction:
    """Base of functions whose program an object makes. Such an object can be pickled where its attributes can."""

    __signature__: inspect.Signature
    kind = "jit"  # what the compiled object calls itself

    @property
    def meaning(self) -> Any:
        """What two functions that compute the same have in common; by default each is alone."""
        return id(self)

    def __gradc_program__(self, values: Sequence[Any]) -> Program:
        """The program for one value per parameter, as trees whose leaves are numbers, arrays or `Typed`."""
        raise NotImplementedError

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """The function itself, without compiling it first where that can be had."""
        raise NotImplementedError
