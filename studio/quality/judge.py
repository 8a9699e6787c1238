"""The judge: what it is shown, and how its verdict is read. The words come from the recipe.

Two ways, both of MT-bench (arXiv 2306.05685): one answer gets 1 to 10, or two answers stand side
by side and one is better. A judge prefers what stands first, so each pair is shown in both orders
and counts as won only when both agree. A verdict stands in double brackets; a judgement without
one, or with two that differ, is unreadable, which is counted and shown, never guessed.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from itertools import combinations
from typing import Literal, NamedTuple

from studio.core.errors import RecipeInvalid
from studio.quality.folder import Answer, Judgement
from studio.quality.questions import Question
from studio.quality.winrate import Side, Verdict

Mode = Literal["single", "pairwise"]
Prompts = Mapping[str, Mapping[str, str]]
"""By language: single, pairwise, reference, user, assistant."""
LEAST, MOST = 1.0, 10.0

_RATING = re.compile(r"\[\[\s*(\d+(?:\.\d+)?)\s*(?:/\s*10\s*)?\]\]")
_LETTER = re.compile(r"\[\[\s*([ABCabc])\s*\]\]")
_PLACE = re.compile(r"\{(conversation_a|conversation_b|conversation|question|reference)\}")


class Case(NamedTuple):
    """One thing to judge: a turn of a question, and one answer or two."""

    key: str
    question: Question
    turn: int
    answers: tuple[Answer, ...]


class Judge(NamedTuple):
    """Who judges, and how."""

    name: str
    """What it is called in the judgements."""
    mode: Mode
    prompts: Prompts

    @property
    def mark(self) -> str:
        """First digits of the SHA-256 of the words: other words are another judge."""
        words = "\0".join(
            f"{lang}\0{part}\0{text}"
            for lang, prompt in sorted(self.prompts.items())
            for part, text in sorted(prompt.items())
        )
        return hashlib.sha256(words.encode()).hexdigest()[:8]

    def cases(
        self, questions: Iterable[Question], answers: Mapping[tuple[str, str], Answer]
    ) -> list[Case]:
        """Return everything there is to judge among answers that are whole, in a fixed order."""
        found = []
        for question in questions:
            whole = [a for (ident, _), a in answers.items() if ident == question.id and a.ok]
            whole.sort(key=lambda answer: answer.model)
            groups: Iterable[tuple[Answer, ...]] = ((answer,) for answer in whole)
            if self.mode == "pairwise":
                twos = combinations(whole, 2)
                groups = [order for a, b in twos for order in ((a, b), (b, a))]
            for group in groups:
                for turn in range(len(question.turns)):
                    found.append(Case(self._key(question, turn, group), question, turn, group))
        return found

    def check(self, questions: Iterable[Question]) -> None:
        """Raise RecipeInvalid when a language is asked that the prompt has no words for."""
        for lang in sorted({question.lang for question in questions}):
            if not self.prompts.get(lang, {}).get(self.mode):
                raise RecipeInvalid(
                    f"judge_prompt has no {self.mode} text for questions in {lang}.",
                    hint="Write one, or choose the questions of one language.",
                )

    def prompt(self, case: Case) -> str:
        """Return what the judge is shown. Answers are put in once, so none can fill a place."""
        words = self.prompts[case.question.lang]
        wanted = case.question.reference_for(case.turn)
        reference = words.get("reference", "") if wanted else ""
        told = [_conversation(case, answer, words) for answer in case.answers]
        values = {
            "question": case.question.turns[case.turn],
            "reference": _fill(reference, {"reference": wanted}),
            "conversation": told[0],
            "conversation_a": told[0],
            "conversation_b": told[-1],
        }
        return _fill(words[self.mode], values).strip()

    def _key(self, question: Question, turn: int, answers: tuple[Answer, ...]) -> str:
        shown = " > ".join(answer.model for answer in answers)
        return f"{self.mode}|{self.name}|{self.mark}|{question.id}|{turn}|{shown}"


def read_rating(text: str) -> float | None:
    """Return the `[[7]]` of a text; None without one, with two that differ, or outside 1 to 10."""
    found = {float(number) for number in _RATING.findall(text)}
    rating = found.pop() if len(found) == 1 else None
    return rating if rating is not None and LEAST <= rating <= MOST else None


def read_winner(text: str) -> Side | None:
    """Return who won: `[[A]]` is left, shown first, `[[B]]` right, `[[C]]` a tie; else None."""
    found = {letter.upper() for letter in _LETTER.findall(text)}
    sides: dict[str, Side] = {"A": "left", "B": "right", "C": "tie"}
    return sides[found.pop()] if len(found) == 1 else None


def agreed(judgements: Iterable[Judgement], categories: Mapping[str, str]) -> list[Verdict]:
    """Return the verdict on every pair that was read in both orders: disagreement is a tie."""
    found = []
    for first, second in both_orders(judgements):
        a, b = first.models
        says = (_winner(first), _winner(second))
        won: Side = "tie"
        if says[0] == says[1] and says[0]:
            won = "left" if says[0] == a else "right"
        found.append(Verdict(first.question, categories.get(first.question, ""), a, b, won))
    return found


def as_shown(judgements: Iterable[Judgement], categories: Mapping[str, str]) -> list[Verdict]:
    """Return every verdict as it was given, order by order, to see which place the judge likes."""
    return [
        Verdict(row.question, categories.get(row.question, ""), *row.models, row.won)
        for row in judgements
        if row.mode == "pairwise" and row.won and len(row.models) == 2
    ]


def both_orders(judgements: Iterable[Judgement]) -> list[tuple[Judgement, Judgement]]:
    """Return the pairs of judgements that saw the same two answers in both orders, both read."""
    waiting: dict[tuple[str, int, frozenset[str]], Judgement] = {}
    found = []
    for row in judgements:
        if row.mode != "pairwise" or row.won is None:
            continue
        other = waiting.pop((row.question, row.turn, frozenset(row.models)), None)
        if other is None:
            waiting[row.question, row.turn, frozenset(row.models)] = row
        else:
            found.append((other, row))
    return found


def _winner(row: Judgement) -> str:
    return {"left": row.models[0], "right": row.models[1]}.get(row.won or "", "")


def _conversation(case: Case, answer: Answer, words: Mapping[str, str]) -> str:
    user, assistant = words.get("user", "User"), words.get("assistant", "Assistant")
    lines = []
    for k in range(case.turn + 1):
        lines.append(f"{user}: {case.question.turns[k]}")
        lines.append(f"{assistant}: {answer.turns[k]}")
    return "\n\n".join(lines)


def _fill(template: str, values: Mapping[str, str]) -> str:
    return _PLACE.sub(lambda place: values.get(place[1], place[0]), template)
