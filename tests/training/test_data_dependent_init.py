"""LSUV: each weight layer begins with outputs of variance 1 on examples of the training set."""

import pytest
import torch
from helpers import experiment_of

from dlx.experiment import runner as experiments
from dlx.experiment import session
from dlx.graph import trace
from dlx.init.orthogonal import LSUV
from dlx.network import build
from dlx.spec import load
from dlx.training import data_dependent_init
from dlx.training.batches.data_part import DataPart

SPEC = """\
name: net
data: {{synthetic: {{shape: [1, 8, 8], classes: 3, train: 300, valid: 20}}}}
network:
  layers:
    - conv: {{out_channels: 6, kernel_size: 3}}
    - relu
    - conv: {{out_channels: 8, kernel_size: 3}}
    - batch_norm
    - relu
    - dropout: 0.5
    - flatten
    - linear: 20
    - tanh
    - linear: {{out_features: 3}}
{more}
train: {{steps: 4, batch_size: 20, save_every: 1}}
track: {{mlflow: false}}
"""


def initialized(more: str = "init: lsuv", scale: float = 7.0):
    """A network, and examples that are far from variance 1."""
    experiment = experiment_of(SPEC.format(more=more))
    graph = trace(experiment)
    torch.manual_seed(1)
    part = DataPart(torch.randn(300, 1, 8, 8) * scale + 2, torch.zeros(300))
    network = build(graph, experiment.init)
    before = {name: weight.clone() for name, weight in network.named_parameters()}
    data_dependent_init.initialize(network, graph, experiment.init, part, seed=5)
    return network, before, part


def outputs(network, x, *names: str) -> list[float]:
    found = {}
    for name in names:
        network.get_submodule(name).register_forward_hook(lambda m, i, o, n=name: found.__setitem__(n, o))
    with torch.no_grad():
        network.eval()(x)
    return [float(found[name].var(correction=0)) for name in names]


def test_each_weight_layer_leaves_variance_1_on_its_batch():
    network, _, part = initialized("init: {lsuv: {tol: 0.01, samples: 64}}")
    index = torch.randperm(300, generator=torch.Generator().manual_seed(5))[:64]
    names = "conv_1", "conv_2", "linear_1", "linear_2"
    assert outputs(network, part.x[index], *names) == pytest.approx([1] * 4, abs=0.01)
    assert outputs(network, part.x, *names) == pytest.approx([1] * 4, abs=0.3)


def test_what_is_scaled_is_an_orthogonal_matrix():
    """W W' stays a multiple of the identity, and so does its direction."""
    network, before, _ = initialized()
    weight = network.get_parameter("conv_2.weight").flatten(1)
    square = weight @ weight.T
    torch.testing.assert_close(square, square[0, 0] * torch.eye(8), atol=1e-5, rtol=1e-5)
    ratio = network.get_parameter("conv_1.weight") / before["conv_1.weight"]
    assert ratio.std().item() == pytest.approx(0, abs=1e-5)


def test_within_the_tolerance_nothing_is_touched():
    network, before, _ = initialized("init: {lsuv: {tol: 0.999999, max_iters: 1}}", scale=0.05)
    assert torch.equal(network.get_parameter("linear_2.weight"), before["linear_2.weight"])


def test_other_initialisers_and_given_weights_stay_as_they_are():
    network, before, _ = initialized("init: {by_name: {match: {linear_1: lsuv}, default: he_normal}}")
    moved = [n for n, weight in network.named_parameters() if not torch.equal(weight, before[n])]
    assert moved == ["linear_1.weight"]


def test_looking_at_the_data_moves_no_statistics_and_draws_nothing():
    torch.manual_seed(3)
    before = torch.get_rng_state()
    experiment = experiment_of(SPEC.format(more="init: lsuv"))
    graph = trace(experiment)
    network = build(graph, experiment.init)
    state = torch.get_rng_state()
    data_dependent_init.initialize(
        network,
        graph,
        experiment.init,
        DataPart(torch.randn(40, 1, 8, 8, generator=torch.Generator()), torch.zeros(40)),
        0,
    )
    assert torch.equal(torch.get_rng_state(), state)
    assert not torch.equal(before, state)
    assert network.training
    assert network.get_submodule("batch_norm_1").running_mean.eq(0).all()


def test_a_signal_that_is_dead_is_left_alone():
    experiment = experiment_of(SPEC.format(more="init: lsuv"))
    graph = trace(experiment)
    network = build(graph, experiment.init)
    data_dependent_init.initialize(
        network, graph, experiment.init, DataPart(torch.zeros(40, 1, 8, 8), torch.zeros(40)), 0
    )
    assert all(weight.isfinite().all() for weight in network.parameters())


def test_a_run_begins_with_it_and_one_that_goes_on_does_not(tmp_path, monkeypatch):
    path = tmp_path / "net.yaml"
    path.write_text(SPEC.format(more="init: lsuv"))
    looked = []
    monkeypatch.setattr(data_dependent_init, "initialize", lambda *arguments: looked.append(arguments))
    done = experiments.run(load(path), tmp_path / "runs").results[0].run
    assert len(looked) == 1
    experiment = load(path)
    made = experiments.prepare(experiment)
    session.job_of(made, done.dir / "checkpoints")
    assert len(looked) == 1
    session.job_of(made, tmp_path / "none")
    assert len(looked) == 2


def test_only_weight_layers_that_ask_for_it_are_wanted():
    experiment = experiment_of(SPEC.format(more="init: {lsuv: {gain: 2}}"))
    wanted = data_dependent_init.modules_to_scale(trace(experiment), experiment.init)
    assert list(wanted) == ["conv_1", "conv_2", "linear_1", "linear_2"]
    assert all(isinstance(one, LSUV) and one.gain == 2 for one in wanted.values())
