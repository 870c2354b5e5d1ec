"""Shapes in comments: `# shapes: X (n, m), W (m, k)` above a program of matrices, and `# (n, k)` beside its stages."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable

from gradc.ir.nodes import Func, Node, Value, walk_nodes
from gradc.ir.types import Array, Dim, Shape, Size

_LETTERS = ("n", "m", "k", "p", "q", "r", "d", "h")


class ShapeComments:
    """Letters for the sizes of the arguments of one function.

    `names` are the variables of the parameters, `taken` names that mean something else in the text. Functions without a
    matrix among their arguments get no comments.
    """

    def __init__(self, func: Func, names: Iterable[str], used: Iterable[Value], taken: Iterable[str]) -> None:
        self._letters: dict[str, str] = {}
        self._shown: list[tuple[str, Shape]] = []
        taken, shown = set(taken), set(used)
        free = [letter for letter in _LETTERS if letter not in taken]
        arrays = [
            (name, p.ty)
            for name, p in zip(names, func.params, strict=True)
            if isinstance(p.ty, Array) and p.ty.shape and p in shown
        ]
        if len(arrays) < 2 or not any(len(ty.shape) > 1 for _, ty in arrays):
            return
        equal = equal_sizes(func)
        for node in walk_nodes(func.body):
            if node.op.name == "dim" and node.result.name and isinstance(node.operands[0].ty, Array):
                atom = size_name(node.operands[0].ty.shape[node.attrs["axis"]])
                if atom:
                    self._letters.setdefault(root_of(atom, equal), node.result.name)
        for name, ty in arrays:
            for size in ty.shape:
                atom = size_name(size)
                root = root_of(atom, equal)
                if root != atom and root in self._letters:
                    self._letters[atom] = self._letters[root]
                if atom and atom not in self._letters:
                    if not free:
                        self._letters.clear()
                        self._shown.clear()
                        return
                    self._letters[atom] = self._letters[root] = free.pop(0)
            self._shown.append((name, ty.shape))

    def heading(self, width: int) -> list[str]:
        """The comment that says the shapes of the arguments, in lines; none where there is nothing to say."""
        if not self._shown:
            return []
        text = ", ".join(f"{name}\0{self._text(shape)}".replace(" ", "\0") for name, shape in self._shown)
        return [
            line.replace("\0", " ")
            for line in textwrap.wrap(text, width, initial_indent="# shapes: ", subsequent_indent="#         ")
        ]

    def beside(self, node: Node) -> str:
        """The comment beside a statement that makes a new array: `  # (n, k)`; "" where it would not help."""
        if not self._shown or len(node.results) != 1 or node.op.kind not in ("elementwise", "product", "reduce"):
            return ""
        ty = node.result.ty
        if not isinstance(ty, Array) or not ty.shape or not node.result.name:
            return ""
        text = self._text(ty.shape)
        return f"  # {text}" if text else ""

    def _text(self, shape: Shape) -> str:
        """`(n, m - 1)`; "" where a size is not one of the arguments' or made from them."""
        parts = [self._size(size) for size in shape]
        if not all(parts):
            return ""
        return f"({', '.join(parts)}{',' if len(parts) == 1 else ''})"

    def _size(self, size: Size) -> str:
        if isinstance(size, int):
            return str(size)
        text = ""
        for atoms, coefficient in size.terms:
            factors = [self._letters.get(a.name, "") if a.inner is None else f"({self._size(a.inner)})" for a in atoms]
            if not all(f and f != "()" for f in factors):
                return ""
            if len(size.terms) == 1 and len(factors) == 1 and coefficient == 1:
                return factors[0].strip("()")
            magnitude = [str(abs(coefficient))] if abs(coefficient) != 1 or not factors else []
            product = "*".join(magnitude + factors)
            text += (
                (" - " if coefficient < 0 else " + ") + product if text else ("-" if coefficient < 0 else "") + product
            )
        return text


def equal_sizes(func: Func) -> dict[str, str]:
    """For size variables, another one that a check says is the same; `root_of` follows them to the last."""
    equal: dict[str, str] = {}
    for pair in func.notes.get("equal_sizes", ()):
        a, b = (root_of(size_name(size), equal) for size in pair)
        if a and b and a != b:
            equal[b] = a
    return equal


def root_of(name: str, equal: dict[str, str]) -> str:
    """The size variable that stands for all that are equal to `name`."""
    while name in equal:
        name = equal[name]
    return name


def same_shape(a: Shape, b: Shape, equal: dict[str, str]) -> bool:
    """Whether two shapes are one, by themselves or because a check says so."""
    return len(a) == len(b) and all(
        p == q or (root_of(size_name(p), equal) == root_of(size_name(q), equal) != "")
        for p, q in zip(a, b, strict=True)
    )


def size_name(size: Size) -> str:
    """The name of a size that is one variable."""
    if isinstance(size, Dim) and len(size.terms) == 1:
        ((atoms, coefficient),) = size.terms
        if coefficient == 1 and len(atoms) == 1 and atoms[0].inner is None:
            return atoms[0].name
    return ""
