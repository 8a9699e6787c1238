"""The one object that is passed around: settings, runs, environments, engines and recipes.

`launch` is the way in for the page, the command line, the API and the tests alike; each of them
turns what it has into settings and comes here.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from studio.bench.saved import Results, Saved
from studio.chat import adapters as lora
from studio.chat.external import ExternalEndpoints
from studio.chat.health import HealthChecks
from studio.core.discover import load_subclasses
from studio.core.errors import EndpointDown, NotFound
from studio.core.ids import new_id
from studio.core.recipes import Recipe, Recipes, check_settings, did_you_mean
from studio.core.settings import ROOT, Settings
from studio.core.spec import Endpoint, RunSpec, State
from studio.data.library import DataSets
from studio.engines.adapters import check_adapter
from studio.engines.engine import (
    Engine,
    EngineConfig,
    Figure,
    Point,
    Progress,
    resolve_path,
)
from studio.engines.room import check_room
from studio.engines.trained import saved_at
from studio.envs.envs import Envs, EnvState
from studio.images.batch import Batches
from studio.images.desk import ImageDesk
from studio.jobs import ports
from studio.jobs.jobs import Jobs, Run
from studio.jobs.rundir import script
from studio.launch import Launch
from studio.planner.image_result import ImagePlan
from studio.planner.result import CardMemory
from studio.planner.serving import ServingPlan
from studio.planner.training import TrainingPlan
from studio.plans import Plans
from studio.quality.desk import QualityDesk
from studio.specs import Specs, host_of, port_of
from studio.telemetry.curves import series

__all__ = ["ENV_BUILD", "Launch", "Studio"]

ENV_BUILD = "env-build"


class Studio:
    """Everything a tab or a command needs. Built once, in `studio.cli`."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.jobs = Jobs(settings)
        self.envs = Envs(settings, self.jobs.store)
        self.recipes = Recipes(settings.recipes_dir)
        self.external = ExternalEndpoints(self.jobs.store)
        self.health = HealthChecks().health

    @cached_property
    def engines(self) -> dict[str, Engine]:
        """Every engine by id: our own files and other distributions' entry points."""
        found = load_subclasses("studio.engines", Engine, "studio.engines")
        return {engine.id: engine for engine in (cls() for cls in found)}

    @cached_property
    def data(self) -> DataSets:
        """Data sets of this home and the built-in samples."""
        return DataSets(self.settings.home / "data", ROOT / "assets" / "data")

    @cached_property
    def plans(self) -> Plans:
        """What launches will need, worked out before them."""
        return Plans(self.settings, self.envs, self.data, self.validate)

    @cached_property
    def _specs(self) -> Specs:
        return Specs(self.settings, self.envs)

    @cached_property
    def images(self) -> ImageDesk:
        """Pictures edited by the workers and endpoints of this home."""
        folder = self.settings.home / "images"
        return ImageDesk(folder, lambda: self.endpoints("images"), self._run_folder)

    @cached_property
    def saved(self) -> Saved:
        """Everything that was measured in this home."""
        return Saved(self.settings.home / "bench", self._writer)

    @cached_property
    def quality(self) -> QualityDesk:
        """Answers compared: by votes, by a judge, beside benchmark scores."""
        return QualityDesk(self.saved, self.jobs, self.results)

    @cached_property
    def batches(self) -> Batches:
        """One prompt over many pictures."""
        return Batches(self.images)

    # in -----------------------------------------------------------------------------------------

    def launch(self, ask: Launch) -> Run:
        """Check, build the missing environment first if need be, and submit."""
        engine, config = self.validate(ask.engine, ask.settings)
        at_home = engine.at_home(config, self.settings.home)
        if at_home is not config:
            self.data.register()
        engine.check(at_home, ROOT)
        check_room(engine.room(config, ROOT, self.envs.variant() == "cuda"), self.settings.home)
        after = self._environment_first(engine)
        if engine.env and not after:
            engine.check_env(config, self._specs.interpreter(engine))
        run_id = new_id()
        port = None
        if engine.serves:
            port = self.jobs.reserve_port(run_id, port_of(config), host_of(config))
        try:
            spec = self._specs.of(ask, engine, config, run_id=run_id, port=port, after=after)
            return self.jobs.submit(spec, self.plans.kept(ask))
        except BaseException:
            if port is not None:
                ports.release(self.jobs.store, run_id)
            raise

    def preview(self, ask: Launch) -> RunSpec:
        """Return the spec that `launch` would submit now, without touching anything."""
        engine, config = self.validate(ask.engine, ask.settings)
        port = None
        if engine.serves:
            port = port_of(config) or ports.peek(self.jobs.store, host_of(config))
        return self._specs.of(ask, engine, config, run_id=new_id(), port=port)

    def preview_script(self, ask: Launch) -> str:
        """Return the shell script of a launch, the argv byte for byte as it would run."""
        return script(self.preview(ask))

    def launch_recipe(self, name: str, overrides: dict[str, Any] | None = None) -> Run:
        """Launch a recipe by name or path, with some settings changed."""
        return self.launch(self.ask_for(self.recipes.get(name), overrides))

    def ask_for(self, recipe: Recipe, overrides: dict[str, Any] | None = None) -> Launch:
        """Turn a recipe and changed settings into a launch; `cards` may be changed as well."""
        changes = dict(overrides or {})
        cards = changes.pop("cards", recipe.cards)
        return Launch(
            engine=recipe.engine,
            settings={**recipe.settings, **changes},
            name=recipe.name.rpartition("/")[2],
            title=recipe.title.en,
            recipe=recipe.name,
            cards=cards,
        )

    def relaunch(self, run_id: str, overrides: dict[str, Any] | None = None) -> Run:
        """Launch a run's frozen settings again, some of them changed; `cards` may be as well."""
        spec = self.jobs.get(run_id).spec
        if spec.engine == ENV_BUILD:
            return self.build_env(spec.env_name)
        changes = dict(overrides or {})
        cards = changes.pop("cards") if "cards" in changes else self._cards_asked_for(spec)
        return self.launch(
            Launch(
                engine=spec.engine,
                settings={**spec.config, **changes},
                name=spec.name,
                title=spec.title,
                recipe=spec.recipe,
                cards=cards,
                relaunch_of=spec.id,
                group=spec.group,
            )
        )

    def resume(self, run_id: str, step: int | None = None) -> Run:
        """Launch a training again from one of its checkpoints, the newest without a step."""
        run = self.jobs.get(run_id)
        made = saved_at(run.dir, step)
        return self.relaunch(run.id, {"resume_from_checkpoint": str(made.folder)})

    def build_env(self, name: str, *, fresh: bool = False) -> Run:
        """Build or repair an environment as a run; one under way is returned as it is."""
        under_way = self._build_under_way(name)
        if under_way is not None:
            return under_way
        argv = list(self.envs.build_argv(name, fresh=fresh))
        ask = Launch(
            engine=ENV_BUILD,
            settings={"name": name, "argv": argv},
            name=f"env-{name}",
            title=f"Build the {name} environment",
        )
        engine, config = self.validate(ask.engine, ask.settings)
        return self.jobs.submit(self._specs.of(ask, engine, config, run_id=new_id(), env_name=name))

    def load_adapter(self, run_id: str, name: str, folder: str) -> Endpoint:
        """Hang a LoRA adapter on a server that runs, as one more model; raise StudioError."""
        run, endpoint = self._serving_run(run_id)
        check_adapter(name, folder, ROOT, run.spec.config.get("max_lora_rank"))
        path = resolve_path(folder, str(ROOT))
        lora.load(endpoint, name, path)
        lora.note(run.dir, "load", name, path)
        return self._serving_run(run.id)[1]

    def unload_adapter(self, run_id: str, name: str) -> Endpoint:
        """Take an adapter off a server again; asking twice does no harm."""
        run, endpoint = self._serving_run(run_id)
        lora.unload(endpoint, name)
        if name in run.dir.hung_on():
            lora.note(run.dir, "unload", name)
        return self._serving_run(run.id)[1]

    def validate(self, engine_id: str, settings: dict[str, Any]) -> tuple[Engine, EngineConfig]:
        """Return the engine and its checked config; raise NotFound or RecipeInvalid."""
        engine = self.engine(engine_id)
        return engine, check_settings(engine.Config, settings, f"settings of {engine.title}")

    # out ----------------------------------------------------------------------------------------

    def plan(self, ask: Launch) -> dict[str, Any]:
        """Return what is known about a launch before it happens."""
        return self.plans.facts(self.preview(ask), ask)

    def serving_plan(
        self, ask: Launch, cards: Sequence[CardMemory] | None = None, *, own: bool = False
    ) -> ServingPlan | None:
        """Return what a server will need and whether it fits; see `Plans.serving`."""
        return self.plans.serving(ask, cards, own=own)

    def training_plan(
        self, ask: Launch, cards: Sequence[CardMemory] | None = None, *, own: bool = False
    ) -> TrainingPlan | None:
        """Return what a training will need and whether it fits; see `Plans.training`."""
        return self.plans.training(ask, cards, own=own)

    def image_plan(
        self,
        ask: Launch,
        cards: Sequence[CardMemory] | None = None,
        host_bytes: int | None = None,
    ) -> ImagePlan | None:
        """Return the ladder of an image editor and where it starts; see `Plans.imaging`."""
        return self.plans.imaging(ask, cards, host_bytes)

    def card_memory(self) -> list[CardMemory]:
        """Return the memory of the cards that engines can use here; none on a CPU machine."""
        return self.plans.card_memory()

    def engine(self, engine_id: str) -> Engine:
        """Return an engine by id; raise NotFound with the nearest name."""
        try:
            return self.engines[engine_id]
        except KeyError:
            known = sorted(self.engines)
            raise NotFound(
                f"There is no engine {engine_id!r}.",
                hint=did_you_mean(engine_id, known) or f"There are: {', '.join(known)}.",
            ) from None

    def first_run(self) -> Recipe:
        """Return the recipe offered to somebody who has never run anything."""
        for recipe in self.recipes.list():
            if recipe.first:
                return recipe
        raise NotFound("No recipe is marked `first: true`.")

    def endpoints(self, kind: str = "chat") -> list[Endpoint]:
        """Return what answers: READY runs first, then the external URLs."""
        return [*self.jobs.endpoints(kind), *self.external.list(kind)]

    def progress(self, run_id: str) -> Progress | None:
        """Return how far a run is, when its engine tells."""
        run = self.jobs.get(run_id)
        engine = self.engines.get(run.spec.engine)
        return engine.progress(run.dir) if engine else None

    def points(self, run_id: str) -> Iterable[Point]:
        """Return the values of a run's curves so far."""
        run = self.jobs.get(run_id)
        engine = self.engines.get(run.spec.engine)
        own = list(engine.points(run.dir)) if engine else []
        if own or run.spec.scrape is None:
            return own
        return [Point(*row) for row in series(run.dir.folder / "served.jsonl")]

    def results(self, run_id: str) -> dict[str, Figure]:
        """Return the figures a run came to; empty while there are none."""
        run = self.jobs.get(run_id)
        engine = self.engines.get(run.spec.engine)
        return engine.results(run.dir) if engine else {}

    def adapters(self, run_id: str) -> list[lora.Adapter]:
        """Ask a running server which adapters hang on it."""
        return lora.list_adapters(self._serving_run(run_id)[1])

    # inside -------------------------------------------------------------------------------------

    def _cards_asked_for(self, spec: RunSpec) -> int | list[int] | None:
        """Return the cards a person gave a run; None where its engine counted them itself.

        The engine counts again then, since a changed setting may need more or fewer.
        """
        need = spec.resources
        if need.gpu_ids is not None:
            return list(need.gpu_ids)
        if not need.num_gpus:
            return None
        engine, config = self.validate(spec.engine, spec.config)
        own = engine.resources(config, self.envs.variant() == "cuda")
        return None if own == need else need.num_gpus

    def _serving_run(self, run_id: str) -> tuple[Run, Endpoint]:
        run = self.jobs.get(run_id)
        for endpoint in self.jobs.endpoints():
            if endpoint.run_id == run.id:
                return run, endpoint
        raise EndpointDown(
            f"Run {run.id} is {run.state} and serves nothing now.",
            hint="Adapters can be hung on a chat server once it is ready.",
        )

    def _writer(self, results: Results) -> str:
        """Return the run that writes results, or was launched to go on with them; empty for none.

        A tool loads for a while before it notes in the folder that it is the one.
        """
        for run in self.jobs.list(states=[state for state in State if state.alive]):
            if run.id == results.about.run or run.spec.config.get("results") == results.name:
                return run.id
        return ""

    def _run_folder(self, run_id: str) -> tuple[Path, bool] | None:
        try:
            run = self.jobs.get(run_id)
        except NotFound:
            return None
        return run.dir.folder, run.state.alive

    def _environment_first(self, engine: Engine) -> tuple[str, ...]:
        """Return the build a launch has to wait for, starting it when the environment is not up."""
        if engine.env is None:
            return ()
        status = self.envs.status(engine.env.name)
        if status.state in (EnvState.READY, EnvState.STALE):
            return ()
        return (self.build_env(engine.env.name).id,)

    def _build_under_way(self, name: str) -> Run | None:
        for run in self.jobs.list(engine=ENV_BUILD, limit=20):
            if run.spec.env_name == name and run.state.alive:
                return run
        return None
