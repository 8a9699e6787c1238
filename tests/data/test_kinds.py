"""Every kind and format, from the file to the row that LLaMA-Factory will read."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from studio.core.errors import DataInvalid
from studio.data.library import DataSets

Written = Callable[..., Path]

TALK = [{"from": "human", "value": "hi"}, {"from": "gpt", "value": "yo"}]
SAID = [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "yo"}]
LINE = {"instruction": "hi", "input": "", "output": "yo"}
SYSTEM = {"role": "system", "content": "be kind"}
CALL = {"function": {"name": "f", "arguments": '{"a": 1}'}}


@pytest.mark.parametrize(
    ("given", "kind", "kept"),
    [
        ({"instruction": "hi", "output": "yo"}, "alpaca", LINE),
        ({"prompt": "hi", "response": "yo"}, "alpaca", LINE),
        ({"Question": "hi", "Answer": "yo", "id": 7}, "alpaca", LINE),
        ({"query": "hi", "response": "yo"}, "alpaca", LINE),
        ({"input": "hi", "output": "yo"}, "alpaca", LINE),
        ({"问题": "hi", "答案": "yo"}, "alpaca", LINE),
        ({"instruction": "hi", "input": "you", "output": "yo"}, "alpaca", {**LINE, "input": "you"}),
        (
            {"instruction": "hi", "output": "yo", "system": "be kind", "history": [["a", "b"]]},
            "alpaca",
            {**LINE, "system": "be kind", "history": [["a", "b"]]},
        ),
        ({"conversations": TALK}, "sharegpt", {"conversations": TALK}),
        (
            {"conversations": [{"from": "User", "value": "hi"}, {"from": "bot", "value": "yo"}]},
            "sharegpt",
            {"conversations": TALK},
        ),
        (
            {"conversations": TALK, "system": "be kind", "tools": "[]"},
            "sharegpt",
            {"conversations": [{"from": "system", "value": "be kind"}, *TALK], "tools": "[]"},
        ),
        ({"messages": SAID}, "openai", {"messages": SAID}),
        ({"messages": [SYSTEM, *SAID]}, "openai", {"messages": [SYSTEM, *SAID]}),
        (
            {
                "messages": [
                    SAID[0],
                    {"role": "assistant", "content": None, "tool_calls": [CALL]},
                    {"role": "tool", "content": "1"},
                    {"role": "tool", "content": "2"},
                    SAID[1],
                ],
                "tools": [{"name": "f"}],
            },
            "openai",
            {
                "messages": [
                    SAID[0],
                    {
                        "role": "function_call",
                        "content": '[{"name": "f", "arguments": {"a": 1}}]',
                    },
                    {"role": "tool", "content": "1\n</tool_response>\n<tool_response>\n2"},
                    SAID[1],
                ],
                "tools": '[{"name": "f"}]',
            },
        ),
        (
            {"prompt": "hi", "chosen": "yo", "rejected": "no"},
            "preference",
            {
                "conversations": TALK[:1],
                "chosen": TALK[1],
                "rejected": {"from": "gpt", "value": "no"},
            },
        ),
        (
            {"conversations": TALK[:1], "chosen": TALK[1], "rejected": "no"},
            "preference",
            {
                "conversations": TALK[:1],
                "chosen": TALK[1],
                "rejected": {"from": "gpt", "value": "no"},
            },
        ),
        (
            {"chosen": SAID, "rejected": [SAID[0], {"role": "assistant", "content": "no"}]},
            "preference",
            {
                "conversations": TALK[:1],
                "chosen": TALK[1],
                "rejected": {"from": "gpt", "value": "no"},
            },
        ),
        (
            {"messages": SAID, "label": True},
            "kto",
            {"conversations": TALK, "kto_tag": True},
        ),
        (
            {"prompt": "hi", "completion": "yo", "label": "false"},
            "kto",
            {"conversations": TALK, "kto_tag": False},
        ),
        ({"text": "  as it is \n"}, "pretrain", {"text": "  as it is \n"}),
        ({"content": "plain", "url": "x"}, "pretrain", {"text": "plain"}),
        ({"prompt": "hi", "response": "yo", "label": "sports"}, "alpaca", LINE),
    ],
)
def test_a_record_becomes_this_row(
    given: dict[str, Any], kind: str, kept: dict[str, Any], data: DataSets, written: Written
) -> None:
    made = data.add(written([given]), "it")
    assert (made.kind, made.rows) == (kind, 1)
    assert data.rows("it") == [kept]


@pytest.mark.parametrize("file", ["d.json", "d.jsonl", "d.csv", "d.tsv", "d.parquet", "d.txt"])
def test_every_format_gives_the_same_rows(file: str, data: DataSets, tmp_path: Path) -> None:
    path, pairs = (
        tmp_path / file,
        [(f"question, {n}", f'an "answer" {n}\nof two lines') for n in range(300)],
    )
    rows = [{"question": q, "answer": a} for q, a in pairs]
    write(path, rows)
    made = data.add(path, "it")
    assert data.rows("it", 0, 1000) == [
        {"instruction": q, "input": "", "output": a} for q, a in pairs
    ]
    look = data.look(path)
    assert look.mapping == {"question": "prompt", "answer": "response"}
    assert look.raw[0] == rows[0] and not look.faults
    assert not look.whole and made.rows == 300


def write(path: Path, rows: list[dict[str, str]]) -> None:
    import csv

    import duckdb
    import orjson

    if path.suffix in (".csv", ".tsv"):
        with open(path, "w", newline="", encoding="utf-8") as file:
            given = "," if path.suffix == ".csv" else "\t"
            writer = csv.DictWriter(file, list(rows[0]), delimiter=given)
            writer.writeheader()
            writer.writerows(rows)
    elif path.suffix == ".parquet":
        lines = path.with_suffix(".lines")
        lines.write_bytes(b"\n".join(orjson.dumps(row) for row in rows))
        with duckdb.connect() as con:
            con.execute(f"COPY (SELECT * FROM read_json('{lines}')) TO '{path}' (FORMAT parquet)")
    elif path.suffix == ".json":
        path.write_bytes(orjson.dumps(rows, option=orjson.OPT_INDENT_2))
    else:
        path.write_bytes(b"\n".join(orjson.dumps(row) for row in rows))


def test_columns_are_mapped_by_hand(data: DataSets, written: Written) -> None:
    path = written([{"a": "hi", "b": "yo", "c": "x"}])
    look = data.look(path)
    assert look.kind is None and look.columns == ("a", "b", "c")
    assert look.faults[0].code == "columns"
    with pytest.raises(DataInvalid, match="No kind of data set fits"):
        data.add(path, "it")
    mapping = {"a": "prompt", "b": "response"}
    assert data.look(path, mapping).unused == ("c",)
    data.add(path, "it", mapping)
    assert data.rows("it") == [LINE]


@pytest.mark.parametrize(
    ("mapping", "words"),
    [
        ({"a": "promt"}, "Did you mean prompt"),
        ({"z": "prompt"}, "There are: a, b"),
        ({"a": "prompt", "b": "prompt"}, "Two columns"),
        ({"a": "system"}, "No kind"),
    ],
)
def test_a_mapping_that_cannot_be_is_refused(
    mapping: dict[str, str], words: str, data: DataSets, written: Written
) -> None:
    with pytest.raises(DataInvalid) as caught:
        data.add(written([{"a": "hi", "b": "yo"}]), "it", mapping)
    assert words in str(caught.value)


def test_pictures_are_found_beside_the_file(data: DataSets, tmp_path: Path) -> None:
    import orjson

    (tmp_path / "pictures").mkdir()
    for name in ("a.png", "b.png"):
        (tmp_path / "pictures" / name).write_bytes(b"\x89PNG" + name.encode())
    rows: list[dict[str, Any]] = [
        {"messages": SAID, "images": ["pictures/a.png"]},
        {"messages": SAID, "images": []},
        {"messages": SAID, "images": ["pictures/a.png", str(tmp_path / "pictures" / "b.png")]},
    ]
    path = tmp_path / "rows.jsonl"
    path.write_bytes(b"\n".join(map(orjson.dumps, rows)))
    pointed = data.add(path, "pointed")
    assert pointed.pictures == 3
    assert data.rows("pointed")[0]["images"] == [str(tmp_path / "pictures" / "a.png")]
    assert data.rows("pointed")[0]["messages"][0]["content"] == "<image>hi"
    assert data.rows("pointed")[2]["messages"][0]["content"] == "<image><image>hi"
    assert data.report("pointed").repaired["marks"] == 2
    data.add(path, "uploaded", upload=True)
    kept = [Path(name) for row in data.rows("uploaded") for name in row["images"]]
    assert all(name.parent == data.folder / "uploaded" / "pictures" for name in kept)
    assert kept[2].read_bytes() == b"\x89PNGb.png"


def test_pictures_among_the_parts_of_a_message(data: DataSets, tmp_path: Path) -> None:
    import orjson

    (tmp_path / "a.png").write_bytes(b"\x89PNG")
    parts = [
        {"type": "image_url", "image_url": {"url": "a.png"}},
        {"type": "text", "text": "what is this?"},
    ]
    rows = [{"messages": SAID}, {"messages": [{"role": "user", "content": parts}, SAID[1]]}]
    path = tmp_path / "rows.jsonl"
    path.write_bytes(b"\n".join(map(orjson.dumps, rows)))
    data.add(path, "it")
    plain, seen = data.rows("it")
    assert plain["images"] == []
    assert seen["messages"][0]["content"] == "<image>\nwhat is this?"
    assert seen["images"] == [str(tmp_path / "a.png")]


def test_a_picture_inside_a_parquet_file_is_written_out(data: DataSets, tmp_path: Path) -> None:
    import duckdb

    path = tmp_path / "d.parquet"
    with duckdb.connect() as con:
        con.execute(
            "COPY (SELECT '<image>what?' AS question, 'a cat' AS answer,"
            " [{'bytes': '\\x89PNGdata'::BLOB, 'path': 'x.png'}] AS images)"
            f" TO '{path}' (FORMAT parquet)"
        )
    data.add(path, "it")
    [row] = data.rows("it")
    assert Path(row["images"][0]).read_bytes() == b"\x89PNGdata"
    assert row["instruction"] == "<image>what?"


def test_lists_that_come_late_get_their_type_from_the_first_row(
    data: DataSets, written: Written
) -> None:
    rows: list[dict[str, Any]] = [
        {"instruction": f"q{n}", "output": "a" * 1000, "history": []} for n in range(1500)
    ]
    rows.append({"instruction": "last", "output": "a", "history": [["x", "y"]]})
    made = data.add(written(rows), "it")
    first, *rest = data.rows("it", 0, 2000)
    assert first["history"] == [["x", "y"]] and made.rows == 1501
    assert [row["instruction"] for row in rest] == [f"q{n}" for n in range(1500)]
    assert data.rows("it", 1400, 1)[0]["instruction"] == "q1399"
