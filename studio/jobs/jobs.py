"""The only door to runs: submit, get, list, stop, delete, endpoints. Nothing else starts one."""

from __future__ import annotations

import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from studio.core.errors import DiskFull, EngineExited, NotEnoughGpus, NotFound, RunBusy, StudioError
from studio.core.ids import is_id
from studio.core.settings import Settings
from studio.core.spec import Endpoint, RunSpec, State
from studio.jobs import ports
from studio.jobs.groups import routers_first
from studio.jobs.rundir import RunDir
from studio.jobs.shim import cards as gpu
from studio.jobs.shim import procs
from studio.jobs.shim.files import replace_json
from studio.jobs.store import Store

MAIN = Path(__file__).parent / "shim" / "__main__.py"
DROPPED_VARIABLES = (
    "PYTHONPATH",
    "PYTHONHOME",
    "PYTHONSTARTUP",
    "PYTHONDONTWRITEBYTECODE",
    "VIRTUAL_ENV",
    "CONDA_PREFIX",
)
"""Variables of the studio's own Python that an engine's Python must not inherit.

Without byte code every start of an engine would compile thousands of files again.
"""


@dataclass(frozen=True, kw_only=True)
class Run:
    """One run as it is at this moment. Looking again may show another state."""

    spec: RunSpec
    state: State
    dir: RunDir
    result: dict[str, Any] | None

    @property
    def id(self) -> str:
        """The run's sortable id."""
        return self.spec.id

    @property
    def reason(self) -> str:
        """Why it waits, failed or was lost, in words; empty when there is nothing to say."""
        if self.result:
            return self.result["reason"]
        if self.state is State.LOST:
            return "its supervisor disappeared without leaving a result"
        events = self.dir.events()
        return events[-1].get("reason", "") if events else ""

    @property
    def started_at(self) -> float | None:
        """When the engine was executed (seconds since the epoch)."""
        if self.result:
            return self.result["started_at"]
        found = (row["at"] for row in self.dir.events() if row["phase"] == "running")
        return next(found, None)

    @property
    def ended_at(self) -> float | None:
        """When it ended, or was found lost."""
        last = self.result or {}
        lost = self.dir.lost() if self.state is State.LOST else None
        return last.get("ended_at") or (lost or {}).get("at")

    @property
    def cards(self) -> list[int]:
        """Physical indices of the cards it holds or held."""
        if self.result:
            return self.result["cards"]
        rows = [row["cards"] for row in self.dir.events() if "cards" in row]
        return rows[-1] if rows else []

    @property
    def ranks_seen(self) -> int:
        """How many training processes came up; 0 for what is no training, and before one did.

        A single process without a launcher has no rank to be counted by; it is one all the same.
        """
        if not self.spec.ranks or self.started_at is None:
            return 0
        return self.dir.ranks_seen() or 1

    def summary(self) -> dict[str, Any]:
        """Return plain values for `--json` and tables."""
        result = self.result or {}
        training = {"ranks": self.spec.ranks, "ranks_seen": self.ranks_seen}
        return {
            "id": self.id,
            "name": self.spec.name,
            "engine": self.spec.engine,
            "recipe": self.spec.recipe,
            "group": self.spec.group,
            "state": str(self.state),
            "reason": self.reason,
            "cards": self.cards,
            "port": self.spec.port,
            "created_at": self.spec.created_at,
            "started_at": self.started_at,
            "ended_at": self.ended_at,
            "exit_code": result.get("exit_code"),
            "signal": result.get("signal"),
            "peak_host_bytes": result.get("peak_host_bytes"),
            "peak_gpu_bytes": result.get("peak_gpu_bytes"),
            "survivors": result.get("survivors", []),
            "folder": str(self.dir.folder),
            **(training if self.spec.ranks else {}),
        }


