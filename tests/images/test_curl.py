"""The curl command: what it says is what the studio would ask, and no key is in it."""

from __future__ import annotations

import subprocess
from pathlib import Path

from images.stand_in import StandIn, inverted, png

from studio.images.curl import curl_of
from studio.images.request import EditRequest, EditSettings

SETTINGS = EditSettings(
    prompt="@make it 'night'; $(touch x) 换成夜景",
    negative_prompt="<blur",
    num_inference_steps=4,
    true_cfg_scale=1.0,
    seed=7,
    loras={"anime": 0.8},
)


def test_it_does_the_same(tmp_path: Path) -> None:
    for name in ("a b.png", "b.png", "m.png"):
        (tmp_path / name).write_bytes(png())
    request = EditRequest(pictures=(png(), png()), mask=png(), settings=SETTINGS)
    with StandIn(key="s3cret") as worker:
        text = curl_of(request, worker.endpoint, names=("a b.png", "b.png"), mask="m.png")
        assert "s3cret" not in text
        env = {"PATH": "/usr/bin:/bin", "OPENAI_API_KEY": "s3cret"}
        subprocess.run(["bash", "-c", text], cwd=tmp_path, env=env, check=True, timeout=30)
        form = worker.forms[0]
    assert form["prompt"] == SETTINGS.prompt and form["negative_prompt"] == "<blur"
    assert (form["seed"], form["num_inference_steps"]) == ("7", "4")
    assert form["loras"] == '{"anime": 0.8}' and len(form["image"]) == 2 and form["mask"]
    assert (tmp_path / "out-0.png").read_bytes() == inverted(png())
    assert not (tmp_path / "x").exists()


def test_names_are_made_up_where_none_are_known() -> None:
    endpoint = StandIn.endpoint.fget  # type: ignore[attr-defined]
    worker = StandIn()
    worker.port = 9
    text = curl_of(EditRequest(pictures=(b"",), settings=SETTINGS), endpoint(worker))
    assert "-F image=@picture-1.png" in text and "Authorization" not in text
    assert "size" not in text and " n=" not in text
