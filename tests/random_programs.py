"""Random Python functions over numbers, vectors and matrices: aliases, views, stores, loops, branches, early exits.

`program_text(seed)` is the text of a module with a function `f(s, v, w, M, k)` whose values stay bounded. A vector that
is stored into a matrix is made fresh: NumPy does not detect that `M[:, -1] = M[1]` overlaps.
"""

from __future__ import annotations

import random

SIZE = 4


class Generator:
    """Statements over variables that are known to be bound at a point of the program."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.lines: list[str] = []
        self.scalars = ["s"]
        self.vectors = ["v", "w"]
        self.matrices = ["M"]
        self.indices: list[str] = []
        self.counter = 0
        self.loops = 0
        self.budget = self.random.randint(6, 16)

    def pick(self, items: list[str]) -> str:
        return self.random.choice(items)

    def name(self, kind: str) -> str:
        """A new name, or one that is bound already."""
        known = {"s": self.scalars, "v": self.vectors, "M": self.matrices}[kind]
        if self.random.random() < 0.5:
            return self.pick(known)
        self.counter += 1
        return f"{kind}{self.counter}"

    def bind(self, name: str) -> None:
        known = {"s": self.scalars, "v": self.vectors, "w": self.vectors, "M": self.matrices}[name[0]]
        if name not in known:
            known.append(name)

    def emit(self, depth: int, text: str) -> None:
        self.lines.append("    " * depth + text)

    # ------------------------------------------------------------------------------------ expressions

    def index(self) -> str:
        options = [str(self.random.randrange(SIZE)), f"-{self.random.randint(1, SIZE)}"]
        if self.indices:
            at = self.pick(self.indices)
            options += [
                at,
                at,
                f"({at} + {self.random.randint(1, 3)}) % {SIZE}",
                f"{at} - 1",
                f"-{at} - 1",
                f"k % {SIZE}",
            ]
        return self.pick(options)

    def number(self) -> str:
        return self.pick(["0.5", "-0.7", "1.3", "0.25", "2"])

    def scalar(self, depth: int = 2) -> str:
        choices = [lambda: self.pick(self.scalars), self.element, self.number]
        if depth:
            choices += [
                lambda: f"np.sin({self.scalar(depth - 1)} * {self.scalar(depth - 1)})",
                lambda: f"({self.scalar(depth - 1)} + {self.scalar(depth - 1)}) * 0.5",
                lambda: f"np.tanh({self.scalar(depth - 1)} - {self.scalar(depth - 1)})",
                lambda: f"np.mean({self.vector(depth - 1)})",
                lambda: f"np.tanh({self.pick(self.vectors)} @ {self.vector(depth - 1)})",
                lambda: f"np.tanh(np.sum({self.pick(self.matrices)}[{self.index()}]))",
                lambda: f"np.max({self.pick(self.vectors)})",
                lambda: f"({self.scalar(depth - 1)} if {self.condition()} else {self.scalar(depth - 1)})",
            ]
        return self.random.choice(choices)()

    def element(self) -> str:
        if self.random.random() < 0.7:
            return f"{self.pick(self.vectors)}[{self.index()}]"
        return f"{self.pick(self.matrices)}[{self.index()}, {self.index()}]"

    def vector(self, depth: int = 2) -> str:
        choices = [lambda: self.pick(self.vectors), self.view]
        if depth:
            choices += [
                lambda: f"np.sin({self.vector(depth - 1)} * {self.vector(depth - 1)})",
                lambda: f"({self.vector(depth - 1)} + {self.vector(depth - 1)}) * 0.5",
                lambda: f"np.tanh({self.vector(depth - 1)} * {self.scalar(depth - 1)})",
                lambda: f"np.tanh({self.pick(self.matrices)} @ {self.vector(depth - 1)})",
                lambda: (
                    f"np.where({self.pick(self.vectors)} > 0.1, {self.vector(depth - 1)}, {self.vector(depth - 1)})"
                ),
                lambda: f"{self.pick(self.vectors)}[{self.gather()}]",
                lambda: f"np.concatenate(({self.pick(self.vectors)}[2:], {self.pick(self.vectors)}[:2]))",
            ]
        return self.random.choice(choices)()

    def gather(self) -> str:
        return str([self.random.randrange(-SIZE, SIZE) for _ in range(SIZE)])

    def view(self) -> str:
        base = self.pick(self.vectors)
        matrix = self.pick(self.matrices)
        return self.pick([base, f"{base}[::-1]", f"{matrix}[{self.index()}]", f"{matrix}[:, {self.index()}]",
                          f"{matrix}.T[{self.index()}]", f"np.diag({matrix}).copy()"])  # fmt: skip

    def matrix(self) -> str:
        one, other = self.pick(self.matrices), self.pick(self.matrices)
        options = [f"np.tanh({one} @ {other})", f"({one} + {other}.T) * 0.5", f"np.sin({one} * {self.scalar(1)})"]
        options += [f"np.outer({self.vector(1)}, {self.vector(1)})", f"{one} * {self.vector(1)}", f"np.tril({one})"]
        return self.pick(options)

    def condition(self) -> str:
        options = [f"{self.pick(self.scalars)} > {self.number()}", f"{self.element()} < {self.element()}", "k > 2",
                   f"0.1 < {self.pick(self.scalars)} < 0.9"]  # fmt: skip
        if self.indices:
            options += [f"{self.pick(self.indices)} % 2 == 0", f"{self.pick(self.indices)} > 1"]
        return self.pick(options)

    # ------------------------------------------------------------------------------------- statements

    def block(self, depth: int, length: int) -> None:
        """A block; names bound in it are forgotten after it."""
        bound = [list(names) for names in (self.scalars, self.vectors, self.matrices)]
        for _ in range(length):
            self.statement(depth)
        self.scalars, self.vectors, self.matrices = bound

    def statement(self, depth: int) -> None:
        self.budget -= 1
        kinds = [self.assign_scalar, self.assign_vector, self.assign_view, self.store_element, self.store_slice,
                 self.update, self.swap, self.masked, self.store_matrix, self.call]  # fmt: skip
        weights = [3, 3, 2, 4, 3, 4, 1, 1, 3, 1]
        if depth < 4 and self.budget > 0:
            kinds += [self.branch, self.count_loop, self.while_loop]
            weights += [3, 4, 1]
        if self.loops:
            kinds.append(self.leave)
            weights.append(1)
        self.random.choices(kinds, weights)[0](depth)

    def assign_scalar(self, depth: int) -> None:
        text = self.scalar()
        name = self.name("s")
        self.emit(depth, f"{name} = {text}")
        self.bind(name)

    def assign_vector(self, depth: int) -> None:
        text = self.vector()
        name = self.name("v")
        self.emit(depth, f"{name} = {text}")
        self.bind(name)

    def assign_view(self, depth: int) -> None:
        if self.random.random() < 0.3:
            text, name = self.matrix(), self.name("M")
        else:
            text, name = (
                self.pick([self.view(), self.pick(self.vectors), f"{self.pick(self.vectors)}.copy()"]),
                self.name("v"),
            )
            if "diag" in text:
                text += ".copy()"
        self.emit(depth, f"{name} = {text}")
        self.bind(name)

    def store_element(self, depth: int) -> None:
        operator = self.pick(["=", "=", "+=", "*="])
        self.emit(depth, f"{self.element()} {operator} np.tanh({self.scalar()})")

    def store_slice(self, depth: int) -> None:
        target, source = self.pick(self.vectors), self.pick(self.vectors)
        width = self.random.randint(0, SIZE - 1)
        a, b = self.random.randint(0, SIZE - width), self.random.randint(0, SIZE - width)
        right = self.pick([f"{source}[{b}:{b + width}]", f"np.sin({source}[{b}:{b + width}])", self.scalar(1),
                           f"{source}[{b}:{b + width}][::-1]"])  # fmt: skip
        self.emit(depth, f"{target}[{a}:{a + width}] {self.pick(['=', '+=', '*='])} {right}")
        self.emit(depth, f"{target} *= 0.5")

    def update(self, depth: int) -> None:
        target = self.pick(self.vectors)
        self.emit(depth, f"{target} {self.pick(['+=', '-=', '*='])} {self.vector()}")
        self.emit(depth, f"{target} *= 0.5")

    def swap(self, depth: int) -> None:
        if self.random.random() < 0.5:
            a, b = self.pick(self.vectors), self.pick(self.vectors)
            self.emit(depth, f"{a}, {b} = {b}, {a}")
        else:
            vector, i, j = self.pick(self.vectors), self.index(), self.index()
            self.emit(depth, f"{vector}[{i}], {vector}[{j}] = {vector}[{j}], {vector}[{i}]")

    def masked(self, depth: int) -> None:
        target, by = self.pick(self.vectors), self.pick(self.vectors)
        self.emit(depth, f"{target}[{by} > {self.number()}] {self.pick(['=', '*='])} {self.scalar(1)}")

    def store_matrix(self, depth: int) -> None:
        matrix = self.pick(self.matrices)
        place = self.pick(
            [f"[{self.index()}]", f"[:, {self.index()}]", f".T[{self.index()}]", f"[{self.index()}, ::-1]", "[:]"]
        )
        right = f"{self.vector()} * 1.0" if place != "[:]" else self.matrix()
        self.emit(depth, f"{matrix}{place} {self.pick(['=', '+='])} {right}")
        self.emit(depth, f"{matrix} *= 0.5")

    def call(self, depth: int) -> None:
        name = self.name("s")
        self.emit(depth, f"{name} = helper({self.pick(self.vectors)}, {self.view_of_vector()}, {self.scalar(1)})")
        self.bind(name)

    def view_of_vector(self) -> str:
        return self.pick(
            [self.pick(self.vectors), f"{self.pick(self.vectors)}[1:]", f"{self.pick(self.matrices)}[{self.index()}]"]
        )

    def branch(self, depth: int) -> None:
        self.emit(depth, f"if {self.condition()}:")
        self.block(depth + 1, self.random.randint(1, 3))
        if self.random.random() < 0.5:
            self.emit(depth, "else:")
            self.block(depth + 1, self.random.randint(1, 3))

    def count_loop(self, depth: int) -> None:
        self.counter += 1
        index = f"i{self.counter}"
        span = self.pick(["range(3)", "range(k)", f"range(1, {SIZE})", f"range({SIZE - 1}, -1, -1)",
                          f"range(0, {SIZE}, 2)", "range(0)"])  # fmt: skip
        if self.random.random() < 0.2:
            element = f"s{index}"
            self.emit(depth, f"for {index}, {element} in enumerate({self.pick(self.vectors)}):")
            self.scalars.append(element)
            self.loop_body(depth, index)
            self.scalars.remove(element)
        else:
            self.emit(depth, f"for {index} in {span}:")
            self.loop_body(depth, index)

    def loop_body(self, depth: int, index: str) -> None:
        self.indices.append(index)
        self.loops += 1
        self.block(depth + 1, self.random.randint(1, 4))
        self.loops -= 1
        self.indices.remove(index)

    def while_loop(self, depth: int) -> None:
        self.counter += 1
        index = f"i{self.counter}"
        self.emit(depth, f"{index} = 0")
        self.emit(depth, f"while {index} < 3 and {self.scalar(1)} < 0.9:")
        self.emit(depth + 1, f"{index} += 1")
        self.loop_body(depth, index)

    def leave(self, depth: int) -> None:
        self.emit(depth, f"if {self.condition()}:")
        how = self.pick(["break", "continue", f"return {self.scalar(1)} + np.sum({self.pick(self.vectors)})"])
        self.emit(depth + 1, how)

    def text(self) -> str:
        for _ in range(self.random.randint(3, 6)):
            self.statement(1)
        vectors = " + ".join(f"np.sum({v} * {self.number()})" for v in self.vectors)
        matrices = " + ".join(f"np.sum({m}[1:] * {m}[:-1])" for m in self.matrices)
        scalars = " + ".join(self.scalars)
        return _HEAD + "\n".join([*self.lines, f"    return {scalars} + {vectors} + {matrices}"]) + "\n"


_HEAD = """import numpy as np


def helper(a, b, c):
    a[0] = np.sin(b[-1] + c)
    b[1] += a[2] * 0.5
    return np.tanh(a[1] * b[0])


def f(s, v, w, M, k):
"""


def program_text(seed: int) -> str:
    """The text of random module number `seed`."""
    return Generator(seed).text()
