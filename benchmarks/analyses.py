"""An analysis against the same passes by hand, in turns: the ratio of their CPU times, with an interval.

    python benchmarks/analyses.py [--pairs N]

`activation_scale` of 50 layers of ReLUs, 512 inputs, 6 seeds: sizes of values and of gradients at each layer. By
hand: as many passes forward and backward of a plain torch network, which measure nothing; with the gradients of the
weights, as in training, and with those of the values alone, which are all that the analysis needs. `whole` is from
the text of the spec on, and draws the weights six times on both sides; `passes` is without that. One thread. Which
of the two goes first changes from pair to pair; the interval is Student's, of the mean of the logarithms. A broken
twin goes back through the network for each layer by itself.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from common import publish
from paired import interval
from torch import nn

from dlx.analysis.kinds.activation_scale import ActivationScale
from dlx.analysis.measures.scales import scales
from dlx.analysis.measures.walk import projection, values_of
from dlx.analysis.subject import Subject, of_spec
from dlx.data.batch import Batch
from dlx.spec import load

LAYERS, EXAMPLES, SEEDS = 50, 512, 6
SPEC = """\
dlx: 1
name: deep
init: he_normal
network:
  inputs: {{x: [{width}]}}
  layers: [{{repeat: {{times: {layers}, layers: [{{linear: {width}}}, relu]}}}}]
"""


def subject(width: int) -> Subject:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "deep.yaml"
        path.write_text(SPEC.format(width=width, layers=LAYERS))
        return of_spec(load(path))


NAMES = [f"linear_{i + 1}" for i in range(LAYERS)]


def by_hand_drawn(width: int) -> list[nn.Module]:
    """Draw the weights of each seed."""
    networks: list[nn.Module] = []
    for seed in range(SEEDS):
        torch.manual_seed(seed)
        network = nn.Sequential(*(layer for _ in range(LAYERS) for layer in (nn.Linear(width, width), nn.ReLU())))
        for layer in network[::2]:
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
            nn.init.zeros_(layer.bias)
        networks.append(network)
    return networks


def hand_passes(networks: list[nn.Module], width: int, weights: bool) -> None:
    """A pass forward and backward of each network."""
    for network in networks:
        x = torch.randn(EXAMPLES, width, requires_grad=not weights)
        output = network(x)
        along = torch.randn(output.shape)
        if weights:
            output.backward(along)
        else:
            torch.autograd.grad(output, x, along)


def hand_whole(width: int) -> None:
    hand_passes(by_hand_drawn(width), width, True)


def whole(width: int) -> None:
    """The analysis, from the text of the spec to its result."""
    ActivationScale(examples=EXAMPLES, seeds=SEEDS).run(subject(width))


def passes(networks: list[Any], batch: Batch) -> None:
    """What it does with each network."""
    for network in networks:
        scales(network, batch.inputs, projection(), NAMES)


def layer_by_layer(networks: list[Any], batch: Batch) -> None:
    """The broken twin: a pass back for each layer."""
    for network in networks:
        output, values = values_of(network, batch.inputs, NAMES)
        loss = projection()(output)
        for name in NAMES:
            torch.autograd.grad(loss, values[name], retain_graph=True)


def seconds(call: Callable[[], None]) -> float:
    began = time.process_time()
    call()
    return time.process_time() - began


def ratio(ours: Callable[[], None], hand: Callable[[], None], pairs: int) -> tuple[float, float, float]:
    """Return the ratio of CPU times with its interval; the first pair warms up."""
    found = []
    for i in range(pairs + 1):
        if i % 2:
            mine, other = seconds(ours), seconds(hand)
        else:
            other, mine = seconds(hand), seconds(ours)
        found.append(mine / other)
    return interval(found[1:])


def main() -> None:
    parser = argparse.ArgumentParser(description="An analysis against the same passes by hand.")
    parser.add_argument("--pairs", type=int, default=8)
    pairs = parser.parse_args().pairs
    torch.set_num_threads(1)
    width, plain = 100, by_hand_drawn(100)
    one = subject(width)
    batch, networks = one.examples(EXAMPLES), list(one.several(SEEDS))
    with_weights, values = (partial(hand_passes, plain, width, each) for each in (True, False))
    cases: list[tuple[str, Callable[[], None], str, Callable[[], None]]] = [
        ("whole", partial(whole, width), "drawn, backward by the weights", partial(hand_whole, width)),
        ("passes", partial(passes, networks, batch), "backward by the weights", with_weights),
        ("passes", partial(passes, networks, batch), "backward by the values alone", values),
        ("a pass back for each layer (broken twin)", partial(layer_by_layer, networks, batch), "the same", values),
    ]
    rows = ["| dlx | by hand | ratio | 95 % interval |", "|---|---|---|---|"]
    for ours, call, hand, other in cases:
        middle, low, high = ratio(call, other, pairs)
        rows.append(f"| {ours} | {hand} | {middle:.2f} | {low:.2f} to {high:.2f} |")
    publish("analyses", "An analysis against the same passes by hand", ["\n".join(rows)])


if __name__ == "__main__":
    main()
