"""Weights that are frozen for a while, and layers that are held in evaluation mode, over the steps of a training."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..errors import Problem
from ..graph import Graphs
from ..lazy import torch
from ..objectives.learned import SCOPE, parameters_of
from ..schedules import Timeline
from ..spec import Experiment
from ..spec.sections.freeze import Until

if TYPE_CHECKING:
    from torch import Tensor, nn


@dataclass(frozen=True)
class FrozenModule:
    """A module with the end of its freeze, None for never; `held` is whether it is in evaluation mode meanwhile."""

    module: nn.Module
    until: Until | None
    held: bool

    def ends(self, timeline: Timeline) -> int | None:
        """Return the updates after which its weights move."""
        if self.until is None:
            return None
        return self.until.step if self.until.step is not None else timeline.updates(self.until.epoch or 0)


class Freezing:
    """What is frozen at each step. All of it follows from the step, so that a checkpoint has nothing of it."""

    def __init__(self, modules: tuple[FrozenModule, ...] = ()) -> None:
        """`modules` are those whose freeze ends, or that are held; weights that never move need no attention."""
        self.modules = modules
        self.steps: list[int] = []
        """Updates after which something begins to move."""
        self.ends: dict[int, int] = {}
        self.period = 0
        """How many ends have passed: what is built for a step is built anew when it changes."""

    @classmethod
    def of(cls, graphs: Graphs, networks: Mapping[str, nn.Module]) -> Freezing:
        """Return the freezing of new networks. Of several, one whose weights never move is held as a whole."""
        found = []
        for name, graph in graphs.items():
            if name in graphs.followers or (not graphs.is_one and graph.params and not graph.trainable):
                found.append(FrozenModule(networks[name], None, held=True))
                continue
            for node in graph.nodes:
                if (node.frozen_until is not None or node.held) and not node.owner:
                    module = networks[name].get_submodule(node.name.replace("/", "."))
                    found.append(FrozenModule(module, node.frozen_until, node.held))
            found += _of_objective(parameters_of(networks[name]), graph.frozen_of_objective)
        if SCOPE in networks:
            found += _of_objective(dict(networks[SCOPE].named_parameters()), graphs.frozen_of_objective)
        return cls(tuple(found))

    def plan(self, timeline: Timeline) -> None:
        """Set the steps at which freezes end."""
        found = (one.ends(timeline) for one in self.modules)
        self.steps = sorted({step for step in found if step is not None and step < timeline.steps})
        self.ends = {id(one.module): step for one in self.modules if (step := one.ends(timeline)) is not None}

    def until_by_weight(self) -> dict[Tensor, int]:
        """Return the update after which each weight moves, of those that are frozen for a while."""
        ended = ((one.module, self.ends.get(id(one.module))) for one in self.modules)
        return {weight: end for module, end in ended if end is not None for weight in module.parameters()}

    def apply(self, step: int) -> None:
        """Freeze the weights whose time has not come at `step`, and let the others move."""
        self.period = sum(end <= step for end in self.steps)
        for one in self.modules:
            if one.until is not None:
                moves = self.ends[id(one.module)] <= step
                for weight in one.module.parameters():
                    if weight.requires_grad != moves:
                        weight.requires_grad_(moves)
                        weight.grad = None

    def hold(self, step: int) -> None:
        """Put held modules into evaluation mode, after the whole network went into training mode."""
        for one in self.modules:
            if one.held and (one.until is None or self.ends[id(one.module)] > step):
                one.module.eval()


def _of_objective(parameters: Mapping[str, Tensor], frozen: Mapping[str, Until | None]) -> Iterator[FrozenModule]:
    """Yield the parameters of an objective that are frozen for a while, each as a module of its own."""
    for name, until in frozen.items():
        if until is not None:
            own = name.partition("/")[2]
            yield FrozenModule(torch.nn.ParameterDict({own: parameters[own]}), until, held=False)


def problems(experiment: Experiment, graphs: Graphs) -> list[Problem]:
    """Return the problems of freezes that end: optimizers that look at the loss, networks that wait as a whole."""
    train = experiment.train
    found = list[Problem]()
    for name, graph in graphs.items():
        waiting = [node for node in graph.nodes if node.frozen_until is not None and not node.owner]
        scalars = [until for until in graph.frozen_of_objective.values() if until is not None]
        waits = sum(graph.of_objective[one] for one, until in graph.frozen_of_objective.items() if until is not None)
        if not waiting and not scalars:
            continue
        if sum(node.params for node in waiting) + waits == graph.trainable:
            what = "" if graphs.is_one else f" of the network `{name}`"
            until = waiting[0].frozen_until if waiting else scalars[0]
            message = f"all weights{what} that may move are frozen at the start, until {until}"
            found.append(Problem(message, "Let one layer move from the start.", experiment.place("freeze"), "freeze"))
        optimizer = train.of(name).optimizer if train is not None else None
        if optimizer is not None and optimizer.takes != "gradient":
            message = f"{optimizer.kind} moves all weights by one look at the loss, and `until` changes which move"
            place = experiment.place("train", "optimizer")
            found.append(Problem(message, "Take one that moves by gradients.", place, "train.optimizer"))
    return found
