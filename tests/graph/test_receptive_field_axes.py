"""Receptive fields whose axes change places, of several inputs, and where they cannot be followed."""

import json
from itertools import permutations
from math import prod

import pytest
import torch
from helpers import experiment_of, network_of
from hypothesis import assume, event, given, settings
from hypothesis import strategies as st

from dlx.errors import SpecError
from dlx.graph import trace
from dlx.graph.explain import explain
from dlx.graph.graph import SymbolicField
from dlx.network import build
from dlx.shapes import ReceptiveField, UnknownReceptiveField

pytestmark = pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel lengths:UserWarning")


def traced(inputs, layers):
    return trace(experiment_of(json.dumps({"network": {"inputs": inputs, "layers": layers}})))


# --- the witness: which values of an input receive gradient ---------------------------------------------------------


def dependence(graph, place):
    """First and last entry on each axis of each input that one value of the output has a gradient at; or None.

    All weights and inputs are positive, so that no two ways cancel.
    """
    network = build(graph).double().eval()
    generator = torch.Generator().manual_seed(1)
    for weight in network.parameters():
        torch.nn.init.uniform_(weight, 0.5, 1, generator=generator)
    samples = [
        torch.rand(1, *x, dtype=torch.float64, generator=generator).add(0.5).requires_grad_()
        for x in graph.inputs.values()
    ]
    slopes = torch.autograd.grad(network(*samples)[(0, *place)], samples, allow_unused=True)
    measured = {}
    for name, slope in zip(graph.inputs, slopes, strict=True):
        hit = (slope[0] != 0).nonzero() if slope is not None else []
        measured[name] = list(zip(hit.amin(0).tolist(), hit.amax(0).tolist(), strict=True)) if len(hit) else None
    return measured


def promised(graph, name, place):
    """First and last entry on each axis of an input that one value of the output sees, cut to the input."""
    (last,) = graph.outputs.values()
    seen = graph.by_name[last].symbolic_fields.get(name)
    if not isinstance(seen, SymbolicField):
        return seen
    ends = [(span.at(place) or (0, n - 1), n) for span, n in zip(seen.axes, graph.inputs[name], strict=True)]
    return [(max(a, 0), min(b, n - 1)) for (a, b), n in ends]


