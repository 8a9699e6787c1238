"""Packages made on the spot: a wheel that is an engine, and a source package that never builds."""

from __future__ import annotations

import tarfile
import time
import zipfile
from collections.abc import Callable
from pathlib import Path

TINY = {"tinyengine/__init__.py": "print('hello from the engine')\n__version__ = '1.0'\n"}


def make_wheel(folder: Path, name: str, version: str, files: dict[str, str]) -> Path:
    """Write a wheel with a console script `tiny`."""
    info = f"{name}-{version}.dist-info"
    contents = {
        **files,
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{info}/entry_points.txt": "[console_scripts]\ntiny = tinyengine:main\n",
    }
    path = folder / f"{name}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as wheel:
        for inside, text in contents.items():
            wheel.writestr(inside, text)
        names = [*contents, f"{info}/RECORD"]
        wheel.writestr(f"{info}/RECORD", "".join(f"{inside},,\n" for inside in names))
    return path


STUCK = """
import os, pathlib, time
def build_wheel(*args, **kwargs):
    pathlib.Path(os.environ["STUCK"]).write_text(str(os.getpid()))
    time.sleep(600)
"""


def make_stuck_sdist(folder: Path) -> None:
    """Write a source package whose build never ends; it leaves its pid in $STUCK."""
    files = {
        "stuck-1.0/pyproject.toml": '[project]\nname="stuck"\nversion="1.0"\n[build-system]\n'
        'requires=[]\nbuild-backend="backend"\nbackend-path=["."]\n',
        "stuck-1.0/backend.py": STUCK,
        "stuck-1.0/PKG-INFO": "Metadata-Version: 2.2\nName: stuck\nVersion: 1.0\n",
    }
    with tarfile.open(folder / "stuck-1.0.tar.gz", "w:gz") as archive:
        for name, text in files.items():
            path = folder / "piece"
            path.write_text(text)
            archive.add(path, name)
            path.unlink()


def until(happens: Callable[[], bool], timeout_s: float) -> None:
    """Wait for something, with a deadline."""
    deadline = time.monotonic() + timeout_s
    while not happens():
        assert time.monotonic() < deadline, "it never happened"
        time.sleep(0.02)
