"""Which messages of a conversation are sent with the next question."""

from __future__ import annotations

from typing import Any

Message = dict[str, Any]


def to_send(
    messages: list[Message], *, turns: int | None = None, side: str = "a", system: str = ""
) -> list[Message]:
    """Return the request's messages, ending with the last question.

    `turns` earlier question-answer pairs are sent, None sends all. In a comparison each side sees
    its own answers. Questions that were never answered are left out, because many templates
    refuse two questions in a row.
    """
    every = _turns(messages)
    if not every:
        return []
    *earlier, last = every
    pairs = [(asked, _own(answers, side)) for asked, answers in earlier if answers]
    kept = pairs if turns is None else pairs[len(pairs) - min(turns, len(pairs)) :]
    head = [{"role": "system", "content": system}] if system.strip() else []
    sent = [plain(message) for pair in kept for message in pair]
    return [*head, *sent, plain(last[0])]


def plain(message: Message) -> Message:
    """Return a message as the protocol has it, without the studio's own keys."""
    return {key: value for key, value in message.items() if key != "studio"}


def count_turns(messages: list[Message]) -> int:
    """Return how many questions a conversation holds."""
    return sum(message["role"] == "user" for message in messages)


def before_question(messages: list[Message], index: int) -> tuple[list[Message], Message | None]:
    """Return what comes before the question at or before `index`, and that question."""
    for at in range(min(index, len(messages) - 1), -1, -1):
        if messages[at]["role"] == "user":
            return messages[:at], messages[at]
    return messages, None


def _turns(messages: list[Message]) -> list[tuple[Message, list[Message]]]:
    """Group messages into questions and the answers that say something."""
    turns: list[tuple[Message, list[Message]]] = []
    for message in messages:
        if message["role"] == "user":
            turns.append((message, []))
        elif message["role"] == "assistant" and message.get("content") and turns:
            turns[-1][1].append(message)
    return turns


def _own(answers: list[Message], side: str) -> Message:
    """Return a side's own answer, or the other's where it had none."""
    own = [a for a in answers if (a.get("studio") or {}).get("side", "a") == side]
    return (own or answers)[-1]
