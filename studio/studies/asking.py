"""The measure `ask`: questions to a server; are its answers right, and how long do they take?"""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

from studio.bench.formulas import latency_figures, tokens_per_s_user
from studio.chat.album import uri_of
from studio.chat.client import Delta, Done, Sampling, stream
from studio.chat.pictures import prepare
from studio.core.errors import EndpointDown, RecipeInvalid, StudioError
from studio.core.settings import ROOT
from studio.core.spec import Endpoint
from studio.engines.engine import resolve_path
from studio.engines.study_config import AskOptions, Question
from studio.studies.cells import Cell
from studio.studies.desk import Desk
from studio.studies.rows import told

ENGINE = "ask"
"""What the rows say measured them."""


class Measured(NamedTuple):
    """What one repeat came to."""

    figures: dict[str, float]
    condition: dict[str, Any]
    raw: dict[str, Any]


class Asked(NamedTuple):
    """One question and its answer."""

    ask: str
    answer: str
    right: bool
    done: Done | None
    error: str = ""


def warm_up(desk: Desk, cell: Cell, endpoint: Endpoint) -> None:
    """Ask every question once, uncounted; what fails here fails again when it counts."""
    options = _options(cell)
    for question in options.questions if options.warmup else ():
        desk.hands.check()
        ask(desk, endpoint, question, options)


def measure(desk: Desk, cell: Cell, endpoint: Endpoint, repeat: int) -> Measured:
    """Ask every question; raise EndpointDown when none was answered."""
    options = _options(cell)
    asked: list[Asked] = []
    for _ in range(options.rounds):
        for question in options.questions:
            desk.hands.check()
            asked.append(ask(desk, endpoint, question, options))
    answered = [one for one in asked if one.done is not None]
    if not answered:
        raise EndpointDown(f"No question was answered: {asked[0].error}")
    condition = {
        "questions": len(options.questions),
        "rounds": options.rounds,
        "max_tokens": options.max_tokens,
        "images": sum(bool(question.picture) for question in options.questions),
    }
    raw = {"answers": [{**one._asdict(), "done": one.done and one.done._asdict()} for one in asked]}
    return Measured(_figures(asked), condition, raw)


def ask(desk: Desk, endpoint: Endpoint, question: Question, options: AskOptions) -> Asked:
    """Ask one question and judge its answer; raise Halted when the study is stopped meanwhile."""
    pieces: list[str] = []
    done: Done | None = None
    sampling = Sampling(temperature=options.temperature, max_tokens=options.max_tokens)
    try:
        messages = [{"role": "user", "content": _content(endpoint, question)}]
        with (
            stream(endpoint, messages, sampling=sampling) as events,
            desk.hands.cutting(events.close),
        ):
            for event in events:
                if isinstance(event, Delta):
                    pieces.append(event.text)
                elif isinstance(event, Done):
                    done = event
    except StudioError as error:
        return Asked(question.ask, "".join(pieces), False, None, told(error))
    text = "".join(pieces)
    return Asked(question.ask, text, is_right(text, question), done)


def is_right(answer: str, question: Question) -> bool:
    """Tell whether an answer has everything it must contain, whatever the case of its letters."""
    low = answer.lower()
    if not all(word.lower() in low for word in question.contains):
        return False
    return not question.any_of or any(word.lower() in low for word in question.any_of)


def _options(cell: Cell) -> AskOptions:
    if cell.questions is None:
        raise RecipeInvalid(f"Case {cell.name} asks nothing.", hint="List questions under ask.")
    return cell.questions


def _content(endpoint: Endpoint, question: Question) -> str | list[dict[str, Any]]:
    """Return a question as a message's content, its picture scaled as the server's model sees."""
    if not question.picture:
        return question.ask
    path = Path(resolve_path(question.picture, str(ROOT)))
    try:
        data = path.read_bytes()
    except OSError as error:
        raise RecipeInvalid(f"There is no picture {path}.") from error
    picture = prepare(data, spec=endpoint.pictures)
    return [
        {"type": "image_url", "image_url": {"url": uri_of(picture.data)}},
        {"type": "text", "text": question.ask},
    ]


def _figures(asked: list[Asked]) -> dict[str, float]:
    done = [one.done for one in asked if one.done is not None]
    firsts = [one.ttft_s for one in done if one.ttft_s is not None]
    paces = [1 / one.tokens_per_s for one in done if one.tokens_per_s]
    figures: dict[str, float] = {
        "score": sum(one.right for one in asked) / len(asked),
        "completed": len(done),
        "failed": len(asked) - len(done),
        **latency_figures("ttft", firsts),
        **latency_figures("e2el", [one.total_s for one in done]),
    }
    if paces:
        figures |= latency_figures("tpot", paces)
        figures["tokens_per_s_user"] = tokens_per_s_user(paces)
    return figures
