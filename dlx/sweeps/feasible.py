"""Feasibility of candidates: whether a point makes a network within the constraints, from its plan and without
torch.
"""

from __future__ import annotations

import operator
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import inf
from pathlib import Path
from typing import Any

from ..errors import Mark, Problem, SpecError, did_you_mean
from ..graph import Graphs, phase_memory, trace_all
from ..graph.measures import Unmeasured, measure
from ..spec import Experiment, load
from ..spec.overrides import content_of, put
from ..spec.sections.sweep_values import fingerprint
from ..spec.syntax.read import Node
from ..spec.validation import shown
from .space import Space
from .trial import Point

Figure = Callable[[Graphs, Experiment], float]


def _receptive_field(graphs: Graphs, _: Experiment) -> float:
    """Return the smaller side of the receptive field of the last layer with positions; the input's size where it
    is global.
    """
    seen = measure(graphs, "receptive_field", "")
    graph = graphs.one
    sizes = seen if isinstance(seen, list) else [seen]
    sides = graph.inputs[graph.main_input or next(iter(graph.inputs))].size
    return float(min(max(sides, default=0) if size == "global" else size for size in sizes))


def _train_bytes(graphs: Graphs, experiment: Experiment) -> float:
    """Return the memory of a training step with the largest batch of the training, in bytes."""
    train = experiment.train
    if train is not None and train.is_whole:
        raise Unmeasured("a batch is the whole training set, which a plan does not count")
    if not graphs.is_one and not graphs.phases:
        raise Unmeasured("no objective says which of the networks a step calls at once")
    return phase_memory.of_step(experiment, graphs, 1 if train is None else train.largest(sys.maxsize))


def _measure(name: str) -> Figure:
    return lambda graph, _: measure(graph, name, "")


FIGURES: Mapping[str, Figure] = {
    "params": _measure("params"),
    "trainable": _measure("trainable"),
    "remaining": _measure("remaining"),
    "buffers": _measure("buffers"),
    "macs": _measure("macs"),
    "activation_bytes": _measure("activation_bytes"),
    "depth": _measure("depth"),
    "receptive_field": _receptive_field,
    "train_bytes": _train_bytes,
}
RELATIONS: Mapping[str, tuple[Callable[[float, float], bool], str]] = {
    "<=": (operator.le, "at most {} are allowed"),
    ">=": (operator.ge, "at least {} are wanted"),
    "<": (operator.lt, "less than {} are allowed"),
    ">": (operator.gt, "more than {} are wanted"),
    "==": (operator.eq, "{} are wanted"),
}
_FORM = re.compile(r"\s*([A-Za-z_]\w*)\s*(<=|>=|==|<|>)\s*(\d[\d_]*(?:\.\d*)?(?:[eE][+-]?\d+)?)\s*")


@dataclass(frozen=True)
class Feasibility:
    """A candidate with its plan, or the reason of its refusal."""

    graphs: Graphs | None
    experiment: Experiment | None
    refusal: str | None = None
    """Why it is refused, in a sentence; None if it is feasible."""
    violation: float = 0.0
    """Total violation of the constraints; infinite where there is no network at all."""
    reason: str = ""
    """Kind of the refusal: the figure that is constrained, or `invalid`."""


@dataclass(frozen=True)
class Constraint:
    """Bound on one figure of the plan."""

    name: str
    relation: str
    bound: float

    def violation(self, value: float) -> float:
        """Return the distance of a value from the bound, as a fraction of it; 0 where the constraint holds."""
        if RELATIONS[self.relation][0](value, self.bound):
            return 0.0
        # `<` and `>` are violated at the bound itself, where the distance is 0
        return abs(value - self.bound) / max(1.0, abs(self.bound)) or 1e-9

    def evaluate(self, graphs: Graphs, experiment: Experiment) -> tuple[float | None, str]:
        """Return the figure of a network, None where it has none, and a sentence on its violation."""
        try:
            value = FIGURES[self.name](graphs, experiment)
        except Unmeasured as error:
            return None, f"{self.name} cannot be had: {error}"
        bound = RELATIONS[self.relation][1].format(_number(self.bound))
        return value, f"{self.name} is {_number(value)}, and {bound}"


def _number(value: float) -> str:
    return f"{int(value):,}" if float(value).is_integer() else f"{value:,.6g}"


