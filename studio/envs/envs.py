"""The engines' environments of one home: their status, adoption, removal, and how to build one."""

from __future__ import annotations

import json
import logging
import os
import shutil
import sys
import threading
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from studio.core.errors import EnvMissing, NotFound, RunBusy, StudioError
from studio.core.settings import Settings
from studio.core.spec import Interpreter
from studio.envs.catalog import CATALOG, EnvSpec, Variant, find
from studio.envs.flags import ask_flags, flags_file, key_of, read_flags, write_flags
from studio.envs.layout import EnvFolder, users_of
from studio.envs.verify import verify
from studio.jobs.shim.cards import read_cards
from studio.jobs.store import Store

log = logging.getLogger(__name__)

BUILDER = Path(__file__).parent
"""The folder Python is given to start the builder: it works from any directory."""


class EnvState(StrEnum):
    """Whether an environment can be used, worked out from files at every look."""

    READY = "ready"
    MISSING = "missing"
    BUILDING = "building"
    BROKEN = "broken"
    STALE = "stale"
    """Works, but the studio's lock has changed since it was built."""

    @property
    def usable(self) -> bool:
        """True when an engine can be started with it."""
        return self in (EnvState.READY, EnvState.STALE)


@dataclass(frozen=True)
class EnvStatus:
    """One environment as it is at this moment."""

    name: str
    title: str
    variant: Variant
    state: EnvState
    kind: Literal["built", "adopted"]
    python: str
    """Absolute path of the interpreter, where it is or will be."""
    versions: Mapping[str, str] = field(default_factory=dict)
    size_bytes: int | None = None
    """Measured at the end of the build; None for an adopted one."""
    problem: str = ""
    """What is wrong, a sentence; empty when nothing is."""
    remedy: str = ""
    """What to do about it, a sentence."""
    pythonpath: tuple[str, ...] = ()

    @property
    def detail(self) -> str:
        """What is wrong and what to do about it."""
        return f"{self.problem} {self.remedy}".strip()

    def as_dict(self) -> dict[str, Any]:
        """Return plain values for `--json` and the API."""
        return asdict(self) | {"state": str(self.state), "detail": self.detail}


