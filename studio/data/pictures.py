"""The pictures that rows name: found, refused where they are tricks, copied where uploaded."""

from __future__ import annotations

import hashlib
import re
import shutil
from functools import lru_cache
from pathlib import Path

from studio.data.faults import RowFault, shown

_URL = re.compile(r"\s*(?:[A-Za-z][A-Za-z0-9+.-]{1,15}://|data:)")
_ENDINGS = {b"\x89PNG": ".png", b"\xff\xd8\xff": ".jpg", b"GIF8": ".gif", b"RIFF": ".webp"}


class Pictures:
    """Pictures of one file: relative names start at the file's folder.

    Of an uploaded file (`within` is given) a picture must lie in one of those folders after every
    symbolic link was followed; of a file of this machine it may lie anywhere.
    """

    def __init__(
        self,
        base: Path,
        *,
        within: tuple[Path, ...] | None = None,
        keep_in: Path | None = None,
        known_as: Path | None = None,
    ) -> None:
        """With `keep_in`, pictures are copied there; rows name them in `known_as`."""
        self._base = base
        self._within = None if within is None else tuple(path.resolve() for path in within)
        self._keep_in = keep_in
        self._known_as = known_as or keep_in
        self.find = lru_cache(maxsize=50_000)(self._find)

    def _find(self, name: str) -> str:
        """Return the absolute path of a picture; raise RowFault."""
        if _URL.match(name):
            raise RowFault("picture_url", name=shown(name))
        if "\x00" in name or len(name) > 4000:
            raise RowFault("picture_missing", name=shown(name))
        path = Path(name)
        path = path if path.is_absolute() else self._base / path
        try:
            real = path.resolve()
            if self._within is not None and not any(real.is_relative_to(w) for w in self._within):
                raise RowFault("picture_outside", name=shown(name))
            if not real.is_file():
                raise RowFault("picture_missing", name=shown(name))
        except (OSError, RuntimeError):  # a name that is too long, or links in a circle
            raise RowFault("picture_missing", name=shown(name)) from None
        if self._keep_in is None or self._within is None:
            return str(real)
        digest = hashlib.sha256(str(real).encode("utf-8", "surrogateescape")).hexdigest()[:16]
        return self._keep(f"{digest}{real.suffix.lower()}", real)

    def embedded(self, data: bytes) -> str:
        """Return where a picture that lies inside a Parquet file is kept; raise RowFault."""
        ending = next((e for mark, e in _ENDINGS.items() if data.startswith(mark)), "")
        if not ending:
            raise RowFault("picture_missing", name="")
        name = f"{hashlib.sha256(data).hexdigest()[:32]}{ending}"
        return self._keep(name, data) if self._keep_in is not None else name

    def _keep(self, name: str, what: Path | bytes) -> str:
        assert self._keep_in is not None and self._known_as is not None
        target = self._keep_in / name
        if not target.exists():
            self._keep_in.mkdir(parents=True, exist_ok=True)
            if isinstance(what, bytes):
                target.write_bytes(what)
            else:
                shutil.copyfile(what, target)
        return str(self._known_as / name)
