"""Upsampling, pixel shuffles and unpooling: values by hand and against torch, and what a position sees."""

import json
from fractions import Fraction

import pytest
import torch
import torch.nn.functional as F
from helpers import experiment_of
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from sliding import built, hulls, measured, planned_hull, run
from test_sizes import extents, in_torch, planned, signals

from dlx.errors import ShapeError
from dlx.graph import trace
from dlx.layers import LAYERS
from dlx.layers.resample import MOST_COPIES
from dlx.shapes import ReceptiveField, Shape

# --- upsample -------------------------------------------------------------------------------------------------------


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_upsample_has_the_size_of_torch(data):
    x = data.draw(signals())
    rank = len(x.size)
    factor = st.sampled_from([0.3, 0.5, 0.7, 1.0, 1.5, 2.0, 2.2, 3.0])
    options = {
        "mode": data.draw(st.sampled_from(["nearest", "nearest-exact", "linear", "bilinear", "bicubic", "trilinear"]))
    }
    if data.draw(st.booleans()):
        options["size"] = data.draw(extents(rank, 1, 9))
    else:
        options["scale_factor"] = data.draw(factor | st.lists(factor, min_size=rank, max_size=rank))
        options["recompute_scale_factor"] = data.draw(st.none() | st.booleans())
    if not options["mode"].startswith("nearest"):
        options["align_corners"] = data.draw(st.none() | st.booleans())
    layer = LAYERS["upsample"].model_validate(options)

    assert planned(layer, x) == in_torch(layer, x, device="cpu")


def test_nearest_makes_copies_and_bilinear_goes_between():
    x = torch.tensor([[[1.0, 3.0]]])

    assert run("upsample", x, scale_factor=2).tolist() == [[[1, 1, 3, 3]]]
    assert run("upsample", x, scale_factor=2, mode="linear").tolist() == [[[1, 1.5, 2.5, 3]]]
    assert run("upsample", x, size=5, mode="linear", align_corners=True).tolist() == [[[1, 1.5, 2, 2.5, 3]]]


@pytest.mark.parametrize(
    ("n", "out"), [(5, 10), (4, 12), (7, 3), (6, 9), (5, 7), (9, 4), (3, 8), (6, 6), (5, 1), (1, 4)]
)
@pytest.mark.parametrize("mode", ["nearest", "nearest-exact", "linear"])
@pytest.mark.parametrize("align_corners", [False, True])
def test_the_places_of_a_size_are_those_of_torch(n, out, mode, align_corners):
    smooth = {"align_corners": align_corners} if mode == "linear" else {}
    plan, module = built("upsample", {"size": out, "mode": mode, **smooth}, (1, n))
    inside, exact = zip(*hulls(plan, module, (1, n)), strict=True)

    assert all(inside)
    assert any(exact)
    if mode != "linear":
        assert all(exact)


@pytest.mark.parametrize("scale", [2, 3, 4, 1.5, 2.5, 0.5, 0.75, 1, [2, 3], [1.5, 0.5]])
@pytest.mark.parametrize("mode", ["nearest", "nearest-exact", "bilinear", "bicubic"])
@pytest.mark.parametrize("more", [{}, {"align_corners": True}, {"recompute_scale_factor": True}])
def test_the_places_of_a_scale_are_those_of_torch(scale, mode, more):
    if "align_corners" in more and mode.startswith("nearest"):
        return
    plan, module = built("upsample", {"scale_factor": scale, "mode": mode, **more}, (1, 6, 7))
    inside, exact = zip(*hulls(plan, module, (1, 6, 7)), strict=True)

    assert all(inside)
    assert any(exact)


def test_a_doubling_by_interpolation_sees_two_positions_everywhere_inside():
    """Output p lies at p/2 - 1/4: p = 1 between 0 and 1, p = 2 too, p = 3 between 1 and 2."""
    plan, module = built("upsample", {"scale_factor": 2, "mode": "linear"}, (1, 6))

    assert plan.window.kernel == (2,)
    assert (plan.window.stride, plan.window.shift) == ((Fraction(1, 2),), (Fraction(-1, 4),))
    assert [planned_hull(plan, (1, 6), (p,))[0] for p in (1, 2, 3)] == [(0, 1), (0, 1), (1, 2)]
    assert all(exact for _, exact in list(hulls(plan, module, (1, 6)))[1:-1])


