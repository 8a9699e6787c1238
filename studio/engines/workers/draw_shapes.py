"""Draw pictures of coloured shapes, and conversations about them; then start what learns from them.

Needs Pillow and nothing else. The recipe `llamafactory/make-tiny-vl` runs it in front of
LLaMA-Factory, which takes its place (exec), so that the run has one process:

    python draw_shapes.py --data data --pictures 10000 -- llamafactory-cli train train.yaml

The same seed gives the same pictures (`shape_pictures`) and conversations (`shape_talk`).
"""

from __future__ import annotations

import argparse
import json
import os
import random
from pathlib import Path

from shape_pictures import draw
from shape_talk import lessons


def main() -> None:
    """Draw, write the data set `shapes`, and become the command that follows `--`."""
    args = parse_args()
    count = write_dataset(args.data, pictures=args.pictures, seed=args.seed)
    print(f"[draw] {args.pictures} pictures, {count} conversations in {args.data}", flush=True)
    if args.then:
        os.execvp(args.then[0], args.then)


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--data", type=Path, required=True, help="data folder to write")
    parser.add_argument("--pictures", type=int, default=10000, help="how many to draw")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("then", nargs="*", help="command to become, after --")
    return parser.parse_args()


def write_dataset(folder: Path, *, pictures: int, seed: int) -> int:
    """Write pictures, conversations and dataset_info.json; return how many conversations."""
    rng = random.Random(seed)
    shots = folder / "pictures"
    shots.mkdir(parents=True, exist_ok=True)
    drawings = []
    for number in range(pictures):
        drawings.append(draw(rng))
        drawings[-1].image().save(shots / f"{number:05}.png")
    talks = lessons(drawings, rng)
    lines = [json.dumps(talk, ensure_ascii=False) for talk in talks]
    (folder / "shapes.json").write_text("[\n" + ",\n".join(lines) + "\n]\n", "utf-8")
    tags = {"role_tag": "role", "content_tag": "content", "user_tag": "user"}
    info = {
        "shapes": {
            "file_name": "shapes.json",
            "formatting": "sharegpt",
            "columns": {"messages": "messages", "images": "images"},
            "tags": {**tags, "assistant_tag": "assistant", "system_tag": "system"},
        }
    }
    (folder / "dataset_info.json").write_text(json.dumps(info, indent=2) + "\n", "utf-8")
    return len(talks)


if __name__ == "__main__":
    main()
