"""A spec from Python: where it comes from, what is wrong with it and where, its graph, and its module."""

import math
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers import ROOT

import dlx

LENET = ROOT / "specs" / "digits" / "lenet.yaml"
TEXT = """\
name: small
network:
  inputs: {image: [1, 8, 8]}
  layers: [{conv: {out_channels: 2, kernel_size: 3}}, relu, flatten, {linear: 5}]
"""
MAPPING = {
    "name": "small",
    "network": {
        "inputs": {"image": [1, 8, 8]},
        "layers": [{"conv": {"out_channels": 2, "kernel_size": 3}}, "relu", "flatten", {"linear": 5}],
    },
}
TOML = """\
# the same network
name = "small"
[network]
inputs = {image = [1, 8, 8]}
layers = [{conv = {out_channels = 2, kernel_size = 3}}, "relu", "flatten", {linear = 5}]
"""
BY_HAND = 2 * (3 * 3 + 1) + 5 * (2 * 6 * 6 + 1)
"""Parameters: a convolution with biases, and a linear layer on its 6 x 6 positions."""


def problem(spec, overrides=()) -> dlx.errors.Problem:
    with pytest.raises(dlx.DlxError) as raised:
        dlx.load(spec, overrides)
    (one,) = raised.value.problems
    return one


@pytest.mark.parametrize("spec", [TEXT, MAPPING, TOML, dlx.load(TEXT)], ids=["yaml", "dict", "toml", "loaded"])
def test_a_text_and_a_mapping_are_the_spec_that_a_file_would_be(spec, tmp_path):
    (tmp_path / "file.yaml").write_text(TEXT)

    assert dlx.load(spec).resolved() == dlx.load(tmp_path / "file.yaml").resolved()
    assert dlx.inspect(spec).params == BY_HAND


