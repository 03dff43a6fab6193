"""A network that is wrong: every mistake is reported once, at its place, with both sides and the way out."""

from pathlib import Path

import numpy as np
import pytest
from complaints import layers_report, lines, of_layers, report
from helpers import graph_of

from dlx.errors import SpecError
from dlx.graph import trace
from dlx.spec import load

# --- entries --------------------------------------------------------------------------------------------------------

ENTRIES = {
    "a kind that is not there": (
        "- cnv: 3",
        """
        s.yaml:4:7  network.layers.cnv_1
          there is no layer or block `cnv`
          Did you mean `conv` or `p4_conv`?
        """,
    ),
    "a kind that others call so, one that is none, and a colon that is missing": (
        '- fc: 3\n- se\n- cbam\n- linear 3\n- linear: 3"',
        """
        s.yaml:4:7  network.layers.fc_1
          there is no layer or block `fc`
          Did you mean `linear`?
        s.yaml:5:7  network.layers.se_1
          there is no layer or block `se`
          Did you mean `squeeze_excitation`?
        s.yaml:6:7  network.layers.cbam_1
          there is no layer or block `cbam`
          `dlx layers` lists the layers; one of your own is a block under `blocks`.
        s.yaml:7:7  network.layers.linear 3_1
          there is no layer or block `linear 3`
          Put a colon behind `linear`: `- linear: 3`.
        s.yaml:8:7  network.layers.linear_1.out_features
          `out_features` must be a whole number, not "3\""
          Drop the quote `"` at its end, or write one before it.
        """,
    ),
    "paddings that others have": (
        """
        - max_pool: {kernel_size: 3, padding: same}
        - conv_transpose: {out_channels: 1, kernel_size: 3, padding: causal}
        - conv: {out_channels: 1, kernel_size: 3, padding: reflect}
        """,
        """
        s.yaml:4:34  network.layers.max_pool_1.padding
          `padding` must be a whole number or a list, not "same"
          Write half the kernel, 1 for a kernel of 3; or put a `pad_same` before it.
        s.yaml:5:57  network.layers.conv_transpose_1.padding
          `padding` must be a whole number or a list, not "causal"
          `- pad: [LEFT, 0]` before it adds positions on the left alone.
        s.yaml:6:47  network.layers.conv_1.padding
          `padding` must be a whole number or a list or "same", "valid" or "causal", not "reflect"
          `padding` says how many positions; `padding_mode`, where a layer has it, what is in them.
        """,
    ),
    "a field that is not there, told once though another is missing by it": (
        "- conv: {out_chanels: 3, kernel_size: 3}",
        """
        s.yaml:4:14  network.layers.conv_1.out_chanels
          `conv` has no field `out_chanels`
          Did you mean `out_channels`?
        """,
    ),
    "a missing field": (
        "- conv: 3",
        """
        s.yaml:4:7  network.layers.conv_1.kernel_size
          `kernel_size` is missing
          kernel_size: taps on each axis.
        """,
    ),
    "wrong types": (
        "- conv: {out_channels: x, kernel_size: [1, 2.5]}\n- linear: true\n- linear: {out_features: {}}",
        """
        s.yaml:4:14  network.layers.conv_1.out_channels
          `out_channels` must be a whole number, not "x"
          out_channels: filters, and so channels of the output.
        s.yaml:4:48  network.layers.conv_1.kernel_size.1
          `kernel_size[1]` must be a whole number, not 2.5
          kernel_size: taps on each axis.
        s.yaml:5:7  network.layers.linear_1.out_features
          `out_features` must be a whole number, not true
          out_features: sums, and so values on the last axis of the output.
        s.yaml:6:16  network.layers.linear_2.out_features
          `out_features` must be a whole number, not {}
          out_features: sums, and so values on the last axis of the output.
        """,
    ),
    "limits": (
        "- conv: {out_channels: -1, kernel_size: 0}",
        """
        s.yaml:4:14  network.layers.conv_1.out_channels
          `out_channels` must be above 0, not -1
          out_channels: filters, and so channels of the output.
        s.yaml:4:32  network.layers.conv_1.kernel_size
          `kernel_size` must be above 0, not 0
          kernel_size: taps on each axis.
        """,
    ),
    "options of what has none": (
        "- relu: 3\n- relu: {a: 1}",
        """
        s.yaml:4:7  network.layers.relu_1
          `relu` has no fields to set, and is given 3
          Write `relu` alone.
        s.yaml:5:14  network.layers.relu_2.a
          `relu` has no field `a`
          `relu` has no fields.
        """,
    ),
    "two kinds in one entry": (
        "- conv: {out_channels: 3, kernel_size: 3}\n  relu: {}",
        """
        s.yaml:4:7  network.layers
          `conv` and `relu` stand in one entry
          Give each a line of its own, starting with `- `.
        """,
    ),
    "fields that slipped out of their layer": (
        "- conv:\n  out_channels: 3\n  kernel_size: 3",
        """
        s.yaml:5:7  network.layers
          `out_channels` stands beside `conv`
          Fields of `conv` stand inside it: `- conv: {out_channels: 3}`.
        """,
    ),
    "what is no entry": (
        "- 5\n-\n- [relu]\n- {}\n- name: alone\n- ''",
        """
        s.yaml:4:7  network.layers
          5 is not a layer
          Write its kind (`- relu`) or `- kind: {options}`.
        s.yaml:5:6  network.layers
          nothing is not a layer
          Write its kind (`- relu`) or `- kind: {options}`.
        s.yaml:6:7  network.layers
          ["relu"] is not a layer
          Write its kind (`- relu`) or `- kind: {options}`.
        s.yaml:7:7  network.layers
          {} is not a layer
          Write its kind (`- relu`) or `- kind: {options}`.
        s.yaml:8:7  network.layers
          the entry names no layer
          It has only `name`: add its kind, as in `relu:`.
        s.yaml:9:7  network.layers
          "" is not a layer
          Write its kind (`- relu`) or `- kind: {options}`.
        """,
    ),
    "structures": (
        """
        - repeat: {times: 2, layer: [relu]}
        - residual: [relu]
        - parallel: {branches: relu}
        - for: {a: [1]}
        - for
        """,
        """
        s.yaml:4:26  network.layers.repeat.layer
          `repeat` has no field `layer`
          Did you mean `layers`?
        s.yaml:5:7  network.layers.residual
          `residual` must be a mapping, not ["relu"]
          Write `residual: {layers: [...]}`.
        s.yaml:6:18  network.layers.parallel.branches
          `branches` must be a list of lists of layers, not "relu"
          Write `branches: [[relu], [tanh]]`, or `branches: {for: {rate: [1, 2]}, layers: [...]}`.
        s.yaml:7:7  network.layers.for
          `for` wants lists to walk, and `layers` beside it
          Write `for: {width: [64, 128]}` and `layers: [...]` below it.
        s.yaml:8:7  network.layers.for
          `for` wants lists to walk, and `layers` beside it
          Write `for: {width: [64, 128]}` and `layers: [...]` below it.
        """,
    ),
    "counts": (
        "- repeat: {times: -1, layers: [relu]}\n- repeat: {times: 2.5, layers: [relu]}\n- relu: {}\n  when: maybe",
        """
        s.yaml:4:16  network.layers.repeat.times
          `times` must be at least 0, not -1
        s.yaml:5:16  network.layers.repeat.times
          `times` must be a whole number, not 2.5
        s.yaml:7:7  network.layers.relu_1
          `when` must be true or false, not "maybe"
        """,
    ),
    "lists out of step": (
        "- for: {a: [1, 2], b: [1]}\n  layers: [relu]\n- for: {a: 3}\n  layers: [relu]",
        """
        s.yaml:4:7  network.layers.for
          `for` walks lists in step: `a` has 2, `b` has 1
          Give them the same length.
        s.yaml:6:13  network.layers.for.a
          `a` must be a list, not 3
          Write `for: {width: [64, 128]}` and `layers: [...]` below it.
        """,
    ),
    "names": (
        """
        - {relu: , name: 1a}
        - {relu: , name: to}
        - {relu: , name: prev}
        - {relu: , name: ok}
        - {relu: , name: ok}
        """,
        """
        s.yaml:4:16  network.layers.1a
          a node cannot be called `1a`
          Letters, digits and `_`, a letter first.
        s.yaml:5:16  network.layers.to
          a node cannot be called `to`: torch's modules use the word
          Add a letter.
        s.yaml:6:16  network.layers.prev
          a node cannot be called `prev`: the word is for what stands above
          Add a letter.
        s.yaml:8:7  network.layers.ok
          the name `ok` is taken, on line 7
          Rename one.
        """,
    ),
}


