"""Before the first update: the loss, what the network ends in, and whether its units differ."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from ...errors import Mark
from ...graph import LayerNode
from ...lazy import torch
from .check import Outcome, check, left_out, names
from .probe import Patient, losses, weights_of

if TYPE_CHECKING:
    from torch import Tensor, nn

RANGES = {
    "relu": (0.0, math.inf),
    "relu6": (0.0, 6.0),
    "softplus": (0.0, math.inf),
    "sigmoid": (0.0, 1.0),
    "hardsigmoid": (0.0, 1.0),
    "softmax": (0.0, 1.0),
    "softmin": (0.0, 1.0),
    "tanh": (-1.0, 1.0),
    "softsign": (-1.0, 1.0),
    "log_softmax": (-math.inf, 0.0),
    "log_sigmoid": (-math.inf, 0.0),
}
"""What a last layer can answer."""
LOGITS = 1.0
"""What logits of variance 2, as He's initialisation gives them, add to a cross-entropy: half their variance."""
LOGIT_LOSSES = ("cross_entropy", "focal", "binary_cross_entropy")
BY_DISTANCE = ("squared_error", "absolute_error", "huber")
"""Losses that take the output as it is for the answer."""


@check("initial loss")
def initial_loss(patient: Patient) -> Outcome:
    """The loss before training is that of a network that knows nothing."""
    loss, blind = patient.start.loss, patient.blind(patient.batch)
    figure, expected = f"{loss:.3f}{_penalty(patient)}", _expected(patient, blind)
    if not math.isfinite(loss):
        told = f"the loss is {loss} before the first update"
        hint = "Look at `inputs` and `activations` above and below: something grows beyond bounds."
        return Outcome("wrong", figure, expected, told, hint, patient.place("init"))
    room = 0.5 * abs(blind) + 0.05
    if loss > blind + max(room, LOGITS if patient.objective.loss.kind == "cross_entropy" else 0):
        far = loss > 10 * abs(blind) + 1
        told = f"the loss begins at {loss:.3g}, and a network that knows nothing has {blind:.3g}"
        hint = "The last layer is too loud, or targets are far from 0: smaller initial weights, or centred targets."
        return Outcome("wrong" if far else "look", figure, expected, told, hint, patient.place("init"))
    if loss < blind - room:
        told = f"the loss begins at {loss:.3g}, below the {blind:.3g} of a network that knows nothing"
        hint = "Weights that were given know the answer, or the batch has few classes."
        return Outcome("look", figure, expected, told, hint, patient.place("objective"))
    return Outcome("ok", figure, expected)


def _penalty(patient: Patient) -> str:
    """What `l1` and `l2` raise the loss by."""
    added = patient.objective.penalty(patient.start.network)
    return "" if added is None else f" + {float(added().detach()):.3g} for the weights"


def _expected(patient: Patient, blind: float) -> str:
    loss = patient.objective.loss
    plain = loss.reduction == "mean"
    if loss.kind == "cross_entropy" and plain and patient.facts.classes:
        return f"about ln {patient.facts.classes} = {math.log(patient.facts.classes):.3f}"
    if loss.kind == "squared_error" and plain and patient.facts.classes is None:
        return f"about {blind:.3g}, the variance of the targets"
    return f"about {blind:.3g}, for equal answers"


@check("output layer")
def output_layer(patient: Patient) -> Outcome:
    """What the network ends in can say what the loss wants to hear."""
    node = patient.last
    if node is None:
        return left_out("no layer at the end")
    figure, wants = node.kind, patient.objective.loss.kind
    if patient.facts.classes is not None and wants in LOGIT_LOSSES:
        expected = f"logits for {wants}"
        low, high = RANGES.get(node.kind, (-math.inf, math.inf))
        if math.isinf(low) and math.isinf(high):
            return Outcome("ok", figure, expected)
        if node.kind == "log_softmax":
            told = f"{wants} takes logits, and does itself what `{node.name}` does"
            return Outcome("look", figure, expected, told, f"Drop `{node.name}`: twice is once.", node.mark)
        told = f"{wants} takes logits, and `{node.name}` gives numbers {_between(low, high)}"
        floor = _floor(patient, high - low)
        told += f": the loss cannot fall below {floor:.2f}" if floor else ""
        bounded = not math.isinf(high - low)
        return Outcome("wrong" if bounded else "look", figure, expected, told, f"Drop `{node.name}`.", node.mark)
    if patient.facts.classes is None and node.kind in RANGES and wants in BY_DISTANCE:
        return _reach(patient, node)
    return Outcome("ok", figure)


