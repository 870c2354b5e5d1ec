"""Expressions: constants, arithmetic, comparisons, conditions and casts, each of the type that Numba would give it."""

from __future__ import annotations

import ast
from typing import Any

import numpy as np

from gradc.codegen.native.flow import Flow
from gradc.codegen.native.kinds import (
    COMPLEX,
    FLOATS,
    INTEGERS,
    LLVM,
    SIGNED,
    SIZE,
    UNSIGNED,
    NotTranslated,
    Value,
    promoted,
    python_operator,
    real_constant,
    unified,
)

_INTEGER_OPS = {"Add": "add", "Sub": "sub", "Mult": "mul", "BitAnd": "and", "BitOr": "or", "BitXor": "xor"}
_FLOAT_OPS = {"Add": "fadd", "Sub": "fsub", "Mult": "fmul", "Div": "fdiv"}
_COMPARISONS = {
    "Lt": ("slt", "ult", "olt"), "LtE": ("sle", "ule", "ole"), "Gt": ("sgt", "ugt", "ogt"),
    "GtE": ("sge", "uge", "oge"), "Eq": ("eq", "eq", "oeq"), "NotEq": ("ne", "ne", "une"),
}  # fmt: skip
_NUMPY_VALUES = {"nan": float("nan"), "inf": float("inf"), "pi": float(np.pi), "e": float(np.e)}


