"""The effective receptive field: how much each position of the input counts for one position of a layer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field, PositiveInt

from ...errors import Problem
from ...lazy import np, torch
from ...shapes import ReceptiveField
from ...spec.analyses import Analysis
from ..layers import unknown_names
from ..measures.classifier import one_input_problems, with_positions
from ..measures.gradient_fields import gradient_energy, positions_seen, spread
from ..measures.over_seeds import over_seeds
from ..measures.parts_of_network import up_to
from ..result import Heat, Lines, Panel, Result

if TYPE_CHECKING:
    from torch import fx

    from ...data.batch import Batch
    from ...graph import Graph
    from ..subject import Subject


class EffectiveField(Analysis):
    """Gradient of the middle of a layer by each position of the input, beside the theoretical receptive field.

    The squared gradient is averaged over inputs, and its standard deviation over positions is `spread`. Figures:
    `spread`; `side` (side of a square of as many positions as have at least 4.55 % of the largest gradient, which a
    Gaussian has within two deviations); `theoretical` (side of the receptive field); `share` = side / theoretical.
    Books: the field is a Gaussian whose width grows with the root of the depth, while the theoretical one grows with
    the depth: n layers of kernels of k have sqrt(n (k^2 - 1) / 12) at initialisation. It is larger after training
    (Luo et al., sections 2 and 3).
    """

    kind: ClassVar[str] = "effective_field"
    source: ClassVar[str] = "Luo, Li, Urtasun & Zemel 2016, arXiv:1701.04128, sections 2 and 3"
    example: ClassVar[str] = "dlx analyze effective_field zoo/effective-field"
    figures: ClassVar[tuple[str, ...]] = ("spread", "side", "theoretical", "share")

    layer: str = Field("", description="the layer whose middle is looked at; the last that has positions")
    examples: PositiveInt = Field(32, description="inputs over which squared gradients are averaged")
    seeds: PositiveInt = Field(6, description="draws of the weights of a spec")

    def problems(self, subject: Subject) -> list[Problem]:
        """Return why no layer has positions of the input."""
        if found := one_input_problems(subject) or unknown_names(subject.graph, [self.layer]):
            return found
        names = [one.name for one in with_positions(subject.graph)]
        if not names:
            return [
                Problem(f"{subject.name} has no layer with positions of its input", "Take a convolutional network.")
            ]
        if self.layer and self.layer not in names:
            return [Problem(f"`{self.layer}` has no positions of the input", f"The last that has is `{names[-1]}`.")]
        return []

    def run(self, subject: Subject) -> Result:
        """Take the gradient of each network."""
        name = self.layer or with_positions(subject.graph)[-1].name
        batch = subject.examples(self.examples)
        each = [self._energy(network, name, batch) for network in subject.several(self.seeds)]
        energy = torch.stack([one / one.sum() for one in each]).mean(0)
        theoretical = _theoretical(subject.graph, name)
        side = positions_seen(energy)
        figures = {"spread": spread(energy), "side": side}
        if theoretical:
            size = float(np.prod([high - low for low, high in theoretical])) ** (1 / len(theoretical))
            figures |= {"theoretical": size, "share": side / size}
        mean, low, high = over_seeds(np.stack([_along(one) for one in each]))
        band = (None, None) if low is None or high is None else (low.clip(0, 1), high.clip(0, 1))
        places = np.arange(len(mean))
        lines = [Lines(name, places, mean, *band)]
        if theoretical:
            lines.append(_bounds(theoretical[-1], float(mean.max())))
        panels = [Panel("gradient along the last axis", "position", "part of the largest", tuple(lines))]
        if energy.dim() == 2:
            root = (energy / energy.max()).sqrt().cpu().numpy()[::-1]
            heat = Heat(np.arange(root.shape[1]), np.arange(root.shape[0]), root, label="part of the largest")
            panels.append(Panel("gradient", "column", "row from below", (heat,)))
        rows = [[seed, spread(one), positions_seen(one)] for seed, one in enumerate(each)]
        return Result(figures, tuple(panels), (("network", "spread", "side"), rows), seeds=len(each))

    def _energy(self, network: fx.GraphModule, name: str, batch: Batch) -> Any:
        maps = up_to(network, [name])
        return gradient_energy(lambda x: maps(x)[0], batch.inputs[0], torch.Generator().manual_seed(0))


def _along(energy: Any) -> Any:
    """Return the root of the energy along the last axis, summed over the others, as part of its largest."""
    along = energy.flatten(0, -2).sum(0) if energy.dim() > 1 else energy
    return (along / along.max()).sqrt().cpu().numpy()


def _theoretical(graph: Graph, name: str) -> list[tuple[float, float]]:
    """Return where the receptive field of the middle of a layer begins and ends on each axis, within the input."""
    node = graph.by_name[name]
    found = node.receptive_field
    if not isinstance(found, ReceptiveField):
        return []
    (shape,) = graph.inputs.values()
    ends = []
    for size, stride, start, length, stops in zip(
        found.size, found.stride, found.start, shape.size, node.shape.size, strict=True
    ):
        first = 0.0 if size is None else float(start + (stops // 2) * stride)
        last = float(length) if size is None else first + float(size)
        ends.append((max(first, 0.0), min(last, float(length))))
    return ends


def _bounds(ends: tuple[float, float], height: float) -> Lines:
    """Return the theoretical field as a dashed box."""
    low, high = ends[0] - 0.5, ends[1] - 0.5
    return Lines("theoretical field", [low, low, high, high], [0.0, height, height, 0.0], dashed=True)
