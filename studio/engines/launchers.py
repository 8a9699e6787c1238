"""Which way of starting a training is possible, and the argv, files and variables of each.

    way = decide(Ask(strategy="zero2", precision="bf16"), num_gpus=2)
    way.argv(place, ("-m", "llamafactory.launcher"), ("train.yaml",))
    way.files(), way.env(place)

One place decides about launcher, strategy, offload, precision, quantization, number of processes
and card or CPU; what is refused is refused with what, why and what to do instead. Sources: the
checks of LLaMA-Factory 0.9.5 (`hparams/parser.py`, `hparams/finetuning_args.py`,
`model/model_utils/quantization.py`), Accelerate 1.11 (`commands/launch.py`), DeepSpeed 0.19.8
(`launcher/runner.py`), and trials of each on a CPU. Pure: nothing here looks at a disk or a card.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from studio.core.errors import RecipeInvalid
from studio.core.spec import Placement
from studio.engines.launch_files import (
    ACCELERATE_YAML,
    DEEPSPEED_JSON,
    MIXED,
    accelerate,
    deepspeed,
)

Launcher = Literal["auto", "single", "torchrun", "accelerate", "deepspeed"]
Strategy = Literal["ddp", "fsdp2", "zero1", "zero2", "zero3"]
Offload = Literal["none", "optimizer", "all"]
Precision = Literal["fp32", "bf16", "fp16", "pure_bf16"]

ZERO = ("zero1", "zero2", "zero3")
NEVER_OFFLOADED = ("adafactor", "sgd", "lion_8bit")
"""Optimizers for which DeepSpeed has no version that runs on the CPU."""

_START = Path(__file__).with_name("workers") / "deepspeed_start.py"


@dataclass(frozen=True, kw_only=True)
class Ask:
    """What somebody wants, as far as starting it is concerned."""

    launcher: Launcher = "auto"
    num_processes: int | None = None
    """None: one per card, one on a CPU."""
    strategy: Strategy = "ddp"
    offload: Offload = "none"
    offload_nvme_path: str = ""
    own_config: str = ""
    """Path of a DeepSpeed config that is used instead of the studio's own."""
    precision: Precision = "fp32"
    use_cpu: bool = False
    script: bool = False
    """True for somebody's own script, which is told precision and accumulation by Accelerate's
    variables and by concrete values in ds.json; False for LLaMA-Factory, which knows them."""
    gradient_accumulation_steps: int = 1
    """Told to a script."""
    finetuning_type: str = ""
    quantization_bit: int | None = None
    pissa: bool = False
    optimizer: str = ""