@pytest.mark.parametrize(("layers", "sentences"), ENTRIES.values(), ids=ENTRIES)
def test_an_entry_that_is_wrong_says_so(tmp_path, layers, sentences):
    assert layers_report(tmp_path, layers) == lines(sentences)


# --- wiring ---------------------------------------------------------------------------------------------------------

WIRING = {
    "from nothing that is there": (
        "- relu\n- relu: {}\n  from: stm",
        """
        s.yaml:6:7  network.layers.relu_2
          there is no node `stm` above this one
          There are input, prev, relu_1.
        """,
    ),
    "from itself": (
        "- relu: {}\n  name: me\n  from: me",
        """
        s.yaml:6:7  network.layers.me
          `me` takes itself
          A node can only take what stands above it.
        """,
    ),
    "from later": (
        "- relu: {}\n  from: later\n- relu: {}\n  name: later",
        """
        s.yaml:5:7  network.layers.relu_1
          `later` comes later, on line 7
          A node can only take what stands above it.
        """,
    ),
    "from what was left out": (
        "- relu: {}\n  name: maybe\n  when: false\n- relu: {}\n  from: maybe",
        """
        s.yaml:8:7  network.layers.relu_1
          `maybe` (line 5) cannot be reached from here
          Inside a named scope or block it is called scope/name; a `when` may have left it out.
        """,
    ),
    "from no names": (
        "- {relu: , from: []}\n- {relu: , from: 3}\n- {relu: , from: {a: 1}}",
        """
        s.yaml:4:16  network.layers.relu_1
          `from` names nothing
          Name a node, or drop `from`.
        s.yaml:5:16  network.layers.relu_2
          `from` must be the name of a node, or a list of them, not 3
          A node has no number: give it a `name`; `prev` is the one right above.
        s.yaml:6:16  network.layers.relu_3
          the inputs of `relu` have no names, and `from` is a mapping
          Write a list, in their order: `from: [a, b]`.
        s.yaml:6:23  network.layers.relu_3
          an item of `from` must be the name of a node, not 1
          A node has no number: give it a `name`; `prev` is the one right above.
        """,
    ),
    "names where fields stand": (
        "- {relu: , name: a}\n- {tanh: , name: b}\n- concat: [a, b]\n- concat: a\n- {concat: , from: a, b}",
        """
        s.yaml:6:7  network.layers.concat_1
          `concat` wants its fields here, and is given names: ["a", "b"]
          Names stand beside it: `- {concat: , from: [a, b]}`.
        s.yaml:7:7  network.layers.concat_2
          `concat` wants its fields here, and is given names: "a"
          Names stand beside it: `- {concat: , from: [a, ...]}`.
        s.yaml:8:27  network.layers
          `b` stands beside `from`
          Several names stand in brackets: `from: [a, b]`.
        """,
    ),
    "a word of a field that is misspelt is no name": (
        "- {masked_pool: maen, from: [input, input]}",
        """
        s.yaml:4:8  network.layers.masked_pool_1.reduce
          `reduce` must be "mean", "sum" or "amax", not "maen"
          reduce: how they are joined; amax: the largest.
        """,
    ),
    "names that are no list, and a list in a list": (
        "- {relu: , name: a}\n- {tanh: , name: b}\n- add:\n  from: a, b\n- {add: , from: [\"${['a', 'b']}\", -1]}",
        """
        s.yaml:7:7  network.layers.add_1
          there is no node `a, b`
          Several names are a list: `from: [a, b]`.
        s.yaml:8:22  network.layers.add_2
          an item of `from` must be the name of a node, not ["a", "b"]
          An expression that makes a list stands alone: `from: "${names}"`.
        s.yaml:8:39  network.layers.add_2
          an item of `from` must be the name of a node, not -1
          A node has no number: give it a `name`; `prev` is the one right above.
        """,
    ),
    "inputs of attention that are too few": (
        "- {relu: , name: q}\n- {scaled_dot_product_attention: , from: [q, q]}",
        """
        s.yaml:5:8  network.layers.scaled_dot_product_attention_1
          `scaled_dot_product_attention` takes 3 or 4 or 5 inputs, and `from` names 2
          In this order, or by name as `from: {query: ..., ...}`: query, key, value, attn_mask, document.
        """,
    ),
    "who takes a mistake is not blamed": (
        "- {cnv: 3, name: bad}\n- {relu: , from: bad}\n- {add: , from: [prev, bad]}\n- {share: bad}",
        """
        s.yaml:4:8  network.layers.bad
          there is no layer or block `cnv`
          Did you mean `conv` or `p4_conv`?
        """,
    ),
    "a circle of shares": (
        "- {share: b, name: a}\n- {share: a, name: b}\n- {share: c, name: c}",
        """
        s.yaml:4:8  network.layers.a
          `a` -> `b` -> `a` share each other in a circle
          One of them must be a layer of its own, above the others.
        s.yaml:6:8  network.layers.c
          `c` shares itself
          One of them must be a layer of its own, above the others.
        """,
    ),
    "a share of the scope around it": (
        "- layers: [relu, share: me]\n  name: me",
        """
        s.yaml:4:22  network.layers.me/share_1
          `me` is the scope that this stands in, and is not done yet
          A node can only take what stands above it.
        """,
    ),
    "a share of what has no weights": (
        "- relu\n- share: input\n- share: prev\n- share: 3",
        """
        s.yaml:5:7  network.layers.share_1
          `input` is what comes in, and `share` wants the name of a node that has weights
          Give that node a name.
        s.yaml:6:7  network.layers.share_2
          `prev` is what stands above, and `share` wants the name of a node that has weights
          Give that node a name.
        s.yaml:7:7  network.layers.share_3
          `share` must be the name of a node, not 3
        """,
    ),
    "ties": (
        "- {linear: 8, tie: later}\n- {linear: 8, name: later}\n- {linear: 3, tie: 3}\n- {linear: 3, tie: input}",
        """
        s.yaml:4:19  network.layers.linear_1
          `later` comes later, on line 5
          A node can only take what stands above it.
        s.yaml:6:19  network.layers.linear_2
          `tie` wants the name of a node, not 3
        s.yaml:7:19  network.layers.linear_3
          `input` is an input and has no weight
          Tie to a linear layer, or to an embedding.
        """,
    ),
}


