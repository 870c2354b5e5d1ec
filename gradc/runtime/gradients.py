"""What `grad` and `value_and_grad` return for the first argument of a function, for type checkers.

A gradient has the type of the argument that it belongs to. Only the position of the first argument is known to the
type of a function, so other `argnums` give a `Compiled` with Any. Called with the first argument by its name, too.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Concatenate, Generic, overload

from gradc.runtime.dispatch import Compiled
from gradc.runtime.typevars import P, Q, R_co, X


class Gradient(Compiled[P, Any], Generic[P]):
    """The gradient of a function in its first argument."""

    if TYPE_CHECKING:

        @overload
        def __call__(self: Gradient[Concatenate[X, Q]], x: X, /, *args: Q.args, **kwargs: Q.kwargs) -> X: ...
        @overload
        def __call__(self, *args: P.args, **kwargs: P.kwargs) -> Any: ...
        def __call__(self, *args: Any, **kwargs: Any) -> Any: ...  # type: ignore[misc]  # more than P allows


class ValueAndGradient(Compiled[P, tuple[R_co, Any]], Generic[P, R_co]):
    """The value of a function and its gradient in the first argument."""

    if TYPE_CHECKING:

        @overload
        def __call__(
            self: ValueAndGradient[Concatenate[X, Q], R_co], x: X, /, *args: Q.args, **kwargs: Q.kwargs
        ) -> tuple[R_co, X]: ...
        @overload
        def __call__(self, *args: P.args, **kwargs: P.kwargs) -> tuple[R_co, Any]: ...
        def __call__(self, *args: Any, **kwargs: Any) -> Any: ...  # type: ignore[misc]  # more than P allows
