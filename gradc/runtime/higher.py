"""Derivatives that take a direction: Hessian-vector products, and tangents inside compiled functions."""

from __future__ import annotations

import dataclasses
import functools
import inspect
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeAlias

import numpy as np

from gradc.ad.forward import jvp
from gradc.errors import DTypeError, ShapeError
from gradc.ir.builder import Builder
from gradc.ir.nodes import Block, Func, Value
from gradc.ir.program import Expansion, Program, Typed, leaf_type
from gradc.ir.tree import LEAF_TYPES, Branch, Leaf, Tree, children, flatten, is_structure, tree_leaves, unflatten
from gradc.ir.types import WEAK_INT, Array, Dim, Scalar, format_shape, is_inexact
from gradc.ops import memory
from gradc.ops.rules import convert
from gradc.runtime.built import BuiltFunction
from gradc.runtime.dispatch import Compiled, compiled, signature_of
from gradc.runtime.ownership import Slot
from gradc.runtime.pickling import portable
from gradc.runtime.plan import Transform, make_plan

_KINDS = inspect.Parameter
ARGUMENT_LEAVES = (*LEAF_TYPES, Typed)


class HessianProducts(Compiled):
    """The compiled object that `gradc.hvp` returns."""

    def as_hessp(self) -> Compiled:
        """The same with the vector as the second argument, where `scipy.optimize.minimize` passes it."""
        product = self._function
        assert isinstance(product, HessianProduct)
        return compiled(HessianProduct(product.function, product.transform, True), Transform("jit"), HessianProducts)


class HessianProduct(BuiltFunction):
    """(*args, v) -> the Hessian of `function` times v: the tangent of its gradient along v.

    second: v is the second argument instead of the last one, as SciPy's `hessp` has it.
    """

    kind = "hvp"

    def __init__(self, function: Callable[..., Any], transform: Transform, second: bool = False) -> None:
        self.function = function
        self.transform = transform
        self.second = second
        self.gradient = compiled(function, transform)
        functools.update_wrapper(self, self.gradient, updated=())
        del self.__dict__["__wrapped__"]
        self.__name__ = self.__qualname__ = getattr(function, "__name__", "function")
        self.__signature__ = self._own_signature(signature_of(function))

    def __reduce__(self) -> Any:
        return HessianProduct, (portable(self.function, self.gradient._by_source), self.transform, self.second)

    @property
    def meaning(self) -> Any:
        return HessianProduct, self.gradient, self.second

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return compiled(self, Transform("jit"))(*args, **kwargs)

    def _own_signature(self, inner: inspect.Signature) -> inspect.Signature:
        """That of the function with `v`; arguments of any number where the function has defaults or such itself."""
        parameters = list(inner.parameters.values())
        simple = (_KINDS.POSITIONAL_ONLY, _KINDS.POSITIONAL_OR_KEYWORD)
        if any(p.default is not _KINDS.empty or p.kind not in simple for p in parameters):
            return inspect.Signature([_KINDS("args", _KINDS.VAR_POSITIONAL), _KINDS("kwargs", _KINDS.VAR_KEYWORD)])
        name = "v"
        while name in inner.parameters:
            name += "_"
        positional_only = any(p.kind is _KINDS.POSITIONAL_ONLY for p in parameters)
        kind = _KINDS.POSITIONAL_ONLY if positional_only else _KINDS.POSITIONAL_OR_KEYWORD
        place = 1 if self.second else len(parameters)
        parameters = [p.replace(kind=kind) for p in parameters]
        return inspect.Signature([*parameters[:place], _KINDS(name, kind), *parameters[place:]])

    def __gradc_program__(self, values: Sequence[Any]) -> Program:
        leaves, tree = flatten(tuple(values), ARGUMENT_LEAVES)
        assert isinstance(tree, Branch)
        slots = unflatten(tree, [Slot(k) for k in range(len(leaves))])
        args, kwargs = slots, {}
        if any(p.kind is _KINDS.VAR_POSITIONAL for p in self.__signature__.parameters.values()):
            args, kwargs = slots
        if len(args) < 2:
            raise TypeError(f"hvp of {self.__name__} takes arguments and a vector")
        place = 1 if self.second else len(args) - 1
        bound = self.gradient._bind(*args[:place], *args[place + 1 :], **kwargs)
        sources, given = flatten(bound, (*LEAF_TYPES, Slot))
        assert isinstance(given, Branch)
        inner = [leaves[s.k] if isinstance(s, Slot) else s for s in sources]
        staged, _ = self.gradient._expanded(unflatten(given, inner))
        program = staged.program
        plan = make_plan(given.items, self.gradient._signature, self.transform, self.__name__)
        vector, shape = flatten(args[place], (*LEAF_TYPES, Slot))
        if shape != _numbered(plan.gradient):
            raise ShapeError(
                f"the vector that the Hessian of {self.__name__} is multiplied with has another structure than the "
                "argument", hint="pass one with the structure of the argument; for several argnums, of the gradient.",
            )
        tangents = jvp(staged.func, plan.wrt, keep_value=False)
        func = with_call_parameters(tangents, leaves, sources, [s.k for s in vector], plan.wrt)
        static: dict[int, Any] = {}
        for k, value in program.static.items():
            if k >= len(inner):
                static[k - len(inner) + len(leaves)] = value
            elif isinstance(sources[k], Slot):
                static[sources[k].k] = value
        captures = tuple(dataclasses.replace(c, first=c.first - len(inner) + len(leaves)) for c in program.captures)
        return dataclasses.replace(
            program, func=func, args=tree.items, result=staged.result, captures=captures, static=static
        )