@pytest.mark.parametrize(("layers", "sentences"), WIRING.values(), ids=WIRING)
def test_wires_that_lead_nowhere_say_so(tmp_path, layers, sentences):
    assert layers_report(tmp_path, layers) == lines(sentences)


# --- sizes ----------------------------------------------------------------------------------------------------------

BRANCHES = """
- {conv: {out_channels: 4, kernel_size: 3}, name: a}
- {conv: {out_channels: 4, kernel_size: 3}, name: b}
"""
SIZES = {
    "add": (
        BRANCHES + "- {add: , from: [a, b]}",
        """
        s.yaml:6:8  network.layers.add_1
          add joins (4, 6, 6) from `a` (line 4) with (4, 4, 4) from `b` (line 5): sizes 6x6 and 4x4 differ
          Pad or pool one to the size of the other, or take a branch that is 6x6.
        """,
    ),
    "concat": (
        BRANCHES + "- {concat: , from: [a, b]}",
        """
        s.yaml:6:8  network.layers.concat_1
          concat joins (4, 6, 6) from `a` (line 4) with (4, 4, 4) from `b` (line 5): sizes 6x6 and 4x4 differ
          Pad or pool one to the size of the other, or take a branch that is 6x6, or add `crop: center`.
        """,
    ),
    "multiply": (
        "- {conv: {out_channels: 4, kernel_size: 1}, name: a}\n- {multiply: , from: [a, input]}",
        """
        s.yaml:5:8  network.layers.multiply_1
          multiply joins (4, 8, 8) from `a` (line 4) with (3, 8, 8) from `input` (line 2): channels 4 and 3 differ
          `conv: {out_channels: 4, kernel_size: 1}` brings the second to 4 channels.
        """,
    ),
    "residual": (
        "- residual: {layers: [{conv: {out_channels: 3, kernel_size: 3}}]}",
        """
        s.yaml:4:7  network.layers.add_1
          add joins (3, 8, 8) from `input` (line 2) with (3, 6, 6) from `conv_1` (line 4): sizes 8x8 and 6x6 differ
          Pad or pool one to the size of the other, or take a branch that is 8x8.
        """,
    ),
    "a chain": (
        "- flatten\n- conv: {out_channels: 3, kernel_size: 3}",
        """
        s.yaml:5:7  network.layers.conv_1
          conv slides over positions, and (192,) from `flatten_1` (line 4) has none
          It wants (channels, length), (channels, height, width) or (channels, depth, height, width); \
`- reshape: [1, -1]` makes one from a vector.
        """,
    ),
    "tie": (
        "- flatten\n- {linear: 3, name: l1}\n- linear: 7\n- {linear: 5, tie: l1}",
        """
        s.yaml:7:8  network.layers.linear_2
          the weight of `l1` (line 5) is (3, 192), and this layer wants (7, 5) before it is transposed
          Tie it to a `linear: 7` that takes 5 values, as many as this one gives.
        """,
    ),
    "tie to what is not linear": (
        "- {conv: {out_channels: 3, kernel_size: 3}, name: c}\n- {linear: 3, tie: c}",
        """
        s.yaml:5:8  network.layers.linear_1
          `c` (line 4) is of kind `conv`, whose weight no other layer runs
          Tie to a linear layer, or to an embedding.
        """,
    ),
    "tie of what is not linear": (
        "- {linear: 3, name: l}\n- {relu: , tie: l}",
        """
        s.yaml:5:8  network.layers.relu_1
          `relu` cannot be tied: only linear layers can
          Drop `tie`.
        """,
    ),
    "share": (
        BRANCHES + "- share: a",
        """
        s.yaml:6:7  network.layers.share_1
          `a` (line 4) was built for (3, 8, 8), and (4, 4, 4) from `b` (line 5) wants weights of another shape
          Weights can only be shared between inputs that fit them.
        """,
    ),
    "share of a scope": (
        "- {layers: [linear: 3], name: s}\n- share: s",
        """
        s.yaml:4:17  network.layers.share_1/linear_1
          `s/linear_1` (line 4) was built for (3, 8, 8), and (3, 8, 3) from `s/linear_1` (line 4) wants weights \
of another shape
          Weights can only be shared between inputs that fit them.
        """,
    ),
    "a kernel larger than its input": (
        "- conv: {out_channels: 4, kernel_size: [3, 5], stride: 3}\n- max_pool: 4",
        """
        s.yaml:5:7  network.layers.max_pool_1
          a window of 4x4 is larger than its input of 2x2; what comes in is (4, 2, 2) from `conv_1` (line 4)
          Take a smaller kernel, dilation or earlier stride, or more padding.
        """,
    ),
    "channels that do not split": (
        "- conv: {out_channels: 4, kernel_size: 1, groups: 2}",
        """
        s.yaml:4:7  network.layers.conv_1
          3 input channels do not split into groups = 2; what comes in is (3, 8, 8) from `input` (line 2)
          Pick a divisor of 3, or drop `groups`.
        """,
    ),
    "how many inputs": (
        "- add\n- {relu: , from: [input, input]}\n- {layers: [relu], from: [input, input]}",
        """
        s.yaml:4:7  network.layers.add_1
          `add` joins two nodes or more
          Name them: `from: [prev, stem]`.
        s.yaml:5:8  network.layers.relu_1
          `relu` takes one input, and `from` names 2
          Merge them first: `- concat` or `- add` with that `from`.
        s.yaml:6:7  network.layers.layers
          `layers` takes one input, or several by name, and `from` is a list of 2
          Write `from: {left: ..., right: ...}` and a `name`; or merge them first, by `- concat`.
        """,
    ),
    "values": (
        "- {linear: 2, values: {weight: [1, 2], bias: .nan, foo: 3}}\n- {linear: 2, values: 3}",
        """
        s.yaml:4:28  network.layers.linear_1.values.weight
          `weight` has shape (2, 8), and the values given are (2,)
          A single number fills all of it.
        s.yaml:4:44  network.layers.linear_1.values.bias
          `bias` has shape (2,), and the values given are not finite numbers in rows of one length
          A single number fills all of it.
        s.yaml:4:56  network.layers.linear_1.values.foo
          there is no weight `foo` to give values to
          There are bias, weight.
        s.yaml:5:19  network.layers.linear_2
          `values` must be a mapping of weights to numbers, not 3
          Write `values: {weight: [[...]], bias: [...]}`.
        """,
    ),
    "absurd numbers": (
        "- linear: 1000000000000000000000000000000",
        """
        s.yaml:4:7  network.layers.linear_1.out_features
          1e+30 is beyond 9,223,372,036,854,775,807 (2^63 - 1)
        """,
    ),
}


