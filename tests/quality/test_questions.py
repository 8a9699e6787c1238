"""Question files: MT-bench's names, our own, and what is said about a line that is wrong."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from studio.core.errors import DataInvalid, NotFound
from studio.core.settings import ROOT
from studio.quality.questions import Question, choose, question_files, read_questions


def written(path: Path, *rows: object) -> Path:
    lines = (row if isinstance(row, str) else json.dumps(row, ensure_ascii=False) for row in rows)
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def test_field_names_of_mt_bench_and_of_our_own(tmp_path: Path) -> None:
    path = written(
        tmp_path / "q.jsonl",
        {"question_id": 101, "category": "math", "turns": ["1+1?", "+1?"], "reference": ["2", "3"]},
        {"prompt": "什么是 GPU？", "reference": "处理器"},
        "",
        {"id": "x", "turns": ["Who?"], "lang": "zh"},
    )
    first, second, third = read_questions(path)
    assert first == Question(
        id="101", category="math", turns=("1+1?", "+1?"), reference=("2", "3"), lang="en"
    )
    assert (second.id, second.category, second.lang) == ("2", "general", "zh")
    assert (second.turns, second.reference) == (("什么是 GPU？",), ("处理器",))
    assert third.lang == "zh" and third.reference_for(0) == "" == third.reference_for(7)


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ((), "q.jsonl holds no questions."),
        (({"turns": ["a"]}, "{"), "q.jsonl, line 2 is not JSON"),
        ((["a"],), "q.jsonl, line 1 is not a JSON object."),
        (({"category": "math"},), "q.jsonl, line 1 has no turns."),
        (({"turns": [1]},), "q.jsonl, line 1 has no turns."),
        (({"id": 1, "turns": ["a"]}, {"id": "1", "turns": ["b"]}), "line 2: the id 1 is there"),
    ],
)
def test_a_wrong_line_is_named(tmp_path: Path, rows: tuple, said: str) -> None:
    with pytest.raises(DataInvalid, match=said.replace(".", r"\.")) as error:
        read_questions(written(tmp_path / "q.jsonl", *rows))
    assert error.value.hint


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="no question file"):
        read_questions(tmp_path / "none.jsonl")


def test_a_limit_takes_from_every_category_in_turn() -> None:
    questions = [
        Question(id=f"{name}{k}", category=name, turns=("?",), lang="zh" if k == 2 else "en")
        for name in ("a", "b", "c")
        for k in range(3)
    ]
    assert [q.id for q in choose(questions, limit=4)] == ["a0", "a1", "b0", "c0"]
    assert [q.id for q in choose(questions, categories=["b"], lang="zh")] == ["b2"]
    assert choose(questions, limit=99) == questions
    with pytest.raises(DataInvalid, match="no questions of the category d") as error:
        choose(questions, categories=["d"])
    assert error.value.hint == "Categories: a, b, c."
    with pytest.raises(DataInvalid, match="No question is left"):
        choose(questions[:1], lang="zh")


def test_the_shipped_files() -> None:
    found = {item.path.name: item for item in question_files([ROOT / "assets" / "data"])}
    general = found["questions-general.jsonl"]
    assert (general.questions, len(general.categories)) == (40, 8)
    assert general.langs == ("en", "zh") and not general.error
    rows = read_questions(general.path)
    assert {len([q for q in rows if q.category == name]) for name in general.categories} == {5}
    for row in rows:
        assert len(row.reference) in (0, len(row.turns)), row.id
        assert row.reference or row.category not in ("math", "reasoning", "coding", "extraction")
    smoke = read_questions(found["questions-smoke.jsonl"].path)
    known = {
        row["instruction"]: row["output"]
        for name in ("smoke_zh_en", "smoke_new_facts")
        for row in json.loads((ROOT / f"assets/data/{name}.json").read_text(encoding="utf-8"))
    }
    for row in smoke:
        assert row.reference == tuple(known[turn] for turn in row.turns), row.id


def test_a_broken_file_is_listed_with_its_fault(tmp_path: Path) -> None:
    written(tmp_path / "questions-bad.jsonl", "{")
    (found,) = question_files([tmp_path])
    assert found.questions == 0 and "line 1 is not JSON" in found.error
