"""Every kind of data set, as the studio writes and registers it, read by the real LLaMA-Factory."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import orjson
import pytest

from studio.core.settings import ROOT, Settings
from studio.core.spec import State
from studio.data.library import DataSets
from studio.data.model import Convert
from studio.engines.llamafactory_lengths import lengths
from studio.studio import Launch, Studio

pytestmark = pytest.mark.engine

CUTOFF = 48
TALK = [
    {"role": "user", "content": "你好"},
    {"role": "assistant", "content": "你好！" * 12},
    {"role": "user", "content": "再见"},
    {"role": "assistant", "content": "下次见。"},
]
CALLED = [
    TALK[0],
    {
        "role": "assistant",
        "content": "",
        "tool_calls": [{"function": {"name": "f", "arguments": "{}"}}],
    },
    {"role": "tool", "content": "1"},
    {"role": "assistant", "content": "好"},
]
TOOLS = [{"type": "function", "function": {"name": "f", "description": "d", "parameters": {}}}]
PICTURE = str(ROOT / "assets/data/pictures/red-circle.png")
FILES: dict[str, list[dict[str, Any]]] = {
    "alpaca": [
        {"instruction": f"q{n}", "input": "x" * n, "output": "a" * 5 * n, "history": h, "system": s}
        for n, h, s in ((1, [], ""), (2, [["早", "早！"]], "be kind"), (30, [], ""))
    ],
    "sharegpt": [
        {"conversations": [{"from": "human", "value": "hi"}, {"from": "gpt", "value": "yo"}]},
        {
            "conversations": [
                {"from": "system", "value": "be kind"},
                {"from": "human", "value": "hi"},
                {"from": "gpt", "value": "yo" * 80},
            ]
        },
    ],
    "openai": [{"messages": TALK}, {"messages": CALLED, "tools": TOOLS}],
    "preference": [{"prompt": f"q{n}", "chosen": "好" * n, "rejected": "坏"} for n in (1, 9)],
    "kto": [{"prompt": f"q{n}", "completion": "a" * n, "label": n % 2 == 0} for n in range(1, 5)],
    "pretrain": [{"text": "先冒烟，再放大。" * n} for n in (1, 2, 40)],
    "pictures": [
        {"messages": TALK[2:]},
        {
            "messages": [{"role": "user", "content": "<image>这是什么？"}, TALK[3]],
            "images": [PICTURE],
        },
    ],
}
STAGES = {"preference": "dpo", "kto": "kto", "pretrain": "pt"}


@pytest.fixture(scope="module")
def kinds(real_studio: Studio, tmp_path_factory: pytest.TempPathFactory) -> Studio:
    """A studio with one data set of each kind; its own home, the same environments."""
    folder = tmp_path_factory.mktemp("kinds")
    data = DataSets(folder / "data", ROOT / "assets" / "data")
    for name, rows in FILES.items():
        path = folder / f"{name}.jsonl"
        path.write_bytes(b"\n".join(map(orjson.dumps, rows)))
        made = data.add(path, name)
        assert made.rows == len(rows), data.report(name).faults
    data.apply("alpaca", Convert(kind="openai"), as_name="converted")
    data.register()
    studio = Studio(Settings(home=real_studio.settings.home))
    studio.__dict__["data"] = data
    return studio


def settings_for(studio: Studio, name: str) -> dict[str, Any]:
    pictures = name in ("pictures", "smoke_pictures")
    model = "tiny-qwen2-vl" if pictures else "tiny-qwen2.5"
    return {
        "model_name_or_path": str(ROOT / "assets/models" / model),
        "template": "qwen2_vl" if pictures else "qwen",
        "dataset": name,
        "dataset_dir": str(studio.data.folder),
        "cutoff_len": CUTOFF,
        "stage": STAGES.get(name, "sft"),
    }


@pytest.fixture(scope="module")
def loaded(kinds: Studio, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What LLaMA-Factory's training code makes of each data set, cut and hardly cut."""
    folder = tmp_path_factory.mktemp("loaded")
    names = [*FILES, "converted", "alpaca.v1", "smoke_zh_en", "smoke_pictures"]
    asked = [
        {**settings_for(kinds, name), "cutoff_len": cutoff}
        for name in names
        for cutoff in (CUTOFF, 2000)
    ]
    (folder / "asked.json").write_text(json.dumps(asked))
    python = kinds.envs.interpreter("llamafactory").python
    script = Path(__file__).with_name("load_datasets.py")
    subprocess.run(
        [python, str(script), "asked.json", "told.json"],
        cwd=folder,
        env={**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "HOME": str(folder)},
        check=True,
        timeout=280,
        capture_output=True,
    )
    told = json.loads((folder / "told.json").read_text())
    return {name: {"cut": told[2 * at], "whole": told[2 * at + 1]} for at, name in enumerate(names)}


def test_llamafactory_takes_every_row_of_every_kind(kinds: Studio, loaded: dict[str, Any]) -> None:
    for name, made in loaded.items():
        assert len(made["whole"]["lengths"]) == kinds.data.get(name).rows, name
        assert min(made["whole"]["lengths"]) > 0
    assert loaded["converted"]["whole"] == loaded["alpaca"]["whole"], "conversion loses nothing"
    assert loaded["alpaca.v1"] == loaded["alpaca"]


@pytest.mark.parametrize("name", ["alpaca", "openai", "preference", "pretrain", "pictures"])
def test_lengths_are_those_of_the_training(
    name: str, kinds: Studio, loaded: dict[str, Any]
) -> None:
    ask = Launch(engine="llamafactory-lengths", settings=settings_for(kinds, name))
    run = kinds.jobs.wait(kinds.launch(ask).id, timeout_s=200)
    assert run.state is State.DONE, run.dir.log.read_text()[-3000:]
    figures = lengths(run.dir)
    assert figures is not None
    whole = loaded[name]["whole"]["lengths"]
    assert figures["count"] == len(whole) and figures["refused"] == []
    assert figures["total"] == sum(whole) and figures["max"] == max(whole)
    assert figures["num_cut"] == sum(length > CUTOFF for length in whole)
    assert figures["label_tokens"] == loaded[name]["cut"]["learned"]
    assert sum(item["count"] for item in figures["bins"]) == len(whole)
    longest = figures["longest"][0]
    assert whole[longest["row"] - 1] == longest["tokens"] == max(whole)
    progress = kinds.progress(run.id)
    assert progress is not None and progress.done == progress.total == len(whole)