@pytest.mark.parametrize(("layers", "sentences"), SIZES.values(), ids=SIZES)
def test_sizes_that_do_not_fit_name_both_sides_and_both_lines(tmp_path, layers, sentences):
    assert layers_report(tmp_path, layers) == lines(sentences)


def test_a_branch_from_another_file_is_named_with_its_file(tmp_path):
    (tmp_path / "base.yaml").write_text("vars:\n  stem: 1\nnetwork:\n  inputs: {image: [3, 8, 8]}\n")
    text = "defaults: [base]\nnetwork:\n  layers:\n    - linear: 4\n    - {add: , from: [prev, image]}\n"
    assert "with (3, 8, 8) from `image` (base.yaml:4): sizes 8x4 and 8x8 differ" in report(tmp_path, text)


def test_a_block_that_is_wrong_is_reported_once_however_often_it_runs(tmp_path):
    head = "blocks: {b: {layers: [{conv: {out_channels: 4, kernel_size: 3, stride: 2}}]}}\n"
    assert layers_report(tmp_path, "- repeat: {times: 9, layers: [b]}", head=head) == lines(
        """
        s.yaml:1:24  network.layers.b_3/conv_1
          a window of 3x3 is larger than its input of 1x1; what comes in is (4, 1, 1) from `b_2/conv_1` (line 1)
          Take a smaller kernel, dilation or earlier stride, or more padding.
          called at s.yaml:5:35
        """
    )


