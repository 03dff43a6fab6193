"""The values of each layer of a network in a forward pass, and their gradients."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ...lazy import torch

if TYPE_CHECKING:
    from torch import Tensor, fx


def layer_values(
    network: fx.GraphModule, inputs: Sequence[Tensor], *, gradients: bool = False
) -> tuple[Any, dict[str, Tensor]]:
    """Return the output of a network, and that of each layer by the name of its node, (N, *shape).

    With `gradients` a backward pass from the output leaves the gradient of each layer's output in its `grad`.
    """
    found: dict[str, Tensor] = {}

    class Recording(torch.fx.Interpreter):
        def run_node(self, n: fx.Node) -> Any:
            value = super().run_node(n)
            name = n.meta.get("node")
            if name is not None and isinstance(value, torch.Tensor):
                if gradients and value.requires_grad:
                    value.retain_grad()
                found[name] = value
            return value

    return Recording(network, garbage_collect_values=not gradients).run(*inputs), found
