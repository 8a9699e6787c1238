"""The text encoder's processor, also where torchvision is missing or does not fit torch.

The stock `Qwen2VLProcessor` insists on a video processor, which needs torchvision. An edit has no
videos: where the stock class cannot be built, the same class without its video half does.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from transformers import AutoTokenizer, Qwen2VLProcessor
from transformers.processing_utils import ProcessorMixin

LOG = logging.getLogger("image_edit")


class ImageOnlyQwen2VLProcessor(Qwen2VLProcessor):
    """A Qwen2-VL processor for text and pictures."""

    def __init__(
        self,
        image_processor: Any = None,
        tokenizer: Any = None,
        chat_template: str | None = None,
        **_: Any,
    ) -> None:
        self.image_token, self.video_token = "<|image_pad|>", "<|video_pad|>"
        self.image_token_id = tokenizer.convert_tokens_to_ids(self.image_token)
        self.video_token_id = tokenizer.convert_tokens_to_ids(self.video_token)
        ProcessorMixin.__init__(self, image_processor, tokenizer, chat_template=chat_template)


def load_processor(folder: Path) -> Any:
    """Return the processor of a model folder."""
    try:
        return Qwen2VLProcessor.from_pretrained(folder / "processor")
    except (ImportError, OSError, RuntimeError, AttributeError, ValueError) as error:
        LOG.warning("Pictures only, without the video half of the processor: %s", _first(error))
    tokenizer = AutoTokenizer.from_pretrained(folder / "processor")
    images = _image_processor().from_pretrained(folder / "processor")
    return ImageOnlyQwen2VLProcessor(images, tokenizer, chat_template=tokenizer.chat_template)


def _image_processor() -> Any:
    """Return the image processor that works without torchvision, whatever it is called."""
    try:
        from transformers import Qwen2VLImageProcessorPil as Processor
    except ImportError:
        from transformers import Qwen2VLImageProcessor as Processor
    return Processor


def _first(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
