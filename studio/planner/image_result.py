"""What an image editor's plan says: frozen, so that plan.json holds it as it is."""

from __future__ import annotations

from studio.core.spec import Frozen
from studio.planner.result import Advice, CardPlan, Plan, Said


class RungPlan(Frozen):
    """One way to hold the pipeline: what it needs and how long it takes. Sizes in bytes."""

    name: str
    fits: bool
    possible: bool = True
    """False when even a person who insists cannot have it."""
    why: str = ""
    """An English sentence: what it takes of what is there, or why it cannot be taken."""
    cards: tuple[CardPlan, ...] = ()
    """Every card it uses, or the host (`card` is None) for a rung on the CPU."""
    host: CardPlan | None = None
    """Host memory; None for a rung that cannot be worked out."""
    host_bytes: int = 0
    """Host memory while it works."""
    host_load_bytes: int = 0
    """Host memory at the fullest moment of loading."""
    load_s: float = 0.0
    encode_s: float = 0.0
    step_s: float = 0.0
    decode_s: float = 0.0
    picture_s: float = 0.0
    """Encoding, all steps of `ImagePlan.steps`, decoding."""
    measured: bool = False
    """True when a step was measured on this machine; else all seconds are expected ones."""
    text_encoder: str = ""
    """card, streamed, apart or host."""
    blocks: int = 0
    """Blocks of the transformer."""
    streamed_blocks: int = 0
    """Those of them that wait in host memory and visit the card."""
    tiling: bool = False
    cfg_mode: str = "sequential"
    fp8_compute: bool = False


class ImagePlan(Plan):
    """What an image editor will need, on which rung it starts, how long a picture takes."""

    model: str = ""
    chosen: str = ""
    """Name of the rung it starts on; empty when none can be taken."""
    rungs: tuple[RungPlan, ...] = ()
    """The ladder, best first."""
    params: int = 0
    disk_bytes: int = 0
    """Weight files that are read while loading."""
    download_bytes: int = 0
    """What the first launch has to fetch; 0 for a folder of this machine."""
    steps: int = 40
    width: int = 1024
    height: int = 1024
    references: int = 1
    cfg: bool = True
    advice: tuple[Advice, ...] = ()
    notes: tuple[Said, ...] = ()
    """Keys below `plan.note` with their values."""

    def rung(self, name: str) -> RungPlan | None:
        """Return one rung of the ladder; None when there is no such name."""
        return next((rung for rung in self.rungs if rung.name == name), None)

    @property
    def first(self) -> RungPlan | None:
        """The rung it starts on."""
        return self.rung(self.chosen)
