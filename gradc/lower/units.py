"""Units: what the scheduler moves and fuses. A unit is one node (or a part of one) as a loop nest, or straight code."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from gradc.ir.loops import (
    Assign,
    Buffer,
    Expr,
    Fold,
    Index,
    Int,
    Lin,
    Load,
    Put,
    Stmt,
    Var,
    rebuild,
    rebuild_index,
    walk,
)
from gradc.ir.types import Size

READ, WRITE, ADD = "read", "write", "add"


@dataclass(frozen=True, slots=True)
class Axis:
    """One loop of a unit: the axis number that "@k" in indices means, its length, the length as a dimension."""

    k: int
    extent: Lin
    size: Size
    summed: bool = False


@dataclass(eq=False, slots=True)
class Touch:
    """That a unit reads, writes or adds to a buffer; `index` None: anywhere in it."""

    buffer: Buffer
    index: tuple[Index, ...] | None
    mode: str


@dataclass(eq=False, slots=True)
class Folding:
    """The fold of a unit that reduces: operand element, where the result goes (a buffer, or a scalar variable)."""

    fold: Fold
    operand: Expr
    result: Buffer | None
    index: tuple[Index, ...]
    name: str
    dtype: str


@dataclass(eq=False, slots=True)
class Unit:
    """A schedulable piece of a block.

    axes: remaining loops in order; body: statements of the innermost iteration, with "@k" in indices; folding: set
    where the unit reduces (body is then empty); emit: straight code made at emission, for everything else.
    effects: touches beyond those of the body. needs, makes: scalar variables. raises: ordered like a check.
    early: straight code that should not stand between loops which could be one.
    starts: the unit that adds to the accumulators which this one starts.
    guarded: must not run before an earlier check. made: the buffer that the unit fills, where it does nothing else.
    """

    order: tuple[int, ...]
    axes: tuple[Axis, ...] = ()
    body: list[Assign | Put] = field(default_factory=list)
    folding: Folding | None = None
    emit: Callable[[], list[Stmt]] | None = None
    effects: list[Touch] = field(default_factory=list)
    needs: set[str] = field(default_factory=set)
    makes: set[str] = field(default_factory=set)
    raises: bool = False
    guarded: bool = True
    made: Buffer | None = None
    keep: bool = False
    early: bool = False
    starts: Unit | None = None
    path: tuple[str, ...] = ()
    _touches: list[Touch] | None = None

    def touches(self) -> list[Touch]:
        """Every buffer access of the unit."""
        if self._touches is None:
            self._touches = list(self._collect())
        return self._touches

    def _collect(self) -> Iterator[Touch]:
        yield from self.effects
        if self.folding is not None:
            yield from reads_of(self.folding.operand)
            if self.folding.result is not None:
                yield Touch(self.folding.result, self.folding.index, WRITE)
        for stmt in self.body:
            yield from reads_of(stmt.expr)
            if isinstance(stmt, Put):
                for part in stmt.index:
                    if not isinstance(part, Lin):
                        yield from reads_of(part)
                yield Touch(stmt.buffer, stmt.index, ADD if stmt.add else WRITE)

    def exprs(self) -> Iterator[Expr]:
        """Every expression of the body, with those in indices."""
        if self.folding is not None:
            yield self.folding.operand
        for stmt in self.body:
            yield stmt.expr
            if isinstance(stmt, Put):
                for part in stmt.index:
                    yield Int(part) if isinstance(part, Lin) else part

    def bind(self, replace: dict[str, Lin]) -> None:
        """Replace "@k" in the body and in the extents of the remaining axes."""
        self._rebuild(keep, lambda lin: lin.substitute(replace))

    def substitute(self, change: Callable[[Expr], Expr | None]) -> None:
        """Replace expressions of the body; `change` gives None for those that stay."""
        self._rebuild(change, lambda lin: lin)

    def _rebuild(self, change: Callable[[Expr], Expr | None], lins: Callable[[Lin], Lin]) -> None:
        if self.folding is not None:
            f = self.folding
            f.operand = rebuild(f.operand, change, lins)
            f.index = rebuild_index(f.index, change, lins)
        for stmt in self.body:
            stmt.expr = rebuild(stmt.expr, change, lins)
            if isinstance(stmt, Put):
                stmt.index = rebuild_index(stmt.index, change, lins)
        self._touches = None


def keep(expr: Expr) -> Expr | None:
    """The `change` of a rebuild that changes no expression."""
    return None


def reads_of(expr: Expr) -> Iterator[Touch]:
    """The loads of an expression as touches."""
    for part in walk(expr):
        if isinstance(part, Load):
            yield Touch(part.buffer, part.index, READ)


def names_in(exprs: Sequence[Any]) -> set[str]:
    """Scalar variables that expressions and affine integers read ("@k" excluded)."""
    found: set[str] = set()
    for expr in exprs:
        if isinstance(expr, Lin):
            found.update(n for n, _ in expr.terms if n[0] != "@")
            continue
        for part in walk(expr):
            if isinstance(part, Var):
                found.add(part.name)
            elif isinstance(part, Int):
                found.update(n for n, _ in part.lin.terms if n[0] != "@")
            elif isinstance(part, Load):
                for index in part.index:
                    if isinstance(index, Lin):
                        found.update(n for n, _ in index.terms if n[0] != "@")
    return found
