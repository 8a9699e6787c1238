"""A comparison on disk, made by hand: two or more models, questions with known answers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from studio.quality.folder import ANSWERS, Answer, Contestant, Folder, Judgement
from studio.quality.questions import Question

Maker = Callable[..., Folder]


def contestant(label: str, **facts: str) -> Contestant:
    given = {"model": label, "endpoint": "here", "base_url": "http://127.0.0.1:1/v1", **facts}
    return Contestant(label=label, **given)


def question(ident: str, category: str = "facts", turns: int = 1, **facts: object) -> Question:
    texts = tuple(f"{ident}, turn {k + 1}?" for k in range(turns))
    return Question(id=ident, category=category, turns=texts, **facts)


def answer(ident: str, model: str, *turns: str, error: str = "") -> Answer:
    figures = tuple({"tokens": 10, "ttft_s": 0.1, "tokens_per_s": 50.0} for _ in turns)
    return Answer(question=ident, model=model, turns=turns, figures=figures, error=error)


def rated(ident: str, model: str, rating: float | None, at: float = 1.0, **more: str) -> Judgement:
    given = {"judge": "j", "prompt": "p", **more}
    key = f"{ident}|{model}|{given['judge']}|{given['prompt']}"
    return Judgement(
        key=key, mode="single", question=ident, models=(model,), rating=rating, at=at, **given
    )


def compared(ident: str, first: str, second: str, won: str | None, at: float = 1.0) -> Judgement:
    return Judgement(
        key=f"{ident}|{first}|{second}",
        mode="pairwise",
        judge="j",
        prompt="p",
        question=ident,
        models=(first, second),
        won=won,
        at=at,
    )


@pytest.fixture
def made(tmp_path: Path) -> Maker:
    """Return `made(num, models)`: a folder in which every model answered, each in its own words."""

    def make(num: int = 8, models: tuple[str, ...] = ("base", "tuned"), name: str = "q") -> Folder:
        path = tmp_path / name
        path.mkdir()
        folder = Folder(path)
        questions = [question(f"q{k}", ("facts", "style")[k % 2]) for k in range(num)]
        folder.keep_questions(questions)
        lines = []
        for place, model in enumerate(models):
            folder.add(contestant(model))
            for one in questions:
                said = answer(one.id, model, f"answer {place} to {one.id}")
                lines.append(said.model_dump_json() + "\n")
        (path / ANSWERS).write_text("".join(lines))
        return folder

    return make
