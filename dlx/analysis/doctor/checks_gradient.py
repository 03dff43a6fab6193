"""Gradients against differences: in double precision, on a few weights drawn from each layer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ...lazy import torch
from .check import Outcome, check, left_out
from .probe import Patient, weights_of

if TYPE_CHECKING:
    from torch import Tensor, nn

    from ...graph import LayerNode

STEPS = (1e-5, 1e-6, 1e-7)
"""Distances to the points that are compared: a kink that lies within one may lie beyond the next."""
FINE, WRONG = 1e-4, 1e-2
"""Relative errors: at most fine where functions have kinks; wrong beyond. Source: CS231n notes, neural networks 3."""
PER_WEIGHT = 4
"""Values of each weight and bias that are checked; of large networks one, or not of all."""
SAMPLES = 8
ROUNDING = 2e-15
"""Of a loss in double precision: ten times the distance between two numbers."""


@dataclass(frozen=True)
class Compared:
    """One value of a weight: backpropagation's derivative, and that by differences."""

    node: LayerNode
    exact: float
    numeric: float
    error: float


@check("gradient check")
def gradient_check(patient: Patient) -> Outcome:
    """Backpropagation's derivatives are those that differences find."""
    expected = f"relative error below {FINE:g}"
    tries = patient.affordable(SAMPLES, 3000) // (2 * len(STEPS))
    if tries < 4:
        return left_out("too large for seconds: --thorough")
    try:
        found, kinks = _compared(patient, tries)
    except (RuntimeError, TypeError) as error:
        return left_out(f"no double precision here: {str(error).splitlines()[0][:60]}")
    if not found:
        return left_out(f"{kinks} values, all at kinks")
    worst = max(found, key=lambda each: each.error)
    apart = f"{worst.error:.0e} at most" if worst.error else "rounding"
    figure = f"{apart}, {len(found)} values" + (f", {kinks} at kinks" if kinks else "")
    if worst.error <= FINE:
        return Outcome("ok", figure, expected)
    last = [each for each in found if each.error > FINE][-1]
    told = (
        f"the derivative by a weight of `{last.node.name}` is {last.exact:.4g} by backpropagation, and "
        f"{last.numeric:.4g} by differences: relative error {last.error:.1e}"
    )
    after = [node.name for node in patient.graph.nodes if last.node.name in node.inputs]
    hint = f"Look at the backward pass of `{last.node.name}`" + (f" and of `{after[0]}`." if after else ".")
    return Outcome("wrong" if worst.error > WRONG else "look", figure, expected, told, hint, last.node.mark)


def _compared(patient: Patient, tries: int) -> tuple[list[Compared], int]:
    """Values that were compared, in the order of the layers, and how many stood at a kink."""
    network = patient.network().double()
    loss = _loss(patient, network)
    weights = list(weights_of(patient, network, axes=0))
    _backward(loss, network)
    generator = torch.Generator().manual_seed(patient.train.seed)
    found, kinks = [], 0
    every = max(1, -(-len(weights) // tries))
    for node, weight in weights[::every]:
        for at in torch.randint(
            weight.numel(), (min(PER_WEIGHT, max(1, tries // len(weights))),), generator=generator
        ):
            exact = 0.0 if weight.grad is None else float(weight.grad.flatten()[at])
            told = _numeric(loss, weight.detach().view(-1), int(at), exact)
            kinks += told is None
            found += [Compared(node, exact, *told)] if told is not None else []
    return found, kinks


def _loss(patient: Patient, network: nn.Module) -> Callable[[], Tensor]:
    """The loss of a few examples: the same each time, with buffers as they were."""
    part = patient.chosen(min(SAMPLES, len(patient.batch)))
    x = part.x.double() if part.x.is_floating_point() else part.x
    y = part.y.double() if part.y.is_floating_point() else part.y
    kept = [(buffer, buffer.clone()) for buffer in network.buffers()]

    def loss() -> Tensor:
        with torch.no_grad():
            for buffer, value in kept:
                buffer.copy_(value)
        torch.manual_seed(patient.train.seed)
        return patient.loss_function(patient.objective.main(network(x)), y)

    return loss


def _backward(loss: Callable[[], Tensor], network: nn.Module) -> None:
    network.zero_grad()
    loss().backward()  # type: ignore[no-untyped-call]


def _numeric(loss: Callable[[], Tensor], weight: Tensor, at: int, exact: float) -> tuple[float, float] | None:
    """The derivative by one value, and its relative error; None where it has one on each side."""
    best: tuple[float, float] | None = None
    with torch.no_grad():
        old, here = float(weight[at]), float(loss())
        for h in STEPS:
            weight[at] = old + h
            above = float(loss())
            weight[at] = old - h
            below = float(loss())
            weight[at] = old
            numeric, noise = (above - below) / (2 * h), ROUNDING * abs(here) / h
            error = relative_error(exact, numeric, noise)
            bends = abs(above - 2 * here + below) / h
            smooth = bends <= 1e-2 * abs(numeric) + noise
            if smooth and (best is None or error < best[1]):
                best = numeric, error
            if smooth and error <= FINE / 100:
                break
    return best


def relative_error(a: float, b: float, noise: float = 0.0) -> float:
    """|a - b| / max(|a|, |b|); 0 where they differ by no more than rounding does."""
    gap = abs(a - b)
    return gap / max(abs(a), abs(b)) if gap > noise else 0.0
