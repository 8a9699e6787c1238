"""Write a lock again from its `.in` file: `python -m studio.envs.relock NAME VARIANT [--upgrade]`.

For developers. Without --upgrade the pins that still fit stay. A `.in` file holds requirements
and directives in comments: `# exclude: NAMES`, `# override: REQUIREMENT`, `# constrain:
REQUIREMENT`, `# like: LOCK` (take that lock's versions). The lock is resolved for Python 3.11 and
checked to be the same for 3.12. A CPU lock says `torch==X`; the builder finds the CPU build of it.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from studio.core.errors import StudioError
from studio.envs import pipconf, uv
from studio.envs.backend import read_lock
from studio.envs.catalog import CATALOG, LOCKS, Variant, find

PLATFORM = "x86_64-manylinux_2_35"
CUDA_LIBRARIES = ("nvidia-", "cuda-", "triton==")
"""What the default index's torch brings and a CPU build of it does not want."""

DIRECTIVE = re.compile(r"# (exclude|override|constrain|like): (.+)")


def compile_lock(source: str, python: str, previous: str, cpu: bool) -> list[str]:
    """Resolve one `.in` text for one Python version; pins of `previous` stay if they fit."""
    rules: dict[str, list[str]] = {"exclude": [], "override": [], "constrain": [], "like": []}
    for rule, value in DIRECTIVE.findall(source):
        rules[rule] += value.split() if rule == "exclude" else [value]
    limits = rules["constrain"]
    for lock in rules["like"]:
        limits = [*limits, *read_lock((LOCKS / lock).read_text())]
    with tempfile.TemporaryDirectory() as folder:
        files = {
            "in": source,
            "out": previous,
            "excludes": "\n".join(rules["exclude"]),
            "overrides": "\n".join(rules["override"]),
            "constraints": "\n".join(limits),
        }
        for name, text in files.items():
            Path(folder, f"{name}.txt").write_text(text + "\n")
        argv = [uv.find_uv(), "pip", "compile", "-q", "--no-header", "--no-annotate"]
        argv += ["--python-version", python, "--python-platform", PLATFORM]
        for name in ("excludes", "overrides", "constraints"):
            argv += [f"--{name}", f"{folder}/{name}.txt"]
        argv += [f"{folder}/in.txt", "-o", f"{folder}/out.txt", *pipconf.read().args]
        own = ("UV_FIND_LINKS", "UV_INDEX", "UV_INDEX_STRATEGY")  # a lock is for everyone
        given = {k: v for k, v in pipconf.read().env.items() if k not in own}
        env = os.environ | given
        done = subprocess.run(argv, env=env, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise StudioError(done.stderr.strip())
        pins = read_lock(Path(folder, "out.txt").read_text())
    if not cpu:
        return pins
    return [pin.removesuffix("+cpu") for pin in pins if not pin.startswith(CUDA_LIBRARIES)]


def relock(name: str, variant: Variant, *, upgrade: bool = False) -> Path:
    """Write `locks/NAME.VARIANT.txt`; raise StudioError when the Pythons disagree."""
    if find(name).client:
        variant = "cpu"
    lock = find(name).lock(variant)
    source = lock.with_suffix(".in").read_text()
    previous = "" if upgrade or not lock.exists() else lock.read_text()
    pins = compile_lock(source, "3.12", previous, variant == "cpu")
    older = compile_lock(source, "3.11", "\n".join(pins), variant == "cpu")
    odd = sorted(set(older) - set(pins))
    if odd:
        raise StudioError(f"Python 3.11 wants other versions than 3.12: {', '.join(odd)}.")
    told = [
        line for line in source.splitlines() if line.startswith("#") and not DIRECTIVE.match(line)
    ]
    header = [
        *told,
        f"# Complete for Python 3.11 and 3.12 on Linux x86_64. Written from {name}.{variant}.in by",
        f"# python -m studio.envs.relock {name} {variant}   (--upgrade takes newer versions)",
    ]
    lock.write_text("\n".join([*header, *pins, ""]))
    return lock


def main() -> int:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description="Write a lock again.")
    parser.add_argument("name", choices=tuple(CATALOG))
    parser.add_argument("variant", choices=("cpu", "cuda"))
    parser.add_argument("--upgrade", action="store_true")
    options = parser.parse_args()
    try:
        sys.stdout.write(f"{relock(options.name, options.variant, upgrade=options.upgrade)}\n")
    except StudioError as error:
        sys.stderr.write(f"ERROR: {error}\n")
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
