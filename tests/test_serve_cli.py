"""`lora` on the command line: load, list, unload, and a sentence when nothing serves."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from conftest import free_port, spec
from typer.testing import CliRunner

from studio.commands.lora import lora_app
from studio.core.errors import EndpointDown, RecipeInvalid
from studio.core.settings import Settings
from studio.core.spec import EndpointSpec, Probe, State
from studio.jobs.jobs import Jobs


def test_adapters_from_the_command_line(jobs: Jobs, settings: Settings, tmp_path: Path) -> None:
    folder = tmp_path / "law"
    folder.mkdir()
    (folder / "adapter_config.json").write_text('{"r": 8}')
    port = free_port(18370)
    asked = spec(
        "hung",
        port,
        serves=True,
        port=port,
        probe=Probe(path="/health"),
        endpoint=EndpointSpec(kind="chat", models=("base",), hot_lora=True),
    )
    run = jobs.wait(jobs.submit(asked).id, lambda r: r.state is State.READY, timeout_s=30)

    def lora(verb: str, *words: str) -> str:
        argv = [verb, run.id, *words, "--home", str(settings.home)]
        found = CliRunner().invoke(lora_app, argv, catch_exceptions=False)
        assert found.exit_code == 0, found.output
        return found.output

    with pytest.raises(RecipeInvalid, match="has no weights"):
        lora("load", "law", str(folder))
    (folder / "adapter_model.safetensors").write_bytes(b"")
    url = f"http://127.0.0.1:{port}/v1"
    assert lora("load", "law", str(folder)) == f"{url}  base law\n"
    assert json.loads(lora("ls", "--json")) == [
        {"name": "law", "folder": str(folder), "base": "base"}
    ]
    assert jobs.endpoints()[0].models == ("base", "law"), "and the page offers it"
    told = json.loads(lora("unload", "law", "--json"))
    assert told == {"id": run.id, "url": url, "models": ["base"]}
    assert lora("ls").split() == ["name", "base", "folder"]
    jobs.stop(run.id, now=True)
    jobs.wait(run.id, timeout_s=20)
    with pytest.raises(EndpointDown, match="is stopped and serves nothing now"):
        lora("ls")
