"""The shipped training recipes: each can be started as its header says, on 1, 2, 4 and 8 cards."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from studio.core.errors import RecipeInvalid
from studio.core.recipes import Recipe, Recipes, check_settings
from studio.core.settings import ROOT, Settings
from studio.core.spec import Command, Interpreter, Placement
from studio.engines.engine import Engine, is_local
from studio.engines.llamafactory_train import LlamaFactoryTrain
from studio.engines.train_script import TrainScript
from studio.planner.result import CardMemory
from studio.planner.training import plan_training
from studio.planner.training_result import TrainingPlan
from studio.studio import Studio

ENGINES: dict[str, Engine[Any]] = {
    engine.id: engine for engine in (LlamaFactoryTrain(), TrainScript())
}
SHIPPED = [
    recipe
    for recipe in Recipes(Path("/nowhere"), ROOT / "recipes").list()
    if recipe.engine in ENGINES
]
NAMED = {recipe.name.rpartition("/")[2]: recipe for recipe in SHIPPED}
ON_CARDS = [recipe for recipe in SHIPPED if not recipe.settings.get("use_cpu")]
ON_CPU = [recipe for recipe in SHIPPED if recipe.settings.get("use_cpu")]

USERS = {
    "qwen2.5-7b-lora": (1, "single", "ddp"),
    "qwen2.5-7b-lora-zero2": (2, "deepspeed", "zero2"),
    "qwen2.5-7b-lora-fsdp2": (2, "accelerate", "fsdp2"),
    "qwen2.5-0.5b-full-zero3": (4, "torchrun", "zero3"),
    "qwen2.5-1.5b-full": (1, "single", "ddp"),
    "qwen2-vl-7b-lora": (1, "single", "ddp"),
    "qwen2.5-7b-qlora": (1, "single", "ddp"),
    "qwen2.5-7b-dpo": (1, "single", "ddp"),
    "r1-distill-qwen-32b-lora-zero3": (8, "torchrun", "zero3"),
    "llama3-8b-accelerate": (8, "accelerate", "ddp"),
}
"""The users' configurations: cards, what starts them, what is shared out."""


def checked(recipe: Recipe, changes: dict[str, Any] | None = None) -> tuple[Engine[Any], Any]:
    engine = ENGINES[recipe.engine]
    settings = {**recipe.settings, **(changes or {})}
    return engine, check_settings(engine.Config, settings, recipe.name)


def cards_of(recipe: Recipe) -> int:
    """Return how many cards a recipe asks for on a machine that has some."""
    engine, config = checked(recipe)
    wanted = engine.resources(config, has_gpu=True).num_gpus
    return recipe.cards if isinstance(recipe.cards, int) else wanted


def command(recipe: Recipe, num_gpus: int, changes: dict[str, Any] | None = None) -> Command:
    engine, config = checked(recipe, changes)
    place = Placement(
        interpreter=Interpreter(name="it", python="/envs/it/bin/python"),
        root=str(ROOT),
        has_gpu=True,
        num_gpus=num_gpus,
        data_dir="/home/data",
        cache_dir="/home/cache",
    )
    return engine.command(config, place)


def ranks(recipe: Recipe, num_gpus: int) -> int:
    engine, config = checked(recipe)
    return engine.ranks(config, num_gpus)


def launcher(command: Command) -> str:
    """Return which program starts the processes, as the command line says."""
    words = [Path(word).name for word in command.argv]
    for name in ("deepspeed", "accelerate", "torchrun"):
        if name in words:
            return name
    return "torchrun" if "FORCE_TORCHRUN" in command.env else "single"


@pytest.mark.parametrize("name", USERS)
def test_users_configurations_are_there_by_name(name: str) -> None:
    recipe, (cards, program, shared) = NAMED[name], USERS[name]
    assert (cards_of(recipe), recipe.settings.get("strategy", "ddp")) == (cards, shared)
    assert launcher(command(recipe, cards)) == program


@pytest.mark.parametrize("recipe", ON_CARDS, ids=lambda recipe: recipe.name)
@pytest.mark.parametrize("num_gpus", [1, 2, 4, 8])
def test_command_for_other_numbers_of_cards(recipe: Recipe, num_gpus: int) -> None:
    """Every recipe scales, except that FSDP2 has nothing to share with one card."""
    if recipe.settings.get("strategy") == "fsdp2" and num_gpus == 1:
        with pytest.raises(RecipeInvalid, match="there is only one"):
            command(recipe, num_gpus)
        return
    made = command(recipe, num_gpus)
    assert ranks(recipe, num_gpus) == num_gpus
    match launcher(made):
        case "single":
            assert num_gpus == 1
        case "torchrun":
            assert made.env["NPROC_PER_NODE"] == str(num_gpus)
        case "accelerate":
            config = yaml.safe_load(made.files["accelerate.yaml"])
            assert config["num_processes"] == num_gpus
        case "deepspeed":
            assert "--num_gpus" not in made.argv, "it takes the cards it is given, all of them"


