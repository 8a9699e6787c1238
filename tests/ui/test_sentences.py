"""Every English sentence that a page may show has a Chinese one, and the two fit together."""

from __future__ import annotations

import re
import string
import time
from collections.abc import Iterator
from functools import cache
from typing import Any, Literal

import pytest
import yaml
from pydantic import BaseModel, ConfigDict, Field
from ui.english import HOLE, Source, numbered, sentences_of

from studio.chat.errors import SENTENCES
from studio.core.errors import NotFound, RecipeInvalid
from studio.core.recipes import check_settings
from studio.core.spec import State
from studio.envs.envs import EnvState, EnvStatus
from studio.telemetry.doctor import Finding
from studio.ui.i18n import words
from studio.ui.machine.view import checkup, environments
from studio.ui.sentences import pairs, sentences_path, translate

CHINESE = re.compile(r"[\u4e00-\u9fff]")
PLACE = re.compile(r"\{(\w+)\}")


@cache
def read() -> dict[str, Any]:
    """The file of pairs as it is; nobody changes what comes out."""
    text = sentences_path().read_text(encoding="utf-8")
    return yaml.load(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))


@cache
def table() -> dict[str, dict[str, str]]:
    """The file of pairs: its groups, merged, under `sentences` and `values`."""
    tree = read()
    return {
        part: {
            english: chinese for group in tree[part].values() for english, chinese in group.items()
        }
        for part in ("sentences", "clauses", "values")
    }


@cache
def source() -> Source:
    """What is said in the source at this moment."""
    return Source()


def ways(template: str) -> Iterator[list[str]]:
    """Yield how a template may be covered: whole, after a value, or sentence by sentence."""
    yield [template]
    yield [numbered(HOLE + PLACE.sub(HOLE, template))]
    yield [part for part in sentences_of(template) if part != "{0}"]


def cover(template: str, known: set[str]) -> set[str]:
    """Return the entries that make a template Chinese; empty when it cannot be."""
    return next((set(way) for way in ways(template) if way and known.issuperset(way)), set())


def test_everything_said_has_its_chinese() -> None:
    sentences, every = set(table()["sentences"]), set().union(*table().values())
    missing = [f"{where}: {t}" for t, where in source().sentences.items() if not cover(t, every)]
    missing += [f"{where}: {t}" for t, where in source().fragments.items() if not cover(t, every)]
    assert not missing, "no Chinese in assets/locales/sentences.zh.yaml for\n" + "\n".join(missing)
    assert cover("There is no run {0}.", sentences)


def test_nothing_is_kept_that_nobody_says_any_more() -> None:
    tree = read()
    every = set().union(*table().values())
    foreign = {*tree["values"]["pydantic"], *tree["values"]["system"]}
    used = foreign.union(
        *(cover(t, every) for t in (*source().sentences, *source().fragments)),
    )
    assert not every - used, "nobody says this any more:\n" + "\n".join(sorted(every - used))


@pytest.mark.parametrize("part", ["sentences", "clauses", "values"])
def test_both_sides_have_the_same_places(part: str) -> None:
    wrong = []
    for english, chinese in table()[part].items():
        left, right = PLACE.findall(english), PLACE.findall(chinese)
        assert left == [str(n) for n in range(len(left))], english
        assert "}{" not in english, f"where would one value end and the next begin? {english}"
        same = set(left) >= set(right) if part == "values" else set(left) == set(right)
        if not same or len(right) != len(set(right)):
            wrong.append(f"{english} -> {chinese}")
    assert not wrong, "\n".join(wrong)


def test_the_chinese_is_chinese() -> None:
    half = set(",:;?!") | {"..."}
    every = [pair for part in table().values() for pair in part.items()]
    for english, chinese in every:
        if re.search(r"[A-Za-z]{4}", PLACE.sub("", english)):
            assert CHINESE.search(chinese) or chinese == "{0}", english
        outside = re.sub(r"`[^`]*`|“[^”]*”|'[^']*'", "", chinese)
        left = [mark for mark in half if mark in outside]
        assert not left, f"half-width punctuation in {chinese}"
        assert not outside.endswith("."), chinese


def test_no_sentence_is_written_twice() -> None:
    found = re.findall(r'^    "(.*)":$', sentences_path().read_text(encoding="utf-8"), re.M)
    assert len(found) == len(set(found)) == sum(map(len, table().values()))


def test_failures_of_endpoints_use_the_words_of_the_chat_tab() -> None:
    for code, (message, hint) in SENTENCES.items():
        for part, english in (("says", message), ("hint", hint)):
            assert words("en")[f"chat.fault.{code}.{part}"] == english
            assert (english, "sentences") in pairs()


