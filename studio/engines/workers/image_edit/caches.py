"""What edits of the same picture have in common, kept between them: prompts and references."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Hashable
from typing import Generic, TypeVar

from PIL import Image

T = TypeVar("T")


class Recent(Generic[T]):
    """The last `most` things by key; zero keeps nothing."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._kept: OrderedDict[Hashable, T] = OrderedDict()

    def get(self, key: Hashable) -> T | None:
        """Return what is kept under `key` and count it as used now."""
        if key not in self._kept:
            return None
        self._kept.move_to_end(key)
        return self._kept[key]

    def put(self, key: Hashable, value: T) -> None:
        """Keep `value`, dropping what was not used for longest."""
        self._kept[key] = value
        self._kept.move_to_end(key)
        while len(self._kept) > self._most:
            self._kept.popitem(last=False)


def picture_key(picture: Image.Image) -> str:
    """Return what names a picture by its content."""
    digest = hashlib.blake2b(picture.tobytes(), digest_size=16)
    digest.update(f"{picture.mode} {picture.size}".encode())
    return digest.hexdigest()
