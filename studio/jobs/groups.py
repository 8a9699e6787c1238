"""Runs that belong together: which of them offers what, and who stands in front."""

from __future__ import annotations

from collections.abc import Iterable

from studio.core.spec import Endpoint


def routers_first(endpoints: Iterable[Endpoint]) -> list[Endpoint]:
    """Put every router right before its group, offering what its group offers.

    A router does not know what its workers serve, so it is told here at every look: the models
    that all of them have (an adapter hung on one copy alone would fail on the others), their
    sight and their key. Endpoints without a group keep their place.
    """
    found = list(endpoints)
    workers: dict[str, list[Endpoint]] = {}
    for endpoint in found:
        if endpoint.group and not endpoint.routes:
            workers.setdefault(endpoint.group, []).append(endpoint)
    order: dict[str, Endpoint] = {}
    for endpoint in found:
        in_front = [e for e in found if e.routes and e.group and e.group == endpoint.group]
        for router in in_front:
            order.setdefault(router.id, _told(router, workers.get(router.group, [])))
        order.setdefault(endpoint.id, endpoint)
    return list(order.values())


def _told(router: Endpoint, workers: list[Endpoint]) -> Endpoint:
    """Return a router with what its workers have in common; unchanged when none is ready."""
    if not workers:
        return router
    first, *others = workers
    shared = [m for m in first.models if all(m in other.models for other in others)]
    return router.model_copy(
        update={
            "models": router.models or tuple(shared),
            "api_key": router.api_key or first.api_key,
            "pictures": first.pictures,
            "text_only": first.text_only,
        }
    )
