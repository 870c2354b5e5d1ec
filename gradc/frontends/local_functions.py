"""A function that is defined inside the compiled one and differentiated there.

    def loss(w):                            u is built as a function of its own, in a block that nothing holds: what it
        u = lambda x: np.tanh(w * x)   ->   uses of `loss` (here w) becomes parameters, which the transformed function
        return gradc.grad(u)(2.0)           gets again where it is put in place of the call
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any

from gradc.errors import UnsupportedError
from gradc.frontends.bindings import Closure
from gradc.ir.effects import written_params
from gradc.ir.nodes import Block, Func, Value, clone_block, used_values, walk_blocks
from gradc.ir.program import Program, Typed, leaf_type
from gradc.ir.tree import LEAF_TYPES, Tree, flatten, leaf_names, shift_leaves, unflatten


class LocalFunction:
    """A closure of the interpreter as a callable for transforms, which ask it for its program."""

    def __init__(self, machine: Any, closure: Closure) -> None:
        self.machine = machine
        self.closure = closure
        self.__name__ = self.__qualname__ = closure.source.name
        self.__signature__ = inspect.Signature(list(_parameters(closure)))

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        raise UnsupportedError(f"{self.__name__} exists only while the function around it is compiled")

    def __gradc_program__(self, values: Sequence[Any]) -> Program:
        """The program for these values of the parameters, whose leaves are numbers or `Typed`."""
        machine, loc = self.machine, self.closure.source.loc(self.closure.source.node)
        params: list[Value] = []
        trees: list[Tree] = []
        for label, given in zip(self.__signature__.parameters, values, strict=True):
            leaves, tree = flatten(given, (*LEAF_TYPES, Typed))
            trees.append(shift_leaves(tree, len(params)))
            names = leaf_names(tree, label)
            params += [Value(leaf_type(leaf, name), name) for leaf, name in zip(leaves, names, strict=True)]
        block = Block(params=params)
        args: list[Any] = []
        keywords: dict[str, Any] = {}
        for parameter, tree in zip(self.__signature__.parameters.values(), trees, strict=True):
            binding = unflatten(tree, params)
            match parameter.kind:
                case inspect.Parameter.VAR_POSITIONAL:
                    args += binding
                case inspect.Parameter.VAR_KEYWORD:
                    keywords.update(binding)
                case inspect.Parameter.KEYWORD_ONLY:
                    keywords[parameter.name] = binding
                case _:
                    args.append(binding)
        with machine.builder.into(block):
            result = machine.call(self.closure, args, keywords)
            leaves, tree = flatten(result, (*LEAF_TYPES, Value))
            block.yields = [machine.value(leaf) for leaf in leaves]
        outer = outer_values(block)
        inputs = [Value(v.ty, v.name, None, v.size) for v in outer]
        # A copy: the transform may change it, and the interpreter may look at its own values again.
        body = clone_block(block, dict(zip(outer, inputs, strict=True)))
        func = Func(self.__name__, body, loc)
        body.params += inputs
        if any(k >= len(params) for k in written_params(func)):
            raise UnsupportedError(
                f"`{self.__name__}` writes into an array of the function around it", loc,
                "a derivative changes nothing but what it returns.", "return a new array instead.",
            )
        return Program(func, tuple(trees), tree, outer=tuple(outer))


def _parameters(closure: Closure) -> Any:
    """The parameters of a closure. A default is a binding of the function around it."""
    spec, kinds = closure.source.node.args, inspect.Parameter
    positional = [*spec.posonlyargs, *spec.args]
    defaults = [inspect.Parameter.empty] * (len(positional) - len(closure.defaults)) + list(closure.defaults)
    for k, (a, default) in enumerate(zip(positional, defaults, strict=True)):
        kind = kinds.POSITIONAL_ONLY if k < len(spec.posonlyargs) else kinds.POSITIONAL_OR_KEYWORD
        yield inspect.Parameter(a.arg, kind, default=_default(default))
    if spec.vararg is not None:
        yield inspect.Parameter(spec.vararg.arg, kinds.VAR_POSITIONAL)
    for a in spec.kwonlyargs:
        default = closure.keyword_defaults.get(a.arg, inspect.Parameter.empty)
        yield inspect.Parameter(a.arg, kinds.KEYWORD_ONLY, default=_default(default))
    if spec.kwarg is not None:
        yield inspect.Parameter(spec.kwarg.arg, kinds.VAR_KEYWORD)


def _default(default: Any) -> Any:
    if isinstance(default, Value):
        raise UnsupportedError(
            "a default that is known at run time only cannot be had in a derivative", hint="pass it as an argument."
        )
    return default


def outer_values(block: Block) -> list[Value]:
    """Values that a block uses and does not define, in order of use."""
    local: set[Value] = set()
    for inner in walk_blocks(block):
        local.update(inner.params)
        local.update(r for node in inner.nodes for r in node.results)
    found: dict[Value, Value] = {}
    for node in block.nodes:
        for value in used_values(node):
            if value not in local:
                found.setdefault(value, value)
    for value in block.yields:
        if value not in local:
            found.setdefault(value, value)
    return list(found.values())