def test_an_interpolation_that_falls_on_positions_sees_one():
    assert LAYERS["upsample"](scale_factor=1 / 3, mode="linear").plan(Shape((1, 9))).window.kernel == (2,)
    assert LAYERS["upsample"](size=3, mode="linear").plan(Shape((1, 9))).window.kernel == (1,)
    assert LAYERS["upsample"](size=5, mode="linear", align_corners=True).plan(Shape((1, 9))).window.kernel == (1,)


def test_a_convolution_behind_an_upsampling_sees_less_of_the_input():
    """Nearest by 2, then a kernel of 3: positions p - 1 to p + 1, which are two of the input."""
    layers = [{"upsample": {"scale_factor": 2}}, {"conv": {"out_channels": 1, "kernel_size": 3, "padding": 1}}]
    graph = trace(experiment_of(json.dumps({"network": {"inputs": {"input": [1, 8]}, "layers": layers}})))

    assert graph.receptive_field == ReceptiveField((2,), (Fraction(1, 2),), (Fraction(-1, 2),))


@pytest.mark.parametrize("options", [{"scale_factor": 1.5}, {"size": 7}, {"scale_factor": 41}, {"scale_factor": 2}])
def test_each_output_is_a_copy_of_the_input_whose_middle_is_nearest(options):
    """Output p of m lies at (p + 1/2) n / m of n inputs, by hand in fractions; torch's default is off by a step."""
    layer, x = LAYERS["upsample"].model_validate(options), Shape((1, 3))
    out = layer.module(x)(torch.arange(3.0)[None, None])[0, 0]

    m = layer.plan(x).shape[1]
    pace = Fraction(3, m) if "size" in options else 1 / Fraction(str(options["scale_factor"]))
    assert out.tolist() == [min(int((p + Fraction(1, 2)) * pace), 2) for p in range(m)]


@pytest.mark.parametrize("factor", range(1, MOST_COPIES + 1))
def test_whole_factors_make_copies_in_the_mode_that_most_programs_read(factor):
    layer = LAYERS["upsample"](scale_factor=factor)
    module, x = layer.module(Shape((1, 50))), torch.arange(50.0)[None, None]
    assert module.mode == "nearest"
    assert torch.equal(module(x), x.repeat_interleave(factor, -1))


def test_a_scale_shrinks_the_size_rounded_down():
    assert LAYERS["upsample"](scale_factor=0.7).plan(Shape((2, 9, 5))).shape == (2, 6, 3)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({}, "give either `size` or `scale_factor`, not none of them"),
        ({"size": 3, "scale_factor": 2}, "give either `size` or `scale_factor`, not both of them"),
        (
            {"size": 3, "align_corners": True},
            "`align_corners` is for the modes that interpolate, not for nearest-exact",
        ),
        (
            {"size": 3, "recompute_scale_factor": True},
            "`recompute_scale_factor` needs a `scale_factor`, and `size` is given",
        ),
    ],
)
def test_fields_of_upsample_that_contradict_each_other_are_refused(options, sentence):
    with pytest.raises(ValidationError) as refusal:
        LAYERS["upsample"].model_validate(options)

    assert str(refusal.value.errors()[0]["ctx"]["error"]) == sentence


@pytest.mark.parametrize("factor", [0, -1, 1e300, [2, 0]])
def test_a_factor_outside_its_bounds_is_refused(factor):
    with pytest.raises(ValidationError):
        LAYERS["upsample"].model_validate({"scale_factor": factor})


