"""A SymPy expression and example arguments -> a program.

Every distinct subexpression becomes one node: SymPy's expressions compare by structure, so common subexpressions
are found while building. What only one branch of a `Piecewise` needs is computed in that branch. This module imports
SymPy, and is itself imported when an expression arrives.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NoReturn, TypeAlias

import numpy as np
import sympy
from sympy.core.function import AppliedUndef
from sympy.logic.boolalg import BooleanFalse, BooleanTrue

from gradc.errors import Loc, ShapeError, UnsupportedError
from gradc.frontends import sympy_special
from gradc.frontends.sympy_arguments import Number, Pattern, Vector, Whole, identifier, symbol_name
from gradc.frontends.sympy_branches import Branches
from gradc.ir.builder import Builder, new_func
from gradc.ir.nodes import Block, Value
from gradc.ir.opdef import TABLE
from gradc.ir.program import Program, Typed, leaf_type
from gradc.ir.region import FULL, Arg, At
from gradc.ir.tree import LEAF_TYPES, Tree, flatten, leaf_names, shift_leaves, unflatten
from gradc.ir.types import WEAK_INT, Array, Scalar, is_inexact, promote_dtypes
from gradc.ops import CALLS, memory
from gradc.ops.arrange import array_of
from gradc.ops.rules import convert
from gradc.ops.systems import inverse

_LONGEST_TEXT = 400  # operations of an expression that error messages still print
Make: TypeAlias = "Callable[..., Any]"





def build(
    name: str, patterns: Sequence[Pattern], names: Sequence[str], expression: Any, values: Sequence[Any]
) -> Program:
    """The program of an expression for arguments like `values`, one for each pattern.

    expression: a SymPy expression or matrix, or a tuple, list or dict of such.
    Raises: ShapeError for arguments that do not fit the patterns; UnsupportedError for what has no rule.
    """
    flat: list[Any] = []
    trees: list[Tree] = []
    labels: list[str] = []
    for label, value in zip(names, values, strict=True):
        leaves, tree = flatten(value, (*LEAF_TYPES, Typed))
        trees.append(shift_leaves(tree, len(flat)))
        flat += leaves
        labels += leaf_names(tree, label)
    place = Loc("<expression>", name, 1, 0, 0, text_of(expression))
    params = [(label, leaf_type(leaf, label)) for label, leaf in zip(labels, flat, strict=True)]
    func = new_func(name, params, place)
    with Builder(func) as builder:
        machine = Expression(builder, place)
        for pattern, tree, label in zip(patterns, trees, names, strict=True):
            machine.bind(pattern, unflatten(tree, func.params), label)
        made = machine.structure(machine.replaced(expression))
        results, result = flatten(made, (Value,))
        func.body.yields = [machine.as_result(v) for v in results]
    return Program(func, tuple(trees), result)


def text_of(expression: Any) -> str:
    """The expression as messages show it."""
    if isinstance(expression, sympy.Basic | sympy.MatrixBase):
        small = sum(1 for _ in itertools.islice(sympy.preorder_traversal(expression), _LONGEST_TEXT + 1))
        if small > _LONGEST_TEXT:
            return f"<{type(expression).__name__} of more than {_LONGEST_TEXT} operations>"
    elif isinstance(expression, tuple | list | dict):
        items = expression.values() if isinstance(expression, dict) else expression
        if any(text_of(item).startswith("<") for item in items):
            return f"<{type(expression).__name__} of large expressions>"
    return str(expression)


class Expression:
    """Builds the nodes of expressions. Memo scopes: what is built in a branch or loop is known there only."""

    def __init__(self, builder: Builder, place: Loc) -> None:
        self.builder = builder
        self.place = place
        self.scopes: list[dict[Any, Any]] = [{}]
        self.indices: dict[Any, Value] = {}
        self.ranges: dict[Any, tuple[int, int]] = {}
        self.elementwise = False  # symbols of numbers stand for arrays
        self.branches = Branches(self)
        self.in_bounds: set[tuple[Any, int, int]] = set()

    def refuse(self, e: Any, what: str, why: str = "", hint: str = "") -> NoReturn:
        """Raises: UnsupportedError that shows the whole expression with a caret under `e`."""
        raise UnsupportedError(what, self.place_of(e), why, hint)

    def place_of(self, e: Any) -> Loc:
        """Where `e` stands in the text of the expression."""
        whole, part = self.place.text, text_of(e)
        start = whole.find(part)
        if start < 0:
            start, part = 0, whole
        return Loc(self.place.filename, self.place.function, 1, start, start + len(part), whole)

    # ----------------------------------------------------------------------------------------- arguments

    def bind(self, pattern: Pattern, given: Any, label: str) -> None:
        """Give the symbols of a pattern their values."""
        match pattern:
            case Number(symbol):
                if not isinstance(given, Value):
                    raise ShapeError(f"argument {label} is a {type(given).__name__}, and {symbol} stands for a number")
                if isinstance(given.ty, Array) and not given.shape:
                    given = memory.load(given, region=())
                self.scopes[0][symbol] = self.as_float(given)
                self.elementwise = self.elementwise or bool(given.rank)
            case Vector(items):
                self._bind_vector(items, given, label)
            case Whole(symbol, shape):
                if not isinstance(given, Value) or not isinstance(given.ty, Array):
                    raise ShapeError(f"argument {label} stands for an array", hint=f"pass np.asarray({label}).")
                if shape is not None:
                    if given.rank != len(shape):
                        raise ShapeError(f"argument {label} has {given.rank} axes, and {symbol} has shape {shape}")
                    for axis, n in enumerate(shape):
                        self._require_size(given, axis, n, label)
                self.scopes[0][symbol] = self.as_float(given)

    def _bind_vector(self, items: Sequence[Pattern], given: Any, label: str) -> None:
        if isinstance(given, tuple | list):
            if len(given) != len(items):
                raise ShapeError(f"argument {label} has {len(given)} items; the expression takes {len(items)}")
            for k, (item, part) in enumerate(zip(items, given, strict=True)):
                self.bind(item, part, f"{label}[{k}]")
            return
        if not isinstance(given, Value) or not given.rank:
            raise ShapeError(f"argument {label} stands for {len(items)} numbers", hint="pass an array, tuple or list.")
        self._require_size(given, 0, len(items), label)
        for k, item in enumerate(items):
            if given.rank == 1:
                part = memory.load(given, region=(At(k),))
            else:
                part = memory.make_index(given, (At(k), *(FULL,) * (given.rank - 1)))
            if isinstance(item, Number) and given.rank == 1 and not part.name:
                part.name = symbol_name(item.symbol)
            self.bind(item, part, f"{label}[{k}]")

    def _require_size(self, x: Value, axis: int, n: int, label: str) -> None:
        size = x.shape[axis]
        message = f"argument {label} has another size than {n} along axis {axis}"
        if isinstance(size, int):
            if size != n:
                raise ShapeError(message)
            return
        enough = self.builder.emit("eq", (memory.dim(x, axis=axis), n))
        self.builder.emit("check", (enough,), error="ShapeError", message=message)

    def as_float(self, x: Value) -> Value:
        """Integers stand for real numbers; booleans stay."""
        if is_inexact(x.ty) or x.dtype == "bool":
            return x
        made = convert(x, "float64", isinstance(x.ty, Scalar) and x.ty.weak)
        made.name = x.name
        return made

    # ------------------------------------------------------------------------------------------- results

    def replaced(self, expression: Any) -> Any:
        """What is left of what `sympy.cse` gives, (replacements, expressions), when its symbols have their values."""
        match expression:
            case tuple((list(pairs), list(rest))) if pairs and all(
                isinstance(p, tuple) and len(p) == 2 and isinstance(p[0], sympy.Symbol) and self.known(p[0]) is None
                for p in pairs
            ):
                for symbol, part in pairs:
                    self.scopes[0][symbol] = self.value(part)
                return rest
        return expression

    def structure(self, expression: Any) -> Any:
        """Values of an expression, in its structure."""
        if isinstance(expression, dict | sympy.Dict):
            return {_key(k): self.structure(item) for k, item in expression.items()}
        if isinstance(expression, list):
            return [self.structure(item) for item in expression]
        if isinstance(expression, tuple) and hasattr(expression, "_make"):
            return type(expression)._make(self.structure(item) for item in expression)
        if isinstance(expression, tuple | sympy.Tuple):
            return tuple(self.structure(item) for item in expression)
        if isinstance(expression, sympy.MatrixBase | sympy.NDimArray | np.ndarray):
            return self._matrix(expression)
        return self.value(sympy.sympify(expression, strict=True))

    def _matrix(self, matrix: Any) -> Value:
        """An array of the shape of a matrix."""
        shape = tuple(int(n) for n in matrix.shape)
        if isinstance(matrix, sympy.MatrixBase):
            entries = [matrix[i, j] for i in range(shape[0]) for j in range(shape[1])]
        else:
            entries = list(sympy.flatten(matrix.tolist())) if shape else [matrix[()]]
            entries = [sympy.sympify(e, strict=True) for e in entries]
        values = [self.as_result(self.value(e)) for e in entries]
        if any(v.rank for v in values):
            self.refuse(
                matrix, "a matrix of arrays cannot be built", "its symbols stand for arrays in this call.",
                "pass numbers, or call it once for each of them.",
            )
        dtype = promote_dtypes(tuple(v.ty for v in values)).dtype if values else "float64"  # type: ignore[misc]
        values = [convert(v, dtype) for v in values]
        return array_of(*values, shape=shape, type=Array(dtype, shape))

    def as_result(self, x: Value) -> Value:
        """An integer constant as the real number that it is."""
        return self.as_float(x)

    # ----------------------------------------------------------------------------------------- expressions

    def known(self, e: Any) -> Any:
        """The value that an expression has in this scope, or None."""
        for scope in reversed(self.scopes):
            found = scope.get(e)
            if found is not None:
                return found
        return None

    def is_known(self, e: Any) -> bool:
        """Whether an expression has its value in this scope."""
        return self.known(e) is not None

    def value(self, expression: Any) -> Value:
        """The value of an expression. Depth is no limit: what is left to do is kept on a stack of its own."""
        waiting: list[tuple[Any, Sequence[Any], Make] | Any] = [(expression, None, None)]
        while waiting:
            e, parts, make = waiting[-1]
            if self.known(e) is not None:
                waiting.pop()
                continue
            if parts is None:
                parts, make = self._parts(e)
                waiting[-1] = (e, parts, make)
            missing = [p for p in parts if self.known(p) is None]
            if missing:
                waiting += [(p, None, None) for p in reversed(missing)]
                continue
            waiting.pop()
            with self.builder.at(self.place):
                self.scopes[-1][e] = make(*(self.known(p) for p in parts))
        return self.known(expression)

    def _parts(self, e: Any) -> tuple[Sequence[Any], Make]:
        """The subexpressions that are needed whatever happens, and what to do with their values."""
        name = type(e).__name__
        rule = _RULES.get(name)
        if rule is not None:
            return rule(self, e)
        if e.is_Number or isinstance(e, sympy.NumberSymbol | BooleanTrue | BooleanFalse):
            return self._constant(e)
        formula = _FORMULAS.get(name)
        if formula is not None:
            return e.args, lambda *xs: formula(*(self.as_float(x) for x in xs))
        rewritten = _REWRITES.get(name)
        if rewritten is not None:
            return (rewritten(*e.args),), lambda x: x
        if isinstance(e, sympy.MatrixExpr) and not isinstance(e, sympy.MatrixSymbol):
            return (), lambda: self._matrix(e.as_explicit())
        op = _OPS.get(name)
        if op is not None and len(e.args) == len(op.operands):
            # Orders and degrees may be integers: some of SciPy's functions insist on it.
            held = [name in op.fixed for name in op.operands]
            return e.args, lambda *xs: op(*(x if h else self.as_float(x) for x, h in zip(xs, held, strict=True)))
        return self._refuse_class(e)

    def _refuse_class(self, e: Any) -> NoReturn:
        if isinstance(e, sympy.Symbol | sympy.MatrixSymbol | sympy.IndexedBase):
            same = any(str(other) == str(e) for other in self.scopes[0])
            self.refuse(
                e, f"the symbol {e} is not among the arguments",
                "an argument of this name is another symbol: it was made with other assumptions." if same else "",
                f"add it to the arguments, or expr.subs({e}, …).",
            )
        if isinstance(e, sympy.Derivative | sympy.Integral | sympy.Limit | sympy.Subs):
            also = "; gradc.grad gives derivatives" if isinstance(e, sympy.Derivative) else ""
            self.refuse(
                e, f"an unevaluated {type(e).__name__} has no value", "gradc compiles what can be computed directly.",
                f"call .doit() on the expression first{also}.",
            )
        if isinstance(e, sympy.DiracDelta):
            self.refuse(
                e, "DiracDelta has no value", "it is the derivative of a jump, which NumPy's numbers do not have.",
                "gradc takes it as zero in derivatives: differentiate by gradc, or expr.replace(DiracDelta, …).",
            )
        if e is sympy.zoo:
            self.refuse(
                e, "the expression has a division by zero, zoo", "its sign is not known, so it is no float.",
                "find the constant part of the expression that divides by zero.",
            )
        if isinstance(e, AppliedUndef):
            self.refuse(
                e, f"the function {e.func} is not known", "it is an undefined function of SymPy.",
                f"add {e} to the arguments, or substitute an expression for it.",
            )
        self.refuse(
            e, f"{type(e).__name__} has no rule", "gradc has no op for this function of SymPy.",
            "rewrite it by elementary functions: expr.rewrite(…), expr.doit().",
        )

    def _constant(self, e: Any) -> tuple[Sequence[Any], Make]:
        if isinstance(e, BooleanTrue | BooleanFalse):
            number: Any = bool(e)
        elif e.is_Integer and abs(int(e)) < 2**53:
            number = int(e)
        elif e.is_Rational:
            number = int(e.p) / int(e.q)
        else:
            number = float(e)
        return (), lambda: self.builder.const(number)

    # -------------------------------------------------------------------------------------------- rules

    def _add(self, e: Any) -> tuple[Sequence[Any], Make]:
        positive = [t for t in e.args if not _is_negative(t)]
        negative = [_negated(t) for t in e.args if _is_negative(t)]

        def make(*values: Value) -> Value:
            plus, minus = values[: len(positive)], values[len(positive) :]
            total = plus[0] if plus else -minus[0]
            for v in plus[1:]:
                total = total + v
            for v in minus if plus else minus[1:]:
                total = total - v
            return total

        return (*positive, *negative), make

    def _mul(self, e: Any) -> tuple[Sequence[Any], Make]:
        coefficient, above, below = sympy.S.One, [], []
        for factor in e.args:
            if factor.is_Rational:
                coefficient = coefficient * factor
            elif factor.is_Pow and factor.exp.is_Rational and factor.exp.is_negative:
                below.append(_inverse_power(factor))
            else:
                above.append(factor)
        negative = bool(coefficient.is_negative)
        coefficient = abs(coefficient)
        if coefficient.p == 1 and coefficient.q != 1:
            below.append(coefficient.q if isinstance(coefficient.q, sympy.Basic) else sympy.Integer(coefficient.q))
        elif coefficient != 1 or not above:
            above.insert(0, coefficient)

        def make(*values: Value) -> Value:
            product = values[0]
            for v in values[1 : len(above)]:
                product = product * v
            if len(values) > len(above):
                divisor = values[len(above)]
                for v in values[len(above) + 1 :]:
                    divisor = divisor * v
                product = self.as_float(product) / divisor
            return -product if negative else product

        return (*above, *below), make

    def _pow(self, e: Any) -> tuple[Sequence[Any], Make]:
        base, exponent = e.base, e.exp
        if exponent == sympy.S.Half:
            return (base,), lambda x: self.builder.emit("sqrt", (self.as_float(x),))
        if exponent.is_Rational and exponent.is_negative:
            return (_inverse_power(e),), lambda x: 1.0 / self.as_float(x)
        return (base, exponent), lambda x, y: self.as_float(x) ** y

    def _exponential(self, e: Any) -> tuple[Sequence[Any], Make]:
        return (e.args[0],), lambda x: self.builder.emit("exp", (self.as_float(x),))

    def _fold(self, e: Any) -> tuple[Sequence[Any], Make]:
        """A function of two operands on any number of them."""
        op = _OPS[type(e).__name__]

        def make(*values: Value) -> Value:
            total = values[0]
            for v in values[1:]:
                total = op(total, v)
            return total

        return e.args, make

    def _log(self, e: Any) -> tuple[Sequence[Any], Make]:
        if len(e.args) == 2:
            return (sympy.log(e.args[0]), sympy.log(e.args[1])), lambda x, y: x / y
        return e.args, lambda x: self.builder.emit("log", (self.as_float(x),))

    def _heaviside(self, e: Any) -> tuple[Sequence[Any], Make]:
        at_zero = e.args[1] if len(e.args) > 1 else sympy.S.Half

        def make(x: Value, h: Value) -> Value:
            where, eq, gt = TABLE["where"], TABLE["eq"], TABLE["gt"]
            return where(eq(x, 0), self.as_float(h), where(gt(x, 0), 1.0, 0.0))

        return (e.args[0], at_zero), make

    def _kronecker(self, e: Any) -> tuple[Sequence[Any], Make]:
        return e.args[:2], lambda i, j: TABLE["where"](TABLE["eq"](i, j), 1.0, 0.0)

    def _imaginary(self, e: Any) -> tuple[Sequence[Any], Make]:
        return (), lambda: self.builder.const(1j)

    def _part(self, e: Any) -> tuple[Sequence[Any], Make]:
        return e.args[:1], _PARTS[type(e).__name__]

    def _not_a_number(self, e: Any) -> tuple[Sequence[Any], Make]:
        return (), lambda: self.builder.const(float("nan"))

    def _unwrapped(self, e: Any) -> tuple[Sequence[Any], Make]:
        return e.args[:1], lambda x: x

    # --------------------------------------------------------------------------------- branches and loops

    def _lazy(self, e: Any) -> tuple[Sequence[Any], Make]:
        """A Piecewise or ITE."""
        return self.branches.parts(e), lambda *_: self.branches.make(e)

    def _repeated(self, e: Any) -> tuple[Sequence[Any], Make]:
        """A sum or product: a loop over its innermost index around the loops of the others."""
        return (), lambda: self._loop(e, e.function, list(e.limits))

    def _loop(self, e: Any, term: Any, limits: list[Any]) -> Value:
        _, low, high = limits[-1] if len(limits[-1]) == 3 else self.refuse(
            e, f"{type(e).__name__} without limits has no value", hint="give it concrete limits: (i, 0, n)."
        )
        first, beyond = self._interval(low, e), self._interval(high + 1, e)
        if beyond[0] >= first[1]:
            return self._run_over(e, term, limits, low, high)
        # SymPy's sums and products have Karr's convention: from 4 to 1 they are the inverse of those from 2 to 3.
        back = self._run_over(e, term, limits, high + 1, low - 1)
        inverse = -back if isinstance(e, sympy.Sum) else 1.0 / back
        if beyond[1] < first[0]:
            return inverse
        along = self._run_over(e, term, limits, low, high)
        return along + inverse if isinstance(e, sympy.Sum) else along * inverse

    def _run_over(self, e: Any, term: Any, limits: list[Any], low: Any, high: Any) -> Value:
        """The loop over the last of the limits, where it starts at `low` and ends with `high`."""
        index = limits[-1][0]
        is_sum = isinstance(e, sympy.Sum)
        start, stop = self.index(low, e), self.index(high + 1, e)
        fresh = sympy.Dummy(str(index), integer=True)
        self.ranges[fresh] = self._interval(low, e)[0], self._interval(high, e)[1]
        inner = [limit.xreplace({index: fresh}) for limit in limits[:-1]]
        term = term.xreplace({index: fresh})
        counter = Value(WEAK_INT, identifier(str(index)))
        self.scopes.append({})
        try:
            with self.builder.into(Block(params=[counter])) as body:
                self.indices[fresh] = counter
                part = self.as_float(self._loop(e, term, inner) if inner else self.value(term))
                if not isinstance(part.ty, Scalar):
                    self.refuse(e, "a sum over arrays has no rule", hint="call .doit() on the expression first.")
                total = Value(part.ty, "total" if is_sum else "product")
                body.params.append(total)
                body.yields = [total + part if is_sum else total * part]
        finally:
            self.scopes.pop()
            self.indices.pop(fresh, None)
        first = 0 if is_sum else 1
        init = self.builder.const(float(first) if part.ty.weak else np.dtype(part.dtype).type(first))
        operands = (start, stop, 1, init)
        (made,) = self.builder.control("for", operands, [body], [part.ty], reversed=False, exits=False)
        return made

    def _interval(self, e: Any, whole: Any) -> tuple[int, int]:
        """Bounds of an integer expression of loop indices."""
        if e.is_Integer:
            return int(e), int(e)
        if e in self.ranges:
            return self.ranges[e]
        if not (e.is_Add or e.is_Mul):
            self.index(e, whole)  # refuses
        low, high = self._interval(e.args[0], whole)
        for part in e.args[1:]:
            a, b = self._interval(part, whole)
            ends = (low + a, high + b) if e.is_Add else (low * a, low * b, high * a, high * b)
            low, high = min(ends), max(ends)
        return low, high

    def index(self, e: Any, whole: Any) -> Value | int:
        """An integer expression of loop indices, as positions and limits are."""
        if e.is_Integer:
            return int(e)
        if e in self.indices:
            return self.indices[e]
        if e.is_Add or e.is_Mul:
            parts = [self.index(part, whole) for part in e.args]
            total: Any = parts[0]
            for part in parts[1:]:
                total = total + part if e.is_Add else total * part
            return total
        return self.refuse(
            whole, f"{e} is not known when the expression is compiled",
            "limits and positions are integers, and sums and products of loop indices.",
            f"substitute a number for {e}.",
        )

    def _symbol(self, e: Any) -> tuple[Sequence[Any], Make]:
        counter = self.indices.get(e)
        if counter is None:
            self._refuse_class(e)
        return (), lambda: convert(counter, "float64", weak=True)

    def _element(self, e: Any) -> tuple[Sequence[Any], Make]:
        """x[i, j] of an IndexedBase or MatrixSymbol."""
        base, places = (e.base, e.indices) if isinstance(e, sympy.Indexed) else (e.args[0], e.args[1:])

        def make(x: Value) -> Value:
            if x.rank != len(places):
                raise ShapeError(f"{base} has {x.rank} axes in this call, and {e} has {len(places)} indices")
            positions = [self.index(p, e) for p in places]
            operands: list[Value] = []
            region: list[At] = []
            for axis, position in enumerate(positions):
                self._check_position(e, base, x, axis, position)
                if isinstance(position, int):
                    region.append(At(position))
                else:
                    region.append(At(Arg(len(operands))))
                    operands.append(position)
            return memory.load(x, *operands, region=tuple(region))

        if self.known(base) is None:
            self._refuse_class(base)
        return (base,), make

    def _check_position(self, e: Any, base: Any, x: Value, axis: int, position: Value | int) -> None:
        if isinstance(position, int):
            if position < 0:
                self.refuse(e, f"{e} has a negative index")
            if isinstance(base, sympy.MatrixSymbol) or (base, axis, position) in self.in_bounds:
                return
            self.in_bounds |= {(base, axis, k) for k in range(position + 1)} if len(self.scopes) == 1 else set()
        lt, both = TABLE["lt"], TABLE["logical_and"]
        inside = lt(position, memory.dim(x, axis=axis))
        if isinstance(position, Value):
            inside = both(inside, TABLE["ge"](position, 0))
        message = f"{e}: the index is out of range along axis {axis}"
        self.builder.emit("check", (inside,), error="IndexError", message=message)

    # ---------------------------------------------------------------------------------------- matrices

    def _matmul(self, e: Any) -> tuple[Sequence[Any], Make]:
        def make(*values: Value) -> Value:
            product = values[0]
            for v in values[1:]:
                product = product @ v if product.rank and v.rank else product * v
            return product

        return e.args, make

    def _matadd(self, e: Any) -> tuple[Sequence[Any], Make]:
        def make(*values: Value) -> Value:
            total = values[0]
            for v in values[1:]:
                total = total + v
            return total

        return e.args, make

    def _hadamard(self, e: Any) -> tuple[Sequence[Any], Make]:
        def make(*values: Value) -> Value:
            total = values[0]
            for v in values[1:]:
                total = total * v
            return total

        return e.args, make

    def _transposed(self, e: Any) -> tuple[Sequence[Any], Make]:
        return e.args[:1], lambda x: memory.copy(TABLE["transpose"](x, perm=(1, 0)))

    def _trace(self, e: Any) -> tuple[Sequence[Any], Make]:
        size = int(e.args[0].shape[0])

        def make(x: Value) -> Value:
            total = memory.load(x, region=(At(0), At(0)))
            for k in range(1, size):
                total = total + memory.load(x, region=(At(k), At(k)))
            return total

        return e.args[:1], make

    def _determinant(self, e: Any) -> tuple[Sequence[Any], Make]:
        return e.args[:1], lambda x: TABLE["det"](x)

    def _inverse(self, e: Any) -> tuple[Sequence[Any], Make]:
        return e.args[:1], inverse

    def _explicit(self, e: Any) -> tuple[Sequence[Any], Make]:
        return (), lambda: self._matrix(e)


def _key(key: Any) -> Any:
    """A key of a dict of expressions as Python's: symbols by their names."""
    if isinstance(key, sympy.Basic):
        return int(key) if key.is_Integer else str(key)
    return key


