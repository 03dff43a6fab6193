"""Recurrent layers, replayed and packed: the same as step by step, alone."""

import pytest
from test_packed import assert_like_alone, seeds
from test_traced import same_both_ways

from dlx.training import device

LAYERS = [
    "{rnn: 6}",
    "{rnn: {hidden_size: 6, nonlinearity: sigmoid, bias: one}}",
    "{gru: {hidden_size: 6, num_layers: 2, dropout: 0.2}}",
    "{lstm: 6}",
    "{lstm: {hidden_size: 6, num_layers: 2, dropout: 0.3}}",
    "{lstm: {hidden_size: 6, bidirectional: true, proj_size: 2, bias: one, return_sequences: false}}",
]


@pytest.fixture(autouse=True)
def one_thread():
    with device.threads(1):
        yield


@pytest.mark.parametrize("layer", LAYERS)
def test_a_replayed_training_gives_the_same_bits(layer):
    assert (
        same_both_ways(layers=f"[{{reshape: [9, 4]}}, {layer}, flatten, {{linear: 3}}]").learner.way["step"]
        == "replayed"
    )


@pytest.mark.parametrize("layer", LAYERS)
def test_a_packed_training_is_like_each_alone(layer):
    assert_like_alone(seeds(3), layers=f"[{layer}, flatten, {{linear: 3}}]", shape="[5, 4]")