def test_a_string_is_a_path_until_it_has_a_line_break_or_a_colon_before_a_space(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("small.yaml").write_text(TEXT)
    Path("odd: name.yaml").write_text(TEXT)

    assert dlx.load("small.yaml").path == Path("small.yaml")
    assert dlx.load("network: {inputs: [3], layers: [{linear: 2}]}").name == "text"
    assert dlx.load(Path("odd: name.yaml")).name == "small"  # a Path is a path whatever it is called


def test_a_path_that_does_not_exist_is_reported_with_the_nearest(tmp_path):
    (tmp_path / "lenet.yaml").write_text(TEXT)
    found = problem(tmp_path / "lenett.yaml")

    assert str(found.mark) == str(tmp_path / "lenett.yaml")
    assert found.message == "there is no such file"
    assert str(tmp_path / "lenet.yaml") in found.hint


@pytest.mark.parametrize(
    ("spec", "sentence"),
    [
        (3, "a spec is a path, a text or a mapping, and not an int"),
        (b"a.yaml", "a spec is a path, a text or a mapping, and not a bytes"),
        ("", "a spec is a path, a text or a mapping, and not an empty text"),
        (" \n ", "is empty"),
        ("[1,\n2]", "is a list, not a spec"),
    ],
)
def test_what_is_no_spec_is_refused_in_a_sentence(spec, sentence):
    assert sentence in problem(spec).message


def test_a_mistake_in_a_text_has_its_line_and_column():
    found = problem(TEXT.replace("kernel_size", "kernel_sizes"))

    column = TEXT.splitlines()[3].index("kernel_size") + 1
    assert str(found).splitlines()[0] == f"<text>:4:{column}  network.layers.conv_1.kernel_sizes"
    assert "kernel_size" in found.hint


def test_a_mistake_in_a_mapping_has_its_key_path():
    wrong = {**MAPPING, "train": {"epoch": 3}}

    assert str(problem(wrong)).splitlines()[0] == "<dict>  train.epoch"
    layers = [{"conv": {"out_channels": 2, "kernel_sizes": 3}}, "flatten", {"linear": 5}]
    wrong = {"network": {"inputs": [1, 8, 8], "layers": layers}}
    assert str(problem(wrong)).splitlines()[0] == "<dict>  network.layers.conv_1.kernel_sizes"


def test_all_mistakes_of_a_mapping_are_reported_at_once():
    with pytest.raises(dlx.SpecError) as raised:
        dlx.load({**MAPPING, "train": {"epoch": 3}, "trak": {}, "data": "digitz"})

    assert [one.path for one in raised.value.problems] == ["train.epoch", "trak", "data"]


def test_values_of_numpy_torch_and_pathlib_are_plain_in_a_mapping(tmp_path):
    spec = {
        **MAPPING,
        "vars": {"a": np.int64(3), "b": np.float32(0.5), "c": torch.tensor([1, 2]), "d": (1, 2), "e": tmp_path},
    }

    assert dlx.load(spec).vars == {"a": 3, "b": 0.5, "c": [1, 2], "d": [1, 2], "e": str(tmp_path)}


def test_a_value_that_no_spec_holds_is_reported_with_its_key_path():
    found = problem({**MAPPING, "vars": {"a": [1, {"b": object()}]}})

    assert (found.path, found.message) == (
        "vars.a.1.b",
        "a spec holds numbers, texts, true, false, None, lists and mappings, and no object",
    )


def test_a_mapping_that_holds_itself_ends_in_a_sentence():
    circle = {**MAPPING}
    circle["vars"] = circle

    assert problem(circle).message == "is nested more than 100 deep"


def test_defaults_and_data_of_a_text_start_at_the_working_directory(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("base.yaml").write_text(TEXT)
    Path("t.csv").write_text("a,b\n1,2\n2,4\n3,6\n4,8\n")

    assert dlx.inspect("defaults: [base]\nname: other\n").params == BY_HAND
    table = {"data": {"table": {"path": "t.csv", "target": "b"}}, "network": {"layers": [{"linear": 1}]}}
    assert dlx.load(table).data.path == tmp_path / "t.csv"


@pytest.mark.parametrize(
    "overrides",
    ["train.epochs=2", ["train.epochs=2"], ("train.epochs=2",), {"train.epochs": 2}, {"train.epochs": np.int64(2)}],
)
def test_overrides_are_texts_or_a_mapping(overrides):
    assert dlx.load(LENET, overrides).train.epochs == 2


def test_a_mapping_of_overrides_holds_any_value_that_the_grammar_has():
    values = {
        "train.optimizer": {"sgd": {"lr": 0.1, "momentum": 0.9}},
        "+vars.words": ["a b", "it's", "x,y", "1"],
        "+vars.nothing": None,
        "+vars.yes": True,
        "+vars.small": 1e-7,
    }
    found = dlx.load(LENET, values)

    assert (found.train.optimizer.kind, found.train.optimizer.lr) == ("sgd", 0.1)
    assert found.vars == {"words": ["a b", "it's", "x,y", "1"], "nothing": None, "yes": True, "small": 1e-7}


def test_an_override_that_does_not_parse_is_reported_as_the_command_line_tells_it():
    found = problem(LENET, ["train.epochs=[1"])

    assert str(found.mark) == "override `train.epochs=[1`"
    assert found.message.startswith("is not in Hydra's override grammar")


def test_overrides_of_another_type_are_refused_with_the_way_out():
    with pytest.raises(dlx.DlxError, match=r"overrides are texts or a mapping, and `3` is an int") as raised:
        dlx.load(LENET, [3])
    assert raised.value.problems[0].hint == 'Write ["train.epochs=5"], or {"train.epochs": 5}.'


def test_the_layers_are_a_frame_with_shapes_counts_and_fields():
    """LeNet on digits by hand: 6 filters of 5 x 5 at 8 x 8 positions; after flatten a layer sees everything."""
    found = dlx.inspect(LENET)
    conv, pool, linear = (found.layers.loc[name] for name in ("conv_1", "max_pool_1", "linear_1"))

    assert (conv["shape"], conv["params"], conv["macs"]) == ((6, 8, 8), 6 * 26, 6 * 25 * 64)
    assert (conv["activation_bytes"], conv["field_size"], conv["field_start"]) == (6 * 64 * 4, (5, 5), (-2, -2))
    assert (pool["inputs"], pool["field_size"], pool["field_stride"]) == (("relu_2",), (10, 10), (2, 2))
    assert linear["field_size"] == "global"
    assert found.layers["params"].sum() == found.params == 44_426
    assert found.graph.by_name["conv_1"].kind == "conv"


def test_other_inputs_and_the_memory_of_a_batch():
    found = dlx.inspect(TEXT, inputs={"image": (1, 10, 10)}, batch=4)

    assert found.layers.loc["conv_1", "shape"] == (2, 8, 8)
    assert found.memory["network"].batch == 4
    assert found.memory["network"].most.weights == 4 * found.params
    assert dlx.inspect("network: {inputs: [3], layers: [{linear: 2}]}", inputs=[7]).params == 2 * 8
    with pytest.raises(dlx.SpecError, match="the network has no input `picture`"):
        dlx.inspect(TEXT, inputs={"picture": (1, 10, 10)})


TWO = """\
networks:
  generator: {inputs: {noise: [4]}, layers: [{linear: 3}]}
  critic: {inputs: {image: [3]}, layers: [{linear: 1}]}
"""


def test_several_networks_are_a_module_dict_and_one_frame():
    network = dlx.build(TWO)

    assert isinstance(network, torch.nn.ModuleDict)
    assert list(network) == ["generator", "critic"]
    assert network["generator"](torch.zeros(2, 4)).shape == (2, 3)
    assert list(dlx.inspect(TWO).layers.index) == ["generator/linear_1", "critic/linear_1"]
    with pytest.raises(dlx.SpecError, match="the spec has several networks: `generator`, `critic`"):
        _ = dlx.inspect(TWO).graph


def test_a_module_has_the_weights_that_a_training_starts_from(tmp_path):
    one_step = ["+train.steps=1", "~train.epochs", "~expect", "track.mlflow=false"]
    run = dlx.train(LENET, one_step, runs=tmp_path, quiet=True)
    network = dlx.build(LENET)
    with torch.no_grad():
        start = network(torch.zeros(1, 1, 8, 8))

    assert network.training
    assert start.shape == (1, 10)
    moved = {name: (run.weights[name] - value).abs().max() for name, value in network.state_dict().items()}
    assert all(0 < float(far) < 0.01 for far in moved.values())  # AdamW moves each by about its rate, 0.003


def test_building_leaves_the_generators_of_the_caller_alone():
    torch.manual_seed(7)
    before = torch.get_rng_state()
    first, same, other = dlx.build(TEXT), dlx.build(TEXT), dlx.build(TEXT, seed=1)

    assert torch.equal(torch.get_rng_state(), before)
    weights = [network.state_dict()["conv_1.weight"] for network in (first, same, other)]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])


