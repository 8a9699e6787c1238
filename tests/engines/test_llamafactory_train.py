"""LLaMA-Factory as a trainer: what train.yaml says for each way, and what is refused before."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from studio.core.errors import EnvMissing, RecipeInvalid
from studio.core.recipes import check_settings
from studio.core.settings import ROOT
from studio.core.spec import Command, Interpreter, Placement
from studio.engines.llamafactory_train import LlamaFactoryTrain
from studio.engines.training_fields import NO_PPO
from studio.ui.forms.form import fields_of

ENGINE = LlamaFactoryTrain()
BIN = "/envs/lf/bin"
CPU = Placement(
    interpreter=Interpreter(name="lf", python=f"{BIN}/python"),
    root="/repo",
    data_dir="/home/data",
    cache_dir="/home/cache",
)
OVERLAY = CPU.model_copy(
    update={
        "interpreter": Interpreter(
            name="own", python="/usr/bin/python3", scripts=False, pythonpath=("/site",)
        )
    }
)
LEAST: dict[str, Any] = {"model_name_or_path": "/m", "dataset": "a", "template": "qwen"}


def cards(count: int) -> Placement:
    return CPU.model_copy(update={"has_gpu": True, "num_gpus": count})


def command(place: Placement, **changes: Any) -> Command:
    config = check_settings(ENGINE.Config, {**LEAST, **changes}, "settings")
    return ENGINE.command(config, place)


def written(place: Placement, **changes: Any) -> dict[str, Any]:
    return yaml.safe_load(command(place, **changes).files["train.yaml"])


def test_one_card() -> None:
    made = command(cards(1), bf16=True)
    assert made.argv == (f"{BIN}/llamafactory-cli", "train", "train.yaml")
    assert list(made.files) == ["train.yaml"]
    assert "use_cpu" not in yaml.safe_load(made.files["train.yaml"])


def test_two_cards_start_as_llamafactory_users_start_them() -> None:
    made = command(cards(2), extra_args=["adam_beta2=0.98"])
    assert made.argv == (f"{BIN}/llamafactory-cli", "train", "train.yaml", "adam_beta2=0.98")
    assert made.env["FORCE_TORCHRUN"] == "1"
    assert made.env["NPROC_PER_NODE"] == "2"
    assert "MASTER_PORT" not in made.env, "LLaMA-Factory finds a free one when it starts"


@pytest.mark.parametrize("why", ["overlay", "spaces"])
def test_where_llamafactory_cannot_start_torchrun_itself(why: str) -> None:
    """It looks for the program on PATH and breaks words at spaces."""
    place = OVERLAY if why == "overlay" else CPU
    extra = ["run_name=my run"] if why == "spaces" else []
    made = command(place, num_processes=2, extra_args=extra)
    assert "FORCE_TORCHRUN" not in made.env
    assert "--standalone" in made.argv
    assert made.argv[-3 - len(extra) :] == ("-m", "llamafactory.launcher", "train.yaml", *extra)


def test_an_overlay_on_one_card() -> None:
    made = command(OVERLAY.model_copy(update={"has_gpu": True, "num_gpus": 1}))
    assert made.argv == ("/usr/bin/python3", "-m", "llamafactory.cli", "train", "train.yaml")
    assert made.env["PYTHONPATH"] == "/site"


@pytest.mark.parametrize(
    ("launcher", "key", "files"),
    [
        ("torchrun", "ds.json", ["train.yaml", "ds.json"]),
        ("deepspeed", "ds.json", ["train.yaml", "ds.json"]),
        ("accelerate", None, ["train.yaml", "ds.json", "accelerate.yaml"]),
    ],
)
def test_deepspeed_is_named_once(launcher: str, key: str | None, files: list[str]) -> None:
    """Accelerate hands its config to the trainer by itself."""
    made = command(cards(2), launcher=launcher, strategy="zero2")
    assert yaml.safe_load(made.files["train.yaml"]).get("deepspeed") == key
    assert list(made.files) == files


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({}, True),
        ({"num_processes": 2}, True),
        ({"num_processes": 2, "strategy": "zero2"}, True),
        ({"num_processes": 2, "strategy": "zero2", "bf16": True}, True),
        ({"num_processes": 2, "strategy": "zero3"}, None),
        ({"deepspeed": "/my.json"}, None),
        ({"deepspeed": "/my.json", "bf16": True}, True),
    ],
)
def test_use_cpu_where_it_helps_and_not_where_it_breaks(
    changes: dict[str, Any], says: bool | None
) -> None:
    assert written(CPU, **changes).get("use_cpu") is says


def test_deepspeed_under_llamafactorys_own_torchrun() -> None:
    made = command(cards(2), strategy="zero3")
    assert made.argv[0] == f"{BIN}/python" and made.argv[1].endswith("deepspeed_start.py")
    assert made.argv[2:] == (f"{BIN}/llamafactory-cli", "train", "train.yaml")
    assert made.env["FORCE_TORCHRUN"] == "1"


def test_a_config_of_ones_own() -> None:
    assert written(cards(1), deepspeed="./ds/mine.json")["deepspeed"] == "/repo/ds/mine.json"


def test_data_sets_are_the_studios_unless_a_folder_is_named() -> None:
    assert written(CPU)["dataset_dir"] == "/home/data"
    assert written(CPU, dataset_dir="assets/data")["dataset_dir"] == "/repo/assets/data"


def test_keys_go_with_their_method() -> None:
    lora = written(CPU, use_dora=True, lora_dropout=0.1, pissa_iter=4)
    assert (lora["use_dora"], lora["lora_dropout"]) == (True, 0.1)
    assert "pissa_iter" not in lora and "pref_loss" not in lora and "quantization_bit" not in lora
    full = written(CPU, finetuning_type="full", lora_rank=64)
    assert not [key for key in full if key.startswith(("lora", "freeze_train"))]
    freeze = written(CPU, finetuning_type="freeze", freeze_trainable_layers=3)
    assert freeze["freeze_trainable_layers"] == 3
    dpo = written(CPU, stage="dpo", pref_loss="simpo", simpo_gamma=1.5)
    assert (dpo["pref_loss"], dpo["simpo_gamma"]) == ("simpo", 1.5)
    quantized = written(cards(1), quantization_bit="4")
    assert quantized["quantization_bit"] == 4
    assert quantized["quantization_type"] == "nf4" and quantized["double_quantization"] is True


def test_evaluation_and_saving() -> None:
    assert "eval_strategy" not in written(CPU, eval_steps=5)
    assert written(CPU, val_size=0.1)["eval_strategy"] == "epoch"
    every = written(CPU, eval_dataset="b", eval_steps=5, save_steps=10, save_total_limit=2)
    assert (every["eval_strategy"], every["eval_steps"], every["eval_dataset"]) == ("steps", 5, "b")
    assert (every["save_strategy"], every["save_total_limit"]) == ("steps", 2)
    assert every["per_device_eval_batch_size"] == 1, "the trainer's own 8 runs out of memory"


@pytest.mark.parametrize(
    ("name", "variable"),
    [
        ("tensorboard", "TENSORBOARD_LOGGING_DIR"),
        ("trackio", "TRACKIO_DIR"),
        ("wandb", "WANDB_DIR"),
    ],
)
def test_other_programs_write_into_the_run_folder(name: str, variable: str) -> None:
    made = command(CPU, report_to=name, run_name="mine")
    told = yaml.safe_load(made.files["train.yaml"])
    assert (told["report_to"], told["run_name"]) == (name, "mine")
    assert made.env[variable].startswith("artifacts")
    assert name != "wandb" or made.env["WANDB_MODE"] == "offline"


def test_swanlab_goes_by_llamafactorys_own_keys() -> None:
    told = written(CPU, report_to="swanlab", run_name="mine")
    assert (told["use_swanlab"], told["swanlab_mode"], told["report_to"]) == (True, "local", "none")
    assert (told["swanlab_logdir"], told["swanlab_run_name"]) == ("artifacts/swanlab", "mine")


REFUSED = [
    ({"stage": "ppo"}, "trl <= 0.9.6"),
    ({"bf16": True, "fp16": True}, "both on"),
    ({"finetuning_type": "full", "use_dora": True}, "use_dora belongs to LoRA"),
    ({"finetuning_type": "freeze", "pissa_init": True}, "pissa_init belongs to LoRA"),
    ({"finetuning_type": "full", "adapter_name_or_path": "/a"}, "belongs to LoRA"),
    ({"stage": "dpo", "pissa_init": True}, "where a reference model is needed"),
    ({"finetuning_type": "freeze", "freeze_trainable_layers": 0}, "nothing would be trained"),
    ({"warmup_ratio": 0.1, "warmup_steps": 3}, "both set"),
    ({"early_stopping_steps": 2}, "needs load_best_model_at_end"),
    ({"load_best_model_at_end": True}, "nothing to evaluate on"),
    ({"load_best_model_at_end": True, "val_size": 0.1}, "needs eval_steps"),
    (
        {"load_best_model_at_end": True, "val_size": 0.1, "eval_steps": 4, "save_steps": 6},
        "a multiple of it",
    ),
    ({"stage": "rm", "load_best_model_at_end": True, "val_size": 0.1}, "for a reward model"),
]


@pytest.mark.parametrize(("changes", "says"), REFUSED, ids=lambda v: str(v)[:50])
def test_refused_before_minutes_are_lost(changes: dict[str, Any], says: str) -> None:
    with pytest.raises(RecipeInvalid) as caught:
        command(cards(1), **changes)
    assert says in str(caught.value) and caught.value.hint


def test_ppo_is_shown_with_its_reason() -> None:
    stage = next(field for field in fields_of(ENGINE.Config) if field.name == "stage")
    assert "ppo" in stage.choices
    assert stage.unavailable["ppo"].en == NO_PPO[0]
    with pytest.raises(RecipeInvalid) as caught:
        command(CPU, stage="ppo")
    assert caught.value.message == NO_PPO[0]


@pytest.mark.parametrize(
    ("changes", "has_gpu", "expected"),
    [
        ({}, True, 1),
        ({}, False, 0),
        ({"use_cpu": True}, True, 0),
        ({"num_processes": 4}, True, 4),
        ({"num_processes": 2}, False, 0),
    ],
)
def test_cards(changes: dict[str, Any], has_gpu: bool, expected: int) -> None:
    config = ENGINE.Config(**LEAST, **changes)
    assert ENGINE.resources(config, has_gpu).num_gpus == expected
    assert ENGINE.ranks(config, expected) == (changes.get("num_processes") or 1)


def test_what_the_planner_is_told() -> None:
    changes = {"stage": "dpo", "finetuning_type": "full", "strategy": "zero3", "bf16": True}
    told = ENGINE.training(ENGINE.Config(**LEAST, **changes), 4)
    assert (told.num_processes, told.strategy, told.precision) == (4, "zero3", "bf16")
    assert told.needs_reference and told.gradient_checkpointing and not told.on_cpu
    lora = ENGINE.training(ENGINE.Config(**LEAST, stage="dpo"), 0)
    assert not lora.needs_reference and lora.on_cpu
    assert ENGINE.training(ENGINE.Config(**LEAST, stage="pt"), 1).packing


def test_the_planner_reads_a_deepspeed_config_of_ones_own(tmp_path: Path) -> None:
    mine = tmp_path / "mine.json"
    zero = {"stage": 3, "offload_optimizer": {"device": "cpu"}}
    mine.write_text(json.dumps({"zero_optimization": zero}))
    told = ENGINE.training(ENGINE.Config(**LEAST, deepspeed=str(mine)), 2)
    assert (told.strategy, told.offload) == ("zero3", "optimizer")
    gone = ENGINE.training(ENGINE.Config(**LEAST, deepspeed="/nowhere.json"), 2)
    assert gone.strategy == "ddp"


# the disk ---------------------------------------------------------------------------------------


@pytest.fixture
def here(tmp_path: Path) -> Path:
    """A root with a model, a checkpoint, data sets and a DeepSpeed config."""
    (tmp_path / "model").mkdir()
    (tmp_path / "model/config.json").write_text('{"model_type": "qwen2"}')
    (tmp_path / "model/model.safetensors").touch()
    (tmp_path / "data").mkdir()
    info = {"plain": {"file_name": "a.json"}, "pairs": {"file_name": "b.json", "ranking": True}}
    (tmp_path / "data/dataset_info.json").write_text(json.dumps(info))
    for name, states in (("checkpoint-4", True), ("checkpoint-8", False)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "trainer_state.json").write_text("{}")
        if states:
            (tmp_path / name / "optimizer.pt").touch()
    (tmp_path / "ds.json").write_text("{}")
    (tmp_path / "broken.json").write_text("{")
    return tmp_path


def check(here: Path, **changes: Any) -> None:
    settings = {
        "model_name_or_path": "./model",
        "dataset": "plain",
        "dataset_dir": "./data",
        "template": "qwen",
        **changes,
    }
    ENGINE.check(ENGINE.Config.model_validate(settings), here)


def test_what_lies_there_is_taken(here: Path) -> None:
    check(here)
    check(here, resume_from_checkpoint="./checkpoint-4", deepspeed="./ds.json")
    check(here, stage="dpo", dataset="pairs", eval_dataset="pairs")


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"dataset": "plian"}, "Did you mean plain"),
        ({"eval_dataset": "nothing"}, "has no data set 'nothing'"),
        ({"dataset_dir": "./model"}, "has no dataset_info.json"),
        ({"dataset": "pairs"}, "which sft does not take"),
        ({"stage": "dpo"}, "plain has none"),
        ({"stage": "rm"}, "rm needs pairs"),
        ({"resume_from_checkpoint": "./model"}, "is no checkpoint"),
        ({"resume_from_checkpoint": "./checkpoint-8"}, "has no optimizer states"),
        ({"adapter_name_or_path": "./model"}, "holds no LoRA adapter"),
        ({"deepspeed": "./nothing.json"}, "There is no DeepSpeed config"),
        ({"deepspeed": "./broken.json"}, "is not JSON"),
        ({"ref_model": "./nothing"}, "There is no model folder"),
        (
            {"strategy": "zero3", "offload": "all", "offload_nvme_path": "./nothing"},
            "to offload to",
        ),
    ],
)
def test_what_does_not_is_named(here: Path, changes: dict[str, Any], says: str) -> None:
    with pytest.raises(RecipeInvalid) as caught:
        check(here, **changes)
    assert says in str(caught.value)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"finetuning_type": "full"}, "only plain LoRA"),
        ({"pissa_init": True}, "only plain LoRA"),
        ({"strategy": "zero3"}, "cannot share such weights"),
    ],
)
def test_a_model_that_was_saved_quantized(here: Path, changes: dict[str, Any], says: str) -> None:
    told = {"model_type": "qwen2", "quantization_config": {"quant_method": "gptq"}}
    (here / "model/config.json").write_text(json.dumps(told))
    check(here, strategy="zero2")
    with pytest.raises(RecipeInvalid, match=says):
        check(here, **changes)
    told["quantization_config"] = {"quant_method": "fp8"}
    (here / "model/config.json").write_text(json.dumps(told))
    check(here, **changes)


def test_the_studios_data_sets_are_looked_for_at_home(here: Path) -> None:
    (here / "home").mkdir()
    (here / "data").rename(here / "home/data")
    config = ENGINE.Config(model_name_or_path="./model", dataset="plain", template="qwen")
    ENGINE.check(ENGINE.at_home(config, here / "home"), here)
    wrong = config.model_copy(update={"dataset": "nothing"})
    with pytest.raises(RecipeInvalid, match="has no data set 'nothing'"):
        ENGINE.check(ENGINE.at_home(wrong, here / "home"), here)
    named = config.model_copy(update={"dataset_dir": "./data"})
    assert ENGINE.at_home(named, here / "home") is named


@pytest.mark.parametrize(
    ("changes", "missing"),
    [
        ({"strategy": "zero2"}, "deepspeed"),
        ({"launcher": "deepspeed"}, "deepspeed"),
        ({"quantization_bit": 4}, "bitsandbytes"),
        ({"optim": "paged_adamw_8bit"}, "bitsandbytes"),
        ({"enable_liger_kernel": True}, "liger-kernel"),
        ({"flash_attn": "fa2"}, "flash-attn"),
        ({"report_to": "swanlab"}, "swanlab"),
    ],
)
def test_a_package_that_is_not_installed(
    tmp_path: Path, changes: dict[str, Any], missing: str
) -> None:
    packages = tmp_path / "lib/python3.11/site-packages"
    packages.mkdir(parents=True)
    interpreter = Interpreter(name="lf", python=str(tmp_path / "bin/python"))
    config = ENGINE.Config(**LEAST, **changes)
    with pytest.raises(EnvMissing, match=f"has no {missing}"):
        ENGINE.check_env(config, interpreter)
    (packages / f"{missing.replace('-', '_')}-1.0.dist-info").mkdir()
    ENGINE.check_env(config, interpreter)


def test_shipped_recipes_of_the_tiny_models_still_draw_and_train() -> None:
    for name in ("make-tiny", "make-tiny-vl"):
        recipe = yaml.safe_load((ROOT / f"recipes/llamafactory/{name}.yaml").read_text("utf-8"))
        told = yaml.safe_load(command(CPU, **recipe["settings"]).files["train.yaml"])
        assert told["train_from_scratch"] is True and told["use_cpu"] is True
        assert "draw_pictures" not in told
