"""Subscripts: element and slice reads and stores, integer-array and mask indexing, index checks."""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from gradc.errors import DTypeError
from gradc.frontends.bindings import (
    Binding,
    Collected,
    DynamicRange,
    Flat,
    describe,
    is_array,
    is_number,
    is_scalar,
)
from gradc.frontends.machine import Machine, part_node
from gradc.ir.nodes import Value
from gradc.ir.region import FULL, NEWAXIS, Arg, At, Entry, Gather, Region, Span, span_length
from gradc.ir.types import Array, Scalar, Size, is_bool, is_complex, is_integer, promote_dtypes
from gradc.ops import CALLS
from gradc.ops.memory import element_count, make_gather, make_index, make_mask_select, shape_values, size_value


@dataclass(slots=True)
class Index:
    """A parsed subscript of an array: the region with its operands, or a mask over the leading axes."""

    entries: list[Entry] = field(default_factory=list)
    operands: list[Value] = field(default_factory=list)
    mask: Value | None = None
    view: bool = False  # has an ellipsis: a view also where no axis is left

    @property
    def region(self) -> Region:
        return tuple(self.entries)

    @property
    def is_element(self) -> bool:
        """Whether it names one element."""
        return self.mask is None and all(isinstance(e, At) for e in self.entries)

    @property
    def is_basic(self) -> bool:
        """Whether it names a view."""
        return self.mask is None and not any(isinstance(e, Gather) for e in self.entries)

    def arg(self, value: Value) -> Arg:
        """An operand of the region."""
        self.operands.append(value)
        return Arg(len(self.operands) - 1)


