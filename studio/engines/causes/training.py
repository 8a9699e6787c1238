"""Trainings: memory of the card, data sets, processes that do not find each other, operators."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from studio.core.errors import RecipeInvalid
from studio.core.recipes import Bilingual
from studio.core.spec import RunSpec
from studio.engines.causes.cause import cause
from studio.engines.causes.fix import Fix, quantize
from studio.engines.launchers import ZERO, Ask, Precision, decide

SHARING = ("ddp", "zero1", "zero2", "zero3")
"""Strategies from the one that shares nothing out to the one that shares out everything."""


def for_training(spec: RunSpec, log: str, found: re.Match[str]) -> Iterator[Fix]:
    """Offer, in this order: an idle card, less at once, fewer and smaller weights, sharing out."""
    if not spec.resources.num_gpus:
        return
    if spec.resources.gpu_ids is not None:
        says = Bilingual(en="Take any idle cards.", zh="换成任意空闲的卡。")
        yield Fix(says=says, changes={"cards": len(spec.resources.gpu_ids)})
    yield from _less_at_once(spec)
    if spec.config.get("finetuning_type") in ("full", "freeze"):
        says = Bilingual(en="Train LoRA matrices alone.", zh="只训练 LoRA。")
        yield from _possible(spec, says, {"finetuning_type": "lora"})
    for fix in quantize(spec):
        yield from _possible(spec, fix.says, fix.changes)
    yield from _share_out(spec)
    yield from _offload(spec)
    yield from _more_cards(spec)


def for_disk(spec: RunSpec, log: str, found: re.Match[str]) -> Iterator[Fix]:
    """Keep fewer checkpoints, and smaller ones."""
    if spec.config.get("save_steps"):
        if not spec.config.get("save_only_model", True):
            says = Bilingual(
                en="Save checkpoints without the optimizer's states: a third of the size. A run "
                "cannot go on from them.",
                zh="checkpoint 不存优化器状态：约为三分之一大小，但不能从它继续训练。",
            )
            yield Fix(says=says, changes={"save_only_model": True})
        limit = spec.config.get("save_total_limit")
        if limit is None or limit > 1:
            says = Bilingual(en="Keep the last checkpoint alone.", zh="只保留最后一个 checkpoint。")
            yield Fix(says=says, changes={"save_total_limit": 1})


def for_template(spec: RunSpec, log: str, found: re.Match[str]) -> Iterator[Fix]:
    """Write the template as LLaMA-Factory writes it, where only dashes differ."""
    name = str(spec.config.get("template", ""))
    if "-" in name:
        says = Bilingual(en="Its name has underscores.", zh="模板名用下划线。")
        yield Fix(says=says, changes={"template": name.replace("-", "_")})


def for_package(spec: RunSpec, log: str, found: re.Match[str]) -> Iterator[Fix]:
    """Do without what the package is needed for."""
    needing: dict[str, dict[str, Any]] = {
        "liger": {"enable_liger_kernel": False},
        "bitsandbytes": {"quantization_bit": None},
        "deepspeed": {"strategy": "ddp", "offload": "none", "launcher": "auto"},
        "flash": {"flash_attn": "auto"},
        "swanlab": {"report_to": "none"},
    }
    for name, changes in needing.items():
        known = all(key in spec.config for key in changes)
        if known and name in found[0].lower():
            says = Bilingual(en="Go without it.", zh="不用它。")
            yield Fix(says=says, changes=changes)


def for_operator(spec: RunSpec, log: str, found: re.Match[str]) -> Iterator[Fix]:
    """Leave the states on the card, where nothing has to be compiled."""
    if spec.config.get("offload", "none") != "none":
        says = Bilingual(
            en="Offload nothing: no operator has to be compiled then.",
            zh="不卸载：这样就不需要编译算子。",
        )
        yield Fix(says=says, changes={"offload": "none", "offload_nvme_path": ""})


def for_loss(spec: RunSpec, log: str, found: re.Match[str]) -> Iterator[Fix]:
    """Compute in bfloat16, which has the range of float32; take smaller steps."""
    if spec.config.get("fp16") and "bf16" in spec.config:
        says = Bilingual(
            en="bf16 does not overflow; from Ampere on.", zh="bf16 不会溢出；需 Ampere 及以后的卡。"
        )
        yield Fix(says=says, changes={"fp16": False, "bf16": True})
    if spec.config.get("mixed_precision") == "fp16":
        says = Bilingual(
            en="bf16 does not overflow; from Ampere on.", zh="bf16 不会溢出；需 Ampere 及以后的卡。"
        )
        yield Fix(says=says, changes={"mixed_precision": "bf16"})
    rate = spec.config.get("learning_rate")
    if rate:
        says = Bilingual(en="A tenth of the learning rate.", zh="学习率降到十分之一。")
        yield Fix(says=says, changes={"learning_rate": float(f"{rate / 10:.3g}")})


def _less_at_once(spec: RunSpec) -> Iterator[Fix]:
    config = spec.config
    batch = config.get("per_device_train_batch_size")
    if batch and batch > 1:
        gathered = batch * (config.get("gradient_accumulation_steps") or 1)
        says = Bilingual(
            en="One sample per step, gathered to the same batch: slower, learns the same.",
            zh="每步一条样本、累积到同样的批大小：更慢，效果相同。",
        )
        changes = {"per_device_train_batch_size": 1, "gradient_accumulation_steps": gathered}
        yield Fix(says=says, changes=changes)
    length = config.get("cutoff_len")
    if length and length > 512:
        says = Bilingual(en="Cut samples at half the length.", zh="样本截断长度减半。")
        yield Fix(says=says, changes={"cutoff_len": length // 2})
    if config.get("disable_gradient_checkpointing"):
        says = Bilingual(
            en="Compute activations again instead of keeping them: slower.",
            zh="打开梯度检查点：激活重新计算而不是保留，会慢一些。",
        )
        yield Fix(says=says, changes={"disable_gradient_checkpointing": False})


def _share_out(spec: RunSpec) -> Iterator[Fix]:
    """Share more out between the cards; LoRA has no states worth sharing, only frozen weights."""
    now, cards = spec.config.get("strategy"), spec.resources.num_gpus
    if now not in SHARING or cards < 2:
        return
    lora = spec.config.get("finetuning_type") == "lora"
    for strategy in SHARING[SHARING.index(now) + 1 :]:
        if strategy == "zero1" or (strategy == "zero2" and lora):
            continue
        what = "weights as well" if strategy == "zero3" else "gradients and states"
        zh = "权重也" if strategy == "zero3" else "梯度和优化器状态"
        says = Bilingual(
            en=f"ZeRO-{strategy[-1]}: share {what} out between the cards.",
            zh=f"ZeRO-{strategy[-1]}：{zh}分到各卡。",
        )
        yield from _possible(spec, says, {"strategy": strategy})


def _offload(spec: RunSpec) -> Iterator[Fix]:
    now, offload = spec.config.get("strategy"), spec.config.get("offload")
    if offload == "none" and now in ZERO and spec.config.get("finetuning_type") != "lora":
        says = Bilingual(
            en="Keep the optimizer's states in host memory: slower.",
            zh="优化器状态放到内存：更慢。",
        )
        yield from _possible(spec, says, {"offload": "optimizer"})
    if offload in ("none", "optimizer"):
        says = Bilingual(
            en="ZeRO-3 with everything in host memory: the least memory of the card, slow.",
            zh="ZeRO-3 并全部卸载到内存：最省显存，但很慢。",
        )
        yield from _possible(spec, says, {"strategy": "zero3", "offload": "all"})


def _more_cards(spec: RunSpec) -> Iterator[Fix]:
    if "strategy" not in spec.config:
        return
    count = 2 * spec.resources.num_gpus
    strategy = "fsdp2" if spec.config["strategy"] == "fsdp2" else "zero3"
    says = Bilingual(en=f"Share it out between {count} cards.", zh=f"分到 {count} 张卡上。")
    changes = {"cards": count, "strategy": strategy}
    if spec.config.get("num_processes"):
        changes["num_processes"] = count
    yield from _possible(spec, says, changes)


def _possible(spec: RunSpec, says: Bilingual, changes: dict[str, Any]) -> Iterator[Fix]:
    """Offer a change only where the launchers can do it."""
    new = {**spec.config, **changes}
    try:
        decide(_ask(new), changes.get("cards", spec.resources.num_gpus))
    except RecipeInvalid:
        return
    yield Fix(says=says, changes=changes)


def _ask(config: dict[str, Any]) -> Ask:
    precision: Precision = "fp32"
    if config.get("pure_bf16"):
        precision = "pure_bf16"
    elif config.get("bf16") or config.get("mixed_precision") == "bf16":
        precision = "bf16"
    elif config.get("fp16") or config.get("mixed_precision") == "fp16":
        precision = "fp16"
    return Ask(
        launcher=config.get("launcher") or "auto",
        num_processes=config.get("num_processes"),
        strategy=config.get("strategy") or "ddp",
        offload=config.get("offload") or "none",
        offload_nvme_path=config.get("offload_nvme_path") or "",
        own_config=config.get("deepspeed") or "",
        precision=precision,
        use_cpu=bool(config.get("use_cpu")),
        finetuning_type=config.get("finetuning_type") or "",
        quantization_bit=config.get("quantization_bit"),
        pissa=bool(config.get("pissa_init")),
        optimizer=config.get("optim") or "",
    )


TRAINING = (
    cause(
        "rendezvous",
        r"server socket has failed to listen|RendezvousConnectionError|RendezvousTimeoutError",
        (
            "The processes could not meet: their port is taken, or another one did not come.",
            "训练进程没能会合：端口被占用，或有进程没有起来。",
        ),
        (
            "Launch it again: a free port is found at every start. If MASTER_PORT is set where the "
            "studio was started, unset it.",
            "重新启动即可：每次启动都会自动找空闲端口。如果启动前设置了 MASTER_PORT，请取消。",
        ),
    ),
    cause(
        "training-template",
        r"Template \S+ does not exist",
        ("LLaMA-Factory does not know this template.", "LLaMA-Factory 没有这个对话模板。"),
        (
            "Qwen2.5: qwen. Qwen2-VL: qwen2_vl. Llama 3: llama3. The form offers all of them.",
            "Qwen2.5 用 qwen，Qwen2-VL 用 qwen2_vl，Llama 3 用 llama3。表单里可以选。",
        ),
        for_template,
    ),
    cause(
        "data-set",
        r"Undefined dataset \S+ in|File \S+ not found\.|Cannot open \S*dataset_info\.json[^\n]*",
        (
            "A data set, or the file behind it, is not there.",
            "数据集或它的文件不存在。",
        ),
        (
            "Choose one that the Data tab lists, or correct its entry in dataset_info.json.",
            "选“数据”页里有的数据集，或修改 dataset_info.json 里的条目。",
        ),
    ),
    cause(
        "data-stage",
        r"The dataset is not applicable in the current training stage",
        (
            "The data set does not fit the stage: dpo and rm need pairs of answers, the others "
            "cannot use them.",
            "数据集与训练阶段不符：dpo 和 rm 需要成对的回答，其他阶段用不了。",
        ),
        (
            "Choose another stage or another data set; the Data tab says what each is.",
            "换训练阶段或换数据集；“数据”页写明了每个是什么。",
        ),
    ),
    cause(
        "data-column",
        r"data/converter\.py\", line (?:[^\n]*\n){1,12}?KeyError: [^\n]*",
        (
            "The data set has no column of that name.",
            "数据集里没有这个名字的列。",
        ),
        (
            "Add the file again in the Data tab and say there which column is which.",
            "在“数据”页重新添加文件，并指定各列的含义。",
        ),
    ),
    cause(
        "no-samples",
        r"Cannot find valid samples, check|num_samples should be a positive integer value",
        (
            "No sample is left to train on.",
            "没有可用的训练样本。",
        ),
        (
            "Every row was refused: roles in the wrong order, empty answers, or a length limit too "
            "short. The Data tab names the lines.",
            "所有样本都不合格：角色顺序不对、回答为空，或截断长度太短。“数据”页会指出是哪些行。",
        ),
    ),
    cause(
        "package",
        r"The '[\w-]+' distribution was not found and is required|"
        r"[Uu]sing `bitsandbytes`[^\n]*requires[^\n]*|"
        r"FlashAttention2 has been toggled on, but[^\n]*|"
        r"DeepSpeed is not installed[^\n]*",
        (
            "The engine's environment lacks a package that these settings need.",
            "引擎环境里缺少这些设置所需的软件包。",
        ),
        (
            "Adopt an environment that has it in the Machine tab, or go without.",
            "在“机器”页改用装有它的环境，或不用这个设置。",
        ),
        for_package,
    ),
    cause(
        "operator",
        r"Ninja is required to load C\+\+ extensions|Error building extension '\w+'|"
        r"CUDA_HOME does not exist, unable to compile|MissingCUDAException|"
        r"Unable to JIT load the \w+ op|requires the \w+ op, which failed to build",
        (
            "DeepSpeed could not compile one of its operators.",
            "DeepSpeed 编译算子失败。",
        ),
        (
            "It needs ninja and g++, and on cards the CUDA toolkit (nvcc, CUDA_HOME) of the same "
            "version as PyTorch's.",
            "需要 ninja 和 g++；用显卡时还需要与 PyTorch 版本一致的 CUDA 工具包（nvcc）。",
        ),
        for_operator,
    ),
    cause(
        "loss-scale",
        r"Current loss scale already at minimum[^\n]*",
        (
            "fp16 overflowed at every step until the loss could not be scaled down further.",
            "fp16 一直溢出，损失缩放已经降到最小。",
        ),
        (
            "Use bf16 where the card can, or a lower learning rate.",
            "显卡支持的话改用 bf16，或降低学习率。",
        ),
        for_loss,
    ),
)
"""Causes that name themselves exactly."""

ENDED = (
    cause(
        "rank-died",
        r"ChildFailedError|exits with return code = -?[1-9]|"
        r"Sending process \d+ closing signal SIG\w+|failed \(exitcode: -?\d+\)",
        (
            "One of the training processes ended, and the launcher ended the others.",
            "一个训练进程退出，启动器随之结束了其他进程。",
        ),
        (
            "The first error above these lines names the reason, if it had time to say one. A "
            "process that goes without a word was often killed for memory: look at `dmesg`.",
            "这些行之前的第一条报错就是原因。如果什么都没说就退出，"
            "多半是内存不足被系统杀掉：看看 `dmesg`。",
        ),
        symptom=True,
    ),
)
"""What is said only when nothing says why."""
