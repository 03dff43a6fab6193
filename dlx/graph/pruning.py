"""Which weights `prune` takes, and how many become zero; no torch here.

Biases, the scales of norms and learned inputs (`parameter`) are not pruned, nor is what a parametrization computes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import prod

from ..errors import Problem, did_you_mean
from ..spec import Experiment
from ..spec.sections.initial_weights import matches_any
from ..spec.sections.prune import PATH, Prune
from .graph import Graph, LayerNode
from .graphs import Graphs


@dataclass(frozen=True)
class PrunedWeight:
    """A weight tensor that is pruned; None where other weights tell how many become zero."""

    node: LayerNode
    inner: str
    shape: tuple[int, ...]
    pruned: int | None

    @property
    def path(self) -> str:
        """Its name in its network as a spec has it: `trunk/conv_1/weight`."""
        return f"{self.node.name}/{self.inner}".replace(".", "/")

    @property
    def parameter(self) -> str:
        """Its name in its network as torch has it: `trunk.conv_1.weight`."""
        return f"{self.node.name}.{self.inner}".replace("/", ".")

    @property
    def output_axis(self) -> int:
        """The axis of the output units or channels."""
        return int("transpose" in self.node.kind)


def pruned_weights(prune: Prune, nodes: Sequence[LayerNode], prefix: str = "") -> list[PrunedWeight]:
    """Return the weights of a network that are pruned; `prefix` precedes its names in the spec."""
    found = []
    for node, inner, shape in candidates(nodes):
        one = PrunedWeight(node, inner, shape, None)
        if prune.takes(f"{prefix}{one.path}"):
            found.append(PrunedWeight(node, inner, shape, _count(prune, one)))
    return found


def total(prune: Prune, weights: Sequence[PrunedWeight]) -> int:
    """Return how many values of a network become zero."""
    if prune.scope == "global":
        return round(prune.fraction * sum(prod(one.shape) for one in weights))
    return sum(one.pruned or 0 for one in weights)


def _count(prune: Prune, one: PrunedWeight) -> int | None:
    if prune.scope == "global":
        return None
    size = prod(one.shape)
    if prune.by == "filters":
        units = one.shape[one.output_axis]
        return round(prune.fraction * units) * (size // units)
    return round(prune.fraction * size)  # as torch.nn.utils.prune rounds, half to even


def candidates(nodes: Sequence[LayerNode]) -> Iterator[tuple[LayerNode, str, tuple[int, ...]]]:
    """Yield the weights that can be pruned, once where they are shared: node, name in it, shape."""
    for node in nodes:
        if node.owner or node.kind.endswith("norm"):
            continue
        for inner, shape in node.plan.weights.items():
            if len(shape) > 1 and "weight" in inner.rpartition(".")[2] and "parametrizations" not in inner:
                yield node, inner, tuple(shape)


def mark_pruned(graph: Graph, prune: Prune, prefix: str = "") -> int:
    """Note in the nodes how many of their values become zero, and return the number in all."""
    weights = pruned_weights(prune, graph.nodes, prefix)
    for one in weights:
        before = one.node.pruned
        one.node.pruned = None if one.pruned is None or before is None else before + one.pruned
    return total(prune, weights)


def problems(experiment: Experiment, networks: Mapping[str, Sequence[LayerNode]]) -> list[Problem]:
    """Return the mistakes of `prune`; `networks` has the nodes of each by the beginning of their names."""
    prune = experiment.prune
    if prune is None:
        return []
    taken = {prefix: pruned_weights(prune, nodes, prefix) for prefix, nodes in networks.items()}
    found = [
        *_unmatched(experiment, prune, networks),
        *(
            _emptied(experiment, prefix + one.node.name)
            for prefix, many in taken.items()
            for one in many
            if _all(one)
        ),
    ]
    for prefix, nodes in networks.items():
        for node in nodes:
            computed = [name for name in node.plan.weights if "parametrizations" in name] if not node.owner else []
            if computed and prune.takes(f"{prefix}{node.name}/weight"):
                message = f"`prune` takes `{prefix}{node.name}`, whose weight is computed from others in each step"
                hint = f"Leave it whole: `skip: [{prefix}{node.name}]`."
                found.append(Problem(message, hint, experiment.place(PATH), PATH))
    if prune.scope == "global" and prune.fraction == 1 and any(taken.values()):
        found.append(_emptied(experiment, "any layer"))
    if not found and not any(taken.values()):
        message = "`prune` finds no weight: `skip` leaves out all that `match` takes"
        found.append(Problem(message, "", experiment.place(PATH), PATH))
    return [*found, *_of_rewind(experiment, prune), *_of_optimizer(experiment)]


def _all(one: PrunedWeight) -> bool:
    return one.pruned == prod(one.shape)


def _emptied(experiment: Experiment, name: str) -> Problem:
    message = f"`prune` leaves no weight of {name if name == 'any layer' else f'`{name}`'}"
    hint = "Take a smaller `fraction`" + ("." if name == "any layer" else f", or `skip: [{name}]`.")
    return Problem(message, hint, experiment.place(PATH, "fraction"), f"{PATH}.fraction")


def _unmatched(
    experiment: Experiment, prune: Prune, networks: Mapping[str, Sequence[LayerNode]]
) -> Iterator[Problem]:
    """Yield the patterns that match no weight which can be pruned."""
    able = [(prefix, PrunedWeight(*one, None)) for prefix, nodes in networks.items() for one in candidates(nodes)]
    every = [
        f"{p}{n.name}/{inner}".replace(".", "/")
        for p, many in networks.items()
        for n in many
        for inner in n.plan.weights
    ]
    shared = {
        prefix + n.name: n.owner if n.lender else prefix + n.owner
        for prefix, nodes in networks.items()
        for n in nodes
        if n.owner
    }
    prunable = [prefix + one.path for prefix, one in able]
    # what is left whole may be what cannot be pruned
    for key, patterns, names in (("match", prune.patterns, prunable), ("skip", prune.skip, every)):
        for pattern in patterns:
            if any(matches_any(name, [pattern]) for name in names):
                continue
            if pattern in shared:
                hint = f"It has the weights of `{shared[pattern]}`: name that."
            else:
                hint = did_you_mean(pattern, list(dict.fromkeys(p + one.node.name for p, one in able)))
            message = f"`prune.{key}` matches no weight{' that can be pruned' * (key == 'match')}: `{pattern}`"
            yield Problem(message, hint, experiment.place(PATH, key), f"{PATH}.{key}")


def _of_rewind(experiment: Experiment, prune: Prune) -> Iterator[Problem]:
    """Yield the problem of weights that are to be rewound, and have no other values than the first."""
    if prune.rewind is not None and experiment.first_stage is None and experiment.weights is None:
        message = f"`rewind: {prune.rewind}` takes the magnitudes of trained weights, and there are none before"
        hint = "Write it in a later stage, or start from `weights: {from: RUN}`."
        yield Problem(message, hint, experiment.place(PATH, "rewind"), f"{PATH}.rewind")


def _of_optimizer(experiment: Experiment) -> Iterator[Problem]:
    """Yield the problem of optimizers that move a weight whose gradient is zero."""
    train = experiment.train
    one = train.optimizer if train is not None else None
    if one is not None and one.takes == "loss":
        message = f"{one.kind} moves all weights by looks at the loss, and `prune` holds some of them"
        place = experiment.place("train", "optimizer")
        yield Problem(message, "Take an optimizer that moves by gradients.", place, "train.optimizer")


def rewound_elsewhere(experiment: Experiment, each: Mapping[str, Graphs]) -> Iterator[Problem]:
    """Yield the problems of stages that rewind to first values which are not those of the first stage.

    `each` has the graphs of the stages without mistakes.
    """
    for stage in experiment.stages[1:]:
        first = experiment.stages[0]
        one, start = stage.experiment, first.experiment
        if one.prune is None or one.prune.rewind != "init" or not {stage.name, first.name} <= each.keys():
            continue
        why = ""
        if start.weights is not None:
            why = f"the stage `{first.name}` begins with the weights of {start.weights.source}"
        elif _first_draws(each[first.name]) != _first_draws(each[stage.name]):
            why = f"the stages `{first.name}` and `{stage.name}` have not the same network"
        elif (start.init, start.inits) != (one.init, one.inits):
            why = f"the stages `{first.name}` and `{stage.name}` have not the same `init`"
        elif start.data != one.data and _looks_at_data(one, each[stage.name]):
            why = f"`init` looks at the data, which is not that of the stage `{first.name}`"
        if why:
            message = f"stage `{stage.name}`: `rewind: init` draws the first values again, and {why}"
            hint = "Begin with one network and one `init`, or write `rewind: redraw`."
            yield Problem(message, hint, one.place(PATH, "rewind"), f"stages.{stage.name}.{PATH}.rewind")


def _looks_at_data(experiment: Experiment, graphs: Graphs) -> bool:
    """Whether an initializer scales weights by the data."""
    from ..init.orthogonal import LSUV

    views = experiment.views()
    return any(isinstance(views[name].init.of(n.name), LSUV) for name, graph in graphs.items() for n in graph.nodes)


def _first_draws(graphs: Graphs) -> list[tuple[object, ...]]:
    """Return what the draws of first values depend on: the layers in their order."""
    networks = [
        (name, graph) for name, graph in graphs.items() if name not in graphs.sources.keys() | graphs.followers.keys()
    ]
    return [(name, n.name, n.kind, n.layer, n.arriving, n.owner) for name, graph in networks for n in graph.nodes]
