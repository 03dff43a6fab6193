"""The loss on the way between two trained networks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from math import isfinite
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field, NonNegativeInt, PositiveFloat, PositiveInt

from ...errors import Problem
from ...graph import Graph
from ...lazy import np, torch
from ...spec.analyses import Analysis
from ..loss_at import Evaluation, evaluated, loss_at, problems
from ..measures import unit_matching, weight_space
from ..measures.norms import norms_by_batch
from ..result import Lines, Panel, Result

if TYPE_CHECKING:
    from torch import Tensor, fx

    from ...data.batch import Batch
    from ..subject import Subject

    Tensors = dict[str, Tensor]

BATCH = 128
"""Examples of an update of the curve."""


class Interpolation(Analysis):
    """Loss and error along the line between the weights of two runs, along it with units matched, and on a curve.

    The line is (1 - t) a + t b of all weights. Units of a hidden layer can change places without a change of the
    network, so that two equal networks may seem apart: with `match` those of the second run are put into the order
    that is closest to the first. With `curve` a quadratic Bezier curve between the two runs is trained, whose bend
    starts in the middle of the line. Statistics of batch norms are computed anew on the examples of the training part
    at each point. Figures: `barrier` (how far the loss rises above the straight line between the losses of the ends),
    `matched_barrier`, `curve_barrier`, the same of errors as `error_barrier` ..., `loss_first`, `loss_last`,
    `distance` of the weights and `matched_distance`. Runs of one start that share some training have no barrier.
    """

    kind: ClassVar[str] = "interpolation"
    source: ClassVar[str] = (
        "Goodfellow et al. 2015, arXiv:1412.6544; Garipov et al. 2018, arXiv:1802.10026; Ainsworth et al. 2023, "
        "arXiv:2209.04836; Prince 2023, section 20.3"
    )
    example: ClassVar[str] = "dlx analyze interpolation RUN RUN"
    figures: ClassVar[tuple[str, ...]] = (
        "barrier",
        "error_barrier",
        "matched_barrier",
        "matched_error_barrier",
        "curve_barrier",
        "curve_error_barrier",
        "loss_first",
        "loss_last",
        "distance",
        "matched_distance",
    )
    several: ClassVar[Literal["seeds", "networks", "no"]] = "networks"
    trained: ClassVar[bool] = True

    points: int = Field(21, le=10_000, ge=3, description="points on the way, with both ends")
    match: bool = Field(
        True, description="also go to the second run with its units in the order closest to the first"
    )
    curve: NonNegativeInt = Field(100, le=10_000_000, description="updates of the training of the curve; 0: none")
    rate: PositiveFloat = Field(0.01, description="learning rate of its training, by Adam")
    examples: PositiveInt = Field(1000, description="examples whose mean loss it is, at most")
    part: str = Field("", description="part of the data that they are from; empty: held out")

    def without_effect(self) -> dict[str, str]:
        return {} if self.curve else {"rate": "with `curve: 0`, which trains none"}

    def problems(self, subject: Subject) -> list[Problem]:
        """Return why there is no loss, and why the runs are not two of one network."""
        found = problems(subject)
        if len(subject.runs) != 2 and subject.trained:
            count = len(subject.runs)
            return [
                *found,
                Problem(
                    f"a line goes between two runs, and here {'is 1' if count == 1 else f'are {count}'}",
                    "Name two runs of one spec: `dlx analyze interpolation RUN RUN`.",
                ),
            ]
        if not subject.trained:
            return found
        first, second = (_shapes(one.graph) for one in subject.each)
        for name in dict.fromkeys([*first, *second]):
            if first.get(name) != second.get(name):
                here, there = (shapes.get(name, "no such weight") for shapes in (first, second))
                a, b = (run.key for run in subject.runs)
                message = f"the runs differ in `{name}`: {here} in {a}, {there} in {b}"
                return [*found, Problem(message, "Take two runs of one network.")]
        return found

    def run(self, subject: Subject) -> Result:
        """Evaluate along the ways."""
        network = subject.network(run=0)
        first, second = ({**one.state_dict()} for one in (network, subject.network(run=1)))
        first = {name: tensor.clone() for name, tensor in first.items()}
        batch = subject.examples(self.examples, part=self.part)
        seen = subject.examples(self.examples, part="train")
        places, notes = np.linspace(0, 1, self.points), list[str]()
        ways: dict[str, Any] = {"line": lambda t: _between(first, second, t)}
        distances = {"distance": _distance(network, first, second)}
        if self.match:
            try:
                closest = unit_matching.matched(first, second, unit_matching.groups(subject.graph))
            except ValueError as error:
                notes.append(f"units are not matched: {error}")
            else:
                ways["matched"] = lambda t: _between(first, closest, t)
                distances["matched_distance"] = _distance(network, first, closest)
        if self.curve:
            ways["curve"] = self._curve(subject, network, (first, second), seen)
        found = {
            name: [self._at(subject, network, way(float(t)), batch, seen) for t in places]
            for name, way in ways.items()
        }
        return self._result(places, found, distances, notes)

    def _at(self, subject: Subject, network: fx.GraphModule, state: Tensors, batch: Batch, seen: Batch) -> Evaluation:
        from ...modules.norm import is_batch_norm, recompute_statistics

        network.load_state_dict(state)
        if any(is_batch_norm(module) for module in network.modules()):
            recompute_statistics(network, lambda: [seen.inputs])
        return evaluated(subject, network, batch)

    def _curve(self, subject: Subject, network: fx.GraphModule, ends: tuple[Tensors, Tensors], seen: Batch) -> Any:
        """Train the bend of a curve, and return the function from t to a point of it."""
        names = [name for name, weight in network.named_parameters() if weight.requires_grad]
        start, end = ([state[name] for name in names] for state in ends)
        bend = [((a + b) / 2).requires_grad_() for a, b in zip(start, end, strict=True)]
        optimizer = torch.optim.Adam(bend, lr=self.rate)
        draws = torch.Generator().manual_seed(0)
        network.load_state_dict(_between(*ends, 0.5))
        weights = [network.get_parameter(name) for name in names]
        with norms_by_batch(network):
            for index in _batches(len(seen), self.curve, draws):
                t = float(torch.rand((), generator=draws))
                point = weight_space.bezier((start, end), [one.detach() for one in bend], t)
                weight_space.move(weights, point)
                gradients = torch.autograd.grad(loss_at(subject, network, _some(seen, index))(), weights)
                for one, gradient in zip(bend, gradients, strict=True):
                    one.grad = 2 * t * (1 - t) * gradient
                optimizer.step()
        middle = [one.detach() for one in bend]

        def at(t: float) -> Tensors:
            return _between(*ends, t) | dict(zip(names, weight_space.bezier((start, end), middle, t), strict=True))

        return at

    def _result(
        self, places: Any, found: Mapping[str, list[Evaluation]], distances: dict[str, float], notes: list[str]
    ) -> Result:
        figures: dict[str, Any] = {}
        losses, errors = list[Lines](), list[Lines]()
        for name, each in found.items():
            start = "" if name == "line" else f"{name}_"
            figures[f"{start}barrier"] = weight_space.barrier([one.loss for one in each])
            losses.append(Lines(WAYS[name], places, [one.loss for one in each]))
            if all(isfinite(one.error) for one in each):
                figures[f"{start}error_barrier"] = weight_space.barrier([one.error for one in each])
                errors.append(Lines(WAYS[name], places, [one.error for one in each]))
        figures |= {"loss_first": found["line"][0].loss, "loss_last": found["line"][-1].loss, **distances}
        x = "t, from the first run to the second"
        panels = [Panel("loss", x, "loss", tuple(losses))]
        if errors:
            panels.append(Panel("error", x, "share of wrong classes", tuple(errors)))
        rows = [
            [WAYS[name], float(t), *one] for name, each in found.items() for t, one in zip(places, each, strict=True)
        ]
        return Result(figures, tuple(panels), (("way", "t", "loss", "error"), rows), tuple(notes))


WAYS = {"line": "line", "matched": "line, units matched", "curve": "curve"}


def _shapes(graph: Graph) -> dict[str, tuple[int, ...]]:
    return {f"{node.name}/{name}": tuple(shape) for node in graph.nodes for name, shape in node.plan.weights.items()}


def _between(first: Tensors, second: Tensors, t: float) -> Tensors:
    """Return the point at t of the line; what is counted is taken from the first."""
    return {name: torch.lerp(one, second[name], t) if one.is_floating_point() else one for name, one in first.items()}


def _distance(network: fx.GraphModule, first: Tensors, second: Tensors) -> float:
    """Return the Euclidean distance of all parameters."""
    squares = [float((first[name] - second[name]).square().sum()) for name, _ in network.named_parameters()]
    return float(sum(squares) ** 0.5)


def _batches(count: int, updates: int, draws: torch.Generator) -> Iterator[Tensor]:
    for _ in range(updates):
        yield torch.randint(count, (min(BATCH, count),), generator=draws)


def _some(batch: Batch, index: Tensor) -> Batch:
    from ...data.batch import Batch

    return Batch({name: one[index.to(one.device)] for name, one in batch.fields.items()}, {}, batch.names)
