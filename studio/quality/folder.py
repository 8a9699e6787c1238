"""A comparison on disk: who writes which line, and how it is read back."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal, TypeVar

import orjson
from pydantic import BaseModel, Field, ValidationError

from studio.bench.point import append_line
from studio.core.spec import Frozen
from studio.quality.questions import Question

QUESTIONS, MODELS = "questions.jsonl", "models.jsonl"
ANSWERS, JUDGEMENTS = "answers.jsonl", "judgements.jsonl"

M = TypeVar("M", bound=BaseModel)


class Contestant(Frozen):
    """A model that answers. Its label names it in every other file."""

    label: str
    model: str
    """What the endpoint calls it."""
    endpoint: str
    """Name of the endpoint."""
    base_url: str
    run: str = ""
    """The run that served it; empty for an external endpoint."""
    server: str = ""
    """The engine that served it."""
    source: str = ""
    """Model folder, hub id or adapter that the run was given; empty when nobody knows."""


class Answer(Frozen):
    """What one model said to one question: a line of `answers.jsonl`."""

    question: str
    model: str
    """Label of the contestant."""
    turns: tuple[str, ...] = ()
    """Its answers, turn by turn; fewer than the question has when one failed."""
    thoughts: tuple[str, ...] = ()
    """What it thought before each of them, where the model tells that apart."""
    figures: tuple[dict[str, Any], ...] = ()
    """Of each turn: tokens, ttft_s, total_s, tokens_per_s, finish_reason."""
    error: str = ""
    hint: str = ""
    code: str = ""
    """Which of `studio.chat.errors` it was."""
    at: float = 0.0
    seconds: float = 0.0

    @property
    def ok(self) -> bool:
        """True when every turn was answered."""
        return not self.error


class Judgement(Frozen):
    """What a judge said: a line of `judgements.jsonl`."""

    key: str
    """The same for the same question put to the same judge with the same words."""
    mode: Literal["single", "pairwise"]
    judge: str
    prompt: str
    """First digits of the SHA-256 of its words: other words are another judge."""
    question: str
    turn: int = 0
    models: tuple[str, ...]
    """The one that was rated, or the two in the order they were shown."""
    rating: float | None = None
    """1 to 10, in single mode."""
    won: Literal["left", "right", "tie"] | None = None
    """In pairwise mode: left is the one shown first."""
    text: str = ""
    """What the judge wrote, word for word."""
    error: str = ""
    hint: str = ""
    code: str = ""
    """Which of `studio.chat.errors` it was."""
    at: float = 0.0
    seconds: float = 0.0

    @property
    def unreadable(self) -> bool:
        """True when the judge spoke and no verdict could be found in it."""
        return not self.error and self.rating is None and self.won is None


class Folder:
    """Readers and writers of one comparison's files. The last line about a thing counts."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def questions(self) -> list[Question]:
        """Return the questions as they were asked."""
        return _read(self.path / QUESTIONS, Question)

    def keep_questions(self, questions: list[Question]) -> None:
        """Write the questions down, whole or not at all."""
        half = self.path / f".{QUESTIONS}.half"
        half.write_bytes(b"".join(orjson.dumps(row.model_dump()) + b"\n" for row in questions))
        half.replace(self.path / QUESTIONS)

    def contestants(self) -> dict[str, Contestant]:
        """Return who answers by label, in order of appearance."""
        return {row.label: row for row in _read(self.path / MODELS, Contestant)}

    def answers(self) -> dict[tuple[str, str], Answer]:
        """Return the last answer of each question and label."""
        return {(row.question, row.model): row for row in _read(self.path / ANSWERS, Answer)}

    def judgements(self) -> dict[str, Judgement]:
        """Return the last judgement of each key, oldest first."""
        return {row.key: row for row in _read(self.path / JUDGEMENTS, Judgement)}

    def add(self, row: Contestant | Answer | Judgement) -> None:
        """Append one line."""
        names = {Contestant: MODELS, Answer: ANSWERS, Judgement: JUDGEMENTS}
        append_line(self.path / names[type(row)], row.model_dump())


class Seed(BaseModel):
    """`votes.json`: what the sides of blind pairs are drawn from. Never shown."""

    seed: str = Field(min_length=16)


def read_lines(path: Path) -> list[dict[str, Any]]:
    """Return the rows of a file; a torn or foreign line is left out."""
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return []
    rows = []
    for line in data.splitlines():
        try:
            row = orjson.loads(line)
        except orjson.JSONDecodeError:
            continue
        if isinstance(row, dict):
            rows.append(row)
    return rows


def _read(path: Path, model: type[M]) -> list[M]:
    found = []
    for row in read_lines(path):
        try:
            found.append(model.model_validate(row))
        except ValidationError:
            continue  # written by another version
    return found
