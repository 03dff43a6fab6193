"""Pools that blur or throw dice: by hand, in expectation, and what a position sees."""

import pytest
import torch
import torch.nn.functional as F
from pydantic import ValidationError
from sliding import built, hulls, measured, planned_hull, run
from test_sizes import in_torch, planned
from torch.utils.flop_counter import FlopCounterMode

from dlx.errors import ShapeError
from dlx.layers import LAYERS
from dlx.shapes import Shape


def dice(kind, options, x, times=4000):
    """The output for `x`, many times over, in one batch, and the same in evaluation."""
    _, module = built(kind, options, x.shape)
    torch.manual_seed(0)
    return module.train()(x.expand(times, *x.shape)), module.eval()(x.unsqueeze(0))[0]


# --- max_blur_pool --------------------------------------------------------------------------------------------------


def test_maxima_are_blurred_before_positions_are_skipped():
    """Maxima of 0 0 1 1 0 0 0 in pairs: 0 1 1 1 0 0; mirrored and blurred by 1 2 1 / 4 at positions 0, 2, 4."""
    x = torch.tensor([[[0.0, 0, 1, 1, 0, 0, 0]]])

    assert run("max_blur_pool", x.double(), kernel_size=2).tolist() == [[[0.5, 1, 0.25]]]


@pytest.mark.parametrize("size", [(9,), (8, 9), (6, 7, 8)])
@pytest.mark.parametrize(
    "options", [{"kernel_size": 2}, {"kernel_size": 3, "padding": 1, "stride": 2, "blur_size": 4}]
)
def test_a_blurred_pool_has_the_shape_and_the_macs_of_torch_and_keeps_what_is_constant(size, options):
    plan, module = built("max_blur_pool", options, (3, *size))
    with FlopCounterMode(display=False) as flops:
        y = module(torch.full((1, 3, *size), 7.0, dtype=torch.float64))

    assert plan.shape == y.shape[1:]
    assert flops.get_total_flops() == 2 * plan.macs
    assert plan.buffered == module.blur.numel()
    torch.testing.assert_close(y, torch.full_like(y, 7))


def test_a_blurred_pool_sees_the_maximum_and_the_blur():
    plan, module = built("max_blur_pool", {"kernel_size": 2, "blur_size": 3}, (1, 14))
    found = [
        (planned_hull(plan, (1, 14), at)[0], seen[0]) for at, seen in measured(plan, module, (1, 14), samples=64)
    ]

    assert plan.window.extent == (4,)
    assert all(hull == seen for hull, seen in found[1:-1])
    assert all(low <= first <= last <= high for (low, high), (first, last) in found)


def test_a_blur_that_is_wider_than_the_maxima_is_refused():
    with pytest.raises(ShapeError) as refusal:
        LAYERS["max_blur_pool"](kernel_size=2, blur_size=7).plan(Shape((3, 4, 9)))

    problem = refusal.value.problem_for(["`x`"])
    assert problem.message == "a blur of 7 mirrors 3 positions at the edge, and the maxima of `x` are 3x8"
    assert problem.hint == "Take a smaller `blur_size`."


# --- stochastic_pool ------------------------------------------------------------------------------------------------


def test_a_value_is_picked_in_proportion_to_itself():
    """Zeiler & Fergus 2013, section 3: of 1.6, 0 and 2.4 the probabilities are 0.4, 0 and 0.6."""
    picked, average = dice("stochastic_pool", {"kernel_size": 3}, torch.tensor([[1.6, 0, 2.4]], dtype=torch.float64))

    assert set(picked.flatten().tolist()) == {1.6, 2.4}
    assert (picked == 2.4).double().mean().item() == pytest.approx(0.6, abs=0.03)
    assert average.item() == pytest.approx(0.4 * 1.6 + 0.6 * 2.4)


@pytest.mark.parametrize("size", [(7,), (6, 7), (4, 5, 6)])
@pytest.mark.parametrize(("kind", "options"), [("stochastic_pool", {}), ("max_pool_dropout", {"p": 0.3})])
def test_evaluation_is_what_training_comes_to(kind, options, size):
    x = torch.rand(2, *size, dtype=torch.float64)
    picked, average = dice(kind, {"kernel_size": 2, **options}, x, times=8000)

    torch.testing.assert_close(picked.mean(0), average, rtol=0, atol=0.03)
    assert LAYERS[kind](kernel_size=2, **options).plan(Shape(x.shape)).shape == average.shape


@pytest.mark.parametrize("kind", ["stochastic_pool", "max_pool_dropout"])
@pytest.mark.parametrize("training", [True, False])
def test_a_window_without_a_value_above_zero_gives_zero(kind, training):
    _, module = built(kind, {"kernel_size": 2}, (1, 4))
    x = torch.tensor([[[-1.0, 0, -2, -3]]], dtype=torch.float64, requires_grad=True)

    y = module.train(training)(x)
    y.sum().backward()

    assert y.tolist() == [[[0, 0]]]
    assert torch.isfinite(x.grad).all()


