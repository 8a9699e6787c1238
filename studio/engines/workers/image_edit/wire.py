"""Read an edit from the wire: a multipart form with files, or JSON with data URIs.

Pictures are not opened here, and large uploads stay on the disk until somebody does; see `intake`
for that, and `asked` for the fields.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException
from starlette.requests import Request

from .asked import FIELDS, NO_MEANING, Asked, Defaults, check
from .refused import Refused

FILES = frozenset({"image", "image[]", "images", "mask"})


@dataclass
class Files:
    """The pictures of a request, still as they came: large uploads lie on the disk."""

    pictures: Sequence[bytes | UploadFile]
    mask: bytes | UploadFile | None = None

    def close(self) -> None:
        """Give the uploads' temporary files back."""
        for upload in (*self.pictures, self.mask):
            if isinstance(upload, UploadFile):
                upload.file.close()


def content(told: bytes | UploadFile) -> bytes:
    """Return a picture's bytes; reads from the disk, so call it in a thread."""
    return told if isinstance(told, bytes) else told.file.read()


async def read(request: Request, defaults: Defaults) -> tuple[Asked, Files]:
    """Read an edit from a multipart form or a JSON object; raise Refused with the reason.

    The caller closes the files.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind == "multipart/form-data":
        return await _read_form(request, defaults)
    if kind == "application/json":
        given = parse_object(await request.body())
        files = _files_of_json(given, defaults.pictures)
        return check(given, defaults), files
    raise Refused(
        415,
        f"An edit cannot be read from {kind or 'a request without a content type'}.",
        hint="Send multipart/form-data with the picture as a file, or application/json with it "
        "as a data URI.",
    )


def parse_object(body: bytes) -> dict[str, Any]:
    """Return a JSON object; raise Refused when the body is something else."""
    try:
        given = json.loads(body)
    except (ValueError, RecursionError):
        raise Refused(400, "The body is not JSON.", hint="Send one JSON object.") from None
    if not isinstance(given, dict):
        raise Refused(400, "The body is JSON, but no object.", hint="Send one JSON object.")
    return given


# inside -----------------------------------------------------------------------------------------


async def _read_form(request: Request, defaults: Defaults) -> tuple[Asked, Files]:
    most, fields = defaults.pictures, 2 * len(FIELDS | NO_MEANING)
    try:
        form = await request.form(max_files=most + 2, max_fields=fields)
    except HTTPException as error:  # starlette's own, for what its parser cannot read
        raise _torn_form(str(error.detail)) from None
    try:
        given: dict[str, Any] = {}
        uploads: dict[str, list[UploadFile]] = {"image": [], "mask": []}
        for name, value in form.multi_items():
            if name in FILES:
                if not isinstance(value, UploadFile):
                    raise _not_a_file(name)
                uploads["mask" if name == "mask" else "image"].append(value)
            elif isinstance(value, UploadFile):
                raise Refused(400, f"{name} came as a file.", hint="Send it as a plain field.")
            elif name in given:
                raise Refused(400, f"{name} was sent twice.", hint="Send it once.")
            else:
                given[name] = value
        asked = check(given, defaults)
        _check_count(len(uploads["image"]), len(uploads["mask"]), most)
    except Refused:
        await form.close()
        raise
    return asked, Files(uploads["image"], next(iter(uploads["mask"]), None))


def _torn_form(reason: str) -> Refused:
    if reason.startswith("Too many"):
        return Refused(400, "The form has too many parts.", hint="Send each field once.")
    return Refused(
        400, f"The form cannot be read: {reason}", hint="Let the client library build it."
    )


def _files_of_json(given: dict[str, Any], most: int) -> Files:
    """Take the pictures out of a JSON body; they are data URIs or bare base64."""
    told = [given.pop(name) for name in ("image", "image[]", "images") if name in given]
    pictures = [one for part in told for one in (part if isinstance(part, list) else [part])]
    mask = given.pop("mask", None)
    _check_count(len(pictures), 0 if mask is None else 1, most)
    files = [_decoded(one, "image") for one in pictures]
    return Files(files, None if mask is None else _decoded(mask, "mask"))


def _decoded(told: Any, name: str) -> bytes:
    if isinstance(told, dict):
        told = told.get("image_url")
        told = told.get("url") if isinstance(told, dict) else told
    if not isinstance(told, str):
        raise _not_a_file(name)
    head, comma, body = told.partition(",")
    if told.startswith(("http:", "https:", "file:")) or (
        comma and not (head.startswith("data:") and head.endswith(";base64"))
    ):
        raise Refused(
            400,
            f"{name} is an address, and addresses are not fetched.",
            hint="Send the picture itself, as a file or as a data URI in base64.",
        )
    try:
        return base64.b64decode(body if comma else told, validate=True)
    except (binascii.Error, ValueError):
        raise Refused(
            400, f"{name} is not base64.", hint="Encode the file's bytes, without line breaks."
        ) from None


def _check_count(pictures: int, masks: int, most: int) -> None:
    if pictures == 0:
        raise Refused(
            400,
            "There is no picture to edit.",
            hint=f"Send one to {most} files called image.",
            code="missing_image",
        )
    if pictures > most == 1:
        raise Refused(400, "This model edits one picture at a time.", hint="Send the first alone.")
    if pictures > most:
        raise Refused(400, f"At most {most} pictures go into one edit.", hint="Leave some out.")
    if masks > 1:
        raise Refused(400, "There can be one mask.", hint="It belongs to the first picture.")


def _not_a_file(name: str) -> Refused:
    return Refused(
        400,
        f"{name} is not a file.",
        hint="Send the picture's bytes as a file of the form (curl: -F image=@picture.png).",
    )
