"""External endpoints: checked before they are kept, listed without being asked."""

from __future__ import annotations

from pathlib import Path

import pytest
from chat.sse_server import FakeChat, Script
from images.stand_in import StandIn

from studio.chat.external import ExternalEndpoints
from studio.core.errors import EndpointDown, NotFound
from studio.jobs.store import Store


@pytest.fixture
def kept(tmp_path: Path) -> ExternalEndpoints:
    return ExternalEndpoints(Store(tmp_path / "studio.db"))


def test_added_listed_renewed_removed(kept: ExternalEndpoints, tmp_path: Path) -> None:
    with FakeChat({"qwen": Script(), "tiny": Script()}, key="s") as server:
        added = kept.add(f"127.0.0.1:{server.port}", " s ")
        assert added.base_url == server.url and added.models == ("qwen", "tiny")
        assert added.id.startswith("url-") and added.run_id is None
        again = kept.add(server.url, "s", name="mine")
        assert (again.id, again.name) == (added.id, "mine")
        assert kept.list() == [again] and kept.list("images") == []
        later = ExternalEndpoints(Store(tmp_path / "studio.db"))
        assert later.list()[0].models == () and later.list()[0].api_key == "s"
        assert later.refresh(added.id).models == ("qwen", "tiny")
    assert kept.list() == [again], "listing asks nobody"
    with pytest.raises(EndpointDown):
        kept.refresh(added.id)
    kept.remove(added.id)
    assert kept.list() == []
    with pytest.raises(NotFound):
        kept.remove(added.id)


def test_an_endpoint_that_edits_pictures(kept: ExternalEndpoints) -> None:
    with StandIn(jobs=False, key="s") as server:
        added = kept.add(f"127.0.0.1:{server.port}", "s", kind="images")
        assert (added.kind, added.models) == ("images", ("tiny-edit",))
        assert kept.list("images") == [added] and kept.list() == []
        assert kept.get(added.id) == added and kept.refresh(added.id) == added
        assert kept.add(server.endpoint.base_url, "s", "mine", kind="images").id == added.id
    kept.remove(added.id)
    assert kept.list("images") == []
    with FakeChat() as chat, pytest.raises(EndpointDown, match="edits no pictures at /v1/images"):
        kept.add(chat.url, kind="images")


def test_what_does_not_answer_is_not_kept(kept: ExternalEndpoints) -> None:
    for address in ("http://127.0.0.1:1/v1", "nonsense://x", ""):
        with pytest.raises(EndpointDown):
            kept.add(address)
    assert kept.list() == []
