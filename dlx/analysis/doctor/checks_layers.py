"""Checks layer by layer: dead and saturated units, and the scale of signals and gradients by depth."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Literal

from ...errors import listed
from ..measures.activity import FLAT, PIECES, SQUASHING, STUCK, Activity, activity, saturated
from .check import CheckOutcome, check, not_run
from .probe import LayerValues, Probe, losses, weights_of

if TYPE_CHECKING:
    from torch import Tensor

ODD, BAD = 100.0, 10_000.0
"""Factors by which a signal or gradient may change from end to end: beyond the first it is reported."""
UPDATES, FALLS = 5, 40
"""Number of updates that are measured, and of those over which the loss must fall where updates are large."""


@check("dead units")
def dead_units(probe: Probe) -> CheckOutcome:
    """Check for units with slope 0 for every sample, which no gradient passes."""
    layers = [(layer, _activity(probe, layer)) for layer in probe.start.layers if layer.node.kind in FLAT]
    found = [(layer, one.dead, one.units) for layer, one in layers]
    expected = f"under a quarter of a layer, over {len(probe.batch)} samples"
    if not found:
        return not_run("no ReLU or its kin")
    gone = [layer.node.name for layer, dead, units in found if dead == units]
    worst, dead, units = max(found, key=lambda each: each[1] / each[2])
    figure = f"{dead:,} of {units:,} in {worst.node.name}" if dead else f"none of {sum(f[2] for f in found):,}"
    if gone:
        finding = f"every unit of {listed(gone)} has slope 0 for all {len(probe.batch)} samples"
        finding += ": what is before learns nothing"
        hint = "Draw weights with both signs (`init: he_normal`), biases at 0 or a little above."
        return CheckOutcome("wrong", figure, expected, finding, hint, probe.graph.by_name[gone[0]].mark)
    if dead >= units / 4:
        finding = (
            f"{dead:,} of {units:,} units of `{worst.node.name}` have slope 0 for all {len(probe.batch)} samples"
        )
        hint = "Larger biases (0.01) or a leaky ReLU let them live; centred inputs help too."
        return CheckOutcome("look", figure, expected, finding, hint, worst.node.mark)
    return CheckOutcome("ok", figure, expected)


def _activity(probe: Probe, layer: LayerValues) -> Activity:
    return activity(probe.graph, layer.node, layer.module, layer.inputs[0])


@check("always active units")
def always_active_units(probe: Probe) -> CheckOutcome:
    """Check for ReLUs with the same slope for every sample, which together with the layer before are linear."""
    layers = [(layer, _activity(probe, layer)) for layer in probe.start.layers if layer.node.kind in PIECES]
    found = [(layer, one.always_active, one.units) for layer, one in layers]
    if not found:
        return not_run("no ReLU or its kin")
    worst, active, units = max(found, key=lambda each: each[1] / each[2])
    share = active / units
    figure = f"{active:,} of {units:,} in {worst.node.name}" if active else f"none of {sum(f[2] for f in found):,}"
    expected = f"under half of a layer, over {len(probe.batch)} samples"
    if share < 0.5:
        return CheckOutcome("ok", figure, expected)
    every = "every one" if active == units else f"{active:,}"
    finding = f"{every} of the {units:,} units of `{worst.node.name}` are on for all {len(probe.batch)} samples"
    finding += ": they do what a linear layer does"
    centred = (
        "centred inputs (`standardize: all` under the data)" if probe.has_field("standardize") else "centred inputs"
    )
    hint = f"Smaller biases, or {centred}, or a norm before it."
    return CheckOutcome("look", figure, expected, finding, hint, worst.node.mark)


@check("saturated units")
def saturated_units(probe: Probe) -> CheckOutcome:
    """Check for sigmoids and similar activations near their ends, where they are flat."""
    layers = [layer for layer in probe.start.layers if layer.node.kind in SQUASHING]
    found = [(saturated(layer.module, layer.inputs[0]), layer.node) for layer in layers]
    if not found:
        return not_run("no sigmoid, tanh or their kin")
    share, worst = max(found, key=lambda each: each[0])
    figure, expected = f"{share:.0%} in {worst.name}", f"under half, slope below {STUCK:.0%} of the steepest"
    if share < 0.5:
        return CheckOutcome("ok", figure, expected)
    finding = (
        f"{share:.0%} of the values of `{worst.name}` are near its ends, where it is flat: little gradient passes"
    )
    hint = "Smaller initial weights (`init: glorot_uniform`), smaller inputs, or a norm before it."
    return CheckOutcome("wrong" if share >= 0.9 else "look", figure, expected, finding, hint, worst.mark)


@check("activations")
def activations(probe: Probe) -> CheckOutcome:
    """Check how the standard deviation over samples changes from the first weight layer to the last."""
    scales = [(layer, sample_std(layer.output.detach())) for layer in probe.start.weight_layers]
    if len(scales) < 2:
        return not_run("one weight layer")
    return _by_depth(probe, scales, "signal", "std")


def sample_std(values: Tensor) -> float:
    """Return the root mean square, over all values, of the standard deviation over samples."""
    return float(values.double().var(0, correction=0).mean().sqrt())


@check("gradients")
def gradients(probe: Probe) -> CheckOutcome:
    """Check how the gradient norm changes from the last weight layer back to the first."""
    scales = [
        (layer, float(layer.output.grad.double().flatten(1).norm(dim=1).mean() * len(layer.output)))
        for layer in reversed(probe.start.weight_layers)
        if layer.output.grad is not None
    ]
    if len(scales) < 2:
        return not_run("one weight layer")
    return _by_depth(probe, scales, "gradient", "norm")


def _by_depth(
    probe: Probe, scales: list[tuple[LayerValues, float]], what: Literal["signal", "gradient"], measure: str
) -> CheckOutcome:
    """Judge the change of a scale from the first layer listed to the last."""
    (begin, first), (end, last) = scales[0], scales[-1]
    figure = f"{measure} {first:.2g} to {last:.2g}"
    expected = f"within {ODD:g} times, {begin.node.name} to {end.node.name}"
    if not (math.isfinite(first) and math.isfinite(last)):
        finding = (
            f"the {what} is no finite number: {first:.2g} at `{begin.node.name}`, {last:.2g} at `{end.node.name}`"
        )
        return CheckOutcome("wrong", figure, expected, finding, "Smaller initial weights, or a norm.", end.node.mark)
    factor = last / first if first else 0.0
    if 1 / ODD <= factor <= ODD:
        return CheckOutcome("ok", figure, expected)
    name = "vanishes" if factor < 1 else "explodes"
    finding = (
        f"the {what} {name} over {len(scales)} layers: {measure} {first:.2g} at `{begin.node.name}`, "
        f"{last:.2g} at `{end.node.name}`"
    )
    zero = [node.name for node, weight in weights_of(probe, probe.start.network) if not weight.any()]
    if zero:
        finding += (
            f"; weights of {listed(list(dict.fromkeys(zero)))} are zero, and nothing passes before the first update"
        )
    verdict: Literal["look", "wrong"] = "look" if 1 / BAD <= factor <= BAD or (zero and not factor) else "wrong"
    return CheckOutcome(verdict, figure, expected, finding, _way_out(probe, name), end.node.mark)


def _way_out(probe: Probe, name: str) -> str:
    kinds = {node.kind for node in probe.graph.nodes}
    if name == "vanishes" and kinds & SQUASHING:
        squash = min(kinds & SQUASHING)
        return f"`{squash}` shrinks what passes it: take `relu` with `init: he_normal`, a norm, or shortcuts."
    if "relu" in kinds:
        return "`init: he_normal` keeps the scale through ReLUs; else a norm between layers."
    return "`init: glorot_normal` keeps the scale; else a norm between layers."


@check("update size")
def update_size(probe: Probe) -> CheckOutcome:
    """Check the size of an update relative to the weights."""
    train = probe.train
    if train.optimizer.takes != "gradient":
        return not_run(f"{train.optimizer.kind} takes steps of its own")
    steps = probe.affordable_steps(train.per_update(len(probe.parts["train"])), UPDATES)
    if not steps:
        return not_run("too large for seconds: --thorough")
    ratios = _update_ratios(probe, steps)
    return _judge_ratios(probe, ratios) if ratios else not_run("no weights")


def _judge_ratios(probe: Probe, ratios: dict[str, float]) -> CheckOutcome:
    middle = sorted(ratios.values())[len(ratios) // 2]
    least, quick = min(ratios.values()), max(ratios, key=ratios.__getitem__)
    figure = f"{middle:.1g} of the weight ({least:.1g} to {ratios[quick]:.1g})"
    expected, place = "about 1e-3; 1e-5 to 0.1", probe.place("train", "optimizer")
    if not middle:
        return CheckOutcome("wrong", figure, expected, "no update moves the weights", "See `gradients`.", place)
    if 1e-5 <= middle <= 0.1 or (middle > 0.1 and _loss_falls(probe)):
        return CheckOutcome("ok", figure, expected)
    finding = (
        f"an update moves the weights by {middle:.2g} of themselves, most of all `{quick}`; about 1e-3 is healthy"
    )
    hint = f"{'Raise' if middle < 1e-3 else 'Lower'} the learning rate."
    return CheckOutcome("look" if middle <= 1 else "wrong", figure, expected, finding, hint, place)


def _update_ratios(probe: Probe, steps: int) -> dict[str, float]:
    """Return the mean of |change| / |weight| over a few updates, for each layer.

    A weight that starts smaller than torch's default initialization, or at zero, counts with the norm of that: it is
    meant to grow.
    """
    network = probe.network()
    watched = [(node.name, weight) for node, weight in weights_of(probe, network)]
    before = [weight.detach().clone() for _, weight in watched]
    found: dict[str, list[float]] = {}
    for _ in losses(probe.job(network, probe.parts, steps)):
        for (name, weight), old in zip(watched, before, strict=True):
            size = max(float(old.norm()), math.sqrt(len(old) / 3))  # uniform in +-1/sqrt(fan_in)
            found.setdefault(name, []).append(float((weight.detach() - old).norm()) / size)
            old.copy_(weight.detach())
    return {name: sum(each) / len(each) for name, each in found.items()}


def _loss_falls(probe: Probe) -> bool:
    """Whether the loss falls although updates are large, as Adam's first ones are where a layer is wide."""
    steps = probe.affordable_steps(probe.train.per_update(len(probe.parts["train"])), FALLS)
    curve = list(losses(probe.job(probe.network(), probe.parts, steps)))
    few = len(curve) // 4
    return few > 0 and sum(curve[-few:]) < 0.95 * curve[0] * few
