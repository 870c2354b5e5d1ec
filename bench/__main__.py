"""`python -m bench [TABLE...]`: run the tables named (default: the first six), print them, write JSON on demand."""

from __future__ import annotations

import argparse
import os
import platform
import sys
import time
from pathlib import Path
from typing import Any

JACOBIANS = "ADBench's Jacobians: bundle adjustment (sparse), hand tracking (dense)"


def restrict_threads(count: int) -> None:
    """Give every library the same number of threads. Must run before they are imported."""
    for name in ("OMP", "OPENBLAS", "MKL", "NUMBA"):
        os.environ[f"{name}_NUM_THREADS"] = str(count)
    if hasattr(os, "sched_setaffinity"):
        # XLA takes as many threads as there are processors to run on, and has no other switch.
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:count])


def machine() -> dict[str, Any]:
    from importlib.metadata import PackageNotFoundError, version

    versions = {}
    for package in ("numpy", "numba", "jax", "torch", "gradc"):
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            continue
    return {"python": platform.python_version(), "system": platform.platform(), "versions": versions,
            "threads": os.environ.get("OMP_NUM_THREADS", "default")}  # fmt: skip


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument(
        "tables", nargs="*", metavar="TABLE", help="small mlp jacobi_2d ... first-call; 'list' names them all"
    )
    parser.add_argument("--peers", help="comma-separated; default: all of them")
    parser.add_argument("--threads", type=int, default=1, help="threads for every side (default 1)")
    parser.add_argument("--budget", type=float, default=2.0, help="seconds per contestant and row (default 2)")
    parser.add_argument("--clock", choices=("wall", "processor"), default="wall", help="processor: for a busy machine")
    parser.add_argument("--json", type=Path, help="directory to write one JSON file per table into")
    options = parser.parse_args()
    restrict_threads(options.threads)

    from bench.first_call import first_call_table
    from bench.nopython import nopython_table
    from bench.peers import PEERS
    from bench.runner import report, write_json
    from bench.sparse import sparse_rows
    from bench.symbolic import TABLES as SYMBOLIC
    from bench.tables import TABLES, run_case

    if options.tables == ["list"]:
        print("\n".join(f"{name:12s}{title}" for name, (title, _) in TABLES.items()))
        print(f"{'nopython':12s}Derivatives called in nopython code, against ones written by hand")
        print(f"{'jacobians':12s}{JACOBIANS}")
        print("\n".join(f"{name:12s}{title}" for name, (title, _) in SYMBOLIC.items()))
        print(f"{'first-call':12s}First calls in fresh processes, cold and from the disk cache")
        return 0
    clock = time.perf_counter if options.clock == "wall" else time.process_time
    peers = options.peers.split(",") if options.peers else list(PEERS)
    for name in options.tables or ["small", "mlp", "jacobi_2d", "seidel_2d", "cholesky", "gmm"]:
        if name in SYMBOLIC:
            print(SYMBOLIC[name][1]())
            continue
        if name == "nopython":
            print(nopython_table(options.budget))
            continue
        if name == "jacobians":
            rows = sparse_rows(options.budget, clock)
            print(report(JACOBIANS, rows))
            if options.json:
                write_json(options.json / "jacobians.json", JACOBIANS, rows, machine())
            continue
        if name == "first-call":
            print(first_call_table())
            continue
        if name not in TABLES:
            print(f"no table {name}; there are: {' '.join(TABLES)} first-call", file=sys.stderr)
            return 2
        title, cases = TABLES[name]
        rows = [run_case(case, peers, options.budget, clock) for case in cases]
        print(report(title, rows))
        if options.json:
            write_json(options.json / f"{name}.json", title, rows, machine())
    return 0


if __name__ == "__main__":
    sys.exit(main())
