"""Find the model a server is about to load: its shape, its tensors, and what is still to download.

In this order: a folder of this machine, a snapshot in the hub's cache, and for hub ids that are
not here the published configs in `assets/shapes`. Nothing is asked of the network.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from studio.core.errors import RecipeInvalid
from studio.engines.engine import is_local, resolve_path
from studio.planner.headers import read_tensors
from studio.planner.shapes import CannotPlan, ModelShape, Quantization, read_shape, shape_of
from studio.planner.tensors import Tensor, pack, parameters, tensors_of
from studio.planner.weights import card_weights

SHAPES = Path(__file__).parents[2] / "assets" / "shapes"
IN_FLIGHT = {
    "fp8": Quantization(method="fp8", bits=8, group=-1),
    "bitsandbytes": Quantization(method="bitsandbytes", bits=4, group=64),
}
"""Packings that a server can do itself while it loads plain weights."""


@dataclass(frozen=True)
class Model:
    """A model to be served, with its tensors as they are on disk or would be."""

    name: str
    shape: ModelShape
    tensors: Sequence[Tensor] = field(repr=False)
    measured: bool
    """True when the tensors were read from the files themselves."""
    download_bytes: int = 0
    """Bytes that the first launch has to fetch; 0 for a folder of this machine."""
    max_pixels: int | None = None
    """Largest picture its processor lets through; None when it does not say."""
    _sums: dict[tuple, list[int]] = field(default_factory=dict, repr=False, compare=False)

    @property
    def params(self) -> int:
        """Number of parameters before any packing."""
        return sum(parameters(self.shape).values())

    def card_weights(
        self, *, dtype: str, quantization: str | None, tp: int, pp: int, on_card: bool
    ) -> list[int]:
        """Return the weight bytes of one card of every stage, packed in flight if asked."""
        key = (dtype, quantization, tp, pp, on_card)
        if key not in self._sums:
            flight = IN_FLIGHT.get(quantization or "")
            plain = self.shape.quantization is None
            tensors = (
                pack(list(self.tensors), flight, tower=True) if flight and plain else self.tensors
            )
            self._sums[key] = card_weights(
                tensors, self.shape, dtype=dtype, tp=tp, pp=pp, on_card=on_card
            )
        return self._sums[key]


def find_model(name: str, root: Path, *, dummy: bool = False, hub: Path | None = None) -> Model:
    """Return what is known of a model folder or hub id; `hub` is the hub's cache folder.

    Raises CannotPlan when nothing is known of it, RecipeInvalid when its files are damaged.
    """
    path = Path(resolve_path(name, str(root)))
    if is_local(name) or path.is_absolute():
        return _from_folder(name, path, dummy)
    snapshot = _snapshot(name, hub or hub_cache())
    published = published_config(name)
    if snapshot is not None:
        try:
            return _from_folder(name, snapshot, dummy)
        except RecipeInvalid:
            return _from_config(name, read_shape(snapshot), dummy, have=_disk_bytes(snapshot))
    if published is None:
        raise CannotPlan(
            f"{name} is not on this machine, and its sizes are not known here.",
            hint="Download it first, or give a model folder.",
        )
    return _from_config(name, shape_of(published), dummy)


def published_config(name: str) -> dict[str, Any] | None:
    """Return the config.json a hub id was published with, for the models known here."""
    entry = _index().get(name)
    if entry is None:
        return None
    config = json.loads((SHAPES / f"{entry['shape']}.json").read_text(encoding="utf-8"))
    return {**config, **entry.get("set", {})}


def hub_cache() -> Path:
    """Return where the hub's tools keep what they downloaded."""
    if folder := os.environ.get("HF_HUB_CACHE"):
        return Path(folder)
    return Path(os.environ.get("HF_HOME") or Path.home() / ".cache" / "huggingface") / "hub"


def _from_folder(name: str, folder: Path, dummy: bool) -> Model:
    shape = read_shape(folder)
    found = None if dummy else read_tensors(folder)
    return Model(name, shape, found or tensors_of(shape), found is not None, 0, _max_pixels(folder))


def _from_config(name: str, shape: ModelShape, dummy: bool, have: int = 0) -> Model:
    tensors = tensors_of(shape)
    whole = 0 if dummy else sum(tensor.bytes for tensor in tensors)
    return Model(name, shape, tensors, False, max(0, whole - have))


def _snapshot(name: str, hub: Path) -> Path | None:
    """Return the newest snapshot with a config.json, the one `main` points at first."""
    folder = hub / f"models--{name.replace('/', '--')}"
    try:
        main = folder / "snapshots" / (folder / "refs" / "main").read_text().strip()
    except OSError:
        main = folder / "none"
    others = sorted(folder.glob("snapshots/*"), key=lambda p: p.stat().st_mtime, reverse=True)
    return next((path for path in (main, *others) if (path / "config.json").is_file()), None)


def _disk_bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.glob("*.safetensors"))


def _max_pixels(folder: Path) -> int | None:
    try:
        text = (folder / "preprocessor_config.json").read_text(encoding="utf-8")
        size = json.loads(text)
    except (OSError, ValueError):
        return None
    most = size.get("max_pixels") or (size.get("size") or {}).get("longest_edge")
    return int(most) if most else None


@cache
def _index() -> dict[str, dict[str, Any]]:
    return json.loads((SHAPES / "index.json").read_text(encoding="utf-8"))
