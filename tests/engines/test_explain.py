"""Every known cause is recognised in a line the engine really prints."""

from __future__ import annotations

import pytest
from conftest import spec

from studio.core.spec import Command
from studio.engines.explain import CAUSES, explain
from studio.jobs.jobs import Jobs

REAL_LINES = {
    "disk-full": "OSError: [Errno 28] No space left on device: 'artifacts/output'",
    "gpu-memory": "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB.",
    "kv-cache": "ValueError: No available memory for the cache blocks. Try increasing "
    "`gpu_memory_utilization` when initializing the engine.",
    "port": "OSError: [Errno 98] Address already in use",
    "heads": "ValueError: Total number of attention heads (14) must be divisible by tensor "
    "parallel size (4).",
    "context": "ValueError: User-specified max_model_len (99999) is greater than the derived "
    "max_model_len (max_position_embeddings=2048)",
    "tokenizer": "OSError: Can't load tokenizer for '/m'. If you were trying to load it",
    "hub": "huggingface_hub.errors.LocalEntryNotFoundError: Cannot find the requested files",
    "model-files": "OSError: /m does not appear to have a file named pytorch_model.bin",
    "module": "ModuleNotFoundError: No module named 'vllm'",
    "network": "error: Failed to fetch: `torch`",
    "cuda": "RuntimeError: The NVIDIA driver: CUDA driver version is insufficient",
    "nccl": "torch.distributed.DistBackendError: NCCL error in: ProcessGroupNCCL.cpp:268",
}


def test_no_cause_without_its_line() -> None:
    assert {cause.key for cause in CAUSES} == set(REAL_LINES)


@pytest.mark.parametrize("key", REAL_LINES)
def test_cause_is_found_with_its_proof(jobs: Jobs, key: str) -> None:
    line = REAL_LINES[key]
    command = Command(argv=("sh", "-c", 'echo start; echo "$LINE"; exit 1'), env={"LINE": line})
    asked = spec("leave").model_copy(update={"command": command})
    run = jobs.wait(jobs.submit(asked).id, timeout_s=20)
    why = explain(run)
    assert why.key == key
    assert line in why.lines
    assert why.says["zh"] and why.advice["zh"]


def test_unknown_cause_is_said_to_be_unknown(jobs: Jobs) -> None:
    run = jobs.wait(jobs.submit(spec("leave", 3)).id, timeout_s=20)
    why = explain(run)
    assert why.key == ""
    assert "no name for" in why.says["en"]
    assert any("leaving" in line for line in why.lines)


def test_killed_from_outside(jobs: Jobs) -> None:
    run = jobs.wait(jobs.submit(spec("leave", -9)).id, timeout_s=20)
    assert explain(run).key == "host-memory"


def test_success_needs_no_explanation(jobs: Jobs) -> None:
    run = jobs.wait(jobs.submit(spec("leave", 0)).id, timeout_s=20)
    assert explain(run) is None
