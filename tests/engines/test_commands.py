"""Golden commands: the argv and files of every engine, and of every shipped recipe."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from studio.core.discover import load_subclasses
from studio.core.errors import RecipeInvalid
from studio.core.recipes import Recipe, Recipes, check_settings
from studio.core.settings import ROOT
from studio.core.spec import Interpreter, Placement
from studio.engines.engine import GROUPS, Engine
from studio.engines.llamafactory_api import LlamaFactoryApi
from studio.engines.llamafactory_train import LlamaFactoryTrain
from studio.engines.templates import check_template
from studio.engines.vllm import Vllm

CPU = Placement(
    interpreter=Interpreter(name="it", python="/envs/it/bin/python"), port=8001, root="/repo"
)
GPU = CPU.model_copy(update={"has_gpu": True})
OVERLAY = CPU.model_copy(
    update={
        "interpreter": Interpreter(
            name="it", python="/usr/bin/python3", scripts=False, pythonpath=("/site-vllm",)
        )
    }
)

ENGINES = {cls.id: cls() for cls in load_subclasses("studio.engines", Engine, "none")}
SHIPPED = Recipes(Path("/nowhere"), ROOT / "recipes").list()


def argv(engine: Engine, settings: dict, place: Placement = CPU) -> list[str]:
    config = check_settings(engine.Config, settings, "settings")
    return list(engine.command(config, place).argv)


def test_vllm_smallest() -> None:
    assert argv(Vllm(), {"model": "assets/models/tiny"}) == [
        *("/envs/it/bin/vllm", "serve", "/repo/assets/models/tiny"),
        *("--host", "127.0.0.1", "--port", "8001", "--served-model-name", "tiny"),
    ]


def test_vllm_two_cards_as_people_type_it() -> None:
    settings = {
        "model": "Qwen/Qwen2.5-14B-Instruct",
        "tensor_parallel_size": 2,
        "max_model_len": 8192,
        "dtype": "bfloat16",
        "extra_args": ["--enable-prefix-caching"],
    }
    assert argv(Vllm(), settings, GPU)[2:] == [
        "Qwen/Qwen2.5-14B-Instruct",
        *("--host", "127.0.0.1", "--port", "8001"),
        *("--served-model-name", "Qwen2.5-14B-Instruct", "--tensor-parallel-size", "2"),
        *("--max-model-len", "8192", "--gpu-memory-utilization", "0.9", "--dtype", "bfloat16"),
        "--enable-prefix-caching",
    ]


def test_vllm_in_an_adopted_overlay() -> None:
    command = Vllm().command(Vllm.Config(model="/m"), OVERLAY)
    assert command.argv[:4] == ("/usr/bin/python3", "-m", "vllm.entrypoints.cli.main", "serve")
    assert command.env["PYTHONPATH"] == "/site-vllm"
    assert command.env["HF_HUB_OFFLINE"] == "1"


def test_vllm_key_is_in_the_environment_not_in_the_command() -> None:
    command = Vllm().command(Vllm.Config(model="/m", api_key="s3cret"), CPU)
    assert "s3cret" not in " ".join(command.argv)
    assert command.env["VLLM_API_KEY"] == "s3cret"


def test_llamafactory_api() -> None:
    config = LlamaFactoryApi.Config(model_name_or_path="assets/models/tiny", template="qwen")
    command = LlamaFactoryApi().command(config, CPU)
    assert command.argv == ("/envs/it/bin/llamafactory-cli", "api", "api.yaml")
    assert yaml.safe_load(command.files["api.yaml"]) == {
        "model_name_or_path": "/repo/assets/models/tiny",
        "template": "qwen",
        "infer_backend": "huggingface",
        "infer_dtype": "auto",
    }
    assert (command.env["API_HOST"], command.env["API_PORT"]) == ("127.0.0.1", "8001")


def test_llamafactory_train_keeps_types_and_leaves_lora_keys_out_of_a_full_run() -> None:
    settings = {
        "model_name_or_path": "/m",
        "dataset": "a,b",
        "template": "qwen",
        "finetuning_type": "full",
        "learning_rate": 1e-5,
    }
    config = check_settings(LlamaFactoryTrain.Config, settings, "settings")
    command = LlamaFactoryTrain().command(config, CPU)
    written = yaml.safe_load(command.files["train.yaml"])
    assert written["learning_rate"] == 1e-5 and isinstance(written["learning_rate"], float)
    assert written["save_strategy"] == "no"
    assert not [key for key in written if key.startswith("lora_")]
    assert written["output_dir"] == "artifacts/output"


@pytest.mark.parametrize("recipe", SHIPPED, ids=lambda recipe: recipe.name)
def test_every_shipped_recipe(recipe: Recipe) -> None:
    """Its engine exists, its settings are valid, its command is made, its files are there."""
    engine = ENGINES[recipe.engine]
    config = check_settings(engine.Config, recipe.settings, recipe.name)
    engine.check(config, ROOT)
    cards = len(recipe.cards) if isinstance(recipe.cards, list) else recipe.cards
    num_gpus = engine.resources(config, True).num_gpus if cards is None else cards
    place = GPU.model_copy(update={"num_gpus": num_gpus})
    assert engine.command(config, place).argv
    head = recipe.path.read_text(encoding="utf-8").split("engine:")[0]
    study = recipe.name.removeprefix("studies/")
    words = f"study {study}" if recipe.engine == "study" else f"run {recipe.name}"
    assert f"python app.py {words}" in head, "the header says how to launch it"
    assert any("\u4e00" <= c <= "\u9fff" for c in head), "in Chinese too"


def test_exactly_one_recipe_is_first() -> None:
    assert len([recipe for recipe in SHIPPED if recipe.first]) == 1


@pytest.mark.parametrize("engine", ENGINES.values(), ids=lambda engine: engine.id)
def test_every_field_has_both_languages(engine: Engine) -> None:
    for name, field in engine.Config.model_fields.items():
        extra = field.json_schema_extra
        assert field.title and field.description, name
        assert extra["group"] in GROUPS, name
        assert extra["zh"]["title"] and extra["zh"]["description"], name


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_every_group_has_a_name(lang: str) -> None:
    words = yaml.safe_load((ROOT / f"assets/locales/{lang}/engine.yaml").read_text("utf-8"))
    assert tuple(words["engine"]["group"]) == GROUPS
    assert all(words["engine"]["group"].values())


def test_bad_model_paths(tmp_path: Path) -> None:
    engine = Vllm()
    (tmp_path / "empty").mkdir()
    (tmp_path / "half").mkdir()
    (tmp_path / "half" / "config.json").write_text("{}")
    (tmp_path / "org").mkdir()
    (tmp_path / "org" / "model").mkdir()
    for model, says in [
        ("./nowhere", "There is no model folder"),
        ("./empty", "is not a model folder: it has no config.json"),
        ("./half", "no weights"),
        ("org/model", "Write ./org/model for the folder"),
    ]:
        with pytest.raises(RecipeInvalid) as caught:
            engine.check(engine.Config(model=model), tmp_path)
        assert says in str(caught.value)


def test_templates(tmp_path: Path) -> None:
    with pytest.raises(RecipeInvalid, match="Did you mean qwen2_vl"):
        check_template("qwen2-vl", "Qwen/Qwen2-VL-7B", tmp_path)
    (tmp_path / "config.json").write_text('{"model_type": "qwen2_vl"}')
    with pytest.raises(RecipeInvalid, match="does not fit a qwen2_vl model"):
        check_template("qwen", str(tmp_path), tmp_path)
    check_template("qwen2_vl", str(tmp_path), tmp_path)


def test_misspelt_dataset() -> None:
    config = LlamaFactoryTrain.Config(
        model_name_or_path="assets/models/tiny-qwen2.5",
        template="qwen",
        dataset="smoke_zh_enn",
        dataset_dir="assets/data",
    )
    with pytest.raises(RecipeInvalid, match="Did you mean smoke_zh_en"):
        LlamaFactoryTrain().check(config, ROOT)
