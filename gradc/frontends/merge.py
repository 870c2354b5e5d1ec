"""Two branches become one: numbers are yielded, arrays become references or storage made before the branch.

    if c: y = np.tanh(x)                      y1 = empty(shape of x)
    else: y = x                ->             if c: store(y1, tanh(x))
                                              y = select_ref(c, y1, x)
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from gradc.errors import UnsupportedError
from gradc.frontends.bindings import (
    MISSING,
    Binding,
    MaybeUnbound,
    PathEnds,
    Poison,
    bare,
    carried_values,
    content_of,
    describe,
    is_array,
    is_mutable,
    is_number,
    is_scalar,
    replace_content,
)
from gradc.frontends.calls import Calls
from gradc.frontends.liveness import Names
from gradc.frontends.machine import Link
from gradc.ir.effects import roots
from gradc.ir.nodes import Block, Node, Value
from gradc.ir.region import Arg, Span
from gradc.ir.tree import children, is_structure, rebuild
from gradc.ir.types import Array, Scalar, Size, promote_dtypes, scalar_of_python
from gradc.ops.memory import make_zeros

Thunk = Callable[[], Binding]


@dataclass(eq=False, slots=True)
class Template:
    """A view of `base` by the nodes of `chain`, at positions to be given."""

    base: Value
    chain: list[Node]

    @property
    def operands(self) -> list[Value]:
        """The positions that it was made with."""
        return [v for node in self.chain for v in node.operands[1:]]

    def same(self, other: object) -> bool:
        """Whether another template is this one at other positions."""
        if not isinstance(other, Template) or other.base is not self.base or len(other.chain) != len(self.chain):
            return False
        return all(
            a.op is b.op and all(a.attrs.get(name) == b.attrs.get(name) for name in ("region", "perm"))
            for a, b in zip(self.chain, other.chain, strict=True)
        )


@dataclass(slots=True)
class State:
    """What a branch left behind: the names of the current call, and what mutable structures hold."""

    env: dict[str, Binding]
    overlays: list[dict[str, Binding]]
    heap: dict[int, Any]
    result: Binding
    ends: bool
    links: tuple[Link, ...]


class Branches(Calls):
    """Interprets branches whose condition is known at run time only."""

    def choose(self, condition: Value, then: Thunk, otherwise: Thunk) -> Binding:
        """then() where the condition holds, else otherwise(); only one is run."""
        return self.branches(condition, then, otherwise, None)

    def branches(
        self, condition: Value, then: Thunk, otherwise: Thunk, live: Names | None, else_ends: bool = False
    ) -> Binding:
        """Run both sides in blocks of their own and merge what they leave.

        live: names that may be read later (None: all). else_ends: the second side certainly raises. A side
        that raises does not take part: the other one goes on in the current block.
        """
        before = self.take()
        containers = [c for c, _ in before.heap]
        if else_ends:
            block, state = self._run_side(otherwise, containers)
            self.restore(before)
            if state.ends:
                self._raise_where(self.emit("logical_not", condition), block)
                return then()
        then_block, first = self._run_side(then, containers)
        self.restore(before)
        if first.ends:
            self._raise_where(condition, then_block)
            return otherwise()
        else_block, second = self._run_side(otherwise, containers)
        self.restore(before)
        if second.ends:
            self._raise_where(self.emit("logical_not", condition), else_block)
            return then()
        merger = _Merger(self, condition, then_block, else_block)
        return merger.run(first, second, containers, live)

    def _run_side(self, side: Thunk, containers: list[Any]) -> tuple[Block, State]:
        block = Block()
        ends, result = False, None
        depth = len(self.frames)
        with self.builder.into(block):
            try:
                result = side()
            except PathEnds:
                ends = True
                del self.frames[depth:]
        heap = {id(c): content_of(c) for c in containers}
        env, overlays = dict(self.frame.env), [dict(o) for o in self.frame.overlays]
        return block, State(env, overlays, heap, result, ends, self.links)

    def _raise_where(self, condition: Value, block: Block) -> None:
        """A branch that always raises: a check where it does nothing else."""
        *before, last = block.nodes
        constant = last.operands[0].node if last.op.name == "check" else None
        bare = constant is not None and constant.op.name == "const" and all(n.op.name == "const" for n in before)
        if not bare:
            self.builder.control("if", [condition], [block, Block()], [])
            return
        block.nodes = [n for n in before if any(n.results[0] is v for v in last.operands[1:])]
        self.splice(block)
        with self.builder.at(last.loc):
            operands = (self.emit("logical_not", condition), *last.operands[1:])
            self.builder.emit("check", operands, **last.attrs)

    def cast_to(self, b: Binding, ty: Scalar) -> Value:
        """A number as a value of this type (a weak number may stand for a strong one)."""
        if b is MISSING:
            made: Value = self.builder.emit("undef", (), type=ty)
            return made
        if is_number(b):
            own = Scalar(b.dtype.name) if isinstance(b, np.generic) else scalar_of_python(b)
            if own.dtype == ty.dtype and own.weak == ty.weak:
                return self.builder.const(b)
            if own.dtype == ty.dtype or not np.issubdtype(np.dtype(own.dtype), np.complexfloating):
                typed = np.dtype(ty.dtype).type(b)
                return self.builder.const(typed.item() if ty.weak else typed)
        value = self.value(b)
        if isinstance(value.ty, Array):
            value = self.scalar(value, "a value")
        if value.dtype == ty.dtype:
            return value
        cast: Value = self.emit("cast", value, dtype=ty.dtype, weak=ty.weak)
        return cast

    def template(self, value: Value) -> Template | None:
        """How a view that was made in a block that was left can be made again here; None where it is not a view.

        Its positions may vary; its shape may not, so slices have literal bounds.
        """
        chain: list[Node] = []
        while not self.builder.in_scope(value):
            node = value.node
            if node is None or node.op.name not in ("index", "transpose"):
                return None
            if any(isinstance(e, Span) and _has_operands(e) for e in node.attrs.get("region", ())):
                return None
            chain.insert(0, node)
            value = node.operands[0]
        return Template(value, chain)

    def make_view(self, template: Template, operands: Sequence[Value]) -> Value:
        """The view of a template at these positions."""
        value, rest = template.base, list(operands)
        for node in template.chain:
            count = len(node.operands) - 1
            mapping = dict(zip(node.operands[1:], rest[:count], strict=True))
            rest = rest[count:]
            copy = self.builder.clone(node, {**mapping, node.operands[0]: value})
            copy.loc = self.builder.loc
            value = copy.result
            value.name = ""
            self.builder.owner[value] = self.builder.block
        return value

    def make_storage(self, shape: tuple[Size, ...], dtype: str) -> Value | None:
        """A buffer of this shape made in the current block; None where a size cannot be had here."""
        candidates = self.sources()
        sizes: list[int | Value] = []
        for size in shape:
            n = self.materialise(size, candidates)
            if n is None:
                return None
            sizes.append(n)
        return make_zeros(sizes, dtype, filled=False)

    def store_quietly(self, target: Value, value: Value) -> None:
        """A store that the user did not write: what keeps a merged value."""
        report, self.builder.on_write = self.builder.on_write, None
        try:
            self.emit("store", target, value)
            self.orders.note_stored(target, value)
        finally:
            self.builder.on_write = report


@dataclass(slots=True)
class _Copied:
    """A leaf that was copied into storage, with the buffers it was in on each side."""

    storage: Value
    buffers: frozenset[Value]
    name: str
    remedy: Any


class _Merger:
    """Merges the states of two branches."""

    def __init__(self, m: Branches, condition: Value, then_block: Block, else_block: Block) -> None:
        self.m = m
        self.condition = condition
        self.blocks = (then_block, else_block)
        self.types: list[Scalar] = []
        self.names: list[str] = []
        self.results: list[Value] = []
        self.slots: dict[tuple[int, int], int] = {}
        self.kept: list[Any] = []
        self.arrays: dict[tuple[int, int], Thunk] = {}
        self.containers: dict[tuple[int, int], Any] = {}
        self.copied: list[_Copied] = []
        self.links: tuple[tuple[Link, ...], tuple[Link, ...]] = ((), ())
        self.name = ""

    def run(self, then: State, otherwise: State, containers: list[Any], live: Names | None) -> Binding:
        """The merged state is put in place; the merged result of the two sides is given back."""
        m = self.m
        self.links = (then.links, otherwise.links)
        result = self.merge(then.result, otherwise.result)
        names: dict[str, Thunk] = {}
        dropped: list[str] = []
        for name in [*then.env, *(n for n in otherwise.env if n not in then.env)]:
            t, e = then.env.get(name, MISSING), otherwise.env.get(name, MISSING)
            if t is e:
                names[name] = _known(t)
                continue
            if live is not None and name not in live:
                dropped.append(name)
                continue
            self.name = name
            names[name] = self.merge(t, e)
        overlays: list[dict[str, Thunk]] = []
        for left, right in zip(then.overlays, otherwise.overlays, strict=True):
            overlays.append({n: self.merge(left[n], right[n]) for n in left if left[n] is not right[n]})
        self.name = ""
        contents = [(c, self._merge_content(c, then.heap[id(c)], otherwise.heap[id(c)])) for c in containers]
        self.results = m.builder.control("if", [self.condition], list(self.blocks), self.types)
        for value, name in zip(self.results, self.names, strict=True):
            value.name = "" if name.startswith("$") else name
        env = m.frame.env
        for name in dropped:
            env.pop(name, None)
        for name, thunk in names.items():
            env[name] = thunk()
        for overlay, changes in zip(m.frame.overlays, overlays, strict=True):
            overlay.update({n: thunk() for n, thunk in changes.items()})
        for container, content in contents:
            if content is not None:
                replace_content(container, content())
        self._link_copies()
        return result()

    # ---------------------------------------------------------------------------------------- leaves

    def merge(self, t: Binding, e: Binding) -> Thunk:
        """What a name is bound to after the branch, as a function to be called once the branch is in place."""
        if t is e:
            return lambda: t
        if isinstance(t, Poison) or isinstance(e, Poison):
            poison = t if isinstance(t, Poison) else e
            return lambda: poison
        partial = any(b is MISSING or isinstance(b, MaybeUnbound) for b in (t, e))
        if not partial or self.name.startswith("$"):
            return self._merge_bound(t, e)
        inner = self._merge_bound(bare(t), bare(e))
        flag = self._flag(t, e)

        def finish() -> Binding:
            found = inner()
            return found if isinstance(found, Poison) else MaybeUnbound(found, flag)

        return finish

    def _flag(self, t: Binding, e: Binding) -> Thunk:
        """Whether a name has a value after the branch, as a boolean."""
        values = []
        for b, block in zip((t, e), self.blocks, strict=True):
            with self.m.builder.into(block):
                if isinstance(b, MaybeUnbound):
                    values.append(b.flag())
                else:
                    values.append(self.m.builder.const(b is not MISSING))
        slot = self._yield(values[0], values[1], Scalar("bool", True), "")
        return lambda: self.results[slot]

    def _merge_bound(self, t: Binding, e: Binding) -> Thunk:
        if t is e or (e is MISSING and self._is_plain(t)):
            return lambda: t
        if t is MISSING and self._is_plain(e):
            return lambda: e
        if is_structure(t) or is_structure(e):
            return self._merge_structure(t, e)
        if is_array(t) or is_array(e):
            return self._merge_arrays(t, e)
        m = self.m
        left, right = m.scalar_type(t), m.scalar_type(e)
        if (left or t is MISSING) and (right or e is MISSING):
            if is_number(t) and is_number(e) and _same_number(t, e):
                return lambda: t
            key = (id(t), id(e))
            if key not in self.slots:
                self.kept += [t, e]
                known = [ty for ty in (left, right) if ty is not None]
                ty = promote_dtypes(tuple(known)) if len(known) == 2 else known[0]
                self.slots[key] = self._yield(t, e, ty, self.name)
            slot = self.slots[key]
            return lambda: self.results[slot]
        if type(t) is type(e) and not isinstance(t, Value) and is_equal(t, e):
            return lambda: t
        return self._poison(t, e)

    def _is_plain(self, b: Binding) -> bool:
        """A binding that is no number, and whose parts can be used after the branch."""
        if isinstance(b, Value) or is_structure(b):
            return False
        return all(self.m.builder.in_scope(v) for v in carried_values(b))

    def _yield(self, t: Binding, e: Binding, ty: Scalar, name: str) -> int:
        for b, block in zip((t, e), self.blocks, strict=True):
            with self.m.builder.into(block):
                block.yields.append(self.m.cast_to(b, ty))
        self.types.append(ty)
        self.names.append(name)
        return len(self.types) - 1

    def _poison(self, t: Binding, e: Binding, why: str = "") -> Thunk:
        m = self.m
        name = f"`{self.name}`" if self.name and not self.name.startswith("$") else "the result"
        error = UnsupportedError(
            f"{name} is {describe(t)} on one path and {describe(e)} on the other", m.builder.loc,
            why or "which path is taken is known at run time only, and compiled code needs one kind of value.",
            "give it the same kind of value on both paths.",
        )
        poison = Poison(error, m.dependencies(self.condition) or frozenset())
        return lambda: poison

    # ------------------------------------------------------------------------------------- structure

    def _merge_structure(self, t: Binding, e: Binding) -> Thunk:
        like = t if is_structure(t) else e
        keys, _ = children(like)
        for side in (t, e):
            if side is not MISSING and (type(side) is not type(like) or children(side)[0] != keys):
                return self._poison(t, e)
        key = (id(t), id(e))
        if is_mutable(like) and key in self.containers:
            made = self.containers[key]
            return lambda: made
        left = children(t)[1] if t is not MISSING else (MISSING,) * len(keys)
        right = children(e)[1] if e is not MISSING else (MISSING,) * len(keys)
        if not is_mutable(like):
            parts = [self._merge_item(x, y) for x, y in zip(left, right, strict=True)]
            return lambda: _propagate(rebuild(type(like), keys, [p() for p in parts]))
        shell = rebuild(type(like), keys, [None] * len(keys))
        self.kept += [t, e]
        self.containers[key] = shell
        parts = [self._merge_item(x, y) for x, y in zip(left, right, strict=True)]

        def fill() -> Binding:
            items = [p() for p in parts]
            replace_content(shell, items if isinstance(shell, list) else dict(zip(keys, items, strict=True)))
            return shell

        return fill

    def _merge_item(self, t: Binding, e: Binding) -> Thunk:
        """An item of a structure; where the structure is missing on one side, its flag says so for all items."""
        return self._merge_bound(bare(t), bare(e)) if t is MISSING or e is MISSING else self.merge(t, e)

    def _merge_content(self, container: Any, t: Any, e: Any) -> Thunk | None:
        """New content of a structure that existed before the branch; None where it did not change."""
        left, right = (list(x.values()) if isinstance(x, dict) else x for x in (t, e))
        keys_differ = isinstance(t, dict) and list(t) != list(e)
        if len(left) == len(right) and not keys_differ and all(x is y for x, y in zip(left, right, strict=True)):
            return (lambda: t) if not _same_content(container, t) else None
        if len(left) != len(right) or keys_differ:
            needs = self.m.dependencies(self.condition)
            if needs:
                self.m.need(needs)
            self.m.refuse(
                f"a {type(container).__name__} changes its length on one path only",
                "how many items it has is known while compiling.", "use an array of the largest size, and a count.",
            )
        parts = [self.merge(x, y) for x, y in zip(left, right, strict=True)]
        if isinstance(t, dict):
            return lambda: dict(zip(t, (p() for p in parts), strict=True))
        return lambda: [p() for p in parts]

    # ---------------------------------------------------------------------------------------- arrays

    def _merge_arrays(self, t: Binding, e: Binding) -> Thunk:
        key = (id(t), id(e))
        if key not in self.arrays:
            self.kept += [t, e]
            self.arrays[key] = _once(self._new_array(t, e))
        return self.arrays[key]

    def _new_array(self, t: Binding, e: Binding) -> Thunk:
        m = self.m
        if any(is_scalar(b) or is_number(b) for b in (t, e)):
            array = t if is_array(t) else e
            if array.rank:
                return self._poison(t, e)
            # An array without axes and a number: a number.
            values: list[Binding] = []
            for b, block in zip((t, e), self.blocks, strict=True):
                with m.builder.into(block):
                    values.append(m.scalar(b, "a value") if b is not MISSING else b)
            return self._merge_bound(*values)
        if not all(is_array(b) or b is MISSING for b in (t, e)):
            return self._poison(t, e)
        if t is MISSING or e is MISSING:
            present = e if t is MISSING else t
            side = 1 if t is MISSING else 0
            known = self._reference(present, side) or self._store(present, side)
            return known if known is not None else self._poison(t, e, _NO_SIZE)
        if t.rank != e.rank or any(sizes_clash(p, q) for p, q in zip(t.shape, e.shape, strict=True)):
            return self._poison(t, e, "their shapes differ.")
        dtype = promote_dtypes((Scalar(t.dtype), Scalar(e.dtype))).dtype
        same = t.dtype == e.dtype
        left, right = (self._reference(t, 0), self._reference(e, 1)) if same else (None, None)
        if left is None and right is None:
            storage = m.make_storage(t.shape, dtype) or m.make_storage(e.shape, dtype)
            if storage is None:
                return self._poison(t, e, _NO_SIZE)
            self._fill(storage, t, 0)
            self._fill(storage, e, 1)
            return lambda: storage
        if left is None:
            left = self._store(t, 0, e)
        if right is None:
            right = self._store(e, 1, t)
        if left is None or right is None:
            return self._poison(t, e, _NO_SIZE)
        one, other = left, right
        return lambda: m.emit("select_ref", self.condition, one(), other())

    def _reference(self, value: Value, side: int) -> Thunk | None:
        """An array of one branch as a reference to a buffer that was there before; None where it is a new one."""
        m = self.m
        if m.builder.in_scope(value):
            return lambda: value
        if value.node is not None and value.node.op.name == "select_ref":
            return self._chosen_reference(value.node, side)
        template = m.template(value)
        if template is None:
            return None
        slots: list[int] = []
        for operand in template.operands:
            zero = m.builder.const(0)
            pair = (operand, zero) if side == 0 else (zero, operand)
            assert isinstance(operand.ty, Scalar)
            slots.append(self._yield(*pair, operand.ty, ""))
        return lambda: m.make_view(template, [self.results[k] for k in slots])

    def _chosen_reference(self, node: Node, side: int) -> Thunk | None:
        """A choice made in one branch, made again after it; what is new on one side of it is copied."""
        m = self.m
        condition, one, other = node.operands
        left, right = self._reference(one, side), self._reference(other, side)
        if left is None and right is None:
            return None
        left = left or self._store(one, side, other)
        right = right or self._store(other, side, one)
        if left is None or right is None:
            return None
        unused = m.builder.const(False)
        slot = self._yield(*((condition, unused) if side == 0 else (unused, condition)), Scalar("bool", True), "")
        first, second = left, right
        return lambda: m.emit("select_ref", self.results[slot], first(), second())

    def _store(self, value: Value, side: int, like: Binding = None) -> Thunk | None:
        """A copy of an array of one branch, in storage that was made before it."""
        storage = self.m.make_storage(value.shape, value.dtype)
        if storage is None and is_array(like):
            storage = self.m.make_storage(like.shape, value.dtype)
        if storage is None:
            return None
        self._fill(storage, value, side)
        made = storage
        return lambda: made

    def _fill(self, storage: Value, value: Value, side: int) -> None:
        if not storage.name and not self.name.startswith("$"):
            storage.name = self.name
        with self.m.builder.into(self.blocks[side]):
            self.m.store_quietly(storage, value)
        before, self.m.links = self.m.links, self.links[side]
        buffers = roots(value)
        name = "" if self.name.startswith("$") else self.name
        self.copied.append(_Copied(storage, self.m.aliases(buffers), name, self.m.remedy_for(buffers)))
        self.m.links = before

    def _link_copies(self) -> None:
        """Copies of one buffer were one array in Python: writes to them are refused while both are in use."""
        m = self.m
        for k, copied in enumerate(self.copied):
            outer = frozenset(b for b in copied.buffers if m.builder.in_scope(b))
            m.link(frozenset((copied.storage,)), outer, copied.name, copied.remedy)
            for other in self.copied[:k]:
                if other.storage is not copied.storage and other.buffers & copied.buffers:
                    m.link(frozenset((copied.storage,)), frozenset((other.storage,)), copied.name)


_NO_SIZE = "its size is not known before the branch, so no buffer can be made for it."


def _known(b: Binding) -> Thunk:
    return lambda: b


def _has_operands(span: Span) -> bool:
    return any(isinstance(b, Arg) for b in (span.start, span.stop, span.step))


def _once(thunk: Thunk) -> Thunk:
    """The thunk, run at most once."""
    made: list[Binding] = []

    def run() -> Binding:
        if not made:
            made.append(thunk())
        return made[0]

    return run


def _propagate(b: Binding) -> Binding:
    """A structure with an item that cannot be compiled is itself one that cannot, if it is immutable."""
    for item in children(b)[1]:
        if isinstance(item, Poison):
            return item
    return b


def _same_number(a: Any, b: Any) -> bool:
    if type(a) is not type(b):
        return False
    same_sign = bool(np.copysign(1, np.real(a)) == np.copysign(1, np.real(b)))
    return bool((a == b and same_sign) or (a != a and b != b))


def is_equal(a: Any, b: Any) -> bool:
    """Whether two objects known while compiling are equal."""
    try:
        return bool(a == b)
    except Exception:  # any object's own comparison
        return False


def _same_content(container: Any, content: Any) -> bool:
    now = content_of(container)
    if isinstance(now, dict):
        return list(now) == list(content) and all(now[k] is content[k] for k in now)
    return len(now) == len(content) and all(x is y for x, y in zip(now, content, strict=True))


def sizes_clash(p: Size, q: Size) -> bool:
    """Whether two sizes are known to differ (a literal 1 is the only size that is 1)."""
    return p != q and ((isinstance(p, int) and isinstance(q, int)) or p == 1 or q == 1)


def statements_end(body: list[ast.stmt]) -> bool:
    """Whether statements certainly raise."""
    return bool(body) and isinstance(body[-1], ast.Raise)
