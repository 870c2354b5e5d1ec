"""Long blocks as several functions: LLVM's code generator takes time that grows with the square of a block's length.

    entry:                                   entry:
    %v1 = ...                                store double %v0, ptr <place in %frame>
    ... thousands of instructions      =>    call void @f.part0(ptr %frame)
    %v9000 = ...                             call void @f.part1(ptr %frame) ...
    br label %exit                           %v9000 = load double, ptr <place in %frame>
                                             br label %exit

Values that cross a border go through memory, as they do where a function has more of them than registers.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from gradc.codegen.native.kinds import NotTranslated

LONGEST = 1200
"""Instructions of a block that are left as they are: 1,200 take 0.1 s, 30,000 take 20 s."""
PART = 300
"""Instructions of a part."""

_NAME = re.compile(r'%(?:[\w.]+|"[^"]+")')
_DEFINITION = re.compile(r'(%(?:[\w.]+|"[^"]+")) = (.*)', re.DOTALL)
_FLAGS = frozenset((
    "tail", "notail", "musttail", "fast", "nnan", "ninf", "nsz", "arcp", "contract", "afn", "reassoc", "nsw", "nuw",
    "exact", "disjoint", "inbounds", "volatile", "noalias", "nonnull", "noundef", "signext", "zeroext",
))  # fmt: skip
_OF_OPERAND = frozenset((
    "fadd", "fsub", "fmul", "fdiv", "frem", "fneg", "add", "sub", "mul", "sdiv", "udiv", "srem", "urem", "and", "or",
    "xor", "shl", "lshr", "ashr", "freeze", "phi", "insertvalue",
))  # fmt: skip
_CASTS = frozenset((
    "sext", "zext", "trunc", "fptosi", "fptoui", "sitofp", "uitofp", "fpext", "fptrunc", "bitcast", "inttoptr",
    "ptrtoint",
))  # fmt: skip


@dataclass(slots=True)
class Parts:
    """A function's lines after its long blocks were taken out. functions: theirs. words: length of the
    frame, 0 where nothing was."""

    lines: list[str]
    functions: list[str] = field(default_factory=list)
    words: int = 0


def split(lines: Sequence[str], symbol: str, operands: Iterable[str]) -> Parts:
    """The lines of a function with parts of long blocks called. `operands`: the types and names of its parameters.

    The function has to give `%frame`, a pointer to as many words as the result says.
    """
    if len(lines) <= LONGEST:
        return Parts(list(lines))
    blocks = _blocks(lines)
    if all(end - start <= LONGEST for start, end in blocks):
        return Parts(list(lines))
    return _Splitter(lines, symbol, operands).run(blocks)


def _blocks(lines: Sequence[str]) -> list[tuple[int, int]]:
    """Where the instructions of each block start and end, without label, phis, allocas and the branch at its end."""
    starts = [k for k, line in enumerate(lines) if line.endswith(":")]
    bounds = [-1, *starts, len(lines)]
    found = []
    for before, after in itertools.pairwise(bounds):
        start, end = before + 1, after - 1
        while start < end and (" = phi " in lines[start] or " = alloca " in lines[start]):
            start += 1
        found.append((start, max(start, end)))
    return found


def _split_type(text: str) -> tuple[str, str]:
    """The LLVM type that a text starts with, and the rest."""
    text = text.lstrip()
    if text[:1] not in "{[<":
        first, _, rest = text.partition(" ")
        return first.rstrip(","), rest
    depth = 0
    for k, c in enumerate(text):
        depth += (c in "{[<") - (c in "}]>")
        if depth == 0:
            return text[: k + 1], text[k + 1 :]
    raise NotTranslated(f"type of {text}")


def type_of(instruction: str) -> str:
    """The type of what an instruction gives. Raises: NotTranslated."""
    word, _, rest = instruction.partition(" ")
    while word in _FLAGS or rest.partition(" ")[0] in _FLAGS:
        if word in _FLAGS:
            word, _, rest = rest.partition(" ")
        else:
            rest = rest.partition(" ")[2]
    if word in ("icmp", "fcmp"):
        return "i1"
    if word in ("getelementptr", "alloca"):
        return "ptr"
    if word in ("load", "call") or word in _OF_OPERAND:
        return _split_type(rest)[0]
    if word == "select":
        return _split_type(rest.partition(",")[2])[0]
    if word in _CASTS:
        return _split_type(rest.rpartition(" to ")[2])[0]
    if word == "extractvalue":
        whole, rest = _split_type(rest)
        position = int(rest.rpartition(",")[2])
        inner = whole[1:-1]
        for _ in range(position):
            _, inner = _split_type(inner)
            inner = inner.lstrip(", ")
        return _split_type(inner)[0].rstrip(",")
    raise NotTranslated(f"type of {instruction}")


class _Splitter:
    def __init__(self, lines: Sequence[str], symbol: str, operands: Iterable[str]) -> None:
        self.lines = lines
        self.symbol = symbol
        self.count = 0
        self.types: dict[str, str] = {}
        for operand in operands:
            ty, rest = _split_type(operand)
            self.types[rest.rpartition(" ")[2]] = ty
        self.instructions: dict[str, str] = {}
        self.used: list[list[str]] = []
        self.defined: list[str | None] = []
        for line in lines:
            match = _DEFINITION.match(line)
            self.defined.append(match[1] if match else None)
            if match:
                self.instructions[match[1]] = match[2]
            self.used.append(_NAME.findall(match[2] if match else line))

    def type(self, name: str) -> str:
        found = self.types.get(name)
        if found is None:
            found = self.types[name] = type_of(self.instructions[name])
        return found

    def run(self, blocks: Sequence[tuple[int, int]]) -> Parts:
        made = Parts([])
        done = 0
        for start, end in blocks:
            made.lines += self.lines[done:start]
            done = start
            if end - start > LONGEST:
                self._block(start, end, made)
                done = end
        made.lines += self.lines[done:]
        return made

    def _block(self, start: int, end: int, made: Parts) -> None:
        """Take the instructions from `start` to `end` out."""
        size = end - start
        count = -(-size // PART)
        bounds = [start + size * k // count for k in range(count + 1)]
        part_of = {}  # of values defined here
        for k in range(count):
            for line in range(bounds[k], bounds[k + 1]):
                name = self.defined[line]
                if name is not None:
                    part_of[name] = k
        # The last part that wants each value that crosses a border; `count` stands for what follows the block.
        last: dict[str, int] = {}
        for k in range(count):
            for line in range(bounds[k], bounds[k + 1]):
                for name in self.used[line]:
                    if part_of.get(name, -1) != k and (name in self.types or name in self.instructions):
                        last[name] = k
        for line in (*range(start), *range(end, len(self.lines))):
            for name in self.used[line]:
                if name in part_of:
                    last[name] = count
        places = _Places(made.words)
        for name in last:
            if name not in part_of:
                made.lines += self._store(name, places.take(name, self.type(name)))
        for k in range(count):
            inside: list[str] = []
            loaded: set[str] = set()
            for line in range(bounds[k], bounds[k + 1]):
                for name in self.used[line]:
                    if name in last and part_of.get(name, -1) != k and name not in loaded:
                        loaded.add(name)
                        inside += self._load(name, places.of[name])
                inside.append(self.lines[line])
                own = self.defined[line]
                if own is not None and own in last:
                    inside += self._store(own, places.take(own, self.type(own)))
            places.release([name for name, until in last.items() if until == k])
            self.count += 1
            function = f"{self.symbol}.part{self.count}"
            head = f"define internal void @{function}(ptr noalias %frame) noinline nounwind {{"
            made.functions += [head, *inside, "ret void", "}"]
            made.lines.append(f"call void @{function}(ptr %frame)")
        for name, until in last.items():
            if until == count:
                made.lines += self._load(name, places.of[name])
        made.words = places.words

    def _place(self, name: str, word: int, suffix: str) -> tuple[str, str]:
        place = f"%at.{name[1:].strip(chr(34))}.{suffix}"
        return place, f"{place} = getelementptr inbounds i64, ptr %frame, i64 {word}"

    def _store(self, name: str, word: int) -> list[str]:
        place, line = self._place(name, word, f"s{word}")
        return [line, f"store {self.type(name)} {name}, ptr {place}, align 8"]

    def _load(self, name: str, word: int) -> list[str]:
        place, line = self._place(name, word, f"l{word}")
        return [line, f"{name} = load {self.type(name)}, ptr {place}, align 8"]


class _Places:
    """Words of the frame: those of a value that nobody wants any more are used again."""

    def __init__(self, words: int) -> None:
        self.words = words
        self.of: dict[str, int] = {}
        self.sizes: dict[str, int] = {}
        self.free: dict[int, list[int]] = {}

    def take(self, name: str, ty: str) -> int:
        size = max(1, ty.count("double") + ty.count("i64") + ty.count("float") + ty.count("i1") if ty[0] in "{[" else 1)
        free = self.free.get(size)
        if free:
            word = free.pop()
        else:
            word, self.words = self.words, self.words + size
        self.of[name], self.sizes[name] = word, size
        return word

    def release(self, names: Iterable[str]) -> None:
        for name in names:
            self.free.setdefault(self.sizes[name], []).append(self.of[name])
