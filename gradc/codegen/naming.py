"""Names of variables in emitted text: which values share one, and what it is called.

    x1 = add(x, c)      named x      x = x + c        one variable where the live ranges do not meet
    x2 = mul(x1, x1)    named x      x = x * x

SSA values become variables in three steps: what a loop carries is one variable with its initial value and what the
body yields, where no live range is in the way; then versions of one user variable are merged; then variables are named,
the user's names first. All of it follows program order, so equal programs get equal names.
"""

from __future__ import annotations

import builtins
import keyword
import re
from collections.abc import Iterable, Sequence

from gradc.codegen.liveness import Interference
from gradc.ir.nodes import Value
from gradc.ir.types import Array, Scalar

RESERVED = (
    frozenset(keyword.kwlist) | frozenset(n for n in dir(builtins) if not n.startswith("_")) | {"np", "math", "scipy"}
)


def identifier(name: str, taken: Iterable[str] = ()) -> str:
    """`name` as a legal variable name that shadows no keyword, builtin, import or name in `taken`."""
    cleaned = name if name.isidentifier() and name.strip("_") else re.sub(r"\W+", "_", name).strip("_") or "t"
    if cleaned[0].isdigit():
        cleaned = "t" + cleaned
    return cleaned + "_" if cleaned in RESERVED or cleaned in set(taken) else cleaned


class Variables:
    """Classes of values that share a variable, and the name of each.

    `wanted` maps a value to the name that the value should have; values without one are temporaries.
    """

    def __init__(self, interference: Interference, wanted: dict[Value, str]) -> None:
        self._values = interference.values
        self._index = interference.index
        self._adjacent = list(interference.adjacent)
        self._members = [1 << k for k in range(len(self._values))]
        self._parent = list(range(len(self._values)))
        self._wanted: list[str] = [wanted.get(v, "") for v in self._values]
        self._names: dict[int, str] = {}
        for group in interference.same:
            for other in group[1:]:
                self._join(self._find(self._index[group[0]]), self._find(self._index[other]))

    # ------------------------------------------------------------------------------------------ classes

    def _find(self, k: int) -> int:
        while self._parent[k] != k:
            self._parent[k] = self._parent[self._parent[k]]
            k = self._parent[k]
        return k

    def _join(self, a: int, b: int) -> None:
        """Merge class b into class a."""
        if a == b:
            return
        if b < a:
            a, b = b, a
        self._parent[b] = a
        self._members[a] |= self._members[b]
        self._adjacent[a] |= self._adjacent[b]
        self._wanted[a] = self._wanted[a] or self._wanted[b]

    def _free(self, a: int, b: int) -> bool:
        return not (self._adjacent[a] & self._members[b] or self._adjacent[b] & self._members[a])

    def merge(self, a: Value, b: Value) -> bool:
        """Make two values share a variable if they agree on its name and are never needed at the same time."""
        if a not in self._index or b not in self._index:
            return False
        i, j = self._find(self._index[a]), self._find(self._index[b])
        if i == j:
            return True
        if (self._wanted[i] and self._wanted[j] and self._wanted[i] != self._wanted[j]) or not self._free(i, j):
            return False
        self._join(i, j)
        return True

    def merge_namesakes(self) -> None:
        """Make versions of one user variable share it, in program order, where their live ranges do not meet."""
        by_name: dict[str, list[int]] = {}
        for k in range(len(self._values)):
            root = self._find(k)
            if not self._wanted[root]:
                continue
            rivals = by_name.setdefault(self._wanted[root], [])
            if root in (self._find(r) for r in rivals):
                continue
            for rival in rivals:
                if self._free(self._find(rival), root):
                    self._join(self._find(rival), root)
                    break
            else:
                rivals.append(root)

    def same(self, a: Value, b: Value) -> bool:
        """Whether two values share a variable."""
        if a is b:
            return True
        if a not in self._index or b not in self._index:
            return False
        return self._find(self._index[a]) == self._find(self._index[b])

    # -------------------------------------------------------------------------------------------- names

    def name_all(self, fixed: Sequence[tuple[Value, str]], taken: Iterable[str]) -> None:
        """Choose names: `fixed` ones, then the first variable of each wanted name, then the others.

        `taken` are names that may not be used.
        """
        used = set(taken)
        for value, name in fixed:
            self._names[self._find(self._index[value])] = name
            used.add(name)
        roots: list[int] = []
        for k in range(len(self._values)):
            root = self._find(k)
            if root not in self._names and root not in roots:
                roots.append(root)
        waiting: list[int] = []
        for root in roots:
            if not self._wanted[root]:
                continue
            name = identifier(self._wanted[root])
            if name in used:
                waiting.append(root)
                continue
            self._names[root] = name
            used.add(name)
        for root in waiting:
            stem = identifier(self._wanted[root])
            stem = stem + "_" if stem[-1].isdigit() else stem
            self._names[root] = _numbered(stem, used, 1)
        numbers: dict[str, int] = {}
        for root in roots:
            if root not in self._names:
                ty = self._values[root].ty
                is_test = isinstance(ty, Scalar | Array) and ty.dtype == "bool"
                stem = "t" if not is_test else "test" if isinstance(ty, Scalar) else "mask"
                if is_test and stem not in used:
                    self._names[root] = stem
                    used.add(stem)
                    continue
                self._names[root] = _numbered(stem, used, numbers.get(stem, 1))
                numbers[stem] = int(self._names[root][len(stem) :]) + 1

    def names(self) -> set[str]:
        """Every name in use."""
        return set(self._names.values())

    def __contains__(self, value: Value) -> bool:
        return value in self._index

    def __getitem__(self, value: Value) -> str:
        return self._names[self._find(self._index[value])]


def _numbered(stem: str, used: set[str], first: int) -> str:
    number = first
    while f"{stem}{number}" in used:
        number += 1
    used.add(f"{stem}{number}")
    return f"{stem}{number}"


def fresh_name(stem: str, used: set[str]) -> str:
    """`stem`, or `stem` with a number, that is not in `used`, which gains it."""
    name = identifier(stem)
    if name in used:
        return _numbered(name, used, 1)
    used.add(name)
    return name
