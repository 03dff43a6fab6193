"""Losses and metrics that adversarial objectives share.

Source of the metrics: precision Kynkaanniemi et al. 2019, arXiv:1904.06991, section 2; coverage Naeem et al. 2020,
arXiv:2002.09797, section 3; clusters Srivastava et al. 2017, VEEGAN, arXiv:1705.07761, section 5.1; sliced
Wasserstein distance Rabin et al. 2011, Wasserstein barycenter and its application to texture mixing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import prod
from typing import TYPE_CHECKING

from ..errors import Problem, SpecError
from ..lazy import F, np, torch

if TYPE_CHECKING:
    from torch import Tensor

    from ..data.base import Field
    from ..data.batch import Batch
    from ..shapes import Shape
    from .base import Ports

NEIGHBOURS = 5
"""The neighbour whose distance is the radius of a ball around an example; the number of Naeem et al."""
DEVIATIONS = 3.0
"""Standard deviations from its centre within which a sample is on a cluster; the number of Srivastava et al."""
LEAST = 0.1
"""Share of its examples that a covered cluster has at least in samples."""
LIKELIHOODS = ("non_saturating", "minimax")
"""Losses under which the score is the log odds that an example is real."""
BOUNDS = {"non_saturating": 0.0, "minimax": 0.0, "hinge": 0.0, "least_squares": 0.5}
"""The score above which an example is taken for a real one; that of `wasserstein` has no such value."""


def check_one_number(objective: str, name: str, ports: Ports) -> None:
    """Raise SpecError for a network that does not end in one number an example."""
    shape = only_output(objective, name, ports)
    if prod(shape) != 1:
        message = f"{objective} takes one number an example from `{name}`, and it ends in {shape}"
        raise SpecError(Problem(message, "Let its last layer be `linear: 1`.", path=f"networks.{name}"))


def check_clusters(name: str | None, fields: Mapping[str, Field]) -> None:
    """Raise SpecError for a field `clusters` that is none of classes."""
    if name is not None and (name not in fields or fields[name].classes is None):
        message = f"`clusters` names `{name}`, and the data has no such class"
        raise SpecError(Problem(message, "Name a field of classes, such as `target`, or leave it out."))


def only_output(objective: str, name: str, ports: Ports) -> Shape:
    """Return the shape of the one output of a network. SpecError where there are several."""
    if len(ports.outputs) != 1:
        message = f"{objective} takes one output of `{name}`, and there are {', '.join(ports.outputs)}"
        raise SpecError(Problem(message, "Keep the one: `outputs: NAME`.", path=f"networks.{name}"))
    return next(iter(ports.outputs.values()))


def only_input(objective: str, name: str, ports: Ports) -> Shape:
    """Return the shape of the one input of a network. SpecError where there are several."""
    if len(ports.inputs) != 1:
        message = f"{objective} gives `{name}` one input, and it has {', '.join(ports.inputs)}"
        raise SpecError(Problem(message, "Leave the others out.", path=f"networks.{name}"))
    return next(iter(ports.inputs.values()))


# --- losses ---------------------------------------------------------------------------------------------------------


def discriminator_losses(loss: str, real: Tensor, fake: Tensor) -> tuple[Tensor, Tensor]:
    """Return the losses of scores (N,) of examples and of made ones, each a mean."""
    if loss == "wasserstein":
        return -real.mean(), fake.mean()
    if loss == "hinge":
        return F.relu(1 - real).mean(), F.relu(1 + fake).mean()
    if loss == "least_squares":
        return (real - 1).square().mean(), fake.square().mean()
    return F.softplus(-real).mean(), F.softplus(fake).mean()


def generator_loss(loss: str, fake: Tensor) -> Tensor:
    """Return the loss of the generator of scores (N,) of what it makes."""
    if loss == "minimax":
        return -F.softplus(fake).mean()
    if loss == "least_squares":
        return (fake - 1).square().mean()
    return F.softplus(-fake).mean() if loss == "non_saturating" else -fake.mean()


def gradient_penalty(score: Callable[[Tensor], Tensor], x: Tensor, made: Tensor, share: Tensor) -> Tensor:
    """Return the mean square by which the norm of the gradient of the score differs from 1.

    It is taken at share x + (1 - share) made; `share` has one number an example.
    """
    at = (share * x + (1 - share) * made.detach()).requires_grad_()
    (slope,) = torch.autograd.grad(score(at).sum(), at, create_graph=True)
    penalty: Tensor = (slope.flatten(1).norm(dim=1) - 1).square().mean()
    return penalty


# --- metrics --------------------------------------------------------------------------------------------------------


def radii(x: Tensor, k: int = NEIGHBOURS) -> Tensor:
    """Return the distance (N,) of each example's k-th nearest other one, or of the farthest of fewer."""
    x = x.flatten(1).float()
    # the first is the example itself; `topk` finds the same values, of a thousand six times as fast as `kthvalue`
    return torch.cdist(x, x).topk(min(k + 1, len(x)), dim=1, largest=False).values[:, -1]


