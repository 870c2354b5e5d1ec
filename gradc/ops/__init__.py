"""The op table. Every module of this package holds entries; all of them are loaded here."""

from __future__ import annotations

import importlib
import pkgutil

from gradc.ir.opdef import ATTRIBUTES, CALLS, METHODS, TABLE

for _module in sorted(m.name for m in pkgutil.iter_modules(__path__)):
    importlib.import_module(f"{__name__}.{_module}")

__all__ = ["ATTRIBUTES", "CALLS", "METHODS", "TABLE"]
