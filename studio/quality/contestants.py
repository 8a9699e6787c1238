"""Who answers and who judges: `ENDPOINT` or `ENDPOINT::MODEL`, by id, name or address."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from studio.chat.client import check, list_models
from studio.core.errors import NotFound, RecipeInvalid
from studio.core.recipes import did_you_mean
from studio.core.spec import Endpoint
from studio.jobs.jobs import Jobs
from studio.quality.folder import Contestant

SPLIT = "::"


class Asked(NamedTuple):
    """An endpoint and the model on it that is asked. Holds the key, so it is never written."""

    endpoint: Endpoint
    model: str


def find(word: str, endpoints: Sequence[Endpoint]) -> Asked:
    """Return the endpoint and model that a word names; raise NotFound or RecipeInvalid.

    The endpoint is an id, enough of its beginning, a name, or an address. An address that is kept
    among the endpoints is asked with its key, any other without one. Raise EndpointFailed when a
    server had to be asked for its models and does not answer.
    """
    where, _, model = word.strip().partition(SPLIT)
    endpoint = _endpoint(where, endpoints)
    models = list(endpoint.models or list_models(endpoint))
    if not model:
        if len(models) > 1:
            raise RecipeInvalid(
                f"{endpoint.name} serves several models: {', '.join(models)}.",
                hint=f"Write {where}{SPLIT}{models[-1]}, for example.",
            )
        model = models[0]
    elif model not in models:
        raise NotFound(
            f"{endpoint.name} does not serve {model}.",
            hint=did_you_mean(model, models) or f"It serves {', '.join(models)}.",
        )
    return Asked(endpoint, model)


def contestants(
    asked: Sequence[Asked],
    names: Sequence[str],
    source_of: Callable[[Asked], tuple[str, str]],
    known: Iterable[Contestant] = (),
) -> list[Contestant]:
    """Return what is written down of the models, each under a label of its own.

    The label is the given name, else the one it is known by, else the model's, with the
    endpoint's where two share it. `source_of` tells the engine and the folder or hub id of a
    model. Raise RecipeInvalid when two would have the same label.
    """
    models = [one.model for one in asked]
    before = {(one.endpoint, one.model): one.label for one in known}
    labels = list(names) or [
        before.get((one.endpoint.name, one.model))
        or (one.model if models.count(one.model) == 1 else f"{one.model} @ {one.endpoint.name}")
        for one in asked
    ]
    if twice := [label for label in labels if labels.count(label) > 1]:
        raise RecipeInvalid(
            f"Two models would both be called {twice[0]}.", hint="Tell them apart with names."
        )
    return [
        Contestant(
            label=label,
            model=one.model,
            endpoint=one.endpoint.name,
            base_url=one.endpoint.base_url,
            run=one.endpoint.run_id or "",
            server=source_of(one)[0],
            source=source_of(one)[1],
        )
        for label, one in zip(labels, asked, strict=True)
    ]


def source(jobs: Jobs, asked: Asked) -> tuple[str, str]:
    """Return the engine that serves a model and what it was given: adapter, folder or hub id."""
    if not asked.endpoint.run_id:
        return "", ""
    run = jobs.get(asked.endpoint.run_id)
    config = run.spec.config
    hung = {row["name"]: row.get("folder", "") for row in run.dir.adapters() if row["op"] == "load"}
    named = dict(entry.partition("=")[::2] for entry in config.get("lora_modules") or [])
    base = config.get("model") or config.get("model_name_or_path") or ""
    return run.spec.engine, hung.get(asked.model) or named.get(asked.model) or base


def meant(word: str, known: Iterable[Contestant]) -> Contestant | None:
    """Return who a word meant when its endpoint was still there; None for nobody known."""
    where, _, model = word.strip().partition(SPLIT)
    for one in known:
        places = (one.run, one.endpoint, one.base_url, _bare(one.base_url))
        if where.rstrip("/") in places and model in ("", one.model):
            return one
    return None


def check_known(known: Contestant | None, found: Contestant) -> None:
    """Raise RecipeInvalid when a label that has answers now means another model."""
    if known is None or not (known.source and found.source):
        return
    if known.source != found.source:
        raise RecipeInvalid(
            f"{found.label} was {known.source} before and is {found.source} now.",
            hint="Give the other model a name of its own with names.",
        )


def _endpoint(where: str, endpoints: Sequence[Endpoint]) -> Endpoint:
    if where.startswith(("http://", "https://")):
        url = _bare(where)
        known = [one for one in endpoints if _bare(one.base_url) == url]
        return known[0] if known else check(where).model_copy(update={"name": url})
    for fits in (_is, _is_named, _begins):
        found = [one for one in endpoints if fits(one, where)]
        if len(found) == 1:
            return found[0]
        if found:
            raise RecipeInvalid(
                f"Several endpoints are called {where}.",
                hint=f"Name one by its id: {', '.join(one.id for one in found)}.",
            )
    names = [one.name for one in endpoints]
    raise NotFound(
        f"No endpoint called {where} answers now.",
        hint=did_you_mean(where, names)
        or (f"There are: {', '.join(names)}." if names else "Serve a model first."),
    )


def _bare(url: str) -> str:
    return url.rstrip("/").removesuffix("/v1")


def _is(endpoint: Endpoint, word: str) -> bool:
    return endpoint.id == word


def _is_named(endpoint: Endpoint, word: str) -> bool:
    return endpoint.name == word


def _begins(endpoint: Endpoint, word: str) -> bool:
    return len(word) >= 4 and endpoint.id.startswith(word)
