"""Gradients that a recurrent layer hands back from step to step."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

from ...lazy import torch
from .gradient_paths import mean_norm
from .walk import Output, name_of

if TYPE_CHECKING:
    from torch import Tensor, fx


@dataclass
class Steps:
    """What a recurrent layer makes of its steps, the last of its layers: each value is part of all that follows.

    Attributes:
        states: states after each step, (N, values).
        cells: cells of an LSTM after each step, (N, H).
    """

    states: list[Tensor] = field(default_factory=list)
    cells: list[Tensor] = field(default_factory=list)

    def gradient_norms(self, loss: Tensor) -> tuple[list[float], list[float]]:
        """Return the mean over examples of |dL/dh_t| and of |dL/dc_t|, the first step first."""
        wanted = [*self.states, *self.cells]
        found = torch.autograd.grad(loss, wanted, allow_unused=True, materialize_grads=True)
        norms = [mean_norm(each) for each in found]
        return norms[: len(self.states)], norms[len(self.states) :]


def step_by_step(network: fx.GraphModule, inputs: Sequence[Tensor], name: str) -> tuple[Output, Steps]:
    """Run a network whose recurrent layer `name` takes its steps one by one; return its output and the steps.

    The output is that of the network, up to rounding. For layers of one direction, texts that fill their windows.
    """
    found = Steps()

    class Stepping(torch.fx.Interpreter):
        def run_node(self, n: fx.Node) -> Any:
            module = self.submodules.get(n.target) if n.op == "call_module" else None
            if name_of(n) != name or not hasattr(module, "one_step"):
                return super().run_node(n)
            x, *others = (self.env[cast("fx.Node", each)] for each in n.args)
            return _run(module, x, others, found)

    return Stepping(network).run(*inputs), found


def _run(module: Any, x: Tensor, begin: Sequence[Tensor], found: Steps) -> Tensor:
    """Run a recurrent module over x (N, T, C) step by step, and note its values; return what it gives."""
    from ...modules.recurrent import packed

    zeros = module.zeros(x, len(x))
    wired = [state.unsqueeze(0) if state.dim() == 2 else state.transpose(0, 1) for state in begin]
    starts, ends, y = [*wired, *zeros[len(wired) :]], [], x
    for layer in range(module.num_layers):
        steps, values = [], tuple(state[layer] for state in starts)
        for sums in module.sums(y, f"_l{layer}").unbind(1):
            values = module.one_step(sums, values, f"_l{layer}")
            steps.append(values)
        y = torch.stack([h for h, *_ in steps], 1)
        ends.append(values)
    found.states += [h for h, *_ in steps]
    found.cells += [c for _, *cells in steps for c in cells]
    y = y if module.return_sequences else y[:, -1]
    return packed(y, *(torch.stack(each, 1) for each in zip(*ends, strict=True))) if module.packs else y


def spectral_radius(weight: Tensor) -> float:
    """Return the largest absolute eigenvalue of a matrix (H, H)."""
    return float(torch.linalg.eigvals(weight.detach().double()).abs().max())