@pytest.mark.parametrize(
    ("inputs", "sentence"),
    [
        ("[3, 0]", "the shape of `input` must be whole numbers above 0, not [3, 0]"),
        ("{image: [-3]}", "the shape of `image` must be whole numbers above 0, not [-3]"),
        ("[]", "the shape of `input` must be whole numbers above 0, not []"),
        ("{image: }", "the shape of `image` must be whole numbers above 0, not nothing"),
        ("{}", "`inputs` names no input"),
        ("{image: {shap: [3]}}", "an input has no `shap`\n  Did you mean `shape`?"),
        ("{image: {dtype: int}}", "the input `image` has no `shape`"),
        ("{image: {shape: [3], dtype: complex}}", '`dtype` must be float, int or bool, not "complex"'),
        ("[1000000000000000000000000000000, 3]", "the input `input` has more than 10^18 values"),
        (f"[{', '.join(['1'] * 80)}]", "the input `input` has 80 axes, and a tensor has 60 at most"),
        ("{prev: [3]}", "an input cannot be called `prev`"),
    ],
)
def test_inputs_that_cannot_be_say_so(tmp_path, inputs, sentence):
    assert report(tmp_path, of_layers("- relu", inputs)).count("\n  " + sentence) == 1


def test_one_input_may_be_written_in_full(tmp_path):
    (tmp_path / "s.yaml").write_text(of_layers("- relu", "{shape: [3], dtype: float}"))
    assert list(trace(load(tmp_path / "s.yaml")).inputs) == ["input"]


# --- warnings -------------------------------------------------------------------------------------------------------


def warnings_of(folder: Path, layers: str, inputs: str = "[3, 8, 8]") -> list[str]:
    path = folder / "s.yaml"
    path.write_text(of_layers(layers, inputs))
    return [f"{w.mark.line}: {w.message}" for w in trace(load(path)).warnings]


def test_a_stride_that_skips_the_end_says_how_many_positions_are_lost(tmp_path):
    strided = "- conv: {out_channels: 4, kernel_size: 3, stride: 2}"
    assert warnings_of(tmp_path, strided) == [
        "4: the stride skips the end: the last 1 of 8 positions on each axis is never seen"
    ]
    assert warnings_of(tmp_path, strided, "[3, 7, 8]") == [
        "4: the stride skips the end: the last 1 of 8 positions on axis 1 is never seen"
    ]
    assert warnings_of(tmp_path, "- max_pool: 4", "[3, 7, 6, 7]") == [
        "4: the stride skips the end: the last 3 of 7 positions on axis 0 and axis 2 are never seen",
        "4: the stride skips the end: the last 2 of 6 positions on axis 1 are never seen",
    ]
    assert not warnings_of(tmp_path, strided, "[3, 7, 7]")


def test_a_padding_as_wide_as_the_window_lets_outputs_see_nothing_else(tmp_path):
    wide = "- conv: {out_channels: 4, kernel_size: 3, padding: 3, dilation: DILATION, padding_mode: MODE}"
    told = wide.replace("DILATION", "1").replace("MODE", "zeros")
    assert warnings_of(tmp_path, told) == [
        "4: padding 3x3 is as wide as a window of 3x3, or wider: outputs at the edge see padding alone"
    ]
    assert warnings_of(tmp_path, "- conv: {out_channels: 4, kernel_size: [5, 1], padding: [2, 1]}") == [
        "4: padding 2x1 is as wide as a window of 5x1, or wider: outputs at the edge see padding alone"
    ]
    assert not warnings_of(tmp_path, told.replace("padding: 3", "padding: 2"))
    assert not warnings_of(tmp_path, told.replace("dilation: 1", "dilation: 2"))
    assert not warnings_of(tmp_path, told.replace("zeros", "circular"))


def test_layers_on_the_last_axis_of_a_map_say_what_they_take(tmp_path):
    layers = """
    - {layer_norm: , name: first}
    - conv: {out_channels: 8, kernel_size: 3}
    - relu
    - {layer_norm: , name: second}
    - {linear: 4, name: third}
    """
    path = tmp_path / "s.yaml"
    path.write_text(of_layers(layers, "[3, 8, 8]"))
    found = trace(load(path)).warnings
    assert [(w.mark.line, w.path, w.message, w.hint) for w in found] == [
        (
            4,
            "network.layers.first",
            "layer_norm takes the last axis, one of the positions of (3, 8, 8) from `input`, not its channels",
            "`over: channels` takes the channels of each position, `over: sample` all values.",
        ),
        (
            7,
            "network.layers.second",
            "layer_norm takes the last axis, one of the positions of (8, 6, 6) from `relu_1`, not its channels",
            "`over: channels` takes the channels of each position, `over: sample` all values.",
        ),
    ]


