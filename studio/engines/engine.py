"""The engine contract: what a file in this folder has to say about one real program."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, ClassVar, Generic, NamedTuple, TypeVar

from pydantic import BaseModel, ConfigDict, Field
from pydantic.fields import FieldInfo

from studio.core.errors import RecipeInvalid
from studio.core.spec import (
    Command,
    EndpointSpec,
    Imaging,
    Interpreter,
    Placement,
    Probe,
    Resources,
    Scrape,
    Serving,
    StopStep,
    Training,
)
from studio.envs.catalog import EnvSpec
from studio.jobs.rundir import RunDir

GROUPS = (
    "main",
    "parallel",
    "memory",
    "quant",
    "speculative",
    "speed",
    "vision",
    "lora",
    "preference",
    "output",
    "data",
    "optimizer",
    "precision",
    "saving",
    "logging",
    "server",
    "expert",
)
"""Topics of the settings, in the order a form shows them; `main` is open, the rest is folded.
Their names are `engine.group.*` in assets/locales."""


class EngineConfig(BaseModel):
    """Settings of one engine, in the engine's own spelling. Unknown keys are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    extra_args: list[str] = Field(
        default_factory=list,
        title="Extra arguments",
        description="Passed to the engine word for word, after everything else.",
        json_schema_extra={
            "group": "expert",
            "zh": {"title": "额外参数", "description": "原样追加在命令末尾，传给引擎。"},
        },
    )


Config = TypeVar("Config", bound=EngineConfig)


def knob(
    default: Any = ...,
    *,
    title: str,
    help: str,
    zh: tuple[str, str],
    group: str = "main",
    unavailable: Mapping[str, tuple[str, str]] | None = None,
    **limits: Any,
) -> Any:
    """Declare a field once: default, label, help with its effect, Chinese for both, and limits.

    `unavailable` names choices that exist and cannot be taken, each with its reason in English
    and Chinese; a form shows them disabled, and the engine's `command` refuses them.
    """
    extra: dict[str, Any] = {"group": group, "zh": {"title": zh[0], "description": zh[1]}}
    if unavailable:
        reasons = {name: {"en": en, "zh": zh} for name, (en, zh) in unavailable.items()}
        extra["unavailable"] = reasons
    field: FieldInfo = Field(
        default, title=title, description=help, json_schema_extra=extra, **limits
    )
    return field


class ServerConfig(EngineConfig):
    """What every engine that serves has in common."""

    host: str = knob(
        "127.0.0.1",
        title="Address",
        help="127.0.0.1 serves this machine only; 0.0.0.0 serves the network.",
        zh=("监听地址", "127.0.0.1 只供本机；0.0.0.0 对网络开放。"),
        group="server",
    )
    port: int | None = knob(
        None,
        title="Port",
        help="Empty takes the next free one from 8000.",
        zh=("端口", "留空则从 8000 起取下一个空闲端口。"),
        group="server",
        ge=1,
        le=65535,
    )
    api_key: str = knob(
        "",
        title="API key",
        help="Clients must send it. Empty: no key.",
        zh=("API key", "客户端必须携带。留空则不需要。"),
        group="server",
        repr=False,
    )


class Point(NamedTuple):
    """One value of one curve; `step` is the engine's own step number or seconds."""

    name: str
    step: float
    value: float


class Progress(NamedTuple):
    """How far a run is: `done` of `total` units, a word about it, seconds left (None unknown)."""

    done: float
    total: float
    text: str = ""
    remaining_s: float | None = None


class Figure(NamedTuple):
    """One figure of a result, in the engine's own unit; `stderr` where it tells one."""

    value: float
    stderr: float | None = None


class Room(NamedTuple):
    """What a run takes of the machine besides its cards, in bytes; 0 for what is not known."""

    disk_bytes: int = 0
    memory_bytes: int = 0


