"""Every shipped spec against torch: parameters, buffers, shapes, multiply-adds, and which inputs receive gradient."""

import pytest
import torch
from helpers import ONE_NETWORK, SHIPPED
from torch.utils.flop_counter import FlopCounterMode

from dlx.graph import trace
from dlx.layers.measure import DTYPES
from dlx.network import build
from dlx.shapes import ReceptiveField
from dlx.spec import load

N = 2
SMALL = 40_000_000
"""MACs up to which gradients are followed."""

OF_VALUES = ("zoo/mixture-of-experts",)
"""Where the tokens go depends on values, of which the meta device has none."""
ONCE_A_BATCH = {"zoo/swin_v2_t": (2 * 8 - 1) ** 2 * 512 * sum(2 + h for h in 2 * [3] + 2 * [6] + 6 * [12] + 2 * [24])}
"""MACs that are of no sample: the networks of 2 -> 512 -> heads that make the position biases of 12 blocks."""


class Recorder(torch.fx.Interpreter):
    """Runs a network and keeps what each node gives."""

    def __init__(self, network):
        super().__init__(network, garbage_collect_values=False)
        self.values = {}

    def run_node(self, node):
        self.values[node.name] = super().run_node(node)
        return self.values[node.name]


def inputs_of(graph, make):
    return [make((N, *x), getattr(torch, DTYPES[x.dtype])) for x in graph.inputs.values()]


def zeros(shape, dtype):
    return torch.zeros(shape, dtype=dtype)


@pytest.mark.parametrize("name", ONE_NETWORK)
def test_the_plan_is_what_torch_builds_and_counts(name):
    graph = trace(load(SHIPPED[name]))
    with torch.device("cpu" if name in OF_VALUES else "meta"):
        network = build(graph).eval()
        recorder = Recorder(network)
        with FlopCounterMode(display=False) as flops:  # it looks at each call, and a network is drawn by thousands
            recorder.run(*inputs_of(graph, zeros))
    shapes = {node.name: (N, *node.shape) for node in graph.nodes}

    def value(node):
        """Of a layer of several results its `output`: the layer itself gives them as one tensor."""
        name = node.replace("/", "_").replace(".", "_")
        return recorder.values.get(f"{name}_output", recorder.values[name])

    assert {node: tuple(value(node).shape) for node in shapes} == shapes
    learned = len(graph.of_objective)  # numbers that the objective learns, beside those of the network
    assert sum(p.numel() for p in network.parameters()) + learned == graph.params
    assert sum(p.numel() for p in network.parameters() if p.requires_grad) + learned == graph.trainable
    assert sum(b.numel() for b in network.buffers()) == graph.buffers
    assert flops.get_total_flops() == 2 * (
        N * graph.macs + ONCE_A_BATCH.get(name, 0)
    )  # on the meta device torch counts fused attention too
    if (node := followed(graph)) is not None:
        gradient_arrives_where_the_receptive_field_says(graph, node, PHASES.get(name, 1))


PHASES = {"zoo/unet-valid": 2}
"""Places after which what one sees repeats; a transposed convolution makes several of one, and a field is of all."""


def followed(graph):
    """The last node with positions on the way to the output, if its field is a window and the network is small."""
    leading = {next(iter(graph.outputs.values()))}
    for node in reversed(graph.nodes):
        if node.name in leading:
            leading.update(node.inputs)
            if (
                node.inputs_with_positions
                and isinstance(node.receptive_field, ReceptiveField)
                and None not in node.receptive_field.size
            ):
                differentiable = all(shape.dtype == "float" for shape in graph.inputs.values())
                return node if graph.macs < SMALL and len(graph.inputs) == 1 and differentiable else None
    return None


@pytest.mark.parametrize(
    ("name", "node"), [("digits/lenet", "max_pool_1"), ("udl/mnist1d-conv", "relu_3"), ("cs231n/resnet50", None)]
)
def test_gradients_are_followed_where_a_small_network_has_positions(name, node):
    last = followed(trace(load(SHIPPED[name])))
    assert (last.name if last else None) == node


def predicted_at(graph, node, place):
    """Return the first and last input position on each axis that one place of a node's output depends on."""
    ((name, seen),) = node.symbolic_fields.items()
    return [span.at(place) for axis, span in enumerate(seen.axes) if axis != graph.channel_axes[name]]


def steps_over_channels(graph, node):
    """Whether the first axis of a node's output holds positions, as behind a transpose."""
    ((name, seen),) = node.symbolic_fields.items()
    spans = [span for axis, span in enumerate(seen.axes) if axis != graph.channel_axes[name]]
    return any(window.steps[0] for span in spans for window in span.windows)


def gradient_arrives_where_the_receptive_field_says(graph, node, phases):
    """From the middle of the feature map, exactly there where all of it lies inside the input; else at most there."""
    (shape,) = graph.inputs.values()
    network = build(graph).double().eval()
    for weight in network.parameters():  # positive, and small enough that nothing saturates
        fan = weight[0].numel() if weight.dim() > 1 else 10
        torch.nn.init.uniform_(weight, 0.5 / fan, 1 / fan)
    x = torch.linspace(0.5, 1, shape.count, dtype=torch.float64).reshape(1, *shape)
    x = torch.cat([x, x.flip(tuple(range(2, x.dim())))]).requires_grad_()
    recorder = Recorder(network)
    recorder.run(x)
    middle = tuple(n // 2 for n in node.shape)
    predicted = predicted_at(graph, node, middle)
    value = recorder.values[node.name.replace("/", "_")]
    (channel,) = graph.channel_axes.values()
    positions = [n for axis, n in enumerate(shape) if axis != channel]

    def measured_at(place):
        first = place[0] if steps_over_channels(graph, node) else slice(None)
        (slope,) = torch.autograd.grad(value[(slice(None), first, *place[1:])].sum(), x, retain_graph=True)
        hit = (slope != 0).any(0)
        hit = (hit if channel is None else hit.any(channel)).nonzero()
        return list(zip(hit.amin(0).tolist(), hit.amax(0).tolist(), strict=True))

    measured = measured_at(middle)
    for step in range(1, phases):  # the hull, as seen from the middle
        beside = [
            (low - step, high - step) for low, high in measured_at((middle[0], *(n + step for n in middle[1:])))
        ]
        measured = [(min(a, c), max(b, d)) for (a, b), (c, d) in zip(measured, beside, strict=True)]

    assert all(low <= first <= last <= high for (low, high), (first, last) in zip(predicted, measured, strict=True))
    picks = any(n.kind == "max_unpool" for n in graph.nodes)  # which position wins passes no gradient
    if (
        node.receptive_field.aligned
        and not picks
        and all(low >= 0 and high < n for (low, high), n in zip(predicted, positions, strict=True))
    ):
        assert measured == predicted
