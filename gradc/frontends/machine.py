"""The state of an interpretation: builder, frames, captured names, static leaves, snapshots, broken aliases.

Expressions, calls, statements and control flow are classes on top of this one (`from_python.Interpreter` has them all).
"""

from __future__ import annotations

import ast
import dataclasses
import enum
import sys
import types
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NoReturn

import numpy as np

from gradc.errors import GradcError, Loc, UnsupportedError
from gradc.frontends.bindings import (
    AttributeFetch,
    Binding,
    CellFetch,
    Collected,
    Fetch,
    Frame,
    GlobalFetch,
    Iteration,
    Key,
    MaybeUnbound,
    NeedDecision,
    NeedStatic,
    NeedUnroll,
    PathEnds,
    Poison,
    content_of,
    describe,
    is_array,
    is_mutable,
    is_number,
    replace_content,
    walk_binding,
)
from gradc.frontends.liveness import reads
from gradc.frontends.orders import Orders, reshapes
from gradc.ir.builder import Builder
from gradc.ir.effects import roots
from gradc.ir.nodes import Block, Func, Node, Value
from gradc.ir.opdef import OpDef
from gradc.ir.program import Capture, Guard, leaf_type
from gradc.ir.tree import LEAF_TYPES, flatten, is_structure, leaf_names, unflatten
from gradc.ir.types import Array, Dim, Scalar, Size, Type, clamp_size, scalar_of_python, size_variables
from gradc.ops import TABLE
from gradc.ops.memory import dim

_LIBRARIES = frozenset(sys.stdlib_module_names) | {"numpy", "scipy", "numba", "gradc"}


class FrontBuilder(Builder):
    """A builder that knows which block each value was made in, and reports writes."""

    def __init__(self, func: Func) -> None:
        super().__init__(func)
        self.owner: dict[Value, Block] = dict.fromkeys(func.params, func.body)
        self.open: list[Block] = [func.body]
        self.on_write: Callable[[Value], None] | None = None

    @contextmanager
    def into(self, block: Block) -> Iterator[Block]:
        """Nodes made inside go to `block`."""
        self.open.append(block)
        for param in block.params:
            self.owner[param] = block
        try:
            with super().into(block):
                yield block
        finally:
            self.open.pop()

    def _insert(self, op: OpDef, operands: list[Value], attrs: dict[str, Any], types: list[Type]) -> list[Value]:
        if op.kind == "write" and self.on_write is not None:
            self.on_write(operands[0])
        made = super()._insert(op, operands, attrs, types)
        for value in made:
            self.owner[value] = self.block
        return made

    def adopt(self, values: Sequence[Value]) -> None:
        """Results of nodes that were put at the end of the block by other means."""
        self.owner.update(dict.fromkeys(values, self.block))

    def in_scope(self, value: Value) -> bool:
        """Whether `value` can be used in the current block."""
        return self.owner.get(value) in self.open


@dataclass(frozen=True, slots=True)
class Link:
    """Two sets of buffers that are one in Python but two here: writing one while the other is in use is refused.

    remedy: what to decide for there to be no such link, at the cost of slower code.
    """

    one: frozenset[Value]
    other: frozenset[Value]
    name: str
    remedy: Any = None


@dataclass(slots=True)
class Snapshot:
    """Everything that interpreting a branch or a loop may change."""

    envs: list[tuple[Frame, dict[str, Binding], list[dict[str, Binding]]]]
    heap: list[tuple[Any, Any]]
    links: tuple[Link, ...]
    equal: list[dict[str, Size]]
    block: Block
    nodes: int

    def content(self, container: Any) -> Any:
        """What a mutable structure held."""
        for known, content in self.heap:
            if known is container:
                return content
        return content_of(container)


