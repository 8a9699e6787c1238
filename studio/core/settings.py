"""Where things live and how the studio was asked to behave. Paths come from functions."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from studio.core.errors import HomeUnusable

ROOT = Path(__file__).resolve().parents[2]
"""The repository: recipes/ and assets/ are below it."""


class Settings(BaseSettings):
    """What a person may set, by `LADDER_*` variables or command-line options."""

    model_config = SettingsConfigDict(env_prefix="LADDER_", frozen=True, extra="ignore")

    home: Path = Field(
        default_factory=lambda: Path.home() / ".ladder-studio",
        description="Folder for runs, environments, chats and the database.",
    )
    host: str = Field("127.0.0.1", description="Address the page listens on.")
    port: int = Field(7860, ge=1, le=65535, description="Port; a busy one moves to the next free.")
    lang: Literal["auto", "en", "zh"] = Field("auto", description="Language of the page.")
    variant: Literal["auto", "cpu", "cuda"] = Field(
        "auto", description="Which lock the environments are built from."
    )
    largest_upload_gib: float = Field(
        50, gt=0, description="Largest data file the page takes; larger ones are named by path."
    )

    @property
    def runs_dir(self) -> Path:
        """Folder that holds one folder per run."""
        return self.home / "runs"

    @property
    def envs_dir(self) -> Path:
        """Folder that holds one environment per engine."""
        return self.home / "envs"

    @property
    def chats_dir(self) -> Path:
        """Folder that holds conversations, one sub-folder per owner."""
        return self.home / "chats"

    @property
    def recipes_dir(self) -> Path:
        """Folder of the user's own recipes; the shipped ones are in the repository."""
        return self.home / "recipes"

    @property
    def database(self) -> Path:
        """The SQLite file: index of runs, leases, ports, environments, endpoints."""
        return self.home / "studio.db"

    def prepare_home(self) -> None:
        """Make the home and check that it can be written; raise HomeUnusable if not."""
        try:
            for path in (self.home, self.runs_dir, self.envs_dir, self.chats_dir, self.recipes_dir):
                path.mkdir(parents=True, exist_ok=True, mode=0o700)
        except OSError as error:
            raise HomeUnusable(
                f"The studio cannot make its home at {self.home}: {error.strerror}.",
                hint="Choose another folder with --home, or give yourself write access.",
            ) from error
        if not os.access(self.home, os.R_OK | os.W_OK | os.X_OK):
            raise HomeUnusable(
                f"The studio may not write in its home at {self.home}.",
                hint="Choose another folder with --home, or give yourself write access.",
            )
