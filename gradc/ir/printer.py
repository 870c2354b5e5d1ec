"""Func -> text: deterministic, and read back exactly by `ir/parser.py`.

    func f(%x: float64[n0], %k: int64~) @0:1:0-5 {
      %y: float64[n0] = mul(%x, %k) @0:2:4-9
      return %y
    }
    @0 = "model.py" in "f"

A value is written `%name` with the user's name (`%name.2` where it repeats) or `%7`; the size that an integer
stands for follows its type in parentheses. `@file:line:col-end` is the place, files are listed at the end.
`Func.notes` are not written.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from gradc.errors import NOWHERE, Loc
from gradc.ir.nodes import Block, Func, Node, Value
from gradc.ir.region import Arg, At, Gather, NewAxis, Span
from gradc.ir.types import Array, Dim, Scalar, Size, Stack, Type


def print_func(func: Func) -> str:
    """`func` as text, ending in a newline."""
    return "\n".join(Printer(func).lines) + "\n"


class Printer:
    """The lines of a function, and the line that each node is on."""

    def __init__(self, func: Func) -> None:
        self.lines: list[str] = []
        self.line_of: dict[Node, int] = {}
        self._names: dict[Value, str] = {}
        self._used: dict[str, int] = {}
        self._files: dict[tuple[str, str, str], int] = {}
        params = ", ".join(self._define(p) for p in func.params)
        self.lines.append(f"func {_word(func.name)}({params}){self._loc(func.loc)} {{")
        self._body(func.body, "  ", "return")
        self.lines.append("}")
        for (filename, function, text), k in self._files.items():
            entry = f"@{k} = {json.dumps(filename)} in {json.dumps(function)}"
            self.lines.append(entry + (f" text {json.dumps(text)}" if text else ""))

    def excerpt(self, node: Node | None, around: int = 10) -> str:
        """The lines around `node`, which is marked."""
        at = self.line_of.get(node, 0) if node else 0
        first = max(0, at - around)
        shown = self.lines[first : at + around + 1]
        return "\n".join(("> " if first + k == at else "  ") + line for k, line in enumerate(shown))

    def node_text(self, node: Node) -> str:
        """The line of `node`, without its place."""
        return self.lines[self.line_of[node]].strip()

    def _body(self, block: Block, indent: str, end: str) -> None:
        for node in block.nodes:
            self._node(node, indent)
        self.lines.append(f"{indent}{end} {', '.join(self._use(v) for v in block.yields)}".rstrip())

    def _node(self, node: Node, indent: str) -> None:
        operands = ", ".join(self._use(v) for v in node.operands)
        attrs = ", ".join(f"{k}={format_attr(v)}" for k, v in sorted(node.attrs.items()))
        line = f"{node.op.name}({operands})" + (f" {{{attrs}}}" if attrs else "") + self._loc(node.loc)
        at = len(self.lines)
        self.line_of[node] = at
        self.lines.append("")
        for block in node.blocks:
            params = ", ".join(self._define(p) for p in block.params)
            self.lines.append(f"{indent}block({params}) {{")
            self._body(block, indent + "  ", "yield")
            self.lines.append(indent + "}")
        results = ", ".join(self._define(v) for v in node.results)
        self.lines[at] = indent + (f"{results} = {line}" if results else line)

    def _define(self, value: Value) -> str:
        """`value` where it is made: its text name, the user's name where that cannot be told from it, type, size."""
        plain = value.name.isidentifier()
        base = value.name if plain else ""
        count = self._used.get(base, 0)
        self._used[base] = count + 1
        text = f"%{base}" + (f".{count}" if base and count else str(count) if not base else "")
        self._names[value] = text
        if value.name and not plain:
            text += f" {json.dumps(value.name)}"
        text += f": {format_type(value.ty)}"
        return text if value.size is None else f"{text} ({format_size(value.size)})"

    def _use(self, value: Value) -> str:
        return self._names.get(value) or f"%?{value.name}"

    def _loc(self, loc: Loc) -> str:
        if loc == NOWHERE:
            return ""
        k = self._files.setdefault((loc.filename, loc.function, loc.text), len(self._files))
        return f" @{k}:{loc.lineno}:{loc.col}-{loc.end_col}" + (" reverse" if loc.reverse else "")


def _word(name: str) -> str:
    return name if name.isidentifier() else json.dumps(name)


def format_size(size: Size) -> str:
    """A dimension as text that the parser reads back term by term."""
    if isinstance(size, int):
        return str(size)
    text = ""
    for atoms, coefficient in size.terms:
        factors = [f"max({format_size(a.inner)}, 0)" if a.inner is not None else _size_name(a.name) for a in atoms]
        if abs(coefficient) != 1 or not factors:
            factors.insert(0, str(abs(coefficient)))
        sign = ("-" if coefficient < 0 else "") if not text else (" - " if coefficient < 0 else " + ")
        text += sign + "*".join(factors)
    return text


def _size_name(name: str) -> str:
    return name if name.isidentifier() and name != "max" else json.dumps(name)


def format_type(ty: Type) -> str:
    """A type as text."""
    match ty:
        case Scalar(dtype, weak):
            return dtype + ("~" if weak else "")
        case Array(dtype, shape, layout):
            return f"{dtype}[{', '.join(map(format_size, shape))}]" + ("" if layout == "C" else layout)
        case Stack(item):
            return f"stack<{format_type(item)}>"


def format_attr(value: Any) -> str:
    """The value of an attribute as text; an object of a kind that the parser cannot read is written `<repr>`."""
    match value:
        case bool() | None:
            return str(value)
        case np.generic():
            return f"{value.dtype.name}({_number(value.item())})"
        case int() | float() | complex():
            return _number(value)
        case str():
            return json.dumps(value)
        case Scalar() | Array() | Stack():
            return format_type(value)
        case Dim():
            return f"size({format_size(value)})"
        case Arg(k):
            return f"#{k}"
        case At() | Span() | NewAxis() | Gather():
            return f"entry({_entry(value)})"
        case np.dtype():
            return f"dtype({value.name})"
        case tuple() if value and all(isinstance(e, At | Span | NewAxis | Gather) for e in value):
            return f"[{', '.join(map(_entry, value))}]"
        case tuple():
            return "(" + _items(value) + ("," if len(value) == 1 else "") + ")"
        case list():
            return f"list({_items(value)})"
        case dict():
            return f"dict({_items(list(value.items()))})"
    return f"<{value!r}>"


def _items(values: Sequence[Any]) -> str:
    return ", ".join(map(format_attr, values))


def _number(value: Any) -> str:
    if isinstance(value, complex):
        return f"complex({_number(value.real)}, {_number(value.imag)})"
    if isinstance(value, float) and not math.isfinite(value):
        return "nan" if math.isnan(value) else "inf" if value > 0 else "-inf"
    return repr(value)


def _bound(bound: int | Arg | None) -> str:
    return "" if bound is None else f"#{bound.k}" if isinstance(bound, Arg) else str(bound)


def _entry(entry: Any) -> str:
    match entry:
        case At(position):
            return _bound(position)
        case Span(start, stop, step):
            text = f"{_bound(start)}:{_bound(stop)}"
            return text if step is None else f"{text}:{_bound(step)}"
        case NewAxis():
            return "newaxis"
        case Gather(k):
            return f"gather #{k}"
    raise TypeError(entry)
