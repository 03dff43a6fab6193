"""Several inputs of blocks, scopes and shared layers, and wires and branches from expressions."""

from textwrap import dedent

import pytest
import torch
from complaints import layers_report, lines
from helpers import graph_of, network_of

from dlx.errors import SpecError
from dlx.network import build

HEAD = """
blocks:
  fuse:
    args: {width: null}
    inputs: [image, mask]
    layers:
      - {linear: "${width}", from: image, name: seen}
      - {linear: "${image.channels}", from: mask, name: hidden}
      - {linear: "${width}"}
      - {add: , from: [seen, prev]}
"""


def wiring(graph):
    return {node.name: node.inputs for node in graph.nodes}


def wired(layers, inputs="{a: [4], b: [3]}", head=HEAD):
    return network_of(inputs, layers, head)


# --- blocks, scopes, shared layers ---------------------------------------------------------------------------------


@pytest.mark.parametrize("sources", ["[a, b]", "{image: a, mask: b}", "{mask: b, image: a}"])
def test_a_block_takes_several_inputs_in_order_or_by_name(sources):
    graph = wired(f"- {{fuse: 5, from: {sources}}}")
    assert wiring(graph) == {
        "fuse_1/seen": ("a",),
        "fuse_1/hidden": ("b",),
        "fuse_1/linear_1": ("fuse_1/hidden",),
        "fuse_1/add_1": ("fuse_1/seen", "fuse_1/linear_1"),
    }
    assert graph.params == (4 * 5 + 5) + (3 * 4 + 4) + (4 * 5 + 5)


def test_the_first_input_is_what_a_block_calls_input_and_x():
    head = """
    blocks:
      pair:
        inputs: [left, right]
        args: {width: "${2 * right.channels + x.channels}"}
        layers: [{linear: "${width}", from: input}, {linear: "${x.channels}", from: prev}]
    """
    graph = wired("- {pair: , from: {right: b, left: a}}", head=head)
    assert wiring(graph) == {"pair_1/linear_1": ("a",), "pair_1/linear_2": ("pair_1/linear_1",)}
    assert tuple(graph.by_name["pair_1/linear_1"].shape) == (2 * 3 + 4,)
    assert tuple(graph.by_name["pair_1/linear_2"].shape) == (2 * 3 + 4,)


def test_a_name_of_an_input_hides_a_node_around_the_block():
    graph = wired(
        """
        - {linear: 7, name: mask}
        - {fuse: 5, from: [a, b]}
        - {concat: , from: [prev, mask]}
        """
    )
    assert wiring(graph)["fuse_1/hidden"] == ("b",)
    assert wiring(graph)["concat_1"] == ("fuse_1/add_1", "mask")


def test_named_layers_take_several_inputs_by_name():
    graph = wired(
        "- {layers: [{linear: 3, from: left}, {add: , from: [prev, right]}], name: s, from: {left: a, right: b}}"
    )
    assert wiring(graph) == {"s/linear_1": ("a",), "s/add_1": ("s/linear_1", "b")}


SCOPE = """{layers: [
    {linear: 5, from: image, name: seen}, {linear: 4, from: mask, name: hidden}, {linear: 5},
    {add: , from: [seen, prev]}
  ], name: f, from: {image: a, mask: b}}"""


@pytest.mark.parametrize(
    ("first", "again"),
    [
        ("{fuse: 5, name: f, from: [a, b]}", "[b, a]"),
        ("{fuse: 5, name: f, from: [a, b]}", "{mask: a, image: b}"),
        (SCOPE, "{mask: a, image: b}"),
    ],
)
def test_a_scope_of_several_inputs_is_shared_with_others(first, again):
    graph = wired(f"- {first}\n- {{share: f, from: {again}, name: g}}\n- {{add: , from: [f, g]}}", "{a: [4], b: [4]}")
    assert wiring(graph)["g/seen"] == ("b",)
    assert wiring(graph)["g/hidden"] == ("a",)
    assert graph.by_name["g/seen"].owner == "f/seen"
    assert graph.params == (4 * 5 + 5) + (4 * 4 + 4) + (4 * 5 + 5)
    net, (a, b) = build(graph).double(), torch.randn(2, 3, 4, dtype=torch.float64)

    def by_hand(image, mask):
        return net.f.seen(image) + net.f.linear_1(net.f.hidden(mask))

    torch.testing.assert_close(net(a, b), by_hand(a, b) + by_hand(b, a))


def test_a_layer_of_several_inputs_is_shared_with_others():
    graph = wired(
        """
        - {multihead_attention: 2, from: [a, b], name: cross}
        - {share: cross, from: {query: b, key: a}, name: back}
        - {concat: {dim: 1}, from: [cross, back]}
        """,
        "{a: [5, 4], b: [7, 4]}",
    )
    assert wiring(graph)["back"] == ("b", "a")
    assert graph.params == 4 * (4 * 4 + 4)
    assert graph.by_name["back"].plan.macs == 4 * (2 * 7 * 4 + 5 * 8 + 2 * 7 * 5)


# --- expressions ----------------------------------------------------------------------------------------------------


