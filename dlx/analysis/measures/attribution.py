"""How much each value of an input counts for a score: by its gradient, by a layer's maps, by covering it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Literal

from ...lazy import torch
from .attacks import gradient_of

if TYPE_CHECKING:
    from torch import Tensor

    Score = Callable[[Tensor], Tensor]
    """Inputs (N, *shape) to a score of each, (N,)."""

Rule = Literal["guided", "deconvolution"]


def integrated_gradients(score: Score, x: Tensor, baseline: Tensor, steps: int = 50) -> Tensor:
    """Return (x - baseline) times the mean gradient on the line between them, by the midpoint rule, (N, *shape).

    They sum to score(x) - score(baseline). Source: Sundararajan, Taly & Yan 2017, arXiv:1703.01365, section 3.
    """
    total = torch.zeros_like(x)
    for i in range(steps):
        _, gradient = gradient_of(score, baseline + (i + 0.5) / steps * (x - baseline))
        total += gradient
    return (x - baseline) * total / steps


def smooth_gradient(score: Score, x: Tensor, deviation: float, draws: int, generator: torch.Generator) -> Tensor:
    """Return the mean gradient at inputs with Gaussian noise of a standard deviation, (N, *shape).

    Source: Smilkov et al. 2017, arXiv:1706.03825, section 3.
    """
    total = torch.zeros_like(x)
    for _ in range(draws):
        noise = torch.randn(x.shape, generator=generator).to(x.device)
        total += gradient_of(score, x + deviation * noise)[1]
    return total / draws


@contextmanager
def relu_rule(rule: Rule) -> Iterator[list[int]]:
    """Context in which every ReLU that Python calls passes gradients back by another rule; gives their number.

    `deconvolution`: those above 0, wherever its input lay (Zeiler & Fergus 2014, arXiv:1311.2901, section 2.1).
    `guided`: those above 0 where its input was above 0 too (Springenberg et al. 2015, arXiv:1412.6806, section 3.4).
    It holds for modules and for functions: a hook on modules alone would leave `F.relu` its plain gradient.
    """
    calls: list[int] = []
    mode: Any = torch.overrides.TorchFunctionMode
    functions = {torch.relu, torch.relu_, torch.nn.functional.relu, torch.Tensor.relu, torch.Tensor.relu_}

    class Backward(torch.autograd.Function):
        @staticmethod
        def forward(context: Any, x: Tensor) -> Tensor:
            context.save_for_backward(x)
            return x.clamp_min(0)

        @staticmethod
        def backward(context: Any, *gradients: Tensor) -> Tensor:
            (x,) = context.saved_tensors
            passed = gradients[0].clamp_min(0)
            return passed * (x > 0) if rule == "guided" else passed

    class Mode(mode):  # type: ignore[misc]
        def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            if func in functions:
                calls.append(1)
                return Backward.apply(args[0])  # type: ignore[no-untyped-call]
            return func(*args, **(kwargs or {}))

    with Mode():
        yield calls


def class_activation(maps: Tensor, gradient: Tensor) -> Tensor:
    """Return Grad-CAM (N, *size) of a layer's maps and the gradient of a score by them, both (N, channels, *size).

    max(0, sum_k a_k A_k) with a_k the mean of the gradient over positions.
    Source: Selvaraju et al. 2017, arXiv:1610.02391, section 3, equations 1 and 2.
    """
    weights = gradient.flatten(2).mean(2).view(*gradient.shape[:2], *(1,) * (maps.dim() - 2))
    return (weights * maps).sum(1).clamp_min(0)


def occlusion_map(score: Score, x: Tensor, window: tuple[int, ...], stride: int, fill: Tensor) -> Tensor:
    """Return how much the score of each input falls where a window is covered by `fill`, (N, *stops).

    x is (N, channels, *size); all channels of the window are covered. `fill` is as one input, (channels, *size).
    The last window of an axis ends with the axis. Source: Zeiler & Fergus 2014, arXiv:1311.2901, section 4.2.
    """
    size = x.shape[2:]
    starts = [stops(n, w, stride) for n, w in zip(size, window, strict=True)]
    corners = torch.cartesian_prod(*(torch.tensor(one) for one in starts)).view(-1, len(size))
    with torch.no_grad():
        whole = score(x)
        falls = []
        for corner in corners.tolist():
            place: Any = (..., *(slice(a, a + w) for a, w in zip(corner, window, strict=True)))
            covered = x.clone()
            covered[place] = fill[place]
            falls.append(whole - score(covered))
    return torch.stack(falls, 1).view(len(x), *map(len, starts))


def stops(size: int, window: int, stride: int) -> list[int]:
    """Return where windows of an axis begin: each `stride`, and one that ends with the axis."""
    last = size - window
    return [*range(0, last, stride), last]


def spread_over(falls: Tensor, size: tuple[int, ...], window: tuple[int, ...], stride: int) -> Tensor:
    """Return for each position the mean of the windows that cover it: (N, *stops) to (N, *size)."""
    total = torch.zeros(len(falls), *size, device=falls.device)
    count = torch.zeros(size, device=falls.device)
    starts = [stops(n, w, stride) for n, w in zip(size, window, strict=True)]
    for number, corner in enumerate(torch.cartesian_prod(*map(torch.tensor, starts)).view(-1, len(size)).tolist()):
        place = tuple(slice(a, a + w) for a, w in zip(corner, window, strict=True))
        total[(slice(None), *place)] += falls.flatten(1)[:, number].view(-1, *(1,) * len(size))
        count[place] += 1
    return total / count.clamp_min(1)


def deleted(x: Tensor, order: Tensor, share: float, fill: Tensor) -> Tensor:
    """Return inputs (N, channels, *size) whose first `share` of positions in `order` are replaced by `fill`.

    `order` (N, positions) lists the positions of each input (N, channels, *size), those that count most first.
    Source: Samek et al. 2017, arXiv:1509.06321, section 3.
    """
    covered = x.flatten(2).clone()
    first = order[:, : max(1, round(share * order.shape[1]))]
    index = first[:, None].expand(-1, x.shape[1], -1)
    return covered.scatter_(2, index, fill.flatten(1)[None].expand(len(x), -1, -1).gather(2, index)).view_as(x)
