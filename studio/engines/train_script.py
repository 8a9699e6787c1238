"""A training script of one's own: any `train.py` under accelerate, deepspeed, torchrun or alone."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

from studio.core.errors import RecipeInvalid
from studio.core.spec import Command, Interpreter, Placement, Resources, StopStep
from studio.engines.bars import last_bar
from studio.engines.engine import (
    Engine,
    EngineConfig,
    Point,
    Progress,
    engine_env,
    knob,
    resolve_path,
)
from studio.engines.launchers import Ask, Precision, decide
from studio.envs.catalog import LLAMAFACTORY
from studio.jobs.rundir import RunDir

MOST_LOG_BYTES = 4 * 2**20
"""How much of the end of a log is read for curves."""
_PRECISION: dict[str, Precision] = {"no": "fp32", "bf16": "bf16", "fp16": "fp16"}
_STEPS = ("step", "global_step", "current_steps", "steps")
_TOTALS = ("total_steps", "max_steps", "num_steps")
_ROW = re.compile(r"\{[^{}\r\n]*\}")
_BAR = re.compile(r"\|\s*(\d+)/\d+\s*\[")
_SPELT = {"learning_rate": "lr", "train_loss": "loss", "samples_per_second": "samples_per_s"}
_NO_CURVE = ("epoch", "total_flos", "num_input_tokens_seen", "train_runtime", "eval_runtime")


class TrainScriptConfig(EngineConfig):
    """Which script, and how it is started."""

    script: str = knob(
        title="Script",
        help="Path of a train.py. It runs in the run's own folder; write results to artifacts/.",
        zh=("脚本", "train.py 的路径。它在这次运行的目录里执行；结果请写到 artifacts/。"),
        min_length=1,
    )
    script_args: list[str] = knob(
        default_factory=list,
        title="Its arguments",
        help="Passed to the script, word for word.",
        zh=("脚本参数", "原样传给脚本。"),
    )
    launcher: Literal["accelerate", "deepspeed", "torchrun", "single"] = knob(
        "accelerate",
        title="Launcher",
        help="What starts the processes. single: python alone.",
        zh=("启动器", "由谁启动进程。single：直接用 python。"),
    )
    num_processes: int | None = knob(
        None,
        title="Processes",
        help="Empty: one per card, one on a CPU.",
        zh=("进程数", "留空则每张卡一个，CPU 上一个。"),
        ge=1,
    )
    strategy: Literal["ddp", "fsdp2", "zero1", "zero2", "zero3"] = knob(
        "ddp",
        title="Strategy",
        help="What the cards share out, for scripts that use Accelerate; ds.json in the run's "
        "folder holds it for DeepSpeed.",
        zh=(
            "并行策略",
            "多卡之间分摊什么（脚本用 Accelerate 时）；DeepSpeed 的配置在运行目录的 ds.json。",
        ),
        group="parallel",
    )
    mixed_precision: Literal["no", "bf16", "fp16"] = knob(
        "no",
        title="Mixed precision",
        help="Told to Accelerate; fp16 for V100 and older cards.",
        zh=("混合精度", "交给 Accelerate；V100 等旧卡用 fp16。"),
        group="precision",
    )
    gradient_accumulation_steps: int = knob(
        1,
        title="Accumulation",
        help="Steps gathered before an update, for scripts that ask Accelerate.",
        zh=("梯度累积", "累积多少步再更新一次（脚本用 Accelerate 时）。"),
        group="parallel",
        ge=1,
    )
    offload: Literal["none", "optimizer", "all"] = knob(
        "none",
        title="Wait in host memory",
        help="optimizer: its states. all: the weights, too (zero3, fsdp2).",
        zh=("卸载到内存", "optimizer：优化器状态。all：权重也放（zero3、fsdp2）。"),
        group="memory",
    )
    use_cpu: bool = knob(
        False,
        title="On the CPU",
        help="Runs without cards.",
        zh=("用 CPU", "不用显卡。"),
        group="precision",
    )
    python: str = knob(
        "",
        title="Python of your own",
        help="An interpreter that has what the script needs. Empty: LLaMA-Factory's environment, "
        "with PyTorch, Transformers, Accelerate, PEFT, TRL and DeepSpeed.",
        zh=(
            "自己的 Python",
            "装好脚本所需包的解释器。留空则用 LLaMA-Factory 的环境，"
            "其中有 PyTorch、Transformers、Accelerate、PEFT、TRL 和 DeepSpeed。",
        ),
        group="expert",
    )


class TrainScript(Engine[TrainScriptConfig]):
    """A script under a launcher, with the studio's placement, log, curves and stop."""

    id = "train-script"
    title = "Training script"
    env = LLAMAFACTORY
    Config = TrainScriptConfig

    def command(self, config: TrainScriptConfig, place: Placement) -> Command:
        """Return the launcher with the script; launchers' files are written into the run folder."""
        if config.python:
            python = resolve_path(config.python, place.root)
            own = Interpreter(name="own", python=python, scripts=False)
            place = place.model_copy(update={"interpreter": own})
        way = decide(self._ask(config), place.num_gpus)
        script = _path(config.script, place.root)
        words = (*config.script_args, *config.extra_args)
        env = engine_env(place, "", on_cpu=way.on_cpu) | way.env(place)
        env |= {"DO_NOT_TRACK": "1", "PYTHONUNBUFFERED": "1"}
        return Command(argv=way.argv(place, (script,), words), env=env, files=way.files())

    def check(self, config: TrainScriptConfig, root: Path) -> None:
        """Refuse a script or an interpreter that is not there."""
        path = Path(_path(config.script, str(root)))
        if not path.is_file():
            raise RecipeInvalid(
                f"There is no script {path}."
                if not path.exists()
                else f"{path} is a folder, not a script.",
                hint="Give the path of a .py file, absolute or from the studio's folder.",
            )
        python = Path(resolve_path(config.python, str(root)))
        if config.python and not python.is_file():
            raise RecipeInvalid(
                f"There is no Python {python}.",
                hint="Give the path of an interpreter, such as /opt/conda/envs/mine/bin/python.",
            )

    def resources(self, config: TrainScriptConfig, has_gpu: bool) -> Resources:
        """One card per process, one when nobody says; none on the CPU."""
        cards = (config.num_processes or 1) if has_gpu and not config.use_cpu else 0
        return Resources(num_gpus=cards)

    def ranks(self, config: TrainScriptConfig, num_gpus: int) -> int:
        """Return how many processes should come up."""
        return config.num_processes or num_gpus or 1

    def stop(self, config: TrainScriptConfig) -> tuple[StopStep, ...]:
        """SIGTERM to the launcher, which hands it on to its processes."""
        return (StopStep(signal="SIGTERM", to="group", grace_s=15, label="terminate"),)

    def points(self, run: RunDir) -> Iterator[Point]:
        """Yield what the script logged: a trainer's own state, else the rows it printed."""
        saved = list(_saved(run))
        yield from saved
        last = max((point.step for point in saved), default=0)
        yield from (point for point in _printed(run) if point.step > last)

    def progress(self, run: RunDir) -> Progress | None:
        """Return steps done, by the last row that says them, else by the last bar."""
        for row, _ in reversed(list(_rows(run))):
            done, total = _first(row, _STEPS), _first(row, _TOTALS)
            if done is not None and total:
                return Progress(done, total, f"step {done:g}/{total:g}")
        bar = last_bar(run.log)
        if bar is None:
            return None
        return Progress(bar.done, bar.total, f"step {bar.done}/{bar.total}", bar.remaining_s)

    def _ask(self, config: TrainScriptConfig) -> Ask:
        return Ask(
            launcher=config.launcher,
            num_processes=config.num_processes,
            strategy=config.strategy,
            offload=config.offload,
            precision=_PRECISION[config.mixed_precision],
            use_cpu=config.use_cpu,
            script=True,
            gradient_accumulation_steps=config.gradient_accumulation_steps,
        )


