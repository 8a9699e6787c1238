"""Endpoints that the studio did not start: Ollama, SGLang, a colleague's vLLM. Kept in SQLite."""

from __future__ import annotations

import sqlite3
import time
from typing import Literal

from studio.chat.client import check
from studio.chat.errors import EndpointFailed
from studio.chat.wire import Timeouts, Wire
from studio.core.errors import EndpointDown, NotFound
from studio.core.ids import new_id
from studio.core.spec import Endpoint
from studio.jobs.store import Store

PREFIX = "url-"
EDITS = "/images/edits"
Kind = Literal["chat", "images"]


class ExternalEndpoints:
    """Addresses that somebody pasted, each checked once before it was kept."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._models: dict[str, tuple[str, ...]] = {}

    def add(
        self, base_url: str, api_key: str = "", name: str = "", kind: Kind = "chat"
    ) -> Endpoint:
        """Check an address and keep it; raise EndpointDown when no models answer there.

        One of kind `images` has to know `/v1/images/edits` as well. Pasting an address again
        renews its key and name.
        """
        found = check(base_url, api_key)
        if kind == "images":
            check_edits(found)
        known = [e for e in self.list(kind) if e.base_url == found.base_url]
        ident = known[0].id if known else PREFIX + new_id()
        name = name.strip() or (known[0].name if known else found.name)
        with self._store.transaction() as db:
            db.execute(
                "INSERT OR REPLACE INTO endpoints(id, name, kind, base_url, api_key, created_at)"
                " VALUES(?,?,?,?,?,?)",
                (ident, name, kind, found.base_url, api_key.strip(), time.time()),
            )
        self._models[ident] = found.models
        return self.get(ident)

    def list(self, kind: str = "chat") -> list[Endpoint]:
        """Return what is kept of a kind, oldest first, without asking any of them.

        `models` are those seen at the last check of this process; empty means not asked yet.
        """
        rows = self._store.rows("SELECT * FROM endpoints WHERE kind = ? ORDER BY id", kind)
        return [self._endpoint(row) for row in rows]

    def get(self, ident: str) -> Endpoint:
        """Return one; raise NotFound."""
        for row in self._store.rows("SELECT * FROM endpoints WHERE id = ?", ident):
            return self._endpoint(row)
        raise NotFound(f"There is no endpoint {ident}.", hint="It may have been removed.")

    def refresh(self, ident: str) -> Endpoint:
        """Ask an endpoint for its models; raise EndpointDown when it does not answer."""
        endpoint = self.get(ident)
        self._models[ident] = check(endpoint.base_url, endpoint.api_key).models
        return self.get(ident)

    def remove(self, ident: str) -> None:
        """Forget one; raise NotFound."""
        self.get(ident)
        with self._store.transaction() as db:
            db.execute("DELETE FROM endpoints WHERE id = ?", (ident,))
        self._models.pop(ident, None)

    def _endpoint(self, row: sqlite3.Row) -> Endpoint:
        return Endpoint(
            id=row["id"],
            name=row["name"],
            kind=row["kind"],
            base_url=row["base_url"],
            api_key=row["api_key"],
            models=self._models.get(row["id"], ()),
        )


def check_edits(endpoint: Endpoint) -> None:
    """Raise EndpointDown when an address that lists models edits no pictures.

    Asked without a picture: who knows the path refuses the method or the empty request.
    """
    wire = Wire(endpoint.base_url + EDITS, Timeouts(connect_s=5.0, first_s=10.0, gap_s=10.0))
    try:
        status = wire.send("GET", api_key=endpoint.api_key).status
    finally:
        wire.close()
    if status in (401, 403):
        raise EndpointFailed("key", where=wire.where)
    if status == 404:
        raise EndpointDown(
            f"{wire.where} answers, but edits no pictures at {wire.url.path}.",
            hint="Chat servers are pasted in the Chat tab.",
        )