class Scalars(Flow):
    """Emits expressions that are scalars."""

    def __init__(self) -> None:
        super().__init__()
        self.in_index = False  # the integer being emitted is a position: it does not overflow

    def scalar(self, node: ast.expr) -> Value:
        """The value of an expression."""
        method = getattr(self, f"_{type(node).__name__.lower()}", None)
        if method is None:
            raise NotTranslated(f"expression {ast.unparse(node)}")
        value: Value = method(node)
        return value

    def integer(self, node: ast.expr) -> str:
        """An expression as an int64."""
        return self.cast(self.scalar(node), "int64")

    def condition(self, node: ast.expr) -> str:
        """Whether an expression is true, as an i1."""
        return self.cast(self.scalar(node), "bool")

    # ------------------------------------------------------------------------------------------ leaves

    def _name(self, node: ast.Name) -> Value:
        return self.get(node.id)

    def _constant(self, node: ast.Constant) -> Value:
        return constant(node.value)

    def _attribute(self, node: ast.Attribute) -> Value:
        if isinstance(node.value, ast.Name) and node.value.id == "np" and node.attr in _NUMPY_VALUES:
            return "float64", real_constant(_NUMPY_VALUES[node.attr], "float64")
        if node.attr in ("real", "imag"):
            dtype, text = self.scalar(node.value)
            if dtype in COMPLEX:
                part = self.emit(f"extractvalue {LLVM[dtype]} {text}, {int(node.attr == 'imag')}")
                return COMPLEX[dtype], part
        raise NotTranslated(f"expression {ast.unparse(node)}")

    # -------------------------------------------------------------------------------------- arithmetic

    def _unaryop(self, node: ast.UnaryOp) -> Value:
        if isinstance(node.op, ast.USub) and isinstance(node.operand, ast.Constant):
            number = node.operand.value
            if isinstance(number, int | float) and not isinstance(number, bool):
                return constant(-number)
        value = self.scalar(node.operand)
        if isinstance(node.op, ast.Not):
            return "bool", self.emit(f"xor i1 {self.cast(value, 'bool')}, true")
        dtype = result = value[0]
        if dtype not in ("int64", "float64", "float32"):
            (dtype,), result = promoted(type(node.op).__name__, dtype)
        text = self.cast(value, dtype)
        if result == dtype:
            if isinstance(node.op, ast.UAdd):
                return dtype, text
            if isinstance(node.op, ast.USub):
                if dtype in FLOATS:
                    return dtype, self.emit(f"fneg {LLVM[dtype]} {text}")
                if dtype in INTEGERS:
                    return dtype, self.emit(f"sub {self._wraps()}{LLVM[dtype]} 0, {text}")
                if dtype in COMPLEX:
                    parts = [self.emit(f"fneg {LLVM[COMPLEX[dtype]]} {p}") for p in self.parts(dtype, text)]
                    return dtype, self.complex_of(dtype, *parts)
            if isinstance(node.op, ast.Invert) and dtype in INTEGERS:
                return dtype, self.emit(f"xor {LLVM[dtype]} {text}, -1")
        return self.by_numba(python_operator(type(node.op).__name__), (value,))

    def _binop(self, node: ast.BinOp) -> Value:
        left = self.scalar(node.left)
        if isinstance(node.op, ast.Pow) and isinstance(node.right, ast.Constant) and type(node.right.value) is int:
            return self._power(left, node.right.value)
        return self.arithmetic(type(node.op).__name__, left, self.scalar(node.right))

    def _power(self, base: Value, exponent: int) -> Value:
        """A power with a literal exponent by squaring, in the order of Numba's."""
        dtype, factor = base
        if dtype not in ("int64", "float32", "float64") or not 0 < exponent < 65536:
            return self.by_numba(python_operator("Pow"), (base, ("int64", str(exponent))))
        result = ""
        while exponent:
            if exponent & 1:
                result = self.arithmetic("Mult", (dtype, result), (dtype, factor))[1] if result else factor
            exponent >>= 1
            if exponent:
                factor = self.arithmetic("Mult", (dtype, factor), (dtype, factor))[1]
        return dtype, result

    def _wraps(self) -> str:
        return "nsw " if self.in_index else ""

    def arithmetic(self, op: str, left: Value, right: Value) -> Value:
        """A binary operator."""
        if op == "Pow":
            return self.by_numba(python_operator(op), (left, right))
        (a, b), result = promoted(op, left[0], right[0])
        if a == b == result:
            if a in FLOATS and op in _FLOAT_OPS:
                x, y = self.cast(left, a), self.cast(right, b)
                return result, self.emit(f"{_FLOAT_OPS[op]} {LLVM[a]} {x}, {y}")
            if a in INTEGERS and op in _INTEGER_OPS:
                x, y = self.cast(left, a), self.cast(right, b)
                wraps = self._wraps() if op in ("Add", "Sub", "Mult") and a == "int64" else ""
                return result, self.emit(f"{_INTEGER_OPS[op]} {wraps}{LLVM[a]} {x}, {y}")
            if a in COMPLEX and op in ("Add", "Sub", "Mult", "Div"):
                return result, self._complex_arithmetic(op, a, self.cast(left, a), self.cast(right, a))
            if a == "int64" and op in ("FloorDiv", "Mod") and _is_positive(right[1]):
                return result, self._divided(op, self.cast(left, a), right[1])
            if a == "bool" and op in ("BitAnd", "BitOr", "BitXor"):
                return result, self.emit(f"{_INTEGER_OPS[op]} i1 {left[1]}, {right[1]}")
        return self.by_numba(python_operator(op), (left, right))

    def _divided(self, op: str, x: str, y: str) -> str:
        """Quotient rounded down or remainder for a divisor that is a positive number."""
        remainder = self.emit(f"srem i64 {x}, {y}")
        negative = self.emit(f"icmp slt i64 {remainder}, 0")
        if op == "Mod":
            shifted = self.emit(f"add i64 {remainder}, {y}")
            return self.emit(f"select i1 {negative}, i64 {shifted}, i64 {remainder}")
        quotient = self.emit(f"sdiv i64 {x}, {y}")
        borrow = self.emit(f"sext i1 {negative} to i64")
        return self.emit(f"add i64 {quotient}, {borrow}")

    def _complex_arithmetic(self, op: str, dtype: str, x: str, y: str) -> str:
        real = LLVM[COMPLEX[dtype]]
        a, b = self.parts(dtype, x)
        c, d = self.parts(dtype, y)
        if op == "Div":
            return self.complex_of(dtype, *self._quotient(COMPLEX[dtype], a, b, c, d))
        if op != "Mult":
            name = _FLOAT_OPS[op]
            return self.complex_of(dtype, self.emit(f"{name} {real} {a}, {c}"), self.emit(f"{name} {real} {b}, {d}"))
        ac, bd, ad, bc = (self.emit(f"fmul {real} {p}, {q}") for p, q in ((a, c), (b, d), (a, d), (b, c)))
        return self.complex_of(dtype, self.emit(f"fsub {real} {ac}, {bd}"), self.emit(f"fadd {real} {ad}, {bc}"))

    def _quotient(self, dtype: str, a: str, b: str, c: str, d: str) -> tuple[str, str]:
        """(a + bi) / (c + di) as NumPy divides: by the larger part of the divisor; by 0 it gives inf and NaN.

        Source: R. L. Smith, Algorithm 116: Complex division, CACM 5 (1962).
        """

        def do(op: str, x: str, y: str) -> str:
            return self.emit(f"{op} {LLVM[dtype]} {x}, {y}")

        def choose(condition: str, x: str, y: str) -> str:
            return self.emit(f"select i1 {condition}, {LLVM[dtype]} {x}, {LLVM[dtype]} {y}")

        sizes = [self.absolute(dtype, x) for x in (c, d)]
        real = self.emit(f"fcmp oge {LLVM[dtype]} {sizes[0]}, {sizes[1]}")
        large, small = choose(real, c, d), choose(real, d, c)
        ratio = do("fdiv", small, large)
        scale = do("fdiv", real_constant(1.0, dtype), do("fadd", large, do("fmul", small, ratio)))
        a_ratio, b_ratio = do("fmul", a, ratio), do("fmul", b, ratio)
        first = choose(real, do("fadd", a, b_ratio), do("fadd", a_ratio, b))
        second = choose(real, do("fsub", b, a_ratio), do("fsub", b_ratio, a))
        zero = self.emit(f"fcmp oeq {LLVM[dtype]} {choose(real, sizes[0], sizes[1])}, 0.0")
        return (
            choose(zero, do("fdiv", a, sizes[0]), do("fmul", first, scale)),
            choose(zero, do("fdiv", b, sizes[0]), do("fmul", second, scale)),
        )

    def absolute(self, dtype: str, text: str) -> str:
        """The absolute value of a real number."""
        raise NotImplementedError

    def parts(self, dtype: str, text: str) -> tuple[str, str]:
        """Real and imaginary part."""
        ty = LLVM[dtype]
        return self.emit(f"extractvalue {ty} {text}, 0"), self.emit(f"extractvalue {ty} {text}, 1")

    def complex_of(self, dtype: str, real: str, imag: str) -> str:
        ty, part = LLVM[dtype], LLVM[COMPLEX[dtype]]
        half = self.emit(f"insertvalue {ty} undef, {part} {real}, 0")
        return self.emit(f"insertvalue {ty} {half}, {part} {imag}, 1")

    # ------------------------------------------------------------------------------------- comparisons

    def _compare(self, node: ast.Compare) -> Value:
        left = self.scalar(node.left)
        result = ""
        for op, operand in zip(node.ops, node.comparators, strict=True):
            if result and not cheap(operand):
                raise NotTranslated(f"expression {ast.unparse(node)}")
            right = self.scalar(operand)
            test = self.comparison(type(op).__name__, left, right)
            result = self.emit(f"and i1 {result}, {test}") if result else test
            left = right
        return "bool", result

    def comparison(self, op: str, left: Value, right: Value) -> str:
        if op not in _COMPARISONS:
            raise NotTranslated(f"comparison {op}")
        signed, unsigned, real = _COMPARISONS[op]
        a, b = left[0], right[0]
        kinds = {a, b}
        if kinds <= SIGNED | {"bool"}:
            x, y = self.cast(left, "int64"), self.cast(right, "int64")
            return self.emit(f"icmp {signed} i64 {x}, {y}")
        if kinds <= UNSIGNED | {"bool"}:
            x, y = self.cast(left, "uint64"), self.cast(right, "uint64")
            return self.emit(f"icmp {unsigned} i64 {x}, {y}")
        if kinds & FLOATS and kinds <= FLOATS | INTEGERS | {"bool"}:
            (a, b), _ = promoted(op, a, b)
            if a == b and a in FLOATS:
                return self.emit(f"fcmp {real} {LLVM[a]} {self.cast(left, a)}, {self.cast(right, b)}")
        return self.cast(self.by_numba(python_operator(op), (left, right)), "bool")

    # -------------------------------------------------------------------------------------- conditions

    def _boolop(self, node: ast.BoolOp) -> Value:
        is_and = isinstance(node.op, ast.And)
        first = self.scalar(node.values[0])
        if first[0] != "bool":
            raise NotTranslated(f"expression {ast.unparse(node)}")
        text = first[1]
        rest = node.values[1:]
        if all(cheap(v) for v in rest):
            for operand in rest:
                other = self._bool(operand)
                then = f"{other}, i1 false" if is_and else f"true, i1 {other}"
                text = self.emit(f"select i1 {text}, i1 {then}")
            return "bool", text
        done = self.new_label()
        incoming = []
        for operand in rest:
            go_on = self.new_label()
            incoming.append(("false" if is_and else "true", self.current))
            self.branch_if(text, go_on if is_and else done, done if is_and else go_on)
            self.label(go_on)
            self.enter()
            text = self._bool(operand)
        incoming.append((text, self.current))
        self.branch(done)
        for _ in rest:
            self.leave()
        self.label(done)
        return "bool", self.phi("i1", incoming)

    def _bool(self, node: ast.expr) -> str:
        dtype, text = self.scalar(node)
        if dtype != "bool":
            raise NotTranslated(f"expression {ast.unparse(node)}")
        return text

    def phi(self, ty: str, incoming: list[tuple[str, str]]) -> str:
        return self.emit(f"phi {ty} " + ", ".join(f"[{v}, %{b}]" for v, b in incoming))

    def _cheap(self, node: ast.expr) -> bool:
        """`cheap`, or a few operations of real numbers: these divide without failing."""
        if cheap(node):
            return True
        count = 0
        for part in ast.walk(node):
            count += 1
            match part:
                case ast.Name(id=name) if self.dtypes.get(name) in FLOATS:
                    pass
                case ast.Constant(value=float()) | ast.BinOp(op=ast.Add() | ast.Sub() | ast.Mult() | ast.Div()):
                    pass
                case ast.UnaryOp(op=ast.USub()) | ast.operator() | ast.unaryop() | ast.expr_context():
                    pass
                case _:
                    return False
        return count <= 24

    def _ifexp(self, node: ast.IfExp) -> Value:
        condition = self.condition(node.test)
        if self._cheap(node.body) and self._cheap(node.orelse):
            first, second = self.scalar(node.body), self.scalar(node.orelse)
            dtype = unified(first[0], second[0])
            ty = LLVM[dtype]
            x, y = self.cast(first, dtype), self.cast(second, dtype)
            return dtype, self.emit(f"select i1 {condition}, {ty} {x}, {ty} {y}")
        then, orelse, done = self.new_label(), self.new_label(), self.new_label()
        self.branch_if(condition, then, orelse)
        self.label(then)
        self.enter()
        first = self.scalar(node.body)
        self.leave()
        # The type is known with the other branch only: room for the cast.
        end_of_first, place = self.current, len(self.lines)
        self.branch(done)
        self.label(orelse)
        self.enter()
        second = self.scalar(node.orelse)
        self.leave()
        dtype = unified(first[0], second[0])
        y = self.cast(second, dtype)
        end_of_second = self.current
        self.branch(done)
        after = self.lines[place:]
        del self.lines[place:]
        x = self.cast(first, dtype)
        self.lines += after
        self.label(done)
        return dtype, self.phi(LLVM[dtype], [(x, end_of_first), (y, end_of_second)])

    # ------------------------------------------------------------------------------------------- casts

    def cast(self, value: Value, dtype: str) -> str:
        """A value converted as Numba converts it."""
        have, text = value
        if have == dtype:
            return text
        to, ty = LLVM[dtype], LLVM[have]
        if dtype == "bool":
            if have in FLOATS:
                return self.emit(f"fcmp une {ty} {text}, 0.0")
            if have in INTEGERS:
                return self.emit(f"icmp ne {ty} {text}, 0")
            part = LLVM[COMPLEX[have]]
            tests = [self.emit(f"fcmp une {part} {p}, 0.0") for p in self.parts(have, text)]
            return self.emit(f"or i1 {tests[0]}, {tests[1]}")
        elif dtype in INTEGERS:
            if have == "bool":
                if text in ("true", "false"):
                    return str(int(text == "true"))
                return self.emit(f"zext i1 {text} to {to}")
            if have in INTEGERS:
                if SIZE[dtype] == SIZE[have]:
                    return text
                if SIZE[dtype] < SIZE[have]:
                    return self._narrowed(text, ty, dtype)
                return self.emit(f"{'sext' if have in SIGNED else 'zext'} {ty} {text} to {to}")
            if have in FLOATS:
                return self.emit(f"{'fptosi' if dtype in SIGNED else 'fptoui'} {ty} {text} to {to}")
        elif dtype in FLOATS:
            if have == "bool" or have in UNSIGNED:
                return self.emit(f"uitofp {ty} {text} to {to}")
            if have in SIGNED:
                if _is_number(text):
                    return real_constant(float(int(text)), dtype)
                return self.emit(f"sitofp {ty} {text} to {to}")
            if have in FLOATS:
                if text.startswith("0x"):
                    return _other_precision(text, dtype)
                return self.emit(f"{'fpext' if dtype == 'float64' else 'fptrunc'} {ty} {text} to {to}")
        elif dtype in COMPLEX:
            part = COMPLEX[dtype]
            if have in COMPLEX:
                own = COMPLEX[have]
                real, imag = (self.cast((own, p), part) for p in self.parts(have, text))
                return self.complex_of(dtype, real, imag)
            return self.complex_of(dtype, self.cast(value, part), real_constant(0.0, part))
        raise NotTranslated(f"{have} as {dtype}")

    def _narrowed(self, text: str, ty: str, dtype: str) -> str:
        if _is_number(text):
            return str(int(np.array(int(text)).astype(dtype)))
        return self.emit(f"trunc {ty} {text} to {LLVM[dtype]}")

    # ------------------------------------------------------------------------------------------- calls

    def by_numba(self, function: Any, values: tuple[Value, ...]) -> Value:
        """A call that Numba's own code for `function` computes."""
        raise NotImplementedError


