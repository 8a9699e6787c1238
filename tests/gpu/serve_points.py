"""Serving on real cards: plan against measured, the studio against the hand. Run by hand:

    LADDER_TEST_ENVS="vllm=/usr/bin/python3:/root/site-vllm" python3 tests/gpu/serve_points.py OUT

Weights are random ones of the true shapes (`--load-format dummy`). With four cards the studio's
server and the same `vllm serve` started by hand stand side by side; with two the pairs are those
that fit. Everything started is stopped; a table is printed and written to OUT/serve.json.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import subprocess
import sys
import tarfile
import time
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve()
sys.path[:0] = [str(HERE.parents[2]), str(HERE.parents[1]), str(HERE.parent)]

from load import load  # noqa: E402

from studio.core.settings import ROOT, Settings  # noqa: E402
from studio.core.spec import State  # noqa: E402
from studio.jobs.jobs import Run  # noqa: E402
from studio.jobs.shim import procs  # noqa: E402
from studio.jobs.shim.cards import read_cards  # noqa: E402
from studio.planner.measured import compare  # noqa: E402
from studio.planner.serving import ServingPlan  # noqa: E402
from studio.studio import Launch, Studio  # noqa: E402

SHAPES: dict[str, dict[str, int]] = {
    "qwen2.5-7b": {
        "hidden_size": 3584,
        "intermediate_size": 18944,
        "num_hidden_layers": 28,
        "num_attention_heads": 28,
        "num_key_value_heads": 4,
        "vocab_size": 152064,
    },
    "qwen2.5-14b": {
        "hidden_size": 5120,
        "intermediate_size": 13824,
        "num_hidden_layers": 48,
        "num_attention_heads": 40,
        "num_key_value_heads": 8,
        "vocab_size": 152064,
    },
}
LEN, USERS = (512, 128), 32
ROUNDS = 3


def model(folder: Path, name: str) -> Path:
    """Make a model folder of the true shape; the tokenizer is the tiny model's."""
    made = folder / name
    made.mkdir(parents=True, exist_ok=True)
    tiny = ROOT / "assets/models/tiny-qwen2.5"
    for file in ("tokenizer.json", "chat_template.jinja"):
        shutil.copy(tiny / file, made / file)
    tokenizer = json.loads((tiny / "tokenizer_config.json").read_text())
    tokenizer["model_max_length"] = 32768
    (made / "tokenizer_config.json").write_text(json.dumps(tokenizer))
    config = {
        **SHAPES[name],
        "architectures": ["Qwen2ForCausalLM"],
        "model_type": "qwen2",
        "max_position_embeddings": 32768,
        "rms_norm_eps": 1e-6,
        "rope_theta": 1000000.0,
        "hidden_act": "silu",
        "tie_word_embeddings": False,
        "torch_dtype": "bfloat16",
        "bos_token_id": 0,
        "eos_token_id": 2,
    }
    (made / "config.json").write_text(json.dumps(config))
    return made


