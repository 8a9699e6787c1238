"""Entry: `python studio/envs NAME --variant cpu --home HOME`, from any working directory."""

import sys
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parents[2])

from studio.envs.build import main  # noqa: E402

if __name__ == "__main__":
    sys.exit(main())
