"""Quantities that claims name, each worked by hand on a small network."""

import pytest
from helpers import graph_of, network_of

from dlx.graph.measures import Unmeasured, measure

STAGED = """
- conv: {out_channels: 4, kernel_size: 3}
  name: stem
- name: stage
  layers:
    - conv: {out_channels: 8, kernel_size: 3, stride: 2, padding: 1}
    - batch_norm
    - relu
- flatten
- linear: 10
"""


@pytest.mark.parametrize(
    ("quantity", "of", "value"),
    [
        ("params", "", 4 * 10 + 8 * 37 + 16 + 1 * (8 * 3 * 3 * 10) + 10),
        ("params", "stage", 8 * 37 + 16),
        ("params", "stage/conv_1", 8 * 37),
        ("params", "stage.conv_1", 8 * 37),
        ("weights", "stage", 8 * 36 + 8),
        ("biases", "stage", 8 + 8),
        ("buffers", "stage", 17),
        ("macs", "stem", 9 * 4 * 36),  # a 3x3 kernel, 4 channels, 6x6 positions
        ("shape", "stage", [8, 3, 3]),
        ("arriving", "stage", [4, 6, 6]),
        ("shape", "", [10]),
        ("shape", "input", [1, 8, 8]),
        ("units", "stage", 72),
        ("receptive_field", "stage", 5),
        ("receptive_field_stride", "stage", 2),
        ("receptive_field_start", "stage", -1),
        ("receptive_field", "linear_1", "global"),
        ("depth", "", 3),
        ("depth", "stage", 2),
        ("count", "conv", 2),
        ("count", "max_pool", 0),
    ],
)
def test_a_quantity_of_the_whole_of_a_scope_or_of_a_node(quantity, of, value):
    graph = network_of("[1, 8, 8]", STAGED)
    assert measure(graph, quantity, of) == value


def test_a_network_of_four_residual_blocks_has_sixteen_paths_and_half_of_them_run_through_each():
    graph = graph_of("""
        network:
          inputs: [8]
          layers:
            - repeat:
                times: 4
                layers:
                  - residual: {layers: [{linear: 8, name: "f${i + 1}"}]}
        """)
    assert measure(graph, "paths", "") == 16
    assert [measure(graph, "paths", f"f{i}") for i in (1, 2, 3, 4)] == [8, 8, 8, 8]
    assert measure(graph, "depth", "") == 4


def test_depth_leaves_projections_of_the_shortcut_aside():
    graph = network_of(
        "[3, 8, 8]",
        """
        - residual:
            layers:
              - conv: {out_channels: 4, kernel_size: 3, padding: 1}
              - conv: {out_channels: 4, kernel_size: 1}
            shortcut: [{conv: {out_channels: 4, kernel_size: 1}}]
        """,
    )
    assert (measure(graph, "depth", ""), measure(graph, "count", "conv")) == (2, 3)


@pytest.mark.parametrize(
    ("inputs", "units", "regions"), [(1, 3, 4), (2, 3, 7), (3, 3, 8), (1, 1, 2), (2, 2, 4), (5, 2, 4), (2, 5, 16)]
)
def test_the_bound_on_linear_regions_is_zaslavsky_s(inputs, units, regions):
    graph = network_of(f"[{inputs}]", f"- linear: {units}\n- relu\n- linear: 1")
    assert measure(graph, "linear_regions_bound", "") == regions


@pytest.mark.parametrize(
    ("quantity", "of", "sentence"),
    [
        ("params", "steam", "there is no `steam`. Did you mean `stem` or `stage`?"),
        ("linear_regions_bound", "", "linear regions are bounded for `linear`, a rectifier, `linear`"),
        ("linear_regions_bound", "stem", "linear regions are bounded for the whole network"),
    ],
)
def test_what_cannot_be_measured_is_said(quantity, of, sentence):
    with pytest.raises(Unmeasured, match=sentence.replace(".", r"\.").replace("?", r"\?")):
        measure(network_of("[1, 8, 8]", STAGED), quantity, of)


def test_linear_regions_that_would_take_for_ever_are_not_worked_out():
    graph = network_of("[500_000_000]", "- linear: 1_000_000_000\n- relu\n- linear: 1")
    with pytest.raises(Unmeasured, match="1,000,000,000 units on 500,000,000 inputs make a number too long"):
        measure(graph, "linear_regions_bound", "")
    line = network_of("[1]", "- linear: 1_000_000\n- relu\n- linear: 1")
    assert measure(line, "linear_regions_bound", "") == 1_000_001


def test_the_ways_through_an_input_are_those_that_it_begins():
    graph = network_of("{a: [4], b: [4]}", "- add: {}\n  from: [a, b]\n- residual: {layers: [relu]}")
    assert [measure(graph, "paths", name) for name in ("", "a", "b", "add_1", "relu_1")] == [4, 2, 2, 4, 2]
