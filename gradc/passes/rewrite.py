"""What rewriting passes share: a private copy that is changed in place, and rows of pattern -> result.

A pattern is an expression over op names: `sub(x, neg(y))`. Variables stand for any value, `c` and `d` for constants,
which the result gets as numbers; literals match constants of that value (`0` is +0.0 or an integer, `-0.0` itself).
Operands of commutative ops match in either order.

Arrays need care, because a value of array type names a buffer. An inner node of a match computed its result earlier
than the root, so its buffer must never be written (`Rewriter.is_stable`), and what it read must not be written before
the root (`Rewriter.means_the_same`); and where an existing array
takes the place of a new one, neither may be written or be a result of the function (`Rewriter.can_alias`).
"""

from __future__ import annotations

import ast
import inspect
import itertools
import math
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from gradc.errors import GradcError, InternalError
from gradc.ir.builder import Builder
from gradc.ir.effects import buffers_written, own_write, roots
from gradc.ir.nodes import Block, Func, Node, Value, clone_func, walk_blocks
from gradc.ir.types import Array, Scalar, Type, is_integer

_ROUNDS = 20
_FAR = 20


class Rewriter:
    """A copy of a function in which nodes are replaced; `rule` says by what.

    rule(node, rewriter) returns one value per result of the node, or None to leave it. The nodes that it adds with the
    current builder are put in the node's place, and are looked at in turn. `changed`: whether
    anything was replaced.
    """

    def __init__(self, func: Func, rule: Callable[[Node, Rewriter], Sequence[Value] | None]) -> None:
        self.func = clone_func(func)
        self.rule = rule
        self.changed = False
        self.builder = Builder(self.func, checks=False)
        self._replaced: dict[Value, Value] = {}
        self._round_changed = False
        self._uses: dict[Value, int] | None = None
        self._home: dict[Node, Block] = {}
        self._done: list[Node] = []  # nodes of the block at hand that stand before the node at hand
        self.written: frozenset[Value] = frozenset()
        self.results: frozenset[Value] = frozenset()

    def run(self) -> Func:
        """The function with the rule applied until nothing changes."""
        with self.builder:
            for _ in range(_ROUNDS):
                self._round_changed = False
                self.written = buffers_written(self.func.body)
                self.results = frozenset(r for v in self.func.results for r in roots(v))
                self._uses = None
                self._block(self.func.body)
                if not self._round_changed:
                    break
                self.changed = True
        return self.func

    def note_change(self) -> None:
        """State that the rule changed a node in place."""
        self._round_changed = True

    def used_once(self, value: Value) -> bool:
        """Whether nothing but the node at hand uses `value`."""
        if self._uses is None:
            self._uses = _count_uses(self.func.body)
        return self._uses.get(value, 0) <= 1

    def same_block(self, *nodes: Node) -> bool:
        """Whether nodes run equally often: a rewrite does not bring work from outside into a loop."""
        return len({self._home.get(node) for node in nodes}) == 1

    def resolve(self, value: Value) -> Value:
        """What stands for `value` by now."""
        while value in self._replaced:
            value = self._replaced[value]
        return value

    def replace(self, old: Value, new: Value) -> None:
        """Use `new` wherever `old` was used; the user's name goes along where `new` has none."""
        if old is new:
            return
        if old.name and not new.name and new.node is not None and new.node.op.name != "const":
            new.name = old.name
        if new.size is None and old.size is not None and isinstance(new.ty, Scalar):
            new.size = old.size
        if old in self.written:
            self.written |= roots(new)
        if old in self.results:
            self.results |= roots(new)
        # The old value is kept alive, so that its id is not used again.
        self._replaced[old] = new
        self._round_changed = True

    def inline(self, block: Block, params: Sequence[Value]) -> list[Value]:
        """Put the nodes of `block` in the place of the node at hand; what it yields. `params` stand for its own."""
        for old, new in zip(block.params, params, strict=True):
            self.replace(old, new)
        self.builder.block.nodes.extend(block.nodes)
        return list(block.yields)

    def _block(self, block: Block) -> None:
        queue = deque(block.nodes)
        self._home.update((node, block) for node in queue)
        outer, self._done = self._done, []
        done = self._done
        while queue:
            node = queue.popleft()
            node.operands = [self.resolve(v) for v in node.operands]
            for inner in node.blocks:
                self._block(inner)
            made = Block()
            with self.builder.into(made), self.builder.at(node.loc):
                values = self.rule(node, self)
            if values is None:
                done.append(node)
                continue
            values = [self.resolve(v) for v in values]
            if len(values) != len(node.results):
                raise InternalError(f"a rule gave {len(values)} values for {node}", node.loc)
            for old, new in zip(node.results, values, strict=True):
                self.replace(old, new)
            self._round_changed = True
            queue.extendleft(reversed(made.nodes))
            self._home.update((made_node, block) for made_node in made.nodes)
        self._done = outer
        block.nodes = done
        block.yields = [self.resolve(v) for v in block.yields]

    def retype(self, value: Value, ty: Type) -> Value:
        """`value` as a scalar of type `ty`: itself, a constant, or a cast."""
        if value.ty == ty:
            return value
        assert isinstance(ty, Scalar)
        number = const_of(value)
        if number is not None:
            return self.builder.const(number_of_type(ty, number))
        return self.builder.emit("cast", (value,), dtype=ty.dtype, weak=ty.weak)

    def is_stable(self, value: Value) -> bool:
        """Whether the content of `value` is the same wherever it is in scope."""
        return not (roots(value) & self.written)

    def means_the_same(self, value: Value, reader: Node) -> bool:
        """Whether `value` holds what it held at `reader`, an earlier node of the block at hand; False if it is far."""
        own = roots(value)
        if not own & self.written:
            return True
        for node in itertools.islice(reversed(self._done), _FAR):
            if node is reader:
                return True
            target = own_write(node)
            if (target is not None and roots(target) & own) or any(own & buffers_written(b) for b in node.blocks):
                return False
        return False

    def can_alias(self, new: Value, existing: Value) -> bool:
        """Whether an existing array may replace `new`: `new` is a view, or nobody can tell the two apart."""
        if not isinstance(new.ty, Array) or (new.node is not None and new.node.op.kind == "view"):
            return True
        both = roots(new) | roots(existing)
        return not (both & self.written) and not (roots(new) & self.results)

    def same_type(self, old: Value, new: Value, is_new: bool) -> bool:
        """Whether `new` may stand for `old`; a new scalar is given the weakness of the old one."""
        if old.ty == new.ty:
            return True
        if is_new and isinstance(old.ty, Scalar) and isinstance(new.ty, Scalar) and old.ty.dtype == new.ty.dtype:
            new.ty = old.ty
            return True
        return False


