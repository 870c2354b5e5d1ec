"""First calls in fresh processes: cold, and from the disk cache. Imports and making arguments do not count."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile

from bench.runner import show_seconds, text_table

CASES = (
    "staged ",
    "mlp 128",
    "jacobi_2d S",
    "seidel_2d S",
    "cholesky S",
    "gmm d10 K25",
    "cavity_flow S",
    "lenet5 S",
    "gru S",
)

_PROBE = """
import json, sys, time
from bench.peers import PEERS
from tests.workloads import WORKLOADS
name, size, peer = sys.argv[1:]
workload = WORKLOADS[name]
args = workload.args(workload.bench[size])
call = PEERS[peer](workload, args, (0,) if name == "mlp" else workload.argnums)
start, processor = time.perf_counter(), time.process_time()
call()
print(json.dumps([time.perf_counter() - start, time.process_time() - processor]))
"""


def first_call(name: str, size: str, peer: str, cache: str) -> str:
    """Wall and processor time of the first call in a new process; a busy machine stretches only the former."""
    environment = dict(os.environ, GRADC_CACHE_DIR=cache)
    done = subprocess.run(
        [sys.executable, "-c", _PROBE, name, size, peer], capture_output=True, text=True, env=environment, check=False
    )
    if done.returncode:
        print(f"{name} {size} {peer}: {done.stderr.strip().splitlines()[-1]}", file=sys.stderr)
        return "fails"
    wall, processor = json.loads(done.stdout.splitlines()[-1])
    return f"{show_seconds(wall)} ({show_seconds(processor)})"


def first_call_table() -> str:
    lines = []
    for case in CASES:
        name, _, size = case.partition(" ")
        with tempfile.TemporaryDirectory() as cache:
            cold = first_call(name, size, "gradc", cache)
            warm = first_call(name, size, "gradc", cache)
        jax = first_call(name, size, "jax", os.devnull)
        lines.append([case.strip(), cold, warm, jax])
    return (
        "First call in a new process\n\n"
        + text_table(["workload", "gradc cold", "gradc from disk", "jax"], lines)
        + "\n"
    )
