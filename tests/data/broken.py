"""Files that something is wrong with, and what must be said of each: never a crash, never silence.

A file is refused as a whole, or its faults are named by line and the rest is kept, or it is
repaired and that is counted. `limit` lowers the longest record, so that a small file shows it.
"""

# ruff: noqa: E501

from __future__ import annotations

import codecs
import json
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

GOOD = '{"instruction": "你好", "output": "你好！"}'
OTHER = '{"instruction": "再见", "output": "下次见。"}'


@dataclass(frozen=True)
class Broken:
    """A file and what must be found in it."""

    name: str
    file: str
    data: bytes | Callable[[Path], None]
    faults: dict[int, str] = field(default_factory=dict)
    """Line -> code, all of them."""
    good: int = 0
    repaired: tuple[str, ...] = ()
    refused: str = ""
    """Words of the error, for a file that is refused as a whole."""
    limit: int | None = None
    upload: bool = True


def lines(*rows: str) -> bytes:
    return ("\n".join(rows) + "\n").encode()


def array(*rows: str) -> bytes:
    return ("[\n" + ",\n".join(rows) + "\n]\n").encode()


def said(*turns: tuple[str, str], **more: object) -> str:
    messages = [{"role": role, "content": content} for role, content in turns]
    return json.dumps({"messages": messages, **more}, ensure_ascii=False)


ASK, REPLY = ("user", "hi"), ("assistant", "hello")


def outside_link(folder: Path) -> None:
    outside = folder.parent / "outside.png"
    outside.write_bytes(b"\x89PNG")
    (folder / "inside.png").symlink_to(outside)
    rows = [said(("user", "<image>?"), REPLY, images=["inside.png"])]
    (folder / "d.jsonl").write_bytes(lines(*rows))


def circle_link(folder: Path) -> None:
    (folder / "a.png").symlink_to(folder / "b.png")
    (folder / "b.png").symlink_to(folder / "a.png")
    rows = [said(("user", "<image>?"), REPLY, images=["a.png"])]
    (folder / "d.jsonl").write_bytes(lines(*rows))


@cache
def packed(query: str) -> bytes:
    """Return a Parquet file of what a query answers; a bomb is packed once, not for every test."""
    import duckdb

    with tempfile.TemporaryDirectory() as folder, duckdb.connect() as con:
        con.execute(f"COPY ({query}) TO '{folder}/d.parquet' (FORMAT parquet)")
        return Path(folder, "d.parquet").read_bytes()


def parquet(folder: Path, query: str) -> None:
    (folder / "d.parquet").write_bytes(packed(query))


def bomb(folder: Path) -> None:
    """A hundred kilobytes that unpack to 64 MB cells, one row after the other."""
    parquet(folder, "SELECT 'q' AS question, repeat('a', 64000000) AS answer FROM range(3)")


def cut_parquet(folder: Path) -> None:
    parquet(folder, "SELECT 'q' AS question, 'a' || i AS answer FROM range(100) t(i)")
    path = folder / "d.parquet"
    path.write_bytes(path.read_bytes()[:-200])


def nested_parquet(folder: Path) -> None:
    parquet(
        folder,
        "SELECT * FROM (VALUES ([{'role': 'user', 'content': 'hi'},"
        " {'role': 'assistant', 'content': 'yo'}]), ([{'role': 'user', 'content': 'alone'}]),"
        " (NULL)) t(messages)",
    )


def picture_row(path: str) -> bytes:
    return lines(said(("user", "<image>?"), REPLY, images=[path]))


HEADER = "question,answer\n"

