"""Padding and cropping: against torch's own, by hand, and what a position then sees."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from sliding import built, hulls, run
from test_sizes import in_torch, planned, signals
from torch import nn

from dlx.errors import ShapeError
from dlx.layers import LAYERS
from dlx.shapes import Shape

MODULES = {
    "constant": "ConstantPad",
    "reflect": "ReflectionPad",
    "replicate": "ReplicationPad",
    "circular": "CircularPad",
}


@pytest.mark.parametrize("mode", MODULES)
@pytest.mark.parametrize("rank", [1, 2, 3])
def test_a_list_is_read_as_the_modules_of_torch_read_it(mode, rank):
    x, sides = torch.randn(2, 3, *range(5, 5 + rank)), [1, 2, 3, 0, 2, 1][: 2 * rank]
    of_torch = getattr(nn, f"{MODULES[mode]}{rank}d")
    wanted = of_torch(tuple(sides), 7.0) if mode == "constant" else of_torch(tuple(sides))

    torch.testing.assert_close(run("pad", x, padding=sides, mode=mode, value=7.0), wanted(x))


def test_one_number_pads_all_sides():
    assert run("pad", torch.ones(1, 1, 2), padding=1).tolist() == [[[0, 1, 1, 0]]]
    assert LAYERS["pad"](padding=2).plan(Shape((3, 4, 5, 6))).shape == (3, 8, 9, 10)


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_pad_has_the_size_of_torch(data):
    x = data.draw(signals())
    side = st.integers(0, 5)
    sides = data.draw(side | st.lists(side, min_size=2 * len(x.size), max_size=2 * len(x.size)))
    layer = LAYERS["pad"].model_validate({"padding": sides, "mode": data.draw(st.sampled_from(sorted(MODULES)))})

    assert planned(layer, x) == in_torch(layer, x, device="cpu")


def test_a_causal_convolution_is_a_padding_on_the_left():
    plan = LAYERS["pad"](padding=[4, 0]).plan(Shape((1, 10)))

    assert plan.shape == (1, 14)
    assert plan.window.before == (4,)


@pytest.mark.parametrize("sides", [[2, 0], [0, 3], [1, 1]])
def test_a_position_sees_where_it_came_from(sides):
    plan, module = built("pad", {"padding": sides}, (2, 6))
    inside, exact = zip(*hulls(plan, module, (2, 6)), strict=True)

    assert all(inside)
    assert all(exact[sides[0] : sides[0] + 6])


@pytest.mark.parametrize(
    ("n", "kernel", "stride", "dilation", "wanted"),
    [
        (224, 3, 2, 1, (0, 1)),  # the first layer of MobileNet in TensorFlow
        (112, 3, 1, 1, (1, 1)),
        (7, 3, 2, 1, (1, 1)),
        (8, 2, 2, 1, (0, 0)),
        (5, 1, 2, 1, (0, 0)),
        (10, 5, 3, 1, (2, 2)),
        (10, 3, 1, 2, (2, 2)),
        (6, 4, 1, 1, (1, 2)),
    ],
)
def test_padding_as_tensorflow_has_it(n, kernel, stride, dilation, wanted):
    """By its formula: total = max((ceil(n / stride) - 1) * stride + (kernel - 1) * dilation + 1 - n, 0)."""
    window = {"kernel_size": kernel, "stride": stride, "dilation": dilation}
    x = torch.ones(1, 1, n)
    padded = run("pad_same", x, **window, value=9.0)

    torch.testing.assert_close(padded, F.pad(x, wanted, value=9.0))
    assert LAYERS["conv"](out_channels=1, **window).plan(Shape(padded.shape[1:])).shape == (1, -(-n // stride))


@pytest.mark.parametrize(("n", "stops"), [(7, 3), (8, 4), (9, 4)])
def test_a_window_can_stop_as_often_as_the_stride_fits(n, stops):
    """Russell & Norvig 2021, section 22.3: exactly floor(n / s) times."""
    padded = LAYERS["pad_same"](kernel_size=3, stride=2, stops="down").plan(Shape((1, n))).shape

    assert LAYERS["conv"](out_channels=1, kernel_size=3, stride=2).plan(padded).shape == (1, stops)


def test_a_stride_above_the_size_stops_nowhere_when_rounded_down():
    with pytest.raises(ShapeError) as refusal:
        LAYERS["pad_same"](kernel_size=3, stride=4, stops="down").plan(Shape((1, 8, 3)))

    problem = refusal.value.problem_for(["`x`"])
    assert problem.message == "`x` is smaller than the stride of 4x4, and size / stride rounds down to no stop"
    assert problem.hint == "Take a smaller stride, or `stops: up`."


def test_channels_of_zeros_come_last_or_first():
    x = torch.tensor([[[1.0], [2.0]]])

    assert run("pad_channels", x, out_channels=4).tolist() == [[[1], [2], [0], [0]]]
    assert run("pad_channels", x, out_channels=5, before=2).tolist() == [[[0], [0], [1], [2], [0]]]
    assert run("pad_channels", torch.tensor([[1.0, 2.0]]), out_channels=3).tolist() == [[1, 2, 0]]


def test_the_shortcut_of_a_resnet_without_weights():
    """He et al. 2015, option A: every other position, and zeros for the channels that are new."""
    x = Shape((16, 32, 32))
    halved = LAYERS["max_pool"](kernel_size=1, stride=2).plan(x).shape
    plan = LAYERS["pad_channels"](out_channels=32, before=8).plan(halved)

    assert plan.shape == (32, 16, 16)
    assert plan.params == plan.macs == 0


def test_the_middle_is_cropped_as_concat_crops_it():
    x, small = torch.arange(5.0).view(1, 1, 5), torch.zeros(1, 1, 2)

    assert run("crop", x, size=2).tolist() == [[[1, 2]]]
    assert run("concat", small, x, crop="center")[:, 1:].tolist() == [[[1, 2]]]


def test_sides_are_cropped_in_the_order_of_pad():
    x = torch.randn(2, 3, 4, 5, 6)
    sides = [1, 2, 0, 1, 1, 0]

    assert torch.equal(run("crop", F.pad(x, sides), sides=sides), x)
    assert run("crop", x, sides=1).shape == (2, 3, 2, 3, 4)


def test_a_crop_sees_the_positions_that_are_left():
    for options in ({"size": [3, 2]}, {"sides": [1, 0, 2, 1]}):
        plan, module = built("crop", options, (2, 6, 7))
        assert set(hulls(plan, module, (2, 6, 7))) == {(True, True)}


def test_a_crop_that_cuts_nothing_is_pointwise():
    assert LAYERS["crop"](size=4).plan(Shape((1, 4))).window == "pointwise"
    assert LAYERS["pad"](padding=0).plan(Shape((1, 4))).window == "pointwise"


REFUSED = [
    (
        ("pad", {"padding": [1, 2]}, (3, 8, 8)),
        "padding = [1, 2] has 2 values for an input with 2 axes of positions",
        "Give one number, or 4 of them: [left, right, top, bottom].",
    ),
    (
        ("crop", {"sides": [1]}, (3, 8)),
        "sides = [1] has 1 value for an input with 1 axis of positions",
        "Give one number, or 2 of them: [left, right].",
    ),
    (
        ("pad", {"padding": [0, 0, 2, 4], "mode": "reflect"}, (3, 4, 8)),
        "mode reflect takes its 4x0 padded positions from an input of 4x8, which is too small",
        'Pad less, or use mode "constant" or "replicate".',
    ),
    (
        ("pad_channels", {"out_channels": 4, "before": 2}, (3, 8)),
        "pad_channels fills up to out_channels = 4, and `x` has 3 with 2 before them",
        "Ask for 5 or more; `pointwise_conv` makes fewer.",
    ),
    (
        ("crop", {"size": 9}, (3, 8, 10)),
        "crop cannot keep 9x9 of `x`, which has 8x10 positions",
        "Cut less; `- pad` adds positions.",
    ),
    (
        ("crop", {"sides": 4}, (3, 8)),
        "crop cannot cut that much of `x`, which has 8 positions",
        "Cut less; `- pad` adds positions.",
    ),
]


@pytest.mark.parametrize(("case", "message", "hint"), REFUSED)
def test_what_cannot_be_padded_or_cut_is_refused(case, message, hint):
    kind, options, x = case
    with pytest.raises(ShapeError) as refusal:
        LAYERS[kind].model_validate(options).plan(Shape(x))

    problem = refusal.value.problem_for(["`x`"])
    assert (problem.message, problem.hint) == (message, hint)


@pytest.mark.parametrize(("options", "which"), [({}, "none"), ({"size": 2, "sides": 1}, "both")])
def test_a_crop_wants_one_of_its_two_fields(options, which):
    with pytest.raises(ValidationError) as refusal:
        LAYERS["crop"].model_validate(options)

    sentence = f"`size` keeps the middle and `sides` cuts each side: give one of them, not {which}"
    assert str(refusal.value.errors()[0]["ctx"]["error"]) == sentence
