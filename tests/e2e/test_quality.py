"""Quality for real: base and fine-tuned tiny model on vLLM, blind votes, a judge, lm-eval beside.

The tiny model is too small to judge, which one test shows. Where verdicts are needed, a stand-in
with a fixed rule judges (`quality.stand_in_judge`); it is called so in everything it writes.
"""

from __future__ import annotations

import json
import os
import re
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from chat.sse_server import FakeChat, Script
from quality.stand_in_judge import NAME, judge

from e2e.conftest import endpoint_of, ready, stopped
from e2e.training import output, trained
from studio.commands.quality import results_of
from studio.core.settings import ROOT
from studio.core.spec import Endpoint, State
from studio.jobs.jobs import Run
from studio.jobs.shim import procs
from studio.quality.questions import read_questions
from studio.quality.summary import Model
from studio.studio import Launch, Studio

pytestmark = pytest.mark.engine

BASE, TUNED = "tiny-qwen2.5", "tuned"
QUESTIONS = read_questions(ROOT / "assets/data/questions-smoke.jsonl")
TAUGHT = "llamafactory/smoke-new-facts"


@pytest.fixture(scope="module")
def adapter(real_studio: Studio) -> Path:
    """The output of a real LoRA training on new facts; one that this home has done serves too."""
    for run in real_studio.jobs.list(engine="llamafactory-train", states=[State.DONE]):
        if run.spec.recipe == TAUGHT and (output(run) / "adapter_config.json").is_file():
            return output(run)
    return output(trained(real_studio, TAUGHT))


@pytest.fixture(scope="module")
def server(real_studio: Studio, adapter: Path) -> Iterator[Endpoint]:
    """The tiny model and the same with the adapter, behind one real vLLM."""
    hung = {"enable_lora": True, "max_lora_rank": 16, "lora_modules": [f"{TUNED}={adapter}"]}
    run = ready(real_studio, real_studio.launch_recipe("vllm/smoke", hung))
    yield endpoint_of(real_studio, run)
    stopped(real_studio, run)


@pytest.fixture(scope="module")
def compared(real_studio: Studio, server: Endpoint) -> str:
    """Both models asked every question, killed in the middle and taken up again."""
    settings = {
        "answers_from": [f"{server.id}::{BASE}", f"{server.id}::{TUNED}"],
        "names": ["base", "tuned"],
        "num_concurrent": 1,
    }
    run = real_studio.launch_recipe("quality/smoke", settings)
    until = time.monotonic() + 120
    while not (name := results_of(run.dir)) or len(answers(real_studio, name)) < 4:
        assert time.monotonic() < until, run.dir.log.read_text()
        time.sleep(0.01)
    for process in procs.marked(run.id):
        os.kill(process.pid, signal.SIGKILL)
    assert not real_studio.jobs.wait(run.id, timeout_s=30).state.alive
    kept = answers(real_studio, name)
    assert 4 <= len(kept) < 2 * len(QUESTIONS), "it was killed in the middle"
    assert done(real_studio, go_on(real_studio, name)) == name
    after = answers(real_studio, name)
    assert len(after) == 2 * len(QUESTIONS) and kept.items() <= after.items()
    return name


def answers(studio: Studio, name: str) -> dict[tuple[str, str], Any]:
    return studio.quality.folder(name).answers()


def go_on(studio: Studio, name: str, **settings: Any) -> Run:
    given = {**studio.quality.resuming(name), **settings}
    return studio.launch(Launch(engine="quality", settings=given, name="quality"))


def done(studio: Studio, run: Run) -> str:
    run = studio.jobs.wait(run.id, timeout_s=600)
    assert run.state is State.DONE, run.dir.log.read_text()
    return results_of(run.dir)


def prompts() -> dict[str, dict[str, str]]:
    text = (ROOT / "recipes/quality/general.yaml").read_text(encoding="utf-8")
    return yaml.safe_load(text)["settings"]["judge_prompt"]


def right(studio: Studio, name: str, label: str) -> set[str]:
    """Return the questions answered with the reference, word for word."""
    found = answers(studio, name)
    return {q.id for q in QUESTIONS if found[q.id, label].turns == q.reference}


def models(studio: Studio, name: str) -> dict[str, Model]:
    return {model.label: model for model in studio.quality.overview(name).models}


def test_the_fine_tuned_model_knows_what_it_was_taught(real_studio: Studio, compared: str) -> None:
    new = {q.id for q in QUESTIONS if q.category == "new"}
    assert right(real_studio, compared, "base") == {q.id for q in QUESTIONS} - new
    assert new <= right(real_studio, compared, "tuned")
    for model in models(real_studio, compared).values():
        assert model.answered == len(QUESTIONS) and not (model.failed or model.unasked)
        assert model.ttft_ms and model.tokens_per_s and model.tokens
        assert model.about.server == "vllm"
    assert models(real_studio, compared)["tuned"].about.source.endswith("artifacts/output")


