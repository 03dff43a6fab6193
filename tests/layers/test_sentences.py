"""Every refusal of a layer, read in full: what is wrong, and the way out."""

import pytest
from helpers import contradiction, refusal
from pydantic import ValidationError

from dlx.errors import ShapeError
from dlx.layers import LAYERS
from dlx.shapes import Shape

REFUSED = [
    (
        ("conv", {"out_channels": 8, "kernel_size": 3, "groups": 2}, [(3, 8, 8)]),
        "3 input channels do not split into groups = 2",
        "Pick a divisor of 3, or drop `groups`.",
    ),
    (
        ("conv", {"out_channels": 3, "kernel_size": 3, "groups": 2}, [(4, 8, 8)]),
        "3 output channels do not split into groups = 2",
        "Pick a divisor of 3, or drop `groups`.",
    ),
    (
        ("conv", {"out_channels": 8, "kernel_size": 3, "stride": 2, "padding": "same"}, [(3, 8, 8)]),
        'padding "same" keeps the size, stride 2x2 shrinks it',
        "Give it in numbers, 1x1 for this kernel, or put a `pad_same` before it.",
    ),
    (
        ("conv", {"out_channels": 8, "kernel_size": 5, "padding": 2, "padding_mode": "reflect"}, [(3, 2, 8)]),
        "padding_mode reflect takes its 2x2 padded positions from an input of 2x8, which is too small",
        'Pad less, or use padding_mode "zeros" or "replicate".',
    ),
    (
        ("conv", {"out_channels": 8, "kernel_size": 5}, [(3, 4, 4)]),
        "a window of 5x5 is larger than its input of 4x4",
        "Take a smaller kernel, dilation or earlier stride, or more padding.",
    ),
    (
        ("conv", {"out_channels": 8, "kernel_size": 3, "dilation": 4, "padding": 1}, [(3, 4)]),
        "a window of 9 is larger than its input of 4 padded to 6",
        "Take a smaller kernel, dilation or earlier stride, or more padding.",
    ),
    (
        ("conv", {"out_channels": 8, "kernel_size": [3, 3]}, [(3, 8)]),
        "kernel_size = [3, 3] has 2 values for an input with 1 axis of positions",
        "Give one number.",
    ),
    (
        ("conv", {"out_channels": 8, "kernel_size": [3]}, [(3, 8, 8)]),
        "kernel_size = [3] has 1 value for an input with 2 axes of positions",
        "Give one number, or 2 of them.",
    ),
    (
        ("conv", {"out_channels": 8, "kernel_size": 3}, [(40,)]),
        "conv slides over positions, and (40,) has none",
        (
            "It wants (channels, length), (channels, height, width) or (channels, depth, height, width); "
            "`- reshape: [1, -1]` makes one from a vector."
        ),
    ),
    (
        ("max_pool", {"kernel_size": 2}, [(3, 8, 8, 8, 8)]),
        "max_pool slides over positions, and (3, 8, 8, 8, 8) has 4 axes of them",
        "It wants (channels, length), (channels, height, width) or (channels, depth, height, width).",
    ),
    (
        ("max_pool", {"kernel_size": 3, "padding": 2}, [(3, 8, 8)]),
        "max_pool has padding 2x2, more than half of its kernel of 3x3",
        "A window must not stand on padding alone: pad at most half the kernel.",
    ),
    (
        ("max_pool", {"kernel_size": 2, "stride": 1, "padding": 1, "dilation": 2}, [(3, 1, 8)]),
        (
            "max_pool has taps 2x2 positions apart, which step over the whole of (3, 1, 8) where the window stands "
            "in the padding of 1x1"
        ),
        "Take a smaller dilation, or no padding.",
    ),
    (
        ("layer_norm", {"over": 3, "elementwise_affine": False}, [(4, 8)]),
        "layer_norm goes over the last 3 axes, and (4, 8) has 2",
        "Give `over` a number up to 2.",
    ),
    (
        ("weight_norm", {"layer": "subtract"}, [(4, 8)]),
        "weight_norm wraps a layer of one input, and subtract takes several",
        "Wrap its parts.",
    ),
    (
        ("avg_pool", {"kernel_size": 3, "padding": 1}, [(3, 2, 8, 8)]),
        "avg_pool has a kernel of 3x3x3, larger than (3, 2, 8, 8); torch counts no padding here",
        "Take a smaller kernel.",
    ),
    (
        ("adaptive_avg_pool", {"output_size": [3, 3]}, [(3, 8)]),
        "output_size = [3, 3] has 2 values for an input with 1 axis of positions",
        "Give one number.",
    ),
    (
        ("flatten", {"start_dim": 2, "end_dim": 1}, [(3, 8)]),
        "flatten starts at axis 2 and ends at axis 1 of (3, 8)",
        "Give a start_dim that comes before end_dim; the batch is axis 0.",
    ),
    (
        ("flatten", {"start_dim": 0}, [(3, 8)]),
        "flatten has dim = 0, and the axes of (3, 8) are 1 to 2: the batch is axis 0",
        "1 is the channels, or the features of a vector; -1 is the last axis.",
    ),
    (
        ("softmax", {"dim": 2}, [(3,)]),
        "softmax has dim = 2, and (3,) has only axis 1: the batch is axis 0",
        "1 is the channels, or the features of a vector; -1 is the last axis.",
    ),
    (
        ("concat", {"dim": 4}, [(3, 8), (3, 8)]),
        "concat has dim = 4, and the axes of (3, 8) are 1 to 2: the batch is axis 0",
        "1 is the channels, or the features of a vector; -1 is the last axis.",
    ),
    (
        ("reshape", {"shape": [5, -1]}, [(3, 4)]),
        "(3, 4) holds 12 values, which do not fill (5, -1)",
        "The axes must multiply to as many values; write -1 for the one to be worked out.",
    ),
    (
        ("batch_norm", {}, [(3, 2, 2, 2, 2)]),
        "batch_norm takes channels and up to three axes of positions, and (3, 2, 2, 2, 2) has 4 of them",
        "`- reshape` joins axes.",
    ),
    (
        ("prelu", {"num_parameters": 3}, [(4, 8)]),
        "prelu has num_parameters = 3 slopes for the 4 channels of (4, 8)",
        "Give 1, or 4: `${x.channels}`.",
    ),
    (
        ("glu", {}, [(5, 8)]),
        "glu halves axis 1 of (5, 8), whose 5 values do not split in two",
        "Make it 6 in the layer before.",
    ),
    (
        ("add", {}, [(64, 8, 8), (32, 8, 8)]),
        "add joins (64, 8, 8) with (32, 8, 8): channels 64 and 32 differ",
        "`conv: {out_channels: 64, kernel_size: 1}` brings the second to 64 channels.",
    ),
    (
        ("add", {}, [(64,), (32,)]),
        "add joins (64,) with (32,): features 64 and 32 differ",
        "`linear: 64` brings the second to 64 features.",
    ),
    (
        ("multiply", {}, [(64, 8, 8), (64,)]),
        "multiply joins (64, 8, 8) with (64,): 3 and 1 axes do not match",
        "`- reshape` gives one the axes of the other, as in [64, 1, 1] beside [64, 8, 8].",
    ),
    (
        ("add", {}, [(64, 8, 8), (64, 1, 1), (64, 8, 7)]),
        "add joins (64, 8, 8) with (64, 8, 7): sizes 8x8 and 8x7 differ",
        "Pad or pool one to the size of the other, or take a branch that is 8x8.",
    ),
    (
        ("concat", {}, [(256, 40, 40), (512, 20, 20)]),
        "concat joins (256, 40, 40) with (512, 20, 20): sizes 40x40 and 20x20 differ",
        "Upsample the smaller by 2, or take a branch that is 40x40, or add `crop: center`.",
    ),
    (
        ("concat", {"dim": 2, "crop": "center"}, [(8, 5), (4, 5)]),
        "concat joins (8, 5) with (4, 5): channels 8 and 4 differ",
        "`conv: {out_channels: 8, kernel_size: 1}` brings the second to 8 channels.",
    ),
]


