"""Calls in expressions: casts, Python's built-in functions, the functions of `codegen/intrinsics.py`, and Numba's own.

Functions of libm and of LLVM are called in the text itself. Any other intrinsic, and any function that only Numba
knows, becomes a helper: a function that its own code generator writes once into the module of the stub.
"""

from __future__ import annotations

import ast
from dataclasses import dataclass
from typing import Any

import numpy as np
from numba import types
from numba.core.registry import cpu_target

from gradc.codegen import foreign, intrinsics
from gradc.codegen.native.kinds import (
    COMPLEX,
    FLOATS,
    INTEGERS,
    LLVM,
    SIGNED,
    NotTranslated,
    Value,
    numba_scalar,
    resolved,
    scalar_kind,
    unified,
)
from gradc.codegen.native.scalars import Scalars

LIBRARY_PREFIX = "linalg_"
LIBM = {
    "exp": 1, "exp2": 1, "expm1": 1, "log": 1, "log2": 1, "log10": 1, "log1p": 1, "cbrt": 1, "sin": 1, "cos": 1,
    "tan": 1, "asin": 1, "acos": 1, "atan": 1, "sinh": 1, "cosh": 1, "tanh": 1, "asinh": 1, "acosh": 1, "atanh": 1,
    "erf": 1, "erfc": 1, "lgamma": 1, "tgamma": 1, "atan2": 2, "hypot": 2, "nextafter": 2, "pow": 2,
}  # fmt: skip
ROUNDING = ("floor", "ceil", "rint", "trunc")
OF_LLVM = {"sqrt": "sqrt", "fabs": "fabs", "copysign": "copysign", "larger": "maximum", "smaller": "minimum"}
_REASSOCIABLE = {"reassoc_add": "add", "reassoc_mul": "mul"}


@dataclass(frozen=True, slots=True)
class Helper:
    """A function that is written by the code generator of an intrinsic (`intrinsic`) or of Numba for `function`."""

    symbol: str
    function: Any
    operands: tuple[Any, ...]
    result: Any
    intrinsic: bool