def expand_jvp(args: Sequence[Any], kwargs: dict[str, Any]) -> Expansion:
    """What `gradc.jvp(f, primals, tangents)` becomes inside a compiled function."""
    leaves, tree = flatten((tuple(args), dict(kwargs)), ARGUMENT_LEAVES)
    slot_args, slot_kwargs = unflatten(tree, [Slot(k) for k in range(len(leaves))])
    function, primals, tangents = _take_jvp(*slot_args, **slot_kwargs)
    check_jvp(primals, tangents)
    sources, structure = flatten(tuple(primals), (*LEAF_TYPES, Slot))
    seeds = list(_tangents_like(tuple(tangents), structure))
    moving = [k for k, seed in enumerate(seeds) if _moves(leaves[sources[k].k], seed)]
    made = compiled(function, Transform("jvp", leaves=tuple(moving)))
    bound, given = flatten(made._bind(*primals), (*LEAF_TYPES, Slot))
    staged, _ = made._expanded(unflatten(given, [leaves[s.k] if isinstance(s, Slot) else s for s in bound]))
    program = staged.program
    func = with_call_parameters(staged.func, leaves, bound, [seeds[k].k for k in moving], moving)
    return Expansion(func, staged.result, program.captures, program.guards, program.outer)


def check_jvp(primals: Any, tangents: Any) -> None:
    """Raises: TypeError where they are not what `jvp` takes."""
    for name, given in (("primals", primals), ("tangents", tangents)):
        if not isinstance(given, tuple | list):
            raise TypeError(f"gradc.jvp takes a tuple of {name}, one for each argument: gradc.jvp(f, (x,), (t,))")


def _take_jvp(f: Any, primals: Any, tangents: Any) -> tuple[Any, Any, Any]:
    return f, primals, tangents


def _moves(primal: Any, seed: Any) -> bool:
    """Whether a leaf is differentiated: floats are, Python ints are where they have a tangent.

    Raises: ShapeError for a float without a tangent.
    """
    ty = leaf_type(primal, "x")
    if is_inexact(ty):
        if seed is None:
            raise ShapeError("tangents have another structure than the primals")
        return True
    return seed is not None and ty == WEAK_INT


def _tangents_like(tangents: Any, tree: Tree) -> Iterator[Any]:
    """The leaves of the tangents in the order of the primals; None where there is no tangent."""
    if isinstance(tree, Leaf):
        yield tangents if isinstance(tangents, Slot) else None
    elif isinstance(tree, Branch):
        if not is_structure(tangents) or children(tangents)[0] != tree.keys:
            raise ShapeError(
                "tangents have another structure than the primals", hint="pass ones with the structure of the primals."
            )
        for item, inner in zip(children(tangents)[1], tree.items, strict=True):
            yield from _tangents_like(item, inner)


def _numbered(tree: Tree) -> Tree:
    """The tree with its leaves numbered from left to right."""
    leaves = list(tree_leaves(tree))
    return flatten(unflatten(tree, [0] * (1 + max(leaves, default=0))))[1]


SeedLike: TypeAlias = Callable[[Value], Value]


