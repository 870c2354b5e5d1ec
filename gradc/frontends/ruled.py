"""Calls of functions that have derivative rules of the user: the rule becomes functions for operands of these types.

    f = gradc.custom_vjp(lambda x: ...)          %y = custom(%x) {rule}
    f.defvjp(fwd, bwd)                     ->    rule.primal, rule.forward: what f and fwd do with a leaf like %x
    def loss(x): return f(x) ...                 rule.backward: what bwd does with residuals like those of fwd

Each is interpreted in a block that nothing holds; what it uses of the function around the call becomes parameters.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from gradc.errors import ShapeError, UnsupportedError
from gradc.frontends.bindings import AttributeFetch, Binding, ItemFetch, PathEnds, describe
from gradc.frontends.local_functions import outer_values
from gradc.ir.custom import Rule, RuledFunction
from gradc.ir.effects import written_params
from gradc.ir.foreign import signature_of
from gradc.ir.nodes import Block, Func, Value, clone_block, walk_blocks
from gradc.ir.tree import Branch, Static, Tree, children, flatten, is_structure, unflatten
from gradc.ir.types import Array, Scalar, Type, format_shape, is_inexact, size_variables
from gradc.ops import TABLE
from gradc.ops.memory import copy, load

_LEAVES: tuple[type, ...] = (Value, float, complex, np.inexact)
_RESULTS = (*_LEAVES, bool, int, np.generic)


class Detached:
    """A block under construction that nothing holds: a part of a rule, with parameters of its own."""

    def __init__(self, name: str, types: Sequence[Type], names: Sequence[str]) -> None:
        self.name = name
        self.block = Block(params=[Value(_of_any_layout(ty), n) for ty, n in zip(types, names, strict=True)])

    def as_func(self, outer: Sequence[Value], at: int, loc: Any) -> Func:
        """A function of its parameters, with `outer` put between the first `at` of them and the others."""
        inputs = [Value(v.ty, v.name, None, v.size) for v in outer]
        body = clone_block(self.block, dict(zip(outer, inputs, strict=True)))
        body.params[at:at] = inputs
        func = Func(self.name, body, loc)
        if written_params(func):
            raise UnsupportedError(
                f"`{self.name}` writes into an array that it is given", loc,
                "a function with a derivative rule changes nothing but what it returns.", "copy the array first.",
            )
        return func


@dataclass(eq=False, slots=True)
class Making:
    """A rule whose parts are being interpreted.

    result: the structure of what a call gives, once that is known. parts: what is interpreted. first: the outermost of
    the rules under way that a part calls, as a position; those two wait for each other's outer values. pending: rules
    that wait for those of this one.
    """

    key: Any
    rule: Rule
    first: int
    result: Tree | None = None
    parts: dict[str, Detached] = field(default_factory=dict)
    pending: list[Making] = field(default_factory=list)

    def params(self) -> set[Value]:
        """The parameters of all parts."""
        return {p for part in self.parts.values() for p in part.block.params}


class RuledCalls:
    """Makes rules and calls of them for one interpretation."""

    def __init__(self, machine: Any) -> None:
        self.machine = machine
        self.under_way: list[Making] = []

    def call(self, callee: RuledFunction, args: list[Binding], keywords: dict[str, Binding]) -> Binding:
        """callee(*args, **keywords)."""
        machine = self.machine
        name = getattr(callee.function, "__name__", "function")
        try:
            bound = signature_of(callee.function).bind(*args, **keywords)
        except TypeError as error:
            machine.refuse(f"{name}(): {error}")
        bound.apply_defaults()
        if bound.kwargs:
            machine.refuse(f"`{name}`, which has a derivative rule, has keyword-only arguments", hint="use others.")
        if callee.kind != "checkpoint" and not callee.rules:
            define = {"custom_vjp": "defvjp(fwd, bwd)", "custom_jvp": "defjvp(rule)"}[callee.kind]
            machine.refuse(f"`{name}` has no derivative rule yet", hint=f"call {name}.{define} first.")
        found = machine.fetch_of.get(id(callee))
        if found is not None:  # it was not made by the function that is being compiled
            machine.external(callee.function, AttributeFetch(found[1], "function"))
            for k, function in enumerate(callee.rules):
                machine.external(function, ItemFetch(AttributeFetch(found[1], "rules"), k, _name(function)))
        leaves, tree = flatten(tuple(bound.args), _LEAVES)
        values = [machine.value(leaf) for leaf in leaves]
        key = (id(callee), tree, tuple(_of_any_layout(v.ty) for v in values))
        for k, making in enumerate(self.under_way):
            if making.key == key:
                if making.result is None:
                    why = "how often is known at run time only."
                    machine.refuse(f"`{name}` calls itself", why, "write it as a loop.")
                self.under_way[-1].first = min(self.under_way[-1].first, k)
                return self._waiting(making, values)
            for other in making.pending:
                if other.key == key:
                    self.under_way[-1].first = min(self.under_way[-1].first, k)
                    return self._waiting(other, values)
        making, outer = self._rule(callee, name, key, tree, values)
        if outer is None:
            return self._waiting(making, values)
        assert making.result is not None
        return unflatten(making.result, self._node(making.rule, [*values, *outer]))

    def _waiting(self, making: Making, values: Sequence[Value]) -> Binding:
        """A call of a function whose rule is not complete: it gets its outer values later."""
        assert making.result is not None
        made = self._node(making.rule, values)
        making.rule.waiting += [v.node for v in made[:1] if v.node is not None]
        return unflatten(making.result, made)

    def _node(self, rule: Rule, operands: Sequence[Value]) -> list[Value]:
        made = self.machine.builder.add(TABLE["custom"], operands, {"rule": rule})
        return [made] if isinstance(made, Value) else list(made)

    # ------------------------------------------------------------------------------------------- making

    def _rule(
        self, callee: RuledFunction, name: str, key: Any, tree: Tree, values: list[Value]
    ) -> tuple[Making, list[Value] | None]:
        """The rule of a call, and the values around it that it uses; None where it waits for another rule's."""
        types, names = [v.ty for v in values], [v.name or "x" for v in values]
        rule = Rule(name, callee.kind, len(values), ())
        position = len(self.under_way)
        making = Making(key, rule, position)
        self.under_way.append(making)
        try:
            primal = making.parts["primal"] = Detached(name, types, names)
            result = self._fill(primal, callee.function, unflatten(tree, primal.block.params))
            outs = primal.block.yields
            if not outs:
                self.machine.refuse(f"`{name}`, which has a derivative rule, returns no number")
            rule.types = tuple(v.ty for v in outs)
            self._require_known_sizes(name, rule.types, types)
            making.result = result
            if callee.kind == "custom_vjp":
                making.parts |= self._vjp(callee, rule, tree, result, types, names)
            elif callee.kind == "custom_jvp":
                making.parts["tangent"] = self._jvp(callee, rule, tree, result, types, names)
        finally:
            self.under_way.pop()
        if making.first < position:  # it calls a function whose rule calls it
            around = self.under_way[-1]
            around.first = min(around.first, making.first)
            around.pending += [making, *making.pending]
            return making, None
        return making, self._complete([making, *making.pending])

    def _complete(self, made: list[Making]) -> list[Value]:
        """Complete rules that call each other: all get the values around the call that one of them uses."""
        own = {p for making in made for p in making.params()}
        inside = {v for making in made for part in making.parts.values() for v in _values_in(part.block)} - own
        outer: list[Value] = []
        for making in made:
            for part in making.parts.values():
                for v in outer_values(part.block):
                    if v in inside or (v in own and v not in making.params()):
                        self.machine.refuse(
                            f"`{making.rule.name}` uses `{v.name or 'a value'}` of a rule that calls it",
                            "a function with a derivative rule is the same wherever it is called.",
                            "make it an argument.",
                        )
                    if v not in own and v not in outer:
                        outer.append(v)
        for making in made:
            for node in making.rule.waiting:
                node.operands += outer
            making.rule.waiting.clear()
        loc = self.machine.builder.loc
        for making in made:
            for label, part in making.parts.items():
                setattr(making.rule, label, part.as_func(outer, making.rule.arguments, loc))
        return outer

    def _fill(self, part: Detached, function: Callable[..., Any], args: Sequence[Binding]) -> Tree:
        """Interpret a call of `function` in the block of `part`; its results become new arrays. Their tree."""
        with self.machine.builder.into(part.block):
            leaves, tree = flatten(self._run(function, args), _RESULTS)
            part.block.yields = self._new_arrays([self.machine.value(leaf) for leaf in leaves], part.block)
        return tree

    def _run(self, function: Callable[..., Any], args: Sequence[Binding]) -> Binding:
        try:
            return self.machine.call(function, list(args), {})
        except PathEnds:
            return self.machine.refuse(f"`{getattr(function, '__name__', 'function')}` always raises")

    def _new_arrays(self, values: Sequence[Value], block: Block) -> list[Value]:
        """Values whose arrays are made in `block`, whole, and each its own."""
        made = {r for node in block.nodes if node.op.kind != "view" for r in node.results}
        given: list[Value] = []
        for v in values:
            if isinstance(v.ty, Array) and (v not in made or v.ty.layout != "C" or any(v is g for g in given)):
                v = copy(v)
            given.append(v)
        return given

    def _require_known_sizes(self, name: str, results: Sequence[Type], operands: Sequence[Type]) -> None:
        known = {n for ty in operands for n in _variables(ty)}
        known |= {n for p in self.machine.func.params for n in _variables(p.ty)}
        for ty in results:
            if isinstance(ty, Array) and not _variables(ty) <= known:
                self.machine.refuse(
                    f"`{name}` returns an array whose shape {format_shape(ty.shape)} is not that of its arguments",
                    "the sizes of what a function with a derivative rule returns follow from those of its arguments.",
                )

    # --------------------------------------------------------------------------------------- custom_vjp

    def _vjp(
        self, callee: RuledFunction, rule: Rule, tree: Tree, result: Tree, types: list[Type], names: list[str]
    ) -> dict[str, Detached]:
        machine = self.machine
        fwd, bwd = callee.rules
        forward = Detached(_name(fwd), types, names)
        with machine.builder.into(forward.block):
            given = self._run(fwd, unflatten(tree, forward.block.params))
            if not (type(given) is tuple and len(given) == 2):
                why = "a forward rule returns a pair: result, residuals."
                machine.refuse(f"`{_name(fwd)}` returns {describe(given)}", why)
            outs, out_tree = flatten(given[0], _RESULTS)
            self._require_same(out_tree, result, f"the result of `{_name(fwd)}`", f"that of `{rule.name}`")
            outs = [self._as(machine.value(v), ty, _name(fwd), rule) for v, ty in zip(outs, rule.types, strict=True)]
            kept, kept_tree = flatten(given[1], _LEAVES)
            residuals = [machine.value(v) for v in kept]
            forward.block.yields = [*self._new_arrays(outs, forward.block), *residuals]
        floats = [k for k, ty in enumerate(rule.types) if is_inexact(ty)]
        backward = Detached(
            _name(bwd),
            [*types, *(v.ty for v in residuals), *(_c_layout(rule.types[k]) for k in floats)],
            [*names, *(v.name or "residual" for v in residuals), *("ct" for _ in floats)],
        )
        params = backward.block.params
        xs, saved, seeds = params[: len(types)], params[len(types) : len(types) + len(residuals)], iter(
            params[len(types) + len(residuals) :]
        )
        cts = unflatten(result, [next(seeds) if k in floats else None for k in range(len(rule.types))])
        with machine.builder.into(backward.block):
            given = self._run(bwd, [unflatten(kept_tree, saved), cts])
            items = list(given) if type(given) in (tuple, list) else [given]
            args = unflatten(tree, xs)
            if type(given) not in (tuple, list) or len(items) != len(args):
                what = f"{len(items)} cotangents" if type(given) in (tuple, list) else describe(given)
                raise ShapeError(
                    f"`{_name(bwd)}`, the backward rule of `{rule.name}`, returns {what} for {len(args)} arguments",
                    machine.builder.loc, "a backward rule returns a tuple with one cotangent per argument.",
                    "return (dx,); None stands for zeros.",
                )
            found: list[Value] = []
            targets: list[int | None] = [None] * len(types)
            for item, arg in zip(items, args, strict=True):
                self._match(item, arg, xs, found, targets, rule, _name(bwd))
            backward.block.yields = found
        rule.targets = tuple(targets)
        return {"forward": forward, "backward": backward}

    def _match(
        self, given: Binding, arg: Binding, xs: list[Value], found: list[Value], targets: list[int | None], rule: Rule,
        where: str,
    ) -> None:
        """Take the cotangents of one argument out of the structure that the backward rule gave."""
        if given is None:
            return
        if isinstance(arg, Value):
            if is_inexact(arg.ty):
                k = next(k for k, x in enumerate(xs) if x is arg)
                targets[k] = len(found)
                if is_structure(given):
                    self._misfit(where, rule, f"{describe(given)} for `{arg.name}`, which is {_kind(arg.ty)}")
                found.append(self._cotangent(self.machine.value(given), arg, rule, where))
            return
        if not is_structure(arg):
            return
        keys, items = children(arg)
        if not is_structure(given) or children(given)[0] != keys:
            self._misfit(where, rule, f"{describe(given)} for an argument that is {describe(arg)}")
        for inner, part in zip(children(given)[1], items, strict=True):
            self._match(inner, part, xs, found, targets, rule, where)

    def _cotangent(self, ct: Value, x: Value, rule: Rule, where: str) -> Value:
        """A cotangent with the shape of `x`, which is checked."""
        if isinstance(ct.ty, Array) and ct.rank == 0 and isinstance(x.ty, Scalar):
            ct = load(ct, region=())
        builder = self.machine.builder
        if ct.rank != x.rank:
            self._misfit(where, rule, f"shape {format_shape(ct.shape)} for `{x.name}` of shape {format_shape(x.shape)}")
        for axis in range(ct.rank):
            sizes = builder.canonical_size(ct.shape[axis]), builder.canonical_size(x.shape[axis])
            if sizes[0] != sizes[1] and (all(isinstance(s, int) for s in sizes) or 1 in sizes):
                self._misfit(
                    where, rule, f"shape {format_shape(ct.shape)} for `{x.name}` of shape {format_shape(x.shape)}"
                )
            if sizes[0] != sizes[1]:
                emit = builder.emit
                same = emit("eq", (emit("dim", (ct,), axis=axis), emit("dim", (x,), axis=axis)))
                message = (
                    f"`{where}`, the backward rule of `{rule.name}`, returns a cotangent for `{x.name}` whose axis "
                    f"{axis} has another size"
                )
                emit("check", (same,), error="ShapeError", message=message)
        return ct

    def _misfit(self, where: str, rule: Rule, what: str) -> None:
        raise ShapeError(
            f"`{where}`, the rule of `{rule.name}`, returns {what}", self.machine.builder.loc,
            "what a rule returns has the structure and the shapes of what it belongs to.",
        )

    def _require_same(self, got: Tree, wanted: Tree, what: str, of: str) -> None:
        if got != wanted:
            raise ShapeError(f"{what} has another structure than {of}", self.machine.builder.loc)

    def _as(self, v: Value, ty: Type, where: str, rule: Rule) -> Value:
        """A result of a rule in the type of the function's own."""
        assert isinstance(v.ty, Scalar | Array) and isinstance(ty, Scalar | Array)
        if len(v.ty.shape) != len(ty.shape) or any(
            a != b and (1 in (a, b) or isinstance(a, int) and isinstance(b, int))
            for a, b in zip(v.ty.shape, ty.shape, strict=True)
        ):
            self._misfit(where, rule, f"shape {format_shape(v.ty.shape)} where it is {format_shape(ty.shape)}")
        if v.ty.dtype == ty.dtype and getattr(v.ty, "weak", False) == getattr(ty, "weak", False):
            return v
        weak = isinstance(ty, Scalar) and ty.weak
        return self.machine.builder.emit("cast", (v,), dtype=ty.dtype, weak=weak)

    # --------------------------------------------------------------------------------------- custom_jvp

    def _jvp(
        self, callee: RuledFunction, rule: Rule, tree: Tree, result: Tree, types: list[Type], names: list[str]
    ) -> Detached:
        machine = self.machine
        (function,) = callee.rules
        where = _name(function)
        floats = [k for k, ty in enumerate(types) if is_inexact(ty)]
        part = Detached(
            where, [*types, *(_c_layout(types[k]) for k in floats)], [*names, *(f"{names[k]}_t" for k in floats)]
        )
        xs, moving = part.block.params[: len(types)], iter(part.block.params[len(types) :])
        tangents = unflatten(_without_numbers(tree), [next(moving) if k in floats else None for k in range(len(types))])
        with machine.builder.into(part.block):
            given = self._run(function, [unflatten(tree, xs), tangents])
            if not (type(given) is tuple and len(given) == 2):
                machine.refuse(f"`{where}` returns {describe(given)}", "a rule returns a pair: result, tangent.")
            outs, out_tree = flatten(given[0], _RESULTS)
            self._require_same(out_tree, result, f"the result of `{where}`", f"that of `{rule.name}`")
            made = [self._as(machine.value(v), ty, where, rule) for v, ty in zip(outs, rule.types, strict=True)]
            dots: list[Value] = []
            self._tangents(given[1], unflatten(result, list(range(len(made)))), rule, where, dots)
            part.block.yields = self._new_arrays([*made, *dots], part.block)
        return part

    def _tangents(self, given: Binding, result: Any, rule: Rule, where: str, found: list[Value]) -> None:
        """The tangents of the floating-point results, in order."""
        if isinstance(result, int):
            ty = rule.types[result]
            if is_inexact(ty):
                if is_structure(given) or given is None:
                    self._misfit(where, rule, f"the tangent {describe(given)} for a result that is {_kind(ty)}")
                found.append(self._as(self.machine.value(given), ty, where, rule))
        elif is_structure(result):
            keys, items = children(result)
            if not is_structure(given) or children(given)[0] != keys:
                self._misfit(where, rule, f"tangents of another structure than those of `{rule.name}`")
            for inner, part in zip(children(given)[1], items, strict=True):
                self._tangents(inner, part, rule, where, found)


