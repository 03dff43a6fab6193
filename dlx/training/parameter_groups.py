"""Parameter groups of an optimizer: `train.groups` and `train.decay`, by the names of nodes."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from ..errors import Problem, listed
from ..graph import Graph, Graphs
from ..lazy import torch
from ..optim import WeightGroup
from ..spec import Experiment, Train
from ..spec.sections.train import ParameterGroup, matches

if TYPE_CHECKING:
    from torch import Tensor, nn


def problems(experiment: Experiment, graphs: Graphs) -> list[Problem]:
    """Return the problems between the section `train` and the networks."""
    assert experiment.train is not None
    found = [problem for name, graph in graphs.items() for problem in _too_many(experiment, name, graph)]
    names = [f"{full}/{_path(weight)}" for full, node in graphs.nodes() for weight in node.plan.weights]
    names += [*graphs.parameters_of_objective]
    groups = experiment.train.groups
    for index, group in enumerate(groups):
        own = [name for name in names if group.takes(name)]
        if own and all(any(one.takes(name) for one in groups[:index]) for name in own):
            message = f"`groups` leaves no weight for {listed(group.patterns)}: the groups before it take them all"
            mark = experiment.root.at("train", "groups", index).mark  # type: ignore[union-attr]
            found.append(Problem(message, "Put it before them, or leave it out.", mark, f"train.groups.{index}"))
        for pattern in group.patterns:
            if not any(matches(name, pattern) for name in names):
                message = f"`groups` matches no weight: `{pattern}`"
                hint = "`dlx inspect` shows the names of the nodes; a weight is NODE/weight or NODE/bias."
                place = experiment.root.at("train", "groups", index, "match")
                mark = place.mark if place is not None else experiment.place("train", "groups")
                found.append(Problem(message, hint, mark, f"train.groups.{index}.match"))
    return found


def _too_many(experiment: Experiment, name: str, graph: Graph) -> Iterator[Problem]:
    assert experiment.train is not None
    optimizer = experiment.train.of(name).optimizer
    if optimizer.most is not None and graph.trainable > optimizer.most:
        message = (
            f"{optimizer.kind} is for at most {optimizer.most:,} weights, and the network has {graph.trainable:,}: "
            f"its Hessian would have {graph.trainable**2:,} values"
        )
        place = experiment.place("train", "optimizer")
        yield Problem(message, "`lbfgs` needs no Hessian.", place, "train.optimizer")


def split(
    network: nn.Module,
    train: Train,
    scope: str = "",
    waits: Mapping[Tensor, int] | None = None,
    without: Collection[Tensor] = (),
) -> list[WeightGroup]:
    """Split the trainable weights into groups with the same settings, in their order; `scope` begins their names.
    Those `without` are left out.

    Weights that are frozen for a while, up to the update in `waits`, are groups of their own: optimizers that count
    the steps of a group begin when it moves.
    """
    spared = set()
    if train.optimizer.decays:
        spared = _spared(network) if train.decay == "weights" else _slopes(network)
    tables = {p for part in network.modules() if isinstance(part, torch.nn.Embedding) for p in part.parameters()}
    taken: dict[tuple[int | None, bool, bool, int], list[Tensor]] = {}
    for name, weight in network.named_parameters():
        if weight.requires_grad and not any(weight is one for one in without):
            index = next((i for i, group in enumerate(train.groups) if group.takes(scope + _path(name))), None)
            table = train.optimizer.spares_tables and weight in tables
            wait = (waits or {}).get(weight, 0)
            taken.setdefault((index, weight in spared, table, wait), []).append(weight)
    return [_group(weights, train, *key[:3]) for key, weights in taken.items()]


def _group(weights: list[Tensor], train: Train, index: int | None, spared: bool, table: bool) -> WeightGroup:
    made = WeightGroup(weights, table=table)
    if index is not None:
        said: ParameterGroup = train.groups[index]
        scale = 1.0 if said.lr_scale is None else said.lr_scale
        made = replace(made, lr=said.lr, lr_scale=scale, weight_decay=said.weight_decay)
    return replace(made, weight_decay=0.0) if spared and made.weight_decay is None else made


def _spared(network: nn.Module) -> set[Tensor]:
    """Return the weights that `decay: weights` exempts: those of one axis, and all of layer and RMS norms."""
    norms = (part for part in network.modules() if isinstance(part, torch.nn.LayerNorm | torch.nn.RMSNorm))
    return {p for p in network.parameters() if p.dim() < 2} | {p for norm in norms for p in norm.parameters()}


def _slopes(network: nn.Module) -> set[Tensor]:
    """Return the slopes of PReLU: torch's documentation and He et al. 2015, section 2.1, advise against decay."""
    return {p for part in network.modules() if isinstance(part, torch.nn.PReLU) for p in part.parameters()}


def _path(name: str) -> str:
    """Return torch's name of a weight in the form of specs: `stage_1.conv_1.bias` as `stage_1/conv_1/bias`."""
    return name.replace(".", "/")
