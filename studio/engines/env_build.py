"""Building an engine's environment, as a run like any other: a log, a progress bar, a stop."""

from __future__ import annotations

from collections.abc import Iterator

from studio.core.spec import Command, Placement, StopStep
from studio.engines.engine import Engine, EngineConfig, Point, Progress, knob
from studio.jobs.rundir import RunDir, read_rows


class EnvBuildConfig(EngineConfig):
    """Which environment to build. The command line itself comes from `studio.envs`."""

    name: str = knob(
        title="Environment",
        help="Name of the engine's environment.",
        zh=("环境", "引擎环境的名字。"),
        min_length=1,
    )
    argv: list[str] = knob(
        title="Command",
        help="The builder's command line.",
        zh=("命令", "构建程序的命令行。"),
        min_length=1,
    )


class EnvBuild(Engine[EnvBuildConfig]):
    """`python -m studio.envs.build`: uv from a lock, verified by importing the engine."""

    id = "env-build"
    title = "Environment"
    env = None
    Config = EnvBuildConfig

    def command(self, config: EnvBuildConfig, place: Placement) -> Command:
        """Return the builder's command; it works from its lock, wherever the run folder is."""
        return Command(argv=(*config.argv, *config.extra_args), env={"PYTHONPATH": place.root})

    def stop(self, config: EnvBuildConfig) -> tuple[StopStep, ...]:
        """The builder stops its installer and leaves the environment marked as unfinished."""
        return (StopStep(signal="SIGTERM", to="root", grace_s=15, label="cancel the build"),)

    def points(self, run: RunDir) -> Iterator[Point]:
        """Yield nothing: a build has progress, not curves."""
        return iter(())

    def progress(self, run: RunDir) -> Progress | None:
        """Return the builder's own count of what is installed."""
        rows = read_rows(run.artifacts / "progress.jsonl")
        if not rows:
            return None
        return Progress(rows[-1]["done"], rows[-1]["total"], rows[-1]["text"])
