"""A GPT of 10.8 M weights, window 256, batch 16, AdamW: a step."""

from __future__ import annotations

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from measure import characters, measured
from torch import Tensor, nn

STEPS, WINDOW, BATCH = 24, 256, 16


class Block(nn.Module):
    def __init__(self, width: int = 384, heads: int = 6) -> None:
        super().__init__()
        self.heads = heads
        self.first, self.second = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.mix = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        n, t, c = x.shape
        q, k, v = self.qkv(self.first(x)).view(n, t, 3, self.heads, c // self.heads).permute(2, 0, 3, 1, 4)
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.mix(y.transpose(1, 2).reshape(n, t, c))
        return x + self.down(F.gelu(self.up(self.second(x))))


class GPT(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.meanings, self.places = nn.Embedding(65, 384), nn.Parameter(torch.randn(WINDOW, 384) * 0.02)
        self.blocks, self.norm = nn.Sequential(*[Block() for _ in range(6)]), nn.LayerNorm(384)
        self.out = nn.Linear(384, 65)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.norm(self.blocks(self.meanings(x) + self.places)))


network = GPT


def train(_: torch.memory_format) -> Iterator[Tensor]:
    x, y = (one.view(-1, WINDOW) for one in characters(BATCH * STEPS * WINDOW))
    net = network()
    optimizer = torch.optim.AdamW(net.parameters(), lr=1e-3, fused=True)
    for index in torch.randperm(len(x)).view(-1, BATCH):
        loss = F.cross_entropy(net(x[index]).flatten(0, 1), y[index].flatten())
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        yield loss


if __name__ == "__main__":
    measured(train)
