"""Transposed convolutions: values by hand and as a transposed matrix, size and receptive field as torch has them."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sliding import built, hulls, measured, planned_hull, positive
from test_sizes import extents, in_torch, planned, signals
from torch.utils.flop_counter import FlopCounterMode

from dlx.layers import LAYERS
from dlx.shapes import Window


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_conv_transpose_has_the_size_of_torch(data):
    x = data.draw(signals())
    rank = len(x.size)
    options = {
        "out_channels": data.draw(st.integers(1, 4)),
        "kernel_size": data.draw(extents(rank, 1, 4)),
        "stride": data.draw(extents(rank, 1, 3)),
        "padding": data.draw(extents(rank, 0, 3)),
        "output_padding": data.draw(extents(rank, 0, 2)),
        "dilation": data.draw(extents(rank, 1, 3)),
        "groups": data.draw(st.sampled_from([1, 1, 1, 2, 3])),
    }
    layer = LAYERS["conv_transpose"].model_validate(options)

    assert planned(layer, x) == in_torch(layer, x, device="cpu")


def test_each_value_is_stamped_onto_the_output():
    """Values 1 and 10 with the pattern 1, 2, 3 and stride 2: 1, 2, 3 + 10, 20, 30."""
    _, module = built("conv_transpose", {"out_channels": 1, "kernel_size": 3, "stride": 2, "bias": False}, (1, 2))
    module.weight.data[:] = torch.tensor([1.0, 2.0, 3.0])

    assert module(torch.tensor([[[1.0, 10.0]]], dtype=torch.float64)).tolist() == [[[1, 2, 13, 20, 30]]]


def test_its_matrix_is_the_transpose_of_that_of_the_convolution():
    """Prince 2023, figure 10.13: kernel 3, stride 2, 6 positions to 3 and back to 6."""
    _, down = built("conv", {"out_channels": 1, "kernel_size": 3, "stride": 2, "padding": 1, "bias": False}, (1, 6))
    options = {"out_channels": 1, "kernel_size": 3, "stride": 2, "padding": 1, "output_padding": 1, "bias": False}
    plan, up = built("conv_transpose", options, (1, 3))
    up.weight.data = down.weight.data

    there, back = down(torch.eye(6).double().unsqueeze(1)), up(torch.eye(3).double().unsqueeze(1))

    assert plan.shape == (1, 6)
    assert back.squeeze(1).tolist() == there.squeeze(1).T.tolist()


@pytest.mark.parametrize("size", [(7,), (5, 6), (3, 4, 5)])
def test_it_undoes_the_shape_of_a_convolution_and_counts_what_torch_counts(size):
    options = {"out_channels": 6, "kernel_size": 4, "stride": 2, "padding": 1, "groups": 2}
    plan, module = built("conv_transpose", options, (4, *size))
    with FlopCounterMode(display=False) as flops:
        y = module(torch.zeros(1, 4, *size, dtype=torch.float64))

    assert tuple(y.shape[1:]) == plan.shape == (6, *(2 * n for n in size))
    assert LAYERS["conv"](**options | {"out_channels": 4}).plan(plan.shape).shape == (4, *size)
    assert flops.get_total_flops() == 2 * plan.macs == 2 * 4 * 3 * 4 ** len(size) * torch.Size(size).numel()
    assert plan.params == sum(p.numel() for p in module.parameters())


@pytest.mark.parametrize(
    ("kernel", "stride", "padding", "dilation"),
    [(k, s, p, d) for k in (1, 2, 3, 5) for s in (1, 2, 3) for p in (0, 1) for d in (1, 2, 3)],
)
def test_the_receptive_field_is_the_tightest_hull_of_what_receives_gradient(kernel, stride, padding, dilation):
    options = {"kernel_size": kernel, "stride": stride, "padding": padding, "dilation": dilation}
    plan, module = built("conv_transpose", {"out_channels": 1, **options}, (1, 15))
    found = [
        (planned_hull(plan, (1, 15), at)[0], seen[0])
        for at, seen in measured(plan, positive(module), (1, 15))
        if seen
    ]

    assert all(low <= first <= last <= high for (low, high), (first, last) in found)
    within = [(hull, seen) for hull, seen in found if hull[0] > 0 and hull[1] < 14]
    assert any(low == first for (low, _), (first, _) in within)
    assert any(last == high for (_, high), (_, last) in within)


def test_the_receptive_field_in_two_axes():
    plan, module = built("conv_transpose", {"out_channels": 2, "kernel_size": [2, 4], "stride": [2, 3]}, (3, 4, 5))

    inside, exact = zip(*hulls(plan, positive(module), (3, 4, 5)), strict=True)

    assert all(inside)
    assert exact[3 * 16 + 6]


def test_which_stops_of_a_window_stand_on_a_position_by_hand():
    """Kernel 3, stride 2, padding 1: stops begin at -1, 1, 3; two stand on position 1, one on position 2."""
    window = Window.over(1, 3, 2, 1).transposed

    assert (window.kernel, window.stride, window.shift) == ((2,), (1 / 2,), (0,))
    assert Window.over(1, 3).transposed == Window((3,), (1,), (0,), (0,), (1,), shift=(-2,))
