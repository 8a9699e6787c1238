"""Logs are read by byte offset, whole lines and whole characters."""

from __future__ import annotations

from pathlib import Path

from studio.jobs.logs import clean, last_lines, read_from, search


def test_follow_by_offset_gives_every_byte_once(tmp_path: Path) -> None:
    path = tmp_path / "log.txt"
    lines = [f"第 {n} 行 line\n" for n in range(5000)]
    path.write_text("".join(lines), encoding="utf-8")
    offset, seen = 0, ""
    while True:
        chunk = read_from(path, offset, limit=4096)
        if chunk.offset == offset:
            break
        assert len(chunk.text.encode()) <= 4096
        seen, offset = seen + chunk.text, chunk.offset
    assert seen == "".join(lines)
    with open(path, "a", encoding="utf-8") as file:
        file.write("more")
    assert read_from(path, offset).text == "more"


def test_half_a_character_waits_for_the_rest(tmp_path: Path) -> None:
    path = tmp_path / "log.txt"
    raw = "训练".encode()
    path.write_bytes(raw[:4])
    first = read_from(path)
    assert (first.text, first.offset) == ("训", 3)
    path.write_bytes(raw)
    assert read_from(path, first.offset).text == "练"


def test_negative_offset_begins_at_a_line(tmp_path: Path) -> None:
    path = tmp_path / "log.txt"
    path.write_text("one\ntwo\nthree\n")
    assert read_from(path, -8).text == "three\n"
    assert read_from(tmp_path / "none.txt").text == ""


def test_progress_bars_fold_and_colours_go(tmp_path: Path) -> None:
    path = tmp_path / "log.txt"
    path.write_text("\x1b[31mred\x1b[0m\n 10%|#\r 20%|##\r 30%|###\ndone\n")
    assert last_lines(path, 10) == ["red", " 30%|###", "done"]
    assert clean("a\r\nb") == "a\nb"


def test_search_gives_line_numbers(tmp_path: Path) -> None:
    path = tmp_path / "log.txt"
    path.write_text("ok\nCUDA Error here\nok\nerror again\n")
    assert list(search(path, "ERROR")) == [(2, "CUDA Error here"), (4, "error again")]
    assert list(search(path, "error", limit=1)) == [(2, "CUDA Error here")]
