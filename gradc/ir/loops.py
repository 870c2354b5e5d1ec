"""The loop form: what lowering makes of a function and what the kernel emitter prints.

Scalars are named variables; arrays are `Buffer`s reached element by element through affine indices; loops,
branches, products and allocations are statements. `Fold`, `Cells` and `Contraction` are what the entries of
reductions, of arranged arrays and of products say about themselves (`OpDef.lower`), so lowering knows no op by name.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np

from gradc.errors import NOWHERE, Loc
from gradc.ir.nodes import Node
from gradc.ir.opdef import OpDef

KERNEL_FUNCTIONS = (
    "sqrt", "fabs", "floor", "ceil", "rint", "trunc", "copysign", "nextafter", "exp", "exp2", "expm1", "log", "log2",
    "log10", "log1p", "cbrt", "sin", "cos", "tan", "asin", "acos", "atan", "atan2", "sinh", "cosh", "tanh", "asinh",
    "acosh", "atanh", "erf", "erfc", "lgamma", "tgamma", "pow", "hypot", "fmod", "floordiv", "mod", "sigmoid",
    "softplus", "logaddexp", "logaddexp2", "larger", "smaller", "reassoc_add", "reassoc_mul",
)  # fmt: skip
"""Functions that templates of kernel code may call besides abs, bool, min and max; `codegen/intrinsics.py` has them."""

SPECIAL_FUNCTIONS: dict[str, tuple[str, str, int]] = {
    f"special_{name}": (name, operands, -1)
    for operands, names in {
        "d": "erfinv erfcinv erfcx erfi dawsn log_ndtr ndtri rgamma j0 j1 y0 y1 i0 i1 i0e i1e k0 k1 k0e k1e exp1 expi "
        "spence ellipk ellipkm1 ellipe gammasgn",
        "dd": "beta betaln gammainc gammaincc gammaincinv gammainccinv jv yv iv ive kv kve expn ellipkinc ellipeinc "
        "eval_legendre eval_chebyt eval_chebyu eval_laguerre hyp0f1 struve modstruve poch binom "
        "stdtr stdtrit",
        "ld": "eval_hermite eval_hermitenorm",
        "ddd": "betainc betaincinv eval_gegenbauer eval_genlaguerre hyp1f1 hyperu",
        "dddd": "eval_jacobi hyp2f1",
    }.items()
    for name in names.split()
} | {
    f"special_{name}_{k}": (name, "d", k) for name, count in {"airy": 4, "sici": 2, "shichi": 2, "fresnel": 2}.items()
    for k in range(count)
}  # fmt: skip
"""Functions of SciPy that templates may call: SciPy's name, the types of its operands (d: double, l: integer), and
which of its outputs is meant (-1: it returns its result). `codegen/scipy_functions.py` has them."""

OWN_FUNCTIONS: dict[str, tuple[str, int, tuple[int, ...]]] = {
    "gammainc_slope": ("gammainc_derivative", 2, (1,)),
    "gammainc_curvature": ("gammainc_derivative", 2, (2,)),
    "betainc_slope_a": ("betainc_derivative", 3, (1, 0)),
    "betainc_slope_b": ("betainc_derivative", 3, (0, 1)),
    "betainc_curvature_aa": ("betainc_derivative", 3, (2, 0)),
    "betainc_curvature_ab": ("betainc_derivative", 3, (1, 1)),
    "betainc_curvature_bb": ("betainc_derivative", 3, (0, 2)),
}
"""Functions of gradc that templates may call: the Python function, how many floats it takes, and its last arguments.
`ops/parameter_slopes.py` has the functions, `codegen/own_functions.py` compiles them."""

FOURIER_FUNCTIONS = ("fourier_fft", "fourier_ifft", "fourier_rfft", "fourier_irfft")
"""Transforms of complex numbers, their inverses, of real numbers to half a spectrum, and back: `codegen/fourier.py`."""

LIBRARY: dict[str, tuple[int, str]] = {
    "lu": (2, "xxi"), "lu_solve": (4, "xixx"), "exchange": (4, "xix"), "solve_triangular": (5, "xxx"),
    "cofactors": (2, "xx"), "cholesky": (2, "xx"), "eigh": (3, "xrx"), "eig": (3, "xzz"), "svd": (5, "xxrx"),
    "qr": (4, "xxx"), "sylvester": (3, "xxxx"), "sqrtm": (2, "xx"),
    "banded": (5, "xxx"),
}  # fmt: skip
"""Routines: how many integers they take, and the dtypes of the arrays after these: x, that of the matrices, r, of its
real part, z, the complex one, i, 32-bit integers. Operands are read and results are written, in this order."""

KERNEL_DTYPES = (
    "bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "float32", "float64", "complex64",
    "complex128",
)  # fmt: skip
"""Dtypes of arrays that kernels can make."""

# ---------------------------------------------------------------------------- what entries say about themselves


@dataclass(frozen=True, slots=True)
class Fold:
    """A reduction as a loop. Texts are templates of kernel code.

    state: names of accumulators with (dtype, initial value); dtype "y" is the result's and "x" the operand's, the
        initial value is a number or a function of the dtype.
    step: assignments made for each element in order, of {x}, the accumulators, {i} (the position among the reduced
        elements in C order) and names assigned before.
    result: of the accumulators and {count}.
    """

    state: tuple[tuple[str, str, Any], ...]
    step: tuple[tuple[str, str], ...]
    result: str

    @property
    def counts(self) -> bool:
        return any("{i}" in text for _, text in self.step)


@dataclass(frozen=True, slots=True)
class Cells:
    """A new array whose every element is a template: operands by name (broadcast, at the same position), attrs by name,
    {i0}, {i1}, ... the position, {row} and {column} its last two."""

    text: str


@dataclass(frozen=True, slots=True)
class Contraction:
    """A product as subscripts: a letter for every axis of the operands and of the result, as in einsum."""

    subscripts: Callable[[Node], tuple[str, str, str]]


@dataclass(frozen=True, slots=True)
class Routine:
    """A function of `codegen/library.py` over stacks of matrices, which are contiguous: `LIBRARY` has its operands.

    axes: sizes that it is given, each by (operand, axis from the back); before them, how many matrices operand 0 holds.
    lazy: results that nobody may want; it is told whether somebody does. options: attrs that it is given as integers.
    fails: messages of the LinAlgErrors for the statuses from 1 on. least: (result, axis) of a size that is the least of
    the first two of `axes`.
    """

    name: str
    axes: tuple[tuple[int, int], ...]
    options: tuple[str, ...] = ()
    fails: tuple[str, ...] = ()
    lazy: tuple[int, ...] = ()
    least: tuple[int, int] | None = None


# ------------------------------------------------------------------------------------------ integers


@dataclass(frozen=True, slots=True)
class Lin:
    """An affine integer: const + sum of coefficient * variable. A variable "@k" is the k-th axis of a statement."""

    const: int = 0
    terms: tuple[tuple[str, int], ...] = ()

    def __add__(self, other: Lin | int) -> Lin:
        if isinstance(other, int):
            return Lin(self.const + other, self.terms)
        merged = dict(self.terms)
        for name, c in other.terms:
            merged[name] = merged.get(name, 0) + c
        return Lin(self.const + other.const, tuple((n, c) for n, c in merged.items() if c))

    def __neg__(self) -> Lin:
        return self * -1

    def __sub__(self, other: Lin | int) -> Lin:
        return self + (-other)

    def __mul__(self, factor: int) -> Lin:
        if not factor:
            return Lin()
        return Lin(self.const * factor, tuple((n, c * factor) for n, c in self.terms))

    @property
    def is_const(self) -> bool:
        return not self.terms

    def same(self, other: Lin) -> bool:
        """Equality whatever the order of terms."""
        return self.const == other.const and dict(self.terms) == dict(other.terms)

    def coefficient(self, name: str) -> int:
        return dict(self.terms).get(name, 0)

    def substitute(self, replace: Mapping[str, Lin]) -> Lin:
        if not any(n in replace for n, _ in self.terms):
            return self
        total = Lin(self.const)
        for name, c in self.terms:
            total = total + (replace[name] * c if name in replace else Lin(0, ((name, c),)))
        return total

    def without(self, name: str) -> Lin:
        return Lin(self.const, tuple((n, c) for n, c in self.terms if n != name))


def var(name: str) -> Lin:
    """The integer variable `name`."""
    return Lin(0, ((name, 1),))


def axis(k: int) -> Lin:
    """The position along axis k of a statement."""
    return Lin(0, ((f"@{k}", 1),))


# ------------------------------------------------------------------------------------------- buffers


@dataclass(eq=False, slots=True)
class Buffer:
    """Memory that an array variable names. `roots`: the allocations or parameters that it may be part of.

    `kept`: axes that are stored; the others live within one iteration of the loops around every use (None: all are).
    `scalar`: it is a scalar variable.
    """

    name: str
    dtype: str
    extents: tuple[Lin, ...]
    layout: str = "C"
    fresh: bool = False
    param: bool = False
    of: tuple[Buffer, ...] = ()
    kept: tuple[int, ...] | None = None
    scalar: bool = False

    @property
    def roots(self) -> frozenset[Buffer]:
        if not self.of:
            return frozenset((self,))
        return frozenset().union(*(b.roots for b in self.of))

    def __repr__(self) -> str:
        return f"<buffer {self.name}>"


# ---------------------------------------------------------------------------------------- expressions


@dataclass(eq=False, slots=True)
class Lit:
    """A number of a dtype."""

    value: Any
    dtype: str


@dataclass(eq=False, slots=True)
class Var:
    """A scalar variable."""

    name: str
    dtype: str


@dataclass(eq=False, slots=True)
class Int:
    """An affine integer as an int64."""

    lin: Lin
    dtype: str = "int64"


@dataclass(eq=False, slots=True)
class Load:
    """One element of a buffer. An index is affine, or an integer expression (gathers, which NumPy lets be negative)."""

    buffer: Buffer
    index: tuple[Index, ...]

    @property
    def dtype(self) -> str:
        return self.buffer.dtype


@dataclass(eq=False, slots=True)
class Apply:
    """An elementwise op on scalars; `compute` is the dtype that it computes in."""

    op: OpDef
    attrs: Mapping[str, Any]
    args: tuple[Expr, ...]
    dtype: str
    compute: str


@dataclass(eq=False, slots=True)
class Text:
    """A template of kernel code with expressions by name; numbers in it count as of dtype `compute`."""

    template: str
    args: Mapping[str, Expr]
    dtype: str
    compute: str = ""


Expr: TypeAlias = "Lit | Var | Int | Load | Apply | Text"
Index: TypeAlias = "Lin | Expr"


def children(expr: Expr) -> tuple[Expr, ...]:
    """Expressions that `expr` is made of, those in indices included."""
    match expr:
        case Apply():
            return expr.args
        case Text():
            return tuple(expr.args.values())
        case Load():
            return tuple(e for e in expr.index if not isinstance(e, Lin))
        case _:
            return ()


def walk(expr: Expr) -> Iterator[Expr]:
    """`expr` and everything inside it."""
    yield expr
    for inner in children(expr):
        yield from walk(inner)


def rebuild(expr: Expr, change: Callable[[Expr], Expr | None], lins: Callable[[Lin], Lin]) -> Expr:
    """A copy of `expr`: `change` may replace a part (its result is not looked into), `lins` maps affine integers."""
    changed = change(expr)
    if changed is not None:
        return changed
    match expr:
        case Int():
            return Int(lins(expr.lin), expr.dtype)
        case Load():
            return Load(expr.buffer, rebuild_index(expr.index, change, lins))
        case Apply():
            return Apply(
                expr.op, expr.attrs, tuple(rebuild(a, change, lins) for a in expr.args), expr.dtype, expr.compute
            )
        case Text():
            args = {k: rebuild(a, change, lins) for k, a in expr.args.items()}
            return Text(expr.template, args, expr.dtype, expr.compute)
        case _:
            return expr


def rebuild_index(
    index: tuple[Index, ...], change: Callable[[Expr], Expr | None], lins: Callable[[Lin], Lin]
) -> tuple[Index, ...]:
    """`rebuild` for every part of an index."""
    return tuple(lins(e) if isinstance(e, Lin) else rebuild(e, change, lins) for e in index)


# ----------------------------------------------------------------------------------------- statements


@dataclass(eq=False, slots=True)
class Assign:
    """name = expr, of `dtype`."""

    name: str
    expr: Expr
    dtype: str


@dataclass(eq=False, slots=True)
class Move:
    """Parallel assignment of scalars: all values are read before any name is written."""

    names: tuple[str, ...]
    exprs: tuple[Expr, ...]
    dtypes: tuple[str, ...]


@dataclass(eq=False, slots=True)
class Put:
    """buffer[index] = expr, or += where `add`. `reassociate`: additions may be reordered."""

    buffer: Buffer
    index: tuple[Index, ...]
    expr: Expr
    add: bool = False


@dataclass(eq=False, slots=True)
class Alloc:
    """The buffer's variable is a new array of its kept axes."""

    buffer: Buffer


