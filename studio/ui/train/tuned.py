"""What a training made, served: where it answers already, and one click to make it answer.

An adapter is hung on a server that has its base model and takes adapters while it runs; where
there is none, vLLM is started with the base and the adapter on it, so that both answer side by
side. What vLLM cannot hang on (DoRA, modules trained whole) is merged by LLaMA-Factory's server. A
whole model gets a server of its own.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from studio.core.errors import NotFound, RecipeInvalid
from studio.core.settings import ROOT
from studio.core.spec import Endpoint, State
from studio.engines.adapters import check_adapter
from studio.engines.bases import base_of
from studio.engines.engine import resolve_path
from studio.engines.found import served_from
from studio.engines.trained import Trained, result, saved_at
from studio.engines.vllm_args import CPU_SLOTS
from studio.studio import Launch

if TYPE_CHECKING:
    from studio.jobs.jobs import Run
    from studio.studio import Studio

ON_CPU = {
    "dtype": "float32",
    "max_model_len": 2048,
    "max_num_seqs": 16,
    "kv_cache_memory_bytes": 256 * 2**20,
    "enforce_eager": True,
}
"""vLLM's settings for a server on the CPU, which is there to be asked a few questions."""
SERVERS_LOOKED_AT = 30
WITH_DATA = ("llamafactory-predict",)
"""Engines that are asked about the data the training was about."""
_MODEL_FIELDS = ("model", "model_name_or_path", "model_path")


class Served(NamedTuple):
    """Where a checkpoint answers: endpoint and model name, and the same of its base if it does."""

    endpoint: str
    model: str
    base_endpoint: str = ""
    base_model: str = ""


def found_in(run: Run, value: str) -> Trained:
    """Return the checkpoint that a button names: a step, or nothing for the result itself."""
    if value:
        return saved_at(run.dir, int(value))
    made = result(run.dir)
    if made is None:
        raise NotFound(f"Run {run.id} has left no model and no adapter.")
    return made


def served_at(studio: Studio, run: Run, made: Trained) -> Served | None:
    """Return where a checkpoint answers now, with its base beside it where that answers too."""
    folder, ends = str(made.folder), studio.endpoints()
    base = _base(made) or _model(run.spec.config)
    for end in ends:
        if end.run_id is None:
            continue
        server = studio.jobs.get(end.run_id)
        hung = _adapters(server)
        for name, path in hung.items():
            if _same(path, folder) and name in end.models:
                first = next((model for model in end.models if model not in hung), end.models[0])
                return Served(end.id, name, end.id, first)
        config = server.spec.config
        whole = _same(_model(config), folder)
        if (whole or _same(str(config.get("adapter_name_or_path") or ""), folder)) and end.models:
            other = _base_server(studio, ends, base, end.id)
            return Served(end.id, end.models[0], *other)
    return None


def starting(studio: Studio, made: Trained) -> Run | None:
    """Return a server on its way that will have a checkpoint; None when there is none."""
    return _on_its_way(studio, str(made.folder))


def serve(studio: Studio, run: Run, made: Trained) -> Run | None:
    """Make a checkpoint answer; return the server that was started, None for one that ran."""
    if made.kind == "adapter" and not _only_merged(made):
        name = called(run, made)
        home = _takes(studio, made, name)
        if home is not None:
            studio.load_adapter(home.id, name, str(made.folder))
            return None
    name = f"{run.spec.name}-{made.step}" if made.step is not None else f"{run.spec.name}-tuned"
    template = run.spec.config.get("template")
    if _only_merged(made) and template:
        settings = {"model_name_or_path": _base(made), "adapter_name_or_path": str(made.folder)}
        settings |= {"template": template}
        return studio.launch(Launch(engine="llamafactory-api", settings=settings, name=name))
    settings = served_from(made.folder)
    if settings is None:
        raise RecipeInvalid(
            f"{made.folder} holds nothing that can be served.",
            hint="Look at its files; a training that was stopped early may have saved nothing.",
        )
    if studio.envs.variant() != "cuda":
        settings = {**settings, **_on_cpu(made.folder)}
    return studio.launch(Launch(engine="vllm", settings=settings, name=name))


def serve_base(studio: Studio, run: Run) -> Run:
    """Start a server for the model that a training began with, to compare with."""
    settings: dict[str, Any] = {"model": _model(run.spec.config)}
    if studio.envs.variant() != "cuda":
        settings |= ON_CPU
    name = settings["model"].rstrip("/").rpartition("/")[2].lower()
    return studio.launch(Launch(engine="vllm", settings=settings, name=name))


def base_starting(studio: Studio, run: Run) -> Run | None:
    """Return a server on its way that will have the model a training began with."""
    return _on_its_way(studio, _model(run.spec.config))


