"""The examples run as a user runs them, and reach what they claim."""

from __future__ import annotations

import re
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


def is_svg(path: Path) -> bool:
    return "<svg" in path.read_text(encoding="utf-8") and path.stat().st_size > 2000


def number_after(text: str, before: str) -> float:
    """The first number behind `before` in what an example printed."""
    found = re.search(re.escape(before) + r"\s*([-+.\de]+)", text)
    assert found is not None, text
    return float(found.group(1).rstrip("."))


def test_staged(tmp_path: Path) -> None:
    text, _ = run("staged.py", tmp_path)
    assert number_after(text, "df/dx =") == pytest.approx(2.059570, abs=1e-6)
    assert "dx += dnum" in text
    assert is_svg(tmp_path / "staged.svg")


def test_circuit(tmp_path: Path) -> None:
    text, _ = run("circuit.py", tmp_path)
    assert "max(z, w)" in text
    assert is_svg(tmp_path / "gates.svg")
    assert is_svg(tmp_path / "neuron.svg")


def test_two_layers(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    text, _ = run("two_layers.py", tmp_path)
    shares = [float(word.rstrip("%")) for word in text.split() if word.endswith("%")]
    assert len(shares) == 2
    assert min(shares) >= 97.0
    assert is_png(tmp_path / "two_layers.png")


def test_vanishing(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    text, _ = run("vanishing.py", tmp_path)
    for name in ("saturated", "vanishing", "dead"):
        flags = next(line for line in text.splitlines() if line.startswith(f"{name}: flags"))
        assert name in flags.partition("flags")[2]
    for line in text.splitlines():
        if line.startswith("healthy") and "flags" in line:
            assert "flags none" in line
            assert number_after(line, "steps") < 0.02
    assert is_png(tmp_path / "vanishing.png")


def test_gradients_three_ways(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    text, _ = run("gradients_three_ways.py", tmp_path)
    assert number_after(text, "backpropagation") < 1e-13 < number_after(text, "at best") < 1e-8
    assert is_png(tmp_path / "gradients.png")


def test_black_scholes(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    text, _ = run("black_scholes.py", tmp_path)
    assert all(number_after(text, name) < 1e-12 for name in ("delta", "gamma", "vega", "theta", "rho"))
    assert is_png(tmp_path / "black_scholes.png")


def test_gru(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    text, _ = run("gru.py", tmp_path)
    assert number_after(text, "before,") < 0.01 < number_after(text, "sequences:")
    assert is_png(tmp_path / "gru.png")


def test_hmc(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    text, _ = run("hmc.py", tmp_path)
    for name, tolerance in (("mu", 0.15), ("tau", 0.15)):
        line = next(line for line in text.splitlines() if line.startswith(name))
        mean, truth, r_hat = (float(word.rstrip(",")) for word in line.split() if word[0] in "-0123456789")
        assert abs(mean - truth) < tolerance
        assert r_hat < 1.01
    assert 70 < number_after(text, "accepted") < 95
    if "with JAX" in text:
        assert number_after(text, "with JAX") >= 20 * number_after(text, "with gradc")
    assert is_png(tmp_path / "hmc.png")


def test_pendulum(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    text, _ = run("pendulum.py", tmp_path)
    assert number_after(text, "leans by") < 1.0
    assert number_after(text, "speed left") < 0.1
    assert is_png(tmp_path / "pendulum.png")
