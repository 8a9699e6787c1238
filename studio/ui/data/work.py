"""Work on data sets: done at once when it takes a moment, as a run when it takes longer."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from studio.core.errors import DataInvalid
from studio.data import work
from studio.data.library import clean_name
from studio.data.operations import operation
from studio.studio import Launch

if TYPE_CHECKING:
    from studio.data.model import DataSet, Mapping
    from studio.jobs.jobs import Run
    from studio.studio import Studio

ENGINE = "data-work"
MERGE = "merge"


def add(
    studio: Studio, path: Path, name: str, mapping: Mapping | None, *, upload: bool
) -> list[DataSet] | Run:
    """Import a file; return the data set, or the run that does it."""
    asked = work.adding(path, name, mapping, upload=upload)
    run = Launch(engine=ENGINE, settings=asked, name=f"data-{name}", title=f"Import {path.name}")
    return _done(studio, run, [path], name)


def apply(studio: Studio, key: str, op: str, values: dict[str, Any]) -> list[DataSet] | Run:
    """Do an operation with a form's values; return what was made, or the run that makes it."""
    values = {name: value for name, value in values.items() if value is not None}
    as_name = str(values.pop("as_name", "") or "").strip()
    if op == MERGE:
        names = list(dict.fromkeys([key, *map(str, values.get("names") or [])]))
        asked = work.merging(names, as_name)
        run = Launch(
            engine=ENGINE, settings=asked, name=f"data-{as_name}", title=f"Merge into {as_name}"
        )
        return _done(studio, run, [studio.data.get(name).path for name in names], as_name)
    found = studio.data.get(key)
    asked = work.applying(found.key, operation(op, values), as_name=as_name)
    run = Launch(
        engine=ENGINE,
        settings=asked,
        name=f"data-{as_name or found.name}",
        title=f"Change {found.name}: {op}",
    )
    return _done(studio, run, [found.path], as_name)


def stamp() -> str:
    """Return a word that is different every time."""
    return str(time.time_ns())


def _done(studio: Studio, run: Launch, paths: list[Path], new: str) -> list[DataSet] | Run:
    """Do it at once if every file is small, else as a run; a taken name is told before that."""
    if all(work.is_small(path) for path in paths):
        return work.do(studio.data, run.settings)
    if new and any(found.name == clean_name(new) for found in studio.data.list()):
        raise DataInvalid(
            f"There is a data set {clean_name(new)!r} already.",
            hint="Choose another name; data sets are never overwritten.",
        )
    return studio.launch(run)
