"""Progress bars in an engine's log."""

from __future__ import annotations

from pathlib import Path

from studio.engines.bars import last_bar


def test_bars_are_read_from_the_end_of_a_log(tmp_path: Path) -> None:
    log = tmp_path / "log.txt"
    assert last_bar(log) is None
    log.write_text(
        "Loading weights: 100%|##########| 26/26 [00:00<00:00, 9.1it/s]\n"
        "  0%|          | 0/20 [00:00<?, ?it/s]\r 25%|##5       | 5/20 [00:02<01:06,  2.2it/s]"
    )
    assert last_bar(log) == ("", 5, 20, 66.0)
    assert last_bar(log, "^Loading") == ("Loading weights", 26, 26, 0.0)
    assert last_bar(log, "^Writing") is None
