"""Which environments exist and what each must be able to import. The pins are in locks/."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

from studio.core.errors import NotFound
from studio.envs import shims

Variant = Literal["cpu", "cuda"]

LOCKS = Path(__file__).parent / "locks"


SELDOM = (
    "transformers/models/",
    "!transformers/models/auto/",
    "!transformers/models/qwen",
    "pygments/lexers/",
    "sympy/physics/",
    "sympy/stats/",
)
"""Files of packages shared by engines that starts do not import; one model needs five of them."""


class Gib(NamedTuple):
    """A size in GiB for each variant."""

    cpu: float
    cuda: float


@dataclass(frozen=True)
class EnvSpec:
    """What one engine's environment is made of and how to tell that it works."""

    name: str
    title: str
    imports: tuple[str, ...]
    """Modules whose import proves the environment: the engine and what breaks first."""
    distribution: str
    """Distribution that carries the engine's version."""
    script: str
    """Console script of the engine, looked for beside the interpreter."""
    size_gib: Gib
    """Disk the finished environment takes; measured for cpu, estimated for cuda."""
    download_gib: Gib
    """What a first build downloads; measured for cpu, estimated for cuda."""
    report: tuple[str, ...] = ()
    """Further distributions whose versions are worth showing."""
    shims: tuple[str, ...] = ()
    """Patches of studio/envs/shims that the CPU variant needs."""
    seldom: tuple[str, ...] = ()
    """Paths in site-packages that a start does not import, so they are not compiled beforehand;
    a leading `!` makes an exception."""
    help: tuple[str, ...] = ()
    """Module, and the words after it, whose output lists every flag of the engine; empty when
    the engine has none that differ between versions."""
    build_env: tuple[tuple[str, str], ...] = ()
    """Variables for source packages that are compiled during the build."""
    cuda_driver: int = 0
    """Oldest NVIDIA driver the CUDA variant runs with; 0 leaves the choice to the lock's torch."""
    client: bool = False
    """True for what only asks servers: it needs no card, so it is the CPU variant everywhere."""
    locks: Path = LOCKS
    """Folder of `NAME.VARIANT.txt`."""

    def lock(self, variant: Variant) -> Path:
        """Return the complete list of pins of a variant."""
        return self.locks / f"{self.name}.{'cpu' if self.client else variant}.txt"

    def comes_for(self, variant: Variant) -> bool:
        """Tell whether there is a lock for a variant; some engines need a card."""
        return self.lock(variant).is_file()

    def shims_for(self, variant: Variant) -> tuple[str, ...]:
        """Return the patches a variant needs; CUDA wheels need none."""
        return self.shims if variant == "cpu" else ()

    def lock_sha256(self, variant: Variant) -> str:
        """Return the digest of the lock and of the shims: another digest makes a build stale."""
        digest = hashlib.sha256(self.lock(variant).read_bytes())
        for shim in self.shims_for(variant):
            digest.update(shims.digest(shim))
        return digest.hexdigest()


VLLM = EnvSpec(
    name="vllm",
    title="vLLM",
    imports=("vllm.entrypoints.cli.main", "torchvision"),
    distribution="vllm",
    script="vllm",
    size_gib=Gib(cpu=2.3, cuda=12),
    download_gib=Gib(cpu=0.5, cuda=5),
    report=("torch", "transformers"),
    help=("vllm.entrypoints.cli.main", "serve", "--help=all"),
    shims=("cpu_ops", "vllm_name"),
    seldom=(
        *SELDOM,
        "vllm/models/",
        "openai/resources/",
        "anthropic/",
        "numba/",
        "llvmlite/",
        "sentry_sdk/",
        "supervisor/",
    ),
    cuda_driver=580,
)

