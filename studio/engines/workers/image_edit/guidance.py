"""True CFG with both prompts in one forward.

The pipeline calls its transformer twice a step, with the prompt and with the negative one. Between
`start` and `stop` the first call computes both (the shorter prompt padded, with a mask) and the
second gets its half. Weights that are streamed cross the bus once a step instead of twice.
"""

from __future__ import annotations

from typing import Any

import torch

Prompt = tuple[torch.Tensor, torch.Tensor]


class TwoPrompts:
    """Stands before a transformer's forward."""

    def __init__(self, transformer: Any) -> None:
        self._inner = transformer.forward
        self._both: Prompt | None = None
        self._second: torch.Tensor | None = None
        transformer.forward = self._forward

    def start(self, prompt: Prompt, negative: Prompt) -> None:
        """Compute these two prompts (embeddings 1 x length x width, masks) together from now on."""
        length = max(prompt[0].shape[1], negative[0].shape[1])
        embeds, masks = zip(_padded(prompt, length), _padded(negative, length), strict=True)
        self._both = torch.cat(embeds), torch.cat(masks)
        self._second = None

    def stop(self) -> None:
        """Let every call compute what it was given."""
        self._both = self._second = None

    def _forward(self, *args: Any, **kwargs: Any) -> Any:
        if self._both is None:
            return self._inner(*args, **kwargs)
        if self._second is not None:
            second, self._second = self._second, None
            return (second,)
        embeds, masks = self._both
        whole = bool(kwargs.pop("encoder_hidden_states_mask", None) is None and masks.all())
        kwargs |= {
            "hidden_states": kwargs["hidden_states"].expand(2, -1, -1),
            "timestep": kwargs["timestep"].expand(2),
            "encoder_hidden_states": embeds,
            "encoder_hidden_states_mask": None if whole else masks,
            "img_shapes": [*kwargs["img_shapes"]] * 2,
        }
        first, second = self._inner(*args, **kwargs)[0].chunk(2)
        self._second = second
        return (first,)


def _padded(prompt: Prompt, length: int) -> Prompt:
    embeds, mask = prompt
    missing = length - embeds.shape[1]
    if missing:
        embeds = torch.nn.functional.pad(embeds, (0, 0, 0, missing))
        mask = torch.nn.functional.pad(mask, (0, missing))
    return embeds, mask.bool()
