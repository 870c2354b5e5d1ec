"""Scalar expressions of the loop form as text: templates filled in, each number and variable of the dtype it has."""

from __future__ import annotations

import cmath
import math
import re
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from gradc.ir.loops import Apply, Buffer, Expr, Index, Int, Lin, Lit, Load, Text, Var

_NUMBER = re.compile(r"(?<![\w.])(\d+\.\d*(?:e-?\d+)?|\d+)(?![\w.])")
_HOLE = re.compile(r"\{(\w+)\}")
_ATOM = re.compile(r"[\w.]+|[\w.]*[\[(][^()\[\]]*[\])]")
_NUMPY_NAMES = {
    "asin": "arcsin", "acos": "arccos", "atan": "arctan", "asinh": "arcsinh", "acosh": "arccosh", "atanh": "arctanh",
}  # fmt: skip
# What Numba computes for complex numbers; the others are in `codegen/complex_functions.py`.
_COMPLEX = re.compile(r"\b(exp2|log2|sqrt|asin|acos|atan|asinh|atanh|log10|log1p)\(")


def wrap(text: str, needed: int) -> str:
    """`text` in parentheses unless it binds at least as tightly as `needed`."""
    return text if precedence_of(text) >= needed else f"({text})"


def bare(text: str) -> str:
    """`text` without parentheses around all of it."""
    while text.startswith("(") and text.endswith(")"):
        depth = 0
        for k, c in enumerate(text):
            depth += (c == "(") - (c == ")")
            if depth == 0 and k < len(text) - 1:
                return text
        inner = text[1:-1]
        text = inner
    return text


def precedence_of(text: str) -> int:
    """100 for names, numbers, calls and bracketed text; else that of the loosest operator outside brackets."""
    depth = 0
    loosest = 100
    tokens = re.findall(r"\w+|\*\*|//|<=|>=|==|!=|<<|>>|\S", text)
    before = ""
    for token in tokens:
        if token in "([{":
            depth += 1
        elif token in ")]}":
            depth -= 1
        elif depth == 0:
            level = _LEVELS.get(token)
            if token in "+-" and (before == "" or before in _LEVELS or before == ","):
                level = 11
            if level is not None:
                loosest = min(loosest, level)
        before = token
    return loosest


_LEVELS = {
    "if": 0, "else": 0, "or": 1, "and": 2, "not": 3, "<": 4, "<=": 4, ">": 4, ">=": 4, "==": 4, "!=": 4, "|": 5, "^": 6,
    "&": 7, "<<": 8, ">>": 8, "+": 9, "-": 9, "*": 10, "/": 10, "//": 10, "%": 10, "**": 12,
}  # fmt: skip