class Engine(ABC, Generic[Config]):
    """One real program the studio can launch. Instances hold no state."""

    id: ClassVar[str]
    title: ClassVar[str]
    env: ClassVar[EnvSpec | None]
    """Environment it lives in; None means the studio's own interpreter."""
    Config: ClassVar[type[EngineConfig]]
    serves: ClassVar[bool] = False

    @abstractmethod
    def command(self, config: Config, place: Placement) -> Command:
        """Return what to execute. Pure: looks at no disk, clock or card."""

    def at_home(self, config: Config, home: Path) -> Config:
        """Return the settings with the home's own folders where they name none, for `check`."""
        return config

    def check(self, config: Config, root: Path) -> None:
        """Look at the disk before a launch; raise RecipeInvalid with the way out."""

    def check_env(self, config: Config, interpreter: Interpreter) -> None:
        """Look at the files of a ready environment; raise EnvMissing for what it has not got."""

    def resources(self, config: Config, has_gpu: bool) -> Resources:
        """Return the cards it needs when the recipe does not say."""
        return Resources()

    def room(self, config: Config, root: Path, has_gpu: bool) -> Room | None:
        """Return the disk and the memory it will take; a launch with less of either is refused."""
        return None

    def probe(self, config: Config) -> Probe | None:
        """Return how to see that it is ready, for engines that serve."""
        return None

    def stop(self, config: Config) -> tuple[StopStep, ...]:
        """Return the polite rungs of the stop ladder; the kill comes by itself."""
        return (StopStep(signal="SIGTERM", to="group", grace_s=10, label="terminate"),)

    def endpoint(self, config: Config) -> EndpointSpec | None:
        """Return what it offers once ready."""
        return None

    def scrape(self, config: Config) -> Scrape | None:
        """Return where it tells its figures while it runs, for engines that serve."""
        return None

    def serving(self, config: Config) -> Serving | None:
        """Return what it will load, in the planner's words; None when that cannot be planned."""
        return None

    def training(self, config: Config, num_gpus: int) -> Training | None:
        """Return what it will train, in the planner's words; None when that cannot be planned."""
        return None

    def imaging(self, config: Config) -> Imaging | None:
        """Return what it will edit pictures with, in the planner's words; None for all others."""
        return None

    def ranks(self, config: Config, num_gpus: int) -> int:
        """Return how many training processes should come up; 0 for what is no training."""
        return 0

    def points(self, run: RunDir) -> Iterable[Point]:
        """Yield the values of its curves so far."""
        return ()

    def progress(self, run: RunDir) -> Progress | None:
        """Return how far it is, when it tells."""
        return None

    def results(self, run: RunDir) -> dict[str, Figure]:
        """Return the figures it came to, by name, for engines that measure something."""
        return {}


HUB_ID = r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*"


def resolve_path(text: str, root: str) -> str:
    """Make a recipe's relative path absolute; hub ids and absolute paths stay as they are.

    A path is told from a hub id by its look alone (`./x`, `/x`, `~/x`, `assets/x/y`), so that
    this stays pure.
    """
    if text.startswith("~"):
        return str(Path(text).expanduser())
    if text.startswith(("/", "./", "../")) or text.startswith(("assets/", "home/", "runs/")):
        return str(Path(root, text).resolve()) if not text.startswith("/") else text
    return text


def is_local(text: str) -> bool:
    """Tell whether a model name is a folder of this machine rather than a hub id."""
    return text.startswith(("/", "./", "../", "~", "assets/"))


def check_model_dir(text: str, root: Path, *, weights: bool = True) -> None:
    """Raise RecipeInvalid unless a local model name is a folder a transformers model lies in.

    Without `weights` a folder of config and tokenizer is enough, for `--load-format dummy`.
    """
    if not is_local(text):
        if Path(root, text).is_dir():
            raise RecipeInvalid(
                f"{text} would be looked for on the hub, but it is also a folder here.",
                hint=f"Write ./{text} for the folder.",
            )
        return
    folder = Path(resolve_path(text, str(root)))
    if not folder.is_dir():
        raise RecipeInvalid(
            f"There is no model folder {folder}.",
            hint="Check the path, or give a hub id such as Qwen/Qwen2.5-7B-Instruct.",
        )
    if not (folder / "config.json").is_file():
        inside = ", ".join(sorted(p.name for p in folder.iterdir())[:6]) or "nothing"
        raise RecipeInvalid(
            f"{folder} is not a model folder: it has no config.json (it holds {inside}).",
            hint="Point to the folder with config.json, the tokenizer files and the weights.",
        )
    kinds = ("*.safetensors", "*.bin", "*.gguf")
    if weights and not any(path for kind in kinds for path in folder.glob(kind)):
        raise RecipeInvalid(
            f"{folder} has a config.json and no weights (*.safetensors or *.bin).",
            hint="The download may be incomplete: repeat it, it resumes.",
        )


def model_type(folder: Path) -> str:
    """Return `model_type` of a model folder's config.json; empty when it does not say."""
    try:
        return str(json.loads((folder / "config.json").read_text()).get("model_type", ""))
    except (OSError, ValueError):
        return ""


def engine_env(place: Placement, model: str, *, on_cpu: bool) -> dict[str, str]:
    """Return the variables every engine wants: offline for local models, no spinning on a CPU.

    OpenMP threads that spin cost ten times on a busy machine, so a CPU run gets one.
    """
    env = {"HF_HUB_OFFLINE": "1"} if is_local(model) else {}
    if on_cpu:
        env["OMP_NUM_THREADS"] = "1"
    if place.interpreter.pythonpath:
        env["PYTHONPATH"] = ":".join(place.interpreter.pythonpath)
    return env


def to_yaml(settings: dict[str, object]) -> str:
    """Write flat settings as YAML that PyYAML reads back with the same types."""
    return "".join(f"{key}: {_scalar(value)}\n" for key, value in settings.items())


def _scalar(value: object) -> str:
    if isinstance(value, float):
        text = repr(value)
        mantissa, sign, exponent = text.partition("e")
        return f"{mantissa}.0e{exponent}" if sign and "." not in mantissa else text
    return json.dumps(value, ensure_ascii=False)
