"""Settings inside a PNG: one text chunk of JSON, put in and read without touching a pixel."""

from __future__ import annotations

import json
import struct
import zlib
from typing import Any

SIGNATURE = b"\x89PNG\r\n\x1a\n"
KEYWORD = "parameters"
"""Where image editors and galleries of the field look for how a picture was made."""
_HEADER_ENDS = len(SIGNATURE) + 4 + 4 + 13 + 4
"""After IHDR, which always comes first and has 13 bytes."""


def stamped(data: bytes, settings: dict[str, Any]) -> bytes:
    """Return a PNG that carries `settings` as JSON in an iTXt chunk called `parameters`.

    Raises ValueError when the data are no PNG. Source of the layout: PNG specification, 11.3.4.5.
    """
    if not data.startswith(SIGNATURE) or data[12:16] != b"IHDR":
        raise ValueError("only a PNG can carry its settings")
    text = json.dumps(settings, ensure_ascii=False).encode()
    body = KEYWORD.encode() + b"\0" + b"\0\0" + b"\0" + b"\0" + text  # plain, no language, no title
    chunk = struct.pack(">I", len(body)) + b"iTXt" + body
    chunk += struct.pack(">I", zlib.crc32(b"iTXt" + body))
    return data[:_HEADER_ENDS] + chunk + data[_HEADER_ENDS:]