def test_blind_votes_for_what_is_right_find_the_better_model(
    real_studio: Studio, compared: str
) -> None:
    desk, by = real_studio.quality, "reader"
    while (ballot := desk.ballot(compared, by)) is not None:
        sent = json.dumps(ballot.as_dict())
        assert "base" not in sent and TUNED not in sent and BASE not in sent
        sides = [side == ballot.reference for side in (ballot.left, ballot.right)]
        choice = {(True, False): "left", (False, True): "right"}.get(tuple(sides), "tie")
        desk.vote(compared, ballot.pair, choice, by)
    # what an independent reader makes of the same answers
    base, tuned = (right(real_studio, compared, label) for label in ("base", "tuned"))
    found = models(real_studio, compared)["tuned"].voted
    assert (found.wins, found.losses) == (len(tuned - base), len(base - tuned))
    assert found.wins >= 4 > found.losses
    standing = desk.standing(compared, by)
    assert standing.voted == standing.of == found.num and standing.missing == 0
    assert standing.of + standing.same == len(QUESTIONS)
    assert desk.undo(compared, by) is not None
    assert desk.standing(compared, by).voted == standing.of - 1
    ballot = desk.ballot(compared, by)
    assert ballot is not None
    desk.vote(compared, ballot.pair, "tie", by)


def test_a_stand_in_judge_agrees_with_what_is_right(real_studio: Studio, compared: str) -> None:
    with FakeChat({NAME: Script(pieces=judge)}) as stand_in:
        asked = {"judge": f"{stand_in.url}::{NAME}", "judge_prompt": prompts()}
        for mode in ("single", "pairwise"):
            done(real_studio, go_on(real_studio, compared, **asked, judge_mode=mode))
        languages = {"<reference>" in body["messages"][0]["content"] for body in stand_in.requests}
    assert languages == {True}, "every question has a reference, and the judge was shown it"
    turns = sum(len(q.turns) for q in QUESTIONS)
    overview = real_studio.quality.overview(compared)
    told = {judged.mode: judged for judged in overview.judged}
    assert (told["single"].num, told["pairwise"].num) == (2 * turns, 2 * turns)
    assert all(judged.unreadable == judged.failed == 0 for judged in overview.judged)
    for label, model in models(real_studio, compared).items():
        found = answers(real_studio, compared)
        hits = [
            reference in said
            for q in QUESTIONS
            for reference, said in zip(q.reference, found[q.id, label].turns, strict=True)
        ]
        assert model.score is not None
        assert model.score.mean == pytest.approx(sum(9 if hit else 2 for hit in hits) / len(hits))
    tuned = models(real_studio, compared)["tuned"].judged
    assert tuned.wins >= 4 and tuned.num == turns
    # the stand-in takes the first of two equal ones; both orders make that a tie
    assert told["pairwise"].disagreed == tuned.ties and tuned.ties >= 8
    assert told["pairwise"].bias.rate is not None and told["pairwise"].bias.rate > 0.5
    points = {point.model: point.figures for point in real_studio.quality.get(compared).points}
    assert points["tuned"]["score"] > points["base"]["score"]


def test_a_real_model_too_small_to_judge_is_unreadable_and_no_score_is_made_up(
    real_studio: Studio, compared: str, server: Endpoint
) -> None:
    asked = {"judge": f"{server.id}::{BASE}", "judge_prompt": prompts(), "judge_max_tokens": 48}
    run = go_on(real_studio, compared, **asked, judge_mode="single")
    done(real_studio, run)
    rows = [
        row
        for row in real_studio.quality.folder(compared).judgements().values()
        if row.judge == BASE
    ]
    assert len(rows) == 2 * sum(len(q.turns) for q in QUESTIONS)
    read = [row for row in rows if re.search(r"\[\[\s*\d", row.text)]
    assert not read, "the tiny model has learned to grade?"
    assert all(row.text and row.rating is None and row.unreadable for row in rows)
    judged = real_studio.quality.overview(compared).judged[0]
    assert (judged.judge, judged.num, judged.unreadable) == (BASE, len(rows), len(rows))
    assert all(model.score is None for model in models(real_studio, compared).values())
    said = f"{BASE} (single): {len(rows)} judgements, {len(rows)} unreadable, 0 failed"
    assert said in run.dir.log.read_text()


def test_benchmarks_stand_beside_the_comparison(
    real_studio: Studio, compared: str, adapter: Path
) -> None:
    evaluations = [
        real_studio.launch_recipe("lm-eval/smoke", {"limit": 8}),
        real_studio.launch_recipe(
            "llamafactory/predict-smoke",
            {"adapter_name_or_path": str(adapter), "max_samples": 4},
        ),
    ]
    for run in evaluations:
        run = real_studio.jobs.wait(run.id, timeout_s=900)
        assert run.state is State.DONE, run.dir.log.read_text()[-3000:]
    table = real_studio.quality.table([compared])
    rows = {row.label: row.cells for row in table.rows}
    assert {"base", "tuned"} <= set(rows)
    figures = real_studio.results(evaluations[0].id)
    metric = next(iter(figures))
    cell = rows["base"][f"lm-eval:{metric}"]
    assert cell.value == figures[metric].value and cell.part
    assert (
        rows["tuned"]["predict:rouge-l"].value
        == real_studio.results(evaluations[1].id)["rouge-l"].value
    )
    assert rows["tuned"]["answers:tokens_per_s_user"].value > 0
    assert table.best("votes:win_rate") == "tuned"
