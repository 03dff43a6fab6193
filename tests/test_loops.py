"""benchmarks/loops: a hand-written loop trains the network that dlx trains beside it."""

import importlib
from itertools import islice
from pathlib import Path

import pytest
import torch
from helpers import experiment_of

from dlx.graph import trace

ROOT = Path(__file__).resolve().parents[1]
SIXTEEN = ["sixteen_40_100_100_10", "sixteen_784_100_10", "sixteen_lenets", "sixtyfour_mnist1d"]
SHAPES = {
    "lenet_step": (1, 28, 28),
    "sixteen_40_100_100_10": (40,),
    "sixteen_784_100_10": (784,),
    "sixteen_lenets": (1, 28, 28),
    "sixtyfour_mnist1d": (1, 40),
}
ONE = {"lenet": "lenet_step", "resnet": "resnet18_step"}


@pytest.fixture(autouse=True)
def benchmarks(monkeypatch):
    for folder in ("benchmarks", "benchmarks/loops"):
        monkeypatch.syspath_prepend(ROOT / folder)


def parameters(network):
    return sum(p.numel() for p in network.parameters())


@pytest.mark.parametrize("name", SIXTEEN)
def test_many_trainings_are_of_the_network_and_the_rates_of_the_sweep(name):
    packed = importlib.import_module("packed")
    (case,) = (case for case in packed.CASES.values() if case["loop"] == name)
    loop = importlib.import_module(name)

    assert parameters(loop.network()) == trace(experiment_of(packed.spec_text(case))).params
    assert list(loop.RATES) == list(case["rates"])


@pytest.mark.parametrize("name", ONE)
def test_a_step_is_of_the_same_network(name):
    larger, loop = importlib.import_module("larger"), importlib.import_module(ONE[name])

    assert parameters(loop.network()) == trace(experiment_of(larger.spec_text(name))).params


def by_the_book(network, x, y, size, optimizer):
    """The losses of an epoch of one training in the plainest loop."""
    for index in torch.randperm(len(x)).split(size):
        optimizer.zero_grad()
        loss = torch.nn.functional.cross_entropy(network(x[index]), y[index])
        loss.backward()
        optimizer.step()
        yield float(loss.detach())


@pytest.mark.parametrize(
    ("name", "size", "optimizer"),
    [
        ("lenet_step", 64, lambda loop: torch.optim.Adam(loop, lr=1e-3)),
        ("sixteen_40_100_100_10", 100, lambda loop: torch.optim.Adam(loop, lr=1e-4)),
        ("sixteen_784_100_10", 10, lambda loop: torch.optim.SGD(loop, lr=0.03)),
        ("sixteen_lenets", 64, lambda loop: torch.optim.SGD(loop, lr=0.01)),
        ("sixtyfour_mnist1d", 100, lambda loop: torch.optim.SGD(loop, lr=0.01)),
    ],
)
def test_a_loop_takes_the_steps_of_the_plainest_one(name, size, optimizer, monkeypatch):
    measure, loop = importlib.import_module("measure"), importlib.import_module(name)
    some = [part[:1920] for part in measure.drawn(4000, *SHAPES[name])]
    monkeypatch.setattr(loop, "drawn", lambda *_: some)  # the data of the loop, fewer of them

    torch.manual_seed(0)
    losses = [float(loss.detach()) for loss in islice(loop.train(torch.contiguous_format), 12)]
    torch.manual_seed(0)
    network = loop.network()
    expected = list(islice(by_the_book(network, *some, size, optimizer(network.parameters())), 12))

    assert losses == pytest.approx(expected, rel=1e-4)
    assert len(set(losses)) == 12


def test_an_evaluation_in_blocks_finds_what_the_network_finds():
    evaluation = importlib.import_module("loops.evaluation")
    network = importlib.import_module("lenet_step").network()
    x, y = importlib.import_module("measure").drawn(130, 1, 28, 28)

    with torch.no_grad():
        outputs = network(x)
    loss = float(torch.nn.functional.cross_entropy(outputs, y))
    right = float((outputs.argmax(1) == y).float().mean())

    assert evaluation.evaluate(evaluation.Blocked(network), x, y, 64) == pytest.approx((loss, right), rel=1e-5)
