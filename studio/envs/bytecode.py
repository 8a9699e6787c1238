"""Compile what engines import at their start, so that no first start pays for it.

A whole environment has 20,000 files of which a start imports 5,000; tests and the hundreds of
model files that one model does not need are left to Python itself, which compiles on first use.
"""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path

NEVER = {"tests", "test", "testing", "__pycache__"}
"""Folders whose files no engine imports."""

_PROGRAM = """
import importlib.util, os, py_compile, sys
from concurrent.futures import ProcessPoolExecutor

def fresh(path):
    facts = os.stat(path)
    try:
        with open(importlib.util.cache_from_source(path), "rb") as file:
            header = file.read(16)
    except OSError:
        return False
    wanted = [int(facts.st_mtime) & 0xFFFFFFFF, facts.st_size & 0xFFFFFFFF]
    found = [int.from_bytes(header[at : at + 4], "little") for at in (8, 12)]
    return header[:4] == importlib.util.MAGIC_NUMBER and found == wanted

def compile_one(path):
    try:
        if not fresh(path):
            py_compile.compile(path, quiet=2)
    except (OSError, ValueError):
        pass

if __name__ == "__main__":
    paths = sys.stdin.read().splitlines()
    with ProcessPoolExecutor(int(sys.argv[1])) as pool:
        for count, _ in enumerate(pool.map(compile_one, paths, chunksize=16), 1):
            if count % 100 == 0:
                print(count, flush=True)
"""


def sources(site_packages: Path, seldom: tuple[str, ...]) -> Iterator[str]:
    """Yield the files worth compiling; `seldom` are path beginnings to leave out, `!` keeps."""
    out = tuple(prefix for prefix in seldom if not prefix.startswith("!"))
    kept = tuple(prefix[1:] for prefix in seldom if prefix.startswith("!"))
    for folder, folders, files in os.walk(site_packages):
        folders[:] = sorted(name for name in folders if name not in NEVER)
        place = os.path.relpath(folder, site_packages)
        for name in sorted(files):
            path = f"{place}/{name}".removeprefix("./")
            if name.endswith(".py") and (path.startswith(kept) or not path.startswith(out)):
                yield os.path.join(folder, name)


def compile_files(
    python: Path,
    paths: list[str],
    env: Mapping[str, str],
    *,
    tell: Callable[[int], None],
    keep: tuple[int, ...] = (),
) -> bool:
    """Compile with the environment's own interpreter on all cores; `tell` hears how many are done.

    A file that does not compile (a template) is no failure; False means that the work broke off.
    `keep` as in `uv.follow`.
    """
    jobs = str(min(16, os.cpu_count() or 1))
    process = subprocess.Popen(
        [str(python), "-I", "-S", "-c", _PROGRAM, jobs],
        env={name: value for name, value in env.items() if name != "SOURCE_DATE_EPOCH"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        pass_fds=keep,
        start_new_session=True,
    )
    assert process.stdin is not None and process.stdout is not None
    try:
        process.stdin.write("\n".join(paths))
        process.stdin.close()
        for line in process.stdout:
            tell(int(line))
    except BaseException:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        raise
    finally:
        code = process.wait()
        process.stdout.close()
    return code == 0
