"""A run is unbreakable: ends, stops and dies in every way we know, and leaves nothing behind."""

from __future__ import annotations

import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from conftest import FAKES, free_port, spec, wait_log

from studio.core.errors import PortTaken, RunBusy
from studio.core.settings import Settings
from studio.core.spec import Command, Probe, State, StopStep
from studio.jobs.jobs import Jobs
from studio.jobs.shim import procs

POLITE = (StopStep(signal="SIGTERM", to="group", grace_s=5, label="terminate"),)
HASTY = (
    StopStep(signal="SIGINT", to="root", grace_s=0.3, label="interrupt"),
    StopStep(signal="SIGTERM", to="group", grace_s=0.3, label="terminate"),
)


@pytest.mark.parametrize("code, state", [(0, State.DONE), (1, State.FAILED), (77, State.FAILED)])
def test_exit_code_decides(jobs: Jobs, code: int, state: State) -> None:
    run = jobs.wait(jobs.submit(spec("leave", code)).id, timeout_s=120)
    assert (run.state, run.result["exit_code"]) == (state, code)


def test_death_by_signal_is_named(jobs: Jobs) -> None:
    run = jobs.wait(jobs.submit(spec("leave", -11)).id, timeout_s=120)
    assert run.state is State.FAILED
    assert (run.result["exit_code"], run.result["signal"]) == (-11, "SIGSEGV")
    assert run.reason == "ended by SIGSEGV"


def test_server_that_leaves_by_itself_has_failed(jobs: Jobs) -> None:
    run = jobs.wait(jobs.submit(spec("leave", 0, serves=True)).id, timeout_s=120)
    assert run.state is State.FAILED
    assert "left by itself" in run.reason


def test_program_that_cannot_be_started(jobs: Jobs) -> None:
    asked = spec("leave", 0).model_copy(update={"command": Command(argv=("/no/such/python",))})
    run = jobs.wait(jobs.submit(asked).id, timeout_s=120)
    assert run.state is State.FAILED
    assert "could not start /no/such/python: No such file or directory" in run.reason


def test_polite_stop_keeps_the_true_exit_code(jobs: Jobs) -> None:
    patient = (StopStep(signal="SIGTERM", to="group", grace_s=300, label="terminate"),)
    run = jobs.submit(spec("obey", 5, stop=patient))
    wait_log(run, "up")
    assert jobs.stop(run.id).state is State.STOPPING
    run = jobs.wait(run.id, timeout_s=120)
    assert (run.state, run.result["exit_code"]) == (State.STOPPED, 5)
    assert run.result["killed_by"] == "SIGTERM"


def test_ladder_climbs_to_the_kill(jobs: Jobs) -> None:
    run = jobs.submit(spec("ignore", stop=HASTY))
    wait_log(run, "up")
    jobs.stop(run.id)
    run = jobs.wait(run.id, timeout_s=120)
    assert (run.state, run.result["signal"]) == (State.STOPPED, "SIGKILL")
    rungs = [e for e in run.dir.events() if e["phase"] == "stopping"]
    assert [(e["rung"], e["of"], e["signal"]) for e in rungs] == [
        (1, 3, "SIGINT"),
        (2, 3, "SIGTERM"),
        (3, 3, "SIGKILL"),
    ]
    assert all(e["until"] > e["at"] for e in rungs), "each rung tells when it ends"


def test_second_stop_now_skips_the_polite_rungs(jobs: Jobs) -> None:
    patient = (StopStep(signal="SIGTERM", to="group", grace_s=300, label="terminate"),)
    run = jobs.submit(spec("ignore", stop=patient))
    wait_log(run, "up")
    jobs.stop(run.id)
    jobs.stop(run.id)
    assert jobs.get(run.id).state is State.STOPPING
    began = time.monotonic()
    jobs.stop(run.id, now=True)
    assert jobs.wait(run.id, timeout_s=120).state is State.STOPPED
    assert time.monotonic() - began < 100
    assert jobs.stop(run.id).state is State.STOPPED, "stopping an ended run does no harm"


def test_workers_in_their_own_sessions_go_too(jobs: Jobs) -> None:
    run = jobs.submit(spec("workers", stop=POLITE))
    wait_log(run, "up")
    assert len(procs.marked(run.id)) == 3
    jobs.stop(run.id)
    run = jobs.wait(run.id, timeout_s=120)
    assert run.result["survivors"] == []
    assert procs.marked(run.id) == []


def test_daemon_left_behind_is_swept(jobs: Jobs) -> None:
    run = jobs.wait(jobs.submit(spec("daemon")).id, timeout_s=120)
    assert run.state is State.DONE
    assert procs.marked(run.id) == []