@dataclass(frozen=True, kw_only=True)
class Way:
    """A way of starting it that is possible."""

    ask: Ask
    launcher: Literal["single", "torchrun", "accelerate", "deepspeed"]
    num_processes: int
    on_cpu: bool

    @property
    def deepspeed(self) -> bool:
        """True when DeepSpeed shares out the states."""
        return self.ask.strategy in ZERO or bool(self.ask.own_config)

    @property
    def deepspeed_config(self) -> str:
        """Path of the DeepSpeed config, below the run folder or as named; empty without one."""
        return self.ask.own_config or (DEEPSPEED_JSON if self.deepspeed else "")

    def files(self) -> dict[str, str]:
        """Return the launchers' own files, by name below the run folder."""
        ask, found = self.ask, {}
        if ask.strategy in ZERO and not ask.own_config:
            found[DEEPSPEED_JSON] = deepspeed(
                ask.strategy,
                ask.offload,
                ask.offload_nvme_path,
                precision=ask.precision if ask.script else None,
                accumulation=ask.gradient_accumulation_steps if ask.script else None,
                on_cpu=self.on_cpu,
            )
        if self.launcher == "accelerate":
            found[ACCELERATE_YAML] = accelerate(
                num_processes=self.num_processes,
                strategy=ask.strategy,
                deepspeed_config=self.deepspeed_config,
                offload=ask.offload != "none",
                precision=ask.precision,
                on_cpu=self.on_cpu,
            )
        return found

    def env(self, place: Placement) -> dict[str, str]:
        """Return the variables that belong to this way of starting.

        A CPU run sees no card, so that no launcher starts one process for each of them.
        """
        env: dict[str, str] = {}
        if self.on_cpu:
            env["OMP_NUM_THREADS"] = "1"
            if place.has_gpu:
                env["CUDA_VISIBLE_DEVICES"] = ""
        elif self.num_processes > 1:
            env["PYTORCH_CUDA_ALLOC_CONF"] = "expandable_segments:True"
        if self.ask.script:
            env |= self._told_to_a_script()
        if self.deepspeed:
            if self.on_cpu:
                env["DS_ACCELERATOR"] = "cpu"
            if place.cache_dir:
                name = place.interpreter.name
                env["TORCH_EXTENSIONS_DIR"] = f"{place.cache_dir}/torch_extensions/{name}"
        return env

    def _told_to_a_script(self) -> dict[str, str]:
        """Return what `Accelerator()` reads; `accelerate launch` sets most of it by itself."""
        steps = str(self.ask.gradient_accumulation_steps)
        env = {"ACCELERATE_GRADIENT_ACCUMULATION_STEPS": steps}
        if self.launcher == "accelerate":
            return env
        if self.deepspeed:
            env["ACCELERATE_USE_DEEPSPEED"] = "true"
            env["ACCELERATE_DEEPSPEED_CONFIG_FILE"] = self.deepspeed_config
        else:
            env["ACCELERATE_MIXED_PRECISION"] = MIXED[self.ask.precision]
            if self.on_cpu:
                env["ACCELERATE_USE_CPU"] = "true"
        return env

    def argv(self, place: Placement, entry: Sequence[str], words: Sequence[str]) -> tuple[str, ...]:
        """Return the whole command: launcher, `entry` (`-m module` or a script), its words.

        Every launcher finds a free port for its processes when it starts, never before.
        """
        return self.started(place, self._launch(place, entry, words))

    def started(self, place: Placement, argv: tuple[str, ...]) -> tuple[str, ...]:
        """Return a command with what has to happen before DeepSpeed starts in front of it."""
        if self.deepspeed or self.launcher == "deepspeed":
            return (place.interpreter.python, str(_START), *argv)
        return argv

    def _launch(
        self, place: Placement, entry: Sequence[str], words: Sequence[str]
    ) -> tuple[str, ...]:
        python, program = place.interpreter.python, place.interpreter.program
        n = str(self.num_processes)
        match self.launcher:
            case "single":
                return (python, *entry, *words)
            case "torchrun":
                head = program("torchrun", "torch.distributed.run")
                return (*head, "--standalone", "--nproc_per_node", n, *entry, *words)
            case "accelerate":
                if place.interpreter.scripts:
                    head = (*program("accelerate", ""), "launch")
                else:
                    head = (python, "-m", "accelerate.commands.launch")
                return (*head, "--config_file", ACCELERATE_YAML, *entry, *words)
            case "deepspeed":
                head = program("deepspeed", "deepspeed.launcher.runner")
                # Given a number, it would take cards 0 to N-1 whatever the run was given.
                count = ("--num_gpus", n) if self.on_cpu else ()
                module = ("--module", *entry[1:]) if entry[0] == "-m" else tuple(entry)
                head = (*head, "--master_port", "{port}", *count, "--no_local_rank")
                return (*head, *module, *words)


def decide(ask: Ask, num_gpus: int) -> Way:
    """Return how it is started with so many cards (0: the CPU); raise RecipeInvalid."""
    on_cpu = num_gpus == 0
    count = _processes(ask, num_gpus)
    _check_sharing(ask, count)
    _check_offload(ask)
    _check_precision(ask)
    _check_method(ask)
    if on_cpu:
        _check_cpu(ask)
    return Way(ask=ask, launcher=_launcher(ask, count), num_processes=count, on_cpu=on_cpu)


def _processes(ask: Ask, num_gpus: int) -> int:
    if ask.use_cpu and num_gpus:
        raise RecipeInvalid(
            f"use_cpu is on, and {num_gpus} cards were asked for.",
            hint="Turn use_cpu off, or ask for no cards.",
        )
    if ask.num_processes is None:
        return num_gpus or 1
    if num_gpus and ask.num_processes != num_gpus:
        raise RecipeInvalid(
            f"num_processes is {ask.num_processes}, and the run gets {num_gpus} cards; each "
            "process takes one.",
            hint="Leave num_processes empty, or ask for as many cards.",
        )
    return ask.num_processes


def _launcher(ask: Ask, count: int) -> Literal["single", "torchrun", "accelerate", "deepspeed"]:
    shares = ask.strategy in ZERO or bool(ask.own_config)
    if ask.launcher == "auto":
        if ask.strategy == "fsdp2":
            return "accelerate"
        return "torchrun" if count > 1 or shares else "single"
    if ask.launcher == "single" and count > 1:
        raise RecipeInvalid(
            f"The launcher `single` starts one process, and {count} are wanted.",
            hint="Set launcher to auto or torchrun, or use one card.",
        )
    if ask.launcher == "single" and shares:
        raise RecipeInvalid(
            "DeepSpeed needs a launcher, also for one process.",
            hint="Set launcher to auto, torchrun, accelerate or deepspeed.",
        )
    if ask.strategy == "fsdp2" and ask.launcher != "accelerate":
        raise RecipeInvalid(
            f"FSDP2 is set up by Accelerate, not by {ask.launcher}.",
            hint="Set launcher to auto or accelerate, or strategy to zero3.",
        )
    return ask.launcher


