"""Small plain functions of every kind that the front end and reverse mode meet, with inputs."""

from tests.programs import (
    aliasing,
    blind,
    complex_numbers,
    control,
    fourier,
    indexing,
    mixed,
    numerics,
    structures,
    viewing,
)
from tests.programs.entry import PROGRAMS, Program

__all__ = [
    "PROGRAMS", "Program", "aliasing", "blind", "complex_numbers", "control", "fourier", "indexing", "mixed",
    "numerics", "structures", "viewing",
]  # fmt: skip