class Subscripts(Machine):
    """Interprets subscripts."""

    def _eval_Slice(self, node: ast.Slice) -> Binding:
        parts = (self.eval(p) if p is not None else None for p in (node.lower, node.upper, node.step))
        return slice(*parts)

    def _eval_Subscript(self, node: ast.Subscript) -> Binding:
        base = self.eval(node.value)
        return self.item(base, self.eval(node.slice))

    def _eval_Starred(self, node: ast.Starred) -> Binding:
        self.refuse("a starred expression cannot stand here")

    # ---------------------------------------------------------------------------------------- reading

    def item(self, base: Binding, key: Binding) -> Binding:
        """base[key]."""
        if is_array(base):
            return self.read_region(base, self.parse_index(base, key))
        if is_scalar(base):
            if key == () or key is Ellipsis:
                return base
            if key is None or (isinstance(key, tuple) and all(k is None for k in key)):
                array = self.call_table(np.array, base)
                return self.read_region(array, self.parse_index(array, key))
            self.refuse(f"{describe(base)} cannot be indexed")
        if isinstance(base, Flat):
            # A copy, as NumPy gives it.
            found = self.item(self.call_table(np.ravel, base.base), key)
            return self.call_table(np.copy, found) if is_array(found) else found
        if isinstance(base, Collected):
            found = self.item(base.array, key)
            return Collected(found, base.needs) if isinstance(key, slice) else found
        if isinstance(base, dict):
            found = self._key(key)
            if found not in base:
                self.fail("KeyError", repr(found))
            return self.read(str(found), base[found])
        if isinstance(base, DynamicRange):
            position = self.scalar(key, "an index")
            return self.binary(operator.add, base.start, self.binary(operator.mul, position, base.step))
        if isinstance(base, list | tuple | str | range):
            return self._item_of_sequence(base, key)
        entry = CALLS.get(base) if base.__hash__ is not None else None
        if entry is not None:
            return self.build(entry.build, (key,), {}, type(base).__name__)
        return self.refuse(f"{describe(base)} cannot be indexed", "only arrays, lists, tuples, dicts and strings are.")

    def _key(self, b: Binding) -> Any:
        if isinstance(b, tuple):
            return tuple(self._key(item) for item in b)
        return self.static(b, "a dict key")

    def _item_of_sequence(self, base: Any, key: Binding) -> Binding:
        if isinstance(key, slice):
            bounds = [p if p is None else self.static_int(p, "a bound of a slice of a list") for p in _parts(key)]
            return base[slice(*bounds)]
        if isinstance(key, Value):
            key = self.scalar(key, "an index")
        if isinstance(key, Value) and self.dependencies(key) is None and isinstance(base, list | tuple) and base:
            found = self._chosen_item(base, key)
            if found is not None:
                return found
        k = self.static_int(key, "an index into a list or tuple")
        if not -len(base) <= k < len(base):
            self.fail("IndexError", f"{type(base).__name__} index out of range")
        return self.read(f"item {k}", base[k])

    def _chosen_item(self, base: Sequence[Binding], key: Value) -> Binding:
        """An item at a position that depends on data: of numbers as an array, of arrays as a reference."""
        if all(is_number(x) or is_scalar(x) for x in base):
            return self.item(self.call_table(np.array, list(base)), key)
        first = base[0]
        if not all(is_array(x) and x.rank == first.rank and x.dtype == first.dtype for x in base):
            return None
        n = len(base)
        in_range = self.emit("logical_and", self.emit("ge", key, -n), self.emit("lt", key, n))
        self.fail("IndexError", f"{type(base).__name__} index out of range", in_range)
        position = self.emit("where", self.emit("lt", key, 0), key + n, key)
        found = base[-1]
        for k in range(n - 2, -1, -1):
            found = self.emit("select_ref", self.emit("eq", position, k), base[k], found)
        return found

    def read_region(self, base: Value, index: Index) -> Binding:
        """base[index]: an element, a view, or a new array."""
        if index.mask is not None:
            return make_mask_select(base, index.mask)
        if index.is_element and not index.view:
            return self.emit("load", base, *index.operands, region=index.region)
        if index.is_basic:
            return make_index(base, index.region, *index.operands)
        return make_gather(base, index.region, *index.operands)

    def element(self, base: Value, positions: Sequence[Binding]) -> Value:
        """An element whose position is known to be in range."""
        index = Index()
        for p in positions:
            index.entries.append(At(index.arg(p) if isinstance(p, Value) else int(p)))
        made: Value = self.emit("load", base, *index.operands, region=index.region)
        return made

    def row(self, base: Value, position: Value | int) -> Value:
        """base[position] along axis 0 with a position in range: an element or a view."""
        index = Index()
        index.entries.append(At(index.arg(position) if isinstance(position, Value) else position))
        index.entries += [FULL] * (base.rank - 1)
        found: Value = self.read_region(base, index)
        return found

    # ---------------------------------------------------------------------------------------- parsing

    def parse_index(self, base: Value, key: Binding) -> Index:
        """The region that base[key] names, with the checks that its positions need."""
        keys = list(key) if isinstance(key, tuple) else [key]
        keys = [self._index_part(k) for k in keys]
        if len(keys) == 1 and is_array(keys[0]) and is_bool(keys[0].ty):
            if keys[0].rank > base.rank:
                self.refuse("the mask has more axes than the array")
            return Index(mask=keys[0])
        if any(k is True or k is False for k in keys):
            self.refuse("an index that is a boolean cannot be compiled", hint="use None for a new axis.")
        if any(is_array(k) and is_bool(k.ty) for k in keys):
            keys = self._mask_to_positions(keys)
        used = sum(1 for k in keys if k is not None and k is not Ellipsis)
        dots = [n for n, k in enumerate(keys) if k is Ellipsis]
        if len(dots) > 1:
            self.refuse("an index can have one ellipsis")
        if used > base.rank:
            self.refuse(f"too many indices: the array has {base.rank} axes, but {used} were given")
        at = dots[0] if dots else len(keys)
        keys = [*keys[:at], *[slice(None)] * (base.rank - used), *keys[at + 1 :]]
        index = Index()
        axis = 0
        for k in keys:
            if k is None:
                index.entries.append(NEWAXIS)
                continue
            index.entries.append(self._entry(index, base, axis, k))
            axis += 1
        index.view = bool(dots)
        return index

    def _mask_to_positions(self, keys: list[Binding]) -> list[Binding]:
        if np.nonzero not in CALLS:
            self.refuse("a mask beside other indices cannot be compiled", hint="use np.where(mask, …) or one mask.")
        out: list[Binding] = []
        for k in keys:
            if is_array(k) and is_bool(k.ty):
                out += self.call_table(np.nonzero, k)
            else:
                out.append(k)
        return out

    def _index_part(self, key: Binding) -> Binding:
        if isinstance(key, Collected):
            return key.array
        if isinstance(key, list) or (isinstance(key, tuple) and type(key) is tuple):
            if not key:
                return self.call_table(np.zeros, (0,), "int64")
            return self.call_table(np.array, key)
        if isinstance(key, range):
            return self.call_table(np.array, list(key))
        if is_array(key) and key.rank == 0 and not is_bool(key.ty):
            return self.scalar(key, "an index")
        return key

    def _entry(self, index: Index, base: Value, axis: int, key: Binding) -> Entry:
        if isinstance(key, slice):
            start, stop, step = (self._bound(index, p) for p in _parts(key))
            if step == 0:
                self.fail("ValueError", "slice step cannot be zero")
            if isinstance(step, Arg):
                self.fail("ValueError", "slice step cannot be zero", self.emit("ne", index.operands[step.k], 0))
            span = Span(start, stop, step)
            self._check_one(index, base, axis, span)
            return span
        if is_array(key):
            if not is_integer(key.ty):
                self.refuse(f"an array of {key.dtype} cannot be an index", hint="convert it with .astype(int).")
            message = f"index is out of bounds for axis {axis}"
            self.builder.emit("check_indices", (key, base), axis=axis, message=message)
            index.operands.append(key)
            return Gather(len(index.operands) - 1)
        if is_number(key) and not isinstance(key, int | np.integer):
            self.refuse(f"{describe(key)} cannot be an index", hint="convert it with int().")
        if not is_number(key) and not is_scalar(key):
            self.refuse(f"{describe(key)} cannot be an index")
        position = int(key) if is_number(key) else key
        if isinstance(position, Value) and not is_integer(position.ty):
            self.refuse(f"{describe(position)} cannot be an index", hint="convert it with int().")
        self.check_position(base, axis, position)
        return At(index.arg(position) if isinstance(position, Value) else position)

    def _check_one(self, index: Index, base: Value, axis: int, span: Span) -> None:
        """A slice that is taken to have one item (`x[:1]`, `x[i:i + 1]`) must have it: sizes of 1 broadcast."""
        if isinstance(span.start, Arg) is not isinstance(span.stop, Arg) or span.step not in (None, 1):
            return
        size = self.builder.canonical_size(base.shape[axis])

        def size_of(arg: Arg) -> Size:
            return self.builder.size_of(index.operands[arg.k])

        literal = isinstance(size, int) and not isinstance(span.start, Arg)
        if literal or span_length(size, span, size_of) != 1:
            return
        start: Any = index.operands[span.start.k] if isinstance(span.start, Arg) else span.start or 0
        n = size_value(base, axis)
        message = f"a slice of one item along axis {axis} is empty, which compiled code does not expect"
        if isinstance(start, int):
            holds = self.emit("gt", n, start) if start >= 0 else self.emit("ge", n, -start)
        else:
            holds = self.emit("logical_and", self.emit("ge", start, 0), self.emit("lt", start, n))
        self.fail("ShapeError", message, holds)

    def _bound(self, index: Index, b: Binding) -> Any:
        if b is None:
            return None
        b = self.scalar(b, "a bound of a slice")
        if isinstance(b, bool) or (is_number(b) and not isinstance(b, int | np.integer)):
            self.refuse(f"{describe(b)} cannot be a bound of a slice", hint="convert it with int().")
        if is_number(b):
            return int(b)
        if not is_integer(b.ty):
            self.refuse(f"{describe(b)} cannot be a bound of a slice", hint="convert it with int().")
        return index.arg(b)

    def check_position(self, base: Value, axis: int, position: int | Value) -> None:
        """Raise IndexError at run time where a position is not in [-n, n), unless that is known."""
        size = self.builder.canonical_size(base.shape[axis])
        shown = f" with size {size}" if isinstance(size, int) else ""
        message = f"index {position if isinstance(position, int) else ''}".strip()
        message += f" is out of bounds for axis {axis}{shown}"
        if isinstance(position, int):
            if isinstance(size, int):
                self.fail("IndexError", message, -size <= position < size)
                return
            n = size_value(base, axis)
            holds = self.emit("gt", n, position) if position >= 0 else self.emit("ge", n, -position)
            self.fail("IndexError", message, holds)
            return
        n = size_value(base, axis)
        in_range = self.emit("logical_and", self.emit("ge", position, -n), self.emit("lt", position, n))
        self.fail("IndexError", message, in_range)

    # ---------------------------------------------------------------------------------------- writing

    def store_item(self, base: Binding, key: Binding, b: Binding) -> None:
        """base[key] = b."""
        if isinstance(base, Flat):
            numbers = self.call_table(np.arange, element_count(base.base))
            places = self.call_table(np.atleast_1d, self.item(numbers, key))
            value = self.call_table(np.ravel, b) if is_array(b) and b.rank > 1 else b
            self.build(CALLS[np.put].build, (base.base, places, value), {}, "flat")
            return
        if is_array(base):
            whole, name = self.part_of(base)
            index = self.parse_index(whole, key)
            if name:
                self.write_part(whole, index, name, b)
            else:
                self.write_region(base, index, b)
            return
        if isinstance(base, dict):
            self.note_rebind(base)
            base[self._key(key)] = b
            return
        if isinstance(base, list):
            self.note_rebind(base)
            if isinstance(key, slice):
                bounds = [p if p is None else self.static_int(p, "a bound of a slice of a list") for p in _parts(key)]
                base[slice(*bounds)] = self.known_items(b, "what is assigned to a slice of a list")
                return
            k = self.static_int(key, "an index into a list")
            if not -len(base) <= k < len(base):
                self.fail("IndexError", "list assignment index out of range")
            base[k] = b
            return
        self.refuse(f"items of {describe(base)} cannot be assigned")

    def note_rebind(self, container: Any) -> None:
        """Remember that a structure of the caller was changed."""
        if any(c is container for c in self.outside):
            self.rebinds.append(self.builder.loc)

    def write_region(self, base: Value, index: Index, b: Binding) -> None:
        """base[index] = b, with NumPy's casting and broadcasting."""
        value = self.value(b)
        if isinstance(value.ty, Array) and value.rank == 0:
            value = self.scalar(value, "the value")
        if is_complex(value.ty) and not is_complex(base.ty):
            raise DTypeError("a complex value cannot be written into a real array", hint="take its real part.")
        if index.mask is not None:
            self._write_mask(base, index.mask, value)
        elif index.is_element:
            if isinstance(value.ty, Array):
                value = self._only_element(value)
            self.emit("store_at", base, value, *index.operands, region=index.region)
        elif index.is_basic:
            self.emit("store", self.view(base, index), value)
        else:
            self._scatter(base, index, value)

    def part_of(self, b: Value) -> tuple[Value, str]:
        """The array of which `b` is the real or imaginary part, and which; `b` itself and "" where it stands alone."""
        node = part_node(b)
        return (node.operands[0], node.op.name) if node is not None and self.shares_memory(b) else (b, "")

    def write_part(self, whole: Value, index: Index, name: str, b: Binding) -> None:
        """whole.real[index] = b, or whole.imag: NumPy's parts are views, so the array of complex numbers changes."""
        value = self.value(b)
        if is_complex(value.ty):
            raise DTypeError(f"a complex value cannot be written into `.{name}`", hint="take its real part.")
        self.write_region(whole, index, self._with_part(self.read_region(whole, index), name, value))

    def _with_part(self, whole: Value, name: str, value: Value) -> Value:
        """Complex numbers with one part replaced."""
        other = self.emit("imag" if name == "real" else "real", whole)
        made: Value = self.emit("complex_of", *((value, other) if name == "real" else (other, value)))
        return made

    def update_part(self, whole: Value, index: Index, name: str, function: Callable[[Any, Any], Any], b: Any) -> None:
        """whole.real[index] op= b, or whole.imag."""
        old = self.emit(name, self.read_region(whole, index))
        new = self.binary(function, old, b)
        self._require_same_kind(new, old, function)
        self.write_part(whole, index, name, new)

    def view(self, base: Value, index: Index) -> Value:
        """The view that a basic index names."""
        return base if all(e == FULL for e in index.entries) else make_index(base, index.region, *index.operands)

    def _only_element(self, value: Value) -> Value:
        if any(s != 1 for s in value.shape):
            self.refuse(
                "setting an array element with a sequence", f"the value is {describe(value)}.",
                "assign to a slice, or take one element of the value.",
            )
        return self.element(value, [0] * value.rank)

    def _write_mask(self, base: Value, mask: Value, value: Value) -> None:
        self._fit_mask(base, mask)
        if isinstance(value.ty, Array):
            rows = base.rank - mask.rank
            if value.rank != rows + 1:
                if value.rank > rows + 1:
                    self.refuse("the value has more axes than what the mask selects")
                selected = make_mask_select(base, mask)
                value = self._broadcast_like(value, selected)
            elif value.shape[0] == 1:
                value = self._broadcast_like(value, make_mask_select(base, mask))
            else:
                count = self.call_table(np.count_nonzero, mask)
                message = "the mask does not select as many items as there are values"
                self.fail("ValueError", message, self.emit("eq", count, size_value(value, 0)))
        self.emit("scatter_mask", base, value, mask)

    def _fit_mask(self, base: Value, mask: Value) -> None:
        for axis in range(mask.rank):
            self.builder.require_equal(base, axis, mask, axis)

    def _broadcast_like(self, value: Value, like: Value) -> Value:
        made: Value = self.call_table(np.broadcast_to, value, tuple(shape_values(like)))
        return made

    def _scatter(self, base: Value, index: Index, value: Value) -> None:
        if isinstance(value.ty, Array):
            target = make_gather(base, index.region, *index.operands)
            wanted = tuple(self.builder.canonical_size(s) for s in target.shape)
            given = tuple(self.builder.canonical_size(s) for s in value.shape)
            if wanted != given:
                value = self._broadcast_like(value, target)
        self.emit("scatter", base, value, *index.operands, region=index.region)

    # -------------------------------------------------------------------------------------- in place

    def update_region(self, base: Value, index: Index, function: Callable[[Any, Any], Any], b: Binding) -> None:
        """base[index] op= b, as NumPy does it."""
        if index.is_element:
            if self._accumulates(base, function, b):
                delta = self.value(b) if function is operator.add else self.emit("neg", self.value(b))
                self.emit("accumulate_at", base, delta, *index.operands, region=index.region)
                return
            old = self.emit("load", base, *index.operands, region=index.region)
            self.write_region(base, index, self.binary(function, old, b))
            return
        if index.is_basic:
            self.update_array(self.view(base, index), function, b)
            return
        if index.mask is not None:
            self._fit_mask(base, index.mask)
            if self._accumulates(base, function, b):
                delta = self.value(b) if function is operator.add else self.emit("neg", self.value(b))
                self.emit("accumulate_mask", base, delta, index.mask)
                return
        old = self.read_region(base, index)
        new = self.binary(function, old, b)
        self._require_same_kind(new, base, function)
        if index.mask is not None:
            self.emit("scatter_mask", base, self.value(new), index.mask)
        else:
            self._scatter(base, index, self.value(new))

    def _accumulates(self, base: Value, function: Any, b: Binding) -> bool:
        """Whether an update by a number is an addition in the array's own dtype."""
        if function not in (operator.add, operator.sub) or not (is_number(b) or is_scalar(b)):
            return False
        if np.dtype(base.dtype).kind not in "fc":
            return False
        return promote_dtypes((Scalar(base.dtype), self.value(b).ty)).dtype == base.dtype  # type: ignore[arg-type]

    def update_array(self, array: Value, function: Callable[[Any, Any], Any], b: Binding) -> None:
        """array op= b: the array's buffer changes, its dtype does not."""
        whole, name = self.part_of(array)
        if name:
            self.update_part(whole, Index([FULL] * array.rank, view=True), name, function, b)
            return
        value = self.value(b)
        if function in (operator.add, operator.sub) and np.dtype(array.dtype).kind in "fc":
            self._require_same_kind(value, array, function)
            delta = value if function is operator.add else self.emit("neg", value)
            self.emit("accumulate", array, delta)
            return
        new = self.binary(function, array, value)
        self._require_same_kind(new, array, function)
        self.emit("store", array, new)

    def _require_same_kind(self, value: Binding, array: Value, function: Any) -> None:
        value = self.value(value)
        if isinstance(value.ty, Scalar) and value.ty.weak:
            order = "biufc"
            fits = order.index(np.dtype(value.dtype).kind) <= order.index(np.dtype(array.dtype).kind)
            fits = fits or (is_integer(value.ty) and is_integer(array.ty))
        else:
            fits = np.can_cast(value.dtype, array.dtype, "same_kind")
        if not fits:
            raise DTypeError(
                f"an in-place update would put {value.dtype} into an array of {array.dtype}",
                self.builder.loc, "NumPy casts in place within a kind only.",
                f"make the array {value.dtype} first, or write `a = a … b`.",
            )

    # ------------------------------------------------------------------------------------- forwards

    def known_items(self, b: Binding, what: str) -> list[Binding]:
        """The items of something whose length is known while compiling."""
        raise NotImplementedError

    def binary(self, function: Callable[[Any, Any], Any], a: Binding, b: Binding) -> Binding:
        """a op b."""
        raise NotImplementedError

    def build(self, build: Callable[..., Any], args: Sequence[Any], keywords: dict[str, Any], name: str) -> Binding:
        """Run an entry of the op table."""
        raise NotImplementedError


def _parts(key: slice) -> tuple[Any, Any, Any]:
    return key.start, key.stop, key.step
