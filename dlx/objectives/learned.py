"""What an objective learns beside the weights, such as the log variances of heads: parameters `objective/NAME`."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any

from ..lazy import torch
from .base import Objective, Values

if TYPE_CHECKING:
    from torch import Tensor, nn
    from torch import device as Device

SCOPE = "objective"
"""Name of the module that holds them."""


def shapes(objective: Objective) -> dict[str, tuple[int, ...]]:
    """Return the shape of each parameter of an objective, by its name in the spec: `objective/NAME`."""
    return {f"{SCOPE}/{name}": _shape(values) for name, values in objective.parameters().items()}


def _shape(values: Values) -> tuple[int, ...]:
    if isinstance(values, int | float):
        return ()
    return (len(values), *(_shape(values[0]) if values else ()))


def module_of(objective: Objective, device: Device, frozen: Collection[str] = ()) -> nn.Module | None:
    """Build the module that holds the parameters of an objective; None where it has none. Those `frozen`,
    `objective/NAME`, are not trained.
    """
    first = objective.parameters()
    return (
        torch.nn.ParameterDict(
            {
                name: torch.nn.Parameter(
                    torch.tensor(value, dtype=torch.get_default_dtype(), device=device),
                    f"{SCOPE}/{name}" not in frozen,
                )
                for name, value in first.items()
            }
        )
        if first
        else None
    )


def whole(networks: Mapping[str, nn.Module], objective: Objective) -> nn.Module:
    """Return the module of all weights as checkpoints name them: the one `network`, or networks by name.

    The parameters of the objective are in it, on the CPU.
    """
    if list(networks) == ["network"]:
        attach(networks["network"], objective)
        return networks["network"]
    held = module_of(objective, torch.device("cpu"))
    return torch.nn.ModuleDict({**networks, **({SCOPE: held} if held is not None else {})})


class PlainCaller:
    """Calls networks by name, as they are."""

    def __init__(self, networks: Mapping[str, nn.Module], parameters: Mapping[str, Tensor]) -> None:
        self.networks, self.parameters = networks, parameters

    def __call__(self, network: str, /, *inputs: Tensor, **named: Tensor) -> Any:
        return self.networks[network](*inputs, **named)


def attach(network: nn.Module, objective: Objective, frozen: Collection[str] = ()) -> None:
    """Add the parameters of an objective to the one network of a training, on its device."""
    if objective.parameters():
        network.add_module(SCOPE, module_of(objective, next(iter(network.parameters())).device, frozen))


def parameters_of(module: nn.Module) -> Mapping[str, Tensor]:
    """Return the parameters of the objective by name: of the one network, or of the module of all networks."""
    held = held_by(module)
    return dict(held.items()) if held is not None else {}


def held_by(module: nn.Module) -> nn.ParameterDict | None:
    """Return the module of the parameters of the objective among all weights of a training; None for none."""
    held = dict(module.named_children()).get(SCOPE)
    return held if isinstance(held, torch.nn.ParameterDict) else None
