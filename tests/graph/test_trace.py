"""The expansion of each structure of a spec: nodes, names, wires and counts."""

import json

import pytest
import torch
from helpers import SHIPPED, WALK, experiment_of, graph_of, network_of
from torch import fx, nn

from dlx.errors import SpecError
from dlx.graph import input_shapes, trace
from dlx.spec import load


def wiring(graph):
    """Each node and what it takes."""
    return {node.name: node.inputs for node in graph.nodes}


def refused(inputs, layers, more=""):
    """The one sentence that a network is refused with."""
    with pytest.raises(SpecError) as error:
        network_of(inputs, layers, more)
    (problem,) = error.value.problems
    return problem.message


# --- a list of layers -----------------------------------------------------------------------------------------------


def test_a_list_runs_from_top_to_bottom_and_each_kind_is_numbered():
    graph = network_of(
        "[1, 28, 28]",
        """
        - conv: {out_channels: 6, kernel_size: 5}
        - relu
        - conv: {out_channels: 16, kernel_size: 5}
        - relu
        - flatten
        - linear: 10
        """,
    )
    assert wiring(graph) == {
        "conv_1": ("input",),
        "relu_1": ("conv_1",),
        "conv_2": ("relu_1",),
        "relu_2": ("conv_2",),
        "flatten_1": ("relu_2",),
        "linear_1": ("flatten_1",),
    }
    assert [tuple(n.shape) for n in graph.nodes][-2:] == [(16 * 20 * 20,), (10,)]
    assert graph.outputs == {"output": "linear_1"}
    assert graph.params == (6 * 25 + 6) + (16 * 6 * 25 + 16) + (10 * 6400 + 10)
    assert graph.macs == 6 * 25 * 24 * 24 + 16 * 6 * 25 * 20 * 20 + 10 * 6400


def test_a_name_replaces_the_number_and_from_takes_it_up_again():
    graph = network_of(
        "{image: [3, 8, 8]}",
        """
        - conv: {out_channels: 4, kernel_size: 1}
          name: stem
        - relu
        - tanh
        - add:
          from: [prev, stem]
        - concat:
          from: [image, input, add_1]
        """,
    )
    assert wiring(graph) == {
        "stem": ("image",),
        "relu_1": ("stem",),
        "tanh_1": ("relu_1",),
        "add_1": ("tanh_1", "stem"),
        "concat_1": ("image", "image", "add_1"),
    }
    assert tuple(graph.output_shape()) == (3 + 3 + 4, 8, 8)


def test_a_number_that_a_name_has_taken_is_passed_over():
    graph = network_of(
        "[4]",
        "[{relu: , name: relu_1}, relu, relu]".replace("[{", "- {").replace("}, relu, relu]", "}\n- relu\n- relu"),
    )

    assert list(wiring(graph)) == ["relu_1", "relu_2", "relu_3"]


def test_entries_can_be_left_out_by_a_condition():
    layers = """
        - relu
        - conv: {out_channels: 2, kernel_size: 3}
          when: ${x.size[0] > 8}
        - tanh:
          when: false
        - sigmoid:
          when: ${x.channels == 2}
    """
    assert list(wiring(network_of("[1, 9, 9]", layers))) == ["relu_1", "conv_1", "sigmoid_1"]
    assert list(wiring(network_of("[1, 8, 8]", layers))) == ["relu_1"]


def test_expressions_know_the_shape_that_comes_in():
    graph = network_of(
        "[6, 10, 14]",
        """
        - conv: {out_channels: "${x.channels}", kernel_size: 3, groups: "${x.channels}"}
        - conv: {out_channels: "${max(1, x.channels // 4)}", kernel_size: ["${x.size[0]}", "${x.rank - 1}"]}
        - flatten
        - linear: ${2 * x.rank + x.channels}
        """,
    )
    assert [tuple(n.shape) for n in graph.nodes] == [(6, 8, 12), (1, 1, 12), (12,), (2 * 0 + 12,)]


@pytest.mark.parametrize("shape", [[7], [3, 9], [3, 9, 8], [3, 9, 8, 7]])
def test_the_rank_counts_axes_of_positions_those_after_the_channels(shape):
    rank = len(shape) - 1
    layers = "".join(f"- relu:\n  when: ${{x.rank == {number}}}\n  name: of_{number}\n" for number in range(5))
    assert list(wiring(network_of(str(shape), layers))) == [f"of_{rank}"]