class Jobs:
    """Runs of one home. Stateless: two of these over one home see and do the same."""

    def __init__(self, settings: Settings) -> None:
        settings.prepare_home()
        self._runs = settings.runs_dir
        self._database = settings.database
        self.store = Store(settings.database)
        self._reindex()

    # in -----------------------------------------------------------------------------------------

    def reserve_port(self, run_id: str, wanted: int | None, host: str) -> int:
        """Reserve a port for a run about to be submitted; raise PortTaken."""
        return ports.reserve(self.store, run_id, self._alive_ids(), wanted, host)

    def submit(self, spec: RunSpec, plan: dict[str, Any] | None = None) -> Run:
        """Freeze the settings, put the run in line and give it a supervisor of its own.

        `plan` is what was worked out beforehand; it is kept to be compared with what came.
        Returns as soon as the supervisor is on record, whether or not the run starts at once.
        """
        self._check_cards(spec)
        run_dir = RunDir(self._runs / spec.id)
        try:
            run_dir.create(spec, plan)
            self._index(spec)
            self._spawn(run_dir.folder, spec)
        except OSError as error:
            self._forget(spec.id)
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise DiskFull(
                    f"No room left under {self._runs} for a new run.",
                    hint="Delete old runs in the Runs tab, or move the home with --home.",
                ) from error
            raise StudioError(f"The run could not be written: {error}.") from error
        except StudioError:
            self._forget(spec.id)
            raise
        return self.get(spec.id)

    def stop(self, run_id: str, *, now: bool = False) -> Run:
        """Ask a run to stop; `now` skips the polite rungs. Asking again does no harm."""
        run = self.get(run_id)
        if not run.state.alive:
            return run
        with open(run.dir.folder / "stop.jsonl", "a") as file:
            file.write(json.dumps({"at": time.time(), "now": now}) + "\n")
        who = run.dir.supervisor()
        if who is not None and who.alive:
            os.kill(who.pid, signal.SIGUSR1)
        return self.get(run_id)

    def delete(self, run_id: str) -> None:
        """Remove an ended run with its folder; refuse while it is alive."""
        run = self.get(run_id)
        if run.state.alive:
            raise RunBusy(f"Run {run_id} is {run.state}.", hint="Stop it first, then delete it.")
        folder = run.dir.folder
        if folder.parent != self._runs or folder.is_symlink():
            raise StudioError(f"{folder} is not a plain folder of this home; nothing was deleted.")
        shutil.rmtree(folder)
        self._forget(run_id)

    # out ----------------------------------------------------------------------------------------

    def get(self, run_id: str) -> Run:
        """Look at one run; an unambiguous prefix of its id is enough. Raise NotFound."""
        folder = self._runs / self._complete(run_id)
        run_dir = RunDir(folder)
        try:
            spec = run_dir.spec()
        except (FileNotFoundError, ValueError) as error:
            raise NotFound(f"There is no run {run_id}.", hint="`ls` lists the runs.") from error
        state = run_dir.state()
        if state is State.LOST and run_dir.lost() is None:
            self._bury(spec, run_dir)
        return Run(spec=spec, state=state, dir=run_dir, result=run_dir.result())

    def list(
        self,
        *,
        limit: int = 200,
        states: Iterable[State] = (),
        engine: str | None = None,
        text: str = "",
        serves: bool | None = None,
    ) -> list[Run]:
        """Return runs, newest first, filtered by state, engine and a word of name, id or recipe.

        `serves` keeps servers alone (True) or everything else (False).
        """
        wanted, found = set(states), []
        for row in self.store.rows("SELECT * FROM runs ORDER BY id DESC"):
            if engine and row["engine"] != engine:
                continue
            if serves is not None and bool(row["serves"]) != serves:
                continue
            hay = f"{row['id']} {row['name']} {row['engine']} {row['recipe'] or ''}".lower()
            if text.lower() not in hay:
                continue
            try:
                run = self.get(row["id"])
            except NotFound:
                continue
            if not wanted or run.state in wanted:
                found.append(run)
                if len(found) == limit:
                    break
        return found

    def endpoints(self, kind: str = "chat") -> list[Endpoint]:
        """Return what answers now: serving runs that are READY."""
        found = []
        for row in self.store.rows("SELECT id FROM runs WHERE serves = 1 ORDER BY id DESC"):
            folder = RunDir(self._runs / row["id"])
            if folder.result() is not None or folder.lost() is not None:
                continue
            run = self.get(row["id"])
            offer = run.spec.endpoint
            if run.state is State.READY and offer is not None and offer.kind == kind:
                host = "127.0.0.1" if run.spec.host in ("0.0.0.0", "::") else run.spec.host
                found.append(
                    Endpoint(
                        id=run.id,
                        name=run.spec.name,
                        kind=offer.kind,
                        base_url=f"http://{host}:{run.spec.port}{offer.path}",
                        models=(*offer.models, *run.dir.hung_on()),
                        api_key=run.spec.command.env.get("STUDIO_ENDPOINT_KEY", ""),
                        run_id=run.id,
                        pictures=offer.pictures,
                        text_only=offer.text_only,
                        hot_lora=offer.hot_lora,
                        group=run.spec.group,
                        routes=offer.routes,
                    )
                )
        return routers_first(found)

    def queue(self) -> list[str]:
        """Return the ids of runs that wait for cards, first in line first."""
        return [row["run_id"] for row in self.store.rows("SELECT run_id FROM waiting ORDER BY seq")]

    def leases(self) -> dict[int, str]:
        """Return which run holds which card."""
        return {r["card"]: r["run_id"] for r in self.store.rows("SELECT card, run_id FROM leases")}

    def wait(
        self,
        run_id: str,
        until: Callable[[Run], bool] = lambda run: not run.state.alive,
        *,
        timeout_s: float | None = None,
        poll_s: float = 0.1,
    ) -> Run:
        """Look again and again until `until` holds; raise EngineExited if it ends before."""
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        while True:
            run = self.get(run_id)
            if until(run):
                return run
            if not run.state.alive:
                raise EngineExited(f"Run {run.id} is {run.state}: {run.reason}.")
            if deadline is not None and time.monotonic() > deadline:
                raise StudioError(f"Run {run.id} is still {run.state} after {timeout_s:.0f} s.")
            time.sleep(poll_s)

    # inside -------------------------------------------------------------------------------------

    def _check_cards(self, spec: RunSpec) -> None:
        need = spec.resources
        if not need.num_gpus:
            return
        have = [card.index for card in gpu.read_cards()]
        missing = [card for card in need.gpu_ids or () if card not in have]
        if missing:
            raise NotEnoughGpus(
                f"{spec.engine} is pinned to card {', '.join(map(str, missing))}, and this "
                f"machine shows {', '.join(map(str, have)) or 'none'}.",
                hint="Pin other cards, or let the studio take any idle ones.",
            )
        if need.num_gpus > len(have):
            raise NotEnoughGpus(
                f"{spec.engine} needs {need.num_gpus} card(s) and this machine has {len(have)}.",
                hint="Ask for fewer cards, or use a CPU recipe.",
            )

    def _index(self, spec: RunSpec, *, wait: bool = True) -> None:
        pinned = None if spec.resources.gpu_ids is None else json.dumps(spec.resources.gpu_ids)
        with self.store.transaction() as db:
            db.execute(
                "INSERT OR IGNORE INTO runs(id, name, engine, recipe, serves, created_at)"
                " VALUES(?,?,?,?,?,?)",
                (spec.id, spec.name, spec.engine, spec.recipe, spec.serves, spec.created_at),
            )
            if wait and spec.resources.num_gpus:
                db.execute(
                    "INSERT INTO waiting(run_id, num_gpus, pinned, created_at) VALUES(?,?,?,?)",
                    (spec.id, spec.resources.num_gpus, pinned, time.time()),
                )

    def _spawn(self, folder: Path, spec: RunSpec) -> None:
        """Start the supervisor; it detaches itself and its first process returns at once."""
        env = {k: v for k, v in os.environ.items() if k not in DROPPED_VARIABLES}
        env[procs.MARK] = spec.id + procs.SUPERVISOR  # not that of a run that launches this one
        if spec.bin_dir:
            env["PATH"] = f"{spec.bin_dir}{os.pathsep}{env.get('PATH', os.defpath)}"
        with open(folder / "log.txt", "a") as log:
            starter = subprocess.Popen(
                [sys.executable, "-I", "-S", str(MAIN), str(folder), str(self._database)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                env=env,
                cwd=folder,
            )
        if starter.wait(timeout=60) != 0:
            raise StudioError(
                f"The supervisor of run {spec.id} did not start.",
                hint=f"Its last words are in {folder / 'log.txt'}.",
            )

    def _bury(self, spec: RunSpec, run_dir: RunDir) -> None:
        """Sweep what a lost run left behind and say so, once."""
        survivors = procs.sweep(spec.id)
        replace_json(run_dir.folder / "lost.json", {"at": time.time(), "survivors": survivors})
        with self.store.transaction() as db:
            db.execute("DELETE FROM waiting WHERE run_id = ?", (spec.id,))
            db.execute("DELETE FROM ports WHERE run_id = ?", (spec.id,))
            if not survivors:
                db.execute("DELETE FROM leases WHERE run_id = ?", (spec.id,))

    def _reindex(self) -> None:
        """Fill an empty index from the run folders, should the database have been moved away."""
        if self.store.rows("SELECT 1 FROM runs LIMIT 1"):
            return
        for folder in self._runs.iterdir():
            if is_id(folder.name):
                try:
                    spec = RunDir(folder).spec()
                except (FileNotFoundError, ValueError):
                    continue
                self._index(spec, wait=False)

    def _forget(self, run_id: str) -> None:
        with self.store.transaction() as db:
            for table, key in (("runs", "id"), ("waiting", "run_id"), ("ports", "run_id")):
                db.execute(f"DELETE FROM {table} WHERE {key} = ?", (run_id,))

    def _alive_ids(self) -> set[str]:
        """Return runs that have neither a result nor been found lost."""
        found = set()
        for row in self.store.rows("SELECT run_id FROM ports"):
            folder = RunDir(self._runs / row["run_id"])
            if folder.folder.exists() and folder.state().alive:
                found.add(row["run_id"])
        return found

    def _complete(self, run_id: str) -> str:
        """Turn a prefix into the whole id, refusing anything that is not an id."""
        if is_id(run_id):
            return run_id
        if run_id and all(c.isalnum() for c in run_id):
            rows = self.store.rows("SELECT id FROM runs WHERE id LIKE ? LIMIT 2", run_id + "%")
            if len(rows) == 1:
                return rows[0]["id"]
            if len(rows) > 1:
                raise NotFound(f"{run_id} fits several runs.", hint="Give more of the id.")
        raise NotFound(f"There is no run {run_id}.", hint="`ls` lists the runs.")
