"""Type variables of compiled objects, for type checkers: the parameters and the result of a call.

`Compiled` without parameters stands for any. At run time nothing depends on them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

if TYPE_CHECKING:  # defaults of type variables: type checkers know them, Python does from 3.13 on
    import typing_extensions

    P = typing_extensions.ParamSpec("P", default=...)
    R_co = typing_extensions.TypeVar("R_co", default=Any, covariant=True)
else:
    P = ParamSpec("P")
    R_co = TypeVar("R_co", covariant=True)

Q = ParamSpec("Q")
X = TypeVar("X")
