"""The image editor: Qwen-Image-Edit by diffusers behind OpenAI's image API, on the best rung."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from pathlib import Path

from studio.core.errors import EnvMissing, RecipeInvalid
from studio.core.spec import (
    Command,
    EndpointSpec,
    Imaging,
    Interpreter,
    Placement,
    Probe,
    Resources,
    Scrape,
    StopStep,
)
from studio.engines.engine import Engine, Point, Progress, engine_env, is_local, resolve_path
from studio.engines.image_fields import MODEL, ImageEditConfig
from studio.engines.image_files import check_gguf, check_image_model, check_lora
from studio.engines.image_progress import loading, pictures
from studio.engines.workers.image_edit.ordinary import Ordinary
from studio.envs.catalog import DIFFUSERS
from studio.envs.packages import package_version
from studio.jobs.rundir import RunDir

WORKER = Path(__file__).with_name("workers") / "image_worker.py"
CONFIG = "image.json"
STATE = "image-edit"
MODEL_DIR = "QWEN_EDIT_2511_DIR"
"""Variable that names a folder to take instead of downloading the default model."""
ON_CPU = ("cpu", "cpu-fp8")


class ImageEdit(Engine[ImageEditConfig]):
    """`workers/image_worker.py`: a front with the queue, and a child that holds the pipeline.

    One card unless a person gives more. Auto uses every card it was given: a model that fits one
    whole stays there, a text encoder goes to a second card with room for it, and transformer
    blocks are dealt over all of them when one is too small.
    """

    id = "image-edit"
    title = "Image editor"
    env = DIFFUSERS
    Config = ImageEditConfig
    serves = True

    def command(self, config: ImageEditConfig, place: Placement) -> Command:
        """Return `python image_worker.py --config image.json`; the settings lie beside the run."""
        if config.device == "cuda" and not place.has_gpu:
            raise RecipeInvalid(
                "device = cuda needs a CUDA card, and this machine has none.",
                hint="Set device to auto or cpu.",
            )
        settings = config.model_dump(mode="json", exclude={"extra_args", "api_key", "port"})
        settings["model"] = resolve_path(model_of(config), place.root)
        settings["gguf"] = _path(config.gguf, place.root)
        settings["lightning"] = _path(config.lightning, place.root)
        settings["loras"] = [
            f"{style.name}={resolve_path(style.path, place.root)}@{style.scale:g}"
            for style in config.styles
        ]
        settings["served_model_name"] = config.name
        settings["port"] = place.port
        settings["state_dir"] = str(Path(place.cache_dir) / STATE)
        text = json.dumps(settings, indent=2, ensure_ascii=False) + "\n"
        return Command(
            argv=(place.interpreter.python, str(WORKER), "--config", CONFIG, *config.extra_args),
            env=self._env(config, place),
            files={CONFIG: text},
        )

    def _env(self, config: ImageEditConfig, place: Placement) -> dict[str, str]:
        on_cpu = config.device == "cpu" or not place.has_gpu
        env = engine_env(place, model_of(config), on_cpu=False)
        if any(name and not is_local(name) for name in _files(config)):
            env.pop("HF_HUB_OFFLINE", None)
        env["HF_HUB_DISABLE_TELEMETRY"] = "1"
        if on_cpu:
            env["OMP_WAIT_POLICY"] = "PASSIVE"  # spinning threads cost ten times on shared cores
            env["CUDA_VISIBLE_DEVICES"] = ""
        else:
            env["PYTORCH_ALLOC_CONF"] = "expandable_segments:True"
        if config.num_threads:
            env["OMP_NUM_THREADS"] = str(config.num_threads)
        if config.api_key:
            env["STUDIO_ENDPOINT_KEY"] = config.api_key
        return env

    def check(self, config: ImageEditConfig, root: Path) -> None:
        """Refuse what is no edit model, missing shards, LoRA or GGUF files that are not there."""
        dummy = config.load_format == "dummy"
        check_image_model(
            model_of(config), root, dummy=dummy, without_transformer=bool(config.gguf)
        )
        if config.gguf:
            check_gguf(config.gguf, root)
        if config.lightning:
            check_lora("lightning", config.lightning, root)
        for style in config.styles:
            check_lora(style.name, style.path, root)

    def check_env(self, config: ImageEditConfig, interpreter: Interpreter) -> None:
        """Refuse settings whose package an adopted environment has not got."""
        for package, needed_by in (
            ("bitsandbytes", "rung = nf4" if config.rung == "nf4" else ""),
            ("gguf", "gguf" if config.gguf else ""),
            ("peft", "loras" if config.loras or config.lightning else ""),
        ):
            if needed_by and package_version(interpreter, package) == "":
                raise EnvMissing(
                    f"diffusers' environment has no {package}, which {needed_by} needs.",
                    hint="Build the studio's own environment, or install the package there.",
                )

    def resources(self, config: ImageEditConfig, has_gpu: bool) -> Resources:
        """One card; two to split; none on the CPU."""
        if not has_gpu or config.device == "cpu" or config.rung in ON_CPU:
            return Resources()
        return Resources(num_gpus=2 if config.rung == "split" else 1)

    def probe(self, config: ImageEditConfig) -> Probe:
        """Ready when the first rung is loaded; reading 58 GB from a slow disk takes its time."""
        return Probe(path="/health", timeout_s=3600)

    def stop(self, config: ImageEditConfig) -> tuple[StopStep, ...]:
        """The front ends its child, which stops between two steps."""
        return (
            StopStep(signal="SIGTERM", to="root", grace_s=20, label="terminate"),
            StopStep(signal="SIGTERM", to="group", grace_s=5, label="terminate"),
        )

    def endpoint(self, config: ImageEditConfig) -> EndpointSpec:
        """OpenAI's image API."""
        return EndpointSpec(kind="images", models=(config.name,))

    def scrape(self, config: ImageEditConfig) -> Scrape:
        """The editor's own figures: jobs, steps, seconds, memory, falls."""
        return Scrape(prefixes=("image_",))

    def imaging(self, config: ImageEditConfig) -> Imaging:
        """Return what decides which rungs fit and how long a picture takes."""
        ordinary = Ordinary.of(config.model_dump())
        return Imaging(
            model=model_of(config),
            gguf=config.gguf,
            dummy_weights=config.load_format == "dummy",
            rung=config.rung,
            device=config.device,
            dtype=config.dtype,
            allow_quantized=config.allow_quantized,
            max_card_memory_gib=config.max_card_memory_gib,
            max_host_memory_gib=config.max_host_memory_gib,
            vae_tiling=config.vae_tiling,
            width=ordinary.side,
            height=ordinary.side,
            reference_pixels=ordinary.reference_pixels,
            condition_pixels=config.condition_pixels,
            num_inference_steps=config.steps,
            cfg=config.cfg,
            cfg_mode=config.cfg_mode,
            fp8_compute=config.fp8_compute,
            compile=config.compile,
        )

    def progress(self, run: RunDir) -> Progress | None:
        """Return how far loading is."""
        return loading(run)

    def points(self, run: RunDir) -> Iterable[Point]:
        """Yield the seconds of a step and of a picture, job by job."""
        return pictures(run)


def model_of(config: ImageEditConfig) -> str:
    """Return the model; the default one may lie in the folder that QWEN_EDIT_2511_DIR names."""
    return (config.model == MODEL and os.environ.get(MODEL_DIR)) or config.model


def _path(text: str, root: str) -> str:
    return resolve_path(text, root) if text else ""


def _files(config: ImageEditConfig) -> tuple[str, ...]:
    return (config.gguf, config.lightning, *(style.path for style in config.styles))
