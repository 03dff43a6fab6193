"""How the images of a network lie in memory: what its weights ask for, and oneDNN's own layout in evaluations."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ..lazy import nn, torch
from ..spec import Train
from ..utils.torch_private import MissingNameError
from . import fallback

if TYPE_CHECKING:
    from torch import device as Device

BLOCKED = "blocked"
"""Name of oneDNN's own layout, in which channels lie in blocks as wide as the processor's vectors."""
MIN_MACS = 12_000_000
"""MACs of a step, forward, below which it is as quick with channels last: an operation costs less around it there."""


def set_memory_format(network: nn.Module, train: Train, device: Device, precision: str) -> str:
    """Give the weights of convolutions the memory format of the spec, which their outputs take over; its name.

    By `auto` channels of images are last on a CPU, where a step takes 0.66 to 0.9 of the time (LeNet, ResNet-20,
    MobileNet and the start of a DenseNet, on one thread), and on CUDA in the precisions that have tensor cores.
    L-BFGS, and others that look at the loss themselves, flatten gradients by `view(-1)` and need contiguous ones.
    """
    wanted = train.channels_last
    if wanted == "auto":
        wanted = train.optimizer.takes == "gradient" and (device.type == "cpu" or precision in {"bf16", "fp16"})
    kinds = {
        "channels_last": (torch.nn.Conv2d, torch.nn.ConvTranspose2d),
        "channels_last_3d": (torch.nn.Conv3d, torch.nn.ConvTranspose3d),
    }
    if train.channels_last == "auto":
        del kinds["channels_last_3d"]
    if not wanted:
        return "contiguous"
    found = []
    for name, classes in kinds.items():
        weights = [m.weight for m in network.modules() if isinstance(m, classes)]
        weights = [w for w in weights if isinstance(w, torch.nn.Parameter)]  # else it is worked out from others
        for weight in weights:
            weight.data = weight.data.to(memory_format=getattr(torch, name))
        found += [name] if weights else []
    return "+".join(found) or "contiguous"


def lay_in_blocks(network: nn.Module, macs: int, before: str) -> str:
    """Let the steps of a network be in oneDNN's layout where that pays; the name of the memory format of its images.

    The choice hangs on layers and sizes alone, so that it is the same each time.
    """
    if before != "channels_last" or macs < MIN_MACS or step_of(network) is network:
        return before
    for module in network.modules():
        if isinstance(module, torch.nn.Conv2d):
            # gradients of weights lie so there: torch would bring each into another order
            module.weight.data = module.weight.data.contiguous()
    return BLOCKED


def step_of(network: nn.Module) -> Callable[..., Any]:
    """Return the call of a network in oneDNN's layout, for steps; the network itself where it does not pay.

    It is for the modes that the modules have now.
    """
    from .blocked_layout import in_blocks

    if not isinstance(network, torch.fx.GraphModule):
        return network
    return in_blocks(network, gradients=True) or network


def evaluation_of(network: nn.Module, faults: list[str]) -> Callable[..., Any]:
    """Return the call of a network for evaluations: in oneDNN's layout where that pays, else the network itself.

    The choice hangs on the layers alone, so that it is the same each time.
    """
    if not isinstance(network, torch.fx.GraphModule):
        return network
    from .blocked_layout import Evaluation, in_blocks

    blocked = in_blocks(network, gradients=False)
    try:
        return network if blocked is None else Evaluation(network, blocked)
    except MissingNameError as error:
        fallback.note([faults], fallback.LAYOUT, error)
        return network