REFUSED = [
    (
        ("upsample", {"scale_factor": 2, "mode": "bilinear"}, [(3, 8)]),
        "mode bilinear is for 2 axes of positions, and `a` has 1",
        "Take linear or nearest.",
    ),
    (
        ("upsample", {"size": 8, "mode": "linear"}, [(3, 8, 8, 8)]),
        "mode linear is for 1 axis of positions, and `a` has 3",
        "Take trilinear or nearest.",
    ),
    (
        ("upsample", {"scale_factor": 0.1}, [(3, 8, 20)]),
        "scale_factor = 0.1 leaves nothing of `a`: 0x2 positions",
        "A factor above 1 makes more positions, one below 1 fewer.",
    ),
    (
        ("upsample", {"scale_factor": [2, 2]}, [(3, 8)]),
        "scale_factor = [2.0, 2.0] has 2 values for an input with 1 axis of positions",
        "Give one number.",
    ),
    (
        ("pixel_shuffle", {"upscale_factor": 3}, [(12, 4, 4)]),
        "pixel_shuffle makes one channel of 3x3, and `a` has 12 channels",
        "Make them a multiple of 9 in the layer before.",
    ),
    (
        ("pixel_unshuffle", {"downscale_factor": 2}, [(3, 4, 5)]),
        "pixel_unshuffle takes blocks of 2x2, which do not fill 4x5 of `a`",
        "`- pad` or `- crop` makes the size a multiple of it.",
    ),
    (
        ("max_unpool", {"kernel_size": 2}, [(8, 5, 5), (8, 10, 8)]),
        (
            "max_unpool puts the values of `a` back to where `b` had its maxima, and a pool of 2x2 makes (8, 5, 4) "
            "of that"
        ),
        "Name `from: [values, pooled]`, the second being what went into the pool; give its fields.",
    ),
    (
        ("max_unpool", {"kernel_size": 2}, [(4, 5, 5), (8, 10, 10)]),
        (
            "max_unpool puts the values of `a` back to where `b` had its maxima, and a pool of 2x2 makes (8, 5, 5) "
            "of that"
        ),
        "Name `from: [values, pooled]`, the second being what went into the pool; give its fields.",
    ),
    (
        ("max_unpool", {"kernel_size": 2, "padding": 2}, [(8, 5, 5), (8, 10, 10)]),
        "max_unpool has padding 2x2, more than half of its kernel of 2x2",
        "A window must not stand on padding alone: pad at most half the kernel.",
    ),
]


@pytest.mark.parametrize(("case", "message", "hint"), REFUSED)
def test_a_shape_that_does_not_fit_is_refused_with_a_way_out(case, message, hint):
    kind, options, inputs = case
    with pytest.raises(ShapeError) as refusal:
        LAYERS[kind].model_validate(options).plan(*map(Shape, inputs))

    problem = refusal.value.problem_for(["`a`", "`b`"][: len(inputs)])
    assert (problem.message, problem.hint) == (message, hint)


# --- pixel shuffle --------------------------------------------------------------------------------------------------


def test_channels_become_positions_by_hand():
    x = torch.tensor([[[1.0, 2], [10, 20], [3, 4], [30, 40]]])

    assert run("pixel_shuffle", x, upscale_factor=2).tolist() == [[[1, 10, 2, 20], [3, 30, 4, 40]]]
    assert run("pixel_unshuffle", x[:, :1], downscale_factor=2).tolist() == [[[1], [2]]]


def test_every_rank_shuffles_as_torch_does_with_images():
    from dlx.modules.resample import PixelShuffle, PixelUnshuffle

    x = torch.randn(2, 18, 4, 5)
    assert torch.equal(PixelShuffle(3)(x), F.pixel_shuffle(x, 3))
    y = torch.randn(2, 2, 6, 9)
    assert torch.equal(PixelUnshuffle(3)(y), F.pixel_unshuffle(y, 3))


@pytest.mark.parametrize("size", [(4,), (4, 6), (2, 4, 6)])
def test_an_unshuffle_undoes_a_shuffle(size):
    x = torch.randn(2, 2**3, *size)
    up, down = run("pixel_shuffle", x, upscale_factor=2), run("pixel_unshuffle", x, downscale_factor=2)

    assert up.shape == (2, 2 ** (3 - len(size)), *(2 * n for n in size))
    assert torch.equal(run("pixel_unshuffle", up, downscale_factor=2), x)
    assert torch.equal(run("pixel_shuffle", down, upscale_factor=2), x)


@pytest.mark.parametrize("size", [(6,), (4, 6), (2, 4, 6)])
def test_shuffles_see_the_block_that_a_position_comes_from_or_holds(size):
    for kind, options in (("pixel_shuffle", {"upscale_factor": 2}), ("pixel_unshuffle", {"downscale_factor": 2})):
        plan, module = built(kind, options, (8, *size))
        assert set(hulls(plan, module, (8, *size))) == {(True, True)}


def test_a_shuffle_keeps_the_dtype():
    assert LAYERS["pixel_shuffle"](upscale_factor=2).plan(Shape((4, 2, 2), "bool")).shape.dtype == "bool"


# --- max_unpool -----------------------------------------------------------------------------------------------------


