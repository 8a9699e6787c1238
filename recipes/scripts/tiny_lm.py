"""A training script as people write them for Accelerate: a tiny language model over bytes.

    accelerate launch recipes/scripts/tiny_lm.py --steps 40

It reads text from a JSONL file, prints one JSON line per logged step (step, loss, lr,
samples_per_s), which the studio turns into curves, and saves the weights into the output folder.
Nothing in it knows the studio; the same file runs with one process or many, on cards or a CPU.
"""

import argparse
import json
import time
from pathlib import Path

import torch
from accelerate import Accelerator
from accelerate.utils import set_seed
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

SAMPLES = Path(__file__).resolve().parents[2] / "assets/data/smoke_text.jsonl"
NUM_BYTES = 256


class TinyLM(nn.Module):
    """Predict the next byte from the bytes so far, with one GRU."""

    def __init__(self, width: int = 64) -> None:
        super().__init__()
        self.embed = nn.Embedding(NUM_BYTES, width)
        self.gru = nn.GRU(width, width, batch_first=True)
        self.head = nn.Linear(width, NUM_BYTES)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """Map tokens [batch, length] to logits [batch, length, 256]."""
        return self.head(self.gru(self.embed(tokens))[0])


def read_windows(path: Path, length: int) -> torch.Tensor:
    """Return the text of a JSONL file as windows of length + 1 bytes, half of each overlapping."""
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    data = torch.tensor(list("\n".join(row["text"] for row in rows).encode()))
    return data.unfold(0, length + 1, length // 2).contiguous()


def train(words: argparse.Namespace) -> None:
    """Train for a number of updates and save the weights."""
    set_seed(words.seed)
    accelerator = Accelerator()
    windows = TensorDataset(read_windows(words.text, words.length))
    loader = DataLoader(windows, batch_size=words.batch_size, shuffle=True, drop_last=True)
    model = TinyLM()
    optimizer = torch.optim.AdamW(model.parameters(), lr=words.lr)
    model, optimizer, loader = accelerator.prepare(model, optimizer, loader)
    accelerator.print(f"processes: {accelerator.num_processes}, {accelerator.distributed_type}")

    step, seen, since = 0, 0, time.monotonic()
    while step < words.steps:
        for (batch,) in loader:
            with accelerator.accumulate(model):
                logits = model(batch[:, :-1])
                loss = nn.functional.cross_entropy(logits.flatten(0, 1), batch[:, 1:].flatten())
                accelerator.backward(loss)
                optimizer.step()
                optimizer.zero_grad()
            seen += len(batch) * accelerator.num_processes
            if not accelerator.sync_gradients:
                continue
            step += 1
            if step % words.log_every == 0:
                mean = accelerator.reduce(loss.detach(), "mean").item()
                speed = seen / (time.monotonic() - since)
                row = {"step": step, "total_steps": words.steps, "loss": round(mean, 5)}
                row |= {"lr": optimizer.param_groups[0]["lr"], "samples_per_s": round(speed, 1)}
                accelerator.print(json.dumps(row), flush=True)
            if step == words.steps:
                break
    accelerator.wait_for_everyone()
    accelerator.save_model(model, words.output)
    accelerator.end_training()


def main() -> None:
    """Read the command line and train."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--text", type=Path, default=SAMPLES)
    parser.add_argument("--output", type=Path, default=Path("artifacts/output"))
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--length", type=int, default=64)
    parser.add_argument("--lr", type=float, default=3e-3)
    parser.add_argument("--log-every", type=int, default=2)
    parser.add_argument("--seed", type=int, default=42)
    train(parser.parse_args())


if __name__ == "__main__":
    main()
