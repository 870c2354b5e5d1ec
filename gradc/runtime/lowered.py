"""What `.lower()` gives: a program specialised to the types of some arguments, to look at."""

from __future__ import annotations

import functools
import inspect
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from gradc.ir.printer import print_func
from gradc.runtime import fastcall, pipeline
from gradc.runtime.pipeline import Staged


class Text(str):
    """A program text, which shows itself as it reads: at a prompt without quotes, in a notebook in colour."""

    def __repr__(self) -> str:
        return str(self)

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        printer.text(str(self))

    def _repr_markdown_(self) -> str:
        return f"```python\n{self.strip()}\n```"

    def __reduce__(self) -> Any:
        return str, (str(self),)


class SourceText(Text):
    """The readable program; a `str` that can be saved as a module of its own."""

    _module: Callable[[bool], str] | None = None

    @classmethod
    def of(cls, text: str, module: Callable[[bool], str] | None) -> SourceText:
        """module: the text of the file to save, for Numba or not; None where no program is known yet."""
        made = cls(text)
        made._module = module
        return made

    def save(self, path: str | os.PathLike[str], numba: bool = False) -> Path:
        """Write the program to a file that runs without gradc.

        The file is for arguments of the kind that the program was staged for: dtypes, ranks, structure, axes of size 1,
        and values that decided what was compiled. It says so in `ARGUMENTS`, and refuses others with TypeError or
        ValueError. Sizes may differ. What the function captured is written into it; large arrays become arguments.

        Args:
            path: the file, which is replaced where it exists.
            numba: False writes this text, which needs NumPy only (and `math` or SciPy where the program calls them);
                True writes the kernel under `numba.njit`, which needs Numba, and a function that calls it with the
                arguments of the user.

        Returns:
            The path.

        Raises:
            ValueError: where nothing has been called yet.
            UnsupportedError: for what a file cannot hold.

        Examples:
            >>> import gradc, tempfile, pathlib
            >>> folder = pathlib.Path(tempfile.mkdtemp())
            >>> gradient = gradc.grad(lambda x, y: x * y * y)
            >>> print(gradient.lower(3.0, 2.0).source.save(folder / "product.py").name)
            product.py
        """
        if self._module is None:
            raise ValueError("there is no program to save yet: call the object, or use .lower(*args).source.save(path)")
        text = self._module(numba)
        target = Path(path)
        target.write_text(text, encoding="utf-8")
        return target


class Lowered:
    """A program specialised to the types of some arguments: its texts, its IR, and numbers about it."""

    def __init__(
        self, title: str, signature: inspect.Signature, staged: Staged, leaves: Sequence[Any] = ()
    ) -> None:
        self._title = title
        self._signature = signature
        self._staged = staged
        self._leaves = tuple(leaf if np.ndim(leaf) == 0 else np.empty(np.shape(leaf), "V0") for leaf in leaves)

    def __repr__(self) -> str:
        return f"<{self._title} lowered to {len(self._staged.func.params)} parameters>"

    @property
    def staged(self) -> Staged:
        """The program after its transforms."""
        return self._staged

    @functools.cached_property
    def source(self) -> SourceText:
        """The readable staged program: a module text for plain NumPy, with `.save(path)`."""
        text = pipeline.source_text(self._staged, self._signature)
        return SourceText.of(text, functools.partial(pipeline.module_text, self._staged, self._signature))

    @functools.cached_property
    def kernel_source(self) -> Text:
        """The text that Numba gets."""
        types_of = [r.ty for r in self._staged.func.results]
        text, _ = pipeline.kernel_text(self._staged, fastcall.pack_of(self._staged.result, types_of))
        return Text(text)

    @functools.cached_property
    def ir(self) -> str:
        """The IR after the last stage. It parses back: `gradc.ir.parser.parse_func`."""
        return print_func(self._staged.func)

    @property
    def stats(self) -> Mapping[str, Any]:
        """Numbers of operations, what passes and the reverse mode noted, seconds per stage."""
        return pipeline.statistics(self._staged, self._leaves)
