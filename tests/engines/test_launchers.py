"""Launcher, strategy, offload, precision, card or CPU: what is possible, and the exact command."""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, get_args

import pytest
import yaml

from studio.core.errors import RecipeInvalid
from studio.core.settings import ROOT
from studio.core.spec import Interpreter, Placement
from studio.engines.launch_files import deepspeed
from studio.engines.launchers import (
    ZERO,
    Ask,
    Launcher,
    Offload,
    Precision,
    Strategy,
    Way,
    decide,
)

BIN = "/envs/it/bin"
PLACE = Placement(
    interpreter=Interpreter(name="it", python=f"{BIN}/python"),
    root="/repo",
    cache_dir="/home/cache",
)
CARDS = PLACE.model_copy(update={"has_gpu": True, "num_gpus": 2})
OVERLAY = PLACE.model_copy(
    update={"interpreter": Interpreter(name="own", python="/usr/bin/python3", scripts=False)}
)
MODULE = ("-m", "mine")
START = str(ROOT / "studio/engines/workers/deepspeed_start.py")


def argv(ask: Ask, num_gpus: int, place: Placement = PLACE) -> str:
    return " ".join(decide(ask, num_gpus).argv(place, MODULE, ("x.yaml",)))


@pytest.mark.parametrize(
    ("launcher", "num_gpus", "expected"),
    [
        ("single", 1, f"{BIN}/python -m mine x.yaml"),
        ("torchrun", 2, f"{BIN}/torchrun --standalone --nproc_per_node 2 -m mine x.yaml"),
        ("accelerate", 2, f"{BIN}/accelerate launch --config_file accelerate.yaml -m mine x.yaml"),
        (
            "deepspeed",
            2,
            f"{BIN}/python {START} {BIN}/deepspeed --master_port {{port}} --no_local_rank "
            "--module mine x.yaml",
        ),
    ],
)
def test_the_command_of_every_launcher(launcher: Any, num_gpus: int, expected: str) -> None:
    assert argv(Ask(launcher=launcher), num_gpus) == expected


def test_deepspeed_is_told_a_number_of_processes_on_a_cpu_only() -> None:
    """With a number it would take cards 0 and 1, whatever cards the run was given."""
    ask = Ask(launcher="deepspeed", strategy="zero2", num_processes=2)
    assert "--num_gpus 2" in argv(ask, 0)
    assert "--num_gpus" not in argv(ask, 2)


@pytest.mark.parametrize(
    ("launcher", "head"),
    [
        ("torchrun", "/usr/bin/python3 -m torch.distributed.run --standalone"),
        ("accelerate", "/usr/bin/python3 -m accelerate.commands.launch --config_file"),
        (
            "deepspeed",
            f"/usr/bin/python3 {START} /usr/bin/python3 -m deepspeed.launcher.runner",
        ),
        ("single", "/usr/bin/python3 -m mine"),
    ],
)
def test_an_overlay_without_console_scripts(launcher: Any, head: str) -> None:
    count = 1 if launcher == "single" else 2
    assert argv(Ask(launcher=launcher, num_processes=count), 0, OVERLAY).startswith(head)


def test_a_script_is_named_by_its_path() -> None:
    for launcher, wanted in [
        ("accelerate", "accelerate.yaml /me/train.py --lr 1"),
        ("deepspeed", "--no_local_rank /me/train.py --lr 1"),
        ("torchrun", "2 /me/train.py --lr 1"),
    ]:
        way = decide(Ask(launcher=launcher, num_processes=2, script=True), 0)
        assert " ".join(way.argv(PLACE, ("/me/train.py",), ("--lr", "1"))).endswith(wanted)


@pytest.mark.parametrize(
    ("ask", "num_gpus", "chosen"),
    [
        (Ask(), 0, ("single", 1)),
        (Ask(), 1, ("single", 1)),
        (Ask(), 4, ("torchrun", 4)),
        (Ask(num_processes=2), 0, ("torchrun", 2)),
        (Ask(strategy="zero3"), 1, ("torchrun", 1)),
        (Ask(own_config="/ds.json"), 1, ("torchrun", 1)),
        (Ask(strategy="fsdp2"), 2, ("accelerate", 2)),
        (Ask(launcher="accelerate"), 1, ("accelerate", 1)),
    ],
)
def test_auto_and_the_number_of_processes(ask: Ask, num_gpus: int, chosen: Any) -> None:
    way = decide(ask, num_gpus)
    assert (way.launcher, way.num_processes) == chosen
    assert way.on_cpu == (num_gpus == 0)


