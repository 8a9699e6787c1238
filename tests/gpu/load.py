"""A steady load on an OpenAI-compatible server: so many requests, so many of them at once.

    asyncio.run(load(url, model, requests=256, concurrency=32, input_len=512, output_len=128))

Prompts are token ids and answers are cut at exactly `output_len` tokens (`ignore_eos`), so random
weights serve as well as real ones. Needs aiohttp, which every engine's environment has.
"""

from __future__ import annotations

import asyncio
import json
import random
import statistics
import time
from dataclasses import asdict, dataclass

import aiohttp


@dataclass(frozen=True)
class Figures:
    """What one load showed; times in milliseconds, throughput in output tokens per second."""

    requests: int
    failed: int
    wall_s: float
    output_tok_s: float
    ttft_mean_ms: float
    ttft_p99_ms: float
    tpot_mean_ms: float

    def as_dict(self) -> dict[str, float]:
        """Return plain values, three digits behind the point."""
        return {key: round(value, 3) for key, value in asdict(self).items()}


async def load(
    url: str,
    model: str,
    *,
    requests: int,
    concurrency: int,
    input_len: int,
    output_len: int,
    vocab: int = 2000,
    seed: int = 0,
) -> Figures:
    """Send the requests and return what was measured from the client's side."""
    dice = random.Random(seed)
    prompts = [[dice.randrange(100, vocab) for _ in range(input_len)] for _ in range(requests)]
    gate = asyncio.Semaphore(concurrency)
    connector = aiohttp.TCPConnector(limit=concurrency + 8)
    timeout = aiohttp.ClientTimeout(total=600)
    async with aiohttp.ClientSession(connector=connector, timeout=timeout) as session:
        began = time.perf_counter()
        done = await asyncio.gather(
            *(_one(session, gate, url, model, prompt, output_len) for prompt in prompts)
        )
        wall = time.perf_counter() - began
    good = [row for row in done if row is not None]
    ttfts = sorted(first for first, _ in good)
    tpots = [(last - first) / (output_len - 1) for first, last in good]
    return Figures(
        requests=requests,
        failed=requests - len(good),
        wall_s=wall,
        output_tok_s=len(good) * output_len / wall,
        ttft_mean_ms=1000 * statistics.fmean(ttfts) if ttfts else float("nan"),
        ttft_p99_ms=1000 * ttfts[int(0.99 * (len(ttfts) - 1))] if ttfts else float("nan"),
        tpot_mean_ms=1000 * statistics.fmean(tpots) if tpots else float("nan"),
    )


async def _one(session, gate, url, model, prompt, output_len) -> tuple[float, float] | None:
    """Return when the first token and the end came, in seconds after sending; None if it failed."""
    body = {
        "model": model,
        "prompt": prompt,
        "max_tokens": output_len,
        "ignore_eos": True,
        "temperature": 0,
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    async with gate:
        began, first, tokens = time.perf_counter(), None, 0
        async with session.post(f"{url}/completions", json=body) as answer:
            if answer.status != 200:
                return None
            async for line in answer.content:
                if not line.startswith(b"data: {"):
                    continue
                if first is None:
                    first = time.perf_counter() - began
                if b'"usage":{' in line:
                    tokens = json.loads(line[6:])["usage"]["completion_tokens"]
        last = time.perf_counter() - began
    return (first, last) if first is not None and tokens == output_len else None
