"""Which packages an interpreter has, told from the folders beside it; nothing is started."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from studio.core.spec import Interpreter


def package_version(interpreter: Interpreter, name: str) -> str | None:
    """Return the version of an installed distribution; empty when it is not there.

    None when the interpreter's packages are not where a venv, conda or Debian keeps them.
    """
    wanted, looked = name.lower().replace("-", "_"), False
    for folder in _folders(interpreter):
        looked = True
        for info in folder.glob("*.dist-info"):
            found, _, version = info.name.removesuffix(".dist-info").partition("-")
            if found.lower().replace(".", "_").replace("-", "_") == wanted:
                return version
    return "" if looked and not _sees_more(Path(interpreter.python)) else None


def _sees_more(python: Path) -> bool:
    """Tell whether a venv also uses the packages of the Python it was made from."""
    try:
        text = (python.parent.parent / "pyvenv.cfg").read_text(encoding="utf-8")
    except OSError:
        return False
    return "include-system-site-packages = true" in text.lower()


def _folders(interpreter: Interpreter) -> Iterator[Path]:
    prefix = Path(interpreter.python).parent.parent
    yield from filter(Path.is_dir, map(Path, interpreter.pythonpath))
    for kind in ("lib/python3*/site-packages", "lib/python3*/dist-packages"):
        yield from sorted(prefix.glob(kind))
        if prefix == Path("/usr"):
            yield from sorted(Path("/usr/local").glob(kind))
