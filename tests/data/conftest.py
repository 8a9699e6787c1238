"""A home with nothing in it but the built-in samples."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
import pytest

from studio.core.settings import ROOT
from studio.data.library import DataSets

SAMPLES = ROOT / "assets" / "data"


@pytest.fixture
def data(tmp_path: Path) -> DataSets:
    return DataSets(tmp_path / "home" / "data", SAMPLES)


@pytest.fixture
def written(tmp_path: Path) -> Callable[..., Path]:
    """Write rows as JSON Lines and return the file."""

    def write(rows: list[Any], name: str = "rows.jsonl") -> Path:
        path = tmp_path / name
        path.write_bytes(b"".join(orjson.dumps(row) + b"\n" for row in rows))
        return path

    return write
