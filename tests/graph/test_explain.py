"""The page of a layer: every equation on it is true, and gives the figure of the plan."""

from fractions import Fraction
from functools import lru_cache
from typing import ClassVar

import pytest
from helpers import SHIPPED, WALK, network_of

from dlx.errors import Mark, SpecError
from dlx.graph import trace
from dlx.graph.explain import explain
from dlx.graph.graph import Graph, LayerNode, Wire
from dlx.graph.receptive_field import propagation
from dlx.layers import LAYERS, Layer, Plan
from dlx.layers.arithmetic import Line, evaluated
from dlx.shapes import ReceptiveField, Shape, Window
from dlx.spec import load


def alone(layer, xs):
    """A graph of one layer, called `it`, on inputs of the network."""
    inputs = {f"in_{i}": x for i, x in enumerate(xs)}
    wires = [Wire(name, x, propagation.of_input(name, x), is_input=True) for name, x in inputs.items()]
    plan, channel_axes = layer.plan(*xs), {}
    wire = propagation.propagate(wires, plan, "it", channel_axes)
    node = LayerNode(
        "it", layer.kind, layer, tuple(inputs), tuple(xs), plan, wire.symbolic_fields, Mark("s.yaml", 4, 7)
    )
    propagation.set_receptive_fields(inputs, [node], channel_axes)
    return Graph(
        "alone", inputs, (node,), {"output": "it"}, channel_axes=propagation.with_defaults(inputs, channel_axes)
    )


@lru_cache
def shipped(name):
    return trace(load(SHIPPED[name]))


def check(page, node):
    """Each line is true, and is the plan's."""
    lines = page.as_json()["lines"]
    for each in lines:
        if each["numbers"]:
            assert float(evaluated(each["numbers"])) == pytest.approx(each["value"], rel=1e-15), each
    figures = {part: [each for each in lines if each["part"] == part and each["value"] is not None] for part in PARTS}
    for each in figures["output"]:
        assert {node.shape[k] for k in each["axes"]} == {each["value"]}
    for each in figures["parameters"]:
        assert each["value"] in (node.plan.params, *(Shape(s).count for s in node.plan.weights.values()))
    for part, value in [("parameters", node.plan.params), ("buffers", node.plan.buffered)]:
        assert not figures[part] or figures[part][-1]["value"] == value
    assert not figures["multiply-adds"] or figures["multiply-adds"][-1]["value"] == node.plan.macs
    assert [each["value"] for each in figures["memory"]] == ([] if node.plan.view else [node.activation_bytes])
    for each in figures["receptive field"]:
        what = each["what"].split(" ")[0]
        if what != "lag":
            values = getattr(node.receptive_field, {"jump": "stride"}.get(what, what))
            assert {float(values[k - 1]) for k in each["axes"]} == {each["value"]}, each


PARTS = ("output", "parameters", "buffers", "multiply-adds", "memory", "receptive field")


@pytest.mark.parametrize("kind", sorted(LAYERS))
def test_every_figure_of_every_layer_is_the_plans(kind):
    layer, xs, _ = LAYERS[kind].worked_example()
    graph = alone(layer, xs)

    check(explain(graph, "it"), graph.nodes[0])


@pytest.mark.parametrize("name", WALK)
def test_every_figure_of_every_shipped_spec_is_the_plans(name):
    graph = shipped(name)
    for node in graph.nodes:
        check(explain(graph, node.name), node)


@pytest.mark.parametrize("name", WALK)
def test_the_sums_of_a_network_are_its_totals(name):
    graph = shipped(name)
    page = explain(graph).as_json()
    totals = {each["part"]: each for each in page["lines"] if each["what"] != "trainable"}  # the last of its part
    figures = {"parameters": graph.params, "multiply-adds": graph.macs, "memory": graph.activation_bytes}

    for part, total in figures.items():
        if total:
            assert totals[part]["value"] == evaluated(totals[part]["numbers"]) == total
        else:
            assert totals[part]["note"] == "None of its layers has any."


def lines_of(graph, name, part):
    (found,) = [p for p in explain(graph, name).derivations if p.title.startswith(part)]
    return [f"{each.numbers} = {each.value}" if each.numbers else each.note for each in found.lines]


CONVS = """
- conv: {out_channels: 8, kernel_size: 3}
- max_pool: 2
- conv: {out_channels: 8, kernel_size: 5, stride: 2, padding: 1}
  name: last
"""


def test_a_receptive_field_grows_by_what_it_has_seen_so_far():
    notes = lines_of(network_of("[1, 32, 32]", CONVS), "last", "Receptive")

    assert notes[0] == "So far, `max_pool_1`: size 4, jump 2, start 0."
    assert notes[1:4] == ["4 + (5 - 1) * 1 * 2 = 12", "2 * 2 = 4", "0 - 1 * 2 = -2"]


