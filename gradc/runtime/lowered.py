"""What `.lower()` gives: a program specialised to the types of some arguments, to look at."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Mapping
from typing import Any

from gradc.ir.printer import print_func
from gradc.runtime import fastcall, pipeline
from gradc.runtime.pipeline import Staged


class Lowered:
    """A program specialised to the types of some arguments: its texts, its IR, and numbers about it."""

    def __init__(self, title: str, signature: inspect.Signature, staged: Staged) -> None:
        self._title = title
        self._signature = signature
        self._staged = staged

    def __repr__(self) -> str:
        return f"<{self._title} lowered to {len(self._staged.func.params)} parameters>"

    @property
    def staged(self) -> Staged:
        """The program after its transforms."""
        return self._staged

    @functools.cached_property
    def source(self) -> str:
        """The readable staged program: a module text for plain NumPy."""
        return pipeline.source_text(self._staged, self._signature)

    @functools.cached_property
    def kernel_source(self) -> str:
        """The text that Numba gets."""
        types_of = [r.ty for r in self._staged.func.results]
        text, _ = pipeline.kernel_text(self._staged, fastcall.pack_of(self._staged.result, types_of))
        return text

    @functools.cached_property
    def ir(self) -> str:
        """The IR after the last stage. It parses back: `gradc.ir.parser.parse_func`."""
        return print_func(self._staged.func)

    @property
    def stats(self) -> Mapping[str, Any]:
        """Numbers of operations, what passes and the reverse mode noted, seconds per stage."""
        return pipeline.statistics(self._staged)