def test_weights_that_only_a_training_fits_to_data_are_warned_of():
    with pytest.warns(dlx.DlxWarning, match="`init` fits weights to the data when a training starts") as caught:
        dlx.build(f"{TEXT}init: lsuv\n")
    assert caught[0].filename == __file__


def test_html_of_a_graph_is_escaped_and_has_the_totals():
    page = dlx.inspect(
        TEXT.replace("name: small", "name: small\nsource: <b>").replace("relu", "{relu: {}, name: r1}")
    )._repr_html_()

    assert '<td style="text-align: left">conv_1</td>' in page
    assert f"{BY_HAND:,} parameters" in page
    from dlx.show import html

    assert "<script>" not in html.table(["<script>"], [["<script>alert(1)</script>"]], "<script>", ["<script>"])


def test_a_graph_in_a_line():
    macs = 2 * 9 * 36 + 5 * 72
    assert repr(dlx.inspect(TEXT)) == f"<dlx.Inspection small: 4 layers, {BY_HAND} parameters, {macs:,} MACs>"
    assert math.prod((2, 6, 6)) == 72
    assert "1 layer," in repr(dlx.inspect({"network": {"inputs": [3], "layers": [{"linear": 2}]}}))


def test_a_spec_in_a_line_and_in_a_notebook():
    spec = dlx.load(MAPPING | {"source": "<b>"})
    assert repr(spec) == f"<dlx.Experiment {spec.name}: <dict>>"
    assert "source: &lt;b&gt;" in spec._repr_html_()
    assert "<b>" not in spec._repr_html_()


