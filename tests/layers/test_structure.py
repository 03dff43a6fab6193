"""Parts, orders and axes of a signal: values by hand, what they leave of a receptive field, and what they refuse."""

import pytest
import torch
from helpers import contradiction, network_of, refusal
from pydantic import ValidationError

from dlx.layers import LAYERS
from dlx.network import build
from dlx.shapes import ReceptiveField, Shape


def run(kind, *values, **options):
    layer = LAYERS[kind].model_validate(options)
    return layer.module(*(Shape(v.shape[1:]) for v in values))(*values)


def counted(*axes):
    """0, 1, 2, ... as one sample with those axes."""
    return torch.arange(float(torch.Size(axes).numel())).view(1, *axes)


# --- parts ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "saved"),
    [
        ({}, [0, 1, 2, 3, 4, 5]),
        ({"start": 2}, [2, 3, 4, 5]),
        ({"stop": -4}, [0, 1]),
        ({"start": -3, "stop": -1}, [3, 4]),
        ({"start": 1, "stop": 6, "step": 2}, [1, 3, 5]),
        ({"stop": 5, "step": 3}, [0, 3]),
    ],
)
def test_a_slice_keeps_what_python_s_does(options, saved):
    plan = LAYERS["slice"](**options).plan(Shape((6,)))

    assert run("slice", counted(6), **options).tolist() == [saved]
    assert plan.shape == (len(saved),)


def test_a_slice_cuts_the_axis_that_it_is_reported():
    x = counted(2, 3)

    assert run("slice", x, dim=2, start=1).tolist() == [[[1, 2], [4, 5]]]
    assert run("slice", x, dim=1, start=1).tolist() == [[[3, 4, 5]]]
    assert run("slice", x, dim=-1, stop=1).tolist() == [[[0], [3]]]


def test_a_slice_of_positions_moves_the_receptive_field():
    graph = network_of(
        "[1, 20]", "- conv: {out_channels: 1, kernel_size: 3}\n- slice: {dim: 2, start: 4, stop: 14, step: 2}"
    )

    assert graph.receptive_field == ReceptiveField((3,), (2,), (4,))


def test_split_halves_the_channels_and_the_halves_make_the_whole():
    x = counted(4, 2)
    halves = [run("split", x, chunks=2, index=i) for i in (0, 1)]

    assert halves[1].tolist() == [[[4, 5], [6, 7]]]
    assert torch.equal(torch.cat(halves, 1), x)


def test_split_by_sizes_cuts_as_torch_does():
    x = counted(2, 7)

    pieces = [run("split", x, sizes=[1, 4, 2], index=i, dim=2) for i in range(3)]

    for piece, theirs in zip(pieces, x.split([1, 4, 2], dim=2), strict=True):
        assert torch.equal(piece, theirs)


def test_select_takes_one_token_and_loses_the_axis():
    x = counted(3, 2)

    assert run("select", x, index=0).tolist() == [[0, 1]]
    assert run("select", x, index=-1, dim=2).tolist() == [[1, 3, 5]]


# --- orders ---------------------------------------------------------------------------------------------------------


def test_permute_and_transpose_are_torch_s():
    x = counted(2, 3, 4)

    assert torch.equal(run("permute", x, dims=[2, 3, 1]), x.permute(0, 2, 3, 1))
    assert torch.equal(run("transpose", x), x.transpose(1, 2))
    assert torch.equal(run("transpose", x, dim0=2, dim1=-1), x.transpose(2, 3))


def test_axes_that_trade_places_take_their_receptive_field_along():
    conv = "- conv: {out_channels: 1, kernel_size: [5, 3], stride: [2, 1]}\n"

    assert network_of("[1, 9, 9]", conv + "- transpose: {dim0: 2, dim1: 3}").receptive_field.size == (5, 3)
    assert network_of("[1, 9, 9]", conv + "- mean: {dim: 2}").nodes[-1].receptive_field == ReceptiveField(
        (None, 3), (0, 1), (0, 0)
    )
    assert network_of("[1, 9, 9]", conv + "- mean: {dim: [2, 3]}").nodes[-1].receptive_field == "global"
    assert network_of("[4, 9]", "- transpose\n- conv: {out_channels: 1, kernel_size: 3}").receptive_field.size == (3,)


def test_roll_is_the_cyclic_shift_of_swin():
    x = counted(1, 4, 4)

    assert torch.equal(run("roll", x, shifts=[-1, -1], dims=[2, 3]), x.roll((-1, -1), (2, 3)))
    assert run("roll", counted(3), shifts=1).tolist() == [[2, 0, 1]]


def test_channel_shuffle_deals_the_groups_out():
    """Zhang et al. 2017, figure 1: (groups, n) transposed."""
    assert run("channel_shuffle", counted(6, 1), groups=3).flatten().tolist() == [0, 2, 4, 1, 3, 5]
    assert run("channel_shuffle", counted(6, 1, 1, 1), groups=2).flatten().tolist() == [0, 3, 1, 4, 2, 5]


