"""`vjp`: a primal run now, and a pullback that can be called later and more than once."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeAlias

import numpy as np

from gradc.errors import DTypeError, GradcError, ShapeError
from gradc.ir.tree import LEAF_TYPES, Branch, Leaf, Tree, children, flatten, is_structure, tree_leaves, unflatten
from gradc.ir.types import Array, Scalar, Type, is_inexact
from gradc.runtime.dispatch import Compiled, compiled
from gradc.runtime.leaves import memory_of
from gradc.runtime.plan import Transform, leaf_paths

Out: TypeAlias = tuple[Type, tuple[int, ...]]  # of a leaf of the result: its type, and its shape when it was computed


class Pullback:
    """From a cotangent of the result to a tuple of cotangents, one per primal. Integers among the primals get None."""

    def __init__(
        self,
        backward: Compiled,
        values: tuple[Any, ...],
        primals: Tree,
        wrt: Sequence[int],
        result: Tree,
        outs: Sequence[Out],
    ) -> None:
        self._backward = backward
        self._values = values
        self._primals = primals
        self._wrt = wrt
        self._result = result
        self._outs = outs

    def __call__(self, cotangent: Any) -> tuple[Any, ...]:
        """Raises: ShapeError or DTypeError where the cotangent is not like the result."""
        found = self.of_leaves(list(self._leaves_of(cotangent, self._result, "the cotangent")))
        gradients: list[Any] = [None] * len(list(tree_leaves(self._primals)))
        for k, gradient in zip(self._wrt, found, strict=True):
            gradients[k] = gradient
        return unflatten(self._primals, gradients)  # type: ignore[no-any-return]

    def of_leaves(self, leaves: Sequence[Any]) -> tuple[Any, ...]:
        """The cotangents of the differentiated leaves, for a cotangent that is given leaf by leaf."""
        names = leaf_paths(self._result, "cotangent")
        given = [
            _as_cotangent(leaf, ty, shape, name)
            for leaf, (ty, shape), name in zip(leaves, self._outs, names, strict=True)
            if is_inexact(ty)
        ]
        return self._backward._call(self._values, given)  # type: ignore[no-any-return]

    def _leaves_of(self, cotangent: Any, tree: Tree, name: str) -> Iterator[Any]:
        """The leaves of a cotangent, which has the structure of the result, or None where that has integers."""
        if isinstance(tree, Leaf):
            if not isinstance(cotangent, LEAF_TYPES) and is_inexact(self._outs[tree.k][0]):
                raise self._mismatch(name)
            yield cotangent
        elif isinstance(tree, Branch):
            if not is_structure(cotangent) or type(cotangent) is not tree.cls:
                raise self._mismatch(name)
            keys, items = children(cotangent)
            if keys != tree.keys:
                raise self._mismatch(name)
            for key, item, inner in zip(keys, items, tree.items, strict=True):
                yield from self._leaves_of(item, inner, f"{name}[{key!r}]")

    def _mismatch(self, name: str) -> ShapeError:
        result = unflatten(self._result, [str(ty) for ty, _ in self._outs])
        return ShapeError(
            f"{name} has another structure than the result",
            why=f"{self._backward._qualname} returned {result}.",
            hint="pass a cotangent with the structure of the result.",
        )

    def __repr__(self) -> str:
        return f"<pullback of {self._backward._qualname}>"


@functools.lru_cache(maxsize=256)
def _directions(function: Callable[..., Any], leaves: tuple[int, ...]) -> tuple[Compiled, Compiled]:
    """The objects that run the primal and the pullback of a function."""
    return compiled(function, Transform("vjp", leaves=leaves)), compiled(function, Transform("pullback", leaves=leaves))


def vjp(function: Callable[..., Any], primals: tuple[Any, ...]) -> tuple[Any, Pullback]:
    """The result of `function` for `primals`, and the pullback there.

    A Python int counts as a float unless the function needs it to be an int: a count, an index, an option.
    """
    leaves, _ = flatten(primals)
    floats = tuple(k for k, x in enumerate(leaves) if np.asarray(x).dtype.kind in "fc")
    with_ints = tuple(k for k, x in enumerate(leaves) if k in floats or type(x) is int)
    if with_ints != floats:
        try:
            return vjp_of_leaves(function, primals, with_ints)
        except (GradcError, TypeError):
            if not floats:
                raise
    return vjp_of_leaves(function, primals, floats)


def vjp_of_leaves(
    function: Callable[..., Any], primals: tuple[Any, ...], wrt: tuple[int, ...]
) -> tuple[Any, Pullback]:
    """`vjp` with respect to these leaves of the primals."""
    forward, backward = _directions(function, wrt)
    values = forward._bind(*_detached(primals))
    kernel, out = forward._run(values)
    leaves, tree = flatten(out)
    types = [kernel.staged.func.results[k].ty for k in tree_leaves(kernel.staged.result)]
    outs = [(ty, np.shape(leaf)) for ty, leaf in zip(types, leaves, strict=True)]
    return out, Pullback(backward, values, flatten(primals)[1], wrt, tree, outs)


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
    return number.item() if ty.weak else number
