"""Blind votes: what a voter is shown tells nothing, what was voted is kept, undo works."""

from __future__ import annotations

import json
import os
import re
import stat
from pathlib import Path

import pytest
from quality.conftest import Maker, answer, contestant, question

from studio.core.errors import NotAllowed, NotFound
from studio.quality.folder import Folder
from studio.quality.votes import Ballot, Choice, Standing, Votes
from studio.quality.winrate import WinRate, position_bias, win_rates


def all_ballots(votes: Votes, by: str = "me", choice: Choice = Choice.TIE) -> list[Ballot]:
    found = []
    while (ballot := votes.next(by)) is not None:
        found.append(ballot)
        votes.cast(ballot.pair, choice, by)
    return found


def side_of(ballot: Ballot, folder: Folder, label: str) -> str:
    texts = [a.turns for (_, model), a in folder.answers().items() if model == label]
    return "left" if ballot.left in texts else "right"


def test_nothing_in_a_ballot_tells_which_model_is_which(made: Maker) -> None:
    folder = made(30, ("secret-base", "secret-tuned"))
    for ballot in all_ballots(Votes(folder)):
        sent = json.dumps(ballot.as_dict())
        assert "secret" not in sent and "127.0.0.1" not in sent
        assert set(ballot.as_dict()) == {
            *("pair", "number", "of", "category", "lang", "turns", "left", "right", "reference")
        }
        assert re.fullmatch("[0-9a-f]{16}", ballot.pair)


def test_sides_are_shuffled_and_do_not_follow_from_names_or_order(made: Maker) -> None:
    folder = made(400)
    pairs = Votes(folder)._pairs("me")[0]
    base_left = [pair.left.model == "base" for pair in pairs]
    assert 140 < sum(base_left) < 260  # six standard deviations
    questions = [pair.question.id for pair in pairs]
    assert questions != sorted(questions)
    # neither the pair's name nor its place in the order goes with the side
    low = [left for left, pair in zip(base_left, pairs, strict=True) if pair.name[-1] < "8"]
    assert 0.29 < sum(low) / len(low) < 0.71
    assert 57 < sum(base_left[:200]) < 143


def test_the_same_voter_finds_the_same_order_and_another_one_does_not(made: Maker) -> None:
    folder = made(40)
    first = [pair.name for pair in Votes(folder)._pairs("me")[0]]
    assert first == [pair.name for pair in Votes(Folder(folder.path))._pairs("me")[0]]
    mine = {p.question.id: p.left.model for p in Votes(folder)._pairs("me")[0]}
    hers = {p.question.id: p.left.model for p in Votes(folder)._pairs("her")[0]}
    assert 8 < sum(mine[key] != hers[key] for key in mine) < 32
    assert set(first).isdisjoint(pair.name for pair in Votes(folder)._pairs("her")[0])


def test_the_seed_is_secret_and_another_folder_has_another(made: Maker) -> None:
    one, two = made(20, name="one"), made(20, name="two")
    names = [{pair.name for pair in Votes(folder)._pairs("me")[0]} for folder in (one, two)]
    assert names[0].isdisjoint(names[1])
    assert stat.S_IMODE(os.stat(one.path / "votes.json").st_mode) == 0o600
    assert not list(one.path.glob(".votes*"))


def test_answers_that_come_later_change_no_side(made: Maker) -> None:
    folder = made(6)
    before = {pair.name: pair.left.model for pair in Votes(folder)._pairs("me")[0]}
    folder.add(contestant("third"))
    folder.add(answer("q0", "third", "something else"))
    after = {pair.name: pair.left.model for pair in Votes(folder)._pairs("me")[0]}
    assert len(after) == 8 and before.items() <= after.items()


def test_votes_count_for_the_model_wherever_it_stood(made: Maker) -> None:
    folder = made(12)
    votes = Votes(folder)
    while (ballot := votes.next()) is not None:
        votes.cast(ballot.pair, side_of(ballot, folder, "tuned"))
    rates = win_rates(votes.verdicts())
    assert rates == {"tuned": WinRate(12, 0, 0), "base": WinRate(0, 0, 12)}
    bias = position_bias(votes.verdicts())
    assert bias.left + bias.right == 12 and 0 < bias.left < 12
    assert votes.standing() == Standing(voted=12, of=12, same=0, missing=0)


