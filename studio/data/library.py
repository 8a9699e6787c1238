"""The data sets of one home: listed, looked at, imported, changed into new versions, deleted.

This is the door. What is behind it: `recognise` and the readers, `scan` (checks), `versions`
(files), `operations`, `registry` (dataset_info.json).

home/data/<name>/original.<ext>   an uploaded file as it came; one of this machine stays in place
home/data/<name>/v1.jsonl ...     rows as LLaMA-Factory reads them, one version after the other
home/data/<name>/pictures/        pictures that were uploaded, or lay inside a Parquet file
"""

from __future__ import annotations

import builtins
import os
import re
import shutil
from collections.abc import Iterable, Iterator
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import Any

from studio.core.errors import DataInvalid, NotAllowed, NotFound
from studio.core.ids import new_id
from studio.core.recipes import did_you_mean
from studio.data import from_chat, operations, registry, versions
from studio.data.building import (
    building_folder,
    clean_name,
    leaving_folder,
    sha256,
    with_copies,
    write_scan,
)
from studio.data.convert import check_convertible
from studio.data.model import (
    Convert,
    DataSet,
    Kind,
    Limits,
    Look,
    Mapping,
    Operation,
    Report,
    Split,
    Tell,
)
from studio.data.pictures import Pictures
from studio.data.rows import Row
from studio.data.scan import Scan

_VERSION = re.compile(r"(.+)\.v(\d+)")
_TOLD_EVERY = 2000


