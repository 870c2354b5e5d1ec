"""Pickles of functions that have no name to be found by: closures, lambdas, definitions in a notebook.

Such a function goes by its source: the text of its file, the place of its code in it, and the values of the globals and
closure variables that the code names. The other side compiles the text, takes the code at that place and never
runs the file. Functions that are found by their name in a module go by that name, as Python's own pickles do.
"""

from __future__ import annotations
import __future__

import builtins
import dis
import functools
import hashlib
import importlib
import inspect
import itertools
import linecache
import pickle
import sys
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from gradc.errors import UnsupportedError
from gradc.frontends.source import function_source
from gradc.ir.custom import RuledFunction

_Place = tuple[str, int, int]  # qualified name, first line, and which of the codes with these it is


class BySource:
    """Stands for a function in a pickle: what is loaded is the function."""

    def __init__(self, function: types.FunctionType, memo: dict[int, Any]) -> None:
        self.function = function
        self._memo = memo  # one per function, so that functions may refer to each other in a circle

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """The function itself: functools.partial wants something callable."""
        return self.function(*args, **kwargs)

    def __reduce__(self) -> Any:
        function = self.function
        try:
            source = function_source(function)
        except UnsupportedError as error:
            raise pickle.PicklingError(
                f"{function.__qualname__} cannot be pickled: it has no name to be found by, and {error}"
            ) from None
        text = "\n".join(source.lines) + "\n"
        features = tuple(
            name
            for name in __future__.all_feature_names
            if function.__code__.co_flags & getattr(__future__, name).compiler_flag
        )
        place = _place_of(function.__code__, text, features)
        made = (text, source.filename, features, place, function.__name__, function.__module__)
        state = {
            "defaults": self._portable(function.__defaults__),
            "kwdefaults": self._portable(function.__kwdefaults__),
            "globals": {
                name: self._portable(function.__globals__[name])
                for name in _global_names(function.__code__)
                if name in function.__globals__
            },
            "cells": {
                name: self._portable(cell.cell_contents)
                for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True)
                if _is_filled(cell)
            },
            "attributes": {"__doc__": function.__doc__, "__qualname__": function.__qualname__},
        }
        return _make_function, made, state, None, None, _fill_function

    def _portable(self, value: Any) -> Any:
        return portable(value, self._memo)


class RuledBySource:
    """Stands for a function with a derivative rule that has no name to be found by, in a pickle."""

    def __init__(self, ruled: RuledFunction, memo: dict[int, Any]) -> None:
        self.ruled = ruled
        self._memo = memo  # the function and its rule refer to the object in a circle

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.ruled(*args, **kwargs)

    def __reduce__(self) -> Any:
        ruled = self.ruled
        state = portable(ruled.function, self._memo), tuple(portable(rule, self._memo) for rule in ruled.rules)
        return _make_ruled, (type(ruled),), state, None, None, _fill_ruled


def reduce_ruled(ruled: RuledFunction) -> Any:
    """The `__reduce__` of functions with rules: by name where that finds them, else by source."""
    found = by_reference(ruled)
    if found is not None:
        return found
    memo: dict[int, Any] = {}
    memo[id(ruled)] = found = RuledBySource(ruled, memo)
    return _same, (found,)


def _same(value: Any) -> Any:
    return value


def _make_ruled(cls: type[RuledFunction]) -> RuledFunction:
    return cls.__new__(cls)


def _fill_ruled(ruled: RuledFunction, state: tuple[Any, tuple[Any, ...]]) -> None:
    RuledFunction.__init__(ruled, state[0])
    ruled.rules = state[1]


