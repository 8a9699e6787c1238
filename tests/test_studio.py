"""One way in: page, command line and API launch through the same door, with the same preview."""

from __future__ import annotations

import os
import shlex
import signal
import sys
from pathlib import Path

import pytest
from conftest import FAKES

from studio.core.errors import DiskFull, NotFound, PortTaken, RecipeInvalid
from studio.core.settings import Settings
from studio.core.spec import Command, EndpointSpec, Placement, Probe, State
from studio.engines.engine import Engine, EngineConfig
from studio.envs.catalog import VLLM
from studio.jobs import ports
from studio.jobs.jobs import Jobs
from studio.studio import Launch, Studio


class FakeConfig(EngineConfig):
    port: int | None = None
    host: str = "127.0.0.1"
    api_key: str = ""


class FakeServer(Engine[FakeConfig]):
    id = "fake-server"
    title = "Fake"
    env = None
    Config = FakeConfig
    serves = True

    def command(self, config: FakeConfig, place: Placement) -> Command:
        argv = (sys.executable, str(FAKES / "serve.py"), str(place.port))
        env = {"STUDIO_ENDPOINT_KEY": config.api_key} if config.api_key else {}
        return Command(argv=(*argv, *config.extra_args), env=env, files={"in/x.txt": "given"})

    def probe(self, config: FakeConfig) -> Probe:
        return Probe(path="/")

    def endpoint(self, config: FakeConfig) -> EndpointSpec:
        return EndpointSpec(kind="chat", models=("m",))


class FakeWithEnv(FakeServer):
    id = "fake-with-env"
    env = VLLM


@pytest.fixture
def studio(jobs: Jobs, settings: Settings) -> Studio:
    made = Studio(settings)
    made.__dict__["engines"] = {
        **made.engines,
        **{cls.id: cls() for cls in (FakeServer, FakeWithEnv)},
    }
    return made


def ask(**settings) -> Launch:
    return Launch(engine="fake-server", settings=settings, name="it")


def test_preview_is_what_runs_byte_for_byte(studio: Studio) -> None:
    preview = studio.preview(ask(extra_args=["0", "two words"]))
    assert not list(studio.settings.runs_dir.iterdir()), "a preview touches nothing"
    run = studio.launch(ask(extra_args=["0", "two words"]))
    assert run.spec.command == preview.command
    assert shlex.join(preview.command.argv) in run.dir.command_sh.read_text()
    run = studio.jobs.wait(run.id, lambda r: r.state is State.READY, timeout_s=30)
    cmdline = Path(f"/proc/{run.dir.events()[-2]['pid']}/cmdline").read_bytes()
    assert tuple(cmdline.decode().split("\0")[:-1]) == preview.command.argv
    assert (run.dir.folder / "in/x.txt").read_text() == "given"


def test_ready_run_is_an_endpoint_until_it_is_stopped(studio: Studio) -> None:
    run = studio.launch(ask(api_key="s3cret"))
    studio.jobs.wait(run.id, lambda r: r.state is State.READY, timeout_s=30)
    found = studio.endpoints()
    assert [e.run_id for e in found] == [run.id]
    assert found[0].base_url == f"http://127.0.0.1:{run.spec.port}/v1"
    assert found[0].api_key == "s3cret" and "s3cret" not in repr(found[0])
    studio.jobs.stop(run.id)
    studio.jobs.wait(run.id, timeout_s=30)
    assert studio.endpoints() == []


def test_ports_are_reserved_and_given_back(studio: Studio) -> None:
    first, second = studio.launch(ask()), studio.launch(ask())
    assert first.spec.port != second.spec.port
    with pytest.raises(PortTaken, match=f"reserved for run {first.id}"):
        studio.launch(ask(port=first.spec.port))
    studio.jobs.stop(first.id, now=True)
    studio.jobs.wait(first.id, timeout_s=30)
    again = studio.launch(ask(port=first.spec.port)) if _old(studio, first.spec.port) else None
    assert again is not None and again.spec.port == first.spec.port


def test_port_of_another_program(studio: Studio) -> None:
    import socket

    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(PortTaken, match="in use by another program"):
            studio.launch(ask(port=port))
    assert studio.jobs.list() == []