class DataSets:
    """Data sets below `home/data` and the built-in samples."""

    def __init__(self, folder: Path, samples: Path, limits: Limits | None = None) -> None:
        """Work on `folder` (home/data); `samples` is the folder of the built-in ones."""
        self.folder = folder
        self._samples = samples
        self._limits = limits or Limits()
        self._counted: dict[str, tuple[int, DataSet]] = {}

    # out ----------------------------------------------------------------------------------------

    def list(self) -> builtins.list[DataSet]:
        """Return the newest version of each data set, newest first, then the built-in samples."""
        own = []
        for path, known in self._own():
            with suppress(FileNotFoundError):  # deleted between two looks
                own.append(versions.data_set(path, known[-1], newest=True))
        own.sort(key=lambda data: data.created_at, reverse=True)
        return [*own, *self._built_in()]

    def versions(self, name: str) -> builtins.list[DataSet]:
        """Return every version of a data set, oldest first; raise NotFound."""
        data = self.get(name)
        if data.built_in:
            return [data]
        folder = self.folder / data.name
        known = versions.numbers(folder)
        return [versions.data_set(folder, n, newest=n == known[-1]) for n in known]

    def get(self, name: str) -> DataSet:
        """Return `faq` (the newest version) or `faq.v1`; raise NotFound with the nearest name."""
        match = _VERSION.fullmatch(name)
        base = match[1] if match else name
        for path, known in self._own():
            if path.name == base:
                number = int(match[2]) if match else known[-1]
                if number in known:
                    return versions.data_set(path, number, newest=number == known[-1])
        for name_of, given in registry.sample_entries(self._samples).items():
            if name_of == name:
                return self._sample(name_of, given)
        names = [*(path.name for path, _ in self._own())]
        names += registry.sample_entries(self._samples)
        raise NotFound(
            f"There is no data set {name!r}.",
            hint=did_you_mean(name, names) or f"There are: {', '.join(names)}.",
        )

    def look(self, path: Path, mapping: Mapping | None = None, *, upload: bool = False) -> Look:
        """Return what the head of a file shows; nothing is imported.

        Raises DataInvalid for a file that cannot be read at all.
        """
        return self._scan(path, mapping, upload=upload).look()

    def check(
        self,
        path: Path,
        mapping: Mapping | None = None,
        *,
        upload: bool = False,
        tell: Tell | None = None,
    ) -> Report:
        """Read a whole file and return every fault; nothing is imported."""
        scan = self._scan(path, mapping, upload=upload)
        for _ in scan.rows(tell):
            pass
        return scan.report()

    def report(self, name: str) -> Report:
        """Return what the import of a data set found; of a later version that of its first."""
        data = self.get(name)
        if data.built_in:
            given = registry.sample_entries(self._samples)[data.name]
            scan = registry.sample_scan(self._samples, given, self._limits)
            for _ in scan.rows():
                pass
            return scan.report()
        for number in (data.version, *versions.numbers(self.folder / data.name)):
            found = versions.report_of(self.folder / data.name, number)
            if found is not None:
                return found
        raise NotFound(
            f"The data set {data.name} was not read from a file.",
            hint="It was made of other data sets.",
        )

    def rows(self, name: str, offset: int = 0, limit: int = 50) -> builtins.list[dict[str, Any]]:
        """Return some rows of a data set as they are kept."""
        data = self.get(name)
        if data.built_in:
            return builtins.list(islice(self._rows(data), offset, offset + limit))
        return builtins.list(versions.read_rows(data.path, offset, limit))

    # in -----------------------------------------------------------------------------------------

    def add(
        self,
        path: Path,
        name: str,
        mapping: Mapping | None = None,
        *,
        upload: bool = False,
        tell: Tell | None = None,
    ) -> DataSet:
        """Import a file: its good rows become `v1.jsonl`, the file itself stays as it is.

        An uploaded file is kept as `original.<ext>` and its pictures are copied; they must lie
        beside it. A file that is pointed to is not copied: its path, size and SHA-256 are noted.
        Raises DataInvalid when the name is taken, the kind is unknown or no row is good.
        """
        name = self._free_name(name)
        path = path.expanduser().absolute()
        building = building_folder(self.folder)
        try:
            keep = {"keep_in": building / "pictures", "known_as": self.folder / name / "pictures"}
            scan = self._scan(path, mapping, upload=upload, **keep)
            writer = write_scan(building / "rows.part", scan.rows(tell), scan)
            assert scan.kind is not None
            origin = {
                "from": "file",
                "name": path.name,
                "path": "" if upload else str(path),
                "bytes": scan.source.size,
                "sha256": sha256(path),
            }
            if upload:
                shutil.copyfile(path, building / f"original{path.suffix.lower()[:12]}")
            report = scan.report()
            versions.put(building, 1, writer, kind=scan.kind, origin=origin, report=report)
            return self._published(building, name)
        except OSError as error:
            raise versions.unwritable(self.folder, error) from error
        finally:
            shutil.rmtree(building, ignore_errors=True)

    def apply(
        self, name: str, op: Operation, *, as_name: str = "", tell: Tell | None = None
    ) -> builtins.list[DataSet]:
        """Make the next version by an operation (a split makes two data sets instead).

        With `as_name`, and always for built-in samples, the result is a data set of its own.
        Raises DataInvalid when nothing would be left or the operation does not fit the kind.
        """
        data = self.get(name)
        operations.check(op, data)
        kind: Kind = data.kind
        if isinstance(op, Convert):
            check_convertible(data, op.kind)
            kind = op.kind
        said = {"of": data.key, "op": operations.name_of(op), "settings": dict(vars(op))}
        origin = {"from": "operation", **said}
        if isinstance(op, Split):
            names = [op.train_name or f"{data.name}-train", op.val_name or f"{data.name}-val"]
            names = [self._free_name(one) for one in names]
            if names[0] == names[1]:
                raise DataInvalid(f"Both sides of the split would be called {names[0]}.")
            sides = zip(names, (False, True), strict=True)
            return [
                self._new(
                    one,
                    operations.part(op, self._told(data, tell), data, val=val),
                    kind,
                    {**origin, "part": "val" if val else "train"},
                )
                for one, val in sides
            ]
        rows = operations.changed(op, self._told(data, tell), data, self._limits)
        if as_name or data.built_in:
            result = self._free_name(as_name) if as_name else self._own_name(data)
            return [self._new(result, rows, kind, origin)]
        return [self._next(data, rows, kind, origin)]

    def merge(self, names: Iterable[str], as_name: str, *, tell: Tell | None = None) -> DataSet:
        """Put data sets of one kind together as a new one; raise DataInvalid."""
        sets = [self.get(name) for name in names]
        if len(sets) < 2:
            raise DataInvalid("Two data sets at least are needed for a merge.")
        first = sets[0]
        for data in sets[1:]:
            if data.kind != first.kind:
                raise DataInvalid(
                    f"Only one kind can be merged: {first.name} is {first.kind}, "
                    f"{data.name} {data.kind}.",
                    hint="Convert one of them first; one data set has one kind.",
                )
        rows = (row for data in sets for row in self._told(data, tell))
        origin = {"from": "merge", "of": [data.key for data in sets]}
        return self._new(self._free_name(as_name), rows, first.kind, origin)

    def from_conversations(
        self,
        conversations: Iterable[dict[str, Any]],
        as_name: str,
        *,
        pictures: Path | None = None,
    ) -> DataSet:
        """Make an OpenAI-messages data set of conversations of the Chat tab.

        Each is `{"title": ..., "messages": [...]}`, with `"side": "b"` for the right one of a
        comparison; `pictures` is the folder that `picture:` references mean. Only finished
        answers count, thinking is left out. Pictures are copied, so that they outlive the chat.
        """
        name = self._free_name(as_name)
        chosen = builtins.list(conversations)
        titles = [str(item.get("title", ""))[:80] for item in chosen]
        origin = {"from": "chat", "conversations": len(chosen), "titles": titles[:20]}
        rows = from_chat.rows_of(chosen, pictures)
        return self._new(name, rows, "openai", origin, copy_pictures=True)

    def delete(self, name: str) -> None:
        """Remove a data set, or one version of several; built-in samples cannot be removed."""
        data = self.get(name)
        if data.built_in:
            raise NotAllowed(
                f"{data.name} is a sample that comes with the studio; it stays.",
                hint="Data sets of your own can be deleted.",
            )
        folder = self.folder / data.name
        if name == data.key and len(versions.numbers(folder)) > 1:
            with versions.locked(self.folder):
                for ending in ("json", "jsonl", "index", "faults.jsonl"):
                    (folder / f"v{data.version}.{ending}").unlink(missing_ok=True)
        else:
            gone = leaving_folder(self.folder)
            with versions.locked(self.folder):
                os.rename(folder, gone)
            shutil.rmtree(gone, ignore_errors=True)
        self.register()

    def register(self) -> Path:
        """Write dataset_info.json if anything changed; return its path."""
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        return registry.register(self.folder, self._samples, self._own)

    # inside -------------------------------------------------------------------------------------

    def _own(self) -> builtins.list[tuple[Path, builtins.list[int]]]:
        """Return the folder and the versions of every data set of this home."""
        try:
            names = sorted(entry.name for entry in os.scandir(self.folder) if entry.is_dir())
        except FileNotFoundError:
            return []
        paths = [self.folder / name for name in names if not name.startswith(".")]
        return [(path, known) for path in paths if (known := versions.numbers(path))]

    def _built_in(self) -> Iterator[DataSet]:
        own = {path.name for path, _ in self._own()}
        for name, given in registry.sample_entries(self._samples).items():
            if name not in own and (self._samples / given["file_name"]).is_file():
                yield self._sample(name, given)

    def _sample(self, name: str, given: dict[str, Any]) -> DataSet:
        """Return a sample; its rows are counted once for each state of its file."""
        stamp = (self._samples / given["file_name"]).stat().st_mtime_ns
        known = self._counted.get(name)
        if known is None or known[0] != stamp:
            scan = registry.sample_scan(self._samples, given, self._limits)
            known = (stamp, registry.sample_set(name, given, self._samples, scan))
            self._counted[name] = known
        return known[1]

    def _scan(self, path: Path, mapping: Mapping | None, *, upload: bool, **keep: Path) -> Scan:
        path = path.expanduser().absolute()
        within = (path.parent, self.folder) if upload else None
        return Scan(path, mapping, Pictures(path.parent, within=within, **keep), self._limits)

    def _rows(self, data: DataSet) -> Iterator[Row]:
        if not data.built_in:
            return versions.read_rows(data.path)
        given = registry.sample_entries(self._samples)[data.name]
        return registry.sample_scan(self._samples, given, self._limits).rows()

    def _told(self, data: DataSet, tell: Tell | None) -> Iterator[Row]:
        """Yield the rows of a data set and tell how many of them were passed."""
        for number, row in enumerate(self._rows(data)):
            if tell is not None and number % _TOLD_EVERY == 0:
                tell(number, data.rows)
            yield row
        if tell is not None:
            tell(data.rows, data.rows)

    def _free_name(self, text: str) -> str:
        """Return a name that a folder can have; raise DataInvalid when it is taken."""
        name = clean_name(text)
        taken = (self.folder / name).exists()
        if taken or name in registry.sample_entries(self._samples):
            raise DataInvalid(
                f"There is a data set {name!r} already.",
                hint="Choose another name; data sets are never overwritten.",
            )
        return name

    def _own_name(self, sample: DataSet) -> str:
        """Return a free name for what is made of a sample."""
        name, number = f"{sample.name}-own", 1
        while (self.folder / name).exists():
            number += 1
            name = f"{sample.name}-own-{number}"
        return name

    def _published(self, building: Path, name: str) -> DataSet:
        """Move a finished folder to its place, unless the name was taken meanwhile."""
        with versions.locked(self.folder):
            os.rename(building, self.folder / self._free_name(name))
        self.register()
        return self.get(name)

    def _new(
        self,
        name: str,
        rows: Iterator[Row],
        kind: Kind,
        origin: dict[str, Any],
        *,
        copy_pictures: bool = False,
    ) -> DataSet:
        building = building_folder(self.folder)
        try:
            if copy_pictures:
                known_as = self.folder / name / "pictures"
                rows = with_copies(rows, building / "pictures", known_as)
            writer = versions.write_rows(building / "rows.part", rows)
            versions.put(building, 1, writer, kind=kind, origin=origin)
            return self._published(building, name)
        finally:
            shutil.rmtree(building, ignore_errors=True)

    def _next(
        self, data: DataSet, rows: Iterator[Row], kind: Kind, origin: dict[str, Any]
    ) -> DataSet:
        folder = self.folder / data.name
        writer = versions.write_rows(folder / f".{new_id()}.part", rows)
        try:
            with versions.locked(self.folder):
                number = versions.numbers(folder)[-1] + 1
                versions.put(folder, number, writer, kind=kind, origin=origin)
        finally:
            writer.abandon()
        self.register()
        return self.get(f"{data.name}.v{number}")
