"""A picture of a circuit without Graphviz: columns from left to right, clusters as boxes with columns of their own.

Circuits of source lines, which are wide, go from top to bottom: their columns are rows, and what is called width here
is their height.

Columns are longest paths, as in Sugiyama, Tagawa, Toda (1981): edges that pass a column get a place in it, and places
in a column are ordered by the mean of their neighbours'.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from html import escape
from itertools import pairwise
from typing import TypeAlias

from gradc.inspect.circuit import Cluster, Vertex

Item: TypeAlias = Vertex | Cluster
Point: TypeAlias = tuple[float, float]

_LINE, _PAD, _GAP_X, _GAP_Y, _TITLE = 17.0, 7.0, 44.0, 16.0, 22.0
_CHAR = 7.3


@dataclass(eq=False, slots=True)
class _Place:
    """A box in a column: an item, or where an edge passes (`item` is None). x and width are along the edges."""

    item: Item | None
    column: int
    width: float = 0.0
    height: float = 6.0
    x: float = 0.0
    y: float = 0.0
    before: list[_Place] = field(default_factory=list)
    after: list[_Place] = field(default_factory=list)
    inner: _Layout | None = None


@dataclass(eq=False, slots=True)
class _Layout:
    places: list[_Place]
    routes: list[tuple[Vertex, Vertex, list[_Place]]]
    width: float
    height: float


def svg_of(root: Cluster) -> str:
    """The circuit as SVG."""
    down = any(v.is_line for v in root.vertices())
    layout = _arrange(root, down)
    boxes: dict[Vertex, tuple[float, float, float, float]] = {}
    shapes: list[str] = []
    routes: list[tuple[Vertex, Vertex, list[Point]]] = []
    _draw(layout, 12.0, 12.0, boxes, shapes, routes, down)
    edges = [_edge(boxes[a], points, boxes[b], down) for a, b, points in routes]
    width, height = (side + 24 for side in _turned(layout.width, layout.height, down))
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:.0f}" height="{height:.0f}" '
        f'viewBox="0 0 {width:.0f} {height:.0f}" font-family="Helvetica, Arial, sans-serif" font-size="12">\n'
        '<defs><marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="6" markerHeight="6" orient="auto">'
        '<path d="M0 0 L8 4 L0 8 z" fill="#888888"/></marker></defs>\n'
        '<rect width="100%" height="100%" fill="white"/>\n' + "\n".join(_clusters_first(shapes, edges)) + "\n</svg>\n"
    )


def _clusters_first(shapes: list[str], edges: list[str]) -> list[str]:
    boxes = [s for s in shapes if s.startswith("<g class='cluster'")]
    return [*boxes, *edges, *(s for s in shapes if not s.startswith("<g class='cluster'"))]


# ------------------------------------------------------------------------------------------------ places


def _turned(a: float, b: float, down: bool) -> tuple[float, float]:
    return (b, a) if down else (a, b)


def _members(item: Item) -> list[Vertex]:
    return item.vertices() if isinstance(item, Cluster) else [item]


def _arrange(cluster: Cluster, down: bool) -> _Layout:
    """Places for the items of a cluster, relative to its corner."""
    home: dict[Vertex, int] = {v: k for k, item in enumerate(cluster.items) for v in _members(item)}
    edges: dict[tuple[int, int], list[tuple[Vertex, Vertex]]] = {}
    for vertex, k in home.items():
        for source in vertex.inputs:
            j = home.get(source)
            if j is not None and j != k:
                edges.setdefault((min(j, k), max(j, k)), []).append((source, vertex))
    columns = _columns(len(cluster.items), list(edges))
    places = [_measured(item, columns[k], down) for k, item in enumerate(cluster.items)]
    routes: list[tuple[Vertex, Vertex, list[_Place]]] = []
    everything = list(places)
    for (j, k), pairs in edges.items():
        chain = [_Place(None, column) for column in range(columns[j] + 1, columns[k])]
        everything += chain
        for a, b in zip([places[j], *chain], [*chain, places[k]], strict=True):
            a.after.append(b)
            b.before.append(a)
        routes += [(source, target, chain) for source, target in pairs]
    grid = [[p for p in everything if p.column == c] for c in range(max(columns, default=-1) + 1)]
    _order(grid)
    width, height = _coordinates(grid, _GAP_Y * 1.5 if down else _GAP_X)
    return _Layout(everything, routes, width, height)


def _columns(count: int, edges: list[tuple[int, int]]) -> list[int]:
    """Longest paths; what nothing leads to stands right before what it leads to."""
    columns = [0] * count
    for j, k in sorted(edges, key=lambda e: e[1]):
        columns[k] = max(columns[k], columns[j] + 1)
    has_before = {k for _, k in edges}
    for j in range(count):
        later = [columns[k] for i, k in edges if i == j]
        if j not in has_before and later:
            columns[j] = min(later) - 1
    return columns


def _measured(item: Item, column: int, down: bool) -> _Place:
    if isinstance(item, Cluster):
        inner = _arrange(item, down)
        width, height = _turned(inner.width, inner.height, down)
        width, height = max(width, len(item.title) * 6.4) + 2 * _PAD, height + _TITLE + _PAD
        return _Place(item, column, *_turned(width, height, down), inner=inner)
    lines = _lines(item)
    width = max((len(text) for text, _, _ in lines), default=1) * _CHAR + 2 * _PAD
    return _Place(item, column, *_turned(width, len(lines) * _LINE + _PAD, down))


def _order(grid: list[list[_Place]]) -> None:
    """Order the places in each column to have few crossings."""
    for sweep in range(6):
        forwards = sweep % 2 == 0
        for column in grid if forwards else reversed(grid):
            rank = {p: k for c in grid for k, p in enumerate(c)}

            def mean(p: _Place, rank: dict[_Place, int] = rank, forwards: bool = forwards) -> float:
                near = p.before if forwards else p.after
                return sum(rank[q] for q in near) / len(near) if near else rank[p]

            column.sort(key=mean)


def _coordinates(grid: list[list[_Place]], gap: float) -> tuple[float, float]:
    x = 0.0
    for column in grid:
        wide = max((p.width for p in column), default=0.0)
        for p in column:
            p.width = p.width or wide
            p.x = x + (wide - p.width) / 2
        x += wide + gap
        y = 0.0
        for p in column:
            p.y = y
            y += p.height + _GAP_Y
    for sweep in range(12):  # move places towards their neighbours, keeping the order
        for column in grid if sweep % 2 == 0 else reversed(grid):
            wished = []
            for p in column:
                near = p.before + p.after if sweep >= 8 else p.before if sweep % 2 == 0 else p.after
                middle = sum(q.y + q.height / 2 for q in near) / len(near) if near else p.y + p.height / 2
                wished.append(middle - p.height / 2)
            _settle(column, wished)
    top = min((p.y for c in grid for p in c), default=0.0)
    for column in grid:
        for p in column:
            p.y -= top
    return max(x - gap, 0.0), max((p.y + p.height for c in grid for p in c), default=0.0)


def _settle(column: list[_Place], wished: list[float]) -> None:
    """Put places as near to where they wish as their order and the gaps allow."""
    # Groups that push each other stand where their members wish on average (isotonic regression by pooling).
    groups: list[tuple[float, float, list[_Place]]] = []  # top, height, members
    for p, y in zip(column, wished, strict=True):
        groups.append((y, p.height, [p]))
        while len(groups) > 1 and groups[-2][0] + groups[-2][1] + _GAP_Y > groups[-1][0]:
            b, a = groups.pop(), groups.pop()
            offset = a[1] + _GAP_Y
            n, m = len(a[2]), len(b[2])
            groups.append(((a[0] * n + (b[0] - offset) * m) / (n + m), offset + b[1], a[2] + b[2]))
    for top, _, members in groups:
        for p in members:
            p.y = top
            top += p.height + _GAP_Y


# ----------------------------------------------------------------------------------------------- drawing


def _lines(vertex: Vertex) -> list[tuple[str, str, str]]:
    """Text, colour and weight of the lines in a box."""
    lines = [(vertex.head, "#1f2328", "bold" if vertex.name else "normal")]
    if vertex.value:
        lines.append((vertex.value, "#1a7f37", "normal"))
    if vertex.cotangent:
        lines.append((vertex.cotangent, "#cf222e", "normal"))
    return lines


def _draw(
    layout: _Layout, x: float, y: float, boxes: dict[Vertex, tuple[float, float, float, float]], shapes: list[str],
    routes: list[tuple[Vertex, Vertex, list[Point]]], down: bool,
) -> None:
    for place in layout.places:
        right, below = _turned(place.x, place.y, down)
        left, top = x + right, y + below
        width, height = _turned(place.width, place.height, down)
        item = place.item
        if item is None:
            continue
        if isinstance(item, Cluster):
            assert place.inner is not None
            shapes.append(
                f"<g class='cluster'><rect x='{left:.1f}' y='{top:.1f}' width='{width:.1f}' "
                f"height='{height:.1f}' rx='8' fill='#f6f8fa' stroke='#aaaaaa'/>"
                f"<text x='{left + _PAD:.1f}' y='{top + 15:.1f}' font-size='11' fill='#57606a'>"
                f"{escape(item.title)}</text></g>"
            )
            _draw(place.inner, left + _PAD, top + _TITLE, boxes, shapes, routes, down)
        else:
            boxes[item] = (left, top, width, height)
            shapes.append(_box(item, *boxes[item]))
    for source, target, chain in layout.routes:
        ends = [_turned(p.x + w, p.y + p.height / 2, down) for p in chain for w in (0.0, p.width)]
        routes.append((source, target, [(x + along, y + across) for along, across in ends]))


def _box(vertex: Vertex, x: float, y: float, width: float, height: float) -> str:
    fill = "#eef3fb" if vertex.is_input else "#fbf6e6" if vertex.is_result else "white"
    parts = [
        f"<g><rect x='{x:.1f}' y='{y:.1f}' width='{width:.1f}' height='{height:.1f}' rx='6' fill='{fill}' "
        "stroke='#555555'/>"
    ]
    for k, (text, colour, weight) in enumerate(_lines(vertex)):
        parts.append(
            f"<text x='{x + width / 2:.1f}' y='{y + 15 + k * _LINE:.1f}' text-anchor='middle' fill='{colour}' "
            f"font-weight='{weight}'>{escape(text)}</text>"
        )
    return "".join(parts) + "</g>"


def _edge(
    a: tuple[float, float, float, float], points: list[Point], b: tuple[float, float, float, float], down: bool
) -> str:
    if down:
        way = [(a[0] + a[2] / 2, a[1] + a[3]), *points, (b[0] + b[2] / 2, b[1] - 1)]
    else:
        way = [(a[0] + a[2], a[1] + a[3] / 2), *points, (b[0] - 1, b[1] + b[3] / 2)]
    path = f"M{way[0][0]:.1f} {way[0][1]:.1f}"
    for (x0, y0), (x1, y1) in pairwise(way):
        x, y = (x0 + x1) / 2, (y0 + y1) / 2
        bends = f"{x0:.1f} {y:.1f} {x1:.1f} {y:.1f}" if down else f"{x:.1f} {y0:.1f} {x:.1f} {y1:.1f}"
        path += f" C{bends} {x1:.1f} {y1:.1f}"
    return f"<path d='{path}' fill='none' stroke='#888888' stroke-width='1.1' marker-end='url(#tip)'/>"