def test_from_takes_a_list_that_an_expression_makes():
    graph = wired(
        """
        - repeat: {times: 4, layers: [{linear: 4, name: "stage_${i}"}]}
        - {concat: , from: "${[f'stage_{i}' for i in range(4) if i % 2 == 1] + ['a']}"}
        - {relu: , from: "${'a' if false else 'b'}"}
        """
    )
    assert wiring(graph)["concat_1"] == ("stage_1", "stage_3", "a")
    assert wiring(graph)["relu_1"] == ("b",)


BRANCHES = "[[{linear: 2}, relu], [{linear: 4}, relu], [{linear: 6}, relu]]"


@pytest.mark.parametrize(
    "branches",
    [
        BRANCHES,
        "{for: {width: [2, 4, 6]}, layers: [{linear: '${width}'}, relu]}",
        "{repeat: {times: 3, index: k, layers: [{linear: '${2 * (k + 1)}'}, relu]}}",
        "'${branches}'",
    ],
)
def test_branches_come_from_a_loop_or_an_expression(branches):
    head = f"vars: {{branches: {BRANCHES}}}"
    graph = wired(f"- parallel: {{branches: {branches}, after: tanh}}", "[5]", head)
    assert [node.inputs for node in graph.nodes if node.kind == "linear"] == [("input",)] * 3
    assert wiring(graph)["concat_1"] == ("relu_1", "relu_2", "relu_3")
    assert tuple(graph.by_name["tanh_1"].shape) == (12,)


def test_a_list_around_a_loop_is_one_branch_as_before():
    graph = wired("- parallel: {branches: [{for: {width: [2, 4]}, layers: [{linear: '${width}'}]}, relu]}", "[5]")
    assert wiring(graph) == {
        "linear_1": ("input",),
        "linear_2": ("linear_1",),
        "relu_1": ("input",),
        "concat_1": ("linear_2", "relu_1"),
    }


# --- mistakes -------------------------------------------------------------------------------------------------------

MISTAKES = {
    "an input that the block has not": (
        """
        - {fuse: 5, from: {image: a, maks: b}}
        """,
        """
        s.yaml:15:34  network.layers.fuse_1
          the block `fuse` has no input `maks` (line 4)
          Did you mean `mask`?
        """,
    ),
    "an input that is not given": (
        """
        - {fuse: 5, from: {image: a}}
        """,
        """
        s.yaml:15:7  network.layers.fuse_1
          the block `fuse` takes `image`, `mask` (line 4), and `from` gives no `mask`
          Write `from: {image: ..., mask: ...}`.
        """,
    ),
    "too few": (
        """
        - fuse: 5
        - {fuse: 5, from: a}
        - {fuse: 5, from: [a, b, a]}
        """,
        """
        s.yaml:15:7  network.layers.fuse_1
          the block `fuse` takes 2 inputs, `image`, `mask` (line 4), and the entry has no `from`
          Write `from: {image: ..., mask: ...}`.
        s.yaml:16:7  network.layers.fuse_2
          the block `fuse` takes 2 inputs, `image`, `mask` (line 4), and `from` names 1
          Write `from: {image: ..., mask: ...}`.
        s.yaml:17:7  network.layers.fuse_3
          the block `fuse` takes 2 inputs, `image`, `mask` (line 4), and `from` names 3
          Write `from: {image: ..., mask: ...}`.
        """,
    ),
    "a block of one input": (
        """
        - {plain: , from: {image: a}}
        - {plain: , from: [a, b]}
        """,
        """
        s.yaml:15:7  network.layers.plain_1
          the block `plain` takes one input without a name, and `from` is a mapping
          Write `from: NODE`.
        s.yaml:16:7  network.layers.plain_2
          the block `plain` takes one input, and `from` names 2
          Merge them first: `- concat` or `- add` with that `from`.
        """,
    ),
    "structures": (
        """
        - {layers: [relu], from: {left: a}}
        - {residual: {layers: [relu]}, from: {x: a}}
        - {layers: [relu], name: s, from: {prev: a}}
        """,
        """
        s.yaml:15:7  network.layers.layers
          `layers` whose `from` names its inputs has no `name`
          Give it one: its inputs are names in its scope.
        s.yaml:16:7  network.layers.residual
          `residual` has one input without a name
          Write `from: NODE`.
        s.yaml:16:43  network.layers.residual
          an input cannot be called `x`
          `x` is the shape that comes in.
        s.yaml:17:40  network.layers.s
          an input cannot be called `prev`: the word is for what stands above
          Add a letter.
        """,
    ),
    "a share of other inputs": (
        """
        - {fuse: 5, name: f, from: [a, b]}
        - {share: f, name: g}
        - {share: f/mask, name: h}
        """,
        """
        s.yaml:16:7  network.layers.g
          the scope `f` takes 2 inputs, `image`, `mask` (line 15), and the entry has no `from`
          Write `from: {image: ..., mask: ...}`.
        s.yaml:17:8  network.layers.h
          `f/mask` is what comes in, and `share` wants the name of a node that has weights
          Give that node a name.
        """,
    ),
    "inputs of layers": (
        """
        - {multihead_attention: 2, from: {qeury: c, key: d}}
        - {multihead_attention: 2, from: {key: d}}
        - {add: , from: {left: a, right: b}}
        """,
        """
        s.yaml:15:39  network.layers.multihead_attention_1
          `multihead_attention` has no input `qeury`
          Did you mean `query`?
        s.yaml:16:32  network.layers.multihead_attention_2
          `multihead_attention` takes `key` only with `query`, which `from` does not give
          Write `from: {query: prev, ...}`.
        s.yaml:17:15  network.layers.add_1
          the inputs of `add` have no names, and `from` is a mapping
          Write a list, in their order: `from: [a, b]`.
        """,
    ),
    "expressions of wires": (
        """
        - {add: , from: "${[f'a{i}' for i in range(2)]}"}
        - {add: , from: "${[a, 3]}"}
        - {relu: , from: "${[]}"}
        - {relu: , from: "${1 / 0}"}
        """,
        """
        s.yaml:15:15  network.layers.add_1
          there is no node `a0` above this one
          Did you mean `a`?
        s.yaml:16:15  network.layers.add_2
          an item of `from` must be the name of a node, not [4]
          In an expression a node is its shape; its name wants quotes: `${['a', 'b']}`.
        s.yaml:16:15  network.layers.add_2
          an item of `from` must be the name of a node, not 3
          A node has no number: give it a `name`; `prev` is the one right above.
        s.yaml:17:16  network.layers.relu_1
          `from` names nothing
          Name a node, or drop `from`.
        s.yaml:18:16  network.layers.relu_2
          `1 / 0` divides by zero
          Guard it: `${a / b if b else 0}`.
        """,
    ),
    "generated branches": (
        """
        - parallel: {branches: {for: {w: []}, layers: [relu]}}
        - parallel: {branches: '${[]}'}
        - parallel: {branches: {repeat: 3}}
        - parallel: {branches: {repeat: {times: 2, layers: [relu]}, name: s}}
        """,
        """
        s.yaml:15:29  network.layers.parallel.branches
          the `for` of `branches` makes no branch
          It needs a turn or more.
        s.yaml:16:18  network.layers.parallel.branches
          `branches` must be a list of lists of layers, not []
          Write `branches: [[relu], [tanh]]`, or `branches: {for: {rate: [1, 2]}, layers: [...]}`.
        s.yaml:17:29  network.layers.repeat
          `repeat` must be a mapping, not 3
          Write `repeat: {times: 3, layers: [...]}`.
        s.yaml:18:65  network.layers.parallel.branches
          `name` stands beside the `repeat` that makes branches
          Put `name` beside `parallel`, or into the layers of a branch.
        """,
    ),
}