def test_flood_of_log_stalls_nobody(jobs: Jobs) -> None:
    run = jobs.wait(jobs.submit(spec("flood", 200)).id, timeout_s=120)
    assert run.state is State.DONE
    assert run.dir.log.stat().st_size > 200 * 2**20


def test_killed_supervisor_is_lost_never_done(jobs: Jobs) -> None:
    run = jobs.submit(spec("workers"))
    wait_log(run, "up")
    os.kill(run.dir.supervisor().pid, signal.SIGKILL)
    _until(lambda: not run.dir.supervisor().alive)
    lost = jobs.get(run.id)
    assert lost.state is State.LOST
    assert procs.marked(run.id) == [], "what the supervisor left is swept by its mark"
    assert jobs.get(run.id).state is State.LOST, "and it stays lost"


def test_reused_pid_is_not_our_supervisor(jobs: Jobs) -> None:
    run = jobs.submit(spec("obey"))
    wait_log(run, "up")
    os.kill(run.dir.supervisor().pid, signal.SIGKILL)
    me = procs.identify(os.getpid())
    text = f'{{"pid": {me.pid}, "start": {me.start + 1}, "boot": "{me.boot}"}}'
    (run.dir.folder / "pid.json").write_text(text)
    assert jobs.get(run.id).state is State.LOST
    os.kill(os.getpid(), 0)  # and nobody killed the process that has the pid now


def test_server_becomes_ready_and_is_offered(jobs: Jobs) -> None:
    port = free_port(18100)
    asked = spec("serve", port, 0.5, serves=True, probe=Probe(path="/health"), port=port)
    run = jobs.submit(asked)
    run = jobs.wait(run.id, lambda r: r.state is State.READY, timeout_s=120)
    assert run.result is None
    jobs.stop(run.id)
    assert jobs.wait(run.id, timeout_s=120).result["was_ready"] is True


def test_strangers_server_on_our_port_is_not_ready(jobs: Jobs) -> None:
    """Somebody answers on our port, but it is not a process of this run."""
    port = free_port(18200)
    asked = spec("obey", serves=True, probe=Probe(path="/", timeout_s=4), stop=POLITE)
    ours = jobs.submit(asked.model_copy(update={"port": port, "host": "127.0.0.2"}))
    wait_log(ours, "up")
    with socket_server(port):
        ours = jobs.wait(ours.id, timeout_s=120)
    assert ours.state is State.FAILED
    assert ours.reason == "not ready within 4 s"


def test_port_is_kept_for_a_run_that_waits(jobs: Jobs, tmp_path: Path) -> None:
    """Another program cannot take it, and a studio of another home does not choose it."""
    port = free_port(18250)
    first = jobs.submit(spec("obey", 0, stop=POLITE))
    asked = spec("serve", port, serves=True, probe=Probe(path="/"), port=port, stop=POLITE)
    waiting = jobs.submit(asked.model_copy(update={"after": (first.id,)}))
    with socket.socket() as stranger, pytest.raises(OSError):
        stranger.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        stranger.bind(("127.0.0.1", port))
    other = Jobs(Settings(home=tmp_path / "other"))
    with pytest.raises(PortTaken):
        other.reserve_port("01m7yxra83x32cwe9p", port, "127.0.0.1")
    again = jobs.wait(jobs.submit(spec("leave", 0, serves=True, port=port)).id, timeout_s=120)
    assert again.reason == f"port {port} was taken by another program meanwhile"
    jobs.stop(first.id)
    jobs.wait(waiting.id, timeout_s=120)


def test_run_after_another_waits_and_fails_with_it(jobs: Jobs) -> None:
    first = jobs.submit(spec("obey", 0, stop=POLITE))
    second = jobs.submit(spec("leave", 0, after=(first.id,)))
    _until(lambda: first.id in jobs.get(second.id).reason)
    assert jobs.get(second.id).state is State.QUEUED
    jobs.stop(first.id)
    second = jobs.wait(second.id, timeout_s=120)
    assert (second.state, second.started_at) == (State.FAILED, None)
    assert f"run {first.id}, which this one needs, stopped" in second.reason


