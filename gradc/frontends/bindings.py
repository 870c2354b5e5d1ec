"""What a name is bound to while a function is interpreted, and the signals that steer the interpretation.

A binding is an IR `Value`, or a Python object known while compiling: numbers written in the source, None, strings,
functions, modules, types, slices, ranges. Tuples, lists, dicts, named tuples and dataclasses hold bindings; lists,
dicts and dataclasses keep their identity, so that aliases of them see changes.
"""

from __future__ import annotations

import ast
import dataclasses
import inspect
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np

from gradc.errors import UnsupportedError
from gradc.frontends.liveness import Names
from gradc.frontends.source import FunctionSource
from gradc.ir.nodes import Value
from gradc.ir.tree import children, is_structure
from gradc.ir.types import Array, Scalar

Binding: TypeAlias = Any
Key: TypeAlias = tuple[Any, ...]  # names a leaf of the arguments or of a capture

NUMBERS = (bool, int, float, complex, np.number, np.bool_)


# -------------------------------------------------------------------------------------------- bindings


class _Missing:
    """A name without a value."""

    def __repr__(self) -> str:
        return "<unbound>"


MISSING = _Missing()


@dataclass(eq=False, slots=True)
class Poison:
    """A name whose value cannot be compiled; reading it raises `error`, or asks for static values that would help."""

    error: UnsupportedError
    needs: frozenset[Any] = frozenset()


@dataclass(eq=False, slots=True)
class MaybeUnbound:
    """A name that has a value only on some paths; `flag()` gives the boolean that says whether it has."""

    inner: Binding
    flag: Callable[[], Value]


@dataclass(eq=False, slots=True)
class Closure:
    """A nested definition or a lambda, with the frame that it was defined in."""

    source: FunctionSource
    frame: Frame
    defaults: tuple[Binding, ...]
    keyword_defaults: dict[str, Binding]


@dataclass(eq=False, slots=True)
class Method:
    """An attribute of a binding that is called: `x.sum`, `items.append`."""

    base: Binding
    name: str


@dataclass(eq=False, slots=True)
class Partial:
    """functools.partial with bindings."""

    callee: Binding
    args: tuple[Binding, ...]
    keywords: dict[str, Binding]


@dataclass(eq=False, slots=True)
class DynamicRange:
    """range(...) with a bound that is known at run time only."""

    start: Binding
    stop: Binding
    step: Binding


@dataclass(eq=False, slots=True)
class Iteration:
    """Something to loop over at run time: a length, the item at a position, and what the items are taken from."""

    length: int | Value
    item: Callable[[Any], Binding]
    of: tuple[Binding, ...]


class Items(list[Any]):
    """Items of known number, some of them read from arrays; `item(k)` reads one when the loop gets there."""

    def __init__(self, count: int, item: Callable[[int], Binding], of: tuple[Binding, ...]) -> None:
        super().__init__(item(k) for k in range(count))
        self.item = item
        self.of = of


def item_of(items: list[Binding], k: int) -> Binding:
    """Item `k`, read now where it is read from an array."""
    return items.item(k) if isinstance(items, Items) else items[k]


@dataclass(eq=False, slots=True)
class InBlocks:
    """What gradc.checkpoint gives in the header of a loop: what to loop over, or a condition, with the loop's mark."""

    header: Binding
    mark: tuple[str, int]


@dataclass(eq=False, slots=True)
class Collected:
    """A list comprehension over a length that is known at run time only: its items, along the first axis of an array.

    needs: what must be known for it to be a list instead.
    """

    array: Value
    needs: frozenset[Any]


@dataclass(eq=False, slots=True)
class Flat:
    """`x.flat`: the elements of an array in C order, which can be read, written and looped over."""

    base: Value


@dataclass(eq=False, slots=True)
class Generator:
    """A generator expression that has not been run."""

    node: ast.GeneratorExp
    frame: Frame
    overlays: tuple[dict[str, Binding], ...]


