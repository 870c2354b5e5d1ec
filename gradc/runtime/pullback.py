"""`vjp`: a primal run now, and a pullback that can be called later and more than once."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import numpy as np

from gradc.errors import DTypeError, ShapeError
from gradc.ir.tree import Tree, flatten, tree_leaves, unflatten
from gradc.ir.types import Array, Scalar, Type, is_inexact
from gradc.runtime.dispatch import Compiled, compiled
from gradc.runtime.leaves import memory_of
from gradc.runtime.plan import Transform, leaf_paths

Out: TypeAlias = tuple[Type, tuple[int, ...]]  # of a leaf of the result: its type, and its shape when it was computed


class Pullback:
    """From a cotangent of the result to a tuple of cotangents, one per primal."""

    def __init__(
        self, backward: Compiled, primals: tuple[Any, ...], result: Tree, outs: Sequence[Out], name: str
    ) -> None:
        self._backward = backward
        self._primals = primals
        self._result = result
        self._outs = outs
        self._name = name

    def __call__(self, cotangent: Any) -> tuple[Any, ...]:
        """Raises: ShapeError or DTypeError where the cotangent is not like the result."""
        leaves, tree = flatten(cotangent)
        if tree != self._result:
            raise ShapeError(
                "the cotangent has another structure than the result",
                why=f"{self._name} returned {self._example()}.",
                hint="pass a cotangent with the structure of the result.",
            )
        return self.of_leaves(leaves)

    def of_leaves(self, leaves: Sequence[Any]) -> tuple[Any, ...]:
        """The same for a cotangent that is given leaf by leaf."""
        names = leaf_paths(self._result, "cotangent")
        given = [
            _as_cotangent(leaf, ty, shape, name)
            for leaf, (ty, shape), name in zip(leaves, self._outs, names, strict=True)
            if is_inexact(ty)
        ]
        return self._backward._call(self._primals, given)  # type: ignore[no-any-return]

    def _example(self) -> str:
        return repr(unflatten(self._result, [str(ty) for ty, _ in self._outs]))

    def __repr__(self) -> str:
        return f"<pullback of {self._name}>"


@functools.lru_cache(maxsize=256)
def _directions(
    function: Callable[..., Any], argnums: tuple[int, ...], leaves: tuple[int, ...] | None
) -> tuple[Compiled, Compiled]:
    """The objects that run the primal and the pullback of a function."""
    return (
        compiled(function, Transform("vjp", argnums, leaves=leaves)),
        compiled(function, Transform("pullback", argnums, leaves=leaves)),
    )


def vjp(function: Callable[..., Any], primals: tuple[Any, ...]) -> tuple[Any, Pullback]:
    """The result of `function` for `primals`, and the pullback there."""
    return _run(*_directions(function, tuple(range(len(primals))), None), primals)


def pullback_of_leaves(
    function: Callable[..., Any], primals: tuple[Any, ...], leaves: tuple[int, ...]
) -> tuple[Any, Pullback]:
    """`vjp` where the pullback has one item for each of these leaves of the primals."""
    return _run(*_directions(function, (), leaves), primals)


def _run(forward: Compiled, backward: Compiled, primals: tuple[Any, ...]) -> tuple[Any, Pullback]:
    values = forward._bind(*_detached(primals))
    kernel, out = forward._run(values)
    leaves, tree = flatten(out)
    types = [kernel.staged.func.results[k].ty for k in tree_leaves(kernel.staged.result)]
    outs = [(ty, np.shape(leaf)) for ty, leaf in zip(types, leaves, strict=True)]
    return out, Pullback(backward, values, tree, outs, forward._qualname)


def _detached(primals: tuple[Any, ...]) -> tuple[Any, ...]:
    """The primals with arrays copied; an array that is given twice stays one array."""
    leaves, tree = flatten(primals)
    copies: dict[Any, Any] = {}
    for k, x in enumerate(leaves):
        if isinstance(x, np.ndarray):
            memory = memory_of(x)
            if memory not in copies:
                copies[memory] = x.copy(order="K")
            leaves[k] = copies[memory]
    return unflatten(tree, leaves)  # type: ignore[no-any-return]


def _as_cotangent(leaf: Any, ty: Type, shape: tuple[int, ...], name: str) -> Any:
    """A leaf of a cotangent as the kernel takes it: a number, or a C-contiguous array of the result's dtype."""
    assert isinstance(ty, Scalar | Array)
    dtype = np.dtype(ty.dtype)
    array = np.asarray(leaf)
    if not np.can_cast(array.dtype, dtype, "same_kind"):
        raise DTypeError(f"{name} has dtype {array.dtype}, and the result has dtype {dtype}")
    if array.shape != shape:
        raise ShapeError(f"{name} has shape {array.shape}, and the result has shape {shape}")
    if isinstance(ty, Array):
        return np.array(array, dtype, order="C")
    number = dtype.type(array[()])
    return number.item() if ty.weak or ty.dtype in ("float64", "complex128") else number