class Envs:
    """Built and adopted environments. Stateless but for the cards, which are looked at once."""

    def __init__(
        self, settings: Settings, store: Store, catalog: dict[str, EnvSpec] | None = None
    ) -> None:
        self._settings = settings
        self._store = store
        self._catalog = CATALOG if catalog is None else catalog
        self._asked: set[str] = set()
        """Environments whose engine is being, or was, asked for its flags in the background."""

    # looking ------------------------------------------------------------------------------------

    def variant(self) -> Variant:
        """Return which lock environments are built from: as set, else by the machine's cards."""
        return self._variant

    @cached_property
    def _variant(self) -> Variant:
        if self._settings.variant != "auto":
            return self._settings.variant
        return "cuda" if any(card.vendor == "nvidia" for card in read_cards()) else "cpu"

    def list(self) -> list[EnvStatus]:
        """Return the status of every environment the engines need."""
        return [self.status(name) for name in self._catalog]

    def status(self, name: str) -> EnvStatus:
        """Look at one environment's files; raise NotFound for a name that is not in the catalog.

        Starts no process, so it may be called as often as a page is drawn.
        """
        spec = find(name, self._catalog)
        row = self._adopted(name)
        return self._adopted_status(spec, row) if row else self._built_status(spec)

    def interpreter(self, name: str) -> Interpreter:
        """Return the interpreter to start an engine with; raise EnvMissing with the way out."""
        status = self.status(name)
        if not status.state.usable:
            raise EnvMissing(status.problem, hint=status.remedy)
        return self._interpreter(status)

    def planned(self, name: str) -> Interpreter:
        """Return where the interpreter is or will be after a build, without a check."""
        return self._interpreter(self.status(name))

    def version(self, name: str) -> str:
        """Return the version of the engine there; empty while it is not built."""
        return self.status(name).versions.get(find(name, self._catalog).distribution, "")

    def flags(self, name: str) -> frozenset[str] | None:
        """Return every `--flag` of the engine there; None while that is not known. Never waits.

        When nobody has asked that engine yet, a thread does, once: the next look knows.
        """
        status = self.status(name)
        if not status.state.usable or not find(name, self._catalog).help:
            return None
        key = self._flags_key(status)
        known = read_flags(self._flags_file(name), key)
        if known is None and key not in self._asked:
            self._asked.add(key)
            threading.Thread(target=self._learn_quietly, args=(name,), daemon=True).start()
        return known

    def learn_flags(self, name: str) -> frozenset[str]:
        """Ask the engine which flags it has (seconds) and keep the answer; raise EnvMissing."""
        status = self.status(name)
        interpreter = self.interpreter(name)
        flags = ask_flags(
            find(name, self._catalog), Path(interpreter.python), interpreter.pythonpath
        )
        write_flags(self._flags_file(name), self._flags_key(status), flags)
        return flags

    # changing -----------------------------------------------------------------------------------

    def build_argv(self, name: str, *, fresh: bool = False) -> tuple[str, ...]:
        """Return the command that builds or repairs an environment; it is run as a run.

        Raises EnvMissing for an engine that does not come for this machine.
        """
        spec = find(name, self._catalog)
        if not spec.comes_for(self.variant()):
            raise EnvMissing(
                _needs_card(spec),
                hint="Use a machine with one, or adopt an environment that runs here.",
            )
        home = str(self._settings.home.absolute())
        head = (sys.executable, str(BUILDER), name, "--variant", self.variant(), "--home", home)
        return (*head, "--fresh") if fresh else head

    def adopt(self, name: str, python: Path, pythonpath: tuple[Path, ...] = ()) -> EnvStatus:
        """Use an interpreter that the user already has, after it has imported the engine.

        `python` is an executable or the folder of an environment (conda, venv); `pythonpath` are
        folders that hold the engine when it is not installed there. Raises EnvMissing.
        """
        spec = find(name, self._catalog)
        folders = tuple(folder.expanduser().absolute() for folder in pythonpath)
        for folder in folders:
            if not folder.is_dir():
                raise EnvMissing(f"There is no folder {folder} to put on PYTHONPATH.")
        executable = _executable(python.expanduser())
        answer = verify(spec, executable, folders)
        with self._store.transaction() as db:
            db.execute(
                "INSERT OR REPLACE INTO adopted(name, python, pythonpath, versions, verified_at)"
                " VALUES (?, ?, ?, ?, ?)",
                (
                    name,
                    str(executable),
                    json.dumps([str(folder) for folder in folders]),
                    json.dumps(answer.versions),
                    time.time(),
                ),
            )
        if spec.help:
            self._learn_quietly(name)
        return self.status(name)

    def remove(self, name: str) -> None:
        """Delete a built environment, or forget an adopted one without touching it.

        Raises RunBusy while it is being built or a process uses it, NotFound when there is none.
        """
        spec = find(name, self._catalog)
        if self._adopted(name):
            with self._store.transaction() as db:
                db.execute("DELETE FROM adopted WHERE name = ?", (name,))
            return
        folder = self._folder(spec)
        if not os.path.lexists(folder.path):
            raise NotFound(f"There is no environment for {spec.title} to remove.")
        self._check_ours(folder)
        with folder.hold() as fd:
            if fd is None:
                raise RunBusy(
                    f"{spec.title}'s environment is being built.", hint="Stop the build first."
                )
            users = users_of(folder.path)
            if users:
                raise RunBusy(
                    f"{spec.title}'s environment is in use by {len(users)} processes "
                    f"(pid {users[0]}).",
                    hint="Stop the runs of this engine first.",
                )
            folder.marker.unlink(missing_ok=True)
            shutil.rmtree(folder.path)

    # details ------------------------------------------------------------------------------------

    def _learn_quietly(self, name: str) -> None:
        try:
            self.learn_flags(name)
        except StudioError as error:
            log.warning("flags of %s stay unknown: %s", name, error)

    def _flags_file(self, name: str) -> Path:
        return flags_file(self._settings.envs_dir, name)

    def _flags_key(self, status: EnvStatus) -> str:
        marker = None
        if status.kind == "built":
            marker = self._folder(find(status.name, self._catalog)).read_marker()
        lock = marker["lock_sha256"] if marker else ""
        return key_of(status.python, status.pythonpath, dict(status.versions), lock)

    def _folder(self, spec: EnvSpec) -> EnvFolder:
        envs = self._settings.envs_dir.absolute()
        return EnvFolder(envs / f"{spec.name}-{self.variant()}")

    def _check_ours(self, folder: EnvFolder) -> None:
        """Refuse to delete anything but a plain folder directly below this home's envs."""
        envs = self._settings.envs_dir.absolute()
        if folder.path.is_symlink() or not folder.path.is_dir() or folder.path.parent != envs:
            raise StudioError(
                f"{folder.path} is not a plain folder of this home; nothing was deleted.",
                hint="Delete it by hand if you are sure.",
            )

    def _adopted(self, name: str) -> Mapping | None:
        rows = self._store.rows("SELECT * FROM adopted WHERE name = ?", name)
        return dict(rows[0]) if rows else None

    def _adopted_status(self, spec: EnvSpec, row: Mapping) -> EnvStatus:
        folders = tuple(json.loads(row["pythonpath"]))
        problem = ""
        if not os.access(row["python"], os.X_OK):
            problem = f"The adopted Python {row['python']} is gone."
        elif gone := [folder for folder in folders if not Path(folder).is_dir()]:
            problem = f"The adopted folder {gone[0]} is gone."
        remedy = f"Adopt another one, or forget it and build {spec.title}'s environment."
        return EnvStatus(
            name=spec.name,
            title=spec.title,
            variant=self.variant(),
            state=EnvState.BROKEN if problem else EnvState.READY,
            kind="adopted",
            python=row["python"],
            versions=json.loads(row["versions"]),
            problem=problem,
            remedy=remedy if problem else "",
            pythonpath=folders,
        )

    def _built_status(self, spec: EnvSpec) -> EnvStatus:
        folder = self._folder(spec)
        marker = folder.read_marker()
        state, problem, remedy = self._judge(spec, folder, marker)
        return EnvStatus(
            name=spec.name,
            title=spec.title,
            variant=self.variant(),
            state=state,
            kind="built",
            python=str(folder.python),
            versions=(marker or {}).get("versions", {}),
            size_bytes=(marker or {}).get("size_bytes"),
            problem=problem,
            remedy=remedy,
        )

    def _judge(
        self, spec: EnvSpec, folder: EnvFolder, marker: dict | None
    ) -> tuple[EnvState, str, str]:
        """Return the state of a built environment, what is wrong with it and what to do."""
        whose = f"{spec.title}'s environment"
        if folder.building:
            return EnvState.BUILDING, f"{whose} is being built.", "Wait for that run to end."
        if not spec.comes_for(self.variant()):
            remedy = "Use a machine with one, or adopt an environment that runs here."
            return EnvState.MISSING, _needs_card(spec), remedy
        if not os.path.lexists(folder.path):
            size = getattr(spec.download_gib, self.variant())
            remedy = f"Build it (about {size:g} GiB to download), or adopt one you already have."
            return EnvState.MISSING, f"{whose} is not built yet.", remedy
        if marker is None:
            remedy = "Build it again: it goes on from there."
            return EnvState.BROKEN, f"{whose} is not finished.", remedy
        if not os.access(folder.python, os.X_OK):
            problem = f"{whose} has lost its Python ({folder.python})."
            return EnvState.BROKEN, problem, "Build it again."
        if folder.distribution(spec.distribution) is None:
            problem = f"{whose} has lost {spec.distribution}."
            return EnvState.BROKEN, problem, "Build it again: only what is missing is installed."
        if marker.get("lock_sha256") != spec.lock_sha256(self.variant()):
            problem = f"{whose} was built from an older lock."
            return EnvState.STALE, problem, "It works; build it again to update it."
        return EnvState.READY, "", ""

    def _interpreter(self, status: EnvStatus) -> Interpreter:
        script = find(status.name, self._catalog).script
        beside = Path(status.python).parent / script
        return Interpreter(
            name=status.name,
            python=status.python,
            scripts=status.kind == "built" or os.access(beside, os.X_OK),
            pythonpath=status.pythonpath,
        )


def _needs_card(spec: EnvSpec) -> str:
    return f"{spec.title} needs an NVIDIA card, and this machine has none."


def _executable(given: Path) -> Path:
    """Return the interpreter meant by a file or an environment's folder; links stay as they are."""
    path = given.absolute()
    if path.is_dir():
        for candidate in (path / "bin" / "python", path / "bin" / "python3"):
            if candidate.exists():
                return candidate
        raise EnvMissing(
            f"{path} is a folder without bin/python.",
            hint="Give an environment's own folder, or the Python in it.",
        )
    if not path.exists():
        raise EnvMissing(
            f"There is no {path}.", hint="Check the path; `which python` shows the active one."
        )
    if not os.access(path, os.X_OK):
        raise EnvMissing(f"{path} cannot be executed.", hint="Give the path of a Python.")
    return path
