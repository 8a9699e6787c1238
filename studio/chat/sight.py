"""Who may give which pictures, and which endpoint can see them."""

from __future__ import annotations

from studio.chat.album import count_in
from studio.chat.conversations import Conversations
from studio.chat.history import Message
from studio.chat.pictures import GUEST, MOST, OPERATOR, Limits, Picture, PictureRefused, prepare
from studio.core.spec import Endpoint, Pictures


def limits_of(guest: bool) -> Limits:
    """Return what this kind of visitor may give."""
    return GUEST if guest else OPERATOR


def most_of(spec: Pictures | None, limits: Limits) -> int:
    """Return how many pictures one message may have."""
    own = spec.most if spec is not None and spec.most is not None else MOST
    return min(own, limits.most)


def check_sight(endpoint: Endpoint, messages: list[Message]) -> None:
    """Raise PictureRefused when an endpoint cannot see what these messages show."""
    count = count_in(messages)
    if not count:
        return
    if endpoint.text_only:
        raise PictureRefused(
            f"{endpoint.name} reads text alone and cannot see the pictures.",
            hint="Choose or start a vision-language model, such as the recipe vllm/smoke-vl.",
        )
    most = endpoint.pictures.most if endpoint.pictures else None
    if most is not None and count > most:
        raise PictureRefused(
            f"{endpoint.name} takes at most {most} pictures in one request; "
            f"this one would carry {count}, with those asked about before.",
            hint="Send fewer turns of history, or start a new chat.",
        )


def take(data: bytes, store: Conversations, limits: Limits, spec: Pictures | None) -> Picture:
    """Check a picture, make it fit and keep it; raise PictureRefused."""
    if limits.most_kept is not None and len(store.album.names()) >= limits.most_kept:
        raise PictureRefused(
            f"You have {limits.most_kept} pictures here, as many as a guest may.",
            hint="Delete conversations that you no longer need.",
        )
    picture = prepare(data, limits, spec)
    store.album.put(picture)
    return picture
