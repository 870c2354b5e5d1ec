"""The circuit of a function: every operation with its value and its cotangent, as text, as DOT, as a picture.

Values are green, cotangents red. Arrays are shown by shape and range; what runs in a loop by its last iteration; loops
and branches are boxes around what is in them. A circuit of more than `fold` operations shows one box for each source
line.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Any

from gradc.errors import GradcError
from gradc.inspect.circuit import Cluster, Vertex, circuit_of
from gradc.inspect.layout import svg_of
from gradc.inspect.observe import observe
from gradc.inspect.text import coloured, on_terminal, table
from gradc.runtime.dispatch import Compiled

_FOLD = 60


class MissingProgram(GradcError, RuntimeError):
    """A program that gradc calls is not installed."""


class Diagram:
    """A circuit. In a notebook it shows itself; `print` gives text."""

    def __init__(self, title: str, root: Cluster) -> None:
        self.title = title
        self.root = root

    @property
    def vertices(self) -> list[Vertex]:
        """The operations and arguments, in program order."""
        return self.root.vertices()

    def __str__(self) -> str:
        return self.text(on_terminal())

    __repr__ = __str__

    def text(self, colours: bool = False) -> str:
        """One line for each operation: its name, what it does, its value and its cotangent."""
        names = _names(self.vertices)
        rows: list[tuple[int, Sequence[str] | str]] = []

        def visit(cluster: Cluster, depth: int) -> None:
            for item in cluster.items:
                if isinstance(item, Cluster):
                    rows.append((depth, item.title))
                    visit(item, depth + 1)
                else:
                    said = (item.label, "") if item.is_line else (names[item], _operation(item, names))
                    rows.append((depth, (*said, item.value, item.cotangent)))

        visit(self.root, 0)
        cells = [("  " * depth + row[0], *row[1:]) for depth, row in rows if not isinstance(row, str)]
        if not cells:
            return "(nothing is computed)"
        lines = iter(table([("", "", "value", "cotangent"), *cells]))
        widths = [max(len(c[k]) for c in [("", "", "value", "cotangent"), *cells]) for k in range(4)]
        done = [coloured(next(lines), "dim", colours)]
        for depth, row in rows:
            if isinstance(row, str):
                done.append(coloured("  " * depth + row, "bold", colours))
                continue
            line = next(lines)
            at, behind = widths[0] + widths[1] + 4, widths[0] + widths[1] + widths[2] + 6
            done.append(
                line[:at] + coloured(line[at:behind], "green", colours) + coloured(line[behind:], "red", colours)
            )
        return "\n".join(done)

    def dot(self) -> str:
        """The circuit in Graphviz's language."""
        down = any(v.is_line for v in self.vertices)  # source lines are wide
        lines = [
            "digraph circuit {",
            f"  rankdir={'TB' if down else 'LR'}; fontname=Helvetica; bgcolor=white; nodesep=0.25; ranksep=0.45;",
            '  node [shape=box, style="rounded,filled", fillcolor=white, color="#555555", fontname=Helvetica, '
            "fontsize=12, margin=\"0.1,0.05\"];",
            '  edge [color="#888888", arrowsize=0.6];',
            "  graph [style=rounded, color=\"#aaaaaa\", fontsize=11];",
        ]
        count = 0

        def visit(cluster: Cluster, indent: str) -> None:
            nonlocal count
            for item in cluster.items:
                if isinstance(item, Cluster):
                    count += 1
                    lines.append(f"{indent}subgraph cluster_{count} {{")
                    lines.append(f"{indent}  label={_quoted(item.title)}; labeljust=l;")
                    visit(item, indent + "  ")
                    lines.append(f"{indent}}}")
                else:
                    colour = "#eef3fb" if item.is_input else "#fbf6e6" if item.is_result else "white"
                    lines.append(f'{indent}v{item.key} [label=<{_html_label(item)}>, fillcolor="{colour}"];')

        visit(self.root, "  ")
        for vertex in self.vertices:
            lines += [f"  v{source.key} -> v{vertex.key};" for source in vertex.inputs]
        return "\n".join([*lines, "}"]) + "\n"

    def svg(self) -> str:
        """The picture as SVG: laid out by Graphviz where its program `dot` is installed, else in plain columns."""
        return _graphviz(self.dot(), "svg").decode() if shutil.which("dot") else svg_of(self.root)

    def save(self, path: str | Path) -> Path:
        """Write the picture; the ending of the name says how: .svg, .dot, .txt, or with Graphviz .png, .pdf.

        Raises: MissingProgram where that needs Graphviz and it is not installed.
        """
        path = Path(path)
        kind = path.suffix.removeprefix(".").lower()
        match kind:
            case "svg":
                path.write_text(self.svg(), encoding="utf-8")
            case "dot" | "gv":
                path.write_text(self.dot(), encoding="utf-8")
            case "txt":
                path.write_text(self.text() + "\n", encoding="utf-8")
            case "png" | "pdf" | "ps" | "jpg":
                path.write_bytes(_graphviz(self.dot(), kind))
            case _:
                raise ValueError(f"a diagram is saved as .svg, .dot, .txt, .png or .pdf, not as {path.name!r}")
        return path

    def _repr_svg_(self) -> str:
        return self.svg()


