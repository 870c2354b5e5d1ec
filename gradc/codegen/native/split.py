"""Long code as several functions: LLVM's code generator takes time that grows with the square of a block's length.

    entry:                                   entry:
    %v1 = ...                                store double %v0, ptr <place in %frame>
    ... thousands of instructions      =>    call void @f.part0(ptr %frame)
    %v9000 = ...                             call void @f.part1(ptr %frame) ...
    br label %exit                           %v9000 = load double, ptr <place in %frame>
                                             br label %exit

Values that cross a border go through memory, as they do where a function has more of them than registers. A part may
hold whole branches: a border is where the same jumps pass over it as over the next one, so none leads from a part into
another. Loops stay where they are, and are taken apart inside where they are long.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from random import Random

from gradc.codegen.native.kinds import NotTranslated

LONGEST = 1200
"""Instructions of a block that are left as they are: 1,200 take 0.1 s, 30,000 take 20 s."""
PART = 300
"""Instructions of a part."""

_LABEL = re.compile(r'label %([\w.]+|"[^"]+")')
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
    frame, 0 where nothing was. taken: variables' places that the function need not make any more."""

    lines: list[str]
    functions: list[str] = field(default_factory=list)
    words: int = 0
    taken: set[str] = field(default_factory=set)


def split(lines: Sequence[str], symbol: str, operands: Iterable[str], slots: Iterable[str] = ()) -> Parts:
    """The lines of a function with parts of long blocks called. `operands`: the types and names of its parameters.
    `slots`: the lines that make the places of variables; those that parts use are made in a part, or are in the frame.

    The function has to give `%frame`, a pointer to as many words as the result says.
    """
    if len(lines) <= LONGEST:
        return Parts(list(lines))
    stretches = _stretches(lines)
    if not stretches:
        return Parts(list(lines))
    return _Splitter(lines, symbol, operands, slots).run(stretches)


def _stretches(lines: Sequence[str]) -> list[list[int]]:
    """Long code that can be taken out, in order: positions of lines, from the first to that after the last, where it
    may be cut.
    """
    labels = {line[:-1].strip('"'): k for k, line in enumerate(lines) if line.endswith(":")}
    # Jumps that pass over the place before a line, as one number: exclusive or of a random number for each jump.
    random = Random(0)
    changes = [0] * (len(lines) + 1)
    loops: list[tuple[int, int]] = []

    def passes(start: int, end: int) -> None:
        mark = random.getrandbits(64)
        changes[start] ^= mark
        changes[end] ^= mark

    for k, line in enumerate(lines):
        if not _ends_block(line):
            continue
        targets = [labels.get(name.strip('"'), len(lines) - 1) for name in _LABEL.findall(line)] or [len(lines) - 1]
        for target in targets:
            if target <= k:
                loops.append((target, k))
            passes(min(target, k) + 1, max(target, k) + 1)
    in_loops = [0] * (len(lines) + 1)
    for _, end in loops:  # how many loops end up to here
        in_loops[end] += 1
    over, ended = 0, 0
    stretches: dict[int, list[int]] = {}
    ends_at: dict[int, int] = {}
    found: list[list[int]] = []

    def close(over: int) -> None:
        stretch = stretches.pop(over, None)
        if stretch is not None and stretch[-1] - stretch[0] > LONGEST:
            found.append(stretch)

    for k, line in enumerate(lines):
        over ^= changes[k]
        ended += in_loops[k - 1] if k else 0
        if line.endswith(":") or " = phi " in line or " = alloca " in line or k and _ends_block(lines[k - 1]):
            continue
        stretch = stretches.get(over)
        if stretch is not None and (k - stretch[-1] > LONGEST or ends_at[over] != ended):
            close(over)  # what is between is a loop, or is long itself
            stretch = None
        if stretch is None:
            stretches[over] = stretch = []
        stretch.append(k)
        ends_at[over] = ended
    for over in list(stretches):
        close(over)
    return sorted(found)


def _ends_block(line: str) -> bool:
    return line.startswith(("br ", "switch ", "ret ", "unreachable"))


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


def _size(ty: str) -> int:
    """Words of a type."""
    return max(1, ty.count("double") + ty.count("i64") + ty.count("float") + ty.count("i1") if ty[0] in "{[" else 1)


def _bounds(stretch: Sequence[int]) -> list[int]:
    """Where the parts of a stretch start, and its end."""
    bounds = [stretch[0]]
    for position, following in itertools.pairwise(stretch):
        if following - bounds[-1] > PART and position > bounds[-1]:
            bounds.append(position)
    return [*bounds, stretch[-1]]


