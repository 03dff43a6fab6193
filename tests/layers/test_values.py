"""What the layers that torch lacks compute, and what is particular to a family."""

import pytest
import torch
from helpers import network_of

from dlx.layers import LAYERS
from dlx.shapes import Shape


def run(kind, *values, **options):
    layer = LAYERS[kind].model_validate(options)
    return layer.module(*(Shape(v.shape[1:]) for v in values))(*values)


def test_a_tied_linear_layer_runs_on_the_transposed_weight_of_another():
    encoder, decoder = LAYERS["linear"](out_features=3), LAYERS["linear"](out_features=8)
    x, code = Shape((8,)), Shape((3,))
    weight = encoder.module(x).weight
    tied = decoder.tied_module(code)

    values = torch.randn(5, 3)

    assert decoder.tied_weight_shape(code) == tuple(encoder.plan(x).weights["weight"]) == tuple(weight.shape)
    torch.testing.assert_close(tied(values, weight), values @ weight + tied.bias)


def test_a_tied_linear_layer_counts_only_its_bias():
    layer, x = LAYERS["linear"](out_features=8), Shape((4, 3))
    own, tied = layer.plan(x), layer.tied_plan(x)

    assert (tied.shape, tied.macs, tied.window) == (own.shape, own.macs, own.window)
    assert dict(tied.weights) == {"bias": (8,)}
    assert {n: tuple(p.shape) for n, p in layer.tied_module(x).named_parameters()} == dict(tied.weights)
    assert dict(LAYERS["linear"](out_features=8, bias=False).tied_plan(x).weights) == {}
    assert list(LAYERS["linear"](out_features=8, bias=False).tied_module(x).parameters()) == []


def test_the_bias_of_a_tied_layer_starts_within_the_bounds_of_torch():
    bias = LAYERS["linear"](out_features=1000).tied_module(Shape((25,))).bias

    assert 0.15 < bias.abs().max() <= 0.2  # 1 / sqrt(25)


@pytest.mark.parametrize("call", ["tied_plan", "tied_weight_shape", "tied_module"])
def test_other_layers_cannot_be_tied(call):
    with pytest.raises(TypeError, match=r"^`relu` cannot be tied$"):
        getattr(LAYERS["relu"](), call)(Shape((3,)))


def test_add_and_multiply_take_any_number_of_inputs():
    a, b, c = torch.tensor([[1.0, 2.0]]), torch.tensor([[3.0, 5.0]]), torch.tensor([[7.0, 11.0]])

    assert run("add", a, b, c).tolist() == [[11, 18]]
    assert run("multiply", a, b, c).tolist() == [[21, 110]]


def test_multiply_scales_channels_as_squeeze_and_excitation_does():
    image, scale = torch.ones(1, 2, 2, 2), torch.tensor([3.0, 5.0]).view(1, 2, 1, 1)

    assert run("multiply", image, scale).tolist() == [[[[3, 3], [3, 3]], [[5, 5], [5, 5]]]]


def test_concat_keeps_the_middle_of_larger_inputs():
    small, odd, even = torch.zeros(1, 1, 2), torch.arange(5.0).view(1, 1, 5), torch.arange(4.0).view(1, 1, 4)

    assert run("concat", small, odd, even, crop="center").tolist() == [[[0, 0], [1, 2], [1, 2]]]


def test_what_concat_crops_is_reported_for_the_receptive_field():
    plan = LAYERS["concat"](crop="center").plan(Shape((1, 2, 6)), Shape((1, 5, 4)))

    assert plan.crops == ((0, 1), (1, 0))
    graph = network_of("{a: [1, 2, 6], b: [1, 5, 4]}", "- concat: {crop: center}\n  from: [a, b]")
    assert [graph.receptive_fields[name].start for name in "ab"] == [(0, 1), (1, 0)]


def test_a_concat_along_positions_crops_only_the_others():
    a, b = torch.zeros(1, 1, 2, 4), torch.ones(1, 1, 3, 2)

    assert run("concat", a, b, dim=2, crop="center").tolist() == [[[[0, 0], [0, 0], [1, 1], [1, 1], [1, 1]]]]


def test_global_pools_are_the_mean_and_the_maximum_over_positions():
    x = torch.tensor([[[[1.0, 2.0], [3.0, 6.0]], [[-1.0, -1.0], [-1.0, -5.0]]]])

    assert run("global_avg_pool", x).tolist() == [[3, -2]]
    assert run("global_max_pool", x).tolist() == [[6, -1]]
    assert run("global_avg_pool", x, keepdim=True).tolist() == [[[[3]], [[-2]]]]
    assert run("global_max_pool", x, keepdim=True).tolist() == [[[[6]], [[-1]]]]


def test_reshape_keeps_the_order_of_the_values():
    x = torch.arange(12.0).view(2, 6)

    assert run("reshape", x, shape=[2, -1]).tolist() == [[[0, 1, 2], [3, 4, 5]], [[6, 7, 8], [9, 10, 11]]]


def test_reshape_takes_one_number_as_a_list_of_one():
    assert LAYERS["reshape"].model_validate({"shape": -1}).plan(Shape((2, 3))).shape == (6,)


def test_a_view_that_changes_nothing_keeps_its_positions():
    x = Shape((4, 5))

    assert LAYERS["reshape"](shape=[4, -1]).plan(x).window == "pointwise"
    assert LAYERS["flatten"](start_dim=2).plan(x).window == "pointwise"
    assert LAYERS["flatten"]().plan(x).window == "flat"


@pytest.mark.parametrize("size", [(), (5,), (5, 5), (2, 5, 5)])
def test_batch_norm_takes_every_rank(size):
    layer, x = LAYERS["batch_norm"](), Shape((3, *size))
    y = layer.module(x)(3 + 2 * torch.randn(64, *x))

    assert y.shape[1:] == layer.plan(x).shape
    assert y.mean().item() == pytest.approx(0, abs=1e-5)
    assert y.var(unbiased=False).item() == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize("momentum", [None, 0.0, 0.3])
def test_batch_norm_without_weights_or_statistics_holds_neither(momentum):
    layer, x = LAYERS["batch_norm"](affine=False, track_running_stats=False, momentum=momentum), Shape((3, 5))
    plan, module = layer.plan(x), layer.module(x)

    assert (plan.params, plan.buffered) == (0, 0)
    assert list(module.state_dict()) == []
    assert module.momentum == momentum


def test_a_pool_that_skips_the_end_says_so():
    warnings = LAYERS["max_pool"](kernel_size=2).plan(Shape((3, 7, 8))).warnings

    assert warnings == ("the stride skips the end: the last 1 of 7 positions on axis 0 is never seen",)
    assert LAYERS["max_pool"](kernel_size=2, ceil_mode=True).plan(Shape((3, 7, 8))).warnings == ()


def test_dropout_is_silent_in_evaluation():
    module, x = LAYERS["dropout"](p=0.9).module(Shape((100,))), torch.ones(1, 100)

    assert (module(x) == 0).any()
    assert module.eval()(x).tolist() == x.tolist()