@pytest.mark.parametrize(
    ("layers", "inputs", "warned"),
    [
        ("- linear: 4", "[3, 8, 8]", ["linear maps the last axis, one of the positions of (3, 8, 8)"]),
        ("- flatten\n- linear: 4", "[3, 8, 8]", []),
        ("- layer_norm: {over: channels}", "[3, 8, 8]", []),
        ("- layer_norm: {over: sample}", "[3, 8, 8]", []),
        ("- layer_norm", "[8, 16]", []),
        ("- conv: {out_channels: 1, kernel_size: 3}\n- linear: 5", "[1, 9]", []),
        ("- flatten: {start_dim: 2}\n- transpose\n- layer_norm\n- linear: 4", "[3, 8, 8]", []),
        ("- conv: {out_channels: 4, kernel_size: 3}\n- layer_norm", "[3, 9]", ["layer_norm takes the last axis"]),
        ("- permute: [2, 3, 1]\n- layer_norm\n- linear: 5", "[3, 8, 8]", []),
    ],
)
def test_only_maps_of_channels_and_positions_are_warned_of(tmp_path, layers, inputs, warned):
    found = warnings_of(tmp_path, layers, inputs)
    assert len(found) == len(warned)
    assert all(part in text for part, text in zip(warned, found, strict=True))


def test_an_input_that_no_layer_takes_is_named_with_its_place(tmp_path):
    path = tmp_path / "s.yaml"
    path.write_text(of_layers("- relu", "{image: [3, 8, 8], other: [4]}"))
    (found,) = trace(load(path)).warnings
    assert (str(found.mark), found.path) == (f"{path}:2:30", "network.inputs.other")
    assert (found.message, found.hint) == (
        "no layer takes the input `other`",
        "`from: other` takes it; else drop it.",
    )
    path.write_text(of_layers('- linear: "${2 * other[0]}"', "{image: [4], other: [4]}"))
    assert [one.hint for one in trace(load(path)).warnings] == [
        "`from: other` takes it; an expression needs its shape."
    ]
    path.write_text(of_layers("- relu\n- {concat: , from: [prev, other]}", "{image: [4], other: [4]}"))
    assert not trace(load(path)).warnings


def test_a_stride_in_a_block_that_runs_often_is_reported_once(tmp_path):
    skipping = "- repeat: {times: 6, layers: [{max_pool: 2}, {adaptive_avg_pool: 9}]}"
    assert len(warnings_of(tmp_path, skipping)) == 1


def test_what_leads_nowhere_is_reported(tmp_path):
    assert warnings_of(tmp_path, "- relu\n- tanh: {}\n  from: input") == ["4: `relu_1` leads to no output"]


def test_a_layer_that_changes_nothing_of_what_its_like_has_made_is_reported(tmp_path):
    twice = "- relu\n- flatten\n- flatten\n- linear: 3\n- relu\n- relu"
    assert warnings_of(tmp_path, twice) == [
        "6: flatten changes nothing: it follows `flatten_1`",
        "9: relu changes nothing: it follows `relu_2`",
    ]


def test_a_layer_that_follows_its_like_and_does_more_is_none(tmp_path):
    assert (
        warnings_of(tmp_path, "- relu\n- flatten: {start_dim: 2}\n- flatten\n- tanh\n- tanh\n- dropout\n- dropout")
        == []
    )


# --- blocks ---------------------------------------------------------------------------------------------------------

BLOCKS = """
blocks:
  b: {args: {w: null, s: 1}, layers: [{linear: "${w * s}"}]}
  none: {layers: [relu]}
""".lstrip()


@pytest.mark.parametrize(
    ("entry", "sentence"),
    [
        ("b", "s.yaml:7:7  network.layers.b_1\n  the block `b` wants its argument `w`\n  Write `- b: {w: ...}`."),
        ("b: {w: 3, t: 4}", "s.yaml:7:17  network.layers.b_1.t\n  the block `b` has no argument `t`"),
        ("b: {ws: 3}", "the block `b` has no argument `ws`\n  Did you mean `w` or `s`?"),
        (
            "none: 3",
            "the block `none` takes no arguments, and is given 3\n  Write `- none`, or declare `args` in the block.",
        ),
        ("none: {a: 1}", "the block `none` has no argument `a`\n  It takes none."),
        ("b: {w: ${1 / 0}}", "`1 / 0` divides by zero"),
        ("b: x", "s.yaml:2:40  network.layers.b_1/linear_1\n  `w * s` does not multiply two numbers"),
    ],
)
def test_arguments_of_a_block_that_are_wrong_say_so(tmp_path, entry, sentence):
    entry = entry.replace("${1 / 0}", '"${1 / 0}"')
    text = layers_report(tmp_path, f"- {entry}", head=BLOCKS)
    assert sentence in text
    assert text.replace("called at s.yaml:", "").count("s.yaml:") == 1


CALLED = """
blocks:
  unit:
    args: {out: null, kernel: "${out - 7}"}
    layers:
      - conv: {out_channels: "${out}", kernel_size: "${kernel}"}
  pair:
    args: {width: null}
    layers:
      - unit: {out: "${width}", kernel: 1}
      - unit:
          out: "${width}"
          kernel: 0
""".lstrip()


