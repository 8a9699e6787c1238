"""Blind votes: two answers to one question, which side is whose nobody is told.

A ballot holds the question and two texts. Its name and the sides come from a hash over a secret
seed of the folder (`votes.json`, mode 0600, never sent anywhere), the question, the two models and
the voter: neither the name, nor the order of ballots, nor the side tells which model is which,
every voter sees an order of their own, and the same voter finds the same one again. What the sides
were is written with the vote and told by `revealed` only after it.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import time
from enum import StrEnum
from itertools import combinations
from typing import Any, NamedTuple

import orjson

from studio.bench.point import append_line
from studio.core.errors import NotAllowed, NotFound
from studio.quality.folder import Answer, Folder, Seed, read_lines
from studio.quality.questions import Question
from studio.quality.winrate import Verdict

VOTES, SEED = "votes.jsonl", "votes.json"
ME = "me"
"""Whose votes they are when nobody says."""


class Choice(StrEnum):
    """What a voter says."""

    LEFT = "left"
    RIGHT = "right"
    TIE = "tie"


class Ballot(NamedTuple):
    """What a voter sees. Nothing in it tells which model is which."""

    pair: str
    number: int
    """Which one of this voter's it is, from 1."""
    of: int
    category: str
    lang: str
    turns: tuple[str, ...]
    """The question."""
    left: tuple[str, ...]
    right: tuple[str, ...]
    """Two answers, turn by turn."""
    reference: tuple[str, ...]
    """What a right answer says, where that is known."""

    def as_dict(self) -> dict[str, Any]:
        """Return plain values for a page."""
        return self._asdict()


class Standing(NamedTuple):
    """How far a voter is."""

    voted: int
    of: int
    """Pairs that can be voted on: both answered, and not with the same words."""
    same: int
    """Pairs left out because both answers are the same, letter for letter."""
    missing: int
    """Pairs left out because one of them has no answer."""


class Vote(NamedTuple):
    """A vote that stands."""

    pair: str
    by: str
    at: float
    verdict: Verdict


class _Pair(NamedTuple):
    """Two answers to one question, in a voter's own order."""

    name: str
    question: Question
    left: Answer
    right: Answer