@pytest.mark.parametrize("case", MISTAKES)
def test_wires_and_branches_that_are_wrong_say_so(tmp_path, case):
    layers, sentences = MISTAKES[case]
    head = f"{HEAD.strip()}\n  plain: {{layers: [relu]}}\n\n"
    inputs = "{a: [4], b: [3], c: [6, 4], d: [5, 4]}"
    assert layers_report(tmp_path, layers, inputs, head) == lines(sentences)


BLOCKS = {
    "inputs: 3": ("inputs", "`inputs` of a block must be a list of names, not 3"),
    "inputs: {a: [3]}": ("inputs", "`inputs` of a block must be a list of names, not {a: [3]}"),
    "inputs: []": ("inputs", "`inputs` of a block must be a list of names, not []"),
    "inputs: [a, 3]": ("inputs.1", "an input is a name, not 3"),
    "inputs: [x]": ("inputs.0", "an input cannot be called `x`"),
    "inputs: [a, a]": ("inputs.1", "the input `a` is an input too, on line 3"),
    "args: {w: 3}\n    inputs: [w]": ("inputs.0", "the input `w` is an argument too, on line 3"),
    "inptus: [a]": ("inptus", "a block has no field `inptus`"),
}


@pytest.mark.parametrize("written", BLOCKS)
def test_inputs_that_a_block_cannot_have_say_so(written):
    place, sentence = BLOCKS[written]
    with pytest.raises(SpecError) as error:
        graph_of(
            f"blocks:\n  b:\n    {written}\n    layers: [relu]\n" + dedent("network: {inputs: [3], layers: [relu]}\n")
        )
    assert [(p.path, p.message) for p in error.value.problems] == [(f"blocks.b.{place}", sentence)]


def test_a_node_in_a_block_may_not_be_called_like_its_input(tmp_path):
    head = "blocks:\n  b:\n    inputs: [left]\n    layers: [{relu: , name: left}]\n"
    text = layers_report(tmp_path, "- b", "[3]", head)
    assert text.splitlines()[1] == "  the name `left` is taken, on line 3"


def test_generated_branches_keep_the_limits(tmp_path):
    inner = "{parallel: {branches: {repeat: {times: 300, layers: [relu]}}}}"
    deep = f"- parallel: {{branches: {{repeat: {{times: 300, layers: [{inner}]}}}}}}"
    assert "the network grows beyond 20,000 layers" in layers_report(tmp_path, deep, "[3]")
