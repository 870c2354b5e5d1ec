"""Sparse Jacobians and Hessians: the objects that `gradc.sparse_jacobian` and `gradc.sparse_hessian` return.

A call looks up the pattern for the sizes of its arguments and for the content of those that decide about it, sweeps
once over the colors (`ad/compressed.py`), and picks the entries from the result. Only a new pattern costs more: a few
sweeps of words (`ad/dependence.py`, `pattern.py`) and a coloring.
"""

from __future__ import annotations

import functools
import types
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Literal, Self, TypeAlias

import numpy as np
from scipy.sparse import csr_array

from gradc.errors import InternalError, UnsupportedError
from gradc.ir.custom import is_custom
from gradc.ir.effects import own_reads, roots
from gradc.ir.nodes import Func, Value, walk_nodes
from gradc.ir.tree import Leaf
from gradc.ir.types import Array
from gradc.runtime.coloring import column_colors, fullest_row, places_by_symmetry, symmetric_colors
from gradc.runtime.dispatch import Compiled, Kernel, compiled, program_of
from gradc.runtime.leaves import alias_pattern
from gradc.runtime.pattern import find_pattern
from gradc.runtime.pickling import by_reference, portable
from gradc.runtime.plan import Transform, argnums_text
from gradc.runtime.typevars import P

Ints: TypeAlias = "np.ndarray[Any, Any]"
_KEPT_PATTERNS = 16


@dataclass(eq=False, slots=True)
class Compression:
    """How the entries of a pattern are computed: by sweeps over colors of the columns ("fwd") or of the rows ("rev").

    places: for each entry where it is in the table (color, row or column) that the sweeps give.
    """

    pattern: csr_array
    mode: Literal["fwd", "rev"]
    colors: Ints
    places: Ints

    @property
    def sweeps(self) -> int:
        """How many colors there are."""
        return int(self.colors.max(initial=-1)) + 1


@dataclass(eq=False, slots=True)
class _Known:
    """A pattern with what it holds for: a program with its sizes, and the content of arguments."""

    kernel: Kernel
    shapes: tuple[Any, ...]
    content: tuple[Any, ...]
    compression: Compression


