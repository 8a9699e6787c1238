"""Ask the image editor's worker over HTTP, and make what it can be given: adapters, GGUF files."""

from __future__ import annotations

import io
import json
import os
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image

from e2e.adapter import safetensors
from e2e.conftest import endpoint_of, ready, stopped
from studio.core.settings import ROOT
from studio.core.spec import Endpoint
from studio.jobs.jobs import Run
from studio.jobs.shim import procs
from studio.studio import Studio

TINY = ROOT / "assets/models/tiny-qwen-image-edit"
PICTURES = ROOT / "assets/data/pictures"
SIDE = 128
LONG = {"num_inference_steps": 200, "size": "512x512"}
"""An edit that is still at work when something happens to it."""
EDIT_S = 120

Pixels = np.ndarray


def picture(name: str = "red-circle") -> bytes:
    """Return a sample picture's file."""
    return (PICTURES / f"{name}.png").read_bytes()


def pixels(png: bytes) -> Pixels:
    """Return a picture as height x width x 3, integers that may be subtracted."""
    return np.asarray(Image.open(io.BytesIO(png)).convert("RGB")).astype(int)


def difference(one: Pixels, other: Pixels) -> float:
    """Return the mean absolute difference of two pictures, in steps of 255."""
    assert one.shape == other.shape
    return float(np.abs(one - other).mean())


class Editor:
    """A worker's API, for one endpoint."""

    def __init__(self, endpoint: Endpoint) -> None:
        self.base = endpoint.base_url.rstrip("/")
        self.root = self.base.removesuffix("/v1")
        key = {"Authorization": f"Bearer {endpoint.api_key}"} if endpoint.api_key else {}
        self.http = httpx.Client(headers=key, timeout=EDIT_S, trust_env=False)

    def get(self, path: str) -> httpx.Response:
        """Ask for something below the server's root."""
        return self.http.get(self.root + path)

    def submit(self, *pictures: bytes, mask: bytes | None = None, **fields: Any) -> str:
        """Put an edit in line; return the job."""
        answer = self.post("jobs", *pictures, mask=mask, **fields)
        assert answer.status_code == 202, answer.text
        return answer.json()["job"]

    def post(
        self, where: str, *pictures: bytes, mask: bytes | None = None, **fields: Any
    ) -> httpx.Response:
        """Send an edit to `jobs` or `edits` as a form; settings that are not said are small."""
        asked = {"prompt": "把它变成蓝色", "size": f"{SIDE}x{SIDE}", "seed": 7, **fields}
        files = [("image[]", (f"{n}.png", data)) for n, data in enumerate(pictures or [picture()])]
        if mask is not None:
            files.append(("mask", ("mask.png", mask)))
        form = {key: str(value) for key, value in asked.items() if value is not None}
        return self.http.post(f"{self.base}/images/{where}", data=form, files=files)

    def job(self, job: str) -> dict[str, Any]:
        """Return how far a job is."""
        answer = self.get(f"/v1/images/jobs/{job}")
        assert answer.status_code == 200, answer.text
        return answer.json()

    def until(
        self, job: str, seen: Callable[[dict[str, Any]], bool], timeout_s: float = EDIT_S
    ) -> dict[str, Any]:
        """Wait until a job looks as `seen` says; fail when it ends otherwise or time is up."""
        end = time.monotonic() + timeout_s
        while True:
            told = self.job(job)
            if seen(told):
                return told
            assert told["state"] not in ("done", "failed", "cancelled"), told
            assert time.monotonic() < end, told
            time.sleep(0.05)

    def done(self, job: str, timeout_s: float = EDIT_S) -> dict[str, Any]:
        """Wait until a job is done."""
        return self.until(job, lambda told: told["state"] == "done", timeout_s)

    def result(self, job: str, number: int = 0) -> Pixels:
        """Return a picture of a job that is done."""
        answer = self.get(f"/v1/images/jobs/{job}/pictures/{number}")
        assert answer.status_code == 200, answer.text
        return pixels(answer.content)

    def edit(self, *pictures: bytes, mask: bytes | None = None, **fields: Any) -> Pixels:
        """Edit, wait and return the first picture."""
        job = self.submit(*pictures, mask=mask, **fields)
        self.done(job)
        return self.result(job)