def test_delete_only_what_has_ended_and_only_its_folder(jobs: Jobs, tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.mkdir()
    (precious / "file").write_text("keep")
    run = jobs.submit(spec("obey", stop=POLITE))
    (run.dir.artifacts / "link").symlink_to(precious)
    with pytest.raises(RunBusy, match="Stop it first"):
        jobs.delete(run.id)
    jobs.stop(run.id, now=True)
    jobs.wait(run.id, timeout_s=120)
    jobs.delete(run.id)
    assert not run.dir.folder.exists()
    assert (precious / "file").read_text() == "keep"
    assert jobs.list() == []


def test_frozen_settings_and_rerunnable_script(jobs: Jobs) -> None:
    run = jobs.submit(spec("leave", 3, env={"GREETING": "你 好"}))
    jobs.wait(run.id, timeout_s=120)
    text = run.dir.command_sh.read_text()
    assert "export GREETING='你 好'" in text
    assert os.waitstatus_to_exitcode(os.system(f"bash {run.dir.command_sh} >/dev/null")) == 3


def test_peak_memory_is_measured(jobs: Jobs) -> None:
    code = "import time; x = bytearray(150 * 2**20); time.sleep(2.5)"
    asked = spec("leave", 0).model_copy(
        update={"command": Command(argv=(sys.executable, "-c", code))}
    )
    run = jobs.wait(jobs.submit(asked).id, timeout_s=120)
    assert 150 * 2**20 < run.result["peak_host_bytes"] < 260 * 2**20


def test_kill_of_the_page_loses_nothing(jobs: Jobs, settings: Settings) -> None:
    """A process that submitted runs dies by SIGKILL; another finds them with state and log."""
    port = free_port(18300)
    script = f"""
import sys, time
sys.path[:0] = [{str(FAKES.parent)!r}, {str(FAKES.parents[1])!r}]
from conftest import spec, wait_log
from studio.core.settings import Settings
from studio.core.spec import Probe, StopStep
from studio.jobs.jobs import Jobs
jobs = Jobs(Settings(home={str(settings.home)!r}))
slow = (StopStep(signal="SIGTERM", to="group", grace_s=8, label="terminate"),)
runs = [
    jobs.submit(spec("leave", 0)),
    jobs.submit(spec("leave", 9)),
    jobs.submit(spec("obey", 6, stop=slow)),
    jobs.submit(spec("ignore", stop=slow)),
    jobs.submit(spec("serve", {port}, serves=True, probe=Probe(path="/"), port={port})),
]
queued = jobs.submit(spec("leave", 4, after=(runs[2].id,)))
jobs.wait(runs[0].id); jobs.wait(runs[1].id)
jobs.wait(runs[4].id, lambda r: r.state == "ready")
for run in runs[2:4]:
    wait_log(run, "up")
jobs.stop(runs[3].id)
print(*[r.id for r in runs], queued.id, flush=True)
time.sleep(600)
"""
    import subprocess

    page = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    done, failed, running, stopping, ready, queued = page.stdout.readline().split()
    page.kill()
    page.wait()
    assert jobs.get(stopping).state is State.STOPPING
    found = {run_id: jobs.get(run_id).state for run_id in (done, failed, running, ready, queued)}
    assert found == {
        done: State.DONE,
        failed: State.FAILED,
        running: State.RUNNING,
        ready: State.READY,
        queued: State.QUEUED,
    }
    assert "up" in jobs.get(running).dir.log.read_text()
    assert jobs.wait(stopping, timeout_s=120).result["signal"] == "SIGKILL"
    jobs.stop(running)
    assert jobs.wait(running, timeout_s=120).result["exit_code"] == 6
    assert jobs.wait(queued, timeout_s=120).state is State.FAILED
    jobs.stop(ready)
    assert jobs.wait(ready, timeout_s=120).state is State.STOPPED


def test_two_studios_over_one_home(jobs: Jobs, settings: Settings) -> None:
    other = Jobs(settings)
    run = jobs.submit(spec("obey", stop=POLITE))
    assert other.get(run.id).id == run.id
    wait_log(run, "up")
    other.stop(run.id)
    assert jobs.wait(run.id, timeout_s=120).state is State.STOPPED


def test_starting_is_told_apart(jobs: Jobs) -> None:
    """Between the lease and the exec there is a moment; its state is read from the events."""
    run = jobs.submit(spec("obey", stop=POLITE))
    wait_log(run, "up")
    events = run.dir.folder / "events.jsonl"
    kept = events.read_text()
    events.write_text("".join(kept.splitlines(keepends=True)[:2]))
    assert jobs.get(run.id).state is State.STARTING
    events.write_text(kept)


@contextmanager
def socket_server(port: int) -> Iterator[None]:
    """Answer 200 on 127.0.0.2, whoever asks."""

    def serve() -> None:
        while True:
            try:
                connection, _ = server.accept()
            except OSError:
                return
            connection.recv(1024)
            connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
            connection.close()

    server = socket.create_server(("127.0.0.2", port))
    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield
    finally:
        server.shutdown(socket.SHUT_RDWR)
        server.close()
        thread.join(5)


def _until(condition, timeout_s: float = 60.0) -> None:
    until = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.02)