@dataclass(eq=False, slots=True)
class Frame:
    """A call that is being interpreted.

    parent: the frame a nested definition was made in. function: the Python function, whose cells and globals are read.
    overlays: names of comprehensions, innermost last. live: names that may be read after the current statement.
    code: the body in the form that is interpreted. site: the place of the call.
    signature: what the call was compiled for. hidden: a function of gradc that stands for one of NumPy: the user sees
    the place of the call instead.
    """

    source: FunctionSource
    function: Any
    parent: Frame | None
    locals: Names
    env: dict[str, Binding] = field(default_factory=dict)
    overlays: list[dict[str, Binding]] = field(default_factory=list)
    live: Names = frozenset()
    code: Any = None
    site: Any = None
    signature: Any = None
    hidden: bool = False


# -------------------------------------------------------------------------------------------- signals


class NeedStatic(Exception):  # a signal, not an error
    """The values of these leaves are needed while compiling: start again with them known."""

    def __init__(self, keys: frozenset[Key]) -> None:
        self.keys = keys
        self.values: dict[Key, Any] = {}
        self.leaves: list[Any] = []  # the `Typed` leaves among them
        super().__init__(keys)


class NeedUnroll(Exception):
    """The index of this loop is needed while compiling: write the loop out."""

    def __init__(self, loop: object) -> None:
        self.loop = loop
        super().__init__(loop)


class NeedDecision(Exception):
    """Something was compiled in a way that does not hold: start again with this decided."""

    def __init__(self, decision: Any) -> None:
        self.decision = decision
        super().__init__(decision)


class PathEnds(Exception):
    """What follows cannot be reached: an exception is raised here for certain."""


class Unstable(Exception):
    """A name is one kind of thing before a loop and another after an iteration."""

    def __init__(self, name: str, before: str, after: str, needs: frozenset[Any] = frozenset()) -> None:
        self.name = name
        self.before = before
        self.after = after
        self.needs = needs
        super().__init__(name, before, after)


# -------------------------------------------------------------------------------------------- fetching


@dataclass(frozen=True, slots=True, eq=False)
class GlobalFetch:
    """A global or builtin name, as it is now."""

    namespace: dict[str, Any]
    name: str

    def __call__(self) -> Any:
        if self.name in self.namespace:
            return self.namespace[self.name]
        builtins = self.namespace.get("__builtins__")
        found = builtins if isinstance(builtins, dict) else vars(builtins)
        return found[self.name]

    def key(self) -> Key:
        return ("global", id(self.namespace), self.name)


@dataclass(frozen=True, slots=True, eq=False)
class CellFetch:
    """A closure variable, as it is now."""

    cell: Any
    name: str

    def __call__(self) -> Any:
        return self.cell.cell_contents

    def key(self) -> Key:
        return ("cell", id(self.cell))


@dataclass(frozen=True, slots=True, eq=False)
class AttributeFetch:
    """An attribute of something else that is fetched."""

    base: Fetch
    name: str

    def __call__(self) -> Any:
        return getattr(self.base(), self.name)

    def key(self) -> Key:
        return ("attribute", self.base.key(), self.name)


@dataclass(frozen=True, slots=True, eq=False)
class KnownFetch:
    """An object that cannot be rebound, such as a function that was passed in."""

    value: Any
    name: str

    def __call__(self) -> Any:
        return self.value

    def key(self) -> Key:
        return ("object", id(self.value))


@dataclass(frozen=True, slots=True, eq=False)
class ItemFetch:
    """An item of something else that is fetched."""

    base: Fetch
    item: Any
    name: str

    def __call__(self) -> Any:
        return self.base()[self.item]

    def key(self) -> tuple[Any, ...]:
        return ("item", self.base.key(), self.item)


@dataclass(frozen=True, slots=True, eq=False)
class DefaultFetch:
    """The default of a parameter, as it is now."""

    base: Fetch
    name: str

    def __call__(self) -> Any:
        return inspect.signature(self.base(), follow_wrapped=False).parameters[self.name].default

    def key(self) -> tuple[Any, ...]:
        return ("default", self.base.key(), self.name)


Fetch: TypeAlias = GlobalFetch | CellFetch | AttributeFetch | KnownFetch | ItemFetch | DefaultFetch


# -------------------------------------------------------------------------------------------- questions


def is_number(b: Binding) -> bool:
    """Whether a binding is a number known while compiling."""
    return isinstance(b, NUMBERS)


def is_array(b: Binding) -> bool:
    """Whether a binding is an array."""
    return isinstance(b, Value) and isinstance(b.ty, Array)


def is_scalar(b: Binding) -> bool:
    """Whether a binding is a number known at run time only."""
    return isinstance(b, Value) and isinstance(b.ty, Scalar)