def _values_in(block: Block) -> Iterator[Value]:
    """What is defined in a block or below."""
    for inner in walk_blocks(block):
        yield from inner.params
        for node in inner.nodes:
            yield from node.results


def _name(function: Any) -> str:
    return str(getattr(function, "__name__", "rule"))


def _kind(ty: Type) -> str:
    return f"an array of shape {format_shape(ty.shape)}" if isinstance(ty, Array) else "a number"


def _without_numbers(tree: Tree) -> Tree:
    """The tree with None for numbers that are known while compiling: they have no tangent."""
    if isinstance(tree, Branch):
        return Branch(tree.cls, tree.keys, tuple(map(_without_numbers, tree.items)))
    known = isinstance(tree, Static) and isinstance(tree.value, bool | int | np.generic)
    return Static(None) if known else tree


def _variables(ty: Type) -> set[str]:
    return {n for size in ty.shape for n in size_variables(size)} if isinstance(ty, Array) else set()


def _of_any_layout(ty: Type) -> Type:
    """The type of a parameter that stands for values of this type and may be given copies of them."""
    return Array(ty.dtype, ty.shape, "A") if isinstance(ty, Array) and ty.layout != "C" else ty


def _c_layout(ty: Type) -> Type:
    return Array(ty.dtype, ty.shape) if isinstance(ty, Array) else ty