@pytest.mark.parametrize(
    ("layers", "sentence"),
    [
        ("[]", "s.yaml:1:28  network.layers\n  the network has no layer\n  Write one: `- linear: 10`."),
        ("[{relu: , when: false}]", "all layers of the network are left out\n  Is a `when` false, or `times` 0?"),
        ("[{repeat: {times: 0, layers: [relu]}}]", "all layers of the network are left out"),
        ("[{layers: [], name: stem}]", "all layers of the network are left out"),
    ],
)
def test_a_network_without_a_layer_is_refused(tmp_path, layers, sentence):
    (tmp_path / "s.yaml").write_text(f"network: {{inputs: [3,8,8], layers: {layers}}}\n")
    with pytest.raises(SpecError) as error:
        trace(load(tmp_path / "s.yaml"))
    assert sentence in str(error.value)


def test_with_two_sources_x_is_the_first():
    graph = network_of("{a: [4], b: [7]}", "- concat:\n  from: [b, a]\n  when: ${x.channels == 7}")

    assert tuple(graph.output_shape()) == (11,)


# --- skip connections and branches ----------------------------------------------------------------------------------


def test_a_residual_adds_what_came_in():
    graph = network_of(
        "[4, 8, 8]",
        """
        - relu
        - residual:
            layers: [{conv: {out_channels: 4, kernel_size: 3, padding: 1}}, tanh]
        """,
    )
    assert wiring(graph)["add_1"] == ("relu_1", "tanh_1")
    assert graph.outputs == {"output": "add_1"}


def test_a_residual_may_bring_its_shortcut_to_shape_and_go_on_after_the_merge():
    graph = network_of(
        "[4, 8, 8]",
        """
        - residual:
            layers:
              - conv: {out_channels: 6, kernel_size: 3, stride: 2, padding: 1}
            shortcut:
              - conv: {out_channels: 6, kernel_size: 1, stride: 2}
              - batch_norm
            after: [relu, dropout]
        """,
    )
    assert wiring(graph) == {
        "conv_1": ("input",),
        "conv_2": ("input",),
        "batch_norm_1": ("conv_2",),
        "add_1": ("batch_norm_1", "conv_1"),
        "relu_1": ("add_1",),
        "dropout_1": ("relu_1",),
    }


@pytest.mark.parametrize(
    ("merge", "kind", "shape"),
    [
        ("concat", "concat", (8, 5, 5)),
        ("multiply", "multiply", (4, 5, 5)),
        ("{concat: {dim: 2}}", "concat", (4, 10, 5)),
        ("{concat: {crop: center}, name: joined}", "joined", (8, 5, 5)),
    ],
)
def test_a_residual_merges_as_it_is_reported(merge, kind, shape):
    graph = network_of("[4, 5, 5]", f"- residual: {{layers: [relu], merge: {merge}}}")
    (last,) = graph.outputs.values()

    assert last == (kind if kind == "joined" else f"{kind}_1")
    assert tuple(graph.by_name[last].shape) == shape


def test_densenet_is_a_residual_that_concatenates():
    graph = network_of(
        "[16, 8, 8]",
        """
        - repeat:
            times: 3
            layers:
              - residual:
                  layers: [{conv: {out_channels: 12, kernel_size: 3, padding: 1}}]
                  merge: concat
        """,
    )
    assert [n.shape.channels for n in graph.nodes if n.kind == "concat"] == [28, 40, 52]
    assert wiring(graph)["concat_2"] == ("concat_1", "conv_2")  # what came in stands first


def test_branches_run_side_by_side_on_what_came_in():
    graph = network_of(
        "[4, 8, 8]",
        """
        - relu
        - parallel:
            branches:
              - [{conv: {out_channels: 1, kernel_size: 1}}]
              - - conv: {out_channels: 2, kernel_size: 1}
                - tanh
              - []
            after: sigmoid
        """,
    )
    assert wiring(graph)["conv_1"] == wiring(graph)["conv_2"] == ("relu_1",)
    assert wiring(graph)["concat_1"] == ("conv_1", "tanh_1", "relu_1")
    assert wiring(graph)["sigmoid_1"] == ("concat_1",)
    assert graph.output_shape().channels == 1 + 2 + 4


def test_branches_can_be_added_and_one_branch_needs_no_merge():
    added = network_of("[4]", "- parallel: {branches: [[relu], [tanh], [sigmoid]], merge: add}")
    single = network_of("[4]", "- parallel: {branches: [[relu]]}")

    assert wiring(added)["add_1"] == ("relu_1", "tanh_1", "sigmoid_1")
    assert list(wiring(single)) == ["relu_1"]


# --- repeats --------------------------------------------------------------------------------------------------------


def test_a_repeat_counts_with_i():
    graph = network_of(
        "[1, 32]",
        """
        - repeat:
            times: 3
            layers:
              - conv: {out_channels: 1, kernel_size: 2, dilation: "${2 ** i}"}
                name: layer_${i}
              - relu:
                when: ${i < 2}
        """,
    )
    assert wiring(graph) == {
        "layer_0": ("input",),
        "relu_1": ("layer_0",),
        "layer_1": ("relu_1",),
        "relu_2": ("layer_1",),
        "layer_2": ("relu_2",),
    }
    assert [graph.by_name[f"layer_{i}"].layer.dilation for i in range(3)] == [1, 2, 4]


