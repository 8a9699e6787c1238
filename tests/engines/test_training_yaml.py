"""Anybody's LLaMA-Factory YAML becomes settings, and settings become a YAML that runs by itself."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from studio.core.errors import RecipeInvalid
from studio.core.recipes import check_settings
from studio.engines.launchers import decide
from studio.engines.training_config import LlamaFactoryTrainConfig as Config
from studio.engines.training_yaml import to_yaml
from studio.engines.training_yaml_read import from_yaml

LORA = """\
### model
model_name_or_path: Qwen/Qwen2.5-7B-Instruct
trust_remote_code: true

### method
stage: sft
do_train: true
finetuning_type: lora
lora_rank: 8
lora_target: all

### dataset
dataset: identity,alpaca_en_demo
template: qwen
cutoff_len: 2048
max_samples: 1000
preprocessing_num_workers: 16
dataloader_num_workers: 4

### output
output_dir: saves/qwen/lora/sft
logging_steps: 10
save_steps: 500
plot_loss: true
overwrite_output_dir: true
save_only_model: false
report_to: none  # choices: [none, wandb, tensorboard, swanlab, mlflow]

### train
per_device_train_batch_size: 1
gradient_accumulation_steps: 8
learning_rate: 1.0e-4
num_train_epochs: 3.0
lr_scheduler_type: cosine
warmup_ratio: 0.1
bf16: true
ddp_timeout: 180000000
resume_from_checkpoint: null

