"""What a comparison came to, and the one table: figures worked out by hand."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from quality.conftest import Maker, answer, compared, contestant, question, rated

from studio.core.settings import ROOT
from studio.engines.engine import Figure
from studio.quality.folder import Folder
from studio.quality.summary import Overview, figures, overview
from studio.quality.table import Measured, table
from studio.quality.votes import Votes
from studio.quality.winrate import WinRate


def judged_folder(made: Maker, **more: str) -> Folder:
    folder = made(4)
    for k, rating in enumerate((8, 6, 7, None)):
        folder.add(rated(f"q{k}", "base", rating, **more))
        folder.add(rated(f"q{k}", "tuned", 9, **more))
    return folder


def by_label(found: Overview) -> dict[str, Any]:
    return {model.label: model for model in found.models}


def test_scores_have_their_error_and_unreadable_ones_are_counted(made: Maker) -> None:
    found = overview(judged_folder(made))
    base, tuned = found.models
    assert base.score is not None and base.score.mean == 7 and base.score.num == 3
    assert base.score.stderr == pytest.approx(1 / 3**0.5)
    span = base.score.interval
    assert span is not None and span.low == pytest.approx(7 - 1.959964 / 3**0.5)
    assert tuned.score is not None and tuned.score.stderr == 0
    # q0 and q2 are facts, q1 style, q3 (style) could not be read
    assert base.scores["facts"].mean == 7.5 and base.scores["style"].num == 1
    (judged,) = found.judged
    assert (judged.num, judged.unreadable, judged.failed) == (8, 1, 0)


def test_the_newest_judge_counts_and_two_are_never_mixed(made: Maker) -> None:
    folder = judged_folder(made)
    folder.add(rated("q0", "base", 1, at=9, judge="other"))
    found = overview(folder)
    assert by_label(found)["base"].score.mean == 1 and found.judged[0].judge == "other"
    folder.add(rated("q0", "base", 4, at=10, prompt="new words"))
    assert by_label(overview(folder))["base"].score.mean == 4


def test_pairs_votes_and_their_bias_stand_apart(made: Maker) -> None:
    folder = made(4)
    for row in (
        *(compared("q0", "base", "tuned", "right"), compared("q0", "tuned", "base", "left")),
        *(compared("q1", "base", "tuned", "left"), compared("q1", "tuned", "base", "left")),
        *(compared("q2", "base", "tuned", "right"), compared("q2", "tuned", "base", None)),
    ):
        folder.add(row)
    votes = Votes(folder)
    for _ in range(3):
        ballot = votes.next()
        assert ballot is not None
        votes.cast(ballot.pair, "left" if ballot.left[0].startswith("answer 0") else "right")
    found = overview(folder)
    models = by_label(found)
    assert models["tuned"].judged == WinRate(1, 1, 0) and models["base"].judged == WinRate(0, 1, 1)
    assert models["base"].voted == WinRate(3, 0, 0)
    (judged,) = found.judged
    assert (judged.pairs, judged.disagreed, judged.unreadable) == (2, 1, 1)
    assert (judged.bias.left, judged.bias.right) == (3, 2)
    assert found.num_votes == 3 and found.voters == ("me",)
    assert found.vote_bias.left + found.vote_bias.right == 3
    assert found.versus["base", "tuned"] == WinRate(3, 0, 0)
    assert sum(rate.num for rate in models["base"].voted_by.values()) == 3
    assert figures(models["base"])["win_rate"] == 1.0, "votes of people go before a judge's"
    json.dumps(found.as_dict())


def test_what_failed_is_empty_or_cut_is_told(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    folder.keep_questions([question(f"q{k}") for k in range(4)])
    folder.add(contestant("m"))
    folder.add(answer("q0", "m", error="gone"))
    folder.add(answer("q1", "m", "  "))
    cut = answer("q2", "m", "and then")
    told = {"tokens": 64, "ttft_s": 0.3, "tokens_per_s": 20.0, "finish_reason": "length"}
    folder.add(cut.model_copy(update={"figures": (told,)}))
    (model,) = overview(folder).models
    assert (model.answered, model.failed, model.unasked) == (2, 1, 1)
    assert (model.empty, model.cut) == (1, 1)
    assert model.ttft_ms == pytest.approx(200) and model.tokens_per_s == 35 and model.tokens == 37
    assert figures(model)["ttft_median_ms"] == pytest.approx(200)
    assert "score" not in figures(model) and "win_rate" not in figures(model)


def evaluation(label: str, source: str, name: str, value: float, **facts: Any) -> Measured:
    given = {"group": "lm-eval", "served": False, "part": False, **facts}
    told = {name: Figure(value, 0.02 if given["group"] == "lm-eval" else None)}
    return Measured(run="r1", label=label, source=source, figures=told, **given)


def test_benchmarks_stand_in_the_row_of_the_model_that_was_loaded(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    folder.keep_questions([question("q0")])
    tiny = str(ROOT / "assets/models/tiny")
    folder.add(contestant("base", source="assets/models/tiny"))
    folder.add(contestant("tuned", source="/runs/1/adapter/"))
    folder.add(rated("q0", "base", 5))
    found = table(
        [overview(folder)],
        [
            evaluation("tiny", tiny, "gsm8k/exact_match", 0.4, part=True),
            evaluation("adapter", "/runs/1/adapter", "gsm8k/exact_match", 0.6),
            evaluation("adapter", "/runs/1/adapter", "rouge-l", 31.0, group="predict"),
            evaluation("base", "base", "mmlu/acc", 0.25, served=True),
            evaluation("alone", "/other", "loss", 1.5, group="predict"),
        ],
    )
    rows = {row.label: row.cells for row in found.rows}
    assert set(rows) == {"base", "tuned", "alone"}
    cell = rows["base"]["lm-eval:gsm8k/exact_match"]
    assert (
        cell.part and cell.value == 0.4 and cell.low == pytest.approx(0.4 - 1.96 * 0.02, abs=1e-4)
    )
    assert rows["base"]["lm-eval:mmlu/acc"].value == 0.25
    assert rows["tuned"]["predict:rouge-l"].low is None
    assert found.best("lm-eval:gsm8k/exact_match") == "tuned" and found.best("predict:loss") is None
    better = {column.key: column.better for column in found.columns}
    assert better["predict:loss"] == "less" and better["judge:score"] == "more"
    groups = [column.group for column in found.columns]
    assert groups == sorted(groups, key=["votes", "judge", "lm-eval", "predict", "answers"].index)
    json.dumps(found.as_dict())


def test_two_comparisons_do_not_share_a_column(made: Maker) -> None:
    one, two = judged_folder(made), made(4, name="two")
    two.add(rated("q0", "base", 3))
    found = table([overview(two), overview(one)])
    (base, _) = found.rows
    assert base.cells["q/judge:score"].value == 7 and base.cells["two/judge:score"].value == 3
    assert {column.results for column in found.columns} == {"q", "two"}
