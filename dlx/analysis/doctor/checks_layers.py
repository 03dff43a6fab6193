"""Layer by layer: units that have died or are stuck, and how signals and gradients travel."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Literal

from ...lazy import torch
from .check import Outcome, check, left_out, names
from .probe import Patient, Seen, losses, weights_of

if TYPE_CHECKING:
    from torch import Tensor

FLAT = frozenset({"relu", "relu6", "threshold", "heaviside", "sign", "rect", "hardshrink", "softshrink"})
"""Activations with a slope of exactly 0 somewhere."""
SQUASHING = frozenset({"sigmoid", "tanh", "softsign", "hardtanh", "hardsigmoid"})
"""Activations that are flat at both ends."""
STUCK = 0.05
"""Part of its steepest slope below which an activation is saturated: beyond 4.4 for sigmoid, 2.2 for tanh."""
ODD, BAD = 100.0, 10_000.0
"""Times that a signal or gradient may grow or shrink from end to end."""
PIECES = frozenset({"relu", "relu6", "leaky_relu", "prelu"})
"""Activations that are straight but for their joints."""
UPDATES, FALLS = 5, 40
"""Updates that are measured, and those over which the loss has to fall where they are large."""


@check("dead units")
def dead_units(patient: Patient) -> Outcome:
    """Units with slope 0 for every sample: no gradient passes them, and they stay so."""
    found = [(seen, *_dead(patient, seen)) for seen in patient.start.layers if seen.node.kind in FLAT]
    expected = f"under a quarter of a layer, over {len(patient.batch)} samples"
    if not found:
        return left_out("no ReLU or its kin")
    gone = [seen.node.name for seen, dead, units in found if dead == units]
    worst, dead, units = max(found, key=lambda each: each[1] / each[2])
    figure = f"{dead:,} of {units:,} in {worst.node.name}" if dead else f"none of {sum(f[2] for f in found):,}"
    if gone:
        told = f"every unit of {names(gone)} has slope 0 for all {len(patient.batch)} samples"
        told += ": what is before learns nothing"
        hint = "Draw weights with both signs (`init: he_normal`), biases at 0 or a little above."
        return Outcome("wrong", figure, expected, told, hint, patient.graph.by_name[gone[0]].mark)
    if dead >= units / 4:
        told = f"{dead:,} of {units:,} units of `{worst.node.name}` have slope 0 for all {len(patient.batch)} samples"
        hint = "Larger biases (0.01) or a leaky ReLU let them live; centred inputs help too."
        return Outcome("look", figure, expected, told, hint, worst.node.mark)
    return Outcome("ok", figure, expected)


def _dead(patient: Patient, seen: Seen) -> tuple[int, int]:
    """How many units never have a slope, and how many there are; a channel is one, at all of its positions."""
    moves = _of_units(patient, seen, slope(seen) != 0).any(1)
    return int((~moves).sum()), len(moves)


def _of_units(patient: Patient, seen: Seen, values: Tensor) -> Tensor:
    """Values of samples and positions in rows, one a unit; a channel is one, at all of its positions."""
    if values.dim() < 3:
        return values.reshape(len(values), -1).T
    axis = values.dim() - 1 if _fed_by(patient, seen) == "linear" else 1
    return values.movedim(axis, 0).flatten(1)


@check("straight units")
def straight_units(patient: Patient) -> Outcome:
    """Units that never switch: ReLUs with the same slope for every sample only pass on what a linear layer makes."""
    found = [(seen, *_straight(patient, seen)) for seen in patient.start.layers if seen.node.kind in PIECES]
    if not found:
        return left_out("no ReLU or its kin")
    worst, straight, units = max(found, key=lambda each: each[1] / each[2])
    share = straight / units
    figure = (
        f"{straight:,} of {units:,} in {worst.node.name}" if straight else f"none of {sum(f[2] for f in found):,}"
    )
    expected = f"under half of a layer, over {len(patient.batch)} samples"
    if share < 0.5:
        return Outcome("ok", figure, expected)
    every = "every one" if straight == units else f"{straight:,}"
    told = f"{every} of the {units:,} units of `{worst.node.name}` are on for all {len(patient.batch)} samples"
    told += ": they do what a linear layer does"
    centred = (
        "centred inputs (`standardize: all` under the data)" if patient.has_field("standardize") else "centred inputs"
    )
    hint = f"Smaller biases, or {centred}, or a norm before it."
    return Outcome("look", figure, expected, told, hint, worst.node.mark)


def _straight(patient: Patient, seen: Seen) -> tuple[int, int]:
    """How many units have one slope for all samples and positions that is not 0, and how many there are."""
    slopes = _of_units(patient, seen, slope(seen))
    same = (slopes == slopes[:, :1]).all(1) & (slopes[:, 0] != 0)
    return int(same.sum()), len(same)


def _fed_by(patient: Patient, seen: Seen) -> str:
    """The kind of the weight layer before."""
    node = seen.node
    while node.inputs and not node.is_weight_layer and node.inputs[0] in patient.graph.by_name:
        node = patient.graph.by_name[node.inputs[0]]
    return node.kind


def slope(seen: Seen, at: Tensor | None = None) -> Tensor:
    """The derivative of an activation at each value that came in."""
    x = (seen.inputs[0] if at is None else at).detach().requires_grad_()
    y = seen.module(x)
    return torch.autograd.grad(y.sum(), x)[0] if y.requires_grad else torch.zeros_like(x)


@check("saturated units")
def saturated_units(patient: Patient) -> Outcome:
    """Sigmoids and their kin near their ends, where they are flat."""
    found = [(_saturated(seen), seen.node) for seen in patient.start.layers if seen.node.kind in SQUASHING]
    if not found:
        return left_out("no sigmoid, tanh or their kin")
    share, worst = max(found, key=lambda each: each[0])
    figure, expected = f"{share:.0%} in {worst.name}", f"under half, slope below {STUCK:.0%} of the steepest"
    if share < 0.5:
        return Outcome("ok", figure, expected)
    told = f"{share:.0%} of the values of `{worst.name}` are near its ends, where it is flat: little gradient passes"
    hint = "Smaller initial weights (`init: glorot_uniform`), smaller inputs, or a norm before it."
    return Outcome("wrong" if share >= 0.9 else "look", figure, expected, told, hint, worst.mark)


def _saturated(seen: Seen) -> float:
    found = slope(seen).abs()
    steepest = torch.maximum(found.max(), slope(seen, torch.zeros_like(seen.inputs[0][:1])).abs().max())
    return float((found < STUCK * steepest).float().mean())


@check("activations")
def activations(patient: Patient) -> Outcome:
    """How much samples differ, from the first weight layer to the last."""
    scales = [(seen, spread(seen.output.detach())) for seen in patient.start.weighing]
    if len(scales) < 2:
        return left_out("one weight layer")
    return _by_depth(patient, scales, "signal", "std")


def spread(values: Tensor) -> float:
    """The standard deviation of each value over the samples, together."""
    return float(values.double().var(0, correction=0).mean().sqrt())


@check("gradients")
def gradients(patient: Patient) -> Outcome:
    """How much of the gradient arrives, from the last weight layer back to the first."""
    scales = [
        (seen, float(seen.output.grad.double().flatten(1).norm(dim=1).mean() * len(seen.output)))
        for seen in reversed(patient.start.weighing)
        if seen.output.grad is not None
    ]
    if len(scales) < 2:
        return left_out("one weight layer")
    return _by_depth(patient, scales, "gradient", "norm")


def _by_depth(
    patient: Patient, scales: list[tuple[Seen, float]], what: Literal["signal", "gradient"], measure: str
) -> Outcome:
    """From where it starts to where it ends."""
    (begin, first), (end, last) = scales[0], scales[-1]
    figure = f"{measure} {first:.2g} to {last:.2g}"
    expected = f"within {ODD:g} times, {begin.node.name} to {end.node.name}"
    if not (math.isfinite(first) and math.isfinite(last)):
        told = f"the {what} is no finite number: {first:.2g} at `{begin.node.name}`, {last:.2g} at `{end.node.name}`"
        return Outcome("wrong", figure, expected, told, "Smaller initial weights, or a norm.", end.node.mark)
    factor = last / first if first else 0.0
    if 1 / ODD <= factor <= ODD:
        return Outcome("ok", figure, expected)
    name = "vanishes" if factor < 1 else "explodes"
    told = (
        f"the {what} {name} over {len(scales)} layers: {measure} {first:.2g} at `{begin.node.name}`, "
        f"{last:.2g} at `{end.node.name}`"
    )
    zero = [node.name for node, weight in weights_of(patient, patient.start.network) if not weight.any()]
    if zero:
        told += (
            f"; weights of {names(list(dict.fromkeys(zero)))} are zero, and nothing passes before the first update"
        )
    verdict: Literal["look", "wrong"] = "look" if 1 / BAD <= factor <= BAD or (zero and not factor) else "wrong"
    return Outcome(verdict, figure, expected, told, _way_out(patient, name), end.node.mark)


def _way_out(patient: Patient, name: str) -> str:
    kinds = {node.kind for node in patient.graph.nodes}
    if name == "vanishes" and kinds & SQUASHING:
        squash = min(kinds & SQUASHING)
        return f"`{squash}` shrinks what passes it: take `relu` with `init: he_normal`, a norm, or shortcuts."
    if "relu" in kinds:
        return "`init: he_normal` keeps the scale through ReLUs; else a norm between layers."
    return "`init: glorot_normal` keeps the scale; else a norm between layers."


@check("update size")
def update_size(patient: Patient) -> Outcome:
    """How far an update moves the weights, as a part of them."""
    train = patient.train
    if train.optimizer.takes != "gradient":
        return left_out(f"{train.optimizer.kind} takes steps of its own")
    steps = patient.affordable(train.per_update(len(patient.parts["train"])), UPDATES)
    if not steps:
        return left_out("too large for seconds: --thorough")
    ratios = _ratios(patient, steps)
    return _sized(patient, ratios) if ratios else left_out("no weights")


def _sized(patient: Patient, ratios: dict[str, float]) -> Outcome:
    middle = sorted(ratios.values())[len(ratios) // 2]
    least, quick = min(ratios.values()), max(ratios, key=ratios.__getitem__)
    figure = f"{middle:.1g} of the weight ({least:.1g} to {ratios[quick]:.1g})"
    expected, place = "about 1e-3; 1e-5 to 0.1", patient.place("train", "optimizer")
    if not middle:
        return Outcome("wrong", figure, expected, "no update moves the weights", "See `gradients`.", place)
    if 1e-5 <= middle <= 0.1 or (middle > 0.1 and _falls(patient)):
        return Outcome("ok", figure, expected)
    told = f"an update moves the weights by {middle:.2g} of themselves, most of all `{quick}`; about 1e-3 is healthy"
    hint = f"{'Raise' if middle < 1e-3 else 'Lower'} the learning rate."
    return Outcome("look" if middle <= 1 else "wrong", figure, expected, told, hint, place)


def _ratios(patient: Patient, steps: int) -> dict[str, float]:
    """Over a few updates, the mean of |change| / |weight| of each layer.

    A weight that begins smaller, at zero too, counts as large as torch's default draws it: it is to grow.
    """
    network = patient.network()
    watched = [(node.name, weight) for node, weight in weights_of(patient, network)]
    before = [weight.detach().clone() for _, weight in watched]
    found: dict[str, list[float]] = {}
    for _ in losses(patient.job(network, patient.parts, steps)):
        for (name, weight), old in zip(watched, before, strict=True):
            size = max(float(old.norm()), math.sqrt(len(old) / 3))  # uniform in +-1/sqrt(fan_in)
            found.setdefault(name, []).append(float((weight.detach() - old).norm()) / size)
            old.copy_(weight.detach())
    return {name: sum(each) / len(each) for name, each in found.items()}


def _falls(patient: Patient) -> bool:
    """Whether the loss falls all the same: large steps are Adam's way at the start where a layer is wide."""
    steps = patient.affordable(patient.train.per_update(len(patient.parts["train"])), FALLS)
    curve = list(losses(patient.job(patient.network(), patient.parts, steps)))
    few = len(curve) // 4
    return few > 0 and sum(curve[-few:]) < 0.95 * curve[0] * few
