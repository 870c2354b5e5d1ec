"""Text -> Func: the exact inverse of `ir/printer.py`. The ops that the text names must have been loaded."""

from __future__ import annotations

import json
import math
import re
from typing import Any

import numpy as np

from gradc.errors import NOWHERE, InternalError, Loc
from gradc.ir.nodes import Block, Func, Node, Value
from gradc.ir.opdef import TABLE
from gradc.ir.region import NEWAXIS, Arg, At, Gather, Span
from gradc.ir.types import Array, Atom, Dim, Layout, Scalar, Size, Stack, Type

_TOKEN = re.compile(
    r"""\s*(?:(?P<string>"(?:[^"\\]|\\.)*")
    |(?P<number>\d+\.\d*(?:e[+-]?\d+)?|\d+e[+-]?\d+|\d+)
    |(?P<value>%\w+(?:\.\d+)?)
    |(?P<word>\w+)
    |(?P<sign>.))""",
    re.VERBOSE,
)
_FILE = re.compile(r'^@(\d+) = ("(?:[^"\\]|\\.)*") in ("(?:[^"\\]|\\.)*")(?: text ("(?:[^"\\]|\\.)*"))?$')


def parse_func(text: str) -> Func:
    """The function that `text` describes.

    Raises: InternalError naming the line that cannot be read.
    """
    return _Parser(text).func()


