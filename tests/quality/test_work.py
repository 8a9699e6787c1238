"""Asking and judging over the wire: what is kept, what is asked again, how it stops."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from chat.sse_server import FakeChat, Script
from quality.conftest import contestant, question
from quality.stand_in_judge import NAME, judge

from studio.core.errors import EndpointDown
from studio.core.spec import Endpoint
from studio.quality.asking import Line, Manner, Stopped, ask
from studio.quality.contestants import Asked
from studio.quality.folder import Answer, Folder
from studio.quality.judge import Judge
from studio.quality.work import Work

PROMPTS = {
    "en": {
        "single": "{reference}\n<conversation>\n{conversation}\n</conversation>",
        "pairwise": "{reference}\n<assistant_a>\n{conversation_a}\n</assistant_a>\n"
        "<assistant_b>\n{conversation_b}\n</assistant_b>",
        "reference": "<reference>\n{reference}\n</reference>",
    }
}


def asked(server: FakeChat, model: str = "tiny") -> Asked:
    endpoint = Endpoint(id="e", name="here", base_url=server.url, models=(model,))
    return Asked(endpoint, model)


def work(folder: Folder, line: Line | None = None, at_once: int = 2) -> Work:
    told: list[tuple[int, int, str]] = []
    return Work(folder, line or Line(), at_once=at_once, tell=lambda *row: told.append(row))


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    found = Folder(tmp_path)
    found.keep_questions([question(f"q{k}", reference=(f"right {k}",)) for k in range(6)])
    return found


def test_turns_are_a_conversation_and_figures_are_kept() -> None:
    def echo(body: dict) -> list[str]:
        return [f"{len(body['messages'])} so far, ", f"t={body['temperature']}"]

    with FakeChat({"tiny": Script(pieces=echo)}) as server:
        manner = Manner(system="Be brief.", by_category={"facts": 0.7}, max_tokens=32, seed=7)
        found = ask(Line(), asked(server), "m", question("q", turns=2), manner)
    assert found.ok and found.turns == ("2 so far, t=0.7", "4 so far, t=0.7")
    assert [row["tokens"] for row in found.figures] == [2, 2] and found.figures[0]["ttft_s"] > 0
    body = server.requests[1]
    assert [m["role"] for m in body["messages"]] == ["system", "user", "assistant", "user"]
    assert (body["max_tokens"], body["seed"]) == (32, 7)


def test_thinking_is_kept_apart_from_the_answer() -> None:
    pieces = ["<think>hm, ", "let me see</think>", "42"]
    with FakeChat({"tiny": Script(pieces=pieces)}) as server:
        found = ask(Line(), asked(server), "m", question("q"), Manner())
    assert found.turns == ("42",) and found.thoughts == ("hm, let me see",)


class Moody(dict):
    """Models that answer, or refuse when a request is of a kind."""

    def __init__(self, server: FakeChat, refuses: Callable[[dict], bool], bad: Script) -> None:
        super().__init__(tiny=Script(pieces=["fine"]))
        self._server, self._refuses, self._bad = server, refuses, bad

    def get(self, name: str, default: object = None) -> Script:
        return self._bad if self._refuses(self._server.requests[-1]) else self[name]


def test_an_error_in_the_middle_keeps_what_was_said() -> None:
    bad = Script(status=500, body={"error": {"message": "no memory"}})
    with FakeChat() as server:
        server.models = Moody(server, lambda body: len(body["messages"]) > 1, bad)
        found = ask(Line(), asked(server), "m", question("q", turns=3), Manner())
    assert not found.ok and found.turns == ("fine",) and len(found.figures) == 1
    assert found.code == "server" and "no memory" in found.error and found.hint


def test_done_answers_are_kept_and_failed_ones_asked_again(folder: Folder) -> None:
    def script(body: dict) -> list[str]:
        return [f"I say: {body['messages'][-1]['content']}"]

    with FakeChat({"tiny": Script(pieces=script)}) as server:
        folder.add(contestant("m"))
        folder.add(Answer(question="q1", model="m", turns=("kept",)))
        folder.add(Answer(question="q2", model="m", error="gone"))
        assert work(folder).answer({"m": asked(server)}, folder.questions(), Manner()) == 5
        asked_for = {body["messages"][-1]["content"] for body in server.requests}
        assert asked_for == {f"q{k}, turn 1?" for k in (0, 2, 3, 4, 5)}
        assert work(folder).answer({"m": asked(server)}, folder.questions(), Manner()) == 0
    answers = folder.answers()
    assert answers["q1", "m"].turns == ("kept",) and answers["q2", "m"].ok
    assert len(answers) == 6


def test_one_refusal_does_not_end_the_rest(folder: Folder) -> None:
    bad = Script(status=400, body={"message": "too many words"})
    with FakeChat() as server:
        server.models = Moody(
            server, lambda body: body["messages"][-1]["content"].startswith("q3"), bad
        )
        work(folder, at_once=1).answer({"m": asked(server)}, folder.questions(), Manner())
    failed = [row for row in folder.answers().values() if not row.ok]
    assert [row.question for row in failed] == ["q3"] and "too many words" in failed[0].error
    assert sum(row.ok for row in folder.answers().values()) == 5


def test_a_server_that_is_gone_ends_the_work_with_its_sentence(folder: Folder) -> None:
    with FakeChat({"tiny": Script()}) as server:
        gone = asked(server)
    with pytest.raises(EndpointDown, match="Nothing answers at") as error:
        work(folder).answer({"m": gone}, folder.questions(), Manner())
    assert error.value.hint
    rows = folder.answers().values()
    assert 3 <= len(rows) <= 5 and all(row.code == "refused" for row in rows)


def test_a_stop_cuts_at_once_and_writes_nothing_half(folder: Folder) -> None:
    slow = Script(pieces=["word "] * 100, rate=5)
    with FakeChat({"tiny": slow}) as server:
        line = Line()
        timer = threading.Timer(0.5, line.stop)
        timer.start()
        began = time.monotonic()
        with pytest.raises(Stopped):
            work(folder, line).answer({"m": asked(server)}, folder.questions(), Manner())
        assert time.monotonic() - began < 3
    assert folder.answers() == {}
    with FakeChat({"tiny": Script()}) as server, pytest.raises(Stopped):
        ask(line, asked(server), "m", question("q"), Manner())


def test_a_judge_rates_every_answer_once(folder: Folder) -> None:
    for k in range(6):
        text = f"it is right {k}" if k % 2 else "no idea"
        folder.add(Answer(question=f"q{k}", model="m", turns=(text,)))
    with FakeChat({NAME: Script(pieces=judge)}) as server:
        one = Judge(NAME, "single", PROMPTS)
        assert work(folder).judge(one, asked(server, NAME), 64) == 6
        assert work(folder).judge(one, asked(server, NAME), 64) == 0
        body = server.requests[0]
    assert body["temperature"] == 0 and body["max_tokens"] == 64
    found = {row.question: row.rating for row in folder.judgements().values()}
    assert found == {f"q{k}": 9.0 if k % 2 else 2.0 for k in range(6)}


def test_what_a_judge_says_without_a_verdict_is_kept_and_not_asked_again(folder: Folder) -> None:
    folder.add(Answer(question="q0", model="m", turns=("a",)))
    with FakeChat({"j": Script(pieces=["Both are ", "lovely."])}) as server:
        one = Judge("j", "single", PROMPTS)
        assert work(folder).judge(one, asked(server, "j"), 64) == 1
        assert work(folder).judge(one, asked(server, "j"), 64) == 0
    (row,) = folder.judgements().values()
    assert row.unreadable and row.rating is None and row.text == "Both are lovely."


def test_lines_are_json_and_a_torn_one_costs_itself_only(folder: Folder) -> None:
    folder.add(Answer(question="q0", model="m", turns=("中文",)))
    path = folder.path / "answers.jsonl"
    assert json.loads(path.read_text(encoding="utf-8"))["turns"] == ["中文"]
    with open(path, "ab") as file:
        file.write(b'{"question": "q1", "mo')
    folder.add(Answer(question="q2", model="m", turns=("b",)))
    assert set(folder.answers()) == {("q0", "m"), ("q2", "m")}
