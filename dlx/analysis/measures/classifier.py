"""A network as a classifier of raw inputs, and whether it is one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from ...errors import Problem
from ...lazy import torch
from ...spec import objective_of
from .attacks import TINY
from .input_space import InputSpace, space_of

if TYPE_CHECKING:
    from torch import Tensor, fx

    from ...graph import Graph, LayerNode
    from ...objectives import Supervised
    from ..subject import Subject

KINDS = ("classification", "binary_classification")


@dataclass(frozen=True)
class Classifier:
    """A network with what its outputs mean, of inputs before preprocessing."""

    network: fx.GraphModule
    graph: Graph
    space: InputSpace
    objective: Supervised

    @classmethod
    def of(cls, subject: Subject, space: InputSpace | None = None, *, redrawn: bool = False) -> Classifier:
        """Return the network of a spec or of one run; `redrawn` with weights of another seed in place of its own."""
        source = type(subject)(subject.experiment, subject.graphs) if redrawn else subject
        network = source.network(subject.seed + 1 if redrawn else None)
        return cls(network, subject.graph, space or space_of(subject), subject.supervised)

    def scores(self, raw: Tensor) -> Tensor:
        """Return the logit of each class (N, classes), of one logit z those of both: 0 and z."""
        return logits(self.objective, self.network(self.space.to_network(raw)))

    def margins(self, raw: Tensor) -> Tensor:
        """Return scores whose largest is that of the objective's answer, (N, classes): 0 and z less its bound."""
        scores = self.scores(raw)
        if not self.objective.one_logit:
            return scores
        bound = torch.tensor(getattr(self.objective, "threshold", 0.5)).logit(eps=TINY)
        return scores - torch.stack([torch.zeros_like(bound), bound]).to(scores)

    def probabilities(self, raw: Tensor) -> Tensor:
        """Return the probability of each class, (N, classes)."""
        return self.scores(raw).softmax(1)

    def losses(self, raw: Tensor, targets: Tensor) -> Tensor:
        """Return the cross-entropy of each example, (N,)."""
        return torch.nn.functional.cross_entropy(self.scores(raw), targets, reduction="none")

    def score(self, classes: Tensor) -> Callable[[Tensor], Tensor]:
        """Return what gives the logit of a class of each input, (N,)."""
        return lambda raw: self.scores(raw).gather(1, classes[:, None]).squeeze(1)

    def probability(self, classes: Tensor) -> Callable[[Tensor], Tensor]:
        """Return what gives the probability of a class of each input, (N,)."""
        return lambda raw: self.probabilities(raw).gather(1, classes[:, None]).squeeze(1)

    def predicted(self, raw: Tensor) -> Tensor:
        """Return the class that the objective answers for each input, (N,)."""
        with torch.no_grad():
            return classes_of(self.objective, self.objective.main(self.network(self.space.to_network(raw))))


def logits(objective: Supervised, outputs: Any) -> Tensor:
    """Return the logit of each class (N, classes) that outputs of a classifier stand for."""
    from ...objectives.binary_classification import logits_of

    output = objective.main(outputs)
    if objective.one_logit:
        z = logits_of(objective.loss, output).squeeze(1)
        return torch.stack([torch.zeros_like(z), z], 1)
    if objective.loss.logits or objective.loss.wants != "classes":
        return output
    return objective.loss.predict(output).clamp_min(torch.finfo(output.dtype).tiny).log()


def classes_of(objective: Supervised, output: Tensor) -> Tensor:
    """Return the class (N, *positions) that an objective answers for main outputs (N, outputs, *positions)."""
    if objective.one_logit:
        return above_or_largest(objective.loss.predict(output), getattr(objective, "threshold", 0.5))
    return output.argmax(1)


def above_or_largest(outputs: Tensor, threshold: float) -> Tensor:
    """Return classes (N, *positions): of one output whether it is above a threshold, of several the largest."""
    return (outputs.squeeze(1) > threshold).long() if outputs.shape[1] == 1 else outputs.argmax(1)


def one_input_problems(subject: Subject) -> list[Problem]:
    """Return why a subject has no one network of one input of numbers."""
    if not subject.graphs.is_one:
        return [replace(subject.several_networks, mark=subject.mark("networks"))]
    inputs = subject.graph.inputs
    if len(inputs) > 1:
        names = " and ".join(f"`{name}`" for name in inputs)
        return [Problem(f"this analysis changes the one input of a network, and {subject.name} takes {names}")]
    ((name, shape),) = inputs.items()
    if shape.dtype != "float":
        hint = "Take a network of pictures, signals or tables."
        return [Problem(f"this analysis changes inputs by their gradient, and `{name}` takes whole numbers", hint)]
    return []


def classifier_problems(subject: Subject) -> list[Problem]:
    """Return why a subject has no one network that classifies examples of its data."""
    if found := one_input_problems(subject):
        return found
    if not subject.has_data:
        hint = "Add it to the spec, or override it: `+data=digits`."
        return [
            Problem(f"this analysis looks at examples with their classes, and {subject.name} names no `data`", hint)
        ]
    objective = objective_of(subject.experiment)
    if objective.kind not in KINDS:
        message = f"{subject.name} is no classifier of examples: its objective is `{objective.kind}`"
        hint = f"Take one of {' or '.join(f'`objective: {kind}`' for kind in KINDS)}."
        return [Problem(message, hint, subject.mark("objective"))]
    return []


def with_positions(graph: Graph) -> list[LayerNode]:
    """Return the layers whose values are maps: channels over as many axes of positions as the input has."""
    rank = len(next(iter(graph.inputs.values())))
    return [one for one in graph.nodes if rank > 1 and len(one.shape) == rank and max(one.shape[1:]) > 1]
