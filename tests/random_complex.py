"""Random plain functions that compute with complex numbers: loops, branches, buffers, parts, stores to parts."""

from __future__ import annotations

import random
import re

SIZE = 4

# {r}, {c}, {x}, {z} stand for expressions, {X} for a name, {o} for an operator.
TEMPLATES = {
    "r": [
        "({r} {o} {r})", "np.sin({r})", "abs({c})", "({c}).real", "np.imag({c})", "np.tanh({r})", "np.angle({c} + 4.0)",
        "np.mean({x})", "np.vdot({z}, {z}).real",
    ],
    "c": [
        "({c} {o} {c})", "({r} {o} {c})", "np.exp(1j * {r})", "np.conj({c})", "({r} + 1j * {r})", "complex({r}, {r})",
        "({c}) / (2 + abs({c}))", "np.sum({z})", "np.sqrt({c} + 5.0)", "({c}).conjugate() ** 2", "np.dot({x}, {z})",
    ],
    "x": [
        "({x} {o} {x})", "({x} {o} {r})", "np.abs({z})", "({z}).real", "({z}).imag", "np.cos({x})",
        "np.where({X} > 0.1, {x}, {r})", "(np.abs({z}) ** 2)",
    ],
    "z": [
        "({z} {o} {z})", "({x} {o} {c})", "np.exp(1j * {x})", "({z}).conj()", "({z}) / (2 + np.abs({z}))", "(M @ {z})",
        "np.roll({z}, 1)", "np.where({X} > 0, {z}, {x})", "({x} * {z})", "np.cumsum({z})",
    ],
}  # fmt: skip


class Writer:
    """Writes statements; names by kind: r and c are real and complex numbers, x and z vectors of them."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.lines: list[str] = []
        self.names = {"r": ["a"], "c": ["w"], "x": ["u"], "z": ["p"]}
        self.made = 0
        self.indices: list[str] = []

    def pick(self, kind: str) -> str:
        return self.random.choice(self.names[kind])

    def index(self) -> str:
        chosen = self.random.choice([*self.indices, *self.indices, "0", "1", "-1", str(SIZE - 1)])
        return chosen if chosen not in self.indices or self.random.random() < 0.7 else f"{SIZE - 1} - {chosen}"

    def span(self) -> str:
        return self.random.choice(["1:", ":-1", "::2", "::-1", "1:3", ":"])

    # ------------------------------------------------------------------------------------ expressions

    def expression(self, kind: str, depth: int = 0) -> str:
        if depth > 2 or self.random.random() < 0.15:
            return self.leaf(kind)

        def fill(hole: re.Match[str]) -> str:
            if hole[1] == "o":
                return self.random.choice("+-*")
            return self.expression(hole[1], depth + 1) if hole[1] in "rcxz" else self.pick(hole[1].lower())

        return re.sub(r"{(\w)}", fill, self.random.choice(TEMPLATES[kind]))

    def leaf(self, kind: str) -> str:
        roll = self.random.random()
        if roll < 0.25 and kind in "rc":
            return f"{self.pick('x' if kind == 'r' else 'z')}[{self.index()}]"
        if roll < 0.35 and kind in "rc":
            number = round(self.random.uniform(-1, 1), 2)
            return f"{number}" if kind == "r" else f"({number}+{round(self.random.uniform(0, 1), 2)}j)"
        return self.pick(kind)

    def tamed(self, kind: str) -> str:
        text = self.expression(kind)
        if kind in "rx":
            return f"np.tanh({text})"
        self.line(f"t = {text}")
        return "t / (1 + np.abs(t))"

    # ------------------------------------------------------------------------------------- statements

    def line(self, text: str) -> None:
        self.lines.append("    " * self.depth + text)

    depth = 1

    def statements(self, count: int) -> None:
        for _ in range(count):
            kinds = ["assign"] * 3 + ["store", "store", "part", "update", "slice"]
            if self.depth < 3:
                kinds += ["for", "if"]
            getattr(self, f"do_{self.random.choice(kinds)}")()

    def do_assign(self) -> None:
        kind = self.random.choice("rcxzz")
        value = self.tamed(kind)
        # Inside blocks only names that exist are bound, so that every path has them.
        if self.depth == 1 and self.random.random() < 0.7:
            self.made += 1
            name = f"{kind}{self.made}"
            self.line(f"{name} = {value}")
            self.names[kind].append(name)
        else:
            self.line(f"{self.pick(kind)} = {value}")

    def do_store(self) -> None:
        kind = self.random.choice(["x", "z", "z"])
        value = self.tamed("r" if kind == "x" else self.random.choice("rc"))
        self.line(f"{self.pick(kind)}[{self.index()}] = {value}")

    def do_part(self) -> None:
        part, target = self.random.choice(["real", "imag"]), self.pick("z")
        if self.random.random() < 0.5:
            value = self.tamed("r")
            self.line(f"{target}.{part}[{self.index()}] {self.random.choice(['=', '+=', '*='])} {value}")
        else:
            value = self.tamed("x")
            self.line(f"{target}.{part}{self.random.choice(['[...] =', ' +='])} {value}")

    def do_update(self) -> None:
        kind = self.random.choice("xzz")
        value = self.tamed({"x": self.random.choice("rx"), "z": self.random.choice("rcxz")}[kind])
        self.line(f"{self.pick(kind)} {self.random.choice(['+=', '-=', '*='])} {value}")

    def do_slice(self) -> None:
        kind, span = self.random.choice("xz"), self.span()
        value = self.tamed(kind)
        self.line(f"s = {value}")
        self.line(f"{self.pick(kind)}[{span}] {self.random.choice(['=', '+='])} s[{span}]")

    def do_for(self) -> None:
        index = f"i{self.depth}"
        self.line(f"for {index} in range({self.random.choice(['n', '3', '1, 3'])}):")
        self.indices.append(index)
        self.block()
        self.indices.pop()

    def do_if(self) -> None:
        self.line(f"if {self.pick('r')} > {round(self.random.uniform(-0.5, 0.5), 2)}:")
        self.block()
        if self.random.random() < 0.5:
            self.line("else:")
            self.block()

    def block(self) -> None:
        self.depth += 1
        self.statements(self.random.randint(1, 3))
        self.depth -= 1


def program_text(seed: int) -> str:
    """A module with a function f(a, w, u, p, M, n): numbers and vectors, real and complex, a matrix, an integer."""
    writer = Writer(seed)
    writer.line("u, p = u.copy(), p.copy()")
    writer.statements(writer.random.randint(4, 8))
    terms = []
    for kind, names in writer.names.items():
        for name in names[-3:]:
            terms.append({"r": f"{name}", "c": f"(1 - 0.5j) * {name}", "x": f"np.sum({name})",
                          "z": f"np.sum({name} * np.arange(1, {SIZE + 1}) * 1j)"}[kind])  # fmt: skip
    writer.line("total = " + " + ".join(terms))
    writer.line("return total.real + abs(total) ** 2")
    return "import numpy as np\n\n\ndef f(a, w, u, p, M, n):\n" + "\n".join(writer.lines) + "\n"


if __name__ == "__main__":
    print(program_text(0))