def _check_sharing(ask: Ask, count: int) -> None:
    if ask.own_config and ask.strategy != "ddp":
        raise RecipeInvalid(
            f"deepspeed names a config of your own, and strategy says {ask.strategy}.",
            hint="Leave strategy at ddp, or deepspeed empty.",
        )
    if ask.strategy == "fsdp2" and count == 1:
        raise RecipeInvalid(
            "FSDP2 shares the weights out between processes, and there is only one.",
            hint="Use more cards, or set strategy to ddp; to save memory of one card, zero3 with "
            "offload.",
        )


def _check_offload(ask: Ask) -> None:
    if ask.offload == "none":
        if ask.offload_nvme_path:
            raise RecipeInvalid(
                "offload_nvme_path is set, and nothing is offloaded.",
                hint="Set offload to optimizer or all, or leave offload_nvme_path empty.",
            )
        return
    if ask.own_config:
        raise RecipeInvalid(
            "deepspeed names a config of your own: it alone says what is offloaded.",
            hint="Set offload to none, or leave deepspeed empty.",
        )
    if ask.strategy == "ddp":
        raise RecipeInvalid(
            "Nothing can be offloaded with ddp: every card keeps all of its states.",
            hint="Set strategy to zero2 or zero3, which also work with one card.",
        )
    if ask.strategy == "fsdp2" and ask.offload == "optimizer":
        raise RecipeInvalid(
            "FSDP2 offloads weights and optimizer states together.", hint="Set offload to all."
        )
    if ask.offload == "all" and ask.strategy in ("zero1", "zero2"):
        raise RecipeInvalid(
            f"{ask.strategy} keeps all weights on every card, so they cannot be offloaded.",
            hint="Set strategy to zero3, or offload to optimizer.",
        )
    if ask.offload_nvme_path and ask.strategy != "zero3":
        raise RecipeInvalid(
            f"DeepSpeed offloads to a disk with ZeRO-3 only, not with {ask.strategy}.",
            hint="Set strategy to zero3, or leave offload_nvme_path empty.",
        )
    if ask.strategy in ZERO and ask.optimizer in NEVER_OFFLOADED:
        raise RecipeInvalid(
            f"DeepSpeed has no {ask.optimizer} that runs on the CPU.",
            hint="Set optim to adamw_torch, or offload to none.",
        )


def _check_precision(ask: Ask) -> None:
    if ask.precision == "pure_bf16" and ask.strategy == "zero3":
        raise RecipeInvalid(
            "LLaMA-Factory refuses pure_bf16 with ZeRO-3.",
            hint="Use bf16 with zero3, or pure_bf16 with zero2.",
        )


def _check_method(ask: Ask) -> None:
    if ask.quantization_bit and ask.finetuning_type not in ("", "lora"):
        raise RecipeInvalid(
            f"Quantized weights cannot be trained: finetuning_type is {ask.finetuning_type}.",
            hint="Set finetuning_type to lora, or leave quantization_bit empty.",
        )
    if ask.quantization_bit and ask.pissa:
        raise RecipeInvalid(
            "PiSSA takes the weights apart, which quantized ones do not allow.",
            hint="Turn pissa_init off, or leave quantization_bit empty.",
        )
    if ask.quantization_bit == 8 and ask.strategy in ("zero3", "fsdp2"):
        raise RecipeInvalid(
            f"8-bit weights cannot be shared out by {ask.strategy}; 4-bit ones can.",
            hint="Set quantization_bit to 4, or strategy to ddp or zero2.",
        )
    if ask.pissa and ask.strategy == "zero3":
        raise RecipeInvalid(
            "PiSSA takes whole weights apart, and ZeRO-3 leaves a piece on each card.",
            hint="Turn pissa_init off, or set strategy to zero2.",
        )


def _check_cpu(ask: Ask) -> None:
    if ask.strategy == "fsdp2":
        raise RecipeInvalid(
            "On a CPU Accelerate silently makes plain DDP of FSDP2.",
            hint="Set strategy to ddp or zero3.",
        )
    if ask.precision == "fp16":
        raise RecipeInvalid(
            "On a CPU fp16 is silently float32.", hint="Turn fp16 off, or use a card."
        )
    if ask.precision == "pure_bf16":
        raise RecipeInvalid(
            "LLaMA-Factory refuses pure_bf16 on a CPU.", hint="Use bf16, or a card."
        )
    if ask.precision == "bf16" and ask.strategy == "zero3" and not ask.script:
        raise RecipeInvalid(
            "bf16 with ZeRO-3 has no way on a CPU: bf16 needs use_cpu there, and ZeRO-3 fails "
            "with it.",
            hint="Turn bf16 off, or set strategy to zero2.",
        )
