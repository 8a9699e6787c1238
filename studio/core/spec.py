"""Frozen models that travel between the parts: commands, placements, run specs, endpoints."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class Frozen(BaseModel):
    """A value that nobody changes after it was made; unknown keys are ignored when read back."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class State(StrEnum):
    """What a run is doing, worked out from its files and processes at every look."""

    QUEUED = "queued"
    STARTING = "starting"
    RUNNING = "running"
    READY = "ready"
    STOPPING = "stopping"
    DONE = "done"
    FAILED = "failed"
    STOPPED = "stopped"
    LOST = "lost"

    @property
    def alive(self) -> bool:
        """True while a supervisor is expected to be at work."""
        return self in _ALIVE


_ALIVE = {State.QUEUED, State.STARTING, State.RUNNING, State.READY, State.STOPPING}


class Interpreter(Frozen):
    """The Python of one engine's environment."""

    name: str
    python: str
    """Absolute path of the interpreter."""
    scripts: bool = True
    """True when console scripts lie beside the interpreter; an overlay on PYTHONPATH has none."""
    pythonpath: tuple[str, ...] = ()

    def program(self, script: str, module: str) -> tuple[str, ...]:
        """Return the argv head that starts a tool: its console script, or `python -m module`."""
        if self.scripts:
            return (str(Path(self.python).parent / script),)
        return (self.python, "-m", module)


class Placement(Frozen):
    """Where a command will run, given to `Engine.command` so that it can stay pure."""

    interpreter: Interpreter
    host: str = "127.0.0.1"
    port: int | None = None
    """Reserved port, for engines that serve."""
    root: str = "."
    """Absolute folder that a recipe's relative paths start from."""
    has_gpu: bool = False
    """True when the machine has cards the engine can use."""


class Command(Frozen):
    """What will be executed, byte for byte."""

    argv: tuple[str, ...]
    env: dict[str, str] = Field(default_factory=dict)
    """Variables set on top of the studio's own environment."""
    files: dict[str, str] = Field(default_factory=dict)
    """Text files written into the run folder (the working directory) before the start."""


class Resources(Frozen):
    """Cards a run needs; none for a CPU run."""

    num_gpus: int = Field(default=0, ge=0)
    gpu_ids: tuple[int, ...] | None = None
    """Physical indices when pinned; None takes any idle cards."""


class Probe(Frozen):
    """How to see that a server is ready: an HTTP path that answers 200, or a line in the log."""

    path: str | None = None
    log_line: str | None = None
    timeout_s: float = 1800.0


class StopStep(Frozen):
    """One rung of the stop ladder."""

    signal: Literal["SIGINT", "SIGTERM", "SIGABRT", "SIGKILL"]
    to: Literal["root", "group", "ranks", "tree"] = "group"
    """root: the engine's first process; ranks: torch's worker processes, else root; tree: all."""
    grace_s: float = 10.0
    label: str = ""


class EndpointSpec(Frozen):
    """What a serving run offers once it is ready."""

    kind: Literal["chat", "images"]
    models: tuple[str, ...]
    path: str = "/v1"


class RunSpec(Frozen):
    """A launch with frozen settings: everything the shim and every later reader need."""

    id: str
    name: str
    engine: str
    title: str = ""
    recipe: str | None = None
    config: dict = Field(default_factory=dict)
    command: Command
    resources: Resources = Resources()
    serves: bool = False
    """A server never ends well by itself: only a stop makes it end without failure."""
    probe: Probe | None = None
    stop: tuple[StopStep, ...] = ()
    endpoint: EndpointSpec | None = None
    host: str = "127.0.0.1"
    port: int | None = None
    after: tuple[str, ...] = ()
    """Ids of runs that must be DONE first, such as the build of the environment."""
    env_name: str = ""
    """Environment the engine lives in."""
    bin_dir: str = ""
    """Folder put first on PATH, so that an engine finds its own tools."""
    created_at: float
    studio_version: str = ""
    relaunch_of: str | None = None


class Endpoint(Frozen):
    """Something that answers: a READY run, or an external OpenAI-compatible URL."""

    id: str
    """Run id, or `url-…` for an external one."""
    name: str
    kind: Literal["chat", "images"] = "chat"
    base_url: str
    models: tuple[str, ...] = ()
    api_key: str = Field("", repr=False)
    run_id: str | None = None