class _Module:
    """Stands for a module in a pickle."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __reduce__(self) -> Any:
        return importlib.import_module, (self.name,)


def portable(value: Any, memo: dict[int, Any]) -> Any:
    """`value` with stand-ins for what Python's pickles refuse: functions without a name to be found by, and modules.

    memo: stand-ins by the id of their function, which they keep alive.
    """
    if isinstance(value, types.FunctionType):
        if find_by_name(value.__module__, value.__qualname__) is value:
            return value
        known = memo.get(id(value))
        if known is None:
            known = memo[id(value)] = BySource(value, memo)
        return known
    if isinstance(value, RuledFunction):
        if find_by_name(value.__module__, value.__qualname__) is value:
            return value
        stand_in = memo.get(id(value))
        if stand_in is None:
            stand_in = memo[id(value)] = RuledBySource(value, memo)
        return stand_in
    if isinstance(value, types.ModuleType):
        return value if _goes_by_value(value.__name__) else _Module(value.__name__)
    cls = type(value)
    if cls is functools.partial:
        args, keywords = portable(value.args, memo), portable(value.keywords, memo)
        return functools.partial(portable(value.func, memo), *args, **keywords)
    if cls is tuple or cls is list:
        return cls([portable(item, memo) for item in value])
    if cls is dict:
        return {key: portable(item, memo) for key, item in value.items()}
    return value


def find_by_name(module: str, qualname: str) -> Any:
    """What a dotted name means in a module that is loaded or can be; None where it means nothing."""
    found: Any = sys.modules.get(module)
    if found is None and module:
        try:
            __import__(module)
        except ImportError:
            return None
        found = sys.modules.get(module)
    for part in qualname.split("."):
        found = getattr(found, part, None)
        if found is None:
            return None
    return found


def by_reference(obj: Any) -> Any:
    """The `__reduce__` of an object of a module that its name finds; None where it has to go by source.

    cloudpickle and dill take functions of `__main__`, and of the modules that they are told, by value. Objects of these
    are taken so too: nothing but their `__reduce__` would tell these picklers.
    """
    module, name = getattr(obj, "__module__", ""), getattr(obj, "__qualname__", "")
    if find_by_name(module, name) is not obj or _goes_by_value(module):
        return None
    return named, (module, name)


def named(module: str, name: str) -> Any:
    """The object of a pickle by reference. Raises: AttributeError where this process has none."""
    found = find_by_name(module, name)
    if found is None:
        raise AttributeError(
            f"a pickle refers to {name!r} in module {module!r}, which this process does not have: put it in a module "
            "that both processes import, or pickle with cloudpickle"
        )
    return found


def _goes_by_value(module: str) -> bool:
    """Whether the pickler that is running takes functions of this module by value."""
    frame = inspect.currentframe()
    while frame is not None:
        pickler = frame.f_locals.get("self")
        if isinstance(pickler, pickle.Pickler | pickle._Pickler):  # type: ignore[attr-defined]
            maker = type(pickler).__module__
            if "cloudpickle" not in maker and not maker.startswith("dill"):
                return False
            registry: Any = getattr(sys.modules.get(maker), "list_registry_pickle_by_value", set)()
            parents = itertools.accumulate(module.split("."), "{}.{}".format)
            return module == "__main__" or any(parent in registry for parent in parents)
        frame = frame.f_back
    return False


def _is_filled(cell: Any) -> bool:
    try:
        return cell.cell_contents is not cell
    except ValueError:
        return False


def _codes(code: types.CodeType) -> Iterator[types.CodeType]:
    yield code
    for const in code.co_consts:
        if isinstance(const, types.CodeType):
            yield from _codes(const)


def _global_names(code: types.CodeType) -> tuple[str, ...]:
    """Names that the code, or code defined in it, reads from its globals."""
    reads = (i for inner in _codes(code) for i in dis.get_instructions(inner))
    return tuple(sorted({i.argval for i in reads if i.opname in ("LOAD_GLOBAL", "LOAD_NAME")}))


@functools.lru_cache(maxsize=32)
def _compiled_text(text: str, filename: str, features: tuple[str, ...]) -> tuple[types.CodeType, ...]:
    flags = 0
    for name in features:
        flags |= getattr(__future__, name).compiler_flag
    return tuple(_codes(compile(text, filename, "exec", flags=flags, dont_inherit=True)))


def _candidates(qualname: str, lineno: int, text: str, filename: str, features: tuple[str, ...]) -> Any:
    codes = _compiled_text(text, filename, features)
    return [c for c in codes if c.co_qualname == qualname and c.co_firstlineno == lineno]


def _place_of(code: types.CodeType, text: str, features: tuple[str, ...]) -> _Place:
    found = _candidates(code.co_qualname, code.co_firstlineno, text, code.co_filename, features)
    if len(found) > 1:
        positions = list(code.co_positions())
        found = [c if list(c.co_positions()) == positions else None for c in found]
    for number, candidate in enumerate(found):
        if candidate is not None:
            return code.co_qualname, code.co_firstlineno, number
    raise pickle.PicklingError(f"{code.co_qualname} cannot be pickled: its code is not found in the text of its file")


def _make_function(
    text: str, filename: str, features: tuple[str, ...], place: _Place, name: str, module: str
) -> types.FunctionType:
    """The function at a place of a text, with nothing in its globals and cells yet."""
    filename = _readable_as(text, filename)
    qualname, lineno, number = place
    code = _candidates(qualname, lineno, text, filename, features)[number]
    cells = tuple(types.CellType() for _ in code.co_freevars)
    made = types.FunctionType(code, {"__builtins__": builtins, "__name__": module}, name, None, cells)
    made.__module__ = module
    return made


def _fill_function(function: types.FunctionType, state: dict[str, Any]) -> None:
    function.__defaults__, function.__kwdefaults__ = state["defaults"], state["kwdefaults"]
    function.__globals__.update(state["globals"])
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
        if name in state["cells"]:
            cell.cell_contents = state["cells"][name]
    for name, value in state["attributes"].items():
        setattr(function, name, value)


def _readable_as(text: str, filename: str) -> str:
    """The name of a file that has this text: `filename`, or else one that exists in memory only."""
    lines = text.splitlines(keepends=True)
    try:
        if Path(filename).read_text(encoding="utf-8").splitlines() == text.splitlines():
            return filename
        free = False
    except (OSError, ValueError):
        free = True
    known = linecache.cache.get(filename)
    if known is not None and len(known) == 4 and known[2] == lines:
        return filename
    if not free or known is not None:
        filename = f"<pickled {filename} {hashlib.sha256(text.encode()).hexdigest()[:8]}>"
    linecache.cache[filename] = (len(text), None, lines, filename)
    return filename