def _path(text: str, root: str) -> str:
    """Return an absolute path; a relative one starts at the studio's folder."""
    return str(Path(root, Path(text).expanduser()).resolve())


def _saved(run: RunDir) -> Iterator[Point]:
    """Yield the log of the newest trainer_state.json below the artifacts."""
    states = sorted(run.artifacts.rglob("trainer_state.json"), key=lambda p: p.stat().st_mtime)
    for path in reversed(states):
        try:
            history = json.loads(path.read_text(encoding="utf-8"))["log_history"]
        except (OSError, ValueError, KeyError):
            continue
        for row in history:
            if isinstance(row.get("step"), (int, float)):
                yield from _values(row, row["step"])
        return


def _printed(run: RunDir) -> Iterator[Point]:
    """Yield the rows of the log; one without a step has that of the bar before it."""
    for number, (row, bar) in enumerate(_rows(run), 1):
        step = _first(row, _STEPS)
        yield from _values(row, bar or number if step is None else step)


def _rows(run: RunDir) -> Iterator[tuple[dict[str, Any], int]]:
    """Yield JSON objects and Python dicts in the log, each with the bar's step before it."""
    try:
        with open(run.log, "rb") as file:
            size = file.seek(0, 2)
            file.seek(max(0, size - MOST_LOG_BYTES))
            text = file.read().decode(errors="replace")
    except FileNotFoundError:
        return
    step, since = 0, 0
    for found in _ROW.finditer(text):
        for bar in _BAR.finditer(text, since, found.start()):
            step = int(bar[1])
        since = found.end()
        row = _read(found[0])
        if row:
            yield row, step


def _read(text: str) -> dict[str, Any] | None:
    """Return a row of figures; texts that are numbers count as numbers."""
    try:
        row = json.loads(text) if '"' in text else ast.literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return None
    if not isinstance(row, dict):
        return None
    figures = {str(key): _figure(value) for key, value in row.items()}
    known = {key: value for key, value in figures.items() if value is not None}
    return known if any("loss" in key or key in _STEPS for key in known) else None


def _figure(value: Any) -> float | None:
    if isinstance(value, bool):
        return None
    try:
        return float(value)
    except (TypeError, ValueError):
        return None


def _values(row: dict[str, Any], step: float) -> Iterator[Point]:
    for name, value in row.items():
        named = name in _STEPS or name in _TOTALS or name in _NO_CURVE
        if not named and isinstance(value, (int, float)) and not isinstance(value, bool):
            yield Point(_SPELT.get(name, name), step, float(value))


def _first(row: dict[str, Any], names: tuple[str, ...]) -> float | None:
    return next((row[name] for name in names if isinstance(row.get(name), (int, float))), None)
