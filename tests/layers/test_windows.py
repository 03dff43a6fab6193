"""What a layer says it sees is what receives gradient."""

from math import floor

import pytest
import torch

from dlx.layers import LAYERS
from dlx.layers.base import Kept
from dlx.shapes import Reach, Shape, Window

STEPS = {"heaviside", "rect", "sign"}
"""Their gradient is 0 wherever they look."""
PARTLY = {"matmul", "scaled_dot_product_attention"}
"""They see all of one input, and a row of another."""


def has_window(kind):
    """Whether the example of a layer has positions that stay where they were, and values that a gradient reaches."""
    layer, xs, example = LAYERS[kind].worked_example()
    sees = layer.plan(*xs).window not in {"flat", "nothing", Kept(())}
    return example.dtype == "float" and sees and kind not in STEPS | PARTLY


EXAMPLES = [
    (kind, LAYERS[kind].example.options, LAYERS[kind].example.inputs) for kind in sorted(LAYERS) if has_window(kind)
]
MORE = [
    ("adaptive_avg_pool", {"output_size": 1}, [(2, 6, 5)]),
    ("adaptive_avg_pool", {"output_size": [None, 1]}, [(2, 6, 5)]),
    ("adaptive_max_pool", {"output_size": [5, 3]}, [(2, 7, 9)]),
    ("avg_pool", {"kernel_size": [3, 2], "stride": [2, 1], "padding": 1}, [(2, 9, 8)]),
    ("avg_pool", {"kernel_size": 3, "ceil_mode": True}, [(2, 5, 6, 7)]),
    ("batch_norm", {"track_running_stats": False}, [(2, 4, 5)]),
    ("conv", {"out_channels": 4, "kernel_size": 3, "stride": 2, "dilation": 2, "groups": 2}, [(4, 20)]),
    ("conv", {"out_channels": 4, "kernel_size": [4, 3], "padding": "same"}, [(2, 9, 9)]),
    ("conv", {"out_channels": 2, "kernel_size": 3, "stride": [1, 2, 3]}, [(2, 7, 8, 9)]),
    ("global_avg_pool", {"keepdim": True}, [(2, 7)]),
    ("linear", {"out_features": 3}, [(2, 4, 5)]),
    ("lp_pool", {"norm_type": 4, "kernel_size": 2}, [(2, 9)]),
    ("max_pool", {"kernel_size": 3, "stride": 2, "dilation": 2, "padding": 1}, [(2, 15)]),
    ("multiply", {}, [(2, 3, 4), (1, 3, 1)]),
    ("prelu", {}, [(2, 6)]),
    ("softmax", {"dim": -1}, [(2, 4, 5)]),
    ("slice", {"dim": 3, "start": 1, "stop": 6, "step": 2}, [(2, 3, 8)]),
    ("slice", {"dim": 2, "start": -3}, [(2, 6)]),
    ("split", {"sizes": [1, 4, 2], "index": 1, "dim": 2}, [(2, 7, 3)]),
    ("mean", {"dim": [1, 3], "keepdim": True}, [(2, 4, 5)]),
    ("mean", {"dim": 3}, [(2, 4, 5)]),
    ("max", {"dim": 2}, [(2, 4, 5)]),
    ("squeeze_excitation", {}, [(3, 4, 5)]),
]


AT_MOST = [
    ("concat", {"dim": 2}, [(2, 3, 5), (2, 4, 5)]),
    ("glu", {"dim": 2}, [(2, 6, 3)]),
    ("highway", {"kernel_size": 3}, [(2, 9), (2, 9)]),
    ("roll", {"shifts": [1, -1], "dims": [2, 1]}, [(2, 6)]),
    *((kind, LAYERS[kind].example.options, LAYERS[kind].example.inputs) for kind in sorted(PARTLY)),
]


