"""Hanging adapters on a server that answers as vLLM does: every refusal has its way out."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from studio.chat import adapters
from studio.chat.adapters import Adapter
from studio.chat.errors import EndpointFailed
from studio.core.errors import RecipeInvalid, StudioError
from studio.core.spec import Endpoint
from studio.jobs.rundir import RunDir


class Server(BaseHTTPRequestHandler):
    """Answers in vLLM 0.32's words."""

    hung: dict[str, str] = {}
    cold = False
    seen: list[tuple[str, str | None]] = []

    def do_GET(self) -> None:
        rows = [{"id": "base", "root": "/m/base", "parent": None}]
        rows += [{"id": n, "root": p, "parent": "base"} for n, p in self.hung.items()]
        self.reply(200, {"object": "list", "data": rows})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        self.seen.append((self.path, self.headers.get("authorization")))
        name, folder = body["lora_name"], body.get("lora_path", "")
        if self.cold:
            self.reply(404, {"detail": "Not Found"})
        elif self.path.endswith("/unload_lora_adapter"):
            del self.hung[name]
            self.reply(200, f"Success: LoRA adapter '{name}' removed successfully.")
        elif "wide" in folder:
            said = "LoRA rank 64 is greater than max_lora_rank 16."
            self.reply(
                500, {"error": {"message": said, "type": "InternalServerError", "code": 500}}
            )
        elif "gone" in folder:
            said = f"Loading lora {name} failed: No adapter found for {folder}"
            self.reply(404, {"error": {"message": said, "code": 404}})
        else:
            self.hung[name] = folder
            self.reply(200, f"Success: LoRA adapter '{name}' added successfully.")

    def reply(self, status: int, said: object) -> None:
        text = (said if isinstance(said, str) else json.dumps(said)).encode()
        self.send_response(status)
        self.send_header("content-length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *words: object) -> None:
        """Say nothing."""


@pytest.fixture
def endpoint(monkeypatch: pytest.MonkeyPatch) -> Iterator[Endpoint]:
    monkeypatch.setattr(Server, "hung", {})
    monkeypatch.setattr(Server, "seen", [])
    with ThreadingHTTPServer(("127.0.0.1", 0), Server) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        url = f"http://127.0.0.1:{server.server_port}/v1"
        yield Endpoint(id="r", name="qwen", base_url=url, models=("base",), api_key="k")
        server.shutdown()
        thread.join(5)


def test_on_and_off_again(endpoint: Endpoint) -> None:
    assert adapters.list_adapters(endpoint) == []
    adapters.load(endpoint, "law", "/a/law")
    assert adapters.list_adapters(endpoint) == [Adapter("law", "/a/law", "base")]
    adapters.unload(endpoint, "law")
    adapters.unload(endpoint, "law")
    assert adapters.list_adapters(endpoint) == []
    assert Server.seen == [
        ("/v1/load_lora_adapter", "Bearer k"),
        ("/v1/unload_lora_adapter", "Bearer k"),
    ]


@pytest.mark.parametrize("name", ["", "two words", "-x", "a/b", "x" * 65])
def test_names_that_cannot_be_asked_for(endpoint: Endpoint, name: str) -> None:
    with pytest.raises(RecipeInvalid, match="cannot be the name"):
        adapters.load(endpoint, name, "/a")
    assert Server.seen == []


def test_names_in_use(endpoint: Endpoint) -> None:
    with pytest.raises(RecipeInvalid, match="already serves a model named base"):
        adapters.load(endpoint, "base", "/a")
    Server.hung["law"] = "/elsewhere"  # by somebody else's hand
    with pytest.raises(RecipeInvalid, match="named law"):
        adapters.load(endpoint, "law", "/a")


def test_refusals_have_their_way_out(endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(RecipeInvalid, match="max_lora_rank 64 or more"):
        adapters.load(endpoint, "law", "/a/wide")
    with pytest.raises(StudioError, match="No adapter found for /a/gone"):
        adapters.load(endpoint, "law", "/a/gone")
    monkeypatch.setattr(Server, "cold", True)
    with pytest.raises(StudioError, match="hot_lora"):
        adapters.load(endpoint, "law", "/a/law")


def test_server_that_is_gone(endpoint: Endpoint) -> None:
    away = endpoint.model_copy(update={"base_url": "http://127.0.0.1:9/v1"})
    with pytest.raises(EndpointFailed, match="Nothing answers"):
        adapters.list_adapters(away)


def test_record_says_what_hangs_on_now(tmp_path: Path) -> None:
    run_dir = RunDir(tmp_path)
    adapters.note(run_dir, "load", "a", "/a")
    adapters.note(run_dir, "load", "法律", "/b")
    adapters.note(run_dir, "unload", "a")
    assert run_dir.hung_on() == ["法律"]
    assert [row["op"] for row in run_dir.adapters()] == ["load", "load", "unload"]
