"""The VAE at work: whole where the card has room, in tiles where it has not."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

import torch
from PIL import Image

from .cards import give_back, room
from .faults import is_out_of_memory
from .loading import Loaded

LOG = logging.getLogger("image_edit")
DECODE_BYTES_PER_PIXEL = 4300
ENCODE_BYTES_PER_PIXEL = 2750
"""What the VAE holds per pixel without tiles in 16 bits: 4.13 and 2.64 GiB at 1024 x 1024
(diffusers 0.42.1, H200, 2026-11)."""


class Vae:
    """Encodes and decodes within the card's memory."""

    def __init__(self, loaded: Loaded, config: Mapping[str, Any]) -> None:
        self._loaded = loaded
        self._pipe = loaded.pipe
        self._tiling = str(config.get("vae_tiling") or "auto")
        self._postprocess = self._pipe.image_processor.postprocess

    def encode(self, pixels: torch.Tensor) -> torch.Tensor:
        """Return the normalized latents (1 x C x 1 x H/8 x W/8) of pixels (1 x 3 x 1 x H x W)."""
        height, width = pixels.shape[-2:]
        self._tile_for(width * height * ENCODE_BYTES_PER_PIXEL)
        return type(self._pipe)._encode_vae_image(self._pipe, pixels, None)

    def decode(self, packed: torch.Tensor, width: int, height: int) -> Image.Image:
        """Return the picture of packed latents; in tiles when the card runs out otherwise."""
        self.tidy()
        self._tile_for(width * height * DECODE_BYTES_PER_PIXEL)
        try:
            return self._decoded(packed, width, height)
        except RuntimeError as error:
            if not is_out_of_memory(error) or self._tiling != "auto" or self._pipe.vae.use_tiling:
                raise
        give_back(collect=True)
        LOG.warning("The card is too full to decode the picture at once; it is decoded in tiles.")
        self._pipe.vae.enable_tiling()
        return self._decoded(packed, width, height)

    def tidy(self) -> None:
        """Take what encoding a prompt left on the card away."""
        if self._loaded.text_chain is not None:
            self._loaded.text_chain.empty()
            give_back()

    def _decoded(self, packed: torch.Tensor, width: int, height: int) -> Image.Image:
        """Do what the pipeline does with its latents at the end."""
        vae = self._pipe.vae
        latents = self._pipe._unpack_latents(packed, height, width, self._pipe.vae_scale_factor)
        latents = latents.to(vae.dtype)
        shape = (1, vae.config.z_dim, 1, 1, 1)
        mean = torch.tensor(vae.config.latents_mean).view(shape).to(latents)
        std = 1.0 / torch.tensor(vae.config.latents_std).view(shape).to(latents)
        pixels = vae.decode(latents / std + mean, return_dict=False)[0][:, :, 0]
        return self._postprocess(pixels, output_type="pil")[0]

    def _tile_for(self, size: int) -> None:
        """Let the VAE work in tiles when what it would hold at once (in 16 bits) does not fit."""
        need = size * self._pipe.vae.dtype.itemsize // 2
        device = self._loaded.layout.device
        if self._tiling == "auto" and need > room(device):
            for chain in self._loaded.chains:
                chain.empty()
            give_back()
        if self._tiling == "always" or (self._tiling == "auto" and need > room(device)):
            self._pipe.vae.enable_tiling()
        else:
            self._pipe.vae.disable_tiling()