def places(shape):
    """The first value, one in the middle, the last."""
    return sorted({tuple(0 for _ in shape), tuple(n // 2 for n in shape), tuple(n - 1 for n in shape)})


def holds(graph):
    """Whether no gradient arrives from outside of what is promised, at several values of the output."""
    for place in places(graph.output_shape()):
        for name, measured in dependence(graph, place).items():
            predicted = promised(graph, name, place)
            if measured is None or isinstance(predicted, UnknownReceptiveField):
                continue
            assert predicted is not None
            assert all(a <= c <= d <= b for (a, b), (c, d) in zip(predicted, measured, strict=True)), (name, place)


def is_exact(graph):
    for place in places(graph.output_shape()):
        for name, measured in dependence(graph, place).items():
            assert promised(graph, name, place) == measured


# --- by hand --------------------------------------------------------------------------------------------------------

CONVNEXT = """
- conv: {out_channels: 4, kernel_size: 4, stride: 4}
- permute: [2, 3, 1]
- layer_norm
- permute: [3, 1, 2]
- for: {depth: [3, 3, 9, 3]}
  layers:
    - layers:
        - permute: [2, 3, 1]
        - layer_norm
        - permute: [3, 1, 2]
        - conv: {out_channels: 4, kernel_size: 2, stride: 2}
      when: ${i > 0}
    - repeat:
        times: ${depth}
        layers:
          - residual:
              layers:
                - depthwise_conv: {kernel_size: 7, padding: 3}
                - permute: [2, 3, 1]
                - layer_norm
                - linear: 8
                - gelu
                - linear: 4
                - permute: [3, 1, 2]
- global_avg_pool
- linear: 10
"""


def test_convnext_with_its_norms_channels_last_as_torchvision_writes_it():
    """4 for the stem; each block 6 steps of its jump, 4, 8, 16 and 32; each reduction one step of the jump before."""
    graph = network_of("[3, 224, 224]", CONVNEXT)
    size = 4 + 3 * 6 * 4 + 4 + 3 * 6 * 8 + 8 + 9 * 6 * 16 + 16 + 3 * 6 * 32

    assert size == 1688
    assert graph.receptive_field.size == (size, size)
    assert graph.receptive_field.stride == (32, 32)
    assert network_of("[3, 448, 448]", CONVNEXT).receptive_field == graph.receptive_field


def test_a_block_with_its_linear_layers_channels_last_is_seen_as_gradient_arrives():
    block = [{"permute": [2, 3, 1]}, {"linear": 3}, {"relu": {}}, {"linear": 2}, {"permute": [3, 1, 2]}]
    conv = {"conv": {"out_channels": 2, "kernel_size": 3, "stride": 2}}
    graph = traced({"x": [1, 17, 23]}, [conv, *block, conv])

    assert graph.receptive_field == ReceptiveField((7, 7), (4, 4), (0, 0))
    is_exact(graph)


def test_a_text_cnn_counts_its_tokens():
    layers = """
    - embedding: {num_embeddings: 100, embedding_dim: 8}
    - transpose
    - conv: {out_channels: 4, kernel_size: 5}
    - max_pool: 2
    - global_max_pool
    - linear: 2
    """
    graph = network_of("{text: {shape: [40], dtype: int}}", layers)

    assert [str(node.receptive_field) for node in graph.nodes] == ["1", "1", "5", "6", "global", "global"]
    assert graph.receptive_field == ReceptiveField((6,), (2,), (0,))


def test_flatten_and_reshape_keep_the_field_and_the_total_is_that_of_the_last_map():
    layers = """
    - conv: {out_channels: 2, kernel_size: 3}
    - flatten
    - reshape: [2, 6, 8]
    - conv: {out_channels: 2, kernel_size: 3}
    - flatten
    - linear: 3
    """
    graph = network_of("[1, 8, 10]", layers)

    assert [str(node.receptive_field) for node in graph.nodes] == ["3", "3", "3", "5", "5", "global"]
    assert graph.receptive_field == ReceptiveField((5, 5), (1, 1), (0, 0))


def test_patches_cut_by_reshape_are_seen_as_a_convolution_of_their_size_sees_them():
    """Dosovitskiy et al. 2020, section 3.1: patches of 4x4 laid flat and mixed."""
    layers = """
    - reshape: [3, 6, 4, 5, 4]
    - permute: [2, 4, 1, 3, 5]
    - reshape: [30, 48]
    - linear: 7
    """
    graph = network_of("[3, 24, 20]", layers)

    assert graph.receptive_field == ReceptiveField((4, 4), (4, 4), (0, 0))
    is_exact(graph)


def test_attention_within_windows_sees_its_window():
    layers = [
        {"reshape": [3, 4, 2, 4, 3]},
        {"permute": [1, 3, 2, 4, 5]},
        {"reshape": [6, 16, 3]},
        {"multihead_attention": 1},
        {"reshape": [3, 2, 4, 4, 3]},
        {"permute": [5, 1, 3, 2, 4]},
        {"reshape": [3, 12, 8]},
        {"conv": {"out_channels": 1, "kernel_size": 1}},
    ]
    graph = traced({"x": [12, 8, 3]}, layers)

    assert graph.receptive_field == ReceptiveField((4, 4), (4, 4), (0, 0))
    is_exact(graph)


def test_a_map_added_to_its_own_transpose_is_not_aligned_and_sees_whole_columns():
    """One value of the sum at (31, 0) sees what the map has at (31, 0) and at (0, 31)."""
    layers = [{"conv": {"out_channels": 1, "kernel_size": 5, "padding": 2}}, {"transpose": {"dim0": 2, "dim1": 3}}]
    graph = traced({"x": [1, 32, 32]}, [*layers, {"add": {}, "from": ["conv_1", "transpose_1"]}])

    assert dependence(graph, (0, 31, 0))["x"] == [(0, 0), (0, 31), (0, 31)]
    assert promised(graph, "x", (0, 31, 0)) == [(0, 0), (0, 31), (0, 31)]
    assert not graph.receptive_field.aligned
    assert min(graph.receptive_field.size) >= 32
    assert graph.warnings[0].message == (
        "the branches are not aligned: each of `conv_1` and `transpose_1` has size [5, 5], stride [1, 1], "
        "start [-2, -2], and their axes are not the same ones of the input; the receptive field is their hull"
    )
    holds(graph)


def test_a_broadcast_branch_of_a_few_positions_is_not_taken_for_everything():
    """One value that sees positions 0 to 4 is added to all of 32: each sees those, and its own."""
    pooled = [{"slice": {"dim": 2, "stop": 5}}, {"global_avg_pool": {"keepdim": True}}]
    graph = traced({"x": [1, 32]}, [*pooled, {"add": {}, "from": ["x", "prev"]}])

    assert graph.by_name["global_avg_pool_1"].receptive_field == ReceptiveField((5,), (0,), (0,))
    assert isinstance(graph.receptive_field, ReceptiveField)
    assert not graph.receptive_field.aligned
    assert promised(graph, "x", (0, 3)) == [(0, 0), (0, 4)]
    holds(graph)


@pytest.mark.parametrize("order", list(permutations(range(3))))
def test_branches_may_be_written_in_any_order(order):
    """[2p, 2p + 1], [p, p + 8] and p + 3 at eight stops."""
    branches = [
        [{"conv": {"out_channels": 1, "kernel_size": 2, "stride": 2}}],
        [{"conv": {"out_channels": 1, "kernel_size": 9}}],
        [{"crop": {"sides": [3, 5]}}],
    ]
    graph = traced({"x": [1, 16]}, [{"parallel": {"branches": [branches[k] for k in order], "merge": "add"}}])

    assert graph.receptive_field == ReceptiveField((9,), (1,), (0,), aligned=False)


@pytest.mark.parametrize(
    "layers",
    [
        ["- global_avg_pool: {keepdim: true}", "- flatten"],
        ["- mean: {dim: [2, 3], keepdim: true}", "- flatten"],
        ["- mean: [2, 3]"],
        ["- adaptive_avg_pool: 1", "- flatten"],
        ["- flatten: {start_dim: 2}", "- mean: 2"],
        ["- avg_pool: 6", "- flatten"],
        ["- permute: [2, 3, 1]", "- mean: [1, 2]"],
    ],
)
def test_one_network_written_in_several_ways_has_one_receptive_field(layers):
    conv = "- conv: {out_channels: 2, kernel_size: 3}\n- relu\n"
    graph = network_of("[3, 8, 8]", conv + "\n".join([*layers, "- linear: 5"]))

    assert graph.receptive_field == ReceptiveField((3, 3), (1, 1), (0, 0))
    assert graph.nodes[-1].receptive_field == "global"


# --- several inputs -------------------------------------------------------------------------------------------------

FILM = """
- conv: {out_channels: 4, kernel_size: 3, padding: 1}
  from: image
- linear: 4
  from: t
- reshape: [4, 1, 1]
- add:
  from: [conv_1, reshape_1]
- conv: {out_channels: 4, kernel_size: 3, padding: 1}
"""


def test_a_vector_added_to_a_map_leaves_the_field_of_the_map_alone():
    graph = network_of("{image: [3, 16, 16], t: [8]}", FILM)
    document = graph.as_json()

    assert graph.receptive_field == ReceptiveField((5, 5), (1, 1), (-2, -2))
    assert graph.receptive_fields == {"image": graph.receptive_field, "t": "global"}
    assert [node.receptive_field_text for node in graph.nodes] == ["3", "global", "global", "3, global", "5, global"]
    assert document["receptive_field"] == document["receptive_fields"]["image"]
    assert document["receptive_fields"]["t"] == "global"
    assert document["layers"][-1]["receptive_fields"] == document["receptive_fields"]
    assert graph.warnings == ()


def test_two_images_are_seen_each_through_its_own_branch():
    layers = """
    - conv: {out_channels: 4, kernel_size: 3, padding: 1}
      from: left
    - conv: {out_channels: 4, kernel_size: 5, padding: 2}
      from: right
    - concat:
      from: [conv_1, conv_2]
    """
    graph = network_of("{left: [3, 16, 16], right: [3, 16, 16]}", layers)

    assert {name: str(seen) for name, seen in graph.receptive_fields.items()} == {"left": "3", "right": "5"}
    assert graph.nodes[-1].receptive_field_text == "3, 5"
    assert graph.warnings == ()
    is_same = explain(graph).as_json()["receptive_field"]
    assert is_same == graph.as_json()["receptive_field"]


# --- unknown --------------------------------------------------------------------------------------------------------

LOST = """
- conv: {out_channels: 2, kernel_size: 3}
- reshape: [8, 12]
- relu
- conv: {out_channels: 4, kernel_size: 3}
"""


def test_where_a_field_cannot_be_followed_the_total_is_unknown_and_names_the_node():
    """Rows of 6x8 positions cut into pieces of 12: a piece is one row and a half."""
    graph = network_of("[1, 8, 10]", LOST)

    assert [str(node.receptive_field) for node in graph.nodes] == ["3", "unknown", "unknown", "unknown"]
    assert graph.receptive_field == UnknownReceptiveField("reshape_1")
    assert graph.as_json()["receptive_field"] == {"unknown": "reshape_1"}
    assert graph.as_json()["layers"][-1]["receptive_field"] == {"unknown": "reshape_1"}
    (*_, field) = explain(graph, "reshape_1").derivations
    assert "cannot be followed" in field.lines[0].note


# --- random networks ------------------------------------------------------------------------------------------------


@st.composite
def turned(draw):
    """Convolutions without padding, and between them axes that change places and come back."""
    size = draw(st.lists(st.integers(9, 12), min_size=1, max_size=2))
    layers, shape = [], [1, *size]
    for _ in range(draw(st.integers(1, 3))):
        kernel = draw(st.lists(st.integers(1, 3), min_size=len(size), max_size=len(size)))
        layers.append({"conv": {"out_channels": 2, "kernel_size": kernel}})
        shape = [2, *(n - k + 1 for n, k in zip(shape[1:], kernel, strict=True))]
        axes = draw(st.permutations(range(len(shape))))
        back = [axes.index(k) + 1 for k in range(len(shape))]
        channel = axes.index(0) + 1
        inside = {
            "nothing": [],
            "linear": [{"linear": 2}] if channel == len(shape) else [{"relu": {}}],
            "flat": [{"flatten": {}}, "relu", {"reshape": [shape[k] for k in axes]}],
            "split": [{"slice": {"dim": channel, "stop": 1}}, {"concat": {"dim": channel}, "from": ["prev", "prev"]}],
        }[draw(st.sampled_from(["nothing", "linear", "flat", "split"]))]
        layers += [{"permute": [k + 1 for k in axes]}, *inside, {"permute": back}]
    return {"x": [1, *size]}, layers


@settings(max_examples=20, deadline=None)
@given(turned())
def test_axes_that_change_places_between_convolutions_are_followed_to_the_position(network):
    graph = traced(*network)

    assert isinstance(graph.receptive_field, ReceptiveField)
    is_exact(graph)


def splits(n):
    return [k for k in range(2, n) if n % k == 0]


@st.composite
def wild(draw):
    """Any order of convolutions, pools, reshapes, turns, cuts and merges, of one input or two."""
    rank = draw(st.integers(1, 2))
    shape = (2, *draw(st.lists(st.sampled_from([6, 8, 12]), min_size=rank, max_size=rank)))
    inputs = {"a": shape} | ({"b": draw(st.sampled_from([shape, (4,)]))} if draw(st.booleans()) else {})
    layers, made = [], {name: x for name, x in inputs.items() if x == shape}
    for step in range(draw(st.integers(1, 7))):
        source = draw(st.sampled_from(list(made)[-3:]))
        entries, y = ENTRIES[draw(st.sampled_from(sorted(ENTRIES)))](draw, source, made, inputs)
        if entries:
            *_, last = entries
            layers += [*entries[:-1], {"from": source} | last | {"name": f"n{step}"}]
            made[f"n{step}"] = tuple(y)
    return inputs, layers


def conv_of(draw, source, made, _):
    x, k = made[source], draw(st.integers(1, 3))
    if not 2 <= len(x) <= 4 or min(x[1:]) < k:
        return [], x
    return [{"conv": {"out_channels": 2, "kernel_size": k}}], (2, *(m - k + 1 for m in x[1:]))


def pool_of(draw, source, made, _):
    x = made[source]
    if not 2 <= len(x) <= 4 or min(x[1:]) < 2:
        return [], x
    return [{"avg_pool": 2}], (x[0], *(m // 2 for m in x[1:]))


def turn_of(draw, source, made, _):
    x = made[source]
    axes = draw(st.permutations(range(len(x))))
    return [{"permute": [k + 1 for k in axes]}], [x[k] for k in axes]


def reshape_of(draw, source, made, _):
    """Two axes as one, one axis as two, or any two whose lengths multiply to as many values."""
    x, axis = made[source], draw(st.integers(0, len(made[source]) - 1))
    how, split = draw(st.sampled_from(["flat", "split", "any"])), draw(st.sampled_from([1, 2, 3, 4, 6]))
    if how == "flat" and axis:
        y = (*x[: axis - 1], x[axis - 1] * x[axis], *x[axis + 1 :])
        return [{"flatten": {"start_dim": axis, "end_dim": axis + 1}}], y
    y = (*x[:axis], split, x[axis] // split, *x[axis + 1 :]) if how == "split" else (split, prod(x) // split)
    return ([{"reshape": list(y)}] if prod(y) == prod(x) and len(y) < 6 else []), y


def cut_of(draw, source, made, _):
    x, axis = made[source], draw(st.integers(0, len(made[source]) - 1))
    start, step = draw(st.integers(0, x[axis] - 1)), draw(st.integers(1, 2))
    if len(x) > 1 and draw(st.booleans()):
        return [{"select": {"index": start, "dim": axis + 1}}], (*x[:axis], *x[axis + 1 :])
    options = {"dim": axis + 1, "start": start, "step": step}
    return [{"slice": options}], (*x[:axis], len(range(start, x[axis], step)), *x[axis + 1 :])


def mean_of(draw, source, made, _):
    x, axis = made[source], draw(st.integers(0, len(made[source]) - 1))
    return [{"mean": {"dim": axis + 1, "keepdim": True}}], (*x[:axis], 1, *x[axis + 1 :])


def linear_of(draw, source, made, _):
    return [{"linear": 3}], (*made[source][:-1], 3)


def merge_of(draw, source, made, _):
    x, axis = made[source], draw(st.integers(0, len(made[source]) - 1))
    other = draw(st.sampled_from([name for name, y in made.items() if len(y) == len(x)]))
    pairs = list(zip(x, made[other], strict=True))
    if all(1 in pair or pair[0] == pair[1] for pair in pairs):
        kind = draw(st.sampled_from(["add", "multiply"]))
        return [{kind: {}, "from": [source, other]}], [max(pair) for pair in pairs]
    if all(a == b or k == axis for k, (a, b) in enumerate(pairs)):
        union = [a + b if k == axis else a for k, (a, b) in enumerate(pairs)]
        return [{"concat": {"dim": axis + 1}, "from": [source, other]}], union
    return [], x


def vector_of(draw, source, made, inputs):
    """A vector, mixed and stretched over all positions."""
    x = made[source]
    if inputs.get("b") != (4,) or len(x) < 2:
        return [], x
    name = f"v{len(made)}"
    wide = {"reshape": [x[0], *(1 for _ in x[1:])], "name": name}
    return [{"linear": x[0], "from": "b"}, wide, {"add": {}, "from": [source, name]}], x


ENTRIES = {
    "conv": conv_of,
    "pool": pool_of,
    "turn": turn_of,
    "reshape": reshape_of,
    "cut": cut_of,
    "mean": mean_of,
    "linear": linear_of,
    "merge": merge_of,
    "vector": vector_of,
}


def sampled_graph(network):
    """The graph of what was drawn; nothing where no layer was, or a value grew out of bounds."""
    inputs, layers = network
    assume(layers)
    try:
        return traced(inputs, layers)
    except SpecError:
        return assume(False)


@settings(max_examples=40, deadline=None)
@given(wild())
def test_no_gradient_arrives_from_outside_the_field_of_any_input(network):
    graph = sampled_graph(network)
    event(
        "unknown"
        if any(isinstance(seen, UnknownReceptiveField) for seen in graph.nodes[-1].receptive_fields.values())
        else "known"
    )

    holds(graph)


@settings(max_examples=30, deadline=None)
@given(wild())
def test_the_reported_size_contains_what_any_value_sees(network):
    """In positions of the input, at the last layer, where it is a window."""
    graph = sampled_graph(network)
    (last,) = graph.outputs.values()
    for place in places(graph.output_shape()):
        for name, measured in dependence(graph, place).items():
            seen, channel = graph.by_name[last].receptive_fields.get(name), graph.channel_axes[name]
            if measured is not None and isinstance(seen, ReceptiveField) and len(graph.inputs[name]) > 1:
                wide = [b - a + 1 for axis, (a, b) in enumerate(measured) if axis != channel]
                assert all(size is None or width <= size for width, size in zip(wide, seen.size, strict=True))
