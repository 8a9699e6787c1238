"""How long an edit will take: exact counts of operations and bytes over a machine's rates.

What is measured on this machine replaces what is expected, scaled by the counts. Standard library
only; rates are in `calibration`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from . import calibration as cal
from .machine import Card, Machine
from .sizes import DTYPE_BYTES, Sizes

TEXT_TOKENS = 50
"""Tokens of an ordinary instruction."""


@dataclass(frozen=True)
class Work:
    """What one edit is asked to do. Sides in pixels."""

    width: int = 1024
    height: int = 1024
    references: int = 1
    """Pictures that are given."""
    reference_pixels: int = 1024 * 1024
    """Pixels each of them is resized to before the VAE encodes it."""
    condition_pixels: int = 384 * 384
    """Pixels each of them is resized to for the text encoder."""
    steps: int = 40
    cfg: bool = True
    """Whether every step computes twice, with the prompt and with the negative one."""
    cfg_mode: str = "sequential"
    """sequential, batched, or auto: batched where that is faster."""

    @property
    def pixels(self) -> int:
        """Pixels of the picture that is made."""
        return self.width * self.height

    @property
    def largest_pixels(self) -> int:
        """Pixels of the largest picture the VAE sees."""
        return max(self.pixels, self.reference_pixels if self.references else 0)

    @property
    def passes(self) -> int:
        """Passes through the transformer in one step."""
        return 2 if self.cfg else 1

    @property
    def batched(self) -> bool:
        """Whether both passes are computed at once."""
        return self.cfg and self.cfg_mode == "batched"

    def image_tokens(self, sizes: Sizes) -> int:
        """Return the tokens of the picture that is made and of all references."""
        side = sizes.patch * sizes.vae_scale
        return (self.pixels + self.references * self.reference_pixels) // side**2

    def text_tokens(self) -> int:
        """Return the tokens of a prompt: the pictures it sees (28 x 28 pixels each) and words."""
        return TEXT_TOKENS + self.references * self.condition_pixels // 28**2

    def tokens(self, sizes: Sizes) -> int:
        """Return the tokens of one pass."""
        return self.image_tokens(sizes) + self.text_tokens()

    def as_dict(self) -> dict[str, Any]:
        """Return plain values, to be kept beside what was measured."""
        return asdict(self)


@dataclass(frozen=True)
class Seconds:
    """What is expected, in seconds."""

    load_s: float = 0.0
    encode_s: float = 0.0
    step_s: float = 0.0
    decode_s: float = 0.0
    picture_s: float = 0.0
    measured: bool = False
    """True when a step of this rung was measured on this machine."""


@dataclass(frozen=True)
class Pace:
    """What of a rung decides its speed. Sizes in bytes."""

    card: Card | None
    """Card that computes; None for the CPU."""
    cards: int = 1
    """Cards the blocks lie on."""
    streamed: int = 0
    """Weights that cross PCIe in every pass, to the card that gets most of them."""
    streamed_share: float = 0.0
    """Those of all weights."""
    leaf: bool = False
    """Layer by layer from ordinary memory, where nothing overlaps."""
    widened: int = 0
    """Stored weights that are widened before every pass."""
    storage: str = ""
    """fp8, int8, nf4 or gguf; empty for weights as they are."""
    product: bool = False
    """True when matrix products are in fp8."""
    compiled: bool = False
    tiling: bool = False
    text_streamed: int = 0
    """Text encoder weights that come to the card for every new prompt."""
    reloaded: int = 0
    """Weights that come from the disk for every new prompt."""
    read: int = 0
    """Weights that are read, or made, while loading."""
    dummy: bool = False
    pinned: int = 0
    """Host memory that is pinned while loading."""


def linear_flop(sizes: Sizes, work: Work) -> float:
    """Return the operations of one pass but for attention: the matrices of both streams.

    A multiplication with its addition counts two. AdaLN modulation works on one vector per block
    and does not count.
    """
    return 2.0 * 12 * sizes.hidden**2 * sizes.transformer.blocks * work.tokens(sizes)


def attention_flop(sizes: Sizes, work: Work) -> float:
    """Return the operations of one pass that grow with the square of the tokens."""
    return 4.0 * work.tokens(sizes) ** 2 * sizes.hidden * sizes.transformer.blocks


def pass_s(sizes: Sizes, machine: Machine, work: Work, pace: Pace, dtype: str) -> float:
    """Return the seconds one pass computes, whatever its weights wait for."""
    linear, attention = linear_flop(sizes, work), attention_flop(sizes, work)
    if pace.product:
        linear *= cal.PRODUCT_LINEAR[pace.compiled]
    elif pace.compiled:
        linear *= cal.COMPILED_LINEAR
    rate = _flops(machine, pace, dtype)
    widening, attention_s = 0.0, attention / rate
    if pace.card is None or machine.pretended:
        pairs = work.tokens(sizes) ** 2 * sizes.heads * sizes.transformer.blocks
        attention_s += pairs * cal.CPU_SCORE_S / machine.cores
    if pace.card is None:
        widening = pace.widened / (machine.cores * cal.CPU_WIDENED_PER_S)
    elif pace.storage and not pace.product:
        widening = pace.widened * cal.WIDENING[pace.storage] / (_speed(pace).gbps * 1e9)
    return linear / rate + attention_s + widening


def stream_s(pace: Pace) -> float:
    """Return the seconds the streamed weights of one pass are under way."""
    share = cal.PAGEABLE_SHARE if pace.leaf else cal.PCIE_SHARE
    return pace.streamed / (_speed(pace).pcie * 1e9 * share)


def expected(sizes: Sizes, machine: Machine, work: Work, pace: Pace, dtype: str) -> Seconds:
    """Return what a rung takes by arithmetic alone."""
    compute, stream = pass_s(sizes, machine, work, pace, dtype), stream_s(pace)
    visits = 1 if work.batched else work.passes
    if pace.cards > 1 and work.cfg and not work.batched:
        compute *= cal.SPLIT_CFG
    if not pace.leaf:
        compute *= 1 + cal.STREAMED_SLOWER * pace.streamed_share
    if pace.leaf:
        step = work.passes * compute + visits * stream
    else:
        step = max(work.passes * compute, visits * stream)
    encode = cal.ENCODE_BASE_S + _encode_s(sizes, machine, work, pace, dtype)
    first, last = _vae_s(sizes, machine, pace, dtype)
    encode += first * work.references * work.reference_pixels / 2**20
    decode = (cal.DECODE_BASE_S + last) * work.pixels / 2**20
    return Seconds(
        load_s=_load_s(pace),
        encode_s=encode,
        step_s=step,
        decode_s=decode,
        picture_s=encode + work.steps * step + decode,
    )


def remembered(
    estimate: Seconds, told: Mapping[str, Any], then: Seconds, steps: int, *, on_cpu: bool
) -> Seconds:
    """Return what was measured here, scaled from the work it was measured with.

    `then` is what was expected for that work; `estimate` what is for this one.
    """
    if not told.get("step_s"):
        return estimate
    fixed = cal.FIXED_CPU_S if on_cpu else cal.FIXED_S
    step = _scaled(float(told["step_s"]), then.step_s, estimate.step_s, fixed)
    ends = [
        _scaled(float(told[name]), getattr(then, name), getattr(estimate, name), cal.FIXED_END_S)
        if told.get(name)
        else getattr(estimate, name)
        for name in ("encode_s", "decode_s")
    ]
    return Seconds(
        load_s=cal.IMPORT_S + float(told["load_s"]) if told.get("load_s") else estimate.load_s,
        encode_s=ends[0],
        step_s=step,
        decode_s=ends[1],
        picture_s=ends[0] + steps * step + ends[1],
        measured=True,
    )


def _scaled(measured: float, then: float, now: float, fixed: float) -> float:
    """Return a measurement for other work, `fixed` seconds of it being the same for all."""
    return measured * (now + fixed) / (then + fixed)


def _flops(machine: Machine, pace: Pace, dtype: str) -> float:
    """Return the operations per second that are really reached."""
    if pace.card is None or machine.pretended:
        return machine.cores * cal.cpu_gflops(machine.cpu_flags, dtype) * 1e9
    return _speed(pace).tflops * 1e12 * cal.EFFICIENCY * (2 / DTYPE_BYTES[dtype]) ** 2


def _encode_s(sizes: Sizes, machine: Machine, work: Work, pace: Pace, dtype: str) -> float:
    compute = 2.0 * sizes.text_encoder.used_params * work.text_tokens()
    stream = 0.0
    if pace.text_streamed:
        share = cal.PAGEABLE_SHARE if pace.leaf else cal.PCIE_SHARE
        stream = pace.text_streamed / (_speed(pace).pcie * 1e9 * share)
    each = max(compute / _flops(machine, pace, dtype), stream)
    return work.passes * each + pace.reloaded / cal.DISK_BYTES_PER_S


def _vae_s(sizes: Sizes, machine: Machine, pace: Pace, dtype: str) -> tuple[float, float]:
    """Return the seconds of a megapixel's encoding and decoding by this very VAE."""
    share, rate = sizes.vae.params / cal.VAE_PARAMS, _flops(machine, pace, dtype) / 1e12
    if pace.card is None or machine.pretended:
        first, last = cal.VAE_CPU_TFLOP[pace.tiling]
        slower = share**cal.VAE_CPU_NARROW / rate
    else:
        first, last = cal.VAE_S_PER_MPIXEL[pace.tiling]
        slower = share * cal.VAE_TFLOPS / rate
    return first * slower, last * slower


def _speed(pace: Pace) -> cal.Speed:
    return (cal.speed_of(pace.card.name) if pace.card else None) or cal.OTHER_CARD


def _load_s(pace: Pace) -> float:
    on_card = cal.DUMMY_BYTES_PER_S if pace.card else cal.DUMMY_CPU_BYTES_PER_S
    reading = pace.read / (on_card if pace.dummy else cal.DISK_BYTES_PER_S)
    rounding = pace.widened / cal.NARROW_BYTES_PER_S
    return cal.IMPORT_S + reading + rounding + pace.pinned / cal.PIN_BYTES_PER_S