def _count_uses(block: Block) -> dict[Value, int]:
    counts: dict[Value, int] = {}
    for inner in walk_blocks(block):
        for value in (*inner.yields, *(v for node in inner.nodes for v in node.operands)):
            counts[value] = counts.get(value, 0) + 1
    return counts


def copy_or_alias(old: Value, existing: Value, rewriter: Rewriter) -> Value | None:
    """`existing` in the place of the new array `old`: itself where it may be, else a copy; None where types differ."""
    if not rewriter.same_type(old, existing, is_new=False):
        return None
    if rewriter.can_alias(old, existing):
        return existing
    if old.node is not None and old.node.op.name == "copy":
        return None
    return rewriter.builder.emit("copy", (existing,))


# --------------------------------------------------------------------------------------------------- rows


@dataclass(frozen=True, eq=False)
class Row:
    """pattern -> result, where `when` holds. `why` says for which numbers it is true; "" for every float.

    result and when take the pattern's variables by name, an inner node of op `sum` as `sum_`, the root as `node`, and
    the `rewriter`.
    """

    pattern: str
    result: Callable[..., Any]
    when: Callable[..., bool] | None = None
    why: str = ""
    name: str = ""

    @cached_property
    def tree(self) -> ast.expr:
        return ast.parse(self.pattern, mode="eval").body

    @cached_property
    def root(self) -> str:
        """Name of the op that the pattern starts with."""
        assert isinstance(self.tree, ast.Call)
        assert isinstance(self.tree.func, ast.Name)
        return self.tree.func.id

    @cached_property
    def _heads(self) -> tuple[str, ...]:
        """What each operand starts with: the name of an op, "const", or "" for a variable."""
        assert isinstance(self.tree, ast.Call)
        return tuple(_head(part) for part in self.tree.args)

    def may_match(self, makers: Sequence[str], commutative: bool) -> bool:
        """Whether the row can apply where ops of these names make the operands."""
        heads = self._heads
        if all(not head or head == maker for head, maker in zip(heads, makers, strict=False)):
            return True
        return commutative and all(
            not head or head == maker for head, maker in zip(heads, reversed(makers), strict=False)
        )

    def apply(self, node: Node, rewriter: Rewriter) -> Value | None:
        """The value that stands for the result of `node`, or None where the row does not apply."""
        for env in _match_operands(self.tree, node, {"node": node, "rewriter": rewriter}, rewriter, 0):
            if self.when is not None and not _call(self.when, env):
                continue
            block = rewriter.builder.block
            before = len(block.nodes)
            try:
                value = rewriter.builder.value(_typed(_call(self.result, env), node.result))
            except GradcError:
                del block.nodes[before:]
                continue
            is_new = any(value is r for n in block.nodes[before:] for r in n.results)
            if is_new:
                if rewriter.same_type(node.result, value, is_new=True):
                    return value
            else:
                existing = copy_or_alias(node.result, value, rewriter)
                if existing is not None:
                    return existing
            del block.nodes[before:]
        return None