### eval
val_size: 0.1
per_device_eval_batch_size: 1
eval_strategy: steps
eval_steps: 500
"""
FULL = """\
model_name_or_path: meta-llama/Meta-Llama-3-8B-Instruct
stage: sft
do_train: true
finetuning_type: full
deepspeed: examples/deepspeed/ds_z3_config.json
dataset: mine
dataset_dir: data
template: llama3
cutoff_len: 2048
output_dir: saves/llama3-8b/full/sft
per_device_train_batch_size: 1
gradient_accumulation_steps: 2
learning_rate: 1.0e-5
num_train_epochs: 3
pure_bf16: false
bf16: true
"""
DPO = """\
model_name_or_path: /models/qwen
stage: dpo
do_train: true
finetuning_type: lora
lora_target: [q_proj, v_proj]
pref_beta: 0.1
pref_loss: simpo
simpo_gamma: 1.0
dataset: dpo_en_demo
template: qwen
output_dir: x
learning_rate: 5.0e-6
"""
QLORA = """\
model_name_or_path: /models/llama
quantization_bit: 4
quantization_method: bitsandbytes
double_quantization: false
stage: sft
do_train: true
finetuning_type: lora
dataset: a
template: llama3
fp16: true
optim: paged_adamw_8bit
"""


def settings(text: str) -> dict[str, Any]:
    return from_yaml(text).settings


def test_the_lora_example() -> None:
    found, notes = from_yaml(LORA)
    config = check_settings(Config, found, "settings")
    assert config.dataset == "identity,alpaca_en_demo"
    assert (config.learning_rate, config.warmup_ratio, config.eval_steps) == (1e-4, 0.1, 500)
    assert config.extra_args == [
        "trust_remote_code=true",
        "max_samples=1000",
        "preprocessing_num_workers=16",
        "dataloader_num_workers=4",
        "ddp_timeout=180000000",
    ]
    assert [note.split()[0] for note in notes] == [
        "do_train",
        "output_dir",
        "plot_loss",
        "overwrite_output_dir",
    ]
    assert config.resume_from_checkpoint == ""


def test_the_full_example_with_zero3_by_its_name() -> None:
    found, notes = from_yaml(FULL)
    assert found["strategy"] == "zero3" and "deepspeed" not in found and "offload" not in found
    assert "dataset_dir" not in found
    assert any("ds_z3_config.json became the strategy zero3" in note for note in notes)
    assert any("LLaMA-Factory's own source" in note for note in notes)


@pytest.mark.parametrize(
    ("named", "expected"),
    [
        ("examples/deepspeed/ds_z0_config.json", {}),
        ("ds_z1_config.json", {"strategy": "zero1"}),
        ("ds_z2_config.json", {"strategy": "zero2"}),
        (
            "examples/deepspeed/ds_z2_offload_config.json",
            {"strategy": "zero2", "offload": "optimizer"},
        ),
        ("examples/deepspeed/ds_z3_offload_config.json", {"strategy": "zero3", "offload": "all"}),
        ("configs/zero3.json", {"strategy": "zero3"}),
        ("/me/ds_z3_config.json", {"deepspeed": "/me/ds_z3_config.json"}),
        ("my_config.json", {"deepspeed": "my_config.json"}),
    ],
)
def test_deepspeed_configs(named: str, expected: dict[str, str]) -> None:
    assert settings(f"deepspeed: {named}") == expected


def test_a_deepspeed_config_written_inside() -> None:
    text = "deepspeed: {zero_optimization: {stage: 2, offload_optimizer: {device: cpu}}}"
    assert settings(text) == {"strategy": "zero2", "offload": "optimizer"}
    nvme = "{device: nvme, nvme_path: /nvme}"
    text = f"deepspeed: {{zero_optimization: {{stage: 3, offload_param: {nvme}}}}}"
    assert settings(text) == {"strategy": "zero3", "offload": "all", "offload_nvme_path": "/nvme"}


def test_preference_and_lists() -> None:
    found = settings(DPO)
    assert found["lora_target"] == "q_proj,v_proj"
    assert (found["pref_loss"], found["simpo_gamma"]) == ("simpo", 1.0)


def test_qlora_by_its_older_name() -> None:
    config = check_settings(Config, settings(QLORA), "settings")
    assert (config.quantization_bit, config.quantization_method) == (4, "bnb")
    assert config.optim == "paged_adamw_8bit" and not config.double_quantization


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("optim: galore_adamw", ["optim=galore_adamw"]),
        ("finetuning_type: oft", ["finetuning_type=oft"]),
        ("quantization_bit: 3", ["quantization_bit=3"]),
        ("lr_scheduler_type: greedy", ["lr_scheduler_type=greedy"]),
        (
            "fsdp_config: {fsdp_version: 2, wrap: [A, B]}",
            ["fsdp_config.fsdp_version=2", 'fsdp_config.wrap=["A", "B"]'],
        ),
        ("swanlab_project: my project", ['swanlab_project="my project"']),
        ("hub_model_id: '1234'", ['hub_model_id="1234"']),
        ("save_strategy: epoch", ["save_strategy=epoch"]),
        ("eval_strategy: 'no'", ['eval_strategy="no"']),
        ("more: 1", ["more=1"]),
    ],
)
def test_what_has_no_field_goes_on_as_an_argument(line: str, expected: list[str]) -> None:
    assert settings(line) == {"extra_args": expected}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("warmup_steps: 0.1", {"warmup_ratio": 0.1}),
        ("warmup_steps: 20", {"warmup_steps": 20}),
        ("save_strategy: 'no'\nsave_steps: 500", {"save_steps": None}),
        ("save_strategy: no\nsave_steps: 500", {"save_steps": None}),
        ("eval_strategy: epoch\neval_steps: 500", {"eval_steps": None}),
        ("eval_steps: 500\neval_strategy: epoch", {"eval_steps": None}),
        ("report_to: [wandb]", {"report_to": "wandb"}),
        (
            "use_swanlab: true\nswanlab_run_name: mine\nswanlab_mode: cloud",
            {"report_to": "swanlab", "run_name": "mine"},
        ),
        ("bf16: yes", {"bf16": "yes"}),
    ],
)
def test_other_spellings(text: str, expected: dict[str, Any]) -> None:
    assert settings(text) == expected


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("cutoff_len: long", "cutoff_len = 'long'"),
        ("learning_rate: -1\nlora_rank: 0", "lora_rank = 0"),
        ("stage: sfft", "stage = 'sfft'"),
        ("- a\n- b", "no `name: value` lines"),
        ("", "no `name: value` lines"),
        ("a: [1", "is not YAML"),
        ("do_predict: true\nstage: sft", "llamafactory-predict"),
        ("do_train: false", "llamafactory-predict"),
        ("export_dir: x\nmodel_name_or_path: m", "llamafactory-export"),
        ("engine: vllm\nsettings: {}", "a recipe of the studio"),
    ],
)
def test_what_cannot_be_read_is_said(text: str, says: str) -> None:
    with pytest.raises(RecipeInvalid) as caught:
        from_yaml(text)
    assert says in str(caught.value)


def test_a_name_of_a_method_is_no_trap() -> None:
    assert settings("result: 1\ntake: 2") == {"extra_args": ["result=1", "take=2"]}


# there and back ---------------------------------------------------------------------------------

BACK: list[dict[str, Any]] = [
    {},
    {"finetuning_type": "full", "bf16": True, "strategy": "zero3", "offload": "all"},
    {"stage": "dpo", "pref_loss": "orpo", "pref_beta": 0.2},
    {"quantization_bit": 4, "lora_rank": 16, "lora_alpha": 16, "use_rslora": True},
    {"val_size": 0.1, "eval_steps": 4, "save_steps": 8, "load_best_model_at_end": True},
    {"finetuning_type": "freeze", "freeze_trainable_layers": 3, "warmup_ratio": 0.03},
    {"learning_rate": 5e-6, "report_to": "tensorboard", "packing": False},
    {"report_to": "swanlab", "run_name": "mine"},
    {"extra_args": ["adam_beta2=0.98", "lr_scheduler_kwargs.num_cycles=2"]},
]


@pytest.mark.parametrize("changes", BACK, ids=str)
def test_there_and_back(changes: dict[str, Any]) -> None:
    least = {"model_name_or_path": "/m", "dataset": "a", "template": "qwen", "dataset_dir": "/d"}
    config = check_settings(Config, {**least, **changes}, "settings")
    text = to_yaml(config, decide(config.ask("/r"), 2), "/r", "/home/data", "/out")
    told = yaml.safe_load(text)
    assert told["output_dir"] == "/out" and told["do_train"] is True
    again = check_settings(Config, settings(text), "settings")
    ours = {"preprocessing_num_workers=1"}
    kept = again.model_copy(
        update={"extra_args": [word for word in again.extra_args if word not in ours]}
    )
    assert kept == config


def test_the_saved_file_says_how_it_is_started() -> None:
    least = {"model_name_or_path": "./m", "dataset": "a", "template": "qwen"}
    config = Config(**least, strategy="zero2", extra_args=["adam_beta2=0.98", "a.b=1"])
    text = to_yaml(config, decide(config.ask("/r"), 2), "/r", "/home/data")
    assert text.startswith("# FORCE_TORCHRUN=1 NPROC_PER_NODE=2 llamafactory-cli train x.yaml\n")
    told = yaml.safe_load(text)
    assert told["model_name_or_path"] == "/r/m" and told["dataset_dir"] == "/home/data"
    assert told["deepspeed"]["zero_optimization"]["stage"] == 2
    assert (told["adam_beta2"], told["a"]) == (0.98, {"b": 1})
    alone = Config(**least)
    text = to_yaml(alone, decide(alone.ask("/r"), 1), "/r", "/d")
    assert text.startswith("# llamafactory-cli train x.yaml\n")
    sharded = Config(**least, strategy="fsdp2", bf16=True)
    text = to_yaml(sharded, decide(sharded.ask("/r"), 2), "/r", "/d")
    assert "accelerate launch --config_file" in text and "#   fsdp_config:" in text


def test_an_argument_that_is_no_pair_cannot_be_saved() -> None:
    config = Config(model_name_or_path="/m", dataset="a", template="qwen", extra_args=["--x"])
    with pytest.raises(RecipeInvalid, match="not of the form key=value"):
        to_yaml(config, decide(config.ask("/r"), 1), "/r", "/d")
