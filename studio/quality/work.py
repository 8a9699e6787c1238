"""The work of one comparison: every question to every model, every answer to the judge.

What is done is on the disk and is not asked again; what failed is. Answers and judgements arrive
in any order from several threads and are written by one.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from typing import TypeVar

from studio.chat.client import Message, Sampling
from studio.core.errors import EndpointDown, StudioError
from studio.quality.asking import Line, Manner, ask
from studio.quality.contestants import Asked
from studio.quality.folder import Answer, Folder, Judgement
from studio.quality.judge import Case, Judge, read_rating, read_winner
from studio.quality.questions import Question

HOPELESS = frozenset(
    {"refused", "unreachable", "unknown_host", "connect_timeout", "key", "model", "path", "tls"}
)
"""Failures that the next question will meet again."""
HOPELESS_IN_A_ROW = 3

Tell = Callable[[int, int, str], None]
"""Called with what is done, of how much, and a word about it."""
T = TypeVar("T")
R = TypeVar("R", Answer, Judgement)


class Work:
    """Asks and judges over one folder, `at_once` requests at a time."""

    def __init__(self, folder: Folder, line: Line, *, at_once: int, tell: Tell) -> None:
        self._folder = folder
        self._line = line
        self._at_once = at_once
        self._tell = tell

    def answer(
        self, models: Mapping[str, Asked], questions: Sequence[Question], manner: Manner
    ) -> int:
        """Ask every model what it has not answered yet, one model after the other.

        Return how many answers were written. Raise Stopped, or EndpointDown when a model's server
        is gone.
        """
        known = self._folder.answers()
        todo = {label: self._unanswered(label, questions, known) for label in models}
        total = len(models) * len(questions)
        done = total - sum(map(len, todo.values()))
        before = done
        for label, asked in models.items():

            def one(question: Question, label: str = label, asked: Asked = asked) -> Answer:
                return ask(self._line, asked, label, question, manner)

            done = self._each(todo[label], one, done, total, f"answers of {label}")
        return done - before

    def judge(self, judge: Judge, asked: Asked, max_tokens: int) -> int:
        """Have everything judged that this judge has not judged yet; return how many it was.

        Raise Stopped, EndpointDown, or RecipeInvalid when a language has no prompt.
        """
        questions = self._folder.questions()
        judge.check(questions)
        cases = judge.cases(questions, self._folder.answers())
        known = self._folder.judgements()
        todo = [case for case in cases if case.key not in known or known[case.key].error]
        sampling = Sampling(temperature=0, max_tokens=max_tokens)

        def one(case: Case) -> Judgement:
            return self._judgement(judge, asked, case, sampling)

        done = len(cases) - len(todo)
        return self._each(todo, one, done, len(cases), f"judgements of {judge.name}") - done

    # inside -------------------------------------------------------------------------------------

    def _unanswered(
        self, label: str, questions: Sequence[Question], known: Mapping[tuple[str, str], Answer]
    ) -> list[Question]:
        found = []
        for question in questions:
            answer = known.get((question.id, label))
            if answer is None or not answer.ok:
                found.append(question)
        return found

    def _judgement(self, judge: Judge, asked: Asked, case: Case, sampling: Sampling) -> Judgement:
        messages: list[Message] = [{"role": "user", "content": judge.prompt(case)}]
        began = time.time()
        text = error = hint = code = ""
        try:
            text = self._line.say(asked, messages, sampling).text
        except StudioError as failed:
            error, hint, code = failed.message, failed.hint, getattr(failed, "code", "")
        single = judge.mode == "single"
        now = time.time()
        return Judgement(
            key=case.key,
            mode=judge.mode,
            judge=judge.name,
            prompt=judge.mark,
            question=case.question.id,
            turn=case.turn,
            models=tuple(answer.model for answer in case.answers),
            rating=read_rating(text) if single else None,
            won=None if single else read_winner(text),
            text=text,
            error=error,
            hint=hint,
            code=code,
            at=now,
            seconds=now - began,
        )

    def _each(
        self, todo: Sequence[T], do: Callable[[T], R], done: int, total: int, what: str
    ) -> int:
        """Do everything, several at a time, writing each when it is whole; return what is done."""
        in_a_row = 0
        self._tell(done, total, what)
        with ThreadPoolExecutor(max_workers=self._at_once, thread_name_prefix="ask") as pool:
            waiting = [pool.submit(do, item) for item in todo]
            try:
                for future in as_completed(waiting):
                    row = future.result()
                    self._folder.add(row)
                    done += 1
                    self._tell(done, total, what)
                    in_a_row = in_a_row + 1 if row.code in HOPELESS else 0
                    if in_a_row == HOPELESS_IN_A_ROW:
                        raise EndpointDown(row.error, hint=row.hint)
            except BaseException:
                for future in waiting:
                    future.cancel()
                self._line.stop()
                raise
        return done
