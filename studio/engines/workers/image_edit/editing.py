"""One edit: encode, steps, decode, with the pipeline's own code in the middle.

What is ours around it: prompts and references are encoded by us and kept, noise comes from the
host's generator (so that every rung gives the same picture for a seed), latents are decoded by us
(so that memory that runs out there costs tiles and not the steps), and cancelling raises between
two steps, after which the pipeline is as good as before.
"""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from .cards import peaks, reset_peaks, synchronize
from .conditions import Conditions, Prompt
from .decoding import Vae
from .faults import Faults
from .guidance import TwoPrompts
from .loading import Loaded
from .masks import LatentMask, latent_mask, put_back, read_mask
from .preview import Previews
from .speed import Adapters, BadSetting

Emit = Callable[..., None]
Stop = Callable[[], bool]
PNG_LEVEL = 1
"""zlib's: a smooth megapixel with grain takes 0.4 of level 6's time and is 15 % larger."""


class Cancelled(Exception):
    """The job was cancelled between two steps."""


class Ran(Exception):
    """The job ended by an error at a stage; `__cause__` is the error itself."""

    def __init__(self, stage: str, step: int) -> None:
        super().__init__(stage)
        self.stage, self.step = stage, step


@dataclass
class _Given:
    """A job that is encoded and can be stepped."""

    job: Mapping[str, Any]
    pictures: list[Image.Image]
    width: int
    height: int
    scale: float
    prompt: Prompt
    negative: Prompt | None
    references: list[torch.Tensor]
    mask: Image.Image | None = None
    original: torch.Tensor | None = None
    """Latents of the first picture at the output's size, for what lies outside the mask."""
    cached: dict[str, Any] = field(default_factory=dict)


