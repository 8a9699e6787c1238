"""Work on big files, described so that it can run outside the page as a run of `data-work`."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

from studio.data.library import DataSets
from studio.data.model import DataSet, Mapping, Operation, Tell
from studio.data.operations import name_of, operation

SMALL_BYTES = 16 << 20
"""Files up to this size are done at once, in a second or two; larger ones as a run."""


def is_small(path: Path) -> bool:
    """Tell whether work on a file can be done while somebody waits."""
    try:
        return path.stat().st_size <= SMALL_BYTES
    except OSError:
        return True


def adding(
    path: Path, name: str, mapping: Mapping | None = None, *, upload: bool = False
) -> dict[str, Any]:
    """Return the settings of a run that imports a file."""
    where = str(path.expanduser().absolute())
    return {"verb": "add", "path": where, "name": name, "mapping": mapping or {}, "upload": upload}


def applying(name: str, op: Operation, *, as_name: str = "") -> dict[str, Any]:
    """Return the settings of a run that changes a data set."""
    settings = {key: value for key, value in asdict(op).items()}
    said = {"op": name_of(op), "settings": settings}
    return {"verb": "apply", "name": name, "as_name": as_name, **said}


def merging(names: list[str], as_name: str) -> dict[str, Any]:
    """Return the settings of a run that puts data sets together."""
    return {"verb": "merge", "names": list(names), "as_name": as_name}


def do(data: DataSets, work: dict[str, Any], tell: Tell | None = None) -> list[DataSet]:
    """Do what such settings say; raise StudioError."""
    if work["verb"] == "add":
        given = (Path(work["path"]), work["name"], work.get("mapping") or None)
        return [data.add(*given, upload=work.get("upload", False), tell=tell)]
    if work["verb"] == "merge":
        return [data.merge(work["names"], work["as_name"], tell=tell)]
    op = operation(work["op"], work.get("settings") or {})
    return data.apply(work["name"], op, as_name=work.get("as_name", ""), tell=tell)
