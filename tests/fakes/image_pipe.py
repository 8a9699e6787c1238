"""A pipe of the image editor without a model: same words, pictures of one colour.

The prompt says what goes wrong: `oom:fp8@2` runs out of memory on that rung at step 2 (several:
`oom:whole@1,fp8@2`), `crash`, `kill`, `refuse`, `bad`, `noise`, `garble`, `slow`. FAKE_IMAGE_LOAD
says what goes wrong while loading: `oom:whole`, `kill:whole`, `crash`, `hang`. FAKE_IMAGE_RUNGS
names the ladder.
"""

import argparse
import json
import os
import signal
import sys
import threading
import time
import zlib
from pathlib import Path
from struct import pack

parser = argparse.ArgumentParser()
parser.add_argument("--config", required=True)
parser.add_argument("--skip", default="")
given = parser.parse_args()
events = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)
cancelled = set()
commands = []
arrived = threading.Condition()


def say(event, **facts):
    events.write(json.dumps({"event": event, **facts}) + "\n")
    events.flush()


def listen():
    for line in sys.stdin:
        command = json.loads(line)
        if command["do"] == "cancel":
            cancelled.add(command["job"])
            continue
        with arrived:
            commands.append(command)
            arrived.notify()
    os._exit(0)


def edit(job, told):
    words = told["prompt"]
    say("stage", job=job, stage="encode")
    broken = dict(pair.split("@") for pair in faults(words, "oom"))
    if "refuse" in words:
        return say("error", job=job, message="The pipeline wants more.", hint="Give it more.")
    if "bad" in words:
        return say("error", job=job, message="There is no such thing.", hint="", bad=True)
    if "garble" in words:
        return say("done", job=job)
    if "noise" in words:
        print("a library prints", flush=True)
        print("a library warns", file=sys.stderr, flush=True)
        events.write("not json\n[1]\n")
    say("stage", job=job, stage="steps")
    for variant in range(len(told["seeds"])):
        for step in range(1, told["steps"] + 1):
            time.sleep(0.05 if "slow" in words else 0.001)
            if broken.get(rung) == str(step):
                say("oom", job=job, stage="step", step=step, message="tried to allocate 2 GiB")
                os._exit(77)
            if "crash" in words:
                print("Traceback: something broke inside", file=sys.stderr, flush=True)
                os._exit(3)
            if "kill" in words:
                os.kill(os.getpid(), signal.SIGKILL)
            if job in cancelled:
                return say("cancelled", job=job)
            say("step", job=job, step=step, of=told["steps"], variant=variant, step_s=0.01)
            if told["preview_every"] and step % told["preview_every"] == 0:
                path = f"{told['out']}/preview.png"
                draw(path, 32, 32, (128, 128, 128))
                say("preview", job=job, path=path, step=step)
    say("stage", job=job, stage="decode")
    pictures = []
    for number, seed in enumerate(told["seeds"]):
        colour = (seed % 256, told["steps"] % 256, 128)
        path = Path(told["out"], f"out-{number}.png")
        draw(path, told["width"], told["height"], colour)
        pictures.append(str(path))
    timings = {"encode_s": 0.1, "step_s": 0.01, "decode_s": 0.02, "total_s": 0.2}
    return say(
        "done",
        job=job,
        pictures=pictures,
        seeds=told["seeds"],
        timings=timings,
        peaks={"cards": [7 * 2**30], "host": 2**30},
        cached={"prompt": True, "references": 1},
    )


def draw(path, width, height, colour):
    """Write a PNG by hand: importing Pillow would take longer than everything else here."""

    def chunk(kind, body):
        return pack(">I", len(body)) + kind + body + pack(">I", zlib.crc32(kind + body))

    head = chunk(b"IHDR", pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    rows = zlib.compress((b"\0" + bytes(colour) * width) * height)
    picture = b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", rows) + chunk(b"IEND", b"")
    Path(path).write_bytes(picture)


def faults(words, kind):
    named = [word.partition(":")[2] for word in words.split() if word.startswith(kind + ":")]
    return [one for part in named for one in part.split(",")]


threading.Thread(target=listen, daemon=True).start()
loading = os.environ.get("FAKE_IMAGE_LOAD", "")
names = os.environ.get("FAKE_IMAGE_RUNGS", "whole,fp8,cpu").split(",")
skip = given.skip.split(",")
ladder = [
    {"rung": name, "fits": name not in skip, "why": "fake", "card_bytes": [], "host_bytes": 0,
     "step_s": 0.5 * 2**place, "load_s": 1.0}
    for place, name in enumerate(names)
]  # fmt: skip
rung = next((name for name in names if name not in skip), None)
if "crash" in loading:
    print("ImportError: no torch here", file=sys.stderr, flush=True)
    sys.exit(1)
if rung is None:
    say("no-rung", message="No rung fits this machine.", ladder=ladder)
    sys.exit(78)
say("rung", rung=rung, why=f"{rung} fits.", ladder=ladder)
while "hang" in loading:
    time.sleep(0.1)
if rung in faults(loading, "oom"):
    say("oom", job=None, stage="load", step=None, message="tried to allocate 38 GiB")
    os._exit(77)
if rung in faults(loading, "kill"):
    os.kill(os.getpid(), signal.SIGKILL)
say("loaded", seconds=0.1, peaks={"cards": [6 * 2**30], "host": 2**30})
while True:
    with arrived:
        arrived.wait_for(lambda: commands)
        command = commands.pop(0)
    if command["do"] == "quit":
        sys.exit(0)
    edit(command["job"], command)
