"""Claims on exact values of a network with known weights: outputs, losses, gradients, weights after updates.

All is computed in float64. A figure that depends on random weights or on random layers is no figure of the spec: each
claim is evaluated again with other random weights, and must come out the same.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass, replace
from itertools import islice
from math import isclose, isnan
from typing import TYPE_CHECKING, Any

from ..errors import DlxError, plural
from ..graph import Graph, Graphs
from ..graph.expect import Receipt, judge
from ..graph.measures import Unmeasured, part
from ..lazy import torch
from ..objectives import Supervised
from ..shapes import Shape, bytes_text
from ..spec import Experiment, supervised_of
from ..spec.sections.expect import Claim
from ..spec.sections.networks import ONE
from ..spec.validation import shown
from ..training import initial_weights

if TYPE_CHECKING:
    from torch import Tensor, fx

DTYPES = {"float": "float64", "int": "int64", "bool": "bool"}
# Several: behind a ReLU the values of one other seed may agree by accident, as 0 and 0
RESAMPLE_SEEDS = (1, 2, 3)
"""Seeds of other random weights, with which a claim on exact values must come out the same."""


def receipts(claims: Sequence[Claim], experiment: Experiment, graph: Graph) -> Iterator[Receipt]:
    """Yield the receipt of each claim; a claim that cannot be evaluated fails alone."""
    from ..training import device

    # two networks at once in float64: 8 bytes a value each; the passes hold twice the float32 activations
    needed, free = 16 * (graph.params + graph.buffers) + 2 * graph.activation_bytes, device.free_memory()
    if needed > free:
        why = f"two draws of the network take {bytes_text(needed)}, and {bytes_text(free)} are free"
        yield from (Receipt(claim, "FAILS", None, why) for claim in claims)
        return
    evaluator = Evaluator(experiment, graph, _build(experiment, graph, 0))
    random_weights = _random_weights(evaluator.network, _build(experiment, graph, RESAMPLE_SEEDS[0]))
    for claim in claims:
        try:
            ours = _evaluate(evaluator, claim, random_weights)
        except ValueError as error:
            yield Receipt(claim, "FAILS", None, str(error))
        except DlxError as error:  # such as a loss that is not finite
            yield Receipt(claim, "FAILS", None, error.problems[0].message)
        except (IndexError, RuntimeError) as error:  # such as an index that an embedding has not
            why = f"torch cannot run it: {str(error).strip().splitlines()[0]}"
            yield Receipt(claim, "FAILS", None, why)
        else:
            yield judge(claim, ours)


def _build(experiment: Experiment, graph: Graph, seed: int) -> fx.GraphModule:
    """Build the network in float64 and eval mode; `seed` is for the weights that the spec does not set."""
    from ..network import build

    default = torch.get_default_dtype()
    # Before it is built: `double()` alone comes too late, for `values` would be rounded to float32 first
    torch.set_default_dtype(torch.float64)
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            made = build(graph, experiment.init).double().eval()
            initial_weights.fill({ONE: made}, experiment, Graphs.of(graph))
            return made
    finally:
        torch.set_default_dtype(default)


def _random_weights(network: fx.GraphModule, other: fx.GraphModule) -> list[str]:
    """Return the names of weights and buffers that differ between networks of two seeds."""
    others = other.state_dict()
    return [name.replace(".", "/") for name, value in network.state_dict().items() if not value.equal(others[name])]


def _evaluate(evaluator: Evaluator, claim: Claim, random_weights: Sequence[str]) -> Any:
    """Return the figure of a claim. ValueError where it depends on random weights or layers."""
    function, figures = QUANTITIES[claim.quantity], claim.figures
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        before = torch.get_rng_state()
        ours = function(evaluator, figures)
        if not torch.get_rng_state().equal(before):
            _refuse_random_layers(evaluator, claim)
        for seed in RESAMPLE_SEEDS if random_weights else ():
            torch.manual_seed(0)
            # The same generator state as before: only the weights differ, not dropout masks
            resampled = replace(evaluator, network=_build(evaluator.experiment, evaluator.graph, seed))
            if not _agree(ours, function(resampled, figures)):
                ancestors = evaluator.ancestors(claim)
                names = [name for name in random_weights if name.rpartition("/")[0] in ancestors] or random_weights
                hint = "Set them with `values`, or by an `init` that draws nothing, such as `constant`."
                raise ValueError(f"it is one draw of many: nothing sets {_some(names)}. {hint}")
    return ours


def _refuse_random_layers(evaluator: Evaluator, claim: Claim) -> None:
    """Raise ValueError where a claim depends on a layer that draws random numbers in each pass.

    That the generator has moved is not enough: the layer may come after the node that the claim is about.
    """
    updates = claim.quantity == "weights_after"
    mode = "train" if updates else claim.figures.get("mode", "eval")
    ancestors, found = evaluator.ancestors(claim), []

    class Watcher(torch.fx.Interpreter):
        def run_node(self, node: fx.Node) -> Any:
            before = torch.get_rng_state()
            value = super().run_node(node)
            if not torch.get_rng_state().equal(before) and node.meta["node"] in ancestors:
                found.append(node.meta["node"])
            return value

    with torch.no_grad():
        Watcher(evaluator.in_mode(mode)).run(*evaluator.samples(claim.figures["at"]).inputs)
    if found or updates:
        draws = f"{_some(found)} draw{'' if len(found) > 1 else 's'}" if found else "the training draws"
        out = "Claim it in `mode: eval`, or leave out" if mode == "train" and not updates else "Leave out"
        raise ValueError(f"it is one draw of many: {draws} anew in each pass. {out} what draws.")


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def _agree(ours: Any, other: Any) -> bool:
    """Whether two figures are equal up to rounding."""
    if isinstance(ours, dict):
        return all(_agree(value, other[name]) for name, value in ours.items())
    if isinstance(ours, list):
        return all(map(_agree, ours, other))
    return bool(ours == other) or isclose(ours, other, rel_tol=1e-9, abs_tol=1e-12) or (isnan(ours) and isnan(other))


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
        named = at if isinstance(at, dict) else {next(iter(inputs)): at}
        if named.keys() != inputs.keys():
            raise ValueError(f"`at` gives {', '.join(named) or 'nothing'}, and the inputs are {', '.join(inputs)}")
        tensors = [_tensor(name, named[name], shape) for name, shape in inputs.items()]
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
        try:
            exact = torch.as_tensor(values, dtype=torch.float64)
        except (TypeError, ValueError, RuntimeError, OverflowError) as error:
            raise ValueError(f"`target` wants numbers in rows of one length, not {shown(values)}") from error
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
                    raise ValueError(f"`target` has the shape {Shape(own.shape[1:])}, and the output {_shape(main)}")
        penalty = objective.penalty(network)
        first = {name: torch.tensor(v, dtype=torch.float64) for name, v in objective.learned_parameters().items()}
        loss = objective.training_loss(None, first)(output, target)
        auxiliary = AuxiliaryLosses(network)
        loss = loss + auxiliary.total() if auxiliary else loss
        return loss if penalty is None else loss + penalty()


def _shape(values: Tensor) -> Shape:
    return Shape(values.shape[1:])


def _tensor(name: str, values: Any, shape: Shape) -> tuple[Tensor, bool]:
    """Return samples of an input as a batch, and whether they were written as several."""
    try:
        value = torch.as_tensor(values, dtype=getattr(torch, DTYPES[shape.dtype]))
        exact = torch.as_tensor(values, dtype=torch.float64)
    except (TypeError, ValueError, RuntimeError, OverflowError) as error:
        raise ValueError(f"`{name}` wants numbers in rows of one length, not {shown(values)}") from error
    if shape.dtype == "int" and bool((exact != value).any()):
        raise ValueError(f"`{name}` wants whole numbers, not {shown(values)}")
    if value.dim() == len(shape) + 1 and tuple(value.shape[1:]) == tuple(shape) and len(value):
        return value, True
    if value.dim() and tuple(value.shape) != tuple(shape):
        raise ValueError(f"`{name}` is {shape}, and `at` gives {tuple(value.shape)}")
    return value.expand(1, *shape), False


# --- the quantities -------------------------------------------------------------------------------------------------


def _output(evaluator: Evaluator, figures: dict[str, Any]) -> Any:
    samples = evaluator.samples(figures["at"])
    name = evaluator.node(figures["of"]) if figures.get("of") else ""
    with torch.no_grad():
        return samples.plain(evaluator.values(evaluator.in_mode(figures.get("mode", "eval")), samples)[name])


def _loss(evaluator: Evaluator, figures: dict[str, Any]) -> Any:
    samples, network = evaluator.samples(figures["at"]), evaluator.in_mode(figures.get("mode", "eval"))
    target = evaluator.targets(figures["target"], samples)
    with torch.no_grad():
        return evaluator.loss(network, evaluator.values(network, samples)[""], target).item()


def _gradient(evaluator: Evaluator, figures: dict[str, Any]) -> Any:
    samples, network = evaluator.samples(figures["at"]), evaluator.in_mode(figures.get("mode", "eval"))
    for tensor in samples.inputs:
        if tensor.is_floating_point():
            tensor.requires_grad_()
    target = evaluator.targets(figures["target"], samples) if "target" in figures else None
    with torch.enable_grad(), _requiring_grad(network, figures["by"]):
        values = evaluator.values(network, samples)
        if target is not None:
            scalar = evaluator.loss(network, values[""], target)
        else:
            scalar = _scalar(values[evaluator.node(figures["of"]) if figures.get("of") else ""], figures.get("of"))
        by, shared = _variable(evaluator, figures["by"], network, values, samples)
        if not scalar.requires_grad or not by.requires_grad:
            found = torch.zeros_like(by)
        else:
            # A weight that the value does not depend on has the gradient 0, as a reader would write
            found = torch.autograd.grad(scalar, by, allow_unused=True, materialize_grads=True)[0]
    return found.tolist() if shared else samples.plain(found)


@contextmanager
def _requiring_grad(network: fx.GraphModule, name: str) -> Iterator[None]:
    """Let a frozen weight require a gradient meanwhile: a claim may ask for it."""
    weight = dict(network.named_parameters()).get(name.replace("/", "."))
    frozen = weight is not None and not weight.requires_grad
    if weight is not None:
        weight.requires_grad_()
    try:
        yield
    finally:
        if weight is not None and frozen:
            weight.requires_grad_(False)


def _scalar(value: Any, of: str | None) -> Tensor:
    """Return the value that is differentiated, summed over samples. ValueError where a sample has several."""
    if isinstance(value, dict):
        names = ", ".join(value)
        raise ValueError(f"the network has the outputs {names}, and a gradient is of one: name it with `of`")  # noqa: TRY004
    if value[0].numel() != 1:
        name = f"`{of}`" if of else "the output"
        raise ValueError(f"{name} has the shape {_shape(value)}, and a gradient is of one value")
    # One backward pass for all samples: the value of a sample does not depend on the others
    scalar: Tensor = value.sum()
    return scalar


def _variable(
    evaluator: Evaluator, name: str, network: fx.GraphModule, values: dict[str, Any], samples: Samples
) -> tuple[Tensor, bool]:
    """Return the tensor to differentiate by (input, weight, output of a node), and whether all samples share it."""
    if name in evaluator.graph.inputs:
        tensor = samples.inputs[list(evaluator.graph.inputs).index(name)]
        if not tensor.is_floating_point():
            raise ValueError(f"`{name}` holds no floats, and there is no gradient by it")
        return tensor, False
    weight = dict(network.named_parameters()).get(name.replace("/", "."))
    if weight is not None:
        return weight, True
    return values[evaluator.node(name)], False


def _weights_after(evaluator: Evaluator, figures: dict[str, Any]) -> Any:
    """Return a weight after `steps` updates of `dlx train` on these samples, in the order written."""
    from ..training.batches.data_part import DataPart
    from ..training.fit import Job, updates

    train, steps = evaluator.experiment.train, figures["steps"]
    if train is None:
        raise ValueError("there is no `train` that could move the weights: write `train: {steps: 3, optimizer: sgd}`")
    if len(evaluator.graph.inputs) > 1:
        raise ValueError("training fills one input, and the network has several")
    samples, network = evaluator.samples(figures["at"]), evaluator.in_mode("train")
    targets = evaluator.targets(figures["target"], samples)
    weights, name = dict(network.named_parameters()), figures["of"].replace("/", ".")
    if name not in weights:
        known = ", ".join(key.replace(".", "/") for key in list(weights)[:6])
        raise ValueError(f"there is no weight `{figures['of']}`; there are {known}")
    part = DataPart(samples.inputs[0].detach(), targets)
    # As the claim is written: the order of its samples, and one device for all machines
    settings = train.model_copy(update={"shuffle": False, "device": "cpu", "trace": False})
    job = Job(network, evaluator.objective, settings, {"train": part})
    if steps > job.total_steps:
        raise ValueError(f"the training has {plural(job.total_steps, 'step')}")
    torch.manual_seed(train.seed)
    for _ in islice(updates(job, []), steps):
        pass
    return weights[name].tolist()


QUANTITIES: dict[str, Callable[[Evaluator, dict[str, Any]], Any]] = {
    "output": _output,
    "loss": _loss,
    "gradient": _gradient,
    "weights_after": _weights_after,
}
