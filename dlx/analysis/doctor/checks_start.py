"""Checks before the first update: initial loss, output layer, symmetry, regularization."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from ...errors import Mark, listed
from ...graph import LayerNode
from ...lazy import torch
from .check import CheckOutcome, check, not_run
from .probe import Probe, losses, weights_of

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
"""Range of the outputs of a last layer."""
LOGITS = 1.0
"""Cross-entropy that logits of variance 2 (He's initialization) add: half their variance."""
MOST_IN_FULL = 1e5
"""A loss from here on is written with three digits: `1.33e+10`."""
LOGIT_LOSSES = ("cross_entropy", "focal", "binary_cross_entropy")
BY_DISTANCE = ("squared_error", "absolute_error", "huber")
"""Losses that compare the output with the target directly."""


@check("initial loss")
def initial_loss(probe: Probe) -> CheckOutcome:
    """Check that the initial loss is that of an output that does not depend on the inputs."""
    loss, uninformed = probe.start.loss, probe.uninformed_loss(probe.batch)
    figure = f"{loss:.3f}" if loss < MOST_IN_FULL else f"{loss:.3g}"
    figure, expected = f"{figure}{_penalty(probe)}", _expected_text(probe, uninformed)
    if not math.isfinite(loss):
        finding = f"the loss is {loss} before the first update"
        hint = "Look at `inputs` and `activations` above and below: something grows beyond bounds."
        return CheckOutcome("wrong", figure, expected, finding, hint, probe.place("init"))
    room = 0.5 * abs(uninformed) + 0.05
    if loss > uninformed + max(room, LOGITS if probe.objective.loss.kind == "cross_entropy" else 0):
        far = loss > 10 * abs(uninformed) + 1
        finding = f"the loss begins at {loss:.3g}, and a network that knows nothing has {uninformed:.3g}"
        hint = "The last layer is too loud, or targets are far from 0: smaller initial weights, or centred targets."
        return CheckOutcome("wrong" if far else "look", figure, expected, finding, hint, probe.place("init"))
    if loss < uninformed - room:
        finding = f"the loss begins at {loss:.3g}, below the {uninformed:.3g} of a network that knows nothing"
        hint = "Weights that were given know the answer, or the batch has few classes."
        return CheckOutcome("look", figure, expected, finding, hint, probe.place("objective"))
    return CheckOutcome("ok", figure, expected)


def _penalty(probe: Probe) -> str:
    """Format what `l1` and `l2` add to the loss."""
    added = probe.objective.penalty(probe.start.network)
    return "" if added is None else f" + {float(added().detach()):.3g} for the weights"


def _expected_text(probe: Probe, uninformed: float) -> str:
    loss = probe.objective.loss
    plain = loss.reduction == "mean"
    if loss.kind == "cross_entropy" and plain and probe.facts.classes:
        return f"about ln {probe.facts.classes} = {math.log(probe.facts.classes):.3f}"
    if loss.kind == "squared_error" and plain and probe.facts.classes is None:
        return f"about {uninformed:.3g}, the variance of the targets"
    return f"about {uninformed:.3g}, for equal answers"


@check("output layer")
def output_layer(probe: Probe) -> CheckOutcome:
    """Check that the last layer can produce the outputs that the loss expects."""
    node = probe.last
    if node is None:
        return not_run("no layer at the end")
    figure, wants = node.kind, probe.objective.loss.kind
    if probe.facts.classes is not None and wants in LOGIT_LOSSES:
        expected = f"logits for {wants}"
        low, high = RANGES.get(node.kind, (-math.inf, math.inf))
        if math.isinf(low) and math.isinf(high):
            return CheckOutcome("ok", figure, expected)
        if node.kind == "log_softmax":
            finding = f"{wants} takes logits, and does itself what `{node.name}` does"
            return CheckOutcome("look", figure, expected, finding, f"Drop `{node.name}`: twice is once.", node.mark)
        finding = f"{wants} takes logits, and `{node.name}` gives numbers {_between(low, high)}"
        floor = _floor(probe, high - low)
        finding += f": the loss cannot fall below {floor:.2f}" if floor else ""
        bounded = not math.isinf(high - low)
        return CheckOutcome(
            "wrong" if bounded else "look", figure, expected, finding, f"Drop `{node.name}`.", node.mark
        )
    if probe.facts.classes is None and node.kind in RANGES and wants in BY_DISTANCE:
        return _check_range(probe, node)
    return CheckOutcome("ok", figure)


def _between(low: float, high: float) -> str:
    if math.isinf(high):
        return f"from {low:g} up"
    return f"up to {high:g}" if math.isinf(low) else f"between {low:g} and {high:g}"


def _floor(probe: Probe, width: float) -> float:
    """Return the least cross-entropy of logits that differ by at most `width`; 0 without a limit."""
    if math.isinf(width) or probe.objective.loss.kind != "cross_entropy":
        return 0.0
    assert probe.facts.classes is not None
    return math.log(1 + (probe.facts.classes - 1) * math.exp(-width))


def _check_range(probe: Probe, node: LayerNode) -> CheckOutcome:
    """Check that the targets are in the range of a bounded last layer."""
    low, high = RANGES[node.kind]
    y = probe.sets.train.y
    outside = float(((y < low) | (y > high)).mean())
    expected = f"targets {_between(low, high)}"
    if not outside:
        return CheckOutcome("ok", node.kind, expected)
    finding = (
        f"`{node.name}` gives numbers {_between(low, high)}, and {outside:.0%} of the targets are outside: "
        f"they go from {y.min():.3g} to {y.max():.3g}"
    )
    return CheckOutcome(
        "wrong", node.kind, expected, finding, f"Drop `{node.name}`, or scale the targets.", node.mark
    )


@check("symmetry")
def symmetry(probe: Probe) -> CheckOutcome:
    """Check that the units of a layer differ, or will after an update."""
    symmetric = [
        node
        for node, weight in weights_of(probe, probe.start.network)
        if len(weight) > 1 and _rows_equal(weight.detach()) and (weight.grad is None or _rows_equal(weight.grad))
    ]
    expected = "units that differ"
    if not symmetric:
        return CheckOutcome("ok", "broken", expected)
    found = list(dict.fromkeys(node.name for node in symmetric))
    finding = f"all units of {listed(found)} have the same weights and the same gradient: they stay one unit for ever"
    hint = "Draw weights at random: `init: he_normal`."
    mark = probe.place("init") if probe.experiment.root.at("init") is not None else symmetric[0].mark
    return CheckOutcome("wrong", f"{len(found)} alike", expected, finding, hint, mark)


def _rows_equal(weight: Tensor) -> bool:
    rows = weight.flatten(1)
    tolerance = float(rows.abs().max()) * 1e-6  # relative: weights that differ may be as small as they like
    return bool(torch.allclose(rows, rows[:1].expand_as(rows), rtol=1e-4, atol=tolerance))


@check("regularisation")
def regularisation(probe: Probe) -> CheckOutcome:
    """Check that decay and penalties change the update less than the data does."""
    expected = "weaker than the data"
    if probe.unregularized.train == probe.train and probe.unregularized.objective == probe.objective:
        return CheckOutcome("ok", "none", expected)
    before = _weight_vector(probe.network())
    regularized, plain = (_after_update(each) for each in (probe, probe.unregularized))
    by_terms, by_data = float((regularized - plain).norm()), float((plain - before).norm())
    share = by_terms / by_data if by_data else math.inf if by_terms else 0.0
    figure, place = f"{share:.2g} of the update", _place_of_terms(probe)
    if by_terms and by_terms >= float(before.norm()):
        finding = "regularisation alone takes away all of the weights in one update"
        return CheckOutcome(
            "wrong", "all of the weights", expected, finding, "Lower it, or the learning rate.", place
        )
    if share > 1:
        finding = f"regularisation moves the weights {share:.3g} times as far as the data does in the first update"
        return CheckOutcome("look", figure, expected, finding, "Lower it: a `weight_decay` of 1e-4 is common.", place)
    return CheckOutcome("ok", figure, expected)


def _place_of_terms(probe: Probe) -> Mark:
    terms = probe.objective.l1 or probe.objective.l2
    return probe.place("objective") if terms else probe.place("train", "optimizer")


def _after_update(probe: Probe) -> Tensor:
    """Return all weights after one update by the batch."""
    network, batch = probe.network(), probe.batch
    changes = {"batch_size": len(batch), "accumulate": 1}
    for _ in losses(probe.job(network, {"train": batch}, 1, **changes)):
        pass
    return _weight_vector(network)


def _weight_vector(network: nn.Module) -> Tensor:
    return torch.cat([p.detach().flatten() for p in network.parameters() if p.requires_grad])
