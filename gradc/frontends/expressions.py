"""Expressions: literals, names, operators, comparisons, conditions, attributes, displays, comprehensions."""

from __future__ import annotations

import ast
import builtins
import cmath
import math
import operator
import types
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NoReturn

import numpy as np

from gradc.errors import UnsupportedError
from gradc.frontends.bindings import (
    NUMBERS,
    Binding,
    Closure,
    Collected,
    DynamicRange,
    Flat,
    Generator,
    InBlocks,
    Iteration,
    Method,
    Partial,
    PathEnds,
    contains_value,
    describe,
    is_array,
    is_number,
    is_scalar,
)
from gradc.frontends.subscripts import Subscripts
from gradc.ir.effects import has_effect
from gradc.ir.nodes import Block, Value
from gradc.ir.opdef import Prepared
from gradc.ir.tree import is_named_tuple, is_structure
from gradc.ir.types import Array, Scalar, is_bool, is_integer
from gradc.ops import ATTRIBUTES, CALLS, METHODS, TABLE
from gradc.ops.memory import element_count, shape_values

_BINARY: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul, ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv, ast.Mod: operator.mod, ast.Pow: operator.pow, ast.MatMult: operator.matmul,
    ast.BitAnd: operator.and_, ast.BitOr: operator.or_, ast.BitXor: operator.xor, ast.LShift: operator.lshift,
    ast.RShift: operator.rshift,
}
_SYMBOL = {
    operator.add: "+", operator.sub: "-", operator.mul: "*", operator.truediv: "/", operator.floordiv: "//",
    operator.mod: "%", operator.pow: "**", operator.matmul: "@", operator.and_: "&", operator.or_: "|",
    operator.xor: "^", operator.lshift: "<<", operator.rshift: ">>", operator.neg: "-", operator.pos: "+",
    operator.invert: "~",
}
_COMPARE: dict[type[ast.cmpop], Callable[[Any, Any], Any]] = {
    ast.Lt: operator.lt, ast.LtE: operator.le, ast.Gt: operator.gt, ast.GtE: operator.ge, ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
}
_COMPARE_OP = {
    operator.lt: "lt", operator.le: "le", operator.gt: "gt", operator.ge: "ge", operator.eq: "eq", operator.ne: "ne"
}
_OPERATION = {
    operator.add: "add", operator.sub: "sub", operator.mul: "mul", operator.truediv: "div",
    operator.floordiv: "floordiv", operator.mod: "mod", operator.pow: "pow", operator.and_: "bitand",
    operator.or_: "bitor", operator.xor: "bitxor",
    operator.lshift: "shift_left", operator.rshift: "shift_right", operator.neg: "neg",
}
_LOGICAL = {operator.and_: "logical_and", operator.or_: "logical_or", operator.xor: "ne"}
_UNARY = {ast.USub: operator.neg, ast.UAdd: operator.pos, ast.Invert: operator.invert}