@contextmanager
def serving(
    studio: Studio, settings: dict[str, Any] | None = None, **env: str
) -> Iterator[tuple[Run, Editor]]:
    """Serve the tiny model with some settings and test hooks; nothing of it is left afterwards."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in env.items():
            patch.setenv(name, value)
        run = studio.launch_recipe("diffusers/smoke", {"num_threads": 1, **(settings or {})})
    run = ready(studio, run)
    try:
        yield run, Editor(endpoint_of(studio, run, "images"))
    finally:
        if studio.jobs.get(run.id).state.alive:
            stopped(studio, run)


def pipes(run: Run) -> list[int]:
    """Return the process ids of a run's pipes."""
    return [
        found.pid
        for found in procs.marked(run.id)
        if b"--pipe" in Path(f"/proc/{found.pid}/cmdline").read_bytes()
    ]


def png(image: Image.Image) -> bytes:
    """Return an image as a PNG file."""
    buffer = io.BytesIO()
    image.save(buffer, format="PNG")
    return buffer.getvalue()


def write_lora(path: Path, *, seed: int, strength: float = 1.0, published: bool = False) -> Path:
    """Write an adapter for the tiny transformer's attention, random and strong enough to be seen.

    `published` spells it like the files that Lightning is published as: no prefix, `lora_down`,
    `lora_up` and an `alpha` for each layer.
    """
    shape = json.loads((TINY / "transformer/config.json").read_text())
    width, rank = shape["num_attention_heads"] * shape["attention_head_dim"], 4
    names = ("lora_down", "lora_up") if published else ("lora_A", "lora_B")
    noise = np.random.default_rng(seed)
    tensors = {}
    for block in range(shape["num_layers"]):
        for layer in ("to_q", "to_v", "to_out.0"):
            head = f"transformer_blocks.{block}.attn.{layer}"
            head = head if published else f"transformer.{head}"
            tensors[f"{head}.{names[0]}.weight"] = noise.normal(0, 0.2, (rank, width))
            tensors[f"{head}.{names[1]}.weight"] = noise.normal(0, strength, (width, rank))
            if published:
                tensors[f"{head}.alpha"] = np.array(float(rank))
    path.write_bytes(safetensors(tensors))
    return path


def write_gguf(studio: Studio, path: Path) -> Path:
    """Write the tiny transformer as a GGUF file, its matrices in Q8_0."""
    source = TINY / "transformer/diffusion_pytorch_model.safetensors"
    in_engine(studio, "write_gguf.py", source, path)
    return path


def in_engine(studio: Studio, script: str, *arguments: object) -> None:
    """Run a script of this folder in the diffusers environment."""
    subprocess.run(
        [
            studio.envs.interpreter("diffusers").python,
            str(Path(__file__).with_name(script)),
            *map(str, arguments),
        ],
        env={**os.environ, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"},
        check=True,
        timeout=600,
    )


def hub_cache(home: Path, name: str, files: Path) -> None:
    """Put a folder, or one file, into a Hugging Face cache under a hub name, as a download does."""
    repository = home / "hub" / f"models--{name.replace('/', '--')}"
    snapshot = repository / "snapshots" / ("0" * 40)
    snapshot.mkdir(parents=True)
    (repository / "refs").mkdir()
    (repository / "refs/main").write_text("0" * 40)
    for path in [files] if files.is_file() else files.rglob("*"):
        target = snapshot / (path.name if files.is_file() else path.relative_to(files))
        if path.is_file():
            target.parent.mkdir(parents=True, exist_ok=True)
            target.symlink_to(path)
