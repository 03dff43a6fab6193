"""benchmarks/loops: a hand-written loop trains the network that dlx trains beside it."""

import importlib
from pathlib import Path

import pytest
from helpers import experiment_of

from dlx.graph import trace

ROOT = Path(__file__).resolve().parents[1]
SIXTEEN = ["sixteen_40_100_100_10", "sixteen_784_100_10", "sixteen_lenets", "sixtyfour_mnist1d"]
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
