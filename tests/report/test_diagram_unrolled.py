"""Recurrent networks unrolled: a cell for each step and layer, states between them."""

from xml.etree import ElementTree

import pytest
from helpers import SHIPPED, network_of

from dlx.graph import Graphs, trace_all
from dlx.report.diagram import unrolled
from dlx.report.diagram.labels import title
from dlx.spec import load

SVG = "{http://www.w3.org/2000/svg}"


def cells(graph):
    """How often each kind stands in a cell, and how many arrows go to the right, to the left and up."""
    root = ElementTree.fromstring(unrolled.picture(Graphs.of(graph)).text)  # noqa: S314 - it is our own
    words = [text.text for text in root.iter(f"{SVG}text") if text.get("text-anchor") == "middle"]
    heads = [path.get("d") for path in root.iter(f"{SVG}path") if path.get("class") == "a"]
    ways = [sum(head.endswith(turn) for head in heads) for turn in ("l-7 -3.5v7z", "l7 -3.5v7z", "l-3.5 7h7z")]
    return {word: words.count(word) for word in words}, ways


def test_a_short_sequence_has_a_cell_for_each_step():
    found, ways = cells(network_of("[3, 2]", "- rnn: 4\n- linear: 1\n"))

    assert found == {"step 1": 1, "step 2": 1, "step 3": 1, "rnn": 3, "linear": 3}
    assert ways == [2, 0, 3 * 3]


def test_a_long_sequence_has_its_first_two_steps_and_the_last():
    found, ways = cells(trace_all(load(SHIPPED["zoo/char-lstm"])).one)

    assert found == {"step 1": 1, "step 2": 1, "step 64": 1, "embedding": 3, "lstm": 3, "linear": 3, "\u2026": 3}
    assert ways == [3, 0, 3 * 4]


def test_layers_of_a_recurrent_layer_have_rows_and_both_ways_have_arrows():
    found, ways = cells(network_of("[3, 2]", "- lstm: {hidden_size: 4, num_layers: 2, bidirectional: true}\n"))

    assert found["lstm"] == 6
    assert ways == [4, 4, 3 * 3]


def test_a_recurrent_layer_that_goes_both_ways_says_so():
    both = network_of("[3, 2]", "- gru: {hidden_size: 4, bidirectional: true}\n").nodes[0]
    one = network_of("[3, 2]", "- gru: {hidden_size: 4}\n").nodes[0]
    assert (title(both), title(one)) == ("gru 4, bidirectional", "gru 4")


def test_what_takes_the_last_state_stands_behind_the_last_step():
    found, ways = cells(network_of("[4, 2]", "- gru: {hidden_size: 4, return_sequences: false}\n- linear: 1\n"))

    assert found["gru"] == 4
    assert found["linear"] == 1
    assert ways == [3, 0, 4 + 1 + 1]


@pytest.mark.parametrize("name", ["zoo/gpt2", "digits/lenet", "zoo/translation", "zoo/sentiment"])
def test_other_networks_are_not_unrolled(name):
    assert not all(unrolled.is_unrolled(graph) for graph in trace_all(load(SHIPPED[name])).values())