@dataclass(eq=False, slots=True)
class Size:
    """name = size of an axis of a buffer."""

    name: str
    buffer: Buffer
    axis: int


@dataclass(eq=False, slots=True)
class Slice:
    """Where a view lies in memory: along each axis of the buffer a position, or start, step, and length of an axis."""

    buffer: Buffer
    starts: tuple[Lin, ...]
    steps: tuple[Any, ...]
    axes: tuple[int | None, ...]
    extents: tuple[Lin, ...]


@dataclass(eq=False, slots=True)
class Bind:
    """The buffer's variable names other memory: a reshape of a contiguous part, or a choice of two slices."""

    buffer: Buffer
    source: Slice | None = None
    cond: Expr | None = None
    other: Slice | None = None


@dataclass(eq=False, slots=True)
class Product:
    """c (+)= a @ b. Operands: (buffer, position of the first element, axis of rows, axis of columns); -1: no axis."""

    a: tuple[Buffer, tuple[Lin, ...], int, int]
    b: tuple[Buffer, tuple[Lin, ...], int, int]
    c: tuple[Buffer, tuple[Lin, ...], int, int]
    sizes: tuple[Lin, Lin, Lin]
    add: bool = False


@dataclass(eq=False, slots=True)
class Transform:
    """c = discrete Fourier transform of a along one axis, row by row; `function` is one of FOURIER_FUNCTIONS.

    Operands: (buffer, position of the first element, axis of the transform, axis of rows or -1). sizes: rows, entries
    of a and of c along the axis. scale: 0, or 1 and 2 for a factor 1/sqrt(n) and 1/n, where n are the points.
    """

    function: str
    a: tuple[Buffer, tuple[Lin, ...], int, int]
    c: tuple[Buffer, tuple[Lin, ...], int, int]
    sizes: tuple[Lin, Lin, Lin]
    scale: int


