"""Making the tiny image editor of random weights, or the skeleton of the true shape."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from studio.core.spec import Command, Placement
from studio.engines.engine import Engine, EngineConfig, engine_env, knob
from studio.envs.catalog import DIFFUSERS

OUTPUT = "artifacts/model"
"""The model folder it writes, in the run folder."""
_WORKER = Path(__file__).with_name("workers") / "make_tiny_image_edit.py"


class MakeTinyImageConfig(EngineConfig):
    """Which of the two folders to write."""

    shape: Literal["tiny", "qwen-image-edit-2511"] = knob(
        "tiny",
        title="Shape",
        help="tiny writes a whole model of random weights, 2.3 MB. qwen-image-edit-2511 writes the "
        "configurations of the true size and no weights.",
        zh=(
            "结构",
            "tiny：写出完整的随机权重小模型，2.3 MB。"
            "qwen-image-edit-2511：只写出真实尺寸的配置，不含权重。",
        ),
    )


class MakeTinyImage(Engine[MakeTinyImageConfig]):
    """`workers/make_tiny_image_edit.py` in the diffusers environment; no card."""

    id = "make-tiny-image"
    title = "Tiny image editor"
    env = DIFFUSERS
    Config = MakeTinyImageConfig

    def command(self, config: MakeTinyImageConfig, place: Placement) -> Command:
        """Return the worker's command; it writes OUTPUT."""
        return Command(
            argv=(
                *(place.interpreter.python, str(_WORKER)),
                *("--out", OUTPUT, "--shape", config.shape, *config.extra_args),
            ),
            env={
                **engine_env(place, "assets/models", on_cpu=True),
                "CUDA_VISIBLE_DEVICES": "",
            },
        )
