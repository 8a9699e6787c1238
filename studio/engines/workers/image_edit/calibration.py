"""Every figure of the image ladder that is measured or taken from a data sheet, with its source.

The ladder's arithmetic is exact where it counts weights; activations, speeds and what a process
needs beside its model stand here. To recalibrate, measure and change the numbers here alone.
Standard library only. "H200" below is one H200 with the true shape, 1024 x 1024, one reference:
8192 + 240 tokens, diffusers 0.42.1, torch 2.11 with CUDA 13, 2026-11-21. Whole pictures were made
there on several rungs: the plan's card memory was 0 to 4 % above what was allocated, host memory
2 to 4 %.
"""

from __future__ import annotations

from typing import NamedTuple

MIB, GIB = 2**20, 2**30

# --- memory of a card ----------------------------------------------------------------------------

STEP_BYTES_PER_TOKEN = 104_000
"""What a pass of the transformer holds besides weights, per token: 0.81 GiB on an H200, 1.61 with
two at once (batched CFG)."""
COMPILED_SHARE = 0.55
"""The same when the blocks are compiled: 0.44 GiB."""
PRODUCT_SHARE = {False: 2.28, True: 0.47}
"""The same with matrix products in fp8, plain and compiled: 1.84 and 0.38 GiB."""
VAE_BYTES_PER_PIXEL = 4_240
"""What the VAE holds per pixel without tiles: 4.13 GiB to decode a megapixel (2.64 to encode)."""
VAE_TILED_BYTES_PER_PIXEL = 280
"""The same with tiles of 256 x 256: 0.27 GiB."""
ENCODE_BYTES = 300 * MIB
"""What the text encoder holds besides weights for a prompt and up to three small pictures."""
SLOTS = 2
"""Blocks visiting the card at once: the one that computes and the one under way."""
RESERVE_BYTES = 300 * MIB
"""Lost in pieces too small for anything, and cuBLAS workspaces."""

# --- host memory ---------------------------------------------------------------------------------

PIPE_BYTES = 800 * MIB
PIPE_CUDA_BYTES = 2600 * MIB
"""A process with torch, diffusers and the pipeline without weights: 0.53 GB on a CPU with the tiny
model, 2.2 GiB with CUDA."""
FRONT_BYTES = 100 * MIB
COMPILE_BYTES = int(5.6 * GIB)
"""The processes that compile blocks: 8.2 and 22.7 GiB in all where the pipe itself held 2.2 and
16.6."""
HOST_RESERVE_BYTES = 1 * GIB
"""Left for everything else of the machine."""
LOAD_BYTES = 1 * GIB
"""Host memory while weights go straight to a card: one tensor and buffers under way."""

# --- speed ---------------------------------------------------------------------------------------

EFFICIENCY = 0.44
"""Share of the data sheet's dense throughput that a pass reaches: 167 TFLOP in 0.383 s on an H200
(0.775 s a step with CFG). Taken for other cards too."""
STREAMED_SLOWER = 0.15
"""What a step is slower when all blocks are streamed, even if none is waited for: 0.841 s a step
with 33 of 60 of them streamed."""
SPLIT_CFG = 0.87
"""Time of a step's two passes when blocks lie on two cards: one pass begins on the first card while
the other ends on the second: 0.676 s a step (0.391 without CFG) on two H200."""
COMPILED_LINEAR = 0.69
"""Time of everything but attention when the blocks are compiled: 0.603 s a step with CFG, 0.307
without. Compiling took 6 s once, at the first step."""
PRODUCT_LINEAR = {False: 1.10, True: 0.435}
"""The same with matrix products in fp8: plain 0.408 s a pass; compiled 0.469 s a step with CFG,
0.234 without, all blocks on a card held to 23.64 GiB (10 s once to compile)."""
WIDENING = {"fp8": 26.0, "int8": 37.0, "nf4": 9.0, "gguf": 50.0}
"""Bytes of card memory moved per stored byte when weights are widened before every pass: 0.113 s
for fp8, 0.158 s for int8 and 0.022 s for nf4 (bitsandbytes: 0.812 s a step with CFG, 0.405 without)
on an H200; gguf is not measured."""
PCIE_SHARE = 0.86
"""Share of PCIe's nominal rate that copies from pinned memory reach: 51.6 GiB/s of 64 GB/s."""
PAGEABLE_SHARE = 0.15
"""The same from ordinary memory, where nothing overlaps: 9 GiB/s."""
PIN_BYTES_PER_S = 0.95 * GIB
"""How fast weights get into pinned host memory, once, while loading: 36 GiB in 37 to 45 s."""
PRODUCT_FROM = 8.9
"""Compute capability from which cards multiply in fp8."""
VAE_S_PER_MPIXEL = {False: (0.045, 0.068), True: (0.195, 0.6)}
"""Encoding and decoding of 2**20 pixels, without and with tiles, at `VAE_TFLOPS`: whole edits spent
0.23 to 0.30 s and 0.78 to 0.93 s on the end, `DECODE_BASE_S` included."""
VAE_TFLOPS, VAE_PARAMS = 435.0, 126_892_531
"""What an H200 reaches in a pass, and the numbers of that VAE; its seconds are scaled by both."""
VAE_CPU_TFLOP = {False: (8.4, 13.6), True: (12.2, 24.5)}
"""The same on a CPU, as work of `cpu_gflops`: 256 x 256 took two cores 3.06 and 4.91 s in float32,
1.40 and 2.29 s in bfloat16 (torch 2.13, 2026-11-21)."""
VAE_CPU_NARROW = 0.4
"""Power of the VAE's numbers that its seconds go by on a CPU, where narrow convolutions wait for
memory: a megapixel took the tiny VAE of 61,767 numbers 2.13 and 3.50 s in float32."""
CPU_GFLOPS = {"amx_bf16": 400.0, "avx512_bf16": 200.0, "avx512f": 45.0, "avx2": 25.0, "": 4.0}
CPU_FLOAT32_GFLOPS = {"avx512f": 80.0, "avx2": 40.0, "": 6.0}
"""Throughput of one core in bfloat16 and float32, by what the processor can do. Measured with
torch 2.13 on one core of an EPYC with avx512_bf16: products of 3072 x 3072 215 and 93
(2026-11-21); the others are guesses."""
CPU_SCORE_S = 2.0e-9
"""Seconds of one core for one pair of tokens in one head of attention, besides its products: 5.8
in all with heads of 128 in bfloat16, 2.4 with those of 16 in float32 (same machine)."""
CPU_WIDENED_PER_S = 0.23e9
"""Numbers a core widens from fp8 to bfloat16 in a second (same machine)."""
FIXED_S, FIXED_CPU_S, FIXED_END_S = 0.005, 0.1, 0.3
"""What of a step on a card, a step on a CPU, an encoding or a decoding does not grow with the
picture: for figures of small pictures that are scaled up (tiny model on a CPU, 2026-11-21)."""
DISK_BYTES_PER_S = 1.5e9
"""Reading of weight files from a local SSD; a second start finds them in the page cache."""
IMPORT_S = 8.0
"""Imports of torch, transformers and diffusers, before loading begins."""
ENCODE_BASE_S, DECODE_BASE_S = 0.2, 0.2
"""Reading and resizing pictures before a step, writing one of a megapixel after the last."""
DUMMY_BYTES_PER_S = 20e9
DUMMY_CPU_BYTES_PER_S = 1.0e9
"""Random weights made on a card, and on a CPU."""
NARROW_BYTES_PER_S = 60e9
"""bf16 weights rounded to 8 or 4 bits on a card while loading."""


