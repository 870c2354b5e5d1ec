"""Blocks and variables: lines of LLVM assembly, what each variable is at this point, and its place in memory.

A variable is known as an SSA value where one assignment is sure to have reached, and else loaded from its slot. Stores
to slots that are never loaded are left out of the text.
"""

from __future__ import annotations

from collections.abc import Iterable

from gradc.codegen.native.kinds import LLVM, NotTranslated, Value

UNLIKELY, NO_UNROLLING = "!0", "!1"
"""Metadata of branches that are hardly taken, and of loops that are not to be unrolled."""
METADATA = ('!0 = !{!"branch_weights", i32 1, i32 2000}', '!1 = !{!"llvm.loop.unroll.disable"}')


class Flow:
    """The function's text under construction."""

    def __init__(self) -> None:
        self.lines: list[str | tuple[str, str]] = []
        self.counter = 0
        self.current = "entry"
        self.dead = False  # nothing reaches this point
        self.dtypes: dict[str, str] = {}  # of scalar variables and of parts of arrays ("ptr" too)
        self.known: dict[str, str] = {}
        self.numbers: dict[str, int] = {}  # of slots: names of the text may have letters that LLVM does not take
        self.loaded: set[str] = set()
        self.levels: list[tuple[dict[str, str | None], set[str]]] = []
        self.metadata: int = len(METADATA)
        self.loop_notes: list[str] = []  # metadata of loops that are not to be unrolled
        self.loops: list[tuple[str, str]] = []  # labels: where `continue` and `break` go

    # ------------------------------------------------------------------------------------------- lines

    def new(self) -> str:
        """A name for a value."""
        self.counter += 1
        return f"%v{self.counter}"

    def emit(self, text: str) -> str:
        """Add an instruction that gives a value; its name."""
        self.counter += 1
        name = f"%v{self.counter}"
        self.lines.append(f"{name} = {text}")
        return name

    def line(self, text: str) -> None:
        """Add an instruction that gives none."""
        self.lines.append(text)

    def new_metadata(self) -> str:
        self.metadata += 1
        return f"!{self.metadata - 1}"

    def new_label(self) -> str:
        self.counter += 1
        return f"b{self.counter}"

    def label(self, name: str) -> None:
        """Start a block."""
        self.lines.append(f"{name}:")
        self.current = name
        self.dead = False

    def branch(self, target: str) -> None:
        """End the block, if it has not ended."""
        if not self.dead:
            self.lines.append(f"br label %{target}")
            self.dead = True

    def branch_if(self, condition: str, then: str, orelse: str) -> None:
        self.lines.append(f"br i1 {condition}, label %{then}, label %{orelse}")
        self.dead = True

    # --------------------------------------------------------------------------------------- variables

    def assign(self, name: str, value: Value) -> None:
        """Assign to a variable. Raises: NotTranslated where it would change its type."""
        dtype, text = value
        have = self.dtypes.setdefault(name, dtype)
        if have != dtype:
            raise NotTranslated(f"variable {name} is of type {have} and of type {dtype}")
        self.assume(name, text)
        if self.levels:
            self.levels[-1][1].add(name)
        self.lines.append((name, f"store {LLVM.get(dtype, dtype)} {text}, ptr {self.slot(name)}"))

    def get(self, name: str) -> Value:
        """What a variable holds."""
        dtype = self.dtypes.get(name)
        if dtype is None:
            raise NotTranslated(f"variable {name} is read before it is assigned")
        text = self.known.get(name)
        if text is None:
            text = self.emit(f"load {LLVM.get(dtype, dtype)}, ptr {self.slot(name)}")
            self.loaded.add(name)
            self.assume(name, text)
        return dtype, text

    def assume(self, name: str, text: str | None) -> None:
        """From here on `name` is known to be `text` (None: not known)."""
        if self.levels:
            saved = self.levels[-1][0]
            if name not in saved:
                saved[name] = self.known.get(name)
        if text is None:
            self.known.pop(name, None)
        else:
            self.known[name] = text

    def enter(self) -> None:
        """What becomes known from here is forgotten by `leave`."""
        self.levels.append(({}, set()))

    def leave(self) -> set[str]:
        """Back to what was known at `enter`; the variables that were assigned since."""
        saved, assigned = self.levels.pop()
        for name, text in saved.items():
            if text is None:
                self.known.pop(name, None)
            else:
                self.known[name] = text
        if self.levels:
            self.levels[-1][1].update(assigned)
        return assigned

    def forget(self, names: Iterable[str]) -> None:
        """What these variables hold is no longer known."""
        for name in names:
            if name in self.known:
                self.assume(name, None)

    def slots(self) -> list[str]:
        """Allocations of the variables that are loaded."""
        kinds = {name: self.dtypes[name] for name in sorted(self.loaded)}
        return [f"{self.slot(name)} = alloca {LLVM.get(kind, kind)}" for name, kind in kinds.items()]

    def slot(self, name: str) -> str:
        """The pointer to a variable's place."""
        return f"%s{self.numbers.setdefault(name, len(self.numbers))}"

    def finished(self) -> list[str]:
        """The lines, without stores that nothing loads."""
        loaded = self.loaded
        out: list[str] = []
        for entry in self.lines:
            if isinstance(entry, str):
                out.append(entry)
            elif entry[0] in loaded:
                out.append(entry[1])
        return out