class Expressions(Subscripts):
    """Interprets expressions."""

    def eval(self, node: ast.expr) -> Binding:
        """The binding that an expression stands for; nodes go to the current block."""
        handler = getattr(self, f"_eval_{type(node).__name__}", None)
        with self.at(node):
            if handler is None:
                self.refuse(f"`{ast.unparse(node)}` cannot be compiled", f"there is no rule for {type(node).__name__}.")
            return handler(node)

    # --------------------------------------------------------------------------------- names, literals

    def _eval_Constant(self, node: ast.Constant) -> Binding:
        return node.value

    def _eval_Name(self, node: ast.Name) -> Binding:
        return self.look_up(node.id)

    def _eval_NamedExpr(self, node: ast.NamedExpr) -> Binding:
        b = self.eval(node.value)
        self.bind(node.target.id, b)
        return b

    def _eval_Tuple(self, node: ast.Tuple) -> Binding:
        return tuple(self._items(node.elts))

    def _eval_List(self, node: ast.List) -> Binding:
        return self._items(node.elts)

    def _eval_Set(self, node: ast.Set) -> Binding:
        items = self._items(node.elts)
        if contains_value(items):
            self.refuse("a set of run-time values cannot be compiled", "members are compared while compiling.")
        return frozenset(items)

    def _items(self, elements: Sequence[ast.expr]) -> list[Binding]:
        items: list[Binding] = []
        for element in elements:
            if isinstance(element, ast.Starred):
                items += self.known_items(self.eval(element.value), "what is unpacked")
            else:
                items.append(self.eval(element))
        return items

    def _eval_Dict(self, node: ast.Dict) -> Binding:
        made: dict[Any, Binding] = {}
        for key, value in zip(node.keys, node.values, strict=True):
            if key is None:
                more = self.eval(value)
                if not isinstance(more, dict):
                    self.refuse(f"{describe(more)} cannot be unpacked into a dict")
                made.update(more)
            else:
                made[self.key(self.eval(key))] = self.eval(value)
        return made

    def key(self, b: Binding) -> Any:
        """A dict key, known while compiling."""
        if isinstance(b, tuple):
            return tuple(self.key(item) for item in b)
        return self.static(b, "a dict key")

    def _eval_JoinedStr(self, node: ast.JoinedStr) -> Binding:
        text = ""
        for part in node.values:
            if isinstance(part, ast.Constant):
                text += str(part.value)
                continue
            assert isinstance(part, ast.FormattedValue)
            b = self.eval(part.value)
            if contains_value(b):
                if not self.in_message:
                    self.refuse(
                        f"`{ast.unparse(part.value)}` is a number of run time, and cannot be a part of a text",
                        "texts are known when the function is compiled.",
                        "use it in messages of raise and assert only.",
                    )
                text += "{" + ast.unparse(part.value) + "}"
                continue
            conversion = chr(part.conversion) if part.conversion > 0 else ""
            shown = repr(b) if conversion == "r" else ascii(b) if conversion == "a" else str(b) if conversion else b
            spec = self.eval(part.format_spec) if part.format_spec is not None else ""
            text += format(shown, spec)
        return text

    def _eval_Lambda(self, node: ast.Lambda) -> Binding:
        return self.closure(node)

    def closure(self, node: ast.Lambda | ast.FunctionDef) -> Closure:
        """A nested definition as a binding."""
        defaults = tuple(self.eval(d) for d in node.args.defaults)
        names = [a.arg for a in node.args.kwonlyargs]
        keywords = {
            n: self.eval(d) for n, d in zip(names, node.args.kw_defaults, strict=True) if d is not None
        }
        return Closure(self.frame.source.within(node), self.frame, defaults, keywords)

    # ------------------------------------------------------------------------------------- operators

    def _eval_BinOp(self, node: ast.BinOp) -> Binding:
        left, right = self.eval(node.left), self.eval(node.right)
        return self.binary(_BINARY[type(node.op)], left, right)

    def binary(self, function: Callable[[Any, Any], Any], a: Binding, b: Binding) -> Binding:
        """a op b, in Python where both are known."""
        if is_number(a) and is_number(b):
            return self.fold(function, a, b)
        if isinstance(a, Collected) and isinstance(b, Value):
            a = a.array
        elif isinstance(b, Collected) and isinstance(a, Value):
            b = b.array
        if not isinstance(a, Value) and not isinstance(b, Value):
            return self._binary_structure(function, a, b)
        for sequence, count in ((a, b), (b, a)):
            if type(sequence) in (list, tuple) and is_scalar(count) and function is operator.mul:
                return sequence * self.static_int(count, "the number of repetitions")
        left, right = self.value(a), self.value(b)
        if function in _LOGICAL and is_bool(left.ty) and is_bool(right.ty):
            return self.emit(_LOGICAL[function], left, right)
        if _OPERATION.get(function) in TABLE:
            if function is operator.truediv:
                self._check_divisor(left, right)
            return self.emit(_OPERATION[function], left, right)
        entry = CALLS.get(np.matmul if function is operator.matmul else function)
        if entry is None:
            self.refuse(
                f"`{_SYMBOL[function]}` between {describe(left)} and {describe(right)} cannot be compiled",
                "there is no rule for this operator.",
            )
        return self.build(entry.build, (left, right), {}, f"operator {_SYMBOL[function]}")

    def _check_divisor(self, left: Value, right: Value) -> None:
        """Python's integers raise where NumPy's numbers divide by zero."""
        for v in (left, right):
            if not isinstance(v.ty, Scalar) or not v.ty.weak or v.dtype not in ("int64", "bool"):
                return
        known = right.node.attrs["value"] if right.node is not None and right.node.op.name == "const" else None
        if not known:
            self.fail("ZeroDivisionError", "division by zero", self.emit("ne", right, 0))

    def _binary_structure(self, function: Callable[[Any, Any], Any], a: Binding, b: Binding) -> Binding:
        for part in (a, b):
            if isinstance(part, Collected):
                self.as_list(part)
        sequences = (list, tuple, str)
        plain = type(a) is type(b) and isinstance(a, sequences)
        repeated = function is operator.mul and (
            (isinstance(a, sequences) and isinstance(b, int)) or (isinstance(b, sequences) and isinstance(a, int))
        )
        merged = function is operator.or_ and isinstance(a, dict) and isinstance(b, dict)
        if (function is operator.add and plain) or repeated or merged or not (contains_value(a) or contains_value(b)):
            try:
                return function(a, b)
            except TypeError:
                pass
            except ArithmeticError as error:
                self.fail(type(error).__name__, str(error))
        return self.refuse(f"`{_SYMBOL[function]}` between {describe(a)} and {describe(b)} cannot be compiled")

    def fold(self, function: Any, *args: Any) -> Any:
        """A function of known numbers, computed now; what Python would raise is raised at run time."""
        division = function in (operator.truediv, operator.floordiv, operator.mod)
        inexact = any(isinstance(x, float | complex | np.inexact) for x in args)
        try:
            with np.errstate(all="ignore"):
                if division and inexact and not args[1]:
                    # Floats divide as NumPy's do: by zero gives inf or nan.
                    quotient = np.true_divide if function is operator.truediv else np.floor_divide
                    found = np.remainder(*args) if function is operator.mod else quotient(*args)
                    weak = not any(isinstance(x, np.generic) for x in args)
                    return found.item() if weak and isinstance(found, np.generic) else found
                return function(*args)
        except (ArithmeticError, ValueError) as error:
            self.fail(type(error).__name__, str(error))
        except TypeError as error:
            self.refuse(str(error))

    def _eval_UnaryOp(self, node: ast.UnaryOp) -> Binding:
        b = self.eval(node.operand)
        if isinstance(node.op, ast.Not):
            return self.negate(self.truth(b))
        function = _UNARY[type(node.op)]
        if is_number(b):
            return self.fold(function, b)
        if not isinstance(b, Value):
            self.refuse(f"`{_SYMBOL[function]}` of {describe(b)} cannot be compiled")
        if function is operator.invert and is_bool(b.ty) and not (isinstance(b.ty, Scalar) and b.ty.weak):
            return self.emit("logical_not", b)
        if function is operator.neg:
            return self.emit("neg", b)
        if function is operator.pos and not is_bool(b.ty):
            return b if is_scalar(b) else self.call_table(np.array, b)
        entry = CALLS.get(function)
        if entry is None:
            self.refuse(f"`{_SYMBOL[function]}` of {describe(b)} cannot be compiled")
        return self.build(entry.build, (b,), {}, f"operator {_SYMBOL[function]}")

    # ----------------------------------------------------------------------------------- comparisons

    def _eval_Compare(self, node: ast.Compare) -> Binding:
        left = self.eval(node.left)
        return self._compare_chain(left, list(zip(node.ops, node.comparators, strict=True)))

    def _compare_chain(self, left: Binding, rest: list[tuple[ast.cmpop, ast.expr]]) -> Binding:
        (op, expression), more = rest[0], rest[1:]
        right = self.eval(expression)
        first = self.compare(op, left, right)
        if not more:
            return first
        return self.both(first, lambda: self._compare_chain(right, more))

    def compare(self, op: ast.cmpop, a: Binding, b: Binding) -> Binding:
        """One comparison."""
        match op:
            case ast.Is():
                return self._is(a, b)
            case ast.IsNot():
                return not self._is(a, b)
            case ast.In():
                return self._contains(b, a)
            case ast.NotIn():
                return self.negate(self._contains(b, a))
        function = _COMPARE[type(op)]
        if not contains_value(a) and not contains_value(b):
            try:
                return function(a, b)
            except TypeError as error:
                self.refuse(str(error))
        if function in (operator.eq, operator.ne):
            if isinstance(a, tuple | list) and isinstance(b, tuple | list):
                equal = self._equal_sequences(a, b)
                return equal if function is operator.eq else self.negate(equal)
            if a is None or b is None or isinstance(a, str) or isinstance(b, str):
                return function is operator.ne
            size = self._equal_sizes(a, b)
            if size is not None:
                return size is (function is operator.eq)
        return self.emit(_COMPARE_OP[function], self.value(a), self.value(b))

    def _equal_sizes(self, a: Binding, b: Binding) -> bool | None:
        """True where two integers are the same dimension, whatever it is."""
        if not (is_scalar(a) and is_scalar(b) and is_integer(a.ty) and is_integer(b.ty)):
            return None
        return True if self.builder.size_of(a) == self.builder.size_of(b) else None

    def _is(self, a: Binding, b: Binding) -> bool:
        if a is b:
            return True
        if any(x is s for x in (a, b) for s in (None, True, False, Ellipsis)):
            flags = any(isinstance(x, bool) for x in (a, b))
            if flags and any(isinstance(x, Value) and is_bool(x.ty) for x in (a, b)):
                self.refuse(
                    "`is` with a run-time boolean cannot be compiled", "identity is decided while compiling.",
                    "write the condition itself, or `not` it.",
                )
            return False
        if isinstance(a, Value) and isinstance(b, Value) and a.node is None and b.node is None:
            return False
        if isinstance(a, Value) or isinstance(b, Value):
            self.refuse(
                "`is` between run-time values cannot be compiled", "identity is decided while compiling.",
                "compare with `==`.",
            )
        return False

    def _contains(self, container: Binding, item: Binding) -> Binding:
        if isinstance(container, dict):
            return self.key(item) in container
        if isinstance(container, str | frozenset | range) and not isinstance(item, Value):
            return item in container
        if isinstance(container, DynamicRange | range):
            self.refuse("`in` on a range cannot be compiled", hint="compare with its bounds.")
        if is_array(container):
            return self.call_table(np.any, self.emit("eq", container, self.value(item)))
        found: Binding = False
        for candidate in self.known_items(container, "what `in` looks through"):
            same = candidate is item or self.compare(ast.Eq(), candidate, item)
            found = self.either(found, lambda same=same: self.truth(same))  # type: ignore[misc]
            if found is True:
                return True
        return found

    def _equal_sequences(self, a: Sequence[Binding], b: Sequence[Binding]) -> Binding:
        if len(a) != len(b) or isinstance(a, tuple) is not isinstance(b, tuple):
            return False
        result: Binding = True
        for x, y in zip(a, b, strict=True):
            result = self.both(result, lambda x=x, y=y: self.truth(self.compare(ast.Eq(), x, y)))  # type: ignore[misc]
        return result

    # ------------------------------------------------------------------------------------ conditions

    def truth(self, b: Binding) -> Binding:
        """bool(b): a Python bool where known, else a boolean value."""
        if isinstance(b, Value):
            if isinstance(b.ty, Array):
                if any(s != 1 for s in b.shape):
                    self.refuse(
                        "the truth value of an array is ambiguous", f"the condition is {describe(b)}.",
                        "use a.any() or a.all().",
                    )
                b = self.element(b, [0] * b.rank)
            return b if is_bool(b.ty) else self.emit("ne", b, 0)
        if isinstance(b, DynamicRange | Collected):
            return self.truth(self.length(b))
        if isinstance(b, Iteration | Generator):
            return True
        if isinstance(b, InBlocks):
            self.refuse(
                "gradc.checkpoint of a condition stands alone in the header of a `while`",
                "it says how the iterations of that loop are kept.", "while gradc.checkpoint(condition): ...",
            )
        return bool(b)

    def negate(self, b: Binding) -> Binding:
        """not b, of a truth value."""
        return self.emit("logical_not", b) if isinstance(b, Value) else not b

    def both(self, a: Binding, right: Callable[[], Binding]) -> Binding:
        """a and right(), of truth values; the right side is only evaluated where it is safe or wanted."""
        a = self.truth(a)
        if not isinstance(a, Value):
            return right() if a else False
        return self._short_circuit("logical_and", a, right)

    def either(self, a: Binding, right: Callable[[], Binding]) -> Binding:
        """a or right(), of truth values."""
        a = self.truth(a)
        if not isinstance(a, Value):
            return True if a else right()
        return self._short_circuit("logical_or", a, right)

    def _short_circuit(self, op: str, a: Value, right: Callable[[], Binding]) -> Binding:
        block = Block()
        is_and = op == "logical_and"
        with self.builder.into(block):
            try:
                b = self.truth(right())
            except PathEnds:
                b = False
            if not isinstance(b, Value):
                if not block.nodes or not any(has_effect(n) for n in block.nodes):
                    return (a if b else False) if is_and else (True if b else a)
                b = self.builder.const(b)
        if any(has_effect(n) or n.op.kind in ("control", "read", "fresh", "product", "reduce") for n in block.nodes):
            block.yields = [b]
            other = Block()
            with self.builder.into(other):
                other.yields = [self.builder.const(not is_and)]
            blocks = [block, other] if is_and else [other, block]
            made: Value = self.builder.control("if", [a], blocks, [b.ty])[0]
            return made
        self.splice(block)
        return self.emit(op, a, b)

    def splice(self, block: Block) -> None:
        """Move the nodes of a block to the current one."""
        target = self.builder.block
        for node in block.nodes:
            target.nodes.append(node)
            for result in node.results:
                self.builder.owner[result] = target

    def _eval_BoolOp(self, node: ast.BoolOp) -> Binding:
        return self._bool_chain(isinstance(node.op, ast.And), node.values)

    def _bool_chain(self, is_and: bool, values: Sequence[ast.expr]) -> Binding:
        first = self.eval(values[0])
        if len(values) == 1:
            return first
        condition = self.truth(first)
        if not isinstance(condition, Value):
            return self._bool_chain(is_and, values[1:]) if condition is is_and else first
        if is_scalar(first) and is_bool(first.ty) and all(self._looks_boolean(v) for v in values[1:]):
            combine = self.both if is_and else self.either
            return combine(first, lambda: self._bool_chain(is_and, values[1:]))
        rest = values[1:]
        one: Callable[[], Binding] = lambda: self._bool_chain(is_and, rest)  # noqa: E731
        same: Callable[[], Binding] = lambda: first  # noqa: E731
        return self.choose(condition, one, same) if is_and else self.choose(condition, same, one)

    @staticmethod
    def _looks_boolean(node: ast.expr) -> bool:
        """Whether an expression is a condition by its form, so that `and` and `or` are plain logic."""
        match node:
            case ast.Compare() | ast.UnaryOp(op=ast.Not()):
                return True
            case ast.BoolOp():
                return all(Expressions._looks_boolean(v) for v in node.values)
        return False

    def _eval_IfExp(self, node: ast.IfExp) -> Binding:
        condition = self.truth(self.eval(node.test))
        if not isinstance(condition, Value):
            return self.eval(node.body if condition else node.orelse)
        return self.choose(condition, lambda: self.eval(node.body), lambda: self.eval(node.orelse))

    def choose(self, condition: Value, then: Callable[[], Binding], otherwise: Callable[[], Binding]) -> Binding:
        """then() where the condition holds, else otherwise(); only one is run."""
        raise NotImplementedError

    # ------------------------------------------------------------------------------------ attributes

    def _eval_Attribute(self, node: ast.Attribute) -> Binding:
        return self.attribute(self.eval(node.value), node.attr)

    def attribute(self, b: Binding, name: str) -> Binding:
        """b.name."""
        if isinstance(b, Value):
            return self._attribute_of_value(b, name)
        if isinstance(b, Collected):
            self.as_list(b)
        if isinstance(b, Prepared) and name not in ("name", "keywords", "target"):
            return Partial(self.attribute_of_object(b.target(), name), (), b.keywords)
        if isinstance(b, Closure | Generator | Iteration | DynamicRange | Partial | Method | Prepared):
            self.refuse(f"{describe(b)} has no attribute {name!r} that can be compiled")
        if is_structure(b):
            return self._attribute_of_structure(b, name)
        if is_number(b):
            if name in ("shape", "ndim", "size", "dtype", "T", "real", "imag"):
                return getattr(np.asarray(b)[()], name) if name not in ("real", "imag") else getattr(b, name)
            return Method(b, name)
        if isinstance(b, str | range | slice | frozenset | np.dtype):
            found = getattr(b, name, None)
            return Method(b, name) if callable(found) else found
        return self.attribute_of_object(b, name)

    def _attribute_of_value(self, b: Value, name: str) -> Binding:
        match name:
            case "shape":
                return tuple(shape_values(b)) if isinstance(b.ty, Array) else ()
            case "ndim":
                return b.rank
            case "size":
                total = element_count(b) if isinstance(b.ty, Array) else 1
                known = isinstance(total, Value) and total.node is not None and total.node.op.name == "const"
                return total.node.attrs["value"] if known else total  # type: ignore[union-attr]
            case "dtype":
                return np.dtype(b.dtype)
            case "flat" if isinstance(b.ty, Array):
                return Flat(b)
        if name in ATTRIBUTES:
            return self.build(ATTRIBUTES[name].build, (b,), {}, f"attribute {name}")
        if name in METHODS or name in ("item", "tolist", "fill", "bit_length", "is_integer"):
            return Method(b, name)
        real = np.ndarray if isinstance(b.ty, Array) else np.float64
        if hasattr(real, name):
            self.refuse(f"attribute `{name}` of {describe(b)} cannot be compiled", "there is no rule for it.")
        return self.refuse(f"{describe(b)} has no attribute {name!r}")

    def _attribute_of_structure(self, b: Binding, name: str) -> Binding:
        if is_named_tuple(type(b)) and name in b._fields:
            return getattr(b, name)
        if isinstance(b, list | tuple | dict) and not hasattr(type(b), name):
            self.refuse(f"{describe(b)} has no attribute {name!r}")
        found = getattr(type(b), name, None)
        if isinstance(found, property):
            return self.call(found.fget, [b], {})
        if isinstance(found, types.FunctionType) or isinstance(b, list | tuple | dict):
            return Method(b, name)
        if not hasattr(b, name):
            self.refuse(f"{type(b).__name__} has no attribute {name!r}")
        return getattr(b, name)

    # -------------------------------------------------------------------------------- comprehensions

    def _eval_ListComp(self, node: ast.ListComp) -> Binding:
        return self.comprehended(node)

    def _eval_SetComp(self, node: ast.SetComp) -> Binding:
        return frozenset(self._comprehension(node.generators, lambda: self.key(self.eval(node.elt))))

    def _eval_DictComp(self, node: ast.DictComp) -> Binding:
        pairs = self._comprehension(
            node.generators, lambda: (self.key(self.eval(node.key)), self.eval(node.value))
        )
        return dict(pairs)

    def _eval_GeneratorExp(self, node: ast.GeneratorExp) -> Binding:
        return Generator(node, self.frame, tuple(self.frame.overlays))

    def listed(self, node: ast.ListComp | ast.GeneratorExp, over: Binding = None) -> list[Binding]:
        """What a comprehension gives, over known lengths. `over`: the first iterable, where it has been evaluated."""
        return self._comprehension(node.generators, lambda: self.eval(node.elt), over)

    def comprehended(self, node: ast.ListComp | ast.GeneratorExp) -> Binding:
        """A list comprehension: a list where the length is known, else an array of its items."""
        raise NotImplementedError

    def _comprehension(
        self, generators: list[ast.comprehension], element: Callable[[], Any], over: Binding = None
    ) -> list[Any]:
        return list(self._run_generators(generators, element, over))

    def _run_generators(
        self, generators: list[ast.comprehension], element: Callable[[], Any], over: Binding = None
    ) -> Iterator[Any]:
        if not generators:
            yield element()
            return
        first, rest = generators[0], generators[1:]
        with self.at(first.iter):
            b = self.eval(first.iter) if over is None else over
            items = self.known_items(b, "what a comprehension goes through")
        for item in items:
            names = {n.id for n in ast.walk(first.target) if isinstance(n, ast.Name)}
            self.frame.overlays.append(dict.fromkeys(names))
            try:
                self.assign(first.target, item)
                keep = True
                for test in first.ifs:
                    with self.at(test):
                        keep = keep and self.static_truth(self.truth(self.eval(test)))
                if keep:
                    yield from list(self._run_generators(rest, element))
            finally:
                self.frame.overlays.pop()

    def static_truth(self, b: Binding) -> bool:
        """A condition that decides the length of a list."""
        found = self.static(b, "a condition that decides how many items there are")
        return bool(found)

    # ------------------------------------------------------------------------------------- forwards

    def as_list(self, b: Collected) -> NoReturn:
        """A list of a run-time length is needed as a list."""
        raise NotImplementedError

    def assign(self, target: ast.expr, b: Binding) -> None:
        """Assign to a target."""
        raise NotImplementedError

    def call(self, callee: Binding, args: Sequence[Binding], keywords: dict[str, Binding]) -> Binding:
        """callee(*args, **keywords)."""
        raise NotImplementedError

    def build(self, build: Callable[..., Any], args: Sequence[Any], keywords: dict[str, Any], name: str) -> Binding:
        """Run an entry of the op table."""
        raise NotImplementedError

    def length(self, b: Binding) -> Binding:
        """len(b)."""
        raise NotImplementedError


# Functions of numbers that give the same result while compiling as at run time.
FOLDABLE: frozenset[Any] = frozenset(
    {
        builtins.abs, builtins.min, builtins.max, builtins.pow, builtins.divmod, builtins.round, builtins.float,
        builtins.int, builtins.bool, builtins.complex, builtins.sum,
    }
) | frozenset(
    f for module in (math, cmath) for name, f in vars(module).items() if callable(f) and not name.startswith("_")
)


def is_foldable(callee: Any, args: Sequence[Any], keywords: dict[str, Any]) -> bool:
    """Whether a call is a function of known numbers only, with nothing but them."""
    if not args or keywords:
        return False
    numbers = all(isinstance(a, NUMBERS) for a in args)
    if isinstance(callee, np.ufunc):
        return numbers and callee.nout == 1
    if isinstance(callee, type) and issubclass(callee, np.generic):
        return numbers
    try:
        return callee in FOLDABLE and (numbers or not any(contains_value(a) for a in args))
    except TypeError:
        return False


__all__ = ["Expressions", "UnsupportedError", "is_foldable"]
