"""Expressions that have no value, in every place where one may stand."""

import pytest
from complaints import layers_report, of_layers, report

NET = "network: {inputs: [3, 8, 8], layers: [relu]}\n"
PLACES = {
    "a field": (of_layers('- conv: {out_channels: "BAD", kernel_size: 3}'), "4:14", "layers.conv_1"),
    "a bare value": (of_layers("- linear: BAD"), "4:7", "layers.linear_1"),
    "an item of a field": (of_layers('- conv: {out_channels: 1, kernel_size: [3, "BAD"]}'), "4:48", "layers.conv_1"),
    "a kind": (of_layers("- BAD"), "4:7", "layers"),
    "times": (of_layers('- repeat: {times: "BAD", layers: [relu]}'), "4:16", "layers.repeat.times"),
    "when": (of_layers("- relu: {}\n  when: BAD"), "5:7", "layers.relu_1"),
    "name": (of_layers("- relu: {}\n  name: n_BAD"), "5:7", "layers.n_BAD"),
    "from": (of_layers("- relu: {}\n  from: [prev, BAD]".replace("BAD", '"BAD"')), "5:20", "layers.relu_1"),
    "an argument": (of_layers("- b: BAD", head="blocks: {b: {args: {w: 1}, layers: [relu]}}\n"), "5:7", "layers.b_1"),
    "a default": (of_layers("- b", head='blocks: {b: {args: {w: "BAD"}, layers: [relu]}}\n'), "1:21", "layers.b_1"),
    "given values": (of_layers('- {linear: 2, values: {bias: "BAD"}}'), "4:28", "layers.linear_1"),
    "an input": (of_layers("- linear: 3", '["BAD", 4]'), "2:12", "inputs"),
    "a list of for": (of_layers('- for: {a: ["BAD", 2]}\n  layers: [relu]'), "4:17", "layers.for"),
    "a share": (of_layers("- share: BAD"), "4:7", "layers.share_1"),
    "a tie": (of_layers("- {linear: 3, tie: BAD}".replace("BAD", '"BAD"')), "4:19", "layers.linear_1"),
    "a variable": (f'vars: {{a: [1, "BAD"]}}\n{NET}', "1:15", "vars.a.1"),
    "data": (f'data: {{synthetic: {{shape: [1, "BAD"]}}}}\n{NET}', "1:31", "data.synthetic.shape.1"),
    "train": (f"train:\n  steps: BAD\n{NET}", "2:3", "train.steps"),
    "an optimizer": (
        f'train: {{steps: 1, optimizer: {{sgd: {{lr: "BAD"}}}}}}\n{NET}',
        "1:37",
        "train.optimizer.sgd.lr",
    ),
    "init": (f"init: BAD\n{NET}", "1:1", "init"),
    "objective": (f"objective: BAD\n{NET}", "1:1", "objective"),
}
BAD = {
    "${1 / 0}": "`1 / 0` divides by zero",
    "${open(1)}": "there is no function `open`",
    "${(-8) ** 0.5}": "the result is not a finite number",
    "${1 if 2}": "is not arithmetic",
    "${oops}": "there is no variable `oops` here",
    "${": "has a `${` that is not closed",
}


@pytest.mark.parametrize("bad", BAD)
@pytest.mark.parametrize(("text", "place", "path"), PLACES.values(), ids=PLACES)
def test_an_expression_without_a_value_is_reported_once_wherever_it_stands(tmp_path, text, place, path, bad):
    problems_of = report(tmp_path, text.replace("BAD", bad))
    root = "" if path.split(".")[0] in {"vars", "data", "train", "init", "objective"} else "network."
    assert problems_of.startswith(f"s.yaml:{place}  {root}{path.replace('BAD', bad)}\n  ")
    assert BAD[bad] in problems_of
    assert problems_of.replace("called at s.yaml:", "").count("s.yaml:") == 1


def test_what_follows_from_a_variable_without_a_value_is_not_reported(tmp_path):
    head = 'vars: {a: "${1 / 0}", b: "${a + 1}"}\ntrain: {steps: "${b}"}\n'
    text = layers_report(
        tmp_path,
        "- {linear: '${a}', name: l}\n- {repeat: {times: '${b}', layers: [relu]}}\n- {relu: , from: l}",
        head=head,
    )
    assert text.count("s.yaml:") == 1


def test_other_mistakes_of_the_same_layer_are_still_reported(tmp_path):
    text = layers_report(tmp_path, '- conv: {out_channels: "${1 / 0}", kernel_size: -3, grops: 1}')
    assert [line.split("  ")[0] for line in text.splitlines() if line.startswith("s.yaml")] == [
        "s.yaml:4:14",
        "s.yaml:4:40",
        "s.yaml:4:57",
    ]
