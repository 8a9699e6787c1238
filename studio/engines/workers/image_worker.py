"""The image editor's process: the HTTP front, or with `--pipe` the child that holds the pipeline.

python image_worker.py --config image.json
python image_worker.py --pipe --config image.json --skip whole,split
"""

from __future__ import annotations

import sys


def main() -> int:
    """Start the half that the command line asks for; only the pipe imports torch."""
    if "--pipe" in sys.argv[1:]:
        from image_edit.pipe import main as start
    else:
        from image_edit.serve import main as start
    return start([word for word in sys.argv[1:] if word != "--pipe"]) or 0


if __name__ == "__main__":
    sys.exit(main())