def is_mutable(b: Binding) -> bool:
    """Whether a binding is structure that can change in place."""
    return isinstance(b, list | dict) or (is_structure(b) and not isinstance(b, tuple))


def contains_value(b: Binding) -> bool:
    """Whether a binding holds anything that is known at run time only."""
    if isinstance(b, Value | DynamicRange | Iteration | MaybeUnbound | Poison | Generator | Collected):
        return True
    if is_structure(b):
        return any(contains_value(item) for item in children(b)[1])
    if isinstance(b, slice):
        return any(contains_value(p) for p in (b.start, b.stop, b.step))
    return False


def walk_binding(b: Binding, seen: set[int] | None = None) -> Iterator[Binding]:
    """A binding and everything inside it; each mutable structure once."""
    seen = set() if seen is None else seen
    if isinstance(b, MaybeUnbound):
        yield from walk_binding(b.inner, seen)
        return
    if is_mutable(b):
        if id(b) in seen:
            return
        seen.add(id(b))
    yield b
    match b:
        case slice():
            parts: tuple[Any, ...] = (b.start, b.stop, b.step)
        case DynamicRange():
            parts = (b.start, b.stop, b.step)
        case Method():
            parts = (b.base,)
        case Collected():
            parts = (b.array,)
        case Iteration() | Items():
            parts = b.of
        case Partial():
            parts = (b.callee, *b.args, *b.keywords.values())
        case Closure():
            parts = (*b.defaults, *b.keyword_defaults.values())
            if id(b) not in seen:
                seen.add(id(b))
                frame: Frame | None = b.frame
                while frame is not None:
                    parts += tuple(frame.env.values())
                    frame = frame.parent
            else:
                parts = ()
        case _:
            parts = children(b)[1] if is_structure(b) else ()
    for part in parts:
        yield from walk_binding(part, seen)


def carried_values(b: Binding) -> Iterator[Value]:
    """Run-time values that a binding holds itself, without those that a function would look up when it is called."""
    if isinstance(b, Value):
        yield b
    elif isinstance(b, Closure):
        for part in (*b.defaults, *b.keyword_defaults.values()):
            yield from carried_values(part)
    elif not isinstance(b, MaybeUnbound | Poison):
        for part in walk_binding(b):
            if isinstance(part, Value):
                yield part


def replace_content(container: Any, items: Any) -> None:
    """Give a mutable structure the content `items` (a list or dict; for a dataclass a dict of fields)."""
    if isinstance(container, list):
        container[:] = items
    elif isinstance(container, dict):
        container.clear()
        container.update(items)
    else:
        for name, item in items.items():
            object.__setattr__(container, name, item)


def content_of(container: Any) -> Any:
    """A copy of what a mutable structure holds, in the form that `replace_content` takes."""
    if isinstance(container, list):
        return list(container)
    if isinstance(container, dict):
        return dict(container)
    return {f.name: getattr(container, f.name) for f in dataclasses.fields(container)}


def describe(b: Binding) -> str:
    """What a binding is, for messages."""
    if b is None:
        return "None"
    if b is MISSING:
        return "unbound"
    if isinstance(b, MaybeUnbound):
        return describe(b.inner)
    if is_array(b):
        return f"an array of {b.dtype} with {b.rank} {'axis' if b.rank == 1 else 'axes'}"
    if is_scalar(b):
        return f"a number ({b.dtype})"
    if is_number(b):
        return f"the number {b!r}"
    if isinstance(b, str):
        return f"the string {b!r}"
    if isinstance(b, Closure):
        return f"the function {b.source.name}"
    if isinstance(b, DynamicRange):
        return "a range"
    if isinstance(b, InBlocks):
        return "a loop's header with gradc.checkpoint"
    if isinstance(b, Collected):
        return "a list whose length is known at run time only"
    if isinstance(b, Flat):
        return "an array's .flat"
    if isinstance(b, list | tuple | dict):
        return f"a {type(b).__name__} of {len(b)}"
    if callable(b):
        return f"the function {getattr(b, '__name__', type(b).__name__)}"
    return f"an object of type {type(b).__name__}"


def bare(b: Binding) -> Binding:
    """A binding without the doubt whether its name is bound."""
    return b.inner if isinstance(b, MaybeUnbound) else b
