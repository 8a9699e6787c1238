"""Make vLLM fail on a real card in the known ways and keep its logs. Run by hand:

    LADDER_TEST_ENVS="vllm=/usr/bin/python3:/root/site-vllm" python3 tests/gpu/make_failures.py OUT

One card, about four minutes, nothing downloaded: random weights (`--load-format dummy`) of the
shape of Qwen2.5-0.5B. Each log is written to OUT/<cause>--vllm-gpu.txt as the engine wrote it, and
a table says which cause the studio tells from it. `tests/engines/logs` is where a log goes then,
trimmed, with its line in the README there.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve()
sys.path[:0] = [str(HERE.parents[2]), str(HERE.parents[1])]

from studio.core.settings import ROOT  # noqa: E402
from studio.core.spec import Command, Resources, RunSpec  # noqa: E402
from studio.engines.explain import read_log  # noqa: E402
from studio.engines.vllm import Vllm  # noqa: E402
from studio.jobs.logs import clean  # noqa: E402
from studio.jobs.shim.cards import read_cards  # noqa: E402

GIB = 2**30
TIMEOUT_S = 110
"""A start that has not failed by then is ended, and said not to have failed."""
SHAPE = {
    "architectures": ["Qwen2ForCausalLM"],
    "model_type": "qwen2",
    "hidden_size": 896,
    "intermediate_size": 4864,
    "num_hidden_layers": 24,
    "num_attention_heads": 14,
    "num_key_value_heads": 2,
    "vocab_size": 151936,
    "max_position_embeddings": 1048576,
    "rms_norm_eps": 1e-6,
    "rope_theta": 1000000.0,
    "hidden_act": "silu",
    "tie_word_embeddings": True,
    "torch_dtype": "bfloat16",
    "bos_token_id": 0,
    "eos_token_id": 2,
}
QUIET = {
    "VLLM_USE_FLASHINFER_SAMPLER": "0",
    "VLLM_NO_USAGE_STATS": "1",
    "HF_HUB_OFFLINE": "1",
    "NCCL_NVLS_ENABLE": "0",
    "TORCH_SYMM_MEM_DISABLE_MULTICAST": "1",
    "NVSHMEM_DISABLE_NVLS": "1",
    "CUDA_VISIBLE_DEVICES": os.environ.get("CUDA_VISIBLE_DEVICES", "0"),
    "PYTHONUNBUFFERED": "1",
}
HOLD = """
import sys, time, torch
kept = [torch.zeros(1, device="cuda")]
print("up", flush=True)
leave = float(sys.stdin.readline()) * 2**30
for share in (1.0, 0.98, 0.95, 0.9):
    try:
        free = torch.cuda.mem_get_info()[0] - leave
        kept.append(torch.empty(int(free * share), dtype=torch.uint8, device="cuda"))
        break
    except torch.OutOfMemoryError:
        pass