def test_nested_repeats_can_name_their_counter():
    graph = network_of(
        "[4]",
        """
        - repeat:
            times: 2
            index: row
            layers:
              - repeat: {times: 2, layers: [{relu: , name: "r${row}${i}"}]}
        """,
    )
    assert list(wiring(graph)) == ["r00", "r01", "r10", "r11"]


def test_a_repeat_of_nothing_hands_its_input_on():
    assert wiring(network_of("[4]", "- repeat: {times: 0, layers: [relu]}\n- tanh")) == {"tanh_1": ("input",)}


def test_for_walks_its_lists_in_step_and_counts_too():
    graph = network_of(
        "[3, 16, 16]",
        """
        - for: {width: [8, "${4 * 4}"], kernel: [5, 3]}
          layers:
            - conv: {out_channels: "${width + i}", kernel_size: "${kernel}"}
        """,
    )
    assert [tuple(n.shape) for n in graph.nodes] == [(8, 12, 12), (17, 10, 10)]


def test_for_walks_lists_of_lists():
    graph = network_of(
        "[4]", "- for: {stage: [[1, 2], [3]]}\n  layers:\n  - for: {n: '${stage}'}\n    layers: [{linear: '${n}'}]"
    )

    assert [tuple(n.shape) for n in graph.nodes] == [(1,), (2,), (3,)]


# --- scopes and blocks ----------------------------------------------------------------------------------------------

SQUEEZE = """
blocks:
  squeeze:
    args: {by: 4, width: "${max(1, x.channels // by)}"}
    layers:
      - residual:
          layers:
            - global_avg_pool: {keepdim: true}
            - conv: {out_channels: "${width}", kernel_size: 1}
            - relu
            - conv: {out_channels: "${scale * x.channels}", kernel_size: 1}
            - sigmoid
          merge: multiply
vars: {scale: 4}
"""


def test_a_block_has_a_scope_arguments_defaults_and_the_spec_s_variables():
    graph = network_of("[16, 8, 8]", "- squeeze\n- squeeze: {width: 4}\n- squeeze: 4", SQUEEZE)

    assert list(wiring(graph))[:6] == [
        "squeeze_1/global_avg_pool_1",
        "squeeze_1/conv_1",
        "squeeze_1/relu_1",
        "squeeze_1/conv_2",
        "squeeze_1/sigmoid_1",
        "squeeze_1/multiply_1",
    ]
    assert wiring(graph)["squeeze_2/global_avg_pool_1"] == ("squeeze_1/multiply_1",)
    assert [graph.by_name[f"squeeze_{n}/conv_1"].shape.channels for n in (1, 2, 3)] == [4, 4, 4]


def test_arguments_of_a_call_see_the_variables_around_it_and_the_block_does_not():
    block = "blocks: {wide: {args: {n: null}, layers: [{linear: '${n}'}]}}"
    graph = network_of("[4]", "- repeat: {times: 2, layers: [{wide: '${i + 5}'}]}", block)
    hidden = "blocks: {wide: {layers: [{linear: '${i + 5}'}]}}"

    assert [tuple(n.shape) for n in graph.nodes] == [(5,), (6,)]
    assert refused("[4]", "- repeat: {times: 2, layers: [wide]}", hidden) == "there is no variable `i` here"
    assert refused("[4]", "- wide: ${k}", block) == "there is no variable `k` here"


def test_input_is_what_came_into_the_block():
    block = "blocks: {skip: {layers: [relu, tanh, {add: , from: [prev, input]}]}}"
    graph = network_of("[4]", "- linear: 4\n- skip\n- skip", block)

    assert wiring(graph)["skip_1/add_1"] == ("skip_1/tanh_1", "linear_1")
    assert wiring(graph)["skip_2/add_1"] == ("skip_2/tanh_1", "skip_1/add_1")


def test_blocks_may_use_themselves_fractal():
    fractal = """
    blocks:
      fractal:
        args: {depth: null}
        layers:
          - conv: {out_channels: 2, kernel_size: 3, padding: 1}
            when: ${depth == 1}
          - parallel:
              branches:
                - - conv: {out_channels: 2, kernel_size: 3, padding: 1}
                - - fractal: ${depth - 1}
                  - fractal: ${depth - 1}
              merge: add
            when: ${depth > 1}
    """
    graph = network_of("[2, 8, 8]", "- fractal: 3", fractal)

    assert sum(n.kind == "conv" for n in graph.nodes) == 1 + 2 * (1 + 2)
    assert wiring(graph)["fractal_1/fractal_2/fractal_1/conv_1"] == ("fractal_1/fractal_1/add_1",)
    assert graph.receptive_field.size == (1 + 2 * 2**2,) * 2  # the longest way: four convolutions


