"""Where weights come from: safetensors files, mapped and not read, or random numbers of the shape.

A tensor of a file is a view into the mapped file: reading it costs no memory of its own, and what
the CPU computes from such views the kernel may drop and fetch again.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import torch
from safetensors import safe_open
from torch import nn

from .narrow import NarrowLinear

RENAMED = (
    ("model.language_model.", "model."),
    ("model.visual.", "visual."),
)
"""How today's parameter names of the text encoder stand in the published files."""


class Source(Protocol):
    """Gives the tensor of a name."""

    def read(self, name: str, like: torch.Tensor) -> torch.Tensor:
        """Return the tensor called `name`, of `like`'s shape; KeyError when there is none."""
        ...


class Files:
    """The safetensors files of one component's folder."""

    def __init__(self, folder: Path) -> None:
        self._handles: dict[Path, Any] = {}
        self._where = _where(folder)
        self.folder = folder

    def read(self, name: str, like: torch.Tensor) -> torch.Tensor:
        """Return the tensor called `name`, or what it was called when the files were written."""
        path = self._find(name)
        if path not in self._handles:
            self._handles[path] = safe_open(path, framework="pt")
        tensor = self._handles[path].get_tensor(self._spelling(name))
        if tensor.shape != like.shape:
            shapes = f"{tuple(tensor.shape)}, not {tuple(like.shape)}"
            raise ValueError(f"{name} in {self.folder} has the shape {shapes}.")
        return tensor

    def _find(self, name: str) -> Path:
        try:
            return self._where[self._spelling(name)]
        except KeyError:
            raise KeyError(f"{self.folder} has no tensor {name}.") from None

    def _spelling(self, name: str) -> str:
        if name in self._where:
            return name
        for new, old in RENAMED:
            if name.startswith(new) and old + name.removeprefix(new) in self._where:
                return old + name.removeprefix(new)
        return name


class Dummy:
    """Random weights, made on the card, so that a machine can be tried before a download."""

    def __init__(self, device: torch.device, dtype: torch.dtype) -> None:
        self._device, self._dtype = device, dtype

    def read(self, name: str, like: torch.Tensor) -> torch.Tensor:
        """Return small normal numbers; ones for a norm's weight, zeros for a bias."""
        empty = torch.empty(like.shape, dtype=self._dtype, device=self._device)
        if name.endswith("bias"):
            return empty.zero_()
        if like.dim() == 1:
            return empty.fill_(1.0)
        return empty.normal_(0.0, 0.02)


def fill(
    module: nn.Module,
    source: Source,
    *,
    prefix: str = "",
    dtype: torch.dtype,
    home: torch.device,
    work: torch.device,
) -> None:
    """Give `module` (built without memory) its weights, tensor by tensor.

    Args:
        prefix: what stands before the module's own names in the source, dot included.
        home: where the weights shall rest.
        work: where they are quantized when the module is narrow.
    """
    for path, child in module.named_modules():
        before = f"{prefix}{path}." if path else prefix
        for name, old in list(child.named_parameters(recurse=False)):
            if old.device.type != "meta":
                continue
            tensor = source.read(before + name, old)
            if name == "weight" and _takes(child, tensor, dtype, home, work):
                continue
            child.register_parameter(
                name, nn.Parameter(tensor.to(home, dtype), requires_grad=False)
            )
        for name, buffer in list(child.named_buffers(recurse=False)):
            child.register_buffer(name, buffer.to(home), persistent=False)


def _takes(
    layer: nn.Module,
    tensor: torch.Tensor,
    dtype: torch.dtype,
    home: torch.device,
    work: torch.device,
) -> bool:
    """Let a quantized layer take its weight its own way."""
    if isinstance(layer, NarrowLinear):
        layer.take(tensor.to(work, dtype))
        layer.weight.data = layer.weight.data.to(home)
        return True
    if type(layer).__name__ == "Linear4bit":
        # Quantizes when it is moved to its device for the first time.
        kind = type(layer.weight)
        weight = kind(tensor.to(dtype), requires_grad=False, quant_type="nf4", module=layer)
        layer.weight = weight.to(home)
        return True
    return False


def _where(folder: Path) -> Mapping[str, Path]:
    """Return the file of each tensor in `folder`."""
    for index in sorted(folder.glob("*.safetensors.index.json")):
        names = json.loads(index.read_text())["weight_map"]
        return {name: folder / file for name, file in names.items()}
    found: dict[str, Path] = {}
    for file in sorted(folder.glob("*.safetensors")):
        with safe_open(file, framework="pt") as opened:
            found.update(dict.fromkeys(opened.keys(), file))
    if not found:
        raise FileNotFoundError(f"{folder} has no safetensors files.")
    return found