class Editor:
    """Edits pictures with a loaded pipeline, one job after another."""

    def __init__(
        self,
        loaded: Loaded,
        config: Mapping[str, Any],
        *,
        emit: Emit,
        faults: Faults,
        adapters: Adapters,
    ) -> None:
        self._loaded, self._config, self._emit = loaded, config, emit
        self._faults, self._adapters = faults, adapters
        self._pipe = loaded.pipe
        self._vae = Vae(loaded, config)
        self._conditions = Conditions(loaded, config, self._vae)
        self._two = TwoPrompts(self._pipe.transformer)
        self._previews = Previews(
            lambda job, path, step: emit("preview", job=job, path=str(path), step=step)
        )
        self._look: Callable[[torch.Tensor], None] | None = None
        self._scheduler_step = self._pipe.scheduler.step
        self._pipe.scheduler.step = self._step_home
        self._stage, self._step = "encode", 0
        self._paces: list[float] = []

    def edit(self, job: Mapping[str, Any], cancelled: Stop) -> None:
        """Do one job and emit its events; raise Cancelled, BadSetting, or Ran for anything else."""
        self._stage, self._step, self._paces = "encode", 0, []
        try:
            with torch.no_grad():
                self._edit(job, cancelled)
        except (Cancelled, BadSetting):
            raise
        except Exception as error:
            raise Ran(self._stage, self._step) from error
        finally:
            self._look = None
            self._conditions.forget()
            self._two.stop()

    def _edit(self, job: Mapping[str, Any], cancelled: Stop) -> None:
        name, out = job["job"], Path(job["out"])
        out.mkdir(parents=True, exist_ok=True)
        reset_peaks()
        began = time.monotonic()
        given = self._encode(job, cancelled)
        synchronize(self._loaded.layout.devices)
        encode_s = time.monotonic() - began
        paths, steps_s, decode_s = [], 0.0, 0.0
        seeds = [int(seed) for seed in job["seeds"]]
        for variant, seed in enumerate(seeds):
            _stop_if(cancelled)
            self._enter(name, "steps")
            started = time.monotonic()
            latents = self._steps(given, seed, variant, cancelled)
            synchronize(self._loaded.layout.devices)
            finished = time.monotonic()
            self._enter(name, "decode")
            picture = self._vae.decode(latents, given.width, given.height)
            if given.mask is not None:
                picture = put_back(picture, given.pictures[0], given.mask)
            paths.append(_write(picture, out / f"out-{variant}.png"))
            steps_s += finished - started
            decode_s += time.monotonic() - finished
        self._emit(
            "done",
            job=name,
            pictures=[str(path) for path in paths],
            seeds=seeds,
            timings={
                "encode_s": round(encode_s, 4),
                "step_s": round(steps_s / (len(seeds) * int(job["steps"])), 4),
                "steady_step_s": round(statistics.median(self._paces), 4),
                "decode_s": round(decode_s / len(seeds), 4),
                "total_s": round(time.monotonic() - began, 4),
            },
            peaks=peaks(),
            cached=given.cached,
        )

    def _encode(self, job: Mapping[str, Any], cancelled: Stop) -> _Given:
        """Check a job and turn its words and pictures into tensors."""
        pictures = [_picture(path) for path in job["pictures"]]
        self._check(job, pictures)
        width, height = self._conditions.size(job, pictures[0])
        scale = float(job.get("true_cfg_scale") or self._config.get("true_cfg_scale", 4.0))
        scale = 1.0 if self._adapters.lightning else scale
        self._enter(job["job"], "encode")
        self._adapters.use(job.get("loras") or {})
        room = self._conditions.room(pictures, (width, height))
        prompt, kept = self._prompt(job["prompt"], pictures, room)
        negative = None
        if scale > 1:
            words = job.get("negative_prompt") or " "
            negative, also = self._prompt(words, pictures, room)
            kept = kept and also
        _stop_if(cancelled)
        references, hits = self._conditions.references(pictures)
        given = _Given(job, pictures, width, height, scale, prompt, negative, references)
        given.cached = {"prompt": kept, "references": hits}
        if job.get("mask"):
            with Image.open(job["mask"]) as opened:
                given.mask = read_mask(opened, (width, height))
            if given.mask.getextrema()[1] == 0:
                raise BadSetting("The mask is empty: nothing would be edited.")
            given.original, _ = self._conditions.latents(pictures[0], (width, height))
        self._vae.tidy()
        return given

    def _prompt(self, text: str, pictures: list[Image.Image], room: int) -> tuple[Prompt, bool]:
        """Encode a prompt; one too long is refused before it fills the card, or just after."""
        length = self._conditions.tokens(text)
        if length <= room:
            prompt, kept = self._conditions.prompt(text, pictures)
            length = prompt[0].shape[1]
            if length <= room:
                return prompt, kept
        raise BadSetting(
            f"The prompt has {length} tokens; beside these pictures the model takes {room}."
        )

    def _check(self, job: Mapping[str, Any], pictures: list[Image.Image]) -> None:
        if not pictures:
            raise BadSetting("This model edits pictures, and none was given.")
        if len(pictures) > 1 and not self._conditions.several:
            raise BadSetting(f"This model takes one picture, and {len(pictures)} were given.")
        if int(job["steps"]) < 1:
            raise BadSetting("An edit needs at least one step.")
        if not job["seeds"]:
            raise BadSetting("An edit needs at least one seed.")

    def _enter(self, job: str, stage: str) -> None:
        self._stage = {"steps": "step"}.get(stage, stage)
        self._step = 0
        self._emit("stage", job=job, stage=stage)
        if stage != "steps":
            self._faults.strike(stage)

    def _steps(self, given: _Given, seed: int, variant: int, cancelled: Stop) -> torch.Tensor:
        """Return the finished latents, packed (1 x tokens x channels)."""
        noise = self._conditions.noise(seed, given.width, given.height)
        inside = None
        if given.mask is not None and given.original is not None:
            inside = latent_mask(self._pipe, given.mask, given.original, noise)
        self._conditions.hand_out(given.references)
        self._adapters.begin()
        if int(given.job.get("preview_every") or 0):
            self._previews.begin()
            self._look = lambda prediction: self._offer(given, prediction)
        more = {}
        if given.negative is not None:
            more = {
                "negative_prompt_embeds": given.negative[0],
                "negative_prompt_embeds_mask": given.negative[1],
            }
            if self._config.get("cfg_mode") == "batched":
                self._two.start(given.prompt, given.negative)
        return self._pipe(
            image=given.pictures if self._conditions.several else given.pictures[0],
            prompt_embeds=given.prompt[0],
            prompt_embeds_mask=given.prompt[1],
            true_cfg_scale=given.scale,
            width=given.width,
            height=given.height,
            num_inference_steps=int(given.job["steps"]),
            latents=noise,
            output_type="latent",
            callback_on_step_end=self._after_step(given, variant, inside, cancelled),
            callback_on_step_end_tensor_inputs=["latents"],
            **more,
        ).images

    def _after_step(
        self, given: _Given, variant: int, inside: LatentMask | None, cancelled: Stop
    ) -> Callable[..., dict[str, Any]]:
        """Return what the pipeline calls after each step.

        A step's seconds are those between two calls. Nothing waits for the card here; a step of a
        card is told up to one pass late, and their sum is measured at the end. Their median is what
        the next edit may expect: the first step may have compiled something.
        """
        name, steps = given.job["job"], int(given.job["steps"])
        last = time.monotonic()

        def after(_pipe: Any, index: int, _t: Any, held: dict[str, Any]) -> dict[str, Any]:
            nonlocal last
            now = time.monotonic()
            self._step = index + 1
            self._paces.append(now - last)
            self._emit(
                "step",
                job=name,
                step=index + 1,
                of=steps,
                variant=variant,
                step_s=round(now - last, 4),
            )
            last = now
            _stop_if(cancelled)
            self._faults.strike("step", index + 1)
            if inside is not None:
                sigma = self._pipe.scheduler.sigmas[index + 1]
                held["latents"] = inside.blend(held["latents"], sigma)
            return held

        return after

    def _step_home(self, output: Any, timestep: Any, sample: Any, **more: Any) -> Any:
        """Bring the prediction to the latents' card; show it when somebody looks."""
        output = output.to(sample.device)
        if self._look is not None and self._previews.due():
            scheduler = self._pipe.scheduler
            index = scheduler.step_index if scheduler.step_index is not None else 0
            sigma = scheduler.sigmas[index].to(sample.device)
            self._look(sample.float() - sigma * output.float())
        return self._scheduler_step(output, timestep, sample, **more)

    def _offer(self, given: _Given, prediction: torch.Tensor) -> None:
        """Let a preview be written when this step is one of those wanted."""
        step = self._step + 1
        if step % int(given.job["preview_every"]):
            return
        latents = self._pipe._unpack_latents(
            prediction, given.height, given.width, self._pipe.vae_scale_factor
        )
        path = Path(given.job["out"]) / "preview.webp"
        self._previews.offer(given.job["job"], path, step, latents[:, :, 0])


def _picture(path: str) -> Image.Image:
    with Image.open(path) as opened:
        return opened.convert("RGB")


def _write(picture: Image.Image, path: Path) -> Path:
    draft = path.with_suffix(".part")
    picture.save(draft, "PNG", compress_level=PNG_LEVEL)
    os.replace(draft, path)
    return path


def _stop_if(cancelled: Stop) -> None:
    if cancelled():
        raise Cancelled
