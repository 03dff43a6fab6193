"""What a layer says it sees is what receives gradient."""

import pytest
import torch

from dlx.graph.graph import Wire
from dlx.graph.receptive_field import propagation
from dlx.layers import LAYERS
from dlx.shapes import Shape

STEPS = {"heaviside", "rect", "sign"}
"""Their gradient is 0 wherever they look."""
TURNED = {"flatten", "masked_pool", "max", "mean", "permute", "reshape", "select", "sum", "transpose", "vector_norm"}
"""Their output has its channels on another axis; each value of it is followed on all axes."""
PARTLY = {"matmul", "scaled_dot_product_attention", "deformable_conv", "graph_conv", "graph_attention"}
PARTLY |= {"rotary_embedding", "linear_attention"}
"""Their output sees all channels of one input, and one channel of another, or a pair; or wherever offsets or edges
lead."""
NOTHING = {"parameter", "constant", "alibi", "relative_attention_bias"}
"""Their output sees nothing."""


def has_gradient(kind):
    """Whether the example of a layer has values that a gradient reaches."""
    return set(LAYERS[kind].example.dtypes) == {"float"} and kind not in STEPS | PARTLY | NOTHING


EXAMPLES = [
    (kind, LAYERS[kind].example.options, LAYERS[kind].example.inputs) for kind in sorted(LAYERS) if has_gradient(kind)
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
    ("slice", {"dim": 1, "start": 1, "stop": 6, "step": 2}, [(8, 3)]),
    ("split", {"sizes": [1, 4, 2], "index": 1}, [(7, 3)]),
    ("select", {"index": -2, "dim": 2}, [(2, 5, 3)]),
    ("concat", {}, [(2, 3), (4, 3), (1, 3)]),
    ("flatten", {"start_dim": 2}, [(2, 3, 4)]),
    ("reshape", {"shape": [4, 3, 2]}, [(2, 12)]),
    ("permute", {"dims": [3, 1, 2]}, [(2, 3, 4)]),
    ("depthwise_conv", {"kernel_size": 3, "multiplier": 2}, [(3, 9)]),
    ("rnn", {"hidden_size": 3, "return_sequences": False}, [(4, 2), (3,)]),
    ("multihead_attention", {"num_heads": 2}, [(3, 4), (5, 6)]),
    *((kind, LAYERS[kind].example.options, LAYERS[kind].example.inputs) for kind in sorted(PARTLY)),
]


def seen_of(plan, xs):
    """What the output of a layer sees of each axis of each input, by its plan."""
    wires = [Wire(f"x{i}", x, propagation.of_input(f"x{i}", x)) for i, x in enumerate(xs)]
    message = propagation.propagate(wires, plan, "it").symbolic_fields
    return [message[f"x{i}"].axes if f"x{i}" in message else None for i in range(len(xs))]


def promised(plan, xs, place):
    """First and last entry that the output at `place` sees on each axis of each input, cut to it."""

    def cut(span, n):
        first, last = span.at(place) or (0, n - 1)
        return max(first, 0), min(last, n - 1)

    return [[] if spans is None else list(map(cut, spans, x)) for spans, x in zip(seen_of(plan, xs), xs, strict=True)]


def receives_gradient(x):
    """First and last entry on each axis of x that any sample has a gradient at."""
    hit = (x.grad != 0).any(0).nonzero() if x.grad is not None else []
    return list(zip(hit.amin(0).tolist(), hit.amax(0).tolist(), strict=True)) if len(hit) else []


def seen_and_promised(kind, options, inputs, channel):
    """For each input of the layer, what the middle of the output sees of it: measured, and by the plan.

    In one channel of the output, or with `slice(None)` in all of them.
    """
    layer, xs = LAYERS[kind].model_validate(options), [Shape(x) for x in inputs]
    plan = layer.plan(*xs)
    generator = torch.Generator().manual_seed(0)
    module = layer.module(*xs).eval().double()
    for weight in module.parameters():
        torch.nn.init.uniform_(weight, 0.5, 1, generator=generator)
    tensors = [
        (2 * torch.randn(64, *x, dtype=torch.float64, generator=generator)).requires_grad_() for x in xs
    ]  # many samples, so that every position wins a maximum once
    middle = [n // 2 for n in plan.shape]

    module(*tensors)[(slice(None), middle[0] if channel is None else channel, *middle[1:])].pow(2).sum().backward()

    return list(zip(map(receives_gradient, tensors), promised(plan, xs, middle), strict=True))


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel")  # torch on the memory it takes
@pytest.mark.parametrize(("kind", "options", "inputs"), EXAMPLES + MORE)
def test_what_a_window_says_it_sees_is_what_receives_gradient(kind, options, inputs):
    channel = None if kind in TURNED else slice(None)
    for seen, message in seen_and_promised(kind, options, inputs, channel):
        assert seen[channel is not None :] == message[channel is not None :]


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel")
@pytest.mark.parametrize(("kind", "options", "inputs"), AT_MOST + EXAMPLES + MORE)
def test_nothing_outside_a_window_receives_gradient(kind, options, inputs):
    for seen, message in seen_and_promised(kind, options, inputs, None):
        assert message or not seen
        for (first, last), (low, high) in zip(
            seen, message, strict=False
        ):  # one input of a concat may receive nothing
            assert low <= first <= last <= high


@pytest.mark.parametrize(("n", "out"), [(7, 5), (5, 3), (12, 5), (3, 7), (10, 4), (2, 3), (6, 6)])
def test_uneven_adaptive_windows_are_reported_by_the_largest(n, out):
    layer, x = LAYERS["adaptive_avg_pool"](output_size=out), Shape((1, n))
    plan, module = layer.plan(x), layer.module(x)

    widths = []
    for p in range(out):
        value = torch.zeros(1, *x, requires_grad=True)
        module(value)[0, 0, p].backward()
        _, (first, last) = receives_gradient(value)
        ((_, (start, end)),) = promised(plan, [x], [0, p])
        assert first == start
        assert last <= end
        widths.append(last - first + 1)
    assert max(widths) == plan.window.kernel[0]