def test_a_mistake_inside_a_block_names_the_places_that_call_it(tmp_path):
    text = layers_report(tmp_path, "- unit: {out: 8}\n- unit: {out: abc, kernel: 1}\n- pair: {width: 4}", head=CALLED)
    assert text == lines(
        """
        s.yaml:5:16  network.layers.unit_2/conv_1.out_channels
          `out_channels` must be a whole number, not "abc"
          out_channels: filters, and so channels of the output.
          called at s.yaml:17:7
        s.yaml:5:40  network.layers.pair_1/unit_2/conv_1.kernel_size
          `kernel_size` must be above 0, not 0
          kernel_size: taps on each axis.
          called at s.yaml:10:9, from s.yaml:18:7
        """
    )


def test_a_mistake_at_the_call_itself_names_no_call_and_one_in_a_default_does(tmp_path):
    text = layers_report(tmp_path, '- unit: {out: "${oops}"}\n- unit: {out: a}', head=CALLED)
    assert text == lines(
        """
        s.yaml:3:23  network.layers.unit_2
          `out - 7` does not subtract two numbers
          called at s.yaml:17:7
        s.yaml:16:14  network.layers.unit_1
          there is no variable `oops` here
          There is x.
        """
    )


def test_of_a_deep_chain_of_calls_the_ends_are_named(tmp_path):
    head = "blocks:\n  down:\n    args: {n: null}\n    layers:\n"
    head += '      - {down: "${n - 1}", when: "${n > 0}"}\n      - {linear: abc, when: "${n == 0}"}\n'
    report(tmp_path, of_layers("- down: 9", head=head))
    with pytest.raises(SpecError) as error:
        trace(load(tmp_path / "s.yaml"))
    (problem,) = error.value.problems
    ends = "s.yaml:5:10, from s.yaml:5:10, from ..., from s.yaml:10:7"
    assert problem.called_at.replace(f"{tmp_path}/", "") == f"called at {ends}"
    assert problem.as_json()["called_at"][-1] == {"file": str(tmp_path / "s.yaml"), "line": 10, "column": 7}
    assert len(problem.calls) == 10


@pytest.mark.parametrize(
    ("block", "sentence"),
    [
        ("conv: {layers: [relu]}", "blocks.conv\n  the block `conv` has the name of a layer\n  Rename it."),
        ("repeat: {layers: [relu]}", "the block `repeat` has the name of a layer"),
        ("b: {args: {w: 1}}", "the block `b` has no `layers`\n  Write what it runs: `layers: [...]`."),
        ("b: {layer: [relu]}", "a block has no field `layer`\n  Did you mean `layers`?"),
        ("b: relu", 'a block must be a mapping with `layers`, not "relu"'),
        ("b:", "a block must be a mapping with `layers`, not nothing"),
        ("b: {args: [a, b], layers: [relu]}", '`args` must be a mapping of names to defaults, not ["a", "b"]'),
        ("b: {args: {x: 1}, layers: [relu]}", "an argument cannot be called `x`\n  `x` is the shape that comes in."),
        ("1x: {layers: [relu]}", "a block cannot be called `1x`\n  Letters, digits and `_`, a letter first."),
    ],
)
def test_a_block_that_is_wrong_says_so_even_where_it_is_not_used(tmp_path, block, sentence):
    text = layers_report(tmp_path, "- relu", head=f"blocks:\n  {block}\n")
    assert sentence in text
    assert text.replace("called at s.yaml:", "").count("s.yaml:") == 1


@pytest.mark.parametrize("blocks", ["[a, b]", "word"])
def test_blocks_must_be_a_mapping(tmp_path, blocks):
    assert "`blocks` must be a mapping of names to blocks, not " in layers_report(
        tmp_path, "- relu", head=f"blocks: {blocks}\n"
    )


def test_what_stands_beside_a_layer_and_was_put_inside_it_is_reported_where_it_goes(tmp_path):
    layers = "- {linear: 4, name: a}\n    - add: {from: [a, input]}\n    - add: [a, input]"
    path = tmp_path / "s.yaml"
    path.write_text(f"network:\n  inputs: [4]\n  layers:\n    {layers}\n")
    with pytest.raises(SpecError) as error:
        trace(load(path))

    assert [p.hint for p in error.value.problems] == [
        "`from` stands beside `add`, not inside it: on a line of its own below.",
        "Names stand beside it: `- {add: , from: [a, input]}`.",
    ]


def data_said(tmp_path: Path, inputs: str, layers: str, **more: str) -> list[str]:
    np.savez(tmp_path / "a.npz", x=np.arange(40).reshape(8, 5), y=np.arange(8) % 2 * 1.0)
    path = tmp_path / "s.yaml"
    sections = "".join(f"{name}: {text}\n" for name, text in more.items())
    data = "{arrays: {path: a.npz, task: classification}}"
    path.write_text(f"data: {data}\nnetwork:\n  inputs: {inputs}\n  layers: {layers}\n{sections}")
    with pytest.raises(SpecError) as error:
        trace(load(path))
    return [f"{p.mark.line}:{p.mark.column} {p.message} | {p.hint}" for p in error.value.problems]


KEEP = "`arrays` and `table` keep integers by `inputs: {NAME: {..., is: integers}}` of the data."
EMBEDDING = "[{embedding: {num_embeddings: 40, embedding_dim: 3}}, flatten, {linear: 2}]"


