"""Edit a picture with the bare diffusers pipeline, for comparison.

Runs in the diffusers environment: `python image_pipe_plain.py MODEL in.png out.png SIDE`.
"""

from __future__ import annotations

import sys
from pathlib import Path

import diffusers.pipelines.qwenimage.pipeline_qwenimage_edit_plus as module
import torch
from diffusers import DiffusionPipeline
from PIL import Image

sys.path.insert(0, str(Path(__file__).parents[2] / "studio/engines/workers"))
from image_edit.processor import load_processor  # the package lies beside the worker

torch.set_num_threads(1)
model, source, target, side = sys.argv[1:]
module.VAE_IMAGE_SIZE = int(side) ** 2
module.CONDITION_IMAGE_SIZE = 112 * 112
pipe = DiffusionPipeline.from_pretrained(
    model, dtype=torch.float32, processor=load_processor(Path(model))
)
picture = pipe(
    image=[Image.open(source).convert("RGB")],
    prompt="make it red",
    negative_prompt=" ",
    true_cfg_scale=4.0,
    num_inference_steps=4,
    width=int(side),
    height=int(side),
    generator=torch.Generator().manual_seed(7),
).images[0]
picture.save(target)