class Machine:
    """State of one interpretation."""

    def __init__(self, func: Func, frozen: Mapping[Key, Any], decisions: frozenset[Any] = frozenset()) -> None:
        self.func = func
        self.decisions = decisions
        self.builder = FrontBuilder(func)
        self.builder.on_write = self.note_write
        self.frozen = frozen
        self.used_frozen: set[Key] = set()
        self.frames: list[Frame] = []
        self.captures: list[Capture] = []
        self.guards: dict[Key, Guard] = {}
        self.known: dict[Key, tuple[Fetch, Binding]] = {}
        self.fetch_of: dict[int, tuple[Any, Fetch]] = {}
        self.key_of: dict[Value, Key] = {}
        self.position_of: dict[Key, int] = {}
        self.examples: dict[Key, Any] = {}
        self.loop_of: dict[Value, object] = {}
        self.links: tuple[Link, ...] = ()
        self._held: list[Binding] = []
        self.orders = Orders()
        self.rebinds: list[Loc] = []
        self.outside: list[Any] = []  # mutable structures that the caller owns
        self.active: list[object] = []  # loops that are being interpreted
        self.in_message = False  # the message of a raise or assert is being read
        self.written: set[Value] = set()  # buffers that the user's statements write into
        self.ruled: Any = None  # calls of functions with derivative rules of the user
        self.plans: dict[Any, Any] = {}  # what was found out about loops that are interpreted again

    # ------------------------------------------------------------------------------------- forwards

    def eval(self, node: ast.expr) -> Binding:
        """The binding that an expression stands for."""
        raise NotImplementedError

    # ---------------------------------------------------------------------------------------- places

    @property
    def frame(self) -> Frame:
        """The call that is being interpreted."""
        return self.frames[-1]

    def loc(self, node: ast.AST) -> Loc:
        """The place of `node` in the user's file; inside of what gradc has written, that of the user's call."""
        frame = self.frame
        return frame.site if frame.hidden else frame.source.loc(node)

    @contextmanager
    def at(self, node: ast.AST) -> Iterator[None]:
        """Nodes made inside, and errors without a place, belong to `node`."""
        before = self.builder.loc
        if hasattr(node, "lineno"):
            self.builder.loc = self.loc(node)
        try:
            yield
        except GradcError as error:
            if error.loc is None:
                raise type(error)(error.what, self.builder.loc, error.why, error.hint) from None
            raise
        finally:
            self.builder.loc = before

    def refuse(self, what: str, why: str = "", hint: str = "") -> NoReturn:
        """Raise UnsupportedError at the current place."""
        raise UnsupportedError(what, self.builder.loc, why, hint)

    def fail(self, error: str, message: str, cond: Any = False) -> None:
        """Add a check: where `cond` does not hold, the exception `error` is raised. A literal False ends the path."""
        if cond is True:
            return
        self.builder.emit("check", (cond,), error=error, message=message)
        if cond is False:
            raise PathEnds

    # ----------------------------------------------------------------------------------------- names

    def look_up(self, name: str) -> Binding:
        """The binding of a name, wherever Python would find it."""
        for overlay in reversed(self.frame.overlays):
            if name in overlay:
                return self.read(name, overlay[name])
        frame: Frame | None = self.frame
        while frame is not None:
            for overlay in reversed(frame.overlays):
                if name in overlay:
                    return self.read(name, overlay[name])
            if name in frame.locals:
                if name not in frame.env:
                    self.fail("UnboundLocalError", f"cannot access local variable '{name}' where it has no value")
                return self.read(name, frame.env[name])
            if frame.parent is None:
                break
            frame = frame.parent
        assert frame is not None
        return self.read(name, self._outer_name(frame, name))

    def _outer_name(self, frame: Frame, name: str) -> Binding:
        function = frame.function
        code = function.__code__
        if name in code.co_freevars:
            cell = function.__closure__[code.co_freevars.index(name)]
            try:
                return self.external(cell.cell_contents, CellFetch(cell, name))
            except ValueError:
                self.refuse(f"the closure variable {name!r} has no value yet")
        fetch = GlobalFetch(function.__globals__, name)
        try:
            value = fetch()
        except KeyError:
            self.refuse(f"name {name!r} is not defined")
        if name not in function.__globals__:
            return value  # a builtin
        return self.external(value, fetch)

    def read(self, name: str, b: Binding) -> Binding:
        """A binding as it is used: checked where it may be unbound, refused where it cannot be compiled."""
        if isinstance(b, MaybeUnbound):
            self.fail("UnboundLocalError", f"cannot access local variable '{name}' where it has no value", b.flag())
            return self.read(name, b.inner)
        if isinstance(b, Poison):
            if any(isinstance(k, tuple) or k in self.active for k in b.needs):
                self.need(b.needs)
            raise b.error
        return b

    def need(self, needs: frozenset[Any]) -> NoReturn:
        """Start again with these leaves known, or with these loops written out."""
        keys = frozenset(k for k in needs if isinstance(k, tuple))
        if keys:
            raise NeedStatic(keys)
        for loop in reversed(self.active):
            if loop in needs:
                raise NeedUnroll(loop)
        self.refuse(
            "a value that a loop computes must be known when the function is compiled",
            "the number of items or the kind of a value depends on it.", "use a literal, or an argument.",
        )

    def bind(self, name: str, b: Binding) -> None:
        """Bind a local name; a value without a name gets this one."""
        if isinstance(b, Value) and not b.name and not name.startswith("$"):
            b.name = name
        for overlay in reversed(self.frame.overlays):
            if name in overlay:
                overlay[name] = b
                return
        self.frame.env[name] = b

    # ------------------------------------------------------------------------------------- externals

    def external(self, value: Any, fetch: Fetch) -> Binding:
        """The binding of something outside the function that is read at every call."""
        key = fetch.key()
        if key in self.known:
            return self.known[key][1]
        binding = self._external(value, fetch, key)
        self.known[key] = (fetch, binding)
        return binding

    def _external(self, value: Any, fetch: Fetch, key: Key) -> Binding:
        data = isinstance(value, LEAF_TYPES) and not isinstance(value, enum.Enum)
        if data or is_structure(value):
            leaves, tree = flatten(value)
            names = leaf_names(tree, fetch.name)
            first = len(self.func.params)
            values = [self.add_leaf((*key, j), leaf, names[j]) for j, leaf in enumerate(leaves)]
            self.captures.append(Capture(fetch.name, fetch, tree, first, len(leaves)))
            binding = unflatten(tree, values)
            self.outside += [b for b in walk_binding(binding) if is_mutable(b)]
            return binding
        code = value.__code__ if isinstance(value, types.FunctionType) else None
        self.guards[key] = Guard(fetch.name, fetch, value, code)
        self.fetch_of[id(value)] = (value, fetch)
        return value

    def add_leaf(self, key: Key, leaf: Any, name: str) -> Binding:
        """A parameter of the program for one leaf; its binding is the number itself where it was needed."""
        value = Value(leaf_type(leaf, self._fresh_name(name)), name)
        self.position_of[key] = len(self.func.params)
        self.func.params.append(value)
        self.builder.owner[value] = self.func.body
        self.key_of[value] = key
        self.examples[key] = leaf
        if key in self.frozen:
            self.used_frozen.add(key)
            return self.frozen[key]
        return value

    def _fresh_name(self, name: str) -> str:
        # Names of size variables must differ between parameters, also from those that the types of a caller bring.
        arrays = [p.ty for p in self.func.params if isinstance(p.ty, Array)]
        used = {v.rpartition("_")[0] for ty in arrays for size in ty.shape for v in size_variables(size)}
        used |= {p.name for p in self.func.params}
        fresh, k = name, 2
        while fresh in used:
            fresh, k = f"{name}_{k}_", k + 1
        return fresh

    def attribute_of_object(self, obj: Any, name: str) -> Binding:
        """An attribute of a module, class or other object known while compiling."""
        try:
            value = getattr(obj, name)
        except AttributeError:
            what = f"module {obj.__name__!r}" if isinstance(obj, types.ModuleType) else describe(obj)
            self.refuse(f"{what} has no attribute {name!r}")
        module = obj.__name__ if isinstance(obj, types.ModuleType) else getattr(obj, "__module__", "") or ""
        if module.split(".")[0] in _LIBRARIES and not is_array_like(value):
            return value
        known = self.fetch_of.get(id(obj))
        if known is None:
            return value if not isinstance(value, np.ndarray) else self.refuse(f"{name} of {describe(obj)} is an array")
        return self.external(value, AttributeFetch(known[1], name))

    # ---------------------------------------------------------------------------------------- values

    def value(self, b: Binding) -> Value:
        """A number or array as a value."""
        if isinstance(b, Value):
            return b
        if is_number(b):
            return self.builder.const(b)
        if isinstance(b, Collected):
            return b.array
        if isinstance(b, list | tuple) and type(b) in (list, tuple):
            made: Value = self.call_table(np.array, b)
            return made
        return self.refuse(f"{describe(b)} is not a number or an array")

    def call_table(self, target: Any, *args: Any, **keywords: Any) -> Any:
        """What the op table does for a NumPy function."""
        from gradc.ops import CALLS

        return CALLS[target].build(*args, **keywords)

    def emit(self, op: str, *operands: Any, **attrs: Any) -> Any:
        """A node by op name."""
        return self.builder.emit(op, operands, **attrs)

    def scalar(self, b: Binding, what: str) -> Binding:
        """A number, known or not; an array without axes is read."""
        if isinstance(b, MaybeUnbound | Poison):
            b = self.read(what, b)
        if is_number(b):
            return b
        if isinstance(b, Value):
            if isinstance(b.ty, Scalar):
                return b
            if b.rank == 0:
                return self.emit("load", b, region=())
        return self.refuse(f"{what} is {describe(b)}, not a number")

    @staticmethod
    def scalar_type(b: Binding) -> Scalar | None:
        """The type of a number, known or not; None for anything else."""
        if is_number(b):
            return Scalar(b.dtype.name) if isinstance(b, np.generic) else scalar_of_python(b)
        return b.ty if isinstance(b, Value) and isinstance(b.ty, Scalar) else None

    # ---------------------------------------------------------------------------------------- static

    def static(self, b: Binding, what: str) -> Any:
        """The Python object that `b` is; where it is a leaf's value, the program is built again for that value."""
        if not isinstance(b, Value):
            return b
        if b.node is not None and b.node.op.name == "const":
            return b.node.attrs["value"]
        needs = self.dependencies(b)
        if needs is None:
            self.refuse(
                f"{what} must be known when the function is compiled",
                "it is computed from array contents or sizes, which differ from call to call.",
                "use a literal, or a Python number passed as an argument.",
            )
        return self.need(needs)

    def static_int(self, b: Binding, what: str) -> int:
        """A static integer."""
        found = self.static(b, what)
        if isinstance(found, bool) or not isinstance(found, int | np.integer):
            self.refuse(f"{what} is {describe(found)}, not an integer")
        return int(found)

    def dependencies(self, b: Value) -> frozenset[Any] | None:
        """Leaves and loops that decide the value of a scalar; None where data does too."""
        found: set[Any] = set()
        pending, seen = [b], set()
        while pending:
            v = pending.pop()
            if v in seen:
                continue
            seen.add(v)
            if v.node is None:
                if v in self.key_of and isinstance(v.ty, Scalar):
                    found.add(self.key_of[v])
                elif v in self.loop_of:
                    found.add(self.loop_of[v])
                else:
                    return None
            elif v.node.op.name == "if":
                k = v.node.results.index(v)
                pending += [v.node.operands[0], *(block.yields[k] for block in v.node.blocks)]
            elif v.node.op.kind == "elementwise" and isinstance(v.ty, Scalar):
                pending += v.node.operands
            else:
                return None
        return frozenset(found)

    # -------------------------------------------------------------------------------------- snapshots

    def take(self) -> Snapshot:
        """The state as it is now."""
        envs = [(f, dict(f.env), [dict(o) for o in f.overlays]) for f in self.frames]
        heap = [(c, content_of(c)) for c in self.containers()]
        equal = [dict(scope) for scope in self.builder._equal]
        return Snapshot(envs, heap, self.links, equal, self.builder.block, len(self.builder.block.nodes))

    def restore(self, snapshot: Snapshot, drop_nodes: bool = False) -> None:
        """Go back to a snapshot; with `drop_nodes` also forget nodes added to its block since."""
        del self.frames[len(snapshot.envs) :]
        for frame, env, overlays in snapshot.envs:
            frame.env = dict(env)
            frame.overlays = [dict(o) for o in overlays]
        for container, content in snapshot.heap:
            replace_content(container, content)
        self.links = snapshot.links
        if drop_nodes:
            del snapshot.block.nodes[snapshot.nodes :]
            self.builder._equal[:] = [dict(scope) for scope in snapshot.equal]

    def containers(self) -> list[Any]:
        """Mutable structures that names can reach."""
        seen: set[int] = set()
        found: list[Any] = []
        for frame in self.frames:
            for scope in (frame.env, *frame.overlays):
                for b in scope.values():
                    found += [x for x in walk_binding(b, seen) if is_mutable(x)]
        return found

    @contextmanager
    def holding(self, b: Binding) -> Iterator[None]:
        """While this lasts, `b` is in use though no name may lead to it: a loop goes through it."""
        self._held.append(b)
        try:
            yield
        finally:
            self._held.pop()

    def reachable(self, live_only: bool = True) -> Iterator[Binding]:
        """Bindings that may still be used, outermost call first."""
        seen: set[int] = set()
        for b in self._held:
            yield from walk_binding(b, seen)
        for k, frame in enumerate(self.frames):
            for name, b in frame.env.items():
                if not live_only or name in frame.live or (k < len(self.frames) - 1 and name in frame.locals):
                    yield from walk_binding(b, seen)
            for overlay in frame.overlays:
                for b in overlay.values():
                    yield from walk_binding(b, seen)
            if frame.parent is not None:
                parent: Frame | None = frame.parent
                while parent is not None:
                    for b in parent.env.values():
                        yield from walk_binding(b, seen)
                    parent = parent.parent

    # ----------------------------------------------------------------------------------------- links

    def link(self, one: frozenset[Value], other: frozenset[Value], name: str, remedy: Any = None) -> None:
        """Remember that Python would have one buffer where there are two."""
        if one and other and one != other:
            self.links = (*self.links, Link(one, other, name, remedy))

    def aliases(self, buffers: frozenset[Value]) -> frozenset[Value]:
        """Buffers, with those that are one with them in Python."""
        found, before = buffers, frozenset[Value]()
        while found != before:
            before = found
            for link in self.links:
                if link.one & found or link.other & found:
                    found |= link.one | link.other
        return found

    def remedy_for(self, buffers: frozenset[Value]) -> Any:
        """A decision that would leave these buffers without a broken alias."""
        for link in self.links:
            if link.remedy is not None and link.remedy not in self.decisions and (link.one | link.other) & buffers:
                return link.remedy
        return None

    def note_write(self, target: Value) -> None:
        """Refuse a write that a broken alias would not see."""
        written = roots(target)
        self.written |= written
        for value in written:
            node = part_node(value)
            if node is not None and self.shares_memory(value):
                self.refuse(
                    f"a view of `.{node.op.name}` is written",
                    "gradc's real and imaginary parts are copies; what is stored to one directly goes to the array.",
                    f"index the array first, then take the part: z[1:].{node.op.name}[0] = v.",
                )
        self._note_orders(target, written)
        for link in self.links:
            for mine, other in ((link.one, link.other), (link.other, link.one)):
                if written & mine and self.is_used(other):
                    if link.remedy is not None and link.remedy not in self.decisions:
                        raise NeedDecision(link.remedy)
                    name = f"`{link.name}`" if link.name else "this array"
                    self.refuse(
                        f"{name} may be the same array as another one that is still used",
                        "a branch or loop made it a copy, and this write would have to change both.",
                        "copy it where it is assigned: `b = a.copy()`.",
                    )

    def _note_orders(self, target: Value, written: frozenset[Value]) -> None:
        """Refuse a write that a reshaped view would see here, and NumPy's copy would not."""
        unsure = frozenset(r for r in written if not self.orders.is_c(r) and r.node is not None)
        if not unsure:
            return
        ways = reshapes(target)
        for b in self.reachable():
            if is_array(b) and roots(b) & unsure:
                ways |= reshapes(b)
        if len(ways) > 1:
            self.refuse(
                "this write would reach an array and a reshaped view of it, or in NumPy only one of them",
                "NumPy keeps the order of what an array was computed from, so its reshape or ravel may be a copy.",
                "make the array with .copy(), or np.ascontiguousarray, before it is reshaped.",
            )

    def is_used(self, buffers: frozenset[Value]) -> bool:
        """Whether any of these buffers is a parameter or can be reached by a live name."""
        if any(b.node is None for b in buffers):
            return True
        return any(is_array(b) and roots(b) & buffers for b in self.reachable())

    def shares_memory(self, part: Value) -> bool:
        """Whether what is stored in a real or imaginary part would be seen elsewhere, were it a view as in NumPy."""
        node = part.node
        assert node is not None
        whole = roots(node.operands[0])
        if self.is_used(whole):
            return True
        for b in self.reachable():
            for other in roots(b) if is_array(b) else ():
                twin = part_node(other)
                if twin is not None and other is not part and twin.op is node.op and roots(twin.operands[0]) & whole:
                    return True
        return False

    # ----------------------------------------------------------------------------------------- sizes

    def materialise(self, size: Size, candidates: Sequence[Value]) -> int | Value | None:
        """An integer value for a dimension, from arrays and integers in scope; None where there is none."""
        size = self.builder.canonical_size(size)
        if isinstance(size, int):
            return size
        for value in candidates:
            if isinstance(value.ty, Array):
                for axis, own in enumerate(value.shape):
                    if self.builder.canonical_size(own) == size:
                        made: Value = dim(value, axis=axis)
                        return made
            elif value.size is not None and self.builder.canonical_size(value.size) == size:
                return value
        if len(size.terms) == 1 and size.terms[0][1] == 1 and len(size.terms[0][0]) == 1:
            atom = size.terms[0][0][0]
            if atom.inner is None:
                return None
            inner = self.materialise(atom.inner, candidates)
            if inner is None:
                return None
            result: Value = self.emit("maximum", inner, 0)
            result.size = size
            return result
        total: Any = None
        for atoms, coefficient in size.terms:
            term: Any = coefficient
            for atom in atoms:
                one: Size = clamp_size(atom.inner) if atom.inner is not None else Dim((((atom,), 1),))
                factor = self.materialise(one, candidates)
                if factor is None:
                    return None
                term = factor if isinstance(term, int) and term == 1 else self.builder.emit("mul", (factor, term))
            total = term if total is None else self.builder.emit("add", (total, term))
        return total if isinstance(total, Value) else None

    def sources(self) -> list[Value]:
        """Values in scope that sizes can be taken from."""
        found: list[Value] = list(self.func.params)
        seen: set[int] = set()
        for frame in self.frames:
            for b in frame.env.values():
                found += [v for v in walk_binding(b, seen) if isinstance(v, Value)]
        return [v for v in found if self.builder.in_scope(v)]


def part_node(b: Value) -> Node | None:
    """The node that takes the real or imaginary part of an array, where `b` is what it gives."""
    node = b.node
    return node if node is not None and node.op.name in ("real", "imag") and isinstance(b.ty, Array) else None


def is_array_like(value: Any) -> bool:
    """Whether a Python object is an array."""
    return isinstance(value, np.ndarray)


def field_names(cls: type) -> tuple[str, ...]:
    """Names of a dataclass's fields."""
    return tuple(f.name for f in dataclasses.fields(cls))


__all__ = ["TABLE", "FrontBuilder", "Iteration", "Link", "Machine", "Snapshot", "field_names", "reads"]