class Scalars:
    """Prints expressions. What a template needs more than once is first given a name, with `line`."""

    def __init__(self, new_name: Callable[[str], str], line: Callable[[str], None]) -> None:
        self.new_name = new_name
        self.line = line

    # -------------------------------------------------------------------------------------- integers

    def lin(self, lin: Lin) -> str:
        """An affine integer, positive terms first."""
        parts = sorted(lin.terms, key=lambda t: t[1] < 0)
        text = ""
        for name, c in parts:
            body = name if abs(c) == 1 else f"{abs(c)} * {name}"
            if not text:
                text = f"-{body}" if c < 0 else body
            else:
                text += f" - {body}" if c < 0 else f" + {body}"
        if not text:
            return str(lin.const)
        if lin.const:
            text += f" + {lin.const}" if lin.const > 0 else f" - {-lin.const}"
        return text

    def bound(self, bound: Lin | Expr) -> str:
        """A bound of a loop."""
        return self.lin(bound) if isinstance(bound, Lin) else self.text(bound)

    def element(self, buffer: Buffer, index: tuple[Index, ...]) -> str:
        """An element of a buffer, or the variable that stands for it."""
        if buffer.scalar:
            return buffer.name
        kept = range(len(index)) if buffer.kept is None else buffer.kept
        if not kept:
            return f"{buffer.name}[()]"
        return f"{buffer.name}[{', '.join(self.bound(index[k]) for k in kept)}]"

    # ------------------------------------------------------------------------------------ expressions

    def text(self, expr: Expr) -> str:
        """An expression, of its own dtype."""
        match expr:
            case Lit():
                return literal(expr.value, expr.dtype)
            case Var():
                return expr.name
            case Int():
                return self.lin(expr.lin)
            case Load():
                return self.element(expr.buffer, expr.index)
            case Apply():
                return self._apply(expr)
            case Text():
                return self._filled(expr.template, expr.args, expr.compute, expr.dtype, 100)

    def converted(self, expr: Expr, dtype: str) -> str:
        """An expression as a value of `dtype`."""
        if isinstance(expr, Lit):
            return literal(expr.value, dtype)
        if isinstance(expr, Int) and expr.lin.is_const:
            return literal(expr.lin.const, dtype)
        if isinstance(expr, Text) and expr.template == "{x}" and expr.dtype == dtype:
            return self.converted(expr.args["x"], dtype)
        return convert(self.text(expr), expr.dtype, dtype)

    def _apply(self, expr: Apply) -> str:
        op = expr.op
        template = op.kernel
        if template is None:
            raise ValueError(f"op {op.name} has no kernel template")
        compute = expr.compute
        if callable(template):
            template = template(tuple(_known(a) for a in expr.args), compute)
        args: dict[str, Expr] = dict(zip(op.operands, expr.args, strict=False))
        args |= {k: Lit(v, "int64") for k, v in expr.attrs.items() if isinstance(v, int | float)}
        whole = {name for k, name in enumerate(op.operands) if k in op.conditions}
        core = bare(template)
        level = precedence_of(_HOLE.sub("x", core))
        if level < 4:
            core, level = template, 100
        return self._filled(core, args, compute, expr.dtype, level, whole)

    def _filled(
        self, template: str, args: Mapping[str, Expr], compute: str, dtype: str, precedence: int,
        conditions: set[str] | frozenset[str] = frozenset(),
    ) -> str:  # fmt: skip
        if template == "{x}":
            return self.converted(args["x"], dtype)
        kind = np.dtype(compute).kind if compute else ""
        counts: dict[str, int] = {}
        for name in _HOLE.findall(template):
            counts[name] = counts.get(name, 0) + 1
        filled: dict[str, str] = {}
        for name, count in counts.items():
            arg = args[name]
            same = not compute or name in conditions or f"if {{{name}}}" in template
            text = self.text(arg) if same else self.converted(arg, compute)
            if count > 1 and not re.fullmatch(r"-?[\w.]+", text):
                short = self.new_name("t")
                self.line(f"{short} = {text}")
                text = short
            filled[name] = text
        if compute in ("float32", "complex64"):
            template = _NUMBER.sub(lambda m: f"np.{compute}({m[1]})", template)
        if kind == "c":
            template = _COMPLEX.sub(lambda m: f"np.{_NUMPY_NAMES.get(m[1], m[1])}(", template)
            template = re.sub(r"\bpow\((\{\w+\}), (\{\w+\})\)", r"\1 ** \2", template)
        out = ""
        last = 0
        for hole in _HOLE.finditer(template):
            before, after = template[: hole.start()].rstrip(), template[hole.end() :].lstrip()
            enclosed = (before[-1:] in "(," or before.endswith("[")) and (after[:1] in "),]" and after != "")
            text = filled[hole[1]]
            if not enclosed:
                infix = precedence < 100
                needed = (precedence + (1 if before else 0)) if infix else 100
                if infix and not before and precedence in (4, 12):
                    needed = precedence + 1
                text = wrap(text, needed)
            out += template[last : hole.start()] + text
            last = hole.end()
        out += template[last:]
        return self._settled(out, template, compute, dtype)

    def _settled(self, text: str, template: str, compute: str, dtype: str) -> str:
        """The text converted where Numba would give it a wider type than `dtype`."""
        kind = np.dtype(dtype).kind
        if kind in "iu" and dtype != "int64" and compute != "":
            return f"np.{dtype}({text})"
        if dtype == "bool" and re.search(r"[+*\-&|^]", re.sub(r"\{\w+\}", "", template)) and compute == "bool":
            return f"bool({text})"
        if dtype in ("float32", "complex64") and re.search(r"\bif\b|[<>=]|\bnot\b", template):
            return f"np.{dtype}({text})"
        if dtype == "float64" and compute == "" and not re.search(r"\{x\}", template):
            return f"np.float64({text})"
        return text


def _known(expr: Expr) -> Any:
    """The number that an expression is, or None."""
    if isinstance(expr, Lit):
        return expr.value
    if isinstance(expr, Int) and expr.lin.is_const:
        return expr.lin.const
    return None


def literal(value: Any, dtype: str) -> str:
    """A number of a dtype."""
    kind = np.dtype(dtype).kind
    if kind == "b":
        return "True" if value else "False"
    if kind in "iu":
        return str(int(value)) if dtype == "int64" else f"np.{dtype}({int(value)})"
    if kind == "c":
        value = complex(value)
        if cmath.isfinite(value) and not str(value.real).startswith("-0.0"):
            text = f"complex({value.real!r}, {value.imag!r})"
        else:
            text = f"complex({_real(value.real)}, {_real(value.imag)})"
        return text if dtype == "complex128" else f"np.complex64({text})"
    text = _real(float(value))
    return text if dtype == "float64" else f"np.{dtype}({text})"


def _real(value: float) -> str:
    if math.isnan(value):
        return "np.nan"
    if math.isinf(value):
        return "np.inf" if value > 0 else "-np.inf"
    return repr(value)


def convert(text: str, have: str, want: str) -> str:
    """`text` of one dtype as text of another."""
    if have == want:
        return text
    if want == "bool":
        return f"{wrap(text, 5)} != 0"
    if np.dtype(have).kind == "c" and np.dtype(want).kind != "c":
        return f"np.{want}({wrap(text, 100)}.real)"
    return f"np.{want}({text})"
