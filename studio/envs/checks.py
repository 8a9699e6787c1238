"""What is looked at before a build begins: the disk, the driver, who uses the environment."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterable
from pathlib import Path

from studio.core.errors import DiskFull, EnvMissing, RunBusy, StudioError
from studio.envs.catalog import EnvSpec, Variant
from studio.envs.layout import users_of

GIB = 2**30


def check_unused(folder: Path) -> None:
    """Raise unless the folder is plain and no live process runs from it."""
    if folder.is_symlink():
        raise StudioError(
            f"{folder} is a link and the studio builds in plain folders.",
            hint="Remove the link; to use another disk, move the home with --home.",
        )
    users = users_of(folder)
    if users:
        raise RunBusy(
            f"{len(users)} running processes use {folder} (pid {users[0]}).",
            hint="Stop the runs of this engine first, then build again.",
        )


def check_disk(title: str, need_gib: float, places: Iterable[Path]) -> None:
    """Raise DiskFull when a disk that one of the places is on has less than that left."""
    for place in places:
        existing = next(path for path in (place, *place.parents) if path.exists())
        free = shutil.disk_usage(existing).free / GIB
        if free < need_gib:
            raise DiskFull(
                f"{title} needs about {need_gib:.1f} GiB and {place} has {free:.1f} GiB left.",
                hint="Free some space, or put the home on another disk with --home.",
            )


def check_driver(spec: EnvSpec, variant: Variant) -> None:
    """Raise EnvMissing when the machine's NVIDIA driver is too old for the CUDA variant."""
    driver = nvidia_driver() if variant == "cuda" else 0
    if driver and driver < spec.cuda_driver:
        raise EnvMissing(
            f"This {spec.title} needs NVIDIA driver {spec.cuda_driver} or newer, and this machine "
            f"has {driver}.",
            hint="Update the driver, or adopt an environment that fits it.",
        )


def nvidia_driver() -> int:
    """Return the major version of the NVIDIA driver; 0 when unknown."""
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return 0
    argv = [tool, "--query-gpu=driver_version", "--format=csv,noheader"]
    try:
        done = subprocess.run(argv, capture_output=True, text=True, timeout=30, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return 0
    major = done.stdout.strip().partition(".")[0]
    return int(major) if major.isdigit() else 0
