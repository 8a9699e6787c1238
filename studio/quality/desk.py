"""`QualityDesk`: what the page and the command line ask for about comparisons."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from studio import __version__
from studio.bench.point import POINTS, Point, append_point
from studio.bench.saved import ABOUT, Results, Saved, folder_name
from studio.core.errors import NotFound
from studio.core.settings import ROOT
from studio.engines.engine import Figure, resolve_path
from studio.engines.quality import QualityConfig
from studio.jobs.jobs import Jobs
from studio.quality.contestants import SPLIT, meant
from studio.quality.folder import Answer, Folder
from studio.quality.questions import Question, choose, read_questions
from studio.quality.summary import Model, Overview, figures, overview
from studio.quality.table import Table, measured, table
from studio.quality.votes import ME, SEED, Ballot, Choice, Standing, Votes

QUALITY = "quality"


class Asking(NamedTuple):
    """What a comparison will ask, before it does."""

    questions: int
    turns: int
    """Over all questions."""
    answers: int
    """Answers still to be given, of every model."""
    judgements: int
    """Judgements still to be made, when every answer comes."""
    categories: tuple[str, ...]


class SideBySide(NamedTuple):
    """One question and what was answered to it."""

    question: Question
    answers: Mapping[str, Answer]
    """By label; empty while the voter has not voted on every pair of this question."""
    blind: bool


class QualityDesk:
    """The comparisons of one home. Holds no state: everything is read from their folders."""

    def __init__(
        self, saved: Saved, jobs: Jobs, figures_of: Callable[[str], dict[str, Figure]]
    ) -> None:
        self._saved = saved
        self._jobs = jobs
        self._figures_of = figures_of

    def list(self) -> list[Results]:
        """Return the comparisons, newest first."""
        return [found for found in self._saved.folders() if found.about.kind == QUALITY]

    def get(self, name: str) -> Results:
        """Return one by its name, or enough of its beginning; raise NotFound."""
        found = self._saved.get(name)
        if found.about.kind != QUALITY:
            raise NotFound(
                f"{found.name} is no comparison of answers.", hint="`quality ls` lists them."
            )
        return found

    def folder(self, name: str) -> Folder:
        """Return the files of one; raise NotFound."""
        return Folder(self.get(name).folder)

    def overview(self, name: str) -> Overview:
        """Return what one came to so far, model by model; raise NotFound."""
        return overview(self.folder(name))

    def asking(self, config: QualityConfig) -> Asking:
        """Return what settings will ask; raise NotFound or DataInvalid. Asks no server."""
        folder = self.folder(config.results) if config.results else None
        questions = folder.questions() if folder else []
        questions = questions or asked_for(config)
        known = folder.answers() if folder else {}
        before = folder.contestants() if folder else {}
        labels = {*config.names} or {
            one.label if (one := meant(word, before.values())) else word
            for word in config.answers_from
        }
        num = len(labels | before.keys())
        kept = sum(1 for answer in known.values() if answer.ok)
        turns = sum(len(question.turns) for question in questions)
        each = num if config.judge_mode == "single" else num * (num - 1)
        return Asking(
            questions=len(questions),
            turns=turns,
            answers=max(0, num * len(questions) - kept),
            judgements=turns * each if config.judge else 0,
            categories=tuple(dict.fromkeys(question.category for question in questions)),
        )

    def resuming(self, name: str) -> dict[str, Any]:
        """Return the settings that go on with a comparison: everybody in it, what is missing.

        A server that was started again under the same name is found; raise NotFound.
        """
        found = self.get(name)
        known = Folder(found.folder).contestants().values()
        words = [f"{one.run or one.base_url}{SPLIT}{one.model}" for one in known]
        everybody = {"answers_from": words, "names": [one.label for one in known]}
        return {**found.about.settings, **(everybody if words else {}), "results": found.name}

    # votes --------------------------------------------------------------------------------------

    def ballot(self, name: str, by: str = ME) -> Ballot | None:
        """Return a voter's next blind pair; None when there is none left."""
        return self._votes(name).next(by)

    def standing(self, name: str, by: str = ME) -> Standing:
        """Return how far a voter is."""
        return self._votes(name).standing(by)

    def vote(self, name: str, pair: str, choice: Choice | str, by: str = ME) -> Standing:
        """Write a vote down; the last one of a voter brings the points up to date."""
        standing = self._votes(name).cast(pair, choice, by)
        if standing.voted == standing.of:
            write_points(self.get(name))
        return standing

    def undo(self, name: str, by: str = ME) -> Ballot | None:
        """Take a voter's last vote back and return its ballot; None without one."""
        return self._votes(name).undo(by)

    def revealed(self, name: str, pair: str, by: str = ME) -> dict[str, str]:
        """Return which model stood left and right; raise NotAllowed before the vote."""
        return self._votes(name).revealed(pair, by)

    # out ----------------------------------------------------------------------------------------

    def side_by_side(self, name: str, by: str = ME, *, unblind: bool = False) -> list[SideBySide]:
        """Return every question with its answers by name.

        A question that the voter has pairs left of comes without answers, so that looking spoils
        no vote; `unblind` shows all of them to somebody who does not want to vote.
        """
        folder = self.folder(name)
        open_pairs = set() if unblind else Votes(folder).waiting(by)
        answers, labels = folder.answers(), list(folder.contestants())
        rows = []
        for question in folder.questions():
            blind = question.id in open_pairs
            shown = {
                label: answers[question.id, label]
                for label in labels
                if not blind and (question.id, label) in answers
            }
            rows.append(SideBySide(question, shown, blind))
        return rows

    def may_send(self, name: str, file: str, by: str = ME) -> bool:
        """Tell whether a file of a comparison may be sent to somebody who still has votes to cast.

        The seed never is; what names models beside answers is when no pair is left.
        """
        first = Path(file).parts[:1]
        if first == (SEED,):
            return False
        return first in ((ABOUT,), (POINTS,)) or not Votes(self.folder(name)).waiting(by)

    def table(self, names: Sequence[str] | None = None) -> Table:
        """Return comparisons beside lm-eval and prediction runs; all of them without names."""
        chosen = [self.get(name) for name in names] if names is not None else self.list()
        overviews = [overview(Folder(found.folder)) for found in chosen]
        return table(overviews, measured(self._jobs, self._figures_of))

    def _votes(self, name: str) -> Votes:
        return Votes(self.folder(name))