def test_blocks_may_use_themselves_hourglass():
    hourglass = """
    blocks:
      hourglass:
        args: {depth: null}
        layers:
          - max_pool: 2
          - hourglass: ${depth - 1}
            when: ${depth > 1}
          - conv: {out_channels: "${x.channels + 1}", kernel_size: 3, padding: 1}
    """
    graph = network_of("[1, 32, 32]", "- hourglass: 3", hourglass)

    assert [n.name.count("/") for n in graph.nodes] == [1, 2, 3, 3, 2, 1]
    assert tuple(graph.output_shape()) == (4, 4, 4)


def test_a_named_structure_is_a_scope_whose_nodes_have_names_outside():
    graph = network_of(
        "[4, 8, 8]",
        """
        - layers:
            - conv: {out_channels: 4, kernel_size: 3, padding: 1}
            - repeat: {times: 2, layers: [relu]}
              name: tail
          name: stage
        - residual: {layers: [tanh], shortcut: [sigmoid]}
          name: gate
        - concat:
          from: [prev, stage, stage/conv_1, stage/tail/relu_1, gate/tanh_1]
        """,
    )
    assert list(wiring(graph)) == [
        "stage/conv_1",
        "stage/tail/relu_1",
        "stage/tail/relu_2",
        "gate/tanh_1",
        "gate/sigmoid_1",
        "gate/add_1",
        "concat_1",
    ]
    assert wiring(graph)["concat_1"] == (
        "gate/add_1",
        "stage/tail/relu_2",
        "stage/conv_1",
        "stage/tail/relu_1",
        "gate/tanh_1",
    )


def test_nodes_of_a_block_are_named_by_its_name_or_number():
    block = "blocks: {pair: {layers: [relu, tanh]}}"
    graph = network_of(
        "[4]", "- pair\n- pair:\n  name: second\n- add:\n  from: [pair_1/relu_1, second/relu_1, second]", block
    )

    assert wiring(graph)["add_1"] == ("pair_1/relu_1", "second/relu_1", "second/tanh_1")


def test_a_block_sees_the_nodes_around_it():
    block = "blocks: {back: {layers: [{add: , from: [prev, stem]}]}}"
    graph = network_of("[4]", "- linear: 4\n  name: stem\n- relu\n- back", block)

    assert wiring(graph)["back_1/add_1"] == ("relu_1", "stem")


def test_a_name_is_unique_and_an_input_keeps_its_own():
    assert refused("[4]", "- {relu: , name: a}\n- {tanh: , name: a}").startswith("the name `a` is taken, on line ")
    assert refused("{a: [4]}", "- {relu: , name: a}").startswith("the name `a` is taken, on line ")
    assert refused("[4]", "- repeat: {times: 2, layers: [{relu: , name: a}]}").startswith("the name `a` is taken")


@pytest.mark.parametrize("word", ["class", "lambda", "self", "_modules", "__init__", "input", "prev", "7th", "a b"])
def test_a_name_that_code_cannot_hold_is_refused(word):
    assert refused("[4]", f"- {{relu: , name: '{word}'}}").startswith(f"a node cannot be called `{word}`")


@pytest.mark.parametrize("word", ["class", "self", "prev", "a-b"])
def test_an_input_that_code_cannot_hold_is_refused(word):
    assert refused(f"{{'{word}': [4]}}", "- relu").startswith(f"an input cannot be called `{word}`")


def test_a_name_that_a_torch_module_needs_is_refused():
    taken = [name for name in dir(fx.GraphModule(nn.Module(), fx.Graph())) if not name.startswith("_")]

    assert "forward" in taken
    for word in taken:
        assert "torch's modules use the word" in refused("[4]", f"- {{relu: , name: {word}}}")


# --- shared, tied, given and frozen weights -------------------------------------------------------------------------


def test_a_shared_layer_counts_its_weights_once_and_its_macs_each_time():
    graph = network_of(
        "[4, 8, 8]",
        "- conv: {out_channels: 4, kernel_size: 3}\n  name: c\n- relu\n- share: c\n- share: c\n  name: third",
    )

    assert wiring(graph) == {"c": ("input",), "relu_1": ("c",), "share_1": ("relu_1",), "third": ("share_1",)}
    assert [n.owner for n in graph.nodes] == ["", "", "c", "c"]
    assert graph.params == graph.by_name["c"].params == 4 * 4 * 9 + 4
    assert graph.macs == 4 * 4 * 9 * (36 + 16 + 4)


