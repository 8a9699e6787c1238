"""The error tree: what went wrong for the user, and what to do. Nothing here logs or prints."""

from __future__ import annotations


class StudioError(Exception):
    """A situation the user can act on; shown as a sentence, never as a traceback.

    `message` says what happened, `hint` what to do about it.
    """

    exit_code = 1

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message} {self.hint}".strip()


class RecipeInvalid(StudioError):
    """A recipe or a set of settings that cannot be used."""

    exit_code = 2


class NotFound(StudioError):
    """A run, recipe, engine, environment or endpoint that does not exist."""

    exit_code = 3


class EnvMissing(StudioError):
    """An engine's environment is not built, broken, or cannot be adopted."""

    exit_code = 4


class NotEnoughGpus(StudioError):
    """More cards were asked for than this machine has."""

    exit_code = 5


class PortTaken(StudioError):
    """A port that somebody else listens on, or that another run has reserved."""

    exit_code = 6


class HomeUnusable(StudioError):
    """The studio's home cannot be read or written."""

    exit_code = 7


class DiskFull(StudioError):
    """No room left for what was asked."""

    exit_code = 8


class RunBusy(StudioError):
    """The run is still alive, so what was asked has to wait."""

    exit_code = 9


class EngineExited(StudioError):
    """An engine ended before it could do what was asked."""

    exit_code = 10


class EndpointDown(StudioError):
    """An endpoint does not answer, or answers with an error."""

    exit_code = 11


class NotAllowed(StudioError):
    """This visitor may not do that."""

    exit_code = 12


class DataInvalid(StudioError):
    """A data file, a data set or an operation on one that cannot be used."""

    exit_code = 13


class NotEnoughMemory(StudioError):
    """The machine has less free memory than a run needs, so the kernel would kill it."""

    exit_code = 13