def _on_cpu(folder: Path) -> dict[str, Any]:
    """Return the settings for a CPU; 4-bit kernels there want their weights' own data type."""
    try:
        packed = "quantization_config" in json.loads((folder / "config.json").read_text())
    except (OSError, ValueError):
        packed = False
    return {key: value for key, value in ON_CPU.items() if key != "dtype" or not packed}


def called(run: Run, made: Trained) -> str:
    """Return the model name an adapter gets when it is hung on a server that runs."""
    return f"{run.spec.name}-{run.id[-5:]}" + (f"-{made.step}" if made.step is not None else "")


def next_settings(studio: Studio, engine_id: str, run: Run, made: Trained) -> dict[str, Any]:
    """Return the settings that an engine after training begins with; empty without the engine."""
    engine = studio.engines.get(engine_id)
    if engine is None:
        return {}
    config, adapter = run.spec.config, made.kind == "adapter"
    model = (_base(made) or _model(config)) if adapter else str(made.folder)
    path = str(made.folder) if adapter else ""
    told: dict[str, Any] = {"pretrained": model, "peft": path}
    told |= {"model_name_or_path": model, "adapter_name_or_path": path}
    if engine_id in WITH_DATA:
        told["eval_dataset"] = config.get("eval_dataset") or config.get("dataset")
        told["dataset_dir"] = config.get("dataset_dir")
    told |= {key: config.get(key) for key in ("template", "trust_remote_code", "cutoff_len")}
    if config.get("use_cpu"):
        told |= {"use_cpu": True, "device": "cpu"}
    fields = engine.Config.model_fields
    return {key: value for key, value in told.items() if key in fields and value}


def query(settings: dict[str, Any]) -> str:
    """Return settings as a link carries them."""
    return json.dumps(settings, ensure_ascii=False)


# inside -----------------------------------------------------------------------------------------


def _adapters(run: Run) -> dict[str, str]:
    """Return the adapters of a server by name: those of its start and those hung on since."""
    found = {}
    for item in run.spec.config.get("lora_modules") or ():
        name, _, path = str(item).partition("=")
        found[name] = path
    found |= {row["name"]: row["folder"] for row in run.dir.adapters() if row["op"] == "load"}
    return found


def _on_its_way(studio: Studio, wanted: str) -> Run | None:
    for run in studio.jobs.list(limit=SERVERS_LOOKED_AT, serves=True):
        if run.state not in (State.QUEUED, State.STARTING, State.RUNNING):
            continue
        has = [_model(run.spec.config), *_adapters(run).values()]
        if any(_same(path, wanted) for path in has):
            return run
    return None


def _only_merged(made: Trained) -> bool:
    """Tell whether vLLM cannot hang an adapter on: DoRA, or modules that were trained whole."""
    try:
        told = json.loads((made.folder / "adapter_config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return bool(told.get("use_dora") or told.get("modules_to_save"))


def _takes(studio: Studio, made: Trained, name: str) -> Endpoint | None:
    """Return a ready server that has the base and takes this adapter while it runs."""
    base = _base(made)
    for end in studio.endpoints():
        if end.run_id is None or not end.hot_lora:
            continue
        server = studio.jobs.get(end.run_id)
        config = server.spec.config
        if not base or not _same(_model(config), base):
            continue
        full = len(_adapters(server)) + 1 >= max(config.get("max_loras") or 1, CPU_SLOTS)
        if full and studio.envs.variant() != "cuda":  # its last slot has to stay empty
            continue
        try:
            check_adapter(name, str(made.folder), ROOT, config.get("max_lora_rank"))
        except RecipeInvalid:  # its rank is more than this server was started for
            continue
        return end
    return None


def _base_server(
    studio: Studio, ends: list[Endpoint], base: str, but: str
) -> tuple[str, str] | tuple[()]:
    for end in ends:
        if end.run_id is None or end.id == but or not end.models:
            continue
        if base and _same(_model(studio.jobs.get(end.run_id).spec.config), base):
            return end.id, end.models[0]
    return ()


def _base(made: Trained) -> str:
    """Return the model that an adapter was trained on; empty for a whole model."""
    return base_of(str(made.folder), ROOT) if made.kind == "adapter" else ""


def _model(config: dict[str, Any]) -> str:
    return next((str(config[key]) for key in _MODEL_FIELDS if config.get(key)), "")


def _same(left_path: str, right_path: str) -> bool:
    """Tell whether two names mean one folder, or are one hub id."""
    if not left_path or not right_path:
        return False
    one, two = (resolve_path(text, str(ROOT)) for text in (left_path, right_path))
    return one == two or (Path(one).is_absolute() and Path(one).resolve() == Path(two).resolve())
