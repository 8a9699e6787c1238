"""uv's complaints, word for word as uv 0.13 writes them, become a sentence and a way out."""

from __future__ import annotations

import pytest

from studio.core.errors import DiskFull, EnvMissing
from studio.envs import uv

CASES = [
    (
        """error: Failed to fetch: http://user:pw@index.example:8/simple/six/
  cause: error sending request for url (http://index.example:8/simple/six/)
  cause: tcp connect error
  cause: Connection refused (os error 111)""",
        uv.NetworkDown,
        "The package index index.example:8 cannot be reached.",
    ),
    (
        """error: Request failed after 1 retry in 1.1s
  cause: Failed to fetch: https://wheels.example/whl/cpu/torch/
  cause: dns error""",
        uv.NetworkDown,
        "The package index wheels.example cannot be reached.",
    ),
    (
        """error: No solution found when resolving dependencies
  cause: Because there is no version of six==9.17.0 and you require six==9.17.0, we can""",
        EnvMissing,
        "The package index does not have six==9.17.0.",
    ),
    (
        """error: No solution found when resolving dependencies
  cause: Because nosuch was not found in the package registry and you require nosuch==1.0""",
        EnvMissing,
        "The package index does not have nosuch.",
    ),
    (
        "  cause: Because torch==2.13.0+cpu has no wheels with a matching Python ABI tag (e.g., ",
        EnvMissing,
        "torch==2.13.0+cpu has no file for this Python and machine.",
    ),
    (
        """error: Failed to download `numpy==2.4.6`
  cause: failed to write to file `/x/.tmp/numpy.so`: No space left on device (os error 28)""",
        DiskFull,
        "The disk is full, so the packages could not be written.",
    ),
    (
        "error: No interpreter found for Python >=3.11, <3.13 in managed installations",
        EnvMissing,
        "There is no Python 3.11 or 3.12 here, and uv could not fetch one.",
    ),
    (
        "  cause: invalid peer certificate: UnknownIssuer",
        uv.NetworkDown,
        "The package index shows a certificate that this machine does not trust.",
    ),
    (
        "error: HTTP status client error (401 Unauthorized) for url (https://x)",
        uv.NetworkDown,
        "The package index refuses to answer (401 Unauthorized).",
    ),
    (
        "error: Failed to build `deepspeed==0.19.8`",
        EnvMissing,
        "The source package deepspeed==0.19.8 could not be built.",
    ),
    ("error: something nobody has seen", EnvMissing, "uv failed: error: something nobody has seen"),
]


@pytest.mark.parametrize(("output", "kind", "sentence"), CASES, ids=[c[2][:40] for c in CASES])
def test_explanations(output: str, kind: type, sentence: str):
    error = uv.explain([line.strip() for line in output.splitlines()])
    assert type(error) is kind
    assert error.message == sentence
    assert error.hint
    assert "pw" not in str(error)


def test_uv_missing_is_told(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(uv.sys, "executable", "/nowhere/python")
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(EnvMissing, match="pip install uv"):
        uv.find_uv()