def test_axes_that_differ_are_distinguished():
    graph = network_of("[1, 32, 30]", "- conv: {out_channels: 8, kernel_size: [3, 5]}")
    (output, *_, field) = explain(graph, "conv_1").derivations

    assert [each.what for each in output.lines] == ["channels", "height", "width"]
    assert [each.what for each in field.lines][1:] == ["size (height)", "size (width)", "jump", "start", ""]


def test_branches_that_are_aligned_are_reported_with_their_hull():
    graph = network_of(
        "[4, 8, 8]",
        """
        - parallel:
            branches:
              - [{conv: {out_channels: 4, kernel_size: 3, padding: 1}}]
              - [{conv: {out_channels: 4, kernel_size: 5, padding: 2}}]
        """,
    )
    assert lines_of(graph, "concat_1", "Receptive") == [
        "`conv_1`: size 3, jump 1, start -1.",
        "`conv_2`: size 5, jump 1, start -2.",
        "min(-1, -2) = -2",
        "max(-1 + 3, -2 + 5) - min(-1, -2) = 5",
        "The branches are aligned: their windows have the same jump and the same centre.",
    ]


DRIFTING = """
- max_pool: 2
  name: halved
- conv: {out_channels: 4, kernel_size: 5}
  from: input
- add:
  from: [halved, conv_1]
"""


def test_branches_of_different_jumps_drift_apart():
    graph = network_of("[4, 8, 8]", DRIFTING)
    notes = lines_of(graph, "add_1", "Receptive")

    assert notes[2] == "(2 - 1) * (4 - 1) = 3"
    assert notes[3:6] == ["min(2, 1) = 1", "min(0, 0) = 0", "max(0 + 2 + 3, 0 + 5) - 0 = 5"]
    assert notes[-1] == "The branches are not aligned: the jumps of their windows differ, and this is their hull."


def test_a_crop_moves_the_start():
    graph = network_of(
        "[4, 9]",
        """
        - conv: {out_channels: 4, kernel_size: 3}
        - concat: {crop: center}
          from: [conv_1, input]
        """,
    )
    assert "`input` is cropped: its start goes from 0 to 1." in lines_of(graph, "concat_1", "Receptive")


@pytest.mark.parametrize(
    ("layers", "sentence"),
    [
        ("- global_avg_pool", "Each value depends on everything that comes in: it sees the whole input."),
        ("- global_avg_pool\n- linear: 2", "`global_avg_pool_1` sees the whole input already, and so does this."),
        ("- flatten\n- relu", "It works at each position by itself, and sees there what came in."),
        ("- flatten", "The same values stand on other axes: size 3, jump 1, start 0."),
        ("- relu", "It works at each position by itself, and sees there what came in."),
        ("- softmax: {dim: 2}", "It mixes all positions along height: there it sees everything."),
    ],
)
def test_where_there_is_no_arithmetic_there_is_a_sentence(layers, sentence):
    graph = network_of("[4, 6, 6]", f"- conv: {{out_channels: 4, kernel_size: 3}}\n{layers}")

    assert sentence in lines_of(graph, graph.nodes[-1].name, "Receptive")


def test_a_merge_with_what_sees_everything_sees_everything():
    graph = network_of("[4, 6, 6]", "- global_avg_pool: {keepdim: true}\n- multiply:\n  from: [input, prev]")

    assert lines_of(graph, "multiply_1", "Receptive") == [
        "`global_avg_pool_1` sees the whole input already, and so does this."
    ]


def test_a_window_wider_than_the_input_is_said():
    graph = network_of("[1, 5]", "- conv: {out_channels: 1, kernel_size: 7, padding: 3}")

    assert lines_of(graph, "conv_1", "Receptive")[-1] == (
        "7 is more than the 5 positions of the input: at every place a part of the window lies outside."
    )


SHARED = """
- linear: 6
  name: first
- relu
- share: first
- linear: 6
  name: last
  tie: first
  values: {bias: 0}
"""


def test_shared_tied_frozen_and_set_weights_are_explained():
    graph = network_of("[6]", SHARED, more="freeze: [first]")
    shared, tied, frozen = (explain(graph, name) for name in ("share_1", "last", "first"))

    assert shared.remarks[0] == (
        "It runs the weights of `first`, which are counted there; the multiply-adds are done again."
    )
    assert shared.figures["params"] == 0
    assert tied.remarks == (
        "It runs the weight of `first`, which is counted there; only the bias is its own.",
        "The spec gives the values of `bias`.",
    )
    assert lines_of(graph, "last", "Parameters") == ["6 = 6"]
    assert lines_of(graph, "last", "Multiply")[0] == "6 values * 6 sums = 36"
    assert frozen.remarks == ("It is frozen: training does not move its weights.",)


def test_frozen_weights_are_taken_off_the_total():
    notes = lines_of(network_of("[6]", SHARED, more="freeze: [first]"), None, "Parameters")

    assert notes[-1] == "48 - 42 = 6"