class Session:
    """One sitting on the machine: launches, measures, stops, notes rows."""

    def __init__(self, out: Path) -> None:
        self.out = out
        self.home = Path("/tmp/ladder-home")
        self.studio = Studio(Settings(home=self.home))
        for item in filter(None, os.environ.get("LADDER_TEST_ENVS", "").split(",")):
            name, _, where = item.partition("=")
            python, *paths = where.split(":")
            self.studio.envs.adopt(name, Path(python), tuple(map(Path, paths)))
        self.rows: dict[str, list[dict[str, Any]]] = {"points": [], "load": [], "stop": []}
        self.before = used_mib()

    def launch(self, name: str, cards: list[int], **settings: Any) -> Run:
        """Launch one server on these cards through the studio's own door."""
        own = {
            "model": str(model(Path("/tmp/models"), name)),
            "served_model_name": name,
            "dtype": "bfloat16",
            "max_model_len": 8192,
            "load_format": "dummy",
            **settings,
        }
        return self.studio.launch(Launch(engine="vllm", settings=own, name=name, cards=cards))

    def ready(self, run: Run) -> Run:
        """Wait for READY; show the end of the log when that does not come."""
        try:
            return self.studio.jobs.wait(run.id, lambda r: r.state is State.READY, timeout_s=300)
        except Exception:
            print(run.dir.log.read_text()[-2500:], flush=True)
            raise

    def point(self, label: str, run: Run) -> None:
        """Note planned beside measured for a running server."""
        plan = ServingPlan.model_validate(run.dir.plan())
        found = compare(plan, run.dir)
        ready_s = time_of(run, "ready") - time_of(run, "running")
        used = {card.index: card.used // 2**20 for card in read_cards()}
        row: dict[str, Any] = {"point": label, "cards": run.cards, "ready_s": round(ready_s, 1)}
        row["used_mib"] = [used[card] for card in run.cards]
        row["rows"] = [vars(r) if hasattr(r, "__dict__") else r._asdict() for r in found.rows]
        self.rows["points"].append(row)
        print("POINT", json.dumps(row), flush=True)

    def stop(self, label: str, run: Run, *, kill: bool = False) -> None:
        """Stop, or kill the engine's first process; note what is left and how long it took."""
        began = time.monotonic()
        if kill:
            root = next(row["pid"] for row in run.dir.events() if row["phase"] == "running")
            os.kill(root, signal.SIGKILL)
        else:
            self.studio.jobs.stop(run.id)
        ended = self.studio.jobs.wait(run.id, timeout_s=90)
        took = time.monotonic() - began
        row = {
            "what": f"{label}: {'kill -9 of the front process' if kill else 'stop'}",
            "state": str(ended.state),
            "s": round(took, 2),
            "survivors": ended.result["survivors"] + procs.marked(run.id),
            "held": ended.result["gpu_memory_held"],
            "peak_gib": {c: round(b / 2**30, 2) for c, b in ended.result["peak_gpu_bytes"].items()},
        }
        self.rows["stop"].append(row)
        print("STOP", json.dumps(row), flush=True)

    def keep(self) -> None:
        """Write the rows and the logs out."""
        self.out.mkdir(parents=True, exist_ok=True)
        (self.out / "serve.json").write_text(json.dumps(self.rows, indent=1))
        with tarfile.open(self.out / "logs.tar.gz", "w:gz") as tar:
            for run in self.studio.jobs.list():
                for file in ("log.txt", "plan.json", "result.json", "command.sh", "served.jsonl"):
                    if (run.dir.folder / file).exists():
                        tar.add(run.dir.folder / file, f"{run.id}-{run.spec.name}/{file}")


class ByHand:
    """The very same command, started without the studio on other cards and another port."""

    def __init__(self, run: Run, cards: list[int], port: int) -> None:
        argv = [str(port) if word == str(run.spec.port) else word for word in run.spec.command.argv]
        env = {**os.environ, **run.spec.command.env}
        env["CUDA_VISIBLE_DEVICES"] = ",".join(map(str, cards))
        self.port = port
        self._log = Path(f"/tmp/hand-{port}.log")
        with self._log.open("w") as log:
            self._process = subprocess.Popen(
                argv, env=env, stdout=log, stderr=log, start_new_session=True
            )

    def ready(self) -> None:
        """Wait until it answers."""
        import urllib.request

        until = time.monotonic() + 300
        while time.monotonic() < until:
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{self.port}/health", timeout=2)
            except OSError:
                assert self._process.poll() is None, self._log.read_text()[-2500:]
                time.sleep(0.5)
            else:
                return
        raise TimeoutError(self._log)

    def stop(self) -> None:
        """End it and everything of its session."""
        self._process.send_signal(signal.SIGINT)
        try:
            self._process.wait(30)
        except subprocess.TimeoutExpired:
            pass
        try:
            os.killpg(self._process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass


def used_mib() -> list[int]:
    """Return the memory in use on every card, in MiB."""
    return [card.used // 2**20 for card in read_cards()]


def time_of(run: Run, phase: str) -> float:
    """Return when a run came into a phase."""
    return next(row["at"] for row in run.dir.events() if row["phase"] == phase)


def measured(port: int, name: str, users: int = USERS, count: int = 256, seed: int = 0) -> dict:
    """Put a load on a port of this machine and return its figures."""
    figures = asyncio.run(
        load(
            f"http://127.0.0.1:{port}/v1",
            name,
            requests=count,
            concurrency=users,
            input_len=LEN[0],
            output_len=LEN[1],
            seed=seed,
        )
    )
    return figures.as_dict()


Turn = list[tuple[str, Run, int]]
"""Servers that are loaded side by side: label, run, port."""


def loaded(session: Session, turn: Turn, by: str, number: int) -> None:
    """Load the servers of one turn side by side and note what each showed."""
    with ProcessPoolExecutor(len(turn)) as pool:  # a client of its own for each server
        asked = [pool.submit(measured, p, _name(r), seed=number + 1) for _, r, p in turn]
        got = [one.result() for one in asked]
    for (label, _, _), row in zip(turn, got, strict=True):
        session.rows["load"].append({"what": label, "by": by, "turn": number, **row})
        print("LOAD", label, by, json.dumps(row), flush=True)


def warmed(turn: Turn) -> None:
    """Send a first load that is not counted."""
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda t: measured(t[2], _name(t[1]), count=64), turn))


def _name(run: Run) -> str:
    return run.spec.endpoint.models[0]


def pairs_at(session: Session, wanted: list[tuple[str, int]], cards: list[int]) -> None:
    """Launch each (model, TP) with the studio and by hand; load both in turns; stop both.

    Side by side where there are cards for both, else one after the other on the same cards.
    """
    beside = len(cards) >= 2 * sum(tp for _, tp in wanted)
    free, mine, theirs = list(cards), [], []
    for _, tp in wanted:
        mine.append(free[:tp])
        theirs.append(free[tp : 2 * tp] if beside else free[:tp])
        free = free[2 * tp :] if beside else free[tp:]
    runs = [
        session.launch(name, own, tensor_parallel_size=tp)
        for (name, tp), own in zip(wanted, mine, strict=True)
    ]
    labels = [f"{name} TP={tp}" for name, tp in wanted]
    hands: list[ByHand] = []

    def by_hand() -> Turn:
        for number, (run, own) in enumerate(zip(runs, theirs, strict=True)):
            hands.append(ByHand(run, own, 8801 + number))
        for hand in hands:
            hand.ready()
        return [(lb, r, h.port) for lb, r, h in zip(labels, runs, hands, strict=True)]

    try:
        time.sleep(1.0)
        other = by_hand() if beside else []
        runs = [session.ready(run) for run in runs]
        own_turn: Turn = [(lb, r, r.spec.port) for lb, r in zip(labels, runs, strict=True)]
        for label, run in zip(labels, runs, strict=True):
            session.point(f"{label} util 0.9", run)
        warmed(own_turn)
        if beside:
            warmed(other)
            for number in range(ROUNDS):
                both = [(own_turn, "studio"), (other, "hand")]
                for turn, by in both if number % 2 == 0 else both[::-1]:
                    loaded(session, turn, by, number)
        else:
            for number in range(ROUNDS):
                loaded(session, own_turn, "studio", number)
        for label, run in zip(labels, runs, strict=True):
            session.stop(label, run)
        if not beside:
            other = by_hand()
            warmed(other)
            for number in range(ROUNDS):
                loaded(session, other, "hand", number)
    finally:
        for hand in hands:
            hand.stop()


def points_at(session: Session, wanted: list[tuple[str, list[int], dict]], kill: str = "") -> None:
    """Launch several servers on disjoint cards at once, note the points, load them, stop them."""
    runs = []
    for name, cards, settings in wanted:
        run = session.launch(name, cards, **settings)
        told = " ".join(f"{key}={value}" for key, value in settings.items())
        runs.append((f"{name} {told}", run))
    runs = [(label, session.ready(run)) for label, run in runs]
    for label, run in runs:
        session.point(label, run)
        if run.spec.config.get("data_parallel_size", 1) > 1:
            measured(run.spec.port, _name(run), count=128)
            for turn in range(2):
                row = measured(run.spec.port, _name(run), users=64, count=512, seed=turn + 1)
                session.rows["load"].append({"what": f"{label} at 64", "by": "studio", **row})
                print("LOAD", label, json.dumps(row), flush=True)
    for label, run in runs:
        session.stop(label, run, kill=label.startswith(kill) if kill else False)


def main(out: Path, steps: list[str]) -> None:
    """Do the steps named, or all of them."""
    session = Session(out)
    count = len(read_cards())
    low = {"gpu_memory_utilization": 0.5, "max_model_len": 4096, "enforce_eager": True}
    mid = {"gpu_memory_utilization": 0.6, "max_model_len": 4096, "enforce_eager": True}
    two = {"tensor_parallel_size": 2}
    todo = {
        "tp1": lambda: pairs_at(
            session,
            [("qwen2.5-7b", 1), ("qwen2.5-14b", 1)],
            list(range(count)),
        ),
        "tp2-7b": lambda: pairs_at(session, [("qwen2.5-7b", 2)], list(range(count))),
        "tp2-14b": lambda: pairs_at(session, [("qwen2.5-14b", 2)], list(range(count))),
        "low": lambda: points_at(
            session,
            [
                ("qwen2.5-7b", [0], low),
                ("qwen2.5-14b", [1], mid),
            ],
            kill="qwen2.5-14b",
        ),
        "tp1-7b": lambda: pairs_at(session, [("qwen2.5-7b", 1)], list(range(count))),
        "dp": lambda: points_at(
            session,
            [
                ("qwen2.5-7b", [0, 1], {"data_parallel_size": 2}),
                *([("qwen2.5-7b", [2, 3], {**two, **low})] if count > 3 else []),
            ],
        ),
        "low2": lambda: points_at(session, [("qwen2.5-14b", [0, 1], {**two, **mid})], kill="qwen"),
    }
    try:
        for step in steps or list(todo):
            began = time.monotonic()
            try:
                todo[step]()
            except Exception as error:
                print("FAILED", step, repr(error)[:600], flush=True)
                for run in session.studio.jobs.list():
                    if run.state.alive:
                        session.studio.jobs.stop(run.id, now=True)
                        session.studio.jobs.wait(run.id, timeout_s=60)
            print(f"STEP {step}: {time.monotonic() - began:.0f} s", flush=True)
            session.keep()
        time.sleep(2)
        print("MEMORY before and after, MiB:", session.before, used_mib(), flush=True)
    finally:
        session.keep()


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
