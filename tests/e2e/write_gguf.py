"""Write a transformer's weights as GGUF: `python write_gguf.py model.safetensors model.gguf`.

Runs in the diffusers environment, which has the `gguf` package. Matrices whose rows are whole
blocks of 32 become Q8_0, everything else stays float32.
"""

from __future__ import annotations

import sys

import gguf
import numpy as np
import torch
from safetensors.torch import load_file


def main() -> None:
    """Convert the file named first into the one named second."""
    source, target = sys.argv[1:]
    writer = gguf.GGUFWriter(target, "qwen_image")
    for name, tensor in load_file(source).items():
        values = tensor.to(torch.float32).numpy()
        if values.ndim == 2 and values.shape[1] % 32 == 0:
            kind = gguf.GGMLQuantizationType.Q8_0
            packed = gguf.quants.quantize(values, kind)
            writer.add_tensor(name, packed, raw_dtype=kind)
        else:
            writer.add_tensor(name, np.ascontiguousarray(values))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


if __name__ == "__main__":
    main()
