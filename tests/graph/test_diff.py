"""Two specs side by side: what was added, removed, changed, and what it costs."""

import pytest
from helpers import ROOT, experiment_of

from dlx.errors import SpecError
from dlx.graph.comparison.diff import diff
from dlx.spec import load

ZOO = ROOT / "specs/cs231n"
LENET = ROOT / "specs/digits/lenet.yaml"
NET = """
network:
  inputs: [1, 8, 8]
  layers:
    - conv: {out_channels: 4, kernel_size: 3, padding: 1}
    - relu
    - conv: {out_channels: 4, kernel_size: 3, padding: 1}
    - relu
    - flatten
    - linear: 10
"""


def of(a, b):
    return diff(experiment_of(a), experiment_of(b))


def changes(found):
    return [(s.change, s.a and s.a.name, s.b and s.b.name) for s in found.changes if s.change != "unchanged"]


def changed(found):
    (step,) = [s for s in found.changes if s.change != "unchanged"]
    return step


def test_a_spec_does_not_differ_from_itself():
    found = diff(load(LENET), load(LENET))
    assert found.same_network
    assert found.settings == ()
    assert found.renamed == 0


def test_an_inserted_layer_is_one_added_layer_however_many_names_move():
    more = NET.replace("    - flatten", "    - conv: {out_channels: 4, kernel_size: 3, padding: 1}\n    - flatten")
    found = of(NET, NET.replace("    - relu\n    - conv", "    - relu\n    - batch_norm\n    - conv", 1))
    assert changes(found) == [("added", None, "batch_norm_1")]
    assert changes(of(NET, more)) == [("added", None, "conv_3")]
    assert changes(of(more, NET)) == [("removed", "conv_3", None)]


def test_a_layer_in_front_renames_all_and_changes_none():
    found = of(NET, NET.replace("layers:\n", "layers:\n    - conv: {out_channels: 1, kernel_size: 1}\n"))
    assert changes(found) == [("added", None, "conv_1")]
    assert found.renamed == 2


def test_an_option_that_changed_is_reported_with_both_values_and_its_cost():
    step = changed(of(NET, NET.replace("kernel_size: 3, padding: 1", "kernel_size: 5, padding: 2", 1)))
    assert step.options == {"kernel_size": (3, 5), "padding": (1, 2)}
    assert step.facts == {}
    assert step.params == 4 * (25 - 9)
    assert step.macs == 4 * (25 - 9) * 64
    assert step.activation_bytes == 0
    assert [str(seen) for seen in step.receptive_field] == ["3", "5"]


def test_another_kind_of_the_same_family_is_a_change():
    step = changed(of(NET, NET.replace("relu", "tanh", 1)))
    assert step.facts == {"kind": ("relu", "tanh")}


def test_what_follows_from_another_shape_is_reported_where_it_arrives():
    found = of(NET, NET.replace("out_channels: 4", "out_channels: 6", 1))
    steps = {step.node.name: step for step in found.changes}
    assert steps["conv_1"].options == {"out_channels": (4, 6)}
    assert steps["conv_2"].options == {}
    assert steps["conv_2"].facts == {"arriving": (((4, 8, 8),), ((6, 8, 8),))}
    assert steps["conv_2"].params == 4 * 2 * 9
    assert steps["relu_2"].change == "unchanged"


def test_other_wiring_is_a_change_and_a_layer_between_is_none():
    a = NET.replace("- flatten", "- add:\n      from: [prev, conv_1]\n    - flatten")
    assert changed(of(a, a.replace("conv_1", "relu_1"))).facts == {
        "inputs": (["relu_2", "conv_1"], ["relu_2", "relu_1"])
    }
    between = a.replace("    - add", "    - dropout: 0.5\n    - add")
    assert changes(of(a, between)) == [("added", None, "dropout_1")]


def test_a_residual_around_a_layer_adds_the_sum_alone():
    conv = "conv: {out_channels: 4, kernel_size: 3, padding: 1}"
    b = f"- residual: {{layers: [{{{conv}}}]}}".join(NET.rsplit(f"- {conv}", 1))
    assert changes(of(NET, b)) == [("added", None, "add_1")]


def test_shared_and_frozen_weights_are_reported():
    frozen = of(NET, NET + "freeze: conv_1\n")
    assert changed(frozen).facts == {"frozen": (False, True)}
    assert [setting.as_json() for setting in frozen.settings] == [{"key": "freeze", "a": [], "b": ["conv_1"]}]
    shared = "network:\n  inputs: [4]\n  layers: [{linear: 4}, relu, {linear: 4}]\n"
    step = changed(of(shared, shared.replace("relu, {linear: 4}", "relu, {share: linear_1}")))
    assert step.facts == {"owner": (None, "linear_1")}
    assert step.params == -20


