"""Cards as their vendors' command-line tools tell them: NVIDIA, AMD, Hygon DCU.

The supervisor may use nothing but the standard library, so it asks the tools; the page asks NVML
first (`studio.telemetry.gpus`) and comes here for everything else.
"""

from __future__ import annotations

import json
import os
import subprocess
from typing import NamedTuple

MIB = 2**20

STRANGER_BYTES = 2**30
"""A card with more than this in use (or a tenth of its memory) by others is not free."""


class Card(NamedTuple):
    """One accelerator at one moment. Memory in bytes, load in percent (-1 unknown)."""

    index: int  # pyright: ignore[reportIncompatibleMethodOverride]
    name: str
    total: int
    used: int
    load: int
    uuid: str = ""
    vendor: str = "nvidia"
    power_w: float = -1.0
    power_cap_w: float = -1.0
    temperature_c: int = -1


class Holder(NamedTuple):
    """A process that holds memory on a card."""

    card: int
    pid: int
    used: int


def read_cards() -> list[Card]:
    """Return the cards this machine shows, limited to the *_VISIBLE_DEVICES of our environment."""
    for reader in (_nvidia, _amd, _hygon):
        cards = reader()
        if cards:
            return _visible(cards)
    return []


def read_holders(cards: list[Card]) -> list[Holder]:
    """Return the processes on NVIDIA cards; empty where the tool does not tell."""
    by_uuid = {card.uuid: card.index for card in cards if card.vendor == "nvidia"}
    if not by_uuid:
        return []
    out = _ask("nvidia-smi", "--query-compute-apps=gpu_uuid,pid,used_memory", *_CSV)
    holders = []
    for line in out.splitlines():
        uuid, pid, used = [part.strip() for part in line.split(",")][:3]
        if uuid in by_uuid and pid.isdigit():
            holders.append(Holder(by_uuid[uuid], int(pid), _number(used) * MIB))
    return holders


def visible_variable(vendor: str) -> str:
    """Return the variable that limits a process to some cards."""
    return "CUDA_VISIBLE_DEVICES" if vendor == "nvidia" else "HIP_VISIBLE_DEVICES"


def filled_by_stranger(card: Card, ours: int = 0) -> bool:
    """Tell whether memory on the card beyond `ours` bytes means that somebody else works there."""
    return card.used - ours > min(STRANGER_BYTES, card.total // 10)


_CSV = ("--format=csv,noheader,nounits",)


def _nvidia() -> list[Card]:
    fields = (
        "index,name,memory.total,memory.used,utilization.gpu,uuid,"
        "power.draw,power.limit,temperature.gpu"
    )
    cards = []
    for line in _ask("nvidia-smi", f"--query-gpu={fields}", *_CSV).splitlines():
        part = [item.strip() for item in line.split(",")]
        if len(part) >= 9 and part[0].isdigit():
            cards.append(
                Card(
                    int(part[0]),
                    part[1],
                    _number(part[2]) * MIB,
                    _number(part[3]) * MIB,
                    _number(part[4], -1),
                    part[5],
                    "nvidia",
                    _real(part[6]),
                    _real(part[7]),
                    _number(part[8], -1),
                )
            )
    return cards


def _amd() -> list[Card]:
    return _smi_json("rocm-smi", "amd")


def _hygon() -> list[Card]:
    return _smi_json("hy-smi", "hygon")


def _smi_json(tool: str, vendor: str) -> list[Card]:
    out = _ask(tool, "--showproductname", "--showmeminfo", "vram", "--showuse", "--json")
    try:
        table = json.loads(out)
    except ValueError:
        return []
    cards = []
    for key, row in sorted(table.items()):
        if not key.startswith("card") or not key[4:].isdigit():
            continue
        low = {name.lower(): str(value) for name, value in row.items()}
        cards.append(
            Card(
                int(key[4:]),
                low.get("card series") or low.get("card model") or vendor.upper(),
                _number(low.get("vram total memory (b)", "0")),
                _number(low.get("vram total used memory (b)", "0")),
                _number(low.get("gpu use (%)", low.get("dcu use (%)", "-1")), -1),
                low.get("unique id", ""),
                vendor,
            )
        )
    return cards


def _visible(cards: list[Card]) -> list[Card]:
    chosen = os.environ.get(visible_variable(cards[0].vendor))
    if chosen is None:
        return cards
    wanted = [part.strip() for part in chosen.split(",") if part.strip()]
    return [card for card in cards if str(card.index) in wanted or card.uuid in wanted]


def _ask(tool: str, *arguments: str) -> str:
    if not any(os.access(f"{folder}/{tool}", os.X_OK) for folder in os.get_exec_path()):
        return ""  # shutil.which costs every supervisor 4 ms of imports
    try:
        done = subprocess.run(
            [tool, *arguments], capture_output=True, text=True, timeout=20, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout if done.returncode == 0 else ""


def _number(text: str, default: int = 0) -> int:
    try:
        return int(float(text))
    except ValueError:
        return default


def _real(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return -1.0
