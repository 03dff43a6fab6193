"""Scalars that an objective learns, such as the log variances of heads: parameters `objective/NAME` of a network."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING

from ..lazy import torch
from .base import Objective
from .supervised import Supervised

if TYPE_CHECKING:
    from torch import Tensor, nn

SCOPE = "objective"
"""Name of the module that holds them."""


def attach(network: nn.Module, objective: Objective, frozen: Collection[str] = ()) -> None:
    """Add the scalars that an objective learns to a network, on its device. Those `frozen`, `objective/NAME`, are not
    trained.
    """
    first = objective.learned_parameters() if isinstance(objective, Supervised) else {}
    if not first:
        return
    device = next(iter(network.parameters())).device
    held = torch.nn.ParameterDict(
        {
            name: torch.nn.Parameter(torch.tensor(value, device=device), f"{SCOPE}/{name}" not in frozen)
            for name, value in first.items()
        }
    )
    network.add_module(SCOPE, held)


def parameters_of(network: nn.Module) -> Mapping[str, Tensor]:
    """Return the scalars that the objective learns, by name."""
    held = getattr(network, SCOPE, None)
    return dict(held.items()) if isinstance(held, torch.nn.ParameterDict) else {}
