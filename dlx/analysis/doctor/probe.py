"""What the checks look at: the network as training would find it, a batch on its way through, short trainings."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from operator import attrgetter
from typing import TYPE_CHECKING, Any

from ...data import Facts, Sets
from ...errors import Mark, RunError
from ...graph import Graph, LayerNode
from ...lazy import np, torch
from ...network import build
from ...objectives import Supervised
from ...schedules.constant import Constant
from ...spec import Experiment, Train
from ...training import data_dependent_init
from ...training.batches.augmentation import center_crops
from ...training.batches.data_part import DataPart
from ...training.batches.on_device import on_device
from ...training.fit import Job, updates

if TYPE_CHECKING:
    from torch import Tensor, fx, nn
    from torch import device as Device

SAMPLES = 128
"""Examples that are sent through the network at once."""
WORK = 1e10
"""Multiply-adds that a check may cost: seconds on one core."""
THOROUGH = 100
"""How many times that it may cost where it is asked to be thorough, or has a GPU."""
CALL = 1e5
"""Multiply-adds in the time that calling one layer takes."""


@dataclass(frozen=True)
class Seen:
    """A layer at work: what came in, and what it made of it; after the backward pass `output.grad` is there too."""

    node: LayerNode
    module: nn.Module
    inputs: tuple[Tensor, ...]
    output: Tensor


@dataclass(frozen=True)
class Pass:
    """A batch that went forward and backward through a network that has learned nothing yet."""

    network: fx.GraphModule
    layers: tuple[Seen, ...]
    output: Tensor
    loss: float

    @property
    def weighing(self) -> list[Seen]:
        """Layers that multiply by learned weights, recurrent ones and attention too, from the input on."""
        return [seen for seen in self.layers if seen.node.plan.macs > 0 and seen.node.plan.weights]


@dataclass(frozen=True)
class Patient:
    """An experiment that is looked at. Everything drawn is drawn from its seed."""

    experiment: Experiment
    graph: Graph
    sets: Sets
    train: Train
    objective: Supervised
    facts: Facts
    device: Device
    thorough: bool = False

    def place(self, *keys: str) -> Mark:
        return self.experiment.place(*keys)

    def has_field(self, name: str) -> bool:
        """Whether its data set has a field of that name."""
        return self.experiment.data is not None and name in type(self.experiment.data).model_fields

    @cached_property
    def parts(self) -> dict[str, DataPart]:
        (shape,) = self.graph.inputs.values()
        return center_crops(on_device(self.sets, self.device), shape.size)

    def network(self, quiet: bool = True) -> fx.GraphModule:
        """The network as `dlx train` starts with it; quiet: what draws at random (dropout) lets everything pass."""
        torch.manual_seed(self.train.seed)
        made = build(self.graph, self.experiment.init).to(self.device).train()
        data_dependent_init.initialize(made, self.graph, self.experiment.init, self.parts["train"], self.train.seed)
        if quiet:
            for target in self._noisy:
                made.get_submodule(target).eval()
            made.__dict__["train"] = lambda _mode=True: made  # modes stay as they are
        return made

    @cached_property
    def _noisy(self) -> tuple[str, ...]:
        """Modules that answer the same question differently."""
        found: dict[str, None] = {}
        network = self.network(quiet=False)

        def ask_again(target: str, module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
            if not torch.equal(module(*inputs), output):
                found[target] = None

        with torch.no_grad():
            walk(network, self.chosen(max(2, self.affordable(1, 8))).x, ask_again)
        return tuple(found)

    def chosen(self, count: int) -> DataPart:
        """The same examples of the training set each time, at most `count` of them."""
        part = self.parts["train"]
        generator = torch.Generator().manual_seed(self.train.seed)
        index = torch.randperm(len(part), generator=generator)[:count].to(part.x.device)
        return DataPart(part.x[index], part.y[index])

    @cached_property
    def batch(self) -> DataPart:
        """As many examples as are looked at, fewer where the network is large."""
        return self.chosen(max(2, self.affordable(1, SAMPLES)))

    @cached_property
    def loss_function(self) -> Callable[[Tensor, Tensor], Tensor]:
        return self.objective.loss_function()

    @property
    def last(self) -> LayerNode | None:
        """The layer whose output the loss is asked of."""
        name = next(name for name in self.graph.outputs if name not in self.objective.aux)
        return self.graph.by_name.get(self.graph.outputs[name])

    @cached_property
    def start(self) -> Pass:
        """The batch in the network before the first update."""
        network, nodes = self.network(), iter(self.graph.nodes)
        layers: list[Seen] = []

        def keep(_: str, module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
            if output.requires_grad:
                output.retain_grad()
            layers.append(Seen(next(nodes), module, inputs, output))

        output = self.objective.main(walk(network, self.batch.x, keep))
        loss = self.loss_function(output, self.batch.y)
        loss.backward()  # type: ignore[no-untyped-call]
        return Pass(network, tuple(layers), output.detach(), float(loss.detach()))

    def blind(self, part: DataPart) -> float:
        """The loss of a network that knows nothing of the inputs: equal logits, or the mean of the targets."""
        shape = (len(part), *self.start.output.shape[1:])
        answer = torch.zeros(shape, device=self.device)
        if self.facts.classes is None and part.y.shape == shape:
            answer += part.y.mean(0)
        return float(self.loss_function(answer, part.y))

    @cached_property
    def constant(self) -> float:
        """The loss of one answer for all of the training set: how often each class is, or the mean of the targets.

        Infinite for losses of which another answer may be the best.
        """
        part, loss = self.parts["train"], self.objective.loss
        if loss.reduction != "mean" or loss.kind not in ("cross_entropy", "squared_error") or part.y.dim() > 2:
            return math.inf
        if loss.kind == "squared_error" or part.y.dim() != 1:
            return self.blind(part)
        counts = torch.bincount(part.y, minlength=self.start.output.shape[1]).clamp_min(1e-6)
        return float(self.loss_function((counts / len(part)).log().expand(len(part), -1), part.y))

    # ---- short trainings ----------------------------------------------------------------------------------------

    def affordable(self, samples: int, most: int, times: int = 1) -> int:
        """How many updates by `samples` examples, up to `most`, may be made at so many times the usual work."""
        step = 3 * (max(self.graph.macs, 1) * samples + CALL * len(self.graph.nodes))
        factor = THOROUGH if self.thorough or self.device.type != "cpu" else 1
        return int(min(most, times * WORK * factor / step))

    def job(self, network: nn.Module, parts: dict[str, DataPart], steps: int, **changes: Any) -> Job:
        """A training of its own, at a constant rate."""
        settings = {"steps": steps, "epochs": None, "schedule": Constant(), **changes}
        return Job(network, self.objective, self.train.model_copy(update=settings), parts)

    @cached_property
    def free(self) -> Patient:
        """The same without regularisation: only the loss moves the weights."""
        train, none = self.train, {"weight_decay": 0.0} if hasattr(self.train.optimizer, "weight_decay") else {}
        groups = [group.model_copy(update={"weight_decay": None}) for group in train.groups]
        told = {"optimizer": train.optimizer.model_copy(update=none), "groups": groups}
        terms = {"l1": 0.0, "l2": 0.0, "max_norm": None, "flooding": None}
        return replace(self, train=train.model_copy(update=told), objective=self.objective.model_copy(update=terms))


def losses(job: Job) -> Iterator[float]:
    """The loss before each update; not a number where an update cannot be made, and then it ends."""
    kept: list[Tensor] = []
    try:
        for _ in updates(job, kept):
            value = float(kept.pop())
            yield value
            if not math.isfinite(value):
                return
    except RunError:  # Newton's singular Hessian
        yield math.nan


def walk(
    network: fx.GraphModule, x: Tensor, see: Callable[[str, nn.Module, tuple[Tensor, ...], Tensor], None]
) -> Tensor | dict[str, Tensor]:
    """Run a network layer by layer, in the order of its graph's nodes; `see` is told of each."""
    values: dict[fx.Node, Tensor] = {}
    for node in network.graph.nodes:
        if node.op == "placeholder":
            values[node] = x
        elif node.op == "get_attr":
            values[node] = attrgetter(node.target)(network)
        elif node.op == "call_module":
            module, inputs = network.get_submodule(node.target), tuple(values[each] for each in node.args)
            values[node] = module(*inputs)
            see(node.target, module, inputs, values[node])
    (last,) = (node for node in network.graph.nodes if node.op == "output")
    given = last.args[0]
    return {name: values[each] for name, each in given.items()} if isinstance(given, dict) else values[given]


def weights_of(patient: Patient, network: nn.Module, axes: int = 2) -> Iterator[tuple[LayerNode, Tensor]]:
    """Weights of so many axes and more that training moves, each with its node."""
    for node in patient.graph.nodes:
        if node.params and not node.frozen:
            for weight in network.get_submodule(node.name.replace("/", ".")).parameters():
                if weight.dim() >= axes and weight.requires_grad:
                    yield node, weight


def flat(values: Any) -> Any:
    """Examples as rows."""
    return np.ascontiguousarray(values).reshape(len(values), -1)
