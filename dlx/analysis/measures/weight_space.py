"""All weights of a network as one point: directions, lines and curves between such points."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from ...lazy import np, torch

if TYPE_CHECKING:
    import numpy.typing as npt
    from torch import Tensor, nn

    Weights = list[Tensor]


def trained_weights(network: nn.Module) -> Weights:
    """Return the parameters that training moves, each once."""
    return [weight for weight in network.parameters() if weight.requires_grad]


def copies(weights: Sequence[Tensor]) -> Weights:
    """Return the values of weights, which no later change reaches."""
    return [weight.detach().clone() for weight in weights]


def move(weights: Sequence[Tensor], start: Sequence[Tensor], *steps: tuple[float, Sequence[Tensor]]) -> None:
    """Set weights to `start` plus each direction times its factor."""
    with torch.no_grad():
        for index, (weight, origin) in enumerate(zip(weights, start, strict=True)):
            weight.copy_(origin)
            for factor, direction in steps:
                weight.add_(direction[index], alpha=factor)


@contextmanager
def restored(weights: Sequence[Tensor]) -> Iterator[Weights]:
    """Give the values of weights, and set them back at the end."""
    start = copies(weights)
    try:
        yield start
    finally:
        move(weights, start)


def filter_normalised(weights: Sequence[Tensor], generator: torch.Generator) -> Weights:
    """Draw a direction whose filters are as long as those of the weights.

    d_f <- d_f / ||d_f|| * ||w_f|| for each filter f, a row of a linear layer among them. Weights of one axis, biases
    and those of norms, do not move.
    Source: Li et al. 2018, arXiv:1712.09913, section 4.
    """
    direction = []
    for weight in weights:
        if weight.dim() < 2:
            direction.append(torch.zeros_like(weight))
            continue
        draws = torch.randn(weight.shape, generator=generator).to(weight)
        direction.append(draws / _filter_lengths(draws).clamp_min(1e-30) * _filter_lengths(weight.detach()))
    return direction


def _filter_lengths(weight: Tensor) -> Tensor:
    lengths: Tensor = torch.linalg.vector_norm(weight, dim=tuple(range(1, weight.dim())), keepdim=True)
    return lengths


def difference(ends: Sequence[Tensor], start: Sequence[Tensor]) -> Weights:
    """Return the direction from one point to another."""
    return [end - origin for end, origin in zip(ends, start, strict=True)]


def bezier(ends: tuple[Sequence[Tensor], Sequence[Tensor]], bend: Sequence[Tensor], t: float) -> Weights:
    """Return the point at t of the curve (1 - t)^2 a + 2 t (1 - t) bend + t^2 b.

    Source: Garipov et al. 2018, arXiv:1802.10026, section 3.2.
    """
    first, last = ends
    return [
        (1 - t) ** 2 * a + 2 * t * (1 - t) * middle + t**2 * b for a, middle, b in zip(first, bend, last, strict=True)
    ]


def barrier(losses: Sequence[float]) -> float:
    """Return how far the losses at equal steps rise above the line between the first and the last.

    Source: Frankle et al. 2020, arXiv:1912.05671, section 2, where it is the error; the loss in Entezari et al. 2022.
    """
    line = np.linspace(losses[0], losses[-1], len(losses))
    return float(max(np.asarray(losses) - line))


def bumpiness(values: npt.NDArray[Any]) -> float:
    """Return how much the rows and columns of a grid go up and down beyond what one minimum takes.

    Of each line it is the sum of |differences|, less (first - least) + (last - least); over all lines, divided by the
    sum of their ranges. It is 0 for a bowl, however stretched, 2 for hills, and does not change with the scale.
    """
    lines = [*values, *values.T] if values.ndim == 2 else [values]
    beyond = sum(float(np.abs(np.diff(line)).sum() - (line[0] + line[-1] - 2 * line.min())) for line in lines)
    ranges = sum(float(np.ptp(line)) for line in lines)
    return max(0.0, beyond / ranges) if ranges > 0 else 0.0
