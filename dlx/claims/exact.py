"""Exact values of a network with given weights, in float64: outputs, losses, gradients, weights after updates."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass, replace
from itertools import islice
from math import isclose, isnan
from typing import TYPE_CHECKING, Any

from ..errors import DlxError, plural
from ..graph import Graph
from ..graph.expect import Receipt, judge
from ..graph.measures import Unmeasured, part
from ..lazy import torch
from ..objectives import Supervised
from ..shapes import Shape, bytes_text
from ..spec import Experiment, supervised_of
from ..spec.sections.expect import Claim
from ..spec.validation import shown

if TYPE_CHECKING:
    from torch import Tensor, fx

DTYPES = {"float": "float64", "int": "int64", "bool": "bool"}
REDRAWS = (1, 2, 3)
"""Seeds of further draws of the weights, with which a claim about exact values must come out alike."""


def receipts(claims: Sequence[Claim], experiment: Experiment, graph: Graph) -> Iterator[Receipt]:
    """A verdict on each claim; one that cannot be checked hides no other."""
    from ..training import device

    wanted, free = 16 * (graph.params + graph.buffers) + 2 * graph.activation_bytes, device.free_memory()
    if wanted > free:
        why = f"two draws of the network take {bytes_text(wanted)}, and {bytes_text(free)} are free"
        yield from (Receipt(claim, "FAILS", None, why) for claim in claims)
        return
    bench = Bench(experiment, graph, _built(experiment, graph, 0))
    drawn = _drawn(bench.network, _built(experiment, graph, REDRAWS[0]))
    for claim in claims:
        try:
            ours = _worked_out(bench, claim, drawn)
        except ValueError as error:
            yield Receipt(claim, "FAILS", None, str(error))
        except DlxError as error:  # such as a loss that is not finite
            yield Receipt(claim, "FAILS", None, error.problems[0].message)
        except (IndexError, RuntimeError) as error:  # such as an index that an embedding has not
            why = f"torch cannot run it: {str(error).strip().splitlines()[0]}"
            yield Receipt(claim, "FAILS", None, why)
        else:
            yield judge(claim, ours)


def _built(experiment: Experiment, graph: Graph, seed: int) -> fx.GraphModule:
    """The network in float64, its weights drawn with `seed` where the spec does not set them."""
    from ..network import build

    default = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)  # while it is built: given weights are not rounded to float32 first
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return build(graph, experiment.init).double().eval()
    finally:
        torch.set_default_dtype(default)


def _drawn(network: fx.GraphModule, other: fx.GraphModule) -> list[str]:
    """The weights and buffers in which two draws of a network differ."""
    values = other.state_dict()
    return [name.replace(".", "/") for name, held in network.state_dict().items() if not held.equal(values[name])]


def _worked_out(bench: Bench, claim: Claim, drawn: Sequence[str]) -> Any:
    """The figure that a claim is about. ValueError where it is one draw of many."""
    way, figures = WAYS[claim.quantity], claim.figures
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        before = torch.get_rng_state()
        ours = way(bench, figures)
        if not torch.get_rng_state().equal(before):
            _refuse_draws_in_passes(bench, claim)
        for seed in REDRAWS if drawn else ():
            torch.manual_seed(0)
            other = way(replace(bench, network=_built(bench.experiment, bench.graph, seed)), figures)
            if not _alike(ours, other):
                behind = bench.behind(claim)
                names = [name for name in drawn if name.rpartition("/")[0] in behind] or drawn
                hint = "Set them with `values`, or by an `init` that draws nothing, such as `constant`."
                raise ValueError(f"it is one draw of many: nothing sets {_some(names)}. {hint}")
    return ours


def _refuse_draws_in_passes(bench: Bench, claim: Claim) -> None:
    """ValueError where a layer draws anew in each pass, and the claim is about what comes of it."""
    updates = claim.quantity == "weights_after"
    mode = "train" if updates else claim.figures.get("mode", "eval")
    behind, found = bench.behind(claim), []

    class Watcher(torch.fx.Interpreter):
        def run_node(self, node: fx.Node) -> Any:
            before = torch.get_rng_state()
            value = super().run_node(node)
            if not torch.get_rng_state().equal(before) and node.meta["node"] in behind:
                found.append(node.meta["node"])
            return value

    with torch.no_grad():
        Watcher(bench.ready(mode)).run(*bench.samples(claim.figures["at"]).inputs)
    if found or updates:
        draws = f"{_some(found)} draw{'' if len(found) > 1 else 's'}" if found else "the training draws"
        out = "Claim it in `mode: eval`, or leave out" if mode == "train" and not updates else "Leave out"
        raise ValueError(f"it is one draw of many: {draws} anew in each pass. {out} what draws.")


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def _alike(ours: Any, other: Any) -> bool:
    """Whether two figures are one, but for rounding."""
    if isinstance(ours, dict):
        return all(_alike(value, other[name]) for name, value in ours.items())
    if isinstance(ours, list):
        return all(map(_alike, ours, other))
    return bool(ours == other) or isclose(ours, other, rel_tol=1e-9, abs_tol=1e-12) or (isnan(ours) and isnan(other))


@dataclass(frozen=True)
class Samples:
    """What a claim gives to the network: a tensor an input, the batch first. `one` where it is a single sample."""

    inputs: tuple[Tensor, ...]
    one: bool

    def __len__(self) -> int:
        return max(map(len, self.inputs))

    def plain(self, values: Any) -> Any:
        """A value of each sample as numbers; of a single one without its batch, and without brackets around one."""
        if isinstance(values, dict):
            return {name: self.plain(inner) for name, inner in values.items()}
        listed = values.tolist() if not self.one else values[0].tolist()
        return listed[0] if _is_row_of_one(listed) and self.one else listed


def _is_row_of_one(listed: Any) -> bool:
    return isinstance(listed, list) and len(listed) == 1 and not isinstance(listed[0], list)


@dataclass(frozen=True)
class Bench:
    """The network, and what the claims of one spec are worked out with."""

    experiment: Experiment
    graph: Graph
    network: fx.GraphModule

    def ready(self, mode: str) -> fx.GraphModule:
        """The network in a mode; what training moves (batch statistics) is moved in a copy."""
        return deepcopy(self.network).train() if mode == "train" else self.network

    @property
    def objective(self) -> Supervised:
        if self.experiment.objective is None and self.experiment.data is None:
            raise ValueError("there is no `objective` that could have a loss: write `objective: classification`")
        return supervised_of(self.experiment)

    def values(self, network: fx.GraphModule, samples: Samples) -> dict[str, Any]:
        """The value of each node by its name, and the output under an empty name."""
        calls = [node.name for node in network.graph.nodes if node.op == "call_module"]  # fx changes Python's names
        names = dict(zip(calls, (node.name for node in self.graph.nodes), strict=True))
        seen: dict[str, Any] = {}

        class Recorder(torch.fx.Interpreter):
            def run_node(self, node: fx.Node) -> Any:
                value = super().run_node(node)
                seen[names.get(node.name, f"fx {node.name}")] = value
                return value

        seen[""] = Recorder(network, garbage_collect_values=False).run(*samples.inputs)
        return seen

    def node(self, name: str) -> str:
        """The node that is meant, or that a scope ends with; ValueError where it is none."""
        try:
            last = part(self.graph, name).last
        except Unmeasured as error:
            raise ValueError(str(error)) from error
        if last is None:
            raise ValueError(f"`{name}` is an input, and `of` names a node")
        return last.name

    def behind(self, claim: Claim) -> set[str]:
        """The nodes that what a claim is about follows from: those before its `of`, or before the output."""
        of = claim.figures.get("of") if claim.quantity in ("output", "gradient") else None
        ends = {self.node(of)} if of else set(self.graph.outputs.values())
        for node in reversed(self.graph.nodes):
            if node.name in ends:
                ends.update(node.inputs)
        return ends

    def samples(self, given: Any) -> Samples:
        """One sample or several, an input each. ValueError where it does not fit."""
        inputs = self.graph.inputs
        named = given if isinstance(given, dict) else {next(iter(inputs)): given}
        if named.keys() != inputs.keys():
            raise ValueError(f"`at` gives {', '.join(named) or 'nothing'}, and the inputs are {', '.join(inputs)}")
        tensors = [_tensor(name, named[name], shape) for name, shape in inputs.items()]
        count = max(len(tensor) for tensor, several in tensors)
        return Samples(
            tuple(tensor.expand(count, *tensor.shape[1:]) for tensor, _ in tensors),
            not any(several for _, several in tensors),
        )

    def targets(self, given: Any, samples: Samples) -> Tensor:
        """A target for each sample: class numbers or values, as the objective wants them."""
        classes = self.objective.measures == "classes"
        try:
            exact = torch.as_tensor(given, dtype=torch.float64)
        except (TypeError, ValueError, RuntimeError, OverflowError) as error:
            raise ValueError(f"`target` wants numbers in rows of one length, not {shown(given)}") from error
        if classes and bool((exact != exact.round()).any()):
            raise ValueError(f"{self.objective.kind} wants class numbers, from 0 on, not {shown(given)}")
        target = exact[None] if samples.one or not exact.dim() else exact
        if len(target) != len(samples):
            raise ValueError(f"`at` has {plural(len(samples), 'sample')}, and `target` {len(target)}")
        return target.long() if classes else target.reshape(len(target), -1) if target.dim() == 1 else target

    def loss(self, network: fx.GraphModule, output: Any, target: Tensor) -> Tensor:
        """What training makes small: the loss, and what the objective adds for the weights."""
        objective = self.objective
        main = objective.main(output)
        if objective.measures == "values":
            wanted = objective.loss.outputs(Shape(target.shape[1:]))
            if tuple(main.shape[1:]) != tuple(wanted):
                raise ValueError(f"`target` has the shape {Shape(target.shape[1:])}, and the output {_shape(main)}")
        penalty = objective.penalty(network)
        loss = objective.training_loss()(output, target)
        return loss if penalty is None else loss + penalty()


def _shape(values: Tensor) -> Shape:
    return Shape(values.shape[1:])


def _tensor(name: str, given: Any, shape: Shape) -> tuple[Tensor, bool]:
    """A sample as a batch of one, or several as they are, and which of the two."""
    try:
        value = torch.as_tensor(given, dtype=getattr(torch, DTYPES[shape.dtype]))
        exact = torch.as_tensor(given, dtype=torch.float64)
    except (TypeError, ValueError, RuntimeError, OverflowError) as error:
        raise ValueError(f"`{name}` wants numbers in rows of one length, not {shown(given)}") from error
    if shape.dtype == "int" and bool((exact != value).any()):
        raise ValueError(f"`{name}` wants whole numbers, not {shown(given)}")
    if value.dim() == len(shape) + 1 and tuple(value.shape[1:]) == tuple(shape) and len(value):
        return value, True
    if value.dim() and tuple(value.shape) != tuple(shape):
        raise ValueError(f"`{name}` is {shape}, and `at` gives {tuple(value.shape)}")
    return value.expand(1, *shape), False


# --- the quantities -------------------------------------------------------------------------------------------------


def _output(bench: Bench, figures: dict[str, Any]) -> Any:
    samples = bench.samples(figures["at"])
    name = bench.node(figures["of"]) if figures.get("of") else ""
    with torch.no_grad():
        return samples.plain(bench.values(bench.ready(figures.get("mode", "eval")), samples)[name])


def _loss(bench: Bench, figures: dict[str, Any]) -> Any:
    samples, network = bench.samples(figures["at"]), bench.ready(figures.get("mode", "eval"))
    target = bench.targets(figures["target"], samples)
    with torch.no_grad():
        return bench.loss(network, bench.values(network, samples)[""], target).item()


def _gradient(bench: Bench, figures: dict[str, Any]) -> Any:
    samples, network = bench.samples(figures["at"]), bench.ready(figures.get("mode", "eval"))
    for tensor in samples.inputs:
        if tensor.is_floating_point():
            tensor.requires_grad_()
    target = bench.targets(figures["target"], samples) if "target" in figures else None
    with torch.enable_grad(), _thawed(network, figures["by"]):
        values = bench.values(network, samples)
        if target is not None:
            height = bench.loss(network, values[""], target)
        else:
            height = _height(values[bench.node(figures["of"]) if figures.get("of") else ""], figures.get("of"))
        by, shared = _by(bench, figures["by"], network, values, samples)
        if not height.requires_grad or not by.requires_grad:
            found = torch.zeros_like(by)
        else:
            found = torch.autograd.grad(height, by, allow_unused=True, materialize_grads=True)[0]
    return found.tolist() if shared else samples.plain(found)


@contextmanager
def _thawed(network: fx.GraphModule, name: str) -> Iterator[None]:
    """A weight that is frozen has a gradient too, where one asks for it."""
    weight = dict(network.named_parameters()).get(name.replace("/", "."))
    frozen = weight is not None and not weight.requires_grad
    if weight is not None:
        weight.requires_grad_()
    try:
        yield
    finally:
        if weight is not None and frozen:
            weight.requires_grad_(False)


def _height(value: Any, of: str | None) -> Tensor:
    """The one value that a gradient is of, summed over the samples, which do not touch each other."""
    if isinstance(value, dict):
        names = ", ".join(value)
        raise ValueError(f"the network has the outputs {names}, and a gradient is of one: name it with `of`")  # noqa: TRY004
    if value[0].numel() != 1:
        name = f"`{of}`" if of else "the output"
        raise ValueError(f"{name} has the shape {_shape(value)}, and a gradient is of one value")
    height: Tensor = value.sum()
    return height


def _by(
    bench: Bench, name: str, network: fx.GraphModule, values: dict[str, Any], samples: Samples
) -> tuple[Tensor, bool]:
    """An input, a weight or what comes out of a node, and whether all samples share it."""
    if name in bench.graph.inputs:
        tensor = samples.inputs[list(bench.graph.inputs).index(name)]
        if not tensor.is_floating_point():
            raise ValueError(f"`{name}` holds no floats, and there is no gradient by it")
        return tensor, False
    weight = dict(network.named_parameters()).get(name.replace("/", "."))
    if weight is not None:
        return weight, True
    return values[bench.node(name)], False


def _weights_after(bench: Bench, figures: dict[str, Any]) -> Any:
    """What `dlx train` would do with these samples, in the order that they are written in."""
    from ..training.batches.data_part import DataPart
    from ..training.fit import Job, updates

    train, steps = bench.experiment.train, figures["steps"]
    if train is None:
        raise ValueError("there is no `train` that could move the weights: write `train: {steps: 3, optimizer: sgd}`")
    if len(bench.graph.inputs) > 1:
        raise ValueError("training fills one input, and the network has several")
    samples, network = bench.samples(figures["at"]), bench.ready("train")
    targets = bench.targets(figures["target"], samples)
    weights, name = dict(network.named_parameters()), figures["of"].replace("/", ".")
    if name not in weights:
        known = ", ".join(key.replace(".", "/") for key in list(weights)[:6])
        raise ValueError(f"there is no weight `{figures['of']}`; there are {known}")
    part = DataPart(samples.inputs[0].detach(), targets)
    settings = train.model_copy(update={"shuffle": False, "device": "cpu", "trace": False})
    job = Job(network, bench.objective, settings, {"train": part})
    if steps > job.total_steps:
        raise ValueError(f"the training has {plural(job.total_steps, 'step')}")
    torch.manual_seed(train.seed)
    for _ in islice(updates(job, []), steps):
        pass
    return weights[name].tolist()


WAYS: dict[str, Callable[[Bench, dict[str, Any]], Any]] = {
    "output": _output,
    "loss": _loss,
    "gradient": _gradient,
    "weights_after": _weights_after,
}
