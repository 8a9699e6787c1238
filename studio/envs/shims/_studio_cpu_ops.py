"""Let the registry's torchvision and torchaudio, built for CUDA, be imported beside a CPU torch.

Copied into an engine's site-packages and loaded by `_studio_cpu_ops.pth` at every start, so it
imports nothing heavy by itself. A torch or torchvision that has its own operators is left alone.
"""

import contextlib
import importlib
import importlib.util
import sys

_keep_alive = []


def _declare_vision_ops():
    """Declare the two operators that torchvision gives meta kernels to, when its library fails."""
    if importlib.import_module("torchvision.extension")._has_ops():
        return
    library = importlib.import_module("torch").library.Library("torchvision", "FRAGMENT")
    _keep_alive.append(library)
    for op in ("nms", "qnms"):
        with contextlib.suppress(RuntimeError):  # declared by torchvision itself
            library.define(op + "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")


def _forgiving(load):
    """Make torchaudio's loader answer "no extension" where its library needs CUDA."""

    def load_or_not(lib):
        try:
            return load(lib)
        except OSError:
            return False

    return load_or_not


class _Finder:
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        if name == "torchvision._meta_registrations":
            _declare_vision_ops()
        elif name == "torchaudio._extension.utils":
            return cls._audio_spec(name)
        return None

    @classmethod
    def _audio_spec(cls, name):
        sys.meta_path.remove(cls)
        try:
            spec = importlib.util.find_spec(name)
        finally:
            sys.meta_path.insert(0, cls)
        if spec is None or spec.loader is None:
            return spec
        execute = spec.loader.exec_module

        def exec_module(module):
            execute(module)
            module._load_lib = _forgiving(module._load_lib)

        spec.loader.exec_module = exec_module
        return spec


sys.meta_path.insert(0, _Finder)
