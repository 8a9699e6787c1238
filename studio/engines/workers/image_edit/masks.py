"""Edits inside a mask: what the mask says, latents kept outside it, the original's pixels kept.

White, or transparent as OpenAI's masks have it, is edited. At each step the latents outside are
set to the original's with that step's noise, as diffusers' inpainting pipelines do; at the end the
original's own pixels are put back outside, with a feathered edge that lies inside the mask.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageChops, ImageFilter

FEATHER_PIXELS = 6


def read_mask(picture: Image.Image, size: tuple[int, int]) -> Image.Image:
    """Return the mask as an L picture of `size`, 255 where it is edited."""
    if "A" in picture.getbands() or "transparency" in picture.info:
        alpha = picture.convert("RGBA").getchannel("A")
        if alpha.getextrema()[0] < 255:
            return _sharp(ImageChops.invert(alpha), size)
    return _sharp(picture.convert("L"), size)


def _sharp(mask: Image.Image, size: tuple[int, int]) -> Image.Image:
    resized = mask.resize(size, Image.Resampling.BILINEAR)
    return resized.point(lambda value: 255 if value >= 128 else 0)


def put_back(edited: Image.Image, original: Image.Image, mask: Image.Image) -> Image.Image:
    """Return `edited` with the original's pixels outside `mask`, feathered inside its edge."""
    inner = mask.filter(ImageFilter.MinFilter(2 * (FEATHER_PIXELS // 2) + 1))
    soft = inner.filter(ImageFilter.GaussianBlur(FEATHER_PIXELS / 2))
    soft = ImageChops.darker(soft, mask)
    base = original.convert("RGB").resize(edited.size, Image.Resampling.LANCZOS)
    return Image.composite(edited, base, soft)


@dataclass
class LatentMask:
    """The original's latents outside the mask, blended back after each step."""

    original: torch.Tensor
    """Packed latents of the original, 1 x tokens x channels."""
    noise: torch.Tensor
    mask: torch.Tensor
    """Packed like the latents; 1 where it is edited."""

    def blend(self, latents: torch.Tensor, sigma: torch.Tensor) -> torch.Tensor:
        """Return `latents` with the outside at noise level `sigma` (0 at the end)."""
        level = sigma.to(latents.device, torch.float32)
        outside = level * self.noise.float() + (1 - level) * self.original.float()
        return torch.where(self.mask, latents, outside.to(latents.dtype))


def latent_mask(
    pipe: Any, mask: Image.Image, original: torch.Tensor, noise: torch.Tensor
) -> LatentMask:
    """Return the blend for packed `noise` and the original's unpacked latents (1 x C x 1 x H x W).

    A latent that covers any edited pixel is edited.
    """
    _, channels, _, height, width = original.shape
    pixels = torch.from_numpy(np.array(mask)).float()[None, None]
    touched = torch.nn.functional.adaptive_max_pool2d(pixels, (height, width)) > 0
    full = touched.expand(1, channels, height, width)[:, :, None].to(noise.device)
    packed = pipe._pack_latents(full, 1, channels, height, width)
    kept = pipe._pack_latents(original, 1, channels, height, width).to(noise)
    return LatentMask(kept, noise, packed)
