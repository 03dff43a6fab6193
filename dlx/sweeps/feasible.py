"""Whether a candidate can be trained at all, and keeps to the constraints: decided by its plan, without torch."""

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
from ..graph import Graphs, memory, trace_all
from ..graph.measures import Unmeasured, measure
from ..spec import Experiment, load
from ..spec.overrides import content_of, put
from ..spec.sections.sweep_values import fingerprint
from ..spec.syntax.read import Node
from ..spec.validation import shown
from .space import Space
from .trial import Point

Figure = Callable[[Graphs, Experiment], float]


def _field(graphs: Graphs, _: Experiment) -> float:
    """The smaller side of what the last layer with positions sees; all of the input for a global one."""
    seen = measure(graphs, "receptive_field", "")
    graph = graphs.one
    sizes = seen if isinstance(seen, list) else [seen]
    sides = graph.inputs[graph.main_input or next(iter(graph.inputs))].size
    return float(min(max(sides, default=0) if size == "global" else size for size in sizes))


def _train_bytes(graphs: Graphs, experiment: Experiment) -> float:
    """The memory of a training step with the largest batch of the training."""
    train = experiment.train
    if train is not None and train.is_whole:
        raise Unmeasured("a batch is the whole training set, which a plan does not count")
    if not graphs.is_one:
        raise Unmeasured("several networks take their memory at different times in a step")
    return memory.of_training(experiment, graphs.one, 1 if train is None else train.largest(sys.maxsize)).total


def _plain(name: str) -> Figure:
    return lambda graph, _: measure(graph, name, "")


