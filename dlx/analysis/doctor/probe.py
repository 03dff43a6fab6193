"""The subject of the checks: the network before training, one batch through it, and short trainings."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from operator import attrgetter
from typing import TYPE_CHECKING, Any

from ...data import Facts, Sets
from ...errors import Mark, RunError
from ...graph import Graph, Graphs, LayerNode
from ...lazy import np, torch
from ...network import build
from ...objectives import Supervised
from ...schedules.constant import Constant
from ...shapes import Shape
from ...spec import Experiment, Train
from ...spec.sections.networks import ONE
from ...training import data_dependent_init, initial_weights
from ...training.batches.augmentation import center_crops
from ...training.batches.data_part import DataPart
from ...training.batches.on_device import on_device
from ...training.fit import Job, updates

if TYPE_CHECKING:
    from torch import Tensor, fx, nn
    from torch import device as Device

SAMPLES = 128
"""Size of the batch that is run through the network."""
WORK = 1e10
"""Multiply-adds that a check may cost: seconds on one core."""
THOROUGH = 100
"""Factor on WORK for `--thorough`, or on a GPU."""
CALL = 1e5
"""Cost of calling one layer, in multiply-adds."""


@dataclass(frozen=True)
class LayerValues:
    """The inputs and the output of a layer; after the backward pass `output.grad` is set too."""

    node: LayerNode
    module: nn.Module
    inputs: tuple[Tensor, ...]
    output: Tensor


@dataclass(frozen=True)
class ProbePass:
    """One forward and backward pass of a batch through the untrained network."""

    network: fx.GraphModule
    layers: tuple[LayerValues, ...]
    output: Tensor
    loss: float

    @property
    def weight_layers(self) -> list[LayerValues]:
        """Layers that multiply by learned weights, recurrent ones and attention included, in execution order."""
        return [layer for layer in self.layers if layer.node.plan.macs > 0 and layer.node.plan.weights]


@dataclass(frozen=True)
class Probe:
    """An experiment under examination. All random numbers come from its seed."""

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
        """Whether the data set has a field of this name."""
        return self.experiment.data is not None and name in type(self.experiment.data).model_fields

    @cached_property
    def parts(self) -> dict[str, DataPart]:
        parts = on_device(self.sets, self.device, self.graph.fields_taken)
        return center_crops(parts, self.main_shape(parts["train"]).size)

    def main_shape(self, part: DataPart) -> Shape:
        """Return the shape of the network's input that takes the main input of the data."""
        return list(self.graph.inputs.values())[part.names.inputs.index(part.main)]

    def network(self, quiet: bool = True) -> fx.GraphModule:
        """Build the network as `dlx train` does; `quiet` switches off modules that draw at random (dropout)."""
        torch.manual_seed(self.train.seed)
        made = build(self.graph, self.experiment.init).to(self.device).train()
        init, loaded_modules = self.experiment.init, set[str]()
        if self.experiment.weights is not None:
            loaded = initial_weights.load(self.experiment, Graphs.of(self.graph))
            loaded.fill({ONE: made})
            loaded_modules = loaded.modules(ONE)
        data_dependent_init.initialize(made, self.graph, init, self.parts["train"], self.train.seed, loaded_modules)
        if quiet:
            for target in self._random_modules:
                made.get_submodule(target).eval()
            made.__dict__["train"] = lambda _mode=True: (
                made
            )  # a training must not put the quiet modules back into train mode
        return made

    @cached_property
    def _random_modules(self) -> tuple[str, ...]:
        """Modules whose output differs when they are called again with the same inputs."""
        found: dict[str, None] = {}
        network = self.network(quiet=False)

        def call_again(target: str, module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
            if not torch.equal(module(*inputs), output):
                found[target] = None

        with torch.no_grad():
            run_layers(network, inputs_of(self.examples(max(2, self.affordable_steps(1, 8)))), call_again)
        return tuple(found)

    def examples(self, count: int) -> DataPart:
        """Return at most `count` random examples of the training set, the same ones at each call."""
        part = self.parts["train"]
        generator = torch.Generator().manual_seed(self.train.seed)
        # on the CPU, so that all devices get the same examples
        index = torch.randperm(len(part), generator=generator)[:count].to(part.x.device)
        return part.some(index)

    @cached_property
    def batch(self) -> DataPart:
        """The batch of the checks: SAMPLES examples, fewer where the network is large."""
        return self.examples(max(2, self.affordable_steps(1, SAMPLES)))

    @cached_property
    def loss_function(self) -> Callable[[Tensor, Tensor], Tensor]:
        return self.objective.loss_function()

    def targets_of(self, part: DataPart) -> Any:
        """Return what the loss takes of the examples of a part beside the outputs."""
        return self.objective.target(part.batch(part.fields))

    @property
    def last(self) -> LayerNode | None:
        """The layer whose output goes into the loss; None where that is an input."""
        name = next(name for name in self.graph.outputs if name not in self.objective.aux)
        return self.graph.by_name.get(self.graph.outputs[name])

    @cached_property
    def start(self) -> ProbePass:
        """The pass of the batch before the first update."""
        network, nodes = self.network(), iter(self.graph.nodes)
        layers: list[LayerValues] = []
        # modules of several results give them as one packed tensor, of which the next call takes the output
        packing = {str(call.target).removesuffix(".output") for call in network.graph.nodes if _is_output(call)}
        packed: dict[str, tuple[nn.Module, tuple[Tensor, ...]]] = {}

        def record(target: str, module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
            if target in packing:
                packed[target] = module, inputs
                return
            module, inputs = packed.get(target.removesuffix(".output"), (module, inputs))
            # autograd drops the gradients of intermediate values otherwise
            if output.requires_grad:
                output.retain_grad()
            layers.append(LayerValues(next(nodes), module, inputs, output))

        output = self.objective.main(run_layers(network, inputs_of(self.batch), record))
        loss = self.loss_function(output, self.targets_of(self.batch))
        loss.backward()  # type: ignore[no-untyped-call]
        return ProbePass(network, tuple(layers), output.detach(), float(loss.detach()))

    def uninformed_loss(self, part: DataPart) -> float:
        """Return the loss of an output that ignores the inputs: equal logits, or the mean of the targets."""
        shape = (len(part), *self.start.output.shape[1:])
        output = torch.zeros(shape, device=self.device)
        target = self.targets_of(part)
        if self.facts.classes is None and part.y.shape == shape and self.objective.measures == "values":
            output += self.objective.learned(output, target).mean(0)
        return float(self.loss_function(output, target))

    @cached_property
    def constant_loss(self) -> float:
        """The loss of the best constant output on the training set: class frequencies, or the mean of the targets.

        Infinite for losses whose best constant output is another one.
        """
        part, loss = self.parts["train"], self.objective.loss
        if loss.reduction != "mean" or loss.kind not in ("cross_entropy", "squared_error") or part.y.dim() > 2:
            return math.inf
        if loss.kind == "squared_error" or part.y.dim() != 1:
            return self.uninformed_loss(part)
        # the best constant logits are log frequencies; the clamp keeps an absent class finite
        counts = torch.bincount(part.y, minlength=self.start.output.shape[1]).clamp_min(1e-6)
        return float(self.loss_function((counts / len(part)).log().expand(len(part), -1), part.y))

    # ---- short trainings ----------------------------------------------------------------------------------------

    def affordable_steps(self, samples: int, most: int, times: int = 1) -> int:
        """Return the number of updates by `samples` examples, up to `most`, that `times` the usual work allows."""
        # forward once, and twice as much backward: the gradients of the inputs and of the weights
        step = 3 * (max(self.graph.macs, 1) * samples + CALL * len(self.graph.nodes))
        factor = THOROUGH if self.thorough or self.device.type != "cpu" else 1
        return int(min(most, times * WORK * factor / step))

    def job(self, network: nn.Module, parts: dict[str, DataPart], steps: int, **changes: Any) -> Job:
        """Return a training of a network at a constant rate."""
        settings = {"steps": steps, "epochs": None, "schedule": Constant(), **changes}
        return Job(network, self.objective, self.train.model_copy(update=settings), parts)

    @cached_property
    def unregularized(self) -> Probe:
        """This probe without regularization: only the loss changes the weights."""
        train, none = self.train, {"weight_decay": 0.0} if hasattr(self.train.optimizer, "weight_decay") else {}
        groups = [group.model_copy(update={"weight_decay": None}) for group in train.groups]
        changes = {"optimizer": train.optimizer.model_copy(update=none), "groups": groups}
        terms = {"l1": 0.0, "l2": 0.0, "max_norm": None, "flooding": None}
        return replace(
            self, train=train.model_copy(update=changes), objective=self.objective.model_copy(update=terms)
        )


def losses(job: Job) -> Iterator[float]:
    """Yield the loss before each update; ends after a loss that is not finite, or NaN where an update fails."""
    recorded: list[Tensor] = []
    try:
        for _ in updates(job, recorded):
            value = float(recorded.pop())
            yield value
            if not math.isfinite(value):
                return
    except RunError:  # Newton's singular Hessian
        yield math.nan


def _is_output(call: fx.Node) -> bool:
    """Whether a call takes the output of a layer out of all its results."""
    return call.op == "call_module" and str(call.target).endswith(".output")


def inputs_of(part: DataPart) -> list[Tensor]:
    """Return the inputs of the network, in its order."""
    return [part.fields[name] for name in part.names.inputs]


def run_layers(
    network: fx.GraphModule,
    inputs: Sequence[Tensor],
    on_layer: Callable[[str, nn.Module, tuple[Tensor, ...], Tensor], None],
) -> Tensor | dict[str, Tensor]:
    """Run a network layer by layer; `on_layer` is called with the name, module, inputs and output of each."""
    values: dict[fx.Node, Tensor] = {}
    remaining = iter(inputs)
    for node in network.graph.nodes:
        if node.op == "placeholder":
            values[node] = next(remaining)
        elif node.op == "get_attr":
            values[node] = attrgetter(node.target)(network)
        elif node.op == "call_module":
            module, inputs = network.get_submodule(node.target), tuple(values[each] for each in node.args)
            values[node] = module(*inputs)
            on_layer(node.target, module, inputs, values[node])
    (last,) = (node for node in network.graph.nodes if node.op == "output")
    output = last.args[0]
    return {name: values[each] for name, each in output.items()} if isinstance(output, dict) else values[output]


def weights_of(probe: Probe, network: nn.Module, axes: int = 2) -> Iterator[tuple[LayerNode, Tensor]]:
    """Yield the weights of at least `axes` axes that training updates, each with its node."""
    for node in probe.graph.nodes:
        if node.params and not node.frozen:
            for weight in network.get_submodule(node.name.replace("/", ".")).parameters():
                if weight.dim() >= axes and weight.requires_grad:
                    yield node, weight


def flat(values: Any) -> Any:
    """Return examples as rows of a matrix."""
    return np.ascontiguousarray(values).reshape(len(values), -1)