def test_what_is_odd_is_on_the_page():
    graph = network_of("[1, 8]", "- conv: {out_channels: 1, kernel_size: 3, stride: 2}")

    assert explain(graph, "conv_1").warnings == (
        "the stride skips the end: the last 1 of 8 positions on axis 0 is never seen",
    )


BLOCKS = """
- layers:
    - conv: {out_channels: 4, kernel_size: 3, padding: 1}
    - layers: [{conv: {out_channels: 4, kernel_size: 3}}, relu]
      name: inner
  name: stem
- flatten
- linear: 2
"""


def test_a_block_is_the_sum_of_its_layers():
    graph = network_of("[1, 8, 8]", BLOCKS)
    page = explain(graph, "stem")

    assert (page.kind, page.names) == ("3 layers", (("stem/conv_1", 1), ("stem/inner", 2)))
    assert page.arriving == (("input", (1, 8, 8)),)
    assert lines_of(graph, "stem", "Parameters") == ["148 = 148", "40 = 40", "148 + 40 = 188"]
    assert page.figures["macs"] == sum(node.plan.macs for node in graph.nodes[:3])
    assert "1 + 4 * 1 = 5" in lines_of(graph, "stem", "Receptive")
    assert explain(graph, "stem/inner").kind == "2 layers"


def test_a_block_without_weights_says_so():
    graph = network_of("[4]", "- layers: [relu, tanh]\n  name: bends")

    assert lines_of(graph, "bends", "Parameters") == ["None of its layers has any."]


def test_the_windows_on_the_way_to_the_end_add_up():
    graph = shipped("cs231n/resnet50")

    assert "1 + 6 * 1 + 2 * 2 + 8 * 4 + 8 * 8 + 12 * 16 + 4 * 32 = 427" in lines_of(graph, None, "Receptive")


def test_a_hull_that_no_single_way_explains_is_not_made_to_add_up():
    """[p, p + 4] and [3p, 3p + 2] at four stops: [p, p + 8] holds both."""
    far = "- pad: [0, 4]\n- conv: {out_channels: 4, kernel_size: 3, stride: 3}\n  name: far\n"
    near = "- conv: {out_channels: 4, kernel_size: 5}\n  from: input\n- add:\n  from: [far, prev]"
    notes = lines_of(network_of("[4, 8]", far + near), None, "Receptive")

    assert notes[1:] == ["It is the hull of several ways: size 9, jump 1, start 0."]


def test_a_way_without_windows_has_nothing_to_add_up():
    notes = lines_of(network_of("[4, 8, 8]", "- relu\n- conv: {out_channels: 2, kernel_size: 1}"), None, "Receptive")

    assert notes[1:] == ["No window widens it on the way: size 1, jump 1, start 0."]


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("conv_9", "Did you mean `conv_1`?"),
        ("sten", "Did you mean `stem`?"),
        ("stem/inne", "Did you mean `stem/inner`"),
    ],
)
def test_an_unknown_name_is_refused_with_the_nearest(name, hint):
    graph = network_of("[1, 8, 8]", "- conv: {out_channels: 1, kernel_size: 1}\n" + BLOCKS.lstrip())

    with pytest.raises(SpecError) as refusal:
        explain(graph, name)
    (problem,) = refusal.value.problems
    assert problem.message == f"there is no layer or block `{name}`"
    assert problem.hint.startswith(hint)


# --- layers from elsewhere ------------------------------------------------------------------------------------------


class Wrong(Layer):
    """Claim things that are not so

    Shapes: (*) -> whatever.
    """

    lines: ClassVar[tuple[Line, ...]] = (
        Line("", "size + 1", "4 + 1", 6, axes=(1,)),
        Line("", "size + 2", "4 + 2", 6, axes=(0,)),
        Line("weight", "", "2 * 9", 18, part="parameters"),
        Line("", "", "7", 7, part="multiply-adds"),
    )

    def plan(self, *xs):
        return Plan(Shape((3, 6)), {"weight": (2, 3)}, macs=5, window=Window.over(1, 1))

    def working(self, plan, *xs):
        return self.lines


Wrong.kind = "wrong"


def test_a_layer_with_wrong_equations_cannot_make_the_page_wrong():
    graph = alone(Wrong(), [Shape((2, 4))])
    page = explain(graph, "it")

    check(page, graph.nodes[0])
    assert lines_of(graph, "it", "Output") == ["By its rule: (*) -> whatever."]
    assert lines_of(graph, "it", "Parameters") == ["2 * 3 = 6"]
    assert lines_of(graph, "it", "Multiply") == []


def test_fractions_stay_exact():
    graph = alone(LAYERS["adaptive_avg_pool"](output_size=5), [Shape((1, 12))])
    (*_, field) = explain(graph, "it").derivations

    assert isinstance(graph.nodes[0].receptive_field, ReceptiveField)
    assert [each.value for each in field.lines if each.what == "jump"] == [Fraction(12, 5)]
