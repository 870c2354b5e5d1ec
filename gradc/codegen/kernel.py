"""Loop form to the text that Numba compiles: one module with one function, no NumPy call that compiles slowly."""

from __future__ import annotations

import builtins
import re
from collections.abc import Sequence
from typing import Any

from gradc import errors
from gradc.codegen.fourier import UNAVAILABLE
from gradc.codegen.scalars import Scalars, bare, wrap
from gradc.errors import InternalError, UnsupportedError
from gradc.ir.loops import (
    FOURIER_FUNCTIONS,
    KERNEL_DTYPES,
    KERNEL_FUNCTIONS,
    OWN_FUNCTIONS,
    SPECIAL_FUNCTIONS,
    Alloc,
    Assign,
    Bind,
    Break,
    Buffer,
    CallC,
    Expr,
    For,
    Grow,
    If,
    Kernel,
    Lin,
    Move,
    Product,
    Put,
    Raise,
    Size,
    Slice,
    Stmt,
    Transform,
    While,
)

Pack = Any
"""A nested tuple structure of positions of results, such as ((0, 1), 2)."""


def kernel_source(kernel: Kernel, name: str, pack: Pack = None) -> str:
    """The module text for a lowered function: under Numba, `name(*params)` returns its results, packed if so wished."""
    return Printer(kernel).module(name, pack)


