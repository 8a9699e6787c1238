"""Ask an interpreter whether an engine can be imported there, and which versions it has."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from studio.core.errors import EnvMissing
from studio.envs.catalog import EnvSpec

TIMEOUT_S = 180.0
INHERITED = ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV", "CONDA_PREFIX", "PYTHONSTARTUP")
"""Variables of the studio's own Python that another Python must not see."""

_MARK = "studio-answer:"
_PROGRAM = f"""
import importlib, json, sys
from importlib import metadata
answer = {{"python": ".".join(map(str, sys.version_info[:3])), "versions": {{}}, "error": ""}}
modules, distributions = json.loads(sys.argv[1])
try:
    for name in modules:
        importlib.import_module(name)
except BaseException as error:
    answer["error"] = f"{{type(error).__name__}}: {{error}}"
for name in distributions:
    try:
        answer["versions"][name] = metadata.version(name)
    except metadata.PackageNotFoundError:
        found = getattr(sys.modules.get(name), "__version__", "")
        if found:
            answer["versions"][name] = str(found)
print("\\n{_MARK}" + json.dumps(answer), flush=True)
"""


@dataclass(frozen=True)
class Answer:
    """What an interpreter said: its version and those of the engine's distributions."""

    python: str
    versions: dict[str, str]


def verify(
    spec: EnvSpec,
    python: Path,
    pythonpath: Iterable[Path] = (),
    *,
    write_bytecode: bool = False,
    timeout_s: float = TIMEOUT_S,
) -> Answer:
    """Import the engine with that interpreter; raise EnvMissing with the reason it cannot.

    `write_bytecode` lets an environment of our own keep what was compiled on the way.
    """
    question = json.dumps([spec.imports, (spec.distribution, *spec.report)])
    try:
        done = subprocess.run(
            [str(python), "-c", _PROGRAM, question],
            capture_output=True,
            text=True,
            errors="replace",
            timeout=timeout_s,
            check=False,
            cwd="/",
            stdin=subprocess.DEVNULL,
            env=environment(pythonpath, write_bytecode),
        )
    except subprocess.TimeoutExpired:
        raise EnvMissing(
            f"{python} did not import {spec.title} within {timeout_s:.0f} s.",
            hint="The disk may be slow or busy; try again.",
        ) from None
    except OSError as error:
        raise EnvMissing(
            f"{python} cannot be started: {error.strerror}.",
            hint="Give the path of a Python, such as /opt/conda/envs/NAME/bin/python.",
        ) from error
    return _read(spec, python, done)


def environment(pythonpath: Iterable[Path], write_bytecode: bool = False) -> dict[str, str]:
    """Return the variables for a question to another Python: nothing of ours, no network."""
    dropped = {*INHERITED, "PYTHONDONTWRITEBYTECODE"} if write_bytecode else set(INHERITED)
    env = {name: value for name, value in os.environ.items() if name not in dropped}
    env |= {"VLLM_NO_USAGE_STATS": "1", "HF_HUB_OFFLINE": "1", "PYTHONIOENCODING": "utf-8"}
    folders = ":".join(str(folder) for folder in pythonpath)
    return env | {"PYTHONPATH": folders} if folders else env


def _read(spec: EnvSpec, python: Path, done: subprocess.CompletedProcess[str]) -> Answer:
    lines = [line for line in done.stdout.splitlines() if line.startswith(_MARK)]
    if not lines:
        last = " / ".join((done.stderr or done.stdout).strip().splitlines()[-3:]) or "no output"
        raise EnvMissing(
            f"{python} is not a working Python (it ended with {done.returncode}): {last}",
            hint="Give the path of a Python, such as /opt/conda/envs/NAME/bin/python.",
        )
    answer = json.loads(lines[-1].removeprefix(_MARK))
    if answer["error"]:
        raise EnvMissing(
            f"{spec.title} cannot be imported by {python}: {answer['error']}",
            hint=f"Install {spec.distribution} there, add the folder that holds it to PYTHONPATH, "
            "or build the environment.",
        )
    if spec.distribution not in answer["versions"]:
        raise EnvMissing(
            f"{python} imports {spec.title}, but nothing tells its version.",
            hint=f"Install it as a package named {spec.distribution}.",
        )
    return Answer(python=answer["python"], versions=answer["versions"])
