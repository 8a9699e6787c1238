"""How a training runs: processes, memory, optimizer, precision, saving and logging.

The second half of a training's settings; what is trained is in `training_fields`. Names are those
of LLaMA-Factory's YAML, except `launcher`, `num_processes`, `strategy`, `offload` and
`offload_nvme_path`, which are the studio's own words for what LLaMA-Factory's users write into
several files and in front of the command.
"""

from __future__ import annotations

from typing import Literal

from studio.engines.engine import EngineConfig, knob


class RunFields(EngineConfig):
    """Processes, memory, optimizer, precision, saving and logging of a training."""

    launcher: Literal["auto", "single", "torchrun", "accelerate", "deepspeed"] = knob(
        "auto",
        title="Launcher",
        help="What starts the processes. auto: none for a single one, else torchrun; FSDP2 goes "
        "through accelerate.",
        zh=("启动器", "由谁启动进程。auto：单进程直接启动，否则 torchrun；FSDP2 走 accelerate。"),
        group="parallel",
    )
    num_processes: int | None = knob(
        None,
        title="Processes",
        help="Empty: one per card, one on a CPU. On a CPU 2 gives two processes that talk by gloo.",
        zh=("进程数", "留空则每张卡一个，CPU 上一个。CPU 上填 2 就是两个用 gloo 通信的进程。"),
        group="parallel",
        ge=1,
    )
    strategy: Literal["ddp", "fsdp2", "zero1", "zero2", "zero3"] = knob(
        "ddp",
        title="Strategy",
        help="What the cards share out. ddp: nothing. zero1: optimizer states. zero2: gradients as "
        "well. zero3 and fsdp2: weights as well.",
        zh=(
            "并行策略",
            "多卡之间分摊什么。ddp：都不分。zero1：优化器状态。zero2：再加梯度。zero3、fsdp2：再加权重。",
        ),
        group="parallel",
    )
    deepspeed: str = knob(
        "",
        title="DeepSpeed config of your own",
        help="Path of a JSON file, used instead of the one the studio writes for the strategy.",
        zh=("自己的 DeepSpeed 配置", "JSON 文件路径，代替按并行策略生成的配置。"),
        group="parallel",
    )
    offload: Literal["none", "optimizer", "all"] = knob(
        "none",
        title="Wait in host memory",
        help="optimizer: its states, and its step is done by the CPU. all: the weights, too "
        "(zero3, fsdp2). Saves memory of the card, costs time.",
        zh=(
            "卸载到内存",
            "optimizer：优化器状态，由 CPU 更新。all：权重也放（zero3、fsdp2）。省显存，但更慢。",
        ),
        group="memory",
    )
    offload_nvme_path: str = knob(
        "",
        title="Wait on a disk",
        help="Folder on a fast disk for what is offloaded (zero3). Empty: host memory.",
        zh=("卸载到磁盘", "高速磁盘上的目录，放卸载的内容（zero3）。留空则放内存。"),
        group="memory",
    )
    disable_gradient_checkpointing: bool = knob(
        False,
        title="Keep all activations",
        help="Faster by about a quarter, and takes far more memory.",
        zh=("关闭梯度检查点", "大约快四分之一，但显存占用大很多。"),
        group="memory",
    )
    flash_attn: Literal["auto", "disabled", "sdpa", "fa2", "fa3"] = knob(
        "auto",
        title="Attention",
        help="auto takes PyTorch's own fast one (sdpa); fa2 and fa3 need flash-attn installed.",
        zh=("注意力实现", "auto 使用 PyTorch 自带的 sdpa；fa2、fa3 需要安装 flash-attn。"),
        group="memory",
    )
    enable_liger_kernel: bool = knob(
        False,
        title="Liger kernels",
        help="Computes the loss in pieces: less memory with large vocabularies. Needs liger-kernel "
        "and a card.",
        zh=("Liger kernel", "分块计算损失：词表大时省显存。需要安装 liger-kernel，且需要显卡。"),
        group="memory",
    )
    lr_scheduler_type: Literal[
        "linear",
        "cosine",
        "constant",
        "constant_with_warmup",
        "cosine_with_restarts",
        "cosine_with_min_lr",
        "polynomial",
        "inverse_sqrt",
        "warmup_stable_decay",
    ] = knob(
        "cosine",
        title="Schedule",
        help="How the learning rate falls.",
        zh=("学习率调度", "学习率下降的方式。"),
        group="optimizer",
    )
    warmup_ratio: float = knob(
        0.0,
        title="Warm-up share",
        help="Share of all steps in which the learning rate rises from zero; 0.1 is usual.",
        zh=("预热比例", "学习率从零升上来占总步数的比例，常用 0.1。"),
        group="optimizer",
        ge=0,
        lt=1,
    )
    warmup_steps: int = knob(
        0,
        title="Warm-up steps",
        help="The same as a number of steps.",
        zh=("预热步数", "同上，但直接写步数。"),
        group="optimizer",
        ge=0,
    )
    optim: Literal[
        "adamw_torch_fused",
        "adamw_torch",
        "adamw_8bit",
        "paged_adamw_8bit",
        "paged_adamw_32bit",
        "lion_8bit",
        "adafactor",
        "sgd",
    ] = knob(
        "adamw_torch_fused",
        title="Optimizer",
        help="adamw_8bit takes a quarter of the memory for its states; adafactor hardly any.",
        zh=("优化器", "adamw_8bit 的状态只占 1/4 显存；adafactor 几乎不占。"),
        group="optimizer",
    )
    weight_decay: float = knob(
        0.0,
        title="Weight decay",
        help="Pulls weights towards zero; 0.01 to 0.1 against overfitting.",
        zh=("权重衰减", "把权重拉向零；0.01 到 0.1 可减轻过拟合。"),
        group="optimizer",
        ge=0,
    )
    max_grad_norm: float = knob(
        1.0,
        title="Gradient limit",
        help="Longer gradients are shortened to this norm; 0 leaves them.",
        zh=("梯度裁剪", "梯度范数超过它就缩小；0 表示不裁剪。"),
        group="optimizer",
        ge=0,
    )
    bf16: bool = knob(
        False,
        title="bf16",
        help="Half the memory of fp32 on cards from Ampere on. Slow on CPUs without AMX.",
        zh=("bf16", "Ampere 及以后的卡上显存减半。没有 AMX 的 CPU 上很慢。"),
        group="precision",
    )
    fp16: bool = knob(
        False,
        title="fp16",
        help="For V100 and older cards; not on a CPU.",
        zh=("fp16", "给 V100 等旧卡用；CPU 上不可用。"),
        group="precision",
    )
    pure_bf16: bool = knob(
        False,
        title="Pure bf16",
        help="No float32 copy of what is trained: much less memory, small updates get lost.",
        zh=("纯 bf16", "训练的参数不留 float32 副本：省很多显存，但会丢失很小的更新。"),
        group="precision",
    )
    use_cpu: bool = knob(
        False,
        title="On the CPU",
        help="Trains without cards, for tiny models.",
        zh=("用 CPU", "不用显卡训练，只适合很小的模型。"),
        group="precision",
    )
    resume_from_checkpoint: str = knob(
        "",
        title="Go on from",
        help="A checkpoint folder of an earlier run with the same settings: step, optimizer and "
        "order of the data are taken up where it stopped.",
        zh=("从检查点继续", "同样设置的旧运行里的 checkpoint 目录：步数、优化器和数据顺序接着来。"),
        group="saving",
    )
    save_steps: int | None = knob(
        None,
        title="Checkpoint every",
        help="Steps between checkpoints. Empty: only the final result is saved.",
        zh=("保存间隔", "每多少步存一个 checkpoint。留空则只保存最终结果。"),
        group="saving",
        ge=1,
    )
    save_total_limit: int | None = knob(
        None,
        title="Checkpoints kept",
        help="Older ones are deleted. Empty: all are kept.",
        zh=("保留几个", "更旧的会删除。留空则全部保留。"),
        group="saving",
        ge=1,
    )
    save_only_model: bool = knob(
        False,
        title="Without optimizer states",
        help="Checkpoints of a third of the size; a run cannot go on from them.",
        zh=("只存模型", "checkpoint 小到三分之一，但不能从它继续训练。"),
        group="saving",
    )
    load_best_model_at_end: bool = knob(
        False,
        title="Keep the best",
        help="The result is the checkpoint that evaluated best, not the last one.",
        zh=("保留最佳", "最终结果取验证最好的 checkpoint，而不是最后一个。"),
        group="saving",
    )
    metric_for_best_model: str = knob(
        "",
        title="Best by",
        help="Figure that decides which is best. Empty: eval_loss.",
        zh=("最佳的标准", "按哪个指标选最佳。留空为 eval_loss。"),
        group="saving",
    )
    early_stopping_steps: int | None = knob(
        None,
        title="Stop early after",
        help="Ends when so many evaluations in a row were no better. Needs Keep the best.",
        zh=("提前停止", "连续多少次验证没有变好就结束。需要打开“保留最佳”。"),
        group="saving",
        ge=1,
    )
    logging_steps: int = knob(
        5,
        title="Log every",
        help="Steps between two points of the curve.",
        zh=("记录间隔", "曲线上两点之间的步数。"),
        group="logging",
        ge=1,
    )
    report_to: Literal["none", "tensorboard", "swanlab", "trackio", "wandb"] = knob(
        "none",
        title="Also report to",
        help="The studio's own curves need none of them. All of them write into the run folder; "
        "nothing is sent anywhere.",
        zh=("同时记录到", "本页的曲线不需要它们。都只写进运行目录，不会上传。"),
        group="logging",
    )
    run_name: str = knob(
        "",
        title="Name there",
        help="Name of the run in that program.",
        zh=("运行名称", "在该程序里的名称。"),
        group="logging",
    )