@pytest.mark.parametrize("batch", [0, -3, 2.0, "x"])
def test_a_batch_is_a_whole_number_from_1(batch):
    with pytest.raises(dlx.DlxError, match=r"`batch` is a whole number from 1, and not "):
        dlx.inspect(TEXT, batch=batch)


@pytest.mark.parametrize("seed", [-1, 1.5, "x"])
def test_a_seed_is_a_whole_number_from_0(seed):
    with pytest.raises(dlx.DlxError, match=r"`seed` is a whole number from 0, and not "):
        dlx.build(TEXT, seed=seed)


def cell_of(size: int) -> str:
    """The cell of a notebook that defines a layer whose output has `size` values."""
    return (
        f"class Sized(dlx.Layer):\n    kind = 'sized_here'\n"
        f"    def plan(self, *xs):\n        return dlx.Plan(dlx.Shape(({size},)))\n"
    )


def test_a_cell_that_runs_again_defines_its_layer_anew():
    from dlx.layers import LAYERS

    names = {"dlx": dlx, "__name__": "__main__"}
    spec = {"network": {"inputs": [3], "layers": ["sized_here"]}}
    try:
        for size in (5, 7):
            exec(cell_of(size), names)  # noqa: S102 - our own cell
            assert dlx.inspect(spec).layers["shape"].tolist() == [(size,)]
    finally:
        LAYERS._classes.pop("sized_here", None)


def test_a_class_of_ones_own_does_not_take_the_name_of_a_kind_of_dlx():
    code = cell_of(5).replace("sized_here", "pixel_shuffle")
    with pytest.raises(dlx.DlxError, match=r"`pixel_shuffle` is a layer of dlx, and .* takes its name") as raised:
        exec(code, {"dlx": dlx, "__name__": "__main__"})  # noqa: S102
    assert raised.value.problems[0].hint == "Give your own class another `kind`."


def layers_of(*layers: object, **more: object) -> dict[str, object]:
    return {"network": {"inputs": {"x1": [4], "x2": [5]}, "layers": list(layers)}, **more}


@pytest.mark.parametrize(
    ("spec", "message", "hint"),
    [
        (
            layers_of({"relu": {}, "name": "a", "from": "x1"}, {"tanh": {}, "name": "a"}),
            "the name `a` is taken",
            "Rename one.",
        ),
        (
            layers_of({"linear": 4, "from": "x1"}, {"repeat": {"times": 2, "layers": [{"relu": {}, "name": "a"}]}}),
            "the name `a` is taken",
            "Inside a `repeat`, put the index into the name: ${i}.",
        ),
        (
            layers_of({"linear": 4, "from": "later"}, {"relu": {}, "name": "later", "from": "x1"}),
            "`later` comes later",
            "A node can only take what stands above it.",
        ),
        (
            layers_of({"linear": 3, "name": "l", "from": "x1"}, {"share": "l", "from": "x2"}),
            "`l` was built for (4,), and (5,) from `x2` wants weights of another shape",
            "Weights can only be shared between inputs that fit them.",
        ),
        (
            layers_of({"linear": 3, "name": "l", "from": "x1"}, {"linear": 3, "tie": "l", "from": "x2"}),
            "the weight of `l` is (3, 4), and this layer wants (5, 3) before it is transposed",
            None,
        ),
        ({"defaults": ["_self_", "_self_"]}, "`defaults` names _self_ twice", "Keep one of the two."),
    ],
    ids=["twice", "repeat", "later", "share", "tie", "defaults"],
)
def test_sentences_about_a_mapping_name_no_line(spec, message, hint):
    with pytest.raises(dlx.SpecError) as raised:
        dlx.load(spec)
    first = raised.value.problems[0]

    assert first.message == message
    assert hint in (None, first.hint)


