"""The quantities of exact claims: outputs, losses, gradients, and weights after updates."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from itertools import islice
from typing import TYPE_CHECKING, Any

from ..data.batch import FieldNames
from ..errors import plural
from ..lazy import torch
from ..objectives import Supervised, learned
from .evaluator import Evaluator, Samples, shape_of

if TYPE_CHECKING:
    from torch import Tensor, fx

    from ..training.batches.data_part import DataPart

TARGET = "objective"
"""Name of the one target of a claim: no input is called so."""


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
        raise ValueError(f"{name} has the shape {shape_of(value)}, and a gradient is of one value")
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
    from ..training.fit import Job, updates

    train, steps = evaluator.experiment.train, figures["steps"]
    if train is None:
        raise ValueError("there is no `train` that could move the weights: write `train: {steps: 3, optimizer: sgd}`")
    samples, network = evaluator.samples(figures["at"]), evaluator.in_mode("train")
    targets, objective = evaluator.targets(figures["target"], samples), evaluator.objective
    still = [name for name, until in evaluator.graph.frozen_of_objective.items() if until is None]
    learned.attach(network, objective, still)
    network.double()
    weights, name = dict(network.named_parameters()), figures["of"].replace("/", ".")
    if name not in weights:
        known = ", ".join(key.replace(".", "/") for key in list(weights)[:6])
        raise ValueError(f"there is no weight `{figures['of']}`; there are {known}")
    inputs = dict(zip(evaluator.graph.inputs, samples.inputs, strict=True))
    # As the claim is written: the samples in their order, each once, and one device for all machines
    as_written = {"shuffle": False, "sampling": None, "bootstrap": False, "device": "cpu", "trace": False}
    part = _part_of(inputs, objective, targets)
    job = Job(network, objective, train.model_copy(update=as_written), {"train": part})
    if steps > job.total_steps:
        raise ValueError(f"the training has {plural(job.total_steps, 'step')}")
    torch.manual_seed(train.seed)
    for _ in islice(updates(job, []), steps):
        pass
    return weights[name].tolist()


def _part_of(inputs: Mapping[str, Tensor], objective: Supervised, targets: Any) -> DataPart:
    """Return the samples of a claim as a part of data. ValueError where heads of one target are given two."""
    from ..training.batches.data_part import DataPart

    (main, x), *more = ((name, tensor.detach()) for name, tensor in inputs.items())
    heads = [head for head in objective.heads([""]) if head.name]
    if not heads:
        fields = {objective.field or TARGET: targets}
    else:
        fields = {}
        for head in heads:
            field, own = head.objective.field or head.name, targets[head.name]
            if field in fields and not fields[field].equal(own):
                raise ValueError(f"two heads learn `{field}`, and `target` gives them different values")
            fields[field] = own
    names = FieldNames((main, *(name for name, _ in more)), tuple(fields))
    (_, y), *others = fields.items()
    return DataPart(x, y, more=dict([*more, *others]), names=names)


QUANTITIES: dict[str, Callable[[Evaluator, dict[str, Any]], Any]] = {
    "output": _output,
    "loss": _loss,
    "gradient": _gradient,
    "weights_after": _weights_after,
}
