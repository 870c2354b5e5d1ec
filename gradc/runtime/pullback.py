"""`vjp`: a primal run now, and a pullback that can be called later and more than once. `jvp`: both runs at once."""

from __future__ import annotations

import dataclasses
import functools
import inspect
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeAlias, TypeVar

import numpy as np

from gradc.errors import DTypeError, GradcError, ShapeError
from gradc.frontends.bindings import KnownFetch
from gradc.ir.program import Capture, Expansion, Program, leaf_type
from gradc.ir.tree import (
    LEAF_TYPES,
    Branch,
    Leaf,
    Static,
    Tree,
    children,
    flatten,
    is_structure,
    tree_leaves,
    unflatten,
)
from gradc.ir.types import Array, Scalar, Type, is_inexact
from gradc.runtime.built import BuiltFunction
from gradc.runtime.dispatch import Compiled, called_as_jit, compiled
from gradc.runtime.higher import ARGUMENT_LEAVES, SeedLike, seed_value, with_call_parameters
from gradc.runtime.leaves import memory_of
from gradc.runtime.ownership import Slot
from gradc.runtime.pipeline import Kind
from gradc.runtime.plan import Transform, leaf_paths

T = TypeVar("T")
Out: TypeAlias = tuple[Type, tuple[int, ...]]  # of a leaf of the result: its type, and its shape when it was computed


class Pullback(BuiltFunction):
    """From a cotangent of the result to a tuple of cotangents, one per primal. Integers among the primals get None."""

    kind = "pullback"
    __signature__ = inspect.Signature([inspect.Parameter("cotangent", inspect.Parameter.POSITIONAL_OR_KEYWORD)])

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
        self.__name__ = self.__qualname__ = f"{getattr(backward, '__name__', 'function')}_pullback"

    def __reduce__(self) -> Any:
        return Pullback, (self._backward, self._values, self._primals, self._wrt, self._result, self._outs)

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

    def __gradc_expand__(self, args: Sequence[Any], kwargs: dict[str, Any]) -> Expansion:
        """What a call inside a compiled function becomes."""
        return called_as_jit(self).__gradc_expand__(args, kwargs)

    def __gradc_program__(self, values: Sequence[Any]) -> Program:
        """The reverse sweep for cotangents of these types; the primals are captured."""
        leaves, tree = flatten(tuple(values), ARGUMENT_LEAVES)
        assert isinstance(tree, Branch)
        slots = unflatten(tree, [Slot(k) for k in range(len(leaves))])
        has_derivative = [is_inexact(ty) for ty, _ in self._outs]
        given = _leaves_like(slots[0], self._result, has_derivative, "cotangent", "result")
        names = leaf_paths(self._result, "cotangent")
        vector: list[int] = []
        seeds: list[SeedLike] = []
        for slot, (ty, shape), name, derived in zip(given, self._outs, names, has_derivative, strict=True):
            if derived:
                assert isinstance(ty, Scalar | Array)
                vector.append(slot.k)
                seeds.append(functools.partial(seed_value, ty=ty, shape=shape, name=name))
        count = len(leaves)
        primals, kept = flatten(self._kept)
        staged, _ = self._backward._expanded(self._values)
        program = staged.program
        sources = [Slot(count + k) for k in range(len(primals))]
        func = with_call_parameters(staged.func, [*leaves, *primals], sources, vector, None, seeds)
        captures = (
            Capture("primals", KnownFetch(self._kept, "primals"), kept, count, len(primals)),
            *(dataclasses.replace(c, first=c.first + count) for c in program.captures),
        )
        static = {k + count: value for k, value in program.static.items()}
        assert isinstance(staged.result, Branch)
        gradients = dict(zip(self._wrt, staged.result.items, strict=True))
        result = _with_gradients(self._primals, gradients)
        return dataclasses.replace(
            program, func=func, args=tree.items, result=result, captures=captures, static=static
        )

    @functools.cached_property
    def _kept(self) -> tuple[Any, ...]:
        """The primals; ints that are differentiated are floats."""
        leaves, tree = flatten(self._values)
        for k in self._wrt:
            if type(leaves[k]) is int:
                leaves[k] = float(leaves[k])
        return unflatten(tree, leaves)  # type: ignore[no-any-return]


def _with_gradients(tree: Tree, gradients: dict[int, Tree]) -> Tree:
    """The tree of the primals with the tree of a gradient for each leaf, and None where there is none."""
    match tree:
        case Leaf(k):
            return gradients.get(k, Static(None))
        case Branch(cls, keys, items):
            return Branch(cls, keys, tuple(_with_gradients(item, gradients) for item in items))
    return tree


def _leaves_like(seed: Any, tree: Tree, has_derivative: Sequence[bool], name: str, other: str) -> Iterator[Any]:
    """The leaves of a cotangent or tangent, which has the structure of another thing, or None where that has integers.

    Raises: ShapeError where it has not.
    """
    mismatch = ShapeError(
        f"{name} has another structure than the {other}", hint=f"pass one with the structure of the {other}."
    )
    if isinstance(tree, Leaf):
        if not isinstance(seed, (*LEAF_TYPES, Slot)) and has_derivative[tree.k]:
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
