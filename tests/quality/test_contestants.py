"""Who a word means: an endpoint by id, name or address, and one of its models."""

from __future__ import annotations

from pathlib import Path

import pytest
from chat.sse_server import FakeChat, Script
from quality.conftest import contestant

from studio.core.errors import NotFound, RecipeInvalid
from studio.core.spec import Endpoint
from studio.quality.contestants import Asked, check_known, contestants, find, meant

ONE = Endpoint(id="0abcdef", name="smoke", base_url="http://127.0.0.1:8000/v1", models=("tiny",))
TWO = Endpoint(id="0abcxyz", name="lora", base_url="http://127.0.0.1:8001/v1", models=("a", "b"))
KNOWN = [ONE, TWO]


@pytest.mark.parametrize(
    ("word", "endpoint", "model"),
    [
        ("smoke", ONE, "tiny"),
        ("smoke::tiny", ONE, "tiny"),
        ("0abcdef", ONE, "tiny"),
        ("0abcx::b", TWO, "b"),
        ("http://127.0.0.1:8001/v1::a", TWO, "a"),
        ("http://127.0.0.1:8001/::a", TWO, "a"),
    ],
)
def test_by_name_id_beginning_and_address(word: str, endpoint: Endpoint, model: str) -> None:
    assert find(word, KNOWN) == Asked(endpoint, model)


@pytest.mark.parametrize(
    ("word", "said", "hint"),
    [
        ("lora", "lora serves several models: a, b.", "Write lora::b, for example."),
        ("lora::c", "lora does not serve c.", "It serves a, b."),
        ("smok", "No endpoint called smok answers now.", "Did you mean smoke?"),
        ("", "No endpoint called", "There are: smoke, lora."),
        ("0abc", "Several endpoints are called 0abc.", "Name one by its id: 0abcdef, 0abcxyz."),
    ],
)
def test_what_is_not_there_is_said(word: str, said: str, hint: str) -> None:
    with pytest.raises((NotFound, RecipeInvalid), match=said.replace(".", r"\.")) as error:
        find(word, KNOWN)
    assert error.value.hint == hint


def test_an_address_that_nobody_kept_is_asked_for_its_models() -> None:
    with FakeChat({"one": Script()}) as server:
        found = find(server.url.removesuffix("/v1"), KNOWN)
    assert found.model == "one" and found.endpoint.base_url == server.url


def test_labels_tell_models_of_one_name_apart_and_stay() -> None:
    same = ONE.model_copy(update={"name": "other", "models": ("a",)})

    def labels(asked: list[Asked], *names: str, known: tuple = ()) -> list[str]:
        found = contestants(asked, names, lambda one: ("vllm", "/m"), known)
        return [one.label for one in found]

    both = [Asked(TWO, "a"), Asked(same, "a")]
    assert labels(both) == ["a @ lora", "a @ other"]
    assert labels(both, "x", "y") == ["x", "y"]
    before = (contestant("a @ lora", endpoint="lora", model="a"),)
    assert labels(both[:1], known=before) == ["a @ lora"]
    with pytest.raises(RecipeInvalid, match="Two models would both be called x"):
        labels(both, "x", "x")


def test_a_label_never_comes_to_mean_another_model(tmp_path: Path) -> None:
    before, now = contestant("m", source="/base"), contestant("m", source="/other")
    with pytest.raises(RecipeInvalid, match="m was /base before and is /other now"):
        check_known(before, now)
    check_known(before, before)
    check_known(None, now)
    check_known(before, contestant("m"))  # a foreign server does not say what it loaded


def test_who_a_word_meant_when_its_server_was_still_there() -> None:
    old = contestant("m", run="0abcdef", endpoint="smoke", model="tiny")
    for word in ("0abcdef::tiny", "smoke", "http://127.0.0.1:1/v1", "http://127.0.0.1:1"):
        assert meant(word, [old]) is old
    assert meant("smoke::other", [old]) is None and meant("x", [old]) is None