def asked_for(config: QualityConfig) -> list[Question]:
    """Return the questions that settings choose; raise NotFound or DataInvalid."""
    return choose(
        read_questions(Path(resolve_path(config.questions, str(ROOT)))),
        categories=config.categories,
        lang="" if config.language == "any" else config.language,
        limit=config.limit,
    )


def write_points(results: Results) -> Overview:
    """Write one point per model, in place of what was written of it before."""
    found = overview(Folder(results.folder))
    about = results.about
    for number, model in enumerate(found.models, 1):
        ident = f"{number}-{folder_name(model.label)}"
        append_point(results.folder, _point(ident, model, found, about.settings))
    return found


def _point(ident: str, model: Model, found: Overview, settings: Mapping[str, Any]) -> Point:
    judged = found.judged[0] if found.judged else None
    condition = {
        "dataset": Path(str(settings.get("questions", ""))).stem,
        "num_questions": found.num_questions,
        "num_concurrent": settings.get("num_concurrent"),
        "judge": judged.judge if judged else None,
        "judge_mode": judged.mode if judged else None,
        "num_votes": found.num_votes or None,
    }
    return Point(
        id=ident,
        at=time.time(),
        status="done" if model.answered else "failed",
        error="" if model.answered else "No question was answered.",
        engine=QUALITY,
        version=__version__,
        model=model.label,
        server=model.about.server,
        server_run=model.about.run,
        endpoint=model.about.base_url,
        seed=settings.get("seed"),
        condition={name: value for name, value in condition.items() if value is not None},
        figures=figures(model),
    )
