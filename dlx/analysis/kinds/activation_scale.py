"""The size of activations and gradients by depth."""

from __future__ import annotations

import fnmatch
from collections.abc import Sequence
from math import isfinite
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field, PositiveInt

from ...errors import Problem
from ...graph import Graph
from ...lazy import np
from ...spec.analyses import Analysis
from ..layers import layers_of, unknown_layers
from ..loss_at import loss_of_outputs
from ..measures.over_seeds import LEAST_TO_LARGEST, sizes_over_seeds
from ..measures.residual_blocks import block_ends, residual_blocks
from ..measures.scales import scales
from ..measures.walk import projection
from ..result import Lines, Panel, Result

if TYPE_CHECKING:
    from torch import fx

    from ...data.batch import Batch
    from ..subject import Subject


class ActivationScale(Analysis):
    """Size of the values at each depth of a network, and of the gradients that arrive there.

    For values h (N, *) the standard deviation over all examples and units, or the variance; for gradients dL/dh the
    root mean square, or the mean square. L sums the outputs of the batch, each with a standard normal weight of its
    own, so that no loss plays a part; with `gradient_of: loss` it is the loss. A spec is looked at as its first step
    of training sees it: norms by the batch, dropout on. A run is looked at in evaluation mode.
    Figures: `first` and `last`, their `ratio`, and `growth_per_layer`, the factor of one place to the next in the
    geometric mean; `gradient_ratio` and `gradient_growth_per_layer` go the way of gradients, from the last place on.
    Books: through K residual blocks the variance grows by 2^K (He), stays 1 where each is scaled by 1 / sqrt(2), and
    is K + 1 with a batch norm first; gradients grow by sqrt(pi / (pi - 1)) = 1.21 for each layer of batch norm, ReLU
    and linear without shortcuts.
    """

    kind: ClassVar[str] = "activation_scale"
    source: ClassVar[str] = (
        "Prince 2023, Understanding Deep Learning, sections 7.5 and 11.3, figures 7.7 and 11.6; "
        "Yang et al. 2019, arXiv:1902.08129, of gradients through batch norm"
    )
    example: ClassVar[str] = "dlx analyze activation_scale udl/residual-54 --set measure=variance"
    figures: ClassVar[tuple[str, ...]] = (
        "first",
        "last",
        "ratio",
        "growth_per_layer",
        "gradient_first",
        "gradient_last",
        "gradient_ratio",
        "gradient_growth_per_layer",
    )

    at: Literal["auto", "blocks", "weights", "all"] = Field(
        "auto",
        description="what residual blocks take and make, layers that multiply, or all; `auto`: blocks, if any",
    )
    layers: list[str] = Field(
        [], description="the places instead, in their order: names of nodes and inputs, `block_*`"
    )
    measure: Literal["standard_deviation", "variance"] = Field(
        "standard_deviation", description="size of the values; with `variance` gradients are squared too"
    )
    gradient_of: Literal["outputs", "loss"] = Field("outputs", description="what the gradients are of")
    examples: PositiveInt = Field(512, description="inputs that are looked at, at most")
    seeds: PositiveInt = Field(6, description="draws of the weights of a spec")

    def without_effect(self) -> dict[str, str]:
        return {"at": "beside `layers`, which are the places"} if self.layers else {}

    def problems(self, subject: Subject) -> list[Problem]:
        """Return names of no layer, and places too few to compare."""
        graph = subject.graph
        found = unknown_layers(
            graph, [one for one in self.layers if not any(_names([one], name) for name in graph.inputs)]
        )
        if self.gradient_of == "loss" and not subject.has_data:
            hint = "Add `data` and an `objective`, or leave `gradient_of` out."
            found.append(Problem(f"`gradient_of: loss` needs data, and {subject.name} names none", hint))
        if not self.layers and not self._places(graph):
            what = "residual block" if self.at == "blocks" else "layer that multiplies"
            found.append(Problem(f"{subject.name} has no {what}", "Take `at: all`, or name `layers`."))
        return found

    def _places(self, graph: Graph) -> list[str]:
        """Return the nodes and inputs that are looked at, in the order of the pass."""
        names = [node.name for node in graph.nodes]
        if self.layers:
            return [*(name for name in graph.inputs if _names(self.layers, name)), *layers_of(graph, self.layers)]
        blocks = residual_blocks(graph) if self.at in ("auto", "blocks") else ()
        if blocks or self.at == "blocks":
            return block_ends(graph, blocks)
        return names if self.at == "all" else [node.name for node in graph.nodes if node.plan.macs > 0]

    def run(self, subject: Subject) -> Result:
        """Run a batch through each network, forward and backward once."""
        batch, places = subject.examples(self.examples), self._places(subject.graph)
        each = np.array([self._sizes(subject, one, batch, places) for one in subject.several(self.seeds)])
        values, gradients = (sizes_over_seeds(each[..., i]) for i in (0, 1))
        depth, words = np.arange(len(places)), self.measure.replace("_", " ")
        of_gradients = "mean square" if self.measure == "variance" else "root mean square"
        rows = [[name, *map(float, row)] for name, *row in zip(places, values[0], gradients[0], strict=True)]
        return Result(
            {**_growth("", values[0]), **_growth("gradient_", gradients[0][::-1])},
            (
                Panel(
                    "activations",
                    "place, from the input on",
                    words,
                    (_line("activations", depth, values),),
                    y_scale="log",
                ),
                Panel(
                    "gradients",
                    "place, from the input on",
                    of_gradients,
                    (_line("gradients", depth, gradients),),
                    y_scale="log",
                ),
            ),
            (("layer", f"{words} of values", f"{of_gradients} of gradients"), rows),
            notes=(LEAST_TO_LARGEST,) if len(each) > 1 else (),
            seeds=len(each),
        )

    def _sizes(
        self, subject: Subject, network: fx.GraphModule, batch: Batch, places: Sequence[str]
    ) -> list[tuple[float, float]]:
        """Return the sizes of values and gradients at each place."""
        loss = projection()
        if self.gradient_of == "loss":
            loss = loss_of_outputs(subject, batch)
        found = scales(network.train(not subject.trained), batch.inputs, loss, places)
        power = 2 if self.measure == "variance" else 1
        return [(found[name].std ** power, found[name].gradient ** power) for name in places]


def _names(patterns: Sequence[str], name: str) -> bool:
    return any(fnmatch.fnmatchcase(name, one) for one in patterns)


def _line(label: str, x: Any, each: tuple[Any, Any, Any]) -> Lines:
    """Return a line with its band, from the first place that has a value: an input has no gradient."""
    mean, low, high = each
    known = np.isfinite(mean)
    band = () if low is None else (low[known], high[known])
    return Lines(label, x[known], mean[known], *band)


def _growth(of: str, sizes: Any) -> dict[str, float]:
    """Return the first and last finite size, their ratio, and the factor of each step in the geometric mean."""
    sizes = sizes[np.isfinite(sizes)]
    if not len(sizes):
        return {}
    found = {"first": float(sizes[0]), "last": float(sizes[-1])}
    if sizes[0] and len(sizes) > 1:
        ratio = float(sizes[-1] / sizes[0])
        found |= {"ratio": ratio, "growth_per_layer": ratio ** (1 / (len(sizes) - 1))}
    return {f"{of}{name}": value for name, value in found.items() if isfinite(value)}
