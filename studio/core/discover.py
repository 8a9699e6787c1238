"""The one plugin loader: our own tabs and engines come through the same door as a stranger's."""

from __future__ import annotations

import importlib
import logging
import pkgutil
from functools import cache
from importlib import metadata
from inspect import isabstract
from types import ModuleType
from typing import Any

log = logging.getLogger(__name__)


def modules(package: str) -> list[ModuleType]:
    """Import every public module of a package, in the order of their names."""
    home = importlib.import_module(package)
    names = sorted(info.name for info in pkgutil.iter_modules(home.__path__) if not info.ispkg)
    return [importlib.import_module(f"{package}.{n}") for n in names if not n.startswith("_")]


@cache
def entry_points(group: str) -> metadata.EntryPoints:
    """Return a group's entry points; looks into a file of every distribution, so only once."""
    return metadata.entry_points(group=group)


def extensions(group: str) -> list[Any]:
    """Load what other distributions offer under an entry point group.

    A broken extension is logged and left out; it must not take the studio down.
    """
    found = []
    for entry in entry_points(group=group):
        try:
            found.append(entry.load())
        except Exception:
            log.exception("extension %s of group %s could not be loaded", entry.name, group)
    return found


def load_plugins(package: str, attribute: str, group: str) -> list[Any]:
    """Return the `attribute` of every module of `package` that has one, then the extensions'."""
    own = [getattr(m, attribute) for m in modules(package) if hasattr(m, attribute)]
    return own + extensions(group)


def load_subclasses(package: str, base: type, group: str) -> list[type]:
    """Return the whole classes in `package`'s modules that derive from `base`, then others'.

    What several of them share may stand in an abstract class, which is left out.
    """
    own = [
        value
        for module in modules(package)
        for value in vars(module).values()
        if isinstance(value, type)
        and issubclass(value, base)
        and value is not base
        and value.__module__ == module.__name__
        and not isabstract(value)
    ]
    return own + extensions(group)
