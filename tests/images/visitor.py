"""What a browser does at the image desk, without a browser: upload, press a button, look."""

from __future__ import annotations

import base64
import json
import re
from typing import Any

import httpx
from images.stand_in import StandIn, png


def uri(data: bytes) -> str:
    return f"data:image/png;base64,{base64.b64encode(data).decode()}"


def upload(web: httpx.Client, data: Any, **headers: str) -> httpx.Response:
    return web.post("/ladder/image/upload?name=cat.png", content=data, headers=headers)


def act(web: httpx.Client, name: str, value: str) -> dict[str, Any]:
    """Press a button of the desk as a browser does; return what the page is told."""
    page = web.get("/").text
    found = re.search(r"window\.gradio_config = (.*?);</script>", page, re.DOTALL)
    config = json.loads(found[1]) if found else {}
    desk = next(c["id"] for c in config["components"] if c["props"].get("elem_id") == "image-desk")
    said = next(c["id"] for c in config["components"] if c["props"].get("elem_id") == "image-said")
    event = next(d for d in config["dependencies"] if said in d["outputs"] and d["targets"])
    assert event["targets"] == [[desk, "click"]]
    body = {
        "data": [],
        "fn_index": event["id"],
        "session_hash": "s" * 10,
        "event_data": {"act": name, "value": value},
    }
    web.post("/gradio_api/queue/join", json=body).raise_for_status()
    with web.stream("GET", "/gradio_api/queue/data?session_hash=" + "s" * 10) as lines:
        for line in lines.iter_lines():
            told = json.loads(line[6:]) if line.startswith("data: ") else {}
            if told.get("msg") == "process_completed":
                return json.loads(told["output"]["data"][0])
    raise AssertionError("no answer")


def edit(web: httpx.Client, prompt: str = "make it blue", **settings: Any) -> str:
    """Upload a picture and have it edited; return the edit's id."""
    ident = upload(web, png()).json()["id"]
    asked = {"ask": "1", "pictures": [ident], "settings": {"prompt": prompt, **settings}}
    told = act(web, "edit", json.dumps(asked))
    assert "error" not in told and told["ask"] == "1", told
    return told["id"]


def now(web: httpx.Client, ident: str = "", **query: Any) -> dict[str, Any]:
    return web.get("/ladder/image/now", params={"id": ident, **query}).json()


def last(worker: StandIn) -> str:
    return f"job-{len(worker.forms)}"