class Votes:
    """The votes of one comparison."""

    def __init__(self, folder: Folder) -> None:
        self._folder = folder

    def next(self, by: str = ME) -> Ballot | None:
        """Return the next ballot of a voter; None when everything is voted on."""
        pairs, _ = self._pairs(by)
        voted = self._standing_votes(by)
        for pair in pairs:
            if pair.name not in voted:
                return self._ballot(pair, len(voted.keys() & {p.name for p in pairs}), len(pairs))
        return None

    def cast(self, pair: str, choice: Choice | str, by: str = ME) -> Standing:
        """Write a vote down; a second one on the same pair takes the place of the first.

        Raise NotFound for a pair that this voter does not have.
        """
        found = self._pair(pair, by)
        row = {
            "pair": pair,
            "choice": str(Choice(choice)),
            "left": found.left.model,
            "right": found.right.model,
            "question": found.question.id,
            "category": found.question.category,
        }
        append_line(self._folder.path / VOTES, {**row, "by": by, "at": time.time()})
        return self.standing(by)

    def undo(self, by: str = ME) -> Ballot | None:
        """Take a voter's last vote back and return its ballot; None when there is no vote left."""
        mine = list(self._standing_votes(by).values())
        if not mine:
            return None
        last = max(mine, key=lambda vote: vote.at)
        row = {"pair": last.pair, "choice": "undo", "by": by, "at": time.time()}
        append_line(self._folder.path / VOTES, row)
        pairs, _ = self._pairs(by)
        voted = self._standing_votes(by).keys() & {pair.name for pair in pairs}
        for pair in pairs:
            if pair.name == last.pair:
                return self._ballot(pair, len(voted), len(pairs))
        return None

    def standing(self, by: str = ME) -> Standing:
        """Return how far a voter is."""
        pairs, (same, missing) = self._pairs(by)
        voted = self._standing_votes(by).keys() & {pair.name for pair in pairs}
        return Standing(len(voted), len(pairs), same, missing)

    def waiting(self, by: str = ME) -> set[str]:
        """Return the questions that a voter has pairs left of."""
        voted = self._standing_votes(by)
        return {pair.question.id for pair in self._pairs(by)[0] if pair.name not in voted}

    def revealed(self, pair: str, by: str = ME) -> dict[str, str]:
        """Return which model stood on which side; raise NotAllowed before the vote."""
        vote = self._standing_votes(by).get(pair)
        if vote is None:
            raise NotAllowed("This pair is still blind.", hint="Vote first; a vote can be undone.")
        return {"left": vote.verdict.left, "right": vote.verdict.right}

    def all(self) -> list[Vote]:
        """Return the votes that stand, of every voter, in the order they were cast."""
        standing: dict[tuple[str, str], Vote] = {}
        for row in read_lines(self._folder.path / VOTES):
            key = (str(row.get("by", "")), str(row.get("pair", "")))
            standing.pop(key, None)
            if row.get("choice") in tuple(Choice):
                names = ("question", "category", "left", "right", "choice")
                verdict = Verdict(*(row[name] for name in names))
                standing[key] = Vote(key[1], key[0], row["at"], verdict)
        return list(standing.values())

    def verdicts(self, by: str | None = None) -> list[Verdict]:
        """Return what was decided, by everybody or by one voter."""
        return [v.verdict for v in self.all() if by is None or v.by == by]

    # inside -------------------------------------------------------------------------------------

    def _standing_votes(self, by: str) -> dict[str, Vote]:
        return {vote.pair: vote for vote in self.all() if vote.by == by}

    def _pair(self, name: str, by: str) -> _Pair:
        for pair in self._pairs(by)[0]:
            if pair.name == name:
                return pair
        raise NotFound("There is no such pair to vote on.", hint="Take the next ballot.")

    def _pairs(self, by: str) -> tuple[list[_Pair], tuple[int, int]]:
        """Return a voter's pairs in their own order, and how many are the same and missing."""
        seed, answers = self._seed(), self._folder.answers()
        labels = list(self._folder.contestants())
        found, same, missing = [], 0, 0
        for question in self._folder.questions():
            for two in combinations(labels, 2):
                a, b = (answers.get((question.id, label)) for label in two)
                if a is None or b is None or not (a.ok and b.ok):
                    missing += 1
                elif a.turns == b.turns:
                    same += 1
                else:
                    found.append(_shuffled(seed, question, a, b, by))
        return sorted(found, key=lambda pair: pair.name), (same, missing)

    def _ballot(self, pair: _Pair, voted: int, of: int) -> Ballot:
        question = pair.question
        return Ballot(
            pair=pair.name,
            number=voted + 1,
            of=of,
            category=question.category,
            lang=question.lang,
            turns=question.turns,
            left=pair.left.turns,
            right=pair.right.turns,
            reference=question.reference,
        )

    def _seed(self) -> str:
        """Return the secret of this folder, made when it is first needed; two makers agree."""
        path = self._folder.path / SEED
        if not path.exists():
            mine = path.with_name(f".{SEED}.{secrets.token_hex(4)}")
            file = os.open(mine, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(file, "wb") as out:
                out.write(orjson.dumps({"seed": secrets.token_hex(16), "at": time.time()}))
            try:
                os.link(mine, path)
            except FileExistsError:
                pass  # somebody else was first, and theirs counts
            mine.unlink()
        return Seed.model_validate_json(path.read_bytes()).seed


def _shuffled(seed: str, question: Question, a: Answer, b: Answer, by: str) -> _Pair:
    """Return a pair under a name and with sides that only the seed can tell."""
    first, second = sorted((a, b), key=lambda answer: answer.model)
    words = (seed, question.id, first.model, second.model, by)
    digest = hashlib.sha256("\0".join(words).encode()).digest()
    left, right = (second, first) if digest[31] & 1 else (first, second)
    return _Pair(digest[:8].hex(), question, left, right)
