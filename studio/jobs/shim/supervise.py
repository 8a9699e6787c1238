"""Supervise one run: wait for its turn, start the engine, watch, stop, and write the result.

1. wait      until the runs it comes after are done and its cards are leased
2. start     the engine in a session of its own, its output going straight to log.txt
3. watch     reap children, probe for readiness, sample memory, look for a stop request
4. stop      climb the ladder, one rung at a time
5. finish    kill what is left of the tree, see the cards' memory come back, write the result
"""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import time
from pathlib import Path

from studio.jobs.shim import cards as gpu
from studio.jobs.shim import earlier, ladder, leases, procs
from studio.jobs.shim.detach import PR_SET_PDEATHSIG, prctl
from studio.jobs.shim.files import RunFiles
from studio.jobs.shim.inner import InnerRuns
from studio.jobs.shim.porthold import PortHold
from studio.jobs.shim.probe import answers
from studio.jobs.shim.sample import Sampler
from studio.jobs.shim.scrape import Scraper

WAKE_SIGNALS = {
    signal.SIGCHLD,
    signal.SIGTERM,
    signal.SIGINT,
    signal.SIGHUP,
    signal.SIGUSR1,
}
TICK_S = 0.5
QUEUE_TICK_S = 1.0
LEFTOVER_GRACE_S = 3.0
CARD_GRACE_S = 15.0
INNER_GRACE_S = 900.0
"""How long the runs that a stopped run had launched are given for their own ladders."""


