"""The builder with a tiny lock: builds, repairs, waits, is stopped, and fails with a sentence."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from envs.tiny_engine import TINY, make_stuck_sdist, make_wheel, until

from studio.core.errors import DiskFull, EnvMissing, RunBusy
from studio.core.settings import ROOT, Settings
from studio.envs import build, checks, uv
from studio.envs.build import Builder
from studio.envs.catalog import EnvSpec
from studio.envs.envs import Envs, EnvState
from studio.envs.layout import EnvFolder
from studio.jobs.store import Store


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


@pytest.fixture
def make(
    index: Path, home: Path, make_spec: Callable[..., EnvSpec], monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Builder]:
    """Return a maker of builders whose working directory looks like a run folder."""
    run_dir = home.parent / "run"
    (run_dir / "artifacts").mkdir(parents=True)
    monkeypatch.chdir(run_dir)
    return lambda *, fresh=False, **spec: Builder(make_spec(**spec), "cpu", home, fresh=fresh)


def status(home: Path, spec: EnvSpec):
    settings = Settings(home=home, variant="cpu")
    settings.prepare_home()
    return Envs(settings, Store(settings.database), {"tiny": spec}).status("tiny")


def progress() -> list[dict]:
    return [json.loads(row) for row in Path("artifacts/progress.jsonl").read_text().splitlines()]


def program(spec: EnvSpec, home: Path, *extra: str) -> list[str]:
    """Return a command line that runs the builder's own `main` with the tiny spec."""
    text = (
        "import sys; from pathlib import PosixPath\n"
        "from studio.envs.build import main\nfrom studio.envs.catalog import EnvSpec, Gib\n"
        f"sys.exit(main(sys.argv[1:], {{'tiny': {spec!r}}}))"
    )
    return [sys.executable, "-c", text, "tiny", "--variant", "cpu", "--home", str(home), *extra]