@pytest.mark.parametrize("recipe", ON_CPU, ids=lambda recipe: recipe.name)
def test_smoke_recipes_take_no_card(recipe: Recipe) -> None:
    """Also on a machine that has some: they are the first rung, and never wait in a queue."""
    assert cards_of(recipe) == 0
    made = command(recipe, 0)
    assert made.env["CUDA_VISIBLE_DEVICES"] == "" and made.env["OMP_NUM_THREADS"] == "1"
    assert ranks(recipe, 0) == recipe.settings.get("num_processes", 1)


@pytest.mark.parametrize("recipe", SHIPPED, ids=lambda recipe: recipe.name)
def test_sample_data_fit_the_stage(recipe: Recipe) -> None:
    """Preference pairs for dpo and rm, labels for kto, plain text for pt, pictures for vision."""
    if recipe.engine != "llamafactory-train" or recipe.settings.get("draw_pictures"):
        return
    table = json.loads((ROOT / "assets/data/dataset_info.json").read_text(encoding="utf-8"))
    for name in recipe.settings["dataset"].split(","):
        entry, stage = table[name], recipe.settings["stage"]
        assert entry.get("ranking", False) == (stage in ("dpo", "rm"))
        assert ("kto_tag" in entry["columns"]) == (stage == "kto")
        assert (entry["columns"].get("prompt") == "text") == (stage == "pt")
        if "images" in entry["columns"]:
            assert recipe.settings["template"] == "qwen2_vl"
            assert recipe.settings["dataset_dir"] == "assets/data", "pictures lie beside it"


@pytest.mark.parametrize("recipe", ON_CARDS, ids=lambda recipe: recipe.name)
def test_launch_is_accepted_in_a_fresh_home(
    recipe: Recipe, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The built-in samples are found by name, though nobody has opened the Data tab yet."""
    studio = Studio(settings)
    monkeypatch.setattr(studio.jobs, "submit", lambda spec, plan=None: spec)
    spec = studio.launch(studio.ask_for(recipe))
    assert spec.recipe == recipe.name and len(spec.after) == 1, "its environment is built first"
    written = yaml.safe_load(spec.command.files["train.yaml"])
    table = json.loads(Path(written["dataset_dir"], "dataset_info.json").read_text("utf-8"))
    assert written["dataset"] in table


def test_smoke_recipes_of_two_processes_differ_in_the_launch_alone() -> None:
    """So that their losses can be compared."""
    own = {"launcher", "strategy", "save_steps"}
    names = ["smoke-torchrun", "smoke-accelerate", "smoke-zero1", "smoke-zero2", "smoke-zero3"]
    rest = [
        {key: value for key, value in NAMED[name].settings.items() if key not in own}
        for name in names
    ]
    assert all(settings == rest[0] for settings in rest)


def test_comparison_base_takes_every_strategy() -> None:
    """DDP, ZeRO-1 to 3 and offload of the 1.5B model, everything else equal."""
    recipe = NAMED["qwen2.5-1.5b-full"]
    plain = yaml.safe_load(command(recipe, 2).files["train.yaml"])
    for stage in (1, 2, 3):
        for offload in ("none", "optimizer"):
            changes = {"strategy": f"zero{stage}", "offload": offload}
            made = command(recipe, 2, changes)
            written = yaml.safe_load(made.files["train.yaml"])
            assert written.pop("deepspeed")
            assert written == plain
            config = json.loads(made.files["ds.json"])["zero_optimization"]
            assert config["stage"] == stage
            assert ("offload_optimizer" in config) == (offload == "optimizer")


def test_hub_models_are_full_names_and_smoke_models_are_here() -> None:
    for recipe in SHIPPED:
        model = recipe.settings.get("model_name_or_path")
        if model is None:
            continue
        if recipe.settings.get("use_cpu"):
            assert is_local(model) and (ROOT / model / "config.json").is_file()
        else:
            assert re.fullmatch(r"[\w.-]+/[\w.-]+", model)


@pytest.mark.parametrize("recipe", ON_CARDS, ids=lambda recipe: recipe.name)
def test_recipe_fits_cards_of_24_gb_as_its_header_says(recipe: Recipe) -> None:
    too_small = recipe is NAMED["qwen2.5-1.5b-full"]
    assert planned(recipe, cards_of(recipe)).fits != too_small


def test_comparison_base_fits_two_such_cards_with_zero2() -> None:
    recipe = NAMED["qwen2.5-1.5b-full"]
    assert not planned(recipe, 2).fits
    assert planned(recipe, 2, {"strategy": "zero2"}).fits


def planned(recipe: Recipe, num_gpus: int, changes: dict[str, Any] | None = None) -> TrainingPlan:
    """Plan a recipe for so many idle cards of 24 GB."""
    engine, config = checked(recipe, changes)
    need = engine.training(config, num_gpus)
    assert need is not None and need.num_processes == num_gpus
    return plan_training(
        need,
        cards=[CardMemory(n, "RTX 4090", 24564 << 20, 0) for n in range(num_gpus)],
        root=ROOT,
        host_free_bytes=500 << 30,
        host_total_bytes=512 << 30,
        disk_free_bytes=1 << 40,
        hub=Path("/nowhere"),
    )