LLAMAFACTORY = EnvSpec(
    name="llamafactory",
    title="LLaMA-Factory",
    imports=("llamafactory.data.mm_plugin",),
    distribution="llamafactory",
    script="llamafactory-cli",
    size_gib=Gib(cpu=2.2, cuda=8),
    download_gib=Gib(cpu=0.6, cuda=4),
    report=("torch", "transformers", "accelerate", "deepspeed", "peft", "trl", "swanlab"),
    shims=("cpu_ops",),
    seldom=(*SELDOM, "modelscope/", "jieba/posseg/", "fontTools/ttLib/"),
    build_env=(("DS_BUILD_OPS", "0"),),
)

ROUTER = EnvSpec(
    name="router",
    title="vLLM Router",
    imports=("vllm_router.launch_router",),
    distribution="vllm-router",
    script="vllm-router",
    size_gib=Gib(cpu=0.1, cuda=0.1),
    download_gib=Gib(cpu=0.03, cuda=0.03),
)

SGLANG = EnvSpec(
    name="sglang",
    title="SGLang",
    imports=("sglang.srt.server_args",),
    distribution="sglang",
    script="sglang",
    size_gib=Gib(cpu=0, cuda=14),
    download_gib=Gib(cpu=0, cuda=6),
    report=("torch", "transformers"),
    help=("sglang.launch_server", "--help"),
    seldom=SELDOM,
    cuda_driver=580,
)

LM_EVAL = EnvSpec(
    name="lm-eval",
    title="lm-evaluation-harness",
    imports=("lm_eval.evaluator", "lm_eval.models.huggingface"),
    distribution="lm-eval",
    script="lm_eval",
    size_gib=Gib(cpu=1.5, cuda=7),
    download_gib=Gib(cpu=0.3, cuda=4),
    report=("torch", "transformers", "datasets", "peft"),
    seldom=(*SELDOM, "lm_eval/tasks/", "sklearn/", "scipy/", "pandas/tests/"),
)

LLM_COMPRESSOR = EnvSpec(
    name="llm-compressor",
    title="llm-compressor",
    imports=("llmcompressor", "compressed_tensors"),
    distribution="llmcompressor",
    script="llmcompressor.trace",
    size_gib=Gib(cpu=1.3, cuda=7),
    download_gib=Gib(cpu=0.3, cuda=4),
    report=("torch", "transformers", "compressed-tensors", "datasets"),
    seldom=(*SELDOM, "pandas/tests/"),
)

DIFFUSERS = EnvSpec(
    name="diffusers",
    title="diffusers",
    imports=(
        "diffusers.pipelines.qwenimage.pipeline_qwenimage_edit_plus",
        "torchvision",
        "uvicorn",
    ),
    distribution="diffusers",
    script="diffusers-cli",
    size_gib=Gib(cpu=1.2, cuda=8),
    download_gib=Gib(cpu=0.3, cuda=4),
    report=("torch", "transformers", "accelerate", "peft", "gguf"),
    shims=("cpu_ops",),
    seldom=(
        *SELDOM,
        "diffusers/pipelines/",
        "!diffusers/pipelines/qwenimage/",
        "diffusers/models/transformers/",
        "!diffusers/models/transformers/transformer_qwenimage",
    ),
)

GUIDELLM = EnvSpec(
    name="guidellm",
    title="GuideLLM",
    imports=("guidellm.__main__", "transformers"),
    distribution="guidellm",
    script="guidellm",
    size_gib=Gib(cpu=1.5, cuda=1.5),
    download_gib=Gib(cpu=0.3, cuda=0.3),
    report=("transformers",),
    seldom=(*SELDOM, "pandas/tests/", "sanic/"),
    client=True,
)

CATALOG: dict[str, EnvSpec] = {
    spec.name: spec
    for spec in (VLLM, LLAMAFACTORY, DIFFUSERS, ROUTER, SGLANG, LM_EVAL, LLM_COMPRESSOR, GUIDELLM)
}


def find(name: str, catalog: dict[str, EnvSpec] = CATALOG) -> EnvSpec:
    """Return an environment's spec; raise NotFound with the names there are."""
    try:
        return catalog[name]
    except KeyError:
        raise NotFound(
            f"There is no environment named {name}.", hint=f"There are: {', '.join(catalog)}."
        ) from None
