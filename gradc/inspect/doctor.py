"""What gradc finds on a machine: `python -m gradc doctor`."""

from __future__ import annotations

import os
import platform
import shutil
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version

import numba
import numpy as np

from gradc.api import jit
from gradc.codegen.intrinsics import vector_variants
from gradc.config import config
from gradc.runtime.cache import cache
from gradc.version import __version__

_FUNCTIONS = ("exp", "log", "pow", "sin", "cos", "tanh", "erf", "expm1", "log1p", "atan2", "cbrt")


@dataclass(frozen=True, slots=True)
class Finding:
    """One line. `needed`: without it gradc does not work as it should."""

    name: str
    text: str
    good: bool = True
    needed: bool = False


def doctor() -> Iterator[Finding]:
    """Everything that is looked at, one after the other."""
    yield Finding("gradc", f"{__version__} in {os.path.dirname(os.path.dirname(__file__))}")
    yield Finding("python", f"{platform.python_version()} on {platform.platform()}", sys.version_info >= (3, 11), True)
    for package in ("numpy", "numba", "llvmlite", "scipy", "sympy"):
        found = _version(package)
        yield Finding(package, found or "not installed", bool(found), True)
    yield _vector_math()
    yield _blas()
    yield _threads()
    yield _cache()
    dot = shutil.which("dot")
    yield Finding("graphviz", dot or "no program `dot`: diagrams are saved as .svg only", dot is not None)
    yield _compiling()


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""


def _vector_math() -> Finding:
    lanes: dict[str, int] = {}
    for f in _FUNCTIONS:
        variants = vector_variants(f, 2 if f in ("pow", "atan2") else 1, False)
        lanes[f] = max((n for _, n in variants), default=0)
    found = [f for f in _FUNCTIONS if lanes[f]]
    if not found:
        return Finding("vector math", "no libmvec (glibc 2.22 or later): elementary functions run one by one", False)
    missing = [f for f in _FUNCTIONS if not lanes[f]]
    text = f"libmvec, {max(lanes.values())} doubles at a time: {', '.join(found)}"
    return Finding("vector math", text + (f"; not {', '.join(missing)} (glibc 2.35)" if missing else ""))


def _blas() -> Finding:
    try:
        built = np.show_config(mode="dicts")["Build Dependencies"]["blas"]  # type: ignore[index, call-overload]
        name = f"{built['name']} {built['version']} (NumPy's)"
    except (KeyError, TypeError):
        name = "unknown (NumPy's)"
    try:
        import scipy.linalg.cython_blas  # noqa: F401  # Numba calls BLAS through it
    except ImportError:
        return Finding("BLAS", f"{name}; scipy's cannot be loaded, products are slow", False, True)
    a = np.ones((256, 256))
    a @ a
    start = time.perf_counter()
    for _ in range(5):
        a @ a
    rate = 5 * 2 * 256**3 / (time.perf_counter() - start) / 1e9
    return Finding("BLAS", f"{name}, {rate:.0f} Gflop/s for 256×256")


def _threads() -> Finding:
    names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
    limits = {k: os.environ[k] for k in names if k in os.environ}
    text = f"{os.cpu_count()} processors, Numba may use {numba.config.NUMBA_NUM_THREADS}"
    return Finding("threads", text + "".join(f", {k}={v}" for k, v in limits.items()))


def _cache() -> Finding:
    if not config().cache:
        return Finding("cache", "off (GRADC_CACHE=0): every process compiles anew", False)
    folder = cache.folder()
    try:
        probe = folder / f"probe-{os.getpid()}"
        probe.write_text("")
        probe.unlink()
    except OSError as error:
        return Finding("cache", f"{folder} cannot be written to: {error}", False, True)
    if folder != config().cache_dir:
        text = f"{config().cache_dir} is not usable; kernels are lost at the end of each process"
        return Finding("cache", text, False, True)
    return Finding("cache", f"{folder}, {cache.size() / 1e6:.1f} MB")


def _compiling() -> Finding:
    start = time.perf_counter()
    made = jit(_probe)
    value = made(2.0)
    seconds = time.perf_counter() - start
    text = f"a small function in {seconds:.2f} s, or its kernel from the cache"
    return Finding("compiling", text, value == _probe(2.0), True)


def _probe(x: float) -> float:
    return x * x + 1.0
