"""Model files: missing, cut off, gated, out of reach, unknown to the engine."""

from __future__ import annotations

from studio.engines.causes.cause import cause

MODEL = (
    cause(
        "truncated",
        r"SafetensorError|HeaderTooLarge|MetadataIncompleteBuffer|InvalidHeaderDeserialization|"
        r"incomplete metadata, file not fully covered|PytorchStreamReader failed",
        (
            "A weight file is cut off or damaged, most often by an interrupted download.",
            "权重文件不完整或已损坏，多半是下载中断造成的。",
        ),
        (
            "Repeat the download: what is complete is kept. Compare the sizes with the hub's.",
            "重新下载：完整的文件会保留。可与 hub 上的文件大小对比。",
        ),
    ),
    cause(
        "tokenizer",
        r"Can't load tokenizer|Couldn't instantiate the backend tokenizer|"
        r"tokenizer[^\n]{0,60}not found|"
        r"tokenization_\w+\.py[^\n]*\n([^\n]*\n){0,16}?[^\n]*JSONDecodeError[^\n]*",
        ("The tokenizer cannot be loaded.", "无法加载 tokenizer。"),
        (
            "Check that the model folder holds tokenizer.json or tokenizer.model; "
            "repeat the download.",
            "确认模型目录里有 tokenizer.json 或 tokenizer.model；可重新下载补全。",
        ),
    ),
    cause(
        "gated",
        r"GatedRepoError|You are trying to access a gated repo|Cannot access gated repo|"
        r"is a gated repository",
        (
            "The model is gated: its owner lets only those in who have asked.",
            "这是受限模型：需要先向作者申请访问权限。",
        ),
        (
            "Ask for access on its hub page, then set HF_TOKEN before the studio starts. Mirrors "
            "such as ModelScope often have an open copy.",
            "先在模型主页申请权限，再在启动前设置 HF_TOKEN。ModelScope 等镜像站常有公开副本。",
        ),
    ),
    cause(
        "offline",
        r"offline mode is enabled|OfflineModeIsEnabled|outgoing traffic has been "
        r"disabled",
        (
            "The model is not on this machine, and downloads are switched off (HF_HUB_OFFLINE).",
            "本机没有这个模型，而且禁止了下载（HF_HUB_OFFLINE）。",
        ),
        (
            "Give a local folder, or unset HF_HUB_OFFLINE and start the studio again.",
            "改用本地目录，或取消 HF_HUB_OFFLINE 后重新启动。",
        ),
    ),
    cause(
        "hub",
        r"LocalEntryNotFoundError|Cannot find the requested files|couldn't connect to|"
        r"Max retries exceeded|RepositoryNotFoundError|httpx?2?\.Connect(Error|Timeout)",
        (
            "The model is not on this machine and the hub cannot be reached.",
            "本机没有这个模型，也连不上 hub。",
        ),
        (
            "Give a local folder, or set HF_ENDPOINT to a mirror. Check the name too.",
            "改用本地目录，或把 HF_ENDPOINT 设为镜像。也请检查名字是否正确。",
        ),
    ),
    cause(
        "model-files",
        r"Cannot find any model weights|No such file or directory:? \"?'?[^\n]*(config\.json|"
        r"safetensors)|does not appear to have a file named|no file named [^\n]*(safetensors|bin)|"
        r"weights were not initialized from checkpoint|Weight files referenced in index but miss",
        ("The model's weights are missing or incomplete.", "模型权重缺失或不完整。"),
        (
            "Check that every shard of model.safetensors.index.json is there; repeating a download "
            "resumes it.",
            "检查 model.safetensors.index.json 里的分片是否齐全；重复下载会续传。",
        ),
    ),
    cause(
        "model-path",
        r"Invalid repository ID or local directory|is not a local folder and is not a valid model|"
        r"Repo id must be in the form|Incorrect path_or_model_id|Unrecognized model in",
        (
            "There is no model at this path.",
            "这个路径下没有模型。",
        ),
        (
            "Point to the folder that holds config.json, the tokenizer files and the weights.",
            "请指向包含 config.json、tokenizer 文件和权重的目录。",
        ),
    ),
    cause(
        "architecture",
        r"Model architectures [^\n]* (are not supported|failed to be inspected)|"
        r"does not recognize this architecture|has no vLLM implementation",
        (
            "This version of the engine does not know the model's architecture.",
            "这个版本的引擎不认识该模型的结构。",
        ),
        (
            "A newer engine may: adopt another environment in the Machine tab, or take a model "
            "from the list of supported ones.",
            "换更新的引擎版本（在“机器”页改用别的环境），或选用受支持的模型。",
        ),
    ),
)
