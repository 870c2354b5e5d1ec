"""Functions with derivative rules of the user, what a call of one is in the IR, and functions in place of calls.

    y = f(x)        %y = custom(%x) {rule}      the rule holds f, and the user's rule, for operands like these

The rule's functions have a parameter for each leaf of the arguments, then one for each value of the function around
the call that they use (`outer`). Every array that they give is new: no parameter's, and no other result's.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Self, TypeAlias

from gradc.ir.builder import Builder
from gradc.ir.foreign import c_function, is_c_function, is_low_level_callable, signature_of
from gradc.ir.nodes import Block, Func, Node, Value, clone_func, clone_node, walk_nodes
from gradc.ir.types import Array, Dim, Size, Stack, Type, size_variable, size_variables, substitute_size

RuleKind: TypeAlias = Literal["custom_vjp", "custom_jvp", "checkpoint"]


class RuledFunction:
    """A function of the user with what its derivatives are to be; what `gradc.custom_vjp` and its like return.

    rules: the user's functions: forward and backward for `custom_vjp`, the rule for `custom_jvp`.
    """

    kind: RuleKind

    def __init__(self, function: Callable[..., Any]) -> None:
        if is_low_level_callable(function):
            function = c_function(function)
        if not callable(function):
            raise TypeError(f"gradc.{self.kind} takes a function, not {function!r}")
        self.function = function
        self.rules: tuple[Callable[..., Any], ...] = ()
        self.__qualname__ = type(self).__qualname__
        functools.update_wrapper(self, function, updated=())
        if is_c_function(function):
            self.__signature__ = signature_of(function)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.function(*args, **kwargs)

    def __copy__(self) -> Self:
        """The object itself, as copies of functions are."""
        return self

    def __deepcopy__(self, memo: Any) -> Self:
        """The object itself, as copies of functions are."""
        return self

    def __repr__(self) -> str:
        return f"<gradc.{self.kind} of {getattr(self.function, '__qualname__', self.function)}>"


@dataclass(eq=False)
class Rule:
    """The rule of one call, for operands of certain types.

    name: of the user's function. arguments: how many operands are leaves of the arguments; those after are `outer`.
    types: of the results. primal: what a call computes.
    forward, of `custom_vjp`: gives the results, then residuals. backward: further parameters are the residuals and one
    cotangent per floating-point result; gives cotangents (of the arguments it reads sizes only). targets: of each
    argument which of these is its own, or None. tangent, of `custom_jvp`: further parameters are one tangent per
    floating-point argument; gives the results, and one tangent per floating-point result.
    """

    name: str
    kind: RuleKind
    arguments: int
    types: tuple[Type, ...]
    primal: Func | None = None
    forward: Func | None = None
    backward: Func | None = None
    targets: tuple[int | None, ...] = ()
    tangent: Func | None = None
    waiting: list[Node] = field(default_factory=list)  # calls inside the rule itself, while it is being made

    def __repr__(self) -> str:
        return f"{self.kind} {self.name}"

    def reads(self, k: int, asked: frozenset[tuple[Rule, int]] = frozenset()) -> bool:
        """Whether anything of the rule reads the content of operand `k`; its sizes do not count."""
        asked |= {(self, k)}
        for func in (self.primal, self.forward, self.backward, self.tangent):
            if func is None:
                continue
            value = func.params[k]
            if any(v is value for v in func.results):
                return True
            for node in walk_nodes(func.body):
                for at, v in enumerate(node.operands):
                    if v is not value or node.op.kind == "query":
                        continue
                    inner = node.attrs["rule"] if is_custom(node) else None
                    if inner is None or ((inner, at) not in asked and inner.reads(at, asked)):
                        return True
                if any(v is value for block in node.blocks for v in block.yields):
                    return True
        return False


def is_custom(node: Node) -> bool:
    """Whether the node is a call of a function with a rule of the user."""
    return node.op.name == "custom"


def put_in_place(func: Func, operands: Sequence[Value], builder: Builder) -> list[Value]:
    """Put copies of the nodes of `func` at the current place, with `operands` for its parameters; its results there.

    Sizes of the parameters become those of the operands, other sizes get new names. In a reverse sweep all of it counts
    as a part of that.
    """
    mapping: dict[Value, Value] = dict(zip(func.params, operands, strict=True))
    sizes: dict[str, Size] = {}
    for p, v in zip(func.params, operands, strict=True):
        if isinstance(p.ty, Array) and isinstance(v.ty, Array):
            for inner, outer in zip(p.ty.shape, v.ty.shape, strict=True):
                _learn(inner, outer, sizes)

    def rename(ty: Type) -> Type:
        if isinstance(ty, Stack):
            return Stack(rename(ty.item))  # type: ignore[arg-type]
        if not isinstance(ty, Array):
            return ty
        for size in ty.shape:
            for name in sorted(size_variables(size)):
                if name not in sizes:
                    sizes[name] = builder.new_size("t")
        return Array(ty.dtype, tuple(substitute_size(s, sizes) for s in ty.shape), ty.layout)

    for node in func.body.nodes:
        made = clone_node(node, mapping)
        builder.block.nodes.append(made)
        for inner_node in (made, *(n for block in made.blocks for n in walk_nodes(block))):
            if builder.loc.reverse:
                inner_node.loc = dataclasses.replace(inner_node.loc, reverse=True)
            for name in ("type", "item"):
                if isinstance(inner_node.attrs.get(name), Array | Stack):
                    inner_node.attrs[name] = rename(inner_node.attrs[name])
            for result in inner_node.results:
                result.ty = rename(result.ty)
                result.size = None
        builder.adopt(made.results)
    return [mapping.get(r, r) for r in func.results]


def calls_in_place(func: Func, wanted: Callable[[Node], bool] = lambda _: True) -> Func:
    """`func` with what they compute in place of the calls that are `wanted`; itself where there are none."""
    if not any(is_custom(node) and wanted(node) for node in walk_nodes(func.body)):
        return func
    copy = clone_func(func)
    builder = Builder(copy, checks=False)
    builder.avoid_sizes_of(func)
    with builder:
        _calls_in_place(copy.body, builder, wanted, {})
    return copy


def _calls_in_place(
    block: Block, builder: Builder, wanted: Callable[[Node], bool], replaced: dict[Value, Value]
) -> None:
    waiting, block.nodes = block.nodes[::-1], []
    with builder.into(block):
        while waiting:
            node = waiting.pop()
            node.operands = [replaced.get(v, v) for v in node.operands]
            if not (is_custom(node) and wanted(node)):
                block.nodes.append(node)
                for inner in node.blocks:
                    _calls_in_place(inner, builder, wanted, replaced)
                continue
            rule: Rule = node.attrs["rule"]
            assert rule.primal is not None
            start = len(block.nodes)
            results = put_in_place(rule.primal, node.operands, builder)
            for old, new in zip(node.results, results, strict=True):
                if new.node is not None and new.node.op.name != "const":
                    new.name = old.name or new.name
                replaced[old] = new
            waiting += block.nodes[start:][::-1]  # the function may call others
            del block.nodes[start:]
    block.yields = [replaced.get(v, v) for v in block.yields]


def _learn(inner: Size, outer: Size, sizes: dict[str, Size]) -> None:
    """What the variables of a parameter's size are, where its operand has the size `outer`."""
    if not isinstance(inner, Dim):
        return
    if inner == outer:
        for name in size_variables(inner):
            sizes.setdefault(name, size_variable(name))
        return
    if len(inner.terms) == 1 and inner.terms[0][1] == 1:
        atoms = inner.terms[0][0]
        if len(atoms) == 1 and atoms[0].inner is None:
            sizes.setdefault(atoms[0].name, outer)

