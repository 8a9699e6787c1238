"""Question files: JSON Lines with `id`, `category`, `turns` and, where one is known, `reference`.

MT-bench's `question.jsonl` is read as it is (`question_id`, `category`, `turns`, `reference`), and
so is a file with one `prompt` per line.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

from studio.core.errors import DataInvalid, NotFound
from studio.core.spec import Frozen

GENERAL = "general"
"""Category of a question that names none."""
LARGEST_BYTES = 64 << 20
_HAN = re.compile(r"[㐀-鿿]")


class Question(Frozen):
    """One question of one or more turns; the answers come in between."""

    id: str
    category: str = GENERAL
    turns: tuple[str, ...]
    reference: tuple[str, ...] = ()
    """What a right answer says, turn by turn; empty where none is known."""
    lang: Literal["en", "zh"] = "en"

    def reference_for(self, turn: int) -> str:
        """Return the reference of a turn, counted from 0; empty without one."""
        return self.reference[turn] if turn < len(self.reference) else ""


class QuestionFile(NamedTuple):
    """A question file that can be chosen, or why it cannot."""

    path: Path
    questions: int = 0
    categories: tuple[str, ...] = ()
    langs: tuple[str, ...] = ()
    error: str = ""


def read_questions(path: Path) -> list[Question]:
    """Read a whole file; raise NotFound, or DataInvalid with the line that is wrong."""
    try:
        if path.stat().st_size > LARGEST_BYTES:
            raise DataInvalid(
                f"{path.name} is larger than a question file can be ({LARGEST_BYTES >> 20} MiB).",
                hint="Training data belongs on the Data page; a comparison asks hundreds.",
            )
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError as error:
        raise NotFound(f"There is no question file {path}.", hint="Check the path.") from error
    except (OSError, UnicodeDecodeError) as error:
        raise DataInvalid(f"The question file {path} cannot be read: {error}.") from error
    found: dict[str, Question] = {}
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip():
            continue
        where = f"{path.name}, line {number}"
        question = _question(_row(line, where), where, str(number))
        if question.id in found:
            raise DataInvalid(
                f"{where}: the id {question.id} is there twice.", hint="Give each its own id."
            )
        found[question.id] = question
    if not found:
        raise DataInvalid(f"{path.name} holds no questions.", hint="Write one per line, as JSON.")
    return list(found.values())


def choose(
    questions: Sequence[Question],
    *,
    categories: Collection[str] = (),
    lang: str = "",
    limit: int | None = None,
) -> list[Question]:
    """Return the questions of some categories and one language, in the file's order.

    A `limit` takes from each category in turn, so that none is left out. Raise DataInvalid when
    nothing is left, or for a category that the file does not have.
    """
    known = list(dict.fromkeys(question.category for question in questions))
    if strange := [name for name in categories if name not in known]:
        raise DataInvalid(
            f"There are no questions of the category {strange[0]}.",
            hint=f"Categories: {', '.join(known)}.",
        )
    left = [
        question
        for question in questions
        if (not categories or question.category in categories) and lang in ("", question.lang)
    ]
    if not left:
        raise DataInvalid(
            "No question is left to ask.", hint="Choose more categories, or any language."
        )
    if limit is None or limit >= len(left):
        return left
    turn: dict[str, int] = {}
    order = []
    for place, question in enumerate(left):
        order.append((turn.setdefault(question.category, 0), place))
        turn[question.category] += 1
    return [left[place] for place in sorted(place for _, place in sorted(order)[:limit])]


def question_files(folders: Sequence[Path]) -> list[QuestionFile]:
    """Return the `questions*.jsonl` of some folders, each with what it holds."""
    found = []
    for folder in folders:
        for path in sorted(folder.glob("questions*.jsonl")):
            try:
                rows = read_questions(path)
            except (DataInvalid, NotFound) as error:
                found.append(QuestionFile(path, error=error.message))
                continue
            categories = tuple(dict.fromkeys(row.category for row in rows))
            langs = tuple(sorted({row.lang for row in rows}))
            found.append(QuestionFile(path, len(rows), categories, langs))
    return found


def language(text: str) -> Literal["en", "zh"]:
    """Tell Chinese from everything else by its characters."""
    return "zh" if _HAN.search(text) else "en"


def _row(line: str, where: str) -> dict[str, Any]:
    try:
        row = json.loads(line)
    except ValueError as error:
        raise DataInvalid(
            f"{where} is not JSON: {error}.", hint="Each line is one JSON object."
        ) from error
    if not isinstance(row, dict):
        raise DataInvalid(f"{where} is not a JSON object.", hint="Each line is one JSON object.")
    return row


def _question(row: dict[str, Any], where: str, number: str) -> Question:
    turns = _texts(row.get("turns", row.get("prompt")))
    if not turns:
        raise DataInvalid(
            f"{where} has no turns.", hint="Write the question into turns, a list of texts."
        )
    lang = row.get("lang", row.get("language"))
    return Question(
        id=str(row.get("id", row.get("question_id", number))),
        category=str(row.get("category") or GENERAL),
        turns=turns,
        reference=_texts(row.get("reference")),
        lang=lang if lang in ("en", "zh") else language(turns[0]),
    )


def _texts(given: Any) -> tuple[str, ...]:
    """Return texts, whether one or several were written; nothing for anything else."""
    if isinstance(given, str):
        return (given,) if given.strip() else ()
    if isinstance(given, list) and all(isinstance(text, str) for text in given):
        return tuple(given)
    return ()