class Speed(NamedTuple):
    """A card's rates. `tflops` is dense bfloat16 with float32 sums, `gbps` memory, `pcie` GB/s."""

    tflops: float
    gbps: float
    pcie: float


CARDS: dict[str, Speed] = {
    "B300": Speed(2250, 8000, 128),
    "B200": Speed(2250, 8000, 64),
    "GH200": Speed(989, 4000, 450),
    "H200": Speed(989, 4800, 64),
    "H100 NVL": Speed(835, 3900, 64),
    "H100 PCIE": Speed(756, 2000, 64),
    "H100": Speed(989, 3350, 64),
    "H800": Speed(989, 3350, 64),
    "H20": Speed(148, 4000, 64),
    "A100": Speed(312, 2000, 32),
    "A800": Speed(312, 2000, 32),
    "A30": Speed(165, 933, 32),
    "A40": Speed(149.7, 696, 32),
    "A10": Speed(125, 600, 32),
    "L40S": Speed(362, 864, 32),
    "L40": Speed(181, 864, 32),
    "L20": Speed(119.5, 864, 32),
    "L4": Speed(121, 300, 32),
    "V100": Speed(112, 900, 16),
    "T4": Speed(65, 320, 16),
    "RTX PRO 6000": Speed(503.8, 1792, 64),
    "RTX 6000 ADA": Speed(364.2, 960, 32),
    "RTX A6000": Speed(154.8, 768, 32),
    "RTX A5000": Speed(111.1, 768, 32),
    "RTX 5090": Speed(209.5, 1792, 64),
    "RTX 5080": Speed(112.6, 960, 64),
    "RTX 5070 TI": Speed(87.9, 896, 64),
    "RTX 4090": Speed(165.2, 1008, 32),
    "RTX 4080": Speed(97.5, 717, 32),
    "RTX 4070 TI": Speed(80.2, 504, 32),
    "RTX 4070": Speed(58.3, 504, 32),
    "RTX 4060 TI": Speed(44.1, 288, 16),
    "RTX 4060": Speed(30.2, 272, 16),
    "RTX 3090 TI": Speed(80.0, 1008, 32),
    "RTX 3090": Speed(71.0, 936, 32),
    "RTX 3080": Speed(59.5, 760, 32),
    "RTX 3070": Speed(40.6, 448, 32),
    "RTX 3060": Speed(25.6, 360, 32),
    "RTX 2080": Speed(42.6, 448, 16),
}
"""By a part of the card's name, from NVIDIA's data sheets and architecture white papers (dense
figures, without sparsity; V100, T4 and RTX 20 have no bfloat16: their float16)."""
OTHER_CARD = Speed(60, 500, 16)
"""For a card that is not in the table: a careful guess."""


def speed_of(name: str) -> Speed | None:
    """Return a card's rates by its name; None for a card that is not in the table."""
    upper = name.upper()
    found = [part for part in CARDS if all(word in upper for word in part.split())]
    return CARDS[max(found, key=len)] if found else None


def cpu_gflops(flags: frozenset[str], dtype: str) -> float:
    """Return what one core does in a second, in GFLOP, by what the processor can."""
    table = CPU_FLOAT32_GFLOPS if dtype == "float32" else CPU_GFLOPS
    return next((rate for flag, rate in table.items() if flag in flags), table[""])
