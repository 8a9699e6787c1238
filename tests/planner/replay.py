"""A replay of what full training on one card asks of torch's caching allocator, tensor by tensor.

Where a formula can only say what lives at the same time, this says which room is found again:
blocks are cut from segments, best fit first, and merge with free neighbours
(c10/cuda/CUDACachingAllocator.cpp, its defaults). The order is that of LLaMA-Factory 0.9.5 with
mixed precision and gradient checkpointing: load, three steps, AdamW made in the first.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from studio.planner.shapes import ModelShape

MIB = 2**20
SMALL, SPLIT, POOLED, SEGMENT, ROUND = MIB, MIB, 10 * MIB, 20 * MIB, 2 * MIB


@dataclass(eq=False)
class Block:
    """A piece of a segment, used or free, between its neighbours."""

    size: int
    used: bool = False
    before: Block | None = None
    after: Block | None = None


@dataclass
class Allocator:
    """The large pool; requests below 1 MiB are left out."""

    reserved: int = 0
    idle: list[Block] = field(default_factory=list)

    def take(self, size: int) -> Block:
        """Return a block of at least `size` bytes."""
        size = -(-size // 512) * 512
        if size < SMALL:
            return Block(0)
        fitting = [block for block in self.idle if block.size >= size]
        if fitting:
            found = min(fitting, key=lambda block: block.size)
            self.idle.remove(found)
        else:
            found = Block(SEGMENT if size < POOLED else -(-size // ROUND) * ROUND)
            self.reserved += found.size
        if found.size - size > SPLIT:
            rest = Block(found.size - size, before=found, after=found.after)
            if rest.after:
                rest.after.before = rest
            found.size, found.after = size, rest
            self.idle.append(rest)
        found.used = True
        return found

    def give(self, *blocks: Block) -> None:
        """Free blocks; they merge with free neighbours and stay reserved."""
        for block in blocks:
            if not block.size:
                continue
            block.used = False
            if block.after and not block.after.used:
                block = self._joined(block, block.after)
            if block.before and not block.before.used:
                block = self._joined(block.before, block)
            if block not in self.idle:
                self.idle.append(block)

    def _joined(self, left: Block, right: Block) -> Block:
        for block in (left, right):
            if block in self.idle:
                self.idle.remove(block)
        left.size, left.after = left.size + right.size, right.after
        if left.after:
            left.after.before = left
        return left


def replay(shape: ModelShape, tokens: int, steps: int = 3) -> int:
    """Return the bytes reserved after a few steps with so many tokens in a batch."""
    card = Allocator()
    take, give = card.take, card.give
    hidden, wide, q, kv = shape.hidden, shape.intermediate, shape.q_dim, shape.kv_dim
    size = {"embedding": shape.vocab * hidden}
    inner = {"q": q, "k": kv, "v": kv, "o": q, "g": wide, "u": wide, "d": wide}
    for n in range(shape.layers):
        size |= {f"{n}.{name}": hidden * width for name, width in inner.items()}
    head = "embedding" if shape.tied else "head"
    size[head] = shape.vocab * hidden

    give(take(2 * sum(size.values())))  # transformers reserves the checkpoint's size at first
    loaded = {name: take(2 * count) for name, count in size.items()}
    for name, count in size.items():  # cast one by one to float32
        take(4 * count)
        give(loaded[name])
    moments = False
    for _ in range(steps):
        casts, inputs = [], []
        state = take(4 * tokens * hidden)
        for n in range(shape.layers):
            inputs.append(state)
            normed, half = take(4 * tokens * hidden), take(2 * tokens * hidden)
            casts += [take(2 * size[f"{n}.{name}"]) for name in "qkvo"]
            heads = [take(2 * tokens * width) for width in (q, kv, kv, q, kv, q)]
            after = take(4 * tokens * hidden)
            give(*heads)
            casts += [take(2 * size[f"{n}.{name}"]) for name in "gud"]
            mlp = [take(2 * tokens * wide) for _ in range(4)]
            state = take(4 * tokens * hidden)
            give(*mlp, normed, half, after)
        cast = take(2 * size[head])
        logits, copy, softmax = (take(each * tokens * shape.vocab) for each in (2, 4, 4))
        give(copy, *casts)
        outputs = take(4 * tokens * shape.vocab)  # accelerate's float32 outputs, not kept
        give(logits, outputs)
        loss, down = take(4 * tokens * shape.vocab), take(4 * tokens * shape.vocab)
        give(loss, softmax)
        narrow = take(2 * tokens * shape.vocab)
        give(down)
        product = take(2 * size[head])
        give(narrow, cast)
        gradients = [take(4 * size[head])]
        give(product)
        for n in reversed(range(shape.layers)):
            widths = [*[2 * hidden] * 4, *[hidden] * 6, *[q] * 5, *[wide] * 4]
            saved = [take(2 * tokens * width) for width in widths]
            again = [take(2 * size[f"{n}.{name}"]) for name in inner]
            for name in reversed(inner):
                passed = take(2 * tokens * (wide if name in "gud" else hidden))
                product = take(2 * size[f"{n}.{name}"])
                gradients.append(take(4 * size[f"{n}.{name}"]))
                give(product, passed)
            give(*saved, *again, inputs[n])
        give(state)
        gradients.append(take(4 * size["embedding"]))
        if not moments:
            for count in size.values():
                take(4 * count)
                take(4 * count)
            moments = True
        give(*gradients)
    return card.reserved
