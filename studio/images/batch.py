"""One prompt over many pictures, one job after the other; can be stopped, killed and taken up.

    home/images/<owner>/batches/<id>/batch.json   what was asked, written once
                                     in-0003.png  pictures that were handed over, not named by path
                                     rows.jsonl   what became of each, appended
                                     stop         somebody asked for a stop
                                     lock         held by the process that works on it

Nothing is remembered in memory: a batch that nobody holds the lock of and that is not through is
*interrupted*, and `resume` goes on with the pictures that have no result yet. A page that is
killed loses the job at work at most: it ends at the worker, and the item finds its result at the
next look, so it counts as done when the batch is resumed.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path

from studio.chat.desk import Person
from studio.core.errors import NotAllowed, NotFound, RunBusy, StudioError
from studio.core.ids import is_id, new_id
from studio.images.batch_files import (
    HALTED,
    BatchLook,
    BatchState,
    Plan,
    Row,
    append,
    lock,
    read_plan,
    read_rows,
)
from studio.images.desk import ImageDesk, Look
from studio.images.gallery import unwritable
from studio.images.item import Item, ItemState
from studio.images.request import EditInvalid, EditRequest, EditSettings, check_settings

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".gif", ".bmp")
MOST = 10_000
POLL_S = 0.5
BUSY_S = 600.0
"""How long a batch waits for room in the worker's queue before it halts."""
TAKE_S = 0.5
"""How long a start waits for somebody who just looks."""


