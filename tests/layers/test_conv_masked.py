"""Gated and partial convolutions: by formula, and for masks that are all of one sort."""

import pytest
import torch
import torch.nn.functional as F
from helpers import network_of
from sliding import built, hulls

from dlx.errors import ShapeError
from dlx.layers import LAYERS
from dlx.network import build
from dlx.shapes import Shape

CONVOLVE = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}
SIZES = [(7,), (6, 7), (4, 5, 6)]


@pytest.mark.parametrize("size", SIZES)
def test_a_gated_convolution_multiplies_features_by_a_mask_of_its_own(size):
    plan, module = built("gated_conv", {"out_channels": 4, "kernel_size": 3, "stride": 2}, (3, *size))
    x = torch.randn(2, 3, *size, dtype=torch.float64)

    torch.testing.assert_close(module(x), module.features(x) * torch.sigmoid(module.gate(x)))
    assert plan.shape == module(x).shape[1:]
    assert plan.params == 2 * (4 * 3 * 3 ** len(size) + 4)
    assert set(hulls(plan, module, (3, *size))) == {(True, True)}


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("bias", [True, False])
def test_a_partial_convolution_whose_mask_lets_everything_through_is_a_convolution(size, channels, bias):
    options = {"out_channels": 4, "kernel_size": 3, "stride": 2, "bias": bias}
    plan, module = built("partial_conv", options, (3, *size), (channels, *size))
    x, mask = torch.randn(2, 3, *size, dtype=torch.float64), torch.ones(2, channels, *size, dtype=torch.float64)

    torch.testing.assert_close(module(x, mask), CONVOLVE[len(size)](x, module.weight, module.bias, stride=2))
    assert plan.shape == module(x, mask).shape[1:]


def test_what_is_known_is_scaled_up_by_how_little_it_is():
    """Kernel 1, 1, 1 on 1, 2, 3, 4 of which 2 is not known, nor what is beyond the edge: sums * 3 / known + 10."""
    _, module = built("partial_conv", {"out_channels": 1, "kernel_size": 3, "padding": 1}, (1, 4), (1, 4))
    torch.nn.init.ones_(module.weight)
    torch.nn.init.constant_(module.bias, 10)
    x, mask = torch.tensor([[[1.0, 2, 3, 4]]]).double(), torch.tensor([[[1.0, 0, 1, 1]]]).double()

    y = module(x, mask)

    assert y[0, 0].tolist() == pytest.approx([1 * 3 / 1 + 10, 4 * 3 / 2 + 10, 7 * 3 / 2 + 10, 7 * 3 / 2 + 10])


def test_a_window_of_which_nothing_is_known_gives_nothing_not_even_the_bias():
    _, module = built("partial_conv", {"out_channels": 2, "kernel_size": 3}, (1, 5), (1, 5))
    mask = torch.tensor([[[0.0, 0, 0, 1, 0]]]).double()
    x = torch.randn(1, 1, 5, dtype=torch.float64, requires_grad=True)

    y = module(x, mask)
    y.sum().backward()

    assert y[0, :, 0].tolist() == [0, 0]
    assert (y[0, :, 1] != 0).all()
    assert torch.isfinite(x.grad).all()
    assert (x.grad != 0).flatten().tolist() == [False, False, False, True, False]


def test_values_that_are_not_known_make_no_difference():
    _, module = built("partial_conv", {"out_channels": 2, "kernel_size": 3, "padding": 1}, (3, 6, 6), (3, 6, 6))
    x = torch.randn(1, 3, 6, 6, dtype=torch.float64)
    mask = (torch.rand(1, 3, 6, 6) < 0.5).double()

    torch.testing.assert_close(module(x, mask), module(torch.where(mask > 0, x, 100.0), mask))


def test_the_mask_of_the_output_is_a_max_pool_of_the_mask():
    options = {"kernel_size": 3, "stride": 2, "padding": 1}
    _, module = built("partial_conv", {"out_channels": 1, **options}, (1, 9, 9), (1, 9, 9))
    mask = torch.zeros(1, 1, 9, 9, dtype=torch.float64)
    mask[..., 6, 2] = 1

    y = module(torch.ones_like(mask), mask)

    assert ((y != 0) == built("max_pool", options, (1, 9, 9))[1](mask).bool()).all()


def test_a_partial_convolution_sees_the_image_and_no_gradient_reaches_the_mask():
    plan, module = built("partial_conv", {"out_channels": 1, "kernel_size": 3, "stride": 2}, (1, 9), (1, 9))
    mask = torch.ones(1, 1, 9, dtype=torch.float64, requires_grad=True)

    assert set(hulls(plan, module, (1, 9), [mask])) == {(True, True)}
    assert mask.grad is None
    assert plan.no_gradient == (1,)


@pytest.mark.parametrize("mask", [(2, 5, 5), (1, 5, 4), (1, 5)])
def test_a_mask_that_does_not_fit_is_refused(mask):
    with pytest.raises(ShapeError) as refusal:
        LAYERS["partial_conv"](out_channels=2, kernel_size=3).plan(Shape((3, 5, 5)), Shape(mask))

    problem = refusal.value.problem_for(["`image`", "`mask`"])
    assert problem.message == "partial_conv masks `image` with `mask`: the mask must be (1, 5, 5) or (3, 5, 5)"
    assert problem.hint == "Give them as `from: [image, mask]`; a pool brings a mask to a smaller size."


def test_a_mask_of_truth_values_is_refused_by_its_own_name():
    with pytest.raises(ShapeError) as refusal:
        LAYERS["partial_conv"](out_channels=2, kernel_size=3).plan(Shape((3, 5, 5)), Shape((1, 5, 5), "bool"))

    problem = refusal.value.problem_for(["`image`", "`mask`"])
    assert problem.message == "partial_conv computes with floats, and `mask` holds values of dtype bool"


def test_the_next_partial_convolution_takes_the_mask_of_the_one_before():
    """With its own mask the hole closes: what is filled counts as known, and by the first mask it would not."""
    layers = """
        - {partial_conv: {out_channels: 2, kernel_size: 3, padding: 1}, name: first, from: [image, known]}
        - {partial_conv: {out_channels: 2, kernel_size: 3, padding: 1}, name: second, from: [first, first.mask]}
    """
    graph = network_of("{image: [2, 9, 9], known: [1, 9, 9]}", layers, outputs="{it: second, mask: first.mask}")
    network = build(graph)
    image, known = torch.randn(3, 2, 9, 9), torch.ones(3, 1, 9, 9)
    known[:, :, 2:7, 2:7] = 0
    wider = F.max_pool2d(known, 3, 1, 1)
    alone = [LAYERS["partial_conv"](out_channels=2, kernel_size=3, padding=1).module(Shape((2, 9, 9))) for _ in "12"]
    for module, node in zip(alone, ("first", "second"), strict=True):
        module.load_state_dict(network.get_submodule(node).state_dict())
    made = network(image, known)

    assert torch.equal(made["mask"], wider)
    assert graph.by_name["first.mask"].shape == (1, 9, 9)
    torch.testing.assert_close(made["it"], alone[1](alone[0](image, known), wider))
    assert not torch.allclose(made["it"], alone[1](alone[0](image, known), known))