class Printer:
    """Prints statements of the loop form; `codegen/standalone.py` has another one for modules without gradc."""

    def __init__(self, kernel: Kernel) -> None:
        self.kernel = kernel
        self.lines: list[str] = []
        self.depth = 1
        self.raised: set[str] = set()
        self.scalars = Scalars(kernel.new_name, self.line)

    # ---------------------------------------------------------------------------------------- module

    def module(self, name: str, pack: Pack) -> str:
        self.body(self.kernel.body)
        results = [self.result(r) for r in self.kernel.results]
        self.line(f"return {_packed(pack, results)}")
        text = "\n".join(self.lines)
        used = set(re.findall(r"[A-Za-z_]\w*", re.sub(r'"(\\.|[^"\\])*"', "", text)))
        lines = ["import numpy as np", "from numba import njit", "", "import gradc.codegen.intrinsics"]
        functions = sorted(
            used
            & {*KERNEL_FUNCTIONS, *FOURIER_FUNCTIONS, *(f"empty_{d}" for d in KERNEL_DTYPES), "view", "product", "grow"}
        )
        if functions:
            lines.append(f"from gradc.codegen.intrinsics import {', '.join(functions)}")
        c_functions = sorted(n for n in used if n.startswith("call_c_"))
        if c_functions:
            lines.append(f"from gradc.codegen.foreign import {', '.join(c_functions)}")
        of_library = sorted(n for n in used if n.startswith("linalg_"))
        if of_library:
            lines.append(f"from gradc.codegen.library import {', '.join(of_library)}")
        of_scipy = sorted(used & SPECIAL_FUNCTIONS.keys())
        if of_scipy:
            lines.append(f"from gradc.codegen.scipy_functions import {', '.join(of_scipy)}")
        own = sorted(used & OWN_FUNCTIONS.keys())
        if own:
            lines.append(f"from gradc.codegen.own_functions import {', '.join(own)}")
        raised = sorted(n for n in used if n in self.raised and not hasattr(builtins, n))
        if "LinAlgError" in raised:
            raised.remove("LinAlgError")
            lines.append("from numpy.linalg import LinAlgError")
        if raised:
            lines.append(f"from gradc.errors import {', '.join(raised)}")
        # Letting other threads run costs 30 ns a call: not where there is nothing to wait for.
        waits = used & {"for", "while", "product", "np", *FOURIER_FUNCTIONS} or c_functions or of_library
        head = [*lines, "", "", f'@njit(error_model="numpy", cache=True{", nogil=True" if waits else ""})']
        return "\n".join([*head, f"def {name}({', '.join(self.kernel.params)}):", text, ""])

    def line(self, text: str) -> None:
        self.lines.append("    " * self.depth + text)

    def result(self, result: Expr | Buffer) -> str:
        if isinstance(result, Buffer):
            return result.name
        return self.scalars.text(result)

    def body(self, stmts: Sequence[Stmt]) -> None:
        for stmt in stmts:
            getattr(self, f"_{type(stmt).__name__.lower()}")(stmt)

    def block(self, stmts: Sequence[Stmt]) -> None:
        self.depth += 1
        before = len(self.lines)
        self.body(stmts)
        if len(self.lines) == before:
            self.line("pass")
        self.depth -= 1

    # ------------------------------------------------------------------------------------ statements

    def _assign(self, stmt: Assign) -> None:
        self.line(f"{stmt.name} = {bare(self.scalars.converted(stmt.expr, stmt.dtype))}")

    def _move(self, stmt: Move) -> None:
        values = [self.scalars.converted(e, d) for e, d in zip(stmt.exprs, stmt.dtypes, strict=True)]
        self.line(f"{', '.join(stmt.names)} = {', '.join(values)}")

    def _put(self, stmt: Put) -> None:
        buffer = stmt.buffer
        value = bare(self.scalars.converted(stmt.expr, buffer.dtype))
        target = self.scalars.element(buffer, stmt.index)
        if not stmt.add:
            self.line(f"{target} = {value}")
        elif buffer.dtype == "bool":
            self.line(f"{target} = {target} or {wrap(value, 3)}")
        else:
            self.line(f"{target} += {value}")

    def _alloc(self, stmt: Alloc) -> None:
        buffer = stmt.buffer
        kept = range(len(buffer.extents)) if buffer.kept is None else buffer.kept
        sizes = [self.size(buffer.extents[k]) for k in kept]
        shape = f"({sizes[0]},)" if len(sizes) == 1 else f"({', '.join(sizes)})"
        self.line(f"{buffer.name} = empty_{buffer.dtype}({shape})")

    def size(self, lin: Lin) -> str:
        """An allocation's size: hoisted ones may be of loops that do not run, so they are kept from being negative."""
        text = self.scalars.lin(lin)
        natural = lin.const >= 0 and all(c > 0 and n in self.kernel.natural for n, c in lin.terms)
        return text if natural else f"max({text}, 0)"

    def _size(self, stmt: Size) -> None:
        self.line(f"{stmt.name} = {stmt.buffer.name}.shape[{stmt.axis}]")

    def _bind(self, stmt: Bind) -> None:
        buffer, source = stmt.buffer, stmt.source
        assert source is not None
        if stmt.cond is None:
            shape = [self.scalars.lin(e) for e in buffer.extents]
            written = f"({shape[0]},)" if len(shape) == 1 else f"({', '.join(shape)})"
            self.line(f"{buffer.name} = view({source.buffer.name}, {self.offset(source)}, {written})")
            return
        assert stmt.other is not None
        self.line(f"if {self.scalars.text(stmt.cond)}:")
        self.line(f"    {buffer.name} = {self.slice(source)}")
        self.line("else:")
        self.line(f"    {buffer.name} = {self.slice(stmt.other)}")

    def offset(self, source: Slice) -> str:
        """How many elements a contiguous slice starts after the start of its buffer."""
        text, extents = "", source.buffer.extents
        for start, extent in zip(source.starts, extents, strict=True):
            position = self.scalars.lin(start)
            if not text or text == "0":
                text = position
            else:
                text = f"({text}) * {wrap(self.scalars.lin(extent), 100)}" + (
                    f" + {position}" if position != "0" else ""
                )
        if text not in ("", "0") and source.buffer.layout != "C":
            raise InternalError("a view of a part of memory that is not in C order")
        return text or "0"

    def slice(self, source: Slice) -> str:
        """A slice as an index of an array variable."""
        axes = [a for a in source.axes if a is not None]
        if axes == sorted(axes):
            return self._slice_entries(source, newaxes=True)
        if len(axes) != len(source.extents):
            raise InternalError("a choice between transposed arrays with new axes")
        perm = ", ".join(str(axes.index(a)) for a in sorted(axes))
        return f"{self._slice_entries(source, newaxes=False)}.transpose(({perm},))"

    def _slice_entries(self, source: Slice, newaxes: bool) -> str:
        entries: list[str] = []
        buffer = source.buffer
        expected = 0
        for start, step, own, extent in zip(source.starts, source.steps, source.axes, buffer.extents, strict=True):
            if own is None:
                entries.append(self.scalars.lin(start))
                continue
            while newaxes and expected < own:
                entries.append("None")
                expected += 1
            expected = own + 1
            length = source.extents[own]
            if step == 1 and start == Lin() and length.same(extent):
                entries.append(":")
            elif step == 1:
                entries.append(f"{self.scalars.lin(start)}:{self.scalars.lin(start + length)}")
            elif step > 0:
                entries.append(f"{self.scalars.lin(start)}:{self.scalars.lin(start + length * step)}:{step}")
            else:
                # The end of a slice that runs backwards to the front has no number, so it is shifted past it.
                stop = start + length * step
                text = self.scalars.lin(stop)
                size = f"{buffer.name}.shape[{len([e for e in entries if e != 'None'])}]"
                entries.append(f"{self.scalars.lin(start)}:({text} if {text} >= 0 else -{size} - 1):{step}")
        while newaxes and expected < len(source.extents):
            entries.append("None")
            expected += 1
        if all(e == ":" for e in entries):
            return buffer.name
        return f"{buffer.name}[{', '.join(entries)}]"

    def _product(self, stmt: Product) -> None:
        operands = []
        for buffer, start, row, column in (stmt.a, stmt.b, stmt.c):
            at = ", ".join(self.scalars.lin(p) for p in start)
            operands.append(f"{buffer.name}, ({at}{',' if len(start) == 1 else ''}), {row}, {column}")
        sizes = ", ".join(self.scalars.lin(s) for s in stmt.sizes)
        self.line(f"product({', '.join(operands)}, ({sizes}), {int(stmt.add)})")

    def _transform(self, stmt: Transform) -> None:
        if UNAVAILABLE:
            raise UnsupportedError("the Fourier transforms of this NumPy", why=UNAVAILABLE, hint="install another one.")
        operands = []
        for buffer, start, along, row in (stmt.a, stmt.c):
            at = ", ".join(self.scalars.lin(p) for p in start)
            operands.append(f"{buffer.name}, ({at}{',' if len(start) == 1 else ''}), {along}, {row}")
        sizes = ", ".join(self.scalars.lin(s) for s in stmt.sizes)
        self.line(f"{stmt.function}({', '.join(operands)}, ({sizes}), {stmt.scale})")

    def _callc(self, stmt: CallC) -> None:
        self.line(f"{stmt.name} = {stmt.call}({', '.join(self.given(stmt))})")

    def given(self, stmt: CallC) -> list[str]:
        """The arguments of a call of a C function."""
        return [a if isinstance(a, str) else self.scalars.lin(a) if isinstance(a, Lin) else a.name for a in stmt.args]

    def _for(self, stmt: For) -> None:
        start, stop, step = (self.scalars.bound(b) for b in (stmt.start, stmt.stop, stmt.step))
        bounds = [stop] if start == "0" and step == "1" else [start, stop] if step == "1" else [start, stop, step]
        self.line(f"for {stmt.var} in range({', '.join(bounds)}):")
        self.block(stmt.body)

    def _while(self, stmt: While) -> None:
        self.line("while True:")
        self.block(stmt.body)

    def _if(self, stmt: If) -> None:
        self.line(f"if {self.scalars.text(stmt.cond)}:")
        self.block(stmt.then)
        if stmt.orelse:
            self.line("else:")
            self.block(stmt.orelse)

    def _break(self, stmt: Break) -> None:
        self.line("break")

    def _raise(self, stmt: Raise) -> None:
        if not (hasattr(errors, stmt.error) or hasattr(builtins, stmt.error) or stmt.error == "LinAlgError"):
            raise InternalError(f"a check raises {stmt.error}, which is not an exception class", stmt.loc)
        self.raised.add(stmt.error)
        place = f"\n  {stmt.loc}" if stmt.loc.lineno else ""
        self.line(f"raise {stmt.error}({_quoted(stmt.message + place)})")

    def _grow(self, stmt: Grow) -> None:
        name, size = stmt.buffer.name, self.scalars.lin(stmt.size)
        self.line(f"if {size} > {name}.shape[0]:")
        self.line(f"    {name} = grow({name}, {size})")


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'


def _packed(pack: Pack, results: list[str]) -> str:
    if pack is None:
        pack = tuple(range(len(results)))
    if isinstance(pack, int):
        return results[pack]
    inner = [_packed(p, results) for p in pack]
    return f"({', '.join(inner)}{',' if len(inner) == 1 else ''})"
