"""A tiny engine made of one wheel, in a folder that stands for the package index: no network."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from envs.tiny_engine import TINY, make_wheel

from studio.core.settings import Settings
from studio.envs.catalog import EnvSpec, Gib
from studio.envs.envs import Envs
from studio.jobs.store import Store


@pytest.fixture(scope="session")
def uv_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """uv's own cache, as builds share it anywhere; in an empty one uv asks the interpreter anew."""
    return tmp_path_factory.mktemp("uv-cache")


@pytest.fixture
def index(tmp_path: Path, uv_cache: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of wheels that pip, and so uv, is configured to use and nothing else."""
    folder = tmp_path / "wheels"
    folder.mkdir()
    make_wheel(folder, "tinyengine", "1.0", TINY)
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("UV_CACHE_DIR", str(uv_cache))
    for name in ("PIP_EXTRA_INDEX_URL", "PIP_INDEX_URL", "UV_TORCH_BACKEND"):
        monkeypatch.delenv(name, raising=False)
    return folder


@pytest.fixture
def make_spec(tmp_path: Path) -> Callable[..., EnvSpec]:
    """Return a maker of environment specs with a lock of their own."""
    locks = tmp_path / "locks"

    def make(lock: str = "tinyengine==1.0", **changes) -> EnvSpec:
        locks.mkdir(exist_ok=True)
        (locks / "tiny.cpu.txt").write_text(f"# a lock\n{lock}\n")
        facts = {
            "name": "tiny",
            "title": "Tiny",
            "imports": ("tinyengine",),
            "distribution": "tinyengine",
            "script": "tiny",
            "size_gib": Gib(cpu=0.01, cuda=0.01),
            "download_gib": Gib(cpu=0.01, cuda=0.01),
            "locks": locks,
        }
        return EnvSpec(**(facts | changes))

    return make


@pytest.fixture
def envs(tmp_path: Path, make_spec: Callable[..., EnvSpec]) -> Envs:
    """The environments of an empty home, with the tiny engine in the catalog."""
    settings = Settings(home=tmp_path / "home", variant="cpu")
    settings.prepare_home()
    return Envs(settings, Store(settings.database), {"tiny": make_spec()})
