"""What one comparison came to, model by model: answers, judge, votes, pace."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from studio.bench import formulas
from studio.quality.folder import Answer, Contestant, Folder, Judgement
from studio.quality.judge import LEAST, MOST, agreed, as_shown, both_orders
from studio.quality.votes import Votes
from studio.quality.winrate import (
    Bias,
    Verdict,
    WinRate,
    by_category,
    position_bias,
    versus,
    win_rates,
)


class Score(NamedTuple):
    """Mean of ratings."""

    mean: float
    num: int
    stderr: float | None
    """sd / sqrt(num); None for one rating."""

    @property
    def interval(self) -> formulas.Interval | None:
        """The 95 % interval of the mean, within 1 to 10; None for one rating."""
        if self.stderr is None:
            return None
        reach = formulas.Z95 * self.stderr
        return formulas.Interval(max(LEAST, self.mean - reach), min(MOST, self.mean + reach))

    def as_dict(self) -> dict[str, Any]:
        """Return plain values for `--json` and a page."""
        span = self.interval
        ends = {"low": span.low if span else None, "high": span.high if span else None}
        return {**self._asdict(), **ends}


class Model(NamedTuple):
    """What one model came to."""

    about: Contestant
    answered: int
    failed: int
    """Questions whose answer ended in an error."""
    unasked: int
    empty: int
    """Answers with a turn of no text."""
    cut: int
    """Answers with a turn that ran into the length limit."""
    ttft_ms: float | None
    """Median over turns, with the comparison's own concurrency."""
    tokens_per_s: float | None
    """Median pace of a turn after its first token."""
    tokens: float | None
    """Mean output tokens of an answer."""
    score: Score | None
    scores: Mapping[str, Score]
    """By category."""
    judged: WinRate
    judged_by: Mapping[str, WinRate]
    """By category."""
    voted: WinRate
    voted_by: Mapping[str, WinRate]

    @property
    def label(self) -> str:
        """What it is called."""
        return self.about.label


class Judged(NamedTuple):
    """What one judge did, in one mode with one prompt."""

    judge: str
    mode: str
    prompt: str
    num: int
    """Judgements, failed ones included."""
    unreadable: int
    failed: int
    disagreed: int
    """Pairs of which both orders were read and did not agree, so that they count as ties."""
    pairs: int
    """Pairs of which both orders were read."""
    bias: Bias
    """How often what was shown first won."""


class Overview(NamedTuple):
    """A whole comparison."""

    name: str
    num_questions: int
    categories: tuple[str, ...]
    models: tuple[Model, ...]
    judged: tuple[Judged, ...]
    """Newest judge of each mode first; their verdicts are those in `models`."""
    num_votes: int
    voters: tuple[str, ...]
    vote_bias: Bias
    versus: Mapping[tuple[str, str], WinRate]
    """Votes, model against model."""
    judged_versus: Mapping[tuple[str, str], WinRate]

    def as_dict(self) -> dict[str, Any]:
        """Return plain values for `--json` and a page."""
        return {
            "name": self.name,
            "num_questions": self.num_questions,
            "categories": list(self.categories),
            "models": [_model_dict(model) for model in self.models],
            "judged": [{**j._asdict(), "bias": j.bias.as_dict()} for j in self.judged],
            "votes": {
                "num": self.num_votes,
                "voters": list(self.voters),
                "bias": self.vote_bias.as_dict(),
                "versus": _versus_rows(self.versus),
            },
            "judged_versus": _versus_rows(self.judged_versus),
        }


def overview(folder: Folder) -> Overview:
    """Work out a comparison from its files, as they are now."""
    questions = folder.questions()
    categories = {question.id: question.category for question in questions}
    answers, votes = folder.answers(), Votes(folder).all()
    newest = _newest(folder.judgements().values())
    pairwise = newest.get("pairwise", [])
    voted = [vote.verdict for vote in votes]
    decided = agreed(pairwise, categories)
    models = tuple(
        _model(
            about,
            [answers[q.id, label] for q in questions if (q.id, label) in answers],
            len(questions),
            _ratings(newest.get("single", []), label, categories),
            decided,
            voted,
        )
        for label, about in folder.contestants().items()
    )
    return Overview(
        name=folder.path.name,
        num_questions=len(questions),
        categories=tuple(dict.fromkeys(categories.values())),
        models=models,
        judged=tuple(_judged(mode, rows, categories) for mode, rows in newest.items()),
        num_votes=len(votes),
        voters=tuple(dict.fromkeys(vote.by for vote in votes)),
        vote_bias=position_bias(voted),
        versus=versus(voted),
        judged_versus=versus(decided),
    )