class _Splitter:
    def __init__(self, lines: Sequence[str], symbol: str, operands: Iterable[str], slots: Iterable[str]) -> None:
        self.lines = lines
        self.slots = {slot.partition(" ")[0]: slot for slot in slots}
        self.local: dict[str, int] = {}  # slots of one part: the line where that starts
        self.shared: dict[str, int] = {}  # slots of several functions: their words in the frame
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

    def run(self, stretches: Sequence[Sequence[int]]) -> Parts:
        made = Parts([])
        all_bounds = [_bounds(stretch) for stretch in stretches]
        self._place_slots(all_bounds, made)
        done = 1
        for bounds in all_bounds:
            made.lines += self.lines[done : bounds[0]]
            self._stretch(bounds, made)
            done = bounds[-1]
        made.lines += self.lines[done:]
        return made

    def _place_slots(self, all_bounds: Sequence[Sequence[int]], made: Parts) -> None:
        """Where the places of variables are that parts use."""
        homes: dict[str, set[int]] = {}
        starts = {k for bounds in all_bounds for k in bounds[:-1]}
        ends = {bounds[-1] for bounds in all_bounds}
        home = -1
        for line, names in enumerate(self.used):
            if line in starts:
                home = line
            elif line in ends:
                home = -1
            for name in names:
                if name in self.slots:
                    homes.setdefault(name, set()).add(home)
        for name, found in homes.items():
            if found == {-1}:
                continue
            made.taken.add(name)
            if len(found) == 1:
                self.local[name] = next(iter(found))
            else:
                self.shared[name] = made.words
                made.words += _size(self.slots[name].rpartition(" = alloca ")[2])
        heads = [self._slot(name) for name in self.shared]
        made.lines += [self.lines[0], *heads]  # after the label of the first block

    def _slot(self, name: str) -> str:
        if name in self.local:
            return self.slots[name]
        return f"{name} = getelementptr inbounds i64, ptr %frame, i64 {self.shared[name]}"

    def _stretch(self, bounds: Sequence[int], made: Parts) -> None:
        """Take the instructions of a stretch out."""
        start, end = bounds[0], bounds[-1]
        count = len(bounds) - 1
        part_of = {}  # of values defined here
        for k in range(count):
            for line in range(bounds[k], bounds[k + 1]):
                name = self.defined[line]
                if name is not None:
                    part_of[name] = k
        # The last part that wants each value that crosses a border; `count` stands for what follows the stretch.
        last: dict[str, int] = {}
        for k in range(count):
            for line in range(bounds[k], bounds[k + 1]):
                for name in self.used[line]:
                    if name in made.taken:
                        continue
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
            body: list[str] = []
            wanted: dict[str, None] = {}
            variables: dict[str, None] = {}
            waiting: list[str] = []  # to be stored after the phis of a block
            for line in range(bounds[k], bounds[k + 1]):
                for name in self.used[line]:
                    if name in made.taken:
                        variables[name] = None
                    elif name in last and part_of.get(name, -1) != k:
                        wanted[name] = None
                text = self.lines[line]
                if waiting and " = phi " not in text:
                    body += waiting
                    waiting = []
                body.append(text)
                own = self.defined[line]
                if own is not None and own in last:
                    waiting += self._store(own, places.take(own, self.type(own)))
            body += waiting
            heads = [self._slot(name) for name in variables]
            loads = [line for name in wanted for line in self._load(name, places.of[name])]
            places.release([name for name, until in last.items() if until == k])
            self.count += 1
            function = f"{self.symbol}.part{self.count}"
            head = f"define internal void @{function}(ptr noalias %frame) noinline nounwind {{"
            made.functions += [head, self._label_at(bounds[k]), *heads, *loads, *body, "ret void", "}"]
            made.lines.append(f"call void @{function}(ptr %frame)")
        label = self._label_at(end)
        if label != self._label_at(start):  # what follows knows the block that the stretch ends in
            made.lines += [f"br label %{label[:-1]}", label]
        for name, until in last.items():
            if until == count:
                made.lines += self._load(name, places.of[name])
        made.words = places.words

    def _label_at(self, position: int) -> str:
        """The label of the block that a line stands in."""
        return next(self.lines[k] for k in range(position - 1, -1, -1) if self.lines[k].endswith(":"))

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
        size = _size(ty)
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
