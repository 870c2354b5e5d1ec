"""Names and scopes during lowering: unique variable names, where each is defined, and what sizes are at run time."""

from __future__ import annotations

import builtins
import keyword
import re
from dataclasses import dataclass, field

from gradc.ir.loops import (
    FOURIER_FUNCTIONS,
    KERNEL_DTYPES,
    KERNEL_FUNCTIONS,
    OWN_FUNCTIONS,
    SPECIAL_FUNCTIONS,
    Assign,
    Buffer,
    Int,
    Lin,
    Size,
    Stmt,
    Text,
    var,
)
from gradc.ir.types import Atom, Dim, size_variables, substitute_size
from gradc.ir.types import Size as Dimension

RESERVED = frozenset(keyword.kwlist) | {
    "np", "njit", "gradc", "view", "product", "exact_product", "grow",
    *KERNEL_FUNCTIONS, *SPECIAL_FUNCTIONS, *OWN_FUNCTIONS, *FOURIER_FUNCTIONS, *(f"empty_{d}" for d in KERNEL_DTYPES),
    *dir(builtins),
}  # fmt: skip


class Names:
    """Unique identifiers; the first taker of a name gets it plain, the next ones get a number."""

    def __init__(self) -> None:
        self.used: dict[str, int] = {}

    def take(self, wish: str) -> str:
        """An identifier like `wish` that was not given before."""
        base = re.sub(r"\W", "_", wish) or "t"
        if base[0].isdigit() or base in RESERVED or keyword.issoftkeyword(base):
            base = "v" + base if base[0].isdigit() else base + "_"
        name = base
        while name in self.used:
            self.used[base] = self.used.get(base, 0) + 1
            name = f"{base}_{self.used[base]}"
        self.used.setdefault(name, 0)
        return name


@dataclass(eq=False, slots=True)
class Scope:
    """A block that is being lowered. `prelude`: statements for just before it (loops only)."""

    depth: int
    loop: bool = False
    prelude: list[Stmt] = field(default_factory=list)
    atoms: dict[str, Lin] = field(default_factory=dict)
    sizes: dict[Dimension, Lin] = field(default_factory=dict)
    equal: dict[Dimension, Dimension] = field(default_factory=dict)
    equal_atoms: dict[str, Dimension] = field(default_factory=dict)


