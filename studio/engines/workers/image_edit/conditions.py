"""What the steps are given: prompts, references' latents, noise. Kept between edits.

The pipeline's `__call__` would encode them itself, once an edit. It is handed ours: embeddings as
arguments, latents in place of its `_encode_vae_image`, and an image processor that does nothing.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from diffusers.utils.torch_utils import randn_tensor
from PIL import Image

from .caches import Recent, picture_key
from .decoding import Vae
from .loading import Loaded

Prompt = tuple[torch.Tensor, torch.Tensor]
"""Embeddings (1 x length x width) and their mask (1 x length)."""
MEGAPIXEL = 1024 * 1024
POSITIONS = 4096
"""Where the transformer's table of positions ends (diffusers' QwenEmbedRope); half of the longest
side's patches come first, then the prompt."""


class Conditions:
    """Encodes for one pipeline and keeps what it encoded."""

    def __init__(self, loaded: Loaded, config: Mapping[str, Any], vae: Vae) -> None:
        self._loaded, self._vae = loaded, vae
        self._pipe = loaded.pipe
        self._device = loaded.layout.device
        self._module = sys.modules[type(self._pipe).__mro__[1].__module__]
        self.several = "Plus" in type(self._pipe).__name__
        """Whether the model takes more than one picture."""
        self._set_sizes(config)
        most = int(config.get("prompt_cache", 32))
        self._prompts: Recent[Prompt] = Recent(most)
        self._latents: Recent[torch.Tensor] = Recent(most)
        self._keys: dict[int, str] = {}
        self._turn: list[torch.Tensor] = []
        self._images = self._pipe.image_processor
        self._pipe.image_processor = _Prepared()
        self._pipe._encode_vae_image = self._next_reference

    def size(self, job: Mapping[str, Any], first: Image.Image) -> tuple[int, int]:
        """Return the output's width and height: what was asked, else the first picture's shape."""
        if job.get("width") and job.get("height"):
            return int(job["width"]) // 16 * 16, int(job["height"]) // 16 * 16
        width, height = first.size
        return self._module.calculate_dimensions(MEGAPIXEL, width / height)[:2]

    def prompt(self, text: str, pictures: Sequence[Image.Image]) -> tuple[Prompt, bool]:
        """Return a prompt about these pictures, on the latents' card; True when it was kept."""
        key = (text, *map(self._key, pictures))
        kept = self._prompts.get(key)
        hit = kept is not None
        if kept is None:
            embeds, mask = self._pipe.encode_prompt(
                prompt=text, image=self._conditions(pictures), device=self._loaded.text_device
            )
            if mask is None:
                mask = torch.ones(embeds.shape[:2], dtype=torch.long)
            # At home, so that a cache never costs card memory.
            kept = embeds.cpu(), mask.cpu()
            self._prompts.put(key, kept)
        return (kept[0].to(self._device), kept[1].to(self._device)), hit

    def room(self, pictures: Sequence[Image.Image], size: tuple[int, int]) -> int:
        """Return how many tokens a prompt may have beside a result of `size`, in pixels."""
        sides = [*size, *(side for one in pictures for side in self._reference_size(one))]
        return POSITIONS - max(sides) // (2 * self._pipe.vae_scale_factor) // 2

    def tokens(self, text: str) -> int:
        """Return how many tokens words have, without those of the pictures."""
        return len(self._pipe.tokenizer(text)["input_ids"])

    def references(self, pictures: Sequence[Image.Image]) -> tuple[list[torch.Tensor], int]:
        """Return the pictures' latents and how many of them were kept from before."""
        found = [self.latents(picture, self._reference_size(picture)) for picture in pictures]
        return [latents for latents, _ in found], sum(hit for _, hit in found)

    def latents(self, picture: Image.Image, size: tuple[int, int]) -> tuple[torch.Tensor, bool]:
        """Return the normalized latents (1 x C x 1 x H/8 x W/8) of a picture at `size`."""
        key = (self._key(picture), size)
        kept = self._latents.get(key)
        if kept is not None:
            return kept.to(self._device), True
        width, height = size
        pixels = self._images.preprocess(picture, height, width).unsqueeze(2)
        latents = self._vae.encode(pixels.to(self._device, self._loaded.dtype))
        self._latents.put(key, latents.cpu())
        return latents, False

    def hand_out(self, references: Sequence[torch.Tensor]) -> None:
        """Give the pipeline these latents, one by one, when it would encode pictures."""
        self._turn = list(references)

    def forget(self) -> None:
        """End a job: nothing of it is handed out any more."""
        self._turn, self._keys = [], {}

    def noise(self, seed: int, width: int, height: int) -> torch.Tensor:
        """Return packed noise as the pipeline makes it, from the host's generator."""
        scale = self._pipe.vae_scale_factor
        channels = self._pipe.transformer.config.in_channels // 4
        shape = (1, 1, channels, 2 * (height // (2 * scale)), 2 * (width // (2 * scale)))
        noise = randn_tensor(
            shape,
            generator=torch.Generator("cpu").manual_seed(seed),
            device=self._device,
            dtype=self._loaded.dtype,
        )
        return self._pipe._pack_latents(noise, 1, channels, *shape[-2:])

    def _set_sizes(self, config: Mapping[str, Any]) -> None:
        """Let the pipeline's module resize references as the settings say."""
        reference = int(config.get("reference_pixels") or MEGAPIXEL)
        if self.several:
            self._module.VAE_IMAGE_SIZE = reference
            self._module.CONDITION_IMAGE_SIZE = int(config.get("condition_pixels") or 384 * 384)
            self._reference_area = reference
            return
        # The older pipeline has the area in its code: 1024 x 1024 for both.
        plain = self._module.calculate_dimensions
        self._module.calculate_dimensions = lambda _, ratio: plain(reference, ratio)
        self._reference_area = reference

    def _reference_size(self, picture: Image.Image) -> tuple[int, int]:
        return self._dimensions(self._reference_area, picture)

    def _dimensions(self, area: int, picture: Image.Image) -> tuple[int, int]:
        return self._module.calculate_dimensions(area, picture.width / picture.height)[:2]

    def _conditions(self, pictures: Sequence[Image.Image]) -> Any:
        """Return the pictures as the text encoder shall see them."""
        if not self.several:
            width, height = self._reference_size(pictures[0])
            return self._images.resize(pictures[0], height, width)
        area = self._module.CONDITION_IMAGE_SIZE
        sizes = [self._dimensions(area, picture) for picture in pictures]
        return [self._images.resize(one, h, w) for one, (w, h) in zip(pictures, sizes, strict=True)]

    def _key(self, picture: Image.Image) -> str:
        """Return a picture's name by content, worked out once a job."""
        if id(picture) not in self._keys:
            self._keys[id(picture)] = picture_key(picture)
        return self._keys[id(picture)]

    def _next_reference(self, image: torch.Tensor, generator: Any = None) -> torch.Tensor:
        """Stand in for the pipeline's encoder."""
        return self._turn.pop(0)


class _Prepared:
    """Stands where the pipeline would resize pictures again whose latents it is handed."""

    def resize(self, picture: Any, height: int, width: int) -> Any:
        """Return the picture as it is: the prompt is encoded already."""
        return picture

    def preprocess(self, picture: Any, height: int, width: int) -> torch.Tensor:
        """Return something of a picture's dimensions."""
        return torch.zeros(1, 3, 1, 1)
