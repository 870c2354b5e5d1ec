"""The array programs, networks and objectives that gradc is measured on, as plain NumPy functions."""

from tests.workloads import adbench, irregular, loops, networks, products, small, spectral, stencils
from tests.workloads.entry import WORKLOADS, Workload, cast

__all__ = [
    "WORKLOADS",
    "Workload",
    "adbench",
    "cast",
    "irregular",
    "loops",
    "networks",
    "products",
    "small",
    "spectral",
    "stencils",
]
