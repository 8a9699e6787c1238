"""Ask an engine once which `--flags` it has, and keep the answer beside the environments.

vLLM takes ten seconds of CPU to print its help, so it is asked at the end of a build or an
adoption, else once in the background. The answer belongs to one interpreter with one version of
the engine from one lock; anything else is asked again.
"""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
from pathlib import Path

from studio.core.errors import EnvMissing
from studio.envs.catalog import EnvSpec
from studio.envs.verify import environment
from studio.jobs.shim.files import replace_json

TIMEOUT_S = 180.0
LEAST = 40
"""Fewer flags than this are no list of all flags: older versions show sections instead."""

_OPTION = re.compile(r"  (-\S.*)")
_FLAG = re.compile(r"(?<![\w.-])--[A-Za-z][\w-]*")


def parse_help(text: str) -> frozenset[str]:
    """Return every long flag of an argparse help text; those named in its prose are left out."""
    found: set[str] = set()
    for line in text.splitlines():
        option = _OPTION.fullmatch(line)
        if option:
            found.update(_FLAG.findall(re.split(r"\s{2,}", option[1])[0]))
    return frozenset(found)


def ask_flags(
    spec: EnvSpec, python: Path, pythonpath: tuple[str, ...] = (), timeout_s: float = TIMEOUT_S
) -> frozenset[str]:
    """Start the engine's help with that interpreter and read it; raise EnvMissing when it fails."""
    try:
        done = subprocess.run(
            [str(python), "-m", *spec.help],
            capture_output=True,
            text=True,
            errors="replace",
            timeout=timeout_s,
            check=False,
            cwd="/",
            stdin=subprocess.DEVNULL,
            env=environment(map(Path, pythonpath)) | {"OMP_NUM_THREADS": "1", "COLUMNS": "100"},
        )
    except subprocess.TimeoutExpired:
        raise EnvMissing(
            f"{spec.title} did not list its flags within {timeout_s:.0f} s.",
            hint="The disk may be slow or busy; try again.",
        ) from None
    except OSError as error:
        raise EnvMissing(
            f"{python} cannot be started: {error.strerror}.",
            hint="Give the path of a Python, such as /opt/conda/envs/NAME/bin/python.",
        ) from error
    flags = parse_help(done.stdout)
    if done.returncode != 0 or len(flags) < LEAST:
        last = " / ".join((done.stderr or done.stdout).strip().splitlines()[-2:]) or "no output"
        raise EnvMissing(f"{spec.title} does not list its flags: {last}")
    return flags


def key_of(
    python: str, pythonpath: tuple[str, ...], versions: dict[str, str], lock_sha256: str
) -> str:
    """Return what an answer belongs to, as a digest."""
    facts = json.dumps([python, pythonpath, sorted(versions.items()), lock_sha256])
    return hashlib.sha256(facts.encode()).hexdigest()


def flags_file(envs_dir: Path, name: str) -> Path:
    """Return where the answer of one engine's environment is kept."""
    return envs_dir / f".{name}-flags.json"


def read_flags(file: Path, key: str) -> frozenset[str] | None:
    """Return the kept answer; None when there is none for this key."""
    try:
        kept = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return frozenset(kept["flags"]) if kept.get("key") == key else None


def write_flags(file: Path, key: str, flags: frozenset[str]) -> None:
    """Keep an answer, instead of an older one."""
    replace_json(file, {"key": key, "flags": sorted(flags)})
