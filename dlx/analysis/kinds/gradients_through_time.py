"""The gradient that a recurrent layer hands back, by its distance in time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field, PositiveInt

from ...errors import Problem, did_you_mean
from ...graph import Graph, LayerNode
from ...lazy import np
from ...spec.analyses import Analysis
from ..loss_at import loss_of_outputs
from ..measures.over_seeds import LEAST_TO_LARGEST, sizes_over_seeds
from ..measures.through_time import Steps, spectral_radius, step_by_step
from ..measures.walk import projection
from ..result import Lines, Panel, Result

if TYPE_CHECKING:
    from torch import Tensor, fx

    from ...data.batch import Batch
    from ..subject import Subject

RECURRENT = ("rnn", "gru", "lstm")


class GradientsThroughTime(Analysis):
    """Norm of dL/dh_t of a recurrent layer by the distance T - t from its last step, the mean over examples.

    L is the last state along a random direction, or the loss of the network with `gradient_of: loss`; of an LSTM the
    norm of dL/dc_t of its cells too. Figures: `growth` is the factor of one step back in the geometric mean, `ratio`
    that of all steps, `cell_growth` and `cell_ratio` those of cells, `spectral_radius` the largest absolute
    eigenvalue of the recurrent weights of an `rnn`: the factor after many steps where all slopes are 1.
    Books: gradients vanish for recurrent weights below 1 and may explode above; cells, which are copied from step to
    step, hand them on.
    """

    kind: ClassVar[str] = "gradients_through_time"
    source: ClassVar[str] = (
        "Russell & Norvig 2021, Artificial Intelligence, sections 22.6.1 and 22.6.2, equation 22.15"
    )
    example: ClassVar[str] = "dlx analyze gradients_through_time zoo/delayed-copy"
    figures: ClassVar[tuple[str, ...]] = ("ratio", "growth", "cell_ratio", "cell_growth", "spectral_radius")

    layer: str | None = Field(None, description="recurrent layer; the last one where none is named")
    gradient_of: Literal["state", "loss"] = Field("state", description="what the gradients are of")
    examples: PositiveInt = Field(64, description="sequences that are looked at, at most")
    seeds: PositiveInt = Field(6, description="draws of the weights of a spec")

    def problems(self, subject: Subject) -> list[Problem]:
        """Return that there is no such layer, or that it cannot go step by step."""
        layers = {node.name: node for node in subject.graph.nodes if node.kind in RECURRENT}
        if not layers:
            return [
                Problem(f"{subject.name} has no recurrent layer", "Take a network with an `rnn`, `gru` or `lstm`.")
            ]
        if self.layer is not None and self.layer not in layers:
            hint = did_you_mean(self.layer, list(layers)) or f"There is {', '.join(layers)}."
            return [Problem(f"`{self.layer}` is no recurrent layer of {subject.name}", hint)]
        node, found = self._node(subject.graph), []
        if getattr(node.layer, "bidirectional", False):
            found.append(
                Problem(
                    f"`{node.name}` goes both ways through time: no distance from one end is its own",
                    "Name another with `layer`, or drop `bidirectional`.",
                )
            )
        if {"lengths", "document"} & set(node.takes):
            found.append(
                Problem(
                    f"`{node.name}` ends where each text ends, at a step of its own",
                    "Take texts that fill their windows.",
                )
            )
        if self.gradient_of == "loss" and not subject.has_data:
            found.append(
                Problem(
                    f"`gradient_of: loss` needs data, and {subject.name} names none",
                    "Add `data` and an `objective`, or leave `gradient_of` out.",
                )
            )
        if node.arriving[0][0] < 2:
            found.append(
                Problem(
                    f"`{node.name}` takes {node.arriving[0][0]} step: there is no distance in time",
                    "Give it a longer input.",
                )
            )
        return found

    def _node(self, graph: Graph) -> LayerNode:
        layers = [node for node in graph.nodes if node.kind in RECURRENT]
        return next((node for node in layers if node.name == self.layer), layers[-1])

    def run(self, subject: Subject) -> Result:
        """Run each network step by step, and back."""
        batch, node = subject.examples(self.examples), self._node(subject.graph)
        each = [self._norms(subject, one, batch, node) for one in subject.several(self.seeds)]
        hidden, cells = (sizes_over_seeds([np.array(one[i])[::-1] for one in each]) for i in (0, 1))
        distances, radii = np.arange(len(hidden[0])), [one[2] for one in each]
        marks = [Lines("states", distances, *hidden)]
        figures: dict[str, float] = _growth("", [one[0] for one in each])
        if len(cells[0]):
            marks.append(Lines("cells", distances, *cells))
            figures |= _growth("cell_", [one[1] for one in each])
        if node.kind == "rnn":
            figures["spectral_radius"] = sum(radii) / len(radii)
            bound = hidden[0][0] * figures["spectral_radius"] ** distances
            marks.append(Lines("spectral radius to the power of the distance", distances, bound, dashed=True))
        titles = ("steps back", "norm at states", *(("norm at cells",) if len(cells[0]) else ()))
        rows = [[int(k), float(hidden[0][k]), *([float(cells[0][k])] if len(cells[0]) else [])] for k in distances]
        return Result(
            figures,
            (
                Panel(
                    f"gradients of {node.name}",
                    "steps back from the last",
                    "norm of the gradient",
                    tuple(marks),
                    y_scale="log",
                ),
            ),
            (titles, rows),
            notes=(LEAST_TO_LARGEST,) if len(each) > 1 else (),
            seeds=len(each),
        )

    def _norms(
        self, subject: Subject, network: fx.GraphModule, batch: Batch, node: LayerNode
    ) -> tuple[list[float], list[float], float]:
        """Return the norms at states and cells, the first step first, and the spectral radius of the weights."""
        output, steps = step_by_step(network, batch.inputs, node.name)
        module: Any = network.get_submodule(node.home.replace("/", "."))
        recurrent = getattr(module, f"weight_hh_l{module.num_layers - 1}")
        radius = spectral_radius(recurrent) if recurrent.shape[0] == recurrent.shape[1] else float("nan")
        return *steps.gradient_norms(self._loss(subject, output, steps, batch)), radius

    def _loss(self, subject: Subject, output: Any, steps: Steps, batch: Batch) -> Tensor:
        if self.gradient_of == "state":
            return projection()(steps.states[-1])
        return loss_of_outputs(subject, batch)(output)


def _growth(of: str, each: list[list[float]]) -> dict[str, float]:
    """Return the ratio of the first step to the last and the factor of each step back, geometric means over seeds."""
    if not all(norms[-1] > 0 and norms[0] > 0 for norms in each):
        return {f"{of}ratio": 0.0, f"{of}growth": 0.0}
    logs = [float(np.log(norms[0] / norms[-1])) for norms in each]
    ratio = sum(logs) / len(logs)
    return {f"{of}ratio": float(np.exp(ratio)), f"{of}growth": float(np.exp(ratio / (len(each[0]) - 1)))}