def test_a_shared_scope_runs_all_of_its_weights_again():
    graph = network_of(
        "{left: [1, 12], right: [1, 12]}",
        """
        - layers:
            - conv: {out_channels: 2, kernel_size: 3}
            - batch_norm
            - repeat: {times: 2, layers: [{conv: {out_channels: 2, kernel_size: 1}}, relu]}
          name: tower
          from: left
        - share: tower
          from: right
          name: twin
        - share: twin
          from: left
        - concat:
          from: [tower, twin, share_1]
        """,
    )
    names = ["conv_1", "batch_norm_1", "conv_2", "relu_1", "conv_3", "relu_2"]
    assert list(wiring(graph)) == [f"{scope}/{n}" for scope in ("tower", "twin", "share_1") for n in names] + [
        "concat_1"
    ]
    assert [graph.by_name[f"twin/{n}"].owner for n in names] == [f"tower/{n}" for n in names]
    assert [graph.by_name[f"share_1/{n}"].owner for n in names] == [f"tower/{n}" for n in names]
    assert wiring(graph)["twin/conv_1"] == ("right",)
    assert wiring(graph)["concat_1"] == ("tower/relu_2", "twin/relu_2", "share_1/relu_2")
    assert graph.params == (2 * 3 + 2) + (2 + 2) + 2 * (2 * 2 + 2)
    assert graph.buffers == 2 + 2 + 1
    assert graph.macs == 3 * (2 * 3 * 10 + 2 * 2 * 2 * 10)


def test_a_shared_block_is_one_block():
    block = "blocks: {mlp: {args: {n: null}, layers: [{linear: '${n}'}, relu]}}"
    graph = network_of("[8]", "- mlp: 8\n- share: mlp_1\n- share: mlp_1/linear_1", block)

    assert [(n.name, n.owner) for n in graph.nodes] == [
        ("mlp_1/linear_1", ""),
        ("mlp_1/relu_1", ""),
        ("share_1/linear_1", "mlp_1/linear_1"),
        ("share_1/relu_1", "mlp_1/relu_1"),
        ("share_2", "mlp_1/linear_1"),
    ]
    assert graph.params == 8 * 8 + 8


@pytest.mark.parametrize("entry", ["pair", "{pair: }", "{pair: 4}", "{pair: {width: 4}}"])
def test_a_shared_block_may_have_been_written_in_any_way(entry):
    block = "blocks: {pair: {args: {width: '${x.channels}'}, layers: [{linear: '${width}'}, relu]}}"
    graph = network_of("[4]", f"- {entry}\n- share: pair_1", block)

    assert [n.owner for n in graph.nodes] == ["", "", "pair_1/linear_1", "pair_1/relu_1"]
    assert graph.params == 4 * 4 + 4


def test_a_shared_scope_knows_the_variables_it_was_made_with():
    layers = """
        - repeat:
            times: 2
            layers:
              - layers: [{linear: "${4 * (i + 1)}"}]
                name: step_${i}
        - linear: 4
        - share: step_1
    """
    graph = network_of("[4]", layers)

    assert [(n.name, n.owner, n.shape[0]) for n in graph.nodes] == [
        ("step_0/linear_1", "", 4),
        ("step_1/linear_1", "", 8),
        ("linear_1", "", 4),
        ("share_1/linear_1", "step_1/linear_1", 8),
    ]


def test_shared_scopes_may_hold_shared_scopes():
    layers = """
        - layers:
            - layers: [{linear: 4}, {linear: 4, tie: linear_1}]
              name: inner
            - share: inner
            - share: inner/linear_1
          name: outer
        - share: outer
        - share: share_1/share_1
    """
    graph = network_of("[4]", layers)
    first, tied = "outer/inner/linear_1", "outer/inner/linear_2"

    assert [n.owner for n in graph.nodes] == [
        "",
        "",
        first,
        tied,
        first,
        first,
        tied,
        first,
        tied,
        first,
        first,
        tied,
    ]
    assert graph.params == (4 * 4 + 4) + 4
    assert graph.macs == 12 * 4 * 4


def test_weights_cannot_be_shared_with_an_input_that_does_not_fit_them():
    node = refused("[4]", "- linear: 3\n  name: a\n- share: a")
    scope = refused("[4]", "- layers: [{linear: 3}]\n  name: a\n- share: a")

    assert node.endswith("(line 4) was built for (4,), and (3,) from `a` (line 4) wants weights of another shape")
    assert "`a/linear_1`" in scope
    assert scope.endswith("wants weights of another shape")


def test_a_shared_scope_cannot_make_layers_that_it_did_not_have():
    layers = """
        - layers:
            - conv: {out_channels: 1, kernel_size: 3}
              when: ${x.size[0] < 8}
            - conv: {out_channels: 1, kernel_size: 3}
          name: stem
        - share: stem
    """
    message = "`share_1/conv_1` finds no weights to share: the scope ran without this layer before"
    assert refused("[1, 8, 8]", layers) == message


