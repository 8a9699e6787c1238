"""What a launch will need, worked out before it: memory of a server or training, plain facts.

The arithmetic is `studio/planner`; here it is told which cards, how much disk and how many samples
there are.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from studio.core.errors import StudioError
from studio.core.settings import ROOT, Settings
from studio.core.spec import RunSpec, Training
from studio.data.library import DataSets
from studio.engines.engine import Engine, EngineConfig
from studio.envs.envs import Envs
from studio.jobs.shim import cards as gpu
from studio.launch import Launch, resources_of
from studio.planner.image_result import ImagePlan
from studio.planner.images import plan_images
from studio.planner.known import known
from studio.planner.models import hub_cache
from studio.planner.result import CardMemory
from studio.planner.serving import ServingPlan, plan_serving
from studio.planner.training import TrainingPlan, plan_training

Validate = Callable[[str, dict[str, Any]], tuple[Engine, EngineConfig]]


class Plans:
    """Plans launches on this machine, or on cards a person only thinks of."""

    def __init__(self, settings: Settings, envs: Envs, data: DataSets, validate: Validate) -> None:
        self._settings, self._envs, self._data = settings, envs, data
        self._validate = validate

    def facts(self, spec: RunSpec, ask: Launch) -> dict[str, Any]:
        """Return what is known about a launch: command, cards, sizes, its plan if it has one."""
        state = str(self._envs.status(spec.env_name).state) if spec.env_name else ""
        facts = known(
            spec,
            root=ROOT,
            home=self._settings.home,
            env_state=state,
            cards=len(gpu.read_cards()),
        )
        engine, config = self._validate(ask.engine, ask.settings)
        room = engine.room(config, ROOT, self._has_gpu)
        if room is not None:
            facts |= {"disk_needed": room.disk_bytes, "memory_needed": room.memory_bytes}
        kept = self.kept(ask)
        if kept is None:
            return facts
        if engine.imaging(config) is not None:
            return {**facts, "imaging": kept}
        return {**facts, "training" if self._trains(ask) is not None else "serving": kept}

    def kept(self, ask: Launch) -> dict[str, Any] | None:
        """Return the plan that is kept with a run; None when nothing could be worked out."""
        try:
            plan = self.training(ask) or self.serving(ask) or self.imaging(ask)
        except StudioError as error:
            return {"unknown": error.message}
        return None if plan is None else plan.model_dump(mode="json")

    def serving(
        self, ask: Launch, cards: Sequence[CardMemory] | None = None, *, own: bool = False
    ) -> ServingPlan | None:
        """Return what a server will need and whether it fits; None for what cannot be planned.

        `cards` are those to plan for, of a machine one only thinks of, whose disk nobody knows,
        unless they are its `own`; without them this machine's, or its memory when it has none.
        Raises CannotPlan when the model's sizes are not known here.
        """
        engine, config = self._validate(ask.engine, ask.settings)
        need = engine.serving(config)
        if need is None:
            return None
        if cards is not None and not own:
            return plan_serving(need, cards=cards, root=ROOT)
        if cards is None:
            cards = self.card_memory()
            if isinstance(ask.cards, list):
                cards = [card for card in cards if card.index in ask.cards]
        return plan_serving(need, cards=cards, root=ROOT, disk_free_bytes=self._disk_free())

    def training(
        self, ask: Launch, cards: Sequence[CardMemory] | None = None, *, own: bool = False
    ) -> TrainingPlan | None:
        """Return what a training will need and whether it fits; None for what cannot be planned.

        `cards` are those to plan for, of a machine one only thinks of, whose host memory and disk
        nobody knows, unless they are its `own`; without them this machine's, or its memory when it
        has none. Raises CannotPlan when the model's sizes are not known here.
        """
        need = self._trains(ask, None if cards is None else bool(cards))
        if need is None:
            return None
        if cards is not None and not own:
            return plan_training(need, cards=cards, root=ROOT, imagined=True)
        here = self.card_memory()
        if cards is None:
            cards = here
            if isinstance(ask.cards, list):
                cards = [card for card in here if card.index in ask.cards]
        disk = self._disk_free()
        return plan_training(need, cards=cards, root=ROOT, spare=here, disk_free_bytes=disk)

    def imaging(
        self,
        ask: Launch,
        cards: Sequence[CardMemory] | None = None,
        host_bytes: int | None = None,
    ) -> ImagePlan | None:
        """Return the ladder of an image editor; None for what is none.

        `cards` and `host_bytes` are those of a machine one only thinks of; without them this
        machine's, as many cards as the run will be given. Raises CannotPlan when the model's sizes
        are not known here.
        """
        engine, config = self._validate(ask.engine, ask.settings)
        need = engine.imaging(config)
        if need is None:
            return None
        if cards is not None:
            return plan_images(need, cards=cards, root=ROOT, imagined=True, host_bytes=host_bytes)
        here = self.card_memory()
        wanted = resources_of(ask.cards, engine.resources(config, self._has_gpu))
        if wanted.gpu_ids is not None:
            given = [card for card in here if card.index in wanted.gpu_ids]
        else:
            given = sorted(here, key=lambda card: card.used_bytes)[: wanted.num_gpus]
        return plan_images(
            need,
            cards=given,
            root=ROOT,
            spare=len(here) - len(given),
            disk_free_bytes=_disk_of(hub_cache()),
            state_dir=self._settings.home / "cache" / "image-edit",
        )

    def card_memory(self) -> list[CardMemory]:
        """Return the memory of the cards that engines can use here; none on a CPU machine."""
        if not self._has_gpu:
            return []
        return [CardMemory(c.index, c.name, c.total, c.used) for c in gpu.read_cards()]

    @property
    def _has_gpu(self) -> bool:
        return self._envs.variant() == "cuda"

    def _disk_free(self) -> int:
        return shutil.disk_usage(self._settings.home).free

    def _trains(self, ask: Launch, has_gpu: bool | None = None) -> Training | None:
        """Return what a launch trains, its samples counted where the data sets are our own."""
        engine, config = self._validate(ask.engine, ask.settings)
        on_cards = self._has_gpu if has_gpu is None else has_gpu
        wanted = resources_of(ask.cards, engine.resources(config, on_cards))
        need = engine.training(config, wanted.num_gpus)
        if need is None or need.num_samples is not None or getattr(config, "dataset_dir", ""):
            return need
        names = [name.strip() for name in getattr(config, "dataset", "").split(",") if name.strip()]
        try:
            rows = sum(self._data.get(name).rows for name in names)
        except StudioError:
            return need
        kept = round(rows * (1 - getattr(config, "val_size", 0.0)))
        return need.model_copy(update={"num_samples": kept}) if kept else need


def _disk_of(folder: Path) -> int:
    """Return the bytes free where a folder is, or will be made."""
    there = next(path for path in (folder, *folder.parents) if path.exists())
    return shutil.disk_usage(there).free
