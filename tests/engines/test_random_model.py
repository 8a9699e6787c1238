"""Random weights of a true shape: how many, where to, and what may not be overwritten."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest

from studio.core.errors import RecipeInvalid
from studio.core.settings import ROOT
from studio.core.spec import Interpreter, Placement
from studio.engines.random_model import (
    _TOKENIZER,
    _WORKER,
    SHAPES,
    RandomModel,
    RandomModelConfig,
    parameters,
)

PLACE = Placement(interpreter=Interpreter(name="x", python="/env/bin/python"), root="/root")


@pytest.mark.parametrize(
    ("shape", "published"),
    [
        ("qwen2.5-0.5b", 494_032_768),
        ("qwen2.5-1.5b", 1_543_714_304),
        ("qwen2.5-7b", 7_615_616_512),
        ("qwen2.5-14b", 14_770_033_664),
        ("llama-3-8b", 8_030_261_248),
    ],
)
def test_parameters_are_the_published_ones(shape: str, published: int) -> None:
    counted = parameters(json.loads((SHAPES / f"{shape}.json").read_text()))
    assert counted == pytest.approx(published, rel=1e-3)


def test_every_shape_offered_has_its_file() -> None:
    offered = RandomModelConfig.model_fields["shape"].annotation.__args__  # pyright: ignore
    assert all((SHAPES / f"{name}.json").is_file() for name in offered)


def test_command_names_shape_tokenizer_and_folder() -> None:
    config = RandomModelConfig(shape="qwen2.5-7b", out="/models/seven", weights=False)
    argv = RandomModel().command(config, PLACE).argv
    assert argv[0] == "/env/bin/python"
    assert argv[2:] == (
        *("--config", str(SHAPES / "qwen2.5-7b.json")),
        *("--tokenizer", str(ROOT / "assets/models/tiny-qwen2.5")),
        *("--out", "/models/seven", "--seed", "0", "--no-weights"),
    )


def test_disk_for_the_weights_is_asked_for() -> None:
    room = RandomModel().room(RandomModelConfig(shape="qwen2.5-7b"), ROOT, True)
    assert room is not None and room.disk_bytes == pytest.approx(15.23e9, rel=1e-2)


def test_a_folder_of_something_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "precious.txt").write_text("mine")
    with pytest.raises(RecipeInvalid, match="something else lies there"):
        RandomModel().check(RandomModelConfig(out=str(tmp_path)), ROOT)
    (tmp_path / "RANDOM_WEIGHTS.md").write_text("")
    RandomModel().check(RandomModelConfig(out=str(tmp_path)), ROOT)


def test_every_id_has_a_text_that_is_its_own(tmp_path: Path) -> None:
    shape, borrowed = SHAPES / "qwen2.5-7b.json", _TOKENIZER
    asked = ("--config", shape, "--tokenizer", borrowed, "--out", tmp_path, "--no-weights")
    subprocess.run([sys.executable, _WORKER, *asked], check=True, stdout=subprocess.DEVNULL)
    before, after = (
        json.loads((folder / "tokenizer.json").read_text()) for folder in (borrowed, tmp_path)
    )
    vocab, num = after["model"]["vocab"], json.loads(shape.read_text())["vocab_size"]
    assert sorted(vocab.values()) == list(range(num))
    assert after["added_tokens"] == before["added_tokens"]
    assert all(vocab[token["content"]] == token["id"] for token in after["added_tokens"])
    merges = before["model"]["merges"]
    assert after["model"]["merges"][: len(merges)] == merges  # all other text as before
    words = {number: word for word, number in vocab.items()}
    ranks = {tuple(pair): rank for rank, pair in enumerate(after["model"]["merges"])}
    made_up = sorted(vocab[left + right] for left, right in after["model"]["merges"][len(merges) :])
    for number in random.Random(0).sample(made_up, 512):
        assert _merged(words[number], ranks) == [words[number]]


def _merged(word: str, ranks: dict[tuple[str, str], int]) -> list[str]:
    """Encode one word as BPE does: the earliest merge first, until there is none."""
    parts = list(word)
    while len(parts) > 1:
        pairs = [(ranks.get(pair, len(ranks)), i) for i, pair in enumerate(pairwise(parts))]
        rank, at = min(pairs)
        if rank == len(ranks):
            break
        parts[at : at + 2] = [parts[at] + parts[at + 1]]
    return parts