@pytest.mark.parametrize(("case", "message", "hint"), REFUSED, ids=lambda v: v[0] if isinstance(v, tuple) else "")
def test_a_shape_that_does_not_fit_is_refused_with_a_way_out(case, message, hint):
    assert refusal(*case) == (message, hint)


TAKES_ANYTHING = {
    "add",
    "channel_shuffle",
    "concat",
    "crop",
    "flatten",
    "identity",
    "multiply",
    "permute",
    "pixel_shuffle",
    "pixel_unshuffle",
    "reshape",
    "reverse_channels",
    "roll",
    "select",
    "slice",
    "split",
    "transpose",
}
GIVES_FLOATS = {"alibi", "constant", "parameter", "relative_attention_bias", "to_float"}
"""Whatever comes in."""
WRAPPERS = {"drop_connect", "spectral_norm", "weight_norm"}
"""The layer inside speaks."""


@pytest.mark.parametrize("kind", sorted(set(LAYERS) - TAKES_ANYTHING - GIVES_FLOATS - WRAPPERS))
def test_integers_are_refused_where_floats_are_needed(kind):
    layer, xs, example = LAYERS[kind].worked_example()
    x, *_ = xs
    if set(example.dtypes) != {"float"}:
        return

    with pytest.raises(ShapeError) as refusal:
        layer.plan(*(Shape(x, "int") for x in xs))

    problem = refusal.value.problem_for([str(x) for x in xs])
    assert problem.message == f"{kind} computes with floats, and {x} holds values of dtype int"
    assert problem.hint == f"Declare the input as `{{shape: {list(x)}, dtype: float}}`, or turn it into floats first."