def constant(value: Any) -> Value:
    """A Python number."""
    if value is True or value is False:
        return "bool", "true" if value else "false"
    if type(value) is int:
        if not -(2**63) <= value < 2**63:
            raise NotTranslated(f"constant {value}")
        return "int64", str(value)
    if type(value) is float:
        return "float64", real_constant(value, "float64")
    raise NotTranslated(f"constant {value!r}")


def _other_precision(text: str, dtype: str) -> str:
    import struct

    return real_constant(struct.unpack(">d", struct.pack(">Q", int(text, 16)))[0], dtype)


def _is_number(text: str) -> bool:
    return text.lstrip("-").isdigit()


def _is_positive(text: str) -> bool:
    return text.isdigit() and text != "0"


_CHEAP = (
    ast.Name, ast.Constant, ast.Compare, ast.UnaryOp, ast.BoolOp, ast.IfExp, ast.BinOp, ast.Call, ast.Attribute,
    ast.operator, ast.unaryop, ast.cmpop, ast.boolop, ast.expr_context,
)  # fmt: skip
_CHEAP_OPS = (ast.Add, ast.Sub, ast.Mult, ast.BitAnd, ast.BitOr, ast.BitXor)


def cheap(node: ast.expr) -> bool:
    """Whether an expression may be computed where its value is not needed: a few instructions that cannot fail."""
    if isinstance(node, ast.Name | ast.Constant):
        return True
    count = 0
    for part in ast.walk(node):
        count += 1
        if count > 24 or not isinstance(part, _CHEAP):
            return False
        if isinstance(part, ast.BinOp) and not isinstance(part.op, _CHEAP_OPS):
            return False
        if isinstance(part, ast.Call) and not (isinstance(part.func, ast.Name) and part.func.id == "bool"):
            return False
    return True
