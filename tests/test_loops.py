"""benchmarks/loops: a hand-written loop trains the network that dlx trains beside it."""

import importlib
from itertools import islice
from pathlib import Path

import pytest
import torch
from helpers import experiment_of

from dlx.graph import trace
from dlx.graph.stages import trace_all
from dlx.spec import load

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


@pytest.mark.parametrize("name", ["lstm", "gpt"])
def test_a_step_over_text_is_of_the_same_network(name, tmp_path, monkeypatch):
    texts, loop = importlib.import_module("texts"), importlib.import_module(f"{name}_step")
    monkeypatch.setattr(texts, "FOLDER", tmp_path)

    assert parameters(loop.network()) == trace(load(texts.spec_of(name))).params
    assert tuple(texts.CASES[name][key] for key in ("steps", "window", "batch")) == (
        loop.STEPS,
        loop.WINDOW,
        loop.BATCH,
    )


@pytest.mark.parametrize("name", ["vae", "dcgan"])
def test_a_step_of_several_networks_is_of_the_same_ones(name, tmp_path, monkeypatch):
    generative, loop = importlib.import_module("generative"), importlib.import_module(f"{name}_step")
    monkeypatch.setattr(generative, "FOLDER", tmp_path)
    graphs = trace_all(load(generative.spec_of(name, "steps: 1, optimizer: {adam: 1e-3}")))

    assert {key: parameters(one) for key, one in loop.network().items()} == {
        key: one.params for key, one in graphs.items()
    }
    assert (generative.STEPS[name], generative.BATCH) == (loop.STEPS, loop.BATCH)


@pytest.mark.parametrize("name", ["40-100-100-10, batch 100, Adam", "784-100-10, batch 10, SGD"])
def test_a_small_step_is_of_the_same_network(name):
    steps = importlib.import_module("steps")

    assert (
        parameters(steps.torch_net(steps.CASES[name]))
        == trace(experiment_of(steps.spec_text(steps.CASES[name]))).params
    )


def test_a_whole_training_is_of_the_same_network():
    whole = importlib.import_module("whole")

    assert parameters(whole.torch_net()) == trace(experiment_of(whole.SPEC % 10)).params


def taken(network, loss, optimizer, steps):
    """The losses of some steps with a module and an optimizer of torch's own."""
    for some in steps:
        optimizer.zero_grad()
        value = loss(network, some)
        value.backward()
        optimizer.step()
        yield float(value.detach())


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
    expected = taken(
        network,
        lambda net, index: torch.nn.functional.cross_entropy(net(some[0][index]), some[1][index]),
        optimizer(network.parameters()),
        islice(torch.randperm(1920).split(size), 12),
    )

    assert losses == pytest.approx(list(expected), rel=1e-4)
    assert len(set(losses)) == 12


def test_an_evaluation_in_blocks_finds_what_the_network_finds():
    evaluation, blocked = importlib.import_module("loops.evaluation"), importlib.import_module("blocked")
    network = importlib.import_module("lenet_step").network()
    x, y = importlib.import_module("measure").drawn(130, 1, 28, 28)

    with torch.no_grad():
        outputs = network(x)
    loss = float(torch.nn.functional.cross_entropy(outputs, y))
    right = float((outputs.argmax(1) == y).float().mean())

    assert evaluation.evaluate(blocked.Blocked(network), x, y, 64) == pytest.approx((loss, right), rel=1e-5)


def test_a_resnet_in_blocks_takes_the_steps_of_the_plainest_loop(monkeypatch):
    loop = importlib.import_module("resnet18_step")
    x, y = importlib.import_module("measure").drawn(24, 3, 16, 16)
    monkeypatch.setattr(loop, "drawn", lambda *_: (x, y))
    monkeypatch.setattr(loop, "epoch", lambda *_: torch.arange(24).split(8))

    torch.manual_seed(0)
    losses = [float(loss.detach()) for loss in loop.train(torch.contiguous_format)]
    torch.manual_seed(0)
    network = loop.network()
    optimizer = torch.optim.SGD(network.parameters(), lr=0.01, momentum=0.9)
    expected = taken(
        network,
        lambda net, index: torch.nn.functional.cross_entropy(net(x[index]), y[index]),
        optimizer,
        torch.arange(24).split(8),
    )

    assert losses == pytest.approx(list(expected), rel=1e-3)


def test_a_vae_takes_the_steps_of_the_plainest_loop():
    loop = importlib.import_module("vae_step")
    cross_entropy = torch.nn.functional.binary_cross_entropy_with_logits

    def loss(nets, some):
        mean, log_variance = nets["encoder"](some).chunk(2, 1)
        z = mean + (log_variance / 2).exp() * torch.randn(mean.shape)
        error = cross_entropy(nets["decoder"](z), some, reduction="none").flatten(1).sum(1)
        divergence = -0.5 * (1 + log_variance - mean**2 - log_variance.exp()).sum(1)
        return (error + divergence).mean()

    torch.manual_seed(0)
    losses = [float(loss.detach()) for loss in islice(loop.train(torch.contiguous_format), 8)]
    torch.manual_seed(0)
    networks, x = loop.network(), importlib.import_module("measure").digits()
    optimizer = torch.optim.Adam(networks.parameters(), lr=1e-3)
    expected = taken(networks, loss, optimizer, islice(x[torch.randperm(len(x))].split(64), 8))

    assert losses == pytest.approx(list(expected), rel=1e-4)


def test_an_lstm_goes_on_with_its_states_as_one_whose_batch_comes_first(monkeypatch):
    loop = importlib.import_module("lstm_step")
    for name, value in (("STEPS", 3), ("WINDOW", 5), ("BATCH", 4)):
        monkeypatch.setattr(loop, name, value)

    torch.manual_seed(0)
    losses = [float(loss.detach()) for loss in loop.train(torch.contiguous_format)]
    torch.manual_seed(0)
    network, state = loop.network(), None
    network.cell.batch_first = True
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-3)
    x, y = (one.view(4, 3, 5) for one in importlib.import_module("measure").characters(60))

    def loss(net, step):
        nonlocal state
        outputs, state = net(x[:, step], state)
        return torch.nn.functional.cross_entropy(outputs.flatten(0, 1), y[:, step].flatten())

    assert losses == pytest.approx(list(taken(network, loss, optimizer, range(3))), rel=1e-4)