def _graphviz(dot: str, kind: str) -> bytes:
    program = shutil.which("dot")
    if program is None:
        raise MissingProgram(
            f"Graphviz is needed for a picture of type {kind}",
            why="its program `dot` is not on the PATH.",
            hint="install it (apt install graphviz, brew install graphviz, conda install graphviz), or save as .svg.",
        )
    done = subprocess.run([program, f"-T{kind}", "-Gdpi=150" if kind in ("png", "jpg") else "-Gdpi=72"],
                          input=dot.encode(), capture_output=True, check=False)
    if done.returncode:
        raise MissingProgram(f"Graphviz failed: {done.stderr.decode(errors='replace').strip()}")
    return done.stdout


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _html_label(vertex: Vertex) -> str:
    lines = [f"<b>{escape(vertex.head)}</b>" if vertex.name else escape(vertex.head)]
    if vertex.value:
        lines.append(f'<font color="#1a7f37">{escape(vertex.value)}</font>')
    if vertex.cotangent:
        lines.append(f'<font color="#cf222e">{escape(vertex.cotangent)}</font>')
    return "<br/>".join(lines)


def _names(vertices: Sequence[Vertex]) -> dict[Vertex, str]:
    """A name for each vertex: the user's, with a number where it is taken; `t1, t2, …` for those without."""
    names: dict[Vertex, str] = {}
    taken = {v.name for v in vertices}
    seen: dict[str, int] = {}
    spare = 0
    for vertex in vertices:
        if vertex.is_line:
            names[vertex] = ""
            continue
        if vertex.name:
            seen[vertex.name] = seen.get(vertex.name, 0) + 1
            times = seen[vertex.name]
            names[vertex] = vertex.name if times == 1 else f"{vertex.name}#{times}"
            continue
        if vertex.is_result:
            names[vertex] = "result"
            continue
        spare += 1
        while f"t{spare}" in taken:
            spare += 1
        names[vertex] = f"t{spare}"
    return names


def _operation(vertex: Vertex, names: dict[Vertex, str]) -> str:
    if vertex.is_input or vertex.is_line:
        return vertex.label
    inputs = [names[v] for v in vertex.inputs]
    label = vertex.label
    if label.count("·") == len(inputs):
        for text in inputs:
            label = label.replace("·", text, 1)
        return f"= {label}"
    label = label.replace("·", "").strip()
    return f"= {label} of {', '.join(inputs)}" if inputs else f"= {label}"


# -------------------------------------------------------------------------------------------------- making


def diagram(compiled: Compiled, args: Sequence[Any], kwargs: dict[str, Any]) -> Diagram:
    """The circuit of what `compiled` differentiates (or computes), for these arguments.

    The keyword argument `fold`, where the function has none: from how many operations on lines are folded.
    """
    fold = _FOLD
    if "fold" in kwargs and "fold" not in compiled.inspected_names:
        kwargs = dict(kwargs)
        fold = int(kwargs.pop("fold"))
    seen = observe(compiled, args, kwargs)
    return Diagram(seen.title, circuit_of(seen, fold))
