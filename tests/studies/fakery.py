"""Fake engines for studies: a training that counts, a chat server, and a runner in a thread."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from conftest import FAKES

from studio.core.ids import new_id
from studio.core.spec import Command, EndpointSpec, Placement, Probe, Resources, StopStep
from studio.engines.engine import Engine, EngineConfig, Point, ServerConfig
from studio.engines.study import Study
from studio.engines.study_config import StudyConfig
from studio.jobs.rundir import RunDir
from studio.studies.record import Phase
from studio.studies.runner import Runner
from studio.studio import Studio

POLITE = (StopStep(signal="SIGTERM", to="group", grace_s=5, label="terminate"),)


class TrainingConfig(EngineConfig):
    model: str = "tiny"
    seconds: float = 0.0
    code: int = 0
    num_gpus: int = 0
    processes: int = 0
    weights: bool = False


class FakeTraining(Engine[TrainingConfig]):
    id = "fake-training"
    title = "Fake training"
    env = None
    Config = TrainingConfig

    def command(self, config: TrainingConfig, place: Placement) -> Command:
        argv = (sys.executable, str(FAKES / "count.py"), str(config.seconds), str(config.code))
        files = {"artifacts/output/model.safetensors": "weights"} if config.weights else {}
        return Command(argv=argv, files=files)

    def resources(self, config: TrainingConfig, has_gpu: bool) -> Resources:
        return Resources(num_gpus=config.num_gpus)

    def ranks(self, config: TrainingConfig, num_gpus: int) -> int:
        return config.processes

    def stop(self, config: TrainingConfig) -> tuple[StopStep, ...]:
        return POLITE

    def points(self, run: RunDir) -> Iterable[Point]:
        path = run.artifacts / "curve.txt"
        for line in path.read_text().splitlines() if path.exists() else ():
            step, loss = line.split()
            yield Point("loss", float(step), float(loss))


class ChatConfig(ServerConfig):
    model: str = "stand-in"
    broken: bool = False
    silent: bool = False
    num_gpus: int = 0


class FakeChatServer(Engine[ChatConfig]):
    id = "fake-chat"
    title = "Fake chat"
    env = None
    Config = ChatConfig
    serves = True

    def command(self, config: ChatConfig, place: Placement) -> Command:
        name = "obey" if config.broken else "picture_chat"
        words = ["--silent"] if config.silent else []
        return Command(argv=(sys.executable, str(FAKES / f"{name}.py"), str(place.port), *words))

    def resources(self, config: ChatConfig, has_gpu: bool) -> Resources:
        return Resources(num_gpus=config.num_gpus)

    def probe(self, config: ChatConfig) -> Probe:
        return Probe(path="/v1/models")

    def endpoint(self, config: ChatConfig) -> EndpointSpec:
        return EndpointSpec(kind="chat", models=("stand-in",))

    def stop(self, config: ChatConfig) -> tuple[StopStep, ...]:
        return POLITE


ENGINES = (FakeTraining, FakeChatServer, Study)


def training(**settings: Any) -> dict[str, Any]:
    """Return a case that trains."""
    return {"engine": "fake-training", "settings": settings}


def chat(**settings: Any) -> dict[str, Any]:
    """Return a case that is asked."""
    return {"engine": "fake-chat", "measure": "ask", "settings": settings}


class Sitting:
    """One runner in a thread of its own, as the process of a study's run would hold it."""

    def __init__(self, studio: Studio, folder: Path, settings: dict[str, Any]) -> None:
        self.folder = folder / new_id()
        self.folder.mkdir(parents=True)
        self.lines: list[str] = []
        asked = {
            "run": self.folder.name,
            "name": "try",
            "recipe": None,
            "title": {"en": "Try", "zh": "试"},
            "about": None,
            "command": "python app.py study try",
        }
        config = StudyConfig.model_validate(settings)
        self.runner = Runner(studio, config, asked, self.folder, self.lines.append)
        self.record = self.runner.record
        self.phase: Phase | None = None
        self._thread = threading.Thread(target=self._run)

    def start(self) -> Sitting:
        self._thread.start()
        return self

    def ended(self, timeout_s: float = 40) -> Phase:
        self._thread.join(timeout_s)
        assert self.phase is not None, self.lines
        return self.phase

    def phases(self) -> dict[str, Phase]:
        """Return the last phase of each cell."""
        return {row["cell"]: Phase(row["phase"]) for row in self.record.rows() if row["cell"]}

    def said(self, text: str) -> bool:
        return any(text in line for line in list(self.lines))

    def _run(self) -> None:
        self.phase = self.runner.run()


def until(condition: Callable[[], Any], timeout_s: float = 20.0) -> None:
    """Wait until a condition holds."""
    end = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)
