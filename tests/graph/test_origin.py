"""Where the options of a node come from, also of one inside a block that runs many times."""

import pytest
from helpers import ROOT

from dlx.errors import SpecError
from dlx.graph import trace_all
from dlx.graph.origin import why
from dlx.spec import load

LENET = ROOT / "specs/digits/lenet.yaml"
RESNET = ROOT / "specs/cs231n/resnet101.yaml"


def asked(path, key, *changes):
    experiment = load(path, changes)
    return why(experiment, trace_all(experiment), key, changes)


def refused(path, key, *changes):
    with pytest.raises(SpecError) as error:
        asked(path, key, *changes)
    (problem,) = error.value.problems
    return f"{problem.message} | {problem.hint}"


def at(found):
    return (found.mark.file.rsplit("/", 1)[-1], found.mark.line, found.mark.column)


def test_an_option_of_a_plain_layer_stands_in_the_file():
    found = asked(LENET, "network.layers.conv_1.kernel_size")
    assert (found.value, at(found), found.replaced) == (5, ("lenet.yaml", 7, 31), ())
    assert found.about == "taps on each axis"
    assert asked(LENET, "network.layers.conv_1.conv.kernel_size") == found


def test_an_override_of_it_is_reported_with_what_it_replaced():
    change = "network.layers.conv_1.kernel_size=3"
    found = asked(LENET, "network.layers.conv_1.kernel_size", change)
    assert (found.value, str(found.mark)) == (3, f"override `{change}`")
    assert [(old.value, old.mark.line) for old in found.replaced] == [(5, 7)]


def test_a_bare_value_is_the_first_field():
    found = asked(LENET, "network.layers.linear_1.out_features", "network.layers.linear_1=20")
    assert (found.value, [old.value for old in found.replaced]) == (20, [120])
    assert asked(LENET, "network.layers.linear_1.bias").default_of == "linear"


def test_an_expression_in_a_block_has_the_value_of_the_node_that_is_asked_for():
    for node, value in (("bottleneck_1/conv_2", 64), ("bottleneck_9/conv_2", 256)):
        found = asked(RESNET, f"network.layers.{node}.out_channels")
        assert (found.value, found.expression, at(found)) == (value, "${widen * width}", ("resnet50.yaml", 14, 22))
        assert [(one.key, one.value) for one in found.uses] == [("vars.widen", 1)]


def test_a_merge_that_nobody_wrote_is_of_its_block():
    found = asked(RESNET, "network.layers.bottleneck_3/add_1")
    assert (found.kind, found.mark.line, found.parts) == ("add", 9, ())


def test_a_node_as_a_whole_lists_its_options():
    found = asked(LENET, "network.layers.linear_1")
    assert (found.kind, [(part.key.rsplit(".", 1)[-1], part.value) for part in found.parts]) == (
        "linear",
        [("out_features", 120), ("bias", True)],
    )


def test_a_node_that_runs_the_weights_of_another_has_its_options(tmp_path):
    path = tmp_path / "s.yaml"
    path.write_text("network:\n  inputs: [4]\n  layers:\n    - linear: 4\n    - share: linear_1\n      name: again\n")
    found = asked(path, "network.layers.again.out_features")
    assert (found.value, found.mark.line) == (4, 4)


def test_what_stands_beside_the_kind_can_be_asked_for(tmp_path):
    path = tmp_path / "s.yaml"
    path.write_text("network:\n  inputs: [4]\n  layers:\n    - linear: 4\n      name: fc\n      from: input\n")
    assert asked(path, "network.layers.fc.name").mark.line == 5
    assert asked(path, "network.layers.fc.from").value == "input"


def test_layers_of_one_override_are_distinguished():
    change = "network.layers=[flatten,{linear:{out_features:7}},{linear:{out_features:10}}]"
    assert asked(LENET, "network.layers.linear_1.out_features", change).value == 7
    found = asked(LENET, "network.layers.linear_2.out_features", change)
    assert (found.value, [old.key for old in found.replaced]) == (10, ["network.layers"])


def test_a_name_that_is_none_is_reported_with_the_nearest():
    assert refused(LENET, "network.layers.conv_9.kernel_size") == (
        "there is no layer `conv_9` | Did you mean `conv_2` or `conv_1`?"
    )
    assert refused(LENET, "network.layers.conv_1.kernal_size") == (
        "`network.layers.conv_1` has no `kernal_size` | Did you mean `kernel_size`?"
    )
    assert refused(LENET, "conv_1.kernel_size").endswith("Did you mean `network.layers.conv_1.kernel_size`?")


def test_a_scope_points_to_its_layers():
    assert refused(RESNET, "network.layers.bottleneck_3.width") == (
        "`bottleneck_3` is a scope of several layers | Ask for one of its layers: "
        "`network.layers.bottleneck_3/conv_1`."
    )
