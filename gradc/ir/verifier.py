"""Checks the invariants of docs/design.md: scope, arity and types of control flow, operands, constants, regions."""

from __future__ import annotations

import builtins
from collections.abc import Sequence
from typing import Any

import numpy as np

from gradc import errors
from gradc.errors import GradcError, InternalError, Loc
from gradc.ir.builder import Builder, new_func
from gradc.ir.effects import view_operands
from gradc.ir.nodes import Block, Func, Node, Value
from gradc.ir.opdef import TABLE
from gradc.ir.printer import Printer
from gradc.ir.region import Arg, At, Gather, NewAxis, Span
from gradc.ir.types import Array, Scalar, Stack, Type, is_bool, is_integer


def verify(func: Func, last_pass: str = "") -> Func:
    """`func` itself, if it keeps every invariant.

    Raises: InternalError with the problem, the node, the user's line, the IR around it and the pass that ran last.
    """
    _Verifier(func, last_pass).run()
    return func


class _Verifier:
    def __init__(self, func: Func, last_pass: str) -> None:
        self.func = func
        self.last_pass = last_pass
        self.defined: set[Value] = set()

    def fail(self, problem: str, node: Node | None = None) -> InternalError:
        printer = Printer(self.func)
        loc: Loc = node.loc if node is not None else self.func.loc
        where = f", at `{printer.node_text(node)}`" if node is not None and node in printer.line_of else ""
        after = f" after pass {self.last_pass}" if self.last_pass else ""
        return InternalError(
            f"the IR of {self.func.name} is broken{after}: {problem}{where}",
            loc,
            why="the program around it:\n" + printer.excerpt(node),
        )

    def run(self) -> None:
        for param in self.func.params:
            if isinstance(param.ty, Stack):
                raise self.fail(f"parameter {param.name} is a stack")
        self._block(self.func.body, frozenset(), None)
        for value in self.func.results:
            if isinstance(value.ty, Stack):
                raise self.fail("a stack is a result")

    def _block(self, block: Block, outer: frozenset[Value], owner: Node | None) -> None:
        visible = set(outer)
        for param in block.params:
            if param.node is not None:
                raise self.fail(f"parameter {param.name!r} says that a node makes it", owner)
            if owner is not None and not isinstance(param.ty, Scalar):
                raise self.fail(f"block parameter {param.name!r} is {param.ty}, not a scalar", owner)
            self._define(param, visible, owner)
        for node in block.nodes:
            self._node(node, visible)
        for value in block.yields:
            if value not in visible:
                raise self.fail(f"the block yields {value!r}, which is not in scope", owner)
            if owner is not None and not isinstance(value.ty, Scalar):
                raise self.fail(f"the block yields {value!r}, not a scalar", owner)

    def _define(self, value: Value, visible: set[Value], node: Node | None) -> None:
        if value in self.defined:
            raise self.fail(f"{value!r} is defined twice", node)
        self.defined.add(value)
        visible.add(value)

    def _node(self, node: Node, visible: set[Value]) -> None:
        if TABLE.get(node.op.name) is not node.op:
            raise self.fail(f"op {node.op.name} is not in the table", node)
        for k, value in enumerate(node.operands):
            if value not in visible:
                raise self.fail(f"operand {k}, {value!r}, is not in scope", node)
        if node.op.kind == "control":
            self._control(node)
        elif node.blocks:
            raise self.fail("only control flow owns blocks", node)
        else:
            self._plain(node)
        scope = frozenset(visible) if node.blocks else frozenset()
        for block in node.blocks:
            self._block(block, scope, node)
        for value in node.results:
            if value.node is not node:
                raise self.fail(f"result {value!r} names another node as its maker", node)
            self._define(value, visible, node)

    # -------------------------------------------------------------------------------------------- control

    def _control(self, node: Node) -> None:
        for value in node.results:
            if not isinstance(value.ty, Scalar):
                raise self.fail(f"result {value!r} is not a scalar", node)
        exits = int(bool(node.attrs.get("exits")))
        match node.op.name:
            case "if":
                self._expect(
                    node, len(node.operands) == 1 and len(node.blocks) == 2, "`if` has a condition and two blocks"
                )
                self._expect(
                    node, is_bool(node.operands[0].ty) and _is_scalar(node.operands[0]), "the condition is a boolean"
                )
                for block in node.blocks:
                    self._expect(node, not block.params, "blocks of `if` have no parameters")
                    self._match(node, block.yields, node.results, "a block yields", "results")
            case "for":
                self._expect(
                    node, len(node.operands) >= 3 and len(node.blocks) == 1, "`for` has three bounds and a body"
                )
                for value in node.operands[:3]:
                    self._expect(node, is_integer(value.ty) and _is_scalar(value), "bounds of `for` are integers")
                (body,) = node.blocks
                carried = node.operands[3:]
                self._expect(
                    node, bool(body.params) and is_integer(body.params[0].ty), "the body takes the index first"
                )
                self._match(node, carried, body.params[1:], "initial values", "body parameters")
                self._loop_results(node, body, carried, exits, trips=bool(exits))
            case "while":
                self._expect(node, len(node.blocks) == 2, "`while` has a condition block and a body")
                cond, body = node.blocks
                self._match(node, node.operands, cond.params, "initial values", "condition parameters")
                self._match(node, node.operands, body.params, "initial values", "body parameters")
                single = len(cond.yields) == 1 and is_bool(cond.yields[0].ty)
                self._expect(node, single, "the condition block yields one boolean")
                self._loop_results(node, body, node.operands, exits, trips=True)
            case other:
                raise self.fail(f"there is no control flow named {other}", node)

    def _loop_results(self, node: Node, body: Block, carried: Sequence[Value], exits: int, trips: bool) -> None:
        yields = body.yields
        if exits:
            self._expect(node, bool(yields) and is_bool(yields[0].ty), "the body yields whether to leave first")
        self._match(node, yields[exits:], carried, "the body yields", "initial values")
        results = node.results
        if trips:
            self._expect(node, bool(results) and is_integer(results[-1].ty), "the last result is the number of trips")
            results = results[:-1]
        self._match(node, results, carried, "results", "initial values")

    def _match(self, node: Node, got: Sequence[Value], wanted: Sequence[Value], what: str, against: str) -> None:
        """Equal number, and equal dtypes one by one; a weak number may stand for a strong one."""
        if len(got) != len(wanted):
            raise self.fail(f"{len(got)} {what}, but {len(wanted)} {against}", node)
        for k, (a, b) in enumerate(zip(got, wanted, strict=True)):
            if not (isinstance(a.ty, Scalar) and isinstance(b.ty, Scalar) and a.ty.dtype == b.ty.dtype):
                raise self.fail(f"number {k}: {what} {a.ty}, {against} {b.ty}", node)

    def _expect(self, node: Node, holds: bool, what: str) -> None:
        if not holds:
            raise self.fail(f"not so: {what}", node)

    # --------------------------------------------------------------------------------------- other nodes

    def _plain(self, node: Node) -> None:
        name, attrs = node.op.name, node.attrs
        if name == "const":
            self._const(node)
            return
        if node.op.operands and len(node.operands) < len(node.op.operands):
            raise self.fail(f"{name} has {len(node.operands)} operands, not {len(node.op.operands)}", node)
        for value in node.operands:
            if isinstance(value.ty, Stack) and node.op.kind != "stack":
                raise self.fail(f"{name} cannot take a stack", node)
        if node.op.kind == "write":
            self._expect(node, isinstance(node.operands[0].ty, Array) and not node.results, "a write goes to an array")
        for k in view_operands(node.op):
            self._expect(node, isinstance(node.operands[k].ty, Array), "a view is of an array")
        if name == "check":
            self._check(node)
        if "region" in attrs:
            self._region(node)
        if "shape" in attrs:
            self._shape(node)
        self._result_types(node)

    def _const(self, node: Node) -> None:
        value = node.attrs.get("value")
        wanted: Type | None = None
        if isinstance(value, np.generic):
            wanted = Scalar(value.dtype.name)
        elif isinstance(value, bool | int | float | complex):
            kind = {bool: "bool", int: "int64", float: "float64", complex: "complex128"}.get(type(value))
            wanted = Scalar(kind, weak=True) if kind else None
        if wanted is None or len(node.results) != 1 or node.results[0].ty != wanted:
            raise self.fail(f"the constant {value!r} does not have its type", node)

    def _check(self, node: Node) -> None:
        cond = node.operands[0]
        self._expect(node, is_bool(cond.ty) and _is_scalar(cond), "a check has a boolean")
        error = node.attrs.get("error")
        found = getattr(errors, str(error), None) or getattr(builtins, str(error), None)
        known = isinstance(found, type) and issubclass(found, Exception)
        self._expect(node, known and isinstance(node.attrs.get("message", ""), str), f"{error} is an exception")

    def _index_operand(self, node: Node, arg: Any, first: int) -> Value | None:
        """The operand that an Arg or a Gather names."""
        if not isinstance(arg, Arg | Gather):
            return None
        if first + arg.k >= len(node.operands):
            raise self.fail(f"the region names operand #{arg.k}, which is missing", node)
        return node.operands[first + arg.k]

    def _region(self, node: Node) -> None:
        name, region, x = node.op.name, node.attrs["region"], node.operands[0]
        first = len(node.op.operands)
        allowed = {"index": (At, Span, NewAxis), "load": (At,), "store_at": (At,), "accumulate_at": (At,)}.get(
            name, (At, Span, NewAxis, Gather)
        )
        axes = 0
        for entry in region:
            if not isinstance(entry, allowed):
                raise self.fail(f"{entry} cannot be in the region of {name}", node)
            axes += not isinstance(entry, NewAxis)
            bounds: tuple[Any, ...] = (entry.position,) if isinstance(entry, At) else ()
            if isinstance(entry, Span):
                bounds = (entry.start, entry.stop, entry.step)
            for bound in bounds:
                value = self._index_operand(node, bound, first)
                if value is not None and not (_is_scalar(value) and is_integer(value.ty)):
                    raise self.fail(f"the position {value!r} is not an integer", node)
            if isinstance(entry, Gather):
                value = self._index_operand(node, entry, first)
                if value is None or not is_integer(value.ty):
                    raise self.fail(f"the positions {value!r} are not integers", node)
        if isinstance(x.ty, Array) and axes != len(x.ty.shape):
            raise self.fail(f"the region has {axes} entries for {len(x.ty.shape)} axes", node)

    def _shape(self, node: Node) -> None:
        shape, result = node.attrs["shape"], node.results[0].ty
        first = len(node.op.operands)
        for size in shape:
            value = self._index_operand(node, size, first)
            if value is not None and not (_is_scalar(value) and is_integer(value.ty)):
                raise self.fail(f"the size {value!r} is not an integer", node)
        if not isinstance(result, Array) or len(result.shape) != len(shape):
            raise self.fail(f"shape {shape} does not make {result}", node)

    def _result_types(self, node: Node) -> None:
        """Run the type rule again; sizes are compared where both are literal."""
        probe = Builder(new_func("probe", []), checks=False)
        types = [v.ty for v in node.operands]
        try:
            with probe:
                if node.op.infer is not None:
                    made: Sequence[Type] = node.op.infer(types, dict(node.attrs), lambda i, p, j, q: None)
                elif node.op.kind == "elementwise":
                    # Weakness follows from which function was called, `math.exp` or `np.exp`, so it is taken as given.
                    given = node.results[0].ty
                    weak = given.weak if isinstance(given, Scalar) else None
                    made = [probe.elementwise_type(node.op, node.operands, node.attrs, weak)]
                else:
                    raise self.fail(f"op {node.op.name} has no type rule", node)
        except InternalError:
            raise
        except GradcError as error:
            raise self.fail(f"the type rule says: {error.what}", node) from error
        except (KeyError, IndexError, ValueError, AttributeError, AssertionError) as error:
            raise self.fail(f"the type rule fails: {error!r}", node) from error
        if len(made) != len(node.results):
            raise self.fail(f"{len(node.results)} results, where the type rule gives {len(made)}", node)
        for value, ty in zip(node.results, made, strict=True):
            if not _fits(value.ty, ty):
                raise self.fail(f"result {value!r}, where the type rule gives {ty}", node)


def _is_scalar(value: Value) -> bool:
    return isinstance(value.ty, Scalar)


def _fits(got: Type, wanted: Type) -> bool:
    if isinstance(got, Array) and isinstance(wanted, Array):
        if got.dtype != wanted.dtype or len(got.shape) != len(wanted.shape):
            return False
        return all(
            p == q or not (isinstance(p, int) and isinstance(q, int))
            for p, q in zip(got.shape, wanted.shape, strict=True)
        )
    return got == wanted