class Calls(Scalars):
    """Emits calls that give scalars."""

    def __init__(self, imported: dict[str, Any]) -> None:
        super().__init__()
        self.imported = imported
        self.declared: dict[str, str] = {}
        self.attributes: dict[str, int] = {}
        self.kept: dict[str, None] = {}  # vector variants: declarations that must not be dropped
        self.helpers: dict[str, Helper] = {}

    def _call(self, node: ast.Call) -> Value:
        if node.keywords:
            raise NotTranslated(f"expression {ast.unparse(node)}")
        function = node.func
        if isinstance(function, ast.Attribute):
            return self._numpy_call(node, function)
        assert isinstance(function, ast.Name)
        name = function.id
        if name in self.dtypes:
            raise NotTranslated(f"call of the variable {name}")
        if name.startswith(foreign.PREFIX):
            return self.c_call(name, node)
        if name.startswith(LIBRARY_PREFIX):
            return self.library_call(name, node)
        if name in self.imported:
            return self._intrinsic_call(name, node)
        method = getattr(self, f"_builtin_{name}", None)
        if method is None:
            raise NotTranslated(f"call of {name}")
        value: Value = method(node)
        return value

    def c_call(self, name: str, node: ast.Call) -> Value:
        raise NotImplementedError

    def library_call(self, name: str, node: ast.Call) -> Value:
        raise NotImplementedError

    # ---------------------------------------------------------------------------- built-in functions

    def _numpy_call(self, node: ast.Call, function: ast.Attribute) -> Value:
        if not (isinstance(function.value, ast.Name) and function.value.id == "np"):
            raise NotTranslated(f"call of {ast.unparse(function)}")
        name = function.attr.rstrip("_")
        values = tuple(self.scalar(a) for a in node.args)
        if name in LLVM and len(values) == 1:
            return name, self.cast(values[0], name)
        return self.by_numba(getattr(np, function.attr), values)

    def _builtin_bool(self, node: ast.Call) -> Value:
        return "bool", self.condition(node.args[0])

    def _builtin_int(self, node: ast.Call) -> Value:
        return "int64", self.integer(node.args[0])

    def _builtin_float(self, node: ast.Call) -> Value:
        return "float64", self.cast(self.scalar(node.args[0]), "float64")

    def _builtin_complex(self, node: ast.Call) -> Value:
        real, imag = (self.cast(self.scalar(a), "float64") for a in node.args)
        return "complex128", self.complex_of("complex128", real, imag)

    def _builtin_abs(self, node: ast.Call) -> Value:
        dtype, text = self.scalar(node.args[0])
        if dtype in FLOATS:
            return dtype, self.absolute(dtype, text)
        if dtype == "int64":
            return dtype, self.emit(f"call i64 {self.declare('llvm.abs.i64', 'i64', 'i64, i1')}(i64 {text}, i1 false)")
        if dtype in COMPLEX:
            return COMPLEX[dtype], self._libm("hypot", COMPLEX[dtype], list(self.parts(dtype, text)))
        return self.by_numba(abs, ((dtype, text),))

    def absolute(self, dtype: str, text: str) -> str:
        """The absolute value of a real number."""
        return self._llvm("fabs", dtype, text)

    def _builtin_max(self, node: ast.Call) -> Value:
        return self._extremum("Gt", [self.scalar(a) for a in node.args])

    def _builtin_min(self, node: ast.Call) -> Value:
        return self._extremum("Lt", [self.scalar(a) for a in node.args])

    def _extremum(self, test: str, values: list[Value]) -> Value:
        held = values[0]
        for value in values[1:]:
            dtype = unified(held[0], value[0])
            old, new = self.cast(held, dtype), self.cast(value, dtype)
            better = self.comparison(test, (dtype, new), (dtype, old))
            held = dtype, self.emit(f"select i1 {better}, {LLVM[dtype]} {new}, {LLVM[dtype]} {old}")
        return held

    def _builtin_len(self, node: ast.Call) -> Value:
        """len(range(...)); arrays are told their sizes by shape."""
        (inner,) = node.args
        if not (isinstance(inner, ast.Call) and isinstance(inner.func, ast.Name) and inner.func.id == "range"):
            raise NotTranslated(f"expression {ast.unparse(node)}")
        bounds = [self.integer(a) for a in inner.args]
        if len(bounds) == 1:
            bounds.insert(0, "0")
        if len(bounds) == 2:
            bounds.append("1")
        return "int64", self.trip_count(*bounds)

    def trip_count(self, start: str, stop: str, step: str) -> str:
        """How many numbers range(start, stop, step) has; 0 for a step of 0."""
        up = self.emit(f"icmp sgt i64 {step}, 0")
        distance = self.emit(f"sub i64 {stop}, {start}")
        back = self.emit(f"sub i64 {start}, {stop}")
        way = self.emit(f"select i1 {up}, i64 {distance}, i64 {back}")
        reverse = self.emit(f"sub i64 0, {step}")
        stride = self.emit(f"select i1 {up}, i64 {step}, i64 {reverse}")
        zero = self.emit(f"icmp eq i64 {stride}, 0")
        divisor = self.emit(f"select i1 {zero}, i64 1, i64 {stride}")
        last = self.emit(f"sub i64 {way}, 1")
        quotient = self.emit(f"sdiv i64 {last}, {divisor}")
        count = self.emit(f"add i64 {quotient}, 1")
        empty = self.emit(f"icmp sle i64 {way}, 0")
        none = self.emit(f"or i1 {empty}, {zero}")
        return self.emit(f"select i1 {none}, i64 0, i64 {count}")

    # ------------------------------------------------------------------------------------ intrinsics

    def _intrinsic_call(self, name: str, node: ast.Call) -> Value:
        values = [self.scalar(a) for a in node.args]
        dtype = values[0][0]
        same = all(v[0] == dtype for v in values)
        texts = [v[1] for v in values]
        if same and dtype in FLOATS:
            if name in LIBM and LIBM[name] == len(values):
                return dtype, self._libm(name, dtype, texts)
            if name in ROUNDING:
                return dtype, self._llvm(name, dtype, *texts)
            if name in OF_LLVM:
                return dtype, self._llvm(OF_LLVM[name], dtype, *texts)
            if name in _REASSOCIABLE:
                ty = LLVM[dtype]
                return dtype, self.emit(f"f{_REASSOCIABLE[name]} reassoc contract {ty} {texts[0]}, {texts[1]}")
        if same and dtype in INTEGERS:
            if name in _REASSOCIABLE:
                return dtype, self.emit(f"{_REASSOCIABLE[name]} {LLVM[dtype]} {texts[0]}, {texts[1]}")
            if name in ROUNDING:
                return values[0]
            if name in ("larger", "smaller"):
                letter = "s" if dtype in SIGNED else "u"
                ty = LLVM[dtype]
                test = self.emit(f"icmp {letter}{'gt' if name == 'larger' else 'lt'} {ty} {texts[0]}, {texts[1]}")
                return dtype, self.emit(f"select i1 {test}, {ty} {texts[0]}, {ty} {texts[1]}")
        return self._by_intrinsic(name, tuple(values))

    def _by_intrinsic(self, name: str, values: tuple[Value, ...]) -> Value:
        """A call of an intrinsic whose instructions its own code generator writes."""
        function = self.imported[name]
        definition = getattr(function, "_defn", None)
        if definition is None:
            raise NotTranslated(f"call of {name}")
        operands = tuple(numba_scalar(v[0]) for v in values)
        found = definition(cpu_target.typing_context, *operands)
        if found is None or tuple(found[0].args) != operands:
            raise NotTranslated(f"{name} of {operands}")
        return self._helper(name, function, operands, found[0].return_type, values, intrinsic=True)

    def by_numba(self, function: Any, values: tuple[Value, ...]) -> Value:
        """A call that Numba's own code for `function` computes."""
        have = tuple(v[0] for v in values)
        wanted, result = resolved(function, *have)
        converted = tuple((d, self.cast(v, d)) for d, v in zip(wanted, values, strict=True))
        operands = tuple(numba_scalar(d) for d in wanted)
        return self._helper(function.__name__, function, operands, numba_scalar(result), converted, intrinsic=False)

    def _helper(
        self,
        name: str,
        function: Any,
        operands: tuple[Any, ...],
        result: Any,
        values: tuple[Value, ...],
        intrinsic: bool,
    ) -> Value:
        if not isinstance(result, types.Number | types.Boolean):
            raise NotTranslated(f"{name} gives {result}")
        dtypes = "_".join(v[0] for v in values)
        symbol = f"gradc_{'of' if intrinsic else 'numba'}_{name}_{dtypes}"
        self.helpers.setdefault(symbol, Helper(symbol, function, operands, result, intrinsic))
        dtype = scalar_kind(result)
        types_ = [LLVM[v[0]] for v in values]
        callee = self.declare(symbol, LLVM[dtype], ", ".join(types_))
        given = ", ".join(f"{t} {v[1]}" for t, v in zip(types_, values, strict=True))
        return dtype, self.emit(f"call {LLVM[dtype]} {callee}({given})")

    def _llvm(self, name: str, dtype: str, *texts: str) -> str:
        """A call of an intrinsic that LLVM itself knows how to vectorise."""
        ty = LLVM[dtype]
        callee = self.declare(f"llvm.{name}.f{8 * (8 if dtype == 'float64' else 4)}", ty, ", ".join([ty] * len(texts)))
        return self.emit(f"call {ty} {callee}({', '.join(f'{ty} {t}' for t in texts)})")

    def _libm(self, name: str, dtype: str, texts: list[str]) -> str:
        """A call of a function of libm, or of what libmvec has for it once vectorised."""
        ty, single = LLVM[dtype], dtype == "float32"
        symbol = name + "f" if single else name
        operands = ", ".join([ty] * len(texts))
        callee = self.declare(symbol, ty, operands)
        attributes = "nounwind willreturn memory(none)"
        variants = intrinsics.vector_variants(symbol, len(texts), single)
        if variants:
            for variant, lanes in variants:
                vector = f"<{lanes} x {ty}>"
                self.declare(variant, vector, ", ".join([vector] * len(texts)))
                self.kept[variant] = None
            attributes += ' "vector-function-abi-variant"="' + ",".join(f"{v}({v})" for v, _ in variants) + '"'
        group = self.attributes.setdefault(attributes, len(self.attributes))
        return self.emit(f"call {ty} {callee}({', '.join(f'{ty} {t}' for t in texts)}) #{group}")

    def declare(self, symbol: str, result: str, operands: str, attributes: str = "") -> str:
        """A function from elsewhere, as calls name it."""
        if symbol not in self.declared:
            self.declared[symbol] = f"declare {result} @{symbol}({operands}){attributes}"
        return f"@{symbol}"