FILES = [
    # nothing there
    Broken("empty", "d.json", b"", refused="is empty"),
    Broken("space-only", "d.jsonl", b" \n\n\t \n", refused="is empty"),
    Broken("bom-only", "d.json", codecs.BOM_UTF8, refused="is empty"),
    Broken("empty-array", "d.json", b"[]\n", good=0),
    Broken("header-only", "d.csv", HEADER.encode(), good=0),
    # not a data file
    Broken("zip", "d.json", b"PK\x03\x04" + bytes(50), refused="ZIP"),
    Broken("gzip", "d.jsonl", b"\x1f\x8b" + bytes(50), refused="gzip"),
    Broken("picture", "d.json", b"\x89PNG\r\n" + bytes(50), refused="PNG"),
    # encodings
    Broken("bom", "d.jsonl", codecs.BOM_UTF8 + lines(GOOD, OTHER), good=2, repaired=("bom",)),
    Broken("bom-array", "d.json", codecs.BOM_UTF8 + array(GOOD), good=1, repaired=("bom",)),
    Broken(
        "utf-16",
        "d.jsonl",
        lines(GOOD, OTHER).decode().encode("utf-16"),
        good=2,
        repaired=("encoding",),
    ),
    Broken(
        "utf-16-be-no-mark",
        "d.json",
        array(GOOD, OTHER).decode().encode("utf-16-be"),
        good=2,
        repaired=("encoding",),
    ),
    Broken(
        "gb18030",
        "d.jsonl",
        lines(GOOD, OTHER).decode().encode("gb18030"),
        good=2,
        repaired=("encoding",),
    ),
    Broken(
        "gb18030-csv",
        "d.csv",
        "问题,答案\n什么是微调？,用自己的数据继续训练模型。\n".encode("gb18030"),
        good=1,
        repaired=("encoding",),
    ),
    Broken(
        "latin-1-line",
        "d.jsonl",
        lines(GOOD) + '{"instruction": "café", "output": "x"}\n'.encode("latin-1") + lines(OTHER),
        {2: "bytes"},
        good=2,
    ),
    Broken(
        "wrong-byte-in-array",
        "d.json",
        array(GOOD, '{"instruction": "\0", "output": "x"}', OTHER).replace(b"\0", b"\xff\xfe\xfa"),
        {3: "bytes"},
        good=2,
    ),
    Broken("utf-8-cut", "d.jsonl", lines(GOOD) + "你".encode()[:2], {2: "bytes"}, good=1),
    # JSON
    Broken(
        "truncated-array", "d.json", array(GOOD, OTHER)[:-20], {3: "truncated"}, good=1
    ),
    Broken("unclosed-array", "d.json", array(GOOD, OTHER)[:-3], {3: "unclosed"}, good=2),
    Broken("truncated-line", "d.jsonl", lines(GOOD, OTHER)[:-20], {2: "json"}, good=1),
    Broken(
        "trailing-comma-inside",
        "d.jsonl",
        lines(GOOD, '{"instruction": "a", "output": "b",}', OTHER),
        {2: "json"},
        good=2,
    ),
    Broken("trailing-comma", "d.json", b"[" + GOOD.encode() + b",]", good=1, repaired=("comma",)),
    Broken(
        "no-comma",
        "d.json",
        f"[\n{GOOD}\n{OTHER}\n]".encode(),
        good=2,
        repaired=("comma",),
    ),
    Broken(
        "open-quote",
        "d.json",
        array(GOOD, '{"instruction": "a, "output": "b"}', OTHER),
        {3: "string"},
        good=2,
    ),
    Broken(
        "open-quote-at-the-end",
        "d.json",
        array(GOOD, '{"instruction": "a", "output": "b}', OTHER),
        {3: "string"},
        good=2,
    ),
    Broken(
        "open-quote-pretty",
        "d.json",
        b'[\n {\n  "instruction": "a",\n  "output": "b\n },\n {\n  "instruction": "c",\n'
        b'  "output": "d"\n }\n]\n',
        {4: "string"},
        good=1,
    ),
    Broken(
        "brackets",
        "d.json",
        array(GOOD, '{"instruction": ["a"}, "output": "b"}', OTHER),
        {3: "json"},
        good=2,
    ),
    Broken("single-quotes", "d.jsonl", lines(GOOD, "{'instruction': 'a'}"), {2: "json"}, good=1),
    Broken(
        "deep-array", "d.json", array(GOOD, "[" * 100_000, OTHER), {3: "depth"}, good=2
    ),
    Broken(
        "deep-line",
        "d.jsonl",
        lines(GOOD, '{"instruction":' + "[" * 100_000 + "]" * 100_000 + "}", OTHER),
        {2: "depth"},
        good=2,
    ),
    Broken(
        "double-key",
        "d.jsonl",
        lines('{"instruction": "a", "output": "b", "output": "c"}', GOOD),
        {1: "double_key"},
        good=1,
    ),
    Broken(
        "nan",
        "d.jsonl",
        lines(GOOD, '{"instruction": "a", "output": NaN}', OTHER),
        {2: "number"},
        good=2,
    ),
    Broken(
        "infinity", "d.json", array('{"instruction": -Infinity, "output": "a"}', GOOD), {2: "number"}, good=1
    ),
    Broken(
        "huge-number",
        "d.jsonl",
        lines('{"instruction": "a", "output": ' + "9" * 10_000 + "}", GOOD),
        {1: "number"},
        good=1,
    ),
    Broken(
        "numbers", "d.jsonl", lines('{"instruction": 1, "output": 2.5}'), good=1, repaired=("number",)
    ),
    Broken(
        "nul-byte",
        "d.jsonl",
        lines(GOOD) + b'{"instruction": "a\x00b", "output": "c"}\n',
        {2: "nul"},
        good=1,
    ),
    Broken(
        "nul-escape", "d.jsonl", lines(r'{"instruction": "a\u0000", "output": "c"}', GOOD), {1: "nul"}, good=1
    ),
    Broken(
        "lone-surrogate",
        "d.jsonl",
        lines(r'{"instruction": "\ud83d", "output": "c"}', GOOD),
        {1: "surrogate"},
        good=1,
    ),
    Broken(
        "lines-of-strings", "d.jsonl", lines('"a"', '"b"'), {1: "not_object", 2: "not_object"}
    ),
    Broken("array-of-strings", "d.json", b'[\n"a",\n1,\nnull\n]', {2: "not_object", 3: "not_object", 4: "not_object"}),
    Broken(
        "lists-in-lines",
        "d.jsonl",
        lines('["a", "b"]', '["c", "d"]'),
        {1: "not_object", 2: "not_object"},
    ),
    Broken("one-object", "d.json", GOOD.encode(), good=1),
    Broken(
        "pretty-objects",
        "d.json",
        b'{\n "instruction": "a",\n "output": "b"\n}\n{\n "instruction": "",\n "output": "c"\n}\n',
        {5: "empty"},
        good=1,
    ),
    Broken(
        "wrapped",
        "d.json",
        f'{{"data": [\n{GOOD},\n{OTHER}\n], "version": 1}}'.encode(),
        good=2,
        repaired=("wrapped",),
    ),
    Broken("crlf", "d.jsonl", lines(GOOD, OTHER).replace(b"\n", b"\r\n"), good=2),
    Broken("huge-line", "d.jsonl", lines(GOOD, GOOD[:-2] + "x" * 5000 + '"}', OTHER), {2: "record_size"}, good=2, limit=1000),
    Broken(
        "huge-element", "d.json", array(GOOD, GOOD[:-2] + "x" * 5000 + '"}', OTHER), {3: "record_size"}, good=2, limit=1000
    ),
    Broken("half-a-million-lists", "d.jsonl", b'{"instruction": [' + b"[]," * 500_000 + b"1]}\n" + lines(GOOD), {1: "parts"}, good=1),
    Broken("huge-line-of-nothing", "d.jsonl", b"x" * 100_000, {1: "record_size"}, limit=1000),
    # formats that are mixed
    Broken("csv-in-jsonl", "d.jsonl", lines(GOOD, "a,b,c", OTHER), {2: "mixed"}, good=2),
    Broken(
        "array-then-lines", "d.json", array(GOOD) + lines(OTHER), {4: "mixed"}, good=2
    ),
    Broken("array-inside-lines", "d.jsonl", lines(GOOD, "[", OTHER), {2: "mixed"}, good=2),
    Broken("text", "d.jsonl", b"once upon a time\n", {1: "mixed"}),
    # tables
    Broken("open-quote-csv", "d.csv", (HEADER + 'a,b\n"c,d\ne,f\n').encode(), {3: "quote"}, good=2),
    Broken("quote-inside", "d.csv", (HEADER + '"a"b,c\nd,e\n').encode(), {2: "quote"}, good=1),
    Broken("ragged", "d.csv", (HEADER + "a,b\nc\nd,e,f\ng,h\n").encode(), {3: "cells", 4: "cells"}, good=2),
    Broken("no-header", "d.csv", "什么是 LoRA？,一种微调方法。\n1+1=?,2\n".encode(), {1: "columns"}, repaired=("no_header",)),
    Broken("double-column", "d.csv", b"question,answer,answer\na,b,c\n", {1: "double_key"}),
    Broken("nul-csv", "d.csv", HEADER.encode() + b"a,b\x00c\nd,e\n", {2: "nul"}, good=1),
    Broken("empty-cells", "d.tsv", b"question\tanswer\na\t\n\tb\nc\td\n", {2: "empty", 3: "empty"}, good=1),
    Broken("many-lines-cell", "d.csv", (HEADER + '"a\nb",c\n,d\n').encode(), {4: "empty"}, good=1),
    Broken("unknown-columns", "d.csv", b"x,y\n1,2\n", {2: "columns"}),
    # Parquet
    Broken("not-parquet", "d.parquet", b"PAR1" + bytes(100), {1: "parquet"}),
    Broken("cut-parquet", "d.parquet", cut_parquet, {1: "parquet"}),
    Broken("bomb", "d.parquet", bomb, {1: "record_size", 2: "record_size", 3: "record_size"}),
    Broken("nested-parquet", "d.parquet", nested_parquet, {2: "last", 3: "not_turns"}, good=1),
    # what rows say
    Broken(
        "empty-fields",
        "d.jsonl",
        lines('{"instruction": "", "output": "a"}', '{"instruction": "a", "output": " "}', '{"instruction": "a"}', GOOD),
        {1: "empty", 2: "empty", 3: "missing"},
        good=1,
    ),
    Broken(
        "nested-lists",
        "d.jsonl",
        lines(GOOD, '{"instruction": ["a", "b"], "output": "c"}', '{"instruction": "a", "output": {"b": 1}}'),
        {2: "nested", 3: "nested"},
        good=1,
    ),
    Broken("true-for-text", "d.jsonl", lines(GOOD, '{"instruction": true, "output": "c"}'), {2: "not_text"}, good=1),
    Broken(
        "roles",
        "d.jsonl",
        lines(
            said(ASK, REPLY),
            said(REPLY, ASK),
            said(ASK, ASK, REPLY),
            said(ASK),
            said(("narrator", "x"), REPLY),
            said(ASK, ("system", "late"), REPLY),
            '{"messages": []}',
            '{"messages": ["a", "b"]}',
            '{"messages": "hi"}',
            '{"messages": [[{"role": "user", "content": "a"}]]}',
        ),
        {2: "order", 3: "order", 4: "last", 5: "role", 6: "order", 7: "no_turns", 8: "turn", 9: "not_turns", 10: "turn"},
        good=1,
    ),
    Broken("duplicates", "d.jsonl", lines(GOOD, OTHER, GOOD), {3: "duplicate"}, good=3),
    Broken(
        "pairs",
        "d.jsonl",
        lines(
            '{"prompt": "q", "chosen": "a", "rejected": "b"}',
            '{"prompt": "q", "chosen": "a", "rejected": "a"}',
            '{"prompt": "q", "chosen": "a", "rejected": ""}',
            '{"prompt": "", "chosen": "a", "rejected": "b"}',
        ),
        {2: "same", 3: "empty", 4: "empty"},
        good=1,
    ),
    Broken(
        "labels",
        "d.jsonl",
        lines(*(f'{{"prompt": "q{n}", "completion": "a", "kto_tag": {label}}}' for n, label in enumerate(("true", "false", "null")))),
        {3: "label"},
        good=2,
    ),
    # pictures and tricks with paths
    Broken("no-picture", "d.jsonl", picture_row("cat.png"), {1: "picture_missing"}),
    Broken("parent-folder", "d.jsonl", picture_row("../../../../../../etc/passwd"), {1: "picture_outside"}),
    Broken("absolute-path", "d.jsonl", picture_row("/etc/passwd"), {1: "picture_outside"}),
    Broken("address", "d.jsonl", picture_row("https://example.org/cat.png"), {1: "picture_url"}),
    Broken("file-address", "d.jsonl", picture_row("file:///etc/passwd"), {1: "picture_url"}),
    Broken("link-outside", "d.jsonl", outside_link, {1: "picture_outside"}),
    Broken("links-in-a-circle", "d.jsonl", circle_link, {1: "picture_missing"}),
    Broken("nul-in-path", "d.jsonl", picture_row("a\0.png"), {1: "picture_missing"}),
    Broken("long-path", "d.jsonl", picture_row("a" * 5000 + ".png"), {1: "picture_missing"}),
    Broken("folder-for-picture", "d.jsonl", picture_row("."), {1: "picture_missing"}),
    Broken(
        "marks",
        "d.jsonl",
        lines(said(("user", "<image>?"), REPLY), said(ASK, REPLY)),
        {1: "marks"},
        good=1,
    ),
]  # fmt: skip
"""Every one of them, by what is wrong."""