torch.cuda.synchronize(); print("held", flush=True); time.sleep(600)
"""
"""Takes all of the card but so many GiB, as soon as it is told how many."""


@dataclass(frozen=True, kw_only=True)
class Case:
    """One way to fail: the words after `vllm serve MODEL`, and who else is on the card."""

    cause: str
    words: tuple[str, ...]
    leave_gib: float | None = None
    """All but so much of the card is held by somebody else from the start."""
    late_gib: float | None = None
    """All but so much is taken when the log says `when`: the engine has measured by then."""
    when: str = ""
    shape: tuple[tuple[str, int], ...] = ()
    """What differs from the small shape."""


def cases(total_gib: float) -> list[Case]:
    """Return the cases for a card of so many GiB; shares are worked out from its size."""

    def share(gib: float) -> str:
        return f"{gib / total_gib:.4f}"

    eager, short = ("--enforce-eager",), ("--max-model-len", "4096")
    big = (("num_hidden_layers", 96), ("hidden_size", 3584), ("intermediate_size", 18944))
    return [
        Case(cause="too-few-cards", words=("--tensor-parallel-size", "2", *short)),
        Case(
            cause="heads",
            words=("--tensor-parallel-size", "4", "--distributed-executor-backend", "mp", *short),
        ),
        Case(cause="memory-taken", words=(*eager, *short), leave_gib=6.0),
        Case(
            cause="oom-weights",
            words=(*eager, *short, "--gpu-memory-utilization", share(7.0)),
            leave_gib=8.0,
            shape=big,
        ),
        Case(
            cause="no-cache-blocks",
            words=(*eager, *short, "--gpu-memory-utilization", share(1.2)),
        ),
        Case(
            cause="kv-cache",
            words=(*eager, "--max-model-len", "1000000", "--gpu-memory-utilization", share(6.0)),
        ),
        Case(
            cause="oom-profiling",
            words=(
                *(*eager, *short, "--gpu-memory-utilization", share(2.8)),
                *("--max-num-batched-tokens", "262144", "--max-num-seqs", "16"),
            ),
            leave_gib=3.6,
        ),
        Case(
            cause="oom-cache",
            words=(
                *(*eager, *short, "--gpu-memory-utilization", share(10.0)),
                *("--kv-cache-memory-bytes", str(int(0.9 * total_gib * GIB))),
            ),
            leave_gib=12.0,
        ),
        Case(
            cause="oom-graphs",
            words=(*short, "--max-num-seqs", "512", "--gpu-memory-utilization", share(6.0)),
            late_gib=0.05,
            when=r"GPU KV cache size",
        ),
    ]


def main() -> None:
    """Run the cases one after the other and print what came of each."""
    out = Path(sys.argv[1] if len(sys.argv) > 1 else os.environ["OUT"])
    out.mkdir(parents=True, exist_ok=True)
    python, env = interpreter()
    total = read_cards()[0].total / GIB
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for number, case in enumerate(cases(total)):
            began = time.monotonic()
            log = out / f"{case.cause}--vllm-gpu.txt"
            code = fail(case, model(Path(folder) / str(number), case), log, python, env)
            told = read_log(spec(case), clean(log.read_text(errors="replace")))
            fixes = [fix.changes for fix in told.fixes] if told else []
            row = (case.cause, told.key if told else "", code, time.monotonic() - began, fixes)
            rows.append(row)
            print("{:<16} told {:<16} exit {!s:<5} {:6.1f} s  {}".format(*row), flush=True)
    wrong = [row[0] for row in rows if row[0] != row[1]]
    print(f"{len(rows) - len(wrong)} of {len(rows)} as meant; not so: {', '.join(wrong) or 'none'}")


def fail(case: Case, folder: Path, log: Path, python: str, env: dict[str, str]) -> int | None:
    """Start vLLM and wait until it is gone; return its exit code, None when it had to be killed."""
    started: list[subprocess.Popen[str]] = []
    argv = [python, "-m", "vllm.entrypoints.cli.main", "serve", str(folder)]
    argv += ["--load-format", "dummy", "--port", "8761", *case.words]
    try:
        holder = None
        if case.leave_gib is not None or case.late_gib is not None:
            holder = subprocess.Popen(
                [python, "-c", HOLD],
                env=env,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                start_new_session=True,
            )
            started.append(holder)
            said(holder, "up")
        if holder is not None and case.leave_gib is not None:
            take(holder, case.leave_gib)
        with open(log, "w") as file:
            engine = subprocess.Popen(
                argv,
                env=env,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=file,
                text=True,
                start_new_session=True,
            )
        started.append(engine)
        until = time.monotonic() + TIMEOUT_S
        waiting = case.late_gib
        while engine.poll() is None and time.monotonic() < until:
            text = log.read_text(errors="replace")
            if holder is not None and waiting is not None and case.when in text:
                take(holder, waiting)
                waiting = None
            if "Application startup complete" in text:
                break
            time.sleep(0.05)
        return engine.poll()
    finally:
        for process in started:
            try:
                os.killpg(process.pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
            process.wait()
        given_back()


def take(holder: subprocess.Popen[str], leave_gib: float) -> None:
    """Let somebody else take all of the card but so much, and return once it is taken."""
    assert holder.stdin is not None
    holder.stdin.write(f"{leave_gib}\n")
    holder.stdin.flush()
    said(holder, "held")


def said(process: subprocess.Popen[str], word: str) -> None:
    """Wait for a line; raise when the process ended without it."""
    assert process.stdout is not None
    line = process.stdout.readline()
    if not line.startswith(word):
        raise RuntimeError(f"the holder of the card said {line!r} instead of {word!r}")


def given_back() -> None:
    """Wait until the card is nearly empty again; raise when it is not after half a minute."""
    until = time.monotonic() + 30
    while read_cards()[0].used > 2 * GIB:
        if time.monotonic() > until:
            raise RuntimeError(f"memory is still held: {read_cards()[0]}")
        time.sleep(0.2)


def model(folder: Path, case: Case) -> Path:
    """Make a model folder of the case's shape; the tokenizer is the tiny model's."""
    folder.mkdir()
    for name in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja"):
        shutil.copy(ROOT / "assets/models/tiny-qwen2.5" / name, folder / name)
    (folder / "config.json").write_text(json.dumps({**SHAPE, **dict(case.shape)}))
    return folder


def spec(case: Case) -> RunSpec:
    """Return the spec that such a run would have, so that fixes can be worked out."""
    given = dict(zip(case.words[:-1], case.words[1:], strict=True))
    settings: dict[str, object] = {"model": "/models/small", "load_format": "dummy"}
    for flag, value in given.items():
        name = flag.removeprefix("--").replace("-", "_")
        if flag.startswith("--") and name in Vllm.Config.model_fields:
            settings[name] = True if value.startswith("--") else value
    config = Vllm.Config.model_validate(settings).model_dump(mode="json")
    return RunSpec(
        id="made",
        name="made",
        engine="vllm",
        config=config,
        command=Command(argv=()),
        resources=Resources(num_gpus=1),
        created_at=0,
    )


def interpreter() -> tuple[str, dict[str, str]]:
    """Return vLLM's Python and its environment, as LADDER_TEST_ENVS names them."""
    named = {}
    for item in os.environ["LADDER_TEST_ENVS"].split(","):
        name, _, where = item.partition("=")
        named[name] = where
    python, *paths = named["vllm"].split(":")
    path = os.pathsep.join([*paths, os.environ.get("PYTHONPATH", "")]).strip(os.pathsep)
    return python, {**os.environ, **QUIET, "PYTHONPATH": path}


if __name__ == "__main__":
    main()
