"""Run a study: its cells one after the other, or side by side on disjoint cards, to a record.

    runner = Runner(studio, config, about, run_folder)
    outcome = runner.run()          # ends at once, in order, when `runner.halt()` is called

A server's cell is measured whole before the next; trainings go round by round, so that whatever
drifts (heat, a neighbour) falls on all cases alike. Rows that are done are never measured again.
"""

from __future__ import annotations

import fcntl
import json
import os
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from studio.bench.environment import environment
from studio.bench.saved import About
from studio.core.errors import RecipeInvalid, RunBusy
from studio.engines.bench_run import PROGRESS, WHERE
from studio.engines.study_config import StudyConfig
from studio.jobs.rundir import read_rows
from studio.jobs.shim import cards as gpu
from studio.jobs.shim.files import replace_json
from studio.studies.cells import Cell, NotMeasurable, cells, check_here, needed, num_cards, num_rows
from studio.studies.desk import Desk
from studio.studies.hands import Halted, Hands, is_alive
from studio.studies.measures import ident, is_done, measure
from studio.studies.record import Phase, Record
from studio.studies.rows import model_of, told
from studio.studio import Studio

PROGRESS_S = 1.0
CPU_SLOTS = 2
"""How many cells without cards run side by side."""


@dataclass(frozen=True, eq=False)
class Task:
    """What is measured in one go: a cell on its server, or one repeat of a run."""

    cell: Cell
    repeat: int

    @property
    def ident(self) -> str:
        """Id of the row that says whether it failed."""
        return ident(self.cell, None if self.cell.measure == "load" else self.repeat)