@dataclass(frozen=True)
class Constraints:
    """Constraints on the network of every trial."""

    all: tuple[Constraint, ...] = ()

    @staticmethod
    def parse(texts: Sequence[str], places: Sequence[Mark | None] = ()) -> Constraints:
        """Parse `params <= 1_000_000` and the like. Raises SpecError with all that cannot be parsed, each at its
        place.
        """
        found: list[Constraint] = []
        problems: list[Problem] = []
        for i, text in enumerate(texts):
            made = _parsed(text)
            if isinstance(made, Constraint):
                found.append(made)
            else:
                problems.append(Problem(*made, places[i] if i < len(places) else None, f"sweep.constraints.{i}"))
        if problems:
            raise SpecError(*problems)
        return Constraints(tuple(found))

    @staticmethod
    def of(experiment: Experiment) -> Constraints:
        """Return the constraints of a spec."""
        if experiment.sweep is None:
            return Constraints()
        node = experiment.written.at("sweep", "constraints")
        places = [item.mark for item in node.list] if node is not None and node.list else []
        return Constraints.parse(experiment.sweep.texts, places or [experiment.place("sweep", "constraints")])

    def refuses(self, graphs: Graphs, experiment: Experiment) -> str | None:
        """Return why a network is not to be trained, in one sentence; None where it may be."""
        return self.check(graphs, experiment).refusal

    def check(self, graphs: Graphs, experiment: Experiment) -> Feasibility:
        """Check a network: the first constraint that it violates, and its total violation."""
        reason, refusal, total_violation = "", None, 0.0
        for one in self.all:
            value, why = one.evaluate(graphs, experiment)
            violation = 1.0 if value is None else one.violation(value)
            if violation and refusal is None:
                reason, refusal = one.name, why
            total_violation += violation
        return Feasibility(graphs, experiment, refusal, total_violation, reason)


def _parsed(text: str) -> Constraint | tuple[str, str]:
    """Parse a constraint; on failure return the message and the hint of a problem."""
    read = _FORM.fullmatch(text)
    if read is None:
        return (
            f"{shown(text)} is no constraint",
            "Write `params <= 1_000_000`: a figure, <=, >=, <, > or ==, a number.",
        )
    name, relation, bound = read.groups()
    if name not in FIGURES:
        return f"there is no figure `{name}` to constrain", did_you_mean(name, FIGURES)
    return Constraint(name, relation, float(bound.replace("_", "")))


TRAIN_KEYS_OF_PLAN = ("train.augment", "train.test_time")
"""Keys of the section `train` on which a plan depends."""
MAX_CACHED = 100
"""Plans that are cached at most."""


class Planner:
    """Plan one candidate after another: the spec is composed once, and each point is set in a copy of it."""

    def __init__(self, experiment: Experiment, space: Space, constraints: Constraints | None = None) -> None:
        self.space = space
        self.constraints = Constraints.of(experiment) if constraints is None else constraints
        written = experiment.written
        root = Node({k: v for k, v in written.map.items() if k != "sweep"}, written.mark)
        self.base = experiment.with_root(root.copy())
        self.contents: dict[tuple[str, str], Node] = {}
        self.graphs: dict[str, Graphs] = {}
        self.graph_keys = [
            d.key for d in space.dimensions if not d.key.startswith("train.") or d.key.startswith(TRAIN_KEYS_OF_PLAN)
        ]
        """Keys on which the graph may depend."""

    def experiment(self, point: Point) -> Experiment:
        """Return the spec of a trial: the study's without `sweep`. Raises SpecError where a key of the point has
        no place.
        """
        root = self.base.written.copy()
        for dimension in self.space.dimensions:
            if dimension.key in point:
                content = self.content(dimension.key, point[dimension.key]).copy()
                put(root, dimension.key, content, content.mark, bool(dimension.sign))
        return self.base.with_root(root)

    def content(self, key: str, value: Any) -> Node:
        """Return the nodes that a value sets; a file of a config group is read once."""
        known = self.contents.get((key, name := fingerprint(value)))
        if known is None:
            known = content_of(key, value, self.base.path, Mark(f"trial `{key}={shown(value)}`"))
            self.contents[key, name] = known
        return known

    def examine(self, point: Point) -> Feasibility:
        """Plan a point, and check it against the constraints."""
        try:
            experiment = self.experiment(point)
            graphs = self.graphs_of(point, experiment)
        except SpecError as error:
            return _invalid(error)
        return self.constraints.check(graphs, experiment)

    def graphs_of(self, point: Point, experiment: Experiment) -> Graphs:
        """Return the plan of an experiment, from the cache where nothing differs that the graph depends on."""
        name = fingerprint([point.get(key) for key in self.graph_keys])
        if name not in self.graphs or experiment.problems:
            if len(self.graphs) > MAX_CACHED:
                self.graphs.clear()
            self.graphs[name] = trace_all(experiment)
        return self.graphs[name]


def examine(path: Path | str, overrides: Sequence[str]) -> Feasibility:
    """Plan a spec with these overrides, and check it against its own constraints."""
    try:
        experiment = load(path, overrides)
        graphs = trace_all(experiment)
        constraints = Constraints.of(experiment)
    except SpecError as error:
        return _invalid(error)
    return constraints.check(graphs, experiment)


def _invalid(error: SpecError) -> Feasibility:
    """Return a refusal with the first mistake, as one sentence with its place."""
    first, *rest = error.problems
    more = f" (and {len(rest)} more)" if rest else ""
    refusal = f"{first.path}: {first.message}{more}" if first.path else f"{first.message}{more}"
    return Feasibility(None, None, refusal, inf, "invalid")