def figures(model: Model) -> dict[str, float]:
    """Return a model's figures under the names that points use; what is not known is left out."""
    found: dict[str, float | None] = {
        "score": model.score.mean if model.score else None,
        "win_rate": model.voted.rate if model.voted.num else model.judged.rate,
        "comparisons": (model.voted.num or model.judged.num) or None,
        "completed": model.answered,
        "failed": model.failed,
        "ttft_median_ms": model.ttft_ms,
        "tokens_per_s_user": model.tokens_per_s,
        "answer_tokens": model.tokens,
    }
    return {name: value for name, value in found.items() if value is not None}


# inside -----------------------------------------------------------------------------------------


def _model(
    about: Contestant,
    answers: Sequence[Answer],
    asked: int,
    ratings: Mapping[str, list[float]],
    judged: Sequence[Verdict],
    voted: Sequence[Verdict],
) -> Model:
    whole = [answer for answer in answers if answer.ok]
    turns = [row for answer in whole for row in answer.figures]
    first = [row["ttft_s"] * 1000 for row in turns if row.get("ttft_s") is not None]
    paces = [row["tokens_per_s"] for row in turns if row.get("tokens_per_s")]
    label = about.label
    return Model(
        about=about,
        answered=len(whole),
        failed=len(answers) - len(whole),
        unasked=asked - len(answers),
        empty=sum(any(not turn.strip() for turn in answer.turns) for answer in whole),
        cut=sum(
            any(row.get("finish_reason") == "length" for row in answer.figures) for answer in whole
        ),
        ttft_ms=formulas.median(first) if first else None,
        tokens_per_s=formulas.median(paces) if paces else None,
        tokens=formulas.mean([_tokens(answer) for answer in whole]) if whole else None,
        score=_score([rating for rows in ratings.values() for rating in rows]),
        scores={name: score for name, rows in ratings.items() if (score := _score(rows))},
        judged=win_rates(judged).get(label, WinRate()),
        judged_by={c: rates[label] for c, rates in by_category(judged).items() if label in rates},
        voted=win_rates(voted).get(label, WinRate()),
        voted_by={c: rates[label] for c, rates in by_category(voted).items() if label in rates},
    )


def _newest(judgements: Iterable[Judgement]) -> dict[str, list[Judgement]]:
    """Return, mode by mode, the judgements of the judge and prompt that judged last."""
    by_judge: dict[tuple[str, str, str], list[Judgement]] = {}
    for row in judgements:
        by_judge.setdefault((row.mode, row.judge, row.prompt), []).append(row)
    found: dict[str, list[Judgement]] = {}
    for (mode, _, _), rows in sorted(by_judge.items(), key=lambda item: -item[1][-1].at):
        found.setdefault(mode, rows)
    return found


def _judged(mode: str, rows: Sequence[Judgement], categories: Mapping[str, str]) -> Judged:
    both = both_orders(rows)
    ties = sum(1 for a, b in both if a.won == b.won == "tie")
    verdicts = agreed(rows, categories)
    return Judged(
        judge=rows[0].judge,
        mode=mode,
        prompt=rows[0].prompt,
        num=len(rows),
        unreadable=sum(row.unreadable for row in rows),
        failed=sum(bool(row.error) for row in rows),
        disagreed=sum(verdict.won == "tie" for verdict in verdicts) - ties,
        pairs=len(both),
        bias=position_bias(as_shown(rows, categories)),
    )


def _ratings(
    rows: Iterable[Judgement], label: str, categories: Mapping[str, str]
) -> dict[str, list[float]]:
    found: dict[str, list[float]] = {}
    for row in rows:
        if row.rating is not None and row.models == (label,):
            found.setdefault(categories.get(row.question, ""), []).append(row.rating)
    return found


def _score(ratings: Sequence[float]) -> Score | None:
    if not ratings:
        return None
    num = len(ratings)
    stderr = formulas.sd(ratings) / math.sqrt(num) if num > 1 else None
    return Score(formulas.mean(ratings), num, stderr)


def _tokens(answer: Answer) -> float:
    return float(sum(row.get("tokens", 0) for row in answer.figures))


def _model_dict(model: Model) -> dict[str, Any]:
    plain = {
        name: value
        for name, value in model._asdict().items()
        if isinstance(value, (int, float)) or value is None
    }
    return {
        "label": model.label,
        "about": model.about.model_dump(),
        **plain,
        "score": model.score.as_dict() if model.score else None,
        "scores": {name: score.as_dict() for name, score in model.scores.items()},
        "judged": model.judged.as_dict(),
        "judged_by": {name: rate.as_dict() for name, rate in model.judged_by.items()},
        "voted": model.voted.as_dict(),
        "voted_by": {name: rate.as_dict() for name, rate in model.voted_by.items()},
    }


def _versus_rows(rates: Mapping[tuple[str, str], WinRate]) -> list[dict[str, Any]]:
    return [{"model": a, "against": b, **rate.as_dict()} for (a, b), rate in rates.items()]