@pytest.mark.parametrize(
    ("kind", "options"),
    [("stochastic_pool", {}), ("max_pool_dropout", {}), ("fractional_max_pool", {"output_ratio": 0.6})],
)
def test_the_same_seed_throws_the_same_dice(kind, options):
    x = torch.rand(4, 3, 9, 9, dtype=torch.float64)
    _, module = built(kind, {"kernel_size": 2, **options}, (3, 9, 9))

    def thrown(seed):
        torch.manual_seed(seed)
        return module(x)

    assert torch.equal(thrown(1), thrown(1))
    assert not torch.equal(thrown(1), thrown(2))


def test_the_gradient_goes_to_the_value_that_was_picked():
    _, module = built("stochastic_pool", {"kernel_size": 4}, (1, 4))
    x = torch.tensor([[[1.0, 2, 3, 4]]], dtype=torch.float64, requires_grad=True)

    y = module(x)
    y.sum().backward()

    assert x.grad.flatten().tolist() == [float(v == y.item()) for v in (1, 2, 3, 4)]


@pytest.mark.parametrize("kind", ["stochastic_pool", "max_pool_dropout"])
def test_the_average_sees_the_whole_window(kind):
    plan, module = built(kind, {"kernel_size": 3, "stride": 2}, (1, 9))

    assert set(hulls(plan, module.eval(), (1, 9))) == {(True, True)}


# --- max_pool_dropout -----------------------------------------------------------------------------------------------


def test_the_largest_value_that_is_left_wins():
    """Wu & Gu 2015: of 3, 2, 1 with p = 0.4 they win with probabilities 0.6, 0.24, 0.096; with 0.064 all are gone."""
    x = torch.tensor([[3.0, 1, 2]]).double()
    picked, average = dice("max_pool_dropout", {"kernel_size": 3, "p": 0.4}, x, times=20000)

    for value, probability in ((3, 0.6), (2, 0.24), (1, 0.096), (0, 0.064)):
        assert (picked == value).double().mean().item() == pytest.approx(probability, abs=0.02)
    assert average.item() == pytest.approx(3 * 0.6 + 2 * 0.24 + 1 * 0.096)


def test_without_dropping_it_is_a_max_pool():
    x = torch.rand(2, 3, 8, 8)

    assert torch.equal(run("max_pool_dropout", x.double(), kernel_size=2, p=0), F.max_pool2d(x, 2).double())


# --- fractional_max_pool --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("size", "options"),
    [
        ((10, 12), {"kernel_size": 2, "output_ratio": 0.7}),
        ((9, 11), {"kernel_size": [3, 2], "output_size": [4, 1]}),
        ((6, 7, 8), {"kernel_size": 2, "output_ratio": [0.5, 0.6, 0.8]}),
    ],
)
def test_fractional_windows_lie_where_the_plan_says(size, options):
    plan, module = built("fractional_max_pool", options, (1, *size))
    inside, _ = zip(*hulls(plan, module, (1, *size), samples=50), strict=True)

    assert all(inside)
    assert plan.shape == module(torch.rand(2, 1, *size, dtype=torch.float64)).shape[1:]


def test_fractional_windows_reach_both_places_that_a_fraction_allows():
    plan, module = built("fractional_max_pool", {"kernel_size": 2, "output_size": [5, 5]}, (1, 9, 9))
    assert plan.window.kernel == (3, 3)

    exact = [good for _, good in hulls(plan, module, (1, 9, 9), samples=200)]

    assert sum(exact) > 5


@pytest.mark.parametrize(
    ("options", "x", "message"),
    [
        (
            {"kernel_size": 2, "output_size": 4},
            (3, 9),
            "fractional_max_pool takes images and volumes, as torch's does, and `x` has one axis of positions",
        ),
        (
            {"kernel_size": 3, "output_size": 8},
            (3, 9, 12),
            "fractional_max_pool cannot set 8x8 windows of 3x3 on `x`, each further on",
        ),
        (
            {"kernel_size": 1, "output_ratio": 0.1},
            (3, 9, 12),
            "fractional_max_pool cannot set 0x1 windows of 1x1 on `x`, each further on",
        ),
        (
            {"kernel_size": 3, "output_size": 7},
            (3, 9, 12, 12),
            "fractional_max_pool cannot set 7x7x7 windows of 3x3x3 on `x`, each further on",
        ),
    ],
)
def test_windows_that_do_not_fit_are_refused(options, x, message):
    layer = LAYERS["fractional_max_pool"].model_validate(options)
    with pytest.raises(ShapeError) as refusal:
        layer.plan(Shape(x))

    assert refusal.value.problem_for(["`x`"]).message == message


@pytest.mark.parametrize("rank", [2, 3])
@pytest.mark.parametrize("kernel", [1, 2, 4])
def test_as_many_fractional_windows_fit_as_torch_fits(rank, kernel):
    for out in range(1, 7):
        layer, x = LAYERS["fractional_max_pool"](kernel_size=kernel, output_size=out), Shape((1, *(6,) * rank))
        assert planned(layer, x) == in_torch(layer, x, device="cpu")


@pytest.mark.parametrize(("options", "case"), [({}, "none"), ({"output_size": 2, "output_ratio": 0.5}, "both")])
def test_a_size_and_a_ratio_exclude_each_other(options, case):
    with pytest.raises(ValidationError) as refusal:
        LAYERS["fractional_max_pool"].model_validate({"kernel_size": 2, **options})

    sentence = f"give either `output_size` or `output_ratio`, not {case} of them"
    assert str(refusal.value.errors()[0]["ctx"]["error"]) == sentence
