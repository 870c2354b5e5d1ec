"""Memory: views, element reads, writes, allocation, gathers. Regions are described in `ir/region.py`.

Index operands follow the fixed operands of an op, and `Arg(k)` in the region means the k-th of them.
Derivatives of views and writes follow from the shadow rule (each active buffer has one cotangent buffer, with
the same views over it), which `ad/` applies to every op of these kinds; so the entries have none.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from gradc.errors import ShapeError
from gradc.ir.nodes import Value, current_builder
from gradc.ir.opdef import OpDef, define
from gradc.ir.region import Arg, At, Gather, NewAxis, Region, Span, region_layout, region_shape
from gradc.ir.types import (
    WEAK_INT,
    Array,
    Scalar,
    Shape,
    Size,
    clamp_size,
    format_shape,
    multiply_sizes,
    product_of_sizes,
    with_shape,
)


def python_index(region: Region, operands: Sequence[Any]) -> tuple[Any, ...]:
    """The index that NumPy takes for `region`, with operands filled in."""

    def number(bound: int | Arg | None) -> Any:
        return operands[bound.k] if isinstance(bound, Arg) else bound

    index: list[Any] = []
    for entry in region:
        match entry:
            case At(position):
                index.append(number(position))
            case Span(start, stop, step):
                index.append(slice(number(start), number(stop), number(step)))
            case NewAxis():
                index.append(None)
            case Gather(k):
                index.append(operands[k])
    return tuple(index)


def _sizes_of(first: int, operands: Sequence[Value] | None) -> Callable[[Arg], Size]:
    """How `Arg(k)` reads as a dimension: through the builder where operands are known."""
    builder = current_builder()

    def value_of(arg: Arg) -> Size:
        assert operands is not None
        return builder.size_of(operands[first + arg.k])

    return value_of


def _shape_attr(shape: Sequence[int | Arg], operands: Sequence[Value], first: int) -> Shape:
    builder = current_builder()
    return tuple(builder.size_of(operands[first + s.k]) if isinstance(s, Arg) else s for s in shape)


# Type rules need the index operands themselves (a dimension may be one of them), so ops with `sizes` in their attrs
# or a region are made by the functions below, which put the result's shape into the attr `shape_is`.


def _with_known_shape(types: Sequence[Any], attrs: dict[str, Any], require: object) -> list[Any]:
    return [attrs["type"]]


index = define(
    OpDef(
        "index", "view", ("x",), infer=_with_known_shape,
        # The ellipsis keeps a view of rank 0 a view.
        run=lambda x, *k, region, type: x[(*python_index(region, k), ...)],
        doc="Basic indexing, x[1:-1, None, i]: a view. {region} of At, Span, NewAxis; {type}: the result's. "
        "Arguments out "
        "of range for an At are the business of a `check` before it.",
    )
)
load = define(
    OpDef(
        "load", "read", ("x",), infer=lambda types, attrs, require: [Scalar(types[0].dtype)], reads=(0,),
        run=lambda x, *k, region: x[python_index(region, k)],
        doc="One element, x[i, j]. {region}: an At for every axis; negative positions count from the end; out of "
        "range is "
        "undefined here, a `check` stands before it.",
    )
)
transpose = define(
    OpDef(
        "transpose", "view", ("x",),
        infer=lambda types, attrs, require: [
            Array(
                types[0].dtype,
                tuple(types[0].shape[k] for k in attrs["perm"]),
                _transposed_layout(types[0], attrs["perm"]),
            )
        ],
        run=lambda x, perm: np.transpose(x, perm), doc="Axes in the order {perm}: a view.",
    )
)
reshape = define(
    OpDef(
        "reshape", "view", ("x",), infer=_with_known_shape,
        run=lambda x, *k, shape, type: x.reshape([k[s.k] if isinstance(s, Arg) else s for s in shape]),
        doc="The same elements in C order under another shape: a view. x has layout C. {shape}: ints and Args, no -1 "
        "(the maker writes it out); the number of elements is equal, by proof or by a check before it.",
    )
)
select_ref = define(
    OpDef(
        "select_ref", "view", ("cond", "a", "b"), views=(1, 2), reads=(),
        infer=lambda types, attrs, require: [_selected_type(types, require)],
        run=lambda cond, a, b: a if cond else b,
        doc="The array a where cond (a scalar) holds, else the array b: a choice of references, nothing is copied.",
    )
)


def _selected_type(types: Sequence[Any], require: Callable[[int, int, int, int], None]) -> Array:
    _, a, b = types
    for axis in range(len(a.shape)):
        require(1, axis, 2, axis)
    return Array(a.dtype, a.shape, a.layout if a.layout == b.layout else "A")


def _transposed_layout(ty: Array, perm: tuple[int, ...]) -> Any:
    if perm == tuple(range(len(perm))):
        return ty.layout
    if perm == tuple(reversed(range(len(perm)))):
        return {"C": "F", "F": "C", "A": "A"}[ty.layout]
    return "A"


def make_index(x: Value, region: Region, *operands: Any) -> Value:
    """x[region] as a view (rank 0 allowed); every entry is At, Span or NewAxis."""
    builder = current_builder()
    values = [builder.value(v) for v in operands]
    ty = builder.canonical_type(x.ty)
    shape = region_shape(ty.shape, region, _sizes_of(0, values))
    result = Array(ty.dtype, shape, region_layout(ty.layout, ty.shape, region))
    return index(x, *values, region=region, type=result)


def make_reshape(x: Value, shape: Sequence[int | Value]) -> Value:
    """x under another shape; at most one -1. A layout other than C is copied first, as NumPy may do.

    Raises: ShapeError where the number of elements is known to differ.
    """
    builder = current_builder()
    ty = builder.canonical_type(x.ty)
    if ty.layout != "C":
        x = copy(x)
    total = product_of_sizes(ty.shape)
    sizes: list[Size] = [s if s == -1 else builder.size_of(s) for s in shape]
    known: Size = 1
    for s in sizes:
        if s != -1:
            known = multiply_sizes(known, s)
    operands: list[Value] = []
    attr: list[int | Arg] = []
    unknown = [k for k, s in enumerate(sizes) if s == -1]
    if len(unknown) > 1:
        raise ShapeError("reshape takes at most one -1")
    for k, (s, given) in enumerate(zip(sizes, shape, strict=True)):
        if s != -1:
            if isinstance(given, int):
                attr.append(given)
            else:
                attr.append(Arg(len(operands)))
                operands.append(given)
            continue
        if isinstance(total, int) and isinstance(known, int):
            if known == 0 or total % known:
                raise ShapeError(f"an array of shape {format_shape(ty.shape)} cannot be given this shape")
            sizes[k] = total // known
            attr.append(total // known)
            continue
        sizes[k] = _quotient(total, known)
        count = element_count(x)
        for other, other_size in enumerate(sizes):
            if other != k and other_size != 1:
                given_size = shape[other]
                divisor = builder.value(given_size)
                if builder.checks:
                    exact = TABLE_eq(count % divisor, 0)
                    builder.emit(
                        "check", (exact,), error="ShapeError",
                        message=f"an array of shape {format_shape(ty.shape)} cannot be given this shape",
                    )
                count = count // divisor
        count.size = sizes[k]
        attr.append(Arg(len(operands)))
        operands.append(count)
    if not unknown and known != total:
        if isinstance(known, int) and isinstance(total, int):
            raise ShapeError(f"an array of shape {format_shape(ty.shape)} cannot be given this shape")
        if builder.checks:
            wanted = builder.const(1)
            for given in shape:
                wanted = wanted * given
            builder.emit(
                "check", (TABLE_eq(element_count(x), wanted),), error="ShapeError",
                message=f"an array of shape {format_shape(ty.shape)} cannot be given this shape",
            )
    result = Array(ty.dtype, tuple(sizes))
    return reshape(x, *operands, shape=tuple(attr), type=result)


def TABLE_eq(a: Any, b: Any) -> Value:
    """a == b as a node (operators on values keep `==` for identity)."""
    return current_builder().emit("eq", (a, b))


def _quotient(total: Size, known: Size) -> Size:
    """total / known as a dimension: exact where it cancels, else a size variable named for it."""
    if known == 1:
        return total
    if not isinstance(total, int) and len(total.terms) == 1:
        ((atoms, c),) = total.terms
        known_terms = [((), known)] if isinstance(known, int) else list(known.terms)
        if len(known_terms) == 1:
            known_atoms, d = known_terms[0]
            rest = list(atoms)
            if d and c % d == 0 and all(a in rest and (rest.remove(a) or True) for a in known_atoms):  # type: ignore[func-returns-value]
                quotient: Size = c // d
                from_atoms = list(rest)
                for atom in from_atoms:
                    quotient = multiply_sizes(quotient, _atom_size(atom))
                return quotient
    from gradc.ir.types import size_variable

    return size_variable(f"({total})//({known})")


def _atom_size(atom: Any) -> Size:
    return clamp_size(atom.inner) if atom.inner is not None else _variable(atom.name)


def _variable(name: str) -> Size:
    from gradc.ir.types import size_variable

    return size_variable(name)


# ------------------------------------------------------------------------------------------------ sizes

dim = define(
    OpDef(
        "dim", "query", ("x",), infer=lambda types, attrs, require: [WEAK_INT],
        run=lambda x, axis: x.shape[axis], emit="{x}.shape[{axis}]", doc="Size of {axis}, as Python's x.shape[axis].",
    )
)


def size_value(x: Value, axis: int) -> Value:
    """x.shape[axis]: a constant where it is known."""
    size = shape_values(x)[axis]
    return current_builder().const(size) if isinstance(size, int) else size


def element_count(x: Value) -> Value:
    """x.size."""
    builder = current_builder()
    total = builder.const(1) if x.rank == 0 else size_value(x, 0)
    for axis in range(1, x.rank):
        if x.shape[axis] != 1:
            total = total * size_value(x, axis)
    return total


def shape_operands(shape: Sequence[int | Value]) -> tuple[tuple[int | Arg, ...], list[Value]]:
    """A shape of ints and values as an attr (ints and Args) with its operands."""
    attr: list[int | Arg] = []
    operands: list[Value] = []
    for s in shape:
        if isinstance(s, Value):
            attr.append(Arg(len(operands)))
            operands.append(s)
        else:
            attr.append(int(s))
    return tuple(attr), operands


def shape_values(x: Value) -> list[int | Value]:
    """The shape of x: ints where known, `dim` nodes elsewhere."""
    builder = current_builder()
    sizes = [builder.canonical_size(s) for s in x.shape]
    made = x.node
    if made is not None and made.op.name in ("zeros", "empty"):
        # The operands that it was made with, so that an array nobody reads goes away.
        given = [made.operands[s.k] if isinstance(s, Arg) else s for s in made.attrs["shape"]]
        return [s if isinstance(s, int) else g for s, g in zip(sizes, given, strict=True)]
    return [s if isinstance(s, int) else dim(x, axis=axis) for axis, s in enumerate(sizes)]


# ------------------------------------------------------------------------------------------- allocation


def _allocated(shape: Sequence[int | Arg], operands: Sequence[Any]) -> list[int]:
    return [int(operands[s.k]) if isinstance(s, Arg) else s for s in shape]


zeros = define(
    OpDef(
        "zeros", "fresh", (), infer=_with_known_shape, reads=(),
        run=lambda *k, shape, type: np.zeros(_allocated(shape, k), type.dtype),
        takes_complex=True,
        doc="A new array of zeros. {shape}: ints and Args; {type}.",
        vjp=lambda ct, y, *k, **attrs: [None for _ in k], linear=(),
    )
)
empty = define(
    OpDef(
        "empty", "fresh", (), infer=_with_known_shape, reads=(),
        # NaN rather than garbage in the interpreter: a read before a write shows.
        run=lambda *k, shape, type: np.full(
            _allocated(shape, k), np.nan if np.dtype(type.dtype).kind in "fc" else 0, type.dtype
        ),
        takes_complex=True,
        doc="A new array of unspecified content. {shape}, {type}.", vjp=lambda ct, y, *k, **attrs: [None for _ in k],
    )
)


def make_zeros(shape: Sequence[int | Value], dtype: str = "float64", filled: bool = True) -> Value:
    """A new C-contiguous array of zeros (or of unspecified content) of this shape."""
    builder = current_builder()
    attr, operands = shape_operands(shape)
    ty = Array(dtype, tuple(builder.size_of(s) for s in shape))
    return (zeros if filled else empty)(*operands, shape=attr, type=ty)


def zeros_like(x: Value, dtype: str | None = None) -> Value:
    """A new C-contiguous array of zeros with the shape of x."""
    return make_zeros(shape_values(x), dtype or x.dtype)


copy = define(
    OpDef(
        "copy", "fresh", ("x",), infer=lambda types, attrs, require: [Array(types[0].dtype, types[0].shape)],
        reads=(0,),
        run=lambda x: np.array(x, order="C"), emit="{x}.copy()", moves="first", linear=("x",),
        vjp=lambda ct, y, x: [ct], takes_complex=True,
        doc="A new C-contiguous array with the content of x.",
    )
)
broadcast_to = define(
    OpDef(
        "broadcast_to", "fresh", ("x",), infer=_with_known_shape, reads=(0,), moves="first",
        run=lambda x, *k, shape, type: np.array(np.broadcast_to(x, _allocated(shape, k)), dtype=type.dtype),
        linear=("x",), vjp=lambda ct, y, x, *k, **attrs: [ct, *(None for _ in k)],
        takes_complex=True,
        doc="A new array of {shape} that repeats x along axes of size 1 and new leading axes; the maker has checked "
        "that "
        "it fits. The cotangent is summed back by the driver.",
    )
)


def make_broadcast(x: Value, shape: Sequence[int | Value]) -> Value:
    """x broadcast to `shape` as a new array; x may be a scalar."""
    builder = current_builder()
    attr, operands = shape_operands(shape)
    ty = Array(x.dtype, tuple(builder.size_of(s) for s in shape))
    return broadcast_to(x, *operands, shape=attr, type=ty)


# -------------------------------------------------------------------------------------------- gathers

gather = define(
    OpDef(
        "gather", "fresh", ("x",), infer=_with_known_shape, moves="first",
        run=lambda x, *k, region, type: x[python_index(region, k)],
        takes_complex=True,
        doc="Advanced indexing with integer arrays (some entries Gather): a new array. Indices out of range are the "
        "business of `check_indices` before it.",
    )
)
mask_select = define(
    OpDef(
        "mask_select", "fresh", ("x", "mask"), infer=_with_known_shape, reads=(0, 1), moves="first",
        run=lambda x, mask, type: x[mask], takes_complex=True,
        doc="x[mask] for a boolean array over the leading axes: a new array.",
    )
)
check_indices = define(
    OpDef(
        "check_indices", "check", ("indices", "x"), infer=lambda types, attrs, require: [], reads=(0,),
        doc="Raise IndexError where an entry of the integer array is outside [-n, n), n the size of {axis} of x. "
        "{message}",
    )
)


def make_gather(x: Value, region: Region, *operands: Any) -> Value:
    """x[region] where some entries are integer arrays."""
    builder = current_builder()
    values = [builder.value(v) for v in operands]
    used = [values[e.k] for e in region if isinstance(e, Gather)]
    gathered = builder.broadcast(used)
    ty = builder.canonical_type(x.ty)
    shape = region_shape(ty.shape, region, _sizes_of(0, values), gathered)
    return gather(x, *values, region=region, type=with_shape(ty.dtype, shape))


def make_mask_select(x: Value, mask: Value) -> Value:
    """x[mask]; the number of selected entries is a new size variable."""
    builder = current_builder()
    for axis in range(mask.rank):
        builder.require_equal(x, axis, mask, axis)
    ty = builder.canonical_type(x.ty)
    shape = (builder.new_size("count"), *ty.shape[mask.rank :])
    return mask_select(x, mask, type=Array(ty.dtype, shape))


# --------------------------------------------------------------------------------------------- writes


def _no_result(types: Sequence[Any], attrs: dict[str, Any], require: Callable[[int, int, int, int], None]) -> list[Any]:
    return []


def _fits(types: Sequence[Any], attrs: dict[str, Any], require: Callable[[int, int, int, int], None]) -> list[Any]:
    """The value broadcasts to the destination (never the other way); leading axes of size 1 may be extra."""
    dest, value = types[0].shape, types[1].shape
    extra = len(value) - len(dest)
    if extra > 0 and any(s != 1 for s in value[:extra]):
        raise ShapeError(f"cannot write shape {format_shape(value)} into shape {format_shape(dest)}")
    for axis, size in enumerate(value):
        if axis >= extra and size != 1:
            require(0, axis - extra, 1, axis)
    return []


def _run_store(x: Any, value: Any) -> None:
    x[...] = value


def _run_accumulate(x: Any, value: Any) -> None:
    x += value


def _run_store_at(x: Any, value: Any, *k: Any, region: Region) -> None:
    x[python_index(region, k)] = value


def _run_accumulate_at(x: Any, value: Any, *k: Any, region: Region) -> None:
    np.add.at(x, python_index(region, k), value)


def _run_scatter_mask(x: Any, value: Any, mask: Any) -> None:
    x[mask] = value


def _run_accumulate_mask(x: Any, value: Any, mask: Any) -> None:
    x[mask] += value


store = define(
    OpDef(
        "store", "write", ("x", "value"), infer=_fits, run=_run_store, reads=(1,),
        doc="x[...] = value: every element of x, which is usually a view; value (scalar or array) broadcasts and is "
        "cast. "
        "value is read in full before anything is written, also where it overlaps x.",
    )
)
accumulate = define(
    OpDef(
        "accumulate", "write", ("x", "value"), infer=_fits, run=_run_accumulate, reads=(0, 1),
        doc="x += value, element by element; value is read in full before anything is written.",
    )
)
store_at = define(
    OpDef(
        "store_at", "write", ("x", "value"), infer=_no_result, run=_run_store_at, reads=(1,),
        doc="x[i, j] = value for one element; {region}: an At for every axis. Index operands follow value.",
    )
)
accumulate_at = define(
    OpDef(
        "accumulate_at", "write", ("x", "value"), infer=_no_result, run=_run_accumulate_at, reads=(0, 1),
        doc="x[i, j] += value for one element; {region}.",
    )
)
scatter = define(
    OpDef(
        "scatter", "write", ("x", "value"), infer=_no_result, run=_run_store_at,
        doc="x[region] = value with integer arrays in the region; where positions repeat, the last one wins.",
        reads=None,
    )
)
scatter_add = define(
    OpDef(
        "scatter_add", "write", ("x", "value"), infer=_no_result, run=_run_accumulate_at,
        doc="np.add.at(x, region, value): positions that repeat add up. (x[idx] += v is gather, add, scatter.)",
        reads=None,
    )
)
scatter_mask = define(
    OpDef(
        "scatter_mask", "write", ("x", "value", "mask"), infer=_no_result, run=_run_scatter_mask, reads=(1, 2),
        doc="x[mask] = value: value is a scalar, or an array with one row per True of mask, in C order.",
    )
)
accumulate_mask = define(
    OpDef(
        "accumulate_mask", "write", ("x", "value", "mask"), infer=_no_result, run=_run_accumulate_mask, reads=(0, 1, 2),
        doc="x[mask] += value.",
    )
)


# ---------------------------------------------------------------------------------------------- names

alias = define(
    OpDef(
        "alias", "view", ("x",), infer=lambda types, attrs, require: [types[0]], run=lambda x: x, emit="{x}",
        doc="x under another name (`dy = dx` in a readable derivative): the same buffer. Dropped before kernels.",
    )
)
last_writers = define(
    OpDef(
        "last_writers", "fresh", ("x",), infer=_with_known_shape, zero_derivative=True,
        run=lambda x, *k, region, type: _last_writers(x, python_index(region, k)),
        takes_complex=True,
        doc="Boolean, shaped like x[region] (integer arrays): whether an entry is the last one that names its "
        "position, so "
        "the one whose value `scatter` keeps.",
    )
)


def _last_writers(x: Any, index: tuple[Any, ...]) -> Any:
    owner = np.zeros(x.shape, np.int64)
    numbers = np.arange(owner[index].size).reshape(owner[index].shape)
    owner[index] = numbers
    return owner[index] == numbers
