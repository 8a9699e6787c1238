"""The true tensors of a model folder, from the headers of its safetensors files.

A header is eight bytes of length (little endian) and that much JSON; the weights behind it are
never read, so a 72B model takes milliseconds.
"""

from __future__ import annotations

import json
import struct
from pathlib import Path

from studio.core.errors import RecipeInvalid
from studio.planner.tensors import BITS, Tensor

INDEX = "model.safetensors.index.json"
LARGEST_HEADER = 100_000_000
"""Bytes beyond which safetensors itself refuses a header."""
RESUME = "The download may be incomplete: repeat it, it resumes."


def read_tensors(folder: Path) -> list[Tensor] | None:
    """Return every tensor of a folder's safetensors files; None when there is none of them.

    With an index only the files it names count (some folders hold a second copy of the weights).
    Raises RecipeInvalid when a file is missing, cut short or no safetensors file.
    """
    files = weight_files(folder)
    if not files:
        return None
    return [tensor for path in files for tensor in read_header(path)]


def weight_files(folder: Path) -> list[Path]:
    """Return the safetensors files a server would load, in order."""
    index = folder / INDEX
    if not index.is_file():
        single = folder / "model.safetensors"
        return [single] if single.is_file() else sorted(folder.glob("*.safetensors"))
    try:
        names = sorted(set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()))
    except (ValueError, KeyError, TypeError, AttributeError):
        raise RecipeInvalid(f"{index} cannot be read.", hint=RESUME) from None
    missing = [name for name in names if not (folder / name).is_file()]
    if missing:
        raise RecipeInvalid(
            f"{len(missing)} of {len(names)} weight files are missing in {folder}: {missing[0]}.",
            hint=RESUME,
        )
    return [folder / name for name in names]


def read_header(path: Path) -> list[Tensor]:
    """Return the tensors one safetensors file says it holds, and check that they are all there.

    Raises RecipeInvalid when the file is cut short or is something else.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        head = file.read(8)
        length = struct.unpack("<Q", head)[0] if len(head) == 8 else 0
        if not 2 <= length <= LARGEST_HEADER:
            raise _broken(path)
        raw = file.read(length)
    try:
        table = json.loads(raw)
        rows = {name: row for name, row in table.items() if name != "__metadata__"}
        tensors = [Tensor(n, row["dtype"], tuple(row["shape"])) for n, row in rows.items()]
        end = max((row["data_offsets"][1] for row in rows.values()), default=0)
    except (ValueError, KeyError, TypeError, AttributeError):
        raise _broken(path) from None
    if unknown := {tensor.dtype for tensor in tensors} - BITS.keys():
        raise RecipeInvalid(f"{path} holds numbers of an unknown type: {', '.join(unknown)}.")
    if size < 8 + length + end:
        lost = 8 + length + end - size
        raise RecipeInvalid(f"{path} is cut short: {lost:,} bytes are missing.", hint=RESUME)
    return tensors


def _broken(path: Path) -> RecipeInvalid:
    return RecipeInvalid(f"{path} is not a whole safetensors file.", hint=RESUME)
