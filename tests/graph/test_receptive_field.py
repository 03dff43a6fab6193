"""Receptive fields: published figures, and which inputs receive gradient."""

import json
from fractions import Fraction
from math import floor

import pytest
import torch
from helpers import SHIPPED, experiment_of, network_of
from hypothesis import assume, event, given, settings
from hypothesis import strategies as st

from dlx.errors import SpecError
from dlx.graph import trace
from dlx.network import build
from dlx.shapes import ReceptiveField
from dlx.spec import load

pytestmark = pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel lengths:UserWarning")


def geometry(receptive_field):
    """Size, stride and left padding, where all axes agree."""
    axes = set(zip(receptive_field.size, receptive_field.stride, receptive_field.start, strict=True))
    ((size, stride, start),) = axes
    return size, stride, -start


def conv(kernel, stride=1, padding=0, **more):
    return {"conv": {"out_channels": 1, "kernel_size": kernel, "stride": stride, "padding": padding, **more}}


def made_of(inputs, layers):
    """The graph of a list of layers in Python."""
    return trace(experiment_of(json.dumps({"network": {"inputs": {"input": inputs}, "layers": layers}})))


# --- published figures ----------------------------------------------------------------------------------------------


def test_lenet5():
    graph = made_of([1, 32, 32], [conv(5), {"avg_pool": 2}, conv(5), {"avg_pool": 2}, "flatten", {"linear": 120}])
    sizes = [
        geometry(graph.by_name[name].receptive_field)[:2] for name in ("conv_1", "avg_pool_1", "conv_2", "avg_pool_2")
    ]

    assert sizes == [(5, 1), (6, 2), (14, 2), (16, 4)]


@pytest.mark.parametrize(("depth", "size"), [(20, 81), (56, 249), (110, 501)])
def test_resnets_for_cifar(depth, size):
    """He et al. 2015, section 4.2: three stages of (depth - 2)/6 blocks, 1x1 shortcuts where the size changes."""
    layers = f"""
        - conv: {{out_channels: 16, kernel_size: 3, padding: 1}}
        - for: {{width: [16, 32, 64]}}
          layers:
            - repeat:
                times: {(depth - 2) // 6}
                index: n
                layers:
                  - block: {{width: "${{width}}", stride: "${{2 if n == 0 and i > 0 else 1}}"}}
        - global_avg_pool
        - linear: 10
    """
    block = """
    blocks:
      block:
        args: {width: null, stride: null}
        layers:
          - residual:
              layers:
                - conv: {out_channels: "${width}", kernel_size: 3, stride: "${stride}", padding: 1}
                - relu
                - conv: {out_channels: "${width}", kernel_size: 3, padding: 1}
              shortcut:
                - conv: {out_channels: "${width}", kernel_size: 1, stride: "${stride}"}
                  when: ${stride > 1}
              after: relu
    """
    graph = network_of("[3, 32, 32]", layers, block)

    assert geometry(graph.receptive_field)[:2] == (size, 4)
    assert graph.warnings == ()


@pytest.mark.parametrize(
    ("kernel", "dilations", "size"),
    [
        (3, [1, 2, 4, 8], 31),  # Yu & Koltun 2016: 2^(i+2) - 1
        (2, [2**i for i in range(10)], 1024),  # van den Oord et al. 2016, WaveNet, section 2.1
    ],
)
def test_dilation_makes_receptive_fields_grow_exponentially(kernel, dilations, size):
    graph = made_of([1, 1100], [conv(kernel, dilation=d) for d in dilations])

    assert geometry(graph.receptive_field) == (size, 1, 0)


def test_vgg16_row_by_row():
    """google-research/receptive_field, RECEPTIVE_FIELD_TABLE: vgg_16."""
    graph = trace(load(SHIPPED["cs231n/vgg16"]))
    rows = {
        "conv_1": (3, 1),
        "max_pool_1": (6, 2),
        "max_pool_2": (16, 4),
        "max_pool_3": (44, 8),
        "max_pool_4": (100, 16),
        "conv_12": (164, 16),
        "max_pool_5": (212, 32),
    }
    assert {name: geometry(graph.by_name[name].receptive_field)[:2] for name in rows} == rows
    assert geometry(graph.receptive_field) == (212, 32, 90)