class Batches:
    """The batches of operators. Guests have none."""

    def __init__(self, desk: ImageDesk) -> None:
        self._desk = desk

    # in -----------------------------------------------------------------------------------------

    def create(
        self,
        person: Person,
        sources: Path | Iterable[tuple[str, bytes]],
        settings: EditSettings,
        *,
        endpoint: str = "",
        out: str = "",
        name: str = "",
    ) -> BatchLook:
        """Write a batch down: every picture of a folder, or pictures given as (name, bytes).

        Nothing runs before `start`. Raises NotAllowed for a guest, EditInvalid, NotFound.
        """
        folder = self._folder(person)
        check_settings(settings, self._desk.limits(person))
        ident = new_id()
        paths: list[Path] = []
        names: list[str] = []
        if isinstance(sources, Path):
            paths = pictures_in(sources)
            names = [path.name for path in paths]
        _check_out(out)
        own = folder / ident
        own.mkdir(parents=True, mode=0o700)
        if not isinstance(sources, Path):
            for k, (file, data) in enumerate(sources):
                kept = own / f"in-{k:04d}{_suffix(file)}"
                kept.write_bytes(data)
                paths.append(kept)
                names.append(Path(file).name[:200])
        if not paths or len(paths) > MOST:
            shutil.rmtree(own)
            raise EditInvalid(
                f"A batch takes 1 to {MOST} pictures, not {len(paths)}.",
                hint="Choose a folder with PNG, JPEG, WebP, GIF or BMP files.",
            )
        plan = Plan(
            id=ident,
            created_at=time.time(),
            name=name or (sources.name if isinstance(sources, Path) else names[0]),
            settings=settings,
            endpoint=endpoint,
            sources=tuple(str(path) for path in paths),
            names=tuple(names),
            out=out,
        )
        (own / "batch.json").write_text(plan.model_dump_json())
        return self.look(person, ident)

    def start(self, person: Person, ident: str, *, endpoint: str = "") -> BatchLook:
        """Begin or resume a batch in a thread of this process; raise RunBusy when it runs.

        `endpoint` takes the place of the one it was made for, which may be gone by now.
        """
        held = self._take(person, ident)
        worker = threading.Thread(
            target=self._work,
            args=(person, ident, held, endpoint, None),
            name=f"batch-{ident}",
            daemon=True,
        )
        worker.start()
        return self.look(person, ident)

    def work(
        self,
        person: Person,
        ident: str,
        tell: Callable[[BatchLook, Look | None], None],
        *,
        endpoint: str = "",
    ) -> BatchLook:
        """Begin or resume a batch here and now, telling each look; for the command line."""
        self._work(person, ident, self._take(person, ident), endpoint, tell)
        return self.look(person, ident)

    def stop(self, person: Person, ident: str) -> BatchLook:
        """Ask a batch to stop: the picture at work is cancelled, those done stay."""
        found = self.look(person, ident)
        if found.state is BatchState.RUNNING:
            (self._own(person, ident) / "stop").touch()
        return self.look(person, ident)

    def delete(self, person: Person, ident: str) -> None:
        """Forget a batch that does not run; its results stay in the gallery."""
        os.close(self._take(person, ident))
        shutil.rmtree(self._own(person, ident))

    # out ----------------------------------------------------------------------------------------

    def list(self, person: Person, limit: int | None = None) -> list[BatchLook]:
        """Return the batches, newest first; a guest has none."""
        if person.guest:
            return []
        try:
            names = sorted(os.listdir(self._folder(person)), reverse=True)
        except FileNotFoundError:
            return []
        found = []
        for name in names:
            if len(found) == limit:
                break
            try:
                found.append(self.look(person, name))
            except NotFound:
                continue
        return found

    def look(self, person: Person, ident: str) -> BatchLook:
        """Return a batch as it is now; raise NotFound."""
        own = self._own(person, ident)
        plan = read_plan(own)
        rows, halt = read_rows(own)
        held = lock(own, fcntl.LOCK_SH)
        running = held is None
        if held is not None:
            os.close(held)
        stop = (own / "stop").exists()
        through = sum(row.state in ("done", "failed") for row in rows) == len(plan.sources)
        if running:
            state = BatchState.STOPPING if stop else BatchState.RUNNING
        elif through:
            state = BatchState.DONE
        else:
            ready = stop or halt or not rows
            state = BatchState.STOPPED if ready else BatchState.INTERRUPTED
        return BatchLook(plan=plan, state=state, rows=tuple(rows), halt=None if running else halt)

    # inside -------------------------------------------------------------------------------------

    def _work(
        self,
        person: Person,
        ident: str,
        held: int,
        endpoint: str,
        tell: Callable[[BatchLook, Look | None], None] | None,
    ) -> None:
        own = self._own(person, ident)
        try:
            (own / "stop").unlink(missing_ok=True)
            plan = read_plan(own)
            if endpoint:
                plan = plan.model_copy(update={"endpoint": endpoint})
            before = {row.index: row for row in read_rows(own)[0]}
            for index in range(len(plan.sources)):
                if (own / "stop").exists():
                    return
                row = before.get(index)
                if row is None or row.state != "done":
                    self._one(person, own, plan, index, self._under_way(person, row), tell)
        except KeyboardInterrupt:
            (own / "stop").touch()
            raise
        except StudioError as error:
            if tell is not None:
                raise
            append(own, Row(index=HALTED, state="halted", error=error.message, hint=error.hint))
        finally:
            os.close(held)

    def _under_way(self, person: Person, row: Row | None) -> str:
        """Return the edit that a killed process left behind, if it may still come to a picture."""
        if row is None or row.state != "running" or not self._desk.gallery(person).has(row.item):
            return ""
        look = self._desk.look(person, row.item)
        return row.item if not look.ended or look.item.state is ItemState.DONE else ""

    def _one(
        self,
        person: Person,
        own: Path,
        plan: Plan,
        index: int,
        ident: str,
        tell: Callable[[BatchLook, Look | None], None] | None,
    ) -> None:
        """Edit one picture, or wait for the edit `ident`, and write down what became of it."""
        if not ident:
            try:
                ident = self._submit(person, plan, index)
            except EditInvalid as error:
                append(own, Row(index=index, state="failed", error=error.message, hint=error.hint))
                return
            append(own, Row(index=index, state="running", item=ident))
        while True:
            look = self._desk.look(person, ident)
            if tell is not None:
                tell(self.look(person, plan.id), look)
            if look.ended:
                break
            if (own / "stop").exists():
                self._desk.cancel(person, ident)
            time.sleep(POLL_S)
        item, end = look.item, look.item.end
        if item.state is ItemState.DONE and plan.out:
            self._copy(person, plan, index, item)
        fault = end.error if end else None
        append(
            own,
            Row(
                index=index,
                state=str(item.state),
                item=ident,
                took_s=end.ended_at - item.asked.created_at if end and item.out else None,
                error=fault.message if fault else "",
                hint=fault.hint if fault else "",
            ),
        )

    def _submit(self, person: Person, plan: Plan, index: int) -> str:
        try:
            data = Path(plan.sources[index]).read_bytes()
        except OSError as error:
            raise EditInvalid(
                f"{plan.names[index]} cannot be read: {error.strerror or error}.",
                hint="It may have been moved since the batch began.",
            ) from error
        request = EditRequest(pictures=(data,), settings=plan.settings)
        until = time.monotonic() + BUSY_S
        while True:
            try:
                return self._desk.submit(
                    person,
                    request,
                    endpoint=plan.endpoint,
                    group=plan.id,
                    source=plan.names[index],
                ).id
            except RunBusy:
                if time.monotonic() > until:
                    raise
                time.sleep(POLL_S)

    def _copy(self, person: Person, plan: Plan, index: int, item: Item) -> None:
        folder = Path(plan.out)
        stem = Path(plan.names[index]).stem
        if sum(Path(name).stem == stem for name in plan.names) > 1:
            stem = f"{stem}-{index}"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            for k, name in enumerate(item.out):
                target = folder / (f"{stem}.png" if len(item.out) == 1 else f"{stem}-{k}.png")
                part = target.with_name(f".{target.name}.part")
                shutil.copyfile(self._desk.file(person, item.id, name), part)
                part.replace(target)
        except OSError as error:
            raise unwritable(folder, error) from error

    def _take(self, person: Person, ident: str) -> int:
        own, until = self._own(person, ident), time.monotonic() + TAKE_S
        while (held := lock(own, fcntl.LOCK_EX)) is None:
            if time.monotonic() > until:
                raise RunBusy("This batch is at work already.", hint="Stop it first, or wait.")
            time.sleep(0.02)
        return held

    def _folder(self, person: Person) -> Path:
        if person.guest:
            raise NotAllowed("Batches are for operators.", hint="Edit one picture at a time.")
        return self._desk.gallery(person).folder / "batches"

    def _own(self, person: Person, ident: str) -> Path:
        folder = self._folder(person) / ident
        if not is_id(ident) or not (folder / "batch.json").is_file():
            raise NotFound(f"There is no batch {ident}.", hint="It may have been deleted.")
        return folder


def pictures_in(folder: Path) -> list[Path]:
    """Return the pictures of a folder by name, told by suffix; raise NotFound."""
    try:
        found = [path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES]
    except OSError as error:
        raise NotFound(
            f"The folder {folder} cannot be read: {error.strerror or error}.",
            hint="Name a folder on the machine that the studio runs on.",
        ) from error
    return sorted(path for path in found if path.is_file() and not path.name.startswith("."))


def _check_out(out: str) -> None:
    if not out:
        return
    if not Path(out).is_absolute():
        raise EditInvalid(f"{out} is no absolute path.", hint="Write the whole path of a folder.")
    try:
        Path(out).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise unwritable(Path(out), error) from error


def _suffix(name: str) -> str:
    suffix = Path(name).suffix.lower()
    return suffix if suffix in SUFFIXES else ".png"
