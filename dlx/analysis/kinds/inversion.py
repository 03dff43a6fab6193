"""How much of its input a layer still tells: inputs that are made of a layer's values alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from pydantic import Field, NonNegativeFloat, PositiveInt

from ...errors import Problem
from ...lazy import np, torch
from ...spec.analyses import Analysis, Words
from ..layers import unknown_names
from ..measures.ascent import descend, relative_error, total_variation
from ..measures.classifier import one_input_problems
from ..measures.input_space import InputSpace, panels_of, space_of
from ..measures.over_seeds import over_seeds
from ..measures.parts_of_network import ending_at
from ..result import Lines, Panel, Result

if TYPE_CHECKING:
    from torch import Tensor, fx

    from ..subject import Subject

MOST = 6
"""Layers that are looked at where none are named."""


class Inversion(Analysis):
    """Inputs x whose values in a layer are those of an example x0, from the mean training input on.

    Minimises ||f(x) - f(x0)||^2 / ||f(x0)||^2 plus `smoothness` times the squared differences of neighbours, with
    values between the limits of the data. Figures of each layer: `code_error_LAYER`, the first term at the end, and
    `input_error_LAYER` = ||x - x0||^2 / ||x0 - mean||^2, 1 where the layer tells no more than the mean input does.
    `first` and `last` are the input errors of the first and the last layer that are looked at.
    Books: the deeper the layer, the less of the input is left (Mahendran & Vedaldi, figure 6; Prince, section 10.6).
    """

    kind: ClassVar[str] = "inversion"
    source: ClassVar[str] = "Mahendran & Vedaldi 2015, arXiv:1412.0035; Prince, section 10.6"
    example: ClassVar[str] = "dlx analyze inversion digits/lenet"
    figures: ClassVar[tuple[str, ...]] = ("first", "last", "input_error_LAYER", "code_error_LAYER")

    layers: list[str] = Field([], description="nodes whose values are inverted; six of the network, evenly")
    examples: PositiveInt = Field(8, description="inputs that are made again")
    steps: PositiveInt = Field(300, description="updates of each input")
    smoothness: NonNegativeFloat = Field(0.0, description="factor on the squared differences of neighbours")
    seeds: PositiveInt = Field(1, description="draws of the weights of a spec")

    def problems(self, subject: Subject) -> list[Problem]:
        """Return layers that the network has not."""
        return one_input_problems(subject) or unknown_names(subject.graph, self.layers, "layers")

    def words(self, subject: Subject) -> Words:
        return {"LAYER": [_in_figures(name) for name in self._names(subject)]}

    def _names(self, subject: Subject) -> list[str]:
        """Return the nodes whose values are inverted."""
        return self.layers or _evenly([node.name for node in subject.graph.nodes])

    def run(self, subject: Subject) -> Result:
        """Invert each layer of each network."""
        names = self._names(subject)
        space = space_of(subject)
        x0 = space.to_raw(subject.examples(self.examples).inputs[0])
        each, made = [], list[list["Tensor"]]()
        for network in subject.several(self.seeds):
            found = [self._inverted(ending_at(network, name), space, x0) for name in names]
            each.append([(code, error) for code, error, _ in found])
            made.append([x for _, _, x in found])
        table = np.array(each)
        errors, places = over_seeds(table[..., 1]), np.arange(1, len(names) + 1)
        codes = over_seeds(table[..., 0])
        figures = {"first": float(errors[0][0]), "last": float(errors[0][-1])}
        for i, name in enumerate(names):
            words = _in_figures(name)
            figures |= {f"input_error_{words}": float(errors[0][i]), f"code_error_{words}": float(codes[0][i])}
        shown = [("input", one) for one in x0]
        for name, images in zip(names, made[0], strict=True):
            shown += [(name, one) for one in images]
        panel = Panel(
            "what is lost of the input",
            "layer",
            "squared error, of the mean input's",
            (Lines("input", places, *errors),),
        )
        rows = [[name, float(errors[0][i]), float(codes[0][i])] for i, name in enumerate(names)]
        pictures = panels_of("inputs, and those of the same values in a layer", space, shown, len(x0))
        return Result(figures, (panel, *pictures), (("layer", "input error", "code error"), rows), seeds=len(each))

    def _inverted(self, network: fx.GraphModule, space: InputSpace, x0: Tensor) -> tuple[float, float, Tensor]:
        """Return code error, input error, and the inputs that were made."""
        with torch.no_grad():
            wanted = network(space.to_network(x0))

        def loss(x: Tensor) -> Tensor:
            error = relative_error(network(space.to_network(x)), wanted)
            return error + self.smoothness * total_variation(x) if self.smoothness else error

        start = space.mean.expand_as(x0)
        made = descend(loss, start, self.steps, 0.05 * space.range, space.limits)
        with torch.no_grad():
            code = relative_error(network(space.to_network(made)), wanted).mean()
        error = (made - x0).square().sum() / (start - x0).square().sum().clamp_min(1e-12)
        return float(code), float(error), made


def _in_figures(name: str) -> str:
    """Return the name of a node as figures have it."""
    return name.replace("/", "_").replace(".", "_")


def _evenly(names: list[str]) -> list[str]:
    """Return at most `MOST` of names, the first and the last among them."""
    if len(names) <= MOST:
        return names
    return [names[round(i * (len(names) - 1) / (MOST - 1))] for i in range(MOST)]
