"""What is trained, from which data and by which method: the first half of a training's settings.

How it runs (launcher, memory, precision, saving, logging) is in `training_run_fields`. Names are
those of LLaMA-Factory's YAML.
"""

from __future__ import annotations

from typing import Literal

from studio.engines.engine import EngineConfig, knob
from studio.engines.shared_fields import Bits, dataset_dir_field, model_field, template_field

NO_PPO = (
    "LLaMA-Factory 0.9.5 cannot run PPO: its trainer needs trl <= 0.9.6, and everything else of "
    "this release needs a newer one.",
    "LLaMA-Factory 0.9.5 跑不了 PPO：它的 PPO 训练器要求 trl <= 0.9.6，而其余部分要求更新的版本。",
)
"""Why the stage `ppo` is shown and cannot be chosen, in both languages."""


class MethodFields(EngineConfig):
    """The model, the data and the method of a training."""

    model_name_or_path: str = model_field()
    stage: Literal["pt", "sft", "rm", "ppo", "dpo", "kto"] = knob(
        "sft",
        title="Stage",
        help="pt: plain text. sft: questions and answers. dpo: better and worse answers (ORPO and "
        "SimPO are losses of it). kto: answers marked good or bad. rm: a reward model.",
        zh=(
            "训练阶段",
            "pt：纯文本。sft：问答。dpo：好坏成对的回答（ORPO、SimPO 是它的损失函数）。"
            "kto：标了好坏的回答。rm：奖励模型。",
        ),
        unavailable={"ppo": NO_PPO},
    )
    finetuning_type: Literal["full", "freeze", "lora"] = knob(
        "lora",
        title="What is trained",
        help="lora trains small added matrices; freeze the last layers; full everything.",
        zh=("微调方式", "lora 只训练新增的小矩阵；freeze 训练最后几层；full 训练全部参数。"),
    )
    dataset: str = knob(
        title="Data sets",
        help="Names of data sets, separated by commas.",
        zh=("数据集", "数据集的名字，多个用逗号分隔。"),
        min_length=1,
    )
    dataset_dir: str = dataset_dir_field()
    template: str = template_field()
    cutoff_len: int = knob(
        2048,
        title="Length limit",
        help="Longer samples are cut to so many tokens. Memory grows with it.",
        zh=("截断长度", "超过的样本会被截断（token 数）。越长越占显存。"),
        ge=16,
    )
    per_device_train_batch_size: int = knob(
        1,
        title="Batch per card",
        help="Samples per card and step. Start at 1; memory grows with it.",
        zh=("每卡批大小", "每张卡每步的样本数。先用 1；越大越占显存。"),
        ge=1,
    )
    gradient_accumulation_steps: int = knob(
        1,
        title="Accumulation",
        help="Steps gathered before an update: a larger batch without more memory.",
        zh=("梯度累积", "累积多少步再更新一次：不多占显存也能用更大的批。"),
        ge=1,
    )
    learning_rate: float = knob(
        1e-4,
        title="Learning rate",
        help="1e-4 suits LoRA, 1e-5 full training of large models, 5e-6 preferences.",
        zh=("学习率", "LoRA 常用 1e-4，大模型全参训练常用 1e-5，偏好训练常用 5e-6。"),
        gt=0,
    )
    num_train_epochs: float = knob(
        3.0,
        title="Epochs",
        help="How often every sample is seen.",
        zh=("训练轮数", "每条样本被看到的次数。"),
        gt=0,
    )
    max_steps: int = knob(
        -1,
        title="Most steps",
        help="Ends after so many updates, whatever the epochs say. -1: no limit.",
        zh=("最大步数", "到这么多步就结束，不管轮数。-1 表示不限。"),
        ge=-1,
    )
    eval_dataset: str = knob(
        "",
        title="Evaluation sets",
        help="Data sets to evaluate on, separated by commas. Empty: the share held out below.",
        zh=("验证数据集", "用来验证的数据集，逗号分隔。留空则用下面留出的比例。"),
        group="data",
    )
    val_size: float = knob(
        0.0,
        title="Held out",
        help="Share of the data kept for evaluation; 0 keeps none.",
        zh=("验证集比例", "留出多少数据做验证；0 表示不留。"),
        group="data",
        ge=0,
        lt=1,
    )
    eval_steps: int | None = knob(
        None,
        title="Evaluate every",
        help="Steps between evaluations. Empty: once an epoch, where there is evaluation data.",
        zh=("验证间隔", "每多少步验证一次。留空则每轮一次（有验证数据时）。"),
        group="data",
        ge=1,
    )
    per_device_eval_batch_size: int = knob(
        1,
        title="Evaluation batch",
        help="Samples per card and evaluation step; the logits of all of them are held.",
        zh=("验证批大小", "每张卡每次验证的样本数；会同时保留它们的 logits。"),
        group="data",
        ge=1,
    )
    train_sampling_strategy: Literal["random", "sequential", "group_by_length"] = knob(
        "random",
        title="Sample order",
        help="group_by_length puts samples of like length together: less padding, faster.",
        zh=("采样顺序", "group_by_length 把长度相近的样本放在一起：填充更少，更快。"),
        group="data",
    )
    packing: bool | None = knob(
        None,
        title="Packing",
        help="Fills every sample up to the length limit with others. Empty: with pt alone.",
        zh=("样本拼接", "把多条样本拼到截断长度。留空则只在 pt 时拼接。"),
        group="data",
    )
    adapter_name_or_path: str = knob(
        "",
        title="Adapter to go on with",
        help="Folder of a LoRA adapter that is trained further. Empty: a new one.",
        zh=("继续训练的适配器", "接着训练的 LoRA 目录。留空则新建。"),
        group="lora",
    )
    lora_rank: int = knob(
        8,
        title="LoRA rank",
        help="Size of the added matrices; 8 to 64 are usual.",
        zh=("LoRA rank", "新增矩阵的秩，常用 8 到 64。"),
        group="lora",
        ge=1,
    )
    lora_alpha: int | None = knob(
        None,
        title="LoRA alpha",
        help="Strength of the added matrices. Empty: twice the rank.",
        zh=("LoRA alpha", "新增矩阵的强度。留空为 rank 的两倍。"),
        group="lora",
        ge=1,
    )
    lora_target: str = knob(
        "all",
        title="LoRA layers",
        help="all puts matrices on every linear layer.",
        zh=("LoRA 作用层", "all 表示所有线性层。"),
        group="lora",
    )
    lora_dropout: float = knob(
        0.0,
        title="LoRA dropout",
        help="Share of the added matrices' inputs left out at random; against overfitting.",
        zh=("LoRA dropout", "随机丢弃新增矩阵输入的比例；减轻过拟合。"),
        group="lora",
        ge=0,
        lt=1,
    )
    use_rslora: bool = knob(
        False,
        title="rsLoRA",
        help="Scales by the root of the rank: large ranks learn as well as small ones.",
        zh=("rsLoRA", "按秩的平方根缩放：大 rank 也能学得稳。"),
        group="lora",
    )
    use_dora: bool = knob(
        False,
        title="DoRA",
        help="Trains length and direction of the weights apart: often better, slower.",
        zh=("DoRA", "把权重的大小和方向分开训练：通常更好，但更慢。"),
        group="lora",
    )
    pissa_init: bool = knob(
        False,
        title="PiSSA",
        help="Starts from the largest parts of the weights instead of zero: learns sooner.",
        zh=("PiSSA", "从权重的主成分开始，而不是从零：收敛更快。"),
        group="lora",
    )
    pissa_iter: int = knob(
        16,
        title="PiSSA iterations",
        help="Rounds of the fast decomposition; -1 takes the exact, slow one.",
        zh=("PiSSA 迭代次数", "快速分解的迭代次数；-1 为精确但很慢的分解。"),
        group="lora",
        ge=-1,
    )
    additional_target: str = knob(
        "",
        title="Also trained in full",
        help="Modules trained beside the matrices, such as embed_tokens,lm_head for new words.",
        zh=("额外全量训练的模块", "除 LoRA 外还训练的模块，例如加新词时的 embed_tokens,lm_head。"),
        group="lora",
    )
    freeze_trainable_layers: int = knob(
        2,
        title="Layers trained (freeze)",
        help="With freeze: so many of the last layers; a negative number counts from the first.",
        zh=("训练的层数（freeze）", "freeze 时训练最后几层；负数表示最前面几层。"),
        group="lora",
    )
    pref_loss: Literal["sigmoid", "hinge", "ipo", "kto_pair", "orpo", "simpo"] = knob(
        "sigmoid",
        title="Preference loss",
        help="sigmoid is DPO itself; orpo and simpo need no reference model.",
        zh=("偏好损失", "sigmoid 就是 DPO；orpo 和 simpo 不需要参考模型。"),
        group="preference",
    )
    pref_beta: float = knob(
        0.1,
        title="Beta",
        help="How firmly the model is held to the reference; smaller lets it go further.",
        zh=("Beta", "对参考模型的约束强度；越小走得越远。"),
        group="preference",
        ge=0,
    )
    pref_ftx: float = knob(
        0.0,
        title="SFT share",
        help="Weight of the plain loss on the better answer, beside the preference.",
        zh=("SFT 损失权重", "在偏好损失之外，对好回答加多少普通损失。"),
        group="preference",
        ge=0,
    )
    simpo_gamma: float = knob(
        0.5,
        title="SimPO margin",
        help="By how much the better answer should win.",
        zh=("SimPO 间隔", "好回答应当领先多少。"),
        group="preference",
        ge=0,
    )
    ref_model: str = knob(
        "",
        title="Reference model",
        help="Model to be held to. Empty: the model itself, as it was (LoRA needs no copy).",
        zh=("参考模型", "用来约束的模型。留空则用训练前的自己（LoRA 不需要另外一份）。"),
        group="preference",
    )
    quantization_bit: Bits = knob(
        None,
        title="Bits of the frozen weights",
        help="4 or 8 with LoRA: QLoRA, a quarter or half of the memory for weights, slower.",
        zh=("冻结权重的位数", "LoRA 时可用 4 或 8：即 QLoRA，权重显存降到约 1/4 或 1/2，更慢。"),
        group="quant",
    )
    quantization_method: Literal["bnb"] = knob(
        "bnb",
        title="Quantized by",
        help="bitsandbytes rounds the weights while they load.",
        zh=("量化方法", "加载时由 bitsandbytes 量化。"),
        group="quant",
    )
    quantization_type: Literal["nf4", "fp4"] = knob(
        "nf4",
        title="4-bit format",
        help="nf4 suits the distribution of weights best.",
        zh=("4 bit 格式", "nf4 最符合权重的分布。"),
        group="quant",
    )
    double_quantization: bool = knob(
        True,
        title="Quantize the scales as well",
        help="Saves another 0.4 bits per weight.",
        zh=("二次量化", "缩放系数也量化，每个权重再省 0.4 bit。"),
        group="quant",
    )
    freeze_vision_tower: bool = knob(
        True,
        title="Keep the vision tower",
        help="Vision models: leaves the part that sees as it is. Off only for models of your own.",
        zh=("冻结视觉塔", "视觉模型：不训练看图的部分。只有自己造的小模型才关掉。"),
        group="vision",
    )
    freeze_multi_modal_projector: bool = knob(
        True,
        title="Keep the projector",
        help="Vision models: leaves the layer between picture and text as it is.",
        zh=("冻结投影层", "视觉模型：不训练连接图像与文本的那一层。"),
        group="vision",
    )
    image_max_pixels: int = knob(
        589824,
        title="Largest picture",
        help="Larger pictures are scaled down to so many pixels (768 x 768). Memory grows with it.",
        zh=("图片最大像素", "更大的图片会缩小到这么多像素（768 x 768）。越大越占显存。"),
        group="vision",
        ge=784,
    )
    draw_pictures: int = knob(
        0,
        title="Pictures to draw",
        help="Draws so many pictures of coloured shapes first, as the only data set: shapes.",
        zh=("先画多少张图", "训练前先画这么多张彩色图形，作为唯一的数据集 shapes。"),
        group="vision",
        ge=0,
    )
    train_from_scratch: bool = knob(
        False,
        title="From nothing",
        help="Ignores the weights and starts from random ones; for models of your own.",
        zh=("从零训练", "忽略已有权重，随机初始化。只用于自己造的小模型。"),
        group="expert",
    )
    seed: int = knob(
        42,
        title="Seed",
        help="The same seed and settings give the same run on the same machine.",
        zh=("随机种子", "同一机器、同样设置和种子，结果相同。"),
        group="expert",
        ge=0,
    )
