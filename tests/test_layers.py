"""Imports point one way, as docs/design.md draws it."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import gradc

ROOT = Path(gradc.__file__).parent
# A layer may import itself and those before it; the siblings of one row never import each other.
LAYERS = [
    ("version", "errors", "config"),
    ("ir",),
    ("ops",),
    ("frontends", "passes", "ad", "lower", "codegen"),
    ("runtime",),
    ("api",),
    ("", "inspect", "testing", "__main__"),
]
BELOW = {name: {n for row in LAYERS[:k] for n in row} for k, row in enumerate(LAYERS) for name in row}
TOGETHER = {"version", "errors", "config", "", "inspect", "testing", "__main__"}


def layer(module: str) -> str:
    """The first part of a module's name inside the package."""
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else ""


def imported(path: Path) -> list[tuple[str, int]]:
    """Modules of gradc that a file imports, with lines."""
    found: list[tuple[str, int]] = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found += [(alias.name, node.lineno) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: relative import"
            if node.module == "gradc":
                found += [(f"gradc.{alias.name}", node.lineno) for alias in node.names]
            else:
                found.append((node.module or "", node.lineno))
    return [(name, line) for name, line in found if name.split(".")[0] == "gradc"]


@pytest.mark.parametrize("path", sorted(ROOT.rglob("*.py")), ids=lambda p: str(p.relative_to(ROOT)))
def test_imports_point_down(path: Path) -> None:
    own = layer(".".join(("gradc", *path.relative_to(ROOT).with_suffix("").parts)).removesuffix(".__init__"))
    assert own in BELOW, f"{own} is in no layer"
    for name, line in imported(path):
        target = layer(name)
        if target not in BELOW:
            target = ""  # a name that the package itself exports
        allowed = target == own or target in BELOW[own] or (own in TOGETHER and target in TOGETHER)
        assert allowed, f"{path.relative_to(ROOT)}:{line}: {own or 'gradc'} imports {name}"


# Keys that are no part of the IR: constants and the statements of a syntax tree, which something else holds.
MAY_USE_IDS = {"ir/tree.py", "passes/cse.py", "codegen/native/body.py", "codegen/fourier.py"}  # the last: an address


def test_nothing_is_kept_by_the_id_of_a_value() -> None:
    """The id of a dropped value goes to a new one, which was then taken for it: wrong in one run of ten."""
    for part in ("ir", "passes", "ad", "lower", "codegen"):
        for path in sorted((ROOT / part).rglob("*.py")):
            if str(path.relative_to(ROOT)) in MAY_USE_IDS:
                continue
            for node in ast.walk(ast.parse(path.read_text())):
                called = isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "id"
                assert not called, f"{path.relative_to(ROOT)}:{node.lineno}: use the value itself as the key"
