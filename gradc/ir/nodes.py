"""The IR: values, nodes, blocks, functions. Structured control flow, explicit memory.

A function is a block of nodes. `if`, `for` and `while` nodes own blocks; what a block yields is its
terminator. Scalars are SSA. A value of array type names a buffer: views name a part of their base's
buffer, and `store`, `accumulate` and their like write into the buffer of their first operand.
Values and nodes compare by identity, and are themselves the keys of maps: the `id` of a dropped one goes to another.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from gradc.errors import NOWHERE, InternalError, Loc
from gradc.ir.types import Array, Scalar, Shape, Size, Type

if TYPE_CHECKING:
    from gradc.ir.opdef import OpDef


class Emitter(Protocol):
    """What operators on values need of a builder."""

    def emit(self, op: str, operands: tuple[Any, ...], **attrs: Any) -> Value: ...


_current = threading.local()


def current_builder() -> Any:
    """The builder that operators on values and op entries add nodes to."""
    stack = getattr(_current, "stack", None)
    if not stack:
        raise InternalError("no builder is active")
    return stack[-1]


def push_builder(builder: Any) -> None:
    """Make `builder` the one that operators use, until `pop_builder`."""
    if not hasattr(_current, "stack"):
        _current.stack = []
    _current.stack.append(builder)


def pop_builder() -> None:
    """Undo `push_builder`."""
    _current.stack.pop()


def _emit(op: str, operands: tuple[Any, ...]) -> Value:
    made: Value = current_builder().emit(op, operands)
    return made


@dataclass(eq=False, slots=True)
class Value:
    """A typed value. `node` computes it, or it is a parameter of a block or function (`node` is None).

    `name` is the user's name for it, or "". `size` is what an integer scalar is as a dimension, where known.
    """

    ty: Type
    name: str = ""
    node: Node | None = None
    size: Size | None = None

    @property
    def shape(self) -> Shape:
        assert isinstance(self.ty, Scalar | Array)
        return self.ty.shape

    @property
    def rank(self) -> int:
        return len(self.shape)

    @property
    def dtype(self) -> str:
        assert isinstance(self.ty, Scalar | Array)
        return self.ty.dtype

    def __repr__(self) -> str:
        return f"<{self.name or 'value'}: {self.ty}>"

    # Operators build nodes with the current builder, so that rules read like mathematics.
    __array_ufunc__ = None  # `np.float64(2.0) * value` is left to `__rmul__`
    def __add__(self, other: Any) -> Value:
        return _emit("add", (self, other))

    def __radd__(self, other: Any) -> Value:
        return _emit("add", (other, self))

    def __sub__(self, other: Any) -> Value:
        return _emit("sub", (self, other))

    def __rsub__(self, other: Any) -> Value:
        return _emit("sub", (other, self))

    def __mul__(self, other: Any) -> Value:
        return _emit("mul", (self, other))

    def __rmul__(self, other: Any) -> Value:
        return _emit("mul", (other, self))

    def __truediv__(self, other: Any) -> Value:
        return _emit("div", (self, other))

    def __rtruediv__(self, other: Any) -> Value:
        return _emit("div", (other, self))

    def __floordiv__(self, other: Any) -> Value:
        return _emit("floordiv", (self, other))

    def __mod__(self, other: Any) -> Value:
        return _emit("mod", (self, other))

    def __pow__(self, other: Any) -> Value:
        return _emit("pow", (self, other))

    def __rpow__(self, other: Any) -> Value:
        return _emit("pow", (other, self))

    def __matmul__(self, other: Any) -> Value:
        return _emit("matmul", (self, other))

    def __neg__(self) -> Value:
        return _emit("neg", (self,))


@dataclass(eq=False, slots=True)
class Block:
    """A list of nodes with parameters, ended by the values it yields."""

    params: list[Value] = field(default_factory=list)
    nodes: list[Node] = field(default_factory=list)
    yields: list[Value] = field(default_factory=list)


@dataclass(eq=False, slots=True)
class Node:
    """One operation: operands in, results out; `attrs` are static; `blocks` belong to control flow."""

    op: OpDef
    operands: list[Value]
    results: list[Value]
    attrs: dict[str, Any] = field(default_factory=dict)
    blocks: list[Block] = field(default_factory=list)
    loc: Loc = NOWHERE

    @property
    def result(self) -> Value:
        (value,) = self.results
        return value

    def __repr__(self) -> str:
        return f"<{self.op.name} at {self.loc}>"


@dataclass(eq=False, slots=True)
class Func:
    """A function: `body.params` are its parameters, `body.yields` its results.

    `notes` holds what passes wish to tell a reader (`.stats`): rewrites applied, residuals taped.
    `writes` are the positions of parameters whose buffers the function writes into.
    """

    name: str
    body: Block
    loc: Loc = NOWHERE
    notes: dict[str, Any] = field(default_factory=dict)

    @property
    def params(self) -> list[Value]:
        return self.body.params

    @property
    def results(self) -> list[Value]:
        return self.body.yields


def walk_nodes(block: Block) -> Iterator[Node]:
    """Every node of a block and of the blocks inside it, in program order, owners before their blocks."""
    for node in block.nodes:
        yield node
        for inner in node.blocks:
            yield from walk_nodes(inner)


def walk_blocks(block: Block) -> Iterator[Block]:
    """A block and every block inside it."""
    yield block
    for node in block.nodes:
        for inner in node.blocks:
            yield from walk_blocks(inner)


def used_values(node: Node) -> Iterator[Value]:
    """What a node reads: its operands and whatever its blocks capture or yield (block-local values included)."""
    yield from node.operands
    for block in node.blocks:
        for inner in block.nodes:
            yield from used_values(inner)
        yield from block.yields


def captured_values(node: Node) -> list[Value]:
    """Operands of the node, and values from outside that its blocks use; each once, in order of use."""
    local: set[Value] = set()
    for block in node.blocks:
        for inner_block in walk_blocks(block):
            local.update(inner_block.params)
            local.update(r for n in inner_block.nodes for r in n.results)
    seen: dict[Value, Value] = {}
    for value in used_values(node):
        if value not in local:
            seen.setdefault(value, value)
    return list(seen.values())


def clone_node(node: Node, mapping: dict[Value, Value]) -> Node:
    """A copy of `node` (blocks included) with operands replaced through `mapping`, which gains the new results.

    `mapping` goes from an old value to the new one; values that it lacks stay as they are.
    """
    copy = Node(node.op, [mapping.get(v, v) for v in node.operands], [], dict(node.attrs), [], node.loc)
    for block in node.blocks:
        copy.blocks.append(clone_block(block, mapping))
    for old in node.results:
        new = Value(old.ty, old.name, copy, old.size)
        mapping[old] = new
        copy.results.append(new)
    return copy


def clone_block(block: Block, mapping: dict[Value, Value]) -> Block:
    """A copy of `block`; `mapping` gains its parameters and results."""
    copy = Block()
    for old in block.params:
        new = Value(old.ty, old.name, None, old.size)
        mapping[old] = new
        copy.params.append(new)
    copy.nodes = [clone_node(n, mapping) for n in block.nodes]
    copy.yields = [mapping.get(v, v) for v in block.yields]
    return copy


def clone_func(func: Func) -> Func:
    """A copy that shares no node, block or value with `func`."""
    return Func(func.name, clone_block(func.body, {}), func.loc, dict(func.notes))