@pytest.mark.parametrize("kind", sorted(TAKES_ANYTHING))
def test_integers_stay_integers_where_nothing_is_computed_with_them(kind):
    layer, xs, _ = LAYERS[kind].worked_example()

    assert layer.plan(*(Shape(x, "int") for x in xs)).shape.dtype == "int"


@pytest.mark.parametrize("kind", ["add", "average", "concat", "maximum", "multiply", "weighted_add"])
def test_a_merge_of_two_dtypes_is_refused(kind):
    xs = [Shape((4, 8)), Shape((4, 8)), Shape((4, 8), "int")]

    with pytest.raises(ShapeError) as refusal:
        LAYERS[kind]().plan(*xs)

    problem = refusal.value.problem_for(["`a`", "`b`", "`c`"])
    assert problem.message == f"{kind} joins `a` with `c`: dtypes float and int differ"
    assert problem.hint == "Embed integers, or turn them into floats, before they meet floats."


@pytest.mark.parametrize(
    ("kind", "options", "sentence"),
    [
        ("rrelu", {"lower": 0.5, "upper": 0.1}, "`lower` = 0.5 is above `upper` = 0.1"),
        ("hardtanh", {"min_val": 1, "max_val": 1}, "`min_val` = 1.0 is not below `max_val` = 1.0"),
        (
            "reshape",
            {"shape": [2, 0]},
            "`shape` holds numbers above 0, and at most one -1 for what is left, not [2, 0]",
        ),
        (
            "reshape",
            {"shape": [-1, -1]},
            "`shape` holds numbers above 0, and at most one -1 for what is left, not [-1, -1]",
        ),
    ],
)
def test_fields_that_contradict_each_other_are_refused(kind, options, sentence):
    assert contradiction(kind, options) == sentence


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("batch_norm", {"momentum": 1.5}),
        ("batch_norm", {"eps": 0}),
        ("celu", {"alpha": 0}),
        ("concat", {"crop": "top"}),
        ("conv", {"out_channels": 0, "kernel_size": 3}),
        ("conv", {"out_channels": 8, "kernel_size": [3, 0]}),
        ("conv", {"out_channels": 8, "kernel_size": 3, "padding": -1}),
        ("dropout", {"p": 1.1}),
        ("dropout", {"p": float("nan")}),
        ("gelu", {"approximate": "fast"}),
        ("linear", {"out_features": 0}),
        ("linear", {"out_features": True}),
        ("lp_pool", {"norm_type": 0, "kernel_size": 2}),
        ("relu", {"inplace": True}),
        ("softplus", {"beta": 0}),
        ("softshrink", {"lambd": -1}),
        ("threshold", {"threshold": 1}),
    ],
)
def test_fields_outside_their_bounds_are_refused(kind, options):
    with pytest.raises(ValidationError):
        LAYERS[kind].model_validate(options)