# SymPy is not asked to evaluate what it makes here: it would look through all of a large expression, many times where
# parts of it are shared.


def _negated(term: Any) -> Any:
    """-term for a term with a negative number as its first factor."""
    if not term.is_Mul:
        return -term
    number, *rest = term.args
    if number == -1:
        return rest[0] if len(rest) == 1 else sympy.Mul(*rest, evaluate=False)
    return sympy.Mul(-number, *rest, evaluate=False)


def _inverse_power(power: Any) -> Any:
    """1 / power for a power with a negative rational exponent."""
    return power.base if power.exp == -1 else sympy.Pow(power.base, -power.exp, evaluate=False)


def _is_negative(term: Any) -> bool:
    number = term.args[0] if term.is_Mul else term
    return bool(number.is_Number and number.is_negative)


# Functions that are short formulas, by the name of their class.
_FORMULAS: Mapping[str, Callable[..., Any]] = {
    **{
        name: lambda x, op=TABLE[op]: 1.0 / op(x)
        for name, op in {
            "cot": "tan", "sec": "cos", "csc": "sin", "coth": "tanh", "sech": "cosh", "csch": "sinh",
        }.items()
    },
    **{
        name: lambda x, op=TABLE[op]: op(1.0 / x)
        for name, op in {
            "acot": "arctan", "asec": "arccos", "acsc": "arcsin", "acoth": "arctanh", "asech": "arccosh",
            "acsch": "arcsinh",
        }.items()
    },
    "frac": lambda x: x - TABLE["floor"](x),
    "log10": TABLE["log10"],
    "fma": lambda x, y, z: x * y + z,
    "logaddexp": TABLE["logaddexp"],
    "Sqrt": TABLE["sqrt"],
    "Cbrt": TABLE["cbrt"],
}  # fmt: skip
# Functions that are others in disguise.
_REWRITES: Mapping[str, Callable[..., Any]] = {
    "Implies": lambda p, q: sympy.Or(sympy.Not(p), q),
    "Nand": lambda *xs: sympy.Not(sympy.And(*xs)),
    "Nor": lambda *xs: sympy.Not(sympy.Or(*xs)),
    "Equivalent": lambda *xs: sympy.And(*(sympy.Not(sympy.Xor(a, b)) for a, b in itertools.pairwise(xs))),
    "Contains": lambda x, among: among.as_relational(x),
    "Poly": lambda *xs: xs[0],
    "DotProduct": lambda a, b: sum(x * y for x, y in zip(a.as_explicit(), b.as_explicit(), strict=True)),
    "HadamardPower": lambda x, n: sympy.HadamardProduct(*[x] * int(n)),
    "MatPow": lambda x, n: sympy.MatMul(*[x] * int(n)) if n > 0 else sympy.Inverse(x),
    **sympy_special.REWRITES,
}
_PARTS: Mapping[str, Make] = {
    name: CALLS[function].build
    for name, function in (("re", np.real), ("im", np.imag), ("conjugate", np.conj), ("arg", np.angle))
}
_OPS = {op.sympy: op for op in TABLE.values() if op.sympy} | {
    "Mod": TABLE["mod"], "log1p": TABLE["log1p"], "expm1": TABLE["expm1"], "exp2": TABLE["exp2"],
    "log2": TABLE["log2"], "hypot": TABLE["hypot"], "Xor": TABLE["logical_xor"],
}  # fmt: skip
_RULES: dict[str, Callable[[Expression, Any], tuple[Sequence[Any], Make]]] = {
    "Add": Expression._add,
    "Mul": Expression._mul,
    "Pow": Expression._pow,
    "exp": Expression._exponential,
    "log": Expression._log,
    "Max": Expression._fold,
    "Min": Expression._fold,
    "And": Expression._fold,
    "Or": Expression._fold,
    "Xor": Expression._fold,
    "Heaviside": Expression._heaviside,
    "KroneckerDelta": Expression._kronecker,
    "ImaginaryUnit": Expression._imaginary,
    "re": Expression._part,
    "im": Expression._part,
    "conjugate": Expression._part,
    "arg": Expression._part,
    "NaN": Expression._not_a_number,
    "UnevaluatedExpr": Expression._unwrapped,
    "Piecewise": Expression._lazy,
    "ITE": Expression._lazy,
    "Sum": Expression._repeated,
    "Product": Expression._repeated,
    "Symbol": Expression._symbol,
    "Dummy": Expression._symbol,
    "Indexed": Expression._element,
    "MatrixElement": Expression._element,
    "MatMul": Expression._matmul,
    "MatAdd": Expression._matadd,
    "HadamardProduct": Expression._hadamard,
    "Transpose": Expression._transposed,
    "Trace": Expression._trace,
    "Determinant": Expression._determinant,
    "Inverse": Expression._inverse,
    "ImmutableDenseMatrix": Expression._explicit,
    **sympy_special.RULES,
}