class SparseDerivative(Generic[P]):
    """A function that returns a derivative matrix as `scipy.sparse.csr_array`."""

    kind = "sparse_jacobian"

    def __init__(self, function: Callable[..., Any], transform: Transform) -> None:
        if not callable(function):
            raise TypeError(f"gradc.{self.kind} takes a function, not {function!r}")
        if not transform.single:
            raise UnsupportedError(
                f"gradc.{self.kind} takes one argument, not argnums={transform.argnums!r}",
                why="the result is one matrix.",
                hint="pass one array, for example the concatenation of the others.",
            )
        self._function = function
        self._transform = transform
        self._words = self._compiled("words")
        self._modes = {"fwd": self._compiled("compressed_fwd"), "rev": self._compiled("compressed_rev")}
        self._patterns: list[_Known] = []
        self._reads: dict[Kernel, tuple[int, ...]] = {}
        functools.update_wrapper(self, function, updated=())

    def _compiled(self, kind: Any) -> Compiled:
        return compiled(self._function, Transform(kind, self._transform.argnums, True))

    def __repr__(self) -> str:
        return f"<gradc.{self.kind}({self._words._qualname}, argnums={argnums_text(self._transform)})>"

    def __reduce__(self) -> Any:
        return by_reference(self) or (type(self), (portable(self._function, {}), self._transform))

    def __eq__(self, other: object) -> bool:
        """Objects are equal that compute the same of one function: of the same object, with the same options."""
        return self._words == other._words if type(other) is type(self) else NotImplemented

    def __hash__(self) -> int:
        return hash((type(self), self._words))

    def __copy__(self) -> Self:
        """The object itself, as copies of functions are."""
        return self

    def __deepcopy__(self, memo: Any) -> Self:
        """The object itself, as copies of functions are."""
        return self

    def __get__(self, instance: Any, owner: type | None = None) -> Any:
        return self if instance is None else types.MethodType(self, instance)

    def __gradc_expand__(self, args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
        """A call inside a compiled function. Raises: UnsupportedError, as sparse matrices are no values there."""
        raise UnsupportedError(
            f"gradc.{self.kind} cannot be called inside a compiled function",
            why="its result is a scipy.sparse matrix, and compiled functions hold numbers and NumPy arrays.",
            hint="call it outside; or gradc.jacobian, gradc.jvp or gradc.hvp inside.",
        )

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> csr_array:
        """The matrix: a row for every entry of the result, a column for every entry of the argument, both in C order.

        Entries of the pattern that are zero at this point are stored as zeros, so that `indices` and `indptr` are the
        same for all calls with one pattern.
        """
        values = self._words._bind(*args, **kwargs)
        found = self._compression(values)
        table = self._table(values, found)
        pattern = found.pattern
        data = table.reshape(-1).take(found.places)
        made = csr_array((data, pattern.indices.copy(), pattern.indptr.copy()), shape=pattern.shape)
        made.has_sorted_indices = True
        made.has_canonical_format = True
        return made

    def pattern(self, *args: P.args, **kwargs: P.kwargs) -> csr_array:
        """Where the matrix may have nonzero entries for arguments like these: True in a csr_array of bool.

        It holds for every value of the differentiated argument, of its shape.
        """
        return self._compression(self._words._bind(*args, **kwargs)).pattern.copy()

    def compression(self, *args: P.args, **kwargs: P.kwargs) -> Compression:
        """How the matrix is computed for arguments like these: pattern, mode, colors and the number of sweeps."""
        return self._compression(self._words._bind(*args, **kwargs))

    # ----------------------------------------------------------------------------------------- patterns

    def _compression(self, values: tuple[Any, ...]) -> Compression:
        words = self._words
        leaves, plan, trees, keys, _ = words._prepare(values)
        if len(plan.wrt) != 1 or not isinstance(plan.gradient, Leaf) or not isinstance(leaves[plan.wrt[0]], np.ndarray):
            raise UnsupportedError(
                f"gradc.{self.kind} differentiates in one array, and argument {argnums_text(self._transform)} of "
                f"{words._qualname} is none",
                why="each column of the matrix is an entry of that array.",
                hint="pass an array; gather the numbers of a structure in one.",
            )
        entry, captured = words._entry(leaves, plan, trees, keys)
        full = [*leaves, *captured]
        aliases = alias_pattern(full, entry.written, entry.names) if entry.written else ()
        kernel = entry.variants.get(aliases) or words._kernel(entry, plan, aliases, full)
        shapes = tuple([np.shape(x) for x in full])
        read = self._reads.get(kernel)
        if read is None:
            read = self._reads[kernel] = _read_positions(kernel)
        content = [full[k] for k in read]
        for known in self._patterns:
            if known.kernel is kernel and known.shapes == shapes and _same(known.content, content):
                return known.compression
        found = self._compressed(self._find(values, full[plan.wrt[0]]), entry.program.func, values)
        kept = tuple([x.copy() if isinstance(x, np.ndarray) else x for x in content])
        self._patterns.insert(0, _Known(kernel, shapes, kept, found))
        del self._patterns[_KEPT_PATTERNS:]
        return found

    def _find(self, values: tuple[Any, ...], x: Ints) -> csr_array:
        shape: list[int] = []

        def sweep(words: Ints) -> Ints:
            made = np.asarray(self._words._call(values, (words.view(np.int64).reshape(x.shape),)))
            shape[:] = made.shape
            return made.reshape(-1).view(np.uint64)

        sweep(np.zeros(x.size, np.uint64))
        return find_pattern(sweep, x.size, int(np.prod(shape, dtype=np.int64)))

    def _compressed(self, pattern: csr_array, func: Func, values: tuple[Any, ...]) -> Compression:
        turned = pattern.T.tocsr()
        rows = np.repeat(np.arange(pattern.shape[0]), np.diff(pattern.indptr))

        def by_columns() -> Compression:
            colors = column_colors(pattern)
            return Compression(pattern, "fwd", colors, colors[pattern.indices] * pattern.shape[0] + rows)

        def by_rows() -> Compression:
            colors = column_colors(turned)
            return Compression(pattern, "rev", colors, colors[rows] * pattern.shape[1] + pattern.indices)

        if "custom_vjp" in _rules(func):  # no forward mode
            return by_rows()
        # A reverse sweep counts as two forward ones. The side whose bound is lower goes first, as it may settle it.
        if fullest_row(pattern) <= 2 * fullest_row(turned):
            forward = by_columns()
            if forward.sweeps <= 2 * fullest_row(turned):
                return forward
            reverse = by_rows()
        else:
            reverse = by_rows()
            if 2 * reverse.sweeps < fullest_row(pattern):
                return reverse
            forward = by_columns()
        return reverse if 2 * reverse.sweeps < forward.sweeps else forward

    # -------------------------------------------------------------------------------------------- values

    def _table(self, values: tuple[Any, ...], found: Compression) -> Ints:
        return np.asarray(self._modes[found.mode]._call(values, (found.colors, found.sweeps)))


class SparseHessian(SparseDerivative[P]):
    """A function that returns a Hessian as `scipy.sparse.csr_array`: the forward Jacobian of the gradient."""

    kind = "sparse_hessian"

    def _compressed(self, pattern: csr_array, func: Func, values: tuple[Any, ...]) -> Compression:
        assert isinstance(self._function, Compiled)
        if _rules(program_of(self._function._function, values).func) & {"custom_vjp", "custom_jvp"}:
            # The derivatives of such a rule need not be those of any function, so not symmetric either.
            return super()._compressed(pattern, func, values)
        pattern = (pattern + pattern.T).tocsr()
        pattern.sort_indices()
        colors = symmetric_colors(pattern)
        places = places_by_symmetry(pattern.indptr.astype(np.int64), pattern.indices.astype(np.int64), colors)
        if places.min(initial=0) < 0:
            raise InternalError("the coloring of a Hessian does not determine its entries")
        return Compression(pattern, "fwd", colors, places)


def _same(kept: Sequence[Any], given: Sequence[Any]) -> bool:
    """Whether contents are equal, bit for bit."""
    for a, b in zip(kept, given, strict=True):
        if isinstance(a, np.ndarray):
            if a.tobytes() != b.tobytes():
                return False
        elif a != b or type(a) is not type(b):
            return False
    return True


def _read_positions(kernel: Kernel) -> tuple[int, ...]:
    """Which parameters of a kernel its result depends on by their content, not by their sizes alone."""
    func = kernel.staged.func
    used: set[Value] = set()
    for node in walk_nodes(func.body):
        for array in own_reads(node):
            used |= roots(array)
        used.update(v for v in node.operands if not isinstance(v.ty, Array))
        for block in node.blocks:
            used.update(block.yields)
    for result in func.results:
        used |= roots(result) | {result}
    return tuple(k for k, p in enumerate(func.params[:-1]) if p in used)


def _rules(func: Func) -> set[str]:
    """The kinds of rules of the user that a function calls."""
    return {node.attrs["rule"].kind for node in walk_nodes(func.body) if is_custom(node)}
