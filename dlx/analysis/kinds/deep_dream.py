"""Deep dream: pictures changed so that a layer is more active in all that it already sees."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from pydantic import Field, NonNegativeInt, PositiveFloat, PositiveInt

from ...errors import Problem
from ...lazy import np, torch
from ...spec.analyses import Analysis
from ..layers import unknown_names
from ..measures.attacks import TINY, gradient_of, lengths
from ..measures.classifier import one_input_problems
from ..measures.input_space import InputSpace, panels_of, space_of
from ..measures.over_seeds import over_seeds
from ..measures.parts_of_network import ending_at
from ..result import Lines, Panel, Result

if TYPE_CHECKING:
    from torch import Tensor, fx

    from ..subject import Subject


class DeepDream(Analysis):
    """Gradient ascent on the mean square of a layer's values, from pictures of the data on.

    A step goes `rate` of the mean norm of the data along the gradient, at a picture moved by up to `jitter`
    positions; values stay between the limits of the data. Figures: `growth` (root mean square of the layer after,
    through before), `change` (L2 norm of the change, of the picture's), `random_growth` (after a random
    change of that norm).
    Paper: patterns appear that the layer is for, wherever the picture is a little like them.
    """

    kind: ClassVar[str] = "deep_dream"
    source: ClassVar[str] = "Mordvintsev, Olah & Tyka 2015, Inceptionism: going deeper into neural networks"
    example: ClassVar[str] = "dlx analyze deep_dream runs/lenet-digits/ID --set layer=conv_2"
    figures: ClassVar[tuple[str, ...]] = ("growth", "random_growth", "change")

    layer: str = Field("", description="the layer whose values grow; the one in the middle of the network")
    steps: PositiveInt = Field(30, description="of the ascent")
    rate: PositiveFloat = Field(0.03, description="length of a step, as part of the mean norm of the data")
    jitter: NonNegativeInt = Field(0, description="positions by which the picture is moved at most in each step")
    examples: PositiveInt = Field(8, description="pictures that it begins with")
    seeds: PositiveInt = Field(1, description="draws of the weights of a spec")

    def problems(self, subject: Subject) -> list[Problem]:
        """Return why it is no network of one input, or has no such layer."""
        return one_input_problems(subject) or unknown_names(subject.graph, [self.layer])

    def run(self, subject: Subject) -> Result:
        """Let the layer of each network grow."""
        nodes = subject.graph.nodes
        name = self.layer or nodes[len(nodes) // 2].name
        space = space_of(subject)
        start = space.to_raw(subject.examples(self.examples).inputs[0])
        each, shown = [], tuple[Panel, ...]()
        for network in subject.several(self.seeds):
            sizes, random, end = self._dreamed(ending_at(network, name), space, start)
            each.append((sizes, random, float(lengths(end - start).mean() / lengths(start).mean())))
            pairs = [pair for i, x in enumerate(start) for pair in (("before", x), ("after", end[i]))]
            shown = shown or panels_of("pictures before and after", space, pairs, 8)
        table = np.array([one[0] for one in each])
        growth = over_seeds(table / table[:, :1])
        figures = {
            "growth": float(growth[0][-1]),
            "random_growth": float(np.mean([one[1] / one[0][0] for one in each])),
            "change": float(np.mean([one[2] for one in each])),
        }
        places = np.arange(len(growth[0]))
        panel = Panel(
            f"values of {name}", "step", "root mean square, of that before", (Lines(name, places, *growth),)
        )
        rows = [[int(i), float(value)] for i, value in zip(places, growth[0], strict=True)]
        return Result(figures, (panel, *shown), (("step", "growth"), rows), seeds=len(each))

    def _dreamed(
        self, network: fx.GraphModule, space: InputSpace, start: Tensor
    ) -> tuple[list[float], float, Tensor]:
        """Return the size of the layer at each step, after a random change of the same norm, and the pictures."""
        generator = torch.Generator().manual_seed(0)

        def size(x: Tensor) -> Tensor:
            values: Tensor = network(space.to_network(x))
            return values.flatten(1).square().mean(1)

        x, sizes, axes = start, [], list(range(2, start.dim()))
        for _ in range(self.steps):
            moves = [int(torch.randint(-self.jitter, self.jitter + 1, (), generator=generator)) for _ in axes]
            rolled = x.roll(moves, axes) if self.jitter else x
            found, gradient = gradient_of(size, rolled)
            sizes.append(float(found.mean().sqrt()))
            step = self.rate * space.norm * gradient / lengths(gradient).clamp_min(TINY)
            moved = (rolled + step).clamp(*space.limits)
            x = moved.roll([-move for move in moves], axes) if self.jitter else moved
        noise = torch.randn(start.shape, generator=generator).to(start.device)
        random = start + noise * lengths(x - start) / lengths(noise).clamp_min(TINY)
        with torch.no_grad():
            sizes.append(float(size(x).mean().sqrt()))
            return sizes, float(size(random).mean().sqrt()), x
