"""What each operation leaves, on data small enough to know the answer."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from studio.core.errors import DataInvalid
from studio.data.library import DataSets
from studio.data.model import Convert, Deduplicate, Filter, Sample, Split
from studio.data.operations import operation
from studio.data.seen import Seen

Written = Callable[..., Path]


@pytest.fixture
def ten(data: DataSets, written: Written) -> DataSets:
    """A data set `ten` of ten rows, q0 to q9, whose answers grow from 10 to 100 characters."""
    rows = [{"instruction": f"q{n}", "output": "a" * (10 * n + 10)} for n in range(10)]
    data.add(written(rows), "ten")
    return data


def asked(data: DataSets, name: str) -> list[str]:
    return [row["instruction"] for row in data.rows(name)]


def test_every_operation_makes_the_next_version(ten: DataSets) -> None:
    before = ten.get("ten").path.read_bytes()
    [second] = ten.apply("ten", Filter(max_chars=60))
    [third] = ten.apply("ten", Sample(rows=2))
    assert (second.key, third.key) == ("ten.v2", "ten.v3")
    assert second.rows == 5 and third.rows == 2
    assert [v.newest for v in ten.versions("ten")] == [False, False, True]
    assert third.origin["of"] == "ten.v2" and third.origin["op"] == "sample"
    assert ten.get("ten.v1").path.read_bytes() == before
    [other] = ten.apply("ten.v1", Filter(min_chars=62), as_name="long ones")
    assert (other.key, other.rows) == ("long-ones.v1", 5)


@pytest.mark.parametrize(
    ("op", "left"),
    [
        (Filter(min_chars=92), ["q9", "q8"]),
        (Filter(max_chars=22), ["q0", "q1"]),
        (Filter(contains="Q3"), ["q3"]),
        (
            Filter(contains="q3", exclude=True),
            ["q0", "q1", "q2", "q4", "q5", "q6", "q7", "q8", "q9"],
        ),
        (Filter(matches="^q[2-4]"), ["q2", "q3", "q4"]),
        (Filter(matches="a{95}"), ["q9"]),
        (Filter(matches="(a+)+b|q7"), ["q7"]),
        (Filter(min_chars=50, matches="[01]$", max_chars=70), None),
    ],
)
def test_filters(op: Filter, left: list[str] | None, ten: DataSets) -> None:
    if left is None:
        with pytest.raises(DataInvalid, match="No row is left"):
            ten.apply("ten", op)
        assert [v.key for v in ten.versions("ten")] == ["ten.v1"]
    else:
        ten.apply("ten", op)
        assert sorted(asked(ten, "ten")) == sorted(left)


def test_duplicates(data: DataSets, written: Written) -> None:
    rows = [
        {"instruction": "Hello there", "output": "Hi."},
        {"instruction": "Hello there", "output": "Hi."},
        {"instruction": "hello,  THERE!", "output": "Ｈi"},
        {"instruction": "hello", "output": "there hi"},
    ]
    data.add(written(rows), "it")
    [exact] = data.apply("it", Deduplicate(), as_name="exact")
    [text] = data.apply("it", Deduplicate(by="text"), as_name="text")
    [dropped] = data.apply("it", Filter(drop=("duplicate",)), as_name="dropped")
    assert (exact.rows, text.rows, dropped.rows) == (3, 2, 3)
    assert asked(data, "text") == ["Hello there", "hello"]


def test_a_split_is_a_partition_and_repeats_itself(ten: DataSets) -> None:
    train, val = ten.apply("ten", Split(val=0.3, seed=7))
    assert (train.name, train.rows, val.name, val.rows) == ("ten-train", 7, "ten-val", 3)
    both = asked(ten, "ten-train") + asked(ten, "ten-val")
    assert sorted(both) == asked(ten, "ten")
    again = ten.apply("ten", Split(val=3, seed=7, train_name="t", val_name="v"))
    assert asked(ten, "v") == asked(ten, "ten-val") and again[1].rows == 3
    ten.apply("ten", Split(val=3, seed=8, train_name="t2", val_name="v2"))
    assert asked(ten, "v2") != asked(ten, "v")
    with pytest.raises(DataInvalid, match="already"):
        ten.apply("ten", Split(val=0.3))


def test_a_sample_keeps_the_order(ten: DataSets) -> None:
    ten.apply("ten", Sample(rows=4, seed=1), as_name="a")
    ten.apply("ten", Sample(rows=4, seed=1), as_name="b")
    assert asked(ten, "a") == asked(ten, "b") == sorted(asked(ten, "a"))
    assert len(set(asked(ten, "a"))) == 4


@pytest.mark.parametrize(
    ("op", "words"),
    [
        (Sample(rows=0), "cannot be drawn"),
        (Sample(rows=10), "cannot be drawn"),
        (Split(val=0.01), "one side"),
        (Split(val=10), "one side"),
        (Filter(matches="("), "not a regular expression"),
        (Filter(matches="(?=look)"), "not a regular expression"),
        (Filter(matches="a" * 2000), "2000 characters"),
        (Filter(drop=("empty",)), "not a fault of rows that are kept"),
        (Convert(kind="alpaca"), "alpaca already"),
    ],
)
def test_operations_that_make_no_sense(op: Any, words: str, ten: DataSets) -> None:
    with pytest.raises(DataInvalid, match=words):
        ten.apply("ten", op)
    assert not list(ten.folder.rglob("*.part"))


def test_operations_by_name() -> None:
    assert operation("sample", {"rows": 3}) == Sample(rows=3, seed=42)
    assert operation("filter", {"drop": ["long"]}) == Filter(drop=("long",))
    for name, settings, words in (
        ("sampel", {}, "Did you mean sample"),
        ("sample", {"row": 3}, "Did you mean rows"),
        ("sample", {}, "cannot be used"),
    ):
        with pytest.raises(DataInvalid) as caught:
            operation(name, settings)
        assert words in str(caught.value)


def test_conversion_there_and_back_loses_nothing(data: DataSets, written: Written) -> None:
    messages = [
        {"role": "system", "content": "be kind"},
        {"role": "user", "content": "one"},
        {"role": "assistant", "content": "1"},
        {"role": "user", "content": "two"},
        {"role": "assistant", "content": "2"},
    ]
    plain = [m for m in messages[1:3]]
    data.add(written([{"messages": messages}, {"messages": plain}]), "it")
    before = data.rows("it")
    data.apply("it", Convert(kind="alpaca"))
    assert data.rows("it") == [
        {
            "instruction": "two",
            "input": "",
            "output": "2",
            "system": "be kind",
            "history": [["one", "1"]],
        },
        {"instruction": "one", "input": "", "output": "1", "system": "", "history": []},
    ]
    data.apply("it", Convert(kind="sharegpt"))
    data.apply("it", Convert(kind="openai"))
    assert data.rows("it") == before and data.get("it").version == 4


def test_conversion_refuses_what_would_be_lost(data: DataSets, written: Written) -> None:
    call = {"role": "assistant", "content": "", "tool_calls": [{"function": {"name": "f"}}]}
    row = {
        "messages": [
            {"role": "user", "content": "a"},
            call,
            {"role": "tool", "content": "1"},
            {"role": "assistant", "content": "b"},
        ]
    }
    data.add(written([row]), "it")
    with pytest.raises(DataInvalid, match="Row 1 has a function call"):
        data.apply("it", Convert(kind="alpaca"))
    data.apply("it", Convert(kind="sharegpt"))
    with pytest.raises(DataInvalid, match="without loss"):
        data.apply("smoke_text", Convert(kind="alpaca"))


def test_merging(ten: DataSets, written: Written) -> None:
    ten.add(written([{"prompt": "p", "response": "r", "system": "s"}], "other.jsonl"), "other")
    made = ten.merge(["ten", "other", "smoke_zh_en"], "all of it")
    assert made.name == "all-of-it" and made.rows == 10 + 1 + ten.get("smoke_zh_en").rows
    rows = ten.rows("all-of-it", 0, 12)
    assert rows[0]["system"] == "" and rows[10]["system"] == "s"
    with pytest.raises(DataInvalid, match="ten is alpaca, smoke_text pretrain"):
        ten.merge(["ten", "smoke_text"], "x")
    with pytest.raises(DataInvalid, match="Two data sets"):
        ten.merge(["ten"], "x")


def test_hashes_go_to_a_file_when_there_are_many() -> None:
    seen = Seen(in_memory=3)
    assert [seen.first(f"{n % 10}".encode(), n + 1) for n in range(20)] == [0] * 10 + [
        *range(1, 11)
    ]
    seen.close()
