"""`python -m studio.data work.json --home DIR`: what a run of `data-work` executes.

Tells its progress in `artifacts/progress.jsonl` and its result in `artifacts/result.json` of the
folder it was started in.
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
import time
from pathlib import Path
from typing import NoReturn

from studio.core.errors import StudioError
from studio.core.settings import ROOT
from studio.data.library import DataSets
from studio.data.work import do

_TOLD_EVERY_S = 0.5


class _Progress:
    """Appends how far the work is, twice a second at most."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(exist_ok=True)
        self._path = path
        self._told_at = 0.0

    def tell(self, done: int, total: int) -> None:
        """Note `done` of `total`, of whatever unit."""
        now = time.monotonic()
        if now - self._told_at < _TOLD_EVERY_S and done < total:
            return
        self._told_at = now
        with open(self._path, "a", encoding="utf-8") as file:
            file.write(json.dumps({"done": done, "total": total}) + "\n")


def main() -> None:
    """Do one piece of work; a StudioError is one sentence and its own exit code."""
    parser = argparse.ArgumentParser(prog="python -m studio.data")
    parser.add_argument("work", type=Path)
    parser.add_argument("--home", type=Path, required=True)
    given = parser.parse_args()
    signal.signal(signal.SIGTERM, _leave)  # so that what was half written is removed
    data = DataSets(given.home / "data", ROOT / "assets" / "data")
    artifacts = Path("artifacts")
    try:
        work = json.loads(given.work.read_text(encoding="utf-8"))
        made = do(data, work, _Progress(artifacts / "progress.jsonl").tell)
    except StudioError as error:
        sys.exit(_said(error))
    rows = [one.as_dict() for one in made]
    (artifacts / "result.json").write_text(json.dumps(rows, ensure_ascii=False), encoding="utf-8")
    for one in made:
        sys.stdout.write(f"{one.key}: {one.rows} rows, {one.faults} records left out\n")


def _said(error: StudioError) -> int:
    sys.stderr.write(f"{error.message}\n{error.hint}\n".replace("\n\n", "\n"))
    return error.exit_code


def _leave(number: int, frame: object) -> NoReturn:
    sys.exit(128 + number)


if __name__ == "__main__":
    main()
