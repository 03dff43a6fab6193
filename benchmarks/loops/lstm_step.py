"""A char-LSTM of 128, window 64, batch 32, Adam, with states that go on from window to window: a step."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
import torch.nn.functional as F
from measure import adam, characters, measured
from torch import Tensor, nn

STEPS, WINDOW, BATCH = 900, 64, 32


class Characters(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embedding, self.cell = nn.Embedding(65, 64), nn.LSTM(64, 128)
        self.out = nn.Linear(128, 65)

    def forward(self, x: Tensor, state: Any) -> tuple[Tensor, Any]:
        y, state = self.cell(self.embedding(x), state)
        return self.out(y), tuple(one.detach() for one in state)


network = Characters


def train(_: torch.memory_format) -> Iterator[Tensor]:
    # by time: the layer would turn batches around
    x, y = (
        one.view(BATCH, STEPS, WINDOW).permute(1, 2, 0).contiguous() for one in characters(BATCH * STEPS * WINDOW)
    )
    net, state = network(), None
    update = adam(net.parameters(), 1e-3)
    for xs, ys in zip(x, y, strict=True):
        logits, state = net(xs, state)
        loss = F.cross_entropy(logits.flatten(0, 1), ys.flatten())
        loss.backward()
        update()
        yield loss


if __name__ == "__main__":
    measured(train)
