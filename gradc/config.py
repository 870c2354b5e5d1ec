"""Settings from the environment: `GRADC_*` variables, read once and checked."""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from gradc.errors import GradcError


class ConfigError(GradcError, ValueError):
    """A `GRADC_*` variable has a value that it cannot have."""


@dataclass(frozen=True, slots=True)
class Config:
    """What the `GRADC_*` variables say.

    debug: 0 nothing, 1 verify after each stage, 2 print the IR after stages that changed it, 3 the emitted text too.
    debug_stages: the stages that `debug` is about; empty means all.
    nan: stop where NaN or an infinity first appears.
    dump: the folder for the IR after each stage and for emitted text, or None.
    cache: whether kernels stay on disk for later processes.
    cache_dir: where they stay.
    native: whether gradc compiles kernels itself, as far as it can (else Numba compiles all of them).
    """

    debug: int
    debug_stages: frozenset[str]
    dump: Path | None
    cache: bool
    cache_dir: Path
    nan: bool = False
    native: bool = True

    def verifies(self, stage: str) -> bool:
        """Whether the IR is verified after `stage`."""
        return self.debug >= 1 and (not self.debug_stages or stage in self.debug_stages)

    def prints(self, stage: str) -> bool:
        """Whether the IR is printed after `stage` changed it."""
        return self.debug >= 2 and (not self.debug_stages or stage in self.debug_stages)


def read_config(environ: Mapping[str, str]) -> Config:
    """The configuration that `environ` asks for.

    Raises: ConfigError for a value that is not legal; the message lists the legal ones.
    """
    debug, stages, nan = _debug(environ.get("GRADC_DEBUG", ""))
    dump = environ.get("GRADC_DUMP", "")
    folder = environ.get("GRADC_CACHE_DIR", "")
    return Config(
        debug=debug,
        debug_stages=stages,
        nan=nan,
        dump=Path(dump) if dump else None,
        cache=_switch("GRADC_CACHE", environ.get("GRADC_CACHE", "")),
        cache_dir=Path(folder).expanduser().absolute() if folder else default_cache_dir(environ),
        native=_switch("GRADC_NATIVE", environ.get("GRADC_NATIVE", "")),
    )


@functools.cache
def config() -> Config:
    """The configuration of this process."""
    return read_config(os.environ)


def default_cache_dir(environ: Mapping[str, str]) -> Path:
    """The platform's folder for this user's caches, with gradc's name appended."""
    if sys.platform == "win32":
        base = environ.get("LOCALAPPDATA") or str(Path.home() / "AppData" / "Local")
        return Path(base) / "gradc" / "Cache"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "gradc"
    base = environ.get("XDG_CACHE_HOME", "")
    # The XDG base directory specification: a relative path is invalid and is to be ignored.
    return (Path(base) if os.path.isabs(base) else Path.home() / ".cache") / "gradc"


def _debug(text: str) -> tuple[int, frozenset[str], bool]:
    if not text:
        return 0, frozenset(), False
    if text.isdigit():
        if int(text) > 3:
            raise ConfigError(f"GRADC_DEBUG={text}", hint=_DEBUG_HINT)
        return int(text), frozenset(), False
    names = [name.strip() for name in text.split(",")]
    if not all(name.replace("_", "a").isalnum() for name in names):
        raise ConfigError(f"GRADC_DEBUG={text}", hint=_DEBUG_HINT)
    nan, stages = "nan" in names, frozenset(names) - {"nan"}
    return 2 if stages else 0, stages, nan


_DEBUG_HINT = (
    "0, 1 (verify), 2 (print the IR), 3 (print emitted text), names of stages (GRADC_DEBUG=cse,reverse), or nan"
)


def _switch(name: str, text: str) -> bool:
    if text in ("", "1"):
        return True
    if text == "0":
        return False
    raise ConfigError(f"{name}={text}", hint=f"{name}=0 (off) or {name}=1 (on, as without it)")
