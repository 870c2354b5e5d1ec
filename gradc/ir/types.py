"""Types of the IR: scalars, arrays with symbolic dimensions, stacks. Pure functions, no nodes.

A dimension is an int or a `Dim`: a polynomial with integer coefficients over atoms. An atom is a size
variable (`n0`), or `max(p, 0)` of another dimension, which is what the length of a slice is.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np

from gradc.errors import ShapeError

Layout: TypeAlias = Literal["C", "F", "A"]
Monomial: TypeAlias = "tuple[Atom, ...]"


@dataclass(frozen=True, slots=True)
class Atom:
    """One indeterminate of a dimension: a size variable, or max(inner, 0)."""

    name: str
    inner: Dim | None = None

    def __hash__(self) -> int:
        return hash(self.name)

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True, slots=True)
class Dim:
    """A size that is known at run time only: sum of coefficient * product of atoms, in canonical order."""

    terms: tuple[tuple[Monomial, int], ...]

    def __str__(self) -> str:
        text = ""
        for atoms, coefficient in self.terms:
            product = "*".join(a.name for a in atoms)
            magnitude = abs(coefficient)
            body = product if product and magnitude == 1 else f"{magnitude}*{product}" if product else str(magnitude)
            if not text:
                text = f"-{body}" if coefficient < 0 else body
            else:
                text += f" - {body}" if coefficient < 0 else f" + {body}"
        return text or "0"

    __repr__ = __str__


Size: TypeAlias = "int | Dim"
Shape: TypeAlias = "tuple[Size, ...]"


def size_variable(name: str) -> Dim:
    """The dimension that is one size variable."""
    return Dim((((Atom(name),), 1),))


def _terms(size: Size) -> dict[Monomial, int]:
    if isinstance(size, Dim):
        return dict(size.terms)
    return {(): size} if size else {}


def _from_terms(terms: dict[Monomial, int]) -> Size:
    kept = {atoms: c for atoms, c in terms.items() if c}
    if not kept:
        return 0
    if set(kept) == {()}:
        return kept[()]
    # Longer products first, the constant last: `n*m + n - 2`.
    order = sorted(kept, key=lambda atoms: (-len(atoms), [a.name for a in atoms]))
    return Dim(tuple((atoms, kept[atoms]) for atoms in order))


def add_sizes(a: Size, b: Size) -> Size:
    """a + b."""
    if isinstance(a, int) and isinstance(b, int):
        return a + b
    if b == 0:
        return a
    terms = _terms(a)
    for atoms, c in _terms(b).items():
        terms[atoms] = terms.get(atoms, 0) + c
    return _from_terms(terms)


def multiply_sizes(a: Size, b: Size) -> Size:
    """a * b."""
    if isinstance(b, int) and isinstance(a, Dim) and b:
        return Dim(tuple((atoms, c * b) for atoms, c in a.terms))
    terms: dict[Monomial, int] = {}
    for left, c in _terms(a).items():
        for right, d in _terms(b).items():
            atoms = tuple(sorted(left + right, key=lambda atom: atom.name))
            terms[atoms] = terms.get(atoms, 0) + c * d
    return _from_terms(terms)


def negate_size(a: Size) -> Size:
    """-a."""
    return -a if isinstance(a, int) else Dim(tuple((atoms, -c) for atoms, c in a.terms))


def subtract_sizes(a: Size, b: Size) -> Size:
    """a - b."""
    return add_sizes(a, negate_size(b))


def clamp_size(a: Size) -> Size:
    """max(a, 0), as the length of a slice.

    max(max(p, 0) - c, 0) is max(p - c, 0) for c >= 0. A polynomial with no negative coefficient is
    kept as it is, because its atoms are sizes, and sizes are not negative.
    """
    if isinstance(a, int):
        return max(a, 0)
    if all(c >= 0 for _, c in a.terms):
        return a
    atoms = [(m, c) for m, c in a.terms if m]
    constant = dict(a.terms).get((), 0)
    if len(atoms) == 1 and constant <= 0:
        (monomial, coefficient) = atoms[0]
        if coefficient == 1 and len(monomial) == 1 and monomial[0].inner is not None:
            return clamp_size(add_sizes(monomial[0].inner, constant))
    return Dim((((Atom(f"max({a}, 0)", a),), 1),))


def product_of_sizes(shape: Shape) -> Size:
    """Number of elements of a shape."""
    total: Size = 1
    for size in shape:
        total = multiply_sizes(total, size)
    return total


def size_variables(size: Size) -> frozenset[str]:
    """Names of the size variables that `size` is made of."""
    names: set[str] = set()
    if isinstance(size, Dim):
        for atoms, _ in size.terms:
            for atom in atoms:
                if atom.inner is None:
                    names.add(atom.name)
                else:
                    names |= size_variables(atom.inner)
    return frozenset(names)


def substitute_size(size: Size, replacements: dict[str, Size]) -> Size:
    """`size` with size variables replaced by name."""
    if isinstance(size, int) or not (size_variables(size) & replacements.keys()):
        return size
    total: Size = 0
    for atoms, c in size.terms:
        term: Size = c
        for atom in atoms:
            if atom.inner is not None:
                factor: Size = clamp_size(substitute_size(atom.inner, replacements))
            else:
                factor = replacements.get(atom.name, Dim((((atom,), 1),)))
            term = multiply_sizes(term, factor)
        total = add_sizes(total, term)
    return total


def evaluate_size(size: Size, values: dict[str, int]) -> int:
    """The number that `size` is where its variables have these values."""
    if isinstance(size, int):
        return size
    total = 0
    for atoms, c in size.terms:
        for atom in atoms:
            c *= values[atom.name] if atom.inner is None else max(evaluate_size(atom.inner, values), 0)
        total += c
    return total


# ---------------------------------------------------------------------------------------------- types


@dataclass(frozen=True, slots=True)
class Scalar:
    """One number. `weak` marks a Python number, which does not take part in promotion (NumPy 2)."""

    dtype: str
    weak: bool = False

    @property
    def shape(self) -> Shape:
        return ()

    def __str__(self) -> str:
        return self.dtype + ("~" if self.weak else "")


@dataclass(frozen=True, slots=True)
class Array:
    """An array, which names a buffer. Rank 0 is allowed. `layout`: C or F contiguous, or A for any strides."""

    dtype: str
    shape: Shape
    layout: Layout = "C"

    def __str__(self) -> str:
        dims = ", ".join(str(d) for d in self.shape)
        return f"{self.dtype}[{dims}]" + ("" if self.layout == "C" else self.layout)


@dataclass(frozen=True, slots=True)
class Stack:
    """A tape that grows: residuals are pushed in the forward sweep and popped in the reverse sweep."""

    item: Scalar | Array

    def __str__(self) -> str:
        return f"stack<{self.item}>"


Type: TypeAlias = Scalar | Array | Stack

BOOL = Scalar("bool")
INT = Scalar("int64")
FLOAT = Scalar("float64")
WEAK_BOOL = Scalar("bool", weak=True)
WEAK_INT = Scalar("int64", weak=True)
WEAK_FLOAT = Scalar("float64", weak=True)
WEAK_COMPLEX = Scalar("complex128", weak=True)


def is_float(ty: Type) -> bool:
    """Whether values of this type are real floating-point numbers or hold them."""
    return isinstance(ty, Scalar | Array) and ty.dtype in ("float64", "float32", "float16")


def is_complex(ty: Type) -> bool:
    """Whether values of this type are complex."""
    return isinstance(ty, Scalar | Array) and ty.dtype in ("complex128", "complex64")


def is_inexact(ty: Type) -> bool:
    """Whether values of this type can have a derivative: real or complex floating point."""
    return is_float(ty) or is_complex(ty)


def is_integer(ty: Type) -> bool:
    """Whether values of this type are integers (booleans are not)."""
    return isinstance(ty, Scalar | Array) and np.dtype(ty.dtype).kind in "iu"


def is_bool(ty: Type) -> bool:
    """Whether values of this type are booleans."""
    return isinstance(ty, Scalar | Array) and ty.dtype == "bool"


def scalar_of_python(value: bool | int | float | complex) -> Scalar:
    """The weak type of a Python number."""
    if isinstance(value, bool):
        return WEAK_BOOL
    if isinstance(value, int):
        return WEAK_INT
    return WEAK_COMPLEX if isinstance(value, complex) else WEAK_FLOAT


_WEAK_SAMPLE: dict[str, bool | int | float | complex] = {"bool": False, "int64": 0, "float64": 0.0, "complex128": 0j}


def promote_dtypes(types: tuple[Scalar | Array, ...]) -> Scalar:
    """The dtype of an operation on these types, as NumPy 2 promotes; weak only where all are weak.

    A 0-d array takes part like any array. Source: NEP 50.
    """
    if all(isinstance(t, Scalar) and t.weak for t in types):
        order = ("bool", "int64", "float64", "complex128")
        return Scalar(max((t.dtype for t in types), key=order.index), weak=True)
    operands = [_WEAK_SAMPLE[t.dtype] if isinstance(t, Scalar) and t.weak else np.dtype(t.dtype) for t in types]
    return Scalar(np.result_type(*operands).name)


def broadcast_sizes(a: Size, b: Size) -> Size | None:
    """The size that two axes broadcast to, or None where it is not known that they do.

    An axis that is not the literal 1 is taken not to be 1: size-1 axes of arguments are part of a signature.
    """
    if a == b or b == 1:
        return a
    if a == 1:
        return b
    return None


def broadcast_shapes(a: Shape, b: Shape) -> tuple[Shape, tuple[tuple[Size, Size], ...]]:
    """The shape of an elementwise operation, and the pairs of sizes that must be equal for it.

    Raises: ShapeError where two literal sizes differ.
    """
    rank = max(len(a), len(b))
    left = (1,) * (rank - len(a)) + a
    right = (1,) * (rank - len(b)) + b
    result: list[Size] = []
    required: list[tuple[Size, Size]] = []
    for p, q in zip(left, right, strict=True):
        size = broadcast_sizes(p, q)
        if size is None:
            if isinstance(p, int) and isinstance(q, int):
                raise ShapeError(f"operands of shapes {format_shape(a)} and {format_shape(b)} do not broadcast")
            required.append((p, q))
            size = p if isinstance(p, int) else q
        result.append(size)
    return tuple(result), tuple(required)


def format_shape(shape: Shape) -> str:
    """A shape as Python writes a tuple."""
    return "(" + ", ".join(str(s) for s in shape) + ("," if len(shape) == 1 else "") + ")"


def with_shape(dtype: str, shape: Shape, layout: Layout = "C") -> Scalar | Array:
    """An array of this shape, or NumPy's scalar where the shape is empty (what NumPy's operations return)."""
    return Array(dtype, shape, layout) if shape else Scalar(dtype)