def test_alexnet_row_by_row():
    """google-research/receptive_field: alexnet_v2, whose first convolution has no padding."""
    graph = trace(load(SHIPPED["cs231n/alexnet"], ["network.layers.conv_1.padding=0"]))
    rows = {
        "conv_1": 11,
        "max_pool_1": 19,
        "conv_2": 51,
        "conv_3": 99,
        "conv_4": 131,
        "conv_5": 163,
        "max_pool_3": 195,
    }

    assert {name: geometry(graph.by_name[name].receptive_field)[0] for name in rows} == rows
    assert geometry(graph.by_name["max_pool_3"].receptive_field) == (195, 32, 64)


@pytest.mark.parametrize(("depths", "size"), [([3, 4, 6, 3], 483), ([3, 4, 23, 3], 1027), ([3, 8, 36, 3], 1507)])
def test_resnets_with_the_stride_on_the_first_1x1(depths, size):
    changes = [
        "blocks.bottleneck.layers.0.residual.layers.0.conv.stride='${stride}'",
        "blocks.bottleneck.layers.0.residual.layers.3.conv.stride=1",
        f"vars.depths={depths}",
    ]
    graph = trace(load(SHIPPED["cs231n/resnet50"], changes))

    assert geometry(graph.receptive_field) == (size, 32, size // 2)


def test_resnet50_block_by_block_as_tf_slim_has_it():
    """google-research/receptive_field: resnet_v1_50 strides in the last unit of a block."""
    layers = """
        - conv: {out_channels: 1, kernel_size: 7, stride: 2, padding: 3}
        - max_pool: {kernel_size: 3, stride: 2, padding: 1}
        - for: {units: [3, 4, 6, 3], stride: [2, 2, 2, 1]}
          layers:
            - repeat:
                times: ${units}
                index: n
                layers:
                  - unit: "${stride if n == units - 1 else 1}"
    """
    unit = """
    blocks:
      unit:
        args: {stride: null}
        layers:
          - residual:
              layers: [{conv: {out_channels: 1, kernel_size: 3, stride: "${stride}", padding: 1}}]
              shortcut: [{max_pool: {kernel_size: 1, stride: "${stride}"}}]
    """
    graph = network_of("[3, 224, 224]", layers, unit)
    ends = [geometry(graph.by_name[f"unit_{n}/add_1"].receptive_field)[:2] for n in (3, 7, 13, 16)]

    assert ends == [(35, 8), (99, 16), (291, 32), (483, 32)]
    assert geometry(graph.receptive_field)[2] == 239 + 2  # TensorFlow's first pool pads one position of 2 pixels less


@pytest.mark.parametrize(
    ("layers", "sizes"),
    [
        pytest.param([conv(3), conv(3), conv(3, 2), conv(3)], [3, 5, 7, 11], id="figure 10.6"),
        pytest.param([conv(3)] * 3, [3, 5, 7], id="problem 10.9"),
        pytest.param([conv(7)] * 3, [7, 13, 19], id="problem 10.10"),
        pytest.param([conv(5, 2), conv(3), conv(5, dilation=2)], [5, 9, 25], id="problem 10.11"),
        pytest.param(
            [conv(11, 4), {"max_pool": 2}, conv(5), {"max_pool": 2}, conv(3)], [11, 15, 47, 55, 87], id="10.17"
        ),
    ],
)
def test_understanding_deep_learning(layers, sizes):
    """Prince 2023, chapter 10."""
    assert [node.receptive_field.size[0] for node in made_of([1, 200], layers).nodes] == sizes


def test_the_mnist1d_network_of_figure_10_7():
    graph = trace(load(SHIPPED["udl/mnist1d-conv"]))

    assert [geometry(graph.by_name[f"conv_{n}"].receptive_field)[:2] for n in (1, 2, 3)] == [(3, 2), (7, 4), (15, 8)]


# --- by hand --------------------------------------------------------------------------------------------------------


def test_each_axis_has_its_own_receptive_field():
    graph = made_of([1, 20, 20], [conv([3, 1], [2, 1], [1, 0]), conv([2, 5])])

    assert graph.as_json()["receptive_field"] == {"size": [5, 5], "stride": [2, 1], "start": [-1, 0]}
    assert str(graph.nodes[0].receptive_field) == "3x1"


def test_uneven_pooling_has_a_fractional_stride():
    """Windows over 7 positions to 3: 0-2, 2-4, 4-6; two of them together see 0-4 and 2-6."""
    graph = made_of([1, 7], [{"adaptive_avg_pool": 3}, conv(2)])

    assert graph.nodes[0].receptive_field == ReceptiveField((3,), (Fraction(7, 3),), (0,))
    assert [floor(p * Fraction(7, 3)) for p in range(3)] == [0, 2, 4]
    document = graph.nodes[0].receptive_field.as_json()
    assert document == {"size": [3], "stride": [7 / 3], "start": [0]}
    size, start = graph.nodes[1].receptive_field.size[0], graph.nodes[1].receptive_field.start[0]
    for p, (first, last) in enumerate([(0, 4), (2, 6)]):
        assert floor(start + p * Fraction(7, 3)) <= first
        assert last <= floor(start + p * Fraction(7, 3)) + size - 1


def test_a_cropped_branch_is_seen_from_where_it_is_cut():
    aligned = made_of([1, 12], [{"residual": {"layers": [conv(5)], "merge": {"concat": {"crop": "center"}}}}])
    cut = made_of([1, 12], [{"parallel": {"branches": [[conv(4)], []], "merge": {"concat": {"crop": "center"}}}}])

    assert aligned.receptive_field == ReceptiveField((5,), (1,), (0,))
    assert aligned.warnings == ()
    assert cut.receptive_field == ReceptiveField((4,), (1,), (0,), aligned=False)


def test_a_branch_of_one_position_is_seen_from_everywhere_that_it_is_broadcast_to():
    graph = made_of([1, 5, 9], [{"residual": {"layers": [conv([5, 3], padding=[0, 1])]}}])

    assert str(graph.receptive_field) == "globalx3"
    assert graph.as_json()["receptive_field"]["size"] == ["global", 3]
    assert graph.warnings == ()


# --- branches that are not aligned ----------------------------------------------------------------------------------


def test_branches_with_other_centres_are_reported_with_both_geometries_and_their_hull():
    branches = [[conv(1, 2)], [{"max_pool": 2}]]
    graph = made_of([1, 8], [{"parallel": {"branches": branches}}, conv(2)])

    (warning,) = graph.warnings
    assert warning.message == (
        "the branches are not aligned: `conv_1` has size [1], stride [2], start [0] and "
        "`max_pool_1` has size [2], stride [2], start [0]; the receptive field is their hull"
    )
    assert warning.path == "network.layers.concat_1"
    assert graph.by_name["concat_1"].receptive_field == ReceptiveField((2,), (2,), (0,), aligned=False)
    assert str(graph.receptive_field) == "4~"
    assert graph.as_json()["receptive_field"] == {"size": [4], "stride": [2], "start": [0], "aligned": False}


def test_branches_with_other_strides_drift_apart_and_the_hull_holds_both_to_the_end():
    graph = made_of([1, 8], [{"parallel": {"branches": [[conv(2, 2)], [conv(5)]]}}])
    (size,), (stride,), (start,) = (
        graph.receptive_field.size,
        graph.receptive_field.stride,
        graph.receptive_field.start,
    )

    assert len(graph.warnings) == 1
    assert (size, graph.receptive_field.aligned) == (
        5,
        False,
    )  # of the hulls the smallest: [p, p + 4] holds [2p, 2p + 1]
    for p in range(4):
        low, high = start + p * stride, start + p * stride + size - 1
        assert low <= min(2 * p, p)
        assert max(2 * p + 1, p + 4) <= high


def test_inception_s_branches_are_aligned():
    branches = [
        [conv(1)],
        [conv(3, padding=1)],
        [conv(5, padding=2)],
        [{"max_pool": {"kernel_size": 3, "stride": 1, "padding": 1}}],
    ]
    graph = made_of([1, 16, 16], [{"parallel": {"branches": branches}}])

    assert geometry(graph.receptive_field) == (5, 1, 2)
    assert graph.warnings == ()


# --- everything -----------------------------------------------------------------------------------------------------

SQUEEZE = {
    "residual": {
        "layers": [{"global_avg_pool": {"keepdim": True}}, conv(1), "sigmoid"],
        "merge": "multiply",
    }
}


def test_squeeze_and_excitation_sees_everything_and_keeps_positions():
    graph = made_of([1, 9, 9], [conv(3), SQUEEZE, conv(3)])

    assert [graph.by_name[name].receptive_field == "global" for name in ("conv_1", "multiply_1", "conv_3")] == [
        False,
        True,
        True,
    ]
    assert graph.receptive_field == graph.as_json()["receptive_field"] == "global"
    assert graph.warnings == ()


def test_the_total_is_that_of_the_last_layer_with_positions():
    flat = made_of([1, 12, 12], [conv(5), {"max_pool": 2}, "flatten", "relu", {"linear": 10}, "relu"])
    pooled = made_of([1, 12, 12], [conv(5), {"max_pool": 2}, {"global_avg_pool": {"keepdim": True}}, "relu", conv(1)])
    dense = made_of([12], [{"linear": 5}, "relu", {"linear": 2}])

    assert geometry(flat.receptive_field) == geometry(pooled.receptive_field) == (6, 2, 0)
    assert [node.receptive_field for node in flat.nodes][1:] == [*[flat.receptive_field] * 3, "global", "global"]
    assert {node.receptive_field for node in pooled.nodes[2:]} == {"global"}
    assert dense.receptive_field == "global"
    assert made_of([12], ["relu"]).receptive_field is None


# --- the second witness: which inputs receive gradient --------------------------------------------------------------


def per_axis(values, rank):
    """One number, or one for each axis."""
    return st.one_of(values, st.lists(values, min_size=rank, max_size=rank))


def windows(rank):
    """Convolutions and pools of any stride, padding and dilation."""
    taps, strides = per_axis(st.integers(1, 3), rank), per_axis(st.integers(1, 2), rank)
    pool = {
        "kernel_size": per_axis(st.integers(2, 3), rank),
        "stride": strides,
        "padding": per_axis(st.integers(0, 1), rank),
    }
    return st.one_of(
        st.builds(conv, taps, strides, per_axis(st.integers(0, 2), rank), dilation=per_axis(st.integers(1, 2), rank)),
        st.fixed_dictionaries({"avg_pool": st.fixed_dictionaries(pool)}),
        st.fixed_dictionaries({"max_pool": st.fixed_dictionaries({**pool, "ceil_mode": st.booleans()})}),
    )


def same(rank):
    """Layers that keep the size."""
    return st.builds(
        lambda k, d: conv(k, padding="same", dilation=d), per_axis(st.integers(1, 4), rank), st.integers(1, 2)
    )


def branching(rank):
    """Residuals, and branches of one stride whose windows are centred alike or not."""
    short = st.lists(same(rank), max_size=2)
    pair = st.builds(
        lambda k, p, s, wider: [[conv(k, s, p)], [conv(k + 2 * wider, s, p + wider)]],
        st.integers(1, 3),
        st.integers(0, 1),
        st.integers(1, 3),
        st.integers(0, 2),
    )
    apart = st.just([[conv(1, 2)], [{"max_pool": 2}]])
    return st.one_of(
        st.builds(lambda a, b: {"residual": {"layers": a, "shortcut": b}}, short, short),
        st.builds(lambda a: {"residual": {"layers": a, "merge": "concat"}}, short),
        st.builds(lambda b: {"parallel": {"branches": b, "merge": "add"}}, st.one_of(pair, apart)),
        st.builds(lambda a, b: {"parallel": {"branches": [a, b, []]}}, short, short),
    )


def cropping(rank):
    """Branches of any sizes, cut to the smallest; pools to a size that does not divide theirs."""
    branches = st.lists(st.lists(windows(rank), max_size=2), min_size=2, max_size=2)
    return st.one_of(
        st.builds(lambda b: {"parallel": {"branches": b, "merge": {"concat": {"crop": "center"}}}}, branches),
        st.builds(lambda n: {"adaptive_avg_pool": n}, per_axis(st.integers(2, 7), rank)),
    )


@st.composite
def networks(draw, *kinds):
    """A spec of a small network over one or two axes."""
    rank = draw(st.integers(1, 2))
    sizes = st.lists(st.integers(18, 40) if rank == 1 else st.integers(11, 18), min_size=rank, max_size=rank)
    layers = draw(st.lists(st.one_of(*(kind(rank) for kind in kinds)), min_size=1, max_size=4))
    return {"network": {"inputs": {"input": [1, *draw(sizes)]}, "layers": layers}}


def traced(spec):
    """The graph of a spec; None where a window outgrows what is left of its input."""
    try:
        return trace(experiment_of(json.dumps(spec)))
    except SpecError:
        return None


def ramps(shape):
    """Two samples, one rising and one falling along every axis: maxima stand at the one end and at the other."""
    axes = [torch.linspace(1, 2, n, dtype=torch.float64) for n in shape.size]
    rising = sum(torch.meshgrid(*axes, indexing="ij"))
    return torch.stack([rising, 2 * len(axes) + 1 - rising]).unsqueeze(1).requires_grad_()


def seen_by_gradient(graph, positions):
    """First and last input on each axis with gradient from each position of the output; None where there is none."""
    network = build(graph).double().eval()
    for weight in network.parameters():
        torch.nn.init.uniform_(weight, 0.5, 1)
    x = ramps(graph.inputs["input"])
    y = network(x)
    for position in positions:
        (slope,) = torch.autograd.grad(y[(slice(None), slice(None), *position)].sum(), x, retain_graph=True)
        hit = (slope != 0).any(0).any(0).nonzero()
        yield list(zip(hit.amin(0).tolist(), hit.amax(0).tolist(), strict=True)) if len(hit) else None


def predicted(receptive_field, position):
    """First and last input position on each axis, beyond the input where padding lies."""
    firsts = [
        floor(a + p * s) for a, p, s in zip(receptive_field.start, position, receptive_field.stride, strict=True)
    ]
    return [(a, a + z - 1) for a, z in zip(firsts, receptive_field.size, strict=True)]


def first_middle_last(size):
    return sorted({tuple(0 for _ in size), tuple(n // 2 for n in size), tuple(n - 1 for n in size)})


def compared(graph):
    """Yield predicted and measured range and the input size of each axis, at several positions of the output."""
    (last,) = graph.outputs.values()
    node = graph.by_name[last]
    if not isinstance(node.receptive_field, ReceptiveField) or None in node.receptive_field.size:
        return
    positions = first_middle_last(node.shape.size)
    for position, measured in zip(positions, seen_by_gradient(graph, positions), strict=True):
        if measured is not None:
            yield list(
                zip(predicted(node.receptive_field, position), measured, graph.inputs["input"].size, strict=True)
            )


@settings(max_examples=150, deadline=None)
@given(networks(windows, branching))
def test_a_receptive_field_is_where_gradient_arrives(spec):
    """To the position where it lies inside the input; at most there at the borders, where padding takes its part."""
    graph = traced(spec)
    assume(graph is not None)

    inside = 0
    for axes in compared(graph):
        assert all(low <= first <= last <= high for (low, high), (first, last), _ in axes)
        if graph.receptive_field.aligned and all(low >= 0 and high < n for (low, high), _, n in axes):
            inside += 1
            assert [promised for promised, _, _ in axes] == [measured for _, measured, _ in axes]
    event("inside the input" if inside else "over its borders")


@settings(max_examples=100, deadline=None)
@given(networks(windows, branching, cropping))
def test_no_gradient_arrives_from_outside_a_receptive_field(spec):
    """Cropped and uneven branches too: where they are not aligned, the hull holds both."""
    graph = traced(spec)
    assume(graph is not None)

    for axes in compared(graph):
        assert all(low <= first <= last <= high for (low, high), (first, last), _ in axes)


@settings(max_examples=80, deadline=None)
@given(networks(windows, branching, cropping))
def test_what_is_not_aligned_is_said_where_it_begins(spec):
    graph = traced(spec)
    assume(graph is not None)
    warned = {w.path.removeprefix("network.layers.") for w in graph.warnings if "not aligned" in w.message}
    crooked = {
        n.name for n in graph.nodes if isinstance(n.receptive_field, ReceptiveField) and not n.receptive_field.aligned
    }

    for name in crooked:
        above = [i for i in graph.by_name[name].inputs if i in crooked]
        assert (name in warned) == (not above)
    assert warned <= crooked
