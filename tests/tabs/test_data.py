"""The Data tab through its API and its routes, on a page served for real."""

from __future__ import annotations

import http.client
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from conftest import free_port
from gradio_client import Client
from PIL import Image

from studio.chat.conversations import Conversations
from studio.core.errors import NotFound
from studio.core.settings import Settings
from studio.core.spec import State
from studio.data import work
from studio.studio import Studio
from studio.ui.data.rows import picture_path, search
from studio.ui.data.upload import Uploads, plain_name
from studio.ui.i18n import words
from studio.ui.page.launch import launch_page

LIMIT_GIB = 2**-10
"""A megabyte."""
FAQ = [
    {"conversations": [{"from": "human", "value": f"问题 {n}"}, {"from": "gpt", "value": "回答"}]}
    for n in range(30)
]
FAULTY = [
    *FAQ,
    {"conversations": [{"from": "human", "value": ""}, {"from": "gpt", "value": "x"}]},
    {"conversations": [{"from": "alien", "value": "?"}, {"from": "gpt", "value": "x"}]},
    FAQ[3],
]
APIS = [
    "data_add",
    "data_apply",
    "data_delete",
    "data_from_chat",
    "data_lengths",
    "data_list",
    "data_look",
    "data_report",
    "data_rows",
]


@pytest.fixture(scope="module")
def studio(tmp_path_factory: pytest.TempPathFactory) -> Studio:
    home = tmp_path_factory.mktemp("home")
    return Studio(Settings(home=home, port=free_port(18960), largest_upload_gib=LIMIT_GIB))


@pytest.fixture(scope="module")
def url(studio: Studio) -> Iterator[str]:
    served = launch_page(studio, only="data")
    yield served.url
    served.close()


@pytest.fixture(scope="module")
def client(url: str) -> Client:
    return Client(url, verbose=False)


def lines(rows: list[Any]) -> bytes:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()


def get(url: str, at: str, /, lang: str = "en", **query: Any) -> dict[str, Any]:
    answer = httpx.get(
        f"{url}/ladder/{at}", params=query, headers={"cookie": f"ladder_lang={lang}"}, timeout=30
    )
    return {**answer.json(), "status": answer.status_code}


def send(url: str, name: str, body: bytes, **headers: str) -> tuple[int, dict[str, Any]]:
    answer = httpx.post(
        f"{url}/ladder/data/upload", params={"name": name}, content=body, headers=headers
    )
    told = answer.headers["content-type"] == "application/json"
    return answer.status_code, answer.json() if told else {}


