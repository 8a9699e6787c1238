"""Settings inside a PNG: put in and read without touching a pixel.

Two text chunks right after the header: `parameters` holds JSON under the names of the request
(the worker stamps its pictures the same way), `Description` a line for people. Reading is made
for files of strangers: bounded, and nothing in them is believed but plain values.
"""

from __future__ import annotations

import json
import re
import struct
import zlib
from collections.abc import Iterator
from typing import Any

from pydantic import ValidationError

from studio.images.request import EditSettings

SIGNATURE = b"\x89PNG\r\n\x1a\n"
PARAMETERS = "parameters"
DESCRIPTION = "Description"
MOST_TEXT_BYTES = 256 * 1024
_IHDR_BYTES = 25
_TEXTS = (b"tEXt", b"iTXt", b"zTXt")
_KEPT = ("prompt", "negative_prompt", "num_inference_steps", "true_cfg_scale", "seed", "n", "size")


def write(data: bytes, facts: dict[str, Any]) -> bytes:
    """Return a PNG that carries `facts` and says them in a line, in place of what it carried.

    Raises ValueError when the data are no PNG.
    """
    if not data.startswith(SIGNATURE) or data[12:16] != b"IHDR":
        raise ValueError("only a PNG can carry its settings")
    told = _text(PARAMETERS, json.dumps(facts, ensure_ascii=False))
    told += _text(DESCRIPTION, line_of(facts))
    own = (PARAMETERS, DESCRIPTION)
    rest = b"".join(
        chunk
        for kind, chunk in _chunks(data, len(data))
        if kind not in _TEXTS or _keyword(chunk) not in own
    )
    return SIGNATURE + rest[:_IHDR_BYTES] + told + rest[_IHDR_BYTES:]


def read(data: bytes) -> EditSettings | None:
    """Return the settings of a PNG that this studio or its worker made; None without any."""
    facts = read_facts(data)
    if facts is None or not isinstance(facts.get("prompt"), str):
        return None
    kept = {key: facts[key] for key in _KEPT if facts.get(key) is not None}
    loras = facts.get("loras")
    if isinstance(loras, dict):
        kept["loras"] = loras
    try:
        return EditSettings.model_validate(kept)
    except ValidationError:
        return None


def read_facts(data: bytes) -> dict[str, Any] | None:
    """Return everything that `parameters` holds, when that is JSON; None otherwise."""
    text = texts(data).get(PARAMETERS, "")
    try:
        facts = json.loads(text)
    except (ValueError, RecursionError):
        return _of_webui(text)
    return facts if isinstance(facts, dict) else None


def texts(data: bytes) -> dict[str, str]:
    """Return the text chunks of a PNG before its pixels, by keyword; empty when it is none."""
    if not data.startswith(SIGNATURE):
        return {}
    found: dict[str, str] = {}
    for kind, chunk in _chunks(data, MOST_TEXT_BYTES * 4):
        if kind in (b"IDAT", b"IEND"):
            break
        if kind in _TEXTS and len(chunk) <= MOST_TEXT_BYTES:
            text = _read_text(kind, chunk[8:-4])
            if text is not None:
                found.setdefault(_keyword(chunk), text)
    return found


def line_of(facts: dict[str, Any]) -> str:
    """Return the settings as a line for people, such as other galleries show."""
    said = [str(facts.get("prompt") or "").strip()]
    if str(facts.get("negative_prompt") or "").strip():
        said.append(f"Negative prompt: {str(facts['negative_prompt']).strip()}")
    named = {
        "Steps": facts.get("num_inference_steps"),
        "True CFG": facts.get("true_cfg_scale"),
        "Seed": facts.get("seed"),
        "Size": facts.get("size"),
        "Model": facts.get("model"),
        "Rung": facts.get("rung"),
    }
    values = [f"{key}: {value}" for key, value in named.items() if value not in (None, "")]
    return " | ".join([*said, ", ".join(values)] if values else said)


# inside -----------------------------------------------------------------------------------------


def _chunks(data: bytes, most: int) -> Iterator[tuple[bytes, bytes]]:
    """Yield kind and whole bytes of every chunk that begins within `most` bytes."""
    at = len(SIGNATURE)
    while at + 12 <= min(len(data), most):
        length = struct.unpack_from(">I", data, at)[0]
        end = at + 12 + length
        if end > len(data):
            return
        yield data[at + 4 : at + 8], data[at:end]
        at = end


def _text(keyword: str, text: str) -> bytes:
    """Return an iTXt chunk: plain UTF-8, no language. Source: PNG specification, 11.3.3.4."""
    body = keyword.encode() + b"\0\0\0\0\0" + text.encode("utf-8", "replace").replace(b"\0", b"")
    crc = zlib.crc32(b"iTXt" + body)
    return struct.pack(">I", len(body)) + b"iTXt" + body + struct.pack(">I", crc)


def _keyword(chunk: bytes) -> str:
    return chunk[8:88].partition(b"\0")[0].decode("latin-1")


def _read_text(kind: bytes, body: bytes) -> str | None:
    _, _, rest = body.partition(b"\0")
    if kind == b"tEXt":
        return rest.decode("latin-1")
    if kind == b"zTXt":
        raw = _inflated(rest[1:])
        return None if raw is None else raw.decode("latin-1")
    compressed, rest = rest[:1] == b"\1", rest[2:]
    raw = rest.partition(b"\0")[2].partition(b"\0")[2]
    found = _inflated(raw) if compressed else raw
    return None if found is None else found.decode("utf-8", "replace")


def _inflated(data: bytes) -> bytes | None:
    worker = zlib.decompressobj()
    try:
        found = worker.decompress(data, MOST_TEXT_BYTES)
    except zlib.error:
        return None
    return found if not worker.unconsumed_tail else None


def _of_webui(text: str) -> dict[str, Any] | None:
    """Read the text that Stable Diffusion web UIs write: prompt, negative prompt, `Steps: 20`."""
    head, steps, tail = text.rpartition("\nSteps: ")
    if not steps or len(text) > 32_000:
        return None
    prompt, _, negative = head.partition("\nNegative prompt: ")
    values = dict(re.findall(r"([A-Z][A-Za-z ]{1,30}): ([^,\n]{1,60})", f"Steps: {tail}"))
    facts: dict[str, Any] = {"prompt": prompt.strip(), "negative_prompt": negative.strip()}
    for key, name in (("Steps", "num_inference_steps"), ("Seed", "seed"), ("Size", "size")):
        if name == "size" and re.fullmatch(r"\d{2,5}x\d{2,5}", values.get(key, "")):
            facts[name] = values[key]
        elif name != "size" and re.fullmatch(r"\d{1,15}", values.get(key, "")):
            facts[name] = int(values[key])
    return facts