def test_mean_and_max_work_along_any_axes():
    x = torch.tensor([[[1.0, 5.0], [3.0, -1.0]]])

    assert run("mean", x, dim=1).tolist() == [[2, 2]]
    assert run("mean", x, dim=[1, 2], keepdim=True).tolist() == [[[2]]]
    assert run("max", x, dim=1).tolist() == [[3, 5]]
    assert run("max", x, dim=[2], keepdim=True).tolist() == [[[5], [3]]]


# --- parameters and factors -----------------------------------------------------------------------------------------


def test_a_parameter_is_the_same_for_each_sample_and_learns():
    module = LAYERS["parameter"](shape=[2, 3], mean=0.5).module(Shape((7,)))
    y = module(torch.zeros(4, 7))
    y.sum().backward()

    assert y.shape == (4, 2, 3)
    assert (y == 0.5).all()
    assert module.value.grad.tolist() == [[4, 4, 4], [4, 4, 4]]


def test_a_parameter_can_begin_normal():
    torch.manual_seed(0)
    value = LAYERS["parameter"](shape=[100, 100], mean=1, std=0.02).module(Shape((1,))).value

    assert value.mean().item() == pytest.approx(1, abs=0.001)
    assert value.std().item() == pytest.approx(0.02, abs=0.001)


def test_the_init_of_a_spec_leaves_parameters_and_scales_alone():
    layers = "- parameter: {shape: [3, 8], mean: 2}\n- linear: 4\n- scale: {factor: 1.0e-6, learned: true, dim: 1}"
    torch.manual_seed(0)
    from dlx.init.he import HeNormal

    network = build(network_of("[8]", layers), HeNormal())

    assert (network.parameter_1.value == 2).all()
    assert (network.scale_1.weight == 1e-6).all()


TOKENS = """
    - conv: {out_channels: 8, kernel_size: 4, stride: 4}
      name: patches
    - parameter: {shape: [8, 1]}
      name: more
    - concat: {dim: 2}
      from: [more, patches]
"""


def test_a_parameter_sees_nothing_and_what_it_meets_sees_the_rest():
    added = network_of(
        "[3, 16]",
        """
        - conv: {out_channels: 8, kernel_size: 4, stride: 4}
          name: patches
        - parameter: {shape: [8, 4]}
          name: place
        - add:
          from: [patches, place]
        """,
    )

    assert added.by_name["place"].receptive_field == "nothing"
    assert added.by_name["place"].as_json()["receptive_field"] is None
    assert (
        added.by_name["add_1"].receptive_field
        == added.by_name["patches"].receptive_field
        == ReceptiveField((4,), (4,), (0,))
    )
    assert added.receptive_field == ReceptiveField((4,), (4,), (0,))
    assert added.warnings == ()
    assert network_of("[3, 16]", TOKENS).by_name["concat_1"].receptive_field == ReceptiveField((4,), (4,), (-4,))


def test_what_is_made_of_parameters_alone_sees_nothing_either():
    layers = "- {parameter: {shape: [4, 6]}, name: a}\n- {parameter: {shape: [4, 6]}, name: b, from: image}\n"
    graph = network_of(
        "{image: [3, 16]}", layers + "- {add: , from: [a, b]}\n- conv: {out_channels: 1, kernel_size: 3}"
    )

    assert {node.receptive_field for node in graph.nodes} == {"nothing"}
    assert graph.receptive_field is None


def test_no_gradient_reaches_the_input_through_a_parameter():
    graph = network_of("[3, 16]", TOKENS)
    x = torch.randn(2, 3, 16, requires_grad=True)
    build(graph)(x)[:, :, 0].sum().backward()

    assert x.grad is None or not x.grad.any()


def test_a_layer_scale_is_a_factor_for_each_channel():
    x = torch.ones(1, 2, 3, 3)
    scale = LAYERS["scale"](factor=0.5, learned=True, dim=1).module(Shape((2, 3, 3)))
    tokens = LAYERS["scale"](factor=0.5, learned=True, dim=-1).module(Shape((4, 2)))
    with torch.no_grad():
        scale.weight.copy_(torch.tensor([2.0, 3.0]))
        tokens.weight.copy_(torch.tensor([2.0, 3.0]))

    assert scale(x)[0, :, 1, 2].tolist() == [2, 3]
    assert tokens(torch.ones(1, 4, 2))[0, 3].tolist() == [2, 3]


def test_a_fixed_scale_holds_nothing():
    layer = LAYERS["scale"](factor=0.5)

    assert layer.plan(Shape((3,))).params == 0
    assert run("scale", torch.tensor([[1.0, 2.0]]), factor=0.5).tolist() == [[0.5, 1]]
    assert LAYERS["scale"](factor=1, learned=True).plan(Shape((3, 4))).params == 1


def test_scaled_residual_blocks_keep_the_variance():
    """Prince 2023, figure 11.6: it doubles with each block, and stays with a factor of 1/sqrt(2)."""
    from dlx.init.he import HeNormal

    block = """
        - repeat:
            times: 6
            layers:
              - residual: {layers: [relu, {linear: {out_features: 1000, bias: false}}]}
              - scale: SCALE
    """
    torch.manual_seed(0)
    x = torch.randn(64, 1000)
    plain = build(network_of("[1000]", block.replace("SCALE", "1")), HeNormal())(x).var().item()
    scaled = build(network_of("[1000]", block.replace("SCALE", "'${0.5 ** 0.5}'")), HeNormal())(x).var().item()

    assert plain == pytest.approx(2**6, rel=0.2)
    assert scaled == pytest.approx(1, rel=0.2)


