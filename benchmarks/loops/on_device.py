"""Training steps by hand on a GPU: the best loop that we know, and that of a tutorial. Seconds a step.

Both take `take(steps)`, which runs them and waits for the device at its end alone.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Take = Callable[[int], None]


def best(network: nn.Module, x: Tensor, y: Tensor, batch: int, optimizer: Any, *, bf16: bool) -> Take:
    """Data on the device, channels last for images, a fused optimizer, no value read before the end."""
    device = x.device
    if x.dim() == 4:
        network, x = network.to(memory_format=torch.channels_last), x.contiguous(memory_format=torch.channels_last)
    network.train()

    def take(steps: int) -> None:
        losses = []
        for step in range(steps):
            if step % (len(x) // batch) == 0:
                batches = torch.randperm(len(x), device=device).split(batch)
            index = batches[step % (len(x) // batch)]
            optimizer.zero_grad(set_to_none=True)
            with torch.autocast(device.type, torch.bfloat16) if bf16 else nullcontext():
                loss = F.cross_entropy(network(x[index]), y[index])
            loss.backward()
            optimizer.step()
            losses.append(loss.detach())
        torch.stack(losses).tolist()

    return take


def naive(network: nn.Module, x: Tensor, y: Tensor, batch: int, optimizer: Any) -> Take:
    """A data loader on the host, a copy to the device and `loss.item()` at each step."""
    device = next(network.parameters()).device
    loader = torch.utils.data.DataLoader(
        torch.utils.data.TensorDataset(x.cpu(), y.cpu()), batch, shuffle=True, drop_last=True
    )
    network.train()

    def take(steps: int) -> None:
        total, done = 0.0, 0
        while done < steps:
            for xs, ys in loader:
                optimizer.zero_grad()
                loss = F.cross_entropy(network(xs.to(device)), ys.to(device))
                loss.backward()
                optimizer.step()
                total += loss.item()
                done += 1
                if done == steps:
                    break

    return take