@pytest.fixture
def start(index: Path) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Start builders as processes of their own; none outlives its test."""
    started: list[subprocess.Popen[str]] = []

    def begin(spec: EnvSpec, home: Path) -> subprocess.Popen[str]:
        env = os.environ | {"PYTHONPATH": str(ROOT)}
        process = subprocess.Popen(
            program(spec, home),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=env,
        )
        started.append(process)
        return process

    yield begin
    for process in started:
        process.kill()
        process.wait()
        if process.stdout:
            process.stdout.close()


def test_a_build_from_nothing(make: Callable[..., Builder], capsys: pytest.CaptureFixture[str]):
    builder = make()
    builder.run()
    now = status(builder.home, builder.spec)
    assert (now.state, now.kind, now.detail) == (EnvState.READY, "built", "")
    assert now.versions == {"tinyengine": "1.0"}
    assert now.size_bytes
    marker = builder.folder.read_marker()
    assert marker is not None and marker["lock_sha256"] == builder.spec.lock_sha256("cpu")

    rows = progress()
    assert next(row["step"] for row in rows) == "check"
    done = [row["done"] for row in rows]
    assert done == sorted(done) and (done[0], done[-1]) == (0, 100)
    assert {row["total"] for row in rows} == {100}
    out = capsys.readouterr().out
    assert "Installed 1 package" in out and "\x1b" not in out and "Tiny is ready" in out


def test_outside_of_a_run_no_progress_file_appears(make: Callable[..., Builder]):
    shutil.rmtree("artifacts")
    make().run()
    assert not Path("artifacts").exists()


def test_a_second_build_keeps_what_is_there(make: Callable[..., Builder]):
    make().run()
    folder = make().folder
    before = folder.python.lstat().st_mtime_ns
    make().run()
    assert folder.python.lstat().st_mtime_ns == before
    make(fresh=True).run()
    assert folder.python.lstat().st_mtime_ns != before


def test_a_package_that_lost_a_file_is_installed_again(make: Callable[..., Builder], capsys):
    builder = make()
    builder.run()
    site = builder.folder.site_packages
    assert site is not None
    shutil.rmtree(site / "tinyengine")
    make().run()
    assert (site / "tinyengine" / "__init__.py").exists()
    assert "tinyengine-1.0 is damaged" in capsys.readouterr().out


def test_a_broken_interpreter_means_starting_from_nothing(make: Callable[..., Builder]):
    builder = make()
    builder.run()
    builder.folder.python.unlink()
    builder.folder.python.symlink_to("/nowhere/python")
    assert status(builder.home, builder.spec).state is EnvState.BROKEN
    make().run()
    assert status(builder.home, builder.spec).state is EnvState.READY


def test_a_new_lock_makes_it_stale_and_a_build_updates_it(
    make: Callable[..., Builder], index: Path
):
    make().run()
    make_wheel(index, "tinyengine", "2.0", TINY)
    builder = make(lock="tinyengine==2.0")
    before = status(builder.home, builder.spec)
    assert before.state is EnvState.STALE and before.state.usable
    builder.run()
    assert status(builder.home, builder.spec).versions == {"tinyengine": "2.0"}


def test_an_engine_that_cannot_be_imported_is_never_ready(make: Callable[..., Builder]):
    builder = make(imports=("tinyengine", "nosuchmodule"))
    with pytest.raises(EnvMissing, match="No module named 'nosuchmodule'"):
        builder.run()
    assert status(builder.home, builder.spec).state is EnvState.BROKEN


def test_bytecode_is_written_even_where_python_was_told_not_to(
    make: Callable[..., Builder], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    builder = make()
    builder.run()
    assert builder.folder.site_packages
    assert list(builder.folder.site_packages.glob("tinyengine/__pycache__/*.pyc"))


# failures ---------------------------------------------------------------------------------------


def main(spec: EnvSpec, home: Path, capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    """Run the command line here and return the exit code with the last line."""
    handlers = {n: signal.getsignal(n) for n in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)}
    try:
        code = build.main(["tiny", "--variant", "cpu", "--home", str(home)], {"tiny": spec})
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
    return code, capsys.readouterr().out.splitlines()[-1]


def test_an_unreachable_index(make, home, make_spec, monkeypatch, capsys):
    monkeypatch.delenv("PIP_NO_INDEX")
    monkeypatch.delenv("PIP_FIND_LINKS")
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    monkeypatch.setenv("UV_HTTP_RETRIES", "0")
    code, last = main(make_spec(), home, capsys)
    assert code == EnvMissing.exit_code
    assert last.startswith("ERROR: The package index 127.0.0.1:9 cannot be reached.")
    assert status(home, make_spec()).state is EnvState.BROKEN


def test_a_ready_environment_survives_a_failed_attempt_to_choose(
    make, home, make_spec, monkeypatch
):
    make().run()
    monkeypatch.setattr(uv, "find_uv", lambda: (_ for _ in ()).throw(EnvMissing("no uv")))
    with pytest.raises(EnvMissing):
        make().run()
    assert status(home, make_spec()).state is EnvState.READY


def test_a_package_the_index_does_not_have(make, home, make_spec, capsys):
    code, last = main(make_spec(lock="tinyengine==7.0"), home, capsys)
    assert code == EnvMissing.exit_code
    assert last.startswith("ERROR: The package index does not have tinyengine==7.0.")


def test_a_full_disk_is_told_before_anything_is_done(make, home, make_spec, monkeypatch, capsys):
    usage = shutil._ntuple_diskusage(10, 9, 1)
    monkeypatch.setattr(checks.shutil, "disk_usage", lambda path: usage)
    code, last = main(make_spec(), home, capsys)
    assert code == DiskFull.exit_code
    assert "needs about 0.0 GiB" in last and "Free some space" in last


def test_a_driver_that_is_too_old(make_spec, monkeypatch):
    monkeypatch.setattr(checks, "nvidia_driver", lambda: 535)
    spec = make_spec(cuda_driver=580)
    checks.check_driver(spec, "cpu")
    with pytest.raises(
        EnvMissing, match="needs NVIDIA driver 580 or newer, and this machine has 535"
    ):
        checks.check_driver(spec, "cuda")


def test_an_environment_in_use_is_not_touched(make, home):
    builder = make()
    builder.run()
    user = subprocess.Popen([builder.folder.python, "-c", "import time; time.sleep(60)"])
    try:
        with pytest.raises(RunBusy, match=f"pid {user.pid}"):
            make().run()
    finally:
        user.kill()
        user.wait()


# stopping and waiting ---------------------------------------------------------------------------


def test_sigterm_in_the_middle(start, index, home, make_spec, tmp_path, monkeypatch):
    make_stuck_sdist(index)
    monkeypatch.setenv("STUCK", str(tmp_path / "stuck.pid"))
    spec = make_spec(lock="tinyengine==1.0\nstuck==1.0")
    process = start(spec, home)
    until(lambda: (tmp_path / "stuck.pid").exists(), 20)
    assert status(home, spec).state is EnvState.BUILDING

    process.send_signal(signal.SIGTERM)
    out, _ = process.communicate(timeout=20)
    assert process.returncode == 128 + signal.SIGTERM, out
    assert out.splitlines()[-1].startswith("Stopped. The environment is not finished")
    pid = int((tmp_path / "stuck.pid").read_text())
    until(lambda: not Path(f"/proc/{pid}").exists(), 5)
    assert status(home, spec).state is EnvState.BROKEN
    assert not EnvFolder(home / "envs" / "tiny-cpu").building

    process = start(make_spec(), home)
    out, _ = process.communicate(timeout=30)
    assert process.returncode == 0, out
    assert status(home, make_spec()).state is EnvState.READY


def test_two_builds_at_once_the_second_waits(start, home, make_spec):
    spec = make_spec()
    folder = EnvFolder(home / "envs" / "tiny-cpu")
    with folder.hold() as fd:
        assert fd is not None
        process = start(spec, home)
        assert process.stdout
        lines = [process.stdout.readline() for _ in range(2)]
        assert "waiting for it" in lines[1]
        assert process.poll() is None
        with folder.hold() as second:
            assert second is None
    out, _ = process.communicate(timeout=30)
    assert process.returncode == 0, out


def test_the_command_works_from_any_directory(tmp_path: Path, envs: Envs):
    argv = envs.build_argv("tiny", fresh=True)
    assert argv[0] == sys.executable and argv[-1] == "--fresh"
    done = subprocess.run(
        [*argv[:2], "--help"],
        cwd=tmp_path,
        env={"PATH": "/usr/bin"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0 and "vllm" in done.stdout, done.stderr


@pytest.mark.engine
@pytest.mark.parametrize("name", ["vllm", "llamafactory"])
def test_real_environments(name: str, tmp_path: Path):
    """Build each engine's CPU environment; LADDER_TEST_HOME keeps them for the next time."""
    home = Path(os.environ.get("LADDER_TEST_HOME") or tmp_path / "home")
    settings = Settings(home=home, variant="cpu")
    settings.prepare_home()
    envs = Envs(settings, Store(settings.database))
    started = time.monotonic()
    env = {"UV_CACHE_DIR": str(home / "uv-cache")} | os.environ
    done = subprocess.run(
        envs.build_argv(name), cwd=tmp_path, env=env, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    now = envs.status(name)
    assert now.state is EnvState.READY
    assert Path(*envs.interpreter(name).program("torchrun", "torch.distributed.run")).exists()
    print(f"{name}: {time.monotonic() - started:.0f} s, {now.size_bytes or 0:,} bytes")
