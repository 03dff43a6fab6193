"""Check of gradients against finite differences, in float64, on a few random weights of each layer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ...lazy import torch
from .check import CheckOutcome, check, not_run
from .probe import Probe, inputs_of, weights_of

if TYPE_CHECKING:
    from torch import Tensor, nn

    from ...graph import LayerNode

STEPS = (1e-5, 1e-6, 1e-7)
"""Steps of the finite differences: a kink within one step may lie outside a smaller one."""
FINE, WRONG = 1e-4, 1e-2
"""Relative errors: fine up to the first, wrong beyond the second. Source: CS231n notes, neural networks 3."""
PER_WEIGHT = 4
"""Number of values checked per weight and bias; for large networks one, or not for all of them."""
SAMPLES = 8
ROUNDING = 2e-15
"""Rounding error of a loss in float64, relative to it: ten times the spacing of two numbers."""


@dataclass(frozen=True)
class ComparedDerivative:
    """The derivative by one value of a weight: by backpropagation, and by finite differences."""

    node: LayerNode
    exact: float
    numeric: float
    error: float


@check("gradient check")
def gradient_check(probe: Probe) -> CheckOutcome:
    """Check that the derivatives of backpropagation are those of finite differences."""
    expected = f"relative error below {FINE:g}"
    tries = probe.affordable_steps(SAMPLES, 3000) // (2 * len(STEPS))
    if tries < 4:
        return not_run("too large for seconds: --thorough")
    try:
        found, kinks = _compare_derivatives(probe, tries)
    except (RuntimeError, TypeError) as error:
        return not_run(f"no double precision here: {str(error).splitlines()[0][:60]}")
    if not found:
        return not_run(f"{kinks} values, all at kinks")
    worst = max(found, key=lambda each: each.error)
    apart = f"{worst.error:.0e} at most" if worst.error else "rounding"
    figure = f"{apart}, {len(found)} values" + (f", {kinks} at kinks" if kinks else "")
    if worst.error <= FINE:
        return CheckOutcome("ok", figure, expected)
    last = [each for each in found if each.error > FINE][-1]
    finding = (
        f"the derivative by a weight of `{last.node.name}` is {last.exact:.4g} by backpropagation, and "
        f"{last.numeric:.4g} by differences: relative error {last.error:.1e}"
    )
    after = [node.name for node in probe.graph.nodes if last.node.name in node.inputs]
    hint = f"Look at the backward pass of `{last.node.name}`" + (f" and of `{after[0]}`." if after else ".")
    return CheckOutcome("wrong" if worst.error > WRONG else "look", figure, expected, finding, hint, last.node.mark)


def _compare_derivatives(probe: Probe, tries: int) -> tuple[list[ComparedDerivative], int]:
    """Compare derivatives in the order of the layers; return them and the number of values at a kink."""
    # In float32 the rounding of the loss hides the difference at any useful step
    network = probe.network().double()
    loss = _loss(probe, network)
    weights = list(weights_of(probe, network, axes=0))
    _backward(loss, network)
    generator = torch.Generator().manual_seed(probe.train.seed)
    found, kinks = [], 0
    every = max(1, -(-len(weights) // tries))
    for node, weight in weights[::every]:
        for at in torch.randint(
            weight.numel(), (min(PER_WEIGHT, max(1, tries // len(weights))),), generator=generator
        ):
            exact = 0.0 if weight.grad is None else float(weight.grad.flatten()[at])
            numeric = _numeric_derivative(loss, weight.detach().view(-1), int(at), exact)
            kinks += numeric is None
            found += [ComparedDerivative(node, exact, *numeric)] if numeric is not None else []
    return found, kinks


def _loss(probe: Probe, network: nn.Module) -> Callable[[], Tensor]:
    """Return a function of the loss of a few examples, which resets buffers and seed at each call."""
    part = probe.examples(min(SAMPLES, len(probe.batch)))
    floats = {name: one.double() if one.is_floating_point() else one for name, one in part.fields.items()}
    part = part.changed(**floats)
    inputs, y = inputs_of(part), probe.targets_of(part)
    saved = [(buffer, buffer.clone()) for buffer in network.buffers()]

    def loss() -> Tensor:
        with torch.no_grad():
            for buffer, value in saved:
                buffer.copy_(value)
        torch.manual_seed(probe.train.seed)
        return probe.loss_function(probe.objective.main(network(*inputs)), y)

    return loss


def _backward(loss: Callable[[], Tensor], network: nn.Module) -> None:
    network.zero_grad()
    loss().backward()  # type: ignore[no-untyped-call]


def _numeric_derivative(
    loss: Callable[[], Tensor], weight: Tensor, at: int, exact: float
) -> tuple[float, float] | None:
    """Return the central difference by one value, and its relative error; None at a kink."""
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
            # at a kink the one-sided differences disagree, however small the step
            bends = abs(above - 2 * here + below) / h
            smooth = bends <= 1e-2 * abs(numeric) + noise
            if smooth and (best is None or error < best[1]):
                best = numeric, error
            if smooth and error <= FINE / 100:
                break
    return best


def relative_error(a: float, b: float, noise: float = 0.0) -> float:
    """Return |a - b| / max(|a|, |b|); 0 where they differ by no more than `noise`, the rounding error."""
    difference = abs(a - b)
    return difference / max(abs(a), abs(b)) if difference > noise else 0.0
