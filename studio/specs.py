"""A launch as it will run: by which interpreter, where, with which command, frozen into one spec.

    spec = Specs(settings, envs).of(ask, engine, config, run_id=new_id())

Settings are checked before they come here; whether an environment has to be built first, and which
port is free, is for `studio.studio` to say.
"""

from __future__ import annotations

import time
from pathlib import Path

from studio import __version__
from studio.core.errors import EnvMissing
from studio.core.settings import ROOT, Settings
from studio.core.spec import Interpreter, Placement, Resources, RunSpec
from studio.engines.engine import Engine, EngineConfig
from studio.engines.vision import with_sight
from studio.envs.envs import Envs
from studio.launch import Launch, resources_of


class Specs:
    """Writes specs for this home and its environments; submits nothing."""

    def __init__(self, settings: Settings, envs: Envs) -> None:
        self._settings, self._envs = settings, envs

    def of(
        self,
        ask: Launch,
        engine: Engine,
        config: EngineConfig,
        *,
        run_id: str,
        port: int | None = None,
        after: tuple[str, ...] = (),
        env_name: str = "",
    ) -> RunSpec:
        """Return the spec of a launch that has its id, its port and the runs it comes after.

        `env_name` is the environment a run is about where its engine needs none, as for a build.
        """
        interpreter = self.interpreter(engine)
        has_gpu = self._envs.variant() == "cuda"
        resources = resources_of(ask.cards, engine.resources(config, has_gpu))
        place = self._place(engine, config, interpreter, port, resources, has_gpu=has_gpu)
        return RunSpec(
            id=run_id,
            name=ask.name or engine.id,
            title=ask.title or engine.title,
            engine=engine.id,
            recipe=ask.recipe,
            config=config.model_dump(mode="json"),
            command=engine.command(config, place),
            resources=resources,
            serves=engine.serves,
            probe=engine.probe(config),
            scrape=engine.scrape(config),
            stop=engine.stop(config),
            endpoint=with_sight(engine.endpoint(config), config.model_dump(mode="json"), ROOT),
            host=host_of(config),
            port=port,
            after=after,
            env_name=env_name or (engine.env.name if engine.env else ""),
            bin_dir=str(Path(interpreter.python).parent) if engine.env else "",
            created_at=time.time(),
            studio_version=__version__,
            relaunch_of=ask.relaunch_of,
            group=ask.group,
            ranks=engine.ranks(config, resources.num_gpus),
        )

    def interpreter(self, engine: Engine) -> Interpreter:
        """Return what executes an engine, or what will once its environment is built."""
        if engine.env is None:
            return Interpreter(name="studio", python="python", scripts=False)
        try:
            return self._envs.interpreter(engine.env.name)
        except EnvMissing:
            return self._envs.planned(engine.env.name)

    def _place(
        self,
        engine: Engine,
        config: EngineConfig,
        interpreter: Interpreter,
        port: int | None,
        resources: Resources,
        *,
        has_gpu: bool,
    ) -> Placement:
        home = self._settings.home
        return Placement(
            interpreter=interpreter,
            host=host_of(config),
            port=port,
            root=str(ROOT),
            has_gpu=has_gpu,
            num_gpus=resources.num_gpus,
            data_dir=str(home / "data"),
            cache_dir=str(home / "cache"),
            bench_dir=str(home / "bench"),
            flags=self._envs.flags(engine.env.name) if engine.env else None,
            version=self._envs.version(engine.env.name) if engine.env else "",
        )


def port_of(config: EngineConfig) -> int | None:
    """Return the port a person asked for; None where the settings name none."""
    return getattr(config, "port", None)


def host_of(config: EngineConfig) -> str:
    """Return the address an engine listens on; this machine's own where it does not say."""
    return getattr(config, "host", "127.0.0.1")
