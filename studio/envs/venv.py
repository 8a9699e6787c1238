"""The interpreter of a built environment: whether it works, and how it is made."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from studio.envs import uv

PYTHONS = ((3, 11), (3, 12))
"""Versions the locks are for."""

_ABOUT = "import sys, sysconfig; print(*sys.version_info[:2], sysconfig.get_path('include'))"


def works(python: Path, env: Mapping[str, str]) -> bool:
    """Tell whether this interpreter starts and has a version the locks are for."""
    try:
        done = uv.ask([str(python), "-I", "-c", _ABOUT], env, timeout_s=60)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0 and done.stdout.split()[:2] in [
        [str(major), str(minor)] for major, minor in PYTHONS
    ]


def has_headers(python: Path, env: Mapping[str, str]) -> bool:
    """Tell whether Python.h is there, which torch needs to compile kernels at run time."""
    done = uv.ask([str(python), "-I", "-c", _ABOUT], env, timeout_s=60)
    return Path(done.stdout.strip().split(" ", 2)[-1], "Python.h").exists()


def make(uv_path: str, folder: Path, env: Mapping[str, str]) -> None:
    """Make the folder anew with an interpreter and nothing else; raise as `uv.explain`."""
    argv = [uv_path, "venv", "--clear", "--python", base_python(), str(folder)]
    done = uv.ask(argv, env)
    if done.returncode != 0:
        raise uv.explain(done.stderr.splitlines())


def base_python() -> str:
    """Return the studio's own Python when the locks fit it, else let uv find one that does."""
    if sys.version_info[:2] in PYTHONS:
        return getattr(sys, "_base_executable", None) or sys.executable
    return ">=3.11,<3.13"