def _between(low: float, high: float) -> str:
    if math.isinf(high):
        return f"from {low:g} up"
    return f"up to {high:g}" if math.isinf(low) else f"between {low:g} and {high:g}"


def _floor(patient: Patient, width: float) -> float:
    """The least cross-entropy where logits of one example differ by `width` at most; 0 without a limit."""
    if math.isinf(width) or patient.objective.loss.kind != "cross_entropy":
        return 0.0
    assert patient.facts.classes is not None
    return math.log(1 + (patient.facts.classes - 1) * math.exp(-width))


def _reach(patient: Patient, node: LayerNode) -> Outcome:
    """Whether targets are where a bounded last layer can answer."""
    low, high = RANGES[node.kind]
    y = patient.sets.train.y
    outside = float(((y < low) | (y > high)).mean())
    expected = f"targets {_between(low, high)}"
    if not outside:
        return Outcome("ok", node.kind, expected)
    told = (
        f"`{node.name}` gives numbers {_between(low, high)}, and {outside:.0%} of the targets are outside: "
        f"they go from {y.min():.3g} to {y.max():.3g}"
    )
    return Outcome("wrong", node.kind, expected, told, f"Drop `{node.name}`, or scale the targets.", node.mark)


@check("symmetry")
def symmetry(patient: Patient) -> Outcome:
    """Units of a layer differ, or will after an update."""
    twins = [
        node
        for node, weight in weights_of(patient, patient.start.network)
        if len(weight) > 1 and _alike(weight.detach()) and (weight.grad is None or _alike(weight.grad))
    ]
    expected = "units that differ"
    if not twins:
        return Outcome("ok", "broken", expected)
    found = list(dict.fromkeys(node.name for node in twins))
    told = f"all units of {names(found)} have the same weights and the same gradient: they stay one unit for ever"
    hint = "Draw weights at random: `init: he_normal`."
    mark = patient.place("init") if patient.experiment.root.at("init") is not None else twins[0].mark
    return Outcome("wrong", f"{len(found)} alike", expected, told, hint, mark)


def _alike(weight: Tensor) -> bool:
    rows = weight.flatten(1)
    slack = float(rows.abs().max()) * 1e-6  # relative: weights that differ may be as small as they like
    return bool(torch.allclose(rows, rows[:1].expand_as(rows), rtol=1e-4, atol=slack))


@check("regularisation")
def regularisation(patient: Patient) -> Outcome:
    """Decay and penalties bend the update that the data wants, and no more."""
    expected = "weaker than the data"
    if patient.free.train == patient.train and patient.free.objective == patient.objective:
        return Outcome("ok", "none", expected)
    before = _vector(patient.network())
    with_it, without = (_updated(each) for each in (patient, patient.free))
    pulled, wanted = float((with_it - without).norm()), float((without - before).norm())
    share = pulled / wanted if wanted else math.inf if pulled else 0.0
    figure, place = f"{share:.2g} of the update", _written(patient)
    if pulled and pulled >= float(before.norm()):
        told = "regularisation alone takes away all of the weights in one update"
        return Outcome("wrong", "all of the weights", expected, told, "Lower it, or the learning rate.", place)
    if share > 1:
        told = f"regularisation moves the weights {share:.3g} times as far as the data does in the first update"
        return Outcome("look", figure, expected, told, "Lower it: a `weight_decay` of 1e-4 is common.", place)
    return Outcome("ok", figure, expected)


def _written(patient: Patient) -> Mark:
    terms = patient.objective.l1 or patient.objective.l2
    return patient.place("objective") if terms else patient.place("train", "optimizer")


def _updated(patient: Patient) -> Tensor:
    """All weights after one update by the batch."""
    network, batch = patient.network(), patient.batch
    changes = {"batch_size": len(batch), "accumulate": 1}
    for _ in losses(patient.job(network, {"train": batch}, 1, **changes)):
        pass
    return _vector(network)


def _vector(network: nn.Module) -> Tensor:
    return torch.cat([p.detach().flatten() for p in network.parameters() if p.requires_grad])