def test_values_go_back_to_where_the_maxima_stood():
    """Prince 2023, figure 10.12: the positions of the maxima are kept, the rest is zero."""
    before = torch.tensor([[[[1.0, 7, 2, 0], [3, 4, 9, 1], [5, 0, 0, 0], [0, 2, 0, 6]]]])
    values = torch.tensor([[[[10.0, 20], [30, 40]]]])

    y = run("max_unpool", values, before, kernel_size=2)

    assert y[0, 0].tolist() == [[0, 10, 0, 0], [0, 0, 20, 0], [30, 0, 0, 0], [0, 0, 0, 40]]


@pytest.mark.parametrize("size", [(8,), (7, 8), (6, 7, 8)])
@pytest.mark.parametrize(
    "pool", [{"kernel_size": 2}, {"kernel_size": 3, "stride": 3, "padding": 1}, {"kernel_size": 2, "stride": 3}]
)
def test_it_is_what_torch_does_with_the_indices_of_the_pool(size, pool):
    rank = len(size)
    before = torch.randn(2, 3, *size, dtype=torch.float64)
    values, where = getattr(F, f"max_pool{rank}d")(before, **pool, return_indices=True)
    wanted = getattr(F, f"max_unpool{rank}d")(values, where, **pool, output_size=size)

    torch.testing.assert_close(run("max_unpool", values, before, **pool), wanted)


@pytest.mark.parametrize("size", [7, 8, 9])
def test_a_pool_that_rounded_up_is_undone_too(size):
    before = torch.arange(1.0, size + 1).view(1, 1, size)
    pooled = run("max_pool", before, kernel_size=2, ceil_mode=True)

    y = run("max_unpool", pooled, before, kernel_size=2)

    assert y.shape == before.shape
    assert y[y > 0].tolist() == pooled.flatten().tolist()


def test_gradient_reaches_the_values_and_not_what_was_pooled():
    before = torch.randn(1, 2, 6, requires_grad=True)
    values = torch.randn(1, 2, 3, requires_grad=True)
    weights = torch.arange(12.0).view(1, 2, 6)

    (run("max_unpool", values, before, kernel_size=2) * weights).sum().backward()

    assert before.grad is None
    pairs = before.detach().view(1, 2, 3, 2).argmax(-1)
    assert torch.equal(values.grad, weights.view(1, 2, 3, 2).gather(-1, pairs.unsqueeze(-1)).squeeze(-1))


@pytest.mark.parametrize(
    "pool", [{"kernel_size": 2}, {"kernel_size": 3, "stride": 2, "padding": 1}, {"kernel_size": 2, "stride": 3}]
)
def test_a_position_sees_the_values_of_the_windows_that_it_lies_under(pool):
    layer = LAYERS["max_unpool"](**pool)
    before = torch.rand(400, 1, 11, dtype=torch.float64)
    pooled = LAYERS["max_pool"](**pool).plan(Shape((1, 11))).shape
    plan, module = layer.plan(pooled, Shape((1, 11))), layer.module(pooled, Shape((1, 11)))

    found = [
        (planned_hull(plan, pooled, at)[0], seen[0])
        for at, seen in measured(plan, module, pooled, [before], 400)
        if seen
    ]

    assert all(low <= first and last <= high for (low, high), (first, last) in found)
    assert sum(hull == seen for hull, seen in found) >= 5


def test_an_encoder_and_its_decoder_see_what_the_values_saw():
    """The second input is looked at for its maxima alone: this is no merge, whose branches could be misaligned.

    The values see 8 positions from 2 * q - 3 on, with q = p // 2; a window that moves with p takes one more.
    """
    layers = [
        {"conv": {"out_channels": 1, "kernel_size": 3, "padding": 1}, "name": "stem"},
        {"max_pool": 2},
        {"conv": {"out_channels": 1, "kernel_size": 3, "padding": 1}},
        {"max_unpool": 2, "from": ["prev", "stem"]},
    ]
    graph = trace(experiment_of(json.dumps({"network": {"inputs": {"input": [1, 16]}, "layers": layers}})))

    assert graph.warnings == ()
    assert graph.by_name["conv_1"].receptive_field == ReceptiveField((8,), (2,), (-3,))
    assert graph.receptive_field == ReceptiveField((9,), (1,), (-4,))


def test_one_input_alone_is_refused_with_how_many_there_are():
    from dlx.errors import SpecError

    with pytest.raises(SpecError, match="`max_unpool` takes 2 inputs, and `from` names 1"):
        trace(experiment_of(json.dumps({"network": {"inputs": {"input": [1, 16]}, "layers": [{"max_unpool": 2}]}})))