def promised(plan, x, position, crop):
    """First and last position that output `position` sees on each axis of the input of shape `x`."""
    own = [(min(p + c, n - 1),) * 2 for p, c, n in zip(position, crop, x.size, strict=False)]
    if plan.window == "pointwise":
        return own
    if plan.window == "global":
        return [(0, n - 1) for n in x.size]
    if isinstance(plan.window, Window):
        reach = Reach.of_input(len(x.size)).through(plan.window)
        firsts = [floor(a + p * s) for a, p, s in zip(reach.start, position, reach.stride, strict=True)]
        return [(max(a, 0), min(a + z, n) - 1) for a, z, n in zip(firsts, reach.size, x.size, strict=True)]
    if isinstance(plan.window, Kept):
        at = {axis: min(p, x.size[axis] - 1) for axis, p in zip(plan.window.axes, position, strict=True)}
        return [(at[i], at[i]) if i in at else (0, n - 1) for i, n in enumerate(x.size)]
    return [(0, n - 1) if i in plan.window else own[i] for i, n in enumerate(x.size)]


def receives_gradient(x):
    """First and last position on each axis of x that any sample or channel has a gradient at."""
    if x.grad is None:
        return []
    hit = (x.grad != 0).flatten(0, 1).any(0).nonzero()
    if not len(hit):
        return []
    return list(zip(hit.amin(0).tolist(), hit.amax(0).tolist(), strict=True))


def seen_and_promised(kind, options, inputs):
    """For each input of the layer, what the middle position of the output sees of it: measured, and by the plan."""
    layer, xs = LAYERS[kind].model_validate(options), [Shape(x) for x in inputs]
    plan = layer.plan(*xs)
    generator = torch.Generator().manual_seed(0)
    module = layer.module(*xs).eval().double()
    for weight in module.parameters():
        torch.nn.init.uniform_(weight, 0.5, 1, generator=generator)
    given = [
        (2 * torch.randn(64, *x, dtype=torch.float64, generator=generator)).requires_grad_() for x in xs
    ]  # many samples, so that every position wins a maximum once
    middle = [n // 2 for n in plan.shape.size]

    module(*given)[(slice(None), slice(None), *middle)].pow(2).sum().backward()

    crops = plan.crops or [(0,) * len(x.size) for x in xs]
    told = [promised(plan, x, middle, crop) for x, crop in zip(xs, crops, strict=True)]
    told = [[] if i in plan.blind else seen for i, seen in enumerate(told)]
    return list(zip(map(receives_gradient, given), told, strict=True))


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel")  # torch on the memory it takes
@pytest.mark.parametrize(("kind", "options", "inputs"), EXAMPLES + MORE)
def test_what_a_window_says_it_sees_is_what_receives_gradient(kind, options, inputs):
    for seen, told in seen_and_promised(kind, options, inputs):
        assert seen == told


@pytest.mark.parametrize(("kind", "options", "inputs"), AT_MOST)
def test_nothing_outside_a_window_receives_gradient(kind, options, inputs):
    for seen, told in seen_and_promised(kind, options, inputs):
        for (first, last), (low, high) in zip(seen, told, strict=False):  # one input of a concat may receive nothing
            assert low <= first <= last <= high


@pytest.mark.parametrize(("n", "out"), [(7, 5), (5, 3), (12, 5), (3, 7), (10, 4), (2, 3), (6, 6)])
def test_uneven_adaptive_windows_are_told_by_the_largest(n, out):
    layer, x = LAYERS["adaptive_avg_pool"](output_size=out), Shape((1, n))
    plan, module = layer.plan(x), layer.module(x)

    widths = []
    for p in range(out):
        value = torch.zeros(1, *x, requires_grad=True)
        module(value)[0, 0, p].backward()
        ((first, last),) = receives_gradient(value)
        ((start, end),) = promised(plan, x, [p], [0])
        assert first == start
        assert last <= end
        widths.append(last - first + 1)
    assert max(widths) == plan.window.kernel[0]
