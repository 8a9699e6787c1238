"""Work on big data files as a run: it goes on when the page is closed, and can be stopped."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any, Literal

from studio.core.errors import RecipeInvalid
from studio.core.spec import Command, Placement, StopStep
from studio.data.operations import operation
from studio.engines.engine import Engine, EngineConfig, Progress, knob, resolve_path
from studio.jobs.rundir import RunDir, read_rows

_WORKER = (sys.executable, "-m", "studio.data")


class DataWorkConfig(EngineConfig):
    """What to do; `studio.data.work` writes these settings."""

    verb: Literal["add", "apply", "merge"] = knob(
        title="Work",
        help="add imports a file, apply changes a data set, merge puts several together.",
        zh=("工作", "add 导入文件，apply 处理数据集，merge 合并多个数据集。"),
    )
    name: str = knob(
        "",
        title="Data set",
        help="Name of the new data set, or of the one that is changed.",
        zh=("数据集", "新数据集的名字，或要处理的数据集。"),
    )
    path: str = knob(
        "",
        title="File",
        help="The file that is imported.",
        zh=("文件", "要导入的文件。"),
    )
    upload: bool = knob(
        False,
        title="Uploaded",
        help="Keeps a copy of the file and takes only pictures that lie beside it.",
        zh=("来自上传", "保留文件副本，只接受与它放在一起的图片。"),
    )
    mapping: dict[str, str] = knob(
        {},
        title="Columns",
        help="Column of the file and what it is: prompt, response, messages, ...",
        zh=("列映射", "文件的列对应什么，如 prompt、response、messages。"),
    )
    names: list[str] = knob(
        [],
        title="Data sets to merge",
        help="Names of data sets of one kind.",
        zh=("要合并的数据集", "同一种类的数据集名字。"),
    )
    as_name: str = knob(
        "",
        title="Name of the result",
        help="Empty makes the next version of the same data set.",
        zh=("结果的名字", "留空则成为同一数据集的新版本。"),
    )
    op: str = knob(
        "",
        title="Operation",
        help="deduplicate, filter, split, sample or convert.",
        zh=("操作", "deduplicate、filter、split、sample 或 convert。"),
    )
    settings: dict[str, Any] = knob(
        {},
        title="Settings of the operation",
        help="For example {rows: 1000, seed: 42} for sample.",
        zh=("操作的设置", "例如 sample 用 {rows: 1000, seed: 42}。"),
    )


class DataWork(Engine[DataWorkConfig]):
    """`python -m studio.data`, in the studio's own interpreter."""

    id = "data-work"
    title = "Data"
    env = None
    Config = DataWorkConfig

    def command(self, config: DataWorkConfig, place: Placement) -> Command:
        """Return the worker's command; what to do lies in `work.json` of the run folder."""
        work = config.model_dump(exclude={"extra_args"}, exclude_defaults=True)
        if config.path:
            work["path"] = resolve_path(config.path, place.root)
        home = str(Path(place.data_dir).parent)
        return Command(
            argv=(*_WORKER, "work.json", "--home", home, *config.extra_args),
            env={"PYTHONPATH": place.root, "PYTHONUTF8": "1"},
            files={"work.json": json.dumps(work, ensure_ascii=False, indent=1) + "\n"},
        )

    def check(self, config: DataWorkConfig, root: Path) -> None:
        """Refuse work that lacks its file, its names or its operation."""
        if config.verb == "add":
            if not config.name:
                raise RecipeInvalid("The new data set needs a name.", hint="Set name.")
            if not Path(resolve_path(config.path, str(root))).is_file():
                raise RecipeInvalid(f"There is no file {config.path}.", hint="Check the path.")
        elif config.verb == "merge":
            if len(config.names) < 2 or not config.as_name:
                raise RecipeInvalid(
                    "A merge needs two data sets and a name.", hint="Set names and as_name."
                )
        else:
            operation(config.op, config.settings)

    def stop(self, config: DataWorkConfig) -> tuple[StopStep, ...]:
        """What is half written is removed; data sets that exist are not touched."""
        return (StopStep(signal="SIGTERM", to="group", grace_s=10, label="terminate"),)

    def progress(self, run: RunDir) -> Progress | None:
        """Return the worker's own count: bytes of a file, or rows of a data set."""
        rows = read_rows(run.artifacts / "progress.jsonl")
        return Progress(rows[-1]["done"], max(1, rows[-1]["total"])) if rows else None
