"""The program of a function after any stage of the compiler."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from gradc.api import value_and_grad
from gradc.errors import GradcError
from gradc.ir.nodes import Func
from gradc.ir.printer import print_func
from gradc.ir.tree import flatten
from gradc.runtime import pipeline
from gradc.runtime.dispatch import Compiled
from gradc.runtime.lowered import Text


def show(f: Callable[..., Any], *args: Any, stage: str = "source", **kwargs: Any) -> str:
    """The text of the program of `f` for these arguments, after a stage of the compiler.

    Args:
        f: a compiled object; or a function, of which value and gradient are shown.
        *args: arguments like those of a call.
        stage: "source" or "kernel" for the texts that are emitted; or the name of a stage ("parse", "simplify",
            "reverse", ...) for the IR after it.
        **kwargs: arguments by name.

    Returns:
        A str that shows itself as it reads.

    Raises:
        ValueError: for a stage that there is not; it lists those that there are.

    Examples:
        >>> import gradc
        >>> "def f_value_and_grad(x):" in gradc.show(gradc.lambdify("x", "x * x", name="f"), 3.0)
        True
    """
    if not isinstance(f, Compiled) or f.transform.kind == "jit":
        f = with_gradients(f, args, kwargs)
    lowered = f.lower(*args, **kwargs)
    if stage == "source":
        return lowered.source
    if stage == "kernel":
        return lowered.kernel_source
    texts: dict[str, str] = {}

    def keep(name: str, func: Func) -> None:
        texts[name] = print_func(func)

    staged = lowered.staged
    pipeline.transform(staged.program, staged.request, snapshots=keep)
    if stage not in texts:
        raise ValueError(f"there is no stage {stage!r}; the stages are {', '.join((*texts, 'kernel', 'source'))}")
    return Text(texts[stage])


def with_gradients(
    f: Callable[..., Any],
    args: Sequence[Any],
    kwargs: dict[str, Any] | None = None,
    transform: Callable[..., Any] = value_and_grad,
) -> Compiled:
    """Value and gradient of `f` (or another `transform` of it) in all arguments that can be differentiated.

    Python ints count as floats where the function does not need them to be ints.

    Raises: the error of the compiler where there is no such argument, or the function cannot be compiled.
    """
    kinds = [_kind(arg) for arg in args]
    numbers = tuple(k for k, kind in enumerate(kinds) if kind in ("float", "int"))
    floats = tuple(k for k, kind in enumerate(kinds) if kind == "float")
    error: GradcError | None = None
    for chosen in dict.fromkeys((numbers, floats, *((k,) for k in numbers))):
        if not chosen:
            continue
        made: Compiled = transform(f, argnums=chosen if len(chosen) > 1 else chosen[0])
        try:
            made.lower(*args, **(kwargs or {}))
        except GradcError as found:
            error = error or found
        else:
            return made
    if error is None:
        raise TypeError("none of the arguments is a number that could be differentiated")
    raise error


def _kind(arg: Any) -> str:
    leaves, _ = flatten(arg)
    if not leaves:
        return "other"
    if all(type(x) is int for x in leaves):
        return "int"
    return "float" if all(np.asarray(x).dtype.kind == "f" for x in leaves) else "other"