REFUSED = [
    (Ask(use_cpu=True), 2, "use_cpu is on, and 2 cards"),
    (Ask(num_processes=3), 2, "num_processes is 3, and the run gets 2 cards"),
    (Ask(launcher="single"), 2, "starts one process, and 2 are wanted"),
    (Ask(launcher="single", strategy="zero2"), 1, "DeepSpeed needs a launcher"),
    (Ask(launcher="torchrun", strategy="fsdp2"), 2, "set up by Accelerate, not by torchrun"),
    (Ask(launcher="deepspeed", strategy="fsdp2"), 2, "set up by Accelerate, not by deepspeed"),
    (Ask(strategy="fsdp2"), 1, "there is only one"),
    (Ask(strategy="zero2", own_config="/x.json"), 2, "a config of your own, and strategy says"),
    (Ask(offload="optimizer", own_config="/x.json"), 2, "it alone says what is offloaded"),
    (Ask(offload_nvme_path="/nvme"), 1, "nothing is offloaded"),
    (Ask(offload="optimizer"), 1, "Nothing can be offloaded with ddp"),
    (Ask(strategy="fsdp2", offload="optimizer"), 2, "Set offload to all"),
    (Ask(strategy="zero2", offload="all"), 2, "keeps all weights on every card"),
    (Ask(strategy="zero2", offload="optimizer", offload_nvme_path="/n"), 2, "ZeRO-3 only"),
    (Ask(strategy="zero2", offload="optimizer", optimizer="adafactor"), 2, "no adafactor that"),
    (Ask(strategy="zero3", precision="pure_bf16"), 2, "refuses pure_bf16 with ZeRO-3"),
    (Ask(quantization_bit=4, finetuning_type="full"), 1, "cannot be trained"),
    (Ask(quantization_bit=4, finetuning_type="freeze"), 1, "cannot be trained"),
    (Ask(quantization_bit=4, finetuning_type="lora", pissa=True), 1, "quantized ones do not allow"),
    (Ask(quantization_bit=8, finetuning_type="lora", strategy="zero3"), 2, "4-bit ones can"),
    (Ask(quantization_bit=8, finetuning_type="lora", strategy="fsdp2"), 2, "4-bit ones can"),
    (Ask(strategy="zero3", pissa=True), 2, "leaves a piece on each card"),
    (Ask(strategy="fsdp2", num_processes=2), 0, "silently makes plain DDP"),
    (Ask(precision="fp16"), 0, "silently float32"),
    (Ask(precision="pure_bf16"), 0, "refuses pure_bf16 on a CPU"),
    (Ask(precision="bf16", strategy="zero3", num_processes=2), 0, "has no way on a CPU"),
]


@pytest.mark.parametrize(("ask", "num_gpus", "says"), REFUSED, ids=lambda v: str(v)[:40])
def test_what_cannot_be_is_refused_with_the_way_out(ask: Ask, num_gpus: int, says: str) -> None:
    with pytest.raises(RecipeInvalid) as caught:
        decide(ask, num_gpus)
    assert says in str(caught.value)
    assert caught.value.hint


@pytest.mark.parametrize(
    ("ask", "num_gpus"),
    [
        (Ask(precision="bf16", strategy="zero2", num_processes=2), 0),
        (Ask(quantization_bit=4, finetuning_type="lora", strategy="zero3"), 2),
        (Ask(quantization_bit=8, finetuning_type="lora", strategy="zero2"), 2),
        (Ask(strategy="zero3", offload="all", offload_nvme_path="/nvme"), 1),
        (Ask(strategy="fsdp2", offload="all"), 2),
        (Ask(precision="bf16", strategy="zero3", num_processes=2, script=True), 0),
    ],
)
def test_what_is_close_to_that_and_possible(ask: Ask, num_gpus: int) -> None:
    assert decide(ask, num_gpus)