def test_sentences_about_values_of_one_override_name_no_line():
    found = problem(TEXT, ["network.layers=[{relu: {}, name: a}, {tanh: {}, name: a}]"])

    assert (found.message, found.hint) == ("the name `a` is taken", "Rename one.")


def test_mistakes_of_a_mapping_come_in_its_order():
    wrong = layers_of({"zz": 1, "from": "x1"}, {"yy": 1, "from": "x1"})
    with pytest.raises(dlx.SpecError) as raised:
        dlx.load({"train": {"epoch": 3}, **wrong, "trak": {}})

    assert [one.path for one in raised.value.problems] == [
        "train.epoch",
        "network.layers.zz_1",
        "network.layers.yy_1",
        "trak",
    ]


def test_a_mapping_of_overrides_drops_a_key_whose_value_is_none():
    found = dlx.load(LENET, {"~train.epochs": None, "+train.steps": 7})

    assert (found.train.steps, found.root.at("train", "epochs")) == (7, None)


PLUGIN = """\
from typing import ClassVar
import dlx

class Halved(dlx.Layer):
    \"\"\"Half as many values.\"\"\"
    kind: ClassVar[str] = "halved"

    def plan(self, *xs: dlx.Shape) -> dlx.Plan:
        return dlx.Plan(dlx.Shape((xs[0][0] // 2,)))

    def module(self, *xs):
        from torch import nn

        return nn.Linear(xs[0][0], xs[0][0] // 2)
"""


def test_kinds_of_a_file_are_known_to_the_specs_that_name_it_and_to_no_other(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("halves.py").write_text(PLUGIN)
    network = {"network": {"inputs": [8], "layers": ["halved"]}}
    first = dlx.load({"plugins": ["halves.py"], **network})

    with pytest.raises(dlx.SpecError, match="there is no layer or block `halved`"):
        dlx.load(network)
    assert dlx.inspect(first).layers["shape"].tolist() == [(4,)]
    assert dlx.inspect(network, {"+plugins": ["halves.py"]}).layers["shape"].tolist() == [(4,)]


def test_threads_take_turns_with_the_kinds_of_their_specs(tmp_path):
    (tmp_path / "mine.py").write_text(
        "import dlx\n\n\nclass Mine(dlx.Layer):\n    kind = 'mine_alone'\n\n"
        "    def plan(self, x):\n        return dlx.Plan(x)\n\n    def module(self, x):\n        return None\n"
    )
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)  # so that threads change places inside of calls
    try:
        mine = {"plugins": [str(tmp_path / "mine.py")], "network": {"inputs": [4], "layers": ["mine_alone", "relu"]}}
        with ThreadPoolExecutor(4) as pool:
            found = list(pool.map(lambda i: dlx.inspect(mine if i % 2 else MAPPING), range(80)))
    finally:
        sys.setswitchinterval(before)
    assert [one.params for one in found] == [BY_HAND, 0] * 40


def test_oddities_and_claims_that_do_not_hold_are_warned_of_where_a_spec_is_inspected():
    claim = f"{TEXT}expect: {{params: 7}}\n"
    with pytest.warns(dlx.DlxWarning, match=f"claims params 7, and it is {BY_HAND}") as caught:
        dlx.inspect(claim)
    assert [one.filename for one in caught] == [__file__]
    # claims are about the spec as it is written
    of_written = "1 claim is of the spec as written, and does not hold with these changes: params"
    with pytest.warns(dlx.DlxWarning, match=of_written) as caught:
        dlx.inspect(claim, ["network.layers.linear_1.out_features=6"])
    with pytest.warns(dlx.DlxWarning, match=of_written) as more:
        dlx.inspect(dlx.load(claim, ["network.layers.linear_1.out_features=6"]))
    assert len(caught) == len(more) == 1
    dlx.inspect(claim, ["network.layers.linear_1.out_features=6", "~expect"])

    frozen = {"network": {"inputs": [3], "layers": ["batch_norm", {"linear": 2}]}, "freeze": "batch_norm_*"}
    with pytest.warns(dlx.DlxWarning, match="the running statistics follow the batches all the same"):
        dlx.inspect(frozen)