def test_relaunch_takes_the_frozen_settings(studio: Studio) -> None:
    run = studio.launch(ask(api_key="abc", extra_args=["0"]))
    studio.jobs.stop(run.id, now=True)
    studio.jobs.wait(run.id, timeout_s=30)
    again = studio.relaunch(run.id, {"extra_args": []})
    assert again.spec.config["api_key"] == "abc" and again.spec.config["extra_args"] == []
    assert again.spec.relaunch_of == run.id


def test_missing_environment_is_built_first(studio: Studio, monkeypatch) -> None:
    """The build is a run of its own; the launch waits for it, whether or not a page is open."""
    script = "import time; print('building', flush=True); time.sleep(1)"
    argv = (sys.executable, "-c", script)
    monkeypatch.setattr(studio.envs, "build_argv", lambda name, fresh=False: argv)
    first = studio.launch(Launch(engine="fake-with-env", settings={}))
    second = studio.launch(Launch(engine="fake-with-env", settings={}))
    assert first.spec.after == second.spec.after, "two launches share one build"
    build = studio.jobs.get(first.spec.after[0])
    assert build.spec.engine == "env-build"
    assert studio.jobs.wait(build.id, timeout_s=30).state is State.DONE
    studio.jobs.wait(first.id, lambda r: r.state is State.READY, timeout_s=30)
    studio.jobs.wait(second.id, lambda r: r.state is State.READY, timeout_s=30)


def test_failed_build_fails_the_launch_with_the_reason(studio: Studio, monkeypatch) -> None:
    argv = (sys.executable, "-c", "raise SystemExit('no network')")
    monkeypatch.setattr(studio.envs, "build_argv", lambda name, fresh=False: argv)
    run = studio.launch(Launch(engine="fake-with-env", settings={}))
    run = studio.jobs.wait(run.id, timeout_s=30)
    assert (run.state, run.started_at) == (State.FAILED, None)
    assert run.spec.after[0] in run.reason


def test_unknown_engine_and_setting(studio: Studio) -> None:
    with pytest.raises(NotFound, match="Did you mean vllm"):
        studio.launch(Launch(engine="vlm", settings={}))
    with pytest.raises(RecipeInvalid, match="Did you mean port"):
        studio.launch(ask(prot=1))
    with pytest.raises(RecipeInvalid, match="named twice"):
        studio.launch(Launch(engine="fake-server", settings={}, cards=[0, 0]))
    assert studio.jobs.list() == []


def test_full_disk_is_said_and_leaves_nothing(studio: Studio, monkeypatch) -> None:
    import errno

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("studio.jobs.rundir.replace_json", full)
    with pytest.raises(DiskFull, match="No room left"):
        studio.launch(ask())
    assert studio.jobs.list() == []
    assert studio.jobs.store.rows("SELECT * FROM ports") == []


def test_index_is_made_again_from_the_folders(studio: Studio, settings: Settings) -> None:
    run = studio.launch(ask())
    studio.jobs.stop(run.id, now=True)
    studio.jobs.wait(run.id, timeout_s=30)
    settings.database.unlink()
    assert [found.id for found in Jobs(settings).list()] == [run.id]


def test_plan_tells_what_is_known(studio: Studio) -> None:
    known = studio.plan(
        Launch(
            engine="llamafactory-api",
            settings={"model_name_or_path": "assets/models/tiny-qwen2.5", "template": "qwen"},
        )
    )
    assert known["environment"] == "llamafactory: missing"
    assert known["model_is"] == "local folder"
    assert known["weights_bytes"] > 10**6
    assert known["cards_needed"] == 0


def _old(studio: Studio, port: int) -> bool:
    """Age a reservation beyond the moment in which its run may still be about to start."""
    with studio.jobs.store.transaction() as db:
        db.execute("UPDATE ports SET at = at - ? WHERE port = ?", (ports.FRESH_S + 1, port))
    return True


def test_signal_names_are_real() -> None:
    """The stop ladders of every engine name signals that exist."""
    from studio.core.discover import load_subclasses

    for cls in load_subclasses("studio.engines", Engine, "none"):
        for step in cls().stop(cls.Config.model_construct()):
            assert hasattr(signal, step.signal) and step.grace_s > 0 and step.label
    assert os.name == "posix"
