"""Help texts of real versions become sets of flags, and settings are spelled as those know them."""

from __future__ import annotations

import pytest
from engines.recorded_flags import VLLM, flags_of

from studio.core.errors import RecipeInvalid
from studio.engines.flags import Flags
from studio.envs.flags import parse_help

HELP = """
usage: tool [options]
  See --not-an-option for more.

options:
  --first, --no-first   Turns it on. With --prose it is off.
  --second {a,b}, -s {a,b}
                        --also-prose at the start of a line
  -q, --quiet
"""


def test_only_heads_of_options_are_flags() -> None:
    assert parse_help(HELP) == {"--first", "--no-first", "--second", "--quiet"}


@pytest.mark.parametrize(("version", "count"), [("0.26.0", 348), ("0.32.0", 406), ("0.33.0", 411)])
def test_real_help_texts(version: str, count: int) -> None:
    known = flags_of("vllm", version)
    assert {"--model", "--port", "--enable-prefix-caching", "--speculative-config"} <= known
    assert "--also-prose" not in known and "--swap-space" not in known
    assert len(known) == count


def test_what_changed_between_the_versions() -> None:
    old, mid, new = (flags_of("vllm", version) for version in VLLM)
    assert "--no-enable-prefix-caching" in old & mid and "--disable-prefix-caching" not in old | mid
    assert "--disable-prefix-caching" in new and "--no-enable-prefix-caching" not in new
    assert "--max-num-partial-prefills" in old - mid


def test_the_spelling_follows_the_version() -> None:
    both = (("--no-enable-x",), ("--disable-x",))
    assert Flags("vLLM").spell("enable_x", *both) == both[0]
    assert Flags("vLLM", "1", frozenset({"--no-enable-x"})).spell("enable_x", *both) == both[0]
    new = Flags("vLLM", "2", frozenset({"--disable-y"}))
    with pytest.raises(RecipeInvalid, match=r"vLLM 2 has no --gone, which going needs\. Leave"):
        new.spell("going", ("--gone", "1"), ("--went", "1"))


def test_extra_arguments() -> None:
    known = Flags("vLLM", "0.32.0", flags_of("vllm", "0.32.0"))
    fine = ["--max_num_seqs", "4", "--max-num-seqs=4", "-q", "awq", "--compilation-config.mode=3"]
    known.check([*fine, "--no-enable-prefix-caching", "--hf-overrides", '{"--odd": 1}'])
    with pytest.raises(RecipeInvalid, match=r"has no --max-num-sqs.*Did you mean --max-num-seqs\?"):
        known.check(["--max-num-sqs=4"])
    with pytest.raises(RecipeInvalid, match=r"vLLM 0\.32\.0 has no --swap-space"):
        known.check(["--swap-space", "4"])
    Flags("vLLM").check(["--whatever"])


def test_unlisted_opposites_are_still_taken() -> None:
    """0.33 hides `--no-enable-x` from its help, and accepts it."""
    known = Flags("vLLM", "0.33.0", flags_of("vllm", "0.33.0"))
    known.check(["--no-enable-prefix-caching", "--no-disable-uvicorn-access-log"])
