"""Kernels as files: named by the hash of all that they depend on, private to the user, loaded by later processes.

A kernel is a module text. `codegen/native` compiles it, or Numba where that does not know a construct or is
switched off (GRADC_NATIVE=0). It is written to `kernel_<hash>.py` in the cache folder and run as the module of that
name, so Numba's own disk cache holds its machine code beside it, and tracebacks and profilers show its lines. The hash
covers the text, the argument types, the versions of gradc, Numba, llvmlite and NumPy, and the processor. Every
function of the text carries it in its name (PLACEHOLDER stands for it), because equal names from several processes
have made Numba's cache crash (numba#10486).
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import hashlib
import importlib.util
import json
import os
import re
import shutil
import stat
import sys
import tempfile
import threading
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import llvmlite
import llvmlite.binding as llvm
import numba
import numpy
from numba.core.errors import NumbaWarning

import gradc.codegen.intrinsics  # noqa: F401  # kernels import it; here, so that the first call does not have to
from gradc.codegen import intrinsics
from gradc.codegen.native import bridge
from gradc.codegen.native.kinds import NotTranslated
from gradc.config import config
from gradc.version import __version__

PLACEHOLDER = "HASH_OF_KERNEL"
_PREFIX = "kernel_"
_LEFT_TO_NUMBA = "(not compiled by gradc: "


@functools.cache
def environment_tag() -> str:
    """Versions and processor that machine code depends on."""
    features = llvm.get_host_cpu_features().flatten()
    versions = (__version__, numba.__version__, llvmlite.__version__, numpy.__version__, sys.version)
    return "\n".join((*versions, llvm.get_host_cpu_name(), features, intrinsics.FINGERPRINT))


@functools.cache
def _module_hash(name: str) -> str:
    """Hash of the text of a module of gradc that kernels import, and of those that it imports in turn.

    What kernels call there, in `codegen` and `ops`, is compiled into them.
    """
    spec = importlib.util.find_spec(name)
    if spec is None or spec.origin is None:
        return name
    text = Path(spec.origin).read_text(encoding="utf-8")
    inner = re.findall(r"^(?:from|import) (gradc\.(?:codegen|ops)\.[\w.]*)", text, re.MULTILINE)
    return hashlib.sha256("\0".join((text, *map(_module_hash, inner))).encode()).hexdigest()


@functools.cache
def _compiler_hash() -> str:
    """Hash of gradc's own compiler of kernels."""
    files = sorted(Path(bridge.__file__).parent.glob("*.py"))
    return hashlib.sha256(b"\0".join(f.read_bytes() for f in files)).hexdigest()


def kernel_hash(text: str, types: str) -> str:
    """Hash of a kernel: 16 hexadecimal digits."""
    modules = re.findall(r"^\s*(?:from|import) (gradc[\w.]*)", text, re.MULTILINE)
    compiler = _compiler_hash() if config().native else ""
    content = "\0".join((text, types, environment_tag(), compiler, *map(_module_hash, modules)))
    return hashlib.sha256(content.encode()).hexdigest()[:16]


class KernelCache:
    """The folder of compiled kernels: `gradc.cache`.

    >>> import gradc
    >>> gradc.cache.size() >= 0
    True
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._locks: dict[str, threading.Lock] = {}
        self._loaded: dict[str, Callable[..., Any]] = {}
        self._folder: Path | None = None
        self._pid = 0

    def __repr__(self) -> str:
        return f"<gradc kernel cache in {self.folder()}>"

    def folder(self) -> Path:
        """The folder in use: the configured one, or one of this process alone where that is off or not private."""
        if self._folder is not None and (self._pid == os.getpid() or not self._is_temporary):
            return self._folder
        with self._lock:
            if self._folder is None or (self._pid != os.getpid() and self._is_temporary):
                chosen = _private_folder(config().cache_dir) if config().cache else None
                self._is_temporary = chosen is None
                self._pid = os.getpid()
                self._folder = chosen or _temporary_folder()
            return self._folder

    _is_temporary = False

    def renew_locks(self) -> None:
        """In a fork: locks that another thread of the parent held would never open."""
        self._lock = threading.Lock()
        self._locks.clear()

    def size(self) -> int:
        """Bytes that the cached kernels take."""
        total = 0
        for path in self._files():
            with contextlib.suppress(OSError):
                total += path.stat().st_size
        return total

    def clear(self) -> None:
        """Delete the cached kernels. Loaded ones keep working."""
        for path in list(self._files()):
            with contextlib.suppress(OSError):
                path.unlink()

    def _files(self) -> Iterator[Path]:
        folder = self.folder()
        for place in (folder, folder / "__pycache__"):
            with contextlib.suppress(OSError):
                yield from (p for p in place.iterdir() if p.name.startswith(_PREFIX) and not p.is_dir())

    # ------------------------------------------------------------------------------------------ loading

    def load(self, text: str, name: str, signature: tuple[Any, ...]) -> Callable[..., Any]:
        """The compiled function `name` of the module `text`, for one tuple of Numba types.

        `text` and `name` contain PLACEHOLDER where the hash goes. Files that are damaged are rebuilt.
        """
        digest = kernel_hash(text, repr(signature))
        with self._lock:
            lock = self._locks.setdefault(digest, threading.Lock())
        with lock:
            if digest not in self._loaded:
                filled = text.replace(PLACEHOLDER, digest)
                self._loaded[digest] = self._load(digest, filled, name.replace(PLACEHOLDER, digest), signature)
            return self._loaded[digest]

    def _load(self, digest: str, text: str, name: str, signature: tuple[Any, ...]) -> Callable[..., Any]:
        path = self.folder() / f"{_PREFIX}{digest}.py"
        text = self._module(path, text, name, signature)
        _write_once(path, text.encode())
        kernel = self._dispatcher(path, text, name)
        trusted = _verify_sums(path, kernel)
        try:
            _compile(kernel, signature)
        except Exception:
            if not trusted:
                raise
            # Files of another process or a damaged disk: once more, from nothing.
            _remove_compiled(path, kernel)
            kernel = self._dispatcher(path, text, name)
            _compile(kernel, signature)
        if not self._is_temporary and not kernel.stats.cache_hits:
            _write_sums(path, kernel)
        kernel.disable_compile()
        return kernel  # type: ignore[no-any-return]

    def _module(self, path: Path, text: str, name: str, signature: tuple[Any, ...]) -> str:
        """What the module of a kernel is: its text for Numba, or a call of what `codegen/native` makes of the text."""
        if not config().native:
            return text
        module = bridge.native_module(text, name)
        try:
            written = path.read_text()
        except (OSError, ValueError):
            written = ""
        if written == module or written.endswith(f"\n{text}"):
            return written
        try:
            bridge.translated(text, name, signature)
        except NotTranslated as error:
            return f"# {_LEFT_TO_NUMBA}{' '.join(str(error).split())})\n{text}"
        return module

    def _dispatcher(self, path: Path, text: str, name: str) -> Any:
        module = ModuleType(path.stem)
        module.__file__ = str(path)
        # Before it runs: Numba finds the environment of cached code again by the module's name.
        sys.modules[path.stem] = module
        exec(compile(text, str(path), "exec"), module.__dict__)
        first = text.partition("\n")[0]
        native = text.startswith(bridge.HEAD)
        module.COMPILER = "gradc" if native else f"Numba{first[1:] if _LEFT_TO_NUMBA in first else ''}"  # type: ignore[attr-defined]
        kernel = getattr(module, name)
        if not self._is_temporary:
            kernel.enable_caching()
        return kernel


def compiler_of(kernel: Any) -> str:
    """Which compiler made a kernel, and why where it is not gradc's own."""
    return str(kernel.py_func.__globals__["COMPILER"])