def test_a_tied_layer_keeps_only_its_bias():
    graph = network_of("[64]", "- linear: 8\n  name: encoder\n- relu\n- linear: 64\n  tie: encoder")

    assert (graph.by_name["linear_1"].tied, graph.by_name["linear_1"].params) == ("encoder", 64)
    assert graph.params == (64 * 8 + 8) + 64
    assert graph.macs == 2 * 64 * 8


def test_a_tied_layer_can_be_shared_and_not_tied_to():
    layers = "- {linear: 8, name: encoder}\n- {linear: 64, tie: encoder, name: decoder}\n- linear: 8\n"
    graph = network_of("[64]", layers + "- share: decoder")

    assert (graph.by_name["share_1"].owner, graph.by_name["share_1"].tied) == ("decoder", "encoder")
    assert graph.params == (64 * 8 + 8) + 64 + (64 * 8 + 8)
    assert "has no weight of its own: it runs that of `encoder`" in refused(
        "[64]", layers.replace("- linear: 8\n", "- {linear: 8, tie: decoder}")
    )
    assert refused("[64]", "- {linear: 8, name: a}\n- {linear: 32, tie: a}").endswith("before it is transposed")


def test_values_of_a_spec_are_in_the_graph():
    graph = network_of("[2]", "- linear: 2\n  values: {weight: [[1, 2], [3, 4]], bias: '${1 / 2}'}")

    assert graph.nodes[0].values == {"weight": [[1, 2], [3, 4]], "bias": 0.5}
    message = "`weight` has shape (2, 2), and the values given are (1, 2)"
    assert refused("[2]", "- linear: 2\n  values: {weight: [[1, 2]]}") == message


@pytest.mark.parametrize(
    ("freeze", "frozen"),
    [
        ("stem", ["stem"]),
        ("[block_1]", ["block_1/linear_1", "block_1/batch_norm_1"]),
        ("[block_1/*]", ["block_1/linear_1", "block_1/batch_norm_1"]),
        ("['*/linear_1', stem]", ["stem", "block_1/linear_1", "block_2/linear_1"]),
    ],
)
def test_frozen_weights_count_but_are_not_trainable(freeze, frozen):
    block = f"blocks: {{block: {{layers: [{{linear: 4}}, batch_norm]}}}}\nfreeze: {freeze}"
    graph = network_of("[4]", "- {linear: 4, name: stem}\n- block\n- block\n- linear: 2", block)

    assert [n.name for n in graph.nodes if n.frozen] == frozen
    assert graph.params == 3 * 20 + 2 * 8 + 10
    assert graph.trainable == graph.params - sum(graph.by_name[name].params for name in frozen)


def test_freezing_a_layer_that_shares_its_weights_freezes_the_weights():
    graph = network_of("[4]", "- {linear: 4, name: a}\n- {share: a, name: b}", "freeze: b")

    assert (graph.params, graph.trainable) == (20, 0)


def test_a_pattern_that_freezes_nothing_is_refused():
    assert refused("[4]", "- linear: 4", "freeze: linaer_1") == '`freeze` matches no node: "linaer_1"'


# --- inputs and outputs ---------------------------------------------------------------------------------------------


def test_several_inputs_and_outputs():
    graph = graph_of(
        """
        network:
          inputs: {image: [3, 8, 8], scale: [1], text: {shape: [5], dtype: int}}
          layers:
            - conv: {out_channels: 2, kernel_size: 3}
              from: image
            - layers: [flatten, {linear: 4}]
              name: head
            - concat:
              from: [head, scale]
          outputs: {main: concat_1, aux: head/linear_1, whole: head, image: image}
        """
    )
    assert {name: tuple(x) for name, x in graph.inputs.items()} == {"image": (3, 8, 8), "scale": (1,), "text": (5,)}
    assert graph.inputs["text"].dtype == "int"
    assert graph.outputs == {
        "main": "concat_1",
        "aux": "head/linear_1",
        "whole": "head/linear_1",
        "image": "image",
    }
    assert [tuple(graph.output_shape(name)) for name in graph.outputs] == [(5,), (4,), (4,), (3, 8, 8)]


def test_outputs_in_a_list_are_called_after_their_nodes():
    graph = network_of("[4]", "- linear: 3\n  name: a\n- linear: 2\n  name: b", outputs="[a, b]")

    assert graph.outputs == {"a": "a", "b": "b"}


def test_without_from_the_first_layer_takes_the_first_input():
    assert wiring(network_of("{a: [4], b: [4]}", "- relu")) == {"relu_1": ("a",)}