class Scopes:
    """The stack of scopes, and the depth at which each integer variable is defined."""

    def __init__(self, names: Names) -> None:
        self.names = names
        self.stack = [Scope(0)]
        self.depth: dict[str, int] = {}
        self.top: list[Stmt] = []
        self.top_names: set[str] = set()
        self.natural: set[str] = set()
        self.looped: dict[Dimension, int] = {}

    def define(self, name: str) -> None:
        """`name` is defined in the current scope."""
        self.depth[name] = self.stack[-1].depth

    def enter(self, loop: bool) -> Scope:
        scope = Scope(len(self.stack), loop)
        self.stack.append(scope)
        return scope

    def leave(self) -> None:
        self.stack.pop()

    # ----------------------------------------------------------------------------------------- sizes

    def learn_param(self, size: Dimension, buffer: Buffer, axis: int) -> Lin:
        """The size of an axis of a parameter, read at the top; axes of equal size share a variable."""
        if isinstance(size, int):
            return Lin(size)
        atom = _bare(size)
        if atom is not None and atom in self.stack[0].atoms:
            return self.stack[0].atoms[atom]
        name = self.names.take(atom if atom is not None and atom.isidentifier() else "n")
        self.top.append(Size(name, buffer, axis))
        self.depth[name] = 0
        self.top_names.add(name)
        self.natural.add(name)
        self.learn(size, var(name))
        return var(name)

    def learn(self, size: Dimension, value: Lin) -> None:
        """In the current scope, `size` is `value`."""
        name = _bare(size)
        if name is not None:
            self.stack[-1].atoms.setdefault(name, value)
        elif not isinstance(size, int):
            self.stack[-1].sizes.setdefault(size, value)

    def note_loop(self, size: Dimension) -> Dimension:
        """The canonical form of a dimension that a loop runs over."""
        size = self.canonical(size)
        self.looped.setdefault(size, len(self.looped))
        return size

    def learn_equal(self, a: Dimension, b: Dimension) -> None:
        """From here on in the current scope two dimensions are the same: the program has checked it."""
        a, b = self.canonical(a), self.canonical(b)
        if a == b:
            return
        # What loops before this point run over is kept, so that loops after it can join them; a number is best.
        newest = len(self.looped)
        if isinstance(b, int) or not isinstance(a, int) and self.looped.get(b, newest) < self.looped.get(a, newest):
            a, b = b, a
        name = _bare(b)
        if name is not None and name not in size_variables(a):
            self.stack[-1].equal_atoms[name] = a
        else:
            self.stack[-1].equal[b] = a

    def canonical(self, size: Dimension) -> Dimension:
        """A dimension with equal ones written the same way."""
        for _ in range(8):
            before = size
            for scope in self.stack:
                size = scope.equal.get(size, size)
                if scope.equal_atoms and not isinstance(size, int):
                    size = substitute_size(size, scope.equal_atoms)
            if size == before:
                break
        return size

    def resolve(self, size: Dimension) -> Lin | None:
        """`size` as a run-time integer, or None where a variable of it is not known here."""
        if isinstance(size, int):
            return Lin(size)
        for scope in reversed(self.stack):
            if size in scope.sizes:
                return scope.sizes[size]
        total = Lin()
        for atoms, c in size.terms:
            parts = [self._atom(a) for a in atoms]
            if any(p is None for p in parts):
                return None
            product = Lin(1)
            for part in parts:
                assert part is not None
                if product.is_const:
                    product = part * product.const
                elif part.is_const:
                    product = product * part.const
                else:
                    made = self._at_top("({a}) * ({b})", {"a": product, "b": part}, "n")
                    if made is None:
                        return None
                    product = made
            total = total + product * c
        self._remember(size, total)
        return total

    def _atom(self, atom: Atom) -> Lin | None:
        if atom.inner is None:
            for scope in reversed(self.stack):
                if atom.name in scope.atoms:
                    return scope.atoms[atom.name]
            return None
        inner = self.resolve(atom.inner)
        if inner is None:
            return None
        return Lin(max(inner.const, 0)) if inner.is_const else self._at_top("max({a}, 0)", {"a": inner}, "n")

    def _at_top(self, text: str, args: dict[str, Lin], wish: str) -> Lin | None:
        """A variable for an integer expression, set at the top of the function; None where it depends on inner ones."""
        if any(n not in self.top_names for lin in args.values() for n, _ in lin.terms):
            return None
        name = self.names.take(wish)
        self.top.append(Assign(name, Text(text, {k: Int(v) for k, v in args.items()}, "int64", "int64"), "int64"))
        self.depth[name] = 0
        self.top_names.add(name)
        self.natural.add(name)
        return var(name)

    def _remember(self, size: Dimension, value: Lin) -> None:
        deepest = max((self.depth.get(n, len(self.stack) - 1) for n, _ in value.terms), default=0)
        self.stack[min(deepest, len(self.stack) - 1)].sizes.setdefault(size, value)

    # ------------------------------------------------------------------------------------- placement

    def hoist(self, extents: tuple[Lin, ...]) -> list[Stmt] | None:
        """Where to allocate a buffer of these sizes: before the outermost loop in which they do not change, or None."""
        deepest = max((self.depth.get(n, len(self.stack) - 1) for e in extents for n, _ in e.terms), default=0)
        for scope in self.stack:
            if scope.loop and scope.depth > deepest:
                return scope.prelude
        return None


def _bare(size: Dimension) -> str | None:
    """The name of a dimension that is one size variable."""
    if isinstance(size, Dim) and len(size.terms) == 1:
        ((atoms, c),) = size.terms
        if c == 1 and len(atoms) == 1 and atoms[0].inner is None:
            return atoms[0].name
    return None