class Runner:
    """One sitting of a study, from its first case or from where an earlier sitting ended."""

    def __init__(
        self,
        studio: Studio,
        config: StudyConfig,
        asked: dict[str, Any],
        run_folder: Path,
        tell: Callable[[str], None],
    ) -> None:
        """Prepare the record; `asked` says `run`, `recipe`, `name`, `title`, `about`, `command`;
        `tell` takes each line of its log.

        Raises RecipeInvalid before anything is launched, RunBusy while another run works on the
        same folder.
        """
        self.cells = cells(studio, config)
        self.record = _record(studio, config, asked, self.cells)
        self._artifacts = run_folder / "artifacts"
        hands = Hands(studio, run_folder, self.record.name)
        self.desk = Desk(studio=studio, config=config, record=self.record, hands=hands, tell=tell)
        self._run_id = str(asked["run"])
        self._begun = time.time()
        self._tasks: list[Task] = []
        self._over: set[Task] = set()
        self._failed: dict[str, str] = {}

    def halt(self) -> None:
        """Ask the study to stop: the case under way is ended, rows that are done stay."""
        self.desk.hands.stop_asked()

    def run(self) -> Phase:
        """Measure what is left; return done, failed (a case failed) or stopped."""
        self._artifacts.mkdir(exist_ok=True)
        replace_json(self._artifacts / WHERE, {"folder": str(self.record.folder)})
        self.record.note("", Phase.MEASURING, run=self._run_id)
        self.desk.tell(f"results: {self.record.folder}")
        self._tasks = self._left()
        over = threading.Event()
        teller = threading.Thread(target=self._tell, args=(over,), daemon=True)
        teller.start()
        try:
            if self.desk.config.side_by_side:
                self._side_by_side()
            else:
                self._one_by_one()
        finally:
            over.set()
            teller.join()
            self._end_strays()
        return self._settle()

    # what is left -------------------------------------------------------------------------------

    def _left(self) -> list[Task]:
        """Return what is to be measured, in order; note what cannot be, and why."""
        able = [cell for cell in self.cells if self._can(cell)]
        return [
            Task(cell, repeat)
            for repeat in range(self.desk.config.repeats)
            for cell in able
            if not (cell.serves and repeat) and not is_done(self.desk, cell, repeat)
        ]

    def _can(self, cell: Cell) -> bool:
        if all(is_done(self.desk, cell, n) for n in range(self.desk.config.repeats)):
            return False
        try:
            check_here(self.desk.studio, cell, plan=self.desk.config.plan)
        except NotMeasurable as error:
            self.desk.say(cell, Phase.NOT_MEASURABLE, error.message)
            return False
        return True

    # going through ------------------------------------------------------------------------------

    def _one_by_one(self) -> None:
        for task in self._tasks:
            if self._go_on():
                self._measure(task)

    def _side_by_side(self) -> None:
        """Start every task as soon as cards for it are free of the study's other tasks."""
        slots = Slots(self.desk.studio)
        waiting, at_work = list(self._tasks), dict[Future[None], Task]()
        with ThreadPoolExecutor(max_workers=max(1, len(waiting))) as pool:
            while waiting or at_work:
                for task in list(waiting):
                    if self._go_on() and slots.take(task):
                        waiting.remove(task)
                        at_work[pool.submit(self._measure, task)] = task
                if not at_work:
                    return
                ended, _ = wait(at_work, timeout=PROGRESS_S, return_when=FIRST_COMPLETED)
                for future in ended:
                    slots.give(at_work.pop(future))
                    future.result()

    def _go_on(self) -> bool:
        failed = bool(self._failed) and not self.desk.config.keep_going
        return not failed and not self.desk.hands.halt.is_set()

    def _measure(self, task: Task) -> None:
        """Measure one task and note how it ended; only a bug in the studio itself escapes."""
        cell = task.cell
        if cell.name in self._failed:
            return  # what failed once with all its attempts would fail in every round
        self.desk.fractions.pop(cell.name, None)
        try:
            measure(self.desk, cell, task.repeat)
        except Halted:
            self.desk.say(cell, Phase.STOPPED)
            return
        except Exception as error:  # the study goes on; the row says what was wrong
            self.desk.tell(traceback.format_exc())
            if self.desk.hands.halt.is_set():
                self.desk.say(cell, Phase.STOPPED)
                return
            self._failed[cell.name] = told(error)
            self.desk.keep_failure(cell, task.ident, told(error), repeat=task.repeat)
            self.desk.say(cell, Phase.FAILED, told(error))
        else:
            if cell.name not in self._failed:
                self.desk.say(cell, Phase.DONE, repeat=task.repeat)
        self._over.add(task)

    # the end ------------------------------------------------------------------------------------

    def _end_strays(self) -> None:
        """End whatever of this study still lives; after a normal end there is nothing."""
        left = self.desk.hands.living()
        for run in left:
            self.desk.tell(f"stop {run.spec.name}, which is left over")
        self.desk.hands.stop_all(left)

    def _settle(self) -> Phase:
        """Note how the study ended, and the cells that were never begun."""
        stopped = self.desk.hands.halt.is_set()
        begun = {task.cell.name for task in self._over}
        for task in self._tasks:
            if task.cell.name not in begun and not stopped:
                self.desk.say(task.cell, Phase.SKIPPED)
        if stopped:
            phase, reason = Phase.STOPPED, ""
        elif self._failed:
            names = ", ".join(self._failed)
            phase = Phase.FAILED
            reason = f"{len(self._failed)} of {len(self.cells)} cases failed: {names}"
        else:
            phase, reason = Phase.DONE, ""
        self.record.note("", phase, reason, run=self._run_id)
        self._write_progress()
        self.desk.tell(f"{phase}: {reason}" if reason else str(phase))
        return phase

    # progress -----------------------------------------------------------------------------------

    def _tell(self, over: threading.Event) -> None:
        while not over.wait(PROGRESS_S):
            self._write_progress()

    def _write_progress(self) -> None:
        """Append how far it is: tasks done and the part of those under way."""
        part = sum(self.desk.fractions.get(task.cell.name, 0) for task in self._under_way())
        done = len(self._over) + part
        left = None
        if done > 0.05:
            left = (time.time() - self._begun) / done * (len(self._tasks) - done)
        text = ", ".join(dict.fromkeys(task.cell.name for task in self._under_way()))
        row = {"at": time.time(), "done": round(done, 3), "total": len(self._tasks), "text": text}
        path = self._artifacts / PROGRESS
        last = read_rows(path)[-1:] if path.exists() else []
        if last and all(last[0][key] == row[key] for key in ("done", "total", "text")):
            return
        with open(path, "a") as file:
            file.write(json.dumps({**row, "remaining_s": left}, ensure_ascii=False) + "\n")

    def _under_way(self) -> list[Task]:
        phases = {row["cell"]: Phase(row["phase"]) for row in self.record.rows() if row["cell"]}
        begun = [name for name, phase in phases.items() if not phase.over]
        found: dict[str, Task] = {}
        for task in self._tasks:
            if task.cell.name in begun and task not in self._over:
                found.setdefault(task.cell.name, task)
        return list(found.values())