# --- refusals -------------------------------------------------------------------------------------------------------

REFUSED = [
    (
        ("slice", {"dim": 2, "start": 4}, [(8, 4)]),
        "slice keeps nothing, or more than there is: from 4 to the end of the 4 values on axis 2 of (8, 4)",
        "Let 0 <= start < stop <= 4; numbers below 0 count from the end.",
    ),
    (
        ("slice", {"start": 2, "stop": 9}, [(8,)]),
        "slice keeps nothing, or more than there is: from 2 to 9 of the 8 values on axis 1 of (8,)",
        "Let 0 <= start < stop <= 8; numbers below 0 count from the end.",
    ),
    (
        ("select", {"index": 3}, [(3, 8)]),
        "select takes index 3 of axis 1 of (3, 8), which has 3 entries",
        "They are 0 to 2; -1 is the last.",
    ),
    (
        ("select", {"index": 0}, [(8,)]),
        "select loses an axis, and (8,) has only one",
        "`- slice` keeps a single value too.",
    ),
    (
        ("split", {"chunks": 4, "index": 0}, [(6, 8)]),
        "the 6 values on axis 1 of (6, 8) do not split into chunks = 4",
        "3 would do; or give the `sizes`.",
    ),
    (
        ("split", {"sizes": [2, 3], "index": 0}, [(6, 8)]),
        "sizes = [2, 3] add up to 5, and axis 1 of (6, 8) has 6 values",
        "They must add up to 6; `- slice` leaves values out.",
    ),
    (
        ("permute", {"dims": [2, 1]}, [(3, 8, 8)]),
        "permute has dims = [2, 1], which are not the 3 axes of (3, 8, 8) in another order",
        "Name each of 1, 2, 3 once; the batch is axis 0.",
    ),
    (
        ("permute", {"dims": [0, 1]}, [(3, 8)]),
        "permute has dim = 0, and the axes of (3, 8) are 1 to 2: the batch is axis 0",
        "1 is the channels, or the features of a vector; -1 is the last axis.",
    ),
    (
        ("roll", {"shifts": [1, 2], "dims": [2]}, [(3, 8)]),
        "roll has shifts = [1, 2] for dims = [2]",
        "Give one shift for each of `dims`.",
    ),
    (
        ("channel_shuffle", {"groups": 3}, [(8, 5)]),
        "the 8 channels of (8, 5) do not split into groups = 3",
        "Pick a divisor of 8.",
    ),
    (
        ("channel_shuffle", {"groups": 2}, [(8,)]),
        "channel_shuffle wants channels and positions, and (8,) has no positions",
        "`- reshape: [-1, 1]` gives a vector one position.",
    ),
    (
        ("mean", {"dim": [1, -2]}, [(3, 8)]),
        "mean has dim = [1, -2], which names an axis of (3, 8) twice",
        "Name it once.",
    ),
    (
        ("max", {"dim": [1, 2]}, [(3, 8)]),
        "max over dim = [1, 2] leaves no axis of (3, 8)",
        "Add `keepdim: true`, which leaves an axis of one value.",
    ),
]


@pytest.mark.parametrize(("case", "message", "hint"), REFUSED, ids=lambda v: v[0] if isinstance(v, tuple) else "")
def test_a_shape_that_does_not_fit_is_refused_with_a_way_out(case, message, hint):
    assert refusal(*case) == (message, hint)


@pytest.mark.parametrize(
    ("kind", "options", "sentence"),
    [
        ("split", {"index": 0}, "`split` wants either `chunks` or `sizes`"),
        ("split", {"chunks": 2, "sizes": [1, 1], "index": 0}, "`split` wants either `chunks` or `sizes`"),
        ("split", {"chunks": 2, "index": 2}, "`index` = 2 is none of the 2 pieces: the first is 0"),
        ("split", {"sizes": [1, 0], "index": 0}, "`sizes` holds two numbers above 0 or more, not [1, 0]"),
        (
            "scale",
            {"factor": 1, "dim": 1},
            "`dim` gives each value on an axis a factor of its own, which only `learned: true` can have",
        ),
    ],
)
def test_fields_that_contradict_each_other_are_refused(kind, options, sentence):
    assert contradiction(kind, options) == sentence


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("slice", {"step": 0}),
        ("slice", {"start": 0.5}),
        ("split", {"chunks": 2, "index": -1}),
        ("parameter", {"shape": []}),
        ("parameter", {"shape": [3, 0]}),
        ("parameter", {"shape": [3], "std": -1}),
        ("scale", {}),
        ("mean", {"dim": []}),
        ("channel_shuffle", {"groups": 0}),
    ],
)
def test_fields_outside_their_bounds_are_refused(kind, options):
    with pytest.raises(ValidationError):
        LAYERS[kind].model_validate(options)
