"""What uv draws on its terminal becomes counts, bytes and a log."""

from __future__ import annotations

from studio.envs.screen import UvScreen

SPIN, DIM, END, UP = "\x1b[37m⠙\x1b[0m ", "\x1b[2m", "\x1b[0m", "\r\x1b[1A\x1b[2K"
BAR = "-" * 30


def bar(name: str, done: str, total: str) -> str:
    return f"{name}     {DIM}{BAR}{END} {done}/{total}      "


def test_a_whole_installation():
    log: list[str] = []
    screen = UvScreen(log.append)
    assert (screen.share, screen.text) == (0.0, "asking the index")

    screen.feed(f"{SPIN}{DIM}numpy==2.4.6   {END}\r\x1b[2K{DIM}Resolved 8 packages in 2ms{END}\r\n")
    screen.feed(f"{SPIN}Preparing packages... (0/8)   ")
    screen.feed(f"{UP}{SPIN}Preparing packages... (2/8)   {bar('six', '9.00 KiB', '10.00 KiB')}")
    screen.feed(f"{bar('scipy', '15.00 MiB', '30.00 MiB')}\r\x1b[1A")
    assert screen.text == "2 of 8 packages, scipy 15 of 30 MiB"
    assert 0.35 < screen.share < 0.40, "between the packages (1/4) and the bytes (1/2)"

    screen.feed(f"\x1b[2K   Building deepspeed==0.19.8   {SPIN}Preparing packages... (7/8)  \r")
    assert screen.text == "7 of 8 packages, building deepspeed"
    screen.feed("\x1b[2KPrepared 8 packages in 6s\r\n")
    screen.feed("\x1b[2K██████░░░░ [5/8] numpy==2.4.6   \r")
    assert (screen.share, screen.text) == (1.0, "5 of 8 packages put in place")
    screen.feed("\x1b[2KInstalled 8 packages in 9ms\r\n + numpy==2.4.6\r\n")
    screen.close()

    assert log == [
        "Resolved 8 packages in 2ms",
        "downloading scipy (30 MiB)",
        "Prepared 8 packages in 6s",
        "Installed 8 packages in 9ms",
    ]
    assert screen.bytes_done == 30 * 2**20 + 10 * 2**10
    assert "+ numpy==2.4.6" in screen.lines, "kept for the explanation of a failure"


def test_it_does_not_matter_where_the_output_is_cut():
    text = f"{SPIN}Preparing packages... (3/9)  {bar('torch', '1.00 GiB', '2.00 GiB')}\rDone\r\n"
    whole, parts = UvScreen(lambda line: None), UvScreen(lambda line: None)
    whole.feed(text)
    for letter in text:
        parts.feed(letter)
    assert (parts.ready, parts.downloads, parts.lines) == (3, {"torch": (2**30, 2**31)}, ["Done"])
    assert (whole.ready, whole.downloads, whole.lines) == (3, parts.downloads, parts.lines)