class Slots:
    """Cards, or places on a machine without any, shared out to tasks that run side by side."""

    def __init__(self, studio: Studio) -> None:
        self._studio = studio
        self._cards = [card.index for card in gpu.read_cards()]
        self._held: dict[Task, tuple[int, list[int]]] = {}

    def take(self, task: Task) -> bool:
        """Give a task its cards or a place; False when it has to wait."""
        need = needed(self._studio, task.cell)
        count, named = num_cards(self._studio, task.cell), list(need.gpu_ids or ())
        if count == 0:
            busy = sum(not held for held, _ in self._held.values())
            if busy >= CPU_SLOTS:
                return False
        elif not self._free(count, named):
            return False
        self._held[task] = (count, named)
        return True

    def _free(self, count: int, named: list[int]) -> bool:
        held = sum(held for held, _ in self._held.values())
        taken = [card for _, cards in self._held.values() for card in cards]
        return held + count <= len(self._cards) and not any(card in taken for card in named)

    def give(self, task: Task) -> None:
        """Take back what a task had."""
        self._held.pop(task, None)


# below: helpers ---------------------------------------------------------------------------------


def _record(
    studio: Studio, config: StudyConfig, asked: dict[str, Any], found: Sequence[Cell]
) -> Record:
    """Return the record to go on with, or a fresh one with its question frozen."""
    settings = config.model_dump(mode="json", exclude={"results", "extra_args"})
    if config.results:
        record = Record(studio.saved.get(config.results).folder)
        if record.study()["settings"] != settings:
            raise RecipeInvalid(
                f"{record.name} was begun with other settings, so its rows are no part of this.",
                hint="Resume it without changes, or start a study of its own.",
            )
        with _alone(record.folder):  # of two resumes at once, one goes on
            other = record.last_run()
            if other != asked["run"] and is_alive(studio, other):
                raise RunBusy(
                    f"Run {other} works on {record.name}.", hint="Wait for it, or stop it."
                )
            record.note("", Phase.MEASURING, run=asked["run"])
        return record
    models = dict.fromkeys(model_of(studio, cell) for cell in found)
    about = About(
        kind="study",
        name=asked["name"],
        title=asked["title"],
        model=", ".join(model for model in models if model),
        run=asked["run"],
        created_at=time.time(),
        environment=environment(_versions(studio, found)),
        command=asked["command"],
        settings=settings,
    )
    record = Record(studio.saved.begin(about))
    rows = [{**cell.as_dict(), "rows": num_rows(studio, cell, config.repeats)} for cell in found]
    question = {key: asked.get(key) for key in ("recipe", "title", "about")}
    record.freeze({**question, "settings": settings, "cells": rows})
    return record


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Keep other runners from claiming a folder meanwhile."""
    file = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
    finally:
        os.close(file)


def _versions(studio: Studio, found: Sequence[Cell]) -> dict[str, str]:
    """Return the versions of the engines that take part, by the names of their environments."""
    engines = {cell.launch.engine for cell in found}
    engines |= {cell.tool for cell in found if cell.measure == "load"}
    names = sorted({env.name for one in engines if (env := studio.engine(one).env)})
    told = {name: studio.envs.version(name) for name in names}
    return {name: version for name, version in told.items() if version}
