"""Residual blocks of graphs, and paths by length."""

from math import comb

import pytest
from helpers import network_of

from dlx.analysis.measures.residual_blocks import block_ends, paths_by_length, residual_blocks
from dlx.graph import Graph

BRANCH = "{layers: [relu, {linear: 4}]}"


def counts_of(graph: Graph) -> list[int]:
    return paths_by_length(graph, residual_blocks(graph), next(iter(graph.outputs.values())))


@pytest.mark.parametrize("n", [1, 3, 54])
def test_blocks_in_a_row_have_binomially_many_paths(n: int):
    graph = network_of("{x: [4]}", f"- repeat: {{times: {n}, layers: [{{residual: {BRANCH}}}]}}\n- linear: 2")

    assert counts_of(graph) == [comb(n, k) for k in range(n + 1)]


def test_a_plain_network_has_one_path_and_no_block():
    graph = network_of("{x: [4]}", "- {repeat: {times: 3, layers: [relu, {linear: 4}]}}")

    assert residual_blocks(graph) == ()
    assert counts_of(graph) == [1]


def test_a_block_knows_its_shortcut_its_branch_and_its_start():
    graph = network_of("{x: [4]}", "- {linear: 4}\n- residual: {layers: [relu, {linear: 4}]}")
    (block,) = residual_blocks(graph)

    assert (block.start, block.join, block.shortcut, block.inside) == ("linear_1", "add_1", 0, ("relu_1", "linear_2"))


def test_a_projection_on_the_shortcut_is_no_branch():
    layers = "- residual: {shortcut: {linear: 8}, layers: [{linear: 8}, relu, {linear: 8}]}"
    (block,) = residual_blocks(graph := network_of("{x: [4]}", layers))

    assert [graph.by_name[name].kind for name in block.inside] == ["linear", "relu", "linear"]
    assert counts_of(graph) == [1, 1]


def test_a_block_wired_by_hand_is_one_whatever_the_order_of_its_inputs():
    layers = "- {linear: 4, name: first}\n- {linear: 4, name: f}\n- {add: {}, from: [f, first]}"
    (block,) = residual_blocks(network_of("{x: [4]}", layers))

    assert (block.shortcut, block.inside) == (1, ("f",))


def test_blocks_within_a_branch_count_on_top_of_it():
    layers = "- residual: {layers: [{linear: 4}, {residual: {layers: [{linear: 4}]}}]}"

    assert counts_of(network_of("{x: [4]}", layers)) == [1, 1, 1]  # the shortcut, the outer alone, both


def test_a_sum_of_two_inputs_or_of_two_equal_branches_is_no_residual_block():
    two = "- {linear: 4, from: y}\n- {add: {}, from: [x, linear_1]}"
    equal = "- {linear: 4, name: a, from: x}\n- {linear: 4, name: b, from: x}\n- {add: {}, from: [a, b]}"

    assert residual_blocks(network_of("{x: [4], y: [4]}", two)) == ()
    assert residual_blocks(network_of("{x: [4]}", equal)) == ()


def test_a_named_block_gives_its_name_where_it_has_one_sum():
    blocks = "blocks: {wide: {layers: [{residual: {layers: [{linear: 4}]}}]}}"
    graph = network_of("{x: [4]}", "- wide\n- wide", more=blocks)

    assert [block.name for block in residual_blocks(graph)] == ["wide_1", "wide_2"]


def test_what_is_done_to_a_sum_belongs_to_its_block_and_a_norm_behind_the_last_does_not():
    layers = (
        "- repeat: {times: 2, layers: [{residual: {layers: [{linear: 4}], after: relu}}]}\n- layer_norm\n- linear: 1"
    )
    graph = network_of("{x: [4]}", layers)

    assert block_ends(graph, residual_blocks(graph)) == ["x", "relu_1", "relu_2"]
