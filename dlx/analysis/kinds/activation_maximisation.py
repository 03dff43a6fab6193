"""Inputs that make units as active as an input of their size can."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt

from ...errors import Problem
from ...lazy import torch
from ...spec.analyses import Analysis
from ..layers import unknown_names
from ..measures.ascent import ascend_on_sphere, total_variation
from ..measures.attacks import TINY, lengths
from ..measures.classifier import classifier_problems, one_input_problems
from ..measures.gradient_fields import middle
from ..measures.input_space import EXAMPLES, InputSpace, panels_of, space_of
from ..measures.over_seeds import over_seeds
from ..measures.parts_of_network import ending_at
from ..result import Bars, Panel, Result

if TYPE_CHECKING:
    from torch import Tensor, fx

    from ..subject import Subject

    Units = Callable[[Tensor], Tensor]
    """Raw inputs to the activation of every unit, (N, units)."""

MOST = 10
"""Units that are looked at where none are listed."""


class ActivationMaximisation(Analysis):
    """Inputs of a norm that make units of a layer most active, by gradient ascent on the sphere of that norm.

    The norm is the mean one of the training inputs, so that a unit cannot be made active by mere size. A unit of a
    layer with maps is its channel, in the middle or in the mean over positions. Figures, means over units:
    `activation` of what was made, `data_activation` (largest over the data), `noise_activation` (of noise of the same
    norm), `ratio` (the first through the second, where that is above 0), and where the units are the classes of a
    classifier `class_correlation`: of what was made with the mean training input of the class less that of all.
    Books: the pattern that a unit looks for (Prince, section 10.6); of a linear unit it is its weights.
    """

    kind: ClassVar[str] = "activation_maximisation"
    source: ClassVar[str] = (
        "Erhan et al. 2009, Visualizing higher-layer features of a deep network, section 4; Prince, section 10.6"
    )
    example: ClassVar[str] = "dlx analyze activation_maximisation runs/lenet-digits/ID --set layer=conv_2"
    figures: ClassVar[tuple[str, ...]] = (
        "activation",
        "data_activation",
        "noise_activation",
        "ratio",
        "class_correlation",
    )

    layer: str = Field("", description="the layer of the units; the last one, whose units are the outputs")
    units: list[NonNegativeInt] = Field([], description="numbers of units; the first ten where none are listed")
    position: Literal["center", "mean"] = Field("center", description="what of a map is made large")
    norm: PositiveFloat | None = Field(None, description="L2 norm of the inputs; null: the mean one of the data")
    smoothness: NonNegativeFloat = Field(0.0, description="factor on the squared differences of neighbours")
    steps: PositiveInt = Field(100, description="of the ascent")
    seeds: PositiveInt = Field(1, description="draws of the weights of a spec")

    def problems(self, subject: Subject) -> list[Problem]:
        """Return layers and units that the network has not."""
        if found := one_input_problems(subject) or unknown_names(subject.graph, [self.layer]):
            return found
        name = self.layer or next(iter(subject.graph.outputs.values()))
        count = subject.graph.by_name[name].shape[0]
        return [
            Problem(f"`{name}` has no unit {one}: it has {count:,}", f"Take one from 0 to {count - 1:,}.")
            for one in self.units
            if one >= count
        ]

    def run(self, subject: Subject) -> Result:
        """Make an input for each unit of each network."""
        name = self.layer or next(iter(subject.graph.outputs.values()))
        units = self.units or list(range(subject.graph.by_name[name].shape[0]))[:MOST]
        space = space_of(subject)
        data = space.to_raw(subject.examples(1_000).inputs[0])
        templates = _templates(subject, space) if name in subject.graph.outputs.values() else None
        each, alike, shown = [], list[float](), tuple[Panel, ...]()
        for network in subject.several(self.seeds):
            found, images = self._made(_units(ending_at(network, name), space, self.position), space, units, data)
            each.append(found)
            alike += [] if templates is None else [_correlation(images, templates[units])]
            captions = [f"unit {unit}: {value:.3g}" for unit, value in zip(units, found[0], strict=True)]
            title, pairs = f"inputs of the greatest activation of {name}", list(zip(captions, images, strict=True))
            shown = shown or panels_of(title, _around(space, images), pairs, 5)
        mean, low, high = over_seeds(each)
        ends = [(None, None) if low is None or high is None else (low[i], high[i]) for i in range(3)]
        labels = [str(unit) for unit in units]
        words = ("made", "largest of the data", "noise")
        bars = tuple(Bars(word, labels, mean[i], *ends[i]) for i, word in enumerate(words))
        figures = dict(zip(("activation", "data_activation", "noise_activation"), mean.mean(1).tolist(), strict=True))
        if figures["data_activation"] > 0:
            figures["ratio"] = figures["activation"] / figures["data_activation"]
        if alike:
            figures["class_correlation"] = sum(alike) / len(alike)
        rows = [[unit, *mean[:, i].tolist()] for i, unit in enumerate(units)]
        panel = Panel(f"activation of units of {name}", "unit", "activation", bars)
        return Result(figures, (panel, *shown), (("unit", *words), rows), seeds=len(each))

    def _made(self, values: Units, space: InputSpace, units: list[int], data: Tensor) -> tuple[Any, Tensor]:
        """Return activations (3, units) of what is made, of the data and of noise, and the inputs (units, *shape)."""
        norm = self.norm or space.norm
        rows, columns = torch.arange(len(units)), torch.tensor(units)

        def wanted(x: Tensor) -> Tensor:
            return values(x)[rows, columns] - self.smoothness * total_variation(x)

        noise = torch.randn((len(units), *space.shape), generator=torch.Generator().manual_seed(0)).to(data.device)
        images, _ = ascend_on_sphere(wanted, noise, norm, self.steps)
        with torch.no_grad():
            made, random = (
                values(x)[rows, columns] for x in (images, noise * (norm / lengths(noise).clamp_min(TINY)))
            )
            largest = torch.cat([values(chunk) for chunk in torch.split(data, 256)]).amax(0)[columns]
        return torch.stack([made, largest, random]).cpu().numpy(), images


def _units(network: fx.GraphModule, space: InputSpace, position: str) -> Units:
    """Return what gives the activation of each unit, of maps in their middle or their mean."""

    def values(raw: Tensor) -> Tensor:
        found: Tensor = network(space.to_network(raw))
        if found.dim() == 2:
            return found
        if position == "mean":
            return found.flatten(2).mean(2)
        return middle(found)

    return values


def _templates(subject: Subject, space: InputSpace) -> Tensor | None:
    """Return the mean training input of each class less that of all, (classes, *shape); None of other units."""
    if classifier_problems(subject) or subject.supervised.one_logit:
        return None
    batch = subject.examples(EXAMPLES, part="train")
    raw, classes = space.to_raw(batch.inputs[0]), subject.supervised.target(batch)
    means = [raw[classes == k].mean(0) for k in range(subject.facts.classes or 0)]
    return torch.stack(means) - raw.mean(0)


def _correlation(images: Tensor, templates: Tensor) -> float:
    """Return the mean over images of the correlation of their values with those of a template each."""
    pairs = zip(images.flatten(1), templates.flatten(1), strict=True)
    return float(torch.stack([torch.corrcoef(torch.stack(pair))[0, 1] for pair in pairs]).nanmean())


def _around(space: InputSpace, images: Tensor) -> InputSpace:
    """Return a space whose limits hold inputs that are bound by their norm alone, with 0 in its middle."""
    from dataclasses import replace

    most = float(images.abs().max()) or 1.0
    return replace(space, limits=(-most, most))
