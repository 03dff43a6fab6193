"""What `dlx inspect` shows of each stage: networks, what is frozen, the weights that it goes on with, its length."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ..errors import Problem, SpecError
from ..spec import Experiment
from .graph import Graph, LayerNode
from .graphs import Graphs
from .memory_forecast import Forecast, of_each

if TYPE_CHECKING:
    from .initial_weights import Assignment


@dataclass(frozen=True)
class StagePlan:
    """A stage of a spec, with the stage before it; the first has none."""

    name: str
    experiment: Experiment
    graphs: Graphs
    before: str = ""
    is_same_network: bool = False
    """Whether its networks are those of the stage before, layer by layer; what is frozen may differ."""
    weights: Assignment | None = None
    """What it takes from the stage before, or the first one from the source of `weights`; None where that is none."""
    memory: Mapping[str, Forecast] = field(default_factory=dict)

    @property
    def source(self) -> str:
        """Where its weights come from: `the stage NAME`, or the source of `weights`; empty for none."""
        if self.before:
            return f"the stage `{self.before}`"
        return self.experiment.weights.source if self.experiment.weights is not None else ""

    @property
    def length(self) -> str:
        """`20 epochs in batches of 32`; empty without `train`."""
        train = self.experiment.train
        if train is None:
            return ""
        count, word = (train.steps, "step") if train.steps is not None else (train.epochs, "epoch")
        batches = "batches of the whole part" if train.is_whole else f"batches of {train.batch_size}"
        return f"{count:,} {word}{'' if count == 1 else 's'} in {batches}"

    @property
    def frozen(self) -> list[str]:
        """Layers and scopes whose weights are frozen, also for a while: `trunk`, `stem until epoch 3`."""
        return [full for graph in self.graphs.values() for full in _frozen(self.graphs, graph)]

    def as_json(self) -> dict[str, Any]:
        """Return the document of its networks, with what a stage has besides."""
        train = self.experiment.train
        length = {"steps": train.steps, "epochs": train.epochs, "batch_size": train.batch_size} if train else {}
        weights = self.weights.as_json(self.before or self.source) if self.weights is not None else None
        memory = {name: one.as_json() for name, one in self.memory.items()}
        return {
            **self.graphs.as_json(),
            "same_network": self.is_same_network,
            "frozen": self.frozen,
            "weights": weights,
            "train": length or None,
            **({"memory": next(iter(memory.values())) if self.graphs.is_one else memory} if memory else {}),
        }


def stage_plans(experiment: Experiment, graphs: Graphs, batch: int | None = None) -> list[StagePlan]:
    """Return what is planned for each stage of a spec without mistakes; none without stages.

    `batch` asks for the memory of a training step. Errors: SpecError where the source of `weights` does not fit.
    """
    if not graphs.stages:
        return []
    from .initial_weights import carried, inspected  # not at the top, as in `stages`

    plans: list[StagePlan] = []
    problems: list[Problem] = []
    for stage in experiment.stages:
        mine = graphs.stages[stage.name]
        memory = of_each(stage.experiment, mine, batch) if batch else {}
        if plans:
            last = plans[-1]
            taken, same = carried(last.graphs, mine, (last.name, stage.name)), _same(last.graphs, mine)
            plans.append(StagePlan(stage.name, stage.experiment, mine, last.name, same, taken, memory))
            continue
        source: Assignment | None = None
        try:
            source = inspected(stage.experiment, mine)
        except SpecError as error:
            problems += error.problems
        plans.append(StagePlan(stage.name, stage.experiment, mine, weights=source, memory=memory))
    if problems:
        raise SpecError(*problems)
    return plans


def _same(a: Graphs, b: Graphs) -> bool:
    return list(a) == list(b) and all(_layers(a[name]) == _layers(b[name]) for name in a)


def _layers(graph: Graph) -> tuple[Any, ...]:
    nodes = [(n.name, n.kind, n.layer, n.inputs, n.shape, n.owner, n.result) for n in graph.nodes]
    return dict(graph.inputs), nodes, dict(graph.outputs)


def _frozen(graphs: Graphs, graph: Graph) -> list[str]:
    """Return the widest scopes of a network in which all weights are frozen alike, and layers outside of such."""
    network = next(name for name in graphs if graphs[name] is graph)
    found = dict[str, None]()
    for node in graph.nodes:
        how = _how(node)
        if how and node.params:
            found[f"{graphs.full(network, _widest(graph, node, how))}{how if how != FROZEN else ''}"] = None
    return list(found)


FROZEN = " "


def _how(node: LayerNode) -> str:
    """Return how a node is frozen: for good, or until when; empty where it is not."""
    return FROZEN if node.frozen else f" until {node.frozen_until}" if node.frozen_until is not None else ""


def _widest(graph: Graph, node: LayerNode, how: str) -> str:
    parts = node.name.split("/")
    for depth in range(1, len(parts)):
        scope = "/".join(parts[:depth])
        if all(_how(one) == how for one in _weighted(graph.nodes, scope)):
            return scope
    return node.name


def _weighted(nodes: Sequence[LayerNode], scope: str) -> list[LayerNode]:
    return [one for one in nodes if one.params and one.name.startswith(f"{scope}/")]
