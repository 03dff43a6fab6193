"""Adversarial changes of inputs: the largest loss within a distance, and the smallest change of the answer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from ...lazy import torch

if TYPE_CHECKING:
    from torch import Tensor

    Losses = Callable[[Tensor], Tensor]
    """Inputs (N, *shape) to the loss of each, (N,)."""
    Scores = Callable[[Tensor], Tensor]
    """Inputs (N, *shape) to the score of each class, (N, classes)."""

Norm = Literal["inf", "2"]
TINY = 1e-12


@dataclass(frozen=True)
class Ball:
    """Inputs within a distance `radius` of others, whose values lie in `limits` (least, greatest)."""

    radius: float
    norm: Norm = "inf"
    limits: tuple[float, float] | None = None

    def project(self, moved: Tensor, centre: Tensor) -> Tensor:
        """Return the points (N, *shape) of the balls around `centre` that are nearest to `moved`."""
        change = moved - centre
        if self.norm == "inf":
            change = change.clamp(-self.radius, self.radius)
        else:
            change = change * (self.radius / lengths(change).clamp_min(TINY)).clamp_max(1)
        return self.within(centre + change)

    def within(self, x: Tensor) -> Tensor:
        """Return inputs whose values lie in the limits."""
        return x if self.limits is None else x.clamp(*self.limits)

    def steepest(self, gradient: Tensor) -> Tensor:
        """Return the direction of length 1 (N, *shape) along which a linear loss grows most: its sign, or itself."""
        return gradient.sign() if self.norm == "inf" else gradient / lengths(gradient).clamp_min(TINY)

    def random(self, centre: Tensor, generator: torch.Generator) -> Tensor:
        """Return random points of the balls: of a cube uniformly, of a sphere in a random direction."""
        noise = torch.rand(centre.shape, generator=generator).to(centre.device) * 2 - 1
        if self.norm == "2":
            normal = torch.randn(centre.shape, generator=generator).to(centre.device)
            noise = normal / lengths(normal).clamp_min(TINY)
        return self.within(centre + self.radius * noise)


def lengths(x: Tensor) -> Tensor:
    """Return the L2 norm of each example, with axes of one for the others."""
    norms: Tensor = torch.linalg.vector_norm(x.flatten(1), dim=1)
    return norms.view(-1, *(1,) * (x.dim() - 1))


def gradient_of(value: Callable[[Tensor], Tensor], x: Tensor) -> tuple[Tensor, Tensor]:
    """Return the values (N,) of inputs (N, *shape), and the gradient of each by its input, (N, *shape)."""
    x = x.detach().requires_grad_()
    with torch.enable_grad():
        found = value(x)
        (gradient,) = torch.autograd.grad(found.sum(), x)
    return found.detach(), gradient.detach()


def fast_gradient(losses: Losses, x: Tensor, ball: Ball) -> Tensor:
    """Return inputs moved by the radius in the direction in which the loss grows most: x + r sign(dL/dx).

    Source: Goodfellow, Shlens & Szegedy 2015, arXiv:1412.6572, section 4.
    """
    _, gradient = gradient_of(losses, x)
    return ball.within(x + ball.radius * ball.steepest(gradient))


def projected_gradient(
    losses: Losses, x: Tensor, ball: Ball, steps: int, generator: torch.Generator | None = None
) -> Tensor:
    """Return the inputs of the largest loss that `steps` of gradient ascent within the balls around x pass.

    A step is 2.5 radius / steps long; it starts at a random point of the ball with a `generator`, else at x.
    Source: Madry et al. 2018, arXiv:1706.06083, section 2.1.
    """
    moved = x if generator is None else ball.random(x, generator)
    best, largest = x.clone(), torch.full((len(x),), -torch.inf, device=x.device)
    for _ in range(steps + 1):
        found, gradient = gradient_of(losses, moved)
        better = found > largest
        largest = torch.where(better, found, largest)
        best = torch.where(better.view(-1, *(1,) * (x.dim() - 1)), moved, best)
        moved = ball.project(moved + 2.5 * ball.radius / steps * ball.steepest(gradient), x)
    return best


OVERSHOOT = 0.02
"""How much further than the boundary a smallest change goes, so that rounding does not leave it before."""


def smallest_changes(scores: Scores, x: Tensor, steps: int = 50) -> Tensor:
    """Return changes (N, *shape), the smallest in L2 that are found, each to the boundary of another class.

    DeepFool: each step goes to the nearest boundary of the classifier made linear at the point. Of a linear one with
    two classes it is the projection onto the boundary, of length |w.x + b| / ||w||. NaN where `steps` do not suffice.
    Source: Moosavi-Dezfooli, Fawzi & Frossard 2016, arXiv:1511.04599, algorithm 2.
    """
    with torch.no_grad():
        first = scores(x).argmax(1)
    change, open_ = torch.zeros_like(x), torch.ones(len(x), dtype=torch.bool, device=x.device)
    for _ in range(steps):
        if not open_.any():
            break
        change[open_] += _to_nearest_boundary(scores, x[open_] + change[open_], first[open_])
        with torch.no_grad():
            open_ = scores(x + (1 + OVERSHOOT) * change).argmax(1) == first
    change[open_] = torch.nan
    return change


def _to_nearest_boundary(scores: Scores, x: Tensor, first: Tensor) -> Tensor:
    """Return the step of each input to the nearest boundary of `first` (N,), with scores as if they were linear."""
    x = x.detach().requires_grad_()
    with torch.enable_grad():
        values = scores(x)
        own = values.gather(1, first[:, None])
        gradients = [torch.autograd.grad(one.sum(), x, retain_graph=True)[0] for one in (values - own).unbind(1)]
    slopes, heights = torch.stack(gradients, 1), (own - values).detach()
    norms: Tensor = torch.linalg.vector_norm(slopes.flatten(2), dim=2)
    distances = (heights / norms.clamp_min(TINY)).scatter(1, first[:, None], torch.inf)
    nearest = distances.argmin(1)
    rows = torch.arange(len(x), device=x.device)
    slope, height = slopes[rows, nearest], heights[rows, nearest].clamp_min(TINY)
    return slope * (height / norms[rows, nearest].clamp_min(TINY) ** 2).view(-1, *(1,) * (x.dim() - 1))