def _compile(kernel: Any, signature: tuple[Any, ...]) -> None:
    with warnings.catch_warnings():
        # What Numba would like to be written otherwise is nothing that a user can change.
        warnings.simplefilter("ignore", NumbaWarning)
        kernel.compile(signature)


cache = KernelCache()


# ------------------------------------------------------------------------------------------------ folders


def _private_folder(folder: Path) -> Path | None:
    """`folder`, made if need be, where this user alone can use it; None (with a warning) where that cannot be had."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if os.name == "posix":
            status = folder.stat()
            if status.st_uid != os.geteuid():
                return _refuse(folder, "it belongs to another user")
            if status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
                return _refuse(folder, "other users can write to it")
            if stat.S_IMODE(status.st_mode) & 0o077:
                folder.chmod(0o700)
        if not os.access(folder, os.W_OK | os.X_OK):
            return _refuse(folder, "it cannot be written to")
    except OSError as error:
        return _refuse(folder, str(error))
    return folder


def _refuse(folder: Path, reason: str) -> Path | None:
    warnings.warn(
        f"gradc does not use the cache folder {folder}: {reason}. Kernels are kept for this process only; "
        "set GRADC_CACHE_DIR to a folder of your own.",
        RuntimeWarning,
        stacklevel=2,
    )
    return None


def _temporary_folder() -> Path:
    """A folder that this process alone uses and removes at its end."""
    folder = Path(tempfile.mkdtemp(prefix="gradc-"))
    owner = os.getpid()

    def remove() -> None:
        if os.getpid() == owner:  # not in a fork
            shutil.rmtree(folder, ignore_errors=True)

    atexit.register(remove)
    return folder


# -------------------------------------------------------------------------------------------------- files


def _write_atomically(path: Path, content: bytes) -> None:
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=".", suffix=".tmp")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise


def _write_once(path: Path, content: bytes) -> None:
    """Make `path` hold `content`. An intact file is left alone: Numba's cache is valid for one time of writing."""
    try:
        if path.read_bytes() == content:
            return
    except OSError:
        pass
    _write_atomically(path, content)


def _compiled_files(kernel: Any) -> list[Path]:
    """The files of Numba's cache that belong to `kernel`."""
    found = kernel._cache
    folder, base = getattr(found, "_cache_path", None), getattr(getattr(found, "_impl", None), "filename_base", None)
    if folder is None or base is None or not os.path.isdir(folder):
        return []
    return sorted(p for p in Path(folder).iterdir() if p.name.startswith(base + ".") and p.suffix in (".nbi", ".nbc"))


def _sums(kernel: Any) -> dict[str, str]:
    return {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in _compiled_files(kernel)}


def _sum_path(path: Path) -> Path:
    return path.with_suffix(".sum")


def _write_sums(path: Path, kernel: Any) -> None:
    with contextlib.suppress(OSError):
        _write_atomically(_sum_path(path), json.dumps(_sums(kernel)).encode())


def _verify_sums(path: Path, kernel: Any) -> bool:
    """Whether Numba's files for `kernel` are there and are what was written; others are removed.

    Numba unpickles them unchecked: truncated ones raise, and damaged machine code would run.
    """
    try:
        found = _sums(kernel)
        if not found:
            return False
        if json.loads(_sum_path(path).read_bytes()) == found:
            return True
    except (OSError, ValueError):
        pass
    _remove_compiled(path, kernel)
    return False


def _remove_compiled(path: Path, kernel: Any) -> None:
    for file in (*_compiled_files(kernel), _sum_path(path)):
        with contextlib.suppress(OSError):
            file.unlink()