@dataclass(eq=False, slots=True)
class For:
    """for var in range(start, stop, step)."""

    var: str
    start: Lin | Expr
    stop: Lin | Expr
    step: Lin | Expr
    body: list[Stmt] = field(default_factory=list)
    user: bool = False


@dataclass(eq=False, slots=True)
class While:
    """while True; left by `Break`."""

    body: list[Stmt] = field(default_factory=list)


@dataclass(eq=False, slots=True)
class If:
    """if cond: then; else: orelse."""

    cond: Expr
    then: list[Stmt] = field(default_factory=list)
    orelse: list[Stmt] = field(default_factory=list)


@dataclass(eq=False, slots=True)
class Break:
    """Leave the innermost loop."""


@dataclass(eq=False, slots=True)
class Raise:
    """Raise an exception of a class of gradc.errors or a builtin one, with a constant message."""

    error: str
    message: str
    loc: Loc = NOWHERE


@dataclass(eq=False, slots=True)
class Grow:
    """Make sure that the one-dimensional buffer holds `size` elements, moving it where it does not."""

    buffer: Buffer
    size: Lin


@dataclass(eq=False, slots=True)
class CallC:
    """name = call(args): a C function that is given arrays by their first elements. Scalars are variables or sizes."""

    name: str
    call: str
    args: tuple[str | Lin | Buffer, ...]
    written: tuple[Buffer, ...] = ()


Stmt: TypeAlias = (
    "Assign | Move | Put | Alloc | Size | Bind | Product | Transform | For | While | If | Break | Raise | Grow | CallC"
)


@dataclass(eq=False, slots=True)
class Kernel:
    """A lowered function: parameters (variable names), statements, results (expressions or buffers).

    `natural`: integer variables that are never negative.
    """

    name: str
    params: list[str]
    body: list[Stmt]
    results: list[Expr | Buffer]
    new_name: Callable[[str], str]
    natural: frozenset[str] = frozenset()


def zero_of(dtype: str) -> Any:
    """The zero of a dtype as a Python number."""
    return {"b": False, "c": 0j, "f": 0.0}.get(np.dtype(dtype).kind, 0)