def _head(part: ast.expr) -> str:
    match part:
        case ast.Call(ast.Name(name)):
            return name
        case ast.Name(name):
            return "const" if name in ("c", "d") else ""
    return "const"


class RowTable:
    """Rows by the op that they start with and by the ops that make its operands."""

    def __init__(self, rows: Sequence[Row]) -> None:
        self._by_root: dict[str, list[Row]] = {}
        for row in rows:
            self._by_root.setdefault(row.root, []).append(row)
        self._found: dict[tuple[str, ...], list[Row]] = {}

    def rows_for(self, node: Node) -> list[Row]:
        """The rows that can apply to a node, in order."""
        op = node.op
        if op.name not in self._by_root:
            return []
        makers = [v.node.op.name if v.node is not None else "" for v in node.operands]
        key = (op.name, *makers)
        found = self._found.get(key)
        if found is None:
            rows = self._by_root[op.name]
            found = self._found[key] = [row for row in rows if row.may_match(makers, op.commutative)]
        return found


def apply_rows(table: RowTable, node: Node, rewriter: Rewriter) -> tuple[Row, Value] | None:
    """The first row that applies to `node`, with the value that stands for its result."""
    if len(node.results) != 1:
        return None
    for row in table.rows_for(node):
        value = row.apply(node, rewriter)
        if value is not None:
            return row, value
    return None


def _typed(result: Any, old: Value) -> Any:
    """A number that is a result, in the type that the old result has."""
    if isinstance(result, Value) or not isinstance(old.ty, Scalar):
        return result
    return number_of_type(old.ty, result)


def number_of_type(ty: Scalar, number: Any) -> Any:
    """`number` as the Python number or NumPy scalar of type `ty`."""
    scalar = np.dtype(ty.dtype).type(number)
    return scalar.item() if ty.weak else scalar


def _call(function: Callable[..., Any], env: dict[str, Any]) -> Any:
    return function(**{name: env[name] for name in inspect.signature(function).parameters})


def const_of(value: Value) -> Any:
    """The number of a constant, or None."""
    node = value.node
    return node.attrs["value"] if node is not None and node.op.name == "const" else None


def _match(
    tree: ast.expr, value: Value, reader: Node, env: dict[str, Any], rewriter: Rewriter, depth: int
) -> Iterator[dict[str, Any]]:
    match tree:
        case ast.Name(name):
            if name in ("c", "d"):
                number = const_of(value)
                if number is None or isinstance(number, bool | np.bool_):
                    return
                if name not in env:
                    yield {**env, name: number}
            elif name in env:
                if env[name] is value:
                    yield env
            elif depth == 0 or not isinstance(value.ty, Array) or rewriter.means_the_same(value, reader):
                yield {**env, name: value}
        case ast.Call(ast.Name(op_name)):
            node = value.node
            if node is None or node.op.name != op_name or not rewriter.is_stable(value):
                return
            yield from _match_operands(tree, node, {**env, f"{op_name}_": node}, rewriter, depth + 1)
        case _:
            if _is_literal(const_of(value), ast.literal_eval(tree)):
                yield env


def _match_operands(
    tree: ast.expr, node: Node, env: dict[str, Any], rewriter: Rewriter, depth: int
) -> Iterator[dict[str, Any]]:
    assert isinstance(tree, ast.Call)
    if len(tree.args) > len(node.operands):
        return
    orders: list[Sequence[Value]] = [node.operands]
    if node.op.commutative and len(node.operands) == 2:
        orders.append(node.operands[::-1])
    for operands in orders:
        envs: list[dict[str, Any]] = [env]
        for part, operand in zip(tree.args, operands, strict=False):
            envs = [found for e in envs for found in _match(part, operand, node, e, rewriter, depth)]
        yield from envs


def _is_literal(number: Any, wanted: Any) -> bool:
    if number is None or isinstance(number, bool | np.bool_) != isinstance(wanted, bool):
        return False
    if number != wanted:
        return False
    if isinstance(number, float | np.floating) and number == 0:
        return math.copysign(1.0, float(number)) == math.copysign(1.0, wanted)
    return True


# --------------------------------------------------------------------------------------------- conditions


def integers(node: Node) -> bool:
    """Every operand and the result are integers (arithmetic modulo 2**64: associative, distributive)."""
    return all(is_integer(v.ty) for v in (*node.operands, *node.results))
