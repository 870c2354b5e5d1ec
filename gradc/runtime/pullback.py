"""`vjp`: a primal run now, and a pullback that can be called later and more than once. `jvp`: both runs at once."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeAlias, TypeVar

import numpy as np

from gradc.errors import DTypeError, GradcError, ShapeError
from gradc.ir.program import leaf_type
from gradc.ir.tree import LEAF_TYPES, Branch, Leaf, Tree, children, flatten, is_structure, tree_leaves, unflatten
from gradc.ir.types import Array, Scalar, Type, is_inexact
from gradc.runtime.dispatch import Compiled, compiled
from gradc.runtime.leaves import memory_of
from gradc.runtime.pipeline import Kind
from gradc.runtime.plan import Transform, leaf_paths

T = TypeVar("T")
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
        has_derivative = [is_inexact(ty) for ty, _ in self._outs]
        found = self.of_leaves(list(_leaves_like(cotangent, self._result, has_derivative, "cotangent", "result")))
        gradients: list[Any] = [None] * len(list(tree_leaves(self._primals)))
        for k, gradient in zip(self._wrt, found, strict=True):
            gradients[k] = gradient
        return unflatten(self._primals, gradients)  # type: ignore[no-any-return]

    def of_leaves(self, leaves: Sequence[Any]) -> tuple[Any, ...]:
        """The cotangents of the differentiated leaves, for a cotangent that is given leaf by leaf."""
        names = leaf_paths(self._result, "cotangent")
        given = [
            seed_like(leaf, ty, shape, name, "result")
            for leaf, (ty, shape), name in zip(leaves, self._outs, names, strict=True)
            if is_inexact(ty)
        ]
        return self._backward._call(self._values, given)  # type: ignore[no-any-return]

    def __repr__(self) -> str:
        return f"<pullback of {self._backward._qualname}>"


def _leaves_like(seed: Any, tree: Tree, has_derivative: Sequence[bool], name: str, other: str) -> Iterator[Any]:
    """The leaves of a cotangent or tangent, which has the structure of another thing, or None where that has integers.

    Raises: ShapeError where it has not.
    """
    mismatch = ShapeError(
        f"{name} has another structure than the {other}", hint=f"pass one with the structure of the {other}."
    )
    if isinstance(tree, Leaf):
        if not isinstance(seed, LEAF_TYPES) and has_derivative[tree.k]:
            raise mismatch
        yield seed
    elif isinstance(tree, Branch):
        if not is_structure(seed) or type(seed) is not tree.cls:
            raise mismatch
        keys, items = children(seed)
        if keys != tree.keys:
            raise mismatch
        for key, item, inner in zip(keys, items, tree.items, strict=True):
            yield from _leaves_like(item, inner, has_derivative, f"{name}[{key!r}]", other)


@functools.lru_cache(maxsize=256)
def _made(function: Callable[..., Any], kind: Kind, leaves: tuple[int, ...]) -> Compiled:
    """The object that computes a derivative in these leaves."""
    return compiled(function, Transform(kind, leaves=leaves))


def vjp(function: Callable[..., Any], primals: tuple[Any, ...]) -> tuple[Any, Pullback]:
    """The result of `function` for `primals`, and the pullback there."""
    return _with_ints_as_floats(primals, lambda wrt: vjp_of_leaves(function, primals, wrt))


def _with_ints_as_floats(primals: tuple[Any, ...], run: Callable[[tuple[int, ...]], T]) -> T:
    """`run` for the leaves to differentiate.

    A Python int counts as a float unless the function needs it to be an int: a count, an index, an option.
    """
    leaves, _ = flatten(primals)
    floats = tuple(k for k, x in enumerate(leaves) if np.asarray(x).dtype.kind in "fc")
    with_ints = tuple(k for k, x in enumerate(leaves) if k in floats or type(x) is int)
    if with_ints != floats:
        try:
            return run(with_ints)
        except (GradcError, TypeError):
            if not floats:
                raise
    return run(floats)


def vjp_of_leaves(
    function: Callable[..., Any], primals: tuple[Any, ...], wrt: tuple[int, ...]
) -> tuple[Any, Pullback]:
    """`vjp` with respect to these leaves of the primals."""
    forward, backward = _made(function, "vjp", wrt), _made(function, "pullback", wrt)
    values = forward._bind(*_detached(primals))
    kernel, out = forward._run(values)
    leaves, tree = flatten(out)
    types = [kernel.staged.func.results[k].ty for k in tree_leaves(kernel.staged.result)]
    outs = [(ty, np.shape(leaf)) for ty, leaf in zip(types, leaves, strict=True)]
    return out, Pullback(backward, values, flatten(primals)[1], wrt, tree, outs)


def jvp(function: Callable[..., Any], primals: tuple[Any, ...], tangents: tuple[Any, ...]) -> tuple[Any, Any]:
    """The result of `function` for `primals`, and its tangent for `tangents`.

    Raises: ShapeError or DTypeError where a tangent is not like its primal.
    """
    leaves, tree = flatten(primals)

    def run(wrt: tuple[int, ...]) -> tuple[Any, Any]:
        given = list(_leaves_like(tangents, tree, [k in wrt for k in range(len(leaves))], "tangents", "primals"))
        return jvp_of_leaves(function, primals, wrt, [given[k] for k in wrt])

    return _with_ints_as_floats(primals, run)


def jvp_of_leaves(
    function: Callable[..., Any], primals: tuple[Any, ...], wrt: tuple[int, ...], tangents: Sequence[Any]
) -> tuple[Any, Any]:
    """`jvp` where the tangents are those of these leaves of the primals."""
    made = _made(function, "jvp", wrt)
    values = made._bind(*primals)
    leaves, tree = flatten(primals)
    names = list(leaf_paths(tree, "tangents"))
    seeds: list[Any] = []
    for k, tangent in zip(wrt, tangents, strict=True):
        x = float(leaves[k]) if type(leaves[k]) is int else leaves[k]
        seeds.append(seed_like(tangent, leaf_type(x, "x"), np.shape(x), names[k], "primal"))
    return made._call(values, seeds)  # type: ignore[no-any-return]


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


def seed_like(leaf: Any, ty: Type, shape: tuple[int, ...], name: str, other: str) -> Any:
    """A leaf of a seed as the kernel takes it: a number, or an array with the dtype of the other thing."""
    assert isinstance(ty, Scalar | Array)
    dtype = np.dtype(ty.dtype)
    array = np.asarray(leaf)
    if not np.can_cast(array.dtype, dtype, "same_kind"):
        raise DTypeError(f"{name} has dtype {array.dtype}, and the {other} has dtype {dtype}")
    if array.shape != shape:
        raise ShapeError(f"{name} has shape {array.shape}, and the {other} has shape {shape}")
    if isinstance(ty, Array):
        return np.array(array, dtype)
    number = dtype.type(array[()])
    return number.item() if ty.weak else number