def everything() -> list[tuple[Way, int]]:
    """Every combination that is not refused."""
    found = []
    kinds = (get_args(kind) for kind in (Launcher, Strategy, Offload, Precision))
    for launcher, strategy, offload, precision in itertools.product(*kinds):
        for count, num_gpus in ((1, 0), (2, 0), (1, 1), (2, 2)):
            ask = Ask(
                launcher=launcher,
                strategy=strategy,
                offload=offload,
                precision=precision,
                num_processes=count,
            )
            try:
                found.append((decide(ask, num_gpus), num_gpus))
            except RecipeInvalid:
                continue
    return found


def test_every_possible_way_names_no_folder_and_writes_what_it_reads() -> None:
    ways = everything()
    assert len(ways) > 100
    for way, num_gpus in ways:
        place = PLACE.model_copy(update={"num_gpus": num_gpus, "has_gpu": num_gpus > 0})
        files = way.files()
        assert all(not name.startswith("/") for name in files)
        words = " ".join(way.argv(place, MODULE, ()))
        assert ("accelerate.yaml" in words) == ("accelerate.yaml" in files)
        if way.deepspeed:
            told = json.loads(files["ds.json"])["zero_optimization"]
            assert f"zero{told['stage']}" == way.ask.strategy
        if "accelerate.yaml" in files:
            config = yaml.safe_load(files["accelerate.yaml"])
            assert config["num_processes"] == way.num_processes
            assert config["use_cpu"] == way.on_cpu
            named = config.get("deepspeed_config", {}).get("deepspeed_config_file", "ds.json")
            assert named in (*files, "ds.json")


def test_two_processes_on_a_cpu_are_called_cards() -> None:
    """MULTI_CPU needs mpirun, and starts one process without a word where there is none."""
    way = decide(Ask(launcher="accelerate", num_processes=2), 0)
    config = yaml.safe_load(way.files()["accelerate.yaml"])
    assert (config["distributed_type"], config["use_cpu"]) == ("MULTI_GPU", True)
    assert config["mixed_precision"] == "no"
    assert config["main_process_port"] == 0


def test_accelerate_with_zero_leaves_the_precision_to_its_config() -> None:
    """Accelerate refuses to be told a precision beside a DeepSpeed config file."""
    way = decide(Ask(launcher="accelerate", strategy="zero3", precision="bf16"), 2)
    config = yaml.safe_load(way.files()["accelerate.yaml"])
    assert config["distributed_type"] == "DEEPSPEED"
    assert config["deepspeed_config"] == {
        "deepspeed_config_file": "ds.json",
        "zero3_init_flag": True,
    }
    assert "mixed_precision" not in config


def test_fsdp2_is_version_two_and_offloads_when_told() -> None:
    for offload, expected in (("none", False), ("all", True)):
        way = decide(Ask(strategy="fsdp2", offload=offload, precision="bf16"), 2)
        config = yaml.safe_load(way.files()["accelerate.yaml"])
        assert (config["distributed_type"], config["mixed_precision"]) == ("FSDP", "bf16")
        assert config["fsdp_config"]["fsdp_version"] == 2
        assert config["fsdp_config"]["fsdp_offload_params"] is expected


def test_the_deepspeed_config_of_zero3_with_everything_offloaded() -> None:
    told = json.loads(deepspeed("zero3", "all", "", on_cpu=False))
    assert told["gradient_accumulation_steps"] == "auto"
    assert (told["bf16"]["enabled"], told["fp16"]["enabled"]) == ("auto", "auto")
    zero = told["zero_optimization"]
    assert zero["stage3_gather_16bit_weights_on_model_save"] is True
    assert zero["overlap_comm"] is True and zero["contiguous_gradients"] is True
    assert zero["offload_optimizer"] == {"device": "cpu", "pin_memory": True}
    assert zero["offload_param"] == {"device": "cpu", "pin_memory": True}


@pytest.mark.parametrize("strategy", ZERO)
def test_nothing_is_pinned_on_a_cpu_nor_offloaded_unasked(strategy: str) -> None:
    told = json.loads(deepspeed(strategy, "optimizer", "", on_cpu=True))["zero_optimization"]
    assert told["offload_optimizer"] == {"device": "cpu", "pin_memory": False}
    assert "offload_param" not in told
    plain = json.loads(deepspeed(strategy, "none", "", on_cpu=False))["zero_optimization"]
    assert "offload_optimizer" not in plain


