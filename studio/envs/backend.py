"""Which build of torch an environment gets: decided by asking the indexes, never by guessing.

On a CPU machine the default index's torch brings gigabytes of CUDA libraries, so the plain CPU
build is looked for first in the configured indexes and folders, then in PyTorch's own index.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from typing import NamedTuple

from studio.envs import uv
from studio.envs.catalog import Variant

FAMILY = ("torch", "torchvision", "torchaudio")
"""Packages that PyTorch's own indexes carry; torch comes first."""


class Choice(NamedTuple):
    """The pins to install and the options uv needs to find them."""

    pins: list[str]
    args: tuple[str, ...]
    note: str
    """What was chosen, or a warning, for the log."""


class Answer(NamedTuple):
    """What `uv pip compile` said."""

    pins: list[str]
    """Resolved pins; empty when it failed."""
    complaint: list[str]


Ask = Callable[[list[str], tuple[str, ...], list[str]], Answer]
"""Resolve requirements with options under constraints, as `uv pip compile` does."""


def choose(pins: list[str], variant: Variant, ask: Ask) -> Choice:
    """Return the lock with its torch replaced by the build that fits this machine."""
    family = [pin for pin in pins if name_of(pin) in FAMILY]
    if not any(name_of(pin) == "torch" for pin in family):
        return Choice(pins, (), "")
    return _cpu(pins, family, ask) if variant == "cpu" else _cuda(pins, family, ask)


def name_of(pin: str) -> str:
    """Return the normalised name of a pinned requirement."""
    found = re.match(r"[A-Za-z0-9][A-Za-z0-9._-]*", pin)
    return re.sub(r"[._-]+", "-", found[0]).lower() if found else ""


def read_lock(text: str) -> list[str]:
    """Return the pins of a lock, without comments."""
    lines = (line.partition(" #")[0].strip() for line in text.splitlines())
    return [line for line in lines if line and not line.startswith("#")]


def _cpu(pins: list[str], family: list[str], ask: Ask) -> Choice:
    torch = _torch(family)
    wanted = os.environ.get("UV_TORCH_BACKEND", "")
    if not wanted:
        local = ask([f"{torch}+cpu"], ("--no-deps",), [])
        if local.pins:
            return Choice(_merge(pins, local.pins), (), f"{local.pins[0]} from your own indexes")
        complaint = uv.explain(local.complaint)
        if isinstance(complaint, uv.NetworkDown):
            raise complaint
    args = ("--torch-backend", wanted or "cpu")
    official = ask(family, ("--no-deps", *args), [])
    if official.pins:
        note = f"{_torch(official.pins)} from PyTorch's own index"
        return Choice(_merge(pins, official.pins), args, note)
    return Choice(
        _merge(pins, _default(pins, family, ask)),
        (),
        f"WARNING: no CPU build of {torch} can be had (PyTorch's own index does not answer), so "
        "the default index's comes, with gigabytes of CUDA libraries this machine does not need",
    )


def _cuda(pins: list[str], family: list[str], ask: Ask) -> Choice:
    """Take the build uv finds for the driver; the lock as it is when uv cannot get it."""
    args = ("--torch-backend", os.environ.get("UV_TORCH_BACKEND", "auto"))
    fitting = ask(family, args, _without_cuda(pins))
    if not fitting.pins:
        note = "torch from the default index (PyTorch's own has no fitting one, or does not answer)"
        return Choice(pins, (), note)
    usual = {name_of(pin) for pin in _default(pins, family, ask)}
    unwanted = usual - {name_of(pin) for pin in fitting.pins}
    kept = [pin for pin in pins if name_of(pin) not in unwanted]
    return Choice(_merge(kept, fitting.pins), args, f"{_torch(fitting.pins)} fits the driver")


def _default(pins: list[str], family: list[str], ask: Ask) -> list[str]:
    """Resolve the family from the default index with what it depends on; raise as `uv.explain`."""
    found = ask(family, (), _without_cuda(pins))
    if not found.pins:
        raise uv.explain(found.complaint)
    return found.pins


def _without_cuda(pins: list[str]) -> list[str]:
    """Return the pins that hold whatever torch is chosen."""
    moving = ("nvidia-", "cuda-", "triton", "torch")
    return [pin for pin in pins if not name_of(pin).startswith(moving)]


def _torch(pins: list[str]) -> str:
    return next(pin for pin in pins if name_of(pin) == "torch")


def _merge(pins: list[str], newer: list[str]) -> list[str]:
    """Return the pins with those of `newer` in place of, or added to, the older ones."""
    by_name = {name_of(pin): pin for pin in [*pins, *newer]}
    return [by_name[name] for name in sorted(by_name)]