def test_a_node_that_leads_nowhere_is_worth_a_warning():
    graph = network_of("[4]", "- {linear: 4, name: a}\n- {linear: 3, from: input, name: b}\n- {relu: , from: a}")

    assert [w.message for w in graph.warnings] == ["`b` leads to no output"]


def test_the_data_give_the_input_where_the_network_names_none():
    graph = graph_of("data: digits\nnetwork: {layers: [flatten, {linear: 10}]}")

    assert {name: tuple(x) for name, x in graph.inputs.items()} == {"input": (1, 8, 8)}


# --- the document ---------------------------------------------------------------------------------------------------


def test_the_json_document_has_the_keys_that_others_build_on():
    graph = network_of(
        "[1, 9, 9]",
        "- conv: {out_channels: 2, kernel_size: 3, stride: 2}\n- batch_norm\n- flatten\n- linear: 3",
        "name: tiny",
    )
    document = json.loads(json.dumps(graph.as_json()))

    assert list(document) == [
        "name",
        "params",
        "trainable",
        "buffers",
        "macs",
        "activation_bytes",
        "receptive_field",
        "layers",
    ]
    assert {key: value for key, value in document.items() if key != "layers"} == {
        "name": "tiny",
        "params": 20 + 4 + 99,
        "trainable": 123,
        "buffers": 5,
        "macs": 2 * 9 * 16 + 3 * 32,
        "activation_bytes": 4 * (32 + 32 + 3),
        "receptive_field": {"size": [3, 3], "stride": [2, 2], "start": [0, 0]},
    }
    assert document["layers"][0] == {
        "name": "conv_1",
        "kind": "conv",
        "inputs": ["input"],
        "shape": [2, 4, 4],
        "params": 20,
        "macs": 2 * 9 * 16,
        "receptive_field": {"size": [3, 3], "stride": [2, 2], "start": [0, 0]},
    }
    assert [layer["receptive_field"] for layer in document["layers"][2:]] == [document["receptive_field"], "global"]


def test_resnet50_reads_as_its_table():
    graph = trace(load(SHIPPED["cs231n/resnet50"]))

    assert sum(n.kind == "conv" for n in graph.nodes) == 1 + 3 * 16 + 4
    assert wiring(graph)["bottleneck_1/add_1"] == ("bottleneck_1/batch_norm_4", "bottleneck_1/batch_norm_3")
    assert wiring(graph)["bottleneck_2/add_1"] == ("bottleneck_1/relu_3", "bottleneck_2/batch_norm_3")
    assert tuple(graph.by_name["bottleneck_3/conv_2"].shape) == (64, 56, 56)
    assert tuple(graph.by_name["bottleneck_4/conv_2"].shape) == (128, 28, 28)


def test_planning_is_quick_and_bounded():
    with pytest.raises(SpecError, match="grows beyond 20,000 layers"):
        network_of("[4]", "- repeat: {times: 400, layers: [{repeat: {times: 400, layers: [relu]}}]}")
    with pytest.raises(SpecError, match="blocks call each other more than 64 deep"):
        network_of("[4]", "- a", "blocks: {a: {layers: [b]}, b: {layers: [a]}}")


@pytest.mark.parametrize("name", WALK)
def test_a_resolved_spec_is_the_same_network(name):
    experiment = load(SHIPPED[name])

    again = experiment_of(experiment.resolved())

    assert trace(again).as_json() == trace(experiment).as_json()
    assert again.resolved() == experiment.resolved()


def test_yaml_and_toml_of_a_spec_are_the_same_network():
    yaml = """
    dlx: 1
    name: both
    vars: {width: 8}
    blocks:
      unit:
        args: {out: "${width}"}
        layers:
          - conv: {out_channels: "${out}", kernel_size: [3, 1], padding: 1}
          - relu
    network:
      inputs: {image: [1, 8, 8]}
      layers:
        - unit
        - residual:
            layers: [{unit: 8}, {conv: {out_channels: 8, kernel_size: 3, padding: [0, 1]}}]
            merge: {concat: {crop: center}}
        - repeat:
            times: 2
            layers:
              - unit: {out: "${width + i}"}
        - {relu: {}, name: end, when: true}
    """
    toml = """
    dlx = 1
    name = "both"
    vars.width = 8

    [blocks.unit]
    args.out = "${width}"
    layers = [
        { conv = { out_channels = "${out}", kernel_size = [3, 1], padding = 1 } },
        "relu",
    ]

    [network]
    inputs.image = [1, 8, 8]

    [[network.layers]]
    unit = {}

    [[network.layers]]
    [network.layers.residual]
    layers = [{ unit = 8 }, { conv = { out_channels = 8, kernel_size = 3, padding = [0, 1] } }]
    merge.concat.crop = "center"

    [[network.layers]]
    repeat = { times = 2, layers = [{ unit = { out = "${width + i}" } }] }

    [[network.layers]]
    relu = {}
    name = "end"
    when = true
    """
    from_yaml, from_toml = graph_of(yaml), graph_of(toml, ".toml")

    assert len(from_yaml.nodes) == 11
    assert from_yaml.as_json() == from_toml.as_json()
    assert from_yaml.macs == sum(n.plan.macs for n in from_toml.nodes)