def test_a_voter_who_always_takes_the_left_one_shows_as_bias(made: Maker) -> None:
    folder = made(60)
    votes = Votes(folder)
    all_ballots(votes, choice=Choice.LEFT)
    assert position_bias(votes.verdicts()).rate == 1.0 and position_bias(votes.verdicts()).leans
    assert not win_rates(votes.verdicts())["base"].decided


def test_the_same_answers_and_missing_ones_are_not_put_to_the_vote(made: Maker) -> None:
    folder = made(4)
    folder.add(answer("q0", "base", "the same"))
    folder.add(answer("q0", "tuned", "the same"))
    folder.add(answer("q1", "base", error="Nothing answers."))
    assert Votes(folder).standing() == Standing(voted=0, of=2, same=1, missing=1)


def test_undo_takes_the_last_vote_back_and_shows_it_again(made: Maker) -> None:
    votes = Votes(made(3))
    assert votes.undo() is None
    first = votes.next()
    assert first is not None
    votes.cast(first.pair, "left")
    second = votes.next()
    assert second is not None and (second.number, second.of) == (2, 3)
    votes.cast(second.pair, "right")
    assert votes.undo() == second._replace(number=2)
    assert votes.next() == second and votes.standing().voted == 1
    assert votes.undo() == first and votes.undo() is None
    assert votes.verdicts() == []


def test_voting_again_takes_the_place_of_the_first(made: Maker) -> None:
    votes = Votes(made(1))
    ballot = votes.next()
    assert ballot is not None
    votes.cast(ballot.pair, "left")
    votes.cast(ballot.pair, "tie")
    assert [verdict.won for verdict in votes.verdicts()] == ["tie"]


def test_voters_do_not_touch_each_other(made: Maker) -> None:
    votes = Votes(made(2))
    all_ballots(votes, "me")
    assert votes.standing("her") == Standing(0, 2, 0, 0)
    all_ballots(votes, "her", Choice.LEFT)
    votes.undo("me")
    assert len(votes.all()) == 3 and len(votes.verdicts("her")) == 2
    pair = votes.all()[0].pair
    with pytest.raises(NotFound, match="no such pair"):
        votes.cast(pair, "left", "him")


def test_sides_are_revealed_only_after_the_vote(made: Maker) -> None:
    votes = Votes(made(2))
    ballot = votes.next()
    assert ballot is not None
    with pytest.raises(NotAllowed, match="still blind"):
        votes.revealed(ballot.pair)
    votes.cast(ballot.pair, "left")
    assert set(votes.revealed(ballot.pair).values()) == {"base", "tuned"}
    with pytest.raises(NotAllowed):
        votes.revealed(ballot.pair, "her")
    votes.undo()
    with pytest.raises(NotAllowed):
        votes.revealed(ballot.pair)


def test_a_choice_that_is_none_is_refused(made: Maker) -> None:
    votes = Votes(made(1))
    ballot = votes.next()
    assert ballot is not None
    with pytest.raises(ValueError, match="both"):
        votes.cast(ballot.pair, "both")


def test_a_torn_line_costs_itself_only(made: Maker) -> None:
    folder = made(2)
    votes = Votes(folder)
    all_ballots(votes)
    path = Path(folder.path / "votes.jsonl")
    path.write_bytes(path.read_bytes()[:-20])
    assert len(votes.all()) == 1
    all_ballots(votes)
    assert len(votes.all()) == 2


def test_turns_and_references_are_shown(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    folder.keep_questions([question("q", turns=2, reference=("r1", "r2"))])
    for model in ("a", "b"):
        folder.add(contestant(model))
        folder.add(answer("q", model, f"{model}1", f"{model}2"))
    ballot = Votes(folder).next()
    assert ballot is not None and len(ballot.turns) == 2
    assert {ballot.left, ballot.right} == {("a1", "a2"), ("b1", "b2")}
    assert ballot.reference == ("r1", "r2")
