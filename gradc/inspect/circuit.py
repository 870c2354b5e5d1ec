"""The circuit of an observed run: vertices with values and cotangents, clusters for loops and branches."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from gradc.errors import Loc
from gradc.inspect.observe import Observation, Record
from gradc.inspect.text import number_text, value_text
from gradc.ir.effects import roots
from gradc.ir.nodes import Block, Node, Value
from gradc.ir.region import FULL, Arg, At, Gather, NewAxis, Region, Span
from gradc.ir.types import Array

_SYMBOLS = {
    "add": "+", "sub": "−", "mul": "×", "div": "÷", "pow": "**", "matmul": "@", "neg": "−", "maximum": "max",
    "minimum": "min", "lt": "<", "le": "≤", "gt": ">", "ge": "≥", "eq": "=", "ne": "≠", "floordiv": "//", "mod": "%",
    "strong_mul": "×",
}
# Operations whose first operand is an array and whose last ones are positions in it.
_PATTERNS = {
    "scatter_mask": "·[mask] ← ·", "accumulate_mask": "·[mask] += ·", "mask_select": "·[mask]", "transpose": "·.T",
    "reshape": "·.reshape", "neg": "−·",
}
_READS = frozenset(("index", "load", "gather"))
_WRITES = {"store_at": "←", "scatter": "←", "accumulate_at": "+=", "scatter_add": "+="}
_INFIX = frozenset(("add", "sub", "mul", "div", "pow", "matmul", "lt", "le", "gt", "ge", "eq", "ne", "floordiv", "mod"))


@dataclass(eq=False, slots=True)
class Vertex:
    """An operation, an argument, or a folded line; `value` and `cotangent` are texts, empty where there is none."""

    key: int
    label: str
    name: str
    value: str
    cotangent: str
    loc: Loc
    inputs: list[Vertex] = field(default_factory=list, repr=False)
    is_input: bool = False
    is_result: bool = False
    is_line: bool = False  # it stands for all that a source line does

    @property
    def gate(self) -> str:
        """What it does, as a picture says it, where edges show the operands: `+`, `tanh`, `** 2`."""
        if self.is_line:
            return self.label
        name, _, inside = self.label.partition("(")
        if inside and not inside.replace("·", "").strip(", )"):
            return name
        return self.label if inside else self.label.replace("·", "").strip()

    @property
    def head(self) -> str:
        """The first line of its box."""
        if self.is_input or not self.gate:
            return self.name
        return f"{self.name} = {self.gate}" if self.name else self.gate


@dataclass(eq=False, slots=True)
class Cluster:
    """A loop or a branch with what is in it; the whole circuit is one without a title."""

    title: str
    items: list[Vertex | Cluster] = field(default_factory=list)

    def vertices(self) -> list[Vertex]:
        """All vertices, of inner clusters too."""
        found: list[Vertex] = []
        for item in self.items:
            found += item.vertices() if isinstance(item, Cluster) else [item]
        return found


def circuit_of(seen: Observation, fold: int) -> Cluster:
    """The circuit, with one vertex for each source line where there would be more than `fold`."""
    root = _Drawing(seen).run()
    return _folded(root) if len(root.vertices()) > fold else root


class _Drawing:
    """Builds the circuit. `vertex_of` holds where each value comes from, `writer_of` the last write to a buffer."""

    def __init__(self, seen: Observation) -> None:
        self.seen = seen
        self.vertex_of: dict[Value, Vertex] = {}
        self.writer_of: dict[Value, Vertex] = {}
        self.count = 0

    def run(self) -> Cluster:
        func = self.seen.func
        root = Cluster("")
        inner = Cluster("")
        for k, param in enumerate(func.params):
            name = self.seen.names[k] if k < len(self.seen.names) else param.name
            vertex = self._vertex(param, "", name, func.loc)
            vertex.is_input = True
            self.vertex_of[param] = vertex
            root.items.append(vertex)
        self._block(func.body, inner)
        root.items += inner.items
        results = [self._source(r) for r in func.results]
        ends = [v for v in results if v is not None]
        for end in ends:
            end.is_result = True
        return _pruned(root, ends)

    def _vertex(self, value: Value | None, label: str, name: str, loc: Loc, node: Node | None = None) -> Vertex:
        self.count += 1
        record: Record | None = None
        if value is not None or node is not None:
            record = self.seen.values.get(value or node)  # type: ignore[arg-type]
        if value is None and node is not None and node.op.kind == "write":
            value = node.operands[1]  # what flows back into what was written
        ct = self.seen.cotangents.get(value) if value is not None else None
        return Vertex(
            self.count, label, name,
            value_text(record.last) if record is not None and record.count else "",
            value_text(ct.last) if ct is not None and ct.count else "",
            loc,
        )

    def _source(self, value: Value) -> Vertex | None:
        """What made the content of `value`: the last write to its buffer, or what made it."""
        if isinstance(value.ty, Array):
            for root in roots(value):
                if root in self.writer_of:
                    # A view of what was written shows as the view; the write feeds it.
                    seen = self.vertex_of.get(value)
                    return seen if seen is not None and value is not root else self.writer_of[root]
        return self.vertex_of.get(value)

    def _block(self, block: Block, cluster: Cluster) -> None:
        for node in block.nodes:
            match node.op.kind:
                case "control":
                    self._control(node, cluster)
                case "query" | "check" | "stack":
                    continue
                case _:
                    self._operation(node, cluster)

    def _control(self, node: Node, cluster: Cluster) -> None:
        line = node.loc.line().strip()
        branches = node.op.name == "if"
        carried = node.operands[3:] if node.op.name == "for" else node.operands
        ends: list[list[Vertex | None]] = []
        for k, block in enumerate(node.blocks):
            title = line
            if branches:
                title = f"{line} {'true' if k == 0 else 'false'}"
            if branches and not self._ran(block):
                ends.append([])
                continue
            inner = Cluster(title)
            if not branches:
                params = block.params[1:] if node.op.name == "for" else block.params
                for param, start in zip(params, carried, strict=False):
                    source = self._source(start)
                    if source is not None:
                        self.vertex_of[param] = source
            self._block(block, inner)
            if inner.items:
                cluster.items.append(inner)
            ends.append([self._source(v) for v in block.yields])
        lead = 1 if node.attrs.get("exits") else 0
        last = ends[-1][lead:] if not branches else []
        for k, result in enumerate(node.results):
            sources = [e[k] for e in ends if k < len(e)] if branches else [last[k]] if k < len(last) else []
            found = next((v for v in sources if v is not None), None)
            if found is not None:
                self.vertex_of[result] = found

    def _ran(self, block: Block) -> bool:
        computed = [n for n in block.nodes if n.op.kind not in ("query", "check", "stack") and n.op.name != "const"]
        keys: list[Value | Node] = []
        for n in computed:
            keys += n.results or [n]
        return any(key in self.seen.values for key in keys) or not keys

    def _operation(self, node: Node, cluster: Cluster) -> None:
        if node.op.name == "const":
            return
        value = node.results[0] if node.results else None
        sources = [self._source(v) for v in node.operands]
        given = [s for s in sources if s is not None]
        if node.op.name in ("copy", "cast", "let", "alias", "stop_gradient") and len(given) == 1 and value is not None:
            base = node.operands[0]
            if not value.name or value.name == base.name or node.op.name == "copy" and not base.name:
                self.vertex_of[value] = given[0]
                return
        if not given and node.op.name in ("empty", "zeros") and value is not None and not value.name:
            return
        if not given and value is not None and not value.name and value.dtype == "int64":
            return  # arithmetic with sizes
        if node.op.name == "reshape":
            given = given[:1]
        name = value.name if value is not None else node.operands[0].name
        vertex = self._vertex(value, _label(node, sources), name, node.loc, node)
        vertex.inputs = given
        if node.op.name in ("store", "accumulate"):
            self._write(node, vertex)
        cluster.items.append(vertex)
        for result in node.results:
            self.vertex_of[result] = vertex
        if node.op.kind == "write":
            for root in roots(node.operands[0]):
                self.writer_of[root] = vertex


    def _write(self, node: Node, vertex: Vertex) -> None:
        """A write into an array, or into a part of it that a view names: what was there, and what comes in."""
        sign = "←" if node.op.name == "store" else "+="
        target = node.operands[0]
        made = target.node
        held = self._source(node.operands[1])
        if made is None or made.op.kind != "view":
            vertex.label = f"{sign} ·"
            vertex.inputs = [held] if held is not None else []
            return
        base = target
        while base.node is not None and base.node.op.kind == "view" and not base.name:
            base = base.node.operands[0]
        place = "·" if target.name or made.op.name != "index" else written_place(node).removeprefix(base.name or "…")
        before = self._source(base)
        vertex.name = base.name
        vertex.label = f"{place} {sign} ·" if place != "·" else f"· {sign} ·"
        if held is None:
            vertex.label = vertex.label[:-1] + _operand_text(node.operands[1], None)
        vertex.inputs = [v for v in (before, held) if v is not None]
        if place != "·":
            vertex.label = f"· {vertex.label}"


def _label(node: Node, sources: Sequence[Vertex | None]) -> str:
    """What an operation is called, with its constant operands written out and `·` for the others."""
    name = _SYMBOLS.get(node.op.name, node.op.name)
    texts = [_operand_text(v, s) for v, s in zip(node.operands, sources, strict=True)]
    if node.op.name in _INFIX and len(texts) == 2:
        if texts == ["·", "·"]:
            return f"· {name} ·"
        return f"{texts[0]} {name} {texts[1]}"
    if node.op.name in _READS:
        return f"·{_region_text(node.attrs['region'], texts[1:])}"
    if node.op.name in _WRITES:
        return f"· {_region_text(node.attrs['region'], texts[2:])} {_WRITES[node.op.name]}"
    if node.op.name in _PATTERNS:
        return _PATTERNS[node.op.name]
    if node.op.kind in ("elementwise", "reduce"):
        return f"{name}({', '.join(texts)})"
    return name


def written_place(node: Node) -> str:
    """What a write writes into, as the user would write it: `h[1:]`."""
    target = node.operands[0]
    if "region" in node.attrs:
        indices = [_operand_text(v, None) for v in node.operands[2:]]
        return f"{target.name or '…'}{_region_text(node.attrs['region'], indices)}"
    made = target.node
    if made is not None and made.op.name == "index":
        indices = [_operand_text(v, None) for v in made.operands[1:]]
        return f"{made.operands[0].name or '…'}{_region_text(made.attrs['region'], indices)}"
    return f"{target.name or '…'}[…]"


def _region_text(region: Region, texts: Sequence[str]) -> str:
    def bound(b: int | Arg | None) -> str:
        return "" if b is None else texts[b.k] if isinstance(b, Arg) else str(b)

    entries = []
    region = tuple(region)
    while len(region) > 1 and region[-1] == FULL:
        region = region[:-1]
    for entry in region:
        match entry:
            case At():
                entries.append(bound(entry.position))
            case Gather():
                entries.append(texts[entry.k])
            case NewAxis():
                entries.append("None")
            case Span():
                step = "" if entry.step is None else f":{bound(entry.step)}"
                entries.append(f"{bound(entry.start)}:{bound(entry.stop)}{step}")
    return f"[{', '.join(entries)}]"


def _operand_text(value: Value, source: Vertex | None) -> str:
    if source is not None:
        return "·"
    node = value.node
    if node is not None and node.op.name == "const":
        return number_text(node.attrs["value"])
    if node is not None and not value.name and value.dtype == "int64" and node.op.name in ("add", "sub", "mul"):
        a, b = (_operand_text(v, None) for v in node.operands)
        return f"{a}{_SYMBOLS[node.op.name]}{b}"
    return value.name or "…"


def _pruned(root: Cluster, results: Sequence[Vertex]) -> Cluster:
    """The circuit without what leads to no result: conditions, indices, sizes."""
    live: set[Vertex] = set()
    work = list(results)
    while work:
        vertex = work.pop()
        if vertex not in live:
            live.add(vertex)
            work += vertex.inputs

    def keep(cluster: Cluster) -> Cluster:
        items: list[Vertex | Cluster] = []
        for item in cluster.items:
            if isinstance(item, Cluster):
                inner = keep(item)
                if inner.items:
                    items.append(inner)
            elif item in live:
                items.append(item)
        return Cluster(cluster.title, items)

    return keep(root)


def _line(vertex: Vertex) -> tuple[str, int]:
    return vertex.loc.filename, vertex.loc.lineno


def _folded(root: Cluster) -> Cluster:
    """The circuit with what stands on one source line, one after the other, as one vertex."""
    stands_for: dict[Vertex, Vertex] = {}

    def fold(cluster: Cluster) -> Cluster:
        made = Cluster(cluster.title)
        last: Vertex | None = None
        for item in cluster.items:
            if isinstance(item, Cluster):
                made.items.append(fold(item))
                last = None
                continue
            if last is not None and not item.is_input and not last.is_input and _line(last) == _line(item):
                last.value, last.cotangent = item.value, item.cotangent
                last.name, last.is_result = item.name or last.name, item.is_result or last.is_result
                last.inputs += item.inputs
                stands_for[item] = last
                continue
            label = item.label if item.is_input else item.loc.line().strip() or item.label
            last = Vertex(item.key, label, item.name, item.value, item.cotangent, item.loc, list(item.inputs),
                          item.is_input, item.is_result, not item.is_input)
            stands_for[item] = last
            made.items.append(last)
        return made

    folded = fold(root)
    for vertex in folded.vertices():
        inputs = [stands_for[v] for v in vertex.inputs]
        vertex.inputs = list(dict.fromkeys(v for v in inputs if v is not vertex))
        if not vertex.is_input:
            vertex.name = ""
    return folded
