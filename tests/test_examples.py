"""The examples run as a user runs them, and reach what they claim."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parent.parent / "examples"


def run(name: str, out: Path) -> tuple[str, float]:
    """Standard output and seconds of an example in its own process."""
    start = time.perf_counter()
    done = subprocess.run(
        [sys.executable, str(EXAMPLES / name), "--out", str(out)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout, time.perf_counter() - start


def is_png(path: Path) -> bool:
    return path.read_bytes().startswith(b"\x89PNG") and path.stat().st_size > 2000


def test_digits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("sklearn")
    pytest.importorskip("matplotlib")
    pytest.importorskip("tqdm")
    monkeypatch.setenv("GRADC_CACHE_DIR", str(tmp_path / "cache"))
    text, seconds = run("digits.py", tmp_path)
    assert float(text.split("%")[0]) >= 97.0
    assert seconds < 30
    assert is_png(tmp_path / "loss.png")
    assert is_png(tmp_path / "misread.png")


def test_inverse_heat(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    text, _ = run("inverse_heat.py", tmp_path)
    words = text.replace(")", " ").split()
    error, observed = (float(words[words.index(before) + 1]) for before in ("error", "field:"))
    assert error < 0.4 < observed
    assert is_png(tmp_path / "inverse_heat.png")
