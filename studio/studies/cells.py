"""What a study measures: its cases, multiplied by its matrix, each with the launch it needs.

A *cell* is one case with one combination of the matrix. Whether it can be measured on this machine
is asked here too, before anything is launched.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

from studio.core.errors import RecipeInvalid, StudioError
from studio.core.recipes import Bilingual, check_settings, did_you_mean
from studio.core.settings import ROOT
from studio.core.spec import Resources
from studio.engines.study_config import AskOptions, Case, ImageOptions, Measure, StudyConfig
from studio.envs.catalog import find
from studio.jobs.shim import cards as gpu
from studio.launch import Launch, resources_of
from studio.loadtest import TOOLS, plan_load
from studio.studio import Studio

OF_CASE = ("cards", "copies")
"""Names in `matrix` and `common` that are the case's own and no setting of its engine."""
TRAINING_FACTS = (
    "finetuning_type",
    "strategy",
    "offload",
    "num_processes",
    "per_device_train_batch_size",
    "gradient_accumulation_steps",
    "cutoff_len",
    "bf16",
    "fp16",
    "pure_bf16",
    "quantization_bit",
    "gradient_checkpointing",
)
"""Settings of a training that its rows tell, also where they are the engine's defaults."""
GIB = 2**30


class NotMeasurable(StudioError):
    """A cell that this machine cannot measure, and why."""


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One case with one combination of the matrix."""

    name: str
    """As it is shown and kept in points: `tp2`, or `tp2 · max_num_seqs=64`."""
    slug: str
    """The same as a part of file names and ids."""
    case: str
    measure: Measure
    launch: Launch
    images: ImageOptions
    copies: int = 1
    policy: str = "cache_aware"
    title: Bilingual | None = None
    condition: dict[str, Any] = field(default_factory=dict)
    """What its rows say about how they were measured; flat."""
    load: dict[str, Any] = field(default_factory=dict)
    """Settings of the load test; `tool` names its engine."""
    questions: AskOptions | None = None

    @property
    def serves(self) -> bool:
        """True when it is measured on a server, which stays up for all repeats."""
        return self.measure in ("load", "ask", "images")

    @property
    def tool(self) -> str:
        """Engine that makes the load."""
        return self.load.get("tool", TOOLS[0])

    def as_dict(self) -> dict[str, Any]:
        """Return what `study.json` keeps of it, plain values."""
        return {
            "name": self.name,
            "slug": self.slug,
            "case": self.case,
            "title": self.title.model_dump() if self.title else None,
            "measure": self.measure,
            "engine": self.launch.engine,
            "recipe": self.launch.recipe,
            "cards": self.launch.cards,
            "copies": self.copies,
            "condition": self.condition,
        }


def cells(studio: Studio, config: StudyConfig) -> list[Cell]:
    """Return what a study measures, in order; raise RecipeInvalid or NotFound.

    Every cell's settings are checked by its engine, so that a study fails before its first run.
    """
    found = [
        _cell(studio, config, name, case, combination)
        for name, case in config.cases.items()
        for combination in _combinations(config.matrix)
    ]
    _check_common(studio, config, found)
    for cell in found:
        if cell.measure == "load":
            studio.validate(cell.tool, load_settings(cell, config.repeats))
    slugs = [cell.slug for cell in found]
    if len(set(slugs)) < len(slugs):
        raise RecipeInvalid("Two cases of the study come to the same name.", hint="Rename one.")
    return found


def num_cards(studio: Studio, cell: Cell) -> int:
    """Return how many cards a cell holds while it is measured, all copies together."""
    need = needed(studio, cell)
    return need.num_gpus if need.gpu_ids is not None else need.num_gpus * cell.copies


def needed(studio: Studio, cell: Cell) -> Resources:
    """Return the cards of one copy, or those named for all copies."""
    engine, config = studio.validate(cell.launch.engine, cell.launch.settings)
    own = engine.resources(config, studio.envs.variant() == "cuda")
    return resources_of(cell.launch.cards, own)


def num_rows(studio: Studio, cell: Cell, repeats: int) -> int:
    """Return how many points a cell comes to; for a load test one more, that of its server."""
    if cell.measure != "load":
        return repeats
    return plan_load(studio, cell.tool, load_settings(cell, repeats)).points + 1


def load_settings(cell: Cell, repeats: int, base_url: str = "http://127.0.0.1:1/v1") -> dict:
    """Return the settings of a cell's load test, for a server that may not be there yet."""
    own = {key: value for key, value in cell.load.items() if key != "tool"}
    return {"base_url": base_url, "repeats": repeats, **own}


def check_here(studio: Studio, cell: Cell, *, plan: bool = True) -> None:
    """Raise NotMeasurable when this machine cannot measure a cell, with the reason."""
    _check_cards(studio, cell)
    _check_environment(studio, cell)
    engine, config = studio.validate(cell.launch.engine, cell.launch.settings)
    if cell.serves and not engine.serves:
        raise NotMeasurable(f"{engine.title} serves nothing, so it cannot be put under load.")
    at_home = engine.at_home(config, studio.settings.home)
    if at_home is not config:
        studio.data.register()
    try:
        engine.check(at_home, ROOT)
    except StudioError as error:
        raise NotMeasurable(error.message, hint=error.hint) from error
    if plan:
        _check_plan(studio, cell)


# below: helpers ---------------------------------------------------------------------------------


