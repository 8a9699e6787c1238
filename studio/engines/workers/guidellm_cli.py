"""`guidellm` with its key taken from OPENAI_API_KEY, so that no command line shows it."""

from __future__ import annotations

import os
import sys


def main() -> None:
    """Put the key into the settings of the back end and start GuideLLM's own command line."""
    from guidellm.cli import cli

    key, words = os.environ.get("OPENAI_API_KEY", ""), sys.argv[1:]
    if key and "--backend" in words:
        words[words.index("--backend") + 1] += f",api_key={key}"
    cli(words, prog_name="guidellm")


if __name__ == "__main__":
    main()
