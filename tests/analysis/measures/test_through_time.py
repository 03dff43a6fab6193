"""Gradients from step to step of recurrent layers."""

import pytest
import torch
from helpers import network_of

from dlx.analysis.measures.through_time import spectral_radius, step_by_step
from dlx.network import build

KINDS = [
    "rnn: 3",
    "gru: 3",
    "lstm: 3",
    "rnn: {hidden_size: 3, num_layers: 2}",
    "rnn: {hidden_size: 3, nonlinearity: sigmoid}",
]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("sequences", ["true", "false"])
def test_step_by_step_a_network_gives_what_it_gives_at_once(kind: str, sequences: str):
    name, _, options = kind.partition(": ")
    options = options if options.startswith("{") else f"{{hidden_size: {options}}}"
    options = f"{options[:-1]}, return_sequences: {sequences}}}"
    torch.manual_seed(0)
    network = build(network_of("{x: [7, 2]}", f"- {{linear: 2}}\n- {name}: {options}\n- {{linear: 2}}"))
    x = torch.randn(4, 7, 2)

    output, steps = step_by_step(network, [x], f"{name}_1")

    torch.testing.assert_close(output, network(x))
    assert len(steps.states) == 7
    assert len(steps.cells) == (7 if name == "lstm" else 0)


def test_the_gradients_at_states_are_those_of_a_loop_in_torch():
    torch.manual_seed(1)
    network = build(network_of("{x: [6, 2]}", "- rnn: 3\n- {linear: 1}"))
    x, cell = torch.randn(5, 6, 2), network.rnn_1
    h, states = torch.zeros(5, 3), []
    for t in range(6):
        h = torch.tanh(x[:, t] @ cell.weight_ih_l0.T + cell.bias_ih_l0 + h @ cell.weight_hh_l0.T + cell.bias_hh_l0)
        h.retain_grad()
        states.append(h)
    loss = network.linear_1(torch.stack(states, 1)).square().sum()
    loss.backward()

    output, steps = step_by_step(network, [x], "rnn_1")
    norms, cells = steps.gradient_norms(output.square().sum())

    assert norms == pytest.approx([float(h.grad.norm(dim=1).mean()) for h in states], rel=1e-4)
    assert cells == []


def test_the_spectral_radius_is_the_largest_absolute_eigenvalue():
    turn = torch.tensor([[0.0, -2.0], [2.0, 0.0]])

    assert spectral_radius(turn) == pytest.approx(2)
    assert spectral_radius(torch.diag(torch.tensor([0.5, -3.0, 1.0]))) == pytest.approx(3)