def _combinations(matrix: dict[str, list[Any]]) -> Iterator[dict[str, Any]]:
    for values in itertools.product(*matrix.values()):
        yield dict(zip(matrix, values, strict=True))


def _cell(
    studio: Studio, config: StudyConfig, name: str, case: Case, combination: dict[str, Any]
) -> Cell:
    base = _base(studio, case)
    known = set(studio.engine(base.engine).Config.model_fields)
    common = {key: value for key, value in config.common.items() if key in known}
    of_case = {key: config.common[key] for key in OF_CASE if key in config.common}
    for key, value in combination.items():
        if key in OF_CASE:
            of_case[key] = value
        elif key in known:
            common[key] = value
        else:
            raise RecipeInvalid(
                f"The matrix has {key}, which is not a setting of case {name}.",
                hint=did_you_mean(key, sorted(known)),
            )
    changed = {**case.settings, **common}
    cards = of_case.get("cards", case.cards if case.cards is not None else base.cards)
    launch = replace(base, settings={**base.settings, **changed}, cards=cards)
    studio.validate(launch.engine, launch.settings)
    measure = case.measure or config.measure
    if measure == "ask" and not (config.ask or case.ask):
        raise RecipeInvalid(f"Case {name} asks nothing.", hint="List questions under ask.")
    told = " · ".join([name, *(f"{key}={value}" for key, value in combination.items())])
    return Cell(
        name=told,
        slug=re.sub(r"[^A-Za-z0-9._=-]+", "-", told.replace(" · ", "-")),
        case=name,
        measure=measure,
        launch=launch,
        copies=int(of_case.get("copies", case.copies)),
        policy=case.policy,
        title=case.title,
        condition=_condition(studio, launch, measure, {**changed, **combination}),
        load={**config.load, **case.load} if measure == "load" else {},
        images=check_settings(ImageOptions, {**config.images, **case.images}, f"images of {name}"),
        questions=_questions(config, name, case) if measure == "ask" else None,
    )


def _base(studio: Studio, case: Case) -> Launch:
    if case.engine:
        return Launch(engine=studio.engine(case.engine).id, settings={}, title=case.engine)
    return studio.ask_for(studio.recipes.get(case.recipe))


def _questions(config: StudyConfig, name: str, case: Case) -> AskOptions:
    return check_settings(AskOptions, {**config.ask, **case.ask}, f"ask of {name}")


def _condition(
    studio: Studio, launch: Launch, measure: Measure, changed: dict[str, Any]
) -> dict[str, Any]:
    """Return the flat settings that tell a cell's rows apart."""
    told = {k: v for k, v in changed.items() if isinstance(v, (str, int, float, bool))}
    if measure == "training":
        _, config = studio.validate(launch.engine, launch.settings)
        facts = {name: getattr(config, name, None) for name in TRAINING_FACTS}
        told = {k: v for k, v in facts.items() if v not in (None, "")} | told
    return told


def _check_common(studio: Studio, config: StudyConfig, found: list[Cell]) -> None:
    """Refuse a common setting that no case knows: it would be ignored without a word."""
    known = set(OF_CASE).union(
        *(studio.engine(cell.launch.engine).Config.model_fields for cell in found)
    )
    for key in config.common:
        if key not in known:
            raise RecipeInvalid(
                f"{key} is not a setting of the study or of any of its cases.",
                hint=did_you_mean(key, sorted(known | set(StudyConfig.model_fields)))
                or "Settings of the load test are written load.concurrency, load.input_len, ...",
            )


def _check_cards(studio: Studio, cell: Cell) -> None:
    need = needed(studio, cell)
    have = [card.index for card in gpu.read_cards()] if need.num_gpus else []
    missing = [card for card in need.gpu_ids or () if card not in have]
    if missing:
        raise NotMeasurable(
            f"card {', '.join(map(str, missing))} is named, and this machine shows "
            f"{', '.join(map(str, have)) or 'none'}."
        )
    wanted = num_cards(studio, cell)
    if wanted > len(have):
        raise NotMeasurable(f"needs {wanted} card(s), and this machine has {len(have)}.")


def _check_environment(studio: Studio, cell: Cell) -> None:
    env = studio.engine(cell.launch.engine).env
    if env is None:
        return
    status = studio.envs.status(env.name)
    if not status.state.usable and not find(env.name).comes_for(studio.envs.variant()):
        raise NotMeasurable(status.problem, hint=status.remedy)


def _check_plan(studio: Studio, cell: Cell) -> None:
    """Ask the planner, for cards as they are when nobody else is on them."""
    cards = [replace(card, used_bytes=0) for card in studio.card_memory()] or None
    if cards and isinstance(cell.launch.cards, list):
        cards = [card for card in cards if card.index in cell.launch.cards]
    try:
        plan = (
            studio.training_plan(cell.launch, cards, own=True)
            or studio.serving_plan(cell.launch, cards, own=True)
            or studio.image_plan(cell.launch)
        )
    except StudioError:
        return  # sizes that are not known here, as of a model on the hub: it has to be tried
    if plan is None or plan.fits:
        return
    drawn = getattr(plan, "cards", ())
    over = max((card.over_bytes for card in drawn), default=0)
    if over:
        raise NotMeasurable(f"the plan says that it is {over / GIB:.1f} GiB too large.")
    raise NotMeasurable(f"the plan says that it does not fit ({plan.reason}).")