class _Line:
    """The tokens of one line, taken from left to right."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.tokens = [(str(m.lastgroup), m.group(str(m.lastgroup))) for m in _TOKEN.finditer(text.rstrip())]
        self.at = 0

    def peek(self, ahead: int = 0) -> str:
        at = self.at + ahead
        return self.tokens[at][1] if at < len(self.tokens) else ""

    def kind(self) -> str:
        return self.tokens[self.at][0] if self.at < len(self.tokens) else ""

    def take(self, wanted: str = "") -> str:
        token = self.peek()
        if not token or (wanted and token != wanted):
            raise ValueError(f"{wanted!r} is missing before {token!r}" if wanted else "the line ends too early")
        self.at += 1
        return token

    def accept(self, wanted: str) -> bool:
        if self.kind() != "string" and self.peek() == wanted:
            self.at += 1
            return True
        return False

    def done(self) -> bool:
        return self.at >= len(self.tokens)


class _Parser:
    def __init__(self, text: str) -> None:
        self.files: dict[int, tuple[str, str, str]] = {}
        self.rows: list[tuple[int, str]] = []
        self.values: dict[str, Value] = {}
        self.row = 0
        for number, row in enumerate(text.splitlines(), 1):
            file = _FILE.match(row)
            if file:
                k, filename, function, source = file.groups()
                self.files[int(k)] = (json.loads(filename), json.loads(function), json.loads(source or '""'))
            elif row.strip():
                self.rows.append((number, row.strip()))

    def func(self) -> Func:
        try:
            return self._func()
        except (ValueError, KeyError, IndexError) as error:
            number, row = self.rows[min(self.row, len(self.rows)) - 1] if self.rows else (0, "")
            raise InternalError(f"line {number} of the IR text cannot be read: {row}", why=str(error)) from error

    def _next(self) -> _Line:
        _, row = self.rows[self.row]
        self.row += 1
        return _Line(row)

    def _func(self) -> Func:
        line = self._next()
        line.take("func")
        name = _name(line)
        params = self._params(line)
        loc = self._loc(line)
        line.take("{")
        body = self._block(params, "return")
        return Func(name, body, loc)

    def _params(self, line: _Line) -> list[Value]:
        line.take("(")
        params: list[Value] = []
        while not line.accept(")"):
            params.append(self._definition(line, None))
            line.accept(",")
        return params

    def _definition(self, line: _Line, node: Node | None) -> Value:
        text = line.take()
        if not text.startswith("%"):
            raise ValueError(f"{text} is not a value")
        base = text[1:].split(".")[0]
        name = json.loads(line.take()) if line.kind() == "string" else "" if base.isdigit() else base
        line.take(":")
        value = Value(_type(line), name, node)
        if line.accept("("):
            value.size = _size(line)
            line.take(")")
        if text in self.values:
            raise ValueError(f"{text} is defined twice")
        self.values[text] = value
        return value

    def _block(self, params: list[Value], end: str) -> Block:
        block = Block(params)
        while True:
            line = self._next()
            if line.peek() == end and line.peek(1) != "(":
                line.take()
                block.yields = self._operands(line)
                self._next().take("}")
                return block
            block.nodes.append(self._node(line))

    def _operands(self, line: _Line) -> list[Value]:
        operands: list[Value] = []
        while line.kind() == "value":
            operands.append(self.values[line.take()])
            line.accept(",")
        return operands

    def _node(self, line: _Line) -> Node:
        # The results follow the blocks in the numbering, so they are read last.
        start = line.at
        while line.kind() == "value":
            self._skip_definition(line)
        results_end = line.at
        if results_end != start:
            line.take("=")
        op = TABLE[line.take()]
        line.take("(")
        node = Node(op, self._operands(line), [])
        line.take(")")
        if line.accept("{"):
            while not line.accept("}"):
                key = line.take()
                line.take("=")
                node.attrs[key] = _attr(line)
                line.accept(",")
        node.loc = self._loc(line)
        if not line.done():
            raise ValueError(f"{line.peek()!r} is left over")
        while self.row < len(self.rows) and re.match(r"block\(.*\) \{$", self.rows[self.row][1]):
            header = self._next()
            header.take("block")
            params = self._params(header)
            node.blocks.append(self._block(params, "yield"))
        line.at = start
        while line.at < results_end:
            node.results.append(self._definition(line, node))
            line.accept(",")
        return node

    def _skip_definition(self, line: _Line) -> None:
        line.take()
        if line.kind() == "string":
            line.take()
        line.take(":")
        _type(line)
        if line.accept("("):
            _size(line)
            line.take(")")
        line.accept(",")

    def _loc(self, line: _Line) -> Loc:
        if not line.accept("@"):
            return NOWHERE
        filename, function, text = self.files[int(line.take())]
        line.take(":")
        lineno = int(line.take())
        line.take(":")
        col = int(line.take())
        line.take("-")
        end_col = int(line.take())
        return Loc(filename, function, lineno, col, end_col, text, line.accept("reverse"))


def _name(line: _Line) -> str:
    return str(json.loads(line.take())) if line.kind() == "string" else line.take()


def _type(line: _Line) -> Type:
    dtype = line.take()
    if dtype == "stack" and line.accept("<"):
        item = _type(line)
        assert not isinstance(item, Stack)
        line.take(">")
        return Stack(item)
    np.dtype(dtype)  # an unknown name raises here
    if line.accept("~"):
        return Scalar(dtype, weak=True)
    if not line.accept("["):
        return Scalar(dtype)
    shape: list[Size] = []
    while not line.accept("]"):
        shape.append(_size(line))
        line.accept(",")
    layout: Layout = "C"
    if line.peek() in ("F", "A"):
        layout = "F" if line.take() == "F" else "A"
    return Array(dtype, tuple(shape), layout)


def _size(line: _Line) -> Size:
    terms: list[tuple[tuple[Atom, ...], int]] = []
    sign = -1 if line.accept("-") else 1
    while True:
        coefficient, atoms = sign, []
        while True:
            if line.kind() == "number":
                coefficient *= int(line.take())
            elif line.kind() == "word" and line.peek() == "max" and line.peek(1) == "(":
                line.take()
                line.take("(")
                inner = _size(line)
                assert isinstance(inner, Dim)
                line.take(",")
                line.take("0")
                line.take(")")
                atoms.append(Atom(f"max({inner}, 0)", inner))
            else:
                atoms.append(Atom(_name(line)))
            if not line.accept("*"):
                break
        terms.append((tuple(atoms), coefficient))
        if line.accept("+"):
            sign = 1
        elif line.accept("-"):
            sign = -1
        else:
            break
    if len(terms) == 1 and not terms[0][0]:
        return terms[0][1]
    return Dim(tuple(terms))


def _attr(line: _Line) -> Any:
    """One attribute value; see `printer.format_attr`."""
    kind, token = line.kind(), line.peek()
    if kind == "string":
        return json.loads(line.take())
    if kind == "number" or token == "-" or token in ("inf", "nan", "complex"):
        return _number(line)
    if token == "#":
        return _argument(line)
    if token == "(":
        return tuple(_sequence(line, ")"))
    if token == "[":
        line.take()
        entries = []
        while not line.accept("]"):
            entries.append(_entry(line))
            line.accept(",")
        return tuple(entries)
    constants = {"True": True, "False": False, "None": None}
    if token in constants:
        line.take()
        return constants[token]
    if line.peek(1) != "(":
        if kind != "word":
            raise ValueError(f"{token!r} does not start an attribute that can be read")
        return _type(line)
    line.take()
    match token:
        case "list":
            return list(_sequence(line, ")"))
        case "dict":
            return dict(_sequence(line, ")"))
    line.take("(")
    value: Any
    match token:
        case "size":
            value = _size(line)
        case "entry":
            value = _entry(line)
        case "dtype":
            value = np.dtype(line.take())
        case _:
            number = line.take() == "True" if line.peek() in ("True", "False") else _number(line)
            value = np.dtype(token).type(number)
    line.take(")")
    return value


def _sequence(line: _Line, end: str) -> list[Any]:
    line.take("(")
    items = []
    while not line.accept(end):
        items.append(_attr(line))
        line.accept(",")
    return items


def _number(line: _Line) -> int | float | complex:
    if line.accept("complex"):
        line.take("(")
        real = _number(line)
        line.take(",")
        imag = _number(line)
        line.take(")")
        return complex(real, imag)  # type: ignore[arg-type]  # both are real
    negative = line.accept("-")
    token = line.take()
    if token in ("inf", "nan"):
        number: int | float = math.inf if token == "inf" else math.nan
    else:
        number = int(token) if token.isdigit() else float(token)
    return -number if negative else number


def _argument(line: _Line) -> Arg:
    line.take("#")
    return Arg(int(line.take()))


def _bound(line: _Line) -> int | Arg | None:
    if line.peek() == "#":
        return _argument(line)
    if line.kind() == "number" or line.peek() == "-":
        return int(_number(line))  # type: ignore[arg-type]
    return None


def _entry(line: _Line) -> At | Span | Gather | Any:
    if line.accept("newaxis"):
        return NEWAXIS
    if line.accept("gather"):
        return Gather(_argument(line).k)
    start = _bound(line)
    if not line.accept(":"):
        assert start is not None
        return At(start)
    stop = _bound(line)
    return Span(start, stop, _bound(line) if line.accept(":") else None)
