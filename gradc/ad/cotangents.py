"""Cotangents during the reverse sweep: one value per scalar, one buffer per active buffer.

    x = exp(a)            dx = ...                 the first contribution assigns
    y = x * 2; z = x[1:]  dx[1:] += dz             later ones accumulate, also through views
    x[0] = w              dw += dx[0]; dx[0] = 0   a write takes what is there and zeroes it

An array that is first given its cotangent by somebody else's buffer borrows it; it is copied before
anything is added. (Shadow memory: Griewank, Walther, Evaluating Derivatives (2008), sec. 5.1.)
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from gradc.ad.apply import cast_like, unbroadcast
from gradc.errors import InternalError
from gradc.ir.builder import Builder
from gradc.ir.effects import roots, view_operands
from gradc.ir.nodes import Node, Value
from gradc.ir.opdef import TABLE
from gradc.ir.region import FULL, NewAxis, region_layout
from gradc.ir.types import Array, Layout, Stack
from gradc.ops import memory


@dataclass(slots=True)
class Shadow:
    """The cotangent buffer of a buffer; `owned`: nobody else holds it, so it may be added to.

    `whole` is False where `buffer` (an array or a scalar) still has to be broadcast to the shape of the buffer.
    """

    buffer: Value
    owned: bool
    whole: bool = True


class Cotangents:
    """The cotangents at one point of the reverse sweep.

    `primal(value)` gives a value of the forward sweep; `shape(value)` the sizes of an array of the forward sweep.
    """

    def __init__(
        self, builder: Builder, primal: Callable[[Value], Value], shape: Callable[[Value], list[int | Value]]
    ) -> None:
        self.builder = builder
        self.primal = primal
        self.shape = shape
        self.scalars: dict[Value, Value] = {}
        self.shadows: dict[Value, Shadow] = {}
        self.stacks: dict[Value, Value] = {}
        self.watched: dict[Value, Value] | None = None

    # ------------------------------------------------------------------------------------------ reading

    def take(self, value: Value, broadcasts: bool = False) -> Value | None:
        """The cotangent that `value` has got, which nobody will add to any more; None where there is none.

        `broadcasts`: the caller is content with something that broadcasts to the shape of `value`.
        """
        ct = self._take(value, broadcasts)
        if ct is not None and self.watched is not None:
            # The buffer may be written into later: what it holds at this place is a value of its own.
            snapshot: Value = memory.copy(ct) if isinstance(ct.ty, Array) else self.builder.emit("let", (ct,))
            self.watched[snapshot] = value
        return ct

    def _take(self, value: Value, broadcasts: bool) -> Value | None:
        if not isinstance(value.ty, Array):
            return self.scalars.pop(value, None)
        shadow = self.shadows.get(value)
        if shadow is None:
            return None
        if not shadow.whole and not broadcasts:
            self.ensure(value)
        return self.shadows.pop(value).buffer

    def has(self, value: Value) -> bool:
        """Whether anything has been contributed to `value` (for a view: to its buffer)."""
        if isinstance(value.ty, Array):
            return any(root in self.shadows for root in roots(value))
        return value in self.scalars

    # -------------------------------------------------------------------------------------- contributing

    def add(self, value: Value, ct: Value, fresh: bool = False) -> None:
        """Add `ct` to the cotangent of `value`, broadcasting undone. `fresh`: nobody else holds the buffer of `ct`."""
        summed = unbroadcast(ct, value, self.builder)
        fresh = fresh or (summed is not ct)
        if not isinstance(value.ty, Array):
            held = self.scalars.get(value)
            if held is not None:
                summed = cast_like(held + summed, value, self.builder)
            elif value.name and summed.name and summed.name != f"d{value.name}":
                summed = self.builder.emit("let", (summed,))
            self._name(summed, value)
            self.scalars[value] = summed
            return
        self._add_array(value, summed, fresh)

    def _add_array(self, value: Value, ct: Value, fresh: bool) -> None:
        node = value.node
        if node is not None and node.op.kind == "view":
            if isinstance(ct.ty, Array) and ct.rank == value.rank and self._add_through(value, ct):
                return
            self.builder.emit("accumulate", (self.view(value), ct))
            return
        whole = isinstance(ct.ty, Array) and ct.rank == value.rank and self._same_shape(ct, value)
        shadow = self.shadows.get(value)
        if shadow is None and whole:
            if value.name and ct.name and ct.name != f"d{value.name}":
                ct = memory.alias(ct)
            self._name(ct, value)
            owned = fresh and isinstance(ct.ty, Array) and ct.ty.layout == "C"
            self.shadows[value] = Shadow(ct, owned)
        elif shadow is not None and not shadow.owned and shadow.whole and whole and value.rank:
            # Not for arrays without axes: their sum is a number.
            total = shadow.buffer + ct
            self._name(total, value)
            self.shadows[value] = Shadow(total, True)
        elif shadow is None:
            self.shadows[value] = Shadow(ct, False, whole=False)
        else:
            self.builder.emit("accumulate", (self.ensure(value), ct))

    def _same_shape(self, ct: Value, value: Value) -> bool:
        return all((a == 1) == (b == 1) for a, b in zip(ct.shape, value.shape, strict=True))

    def _add_through(self, view: Value, ct: Value) -> bool:
        """Hand the contribution to a view of a whole array on to that array, where the view can be turned round."""
        node = view.node
        assert node is not None
        base = node.operands[0]
        if self.shadows.get(base) is not None and base.node is not None and self.shadows[base].owned:
            return False
        if node.op.name == "transpose":
            perm = node.attrs["perm"]
            inverse = tuple(sorted(range(len(perm)), key=lambda k: perm[k]))
            self._add_array(base, memory.transpose(ct, perm=inverse), False)
            return True
        if node.op.name == "index" and all(e == FULL or isinstance(e, NewAxis) for e in node.attrs["region"]):
            if isinstance(ct.ty, Array) and ct.ty.layout == "C" and self._same_shape(ct, view):
                self._add_array(base, memory.make_reshape(ct, self.shape(base)), False)
                return True
        if node.op.name == "reshape" and isinstance(ct.ty, Array) and ct.ty.layout == "C":
            if self._same_shape(ct, view):
                self._add_array(base, memory.make_reshape(ct, self.shape(base)), False)
                return True
        return False

    # ------------------------------------------------------------------------------------------- shadows

    def ensure(self, root: Value) -> Value:
        """The cotangent buffer of `root`, made of zeros if there is none; it may be written into.

        It has the layout of `root` where that is C or F, so that every view of the one is a view of the other.
        """
        shadow = self.shadows.get(root)
        assert isinstance(root.ty, Array)
        layout: Layout = "F" if root.ty.layout == "F" and root.rank > 1 else "C"
        if shadow is None:
            buffer = self._fresh(root, layout, filled=True)
        elif shadow.owned and layout in _layouts(shadow.buffer):
            return shadow.buffer
        elif layout == "F":
            buffer = self._fresh(root, layout, filled=False)
            self.builder.emit("store", (buffer, shadow.buffer))
        elif shadow.whole:
            buffer = memory.copy(shadow.buffer)
        else:
            buffer = memory.make_broadcast(shadow.buffer, self.shape(root))
        self._name(buffer, root)
        self.shadows[root] = Shadow(buffer, True)
        return buffer

    def _fresh(self, root: Value, layout: Layout, filled: bool) -> Value:
        """A new array of the shape of `root`."""
        return new_like(self.shape(root), root.dtype, layout, filled)

    def view(self, value: Value) -> Value:
        """The cotangent buffer of an array, under the same views: it may be written into."""
        node = value.node
        if node is None or node.op.kind != "view":
            return self.ensure(value)
        bases = view_operands(node.op)
        operands: list[Value] = []
        for k, operand in enumerate(node.operands):
            operands.append(self.view(operand) if k in bases else self.primal(operand))
        ty = node.result.ty
        assert isinstance(ty, Array)
        if node.op.name == "reshape" and not (isinstance(operands[0].ty, Array) and operands[0].ty.layout == "C"):
            raise InternalError("a reshaped view of a buffer that is not contiguous", node.loc)
        attrs = dict(node.attrs)
        if "type" in attrs:
            attrs["type"] = Array(ty.dtype, ty.shape, self._layout(node, operands))
        made: Value = self.builder.add(node.op, operands, attrs)
        self._name(made, value)
        return made

    def _layout(self, node: Node, operands: list[Value]) -> Layout:
        base = operands[0].ty
        assert isinstance(base, Array)
        return region_layout(base.layout, base.shape, node.attrs["region"]) if node.op.name == "index" else "C"

    def stack(self, stack: Value) -> Value:
        """The tape that holds the cotangents of what is on `stack`."""
        held = self.stacks.get(stack)
        if held is None:
            raise InternalError("the cotangent stack of a tape is missing")
        return held

    def open_stack(self, stack: Value) -> None:
        """Make the cotangent stack of `stack` here, if there is none."""
        if stack not in self.stacks:
            assert isinstance(stack.ty, Stack)
            made: Value = self.builder.add(TABLE["stack_new"], (), {"item": stack.ty.item})
            made.name = f"d{stack.name}" if stack.name else ""
            self.stacks[stack] = made

    def _name(self, ct: Value, value: Value) -> None:
        if value.name and not ct.name and ct.node is not None and ct.node.op.name != "const":
            ct.name = f"d{value.name}"


def _layouts(value: Value) -> tuple[Layout, ...]:
    """Layouts that the type of an array promises."""
    assert isinstance(value.ty, Array)
    return ("C", "F") if value.rank < 2 and value.ty.layout != "A" else (value.ty.layout,)


def new_like(shape: Sequence[int | Value], dtype: str, layout: Layout, filled: bool = True) -> Value:
    """A new array, of zeros if `filled`, with the elements in C or in F order."""
    if layout != "F" or len(shape) < 2:
        return memory.make_zeros(shape, dtype, filled)
    turned = memory.make_zeros(shape[::-1], dtype, filled)
    return memory.transpose(turned, perm=tuple(reversed(range(len(shape)))))