def precision_and_coverage(x: Tensor, made: Tensor, radius: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Return the share of samples within the ball of an example, and of examples whose ball has a sample.

    The `radius` (N,) of the ball around each example is by default that of `radii`.
    """
    if len(x) < 2:
        return torch.zeros(()), torch.zeros(())
    radius = radii(x) if radius is None else radius
    inside = torch.cdist(made.flatten(1).float(), x.flatten(1).float()) <= radius
    return inside.any(1).float().mean(), inside.any(0).float().mean()


def precision_and_coverage_of(batch: Batch, field: str, made: Tensor) -> dict[str, Tensor]:
    """Return both by name, for the examples of a batch; their radii are found once for each batch of a part."""
    x = batch[field]
    radius = batch.once(f"radii of {field}", lambda: radii(x))
    return dict(zip(("precision", "coverage"), precision_and_coverage(x, made, radius), strict=True))


def sliced_wasserstein(x: Tensor, made: Tensor, rng: torch.Generator, slices: int = 64) -> Tensor:
    """Return the mean first Wasserstein distance of projections of examples (n, *shape) and as many samples.

    Directions are uniform on the sphere; of single values (n, 1) it is the distance itself, in the unit of the data.
    """
    x, made = x.flatten(1).float(), made.flatten(1).float()
    directions = torch.randn(x.shape[1], slices if x.shape[1] > 1 else 1, generator=rng).to(x.device)
    directions = directions / directions.norm(dim=0)
    distance: Tensor = (_sorted(x @ directions) - _sorted(made @ directions)).abs().mean()
    return distance


def _sorted(columns: Tensor) -> Tensor:
    """Return the values of each column in order; on a CPU by NumPy, ten times as fast as torch."""
    if columns.device.type != "cpu":
        return columns.sort(0).values
    return torch.from_numpy(np.sort(columns.detach().numpy(), axis=0))


def on_clusters(x: Tensor, cluster: Tensor, made: Tensor) -> dict[str, Tensor]:
    """Return the share of samples near the centre of a cluster, and the number of clusters that samples cover.

    Centres are means of the examples (N, d) of each cluster (N,). Near is within three standard deviations, which
    are those of the coordinates, pooled over the clusters. Covered is a cluster that has at least a tenth of the
    share of the samples that it has of the examples.
    """
    x, made = x.flatten(1).float(), made.flatten(1).float()
    names, index, counts = torch.unique(cluster, return_inverse=True, return_counts=True)
    centres = torch.zeros(len(names), x.shape[1], device=x.device).index_add_(0, index, x) / counts[:, None]
    degrees = max(len(x) - len(names), 1) * x.shape[1]
    deviation = ((x - centres[index]).square().sum() / degrees).sqrt()
    distance, nearest = torch.cdist(made, centres).min(1)
    near = distance <= DEVIATIONS * deviation
    shares = torch.bincount(nearest[near], minlength=len(names)) / len(made)
    return {
        "on_cluster": near.float().mean(),
        "clusters": (shares >= LEAST * counts / len(x)).sum().float(),
    }


def label_accuracy(x: Tensor, label: Tensor, made: Tensor) -> Tensor:
    """Return the share of samples whose nearest example has the class (N,) that was asked for."""
    nearest = torch.cdist(made.flatten(1).float(), x.flatten(1).float()).argmin(1)
    return (label[nearest] == label).float().mean()
