"""Boxes of a diagram: layers with what follows them, equal blocks in a row once."""

from helpers import SHIPPED, network_of

from dlx.graph import trace_all
from dlx.report.diagram.blocks import Block, Stack, blocks, walk
from dlx.spec import load


def rows(block):
    """Kinds of the layers of each box, and of a block its name, how often it is there, and what is in it."""
    return [
        [node.kind for node in item.nodes] if isinstance(item, Stack) else (item.title, item.times, rows(item))
        for item in block.items
    ]


def test_a_layer_is_in_one_box_with_the_norm_and_activation_behind_it():
    graph = network_of(
        "{image: [3, 8, 8]}", "- conv: {out_channels: 4, kernel_size: 3}\n- batch_norm\n- relu\n- max_pool: 2\n"
    )

    assert rows(blocks(graph)) == [["conv", "batch_norm", "relu"], ["max_pool"]]


def test_an_activation_has_a_box_of_its_own_where_another_layer_takes_what_it_takes():
    graph = network_of("[8]", "- linear: 8\n- residual: {layers: [relu, {linear: 8}]}\n")

    assert rows(blocks(graph)) == [["linear"], ["relu"], ["linear"], ["add"]]


def test_layers_that_a_spec_repeats_are_drawn_once_with_their_number():
    graph = network_of(
        "[8]",
        "- linear: 8\n- repeat: {times: 5, layers: [{residual: {layers: [{linear: 8}, tanh]}}]}\n- linear: 2\n",
    )
    tree = blocks(graph)

    assert rows(tree) == [["linear"], ("", 5, [["linear", "tanh"], ["add"]]), ["linear"]]
    repeated = tree.items[1]
    assert isinstance(repeated, Block)
    assert repeated.params == 5 * (8 * 8 + 8)
    assert len(repeated.nodes) == 15
    assert [node.name for node in repeated.first] == ["linear_2", "tanh_1", "add_1"]


def test_repeated_layers_are_drawn_apart_where_one_is_taken_elsewhere():
    layers = "- repeat: {times: 3, layers: [{linear: 8}, tanh]}\n- add: {}\n  from: [tanh_1, prev]\n"

    assert rows(blocks(network_of("[8]", layers))) == [
        ["linear", "tanh"],
        ("", 2, [["linear", "tanh"]]),
        ["add"],
    ]
    assert rows(blocks(network_of("[8]", layers.partition("- add")[0]))) == [("", 3, [["linear", "tanh"]])]


def test_equal_layers_side_by_side_are_no_repetition():
    graph = network_of("[8]", "- parallel: {branches: [[{linear: 4}], [{linear: 4}]]}\n")

    assert rows(blocks(graph)) == [["linear"], ["linear"], ["concat"]]


def test_a_repetition_is_found_where_parts_of_it_are_alike():
    """A layer of a decoder holds two attentions of one block, of which the second looks at the encoder."""
    tree = blocks(trace_all(load(SHIPPED["zoo/transformer-base"])).one)

    found = {block.name: block.times for block in walk(tree)}
    decoder = next(item for item in tree.items if isinstance(item, Block) and item.name == "decoder")
    (layer,) = (item for item in decoder.items if isinstance(item, Block))
    assert layer.times == 6
    assert [item.title for item in layer.items] == ["attention_1", "attention_2", "feed_forward_1"]
    assert "decoder/attention_3" not in found


def test_resnet_152_has_the_blocks_of_its_table():
    """3, 8, 36 and 3 blocks, the first of each with a projection (He et al. 2016, table 1)."""
    tree = blocks(trace_all(load(SHIPPED["cs231n/resnet152"])).one)

    assert [item.times for item in tree.items if isinstance(item, Block)] == [1, 2, 1, 7, 1, 35, 1, 2]


def test_a_parameter_takes_nothing_from_the_layer_before_it():
    graph = network_of("[4]", "- linear: 3\n- parameter: [3]\n- add: {}\n  from: [linear_1, parameter_1]\n")

    assert rows(blocks(graph)) == [["linear"], ["parameter"], ["add"]]
