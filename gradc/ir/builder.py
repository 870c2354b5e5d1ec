"""The builder: the only way to make a node. It runs the op's type rule and proves or checks equal sizes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from gradc.errors import NOWHERE, DTypeError, GradcError, InternalError, Loc
from gradc.ir.nodes import Block, Func, Node, Value, clone_node, pop_builder, push_builder, walk_nodes
from gradc.ir.opdef import TABLE, OpDef
from gradc.ir.types import (
    Array,
    Dim,
    Scalar,
    Shape,
    Size,
    Stack,
    Type,
    add_sizes,
    broadcast_shapes,
    is_complex,
    is_inexact,
    multiply_sizes,
    promote_dtypes,
    scalar_of_python,
    size_variable,
    size_variables,
    substitute_size,
    subtract_sizes,
)


class Builder:
    """Adds nodes to a block. Used as a context manager it becomes the current builder.

    `checks`: whether sizes that cannot be proved equal become run-time checks (front ends), or are taken as
    equal because the program that they come from has been checked (derivatives, passes).
    """

    def __init__(self, func: Func, checks: bool = True) -> None:
        self.func = func
        self.block = func.body
        self.checks = checks
        self.loc = func.loc
        self.snapshots: list[Value] = []  # copies where NumPy has views
        self._equal: list[dict[str, Size]] = [{}]
        self._next_size = 0
        self.avoid_sizes_of(func)

    def __enter__(self) -> Builder:
        push_builder(self)
        return self

    def __exit__(self, *_: object) -> None:
        pop_builder()

    # ------------------------------------------------------------------------------------------ places

    @contextmanager
    def at(self, loc: Loc) -> Iterator[None]:
        """Nodes made inside carry `loc`."""
        before, self.loc = self.loc, loc
        try:
            yield
        finally:
            self.loc = before

    @contextmanager
    def into(self, block: Block) -> Iterator[Block]:
        """Nodes made inside go to `block`; what is learnt about sizes there is forgotten afterwards."""
        before, self.block = self.block, block
        self._equal.append({})
        try:
            yield block
        finally:
            self._equal.pop()
            self.block = before

    # ------------------------------------------------------------------------------------------- sizes

    def avoid_sizes_of(self, func: Func) -> None:
        """New size variables get other names than those of `func` have: nodes of it may come into this function."""
        types = [p.ty for p in func.params]
        types += [r.ty for node in walk_nodes(func.body) for r in node.results]
        for ty in types:
            item = ty.item if isinstance(ty, Stack) else ty
            for size in item.shape:
                if not isinstance(size, int):
                    for name in size_variables(size):
                        number = name[len(name.rstrip("0123456789")) :]
                        self._next_size = max(self._next_size, int(number or 0))

    def new_size(self, name: str = "") -> Size:
        """A size variable that no other value has."""
        self._next_size += 1
        return size_variable(f"{name or 's'}{self._next_size}")

    def size_of(self, value: Value | int) -> Size:
        """What an integer scalar is as a dimension; an unknown one becomes a size variable from now on."""
        if isinstance(value, int | np.integer):
            return int(value)
        if value.size is None:
            if is_inexact(value.ty):
                raise DTypeError("a size is a floating-point number", hint="write int(n) or n // m, not n / m")
            value.size = self._derive_size(value)
        return self.canonical_size(value.size)

    def _derive_size(self, value: Value) -> Size:
        node = value.node
        if node is not None:
            if node.op.name == "const":
                return int(node.attrs["value"])
            if node.op.name == "dim":
                return node.operands[0].shape[node.attrs["axis"]]  # type: ignore[no-any-return]
            arithmetic = {"add": add_sizes, "sub": subtract_sizes, "mul": multiply_sizes}.get(node.op.name)
            if arithmetic is not None:
                return arithmetic(self.size_of(node.operands[0]), self.size_of(node.operands[1]))
            if node.op.name == "cast" and not is_inexact(node.operands[0].ty):
                return self.size_of(node.operands[0])
        return self.new_size(value.name if value.name.isidentifier() else "")

    def canonical_size(self, size: Size) -> Size:
        """`size` with sizes that are known to be equal written the same way."""
        for scope in self._equal:
            if scope and not isinstance(size, int):
                size = substitute_size(size, scope)
        return size

    def canonical_type(self, ty: Type) -> Type:
        """`ty` with canonical sizes."""
        if isinstance(ty, Array) and any(self._equal):
            shape = tuple(self.canonical_size(s) for s in ty.shape)
            return ty if shape == ty.shape else Array(ty.dtype, shape, ty.layout)
        return ty

    def learn_equal(self, a: Size, b: Size) -> None:
        """From here on (in this block) sizes `a` and `b` are the same."""
        for old, new in ((b, a), (a, b)):
            if isinstance(old, Dim) and len(old.terms) == 1:
                ((atoms, coefficient),) = old.terms
                if coefficient == 1 and len(atoms) == 1 and atoms[0].inner is None:
                    if not isinstance(new, int) and str(old) in str(new):
                        continue
                    self._equal[-1][atoms[0].name] = new
                    return

    def require_equal(self, a: Value, axis_a: int, b: Value, axis_b: int) -> None:
        """State that two axes have the same size: proved, or checked at run time with the current place."""
        size_a = self.canonical_size(a.shape[axis_a])
        size_b = self.canonical_size(b.shape[axis_b])
        if size_a == size_b:
            return
        if self.checks:
            dim, eq, check = TABLE["dim"], TABLE["eq"], TABLE["check"]
            same = self.add(eq, (self.add(dim, (a,), {"axis": axis_a}), self.add(dim, (b,), {"axis": axis_b})), {})
            message = f"sizes {size_a} (axis {axis_a}) and {size_b} (axis {axis_b}) differ"
            self.add(check, (same,), {"error": "ShapeError", "message": message})
        self.learn_equal(size_a, size_b)

    # ------------------------------------------------------------------------------------------- nodes

    def const(self, value: Any) -> Value:
        """A Python number (weak) or a NumPy scalar (not) as a value."""
        if isinstance(value, np.generic):
            return self._insert(TABLE["const"], [], {"value": value}, [Scalar(value.dtype.name)])[0]
        return self._insert(TABLE["const"], [], {"value": value}, [scalar_of_python(value)])[0]

    def value(self, operand: Any) -> Value:
        """`operand` itself, or a constant for a Python or NumPy number."""
        if isinstance(operand, Value):
            return operand
        if isinstance(operand, bool | int | float | complex | np.generic):
            return self.const(operand)
        raise InternalError(f"{operand!r} is not a value")

    def emit(self, op: str, operands: tuple[Any, ...], **attrs: Any) -> Any:
        """`add` by op name."""
        return self.add(TABLE[op], operands, attrs)

    def add(
        self, op: OpDef, operands: Sequence[Any], attrs: dict[str, Any], name: str = "", weak: bool | None = None
    ) -> Any:
        """Add a node at the end of the block; its result, a tuple of results, or None where it has none.

        `weak` settles the weakness of a scalar result of an elementwise op: `np.exp(2.0)` is a NumPy scalar
        (False), `math.exp(x)` a Python float (True); None: weak where all operands are, as operators have it.
        """
        values = [self.value(v) for v in operands]
        types = [self.canonical_type(v.ty) for v in values]
        try:
            if op.infer is not None:
                required: list[tuple[int, int, int, int]] = []
                results = op.infer(types, attrs, lambda i, p, j, q: required.append((i, p, j, q)))
                for i, p, j, q in required:
                    self.require_equal(values[i], p, values[j], q)
            elif op.kind == "elementwise":
                if op.guard is not None and self.checks:
                    op.guard(*values)
                results = [self.elementwise_type(op, values, attrs, weak)]
            else:
                raise InternalError(f"op {op.name} has no type rule")
            if not op.takes_complex and op.kind in _COMPUTING:
                _refuse_complex(op, (*types, *results))
        except GradcError as error:
            raise error if error.loc is not None else type(error)(error.what, self.loc, error.why, error.hint) from None
        made = self._insert(op, values, attrs, list(results))
        if name and len(made) == 1:
            made[0].name = name
        return made[0] if len(made) == 1 else tuple(made) if made else None

    def elementwise_type(self, op: OpDef, values: list[Value], attrs: dict[str, Any], weak: bool | None = None) -> Type:
        """Type of an elementwise op's result; sizes that must be equal are proved or checked."""
        if op.dtype_rule is not None:
            scalar = op.dtype_rule(values, attrs)
        else:
            scalar = promote_dtypes(tuple(v.ty for v in values if not isinstance(v.ty, Stack)))
        shape = self.broadcast(values)
        if shape:
            return Array(scalar.dtype, shape)
        return scalar if weak is None else Scalar(scalar.dtype, weak)

    def broadcast(self, values: Sequence[Value]) -> Shape:
        """The shape that values broadcast to; sizes that must be equal are proved or checked.

        Elementwise type rules that set `infer` use `types` only, so they call this through
        `current_builder().broadcast(...)`.
        """
        shape: Shape = ()
        source: list[tuple[Value, int] | None] = []
        for value in values:
            ty = self.canonical_type(value.ty)
            assert isinstance(ty, Scalar | Array)
            new_shape, _ = broadcast_shapes(shape, ty.shape)
            rank = len(new_shape)
            source = [*(None for _ in range(rank - len(shape))), *source]
            for axis in range(rank):
                own = axis - (rank - len(ty.shape))
                if own < 0 or ty.shape[own] == 1:
                    continue
                held = source[axis]
                if held is None:
                    source[axis] = (value, own)
                else:
                    self.require_equal(held[0], held[1], value, own)
            shape = tuple(self.canonical_size(s) for s in new_shape)
        return shape

    def _insert(self, op: OpDef, operands: list[Value], attrs: dict[str, Any], types: list[Type]) -> list[Value]:
        node = Node(op, operands, [], attrs, [], self.loc)
        node.results = [Value(ty, "", node) for ty in types]
        self.block.nodes.append(node)
        return node.results

    def control(
        self, op: str, operands: Sequence[Any], blocks: Sequence[Block], types: Sequence[Type], **attrs: Any
    ) -> list[Value]:
        """Add an `if`, `for` or `while` node whose blocks have been built."""
        made = self._insert(TABLE[op], [self.value(v) for v in operands], attrs, list(types))
        assert made or types == [] or not types
        self.block.nodes[-1].blocks = list(blocks)
        return made

    def adopt(self, values: Sequence[Value]) -> None:
        """Results of nodes that were put at the end of the block by other means."""

    def clone(self, node: Node, mapping: dict[Value, Value]) -> Node:
        """Append a copy of `node` with operands replaced through `mapping`, types as they are."""
        copy = clone_node(node, mapping)
        self.block.nodes.append(copy)
        return copy


_COMPUTING = frozenset(("elementwise", "reduce", "product", "fresh"))


def _refuse_complex(op: OpDef, types: Sequence[Type]) -> None:
    """Raise DTypeError where an op that is defined for real numbers meets complex ones."""
    if any(is_complex(ty) for ty in types):
        raise DTypeError(
            f"`{op.name}` of complex numbers",
            why="it is compiled for real numbers only.",
            hint="write it with z.real, z.imag and abs(z).",
        )


def new_func(name: str, params: Sequence[tuple[str, Type]], loc: Loc = NOWHERE) -> Func:
    """A function without nodes; its parameters are values of the given names and types."""
    return Func(name, Block(params=[Value(ty, param) for param, ty in params]), loc)
