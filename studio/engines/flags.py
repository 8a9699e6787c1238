"""Flags of engines whose versions differ: spelled as the environment knows them, or refused.

What an environment knows comes from `Envs.flags`, which asked its engine once. While nobody has
asked, the newest spelling that older versions accept as well is used and nothing is refused.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from studio.core.errors import RecipeInvalid
from studio.core.recipes import did_you_mean
from studio.core.spec import Placement


@dataclass(frozen=True)
class Flags:
    """The `--flags` of one engine in one environment."""

    engine: str
    """Name for people, such as vLLM."""
    version: str = ""
    known: frozenset[str] | None = None
    """None accepts everything."""

    @classmethod
    def of(cls, engine: str, place: Placement) -> Flags:
        """Return what the engine of a placement understands."""
        return cls(engine, place.version, place.flags)

    def spell(self, setting: str, *spellings: tuple[str, ...]) -> tuple[str, ...]:
        """Return the first spelling that this version lists: a flag and its values.

        Raises RecipeInvalid, with the version and the flag, when it lists none of them.
        """
        for spelling in spellings:
            if self.known is None or spelling[0] in self.known:
                return spelling
        raise RecipeInvalid(
            f"{self._who} has no {spellings[0][0]}, which {setting} needs.",
            hint=f"Leave {setting} out, or use an environment with another version.",
        )

    def check(self, arguments: Iterable[str]) -> None:
        """Raise RecipeInvalid for an extra argument that is a flag this version does not have."""
        for argument in arguments:
            if argument.startswith("--") and not self.has(argument):
                flag = _name(argument)
                near = did_you_mean(flag, sorted(self.known or ()))
                raise RecipeInvalid(
                    f"{self._who} has no {flag}, which extra_args names.",
                    hint=near or "Its `--help` lists what it has.",
                )

    def has(self, argument: str) -> bool:
        """Tell whether a flag is known: `--a_b`, `--a.key` and `--a=value` are `--a`, too.

        `--no-enable-x` stays accepted, unlisted, where the help lists `--disable-x` (vLLM 0.33).
        """
        if self.known is None:
            return True
        name = _name(argument)
        if name in self.known or name.partition(".")[0] in self.known:
            return True
        hidden = name.replace("--no-enable-", "--disable-").replace("--no-disable-", "--enable-")
        return hidden in self.known

    @property
    def _who(self) -> str:
        return f"{self.engine} {self.version}".strip()


def _name(argument: str) -> str:
    return argument.partition("=")[0].replace("_", "-")
