"""What a loop carries from one iteration to the next: the plan that interpreting its body fills in.

Numbers are carried. An array that is rebound is one of three things: the same buffer; one of a few buffers (or views
of them) that exist before the loop (`u, v = v, u`), chosen by a carried selector; or a new array in each iteration, for
which there is one storage buffer, filled at the end of each iteration. docs/design.md, invariant 2, says why.
"""

from __future__ import annotations

import ast
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from gradc.frontends.bindings import Binding, DynamicRange
from gradc.frontends.merge import Template
from gradc.ir.nodes import Value
from gradc.ir.types import Scalar, Size

Path = tuple[Any, ...]
BOUND = "$bound"


@dataclass(slots=True)
class Carried:
    """A number that goes from iteration to iteration; `flagged`: with a boolean that says whether it is bound."""

    ty: Scalar
    flagged: bool = False


@dataclass(slots=True)
class Storage:
    """An array that is made anew in every iteration. `shape`: where nothing is bound to the name before the loop.

    initial: in the first iteration it is the array from before the loop itself, not a copy; the body writes into it.
    """

    dtype: str
    shape: tuple[Size, ...] | None = None
    flagged: bool = False
    initial: bool = False


@dataclass(slots=True)
class Choice:
    """A reference to one of the buffers of a group."""

    group: Group
    flagged: bool = False


@dataclass(eq=False, slots=True)
class Group:
    """Buffers that names are swapped between, and views of them at positions that an iteration chooses."""

    candidates: list[Value | Template] = field(default_factory=list)

    def find(self, candidate: Value | Template) -> int | None:
        """Position of a candidate."""
        for k, known in enumerate(self.candidates):
            if known is candidate or (isinstance(known, Template) and known.same(candidate)):
                return k
        return None

    def join(self, candidate: Value | Template) -> int:
        """Position of a candidate; a new one is added."""
        k = self.find(candidate)
        if k is None:
            self.candidates.append(candidate)
            k = len(self.candidates) - 1
        return k


@dataclass(slots=True)
class Plan:
    """What is known about a loop so far, by path: a name or an item of a structure."""

    leaves: dict[Path, Carried | Storage | Choice] = field(default_factory=dict)
    fresh: set[Path] = field(default_factory=set)
    links: set[tuple[Path, Path]] = field(default_factory=set)
    outer_links: dict[Path, tuple[frozenset[Value], Any]] = field(default_factory=dict)  # with a remedy
    shapes: dict[Path, tuple[type, tuple[Any, ...]]] = field(default_factory=dict)
    changed: bool = False

    def set(self, path: Path, leaf: Carried | Storage | Choice) -> None:
        """Decide about a path; the body is interpreted again."""
        self.leaves[path] = leaf
        self.changed = True

    def settled(self) -> Plan:
        """What stays true when an outer loop is interpreted again (references do not)."""
        leaves: dict[Path, Carried | Storage | Choice] = {
            p: leaf for p, leaf in self.leaves.items() if not isinstance(leaf, Choice)
        }
        return Plan(leaves, set(self.fresh), shapes=dict(self.shapes))

    def touches(self, path: Path) -> bool:
        """Whether anything at or below `path` is planned."""
        return any(p[: len(path)] == path for p in (*self.leaves, *self.fresh))


@dataclass(slots=True)
class Slots:
    """Carried operands, the parameters of one block that stand for them, and what the body yields."""

    inits: list[Value] = field(default_factory=list)
    types: list[Scalar] = field(default_factory=list)
    names: list[str] = field(default_factory=list)
    where: dict[Path, int] = field(default_factory=dict)
    flags: dict[Path, int] = field(default_factory=dict)
    storage: dict[Path, Value] = field(default_factory=dict)
    moved: dict[Path, int] = field(default_factory=dict)  # whether storage has taken over from the initial array
    positions: dict[tuple[Path, int], list[int]] = field(default_factory=dict)  # of views, by candidate

    def add(self, init: Value, ty: Scalar, name: str) -> int:
        self.inits.append(init)
        self.types.append(ty)
        self.names.append(name)
        return len(self.inits) - 1

    def params(self) -> list[Value]:
        """New block parameters."""
        return [Value(ty, name) for ty, name in zip(self.types, self.names, strict=True)]


@dataclass(slots=True)
class ForHeader:
    """Bounds of a `for` loop, and what its target is bound to at an index."""

    start: Binding
    stop: Binding
    step: Binding
    item: Callable[[Any], Binding]
    target: ast.expr
    mark: tuple[str, int] | None = None

    @property
    def is_static(self) -> bool:
        return not any(isinstance(b, Value) for b in (self.start, self.stop, self.step))

    @property
    def range(self) -> range | DynamicRange:
        if self.is_static:
            return range(self.start, self.stop, self.step)
        return DynamicRange(self.start, self.stop, self.step)

    @property
    def runs(self) -> bool:
        """Whether the loop certainly runs."""
        return self.is_static and len(range(self.start, self.stop, self.step)) > 0

    def rest(self, start: Binding) -> ForHeader:
        """The iterations from `start` on."""
        return ForHeader(start, self.stop, self.step, self.item, self.target, self.mark)
