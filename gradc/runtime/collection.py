"""Python's cyclic garbage collector rests while something is compiled.

The IR is many small objects that refer to each other and all live: walking over them again and again took a fifth of
the time of compiling an expression of 10,000 operations.
"""

from __future__ import annotations

import gc
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager

_lock = threading.Lock()
_resting = 0
_paused_here = False


@contextmanager
def collector_rests() -> Iterator[None]:
    """No cyclic collection in this block, or while another thread is in one; what the user disabled stays so."""
    global _resting, _paused_here
    with _lock:
        if not _resting and gc.isenabled():
            gc.disable()
            _paused_here = True
        _resting += 1
    try:
        yield
    finally:
        with _lock:
            _resting -= 1
            if not _resting and _paused_here:
                _paused_here = False
                gc.enable()


def _start_anew() -> None:
    """In a fork: blocks that other threads of the parent were in never end."""
    global _lock, _resting, _paused_here
    _lock, _resting = threading.Lock(), 0
    if _paused_here:
        _paused_here = False
        gc.enable()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_start_anew)
