"""Any size, kernel, stride, padding, dilation: the plan has torch's shape, or both refuse."""

import warnings

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dlx.errors import ShapeError
from dlx.layers import LAYERS
from dlx.shapes import Shape

often = settings(max_examples=400, deadline=None)
a_few = settings(max_examples=150, deadline=None)


def planned(layer, *xs):
    try:
        return tuple(layer.plan(*xs).shape)
    except ShapeError:
        return None


def in_torch(layer, *xs, device="meta"):
    try:
        with torch.device(device), warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Using padding='same' with even kernel lengths")
            shape = tuple(layer.module(*xs)(*(torch.zeros(2, *x) for x in xs)).shape[1:])
        return shape if all(shape) else None  # torch 2.11 gives nothing at all on the meta device where 2.13 refuses
    except (RuntimeError, ValueError, IndexError, ShapeError):
        return None


def extents(rank, low, high):
    """One number, or one for each axis."""
    number = st.integers(low, high)
    return number | st.lists(number, min_size=rank, max_size=rank)


@st.composite
def signals(draw):
    rank = draw(st.integers(1, 3))
    return Shape((draw(st.integers(1, 4)), *(draw(st.integers(1, 12)) for _ in range(rank))))


@often
@given(st.data())
def test_conv_has_the_size_of_torch(data):
    x = data.draw(signals())
    rank = len(x.size)
    options = {
        "out_channels": data.draw(st.integers(1, 4)),
        "kernel_size": data.draw(extents(rank, 1, 5)),
        "stride": data.draw(extents(rank, 1, 4)),
        "padding": data.draw(extents(rank, 0, 4) | st.sampled_from(["same", "valid"])),
        "dilation": data.draw(extents(rank, 1, 3)),
        "groups": data.draw(st.sampled_from([1, 1, 1, 2, 3])),
        "padding_mode": data.draw(st.sampled_from(["zeros", "zeros", "reflect", "replicate", "circular"])),
    }
    layer = LAYERS["conv"].model_validate(options)

    assert planned(layer, x) == in_torch(layer, x)


@often
@given(st.data())
def test_max_pool_has_the_size_of_torch(data):
    x = data.draw(signals())
    rank = len(x.size)
    options = {
        "kernel_size": data.draw(extents(rank, 1, 5)),
        "stride": data.draw(st.none() | extents(rank, 1, 4)),
        "padding": data.draw(extents(rank, 0, 2)),
        "dilation": data.draw(extents(rank, 1, 3)),
        "ceil_mode": data.draw(st.booleans()),
    }
    layer = LAYERS["max_pool"].model_validate(options)
    wanted = in_torch(layer, x)
    if wanted and layer.module(x)(torch.zeros(1, *x)).isinf().any():
        wanted = None  # the largest of no value at all, whose gradient torch writes anywhere

    assert planned(layer, x) == wanted


@often
@given(st.data())
def test_avg_pool_has_the_size_of_torch(data):
    x = data.draw(signals())
    rank = len(x.size)
    options = {
        "kernel_size": data.draw(extents(rank, 1, 5)),
        "stride": data.draw(st.none() | extents(rank, 1, 4)),
        "padding": data.draw(extents(rank, 0, 2)),
        "ceil_mode": data.draw(st.booleans()),
        "count_include_pad": data.draw(st.booleans()),
    }
    layer = LAYERS["avg_pool"].model_validate(options)

    assert planned(layer, x) == in_torch(layer, x)


@a_few
@given(st.data())
def test_lp_pool_has_the_size_of_torch(data):
    x = data.draw(signals())
    rank = len(x.size)
    options = {
        "norm_type": data.draw(st.sampled_from([1, 2, 3.5])),
        "kernel_size": data.draw(extents(rank, 1, 5)),
        "stride": data.draw(st.none() | extents(rank, 1, 4)),
        "ceil_mode": data.draw(st.booleans()),
    }
    layer = LAYERS["lp_pool"].model_validate(options)

    assert planned(layer, x) == in_torch(layer, x)


@a_few
@given(st.data(), st.sampled_from(["adaptive_avg_pool", "adaptive_max_pool"]))
def test_adaptive_pools_have_the_size_of_torch(data, kind):
    x = data.draw(signals())
    size = st.integers(1, 9)
    output_size = data.draw(size | st.lists(size | st.none(), min_size=1, max_size=3))
    layer = LAYERS[kind].model_validate({"output_size": output_size})

    assert planned(layer, x) == in_torch(layer, x)


@a_few
@given(st.lists(st.integers(1, 6), min_size=1, max_size=4), st.integers(-5, 5), st.integers(-5, 5))
def test_axes_are_counted_as_torch_does_with_the_batch_as_axis_0(axes, one, other):
    x = Shape(axes)
    if 0 not in {one, other} and -len(x) - 1 not in {one, other}:
        flatten = LAYERS["flatten"](start_dim=one, end_dim=other)
        assert planned(flatten, x) == in_torch(flatten, x, device="cpu")
        for kind in ("softmax", "log_softmax", "softmin", "glu"):
            layer = LAYERS[kind](dim=one)
            assert planned(layer, x) == in_torch(layer, x, device="cpu")  # on meta softmax takes any dim


@a_few
@given(
    st.lists(st.integers(1, 6), min_size=1, max_size=4), st.lists(st.sampled_from([-1, 1, 2, 3, 4, 6]), min_size=1)
)
def test_reshape_fills_the_shapes_that_torch_fills(axes, wanted):
    if wanted.count(-1) < 2:
        layer = LAYERS["reshape"](shape=wanted)
        assert planned(layer, Shape(axes)) == in_torch(layer, Shape(axes))


small_images = st.tuples(*[st.sampled_from([1, 1, 2, 3])] * 3).map(Shape)


@a_few
@given(st.lists(small_images, min_size=2, max_size=4), st.sampled_from(["add", "multiply"]))
def test_merges_stretch_axes_of_length_1_as_torch_does(xs, kind):
    layer = LAYERS[kind]()

    assert planned(layer, *xs) == in_torch(layer, *xs)


@a_few
@given(st.lists(small_images, min_size=2, max_size=4), st.sampled_from([1, 2, 3, -1, -2, -3]), st.booleans())
def test_concat_joins_what_torch_joins(xs, dim, crop):
    layer = LAYERS["concat"](dim=dim, crop="center" if crop else None)

    assert planned(layer, *xs) == in_torch(layer, *xs)
