"""The folder of one built environment: where its parts lie, its marker, its lock, its users."""

from __future__ import annotations

import csv
import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

MARKER = "studio-env.json"


@dataclass(frozen=True)
class EnvFolder:
    """Paths and facts of `<envs_dir>/<name>-<variant>`; looks at files, starts nothing."""

    path: Path

    @property
    def python(self) -> Path:
        """The interpreter; a link that must not be resolved, or it leaves the environment."""
        return self.path / "bin" / "python"

    @property
    def marker(self) -> Path:
        """File written last by a build that went through."""
        return self.path / MARKER

    @property
    def pins(self) -> Path:
        """What the last build asked for, the choice of torch included."""
        return self.path / "studio-pins.txt"

    @property
    def site_packages(self) -> Path | None:
        """Folder of the installed packages, once there is one."""
        return next(iter(sorted(self.path.glob("lib/python3.*/site-packages"))), None)

    def read_marker(self) -> dict | None:
        """Return what the finished build wrote, or None."""
        try:
            found = json.loads(self.marker.read_text())
        except (OSError, ValueError):
            return None
        return found if isinstance(found, dict) else None

    def distribution(self, name: str) -> Path | None:
        """Return the dist-info folder of an installed distribution."""
        site, wanted = self.site_packages, name.lower().replace("-", "_")
        if site is None:
            return None
        for info in site.glob("*.dist-info"):
            if info.name.partition("-")[0].lower().replace(".", "_") == wanted:
                return info
        return None

    @property
    def lock_file(self) -> Path:
        """File a builder holds locked as long as it, or its uv, is at work."""
        return self.path.with_name(f".{self.path.name}.lock")

    @property
    def building(self) -> bool:
        """True while a builder holds the lock."""
        try:
            fd = os.open(self.lock_file, os.O_RDONLY)
        except OSError:
            return False
        try:
            fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(fd)
        return False

    @contextmanager
    def hold(self) -> Iterator[int | None]:
        """Take the lock if it is free: yield its descriptor, or None when somebody builds."""
        self.lock_file.parent.mkdir(parents=True, exist_ok=True)
        fd = os.open(self.lock_file, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                yield None
            else:
                yield fd
        finally:
            os.close(fd)


def users_of(folder: Path) -> list[int]:
    """Return the pids of live processes that run from, or have loaded, files below a folder."""
    own = str(folder) + "/"
    return [
        int(name)
        for name in os.listdir("/proc")
        if name.isdigit() and int(name) != os.getpid() and _uses(Path("/proc", name), own)
    ]


def damaged(site_packages: Path) -> list[Path]:
    """Return the dist-info folders of packages that lack a file, or have one of another size."""
    return [
        info
        for info in sorted(site_packages.glob("*.dist-info"))
        if not _intact(site_packages, info / "RECORD")
    ]


def size_bytes(folder: Path) -> int:
    """Return the disk space of a folder's files; links count nothing."""
    total, level = 0, [str(folder)]
    while level:
        with os.scandir(level.pop()) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    level.append(entry.path)
                elif not entry.is_symlink():
                    total += entry.stat(follow_symlinks=False).st_blocks * 512
    return total


def _uses(process: Path, own: str) -> bool:
    try:
        argv = (process / "cmdline").read_bytes().decode(errors="replace").split("\0")
        if any(part.startswith(own) for part in argv[:2]):
            return True
        if os.readlink(process / "exe").startswith(own):
            return True
        return f" {own}" in (process / "maps").read_text(errors="replace")
    except OSError:
        return False


def _intact(site_packages: Path, record: Path) -> bool:
    try:
        rows = list(csv.reader(record.read_text().splitlines()))
        for row in rows:
            size = os.stat(os.path.join(site_packages, row[0])).st_size
            if len(row) == 3 and row[2] and int(row[2]) != size:
                return False
    except (OSError, ValueError, IndexError):
        return False
    return bool(rows)