def test_integers_that_data_does_not_give_are_refused_before_training(tmp_path):
    assert data_said(tmp_path, "{shape: [5], dtype: int}", EMBEDDING) == [
        f"3:3 `inputs` says int for `input`, and the data gives floats | {KEEP}"
    ]
    (said,) = data_said(tmp_path, "[5]", EMBEDDING)
    assert said.startswith(
        "4:13 embedding looks numbers up, and (5,) from `input` (line 3) holds values of dtype float"
    )
    assert said.endswith("`arrays` and `table` give integers by `inputs: {NAME: {..., is: integers}}`.")


def test_classification_of_floats_says_how_they_become_classes(tmp_path):
    (tmp_path / "s.yaml").write_text(
        "data: {arrays: a.npz}\nnetwork: {layers: [{linear: 2}]}\nobjective: classification\n"
    )
    np.savez(tmp_path / "a.npz", x=np.ones((8, 5)), y=np.arange(8) % 2 * 1.0)
    with pytest.raises(SpecError) as error:
        trace(load(tmp_path / "s.yaml"))
    (problem,) = error.value.problems
    assert problem.hint == (
        "Use `objective: regression`. `task: classification` takes whole numbers for classes, `task: regression` "
        "says that values are meant."
    )


def test_a_split_by_group_is_refused_with_what_there_is(tmp_path):
    np.savez(tmp_path / "a.npz", x=np.ones((8, 5)), y=np.arange(8) % 2)
    (tmp_path / "s.yaml").write_text("data: {arrays: {path: a.npz, group: who}}\nnetwork: {layers: [{linear: 2}]}\n")
    with pytest.raises(SpecError) as error:
        trace(load(tmp_path / "s.yaml"))
    (problem,) = error.value.problems
    assert problem.message == "`arrays` has no field `group`"
    assert problem.hint.startswith("Of a `table`, `split: {by: COLUMN}` reads the parts from a column, and ")


SLIPPED = {
    "{repeat: 5, layers: [relu]}": ("`layers` stands beside `repeat`", "repeat: {times: 5, layers: [...]}", 5),
    "{repeat: , layers: [relu]}": ("`layers` stands beside `repeat`", "repeat: {times: 2, layers: [...]}", 2),
    "{repeat: '${w}', layers: [relu], index: k}": (
        "`layers` and `index` stand beside `repeat`",
        'repeat: {times: "${w}", layers: [...], index: ...}',
        3,
    ),
    "{residual: , layers: [relu]}": ("`layers` stands beside `residual`", "residual: {layers: [...]}", 2),
    "{residual: [relu], after: relu}": ("stands beside `residual`", "residual: {layers: [...], after: [...]}", 3),
    "{parallel: [[relu], [relu]], merge: add}": (
        "`merge` stands beside `parallel`",
        "parallel: {branches: [...], merge: ...}",
        2,
    ),
    "{residual: [relu]}": ('`residual` must be a mapping, not ["relu"]', "residual: {layers: [...]}", 2),
    "{repeat: 3}": ("`repeat` must be a mapping, not 3", "repeat: {times: 3, layers: [...]}", 3),
    "{conv: 3, kernel_size: 2}": ("`kernel_size` stands beside `conv`", "conv: {out_channels: 3, kernel_size: 2}", 1),
    "{leaky_relu: 0.2, inplace: x, name: a}": ("`inplace` stands beside", "leaky_relu: {negative_slope: 0.2", 1),
}


@pytest.mark.parametrize(("entry", "expected"), SLIPPED.items(), ids=SLIPPED)
def test_the_way_out_of_a_field_beside_its_kind_leads_there(tmp_path, entry, expected):
    """The text of the hint is fed back, with layers for `[...]`: the network that was meant comes out."""
    sentence, way_out, layers = expected
    spec = f"vars: {{w: 3}}\nnetwork:\n  inputs: [3, 8, 8]\n  layers:\n    - {entry}\n"
    text = report(tmp_path, spec)
    assert sentence in text
    assert way_out in text
    if "inplace" in entry:
        return
    filled = way_out.replace("after: [...]", "after: [relu]").replace("branches: [...]", "branches: [[relu], []]")
    filled = filled.replace("[...]", "[relu]").replace("index: ...", "index: k").replace("merge: ...", "merge: add")
    (tmp_path / "s.yaml").write_text(spec.replace(entry, f"{{{filled}}}"))
    assert len(trace(load(tmp_path / "s.yaml")).nodes) == layers


def test_a_word_for_the_first_field_of_a_layer_of_several_inputs_is_no_name():
    graph = graph_of("""\
        network:
          inputs: {x: [5, 3], mask: {shape: [5], dtype: bool}}
          layers: [{masked_pool: mean, from: [x, mask]}]
        """)
    assert graph.nodes[0].layer.model_dump() == {"reduce": "mean"}


def test_a_mistake_behind_a_reshape_that_does_not_fit_is_told_with_it(tmp_path):
    text = """\
dlx: 1
network:
  inputs: [12]
  layers:
    - reshape: [5, 3]
    - {conv: {out_channels: 4, kernel_size: 7}}
    - reshape: [2, -1]
    - reshape: [3, -1]
"""
    (tmp_path / "s.yaml").write_text(text)
    with pytest.raises(SpecError) as error:
        trace(load(tmp_path / "s.yaml"))
    told = [(one.mark.line, one.message) for one in error.value.problems]
    assert told[0] == (5, "(12,) from `input` (line 3) holds 12 values, which do not fill (5, 3)")
    assert told[1][0] == 6
    assert "(5, 3) from `reshape_1` (line 5)" in told[1][1]
    assert len(told) == 2  # what the convolution would make is in no line of the spec
