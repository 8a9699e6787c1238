"""dataset_info.json: how LLaMA-Factory is told of the studio's data sets and samples.

Names are `faq` (the newest version) and `faq.v1`, ... for every version. Rows in role/content
are registered as `sharegpt` with other tags, because 0.9.5's `openai` converter adds the system
prompt "detailed thinking off" to every sample that has none.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from studio.core.errors import DataInvalid
from studio.data import versions
from studio.data.model import DataSet, Kind, Limits, Mapping
from studio.data.pictures import Pictures
from studio.data.scan import Scan

INFO = "dataset_info.json"
_STATE = ".registered"
_BUILT_IN = ".samples"
"""Folder for samples with pictures, whose rows must name these by absolute paths."""

Sets = list[tuple[Path, list[int]]]
"""Folder and versions of every data set."""

_OPENAI_TAGS = {
    "role_tag": "role",
    "content_tag": "content",
    "user_tag": "user",
    "assistant_tag": "assistant",
    "observation_tag": "tool",
    "function_tag": "function_call",
    "system_tag": "system",
}


def entry(path: str, kind: Kind, columns: tuple[str, ...] | list[str]) -> dict[str, Any]:
    """Return the entry of a file of rows as this package writes them."""
    extra = {name: name for name in ("system", "tools", "images") if name in columns}
    if kind == "pretrain":
        return {"file_name": path, "columns": {"prompt": "text"}}
    if kind == "alpaca":
        given = {"prompt": "instruction", "query": "input", "response": "output", **extra}
        if "history" in columns:
            given["history"] = "history"
        return {"file_name": path, "columns": given}
    known: dict[str, Any] = {"file_name": path, "formatting": "sharegpt"}
    if kind == "openai":
        return {**known, "columns": {"messages": "messages", **extra}, "tags": _OPENAI_TAGS}
    given = {"messages": "conversations", **extra}
    if kind == "preference":
        given |= {"chosen": "chosen", "rejected": "rejected"}
        return {**known, "ranking": True, "columns": given}
    if kind == "kto":
        given["kto_tag"] = "kto_tag"
    return {**known, "columns": given}


def sample_entries(samples: Path) -> dict[str, dict[str, Any]]:
    """Return the entries of the built-in samples as their own dataset_info.json has them."""
    try:
        return json.loads((samples / INFO).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except ValueError as error:
        raise DataInvalid(f"{samples / INFO} is not JSON: {error}.") from error


def kind_of_entry(given: dict[str, Any]) -> Kind:
    """Return what kind of data set an entry describes."""
    columns = given.get("columns", {})
    if given.get("ranking"):
        return "preference"
    if "kto_tag" in columns:
        return "kto"
    if given.get("formatting", "alpaca") == "alpaca":
        return "pretrain" if columns and "response" not in columns else "alpaca"
    return "openai" if given.get("tags", {}).get("role_tag") == "role" else "sharegpt"


def mapping_of_entry(given: dict[str, Any]) -> Mapping:
    """Return an entry's columns as a mapping from column to role."""
    columns = dict(given.get("columns", {}))
    if kind_of_entry(given) == "pretrain":
        return {columns["prompt"]: "text"}
    if not columns:
        columns = {"prompt": "instruction", "query": "input", "response": "output"}
    return {column: role for role, column in columns.items()}


def sample_scan(samples: Path, given: dict[str, Any], limits: Limits) -> Scan:
    """Open a built-in sample; columns that its entry names and the file has not are left out."""
    path = samples / given["file_name"]
    scan = Scan(path, None, Pictures(path.parent), limits)
    mapping = {c: r for c, r in mapping_of_entry(given).items() if c in scan.columns}
    return Scan(path, mapping, Pictures(path.parent), limits)


def register(folder: Path, samples: Path, find: Callable[[], Sets]) -> Path:
    """Write dataset_info.json of all data sets unless it is true already; return its path."""
    info = folder / INFO
    if info.exists() and _read(folder / _STATE) == _state(samples, find()):
        return info
    with versions.locked(folder):
        sets = find()  # looked for under the lock, so that no other writer's set is forgotten
        state = _state(samples, sets)
        entries = _samples(folder, samples)
        for path, numbers in sets:
            for number in numbers:
                known = versions.meta(path, number)
                file = f"{path.name}/v{number}.jsonl"
                said = entry(file, known["kind"], known["columns"])
                entries[f"{path.name}.v{number}"] = said
                entries[path.name] = said
        versions.replace_json(info, entries)
        versions.replace_json(folder / _STATE, state)
    return info


def _samples(folder: Path, samples: Path) -> dict[str, Any]:
    """Return the samples' entries with absolute paths; those with pictures are written anew."""
    entries: dict[str, Any] = {}
    for name, given in sample_entries(samples).items():
        path = (samples / given["file_name"]).resolve()
        if not path.is_file():
            continue
        if "images" not in given.get("columns", {}):
            entries[name] = {**given, "file_name": str(path)}
            continue
        target = folder / _BUILT_IN / f"{name}.jsonl"
        target.parent.mkdir(parents=True, exist_ok=True)
        part = target.with_name(f"{name}.{os.getpid()}.part")
        scan = sample_scan(samples, given, Limits())
        versions.write_rows(part, scan.rows())
        os.replace(part, target)
        os.replace(versions.index_of(part), versions.index_of(target))
        columns = list(next(versions.read_rows(target, 0, 1)))
        said = entry(f"{_BUILT_IN}/{name}.jsonl", kind_of_entry(given), columns)
        entries[name] = said
    return entries


def _state(samples: Path, sets: Sets) -> list[Any]:
    """Return what the file depends on, to tell without reading anything that it is still true."""
    try:
        stamp = os.stat(samples / INFO)
        files = sorted(
            [entry.name, entry.stat().st_mtime_ns]
            for entry in os.scandir(samples)
            if entry.is_file()
        )
        known: list[Any] = [str(samples), stamp.st_size, files]
    except FileNotFoundError:
        known = [str(samples)]
    return [1, *known, [[path.name, *numbers] for path, numbers in sets]]


def _read(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return None


def sample_set(name: str, given: dict[str, Any], samples: Path, scan: Scan) -> DataSet:
    """Return a built-in sample as a value; its rows are counted by reading it."""
    path = samples / given["file_name"]
    rows = sum(1 for _ in scan.rows())
    return DataSet(
        name=name,
        version=0,
        path=path,
        kind=kind_of_entry(given),
        rows=rows,
        bytes=path.stat().st_size,
        pictures=scan.pictures,
        origin={"from": "sample"},
        created_at=path.stat().st_mtime,
        built_in=True,
        faults=scan.read - scan.good,
    )
