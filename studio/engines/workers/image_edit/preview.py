"""Small pictures of what is becoming, without making a step wait.

The prediction of the finished latents goes through a linear map to RGB (Qwen-Image's VAE shares
the latent space of Wan 2.1, whose factors are published with ComfyUI's `Wan21` latent format); the
copy to the host and the WebP happen on a thread.
"""

from __future__ import annotations

import logging
import os
import queue
import threading
import time
from collections.abc import Callable
from pathlib import Path

import torch
from PIL import Image

LOG = logging.getLogger("image_edit")
SECONDS_BETWEEN = 1.0
SIDE = 384
"""Longest side of a preview that is enlarged."""

WAN21_RGB = (
    (-0.1299, -0.1692, 0.2932),
    (0.0671, 0.0406, 0.0442),
    (0.3568, 0.2548, 0.1747),
    (0.0372, 0.2344, 0.1420),
    (0.0313, 0.0189, -0.0328),
    (0.0296, -0.0956, -0.0665),
    (-0.3477, -0.4059, -0.2925),
    (0.0166, 0.1902, 0.1975),
    (-0.0412, 0.0267, -0.1364),
    (-0.1293, 0.0740, 0.1636),
    (0.0680, 0.3019, 0.1128),
    (0.0032, 0.0581, 0.0639),
    (-0.1251, 0.0927, 0.1699),
    (0.0060, -0.0633, 0.0005),
    (0.3477, 0.2275, 0.2950),
    (0.1984, 0.0913, 0.1861),
)
WAN21_BIAS = (-0.1835, -0.0868, -0.3360)


class Previews:
    """Writes at most one preview a second, newest first."""

    def __init__(self, written: Callable[[str, Path, int], None]) -> None:
        self._written = written
        self._last = 0.0
        self._maps: dict[tuple[int, torch.device], tuple[torch.Tensor, torch.Tensor]] = {}
        self._queue: queue.Queue[tuple[str, Path, int, torch.Tensor, object]] = queue.Queue(1)
        threading.Thread(target=self._write, daemon=True, name="previews").start()

    def begin(self) -> None:
        """Let the first picture of the next job come at once, however short that job is."""
        self._last = 0.0

    def due(self) -> bool:
        """Tell whether a preview would be written now."""
        return time.monotonic() - self._last >= SECONDS_BETWEEN and not self._queue.full()

    def offer(self, job: str, path: Path, step: int, latents: torch.Tensor) -> None:
        """Write `latents` (1 x C x H x W, normalized) to `path` soon; returns at once."""
        self._last = time.monotonic()
        factors, bias = self._map(latents)
        flat = latents[0].float().flatten(1).T
        rgb = (flat @ factors + bias).view(*latents.shape[-2:], 3)
        bytes_ = ((rgb + 1) * 127.5).clamp(0, 255).to(torch.uint8)
        event = None
        if bytes_.device.type == "cuda":
            home = torch.empty(bytes_.shape, dtype=torch.uint8, pin_memory=True)
            home.copy_(bytes_, non_blocking=True)
            event = torch.cuda.Event()
            event.record(torch.cuda.current_stream(bytes_.device))
            bytes_ = home
        try:
            self._queue.put_nowait((job, path, step, bytes_, event))
        except queue.Full:
            LOG.debug("A preview is still being written.")

    def _map(self, latents: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        channels, device = latents.shape[1], latents.device
        if (channels, device) not in self._maps:
            if channels == len(WAN21_RGB):
                factors, bias = torch.tensor(WAN21_RGB), torch.tensor(WAN21_BIAS)
            else:  # another latent space (a model made for tests): its first channels
                factors, bias = torch.eye(channels, 3), torch.zeros(3)
            self._maps[channels, device] = factors.to(device), bias.to(device)
        return self._maps[channels, device]

    def _write(self) -> None:
        while True:
            job, path, step, pixels, event = self._queue.get()
            try:
                if event is not None:
                    event.synchronize()
                picture = Image.fromarray(pixels.numpy())
                factor = max(1, SIDE // max(picture.size))
                size = (picture.width * factor, picture.height * factor)
                draft = path.with_suffix(".part")
                picture.resize(size, Image.Resampling.BILINEAR).save(draft, "WEBP", quality=70)
                os.replace(draft, path)
                self._written(job, path, step)
            except (OSError, RuntimeError) as error:
                LOG.warning("No preview of step %d: %s", step, error)
