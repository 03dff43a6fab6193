"""The size of activations and gradients by layer."""

from __future__ import annotations

from math import isfinite
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field, PositiveInt

from ...lazy import np, torch
from ...spec.analyses import Analysis
from ..layers import layers_of, unknown_layers
from ..measures.layer_values import layer_values
from ..measures.over_seeds import over_seeds
from ..result import Lines, Panel, Result

if TYPE_CHECKING:
    from torch import fx

    from ...data.batch import Batch
    from ...errors import Problem
    from ..subject import Subject


class ActivationScale(Analysis):
    """Standard deviation or variance of the outputs of each layer over a batch, and of the gradients by them.

    The gradient is of the sum of the outputs, each with a standard normal weight of its own, so that its size does
    not depend on a loss. Figures are of the last layer against the first: `growth_per_layer` is the geometric mean
    of the ratio of two layers that follow each other, `gradient_growth_per_layer` that of gradients, on the way back.
    Books: both stay near 1 where weights have the variance 2 / fan-in (He et al. 2015) and there are ReLUs; they
    vanish or explode with others.
    """

    kind: ClassVar[str] = "activation_scale"
    source: ClassVar[str] = "Prince 2023, Understanding Deep Learning, section 7.5 and figures 7.7 and 11.6"
    example: ClassVar[str] = "dlx analyze activation_scale udl/residual-54"

    layers: list[str] = Field([], description="nodes to look at, by name or `block_*`; all where it is empty")
    measure: Literal["standard_deviation", "variance"] = Field(
        "standard_deviation", description="of the values of a layer over units and examples"
    )
    examples: PositiveInt = Field(512, description="inputs that are looked at, at most")
    seeds: PositiveInt = Field(6, description="draws of the weights of a spec")

    def problems(self, subject: Subject) -> list[Problem]:
        """Return patterns that name no layer."""
        return unknown_layers(subject.graph, self.layers)

    def run(self, subject: Subject) -> Result:
        """Run a batch through each network forward and backward."""
        batch = subject.examples(self.examples)
        named = layers_of(subject.graph, self.layers)
        power = 2 if self.measure == "variance" else 1
        each = [self._sizes(network, batch, named) for network in subject.several(self.seeds)]
        shown = [name for name in named if name in each[0]]
        sizes = np.array([[one[name] for name in shown] for one in each]) ** power
        forward, backward = over_seeds(sizes[..., 0]), over_seeds(sizes[..., 1])
        places, words = np.arange(1, len(shown) + 1), self.measure.replace("_", " ")
        rows = [[name, *map(float, (forward[0][i], backward[0][i]))] for i, name in enumerate(shown)]
        return Result(
            {**_growth("", forward[0]), **_growth("gradient_", backward[0][::-1])},
            (
                Panel("activations", "layer", words, (Lines("outputs", places, *forward),), y_scale="log"),
                Panel("gradients", "layer", words, (Lines("gradients", places, *backward),), y_scale="log"),
            ),
            (("layer", f"{words} of outputs", f"{words} of gradients"), rows),
            seeds=len(each),
        )

    def _sizes(self, network: fx.GraphModule, batch: Batch, names: list[str]) -> dict[str, tuple[float, float]]:
        """Return the standard deviations of outputs and gradients of layers."""
        output, values = layer_values(network, batch.inputs, gradients=True)
        outputs = output.values() if isinstance(output, dict) else (output,)
        generator = torch.Generator().manual_seed(0)
        ways: Any = sum((one * torch.randn(one.shape, generator=generator).to(one.device)).sum() for one in outputs)
        ways.backward()
        known = {name: values[name] for name in names if name in values and values[name].grad is not None}
        return {
            name: (float(one.detach().std()), float(one.grad.std()))
            for name, one in known.items()
            if one.grad is not None
        }


def _growth(of: str, sizes: Any) -> dict[str, float]:
    """Return the last size, and the geometric mean of the growth from one to the next."""
    growth = float((sizes[-1] / sizes[0]) ** (1 / max(len(sizes) - 1, 1))) if sizes[0] > 0 else float("inf")
    found = {f"{of}last": float(sizes[-1]), f"{of}growth_per_layer": growth}
    return {name: value for name, value in found.items() if isfinite(value)}