def test_offload_to_a_disk() -> None:
    told = json.loads(deepspeed("zero3", "optimizer", "/nvme", on_cpu=False))
    waits = told["zero_optimization"]["offload_optimizer"]
    assert (waits["device"], waits["nvme_path"]) == ("nvme", "/nvme")


def test_a_script_gets_concrete_values() -> None:
    ask = Ask(strategy="zero2", precision="bf16", script=True, gradient_accumulation_steps=4)
    told = json.loads(decide(ask, 2).files()["ds.json"])
    assert told["gradient_accumulation_steps"] == 4
    assert (told["bf16"]["enabled"], told["fp16"]["enabled"]) == (True, False)
    # Accelerate fails on these when the model has no config to take a width from
    zero3 = decide(Ask(strategy="zero3", script=True), 2).files()["ds.json"]
    assert "auto" not in json.loads(zero3)["zero_optimization"].values()


def test_variables() -> None:
    cpu = decide(Ask(strategy="zero2", num_processes=2), 0).env(PLACE)
    assert cpu["OMP_NUM_THREADS"] == "1"
    assert cpu["DS_ACCELERATOR"] == "cpu"
    assert cpu["TORCH_EXTENSIONS_DIR"] == "/home/cache/torch_extensions/it"
    hidden = decide(Ask(use_cpu=True), 0).env(CARDS.model_copy(update={"num_gpus": 0}))
    assert hidden["CUDA_VISIBLE_DEVICES"] == "", "LLaMA-Factory starts one process per card it sees"
    cards = decide(Ask(), 2).env(CARDS)
    assert "CUDA_VISIBLE_DEVICES" not in cards and "OMP_NUM_THREADS" not in cards
    assert "TORCH_EXTENSIONS_DIR" not in cards


def test_a_script_without_accelerate_launch_is_told_the_same() -> None:
    ask = Ask(launcher="torchrun", strategy="zero2", script=True, num_processes=2)
    env = decide(ask, 0).env(PLACE)
    assert env["ACCELERATE_USE_DEEPSPEED"] == "true"
    assert env["ACCELERATE_DEEPSPEED_CONFIG_FILE"] == "ds.json"
    plain = decide(Ask(launcher="torchrun", script=True, precision="bf16", num_processes=2), 0)
    assert plain.env(PLACE)["ACCELERATE_MIXED_PRECISION"] == "bf16"
    assert plain.env(PLACE)["ACCELERATE_USE_CPU"] == "true"


def started(folder: Path | None, *words: str) -> str:
    """What a command prints that was started by way of the worker."""
    env = {**os.environ, "TORCH_EXTENSIONS_DIR": str(folder or "")}
    argv = [sys.executable, START, sys.executable, "-c", "import sys; print(sys.argv)", *words]
    return subprocess.run(argv, env=env, capture_output=True, text=True, check=True).stdout


def test_a_free_port_is_found_when_it_starts() -> None:
    told = started(None, "{port}")
    assert 1024 < int("".join(filter(str.isdigit, told))) < 65536


def test_locks_of_a_killed_build_are_removed(tmp_path: Path) -> None:
    """PyTorch waits for a lock for ever, and a killed build leaves one."""
    lock = tmp_path / "cpu_adam/lock"
    lock.parent.mkdir()
    lock.touch()
    holder = subprocess.Popen(
        ["sleep", "30"], env={**os.environ, "TORCH_EXTENSIONS_DIR": str(tmp_path)}
    )
    try:
        started(tmp_path)
        assert lock.exists(), "somebody is building"
        os.utime(lock, (0, 0))
        started(tmp_path)
        assert not lock.exists(), "no build takes that long"
        lock.touch()
    finally:
        holder.kill()
        holder.wait()
    assert "removed" in started(tmp_path)
    assert not lock.exists()


@pytest.mark.parametrize("launcher", ["torchrun", "accelerate", "deepspeed"])
def test_deepspeed_starts_by_way_of_the_worker(launcher: Any) -> None:
    with_it = decide(Ask(launcher=launcher, strategy="zero2"), 2).argv(PLACE, MODULE, ())
    assert with_it[:2] == (f"{BIN}/python", START)
    assert with_it.count(START) == 1
