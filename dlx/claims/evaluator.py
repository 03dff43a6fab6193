"""A network with known weights, and what a claim asks of it: its samples and targets, its values and its loss."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..errors import plural
from ..graph import Graph
from ..graph.claimed_values import by_input, unfit_numbers, unfit_samples
from ..graph.measures import Unmeasured, part
from ..lazy import torch
from ..objectives import Supervised
from ..shapes import Shape
from ..spec import Experiment, supervised_of
from ..spec.sections.expect import Claim
from ..spec.validation import shown

if TYPE_CHECKING:
    from torch import Tensor, fx

DTYPES = {"float": "float64", "int": "int64", "bool": "bool"}


@dataclass(frozen=True)
class Samples:
    """The inputs of a claim as tensors (batch, *shape); `one` for a single sample, written without a batch."""

    inputs: tuple[Tensor, ...]
    one: bool

    def __len__(self) -> int:
        return max(map(len, self.inputs))

    def plain(self, values: Any) -> Any:
        """Return values as numbers: of a single sample without the batch, and a single number without its list."""
        if isinstance(values, dict):
            return {name: self.plain(inner) for name, inner in values.items()}
        listed = values.tolist() if not self.one else values[0].tolist()
        return listed[0] if _is_row_of_one(listed) and self.one else listed


def _is_row_of_one(listed: Any) -> bool:
    return isinstance(listed, list) and len(listed) == 1 and not isinstance(listed[0], list)


@dataclass(frozen=True)
class Evaluator:
    """Evaluates the claims of one spec on its network."""

    experiment: Experiment
    graph: Graph
    network: fx.GraphModule

    def in_mode(self, mode: str) -> fx.GraphModule:
        """Return the network in a mode; for `train` a copy, whose running statistics a pass may change."""
        return deepcopy(self.network).train() if mode == "train" else self.network

    @property
    def objective(self) -> Supervised:
        if self.experiment.objective is None and self.experiment.data is None:
            raise ValueError("there is no `objective` that could have a loss: write `objective: classification`")
        return supervised_of(self.experiment)

    def values(self, network: fx.GraphModule, samples: Samples) -> dict[str, Any]:
        """Return the value of each node by its name, and the output under an empty name."""
        # torch.fx renames nodes; of several calls for a node the last one gives its value
        names = {node.name: node.meta["node"] for node in network.graph.nodes if node.op == "call_module"}
        seen: dict[str, Any] = {}

        class Recorder(torch.fx.Interpreter):
            def run_node(self, node: fx.Node) -> Any:
                value = super().run_node(node)
                seen[names.get(node.name, f"fx {node.name}")] = value
                return value

        # torch.fx frees each value after its last use, and a claim may be about any of them
        seen[""] = Recorder(network, garbage_collect_values=False).run(*samples.inputs)
        return seen

    def node(self, name: str) -> str:
        """Return the node called `name`, or the last of a scope; ValueError where there is none."""
        try:
            last = part(self.graph, name).last
        except Unmeasured as error:
            raise ValueError(str(error)) from error
        if last is None:
            raise ValueError(f"`{name}` is an input, and `of` names a node")
        return last.name

    def ancestors(self, claim: Claim) -> set[str]:
        """Return the nodes that a claim depends on: those before its `of`, or before the outputs."""
        of = claim.figures.get("of") if claim.quantity in ("output", "gradient") else None
        ends = {self.node(of)} if of else set(self.graph.outputs.values())
        for node in reversed(self.graph.nodes):
            if node.name in ends:
                ends.update(node.inputs)
        return ends

    def samples(self, at: Any) -> Samples:
        """Read `at`: one sample or several, for one input or by name. ValueError where it does not fit."""
        inputs = self.graph.inputs
        if why := unfit_samples(at, inputs):
            raise ValueError(why)
        tensors = [_tensor(by_input(at, inputs)[name], shape) for name, shape in inputs.items()]
        count = max(len(tensor) for tensor, several in tensors)
        return Samples(
            tuple(tensor.expand(count, *tensor.shape[1:]) for tensor, _ in tensors),
            not any(several for _, several in tensors),
        )

    def targets(self, values: Any, samples: Samples) -> Any:
        """Read `target`: a class or values for each sample, with heads by name. ValueError where it does not fit."""
        heads = {head.name: head.objective for head in self.objective.heads([""])}
        if "" in heads:
            return self._targets(self.objective, values, samples)
        if not isinstance(values, dict) or values.keys() != heads.keys():
            named = ", ".join(values) if isinstance(values, dict) else shown(values)
            raise ValueError(f"`target` gives {named}, and the heads are {', '.join(heads)}")
        return {name: self._targets(head, values[name], samples) for name, head in heads.items()}

    def _targets(self, objective: Supervised, values: Any, samples: Samples) -> Tensor:
        classes = objective.measures == "classes"
        if why := unfit_numbers("target", values):
            raise ValueError(why)
        exact = torch.as_tensor(values, dtype=torch.float64)
        if classes and bool((exact != exact.round()).any()):
            raise ValueError(f"{objective.kind} wants class numbers, from 0 on, not {shown(values)}")
        target = exact[None] if samples.one or not exact.dim() else exact
        if len(target) != len(samples):
            raise ValueError(f"`at` has {plural(len(samples), 'sample')}, and `target` {len(target)}")
        return target.long() if classes else target.reshape(len(target), -1) if target.dim() == 1 else target

    def loss(self, network: fx.GraphModule, output: Any, target: Any) -> Tensor:
        """Return what training minimizes: the loss, with what layers add to it, and the objective's penalty."""
        from ..modules.auxiliary import AuxiliaryLosses

        objective = self.objective
        outputs = objective.read_outputs(output)
        for head in objective.heads([""]):
            if head.objective.measures in {"values", "labels"}:
                own, main = (target[head.name] if head.name else target), outputs[head.name]
                expected = head.objective.loss.outputs(Shape(own.shape[1:]))
                if tuple(main.shape[1:]) != tuple(expected):
                    raise ValueError(
                        f"`target` has the shape {Shape(own.shape[1:])}, and the output {shape_of(main)}"
                    )
        penalty = objective.penalty(network)
        first = {name: torch.tensor(v, dtype=torch.float64) for name, v in objective.parameters().items()}
        loss = objective.training_loss(None, first)(output, target)
        auxiliary = AuxiliaryLosses(network)
        loss = loss + auxiliary.total() if auxiliary else loss
        return loss if penalty is None else loss + penalty()


def shape_of(values: Tensor) -> Shape:
    """Return the shape of one sample."""
    return Shape(values.shape[1:])


def _tensor(values: Any, shape: Shape) -> tuple[Tensor, bool]:
    """Return samples of an input, which fit it, as a batch, and whether they were written as several."""
    value = torch.as_tensor(values, dtype=getattr(torch, DTYPES[shape.dtype]))
    if value.dim() == len(shape) + 1:
        return value, True
    return value.expand(1, *shape), False