def test_tracing_leaves_torch_s_random_numbers_alone():
    torch.manual_seed(0)
    state = torch.get_rng_state()
    trace(load(SHIPPED["cs231n/resnet18"]))

    assert torch.equal(torch.get_rng_state(), state)


def test_a_for_may_call_its_counter_something_else():
    graph = network_of("[4]", "- for: {width: [3, 2]}\n  index: k\n  layers: [{linear: '${width}', name: 'fc_${k}'}]")
    assert list(graph.by_name) == ["fc_0", "fc_1"]


def test_an_entry_that_is_left_out_needs_no_source():
    layers = """
    - repeat:
        times: 2
        layers:
          - linear: 4
            name: a_${i}
          - add:
            from: ["a_${i - 1}", prev]
            when: ${i > 0}
    """
    assert [n.name for n in network_of("[4]", layers).nodes] == ["a_0", "a_1", "add_1"]


def test_the_shape_of_any_node_above_can_be_asked_for():
    layers = """
    - conv: {out_channels: 2, kernel_size: 3}
      name: stem
    - max_pool: 2
    - upsample: {size: "${stem.size}"}
    - add:
      from: [prev, stem]
    - linear: ${stem.channels}
    """
    graph = network_of("[1, 9, 9]", layers)
    assert tuple(graph.by_name["upsample_1"].shape) == (2, 7, 7)
    assert graph.by_name["linear_1"].shape[-1] == 2


@pytest.mark.parametrize("act", ["relu", "{relu: }", "{leaky_relu: 0.1}"])
def test_the_kind_of_a_layer_may_come_from_a_variable_with_a_name_or_options_beside_it(act):
    graph = graph_of(f"""
        vars: {{act: {act}}}
        network:
          inputs: [4]
          layers:
            - ${{act}}
            - ${{act}}:
              name: last
        """)
    assert graph.nodes[0].kind == graph.by_name["last"].kind
    assert graph.nodes[1].kind in act


def of_two():
    return experiment_of(
        """
        network:
          inputs: {image: [3, 8, 8], word: {shape: [1], dtype: int}}
          layers:
            - {global_avg_pool: , name: seen}
            - {embedding: {num_embeddings: 10, embedding_dim: 4}, from: word}
            - flatten
            - {concat: , from: [seen, prev]}
        """
    )


@pytest.mark.parametrize(
    ("texts", "shapes"),
    [
        (["image=3x16x12", "word=5"], [(3, 16, 12), (5,)]),
        (["word=5"], [(3, 8, 8), (5,)]),
        ([], [(3, 8, 8), (1,)]),
    ],
)
def test_another_shape_of_some_inputs_leaves_their_dtypes(texts, shapes):
    experiment = of_two()
    graph = trace(experiment, input_shapes(experiment, texts))
    assert [tuple(shape) for shape in graph.inputs.values()] == shapes
    assert [shape.dtype for shape in graph.inputs.values()] == ["float", "int"]
    assert tuple(graph.output_shape()) == (3 + 4 * shapes[1][0],)


def test_the_one_input_of_a_network_needs_no_name():
    layers = "[{embedding: {num_embeddings: 10, embedding_dim: 4}}]"
    experiment = experiment_of(f"network: {{inputs: {{text: {{shape: [4], dtype: int}}}}, layers: {layers}}}")
    assert input_shapes(experiment, ["7"])["text"].dtype == "int"
    assert tuple(trace(experiment, input_shapes(experiment, ["text=7"])).output_shape()) == (7, 4)


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        (
            ["3x3"],
            "--input 3x3\n  the network has 2 inputs: image, word\n  Say which: `--input image=3x512x512`, once",
        ),
        (["imge=3"], "--input imge=3\n  the network has no input `imge`\n  Did you mean `image`?"),
        (["word=axb"], '--input word=axb\n  "axb" is not a shape\n  Write it as `--input word=3x512x512`.'),
        (["word=0"], '"0" is not a shape'),
        (["word=²"], '"²" is not a shape'),
        (["word=1", "word=2"], "--input word=2\n  `word` is given twice\n  Keep one of the two."),
        (["word=9999999999999999999"], "Is a number too long?"),
    ],
)
def test_a_shape_that_is_of_no_input_is_refused(texts, message):
    with pytest.raises(SpecError) as error:
        input_shapes(of_two(), texts)
    assert message in str(error.value)
