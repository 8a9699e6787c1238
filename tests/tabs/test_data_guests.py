"""A guest of the link gets nothing of the Data tab."""

from __future__ import annotations

import json
from pathlib import Path

import httpx
import pytest
from conftest import free_port
from gradio_client import Client

from studio.core.settings import Settings
from studio.jobs.jobs import Jobs
from studio.studio import Studio
from studio.ui.door.accounts import Account
from studio.ui.page.launch import launch_page

ROW = {"instruction": "When does it ship?", "output": "Within two days."}


def test_guests_get_nothing_of_it(settings: Settings, jobs: Jobs, tmp_path: Path) -> None:
    settings = settings.model_copy(update={"port": free_port(18990)})
    accounts = [Account.make("ann", "password1"), Account.make("guest", "password2", "guest")]
    studio = Studio(settings)
    served = launch_page(studio, accounts=accounts)
    path = tmp_path / "faq.jsonl"
    path.write_text(json.dumps(ROW) + "\n", encoding="utf-8")
    studio.data.add(path, "secret")
    try:
        guest = Client(served.url, auth=("guest", "password2"), verbose=False)
        for name, asked in [
            ("/data_list", []),
            ("/data_add", [str(path), "mine", None]),
            ("/data_look", [str(path), None]),
            ("/data_rows", ["secret", 0, 5]),
            ("/data_report", ["secret"]),
            ("/data_apply", ["secret", "sample", {"rows": 2}]),
            ("/data_from_chat", [[], "mine"]),
            ("/data_lengths", ["secret", {}]),
            ("/data_delete", ["secret"]),
        ]:
            with pytest.raises(Exception):  # noqa: B017 - the client raises several kinds
                guest.predict(*asked, api_name=name)
        with httpx.Client(base_url=served.url) as asks:
            asks.post("/login", data={"username": "guest", "password": "password2"})
            for at in ("left", "list", "one?name=secret", f"look?path={path}", "chats"):
                assert asks.get(f"/ladder/data/{at}").status_code == 403, at
            assert asks.get("/ladder/data/file/secret").status_code == 403
            assert asks.get("/ladder/data/picture/secret/0/0").status_code == 403
            sent = asks.post("/ladder/data/upload", params={"name": "x.jsonl"}, content=b"{}")
            assert sent.status_code == 403
    finally:
        served.close()
    assert [found.key for found in studio.data.versions("secret")] == ["secret.v1"]
    assert not (settings.home / "uploads" / "data").exists()
