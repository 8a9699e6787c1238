"""Pictures over the network: the `chat` API takes them, the routes show them to their owner."""

from __future__ import annotations

import base64
import http.client
import io
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from chat.sse_server import FakeChat, Script
from conftest import free_port
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError
from PIL import Image

from studio.chat.album import question
from studio.chat.conversations import Conversations
from studio.chat.pictures import prepare
from studio.core.settings import Settings
from studio.studio import Studio
from studio.ui.chat.parts import BROWSER
from studio.ui.door.accounts import Account
from studio.ui.page.launch import launch_page

ACCOUNTS = (Account.make("ann", "a-password"), Account.make("visitor", "b-password", "guest"))


@pytest.fixture
def model() -> Iterator[FakeChat]:
    with FakeChat({"tiny": Script(pieces=["red"])}) as up:
        yield up


@pytest.fixture
def studio(settings: Settings, model: FakeChat) -> Studio:
    made = Studio(settings.model_copy(update={"port": free_port(18800)}))
    made.external.add(model.url)
    return made


@pytest.fixture
def serve(studio: Studio) -> Iterator[Callable[..., str]]:
    pages = []

    def up(**how) -> str:
        pages.append(launch_page(studio, only="chat", **how))
        return pages[-1].url

    yield up
    for page in pages:
        page.close()


def drawn(width: int, height: int, kind: str = "PNG") -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (width, height), "red").save(file, kind)
    return file.getvalue()


def get(url: str, path: str, cookie: str = "") -> tuple[int, dict[str, str], bytes]:
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=20)
    connection.request("GET", f"/ladder/{path}", headers={"cookie": cookie})
    answer = connection.getresponse()
    found = answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read()
    connection.close()
    return found


def log_in(url: str, name: str, password: str) -> str:
    """Return the cookie of a session."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=20)
    form = f"username={name}&password={password}"
    kind = {"content-type": "application/x-www-form-urlencoded"}
    connection.request("POST", "/login", form, kind)
    answer = connection.getresponse()
    cookie = (answer.getheader("set-cookie") or "").partition(";")[0]
    connection.close()
    return cookie


def sizes(model: FakeChat) -> list[tuple[int, int]]:
    parts = model.requests[-1]["messages"][-1]["content"]
    uris = [part["image_url"]["url"] for part in parts if part["type"] == "image_url"]
    return [Image.open(io.BytesIO(base64.b64decode(u.partition(",")[2]))).size for u in uris]


def test_a_script_sends_pictures(
    serve: Callable[..., str], model: FakeChat, tmp_path: Path
) -> None:
    client = Client(serve(), verbose=False)
    names = client.view_api(return_format="dict")["named_endpoints"]
    assert names["/chat"]["parameters"][-1]["parameter_name"] == "pictures"
    uri = f"data:image/png;base64,{base64.b64encode(drawn(64, 48)).decode()}"
    path = tmp_path / "large.jpg"
    path.write_bytes(drawn(4032, 3024, "JPEG"))
    given = [uri, handle_file(path)]
    assert client.predict("Which colour?", pictures=given, api_name="/chat") == "red"
    assert sizes(model) == [(64, 48), (2352, 1764)]
    assert model.requests[-1]["messages"][-1]["content"][-1]["text"] == "Which colour?"
    [known] = client.predict(api_name="/endpoints")
    assert known["pictures"] is None


def test_a_script_opens_nothing_on_the_server(
    serve: Callable[..., str], model: FakeChat, tmp_path: Path, settings: Settings
) -> None:
    client = Client(serve(), verbose=False)
    path = tmp_path / "secret.png"
    path.write_bytes(drawn(8, 8))
    file = {"path": str(path), "meta": {"_type": "gradio.FileData"}}
    wrong = [str(path), f"file://{path}", "http://127.0.0.1:1/x.png", {"path": str(path)}, 3, None]
    for item in wrong:
        with pytest.raises(AppError, match="data URI or as an uploaded file"):
            client.predict("hi", pictures=[item], api_name="/chat")
    with pytest.raises((AppError, ValueError)):
        client.predict("hi", pictures=[{**file, "path": "/etc/hostname"}], api_name="/chat")
    broken = {
        "not base64": "data:image/png;base64,@@@",
        "not a picture": f"data:image/png;base64,{base64.b64encode(b'hello').decode()}",
        "At most 8": [f"data:image/png;base64,{base64.b64encode(drawn(8, 8)).decode()}"] * 9,
    }
    for why, given in broken.items():
        with pytest.raises(AppError, match=why):
            given = given if isinstance(given, list) else [given]
            client.predict("hi", pictures=given, api_name="/chat")
    assert model.requests == []


def test_pictures_are_shown_to_their_owner_only(serve: Callable[..., str], studio: Studio) -> None:
    guest_secret = "a" * 32
    owners = {"ann": "ann", "guest": f"guest visitor {guest_secret}"}
    names = {}
    for n, (who, owner) in enumerate(owners.items()):
        store = Conversations(studio.settings.chats_dir, owner)
        names[who] = store.album.put(prepare(drawn(64 + n, 48)))
        ident = store.create()
        store.append(ident, {"role": "user", "content": question("hi", [names[who]])})
    url = serve(accounts=ACCOUNTS)
    ann = log_in(url, "ann", "a-password")
    visitor = log_in(url, "visitor", "b-password")
    guest = f"{visitor}; {BROWSER}={guest_secret}"
    other = f"{visitor}; {BROWSER}={'b' * 32}"
    status, headers, data = get(url, f"chat/picture/{names['ann']}", ann)
    assert status == 200 and Image.open(io.BytesIO(data)).size == (64, 48)
    assert headers["content-type"] == "image/png"
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["content-security-policy"] == "default-src 'none'; sandbox"
    assert headers["cache-control"].startswith("private") and headers["vary"] == "cookie"
    assert get(url, f"chat/picture/{names['guest']}", guest)[0] == 200
    for path, cookie in (
        (names["guest"], ann),
        (names["ann"], guest),
        (names["guest"], other),
        ("x.png", ann),
        ("..%2f..%2fann%2fpictures%2f" + names["ann"], guest),
    ):
        assert get(url, f"chat/picture/{path}", cookie)[0] == 404, (path, cookie)
    assert get(url, f"chat/picture/{names['ann']}")[0] == 401
    assert get(url, f"chat/picture/{names['guest']}", visitor)[0] == 403, "no browser's secret"
    assert get(url, "chat/sample/red-circle.png", visitor)[0] == 200
    for path in ("pyproject.toml", "..%2f..%2f..%2fpyproject.toml"):
        assert get(url, f"chat/sample/{path}", ann)[0] == 404


def test_an_export_holds_its_pictures(serve: Callable[..., str], studio: Studio) -> None:
    store = Conversations(studio.settings.chats_dir, "local")
    ident = store.create()
    name = store.album.put(prepare(drawn(64, 48)))
    store.append(ident, {"role": "user", "content": question("hi", [name])})
    url = serve()
    row = json.loads(get(url, f"chat/{ident}/export.jsonl")[2])
    assert row["content"][0]["image_url"]["url"].startswith("data:image/png;base64,")
    assert b"](data:image/png;base64," in get(url, f"chat/{ident}/export.md")[2]