class Supervisor:
    """The life of one run, from its place in the queue to its result."""

    def __init__(self, folder: Path, database: Path) -> None:
        self.files = RunFiles(folder)
        self.folder = folder
        self.database = database
        self.spec = self.files.read_spec()
        self.id: str = self.spec["id"]
        self.me = procs.Identity(0, 0, "")
        self.cards: list[gpu.Card] = []
        self.root: procs.Stat | None = None
        self.started_at: float | None = None
        self.status: int | None = None
        """Wait status of the engine's first process, once it has ended."""
        self.stop_asked = False
        self.kill_asked = False
        self.killed_by = ""
        self.ready = False
        self.port: PortHold | None = None
        self.scraper: Scraper | None = None

    def announce(self) -> Supervisor:
        """Put this process on record; from here on the run has a supervisor."""
        signal.pthread_sigmask(signal.SIG_BLOCK, WAKE_SIGNALS)
        me = procs.identify(os.getpid())
        if me is None:
            raise RuntimeError("/proc does not show this process")
        self.me = me
        self.files.announce(me.pid, me.start, me.boot)
        self.files.event("queued")
        return self

    def run(self) -> None:
        """Go through the five steps; whatever breaks ends in a result that says so."""
        reason, outcome = "", ""
        try:
            outcome, reason = self._wait_for_turn()
            if not outcome:
                outcome, reason = self._start()
            if not outcome:
                outcome, reason = self._watch()
        except Exception as error:
            outcome, reason = "failed", f"the supervisor failed: {error!r}"
            self.files.note(reason)
        self._finish(outcome, reason)

    # 1. wait ------------------------------------------------------------------------------------

    def _wait_for_turn(self) -> tuple[str, str]:
        """Wait for earlier runs, then for cards; return an outcome only when it ends here."""
        told = ""
        if self.spec["port"]:
            self.port = PortHold(self.spec["port"], self.spec["host"])
            if not self.port.take():
                return "failed", f"port {self.spec['port']} was taken by another program meanwhile"
        resources = self.spec["resources"]
        db = None
        if resources["num_gpus"]:
            db = leases.connect(self.database)
            leases.enlist(db, self.id, self.me)
        try:
            while True:
                if self._stop_wanted():
                    return "stopped", "stopped while it was waiting"
                verdict, reason = earlier.standing(self.folder.parent, self.spec["after"])
                if verdict == "failed":
                    return "failed", reason
                if verdict == "done":
                    if db is None:
                        return "", ""
                    self.cards, reason = leases.claim(db, self.id, self.me, time.time())
                    if self.cards:
                        return "", ""
                if reason != told:
                    self.files.event("queued", reason=reason)
                    told = reason
                self._sleep(QUEUE_TICK_S)
        finally:
            if db is not None:
                db.close()

    # 2. start -----------------------------------------------------------------------------------

    def _start(self) -> tuple[str, str]:
        """Execute the engine; return an outcome only when that is impossible."""
        self.files.event("starting", cards=[card.index for card in self.cards])
        command = self.spec["command"]
        self.files.note("$ " + shlex.join(command["argv"]))
        if self.port is not None:
            self.port.let_listen()
        log = os.open(self.folder / "log.txt", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        try:
            child = subprocess.Popen(
                command["argv"],
                cwd=self.folder,
                env=self._environment(command["env"]),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                preexec_fn=_in_child,
            )
        except OSError as error:
            reason = f"could not start {command['argv'][0]}: {error.strerror}"
            self.files.note(reason)
            self.status = 127 << 8
            return "failed", reason
        finally:
            os.close(log)
        child.returncode = 0  # we reap it ourselves, with every other child
        self.root = procs.stat(child.pid) or procs.Stat(child.pid, self.me.pid, child.pid, "R", 0)
        self.started_at = time.time()
        self.files.event("running", pid=child.pid, cards=[card.index for card in self.cards])
        return "", ""

    def _environment(self, own: dict[str, str]) -> dict[str, str]:
        env = {**os.environ, **own, procs.MARK: self.id}
        if self.cards:
            env["CUDA_DEVICE_ORDER"] = "PCI_BUS_ID"
            variable = gpu.visible_variable(self.cards[0].vendor)
            env[variable] = ",".join(str(card.index) for card in self.cards)
        return env

    # 3. watch -----------------------------------------------------------------------------------

    def _watch(self) -> tuple[str, str]:
        """Look after the engine until it has ended, by itself or by the ladder."""
        training = bool(self.spec.get("ranks"))
        self.sampler = Sampler(self.files, self.cards, training=training, run_id=self.id)
        probe = self.spec.get("probe")
        deadline = time.monotonic() + (probe or {}).get("timeout_s", 0)
        while self.status is None:
            self._sleep(TICK_S)
            self._reap()
            if self.status is not None:
                break
            if self._stop_wanted():
                self._climb()
                break
            self.sampler.tick()
            if probe and not self.ready:
                if self._probe(probe):
                    self.ready = True
                    self.files.event("ready")
                    self._scrape()
                elif time.monotonic() > deadline:
                    self._climb()
                    return "failed", f"not ready within {probe['timeout_s']:.0f} s"
        return self._judge()

    def _probe(self, probe: dict) -> bool:
        if probe.get("log_line"):
            return probe["log_line"] in _tail(self.folder / "log.txt", 65536)
        port = self.spec["port"]
        if not answers(self.spec["host"], port, probe["path"]):
            return False
        ours = procs.descendants(self.me.pid, self.id)
        return procs.listens([entry.pid for entry in ours], port)

    def _scrape(self) -> None:
        """Begin to read the server's own figures, where it tells any."""
        asked = self.spec.get("scrape")
        if asked and self.spec["port"]:
            port = self.spec["port"] + asked.get("port_shift", 0)
            where = (self.spec["host"], port, asked["path"])
            self.scraper = Scraper(self.files, *where, tuple(asked["prefixes"])).start()

    def _judge(self) -> tuple[str, str]:
        """Turn how it ended into an outcome. A server that leaves by itself has failed."""
        if self.stop_asked:
            return "stopped", ""
        code, name = self._exit()
        if name:
            return "failed", f"ended by {name}"
        if code:
            return "failed", f"exit code {code}"
        if self.spec["serves"]:
            return "failed", "the server left by itself (exit code 0)"
        return "done", ""

    # 4. stop ------------------------------------------------------------------------------------

    def _climb(self) -> None:
        """Climb the ladder until the engine's first process has ended."""
        if self.scraper is not None:
            self.scraper.stop()
        for rung in ladder.rungs(list(self.spec["stop"])):
            if self.kill_asked and rung.signal != "SIGKILL":
                continue
            self.files.event(
                "stopping",
                rung=rung.number,
                of=rung.of,
                signal=rung.signal,
                label=rung.label,
                until=time.time() + rung.grace_s,
            )
            self.files.note(f"stop {rung.number}/{rung.of}: {rung.signal} to {rung.to}")
            ladder.strike(self.id, self.root, rung)
            self.killed_by = rung.signal
            until = time.monotonic() + rung.grace_s
            while time.monotonic() < until:
                self._sleep(0.1)
                self._reap()
                if self.status is not None:
                    return
                if self._stop_wanted() and self.kill_asked and rung.signal != "SIGKILL":
                    break

    # 5. finish ----------------------------------------------------------------------------------

    def _finish(self, outcome: str, reason: str) -> None:
        """Leave nothing behind, then say how it ended."""
        survivors = self._clear_tree()
        if self.stop_asked:
            self._end_inner()
        held = self._cards_back()
        code, name = self._exit()
        sampler = getattr(self, "sampler", None)
        result = {
            "outcome": outcome,
            "reason": reason,
            "exit_code": code,
            "signal": name,
            "killed_by": self.killed_by,
            "started_at": self.started_at,
            "ended_at": time.time(),
            "was_ready": self.ready,
            "cards": [card.index for card in self.cards],
            "peak_host_bytes": sampler.peak_host if sampler else 0,
            "peak_gpu_bytes": sampler.peak_gpu if sampler else {},
            "survivors": survivors,
            "gpu_memory_held": held,
        }
        self.files.note(f"{outcome}{': ' + reason if reason else ''}")
        self.files.finish(result)
        self._release()

    def _clear_tree(self) -> list[int]:
        """End what the engine's first process left: politely, then not."""
        left = ladder.targets(self.id, self.root, "tree")
        if left:
            procs.send(left, signal.SIGTERM)
            self._wait_gone(LEFTOVER_GRACE_S if not self.kill_asked else 0)
        left = ladder.targets(self.id, self.root, "tree")
        if left:
            procs.send(left, signal.SIGKILL)
            self._wait_gone(10.0)
        return [entry.pid for entry in ladder.targets(self.id, self.root, "tree")]

    def _wait_gone(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            self._reap()
            left = ladder.targets(self.id, self.root, "tree")
            if not left:
                return
            self._sleep(0.05)

    def _end_inner(self) -> None:
        """Ask the runs that this one launched to stop as well, and see them end."""
        inner = InnerRuns(self.folder)
        until = time.monotonic() + INNER_GRACE_S
        while (left := inner.alive()) and time.monotonic() < until:
            self._stop_wanted()
            for run_id in inner.ask(left, now=self.kill_asked):
                self.files.note(f"stop run {run_id}, which this one launched")
            self._sleep(0.2)
            self._reap()

    def _cards_back(self) -> list[int]:
        """Wait until our cards show the memory they had before; return those that do not."""
        if not self.cards or self.started_at is None:
            return []
        before = {card.index: card.used for card in self.cards}
        until = time.monotonic() + CARD_GRACE_S
        while True:
            held = [
                card.index
                for card in gpu.read_cards()
                if card.index in before and gpu.filled_by_stranger(card, before[card.index])
            ]
            if not held or time.monotonic() > until:
                return held
            self._sleep(0.5)

    def _release(self) -> None:
        if not self.spec["resources"]["num_gpus"]:
            return
        db = leases.connect(self.database)
        try:
            leases.release(db, self.id)
        finally:
            db.close()

    # small things -------------------------------------------------------------------------------

    def _sleep(self, seconds: float) -> None:
        """Wait, but wake at once for a child's end or a request."""
        info = signal.sigtimedwait(WAKE_SIGNALS, seconds)
        if info is not None and info.si_signo in (signal.SIGTERM, signal.SIGINT):
            self.stop_asked = True

    def _stop_wanted(self) -> bool:
        requests = self.files.stop_requests()
        self.stop_asked = self.stop_asked or bool(requests)
        self.kill_asked = self.kill_asked or any(request.get("now") for request in requests)
        return self.stop_asked

    def _reap(self) -> None:
        """Collect every child that has ended, ours and the orphans that came to us."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                if self.root is not None and self.status is None:
                    raise RuntimeError("the engine's first process vanished unseen") from None
                return
            if pid == 0:
                return
            if self.root is not None and pid == self.root.pid:
                self.status = status

    def _exit(self) -> tuple[int | None, str | None]:
        """Return the engine's exit code and the name of the signal that ended it."""
        if self.status is None:
            return None, None
        code = os.waitstatus_to_exitcode(self.status)
        if code < 0:
            return code, _signal_name(-code)
        return code, None


def _in_child() -> None:
    """Between fork and exec: die with the supervisor, and hear signals again."""
    prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    signal.pthread_sigmask(signal.SIG_SETMASK, set())


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def _tail(path: Path, size: int) -> str:
    try:
        with open(path, "rb") as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - size))
            return file.read().decode(errors="replace")
    except FileNotFoundError:
        return ""