def test_the_published_resnets_differ_by_whole_blocks():
    """ResNet-101 has 17 blocks more than ResNet-50 in its third stage, and nothing else (He et al. 2015, table 1)."""
    found = diff(load(ZOO / "resnet50.yaml"), load(ZOO / "resnet101.yaml"))
    added = [step.b.name.split("/")[0] for step in found.changes if step.change == "added"]
    assert len(dict.fromkeys(added)) == 17
    assert len(added) == 17 * 10
    assert {step.change for step in found.changes} == {"added", "unchanged"}
    assert sum(step.params for step in found.changes) == 44_549_160 - 25_557_032
    assert sum(step.macs for step in found.changes) == 7_801_405_440 - 4_089_184_256


def test_blocks_of_another_sort_replace_each_other_as_a_whole():
    found = diff(load(ZOO / "resnet18.yaml"), load(ZOO / "resnet50.yaml"))
    pairs = [(s.a.name, s.b.name) for s in found.changes if s.a and s.b]
    assert not any("basic" in a and "bottleneck" in b for a, b in pairs)


def test_settings_outside_the_network_are_reported_by_key():
    changes = ["train.batch_size=8", "train.optimizer.adamw.lr=0.1", "data.digits.valid=0.2", "init=default"]
    found = diff(load(LENET), load(LENET, changes))
    assert found.same_network
    assert [(s.key, s.a, s.b) for s in found.settings] == [
        ("data.digits.valid", 0.1, 0.2),
        ("init", "he_normal", "default"),
        ("train.batch_size", 32, 8),
        ("train.optimizer.adamw.lr", 0.003, 0.1),
    ]


def test_another_optimizer_is_one_setting():
    found = diff(load(LENET), load(LENET, ["train.optimizer={sgd: {lr: 0.1}}"]))
    (setting,) = found.settings
    assert (setting.a, setting.b) == ({"adamw": {"lr": 0.003, "weight_decay": 0.1}}, {"sgd": {"lr": 0.1}})


def test_a_default_that_is_written_out_is_no_difference():
    found = diff(
        load(LENET), load(LENET, ["train.shuffle=true", "objective={classification: {loss: cross_entropy}}"])
    )
    assert found.settings == ()


def test_another_input_is_a_setting():
    found = of(NET, NET.replace("[1, 8, 8]", "[1, 9, 9]"))
    assert [s.as_json() for s in found.settings] == [{"key": "network.inputs.input", "a": [1, 8, 8], "b": [1, 9, 9]}]


def test_another_output_is_a_setting():
    a = NET.replace("  layers:", "  outputs: {main: linear_1, aux: relu_1}\n  layers:")
    found = of(a, a.replace("aux: relu_1", "aux: relu_2"))
    assert [(s.key, s.a, s.b) for s in found.settings] == [("network.outputs.aux", "relu_1", "relu_2")]


def test_the_mistakes_of_both_are_reported_and_those_of_one_once():
    wrong = experiment_of(NET.replace("relu", "rleu", 1))
    other = experiment_of(NET.replace("flatten", "flaten"))
    with pytest.raises(SpecError) as error:
        diff(wrong, other)
    assert [p.message for p in error.value.problems] == [
        "there is no layer or block `rleu`",
        "there is no layer or block `flaten`",
    ]
    with pytest.raises(SpecError) as error:
        diff(wrong, wrong)
    assert len(error.value.problems) == 1


def test_the_document_has_both_sides():
    document = of(NET, NET.replace("kernel_size: 3, padding: 1", "kernel_size: 5, padding: 2", 1)).as_json()
    assert list(document) == ["a", "b", "layers", "totals", "settings"]
    first, second, *_ = document["layers"]
    assert first == {
        "change": "changed",
        "a": "conv_1",
        "b": "conv_1",
        "differs": ["options"],
        "kind": {"a": "conv", "b": "conv"},
        "options": {"kernel_size": {"a": 3, "b": 5}, "padding": {"a": 1, "b": 2}},
        "inputs": {"a": ["input"], "b": ["input"]},
        "shape": {"a": [4, 8, 8], "b": [4, 8, 8]},
        "params": 64,
        "macs": 4096,
        "activation_bytes": 0,
        "receptive_field": {
            "a": {"size": [3, 3], "stride": [1, 1], "start": [-1, -1]},
            "b": {"size": [5, 5], "stride": [1, 1], "start": [-2, -2]},
        },
    }
    assert second == {"change": "unchanged", "a": "relu_1", "b": "relu_1"}
    assert document["totals"]["params"]["b"] - document["totals"]["params"]["a"] == 64
    assert document["totals"]["layers"] == {"a": 6, "b": 6}