@pytest.mark.parametrize(
    ("english", "chinese"),
    [
        ("There is no run 01jd.", "没有运行 01jd。"),
        (
            "waiting for 2 idle card(s): 0 of 2 idle, 1 run(s) ahead",
            "等待 2 张空闲的卡：共 2 张，空闲 0 张，前面还有 1 个运行",
        ),
        (
            "waiting for card 0, 1: 1 of 4 idle; card 3 is used by somebody else",
            "等待 0, 1 号卡：共 4 张，空闲 1 张；3 号卡被他人占用",
        ),
        (
            "settings of vLLM: model is missing. modle is not a setting here. Did you mean model?",
            "vLLM 的设置：缺少 model。没有 modle 这项设置。是不是想写 model？",
        ),
        (
            "mine.yaml: engine is missing. title is missing.",
            "mine.yaml：缺少 engine。缺少 title。",
        ),
        (
            "Run 01jd is failed: run 01je, which this one needs, was lost.",
            "运行 01jd 的状态是“失败”：它依赖的运行 01je 失联了。",
        ),
        (
            "vLLM's environment is not built yet. Build it (about 0.7 GiB to download), or adopt "
            "one you already have.",
            "vLLM 的环境还没有构建。构建它（约下载 0.7 GiB），或接入你已有的环境。",
        ),
        (
            "/a/b.yaml cannot be read: [Errno 13] Permission denied: '/a/b.yaml'.",
            "无法读取 /a/b.yaml：没有权限（'/a/b.yaml'，错误码 13）。",
        ),
        ("The package index cannot be reached.", "连不上软件源。"),
        ("Nothing answers at http://a.", "http://a 没有响应。"),
        ("Nobody has said this before: not at all. Really.", None),
        ("There was a half. There is no run 01jd.", "There was a half. 没有运行 01jd。"),
        ("没有响应。", None),
        ("", None),
    ],
)
def test_examples(english: str, chinese: str | None) -> None:
    assert translate("en", english) == english
    assert translate("zh", english) == (english if chinese is None else chinese)


def test_a_strangers_words_stay_as_they_are() -> None:
    said = "http://a rejected the request: There is no such thing. Really."
    assert translate("zh", said).endswith("：There is no such thing. Really.")


class Strict(BaseModel):
    """A setting for every kind of fault."""

    model_config = ConfigDict(extra="forbid")

    above: float = Field(default=1, gt=0)
    least: int = Field(default=1, ge=1)
    below: float = Field(default=0, lt=1)
    most: int = Field(default=1, le=9)
    times: int = Field(default=8, multiple_of=8)
    number: float = 0.0
    yes: bool = True
    text: str = ""
    short: str = Field(default="abc", min_length=2, max_length=4)
    shaped: str = Field(default="a", pattern="^a")
    one_of: Literal["half", "float"] = "half"
    one_of_many: Literal["auto", "half", "float"] = "auto"
    items: list[int] = Field(default=[1, 2], min_length=2, max_length=3)
    pair: tuple[int, ...] = ()
    table: dict[str, int] = {}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("above", 0),
        ("least", 0),
        ("least", "many"),
        ("least", 1.5),
        ("least", [1]),
        ("below", 1),
        ("most", 10),
        ("times", 3),
        ("number", "x"),
        ("number", [1]),
        ("yes", "perhaps"),
        ("yes", [1]),
        ("text", 3),
        ("short", "a"),
        ("short", "abcde"),
        ("shaped", "b"),
        ("one_of", "no"),
        ("one_of_many", "no"),
        ("items", "no"),
        ("items", [1]),
        ("items", [1, 2, 3, 4]),
        ("pair", 3),
        ("table", 3),
        ("unknown", 3),
    ],
)
def test_faults_in_settings_are_chinese(name: str, value: Any) -> None:
    with pytest.raises(RecipeInvalid) as caught:
        check_settings(Strict, {name: value}, "settings of vLLM")
    said = translate("zh", caught.value.message)
    known = {"vLLM", "auto", "half", "float", "true", "false", *Strict.model_fields}
    english = set(re.findall(r"[A-Za-z_]{3,}", said.replace(repr(value), ""))) - known - {name}
    assert CHINESE.search(said) and not english, said


def test_states_inside_a_sentence_are_the_states_of_the_page() -> None:
    for state in State:
        assert words("zh")[f"state.{state}"] in translate("zh", f"Run 01jd is {state}.")


@pytest.mark.parametrize(
    "text",
    [
        "There is no run " + "x" * 100_000 + ".",
        ". " * 50_000,
        ": " * 50_000,
        "a: b. " * 16_000,
        "Run is : " * 11_000 + ".",
        "waiting for " + ": " * 20_000 + " of " * 20_000 + " idle",
        "run , which this one needs, " * 140,
        string.printable * 1000,
    ],
)
def test_no_text_takes_long(text: str) -> None:
    began = time.perf_counter()
    translate("zh", text)
    assert time.perf_counter() - began < 1.0


class Asked:
    """A request by somebody who reads Chinese."""

    headers = {"accept-language": "zh-CN,zh;q=0.9"}


def test_a_toast_speaks_the_language_of_who_asks(monkeypatch: pytest.MonkeyPatch) -> None:
    from gradio.context import LocalContext  # sets Gradio up, which other tests do themselves

    from studio.ui.errors import shown

    error = NotFound("There is no run 01jd.", hint="`ls` lists the runs.")
    assert shown(error, shown).message == f"{error.message}\n{error.hint}"
    before = LocalContext.request.set(Asked())  # type: ignore[arg-type]
    try:
        assert shown(error, shown).message == "没有运行 01jd。\n“运行”页里能看到全部运行。"
    finally:
        LocalContext.request.reset(before)


def test_a_broken_environment_is_explained_in_chinese() -> None:
    status = EnvStatus(
        name="vllm",
        title="vLLM",
        variant="cpu",
        state=EnvState.BROKEN,
        kind="built",
        python="/home/envs/vllm-cpu/bin/python",
        problem="vLLM's environment is not finished.",
        remedy="Build it again: it goes on from there.",
    )
    assert "vLLM 的环境没有构建完。再构建一次，会接着做完。" in environments("zh", [status], {}, 0)
    found = Finding("env_broken", "warn", {"title": status.title, "why": status.detail})
    assert "vLLM 的环境没有构建完。" in checkup("zh", [found])