FIGURES: Mapping[str, Figure] = {
    "params": _plain("params"),
    "trainable": _plain("trainable"),
    "buffers": _plain("buffers"),
    "macs": _plain("macs"),
    "activation_bytes": _plain("activation_bytes"),
    "depth": _plain("depth"),
    "receptive_field": _field,
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
    """A candidate and its plan; `because` says why it is refused."""

    graphs: Graphs | None
    experiment: Experiment | None
    because: str | None = None
    miss: float = 0.0
    """How far it is from the constraints; infinite where there is no network at all."""
    reason: str = ""
    """Of a refusal, in a word: the figure that is constrained, or `invalid`."""


@dataclass(frozen=True)
class Constraint:
    """One figure of the plan and its bound."""

    name: str
    relation: str
    bound: float

    def miss(self, value: float) -> float:
        """How far a value is from the bound, as a part of it; 0 where it keeps to it."""
        if RELATIONS[self.relation][0](value, self.bound):
            return 0.0
        return abs(value - self.bound) / max(1.0, abs(self.bound)) or 1e-9

    def measured(self, graphs: Graphs, experiment: Experiment) -> tuple[float | None, str]:
        """The figure of a network, None where it has none, and what to say of it where it misses."""
        try:
            value = FIGURES[self.name](graphs, experiment)
        except Unmeasured as error:
            return None, f"{self.name} cannot be had: {error}"
        wanted = RELATIONS[self.relation][1].format(_number(self.bound))
        return value, f"{self.name} is {_number(value)}, and {wanted}"


def _number(value: float) -> str:
    return f"{int(value):,}" if float(value).is_integer() else f"{value:,.6g}"


@dataclass(frozen=True)
class Constraints:
    """What every trial's network must keep to."""

    all: tuple[Constraint, ...] = ()

    @staticmethod
    def parse(texts: Sequence[str], places: Sequence[Mark | None] = ()) -> Constraints:
        """`params <= 1_000_000` and the like. SpecError with all that cannot be read, each at its place."""
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
        """Those of a spec."""
        if experiment.sweep is None:
            return Constraints()
        node = experiment.root.at("sweep", "constraints")
        places = [item.mark for item in node.list] if node is not None and node.list else []
        return Constraints.parse(experiment.sweep.texts, places or [experiment.place("sweep", "constraints")])

    def refuses(self, graphs: Graphs, experiment: Experiment) -> str | None:
        """Why a network is not to be trained, in one sentence; None where it may be."""
        return self.judged(graphs, experiment).because

    def judged(self, graphs: Graphs, experiment: Experiment) -> Feasibility:
        """The network with the first constraint that it does not keep to, and how far it is from keeping to all."""
        reason, because, miss = "", None, 0.0
        for one in self.all:
            value, why = one.measured(graphs, experiment)
            missed = 1.0 if value is None else one.miss(value)
            if missed and because is None:
                reason, because = one.name, why
            miss += missed
        return Feasibility(graphs, experiment, because, miss, reason)


def _parsed(text: str) -> Constraint | tuple[str, str]:
    """A constraint, or what is wrong with it and the way out."""
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


LOOKED_AT = ("train.augment", "train.test_time")
"""What a plan depends on in the section `train`."""
MOST_KEPT = 100
"""Plans that are kept for the candidates that come."""


class Planner:
    """Plans one candidate after another: the spec is composed once, and each point set in a copy of it."""

    def __init__(self, experiment: Experiment, space: Space, constraints: Constraints | None = None) -> None:
        self.space = space
        self.constraints = Constraints.of(experiment) if constraints is None else constraints
        root = Node({k: v for k, v in experiment.root.map.items() if k != "sweep"}, experiment.root.mark)
        self.base = experiment.with_root(root.copy())
        self.contents: dict[tuple[str, str], Node] = {}
        self.graphs: dict[str, Graphs] = {}
        self.shaping = [
            d.key for d in space.dimensions if not d.key.startswith("train.") or d.key.startswith(LOOKED_AT)
        ]
        """The keys on which the graph may depend."""

    def experiment(self, point: Point) -> Experiment:
        """The spec of a trial: that of the study without its `sweep`. SpecError where the point has no place."""
        root = self.base.root.copy()
        for dimension in self.space.dimensions:
            if dimension.key in point:
                content = self.content(dimension.key, point[dimension.key]).copy()
                put(root, dimension.key, content, content.mark, bool(dimension.sign))
        return self.base.with_root(root)

    def content(self, key: str, value: Any) -> Node:
        """What a value sets; a file of a config group is read once."""
        known = self.contents.get((key, name := fingerprint(value)))
        if known is None:
            known = content_of(key, value, self.base.path, Mark(f"trial `{key}={shown(value)}`"))
            self.contents[key, name] = known
        return known

    def examine(self, point: Point) -> Feasibility:
        """The plan of a point, or why it is refused."""
        try:
            experiment = self.experiment(point)
            graphs = self.planned(point, experiment)
        except SpecError as error:
            return _invalid(error)
        return self.constraints.judged(graphs, experiment)

    def planned(self, point: Point, experiment: Experiment) -> Graphs:
        """The plan of an experiment; the one before where nothing that shapes it is different."""
        name = fingerprint([point.get(key) for key in self.shaping])
        if name not in self.graphs or experiment.problems:
            if len(self.graphs) > MOST_KEPT:
                self.graphs.clear()
            self.graphs[name] = trace_all(experiment)
        return self.graphs[name]


def examine(path: Path | str, overrides: Sequence[str]) -> Feasibility:
    """A spec with these overrides planned, or why it is refused; by its own constraints."""
    try:
        experiment = load(path, overrides)
        graphs = trace_all(experiment)
        constraints = Constraints.of(experiment)
    except SpecError as error:
        return _invalid(error)
    return constraints.judged(graphs, experiment)


def _invalid(error: SpecError) -> Feasibility:
    """A refusal with the first mistake, as one sentence with its place."""
    first, *rest = error.problems
    more = f" (and {len(rest)} more)" if rest else ""
    because = f"{first.path}: {first.message}{more}" if first.path else f"{first.message}{more}"
    return Feasibility(None, None, because, inf, "invalid")