def with_call_parameters(
    func: Func,
    leaves: Sequence[Any],
    sources: Sequence[Any],
    vector: Sequence[int],
    wrt: Sequence[int] | None,
    seed_like: Sequence[SeedLike] = (),
) -> Func:
    """`func`, which takes `sources`, captured values and tangents, with the leaves of a call in their order instead.

    sources: for each parameter the leaf that it is, or its default; vector: the leaves that are the seeds. wrt: where
    these are tangents, the parameters they belong to, whose types they get; cotangents have theirs already, or
    get them by `seed_like`.
    """
    inner = func.params[: len(sources)]
    rest = func.params[len(sources) : len(func.params) - len(vector)]
    params = [Value(leaf_type(leaf, f"v_{n}"), f"v_{n}" if n else "v") for n, leaf in enumerate(leaves)]
    for source, param in zip(sources, inner, strict=True):
        if isinstance(source, Slot):
            own = params[source.k]
            params[source.k] = Value(own.ty if own.ty == WEAK_INT else param.ty, param.name, None, param.size)
    new = Func(func.name.removesuffix("_vjp_jvp"), Block(params=[*params, *rest]), func.loc, dict(func.notes))
    mapping: dict[Value, Value] = {}
    with Builder(new) as builder:
        builder.avoid_sizes_of(func)
        for source, param in zip(sources, inner, strict=True):
            value = params[source.k] if isinstance(source, Slot) else builder.const(source)
            if isinstance(param.ty, Scalar) and isinstance(value.ty, Scalar):
                value = convert(value, param.ty.dtype, param.ty.weak)
            mapping[param] = value
        seeds = func.params[len(func.params) - len(vector) :]
        for n, (leaf, seed) in enumerate(zip(vector, seeds, strict=True)):
            if wrt is not None:
                mapping[seed] = as_tangent(params[leaf], mapping[inner[wrt[n]]])
            else:
                mapping[seed] = seed_like[n](params[leaf]) if seed_like else params[leaf]
        for node in func.body.nodes:
            builder.clone(node, mapping)
    new.body.yields = [mapping.get(r, r) for r in func.results]
    return new


def seed_value(given: Value, ty: Scalar | Array, shape: tuple[int, ...], name: str) -> Value:
    """A leaf of a cotangent with the dtype of a result that had this shape, which is checked.

    Raises: ShapeError or DTypeError where it is not like the result.
    """
    assert isinstance(given.ty, Scalar | Array)
    if not np.can_cast(given.dtype, ty.dtype, "same_kind"):
        raise DTypeError(f"{name} has dtype {given.dtype}, and the result has dtype {ty.dtype}")
    fits = len(given.shape) == len(shape)
    if not fits or any(n != size and not isinstance(n, Dim) for n, size in zip(given.shape, shape, strict=True)):
        raise ShapeError(f"{name} has shape {format_shape(given.shape)}, and the result has shape {shape}")
    if isinstance(ty, Scalar):
        number = memory.load(given, region=()) if isinstance(given.ty, Array) else given
        return convert(number, ty.dtype, ty.weak)
    space = memory.make_zeros(shape, ty.dtype, filled=False)
    memory.store(space, given)
    return space


def as_tangent(given: Value, primal: Value, what: str = "the vector", other: str = "") -> Value:
    """A part of a seed with the dtype of what it belongs to (`other`), and with its sizes, which are checked.

    Raises: ShapeError or DTypeError where it is not like the primal.
    """
    assert isinstance(given.ty, Scalar | Array) and isinstance(primal.ty, Scalar | Array)
    other = f"the {other}" if other else f"`{primal.name or 'argument'}`"
    if not np.can_cast(given.dtype, primal.dtype, "same_kind"):
        raise DTypeError(f"{what} has dtype {given.dtype}, and {other} has dtype {primal.dtype}")
    ones = [[n == 1 for n in value.shape] for value in (given, primal)]
    if ones[0] != ones[1]:
        raise ShapeError(
            f"{what} has shape {format_shape(given.shape)}, and {other} has shape {format_shape(primal.shape)}"
        )
    if isinstance(primal.ty, Scalar):
        number = memory.load(given, region=()) if isinstance(given.ty, Array) else given
        return convert(number, primal.ty.dtype, primal.ty.weak)
    space = memory.make_zeros(memory.shape_values(primal), primal.dtype, filled=False)
    memory.store(space, given)
    space.name = f"{primal.name or 'argument'}_t"
    return space
