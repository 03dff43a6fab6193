"""Recurrent layers step by step, with their states kept: the whole pass, within a tolerance."""

import pytest
import torch

from dlx.layers import LAYERS
from dlx.modules.steps import Cache
from dlx.shapes import Shape

STEPWISE = {"atol": 2e-6, "rtol": 1e-5}
"""How far steps may be from the whole pass: kernels for one step and for several differ in bits."""
LAYER = [
    ("rnn", {}),
    ("rnn", {"nonlinearity": "sigmoid", "bias": "one"}),
    ("gru", {"num_layers": 2}),
    ("lstm", {}),
    ("lstm", {"num_layers": 2, "proj_size": 3}),
]


@pytest.mark.parametrize(("kind", "options"), LAYER)
def test_steps_with_states_kept_are_the_whole_pass(kind, options):
    module = LAYERS[kind](hidden_size=5, **options).module(Shape((7, 4)))
    x, cache = torch.randn(2, 7, 4), Cache()
    steps = torch.cat([module.step(part, cache=cache) for part in x.split([1, 1, 3, 2], 1)], 1)
    torch.testing.assert_close(steps, module(x), **STEPWISE)
    forgotten = torch.cat([module.step(part, cache=Cache()) for part in x.split(1, 1)], 1)
    assert (forgotten - module(x)).abs().max() > 1e-3


@pytest.mark.parametrize(("kind", "options"), LAYER)
def test_steps_begin_at_the_states_that_are_wired(kind, options):
    layer = LAYERS[kind](hidden_size=5, **options)
    shapes = layer.results(Shape((7, 4))).values()
    x, states, cache = torch.randn(2, 7, 4), [torch.randn(2, *shape) for shape in shapes], Cache()
    module = layer.module(Shape((7, 4)), *shapes)
    steps = torch.cat([module.step(part, *states, cache=cache) for part in x.split(1, 1)], 1)
    torch.testing.assert_close(steps, module(x, *states), **STEPWISE)
    assert (steps - module(x)).abs().max() > 1e-3


def test_the_end_of_each_step_is_what_a_layer_without_sequences_gives():
    whole = LAYERS["gru"](hidden_size=5).module(Shape((7, 4)))
    ends = LAYERS["gru"](hidden_size=5, return_sequences=False).module(Shape((7, 4)))
    ends.load_state_dict(whole.state_dict())
    x, cache = torch.randn(2, 7, 4), Cache()
    steps = torch.stack([ends.step(part, cache=cache) for part in x.split(1, 1)], 1)
    torch.testing.assert_close(steps, whole(x), **STEPWISE)
    assert not ends.packs


def test_a_layer_that_begins_at_the_end_refuses_to_go_step_by_step():
    module = LAYERS["gru"](hidden_size=5, bidirectional=True).module(Shape((7, 4)))
    with pytest.raises(ValueError, match="begins at the last step"):
        module.step(torch.randn(2, 1, 4), cache=Cache())