@pytest.fixture(scope="module")
def faq(studio: Studio, client: Client, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file with two rows at fault and one that is there twice, added as `faq`."""
    path = tmp_path_factory.mktemp("data") / "our faq.jsonl"
    path.write_bytes(lines(FAULTY))
    client.predict(str(path), "faq", None, api_name="/data_add")
    return path


# in ---------------------------------------------------------------------------------------------


def test_only_this_tabs_api_exists(client: Client) -> None:
    names = set(client.view_api(return_format="dict")["named_endpoints"])
    assert names == {f"/{name}" for name in APIS}


def test_a_file_is_uploaded_looked_at_and_nothing_is_added(url: str, studio: Studio) -> None:
    status, sent = send(url, "../../客服 faq.jsonl", lines(FAULTY))
    assert (status, sent["name"]) == (200, "客服 faq.jsonl")
    look = get(url, "data/look", upload=sent["id"])["html"]
    assert "Conversations (ShareGPT)" in look and "问题 1" in look
    assert 'data-map="conversations"' in look and 'value="客服_faq"' in look
    assert "unknown role" not in look and "alien" in look, "the sentence, not its short name"
    assert '<option value="messages" selected>' in look
    assert "客服_faq" not in {found.name for found in studio.data.list()}
    kept = studio.settings.home / "uploads" / "data" / sent["id"] / "客服 faq.jsonl"
    assert kept.read_bytes() == lines(FAULTY)


def test_columns_are_mapped_by_hand(url: str, tmp_path: Path) -> None:
    path = tmp_path / "odd.jsonl"
    path.write_bytes(lines([{"Q": "Who?", "A": "Me."}, {"Q": "Why?", "A": "So."}]))
    mapping = json.dumps({"Q": "prompt", "A": "response"})
    look = get(url, "data/look", path=str(path), mapping=mapping)["html"]
    assert "Instructions (alpaca)" in look and "l-turn-assistant" in look
    assert get(url, "data/look", path=str(path), mapping="[1]")["status"] == 400


def test_what_cannot_be_uploaded_leaves_nothing_behind(url: str, studio: Studio) -> None:
    folder = studio.settings.home / "uploads" / "data"
    before = set(folder.iterdir()) if folder.exists() else set()
    for body, why in ((b"x" * (2**20 + 1), "LADDER_LARGEST_UPLOAD_GIB"), (b"", "rows in it")):
        status, answer = send(url, "big.jsonl", body)
        assert status == 400 and why in answer["hint"]

    def endless() -> Iterator[bytes]:
        for _ in range(20):
            yield b"y" * 2**17

    status, answer = send(url, "big.jsonl", endless())  # type: ignore[arg-type]
    assert status == 400 and "larger than" in answer["error"], "told by no header, found on the way"
    status, _ = send(url, "faq.jsonl", b"{}", origin="http://elsewhere.example")
    assert status == 403
    assert httpx.get(f"{url}/ladder/data/upload").status_code == 405
    assert set(folder.iterdir()) == before


def test_an_upload_that_breaks_off_leaves_nothing_behind(url: str, studio: Studio) -> None:
    folder = studio.settings.home / "uploads" / "data"
    before = set(folder.iterdir()) if folder.exists() else set()
    connection = http.client.HTTPConnection(url.removeprefix("http://"), timeout=10)
    connection.putrequest("POST", "/ladder/data/upload?name=half.jsonl")
    connection.putheader("content-length", "500000")
    connection.endheaders()
    connection.send(b"z" * 1000)
    connection.close()
    until = time.monotonic() + 10
    while set(folder.iterdir()) != before:
        assert time.monotonic() < until
        time.sleep(0.05)


def test_old_uploads_go_and_foreign_ids_mean_nothing(tmp_path: Path) -> None:
    uploads = Uploads(tmp_path, 100)
    for ident in ("../data", "..", "", "x" * 26):
        with pytest.raises(NotFound):
            uploads.path(ident)
        uploads.forget(ident)
    assert tmp_path.exists()


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("../../etc/passwd", "passwd"),
        ("C:\\data\\faq 中文.jsonl", "faq 中文.jsonl"),
        (".bashrc", "bashrc"),
        ("a\x00b\n.json", "a_b_.json"),
        ("", "_"),
    ],
)
def test_names_of_uploads_are_plain(given: str, kept: str) -> None:
    assert plain_name(given) == kept
    assert len(plain_name("长" * 300 + ".jsonl").encode()) <= 100


# out --------------------------------------------------------------------------------------------


def test_faults_are_listed_with_their_lines(url: str, client: Client, faq: Path) -> None:
    report = client.predict("faq", api_name="/data_report")
    assert [(fault["line"], fault["code"]) for fault in report["faults"]] == [
        (31, "empty"),
        (32, "role"),
        (33, "duplicate"),
    ]
    page = get(url, "data/one", name="faq", page="faults")["html"]
    assert "33 rows read, 31 good, 2 left out." in page and "alien" in page
    one = get(url, "data/one", name="faq", page="faults", code="role", lang="zh")["html"]
    assert "不认识角色" in one and one.count("<tr>") == 2, "head and one fault"
    assert faq.read_bytes() == lines(FAULTY), "the original stays as it is"


def test_rows_are_read_in_pages_and_found(url: str, studio: Studio, faq: Path) -> None:
    page = get(url, "data/one", name="faq")["html"]
    assert "问题 0" in page and "问题 25" not in page and "1 – 20 / 31" in page
    assert "问题 25" in get(url, "data/one", name="faq", offset="20")["html"]
    found = get(url, "data/one", name="faq", find="问题 2")["html"]
    assert found.count('<article class="l-example">') == 11 and "<mark>问题 2</mark>" in found
    assert "#26" in found, "numbered as in the set"
    assert "No row contains" in get(url, "data/one", name="faq", find="conversations")["html"]
    hits = search(studio.data, studio.data.get("faq"), "问题", limit=5, seconds=-1)
    assert hits.tired and not hits.rows, "a search has a deadline"
    hits = search(studio.data, studio.data.get("faq"), "问题", start=28, limit=5)
    assert hits.numbers == [28, 29, 30] and not hits.more, "and may go on from any row"


def test_pages_of_a_set_that_is_gone_and_of_none(url: str) -> None:
    assert "Choose a data set" in get(url, "data/one")["html"]
    gone = get(url, "data/one", name="<b>nothing</b>")["html"]
    assert "not here any more" in gone and "<b>nothing" not in gone


def test_samples_of_every_kind_are_drawn(url: str, studio: Studio) -> None:
    drawn = {
        "smoke_zh_en": "l-turn-assistant",
        "smoke_multiturn": "l-turn-user",
        "smoke_preference": "l-rejected",
        "smoke_labels": "rated good",
        "smoke_text": "l-turn-text",
        "smoke_pictures": 'src="ladder/data/picture/smoke_pictures/0/0"',
    }
    for name, expected in drawn.items():
        assert expected in get(url, "data/one", name=name)["html"], name
        for page in ("faults", "lengths", "change", "register"):
            assert get(url, "data/one", name=name, page=page)["status"] == 200
    listed = get(url, "data/list", lang="zh")["html"]
    assert "内置" in listed and "偏好对" in listed
    assert "smoke_text" not in get(url, "data/list", find="preference")["html"]
    train = get(url, "data/one", name="smoke_preference")["html"]
    assert "engine=llamafactory-train" in train and "dpo" in train


def test_what_stands_in_a_file_is_never_html(url: str, client: Client, tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    evil = "<img src=x onerror=alert(1)>"
    path.write_bytes(lines([{"instruction": evil, "output": evil, evil: "y"}] * 2))
    client.predict(str(path), "evil", None, api_name="/data_add")
    for html in (
        get(url, "data/look", path=str(path))["html"],
        get(url, "data/one", name="evil")["html"],
        get(url, "data/one", name="evil", find="onerror")["html"],
        get(url, "data/one", name="evil", page="register")["html"],
    ):
        assert "<img src=x" not in html
    client.predict("evil", api_name="/data_delete")


def test_every_fault_has_a_short_name() -> None:
    known = words("en")
    for key in known:
        if key.startswith("data.fault."):
            assert f"data.fault_name.{key.removeprefix('data.fault.')}" in known


# changes ----------------------------------------------------------------------------------------


def test_operations_make_versions_and_sets(
    url: str, studio: Studio, client: Client, faq: Path
) -> None:
    made = client.predict("faq", "deduplicate", {"by": "exact"}, api_name="/data_apply")
    assert [(one["key"], one["rows"]) for one in made] == [("faq.v2", 30)]
    info = json.loads((studio.settings.home / "data" / "dataset_info.json").read_text())
    assert {"faq", "faq.v1", "faq.v2", "smoke_zh_en"} <= set(info)
    page = get(url, "data/one", name="faq", page="register")["html"]
    assert "faq.v2" in page and "v1 · 31 rows" in page
    old = get(url, "data/one", name="faq", version="1")["html"]
    assert "1 – 20 / 31" in old
    parts = client.predict("faq", "split", {"val": 0.2, "seed": 1}, api_name="/data_apply")
    assert [(one["name"], one["rows"]) for one in parts] == [("faq-train", 24), ("faq-val", 6)]
    whole = {"names": ["faq-val"], "as_name": "faq-again"}
    merged = client.predict("faq-train", "merge", whole, api_name="/data_apply")
    assert merged[0]["rows"] == 30
    told = get(url, "data/one", name="faq-again")["html"]
    assert "merged from faq-train.v1, faq-val.v1" in told
    with pytest.raises(Exception, match="no setting"):
        client.predict("faq", "filter", {"tiny": 1}, api_name="/data_apply")


def test_a_set_or_a_version_is_deleted(studio: Studio, client: Client, tmp_path: Path) -> None:
    path = tmp_path / "gone.jsonl"
    path.write_bytes(lines(FAQ))
    client.predict(str(path), "gone", None, api_name="/data_add")
    client.predict("gone", "sample", {"rows": 5}, api_name="/data_apply")
    client.predict("gone.v2", api_name="/data_delete")
    assert [found.version for found in studio.data.versions("gone")] == [1]
    client.predict("gone", api_name="/data_delete")
    assert "gone" not in {one["name"] for one in client.predict(api_name="/data_list")}
    assert path.exists()
    with pytest.raises(Exception, match="of your own can be deleted"):
        client.predict("smoke_text", api_name="/data_delete")


def test_a_large_file_is_a_run_with_progress(
    url: str, studio: Studio, client: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(work, "SMALL_BYTES", 100)
    path = tmp_path / "large.jsonl"
    path.write_bytes(lines(FAQ))
    made = client.predict(str(path), "large", None, api_name="/data_add")
    run = studio.jobs.wait(made["run"], timeout_s=60)
    assert run.state is State.DONE, run.dir.log.read_text()
    assert studio.data.get("large").rows == 30
    with pytest.raises(Exception, match="already"):
        client.predict(str(path), "large", None, api_name="/data_add")
    assert "导入 large.jsonl" not in get(url, "data/list", lang="zh")["html"], "only while it runs"


def test_work_that_failed_says_why(
    url: str, studio: Studio, client: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(work, "SMALL_BYTES", 10)
    path = tmp_path / "rough.jsonl"
    path.write_bytes(lines([{"instruction": "x", "output": ""}] * 3))
    made = client.predict(str(path), "rough", None, api_name="/data_add")
    assert studio.jobs.wait(made["run"], timeout_s=60).state is State.FAILED
    page = get(url, "data/list", find="rough")["html"]
    assert "l-failed" in page and "can be trained on" in page and "[studio]" not in page


def test_own_conversations_become_a_data_set(url: str, studio: Studio, client: Client) -> None:
    own = Conversations(studio.settings.chats_dir, "local")
    ident = own.create()
    own.append(
        ident,
        {"role": "user", "content": "梯子怎么爬？"},
        {"role": "assistant", "content": "一级一级爬。"},
    )
    assert "梯子怎么爬" in get(url, "data/chats")["html"]
    made = client.predict([ident], "from-chats", api_name="/data_from_chat")
    assert (made["kind"], made["rows"]) == ("openai", 1)
    assert "from 1 chats" in get(url, "data/one", name="from-chats")["html"]
    with pytest.raises(Exception, match="No conversation"):
        client.predict([], "none", api_name="/data_from_chat")


def test_lengths_name_what_is_missing(client: Client, faq: Path) -> None:
    with pytest.raises(Exception, match="No template is known"):
        client.predict("faq", {"model_name_or_path": "someone/thing"}, api_name="/data_lengths")


# pictures ---------------------------------------------------------------------------------------


def test_pictures_come_from_inside_a_data_set_only(
    url: str, studio: Studio, client: Client, tmp_path: Path
) -> None:
    inside, outside = tmp_path / "set", tmp_path / "other"
    inside.mkdir()
    outside.mkdir()
    for folder, colour in ((inside, "red"), (outside, "blue")):
        Image.new("RGB", (900, 600), colour).save(folder / "a.png")
    rows = [
        {
            "messages": [
                {"role": "user", "content": "<image>?"},
                {"role": "assistant", "content": "!"},
            ],
            "images": [name],
        }
        for name in ("a.png", str(outside / "a.png"))
    ]
    path = inside / "shots.jsonl"
    path.write_bytes(lines(rows))
    look = get(url, "data/look", path=str(path))["html"]
    assert look.count("data:image/png;base64,") == 1, "before it is added: what lies beside it"
    client.predict(str(path), "shots", None, api_name="/data_add")
    answer = httpx.get(f"{url}/ladder/data/picture/shots/0/0")
    assert answer.status_code == 200 and answer.headers["content-type"].startswith("image/")
    assert len(answer.content) < 20_000, "a small copy"
    for at in ("shots/1/0", "shots/0/1", "shots/9/0", "nothing/0/0"):
        assert httpx.get(f"{url}/ladder/data/picture/{at}").status_code == 404
    client.predict("shots", "sample", {"rows": 1, "seed": 1}, api_name="/data_apply")
    found = studio.data.get("shots")
    assert found.version == 2
    assert picture_path(studio.data, found, str(inside / "a.png")), "of what it was made of"
    for name in ("../../../etc/hostname", "/etc/hostname", str(outside / "a.png")):
        with pytest.raises(NotFound):
            picture_path(studio.data, found, name)
